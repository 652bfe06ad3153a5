//! A process's only way to the outside: one [`Host`] is one incarnation of the process on one simulated machine.
//!
//! After a crash every call on the old `Host` is inert, so that destructors of a dead process touch nothing.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::{HostId, MonoTime, SimTime, Stream, WallTime};
use crate::world::cooperation::Site;
use crate::world::disk::Disk;
use crate::world::kernel::{Event, EventKey, Kernel, TaskKey};
use crate::world::network::{self, Address, ConnectError, Connection, ListenError, Listener};
use crate::world::trace::Level;

/// A running process's view of its machine. Cheap to clone.
#[derive(Clone)]
pub struct Host(Rc<HostHandle>);

struct HostHandle {
    kernel: Rc<Kernel>,
    id: HostId,
    incarnation: u32,
    name: Rc<str>,
    zone: Rc<str>,
    system: &'static str,
}

/// A time-out passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

impl Host {
    pub(crate) fn new(kernel: Rc<Kernel>, id: HostId, incarnation: u32) -> Self {
        let (name, zone, system) = {
            let hosts = kernel.hosts.borrow();
            let state = &hosts[id.get() as usize];
            (state.name.clone(), state.zone.clone(), state.system)
        };
        Self(Rc::new(HostHandle { kernel, id, incarnation, name, zone, system }))
    }

    pub(crate) fn kernel(&self) -> &Rc<Kernel> {
        &self.0.kernel
    }

    pub(crate) fn incarnation(&self) -> u32 {
        self.0.incarnation
    }

