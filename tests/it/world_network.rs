//! The network's promises, and what breaks them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use wavetank::base::HostId;
use wavetank::world::rpc::Caller;
use wavetank::world::{Address, ConnectError, ConnectionError, Host, Tank};

use crate::world_time::{in_tank, spec};

type Seen = Rc<RefCell<Vec<(u64, String)>>>;

/// A server that notes what it receives (time in ms, text) and answers each message with itself.
fn echo_server(tank: &Tank, seen: &Seen) -> HostId {
    let seen = seen.clone();
    tank.add_host(spec("server", "a"), move |host| {
        let seen = seen.clone();
        async move {
            let mut listener = host.listen(7).await.expect("the port is free");
            loop {
                let mut connection = listener.accept().await;
                let (host2, seen) = (host.clone(), seen.clone());
                host.spawn("serve", async move {
                    while let Ok(bytes) = connection.receiver.recv().await {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        seen.borrow_mut().push((host2.true_time().as_millis(), text));
                        let _ = connection.sender.send("Echo", bytes).await;
                    }
                });
            }
        }
    })
}

fn one(host: HostId) -> BTreeSet<HostId> {
    BTreeSet::from([host])
}

async fn never_ends(host: Host) {
    loop {
        host.sleep(Duration::from_secs(3600)).await;
    }
}

#[test]
fn messages_of_a_connection_arrive_once_and_in_order() {
    let (received, _) = in_tank(3, |tank| async move {
        let seen = Seen::default();
        let server = echo_server(&tank, &seen);
        tank.add_host(spec("client", "b"), move |host| async move {
            let connection =
                host.connect(Address { host: server, port: 7 }).await.expect("the server listens");
            for number in 0..100 {
                let text = Bytes::from(number.to_string());
                connection.sender.send("Number", text).await.expect("the connection is open");
            }
            never_ends(host).await;
        });
        tank.sleep(Duration::from_secs(1)).await;
        seen.take().into_iter().map(|(_, text)| text).collect::<Vec<_>>()
    });
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(received, Ok(expected));
}

#[test]
fn a_partition_stalls_a_connection_and_the_heal_lets_it_go_on() {
    let (received, _) = in_tank(3, |tank| async move {
        let seen = Seen::default();
        let server = echo_server(&tank, &seen);
        let client = tank.add_host(spec("client", "b"), move |host| async move {
            let connection =
                host.connect(Address { host: server, port: 7 }).await.expect("the server listens");
            for number in 0..10 {
                let text = Bytes::from(number.to_string());
                connection.sender.send("Number", text).await.expect("the connection outlives the partition");
                host.sleep(Duration::from_secs(1)).await;
            }
            never_ends(host).await;
        });
        tank.sleep(Duration::from_millis(2500)).await;
        let blocked = tank.block(&one(client), &one(server));
        tank.sleep(Duration::from_secs(5)).await;
        let before = seen.borrow().len();
        tank.unblock(blocked);
        tank.sleep(Duration::from_secs(9)).await;
        (before, seen.take())
    });
    let (before, after) = received.expect("the run ends");
    assert_eq!(before, 3, "nothing passes a partition");
    let texts: Vec<&str> = after.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert!(after.iter().all(|(at, _)| *at < 2500 || 7500 < *at), "{after:?}");
}

#[test]
fn a_long_partition_times_the_connection_and_the_connect_out() {
    let (ends, _) = in_tank(3, |tank| async move {
        let ends: Rc<RefCell<Vec<String>>> = Rc::default();
        let server = echo_server(&tank, &Seen::default());
        let log = ends.clone();
        let client = tank.add_host(spec("client", "b"), move |host| {
            let log = log.clone();
            async move {
                let to = Address { host: server, port: 7 };
                let mut connection = host.connect(to).await.expect("the server listens");
                host.sleep(Duration::from_secs(1)).await;
                connection.sender.send("Number", Bytes::from("x")).await.expect("the send is handed over");
                let ended = connection.receiver.recv().await;
                log.borrow_mut().push(format!("{ended:?}"));
                let refused = host.connect(to).await.err();
                log.borrow_mut().push(format!("{refused:?}"));
                never_ends(host).await;
            }
        });
        tank.sleep(Duration::from_millis(500)).await;
        let _blocked = tank.block(&one(client), &one(server));
        tank.sleep(Duration::from_secs(60)).await;
        ends.take()
    });
    let expected = vec![
        format!("{:?}", Err::<Bytes, _>(ConnectionError::TimedOut)),
        format!("{:?}", Some(ConnectError::TimedOut)),
    ];
    assert_eq!(ends, Ok(expected));
}

