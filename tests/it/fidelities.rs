//! `wavetank compare --platform`: the same strategies without a platform and on one.

use std::path::Path;

use serde_json::Value;

use crate::command_line::{Ended, SHORT, json, wavetank};
use crate::scenario_files::folder;

const BOTH: &str = r#"
title = "Both ways"
[users]
per_day = 24
days = 15
base = "20%"
arms = [{ name = "old one" }, { name = "new one", rate = "40%" }]
delay = { mean = "6h" }
[[strategies]]
name = "equal shares"
stop = "fixed-horizon"
[[strategies]]
name = "Thompson"
allocate = "thompson"
batch = 12
floor = "5%"
"#;

fn scenario(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name).display().to_string()
}

/// Compares on one of the platforms of this repository, whose stir is as short as these users need.
fn compare(folder: &Path, platform: &str, more: &[&str]) -> Ended {
    let platform = scenario(platform);
    let fixed = ["compare", "s.toml", "--platform", &platform, "--set", "acts.stir=8s"];
    wavetank(folder, &[&fixed, more].concat())
}

/// A metric of a strategy: without a platform, on it, and the difference, each with its interval.
fn metric(told: &Value, strategy: usize, name: &str) -> [Option<(f64, [f64; 2])>; 3] {
    let metrics = told["strategies"][strategy]["metrics"].as_array().expect("a list");
    let found = metrics.iter().find(|metric| metric["metric"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {metrics:#?}"));
    let on = &found["platforms"][0];
    [&found["without"], &on["value"], &on["less_without"]].map(|estimate| {
        let interval = [0, 1].map(|end| estimate["interval"][end].as_f64());
        Some((estimate["value"].as_f64()?, [interval[0]?, interval[1]?]))
    })
}

#[test]
fn a_calm_platform_serves_the_same_visits_loses_nothing_and_learns_as_well_as_a_stream_without_one() {
    let folder = folder("fidelities_calm", &[("s.toml", BOTH)]);
    let told = json(&compare(&folder, "decisions-calm.toml", &["--seeds", "1..31", "--format", "json"]));
    assert_eq!(told["platforms"][0]["ended"], serde_json::json!({ "held": 30 }), "{told:#}");
    // Twelve visits are half a day of 15 that take 8 s.
    assert_eq!(told["platforms"][0]["learn_every_seconds"], 0.267);
    for strategy in [0, 1] {
        for (name, expected) in [
            ("visits that came", 100.0),
            ("visits not served", 0.0),
            ("exposures lost", 0.0),
            ("outcomes lost", 0.0),
            ("outcomes in several copies", 0.0),
            ("another choice than by what was shown, by pairs", 0.0),
        ] {
            let [without, on, _] = metric(&told, strategy, name);
            assert_eq!((without, on.map(|(value, _)| value)), (None, Some(expected)), "{name}: {told:#}");
        }
        // The difference is within 3.5 standard errors of 0, and these are small: a bandit that learnt nothing would lose 7 points more.
        let [without, _, difference] = metric(&told, strategy, "regret per visit");
        let (lost, (difference, [low, high])) = (without.expect("it ran").0, difference.expect("it ran"));
        let reach = 1.7 * 0.5 * (high - low);
        assert!(difference.abs() < reach, "{strategy}: {difference} [{low}, {high}] of {lost}");
        assert!(reach < 2.5, "{strategy}: {difference} [{low}, {high}] of {lost}");
        let learns = [9.0..11.0, 3.0..6.0];
        assert!(learns[strategy].contains(&lost), "{strategy} loses {lost}");
    }
    // Users are the same, and not their arms: of equal shares the regret differs by the hash, seed by seed.
    let [_, _, difference] = metric(&told, 0, "regret per visit");
    let (_, [low, high]) = difference.expect("it ran");
    assert!(0.05 < high - low, "every user has met the same arm: [{low}, {high}]");
}

#[test]
fn a_comparison_goes_on_where_it_was_and_not_with_other_strategies() {
    let folder = folder("fidelities_resume", &[("s.toml", BOTH)]);
    let small = ["--seeds", "1..4", "--out", "out", "--set", "users.days=5", "--set", "users.per_day=12"];
    let high = |more: &[&str]| compare(&folder, "decisions-high.toml", &[&small[..], more].concat());
    let first = high(&["--format", "json"]);
    let told = json(&first);
    let lost = metric(&told, 0, "exposures lost")[1].expect("it ran");
    assert_eq!(told["platforms"][0]["ended"]["held"], 3, "{told:#}");
    assert!(0.0 <= lost.0 && lost.0 < 100.0, "{told:#}");
    assert_eq!(high(&["--format", "json"]).code, 2, "the folder holds one already");
    let again = high(&["--format", "json", "--resume", "--jobs", "1"]);
    assert_eq!((again.code, again.out), (0, first.out));
    let other = high(&["--resume", "--set", "users.base=25%"]);
    assert!(other.code == 2 && other.err.contains("is not what would be run now"), "{}", other.err);
    // The scenario that was run is one like any other.
    let run =
        json(&wavetank(&folder, &["run", "out/decisions-high.toml", "--seed", "2", "--format", "json"]));
    let names: Vec<&str> = run["figures"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|figure| figure["name"].as_str())
        .collect();
    assert!(names.contains(&"experiment equal-shares: new-one successes, by ids"), "{names:?}");
    let text = high(&["--resume", "--html", "page.html"]).out;
    #[expect(clippy::disallowed_methods, reason = "the test reads a page of the user's")]
    let page = std::fs::read_to_string(folder.join("page.html")).expect("it was written");
    for words in
        ["Regret on a platform against none", "Thompson on decisions-high: ", "<h2>equal shares</h2>"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    for words in [
        "COMPARED: ",
        "decisions-high: users' days in 8s",
        "regret per visit, points",
        "repeat   wavetank compare",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn what_no_platform_carries_out_is_refused_with_its_place_and_nothing_is_written() {
    let folder = folder("fidelities_refused", &[("s.toml", BOTH), ("other.toml", SHORT)]);
    for (set, told) in [
        ("strategies.Thompson.allocate=ucb1", "its allocators know fixed shares and Thompson sampling"),
        ("strategies.Thompson.memory={window=5}", "allocators remember all rewards alike"),
        ("strategies.Thompson.batch=0", "it would never learn"),
        ("strategies.Thompson.stop={value-remaining={}}", "nobody looks before the end"),
        ("strategies.0.stop=peeking", "nobody looks before the end"),
        ("strategies.0.allocate={shares=['100%','0%']}", "an arm without any share"),
        ("strategies.0.allocate=thompson", "another strategy learns every 1 visits"),
        ("users.per_day=2000", "12 visits come within 3"),
        ("users.returning={share='10%',visits=2,gap='1m'}", "who comes again keeps its arm on a platform"),
        ("workloads.experiment.apps=0", "0 is not from 1 to 100"),
    ] {
        let ended = compare(&folder, "decisions-calm.toml", &["--set", set]);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{set}");
        assert!(ended.err.contains(told), "{set}: {}", ended.err);
        assert!(!folder.join("compare-out").exists(), "{set}: something was written");
    }
    let many = ["--set", "users.per_day=300000", "--set", "strategies.Thompson.batch=999999"];
    let ended = compare(&folder, "decisions-calm.toml", &many);
    assert!(
        ended.code == 2 && ended.err.contains("more than the 1000000 that a run can hold"),
        "{}",
        ended.err
    );
    let ucb = BOTH.replace("allocate = \"thompson\"", "allocate = \"ucb1\"");
    let written = crate::scenario_files::folder("fidelities_ucb", &[("s.toml", &ucb)]);
    let ended = compare(&written, "decisions-calm.toml", &["--format", "json"]);
    assert!(ended.code == 2 && ended.err.contains("s.toml:14:12"), "{}", ended.err);
    for (arguments, told) in [
        (&["--platform", "other.toml"][..], "no allocators stand there"),
        (&["--platform", "none.toml"], "there is no such file"),
        (&["--platform", "other.toml", "--streams", "5"], "--streams does not go with --platform"),
        (&["--platform", "other.toml", "--by", "acts.stir=1s,2s"], "--by does not go with --platform"),
    ] {
        let ended = wavetank(&folder, &[&["compare", "s.toml"], arguments].concat());
        assert!(ended.code == 2 && ended.err.contains(told), "{arguments:?}: {}", ended.err);
    }
    let calm = scenario("decisions-calm.toml");
    let ended = compare(&folder, "decisions-calm.toml", &["--seeds", "1..2"]);
    assert!(ended.code == 2 && ended.err.contains("two seeds at least"), "{}", ended.err);
    let ended = wavetank(&folder, &["compare", &calm, "--platform", &calm, "--by", "acts.stir=1s,2s"]);
    assert!(ended.code == 2 && ended.err.contains("--platform is for a file of strategies"), "{}", ended.err);
    assert!(!folder.join("compare-out").exists(), "something was written");
}
