//! Shares of two arms: tests, and intervals of a share, of a difference and of a ratio. The exact interval of one share is
//! [`crate::statistics::binomial::clopper_pearson`].
//!
//! Differences are treated less control, ratios treated to control.

use std::cmp::Ordering;
use std::f64::consts::PI;

use crate::statistics::normal::{self, Statistic};
use crate::statistics::{Interval, beta, gamma, root};

/// How much more likely than the observed table another may be and still count as no more likely: rounding, as R and scipy have it.
const AS_LIKELY: f64 = 1.0 + 1e-7;

/// The logarithm beyond which a ratio of shares is not looked for.
const LOG_RATIO_MAX: f64 = 700.0;

/// How many of how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    successes: u64,
    trials: u64,
}

impl Share {
    /// So many successes of so many trials.
    ///
    /// # Panics
    /// If there are no trials, or more successes than trials.
    pub fn new(successes: u64, trials: u64) -> Self {
        assert!(0 < trials, "a share is one of trials");
        assert!(successes <= trials, "{successes} of {trials}");
        Self { successes, trials }
    }

    /// The successes.
    pub fn successes(&self) -> u64 {
        self.successes
    }

    /// The trials.
    pub fn trials(&self) -> u64 {
        self.trials
    }

    /// The share, p = x / n.
    pub fn value(&self) -> f64 {
        self.successes as f64 / self.trials as f64
    }

    /// The variance of one trial, p (1 − p).
    pub fn variance(&self) -> f64 {
        self.value() * self.failures() / self.trials as f64
    }

    fn failures(&self) -> f64 {
        (self.trials - self.successes) as f64
    }

    /// The variance of the share, p (1 − p) / n.
    fn error(&self) -> f64 {
        self.variance() / self.trials as f64
    }

    /// p ± z √(p (1 − p) / n), cut at 0 and 1: Wald's, here for comparison. It covers too seldom, and has no width where all trials end alike.
    pub fn wald(&self, confidence: f64) -> Interval {
        around(self.value(), two_sided_quantile(confidence) * self.error().sqrt())
    }

    /// The shares that a test with the variance of the null hypothesis does not reject, (p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n):
    /// Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    pub fn wilson(&self, confidence: f64) -> Interval {
        let (z, n) = (two_sided_quantile(confidence), self.trials as f64);
        let part = z * z / n;
        let half = (z * z * self.error() + 0.25 * part * part).sqrt() / (1.0 + part);
        around((self.value() + 0.5 * part) / (1.0 + part), half)
    }

    /// Wald's interval after z²/2 more successes and as many failures, cut at 0 and 1: Agresti and Coull, "Approximate is better than 'exact'
    /// for interval estimation of binomial proportions" (1998). It contains Wilson's.
    pub fn agresti_coull(&self, confidence: f64) -> Interval {
        let z = two_sided_quantile(confidence);
        let trials = self.trials as f64 + z * z;
        let value = (self.successes as f64 + 0.5 * z * z) / trials;
        around(value, z * (value * (1.0 - value) / trials).sqrt())
    }

    /// Quantiles of Beta(x + ½, n − x + ½), the belief after the prior of Jeffreys; also where all trials end alike, when neither end is at 0
    /// or 1.
    pub fn jeffreys(&self, confidence: f64) -> Interval {
        let (a, b) = (self.successes as f64 + 0.5, self.failures() + 0.5);
        let tail = 0.5 * (1.0 - confidence);
        // The upper end from its own tail, as a quantile near 0 has more digits than one near 1.
        Interval { low: beta::quantile(tail, a, b), high: 1.0 - beta::quantile(tail, b, a) }
    }

    /// One more success and one more failure.
    fn padded(&self) -> (f64, f64) {
        let trials = self.trials as f64 + 2.0;
        let value = (self.successes as f64 + 1.0) / trials;
        (value, value * (1.0 - value) / trials)
    }
}

fn two_sided_quantile(confidence: f64) -> f64 {
    -normal::quantile(0.5 * (1.0 - confidence))
}

/// The part of an interval in which shares are.
fn around(value: f64, half: f64) -> Interval {
    Interval { low: (value - half).max(0.0), high: (value + half).min(1.0) }
}

fn difference(control: Share, treated: Share) -> f64 {
    treated.value() - control.value()
}

