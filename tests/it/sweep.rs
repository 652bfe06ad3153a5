//! `wavetank sweep` as a user or a script meets it: findings, interruption, parts on several machines.

#![expect(clippy::disallowed_methods, reason = "tests read the files of a user's sweep, outside any run")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command_line::{Ended, SHORT, json, wavetank};
use crate::scenario_files::folder;

fn sweep(folder: &Path, more: &[&str]) -> Ended {
    let first = ["sweep", "s.toml", "--set", "acts.stir=1s", "--seeds", "1..7", "--jobs", "2"];
    wavetank(folder, &[&first, more].concat())
}

fn stage(name: &str) -> PathBuf {
    folder(name, &[("s.toml", SHORT)])
}

/// The runs that a sweep's journal says have ended, by seed.
fn ended(folder: &Path, out: &str) -> Vec<u64> {
    let text = fs::read_to_string(folder.join(out).join("runs.jsonl")).expect("a sweep wrote it");
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut seeds: Vec<u64> = lines.filter_map(|line| line["ended"]["point"]["seed"].as_u64()).collect();
    seeds.sort_unstable();
    seeds
}

#[test]
fn a_sweep_runs_every_seed_and_tells_what_was_reached() {
    let folder = stage("sweep_all");
    let swept = sweep(&folder, &["--recheck", "1", "--junit", "junit.xml"]);
    assert_eq!(swept.code, 0, "{}{}", swept.out, swept.err);
    assert!(swept.out.starts_with("HELD: all of 6 runs kept every promise\n"), "{}", swept.out);
    assert!(swept.out.contains("6 run twice"), "{}", swept.out);
    assert_eq!(ended(&folder, "sweep-out"), [1, 2, 3, 4, 5, 6]);
    let text = fs::read_to_string(folder.join("sweep-out/sweep.json")).expect("the sweep wrote it");
    let told: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!((&told["runs"], &told["ended"]["held"]), (&6.into(), &6.into()));
    assert_eq!(told["events"]["coordination established a leader"], 6);
    assert!(!told["coverage"]["zone_outage"].as_object().expect("an object").is_empty(), "{text}");
    let never = told["never"].as_array().expect("a list");
    assert!(never.iter().all(|event| event != "a controller was elected"), "no broker stands in it");
    let junit = fs::read_to_string(folder.join("junit.xml")).expect("the sweep wrote it");
    assert!(junit.contains("tests=\"6\" failures=\"0\""), "{junit}");
}

#[test]
fn runs_that_take_too_long_or_hold_too_much_are_findings() {
    let folder = stage("sweep_limits");
    for (out, arguments, told, code) in [
        ("hung", ["--time-out", "1ms"], "hung: a run ends within its time", 1),
        ("large", ["--memory", "1KiB"], "out of memory: a run stays within its memory", 1),
        ("refused", ["--set", "bugs=[\"no-such-bug\"]"], "no-such-bug", 2),
    ] {
        let swept = sweep(&folder, &[&["--out", out], arguments.as_slice()].concat());
        assert_eq!(swept.code, code, "{out}: {}{}", swept.out, swept.err);
        assert!((swept.out + &swept.err).contains(told), "{out}");
    }
}

#[test]
fn a_sweep_that_was_killed_goes_on_and_repeats_nothing_that_had_ended() {
    let folder = stage("sweep_resume");
    let whole = sweep(&folder, &["--format", "json"]);
    let journal = folder.join("sweep-out/runs.jsonl");
    // As a kill leaves it: the last line torn, and a run begun that never ended.
    let text = fs::read_to_string(&journal).expect("a sweep wrote it");
    let kept: Vec<&str> = text.lines().take(6).collect();
    let done_before = kept.iter().filter(|line| line.starts_with("{\"ended\"")).count();
    assert!(0 < done_before && done_before < 6, "{kept:#?}");
    fs::write(&journal, format!("{}\n{{\"ended\":{{\"poi", kept.join("\n"))).expect("it is ours");
    let again = sweep(&folder, &[]);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("--resume goes on"), "{}", again.err);
    let resumed = sweep(&folder, &["--resume", "--format", "json"]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
    assert_eq!(ended(&folder, "sweep-out"), [1, 2, 3, 4, 5, 6]);
    let text = fs::read_to_string(&journal).expect("a sweep wrote it");
    for line in kept.iter().filter(|line| line.starts_with("{\"ended\"")) {
        assert!(text.contains(line), "what had ended stands as it stood: {line}");
    }
    let told = |ended: &Ended| {
        let mut told = json(ended);
        told["job_seconds"] = 0.into();
        told
    };
    assert_eq!(told(&resumed), told(&whole), "as if nothing had been");
    let other = wavetank(&folder, &["sweep", "s.toml", "--seeds", "1..9", "--resume"]);
    assert_eq!(other.code, 2);
    assert!(other.err.contains("of other files, seeds or settings"), "{}", other.err);
}

