//! The same strategies without a platform and on platforms, under the very same seeds: what a platform, and what fails in it, changes.
//!
//! Each seed brings the same users to both, so that a difference is one of pairs: the platform less none. Fixed shares give each user another
//! arm on a platform than without one, by chance alone (see [`crate::scenario::Carried`]); so that this is not taken for the platform's doing,
//! it is told too how often the logs lead to another decision than what was shown in the same run.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::base::{Better, Seed};
use crate::experiment::course::{CHECKPOINTS, Course, Prepared, is_false_alarm, is_right};
use crate::experiment::stopping::{Decision, Rule};
use crate::experiment::strategy::Strategy;
use crate::experiment::tally::Tally;
use crate::experiment::users::Population;
use crate::lab::crew::in_order;
use crate::lab::strategies::{CONFIDENCE, over_streams};
use crate::lab::sweep::{Ended, Outcome, Plan};
use crate::scenario::{Carried, Study, Visitors};
use crate::statistics::Interval;
use crate::statistics::binomial::{clopper_pearson, paired_difference};
use crate::statistics::means::Difference;
use crate::workloads::experiment::analyst::each::{
    BEST, COPIED, LOST, REGRET, Source, UNSERVED, VISITS, name, of_arm,
};

/// What was found of all strategies on all platforms.
#[derive(Clone, PartialEq, Debug)]
pub struct Findings {
    /// The strategies, in the order of the file.
    pub strategies: Vec<Found>,
    /// The platforms, in the order in which they were named.
    pub platforms: Vec<Runs>,
    /// How many differences in regret there are.
    pub questions: usize,
}

/// The runs of a platform.
#[derive(Clone, PartialEq, Debug)]
pub struct Runs {
    /// How many ended how.
    pub ended: BTreeMap<Ended, u64>,
    /// How many of the seeds were not run.
    pub not_run: u64,
    /// How many held; nothing if none was run.
    pub held: Option<Estimate>,
}

/// What was found of one strategy.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// A row for each of [`METRICS`].
    pub rows: Vec<Row>,
    /// By platform, whether the difference in regret is sure: intervals that cover all of them at once (Bonferroni) lie beside 0.
    pub sure: Vec<bool>,
}

/// A metric without a platform and on each.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Without; nothing where there can be no such thing.
    pub without: Option<Estimate>,
    /// By platform.
    pub platforms: Vec<OnPlatform>,
}

/// A metric on a platform.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct OnPlatform {
    /// Itself; nothing with fewer than two runs that tell it.
    pub value: Option<Estimate>,
    /// Less what it is without a platform, seed by seed.
    pub difference: Option<Estimate>,
}

/// A number with its interval and its sample.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Where it lies: by Clopper and Pearson for shares of runs, by Student for all else.
    pub interval: Interval,
    /// Of how many seeds.
    pub of: u64,
}

/// What is told of a strategy.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Whether a run has it or has it not, so that it is a share of runs.
    pub is_share: bool,
}

const fn metric(name: &'static str, unit: &'static str, better: Better) -> Metric {
    Metric { name, unit, better, is_share: false }
}

const fn share(name: &'static str, better: Better) -> Metric {
    Metric { name, unit: "%", better, is_share: true }
}

/// All that is told, in the order of a row's numbers.
pub const METRICS: [Metric; 15] = [
    metric("regret per visit", "points", Better::Less),
    metric("visits of the best arm", "%", Better::More),
    share("chose the best arm, by ids", Better::More),
    share("chose the best arm, by pairs", Better::More),
    share("false alarms, by ids", Better::Less),
    share("false alarms, by pairs", Better::Less),
    share("another choice than by what was shown, by ids", Better::Less),
    share("another choice than by what was shown, by pairs", Better::Less),
    share("another choice than without a platform, by ids", Better::Neither),
    metric("visits that came", "%", Better::More),
    metric(UNSERVED, "%", Better::Less),
    metric(LOST[0], "%", Better::Less),
    metric(LOST[1], "%", Better::Less),
    metric(COPIED[0], "%", Better::Less),
    metric(COPIED[1], "%", Better::Less),
];

/// The number of the regret among the metrics.
pub const OF_REGRET: usize = 0;

type Values = [Option<f64>; METRICS.len()];

