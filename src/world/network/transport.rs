//! Connections: what is under way, what arrived, and how they end.
//!
//! Each direction of a connection has at most one delivery pending, that of its first segment; a segment that finds its way blocked
//! stalls its direction until a heal, or until the sender gives up.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::base::{HostId, SimTime};
use crate::world::chance::SplitMix;
use crate::world::kernel::{Event, EventKey, Kernel};
use crate::world::network::wires::{Frame, LinkFault, LinkFaultKey, Path, Wires};
use crate::world::network::{ConnectionError, HostSet, NetworkConfig};
use crate::world::trace::{Message, What};

/// How long after what a process had sent its kernel's reset arrives.
const RESET_AFTER: Duration = Duration::from_micros(500);

/// TCP's first retransmission time-out; it doubles from there.
const RETRANSMIT_FIRST: Duration = Duration::from_millis(200);

pub(super) enum Segment {
    Data { kind: &'static str, bytes: Bytes },
    Fin,
}

/// A segment on its way.
pub(super) struct InFlight {
    /// When it arrives: not before what was sent before it.
    due: SimTime,
    /// When it was handed over.
    sent: SimTime,
    frame: Frame,
    segment: Segment,
}

/// A frame of a handshake on its way, and who waits for it to arrive.
pub(super) struct Knock {
    pub(super) path: Path,
    pub(super) frame: Frame,
    pub(super) waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EndState {
    Open,
    Failed(ConnectionError),
    /// The process is gone, or has dropped both halves.
    Gone,
}

pub(super) struct End {
    pub(super) host: HostId,
    pub(super) incarnation: u32,
    pub(super) port: u16,
    pub(super) state: EndState,
    pub(super) inbox: VecDeque<Bytes>,
    /// The peer has closed its sending half, and all it sent has arrived.
    pub(super) finished: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writers: Vec<Waker>,
    pub(super) senders: u32,
    pub(super) receiver: bool,
}

/// One direction of a connection, from the end of the same index to the other.
pub(super) struct Flow {
    pub(super) dice: SplitMix,
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) last_due: SimTime,
    pub(super) unread_bytes: usize,
    /// The pending delivery of the first segment.
    pub(super) armed: Option<EventKey>,
    /// The pending reset that follows what the process had sent when it went.
    pub(super) reset: Option<EventKey>,
    pub(super) stalled_since: Option<SimTime>,
    pub(super) give_up: Option<EventKey>,
    pub(super) fin_sent: bool,
    pub(super) blackhole: bool,
}

pub(super) struct Link {
    pub(super) ends: [End; 2],
    pub(super) flows: [Flow; 2],
}

/// Open connections by number. A number is a slot and how often that was used before, so it is never used twice.
#[derive(Default)]
pub(super) struct Connections {
    slots: Vec<(u32, Option<Link>)>,
    free: Vec<u32>,
}

impl Connections {
    pub(super) fn insert(&mut self, link: Link) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(link);
        u64::from(*generation) << 32 | u64::from(slot)
    }

    pub(super) fn get(&self, connection: u64) -> Option<&Link> {
        let (generation, link) = self.slots.get(connection as u32 as usize)?;
        link.as_ref().filter(|_| u64::from(*generation) == connection >> 32)
    }

    pub(super) fn get_mut(&mut self, connection: u64) -> Option<&mut Link> {
        let (generation, link) = self.slots.get_mut(connection as u32 as usize)?;
        link.as_mut().filter(|_| u64::from(*generation) == connection >> 32)
    }

    fn remove(&mut self, connection: u64) -> Option<Link> {
        let slot = connection as u32;
        let (generation, link) = self.slots.get_mut(slot as usize)?;
        if u64::from(*generation) != connection >> 32 {
            return None;
        }
        let link = link.take()?;
        *generation += 1;
        self.free.push(slot);
        Some(link)
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &Link)> {
        self.slots.iter().enumerate().filter_map(|(slot, (generation, link))| {
            Some((u64::from(*generation) << 32 | slot as u64, link.as_ref()?))
        })
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Link)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, (generation, link))| {
            Some((u64::from(*generation) << 32 | slot as u64, link.as_mut()?))
        })
    }
}

