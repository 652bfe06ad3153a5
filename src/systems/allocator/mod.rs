//! Allocators: which arm of which experiment a visitor gets, and weights that follow from what came of it.
//!
//! Any allocator answers any app. All follow two znodes: the catalogue, which operators change, and what is believed, with the weights
//! that follow. One allocator at a time, the learner, reads exposures and outcomes from the brokers. What it has read and cannot count
//! yet stands in a third znode, which the others need not read; the learner writes that and its beliefs in one transaction, by
//! compare-and-set, so that another goes on from exactly there. Nothing is kept on disk.

pub mod api;
mod assign;
mod catalogue;
mod event;
mod experiment;
mod learner;
mod message;
mod observer;
mod progress;
mod service;
mod term;

use std::cell::RefCell;
use std::rc::Rc;

use rand::Rng;
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{HostId, Problem, Span, Stream};
use crate::checkers::experiment::History;
use crate::systems::Cluster;
use crate::world::fault::Budget;
use crate::world::{Address, DiskSpec, HostSpec, Tank};

use observer::Observer;

/// The allocators of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many servers: from 1 to 64 (default 3).
    pub servers: u32,
    /// The time-out of a server's coordination session (default 2s; drawn from 1s to 6s in a swarm).
    pub session_timeout: Span,
    /// How often what was learnt is written down, and the weights follow it (default 500ms; drawn from 50ms to 3s in a swarm).
    pub learn_every: Span,
    /// How far apart the times of an exposure and of its outcome may lie, by their records, for the outcome to count; whatever is
    /// older than that by the logs is forgotten (default 1h; drawn from 1s to 60s in a swarm, often few).
    pub attribution: Span,
    /// The topic of exposures (default `exposures`); it must stand under `systems.broker.topics`.
    pub exposures: String,
    /// The topic of outcomes (default `outcomes`); it must stand under `systems.broker.topics`.
    pub outcomes: String,
    /// Cores of each server (default 2).
    pub cores: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: 3,
            session_timeout: Span::secs(2),
            learn_every: Span::millis(500),
            attribution: Span::secs(3600),
            exposures: "exposures".to_owned(),
            outcomes: "outcomes".to_owned(),
            cores: 2,
        }
    }
}

impl Config {
    /// What no allocators could run with.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=64).contains(&self.servers) {
            problems.push(Problem::new("servers", format!("{} is not from 1 to 64", self.servers)));
        }
        if self.cores == 0 {
            problems.push(Problem::new("cores", "must be at least 1"));
        }
        for (name, span) in [
            ("session_timeout", self.session_timeout),
            ("learn_every", self.learn_every),
            ("attribution", self.attribution),
        ] {
            if span < Span::millis(10) {
                problems.push(Problem::new(name, format!("{span} is shorter than 10ms")));
            }
        }
        if self.exposures == self.outcomes {
            problems.push(Problem::new("outcomes", "exposures and outcomes need a topic each"));
        }
        problems
    }

    /// Draws the constants that a swarm varies; returns what was drawn, by name.
    pub fn swarm(&mut self, stream: &mut Stream) -> Vec<(String, String)> {
        if stream.random_bool(0.5) {
            self.session_timeout = Span::millis(stream.random_range(1000..=6000));
        }
        if stream.random_bool(0.5) {
            self.learn_every = Span::millis(stream.random_range(50..=3000));
        }
        if stream.random_bool(0.75) {
            let longest = if stream.random_bool(0.5) { 6_000 } else { 60_000 };
            self.attribution = Span::millis(stream.random_range(1000..=longest));
        }
        let drawn = [
            ("session_timeout", self.session_timeout),
            ("learn_every", self.learn_every),
            ("attribution", self.attribution),
        ];
        drawn.map(|(name, value)| (name.to_owned(), value.to_string())).to_vec()
    }

    /// The name of a topic.
    fn topic(&self, kind: event::Kind) -> &str {
        match kind {
            event::Kind::Exposures => &self.exposures,
            event::Kind::Outcomes => &self.outcomes,
        }
    }
}

/// What allocators are connected to.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// Where coordination is reached.
    pub ensemble: Vec<Address>,
    /// Where the brokers are.
    pub brokers: Vec<Address>,
}

/// Adds the hosts of the allocators to a tank: `allocator-1` and on, in the zones by turns.
///
/// What they survive: everything, as they keep nothing. One suffices.
pub fn boot(tank: &Tank, config: &Config, neighbours: Neighbours, history: Rc<RefCell<History>>) -> Cluster {
    history.borrow_mut().attribution(config.attribution.get());
    let (shared, neighbours) = (Rc::new(config.clone()), Rc::new(neighbours));
    let mut hosts: Vec<HostId> = Vec::new();
    for number in 1..=config.servers {
        let spec = HostSpec {
            name: format!("allocator-{number}"),
            zone: tank.zone_of(number as usize - 1).to_owned(),
            system: "allocator",
            cores: config.cores,
            disk: DiskSpec::default(),
        };
        let (config, neighbours, history) = (shared.clone(), neighbours.clone(), history.clone());
        hosts.push(tank.add_host(spec, move |host| {
            let observer = Observer::new(&host, history.clone());
            service::run(host, config.clone(), neighbours.clone(), observer)
        }));
    }
    let budget = Budget {
        system: "allocator",
        hosts: hosts.clone(),
        unsynced_loss_max: hosts.len(),
        disk_loss_max: hosts.len(),
        damage_max: hosts.len(),
    };
    let servers = hosts.iter().map(|host| Address { host: *host, port: message::PORT }).collect();
    let all = hosts.clone();
    let core = Rc::new(move |stream: &mut Stream| all.choose(stream).copied().into_iter().collect());
    Cluster { servers, hosts, budget, core }
}
