//! A checker is a pure function from a history to a verdict. Checkers see neither the world nor any system.
//!
//! Each file holds one family: its history (what clients saw, what replicas said of themselves) and the checks over it.

pub mod delivery;
pub mod ensemble;
pub mod registers;
pub mod replication;

use serde::Serialize;

/// How many counter-examples a check keeps; the count of violations goes on.
const EXAMPLES_MAX: usize = 5;

/// What one check found: how much it looked at, and every way in which the promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The promise, as an English sentence fragment: "no acknowledged record is lost".
    pub name: &'static str,
    /// How many things (records, operations, replicas) were examined. A check that looked at nothing proves nothing.
    pub looked_at: u64,
    /// How many of them broke the promise.
    pub violations: u64,
    /// The first few violations, readable, with the identities needed to find them in a trace.
    pub examples: Vec<String>,
}

impl Check {
    /// A check that has looked at nothing yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, looked_at: 0, violations: 0, examples: Vec::new() }
    }

    /// Counts one more thing examined.
    pub fn look(&mut self) {
        self.looked_at += 1;
    }

    /// Counts one violation, and keeps it as an example while there are few.
    pub fn violated(&mut self, example: impl FnOnce() -> String) {
        self.violations += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }

    /// Whether the promise was kept in everything examined.
    pub fn held(&self) -> bool {
        self.violations == 0
    }
}
