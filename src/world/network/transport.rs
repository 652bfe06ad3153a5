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
use crate::world::network::wires::{LinkFault, LinkFaultKey, Path, Wires};
use crate::world::network::{ConnectionError, HostSet, NetworkConfig};
use crate::world::trace::What;

/// TCP's first retransmission time-out; it doubles from there.
const RETRANSMIT_FIRST: Duration = Duration::from_millis(200);

pub(super) enum Segment {
    Data { kind: &'static str, bytes: Bytes },
    Fin,
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
    pub(super) in_flight: VecDeque<(SimTime, Segment)>,
    pub(super) last_due: SimTime,
    pub(super) unread_bytes: usize,
    pub(super) armed: bool,
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
            listeners: BTreeMap::new(),
        }
    }

    /// Puts a segment on its way. Returns when to fire the delivery, if none is armed yet.
    pub(super) fn push(
        &mut self,
        now: SimTime,
        connection: u64,
        flow: usize,
        same_zone: bool,
        segment: Segment,
    ) -> Option<SimTime> {
        let link = self.connections.get_mut(connection)?;
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
        let Some(link) = network.connections.get(connection) else { return };
        let (from, to) = (link.ends[flow].host, link.ends[1 - flow].host);
        let incarnation = link.ends[1 - flow].incarnation;
        let (powered, alive) = kernel.host_powered(to, incarnation);
        let blocked = !powered || link.flows[flow].blackhole || network.wires.blocked(from, to);
        let gone = !alive || link.ends[1 - flow].state == EndState::Gone;
        let link = network.connections.get_mut(connection).expect("looked up above");
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
                    orphaned.push((connection, 1 - end, link.flows[end].last_due));
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
        kernel.network.borrow_mut().wires.begin(fault)
    }

    /// Ends a fault on links; what had stalled is retransmitted on TCP's schedule.
    pub(crate) fn end(kernel: &Rc<Kernel>, key: LinkFaultKey) {
        kernel.network.borrow_mut().wires.end(key);
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
