//! Many runs, each in an operating-system process of its own: one that hangs, dies or eats memory costs one seed, and is a finding.
//!
//! ```text
//! points ─► queue ─► jobs: a child process each, watched ─► journal: a line for each end ─► summary
//! ```
//!
//! What has ended is in the journal before anything else happens, so that a sweep that is killed goes on where it was.

mod journal;
mod summary;
mod worker;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use journal::{Journal, JournalError};
#[cfg(test)]
pub(crate) use summary::tests as sample;
pub use summary::{Finding, Summary};
pub use worker::{Ended, Outcome, Trouble};

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

impl Plan {
    /// All points of this shard. Seeds are the slow wheel, so that a sweep that ends early has seen every file and combination.
    pub fn points(&self) -> Vec<Point> {
        let mut combinations: Vec<Vec<String>> = vec![self.set.clone()];
        for axis in &self.axes {
            let with = |value: &String| format!("{}={value}", axis.path);
            combinations = combinations
                .iter()
                .flat_map(|set| axis.values.iter().map(|value| [set.as_slice(), &[with(value)]].concat()))
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
    let points = plan.points();
    let ended: BTreeSet<Point> = journal.outcomes().iter().map(|outcome| outcome.point.clone()).collect();
    let queue: Mutex<VecDeque<Point>> =
        Mutex::new(points.iter().filter(|point| !ended.contains(point)).cloned().collect());
    let mut news = News::default();
    journal.outcomes().iter().for_each(|outcome| {
        news.take(outcome);
    });
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for job in 0..limits.jobs {
            let (queue, sender, folder) = (&queue, sender.clone(), journal.folder().to_owned());
            scope.spawn(move || {
                // Nobody panics while holding the queue; a poisoned one would only mean that the sweep ends.
                while let Some(point) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
                    if sender.send(Message::Begins(point.clone())).is_err() {
                        return;
                    }
                    let outcome = worker::run(program, &point, limits, &folder, job);
                    if sender.send(Message::Ended(Box::new(outcome))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut stop = Stop::Complete;
        for message in receiver {
            match message {
                Message::Begins(point) => journal.begins(&point)?,
                Message::Ended(outcome) => {
                    news.take(&outcome);
                    journal.ended(*outcome)?;
                    progress(SweepProgress {
                        done: journal.outcomes().len(),
                        points: points.len(),
                        failed: news.failed,
                        findings: news.findings.len(),
                    });
                }
            }
            let due = if limits.failures.is_some_and(|most| most <= news.failed) {
                Some(Stop::Failures)
            } else if limits.stable.is_some_and(|runs| runs <= news.runs_without) {
                Some(Stop::Stable)
            } else if limits.budget.is_some_and(|budget| budget <= began.elapsed()) {
                Some(Stop::Budget)
            } else {
                None
            };
            if let (Some(due), Ok(mut queue)) = (due, queue.lock())
                && !queue.is_empty()
            {
                // What is under way comes to its end; nothing more begins.
                queue.clear();
                stop = due;
            }
        }
        Ok(stop)
    })
}

enum Message {
    Begins(Point),
    Ended(Box<Outcome>),
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
