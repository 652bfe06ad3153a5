//! The ensemble and its client, end to end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use wavetank::checkers::ensemble;
use wavetank::systems::Cluster;
use wavetank::systems::coordination::api::{
    Barrier, Code, Error, Lock, Mode, Queue, Session, check, create, set,
};
use wavetank::systems::coordination::{self, Config};
use wavetank::world::{Address, Host, Tank};

use crate::world_time::{in_tank, spec};

const TIME_OUT: Duration = Duration::from_secs(2);

/// An ensemble of three, and what it notes of itself.
fn ensemble(tank: &Tank) -> (Cluster, Rc<RefCell<ensemble::History>>) {
    ensemble_of(tank, &Config { snapshot_every: 20, committed_log: 10, ..Config::default() })
}

fn ensemble_of(tank: &Tank, config: &Config) -> (Cluster, Rc<RefCell<ensemble::History>>) {
    let history = Rc::new(RefCell::new(ensemble::History::default()));
    (coordination::boot(tank, config, history.clone()), history)
}

fn assert_sound(history: &Rc<RefCell<ensemble::History>>) {
    let broken: Vec<_> =
        ensemble::check(&history.borrow()).into_iter().filter(|check| !check.held()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Runs `client` on a host of its own; true once it has come to its end.
fn client<F>(
    tank: &Tank,
    name: &str,
    servers: &[Address],
    act: impl Fn(Session) -> F + 'static,
) -> Rc<RefCell<bool>>
where
    F: Future<Output = Result<(), Error>> + 'static,
{
    let done = Rc::new(RefCell::new(false));
    let (servers, told, act) = (servers.to_vec(), done.clone(), Rc::new(act));
    tank.add_host(spec(name, "a"), move |host: Host| {
        let (servers, told, act) = (servers.clone(), told.clone(), act.clone());
        async move {
            let session = Session::begin(&host, &servers, TIME_OUT);
            act(session).await.expect("the client's requests succeed");
            *told.borrow_mut() = true;
        }
    });
    done
}

async fn wait_for(tank: &Tank, done: &[Rc<RefCell<bool>>]) {
    let all = || done.iter().all(|done| *done.borrow());
    let reached = tank.wait_until(Duration::from_secs(120), Duration::from_millis(20), all).await;
    assert!(reached, "the clients come to their end");
}

#[test]
fn znodes_keep_data_versions_sequences_and_acls() {
    let (result, outcome) = in_tank(1, |tank| async move {
        let (cluster, history) = ensemble(&tank);
        let done = client(&tank, "client", &cluster.servers, |session| async move {
            let (path, stat) = session.create("/a", "1", Mode::Persistent).await?;
            assert_eq!((path.as_str(), stat.version), ("/a", 0));
            assert_eq!(
                session.create("/a", "1", Mode::Persistent).await,
                Err(Error::Refused(Code::NodeExists))
            );
            assert_eq!(
                session.create("/b/c", "", Mode::Persistent).await.err(),
                Some(Error::Refused(Code::NoNode))
            );
            assert_eq!(
                session.create("b", "", Mode::Persistent).await.err(),
                Some(Error::Refused(Code::BadArguments))
            );
            assert_eq!(session.set("/a", "2", Some(0)).await?.version, 1);
            assert_eq!(session.set("/a", "3", Some(0)).await, Err(Error::Refused(Code::BadVersion)));
            let (data, stat) = session.get("/a").await?;
            assert_eq!((&data[..], stat.version), (&b"2"[..], 1));
            let (first, _) = session.create("/a/n-", "", Mode::EphemeralSequential).await?;
            let (second, _) = session.create("/a/n-", "", Mode::PersistentSequential).await?;
            assert_eq!((first.as_str(), second.as_str()), ("/a/n-0000000000", "/a/n-0000000001"));
            assert_eq!(
                session.create(&format!("{first}/x"), "", Mode::Persistent).await.err(),
                Some(Error::Refused(Code::NoChildrenForEphemerals))
            );
            assert_eq!(session.delete("/a", None).await, Err(Error::Refused(Code::NotEmpty)));
            assert_eq!(session.children("/a").await?, ["n-0000000000", "n-0000000001"]);
            let refused = session.multi(vec![create("/m", "", Mode::Persistent), check("/a", 7)]).await;
            assert_eq!(refused, Err(Error::Refused(Code::BadVersion)));
            assert_eq!(session.exists("/m").await?, None, "all or none");
            session
                .multi(vec![create("/m", "", Mode::Persistent), check("/a", 1), set("/m", "x", Some(0))])
                .await?;
            assert_eq!(session.exists("/m").await?.map(|stat| stat.version), Some(1));
            assert_eq!(session.acl("/m").await?.len(), 1);
            session.sync("/").await?;
            session.close().await
        });
        wait_for(&tank, &[done]).await;
        assert_sound(&history);
    });
    assert_eq!(result, Ok(()), "{:?}", outcome.violation);
}

#[test]
fn a_watch_survives_the_loss_of_the_server_it_was_set_at() {
    let (result, outcome) = in_tank(2, |tank| async move {
        let (cluster, history) = ensemble(&tank);
        let watching = client(&tank, "watcher", &cluster.servers, |session| async move {
            let (none, watch) = session.exists_watched("/flag").await?;
            assert_eq!(none, None);
            let event = watch.changed().await.expect("the session lives");
            assert_eq!(event.path, "/flag");
            Ok(())
        });
        tank.sleep(Duration::from_secs(5)).await;
        let hosts = cluster.hosts.clone();
        let setting = client(&tank, "setter", &cluster.servers, |session| async move {
            session.host().sleep(Duration::from_secs(3)).await;
            session.create("/flag", "", Mode::Persistent).await.map(|_| ())
        });
        // Each server is gone for a while, one after the other: whichever held the watch was among them.
        for host in hosts {
            tank.crash(host);
            tank.sleep(Duration::from_millis(1500)).await;
            tank.start(host);
            tank.sleep(Duration::from_millis(1500)).await;
        }
        wait_for(&tank, &[watching, setting]).await;
        assert_sound(&history);
    });
    assert_eq!(result, Ok(()), "{:?}", outcome.violation);
}

#[test]
fn an_ephemeral_znode_goes_with_its_session_and_not_before() {
    let (result, outcome) = in_tank(3, |tank| async move {
        let (cluster, history) = ensemble(&tank);
        let owner = client(&tank, "owner", &cluster.servers, |session| async move {
            session.create("/here", "", Mode::Ephemeral).await?;
            session.host().sleep(Duration::from_secs(8)).await;
            Ok(())
        });
        wait_for(&tank, &[owner]).await;
        let host = tank.host("owner").expect("it was added");
        let seen = client(&tank, "observer", &cluster.servers, |session| async move {
            let (there, watch) = session.exists_watched("/here").await?;
            assert!(there.is_some(), "8 s of silence of the application are not silence of its session");
            watch.changed().await;
            assert_eq!(session.exists("/here").await?, None);
            Ok(())
        });
        tank.sleep(Duration::from_secs(1)).await;
        tank.power_loss(host);
        wait_for(&tank, &[seen]).await;
        assert_sound(&history);
    });
    assert_eq!(result, Ok(()), "{:?}", outcome.violation);
}

#[test]
fn a_server_gives_no_session_the_number_of_an_earlier_one_whatever_its_role_was() {
    let (result, outcome) = in_tank(5, |tank| async move {
        let (cluster, history) = ensemble(&tank);
        let numbers = Rc::new(RefCell::new(Vec::new()));
        for round in ["one", "two", "three"] {
            let told = numbers.clone();
            let done = client(&tank, round, &cluster.servers[..1], move |session| {
                let told = told.clone();
                async move {
                    session.sync("/").await?;
                    told.borrow_mut().push(session.id());
                    Ok(())
                }
            });
            wait_for(&tank, &[done]).await;
            // The server goes through another election, in the same process.
            cluster.hosts[1..].iter().for_each(|host| tank.pause(*host));
            tank.sleep(Duration::from_secs(3)).await;
            cluster.hosts[1..].iter().for_each(|host| tank.resume(*host));
            tank.sleep(Duration::from_secs(3)).await;
        }
        let numbers: std::collections::BTreeSet<i64> = numbers.borrow().iter().copied().collect();
        assert_eq!(numbers.len(), 3);
        assert_sound(&history);
    });
    assert_eq!(result, Ok(()), "{:?}", outcome.violation);
}

#[test]
fn a_leader_whose_transactions_are_used_up_gives_way_to_a_new_epoch() {
    let (result, outcome) = in_tank(6, |tank| async move {
        let config = Config { transactions_per_epoch: 20, ..Config::default() };
        let (cluster, history) = ensemble_of(&tank, &config);
        let done = client(&tank, "client", &cluster.servers, |session| async move {
            while session.ensure("/a").await.is_err() {}
            let mut written = 0;
            while written < 100 {
                match session.set("/a", "x", None).await {
                    Ok(_) => written += 1,
                    Err(error) => assert_eq!(error, Error::Unknown),
                }
            }
            Ok(())
        });
        wait_for(&tank, &[done]).await;
        assert_sound(&history);
    });
    assert_eq!(result, Ok(()), "{:?}", outcome.violation);
    let name = "a leader stepped down because its transactions were used up";
    assert!(outcome.properties.iter().any(|tally| tally.name == name && 4 <= tally.hit));
}

#[test]
fn recipes_exclude_order_and_gather() {
    let (result, outcome) = in_tank(4, |tank| async move {
        let (cluster, history) = ensemble(&tank);
        let ready = client(&tank, "setup", &cluster.servers, |session| async move {
            session.ensure("/lock").await?;
            session.ensure("/queue").await?;
            session.ensure("/barrier").await
        });
        wait_for(&tank, &[ready]).await;
        let inside = Rc::new(RefCell::new(0));
        let fences = Rc::new(RefCell::new(Vec::new()));
        let mut all = Vec::new();
        for name in ["one", "two", "three"] {
            let (inside, fences) = (inside.clone(), fences.clone());
            all.push(client(&tank, name, &cluster.servers, move |session| {
                let (inside, fences) = (inside.clone(), fences.clone());
                async move {
                    Barrier::new(&session, "/barrier", name, 3).enter().await?;
                    for _ in 0..3 {
                        let lock = Lock::acquire(&session, "/lock", name).await?;
                        *inside.borrow_mut() += 1;
                        assert_eq!(*inside.borrow(), 1, "one holder at a time");
                        fences.borrow_mut().push(lock.fence());
                        session.host().sleep(Duration::from_millis(30)).await;
                        *inside.borrow_mut() -= 1;
                        lock.release().await?;
                        Queue::new(&session, "/queue").push(name).await?;
                    }
                    Barrier::new(&session, "/barrier", name, 3).leave().await
                }
            }));
        }
        all.push(client(&tank, "taker", &cluster.servers, |session| async move {
            for _ in 0..9 {
                Queue::new(&session, "/queue").pop().await?;
            }
            Ok(())
        }));
        wait_for(&tank, &all).await;
        let fences = fences.borrow().clone();
        assert!(fences.is_sorted() && fences.len() == 9, "{fences:?}");
        assert_sound(&history);
    });
    assert_eq!(result, Ok(()), "{:?}", outcome.violation);
}
