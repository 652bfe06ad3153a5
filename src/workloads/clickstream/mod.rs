//! Clickstream: real logged impressions, replayed at their own rhythm through producers to a topic, and read back by consumers.
//!
//! Promises judged: what `delivery` says of each event ([`crate::checkers::delivery`]). Every event is handed to a producer once.

mod clients;
pub mod impression;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Better, ByteSize, Figure, Problem, SimTime, Span, Stream};
use crate::checkers::Check;
use crate::checkers::delivery::{self, History, Judgement, Loss, Promise};
use crate::checkers::service::Request;
use crate::workloads::delivery::Delivery;
use crate::workloads::{LocalBoxFuture, Workload};
use crate::world::{Address, DiskSpec, HostSpec, Tank};

use clients::{Client, Notebook, Order};
use impression::Impression;

/// How many replicas must have a record before its producer is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acks {
    /// None: the producer does not wait.
    None,
    /// The leader alone.
    Leader,
    /// Every replica in sync.
    #[default]
    All,
}

/// What the scenario lets the brokers lose without calling it a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MayLose {
    /// Nothing that was acknowledged.
    #[default]
    Nothing,
    /// What was acknowledged before it was replicated (`acks` of none or leader). What a consumer was given stays.
    Acknowledged,
    /// Even what consumers have read: unclean elections, or more disks lost than there are replicas to spare.
    Read,
}

/// A clickstream of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of this workload and the first part of its hosts' names, unique in the scenario (default `clickstream`).
    #[serde(default = "Config::name_default")]
    pub name: String,
    /// A Parquet file of logged impressions with columns `timestamp`, `item_id`, `click`, `propensity` and
    /// `user_feature_0` to `user_feature_3`; relative to the scenario file.
    pub source: PathBuf,
    /// How many times faster than logged the events come (default 5000: a week in two minutes).
    #[serde(default = "Config::speed_up_default")]
    pub speed_up: f64,
    /// The topic (default `clicks`); it must stand under `systems.broker.topics`.
    #[serde(default = "Config::topic_default")]
    pub topic: String,
    /// How many producers share the events by key (default 3).
    #[serde(default = "Config::three")]
    pub producers: u32,
    /// How many consumers share the topic's parts (default 3).
    #[serde(default = "Config::three")]
    pub consumers: u32,
    /// What producers promise (default `idempotent`).
    #[serde(default)]
    pub delivery: Delivery,
    /// How many replicas must have a record, for `at-least-once` (default `all`).
    #[serde(default)]
    pub acks: Acks,
    /// What may get lost without being a violation (default `nothing`).
    #[serde(default)]
    pub may_lose: MayLose,
    /// Whether an operator may create the topic anew (default false). What was sent before that was done may get lost then.
    #[serde(default)]
    pub recreated: bool,
    /// How long a producer waits for a batch to fill (default 5ms; drawn from 0ms to 50ms in a swarm).
    #[serde(default = "Config::linger_default")]
    pub linger: Span,
    /// A batch is sent when it has grown to this (default 16KiB; drawn from 64B to 32KiB in a swarm).
    #[serde(default = "Config::batch_default")]
    pub batch: ByteSize,
    /// How long a producer tries to deliver an event (default 30s).
    #[serde(default = "Config::delivery_timeout_default")]
    pub delivery_timeout: Span,
    /// A consumer takes at most this much of a part at once, but always a batch (`max.partition.fetch.bytes`, default 1MiB; drawn from
    /// 256B to 128KiB in a swarm).
    #[serde(default = "Config::fetch_default")]
    pub fetch: ByteSize,
}

impl Config {
    fn name_default() -> String {
        "clickstream".to_owned()
    }
    fn speed_up_default() -> f64 {
        5000.0
    }
    fn topic_default() -> String {
        "clicks".to_owned()
    }
    fn three() -> u32 {
        3
    }
    fn linger_default() -> Span {
        Span::millis(5)
    }
    fn batch_default() -> ByteSize {
        ByteSize::new(16 << 10)
    }
    fn delivery_timeout_default() -> Span {
        Span::secs(30)
    }
    fn fetch_default() -> ByteSize {
        ByteSize::new(1 << 20)
    }

    /// What no run could make of these settings. (Whether the source can be read is found where it is read.)
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(0.001..=1e9).contains(&self.speed_up) {
            problems.push(Problem::new("speed_up", format!("{} is not from 0.001 to 1e9", self.speed_up)));
        }
        for (name, value) in [("producers", self.producers), ("consumers", self.consumers)] {
            if !(1..=100).contains(&value) {
                problems.push(Problem::new(name, format!("{value} is not from 1 to 100")));
            }
        }
        if self.delivery != Delivery::AtLeastOnce && self.acks != Acks::All {
            problems.push(
                Problem::new("acks", "only `delivery = \"at-least-once\"` lets one choose acks")
                    .help("remove `acks`, or choose that delivery"),
            );
        }
        problems
    }

    /// Draws the constants that a swarm varies; returns what was drawn, by name. Small batches, and many of them, leave more moments at
    /// which a record is on some replicas and not on others.
    pub fn swarm(&mut self, stream: &mut Stream) -> Vec<(String, String)> {
        let mut drawn = Vec::new();
        let mut note = |name: &str, value: String| drawn.push((name.to_owned(), value));
        if stream.random_bool(0.5) {
            self.linger = Span::millis(stream.random_range(0..=50));
            note("linger", self.linger.to_string());
        }
        if stream.random_bool(0.5) {
            self.batch = ByteSize::new(64 << stream.random_range(0..10));
            note("batch", self.batch.to_string());
        }
        if stream.random_bool(0.5) {
            self.fetch = ByteSize::new(256 << stream.random_range(0..10));
            note("fetch", self.fetch.to_string());
        }
        drawn
    }
}

