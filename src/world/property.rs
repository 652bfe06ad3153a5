//! Properties: statements about a system, in English, tallied over a run and over a sweep.
//!
//! - `always!`: safety. A violation ends the run at once.
//! - `sometimes!`, `reached!`: a rare state was really visited. These are also the events on which faults can be triggered.
//!
//! Pure code may use them: outside a run `always!` is an assertion and the others do nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::{HostId, SimTime};
use crate::world::kernel::Kernel;
use crate::world::trace::{What, name_hash};

/// Safety: must hold whenever it is reached. `always!(condition, "english name")`, or with a detail:
/// `always!(condition, "english name", "{a} beyond {b}")`.
#[macro_export]
macro_rules! always {
    ($condition:expr, $name:literal $(,)?) => {
        $crate::world::property::always($condition, $name, || String::from(stringify!($condition)))
    };
    ($condition:expr, $name:literal, $($detail:tt)+) => {
        $crate::world::property::always($condition, $name, || format!($($detail)+))
    };
}

/// A state that some run must visit: `sometimes!(condition, "english name")` counts each time the condition is true.
#[macro_export]
macro_rules! sometimes {
    ($condition:expr, $name:literal) => {
        $crate::world::property::sometimes($condition, $name)
    };
}

/// A place that some run must reach: `reached!("english name")`.
#[macro_export]
macro_rules! reached {
    ($name:literal) => {
        $crate::world::property::reached($name)
    };
}

/// The three kinds of properties.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PropertyKind {
    /// Must hold each time.
    Always,
    /// Must hold at least once over a sweep.
    Sometimes,
    /// Must be reached at least once over a sweep.
    Reached,
}

/// How often one property was evaluated in a run, and how it came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct PropertyTally {
    /// Its English name.
    pub name: &'static str,
    /// Its kind.
    pub kind: PropertyKind,
    /// How often it was evaluated.
    pub evaluated: u64,
    /// How often it was true (reached).
    pub hit: u64,
}

/// An event that happened while faults of a kind were in force, or within [`AFTERMATH`] of their end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Meeting {
    /// The kind of fault: `power_loss`.
    pub fault: &'static str,
    /// The event.
    pub event: &'static str,
    /// How often.
    pub hits: u64,
}

/// How long after its end a fault still counts as what an event happened under.
pub const AFTERMATH: Duration = Duration::from_secs(5);

/// A broken promise that ended a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Violation {
    /// When it was seen.
    pub at: SimTime,
    /// The name of the host that saw it; `None` outside any host.
    pub host: Option<String>,
    /// The property, or "a task panicked".
    pub property: String,
    /// The values involved.
    pub detail: String,
}

type Trigger = Box<dyn Fn(&Rc<Kernel>, Option<HostId>, u64)>;

/// The properties, known-bug switches and triggers of one run.
#[derive(Default)]
pub(crate) struct Properties {
    tallies: BTreeMap<&'static str, PropertyTally>,
    pub(crate) violation: Option<Violation>,
    /// The message of a panic that was caught just now.
    panic: Option<String>,
    bugs: BTreeSet<String>,
    triggers: BTreeMap<String, Vec<Rc<Trigger>>>,
    /// Until when each kind of fault counts.
    in_force: BTreeMap<&'static str, SimTime>,
    meetings: BTreeMap<(&'static str, &'static str), u64>,
}

impl Properties {
    pub(crate) fn new(bugs: BTreeSet<String>) -> Self {
        Self { bugs, ..Self::default() }
    }

    /// Calls `trigger` with the host concerned and the count of hits, each time the event called `name` happens.
    pub(crate) fn on(&mut self, name: &str, trigger: impl Fn(&Rc<Kernel>, Option<HostId>, u64) + 'static) {
        self.triggers.entry(name.to_owned()).or_default().push(Rc::new(Box::new(trigger)));
    }

    /// Faults of a kind are in force until then.
    pub(crate) fn in_force(&mut self, kind: &'static str, until: SimTime) {
        let until = until + AFTERMATH;
        let known = self.in_force.entry(kind).or_insert(until);
        *known = until.max(*known);
    }

    /// Which events happened under which kinds of faults.
    pub(crate) fn meetings(&self) -> Vec<Meeting> {
        let meetings = self.meetings.iter();
        meetings.map(|((fault, event), hits)| Meeting { fault, event, hits: *hits }).collect()
    }

    fn meet(&mut self, event: &'static str, now: SimTime) {
        for (kind, _) in self.in_force.iter().filter(|(_, until)| now <= **until) {
            *self.meetings.entry((*kind, event)).or_default() += 1;
        }
    }

    pub(crate) fn tallies(&self) -> Vec<PropertyTally> {
        self.tallies.values().cloned().collect()
    }

