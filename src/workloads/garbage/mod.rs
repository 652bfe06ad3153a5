//! Garbage: requests that no server may serve, sent to brokers and coordination servers while others work with them.
//!
//! Promises judged: each is refused as the protocol says or ends its connection, and no other; nothing of it is stored
//! ([`crate::checkers::refusal`]). While things break a server may be silent, or lose a connection; so when all is healed and the servers
//! have come to rest, each is sent one of each kind once more, beside a connection that must go on.

mod frames;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Problem, Rate, SimTime, Stream};
use crate::checkers::Check;
use crate::checkers::refusal::{self, Attempt, History, Reaction};
use crate::checkers::service::Request;
use crate::systems::broker::api::{Offsets, TopicPartition};
use crate::systems::coordination::api::Session;
use crate::workloads::{LocalBoxFuture, Workload};
use crate::world::{Address, Connection, DiskSpec, Host, HostSpec, Tank};

use frames::Garbage;

/// How long a server may take for anything.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait before a server that could not be reached is tried again, in the last round.
const BACK_OFF: Duration = Duration::from_millis(200);

/// How often a server is tried in the last round before it is taken for gone.
const TRIES: u32 = 3;

/// Garbage of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name of this workload and the first part of its hosts' names, unique in the scenario (default `garbage`).
    pub name: String,
    /// How many clients, each on a host of its own (default 2).
    pub clients: u32,
    /// How often each client sends something (default 5/s).
    pub rate: Rate,
    /// A topic that must stay empty (default `garbage`); if there are brokers, it must stand under `systems.broker.topics`, and nobody else
    /// may use it.
    pub topic: String,
}

impl Default for Config {
    fn default() -> Self {
        let (name, topic) = ("garbage".to_owned(), "garbage".to_owned());
        Self { name, clients: 2, rate: Rate::per_second(5.0), topic }
    }
}

impl Config {
    /// What no run could make of these settings.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=100).contains(&self.clients) {
            problems.push(Problem::new("clients", format!("{} is not from 1 to 100", self.clients)));
        }
        if self.rate.get() <= 0.0 || 1e4 < self.rate.get() {
            problems.push(Problem::new("rate", "must be above 0/s and at most 10000/s"));
        }
        problems
    }
}

/// The servers of one system, and the largest request they take, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    /// Where they are reached.
    pub addresses: Vec<Address>,
    /// What is larger is refused.
    pub request_max: usize,
}

/// Whom garbage is sent to.
#[derive(Clone, Debug, Default)]
pub struct Victims {
    /// The coordination servers.
    pub coordination: Servers,
    /// The brokers.
    pub brokers: Servers,
    /// The largest batch that brokers take, in bytes.
    pub batch_max: usize,
}

/// What the clients must do now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Wait,
    Drive,
    Stop,
    LastRound,
}

struct Notebook {
    history: RefCell<History>,
    phase: Cell<Phase>,
    /// The clients that have gone through the last round.
    done: RefCell<BTreeSet<u32>>,
}

/// Garbage in a tank.
pub struct GarbageWorkload {
    client: Client,
}

#[derive(Clone)]
struct Client {
    config: Rc<Config>,
    victims: Rc<Victims>,
    notebook: Rc<Notebook>,
}

impl GarbageWorkload {
    /// Garbage for these servers.
    pub fn new(config: &Config, victims: &Victims) -> Self {
        let notebook =
            Notebook { history: RefCell::default(), phase: Cell::new(Phase::Wait), done: RefCell::default() };
        let (config, victims) = (Rc::new(config.clone()), Rc::new(victims.clone()));
        Self { client: Client { config, victims, notebook: Rc::new(notebook) } }
    }
}

impl Workload for GarbageWorkload {
    fn name(&self) -> &str {
        &self.client.config.name
    }

    fn boot(&self, tank: &Tank) {
        for index in 0..self.client.config.clients {
            let spec = HostSpec {
                name: format!("{}-client-{}", self.client.config.name, index + 1),
                zone: tank.zone_of(index as usize).to_owned(),
                system: "garbage",
                cores: 2,
                disk: DiskSpec::default(),
            };
            let client = self.client.clone();
            tank.add_host(spec, move |host| client.clone().run(host, index));
        }
    }

    fn setup(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn start(&self, _: SimTime) {
        self.client.notebook.phase.set(Phase::Drive);
    }

    fn stop(&self) {
        self.client.notebook.phase.set(Phase::Stop);
    }

    fn finished(&self) -> Result<(), String> {
        Ok(())
    }

    fn read_back(&self) {
        self.client.notebook.phase.set(Phase::LastRound);
    }

    fn settled(&self) -> Result<(), String> {
        let (done, clients) = (self.client.notebook.done.borrow().len(), self.client.config.clients);
        if done == clients as usize {
            return Ok(());
        }
        Err(format!("{done} of {clients} clients have gone through the last round"))
    }

    fn judge(&self) -> Vec<Check> {
        refusal::check(&self.client.notebook.history.borrow())
    }

    fn requests(&self) -> Vec<Request> {
        Vec::new()
    }

    fn progress(&self) -> Vec<(&'static str, u64)> {
        let (sent, turned_down) = self.client.notebook.history.borrow().counts();
        vec![("sent", sent as u64), ("turned-down", turned_down as u64)]
    }
}

/// A server to be sent something.
#[derive(Clone, Copy, Debug)]
struct Server {
    system: System,
    /// Its number in the system, from 1.
    number: usize,
    address: Address,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum System {
    Coordination,
    Broker,
}

impl Server {
    fn name(self) -> String {
        let system = match self.system {
            System::Coordination => "coordination",
            System::Broker => "broker",
        };
        format!("{system}-{}", self.number)
    }
}

impl Client {
    async fn run(self, host: Host, index: u32) {
        host.report_ready(true);
        let mut stream = host.random("garbage");
        let every = self.config.rate.period().unwrap_or(PATIENCE);
        while self.notebook.phase.get() < Phase::LastRound {
            host.sleep(every).await;
            if self.notebook.phase.get() != Phase::Drive {
                continue;
            }
            let servers = self.servers();
            let Some(server) = servers.choose(&mut stream).copied() else { continue };
            let mut kinds = self.kinds(server.system, &mut stream);
            let garbage = kinds.swap_remove(stream.random_range(0..kinds.len()));
            if let Some(reaction) = attempt(&host, server.address, &garbage).await {
                self.note(&host, server, &garbage, reaction, None);
            }
        }
        let share = self.servers().into_iter().enumerate();
        for (_, server) in share.filter(|(at, _)| *at as u32 % self.config.clients == index) {
            for garbage in self.kinds(server.system, &mut stream) {
                self.last_attempt(&host, server, &garbage).await;
            }
        }
        if index == 0 {
            self.look(&host).await;
        }
        self.notebook.done.borrow_mut().insert(index);
        std::future::pending::<()>().await;
    }

