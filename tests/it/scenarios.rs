//! The shipped scenarios: each holds, each repeats itself, those in `negative` are violated, and nothing piles up in a tank.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use wavetank::base::Seed;
use wavetank::lab::{Options, Run, Verdict, execute};
use wavetank::scenario::Scenario;
use wavetank::systems::messages::MESSAGES;
use wavetank::world::Recording;
use wavetank::world::trace::What;

/// Long enough for each kind of fault to strike, short enough for a debug build.
const SHORT: [&str; 1] = ["acts.stir=8s"];

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the scenarios are shipped");
    let paths = entries.map(|entry| entry.expect("it was just listed").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    files.sort();
    files
}

fn load(file: &Path, overrides: &[&str]) -> Scenario {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Scenario::load(file, &overrides).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

fn run(scenario: &Scenario, seed: u64) -> Run {
    execute(scenario, Seed::new(seed), &Options::default(), &mut |_| {})
}

fn why(run: &Run) -> String {
    let broken: Vec<_> = run.checks.iter().filter(|check| !check.held()).collect();
    format!("{} seed {}: {:?} {broken:#?} {:?}", run.scenario.display(), run.seed, run.violation, run.unmet)
}

#[test]
fn every_scenario_holds_and_gives_the_same_digest_twice() {
    let files = files("scenarios");
    assert!(6 <= files.len(), "{files:?}");
    for file in files {
        let scenario = load(&file, &SHORT);
        std::thread::scope(|scope| {
            for seed in [1, 2, 3] {
                let scenario = &scenario;
                scope.spawn(move || {
                    let first = run(scenario, seed);
                    assert_eq!(first.verdict, Verdict::Held, "{}", why(&first));
                    let path = scenario.path.display();
                    assert_eq!(first.digest, run(scenario, seed).digest, "{path} seed {seed}");
                });
            }
        });
    }
}

#[test]
fn every_negative_scenario_is_violated() {
    for file in files("scenarios/negative") {
        let run = run(&load(&file, &[]), 1);
        assert_eq!(run.verdict, Verdict::Violated, "{}", why(&run));
    }
}

/// A finding that was shrunk: the bugs that are switched on in it are found, and mended code holds.
#[test]
fn every_regression_is_found_with_its_bug_and_holds_without() {
    let files = files("scenarios/regressions");
    assert!(!files.is_empty());
    for file in files {
        let broken = load(&file, &[]);
        if !broken.bugs.is_empty() {
            let run = run(&broken, broken.seed.get());
            assert_eq!(run.verdict, Verdict::Violated, "{}", why(&run));
        }
        let run = run(&load(&file, &["bugs=[]"]), broken.seed.get());
        assert_eq!(run.verdict, Verdict::Held, "{}", why(&run));
    }
}

#[test]
fn every_message_that_is_delivered_is_listed_by_name() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/mixed-swarm.toml");
    let recording = Recording { everything: true, ..Recording::default() };
    let options = Options { recording, ..Options::default() };
    let run = execute(&load(&file, &SHORT), Seed::new(1), &options, &mut |_| {});
    let delivered = run.records.iter().filter(|record| record.what == What::Delivered);
    let kinds: BTreeSet<&str> =
        delivered.filter_map(|record| Some(record.text.split_once(" from ")?.0)).collect();
    let listed: BTreeSet<&str> = MESSAGES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let unlisted: Vec<_> = kinds.difference(&listed).collect();
    assert!(20 < kinds.len(), "{kinds:?}");
    assert!(unlisted.is_empty(), "add to systems/messages.rs: {unlisted:?}");
}

/// Means of what the kernel holds, over these seconds of a run.
fn held(run: &Run, series: &str, from: u64, to: u64) -> f64 {
    let within = run
        .samples
        .iter()
        .filter(|sample| sample.name == series && (from..to).contains(&(sample.at.as_millis() / 1000)));
    let values: Vec<f64> = within.map(|sample| sample.value).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn tasks_and_events_do_not_pile_up_over_virtual_time() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/clickstream.toml");
    let scenario = load(&file, &["faults=[]", "acts.stir=60s", "workloads.clickstream.0.speed_up=10000"]);
    let run = run(&scenario, 1);
    for series in ["kernel.tasks", "kernel.pending-events"] {
        let (early, late) = (held(&run, series, 10, 30), held(&run, series, 40, 60));
        assert!(0.0 < early && late < early * 1.2, "{series} grew from {early} to {late}");
    }
}

#[test]
fn a_storm_leaves_no_tasks_behind() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/clickstream.toml");
    let scenario = load(&file, &["acts.stir=240s", "workloads.clickstream.0.speed_up=1000"]);
    let run = run(&scenario, 3);
    let (calm, after) = (held(&run, "kernel.tasks", 2, 10), held(&run, "kernel.tasks", 245, 260));
    assert!(0.0 < calm && after < calm * 1.5, "from {calm} to {after}");
}

#[test]
fn what_retention_has_removed_is_not_called_lost() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/clickstream.toml");
    let small = [
        "acts.stir=20s",
        "systems.broker.topics.0.retention_size=100KiB",
        "systems.broker.topics.0.segment=64KiB",
    ];
    let run = run(&load(&file, &small), 1);
    assert_eq!(run.verdict, Verdict::Held, "{}", why(&run));
    let removed = run.properties.iter().find(|tally| tally.name == "a broker removed old segments");
    assert!(removed.is_some_and(|tally| 0 < tally.hit), "nothing was removed");
}
