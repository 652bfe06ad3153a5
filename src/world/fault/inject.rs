//! Does to a tank what a plan says, within what each system survives, and undoes it.
//!
//! Every fault that lasts is written down with its undoing, so that a heal ends all chaos at once: hosts come back, links are
//! restored, clocks are set right. What a disk lost stays lost. Faults may overlap: a host is started when the last fault that
//! holds it down ends, and no earlier.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::HostId;
use crate::world::disk::{DiskFaults, DiskOperation, DiskState, Lie, LieKind};
use crate::world::fault::budget::{Budget, Hurt, Ledger};
use crate::world::fault::operator::{Operator, Order};
use crate::world::kernel::Kernel;
use crate::world::network::{Cut, HostSet, LinkEffect, LinkFault, Network};
use crate::world::tank::Tank;

/// How long a process may take to shut down in good order before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long a rolling restart waits for a host to be ready again before it goes on regardless.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// How long a disk stalls in place of rotting: it reads a weak sector again and again until it has it.
const REREAD: Duration = Duration::from_secs(1);

/// What became of the faults of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, JsonSchema)]
pub struct FaultCount {
    /// Carried out as planned.
    pub injected: u64,
    /// Carried out in a weaker form, because the budget forbade the planned one.
    pub downgraded: u64,
    /// Without effect: its target was down already, or all was healed.
    pub skipped: u64,
}

/// What became of one planned fault.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Fate {
    /// How often it struck.
    pub struck: u64,
    /// How often in vain: its target was down already, or it named nobody.
    pub in_vain: u64,
}

impl Fate {
    /// Whether it struck, and not only in vain.
    pub fn fired(&self) -> bool {
        self.in_vain < self.struck
    }
}

type Undo = Box<dyn FnOnce(&Injector)>;

/// A fault that lasts, as the trace and the tallies know it.
struct LastingFault {
    kind: &'static str,
    host: Option<HostId>,
    /// What happens, for people.
    text: String,
    length: Duration,
}

/// Hosts to be restarted one after the other.
#[derive(Clone, Debug)]
pub struct RollingRestart {
    /// Which, in this order.
    pub hosts: Vec<HostId>,
    /// Ask each process to shut down, and kill it only if it does not.
    pub graceful: bool,
    /// How long each is down.
    pub down: Duration,
    /// How long after one is ready again the next follows.
    pub gap: Duration,
}

/// The hand that breaks things. Cheap to clone.
#[derive(Clone)]
pub struct Injector(Rc<State>);

struct State {
    tank: Tank,
    ledger: RefCell<Ledger>,
    beyond_budget: bool,
    counts: RefCell<BTreeMap<&'static str, FaultCount>>,
    fates: RefCell<Vec<Fate>>,
    active: RefCell<BTreeMap<u64, Undo>>,
    active_next: Cell<u64>,
    over: Cell<bool>,
    /// How many faults hold each host down (or paused) at the moment.
    held_down: Holds,
    held_paused: Holds,
    slow_cpu: Factors,
    slow_disk: Factors,
    operator: Option<Operator>,
}

/// How many faults hold each host.
type Holds = RefCell<BTreeMap<HostId, u32>>;

/// A fault lets go of a host; true if it was the last that held it.
fn let_go(holds: &Holds, host: HostId) -> bool {
    let mut holds = holds.borrow_mut();
    let count = holds.get_mut(&host).expect("this fault holds it");
    *count -= 1;
    *count == 0
}

/// By how much each host is slower at the moment; the factors of faults that overlap multiply.
type Factors = RefCell<BTreeMap<HostId, Vec<f64>>>;

impl Injector {
    /// An injector that keeps within these budgets, unless `beyond_budget`.
    pub fn new(tank: Tank, budgets: Vec<Budget>, beyond_budget: bool) -> Self {
        Self::with_operator(tank, budgets, beyond_budget, None)
    }

    /// One that has an operator to give orders to.
    pub fn with_operator(
        tank: Tank,
        budgets: Vec<Budget>,
        beyond_budget: bool,
        operator: Option<Operator>,
    ) -> Self {
        Self(Rc::new(State {
            tank,
            ledger: RefCell::new(Ledger::new(budgets)),
            beyond_budget,
            counts: RefCell::default(),
            fates: RefCell::default(),
            active: RefCell::default(),
            active_next: Cell::new(0),
            over: Cell::new(false),
            held_down: RefCell::default(),
            held_paused: RefCell::default(),
            slow_cpu: RefCell::default(),
            slow_disk: RefCell::default(),
            operator,
        }))
    }

