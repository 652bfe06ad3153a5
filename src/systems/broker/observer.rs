//! What brokers tell whoever watches the run. Nothing a broker does depends on it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::checkers::replication::{Cut, History, Written};
use crate::systems::broker::cluster::PartitionState;
use crate::systems::broker::id::{BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};

/// A notebook about a cluster that brokers only write into.
#[derive(Clone, Default)]
pub struct Observer {
    history: Rc<RefCell<History>>,
    topic: TopicId,
}

impl Observer {
    /// An observer that writes into this history.
    pub fn new(history: Rc<RefCell<History>>) -> Self {
        Self { history, topic: TopicId::default() }
    }

    /// The same notebook, for this topic: one that is created anew under an old name owes nothing to its predecessor.
    #[must_use]
    pub fn of(&self, topic: TopicId) -> Self {
        Self { history: self.history.clone(), topic }
    }

    fn name(&self, id: &TopicPartition) -> String {
        format!("{id} of {}", self.topic)
    }

    /// A controller has written a state.
    pub fn state_written(&self, id: &TopicPartition, state: &PartitionState) {
        self.history.borrow_mut().written(
            &self.name(id),
            Written {
                controller_epoch: state.controller_epoch.get(),
                leader: state.leader.map(BrokerId::get),
                leader_epoch: state.leader_epoch.get(),
                version: state.version.get(),
            },
        );
    }

    /// A broker begins to lead.
    pub fn leads(&self, id: &TopicPartition, broker: BrokerId, epoch: LeaderEpoch) {
        self.history.borrow_mut().leads(&self.name(id), broker.get(), epoch.get());
    }

    /// Batches have come to lie below a replica's high watermark: first and last offset, and checksum.
    pub fn committed(&self, id: &TopicPartition, broker: BrokerId, batches: &[(Offset, Offset, u32)]) {
        if batches.is_empty() {
            return;
        }
        let id = self.name(id);
        let mut history = self.history.borrow_mut();
        for (base, last, crc) in batches {
            history.committed(&id, broker.get(), (base.get(), last.get()), *crc);
        }
    }

    /// A replica cut its log.
    pub fn truncated(
        &self,
        id: &TopicPartition,
        broker: BrokerId,
        to: Offset,
        high_watermark: Offset,
        unclean: bool,
    ) {
        let cut = Cut { to: to.get(), high_watermark: high_watermark.get(), unclean };
        self.history.borrow_mut().truncated(&self.name(id), broker.get(), cut);
    }
}
