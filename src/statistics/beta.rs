//! The beta distribution.

use std::f64::consts::PI;

use crate::statistics::{normal, root, stirling};

/// How many terms of the continued fraction are taken at most: it converges within some √max(a, b).
const TERMS_MAX: u32 = 20_000;

/// How many of Newton's steps are tried: it needs some five.
const STEPS_MAX: u32 = 50;

/// The regularised incomplete beta function I_x(a, b), the probability of a value up to `x`: the continued fraction 8.17.22 of the
/// NIST Digital Library of Mathematical Functions, by the modified method of Lentz. The probability of more is `cdf(1 − x, b, a)`.
pub fn cdf(x: f64, a: f64, b: f64) -> f64 {
    cdf_of_parts(x, 1.0 - x, a, b)
}

/// The same, where also `rest`, 1 − x, is known with all its digits.
pub fn cdf_of_parts(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if rest <= 0.0 {
        return 1.0;
    }
    // Where the fraction converges fast.
    if (a + 1.0) / (a + b + 2.0) < x {
        return 1.0 - front(rest, x, b, a) / b * fraction(rest, b, a);
    }
    front(x, rest, a, b) / a * fraction(x, a, b)
}

/// The probability of a value above `x`, and the density there, for x between 0 and 1.
pub fn above(x: f64, a: f64, b: f64) -> (f64, f64) {
    let rest = 1.0 - x;
    let front = front(x, rest, a, b);
    let above = if (a + 1.0) / (a + b + 2.0) < x {
        front / b * fraction(rest, b, a)
    } else {
        1.0 - front / a * fraction(x, a, b)
    };
    (above, front / (x * rest))
}

/// xᵃ (1 − x)ᵇ / B(a, b), without losing digits where both are large: Loader, "Fast and accurate computation of binomial probabilities"
/// (2000).
fn front(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    let sum = a + b;
    let curve = stirling::remainder(sum) - stirling::remainder(a) - stirling::remainder(b);
    let away = stirling::deviance(a, sum * x) + stirling::deviance(b, sum * rest);
    (a / sum * b / (2.0 * PI)).sqrt() * libm::exp(curve - away)
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let away_from_zero = |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut product = d;
    for term in 1..TERMS_MAX {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + coefficient * d);
            c = away_from_zero(1.0 + coefficient / c);
            change = c * d;
            product *= change;
        }
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    product
}

/// The value up to which there is the probability `p`, as exact as the distribution: by Newton's method, from the quantile of the normal
/// distribution of the same mean and variance; by halving where a step would leave the interval that holds it, or does not get there.
pub fn quantile(p: f64, a: f64, b: f64) -> f64 {
    let mean = a / (a + b);
    let deviation = (mean * (1.0 - mean) / (a + b + 1.0)).sqrt();
    let (mut low, mut high) = (0.0, 1.0);
    let mut x = mean + normal::quantile(p) * deviation;
    for _ in 0..STEPS_MAX {
        if !(low < x && x < high) {
            x = 0.5 * (low + high);
        }
        let apart = cdf(x, a, b) - p;
        if apart < 0.0 {
            low = x;
        } else {
            high = x;
        }
        let density = front(x, 1.0 - x, a, b) / (x * (1.0 - x));
        let next = x - apart / density;
        if (next - x).abs() <= 1e-14 * x {
            return next.clamp(low, high);
        }
        x = next;
    }
    root::boundary(low, high, |x| cdf(x, a, b) < p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn the_distribution_agrees_with_scipy_and_its_quantile_undoes_it() {
        for (a, b, x, expected) in [
            (0.5, 0.5, 0.3, 0.36901011956554536),
            (2.0, 3.0, 0.4, 0.5247999999999999),
            (50.0, 950.0, 0.05, 0.5173695437269733),
            (5001.0, 95001.0, 0.0501, 0.5542089829998345),
        ] {
            assert_near("cdf", cdf(x, a, b), expected, 1e-9);
            assert_near("quantile", quantile(expected, a, b), x, 1e-9);
            let (above_x, density) = above(x, a, b);
            assert_near("above", above_x, 1.0 - expected, 1e-9);
            let slope = (cdf(x * (1.0 + 1e-6), a, b) - cdf(x * (1.0 - 1e-6), a, b)) / (2e-6 * x);
            assert_near("density", density, slope, 1e-6);
        }
        assert_eq!((cdf(0.0, 2.0, 3.0), cdf(1.0, 2.0, 3.0)), (0.0, 1.0));
    }

    #[test]
    fn newtons_quantile_is_that_of_halving() {
        for (a, b) in
            [(1.0, 1.0), (1.0, 11.0), (11.0, 1.0), (6.0, 6.0), (51.0, 951.0), (2.0, 1e6), (0.3, 40.0)]
        {
            for p in [1e-9, 0.025, 0.5, 0.9, 0.999, 1.0 - 1e-7] {
                let expected = root::boundary(0.0, 1.0, |x| cdf(x, a, b) < p);
                assert_near(&format!("quantile {p} of beta({a}, {b})"), quantile(p, a, b), expected, 1e-10);
            }
        }
    }
}
