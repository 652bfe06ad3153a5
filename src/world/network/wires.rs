//! What lies between hosts: latency, bandwidth, and the faults of links. Knows nothing of connections.
//!
//! A frame remembers what its transit is made of, so that it is timed anew when a fault ends: no fault outlives its end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{HostId, SimTime};
use crate::world::chance::SplitMix;
use crate::world::network::{HostSet, LinkConfig, NetworkConfig};

/// Header bytes a frame costs on the wire: Ethernet, IP, TCP and the 4-byte length.
const FRAME_OVERHEAD_BYTES: usize = 70;

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
    /// Whether messages take longer by it.
    pub(super) fn slows(&self) -> bool {
        match self.effect {
            LinkEffect::Delayed(_)
            | LinkEffect::Jittered(_)
            | LinkEffect::Limited(_)
            | LinkEffect::HeldBack(..) => true,
            LinkEffect::Blocked | LinkEffect::Refused => false,
        }
    }

    pub(super) fn hits(&self, from: HostId, to: HostId) -> bool {
        self.from.contains(&from) && self.to.contains(&to)
    }
}

/// Names a fault on links, for ending it.
pub(crate) type LinkFaultKey = u64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    pub(super) from: HostId,
    pub(super) to: HostId,
    pub(super) same_zone: bool,
}

/// One frame on its way, or waiting for the wire.
pub(super) struct Frame {
    bytes: usize,
    /// When its last bit leaves the sender.
    left: SimTime,
    /// How long it then takes where nothing is wrong.
    latency: Duration,
    /// What each fault adds to that.
    added: Vec<(LinkFaultKey, Duration)>,
    /// It is retransmitted, and does not arrive before this.
    pub(super) not_before: SimTime,
}

impl Frame {
    /// When it arrives, if what was sent before it does not hold it up.
    pub(super) fn due(&self) -> SimTime {
        let added: Duration = self.added.iter().map(|(_, by)| *by).sum();
        (self.left + self.latency + added).max(self.not_before)
    }
}

/// What lies between the hosts, and what is wrong with it.
pub(super) struct Wires {
    pub(super) config: NetworkConfig,
    /// When the wire from one host to another is free again.
    free: BTreeMap<(HostId, HostId), SimTime>,
    faults: BTreeMap<LinkFaultKey, LinkFault>,
    fault_next: LinkFaultKey,
}

impl Wires {
    pub(super) fn new(config: NetworkConfig) -> Self {
        Self { config, free: BTreeMap::new(), faults: BTreeMap::new(), fault_next: 0 }
    }

    pub(super) fn begin(&mut self, fault: LinkFault) -> LinkFaultKey {
        let key = self.fault_next;
        self.fault_next += 1;
        self.faults.insert(key, fault);
        key
    }

    /// Ends a fault. The frames on the paths that it slowed down are to be given to [`Wires::retime`].
    pub(super) fn end(&mut self, key: LinkFaultKey) -> Option<LinkFault> {
        self.faults.remove(&key)
    }

    /// Times the frames that are under way on a path anew, without the fault that has `ended`. None arrives later by it, and
    /// they leave the sender in the order in which they would have.
    pub(super) fn retime(
        &mut self,
        now: SimTime,
        path: Path,
        ended: LinkFaultKey,
        mut frames: Vec<&mut Frame>,
    ) {
        frames.sort_by_key(|frame| frame.left);
        let bandwidth = self.bandwidth(path);
        let mut free = now;
        for frame in frames {
            frame.added.retain(|(fault, _)| *fault != ended);
            if now < frame.left {
                free = frame.left.min(free + on_wire(frame.bytes, bandwidth));
                frame.left = free;
            }
        }
        self.free.insert((path.from, path.to), free);
    }

    pub(super) fn blocked(&self, from: HostId, to: HostId) -> bool {
        self.faults.values().any(|fault| matches!(fault.effect, LinkEffect::Blocked) && fault.hits(from, to))
    }

    pub(super) fn refused(&self, from: HostId, to: HostId) -> bool {
        self.faults.values().any(|fault| matches!(fault.effect, LinkEffect::Refused) && fault.hits(from, to))
    }

    /// Puts a message of this size on its way; the wire is busy until it has left.
    pub(super) fn transit(
        &mut self,
        now: SimTime,
        path: Path,
        dice: &mut SplitMix,
        kind: &str,
        size: usize,
    ) -> Frame {
        let mut frame = Frame {
            bytes: size + FRAME_OVERHEAD_BYTES,
            left: now,
            latency: Duration::ZERO,
            added: Vec::new(),
            not_before: SimTime::ZERO,
        };
        if path.from == path.to {
            frame.latency = Duration::from_micros(5 + dice.below(15));
            return frame;
        }
        let link = self.link(path);
        let (min, max) =
            (link.latency.min().get().as_nanos() as u64, link.latency.max().get().as_nanos() as u64);
        let mut latency = min + dice.below(max - min + 1);
        if dice.happens(link.tail.get()) {
            latency *= 10;
        }
        frame.latency = Duration::from_nanos(latency);
        for (key, fault) in self.faults.iter().filter(|(_, fault)| fault.hits(path.from, path.to)) {
            match &fault.effect {
                LinkEffect::Delayed(by) => frame.added.push((*key, *by)),
                LinkEffect::Jittered(by) => {
                    let by = Duration::from_nanos(dice.below(by.as_nanos() as u64 + 1));
                    frame.added.push((*key, by));
                }
                LinkEffect::HeldBack(held, by) if held.as_deref().is_none_or(|held| held == kind) => {
                    frame.added.push((*key, *by));
                }
                LinkEffect::HeldBack(..)
                | LinkEffect::Limited(_)
                | LinkEffect::Blocked
                | LinkEffect::Refused => {}
            }
        }
        let on_wire = on_wire(frame.bytes, self.bandwidth(path));
        let free = self.free.entry((path.from, path.to)).or_default();
        *free = (*free).max(now) + on_wire;
        frame.left = *free;
        frame
    }

    fn link(&self, path: Path) -> &LinkConfig {
        if path.same_zone { &self.config.within } else { &self.config.between }
    }

    /// Bytes a second that the path carries now.
    fn bandwidth(&self, path: Path) -> f64 {
        let faults = self.faults.values().filter(|fault| fault.hits(path.from, path.to));
        let limits = faults.filter_map(|fault| match fault.effect {
            LinkEffect::Limited(limit) => Some(limit),
            _ => None,
        });
        limits.fold(self.link(path).bandwidth.get(), f64::min)
    }
}

/// How long a frame keeps the wire busy.
fn on_wire(bytes: usize, bandwidth: f64) -> Duration {
    Duration::from_nanos((bytes as f64 / bandwidth.max(1.0) * 1e9) as u64)
}
