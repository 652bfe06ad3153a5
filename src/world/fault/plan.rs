//! The faults of one run, concrete: drawn from the rules by the seed, printed, saved as TOML and loadable again.
//!
//! Each rule draws from a stream of its own, keyed by what it says, and a background rule from one for each host, so that deleting,
//! adding or moving a rule leaves all others as they were. Pure: carrying a plan out is `conduct`.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Problem, Range, Rate, Seed, Share, Span, Stream};
use crate::world::disk::DiskOperation;
use crate::world::fault::rule::{
    EVENT_HOST, FaultKind, FaultRule, OnEvent, PPM_MAX, Partition, Shape, Target, dirty_links,
    event_host_without_event, factor_problem, matches, times_problem,
};

/// Where a host stands, as far as faults care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name: `broker-2`.
    pub host: String,
    /// Its zone.
    pub zone: String,
    /// Whether it belongs to a system under test. The others are clients: they stand outside the zones' power and partitions.
    pub server: bool,
}

/// The faults of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// In order of their time; those that wait for an event come last.
    #[serde(default)]
    pub faults: Vec<PlannedFault>,
}

/// One fault: when (`at`, since the stir began, or `on` an event), and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// This long after the stir begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// When something happens in a system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<OnEvent>,
    /// Wait up to this long until a host that is hit has unsynced writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_dirty: Option<Span>,
    /// What breaks.
    #[serde(rename = "do")]
    pub kind: PlannedKind,
}

/// What breaks, where and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of the rules, drawn: see `rule`")]
pub enum PlannedKind {
    Crash { host: String, down: Span },
    PowerLoss { host: String, down: Span },
    DiskLoss { host: String, down: Span },
    Pause { host: String, length: Span },
    SlowCpu { host: String, factor: f64, length: Span },
    CrashLoop { host: String, times: u32, up: Span, down: Span },
    RollingRestart { hosts: Vec<String>, down: Span, gap: Span, graceful: bool },
    FullRestart { hosts: Vec<String>, down: Span },
    ZoneOutage { zone: String, down: Span },
    ClockJump { host: String, ms: i64 },
    ClockDrift { host: String, ppm: f64, length: Span },
    Partition { from: Vec<String>, to: Vec<String>, one_way: bool, length: Span },
    Delay { from: String, to: String, by: Span, length: Span },
    Jitter { from: String, to: String, by: Span, length: Span },
    Bandwidth { from: String, to: String, limit: Rate, length: Span },
    Reset { from: String, to: String },
    HalfOpen { from: String, to: String },
    Refuse { from: String, to: String, length: Span },
    HoldBack { message: String, from: String, to: String, by: Span, length: Span },
    DiskFull { host: String, length: Span },
    DiskError { host: String, operation: DiskOperation, length: Span },
    SlowDisk { host: String, factor: f64, length: Span },
    DiskStall { host: String, length: Span },
    LostWrite { host: String, files: String, chance: Share, length: Span },
    MisdirectedWrite { host: String, files: String, chance: Share, length: Span },
    MisdirectedRead { host: String, files: String, chance: Share, length: Span },
    StaleRead { host: String, files: String, chance: Share, length: Span },
    BitRot { host: String, files: String, bits: u32 },
    Operate { action: String, subject: String, choice: u32, patience: Span },
}

