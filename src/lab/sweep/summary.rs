//! What a sweep has found: its runs put together.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::lab::sweep::{Ended, Outcome, PValues, Point, Reach, Trouble};

/// Runs that failed in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is common to them.
    pub fingerprint: String,
    /// How many.
    pub count: usize,
    /// The one with the smallest seed.
    pub first: Point,
    /// What was wrong there.
    pub trouble: Trouble,
}

/// In how many runs a cooperative point came how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SiteRuns {
    /// The code came there.
    pub reached: usize,
    /// And it could have fired.
    pub live: usize,
    /// And it did.
    pub fired: usize,
}

/// A sweep, put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many runs have ended.
    pub runs: usize,
    /// How many ended how.
    pub ended: BTreeMap<Ended, usize>,
    /// The rarest first: they are what a sweep is made for.
    pub findings: Vec<Finding>,
    /// What no run by itself shows, as [`super::p_values`] tells it.
    pub p_values: Vec<PValues>,
    /// In how many runs each event happened.
    pub events: BTreeMap<String, usize>,
    /// In how many runs each event happened under each kind of fault.
    pub matrix: BTreeMap<String, BTreeMap<String, usize>>,
    /// In how many runs each cooperative point came how far.
    pub sites: BTreeMap<String, SiteRuns>,
    /// How many were run twice.
    pub rechecked: usize,
    /// Virtual seconds in all.
    pub virtual_seconds: f64,
    /// Seconds of all jobs.
    pub job_seconds: f64,
}

impl Summary {
    /// Puts runs together, without p-values. Their order does not matter.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut outcomes: Vec<&Outcome> = outcomes.iter().collect();
        outcomes.sort_by(|one, other| one.point.cmp(&other.point));
        let mut summary = Self {
            runs: outcomes.len(),
            ended: BTreeMap::new(),
            findings: Vec::new(),
            p_values: Vec::new(),
            events: BTreeMap::new(),
            matrix: BTreeMap::new(),
            sites: BTreeMap::new(),
            rechecked: outcomes.iter().filter(|outcome| outcome.rechecked).count(),
            virtual_seconds: outcomes.iter().map(|outcome| outcome.virtual_seconds).sum(),
            job_seconds: outcomes.iter().map(|outcome| outcome.wall_seconds).sum(),
        };
        let mut findings: BTreeMap<String, Finding> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for outcome in outcomes {
            *summary.ended.entry(outcome.ended).or_default() += 1;
            for event in outcome.events.keys() {
                *summary.events.entry(event.clone()).or_default() += 1;
            }
            for fault in outcome.faults.iter().filter(|(_, count)| 0 < **count).map(|(kind, _)| kind) {
                summary.matrix.entry(fault.clone()).or_default();
            }
            seen.clear();
            for (fault, event, _) in &outcome.coverage {
                if seen.insert((fault, event)) {
                    *summary.matrix.entry(fault.clone()).or_default().entry(event.clone()).or_default() += 1;
                }
            }
            for (site, reach) in &outcome.sites {
                let runs = summary.sites.entry(site.clone()).or_default();
                runs.reached += 1;
                runs.live += usize::from(Reach::Live <= *reach);
                runs.fired += usize::from(Reach::Fired <= *reach);
            }
            if let Some(trouble) = &outcome.trouble {
                let fingerprint = trouble.fingerprint();
                let finding = findings.entry(fingerprint.clone()).or_insert_with(|| Finding {
                    fingerprint,
                    count: 0,
                    first: outcome.point.clone(),
                    trouble: trouble.clone(),
                });
                finding.count += 1;
            }
        }
        summary.findings = findings.into_values().collect();
        summary
            .findings
            .sort_by(|one, other| (one.count, &one.fingerprint).cmp(&(other.count, &other.fingerprint)));
        summary
    }

    /// P-values that must be spread evenly, and are not.
    pub fn refuted(&self) -> impl Iterator<Item = &PValues> {
        self.p_values.iter().filter(|p_values| p_values.spread.is_refuted())
    }

    /// How many things are wrong: findings of runs, and what is refuted.
    pub fn wrongs(&self) -> usize {
        self.findings.len() + self.refuted().count()
    }

    /// The exit code of the whole: 0 if every run held, else that of the worst: 4 where two runs differ, 1 where a promise was broken,
    /// by a run or by all together, or a process had to be given up, 3 where something did not come to rest, 2 where nothing could be run.
    pub fn exit_code(&self) -> u8 {
        let any = |wanted: &[Ended]| wanted.iter().any(|ended| self.ended.contains_key(ended));
        if any(&[Ended::NotDeterministic]) {
            4
        } else if any(&[Ended::Violated, Ended::Hung, Ended::OutOfMemory, Ended::Died])
            || self.refuted().next().is_some()
        {
            1
        } else if any(&[Ended::NotConverged]) {
            3
        } else if any(&[Ended::BadInput]) {
            2
        } else {
            0
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::{Better, Figure};

    /// A run with or without trouble, for tests of what is told about sweeps.
    pub(crate) fn outcome(seed: u64, trouble: Option<(Ended, &str)>) -> Outcome {
        Outcome {
            point: Point { seed, file: "scenarios/a.toml".into(), set: Vec::new() },
            ended: trouble.map_or(Ended::Held, |(ended, _)| ended),
            trouble: trouble.map(|(ended, what)| Trouble {
                ended,
                what: what.to_owned(),
                place: String::new(),
                example: format!("seen at seed {seed}"),
            }),
            digest: format!("{seed:032x}"),
            virtual_seconds: 60.0,
            wall_seconds: 0.5,
            events: [("a leader fell".to_owned(), seed)].into(),
            coverage: vec![("crash".to_owned(), "a leader fell".to_owned(), 1)],
            faults: [("crash".to_owned(), 2), ("pause".to_owned(), 1)].into(),
            sites: [
                ("broker: before a proposal".to_owned(), if seed == 1 { Reach::Fired } else { Reach::Live }),
                ("broker: a batch goes early".to_owned(), Reach::Reached),
            ]
            .into(),
            figures: vec![Figure::new("latency", "s", Better::Less, seed as f64)],
            rechecked: seed == 1,
        }
    }

    #[test]
    fn the_rarest_finding_comes_first_with_its_smallest_seed() {
        let broken = |what| Some((Ended::Violated, what));
        let outcomes = [
            outcome(9, broken("common")),
            outcome(4, broken("common")),
            outcome(7, broken("rare")),
            outcome(1, None),
        ];
        let summary = Summary::of(&outcomes);
        let told: Vec<_> = summary
            .findings
            .iter()
            .map(|finding| (finding.trouble.what.as_str(), finding.count, finding.first.seed))
            .collect();
        assert_eq!(told, [("rare", 1, 7), ("common", 2, 4)]);
        assert_eq!(summary.exit_code(), 1);
        assert_eq!(summary.matrix["crash"]["a leader fell"], 4);
        assert!(summary.matrix["pause"].is_empty());
        let runs = |reached, live, fired| SiteRuns { reached, live, fired };
        assert_eq!(summary.sites["broker: before a proposal"], runs(4, 4, 1));
        assert_eq!(summary.sites["broker: a batch goes early"], runs(4, 0, 0));
        assert_eq!(Summary::of(&outcomes[3..]).exit_code(), 0);
    }
}
