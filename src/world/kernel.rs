//! The executor and the clock: tasks, one queue of timed events, and the loop that runs them.
//!
//! The loop polls ready tasks in random order (stream `schedule`) until none is left, then moves the clock to the next event
//! and fires everything due at that instant. Polling takes no virtual time; work is charged through `Host::cpu`. The whole loop
//! lives inside one poll of madsim's main task, so madsim's interception of libc clock, randomness and threads stays in force
//! for foreign crates, while the order of events, the timers (exact to the nanosecond, cancellable) and the death of tasks are ours.
//!
//! Invariants: the clock never moves back; no task of a dead incarnation is polled; futures are dropped outside every borrow,
//! after their incarnation is marked dead, so that their destructors cannot touch the world.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use rand::RngCore;

use crate::base::{HostId, Seed, SimTime, Stream};
use crate::world::cooperation::Cooperation;
use crate::world::lifecycle::HostState;
use crate::world::metrics::{Metrics, SeriesKind};
use crate::world::network::Network;
use crate::world::property::{self, Properties};
use crate::world::trace::Trace;

/// How many polls may happen at one instant before the run is called a livelock. A healthy burst stays far below.
const POLLS_AT_ONE_INSTANT_MAX: u64 = 1_000_000;

pub(crate) type LocalFuture<T = ()> = Pin<Box<dyn Future<Output = T>>>;

/// What a rare event does.
type Rare = Box<dyn FnOnce(&Rc<Kernel>)>;

/// What happens at a point of virtual time.
pub(crate) enum Event {
    /// A timer of a task.
    Wake(Waker),
    /// The first frame of this flow of this connection arrives.
    Deliver { connection: u64, flow: usize },
    /// Anything rarer: faults, handshakes, resets, restarts.
    Call(Rare),
}

/// Names a pending event, for cancelling it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EventKey {
    slot: u32,
    generation: u32,
}

/// Which host's process, in which of its lives, a task belongs to. `None` is the laboratory itself, which no fault can hurt.
pub(crate) type Owner = Option<(HostId, u32)>;

/// Why the loop ended before its root future did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// A property was violated or a task panicked: see `Properties`.
    Violated,
    /// It was asked to go no further.
    CutShort,
    /// Nothing is ready and nothing is pending: the root future can never finish.
    Deadlock,
    /// Tasks keep waking one another and time stands still.
    Livelock(String),
}

/// All state of one run. One thread, one run, one kernel.
pub(crate) struct Kernel {
    pub(crate) seed: Seed,
    now: Cell<SimTime>,
    queue: RefCell<EventQueue>,
    tasks: RefCell<TaskTable>,
    ready: Arc<ReadyQueue>,
    schedule: RefCell<Stream>,
    current: Cell<Owner>,
    clock: madsim::time::TimeHandle,
    pub(crate) hosts: RefCell<Vec<HostState>>,
    pub(crate) network: RefCell<Network>,
    pub(crate) trace: RefCell<Trace>,
    pub(crate) properties: RefCell<Properties>,
    pub(crate) cooperation: RefCell<Cooperation>,
    pub(crate) metrics: RefCell<Metrics>,
    /// What the fault injector wants done as soon as the current poll returns.
    pub(crate) after_poll: RefCell<Vec<Rare>>,
    stop: Cell<bool>,
    /// How many polls and timed events there may be.
    events_max: Cell<u64>,
    polls: Cell<u64>,
    fired: Cell<u64>,
}

impl Kernel {
    pub(crate) fn new(seed: Seed, network: Network, trace: Trace, properties: Properties) -> Rc<Self> {
        Rc::new(Self {
            seed,
            now: Cell::new(SimTime::ZERO),
            queue: RefCell::default(),
            tasks: RefCell::default(),
            ready: Arc::default(),
            schedule: RefCell::new(seed.stream("schedule")),
            current: Cell::new(None),
            clock: madsim::time::TimeHandle::current(),
            hosts: RefCell::default(),
            network: RefCell::new(network),
            trace: RefCell::new(trace),
            properties: RefCell::new(properties),
            cooperation: RefCell::new(Cooperation::new(seed)),
            metrics: RefCell::default(),
            after_poll: RefCell::default(),
            stop: Cell::new(false),
            events_max: Cell::new(u64::MAX),
            polls: Cell::new(0),
            fired: Cell::new(0),
        })
    }

    pub(crate) fn now(&self) -> SimTime {
        self.now.get()
    }

    /// Whose task is being polled.
    pub(crate) fn current(&self) -> Owner {
        self.current.get()
    }

    /// Task polls and timed events so far.
    pub(crate) fn events(&self) -> u64 {
        self.polls.get() + self.fired.get()
    }

