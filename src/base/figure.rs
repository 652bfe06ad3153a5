//! Figures: the numbers that tell how a run went, each with its unit and which way is better.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One number about a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// What it is: `clickstream latency p99`.
    pub name: String,
    /// Its unit: `s`, `/s`, `%`; empty for a count.
    pub unit: String,
    /// Which way is better.
    pub better: Better,
    /// The number; absent (null) where the run has none, for it was cut short, did not come to rest, or nothing was asked.
    pub value: Option<f64>,
    /// Of how many trials of its own a run tells the share, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// The p-values of these trials, where they are tests of what is alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// P-values of tests that have nothing to find. Over many runs they are spread evenly from 0 to 1, if both the tests and what they are fed are right.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// Of each test the probability of anything more extreme than what it saw, and of anything at least as extreme, which is its p-value. Counts
    /// leave a gap between the two. P-values of counts are not spread evenly; numbers drawn from these gaps are.
    pub p: Vec<[f64; 2]>,
    /// Whether they must be spread evenly; otherwise that is only told.
    pub promised: bool,
}

/// Which way a figure is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// The less.
    Less,
    /// The more.
    More,
    /// It only describes.
    Neither,
}

impl Figure {
    /// A figure of this name.
    pub fn new(name: impl Into<String>, unit: &str, better: Better, value: impl Into<Option<f64>>) -> Self {
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            better,
            value: value.into(),
            of: None,
            calibration: None,
        }
    }

    /// How often something happened, of so many trials, in percent; nothing of none.
    pub fn share(name: impl Into<String>, better: Better, happened: u64, of: u64) -> Self {
        let value = (0 < of).then(|| 100.0 * happened as f64 / of as f64);
        Self { name: name.into(), unit: "%".to_owned(), better, value, of: Some(of), calibration: None }
    }
}
