//! Registers: concurrent reads, writes, compare-and-set, ephemerals and locks on coordination.
//!
//! Each client lives through one session after another. When the load ends, each reads back what it watches and closes its session;
//! when all have, one waits until every ephemeral znode is gone and reads everything once more.

mod client;
mod visit;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Problem, Rate, Share, SimTime, Span};
use crate::checkers::service::Request;
use crate::checkers::{Check, registers};
use crate::systems::Cluster;
use crate::workloads::{LocalBoxFuture, Workload};
use crate::world::{Address, DiskSpec, HostSpec, Tank, watch};

/// A registers workload of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name of this workload and the first part of its hosts' names, unique in the scenario (default `registers`).
    pub name: String,
    /// How many clients, each on a host of its own (default 4).
    pub clients: u32,
    /// How many registers they share (default 5).
    pub registers: u32,
    /// How often each client begins an operation (default 20/s).
    pub rate: Rate,
    /// The time-out of each client's session (default 2s).
    pub session_timeout: Span,
    /// How long a client keeps a session on average, before it closes or forgets it (default 6s).
    pub session_life: Span,
    /// How often several operations are begun at once, without waiting for one another (default 20%).
    pub pipelined: Share,
    /// How long a lock is held at most (default 300ms).
    pub hold: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "registers".to_owned(),
            clients: 4,
            registers: 5,
            rate: Rate::per_second(20.0),
            session_timeout: Span::secs(2),
            session_life: Span::secs(6),
            pipelined: Share::new(0.2),
            hold: Span::millis(300),
        }
    }
}

impl Config {
    /// What no run could make of these settings.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, value, max) in [("clients", self.clients, 100), ("registers", self.registers, 1000)] {
            if !(1..=max).contains(&value) {
                problems.push(Problem::new(name, format!("{value} is not from 1 to {max}")));
            }
        }
        if self.rate.get() <= 0.0 || 1e5 < self.rate.get() {
            problems.push(Problem::new("rate", "must be above 0/s and at most 100000/s"));
        }
        problems
    }
}

/// What the clients must do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Prepare,
    Drive,
    ReadBack,
}

/// What is known about a workload: its clients write into it, and only the laboratory reads it.
struct Notebook {
    history: RefCell<registers::History>,
    /// The laboratory's word.
    phase: Cell<Phase>,
    prepared: watch::Sender<bool>,
    /// The clients that have read back and closed their sessions.
    quiet: RefCell<BTreeSet<u32>>,
    /// What the last reader waits for; `None` once it has read everything.
    awaited: RefCell<Option<String>>,
    /// How many clients believe that they hold the lock.
    holders: Cell<u32>,
}

impl Notebook {
    /// A client believes that it holds the lock, as long as the answer lives.
    fn hold(self: &Rc<Self>) -> Holding {
        self.holders.set(self.holders.get() + 1);
        if 1 < self.holders.get() {
            // One's session is over, and it does not know yet: only its fencing number keeps it from doing harm.
            crate::reached!("two clients held a lock at once, in good faith");
        }
        Holding(self.clone())
    }
}

struct Holding(Rc<Notebook>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.holders.set(self.0.holders.get() - 1);
    }
}

/// A registers workload in a tank.
pub struct Registers {
    config: Rc<Config>,
    servers: Rc<Vec<Address>>,
    notebook: Rc<Notebook>,
}

impl Registers {
    /// A workload on this ensemble.
    pub fn new(config: &Config, ensemble: &Cluster) -> Self {
        let notebook = Notebook {
            history: RefCell::default(),
            phase: Cell::new(Phase::Prepare),
            prepared: watch::Sender::new(false),
            quiet: RefCell::default(),
            awaited: RefCell::new(Some("the load to end".to_owned())),
            holders: Cell::new(0),
        };
        Self {
            config: Rc::new(config.clone()),
            servers: Rc::new(ensemble.servers.clone()),
            notebook: Rc::new(notebook),
        }
    }
}

impl Workload for Registers {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn boot(&self, tank: &Tank) {
        for number in 1..=self.config.clients {
            let spec = HostSpec {
                name: format!("{}-client-{number}", self.config.name),
                zone: tank.zone_of(number as usize - 1).to_owned(),
                system: "registers",
                cores: 2,
                disk: DiskSpec::default(),
            };
            let (config, servers, notebook) =
                (self.config.clone(), self.servers.clone(), self.notebook.clone());
            tank.add_host(spec, move |host| {
                client::run(host, number, config.clone(), servers.clone(), notebook.clone())
            });
        }
    }

    fn setup(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        let mut prepared = self.notebook.prepared.subscribe();
        Box::pin(async move {
            prepared.wait_for(|done| *done).await.map(|_| ()).map_err(|_| "its clients are gone".to_owned())
        })
    }

    fn start(&self, _: SimTime) {
        self.notebook.phase.set(Phase::Drive);
    }

    fn stop(&self) {
        self.notebook.phase.set(Phase::ReadBack);
    }

    fn finished(&self) -> Result<(), String> {
        Ok(())
    }

    /// Its clients read back as soon as they have stopped: what coordination answers does not hang on who leads.
    fn read_back(&self) {}

    fn settled(&self) -> Result<(), String> {
        self.notebook.awaited.borrow().clone().map_or(Ok(()), |what| {
            let quiet = self.notebook.quiet.borrow();
            let busy = (1..=self.config.clients).filter(|number| !quiet.contains(number));
            let busy: Vec<String> = busy.map(|number| number.to_string()).collect();
            match busy.is_empty() {
                true => Err(format!("the last reader awaits {what}")),
                false => Err(format!("not read back by client {}", busy.join(", "))),
            }
        })
    }

    fn judge(&self) -> Vec<Check> {
        registers::check(&self.notebook.history.borrow())
    }

    fn requests(&self) -> Vec<Request> {
        self.notebook.history.borrow().requests()
    }

    fn progress(&self) -> Vec<(&'static str, u64)> {
        let (asked, ended) = self.notebook.history.borrow().counts();
        vec![("asked", asked), ("answered", ended)]
    }
}
