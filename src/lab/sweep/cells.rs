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

/// A spread that is not as was promised.
#[derive(Clone, Debug, PartialEq)]
pub struct Refuted {
    /// The figure.
    pub figure: String,
    /// Where: the seed is that of the first run.
    pub cell: Point,
    /// How many runs tell it.
    pub runs: usize,
    /// What was found.
    pub spread: Spread,
}

/// What no run by itself shows: p-values that are promised to be spread evenly, and are not.
pub fn refuted(plan: &Plan, figures: &[FigureTable]) -> Vec<Refuted> {
    let cells = cells(plan);
    let all =
        figures.iter().flat_map(|figure| figure.cells.iter().zip(&cells).map(move |cell| (figure, cell)));
    all.filter_map(|(figure, (estimate, cell))| {
        let Estimate { runs, spread, .. } = (*estimate)?;
        let spread = spread.filter(Spread::is_refuted)?;
        Some(Refuted { figure: figure.name.clone(), cell: cell.clone(), runs, spread })
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
