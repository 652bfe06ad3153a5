//! Scenario files: what is read, how parts are laid over one another, and what is said of those that are wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use wavetank::base::{Seed, Span};
use wavetank::scenario::{Scenario, SettleForm, load_plan};

/// A scenario that can be run; tests break one thing in it.
pub const GOOD: &str = r#"
title = "Clicks survive"
[zones]
names = ["a", "b", "c"]
within = { latency = "200us..600us" }
between = { latency = "1ms..3ms", bandwidth = "1GiB/s" }
[systems.coordination]
servers = 3
[systems.broker]
brokers = 3
topics = [{ name = "clicks", partitions = 6, replicas = 3, min_in_sync = 2 }]
[[workloads.clickstream]]
source = "clicks.parquet"
[[faults]]
every = "10s..30s"
do = { crash = { any_of = "broker-*", down = "2s..8s" } }
[[faults]]
every = "20s..60s"
do = { partition = { zone = "any", heal_after = "5s..15s" } }
"#;

/// A fresh folder with these files and a small `clicks.parquet`.
#[expect(clippy::disallowed_methods, reason = "the tests write the files of a user")]
pub fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder is writable");
    fs::write(folder.join("clicks.parquet"), clicks(8)).expect("the folder was just made");
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("the folder was just made");
    }
    folder
}

/// A Parquet file without rows, with this many of the columns of a clickstream.
pub fn clicks(columns: usize) -> Vec<u8> {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    let names = ["timestamp", "item_id", "click", "propensity"].map(str::to_owned).into_iter();
    let names = names.chain((0..4).map(|feature| format!("user_feature_{feature}"))).take(columns);
    let column = |name| (name, Arc::new(Int64Array::from(vec![1])) as ArrayRef);
    let batch = RecordBatch::try_from_iter(names.map(column)).expect("columns of one length");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("memory does not fail");
    writer.write(&batch).expect("memory does not fail");
    writer.into_inner().expect("memory does not fail")
}

/// Loads `s.toml` of a folder; an error as a terminal shows it, without the folder's path.
pub fn load(folder: &Path, overrides: &[&str]) -> Result<Scenario, String> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Scenario::load(&folder.join("s.toml"), &overrides).map_err(|error| {
        let text = error.render(false).replace(&format!("{}/", folder.display()), "");
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    })
}

/// What is said of overrides of the good scenario.
fn set_complaint(name: &str, overrides: &[&str]) -> String {
    load(&folder(name, &[("s.toml", GOOD)]), overrides).expect_err("it is wrong")
}

#[test]
fn a_good_file_is_read_with_its_defaults() {
    let folder = folder("good", &[("s.toml", GOOD)]);
    let scenario = load(&folder, &[]).expect("it is good");
    assert_eq!(scenario.title, "Clicks survive");
    assert_eq!(scenario.acts.stir, Span::secs(60));
    assert_eq!(scenario.acts.settle_form, SettleForm::All);
    assert!(scenario.acts.cooperation);
    assert_eq!(scenario.faults.len(), 2);
    assert_eq!(scenario.workloads.clickstream[0].source, folder.join("clicks.parquet"));
    assert_eq!(scenario.hosts().len(), 12);
    assert!(scenario.hosts().contains(&"clickstream-consumer-3".to_owned()));
}

#[test]
fn overrides_reach_values_tables_and_entries_of_lists_by_number_and_by_name() {
    let folder = folder("overrides", &[("s.toml", GOOD)]);
    let overrides = [
        "systems.broker.brokers=5",
        "acts.stir = 10s",
        "acts.settle_form=core",
        "systems.broker.topics.clicks.partitions=12",
        "systems.broker.topics.0.replicas=5",
        "workloads.clickstream.0.delivery=at-most-once",
        "clocks.offset=1s..2s",
        "swarm=true",
        "bugs=[\"K01\"]",
        "faults=[]",
        "workloads.registers=[{ clients = 2 }]",
    ];
    let scenario = load(&folder, &overrides).expect("they are good");
    let broker = scenario.systems.broker.expect("it is there");
    assert_eq!((broker.brokers, broker.topics[0].partitions, broker.topics[0].replicas), (5, 12, 5));
    assert_eq!(scenario.acts.stir, Span::secs(10));
    assert_eq!(scenario.acts.settle_form, SettleForm::Core);
    assert_eq!(scenario.clocks.offset.to_string(), "1s..2s");
    assert!(scenario.swarm);
    assert_eq!(scenario.bugs, ["K01"]);
    assert!(scenario.faults.is_empty());
    assert_eq!(scenario.workloads.registers[0].clients, 2);
    assert_eq!(scenario.overrides, overrides);
}

