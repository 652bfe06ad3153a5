//! `wavetank compare` on files of strategies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::ArrowWriter;

use crate::command_line::{Ended, SHORT, json, wavetank};
use crate::scenario_files::folder;

/// Two arms that are alike, looked at sixty times.
const ALIKE: &str = r#"
title = "Alike"
streams = 200
[users]
per_day = 100
days = 60
base = "10%"
arms = [{ name = "a" }, { name = "b" }]
[[strategies]]
name = "peeking"
stop = "peeking"
[[strategies]]
name = "mSPRT"
stop = { msprt = { tau = "1%" } }
"#;

/// Everything that users may be, and a few strategies.
const RICH: &str = r#"
title = "Everything at once"
streams = 20
[users]
per_day = 200
days = 6
base = "10%"
arms = [{ name = "control" }, { name = "better", lift = "+80%" }, { name = "worse", rate = "5%", drift = -0.01 }]
heterogeneity = 0.5
seasons = { daily = 0.2, weekly = 0.1 }
traffic = { daily = 0.5 }
novelty = { amplitude = 0.5, half_life = "1d" }
delay = { share = "30%", mean = "6h", shape = "long-tailed" }
bots = { share = "5%", visits = 4 }
returning = { share = "20%", visits = 3, gap = "1d" }
[[strategies]]
name = "one look"
stop = "fixed-horizon"
[[strategies]]
name = "Thompson"
allocate = "thompson"
batch = 50
floor = "5%"
[[strategies]]
name = "EXP3"
allocate = { exp3 = { gamma = "20%" } }
[[strategies]]
name = "UCB1, window"
allocate = "ucb1"
memory = { window = 500 }
stop = { value-remaining = {} }
not_before = "2d"
"#;

/// A log in which one item is clicked five times as often as the others.
const LOGGED: &str = r#"
title = "Logged"
streams = 100
[log]
source = "log.parquet"
campaign = "shop"
arms = [{ name = "a", items = [0] }, { name = "b", items = [1] }, { name = "best", items = [2] }]
[[strategies]]
name = "equal shares"
stop = "fixed-horizon"
[[strategies]]
name = "Thompson"
allocate = "thompson"
"#;

