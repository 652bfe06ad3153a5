//! Whether an experiment means what it seems to mean: detectors of what goes wrong beside the sample ratio ([`crate::statistics::srm`]) and the
//! seasons ([`crate::statistics::seasons`]).
//!
//! Each raises a false alarm with the probability at which its p-value is compared, at large counts; the tests show it by simulation. Several
//! detectors on one experiment are several questions: compare their p-values through [`crate::statistics::multiple`]. How large counts must be
//! is measured in `reports/reproductions.md`: near the limits told below, 5 % may be 4.3 or 5.5 %.

use crate::statistics::linear::least_squares;
use crate::statistics::{Interval, beta, gamma, normal};

/// Whether two ways of sorting the same users have to do with each other.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Independence {
    /// Pearson's statistic, without a correction.
    pub chi_squared: f64,
    /// (rows − 1)(columns − 1), of those with users.
    pub degrees_of_freedom: usize,
    /// The p-value; 1 where there is nothing to compare.
    pub p: f64,
    /// Cramér's V, the size of the effect: √(χ² / N (least of rows and columns − 1)), between 0 and 1.
    pub effect: f64,
}

/// Pearson's test of independence in a table of counts (1900). Rows and columns without users are no degree of freedom. Wrong with
/// probability α where at least five users are expected in each cell.
///
/// - A *collision* between experiments: rows are arms of the one, columns arms of the other, and their assignments depend on each other.
/// - *Bias of the sample selected*: rows are arms, columns what was known of users before (device, country, visits), and the users that were
///   analysed differ between arms in it.
///
/// # Panics
/// Unless all rows have the same length.
pub fn independence(table: &[Vec<u64>]) -> Independence {
    let columns = table.first().map_or(0, Vec::len);
    assert!(table.iter().all(|row| row.len() == columns), "a table has rows of one length");
    let row_sums: Vec<f64> = table.iter().map(|row| row.iter().sum::<u64>() as f64).collect();
    let column_sums: Vec<f64> =
        (0..columns).map(|column| table.iter().map(|row| row[column]).sum::<u64>() as f64).collect();
    let all: f64 = row_sums.iter().sum();
    let filled = |sums: &[f64]| sums.iter().filter(|sum| 0.0 < **sum).count().saturating_sub(1);
    let (rows_free, columns_free) = (filled(&row_sums), filled(&column_sums));
    let degrees_of_freedom = rows_free * columns_free;
    if degrees_of_freedom == 0 {
        return Independence { chi_squared: 0.0, degrees_of_freedom, p: 1.0, effect: 0.0 };
    }
    let mut chi_squared = 0.0;
    for (row, row_sum) in table.iter().zip(&row_sums) {
        for (count, column_sum) in row.iter().zip(&column_sums) {
            let expected = row_sum * column_sum / all;
            if 0.0 < expected {
                chi_squared += (*count as f64 - expected) * (*count as f64 - expected) / expected;
            }
        }
    }
    Independence {
        chi_squared,
        degrees_of_freedom,
        p: gamma::chi_squared_sf(chi_squared, degrees_of_freedom as f64),
        effect: (chi_squared / (all * rows_free.min(columns_free) as f64)).sqrt(),
    }
}

/// Bias of the sample selected by who is analysed: of the users that were assigned to each arm, some are left out (not triggered, lost, cut as
/// bots), and by no arm more than by another unless the treatment decides it. [`independence`] of arm and being analysed.
///
/// # Panics
/// Unless there are as many numbers of analysed as of assigned users, none of them larger.
pub fn selection(assigned: &[u64], analysed: &[u64]) -> Independence {
    assert_eq!(assigned.len(), analysed.len(), "the same arms");
    let row = |(assigned, analysed): (&u64, &u64)| {
        assert!(analysed <= assigned, "{analysed} analysed of {assigned}");
        vec![*analysed, assigned - analysed]
    };
    independence(&assigned.iter().zip(analysed).map(row).collect::<Vec<Vec<u64>>>())
}

/// An estimate and whether it is zero.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Their ratio; 0 if both are 0.
    pub z: f64,
    /// The two-sided p-value.
    pub p: f64,
}

impl Estimate {
    /// By the normal distribution. Without an error the p-value is 0, or 1 if the estimate is 0 too.
    pub fn normal(value: f64, standard_error: f64) -> Self {
        let z = ratio(value, standard_error);
        Self { value, standard_error, z, p: 2.0 * normal::cdf(-z.abs()) }
    }

