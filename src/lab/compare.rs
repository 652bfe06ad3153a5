//! Values of one setting, compared: what each seed did under the one is set against what the same seed did under the other.
//!
//! The runs are those of a sweep with one axis. A seed draws the same storm under both values as far as their scenarios allow, so that what
//! the storm alone does cancels in the difference.
//!
//! - A figure is compared by the mean difference of its pairs, with a bootstrap interval (BCa), and tested by flipping signs.
//! - Whether runs held is compared by shares, with an exact interval, and tested by McNemar's exact test.
//! - Many figures are many questions: Holm's procedure keeps the risk of any false alarm among them all at [`ALPHA`].
//! - A pair of which one run has no value is left out, and told: it may be just the run that matters.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Better, Seed};
use crate::lab::sweep::{Axis, Ended, Outcome, Plan, Point};
use crate::statistics::Interval;
use crate::statistics::binomial::{clopper_pearson, mcnemar_exact, paired_difference};
use crate::statistics::bootstrap::{Bootstrap, bca};
use crate::statistics::descriptive::{mean, standard_deviation};
use crate::statistics::multiple::holm;
use crate::statistics::power::{Demand, detectable_mean, pairs_for_mean, pairs_for_shares, pairs_min};
use crate::statistics::randomization::sign_flip;

/// The risk of any false alarm among all questions.
pub const ALPHA: f64 = 0.05;

/// How often a difference that is there is to be seen, where it is told how many pairs that would take.
pub const POWER: f64 = 0.8;

/// How intervals are drawn: one in twenty misses.
pub const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 4000, confidence: 1.0 - ALPHA };

/// The seed of the streams from which intervals and tests draw, one for each metric: the same runs give the same numbers.
const SEED: Seed = Seed::new(1);

/// The metric that tells whether runs held.
pub const HELD: &str = "held";

/// Values of one setting, compared with one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The setting that differs.
    pub path: String,
    /// What the others are compared with.
    pub baseline: Side,
    /// Each of the others, in the order in which they were given.
    pub contrasts: Vec<Contrast>,
    /// How many metrics were tested, in all contrasts together.
    pub questions: usize,
}

/// The runs under one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// The value, as `--set` takes it.
    pub value: String,
    /// How many runs ended how.
    pub ended: BTreeMap<Ended, usize>,
    /// How many were not run.
    pub not_run: usize,
    /// Which share of those that ended held, with its exact interval.
    pub held: Option<(f64, Interval)>,
}

/// A value compared with the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// Its runs.
    pub side: Side,
    /// The metrics, in the order in which a run tells them.
    pub metrics: Vec<Compared>,
}

/// What one metric did under two values.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Its name, as [`crate::base::Figure`] or an event has it.
    pub name: String,
    /// Its unit; empty for a count.
    pub unit: String,
    /// Which way is better.
    pub better: Better,
    /// The seeds that have a value under both.
    pub pairs: Vec<Pair>,
    /// The runs without a value, whose pairs are not among these.
    pub left_out: Vec<LeftOut>,
    /// What the pairs say, if there are two at least.
    pub estimate: Option<Estimate>,
    /// What follows.
    pub finding: Finding,
}

/// One seed under both values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The seed.
    pub seed: u64,
    /// Under the baseline.
    pub baseline: f64,
    /// Under the other value.
    pub other: f64,
}

impl Pair {
    /// How much more it is under the other value.
    pub fn difference(&self) -> f64 {
        self.other - self.baseline
    }
}

/// A run that has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// The seed.
    pub seed: u64,
    /// Under which value of the setting.
    pub under: String,
    /// Why: how the run ended, or that it did not run or has no such metric.
    pub why: String,
}

