//! Coordination: a replicated tree of znodes, after ZooKeeper.

pub mod api;
mod database;
mod desk;
mod election;
mod elector;
mod follower;
mod journal;
mod jute;
mod leader;
mod message;
mod observer;
mod prepare;
mod recipes;
mod server;
mod service;
mod session;
mod snapshot;
mod storage;
mod tree;
mod txn;
mod watch;
mod wire;
pub mod zxid;

use std::cell::RefCell;
use std::rc::Rc;

use rand::Rng;
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::HostId;
use crate::base::{ByteSize, Problem, Span, Stream};
use crate::checkers::ensemble::History;
use crate::systems::Cluster;
use crate::world::fault::Budget;
use crate::world::{Address, DiskSpec, HostSpec, Tank};

pub(crate) use observer::Observer;
use server::Ended;
use zxid::ServerId;

/// The ensemble of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many servers vote: odd, from 1 to 9 (default 3).
    pub servers: u32,
    /// The ensemble's heartbeat; session time-outs are rounded up to it (default 200ms; drawn from 100ms to 400ms in a
    /// swarm).
    pub tick: Span,
    /// Ticks a follower may take to find its leader and copy its state (default 25; drawn from 10 to 40 in a swarm).
    pub init_limit: u32,
    /// Ticks without a word after which leader and follower give one another up (default 5; drawn from 4 to 10 in a swarm).
    pub sync_limit: u32,
    /// Transactions between two snapshots (default 1000; drawn from 4 to 2000 in a swarm, often few).
    pub snapshot_every: u32,
    /// Snapshots, with the logs that follow them, that are kept on disk (default 3; drawn from 1 to 5 in a swarm).
    pub snapshots_kept: u32,
    /// Committed transactions a leader keeps in memory for followers that lag (default 500; drawn from 2 to 1000 in a swarm, often
    /// few).
    pub committed_log: u32,
    /// Transactions of one leader; when they are used up it steps down, and the next one begins to count anew (default 4294967295,
    /// all that the counter holds; drawn from 300 to 3000 in one of four runs of a swarm).
    pub transactions_per_epoch: u32,
    /// A larger request ends its connection (`jute.maxbuffer`, default 1MiB).
    pub request_max: ByteSize,
    /// Cores of each server (default 2).
    pub cores: u32,
    /// The disk of each server.
    pub disk: DiskSpec,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: 3,
            tick: Span::millis(200),
            init_limit: 25,
            sync_limit: 5,
            snapshot_every: 1000,
            snapshots_kept: 3,
            committed_log: 500,
            transactions_per_epoch: u32::MAX,
            request_max: ByteSize::new(1 << 20),
            cores: 2,
            disk: DiskSpec::default(),
        }
    }
}