    /// By Student's t distribution, I(ν/(ν + t²); ν/2, ½), which keeps its digits in the tail.
    pub fn student(value: f64, standard_error: f64, degrees_of_freedom: f64) -> Self {
        let t = ratio(value, standard_error);
        let p = if t.is_infinite() {
            0.0
        } else {
            beta::cdf(degrees_of_freedom / (degrees_of_freedom + t * t), 0.5 * degrees_of_freedom, 0.5)
        };
        Self { value, standard_error, z: t, p }
    }

    /// Where the truth lies, by the normal distribution.
    pub fn interval(&self, confidence: f64) -> Interval {
        let half = -normal::quantile(0.5 * (1.0 - confidence)) * self.standard_error;
        Interval { low: self.value - half, high: self.value + half }
    }
}

fn ratio(value: f64, standard_error: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value / standard_error }
}

/// Whether the effect of one experiment depends on the arm of another: the difference of differences (p₁₁ − p₁₀) − (p₀₁ − p₀₀) of shares, where
/// `cells[i][j]` are successes and trials in arm i of the one and arm j of the other. Unpooled z, wrong with
/// probability α where each cell has some hundred successes and failures; with forty, in 5.3 % at 5 %, with ten in 5.5 %.
///
/// # Panics
/// If a cell has no trial, or more successes than trials.
pub fn interaction(cells: [[(u64, u64); 2]; 2]) -> Estimate {
    let share = |(successes, trials): (u64, u64)| {
        assert!(0 < trials && successes <= trials, "{successes} of {trials}");
        successes as f64 / trials as f64
    };
    let p = cells.map(|row| row.map(share));
    let mut variance = 0.0;
    for (shares, row) in p.iter().zip(&cells) {
        for (share, (_, trials)) in shares.iter().zip(row) {
            variance += share * (1.0 - share) / *trials as f64;
        }
    }
    Estimate::normal((p[1][1] - p[1][0]) - (p[0][1] - p[0][0]), variance.sqrt())
}

/// The effect of one day.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DailyEffect {
    /// How many days the users have had the treatment, from 1 on.
    pub day: f64,
    /// The effect.
    pub effect: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// How an effect changes as users get used to it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Trend {
    /// The effect on the first day.
    pub intercept: f64,
    /// How much it grows with ln(day), and whether it does.
    pub slope: Estimate,
}

/// What a trend is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Habituation {
    /// The effect falls: users liked it because it was new.
    Novelty,
    /// The effect rises: users disliked the change, or had to learn it.
    ChangeAversion,
    /// There is no telling.
    None,
}

impl Trend {
    /// What it is called, wrongly with the probability `alpha` where the effect does not change.
    pub fn habituation(&self, alpha: f64) -> Habituation {
        match self.slope.p < alpha {
            true if self.slope.value < 0.0 => Habituation::Novelty,
            true => Habituation::ChangeAversion,
            false => Habituation::None,
        }
    }
}

/// Fits effects to a + b ln(day), weighted by the inverse of their variance; whether b is zero is told by a t-test with the days less two as its
/// degrees of freedom, and with the scale of the residuals, so that standard errors need be right but for a factor. None of fewer than three
/// days, or if all are the same.
///
/// # Panics
/// Unless days and standard errors are positive.
pub fn trend(days: &[DailyEffect]) -> Option<Trend> {
    let positive = |day: &DailyEffect| 0.0 < day.day && 0.0 < day.standard_error;
    assert!(days.iter().all(positive), "a day from 1 on, and an error");
    let rows: Vec<Vec<f64>> = days.iter().map(|day| vec![1.0, libm::log(day.day)]).collect();
    let effects: Vec<f64> = days.iter().map(|day| day.effect).collect();
    let weights: Vec<f64> = days.iter().map(|day| 1.0 / (day.standard_error * day.standard_error)).collect();
    let fit = least_squares(&rows, &effects, Some(&weights))?;
    let slope = Estimate::student(fit.coefficients[1], fit.standard_error(1), (days.len() - 2) as f64);
    Some(Trend { intercept: fit.coefficients[0], slope })
}

/// What there is of one arm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ArmSummary {
    /// How many users.
    pub users: u64,
    /// Their mean.
    pub mean: f64,
    /// Their sample variance.
    pub variance: f64,
}

