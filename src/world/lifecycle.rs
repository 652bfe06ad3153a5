//! The life of a simulated machine: power, process, incarnations, pauses, clocks and cores.
//!
//! A machine runs one process. A crash ends the process and leaves the page cache; a power loss ends both and is silent on the
//! network. Each start is a new incarnation that knows only what its disk and the network tell it.

use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::base::{HostId, SimTime};
use crate::world::clock::Clock;
use crate::world::disk::DiskState;
use crate::world::host::Host;
use crate::world::kernel::{Kernel, LocalFuture};
use crate::world::network::Network;
use crate::world::trace::{What, name_hash};

/// How long a supervisor waits before it restarts a process that ended itself.
const SUPERVISOR_RESTART: Duration = Duration::from_millis(500);

pub(crate) type Boot = Rc<dyn Fn(Host) -> LocalFuture>;

/// Whether a machine is powered, and whether its process runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Power {
    /// Powered, process running.
    Running,
    /// Powered, no process.
    Crashed,
    /// No power.
    Off,
}

/// All the kernel knows of one machine.
pub(crate) struct HostState {
    pub(crate) name: Rc<str>,
    pub(crate) zone: Rc<str>,
    pub(crate) system: &'static str,
    pub(crate) boot: Boot,
    pub(crate) power: Power,
    pub(crate) incarnation: u32,
    /// How often the machine was powered up.
    pub(crate) boots: u32,
    pub(crate) paused: bool,
    pub(crate) parked: BTreeSet<u32>,
    pub(crate) tasks: BTreeSet<u32>,
    pub(crate) ready: bool,
    /// The operator has asked the process to shut down in good order.
    pub(crate) shutdown: bool,
    pub(crate) shutdown_waiters: Vec<Waker>,
    pub(crate) clock: Clock,
    pub(crate) cores_free: Vec<SimTime>,
    pub(crate) cpu_factor: f64,
    pub(crate) disk: DiskState,
}

impl Kernel {
    pub(crate) fn host_name(&self, host: HostId) -> String {
        self.hosts.borrow()[host.get() as usize].name.to_string()
    }

    pub(crate) fn same_zone(&self, one: HostId, other: HostId) -> bool {
        let hosts = self.hosts.borrow();
        hosts[one.get() as usize].zone == hosts[other.get() as usize].zone
    }

    pub(crate) fn is_powered(&self, host: HostId) -> bool {
        self.hosts.borrow()[host.get() as usize].power != Power::Off
    }

    /// Whether the machine is powered, and whether it runs its process in just this incarnation.
    pub(crate) fn host_powered(&self, host: HostId, incarnation: u32) -> (bool, bool) {
        let hosts = self.hosts.borrow();
        let state = &hosts[host.get() as usize];
        (state.power != Power::Off, state.power == Power::Running && state.incarnation == incarnation)
    }

    /// Starts the process, if it does not run. Returns power first, if there was none.
    pub(crate) fn start(self: &Rc<Self>, host: HostId) {
        let (boot, incarnation, was_off) = {
            let mut hosts = self.hosts.borrow_mut();
            let state = &mut hosts[host.get() as usize];
            if state.power == Power::Running {
                return;
            }
            let was_off = state.power == Power::Off;
            state.power = Power::Running;
            state.incarnation += 1;
            if was_off {
                state.boots += 1;
                state.clock.power_up(self.now());
            }
            state.cores_free.fill(self.now());
            (state.boot.clone(), state.incarnation, was_off)
        };
        self.process_event(host, 1, || format!("started, incarnation {incarnation}"));
        if was_off {
            Network::host_returned(self, host);
        }
        let handle = Host::new(self.clone(), host, incarnation);
        self.spawn(Some((host, incarnation)), "main", boot(handle));
    }

    /// The process is gone at once: its tasks are dropped, its sockets reset their peers, the page cache stays.
    pub(crate) fn crash(self: &Rc<Self>, host: HostId) {
        self.end_process(host, Power::Crashed);
    }

    /// The machine loses power: as a crash, silent on the network, and the disk loses what was not synced.
    pub(crate) fn power_loss(self: &Rc<Self>, host: HostId) {
        self.end_process(host, Power::Off);
        let now = self.now();
        let mut hosts = self.hosts.borrow_mut();
        let lost = hosts[host.get() as usize].disk.lose_power(now);
        drop(hosts);
        self.process_event(host, 4, || format!("lost power: {lost}"));
    }

