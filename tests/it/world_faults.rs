//! Plans of faults, carried out in a tank.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use wavetank::base::{HostId, Seed, SimTime};
use wavetank::world::fault::operator::OPERATOR;
use wavetank::world::fault::{
    Action, Budget, FaultCount, FaultPlan, FaultRule, Hurt, Injector, Operator, Order, Place, conduct,
};
use wavetank::world::trace::What;
use wavetank::world::{Address, ConnectError, Host, Sender, Tank};

use crate::world_time::{in_tank, spec, until};

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
                seen.borrow_mut().push((host.name().to_owned(), host.true_time()));
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
    let budget = Budget { system: "test", hosts, unsynced_loss_max: 1, disk_loss_max: 1, damage_max: 1 };
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
fn a_full_restart_stops_all_hosts_and_starts_them_together() {
    // These servers do not hear that they are asked to stop, so that they are killed after ten seconds.
    let (starts, faults) = starts_after(
        r#"faults = [{ at = "2s", do = { full_restart = { all_of = "s-*", down = "4s" } } }]"#,
        1,
    );
    let again: Vec<_> = starts[3..].iter().map(|(_, at)| at.since(SimTime::ZERO).as_secs()).collect();
    assert_eq!(again, [17, 17, 17], "{starts:?}");
    let counted = |what: &str| faults.iter().filter(|fault| fault.contains(what)).count();
    assert_eq!((counted("is asked to shut down"), counted("crash of s-")), (3, 3), "{faults:?}");
}

#[test]
fn a_process_that_stops_long_after_the_heal_as_it_was_asked_to_before_comes_back() {
    let (starts, _) = in_tank(1, |tank| async move {
        let starts: Rc<RefCell<Vec<u64>>> = Rc::default();
        let seen = starts.clone();
        // Slower than the grace of ten seconds.
        let host = tank.add_host(spec("s-1", "a"), move |host: Host| {
            let seen = seen.clone();
            async move {
                seen.borrow_mut().push(host.true_time().as_millis());
                host.shutdown_requested().await;
                host.sleep(Duration::from_secs(12)).await;
                host.exit("as it was asked to");
            }
        });
        let injector = Injector::new(tank.clone(), Vec::new(), false);
        tank.sleep(Duration::from_secs(1)).await;
        injector.full_restart(vec![host], Duration::from_secs(1));
        tank.sleep(Duration::from_secs(5)).await;
        injector.heal();
        tank.sleep(Duration::from_secs(30)).await;
        starts.take()
    });
    // It has stopped 13 seconds after the beginning; its supervisor takes half a second.
    assert_eq!(starts.expect("nothing is violated"), [0, 13_500]);
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
fn a_fault_that_finds_no_host_is_counted_as_without_effect() {
    let (counts, _) = in_tank(1, |tank| async move {
        let (_, injector) = servers(&tank);
        let rules = r#"faults = [
            { on = { event = "a test of nobody's" }, do = { crash = { any_of = "@event", down = "1s" } } },
            { on = { event = "a test of nobody's" }, do = { isolate = { any_of = "@event", heal_after = "1s" } } },
        ]"#;
        conduct(&plan(rules, &places(), 1), places(), &injector);
        wavetank::reached!("a test of nobody's");
        tank.sleep(Duration::from_secs(1)).await;
        injector.counts()
    });
    let counts = counts.expect("the servers do nothing wrong");
    for kind in ["crash", "partition"] {
        assert_eq!(counts[kind], FaultCount { skipped: 1, ..FaultCount::default() }, "{counts:?}");
    }
}

