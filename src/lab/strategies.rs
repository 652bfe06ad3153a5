//! Compares strategies on the same streams of users: how much each loses, how often it errs, how long it takes.
//!
//! Stream `n` has the seed `n` after the first under every strategy, so that differences between strategies are those of pairs. Streams are
//! shared among threads, and put together in their order: the numbers do not depend on how many threads there are.

use crate::base::Seed;
use crate::experiment::closed::{CHECKPOINTS, Course, Prepared};
use crate::experiment::users::Population;
use crate::lab::crew::in_order;
use crate::scenario::Study;
use crate::statistics::Interval;
use crate::statistics::binomial::clopper_pearson;
use crate::statistics::descriptive::quantile;
use crate::statistics::means::{Difference, Moments, paired};

/// How often an interval is to cover the truth.
pub const CONFIDENCE: f64 = 0.95;

/// How many streams a thread takes at once.
const PORTION: u64 = 8;

/// What was found of all strategies.
#[derive(Clone, PartialEq, Debug)]
pub struct Findings {
    /// The strategies, in the order of the file.
    pub strategies: Vec<Found>,
    /// When the checkpoints are, in days.
    pub days: Vec<f64>,
    /// The names of the arms.
    pub arms: Vec<String>,
    /// The rate of each arm that a decision should go by.
    pub truth: Vec<f64>,
    /// How many streams each strategy met.
    pub streams: u64,
    /// How many visits there were, over all streams and strategies.
    pub visits: u64,
}

/// What was found of one strategy.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Which error it controls, in words.
    pub controls: String,
    /// The regret at each checkpoint.
    pub regret: Vec<Spread>,
    /// The mean share of each arm, by checkpoint.
    pub allocation: Vec<Vec<f64>>,
    /// The regret at the end, in successes.
    pub final_regret: Mean,
    /// That regret, less that of the first strategy on the same stream; nothing of the first itself.
    pub against_first: Option<Mean>,
    /// Visits of humans that were shown an arm that was not the best at that time.
    pub worse: Mean,
    /// How often it chose the best arm, or one of several.
    pub right: Rate,
    /// How often it said that arms differ, or left the control, without a reason.
    pub false_alarms: Rate,
    /// How often its intervals contained the truth, of the streams in which it could give any.
    pub coverage: Option<Rate>,
    /// After how many days it decided: the quantiles 5, 50 and 95 %.
    pub days: [f64; 3],
    /// After how many days on average.
    pub days_mean: Mean,
    /// After how many visits on average.
    pub visits_until: Mean,
    /// How often it decided before the end.
    pub early: Rate,
    /// How often each arm was chosen.
    pub chosen: Vec<u64>,
}

/// A mean over streams, with its interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Its interval, by Student's distribution.
    pub interval: Interval,
}

/// How a quantity is distributed over streams.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Its mean.
    pub mean: Mean,
    /// Nine of ten streams lie within.
    pub band: Interval,
}

/// How often something happened, with its exact interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// In how many streams.
    pub happened: u64,
    /// Of how many.
    pub of: u64,
    /// Clopper and Pearson's.
    pub interval: Interval,
}

impl Rate {
    /// The share.
    pub fn value(&self) -> f64 {
        self.happened as f64 / self.of as f64
    }

    fn of(outcomes: impl Iterator<Item = bool>) -> Option<Self> {
        let (mut happened, mut of) = (0, 0);
        outcomes.for_each(|outcome| {
            happened += u64::from(outcome);
            of += 1;
        });
        (0 < of).then(|| Self { happened, of, interval: clopper_pearson(happened, of, CONFIDENCE) })
    }
}

impl Mean {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let moments = Moments::of(values.map(|value| [value]));
        let difference: Difference = paired(&moments);
        Self { value: difference.estimate, interval: difference.interval(CONFIDENCE) }
    }
}

