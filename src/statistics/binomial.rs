//! Shares: exact intervals and tests.

use std::f64::consts::PI;

use crate::statistics::normal::Statistic;
use crate::statistics::{Interval, beta, gamma, stirling, student};

/// By how much another count may be more likely than the one seen and still count as no more likely: rounding, as R and scipy have it.
const AS_LIKELY: f64 = 1e-7;

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

/// The interval of a share whose trials come in clusters, (successes, trials) each, that may be alike within: that of Clopper and Pearson for as
/// many independent trials as would vary as much. Korn and Graubard, "Confidence intervals for proportions with small expected number of
/// positive counts estimated from survey data" (1998), with their correction for few clusters; never for more trials than there are. [0, 1] of
/// fewer than two clusters.
///
/// # Panics
/// If a cluster has more successes than trials.
pub fn clustered(clusters: &[(u64, u64)], confidence: f64) -> Interval {
    let all = |of: fn(&(u64, u64)) -> u64| clusters.iter().map(of).sum::<u64>() as f64;
    let (successes, trials, count) =
        (all(|cluster| cluster.0), all(|cluster| cluster.1), clusters.len() as f64);
    assert!(clusters.iter().all(|cluster| cluster.0 <= cluster.1), "{clusters:?}");
    if count < 2.0 || trials < 2.0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let share = successes / trials;
    let residuals = clusters.iter().map(|cluster| cluster.0 as f64 - share * cluster.1 as f64);
    let variance = residuals.map(|residual| residual * residual).sum::<f64>() * count
        / (count - 1.0)
        / (trials * trials);
    let tail = 0.5 * (1.0 - confidence);
    let effective = if variance == 0.0 {
        trials
    } else {
        let few = student::quantile(1.0 - tail, trials - 1.0) / student::quantile(1.0 - tail, count - 1.0);
        (share * (1.0 - share) / variance * few * few).min(trials)
    };
    let (x, n) = (share * effective, effective);
    let low = if successes == 0.0 { 0.0 } else { beta::quantile(tail, x, n - x + 1.0) };
    let high = if successes == trials { 1.0 } else { beta::quantile(1.0 - tail, x + 1.0, n - x) };
    Interval { low, high }
}

/// The exact two-sided p-value of a count among all, if its share is `share`: the probability of all counts that are no more likely. It tells
/// whether A/A tests alarm as often as they say. 1 of nobody.
///
/// # Panics
/// If there are more successes than trials, or unless the share lies between 0 and 1.
pub fn exact(successes: u64, trials: u64, share: f64) -> f64 {
    assert!(successes <= trials, "{successes} of {trials}");
    assert!(0.0 < share && share < 1.0, "a share, not {share}");
    let mode = (((trials + 1) as f64 * share) as u64).min(trials);
    if successes == mode {
        return 1.0;
    }
    let most = log_probability(successes, trials, share) + AS_LIKELY;
    let likely = |count: u64| most < log_probability(count, trials, share);
    // Probabilities rise up to the mode, and fall after it: the other tail starts where they are no longer likely.
    let p = if successes < mode {
        let from = first(mode, trials + 1, |count| !likely(count));
        up_to(successes, trials, share) + if from <= trials { from_on(from, trials, share) } else { 0.0 }
    } else {
        let until = first(0, mode, likely);
        from_on(successes, trials, share) + if 0 < until { up_to(until - 1, trials, share) } else { 0.0 }
    };
    p.min(1.0)
}

/// The largest count of which the probability of fewer successes is at most `tail`. 0 if even that of none is more.
///
/// # Panics
/// Unless the share lies between 0 and 1.
pub fn rarely_below(tail: f64, trials: u64, share: f64) -> u64 {
    assert!(0.0 < share && share < 1.0, "a share, not {share}");
    first(0, trials, |count| tail < up_to(count, trials, share))
}

/// The probability of at most so many successes: I_{1−p}(n − k, k + 1).
pub fn up_to(count: u64, trials: u64, share: f64) -> f64 {
    if count == trials {
        return 1.0;
    }
    beta::cdf_of_parts(1.0 - share, share, (trials - count) as f64, (count + 1) as f64)
}

/// The probability of at least so many successes: I_p(k, n − k + 1).
fn from_on(count: u64, trials: u64, share: f64) -> f64 {
    if count == 0 {
        return 1.0;
    }
    beta::cdf(share, count as f64, (trials - count + 1) as f64)
}

