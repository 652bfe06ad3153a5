//! Identities of the broker cluster.

use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

crate::id!(
    /// A broker, numbered from 1.
    BrokerId(i32),
    "b"
);
crate::id!(
    /// The fencing number of one leadership of one topic partition.
    LeaderEpoch(i32),
    "e"
);
crate::id!(
    /// The fencing number of one controller's reign.
    ControllerEpoch(i32),
    "c"
);
crate::id!(
    /// The fencing number of one life of a broker: the zxid at which its registration was created.
    BrokerEpoch(i64),
    "x"
);
crate::id!(
    /// The version of a topic partition's state: the version of its znode, so that changes are compare-and-set (KIP-497).
    StateVersion(i32),
    "v"
);
crate::id!(
    /// One creation of a topic: another that is created later under the same name has another (KIP-516).
    TopicId(u64),
    "t"
);
crate::id!(
    /// A record's place in a topic partition.
    Offset(i64),
    "@"
);

impl TopicId {
    /// The `count`th topic that a controller creates. Its epoch is its own, so that no number is given twice; later topics have larger ones.
    pub const fn given(by: ControllerEpoch, count: u32) -> Self {
        Self(((by.get() as u64) << 32) | count as u64)
    }

    /// As it stands in the Kafka protocol.
    pub const fn to_uuid(self) -> Uuid {
        Uuid::from_u128(self.0 as u128)
    }

    /// The topic that the Kafka protocol calls so; `None` if that is no topic of ours.
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        u64::try_from(uuid.as_u128()).ok().filter(|number| *number != 0).map(Self)
    }
}

impl Offset {
    /// The offset this many records further.
    #[must_use]
    pub const fn plus(self, records: i64) -> Self {
        Self(self.0 + records)
    }
}

/// A part of a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Rc<str>,
    /// The part's number, from 0.
    pub index: i32,
}

impl TopicPartition {
    /// The part `index` of `topic`.
    pub fn new(topic: &str, index: i32) -> Self {
        Self { topic: topic.into(), index }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.topic, self.index)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