/// What a planned fault hits; hosts are named by patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedTarget<'plan> {
    /// One host.
    Host(&'plan str),
    /// Several hosts, in this order.
    Hosts(&'plan [String]),
    /// All servers of a zone.
    Zone(&'plan str),
    /// The links from some hosts to others.
    Links(&'plan str, &'plan str),
    /// The links between two sides.
    Sides(&'plan [String], &'plan [String]),
    /// No host: an operator does it, to this.
    Subject(&'plan str),
}

/// What the seed decided about one rule in a swarm: 0 leaves the rule out, 2 makes it twice as frequent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intensity {
    /// The rule's place in the file, from 1, and its kind.
    pub rule: String,
    /// Multiplies how often it strikes.
    pub value: f64,
}

impl FaultPlan {
    /// Draws a plan for a stir of this length over these hosts. In a swarm each rule is left out in half of all runs, and strikes
    /// between a quarter and twice as often in the others (Groce et al., "Swarm testing", ISSTA 2012).
    pub fn draw(
        rules: &[FaultRule],
        places: &[Place],
        stir: Duration,
        seed: Seed,
        swarm: bool,
    ) -> (Self, Vec<Intensity>) {
        let mut plan = Self::default();
        let mut intensities = Vec::new();
        for (index, (rule, key)) in rules.iter().zip(keys(rules)).enumerate() {
            let mut value = 1.0;
            if swarm {
                let mut stream = seed.stream(&format!("swarm/{key}"));
                value = if stream.random_bool(0.5) { 0.0 } else { stream.random_range(0.25..2.0) };
                intensities.push(Intensity { rule: format!("{} {}", index + 1, rule.kind.name()), value });
            }
            if value != 0.0 {
                Draw { rule, key, places, stir, seed, intensity: value }.draw_all(&mut plan.faults);
            }
        }
        (plan.in_order(), intensities)
    }

    /// This plan and another in one.
    pub fn with(mut self, other: &Self) -> Self {
        self.faults.extend(other.faults.iter().cloned());
        self.in_order()
    }

    fn in_order(mut self) -> Self {
        self.faults.sort_by_key(|fault| (fault.at.is_none(), fault.at));
        self
    }

    /// The plan as a TOML file that can be given back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan holds nothing TOML cannot say")
    }
}

/// What names each rule's streams: its canonical text, and how many that say the same stand before it.
fn keys(rules: &[FaultRule]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let key = |rule| {
        let text = serde_json::to_string(rule).expect("a rule holds nothing JSON cannot say");
        let before = seen.entry(text.clone()).and_modify(|count| *count += 1).or_insert(0);
        format!("{text}/{before}")
    };
    rules.iter().map(key).collect()
}

/// One rule, about to be drawn.
struct Draw<'plan> {
    rule: &'plan FaultRule,
    /// Names its streams.
    key: String,
    places: &'plan [Place],
    stir: Duration,
    seed: Seed,
    intensity: f64,
}