    /// Tasks alive and events pending, for benches of memory.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.tasks.borrow().live, self.queue.borrow().live)
    }

    /// Ends the loop after the current poll.
    pub(crate) fn stop(&self) {
        self.stop.set(true);
    }

    /// Ends the loop after so many polls and timed events.
    pub(crate) fn stop_after(&self, events: u64) {
        self.events_max.set(events);
    }

    fn stopped(&self) -> Result<(), Stopped> {
        if !self.stop.get() && self.events() < self.events_max.get() {
            return Ok(());
        }
        let violated = self.properties.borrow().violation.is_some();
        Err(if violated { Stopped::Violated } else { Stopped::CutShort })
    }

    /// Has `event` happen at `at` (or now, if that has passed).
    pub(crate) fn at(&self, at: SimTime, event: Event) -> EventKey {
        self.queue.borrow_mut().push(at.max(self.now()), event)
    }

    pub(crate) fn call_at(&self, at: SimTime, call: impl FnOnce(&Rc<Self>) + 'static) -> EventKey {
        self.at(at, Event::Call(Box::new(call)))
    }

    /// Forgets a pending event. One that has fired already is left alone.
    pub(crate) fn cancel(&self, key: EventKey) {
        // The event is dropped after the borrow ends: a waker or closure may own anything.
        let event = self.queue.borrow_mut().cancel(key);
        drop(event);
    }

    /// Replaces the waker of a pending timer, so that a moved future stays wakeable.
    pub(crate) fn rearm(&self, key: EventKey, waker: &Waker) {
        self.queue.borrow_mut().rearm(key, waker);
    }

    pub(crate) fn spawn(&self, owner: Owner, name: &'static str, future: LocalFuture) -> TaskKey {
        let (key, waker) = self.tasks.borrow_mut().insert(owner, name, future, &self.ready);
        if let Some((host, _)) = owner {
            self.hosts.borrow_mut()[host.get() as usize].tasks.insert(key.slot);
        }
        waker.wake();
        key
    }

    /// Drops a task and all it holds. Its destructors run now.
    pub(crate) fn abort(&self, key: TaskKey) {
        let removed = self.tasks.borrow_mut().remove(key);
        if let Some((Some((host, _)), _)) = &removed {
            self.hosts.borrow_mut()[host.get() as usize].tasks.remove(&key.slot);
        }
        drop(removed);
    }

    /// Drops all tasks of a host whose incarnation was marked dead before.
    pub(crate) fn abort_all(&self, host: HostId) {
        let slots = std::mem::take(&mut self.hosts.borrow_mut()[host.get() as usize].tasks);
        for slot in slots {
            let removed = self.tasks.borrow_mut().remove_slot(slot);
            drop(removed);
        }
    }

    /// Drops every task and every pending event. The run is over.
    pub(crate) fn drop_everything(&self) {
        // One by one, from a table that stands: destructors may abort other tasks.
        let slots = self.tasks.borrow().slots.len() as u32;
        for slot in 0..slots {
            let removed = self.tasks.borrow_mut().remove_slot(slot);
            drop(removed);
        }
        let queue = std::mem::take(&mut *self.queue.borrow_mut());
        drop(queue);
        let calls = std::mem::take(&mut *self.after_poll.borrow_mut());
        drop(calls);
    }

    /// Lets tasks parked while their host was paused run again.
    pub(crate) fn unpark(&self, slots: BTreeSet<u32>) {
        self.ready.push_all(slots);
    }

    /// Runs until `root` finishes, or until something stops the run for good.
    pub(crate) fn run<T: 'static>(
        self: &Rc<Self>,
        root: impl Future<Output = T> + 'static,
    ) -> Result<T, Stopped> {
        let output: Rc<RefCell<Option<T>>> = Rc::default();
        let slot = output.clone();
        self.spawn(None, "root", Box::pin(async move { *slot.borrow_mut() = Some(root.await) }));
        let mut polls_at_this_instant = 0;
        loop {
            while let Some(slot) = self.pick() {
                self.poll(slot);
                self.run_after_poll();
                self.stopped()?;
                if let Some(done) = output.borrow_mut().take() {
                    return Ok(done);
                }
                polls_at_this_instant += 1;
                if POLLS_AT_ONE_INSTANT_MAX < polls_at_this_instant {
                    return Err(Stopped::Livelock(self.spinning()));
                }
            }
            polls_at_this_instant = 0;
            let Some(next) = self.queue.borrow_mut().next_time() else { return Err(Stopped::Deadlock) };
            self.advance(next);
            while let Some(event) = self.pop_due(next) {
                self.fired.set(self.fired.get() + 1);
                match event {
                    Event::Wake(waker) => waker.wake(),
                    Event::Deliver { connection, flow } => Network::deliver(self, connection, flow),
                    Event::Call(call) => call(self),
                }
            }
            self.run_after_poll();
            self.stopped()?;
        }
    }

    fn pick(&self) -> Option<u32> {
        self.ready.pick(&mut self.schedule.borrow_mut())
    }

    fn pop_due(&self, at: SimTime) -> Option<Event> {
        self.queue.borrow_mut().pop_due(at)
    }

    fn run_after_poll(self: &Rc<Self>) {
        if self.after_poll.borrow().is_empty() {
            return;
        }
        let calls = std::mem::take(&mut *self.after_poll.borrow_mut());
        for call in calls {
            call(self);
        }
    }

    fn advance(&self, to: SimTime) {
        let now = self.now();
        assert!(now <= to, "the clock never moves back: {now} -> {to}");
        if now < to {
            if self.metrics.borrow().is_due(to) {
                let trace = self.trace.borrow();
                let (tasks, pending) = self.load();
                self.metrics.borrow_mut().sample(
                    to,
                    [
                        ("kernel.messages", SeriesKind::Total, trace.messages as f64),
                        ("kernel.disk-operations", SeriesKind::Total, trace.disk_operations as f64),
                        ("kernel.tasks", SeriesKind::Gauge, tasks as f64),
                        ("kernel.pending-events", SeriesKind::Gauge, pending as f64),
                    ],
                );
            }
            self.clock.advance(to - now);
            self.now.set(to);
        }
    }

    fn poll(self: &Rc<Self>, slot: u32) {
        let Some((key, owner, waker, mut future)) = self.tasks.borrow_mut().take(slot) else { return };
        if let Some((host, incarnation)) = owner {
            let mut hosts = self.hosts.borrow_mut();
            let state = &mut hosts[host.get() as usize];
            assert_eq!(state.incarnation, incarnation, "no task outlives its incarnation");
            if state.paused {
                state.parked.insert(slot);
                self.tasks.borrow_mut().give_back(key, future);
                return;
            }
        }
        self.polls.set(self.polls.get() + 1);
        self.current.set(owner);
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        let Ok(polled) = polled else {
            property::panicked(self);
            self.current.set(None);
            return;
        };
        self.current.set(None);
        match polled {
            Poll::Pending => {
                // A task that aborted itself is gone from the table: its future is dropped here, outside the borrow.
                let orphan = self.tasks.borrow_mut().give_back(key, future);
                drop(orphan);
            }
            Poll::Ready(()) => {
                drop(future);
                self.abort(key);
            }
        }
    }

    /// Names the tasks that are ready at this instant, most frequent first.
    fn spinning(self: &Rc<Self>) -> String {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..1000 {
            let Some(slot) = self.pick() else { break };
            if let Some((owner, name)) = self.tasks.borrow().describe(slot) {
                let host = owner.map_or("lab".to_owned(), |(host, _)| {
                    self.hosts.borrow()[host.get() as usize].name.to_string()
                });
                *counts.entry(format!("{host}/{name}")).or_default() += 1;
            }
            self.poll(slot);
        }
        let mut names: Vec<_> = counts.into_iter().collect();
        names.sort_by_key(|(name, count)| (Reverse(*count), name.clone()));
        names.truncate(5);
        let names: Vec<_> = names
            .into_iter()
            .map(|(name, count)| format!("{name} ({count} of the last 1000 polls)"))
            .collect();
        names.join(", ")
    }
}

