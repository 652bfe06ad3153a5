//! Runs, records and replays scenarios. The only place with threads.
//!
//! [`execute`] takes a scenario and a seed to a [`Run`]; [`check_determinism`] does it twice and names the first event that differs;
//! [`sweep`] tries many seeds, each in a process of its own. [`strategies`] compares strategies of experiments, without any platform, and
//! [`fidelities`] sets that against the same strategies on platforms.

pub mod blame;
pub mod compare;
mod course;
mod crew;
mod determinism;
pub mod divergence;
pub mod fidelities;
pub mod passing;
mod platform;
pub mod reproduce;
mod run;
pub mod shrink;
pub mod strategies;
pub mod sweep;
pub mod trust;
pub mod variants;
#[cfg(test)]
pub(crate) mod sample;

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::SimTime;
use crate::world::fault::FaultPlan;
use crate::world::{Cut, Recording};

pub use course::{execute, figure_names, places};
pub use determinism::{Difference, check_determinism, first_difference};
pub use run::{Run, Verdict};

/// How a scenario is run, beyond what its file says. None of it changes what happens, except a plan.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to write down.
    pub recording: Recording,
    /// The faults of the run; drawn from the scenario's rules if absent.
    pub plan: Option<FaultPlan>,
    /// Where it is cut short; it goes to its end if absent.
    pub cut: Option<Cut>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Virtual time since the run began.
    pub virtual_time: SimTime,
    /// The act it is in.
    pub act: Act,
    /// Task polls and timed events so far.
    pub events: u64,
    /// Faults so far.
    pub faults: u64,
}

/// The acts of a run that take time. (The heal, between stir and settle, takes none.)
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Systems boot and workloads prepare.
    Build,
    /// Traffic flows and things break.
    Stir,
    /// All is healed, the load has ended, everything must converge.
    Settle,
    /// Checkers read the histories.
    Judge,
}

impl Act {
    /// Its name, as progress shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Stir => "stir",
            Self::Settle => "settle",
            Self::Judge => "judge",
        }
    }
}
