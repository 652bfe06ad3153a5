//! The assignment of GrowthBook's SDKs: <https://docs.growthbook.io/lib/build-your-own>.

use crate::statistics::assignment::{Ambiguity, Unit, check};

/// Which hash an experiment uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// A thousand places. Experiments with related seeds are correlated: for experiments that run on.
    One,
    /// Ten thousand places, hashed twice.
    Two,
}

/// A part of the places, from `start` up to but without `end`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Range {
    /// The first place.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
}

impl Range {
    /// Whether a place lies in it.
    pub fn contains(&self, place: f64) -> bool {
        self.start <= place && place < self.end
    }
}

/// The place of a value within [0, 1):
///
/// ```text
/// version 1    fnv1a(value + seed) mod 1000 / 1000
/// version 2    fnv1a(decimal(fnv1a(seed + value))) mod 10000 / 10000
/// ```
///
/// over UTF-16 units, as in JavaScript: a unit beyond the basic plane counts as two.
pub fn hash(seed: &str, value: &str, version: Version) -> f64 {
    match version {
        Version::One => f64::from(fnv1a(value.encode_utf16().chain(seed.encode_utf16())) % 1000) / 1000.0,
        Version::Two => {
            let first = fnv1a(seed.encode_utf16().chain(value.encode_utf16()));
            f64::from(fnv1a_decimal(first) % 10_000) / 10_000.0
        }
    }
}

/// The place of a unit: that of its decimal or its text.
///
/// # Errors
/// If it is empty.
pub fn place(seed: &str, unit: Unit<'_>, version: Version) -> Result<f64, Ambiguity> {
    check(&[unit])?;
    Ok(match unit {
        Unit::Number(number) => hash(seed, &number.to_string(), version),
        Unit::Text(text) => hash(seed, text, version),
    })
}

/// The places of each variation: side by side in proportion to their weights, of which each fills only the share `coverage` from its start on.
/// As in the SDKs, weights that are too few, too many, or do not add up to 1 ± .01 are taken as equal, and the coverage is brought into [0, 1].
pub fn ranges(count: usize, coverage: f64, weights: &[f64]) -> Vec<Range> {
    let coverage = if coverage.is_nan() { 0.0 } else { coverage.clamp(0.0, 1.0) };
    let sum: f64 = weights.iter().sum();
    let usable = weights.len() == count && (0.99..=1.01).contains(&sum);
    let equal = 1.0 / count as f64;
    let mut start = 0.0;
    (0..count)
        .map(|variation| {
            let weight = if usable { weights[variation] } else { equal };
            let range = Range { start, end: start + coverage * weight };
            start += weight;
            range
        })
        .collect()
}

/// The variation whose range holds a place; none for those that the coverage leaves out.
pub fn choose(place: f64, ranges: &[Range]) -> Option<usize> {
    ranges.iter().position(|range| range.contains(place))
}

/// The hash FNV-1a of 32 bits (Fowler, Noll and Vo), over units of which each is taken in whole rather than byte by byte.
fn fnv1a(units: impl Iterator<Item = u16>) -> u32 {
    units.fold(0x811c_9dc5, |hash, unit| (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193))
}

fn fnv1a_decimal(number: u32) -> u32 {
    let mut digits = [0; 10];
    let mut length = 0;
    let mut left = number;
    loop {
        digits[length] = u16::from(b'0') + (left % 10) as u16;
        length += 1;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    fnv1a(digits[..length].iter().rev().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_beyond_the_basic_plane_is_hashed_as_javascript_does() {
        let javascript = fnv1a([0xd83d, 0xde00].into_iter());
        assert_eq!(hash("", "\u{1f600}", Version::One), f64::from(javascript % 1000) / 1000.0);
    }

    #[test]
    fn a_decimal_is_hashed_as_its_text() {
        for number in [0, 7, 10, 4_294_967_295, 1_000_000_007] {
            assert_eq!(fnv1a_decimal(number), fnv1a(number.to_string().encode_utf16()));
        }
    }

    #[test]
    fn ranges_keep_their_starts_when_the_coverage_changes() {
        let range = |start, end| Range { start, end };
        assert_eq!(ranges(2, 1.0, &[]), [range(0.0, 0.5), range(0.5, 1.0)]);
        assert_eq!(ranges(2, 0.5, &[0.4, 0.6]), [range(0.0, 0.2), range(0.4, 0.7)]);
        assert_eq!(ranges(2, 2.0, &[0.4, 0.1]), [range(0.0, 0.5), range(0.5, 1.0)]);
        assert_eq!(choose(0.3, &ranges(2, 0.5, &[])), None);
        assert_eq!(choose(0.5, &ranges(2, 0.5, &[])), Some(1));
        assert_eq!(ranges(0, 1.0, &[]), []);
    }

    #[test]
    fn an_empty_unit_is_refused() {
        assert_eq!(place("seed", "".into(), Version::Two), Err(Ambiguity::Empty));
        assert_eq!(place("seed", 12.into(), Version::Two), place("seed", "12".into(), Version::Two));
    }
}
