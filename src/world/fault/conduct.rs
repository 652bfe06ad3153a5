//! Carries a plan out: waits for each fault's time or event, finds its hosts, and hands it to the injector.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::base::HostId;
use crate::world::fault::budget::Hurt;
use crate::world::fault::inject::Injector;
use crate::world::fault::plan::{EVENT_HOST, FaultPlan, Place, PlannedFault, PlannedKind};
use crate::world::fault::rule::matches;
use crate::world::network::{Cut, HostSet, LinkEffect};

/// How often a fault that waits for unsynced writes looks for them.
const DIRTY_LOOK: Duration = Duration::from_micros(100);

/// Begins the stir: from now on the plan's faults strike. They end with the injector's heal.
pub fn conduct(plan: &FaultPlan, places: Vec<Place>, injector: &Injector) {
    let tank = injector.tank().clone();
    let began = tank.now();
    let seen_before: BTreeMap<&str, u64> =
        tank.properties().into_iter().map(|tally| (tally.name, tally.hit)).collect();
    let conductor = Rc::new(Conductor { injector: injector.clone(), places });
    for fault in &plan.faults {
        let conductor = conductor.clone();
        let fault = fault.clone();
        if let Some(at) = fault.at {
            tank.kernel().call_at(began + at.get(), move |_| conductor.strike(fault, None));
        } else if let Some(on) = fault.on.clone() {
            let nth = seen_before.get(on.event.as_str()).copied().unwrap_or(0) + on.nth;
            tank.kernel().properties.borrow_mut().on(&on.event, move |kernel, host, count| {
                if count != nth {
                    return;
                }
                let (conductor, fault) = (conductor.clone(), fault.clone());
                if on.after.get().is_zero() {
                    conductor.strike(fault, host);
                } else {
                    kernel.call_at(kernel.now() + on.after.get(), move |_| conductor.strike(fault, host));
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
    fn strike(self: Rc<Self>, fault: PlannedFault, event_host: Option<HostId>) {
        let Some(patience) = fault.when_dirty else { return self.perform(&fault.kind, event_host) };
        let targets = self.hosts_of(&fault.kind, event_host);
        let tank = self.injector.tank().clone();
        tank.clone().spawn("fault-when-dirty", async move {
            let dirty = || targets.iter().any(|host| self.injector.has_unsynced(*host));
            tank.wait_until(patience.get(), DIRTY_LOOK, dirty).await;
            self.perform(&fault.kind, event_host);
        });
    }

    fn hosts_of(&self, kind: &PlannedKind, event_host: Option<HostId>) -> Vec<HostId> {
        match kind {
            PlannedKind::Crash { host, .. }
            | PlannedKind::PowerLoss { host, .. }
            | PlannedKind::DiskLoss { host, .. }
            | PlannedKind::Pause { host, .. }
            | PlannedKind::SlowCpu { host, .. }
            | PlannedKind::SlowDisk { host, .. }
            | PlannedKind::CrashLoop { host, .. }
            | PlannedKind::ClockJump { host, .. }
            | PlannedKind::ClockDrift { host, .. }
            | PlannedKind::DiskFull { host, .. }
            | PlannedKind::DiskError { host, .. } => self.named(host, event_host).into_iter().collect(),
            PlannedKind::RollingRestart { hosts, .. } => {
                hosts.iter().flat_map(|host| self.named(host, event_host)).collect()
            }
            PlannedKind::ZoneOutage { zone, .. } => self
                .places
                .iter()
                .filter(|place| place.server && place.zone == *zone)
                .flat_map(|place| self.named(&place.host, None))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The hosts a pattern names; a host may have gone from the scenario since the plan was saved.
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

    fn perform(&self, kind: &PlannedKind, event_host: Option<HostId>) {
        let injector = &self.injector;
        let hosts = self.hosts_of(kind, event_host);
        let each = |perform: &dyn Fn(HostId)| hosts.iter().copied().for_each(perform);
        match kind {
            PlannedKind::Crash { down, .. } => {
                each(&|host| injector.take_down("crash", host, Hurt::Crash, down.get()));
            }
            PlannedKind::PowerLoss { down, .. } => {
                each(&|host| injector.take_down("power_loss", host, Hurt::UnsyncedLoss, down.get()));
            }
            PlannedKind::DiskLoss { down, .. } => {
                each(&|host| injector.take_down("disk_loss", host, Hurt::DiskLoss, down.get()));
            }
            PlannedKind::ZoneOutage { down, .. } => {
                each(&|host| injector.take_down("zone_outage", host, Hurt::UnsyncedLoss, down.get()));
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
                injector.rolling_restart(hosts, *graceful, down.get(), gap.get());
            }
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
            PlannedKind::Partition { .. }
            | PlannedKind::Delay { .. }
            | PlannedKind::Jitter { .. }
            | PlannedKind::Bandwidth { .. }
            | PlannedKind::Reset { .. }
            | PlannedKind::HalfOpen { .. }
            | PlannedKind::Refuse { .. }
            | PlannedKind::HoldBack { .. } => self.perform_on_links(kind, event_host),
        }
    }

    fn perform_on_links(&self, kind: &PlannedKind, event_host: Option<HostId>) {
        let injector = &self.injector;
        let set = |pattern: &str| self.named(pattern, event_host);
        // One effect on every link from one set to the other; the target of a partition never includes its own side.
        let one_way = |from: &str, to: &str, effect| vec![(set(from), set(to), effect)];
        match kind {
            PlannedKind::Partition { from, to, one_way, length } => {
                let one = self.all_named(from, event_host);
                let other: BTreeSet<HostId> =
                    self.all_named(to, event_host).difference(&one).copied().collect();
                let names = |hosts: &HostSet| self.names(hosts);
                let arrow = if *one_way { "->" } else { "|" };
                let text = format!("partition {} {arrow} {}", names(&one), names(&other));
                let mut faults = vec![(one.clone(), other.clone(), LinkEffect::Blocked)];
                if !one_way {
                    faults.push((other, one, LinkEffect::Blocked));
                }
                injector.links("partition", &text, faults, length.get());
            }
            PlannedKind::Delay { from, to, by, length } => {
                let faults = one_way(from, to, LinkEffect::Delayed(by.get()));
                injector.links("delay", &format!("delay {from} -> {to} by {by}"), faults, length.get());
            }
            PlannedKind::Jitter { from, to, by, length } => {
                let faults = one_way(from, to, LinkEffect::Jittered(by.get()));
                injector.links("jitter", &format!("jitter {from} -> {to} up to {by}"), faults, length.get());
            }
            PlannedKind::Bandwidth { from, to, limit, length } => {
                let faults = one_way(from, to, LinkEffect::Limited(limit.get()));
                let text = format!("bandwidth {from} -> {to} {limit} bytes");
                injector.links("bandwidth", &text, faults, length.get());
            }
            PlannedKind::HoldBack { message, from, to, by, length } => {
                let faults = one_way(from, to, LinkEffect::HeldBack(Some(message.clone()), by.get()));
                let text = format!("{message} held back {from} -> {to} by {by}");
                injector.links("hold_back", &text, faults, length.get());
            }
            PlannedKind::Refuse { from, to, length } => {
                let faults = one_way(from, to, LinkEffect::Refused);
                injector.links("refuse", &format!("connects {from} -> {to} refused"), faults, length.get());
            }
            PlannedKind::Reset { from, to } => {
                injector.cut("reset", &format!("reset {from} - {to}"), &set(from), &set(to), Cut::Reset);
            }
            PlannedKind::HalfOpen { from, to } => {
                let text = format!("half-open {from} - {to}");
                injector.cut("half_open", &text, &set(from), &set(to), Cut::HalfOpen);
            }
            _ => unreachable!("the other kinds hit hosts"),
        }
    }

    fn names(&self, hosts: &HostSet) -> String {
        let names: Vec<String> =
            hosts.iter().map(|host| self.injector.tank().kernel().host_name(*host)).collect();
        names.join(" ")
    }
}
