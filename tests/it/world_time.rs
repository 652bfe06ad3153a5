//! The kernel's clock, tasks and machines.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use wavetank::base::{Seed, SimTime};
use wavetank::world::fault::Injector;
use wavetank::world::tank::{Outcome, TankError};
use wavetank::world::{ClockConfig, DiskSpec, Host, HostSpec, Tank, TankConfig};

/// Runs `root` in a tank of two zones on a fresh thread, as every run must be.
pub fn in_tank<T, F>(seed: u64, root: impl FnOnce(Tank) -> F + Send) -> (Result<T, TankError>, Outcome)
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let config = TankConfig { zones: vec!["a".into(), "b".into()], ..TankConfig::default() };
                Tank::run(Seed::new(seed), config, root)
            })
            .join()
            .expect("the run does not panic")
    })
}

pub fn spec(name: &str, zone: &str) -> HostSpec {
    HostSpec { name: name.into(), zone: zone.into(), system: "test", cores: 2, disk: DiskSpec::default() }
}

/// Waits until so many true milliseconds have passed since the start.
pub async fn until(host: &Host, millis: u64) {
    host.sleep((SimTime::ZERO + Duration::from_millis(millis)).since(host.true_time())).await;
}

#[test]
fn timers_are_exact_to_the_nanosecond_and_cost_no_real_time() {
    let (waited, outcome) = in_tank(1, |tank| async move {
        tank.sleep(Duration::from_nanos(3)).await;
        let after = tank.now();
        tank.sleep(Duration::from_secs(86_400)).await;
        after
    });
    assert_eq!(waited, Ok(SimTime::from_nanos(3)));
    assert_eq!(outcome.virtual_time, SimTime::from_nanos(3) + Duration::from_secs(86_400));
}

#[test]
fn a_dropped_timer_leaves_nothing_behind() {
    let (load, outcome) = in_tank(1, |tank| async move {
        tank.add_host(spec("one", "a"), |host| async move {
            for _ in 0..10_000 {
                let _ = host.timeout(Duration::from_secs(3600), host.sleep(Duration::from_millis(1))).await;
            }
            host.report_ready(true);
        });
        tank.sleep(Duration::from_secs(60)).await;
        tank.load()
    });
    assert_eq!(load, Ok((1, 0)), "only the root task is left, and no timer");
    assert!(outcome.virtual_time < SimTime::ZERO + Duration::from_secs(61));
}

#[test]
fn destructors_of_a_crashed_process_cannot_touch_the_world() {
    struct Loud(Host, Rc<Cell<bool>>);
    impl Drop for Loud {
        fn drop(&mut self) {
            self.1.set(true);
            self.0.report_ready(true);
            self.0.spawn("ghost", async { panic!("a ghost runs") });
        }
    }
    let (ready, _) = in_tank(1, |tank| async move {
        let dropped = Rc::new(Cell::new(false));
        let seen = dropped.clone();
        let host = tank.add_host(spec("one", "a"), move |host| {
            let loud = Loud(host.clone(), seen.clone());
            async move {
                let _loud = loud;
                host.sleep(Duration::from_secs(3600)).await;
            }
        });
        tank.sleep(Duration::from_millis(1)).await;
        tank.crash(host);
        tank.sleep(Duration::from_millis(1)).await;
        (dropped.get(), tank.is_ready(host))
    });
    assert_eq!(ready, Ok((true, false)));
}

#[test]
fn a_paused_process_stands_still_and_its_timers_fire_late() {
    let (ticks, _) = in_tank(1, |tank| async move {
        let ticks = Rc::new(RefCell::new(Vec::new()));
        let log = ticks.clone();
        let host = tank.add_host(spec("one", "a"), move |host| {
            let log = log.clone();
            async move {
                loop {
                    host.sleep(Duration::from_secs(1)).await;
                    log.borrow_mut().push(host.true_time().as_millis());
                }
            }
        });
        tank.sleep(Duration::from_millis(1500)).await;
        tank.pause(host);
        tank.sleep(Duration::from_millis(8000)).await;
        tank.resume(host);
        tank.sleep(Duration::from_millis(1100)).await;
        ticks.take()
    });
    assert_eq!(ticks, Ok(vec![1000, 9500, 10_500]));
}

#[test]
fn work_queues_on_the_cores() {
    let (done, _) = in_tank(1, |tank| async move {
        let done = Rc::new(RefCell::new(Vec::new()));
        let log = done.clone();
        tank.add_host(spec("one", "a"), move |host| {
            let log = log.clone();
            async move {
                for _ in 0..4 {
                    let (host, log) = (host.clone(), log.clone());
                    host.clone().spawn("work", async move {
                        host.cpu(Duration::from_millis(10)).await;
                        log.borrow_mut().push(host.true_time().as_millis());
                    });
                }
                host.sleep(Duration::from_secs(9)).await;
            }
        });
        tank.sleep(Duration::from_secs(1)).await;
        done.take()
    });
    assert_eq!(done, Ok(vec![10, 10, 20, 20]), "four jobs on two cores");
}