#[test]
fn an_order_is_begun_anew_after_its_operator_failed_and_carried_out_after_the_heal() {
    let (seen, outcome) = in_tank(1, |tank| async move {
        let seen: Rc<RefCell<Vec<(String, u64)>>> = Rc::default();
        let log = seen.clone();
        let deed = Rc::new(move |host: Host, order: Order| {
            let log = log.clone();
            let deed: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(async move {
                log.borrow_mut().push((format!("begins to {order}"), host.true_time().as_millis()));
                host.sleep(Duration::from_secs(2)).await;
                log.borrow_mut().push((format!("has done {order}"), host.true_time().as_millis()));
                if order.subject == "b" { Err("nobody likes b".to_owned()) } else { Ok(()) }
            });
            deed
        });
        let operator = Operator::employ(&tank, vec![Action { name: "paint", deed }]);
        let injector = Injector::with_operator(tank.clone(), Vec::new(), false, Some(operator.clone()));
        let rules = r#"faults = [
            { at = "1s", do = { operate = { action = "paint", subject = "a" } } },
            { at = "1s", do = { operate = { action = "paint", subject = "b" } } },
            { at = "1s", do = { operate = { action = "fly", subject = "c" } } },
            { at = "2s", do = { crash = { any_of = "operator-1", down = "1s" } } },
        ]"#;
        let places = vec![Place { host: OPERATOR.into(), zone: "a".into(), server: false }];
        conduct(&plan(rules, &places, 1), places, &injector);
        tank.sleep(Duration::from_secs(4)).await;
        injector.heal();
        assert_eq!(operator.open().len(), 2, "the heal ends no order");
        tank.sleep(Duration::from_secs(5)).await;
        assert_eq!(operator.open(), []);
        (seen.take(), injector.counts(), injector.fates())
    });
    let (seen, counts, fates) = seen.expect("nothing is violated");
    let expected = [
        ("begins to paint a", 1000),
        ("begins to paint a", 3000),
        ("has done paint a", 5000),
        ("begins to paint b", 5000),
        ("has done paint b", 7000),
    ];
    assert_eq!(seen, expected.map(|(text, at)| (text.to_owned(), at)));
    assert_eq!(counts["paint"], FaultCount { injected: 2, ..FaultCount::default() }, "by its own name");
    assert_eq!(counts["operate"], FaultCount { skipped: 1, ..FaultCount::default() }, "nobody can fly");
    assert_eq!(fates.iter().filter(|fate| fate.fired()).count(), 3, "{fates:?}");
    for event in ["an operator carried an order out", "an operator gave an order up"] {
        let tally = outcome.properties.iter().find(|tally| tally.name == event);
        assert!(tally.is_some_and(|tally| tally.hit == 1), "{event}");
    }
}

#[test]
fn a_planned_fault_strikes_as_often_as_it_says() {
    let (starts, _) = in_tank(1, |tank| async move {
        let (starts, injector) = servers(&tank);
        let plan = r#"faults = [{
            on = { event = "a test server beat", nth = 2, times = 3 },
            do = { crash = { host = "s-1", down = "100ms" } },
        }]"#;
        let plan: FaultPlan = toml::from_str(plan).expect("it is well formed");
        conduct(&plan, places(), &injector);
        tank.sleep(Duration::from_secs(10)).await;
        starts.borrow().iter().filter(|(name, _)| name == "s-1").count()
    });
    assert_eq!(starts, Ok(4), "the first start, and one after each crash");
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
        { every = "2s..5s", do = { crash = { any_of = "*", down = "100ms..2s" } }, when_dirty = "1s" },
        { every = "3s", do = { partition = { heal_after = "1s..2s" } } },
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

/// What a client and a server saw, in milliseconds, while links were slow from 2 s on until the fault's end or the heal at 3 s:
/// when each of the numbers sent every 100 ms arrived, when a connect begun at 2.5 s was answered, and when the crash of a host at
/// 2.5 s, which had just sent something, was noticed.
#[derive(Debug, Default)]
struct Slowed {
    arrivals: Vec<(u64, u64)>,
    connected: Option<u64>,
    crash_noticed: Option<u64>,
}

/// Sends 0, 1, 2, … at each tenth of a second.
async fn send_numbers(host: &Host, sender: Sender) {
    for number in 0..40u64 {
        until(host, 100 * number).await;
        let text = Bytes::from(number.to_string());
        sender.send("Number", text).await.expect("the connection lasts as long as its ends");
    }
    std::future::pending().await
}

/// What a server was told, and when, in milliseconds.
type Told = Rc<RefCell<Vec<(u64, Bytes)>>>;

