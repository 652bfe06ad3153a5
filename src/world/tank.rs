//! Builds a tank, fills it with hosts, and runs one act after another under one seed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use rand::RngCore;

use crate::base::{HostId, Seed, SimTime, Span, Stream};
use crate::world::clock::ClockConfig;
use crate::world::cooperation::SiteTally;
use crate::world::disk::{DiceKeys, DiskSpec, DiskState};
use crate::world::host::Host;
use crate::world::kernel::{Event, Kernel, Stopped};
use crate::world::lifecycle::{HostState, Power, boxed_boot};
use crate::world::metrics::Sample;
use crate::world::network::{Address, Network, NetworkConfig};
use crate::world::property::{self, Meeting, Properties, PropertyTally, Violation};
use crate::world::trace::{Digest, Record, Recording, Trace};

/// What a tank is made of before anything stands in it.
#[derive(Clone, Debug, Default)]
pub struct TankConfig {
    /// The names of the zones; at least one.
    pub zones: Vec<String>,
    /// The links within and between them.
    pub network: NetworkConfig,
    /// The calendar clocks of its hosts.
    pub clocks: ClockConfig,
    /// Known bugs to switch on, by key.
    pub bugs: BTreeSet<String>,
    /// What to write down besides the digest.
    pub recording: Recording,
}

/// A machine to add to a tank.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Its name, unique in the tank: `broker-2`.
    pub name: String,
    /// The zone it stands in.
    pub zone: String,
    /// The system it belongs to, for logs.
    pub system: &'static str,
    /// Its cores.
    pub cores: u32,
    /// Its disk.
    pub disk: DiskSpec,
}

/// How a run of the tank ended before its root future did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TankError {
    /// A property was violated: see [`Outcome::violation`].
    Violated,
    /// Nothing could ever happen again.
    Deadlock,
    /// Time stood still while these tasks spun.
    Livelock(String),
    /// It was asked to go no further: see [`Tank::cut_short`].
    CutShort,
}

/// Where a run is cut short, before its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// At this time.
    At(SimTime),
    /// When this event has happened so many times.
    On {
        /// Its name, one of [`property::EVENTS`].
        event: String,
        /// How many times, from 1.
        nth: u64,
    },
    /// After this many task polls and timed events.
    After(u64),
}

/// What remains of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its fingerprint.
    pub digest: Digest,
    /// Virtual time at its end.
    pub virtual_time: SimTime,
    /// Task polls and timed events.
    pub events: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Disk operations.
    pub disk_operations: u64,
    /// What ended it early, if anything did.
    pub violation: Option<Violation>,
    /// How often each property was evaluated and hit.
    pub properties: Vec<PropertyTally>,
    /// Which events happened under which kinds of faults.
    pub meetings: Vec<Meeting>,
    /// What became of the cooperative points that were reached.
    pub sites: Vec<SiteTally>,
    /// The readable record: everything if asked for, else the last notable events.
    pub records: Vec<Record>,
    /// Faults, what processes did, and the first hundred hits of each property: the life of each host, however long the run.
    pub milestones: Vec<Record>,
    /// The hash after each event, if asked for.
    pub hashes: Vec<u64>,
    /// Time series, sampled once a virtual second.
    pub samples: Vec<Sample>,
    /// Host names, by number.
    pub hosts: Vec<String>,
}

/// The tank of one run. Cheap to clone; all clones are the same tank.
#[derive(Clone)]
pub struct Tank {
    kernel: Rc<Kernel>,
    zones: Rc<Vec<String>>,
    clocks: Rc<ClockConfig>,
}