#[test]
fn a_crash_is_seen_at_once_and_a_power_loss_only_after_the_restart() {
    for (power_loss, expected) in [(false, 1000..1100), (true, 6000..8000)] {
        let (seen_at, _) = in_tank(3, move |tank| async move {
            let seen_at: Rc<RefCell<Vec<(u64, String)>>> = Rc::default();
            let server = echo_server(&tank, &Seen::default());
            let log = seen_at.clone();
            tank.add_host(spec("client", "b"), move |host| {
                let log = log.clone();
                async move {
                    let to = Address { host: server, port: 7 };
                    let mut connection = host.connect(to).await.expect("the server listens");
                    host.sleep(Duration::from_millis(1500)).await;
                    let _ = connection.sender.send("Number", Bytes::from("x")).await;
                    let ended = connection.receiver.recv().await.expect_err("the server is gone");
                    log.borrow_mut().push((host.true_time().as_millis(), ended.to_string()));
                    never_ends(host).await;
                }
            });
            tank.sleep(Duration::from_millis(1000)).await;
            if power_loss {
                tank.power_loss(server)
            } else {
                tank.crash(server)
            }
            tank.sleep(Duration::from_secs(5)).await;
            tank.start(server);
            tank.sleep(Duration::from_secs(5)).await;
            seen_at.take()
        });
        let seen_at = seen_at.expect("the run ends");
        assert_eq!(seen_at.len(), 1, "power loss: {power_loss}");
        assert_eq!(seen_at[0].1, ConnectionError::Reset.to_string(), "power loss: {power_loss}");
        let waited = if power_loss { expected } else { 1500..1600 };
        assert!(waited.contains(&seen_at[0].0), "power loss: {power_loss}: {seen_at:?}");
    }
}

#[test]
fn a_full_window_stalls_the_sender_until_the_reader_reads() {
    let (sent, _) = in_tank(3, |tank| async move {
        let sent = Rc::new(RefCell::new(Vec::new()));
        let reader = tank.add_host(spec("reader", "a"), |host| async move {
            let mut listener = host.listen(7).await.expect("the port is free");
            let mut connection = listener.accept().await;
            host.sleep(Duration::from_secs(5)).await;
            while connection.receiver.recv().await.is_ok() {}
        });
        let log = sent.clone();
        tank.add_host(spec("writer", "a"), move |host| {
            let log = log.clone();
            async move {
                let connection =
                    host.connect(Address { host: reader, port: 7 }).await.expect("the reader listens");
                for _ in 0..40 {
                    connection.sender.send("Block", Bytes::from(vec![0; 100_000])).await.expect("open");
                    log.borrow_mut().push(host.true_time().as_millis() / 1000);
                }
                never_ends(host).await;
            }
        });
        tank.sleep(Duration::from_secs(10)).await;
        sent.take()
    });
    let sent = sent.expect("the run ends");
    assert_eq!(sent.len(), 40);
    assert!(sent.iter().filter(|second| **second == 0).count() < 15, "{sent:?}");
}

#[test]
fn closing_delivers_what_was_sent_before() {
    let (seen, _) = in_tank(3, |tank| async move {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = seen.clone();
        let reader = tank.add_host(spec("reader", "a"), move |host| {
            let log = log.clone();
            async move {
                let mut listener = host.listen(7).await.expect("the port is free");
                let mut connection = listener.accept().await;
                loop {
                    let received = connection.receiver.recv().await;
                    log.borrow_mut().push(format!("{received:?}"));
                    if received.is_err() {
                        return never_ends(host).await;
                    }
                }
            }
        });
        tank.add_host(spec("writer", "b"), move |host| async move {
            let connection =
                host.connect(Address { host: reader, port: 7 }).await.expect("the reader listens");
            connection.sender.send("Last", Bytes::from("words")).await.expect("open");
            drop(connection);
            never_ends(host).await;
        });
        tank.sleep(Duration::from_secs(1)).await;
        seen.take()
    });
    assert_eq!(seen, Ok(vec!["Ok(b\"words\")".to_owned(), "Err(Closed)".to_owned()]));
}

#[test]
fn calls_that_begin_before_there_is_a_connection_share_it_and_keep_their_order() {
    let (frames, _) = in_tank(5, |tank| async move {
        let frames: Rc<RefCell<Vec<(usize, u64)>>> = Rc::default();
        let seen = frames.clone();
        let server = tank.add_host(spec("server", "a"), move |host| {
            let seen = seen.clone();
            async move {
                let mut listener = host.listen(7).await.expect("the port is free");
                for number in 0.. {
                    let (seen, mut connection) = (seen.clone(), listener.accept().await);
                    host.spawn("serve", async move {
                        while let Ok(frame) = connection.receiver.recv().await {
                            let call = frame.first_chunk::<8>().expect("a frame begins with its number");
                            seen.borrow_mut().push((number, u64::from_be_bytes(*call)));
                            let _ = connection.sender.send("Echo", frame).await;
                        }
                    });
                }
            }
        });
        let done = Rc::new(RefCell::new(0));
        let count = done.clone();
        tank.add_host(spec("client", "b"), move |host| {
            let count = count.clone();
            async move {
                let caller =
                    Rc::new(Caller::<u64, u64>::new(host.clone(), Address { host: server, port: 7 }));
                for number in 0..20 {
                    let (caller, count) = (caller.clone(), count.clone());
                    host.spawn("call", async move {
                        let told = caller.call("Number", &number, Duration::from_secs(5)).await;
                        assert_eq!(told, Ok(number));
                        *count.borrow_mut() += 1;
                    });
                }
                never_ends(host).await;
            }
        });
        let all = || *done.borrow() == 20;
        let ended = tank.wait_until(Duration::from_secs(10), Duration::from_millis(10), all).await;
        assert!(ended, "all calls end");
        frames.take()
    });
    let expected: Vec<(usize, u64)> = (0..20).map(|call| (0, call)).collect();
    assert_eq!(frames, Ok(expected));
}