    fn kernel(&self) -> &Rc<Kernel> {
        self.0.tank.kernel()
    }

    /// The tank it breaks.
    pub fn tank(&self) -> &Tank {
        &self.0.tank
    }

    /// What became of the faults so far, by kind.
    pub fn counts(&self) -> BTreeMap<&'static str, FaultCount> {
        self.0.counts.borrow().clone()
    }

    /// What became of each planned fault, in the order of the plan.
    pub fn fates(&self) -> Vec<Fate> {
        self.0.fates.borrow().clone()
    }

    /// Makes room for the fates of so many faults.
    pub(super) fn expects(&self, faults: usize) {
        self.0.fates.borrow_mut().resize(faults, Fate::default());
    }

    /// Notes that a planned fault strikes with `perform`.
    pub(super) fn striking(&self, number: usize, kind: &'static str, perform: impl FnOnce()) {
        let count = || self.0.counts.borrow().get(kind).copied().unwrap_or_default();
        let before = count();
        perform();
        let after = count();
        let mut fates = self.0.fates.borrow_mut();
        fates[number].struck += 1;
        let only_skipped = before.skipped < after.skipped
            && FaultCount { skipped: 0, ..before } == FaultCount { skipped: 0, ..after };
        fates[number].in_vain += u64::from(only_skipped);
    }

    /// Whether all is healed and nothing may break any more.
    pub fn is_over(&self) -> bool {
        self.0.over.get()
    }

    /// Tallies a fault of this kind, which is in force for so long, and writes it into the trace.
    fn note(
        &self,
        kind: &'static str,
        host: Option<HostId>,
        (text, length): (&str, Duration),
        tally: impl FnOnce(&mut FaultCount),
    ) {
        tally(self.0.counts.borrow_mut().entry(kind).or_default());
        self.kernel().properties.borrow_mut().in_force(kind, self.0.tank.now() + length);
        self.kernel().fault_event(host, text);
    }

    /// Tallies a fault that had no effect.
    pub(crate) fn skipped(&self, kind: &'static str) {
        self.0.counts.borrow_mut().entry(kind).or_default().skipped += 1;
    }

    /// Undoes a fault after `length`, or at the heal, whichever comes first.
    fn lasting(&self, length: Duration, undo: impl FnOnce(&Self) + 'static) {
        let key = self.0.active_next.get();
        self.0.active_next.set(key + 1);
        self.0.active.borrow_mut().insert(key, Box::new(undo));
        let injector = self.clone();
        self.kernel().call_at(self.0.tank.now() + length, move |_| {
            let undo = injector.0.active.borrow_mut().remove(&key);
            if let Some(undo) = undo {
                undo(&injector);
            }
        });
    }

    /// Carries a fault out and undoes it after its length, with what `begin` gave; once all is healed it has no effect.
    fn inflict<Begun: 'static>(
        &self,
        fault: LastingFault,
        begin: impl FnOnce(&Self) -> Begun,
        undo: impl FnOnce(&Self, Begun) + 'static,
    ) {
        let LastingFault { kind, host, text, length } = fault;
        if self.is_over() {
            return self.skipped(kind);
        }
        self.note(kind, host, (&format!("{text}, {length:?}"), length), |count| count.injected += 1);
        let begun = begin(self);
        self.lasting(length, move |injector| undo(injector, begun));
    }

    fn name(&self, host: HostId) -> String {
        self.kernel().host_name(host)
    }

    fn is_up(&self, host: HostId) -> bool {
        self.kernel().hosts.borrow()[host.get() as usize].power == crate::world::lifecycle::Power::Running
    }

    fn hold_down(&self, host: HostId, length: Duration) {
        *self.0.held_down.borrow_mut().entry(host).or_default() += 1;
        self.lasting(length, move |injector| {
            if let_go(&injector.0.held_down, host) {
                injector.kernel().start(host);
            }
        });
    }

    /// Takes a host down as badly as `wanted`, or as the budget allows, and holds it down for `down`.
    pub fn take_down(&self, kind: &'static str, host: HostId, wanted: Hurt, down: Duration) {
        if self.is_over() {
            return self.skipped(kind);
        }
        let tank = self.0.tank.clone();
        let allowed = {
            let mut ledger = self.0.ledger.borrow_mut();
            ledger.heal(|host| tank.is_ready(host));
            if self.0.beyond_budget { wanted } else { ledger.allowed(host, wanted) }
        };
        if !self.is_up(host) && allowed == Hurt::Crash {
            return self.skipped(kind);
        }
        let name = self.name(host);
        let weaker = allowed != wanted;
        let text = match allowed {
            Hurt::Crash => format!("crash of {name}, down {down:?}"),
            Hurt::UnsyncedLoss => format!("power loss of {name}, down {down:?}"),
            Hurt::DiskLoss => format!("loss of the whole disk of {name}, down {down:?}"),
        };
        let text = if weaker { format!("{text} ({kind} is beyond the budget)") } else { text };
        self.note(kind, Some(host), (&text, down), |count| {
            if weaker { count.downgraded += 1 } else { count.injected += 1 }
        });
        self.0.ledger.borrow_mut().hurt(host, allowed);
        match allowed {
            Hurt::Crash => self.kernel().crash(host),
            Hurt::UnsyncedLoss => self.kernel().power_loss(host),
            Hurt::DiskLoss => {
                self.kernel().power_loss(host);
                self.kernel().hosts.borrow_mut()[host.get() as usize].disk.replace();
            }
        }
        self.hold_down(host, down);
    }

    /// Stops scheduling a host's process for a while, as a long garbage collection does.
    pub fn pause(&self, host: HostId, length: Duration) {
        if !self.is_up(host) {
            return self.skipped("pause");
        }
        let text = format!("pause of {}", self.name(host));
        let begin = |injector: &Self| {
            *injector.0.held_paused.borrow_mut().entry(host).or_default() += 1;
            injector.kernel().pause(host);
        };
        self.inflict(
            LastingFault { kind: "pause", host: Some(host), text, length },
            begin,
            move |injector, ()| {
                if let_go(&injector.0.held_paused, host) {
                    injector.kernel().resume(host);
                }
            },
        );
    }

    /// Makes a host's cores slower by a factor.
    pub fn slow_cpu(&self, host: HostId, factor: f64, length: Duration) {
        let text = format!("cores of {} {factor}x slower", self.name(host));
        let fault = LastingFault { kind: "slow_cpu", host: Some(host), text, length };
        self.slow(fault, host, factor, |state| &state.slow_cpu);
    }

    /// Makes a host's disk slower by a factor.
    pub fn slow_disk(&self, host: HostId, factor: f64, length: Duration) {
        let text = format!("disk of {} {factor}x slower", self.name(host));
        let fault = LastingFault { kind: "slow_disk", host: Some(host), text, length };
        self.slow(fault, host, factor, |state| &state.slow_disk);
    }

    fn slow(&self, fault: LastingFault, host: HostId, factor: f64, factors: fn(&State) -> &Factors) {
        let begin = |injector: &Self| {
            factors(&injector.0).borrow_mut().entry(host).or_default().push(factor);
            injector.apply_slowness(host);
        };
        self.inflict(fault, begin, move |injector, ()| {
            drop_factor(&mut factors(&injector.0).borrow_mut(), host, factor);
            injector.apply_slowness(host);
        });
    }

    fn apply_slowness(&self, host: HostId) {
        let product =
            |factors: &Factors| factors.borrow().get(&host).map_or(1.0, |factors| factors.iter().product());
        let (cpu, disk): (f64, f64) = (product(&self.0.slow_cpu), product(&self.0.slow_disk));
        let mut hosts = self.kernel().hosts.borrow_mut();
        let state = &mut hosts[host.get() as usize];
        state.cpu_factor = cpu;
        state.disk.faults.slow_factor = (disk != 1.0).then_some(disk);
    }

    /// Kills a process again and again: up for `up`, down for `down`, `times` times.
    pub fn crash_loop(&self, host: HostId, times: u32, up: Duration, down: Duration) {
        let injector = self.clone();
        self.0.tank.spawn("crash-loop", async move {
            for _ in 0..times {
                injector.take_down("crash_loop", host, Hurt::Crash, down);
                injector.0.tank.sleep(down + up).await;
                if injector.is_over() {
                    return;
                }
            }
        });
    }

    /// Restarts hosts one after the other, each once the one before is ready again.
    pub fn rolling_restart(&self, restart: RollingRestart) {
        let injector = self.clone();
        let RollingRestart { hosts, graceful, down, gap } = restart;
        self.0.tank.spawn("rolling-restart", async move {
            let tank = injector.0.tank.clone();
            for host in hosts {
                if injector.is_over() {
                    return;
                }
                if graceful {
                    injector.ask_to_stop(&[host]).await;
                }
                injector.keep_down("rolling_restart", host, down);
                tank.sleep(down).await;
                tank.wait_until(READY_PATIENCE, Duration::from_millis(50), || tank.is_ready(host)).await;
                tank.sleep(gap).await;
            }
        });
    }

    /// Restarts hosts together: all are asked to shut down, and from when the last has stopped they are down for as long.
    pub fn full_restart(&self, hosts: Vec<HostId>, down: Duration) {
        if self.is_over() {
            return self.skipped("full_restart");
        }
        let injector = self.clone();
        self.0.tank.spawn("full-restart", async move {
            injector.ask_to_stop(&hosts).await;
            hosts.into_iter().for_each(|host| injector.keep_down("full_restart", host, down));
        });
    }

    /// Asks processes to shut down in good order, and waits until they have, for as long as they may take.
    async fn ask_to_stop(&self, hosts: &[HostId]) {
        let up: Vec<HostId> = hosts.iter().copied().filter(|host| self.is_up(*host)).collect();
        for host in &up {
            self.kernel().fault_event(Some(*host), &format!("{} is asked to shut down", self.name(*host)));
            self.kernel().request_shutdown(*host);
        }
        let gone = || !up.iter().any(|host| self.is_up(*host));
        self.0.tank.wait_until(GRACE, Duration::from_millis(5), gone).await;
    }

    /// Holds a host down that has been asked to stop, and kills it if it has not.
    fn keep_down(&self, kind: &'static str, host: HostId, down: Duration) {
        if self.is_over() {
            // All was healed meanwhile: its process has stopped as it was asked to, or still will.
            self.kernel().recall_shutdown(host);
            return self.skipped(kind);
        }
        if self.is_up(host) {
            return self.take_down(kind, host, Hurt::Crash, down);
        }
        let text = format!("{} shut down in good order, down {down:?}", self.name(host));
        self.note(kind, Some(host), (&text, down), |count| count.injected += 1);
        self.hold_down(host, down);
    }

    /// Moves a host's calendar clock by this many nanoseconds, either way, until the heal.
    pub fn jump_clock(&self, host: HostId, nanos: i128) {
        if self.is_over() {
            return self.skipped("clock_jump");
        }
        let text = format!("clock of {} jumps by {} ms", self.name(host), nanos / 1_000_000);
        self.note("clock_jump", Some(host), (&text, Duration::ZERO), |count| count.injected += 1);
        self.kernel().hosts.borrow_mut()[host.get() as usize].clock.jump(nanos);
    }

    /// Lets a host's clocks run fast (or slow) by so many parts per million: its calendar, and every timer, time-out and lease.
    /// Several drifts at once add up, to half as fast again or half as slow at most.
    pub fn drift_clock(&self, host: HostId, ppm: f64, length: Duration) {
        if !self.kernel().bears_drift(host, ppm) {
            return self.skipped("clock_drift");
        }
        let text = format!("clock of {} drifts by {ppm} ppm", self.name(host));
        let speed_up = move |injector: &Self, ppm: f64| injector.kernel().speed_up_clock(host, ppm);
        let fault = LastingFault { kind: "clock_drift", host: Some(host), text, length };
        self.inflict(
            fault,
            move |injector| speed_up(injector, ppm),
            move |injector, ()| speed_up(injector, -ppm),
        );
    }

    /// Does something to the links from some hosts to others, for a while. `text` tells what, for people.
    pub(crate) fn links(&self, kind: &'static str, text: String, faults: Vec<LinkFault>, length: Duration) {
        let begin = |injector: &Self| {
            let begin = |fault| Network::begin(injector.kernel(), fault);
            faults.into_iter().map(begin).collect::<Vec<_>>()
        };
        self.inflict(LastingFault { kind, host: None, text, length }, begin, move |injector, keys| {
            keys.into_iter().for_each(|key| Network::end(injector.kernel(), key));
            injector.kernel().fault_event(None, &format!("{kind} ends"));
        });
    }

    /// Resets the connections between two sets of hosts, or makes them swallow everything from now on.
    pub(crate) fn cut(&self, kind: &'static str, text: &str, one: &HostSet, other: &HostSet, cut: Cut) {
        if self.is_over() {
            return self.skipped(kind);
        }
        let hit = Network::cut(self.kernel(), one, other, cut);
        if hit == 0 {
            return self.skipped(kind);
        }
        self.note(kind, None, (&format!("{text}: {hit} connections"), Duration::ZERO), |count| {
            count.injected += 1
        });
    }

    /// The name under which an order to the operator is counted: that of its action, if there is somebody who can do it.
    pub(super) fn order_kind(&self, action: &str) -> Option<&'static str> {
        self.0.operator.as_ref()?.action(action).map(|action| action.name)
    }

    /// Gives the operator an order, which is carried out even if all is healed meanwhile.
    pub fn operate(&self, order: Order) {
        let kind = self.order_kind(&order.action);
        let (Some(kind), Some(operator)) = (kind, &self.0.operator) else { return self.skipped("operate") };
        if self.is_over() {
            return self.skipped(kind);
        }
        let length = order.deadline.since(self.0.tank.now());
        self.note(kind, Some(operator.host()), (&format!("order to {order}"), length), |count| {
            count.injected += 1
        });
        operator.order(order);
    }

    /// Fills a host's disk for a while.
    pub fn fill_disk(&self, host: HostId, length: Duration) {
        let text = format!("disk of {} is full", self.name(host));
        let fault = LastingFault { kind: "disk_full", host: Some(host), text, length };
        self.inflict(
            fault,
            |injector| injector.with_disk(host, |faults| faults.full += 1),
            move |injector, ()| injector.with_disk(host, |faults| faults.full -= 1),
        );
    }

    /// Makes operations of one kind on a host's disk fail with EIO for a while.
    pub fn fail_disk(&self, host: HostId, operation: DiskOperation, length: Duration) {
        let text = format!("disk of {} fails on {operation:?}", self.name(host));
        let fault = LastingFault { kind: "disk_error", host: Some(host), text, length };
        let failing = move |injector: &Self, change: fn(&mut u32)| {
            injector.with_disk(host, |faults| change(faults.failing.entry(operation).or_default()));
        };
        self.inflict(
            fault,
            |injector| failing(injector, |count| *count += 1),
            move |injector, ()| failing(injector, |count| *count -= 1),
        );
    }

    /// Lets nothing come back from a host's disk for a while.
    pub fn stall_disk(&self, host: HostId, length: Duration) {
        let text = format!("disk of {} stalls", self.name(host));
        self.inflict(
            LastingFault { kind: "disk_stall", host: Some(host), text, length },
            |injector| injector.with_disk(host, |faults| faults.stalled += 1),
            move |injector, ()| injector.disk(host, DiskState::end_stall),
        );
    }

    /// Lets a host's disk lie for a while; beyond the budget it only stalls.
    pub(crate) fn lie(&self, kind: &'static str, host: HostId, lie: Lie, length: Duration) {
        let name = self.name(host);
        if !self.may_damage(host) {
            return self.stall_instead(kind, host, length);
        }
        let Lie { files, chance, .. } = &lie;
        let what = match lie.kind {
            LieKind::LostWrite => "loses writes",
            LieKind::MisdirectedWrite => "misdirects writes",
            LieKind::MisdirectedRead => "misdirects reads",
            LieKind::StaleRead => "reads what is stale",
        };
        let text = format!("disk of {name} {what}: {chance} of {files}");
        let begun = lie.clone();
        self.inflict(
            LastingFault { kind, host: Some(host), text, length },
            move |injector| {
                injector.0.ledger.borrow_mut().damage(host);
                injector.disk(host, |disk| disk.begin_lie(begun));
            },
            move |injector, ()| injector.disk(host, |disk| disk.end_lie(&lie)),
        );
    }

    /// Flips bits on a host's disk; beyond the budget it only stalls.
    pub fn rot(&self, host: HostId, files: &str, bits: u32) {
        if self.is_over() {
            return self.skipped("bit_rot");
        }
        if !self.may_damage(host) {
            return self.stall_instead("bit_rot", host, REREAD);
        }
        let mut places = Vec::new();
        self.disk(host, |disk| places.extend((0..bits).filter_map(|_| disk.rot(files))));
        if places.is_empty() {
            return self.skipped("bit_rot");
        }
        self.0.ledger.borrow_mut().damage(host);
        let text = format!("bits rot on the disk of {}: {}", self.name(host), places.join("; "));
        self.note("bit_rot", Some(host), (&text, Duration::ZERO), |count| count.injected += 1);
    }

    /// Whether some host may hold damaged data. What is left of a system when the others are cut off need not suffice then.
    pub fn has_damaged(&self) -> bool {
        self.0.ledger.borrow().has_damaged()
    }

    fn may_damage(&self, host: HostId) -> bool {
        let mut ledger = self.0.ledger.borrow_mut();
        ledger.heal(|host| self.0.tank.is_ready(host));
        self.0.beyond_budget || ledger.may_damage(host)
    }

    fn stall_instead(&self, kind: &'static str, host: HostId, length: Duration) {
        if self.is_over() {
            return self.skipped(kind);
        }
        let text = format!("disk of {} stalls, {length:?} ({kind} is beyond the budget)", self.name(host));
        self.note(kind, Some(host), (&text, length), |count| count.downgraded += 1);
        self.with_disk(host, |faults| faults.stalled += 1);
        self.lasting(length, move |injector| injector.disk(host, DiskState::end_stall));
    }

    fn disk(&self, host: HostId, change: impl FnOnce(&mut DiskState)) {
        change(&mut self.kernel().hosts.borrow_mut()[host.get() as usize].disk);
    }

    fn with_disk(&self, host: HostId, change: impl FnOnce(&mut DiskFaults)) {
        self.disk(host, |disk| change(&mut disk.faults));
    }

    /// Whether the host has written what a power loss now could take.
    pub fn has_unsynced(&self, host: HostId) -> bool {
        self.kernel().hosts.borrow()[host.get() as usize].disk.has_unsynced()
    }

    /// Ends all chaos at once: every lasting fault is undone, every host comes back, every clock is set right.
    pub fn heal(&self) {
        self.end_everything();
        let all = 0..self.kernel().hosts.borrow().len() as u32;
        all.map(HostId::new).for_each(|host| self.kernel().start(host));
        self.kernel().fault_event(None, "all is healed");
    }

    /// Heals only `core`; every other host of a budget is cut off for ever. The core must suffice for progress.
    pub fn heal_core(&self, core: &BTreeSet<HostId>) {
        self.end_everything();
        let all: HostSet = (0..self.kernel().hosts.borrow().len() as u32).map(HostId::new).collect();
        let budgeted: HostSet = self.0.ledger.borrow().hosts();
        let outside: HostSet = budgeted.difference(core).copied().collect();
        for host in all.difference(&outside) {
            self.kernel().start(*host);
        }
        for (from, to) in [(&outside, &all), (&all, &outside)] {
            let fault = LinkFault { from: from.clone(), to: to.clone(), effect: LinkEffect::Blocked };
            Network::begin(self.kernel(), fault);
        }
        let names: Vec<String> = outside.iter().map(|host| self.name(*host)).collect();
        self.kernel().fault_event(
            None,
            &format!("a sufficient core is healed; cut off for ever: {}", names.join(", ")),
        );
    }

    fn end_everything(&self) {
        self.0.over.set(true);
        self.0.tank.set_cooperation(false);
        let active = std::mem::take(&mut *self.0.active.borrow_mut());
        active.into_values().for_each(|undo| undo(self));
        let all = 0..self.kernel().hosts.borrow().len() as u32;
        all.map(HostId::new).for_each(|host| self.kernel().correct_clock(host));
    }
}

fn drop_factor(factors: &mut BTreeMap<HostId, Vec<f64>>, host: HostId, factor: f64) {
    if let Some(active) = factors.get_mut(&host)
        && let Some(at) = active.iter().position(|other| *other == factor)
    {
        active.remove(at);
    }
}
