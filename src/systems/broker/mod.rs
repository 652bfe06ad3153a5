//! Brokers: replicated, partitioned logs of records, after Kafka.

pub mod api;
mod cluster;
mod controller;
mod epochs;
mod fetcher;
pub mod id;
mod log;
mod message;
mod observer;
mod outline;
mod partition;
mod operations;
mod producers;
pub mod records;
mod reassign;
mod replica;
mod requests;
mod segment;
mod server;
mod wire;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use rand::Rng;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::HostId;
use crate::base::{ByteSize, Problem, Span, Stream};
use crate::checkers::replication::{History, Written};
use crate::systems::Cluster;
use crate::world::fault::Budget;
use crate::world::{Address, DiskSpec, HostSpec, Tank};

use id::BrokerId;
pub(crate) use observer::Observer;

/// The broker cluster of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many brokers: from 1 to 64 (default 3).
    pub brokers: u32,
    /// Topics that exist from the start. Clients may create more.
    pub topics: Vec<TopicConfig>,
    /// A follower that has not reached its leader's log end for this long leaves the in-sync set (default 2s).
    pub replica_lag_max: Span,
    /// How long a follower's fetch waits for records (default 200ms).
    pub replica_fetch_wait: Span,
    /// The time-out of a broker's coordination session (default 3s; drawn from 1s to 6s in a swarm).
    pub session_timeout: Span,
    /// How often leadership moves back to the preferred replicas; 0s never (default 10s; drawn from 1s to 20s in a swarm).
    pub preferred_leader_every: Span,
    /// How often old segments are looked for (default 5s).
    pub retention_check_every: Span,
    /// How often logs are synced in the background; 0s leaves it to segment rolls and clean shutdowns, as Kafka does (default 0s).
    pub flush_every: Span,
    /// A larger batch is refused (`message.max.bytes`, default 1MiB).
    pub message_max: ByteSize,
    /// A larger request ends its connection (`socket.request.max.bytes`, default 100MiB).
    pub request_max: ByteSize,
    /// Bytes of records between two entries of an offset index (default 4KiB; drawn from 64B to 32KiB in a swarm).
    pub index_interval: ByteSize,
    /// Cores of each broker (default 4).
    pub cores: u32,
    /// The disk of each broker.
    pub disk: DiskSpec,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// Its name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// How many parts (default 1).
    #[serde(default = "one")]
    pub partitions: u32,
    /// Copies of each (default 1).
    #[serde(default = "one")]
    pub replicas: u32,
    /// Copies that must be in sync for acks=all to be accepted (default 1).
    #[serde(default = "one")]
    pub min_in_sync: u32,
    /// Let a replica that is not in sync lead when no other can: loses records (default false).
    #[serde(default)]
    pub unclean_leader_election: bool,
    /// A segment is closed at this size (default 1MiB; drawn from 512B up in a swarm).
    #[serde(default = "TopicConfig::segment_default")]
    pub segment: ByteSize,
    /// Records may be removed when they are older than this (default: kept for ever).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
    /// Old segments may be removed while the log is larger than this (default: no limit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_size: Option<ByteSize>,
}

fn one() -> u32 {
    1
}

impl TopicConfig {
    /// A topic with the default settings.
    pub fn new(name: &str, partitions: u32, replicas: u32, min_in_sync: u32) -> Self {
        Self {
            name: name.to_owned(),
            partitions,
            replicas,
            min_in_sync,
            unclean_leader_election: false,
            segment: Self::segment_default(),
            retention: None,
            retention_size: None,
        }
    }

    fn segment_default() -> ByteSize {
        ByteSize::new(1 << 20)
    }

    /// What no cluster of `brokers` could make of this topic.
    pub fn validate(&self, brokers: u32) -> Vec<Problem> {
        let mut problems = Vec::new();
        let legal = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if self.name.is_empty() || 249 < self.name.len() || !self.name.chars().all(legal) {
            problems.push(
                Problem::new("name", format!("`{}` cannot be the name of a topic", self.name))
                    .help("use up to 249 letters, digits, `.`, `_` and `-`"),
            );
        }
        if self.partitions == 0 || 10_000 < self.partitions {
            problems.push(Problem::new("partitions", "must be from 1 to 10000"));
        }
        if self.replicas == 0 {
            problems.push(Problem::new("replicas", "must be at least 1"));
        }
        if brokers < self.replicas {
            let message =
                format!("{} replicas need {} brokers, there are {brokers}", self.replicas, self.replicas);
            problems.push(
                Problem::new("replicas", message)
                    .help(format!("use at most {brokers} replicas, or more brokers")),
            );
        }
        if self.min_in_sync == 0 || self.replicas < self.min_in_sync {
            let message = format!("{} of {} replicas can never be in sync", self.min_in_sync, self.replicas);
            problems.push(Problem::new("min_in_sync", message).help("use 1 up to the number of replicas"));
        }
        if self.segment.get() < 256 {
            problems.push(Problem::new("segment", format!("{} is smaller than 256B", self.segment)));
        }
        problems
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: 3,
            topics: Vec::new(),
            replica_lag_max: Span::secs(2),
            replica_fetch_wait: Span::millis(200),
            session_timeout: Span::secs(3),
            preferred_leader_every: Span::secs(10),
            retention_check_every: Span::secs(5),
            flush_every: Span::default(),
            message_max: ByteSize::new(1 << 20),
            request_max: ByteSize::new(100 << 20),
            index_interval: ByteSize::new(4096),
            cores: 4,
            disk: DiskSpec::default(),
        }
    }
}

