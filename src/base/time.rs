//! Points and spans of time. A point is a [`SimTime`] (true, known to the tank), a [`MonoTime`] (one host's monotonic clock) or a
//! [`WallTime`] (one host's calendar clock); a span is a [`Duration`], written in configuration as a [`Span`]. Only two points of one
//! kind give a `Duration`.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::units::{UnitError, parse_number};

/// A clock that only goes forward, in nanoseconds: a type of its own for each, so that what one shows is never compared with another.
macro_rules! monotonic {
    ($(#[$docs:meta])* $Point:ident) => {
        $(#[$docs])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $Point(u64);

        impl $Point {
            /// Where the clock begins.
            pub const ZERO: Self = Self(0);
            /// Later than any run lasts.
            pub const NEVER: Self = Self(u64::MAX);

            /// The point this many nanoseconds after the beginning.
            pub const fn from_nanos(nanos: u64) -> Self {
                Self(nanos)
            }

            /// Nanoseconds since the beginning.
            pub const fn as_nanos(self) -> u64 {
                self.0
            }

            /// Whole milliseconds since the beginning.
            pub const fn as_millis(self) -> u64 {
                self.0 / 1_000_000
            }

            /// Seconds since the beginning.
            pub fn as_secs_f64(self) -> f64 {
                self.0 as f64 / 1e9
            }

            /// The span since `earlier`, or zero if `earlier` is later.
            pub const fn since(self, earlier: Self) -> Duration {
                Duration::from_nanos(self.0.saturating_sub(earlier.0))
            }
        }

        impl Add<Duration> for $Point {
            type Output = Self;
            fn add(self, span: Duration) -> Self {
                Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
            }
        }

        impl AddAssign<Duration> for $Point {
            fn add_assign(&mut self, span: Duration) {
                *self = *self + span;
            }
        }

        impl Sub for $Point {
            type Output = Duration;
            fn sub(self, earlier: Self) -> Duration {
                assert!(earlier <= self, "a span cannot be negative: {self} - {earlier}");
                Duration::from_nanos(self.0 - earlier.0)
            }
        }

        impl fmt::Display for $Point {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}.{:06}s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
            }
        }

        impl fmt::Debug for $Point {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }
    };
}

monotonic!(
    /// A point in virtual time, from the start of the run: true, and known to nobody inside the tank.
    SimTime
);
monotonic!(
    /// What one machine's monotonic clock shows, from its last power-up (Linux: `CLOCK_BOOTTIME`). It never jumps; it may run fast
    /// or slow. Timers, time-outs and leases are measured by it.
    MonoTime
);

/// What one host's calendar clock shows: milliseconds since the Unix epoch. It may be wrong, drift, and jump either way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(i64);

impl WallTime {
    /// The point this many milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> i64 {
        self.0
    }
}

/// A span of time as configuration writes it: a number and a unit, `"200us"`, `"1.5s"`, `"3m"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(Duration);

const TIME_UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86400e9)];

impl Span {
    /// The span that lasts this long.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }
    /// A span of whole milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
    /// A span of whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
    /// How long it lasts.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let nanos = parse_number(text, "a span of time such as \"200us\", \"1.5s\" or \"3m\"", &TIME_UNITS)?;
        Ok(Self(Duration::from_nanos(nanos.round() as u64)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos() as f64;
        let (unit, size) = TIME_UNITS
            .iter()
            .rev()
            .find(|(_, size)| *size <= nanos && (nanos / size).fract() == 0.0)
            // 13.003588s tells more than 13003588us.
            .filter(|(_, size)| nanos / size < 10_000.0)
            .or_else(|| TIME_UNITS.iter().take(4).rev().find(|(_, size)| *size <= nanos))
            .unwrap_or(&TIME_UNITS[3]);
        write!(out, "{}{unit}", nanos / size)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::base::units::deserialize_text(deserializer)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\d+(\.\d+)?(ns|us|ms|s|m|h|d)$",
            "description": "a span of time: a number and one of ns, us, ms, s, m, h, d", "examples": ["200us", "1.5s"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_print_with_their_unit() {
        for (text, nanos, printed) in [
            ("200us", 200_000, "200us"),
            ("13003588us", 13_003_588_000, "13.003588s"),
            ("1500ms", 1_500_000_000, "1500ms"),
            ("1.5s", 1_500_000_000, "1500ms"),
            ("3m", 180_000_000_000, "3m"),
            ("0s", 0, "0s"),
            ("90 s", 90_000_000_000, "90s"),
            ("1d", 86_400_000_000_000, "1d"),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.get(), Duration::from_nanos(nanos), "{text}");
            assert_eq!(span.to_string(), printed, "{text}");
        }
        for text in ["", "5", "s", "5x", "-1s", "1e400s", "nan s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
