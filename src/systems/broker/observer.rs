//! What brokers tell whoever watches the run. Nothing a broker does depends on it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::SimTime;
use crate::checkers::replication::{self, Cut, History, Part, Standing, Written};
use crate::systems::broker::cluster::{PartitionState, Topic};
use crate::systems::broker::epochs::Epochs;
use crate::systems::broker::id::{BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::systems::broker::records::Batch;
use crate::world::Host;

/// A notebook about a cluster that one broker only writes into.
#[derive(Clone)]
pub struct Observer {
    host: Host,
    broker: BrokerId,
    history: Rc<RefCell<History>>,
}

impl Observer {
    /// An observer of this broker that writes into this history.
    pub fn new(host: &Host, broker: BrokerId, history: Rc<RefCell<History>>) -> Self {
        Self { host: host.clone(), broker, history }
    }

    fn part(&self, id: &TopicPartition, topic: TopicId) -> Part {
        self.history.borrow_mut().part(&id.to_string(), topic.get())
    }

    /// What a decision that begins now is told with.
    pub fn began(&self) -> SimTime {
        self.host.true_time()
    }

    /// As controller, it has written a state that it decided on at `began`.
    pub fn state_written(&self, began: SimTime, id: &TopicPartition, topic: &Topic, state: &PartitionState) {
        let part = self.part(id, topic.id);
        let mut history = self.history.borrow_mut();
        history.written((began, self.host.true_time()), part, &written(topic, state));
    }

    /// As a new controller, it has found a state that was written before.
    pub fn state_found(&self, id: &TopicPartition, topic: &Topic, state: &PartitionState) {
        let part = self.part(id, topic.id);
        let mut history = self.history.borrow_mut();
        history.found(self.host.true_time(), part, &written(topic, state));
    }

    /// An observer of its replica of a topic partition.
    pub fn of(&self, id: &TopicPartition, topic: TopicId) -> ReplicaObserver {
        let part = self.part(id, topic);
        ReplicaObserver { observer: self.clone(), part, told: RefCell::default() }
    }
}

fn written(topic: &Topic, state: &PartitionState) -> Written {
    Written {
        controller_epoch: state.controller_epoch.get(),
        leader: state.leader.map(BrokerId::get),
        leader_epoch: state.leader_epoch.get(),
        version: state.version.get(),
        replicas: state.replicas.iter().map(|broker| broker.get()).collect(),
        min_in_sync: topic.config.min_in_sync,
        in_sync: state.in_sync.iter().map(|broker| broker.get()).collect(),
        eligible: state.eligible.iter().map(|broker| broker.get()).collect(),
        unclean: state.unclean,
    }
}

/// The same notebook, for one replica.
pub struct ReplicaObserver {
    observer: Observer,
    part: Part,
    /// The epochs that were told last.
    told: RefCell<Epochs>,
}

impl ReplicaObserver {
    fn tell(&self, tell: impl FnOnce(&mut History, SimTime, Part, i32)) {
        let Observer { host, broker, history } = &self.observer;
        tell(&mut history.borrow_mut(), host.true_time(), self.part, broker.get());
    }

    /// The replica's log was opened.
    pub fn opened(&self, standing: Standing, epochs: &Epochs) {
        self.tell(|history, now, part, broker| history.opened(now, part, broker, standing));
        self.stands(standing, epochs);
    }

    /// The replica stands so now, with these leader epochs in its log.
    pub fn stands(&self, standing: Standing, epochs: &Epochs) {
        self.tell(|history, now, part, broker| {
            if *self.told.borrow() != *epochs {
                self.told.borrow_mut().clone_from(epochs);
                let epochs = epochs.entries().map(|(epoch, start)| (epoch.get(), start.get())).collect();
                history.epochs(now, part, broker, (standing.start, epochs));
            }
            history.stands(now, part, broker, standing);
        });
    }

    /// The replica has taken over what a fetch brought from its leader, whose log starts there.
    pub fn followed(&self, leader_start: Offset) {
        self.tell(|history, now, part, broker| history.followed(now, part, broker, leader_start.get()));
    }

    /// The broker begins to lead, with a log that ends there.
    pub fn leads(&self, epoch: LeaderEpoch, end: Offset) {
        self.tell(|history, now, part, broker| history.leads(now, part, broker, epoch.get(), end.get()));
    }

    /// Batches have come to lie below the replica's high watermark.
    pub fn committed(&self, batches: &[Batch]) {
        self.tell(|history, now, part, broker| {
            for Batch { base, last, epoch, crc, .. } in batches {
                let (base, last, epoch) = (base.get(), last.get(), epoch.get());
                let batch = replication::Batch { base, last, epoch, crc: *crc };
                history.committed(now, part, broker, batch);
            }
        });
    }

    /// The replica is about to cut its log.
    pub fn truncated(&self, to: Offset, high_watermark: Offset, unclean: bool) {
        let cut = Cut { to: to.get(), high_watermark: high_watermark.get(), unclean };
        self.tell(|history, now, part, broker| history.truncated(now, part, broker, cut));
    }
}
