//! Whether a stream can be believed, as an analyst who does not know the truth would ask: detectors of invalid experiments, each on what one
//! stream tells until its decision.
//!
//! A detector is asked only where its error is stated. What it would alarm for by right is known here, so that an alarm is either an error or
//! a find.

use crate::experiment::epochs::{Cell, Epochs, KNOWN_MIN};
use crate::experiment::strategy::{Allocate, Strategy, Unit};
use crate::experiment::users::Population;
use crate::statistics::seasons::{Observation, seasonal_interaction};
use crate::statistics::srm::{self, Period, SequentialRatio};
use crate::statistics::validity::{DailyEffect, independence, trend};

/// A detector alarms if its p-value is below this. In use one asks for less, such as 0.001 of sample ratios: nobody wants an alarm in every
/// twentieth experiment. Here so many streams as one can wait for are to show whether the error is as stated.
pub const ALARM: f64 = 0.05;

/// How many users a cell of a table is expected to have at least, or an arm.
const EXPECTED_MIN: f64 = 5.0;

/// A detector of invalid experiments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detector {
    /// Whether arms have as many users as their shares say: Pearson's test of a strategy that looks once, the sequential one after every day
    /// of all others.
    SampleRatio,
    /// Whether arms have the same shares on all days. If not, pooled means compare days as well as arms.
    SharesByDay,
    /// Whether arms have the same shares in all segments. If not, pooled means compare segments as well as arms.
    SharesBySegment,
    /// Novelty and change aversion: whether the effect grows or falls with ln(day).
    EffectByDay,
    /// Whether the effect depends on the day of the week.
    EffectByWeekday,
}

/// How often a detector alarms where nothing is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stated {
    /// With the probability [`ALARM`], in large samples.
    At,
    /// With that probability at most.
    AtMost,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::SampleRatio,
        Self::SharesByDay,
        Self::SharesBySegment,
        Self::EffectByDay,
        Self::EffectByWeekday,
    ];

    /// What it asks for.
    pub fn name(self) -> &'static str {
        match self {
            Self::SampleRatio => "sample ratio",
            Self::SharesByDay => "shares by day",
            Self::SharesBySegment => "shares by segment",
            Self::EffectByDay => "novelty, aversion",
            Self::EffectByWeekday => "effect by weekday",
        }
    }

    /// Why it is not asked of streams of a strategy, with users of so many segments; nothing if it is.
    pub fn refusal(self, strategy: &Strategy, unit: Unit, segments: usize) -> Option<&'static str> {
        match self {
            Self::SampleRatio if strategy.learns() => {
                Some("shares move, and with which probability arms are chosen is not logged")
            }
            Self::SharesBySegment if segments < 2 => Some("there are no segments"),
            Self::EffectByDay | Self::EffectByWeekday if unit == Unit::User => {
                Some("users come again, so that days are not independent")
            }
            _ => None,
        }
    }

    /// How often it alarms in vain under a strategy.
    pub fn stated(self, strategy: &Strategy) -> Stated {
        match self {
            Self::SampleRatio if !looks_once(strategy) => Stated::AtMost,
            _ => Stated::At,
        }
    }

    /// What there is for it to find under a strategy.
    pub fn finds(self, strategy: &Strategy, population: &Population) -> Option<&'static str> {
        match self {
            Self::SampleRatio => None,
            Self::SharesByDay => strategy.learns().then_some("it moves its shares"),
            Self::SharesBySegment => strategy.is_contextual().then_some("it goes by segments"),
            Self::EffectByDay | Self::EffectByWeekday => {
                population.effect_changes().then_some("the effect changes")
            }
        }
    }

    /// Its p-value, with the effect as that of an arm; nothing of too few users.
    pub(super) fn p(self, strategy: &Strategy, epochs: &Epochs<'_>, arm: usize) -> Option<f64> {
        let [days, arms, segments] = epochs.counts();
        let counts = |cell: &dyn Fn(usize) -> Cell| -> Vec<u64> {
            (0..arms).map(|arm| u64::from(cell(arm).assigned)).collect()
        };
        match self {
            Self::SampleRatio => {
                let by_day = (0..days).map(|day| counts(&|arm| epochs.on_day(day, arm)));
                sample_ratio(strategy, arms, by_day.collect())
            }
            Self::SharesByDay => {
                let by_day = (0..days).map(|day| counts(&|arm| epochs.on_day(day, arm)));
                alike(by_day.collect())
            }
            Self::SharesBySegment => {
                let by_segment = (0..segments).map(|segment| counts(&|arm| epochs.of_segment(segment, arm)));
                alike(by_segment.collect())
            }
            Self::EffectByDay => effect_by_day(&days_of(epochs, arm)),
            Self::EffectByWeekday => effect_by_weekday(&days_of(epochs, arm)),
        }
    }
}