/// What pairs say of a difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The mean under the baseline.
    pub baseline: f64,
    /// The mean under the other value.
    pub other: f64,
    /// The mean difference.
    pub difference: f64,
    /// Where it lies.
    pub interval: Interval,
    /// The ratio of the means less one, and where that lies; absent where the baseline's mean is 0, or values are negative.
    pub change: Option<(f64, Interval)>,
    /// How often pairs without a difference would differ so much.
    pub p: f64,
    /// The same, for this many questions at once: Holm's procedure.
    pub p_holm: f64,
    /// How many pairs would show the difference seen with a power of [`POWER`], if it was the only question; absent without one.
    pub pairs_needed: Option<u64>,
    /// The smallest difference that so many pairs show with that power, if it was the only question.
    pub detectable: f64,
}

/// What follows from an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// They differ: not by chance, among all questions asked.
    Differs,
    /// They would differ if this had been the only question; among so many it may be chance.
    Suspected,
    /// Chance may have done it. That they are the same does not follow.
    Open,
    /// So few pairs could not show any difference, however large.
    TooFew,
    /// Every pair is equal, to the last digit.
    Equal,
    /// Fewer than two pairs have values.
    Untold,
}

impl Comparison {
    /// Compares the outcomes of a plan with one axis, whose first value that equals `baseline` is the baseline. A metric is compared if its
    /// name contains one of `wanted`; without any, the figures are, and no events.
    pub fn of(plan: &Plan, axis: &Axis, baseline: &str, wanted: &[String], outcomes: &[Outcome]) -> Self {
        let runs = Runs::new(plan, axis, outcomes);
        let first = axis.values.iter().position(|value| value == baseline).unwrap_or(0);
        let others = (0..axis.values.len()).filter(|index| *index != first);
        let metrics = runs.metrics(wanted);
        let contrasts: Vec<Contrast> = others
            .map(|other| Contrast {
                side: runs.side(other),
                metrics: metrics.iter().map(|metric| runs.compare(metric, first, other)).collect(),
            })
            .collect();
        let mut comparison =
            Self { path: axis.path.clone(), baseline: runs.side(first), contrasts, questions: 0 };
        comparison.judge();
        comparison
    }

    fn judge(&mut self) {
        let all = || self.contrasts.iter().flat_map(|contrast| &contrast.metrics);
        let p: Vec<f64> =
            all().filter_map(|metric| metric.estimate.as_ref()).map(|estimate| estimate.p).collect();
        self.questions = p.len();
        let few = pairs_min(self.questions, ALPHA);
        let mut adjusted = holm(&p).into_iter();
        for metric in self.contrasts.iter_mut().flat_map(|contrast| &mut contrast.metrics) {
            if let Some(estimate) = &mut metric.estimate {
                estimate.p_holm = adjusted.next().expect("there is one for each estimate");
            }
            metric.finding = finding(metric, few);
        }
    }

    /// The most pairs that any metric has.
    pub fn pairs(&self) -> usize {
        let metrics = self.contrasts.iter().flat_map(|contrast| &contrast.metrics);
        metrics.map(|metric| metric.pairs.len()).max().unwrap_or(0)
    }
}

fn finding(metric: &Compared, few: u64) -> Finding {
    let Some(estimate) = &metric.estimate else { return Finding::Untold };
    if metric.pairs.iter().all(|pair| pair.difference() == 0.0) {
        Finding::Equal
    } else if estimate.p_holm <= ALPHA {
        Finding::Differs
    } else if (metric.pairs.len() as u64) < few {
        Finding::TooFew
    } else if estimate.p <= ALPHA {
        Finding::Suspected
    } else {
        Finding::Open
    }
}

/// The names of all that can be compared of these runs: whether they held, their figures, and then the events of any.
pub fn metrics(outcomes: &[Outcome]) -> Vec<String> {
    all_metrics(outcomes.iter()).iter().map(|metric| metric.name().to_owned()).collect()
}

