//! How many pairs it takes to see a difference.

use crate::statistics::normal;

/// How sure one wants to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Demand {
    /// The probability of seeing a difference where there is none, two-sided.
    pub alpha: f64,
    /// The probability of seeing one that is there.
    pub power: f64,
}

impl Demand {
    fn quantiles(self) -> (f64, f64) {
        (normal::quantile(1.0 - 0.5 * self.alpha), normal::quantile(self.power))
    }
}

/// How many pairs a paired t-test of a mean difference needs: ((z₁₋α/₂ + z_power) · sd / mean)² + z²₁₋α/₂ / 2, rounded up; the last term,
/// of Guenther, "Sample size formulas for normal theory t tests" (1981), is for the sake of the t distribution. None where the mean is 0.
pub fn pairs_for_mean(mean: f64, standard_deviation: f64, demand: Demand) -> Option<u64> {
    let (z, power) = demand.quantiles();
    let ratio = (z + power) * standard_deviation / mean;
    whole(ratio * ratio + 0.5 * z * z)
}

/// The smallest mean difference that so many pairs show with the demanded power: (z₁₋α/₂ + z_power) · sd / √n.
pub fn detectable_mean(pairs: u64, standard_deviation: f64, demand: Demand) -> f64 {
    let (z, power) = demand.quantiles();
    (z + power) * standard_deviation / (pairs as f64).sqrt()
}

/// How many pairs McNemar's test needs, if these shares of them have only the first and only the second success:
/// (z₁₋α/₂ √ψ + z_power √(ψ − δ²))² / δ² with ψ their sum and δ their difference, rounded up; Connor, "Sample size for testing differences
/// in proportions for the paired-sample design" (1987). None where they are equal.
pub fn pairs_for_shares(only_first: f64, only_second: f64, demand: Demand) -> Option<u64> {
    let (z, power) = demand.quantiles();
    let (both, difference) = (only_first + only_second, only_second - only_first);
    let root = z * both.sqrt() + power * (both - difference * difference).max(0.0).sqrt();
    whole(root * root / (difference * difference))
}

/// The fewest pairs of which any could be told apart by a test of signs at the level `alpha` among `questions`: with n pairs no p-value is
/// below 2¹⁻ⁿ, and Holm's procedure wants one of at most α/m.
pub fn pairs_min(questions: usize, alpha: f64) -> u64 {
    let mut pairs = 1;
    while alpha < libm::exp2(1.0 - pairs as f64) * questions as f64 {
        pairs += 1;
    }
    pairs
}

fn whole(number: f64) -> Option<u64> {
    (number.is_finite() && number < 1e15).then(|| number.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    const USUAL: Demand = Demand { alpha: 0.05, power: 0.8 };

    #[test]
    fn sample_sizes_agree_with_their_sources() {
        // R: power.t.test(delta = .5, sd = 1, power = .8, type = "paired") gives 33.37.
        assert_eq!(pairs_for_mean(0.5, 1.0, USUAL), Some(34));
        assert_eq!(pairs_for_mean(-0.5, 1.0, USUAL), Some(34));
        assert_eq!(pairs_for_mean(0.0, 1.0, USUAL), None);
        // The smallest effect of two independent arms of n is that of pairs whose differences vary by √2 as much.
        for (sd, n, expected) in [(14.2, 5000, 0.7956502019440831), (0.217945, 20000, 0.00610591490361631)] {
            assert_near("mde", detectable_mean(n, sd * 2f64.sqrt(), USUAL), expected, 1e-9);
        }
        // Worked by hand: psi = .3, delta = .1: (1.95996 * .547723 + .841621 * .538516)² / .01.
        assert_eq!(pairs_for_shares(0.1, 0.2, USUAL), Some(234));
        assert_eq!(pairs_for_shares(0.2, 0.2, USUAL), None);
    }

    #[test]
    fn the_fewest_pairs_grow_with_the_questions() {
        assert_eq!((pairs_min(1, 0.05), pairs_min(20, 0.05)), (6, 10));
    }
}
