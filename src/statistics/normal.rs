//! The standard normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// How often a quantile is improved: each step triples the digits, and the first guess has three.
const STEPS: u32 = 4;

/// The probability of a value up to `z`: ½ erfc(−z/√2), which keeps its digits in the lower tail.
pub fn cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The probability of more than `z`: ½ erfc(z/√2), which keeps its digits in the upper tail.
pub fn sf(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// The probability of a value at least as far from 0 as `z`.
pub fn two_sided(z: f64) -> f64 {
    2.0 * sf(z.abs())
}

/// The value up to which there is the probability `p`: the guess 26.2.23 of Abramowitz and Stegun, "Handbook of mathematical functions"
/// (1964), improved by Halley's method. Infinite where `p` is 0 or 1.
pub fn quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if 1.0 <= p {
        return f64::INFINITY;
    }
    if 0.5 < p {
        return -quantile(1.0 - p);
    }
    let t = (-2.0 * libm::log(p)).sqrt();
    let numerator = 2.515517 + t * (0.802853 + t * 0.010328);
    let denominator = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308));
    let mut z = numerator / denominator - t;
    for _ in 0..STEPS {
        let error = (cdf(z) - p) * (2.0 * PI).sqrt() * libm::exp(0.5 * z * z);
        z -= error / (1.0 + 0.5 * z * error);
    }
    z
}

/// A statistic that is standard normal where nothing differs, positive where there is more.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Statistic {
    /// By how many standard errors there is more.
    pub z: f64,
}

impl Statistic {
    /// A difference in standard errors; 0 where there is no difference, infinite where one is known without error.
    pub fn new(difference: f64, standard_error: f64) -> Self {
        Self { z: if difference == 0.0 { 0.0 } else { difference / standard_error } }
    }

    /// The two-sided p-value.
    pub fn p(&self) -> f64 {
        two_sided(self.z)
    }

    /// The one-sided p-value of there being more.
    pub fn p_more(&self) -> f64 {
        sf(self.z)
    }

    /// The one-sided p-value of there being less.
    pub fn p_less(&self) -> f64 {
        cdf(self.z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn tails_and_quantiles_agree_with_scipy() {
        for tail in [2.0 * cdf(-10.0), 2.0 * sf(10.0), two_sided(10.0), two_sided(-10.0)] {
            assert_near("z = 10", tail, 1.523970604832094e-23, 1e-9);
        }
        for (p, expected) in [
            (1e-12, -7.034483825301131),
            (1e-06, -4.753424308822899),
            (0.025, -1.9599639845400545),
            (0.5, 0.0),
            (0.975, 1.959963984540054),
            (0.999999, 4.753424308817087),
        ] {
            assert_near("quantile", quantile(p), expected, 1e-9);
        }
        assert_eq!((quantile(0.0), quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
    }
}
