//! Experiment: users visit, apps ask allocators for arms, record exposures and outcomes through the brokers, and an operator starts,
//! ramps and ends experiments meanwhile. At the end a reader reads all back.
//!
//! Promises judged: [`crate::checkers::experiment`].

mod app;
mod staff;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Problem, Rate, Seed, Share, SimTime, Span};
use crate::checkers::Check;
use crate::checkers::experiment::{self, History};
use crate::checkers::service::Request;
use crate::systems::allocator;
use crate::systems::allocator::api::{Catalogue, Change, Choice};
use crate::workloads::{LocalBoxFuture, Workload};
use crate::world::{Address, DiskSpec, HostSpec, Tank, watch};

/// A change of the catalogue, at its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How long after the load has begun; those at 0s are made before it (default 0s).
    #[serde(default)]
    pub at: Span,
    /// What is changed.
    #[serde(rename = "do")]
    pub change: Change,
}

/// The experiment workload of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of this workload and the first part of its hosts' names, unique in the scenario (default `experiment`).
    #[serde(default = "Config::name_default")]
    pub name: String,
    /// How many apps, each on a host of its own (default 2).
    #[serde(default = "Config::apps_default")]
    pub apps: u32,
    /// How many users, each of whom belongs to one app (default 300).
    #[serde(default = "Config::users_default")]
    pub users: u32,
    /// How often each app is visited (default 20/s).
    #[serde(default = "Config::rate_default")]
    pub rate: Rate,
    /// How long after an exposure its outcome is clear, on average (default 1s).
    #[serde(default = "Config::delay_default")]
    pub delay: Span,
    /// What an operator does, in order; the first lays out the layers.
    pub steps: Vec<Step>,
    /// By experiment: the share of those shown each arm who convert.
    pub converts: BTreeMap<String, Vec<Share>>,
}

impl Config {
    fn name_default() -> String {
        "experiment".to_owned()
    }
    fn apps_default() -> u32 {
        2
    }
    fn users_default() -> u32 {
        300
    }
    fn rate_default() -> Rate {
        Rate::per_second(20.0)
    }
    fn delay_default() -> Span {
        Span::secs(1)
    }

    /// What no run could make of these settings.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, value, max) in [("apps", self.apps, 100), ("users", self.users, 1_000_000)] {
            if !(1..=max).contains(&value) {
                problems.push(Problem::new(name, format!("{value} is not from 1 to {max}")));
            }
        }
        if self.rate.get() <= 0.0 || 1e4 < self.rate.get() {
            problems.push(Problem::new("rate", "must be above 0/s and at most 10000/s"));
        }
        let mut catalogue = Catalogue::default();
        let mut before = Span::default();
        for (index, step) in self.steps.iter().enumerate() {
            if step.at < before {
                problems.push(Problem::new(
                    format!("steps.{index}.at"),
                    "a step stands before the one it follows",
                ));
            }
            before = step.at;
            match catalogue.changed(&step.change) {
                Ok(next) => catalogue = next,
                Err(error) => problems.push(Problem::new(format!("steps.{index}.do"), error.to_string())),
            }
            let Change::Start(draft) = &step.change else { continue };
            let known = self.converts.get(&draft.name).map_or(0, Vec::len);
            if known != draft.arms.len() {
                let message = format!("`{}` has {} arms, and {known} shares", draft.name, draft.arms.len());
                problems.push(
                    Problem::new("converts", message)
                        .help(format!("write {} = [\"5%\", …], a share for each arm", draft.name)),
                );
            }
        }
        problems
    }
}

/// What clients must do now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Order {
    Prepare,
    Drive(SimTime),
    Stop,
    ReadBack,
}

/// What the workload's processes share: orders, a notebook, and what lies in users' browsers, which no crash of an app reaches.
struct Notebook {
    orders: watch::Sender<Order>,
    history: Rc<RefCell<History>>,
    prepared: watch::Sender<BTreeSet<String>>,
    /// The apps that have finished what they had begun.
    finished: RefCell<BTreeSet<u32>>,
    /// Whether the operator has made all changes.
    changed: Cell<bool>,
    /// What the reader waits for; `None` once it has read everything.
    awaited: RefCell<Option<String>>,
    browsers: RefCell<BTreeMap<(String, String), Choice>>,
    lives: Cell<u64>,
    requests: RefCell<Vec<Request>>,
}