/// Takes all streams through all strategies on so many threads. `tell` hears how many more courses have ended.
pub fn compare(study: &Study, jobs: usize, tell: &(dyn Fn(u64) + Sync)) -> Findings {
    let population = Population::new(&study.users);
    let prepared: Vec<Prepared<'_>> =
        study.strategies.iter().map(|strategy| Prepared::new(strategy, &population)).collect();
    let count = prepared.len();
    // All strategies by turns, so that the long ones are not left to the end.
    let portions = in_order(jobs, study.streams.div_ceil(PORTION) as usize * count, |taken| {
        let first = (taken / count) as u64 * PORTION;
        let streams = first..(first + PORTION).min(study.streams);
        let length = streams.end - streams.start;
        let seed = |stream: u64| Seed::new(study.seed.get().wrapping_add(stream));
        let courses: Vec<Course> =
            streams.map(|stream| prepared[taken % count].course(&population, seed(stream))).collect();
        tell(length);
        courses
    });
    let mut courses: Vec<Vec<Course>> = vec![Vec::new(); count];
    portions.into_iter().enumerate().for_each(|(taken, portion)| courses[taken % count].extend(portion));
    findings(study, &population, &courses)
}

fn findings(study: &Study, population: &Population, courses: &[Vec<Course>]) -> Findings {
    let days = f64::from(study.users.days);
    let strategies = study.strategies.iter().enumerate().map(|(index, strategy)| {
        let baseline = courses.first().filter(|_| 0 < index);
        found(strategy.name.clone(), strategy.controls(), population, &courses[index], baseline)
    });
    Findings {
        strategies: strategies.collect(),
        days: (1..=CHECKPOINTS).map(|checkpoint| days * checkpoint as f64 / CHECKPOINTS as f64).collect(),
        arms: study.users.arms.iter().map(|arm| arm.name.clone()).collect(),
        truth: population.truth().to_vec(),
        streams: study.streams,
        visits: courses.iter().flatten().map(|course| course.visits).sum(),
    }
}

fn found(
    name: String,
    controls: String,
    population: &Population,
    courses: &[Course],
    baseline: Option<&Vec<Course>>,
) -> Found {
    let arms = population.arms();
    let last = |course: &Course| course.regret[CHECKPOINTS - 1];
    let share = |checkpoint: usize, arm: usize| {
        let shares = courses.iter().map(|course| f64::from(course.allocation[checkpoint * arms + arm]));
        shares.sum::<f64>() / courses.len() as f64
    };
    let day = |course: &Course| course.decided.as_secs_f64() / 86_400.0;
    let days = sorted(courses.iter().map(day));
    let rate = |of: fn(&Course) -> bool| Rate::of(courses.iter().map(of)).expect("there are streams");
    let early = Rate::of(courses.iter().map(|course| course.decided < population.end()));
    let mut chosen = vec![0; arms];
    courses.iter().for_each(|course| chosen[course.decision.arm] += 1);
    Found {
        name,
        controls,
        regret: (0..CHECKPOINTS).map(|checkpoint| spread(courses, checkpoint)).collect(),
        allocation: (0..CHECKPOINTS)
            .map(|checkpoint| (0..arms).map(|arm| share(checkpoint, arm)).collect())
            .collect(),
        final_regret: Mean::of(courses.iter().map(last)),
        against_first: baseline.map(|baseline| {
            Mean::of(courses.iter().zip(baseline).map(|(course, first)| last(course) - last(first)))
        }),
        worse: Mean::of(courses.iter().map(|course| course.worse as f64)),
        right: rate(|course| course.right),
        false_alarms: rate(|course| course.false_alarm),
        coverage: Rate::of(courses.iter().filter_map(|course| course.covers)),
        days: [0.05, 0.5, 0.95].map(|p| quantile(&days, p)),
        days_mean: Mean::of(courses.iter().map(day)),
        visits_until: Mean::of(courses.iter().map(|course| course.visits_until as f64)),
        early: early.expect("there are streams"),
        chosen,
    }
}

fn spread(courses: &[Course], checkpoint: usize) -> Spread {
    let values = sorted(courses.iter().map(|course| course.regret[checkpoint]));
    let band = Interval { low: quantile(&values, 0.05), high: quantile(&values, 0.95) };
    Spread { mean: Mean::of(courses.iter().map(|course| course.regret[checkpoint])), band }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}
