//! The operator: takes orders, one after the other, and carries them out from a machine of its own.
//!
//! The world only hands the orders over. What each action does, the laboratory registers ([`Action`]); it goes through the systems'
//! clients from the host [`OPERATOR`], which faults may hit like any other. An order that its process did not live to end is begun anew by
//! the next one, and one that is under way when all is healed is carried to its end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::base::{HostId, SimTime};
use crate::world::disk::DiskSpec;
use crate::world::host::Host;
use crate::world::tank::{HostSpec, Tank};
use crate::world::trace::Level;

/// The host on which an operator works, in scenarios that have one.
pub const OPERATOR: &str = "operator-1";

/// What the operator is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The name of an action.
    pub action: String,
    /// What it is done to: a topic, for instance.
    pub subject: String,
    /// What the action draws, it draws from this number, so that an order comes out the same whatever else is ordered.
    pub choice: u32,
    /// It is given up when it cannot be begun by then; what is half done is done to its end.
    pub deadline: SimTime,
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.action, self.subject)
    }
}

/// Carries an order out from a host; in words, why it gave up.
pub type Deed = Rc<dyn Fn(Host, Order) -> Pin<Box<dyn Future<Output = Result<(), String>>>>>;

/// Something an operator can do.
#[derive(Clone)]
pub struct Action {
    /// Its name in scenario files, under which it is counted too.
    pub name: &'static str,
    /// How it is done.
    pub deed: Deed,
}

/// An operator and the orders it has not carried out yet. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    host: HostId,
    desk: Rc<Desk>,
}

/// What outlives the operator's process.
struct Desk {
    actions: Vec<Action>,
    /// The first is in hand.
    orders: RefCell<VecDeque<Order>>,
    ordered: Notify,
}

impl Operator {
    /// Adds the operator's machine to a tank. It can do these things.
    pub fn employ(tank: &Tank, actions: Vec<Action>) -> Self {
        let desk = Rc::new(Desk { actions, orders: RefCell::default(), ordered: Notify::new() });
        let spec = HostSpec {
            name: OPERATOR.to_owned(),
            zone: tank.zone_of(0).to_owned(),
            system: "operator",
            cores: 1,
            disk: DiskSpec::default(),
        };
        let seated = desk.clone();
        let host = tank.add_host(spec, move |host| seated.clone().work(host));
        Self { host, desk }
    }

    /// The machine it works on.
    pub fn host(&self) -> HostId {
        self.host
    }

    /// The action of this name.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.desk.action(name)
    }

    /// Hands it an order.
    pub fn order(&self, order: Order) {
        assert!(self.action(&order.action).is_some(), "only what it can do is ordered: {order}");
        self.desk.orders.borrow_mut().push_back(order);
        self.desk.ordered.notify_one();
    }

    /// The orders that have not come to an end, the one in hand first.
    pub fn open(&self) -> Vec<Order> {
        self.desk.orders.borrow().iter().cloned().collect()
    }
}

impl Desk {
    fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    async fn work(self: Rc<Self>, host: Host) {
        host.report_ready(true);
        loop {
            let next = self.orders.borrow().front().cloned();
            let Some(order) = next else {
                self.ordered.notified().await;
                continue;
            };
            let deed = self.action(&order.action).expect("only what it can do was ordered").deed.clone();
            host.log(Level::Info, || format!("begins to {order}"));
            let ended = deed(host.clone(), order.clone()).await;
            crate::sometimes!(ended.is_ok(), "an operator carried an order out");
            crate::sometimes!(ended.is_err(), "an operator gave an order up");
            host.log(Level::Info, || match &ended {
                Ok(()) => format!("has done: {order}"),
                Err(why) => format!("gives up to {order}: {why}"),
            });
            self.orders.borrow_mut().pop_front();
        }
    }
}