fn all_metrics<'run>(outcomes: impl Iterator<Item = &'run Outcome> + Clone) -> Vec<Metric> {
    let mut metrics = vec![Metric::Held];
    for figure in outcomes.clone().flat_map(|outcome| &outcome.figures) {
        if !metrics.iter().any(|metric| metric.name() == figure.name) {
            let (name, unit) = (figure.name.clone(), figure.unit.clone());
            metrics.push(Metric::Figure { name, unit, better: figure.better });
        }
    }
    let events: BTreeSet<&String> = outcomes.flat_map(|outcome| outcome.events.keys()).collect();
    metrics.extend(events.into_iter().map(|name| Metric::Event(name.clone())));
    metrics
}

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
enum Metric {
    Held,
    Figure { name: String, unit: String, better: Better },
    Event(String),
}

impl Metric {
    fn name(&self) -> &str {
        match self {
            Self::Held => HELD,
            Self::Figure { name, .. } | Self::Event(name) => name,
        }
    }

    /// Its value in a run; else why it has none.
    fn value(&self, outcome: &Outcome) -> Result<f64, String> {
        let ended = || match outcome.ended {
            Ended::Held => "it has no such value".to_owned(),
            ended => ended.words().to_owned(),
        };
        match self {
            Self::Held if outcome.ended == Ended::BadInput => Err(ended()),
            Self::Held => Ok(if outcome.ended == Ended::Held { 100.0 } else { 0.0 }),
            Self::Figure { name, .. } => {
                let figure = outcome.figures.iter().find(|figure| figure.name == *name);
                figure.and_then(|figure| figure.value).ok_or_else(ended)
            }
            // A run that was cut short tells no figure, and has not seen all events.
            Self::Event(_) if outcome.figures.iter().all(|figure| figure.value.is_none()) => Err(ended()),
            Self::Event(name) => Ok(outcome.events.get(name).copied().unwrap_or(0) as f64),
        }
    }
}

/// The outcomes of a plan, by seed and by the place of a value on the axis.
struct Runs<'sweep> {
    axis: &'sweep Axis,
    seeds: std::ops::Range<u64>,
    /// For each value, the outcome of each seed that has one.
    sides: Vec<BTreeMap<u64, &'sweep Outcome>>,
}

impl<'sweep> Runs<'sweep> {
    fn new(plan: &Plan, axis: &'sweep Axis, outcomes: &'sweep [Outcome]) -> Self {
        let mut by_point: BTreeMap<&Point, Vec<&Outcome>> = BTreeMap::new();
        outcomes.iter().for_each(|outcome| by_point.entry(&outcome.point).or_default().push(outcome));
        let side = |index: usize| {
            let value = &axis.values[index];
            let setting = axis.setting(value);
            let set = [plan.set.as_slice(), &[setting]].concat();
            // A value that is given twice has been run twice.
            let earlier = axis.values[..index].iter().filter(|other| *other == value).count();
            let found = |seed: u64| {
                let point = Point { seed, file: plan.files.first()?.clone(), set: set.clone() };
                let same = by_point.get(&point)?;
                Some((seed, *same.get(earlier).or(same.last())?))
            };
            (plan.first..plan.end).filter_map(found).collect()
        };
        Self { axis, seeds: plan.first..plan.end, sides: (0..axis.values.len()).map(side).collect() }
    }

    fn metrics(&self, wanted: &[String]) -> Vec<Metric> {
        let mut metrics = all_metrics(self.sides.iter().flat_map(|side| side.values()).copied());
        metrics.retain(|metric| match metric {
            Metric::Held | Metric::Figure { .. } if wanted.is_empty() => true,
            _ => wanted.iter().any(|wanted| metric.name().contains(wanted.as_str())),
        });
        metrics
    }

    fn side(&self, index: usize) -> Side {
        let runs = &self.sides[index];
        let mut ended: BTreeMap<Ended, usize> = BTreeMap::new();
        runs.values().for_each(|outcome| *ended.entry(outcome.ended).or_default() += 1);
        let held = ended.get(&Ended::Held).copied().unwrap_or(0) as u64;
        let all = runs.len() as u64;
        let share =
            (0 < all).then(|| (held as f64 / all as f64, clopper_pearson(held, all, BOOTSTRAP.confidence)));
        let not_run = self.seeds.clone().count() - runs.len();
        Side { value: self.axis.values[index].clone(), ended, not_run, held: share }
    }