#[test]
fn parts_of_a_sweep_put_together_are_the_whole() {
    let folder = stage("sweep_shards");
    let axis = ["--axis", "systems.coordination.servers=3,5"];
    let whole = sweep(&folder, &[axis.as_slice(), &["--format", "json"]].concat());
    for (shard, out) in [("1/2", "one"), ("2/2", "two")] {
        let part = sweep(&folder, &[axis.as_slice(), &["--shard", shard, "--out", out]].concat());
        assert_eq!(part.code, 0, "{}{}", part.out, part.err);
    }
    let merged = wavetank(&folder, &["merge", "one", "two", "--format", "json"]);
    let (whole, merged) = (json(&whole), json(&merged));
    for key in ["runs", "ended", "events", "coverage", "findings", "virtual_seconds"] {
        assert_eq!(whole[key], merged[key], "{key}");
    }
    assert_eq!(merged["runs"], 12);
}

#[test]
fn p_values_that_are_not_spread_evenly_refute_what_every_run_kept() {
    let folder = stage("sweep_refuted");
    let swept = sweep(&folder, &[]);
    assert_eq!((swept.code, swept.out.contains("p-values")), (0, false), "{}", swept.out);
    let journal = folder.join("sweep-out/runs.jsonl");
    let text = fs::read_to_string(&journal).expect("a sweep wrote it");
    // As if each run had made twenty A/A tests.
    let told = |p: [f64; 2], promised: bool, code: i32| {
        let line = |line: &str| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            if let Some(serde_json::Value::Array(figures)) = line.pointer_mut("/ended/figures") {
                let calibration = serde_json::json!({ "p": vec![p; 20], "promised": promised });
                figures.push(serde_json::json!({
                    "name": "A/A false positives", "unit": "%", "better": "less", "value": 5.0, "of": 20, "calibration": calibration,
                }));
            }
            line.to_string() + "\n"
        };
        fs::write(&journal, text.lines().map(line).collect::<String>()).expect("it is ours");
        let page = folder.join("page.html");
        let merge = ["merge", "sweep-out", "--html", "page.html", "--figure", "A/A", "--junit", "junit.xml"];
        let merged = wavetank(&folder, &merge);
        assert_eq!(merged.code, code, "{}{}", merged.out, merged.err);
        let read = |file| fs::read_to_string(file).expect("the sweep wrote it");
        (
            merged.out,
            read(page),
            json(&wavetank(&folder, &["merge", "sweep-out", "--format", "json"])),
            read(folder.join("junit.xml")),
        )
    };
    let (text, page, document, junit) = told([0.0, 1.0], true, 0);
    assert!(text.starts_with("HELD: all of 6 runs"), "{text}");
    assert!(text.contains("p-values 1 of 1 samples that must be spread evenly are not refuted"), "{text}");
    assert!(page.contains("their distance D from an even spread (120 tests)"), "{page}");
    assert_eq!(document["refuted"].as_array().map(Vec::len), Some(0));
    assert!(junit.contains("<testsuite name=\"p-values\" tests=\"1\" failures=\"0\">"), "{junit}");
    let (text, page, document, junit) = told([0.0, 0.5], true, 1);
    assert!(text.starts_with("1 FINDING in 6 runs (6 held)"), "{text}");
    assert!(text.contains("REFUTED   p-values of A/A false positives are spread evenly"), "{text}");
    assert!(text.contains("repeat   wavetank sweep s.toml --seeds 1..7 --set acts.stir=1s"), "{text}");
    assert!(text.contains("p-values 0 of 1 samples"), "{text}");
    assert!(page.contains("<h1>1 finding in 6 runs</h1>") && page.contains("refuted: p-values of"), "{page}");
    assert_eq!(
        (&document["refuted"][0]["figure"], &document["exit_code"]),
        (&"A/A false positives".into(), &1.into())
    );
    assert!(junit.contains("<testsuite name=\"p-values\" tests=\"1\" failures=\"1\">"), "{junit}");
    let (text, ..) = told([0.0, 0.5], false, 0);
    assert!(
        text.contains("not promised") && text.contains("p-values none of 1 samples must be spread evenly"),
        "{text}"
    );
}

