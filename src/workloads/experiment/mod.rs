//! Experiment: users visit, apps ask allocators for arms, record exposures and outcomes through the brokers, and an operator starts,
//! ramps and ends experiments meanwhile. At the end a reader reads all back.
//!
//! Who comes is what [`crate::experiment::users`] says, a model for each experiment, in time that runs faster: a run meets the very users that
//! a comparison of strategies without a platform meets under the same seed. Users with the same number are the same person to all
//! experiments.
//!
//! Promises judged: [`crate::checkers::experiment`]. What somebody would conclude who reads the logs: [`analyst`].

pub mod analyst;
mod app;
mod offers;
mod staff;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Figure, Problem, Seed, SimTime, Span, Stream};
use crate::checkers::Check;
use crate::checkers::experiment::{self, History};
use crate::checkers::service::Request;
use crate::experiment::users::{Population, UserModel};
use crate::systems::allocator;
use crate::systems::allocator::api::{Catalogue, Change, Choice, Draft};
use crate::workloads::delivery::Delivery;
use crate::workloads::experiment::analyst::{Logs, Shown, each};
use crate::workloads::experiment::offers::Offers;
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
    /// How many times faster than the models' the run's time is (default 86400: a day in a second).
    #[serde(default = "Config::speed_up_default")]
    pub speed_up: f64,
    /// What apps promise about each event (default `idempotent`). An event whose delivery failed is sent again, but for `at-most-once`.
    #[serde(default)]
    pub delivery: Delivery,
    /// How long a producer waits for a batch to fill (default 5ms; drawn from 0ms to 50ms in a swarm).
    #[serde(default = "Config::linger_default")]
    pub linger: Span,
    /// How long a producer tries to deliver an event (default 3s; drawn from 1s to 20s in a swarm). The app does not know then what became of it.
    #[serde(default = "Config::delivery_timeout_default")]
    pub delivery_timeout: Span,
    /// Whether a run tells of each experiment by itself what its visits lost and what the logs hold of each arm, besides what it tells of all
    /// together (default false).
    #[serde(default)]
    pub by_experiment: bool,
    /// What an operator does, in order; the first lays out the layers.
    pub steps: Vec<Step>,
    /// By experiment: who comes to it, and what each arm does to them.
    pub users: BTreeMap<String, UserModel>,
}

/// How many visits there may be at most, over all experiments: each is in memory.
const VISITS_MAX: u64 = 1_000_000;

impl Config {
    fn name_default() -> String {
        "experiment".to_owned()
    }
    fn apps_default() -> u32 {
        2
    }
    fn speed_up_default() -> f64 {
        86_400.0
    }
    fn linger_default() -> Span {
        Span::millis(5)
    }
    fn delivery_timeout_default() -> Span {
        Span::secs(3)
    }

    /// What no run could make of these settings.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=100).contains(&self.apps) {
            problems.push(Problem::new("apps", format!("{} is not from 1 to 100", self.apps)));
        }
        if !(0.001..=1e9).contains(&self.speed_up) {
            problems.push(Problem::new("speed_up", format!("{} is not from 0.001 to 1e9", self.speed_up)));
        }
        if self.delivery_timeout <= self.linger {
            let message =
                format!("{} is no longer than a batch waits: {}", self.delivery_timeout, self.linger);
            let problem = Problem::new("delivery_timeout", message);
            problems.push(problem.help("nothing could be sent in time: make it longer than `linger`"));
        }
        problems.extend(self.validate_users());
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
        }
        problems.extend(self.validate_arms());
        problems
    }

    /// Users know the arms of an experiment, those that are added later too, in their order.
    fn validate_arms(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, variants) in self.arms() {
            let known = self.users.get(name).map(|model| arm_names(model));
            for arms in variants {
                if known.as_ref() != Some(&arms) {
                    let known = known.as_ref().map_or("none".to_owned(), |known| known.join(", "));
                    let message =
                        format!("`{name}` has the arms {}; its users know {known}", arms.join(", "));
                    let help = format!(
                        "write [workloads.experiment.users.{name}] with the same arms, in this order"
                    );
                    problems.push(Problem::new("users", message).help(help));
                }
            }
        }
        problems
    }

    /// By experiment and start: the arms, with those that are added.
    fn arms(&self) -> BTreeMap<&str, Vec<Vec<&str>>> {
        let mut all: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
        for step in &self.steps {
            match &step.change {
                Change::Start(draft) => {
                    let arms = draft.arms.iter().map(|arm| &*arm.name).collect();
                    all.entry(&draft.name).or_default().push(arms);
                }
                Change::AddArm { experiment, arm } => {
                    if let Some(last) = all.get_mut(&**experiment).and_then(|starts| starts.last_mut()) {
                        last.push(&arm.name);
                    }
                }
                _ => {}
            }
        }
        all
    }

    fn validate_users(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let started: BTreeSet<&String> = self.started().map(|draft| &draft.name).collect();
        for (name, model) in &self.users {
            let path = format!("users.{name}");
            problems.extend(model.validate().into_iter().map(|problem| problem.within(&path)));
            if !model.segments.is_empty() {
                let message = "apps of the platform do not tell segments apart";
                let help = "remove them: segments are for `wavetank compare`";
                problems.push(Problem::new(format!("{path}.segments"), message).help(help));
            }
            if !started.contains(name) {
                let message = format!("no step starts `{name}`");
                problems.push(Problem::new(path, message).help("add a step, or remove the users"));
            }
        }
        let visits = self.users.values().map(visits_most).fold(0, u64::saturating_add);
        if VISITS_MAX < visits {
            let message = format!("{visits} visits are more than the {VISITS_MAX} that a run can hold");
            problems.push(Problem::new("users", message).help("let fewer come, or less often"));
        }
        problems
    }

    /// Draws the constants that a swarm varies; returns what was drawn, by name.
    pub fn swarm(&mut self, stream: &mut Stream) -> Vec<(String, String)> {
        let mut drawn = Vec::new();
        if stream.random_bool(0.5) {
            self.linger = Span::millis(stream.random_range(0..=50));
            drawn.push(("linger".to_owned(), self.linger.to_string()));
        }
        if stream.random_bool(0.5) {
            self.delivery_timeout = Span::millis(stream.random_range(1000..=20_000));
            drawn.push(("delivery_timeout".to_owned(), self.delivery_timeout.to_string()));
        }
        drawn
    }

    /// For how long its users come, in the time of the run.
    pub fn takes(&self, model: &UserModel) -> Span {
        Span::millis((1000.0 * model.length().as_secs_f64() / self.speed_up).ceil() as u64)
    }

    /// The names of adaptive experiments.
    fn adaptive(&self) -> BTreeSet<&str> {
        self.started().filter(|draft| draft.adaptive.is_some()).map(|draft| &*draft.name).collect()
    }

    /// What will be started.
    fn started(&self) -> impl Iterator<Item = &Draft> {
        self.steps.iter().filter_map(|step| match &step.change {
            Change::Start(draft) => Some(draft),
            _ => None,
        })
    }
}

