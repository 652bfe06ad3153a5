//! What a disk keeps and what a power loss takes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use wavetank::world::fault::{Budget, FaultPlan, Injector, Place, conduct};
use wavetank::world::trace::What;
use wavetank::world::{DiskError, File, Host, Open, Tank};

use crate::world_time::{in_tank, spec, until};

/// Runs `first` on a host, cuts its power once `first` is done, starts it again, and returns what `then` finds.
fn across_power_loss<T: Send + 'static>(
    seed: u64,
    first: impl AsyncFn(&Host) + Copy + Send + 'static,
    then: impl AsyncFn(&Host) -> T + Copy + Send + 'static,
) -> T {
    let (found, _) = in_tank(seed, move |tank: Tank| async move {
        let found: Rc<RefCell<Option<T>>> = Rc::default();
        let slot = found.clone();
        let boots = Rc::new(RefCell::new(0));
        let host = tank.add_host(spec("one", "a"), move |host| {
            let (slot, boots) = (slot.clone(), boots.clone());
            async move {
                *boots.borrow_mut() += 1;
                let boot = *boots.borrow();
                if boot == 1 {
                    first(&host).await;
                } else {
                    *slot.borrow_mut() = Some(then(&host).await);
                }
                host.report_ready(true);
                host.sleep(Duration::from_secs(3600)).await;
            }
        });
        tank.wait_until(Duration::from_secs(60), Duration::from_millis(1), || tank.is_ready(host)).await;
        tank.power_loss(host);
        tank.start(host);
        tank.wait_until(Duration::from_secs(60), Duration::from_millis(1), || tank.is_ready(host)).await;
        found.take().expect("the second boot ran")
    });
    found.expect("the run ends")
}

#[test]
fn what_was_synced_with_its_directory_survives_a_power_loss() {
    for seed in 0..20 {
        let found = across_power_loss(
            seed,
            async |host| {
                let disk = host.disk();
                disk.create_dir_all("/data/log").await.expect("room");
                disk.sync_dir("/").await.expect("healthy");
                disk.sync_dir("/data").await.expect("healthy");
                let file = disk.open("/data/log/a", Open::CreateNew).await.expect("new");
                file.append(&[7; 3000]).await.expect("room");
                file.sync().await.expect("healthy");
                disk.sync_dir("/data/log").await.expect("healthy");
                file.append(&[8; 3000]).await.expect("room");
            },
            async |host| {
                let file = host.disk().open("/data/log/a", Open::Existing).await.expect("it survived");
                file.read_at(0, 10_000).await.expect("healthy")
            },
        );
        assert!(3000 <= found.len() && found[..3000].iter().all(|byte| *byte == 7), "seed {seed}");
        assert!(found[3000..].iter().all(|byte| [0, 8].contains(byte)), "seed {seed}");
    }
}

#[test]
fn unsynced_writes_are_lost_kept_and_torn_over_seeds() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..60 {
        let found = across_power_loss(
            seed,
            async |host| {
                let disk = host.disk();
                let file = disk.open("/a", Open::CreateNew).await.expect("new");
                file.append(&[7; 1024]).await.expect("room");
                file.sync().await.expect("healthy");
                disk.sync_dir("/").await.expect("healthy");
                file.write_at(0, &[8; 1024]).await.expect("room");
            },
            async |host| {
                let file = host.disk().open("/a", Open::Existing).await.expect("it survived");
                file.read_at(0, 1024).await.expect("healthy").to_vec()
            },
        );
        assert_eq!(found.len(), 1024);
        assert!(found[..512].iter().all(|byte| *byte == found[0]), "a sector is never torn");
        outcomes.insert((found[0], found[512]));
    }
    assert_eq!(outcomes, BTreeSet::from([(7, 7), (7, 8), (8, 7), (8, 8)]));
}

