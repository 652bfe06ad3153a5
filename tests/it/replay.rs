//! Understanding a run: what `--trace` writes, and what `replay` tells.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use flate2::read::GzDecoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::command_line::{SHORT, json, wavetank};
use crate::scenario_files::folder;

#[expect(clippy::disallowed_methods, reason = "the test reads a file that a run left")]
fn parquet(file: &Path) -> Vec<RecordBatch> {
    let file = File::open(file).expect("the run wrote it");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    reader.expect("it is a Parquet file").map(|batch| batch.expect("it reads back")).collect()
}

fn columns(table: &RecordBatch) -> Vec<String> {
    table.schema().fields().iter().map(|field| field.name().clone()).collect()
}

/// Fails unless a reader of the format can load it: every arrow has both ends, time never goes back on a track, slices nest.
fn check_perfetto(document: &Value) -> usize {
    let number =
        |event: &Value, key: &str| event[key].as_f64().unwrap_or_else(|| panic!("no {key}: {event}"));
    let mut arrows: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    let mut tracks: BTreeMap<(u64, u64), (f64, Vec<f64>)> = BTreeMap::new();
    let mut named: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    for event in document["traceEvents"].as_array().expect("a list") {
        let track = (event["pid"].as_u64().expect("a number"), event["tid"].as_u64().expect("a number"));
        let phase = event["ph"].as_str().expect("a phase");
        let at = number(event, "ts");
        match phase {
            "M" => {
                let is_name = event["name"].as_str().is_some_and(|name| name.ends_with("_name"));
                *named.entry(track).or_default() += u32::from(is_name);
                continue;
            }
            "s" => arrows.entry(event["id"].as_u64().expect("a number")).or_default().0 += 1,
            "f" => {
                let arrow = arrows.entry(event["id"].as_u64().expect("a number")).or_default();
                arrow.1 += 1;
            }
            "X" | "i" | "C" => {}
            other => panic!("{other} is not written"),
        }
        assert!(event["name"].is_string(), "{event}");
        let (last, open) = tracks.entry(track).or_default();
        assert!(*last <= at, "time goes back: {event}");
        *last = at;
        if phase == "X" {
            open.retain(|end| at < *end - 1e-4);
            let end = at + number(event, "dur");
            assert!(
                open.iter().all(|outer| end <= *outer + 1e-4),
                "a slice leaves the one around it: {event}"
            );
            open.push(end);
        }
    }
    assert!(arrows.values().all(|ends| *ends == (1, 1)), "{arrows:?}");
    let unnamed: Vec<_> =
        tracks.keys().filter(|track| track.1 != 0 && named.get(track) != Some(&1)).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
    arrows.len()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads the files that a run left")]
fn the_whole_trace_is_written_for_query_engines_and_for_perfetto() {
    let hostile = "title=\"a \\\"quoted\\\" <title>\"";
    let folder = folder("replay_trace", &[("s.toml", SHORT)]);
    let run = json(&wavetank(
        &folder,
        &["run", "s.toml", "--seed", "3", "--set", hostile, "--trace", "run", "--format", "json"],
    ));
    let replay =
        wavetank(&folder, &["replay", "s.toml", "--seed", "3", "--set", hostile, "--trace", "again"]);
    assert_eq!(replay.code, 0, "{}", replay.err);
    assert!(replay.out.ends_with("files    again\n"), "{}", replay.out);
    for file in ["trace.parquet", "trace.arrow", "series.parquet", "trace.perfetto.json.gz", "plan.toml"] {
        let [one, other] = ["run", "again"].map(|written| fs::read(folder.join(written).join(file)));
        assert_eq!(one.expect("the run wrote it"), other.expect("the replay wrote it"), "{file}");
    }

    let messages = run["messages"].as_u64().expect("a number") as usize;
    let trace = parquet(&folder.join("again/trace.parquet"));
    let documented = |of: &str| json(&wavetank(&folder, &["schema", of]));
    for (table, of) in [(&trace, "trace"), (&parquet(&folder.join("again/series.parquet")), "series")] {
        let documented = documented(of);
        let documented = documented["properties"].as_object().expect("an object");
        assert_eq!(columns(&table[0]), documented.keys().cloned().collect::<Vec<_>>(), "{of}");
        assert!(documented.values().all(|column| column["description"].is_string()), "{documented:?}");
    }
    let mut delivered = 0;
    for batch in &trace {
        let column = |name| batch.column_by_name(name).expect("it is documented");
        let what = column("what").as_string::<i32>();
        let at = column("virtual_ns").as_primitive::<UInt64Type>();
        let sent = column("sent_ns").as_primitive::<UInt64Type>();
        for row in 0..batch.num_rows() {
            assert_eq!(what.value(row) == "delivered", sent.is_valid(row));
            if sent.is_valid(row) {
                delivered += 1;
                assert!(sent.value(row) < at.value(row), "a message takes time");
            }
        }
    }
    assert_eq!(delivered, messages);

    let packed = fs::File::open(folder.join("again/trace.perfetto.json.gz")).expect("the replay wrote it");
    let text = io::read_to_string(GzDecoder::new(packed)).expect("it is packed as its name says");
    let document = json_of(&text);
    assert_eq!(check_perfetto(&document), messages);
    assert_eq!(document["otherData"]["title"], "a \"quoted\" <title>");
    let events = document["traceEvents"].as_array().expect("a list");
    for (phase, name) in [
        ("M", "process_name"),
        ("X", "stir"),
        ("X", "settle"),
        ("X", "down"),
        ("X", "LeaderPing"),
        ("i", "coordination established a leader"),
        ("i", "all is healed"),
        ("C", "kernel.messages"),
    ] {
        let is_it = |event: &&Value| event["ph"] == phase && event["name"] == name;
        assert!(events.iter().any(|event| is_it(&event)), "no {phase} {name}");
    }
}

#[test]
fn a_run_is_told_apart_from_another_by_what_happened_and_not_by_when() {
    let folder = folder("replay_diff", &[("s.toml", SHORT)]);
    let same = wavetank(&folder, &["replay", "s.toml", "--seed", "3", "--diff-seed", "3"]);
    assert_eq!(same.code, 0, "{}", same.err);
    assert!(same.out.starts_with("SAME: "), "{}", same.out);
    let other = wavetank(&folder, &["replay", "s.toml", "--seed", "3", "--diff-seed", "4", "--context", "2"]);
    assert_eq!(other.code, 0, "{}", other.err);
    assert!(other.out.starts_with("DIFFERENT: they part at "), "{}", other.out);
    for told in
        ["wavetank replay s.toml --seed 3\n", "wavetank replay s.toml --seed 4\n", "\n> ", "\n  the other "]
    {
        assert!(other.out.contains(told), "{told}: {}", other.out);
    }
    let passing = wavetank(&folder, &["replay", "s.toml", "--seed", "3", "--diff-passing"]);
    assert_eq!(passing.code, 2, "{}", passing.out);
    assert!(passing.err.contains("keeps every promise: it passes itself"), "{}", passing.err);
    let both = wavetank(&folder, &["replay", "s.toml", "--diff-seed", "3", "--around", "x"]);
    assert_eq!(both.code, 2, "{}", both.out);
}

#[test]
fn a_run_that_fails_is_told_apart_from_the_nearest_that_does_not() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = "scenarios/regressions/k01-rejoin-and-fail.toml";
    let ended = wavetank(repository, &["replay", file, "--diff-passing", "--context", "3"]);
    assert_eq!(ended.code, 1, "the exit code is that of the run in question: {}", ended.err);
    for told in [
        "only this run has this\n",
        "fault      crash of broker-",
        "this run   violated         wavetank replay scenarios/regressions/k01-rejoin-and-fail.toml --seed 2\n",
        "the other  held             the same seed without 1 of its 1 faults:\n",
        " after \"a follower asked to rejoin the in-sync set\" (number ",
        "crash { host = \"@event\", down = ",
        "a follower truncated its log\n",
    ] {
        assert!(ended.out.contains(told), "{told}: {}", ended.out);
    }
}