    fn servers(&self) -> Vec<Server> {
        let of = |system, servers: &Servers| {
            let numbered = (1..).zip(servers.addresses.clone());
            numbered.map(move |(number, address)| Server { system, number, address })
        };
        let Victims { coordination, brokers, .. } = &*self.victims;
        of(System::Coordination, coordination).chain(of(System::Broker, brokers)).collect()
    }

    fn kinds(&self, system: System, stream: &mut Stream) -> Vec<Garbage> {
        let Victims { coordination, brokers, batch_max } = &*self.victims;
        match system {
            System::Coordination => frames::for_coordination(coordination.request_max, stream),
            System::Broker => frames::for_broker(&self.config.topic, brokers.request_max, *batch_max, stream),
        }
    }

    fn note(&self, host: &Host, server: Server, garbage: &Garbage, reaction: Reaction, other: Option<bool>) {
        let Garbage { what, errors, .. } = *garbage;
        let (at, server) = (host.true_time(), server.name());
        self.notebook.history.borrow_mut().attempted(Attempt {
            at,
            server,
            what,
            errors,
            reaction,
            other_went_on: other,
        });
        host.count("garbage.sent", 1);
    }

    /// Nothing is broken any more: beside a connection that must go on.
    async fn last_attempt(&self, host: &Host, server: Server, garbage: &Garbage) {
        for _ in 0..TRIES {
            if let Some(mut other) = open(host, server.address, server.system == System::Coordination).await
                && let Some(reaction) = attempt(host, server.address, garbage).await
            {
                let question = match server.system {
                    System::Coordination => frames::coordination_question(),
                    System::Broker => frames::broker_question(),
                };
                let goes_on = other.sender.send("Garbage", question).await.is_ok()
                    && matches!(host.timeout(PATIENCE, other.receiver.recv()).await, Ok(Ok(_)));
                self.note(host, server, garbage, reaction, Some(goes_on));
                return;
            }
            host.sleep(BACK_OFF).await;
        }
    }

    /// Looks where something of the garbage could stand.
    async fn look(&self, host: &Host) {
        let Victims { coordination, brokers, .. } = &*self.victims;
        let looked = |place: String, found: Option<String>| {
            self.notebook.history.borrow_mut().looked(place, found);
        };
        if !brokers.addresses.is_empty() {
            let topic = &self.config.topic;
            let offsets = Offsets::new(host, &brokers.addresses);
            let parts = offsets.wait_for_topic(topic).await;
            for part in 0..parts {
                let id = TopicPartition::new(topic, part);
                let end = offsets.bounds(&id).await.end;
                looked(id.to_string(), (end.get() != 0).then(|| format!("{} records", end.get())));
            }
        }
        if !coordination.addresses.is_empty() {
            let session = Session::begin(host, &coordination.addresses, PATIENCE);
            let children = loop {
                match session.children("/").await {
                    Ok(children) => break children,
                    Err(_) => host.sleep(BACK_OFF).await,
                }
            };
            looked("/".to_owned(), children.into_iter().find(|name| name.starts_with(frames::ZNODE)));
            // It has seen what it came for, whether or not the farewell is heard.
            let _ = session.close().await;
        }
    }
}

/// Opens a connection, and begins a session on it if it is to be greeted.
async fn open(host: &Host, server: Address, greeted: bool) -> Option<Connection> {
    let mut connection = host.timeout(PATIENCE, host.connect(server)).await.ok()?.ok()?;
    if greeted {
        connection.sender.send("Garbage", frames::greeting()).await.ok()?;
        host.timeout(PATIENCE, connection.receiver.recv()).await.ok()?.ok()?;
    }
    Some(connection)
}

/// Sends garbage to a server on a connection of its own; `None` if it could not be reached.
async fn attempt(host: &Host, server: Address, garbage: &Garbage) -> Option<Reaction> {
    let mut connection = open(host, server, garbage.greeted).await?;
    let bytes: Bytes = garbage.bytes.clone();
    host.timeout(PATIENCE, connection.sender.send("Garbage", bytes)).await.ok()?.ok()?;
    Some(match host.timeout(PATIENCE, connection.receiver.recv()).await {
        Ok(Ok(answer)) => garbage.read(&answer),
        Ok(Err(_)) => Reaction::Closed,
        Err(_) => Reaction::Silent,
    })
}
