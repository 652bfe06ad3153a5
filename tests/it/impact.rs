//! `wavetank impact`: what a better model would bring and cost.

use crate::command_line::{json, wavetank};
use crate::scenario_files::{GOOD, folder};

const PROJECT: &str = r#"
title = "Is a better ranking worth building?"
[gap]
present = { successes = 5_000, visits = 100_000 }
perfect = { successes = 10_000, visits = 100_000 }
[reward]
success = 2
per_day = 10_000
days = 100
[cost]
unit = "EUR"
fixed = 2_000
points = [{ share = "10%", costs = 5_000 }, { share = "20%", costs = 45_000 }]
"#;

#[test]
fn a_project_is_told_with_its_steps_its_stop_and_its_risks() {
    let folder = folder("impact_told", &[("p.toml", PROJECT)]);
    let ended = wavetank(&folder, &["impact", "p.toml"]);
    assert_eq!((ended.code, &*ended.err), (0, ""));
    insta::assert_snapshot!(ended.out, @r#"
    WORTH IT: close 10% of the gap, for EUR 3,000 [2,541, 3,460] after costs
    Is a better ranking worth building?

    present  5% [4.87%, 5.14%]: 5,000 of 100,000
    perfect  10% [9.82%, 10.2%]: 10,000 of 100,000
    gap      5 points [4.77, 5.23], worth EUR 100,000 [95,408, 104,601]

      of it  brings                      costs  is left                      last part returns  days to show it
      1%     EUR 1,000 [954, 1,046]      2,500  EUR -1,500 [-1,546, -1,454]  0.4 for 1          599
      2%     EUR 2,000 [1,908, 2,092]    3,000  EUR -1,000 [-1,092, -908]    2 for 1            151
      5%     EUR 5,000 [4,770, 5,230]    4,500  EUR 500 [270, 730]           2 for 1            24.4
      10%    EUR 10,000 [9,541, 10,460]  7,000  EUR 3,000 [2,541, 3,460]     2 for 1            6.25

    stop     at 10% [10%, 10%]: beyond, the next bit costs more than it brings
    risks
      it bears no overrun: if all costs half as much again, EUR -500 is left; the best stop is then at 0%
      it is paid back late: after 70 of 100 days
      the first steps lose: nothing is left before 4.01% of the gap is closed

    repeat   wavetank impact p.toml
    "#);
    let found = json(&wavetank(&folder, &["impact", "p.toml", "--set", "cost.unit=USD", "--format", "json"]));
    assert_eq!(found["unit"], "USD");
    assert_eq!(found["command"], "wavetank impact p.toml --set cost.unit=USD");
    assert_eq!(found["rows"][3]["costs"], 7_000.0);
    assert_eq!(found["risks"][0]["risk"], "no-overrun");
}

#[test]
fn the_shipped_project_rests_on_a_log_and_says_how_little_that_tells() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let ended = wavetank(root, &["impact", "scenarios/impact/garments.toml"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.starts_with("NOT SURE: close "), "{}", ended.out);
    assert!(ended.out.contains("nobody has shown that there is a gap"), "{}", ended.out);
    assert!(ended.out.contains("of 10 arms may owe its lead to luck"), "{}", ended.out);
}

#[test]
fn what_cannot_be_estimated_is_refused_where_it_is_wrong() {
    let present = "present = { successes = 5_000, visits = 100_000 }";
    for (name, wrong, told, place) in [
        ("none", PROJECT.replace(present, ""), "between a present model and a perfect one", "`gap`"),
        (
            "share",
            PROJECT.replace("successes = 5_000", "successes = 200_000"),
            "200000 of 100000 is no share",
            "`gap.present`",
        ),
        ("days", PROJECT.replace("days = 100", "days = 0"), "0 is no number above 0", "`reward.days`"),
        (
            "falls",
            PROJECT.replace("costs = 45_000", "costs = 4_000"),
            "4000 is less than what less costs: 5000",
            "`cost.points.1.costs`",
        ),
        (
            "order",
            PROJECT.replace("\"20%\"", "\"5%\""),
            "5% does not come after 10%",
            "`cost.points.1.share`",
        ),
        ("key", PROJECT.replace("per_day", "perday"), "did you mean `per_day`?", "`reward.perday`"),
        (
            "log",
            PROJECT.replace(present, "log = { source = \"none.parquet\", campaign = \"all\" }"),
            "or `log` alone",
            "`gap`",
        ),
    ] {
        let folder = folder(&format!("impact_{name}"), &[("p.toml", &wrong)]);
        let ended = wavetank(&folder, &["impact", "p.toml"]);
        assert_eq!((ended.code, &*ended.out), (2, ""), "{name}");
        let all = [told, place, "p.toml:"];
        assert!(all.iter().all(|part| ended.err.contains(part)), "{name}: {}", ended.err);
    }
    let folder = folder("impact_run", &[("p.toml", PROJECT), ("s.toml", GOOD)]);
    for (arguments, mend) in [
        (["run", "p.toml"], "wavetank impact p.toml"),
        (["compare", "p.toml"], "wavetank impact p.toml"),
        (["impact", "s.toml"], "wavetank run s.toml"),
    ] {
        let ended = wavetank(&folder, &arguments);
        assert!(ended.code == 2 && ended.err.contains(mend), "{arguments:?}: {}", ended.err);
    }
}
