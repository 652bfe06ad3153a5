//! An app: visits, decisions, exposures, outcomes. Each start of its process is another life, with ids of its own.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;

use crate::base::Stream;
use crate::checkers::experiment as checker;
use crate::checkers::experiment::{Said, Way};
use crate::checkers::service::Request;
use crate::systems::allocator::api::{
    Allocators, Ask, Change, Choice, Decision, Event, EventId, Exposure, Kind, Outcome, Reason, Visitor,
    topic,
};
use crate::systems::broker::api::{Acks, Message, Producer, ProducerConfig};
use crate::workloads::experiment::{Client, Order, ordered};
use crate::world::{Host, select};

/// How long a producer tries before the app must send an event again, without knowing what became of it.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(3);

/// One life of an app.
struct App {
    client: Client,
    host: Host,
    allocators: Allocators,
    producer: Producer,
    life: u64,
    /// How many exposures it has begun.
    exposures: Cell<u64>,
    /// How many events are not acknowledged, or not clear yet.
    open: Cell<u64>,
    /// Users who are being served.
    busy: RefCell<BTreeSet<u32>>,
    stream: RefCell<Stream>,
    /// The experiments there will ever be.
    names: Vec<String>,
}

/// The life of the `index`th app.
pub(super) async fn run(client: Client, host: Host, index: u32) {
    let config = ProducerConfig {
        acks: Acks::All,
        idempotent: true,
        retries: true,
        linger: Duration::from_millis(5),
        batch_bytes: 16 << 10,
        delivery_timeout: DELIVERY_TIMEOUT,
    };
    let producer = Producer::begin(&host, &client.servers.brokers, config);
    producer.wait_for_topic(&client.system.exposures).await;
    producer.wait_for_topic(&client.system.outcomes).await;
    let notebook = client.notebook.clone();
    notebook.lives.set(notebook.lives.get() + 1);
    let drafted = client.config.steps.iter().filter_map(|step| match &step.change {
        Change::Start(draft) => Some(draft.name.clone()),
        _ => None,
    });
    let names: BTreeSet<String> = drafted.collect();
    let app = Rc::new(App {
        host: host.clone(),
        allocators: Allocators::new(&host, &client.servers.allocators, index as usize),
        producer,
        life: notebook.lives.get(),
        exposures: Cell::new(0),
        open: Cell::new(0),
        busy: RefCell::default(),
        stream: RefCell::new(host.random("visits")),
        names: names.into_iter().collect(),
        client,
    });
    notebook.prepared.modify(|clients| clients.insert(host.name().to_owned()));
    host.report_ready(true);
    if let Order::Drive(_) = ordered(&notebook, |order| *order != Order::Prepare).await {
        select! {
            () = app.clone().visits(index) => {}
            _ = ordered(&notebook, |order| Order::Stop <= *order) => {}
        }
    }
    ordered(&notebook, |order| Order::Stop <= *order).await;
    while 0 < app.open.get() || !app.busy.borrow().is_empty() {
        host.sleep(Duration::from_millis(20)).await;
    }
    notebook.finished.borrow_mut().insert(index);
    std::future::pending::<()>().await;
}

impl App {
    async fn visits(self: Rc<Self>, index: u32) {
        let mean = self.client.config.rate.get().recip();
        let (apps, users) = (self.client.config.apps, self.client.config.users);
        loop {
            let (wait, user, name) = {
                let mut stream = self.stream.borrow_mut();
                let wait = -libm::log(1.0 - stream.random::<f64>()) * mean;
                let own = (users + apps - 1 - index) / apps;
                let user = index + apps * stream.random_range(0..own.max(1));
                (wait, user, stream.random_range(0..self.names.len().max(1)))
            };
            self.host.sleep(Duration::from_secs_f64(wait)).await;
            let Some(name) = self.names.get(name) else { continue };
            // What a browser remembers is written by one visit at a time.
            if self.busy.borrow_mut().insert(user) {
                self.host.spawn("app-visit", self.clone().visit(user, name.clone()));
            }
        }
    }

