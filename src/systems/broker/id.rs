//! Identities of the broker cluster.

use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

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
    /// Which topic of its name: each creation gives another number (KIP-516).
    TopicId(i64),
    "i"
);
crate::id!(
    /// A record's place in a topic partition.
    Offset(i64),
    "@"
);

impl Offset {
    /// The offset this many records further.
    #[must_use]
    pub const fn plus(self, records: i64) -> Self {
        Self(self.0 + records)
    }
}

impl TopicId {
    /// The `count`th topic that a controller creates. Its epoch is its own, so that no number is given twice.
    pub const fn given(by: ControllerEpoch, count: u32) -> Self {
        Self(((by.get() as i64) << 32) | count as i64)
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