impl Tank {
    /// Runs `root` in a fresh tank to its end, on this thread, and takes the tank apart again.
    ///
    /// Give each run a fresh OS thread: state that lazily initialised libraries keep per thread would leak from run to run.
    ///
    /// # Panics
    /// If the configuration names no zone, or another run is under way on this thread.
    pub fn run<T: 'static, F>(
        seed: Seed,
        config: TankConfig,
        root: impl FnOnce(Tank) -> F,
    ) -> (Result<T, TankError>, Outcome)
    where
        F: Future<Output = T> + 'static,
    {
        assert!(!config.zones.is_empty(), "a tank has at least one zone");
        property::hook_panics();
        let runtime = madsim::runtime::Runtime::with_seed_and_config(seed.get(), madsim::Config::default());
        runtime.block_on(async move {
            let network = Network::new(config.network, seed.stream("network").next_u64());
            let kernel =
                Kernel::new(seed, network, Trace::new(config.recording), Properties::new(config.bugs));
            let _entered = property::enter(&kernel);
            let tank =
                Tank { kernel: kernel.clone(), zones: Rc::new(config.zones), clocks: Rc::new(config.clocks) };
            let result = kernel.run(root(tank)).map_err(|stopped| match stopped {
                Stopped::Violated => TankError::Violated,
                Stopped::Deadlock => TankError::Deadlock,
                Stopped::Livelock(tasks) => TankError::Livelock(tasks),
                Stopped::CutShort => TankError::CutShort,
            });
            let outcome = kernel.outcome();
            kernel.dismantle();
            (result, outcome)
        })
    }

    pub(crate) fn kernel(&self) -> &Rc<Kernel> {
        &self.kernel
    }

    /// The seed of this run.
    pub fn seed(&self) -> Seed {
        self.kernel.seed
    }

    /// A stream of chance for the laboratory and the workloads: topology, traffic, constants.
    pub fn random(&self, name: &str) -> Stream {
        self.kernel.seed.stream(name)
    }

    /// The names of the zones.
    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    /// The zone where the `index`th of several like hosts stands: round robin.
    pub fn zone_of(&self, index: usize) -> &str {
        &self.zones[index % self.zones.len()]
    }

    /// Adds a machine and starts its process: `boot` runs at this and every later start, from scratch.
    ///
    /// # Panics
    /// If the zone does not exist, the name is taken, or it has no core.
    pub fn add_host<F>(&self, spec: HostSpec, boot: impl Fn(Host) -> F + 'static) -> HostId
    where
        F: Future<Output = ()> + 'static,
    {
        assert!(self.zones.contains(&spec.zone), "zone {} exists", spec.zone);
        assert!(self.host(&spec.name).is_none(), "{} is a new name", spec.name);
        assert!(0 < spec.cores, "a host has a core");
        let mut hosts = self.kernel.hosts.borrow_mut();
        let id = HostId::new(hosts.len() as u32);
        let key = |what: &str| self.kernel.seed.stream(&format!("{what}/{}", spec.name)).next_u64();
        let dice_keys = DiceKeys { wear: key("disk"), lies: key("disk-lies") };
        let clock = self.clocks.draw(self.kernel.seed.stream(&format!("clock/{}", spec.name)), self.now());
        let offset = clock.offset_nanos(self.now());
        let name = spec.name.clone();
        hosts.push(HostState {
            name: spec.name.into(),
            zone: spec.zone.into(),
            system: spec.system,
            boot: boxed_boot(boot),
            power: Power::Crashed,
            incarnation: 0,
            boots: 0,
            paused: false,
            parked: BTreeSet::new(),
            tasks: BTreeSet::new(),
            ready: false,
            shutdown: false,
            shutdown_waiters: Vec::new(),
            clock,
            cores_free: vec![SimTime::ZERO; spec.cores as usize],
            cpu_factor: 1.0,
            disk: DiskState::new(spec.disk, dice_keys),
        });
        drop(hosts);
        if offset != 0 {
            let wrong = if 0 < offset { "fast" } else { "slow" };
            let by = Span::new(Duration::from_nanos(offset.unsigned_abs() as u64));
            self.kernel.fault_event(Some(id), &format!("clock of {name} is {by} {wrong}"));
        }
        self.kernel.start(id);
        id
    }

    /// The host called `name`.
    pub fn host(&self, name: &str) -> Option<HostId> {
        let hosts = self.kernel.hosts.borrow();
        hosts.iter().position(|host| &*host.name == name).map(|index| HostId::new(index as u32))
    }

    /// Where the host called `name` can be reached on `port`.
    pub fn address(&self, name: &str, port: u16) -> Option<Address> {
        self.host(name).map(|host| Address { host, port })
    }

    /// The names of all hosts, in order of their numbers.
    pub fn hosts(&self) -> Vec<String> {
        self.kernel.hosts.borrow().iter().map(|host| host.name.to_string()).collect()
    }

    /// The zone of a host.
    pub fn zone(&self, host: HostId) -> String {
        self.kernel.hosts.borrow()[host.get() as usize].zone.to_string()
    }

    /// Whether the host's process runs and has reported itself ready.
    pub fn is_ready(&self, host: HostId) -> bool {
        let hosts = self.kernel.hosts.borrow();
        let state = &hosts[host.get() as usize];
        state.power == Power::Running && state.ready && !state.paused
    }

    /// Virtual time.
    pub fn now(&self) -> SimTime {
        self.kernel.now()
    }

    /// Task polls and timed events so far.
    pub fn events(&self) -> u64 {
        self.kernel.events()
    }

    /// Tasks alive and events pending: both must stay flat over virtual time.
    pub fn load(&self) -> (usize, usize) {
        self.kernel.load()
    }

    /// Waits this long, outside any host.
    pub async fn sleep(&self, span: Duration) {
        let deadline = self.now() + span;
        let kernel = self.kernel.clone();
        let mut timer = None;
        std::future::poll_fn(move |context| {
            if deadline <= kernel.now() {
                return std::task::Poll::Ready(());
            }
            match timer {
                Some(key) => kernel.rearm(key, context.waker()),
                None => timer = Some(kernel.at(deadline, Event::Wake(context.waker().clone()))),
            }
            std::task::Poll::Pending
        })
        .await;
    }

    /// Waits until `condition` holds, looking every `every`; false if it did not within `bound`.
    pub async fn wait_until(
        &self,
        bound: Duration,
        every: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> bool {
        let deadline = self.now() + bound;
        while !condition() {
            if deadline <= self.now() {
                return false;
            }
            self.sleep(every).await;
        }
        true
    }

    /// Starts a task of the laboratory, which no fault can hurt.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + 'static) {
        self.kernel.spawn(None, name, Box::pin(future));
    }

    /// Goes no further than this. What happens until then is the same as without it.
    pub fn cut_short(&self, cut: &Cut) {
        match cut {
            Cut::At(at) => drop(self.kernel.call_at(*at, |kernel| kernel.stop())),
            Cut::On { event, nth } => {
                let nth = *nth;
                self.kernel.properties.borrow_mut().on(event, move |kernel, _, count| {
                    if nth <= count {
                        kernel.stop();
                    }
                });
            }
            Cut::After(events) => self.kernel.stop_after(*events),
        }
    }

    /// Whether cooperative points may fire.
    pub fn set_cooperation(&self, on: bool) {
        self.kernel.cooperation.borrow_mut().on = on;
    }

    /// How often each property was evaluated and hit so far.
    pub fn properties(&self) -> Vec<PropertyTally> {
        self.kernel.properties.borrow().tallies()
    }

    // What an operator's hands can do to a machine. Faults go through the injector, which asks the budget first.

    /// Ends a host's process; the page cache survives.
    pub fn crash(&self, host: HostId) {
        self.kernel.crash(host);
    }

    /// Cuts a host's power; what was not synced may be lost.
    pub fn power_loss(&self, host: HostId) {
        self.kernel.power_loss(host);
    }

    /// Starts a host's process, and its machine, if they do not run.
    pub fn start(&self, host: HostId) {
        self.kernel.start(host);
    }

    /// Asks a host's process to shut down in good order (SIGTERM); it is not killed, however long it takes.
    pub fn request_shutdown(&self, host: HostId) {
        self.kernel.request_shutdown(host);
    }

    /// Stops scheduling a host's process.
    pub fn pause(&self, host: HostId) {
        self.kernel.pause(host);
    }

    /// Lets a paused process run again.
    pub fn resume(&self, host: HostId) {
        self.kernel.resume(host);
    }

    /// Blocks all that goes from one set of hosts to the other, one way, until the handle is given to [`Tank::unblock`].
    pub fn block(&self, from: &BTreeSet<HostId>, to: &BTreeSet<HostId>) -> Blocked {
        use crate::world::network::{LinkEffect, LinkFault};
        Blocked(Network::begin(
            &self.kernel,
            LinkFault { from: from.clone(), to: to.clone(), effect: LinkEffect::Blocked },
        ))
    }

    /// Ends what [`Tank::block`] began.
    pub fn unblock(&self, blocked: Blocked) {
        Network::end(&self.kernel, blocked.0);
    }
}

