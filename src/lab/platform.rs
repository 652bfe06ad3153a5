//! Builds what a scenario describes: systems in the order in which they may call one another, then workloads.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::{HostId, SimTime};
use crate::checkers::{Check, ensemble, experiment, replication};
use crate::scenario::Scenario;
use crate::systems::broker::TopicConfig;
use crate::systems::broker::api::Operation;
use crate::systems::{Core, allocator, broker, coordination};
use crate::workloads::clickstream::Clickstream;
use crate::workloads::experiment::{ExperimentWorkload, Servers as ExperimentServers};
use crate::workloads::garbage::{GarbageWorkload, Servers, Victims};
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
    /// What brokers told of themselves, if there are any.
    pub(super) replication: Option<Rc<RefCell<replication::History>>>,
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
            replication: None,
            judges: Vec::new(),
        };
        let mut ensemble = Vec::new();
        let mut victims = Victims::default();
        if let Some(config) = &scenario.systems.coordination {
            let history = Rc::new(RefCell::new(ensemble::History::default()));
            let cluster = coordination::boot(tank, config, history.clone());
            platform.budgets.push(cluster.budget.clone());
            platform.cores.push(cluster.core.clone());
            platform.judges.push(Box::new(move || ensemble::check(&history.borrow())));
            for config in &scenario.workloads.registers {
                platform.workloads.push(Rc::new(Registers::new(config, &cluster)));
            }
            let request_max = config.request_max.get() as usize;
            victims.coordination = Servers { addresses: cluster.servers.clone(), request_max };
            ensemble = cluster.servers;
        }
        let mut brokers = Vec::new();
        if let Some(config) = &scenario.systems.broker {
            let history = Rc::new(RefCell::new(replication::History::default()));
            let cluster = broker::boot(tank, config, &ensemble, history.clone());
            platform.budgets.push(cluster.budget);
            platform.cores.push(cluster.core);
            platform.replication = Some(history.clone());
            platform.judges.push(Box::new(move || replication::check(&history.borrow())));
            let request_max = config.request_max.get() as usize;
            victims.brokers = Servers { addresses: cluster.servers.clone(), request_max };
            victims.batch_max = config.message_max.get() as usize;
            brokers = cluster.servers;
        }
        if let Some(config) = &scenario.systems.allocator {
            let history = Rc::new(RefCell::new(experiment::History::default()));
            let neighbours = allocator::Neighbours { ensemble: ensemble.clone(), brokers: brokers.clone() };
            let cluster = allocator::boot(tank, config, neighbours, history.clone());
            platform.budgets.push(cluster.budget);
            platform.cores.push(cluster.core);
            if let Some(workload) = &scenario.workloads.experiment {
                let (ensemble, brokers) = (ensemble.clone(), brokers.clone());
                let servers = ExperimentServers { ensemble, brokers, allocators: cluster.servers };
                let workload = ExperimentWorkload::new(workload, config, servers, history, tank.seed());
                platform.workloads.push(Rc::new(workload));
            }
        }
        let mut clickstreams = Vec::new();
        for config in &scenario.workloads.clickstream {
            let impressions = scenario.impressions[&config.source].clone();
            let clickstream = Rc::new(Clickstream::new(config, impressions, &brokers));
            clickstreams.push(clickstream.clone());
            platform.workloads.push(clickstream);
        }
        for config in &scenario.workloads.garbage {
            platform.workloads.push(Rc::new(GarbageWorkload::new(config, &victims)));
        }
        platform.workloads.iter().for_each(|workload| workload.boot(tank));
        if scenario.has_operator() {
            platform.operator = Some(Operator::employ(tank, actions(scenario, brokers, clickstreams)));
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
fn actions(scenario: &Scenario, brokers: Vec<Address>, clickstreams: Vec<Rc<Clickstream>>) -> Vec<Action> {
    let topics = scenario.systems.broker.iter().flat_map(|config| config.topics.clone());
    let topics: Rc<Vec<TopicConfig>> = Rc::new(topics.collect());
    let (brokers, clickstreams) = (Rc::new(brokers), Rc::new(clickstreams));
    let action = |(name, operation): &(&'static str, Operation)| {
        let operation = *operation;
        let (topics, brokers, clickstreams) = (topics.clone(), brokers.clone(), clickstreams.clone());
        let deed = Rc::new(move |host: Host, order: Order| {
            let (topics, brokers, clickstreams) = (topics.clone(), brokers.clone(), clickstreams.clone());
            let deed: LocalBoxFuture<'static, _> = Box::pin(async move {
                let Order { subject, choice, deadline, .. } = order;
                let topic = topics.iter().find(|topic| topic.name == subject);
                let topic = topic.ok_or_else(|| format!("there is no topic {subject}"))?;
                // Whoever sends there must know from when on it owes nothing to its predecessor.
                let tell = |at: Option<SimTime>| {
                    let concerned = clickstreams.iter().filter(|clickstream| clickstream.topic() == subject);
                    concerned
                        .filter(|_| operation == Operation::RecreateTopic)
                        .for_each(|clickstream| clickstream.recreated(at));
                };
                tell(None);
                let deadline = host.now() + deadline.since(host.true_time());
                operation.carry_out(&host, &brokers, topic, choice.into(), deadline).await?;
                tell(Some(host.true_time()));
                Ok(())
            });
            deed
        });
        Action { name, deed }
    };
    Operation::ALL.iter().map(action).collect()
}