#[test]
fn what_comes_later_wins_and_lists_of_tables_are_appended() {
    let main = r#"
        include = ["base.toml", "more.toml"]
        title = "Mine"
        [systems.broker]
        brokers = 4
        [[faults]]
        at = "1s"
        do = { pause = { any_of = "broker-4", length = "1s" } }
    "#;
    let more =
        "include = [\"base.toml\"]\nzones.names = [\"x\", \"y\"]\ntitle = \"More\"\nacts.stir = \"5s\"";
    let folder = folder("include", &[("s.toml", main), ("base.toml", GOOD), ("more.toml", more)]);
    let scenario = load(&folder, &[]).expect("they are good");
    assert_eq!(scenario.title, "Mine");
    assert_eq!(scenario.zones.names, ["x", "y"]);
    assert_eq!(scenario.acts.stir, Span::secs(5));
    let broker = scenario.systems.broker.expect("it is there");
    assert_eq!((broker.brokers, broker.topics.len()), (4, 1));
    let kinds: Vec<_> = scenario.faults.iter().map(|rule| rule.kind.name()).collect();
    assert_eq!(kinds, ["crash", "partition", "pause"], "the base counts once, though it is included twice");
}

#[test]
fn a_swarm_draws_constants_from_the_seed_alone() {
    let folder = folder("swarm", &[("s.toml", GOOD)]);
    let plain = load(&folder, &[]).expect("it is good");
    assert!(plain.drawn(Seed::new(1)).1.is_empty());
    let swarm = load(&folder, &["swarm=true"]).expect("it is good");
    let draws: Vec<_> = (1..=8).map(|seed| swarm.drawn(Seed::new(seed)).1).collect();
    assert_eq!(draws[0], swarm.drawn(Seed::new(1)).1);
    assert!(draws.iter().any(|draw| *draw != draws[0]), "{draws:?}");
    let told: BTreeSet<&str> = draws.iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert!(told.contains("systems.broker.index_interval"), "{told:?}");
    assert!(told.contains("workloads.clickstream.0.batch"), "{told:?}");
}

#[test]
fn what_a_swarm_has_drawn_can_be_set_in_its_place() {
    let folder = folder("swarm_set", &[("s.toml", GOOD)]);
    let swarm = load(&folder, &["swarm=true"]).expect("it is good");
    for seed in (1..=20).map(Seed::new) {
        let (drawn, constants) = swarm.drawn(seed);
        let set: Vec<String> = constants.iter().map(|(path, value)| format!("{path}={value}")).collect();
        let same = load(&folder, &set.iter().map(String::as_str).collect::<Vec<_>>()).expect("it can be set");
        assert_eq!((same.systems, same.workloads), (drawn.systems, drawn.workloads), "{set:?}");
    }
}

