//! Tests, intervals, sample sizes, posteriors, bandits and assignments. Pure: data in, numbers out, and where chance is needed a named
//! stream of the caller's.
//!
//! Each function tells its formula and where it comes from; the tests compare with values that other libraries computed. Functions that
//! are not exact in IEEE 754 come from `libm`, so that a report says the same on every machine.

use serde::Serialize;

pub mod assignment;
pub mod bandit;
pub mod bayes;
pub mod beta;
pub mod binomial;
pub mod bootstrap;
pub mod cuped;
pub mod descriptive;
pub mod dice;
pub mod gamma;
pub mod group_sequential;
pub mod impact;
pub mod linear;
pub mod means;
pub mod multiple;
pub mod normal;
pub mod off_policy;
pub mod power;
pub mod proportion;
pub mod quadrature;
pub mod quantile;
mod race;
pub mod randomization;
pub mod rank;
pub mod rate;
pub mod regret;
pub mod root;
pub mod seasons;
pub mod sequential;
pub mod srm;
pub mod stirling;
pub mod stratified;
pub mod student;
pub mod validity;

/// From where to where a quantity lies, at some confidence. Written down as a pair: `[low, high]`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(into = "[f64; 2]")]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high]
    }
}

impl Interval {
    /// Whether a value lies in it, its ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

#[cfg(test)]
pub(crate) mod tests {
    /// Two numbers are the same but for a relative error.
    pub(crate) fn assert_near(what: &str, found: f64, expected: f64, tolerance: f64) {
        let error = (found - expected).abs();
        assert!(error <= tolerance * expected.abs() + 1e-15, "{what}: {found} is not {expected}");
    }
}