impl Config {
    /// What no cluster could run with.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.brokers == 0 || 64 < self.brokers {
            problems.push(Problem::new("brokers", format!("{} is not from 1 to 64", self.brokers)));
        }
        if self.cores == 0 {
            problems.push(Problem::new("cores", "must be at least 1"));
        }
        for (name, span) in [
            ("replica_lag_max", self.replica_lag_max),
            ("session_timeout", self.session_timeout),
            ("retention_check_every", self.retention_check_every),
        ] {
            if span < Span::millis(10) {
                problems.push(Problem::new(name, format!("{span} is shorter than 10ms")));
            }
        }
        for (name, size) in [("message_max", self.message_max), ("request_max", self.request_max)] {
            if size < ByteSize::new(1 << 10) {
                problems.push(Problem::new(name, format!("{size} is smaller than 1KiB")));
            }
        }
        for (index, topic) in self.topics.iter().enumerate() {
            let parent = format!("topics.{index}");
            problems.extend(topic.validate(self.brokers).into_iter().map(|problem| problem.within(&parent)));
            if self.topics[..index].iter().any(|other| other.name == topic.name) {
                problems
                    .push(Problem::new(format!("{parent}.name"), format!("`{}` stands twice", topic.name)));
            }
        }
        problems
    }

    /// Draws the constants that a swarm varies; returns what was drawn, by name.
    pub fn swarm(&mut self, stream: &mut Stream) -> Vec<(String, String)> {
        let mut drawn = Vec::new();
        let mut note = |name: &str, value: String| drawn.push((name.to_owned(), value));
        if stream.random_bool(0.5) {
            let segment = ByteSize::new(512 << stream.random_range(0..10));
            for topic in &mut self.topics {
                topic.segment = segment;
                note(&format!("topics.{}.segment", topic.name), segment.to_string());
            }
        }
        if stream.random_bool(0.5) {
            self.replica_lag_max = Span::millis(stream.random_range(500..=5000));
            note("replica_lag_max", self.replica_lag_max.to_string());
        }
        if stream.random_bool(0.5) {
            self.replica_fetch_wait = Span::millis(stream.random_range(5..=500));
            note("replica_fetch_wait", self.replica_fetch_wait.to_string());
        }
        // What is added here is added at the end, so that what a seed drew before stays.
        if stream.random_bool(0.5) {
            self.session_timeout = Span::millis(stream.random_range(1000..=6000));
            note("session_timeout", self.session_timeout.to_string());
        }
        if stream.random_bool(0.5) {
            self.preferred_leader_every = Span::millis(stream.random_range(1000..=20_000));
            note("preferred_leader_every", self.preferred_leader_every.to_string());
        }
        if stream.random_bool(0.25) {
            self.flush_every = Span::millis(stream.random_range(50..=5000));
            note("flush_every", self.flush_every.to_string());
        }
        if stream.random_bool(0.5) {
            self.index_interval = ByteSize::new(64 << stream.random_range(0..10));
            note("index_interval", self.index_interval.to_string());
        }
        drawn
    }
}

/// Adds the hosts of a cluster to a tank: `broker-1` and on, in the zones by turns. `ensemble`: where coordination is reached.
///
/// What it survives: of each topic partition, `min_in_sync - 1` of those that hold what was acknowledged may lose what was not synced,
/// or their disk, before they are back in sync everywhere, or hold damage. A core is all who may lead somewhere, and as many replicas more as writes need.
pub fn boot(tank: &Tank, config: &Config, ensemble: &[Address], history: Rc<RefCell<History>>) -> Cluster {
    let shared = Rc::new(config.clone());
    let servers = Rc::new(ensemble.to_vec());
    let mut hosts: Vec<HostId> = Vec::new();
    for number in 1..=config.brokers {
        let spec = HostSpec {
            name: format!("broker-{number}"),
            zone: tank.zone_of(number as usize - 1).to_owned(),
            system: "broker",
            cores: config.cores,
            disk: config.disk.clone(),
        };
        let me = BrokerId::new(number as i32);
        let (servers, config, history) = (servers.clone(), shared.clone(), history.clone());
        hosts.push(tank.add_host(spec, move |host| {
            let observer = Observer::new(&host, me, history.clone());
            server::run(host, me, servers.clone(), config.clone(), observer)
        }));
    }
    let spare = config.topics.iter().map(|topic| topic.min_in_sync as usize - 1).min().unwrap_or(0);
    let budget = Budget {
        system: "broker",
        hosts: hosts.clone(),
        unsynced_loss_max: spare,
        disk_loss_max: spare,
        damage_max: spare,
    };
    let servers = hosts.iter().map(|host| Address { host: *host, port: server::CLIENT_PORT }).collect();
    let (all, min) = (hosts.clone(), config.topics.iter().map(|topic| topic.min_in_sync).max().unwrap_or(1));
    let core = Rc::new(move |stream: &mut Stream| draw_core(&all, min as usize, &history.borrow(), stream));
    Cluster { servers, hosts, budget, core }
}

/// Leaves out brokers in random order, as long as every topic partition keeps all that may lead (one of them may have lost power, and be
/// passed over when it is back) and `min_in_sync` replicas.
fn draw_core(hosts: &[HostId], min_in_sync: usize, history: &History, stream: &mut Stream) -> Vec<HostId> {
    let mut core: BTreeSet<i32> = (1..).take(hosts.len()).collect();
    let mut order: Vec<i32> = core.iter().copied().collect();
    order.shuffle(stream);
    for broker in order {
        let stays = |other: &&i32| **other != broker && core.contains(other);
        let spares = |state: &Written| {
            let left = state.replicas.iter().filter(stays).count();
            let may_lead = state.in_sync.contains(&broker) || state.eligible.contains(&broker);
            !may_lead && min_in_sync.min(state.replicas.len()) <= left
        };
        if history.latest().all(spares) {
            core.remove(&broker);
        }
    }
    core.into_iter().map(|broker| hosts[broker as usize - 1]).collect()
}