/// The test with the variance of both arms together, p̄ (1 − p̄) (1/n₁ + 1/n₂), as it is where they are alike. Its square is Pearson's
/// [`chi_squared`]. 0 where all trials end alike.
pub fn pooled(control: Share, treated: Share) -> Statistic {
    let together = Share::new(control.successes + treated.successes, control.trials + treated.trials);
    let inverse = 1.0 / control.trials as f64 + 1.0 / treated.trials as f64;
    Statistic::new(difference(control, treated), (together.variance() * inverse).sqrt())
}

/// The test with the variance of each arm, p₁ (1 − p₁)/n₁ + p₂ (1 − p₂)/n₂: Wald's, which agrees with [`wald_interval`].
pub fn unpooled(control: Share, treated: Share) -> Statistic {
    Statistic::new(difference(control, treated), (control.error() + treated.error()).sqrt())
}

/// Wald's test after one more success and one more failure in each arm, of which also the difference is taken.
pub fn agresti_caffo(control: Share, treated: Share) -> Statistic {
    let ((one, error), (other, other_error)) = (control.padded(), treated.padded());
    Statistic::new(other - one, (error + other_error).sqrt())
}

/// The test that a difference of shares is `null`, with the variance of the likeliest shares that differ so and a factor N / (N − 1): Miettinen
/// and Nurminen, "Comparative analysis of two rates" (1985). At a difference of 0 this is [`pooled`] times √((N − 1)/N).
///
/// # Panics
/// Unless the difference lies between −1 and 1.
pub fn score(control: Share, treated: Share, null: f64) -> Statistic {
    assert!(-1.0 < null && null < 1.0, "shares do not differ by {null}");
    score_of_difference(control, treated, null)
}

fn score_of_difference(control: Share, treated: Share, null: f64) -> Statistic {
    let (low, high) = ((-null).max(0.0), (1.0 - null).min(1.0));
    let share = root::boundary(low, high, |p| 0.0 < slope(control, p) + slope(treated, p + null));
    let other = (share + null).clamp(0.0, 1.0);
    let variance =
        share * (1.0 - share) / control.trials as f64 + other * (1.0 - other) / treated.trials as f64;
    Statistic::new(
        difference(control, treated) - null,
        (variance * small_sample_factor(control, treated)).sqrt(),
    )
}

/// The test that a ratio of shares is `null`, by the same method: of p₂ − θ p₁, with the variance of the likeliest shares of this ratio.
///
/// # Panics
/// Unless the ratio is positive.
pub fn score_of_ratio(control: Share, treated: Share, null: f64) -> Statistic {
    assert!(0.0 < null && null.is_finite(), "shares do not have the ratio {null}");
    let high = (1.0 / null).min(1.0);
    let share =
        root::boundary(0.0, high, |p| 0.0 < slope(control, p) + null * slope(treated, (p * null).min(1.0)));
    let other = (share * null).min(1.0);
    let variance = other * (1.0 - other) / treated.trials as f64
        + null * null * share * (1.0 - share) / control.trials as f64;
    Statistic::new(
        treated.value() - null * control.value(),
        (variance * small_sample_factor(control, treated)).sqrt(),
    )
}

fn small_sample_factor(control: Share, treated: Share) -> f64 {
    let all = (control.trials + treated.trials) as f64;
    all / (all - 1.0)
}

/// The slope of the log-likelihood, x/p − (n − x)/(1 − p), which falls.
fn slope(share: Share, p: f64) -> f64 {
    let part = |count: f64, p: f64| if count == 0.0 { 0.0 } else { count / p };
    part(share.successes as f64, p) - part(share.failures(), 1.0 - p)
}

/// Pearson's test of a table of two rows and two columns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ChiSquared {
    /// The statistic.
    pub chi_squared: f64,
    /// Its p-value, of one degree of freedom.
    pub p: f64,
}

impl ChiSquared {
    fn of(deviation: f64, control: Share, treated: Share) -> Self {
        let successes = (control.successes + treated.successes) as f64;
        let failures = control.failures() + treated.failures();
        let (one, other) = (control.trials as f64, treated.trials as f64);
        // Each cell is as far from what is expected.
        let inverse = (one + other) / successes / failures * (one + other) / one / other;
        let chi_squared =
            if deviation == 0.0 { 0.0 } else { deviation * deviation * inverse * (one + other) };
        Self { chi_squared, p: gamma::chi_squared_sf(chi_squared, 1.0) }
    }
}

/// How far each cell is from what is expected, |x₁ − n₁ x̄| without a sign.
fn deviation(control: Share, treated: Share) -> f64 {
    let (one, other) = (control.trials as f64, treated.trials as f64);
    difference(control, treated).abs() / (one + other) * one * other
}