impl Draw<'_> {
    fn draw_all(&self, faults: &mut Vec<PlannedFault>) {
        let mut stream = self.seed.stream(&format!("faults/{}", self.key));
        if let Some(at) = self.rule.at {
            self.timed(at.get(), self.kinds(&mut stream), faults);
        } else if let Some(on) = &self.rule.on {
            for time in 0..on.times {
                let on = OnEvent { nth: on.nth + time, times: 1, ..on.clone() };
                faults.extend(self.kinds(&mut stream).into_iter().map(|kind| PlannedFault {
                    at: None,
                    on: Some(on.clone()),
                    when_dirty: self.rule.when_dirty,
                    kind,
                }));
            }
        } else if let Some(every) = self.rule.every {
            let mut at = Duration::ZERO;
            loop {
                at += every.draw(&mut stream).div_f64(self.intensity).max(Duration::from_micros(1));
                if self.stir <= at {
                    break;
                }
                self.timed(at, self.kinds(&mut stream), faults);
            }
        } else if let Some(background) = &self.rule.background {
            let Some(mean) = background.rate.period() else { return };
            let mean = mean.div_f64(self.intensity);
            for target in self.targets() {
                let mut stream =
                    self.seed.stream(&format!("faults/{}/{}", self.key, target.as_deref().unwrap_or("all")));
                let mut at = Duration::ZERO;
                loop {
                    // The inverse of the exponential distribution; libm, because this decides what a digest sees.
                    let wait = -libm::log(1.0 - stream.random::<f64>());
                    at += mean.mul_f64(wait);
                    if self.stir <= at {
                        break;
                    }
                    let kinds = self.kinds_on(target.as_deref(), &mut stream);
                    let broken = kinds.iter().map(PlannedKind::length).max().unwrap_or_default();
                    self.timed(at, kinds, faults);
                    at += broken + background.dwell_min.get();
                }
            }
        }
    }

    fn timed(&self, at: Duration, kinds: Vec<PlannedKind>, faults: &mut Vec<PlannedFault>) {
        faults.extend(kinds.into_iter().map(|kind| PlannedFault {
            at: Some(whole_micros(at)),
            on: None,
            when_dirty: self.rule.when_dirty,
            kind,
        }));
    }

    /// The hosts of a background rule, each a process of its own; one process without a host for faults of links.
    fn targets(&self) -> Vec<Option<String>> {
        match self.rule.kind.target() {
            Some(target) => self.matching(target.pattern()).into_iter().map(Some).collect(),
            None => vec![None],
        }
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        if pattern == EVENT_HOST {
            return vec![EVENT_HOST.to_owned()];
        }
        self.places
            .iter()
            .filter(|place| matches(pattern, &place.host))
            .map(|place| place.host.clone())
            .collect()
    }

    fn kinds(&self, stream: &mut Stream) -> Vec<PlannedKind> {
        match self.rule.kind.target() {
            Some(Target { any_of: Some(pattern), .. }) => {
                let host = self.matching(pattern).choose(stream).cloned();
                host.map_or_else(Vec::new, |host| self.kinds_for(vec![host], stream))
            }
            Some(target) => self.kinds_for(self.matching(target.pattern()), stream),
            None => self.kinds_for(Vec::new(), stream),
        }
    }

    fn kinds_on(&self, host: Option<&str>, stream: &mut Stream) -> Vec<PlannedKind> {
        self.kinds_for(host.map(str::to_owned).into_iter().collect(), stream)
    }

    /// The rule's kind, drawn; on each of `hosts` for kinds that hit hosts one by one.
    fn kinds_for(&self, hosts: Vec<String>, stream: &mut Stream) -> Vec<PlannedKind> {
        let span = |range: Range<Span>, stream: &mut Stream| whole_micros(range.draw(stream));
        let mut each = |draw: &dyn Fn(String, &mut Stream) -> PlannedKind| {
            hosts.iter().map(|host| draw(host.clone(), stream)).collect::<Vec<_>>()
        };
        match &self.rule.kind {
            FaultKind::Crash(down) => {
                each(&|host, stream| PlannedKind::Crash { host, down: span(down.down, stream) })
            }
            FaultKind::PowerLoss(down) => {
                each(&|host, stream| PlannedKind::PowerLoss { host, down: span(down.down, stream) })
            }
            FaultKind::DiskLoss(down) => {
                each(&|host, stream| PlannedKind::DiskLoss { host, down: span(down.down, stream) })
            }
            FaultKind::Pause(pause) => {
                each(&|host, stream| PlannedKind::Pause { host, length: span(pause.length, stream) })
            }
            FaultKind::SlowCpu(slow) => each(&|host, stream| PlannedKind::SlowCpu {
                host,
                factor: slow.factor,
                length: span(slow.length, stream),
            }),
            FaultKind::SlowDisk(slow) => each(&|host, stream| PlannedKind::SlowDisk {
                host,
                factor: slow.factor,
                length: span(slow.length, stream),
            }),
            FaultKind::CrashLoop(looping) => each(&|host, stream| PlannedKind::CrashLoop {
                host,
                times: looping.times,
                up: span(looping.up, stream),
                down: span(looping.down, stream),
            }),
            FaultKind::ClockJump(jump) => each(&|host, stream| {
                let ms = span(jump.by, stream).get().as_millis() as i64;
                PlannedKind::ClockJump { host, ms: if stream.random_bool(0.5) { ms } else { -ms } }
            }),
            FaultKind::ClockDrift(drift) => each(&|host, stream| PlannedKind::ClockDrift {
                host,
                ppm: stream.random_range(-drift.ppm..=drift.ppm).round(),
                length: span(drift.length, stream),
            }),
            FaultKind::DiskFull(full) => {
                each(&|host, stream| PlannedKind::DiskFull { host, length: span(full.length, stream) })
            }
            FaultKind::DiskError(error) => each(&|host, stream| PlannedKind::DiskError {
                host,
                operation: error.operation,
                length: span(error.length, stream),
            }),
            FaultKind::DiskStall(stall) => {
                each(&|host, stream| PlannedKind::DiskStall { host, length: span(stall.length, stream) })
            }
            FaultKind::LostWrite(lies) => each(&|host, stream| {
                let (files, chance) = (lies.files.clone(), lies.chance);
                PlannedKind::LostWrite { host, files, chance, length: span(lies.length, stream) }
            }),
            FaultKind::MisdirectedWrite(lies) => each(&|host, stream| {
                let (files, chance) = (lies.files.clone(), lies.chance);
                PlannedKind::MisdirectedWrite { host, files, chance, length: span(lies.length, stream) }
            }),
            FaultKind::MisdirectedRead(lies) => each(&|host, stream| {
                let (files, chance) = (lies.files.clone(), lies.chance);
                PlannedKind::MisdirectedRead { host, files, chance, length: span(lies.length, stream) }
            }),
            FaultKind::StaleRead(lies) => each(&|host, stream| {
                let (files, chance) = (lies.files.clone(), lies.chance);
                PlannedKind::StaleRead { host, files, chance, length: span(lies.length, stream) }
            }),
            FaultKind::BitRot(rot) => {
                each(&|host, _| PlannedKind::BitRot { host, files: rot.files.clone(), bits: rot.bits })
            }
            FaultKind::RollingRestart(rolling) => vec![PlannedKind::RollingRestart {
                down: span(rolling.down, stream),
                gap: span(rolling.gap, stream),
                graceful: rolling.graceful,
                hosts,
            }],
            FaultKind::FullRestart(full) => {
                vec![PlannedKind::FullRestart { down: span(full.down, stream), hosts }]
            }
            FaultKind::Isolate(isolate) => {
                let (from, to) = if hosts == [EVENT_HOST] {
                    (hosts, vec!["*".to_owned()])
                } else {
                    let others = self.places.iter().map(|place| place.host.clone());
                    let others = others.filter(|host| !hosts.contains(host)).collect();
                    (hosts, others)
                };
                let length = span(isolate.heal_after, stream);
                vec![PlannedKind::Partition { from, to, one_way: isolate.one_way, length }]
            }
            FaultKind::Partition(partition) => self.partition(partition, stream),
            FaultKind::ZoneOutage(outage) => {
                let servers = self.places.iter().filter(|place| place.server);
                let zone = zone_of(servers, &outage.zone, stream);
                zone.map(|zone| PlannedKind::ZoneOutage { zone, down: span(outage.down, stream) })
                    .into_iter()
                    .collect()
            }
            FaultKind::Delay(delay) => vec![PlannedKind::Delay {
                from: delay.from.clone(),
                to: delay.to.clone(),
                by: span(delay.by, stream),
                length: span(delay.length, stream),
            }],
            FaultKind::Jitter(delay) => vec![PlannedKind::Jitter {
                from: delay.from.clone(),
                to: delay.to.clone(),
                by: span(delay.by, stream),
                length: span(delay.length, stream),
            }],
            FaultKind::Bandwidth(limit) => vec![PlannedKind::Bandwidth {
                from: limit.from.clone(),
                to: limit.to.clone(),
                limit: limit.limit,
                length: span(limit.length, stream),
            }],
            FaultKind::Reset(cut) => self
                .one_of(&cut.from, stream)
                .map(|from| PlannedKind::Reset { from, to: cut.to.clone() })
                .into_iter()
                .collect(),
            FaultKind::HalfOpen(cut) => self
                .one_of(&cut.from, stream)
                .map(|from| PlannedKind::HalfOpen { from, to: cut.to.clone() })
                .into_iter()
                .collect(),
            FaultKind::Refuse(refuse) => {
                let to = self.one_of(&refuse.to, stream);
                let from = refuse.from.clone();
                to.map(|to| PlannedKind::Refuse { from, to, length: span(refuse.length, stream) })
                    .into_iter()
                    .collect()
            }
            FaultKind::HoldBack(hold) => vec![PlannedKind::HoldBack {
                message: hold.message.clone(),
                from: hold.from.clone(),
                to: hold.to.clone(),
                by: span(hold.by, stream),
                length: span(hold.length, stream),
            }],
            FaultKind::Operate(operate) => vec![PlannedKind::Operate {
                action: operate.action.clone(),
                subject: operate.subject.clone(),
                choice: stream.random(),
                patience: span(operate.patience, stream),
            }],
        }
    }

    fn one_of(&self, pattern: &str, stream: &mut Stream) -> Option<String> {
        self.matching(pattern).choose(stream).cloned()
    }

    fn partition(&self, partition: &Partition, stream: &mut Stream) -> Vec<PlannedKind> {
        let takes_part = |place: &&Place| match &partition.among {
            Some(pattern) => matches(pattern, &place.host),
            None => place.server,
        };
        let members: Vec<&Place> = self.places.iter().filter(takes_part).collect();
        let length = whole_micros(partition.heal_after.draw(stream));
        let names = |of: &[&Place]| of.iter().map(|place| place.host.clone()).collect::<Vec<_>>();
        if let Some(wanted) = &partition.zone {
            let Some(zone) = zone_of(members.iter().copied(), wanted, stream) else { return Vec::new() };
            let (inside, outside): (Vec<&Place>, Vec<&Place>) =
                members.into_iter().partition(|place| place.zone == zone);
            if outside.is_empty() {
                return Vec::new();
            }
            let (from, to) = (names(&inside), names(&outside));
            return vec![PlannedKind::Partition { from, to, one_way: false, length }];
        }
        if members.len() < 2 {
            return Vec::new();
        }
        let shuffled: Vec<&Place> = members.choose_multiple(stream, members.len()).copied().collect();
        let half = stream.random_range(1..members.len());
        let (one, other, one_way) = match partition.shape.unwrap_or_default() {
            Shape::Halves => (&shuffled[..half], &shuffled[half..], false),
            Shape::OneWay => (&shuffled[..half], &shuffled[half..], true),
            Shape::Isolate => (&shuffled[..1], &shuffled[1..], false),
            Shape::Pair => (&shuffled[..1], &shuffled[1..2], false),
            Shape::Bridge => {
                let halves = &shuffled[1..];
                let half = (halves.len() / 2).max(1).min(halves.len());
                (&halves[..half], &halves[half..], false)
            }
        };
        vec![PlannedKind::Partition { from: names(one), to: names(other), one_way, length }]
    }
}

