//! Sizes, rates, shares and ranges as configuration writes them: every value carries its unit.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::base::{Span, Stream};

/// Why a value with a unit could not be read. The message finishes "cannot read this value: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct UnitError {
    text: String,
    expected: String,
}

impl UnitError {
    /// `text` was found where `expected` ("a span of time such as …") should stand.
    pub fn new(text: &str, expected: impl Into<String>) -> Self {
        Self { text: text.to_owned(), expected: expected.into() }
    }
}

/// Reads a non-negative number followed by one of `units` (name and size). Fails unless the unit is there.
pub(crate) fn parse_number(text: &str, expected: &str, units: &[(&str, f64)]) -> Result<f64, UnitError> {
    let error = || UnitError::new(text, expected);
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
    let number: f64 = trimmed[..split].parse().map_err(|_| error())?;
    let unit = trimmed[split..].trim_start();
    let (_, size) = units.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
    let value = number * size;
    if value.is_finite() && value < 1.8e19 { Ok(value) } else { Err(error()) }
}

/// Deserializes any value that is written as text; a bare number gets the same message as a wrong unit.
pub(crate) fn deserialize_text<'de, D: Deserializer<'de>, T: FromStr<Err = UnitError>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Text<T>(std::marker::PhantomData<T>);
    impl<T: FromStr<Err = UnitError>> de::Visitor<'_> for Text<T> {
        type Value = T;
        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a value with its unit, in quotes")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }
    deserializer.deserialize_any(Text(std::marker::PhantomData))
}

macro_rules! text_value {
    ($name:ident, $pattern:literal, $description:literal, $example:literal) => {
        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_text(deserializer)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description, "examples": [$example] })
            }
        }
    };
}

/// A number of bytes: `"512B"`, `"64KiB"`, `"1GiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

const SIZE_UNITS: [(&str, f64); 5] = [
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
    ("TiB", 1024.0 * 1024.0 * 1024.0 * 1024.0),
];

impl ByteSize {
    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }
    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bytes = parse_number(text, "a size such as \"512B\", \"64KiB\" or \"1GiB\"", &SIZE_UNITS)?;
        Ok(Self(bytes.round() as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = SIZE_UNITS
            .iter()
            .rev()
            .find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size as u64))
            .unwrap_or(&SIZE_UNITS[0]);
        write!(out, "{}{unit}", self.0 / *size as u64)
    }
}

text_value!(
    ByteSize,
    r"^\d+(\.\d+)? ?(B|KiB|MiB|GiB|TiB)$",
    "a size: a number and one of B, KiB, MiB, GiB, TiB",
    "64KiB"
);

/// So many a second: events (`"500/s"`, `"3/m"`) or bytes (`"1GiB/s"`, stored as bytes a second).
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// This many a second.
    pub const fn per_second(number: f64) -> Self {
        Self(number)
    }
    /// How many a second.
    pub const fn get(self) -> f64 {
        self.0
    }
    /// The mean span between two; `None` for a rate of zero.
    pub fn period(self) -> Option<Duration> {
        (0.0 < self.0).then(|| Duration::from_secs_f64(1.0 / self.0))
    }
}

impl FromStr for Rate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected = "a rate such as \"500/s\", \"3/m\" or \"1GiB/s\"";
        let error = || UnitError::new(text, expected);
        let (amount, per) = text.trim().split_once('/').ok_or_else(error)?;
        let amount = match amount.trim().parse::<f64>() {
            Ok(number) if number.is_finite() && 0.0 <= number => number,
            _ => parse_number(amount, expected, &SIZE_UNITS).map_err(|_| error())?,
        };
        let seconds = match per.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(error()),
        };
        Ok(Self(amount / seconds))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/s", self.0)
    }
}

text_value!(
    Rate,
    r"^\d+(\.\d+)? ?(B|KiB|MiB|GiB|TiB)?/(s|m|h)$",
    "a rate: a number or size, then /s, /m or /h",
    "500/s"
);

/// A part of a whole, `"0.1%"`, from 0 % to 100 %.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Share(f64);

