//! A machine's clocks. One oscillator drives both: the monotonic clock counts from power-up and never jumps, the calendar clock can be
//! set. A drift makes both, and every timer, run fast or slow; a jump moves the calendar alone.

use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{HostId, MonoTime, Range, SimTime, Span, Stream, WallTime};
use crate::world::kernel::Kernel;

/// What the calendar shows at the start of a run on a host whose clock is right: 2026-01-01T00:00:00Z.
const CALENDAR_START_MILLIS: i64 = 1_767_225_600_000;

/// Since when machines are up at the start of a run, at most: 30 days. No two show the same.
const UPTIME_MAX_NANOS: u64 = 30 * 86_400_000_000_000;

const BILLION: i128 = 1_000_000_000;

/// By how many parts per million a clock runs wrong at most, whatever adds up.
const TOTAL_PPM_MAX: f64 = 5e5;

/// The calendar clocks of hosts, before any fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// How far off the clock of each host is from the start until the heal; whether fast or slow is drawn, too (default 0s).
    pub offset: Range<Span>,
}

impl ClockConfig {
    /// The clocks of a host that is set up at `now`.
    pub(crate) fn draw(&self, mut stream: Stream, now: SimTime) -> Clock {
        let by = self.offset.draw(&mut stream).as_nanos() as i128;
        let offset = if stream.random_bool(0.5) { by } else { -by };
        let shown = stream.random_range(0..UPTIME_MAX_NANOS);
        let ahead = offset + i128::from(now.as_nanos()) - i128::from(shown);
        Clock { since: now, shown, excess: 0, ahead }
    }
}

/// The clocks of one machine: as they were drawn, then whatever faults make of them. All in whole numbers, so that no rounding differs
/// between machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When the rate last changed, and what the monotonic clock showed then, in nanoseconds.
    since: SimTime,
    shown: u64,
    /// By how many parts per billion it runs fast, or slow.
    excess: i64,
    /// How far the calendar is ahead of the monotonic clock, in nanoseconds from the calendar's start.
    ahead: i128,
}

impl Clock {
    /// What the monotonic clock shows.
    pub(crate) fn monotonic(&self, now: SimTime) -> MonoTime {
        let elapsed = now.as_nanos() - self.since.as_nanos();
        let gained = match self.excess {
            0 => 0,
            excess => (i128::from(elapsed) * i128::from(excess)).div_euclid(BILLION) as i64,
        };
        MonoTime::from_nanos(self.shown + elapsed.saturating_add_signed(gained))
    }

    /// The first moment at which the monotonic clock shows `at`, if its rate stays as it is.
    pub(crate) fn when(&self, at: MonoTime) -> SimTime {
        let left = at.as_nanos().saturating_sub(self.shown);
        let true_nanos = match self.excess {
            0 => left,
            excess => {
                let rate = BILLION + i128::from(excess);
                u64::try_from((i128::from(left) * BILLION + rate - 1) / rate).unwrap_or(u64::MAX)
            }
        };
        SimTime::from_nanos(self.since.as_nanos().saturating_add(true_nanos))
    }

    /// What the calendar clock shows.
    pub(crate) fn calendar(&self, now: SimTime) -> WallTime {
        let nanos = i128::from(now.as_nanos()) + self.offset_nanos(now);
        WallTime::from_millis(CALENDAR_START_MILLIS + nanos.div_euclid(1_000_000) as i64)
    }

    /// How far the calendar clock is off: more than zero if it is fast.
    pub(crate) fn offset_nanos(&self, now: SimTime) -> i128 {
        i128::from(self.monotonic(now).as_nanos()) + self.ahead - i128::from(now.as_nanos())
    }

    /// The calendar jumps by this many nanoseconds, either way.
    pub(crate) fn jump(&mut self, nanos: i128) {
        self.ahead += nanos;
    }

    /// From now on both clocks run faster by so many parts per million than they did.
    fn speed_up(&mut self, now: SimTime, ppm: f64) {
        self.settle(now);
        self.excess += (ppm * 1e3).round() as i64;
    }