    async fn visit(self: Rc<Self>, user: u32, name: String) {
        let visitor = visitor(&self.client, user);
        let browser = (visitor.cookie.clone().unwrap_or_default(), name.clone());
        let remembered = self.client.notebook.browsers.borrow().get(&browser).copied();
        let ask = Ask { experiment: name.clone(), visitor, remembered };
        let asked = self.host.true_time();
        let decision = self.allocators.ask(&ask).await;
        let ended = Some(self.host.true_time());
        self.client.notebook.requests.borrow_mut().push(Request { asked, ended, served: decision.is_some() });
        if let Some(decision) = decision {
            self.note(&ask, &decision);
            if let (Some(choice), Some(unit)) = (decision.choice, &decision.unit) {
                self.client.notebook.browsers.borrow_mut().insert(browser, choice);
                self.expose(&name, unit, choice, &decision);
            }
        }
        self.busy.borrow_mut().remove(&user);
    }

    fn note(&self, ask: &Ask, decision: &Decision) {
        let way = match decision.reason {
            Reason::Drawn => Way::Drawn,
            Reason::Remembered => Way::Remembered,
            Reason::Overridden => Way::Overridden,
            _ => Way::None,
        };
        self.client.notebook.history.borrow_mut().decided(checker::Decision {
            at: self.host.true_time(),
            experiment: ask.experiment.clone(),
            unit: decision.unit.clone().unwrap_or_default(),
            catalogue: decision.catalogue.get(),
            weights: decision.weights.get(),
            remembered: ask.remembered.map(|choice| (choice.experiment.get(), choice.arm)),
            way,
            reason: format!("{:?}", decision.reason),
            choice: decision.choice.map(noted),
        });
    }

    fn expose(self: &Rc<Self>, name: &str, unit: &str, choice: Choice, decision: &Decision) {
        let id = EventId { life: self.life, number: self.exposures.get() };
        self.exposures.set(id.number + 1);
        let exposure = Event::Exposure(Exposure {
            id,
            experiment: choice.experiment,
            unit: unit.to_owned(),
            arm: choice.arm,
            propensity: choice.propensity,
            catalogue: decision.catalogue,
            weights: choice.weights,
        });
        self.open.set(self.open.get() + 2);
        let said = Said::Exposure { unit: unit.to_owned(), choice: noted(choice) };
        self.host.spawn("app-exposure", self.clone().record(exposure, unit.to_owned(), said));
        let (delay, converted) = {
            let mut stream = self.stream.borrow_mut();
            let mean = self.client.config.delay.get().as_secs_f64();
            let delay = -libm::log(1.0 - stream.random::<f64>()) * mean;
            (delay, stream.random_bool(self.client.config.converts[name][choice.arm].get()))
        };
        let (this, unit) = (self.clone(), unit.to_owned());
        self.host.spawn("app-outcome", async move {
            this.host.sleep(Duration::from_secs_f64(delay)).await;
            let outcome = Event::Outcome(Outcome { id, converted });
            this.record(outcome, unit, Said::Outcome(converted)).await;
        });
    }

    /// Sends an event until it is acknowledged.
    async fn record(self: Rc<Self>, event: Event, unit: String, said: Said) {
        let topic_name = match event.kind() {
            Kind::Exposures => &self.client.system.exposures,
            Kind::Outcomes => &self.client.system.outcomes,
        };
        let id = (event.id().life, event.id().number);
        self.client.notebook.history.borrow_mut().sent(id, said);
        loop {
            let message = Message {
                key: Some(Bytes::copy_from_slice(unit.as_bytes())),
                value: event.encode(),
                timestamp: self.host.wall_clock().millis(),
            };
            let (_, delivery) = self.producer.send(topic_name, message);
            if let Ok(Ok(_)) = delivery.await {
                break;
            }
            crate::reached!("an app sent an event again");
            self.host.sleep(Duration::from_millis(100)).await;
        }
        self.client.notebook.history.borrow_mut().acknowledged(topic(event.kind()), id);
        self.open.set(self.open.get() - 1);
    }
}

fn noted(choice: Choice) -> checker::Choice {
    checker::Choice {
        experiment: choice.experiment.get(),
        arm: choice.arm,
        propensity: choice.propensity,
        weights: choice.weights.get(),
    }
}

/// Who a user is: the same in every run of a seed, whichever experiments there are.
fn visitor(client: &Client, user: u32) -> Visitor {
    let mut stream = client.seed.stream(&format!("experiment/user/{user}"));
    let country = ["nl", "de", "fr"][stream.random_range(0..3)].to_owned();
    let known = stream.random_bool(0.95);
    Visitor {
        cookie: Some(format!("c{user}")),
        session: Some(format!("s{user}")),
        // Some never log in.
        user: known.then(|| format!("u{user}")),
        attributes: BTreeMap::from([("country".to_owned(), country)]),
    }
}