/// A server that echoes what it is told.
fn echoing(tank: &Tank) -> (HostId, Told) {
    let told = Told::default();
    let log = told.clone();
    let server = tank.add_host(spec("s-1", "a"), move |host: Host| {
        let log = log.clone();
        async move {
            let mut listener = host.listen(7).await.expect("the port is free");
            loop {
                let mut connection = listener.accept().await;
                let (host2, log) = (host.clone(), log.clone());
                host.spawn("echo", async move {
                    while let Ok(bytes) = connection.receiver.recv().await {
                        log.borrow_mut().push((host2.true_time().as_millis(), bytes.clone()));
                        if connection.sender.send("Echo", bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    (server, told)
}

fn slowed_by(what: &'static str, length: &'static str) -> Slowed {
    let rules = format!(r#"faults = [{{ at = "1s", do = {{ {what}, length = "{length}" }} }} }}]"#);
    let (seen, _) = in_tank(5, move |tank| async move {
        let seen = Rc::new(RefCell::new(Slowed::default()));
        let (server, told) = echoing(&tank);
        let victim = tank.add_host(spec("s-3", "a"), |host: Host| async move {
            let mut listener = host.listen(7).await.expect("the port is free");
            send_numbers(&host, listener.accept().await.sender).await;
        });
        let log = seen.clone();
        tank.add_host(spec("s-2", "b"), move |host: Host| {
            let log = log.clone();
            async move {
                let connect = |host: Host, to| async move {
                    host.connect(Address { host: to, port: 7 }).await.expect("it listens")
                };
                let connection = connect(host.clone(), server).await;
                let mut mortal = connect(host.clone(), victim).await;
                let (host2, log2) = (host.clone(), log.clone());
                host.spawn("notice", async move {
                    while mortal.receiver.recv().await.is_ok() {}
                    log2.borrow_mut().crash_noticed = Some(host2.true_time().as_millis());
                });
                let host2 = host.clone();
                host.spawn("connect", async move {
                    until(&host2, 2500).await;
                    connect(host2.clone(), server).await;
                    log.borrow_mut().connected = Some(host2.true_time().as_millis());
                });
                send_numbers(&host, connection.sender).await;
            }
        });
        let injector = Injector::new(tank.clone(), Vec::new(), false);
        tank.sleep(Duration::from_secs(1)).await;
        conduct(&plan(&rules, &places(), 1), places(), &injector);
        tank.sleep(Duration::from_millis(1500)).await;
        tank.crash(victim);
        tank.sleep(Duration::from_millis(500)).await;
        injector.heal();
        tank.sleep(Duration::from_secs(2)).await;
        let number = |bytes: &Bytes| String::from_utf8_lossy(bytes).parse().expect("a number");
        let arrivals = told.borrow().iter().map(|(at, bytes)| (*at, number(bytes))).collect();
        Slowed { arrivals, ..seen.take() }
    });
    seen.expect("nothing is violated")
}

#[test]
fn no_fault_of_a_link_outlives_its_end_or_the_heal() {
    let faults = [
        r#"delay = { by = "1h""#,
        r#"jitter = { by = "1h""#,
        r#"bandwidth = { limit = "10B/s""#,
        r#"hold_back = { message = "Number", by = "1h""#,
    ];
    for (what, length) in faults.into_iter().flat_map(|what| [(what, "1s"), (what, "1h")]) {
        let Slowed { arrivals, connected, crash_noticed } = slowed_by(what, length);
        let numbers: Vec<u64> = arrivals.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "{what}: once each, in the order of sending");
        let late = |(at, number): &(u64, u64)| at - number * 100;
        assert!(arrivals[..20].iter().all(|arrival| late(arrival) < 50), "{what}: {arrivals:?}");
        assert!(500 < late(&arrivals[21]), "{what} slows the links: {arrivals:?}");
        assert!(arrivals[20..30].iter().all(|(at, _)| *at < 3050), "{what} outlives its end: {arrivals:?}");
        assert!(arrivals[30..].iter().all(|arrival| late(arrival) < 50), "{what}: {arrivals:?}");
        assert!(connected.is_some_and(|at| at < 3050), "{what}: connected at {connected:?}");
        assert!(crash_noticed.is_some_and(|at| at < 3050), "{what}: the crash noticed at {crash_noticed:?}");
    }
}

#[test]
fn a_limit_of_bandwidth_is_told_in_bytes_a_second() {
    let (_, faults) = starts_after(
        r#"faults = [{ at = "1s", do = { bandwidth = { from = "s-1", limit = "10KiB/s", length = "2s" } } }]"#,
        1,
    );
    assert_eq!(faults[0], "bandwidth s-1 -> * at most 10KiB/s, 2s");
}

#[test]
fn a_limit_that_ends_leaves_the_limits_that_last() {
    let sent = |rules: &'static str| {
        let (arrivals, _) = in_tank(5, move |tank| async move {
            let arrivals = Rc::new(RefCell::new(Vec::new()));
            let log = arrivals.clone();
            let reader = tank.add_host(spec("s-1", "a"), move |host: Host| {
                let log = log.clone();
                async move {
                    let mut listener = host.listen(7).await.expect("the port is free");
                    let mut connection = listener.accept().await;
                    while connection.receiver.recv().await.is_ok() {
                        log.borrow_mut().push(host.true_time().as_millis());
                    }
                    std::future::pending::<()>().await;
                }
            });
            tank.add_host(spec("s-2", "b"), move |host: Host| async move {
                let to = Address { host: reader, port: 7 };
                let connection = host.connect(to).await.expect("it listens");
                host.sleep(Duration::from_millis(1500)).await;
                for _ in 0..10 {
                    connection.sender.send("Block", Bytes::from(vec![0; 930])).await.expect("it is open");
                }
                std::future::pending::<()>().await;
            });
            let injector = Injector::new(tank.clone(), Vec::new(), false);
            tank.sleep(Duration::from_secs(1)).await;
            conduct(&plan(rules, &places(), 1), places(), &injector);
            tank.sleep(Duration::from_secs(20)).await;
            arrivals.take()
        });
        arrivals.expect("nothing is violated")
    };
    // A frame of 1,000 bytes each 100 ms, though for a second not even one could leave.
    let arrivals = sent(
        r#"faults = [
            { at = "0s", do = { bandwidth = { limit = "10B/s", length = "1s" } } },
            { at = "0s", do = { bandwidth = { limit = "10000B/s", length = "1h" } } },
        ]"#,
    );
    let gaps: Vec<u64> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(arrivals.len(), 10, "{arrivals:?}");
    assert!((2090..2150).contains(&arrivals[0]), "{arrivals:?}");
    assert!(gaps.iter().all(|gap| (70..130).contains(gap)), "{arrivals:?}");
}

/// What a client saw of an echoing server from 0 s to 4 s, when it changed: each connect and its end, echoes, silence of 200 ms or more; and
/// how many requests the server saw between 1.1 s and 1.9 s. The fault strikes at 1 s. `anew`: the client connects for each request.
fn met(fault: &'static str, anew: bool) -> (Vec<&'static str>, usize) {
    let (seen, _) = in_tank(5, move |tank| async move {
        let seen: Rc<RefCell<Vec<&'static str>>> = Rc::default();
        let (server, asked) = echoing(&tank);
        let log = seen.clone();
        tank.add_host(spec("s-2", "b"), move |host: Host| {
            let log = log.clone();
            let note = move |what| {
                if log.borrow().last() != Some(&what) {
                    log.borrow_mut().push(what);
                }
            };
            async move {
                let patience = Duration::from_millis(200);
                loop {
                    host.sleep(Duration::from_millis(50)).await;
                    let to = Address { host: server, port: 7 };
                    let mut connection = match host.timeout(patience, host.connect(to)).await {
                        Ok(Ok(connection)) => connection,
                        Ok(Err(ConnectError::Refused)) => {
                            note("refused");
                            continue;
                        }
                        Ok(Err(_)) | Err(_) => {
                            note("no connection");
                            continue;
                        }
                    };
                    note("connected");
                    let mut silent = 0;
                    while silent < 8 {
                        if connection.sender.send("Ask", Bytes::from_static(b"?")).await.is_err() {
                            note("ended");
                            break;
                        }
                        match host.timeout(patience, connection.receiver.recv()).await {
                            Ok(Ok(_)) => {
                                silent = 0;
                                note("echo");
                            }
                            Ok(Err(_)) => {
                                note("ended");
                                break;
                            }
                            Err(_) => {
                                silent += 1;
                                note("silence");
                            }
                        }
                        if anew {
                            break;
                        }
                        host.sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        });
        let injector = Injector::new(tank.clone(), Vec::new(), false);
        let rules = format!(r#"faults = [{{ at = "1s", do = {{ {fault} }} }}]"#);
        conduct(&plan(&rules, &places(), 1), places(), &injector);
        tank.sleep(Duration::from_secs(4)).await;
        let during = asked.borrow().iter().filter(|(at, _)| (1100..1900).contains(at)).count();
        (seen.take(), during)
    });
    seen.expect("nothing is violated")
}

#[test]
fn a_reset_ends_connections_and_both_may_connect_anew() {
    let (seen, _) = met(r#"reset = { from = "s-2", to = "s-1" }"#, false);
    assert_eq!(seen, ["connected", "echo", "ended", "connected", "echo"]);
}

#[test]
fn a_half_open_connection_is_silent_for_ever_and_a_new_one_is_not() {
    let (seen, during) = met(r#"half_open = { from = "s-2", to = "s-1" }"#, false);
    assert_eq!(seen, ["connected", "echo", "silence", "connected", "echo"]);
    assert_eq!(during, 0, "what is sent is swallowed");
}

#[test]
fn connects_are_refused_for_a_while_and_open_connections_go_on() {
    let refuse = r#"refuse = { from = "s-2", to = "s-1", length = "1s" }"#;
    assert_eq!(met(refuse, false).0, ["connected", "echo"]);
    let (seen, during) = met(refuse, true);
    let from = seen.iter().position(|what| *what == "refused").expect("it is refused");
    assert_eq!(seen[from - 1..from + 3], ["echo", "refused", "connected", "echo"]);
    assert_eq!(during, 0);
}

#[test]
fn what_is_cut_one_way_still_arrives_the_other_way() {
    let one_way = r#"isolate = { any_of = "s-1", one_way = true, heal_after = "1s" }"#;
    let (seen, during) = met(one_way, false);
    assert_eq!(seen, ["connected", "echo", "silence", "echo"]);
    assert!(0 < during, "requests arrive, and no answer does");
    let (seen, during) = met(r#"isolate = { any_of = "s-1", heal_after = "1s" }"#, false);
    assert_eq!(seen, ["connected", "echo", "silence", "echo"]);
    assert_eq!(during, 0, "nothing arrives");
}

/// A host, a true second, and how far the host's calendar was off then, in milliseconds.
type Shown = (String, u64, i64);

#[test]
fn a_clock_that_jumps_or_drifts_is_wrong_until_the_heal() {
    let rules = r#"faults = [
        { at = "1s", do = { clock_jump = { any_of = "s-1", by = "5s" } } },
        { at = "1s", do = { clock_drift = { any_of = "s-2", ppm = 100000, length = "4s" } } },
    ]"#;
    let (off, _) = in_tank(3, move |tank| async move {
        let off: Rc<RefCell<Vec<Shown>>> = Rc::default();
        for name in ["s-1", "s-2"] {
            let log = off.clone();
            tank.add_host(spec(name, "a"), move |host: Host| {
                let log = log.clone();
                async move {
                    let began = host.wall_clock().millis();
                    for second in 1..10 {
                        host.cpu(Duration::from_secs(1)).await;
                        assert_eq!(host.true_time().as_millis(), second * 1000, "work takes as long as ever");
                        let shown = host.wall_clock().millis() - began - second as i64 * 1000;
                        log.borrow_mut().push((host.name().to_owned(), second, shown));
                    }
                }
            });
        }
        let injector = Injector::new(tank.clone(), Vec::new(), false);
        conduct(&plan(rules, &places(), 3), places(), &injector);
        tank.sleep(Duration::from_millis(7500)).await;
        injector.heal();
        tank.sleep(Duration::from_secs(2)).await;
        off.take()
    });
    let off = off.expect("nothing is violated");
    let of = |name: &str, at: u64| {
        off.iter().find(|(host, second, _)| host == name && *second == at).expect("it was noted").2.abs()
    };
    for second in [2, 5, 7] {
        assert_eq!(of("s-1", second), 5000, "at {second} s");
    }
    let drifted = [2, 3, 5, 7].map(|second| of("s-2", second));
    assert!(0 < drifted[0] && drifted[0] < drifted[1] && drifted[1] < drifted[2], "{drifted:?}");
    assert_eq!(drifted[2], drifted[3], "it runs right again, and is wrong still");
    assert_eq!((of("s-1", 9), of("s-2", 9)), (0, 0), "the heal sets them right");
}

/// When, in true nanoseconds, timers of a host ring that are set at the start, while its clock runs so much faster from the first to the
/// fifth second and so much faster still from the third to the fourth.
fn rings(first_ppm: f64, more_ppm: f64, spans_ms: &'static [u64]) -> Vec<u64> {
    let (rung, _) = in_tank(3, move |tank| async move {
        let rung: Rc<RefCell<Vec<u64>>> = Rc::default();
        let log = rung.clone();
        let id = tank.add_host(spec("s-1", "a"), move |host: Host| {
            let log = log.clone();
            async move {
                let began = host.now();
                for span in spans_ms.iter().copied().map(Duration::from_millis) {
                    host.sleep_until(began + span).await;
                    assert_eq!(
                        host.now(),
                        began + span,
                        "it rings neither early nor late by the host's own clock"
                    );
                    log.borrow_mut().push(host.true_time().as_nanos());
                }
            }
        });
        let injector = Injector::new(tank.clone(), Vec::new(), false);
        tank.sleep(Duration::from_secs(1)).await;
        injector.drift_clock(id, first_ppm, Duration::from_secs(4));
        tank.sleep(Duration::from_secs(2)).await;
        injector.drift_clock(id, more_ppm, Duration::from_secs(1));
        tank.sleep(Duration::from_secs(9)).await;
        rung.take()
    });
    rung.expect("nothing is violated")
}

#[test]
fn a_clock_that_drifts_moves_the_timers_of_its_host_and_those_that_run_already() {
    const SPANS: &[u64] = &[500, 3_500, 6_000, 8_000];
    assert_eq!(rings(0.0, 0.0, SPANS), [500_000_000, 3_500_000_000, 6_000_000_000, 8_000_000_000]);
    // 25 % fast: 3.5 s are shown at the third second, and all is half a second and more ahead then.
    let close = |rung: Vec<u64>, millis: [u64; 4]| {
        let off = rung.iter().zip(millis).map(|(nanos, millis)| nanos.abs_diff(millis * 1_000_000));
        assert!(off.max() <= Some(1), "{rung:?}");
    };
    close(rings(250_000.0, 0.0, SPANS), [500, 3_000, 5_000, 7_000]);
    close(rings(-200_000.0, 0.0, SPANS), [500, 4_125, 6_800, 8_800]);
    // Two drifts at once add up: 3.5 s are shown at the third second, 5 s at the fourth.
    close(rings(250_000.0, 250_000.0, SPANS), [500, 3_000, 4_800, 6_750]);
}

#[test]
fn no_two_machines_show_the_same_monotonic_time_and_a_power_up_begins_it_anew() {
    let (shown, _) = in_tank(3, |tank| async move {
        let shown: Rc<RefCell<Vec<(String, u64)>>> = Rc::default();
        let ids: Vec<_> = ["s-1", "s-2"]
            .into_iter()
            .map(|name| {
                let log = shown.clone();
                tank.add_host(spec(name, "a"), move |host: Host| {
                    let log = log.clone();
                    async move { log.borrow_mut().push((host.name().to_owned(), host.now().as_nanos())) }
                })
            })
            .collect();
        let injector = Injector::new(tank.clone(), Vec::new(), false);
        tank.sleep(Duration::from_secs(1)).await;
        injector.take_down("crash", ids[0], Hurt::Crash, Duration::from_secs(1));
        injector.take_down("power_loss", ids[1], Hurt::UnsyncedLoss, Duration::from_secs(1));
        tank.sleep(Duration::from_secs(3)).await;
        shown.take()
    });
    let shown = shown.expect("nothing is violated");
    let of = |name: &str| -> Vec<u64> {
        shown.iter().filter(|(host, _)| host == name).map(|(_, at)| *at).collect()
    };
    let (crashed, dark) = (of("s-1"), of("s-2"));
    assert_ne!(crashed[0], dark[0]);
    assert_eq!(crashed[1] - crashed[0], 2_000_000_000, "a crash leaves the machine up");
    assert_eq!(dark[1], 0, "it is powered up at that moment");
}
