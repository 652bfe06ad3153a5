//! The figures of a sweep, by scenario file and by the values of its axes: what a study of many seeds is made for.

use rand::Rng;

use crate::base::{Better, Seed};
use crate::lab::sweep::{Outcome, Plan, Point};
use crate::statistics::Interval;
use crate::statistics::binomial::clustered;
use crate::statistics::means::{Moments, paired};
use crate::statistics::rank::{Uniformity, uniformity};

/// How often an interval covers what very many seeds would give.
pub const CONFIDENCE: f64 = 0.95;

/// A figure in every cell.
#[derive(Clone, Debug, PartialEq)]
pub struct FigureTable {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Which way is better.
    pub better: Better,
    /// What the runs of each cell say, in the order of [`cells`]; `None` where none has a value.
    pub cells: Vec<Option<Estimate>>,
}

/// What the runs of a cell say of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean over runs; of shares, the share of all trials.
    pub value: f64,
    /// Where it lies, by Student's distribution; of shares, with the runs as clusters. `None` of a single run.
    pub interval: Option<Interval>,
    /// How many runs have a value.
    pub runs: usize,
    /// How many trials they have, if they tell shares.
    pub of: Option<u64>,
    /// How evenly the p-values of these trials are spread, where they are tests that have nothing to find.
    pub spread: Option<Spread>,
}

/// How evenly the p-values of tests are spread that have nothing to find: at all levels, and not only at the one whose false positives are counted.
///
/// Each is drawn from the gap that its counts leave, by the seed of its run, so that it is spread evenly and not nearly so. Tests are taken for
/// independent. Those of one run are so if each draws the arms of its users anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many p-values.
    pub tests: usize,
    /// Their distance from an even spread, and how likely one as large is.
    pub found: Uniformity,
    /// Whether all runs promise it.
    pub promised: bool,
}

impl Spread {
    /// Below which probability a spread that was promised to be even is refuted: low enough for any number of cells.
    pub const LEVEL: f64 = 1e-9;

    /// Of these runs; `None` if none tells p-values.
    fn of(name: &str, outcomes: &[&Outcome]) -> Option<Self> {
        let (mut values, mut promised) = (Vec::new(), true);
        for outcome in outcomes {
            let told = outcome.figures.iter().find(|figure| figure.name == name && figure.value.is_some());
            let Some(calibration) = told.and_then(|figure| figure.calibration.as_ref()) else { continue };
            // Ways to count that see the same see the same p-values.
            let mut stream = Seed::new(outcome.point.seed).stream("calibration");
            values
                .extend(calibration.p.iter().map(|[low, high]| low + (high - low) * stream.random::<f64>()));
            promised &= calibration.promised;
        }
        let (tests, found) = (values.len(), uniformity(&values));
        (0 < tests).then_some(Self { tests, found, promised })
    }

    /// Whether it is not as was promised.
    pub fn is_refuted(&self) -> bool {
        self.promised && self.found.p < Self::LEVEL
    }
}

/// The cells of a plan: a scenario file each, and a value of each axis.
pub fn cells(plan: &Plan) -> Vec<Point> {
    let one_seed = Plan { end: plan.first + 1, shard: (1, 1), ..plan.clone() };
    one_seed.points()
}

/// The figures in every cell whose names contain one of `wanted`; all, without any.
pub fn figures(plan: &Plan, wanted: &[String], outcomes: &[Outcome]) -> Vec<FigureTable> {
    let cells = cells(plan);
    let mut by_cell: Vec<Vec<&Outcome>> = vec![Vec::new(); cells.len()];
    for outcome in outcomes {
        let here = |cell: &Point| cell.file == outcome.point.file && cell.set == outcome.point.set;
        if let Some(place) = cells.iter().position(here) {
            by_cell[place].push(outcome);
        }
    }
    by_cell.iter_mut().for_each(|outcomes| outcomes.sort_by(|one, other| one.point.cmp(&other.point)));
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted.as_str()));
    let mut tables: Vec<FigureTable> = Vec::new();
    for figure in outcomes.iter().flat_map(|outcome| &outcome.figures) {
        if is_wanted(&figure.name) && !tables.iter().any(|table| table.name == figure.name) {
            let (name, unit) = (figure.name.clone(), figure.unit.clone());
            let cells = by_cell.iter().map(|outcomes| estimate(&name, outcomes)).collect();
            tables.push(FigureTable { name, unit, better: figure.better, cells });
        }
    }
    tables
}

/// The p-values of one figure in one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct PValues {
    /// The figure.
    pub figure: String,
    /// The cell; its seed is the first.
    pub cell: Point,
    /// How many runs tell them.
    pub runs: usize,
    /// How evenly they are spread.
    pub spread: Spread,
}

/// All p-values, by figure and cell.
pub fn p_values(plan: &Plan, figures: &[FigureTable]) -> Vec<PValues> {
    let cells = cells(plan);
    let all =
        figures.iter().flat_map(|figure| figure.cells.iter().zip(&cells).map(move |cell| (figure, cell)));
    all.filter_map(|(figure, (estimate, cell))| {
        let Estimate { runs, spread, .. } = (*estimate)?;
        Some(PValues { figure: figure.name.clone(), cell: cell.clone(), runs, spread: spread? })
    })
    .collect()
}

