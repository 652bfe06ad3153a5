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
//! Never: corrupts, duplicates or reorders within a connection (the transport's checksums and sequence numbers see to it), and
//! never loses an acknowledgement: the window opens as soon as the peer reads, even where the way back is blocked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::base::{ByteSize, HostId, Range, Rate, Share, SimTime, Span};
use crate::world::chance::SplitMix;
use crate::world::host::Host;
use crate::world::kernel::{Event, EventKey, Kernel};
use crate::world::trace::What;

/// TCP's first retransmission time-out; it doubles from there.
const RETRANSMIT_FIRST: Duration = Duration::from_millis(200);

/// Header bytes a frame costs on the wire: Ethernet, IP, TCP and the 4-byte length.
const FRAME_OVERHEAD_BYTES: usize = 70;

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

/// Something wrong with the links from some hosts to others.
#[derive(Clone, Debug)]
pub(crate) struct LinkFault {
    pub(crate) from: HostSet,
    pub(crate) to: HostSet,
    pub(crate) effect: LinkEffect,
}

/// What is wrong with a link.
#[derive(Clone, Debug)]
pub(crate) enum LinkEffect {
    /// Nothing passes.
    Blocked,
    /// Every message takes this much longer.
    Delayed(Duration),
    /// Every message takes up to this much longer.
    Jittered(Duration),
    /// Bytes a second at most.
    Limited(f64),
    /// Messages of this type (any, if `None`) take this much longer.
    HeldBack(Option<String>, Duration),
    /// Connects are refused.
    Refused,
}

impl LinkFault {
    fn hits(&self, from: HostId, to: HostId) -> bool {
        self.from.contains(&from) && self.to.contains(&to)
    }
}

/// Names a fault on links, for ending it.
pub(crate) type LinkFaultKey = u64;

