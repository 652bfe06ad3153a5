//! Student's t distribution, and the noncentral one, which tells the power of a t-test. With infinitely many degrees of freedom it is the
//! normal distribution.

use std::f64::consts::{LN_2, PI};

use crate::statistics::quadrature::Rule;
use crate::statistics::{beta, normal, root, stirling};

/// The nodes in each panel of an integral.
const NODES: usize = 16;

/// The probability of a value up to `t`.
pub fn cdf(t: f64, degrees_of_freedom: f64) -> f64 {
    sf(-t, degrees_of_freedom)
}

/// The probability of more than `t`: ½ I(ν/(ν + t²); ν/2, ½) for positive `t`, which keeps its digits in the tail.
pub fn sf(t: f64, degrees_of_freedom: f64) -> f64 {
    let tail = 0.5 * two_sided(t, degrees_of_freedom);
    if t < 0.0 { 1.0 - tail } else { tail }
}

/// The probability of a value at least as far from 0 as `t`.
pub fn two_sided(t: f64, degrees_of_freedom: f64) -> f64 {
    if degrees_of_freedom.is_infinite() || t.is_infinite() {
        return normal::two_sided(t);
    }
    let square = t * t;
    let sum = degrees_of_freedom + square;
    if sum.is_infinite() {
        return 0.0;
    }
    beta::cdf_of_parts(degrees_of_freedom / sum, square / sum, 0.5 * degrees_of_freedom, 0.5)
}

/// The value up to which there is the probability `p`, by halving. Infinite where `p` is 0 or 1.
pub fn quantile(p: f64, degrees_of_freedom: f64) -> f64 {
    if degrees_of_freedom.is_infinite() || p <= 0.0 || 1.0 <= p {
        return normal::quantile(p);
    }
    if p < 0.5 {
        return -upper_quantile(p, degrees_of_freedom);
    }
    upper_quantile(1.0 - p, degrees_of_freedom)
}

/// The value beyond which there is the probability `tail`, at most ½.
fn upper_quantile(tail: f64, degrees_of_freedom: f64) -> f64 {
    let beyond = |t: f64| tail < sf(t, degrees_of_freedom);
    let mut high = 1.0;
    while beyond(high) && high < f64::MAX / 2.0 {
        high *= 2.0;
    }
    root::boundary(0.0, high, beyond)
}

/// The probability that (Z + δ) / √(V/ν) is more than `t`, where Z is normal and V chi-squared with ν degrees of freedom: the integral of
/// Φ(δ − t s) over the density of s = √(V/ν), in the logarithm of s.
///
/// # Panics
/// Unless there are degrees of freedom.
pub fn noncentral_sf(t: f64, degrees_of_freedom: f64, noncentrality: f64) -> f64 {
    assert!(0.0 < degrees_of_freedom, "{degrees_of_freedom} degrees of freedom");
    if degrees_of_freedom.is_infinite() {
        return normal::sf(t - noncentrality);
    }
    let half = 0.5 * degrees_of_freedom;
    let log_scale = LN_2 + 0.5 * libm::log(half / (2.0 * PI)) - stirling::remainder(half);
    // The density of u = ln s peaks near 0, is normal there, and falls as e^(νu) to the left.
    let deviation = (0.5 / degrees_of_freedom).sqrt();
    let integrand = |u: f64| {
        let density = libm::exp(log_scale + half * (2.0 * u - libm::expm1(2.0 * u)));
        density * normal::cdf(noncentrality - t * libm::exp(u))
    };
    let (low, high) = (-10.0 * deviation - 40.0 / degrees_of_freedom, 10.0 * deviation);
    let width = deviation.min(1.0 / (1.0 + noncentrality.abs()));
    let panels = ((high - low) / width).ceil().clamp(1.0, 10_000.0);
    let rule = Rule::new(NODES);
    let step = (high - low) / panels;
    (0..panels as u32)
        .map(|panel| {
            let from = low + step * f64::from(panel);
            rule.integral(from, from + step, integrand)
        })
        .sum::<f64>()
        .clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn few_degrees_of_freedom_have_closed_forms() {
        for t in [-50.0, -3.0, -0.2, 0.0, 0.7, 2.0, 31.0] {
            assert_near("one", cdf(t, 1.0), 0.5 + libm::atan(t) / PI, 1e-13);
            assert_near("two", cdf(t, 2.0), 0.5 + 0.5 * t / (2.0 + t * t).sqrt(), 1e-12);
            assert_near("infinite", cdf(t, f64::INFINITY), normal::cdf(t), 1e-15);
        }
        assert_near("far tail", 1e16 * two_sided(1e8, 2.0), 1.0, 1e-12);
        assert_eq!(
            (sf(f64::INFINITY, 3.0), sf(f64::NEG_INFINITY, 3.0), two_sided(0.0, 3.0)),
            (0.0, 1.0, 1.0)
        );
    }

    #[test]
    fn a_quantile_undoes_the_distribution() {
        for nu in [1.0, 2.5, 30.0, 1e6] {
            for p in [1e-9, 0.025, 0.4, 0.5, 0.9, 0.975] {
                assert_near("quantile", cdf(quantile(p, nu), nu), p, 1e-10);
            }
        }
        assert_near("table", quantile(0.975, 10.0), 2.228138851986275, 1e-12);
        assert_eq!((quantile(0.0, 3.0), quantile(1.0, 3.0)), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn without_an_effect_the_noncentral_distribution_is_the_central_one() {
        for nu in [1.0, 3.0, 60.0, 5000.0] {
            for t in [-2.0, 0.0, 1.0, 4.0] {
                assert_near("central", noncentral_sf(t, nu, 0.0), sf(t, nu), 1e-10);
            }
            // P(T > 0) is P(Z > −δ), whatever the denominator.
            assert_near("sign", noncentral_sf(0.0, nu, 1.3), normal::cdf(1.3), 1e-12);
        }
    }
}