#[test]
fn a_run_that_fails_without_any_fault_is_told_apart_from_a_neighbouring_seed() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The known bug strikes while nothing is broken, and not under every seed.
    let replayed = |seed: u64, more: &[&str]| {
        let seed = seed.to_string();
        let set = ["--set", "acts.stir=1s", "--set", "faults=[]", "--set", "bugs=[\"Z12\"]"];
        let first = ["replay", "scenarios/coordination-storm.toml", "--seed", &seed];
        wavetank(repository, &[&first, set.as_slice(), more].concat())
    };
    let is_at_edge = |seed: &u64| {
        let [this, next] = [*seed, seed + 1].map(|seed| replayed(seed, &["--timeline"]).code);
        (this, next) == (1, 0)
    };
    let seed = (1..40).find(is_at_edge).expect("the bug strikes at some seed and not at the next");
    let told = replayed(seed, &["--diff-passing"]);
    assert_eq!(told.code, 1, "the exit code is that of the run in question: {}", told.err);
    assert!(told.out.contains(&format!("--seed {seed} ")), "{}", told.out);
    let other = told.out.lines().find(|line| line.starts_with("the other  held ")).expect("one is told");
    // Seeds are tried upwards first.
    assert!(other.contains(&format!("--seed {} ", seed + 1)), "{other}");
    assert!(!told.out.contains("the same seed without"), "{}", told.out);
}