#[test]
fn tasks_that_spin_are_named_instead_of_hanging_the_run() {
    let (result, _) = in_tank(1, |tank| async move {
        tank.add_host(spec("one", "a"), |host| async move {
            let (to, mut from) = tokio::sync::mpsc::unbounded_channel();
            let (back, mut again) = tokio::sync::mpsc::unbounded_channel();
            host.spawn("ping", async move {
                while let Some(()) = again.recv().await {
                    to.send(()).expect("pong listens");
                }
            });
            back.send(()).expect("ping listens");
            while let Some(()) = from.recv().await {
                back.send(()).expect("ping listens");
            }
        });
        tank.sleep(Duration::from_secs(1)).await;
    });
    let Err(TankError::Livelock(tasks)) = result else { panic!("expected a livelock, got {result:?}") };
    assert!(tasks.contains("one/ping") && tasks.contains("one/main"), "{tasks}");
}

#[test]
fn a_panic_of_a_task_is_a_violation_that_names_host_and_place() {
    let (result, outcome) = in_tank(1, |tank| async move {
        tank.add_host(spec("one", "a"), |host| async move {
            host.sleep(Duration::from_secs(1)).await;
            assert_eq!(1 + 1, 3, "arithmetic holds");
        });
        tank.sleep(Duration::from_secs(5)).await;
    });
    assert_eq!(result, Err(TankError::Violated));
    let violation = outcome.violation.expect("the panic was noted");
    assert_eq!(violation.host.as_deref(), Some("one"));
    assert!(
        violation.detail.contains("arithmetic holds") && violation.detail.contains("world_time.rs"),
        "{violation:?}"
    );
}

#[test]
fn nothing_left_to_do_is_a_deadlock_and_not_a_hang() {
    let (result, _) = in_tank(1, |_| std::future::pending::<()>());
    assert_eq!(result, Err(TankError::Deadlock));
}

#[test]
fn the_same_seed_gives_the_same_digest_and_another_seed_another() {
    let digest = |seed| {
        let (_, outcome) = in_tank(seed, |tank| async move {
            for index in 0..5 {
                tank.add_host(spec(&format!("host-{index}"), "a"), |host| async move {
                    use rand::Rng;
                    let mut dice = host.random("naps");
                    for _ in 0..20 {
                        host.sleep(Duration::from_micros(dice.random_range(1..50))).await;
                        host.report_ready(dice.random());
                    }
                });
            }
            tank.sleep(Duration::from_secs(1)).await;
        });
        outcome.digest
    };
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

#[test]
fn the_clock_of_each_host_is_off_by_what_was_drawn_for_it_until_the_heal() {
    let offsets = |seed, names: &'static [&'static str]| {
        std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                let offset = "1s..5s".parse().expect("it is a range");
                let config = TankConfig {
                    zones: vec!["a".into()],
                    clocks: ClockConfig { offset },
                    ..TankConfig::default()
                };
                Tank::run(Seed::new(seed), config, move |tank| async move {
                    let shown = Rc::new(RefCell::new(Vec::new()));
                    for name in names {
                        let shown = shown.clone();
                        tank.add_host(spec(name, "a"), move |host| {
                            let shown = shown.clone();
                            async move {
                                for at in [1000, 3000] {
                                    until(&host, at).await;
                                    // 2026-01-01T00:00:00Z is when the calendar of a right clock begins.
                                    let right = 1_767_225_600_000 + at as i64;
                                    shown
                                        .borrow_mut()
                                        .push((host.name().to_owned(), host.wall_clock().millis() - right));
                                }
                            }
                        });
                    }
                    tank.sleep(Duration::from_secs(2)).await;
                    Injector::new(tank.clone(), Vec::new(), false).heal();
                    tank.sleep(Duration::from_secs(2)).await;
                    let (before, after) = shown.borrow().iter().cloned().partition(|(_, off)| *off != 0);
                    let (before, after): (Vec<(String, i64)>, Vec<_>) = (before, after);
                    assert_eq!(after.len(), names.len(), "the heal sets all clocks right: {before:?}");
                    before.into_iter().collect::<BTreeMap<String, i64>>()
                })
                .0
            });
            run.join().expect("the run does not panic").expect("the hosts do nothing wrong")
        })
    };
    let all: Vec<_> = (0..8).map(|seed| offsets(seed, &["one", "two", "three"])).collect();
    assert!(all.iter().flat_map(BTreeMap::values).all(|off| (1000..=5000).contains(&off.abs())), "{all:?}");
    for wrong in [|off: &i64| 0 < *off, |off: &i64| *off < 0] {
        assert!(all.iter().flat_map(BTreeMap::values).any(wrong), "some are fast and some slow: {all:?}");
    }
    assert_ne!(all[0]["one"], all[0]["two"], "each host has its own");
    assert_eq!(offsets(0, &["two"])["two"], all[0]["two"], "and none depends on the others");
}
