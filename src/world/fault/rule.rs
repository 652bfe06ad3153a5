//! The `[[faults]]` of a scenario file: when something breaks, what, where and for how long, as ranges and patterns.
//!
//! A rule is drawn into concrete planned faults before the run (`plan`); nothing here touches a tank.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Problem, Range, Rate, Share, Span};
use crate::world::disk::DiskOperation;

/// One rule: exactly one of `every`, `at`, `on` and `background` says when, and `do` what.
///
/// ```toml
/// [[faults]]
/// every = "10s..30s"
/// do = { crash = { any_of = "broker-*", down = "2s..8s" } }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Again and again, this far apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Range<Span>>,
    /// Once, this long after the stir begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// Each time something happens in a system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<OnEvent>,
    /// As a process of two states, well and broken, for each target on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// Wait up to this long until a host that is hit has unsynced writes: crashes are likelier where they hurt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_dirty: Option<Span>,
    /// What breaks.
    #[serde(rename = "do")]
    pub kind: FaultKind,
}

/// A fault that waits for an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnEvent {
    /// The name of a `sometimes!` or `reached!` property: "a follower left the in-sync set".
    pub event: String,
    /// At its how-manieth occurrence after the stir began (default 1).
    #[serde(default = "OnEvent::nth_default")]
    pub nth: u64,
    /// Again at every later occurrence, at most this many times in all (default 1).
    #[serde(default = "OnEvent::nth_default")]
    pub times: u64,
    /// This long after the event (default 0s: before anything else happens).
    #[serde(default)]
    pub after: Span,
}

impl OnEvent {
    fn nth_default() -> u64 {
        1
    }
}

/// A background fault: each target alternates between well and broken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// How often a well target breaks: exponential waiting times with this rate.
    pub rate: Rate,
    /// A target that has just mended stays well at least this long (default 1s).
    #[serde(default = "Background::dwell_default")]
    pub dwell_min: Span,
}

impl Background {
    fn dwell_default() -> Span {
        Span::secs(1)
    }
}

/// Declares the parameters of a fault that hits hosts, with the two ways to name them.
macro_rules! host_fault {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// One host drawn from those whose names match: `broker-*`, `broker-1`; `@event` is the host where the event happened.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub any_of: Option<String>,
            /// All hosts whose names match.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub all_of: Option<String>,
            $($(#[$field_doc])* pub $field: $type,)*
        }
        impl $name {
            fn target(&self) -> Target<'_> {
                Target { any_of: self.any_of.as_deref(), all_of: self.all_of.as_deref() }
            }
        }
    };
}

host_fault!(
    /// The process or machine is gone for a while.
    Down {
        /// How long.
        down: Range<Span>,
    }
);
host_fault!(
    /// Something is wrong with a host for a while.
    Lasting {
        /// How long.
        length: Range<Span>,
    }
);
host_fault!(
    /// A host is slower for a while.
    Slow {
        /// How many times slower.
        factor: f64,
        /// How long.
        length: Range<Span>,
    }
);
host_fault!(
    /// A process is killed again and again.
    CrashLoop {
        /// How often.
        times: u32,
        /// How long it lives in between.
        up: Range<Span>,
        /// How long it is down each time.
        down: Range<Span>,
    }
);
host_fault!(
    /// Hosts are restarted one after the other.
    RollingRestart {
        /// How long each is down.
        down: Range<Span>,
        /// How long after one is ready again the next follows (default 0s).
        #[serde(default = "zero")]
        gap: Range<Span>,
        /// Ask each process to shut down in good order, and kill it only if it does not (default false).
        #[serde(default)]
        graceful: bool,
    }
);
host_fault!(
    /// A host's calendar clock jumps.
    ClockJump {
        /// By how much at most; the direction is drawn.
        by: Range<Span>,
    }
);
host_fault!(
    /// A host's clocks run fast or slow for a while: the calendar, and with the monotonic clock every timer, time-out and lease.
    ClockDrift {
        /// Parts per million at most, from 0 to 100000; the direction is drawn. A good crystal is off by 50.
        ppm: f64,
        /// How long.
        length: Range<Span>,
    }
);
host_fault!(
    /// Operations on a disk fail with EIO for a while.
    DiskFails {
        /// Which operations: read, write or fsync.
        operation: DiskOperation,
        /// How long.
        length: Range<Span>,
    }
);
host_fault!(
    /// A disk lies about some of its sectors (512 bytes) for a while.
    DiskLies {
        /// Of which files, by their paths (default `*`).
        #[serde(default = "everything")]
        files: String,
        /// How likely each sector is hit that goes to or comes from the device meanwhile.
        chance: Share,
        /// How long.
        length: Range<Span>,
    }
);
host_fault!(
    /// Bits on a disk flip.
    BitRot {
        /// In which files, by their paths (default `*`); each is hit as often as the others.
        #[serde(default = "everything")]
        files: String,
        /// How many (default 1).
        #[serde(default = "one")]
        bits: u32,
    }
);
host_fault!(
    /// Hosts cannot reach the others for a while.
    Isolate {
        /// Only one way: what they send is lost (default false).
        #[serde(default)]
        one_way: bool,
        /// How long.
        heal_after: Range<Span>,
    }
);

