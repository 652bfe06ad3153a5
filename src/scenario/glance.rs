//! What kind of file a path leads to, before it is read for what it says.

use std::path::Path;

use toml::de::DeTable;

use crate::scenario::include::Files;

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It is run, as is what cannot be read: that tells what is wrong.
    Scenario,
    /// Its strategies are compared: it has `users`, `log` or `strategies`.
    Study,
    /// Its impact is estimated: it has `gap`, `reward` or `cost`.
    Project,
}

/// What is seen of a file at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    /// What it is for, by its keys and those of what it includes.
    pub kind: Kind,
    /// Whether it has a title of its own: without one it is a part that others include, or none of ours. One that is not even TOML counts as titled.
    pub titled: bool,
}

impl Glance {
    /// Reads a file and what it includes, once.
    pub fn at(path: &Path) -> Self {
        let mut files = Files::default();
        let readable = files.read(path).is_empty();
        let has = |table: &DeTable<'_>, keys: &[&str]| keys.iter().any(|key| table.contains_key(*key));
        let titled = files.own().is_some_and(|own| own.is_none_or(|table| has(&table, &["title"])));
        let table = files.merged();
        let kind = if readable && has(&table, &["users", "log", "strategies"]) {
            Kind::Study
        } else if readable && has(&table, &["gap", "reward", "cost"]) {
            Kind::Project
        } else {
            Kind::Scenario
        };
        Self { kind, titled }
    }
}