/// Patterns of a list, each with the key of the list and its place there.
fn numbered<'plan>(key: &str, patterns: &'plan [String]) -> impl Iterator<Item = (String, &'plan str)> {
    patterns.iter().enumerate().map(move |(index, pattern)| (format!("{key}.{index}"), pattern.as_str()))
}

/// One of the zones in which these stand: the one that is wanted, if it is not `any`.
fn zone_of<'place>(
    places: impl Iterator<Item = &'place Place>,
    wanted: &str,
    stream: &mut Stream,
) -> Option<String> {
    let mut zones: Vec<&String> = places.map(|place| &place.zone).collect();
    zones.sort();
    zones.dedup();
    zones.retain(|zone| wanted == "any" || *zone == wanted);
    zones.choose(stream).map(|zone| (*zone).clone())
}

/// Whole microseconds, so that a saved plan reads well and reads back the same.
fn whole_micros(span: Duration) -> Span {
    Span::new(Duration::from_micros(span.as_micros() as u64))
}

impl PlannedFault {
    /// What no run could make of this fault.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.at.is_some() == self.on.is_some() {
            let message = "a planned fault needs exactly one of `at` and `on`";
            problems.push(Problem::new("", message).help("for instance at = \"12.5s\""));
        }
        problems.extend(self.on.iter().flat_map(|on| on.validate()));
        let name = self.kind.name();
        match &self.kind {
            PlannedKind::SlowCpu { factor, .. } | PlannedKind::SlowDisk { factor, .. } => {
                problems.extend(factor_problem(format!("do.{name}.factor"), *factor));
            }
            PlannedKind::ClockDrift { ppm, .. } if !(-PPM_MAX..=PPM_MAX).contains(ppm) => {
                let message = format!("{ppm} is not between -{PPM_MAX} and {PPM_MAX} parts per million");
                problems.push(Problem::new(format!("do.{name}.ppm"), message));
            }
            PlannedKind::CrashLoop { times, .. } => {
                problems.extend(times_problem(format!("do.{name}.times"), (*times).into()));
            }
            PlannedKind::BitRot { bits, .. } => {
                problems.extend(times_problem(format!("do.{name}.bits"), (*bits).into()));
            }
            _ => {}
        }
        if self.on.is_none() {
            let named = self.kind.patterns().into_iter().filter(|(_, pattern)| *pattern == EVENT_HOST);
            problems.extend(named.map(|(key, _)| event_host_without_event(format!("do.{name}.{key}"))));
        }
        if self.when_dirty.is_some() && !self.kind.target().is_hosts() {
            problems.push(dirty_links());
        }
        problems
    }
}

