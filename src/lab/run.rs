//! What one run leaves behind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::{Figure, Seed, SimTime};
use crate::checkers::Check;
use crate::checkers::replication::Course;
use crate::checkers::service::Second;
use crate::lab::Act;
use crate::world::fault::{Fate, FaultCount, FaultPlan};
use crate::world::metrics::Sample;
use crate::world::property::{Meeting, PropertyTally, Violation};
use crate::world::trace::What;
use crate::world::{Digest, Record, SiteTally};

/// How a run came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every promise was kept.
    Held,
    /// A promise was broken.
    Violated,
    /// No promise was broken, but systems or workloads did not come to rest in time.
    NotConverged,
    /// The same scenario and seed gave two different runs.
    NotDeterministic,
    /// It was cut short before its end: no promise was broken until then, and the rest is not known.
    CutShort,
}

impl Verdict {
    /// The exit code of bad input, which never becomes a run.
    pub const BAD_INPUT: u8 = 2;

    /// What stands in the place of a verdict on bad input.
    pub const BAD_INPUT_NAME: &'static str = "bad-input";

    /// The exit code of a command that ends with this verdict.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Violated => 1,
            Self::NotConverged => 3,
            Self::NotDeterministic => 4,
            Self::CutShort => 5,
        }
    }

    /// The verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Violated => "violated",
            Self::NotConverged => "did not converge",
            Self::NotDeterministic => "not deterministic",
            Self::CutShort => "cut short",
        }
    }
}

/// One run: what it was, how it came out, and why.
#[derive(Clone, Debug)]
pub struct Run {
    /// The scenario file.
    pub scenario: PathBuf,
    /// What the scenario claims.
    pub title: String,
    /// The seed.
    pub seed: Seed,
    /// The overrides, as `--set` takes them.
    pub overrides: Vec<String>,
    /// How it came out.
    pub verdict: Verdict,
    /// Its fingerprint: equal for equal runs.
    pub digest: Digest,
    /// How long it lasted in virtual time.
    pub virtual_time: SimTime,
    /// When each act that it came to began.
    pub acts: Vec<(Act, SimTime)>,
    /// How long it took.
    pub wall_time: Duration,
    /// Task polls and timed events.
    pub events: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Disk operations.
    pub disk_operations: u64,
    /// What became of the faults, by kind.
    pub faults: BTreeMap<&'static str, FaultCount>,
    /// What the seed drew in a swarm: constants and intensities, by name.
    pub drawn: Vec<(String, String)>,
    /// The faults as planned.
    pub plan: FaultPlan,
    /// What became of each of them, in the same order.
    pub fates: Vec<Fate>,
    /// What the checkers found.
    pub checks: Vec<Check>,
    /// How often each property was evaluated and hit.
    pub properties: Vec<PropertyTally>,
    /// Which events happened under which kinds of faults.
    pub meetings: Vec<Meeting>,
    /// What became of the cooperative points that were reached.
    pub sites: Vec<SiteTally>,
    /// What ended the run early, if anything did.
    pub violation: Option<Violation>,
    /// The last notable lines before the end of a run that did not hold.
    pub excerpt: Vec<String>,
    /// What did not come to rest.
    pub unmet: Vec<String>,
    /// Events the scenario expects that did not happen.
    pub not_reached: Vec<String>,
    /// What the workloads count, by workload and counter.
    pub counters: Vec<(String, u64)>,
    /// The numbers that tell how it went.
    pub figures: Vec<Figure>,
    /// What the clients of each workload experienced, second by second.
    pub service: Vec<(String, Vec<Second>)>,
    /// The in-sync set of each topic partition over time.
    pub in_sync: Vec<Course>,
    /// The readable record.
    pub records: Vec<Record>,
    /// Faults, what processes did, and the first hundred hits of each property: the life of each host, however long the run.
    pub milestones: Vec<Record>,
    /// The hash after each event, if asked for.
    pub hashes: Vec<u64>,
    /// Time series, sampled once a virtual second.
    pub samples: Vec<Sample>,
    /// Host names, by number.
    pub hosts: Vec<String>,
}

impl Run {
    /// The faults as they came, and went.
    pub fn storm(&self) -> impl Iterator<Item = &Record> {
        self.milestones.iter().filter(|record| record.what == What::Fault)
    }
}