#[test]
fn a_sync_covers_what_was_written_before_it_though_the_sector_is_written_again_meanwhile() {
    for seed in 0..30 {
        let found = across_power_loss(
            seed,
            async |host| {
                let disk = host.disk();
                let file = disk.open("/a", Open::CreateNew).await.expect("new");
                disk.sync_dir("/").await.expect("healthy");
                file.append(&[7; 100]).await.expect("room");
                let (other, clock) = (file.clone(), host.clone());
                host.spawn("meanwhile", async move {
                    clock.sleep(Duration::from_micros(100)).await;
                    other.append(&[8; 100]).await.expect("room");
                });
                file.sync().await.expect("healthy");
            },
            async |host| {
                let file = host.disk().open("/a", Open::Existing).await.expect("it survived");
                file.read_at(0, 1024).await.expect("healthy").to_vec()
            },
        );
        assert!(100 <= found.len() && found[..100].iter().all(|byte| *byte == 7), "seed {seed}: {found:?}");
    }
}

#[test]
fn names_without_a_directory_sync_may_vanish_and_a_rename_is_old_or_new() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..60 {
        let found = across_power_loss(
            seed,
            async |host| {
                let disk = host.disk();
                for (name, byte) in [("/a", 1), ("/a.tmp", 2)] {
                    let file = disk.open(name, Open::CreateNew).await.expect("new");
                    file.append(&[byte; 10]).await.expect("room");
                    file.sync().await.expect("healthy");
                }
                disk.sync_dir("/").await.expect("healthy");
                disk.rename("/a.tmp", "/a").await.expect("there");
            },
            async |host| {
                let file = host.disk().open("/a", Open::Existing).await.expect("old or new, never none");
                let content = file.read_at(0, 100).await.expect("healthy").to_vec();
                (content, host.disk().list("/").await.expect("the root exists"))
            },
        );
        outcomes.insert(found);
    }
    let old = (vec![1; 10], vec!["a".to_owned(), "a.tmp".to_owned()]);
    let new = (vec![2; 10], vec!["a".to_owned()]);
    assert_eq!(outcomes, BTreeSet::from([old, new]));
}

