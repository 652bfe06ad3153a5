//! How many pairs, or users of two arms, it takes to see a difference.

use crate::statistics::{normal, root, student};

/// The most users an arm may need; beyond, a search ends.
const USERS_MAX: f64 = 1e15;

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

/// Two arms: the larger one may be whichever.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sizes {
    /// Users of control.
    pub control: f64,
    /// Users of treated.
    pub treated: f64,
}

impl Sizes {
    fn split(control: f64, ratio: f64) -> Self {
        Self { control, treated: control * ratio }
    }

    /// 1/n₁ + 1/n₂.
    fn inverse(&self) -> f64 {
        1.0 / self.control + 1.0 / self.treated
    }
}

/// The smallest difference of means that two arms show with the demanded power, where both vary alike:
/// (z₁₋α/₂ + z_power) sd √(1/n₁ + 1/n₂).
pub fn detectable_difference(sizes: Sizes, standard_deviation: f64, demand: Demand) -> f64 {
    let (z, power) = demand.quantiles();
    (z + power) * standard_deviation * sizes.inverse().sqrt()
}

/// Two shares that are to be told apart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shares {
    /// The share of control.
    pub control: f64,
    /// The share of treated.
    pub treated: f64,
}

impl Shares {
    fn difference(&self) -> f64 {
        self.treated - self.control
    }

    /// How far apart they are where their variance does not depend on them, 2 asin √p₂ − 2 asin √p₁: h of Cohen, "Statistical power analysis for
    /// the behavioral sciences" (1988).
    pub fn cohen_h(&self) -> f64 {
        2.0 * (libm::asin(self.treated.sqrt()) - libm::asin(self.control.sqrt()))
    }

    /// n₁ times the variance of their difference, p₁ (1 − p₁) + p₂ (1 − p₂)/r with r treated users to each of control.
    fn unpooled(&self, ratio: f64) -> f64 {
        self.control * (1.0 - self.control) + self.treated * (1.0 - self.treated) / ratio
    }

    /// The same if both had the mean share.
    fn pooled(&self, ratio: f64) -> f64 {
        let mean = (self.control + ratio * self.treated) / (1.0 + ratio);
        mean * (1.0 - mean) * (1.0 + 1.0 / ratio)
    }
}

/// The power of the two-sided pooled z-test of shares, both ways of rejecting counted: Φ((±d − z s₀)/s₁) with the standard error s₀ of the null
/// hypothesis, of equal shares, and s₁ of these.
pub fn power_of_shares(shares: Shares, sizes: Sizes, alpha: f64) -> f64 {
    let ratio = sizes.treated / sizes.control;
    let null = (shares.pooled(ratio) / sizes.control).sqrt();
    let alternative = (shares.unpooled(ratio) / sizes.control).sqrt();
    let bound = -normal::quantile(0.5 * alpha) * null;
    let way = |difference: f64| normal::Statistic::new(difference - bound, alternative).p_less();
    way(shares.difference()) + way(-shares.difference())
}

/// How many users control needs for the pooled z-test, with `ratio` treated users to each: (z₁₋α/₂ s₀ + z_power s₁)²/d², as power.prop.test of R
/// has it, which leaves the wrong way of rejecting out. Infinite for equal shares. This is the convention to report.
pub fn users_for_shares(shares: Shares, ratio: f64, demand: Demand) -> f64 {
    let (z, power) = demand.quantiles();
    let root = z * shares.pooled(ratio).sqrt() + power * shares.unpooled(ratio).sqrt();
    square(root / shares.difference())
}

/// The same for the unpooled z-test: (z₁₋α/₂ + z_power)² s₁²/d².
pub fn users_for_shares_unpooled(shares: Shares, ratio: f64, demand: Demand) -> f64 {
    let (z, power) = demand.quantiles();
    square((z + power) / shares.difference()) * shares.unpooled(ratio)
}

