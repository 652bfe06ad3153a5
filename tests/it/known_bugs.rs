//! Known bugs, each switched on at a seed that finds it: the tank's own test.
//!
//! How many seeds a search needs is recorded in `reports/known-bugs.md`; here each is found again by a run as short as it may be.

use std::collections::BTreeSet;
use std::path::Path;

use wavetank::base::Seed;
use wavetank::lab::{Options, Run, Verdict, execute};
use wavetank::scenario::Scenario;
use wavetank::systems::bugs::BUGS;

/// A bug, the scenario that finds it, what is set there, and at which seed.
struct Known {
    key: &'static str,
    scenario: &'static str,
    set: &'static [&'static str],
    seed: u64,
}

const fn known(key: &'static str, scenario: &'static str, set: &'static [&'static str], seed: u64) -> Known {
    Known { key, scenario, set, seed }
}

const KNOWN: &[Known] = &[
    known("Z01", "power-after-election", &["acts.stir=12s"], 1),
    known("Z02", "power-after-election", &["acts.stir=12s"], 1),
    known("Z03", "power-after-election", &["acts.stir=12s"], 11),
    known("Z04", "power-after-election", &["acts.stir=15s"], 22),
    known("Z05", "coordination-storm", &["acts.stir=8s"], 1),
    known("Z06", "coordination-storm", &["acts.stir=20s"], 5),
    known("Z10", "power-after-election", &["acts.stir=15s"], 17),
    known("Z11", "truncation-fails", &["acts.stir=15s"], 11),
    known("Z12", "coordination-storm", &["acts.stir=10s"], 2),
    known("Z13", "coordination-storm", &["acts.stir=6s"], 1),
    known("Z16", "restart-from-snapshot", &["acts.stir=12s"], 1),
    known("Z17", "restart-from-snapshot", &[], 2),
    known("Z18", "coordination-storm", &["acts.stir=4s"], 1),
    known(
        "Z23",
        "coordination-storm",
        &["acts.stir=6s", "systems.coordination.transactions_per_epoch=300"],
        1,
    ),
    known("Z24", "coordination-rot", &[], 12),
    known("K01", "rejoin-and-fail", &["acts.stir=15s"], 2),
    known("K02", "rejoin-and-fail", &["acts.stir=15s"], 2),
    known("K04", "rejoin-and-fail", &["acts.stir=15s"], 4),
    known("K10", "rejoin-and-fail", &["acts.stir=15s"], 11),
    known("K13", "rejoin-and-fail", &["acts.stir=15s"], 1),
    known("T14", "rejoin-and-fail", &["acts.stir=15s"], 1),
    known("K03", "leaders-fail-in-turn", &["acts.stir=6s"], 5),
    known("K26", "unheard-answer", &["acts.stir=15s"], 1),
    known("K27", "late-proposal", &["acts.stir=22s"], 3),
    known("K19", "deposed-controller", &["acts.stir=15s"], 1),
    known("K25", "mixed-swarm", &[], 2),
    known("X03", "misread-boot-id", &[], 4),
    known("X02", "bit-rot", &["acts.stir=12s"], 19),
    known("Z25", "sessions-move", &[], 6),
    known("Z26", "coordination-storm", &["acts.stir=8s"], 1),
    known("Z27", "coordination-swarm", &[], 16),
    known("Z28", "restart-from-snapshot", &[], 11),
    known("Z29", "coordination-swarm", &[], 102),
    known("K28", "rejoin-and-fail", &["acts.stir=15s"], 3),
    known("K29", "rejoin-and-fail", &["acts.stir=15s"], 1),
    known("T15", "rejoin-and-fail", &["acts.stir=15s"], 6),
    known("E01", "experiment", &[], 1),
    known("E02", "learner-deposed", &[], 1),
    known("E03", "experiment", &[], 1),
    known("E04", "experiment", &[], 2),
    known("E05", "experiment", &[], 17),
    known("E06", "experiment", &[], 1),
    known("E07", "experiment", &[], 1),
    known("E08", "experiment", &[], 1),
    known("E09", "experiment", &[], 1),
];

/// Bugs that searches have found, but no run that is short enough for a test; or none yet. `reports/known-bugs.md` tells.
const WITHOUT_A_SHORT_RUN: &[&str] = &[];

impl Known {
    fn run(&self, with_bug: bool) -> Run {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{}.toml", self.scenario));
        let bugs = if with_bug { format!("bugs=[\"{}\"]", self.key) } else { "bugs=[]".to_owned() };
        let set = self.set.iter().map(|set| (*set).to_owned());
        let overrides: Vec<String> = set.chain([bugs]).collect();
        let scenario = Scenario::load(&path, &overrides).expect("the scenarios can be run");
        execute(&scenario, Seed::new(self.seed), &Options::default(), &mut |_| {})
    }
}

#[test]
fn each_known_bug_is_found_at_its_seed_and_without_it_the_run_holds() {
    for known in KNOWN {
        let Known { key, scenario, seed, .. } = known;
        assert_eq!(known.run(true).verdict, Verdict::Violated, "{key} in {scenario} at seed {seed}");
        let healthy = known.run(false);
        assert_eq!(healthy.verdict, Verdict::Held, "{scenario} at seed {seed}: {:?}", healthy.violation);
    }
}

#[test]
fn every_known_bug_is_accounted_for() {
    let found: BTreeSet<&str> = KNOWN.iter().map(|known| known.key).collect();
    let missing: Vec<&str> = BUGS.iter().map(|(key, ..)| *key).filter(|key| !found.contains(key)).collect();
    assert_eq!(missing, WITHOUT_A_SHORT_RUN);
}
