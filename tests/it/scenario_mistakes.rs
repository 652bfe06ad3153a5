//! What is said of scenario files that are wrong: place, cause and mend.

use std::fs;

use crate::scenario_files::{GOOD, clicks, folder, load};

/// What is said of a scenario in which `from` has been replaced.
fn complaint(name: &str, from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} stands in the good scenario");
    load(&folder(name, &[("s.toml", &GOOD.replacen(from, to, 1))]), &[]).expect_err("it is wrong")
}

#[test]
fn syntax() {
    insta::assert_snapshot!(complaint("syntax", "servers = 3", "servers 3"), @r#"
      × s.toml is not TOML
       ╭─[s.toml:8:9]
     7 │ [systems.coordination]
     8 │ servers 3
       ·         ▲
       ·         ╰── key with no value, expected `=`
     9 │ [systems.broker]
       ╰────
      help: a line is `key = value`, `[table]` or `[[list of tables]]`; text stands in double quotes

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn an_unknown_key_and_a_wrong_unit_are_told_together() {
    let wrong = GOOD.replace("brokers = 3", "brokrs = 3").replace("10s..30s", "10sec");
    let complaint = load(&folder("several", &[("s.toml", &wrong)]), &[]).expect_err("it is wrong");
    insta::assert_snapshot!(complaint, @r#"
      × unknown key `systems.broker.brokrs`
        ╭─[s.toml:10:1]
      9 │ [systems.broker]
     10 │ brokrs = 3
        · ───┬──
        ·    ╰── nothing reads this key
     11 │ topics = [{ name = "clicks", partitions = 6, replicas = 3, min_in_sync = 2 }]
        ╰────
      help: did you mean `brokers`?

      × cannot read `faults.0.every`
        ╭─[s.toml:15:9]
     14 │ [[faults]]
     15 │ every = "10sec"
        ·         ───┬───
        ·            ╰── `10sec` is not a span of time
     16 │ do = { crash = { any_of = "broker-*", down = "2s..8s" } }
        ╰────
      help: write a number and its unit, for instance "200us", "1.5s" or "3m"

    s.toml: 2 mistakes; nothing was run
    "#);
}

#[test]
fn a_missing_title() {
    insta::assert_snapshot!(complaint("title", "title = \"Clicks survive\"\n", ""), @r#"
      × cannot use this file
       ╭─[s.toml:1:1]
     1 │
       · ▲
       · ╰── `title` is missing
     2 │ [zones]
     3 │ names = ["a", "b", "c"]
       ╰────
      help: add `title` to the file

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn a_number_without_its_unit() {
    insta::assert_snapshot!(complaint("unit", "down = \"2s..8s\"", "down = 5"), @r#"
      × cannot read `faults.0.do.crash.down`
        ╭─[s.toml:16:46]
     15 │ every = "10s..30s"
     16 │ do = { crash = { any_of = "broker-*", down = 5 } }
        ·                                              ┬
        ·                                              ╰── `5` is not a span of time
     17 │ [[faults]]
        ╰────
      help: write a number and its unit, for instance "200us", "1.5s" or "3m"

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn an_unknown_kind_of_fault() {
    insta::assert_snapshot!(complaint("kind", "{ crash =", "{ crsh ="), @r#"
      × cannot read `faults.0.do.crsh`
        ╭─[s.toml:16:8]
     15 │ every = "10s..30s"
     16 │ do = { crsh = { any_of = "broker-*", down = "2s..8s" } }
        ·        ──┬─
        ·          ╰── `crsh` is not known here
     17 │ [[faults]]
        ╰────
      help: did you mean `crash`?

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn an_impossible_topology() {
    let wrong = GOOD.replace("servers = 3", "servers = 4").replace("[\"a\", \"b\", \"c\"]", "[]");
    let complaint = load(&folder("topology", &[("s.toml", &wrong)]), &[]).expect_err("it is wrong");
    insta::assert_snapshot!(complaint, @r#"
      × cannot use `zones.names`
       ╭─[s.toml:4:9]
     3 │ [zones]
     4 │ names = []
       ·         ─┬
       ·          ╰── hosts need a zone to stand in
     5 │ within = { latency = "200us..600us" }
       ╰────
      help: name at least one: names = ["a", "b", "c"]

      × cannot use `systems.coordination.servers`
       ╭─[s.toml:8:11]
     7 │ [systems.coordination]
     8 │ servers = 4
       ·           ┬
       ·           ╰── 4 servers cannot form a quorum system worth having
     9 │ [systems.broker]
       ╰────
      help: use 1, 3, 5, 7 or 9

    s.toml: 2 mistakes; nothing was run
    "#);
}

#[test]
fn more_replicas_than_brokers() {
    insta::assert_snapshot!(complaint("replicas", "replicas = 3", "replicas = 5"), @r#"
      × cannot use `systems.broker.topics.0.replicas`
        ╭─[s.toml:11:57]
     10 │ brokers = 3
     11 │ topics = [{ name = "clicks", partitions = 6, replicas = 5, min_in_sync = 2 }]
        ·                                                         ┬
        ·                                                         ╰── 5 replicas need 5 brokers, there are 3
     12 │ [[workloads.clickstream]]
        ╰────
      help: use at most 3 replicas, or more brokers

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn a_missing_data_file() {
    insta::assert_snapshot!(complaint("data", "clicks.parquet", "cliks.parquet"), @r#"
      × cannot use `workloads.clickstream.0.source`
        ╭─[s.toml:13:10]
     12 │ [[workloads.clickstream]]
     13 │ source = "cliks.parquet"
        ·          ───────┬───────
        ·                 ╰── cannot read cliks.parquet: there is no such file
     14 │ [[faults]]
        ╰────
      help: did you mean `clicks.parquet`?

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test writes the file of a user")]
fn a_data_file_without_the_columns() {
    let folder = folder("columns", &[("s.toml", GOOD)]);
    fs::write(folder.join("clicks.parquet"), clicks(6)).expect("the folder was just made");
    let complaint = load(&folder, &[]).expect_err("it is wrong");
    assert!(complaint.contains("has no column user_feature_2, user_feature_3"), "{complaint}");
    fs::write(folder.join("clicks.parquet"), "timestamp,click").expect("the folder was just made");
    let complaint = load(&folder, &[]).expect_err("it is wrong");
    assert!(complaint.contains("clicks.parquet is not a Parquet file"), "{complaint}");
}

#[test]
fn a_fault_on_a_host_that_does_not_exist() {
    insta::assert_snapshot!(complaint("host", "broker-*", "borker-*"), @r#"
      × cannot use `faults.0.do.crash.any_of`
        ╭─[s.toml:16:27]
     15 │ every = "10s..30s"
     16 │ do = { crash = { any_of = "borker-*", down = "2s..8s" } }
        ·                           ─────┬────
        ·                                ╰── no host of this scenario is called `borker-*`
     17 │ [[faults]]
        ╰────
      help: did you mean `broker-*`? There are broker-* (3), clickstream-consumer-* (3), clickstream-
            producer-* (3), coordination-* (3)

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn a_fault_on_a_broker_beyond_the_last() {
    let complaint = complaint("host_beyond", "broker-*", "broker-7");
    assert!(complaint.contains("no host of this scenario is called `broker-7`"), "{complaint}");
    assert!(complaint.contains("broker-* (3)"), "{complaint}");
}

#[test]
fn a_zone_that_does_not_exist() {
    insta::assert_snapshot!(complaint("zone", "zone = \"any\"", "zone = \"d\""), @r#"
      × cannot use `faults.1.do.partition.zone`
        ╭─[s.toml:19:29]
     18 │ every = "20s..60s"
     19 │ do = { partition = { zone = "d", heal_after = "5s..15s" } }
        ·                             ─┬─
        ·                              ╰── there is no zone `d`
        ╰────
      help: known here: `a`, `b`, `c`, `any`

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn a_topic_that_does_not_exist() {
    let wrong = "source = \"clicks.parquet\"\ntopic = \"click\"";
    insta::assert_snapshot!(complaint("topic", "source = \"clicks.parquet\"", wrong), @r#"
      × cannot use `workloads.clickstream.0.topic`
        ╭─[s.toml:14:9]
     13 │ source = "clicks.parquet"
     14 │ topic = "click"
        ·         ───┬───
        ·            ╰── there is no topic `click` under systems.broker.topics
     15 │ [[faults]]
        ╰────
      help: did you mean `clicks`?

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn names_of_bugs_events_and_workloads() {
    let wrong = GOOD
        .replace("[zones]", "bugs = [\"Z99\", \"K01\"]\nexpect.reaches = [\"pigs fly\"]\n[zones]")
        + "[[workloads.registers]]\nname = \"clickstream\"\n";
    let complaint = load(&folder("names", &[("s.toml", &wrong)]), &[]).expect_err("it is wrong");
    for told in [
        "`Z99` is not a known bug",
        "no system has an event called \"pigs fly\"",
        "two workloads are called `clickstream`",
        "3 mistakes; nothing was run",
    ] {
        assert!(complaint.contains(told), "{told}: {complaint}");
    }
}

#[test]
fn a_broker_needs_coordination() {
    insta::assert_snapshot!(complaint("alone", "[systems.coordination]\nservers = 3\n", ""), @r#"
      × cannot use `systems.broker`
       ╭─[s.toml:7:1]
     6 │ between = { latency = "1ms..3ms", bandwidth = "1GiB/s" }
     7 │ [systems.broker]
       · ────────┬───────
       ·         ╰── brokers need coordination, and there is none
     8 │ brokers = 3
       ╰────
      help: add a table [systems.coordination]; it may be empty

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn partitions_that_would_part_nobody() {
    let one_zone = complaint("one_zone", "[\"a\", \"b\", \"c\"]", "[\"a\"]");
    assert!(one_zone.contains("there is no other zone to part it from"), "{one_zone}");
    let alone = complaint("part_alone", "zone = \"any\"", "among = \"broker-2\"");
    assert!(alone.contains("it needs 2 hosts, and 1 would take part"), "{alone}");
}

/// A rule in place of the good scenario's crashes.
fn rule_complaint(name: &str, rule: &str) -> String {
    let crash = "every = \"10s..30s\"\ndo = { crash = { any_of = \"broker-*\", down = \"2s..8s\" } }";
    complaint(name, crash, rule)
}

#[test]
fn a_message_that_no_system_sends() {
    let rule = "every = \"9s\"\ndo = { hold_back = { message = \"Propsal\", by = \"1s\", length = \"1s\" } }";
    insta::assert_snapshot!(rule_complaint("message", rule), @r#"
      × cannot use `faults.0.do.hold_back.message`
        ╭─[s.toml:16:32]
     15 │ every = "9s"
     16 │ do = { hold_back = { message = "Propsal", by = "1s", length = "1s" } }
        ·                                ────┬────
        ·                                    ╰── no system sends a message called `Propsal`
     17 │ [[faults]]
        ╰────
      help: did you mean `Proposal`?

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn a_rule_says_once_when_it_strikes() {
    let rule = "every = \"9s\"\nat = \"1s\"\ndo = { crash = { any_of = \"broker-*\", down = \"1s\" } }";
    insta::assert_snapshot!(rule_complaint("when", rule), @r#"
      × cannot use `faults.0`
        ╭─[s.toml:14:1]
     13 │ source = "clicks.parquet"
     14 │ [[faults]]
        · ─────┬────
        ·      ╰── a fault needs exactly one of `every`, `at`, `on` and `background`
     15 │ every = "9s"
        ╰────
      help: for instance every = "10s..30s"

    s.toml: 1 mistake; nothing was run
    "#);
}

#[test]
fn rules_that_would_do_nothing_are_refused() {
    for (rule, told) in [
        (
            "every = \"9s\"\ndo = { hold_back = { message = \"Nonsense\", by = \"1s\", length = \"1s\" } }",
            "`Nonsense`",
        ),
        (
            "on = { event = \"a follower truncated its log\", times = 0 }\ndo = { pause = { any_of = \"@event\", length = \"1s\" } }",
            "strikes 0 times",
        ),
        (
            "every = \"9s\"\ndo = { crash_loop = { any_of = \"broker-*\", times = 0, up = \"1s\", down = \"1s\" } }",
            "strikes 0 times",
        ),
        (
            "every = \"9s\"\ndo = { partition = { zone = \"any\", shape = \"bridge\", heal_after = \"1s\" } }",
            "`zone` says already how to cut",
        ),
        (
            "every = \"9s\"\nwhen_dirty = \"1s\"\ndo = { partition = { heal_after = \"1s\" } }",
            "this fault hits none",
        ),
        (
            "every = \"9s\"\nwhen_dirty = \"1s\"\ndo = { isolate = { any_of = \"broker-*\", heal_after = \"1s\" } }",
            "this fault hits none",
        ),
        (
            "every = \"9s\"\ndo = { operate = { action = \"reasign_replicas\", subject = \"clicks\" } }",
            "did you mean `reassign_replicas`?",
        ),
        (
            "every = \"9s\"\ndo = { operate = { action = \"reassign_replicas\", subject = \"clcks\" } }",
            "did you mean `clicks`?",
        ),
        (
            "every = \"9s\"\ndo = { operate = { action = \"recreate_topic\", subject = \"clicks\" } }",
            "say recreated = true in that workload",
        ),
        (
            "every = \"9s\"\ndo = { operate = { action = \"reassign_replicas\", subject = \"clicks\", patience = \"1h\" } }",
            "stay below acts.settle",
        ),
        (
            "every = \"9s\"\nwhen_dirty = \"1s\"\ndo = { operate = { action = \"reassign_replicas\", subject = \"clicks\" } }",
            "this fault hits none",
        ),
        (
            "on = { event = \"the high watermark stays within the log\" }\ndo = { pause = { any_of = \"@event\", length = \"1s\" } }",
            "no system has an event called",
        ),
        (
            "do = { pause = { any_of = \"broker-*\", length = \"1s\" } }",
            "exactly one of `every`, `at`, `on` and `background`",
        ),
    ] {
        let complaint = rule_complaint("idle", rule);
        assert!(complaint.contains(told), "{told}: {complaint}");
        assert!(complaint.contains("help:"), "{told}: {complaint}");
    }
    let wrong = GOOD.replace("\"c\"]", "\"c\", \"d\"]").replace("zone = \"any\"", "zone = \"d\"");
    let complaint = load(&folder("empty_zone", &[("s.toml", &wrong)]), &[]).expect_err("it is wrong");
    assert!(complaint.contains("no server stands in zone `d`"), "{complaint}");
}

#[test]
fn garbage_goes_to_a_topic_of_its_own_and_batches_fit_their_brokers() {
    let garbage = "[[workloads.garbage]]\ntopic = \"clicks\"\n[[faults]]";
    let used = complaint("dump_used", "[[faults]]", garbage);
    assert!(used.contains("nothing may stand where garbage goes"), "{used}");
    let missing = complaint("dump_missing", "[[faults]]", "[[workloads.garbage]]\n[[faults]]");
    assert!(missing.contains("there is no topic `garbage`"), "{missing}");
    let large = complaint("batch_large", "source =", "batch = \"2MiB\"\nsource =");
    assert!(large.contains("brokers refuse batches of more than 1MiB"), "{large}");
}

#[test]
fn parts_of_one_mistake_do_not_hide_others() {
    let wrong = GOOD
        .replace("servers = 3", "servres = 3")
        .replace("names = [", "nams = [")
        .replace("heal_after", "heal_afer")
        .replace("source =", "sauce =")
        .replace("title =", "titel =");
    let complaint = load(&folder("many", &[("s.toml", &wrong)]), &[]).expect_err("it is wrong");
    for name in ["servers", "names", "heal_after", "source", "title"] {
        assert!(complaint.contains(&format!("did you mean `{name}`?")), "{name}: {complaint}");
    }
}

#[test]
fn a_planned_fault_on_a_host_that_does_not_exist_and_one_without_a_time() {
    let plan = "[[plan.faults]]\nat = \"1s\"\ndo = { crash = { host = \"brokr-1\", down = \"1s\" } }\n\n\
                [[plan.faults]]\ndo = { pause = { host = \"broker-1\", length = \"1s\" } }\n";
    let wrong = format!("{GOOD}\n{plan}");
    let complaint = load(&folder("planned", &[("s.toml", &wrong)]), &[]).expect_err("it is wrong");
    insta::assert_snapshot!(complaint, @r#"
      × cannot use `plan.faults.0.do.crash.host`
        ╭─[s.toml:23:25]
     22 │ at = "1s"
     23 │ do = { crash = { host = "brokr-1", down = "1s" } }
        ·                         ────┬────
        ·                             ╰── no host of this scenario is called `brokr-1`
     24 │
        ╰────
      help: did you mean `broker-*`? There are broker-* (3), clickstream-consumer-* (3), clickstream-
            producer-* (3), coordination-* (3)

      × cannot use `plan.faults.1`
        ╭─[s.toml:25:1]
     24 │
     25 │ [[plan.faults]]
        · ───────┬───────
        ·        ╰── a planned fault needs exactly one of `at` and `on`
     26 │ do = { pause = { host = "broker-1", length = "1s" } }
        ╰────
      help: for instance at = "12.5s"

    s.toml: 2 mistakes; nothing was run
    "#);
}