    fn end_process(self: &Rc<Self>, host: HostId, power: Power) {
        let was = {
            let mut hosts = self.hosts.borrow_mut();
            let state = &mut hosts[host.get() as usize];
            let was = state.power;
            if was == Power::Off {
                return;
            }
            state.power = power;
            state.ready = false;
            state.shutdown = false;
            state.shutdown_waiters.clear();
            state.paused = false;
            state.parked.clear();
            was
        };
        if was == Power::Running {
            self.process_event(host, 2, || {
                if power == Power::Off { "stopped".to_owned() } else { "crashed".to_owned() }
            });
        }
        self.metrics.borrow_mut().ended(host);
        // The incarnation is dead by now (`power` is not `Running`), so destructors run without effect on the world.
        self.abort_all(host);
        Network::abandon(self, host, power == Power::Crashed);
    }

    /// The process stops being scheduled; its kernel goes on acknowledging.
    pub(crate) fn pause(self: &Rc<Self>, host: HostId) {
        let mut hosts = self.hosts.borrow_mut();
        let state = &mut hosts[host.get() as usize];
        if state.power != Power::Running || state.paused {
            return;
        }
        state.paused = true;
        drop(hosts);
        self.process_event(host, 5, || "paused".to_owned());
    }

    /// The process runs again; timers that came due meanwhile fire late.
    pub(crate) fn resume(self: &Rc<Self>, host: HostId) {
        let parked = {
            let mut hosts = self.hosts.borrow_mut();
            let state = &mut hosts[host.get() as usize];
            if !state.paused {
                return;
            }
            state.paused = false;
            std::mem::take(&mut state.parked)
        };
        self.process_event(host, 6, || "resumed".to_owned());
        self.unpark(parked);
    }

    /// Asks the process to shut down in good order (SIGTERM).
    pub(crate) fn request_shutdown(&self, host: HostId) {
        let waiters = {
            let mut hosts = self.hosts.borrow_mut();
            let state = &mut hosts[host.get() as usize];
            state.shutdown = true;
            std::mem::take(&mut state.shutdown_waiters)
        };
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Takes a request to shut down back: a process that has followed it is started, one that still does is started again by its
    /// supervisor.
    pub(crate) fn recall_shutdown(self: &Rc<Self>, host: HostId) {
        self.hosts.borrow_mut()[host.get() as usize].shutdown = false;
        self.start(host);
    }

    /// The process ended itself: unless it was asked to, a supervisor starts it again after a while.
    pub(crate) fn exit(self: &Rc<Self>, host: HostId, incarnation: u32, why: String) {
        self.process_event(host, 7, || format!("exited: {why}"));
        let end = move |kernel: &Rc<Self>| {
            if kernel.host_powered(host, incarnation).1 {
                let asked = kernel.hosts.borrow()[host.get() as usize].shutdown;
                kernel.crash(host);
                if asked {
                    return;
                }
                kernel.call_at(kernel.now() + SUPERVISOR_RESTART, move |kernel| {
                    let crashed = kernel.hosts.borrow()[host.get() as usize].power == Power::Crashed;
                    if crashed && kernel.hosts.borrow()[host.get() as usize].incarnation == incarnation {
                        kernel.start(host);
                    }
                });
            }
        };
        self.after_poll.borrow_mut().push(Box::new(end));
    }

    /// Charges work to the first free core; returns when it is done.
    pub(crate) fn charge(&self, host: HostId, cost: Duration) -> SimTime {
        let now = self.now();
        let mut hosts = self.hosts.borrow_mut();
        let state = &mut hosts[host.get() as usize];
        let slowed = Duration::from_nanos((cost.as_nanos() as f64 * state.cpu_factor) as u64);
        let core = state.cores_free.iter_mut().min().expect("a host has at least one core");
        *core = (*core).max(now) + slowed;
        *core
    }

    pub(crate) fn process_event(&self, host: HostId, code: u64, text: impl FnOnce() -> String) {
        self.trace.borrow_mut().event(self.now(), Some(host), What::Process, [code, 0, 0], text);
    }

    pub(crate) fn fault_event(&self, host: Option<HostId>, text: &str) {
        self.trace
            .borrow_mut()
            .event(self.now(), host, What::Fault, [name_hash(text), 0, 0], || text.to_owned());
    }
}

/// Boxes a boot function.
pub(crate) fn boxed_boot<F: Future<Output = ()> + 'static>(boot: impl Fn(Host) -> F + 'static) -> Boot {
    Rc::new(move |host| Box::pin(boot(host)))
}
