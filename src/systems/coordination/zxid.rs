//! Identities of the ensemble: transactions, servers, sessions.

use std::fmt;

use serde::{Deserialize, Serialize};

crate::id!(
    /// A server of the ensemble, numbered from 1 (`myid`).
    ServerId(u8),
    "s"
);
crate::id!(
    /// The fencing number of one leader's reign.
    PeerEpoch(u32),
    "e"
);
crate::id!(
    /// A client's session.
    SessionId(i64),
    "session-"
);

/// A transaction's place in the order of all: the epoch of the leader that proposed it, and a counter within that epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zxid(i64);

impl Zxid {
    /// Before every transaction.
    pub const ZERO: Self = Self(0);

    /// The `counter`th transaction of an epoch.
    pub const fn new(epoch: PeerEpoch, counter: u32) -> Self {
        Self((epoch.get() as i64) << 32 | counter as i64)
    }
    /// From the wire.
    pub const fn from_wire(number: i64) -> Self {
        Self(number)
    }
    /// For the wire.
    pub const fn get(self) -> i64 {
        self.0
    }
    /// The epoch of the leader that proposed it.
    pub const fn epoch(self) -> PeerEpoch {
        PeerEpoch::new((self.0 >> 32) as u32)
    }
    /// Its place within the epoch.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }
    /// The next one of the same epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
    /// Whether it can follow `earlier` directly in a log: the next of one epoch, or the first of a later one.
    pub const fn follows(self, earlier: Self) -> bool {
        self.0 == earlier.0 + 1 || (earlier.epoch().get() < self.epoch().get() && self.counter() == 1)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "z{}.{}", self.epoch().get(), self.counter())
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
