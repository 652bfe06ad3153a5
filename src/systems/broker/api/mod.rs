//! The clients of the cluster: producer, consumer, admin. All that a neighbour may use.

mod admin;
mod consumer;
mod offsets;
mod operation;
mod partitioner;
mod producer;
mod view;

pub use admin::{Admin, AdminError, PartitionDescription};
pub use consumer::{Consumed, Consumer, ConsumerConfig, Reset};
pub use offsets::{Bounds, Offsets};
pub use operation::Operation;
pub use partitioner::partition_for;
pub use producer::{Acknowledgement, Acks, Delivery, Producer, ProducerConfig, SendError};

pub use crate::systems::broker::id::{BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};
pub use crate::systems::broker::records::Message;