    fn compare(&self, metric: &Metric, baseline: usize, other: usize) -> Compared {
        let (mut pairs, mut left_out) = (Vec::new(), Vec::new());
        for seed in self.seeds.clone() {
            let value = |index: usize| match self.sides[index].get(&seed) {
                Some(outcome) => metric.value(outcome),
                None => Err("it was not run".to_owned()),
            };
            let values = (value(baseline), value(other));
            if let (Ok(baseline), Ok(other)) = values {
                pairs.push(Pair { seed, baseline, other });
                continue;
            }
            for (value, index) in [(values.0, baseline), (values.1, other)] {
                if let Err(why) = value {
                    left_out.push(LeftOut { seed, under: self.axis.values[index].clone(), why });
                }
            }
        }
        let name = metric.name().to_owned();
        let (unit, better) = match metric {
            Metric::Held => ("%".to_owned(), Better::More),
            Metric::Figure { unit, better, .. } => (unit.clone(), *better),
            Metric::Event(_) => (String::new(), Better::Neither),
        };
        let stream = format!("compare/{}/{}/{name}", self.axis.setting(&self.axis.values[other]), other);
        let estimate = (2 <= pairs.len()).then(|| match metric {
            Metric::Held => of_shares(&pairs),
            Metric::Figure { .. } | Metric::Event(_) => of_means(&pairs, &stream),
        });
        Compared { name, unit, better, pairs, left_out, estimate, finding: Finding::Untold }
    }
}

const DEMAND: Demand = Demand { alpha: ALPHA, power: POWER };

fn of_means(pairs: &[Pair], stream: &str) -> Estimate {
    let differences: Vec<f64> = pairs.iter().map(Pair::difference).collect();
    let (baseline, other) = (mean(&side(pairs, |pair| pair.baseline)), mean(&side(pairs, |pair| pair.other)));
    let [mut of_difference, mut of_change, mut of_test] =
        ["difference", "change", "test"].map(|part| SEED.stream(&format!("{stream}/{part}")));
    let difference = mean(&differences);
    let interval = bca(&differences, mean, BOOTSTRAP, &mut of_difference);
    let positive = 0.0 < baseline && pairs.iter().all(|pair| 0.0 <= pair.baseline && 0.0 <= pair.other);
    let ratio = |pairs: &[Pair]| {
        let sums = pairs.iter().fold((0.0, 0.0), |(one, two), pair| (one + pair.baseline, two + pair.other));
        sums.1 / sums.0 - 1.0
    };
    let change = positive.then(|| bca(pairs, ratio, BOOTSTRAP, &mut of_change)).flatten();
    let spread = standard_deviation(&differences);
    let p = sign_flip(&differences, &mut of_test);
    Estimate {
        baseline,
        other,
        difference,
        interval: interval.unwrap_or(Interval { low: f64::NEG_INFINITY, high: f64::INFINITY }),
        change: change.map(|interval| (ratio(pairs), interval)),
        p,
        p_holm: p,
        pairs_needed: pairs_for_mean(difference, spread, DEMAND),
        detectable: detectable_mean(pairs.len() as u64, spread, DEMAND),
    }
}

/// Of values that are 0 or 100.
fn of_shares(pairs: &[Pair]) -> Estimate {
    let count = |which: fn(&Pair) -> bool| pairs.iter().filter(|pair| which(pair)).count() as u64;
    let (first, second) = (
        count(|pair| 0.0 < pair.baseline && pair.other == 0.0),
        count(|pair| pair.baseline == 0.0 && 0.0 < pair.other),
    );
    let all = pairs.len() as u64;
    let found = paired_difference(first, second, all, BOOTSTRAP.confidence);
    let interval = Interval { low: 100.0 * found.low, high: 100.0 * found.high };
    let p = mcnemar_exact(first, second);
    let differences: Vec<f64> = pairs.iter().map(Pair::difference).collect();
    let [one, other] = [first, second].map(|count| count as f64 / all as f64);
    Estimate {
        baseline: mean(&side(pairs, |pair| pair.baseline)),
        other: mean(&side(pairs, |pair| pair.other)),
        difference: mean(&differences),
        interval,
        change: None,
        p,
        p_holm: p,
        pairs_needed: pairs_for_shares(one, other, DEMAND),
        detectable: detectable_mean(all, standard_deviation(&differences), DEMAND),
    }
}

