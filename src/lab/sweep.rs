//! Many runs, each in an operating-system process of its own: one that hangs, dies or eats memory costs one seed, and is a finding.
//!
//! ```text
//! points ─► queue ─► jobs: a child process each, watched ─► journal: a line for each end ─► summary
//! ```
//!
//! What has ended is in the journal before anything else happens, so that a sweep that is killed goes on where it was.

mod cells;
mod journal;
mod summary;
pub(in crate::lab) mod worker;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use cells::{CONFIDENCE, Estimate, FigureTable, PValues, Spread, cells, figures, p_values};
pub use journal::{Journal, JournalError};
#[cfg(test)]
pub(crate) use summary::tests as sample;
pub use summary::{Finding, SiteRuns, Summary};
pub use worker::{Ended, Outcome, Reach, Trouble};

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// The seed.
    pub seed: u64,
    /// The scenario file.
    pub file: PathBuf,
    /// What is set, as `--set` takes it: the same for all runs, then a value of each axis.
    pub set: Vec<String>,
}

/// A value that a sweep varies: the dotted path, and the values it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// As `--set` names it.
    pub path: String,
    /// As `--set` takes them.
    pub values: Vec<String>,
}

/// What a sweep runs. Two sweeps with equal plans run the same points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario files.
    pub files: Vec<PathBuf>,
    /// What is set in all of them.
    pub set: Vec<String>,
    /// What varies: every combination is run.
    pub axes: Vec<Axis>,
    /// The first seed.
    pub first: u64,
    /// The one after the last.
    pub end: u64,
    /// Which part of the points this machine runs, of how many.
    pub shard: (u64, u64),
}

impl Axis {
    /// A value of it, as `--set` takes it.
    pub fn setting(&self, value: &str) -> String {
        format!("{}={value}", self.path)
    }
}

impl Plan {
    /// All points of this shard. Seeds are the slow wheel, so that a sweep that ends early has seen every file and combination.
    pub fn points(&self) -> Vec<Point> {
        let mut combinations: Vec<Vec<String>> = vec![self.set.clone()];
        for axis in &self.axes {
            combinations = combinations
                .iter()
                .flat_map(|set| {
                    axis.values.iter().map(|value| [set.as_slice(), &[axis.setting(value)]].concat())
                })
                .collect();
        }
        let grid = self.files.iter().flat_map(|file| combinations.iter().map(move |set| (file, set)));
        let grid: Vec<_> = grid.collect();
        let (shard, shards) = self.shard;
        (self.first..self.end)
            .flat_map(|seed| grid.iter().map(move |(file, set)| (seed, file, set)))
            .zip(0..)
            .filter(|(_, number)| number % shards == shard - 1)
            .map(|((seed, file, set), _)| Point { seed, file: (*file).clone(), set: (*set).clone() })
            .collect()
    }
}

/// What bounds a sweep and each of its runs.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many runs at once.
    pub jobs: usize,
    /// How long one may take, in real time.
    pub time_out: Duration,
    /// How many bytes one may hold.
    pub memory: u64,
    /// End after this many runs that did not hold.
    pub failures: Option<u64>,
    /// End when this many runs in a row have brought nothing new: no event, no state under a fault, no finding.
    pub stable: Option<u64>,
    /// End after this long.
    pub budget: Option<Duration>,
    /// Which share of the runs that hold is run once more, and must be the same.
    pub recheck: f64,
}

impl Limits {
    /// Why nothing more is to begin, if it is not.
    fn due(&self, news: &News, elapsed: Duration) -> Option<Stop> {
        if self.failures.is_some_and(|most| most <= news.failed) {
            Some(Stop::Failures)
        } else if self.stable.is_some_and(|runs| runs <= news.runs_without) {
            Some(Stop::Stable)
        } else if self.budget.is_some_and(|budget| budget <= elapsed) {
            Some(Stop::Budget)
        } else {
            None
        }
    }
}

/// Why a sweep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Every point was run.
    Complete,
    /// As many runs failed as were asked for.
    Failures,
    /// Nothing new came for as long as was asked for.
    Stable,
    /// Its time was up.
    Budget,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug)]
pub struct SweepProgress {
    /// Runs that have ended, with those of an earlier try.
    pub done: usize,
    /// Of how many.
    pub points: usize,
    /// How many did not hold.
    pub failed: u64,
    /// Distinct findings.
    pub findings: usize,
}