/// The logarithm of the binomial probability but for a constant of all trials: Loader, "Fast and accurate computation of binomial
/// probabilities" (2000).
fn log_probability(count: u64, trials: u64, share: f64) -> f64 {
    let one_side = |count: u64, share: f64| {
        let number = count as f64;
        let curve = if count == 0 {
            -0.5 * libm::log(2.0 * PI)
        } else {
            0.5 * libm::log(number) + stirling::remainder(number)
        };
        -stirling::deviance(number, trials as f64 * share) - curve
    };
    one_side(count, share) + one_side(trials - count, 1.0 - share)
}

/// The first number from `low` on, below `high`, from which on a condition holds; `high` if it holds nowhere.
fn first(low: u64, high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// McNemar's test by the normal distribution, with the correction of Edwards, "Note on the 'correction for continuity' in testing the
/// significance of the difference between correlated proportions" (1948): χ² = (|b − c| − 1)² / (b + c), and its p-value. (0, 1) if no pair
/// differs. At few pairs [`mcnemar_exact`] is better.
pub fn mcnemar_corrected(only_first: u64, only_second: u64) -> (f64, f64) {
    let difference = (only_first.abs_diff(only_second) as f64 - 1.0).max(0.0);
    let z = Statistic::new(difference, ((only_first + only_second) as f64).sqrt()).z;
    (z * z, gamma::chi_squared_sf(z * z, 1.0))
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
    use crate::base::Seed;
    use crate::statistics::dice::Dice;
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
    fn the_exact_test_agrees_with_r() {
        // binom.test(k, n, p)
        for (successes, trials, share, expected) in [
            (505, 10000, 0.05, 0.8185222817189897),
            (75, 1000, 0.05, 0.0006174162025617615),
            (0, 5, 0.5, 0.0625),
            (5, 5, 0.5, 0.0625),
            (0, 10, 0.01, 1.0),
            (0, 0, 0.3, 1.0),
        ] {
            assert_near(&format!("{successes}"), exact(successes, trials, share), expected, 1e-10);
        }
        // With even odds, this is McNemar's test.
        for one in 0..30 {
            assert_near("even", exact(one, 29, 0.5), mcnemar_exact(one, 29 - one), 1e-12);
        }
    }

    #[test]
    fn the_exact_test_is_the_sum_of_unlikely_counts() {
        let (trials, share) = (17u64, 0.3f64);
        let probability = |k: u64| {
            let ways: f64 = (1..=k).map(|i| (trials - k + i) as f64 / i as f64).product();
            ways * share.powi(k as i32) * (1.0 - share).powi((trials - k) as i32)
        };
        for count in 0..=trials {
            let seen = probability(count) * (1.0 + 1e-7);
            let sum: f64 = (0..=trials).map(probability).filter(|p| *p <= seen).sum();
            assert_near(&format!("{count}"), exact(count, trials, share), sum, 1e-12);
        }
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

    #[test]
    fn clusters_widen_the_interval_as_much_as_they_are_alike_within() {
        // Without successes, and with as many in each as chance has it, trials count in full.
        assert_eq!(clustered(&[(0, 10); 20], 0.95), clopper_pearson(0, 200, 0.95));
        assert_eq!(clustered(&[(10, 10); 20], 0.95), clopper_pearson(200, 200, 0.95));
        assert_eq!(clustered(&[(3, 10); 20], 0.95), clopper_pearson(60, 200, 0.95));
        // All or nothing: a cluster is worth one trial, less one of them all for their mean.
        let alike: Vec<(u64, u64)> = (0..101).map(|cluster| (10 * u64::from(cluster < 20), 10)).collect();
        let (wide, single) = (clustered(&alike, 0.95), clopper_pearson(20, 101, 0.95));
        assert!((wide.low - single.low).abs() < 0.003 && (wide.high - single.high).abs() < 0.003, "{wide:?}");
        assert_eq!(clustered(&[(1, 10)], 0.95), Interval { low: 0.0, high: 1.0 });
        // Clusters of 10 with a share of 2 % or of 18 %: 10 % of all.
        let mut dice = Dice::new(&mut Seed::new(1).stream("clusters"));
        let (mut covered, mut too_short) = (0, 0);
        for _ in 0..1000 {
            let mut cluster = || {
                let share = if dice.happens(0.5) { 0.02 } else { 0.18 };
                (dice.binomial(50, share), 50)
            };
            let clusters: Vec<(u64, u64)> = (0..60).map(|_| cluster()).collect();
            covered += u32::from(clustered(&clusters, 0.95).contains(0.1));
            let successes = clusters.iter().map(|cluster| cluster.0).sum();
            too_short += u32::from(!clopper_pearson(successes, 3000, 0.95).contains(0.1));
        }
        assert!((935..=975).contains(&covered), "{covered} of 1000");
        assert!(200 < too_short, "without regard to clusters: {too_short} of 1000 miss");
    }
}
