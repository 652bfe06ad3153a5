//! What brokers tell whoever watches the run. Nothing a broker does depends on it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::checkers::replication::{Cut, History, Written};
use crate::systems::broker::cluster::PartitionState;
use crate::systems::broker::id::{BrokerId, LeaderEpoch, Offset, TopicPartition};

/// A notebook about a cluster that brokers only write into.
#[derive(Clone, Default)]
pub struct Observer(Rc<RefCell<History>>);

impl Observer {
    /// An observer that writes into this history.
    pub fn new(history: Rc<RefCell<History>>) -> Self {
        Self(history)
    }

    /// A controller has written a state.
    pub fn state_written(&self, id: &TopicPartition, state: &PartitionState) {
        self.0.borrow_mut().written(
            &id.to_string(),
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
        self.0.borrow_mut().leads(&id.to_string(), broker.get(), epoch.get());
    }

    /// Batches have come to lie below a replica's high watermark: first and last offset, and checksum.
    pub fn committed(&self, id: &TopicPartition, broker: BrokerId, batches: &[(Offset, Offset, u32)]) {
        if batches.is_empty() {
            return;
        }
        let id = id.to_string();
        let mut history = self.0.borrow_mut();
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
        self.0.borrow_mut().truncated(&id.to_string(), broker.get(), cut);
    }
}