/// How many visits a model has at most.
fn visits_most(model: &UserModel) -> u64 {
    let each = [model.returning.map(|returning| returning.visits), model.bots.map(|bots| bots.visits)];
    let most = each.into_iter().flatten().fold(1, u32::max);
    u64::from(model.per_day).saturating_mul(u64::from(model.days)).saturating_mul(u64::from(most))
}

fn arm_names(model: &UserModel) -> Vec<&str> {
    model.arms.iter().map(|arm| &*arm.name).collect()
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
    /// What each visit was shown.
    shown: RefCell<Vec<Shown>>,
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
    /// Who comes, by experiment.
    populations: Rc<BTreeMap<String, Population>>,
    offers: Rc<Offers>,
}

impl Client {
    /// How long something takes in the run that takes so long among the users.
    fn real(&self, among_users: Duration) -> Duration {
        Duration::from_nanos((among_users.as_nanos() as f64 / self.config.speed_up) as u64)
    }
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
        if config.delivery != Delivery::AtLeastOnce {
            history.borrow_mut().written_once();
        }
        let notebook = Notebook {
            orders: watch::Sender::new(Order::Prepare),
            history,
            prepared: watch::Sender::new(BTreeSet::new()),
            finished: RefCell::default(),
            changed: Cell::new(false),
            awaited: RefCell::new(Some("the load to end".to_owned())),
            browsers: RefCell::default(),
            shown: RefCell::default(),
            lives: Cell::new(0),
            requests: RefCell::default(),
        };
        let population = |(name, model): (&String, &UserModel)| (name.clone(), Population::new(model));
        let client = Client {
            populations: Rc::new(config.users.iter().map(population).collect()),
            offers: Rc::new(Offers::of(&config.steps)),
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

    fn figures(&self) -> Vec<Figure> {
        let Client { config, notebook, populations, .. } = &self.client;
        let history = notebook.history.borrow();
        let (shown, logs) = (notebook.shown.borrow(), Logs::of(&history));
        let drafts: Vec<&Draft> = config.started().collect();
        let mut by_the_logs = analyst::delivered(&history, &logs);
        by_the_logs.extend(analyst::concluded(populations, &drafts, &history, &logs, &shown));
        let mut figures = analyst::regret(&config.adaptive(), &shown);
        if config.by_experiment {
            figures.extend(each::shown(populations, &shown));
            by_the_logs.extend(each::logged(populations, &history, &logs));
        }
        // Logs that were not read to their ends tell nothing.
        if notebook.awaited.borrow().is_some() {
            by_the_logs.iter_mut().for_each(|figure| (figure.value, figure.calibration) = (None, None));
        }
        figures.extend(by_the_logs);
        figures.iter_mut().for_each(|figure| figure.name = format!("{} {}", config.name, figure.name));
        figures
    }

    fn requests(&self) -> Vec<Request> {
        self.client.notebook.requests.borrow().clone()
    }

    fn progress(&self) -> Vec<(&'static str, u64)> {
        let [decided, acknowledged, read] = self.client.notebook.history.borrow().counts();
        let shown = self.client.notebook.shown.borrow();
        let converting = shown.iter().filter(|shown| shown.converts).count() as u64;
        vec![("decided", decided), ("converting", converting), ("acknowledged", acknowledged), ("read", read)]
    }
}

/// Waits until the orders satisfy a condition. The laboratory outlives its clients, so that there is always somebody to give them.
async fn ordered(notebook: &Notebook, condition: impl FnMut(&Order) -> bool) -> Order {
    match notebook.orders.subscribe().wait_for(condition).await {
        Ok(order) => order,
        Err(_) => std::future::pending().await,
    }
}
