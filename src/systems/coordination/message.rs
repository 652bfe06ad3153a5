//! What leader and followers say to one another (ZAB). Serde and postcard: this wire is ours.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::systems::coordination::txn::Txn;
use crate::systems::coordination::wire::Write;
use crate::systems::coordination::zxid::{PeerEpoch, ServerId, SessionId, Zxid};

/// From a follower to its leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToLeader {
    /// The first words: who I am, and the newest leader I have promised to follow.
    FollowerInfo {
        /// The follower.
        server: ServerId,
        /// Its accepted epoch.
        accepted: PeerEpoch,
        /// Its log does not fit the leader's at any point: send everything.
        needs_snapshot: bool,
        /// It may have forgotten what it promised or acknowledged: it counts in no quorum.
        distrusted: bool,
    },
    /// I follow you in the new epoch; this is the history I hold.
    AckEpoch {
        /// The epoch whose history it has taken over.
        current: PeerEpoch,
        /// The last transaction in its log.
        last: Zxid,
        /// Whether the promise is new: it counts towards one leader's quorum only.
        counts: bool,
    },
    /// All up to here is durable; for the new leader's zxid: the whole history is.
    Ack(Zxid),
    /// I live, and these sessions were heard of.
    Touched(Vec<SessionId>),
    /// A client's write.
    Request(Forwarded),
    /// A client wants to go on with this session here.
    Revalidate(SessionId),
    /// A client wants to see all that is committed now.
    Sync(SessionId, i32),
}

/// A write on its way to the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forwarded {
    /// The client's session.
    pub session: SessionId,
    /// The number the client gave it.
    pub cxid: i32,
    /// What it asks.
    pub asked: ForwardedRequest,
}

/// What a forwarded request asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ForwardedRequest {
    /// A new session with this time-out in milliseconds.
    CreateSession(i32),
    /// The end of the session.
    CloseSession,
    /// One write.
    Write(Write),
    /// Several, all or none.
    Multi(Vec<Write>),
}

/// From a leader to its followers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToFollower {
    /// The new epoch.
    LeaderInfo(PeerEpoch),
    /// Remove all after this transaction.
    Truncate(Zxid),
    /// Replace everything by this state.
    Snapshot(Zxid, Bytes),
    /// Log this.
    Proposal(Txn),
    /// Apply all up to here.
    Commit(Zxid),
    /// You hold my history now: make it durable and acknowledge.
    NewLeader(Zxid),
    /// A quorum holds it: serve.
    UpToDate,
    /// My epoch began without you, and you hold all of it: you may promise and acknowledge again.
    Trusted,
    /// Are you there?
    Ping,
    /// The answer to `Revalidate`: the session's time-out in milliseconds, unless it is over.
    Revalidated(SessionId, Option<i32>),
    /// All that was committed when the client asked has been sent.
    Synced(SessionId, i32),
}

impl ToLeader {
    /// The name of its type, for traces and faults on messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FollowerInfo { .. } => "FollowerInfo",
            Self::AckEpoch { .. } => "AckEpoch",
            Self::Ack(_) => "Ack",
            Self::Touched(_) => "Touched",
            Self::Request(_) => "Request",
            Self::Revalidate(_) => "Revalidate",
            Self::Sync(..) => "SyncRequest",
        }
    }
}

impl ToFollower {
    /// The name of its type, for traces and faults on messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LeaderInfo(_) => "LeaderInfo",
            Self::Truncate(_) => "Truncate",
            Self::Snapshot(..) => "Snapshot",
            Self::Proposal(_) => "Proposal",
            Self::Commit(_) => "Commit",
            Self::NewLeader(_) => "NewLeader",
            Self::UpToDate => "UpToDate",
            Self::Trusted => "Trusted",
            Self::Ping => "LeaderPing",
            Self::Revalidated(..) => "Revalidated",
            Self::Synced(..) => "Synced",
        }
    }
}

/// The bytes of a message.
pub fn encode(message: &impl Serialize) -> Bytes {
    postcard::to_stdvec(message).expect("our messages hold only what postcard can write").into()
}

/// Reads a message; `None` if it is malformed.
pub fn decode<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}
