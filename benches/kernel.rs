//! What the kernel costs: messages, timers, disk operations, and how the cost grows with hosts and idleness.
//!
//! Each figure is real time per operation over a whole run; the ping-pong over madsim's own TcpStream and over turmoil runs in the
//! same process, so that their ratio is one of a single run: `cargo bench --bench kernel`.
#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::future::Future;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wavetank::base::{HostId, Seed};
use wavetank::world::{Address, DiskSpec, Host, HostSpec, Open, Tank, TankConfig};

const PAYLOAD: [u8; 64] = [7; 64];

/// Real time of a whole run on a fresh thread.
fn timed<F: Future<Output = ()> + 'static>(root: impl FnOnce(Tank) -> F + Send) -> Duration {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let config = TankConfig { zones: vec!["a".into()], ..TankConfig::default() };
            let began = Instant::now();
            let (result, outcome) = Tank::run(Seed::new(1), config, root);
            result.expect("the run ends well");
            black_box(outcome.digest);
            began.elapsed()
        });
        run.join().expect("the run does not panic")
    })
}

fn spec(name: String) -> HostSpec {
    HostSpec { name, zone: "a".into(), system: "bench", cores: 4, disk: DiskSpec::default() }
}

async fn echo(host: Host) {
    let mut listener = host.listen(1).await.expect("the port is free");
    loop {
        let mut connection = listener.accept().await;
        host.spawn("echo", async move {
            while let Ok(bytes) = connection.receiver.recv().await {
                let _ = connection.sender.send("Echo", bytes).await;
            }
        });
    }
}

async fn ping(host: Host, server: HostId, rounds: u64) {
    let mut connection = host.connect(Address { host: server, port: 1 }).await.expect("the server listens");
    for _ in 0..rounds {
        connection.sender.send("Ping", Bytes::from_static(&PAYLOAD)).await.expect("open");
        connection.receiver.recv().await.expect("open");
    }
    host.report_ready(true);
    std::future::pending::<()>().await;
}

/// `pairs` ping-pongs of `messages` messages in all.
fn ping_pong(pairs: u64, messages: u64) -> Duration {
    let rounds = messages.div_ceil(2 * pairs);
    timed(move |tank| async move {
        let servers: Vec<_> =
            (0..pairs).map(|index| tank.add_host(spec(format!("server-{index}")), echo)).collect();
        let client = |(index, server)| {
            tank.add_host(spec(format!("client-{index}")), move |host| ping(host, server, rounds))
        };
        let clients: Vec<_> = servers.into_iter().enumerate().map(client).collect();
        while !clients.iter().all(|client| tank.is_ready(*client)) {
            tank.sleep(Duration::from_millis(50)).await;
        }
    })
}