/// Whether the means of arms differ.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Heterogeneity {
    /// Σ w (m − m̄)² with w = n / s² and m̄ the mean by these weights: Cochran, "The combination of estimates from different experiments" (1954).
    pub chi_squared: f64,
    /// The p-value, with the arms less one as its degrees of freedom.
    pub p: f64,
    /// The largest mean less the smallest.
    pub spread: f64,
}

/// *Carry-over*: the arms of an experiment that has not begun are compared in the time before, in which they must be alike; if not, something of
/// an earlier experiment on the same users stays with them. An A/A test of any number of arms, for large ones. Arms of fewer than two users, and
/// those that do not vary, say nothing; with fewer than two others p = 1. But if none varies and they differ, p = 0.
pub fn carry_over(before: &[ArmSummary]) -> Heterogeneity {
    let there: Vec<&ArmSummary> = before.iter().filter(|arm| 1 < arm.users).collect();
    let high = there.iter().map(|arm| arm.mean).fold(f64::NEG_INFINITY, f64::max);
    let low = there.iter().map(|arm| arm.mean).fold(f64::INFINITY, f64::min);
    let spread = if there.is_empty() { 0.0 } else { high - low };
    let varying: Vec<(f64, f64)> = there
        .iter()
        .filter(|arm| 0.0 < arm.variance)
        .map(|arm| (arm.users as f64 / arm.variance, arm.mean))
        .collect();
    if varying.len() < 2 {
        let differ = varying.is_empty() && 0.0 < spread;
        let (chi_squared, p) = if differ { (f64::INFINITY, 0.0) } else { (0.0, 1.0) };
        return Heterogeneity { chi_squared, p, spread };
    }
    let whole: f64 = varying.iter().map(|(weight, _)| weight).sum();
    let middle = varying.iter().map(|(weight, mean)| weight * mean).sum::<f64>() / whole;
    let chi_squared: f64 =
        varying.iter().map(|(weight, mean)| weight * (mean - middle) * (mean - middle)).sum();
    let p = gamma::chi_squared_sf(chi_squared, (varying.len() - 1) as f64);
    Heterogeneity { chi_squared, p, spread }
}

/// *Invariants*: what a treatment cannot change, such as a user's age at assignment or the latency of a service it does not touch, compared
/// between arms. The p-values of all, by Holm's procedure: the probability of any false alarm is α at most.
pub fn invariants(metrics: &[Vec<ArmSummary>]) -> Vec<f64> {
    let p: Vec<f64> = metrics.iter().map(|arms| carry_over(arms).p).collect();
    crate::statistics::multiple::holm(&p)
}

/// What users of one arm spent on a thing and on all others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Purchases {
    /// How many users.
    pub users: u64,
    /// The mean spent on the thing that the treatment promotes.
    pub own: f64,
    /// The mean spent on everything else.
    pub others: f64,
    /// The variance of the first.
    pub own_variance: f64,
    /// The variance of the second.
    pub others_variance: f64,
    /// Their covariance among users.
    pub covariance: f64,
}

/// What a gain was taken from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cannibalisation {
    /// The effect on the thing itself.
    pub own: Estimate,
    /// The effect on everything else.
    pub others: Estimate,
    /// The effect on both, which is what was gained.
    pub total: Estimate,
    /// Whether others lose: the one-sided p-value of `others` below 0. Wrong with probability α where others do not lose.
    pub p: f64,
    /// Which part of the own gain others lost, −others / own; 1 where all was only moved. None where the own effect is not positive.
    pub share: Option<f64>,
    /// Its standard error by the delta method, to be believed where the own effect is many times its error.
    pub share_standard_error: Option<f64>,
}

