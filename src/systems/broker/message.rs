//! What controller and brokers say to one another. Serde and postcard: Kafka's own messages for it are gone since its ZooKeeper era.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::systems::broker::cluster::{AlterError, ElectError};
use crate::systems::broker::id::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, StateVersion, TopicId, TopicPartition,
};
use crate::systems::broker::reassign::{Move, MoveError};

/// Where brokers hear one another.
pub const CONTROL_PORT: u16 = 9093;

/// A request to a broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Control {
    /// From the controller: the cluster as it is (in place of LeaderAndIsr, StopReplica and UpdateMetadata).
    ///
    /// In JSON, as settings carry their units.
    Image(Bytes),
    /// To the controller: another in-sync set (KIP-497).
    AlterInSync {
        /// Which topic partition.
        id: TopicPartition,
        /// Of which of the topics that ever had this name: one that is created anew counts its epochs and versions anew.
        topic: TopicId,
        /// Its leader.
        leader: BrokerId,
        /// The leader's life.
        broker_epoch: BrokerEpoch,
        /// The leader's fencing number.
        leader_epoch: LeaderEpoch,
        /// The state it builds on.
        version: StateVersion,
        /// The set as it should be, with the lives in which the leader met its members (KIP-903).
        in_sync: BTreeMap<BrokerId, Option<BrokerEpoch>>,
    },
    /// To the controller: create a topic with these settings, in JSON.
    CreateTopic(Bytes),
    /// To the controller: delete this topic.
    DeleteTopic(String),
    /// To the controller: take leadership away from me, I am about to stop.
    Stopping(BrokerId),
    /// To the controller: let the preferred replica lead (KIP-460).
    ElectPreferred(TopicPartition),
    /// To the controller: move the replicas of a topic partition to these brokers, or (`None`) cancel such a move (KIP-455).
    Reassign(TopicPartition, Option<Vec<BrokerId>>),
    /// To the controller: which moves of a topic's replicas are under way?
    Moves(String),
    /// To the controller: delete the topic with this id, and no other that has come to bear its name.
    DeleteTopicOf(TopicId),
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Controlled {
    /// Done.
    Done,
    /// The one asked has heard of a newer controller.
    StaleController(ControllerEpoch),
    /// The image is meant for another life of the broker than the one that runs (KIP-380).
    StaleBroker,
    /// The one asked does not control the cluster.
    NotController,
    /// It may have been done: the controller lost its office over it.
    Unknown,
    /// The in-sync set was changed, or why not.
    Altered(Result<(), AlterError>),
    /// The topic exists already, or does not exist.
    TopicConflict,
    /// There are too few brokers for so many replicas.
    TooFewBrokers,
    /// It cannot be read.
    Malformed,
    /// How many topic partitions the stopping broker still leads.
    Leading(u32),
    /// The preferred replica leads now, or why not.
    Elected(Result<(), ElectError>),
    /// The move has begun or was cancelled, or why not.
    Reassigned(Result<(), MoveError>),
    /// The parts whose replicas are being moved, with all their replicas.
    Moving(Vec<(i32, Vec<BrokerId>, Move)>),
}
