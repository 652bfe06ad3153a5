//! `wavetank shrink` as a user meets it, and the files it writes.

#![expect(clippy::disallowed_methods, reason = "tests read the files of a user, outside any run")]

use std::fs;
use std::path::{Path, PathBuf};

use wavetank::scenario::{Draft, Scenario};

use crate::command_line::{SHORT, wavetank};
use crate::scenario_files::folder;

fn shipped(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name).display().to_string()
}

#[test]
fn a_known_bug_becomes_a_small_file_that_fails_in_the_same_way_however_many_jobs() {
    let folder = folder("shrink_bug", &[]);
    let storm = shipped("coordination-storm.toml");
    let subject = ["shrink", &storm, "--seed", "1", "--set", "bugs=[\"Z18\"]", "--set", "acts.stir=4s"];
    let text_of = |out: &str, jobs: &str| {
        let shrunk = wavetank(&folder, &[&subject[..], &["--out", out, "--jobs", jobs]].concat());
        assert_eq!(shrunk.code, 0, "{}{}", shrunk.out, shrunk.err);
        assert!(shrunk.out.contains("nothing more can be taken away"), "{}", shrunk.out);
        fs::read_to_string(folder.join(out)).expect("the finding was written")
    };
    let small = text_of("small.toml", "1");
    assert_eq!(small, text_of("parallel.toml", "3"));
    assert!(small.lines().count() < 25 && !small.contains("faults"), "{small}");
    let fails = wavetank(&folder, &["run", "small.toml"]);
    assert_eq!(fails.code, 1, "{}", fails.out);
    assert!(small.starts_with("# violated: a read shows the newest write"), "{small}");
    assert!(fails.out.contains("This was broken: a read shows the newest write"), "{}", fails.out);
    assert_eq!(wavetank(&folder, &["run", "small.toml", "--set", "bugs=[]"]).code, 0);
}

#[test]
fn what_does_not_fail_or_would_overwrite_a_file_is_refused() {
    let folder = folder("shrink_refused", &[("s.toml", SHORT), ("there.toml", "precious")]);
    let holds = wavetank(&folder, &["shrink", "s.toml", "--set", "acts.stir=1s"]);
    assert_eq!(holds.code, 2);
    assert!(holds.err.contains("s.toml under seed 1 keeps every promise"), "{}", holds.err);
    assert!(!folder.join("regressions").exists(), "nothing was written");
    let overwrites = wavetank(&folder, &["shrink", "s.toml", "--out", "there.toml"]);
    assert_eq!(overwrites.code, 2);
    assert_eq!(fs::read_to_string(folder.join("there.toml")).expect("it is there"), "precious");
}

#[test]
fn the_one_fault_of_a_shrunk_run_is_to_blame() {
    let folder = folder("blame", &[]);
    let file = shipped("regressions/k25-mixed-swarm.toml");
    let told = wavetank(&folder, &["blame", &file]);
    assert_eq!(told.code, 0, "{}{}", told.out, told.err);
    let first = "1 OF 1 FAULTS MATTERED: without 1 of them the run ends otherwise\n";
    assert!(told.out.starts_with(first), "{}", told.out);
    assert!(
        told.out.contains("crash { host = \"broker-1\", down = \"1ms\" }\n    without it: held\n"),
        "{}",
        told.out
    );
    let idle = "plan.faults=[{ at = \"1h\", do = { pause = { host = \"broker-1\", length = \"1s\" } } }]";
    let told = wavetank(&folder, &["blame", &file, "--set", idle, "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&told.out).expect("it is JSON");
    assert_eq!(
        (&document["faults"][0]["struck"], &document["faults"][0]["mattered"]),
        (&0.into(), &false.into())
    );
}

/// All scenario files that are shipped.
fn all_shipped() -> Vec<PathBuf> {
    let folders = ["", "negative", "regressions"].map(shipped);
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("it is shipped"));
    let files = entries.map(|entry| entry.expect("it was just listed").path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|ext| ext == "toml")).collect();
    files.sort();
    files
}

#[test]
fn a_draft_says_the_same_as_the_scenario_it_was_read_from() {
    let folder = folder("drafts", &[]);
    for file in all_shipped() {
        let (draft, scenario) = Draft::load(&file, &[]).expect("it is shipped");
        let copy = folder.join("copy.toml");
        fs::write(&copy, draft.text(&folder)).expect("the folder is the test's own");
        let again = Scenario::load(&copy, &[]).unwrap_or_else(|error| panic!("{}", error.render(false)));
        let said = |scenario: &Scenario| {
            let mut scenario = scenario.clone();
            for clickstream in &mut scenario.workloads.clickstream {
                clickstream.source = fs::canonicalize(&clickstream.source).expect("it is shipped");
            }
            let Scenario { acts, zones, systems, workloads, faults, plan, seed, bugs, expect, .. } = scenario;
            (acts, zones, systems, workloads, (faults, plan, seed, bugs, expect))
        };
        assert_eq!(said(&again), said(&scenario), "{}\n{}", file.display(), draft.text(&folder));
        assert_eq!((again.swarm, again.beyond_budget), (scenario.swarm, scenario.beyond_budget));
    }
}
