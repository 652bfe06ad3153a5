//! Senseless requests to real servers: what is refused, and that what is not would be found.

use std::rc::Rc;
use std::time::Duration;

use wavetank::base::ByteSize;
use wavetank::systems::broker::{self, TopicConfig};
use wavetank::systems::coordination;
use wavetank::workloads::Workload;
use wavetank::workloads::garbage::{Config, GarbageWorkload, Servers, Victims};

use crate::world_time::in_tank;

const KIB: usize = 1 << 10;

/// The checks that fail when the clients believe in these limits: of requests to coordination, of requests to brokers, of batches. The
/// servers go by 64KiB, 256KiB and 32KiB.
fn broken(coordination_max: usize, request_max: usize, batch_max: usize) -> Vec<&'static str> {
    let (checks, outcome) = in_tank(1, move |tank| async move {
        let config =
            coordination::Config { request_max: ByteSize::new(64 << 10), ..coordination::Config::default() };
        let quorum = coordination::boot(&tank, &config, Rc::default());
        let config = broker::Config {
            topics: vec![TopicConfig::new("garbage", 1, 3, 2)],
            message_max: ByteSize::new(32 << 10),
            request_max: ByteSize::new(256 << 10),
            ..broker::Config::default()
        };
        let cluster = broker::boot(&tank, &config, &quorum.servers, Rc::default());
        let victims = Victims {
            coordination: Servers { addresses: quorum.servers, request_max: coordination_max },
            brokers: Servers { addresses: cluster.servers, request_max },
            batch_max,
        };
        let garbage = GarbageWorkload::new(&Config::default(), &victims);
        garbage.boot(&tank);
        let look = Duration::from_millis(50);
        let ready = || cluster.hosts.iter().all(|host| tank.is_ready(*host));
        assert!(tank.wait_until(Duration::from_secs(30), look, ready).await, "the cluster comes up");
        garbage.start(tank.now());
        tank.sleep(Duration::from_secs(10)).await;
        garbage.stop();
        garbage.read_back();
        let settled = tank.wait_until(Duration::from_secs(60), look, || garbage.settled().is_ok()).await;
        assert!(settled, "{:?}", garbage.settled());
        garbage.judge()
    });
    let checks = checks.unwrap_or_else(|error| panic!("{error:?}: {:?}", outcome.violation));
    assert!(checks.iter().all(|check| 0 < check.looked_at), "{checks:#?}");
    checks.into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
}

const SERVED: &str = "no senseless request is served";
const TURNED_DOWN: &str = "with nothing broken, each senseless request is turned down as the protocol says";
const STORED: &str = "nothing of a senseless request is stored";

#[test]
fn servers_turn_down_what_is_malformed_oversized_cut_short_or_unknown() {
    assert_eq!(broken(64 * KIB, 256 * KIB, 32 * KIB), [""; 0]);
}

#[test]
fn a_server_that_takes_what_it_should_not_is_found() {
    assert_eq!(broken(2 * KIB, 256 * KIB, 32 * KIB), [SERVED, TURNED_DOWN, STORED], "by coordination");
    assert_eq!(broken(64 * KIB, 256 * KIB, 2 * KIB), [SERVED, TURNED_DOWN, STORED], "a batch, by brokers");
    assert_eq!(broken(64 * KIB, 64 * KIB, 32 * KIB), [SERVED, TURNED_DOWN], "a request, by brokers");
}
