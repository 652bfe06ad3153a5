//! `wavetank compare` as a user or a script meets it.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read the files of a user's comparison, outside any run"
)]

use std::fs;
use std::path::Path;

use crate::command_line::{Ended, SHORT, json, wavetank};
use crate::scenario_files::folder;

fn compare(folder: &Path, by: &str, more: &[&str]) -> Ended {
    let first = ["compare", "s.toml", "--set", "acts.settle=9s", "--jobs", "2", "--by", by];
    wavetank(folder, &[&first, more].concat())
}

/// A metric of the first contrast.
fn metric<'told>(told: &'told serde_json::Value, name: &str) -> &'told serde_json::Value {
    let metrics = told["contrasts"][0]["metrics"].as_array().expect("a list");
    metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name} in {told:#}"))
}

#[test]
fn the_same_value_twice_differs_in_nothing() {
    let folder = folder("compare_same", &[("s.toml", SHORT)]);
    let compared = compare(&folder, "acts.stir=1s,1s", &["--seeds", "1..5", "--format", "json"]);
    assert_eq!(compared.code, 0, "{}", compared.err);
    let told = json(&compared);
    for metric in told["contrasts"][0]["metrics"].as_array().expect("a list") {
        if metric["finding"] == "untold" {
            continue;
        }
        assert_eq!((&metric["finding"], &metric["difference"]), (&"equal".into(), &0.0.into()), "{metric:#}");
        // Of runs that held, equal shares prove no equal chances.
        if metric["name"] != "held" {
            assert_eq!(metric["interval"], serde_json::json!([0.0, 0.0]), "{metric:#}");
        }
        assert_eq!(metric["pairs"].as_array().map(Vec::len), Some(4), "{metric:#}");
    }
    let journal = fs::read_to_string(folder.join("compare-out/runs.jsonl")).expect("it was written");
    let runs = journal.lines().filter(|line| line.starts_with("{\"ended\"")).count();
    assert_eq!(runs, 8, "each was run, and not one taken for two");
}

#[test]
fn a_longer_storm_costs_more_messages_and_that_is_found_again() {
    let folder = folder("compare_stir", &[("s.toml", SHORT)]);
    let more = ["--seeds", "1..11", "--metric", "messages", "--metric", "established a leader"];
    let compared = compare(&folder, "acts.stir=1s,4s", &more);
    assert_eq!(compared.code, 0, "{}", compared.err);
    assert!(
        compared
            .out
            .starts_with("COMPARED: acts.stir=4s against 1s: 1 of 2 metrics differs; otherwise: messages\n"),
        "{}",
        compared.out
    );
    let repeat = "repeat   wavetank compare s.toml --by acts.stir=1s,4s --seeds 1..11 --set acts.settle=9s --metric messages";
    assert!(compared.out.contains(repeat), "{}", compared.out);
    let written = fs::read_to_string(folder.join("compare-out/compare.json")).expect("it was written");
    let again =
        compare(&folder, "acts.stir=1s,4s", &[more.as_slice(), &["--resume", "--format", "json"]].concat());
    assert_eq!(again.out, written, "the same runs, the same numbers");
    let told = json(&again);
    let messages = metric(&told, "messages");
    assert!(0.0 < messages["interval"][0].as_f64().expect("a number"), "{messages:#}");
    assert_eq!(told["questions"], 2);
    let base = compare(
        &folder,
        "acts.stir=1s,4s",
        &["--seeds", "1..11", "--resume", "--baseline", "4s", "--format", "json"],
    );
    let other_way = json(&base);
    let [one, other] = [&told, &other_way].map(|told| metric(told, "messages")["difference"].as_f64());
    assert_eq!(one, other.map(|difference| -difference));
}

#[test]
fn runs_that_do_not_end_are_told_with_their_seeds() {
    // Nobody looks at a run so seldom that one of so much work would end before it is killed.
    let long = SHORT.to_owned() + "[[workloads.registers]]\nclients = 50\nrate = \"1000/s\"\n";
    let folder = folder("compare_hung", &[("s.toml", &long)]);
    let compared = compare(&folder, "acts.stir=1s,2s", &["--seeds", "1..3", "--time-out", "1ms"]);
    assert_eq!(compared.code, 0, "{}", compared.err);
    assert!(compared.out.contains("acts.stir=1s  2 hung, held 0%"), "{}", compared.out);
    let folder = crate::scenario_files::folder("compare_budget", &[("s.toml", SHORT)]);
    let ended = compare(&folder, "acts.stir=1s,2s", &["--seeds", "1..900", "--budget", "1s"]);
    assert!(ended.out.contains("stopped: the time was up"), "{}", ended.out);
    assert!(ended.out.contains(" not run, held"), "{}", ended.out);
}

#[test]
fn a_comparison_that_cannot_be_is_told_before_anything_runs() {
    let folder = folder("compare_mistakes", &[("s.toml", SHORT)]);
    for (by, more, told) in [
        ("acts.stir=1s", &[][..], "has one value"),
        ("acts.stir", &[], "PATH=A,B,C"),
        ("acts.stir=1s,2s", &["--baseline", "3s"], "`3s` is no value of acts.stir; there are 1s, 2s"),
        ("acts.stri=1s,2s", &[], "stir"),
        ("acts.stir=1s,long", &[], "long"),
        ("acts.stir=1s,2s", &["--seeds", "3..3"], "A..B with A before B"),
        (
            "acts.stir=1s,2s",
            &["--metric", "mesages"],
            "no metric is called `mesages`; did you mean `messages`?",
        ),
        ("acts.stir=1s,2s", &["--metric", "elephants"], "known here: `held`, "),
        ("acts.stir=1s,2s", &["--metric", "a controller was elected"], "no metric is called"),
    ] {
        let compared = compare(&folder, by, more);
        assert_eq!(compared.code, 2, "{by}: {}", compared.out);
        assert!(compared.err.contains(told), "{by}: {}", compared.err);
        assert!(!folder.join("compare-out").exists(), "{by}");
    }
    // This may happen here, and does not.
    let rare = ["--seeds", "1..2", "--metric", "a disk wrote to the wrong place"];
    let compared = compare(&folder, "acts.stir=1s,2s", &rare);
    assert_eq!(compared.code, 2, "{}", compared.out);
    assert!(compared.err.contains("no run has it: no metric is called"), "{}", compared.err);
    assert!(compared.err.contains("--resume compares the same runs again"), "{}", compared.err);
}