impl PlannedTarget<'_> {
    fn is_hosts(&self) -> bool {
        match self {
            Self::Host(_) | Self::Hosts(_) | Self::Zone(_) => true,
            Self::Links(..) | Self::Sides(..) | Self::Subject(_) => false,
        }
    }
}

impl PlannedKind {
    /// The patterns of hosts in it, each with the key under which it stands.
    pub fn patterns(&self) -> Vec<(String, &str)> {
        match self.target() {
            PlannedTarget::Host(host) => vec![("host".to_owned(), host)],
            PlannedTarget::Hosts(hosts) => numbered("hosts", hosts).collect(),
            PlannedTarget::Zone(_) | PlannedTarget::Subject(_) => Vec::new(),
            PlannedTarget::Links(from, to) => vec![("from".to_owned(), from), ("to".to_owned(), to)],
            PlannedTarget::Sides(from, to) => numbered("from", from).chain(numbered("to", to)).collect(),
        }
    }

    /// The key under which a plan names it, and under which it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::PowerLoss { .. } => "power_loss",
            Self::DiskLoss { .. } => "disk_loss",
            Self::Pause { .. } => "pause",
            Self::SlowCpu { .. } => "slow_cpu",
            Self::CrashLoop { .. } => "crash_loop",
            Self::RollingRestart { .. } => "rolling_restart",
            Self::FullRestart { .. } => "full_restart",
            Self::ZoneOutage { .. } => "zone_outage",
            Self::ClockJump { .. } => "clock_jump",
            Self::ClockDrift { .. } => "clock_drift",
            Self::Partition { .. } => "partition",
            Self::Delay { .. } => "delay",
            Self::Jitter { .. } => "jitter",
            Self::Bandwidth { .. } => "bandwidth",
            Self::Reset { .. } => "reset",
            Self::HalfOpen { .. } => "half_open",
            Self::Refuse { .. } => "refuse",
            Self::HoldBack { .. } => "hold_back",
            Self::DiskFull { .. } => "disk_full",
            Self::DiskError { .. } => "disk_error",
            Self::SlowDisk { .. } => "slow_disk",
            Self::DiskStall { .. } => "disk_stall",
            Self::LostWrite { .. } => "lost_write",
            Self::MisdirectedWrite { .. } => "misdirected_write",
            Self::MisdirectedRead { .. } => "misdirected_read",
            Self::StaleRead { .. } => "stale_read",
            Self::BitRot { .. } => "bit_rot",
            Self::Operate { .. } => "operate",
        }
    }

    /// What it hits.
    pub fn target(&self) -> PlannedTarget<'_> {
        match self {
            Self::Crash { host, .. }
            | Self::PowerLoss { host, .. }
            | Self::DiskLoss { host, .. }
            | Self::Pause { host, .. }
            | Self::SlowCpu { host, .. }
            | Self::SlowDisk { host, .. }
            | Self::CrashLoop { host, .. }
            | Self::ClockJump { host, .. }
            | Self::ClockDrift { host, .. }
            | Self::DiskFull { host, .. }
            | Self::DiskError { host, .. }
            | Self::DiskStall { host, .. }
            | Self::LostWrite { host, .. }
            | Self::MisdirectedWrite { host, .. }
            | Self::MisdirectedRead { host, .. }
            | Self::StaleRead { host, .. }
            | Self::BitRot { host, .. } => PlannedTarget::Host(host),
            Self::RollingRestart { hosts, .. } | Self::FullRestart { hosts, .. } => {
                PlannedTarget::Hosts(hosts)
            }
            Self::ZoneOutage { zone, .. } => PlannedTarget::Zone(zone),
            Self::Partition { from, to, .. } => PlannedTarget::Sides(from, to),
            Self::Delay { from, to, .. }
            | Self::Jitter { from, to, .. }
            | Self::Bandwidth { from, to, .. }
            | Self::Reset { from, to }
            | Self::HalfOpen { from, to }
            | Self::Refuse { from, to, .. }
            | Self::HoldBack { from, to, .. } => PlannedTarget::Links(from, to),
            Self::Operate { subject, .. } => PlannedTarget::Subject(subject),
        }
    }

    /// How long the target is broken.
    pub fn length(&self) -> Duration {
        match self {
            Self::Crash { down, .. }
            | Self::PowerLoss { down, .. }
            | Self::DiskLoss { down, .. }
            | Self::FullRestart { down, .. }
            | Self::ZoneOutage { down, .. } => down.get(),
            Self::CrashLoop { times, up, down, .. } => (up.get() + down.get()) * *times,
            Self::RollingRestart { hosts, down, gap, .. } => (down.get() + gap.get()) * hosts.len() as u32,
            Self::ClockJump { .. } | Self::Reset { .. } | Self::HalfOpen { .. } | Self::BitRot { .. } => {
                Duration::ZERO
            }
            Self::Pause { length, .. }
            | Self::SlowCpu { length, .. }
            | Self::SlowDisk { length, .. }
            | Self::ClockDrift { length, .. }
            | Self::Partition { length, .. }
            | Self::Delay { length, .. }
            | Self::Jitter { length, .. }
            | Self::Bandwidth { length, .. }
            | Self::Refuse { length, .. }
            | Self::HoldBack { length, .. }
            | Self::DiskFull { length, .. }
            | Self::DiskError { length, .. }
            | Self::DiskStall { length, .. }
            | Self::LostWrite { length, .. }
            | Self::MisdirectedWrite { length, .. }
            | Self::MisdirectedRead { length, .. }
            | Self::StaleRead { length, .. } => length.get(),
            Self::Operate { patience, .. } => patience.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Vec<Place> {
        let place = |host: &str, zone: &str, server| Place { host: host.into(), zone: zone.into(), server };
        vec![
            place("broker-1", "a", true),
            place("broker-2", "b", true),
            place("broker-3", "c", true),
            place("client-1", "a", false),
        ]
    }

    fn rules(text: &str) -> Vec<FaultRule> {
        #[derive(Deserialize)]
        struct File {
            faults: Vec<FaultRule>,
        }
        toml::from_str::<File>(text).expect("the test's rules are well formed").faults
    }

    fn drawn(text: &str, seed: u64, swarm: bool) -> FaultPlan {
        FaultPlan::draw(&rules(text), &places(), Duration::from_secs(60), Seed::new(seed), swarm).0
    }

    const MIXED: &str = r#"
        faults = [
            { every = "5s..10s", do = { crash = { any_of = "broker-*", down = "1s..3s" } } },
            { background = { rate = "0.1/s" }, do = { pause = { any_of = "broker-*", length = "10ms..2s" } } },
            { at = "30s", do = { zone_outage = { zone = "any", down = "5s" } } },
            { every = "7s", do = { partition = { shape = "bridge", heal_after = "1s..4s" } } },
            { every = "9s", do = { operate = { action = "reassign_replicas", subject = "clicks" } } },
            { on = { event = "x", times = 2 }, do = { power_loss = { any_of = "@event", down = "1s" } } },
        ]"#;

    #[test]
    fn a_saved_plan_reads_back_the_same() {
        for seed in 0..20 {
            let plan = drawn(MIXED, seed, seed % 2 == 0);
            assert_eq!(toml::from_str::<FaultPlan>(&plan.to_toml()).expect("it was just written"), plan);
        }
    }

    /// The faults drawn from the rules at `kept`, in that order; as text, sorted.
    fn drawn_of(all: &[FaultRule], kept: &[usize], seed: u64, swarm: bool) -> Vec<String> {
        let rules: Vec<FaultRule> = kept.iter().map(|index| all[*index].clone()).collect();
        let (plan, _) = FaultPlan::draw(&rules, &places(), Duration::from_secs(60), Seed::new(seed), swarm);
        let mut faults: Vec<String> = plan.faults.iter().map(|fault| format!("{fault:?}")).collect();
        faults.sort();
        faults
    }

    #[test]
    fn deleting_or_moving_any_rule_leaves_the_draws_of_all_others() {
        let mut all = rules(MIXED);
        // Twice the same, far from one another: they strike independently.
        all.push(all[0].clone());
        let places: Vec<usize> = (0..all.len()).collect();
        for (seed, swarm) in (0..10).flat_map(|seed| [(seed, false), (seed, true)]) {
            let whole = drawn_of(&all, &places, seed, swarm);
            let reversed: Vec<usize> = places.iter().rev().copied().collect();
            assert_eq!(drawn_of(&all, &reversed, seed, swarm), whole, "seed {seed}");
            for deleted in &places {
                let kept: Vec<usize> = places.iter().filter(|index| *index != deleted).copied().collect();
                let mut rest = whole.clone();
                for fault in drawn_of(&all, &kept, seed, swarm) {
                    let at = rest.iter().position(|other| *other == fault);
                    let at = at.unwrap_or_else(|| panic!("seed {seed}, without rule {deleted}: {fault}"));
                    rest.remove(at);
                }
                assert!(swarm || !rest.is_empty(), "seed {seed}: rule {deleted} had drawn something");
            }
        }
    }

    #[test]
    fn rules_that_say_the_same_strike_independently() {
        let all = rules(MIXED);
        let twice = [all[0].clone(), all[0].clone()];
        let both = drawn_of(&twice, &[0, 1], 3, false);
        let one = drawn_of(&twice, &[0], 3, false);
        assert!((6..12).contains(&one.len()), "one every 5 to 10 s in a minute");
        assert!(both.windows(2).all(|pair| pair[0] != pair[1]), "{both:?}");
    }

    #[test]
    fn a_bridge_reaches_both_halves() {
        let plan = drawn(MIXED, 1, false);
        let bridges: Vec<_> = plan
            .faults
            .iter()
            .filter_map(|fault| match &fault.kind {
                PlannedKind::Partition { from, to, .. } => Some((from.len(), to.len())),
                _ => None,
            })
            .collect();
        assert!(!bridges.is_empty());
        assert!(
            bridges.iter().all(|sizes| *sizes == (1, 1)),
            "of three hosts, one is in neither half: {bridges:?}"
        );
    }

    #[test]
    fn a_swarm_leaves_rules_out_in_some_runs_and_not_in_others() {
        let with_outage = (0..40)
            .filter(|seed| {
                drawn(MIXED, *seed, true)
                    .faults
                    .iter()
                    .any(|fault| matches!(fault.kind, PlannedKind::ZoneOutage { .. }))
            })
            .count();
        assert!((10..30).contains(&with_outage), "{with_outage} of 40");
    }
}