#[test]
fn overrides_that_cannot_be_set() {
    let text = set_complaint(
        "bad_set",
        &[
            "systems.broker.brokers",
            "systems..brokers=5",
            "faults.7.every=1s",
            "title.length=3",
            "bugs=[K01",
            "include=[]",
        ],
    );
    insta::assert_snapshot!(text, @r#"
      × cannot set `systems.broker.brokers`
       ╭─[--set:1:1]
     1 │ systems.broker.brokers
       · ───────────┬──────────
       ·            ╰── there is no `=` in it
       ╰────
      help: write a path, `=` and a value: --set acts.stir=10s

      × cannot set `systems..brokers=5`
       ╭─[--set:1:1]
     1 │ systems..brokers=5
       · ────────┬───────
       ·         ╰── a key is missing in the path
       ╰────
      help: write keys with single dots between them: systems.broker.brokers

      × cannot set `faults.7.every=1s`
       ╭─[--set:1:8]
     1 │ faults.7.every=1s
       ·        ┬
       ·        ╰── the list `faults` has 2 entries, and none is `7`
       ╰────
      help: count from 0 to 1, or give the `name` of an entry

      × cannot set `title.length=3`
       ╭─[--set:1:7]
     1 │ title.length=3
       ·       ───┬──
       ·          ╰── `title` is a value and has nothing within
       ╰────

      × cannot set `bugs=[K01`
       ╭─[--set:1:6]
     1 │ bugs=[K01
       ·      ──┬─
       ·        ╰── unclosed array, expected `]`
       ╰────
      help: the value is TOML; in a shell, put the whole override into single quotes

      × cannot set `include=[]`
       ╭─[--set:1:1]
     1 │ include=[]
       · ───┬───
       ·    ╰── files are included before values are set
       ╰────
      help: write a scenario file that includes both

    s.toml: 6 mistakes; nothing was run
    "#);
}

#[test]
fn an_override_that_sets_what_is_wrong() {
    let text = set_complaint("wrong_set", &["systems.broker.brokrs=5", "acts.stir=10x"]);
    insta::assert_snapshot!(text, @r#"
      × cannot read `acts.stir`
       ╭─[--set:1:11]
     1 │ acts.stir=10x
       ·           ─┬─
       ·            ╰── `10x` is not a span of time
       ╰────
      help: write a number and its unit, for instance "200us", "1.5s" or "3m"

      × unknown key `systems.broker.brokrs`
       ╭─[--set:1:16]
     1 │ systems.broker.brokrs=5
       ·                ───┬──
       ·                   ╰── nothing reads this key
       ╰────
      help: did you mean `brokers`?

    s.toml: 2 mistakes; nothing was run
    "#);
}

#[test]
fn values_of_the_wrong_type_are_told_with_what_stands_there() {
    for (set, cause, mend) in [
        (
            "systems.broker=3",
            "`3` is not a table",
            "a line [systems.broker], and below it for instance brokers = 3",
        ),
        ("acts=true", "`true` is not a table", "a line [acts], and below it for instance stir = \"1m\""),
        ("systems.broker.topics.0=clicks", "`clicks` is not a table", "write a table"),
        ("systems.broker.brokers=-1", "`-1` is not a whole number from 0 to 4294967295", "brokers = 3"),
        (
            "systems.broker.brokers=abc",
            "`abc` is not a whole number",
            "without quotes, for instance brokers = 3",
        ),
        ("systems.broker.brokers=3.5", "`3.5` is not a whole number", "brokers = 3"),
        ("workloads.clickstream.0.speed_up=fast", "`fast` is not a number", "speed_up = "),
        ("swarm=yes", "`yes` is not true or false", "swarm = true"),
        ("title=5", "`5` is not text", "title = \"…\""),
        ("bugs=K01", "`K01` is not a list", "bugs = [ … ]"),
        ("faults.0.do=3", "this names no kind of fault", "do = { crash = { … } }"),
        ("acts.stir=[1]", "a list is not a value with its unit", "stir = \"5ms\""),
    ] {
        let complaint = set_complaint("wrong_type", &[set]);
        // Long advice is broken into lines.
        let told = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(cause) && told.contains(mend), "{set}: {complaint}");
        assert!(!told.contains("struct") && !told.contains("u32"), "{set}: {complaint}");
    }
}

#[test]
fn an_empty_file() {
    let of = |text| load(&folder("empty", &[("s.toml", text)]), &[]).expect_err("nothing stands in it");
    let complaint = of("");
    assert_eq!(complaint, of("# a scenario will stand here\n"));
    insta::assert_snapshot!(complaint, @r#"
      × cannot run s.toml: nothing stands in it
      help: a scenario has at least a line title = "…" and a table [systems.coordination]; copy
            scenarios/clickstream.toml

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn an_override_that_breaks_the_topology() {
    let text = set_complaint("topology_set", &["systems.broker.brokers=2"]);
    insta::assert_snapshot!(text, @r#"
      × cannot use `systems.broker.topics.0.replicas`
        ╭─[s.toml:11:57]
     10 │ brokers = 3
     11 │ topics = [{ name = "clicks", partitions = 6, replicas = 3, min_in_sync = 2 }]
        ·                                                         ┬
        ·                                                         ╰── 3 replicas need 3 brokers, there are 2
     12 │ [[workloads.clickstream]]
        ╰────
      help: use at most 2 replicas, or more brokers

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn includes_that_never_end_or_do_not_exist() {
    let one = "include = [\"two.toml\", \"tree.toml\"]\ntitle = \"One\"";
    let files = [("s.toml", one), ("two.toml", "include = [\"s.toml\"]"), ("three.toml", "")];
    let complaint = load(&folder("circle", &files), &[]).expect_err("it is wrong");
    insta::assert_snapshot!(complaint, @r#"
      × cannot include s.toml
       ╭─[two.toml:1:12]
     1 │ include = ["s.toml"]
       ·            ────┬───
       ·                ╰── it would never end: s.toml includes two.toml includes s.toml
       ╰────
      help: move what both need into a third file

      × cannot include tree.toml
       ╭─[s.toml:1:24]
     1 │ include = ["two.toml", "tree.toml"]
       ·                        ─────┬─────
       ·                             ╰── cannot read tree.toml: there is no such file
     2 │ title = "One"
       ╰────
      help: did you mean `three.toml`?

    s.toml: 2 mistakes; nothing was run
    "#);
}

#[test]
fn a_mistake_in_an_included_file_is_told_there() {
    let files =
        [("s.toml", "include = [\"base.toml\"]\ntitle = \"One\""), ("base.toml", "acts.stir = \"1w\"")];
    let complaint = load(&folder("included", &files), &[]).expect_err("it is wrong");
    insta::assert_snapshot!(complaint, @r#"
      × cannot read `acts.stir`
       ╭─[base.toml:1:13]
     1 │ acts.stir = "1w"
       ·             ──┬─
       ·               ╰── `1w` is not a span of time
       ╰────
      help: write a number and its unit, for instance "200us", "1.5s" or "3m"

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn a_file_that_does_not_exist() {
    let folder = folder("absent", &[("t.toml", GOOD)]);
    insta::assert_snapshot!(load(&folder, &[]).expect_err("it is absent"), @r#"
      × cannot read s.toml: there is no such file
      help: did you mean `t.toml`?

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test writes the file of a user")]
fn a_plan_that_is_wrong_is_pointed_at_too() {
    let folder = folder("plan", &[("s.toml", GOOD)]);
    let scenario = load(&folder, &[]).expect("it is good");
    let path = folder.join("plan.toml");
    fs::write(&path, "[[faults]]\nat = \"1s\"\ndo = { crash = { hst = \"broker-1\", down = \"1s\" } }\n")
        .expect("the folder was just made");
    let complaint = load_plan(&path, &scenario).expect_err("it is wrong").render(false);
    assert!(complaint.contains("did you mean `host`?"), "{complaint}");
    assert!(complaint.contains("plan.toml:3:"), "{complaint}");
}

/// What is said of a plan of one fault for the good scenario.
fn plan_complaint(name: &str, fault: &str) -> Result<String, String> {
    let folder = folder(name, &[("s.toml", GOOD), ("plan.toml", &format!("[[faults]]\n{fault}\n"))]);
    let scenario = load(&folder, &[]).expect("it is good");
    match load_plan(&folder.join("plan.toml"), &scenario) {
        Ok((_, warnings)) => Ok(warnings.iter().map(|warning| warning.render(false)).collect()),
        Err(error) => Err(error.render(false).replace(&format!("{}/", folder.display()), "")),
    }
}

#[test]
fn a_plan_for_hosts_that_do_not_exist() {
    let fault = "at = \"1s\"\ndo = { crash = { host = \"broker-9\", down = \"1s\" } }";
    let complaint = plan_complaint("plan_host", fault).expect_err("it is wrong");
    let complaint = complaint.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(complaint, @r#"
      × cannot use `faults.0.do.crash.host`
       ╭─[plan.toml:3:25]
     2 │ at = "1s"
     3 │ do = { crash = { host = "broker-9", down = "1s" } }
       ·                         ─────┬────
       ·                              ╰── no host of this scenario is called `broker-9`
       ╰────
      help: did you mean `broker-*`? There are broker-* (3), clickstream-consumer-* (3), clickstream-
            producer-* (3), coordination-* (3)

    plan.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn a_plan_is_held_to_what_rules_are_held_to() {
    for (fault, told) in [
        (
            "at = \"1s\"\ndo = { rolling_restart = { hosts = [\"broker-1\", \"broker-7\"], down = \"1s\", gap = \"0s\", graceful = true } }",
            "`broker-7`",
        ),
        (
            "at = \"1s\"\ndo = { rolling_restart = { hosts = [], down = \"1s\", gap = \"0s\", graceful = true } }",
            "it names no host",
        ),
        ("at = \"1s\"\ndo = { zone_outage = { zone = \"d\", down = \"1s\" } }", "there is no zone `d`"),
        (
            "at = \"1s\"\ndo = { delay = { from = \"brker-*\", to = \"*\", by = \"1s\", length = \"1s\" } }",
            "did you mean `broker-*`?",
        ),
        (
            "at = \"1s\"\ndo = { partition = { from = [\"broker-1\"], to = [\"broker-1\"], one_way = false, length = \"1s\" } }",
            "nobody would be parted",
        ),
        (
            "at = \"1s\"\ndo = { hold_back = { message = \"Fetsh\", from = \"*\", to = \"*\", by = \"1s\", length = \"1s\" } }",
            "did you mean `Fetch`?",
        ),
        (
            "at = \"1s\"\ndo = { slow_cpu = { host = \"broker-1\", factor = 0.0, length = \"1s\" } }",
            "0 is not between 1 and 1e6",
        ),
        (
            "at = \"1s\"\nwhen_dirty = \"1s\"\ndo = { reset = { from = \"broker-1\", to = \"*\" } }",
            "this fault hits none",
        ),
        (
            "at = \"1s\"\ndo = { operate = { action = \"reassign_replicas\", subject = \"clicks\", choice = 1, patience = \"1s\" } }",
            "nobody to give orders to",
        ),
        ("at = \"1s\"\ndo = { pause = { host = \"@event\", length = \"1s\" } }", "`@event` needs `on`"),
        (
            "on = { event = \"pigs fly\" }\ndo = { pause = { host = \"@event\", length = \"1s\" } }",
            "no system has an event called",
        ),
        ("do = { pause = { host = \"broker-1\", length = \"1s\" } }", "exactly one of `at` and `on`"),
    ] {
        let complaint = plan_complaint("plan_rules", fault).expect_err(told);
        assert!(complaint.contains(told), "{told}: {complaint}");
        assert!(complaint.contains("[plan.toml:") && complaint.contains("help:"), "{told}: {complaint}");
    }
    let late = plan_complaint(
        "plan_rules",
        "at = \"60s\"\ndo = { pause = { host = \"broker-1\", length = \"1s\" } }",
    );
    assert!(late.is_ok_and(|warnings| warnings.contains("this never strikes: the stir ends after 1m")));
}

#[test]
fn the_schema_names_every_part() {
    let schema = serde_json::to_value(Scenario::schema()).expect("a schema is JSON");
    let properties = schema["properties"].as_object().expect("a scenario is an object");
    for key in [
        "title",
        "include",
        "acts",
        "zones",
        "clocks",
        "systems",
        "workloads",
        "faults",
        "swarm",
        "bugs",
        "expect",
    ] {
        assert!(properties.contains_key(key), "{key}");
        assert!(properties[key]["description"].is_string() || properties[key]["$ref"].is_string(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
    let text = schema.to_string();
    assert!(text.contains("power_loss") && text.contains("min_in_sync") && text.contains("speed_up"));
}