    /// The machine is powered up: its monotonic clock begins anew, its calendar runs on.
    pub(crate) fn power_up(&mut self, now: SimTime) {
        self.settle(now);
        self.ahead += i128::from(self.shown);
        self.shown = 0;
    }

    /// Both clocks run right from now on, and the calendar is set right, as a time service does once it is reachable again.
    fn correct(&mut self, now: SimTime) {
        self.settle(now);
        self.excess = 0;
        self.ahead = i128::from(now.as_nanos()) - i128::from(self.shown);
    }

    fn settle(&mut self, now: SimTime) {
        self.shown = self.monotonic(now).as_nanos();
        self.since = now;
    }
}

impl Kernel {
    /// Whether a host's clocks may run faster by so many parts per million than they do, or slower.
    pub(crate) fn bears_drift(&self, host: HostId, ppm: f64) -> bool {
        let excess = self.hosts.borrow()[host.get() as usize].clock.excess;
        (excess as f64 / 1e3 + ppm).abs() <= TOTAL_PPM_MAX
    }

    /// A host's clocks run faster by so many parts per million than they did, or slower: its timers with them.
    pub(crate) fn speed_up_clock(&self, host: HostId, ppm: f64) {
        self.change_rate(host, |clock, now| clock.speed_up(now, ppm));
    }

    /// A host's clocks are right from now on.
    pub(crate) fn correct_clock(&self, host: HostId) {
        self.change_rate(host, Clock::correct);
    }

    /// Every task of the host is woken, so that what it waits for is timed anew.
    fn change_rate(&self, host: HostId, change: impl FnOnce(&mut Clock, SimTime)) {
        let tasks = {
            let mut hosts = self.hosts.borrow_mut();
            let state = &mut hosts[host.get() as usize];
            let before = state.clock.excess;
            change(&mut state.clock, self.now());
            if before == state.clock.excess { Default::default() } else { state.tasks.clone() }
        };
        self.unpark(tasks);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A timer set by `when` never rings before its time by the host's clock, and no nanosecond late.
        #[test]
        fn the_moment_at_which_a_clock_shows_a_point_is_the_first(
            shown in 0..UPTIME_MAX_NANOS, since in 0..1u64 << 40, excess in -100_000_000i64..=100_000_000, wait in 1..1u64 << 40,
        ) {
            let clock = Clock { since: SimTime::from_nanos(since), shown, excess, ahead: 0 };
            let at = MonoTime::from_nanos(shown + wait);
            let when = clock.when(at);
            prop_assert!(at <= clock.monotonic(when));
            prop_assert!(clock.monotonic(SimTime::from_nanos(when.as_nanos() - 1)) < at);
        }

        /// The monotonic clock goes forward through every change but a power-up; the calendar moves by jumps alone.
        #[test]
        fn changes_of_rate_and_power_move_no_clock(steps in prop::collection::vec((0..3u8, -50_000i32..=50_000, 1..1u64 << 35), 1..20)) {
            let mut now = SimTime::ZERO;
            let mut clock = ClockConfig::default().draw(crate::base::Seed::new(1).stream("clock"), now);
            for (kind, ppm, wait) in steps {
                now = SimTime::from_nanos(now.as_nanos() + wait);
                let (monotonic, calendar) = (clock.monotonic(now), clock.calendar(now));
                match kind {
                    0 => clock.speed_up(now, f64::from(ppm) - clock.excess as f64 / 1e3),
                    1 => clock.power_up(now),
                    _ => clock.correct(now),
                }
                match kind {
                    0 => prop_assert_eq!((clock.monotonic(now), clock.calendar(now)), (monotonic, calendar)),
                    1 => prop_assert_eq!((clock.monotonic(now), clock.calendar(now)), (MonoTime::ZERO, calendar)),
                    _ => prop_assert_eq!((clock.monotonic(now), clock.offset_nanos(now)), (monotonic, 0)),
                }
            }
        }
    }
}