/// A clickstream in a tank.
pub struct Clickstream {
    client: Client,
}

impl Clickstream {
    /// A clickstream of these impressions, through these brokers.
    pub fn new(config: &Config, impressions: Arc<Vec<Impression>>, brokers: &[Address]) -> Self {
        let promise = match config.delivery {
            Delivery::AtMostOnce => Promise::AtMostOnce,
            Delivery::AtLeastOnce => Promise::AtLeastOnce,
            Delivery::Idempotent => Promise::Idempotent,
        };
        let loss = match config.may_lose {
            MayLose::Nothing => Loss::Forbidden,
            MayLose::Acknowledged => Loss::OfAcknowledged,
            MayLose::Read => Loss::OfRead,
        };
        let notebook = Rc::new(Notebook::new(History::new(&config.topic, promise, loss)));
        let config = Rc::new(config.clone());
        Self { client: Client { config, brokers: Rc::new(brokers.to_vec()), impressions, notebook } }
    }

    /// The topic it goes through.
    pub fn topic(&self) -> &str {
        &self.client.config.topic
    }

    /// The topic is about to be created anew, or (`Some`) every broker knows of the new one since then.
    pub fn recreated(&self, at: Option<SimTime>) {
        self.client.notebook.history.borrow_mut().recreated(at.unwrap_or(SimTime::NEVER));
    }

    fn order(&self, order: Order) {
        self.client.notebook.orders.send(order);
    }
}

impl Workload for Clickstream {
    fn name(&self) -> &str {
        &self.client.config.name
    }

    fn boot(&self, tank: &Tank) {
        let Config { name, producers, consumers, .. } = &*self.client.config;
        let spec = |role: &str, index: u32| HostSpec {
            name: format!("{name}-{role}-{}", index + 1),
            zone: tank.zone_of(index as usize).to_owned(),
            system: "clickstream",
            cores: 2,
            disk: DiskSpec::default(),
        };
        for index in 0..*producers {
            let client = self.client.clone();
            tank.add_host(spec("producer", index), move |host| client.clone().produce(host, index));
        }
        for index in 0..*consumers {
            let client = self.client.clone();
            tank.add_host(spec("consumer", index), move |host| client.clone().consume(host, index));
        }
    }

    fn setup(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        let all = (self.client.config.producers + self.client.config.consumers) as usize;
        let mut prepared = self.client.notebook.prepared.subscribe();
        Box::pin(async move {
            let ready = prepared.wait_for(|clients| clients.len() == all).await;
            ready.map(|_| ()).map_err(|_| "its clients are gone".to_owned())
        })
    }

    fn start(&self, now: SimTime) {
        self.order(Order::Drive(now));
    }

    fn stop(&self) {
        self.order(Order::Stop);
    }

    fn finished(&self) -> Result<(), String> {
        let (finished, producers) =
            (self.client.notebook.finished.borrow().len(), self.client.config.producers);
        if finished == producers as usize {
            return Ok(());
        }
        Err(format!("{finished} of {producers} producers have finished"))
    }

    fn read_back(&self) {
        self.order(Order::ReadBack);
    }

    fn settled(&self) -> Result<(), String> {
        let notebook = &self.client.notebook;
        let (read_back, parts) = (notebook.read_back.borrow().len(), *notebook.parts.borrow());
        if read_back == parts as usize {
            return Ok(());
        }
        Err(format!("{read_back} of {parts} parts are read back to their end"))
    }

    fn judge(&self) -> Vec<Check> {
        let notebook = &self.client.notebook;
        let read_back = notebook.read_back.borrow();
        let mut history = notebook.history.borrow_mut();
        let parts = 0..*notebook.parts.borrow();
        parts.filter(|part| !read_back.contains(part)).for_each(|part| history.unfinished(part));
        let judgement = delivery::judge(&history);
        let checks = judgement.checks.clone();
        *notebook.judgement.borrow_mut() = Some(judgement);
        checks
    }

    /// With acks=0 nobody is told anything, and no request is served.
    fn requests(&self) -> Vec<Request> {
        self.client.notebook.history.borrow().requests()
    }

    fn unread(&self) -> Vec<Request> {
        self.client.notebook.history.borrow().unread()
    }

    fn figures(&self) -> Vec<Figure> {
        let judgement = self.client.notebook.judgement.borrow();
        let figure = |name: &str, count: fn(&Judgement) -> u64| {
            let count = judgement.as_ref().map(|judgement| count(judgement) as f64);
            Figure::new(format!("{} {name}", self.name()), "", Better::Less, count)
        };
        vec![
            figure("events lost", |judgement| judgement.lost),
            figure("events duplicated", |judgement| judgement.duplicated),
            figure("events missing", |judgement| judgement.missing),
        ]
    }

    fn progress(&self) -> Vec<(&'static str, u64)> {
        let notebook = &self.client.notebook;
        let (sent, _, read) = notebook.history.borrow().counts();
        vec![("sent", sent as u64), ("acknowledged", *notebook.acked.borrow()), ("read", read as u64)]
    }
}
