//! Shares: exact intervals and tests.

use crate::statistics::{Interval, beta};

/// The exact interval of a share of which `successes` in `trials` were seen, from quantiles of beta distributions: Clopper and Pearson,
/// "The use of confidence or fiducial limits illustrated in the case of the binomial" (1934). It covers at least as often as it says.
///
/// # Panics
/// If there are more successes than trials.
pub fn clopper_pearson(successes: u64, trials: u64, confidence: f64) -> Interval {
    assert!(successes <= trials, "{successes} of {trials}");
    let (x, n, tail) = (successes as f64, trials as f64, 0.5 * (1.0 - confidence));
    let low = if successes == 0 { 0.0 } else { beta::quantile(tail, x, n - x + 1.0) };
    let high = if successes == trials { 1.0 } else { beta::quantile(1.0 - tail, x + 1.0, n - x) };
    Interval { low, high }
}

/// The exact two-sided p-value of McNemar's test ("Note on the sampling error of the difference between correlated proportions or
/// percentages", 1947): of the pairs that differ, each goes either way with probability ½. 1 if no pair differs.
pub fn mcnemar_exact(only_first: u64, only_second: u64) -> f64 {
    let (most, all) = (only_first.max(only_second) as f64, (only_first + only_second) as f64);
    if all == 0.0 {
        return 1.0;
    }
    (2.0 * beta::cdf(0.5, most, all - most + 1.0)).min(1.0)
}

/// An interval of how much larger the share of second successes is than that of first ones, among `pairs` of which so many had only the
/// one or only the other: the Clopper–Pearson intervals of both shares, each at half the risk, subtracted. By Bonferroni's inequality
/// both cover at once, and so does this, at least as often as it says; it is wider than need be.
///
/// # Panics
/// If more pairs differ than there are.
pub fn paired_difference(only_first: u64, only_second: u64, pairs: u64, confidence: f64) -> Interval {
    let each = 0.5 * (1.0 + confidence);
    let (first, second) =
        (clopper_pearson(only_first, pairs, each), clopper_pearson(only_second, pairs, each));
    Interval { low: second.low - first.high, high: second.high - first.low }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn clopper_pearson_agrees_with_statsmodels() {
        for (successes, trials, low, high) in [
            (0, 10, 0.0, 0.30849710781876083),
            (1, 10, 0.0025285785444617848, 0.4450161170281953),
            (5, 100, 0.016431879182052155, 0.11283491110546276),
            (50, 1000, 0.03733539760466178, 0.06539048791549365),
            (4, 5, 0.2835820638819105, 0.9949492366205319),
            (10, 10, 0.6915028921812392, 1.0),
            (47, 10000, 0.003455366243879509, 0.006245156917585836),
            (505, 10000, 0.046289621295847155, 0.05497453533875417),
            (75, 1000, 0.059446128211263154, 0.09310844696149914),
        ] {
            let found = clopper_pearson(successes, trials, 0.95);
            assert_near(&format!("low of {successes}/{trials}"), found.low, low, 1e-9);
            assert_near(&format!("high of {successes}/{trials}"), found.high, high, 1e-9);
        }
    }

    #[test]
    fn mcnemar_agrees_with_statsmodels_and_the_exact_binomial_test() {
        for (one, other, expected) in [
            (30, 55, 0.008836205876094518),
            (4, 11, 0.11846923828124999),
            (15, 5, 0.04138946533203125),
            (10, 10, 1.0),
            (50312, 49688, 0.048826485514379764),
            (50600, 49400, 0.00014967191091437408),
        ] {
            assert_near(&format!("{one} to {other}"), mcnemar_exact(one, other), expected, 1e-8);
        }
        assert_eq!(mcnemar_exact(0, 0), 1.0);
    }

    #[test]
    fn a_paired_difference_covers_at_least_as_often_as_it_says() {
        // Exactly: all that can be seen of 12 pairs, of which a share differs either way, with its probability.
        let choose = |n: u64, k: u64| (1..=k).map(|i| (n - k + i) as f64 / i as f64).product::<f64>();
        let pairs = 12;
        for (one, other) in [(0.0, 0.0), (0.1, 0.3), (0.25, 0.25), (0.02, 0.9), (0.0, 0.05)] {
            let mut covered = 0.0;
            for only_first in 0..=pairs {
                for only_second in 0..=pairs - only_first {
                    let rest = pairs - only_first - only_second;
                    let ways = choose(pairs, only_first) * choose(pairs - only_first, only_second);
                    let power = |share: f64, times: u64| share.powi(times as i32);
                    let odds =
                        power(one, only_first) * power(other, only_second) * power(1.0 - one - other, rest);
                    let found = paired_difference(only_first, only_second, pairs, 0.95);
                    if found.contains(other - one) {
                        covered += ways * odds;
                    }
                }
            }
            assert!(0.95 <= covered, "{one} and {other}: {covered}");
        }
    }
}