fn side(pairs: &[Pair], of: fn(&Pair) -> f64) -> Vec<f64> {
    pairs.iter().map(of).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::Figure;
    use crate::lab::sweep::sample;

    /// A comparison of `brokers=3,5` over seeds 1 to `seeds`, whose runs `shape` makes what they are.
    pub(crate) fn compared(seeds: u64, values: &[&str], shape: impl Fn(&mut Outcome, usize)) -> Comparison {
        let (plan, axis, outcomes) = swept(seeds, values, shape);
        Comparison::of(&plan, &axis, values[0], &[], &outcomes)
    }

    /// What is compared by it.
    pub(crate) fn asked(seeds: u64, values: &[&str]) -> (Plan, Axis) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        let axis = Axis { path: "systems.broker.brokers".to_owned(), values };
        let plan = Plan {
            files: vec!["scenarios/a.toml".into()],
            set: vec!["acts.stir=20s".to_owned()],
            axes: vec![axis.clone()],
            first: 1,
            end: seeds + 1,
            shard: (1, 1),
        };
        (plan, axis)
    }

    fn swept(seeds: u64, values: &[&str], shape: impl Fn(&mut Outcome, usize)) -> (Plan, Axis, Vec<Outcome>) {
        let (plan, axis) = asked(seeds, values);
        let mut outcomes = Vec::new();
        for seed in 1..=seeds {
            for (index, value) in axis.values.iter().enumerate() {
                let mut outcome = sample::outcome(seed, None);
                outcome.point.set = vec!["acts.stir=20s".to_owned(), axis.setting(value)];
                shape(&mut outcome, index);
                outcomes.push(outcome);
            }
        }
        (plan, axis, outcomes)
    }

    fn latency(outcome: &mut Outcome, value: Option<f64>) {
        outcome.figures = vec![Figure::new("latency", "s", Better::Less, value)];
    }

    fn metric<'one>(comparison: &'one Comparison, name: &str) -> &'one Compared {
        let metrics = &comparison.contrasts[0].metrics;
        metrics.iter().find(|metric| metric.name == name).expect("it was compared")
    }

    /// Something between 0 and 1 that looks like chance.
    fn noise(seed: u64, index: usize) -> f64 {
        (seed * 7919 + index as u64 * 104_729) as f64 * 0.618_034 % 1.0
    }

    #[test]
    fn pairing_sees_what_the_storms_alone_would_hide() {
        // Storms differ by seconds, the values by some 50 ms.
        let comparison = compared(30, &["3", "5"], |outcome, index| {
            let seed = outcome.point.seed;
            latency(outcome, Some(seed as f64 - 0.05 * index as f64 * (0.5 + noise(seed, index))));
        });
        let latency = metric(&comparison, "latency");
        let estimate = latency.estimate.as_ref().expect("there are pairs");
        assert_eq!((latency.finding, comparison.questions), (Finding::Differs, 2));
        assert!((-0.07..-0.04).contains(&estimate.difference), "{estimate:?}");
        assert!(
            estimate.interval.high < 0.0 && estimate.interval.contains(estimate.difference),
            "{estimate:?}"
        );
        let (change, interval) = estimate.change.expect("latencies are positive");
        assert!(change < 0.0 && interval.contains(change) && interval.high < 0.0, "{estimate:?}");
        assert!(estimate.p_holm <= 2.0 * estimate.p + 1e-12 && estimate.pairs_needed < Some(30));
    }

    #[test]
    fn the_same_value_twice_is_equal_to_the_last_digit() {
        let comparison =
            compared(12, &["3", "3"], |outcome, _| latency(outcome, Some(outcome.point.seed as f64)));
        for metric in &comparison.contrasts[0].metrics {
            let estimate = metric.estimate.as_ref().expect("there are pairs");
            assert_eq!((metric.finding, estimate.difference, estimate.p_holm), (Finding::Equal, 0.0, 1.0));
        }
        let latency = metric(&comparison, "latency").estimate.as_ref().expect("there are pairs");
        assert_eq!(latency.interval, Interval { low: 0.0, high: 0.0 });
    }

    #[test]
    fn few_pairs_show_nothing_and_say_how_many_would() {
        let comparison = compared(5, &["3", "5"], |outcome, index| {
            latency(outcome, Some(10.0 + index as f64 + noise(outcome.point.seed, index)));
        });
        let latency = metric(&comparison, "latency");
        assert_eq!(latency.finding, Finding::TooFew);
        assert!(latency.estimate.as_ref().and_then(|estimate| estimate.pairs_needed).is_some());
        let one = compared(1, &["3", "5"], |_, _| {});
        assert_eq!((metric(&one, "latency").finding, one.questions), (Finding::Untold, 0));
    }

    #[test]
    fn runs_without_a_value_are_left_out_by_name_and_count_where_shares_are_compared() {
        let comparison = compared(30, &["3", "5"], |outcome, index| {
            let broken = index == 1 && outcome.point.seed <= 15;
            if broken {
                outcome.ended = Ended::Violated;
            }
            let seed = outcome.point.seed;
            latency(outcome, (!broken).then_some(seed as f64));
        });
        let latency = metric(&comparison, "latency");
        assert_eq!((latency.pairs.len(), latency.left_out.len()), (15, 15));
        let left_out = LeftOut { seed: 1, under: "5".to_owned(), why: "violated".to_owned() };
        assert_eq!(latency.left_out[0], left_out);
        let held = metric(&comparison, HELD);
        let estimate = held.estimate.as_ref().expect("there are pairs");
        assert_eq!((held.finding, estimate.difference), (Finding::Differs, -50.0));
        assert!((estimate.p - 2.0 / 32_768.0).abs() < 1e-9, "{estimate:?}");
        assert!(estimate.interval.high < 0.0, "{estimate:?}");
        assert_eq!(comparison.contrasts[0].side.held.map(|(share, _)| share), Some(0.5));
    }

    #[test]
    fn events_are_compared_if_they_are_asked_for() {
        let (plan, axis, outcomes) = swept(8, &["3", "5", "7"], |outcome, index| {
            outcome.events.insert("a leader fell".to_owned(), index as u64);
        });
        let wanted = ["leader".to_owned()];
        let comparison = Comparison::of(&plan, &axis, "5", &wanted, &outcomes);
        let told: Vec<(&str, f64)> = comparison
            .contrasts
            .iter()
            .map(|contrast| {
                let metric = &contrast.metrics[0];
                assert_eq!((contrast.metrics.len(), metric.name.as_str()), (1, "a leader fell"));
                let estimate = metric.estimate.as_ref().expect("there are pairs");
                (contrast.side.value.as_str(), estimate.difference)
            })
            .collect();
        assert_eq!(told, [("3", -1.0), ("7", 1.0)]);
    }

    #[test]
    fn many_questions_without_an_answer_raise_no_alarm() {
        let comparison = compared(30, &["3", "5"], |outcome, index| {
            let seed = outcome.point.seed;
            let figure = |number: u64| {
                let value = noise(seed + 1000 * number, index);
                Figure::new(format!("figure {number}"), "", Better::Less, value)
            };
            outcome.figures = (0..40).map(figure).collect();
        });
        assert_eq!(comparison.questions, 41);
        let metrics = &comparison.contrasts[0].metrics;
        assert!(metrics.iter().all(|metric| metric.finding != Finding::Differs), "{metrics:#?}");
    }
}
