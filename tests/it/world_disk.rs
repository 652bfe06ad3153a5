//! What a disk keeps and what a power loss takes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use wavetank::world::{DiskError, Host, Open, Tank};

use crate::world_time::{in_tank, spec};

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
