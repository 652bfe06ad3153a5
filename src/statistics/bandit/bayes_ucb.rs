//! The Bayes-UCB index for rewards within [0, 1].

use crate::statistics::bandit::Arm;
use crate::statistics::bandit::thompson::BetaPrior;
use crate::statistics::beta;

/// The quantile 1 − 1/t of the posterior Beta(α + s, β + n − s): Kaufmann, Cappé and Garivier, "On Bayesian upper confidence bounds for bandit
/// problems" (2012), with c = 0 and, mostly, a flat prior. For t ≤ 1 it is 0, the lowest of all. Without a prior an arm that never succeeded has
/// 0, and one that never failed 1. SMPyBandits counts t from 0 and takes 1 − 1/(t + 1).
pub fn index(arm: &Arm, prior: BetaPrior, t: f64) -> f64 {
    let (a, b) = shapes(arm, prior);
    if t <= 1.0 || a <= 0.0 {
        return 0.0;
    }
    if b <= 0.0 {
        return 1.0;
    }
    beta::quantile(1.0 - 1.0 / t, a, b)
}

/// The index, or −∞ if it does not exceed that of the leader: one look at the distribution then tells. Infinite for an arm never pulled.
pub(super) fn index_above(arm: &Arm, t: f64, leader: f64) -> f64 {
    if arm.pulls <= 0.0 {
        return f64::INFINITY;
    }
    let (a, b) = shapes(arm, BetaPrior::FLAT);
    if 1.0 < t && 0.0 < leader && 1.0 - 1.0 / t <= beta::cdf(leader, a, b) {
        return f64::NEG_INFINITY;
    }
    index(arm, BetaPrior::FLAT, t)
}

fn shapes(arm: &Arm, prior: BetaPrior) -> (f64, f64) {
    (prior.successes + arm.rewards.max(0.0), prior.failures + (arm.pulls - arm.rewards).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn the_index_is_a_number_at_all_times() {
        assert_eq!(index(&Arm::default(), BetaPrior::FLAT, 0.0), 0.0);
        assert_near("three quarters", index(&Arm::default(), BetaPrior::FLAT, 4.0), 0.75, 1e-12);
        assert_eq!(index_above(&Arm::default(), 4.0, 0.5), f64::INFINITY);
        let none = BetaPrior { successes: 0.0, failures: 0.0 };
        assert_eq!(index(&Arm::of_successes(0.0, 5.0), none, 9.0), 0.0);
        assert_eq!(index(&Arm::of_successes(5.0, 5.0), none, 9.0), 1.0);
        let arm = Arm::of_successes(3.0, 10.0);
        let exact = index(&arm, BetaPrior::FLAT, 100.0);
        assert_eq!(index_above(&arm, 100.0, exact - 1e-3), exact);
        assert_eq!(index_above(&arm, 100.0, exact + 1e-3), f64::NEG_INFINITY);
    }
}