/// A whole zone loses its power.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneOutage {
    /// Which: a name, or `any`.
    pub zone: String,
    /// How long.
    pub down: Range<Span>,
}

/// Hosts that cannot reach one another for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The shape (default `halves`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// A zone (or `any`) against all others; in place of a shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Only hosts whose names match take part (default: all but clients; `*` for all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub among: Option<String>,
    /// How long.
    pub heal_after: Range<Span>,
}

/// How a partition cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Two random halves.
    #[default]
    Halves,
    /// Two random halves, and only one way.
    OneWay,
    /// One random host against all others.
    Isolate,
    /// One random pair: each still reaches all the others.
    Pair,
    /// Two halves that only one host, the bridge, reaches both of.
    Bridge,
}

/// Something wrong with the links between two groups of hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkDelay {
    /// From hosts whose names match (default `*`).
    #[serde(default = "everything")]
    pub from: String,
    /// To hosts whose names match (default `*`).
    #[serde(default = "everything")]
    pub to: String,
    /// How much longer each message takes (for jitter: at most).
    pub by: Range<Span>,
    /// How long.
    pub length: Range<Span>,
}

/// Links that carry fewer bytes a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkLimit {
    /// From hosts whose names match (default `*`).
    #[serde(default = "everything")]
    pub from: String,
    /// To hosts whose names match (default `*`).
    #[serde(default = "everything")]
    pub to: String,
    /// Bytes a second.
    pub limit: Rate,
    /// How long.
    pub length: Range<Span>,
}

/// Connections that break between two groups of hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkCut {
    /// Between one host drawn from those whose names match (default `*`) …
    #[serde(default = "everything")]
    pub from: String,
    /// … and all whose names match this (default `*`).
    #[serde(default = "everything")]
    pub to: String,
}

/// Connects that are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRefuse {
    /// From hosts whose names match (default `*`).
    #[serde(default = "everything")]
    pub from: String,
    /// To one host drawn from those whose names match (default `*`).
    #[serde(default = "everything")]
    pub to: String,
    /// How long.
    pub length: Range<Span>,
}

/// One type of message takes much longer for a while; what follows on its connection waits behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldBack {
    /// The type's name as traces show it: `Fetch`, `Produced`, `Proposal`.
    pub message: String,
    /// From hosts whose names match (default `*`).
    #[serde(default = "everything")]
    pub from: String,
    /// To hosts whose names match (default `*`).
    #[serde(default = "everything")]
    pub to: String,
    /// How much longer each takes.
    pub by: Range<Span>,
    /// How long.
    pub length: Range<Span>,
}