enum Segment {
    Data { kind: &'static str, bytes: Bytes },
    Fin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EndState {
    Open,
    Failed(ConnectionError),
    /// The process is gone, or has dropped both halves.
    Gone,
}

struct End {
    host: HostId,
    incarnation: u32,
    port: u16,
    state: EndState,
    inbox: VecDeque<Bytes>,
    /// The peer has closed its sending half, and all it sent has arrived.
    finished: bool,
    reader: Option<Waker>,
    writers: Vec<Waker>,
    senders: u32,
    receiver: bool,
}

/// One direction of a connection, from the end of the same index to the other.
struct Flow {
    dice: SplitMix,
    in_flight: VecDeque<(SimTime, Segment)>,
    last_due: SimTime,
    unread_bytes: usize,
    armed: bool,
    stalled_since: Option<SimTime>,
    give_up: Option<EventKey>,
    fin_sent: bool,
    blackhole: bool,
}

struct Link {
    ends: [End; 2],
    flows: [Flow; 2],
}

struct ListenerState {
    incarnation: u32,
    backlog: VecDeque<u64>,
    waker: Option<Waker>,
}

/// All connections of a tank.
pub(crate) struct Network {
    wires: Wires,
    dice_key: u64,
    connections: BTreeMap<u64, Link>,
    connection_next: u64,
    listeners: BTreeMap<(HostId, u16), ListenerState>,
}

/// What lies between the hosts, and what is wrong with it.
struct Wires {
    config: NetworkConfig,
    /// When the wire from one host to another is free again.
    free: BTreeMap<(HostId, HostId), SimTime>,
    faults: BTreeMap<LinkFaultKey, LinkFault>,
    fault_next: LinkFaultKey,
}

impl Wires {
    fn blocked(&self, from: HostId, to: HostId) -> bool {
        self.faults.values().any(|fault| matches!(fault.effect, LinkEffect::Blocked) && fault.hits(from, to))
    }

    fn refused(&self, from: HostId, to: HostId) -> bool {
        self.faults.values().any(|fault| matches!(fault.effect, LinkEffect::Refused) && fault.hits(from, to))
    }

    /// When a message of this size, sent now, arrives; the wire is busy until it has left.
    fn transit(&mut self, now: SimTime, path: Path, dice: &mut SplitMix, kind: &str, size: usize) -> SimTime {
        if path.from == path.to {
            return now + Duration::from_micros(5 + dice.below(15));
        }
        let link = if path.same_zone { &self.config.within } else { &self.config.between };
        let (min, max) =
            (link.latency.min().get().as_nanos() as u64, link.latency.max().get().as_nanos() as u64);
        let mut latency = min + dice.below(max - min + 1);
        if dice.happens(link.tail.get()) {
            latency *= 10;
        }
        let mut bandwidth = link.bandwidth.get();
        for fault in self.faults.values().filter(|fault| fault.hits(path.from, path.to)) {
            match &fault.effect {
                LinkEffect::Delayed(by) => latency += by.as_nanos() as u64,
                LinkEffect::Jittered(by) => latency += dice.below(by.as_nanos() as u64 + 1),
                LinkEffect::Limited(limit) => bandwidth = bandwidth.min(*limit),
                LinkEffect::HeldBack(held, by) if held.as_deref().is_none_or(|held| held == kind) => {
                    latency += by.as_nanos() as u64;
                }
                LinkEffect::HeldBack(..) | LinkEffect::Blocked | LinkEffect::Refused => {}
            }
        }
        let on_wire =
            Duration::from_nanos(((size + FRAME_OVERHEAD_BYTES) as f64 / bandwidth.max(1.0) * 1e9) as u64);
        let free = self.free.entry((path.from, path.to)).or_default();
        *free = (*free).max(now) + on_wire;
        *free + Duration::from_nanos(latency)
    }
}

impl Network {
    pub(crate) fn new(config: NetworkConfig, dice_key: u64) -> Self {
        let wires = Wires { config, free: BTreeMap::new(), faults: BTreeMap::new(), fault_next: 0 };
        Self { wires, dice_key, connections: BTreeMap::new(), connection_next: 0, listeners: BTreeMap::new() }
    }

    /// Puts a segment on its way. Returns when to fire the delivery, if none is armed yet.
    fn push(
        &mut self,
        now: SimTime,
        connection: u64,
        flow: usize,
        same_zone: bool,
        segment: Segment,
    ) -> Option<SimTime> {
        let link = self.connections.get_mut(&connection)?;
        let path = Path { from: link.ends[flow].host, to: link.ends[1 - flow].host, same_zone };
        let direction = &mut link.flows[flow];
        let (kind, size) = match &segment {
            Segment::Data { kind, bytes } => (*kind, bytes.len()),
            Segment::Fin => ("FIN", 0),
        };
        let due = self.wires.transit(now, path, &mut direction.dice, kind, size).max(direction.last_due);
        direction.last_due = due;
        direction.unread_bytes += size;
        direction.in_flight.push_back((due, segment));
        let arm = (!direction.armed && direction.stalled_since.is_none()).then_some(due);
        direction.armed |= arm.is_some();
        arm
    }

    /// The first segment in flight arrives, or finds its way blocked and stalls.
    pub(crate) fn deliver(kernel: &Rc<Kernel>, connection: u64, flow: usize) {
        let now = kernel.now();
        let network = &mut *kernel.network.borrow_mut();
        let Some(link) = network.connections.get(&connection) else { return };
        let (from, to) = (link.ends[flow].host, link.ends[1 - flow].host);
        let incarnation = link.ends[1 - flow].incarnation;
        let (powered, alive) = kernel.host_powered(to, incarnation);
        let blocked = !powered || link.flows[flow].blackhole || network.wires.blocked(from, to);
        let gone = !alive || link.ends[1 - flow].state == EndState::Gone;
        let link = network.connections.get_mut(&connection).expect("looked up above");
        let direction = &mut link.flows[flow];
        direction.armed = false;
        if blocked {
            direction.stalled_since = Some(now);
            let give_up = network.wires.config.give_up;
            if direction.give_up.is_none() {
                direction.give_up = Some(
                    kernel.call_at(now + give_up, move |kernel| Self::time_out(kernel, connection, flow)),
                );
            }
            return;
        }
        if let Some(key) = direction.give_up.take() {
            kernel.cancel(key);
        }
        if gone {
            // The receiving kernel does not know this connection: it answers with a reset.
            direction.in_flight.clear();
            let back = now + Duration::from_micros(500);
            kernel.call_at(back, move |kernel| Self::reset_end(kernel, connection, flow));
            return;
        }
        let Some((_, segment)) = direction.in_flight.pop_front() else { return };
        if let Some((due, _)) = direction.in_flight.front() {
            direction.armed = true;
            kernel.at(*due, Event::Deliver { connection, flow });
        }
        let receiver = &mut link.ends[1 - flow];
        match segment {
            Segment::Data { kind, bytes } => {
                let hash = xxh3_64_with_seed(&bytes, xxh3_64(kind.as_bytes()));
                let sender = from;
                kernel.trace.borrow_mut().event(
                    now,
                    Some(to),
                    What::Delivered,
                    [hash, connection, bytes.len() as u64],
                    || {
                        format!(
                            "{kind} from {} ({} B, connection {connection})",
                            kernel.host_name(sender),
                            bytes.len()
                        )
                    },
                );
                if receiver.receiver {
                    receiver.inbox.push_back(bytes);
                } else {
                    direction.unread_bytes -= bytes.len();
                }
            }
            Segment::Fin => receiver.finished = true,
        }
        if let Some(waker) = receiver.reader.take() {
            waker.wake();
        }
        if link.ends[flow].state == EndState::Gone
            && link.flows[flow].in_flight.is_empty()
            && link.ends[1 - flow].state == EndState::Gone
        {
            network.connections.remove(&connection);
        }
    }

    /// An end learns that its connection is no more.
    fn fail(&mut self, connection: u64, end: usize, why: ConnectionError) -> Vec<Waker> {
        let Some(link) = self.connections.get_mut(&connection) else { return Vec::new() };
        link.flows[end].in_flight.clear();
        let failed = &mut link.ends[end];
        if failed.state != EndState::Open {
            return Vec::new();
        }
        failed.state = EndState::Failed(why);
        let mut wakers = std::mem::take(&mut failed.writers);
        wakers.extend(failed.reader.take());
        wakers
    }

    fn time_out(kernel: &Rc<Kernel>, connection: u64, flow: usize) {
        if let Some(link) = kernel.network.borrow_mut().connections.get_mut(&connection) {
            link.flows[flow].give_up = None;
        }
        Self::fail_and_wake(kernel, connection, flow, ConnectionError::TimedOut);
    }

    /// A reset arrives at an end, unless its way is blocked: then it is lost.
    fn reset_end(kernel: &Rc<Kernel>, connection: u64, end: usize) {
        {
            let network = kernel.network.borrow();
            let Some(link) = network.connections.get(&connection) else { return };
            if network.wires.blocked(link.ends[1 - end].host, link.ends[end].host) {
                return;
            }
        }
        Self::fail_and_wake(kernel, connection, end, ConnectionError::Reset);
    }

    fn fail_and_wake(kernel: &Rc<Kernel>, connection: u64, end: usize, why: ConnectionError) {
        let wakers = kernel.network.borrow_mut().fail(connection, end, why);
        let host = kernel.network.borrow().connections.get(&connection).map(|link| link.ends[end].host);
        let code = match why {
            ConnectionError::Closed => 1,
            ConnectionError::Reset => 2,
            ConnectionError::TimedOut => 3,
        };
        kernel.trace.borrow_mut().event(
            kernel.now(),
            host,
            What::Connection,
            [connection, code, end as u64],
            || format!("connection {connection}: {why}"),
        );
        wakers.into_iter().for_each(Waker::wake);
        Self::reap(kernel, connection);
    }

    /// Forgets a connection that no end can use any more.
    fn reap(kernel: &Rc<Kernel>, connection: u64) {
        let mut network = kernel.network.borrow_mut();
        let Some(link) = network.connections.get(&connection) else { return };
        let over = |end: usize| match link.ends[end].state {
            EndState::Gone => link.flows[end].in_flight.is_empty(),
            EndState::Open | EndState::Failed(_) => false,
        };
        if over(0) && over(1) {
            let link = network.connections.remove(&connection).expect("looked up above");
            drop(network);
            link.flows.iter().filter_map(|flow| flow.give_up).for_each(|key| kernel.cancel(key));
        }
    }

    /// The process that owned these ends is gone. With `announce` its kernel lives on and resets the peers.
    pub(crate) fn abandon(kernel: &Rc<Kernel>, host: HostId, announce: bool) {
        let mut network = kernel.network.borrow_mut();
        network.listeners.retain(|(listening, _), _| *listening != host);
        let mut orphaned = Vec::new();
        for (connection, link) in &mut network.connections {
            for end in 0..2 {
                if link.ends[end].host == host && link.ends[end].state != EndState::Gone {
                    link.ends[end].state = EndState::Gone;
                    link.ends[end].inbox.clear();
                    // What is on the wire arrives; what waits for a retransmission by a machine without power never will.
                    if !announce && link.flows[end].stalled_since.is_some() {
                        link.flows[end].in_flight.clear();
                    }
                    orphaned.push((*connection, 1 - end, link.flows[end].last_due));
                }
            }
        }
        drop(network);
        for (connection, peer, last_due) in orphaned {
            if announce {
                let at = last_due.max(kernel.now()) + Duration::from_micros(500);
                kernel.call_at(at, move |kernel| Self::reset_end(kernel, connection, peer));
            }
            Self::reap(kernel, connection);
        }
    }

    /// Begins a fault on links.
    pub(crate) fn begin(kernel: &Rc<Kernel>, fault: LinkFault) -> LinkFaultKey {
        let mut network = kernel.network.borrow_mut();
        let key = network.wires.fault_next;
        network.wires.fault_next += 1;
        network.wires.faults.insert(key, fault);
        key
    }

    /// Ends a fault on links; what had stalled is retransmitted on TCP's schedule.
    pub(crate) fn end(kernel: &Rc<Kernel>, key: LinkFaultKey) {
        kernel.network.borrow_mut().wires.faults.remove(&key);
        Self::retransmit(kernel, None);
    }

    /// The host has power again: what had stalled on its way there is retransmitted.
    pub(crate) fn host_returned(kernel: &Rc<Kernel>, host: HostId) {
        Self::retransmit(kernel, Some(host));
    }

    fn retransmit(kernel: &Rc<Kernel>, only_to: Option<HostId>) {
        let now = kernel.now();
        let network = &mut *kernel.network.borrow_mut();
        let mut stalled = Vec::new();
        for (connection, link) in &network.connections {
            for flow in 0..2 {
                let to = link.ends[1 - flow].host;
                if link.flows[flow].stalled_since.is_some()
                    && !link.flows[flow].blackhole
                    && only_to.is_none_or(|only| only == to)
                    && !network.wires.blocked(link.ends[flow].host, to)
                {
                    stalled.push((*connection, flow));
                }
            }
        }
        for (connection, flow) in stalled {
            let link = network.connections.get_mut(&connection).expect("listed above");
            let same_zone = kernel.same_zone(link.ends[0].host, link.ends[1].host);
            let latency = if same_zone {
                network.wires.config.within.latency
            } else {
                network.wires.config.between.latency
            };
            let direction = &mut link.flows[flow];
            let since = direction.stalled_since.take().expect("listed above");
            let at = retransmission_after(since, now) + latency.max().get();
            for (due, _) in &mut direction.in_flight {
                *due = (*due).max(at);
            }
            direction.last_due = direction.last_due.max(at);
            direction.armed = true;
            kernel.at(at, Event::Deliver { connection, flow });
        }
    }

    /// Resets (or silently swallows from now on) every connection between the two sets.
    pub(crate) fn cut(kernel: &Rc<Kernel>, one: &HostSet, other: &HostSet, cut: Cut) -> usize {
        let mut hit = Vec::new();
        for (connection, link) in &mut kernel.network.borrow_mut().connections {
            let (from, to) = (link.ends[0].host, link.ends[1].host);
            let between =
                (one.contains(&from) && other.contains(&to)) || (one.contains(&to) && other.contains(&from));
            if between {
                hit.push(*connection);
                if cut == Cut::HalfOpen {
                    link.flows.iter_mut().for_each(|flow| flow.blackhole = true);
                }
            }
        }
        if cut == Cut::Reset {
            for connection in &hit {
                Self::fail_and_wake(kernel, *connection, 0, ConnectionError::Reset);
                Self::fail_and_wake(kernel, *connection, 1, ConnectionError::Reset);
            }
        }
        hit.len()
    }
}

/// How `Network::cut` treats a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// Both ends learn at once.
    Reset,
    /// Neither end learns; nothing passes any more, for ever. A firewall that forgot the connection does this.
    HalfOpen,
}

#[derive(Clone, Copy)]
struct Path {
    from: HostId,
    to: HostId,
    same_zone: bool,
}

/// The first point of TCP's retransmission schedule, begun at `since`, that does not lie before `now`.
fn retransmission_after(since: SimTime, now: SimTime) -> SimTime {
    let mut at = since + RETRANSMIT_FIRST;
    let mut wait = RETRANSMIT_FIRST;
    while at < now {
        wait *= 2;
        at += wait;
    }
    at
}

/// An open connection: its two halves.
pub struct Connection {
    /// The half that sends.
    pub sender: Sender,
    /// The half that receives.
    pub receiver: Receiver,
}

impl Connection {
    /// The other end.
    pub fn peer(&self) -> Address {
        self.sender.peer
    }
}

/// Sends messages on a connection. Dropping the last clone closes this direction in good order.
pub struct Sender {
    host: Host,
    connection: u64,
    end: usize,
    same_zone: bool,
    peer: Address,
}

impl Sender {
    /// Sends one message. Waits while the window is full. `kind` is the name of the message's type, for traces and faults.
    ///
    /// # Errors
    /// If the connection has ended. `Ok` means handed to the transport, not received.
    pub async fn send(&self, kind: &'static str, bytes: Bytes) -> Result<(), ConnectionError> {
        let mut bytes = Some(bytes);
        poll_fn(|context| {
            let kernel = self.host.kernel();
            let now = kernel.now();
            let arm = {
                let mut network = kernel.network.borrow_mut();
                let window = network.wires.config.window.get() as usize;
                let Some(link) = network.connections.get_mut(&self.connection) else {
                    return Poll::Ready(Err(ConnectionError::Reset));
                };
                match link.ends[self.end].state {
                    EndState::Open => {}
                    EndState::Failed(why) => return Poll::Ready(Err(why)),
                    EndState::Gone => return Poll::Ready(Err(ConnectionError::Reset)),
                }
                if link.flows[self.end].fin_sent {
                    return Poll::Ready(Err(ConnectionError::Closed));
                }
                if window < link.flows[self.end].unread_bytes {
                    let writers = &mut link.ends[self.end].writers;
                    if !writers.iter().any(|waker| waker.will_wake(context.waker())) {
                        writers.push(context.waker().clone());
                    }
                    return Poll::Pending;
                }
                let bytes = bytes.take().expect("a send is polled to its end once");
                network.push(now, self.connection, self.end, self.same_zone, Segment::Data { kind, bytes })
            };
            if let Some(due) = arm {
                kernel.at(due, Event::Deliver { connection: self.connection, flow: self.end });
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Closes this direction once all that was sent has arrived.
    pub fn close(&self) {
        let kernel = self.host.kernel();
        if !self.host.is_alive() {
            return;
        }
        let arm = {
            let mut network = kernel.network.borrow_mut();
            let Some(link) = network.connections.get_mut(&self.connection) else { return };
            if link.flows[self.end].fin_sent || link.ends[self.end].state != EndState::Open {
                return;
            }
            link.flows[self.end].fin_sent = true;
            network.push(kernel.now(), self.connection, self.end, self.same_zone, Segment::Fin)
        };
        if let Some(due) = arm {
            kernel.at(due, Event::Deliver { connection: self.connection, flow: self.end });
        }
    }

    /// The other end.
    pub fn peer(&self) -> Address {
        self.peer
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        if let Some(link) = self.host.kernel().network.borrow_mut().connections.get_mut(&self.connection) {
            link.ends[self.end].senders += 1;
        }
        Self { host: self.host.clone(), ..*self }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.host.is_alive() {
            return;
        }
        let last = {
            let mut network = self.host.kernel().network.borrow_mut();
            let Some(link) = network.connections.get_mut(&self.connection) else { return };
            link.ends[self.end].senders -= 1;
            link.ends[self.end].senders == 0
        };
        if last {
            self.close();
            release(&self.host, self.connection, self.end);
        }
    }
}

/// Receives messages on a connection.
pub struct Receiver {
    host: Host,
    connection: u64,
    end: usize,
}

impl Receiver {
    /// The next message, in the order of sending. Cancelling loses nothing.
    ///
    /// # Errors
    /// `Closed` once the peer closed and all it sent was read; otherwise how the connection ended.
    pub async fn recv(&mut self) -> Result<Bytes, ConnectionError> {
        poll_fn(|context| {
            let kernel = self.host.kernel();
            let mut network = kernel.network.borrow_mut();
            let network = &mut *network;
            let window = network.wires.config.window.get() as usize;
            let Some(link) = network.connections.get_mut(&self.connection) else {
                return Poll::Ready(Err(ConnectionError::Reset));
            };
            let [one, other] = &mut link.ends;
            let (end, peer) = if self.end == 0 { (one, other) } else { (other, one) };
            if let Some(bytes) = end.inbox.pop_front() {
                let flow = &mut link.flows[1 - self.end];
                flow.unread_bytes -= bytes.len();
                if flow.unread_bytes <= window {
                    peer.writers.drain(..).for_each(Waker::wake);
                }
                return Poll::Ready(Ok(bytes));
            }
            match end.state {
                EndState::Open if end.finished => Poll::Ready(Err(ConnectionError::Closed)),
                EndState::Open => {
                    end.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                EndState::Failed(why) => Poll::Ready(Err(why)),
                EndState::Gone => Poll::Ready(Err(ConnectionError::Reset)),
            }
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.host.is_alive() {
            return;
        }
        if let Some(link) = self.host.kernel().network.borrow_mut().connections.get_mut(&self.connection) {
            let end = &mut link.ends[self.end];
            end.receiver = false;
            let unread: usize = end.inbox.drain(..).map(|bytes| bytes.len()).sum();
            link.flows[1 - self.end].unread_bytes -= unread;
        }
        release(&self.host, self.connection, self.end);
    }
}

/// Marks an end gone once both its halves are dropped. What it has sent is still delivered.
fn release(host: &Host, connection: u64, end: usize) {
    let kernel = host.kernel();
    let gone = {
        let mut network = kernel.network.borrow_mut();
        let Some(link) = network.connections.get_mut(&connection) else { return };
        let gone = link.ends[end].senders == 0 && !link.ends[end].receiver;
        if gone {
            link.ends[end].state = EndState::Gone;
        }
        gone
    };
    if gone {
        Network::reap(kernel, connection);
    }
}

/// Accepts connections on a port. Dropping it closes the port.
pub struct Listener {
    host: Host,
    port: u16,
}

impl Listener {
    /// The next connection made to this port. Cancelling loses nothing.
    pub async fn accept(&mut self) -> Connection {
        let connection = poll_fn(|context| {
            let mut network = self.host.kernel().network.borrow_mut();
            let Some(listener) = network.listeners.get_mut(&(self.host.id(), self.port)) else {
                return Poll::Pending;
            };
            match listener.backlog.pop_front() {
                Some(connection) => Poll::Ready(connection),
                None => {
                    listener.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        open_end(&self.host, connection, 1)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.host.is_alive() {
            self.host.kernel().network.borrow_mut().listeners.remove(&(self.host.id(), self.port));
        }
    }
}

fn open_end(host: &Host, connection: u64, end: usize) -> Connection {
    let kernel = host.kernel();
    let network = kernel.network.borrow();
    let (peer, same_zone) = network.connections.get(&connection).map_or_else(
        || (Address { host: host.id(), port: 0 }, true),
        |link| {
            let peer = &link.ends[1 - end];
            (Address { host: peer.host, port: peer.port }, kernel.same_zone(host.id(), peer.host))
        },
    );
    Connection {
        sender: Sender { host: host.clone(), connection, end, same_zone, peer },
        receiver: Receiver { host: host.clone(), connection, end },
    }
}

pub(crate) fn listen(host: &Host, port: u16) -> Result<Listener, ListenError> {
    let mut network = host.kernel().network.borrow_mut();
    let key = (host.id(), port);
    if network.listeners.get(&key).is_some_and(|listener| listener.incarnation == host.incarnation()) {
        return Err(ListenError(port));
    }
    let listener = ListenerState { incarnation: host.incarnation(), backlog: VecDeque::new(), waker: None };
    network.listeners.insert(key, listener);
    Ok(Listener { host: host.clone(), port })
}

/// The three-way handshake: one round trip if all is well; SYNs are repeated on TCP's schedule while nothing answers.
pub(crate) async fn connect(host: &Host, to: Address) -> Result<Connection, ConnectError> {
    let kernel = host.kernel();
    let same_zone = kernel.same_zone(host.id(), to.host);
    let began = host.now();
    let mut dice = SplitMix::new(
        kernel.network.borrow().dice_key ^ mix3(host.id(), to, kernel.network.borrow().connection_next),
    );
    let mut wait = Duration::from_secs(1);
    loop {
        let (there, back) = {
            let mut network = kernel.network.borrow_mut();
            let there = Path { from: host.id(), to: to.host, same_zone };
            let back = Path { from: to.host, to: host.id(), same_zone };
            let now = host.now();
            let arrival = network.wires.transit(now, there, &mut dice, "SYN", 0);
            (arrival, network.wires.transit(arrival, back, &mut dice, "SYN-ACK", 0))
        };
        host.sleep_until(there).await;
        let answer = {
            let mut network = kernel.network.borrow_mut();
            let network = &mut *network;
            let reaches = kernel.is_powered(to.host) && !network.wires.blocked(host.id(), to.host);
            if !reaches {
                None
            } else if network.wires.refused(host.id(), to.host) {
                Some(Err(ConnectError::Refused))
            } else {
                match network.listeners.get_mut(&(to.host, to.port)) {
                    None => Some(Err(ConnectError::Refused)),
                    Some(_) => Some(Ok(())),
                }
            }
        };
        if let Some(answer) = answer {
            host.sleep_until(back).await;
            if !kernel.network.borrow().wires.blocked(to.host, host.id()) {
                answer?;
                if let Some(connection) = establish(host, to, &mut dice) {
                    return Ok(open_end(host, connection, 0));
                }
                return Err(ConnectError::Refused);
            }
        }
        if kernel.network.borrow().wires.config.give_up <= host.now().since(began) + wait {
            host.sleep(kernel.network.borrow().wires.config.give_up.saturating_sub(host.now().since(began)))
                .await;
            return Err(ConnectError::TimedOut);
        }
        host.sleep(wait).await;
        wait *= 2;
    }
}

/// Creates the connection and queues it at the listener, if that still stands.
fn establish(host: &Host, to: Address, dice: &mut SplitMix) -> Option<u64> {
    let kernel = host.kernel();
    let mut network = kernel.network.borrow_mut();
    let network = &mut *network;
    let connection = network.connection_next;
    let listener = network.listeners.get_mut(&(to.host, to.port))?;
    network.connection_next += 1;
    let end = |host, incarnation, port| End {
        host,
        incarnation,
        port,
        state: EndState::Open,
        inbox: VecDeque::new(),
        finished: false,
        reader: None,
        writers: Vec::new(),
        senders: 1,
        receiver: true,
    };
    let mut flow = || Flow {
        dice: SplitMix::new(dice.next()),
        in_flight: VecDeque::new(),
        last_due: SimTime::ZERO,
        unread_bytes: 0,
        armed: false,
        stalled_since: None,
        give_up: None,
        fin_sent: false,
        blackhole: false,
    };
    let link = Link {
        ends: [end(host.id(), host.incarnation(), 0), end(to.host, listener.incarnation, to.port)],
        flows: [flow(), flow()],
    };
    listener.backlog.push_back(connection);
    if let Some(waker) = listener.waker.take() {
        waker.wake();
    }
    network.connections.insert(connection, link);
    kernel.trace.borrow_mut().event(
        kernel.now(),
        Some(to.host),
        What::Connection,
        [connection, 0, 0],
        || format!("connection {connection} opened by {} to port {}", host.name(), to.port),
    );
    Some(connection)
}

fn mix3(from: HostId, to: Address, number: u64) -> u64 {
    let mut bytes = [0; 18];
    bytes[..4].copy_from_slice(&from.get().to_le_bytes());
    bytes[4..8].copy_from_slice(&to.host.get().to_le_bytes());
    bytes[8..10].copy_from_slice(&to.port.to_le_bytes());
    bytes[10..].copy_from_slice(&number.to_le_bytes());
    xxh3_64(&bytes)
}
