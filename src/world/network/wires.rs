//! What lies between hosts: latency, bandwidth, and the faults of links. Knows nothing of connections.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{HostId, SimTime};
use crate::world::chance::SplitMix;
use crate::world::network::{HostSet, NetworkConfig};

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
    fn hits(&self, from: HostId, to: HostId) -> bool {
        self.from.contains(&from) && self.to.contains(&to)
    }
}

/// Names a fault on links, for ending it.
pub(crate) type LinkFaultKey = u64;

#[derive(Clone, Copy)]
pub(super) struct Path {
    pub(super) from: HostId,
    pub(super) to: HostId,
    pub(super) same_zone: bool,
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

    pub(super) fn end(&mut self, key: LinkFaultKey) {
        self.faults.remove(&key);
    }

    pub(super) fn blocked(&self, from: HostId, to: HostId) -> bool {
        self.faults.values().any(|fault| matches!(fault.effect, LinkEffect::Blocked) && fault.hits(from, to))
    }

    pub(super) fn refused(&self, from: HostId, to: HostId) -> bool {
        self.faults.values().any(|fault| matches!(fault.effect, LinkEffect::Refused) && fault.hits(from, to))
    }

    /// When a message of this size, sent now, arrives; the wire is busy until it has left.
    pub(super) fn transit(
        &mut self,
        now: SimTime,
        path: Path,
        dice: &mut SplitMix,
        kind: &str,
        size: usize,
    ) -> SimTime {
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