    /// Whether this incarnation of the process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.kernel.host_powered(self.0.id, self.0.incarnation).1
    }

    /// The machine's number.
    pub fn id(&self) -> HostId {
        self.0.id
    }

    /// The machine's name: `broker-2`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The zone the machine stands in.
    pub fn zone(&self) -> &str {
        &self.0.zone
    }

    /// Which life of the machine this is: another number after each loss of power (Linux shows one as `/proc/sys/kernel/random/boot_id`).
    /// A process that finds the number it had before knows that the page cache has survived.
    pub fn boot_id(&self) -> u64 {
        u64::from(self.0.kernel.hosts.borrow()[self.0.id.get() as usize].boots)
    }

    /// How many cores it has.
    pub fn cores(&self) -> u32 {
        self.0.kernel.hosts.borrow()[self.0.id.get() as usize].cores_free.len() as u32
    }

    /// This machine's monotonic clock, counted from its power-up: it never jumps, but may run fast or slow. Another machine's shows
    /// something else.
    pub fn now(&self) -> MonoTime {
        self.0.kernel.hosts.borrow()[self.0.id.get() as usize].clock.monotonic(self.0.kernel.now())
    }

    /// The true time, for notebooks of workloads and observers alone: no process can know it.
    pub fn true_time(&self) -> SimTime {
        self.0.kernel.now()
    }

    /// This machine's calendar clock: it may be wrong, drift, and jump either way.
    pub fn wall_clock(&self) -> WallTime {
        self.0.kernel.hosts.borrow()[self.0.id.get() as usize].clock.calendar(self.true_time())
    }

    /// Waits this long by this machine's monotonic clock. Dropping the future cancels the timer.
    pub fn sleep(&self, span: Duration) -> Sleep {
        self.sleep_until(self.now() + span)
    }

    /// Waits until this machine's monotonic clock shows this. Dropping the future cancels the timer.
    pub fn sleep_until(&self, deadline: MonoTime) -> Sleep {
        self.wait(Deadline::Shown(self.0.id, deadline))
    }

    /// Waits until a true point, as devices do: they know nothing of the machine's clock.
    pub(crate) fn served(&self, done: SimTime) -> Sleep {
        self.wait(Deadline::True(done))
    }

    fn wait(&self, deadline: Deadline) -> Sleep {
        Sleep { kernel: self.0.kernel.clone(), deadline, timer: None }
    }

    /// Runs `future` for at most `span`.
    ///
    /// # Errors
    /// `Elapsed` if it did not finish in time; it is dropped then.
    pub async fn timeout<F: Future>(&self, span: Duration, future: F) -> Result<F::Output, Elapsed> {
        let sleep = self.sleep(span);
        crate::world::select! {
            output = future => Ok(output),
            () = sleep => Err(Elapsed),
        }
    }

    /// An independent stream of chance, keyed by the seed, this machine, this incarnation and `name`.
    pub fn random(&self, name: &str) -> Stream {
        self.0.kernel.seed.stream(&format!("host/{}/{}/{name}", self.0.name, self.0.incarnation))
    }

    /// Starts a task that dies with this process. `name` appears where tasks are listed.
    pub fn spawn<T: 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + 'static,
    ) -> Task<T> {
        let result: Rc<RefCell<TaskResult<T>>> = Rc::default();
        let slot = Completion(result.clone());
        let owner = Some((self.0.id, self.0.incarnation));
        let wrapped = Box::pin(async move {
            let output = future.await;
            slot.0.borrow_mut().output = Some(output);
        });
        let key = self.is_alive().then(|| self.0.kernel.spawn(owner, name, wrapped));
        Task { kernel: self.0.kernel.clone(), key, result }
    }

    /// Works on one of this machine's cores for `cost` (at full speed), after what is queued there.
    pub async fn cpu(&self, cost: Duration) {
        let done = self.0.kernel.charge(self.0.id, cost);
        self.served(done).await;
    }

    /// Listens on a port.
    ///
    /// # Errors
    /// If this process listens there already.
    pub async fn listen(&self, port: u16) -> Result<Listener, ListenError> {
        network::listen(self, port)
    }

    /// Connects to a listener.
    ///
    /// # Errors
    /// `Refused` if the machine is up and nobody listens; `TimedOut` if nothing answers for the transport's patience (20 s by
    /// default: wrap it in `timeout` for less).
    pub async fn connect(&self, to: Address) -> Result<Connection, ConnectError> {
        network::connect(self, to).await
    }

    /// This machine's disk.
    pub fn disk(&self) -> Disk {
        Disk::new(self.clone())
    }

    /// Tells the operator's readiness probe whether this process is up, caught up and serving.
    pub fn report_ready(&self, ready: bool) {
        if !self.is_alive() {
            return;
        }
        let changed = {
            let mut hosts = self.0.kernel.hosts.borrow_mut();
            let state = &mut hosts[self.0.id.get() as usize];
            std::mem::replace(&mut state.ready, ready) != ready
        };
        if changed {
            let code = if ready { 8 } else { 9 };
            self.0
                .kernel
                .process_event(self.0.id, code, || if ready { "ready" } else { "not ready" }.to_owned());
        }
    }

    /// Writes a line of this system's log. `Info` and above are always kept, so they must be rare; `Debug` is built only on demand.
    pub fn log(&self, level: Level, text: impl FnOnce() -> String) {
        if self.is_alive() {
            let now = self.true_time();
            self.0.kernel.trace.borrow_mut().log(now, self.0.id, self.0.system, level, text);
        }
    }

    /// Waits until the operator asks this process to shut down in good order (SIGTERM). The process then finishes what it must and
    /// calls [`Host::exit`]; if it takes more than ten seconds it is killed.
    pub async fn shutdown_requested(&self) {
        std::future::poll_fn(|context| {
            let mut hosts = self.0.kernel.hosts.borrow_mut();
            let state = &mut hosts[self.0.id.get() as usize];
            if state.shutdown {
                return Poll::Ready(());
            }
            if !state.shutdown_waiters.iter().any(|waker| waker.will_wake(context.waker())) {
                state.shutdown_waiters.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Raises a counter of this host in the run's time series: `broker.records-in`.
    pub fn count(&self, name: &'static str, by: u64) {
        if self.is_alive() {
            self.0.kernel.metrics.borrow_mut().count(self.0.id, name, by);
        }
    }

    /// Sets a gauge of this host in the run's time series: `broker.under-replicated`.
    pub fn gauge(&self, name: &'static str, value: f64) {
        if self.is_alive() {
            self.0.kernel.metrics.borrow_mut().gauge(self.0.id, name, value);
        }
    }

    /// The process ends itself, as a daemon does that cannot go on; its supervisor starts it again after half a second.
    pub fn exit(&self, why: impl fmt::Display) {
        if self.is_alive() {
            self.0.kernel.exit(self.0.id, self.0.incarnation, why.to_string());
        }
    }

    /// A cooperative point: true now and then, where a system may do something early, or less of it. Per run a site is live with
    /// p = 1/4, and then fires with a chance that the run draws, from 1/4 to 1/64; never when the scenario switches cooperation off or after the heal.
    pub fn buggify(&self, site: &Site) -> bool {
        let fires = self.is_alive() && self.0.kernel.cooperation.borrow_mut().acts(site);
        if fires {
            self.log(Level::Debug, || format!("cooperative point: {}", site.name));
        }
        fires
    }

    /// How much longer something takes at a cooperative point: zero, or less than the site's bound if it fires.
    pub fn buggify_wait(&self, site: &Site) -> Duration {
        let wait = if self.is_alive() { self.0.kernel.cooperation.borrow_mut().wait(site) } else { None };
        if let Some(wait) = wait {
            self.log(Level::Debug, || format!("cooperative point: {}, for {wait:?}", site.name));
        }
        wait.unwrap_or_default()
    }

    /// Waits at a cooperative point if it fires.
    pub async fn buggify_delay(&self, site: &Site) {
        let wait = self.buggify_wait(site);
        if !wait.is_zero() {
            self.sleep(wait).await;
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}#{}", self.0.name, self.0.incarnation)
    }
}

/// Waits until a point of time, to the nanosecond.
pub struct Sleep {
    kernel: Rc<Kernel>,
    deadline: Deadline,
    timer: Option<(EventKey, SimTime)>,
}

#[derive(Clone, Copy)]
enum Deadline {
    /// When so much true time has passed.
    True(SimTime),
    /// When this host's monotonic clock shows this: whoever changes its rate wakes the host's tasks.
    Shown(HostId, MonoTime),
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let due = match self.deadline {
            Deadline::True(at) => at,
            Deadline::Shown(host, at) => self.kernel.hosts.borrow()[host.get() as usize].clock.when(at),
        };
        if due <= self.kernel.now() {
            return Poll::Ready(());
        }
        match self.timer {
            Some((timer, at)) if at == due => self.kernel.rearm(timer, context.waker()),
            other => {
                if let Some((timer, _)) = other {
                    self.kernel.cancel(timer);
                }
                self.timer = Some((self.kernel.at(due, Event::Wake(context.waker().clone())), due));
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((timer, _)) = self.timer {
            self.kernel.cancel(timer);
        }
    }
}

struct TaskResult<T> {
    output: Option<T>,
    over: bool,
    waker: Option<Waker>,
}

impl<T> Default for TaskResult<T> {
    fn default() -> Self {
        Self { output: None, over: false, waker: None }
    }
}

/// Tells the waiting [`Task`] that its future is no more, whether it finished or was aborted.
struct Completion<T>(Rc<RefCell<TaskResult<T>>>);

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        let mut result = self.0.borrow_mut();
        result.over = true;
        if let Some(waker) = result.waker.take() {
            waker.wake();
        }
    }
}

/// A spawned task. Awaiting it gives its output, or `None` if it was aborted. Dropping it lets the task run on.
pub struct Task<T> {
    kernel: Rc<Kernel>,
    key: Option<TaskKey>,
    result: Rc<RefCell<TaskResult<T>>>,
}

impl<T> Task<T> {
    /// Drops the task's future now.
    pub fn abort(&self) {
        if let Some(key) = self.key {
            self.kernel.abort(key);
        }
    }

    /// Whether it has finished or was aborted.
    pub fn is_over(&self) -> bool {
        self.result.borrow().over
    }
}

impl<T> Future for Task<T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut result = self.result.borrow_mut();
        if result.over {
            return Poll::Ready(result.output.take());
        }
        result.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