/// An operator does something to a system, through its clients, from the host `operator-1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operate {
    /// What: `elect_preferred_leader`, `reassign_replicas`, `cancel_reassignment`, `recreate_topic`.
    pub action: String,
    /// To what: the name of a topic.
    pub subject: String,
    /// How long it is tried before it is given up, if it can be (default 30s).
    #[serde(default = "patience_default")]
    pub patience: Range<Span>,
}

/// What breaks. One key, its parameters as a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The process is killed; the page cache survives.
    Crash(Down),
    /// The machine loses power; what was not synced may be lost or torn.
    PowerLoss(Down),
    /// The machine comes back with an empty disk.
    DiskLoss(Down),
    /// The process stands still, as in a long garbage collection.
    Pause(Lasting),
    /// The cores are slower.
    SlowCpu(Slow),
    /// The process is killed again and again.
    CrashLoop(CrashLoop),
    /// All matching hosts are restarted one after the other.
    RollingRestart(RollingRestart),
    /// All matching hosts are restarted together, as an operator does it who plans to: each process is asked to shut down in good order,
    /// and killed only if it does not; from when the last has stopped all are down for as long, and then start at once.
    FullRestart(Down),
    /// A whole zone loses its power.
    ZoneOutage(ZoneOutage),
    /// The calendar clock jumps and stays wrong.
    ClockJump(ClockJump),
    /// Both clocks run fast or slow.
    ClockDrift(ClockDrift),
    /// Hosts cannot reach one another.
    Partition(Partition),
    /// Named hosts cannot reach the others.
    Isolate(Isolate),
    /// Messages take longer.
    Delay(LinkDelay),
    /// Messages take up to so much longer.
    Jitter(LinkDelay),
    /// Links carry fewer bytes a second.
    Bandwidth(LinkLimit),
    /// Connections are reset.
    Reset(LinkCut),
    /// Connections swallow everything from now on, and neither end is told.
    HalfOpen(LinkCut),
    /// Connects are refused.
    Refuse(LinkRefuse),
    /// One type of message is held back for long.
    HoldBack(HoldBack),
    /// The disk is full.
    DiskFull(Lasting),
    /// Disk operations fail with EIO.
    DiskError(DiskFails),
    /// The disk is slower.
    SlowDisk(Slow),
    /// What the disk is asked for does not come back before the stall ends.
    DiskStall(Lasting),
    /// The disk acknowledges writes that never reach its platter; they are gone when the fault ends or power fails.
    LostWrite(DiskLies),
    /// The disk acknowledges writes that land at another place; both places are wrong when the fault ends or power fails.
    MisdirectedWrite(DiskLies),
    /// Reads bring another place.
    MisdirectedRead(DiskLies),
    /// Reads bring what stood there before the last write.
    StaleRead(DiskLies),
    /// Bits on the disk flip.
    BitRot(BitRot),
    /// An operator does something.
    Operate(Operate),
}

/// Stands for the host on which the event happened that a fault waits for.
pub const EVENT_HOST: &str = "@event";

/// Which hosts a rule names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'rule> {
    pub(crate) any_of: Option<&'rule str>,
    pub(crate) all_of: Option<&'rule str>,
}

impl<'rule> Target<'rule> {
    /// The pattern; a rule that names none is refused before it is drawn.
    pub(crate) fn pattern(&self) -> &'rule str {
        self.any_of.or(self.all_of).unwrap_or_default()
    }
}