/// Sets runs of a plan, one file of which carries out the strategies for each of `carried`, against as many streams without a platform.
///
/// # Panics
/// If the strategies are for a log.
pub fn compare(
    study: &Study,
    carried: &[Carried],
    plan: &Plan,
    outcomes: &[Outcome],
    jobs: usize,
) -> Findings {
    let Visitors::Users(model) = &study.visitors else { panic!("only users are carried to a platform") };
    let seeds: Vec<u64> = (plan.first..plan.end).collect();
    let population = Population::new(model);
    let courses = courses(study, &population, &seeds, jobs);
    let by_point: BTreeMap<(&Path, u64), &Outcome> =
        outcomes.iter().map(|outcome| ((&*outcome.point.file, outcome.point.seed), outcome)).collect();
    let of_platform: Vec<Vec<Option<&Outcome>>> = plan
        .files
        .iter()
        .map(|file| seeds.iter().map(|seed| by_point.get(&(&**file, *seed)).copied()).collect())
        .collect();
    let questions = study.strategies.len() * carried.len();
    let of_all = 1.0 - (1.0 - CONFIDENCE) / questions as f64;
    let found = |(index, strategy): (usize, &Strategy)| {
        let of_seed = |at: usize| &courses[at][index];
        let without: Vec<Values> = (0..seeds.len()).map(|at| without(of_seed(at))).collect();
        let rule = Rule::new(strategy, model.arms.len(), model.days);
        let on = carried.iter().zip(&of_platform).map(|(carried, outcomes)| {
            let place = Place { carried, experiment: index, rule: &rule, truth: population.truth() };
            let values = outcomes.iter().enumerate();
            values
                .map(|(at, outcome)| outcome.map_or([None; _], |outcome| place.of_run(outcome, of_seed(at))))
                .collect()
        });
        let on: Vec<Vec<Values>> = on.collect();
        let rows = METRICS.iter().enumerate().map(|(number, metric)| row(metric, number, &without, &on));
        let is_sure = |on: &Vec<Values>| {
            let pairs = pairs(&without, on, OF_REGRET);
            2 <= pairs.len() && !differences(&pairs).interval(of_all).contains(0.0)
        };
        Found { name: strategy.name.clone(), rows: rows.collect(), sure: on.iter().map(is_sure).collect() }
    };
    Findings {
        questions,
        platforms: of_platform.iter().map(|outcomes| runs(outcomes)).collect(),
        strategies: study.strategies.iter().enumerate().map(found).collect(),
    }
}

/// By seed and strategy, what becomes of the users without a platform.
fn courses(study: &Study, population: &Population, seeds: &[u64], jobs: usize) -> Vec<Vec<Course>> {
    let days = population.model().days;
    let prepare = |strategy| Prepared::new(strategy, population.arms(), days);
    let prepared: Vec<Prepared<'_>> = study.strategies.iter().map(prepare).collect();
    in_order(jobs, seeds.len(), |at| {
        prepared.iter().map(|prepared| prepared.course(population, Seed::new(seeds[at]))).collect()
    })
}

/// What a strategy did without a platform.
fn without(course: &Course) -> Values {
    let of_humans = |number: f64| (0 < course.humans).then(|| 100.0 * number / course.humans as f64);
    let (right, alarm) = (Some(percent(course.right)), Some(percent(course.false_alarm)));
    let (regret, best) = (course.regret[CHECKPOINTS - 1], (course.humans - course.worse) as f64);
    // What is known is known, however one counts.
    let told = [of_humans(regret), of_humans(best), right, right, alarm, alarm];
    std::array::from_fn(|number| told.get(number).copied().flatten())
}

fn percent(happened: bool) -> f64 {
    if happened { 100.0 } else { 0.0 }
}

/// Where a strategy was carried out.
struct Place<'study> {
    carried: &'study Carried,
    experiment: usize,
    rule: &'study Rule,
    truth: &'study [f64],
}