#[test]
fn without_a_passing_run_nearby_there_is_nothing_to_tell_apart() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The known bug strikes without faults, and under every seed.
    let set = ["--set", "acts.stir=1s", "--set", "faults=[]", "--set", "bugs=[\"Z18\"]"];
    let first = ["replay", "scenarios/coordination-storm.toml", "--seed", "1", "--diff-passing"];
    let told = wavetank(repository, &[first.as_slice(), &set].concat());
    assert_eq!(told.code, 1, "{}{}", told.out, told.err);
    assert!(told.err.contains("it fails without its faults, and under every seed nearby"), "{}", told.err);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads the files that a replay left")]
fn two_runs_told_apart_leave_the_files_of_both() {
    let folder = folder("replay_both", &[("s.toml", SHORT)]);
    let traced = wavetank(&folder, &["replay", "s.toml", "--diff-seed", "2", "--trace", "out"]);
    assert_eq!(traced.code, 0, "{}", traced.err);
    assert!(traced.out.ends_with("\nfiles      out (this run), out/other (the other)\n"), "{}", traced.out);
    let seed =
        |file| json_of(&fs::read_to_string(folder.join(file)).expect("the replay wrote it"))["seed"].clone();
    assert_eq!((seed("out/run.json"), seed("out/other/run.json")), (1.into(), 2.into()));
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn the_life_of_every_host_is_drawn_as_wide_as_asked() {
    let folder = folder("replay_timeline", &[("s.toml", SHORT)]);
    let replay =
        |arguments: &[&str]| wavetank(&folder, &[&["replay", "s.toml", "--timeline"], arguments].concat());
    let whole = replay(&[]);
    assert_eq!(whole.code, 0, "{}", whole.err);
    for told in [
        "HELD: An ensemble stands\n",
        "\ncoordination-3 ",
        "|stir",
        "|settle",
        "◆",
        "×",
        "power loss of coordination-",
    ] {
        assert!(whole.out.contains(told), "{told}: {}", whole.out);
    }
    let lanes = whole.out.lines().filter(|line| line.starts_with("coordination-"));
    assert!(lanes.clone().all(|lane| lane.chars().count() <= 120), "{}", whole.out);
    assert_eq!(lanes.count(), 3, "{}", whole.out);
    let part = replay(&["--from", "1s", "--until", "2s", "--slice", "5ms", "--host", "*-2"]);
    let lanes: Vec<&str> = part.out.lines().filter(|line| line.starts_with("coordination-")).collect();
    assert_eq!(lanes.len(), 2, "200 columns are two pictures: {}", part.out);
    assert!(lanes.iter().all(|lane| lane.starts_with("coordination-2")), "{}", part.out);
    let stranger = replay(&["--host", "coordination-9"]);
    assert_eq!(stranger.code, 2, "{}", stranger.out);
    let told = "no host of this run is called `coordination-9`; did you mean `coordination-1`?";
    assert!(stranger.err.contains(told), "{}", stranger.err);
    let both = replay(&["--around", "x"]);
    assert_eq!(both.code, 2, "{}", both.out);
}

#[test]
fn a_replay_that_is_cut_short_is_the_beginning_of_the_run_and_gives_no_verdict() {
    let folder = folder("replay_cut", &[("s.toml", SHORT)]);
    let replay = |arguments: &[&str]| {
        wavetank(&folder, &[&["replay", "s.toml", "--seed", "3", "--everything"], arguments].concat())
    };
    let whole = replay(&[]);
    assert_eq!(whole.code, 0, "{}", whole.err);
    let event = "coordination established a leader";
    for arguments in [
        vec!["--until", "1.5s"],
        vec!["--until", event],
        vec!["--stop-on", event, "--nth", "2"],
        vec!["--stop-on", "established a leader", "--nth", "2"],
        vec!["--steps", "300"],
    ] {
        let part = replay(&arguments);
        assert_eq!(part.code, 5, "{arguments:?}: {}", part.err);
        let (told, report) = part.out.split_once("\n\n").expect("the report follows the events");
        assert!(whole.out.starts_with(told) && told.len() < whole.out.len() - 2000, "{arguments:?}: {told}");
        assert!(report.starts_with("CUT SHORT: An ensemble stands\n"), "{report}");
        assert!(report.contains("\nIt was cut short at "), "{report}");
        for claim in ["Every promise was kept", "checks     looked at", "shrink"] {
            assert!(!report.contains(claim), "{arguments:?}: {report}");
        }
        // It ends at the instant of the event, once the task in which that happened has had its turn.
        let hits: Vec<&str> = told.lines().filter(|line| line.ends_with(event)).collect();
        let ends_with_it = || {
            let at = |line: &str| line.split_whitespace().next().map(str::to_owned);
            told.lines().last().and_then(at) == hits.last().and_then(|line| at(line))
        };
        match arguments.as_slice() {
            [_, _, "--nth", _] => assert!(hits.len() == 2 && ends_with_it(), "{told}"),
            ["--until", by] if *by == event => assert!(hits.len() == 1 && ends_with_it(), "{told}"),
            _ => {}
        }
    }
    let never = replay(&["--until", event, "--nth", "1000"]);
    assert_eq!(never.code, 0, "{}", never.err);
    let told = "the run ended before \"coordination established a leader\" had happened 1000 times\n";
    assert!(never.err.contains(told), "{}", never.err);
    assert!(never.out.contains("HELD: "), "it went to its end");
}

#[test]
fn where_a_replay_ends_is_a_time_or_a_known_event() {
    let folder = folder("replay_until", &[("s.toml", SHORT)]);
    for (arguments, told) in [
        (vec!["--until", "12"], "is not a span of time"),
        (
            vec!["--until", "coordination established a ledaer"],
            "neither a span of time, such as 12.5s, nor an event; did you mean `coordination established a leader`?",
        ),
        (vec!["--until", "time goes on"], "neither a span of time"),
        (vec!["--until", "the high watermark stays within the log"], "is a promise: a run ends by itself"),
        (vec!["--until", "a follower"], "is a part of several events: `a follower "),
        (vec!["--until", "1s", "--nth", "2"], "--nth counts events, and --until is a time"),
        (vec!["--until", "1s", "--steps", "2"], "cannot be used with"),
        (vec!["--nth", "2"], "--until"),
        (vec!["--until", "1s", "--diff-seed", "2"], "cannot be used with"),
    ] {
        let ended = wavetank(&folder, &[&["replay", "s.toml"][..], &arguments].concat());
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.out);
        let err = ended.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(err.contains(told), "{arguments:?}: {err}");
    }
}