impl FaultRule {
    /// What no run could make of this rule.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let times = [self.every.is_some(), self.at.is_some(), self.on.is_some(), self.background.is_some()];
        if times.iter().filter(|given| **given).count() != 1 {
            problems.push(
                Problem::new("", "a fault needs exactly one of `every`, `at`, `on` and `background`")
                    .help("for instance every = \"10s..30s\""),
            );
        }
        let name = self.kind.name();
        if let Some(target) = self.kind.target() {
            if target.any_of.is_some() == target.all_of.is_some() {
                problems.push(
                    Problem::new(format!("do.{name}"), "needs either `any_of` or `all_of`")
                        .help("any_of draws one of the matching hosts, all_of hits them all"),
                );
            }
            if target.pattern() == EVENT_HOST && self.on.is_none() {
                let key = if target.any_of.is_some() { "any_of" } else { "all_of" };
                problems.push(event_host_without_event(format!("do.{name}.{key}")));
            }
        }
        if let FaultKind::SlowCpu(slow) | FaultKind::SlowDisk(slow) = &self.kind {
            problems.extend(factor_problem(format!("do.{name}.factor"), slow.factor));
        }
        if let FaultKind::ClockDrift(drift) = &self.kind
            && !(0.0..=PPM_MAX).contains(&drift.ppm)
        {
            let message = format!("{} is not between 0 and {PPM_MAX} parts per million", drift.ppm);
            problems.push(Problem::new(format!("do.{name}.ppm"), message));
        }
        if let FaultKind::CrashLoop(looping) = &self.kind {
            problems.extend(times_problem(format!("do.{name}.times"), looping.times.into()));
        }
        if let FaultKind::BitRot(rot) = &self.kind {
            problems.extend(times_problem(format!("do.{name}.bits"), rot.bits.into()));
        }
        if let FaultKind::Partition(Partition { shape: Some(_), zone: Some(_), .. }) = &self.kind {
            problems.push(
                Problem::new(format!("do.{name}.shape"), "`zone` says already how to cut")
                    .help("leave out either `shape` or `zone`"),
            );
        }
        if self.every.is_some_and(|every| every.max().get().is_zero()) {
            problems.push(Problem::new("every", "must be longer than 0s").help("try every = \"10s..30s\""));
        }
        problems.extend(self.on.iter().flat_map(|on| on.validate()));
        if self.when_dirty.is_some() && !self.kind.hits_hosts() {
            problems.push(dirty_links());
        }
        problems
    }
}

impl OnEvent {
    /// What no run could make of it, seen from the fault that waits.
    pub(crate) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.nth == 0 {
            problems.push(Problem::new("on.nth", "occurrences are counted from 1").help("try nth = 1"));
        }
        problems.extend(times_problem("on.times".to_owned(), self.times));
        problems
    }
}

/// How many parts per million a clock may run wrong.
pub(crate) const PPM_MAX: f64 = 1e5;

pub(crate) fn factor_problem(path: String, factor: f64) -> Option<Problem> {
    (!(1.0..=1e6).contains(&factor)).then(|| {
        Problem::new(path, format!("{factor} is not between 1 and 1e6"))
            .help("a factor of 10 makes it ten times slower")
    })
}

pub(crate) fn times_problem(path: String, times: u64) -> Option<Problem> {
    (times == 0)
        .then(|| Problem::new(path, "a fault that strikes 0 times does nothing").help("use 1 or more"))
}

pub(crate) fn event_host_without_event(path: String) -> Problem {
    Problem::new(path, format!("`{EVENT_HOST}` needs `on`: there is no event here"))
        .help("name hosts, or say on = { event = \"…\" } in place of the time")
}

pub(crate) fn dirty_links() -> Problem {
    Problem::new("when_dirty", "it waits for unsynced writes of a host, and this fault hits none")
        .help("leave it out")
}