    fn tally(&mut self, name: &'static str, kind: PropertyKind, hit: bool) -> u64 {
        let tally = self.tallies.entry(name).or_insert(PropertyTally { name, kind, evaluated: 0, hit: 0 });
        tally.evaluated += 1;
        tally.hit += u64::from(hit);
        tally.hit
    }
}

/// Pure state machines name properties without being handed a world; the guard in `enter` clears it with the run.
mod current {
    use super::{Kernel, Rc, RefCell};
    thread_local! {
        pub(super) static RUN: RefCell<Option<Rc<Kernel>>> = const { RefCell::new(None) };
    }
}

/// Sends the message of a panic inside a run to that run, and leaves all others to the hook that was there. Once a process.
pub(crate) fn hook_panics() {
    static HOOKED: std::sync::Once = std::sync::Once::new();
    HOOKED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let noted = in_run(|kernel| match kernel.properties.try_borrow_mut() {
                Ok(mut properties) => properties.panic = Some(panic.to_string()),
                Err(_) => previous(panic),
            });
            if noted.is_none() {
                previous(panic);
            }
        }));
    });
}

/// The task polled just now has panicked: that is a violation too.
pub(crate) fn panicked(kernel: &Rc<Kernel>) {
    let message = kernel.properties.borrow_mut().panic.take();
    violate(kernel, "no task panics", || message.unwrap_or_else(|| "the panic left no message".to_owned()));
}

/// While it lives, properties on this thread belong to this run.
pub(crate) struct Entered;

pub(crate) fn enter(kernel: &Rc<Kernel>) -> Entered {
    current::RUN.with_borrow_mut(|run| {
        assert!(run.is_none(), "one run a thread");
        *run = Some(kernel.clone());
    });
    Entered
}

impl Drop for Entered {
    fn drop(&mut self) {
        current::RUN.with_borrow_mut(|run| *run = None);
    }
}

fn in_run<T>(then: impl FnOnce(&Rc<Kernel>) -> T) -> Option<T> {
    let kernel = current::RUN.with_borrow(Clone::clone)?;
    Some(then(&kernel))
}

/// What `always!` calls.
#[doc(hidden)]
pub fn always(condition: bool, name: &'static str, detail: impl FnOnce() -> String) {
    let inside = in_run(|kernel| kernel.clone());
    let Some(kernel) = inside else {
        assert!(condition, "always: {name}: {}", detail());
        return;
    };
    kernel.properties.borrow_mut().tally(name, PropertyKind::Always, condition);
    if !condition {
        violate(&kernel, name, detail);
    }
}

/// Ends the run with this violation, unless one has ended it already.
pub(crate) fn violate(kernel: &Rc<Kernel>, property: &str, detail: impl FnOnce() -> String) {
    let owner = kernel.current();
    let host = owner.map(|(host, _)| kernel.host_name(host));
    let detail = detail();
    kernel.trace.borrow_mut().event(
        kernel.now(),
        owner.map(|(host, _)| host),
        What::Property,
        [name_hash(property), 1, 0],
        || format!("VIOLATED: {property}: {detail}"),
    );
    let mut properties = kernel.properties.borrow_mut();
    if properties.violation.is_none() {
        properties.violation =
            Some(Violation { at: kernel.now(), host, property: property.to_owned(), detail });
    }
    drop(properties);
    kernel.stop();
}

/// What `sometimes!` calls.
#[doc(hidden)]
pub fn sometimes(condition: bool, name: &'static str) {
    in_run(|kernel| event(kernel, name, PropertyKind::Sometimes, condition));
}

/// What `reached!` calls.
#[doc(hidden)]
pub fn reached(name: &'static str) {
    in_run(|kernel| event(kernel, name, PropertyKind::Reached, true));
}

fn event(kernel: &Rc<Kernel>, name: &'static str, kind: PropertyKind, hit: bool) {
    let count = kernel.properties.borrow_mut().tally(name, kind, hit);
    if !hit {
        return;
    }
    kernel.properties.borrow_mut().meet(name, kernel.now());
    let host = kernel.current().map(|(host, _)| host);
    kernel
        .trace
        .borrow_mut()
        .event(kernel.now(), host, What::Property, [name_hash(name), count, 0], || name.to_owned());
    let triggers = kernel.properties.borrow().triggers.get(name).cloned().unwrap_or_default();
    for trigger in triggers {
        kernel.after_poll.borrow_mut().push(Box::new(move |kernel| trigger(kernel, host, count)));
    }
}

/// Whether a known bug is switched on in this run (`bugs = ["Z01"]`). Off outside a run.
pub fn bug(key: &str) -> bool {
    in_run(|kernel| kernel.properties.borrow().bugs.contains(key)).unwrap_or(false)
}

/// Every property of the package, by name, with the file that declares it; from the sources, by `src/build.rs`.
pub const ALL: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/properties.rs"));

/// Those of them that happen, and can be waited for: by `sometimes!` and `reached!`.
pub const EVENTS: &[&str] = include!(concat!(env!("OUT_DIR"), "/events.rs"));