impl Config {
    /// What no ensemble could run with.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=9).contains(&self.servers) || self.servers.is_multiple_of(2) {
            let message = format!("{} servers cannot form a quorum system worth having", self.servers);
            problems.push(Problem::new("servers", message).help("use 1, 3, 5, 7 or 9"));
        }
        for (name, value) in [
            ("init_limit", self.init_limit),
            ("sync_limit", self.sync_limit),
            ("snapshot_every", self.snapshot_every),
            ("snapshots_kept", self.snapshots_kept),
            ("committed_log", self.committed_log),
            ("transactions_per_epoch", self.transactions_per_epoch),
            ("cores", self.cores),
        ] {
            if value == 0 {
                problems.push(Problem::new(name, "must be at least 1"));
            }
        }
        if self.request_max < ByteSize::new(1 << 10) {
            problems.push(Problem::new("request_max", format!("{} is smaller than 1KiB", self.request_max)));
        }
        if self.tick < Span::millis(1) {
            problems.push(Problem::new("tick", format!("{} is shorter than 1ms", self.tick)));
        }
        problems
    }

    /// Draws the constants that a swarm varies; returns what was drawn, by name.
    pub fn swarm(&mut self, stream: &mut Stream) -> Vec<(String, String)> {
        let few_or_many = |stream: &mut Stream, few, many| match stream.random_bool(0.5) {
            true => stream.random_range(few),
            false => stream.random_range(many),
        };
        if stream.random_bool(0.75) {
            self.snapshot_every = few_or_many(stream, 4..=40, 40..=2000);
        }
        if stream.random_bool(0.75) {
            self.committed_log = few_or_many(stream, 2..=20, 20..=1000);
        }
        if stream.random_bool(0.25) {
            self.transactions_per_epoch = stream.random_range(300..=3000);
        }
        // What is added here is added at the end, so that what a seed drew before stays.
        if stream.random_bool(0.5) {
            self.tick = Span::millis(stream.random_range(100..=400));
        }
        if stream.random_bool(0.5) {
            self.init_limit = stream.random_range(10..=40);
        }
        if stream.random_bool(0.5) {
            self.sync_limit = stream.random_range(4..=10);
        }
        if stream.random_bool(0.5) {
            self.snapshots_kept = stream.random_range(1..=5);
        }
        let drawn = [
            ("transactions_per_epoch", self.transactions_per_epoch.to_string()),
            ("snapshot_every", self.snapshot_every.to_string()),
            ("committed_log", self.committed_log.to_string()),
            ("tick", self.tick.to_string()),
            ("init_limit", self.init_limit.to_string()),
            ("sync_limit", self.sync_limit.to_string()),
            ("snapshots_kept", self.snapshots_kept.to_string()),
        ];
        drawn.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

/// Adds the hosts of an ensemble to a tank: `coordination-1` and on, in the zones by turns.
///
/// What it survives: every server may lose what was not synced, because nothing is acknowledged before a quorum has synced it; a
/// majority suffices for progress. No server may lose its disk and come back: it would have forgotten what it acknowledged, and could
/// make a quorum with those that never had it (ZooKeeper asks its operator not to let such a server vote, ZOOKEEPER-261). Damage is
/// another matter, because it is noticed: as many servers may be damaged as leave a majority of sound ones.
pub fn boot(tank: &Tank, config: &Config, history: Rc<RefCell<History>>) -> Cluster {
    let first = tank.hosts().len() as u32;
    let hosts: Vec<HostId> = (0..config.servers).map(|index| HostId::new(first + index)).collect();
    let servers: Rc<Vec<(ServerId, Address)>> = Rc::new(
        hosts
            .iter()
            .zip(1..)
            .map(|(host, number)| (ServerId::new(number), Address { host: *host, port: 0 }))
            .collect(),
    );
    let shared = Rc::new(config.clone());
    for (index, (me, address)) in servers.iter().enumerate() {
        let spec = HostSpec {
            name: format!("coordination-{}", index + 1),
            zone: tank.zone_of(index).to_owned(),
            system: "coordination",
            cores: config.cores,
            disk: config.disk.clone(),
        };
        let (me, servers, config, history) = (*me, servers.clone(), shared.clone(), history.clone());
        let host = tank.add_host(spec, move |host| {
            let observer = Observer::new(&host, me, history.clone());
            server::run(host, me, servers.clone(), config.clone(), observer)
        });
        assert_eq!(host, address.host, "hosts are numbered in order of their creation");
    }
    let majority = hosts.len() / 2 + 1;
    let budget = Budget {
        system: "coordination",
        hosts: hosts.clone(),
        unsynced_loss_max: hosts.len(),
        disk_loss_max: 0,
        damage_max: hosts.len() - majority,
    };
    let servers = hosts.iter().map(|host| Address { host: *host, port: service::CLIENT_PORT }).collect();
    let all = hosts.clone();
    let core = Rc::new(move |stream: &mut Stream| all.choose_multiple(stream, majority).copied().collect());
    Cluster { servers, hosts, budget, core }
}
