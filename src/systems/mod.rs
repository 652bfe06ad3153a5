//! Real code under test. The order of the declarations is who may call whom, and only through a neighbour's `api`.

pub mod seal;
pub mod sites;
pub mod coordination;
pub mod broker;
pub mod allocator;
pub mod bugs;
pub mod messages;

use std::rc::Rc;

use crate::base::{HostId, Stream};
use crate::world::Address;
use crate::world::fault::Budget;

/// The names of the systems, as logs and lists show them.
pub const NAMES: [&str; 3] = ["coordination", "broker", "allocator"];

/// Draws a random sufficient core of a system as it stands now: hosts that go on serving if no other ever comes back.
pub type Core = Rc<dyn Fn(&mut Stream) -> Vec<HostId>>;

/// A system as it stands in a tank.
#[derive(Clone)]
pub struct Cluster {
    /// Where clients reach its servers.
    pub servers: Vec<Address>,
    /// The hosts they run on.
    pub hosts: Vec<HostId>,
    /// What it survives.
    pub budget: Budget,
    /// Who suffices.
    pub core: Core,
}