pub(super) struct ListenerState {
    pub(super) incarnation: u32,
    pub(super) backlog: VecDeque<u64>,
    pub(super) waker: Option<Waker>,
}

/// All connections of a tank.
pub(crate) struct Network {
    pub(super) wires: Wires,
    pub(super) dice_key: u64,
    pub(super) connections: Connections,
    /// How many handshakes have begun: each has dice of its own.
    pub(super) handshakes: u64,
    /// Frames of handshakes under way, by the number of the handshake; each has one at a time.
    pub(super) knocks: BTreeMap<u64, Knock>,
    pub(super) listeners: BTreeMap<(HostId, u16), ListenerState>,
}

impl Network {
    pub(crate) fn new(config: NetworkConfig, dice_key: u64) -> Self {
        let wires = Wires::new(config);
        Self {
            wires,
            dice_key,
            connections: Connections::default(),
            handshakes: 0,
            knocks: BTreeMap::new(),
            listeners: BTreeMap::new(),
        }
    }

    /// Puts a segment on its way.
    pub(super) fn push(
        &mut self,
        kernel: &Kernel,
        connection: u64,
        flow: usize,
        same_zone: bool,
        segment: Segment,
    ) {
        let Some(link) = self.connections.get_mut(connection) else { return };
        let path = Path { from: link.ends[flow].host, to: link.ends[1 - flow].host, same_zone };
        let direction = &mut link.flows[flow];
        let (kind, size) = match &segment {
            Segment::Data { kind, bytes } => (*kind, bytes.len()),
            Segment::Fin => ("FIN", 0),
        };
        let frame = self.wires.transit(kernel.now(), path, &mut direction.dice, kind, size);
        let due = frame.due().max(direction.last_due);
        direction.last_due = due;
        direction.unread_bytes += size;
        direction.in_flight.push_back(InFlight { due, sent: kernel.now(), frame, segment });
        if direction.armed.is_none() && direction.stalled_since.is_none() {
            direction.armed = Some(kernel.at(due, Event::Deliver { connection, flow }));
        }
    }

    /// The first segment in flight arrives, or finds its way blocked and stalls.
    pub(crate) fn deliver(kernel: &Rc<Kernel>, connection: u64, flow: usize) {
        let now = kernel.now();
        let network = &mut *kernel.network.borrow_mut();
        let Some(link) = network.connections.get(connection) else { return };
        let (from, to) = (link.ends[flow].host, link.ends[1 - flow].host);
        let incarnation = link.ends[1 - flow].incarnation;
        let (powered, alive) = kernel.host_powered(to, incarnation);
        let blocked = !powered || link.flows[flow].blackhole || network.wires.blocked(from, to);
        let gone = !alive || link.ends[1 - flow].state == EndState::Gone;
        let link = network.connections.get_mut(connection).expect("looked up above");
        let direction = &mut link.flows[flow];
        direction.armed = None;
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
            let back = now + RESET_AFTER;
            kernel.call_at(back, move |kernel| Self::reset_end(kernel, connection, flow));
            return;
        }
        let Some(InFlight { segment, sent, .. }) = direction.in_flight.pop_front() else { return };
        if let Some(next) = direction.in_flight.front() {
            direction.armed = Some(kernel.at(next.due, Event::Deliver { connection, flow }));
        }
        let receiver = &mut link.ends[1 - flow];
        match segment {
            Segment::Data { kind, bytes } => {
                let hash = xxh3_64_with_seed(&bytes, xxh3_64(kind.as_bytes()));
                let message = Message { kind, from, sent, bytes: bytes.len() as u64, connection };
                let sender = || kernel.host_name(from);
                kernel.trace.borrow_mut().delivered(now, to, hash, message, sender);
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
            network.connections.remove(connection);
        }
    }

    /// An end learns that its connection is no more.
    fn fail(&mut self, connection: u64, end: usize, why: ConnectionError) -> Vec<Waker> {
        let Some(link) = self.connections.get_mut(connection) else { return Vec::new() };
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
        if let Some(link) = kernel.network.borrow_mut().connections.get_mut(connection) {
            link.flows[flow].give_up = None;
        }
        Self::fail_and_wake(kernel, connection, flow, ConnectionError::TimedOut);
    }

