//! A transaction: what the leader proposes, every server logs, and all apply in one order.
//!
//! A transaction states results, not wishes (the final name of a sequential znode, the new version), so that applying one twice
//! leaves the tree as once: recovery replays the log over a fuzzy snapshot and relies on it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::WallTime;
use crate::systems::coordination::wire::{Acl, Code};
use crate::systems::coordination::zxid::{SessionId, Zxid};

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// Its place in the order of all.
    pub zxid: Zxid,
    /// The session that asked for it.
    pub session: SessionId,
    /// The number that session gave its request.
    pub cxid: i32,
    /// When the leader proposed it, by the leader's calendar clock.
    pub time: WallTime,
    /// What it changes.
    pub change: Change,
}

/// What a transaction changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A session begins.
    CreateSession {
        /// Its negotiated time-out, in milliseconds.
        time_out: i32,
    },
    /// A session ends, and with it these znodes: listed by the leader, so that a replay removes the same (ZOOKEEPER-3145).
    CloseSession {
        /// The session's ephemeral znodes: the path, and how often the parent's children have changed with this end.
        znodes: Vec<(String, i32)>,
    },
    /// One change of the tree.
    One(Op),
    /// Several changes, all at once.
    Multi(Vec<Op>),
    /// The request was refused; it takes a place in the order all the same, so that its reply keeps its turn.
    Refused(Code),
    /// A `multi` was refused, for this reason at each part.
    MultiRefused(Vec<Code>),
}

/// One change of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// A znode comes into being.
    Create {
        /// Its final path.
        path: String,
        /// Its data.
        data: Bytes,
        /// Its ACL.
        acl: Vec<Acl>,
        /// Whether it ends with the session.
        ephemeral: bool,
        /// How often the parent's children have changed, with this change.
        parent_cversion: i32,
        /// Whether the client asked for the stat.
        with_stat: bool,
    },
    /// A znode ends.
    Delete {
        /// Its path.
        path: String,
        /// How often the parent's children have changed, with this change.
        parent_cversion: i32,
    },
    /// A znode's data changes.
    SetData {
        /// Its path.
        path: String,
        /// The new data.
        data: Bytes,
        /// The version with this change.
        version: i32,
    },
    /// A znode's ACL changes.
    SetAcl {
        /// Its path.
        path: String,
        /// The new ACL.
        acl: Vec<Acl>,
        /// The ACL's version with this change.
        version: i32,
    },
    /// Nothing changes; the version was as expected.
    Check,
}

impl Txn {
    /// Its parts: one for each change of the tree it makes.
    pub fn ops(&self) -> &[Op] {
        match &self.change {
            Change::One(op) => std::slice::from_ref(op),
            Change::Multi(ops) => ops,
            _ => &[],
        }
    }
}