/// The same for the z-test of arcsines, whose effect is [`Shares::cohen_h`], with both ways of rejecting counted.
pub fn users_for_shares_arcsine(shares: Shares, ratio: f64, demand: Demand) -> f64 {
    let effect = shares.cohen_h().abs();
    let z = -normal::quantile(0.5 * demand.alpha);
    users(effect, |users| {
        let shift = effect / Sizes::split(users, ratio).inverse().sqrt();
        normal::cdf(shift - z) + normal::cdf(-shift - z) < demand.power
    })
}

/// The power of the two-sided t-test of two arms that vary alike, whose means are `effect` standard deviations apart, by the noncentral t
/// distribution with n₁ + n₂ − 2 degrees of freedom; both ways of rejecting counted. `alpha` where there are too few users for a test.
pub fn power_of_means(effect: f64, sizes: Sizes, alpha: f64) -> f64 {
    let degrees_of_freedom = sizes.control + sizes.treated - 2.0;
    if degrees_of_freedom <= 0.0 {
        return alpha;
    }
    let bound = -student::quantile(0.5 * alpha, degrees_of_freedom);
    let shift = effect.abs() / sizes.inverse().sqrt();
    student::noncentral_sf(bound, degrees_of_freedom, shift)
        + student::noncentral_sf(bound, degrees_of_freedom, -shift)
}

/// How many users control needs for the t-test, with `ratio` treated users to each; not rounded, infinite without an effect.
pub fn users_for_means(effect: f64, ratio: f64, demand: Demand) -> f64 {
    users(effect, |users| power_of_means(effect, Sizes::split(users, ratio), demand.alpha) < demand.power)
}

/// The fewest users that are not too few, at most [`USERS_MAX`].
fn users(effect: f64, too_few: impl Fn(f64) -> bool) -> f64 {
    if effect == 0.0 {
        return f64::INFINITY;
    }
    let mut high = 2.0;
    while too_few(high) && high < USERS_MAX {
        high *= 2.0;
    }
    if USERS_MAX <= high { f64::INFINITY } else { root::boundary(0.5 * high, high, too_few) }
}

fn square(number: f64) -> f64 {
    number * number
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

    #[test]
    fn what_a_sample_size_is_for_is_reached() {
        let shares = Shares { control: 0.1, treated: 0.13 };
        for ratio in [0.25, 1.0, 3.0] {
            let control = users_for_shares(shares, ratio, USUAL);
            let power = power_of_shares(shares, Sizes::split(control, ratio), USUAL.alpha);
            assert_near("shares", power, USUAL.power, 1e-4);
            let control = users_for_means(0.4, ratio, USUAL);
            assert_near("means", power_of_means(0.4, Sizes::split(control, ratio), 0.05), 0.8, 1e-6);
            // Many users: t is nearly normal, and the detectable difference is the effect.
            let control = users_for_means(0.05, ratio, USUAL);
            let found = detectable_difference(Sizes::split(control, ratio), 1.0, USUAL);
            assert_near("detectable", found, 0.05, 1e-3);
        }
    }

    #[test]
    fn nothing_is_never_seen() {
        let alike = Shares { control: 0.1, treated: 0.1 };
        assert_eq!(users_for_means(0.0, 1.0, USUAL), f64::INFINITY);
        assert_eq!(users_for_shares(alike, 1.0, USUAL), f64::INFINITY);
        assert_eq!(users_for_shares_unpooled(alike, 1.0, USUAL), f64::INFINITY);
        assert_eq!(users_for_shares_arcsine(alike, 1.0, USUAL), f64::INFINITY);
        let sizes = Sizes { control: 50.0, treated: 80.0 };
        assert_near("shares", power_of_shares(alike, sizes, 0.05), 0.05, 1e-9);
        assert_near("means", power_of_means(0.0, sizes, 0.05), 0.05, 1e-9);
        assert_eq!(power_of_means(1.0, Sizes { control: 1.0, treated: 1.0 }, 0.05), 0.05);
    }
}