/// Names a task, for aborting it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskKey {
    slot: u32,
    generation: u32,
}

#[derive(Default)]
struct TaskTable {
    slots: Vec<TaskSlot>,
    free: Vec<u32>,
    live: usize,
}

struct TaskSlot {
    generation: u32,
    task: Option<TaskState>,
}

struct TaskState {
    owner: Owner,
    name: &'static str,
    /// Absent only while it is being polled.
    future: Option<LocalFuture>,
    waker: Waker,
    wake: Arc<TaskWake>,
}

impl TaskTable {
    fn insert(
        &mut self,
        owner: Owner,
        name: &'static str,
        future: LocalFuture,
        ready: &Arc<ReadyQueue>,
    ) -> (TaskKey, Waker) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(TaskSlot { generation: 0, task: None });
            (self.slots.len() - 1) as u32
        });
        let wake = Arc::new(TaskWake {
            slot,
            queued: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            ready: ready.clone(),
        });
        let waker = Waker::from(wake.clone());
        let entry = &mut self.slots[slot as usize];
        entry.task = Some(TaskState { owner, name, future: Some(future), waker: waker.clone(), wake });
        self.live += 1;
        (TaskKey { slot, generation: entry.generation }, waker)
    }

    fn take(&mut self, slot: u32) -> Option<(TaskKey, Owner, Waker, LocalFuture)> {
        let entry = self.slots.get_mut(slot as usize)?;
        let task = entry.task.as_mut()?;
        task.wake.queued.store(false, Ordering::Relaxed);
        let future = task.future.take()?;
        Some((TaskKey { slot, generation: entry.generation }, task.owner, task.waker.clone(), future))
    }

    /// Puts a pending future back; returns it if its task was aborted meanwhile.
    fn give_back(&mut self, key: TaskKey, future: LocalFuture) -> Option<LocalFuture> {
        let entry = &mut self.slots[key.slot as usize];
        if entry.generation != key.generation {
            return Some(future);
        }
        let task = entry.task.as_mut().expect("a slot of the same generation still holds its task");
        task.future = Some(future);
        None
    }

    fn remove(&mut self, key: TaskKey) -> Option<(Owner, Option<LocalFuture>)> {
        if self.slots[key.slot as usize].generation != key.generation {
            return None;
        }
        self.remove_slot(key.slot)
    }

    fn remove_slot(&mut self, slot: u32) -> Option<(Owner, Option<LocalFuture>)> {
        let entry = &mut self.slots[slot as usize];
        let task = entry.task.take()?;
        task.wake.dead.store(true, Ordering::Relaxed);
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        self.live -= 1;
        Some((task.owner, task.future))
    }

    fn describe(&self, slot: u32) -> Option<(Owner, &'static str)> {
        self.slots.get(slot as usize)?.task.as_ref().map(|task| (task.owner, task.name))
    }
}

