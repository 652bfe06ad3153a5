//! Carries a plan out: waits for each fault's time or event, finds its hosts, and hands it to the injector.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::base::{ByteSize, HostId, Share, Span};
use crate::world::disk::{Lie, LieKind};
use crate::world::fault::budget::Hurt;
use crate::world::fault::inject::{Injector, RollingRestart};
use crate::world::fault::operator::Order;
use crate::world::fault::plan::{FaultPlan, Place, PlannedFault, PlannedKind, PlannedTarget};
use crate::world::fault::rule::{EVENT_HOST, matches};
use crate::world::network::{Cut, HostSet, LinkEffect, LinkFault};

/// How often a fault that waits for unsynced writes looks for them.
const DIRTY_LOOK: Duration = Duration::from_micros(100);

/// Begins the stir: from now on the plan's faults strike. They end with the injector's heal.
pub fn conduct(plan: &FaultPlan, places: Vec<Place>, injector: &Injector) {
    let tank = injector.tank().clone();
    let began = tank.now();
    let seen_before: BTreeMap<&str, u64> =
        tank.properties().into_iter().map(|tally| (tally.name, tally.hit)).collect();
    let conductor = Rc::new(Conductor { injector: injector.clone(), places });
    injector.expects(plan.faults.len());
    for (number, fault) in plan.faults.iter().enumerate() {
        let conductor = conductor.clone();
        let fault = fault.clone();
        if let Some(at) = fault.at {
            tank.kernel().call_at(began + at.get(), move |_| conductor.strike(number, fault, None));
        } else if let Some(on) = fault.on.clone() {
            let nth = seen_before.get(on.event.as_str()).copied().unwrap_or(0) + on.nth;
            tank.kernel().properties.borrow_mut().on(&on.event, move |kernel, host, count| {
                if !(nth..nth.saturating_add(on.times)).contains(&count) {
                    return;
                }
                let (conductor, fault) = (conductor.clone(), fault.clone());
                if on.after.get().is_zero() {
                    conductor.strike(number, fault, host);
                } else {
                    kernel.call_at(kernel.now() + on.after.get(), move |_| {
                        conductor.strike(number, fault, host)
                    });
                }
            });
        }
    }
}

struct Conductor {
    injector: Injector,
    places: Vec<Place>,
}

impl Conductor {
    fn strike(self: Rc<Self>, number: usize, fault: PlannedFault, event_host: Option<HostId>) {
        let Some(patience) = fault.when_dirty else { return self.perform(number, &fault.kind, event_host) };
        let targets = self.hosts_of(&fault.kind, event_host);
        let tank = self.injector.tank().clone();
        tank.clone().spawn("fault-when-dirty", async move {
            let dirty = || targets.iter().any(|host| self.injector.has_unsynced(*host));
            tank.wait_until(patience.get(), DIRTY_LOOK, dirty).await;
            self.perform(number, &fault.kind, event_host);
        });
    }

    /// The hosts a fault hits; none for faults of links.
    fn hosts_of(&self, kind: &PlannedKind, event_host: Option<HostId>) -> Vec<HostId> {
        match kind.target() {
            PlannedTarget::Host(host) => self.named(host, event_host).into_iter().collect(),
            PlannedTarget::Hosts(hosts) => {
                hosts.iter().flat_map(|host| self.named(host, event_host)).collect()
            }
            PlannedTarget::Zone(zone) => self
                .places
                .iter()
                .filter(|place| place.server && place.zone == *zone)
                .flat_map(|place| self.named(&place.host, None))
                .collect(),
            PlannedTarget::Links(..) | PlannedTarget::Sides(..) | PlannedTarget::Subject(_) => Vec::new(),
        }
    }

