//! The `wavetank` command as a user or a script meets it: exit codes, what is printed where, which files are written.

use std::fs;
use std::path::Path;
use std::process::Command;

use wavetank::scenario::{Scenario, load_plan};

use crate::scenario_files::{GOOD, folder};

/// A run that ends soon.
pub(crate) const SHORT: &str = r#"
title = "An ensemble stands"
swarm = true
acts = { stir = "3s", settle = "20s" }
[systems.coordination]
[[faults]]
every = "500ms..1s"
do = { zone_outage = { zone = "any", down = "1s" } }
"#;

/// What a command left behind.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `wavetank` in a folder.
pub(crate) fn wavetank(folder: &Path, arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_wavetank"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary was built with this test");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command speaks UTF-8");
    Ended {
        code: output.status.code().expect("nobody kills it"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

pub(crate) fn json(ended: &Ended) -> serde_json::Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.out))
}

#[test]
fn a_run_tells_its_verdict_and_the_command_that_repeats_it() {
    let folder = folder("cli_run", &[("s.toml", SHORT)]);
    let ended = wavetank(&folder, &["run", "s.toml", "--seed", "7", "--set", "acts.stir=2s"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.out.starts_with("HELD: An ensemble stands\ns.toml, seed 7, acts.stir=2s\n"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("replay   wavetank replay s.toml --seed 7 --set acts.stir=2s\n"),
        "{}",
        ended.out
    );
    assert_eq!(ended.err, "", "progress is for terminals only");
}

#[test]
fn json_is_complete_and_differs_between_two_runs_in_wall_time_alone() {
    let folder = folder("cli_json", &[("s.toml", SHORT)]);
    let run = || {
        let mut document = json(&wavetank(&folder, &["run", "s.toml", "--seed", "3", "--format", "json"]));
        assert!(document["wall_seconds"].is_f64());
        document["wall_seconds"] = 0.into();
        document
    };
    let first = run();
    assert_eq!(first, run());
    assert_eq!(
        (&first["verdict"], &first["exit_code"], &first["seed"]),
        (&"held".into(), &0.into(), &3.into())
    );
    assert_eq!(first["digest"].as_str().map(str::len), Some(32));
    assert!(first["drawn"]["systems.coordination.snapshot_every"].is_string(), "{first}");
    assert_eq!(first["replay"], "wavetank replay s.toml --seed 3");
}

#[test]
fn an_expected_event_that_one_seed_misses_is_told_and_no_violation() {
    let folder = folder("cli_expect", &[("s.toml", SHORT)]);
    let set = "expect.reaches=[\"a follower truncated its log\", \"coordination established a leader\"]";
    let ended = wavetank(&folder, &["run", "s.toml", "--set", set]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let told = "This run never came to an event that the scenario expects: a follower truncated its log\n";
    assert!(ended.out.contains(told), "{}", ended.out);
    let document = json(&wavetank(&folder, &["run", "s.toml", "--format", "json", "--set", set]));
    assert_eq!(document["not_reached"], serde_json::json!(["a follower truncated its log"]));
    assert_eq!((&document["verdict"], &document["exit_code"]), (&"held".into(), &0.into()));
}

#[test]
fn two_runs_under_one_seed_are_found_to_be_the_same() {
    let folder = folder("cli_twice", &[("s.toml", SHORT)]);
    let ended = wavetank(&folder, &["run", "s.toml", "--check-determinism"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("two runs gave the same events and the same digest"), "{}", ended.out);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads the files that a run left")]
fn a_traced_run_leaves_its_files_and_its_plan_can_be_given_back() {
    let folder = folder("cli_trace", &[("s.toml", SHORT)]);
    let ended = wavetank(
        &folder,
        &["run", "s.toml", "--set", "swarm=false", "--trace", "out/one", "--format", "json"],
    );
    assert_eq!(ended.code, 0, "{}", ended.err);
    let mut files: Vec<String> = fs::read_dir(folder.join("out/one"))
        .expect("the run made it")
        .map(|entry| entry.expect("it was just listed").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let written = [
        "plan.toml",
        "run.json",
        "series.arrow",
        "series.parquet",
        "trace.arrow",
        "trace.parquet",
        "trace.perfetto.json.gz",
    ];
    assert_eq!(files, written);
    let saved = fs::read_to_string(folder.join("out/one/run.json")).expect("the run wrote it");
    assert_eq!(saved, ended.out);
    let scenario = Scenario::load(&folder.join("s.toml"), &[]).expect("it was just run");
    let (plan, warnings) =
        load_plan(&folder.join("out/one/plan.toml"), &scenario).expect("a saved plan reads back");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(serde_json::to_value(&plan).expect("a plan is JSON"), json(&ended)["plan"]);

    fs::write(
        folder.join("plan.toml"),
        "[[faults]]\nat = \"1s\"\ndo = { crash = { host = \"coordination-1\", down = \"1s\" } }\n",
    )
    .expect("the folder is ours");
    let again = wavetank(&folder, &["run", "s.toml", "--plan", "plan.toml", "--format", "json"]);
    let document = json(&again);
    assert_eq!(document["plan"]["faults"][0]["at"], "1s");
    assert_eq!(document["replay"], "wavetank replay s.toml --seed 1 --plan plan.toml");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads the files that a command left")]
fn a_page_of_a_run_or_a_sweep_stands_alone() {
    let folder = folder("cli_html", &[("s.toml", SHORT)]);
    let run = ["run", "s.toml", "--seed", "7", "--set", "title=\"<script>a & b\""];
    let sweep = ["sweep", "s.toml", "--seeds", "1..3", "--set", "acts.stir=1s"];
    for (arguments, file, told) in [
        (
            run.as_slice(),
            "pages/run.html",
            ["HELD", "&lt;script&gt;a &amp; b", "wavetank replay s.toml --seed 7", "coordination-3 up from"],
        ),
        (
            sweep.as_slice(),
            "sweep.html",
            [
                "HELD",
                "Every promise was kept in 2 runs",
                "<th>zone_outage</th>",
                "coordination established a leader",
            ],
        ),
    ] {
        let ended = wavetank(&folder, &[arguments, &["--html", file]].concat());
        assert_eq!(ended.code, 0, "{}", ended.err);
        let page = fs::read_to_string(folder.join(file)).expect("the command wrote it");
        for told in told {
            assert!(page.contains(told), "{file} does not hold {told}: {page}");
        }
        for foreign in ["http", "<script", "url(", "src="] {
            assert!(!page.contains(foreign), "{file} holds {foreign}: {page}");
        }
        assert!(page.len() < 150_000, "{file} has {} bytes", page.len());
    }
    let merged = wavetank(&folder, &["merge", "sweep-out", "--html", "merged.html"]);
    assert_eq!(merged.code, 0, "{}", merged.err);
    let read = |file| fs::read_to_string(folder.join(file)).expect("the command wrote it");
    assert_eq!(read("merged.html"), read("sweep.html"));
}

#[test]
fn bad_input_exits_2_with_the_place_and_writes_nothing() {
    let stranger = "[[faults]]\nat = \"1s\"\ndo = { crash = { host = \"broker-9\", down = \"1s\" } }\n";
    let files = [("s.toml", GOOD), ("plan.toml", "[[faults]]\nat = \"soon\"\n"), ("stranger.toml", stranger)];
    let folder = folder("cli_bad", &files);
    for (arguments, told) in [
        (vec!["run", "s.toml", "--set", "systems.broker.brokrs=5"], "did you mean `brokers`?"),
        (
            vec!["run", "s.toml", "--set", "systems.broker.brokers=2"],
            "3 replicas need 3 brokers, there are 2",
        ),
        (vec!["replay", "t.toml"], "there is no such file"),
        (vec!["run", "s.toml", "--plan", "plan.toml"], "plan.toml:2:6"),
        (vec!["run", "s.toml", "--seed", "x"], "invalid value 'x'"),
        (vec!["run", "s.toml", "--seed", "-1"], "a seed is a whole number from 0 to 18446744073709551615"),
        (vec!["run", "s.toml", "--sed", "1"], "--seed"),
        (vec!["replay", "s.toml", "--log", "broker"], "is not SYSTEM=LEVEL"),
        (
            vec!["replay", "s.toml", "--log", "brokr=debug"],
            "no system called `brokr`; did you mean `broker`?",
        ),
        (vec!["run", "s.toml", "--plan", "stranger.toml"], "no host of this scenario is called `broker-9`"),
        (vec!["replay", "s.toml", "--until", "12"], "is not a span of time"),
        (vec!["list", "nowhere"], "cannot list nowhere"),
        (vec![], "Usage: wavetank <COMMAND>"),
    ] {
        let mut arguments = arguments;
        if arguments.first() == Some(&"run") {
            arguments.extend(["--trace", "out"]);
        }
        let ended = wavetank(&folder, &arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.out);
        assert!(ended.err.contains(told), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
        assert!(!folder.join("out").exists(), "{arguments:?}");
    }
    let blocked = wavetank(&folder, &["run", "s.toml", "--trace", "s.toml/out"]);
    assert_eq!(blocked.code, 2);
    assert!(blocked.err.contains("cannot create s.toml/out"), "{}", blocked.err);
}

#[test]
fn a_replay_has_the_digest_of_its_run() {
    let folder = folder("cli_replay", &[("s.toml", SHORT)]);
    let run = json(&wavetank(&folder, &["run", "s.toml", "--seed", "5", "--format", "json"]));
    let replay = wavetank(&folder, &["replay", "s.toml", "--seed", "5", "--log", "*=debug"]);
    assert_eq!(replay.code, 0, "{}", replay.err);
    let digest = run["digest"].as_str().expect("a digest is text");
    assert!(replay.out.contains(digest), "{digest}: {}", replay.out);
    let around = wavetank(&folder, &["replay", "s.toml", "--around", "pigs fly"]);
    assert!(around.err.contains("nothing in this run says \"pigs fly\""), "{}", around.err);
}

#[test]
fn the_list_tells_what_each_scenario_risks() {
    let folder = folder("cli_list", &[]);
    let of = |files: &[(&str, &str)]| crate::scenario_files::folder("cli_list/scenarios", files);
    of(&[
        ("a.toml", SHORT),
        ("broken.toml", "title = 5"),
        ("part.toml", "acts.stir = \"1s\""),
        ("z.toml", GOOD),
    ]);
    let ended = wavetank(&folder, &["list"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    insta::assert_snapshot!(ended.out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"), @r#"
    scenarios/a.toml
        An ensemble stands
        stands  3 coordination in zones a b c; driven by nobody
        risks   zone_outage; drawn anew for each seed; 3s of it

    scenarios/broken.toml: 1 mistake; nothing was run
        `wavetank run scenarios/broken.toml` tells more

    scenarios/z.toml
        Clicks survive
        stands  3 coordination + 3 broker in zones a b c; driven by clickstream
        risks   crash, partition; 1m of it
    "#);
}

#[test]
fn schema_bugs_and_sites_print_what_there_is() {
    let folder = folder("cli_catalogue", &[("s.toml", SHORT)]);
    let schema = json(&wavetank(&folder, &["schema"]));
    assert_eq!(schema["required"], serde_json::json!(["title"]));
    let documented = json(&wavetank(&folder, &["schema", "run"]));
    let told = json(&wavetank(&folder, &["run", "s.toml", "--format", "json"]));
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    assert_eq!(keys(&told), keys(&documented["properties"]));
    assert!(
        documented["properties"]
            .as_object()
            .expect("an object")
            .values()
            .all(|key| key["description"].is_string())
    );
    let bugs = wavetank(&folder, &["bugs"]);
    for (key, ..) in wavetank::systems::bugs::BUGS {
        assert!(bugs.out.contains(&format!("{key}  ")), "{key}: {}", bugs.out);
    }
    let sites = wavetank(&folder, &["sites"]);
    for site in wavetank::systems::sites::ALL {
        assert!(sites.out.contains(&format!(" {}", site.name)), "{site}: {}", sites.out);
    }
}

#[test]
fn help_teaches_by_example() {
    let folder = folder("cli_help", &[]);
    for (arguments, told) in [
        (vec!["--help"], "Exit codes: 0 held"),
        (vec!["run", "--help"], "--set systems.broker.brokers=5"),
        (vec!["run", "--help"], "`expect.reaches` that a run misses is told"),
        (vec!["replay", "--help"], "--around \"a follower left the in-sync set\""),
    ] {
        let ended = wavetank(&folder, &arguments);
        assert_eq!(ended.code, 0);
        assert!(ended.out.contains(told), "{}", ended.out);
    }
}

#[test]
fn what_will_have_no_effect_is_warned_of_and_the_run_goes_on() {
    let late = "[[faults]]\nat = \"1m\"\ndo = { crash = { host = \"coordination-1\", down = \"1s\" } }\n";
    let folder = folder("cli_warned", &[("s.toml", SHORT), ("late.toml", late)]);
    let ended = wavetank(
        &folder,
        &["run", "s.toml", "--set", "swarm=false", "--set", "faults.0.every=5s", "--plan", "late.toml"],
    );
    assert_eq!(ended.code, 0, "{}", ended.err);
    insta::assert_snapshot!(ended.err.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"), @r#"
     ⚠ `faults.0.every` lies beyond the stir
      ╭─[--set:1:16]
    1 │ faults.0.every=5s
      ·                ─┬
      ·                 ╰── this never strikes: the stir ends after 3s
      ╰────
     help: strike earlier, or make acts.stir longer than 5s

     ⚠ `faults.0.at` lies beyond the stir
      ╭─[late.toml:2:6]
    1 │ [[faults]]
    2 │ at = "1m"
      ·      ──┬─
      ·        ╰── this never strikes: the stir ends after 3s
    3 │ do = { crash = { host = "coordination-1", down = "1s" } }
      ╰────
     help: strike earlier, or make acts.stir longer than 1m
    "#);
}

#[test]
fn bad_input_is_json_for_those_who_asked_for_json() {
    let folder = folder("cli_bad_json", &[("s.toml", GOOD)]);
    let run = |arguments: &[&str]| {
        let ended = wavetank(&folder, &[&["run", "s.toml", "--format", "json"], arguments].concat());
        assert_eq!(ended.code, 2, "{}", ended.out);
        assert!(!ended.err.is_empty(), "people are told, too");
        ended.out
    };
    insta::assert_snapshot!(run(&["--set", "systems.broker.brokers=2"]), @r#"
    {
      "format": 1,
      "scenario": "s.toml",
      "verdict": "bad-input",
      "exit_code": 2,
      "mistakes": [
        {
          "message": "cannot use `systems.broker.topics.0.replicas`",
          "file": "s.toml",
          "line": 11,
          "column": 57,
          "cause": "3 replicas need 3 brokers, there are 2",
          "help": "use at most 2 replicas, or more brokers"
        }
      ]
    }
    "#);
    let blocked: serde_json::Value =
        serde_json::from_str(&run(&["--trace", "s.toml/out"])).expect("it is JSON");
    assert_eq!(blocked["verdict"], "bad-input");
    assert!(blocked["mistakes"][0]["message"].to_string().contains("cannot create s.toml/out"), "{blocked}");
    assert!(blocked["mistakes"][0]["file"].is_null(), "{blocked}");
}