/// Pearson's χ² without a correction: the square of [`pooled`]. 0 where all trials end alike.
pub fn chi_squared(control: Share, treated: Share) -> ChiSquared {
    ChiSquared::of(deviation(control, treated), control, treated)
}

/// Pearson's χ² with the correction of Yates, "Contingency tables involving small numbers and the χ² test" (1934): each cell is brought nearer
/// to what is expected by ½, but not past it.
pub fn chi_squared_yates(control: Share, treated: Share) -> ChiSquared {
    ChiSquared::of((deviation(control, treated) - 0.5).max(0.0), control, treated)
}

/// Fisher's exact test.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Exact {
    /// The odds of control to those of treated, x₁ (n₂ − x₂) / (x₂ (n₁ − x₁)); 1 where all trials end alike, infinite where only x₂ or n₁ − x₁
    /// is 0.
    pub odds_ratio: f64,
    /// The two-sided p-value: the probability of all tables with these margins that are no more likely than the one seen.
    pub p: f64,
}

/// Fisher's exact test, "On the interpretation of χ² from contingency tables, and the calculation of P" (1922). Where the table seen has less
/// than 10⁻³⁰⁰ of the probability of the likeliest, the p-value is 0.
pub fn fisher(control: Share, treated: Share) -> Exact {
    let weights = tables(control, treated);
    let seen = weights.iter().find(|(x, _)| *x == control.successes).map_or(0.0, |(_, weight)| *weight);
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let rare: f64 =
        weights.iter().map(|(_, weight)| *weight).filter(|weight| *weight <= seen * AS_LIKELY).sum();
    let above = control.successes as f64 * treated.failures();
    let below = treated.successes as f64 * control.failures();
    let odds_ratio =
        if control.successes + treated.successes == 0 || control.failures() + treated.failures() == 0.0 {
            1.0
        } else {
            above / below
        };
    Exact { odds_ratio, p: (rare / total).min(1.0) }
}

/// Between which two probabilities the exact p-value of the pooled test lies, given how many succeeded in all: of a larger |z|, and of one at least
/// as large, which is the p-value. If arms were drawn by chance it is exact however few the trials are, and whatever each would have come to under
/// either arm. A number drawn evenly from between the two is spread evenly from 0 to 1, which neither of them is: Tocher, "Extension of the
/// Neyman–Pearson theory of tests to discontinuous variates" (1950). Both are 0 where [`fisher`] is.
pub fn pooled_exact(control: Share, treated: Share) -> [f64; 2] {
    let weights = tables(control, treated);
    // With these margins |z| is in proportion to |x n − n₁ s|: whole numbers, of which equal ones are equal.
    let (all, successes) = (control.trials + treated.trials, control.successes + treated.successes);
    let far =
        |x: u64| (i128::from(x) * i128::from(all) - i128::from(control.trials) * i128::from(successes)).abs();
    let seen = far(control.successes);
    let (mut beyond, mut at, mut total) = (0.0, 0.0, 0.0);
    for (x, weight) in weights {
        total += weight;
        match far(x).cmp(&seen) {
            Ordering::Less => {}
            Ordering::Equal => at += weight,
            Ordering::Greater => beyond += weight,
        }
    }
    [beyond / total, ((beyond + at) / total).min(1.0)]
}

/// How likely each number of successes of control is if it is drawn from all trials without putting any back, in parts of the likeliest; without those
/// of less than 10⁻³⁰⁰ of that.
fn tables(control: Share, treated: Share) -> Vec<(u64, f64)> {
    let successes = control.successes + treated.successes;
    let least = successes.saturating_sub(treated.trials);
    let most = successes.min(control.trials);
    // From one table to the next: what of control is 1 more.
    let up = |x: u64| {
        let more = (control.trials - x) as f64 * (successes - x) as f64;
        more / ((x + 1) as f64 * (treated.trials + x + 1 - successes) as f64)
    };
    let all = (control.trials + treated.trials + 2) as f64;
    let mode = ((control.trials + 1) as f64 * ((successes + 1) as f64 / all)) as u64;
    let mode = mode.clamp(least, most);
    let mut weights = vec![(mode, 1.0)];
    let mut weight = 1.0;
    for x in mode..most {
        weight *= up(x);
        weights.push((x + 1, weight));
        if weight == 0.0 {
            break;
        }
    }
    weight = 1.0;
    for x in (least..mode).rev() {
        weight /= up(x);
        weights.push((x, weight));
        if weight == 0.0 {
            break;
        }
    }
    weights
}

