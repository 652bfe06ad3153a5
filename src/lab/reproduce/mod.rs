//! Known results, computed anew with this project's statistics and laid beside the published values: evidence that they are right.
//!
//! A reproduction is a pure computation over streams of chance of its own, spread over threads; it gives the same numbers with any number of
//! them. Whether a number reproduces is decided by its error and that of the published value, and never by hand.

mod crew;
mod finding;
pub mod peeking;

pub use crew::Crew;
pub use finding::{Finding, Found, Published, Reproduced, Row, Scale, Table};

/// A known result.
#[derive(Clone, Copy, Debug)]
pub struct Reproduction {
    /// What it is called.
    pub name: &'static str,
    /// What is reproduced, in a line.
    pub about: &'static str,
    reproduce: fn(&Crew<'_>) -> Finding,
}

impl Reproduction {
    /// Computes it, with the sample that its report has.
    pub fn reproduce(&self, crew: &Crew<'_>) -> Finding {
        (self.reproduce)(crew)
    }
}

/// All of them, in the order of their report.
pub const ALL: [Reproduction; 1] = [Reproduction {
    name: "peeking",
    about: "what 60 daily looks do to the error of eleven stopping rules, with and without an effect",
    reproduce: |crew| peeking::reproduce(crew, peeking::STREAMS),
}];
