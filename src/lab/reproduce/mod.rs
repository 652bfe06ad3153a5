//! Known results, computed anew with this project's statistics and laid beside the published values, or beside what its
//! documentation states: evidence that they are right.
//!
//! A reproduction is a pure computation over streams of chance of its own, spread over threads; it gives the same numbers with any number of
//! them. Whether a number reproduces is decided by its error and that of the published value, and never by hand.

pub mod chapelle_li;
mod crew;
pub mod detectors;
mod finding;
pub mod open_bandit;
pub mod peeking;
pub mod ten_armed_testbed;
pub mod value_remaining;

pub use crew::Crew;
use std::path::Path;

use open_bandit::LogError;

pub use finding::{Claim, Finding, Found, Published, Reproduced, Row, Scale, Table};

/// A known result.
#[derive(Clone, Copy, Debug)]
pub struct Reproduction {
    /// What it is called.
    pub name: &'static str,
    /// What is reproduced, in a line.
    pub about: &'static str,
    reproduce: fn(&Crew<'_>, &Path) -> Result<Finding, LogError>,
}

impl Reproduction {
    /// Computes it, with the sample that its report has, or from the log of `data`.
    ///
    /// # Errors
    /// If it needs the log, and cannot use it.
    pub fn reproduce(&self, crew: &Crew<'_>, data: &Path) -> Result<Finding, LogError> {
        (self.reproduce)(crew, data)
    }
}

/// All of them, in the order of their report.
pub const ALL: [Reproduction; 6] = [
    Reproduction {
        name: "peeking",
        about: "what 60 daily looks do to the errors of thirteen stopping rules",
        reproduce: |crew, _| Ok(peeking::reproduce(crew, peeking::STREAMS)),
    },
    Reproduction {
        name: "chapelle-li",
        about: "regret of Thompson sampling and UCB where rewards come late, as batch and as lag (Chapelle and Li 2011, table 1)",
        reproduce: |crew, _| Ok(chapelle_li::reproduce(crew, chapelle_li::SAMPLE)),
    },
    Reproduction {
        name: "value-remaining",
        about: "how much sooner a bandit ends that stops when little value remains: 4 % against 5 %, as Google Analytics had it",
        reproduce: |crew, _| Ok(value_remaining::reproduce(crew, value_remaining::SAMPLE)),
    },
    Reproduction {
        name: "ten-armed-testbed",
        about: "reward and best choices of ε-greedy on the 10-armed testbed of Sutton and Barto",
        reproduce: |crew, _| Ok(ten_armed_testbed::reproduce(crew, ten_armed_testbed::PROBLEMS)),
    },
    Reproduction {
        name: "open-bandit",
        about: "random against bts in real data: p of the A/B test, and off-policy estimates beside the truth",
        reproduce: |_, data| open_bandit::reproduce(data),
    },
    Reproduction {
        name: "detectors",
        about: "how often detectors of invalid experiments alarm in vain, beside what they state, and how often they find what is wrong",
        reproduce: |crew, _| Ok(detectors::reproduce(crew, detectors::EXPERIMENTS)),
    },
];
