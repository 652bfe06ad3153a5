//! Plans of faults, carried out in a tank.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use wavetank::base::{Seed, SimTime};
use wavetank::world::fault::{Budget, FaultPlan, FaultRule, Injector, Place, conduct};
use wavetank::world::trace::What;
use wavetank::world::{Host, Tank};

use crate::world_time::{in_tank, spec};

#[derive(serde::Deserialize)]
struct Rules {
    faults: Vec<FaultRule>,
}

fn plan(rules: &str, places: &[Place], seed: u64) -> FaultPlan {
    let rules: Rules = toml::from_str(rules).expect("the test's rules are well formed");
    assert!(rules.faults.iter().all(|rule| rule.validate().is_empty()));
    FaultPlan::draw(&rules.faults, places, Duration::from_secs(30), Seed::new(seed), false).0
}

fn places() -> Vec<Place> {
    let place = |host: &str, zone: &str| Place { host: host.into(), zone: zone.into(), server: true };
    vec![place("s-1", "a"), place("s-2", "b"), place("s-3", "a")]
}

type Starts = Rc<RefCell<Vec<(String, SimTime)>>>;

/// Three servers that note each start, become ready, and name an event twice a second.
fn servers(tank: &Tank) -> (Starts, Injector) {
    let starts = Starts::default();
    let mut hosts = Vec::new();
    for (name, zone) in [("s-1", "a"), ("s-2", "b"), ("s-3", "a")] {
        let seen = starts.clone();
        hosts.push(tank.add_host(spec(name, zone), move |host: Host| {
            let seen = seen.clone();
            async move {
                seen.borrow_mut().push((host.name().to_owned(), host.now()));
                host.report_ready(true);
                let file = host.disk().open("/data", wavetank::world::disk::Open::Create).await;
                loop {
                    if let Ok(file) = &file {
                        let _ = file.append(b"unsynced").await;
                    }
                    host.sleep(Duration::from_millis(500)).await;
                    if host.name() == "s-2" {
                        wavetank::reached!("a test server beat");
                    }
                }
            }
        }));
    }
    let budget = Budget { system: "test", hosts, unsynced_loss_max: 1, disk_loss_max: 1, core_min: 2 };
    (starts, Injector::new(tank.clone(), vec![budget], false))
}

fn starts_after(rules: &'static str, seed: u64) -> (Vec<(String, SimTime)>, Vec<String>) {
    let (result, outcome) = in_tank(seed, move |tank| async move {
        let (starts, injector) = servers(&tank);
        tank.sleep(Duration::from_secs(1)).await;
        conduct(&plan(rules, &places(), seed), places(), &injector);
        tank.sleep(Duration::from_secs(30)).await;
        injector.heal();
        tank.sleep(Duration::from_secs(1)).await;
        starts.borrow().clone()
    });
    let faults = outcome.records.into_iter().filter(|record| record.what == What::Fault);
    let faults = faults.map(|record| record.text).collect();
    (result.expect("the servers do nothing wrong"), faults)
}

#[test]
fn a_crash_at_a_time_takes_the_host_down_for_as_long_as_planned() {
    let (starts, _) =
        starts_after(r#"faults = [{ at = "2s", do = { crash = { any_of = "s-2", down = "3s" } } }]"#, 1);
    let of_two: Vec<_> = starts.iter().filter(|(name, _)| name == "s-2").collect();
    assert_eq!(of_two.len(), 2, "{starts:?}");
    assert_eq!(of_two[1].1, SimTime::ZERO + Duration::from_secs(6));
}

#[test]
fn a_fault_that_waits_for_an_event_hits_the_host_of_the_event() {
    let (starts, _) = starts_after(
        r#"faults = [{ on = { event = "a test server beat", nth = 3 }, do = { power_loss = { any_of = "@event", down = "1s" } } }]"#,
        1,
    );
    let of_two: Vec<_> = starts.iter().filter(|(name, _)| name == "s-2").collect();
    assert_eq!(of_two.len(), 2, "{starts:?}");
    // Three beats after the stir began at 1 s, and a second down; disk and start-up cost well under a beat.
    let at = of_two[1].1.since(SimTime::ZERO).as_secs_f64();
    assert!((3.0..3.6).contains(&at), "{at}");
}

#[test]
fn a_zone_outage_beyond_the_budget_is_downgraded_and_told() {
    let (starts, faults) =
        starts_after(r#"faults = [{ at = "1s", do = { zone_outage = { zone = "a", down = "2s" } } }]"#, 1);
    assert_eq!(starts.len(), 5, "both hosts of zone a start again: {starts:?}");
    let told: Vec<_> = faults.iter().filter(|line| line.contains("beyond the budget")).collect();
    assert_eq!(told.len(), 1, "one may lose unsynced data, the other only its process: {faults:?}");
}

#[test]
fn the_heal_ends_what_would_last_for_ever() {
    let (starts, _) =
        starts_after(r#"faults = [{ at = "1s", do = { crash = { all_of = "s-*", down = "1h" } } }]"#, 1);
    let back: BTreeSet<_> =
        starts.iter().filter(|(_, at)| SimTime::ZERO + Duration::from_secs(31) <= *at).collect();
    assert_eq!(back.len(), 3, "{starts:?}");
}

#[test]
fn a_plan_that_was_saved_gives_the_same_run_as_the_rules_it_was_drawn_from() {
    const RULES: &str = r#"faults = [
        { every = "2s..5s", do = { crash = { any_of = "*", down = "100ms..2s" } } },
        { every = "3s", do = { partition = { heal_after = "1s..2s" } }, when_dirty = "1s" },
        { background = { rate = "0.2/s" }, do = { pause = { any_of = "*", length = "10ms..1s" } } },
        { every = "4s", do = { disk_error = { any_of = "s-1", operation = "fsync", length = "1s" } } },
        { every = "4s", do = { hold_back = { message = "Fetch", by = "1s", length = "2s" } } },
    ]"#;
    let run = |saved: bool| {
        in_tank(9, move |tank| async move {
            let (_, injector) = servers(&tank);
            tank.sleep(Duration::from_secs(1)).await;
            let mut plan = plan(RULES, &places(), 9);
            if saved {
                plan = toml::from_str(&plan.to_toml()).expect("it was just written");
            }
            conduct(&plan, places(), &injector);
            tank.sleep(Duration::from_secs(30)).await;
            injector.heal();
        })
        .1
        .digest
    };
    assert_eq!(run(false), run(true));
}