/// A one-way block between hosts.
#[derive(Debug)]
pub struct Blocked(u64);

impl Kernel {
    fn outcome(&self) -> Outcome {
        let mut trace = self.trace.borrow_mut();
        let properties = self.properties.borrow();
        Outcome {
            digest: trace.digest(),
            virtual_time: self.now(),
            events: self.events(),
            messages: trace.messages,
            disk_operations: trace.disk_operations,
            violation: properties.violation.clone(),
            properties: properties.tallies(),
            meetings: properties.meetings(),
            sites: self.cooperation.borrow().tallies(),
            records: trace.take_records(),
            milestones: trace.take_milestones(),
            hashes: trace.take_hashes(),
            samples: self.metrics.borrow_mut().take(),
            hosts: self.hosts.borrow().iter().map(|host| host.name.to_string()).collect(),
        }
    }

    /// Breaks every cycle of references, so that a finished run leaves nothing behind.
    fn dismantle(self: &Rc<Self>) {
        let count = self.hosts.borrow().len() as u32;
        for host in 0..count {
            self.hosts.borrow_mut()[host as usize].power = Power::Off;
        }
        self.drop_everything();
        let hosts: RefCell<Vec<HostState>> = RefCell::default();
        self.hosts.swap(&hosts);
        // Boot closures may own handles to this very kernel; they go now, outside any borrow.
        drop(hosts);
    }
}