impl Share {
    /// The share `part` (0 to 1) of the whole.
    ///
    /// # Panics
    /// If `part` is not within 0 to 1.
    pub const fn new(part: f64) -> Self {
        assert!(0.0 <= part && part <= 1.0, "a share lies within 0 and 1");
        Self(part)
    }
    /// The share as a number from 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected = "a share from \"0%\" to \"100%\"";
        let part = parse_number(text, expected, &[("%", 0.01)])?;
        if part <= 1.0 { Ok(Self(part)) } else { Err(UnitError::new(text, expected)) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

text_value!(Share, r"^\d+(\.\d+)? ?%$", "a share from 0% to 100%", "0.1%");

/// A relative change with its sign: `"+10%"`, `"-2.5%"`; not below −100 %.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Change(f64);

impl Change {
    /// The change by `part` of the whole: 0.1 for ten per cent more.
    pub const fn new(part: f64) -> Self {
        Self(part)
    }
    /// The change as a part of the whole.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Change {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let expected = "a relative change such as \"+10%\" or \"-2.5%\", and not below -100%";
        let trimmed = text.trim();
        let (sign, number) = match trimmed.strip_prefix('-') {
            Some(number) => (-1.0, number),
            None => (1.0, trimmed.strip_prefix('+').unwrap_or(trimmed)),
        };
        let size =
            parse_number(number, expected, &[("%", 0.01)]).map_err(|_| UnitError::new(text, expected))?;
        if sign < 0.0 && 1.0 < size { Err(UnitError::new(text, expected)) } else { Ok(Self(sign * size)) }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:+}%", (self.0 * 1e8).round() / 1e6)
    }
}

text_value!(Change, r"^[+-]?\d+(\.\d+)? ?%$", "a relative change, not below -100%", "+10%");

/// From one value to another, both included: `"2ms..8ms"`; one value alone, `"5ms"`, is the range that holds just it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Range<T> {
    min: T,
    max: T,
}

impl<T: Copy + PartialOrd> Range<T> {
    /// The range from `min` to `max`; `None` if they stand the wrong way round.
    pub fn new(min: T, max: T) -> Option<Self> {
        (min <= max).then_some(Self { min, max })
    }
    /// The smallest value.
    pub fn min(self) -> T {
        self.min
    }
    /// The largest value.
    pub fn max(self) -> T {
        self.max
    }
}

impl Range<Span> {
    /// A span drawn uniformly from the range.
    pub fn draw(self, stream: &mut Stream) -> Duration {
        let (min, max) = (self.min.get().as_nanos() as u64, self.max.get().as_nanos() as u64);
        Duration::from_nanos(if min == max { min } else { stream.random_range(min..=max) })
    }
}

impl<T: FromStr<Err = UnitError> + Copy + PartialOrd> FromStr for Range<T> {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        Self::new(min.parse()?, max.parse()?)
            .ok_or_else(|| UnitError::new(text, "a range: its first value must not exceed its second"))
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for Range<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(out, "{}", self.min)
        } else {
            write!(out, "{}..{}", self.min, self.max)
        }
    }
}

impl<T: fmt::Display + PartialEq> fmt::Debug for Range<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl<T: fmt::Display + PartialEq> Serialize for Range<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: FromStr<Err = UnitError> + Copy + PartialOrd> Deserialize<'de> for Range<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer)
    }
}

impl<T> JsonSchema for Range<T> {
    fn schema_name() -> Cow<'static, str> {
        "Range".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "one value with its unit, or a range of two", "examples": ["5ms", "2ms..8ms"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_and_print_with_their_units() {
        assert_eq!("64KiB".parse(), Ok(ByteSize::new(65536)));
        assert_eq!(ByteSize::new(65536).to_string(), "64KiB");
        assert_eq!(ByteSize::new(0).to_string(), "0B");
        assert_eq!("500/s".parse::<Rate>().map(Rate::get), Ok(500.0));
        assert_eq!("1KiB/s".parse::<Rate>().map(Rate::get), Ok(1024.0));
        assert_eq!("30/m".parse::<Rate>().map(Rate::get), Ok(0.5));
        assert_eq!("0.1%".parse::<Share>().map(|share| share.to_string()), Ok("0.1%".to_owned()));
        assert_eq!(
            "2ms..8ms".parse::<Range<Span>>().map(|range| range.to_string()),
            Ok("2ms..8ms".to_owned())
        );
        assert!("8ms..2ms".parse::<Range<Span>>().is_err());
        for (text, part, printed) in [("+10%", 0.1, "+10%"), ("-2.5 %", -0.025, "-2.5%"), ("0%", 0.0, "+0%")]
        {
            let change: Change = text.parse().expect(text);
            assert_eq!((change.get(), change.to_string()), (part, printed.to_owned()), "{text}");
        }
        assert!("-101%".parse::<Change>().is_err() && "+-1%".parse::<Change>().is_err());
        assert!("101%".parse::<Share>().is_err());
        assert!("5/x".parse::<Rate>().is_err());
        assert!("-5/s".parse::<Rate>().is_err());
        assert!("64 kb".parse::<ByteSize>().is_err());
    }
}