    fn hits_nobody(&self, kind: &PlannedKind, event_host: Option<HostId>) -> bool {
        match kind.target() {
            PlannedTarget::Host(_) | PlannedTarget::Hosts(_) | PlannedTarget::Zone(_) => {
                self.hosts_of(kind, event_host).is_empty()
            }
            PlannedTarget::Links(from, to) => {
                self.named(from, event_host).is_empty() || self.named(to, event_host).is_empty()
            }
            PlannedTarget::Sides(from, to) => {
                let one = self.all_named(from, event_host);
                one.is_empty() || self.all_named(to, event_host).is_subset(&one)
            }
            PlannedTarget::Subject(_) => false,
        }
    }

    /// The hosts a pattern names.
    fn named(&self, pattern: &str, event_host: Option<HostId>) -> HostSet {
        if pattern == EVENT_HOST {
            return event_host.into_iter().collect();
        }
        let tank = self.injector.tank();
        let names = self.places.iter().map(|place| place.host.as_str());
        names.filter(|name| matches(pattern, name)).filter_map(|name| tank.host(name)).collect()
    }

    fn all_named(&self, patterns: &[String], event_host: Option<HostId>) -> HostSet {
        patterns.iter().flat_map(|pattern| self.named(pattern, event_host)).collect()
    }

    fn perform(&self, number: usize, kind: &PlannedKind, event_host: Option<HostId>) {
        let counted = match kind {
            PlannedKind::Operate { action, .. } => self.injector.order_kind(action),
            _ => None,
        };
        let counted = counted.unwrap_or_else(|| kind.name());
        self.injector.striking(number, counted, || self.carry_out(kind, event_host));
    }