/// Slots of tasks that want to be polled.
#[derive(Default)]
struct ReadyQueue(Mutex<Vec<u32>>);

impl ReadyQueue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.0.lock().expect("nobody panics while holding the ready queue")
    }

    fn pick(&self, schedule: &mut Stream) -> Option<u32> {
        let mut ready = self.lock();
        match ready.len() {
            0 => None,
            1 => ready.pop(),
            many => {
                let index = (u64::from(schedule.next_u32()) * many as u64) >> 32;
                Some(ready.swap_remove(index as usize))
            }
        }
    }

    fn push_all(&self, slots: BTreeSet<u32>) {
        self.lock().extend(slots);
    }
}

struct TaskWake {
    slot: u32,
    queued: AtomicBool,
    /// The task has ended, and its slot may serve another by now.
    dead: AtomicBool,
    ready: Arc<ReadyQueue>,
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.dead.load(Ordering::Relaxed) && !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().push(self.slot);
        }
    }
}

/// Pending events in order of (time, order of scheduling). Cancelled entries are swept once they outnumber the live ones, so
/// that memory follows what is pending and not what ever was.
#[derive(Default)]
struct EventQueue {
    heap: BinaryHeap<Reverse<(SimTime, u64, u32, u32)>>,
    slots: Vec<EventSlot>,
    free: Vec<u32>,
    sequence: u64,
    live: usize,
}

struct EventSlot {
    generation: u32,
    event: Option<Event>,
}

impl EventQueue {
    fn push(&mut self, at: SimTime, event: Event) -> EventKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(EventSlot { generation: 0, event: None });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.event = Some(event);
        let generation = entry.generation;
        self.heap.push(Reverse((at, self.sequence, slot, generation)));
        self.sequence += 1;
        self.live += 1;
        EventKey { slot, generation }
    }

    fn cancel(&mut self, key: EventKey) -> Option<Event> {
        let event = self.take(key.slot, key.generation)?;
        if self.live * 2 + 64 < self.heap.len() {
            let slots = &self.slots;
            self.heap
                .retain(|Reverse((_, _, slot, generation))| slots[*slot as usize].generation == *generation);
        }
        Some(event)
    }

    fn rearm(&mut self, key: EventKey, waker: &Waker) {
        let entry = &mut self.slots[key.slot as usize];
        if entry.generation != key.generation {
            return;
        }
        if let Some(Event::Wake(old)) = &mut entry.event {
            old.clone_from(waker);
        }
    }

    fn take(&mut self, slot: u32, generation: u32) -> Option<Event> {
        let entry = &mut self.slots[slot as usize];
        if entry.generation != generation {
            return None;
        }
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        self.live -= 1;
        entry.event.take()
    }

    /// When the next live event is due.
    fn next_time(&mut self) -> Option<SimTime> {
        while let Some(Reverse((at, _, slot, generation))) = self.heap.peek() {
            if self.slots[*slot as usize].generation == *generation {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }

    fn pop_due(&mut self, now: SimTime) -> Option<Event> {
        if self.next_time()? != now {
            return None;
        }
        let Reverse((_, _, slot, generation)) = self.heap.pop().expect("next_time saw an entry");
        self.take(slot, generation)
    }
}