#[test]
fn a_sweep_ends_early_when_it_is_told_to() {
    let folder = stage("sweep_early");
    let failing = ["--jobs", "1", "--time-out", "1ms", "--stop-after-failures", "2"];
    let first = ["sweep", "s.toml", "--seeds", "1..50"];
    let swept = wavetank(&folder, &[&first, failing.as_slice()].concat());
    assert_eq!(swept.code, 1);
    assert!(swept.out.contains("stopped: as many runs failed as were asked for"), "{}", swept.out);
    assert!(ended(&folder, "sweep-out").len() <= 3, "{}", swept.out);
    let quiet = ["--set", "acts.stir=1s", "--jobs", "1", "--until-stable", "3", "--out", "stable"];
    let swept = wavetank(&folder, &[&first, quiet.as_slice()].concat());
    assert_eq!(swept.code, 0, "{}{}", swept.out, swept.err);
    assert!(swept.out.contains("stopped: nothing new came"), "{}", swept.out);
    assert!(ended(&folder, "stable").len() < 49, "{}", swept.out);
}

#[test]
fn a_sweep_that_cannot_be_is_told_before_anything_runs() {
    let folder = stage("sweep_mistakes");
    for (arguments, told) in [
        (["--seeds", "7..3"], "A..B with A before B"),
        (["--axis", "servers"], "PATH=A,B,C"),
        (["--shard", "3/2"], "I/N with I from 1 to N"),
        (["--recheck", "2"], "a share from 0 to 1"),
        (["--axis", "systems.coordination.servers=3,four"], "four"),
        (["--memory", "2 cups"], "2 cups"),
    ] {
        let swept = wavetank(&folder, &[&["sweep", "s.toml"], arguments.as_slice()].concat());
        assert_eq!(swept.code, 2, "{arguments:?}: {}", swept.out);
        assert!(swept.err.contains(told), "{arguments:?}: {}", swept.err);
        assert!(!folder.join("sweep-out").exists(), "{arguments:?}");
    }
}

#[test]
fn one_bug_is_one_finding_at_whatever_seeds_and_two_bugs_are_two() {
    let folder = stage("sweep_bugs");
    let storm = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/rejoin-and-fail.toml");
    let bugs = "bugs=[\"K01\"],[\"K04\"]";
    let swept = ["sweep", storm, "--set", "acts.stir=15s", "--axis", bugs, "--seeds", "1..4"];
    let swept = wavetank(&folder, &swept);
    assert_eq!(swept.code, 1, "{}{}", swept.out, swept.err);
    let journal = fs::read_to_string(folder.join("sweep-out/runs.jsonl")).expect("a sweep wrote it");
    let mut found: BTreeMap<String, BTreeMap<(String, String), usize>> = BTreeMap::new();
    for line in journal.lines() {
        let told: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let (set, trouble) = (&told["ended"]["point"]["set"], &told["ended"]["trouble"]);
        if let (Some(bug), Some(what), Some(place)) =
            (set[1].as_str(), trouble["what"].as_str(), trouble["place"].as_str())
        {
            let places = found.entry(bug.to_owned()).or_default();
            *places.entry((what.to_owned(), place.to_owned())).or_default() += 1;
        }
    }
    // Either bug breaks other checks too, at some of these seeds.
    let [one, other] = ["K01", "K04"].map(|bug| &found[&format!("bugs=[\"{bug}\"]")]);
    for places in [one, other] {
        assert_eq!(places.values().collect::<Vec<_>>(), [&3], "{found:#?}");
    }
    assert_ne!(one, other);
}

#[test]
fn a_hunt_tells_how_many_runs_find_a_known_bug_and_which_do_not() {
    let folder = stage("hunt");
    let storm = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/coordination-storm.toml");
    let found = ["hunt", "Z13", storm, "--set", "acts.stir=6s", "--seeds", "1..3"];
    let hunted = wavetank(&folder, &found);
    assert_eq!(hunted.code, 0, "{}{}", hunted.out, hunted.err);
    assert!(hunted.out.contains("| Z13 | 1 run |"), "{}", hunted.out);
    let again = wavetank(&folder, &found);
    assert_eq!(again.out, hunted.out, "nothing is run twice");
    let missed = wavetank(&folder, &["hunt", "Z23", "s.toml", "--set", "acts.stir=1s", "--seeds", "1..3"]);
    assert_eq!(missed.code, 1, "{}", missed.err);
    assert!(missed.out.contains("| Z23 | not in 2 runs |"), "{}", missed.out);
    let nowhere = wavetank(&folder, &["hunt", "K01", "s.toml"]);
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.err.contains("no broker stands"), "{}", nowhere.err);
    let all = ["hunt", "all", "s.toml", "--set", "acts.stir=1s", "--seeds", "1..2", "--out", "all"];
    let all = wavetank(&folder, &all);
    assert!(all.err.contains("K01 cannot be hunted: no broker stands"), "{}", all.err);
    assert!(all.out.contains("| Z29 | ") && !all.out.contains("| K01 |"), "{}", all.out);
    let unknown = wavetank(&folder, &["hunt", "Z31", "s.toml"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("did you mean `Z"), "{}", unknown.err);
}