    /// A reset arrives at an end, unless its way is blocked: then it is lost.
    fn reset_end(kernel: &Rc<Kernel>, connection: u64, end: usize) {
        {
            let network = kernel.network.borrow();
            let Some(link) = network.connections.get(connection) else { return };
            if network.wires.blocked(link.ends[1 - end].host, link.ends[end].host) {
                return;
            }
        }
        Self::fail_and_wake(kernel, connection, end, ConnectionError::Reset);
    }

    fn fail_and_wake(kernel: &Rc<Kernel>, connection: u64, end: usize, why: ConnectionError) {
        let wakers = kernel.network.borrow_mut().fail(connection, end, why);
        let host = kernel.network.borrow().connections.get(connection).map(|link| link.ends[end].host);
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
    pub(super) fn reap(kernel: &Rc<Kernel>, connection: u64) {
        let mut network = kernel.network.borrow_mut();
        let Some(link) = network.connections.get(connection) else { return };
        let over = |end: usize| match link.ends[end].state {
            EndState::Gone => link.flows[end].in_flight.is_empty(),
            EndState::Open | EndState::Failed(_) => false,
        };
        if over(0) && over(1) {
            let link = network.connections.remove(connection).expect("looked up above");
            drop(network);
            link.flows.iter().filter_map(|flow| flow.give_up).for_each(|key| kernel.cancel(key));
        }
    }

    /// The process that owned these ends is gone. With `announce` its kernel lives on and resets the peers.
    pub(crate) fn abandon(kernel: &Rc<Kernel>, host: HostId, announce: bool) {
        let mut network = kernel.network.borrow_mut();
        network.listeners.retain(|(listening, _), _| *listening != host);
        let mut orphaned = Vec::new();
        for (connection, link) in network.connections.iter_mut() {
            for end in 0..2 {
                if link.ends[end].host == host && link.ends[end].state != EndState::Gone {
                    link.ends[end].state = EndState::Gone;
                    link.ends[end].inbox.clear();
                    // What is on the wire arrives; what waits for a retransmission by a machine without power never will.
                    if !announce && link.flows[end].stalled_since.is_some() {
                        link.flows[end].in_flight.clear();
                    }
                    orphaned.push(connection);
                    if announce {
                        link.flows[end].reset_after_the_last(kernel, connection, 1 - end);
                    }
                }
            }
        }
        drop(network);
        orphaned.into_iter().for_each(|connection| Self::reap(kernel, connection));
    }

    /// Begins a fault on links.
    pub(crate) fn begin(kernel: &Rc<Kernel>, fault: LinkFault) -> LinkFaultKey {
        kernel.network.borrow_mut().wires.begin(fault)
    }

    /// Ends a fault on links: what is under way is timed anew, and what had stalled is retransmitted on TCP's schedule.
    pub(crate) fn end(kernel: &Rc<Kernel>, key: LinkFaultKey) {
        let ended = kernel.network.borrow_mut().wires.end(key);
        if let Some(fault) = ended.filter(LinkFault::slows) {
            Self::retime(kernel, key, &fault);
        }
        Self::retransmit(kernel, None);
    }

    /// Gives all that is under way on the links of a fault that has ended the times it has without it.
    fn retime(kernel: &Rc<Kernel>, key: LinkFaultKey, fault: &LinkFault) {
        let network = &mut *kernel.network.borrow_mut();
        let mut frames: BTreeMap<Path, Vec<&mut Frame>> = BTreeMap::new();
        for (_, link) in network.connections.iter_mut() {
            let (one, other) = (link.ends[0].host, link.ends[1].host);
            let same_zone = kernel.same_zone(one, other);
            for (flow, (from, to)) in link.flows.iter_mut().zip([(one, other), (other, one)]) {
                if from != to && fault.hits(from, to) {
                    let under_way = flow.in_flight.iter_mut().map(|segment| &mut segment.frame);
                    frames.entry(Path { from, to, same_zone }).or_default().extend(under_way);
                }
            }
        }
        let knocks = network.knocks.values_mut().filter(|knock| fault.hits(knock.path.from, knock.path.to));
        for knock in knocks {
            frames.entry(knock.path).or_default().push(&mut knock.frame);
            if let Some(waker) = knock.waker.take() {
                waker.wake();
            }
        }
        for (path, frames) in frames {
            network.wires.retime(kernel.now(), path, key, frames);
        }
        for (connection, link) in network.connections.iter_mut() {
            for index in 0..2 {
                if fault.hits(link.ends[index].host, link.ends[1 - index].host) {
                    link.flows[index].reschedule(kernel, connection, index);
                }
            }
        }
    }

    /// The host has power again: what had stalled on its way there is retransmitted.
    pub(crate) fn host_returned(kernel: &Rc<Kernel>, host: HostId) {
        Self::retransmit(kernel, Some(host));
    }

    fn retransmit(kernel: &Rc<Kernel>, only_to: Option<HostId>) {
        let now = kernel.now();
        let network = &mut *kernel.network.borrow_mut();
        let mut stalled = Vec::new();
        for (connection, link) in network.connections.iter() {
            for flow in 0..2 {
                let to = link.ends[1 - flow].host;
                if link.flows[flow].stalled_since.is_some()
                    && !link.flows[flow].blackhole
                    && only_to.is_none_or(|only| only == to)
                    && !network.wires.blocked(link.ends[flow].host, to)
                {
                    stalled.push((connection, flow));
                }
            }
        }
        for (connection, flow) in stalled {
            let link = network.connections.get_mut(connection).expect("listed above");
            let same_zone = kernel.same_zone(link.ends[0].host, link.ends[1].host);
            let latency = if same_zone {
                network.wires.config.within.latency
            } else {
                network.wires.config.between.latency
            };
            let direction = &mut link.flows[flow];
            let since = direction.stalled_since.take().expect("listed above");
            let at = retransmission_after(since, now) + latency.max().get();
            for segment in &mut direction.in_flight {
                segment.frame.not_before = at;
                segment.due = segment.due.max(at);
            }
            direction.last_due = direction.last_due.max(at);
            direction.armed = Some(kernel.at(at, Event::Deliver { connection, flow }));
        }
    }

    /// Resets (or silently swallows from now on) every connection between the two sets.
    pub(crate) fn cut(kernel: &Rc<Kernel>, one: &HostSet, other: &HostSet, cut: Cut) -> usize {
        let mut hit = Vec::new();
        for (connection, link) in kernel.network.borrow_mut().connections.iter_mut() {
            let (from, to) = (link.ends[0].host, link.ends[1].host);
            let between =
                (one.contains(&from) && other.contains(&to)) || (one.contains(&to) && other.contains(&from));
            if between {
                hit.push(connection);
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

impl Flow {
    /// The process at its beginning is gone: its kernel resets the peer, the end `peer`, after all that was sent.
    fn reset_after_the_last(&mut self, kernel: &Kernel, connection: u64, peer: usize) {
        let at = self.last_due.max(kernel.now()) + RESET_AFTER;
        self.reset = Some(kernel.call_at(at, move |kernel| {
            if let Some(link) = kernel.network.borrow_mut().connections.get_mut(connection) {
                link.flows[1 - peer].reset = None;
            }
            Network::reset_end(kernel, connection, peer);
        }));
    }

    /// Its frames were timed anew: so are their arrivals, in the order of sending, and the reset that follows them.
    fn reschedule(&mut self, kernel: &Kernel, connection: u64, flow: usize) {
        self.last_due = self.last_due.min(kernel.now());
        for segment in &mut self.in_flight {
            segment.due = segment.frame.due().max(self.last_due);
            self.last_due = segment.due;
        }
        if let (Some(pending), Some(first)) = (self.armed, self.in_flight.front()) {
            kernel.cancel(pending);
            self.armed = Some(kernel.at(first.due, Event::Deliver { connection, flow }));
        }
        if let Some(pending) = self.reset {
            kernel.cancel(pending);
            self.reset_after_the_last(kernel, connection, 1 - flow);
        }
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
