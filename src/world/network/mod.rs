//! The network: ordered, reliable connections of length-framed messages between hosts, and what can go wrong with them.
//!
//! Injects: latency drawn per message from the link between two zones, with a tail; bandwidth (messages queue behind one another
//! on a link); added delay and jitter; partitions of any shape, also one-way; refused connects; resets; half-open connections; one
//! message type held back; flow control (a slow reader stalls the sender).
//!
//! Promises what TCP promises and no more. Within a connection messages arrive in order and once; between connections in any
//! order. Across a partition nothing passes: a send stalls, is retransmitted on TCP's schedule after the heal (200 ms, doubling), or
//! the connection times out. A reset is sent once and can be lost. A process crash resets its connections; a power loss is silent,
//! and noticed by a reset after the restart or by time-out. A paused host's kernel still acknowledges, until the window is full.
//!
//! A fault of a link ends at once: what is under way or waits for the wire then is timed anew, by the link as it is.
//!
//! Never: corrupts, duplicates or reorders within a connection (the transport's checksums and sequence numbers see to it), and
//! never loses an acknowledgement: the window opens as soon as the peer reads, even where the way back is blocked.

mod socket;
mod transport;
mod wires;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{ByteSize, HostId, Range, Rate, Share, Span};

pub use socket::{Connection, Listener, Receiver, Sender};
pub(crate) use socket::{connect, listen};
pub(crate) use transport::{Cut, Network};
pub(crate) use wires::{LinkEffect, LinkFault};

/// Where a listener can be reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The host.
    pub host: HostId,
    /// The port on it.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// How a link between two hosts behaves when nothing is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkConfig {
    /// One-way latency, drawn for each message.
    pub latency: Range<Span>,
    /// The share of messages that take ten times as long (default 0.1 %).
    #[serde(default = "LinkConfig::tail_default")]
    pub tail: Share,
    /// Bytes a second that one host can send to another over this link (default 1.25 GB/s: 10 Gbit Ethernet).
    #[serde(default = "LinkConfig::bandwidth_default")]
    pub bandwidth: Rate,
}

impl LinkConfig {
    /// A link with this latency and the default tail and bandwidth.
    pub fn new(latency: Range<Span>) -> Self {
        Self { latency, tail: Self::tail_default(), bandwidth: Self::bandwidth_default() }
    }
    fn tail_default() -> Share {
        Share::new(0.001)
    }
    fn bandwidth_default() -> Rate {
        Rate::per_second(1.25e9)
    }
}

/// The links of a tank and the constants of its transport.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Links within one zone.
    pub within: LinkConfig,
    /// Links between two zones.
    pub between: LinkConfig,
    /// How long a sender retransmits before it gives the connection up, and a connect before it fails.
    pub give_up: Duration,
    /// Bytes that may be under way or unread in one direction before `send` waits.
    pub window: ByteSize,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let range = |min, max| {
            Range::new(Span::new(Duration::from_micros(min)), Span::new(Duration::from_micros(max)))
                .expect("min <= max")
        };
        Self {
            within: LinkConfig::new(range(200, 600)),
            between: LinkConfig::new(range(1000, 3000)),
            give_up: Duration::from_secs(20),
            window: ByteSize::new(1 << 20),
        }
    }
}

/// Why a connect failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host is up and nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer came.
    #[error("connect timed out")]
    TimedOut,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The peer closed it in good order, after all it had sent.
    #[error("connection closed by the peer")]
    Closed,
    /// The peer, or its restarted host, knows nothing of it.
    #[error("connection reset by the peer")]
    Reset,
    /// What was sent was not acknowledged for too long.
    #[error("connection timed out")]
    TimedOut,
}

/// Why a port could not be listened on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("port {0} is in use")]
pub struct ListenError(pub u16);

/// A set of hosts, for faults on links.
pub type HostSet = BTreeSet<HostId>;
