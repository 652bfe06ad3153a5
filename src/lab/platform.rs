//! Builds what a scenario describes: systems in the order in which they may call one another, then workloads.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::HostId;
use crate::checkers::{Check, ensemble, replication};
use crate::scenario::Scenario;
use crate::systems::broker::api::Operation;
use crate::systems::{Core, broker, coordination};
use crate::workloads::clickstream::Clickstream;
use crate::workloads::registers::Registers;
use crate::workloads::{LocalBoxFuture, Workload};
use crate::world::fault::{Action, Budget, Operator, Order, Place};
use crate::world::{Address, Host, Tank};

/// What stands in the tank.
pub(super) struct Platform {
    /// What each system survives.
    pub(super) budgets: Vec<Budget>,
    /// Who suffices of each.
    pub(super) cores: Vec<Core>,
    /// What drives them.
    pub(super) workloads: Vec<Rc<dyn Workload>>,
    /// Who carries out orders, if any are given.
    pub(super) operator: Option<Operator>,
    /// What judges the systems' own histories.
    judges: Vec<Box<dyn Fn() -> Vec<Check>>>,
}

impl Platform {
    /// Adds all hosts of the scenario to the tank.
    pub(super) fn build(tank: &Tank, scenario: &Scenario) -> Self {
        let mut platform = Self {
            budgets: Vec::new(),
            cores: Vec::new(),
            workloads: Vec::new(),
            operator: None,
            judges: Vec::new(),
        };
        let mut ensemble = Vec::new();
        if let Some(config) = &scenario.systems.coordination {
            let history = Rc::new(RefCell::new(ensemble::History::default()));
            let cluster = coordination::boot(tank, config, history.clone());
            platform.budgets.push(cluster.budget.clone());
            platform.cores.push(cluster.core.clone());
            platform.judges.push(Box::new(move || ensemble::check(&history.borrow())));
            for config in &scenario.workloads.registers {
                platform.workloads.push(Rc::new(Registers::new(config, &cluster)));
            }
            ensemble = cluster.servers;
        }
        let mut brokers = Vec::new();
        if let Some(config) = &scenario.systems.broker {
            let history = Rc::new(RefCell::new(replication::History::default()));
            let cluster = broker::boot(tank, config, &ensemble, history.clone());
            platform.budgets.push(cluster.budget);
            platform.cores.push(cluster.core);
            platform.judges.push(Box::new(move || replication::check(&history.borrow())));
            brokers = cluster.servers;
        }
        for config in &scenario.workloads.clickstream {
            let impressions = scenario.impressions[&config.source].clone();
            platform.workloads.push(Rc::new(Clickstream::new(config, impressions, &brokers)));
        }
        platform.workloads.iter().for_each(|workload| workload.boot(tank));
        if scenario.has_operator() {
            platform.operator = Some(Operator::employ(tank, actions(brokers)));
        }
        platform
    }

    /// The hosts of all systems.
    pub(super) fn servers(&self) -> Vec<HostId> {
        self.budgets.iter().flat_map(|budget| budget.hosts.iter().copied()).collect()
    }

    /// Where each host stands.
    pub(super) fn places(&self, tank: &Tank) -> Vec<Place> {
        let servers = self.servers();
        let place = |host: String| {
            let id = tank.host(&host)?;
            Some(Place { zone: tank.zone(id), server: servers.contains(&id), host })
        };
        tank.hosts().into_iter().filter_map(place).collect()
    }

    /// What all checkers say.
    pub(super) fn judge(&self) -> Vec<Check> {
        let systems = self.judges.iter().flat_map(|judge| judge());
        systems.chain(self.workloads.iter().flat_map(|workload| workload.judge())).collect()
    }
}

/// What an operator can do here.
fn actions(brokers: Vec<Address>) -> Vec<Action> {
    let brokers = Rc::new(brokers);
    let action = |(name, operation): &(&'static str, Operation)| {
        let (operation, brokers) = (*operation, brokers.clone());
        let deed = Rc::new(move |host: Host, order: Order| {
            let brokers = brokers.clone();
            let deed: LocalBoxFuture<'static, _> = Box::pin(async move {
                let Order { subject, choice, deadline, .. } = order;
                operation.carry_out(&host, &brokers, &subject, choice.into(), deadline).await
            });
            deed
        });
        Action { name, deed }
    };
    Operation::ALL.iter().map(action).collect()
}