fn estimate(name: &str, outcomes: &[&Outcome]) -> Option<Estimate> {
    let figures =
        outcomes.iter().filter_map(|outcome| outcome.figures.iter().find(|figure| figure.name == name));
    let told: Vec<(f64, Option<u64>)> =
        figures.filter_map(|figure| Some((figure.value?, figure.of))).collect();
    let (runs, several) = (told.len(), 1 < told.len());
    let trials: Option<Vec<u64>> = told.iter().map(|(_, of)| *of).collect();
    if runs == 0 {
        return None;
    }
    let Some(trials) = trials else {
        let moments = Moments::of(told.iter().map(|(value, _)| [*value]));
        let interval = several.then(|| paired(&moments).interval(CONFIDENCE));
        return Some(Estimate { value: moments.mean(0), interval, runs, of: None, spread: None });
    };
    let successes = |(value, of): (f64, u64)| ((value * of as f64 / 100.0).round() as u64, of);
    let clusters: Vec<(u64, u64)> = told.iter().map(|(value, _)| *value).zip(trials).map(successes).collect();
    let (happened, of) = clusters.iter().fold((0, 0), |sum, cluster| (sum.0 + cluster.0, sum.1 + cluster.1));
    let Interval { low, high } = clustered(&clusters, CONFIDENCE);
    let interval = several.then_some(Interval { low: 100.0 * low, high: 100.0 * high });
    let (value, spread) = (100.0 * happened as f64 / of as f64, Spread::of(name, outcomes));
    Some(Estimate { value, interval, runs, of: Some(of), spread })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Calibration, Figure};
    use crate::lab::sweep::{Ended, Summary, sample};
    use crate::statistics::proportion::{Share, pooled_exact};

    const NAME: &str = "A/A false positives";

    fn plan() -> Plan {
        let (files, set, axes) = (vec!["scenarios/a.toml".into()], Vec::new(), Vec::new());
        Plan { files, set, axes, first: 1, end: 301, shard: (1, 1) }
    }

    /// Runs of six A/A tests each, 40 users an arm of whom one in five converts; `counts` says of an arm's user how often it stands in the logs, and
    /// whether with its outcome.
    fn runs(promised: bool, counts: impl Fn(usize, u64) -> (u64, bool)) -> Vec<Outcome> {
        let run = |seed| {
            let mut stream = Seed::new(seed).stream("users");
            let mut arm = |arm| {
                let (mut successes, mut trials) = (0, 0);
                for user in 0..40 {
                    let (times, whole) = counts(arm, user);
                    trials += times;
                    successes += times * u64::from(stream.random::<f64>() < 0.2 && whole);
                }
                Share::new(successes, trials)
            };
            let p = (0..6).map(|_| pooled_exact(arm(0), arm(1))).collect();
            let calibration = Some(Calibration { p, promised });
            let mut outcome = sample::outcome(seed, None);
            outcome.figures = vec![Figure { calibration, ..Figure::share(NAME, Better::Less, 0, 6) }];
            outcome
        };
        (1..301).map(run).collect()
    }

    fn spread(outcomes: &[Outcome]) -> Spread {
        let tables = figures(&plan(), &[], outcomes);
        tables[0].cells[0].and_then(|cell| cell.spread).expect("there are p-values")
    }

    #[test]
    fn p_values_of_a_platform_that_keeps_arms_alike_are_spread_evenly() {
        let alike = runs(true, |_, _| (1, true));
        let found = spread(&alike);
        assert_eq!(found.tests, 1800);
        assert!(0.01 < found.found.p && !found.is_refuted(), "{found:?}");
        // Losses that know nothing of arms are none of its business.
        assert!(!spread(&runs(true, |_, user| (1, user % 2 == 0))).is_refuted());
        let p_values = p_values(&plan(), &figures(&plan(), &[], &alike));
        assert_eq!((p_values.len(), p_values[0].figure.as_str(), p_values[0].runs), (1, NAME, 300));
        assert_eq!(Summary { p_values, ..Summary::of(&alike) }.exit_code(), 0);
    }

    #[test]
    fn who_counts_users_twice_or_loses_outcomes_of_one_arm_is_refuted() {
        for (name, distorted) in [
            ("every user counts three times", runs(true, |_, _| (3, true))),
            ("half of one arm's outcomes are lost", runs(true, |arm, user| (1, arm == 0 || user % 2 == 0))),
        ] {
            let found = spread(&distorted);
            assert!(found.is_refuted(), "{name}: {found:?}");
            let p_values = p_values(&plan(), &figures(&plan(), &[], &distorted));
            let summary = Summary { p_values, ..Summary::of(&distorted) };
            assert_eq!(summary.refuted().count(), 1, "{name}");
            assert_eq!((summary.ended[&Ended::Held], summary.exit_code()), (300, 1), "{name}");
        }
        let free = spread(&runs(false, |_, _| (3, true)));
        assert!(free.found.p < Spread::LEVEL && !free.is_refuted(), "{free:?}");
    }

    #[test]
    fn one_run_that_promises_nothing_takes_the_promise_from_all_and_runs_without_a_value_tell_nothing() {
        let mut outcomes = runs(true, |_, _| (1, true));
        let figure = |outcome: &mut Outcome| outcome.figures.remove(0);
        let untold = Figure { value: None, ..figure(&mut outcomes[0]) };
        outcomes[0].figures.push(untold);
        assert_eq!(spread(&outcomes).tests, 1794);
        if let Some(calibration) = &mut outcomes[1].figures[0].calibration {
            calibration.promised = false;
        }
        assert!(!spread(&outcomes).promised);
    }
}