    fn carry_out(&self, kind: &PlannedKind, event_host: Option<HostId>) {
        let injector = &self.injector;
        let name = kind.name();
        let hosts = self.hosts_of(kind, event_host);
        if self.hits_nobody(kind, event_host) {
            // The event that a fault waits for may have happened on no host.
            return injector.skipped(name);
        }
        let each = |perform: &dyn Fn(HostId)| hosts.iter().copied().for_each(perform);
        let set = |pattern: &str| self.named(pattern, event_host);
        let on_links = |from: &str, to: &str, effect, text: String, length: Span| {
            injector.links(
                name,
                text,
                vec![LinkFault { from: set(from), to: set(to), effect }],
                length.get(),
            );
        };
        let lie = |kind, files: &String, chance: Share, length: Span| {
            let lie = Lie { kind, files: files.clone(), chance };
            each(&|host| injector.lie(name, host, lie.clone(), length.get()));
        };
        match kind {
            PlannedKind::Crash { down, .. } => {
                each(&|host| injector.take_down(name, host, Hurt::Crash, down.get()));
            }
            PlannedKind::PowerLoss { down, .. } | PlannedKind::ZoneOutage { down, .. } => {
                each(&|host| injector.take_down(name, host, Hurt::UnsyncedLoss, down.get()));
            }
            PlannedKind::DiskLoss { down, .. } => {
                each(&|host| injector.take_down(name, host, Hurt::DiskLoss, down.get()));
            }
            PlannedKind::Pause { length, .. } => each(&|host| injector.pause(host, length.get())),
            PlannedKind::SlowCpu { factor, length, .. } => {
                each(&|host| injector.slow_cpu(host, *factor, length.get()));
            }
            PlannedKind::SlowDisk { factor, length, .. } => {
                each(&|host| injector.slow_disk(host, *factor, length.get()));
            }
            PlannedKind::CrashLoop { times, up, down, .. } => {
                each(&|host| injector.crash_loop(host, *times, up.get(), down.get()));
            }
            PlannedKind::RollingRestart { down, gap, graceful, .. } => {
                let (down, gap) = (down.get(), gap.get());
                injector.rolling_restart(RollingRestart { hosts, graceful: *graceful, down, gap });
            }
            PlannedKind::FullRestart { down, .. } => injector.full_restart(hosts, down.get()),
            PlannedKind::ClockJump { ms, .. } => {
                each(&|host| injector.jump_clock(host, i128::from(*ms) * 1_000_000));
            }
            PlannedKind::ClockDrift { ppm, length, .. } => {
                each(&|host| injector.drift_clock(host, *ppm, length.get()));
            }
            PlannedKind::DiskFull { length, .. } => each(&|host| injector.fill_disk(host, length.get())),
            PlannedKind::DiskError { operation, length, .. } => {
                each(&|host| injector.fail_disk(host, *operation, length.get()));
            }
            PlannedKind::DiskStall { length, .. } => each(&|host| injector.stall_disk(host, length.get())),
            PlannedKind::LostWrite { files, chance, length, .. } => {
                lie(LieKind::LostWrite, files, *chance, *length);
            }
            PlannedKind::MisdirectedWrite { files, chance, length, .. } => {
                lie(LieKind::MisdirectedWrite, files, *chance, *length);
            }
            PlannedKind::MisdirectedRead { files, chance, length, .. } => {
                lie(LieKind::MisdirectedRead, files, *chance, *length);
            }
            PlannedKind::StaleRead { files, chance, length, .. } => {
                lie(LieKind::StaleRead, files, *chance, *length);
            }
            PlannedKind::BitRot { files, bits, .. } => each(&|host| injector.rot(host, files, *bits)),
            PlannedKind::Partition { from, to, one_way, length } => {
                let one = self.all_named(from, event_host);
                let other = self.all_named(to, event_host).difference(&one).copied().collect();
                self.part(name, one, other, *one_way, length.get());
            }
            PlannedKind::Delay { from, to, by, length } => {
                let text = format!("delay {from} -> {to} by {by}");
                on_links(from, to, LinkEffect::Delayed(by.get()), text, *length);
            }
            PlannedKind::Jitter { from, to, by, length } => {
                let text = format!("jitter {from} -> {to} up to {by}");
                on_links(from, to, LinkEffect::Jittered(by.get()), text, *length);
            }
            PlannedKind::Bandwidth { from, to, limit, length } => {
                let text =
                    format!("bandwidth {from} -> {to} at most {}/s", ByteSize::new(limit.get() as u64));
                on_links(from, to, LinkEffect::Limited(limit.get()), text, *length);
            }
            PlannedKind::HoldBack { message, from, to, by, length } => {
                let text = format!("{message} held back {from} -> {to} by {by}");
                on_links(from, to, LinkEffect::HeldBack(Some(message.clone()), by.get()), text, *length);
            }
            PlannedKind::Refuse { from, to, length } => {
                let text = format!("connects {from} -> {to} refused");
                on_links(from, to, LinkEffect::Refused, text, *length);
            }
            PlannedKind::Reset { from, to } => {
                injector.cut(name, &format!("reset {from} - {to}"), &set(from), &set(to), Cut::Reset);
            }
            PlannedKind::Operate { action, subject, choice, patience } => {
                let (action, subject, choice) = (action.clone(), subject.clone(), *choice);
                let deadline = injector.tank().now() + patience.get();
                injector.operate(Order { action, subject, choice, deadline });
            }
            PlannedKind::HalfOpen { from, to } => {
                injector.cut(name, &format!("half-open {from} - {to}"), &set(from), &set(to), Cut::HalfOpen);
            }
        }
    }

    /// Parts two disjoint sets of hosts; one way, what the second sends still arrives.
    fn part(&self, name: &'static str, one: HostSet, other: HostSet, one_way: bool, length: Duration) {
        let arrow = if one_way { "->" } else { "|" };
        let text = format!("partition {} {arrow} {}", self.names(&one), self.names(&other));
        let blocked = |from: &HostSet, to: &HostSet| LinkFault {
            from: from.clone(),
            to: to.clone(),
            effect: LinkEffect::Blocked,
        };
        let mut faults = vec![blocked(&one, &other)];
        if !one_way {
            faults.push(blocked(&other, &one));
        }
        self.injector.links(name, text, faults, length);
    }

    fn names(&self, hosts: &HostSet) -> String {
        let names: Vec<String> =
            hosts.iter().map(|host| self.injector.tank().kernel().host_name(*host)).collect();
        names.join(" ")
    }
}
