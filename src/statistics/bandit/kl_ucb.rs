//! The KL-UCB index for rewards within [0, 1].

use crate::statistics::bandit::Arm;
use crate::statistics::bandit::tangent::Tangent;

/// How many steps are made at most; Newton's method needs some five.
const STEPS_MAX: u32 = 100;

/// How often its start is improved by a root alone.
const TIGHTENINGS: u32 = 3;

/// The Kullback–Leibler divergence between Bernoulli distributions, p ln(p/q) + (1 − p) ln((1 − p)/(1 − q)), with 0 ln 0 = 0: infinite where
/// q excludes what p allows.
pub fn divergence(p: f64, q: f64) -> f64 {
    let part = |p: f64, q: f64| if p <= 0.0 { 0.0 } else { p * libm::log(p / q) };
    part(p, q) + part(1.0 - p, 1.0 - q)
}

/// The largest q with KL(p, q) ≤ `bound`; p itself for a bound that is not positive, 1 where p is 1 or more.
pub fn upper_bound(p: f64, bound: f64) -> f64 {
    if 1.0 <= p || bound <= 0.0 {
        return p;
    }
    if p <= 0.0 {
        return -libm::expm1(-bound);
    }
    // In y = −ln(1 − q) the divergence is h(p) − p ln(1 − e⁻ʸ) + (1 − p) y: convex, so that Newton's method, once beyond the root, comes down
    // to it without crossing. Beyond it are, as −p ln q ≥ 0, the second term alone, and the bound of Pinsker with the largest variance between p
    // and what is beyond the root already.
    let entropy = p * libm::log(p) + (1.0 - p) * libm::log1p(-p);
    let mut beyond = p + (0.5 * bound).sqrt();
    for _ in 0..TIGHTENINGS {
        beyond = p + (2.0 * bound * largest_variance(p, beyond)).sqrt();
    }
    let mut y = if beyond < 0.999 { -libm::log1p(-beyond) } else { (bound - entropy) / (1.0 - p) };
    for _ in 0..STEPS_MAX {
        let rest = libm::exp(-y);
        let q = 1.0 - rest;
        let value = entropy - p * libm::log(q) + (1.0 - p) * y;
        let slope = (q - p) / q;
        let step = (value - bound) / slope;
        // It also ends where rounding leaves nothing to gain.
        if slope.is_nan() || slope <= 0.0 {
            break;
        }
        y -= step;
        // It converges quadratically: after a step this small nothing is left.
        if step <= 1e-8 * y {
            break;
        }
    }
    -libm::expm1(-y)
}

/// The index of Garivier and Cappé, "The KL-UCB algorithm for bounded stochastic bandits and beyond" (2011), with c = 0: the largest q with
/// n KL(m, q) ≤ ln t. Infinite for an arm never pulled.
pub fn index(arm: &Arm, t: f64) -> f64 {
    if arm.pulls <= 0.0 {
        return f64::INFINITY;
    }
    upper_bound(arm.mean(), libm::log(t.max(1.0)) / arm.pulls)
}

/// The tangent to n KL(m, q) at a q above the mean and below 1.
#[inline]
pub(super) fn tangent(arm: &Arm, q: f64) -> Option<Tangent> {
    let mean = arm.mean();
    (mean < q && q < 1.0).then(|| Tangent {
        x: q,
        level: arm.pulls * divergence(mean, q),
        run: q * (1.0 - q) / (arm.pulls * (q - mean)),
    })
}

/// What n KL(m, q) does not exceed at a q above the mean, from a tangent: by Taylor's formula, as its second derivative
/// n (m / q² + (1 − m) / (1 − q)²) is nowhere between larger than with each term at its end.
#[inline]
pub(super) fn level_at_most(arm: &Arm, tangent: &Tangent, q: f64) -> f64 {
    let (mean, away) = (arm.mean(), q - tangent.x);
    let (low, rest) = if away < 0.0 { (q, 1.0 - tangent.x) } else { (tangent.x, 1.0 - q) };
    let bend = arm.pulls * (mean / (low * low) + (1.0 - mean) / (rest * rest));
    tangent.level + away / tangent.run + 0.5 * bend * away * away
}

/// The largest variance q (1 − q) of shares from `low` to `high`: KL(low, high) is at least (high − low)² over twice that.
fn largest_variance(low: f64, high: f64) -> f64 {
    let nearest = 0.5_f64.clamp(low, high.max(low));
    nearest * (1.0 - nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn the_upper_bound_lies_where_the_divergence_does() {
        for p in [1e-9, 1e-3, 0.05, 0.3, 0.5, 0.77, 0.95, 0.9999] {
            for bound in [1e-9, 1e-5, 0.003, 0.1, 1.0, 4.0] {
                let q = upper_bound(p, bound);
                assert!(p < q && q <= 1.0, "{p}, {bound}: {q}");
                // Where 1 − q keeps its digits.
                if q < 0.99999 {
                    assert_near(&format!("KL({p}, {q})"), divergence(p, q), bound, 1e-6);
                }
            }
        }
    }

    #[test]
    fn ends_have_their_bounds() {
        assert_eq!((upper_bound(1.0, 0.1), upper_bound(0.4, 0.0), upper_bound(0.4, -1.0)), (1.0, 0.4, 0.4));
        assert_near("none of some", upper_bound(0.0, 0.1), 1.0 - libm::exp(-0.1), 1e-14);
        assert_eq!((divergence(0.0, 0.0), divergence(1.0, 1.0)), (0.0, 0.0));
        assert_eq!((divergence(0.5, 0.0), divergence(0.5, 1.0)), (f64::INFINITY, f64::INFINITY));
        assert_eq!(index(&Arm::default(), 10.0), f64::INFINITY);
    }

    #[test]
    fn a_tangent_touches_at_the_index_and_is_never_below_it_elsewhere() {
        for (successes, pulls) in [(3.0, 40.0), (10.0, 90.0), (0.0, 30.0), (60.0, 70.0)] {
            let arm = Arm::of_successes(successes, pulls);
            let touching = tangent(&arm, index(&arm, 300.0)).expect("the index is within");
            assert_near(&format!("the level of {arm:?}"), touching.level, libm::log(300.0), 1e-9);
            for t in [2.0, 30.0, 299.0, 301.0, 1_000.0, 1e6] {
                let bound = touching.x + (libm::log(t) - touching.level) * touching.run;
                assert!(index(&arm, t) <= bound + 1e-12, "{arm:?} at {t}");
            }
            for q in [
                arm.mean() + 1e-3,
                touching.x - 0.01,
                touching.x - 1e-5,
                touching.x + 1e-5,
                touching.x + 0.02,
            ] {
                let (most, exact) =
                    (level_at_most(&arm, &touching, q), arm.pulls * divergence(arm.mean(), q));
                assert!(arm.mean() < q && exact <= most + 1e-12, "{arm:?} at {q}: {exact}, {most}");
                if (q - touching.x).abs() < 1e-4 {
                    assert_near("nearly", most, exact, 1e-6);
                }
            }
            assert_eq!((tangent(&arm, arm.mean()), tangent(&arm, 1.0)), (None, None));
        }
    }
}