/// The difference ± z standard errors of [`unpooled`]: Wald's, which covers too seldom at small counts.
pub fn wald_interval(control: Share, treated: Share, confidence: f64) -> Interval {
    let half = two_sided_quantile(confidence) * (control.error() + treated.error()).sqrt();
    let middle = difference(control, treated);
    Interval { low: middle - half, high: middle + half }
}

/// Of the difference from Wilson's intervals of both shares, d − √((p₂ − l₂)² + (u₁ − p₁)²) and d + √((u₂ − p₂)² + (p₁ − l₁)²): method 10 of
/// Newcombe, "Interval estimation for the difference between independent proportions" (1998).
pub fn newcombe(control: Share, treated: Share, confidence: f64) -> Interval {
    let (one, other) = (control.wilson(confidence), treated.wilson(confidence));
    let middle = difference(control, treated);
    let below = libm::hypot(treated.value() - other.low, one.high - control.value());
    let above = libm::hypot(other.high - treated.value(), control.value() - one.low);
    Interval { low: middle - below, high: middle + above }
}

/// Wald's interval after one more success and one more failure in each arm: Agresti and Caffo, "Simple and effective confidence intervals for
/// proportions and differences of proportions result from adding two successes and two failures" (2000).
pub fn agresti_caffo_interval(control: Share, treated: Share, confidence: f64) -> Interval {
    let ((one, error), (other, other_error)) = (control.padded(), treated.padded());
    let half = two_sided_quantile(confidence) * (error + other_error).sqrt();
    Interval { low: other - one - half, high: other - one + half }
}

/// The differences that [`score`] does not reject.
pub fn score_interval(control: Share, treated: Share, confidence: f64) -> Interval {
    let z = two_sided_quantile(confidence);
    let middle = difference(control, treated);
    let above = |null: f64, z: f64| z < score_of_difference(control, treated, null).z;
    Interval {
        low: root::boundary(-1.0, middle, |null| above(null, z)),
        high: root::boundary(middle, 1.0, |null| above(null, -z)),
    }
}

/// What statsmodels 0.15 gives for [`score_interval`], to compare with it and for nothing else. Its closed form of the likeliest shares (the cubic
/// of Miettinen and Nurminen's appendix) has x₁ where n₁ belongs, in the coefficient of the linear term, so that they are not the likeliest; the
/// ends differ from the right ones in the third digit. Confirmed against that cubic as it should be, and by maximising the likelihood.
pub fn score_interval_of_statsmodels(control: Share, treated: Share, confidence: f64) -> Interval {
    let z = two_sided_quantile(confidence);
    let middle = difference(control, treated);
    let (x, n, other_n) = (control.successes as f64, control.trials as f64, treated.trials as f64);
    let (successes, all) = (x + treated.successes as f64, n + other_n);
    let statistic = |null: f64| {
        let square = ((other_n + 2.0 * n) * null - all - successes) / (3.0 * all);
        let linear = ((x * null - all - 2.0 * x) * null + successes) / all;
        let constant = x * null * (1.0 - null) / all;
        let q = square * square * square - 0.5 * linear * square + 0.5 * constant;
        let p = (square * square - linear / 3.0).max(0.0).sqrt().copysign(q);
        let angle = (PI + libm::acos((q / (p * p * p)).clamp(-1.0, 1.0))) / 3.0;
        let share = 2.0 * p * libm::cos(angle) - square;
        let other = share + null;
        let variance = share * (1.0 - share) / n + other * (1.0 - other) / other_n;
        Statistic::new(middle - null, (variance * small_sample_factor(control, treated)).sqrt()).z
    };
    Interval {
        low: root::boundary(-1.0, middle, |null| z < statistic(null)),
        high: root::boundary(middle, 1.0, |null| -z < statistic(null)),
    }
}

/// Of the ratio, by the normal distribution of its logarithm with the variance 1/x₁ − 1/n₁ + 1/x₂ − 1/n₂: Katz and others, "Obtaining
/// confidence intervals for the risk ratio in cohort studies" (1978). All ratios where an arm has no success.
pub fn log_ratio_interval(control: Share, treated: Share, confidence: f64) -> Interval {
    if control.successes == 0 || treated.successes == 0 {
        return Interval { low: 0.0, high: f64::INFINITY };
    }
    let variance = |share: Share| share.failures() / share.trials as f64 / share.successes as f64;
    let half = two_sided_quantile(confidence) * (variance(control) + variance(treated)).sqrt();
    let ratio = treated.value() / control.value();
    Interval { low: ratio * libm::exp(-half), high: ratio * libm::exp(half) }
}

