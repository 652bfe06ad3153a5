//! Events per exposure in two arms, counts that are Poisson distributed.
//!
//! The formulas are those of Gu, Ng, Tang and Schucany, "Testing the ratio of two Poisson rates" (2008), at a ratio of 1.

use crate::statistics::normal::Statistic;
use crate::statistics::{Interval, binomial, normal};

/// How many events in how much exposure: user-days, requests, hours.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    events: u64,
    exposure: f64,
}

impl Rate {
    /// So many events in so much exposure.
    ///
    /// # Panics
    /// Unless the exposure is positive.
    pub fn new(events: u64, exposure: f64) -> Self {
        assert!(0.0 < exposure && exposure.is_finite(), "an exposure of {exposure}");
        Self { events, exposure }
    }

    /// Events per exposure.
    pub fn value(&self) -> f64 {
        self.events as f64 / self.exposure
    }
}

/// With the variance of equal rates: (x₂ − x₁ d) / √((x₁ + x₂) d), where d is the ratio of exposures. 0 without events.
pub fn score(control: Rate, treated: Rate) -> Statistic {
    let ratio = treated.exposure / control.exposure;
    let difference = treated.events as f64 - control.events as f64 * ratio;
    Statistic::new(difference, ((control.events + treated.events) as f64 * ratio).sqrt())
}

/// Of the logarithm of the ratio, with the variance 1/x₁ + 1/x₂; 0 where an arm has no events, as that variance is infinite.
pub fn log_ratio(control: Rate, treated: Rate) -> Statistic {
    if control.events == 0 || treated.events == 0 {
        return Statistic { z: 0.0 };
    }
    let inverse = 1.0 / control.events as f64 + 1.0 / treated.events as f64;
    Statistic::new(libm::log(treated.value() / control.value()), inverse.sqrt())
}

/// The ratio treated to control, by the normal distribution of its logarithm; all ratios where an arm has no events.
pub fn log_ratio_interval(control: Rate, treated: Rate, confidence: f64) -> Interval {
    if control.events == 0 || treated.events == 0 {
        return Interval { low: 0.0, high: f64::INFINITY };
    }
    let inverse = 1.0 / control.events as f64 + 1.0 / treated.events as f64;
    let half = -normal::quantile(0.5 * (1.0 - confidence)) * inverse.sqrt();
    let ratio = treated.value() / control.value();
    Interval { low: ratio * libm::exp(-half), high: ratio * libm::exp(half) }
}

/// The exact two-sided p-value: of all events, each falls in treated with its part of the exposure. 1 without events.
pub fn exact(control: Rate, treated: Rate) -> f64 {
    let part = treated.exposure / (control.exposure + treated.exposure);
    binomial::exact(treated.events, control.events + treated.events, part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn rates_that_are_alike_do_not_differ() {
        for (one, other) in
            [(Rate::new(0, 1.0), Rate::new(0, 7.0)), (Rate::new(5, 10.0), Rate::new(10, 20.0))]
        {
            assert_eq!((score(one, other).p(), log_ratio(one, other).p()), (1.0, 1.0));
            assert_near("exact", exact(one, other), 1.0, 1e-12);
            assert!(log_ratio_interval(one, other, 0.95).contains(1.0));
        }
        assert_eq!(log_ratio(Rate::new(0, 1.0), Rate::new(9, 1.0)).z, 0.0);
    }

    #[test]
    fn tests_agree_at_large_counts() {
        let (one, other) = (Rate::new(100_000, 5e5), Rate::new(100_900, 5e5));
        let found = [score(one, other).p(), log_ratio(one, other).p(), exact(one, other)];
        assert_near("log", found[1], found[0], 1e-4);
        assert_near("exact", found[2], found[0], 0.01);
    }
}