impl FaultKind {
    /// The key under which a scenario file names it, and under which it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash(_) => "crash",
            Self::PowerLoss(_) => "power_loss",
            Self::DiskLoss(_) => "disk_loss",
            Self::Pause(_) => "pause",
            Self::SlowCpu(_) => "slow_cpu",
            Self::CrashLoop(_) => "crash_loop",
            Self::RollingRestart(_) => "rolling_restart",
            Self::FullRestart(_) => "full_restart",
            Self::ZoneOutage(_) => "zone_outage",
            Self::ClockJump(_) => "clock_jump",
            Self::ClockDrift(_) => "clock_drift",
            Self::Partition(_) => "partition",
            Self::Isolate(_) => "isolate",
            Self::Delay(_) => "delay",
            Self::Jitter(_) => "jitter",
            Self::Bandwidth(_) => "bandwidth",
            Self::Reset(_) => "reset",
            Self::HalfOpen(_) => "half_open",
            Self::Refuse(_) => "refuse",
            Self::HoldBack(_) => "hold_back",
            Self::DiskFull(_) => "disk_full",
            Self::DiskError(_) => "disk_error",
            Self::SlowDisk(_) => "slow_disk",
            Self::DiskStall(_) => "disk_stall",
            Self::LostWrite(_) => "lost_write",
            Self::MisdirectedWrite(_) => "misdirected_write",
            Self::MisdirectedRead(_) => "misdirected_read",
            Self::StaleRead(_) => "stale_read",
            Self::BitRot(_) => "bit_rot",
            Self::Operate(_) => "operate",
        }
    }

    /// Whether it hits hosts, and not the links between them.
    fn hits_hosts(&self) -> bool {
        match self {
            Self::ZoneOutage(_) => true,
            Self::Isolate(_) => false,
            others => others.target().is_some(),
        }
    }

    /// Which hosts a rule names, for the kinds that name hosts.
    pub(crate) fn target(&self) -> Option<Target<'_>> {
        match self {
            Self::Crash(down) | Self::PowerLoss(down) | Self::DiskLoss(down) | Self::FullRestart(down) => {
                Some(down.target())
            }
            Self::Pause(lasting) | Self::DiskFull(lasting) | Self::DiskStall(lasting) => {
                Some(lasting.target())
            }
            Self::LostWrite(lies)
            | Self::MisdirectedWrite(lies)
            | Self::MisdirectedRead(lies)
            | Self::StaleRead(lies) => Some(lies.target()),
            Self::BitRot(rot) => Some(rot.target()),
            Self::SlowCpu(slow) | Self::SlowDisk(slow) => Some(slow.target()),
            Self::CrashLoop(looping) => Some(looping.target()),
            Self::RollingRestart(rolling) => Some(rolling.target()),
            Self::ClockJump(jump) => Some(jump.target()),
            Self::ClockDrift(drift) => Some(drift.target()),
            Self::DiskError(fails) => Some(fails.target()),
            Self::Isolate(isolate) => Some(isolate.target()),
            Self::ZoneOutage(_)
            | Self::Partition(_)
            | Self::Delay(_)
            | Self::Jitter(_)
            | Self::Bandwidth(_)
            | Self::Reset(_)
            | Self::HalfOpen(_)
            | Self::Refuse(_)
            | Self::HoldBack(_)
            | Self::Operate(_) => None,
        }
    }
}

fn everything() -> String {
    "*".to_owned()
}

fn patience_default() -> Range<Span> {
    Range::new(Span::secs(30), Span::secs(30)).expect("a value does not exceed itself")
}

fn one() -> u32 {
    1
}

fn zero() -> Range<Span> {
    Range::new(Span::default(), Span::default()).expect("a value does not exceed itself")
}

/// Whether a name matches a pattern in which `*` stands for any characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("broker-*", "broker-12", true),
            ("broker-1", "broker-12", false),
            ("broker-1", "broker-1", true),
            ("*", "anything", true),
            ("*-1", "broker-1", true),
            ("*-1", "broker-2", false),
            ("b*k*-1", "broker-1", true),
            ("broker-*", "coordination-1", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_rule_reads_as_the_scenario_file_writes_it() {
        let rule: FaultRule = toml::from_str(
            r#"every = "10s..30s"
               do = { crash = { any_of = "broker-*", down = "2s..8s" } }"#,
        )
        .expect("the design's own example");
        assert_eq!(rule.kind.name(), "crash");
        assert!(toml::from_str::<FaultRule>(r#"do = { crash = { any = "x", down = "1s" } }"#).is_err());
    }
}