/// The ratios that [`score_of_ratio`] does not reject; from 0 where treated has no success, to infinity where control has none.
pub fn score_ratio_interval(control: Share, treated: Share, confidence: f64) -> Interval {
    let z = two_sided_quantile(confidence);
    let end = |z: f64| {
        let above = |log: f64| z < score_of_ratio(control, treated, libm::exp(log)).z;
        libm::exp(root::boundary(-LOG_RATIO_MAX, LOG_RATIO_MAX, above))
    };
    Interval {
        low: if treated.successes == 0 { 0.0 } else { end(z) },
        high: if control.successes == 0 { f64::INFINITY } else { end(-z) },
    }
}

/// Whether treated is not worse than control by a part `margin` of it, where more is better: the one-sided test of p₂ − p₁ (1 − m) with the
/// unpooled variance. The margin counts as known, m p₁, whose error is left out.
pub fn non_inferiority(control: Share, treated: Share, margin: f64) -> Statistic {
    let gain = difference(control, treated) + margin * control.value();
    Statistic::new(gain, (control.error() + treated.error()).sqrt())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::base::Seed;
    use crate::statistics::rank::uniformity;
    use crate::statistics::tests::assert_near;

    #[test]
    fn arms_that_are_alike_do_not_differ_even_without_variance() {
        for share in [Share::new(0, 10), Share::new(10, 10), Share::new(1, 1), Share::new(3, 7)] {
            for test in [pooled, unpooled, agresti_caffo, |one, other| score(one, other, 0.0)] {
                assert_eq!(test(share, share).p(), 1.0, "{share:?}");
            }
            assert_eq!(chi_squared(share, share).p, 1.0);
            assert_eq!(chi_squared_yates(share, share).p, 1.0);
            assert_near("exact", fisher(share, share).p, 1.0, 1e-12);
            for interval in [wald_interval, newcombe, agresti_caffo_interval, score_interval] {
                assert!(interval(share, share, 0.95).contains(0.0), "{share:?}");
            }
            assert!(log_ratio_interval(share, share, 0.95).contains(1.0), "{share:?}");
            assert!(score_ratio_interval(share, share, 0.95).contains(1.0), "{share:?}");
        }
    }

    #[test]
    fn arms_that_differ_wholly_have_intervals_within_bounds() {
        let (none, all) = (Share::new(0, 20), Share::new(20, 20));
        let found = score_interval(none, all, 0.95);
        assert!(0.7 < found.low && found.low < 1.0 && found.high == 1.0, "{found:?}");
        let found = score_ratio_interval(none, all, 0.95);
        assert!(1.0 < found.low && found.high.is_infinite(), "{found:?}");
        let found = score_ratio_interval(all, none, 0.95);
        assert!(found.low == 0.0 && found.high < 1.0, "{found:?}");
        assert!(fisher(none, all).p < 1e-10);
        assert_eq!(fisher(none, all).odds_ratio, 0.0);
    }

    #[test]
    fn an_exact_test_is_one_of_ladies_and_tea() {
        // Fisher, 1935: 1/70 for all right, 17/70 for at most two wrong; twice that, as the distribution is symmetric.
        assert_near("all", fisher(Share::new(0, 4), Share::new(4, 4)).p, 2.0 / 70.0, 1e-13);
        assert_near("two wrong", fisher(Share::new(1, 4), Share::new(3, 4)).p, 34.0 / 70.0, 1e-13);
    }

    #[test]
    fn intervals_cover_about_as_often_as_they_say() {
        // Exactly: every outcome of two arms of 40 with its probability.
        let (trials, one, other) = (40u64, 0.2, 0.35);
        let probability = |x: u64, p: f64| {
            let ways: f64 = (1..=x).map(|i| (trials - x + i) as f64 / i as f64).product();
            ways * p.powi(x as i32) * (1.0 - p).powi((trials - x) as i32)
        };
        let mut covered = [0.0; 4];
        for x in 0..=trials {
            for y in 0..=trials {
                let weight = probability(x, one) * probability(y, other);
                let (control, treated) = (Share::new(x, trials), Share::new(y, trials));
                for (covered, interval) in
                    covered.iter_mut().zip([newcombe, agresti_caffo_interval, score_interval, wald_interval])
                {
                    let holds = weight < 1e-9 || interval(control, treated, 0.95).contains(other - one);
                    *covered += if holds { weight } else { 0.0 };
                }
            }
        }
        for coverage in &covered[..3] {
            assert!((0.94..0.96).contains(coverage), "{covered:?}");
        }
        assert!(covered[3] < covered[1], "Wald's covers least: {covered:?}");
    }

    #[test]
    fn the_likeliest_shares_are_those_of_the_cubic() {
        // Miettinen and Nurminen's closed form, solved for the ends in double precision.
        let found = score_interval(Share::new(100, 1000), Share::new(130, 1000), 0.95);
        assert_near("low", found.low, 0.0020415972117549717, 1e-10);
        assert_near("high", found.high, 0.05817247365991324, 1e-10);
    }

    #[test]
    fn the_score_interval_of_a_difference_is_that_of_miettinen_and_nurminen() {
        // By root finding over the likeliest shares of the restricted model, apart from this project.
        for (control, treated, low, high) in [
            ((5, 120), (16, 118), 0.0233704, 0.1727466),
            ((38, 10_000), (42, 10_000), -0.00138136, 0.00219930),
            ((1200, 24_000), (1340, 24_100), 0.00160546, 0.00960352),
        ] {
            let share = |(successes, trials)| Share::new(successes, trials);
            let found = score_interval(share(control), share(treated), 0.95);
            let near = |found: f64, expected: f64| (found - expected).abs() < 6e-8;
            assert!(near(found.low, low) && near(found.high, high), "{control:?} {treated:?}: {found:?}");
        }
    }

    #[test]
    fn a_margin_of_nothing_asks_for_superiority() {
        let (control, treated) = (Share::new(100, 1000), Share::new(130, 1000));
        assert_eq!(non_inferiority(control, treated, 0.0), unpooled(control, treated));
        assert!(non_inferiority(control, treated, 0.05).p_more() < unpooled(control, treated).p_more());
    }

    #[test]
    fn the_exact_p_value_of_the_pooled_test_is_counted_by_hand() {
        let found = |control: (u64, u64), treated: (u64, u64)| {
            pooled_exact(Share::new(control.0, control.1), Share::new(treated.0, treated.1))
        };
        for (name, control, treated, expected) in [
            ("one of two arms alike: either is as far", (1, 2), (0, 2), [0.0, 1.0]),
            ("both of one arm: 1 of 6 ways, and 1 on the other side", (2, 2), (0, 2), [0.0, 1.0 / 3.0]),
            ("one of each", (1, 2), (1, 2), [1.0 / 3.0, 1.0]),
            ("all of the larger arm: 1 of 4 ways", (3, 3), (0, 1), [0.0, 0.25]),
            ("all but one of it", (2, 3), (1, 1), [0.25, 1.0]),
            ("nobody", (0, 5), (0, 5), [0.0, 1.0]),
        ] {
            let [low, high] = found(control, treated);
            assert_near(&format!("{name}, beyond"), low, expected[0], 1e-12);
            assert_near(&format!("{name}, at least"), high, expected[1], 1e-12);
        }
        // Where arms are alike in size, the likelier table is the nearer.
        let (control, treated) = (Share::new(30, 100), Share::new(45, 100));
        assert_near("fisher", pooled_exact(control, treated)[1], fisher(control, treated).p, 1e-9);
    }

    #[test]
    fn p_values_drawn_from_their_gaps_are_spread_evenly_and_others_of_counts_are_not() {
        let mut stream = Seed::new(1).stream("gaps");
        let (mut drawn, mut exact, mut approximate) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3000 {
            // 60 users, of whom 12 succeed whatever they see, into two arms by a coin.
            let mut arms = [(0, 0); 2];
            for user in 0..60 {
                let arm = &mut arms[usize::from(stream.random::<bool>())];
                arm.1 += 1;
                arm.0 += u64::from(user < 12);
            }
            let [control, treated] = arms.map(|(successes, trials)| Share::new(successes, trials));
            let [low, high] = pooled_exact(control, treated);
            drawn.push(low + (high - low) * stream.random::<f64>());
            exact.push(high);
            approximate.push(pooled(control, treated).p());
        }
        assert!(0.01 < uniformity(&drawn).p, "{:?}", uniformity(&drawn));
        for lumpy in [exact, approximate] {
            assert!(uniformity(&lumpy).p < 1e-6, "{:?}", uniformity(&lumpy));
        }
    }
}