/// What every process of the workload knows.
#[derive(Clone)]
struct Client {
    config: Rc<Config>,
    system: Rc<allocator::Config>,
    servers: Rc<Servers>,
    notebook: Rc<Notebook>,
    seed: Seed,
}

/// Where the workload finds its servers.
#[derive(Clone, Debug)]
pub struct Servers {
    /// Coordination.
    pub ensemble: Vec<Address>,
    /// The brokers.
    pub brokers: Vec<Address>,
    /// The allocators.
    pub allocators: Vec<Address>,
}

/// The workload in a tank.
pub struct ExperimentWorkload {
    client: Client,
}

impl ExperimentWorkload {
    /// A workload on these servers. `history`: what allocators write into too.
    pub fn new(
        config: &Config,
        system: &allocator::Config,
        servers: Servers,
        history: Rc<RefCell<History>>,
        seed: Seed,
    ) -> Self {
        let notebook = Notebook {
            orders: watch::Sender::new(Order::Prepare),
            history,
            prepared: watch::Sender::new(BTreeSet::new()),
            finished: RefCell::default(),
            changed: Cell::new(false),
            awaited: RefCell::new(Some("the load to end".to_owned())),
            browsers: RefCell::default(),
            lives: Cell::new(0),
            requests: RefCell::default(),
        };
        let client = Client {
            config: Rc::new(config.clone()),
            system: Rc::new(system.clone()),
            servers: Rc::new(servers),
            notebook: Rc::new(notebook),
            seed,
        };
        Self { client }
    }
}

impl Workload for ExperimentWorkload {
    fn name(&self) -> &str {
        &self.client.config.name
    }

    fn boot(&self, tank: &Tank) {
        let name = &self.client.config.name;
        let spec = |role: &str, index: u32| HostSpec {
            name: format!("{name}-{role}-{}", index + 1),
            zone: tank.zone_of(index as usize).to_owned(),
            system: "experiment",
            cores: 2,
            disk: DiskSpec::default(),
        };
        for index in 0..self.client.config.apps {
            let client = self.client.clone();
            tank.add_host(spec("app", index), move |host| app::run(client.clone(), host, index));
        }
        let client = self.client.clone();
        tank.add_host(spec("curator", 0), move |host| staff::curate(client.clone(), host));
        let client = self.client.clone();
        tank.add_host(spec("reader", 0), move |host| staff::read_back(client.clone(), host));
    }

    fn setup(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        let all = self.client.config.apps as usize + 2;
        let mut prepared = self.client.notebook.prepared.subscribe();
        Box::pin(async move {
            let ready = prepared.wait_for(|clients| clients.len() == all).await;
            ready.map(|_| ()).map_err(|_| "its clients are gone".to_owned())
        })
    }

    fn start(&self, now: SimTime) {
        self.client.notebook.orders.send(Order::Drive(now));
    }

    fn stop(&self) {
        self.client.notebook.orders.send(Order::Stop);
    }

    fn finished(&self) -> Result<(), String> {
        let notebook = &self.client.notebook;
        let (finished, apps) = (notebook.finished.borrow().len(), self.client.config.apps);
        if finished < apps as usize {
            return Err(format!("{finished} of {apps} apps have finished"));
        }
        if notebook.changed.get() { Ok(()) } else { Err("the operator has changes to make".to_owned()) }
    }

    fn read_back(&self) {
        self.client.notebook.orders.send(Order::ReadBack);
    }

    fn settled(&self) -> Result<(), String> {
        self.client
            .notebook
            .awaited
            .borrow()
            .clone()
            .map_or(Ok(()), |what| Err(format!("the reader awaits {what}")))
    }

    fn judge(&self) -> Vec<Check> {
        experiment::check(&self.client.notebook.history.borrow())
    }

    fn requests(&self) -> Vec<Request> {
        self.client.notebook.requests.borrow().clone()
    }

    fn progress(&self) -> Vec<(&'static str, u64)> {
        let [decided, acknowledged, read] = self.client.notebook.history.borrow().counts();
        vec![("decided", decided), ("acknowledged", acknowledged), ("read", read)]
    }
}

/// Waits until the orders satisfy a condition. The laboratory outlives its clients, so that there is always somebody to give them.
async fn ordered(notebook: &Notebook, condition: impl FnMut(&Order) -> bool) -> Order {
    match notebook.orders.subscribe().wait_for(condition).await {
        Ok(order) => order,
        Err(_) => std::future::pending().await,
    }
}