fn looks_once(strategy: &Strategy) -> bool {
    strategy.looks(2) == 1
}

/// The p-value of the sample ratio. Counts at a decision that came when it liked are for the sequential test.
fn sample_ratio(strategy: &Strategy, arms: usize, by_day: Vec<Vec<u64>>) -> Option<f64> {
    let weights = match &strategy.allocate {
        Allocate::Shares(shares) => shares.iter().map(|share| share.get()).collect(),
        _ => vec![1.0; arms],
    };
    if looks_once(strategy) {
        let counts: Vec<u64> = (0..arms).map(|arm| by_day.iter().map(|counts| counts[arm]).sum()).collect();
        let found = srm::check(&counts, &weights);
        let enough =
            found.expected.iter().zip(&weights).all(|(mean, weight)| *weight == 0.0 || EXPECTED_MIN <= *mean);
        return enough.then_some(if 0 < found.leaked { 0.0 } else { found.p });
    }
    let mut test = SequentialRatio::new(arms, SequentialRatio::CONCENTRATION);
    for counts in by_day {
        test.add(&Period { weights: weights.clone(), counts });
    }
    Some(test.p())
}

/// The p-value of rows having the same shares. Rows of few users are put together with those after them, by sums alone: that every cell is
/// expected to have enough does not depend on who got what.
fn alike(rows: Vec<Vec<u64>>) -> Option<f64> {
    let arms = rows.first().map_or(0, Vec::len);
    let sums: Vec<u64> = (0..arms).map(|arm| rows.iter().map(|row| row[arm]).sum()).collect();
    let all: u64 = sums.iter().sum();
    let least = sums.iter().copied().filter(|sum| 0 < *sum).min()? as f64 / all as f64;
    let mut table: Vec<Vec<u64>> = Vec::new();
    let mut open = vec![0; arms];
    let add = |to: &mut Vec<u64>, row: &[u64]| to.iter_mut().zip(row).for_each(|(own, other)| *own += other);
    for row in &rows {
        add(&mut open, row);
        if EXPECTED_MIN <= least * open.iter().sum::<u64>() as f64 {
            table.push(std::mem::replace(&mut open, vec![0; arms]));
        }
    }
    add(table.last_mut()?, &open);
    let found = independence(&table);
    (0 < found.degrees_of_freedom).then_some(found.p)
}

/// Days on which enough is known of the control and of an arm.
fn days_of(epochs: &Epochs<'_>, arm: usize) -> Vec<(usize, [Cell; 2])> {
    let [days, ..] = epochs.counts();
    let pair = |day: usize| (day, [0, arm].map(|arm| epochs.on_day(day, arm)));
    (0..days).map(pair).filter(|(_, pair)| pair.iter().all(|cell| KNOWN_MIN <= cell.known)).collect()
}

/// The p-value of a trend of the effect over days. Each day has the variance that all days together make likely: by its own rates, days of
/// few successes would count for more than they know.
fn effect_by_day(days: &[(usize, [Cell; 2])]) -> Option<f64> {
    let sum = |of: fn(&Cell) -> u32| -> f64 {
        days.iter().flat_map(|(_, pair)| pair).map(|cell| f64::from(of(cell))).sum()
    };
    let rate = sum(|cell| cell.successes) / sum(|cell| cell.known);
    if !(0.0 < rate && rate < 1.0) {
        return None;
    }
    let effect = |(day, [control, treated]): &(usize, [Cell; 2])| DailyEffect {
        day: *day as f64 + 1.0,
        effect: treated.rate() - control.rate(),
        standard_error: (rate
            * (1.0 - rate)
            * (1.0 / f64::from(control.known) + 1.0 / f64::from(treated.known)))
        .sqrt(),
    };
    trend(&days.iter().map(effect).collect::<Vec<_>>()).map(|trend| trend.slope.p)
}

/// The p-value of the effect being another on some days of the week, by the rates of days.
fn effect_by_weekday(days: &[(usize, [Cell; 2])]) -> Option<f64> {
    let of = |(day, pair): &(usize, [Cell; 2])| {
        let season = day % 7;
        [false, true].map(|treated| Observation { season, treated, value: pair[usize::from(treated)].rate() })
    };
    seasonal_interaction(&days.iter().flat_map(of).collect::<Vec<_>>()).map(|found| found.p)
}
