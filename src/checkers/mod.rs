//! A checker is a pure function from a history to a verdict; [`service`] is one to figures. Checkers see neither the world nor any system.
//!
//! Each file holds one family: its history (what clients saw, what replicas said of themselves) and the checks over it.

pub mod delivery;
pub mod ensemble;
pub mod experiment;
pub mod refusal;
pub mod registers;
pub mod replication;
pub mod service;

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::base::SimTime;

/// How many counter-examples a check keeps; the count of violations goes on.
const EXAMPLES_MAX: usize = 5;

/// How many characters of a counter-example are kept: one line of a wide terminal.
const EXAMPLE_MAX: usize = 160;

/// One thing that broke a promise, on one line: who, where, what was expected and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// When it was seen, where that is known.
    pub at: Option<SimTime>,
    /// The line, without the time.
    pub text: String,
}

impl fmt::Display for Example {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.iter().try_for_each(|at| write!(out, "{at} "))?;
        out.write_str(&self.text)
    }
}

/// As the line it is.
impl Serialize for Example {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What one check found: how much it looked at, and every way in which the promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// The promise, as an English sentence fragment: "no acknowledged record is lost".
    pub name: &'static str,
    /// How many things (records, operations, replicas) were examined. A check that looked at nothing proves nothing.
    pub looked_at: u64,
    /// How many of them broke the promise.
    pub violations: u64,
    /// In which way, or on which kind of server, the first of them did, where there are several: "of one leader epoch".
    /// Findings of a sweep are grouped by it, so that it holds nothing that a seed chooses: no number, no host, no operation that came
    /// by chance. Empty where the promise says it all.
    pub place: String,
    /// The first few violations, readable, with the identities needed to find them in a trace.
    #[schemars(with = "Vec<String>")]
    pub examples: Vec<Example>,
}

impl Check {
    /// A check that has looked at nothing yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, looked_at: 0, violations: 0, place: String::new(), examples: Vec::new() }
    }

    /// Counts one more thing examined at this time, and `fault`, if there is one, as its violation.
    pub fn look(&mut self, at: impl Into<Option<SimTime>>, fault: Option<String>) {
        self.look_at(at, fault.map(|text| ("", text)));
    }

    /// The same, of a promise that can be broken in several ways: a fault says in which.
    pub fn look_at(&mut self, at: impl Into<Option<SimTime>>, fault: Option<(&str, String)>) {
        self.looked_at += 1;
        let Some((place, mut text)) = fault else { return };
        self.violations += 1;
        if self.violations == 1 {
            place.clone_into(&mut self.place);
        }
        if self.examples.len() < EXAMPLES_MAX {
            if let Some((end, _)) = text.char_indices().nth(EXAMPLE_MAX) {
                text.truncate(end);
                text.push('…');
            }
            self.examples.push(Example { at: at.into(), text });
        }
    }

    /// Counts one more thing examined, which must be as it is promised; `tell` says what it is instead.
    pub fn expect(&mut self, kept: bool, at: impl Into<Option<SimTime>>, tell: impl FnOnce() -> String) {
        self.look(at, (!kept).then(tell));
    }

    /// Whether the promise was kept in everything examined.
    pub fn held(&self) -> bool {
        self.violations == 0
    }
}

/// What the checks of one history say, those that were broken first before the others: what broke first is nearest to the cause, and
/// so the same at most seeds.
pub fn by_time(mut checks: Vec<Check>) -> Vec<Check> {
    let broken = |check: &Check| {
        check.examples.first().map_or(SimTime::NEVER, |example| example.at.unwrap_or(SimTime::NEVER))
    };
    checks.sort_by_key(|check| (check.held(), broken(check)));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_counts_each_thing_once_and_keeps_a_few_short_examples() {
        let mut check = Check::new("all is well");
        check.expect(true, None, || unreachable!("it is as it should be"));
        for number in 0..7 {
            check.expect(false, SimTime::from_nanos(number), || "é".repeat(200));
        }
        assert_eq!((check.looked_at, check.violations, check.examples.len()), (8, 7, EXAMPLES_MAX));
        assert_eq!(check.examples[0].text.chars().count(), EXAMPLE_MAX + 1);
        assert!(check.examples[1].to_string().starts_with("0.000000s é"));
        assert!(!check.held());
    }

    #[test]
    fn the_way_in_which_a_promise_was_first_broken_stays() {
        let mut check = Check::new("all is well");
        check.look_at(None, None);
        assert_eq!(check.place, "");
        for place in ["here", "there"] {
            check.look_at(None, Some((place, "a fault".to_owned())));
        }
        assert_eq!((check.violations, check.place.as_str()), (2, "here"));
    }

    #[test]
    fn what_broke_first_is_told_first() {
        let broken = |name: &'static str, at: Option<u64>| {
            let mut check = Check::new(name);
            check.look(at.map(SimTime::from_nanos), Some("a fault".to_owned()));
            check
        };
        let checks =
            [Check::new("held"), broken("some time", None), broken("late", Some(9)), broken("soon", Some(3))];
        let sorted = by_time([&checks[..], &[broken("as soon", Some(3))]].concat());
        let names: Vec<&str> = sorted.iter().map(|check| check.name).collect();
        assert_eq!(names, ["soon", "as soon", "late", "some time", "held"]);
    }
}
