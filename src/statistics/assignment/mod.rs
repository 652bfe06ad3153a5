//! Which arm a unit gets, as a pure function of its name: the hash schemes of three products, bit for bit.
//!
//! | scheme | hash | of |
//! |---|---|---|
//! | [`planout`] | the first 60 bits of SHA-1 | bytes of `salt.variable.unit` |
//! | [`growthbook`] | FNV-1a of 32 bits, once or twice | UTF-16 units of seed and unit |
//! | [`optimizely`] | MurmurHash3 of 32 bits, seed 1 | bytes of unit and experiment |
//!
//! A unit is text or a whole number. What one product prints as `1`, another as `1.0` and a third as `true` cannot be written here, and what would
//! make two units one is refused: see [`Ambiguity`].

pub mod growthbook;
pub mod interpreter;
pub mod optimizely;
pub mod planout;

use thiserror::Error;

/// What is assigned: a user, a cookie, a session. The number 1 and the text "1" are the same unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit<'a> {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(&'a str),
}

impl From<i64> for Unit<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Unit<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// Why a unit is refused: it would share its hash with another one by its spelling alone.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Ambiguity {
    /// There is none: all users without a cookie would be one.
    #[error("no unit")]
    Nothing,
    /// A part is empty.
    #[error("an empty unit")]
    Empty,
    /// A part of a compound unit holds the separator: `a.b` and `c` would be `a` and `b.c`.
    #[error("the part `{0}` of a compound unit holds a `.`, which separates parts")]
    Separator(String),
    /// The type of a value is none of a unit: fractions, truth values, nothing, lists within lists and maps are spelt differently everywhere.
    #[error("a unit that is neither text nor a whole number: {0}")]
    Type(String),
}

/// Fails unless the parts of a unit can be told from any other's.
///
/// # Errors
/// See [`Ambiguity`].
pub fn check(unit: &[Unit<'_>]) -> Result<(), Ambiguity> {
    if unit.is_empty() {
        return Err(Ambiguity::Nothing);
    }
    for part in unit {
        let Unit::Text(text) = part else { continue };
        if text.is_empty() {
            return Err(Ambiguity::Empty);
        }
        if 1 < unit.len() && text.contains('.') {
            return Err(Ambiguity::Separator((*text).to_owned()));
        }
    }
    Ok(())
}
