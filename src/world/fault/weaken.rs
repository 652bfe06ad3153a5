//! Simpler variants of planned faults: what shrinking tries in their place.
//!
//! Every variant is strictly simpler than what it comes from (a weaker kind, a shorter or rounder time, fewer hosts), so that
//! trying them again and again comes to an end.

use std::time::Duration;

use crate::base::{Share, Span};
use crate::world::fault::plan::{FaultPlan, PlannedFault, PlannedKind};

/// Spans up to this are short enough.
const SHORT: Duration = Duration::from_millis(1);

/// A disk that lies no more often than this lies seldom enough.
const CHANCE_LOW: f64 = 0.01;

/// How much a link is slowed in place of something worse.
const DELAY: Duration = Duration::from_millis(200);

/// To what fractions of a second a time is rounded, the roundest first.
const ROUND: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_millis(100), Duration::from_millis(10), Duration::from_millis(1)];

impl FaultPlan {
    /// The plan without some of the hosts it names; a fault that names nobody any more is left out.
    pub fn without_hosts(&self, gone: impl Fn(&str) -> bool) -> Self {
        let faults = self.faults.iter().filter_map(|fault| {
            let mut fault = fault.clone();
            let mut lists = fault.kind.hosts_mut();
            let is_left = if lists.is_empty() {
                fault.kind.patterns().iter().all(|(_, host)| !gone(host))
            } else {
                lists.iter_mut().for_each(|hosts| hosts.retain(|host| !gone(host)));
                lists.iter().all(|hosts| !hosts.is_empty())
            };
            is_left.then_some(fault)
        });
        Self { faults: faults.collect() }
    }
}

impl PlannedFault {
    /// Simpler variants, the simplest first.
    pub fn weaker(&self) -> Vec<Self> {
        let kinds = self.kind.weaker().into_iter().map(|kind| Self { kind, ..self.clone() });
        let at_once = self.when_dirty.map(|_| Self { when_dirty: None, ..self.clone() });
        let rounder = self.at.into_iter().flat_map(|at| {
            let rounded = ROUND.into_iter().map(move |unit| down_to(at.get(), unit));
            rounded.filter(move |rounded| *rounded < at.get())
        });
        let rounder = rounder.map(|at| Self { at: Some(Span::new(at)), ..self.clone() });
        kinds.chain(at_once).chain(rounder).collect()
    }
}

impl PlannedKind {
    /// Simpler variants, the simplest first: another kind that hurts less, then the same kind on fewer hosts, shorter, less strong.
    pub fn weaker(&self) -> Vec<Self> {
        let mut variants = self.milder();
        variants.extend(self.on_fewer_hosts());
        variants.extend(self.less_strong());
        variants.extend(self.shorter());
        variants
    }

    /// Other kinds that hurt the same hosts less: power loss, crash, pause, delay; lost write, stall, slow disk.
    fn milder(&self) -> Vec<Self> {
        let delay = |host: &String, length: Span| Self::Delay {
            from: host.clone(),
            to: "*".to_owned(),
            by: Span::new(DELAY),
            length,
        };
        let pause = |host: &String, length: Span| Self::Pause { host: host.clone(), length };
        let crash = |host: &String, down: Span| Self::Crash { host: host.clone(), down };
        let slow_disk =
            |host: &String, length: Span| Self::SlowDisk { host: host.clone(), factor: 4.0, length };
        let stall = |host: &String, length: Span| Self::DiskStall { host: host.clone(), length };
        match self {
            Self::DiskLoss { host, down } => vec![
                delay(host, *down),
                pause(host, *down),
                crash(host, *down),
                Self::PowerLoss { host: host.clone(), down: *down },
            ],
            Self::PowerLoss { host, down } | Self::CrashLoop { host, down, .. } => {
                vec![delay(host, *down), pause(host, *down), crash(host, *down)]
            }
            Self::Crash { host, down } => vec![delay(host, *down), pause(host, *down)],
            Self::Pause { host, length } => vec![delay(host, *length)],
            Self::RollingRestart { hosts, down, .. } => hosts.iter().map(|host| crash(host, *down)).collect(),
            Self::FullRestart { hosts, down } => {
                let (each, gap) = (hosts.iter().map(|host| crash(host, *down)), Span::default());
                let (hosts, down) = (hosts.clone(), *down);
                each.chain([Self::RollingRestart { hosts, down, gap, graceful: true }]).collect()
            }
            Self::DiskError { host, length, .. } | Self::DiskFull { host, length } => {
                vec![slow_disk(host, *length)]
            }
            Self::DiskStall { host, length } => vec![slow_disk(host, *length)],
            Self::LostWrite { host, length, .. } | Self::StaleRead { host, length, .. } => {
                vec![slow_disk(host, *length), stall(host, *length)]
            }
            Self::MisdirectedWrite { host, files, chance, length } => {
                let (files, chance) = (files.clone(), *chance);
                let lost = Self::LostWrite { host: host.clone(), files, chance, length: *length };
                vec![slow_disk(host, *length), stall(host, *length), lost]
            }
            Self::MisdirectedRead { host, files, chance, length } => {
                let (files, chance) = (files.clone(), *chance);
                let stale = Self::StaleRead { host: host.clone(), files, chance, length: *length };
                vec![slow_disk(host, *length), stall(host, *length), stale]
            }
            Self::Partition { from, to, one_way: false, length } => [(from, to), (to, from)]
                .map(|(from, to)| Self::Partition {
                    from: from.clone(),
                    to: to.clone(),
                    one_way: true,
                    length: *length,
                })
                .to_vec(),
            Self::HalfOpen { from, to } => vec![Self::Reset { from: from.clone(), to: to.clone() }],
            _ => Vec::new(),
        }
    }

