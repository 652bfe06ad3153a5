//! The gamma distribution, and the chi-squared distribution that comes of it.

use std::f64::consts::PI;

use crate::statistics::stirling;

/// How many terms of the series or the continued fraction are taken at most: both converge within some √shape.
const TERMS_MAX: u32 = 100_000;

/// The regularised incomplete gamma function P(a, x), the probability of a value up to `x` for the shape `a`.
pub fn cdf(x: f64, shape: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x < shape + 1.0 { series(x, shape) } else { 1.0 - fraction(x, shape) }
}

/// The probability Q(a, x) of more than `x`, which keeps its digits in the upper tail.
pub fn sf(x: f64, shape: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < shape + 1.0 { 1.0 - series(x, shape) } else { fraction(x, shape) }
}

/// The probability that a chi-squared variable is more than `x`: Q(ν/2, x/2).
pub fn chi_squared_sf(x: f64, degrees_of_freedom: f64) -> f64 {
    sf(0.5 * x, 0.5 * degrees_of_freedom)
}

/// xᵃ e⁻ˣ / Γ(a), without losing digits where both are large: Loader, "Fast and accurate computation of binomial probabilities" (2000).
fn front(x: f64, shape: f64) -> f64 {
    let exponent = -stirling::deviance(shape, x) - stirling::remainder(shape);
    libm::exp(exponent) * (shape / (2.0 * PI)).sqrt()
}

/// P by the series 8.11.4 of the NIST Digital Library of Mathematical Functions.
fn series(x: f64, shape: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for index in 1..TERMS_MAX {
        term *= x / (shape + f64::from(index));
        sum += term;
        if term < f64::EPSILON * sum {
            break;
        }
    }
    front(x, shape) * sum / shape
}

/// Q by the continued fraction 8.9.2 of the same, by the modified method of Lentz.
fn fraction(x: f64, shape: f64) -> f64 {
    if x.is_infinite() {
        return 0.0;
    }
    let away_from_zero = |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let mut b = x + 1.0 - shape;
    let mut c = 1.0 / f64::MIN_POSITIVE;
    let mut d = 1.0 / away_from_zero(b);
    let mut product = d;
    for index in 1..TERMS_MAX {
        let index = f64::from(index);
        let a = index * (shape - index);
        b += 2.0;
        d = 1.0 / away_from_zero(b + a * d);
        c = away_from_zero(b + a / c);
        product *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    front(x, shape) * product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn tails_keep_their_digits() {
        assert_near("χ² of 3", chi_squared_sf(200.0, 3.0), 4.218541107192018e-43, 1e-12);
        // With two degrees of freedom, e^(−x/2); with one, twice a normal tail.
        for x in [1e-9, 0.3, 1.9, 2.1, 40.0, 1200.0] {
            assert_near("χ² of 2", chi_squared_sf(x, 2.0), libm::exp(-0.5 * x), 1e-12);
            assert_near("χ² of 1", chi_squared_sf(x, 1.0), libm::erfc((0.5 * x).sqrt()), 1e-12);
        }
        assert_eq!((chi_squared_sf(0.0, 4.0), chi_squared_sf(f64::INFINITY, 4.0)), (1.0, 0.0));
    }

    #[test]
    fn both_tails_sum_to_one() {
        for shape in [0.1, 1.0, 7.5, 300.0, 1e6] {
            for part in [0.5, 0.99, 1.0, 1.01, 2.0] {
                let x = part * shape;
                assert_near("sum", cdf(x, shape) + sf(x, shape), 1.0, 1e-13);
            }
        }
        // Erlang: P(X > x) = e⁻ˣ (1 + x + x²/2).
        assert_near("Erlang", sf(2.5, 3.0), libm::exp(-2.5) * (1.0 + 2.5 + 3.125), 1e-13);
    }
}