#[test]
fn a_process_crash_loses_nothing() {
    let (found, _) = in_tank(1, |tank| async move {
        let found = Rc::new(RefCell::new(Vec::new()));
        let log = found.clone();
        let host = tank.add_host(spec("one", "a"), move |host| {
            let log = log.clone();
            async move {
                let file = host.disk().open("/a", Open::Create).await.expect("room");
                log.borrow_mut().push(file.len());
                file.append(&[1; 10]).await.expect("room");
                host.sleep(Duration::from_secs(3600)).await;
            }
        });
        for _ in 0..3 {
            tank.sleep(Duration::from_millis(10)).await;
            tank.crash(host);
            tank.start(host);
        }
        tank.sleep(Duration::from_millis(10)).await;
        found.take()
    });
    assert_eq!(found, Ok(vec![0, 10, 20, 30]));
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_what_it_has() {
    let (result, _) = in_tank(1, |tank| async move {
        let result = Rc::new(RefCell::new(None));
        let slot = result.clone();
        let mut small = spec("one", "a");
        small.disk.capacity = "1KiB".parse().expect("a size");
        tank.add_host(small, move |host| {
            let slot = slot.clone();
            async move {
                let file = host.disk().open("/a", Open::Create).await.expect("room");
                file.append(&[1; 1000]).await.expect("room");
                let refused = file.append(&[2; 1000]).await;
                *slot.borrow_mut() = Some((refused, file.len(), host.disk().free()));
                host.sleep(Duration::from_secs(3600)).await;
            }
        });
        tank.sleep(Duration::from_secs(1)).await;
        result.take()
    });
    assert_eq!(result, Ok(Some((Err(DiskError::NoSpace), 1000, 24))));
}

/// Runs `process` on a host whose disk suffers `what` (the `do` of a planned fault) a second after the start, and heals all a second
/// later.
fn broken_by<T: Send + 'static>(
    seed: u64,
    what: &'static str,
    process: impl AsyncFn(&Host) -> T + Copy + Send + 'static,
) -> T {
    let (found, _) = in_tank(seed, move |tank: Tank| async move {
        let found: Rc<RefCell<Option<T>>> = Rc::default();
        let slot = found.clone();
        tank.add_host(spec("one", "a"), move |host| {
            let slot = slot.clone();
            async move {
                *slot.borrow_mut() = Some(process(&host).await);
                host.sleep(Duration::from_secs(3600)).await;
            }
        });
        let injector = Injector::new(tank.clone(), Vec::new(), false);
        let plan = format!(r#"faults = [{{ at = "1s", do = {{ {what} }} }}]"#);
        let plan: FaultPlan = toml::from_str(&plan).expect("the test's plan is well formed");
        let place = Place { host: "one".into(), zone: "a".into(), server: true };
        conduct(&plan, vec![place], &injector);
        tank.sleep(Duration::from_secs(2)).await;
        injector.heal();
        tank.sleep(Duration::from_secs(60)).await;
        found.take().expect("the process has come to its end")
    });
    found.expect("the run ends")
}

/// Two files of eight sectors, synced: sector `n` of the first holds `n + 1` everywhere, of the second `n + 101`.
async fn two_files(host: &Host) -> [File; 2] {
    let disk = host.disk();
    let mut files = Vec::new();
    for (path, first) in [("/a", 1), ("/b", 101)] {
        let file = disk.open(path, Open::CreateNew).await.expect("new");
        for sector in 0..8u8 {
            file.append(&[first + sector; 512]).await.expect("room");
        }
        file.sync().await.expect("healthy");
        files.push(file);
    }
    disk.sync_dir("/").await.expect("healthy");
    files.try_into().unwrap_or_else(|_| panic!("there are two"))
}

/// The byte that fills each sector, or 255 where they differ.
async fn sectors(file: &File) -> Vec<u8> {
    let bytes = file.read_at(0, 8 * 512).await.expect("healthy");
    let fill = |sector: &[u8]| if sector.iter().all(|byte| *byte == sector[0]) { sector[0] } else { 255 };
    bytes.chunks(512).map(fill).collect()
}

#[test]
fn nothing_comes_back_from_a_disk_that_stalls_until_the_stall_or_the_chaos_ends() {
    for (length, expected) in [("700ms", 1700..1800), ("1h", 2000..2100)] {
        let what: &'static str = format!(r#"disk_stall = {{ host = "one", length = "{length}" }}"#).leak();
        let (synced, dir_synced, written) = broken_by(1, what, async |host| {
            let [file, _] = two_files(host).await;
            until(host, 1100).await;
            file.append(&[9; 10]).await.expect("room");
            let written = host.true_time().as_millis();
            let (other, clock) = (host.disk(), host.clone());
            let dir = host.spawn("dir", async move {
                other.sync_dir("/").await.expect("healthy");
                clock.true_time().as_millis()
            });
            file.sync().await.expect("late, not never");
            (host.true_time().as_millis(), dir.await.expect("it ends"), written)
        });
        assert_eq!(written, 1100, "the page cache takes writes as ever");
        assert!(
            expected.contains(&synced) && expected.contains(&dir_synced),
            "{length}: {synced} {dir_synced}"
        );
    }
}

#[test]
fn a_lost_write_shows_when_the_page_cache_lets_go_of_it_and_not_before() {
    let what = r#"lost_write = { host = "one", files = "/a", chance = "100%", length = "500ms" }"#;
    let [before, after, other, rewritten] = broken_by(1, what, async |host| {
        let [file, other] = two_files(host).await;
        until(host, 1100).await;
        for file in [&file, &other] {
            file.write_at(512, &[77; 1024]).await.expect("room");
            file.sync().await.expect("so it says");
        }
        let before = sectors(&file).await;
        until(host, 1600).await;
        let (after, other) = (sectors(&file).await, sectors(&other).await);
        file.write_at(512, &[78; 512]).await.expect("room");
        file.sync().await.expect("healthy");
        until(host, 2500).await;
        [before, after, other, sectors(&file).await]
    });
    assert_eq!(before, [1, 77, 77, 4, 5, 6, 7, 8]);
    assert_eq!(after, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(other, [101, 77, 77, 104, 105, 106, 107, 108], "a file that is not named is not hit");
    assert_eq!(rewritten, [1, 78, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_lost_write_that_is_written_again_in_time_is_not_lost() {
    let what = r#"lost_write = { host = "one", files = "/a", chance = "50%", length = "1s" }"#;
    for seed in 0..20 {
        let found = broken_by(seed, what, async |host| {
            let [file, _] = two_files(host).await;
            until(host, 1100).await;
            file.write_at(0, &[77; 4096]).await.expect("room");
            file.sync().await.expect("so it says");
            file.write_at(0, &[78; 4096]).await.expect("room");
            until(host, 2100).await;
            file.sync().await.expect("healthy");
            sectors(&file).await
        });
        assert_eq!(found, [78; 8], "seed {seed}");
    }
}

#[test]
fn a_misdirected_write_leaves_two_places_wrong() {
    let what = r#"misdirected_write = { host = "one", files = "/a", chance = "100%", length = "500ms" }"#;
    let mut landed = BTreeSet::new();
    for seed in 0..40 {
        let [a, b] = broken_by(seed, what, async |host| {
            let [file, other] = two_files(host).await;
            until(host, 1100).await;
            file.write_at(512, &[77; 512]).await.expect("room");
            file.sync().await.expect("so it says");
            until(host, 1600).await;
            [sectors(&file).await, sectors(&other).await]
        });
        assert_eq!(a[1], 2, "seed {seed}: it is not where it was meant to be");
        let places: Vec<(char, usize)> = [('a', &a), ('b', &b)]
            .into_iter()
            .flat_map(|(file, sectors)| sectors.iter().enumerate().map(move |(at, fill)| (file, at, *fill)))
            .filter(|(_, _, fill)| *fill == 77)
            .map(|(file, at, _)| (file, at))
            .collect();
        assert_eq!(places.len(), 1, "seed {seed}: {a:?} {b:?}");
        landed.extend(places);
    }
    assert!(landed.iter().any(|(file, _)| *file == 'a') && landed.iter().any(|(file, _)| *file == 'b'));
}

#[test]
fn a_lie_about_writes_shows_after_a_power_loss_too() {
    for seed in 0..20 {
        let (found, _) = in_tank(seed, |tank| async move {
            let found = Rc::new(RefCell::new(Vec::new()));
            let slot = found.clone();
            let host = tank.add_host(spec("one", "a"), move |host| {
                let slot = slot.clone();
                async move {
                    if host.boot_id() == 0 {
                        let [file, _] = two_files(&host).await;
                        until(&host, 1100).await;
                        file.append(&[77; 512]).await.expect("room");
                        file.write_at(0, &[77; 512]).await.expect("room");
                        file.sync().await.expect("so it says");
                    } else {
                        let file = host.disk().open("/a", Open::Existing).await.expect("it survived");
                        let held = file.read_at(0, 10_000).await.expect("healthy").to_vec();
                        slot.borrow_mut().push(held);
                    }
                    host.sleep(Duration::from_secs(3600)).await;
                }
            });
            let injector = Injector::new(tank.clone(), Vec::new(), false);
            let plan = r#"faults = [{ at = "1s", do = {
                lost_write = { host = "one", files = "*", chance = "100%", length = "1h" }
            } }]"#;
            let plan: FaultPlan = toml::from_str(plan).expect("it is well formed");
            let place = Place { host: "one".into(), zone: "a".into(), server: true };
            conduct(&plan, vec![place], &injector);
            tank.sleep(Duration::from_secs(2)).await;
            tank.power_loss(host);
            tank.start(host);
            tank.sleep(Duration::from_secs(1)).await;
            found.take()
        });
        let found = found.expect("the run ends").pop().expect("it was read");
        assert_eq!(
            found.len(),
            9 * 512,
            "seed {seed}: the length is metadata, of which the disk does not lie"
        );
        assert!(found[..512].iter().all(|byte| *byte == 1), "seed {seed}");
        assert!(found[8 * 512..].iter().all(|byte| *byte == 0), "seed {seed}: nothing was ever there");
    }
}

#[test]
fn reads_bring_another_place_or_what_was_there_before_until_the_fault_ends() {
    for (kind, expected) in [("misdirected_read", None), ("stale_read", Some([1, 2, 3, 4, 5, 6, 7, 8]))] {
        let what: &'static str =
            format!(r#"{kind} = {{ host = "one", files = "/a", chance = "100%", length = "500ms" }}"#).leak();
        let [meanwhile, other, after] = broken_by(3, what, async |host| {
            let [file, other] = two_files(host).await;
            file.write_at(0, &[77; 4096]).await.expect("room");
            file.sync().await.expect("healthy");
            file.write_at(0, &[78; 512]).await.expect("room");
            until(host, 1100).await;
            let (meanwhile, other) = (sectors(&file).await, sectors(&other).await);
            until(host, 1600).await;
            [meanwhile, other, sectors(&file).await]
        });
        assert_eq!(meanwhile[0], 78, "{kind}: what was not written back is read from the cache");
        match expected {
            Some(expected) => assert_eq!(meanwhile[1..], expected[1..], "{kind}"),
            None => assert!(meanwhile[1..].iter().any(|fill| 100 < *fill), "{kind}: {meanwhile:?}"),
        }
        assert_eq!(other, [101, 102, 103, 104, 105, 106, 107, 108], "{kind}: the file is not named");
        assert_eq!(after, [78, 77, 77, 77, 77, 77, 77, 77], "{kind}: the platter was right all the time");
    }
}

#[test]
fn rotten_bits_flip_once_and_stay_flipped_after_the_heal() {
    let mut rotten = BTreeSet::new();
    for seed in 0..20 {
        let what = r#"bit_rot = { host = "one", files = "*", bits = 1 }"#;
        let (at_once, after) = broken_by(seed, what, async |host| {
            let files = two_files(host).await;
            until(host, 1100).await;
            let mut seen = Vec::new();
            for file in &files {
                seen.extend(file.read_at(0, 4096).await.expect("healthy"));
            }
            until(host, 2500).await;
            let mut after = Vec::new();
            for file in &files {
                after.extend(file.read_at(0, 4096).await.expect("healthy"));
            }
            (seen, after)
        });
        let right = (1..=8u8).chain(101..=108).flat_map(|fill| [fill; 512]);
        let flipped: Vec<(usize, u32)> = at_once
            .iter()
            .zip(right)
            .map(|(found, right)| (found ^ right).count_ones())
            .enumerate()
            .filter(|(_, bits)| *bits != 0)
            .collect();
        let [(at, 1)] = flipped[..] else { panic!("seed {seed}: {flipped:?}") };
        rotten.insert(at / 4096);
        assert_eq!(at_once, after, "seed {seed}");
    }
    assert_eq!(rotten, BTreeSet::from([0, 1]), "each file is hit at some seed");
}

#[test]
fn a_disk_that_may_not_be_damaged_stalls_in_place_of_lying_or_rotting() {
    let (told, outcome) = in_tank(1, |tank| async move {
        let host = tank.add_host(spec("one", "a"), |host| async move {
            host.sleep(Duration::from_secs(3600)).await;
        });
        let budget = Budget {
            system: "test",
            hosts: vec![host],
            unsynced_loss_max: 1,
            disk_loss_max: 1,
            damage_max: 0,
        };
        let injector = Injector::new(tank.clone(), vec![budget], false);
        let plan = r#"faults = [
            { at = "0s", do = { bit_rot = { host = "one", files = "*", bits = 1 } } },
            { at = "0s", do = { lost_write = { host = "one", files = "*", chance = "1%", length = "2s" } } },
        ]"#;
        let plan: FaultPlan = toml::from_str(plan).expect("it is well formed");
        let place = Place { host: "one".into(), zone: "a".into(), server: true };
        conduct(&plan, vec![place], &injector);
        tank.sleep(Duration::from_secs(1)).await;
        let counts = injector.counts();
        ["bit_rot", "lost_write"].map(|kind| counts[kind].downgraded)
    });
    assert_eq!(told, Ok([1, 1]));
    let faults: Vec<String> =
        outcome.records.into_iter().filter(|r| r.what == What::Fault).map(|r| r.text).collect();
    assert_eq!(
        faults,
        [
            "disk of one stalls, 1s (bit_rot is beyond the budget)",
            "disk of one stalls, 2s (lost_write is beyond the budget)",
        ]
    );
}