    fn on_fewer_hosts(&self) -> Vec<Self> {
        let counts: Vec<usize> = self.clone().hosts_mut().iter().map(|hosts| hosts.len()).collect();
        let spare = counts.into_iter().enumerate().filter(|(_, count)| 1 < *count);
        let one = spare.flat_map(|(list, count)| (0..count).map(move |host| (list, host)));
        let without = |(list, host): (usize, usize)| {
            let mut kind = self.clone();
            kind.hosts_mut()[list].remove(host);
            kind
        };
        one.map(without).collect()
    }

    /// Its lists of hosts.
    fn hosts_mut(&mut self) -> Vec<&mut Vec<String>> {
        match self {
            Self::Partition { from, to, .. } => vec![from, to],
            Self::RollingRestart { hosts, .. } | Self::FullRestart { hosts, .. } => vec![hosts],
            _ => Vec::new(),
        }
    }

    fn less_strong(&self) -> Vec<Self> {
        let mut kind = self.clone();
        match &mut kind {
            Self::SlowCpu { factor, .. } | Self::SlowDisk { factor, .. } if 4.0 <= *factor => {
                *factor = (*factor / 2.0).floor();
            }
            Self::CrashLoop { times, .. } if 2 <= *times => *times /= 2,
            Self::BitRot { bits, .. } if 2 <= *bits => *bits /= 2,
            Self::LostWrite { chance, .. }
            | Self::MisdirectedWrite { chance, .. }
            | Self::MisdirectedRead { chance, .. }
            | Self::StaleRead { chance, .. }
                if CHANCE_LOW < chance.get() =>
            {
                *chance = Share::new(chance.get() / 2.0);
            }
            Self::ClockDrift { ppm, .. } if 2.0 <= ppm.abs() => *ppm = (*ppm / 2.0).trunc(),
            Self::ClockJump { ms, .. } if 2 <= ms.abs() => *ms /= 2,
            _ => return Vec::new(),
        }
        vec![kind]
    }

    /// Each of its times shorter: a quarter, half, or only rounder.
    fn shorter(&self) -> Vec<Self> {
        let count = self.clone().spans_mut().len();
        let mut variants = Vec::new();
        for at in 0..count {
            let long = self.clone().spans_mut()[at].get();
            let shorter = [4, 2, 1].map(|part| one_digit(long / part)).into_iter();
            let shorter = shorter.chain(ROUND.map(|unit| down_to(long, unit)));
            for shorter in shorter.filter(|shorter| SHORT < long && !shorter.is_zero() && *shorter < long) {
                let mut kind = self.clone();
                *kind.spans_mut()[at] = Span::new(shorter);
                variants.push(kind);
            }
        }
        variants
    }

    /// Its spans of time.
    fn spans_mut(&mut self) -> Vec<&mut Span> {
        match self {
            Self::Crash { down, .. }
            | Self::PowerLoss { down, .. }
            | Self::DiskLoss { down, .. }
            | Self::FullRestart { down, .. }
            | Self::ZoneOutage { down, .. } => vec![down],
            Self::CrashLoop { up, down, .. } => vec![up, down],
            Self::RollingRestart { down, gap, .. } => vec![down, gap],
            Self::Delay { by, length, .. }
            | Self::Jitter { by, length, .. }
            | Self::HoldBack { by, length, .. } => vec![by, length],
            Self::Pause { length, .. }
            | Self::SlowCpu { length, .. }
            | Self::SlowDisk { length, .. }
            | Self::ClockDrift { length, .. }
            | Self::Partition { length, .. }
            | Self::Bandwidth { length, .. }
            | Self::Refuse { length, .. }
            | Self::DiskFull { length, .. }
            | Self::DiskError { length, .. }
            | Self::DiskStall { length, .. }
            | Self::LostWrite { length, .. }
            | Self::MisdirectedWrite { length, .. }
            | Self::MisdirectedRead { length, .. }
            | Self::StaleRead { length, .. } => vec![length],
            Self::Operate { patience, .. } => vec![patience],
            Self::ClockJump { .. } | Self::Reset { .. } | Self::HalfOpen { .. } | Self::BitRot { .. } => {
                Vec::new()
            }
        }
    }
}