/// *Cannibalisation*: whether what the treated thing gains is lost elsewhere.
///
/// # Panics
/// If an arm has no users.
pub fn cannibalisation(control: &Purchases, treated: &Purchases) -> Cannibalisation {
    assert!(0 < control.users && 0 < treated.users, "an arm has users");
    let (few, many) = (control.users as f64, treated.users as f64);
    let variance = |of: &dyn Fn(&Purchases) -> f64| of(control) / few + of(treated) / many;
    let own_variance = variance(&|arm| arm.own_variance);
    let others_variance = variance(&|arm| arm.others_variance);
    let covariance = variance(&|arm| arm.covariance);
    let own = Estimate::normal(treated.own - control.own, own_variance.sqrt());
    let others = Estimate::normal(treated.others - control.others, others_variance.sqrt());
    let total_variance = (own_variance + others_variance + 2.0 * covariance).max(0.0);
    let share = (0.0 < own.value).then(|| -others.value / own.value);
    let share_standard_error = share.map(|share| {
        let spread = others_variance + 2.0 * share * covariance + share * share * own_variance;
        spread.max(0.0).sqrt() / own.value
    });
    Cannibalisation {
        own,
        others,
        total: Estimate::normal(own.value + others.value, total_variance.sqrt()),
        p: normal::cdf(others.z),
        share,
        share_standard_error,
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::base::{Seed, Stream};
    use crate::statistics::descriptive;
    use crate::statistics::tests::assert_near;

    const RUNS: u32 = 1000;

    /// Runs a detector on experiments of both kinds: at 0.05 it raises 50 false alarms in 1,000, 27 to 75 but for once in a thousand, and it
    /// finds most of what is there.
    fn calibrate(name: &str, detect: impl Fn(bool, &mut Stream) -> f64) {
        let mut stream = Seed::new(31).stream(name);
        let mut alarms = |planted: bool| (0..RUNS).filter(|_| detect(planted, &mut stream) < 0.05).count();
        let (false_alarms, found) = (alarms(false), alarms(true));
        assert!((27..=75).contains(&false_alarms), "{name}: {false_alarms} false alarms of {RUNS}");
        assert!(800 < found, "{name}: {found} found of {RUNS}");
    }

    fn draw(stream: &mut Stream) -> f64 {
        normal::quantile(stream.random::<f64>())
    }

    fn happens(probability: f64, stream: &mut Stream) -> bool {
        stream.random::<f64>() < probability
    }

    fn summary(values: &[f64]) -> ArmSummary {
        let (mean, variance) = (descriptive::mean(values), descriptive::variance(values));
        ArmSummary { users: values.len() as u64, mean, variance }
    }

    #[test]
    fn collisions_are_found() {
        calibrate("collision", |planted, stream| {
            let mut table = vec![vec![0u64; 3]; 2];
            for _ in 0..600 {
                let row = usize::from(happens(0.5, stream));
                let shift = if planted && row == 1 { 0.15 } else { 0.0 };
                let place = stream.random::<f64>();
                let column = if place < 0.5 - shift { 0 } else { 1 + usize::from(place < 0.8) };
                table[row][column] += 1;
            }
            independence(&table).p
        });
    }

    #[test]
    fn a_biased_selection_is_found() {
        calibrate("selection", |planted, stream| {
            let chances = [0.7, 0.7, if planted { 0.6 } else { 0.7 }];
            let assigned = [500u64; 3];
            let analysed = chances.map(|chance| (0..500).filter(|_| happens(chance, stream)).count() as u64);
            selection(&assigned, &analysed).p
        });
    }

    #[test]
    fn interactions_are_found() {
        calibrate("interaction", |planted, stream| {
            let mut cell = |chance: f64| ((0..400).filter(|_| happens(chance, stream)).count() as u64, 400);
            let both = if planted { 0.5 } else { 0.35 };
            interaction([[cell(0.2), cell(0.25)], [cell(0.3), cell(both)]]).p
        });
    }

    #[test]
    fn novelty_and_change_aversion_are_found_and_told_apart() {
        let days = |fall: f64, stream: &mut Stream| -> Vec<DailyEffect> {
            let effect = |day: u32, noise: f64| 0.05 - fall * libm::log(f64::from(day)) + 0.01 * noise;
            let one = |day: u32| DailyEffect {
                day: f64::from(day),
                effect: effect(day, draw(stream)),
                standard_error: 0.01,
            };
            (1..=14).map(one).collect()
        };
        let p = |days: &[DailyEffect]| trend(days).map_or(1.0, |trend| trend.slope.p);
        calibrate("novelty", |planted, stream| p(&days(if planted { 0.015 } else { 0.0 }, stream)));
        calibrate("aversion", |planted, stream| p(&days(if planted { -0.015 } else { 0.0 }, stream)));
        let mut stream = Seed::new(1).stream("told apart");
        let called =
            |fall: f64, stream: &mut Stream| trend(&days(fall, stream)).map(|trend| trend.habituation(0.01));
        assert_eq!(called(0.03, &mut stream), Some(Habituation::Novelty));
        assert_eq!(called(-0.03, &mut stream), Some(Habituation::ChangeAversion));
        assert_eq!(called(0.0, &mut stream), Some(Habituation::None));
        assert_eq!(trend(&days(0.0, &mut stream)[..2]), None);
    }

    #[test]
    fn carry_over_is_found() {
        calibrate("carry-over", |planted, stream| {
            let shifts = [0.0, 0.0, if planted { 0.25 } else { 0.0 }];
            let arms = shifts.map(|shift| {
                let values: Vec<f64> = (0..300).map(|_| shift + libm::exp(0.5 * draw(stream))).collect();
                summary(&values)
            });
            carry_over(&arms).p
        });
    }

    #[test]
    fn arms_that_do_not_vary_are_compared_without_noise() {
        let arm = |mean: f64, variance: f64| ArmSummary { users: 10, mean, variance };
        assert_eq!(carry_over(&[arm(1.0, 0.0), arm(1.0, 0.0)]).p, 1.0);
        assert_eq!(carry_over(&[arm(1.0, 0.0), arm(2.0, 0.0)]).p, 0.0);
        assert_eq!(carry_over(&[arm(1.0, 0.0), arm(2.0, 1.0)]).p, 1.0);
        assert_eq!((carry_over(&[]).p, carry_over(&[]).spread), (1.0, 0.0));
        // Two arms: z².
        let found = carry_over(&[arm(1.0, 2.0), arm(2.0, 3.0)]);
        assert_near("z squared", found.chi_squared, 2.0, 1e-14);
    }

    #[test]
    fn of_many_invariants_any_false_alarm_is_as_rare_as_said() {
        calibrate("invariants", |planted, stream| {
            let metric = |metric: usize, stream: &mut Stream| -> Vec<ArmSummary> {
                let shift = if planted && metric == 3 { 0.5 } else { 0.0 };
                [0.0, shift]
                    .iter()
                    .map(|shift| summary(&(0..120).map(|_| shift + draw(stream)).collect::<Vec<f64>>()))
                    .collect()
            };
            let metrics: Vec<Vec<ArmSummary>> = (0..5).map(|index| metric(index, stream)).collect();
            invariants(&metrics).into_iter().fold(1.0, f64::min)
        });
    }

    #[test]
    fn cannibalisation_is_found_and_measured() {
        let arm = |own: f64, others: f64, stream: &mut Stream| -> Purchases {
            let pairs: Vec<(f64, f64)> = (0..400)
                .map(|_| {
                    let habit = draw(stream);
                    (own + habit + 0.5 * draw(stream), others + habit + 0.5 * draw(stream))
                })
                .collect();
            let own: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
            let others: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
            let both: Vec<f64> = pairs.iter().map(|pair| pair.0 + pair.1).collect();
            let (own_variance, others_variance) =
                (descriptive::variance(&own), descriptive::variance(&others));
            Purchases {
                users: 400,
                own: descriptive::mean(&own),
                others: descriptive::mean(&others),
                own_variance,
                others_variance,
                covariance: 0.5 * (descriptive::variance(&both) - own_variance - others_variance),
            }
        };
        calibrate("cannibalisation", |planted, stream| {
            let taken = if planted { 0.25 } else { 0.0 };
            cannibalisation(&arm(1.0, 5.0, stream), &arm(1.5, 5.0 - taken, stream)).p
        });
        let mut stream = Seed::new(2).stream("measured");
        let found = cannibalisation(&arm(1.0, 5.0, &mut stream), &arm(1.8, 4.6, &mut stream));
        let (share, error) = (found.share.expect("a gain"), found.share_standard_error.expect("a gain"));
        assert!((share - 0.5).abs() < 4.0 * error, "{share} ± {error}");
        assert_near("total", found.total.value, found.own.value + found.others.value, 1e-14);
        let nothing = cannibalisation(&arm(1.0, 5.0, &mut stream), &arm(0.5, 5.0, &mut stream));
        assert_eq!(nothing.share, None);
    }

    #[test]
    fn tables_with_nothing_to_compare_are_independent() {
        for table in [vec![], vec![vec![3, 4]], vec![vec![3, 0], vec![4, 0]], vec![vec![0, 0], vec![0, 0]]] {
            assert_eq!(independence(&table).p, 1.0);
        }
        let whole = independence(&[vec![50, 0, 0], vec![0, 50, 0]]);
        assert_eq!(whole.degrees_of_freedom, 1, "the empty column does not count");
        assert_near("V", whole.effect, 1.0, 1e-14);
    }
}