/// The same over madsim's own TcpStream.
fn ping_pong_madsim(pairs: u64, messages: u64) -> Duration {
    use madsim::net::{TcpListener, TcpStream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rounds = messages.div_ceil(2 * pairs);
    let run = move || {
        let began = Instant::now();
        let runtime = madsim::runtime::Runtime::with_seed_and_config(1, madsim::Config::default());
        runtime.block_on(async move {
            let handle = madsim::runtime::Handle::current();
            let mut clients = Vec::new();
            for pair in 0..pairs {
                let ip = |side: u64| {
                    format!("10.{side}.{}.{}", pair / 250, pair % 250 + 1).parse().expect("an address")
                };
                let (server, client): (std::net::IpAddr, std::net::IpAddr) = (ip(1), ip(2));
                let node = handle.create_node().ip(server).build();
                node.spawn(async move {
                    let listener = TcpListener::bind((server, 1)).await.expect("free");
                    let (mut stream, _) = listener.accept().await.expect("a client");
                    let mut buffer = [0; PAYLOAD.len()];
                    while stream.read_exact(&mut buffer).await.is_ok() {
                        stream.write_all(&buffer).await.expect("open");
                        stream.flush().await.expect("open");
                    }
                });
                let node = handle.create_node().ip(client).build();
                clients.push(node.spawn(async move {
                    madsim::time::sleep(Duration::from_millis(10)).await;
                    let mut stream = TcpStream::connect((server, 1)).await.expect("the server listens");
                    let mut buffer = PAYLOAD;
                    for _ in 0..rounds {
                        stream.write_all(&buffer).await.expect("open");
                        stream.flush().await.expect("open");
                        stream.read_exact(&mut buffer).await.expect("open");
                    }
                }));
            }
            for client in clients {
                client.await.expect("the client ends");
            }
        });
        began.elapsed()
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("the run does not panic"))
}

/// The same over turmoil.
fn ping_pong_turmoil(pairs: u64, messages: u64) -> Duration {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rounds = messages.div_ceil(2 * pairs);
    let began = Instant::now();
    let mut simulation = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(1_000_000))
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(Duration::from_micros(600))
        .rng_seed(1)
        .build();
    for pair in 0..pairs {
        simulation.host(format!("server-{pair}"), || async {
            let listener = turmoil::net::TcpListener::bind(("0.0.0.0", 1)).await?;
            let (mut stream, _) = listener.accept().await?;
            let mut buffer = [0; PAYLOAD.len()];
            while stream.read_exact(&mut buffer).await.is_ok() {
                stream.write_all(&buffer).await?;
            }
            Ok(())
        });
        simulation.client(format!("client-{pair}"), async move {
            let mut stream = turmoil::net::TcpStream::connect((format!("server-{pair}"), 1)).await?;
            let mut buffer = PAYLOAD;
            for _ in 0..rounds {
                stream.write_all(&buffer).await?;
                stream.read_exact(&mut buffer).await?;
            }
            Ok(())
        });
    }
    simulation.run().expect("the simulation ends well");
    began.elapsed()
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    group.sample_size(10);
    for pairs in [1, 50] {
        group.bench_function(BenchmarkId::new("wavetank", pairs), |bench| {
            bench.iter_custom(|messages| {
                ping_pong(pairs, messages.max(10_000)).mul_f64(messages as f64 / messages.max(10_000) as f64)
            });
        });
        group.bench_function(BenchmarkId::new("madsim", pairs), |bench| {
            bench.iter_custom(|messages| {
                ping_pong_madsim(pairs, messages.max(10_000))
                    .mul_f64(messages as f64 / messages.max(10_000) as f64)
            });
        });
        group.bench_function(BenchmarkId::new("turmoil", pairs), |bench| {
            bench.iter_custom(|messages| {
                ping_pong_turmoil(pairs, messages.clamp(500, 5_000))
                    .mul_f64(messages as f64 / messages.clamp(500, 5_000) as f64)
            });
        });
    }
    for pairs in [5, 50, 500] {
        group.bench_function(BenchmarkId::new("hosts", 2 * pairs), |bench| {
            bench.iter_custom(|messages| {
                ping_pong(pairs, messages.max(10_000)).mul_f64(messages as f64 / messages.max(10_000) as f64)
            });
        });
    }
    group.finish();
}

fn idle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message-beside-idle-hosts");
    group.sample_size(10);
    for idle in [0, 1000] {
        group.bench_function(BenchmarkId::from_parameter(idle), |bench| {
            bench.iter_custom(|messages| {
                let rounds = messages.max(100_000).div_ceil(2);
                let spent = timed(move |tank| async move {
                    for index in 0..idle {
                        tank.add_host(spec(format!("idle-{index}")), |_| std::future::pending());
                    }
                    let server = tank.add_host(spec("server".into()), echo);
                    let client = tank.add_host(spec("client".into()), move |host| ping(host, server, rounds));
                    while !tank.is_ready(client) {
                        tank.sleep(Duration::from_millis(50)).await;
                    }
                });
                spent.mul_f64(messages as f64 / (2 * rounds) as f64)
            });
        });
    }
    group.finish();
}

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer");
    group.sample_size(10);
    for (name, cancelled) in [("fired", false), ("cancelled", true)] {
        group.bench_function(name, |bench| {
            bench.iter_custom(|count| {
                timed(move |tank| async move {
                    let host = tank.add_host(spec("one".into()), move |host| async move {
                        for _ in 0..count {
                            if cancelled {
                                let _ = host.timeout(Duration::from_secs(60), std::future::ready(())).await;
                            } else {
                                host.sleep(Duration::from_micros(3)).await;
                            }
                        }
                        host.report_ready(true);
                        std::future::pending::<()>().await;
                    });
                    while !tank.is_ready(host) {
                        tank.sleep(Duration::from_millis(50)).await;
                    }
                })
            });
        });
    }
    group.finish();
}

fn disk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("disk");
    group.sample_size(10);
    for (name, synced) in [("append", false), ("append-and-sync", true)] {
        group.bench_function(name, |bench| {
            bench.iter_custom(|count| {
                timed(move |tank| async move {
                    let host = tank.add_host(spec("one".into()), move |host| async move {
                        let mut file = host.disk().open("/0", Open::Create).await.expect("room");
                        for number in 0..count {
                            if number % 10_000 == 9_999 {
                                host.disk().remove(file.path()).await.expect("there");
                                file = host
                                    .disk()
                                    .open(&format!("/{number}"), Open::Create)
                                    .await
                                    .expect("room");
                            }
                            file.append(&[7; 256]).await.expect("room");
                            if synced {
                                file.sync().await.expect("healthy");
                            }
                        }
                        host.report_ready(true);
                        std::future::pending::<()>().await;
                    });
                    while !tank.is_ready(host) {
                        tank.sleep(Duration::from_millis(50)).await;
                    }
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, messages, idle, timers, disk);
criterion_main!(benches);