fn down_to(span: Duration, unit: Duration) -> Duration {
    Duration::from_nanos((span.as_nanos() / unit.as_nanos() * unit.as_nanos()) as u64)
}

/// Rounded down to its first digit: 2.7 s is 2 s, 83 ms are 80 ms.
fn one_digit(span: Duration) -> Duration {
    let nanos = span.as_nanos() as u64;
    let unit = nanos.checked_ilog10().map_or(1, |digits| 10u64.pow(digits));
    Duration::from_nanos(nanos / unit * unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::fault::plan::PlannedTarget;

    /// Follows the first variant again and again; how many steps it takes until there is none.
    fn steps_down(mut fault: PlannedFault) -> usize {
        (0..1000)
            .find(|_| match fault.weaker().into_iter().next() {
                Some(weaker) => {
                    fault = weaker;
                    false
                }
                None => true,
            })
            .expect("every variant is simpler than what it comes from")
    }

    #[test]
    fn weakening_comes_to_an_end_whatever_the_fault() {
        let text = r#"
            [[faults]]
            at = "12.345678s"
            when_dirty = "500ms"
            do = { disk_loss = { host = "broker-1", down = "2.345678s" } }
            [[faults]]
            at = "1.5s"
            do = { rolling_restart = { hosts = ["a-1", "a-2", "a-3"], down = "1s", gap = "2s", graceful = true } }
            [[faults]]
            at = "1.5s"
            do = { full_restart = { hosts = ["a-1", "a-2", "a-3"], down = "12.5s" } }
            [[faults]]
            at = "1.5s"
            do = { partition = { from = ["a-1", "a-2"], to = ["a-3", "a-4"], one_way = false, length = "3.3s" } }
            [[faults]]
            at = "3s"
            do = { clock_jump = { host = "a-1", ms = -1500 } }
            [[faults]]
            at = "3s"
            do = { crash_loop = { host = "a-1", times = 7, up = "1s", down = "1s" } }
            [[faults]]
            at = "3s"
            do = { misdirected_write = { host = "a-1", files = "*", chance = "100%", length = "1.5s" } }
            [[faults]]
            at = "3s"
            do = { misdirected_read = { host = "a-1", files = "*.log", chance = "0.1%", length = "1s" } }
            [[faults]]
            at = "3.5s"
            do = { bit_rot = { host = "a-1", files = "*", bits = 9 } }
            [[faults]]
            at = "3.5s"
            do = { operate = { action = "reassign_replicas", subject = "t", choice = 5, patience = "30s" } }
        "#;
        let plan: FaultPlan = toml::from_str(text).expect("it is well formed");
        for fault in plan.faults {
            assert!(0 < steps_down(fault.clone()), "{fault:?}");
        }
    }

    #[test]
    fn a_lost_disk_is_tried_as_a_delay_first_and_as_a_power_loss_last() {
        let (host, down) = ("broker-1".to_owned(), Span::secs(2));
        let variants = PlannedKind::DiskLoss { host, down }.weaker();
        let names: Vec<&str> = variants.iter().map(PlannedKind::name).collect();
        assert_eq!(names[..4], ["delay", "pause", "crash", "power_loss"]);
    }

    #[test]
    fn a_full_restart_is_tried_as_a_crash_of_each_host_first_and_then_as_a_rolling_one() {
        let kind = r#"full_restart = { hosts = ["a-1", "a-2"], down = "3s" }"#;
        let variants = toml::from_str::<PlannedKind>(kind).expect("it is well formed").weaker();
        let names: Vec<&str> = variants.iter().map(PlannedKind::name).collect();
        assert_eq!(names[..4], ["crash", "crash", "rolling_restart", "full_restart"]);
        assert_eq!(variants[3].target(), PlannedTarget::Hosts(&["a-2".to_owned()]));
    }

    #[test]
    fn a_misdirected_write_is_tried_as_a_slow_disk_a_stall_and_a_lost_write() {
        let kind = r#"misdirected_write = { host = "a-1", files = "*", chance = "50%", length = "1s" }"#;
        let variants = toml::from_str::<PlannedKind>(kind).expect("it is well formed").weaker();
        let names: Vec<&str> = variants.iter().map(PlannedKind::name).collect();
        assert_eq!(names[..3], ["slow_disk", "disk_stall", "lost_write"]);
        assert!(variants[3..].iter().any(|variant| format!("{variant:?}").contains("25%")), "{variants:?}");
    }

    #[test]
    fn times_are_halved_and_rounded() {
        assert_eq!(one_digit(Duration::from_millis(2700)), Duration::from_secs(2));
        assert_eq!(one_digit(Duration::from_micros(83)), Duration::from_micros(80));
        assert_eq!(one_digit(Duration::ZERO), Duration::ZERO);
        assert_eq!(down_to(Duration::from_millis(12_345), ROUND[1]), Duration::from_millis(12_300));
    }
}