impl Place<'_> {
    /// What it did in a run whose users did so without a platform.
    fn of_run(&self, outcome: &Outcome, course: &Course) -> Values {
        let workload = &self.carried.workload;
        let figures: BTreeMap<&str, f64> = outcome
            .figures
            .iter()
            .filter_map(|figure| Some((figure.name.strip_prefix(workload)?.trim_start(), figure.value?)))
            .collect();
        let experiment = &self.carried.experiments[self.experiment];
        let told = |what: &str| figures.get(&*name(experiment, what)).copied();
        let decided = |source| self.decided(&figures, experiment, source);
        let [shown, by_ids, by_pairs] = Source::ALL.map(decided);
        let of = |decision: Option<Decision>, judge: fn(Decision, &[f64]) -> bool| {
            decision.map(|decision| percent(judge(decision, self.truth)))
        };
        let other =
            |decision: Option<Decision>, than: Option<Decision>| Some(percent(decision?.arm != than?.arm));
        [
            told(REGRET),
            told(BEST),
            of(by_ids, is_right),
            of(by_pairs, is_right),
            of(by_ids, is_false_alarm),
            of(by_pairs, is_false_alarm),
            other(by_ids, shown),
            other(by_pairs, shown),
            other(by_ids, Some(course.decision)),
            told(VISITS).map(|visits| 100.0 * visits / course.visits as f64),
            told(UNSERVED),
            told(LOST[0]),
            told(LOST[1]),
            told(COPIED[0]),
            told(COPIED[1]),
        ]
    }

    /// What the strategy's own rule decides at the end, by what is known from a source.
    fn decided(&self, figures: &BTreeMap<&str, f64>, experiment: &str, source: Source) -> Option<Decision> {
        let known = self.carried.arms.iter().map(|arm| {
            let [visits, successes] = of_arm(experiment, arm, source).map(|name| figures.get(&*name));
            Some(Tally { successes: *successes? as u64, visits: *visits? as u64, users: None })
        });
        let known: Vec<Tally> = known.collect::<Option<_>>()?;
        self.rule.decide(self.rule.looks().len() - 1, &known)
    }
}

fn runs(outcomes: &[Option<&Outcome>]) -> Runs {
    let mut ended: BTreeMap<Ended, u64> = BTreeMap::new();
    outcomes.iter().flatten().for_each(|outcome| *ended.entry(outcome.ended).or_default() += 1);
    let held: Vec<f64> = outcomes.iter().flatten().map(|run| percent(run.ended == Ended::Held)).collect();
    let not_run = (outcomes.len() - held.len()) as u64;
    Runs { ended, not_run, held: (!held.is_empty()).then(|| of_shares(&held)) }
}

/// What was without and on a platform, of the seeds that tell both.
fn pairs(without: &[Values], on: &[Values], number: usize) -> Vec<(f64, f64)> {
    without.iter().zip(on).filter_map(|(without, on)| Some((without[number]?, on[number]?))).collect()
}

/// The mean difference of pairs.
fn differences(pairs: &[(f64, f64)]) -> Difference {
    over_streams(pairs.iter().map(|(without, on)| on - without))
}

fn row(metric: &Metric, number: usize, without: &[Values], on: &[Vec<Values>]) -> Row {
    let estimate = |values: &[f64]| {
        (2 <= values.len()).then(|| match metric.is_share {
            true => of_shares(values),
            false => of_means(over_streams(values.iter().copied()), values.len()),
        })
    };
    let told = |all: &[Values]| all.iter().filter_map(|values| values[number]).collect::<Vec<f64>>();
    let platforms = on.iter().map(|on| {
        let pairs = pairs(without, on, number);
        let difference = (2 <= pairs.len()).then(|| match metric.is_share {
            true => of_paired_shares(&pairs),
            false => of_means(differences(&pairs), pairs.len()),
        });
        OnPlatform { value: estimate(&told(on)), difference }
    });
    Row { platforms: platforms.collect(), without: estimate(&told(without)) }
}

fn of_means(mean: Difference, of: usize) -> Estimate {
    Estimate { value: mean.estimate, interval: mean.interval(CONFIDENCE), of: of as u64 }
}

fn of_shares(values: &[f64]) -> Estimate {
    let (happened, of) = (values.iter().filter(|value| 0.0 < **value).count() as u64, values.len() as u64);
    let value = 100.0 * happened as f64 / of as f64;
    Estimate { value, interval: in_percent(clopper_pearson(happened, of, CONFIDENCE)), of }
}

fn of_paired_shares(pairs: &[(f64, f64)]) -> Estimate {
    let count = |which: fn(&(f64, f64)) -> bool| pairs.iter().filter(|pair| which(pair)).count() as u64;
    let (only_without, only_on) = (count(|(without, on)| on < without), count(|(without, on)| without < on));
    let of = pairs.len() as u64;
    let value = 100.0 * (only_on as f64 - only_without as f64) / of as f64;
    Estimate { value, interval: in_percent(paired_difference(only_without, only_on, of, CONFIDENCE)), of }
}

fn in_percent(share: Interval) -> Interval {
    Interval { low: 100.0 * share.low, high: 100.0 * share.high }
}