#[test]
fn every_system_and_workload_has_a_log_and_keeps_the_level_it_is_given() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let replay = |file: &str, arguments: &[&str]| {
        let ended = wavetank(repository, &[&["replay", file, "--until", "4s"][..], arguments].concat());
        assert_eq!(ended.code, 5, "{}", ended.err);
        ended.out
    };
    let lines = |out: &str, host: &str, level: &str| -> usize {
        let is_it = |line: &&str| line.contains(&format!("s {host}")) && line.contains(&format!(" {level} "));
        out.lines().filter(is_it).count()
    };
    for (system, file) in [
        ("coordination", "scenarios/clickstream.toml"),
        ("broker", "scenarios/clickstream.toml"),
        ("clickstream", "scenarios/clickstream.toml"),
        ("registers", "scenarios/coordination-storm.toml"),
    ] {
        let [plain, debug] =
            ["info", "debug"].map(|level| replay(file, &["--log", &format!("{system}={level}")]));
        assert_eq!(lines(&plain, system, "debug"), 0, "{system}: {plain}");
        assert!(0 < lines(&debug, system, "debug"), "{system}: {debug}");
        let others = lines(&debug, "", "debug") - lines(&debug, system, "debug");
        assert_eq!(others, 0, "only {system} is asked for: {debug}");
    }
    let file = "scenarios/clickstream.toml";
    let quiet = replay(file, &["--log", "*=debug", "--log", "coordination=warn"]);
    assert_eq!(lines(&quiet, "coordination", "info") + lines(&quiet, "coordination", "debug"), 0, "{quiet}");
    assert!(0 < lines(&quiet, "broker", "info"), "{quiet}");
}