fn compare(folder: &Path, more: &[&str]) -> Ended {
    wavetank(folder, &[&["compare", "s.toml"], more].concat())
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn who_peeks_is_wrong_far_more_often_than_said_and_a_sequential_test_is_not() {
    let folder = folder("strategies_alike", &[("s.toml", ALIKE)]);
    let told = json(&compare(&folder, &["--format", "json"]));
    let alarms = |index: usize, end: usize| {
        told["strategies"][index]["false_alarms"]["interval"][end].as_f64().expect("a number")
    };
    assert!(0.15 < alarms(0, 0), "{:#}", told["strategies"][0]["false_alarms"]);
    assert!(alarms(1, 1) < 0.05, "{:#}", told["strategies"][1]["false_alarms"]);
    assert_eq!(told["visits"], 2 * 200 * 6000);
    let shared = told["strategies"][1]["against_first"]["mean"].as_f64();
    assert_eq!(shared, Some(0.0), "nothing is lost among arms that are alike");
    for (index, strategy) in told["strategies"].as_array().expect("a list").iter().enumerate() {
        let [ratio, segments] = [0, 2].map(|detector| &strategy["detectors"][detector]);
        assert_eq!(ratio["at_most"], true, "it stops when it likes: {ratio}");
        assert!(ratio["alarms"]["interval"][0].as_f64().is_some_and(|low| low < 0.05), "{ratio}");
        assert_eq!(segments["not_asked"], "there are no segments");
        let estimate = &strategy["estimates"][0];
        let coverage = |of: &str| estimate[of]["coverage"]["share"].as_f64().expect("a number");
        // Whoever stops on a good day has no intervals that hold, however they are weighted.
        let held = if index == 0 { 0.0..0.85 } else { 0.88..1.0 };
        assert!(held.contains(&coverage("pooled")) && held.contains(&coverage("by_epoch")), "{estimate}");
    }
}

#[test]
fn whoever_cannot_be_told_apart_from_the_best_is_named_in_the_headline_and_on_the_page() {
    let head = ALIKE.find("[[strategies]]").expect("it has strategies");
    let head = ALIKE[..head].replace("{ name = \"b\" }", "{ name = \"b\", lift = \"+50%\" }");
    for (names, told) in [
        (&["A", "B"][..], "A and B lose least, and cannot be told apart: "),
        (&["A", "B", "C"], "A loses least, but B and C cannot be told apart from it: "),
        (&["A", "B", "C", "D"], "A loses least, but 3 others cannot be told apart from it: "),
    ] {
        let strategies = names.iter().map(|name| format!("[[strategies]]\nname = \"{name}\"\n"));
        let bad = "[[strategies]]\nname = \"all to a\"\nallocate = { shares = [\"99%\", \"1%\"] }\n";
        let file = format!("{head}{}{bad}", strategies.collect::<String>());
        let folder = folder("strategies_rivals", &[("s.toml", &file)]);
        let ended = compare(&folder, &["--streams", "20", "--html", "page.html", "--set", "users.days=5"]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        assert!(ended.out.starts_with(&format!("COMPARED: {told}")), "{}", ended.out);
        #[expect(clippy::disallowed_methods, reason = "the test reads a page of the user's")]
        let page = std::fs::read_to_string(folder.join("page.html")).expect("it was written");
        assert!(page.contains(&format!("<h2>{told}")), "{page}");
    }
}

#[test]
fn the_numbers_do_not_depend_on_how_many_threads_there_are() {
    let folder = folder("strategies_jobs", &[("s.toml", RICH)]);
    let of = |jobs: &str, more: &[&str]| {
        let ended = compare(&folder, &[&["--format", "json", "--jobs", jobs], more].concat());
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        ended.out
    };
    let one = of("1", &[]);
    assert_eq!(one, of("3", &[]));
    assert_ne!(one, of("3", &["--seed", "2"]));
    let told: serde_json::Value = serde_json::from_str(&one).expect("it is JSON");
    for strategy in told["strategies"].as_array().expect("a list") {
        let curve: Vec<f64> = strategy["regret_curve"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|mean| mean["mean"].as_f64().expect("a number"))
            .collect();
        assert!(curve.len() == 50 && curve.is_sorted() && 0.0 < curve[49], "{curve:?}");
        for shares in strategy["allocation"].as_array().expect("a list") {
            let sum: f64 =
                shares.as_array().expect("a list").iter().filter_map(serde_json::Value::as_f64).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{shares}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_place_and_its_mend() {
    let folder = folder("strategies_wrong", &[("s.toml", ALIKE)]);
    for (set, told) in [
        ("users.per_dya=5", "did you mean `per_day`?"),
        ("users.arms.b.lift=+2000%", "a rate of 210% is none between 0% and 100%"),
        ("users.arms.b.lift=much", "`much` is not a relative change"),
        ("users.arms=[{name='a'}]", "an experiment has from 2 to 200 arms"),
        ("strategies.mSPRT.stop=pekking", "did you mean `peeking`?"),
        ("strategies.mSPRT.stop={msprt={tua='1%'}}", "did you mean `tau`?"),
        ("strategies.mSPRT.name=peeking", "`peeking` names another strategy too"),
        ("strategies.mSPRT.batch=10", "fixed shares learn nothing"),
        ("strategies.mSPRT.allocate={shares=['50%','40%']}", "they sum to 90%"),
        ("strategies.mSPRT.allocate={lin-ucb={alpha=0.5}}", "there are no segments to go by"),
        ("strategies.mSPRT.allocate={lin-ts={v=0.0}}", "0 lies not above 0 and up to 100"),
        ("strategies.mSPRT.stop={alpha-spending={like={power=0.0}}}", "a power lies above 0, up to 20"),
        ("strategies.mSPRT.not_before=60d", "the stream ends after 60 days"),
        ("strategies.mSPRT.looks=1001", "it would look 1001 times; from 1 to 1000"),
        ("users.days=3650", "it would look 3650 times; from 1 to 1000"),
        ("strategies.mSPRT.alpha=0%", "a false alarm has a probability"),
        ("streams=1", "2 to 1000000 streams"),
        ("title=", "say in one sentence what it compares"),
    ] {
        let ended = compare(&folder, &["--set", set]);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{set}");
        assert!(ended.err.contains(told), "{set}: {}", ended.err);
        assert!(ended.err.contains("nothing was run"), "{set}: {}", ended.err);
    }
    let broken = crate::scenario_files::folder(
        "strategies_broken",
        &[("s.toml", &ALIKE.replace("days = 60", "days = 0").replace("stop = \"peeking\"", "alpha = 5"))],
    );
    let ended = compare(&broken, &["--format", "json"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("s.toml:11:9") && ended.err.contains("`5` is not a share"), "{}", ended.err);
    assert!(json(&ended)["mistakes"].as_array().is_some_and(|mistakes| mistakes.len() == 1), "{}", ended.out);
}

#[test]
fn too_few_users_for_estimates_and_detectors_are_said_to_be() {
    let few = "title = \"few\"\nstreams = 5\n[users]\nper_day = 5\ndays = 1\nbase = \"5%\"\narms = [{ name = \"a\" }, { name = \"b\" }]\n[[strategies]]\nname = \"t\"\nallocate = \"thompson\"\n";
    let ended = compare(&folder("strategies_few", &[("s.toml", few)]), &[]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let untold = "no stream has 10 known outcomes of both arms in each segment";
    assert!(ended.out.contains(untold) && !ended.out.contains("pooled:"), "{}", ended.out);
    assert!(ended.out.contains("Not asked: shares by day: too few users, or days."), "{}", ended.out);
}

#[test]
fn flags_of_scenarios_and_of_strategies_are_not_mixed_up() {
    let folder = folder("strategies_flags", &[("s.toml", ALIKE), ("scenario.toml", SHORT)]);
    for (arguments, told) in [
        (
            &["compare", "s.toml", "--by", "users.days=3,5"][..],
            "--by is for scenarios, and s.toml is a file of strategies",
        ),
        (&["compare", "s.toml", "--resume"], "--resume is for scenarios"),
        (&["compare", "s.toml", "--time-out", "5m"], "--time-out is for scenarios"),
        (&["compare", "s.toml", "--memory", "1GiB"], "--memory is for scenarios"),
        (&["compare", "s.toml", "--seeds", "1..5"], "say --streams N"),
        (&["compare", "s.toml", "--streams", "1"], "--streams"),
        (&["compare", "scenario.toml"], "scenario.toml is a scenario: say by which setting its runs differ"),
        (
            &["compare", "scenario.toml", "--by", "acts.stir=1s,2s", "--streams", "5"],
            "--streams is for a file of strategies",
        ),
        (&["run", "s.toml"], "wavetank compare s.toml"),
    ] {
        let ended = wavetank(&folder, arguments);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ended.err.contains(told), "{arguments:?}: {}", ended.err);
    }
    let listed = wavetank(&folder, &["list", "."]);
    assert!(listed.out.contains("compares peeking, mSPRT"), "{}", listed.out);
    let schema = json(&wavetank(&folder, &["schema", "strategies"]));
    assert_eq!(schema["required"], serde_json::json!(["title", "strategies"]));
}

#[test]
fn the_summary_has_an_interval_at_each_number_and_the_page_shows_it() {
    let folder = folder("strategies_told", &[("s.toml", RICH)]);
    let ended = compare(&folder, &["--html", "out/page.html"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    insta::assert_snapshot!(trimmed(&ended.out), @r#"
    COMPARED: UCB1, window and Thompson lose least, and cannot be told apart: 29.2 [25.5, 32.9] and 32.5 [30, 34.9] successes
    Everything at once
    s.toml, 20 streams from seed 1, 200 users a day for 6 days; control 10%, better 18%, worse 4.73%

    how often it errs
      strategy      right                 false alarms      coverage              controls
      one look      100.0% [83.2, 100.0]  0.0% [0.0, 16.8]  100.0% [83.2, 100.0]  false alarms, at 5%, at its one look
      Thompson      100.0% [83.2, 100.0]  0.0% [0.0, 16.8]  95.0% [75.1, 99.9]    none: it keeps regret low, and always chooses
      EXP3          100.0% [83.2, 100.0]  0.0% [0.0, 16.8]  90.0% [68.3, 98.8]    none: it keeps regret low, and always chooses
      UCB1, window  100.0% [83.2, 100.0]  0.0% [0.0, 16.8]  95.0% [75.1, 99.9]    none as used: it counts visits, and users come again

    what it costs
      strategy      regret             against the first     visits under a worse arm
      one look      120 [118, 121]     -                     989 [973, 1,005]
      Thompson      32.5 [30, 34.9]    -87.2 [-90.3, -84.2]  269 [245, 292]
      EXP3          43.9 [40.9, 47]    -75.8 [-79.5, -72]    361 [331, 392]
      UCB1, window  29.2 [25.5, 32.9]  -90.5 [-95, -86]      226 [194, 259]

    when it decides
      strategy      before the end        days              5% by day  50% by    95% by    visits
      one look      0.0% [0.0, 16.8]      6 [6, 6]          6 [6, 6]   6 [6, 6]  6 [6, 6]  1,721 [1,704, 1,737]
      Thompson      0.0% [0.0, 16.8]      6 [6, 6]          6 [6, 6]   6 [6, 6]  6 [6, 6]  1,721 [1,704, 1,737]
      EXP3          0.0% [0.0, 16.8]      6 [6, 6]          6 [6, 6]   6 [6, 6]  6 [6, 6]  1,721 [1,704, 1,737]
      UCB1, window  100.0% [83.2, 100.0]  2.2 [2.01, 2.39]  2 [2, 2]   2 [2, 2]  3 [3, 6]  578 [523, 633]

    which arm it ends with
      strategy      chosen                                                                         shown at the end
      one look      better 100.0% [83.2, 100.0], control 0.0% [0.0, 16.8], worse 0.0% [0.0, 16.8]  control 33.9 [29.8, 38]%, better 33.5 [30.1, 36.8]%, worse 32.6 [29.5, 35.7]%
      Thompson      better 100.0% [83.2, 100.0], control 0.0% [0.0, 16.8], worse 0.0% [0.0, 16.8]  better 88.8 [86.6, 91.1]%, control 6.46 [4.58, 8.34]%, worse 4.69 [2.97, 6.41]%
      EXP3          better 100.0% [83.2, 100.0], control 0.0% [0.0, 16.8], worse 0.0% [0.0, 16.8]  better 85.8 [83.1, 88.4]%, control 7.5 [5.55, 9.46]%, worse 6.74 [4.69, 8.78]%
      UCB1, window  better 100.0% [83.2, 100.0], control 0.0% [0.0, 16.8], worse 0.0% [0.0, 16.8]  better 100 [100, 100]%, control 0 [0, 0]%, worse 0 [0, 0]%

    how far its estimate of the effect of better against control is off, in points
      strategy      weights   bias                     error               coverage  streams
      one look      pooled    0.00635 [-0.674, 0.687]  1.13 [0.715, 1.54]  -         20
      one look      by epoch  0.0669 [-0.593, 0.727]   1.1 [0.698, 1.5]    -         20
      Thompson      pooled    1.28 [-0.0521, 2.61]     2.62 [1.87, 3.37]   -         20
      Thompson      by epoch  1.16 [-0.26, 2.58]       2.52 [1.6, 3.45]    -         20
      EXP3          pooled    0.241 [-0.678, 1.16]     1.52 [0.952, 2.09]  -         20
      EXP3          by epoch  -0.397 [-1.39, 0.595]    1.62 [0.983, 2.27]  -         20
      UCB1, window  pooled    0.546 [-0.842, 1.93]     2.48 [1.72, 3.24]   -         20
      UCB1, window  by epoch  0.718 [-0.771, 2.21]     2.6 [1.72, 3.48]    -         20

    how often detectors of invalid experiments alarm
      strategy      sample ratio           shares by day
      one look      0.0% [0.0, 16.8] / 5%  10.0% [1.2, 31.7] / 5%
      Thompson      not asked              100.0% [83.2, 100.0] *
      EXP3          not asked              100.0% [83.2, 100.0] *
      UCB1, window  not asked              60.0% [36.1, 80.9] *

    Intervals cover 95% each, over 20 streams: shares by Clopper and Pearson, means by Student, the days until which so many have decided by order statistics. Every strategy met the same users, and `against the first` is of pairs. The headline allows for the number of strategies (Bonferroni).
    right: chose the best arm, or one of several. false alarms: said that arms differ, or left the control, without a reason in the truth. coverage: how often all its intervals of effects held the truth.
    Each arm is tested against the first, at the probability of a false alarm over their number (Bonferroni).
    Users come again and keep their arm, so tests count users: an arm's rate is the ratio of two means over them, with the variance of the delta method.
    regret: successes lost against the best arm of each moment, until the end of the stream: after its decision everybody gets the arm that it chose.
    pooled: the difference of the shares of all visits of each arm until the decision, as it is mostly reported. by epoch: the difference within each day and segment, weighted by all visits of it; days with fewer than 10 known outcomes of an arm go together with the next. Both should be the difference of true rates, averaged over all visits until then. bias: the mean of estimate less truth. error: how far off it is in one stream. coverage: how often its 95% interval held the truth, not told where users come again and keep their arm. By epoch is unbiased where shares do not move within a day and no arm is given up (learning by the day, a floor); neither allows for stopping early.
    Detectors look at one stream until its decision, without the truth, and alarm at p < 0.05. After the slash stands how often they state to alarm in vain, in large samples. *: there is something to find (it moves its shares). Not asked: shares by segment: there are no segments. Not asked: novelty, aversion: users come again, so that days are not independent. Not asked: effect by weekday: users come again, so that days are not independent. Not asked: sample ratio of Thompson, EXP3, UCB1, window: shares move, and with which probability arms are chosen is not logged.

    repeat   wavetank compare s.toml --streams 20 --seed 1
    "#);
    #[expect(clippy::disallowed_methods, reason = "the test reads a page of the user's")]
    let page = std::fs::read_to_string(folder.join("out/page.html")).expect("it was written");
    for text in [
        "<h1>",
        "Mean regret of all strategies",
        "Regret against one look",
        "Estimates of the effect of better against control are off by more than chance under 0 of 4",
        "How often detectors of invalid experiments alarm",
        "wavetank compare s.toml",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert_eq!(
        page.matches("<polygon").count(),
        4 + 4 * 3,
        "a band for each strategy, and for each of its arms"
    );
    assert!(!page.contains("http") && !page.contains("<script"), "it fetches nothing");
}

#[test]
fn the_shipped_files_can_be_compared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = std::fs::read_dir(root.join("scenarios/experiments")).expect("they are shipped");
    let mut files: Vec<_> = shipped.map(|entry| entry.expect("it was just listed").path()).collect();
    files.sort();
    assert!(5 <= files.len(), "{files:?}");
    for file in files {
        let file = file.to_string_lossy();
        let short = if file.ends_with("logged.toml") { "title=Short" } else { "users.days=8" };
        let ended = wavetank(root, &["compare", &file, "--streams", "2", "--set", short]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{file}");
        assert!(ended.out.starts_with("COMPARED: "), "{file}: {}", ended.out);
    }
}

#[test]
fn who_goes_by_segments_loses_less_than_the_best_arm_for_all_and_has_no_one_arm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = "scenarios/experiments/contextual.toml";
    let more = ["--streams", "10", "--set", "users.days=8", "--format", "json"];
    let told = json(&wavetank(root, &[&["compare", file][..], &more].concat()));
    for (index, name) in [(0, "Thompson"), (3, "LinUCB"), (4, "LinTS"), (5, "LinTS, by the day")] {
        let found = &told["strategies"][index];
        assert_eq!(found["name"], name);
        if index == 0 {
            assert!(found["right"]["share"].is_number() && !found["chosen_shares"][0].is_null(), "{found}");
            continue;
        }
        let high = found["against_first"]["interval"][1].as_f64().expect("a number");
        assert!(high < -50.0, "{name}: {}", found["against_first"]);
        for key in ["right", "false_alarms", "coverage"] {
            assert!(found[key].is_null(), "{name}: {}", found[key]);
        }
        assert_eq!(found["chosen"], serde_json::json!([]), "{name}");
    }
}

/// A folder with `s.toml` and the log that it replays: three items in turns, of which 1, 1 and 5 of 20 impressions were clicked, and one
/// impression of another policy and campaign.
fn logged(name: &str) -> PathBuf {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
    let folder = folder(name, &[("s.toml", LOGGED)]);
    let rows = 3000;
    let numbers =
        |of: &dyn Fn(i64) -> i64| Arc::new(Int64Array::from_iter_values((0..rows).map(of))) as ArrayRef;
    let clicked = |row: i64| (if row % 3 == 2 { 15 } else { 19 }) <= row / 3 % 20;
    let column = |name: &str| {
        let array = match name {
            "timestamp" => numbers(&|row| row * 86_400_000_000),
            "item_id" => numbers(&|row| row % 3),
            "click" => numbers(&|row| i64::from(clicked(row))),
            "propensity" => {
                Arc::new(Float64Array::from_iter_values((0..rows).map(|_| 1.0 / 3.0))) as ArrayRef
            }
            "policy" => Arc::new(StringArray::from_iter_values(
                (0..rows).map(|row| if row == 0 { "bts" } else { "random" }),
            )),
            "campaign" => Arc::new(StringArray::from_iter_values(
                (0..rows).map(|row| if row == 1 { "else" } else { "shop" }),
            )),
            _ => Arc::new(StringArray::from_iter_values((0..rows).map(|_| "x"))),
        };
        (name.to_owned(), array)
    };
    let features: Vec<String> = (0..4).map(|feature| format!("user_feature_{feature}")).collect();
    let names = ["timestamp", "item_id", "click", "propensity", "policy", "campaign"].into_iter();
    let batch = RecordBatch::try_from_iter(names.chain(features.iter().map(String::as_str)).map(column));
    let batch = batch.expect("columns of one length");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("memory does not fail");
    writer.write(&batch).expect("memory does not fail");
    let bytes = writer.into_inner().expect("memory does not fail");
    #[expect(clippy::disallowed_methods, reason = "the test writes the files of a user")]
    std::fs::write(folder.join("log.parquet"), bytes).expect("the folder was just made");
    folder
}

#[test]
fn a_log_is_replayed_and_tells_who_would_have_earned_more_than_chance() {
    let folder = logged("strategies_log");
    let of = |jobs: &str| {
        let ended = compare(&folder, &["--format", "json", "--jobs", jobs]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        ended
    };
    let ended = of("1");
    assert_eq!(ended.out, of("3").out, "whatever the number of threads");
    let told = json(&ended);
    assert_eq!(
        told["truth"],
        serde_json::json!([50.0 / 999.0, 50.0 / 999.0, 0.25]),
        "the first two rows are of others"
    );
    assert!(told["log"]["alike_p"].as_f64().is_some_and(|p| p < 1e-6), "{:#}", told["log"]);
    let number = |strategy: usize, path: &str| {
        let found = told["strategies"][strategy].pointer(path).and_then(serde_json::Value::as_f64);
        found.unwrap_or_else(|| panic!("no {path}: {:#}", told["strategies"][strategy]))
    };
    for strategy in [0, 1] {
        let matched = number(strategy, "/earned/matched/mean");
        assert!((matched - 999.0).abs() < 15.0, "{matched}: a third of the log");
        assert!(
            told["strategies"][strategy]["false_alarms"].is_null()
                && told["strategies"][strategy]["coverage"].is_null()
                && told["strategies"][strategy]["estimates"].is_null()
                && told["strategies"][strategy]["detectors"].is_null()
        );
    }
    // By fixed shares all impressions count alike: the random policy's rate, but for the order.
    assert!((number(0, "/earned/rate/mean") - 0.1167).abs() < 0.004);
    assert!(0.18 < number(1, "/earned/rate/mean") && 0.04 < number(1, "/earned/against_random/interval/0"));
    assert!(number(1, "/earned/against_first/interval/0") < number(1, "/earned/against_first/mean"));
    assert!(number(1, "/right/share") == 1.0 && number(1, "/regret/mean") < 0.5 * number(0, "/regret/mean"));
    let ended = compare(&folder, &["--html", "page.html", "--streams", "20"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.starts_with("COMPARED: Thompson earns "), "{}", ended.out);
    for told in [
        "20 orders from seed 1 of 2,998 impressions of `random` in `shop`",
        "all, at random  2,998",
        "they are rough",
        "cover at least 95% of other logs of the same size, by bootstrap; those of differences narrow with more streams.",
    ] {
        assert!(ended.out.contains(told), "{told}: {}", ended.out);
    }
    assert!(!ended.out.contains("coverage  "), "{}", ended.out);
    #[expect(clippy::disallowed_methods, reason = "the test reads a page of the user's")]
    let page = std::fs::read_to_string(folder.join("page.html")).expect("it was written");
    for text in
        ["Clicks beyond those of the random policy", "What was logged", "Mean regret of all strategies"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    let listed = wavetank(&folder, &["list", "."]);
    assert!(listed.out.contains("log     2998 impressions of `random` in `shop`"), "{}", listed.out);
}

#[test]
fn a_log_that_tells_nothing_says_so() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = "scenarios/experiments/logged.toml";
    let ended = wavetank(root, &["compare", file, "--streams", "30"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let begin =
        "COMPARED: no strategy is shown to earn more than the random policy's 0.443% clicks: the most has ";
    assert!(ended.out.starts_with(begin), "{}", ended.out);
    assert!(ended.out.contains("with 14.3 clicks. These are few"), "{}", ended.out);
    assert!(ended.out.contains("p = 0.524, by Pearson's test"), "{}", ended.out);
    let few = ["--set", "log.arms=[]", "--set", "log.most_logged=5", "--streams", "10"];
    let ended = wavetank(root, &[&["compare", file][..], &few].concat());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(
        ended.out.starts_with("COMPARED: the log is too small to tell: 1.6 clicks in a pass"),
        "{}",
        ended.out
    );
}

#[test]
fn a_log_that_cannot_be_replayed_is_refused() {
    let folder = logged("strategies_log_wrong");
    for (set, told) in [
        ("log.source=nowhere.parquet", "nowhere.parquet"),
        ("log.source=clicks.parquet", "clicks.parquet has no column policy, campaign"),
        ("log.source=s.toml", "s.toml is not a Parquet file"),
        ("log.policy=rnadom", "the log has the policies bts, random"),
        ("log.campaign=men", "the log has the campaigns else, shop"),
        ("log.arms.best.items=[7]", "`random` never showed item 7 in `shop`"),
        ("log.arms.best.items=[1]", "item 1 stands twice"),
        ("log.most_logged=2", "remove one of them"),
        ("log.polcy=random", "did you mean `policy`?"),
        (
            "users={per_day=5,days=5,base='5%',arms=[{name='a'},{name='b'}]}",
            "from users or from a log, not from both",
        ),
        ("strategies.Thompson.allocate={shares=['50%','50%']}", "2 shares for 3 arms"),
        ("strategies.Thompson.not_before=3000d", "the stream ends after 3 days"),
    ] {
        let ended = compare(&folder, &["--set", set]);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{set}");
        assert!(ended.err.contains(told) && ended.err.contains("nothing was run"), "{set}: {}", ended.err);
    }
    let nobody = crate::scenario_files::folder(
        "strategies_nobody",
        &[("s.toml", &ALIKE.replace("[users]", "[ignored]"))],
    );
    assert_eq!(compare(&nobody, &[]).code, 2);
    let head = ALIKE.find("[users]").expect("it has users");
    let tail = ALIKE.find("[[strategies]]").expect("it has strategies");
    let nobody = crate::scenario_files::folder(
        "strategies_nobody",
        &[("s.toml", &format!("{}{}", &ALIKE[..head], &ALIKE[tail..]))],
    );
    let ended = compare(&nobody, &[]);
    assert!(ended.code == 2 && ended.err.contains("add a table [users], or [log]"), "{}", ended.err);
}
