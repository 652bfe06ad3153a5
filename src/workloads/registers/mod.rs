//! Registers: concurrent reads, writes, compare-and-set, ephemerals and locks on coordination.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Problem, Rate, Span};

/// A registers workload of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name of this workload and the first part of its hosts' names, unique in the scenario (default `registers`).
    pub name: String,
    /// How many clients, each on a host of its own (default 4).
    pub clients: u32,
    /// How many registers they share (default 5).
    pub registers: u32,
    /// How often each client begins an operation (default 20/s).
    pub rate: Rate,
    /// The time-out of each client's session (default 2s).
    pub session_timeout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "registers".to_owned(),
            clients: 4,
            registers: 5,
            rate: Rate::per_second(20.0),
            session_timeout: Span::secs(2),
        }
    }
}

impl Config {
    /// What no run could make of these settings.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, value, max) in [("clients", self.clients, 100), ("registers", self.registers, 1000)] {
            if !(1..=max).contains(&value) {
                problems.push(Problem::new(name, format!("{value} is not from 1 to {max}")));
            }
        }
        if self.rate.get() <= 0.0 || 1e5 < self.rate.get() {
            problems.push(Problem::new("rate", "must be above 0/s and at most 100000/s"));
        }
        problems
    }
}
