//! An app: visits, decisions, exposures, outcomes. Each start of its process is another life, with ids of its own.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;

use crate::base::{SimTime, Stream};
use crate::checkers::experiment as checker;
use crate::checkers::experiment::{Said, Way};
use crate::checkers::service::Request;
use crate::experiment::users::Response;
use crate::systems::allocator::api::{
    Allocators, Ask, Choice, Decision, Event, EventId, Exposure, Kind, Outcome, Reason, Visitor, topic,
};
use crate::systems::broker::api::{Message, Producer, ProducerConfig};
use crate::workloads::delivery::Delivery;
use crate::workloads::experiment::analyst::Shown;
use crate::workloads::experiment::{Client, Order, ordered};
use crate::world::{Host, select};

/// How long a visit waits for the one before it to end.
const NEXT_TURN: Duration = Duration::from_millis(1);

/// What is shown where no allocator answers.
const CONTROL: usize = 0;

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
    /// Users who are being served, each by an experiment.
    busy: RefCell<BTreeSet<(String, u64)>>,
}

/// The life of the `index`th app.
pub(super) async fn run(client: Client, host: Host, index: u32) {
    let config = ProducerConfig {
        linger: client.config.linger.get(),
        delivery_timeout: client.config.delivery_timeout.get(),
        ..client.config.delivery.producer()
    };
    let producer = Producer::begin(&host, &client.servers.brokers, config);
    producer.wait_for_topic(&client.system.exposures).await;
    producer.wait_for_topic(&client.system.outcomes).await;
    let notebook = client.notebook.clone();
    notebook.lives.set(notebook.lives.get() + 1);
    let app = Rc::new(App {
        host: host.clone(),
        allocators: Allocators::new(&host, &client.servers.allocators, index as usize),
        producer,
        life: notebook.lives.get(),
        exposures: Cell::new(0),
        open: Cell::new(0),
        busy: RefCell::default(),
        client,
    });
    notebook.prepared.modify(|clients| clients.insert(host.name().to_owned()));
    host.report_ready(true);
    if let Order::Drive(start) = ordered(&notebook, |order| *order != Order::Prepare).await {
        select! {
            () = app.clone().visits(index, start) => {}
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
    /// Serves the visits of this app's users, each at its time. Whoever came while the process was down is gone.
    async fn visits(self: Rc<Self>, index: u32, start: SimTime) {
        let (began, apps) = (self.host.true_time(), u64::from(self.client.config.apps));
        for due in visits(&self.client, |user| user % apps == u64::from(index)) {
            let at = start + self.client.real(due.at.since(SimTime::ZERO));
            if at < began {
                continue;
            }
            self.host.sleep(at.since(self.host.true_time())).await;
            self.host.spawn("app-visit", self.clone().visit(due));
        }
    }

    async fn visit(self: Rc<Self>, due: Due) {
        // What a browser remembers is written by one visit at a time.
        while !self.busy.borrow_mut().insert((due.experiment.clone(), due.user)) {
            self.host.sleep(NEXT_TURN).await;
        }
        let visitor = visitor(&self.client, &due);
        let name = &due.experiment;
        let browser = (visitor.cookie.clone().unwrap_or_default(), name.clone());
        let remembered = self.client.notebook.browsers.borrow().get(&browser).copied();
        let ask = Ask { experiment: name.clone(), visitor, remembered };
        let asked = self.host.true_time();
        let decision = self.allocators.ask(&ask).await;
        let ended = Some(self.host.true_time());
        self.client.notebook.requests.borrow_mut().push(Request { asked, ended, served: decision.is_some() });
        if let Some(decision) = decision {
            self.note(&ask, &decision);
            crate::sometimes!(decision.reason == Reason::NoUnit, "a visitor without an account had no arm");
            let ambiguous = matches!(decision.reason, Reason::Ambiguous(_));
            crate::sometimes!(ambiguous, "a visitor whose account has an empty name had no arm");
            if let (Some(before), Some(now), Reason::Drawn) = (remembered, decision.choice, &decision.reason)
            {
                // By the same weights, a hash of the same unit tells the same arm.
                let likewise = before.experiment == now.experiment && before.propensity == now.propensity;
                crate::sometimes!(
                    likewise && before.arm != now.arm,
                    "a user met another arm in another session"
                );
            }
            if let (Some(choice), Some(unit)) = (decision.choice, &decision.unit) {
                let response = self.show(&due, Some(noted(choice)), choice.arm);
                self.client.notebook.browsers.borrow_mut().insert(browser, choice);
                self.expose(response, unit, choice, &decision);
            }
        } else {
            self.show(&due, None, CONTROL);
        }
        self.busy.borrow_mut().remove(&(due.experiment, due.user));
    }

    /// Shows an arm; returns what comes of it.
    fn show(&self, due: &Due, choice: Option<checker::Choice>, arm: usize) -> Response {
        let Due { at, experiment, user, visit } = due;
        let population = &self.client.populations[experiment];
        let users = population.users(self.client.seed);
        let user = users.user(*user);
        let response = users.response(&user, *visit, *at, arm);
        let (converts, human, known) = (response.success, !user.bot, *at + response.delay);
        let rates = population.rates_at(*at);
        let best = self.client.offers.best(experiment, self.client.real(at.since(SimTime::ZERO)), rates);
        let lost = (best - rates[arm]).max(0.0);
        let shown = Shown { experiment: experiment.clone(), choice, known, arm, lost, converts, human };
        self.client.notebook.shown.borrow_mut().push(shown);
        response
    }

    fn note(&self, ask: &Ask, decision: &Decision) {
        let way = match decision.reason {
            Reason::Drawn => Way::Drawn,
            Reason::Remembered => Way::Remembered,
            Reason::Overridden => Way::Overridden,
            _ => Way::None,
        };
        let Visitor { cookie, session, user, attributes } = ask.visitor.clone();
        self.client.notebook.history.borrow_mut().decided(checker::Decision {
            at: self.host.true_time(),
            experiment: ask.experiment.clone(),
            visitor: checker::Visitor { cookie, session, user, attributes },
            unit: decision.unit.clone().unwrap_or_default(),
            catalogue: decision.catalogue.get(),
            weights: decision.weights.get(),
            remembered: ask.remembered.map(noted),
            way,
            reason: format!("{:?}", decision.reason),
            choice: decision.choice.map(noted),
        });
    }

    fn expose(self: &Rc<Self>, response: Response, unit: &str, choice: Choice, decision: &Decision) {
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
        let (this, unit) = (self.clone(), unit.to_owned());
        self.host.spawn("app-outcome", async move {
            let clear = select! {
                () = this.host.sleep(this.client.real(response.delay)) => true,
                _ = ordered(&this.client.notebook, |order| Order::Stop <= *order) => false,
            };
            // What is not clear when the load ends stays unknown.
            if clear {
                let converted = response.success;
                let outcome = Event::Outcome(Outcome { id, converted });
                this.record(outcome, unit, Said::Outcome(converted)).await;
            } else {
                this.open.set(this.open.get() - 1);
            }
        });
    }

    /// Sends an event until it is acknowledged; once, where it may be lost.
    async fn record(self: Rc<Self>, event: Event, unit: String, said: Said) {
        let topic_name = match event.kind() {
            Kind::Exposures => &self.client.system.exposures,
            Kind::Outcomes => &self.client.system.outcomes,
        };
        let id = (event.id().life, event.id().number);
        self.client.notebook.history.borrow_mut().sent(id, said);
        // What is sent again bears the time of the first try: that is when it happened.
        let message = Message {
            key: Some(Bytes::copy_from_slice(unit.as_bytes())),
            value: event.encode(),
            timestamp: self.host.wall_clock().millis(),
        };
        loop {
            self.client.notebook.history.borrow_mut().handed(topic(event.kind()), id);
            let (_, delivery) = self.producer.send(topic_name, message.clone());
            let delivered = delivery.await;
            if self.client.config.delivery == Delivery::AtMostOnce {
                break;
            }
            if let Ok(Ok(_)) = delivered {
                self.client.notebook.history.borrow_mut().acknowledged(topic(event.kind()), id);
                break;
            }
            crate::reached!("an app sent an event again");
            self.host.sleep(Duration::from_millis(100)).await;
        }
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

/// A visit that is to come.
struct Due {
    /// When, in the time of the users.
    at: SimTime,
    /// To which experiment.
    experiment: String,
    /// The user's number.
    user: u64,
    /// Which of its visits, from 0.
    visit: u32,
}

/// All visits of these users, in their order.
fn visits(client: &Client, whose: impl Fn(u64) -> bool) -> Vec<Due> {
    let mut all = Vec::new();
    for (name, population) in client.populations.iter() {
        let users = population.users(client.seed);
        for number in (0..population.count()).filter(|number| whose(*number)) {
            let user = users.user(number);
            let mut next = Some((0, user.first));
            while let Some((visit, at)) = next {
                all.push(Due { at, experiment: name.clone(), user: number, visit });
                next = users.next_visit(&user, visit, at).map(|at| (visit + 1, at));
            }
        }
    }
    all.sort_by(|one, other| {
        (one.at, &one.experiment, one.user).cmp(&(other.at, &other.experiment, other.user))
    });
    all
}

/// Who comes: the same user to all experiments, in a session of its own each time. Cookies and sessions are drawn, so that no two seeds have
/// the same ones; accounts are known by name.
fn visitor(client: &Client, Due { experiment, user, visit, .. }: &Due) -> Visitor {
    let mut stream = client.seed.stream(&format!("experiment/user/{user}"));
    let mut session = client.seed.stream(&format!("experiment/session/{experiment}/{user}/{visit}"));
    let country = ["nl", "de", "fr"][stream.random_range(0..3)].to_owned();
    let known = stream.random_bool(0.95);
    let drawn = |stream: &mut Stream| format!("{:016x}", stream.random::<u64>());
    let cookie = drawn(&mut stream);
    // Some never log in, and for half of these the app sends an empty name, as many do.
    let unnamed = stream.random_bool(0.5).then(String::new);
    Visitor {
        cookie: Some(cookie),
        session: Some(drawn(&mut session)),
        user: if known { Some(format!("u{user}")) } else { unnamed },
        attributes: BTreeMap::from([("country".to_owned(), country)]),
    }
}