/// Runs what the journal does not hold yet. `program` is the `wavetank` command itself.
///
/// # Errors
/// If the journal cannot be written.
#[expect(clippy::disallowed_methods, reason = "a sweep's budget is real time, outside any run")]
pub fn sweep(
    program: &Path,
    plan: &Plan,
    limits: &Limits,
    journal: &mut Journal,
    progress: &mut dyn FnMut(SweepProgress),
) -> io::Result<Stop> {
    let began = Instant::now();
    let folder = journal.folder().to_owned();
    let state = Mutex::new(State::new(plan.points(), journal));
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for job in 0..limits.jobs {
            let (state, folder, sender) = (&state, &folder, sender.clone());
            scope.spawn(move || {
                let next = || locked(state).next(limits, began.elapsed());
                while let Some(point) = next() {
                    let outcome = worker::run(program, &point, limits, folder, job);
                    // Whoever shows the progress outlives the jobs.
                    let _ = sender.send(locked(state).ended(outcome));
                }
            });
        }
        drop(sender);
        receiver.into_iter().for_each(progress);
    });
    let state = state.into_inner().expect(UNBROKEN);
    state.failure.map_or(Ok(state.stop), Err)
}

const UNBROKEN: &str = "nobody panics while holding the state of a sweep";

fn locked<'lock, 'journal>(state: &'lock Mutex<State<'journal>>) -> MutexGuard<'lock, State<'journal>> {
    state.lock().expect(UNBROKEN)
}

/// What the jobs of a sweep share.
struct State<'journal> {
    points: usize,
    queue: VecDeque<Point>,
    journal: &'journal mut Journal,
    news: News,
    stop: Stop,
    failure: Option<io::Error>,
}

impl<'journal> State<'journal> {
    fn new(points: Vec<Point>, journal: &'journal mut Journal) -> Self {
        let ended: BTreeSet<&Point> = journal.outcomes().iter().map(|outcome| &outcome.point).collect();
        let queue = points.iter().filter(|point| !ended.contains(point)).cloned().collect();
        let mut news = News::default();
        journal.outcomes().iter().for_each(|outcome| news.take(outcome));
        Self { points: points.len(), queue, journal, news, stop: Stop::Complete, failure: None }
    }

    /// The next run, noted as begun; none if nothing more is to begin.
    fn next(&mut self, limits: &Limits, elapsed: Duration) -> Option<Point> {
        if let Some(due) = limits.due(&self.news, elapsed).filter(|_| !self.queue.is_empty()) {
            self.queue.clear();
            self.stop = due;
        }
        let point = self.queue.pop_front()?;
        let noted = self.journal.begins(&point);
        self.unless_failed(noted).then_some(point)
    }

    fn ended(&mut self, outcome: Outcome) -> SweepProgress {
        self.news.take(&outcome);
        let noted = self.journal.ended(outcome);
        self.unless_failed(noted);
        SweepProgress {
            done: self.journal.outcomes().len(),
            points: self.points,
            failed: self.news.failed,
            findings: self.news.findings.len(),
        }
    }

    /// Whether the journal took a line. Without one nothing more begins.
    fn unless_failed(&mut self, noted: io::Result<()>) -> bool {
        let failure = noted.err();
        let fine = failure.is_none();
        if !fine {
            self.queue.clear();
            self.failure = failure;
        }
        fine
    }
}

/// What a sweep has seen so far, to tell when nothing new comes.
#[derive(Default)]
struct News {
    seen: BTreeSet<String>,
    findings: BTreeSet<String>,
    failed: u64,
    runs_without: u64,
}

impl News {
    fn take(&mut self, outcome: &Outcome) {
        let mut fresh = false;
        if let Some(trouble) = &outcome.trouble {
            self.failed += 1;
            fresh |= self.findings.insert(trouble.fingerprint());
        }
        for event in outcome.events.keys() {
            fresh |= self.seen.insert(event.clone());
        }
        for (fault, event, _) in &outcome.coverage {
            fresh |= self.seen.insert(format!("{fault} / {event}"));
        }
        self.runs_without = if fresh { 0 } else { self.runs_without + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(shard: (u64, u64)) -> Plan {
        let axis = |path: &str, values: &[&str]| Axis {
            path: path.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        Plan {
            files: vec!["a.toml".into(), "b.toml".into()],
            set: vec!["acts.stir=1s".to_owned()],
            axes: vec![axis("x", &["1", "2"]), axis("y", &["p", "q", "r"])],
            first: 5,
            end: 8,
            shard,
        }
    }

    #[test]
    fn every_seed_meets_every_file_and_combination_once() {
        let points = plan((1, 1)).points();
        assert_eq!(points.len(), 3 * 2 * 2 * 3);
        let distinct: BTreeSet<&Point> = points.iter().collect();
        assert_eq!(distinct.len(), points.len());
        let last = Point {
            seed: 7,
            file: "b.toml".into(),
            set: ["acts.stir=1s", "x=2", "y=r"].map(str::to_owned).to_vec(),
        };
        assert_eq!(points.last(), Some(&last));
    }

    #[test]
    fn shards_share_the_points_among_them() {
        let mut together: Vec<Point> = (1..=5).flat_map(|shard| plan((shard, 5)).points()).collect();
        let mut whole = plan((1, 1)).points();
        together.sort();
        whole.sort();
        assert_eq!(together, whole);
    }
}
