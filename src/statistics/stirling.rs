//! What Stirling's formula leaves out: the two pieces from which gamma functions of large numbers are put together without losing digits,
//! as in Loader, "Fast and accurate computation of binomial probabilities" (2000).

/// From where the asymptotic series is exact to the last digit.
const SERIES_FROM: f64 = 10.0;

/// ½ ln 2π.
const HALF_LOG_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// The remainder δ(x) = ln Γ(x) − (x − ½) ln x + x − ½ ln 2π, for positive `x`: the series 5.11.1 of the NIST Digital Library of Mathematical
/// Functions, from 10 on; below by δ(x) = δ(x + 1) + (x + ½) ln(1 + 1/x) − 1.
pub fn remainder(x: f64) -> f64 {
    let (mut x, mut below) = (x, 0.0);
    while x < SERIES_FROM {
        below += (x + 0.5) * libm::log1p(1.0 / x) - 1.0;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let mut sum = 0.0;
    for coefficient in
        [-691.0 / 360360.0, 1.0 / 1188.0, -1.0 / 1680.0, 1.0 / 1260.0, -1.0 / 360.0, 1.0 / 12.0]
    {
        sum = sum * square + coefficient;
    }
    below + sum / x
}

/// ln Γ(x) for positive `x`, put together from these pieces where the series needs nothing else.
pub fn log_gamma(x: f64) -> f64 {
    if x < SERIES_FROM {
        return libm::lgamma(x);
    }
    (x - 0.5) * libm::log(x) - x + HALF_LOG_TWO_PI + remainder(x)
}

/// The deviance x ln(x / m) − x + m of a count from its mean, never negative: by the series of the logarithm where they are near.
pub fn deviance(count: f64, mean: f64) -> f64 {
    if count == 0.0 {
        return mean;
    }
    let difference = count - mean;
    if difference.abs() < 0.1 * (count + mean) {
        let ratio = difference / (count + mean);
        let (mut sum, mut power) = (difference * ratio, 2.0 * count * ratio);
        for term in 1..1000 {
            power *= ratio * ratio;
            let next = sum + power / f64::from(2 * term + 1);
            if next == sum {
                break;
            }
            sum = next;
        }
        return sum;
    }
    count * libm::log(count / mean) - difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn the_remainder_completes_the_logarithm_of_the_gamma_function() {
        for x in [0.01, 0.5, 1.0, 2.0, 7.5, 10.0, 123.0] {
            let stirling = (x - 0.5) * libm::log(x) - x + 0.5 * libm::log(2.0 * std::f64::consts::PI);
            let apart = stirling + remainder(x) - libm::lgamma(x);
            assert!(apart.abs() < 1e-14 * (1.0 + libm::lgamma(x).abs()), "{x}: {apart}");
        }
        // 1 − ½ ln 2π.
        assert_near("δ(1)", remainder(1.0), 0.08106146679532726, 1e-13);
    }

    #[test]
    fn the_deviance_keeps_its_digits_near_the_mean() {
        assert_eq!((deviance(0.0, 3.0), deviance(7.0, 7.0)), (3.0, 0.0));
        // d²/2m − d³/6m²
        assert_near("near", deviance(1e9 + 1.0, 1e9), 5e-10, 1e-8);
        for (count, mean) in [(12.0, 10.0), (10.0, 12.0), (122.3, 100.0), (50.0, 2.0)] {
            let direct = count * libm::log(count / mean) - count + mean;
            assert_near("deviance", deviance(count, mean), direct, 1e-12);
        }
    }
}
