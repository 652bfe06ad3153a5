//! What clients do to the systems, and what they may expect of them.
//!
//! A workload goes through the acts of a run with five verbs: set up, drive (from its client hosts, which are real processes in the
//! tank), finish, read back, judge. The observer's notebook (its history) is shared with its client hosts write-only.

pub mod clickstream;
pub mod delivery;
pub mod experiment;
pub mod garbage;
pub mod registers;

use std::future::Future;
use std::pin::Pin;

use crate::base::{Figure, SimTime};
use crate::checkers::Check;
use crate::checkers::service::Request;
use crate::world::Tank;

/// The names of the workloads, as the logs of their clients show them.
pub const NAMES: [&str; 4] = ["clickstream", "registers", "garbage", "experiment"];

/// A future that stays on this thread.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// One kind of traffic and the promises it holds the systems to.
pub trait Workload {
    /// A name, unique in the run, for summaries: `clickstream`.
    fn name(&self) -> &str;

    /// Adds its client hosts. They prepare and wait to be driven.
    fn boot(&self, tank: &Tank);

    /// Waits until the clients have prepared what they need (topics, znodes). Before any fault.
    ///
    /// # Errors
    /// What could not be prepared, in words.
    fn setup(&self) -> LocalBoxFuture<'_, Result<(), String>>;

    /// The load begins, now.
    fn start(&self, now: SimTime);

    /// The load ends: clients finish what they have begun.
    fn stop(&self);

    /// Whether they have.
    ///
    /// # Errors
    /// What is still under way, in words.
    fn finished(&self) -> Result<(), String>;

    /// The servers have come to rest: clients read everything back.
    fn read_back(&self);

    /// Whether everything is read back.
    ///
    /// # Errors
    /// What is still awaited, in words.
    fn settled(&self) -> Result<(), String>;

    /// What the history shows. Pure.
    fn judge(&self) -> Vec<Check>;

    /// What its clients experienced so far.
    fn requests(&self) -> Vec<Request>;

    /// What was acknowledged, until it is first read, where that is not the same.
    fn unread(&self) -> Vec<Request> {
        Vec::new()
    }

    /// What else there is to say in numbers of what it has judged, beyond what [`crate::checkers::service`] says of its requests.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    /// Counters for progress and summary: ("sent", 60000).
    fn progress(&self) -> Vec<(&'static str, u64)>;
}
