//! The Bayes-UCB index for rewards within [0, 1].

use crate::statistics::bandit::Arm;
use crate::statistics::bandit::tangent::Tangent;
use crate::statistics::bandit::thompson::BetaPrior;
use crate::statistics::beta::{self, Tail};

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

/// The tangent to −ln P(θ > x) of the posterior after a flat prior, at an x between 0 and 1; from the tail there that is known, or near there, if
/// it is one of the same posterior. The tail there is known then.
#[inline]
pub(super) fn tangent(arm: &Arm, known: &mut Option<Tail>, x: f64) -> Option<Tangent> {
    if x <= 0.0 || 1.0 <= x {
        return None;
    }
    let (a, b) = shapes(arm, BetaPrior::FLAT);
    match known {
        Some(tail) if tail.shapes() == (a, b) && tail.x == x => {}
        Some(tail) if tail.shapes() == (a, b) => *tail = tail.moved(x).unwrap_or_else(|| Tail::new(x, a, b)),
        _ => *known = Some(Tail::new(x, a, b)),
    }
    let of = |tail: &Tail| Tangent { x, level: -libm::log(tail.above), run: tail.above / tail.density };
    known.as_ref().map(of)
}

#[inline]
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
        let none = BetaPrior { successes: 0.0, failures: 0.0 };
        assert_eq!(index(&Arm::of_successes(0.0, 5.0), none, 9.0), 0.0);
        assert_eq!(index(&Arm::of_successes(5.0, 5.0), none, 9.0), 1.0);
        let arm = Arm::of_successes(3.0, 10.0);
        let exact = index(&arm, BetaPrior::FLAT, 100.0);
        let touching = tangent(&arm, &mut None, exact).expect("it lies between 0 and 1");
        assert_near("its level", touching.level, libm::log(100.0), 1e-9);
        let later = index(&arm, BetaPrior::FLAT, 101.0);
        assert_near("how it grows", (later - exact) / libm::log(1.01), touching.run, 1e-2);
        let mut known = None;
        assert_eq!((tangent(&arm, &mut known, 0.0), tangent(&arm, &mut known, 1.0)), (None, None));
        tangent(&arm, &mut known, 0.4);
        let (followed, anew) = (tangent(&arm, &mut known, 0.41), tangent(&arm, &mut None, 0.41));
        assert_near(
            "followed",
            followed.map_or(f64::NAN, |tangent| tangent.level),
            anew.map_or(0.0, |tangent| tangent.level),
            1e-12,
        );
        let other = Arm::of_successes(4.0, 11.0);
        assert_eq!(tangent(&other, &mut known, 0.41), tangent(&other, &mut None, 0.41), "another posterior");
    }
}
