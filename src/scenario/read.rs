//! From tables to types. The whole file is read at once; only if that fails, each part is tried alone, so that several mistakes
//! are told at once.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

use crate::scenario::error::Mistake;
use crate::scenario::file::{Acts, Expect, ScenarioFile, Systems, Workloads, Zones};
use crate::scenario::nearest::advice;
use crate::scenario::shape::wrong_type;
use crate::scenario::source::{Sources, Value};
use crate::systems::{allocator, broker, coordination};
use crate::workloads::{clickstream, experiment, registers};
use crate::world::ClockConfig;
use crate::world::fault::{FaultPlan, FaultRule, PlannedFault};

/// A table and the texts its spans point into.
pub(super) struct Document<'text> {
    pub(super) table: DeTable<'text>,
    pub(super) sources: &'text Sources,
}

impl<'text> Document<'text> {
    /// Reads the whole document as a scenario file.
    pub(super) fn scenario(&self) -> Result<ScenarioFile, Vec<Mistake>> {
        let whole = match self.whole::<ScenarioFile>() {
            Ok(file) => return Ok(file),
            Err(error) => error,
        };
        let mut errors = Vec::new();
        self.part::<Acts>("acts", &mut errors);
        self.part::<Zones>("zones", &mut errors);
        self.part::<ClockConfig>("clocks", &mut errors);
        self.part::<coordination::Config>("systems.coordination", &mut errors);
        self.part::<broker::Config>("systems.broker", &mut errors);
        self.part::<allocator::Config>("systems.allocator", &mut errors);
        self.part::<Systems>("systems", &mut errors);
        self.each::<clickstream::Config>("workloads.clickstream", &mut errors);
        self.each::<registers::Config>("workloads.registers", &mut errors);
        self.part::<experiment::Config>("workloads.experiment", &mut errors);
        self.part::<Workloads>("workloads", &mut errors);
        self.each::<FaultRule>("faults", &mut errors);
        self.each::<PlannedFault>("plan.faults", &mut errors);
        self.part::<FaultPlan>("plan", &mut errors);
        self.part::<Expect>("expect", &mut errors);
        errors.push(whole);
        // The whole and its parts meet the same mistake: told once, because a place is told once.
        Err(errors.iter().map(|error| self.mistake(error)).collect())
    }

    /// Reads the whole document as any type.
    pub(super) fn whole<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(ValueDeserializer::from(Spanned::new(0..1, DeValue::Table(self.table.clone()))))
    }

    /// Reads a part, if it is there; what is wrong with it is added to the errors.
    pub(super) fn part<T: DeserializeOwned>(&self, path: &str, errors: &mut Vec<Error>) {
        if let Some(value) = self.value(path) {
            errors.extend(T::deserialize(ValueDeserializer::from(value.clone())).err());
        }
    }

    /// Reads each entry of a list.
    pub(super) fn each<T: DeserializeOwned>(&self, path: &str, errors: &mut Vec<Error>) {
        let items = self.value(path).and_then(|value| value.get_ref().as_array());
        for item in items.into_iter().flatten() {
            errors.extend(T::deserialize(ValueDeserializer::from(item.clone())).err());
        }
    }

    /// The value at a dotted path.
    pub(super) fn value(&self, path: &str) -> Option<&Value<'text>> {
        let (found, rest) = self.deepest(path);
        found.filter(|_| rest.is_empty())
    }

    /// The span of the value at a dotted path; of the innermost table that exists, if the value itself is a default.
    pub(super) fn span(&self, path: &str) -> Range<usize> {
        self.deepest(path).0.map_or(0..0, Spanned::span)
    }

    fn deepest<'path>(&self, path: &'path str) -> (Option<&Value<'text>>, Vec<&'path str>) {
        let mut keys: Vec<&str> = path.split('.').rev().collect();
        let Some(first) = keys.last().and_then(|key| self.table.get(*key)) else { return (None, keys) };
        keys.pop();
        let mut found = first;
        while let Some(key) = keys.last() {
            let inner = found.get_ref();
            let Some(next) = inner.get(*key).or_else(|| inner.get(key.parse::<usize>().ok()?)) else { break };
            keys.pop();
            found = next;
        }
        (Some(found), keys)
    }

    /// What the deserialiser says, in the words of a scenario's author.
    pub(super) fn mistake(&self, error: &Error) -> Mistake {
        let span = error.span().unwrap_or(0..0);
        let said = error.message();
        let path = path_to(&self.table, &span).unwrap_or_default();
        if let Some((name, known)) = unknown(said, "unknown field ").or_else(|| unexpected(said)) {
            let message = format!("unknown key `{path}`");
            let cause = "nothing reads this key".to_owned();
            return self
                .sources
                .mistake(span, message, cause)
                .mend(advice(&name, known.iter().map(String::as_str)));
        }
        let message =
            if path.is_empty() { "cannot use this file".to_owned() } else { format!("cannot read `{path}`") };
        if let Some((name, known)) = unknown(said, "unknown variant ") {
            let cause = format!("`{name}` is not known here");
            return self
                .sources
                .mistake(span, message, cause)
                .mend(advice(&name, known.iter().map(String::as_str)));
        }
        if let Some(name) = said.strip_prefix("missing field ") {
            let table = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
            let cause = format!("{name} is missing");
            let mend = Some(format!("add {name} to {table}"));
            return self.sources.mistake(span, message, cause).mend(mend);
        }
        if let Some(told) = wrong_type(said, &path) {
            return self.sources.mistake(span, message, told.cause).mend(Some(told.mend));
        }
        // "`5x` is not a span of time such as "200us"": the cause, and an example that mends it.
        match said.split_once(" such as ") {
            Some((cause, examples)) => {
                let mend = Some(format!("write a number and its unit, for instance {examples}"));
                self.sources.mistake(span, message, cause.to_owned()).mend(mend)
            }
            None => self.sources.mistake(span, message, said.replace('\n', ", ")),
        }
    }
}

/// Takes "unknown field `x`, expected one of `a`, `b`" apart: the name, and those that are known.
fn unknown(message: &str, prefix: &str) -> Option<(String, Vec<String>)> {
    let mut quoted = message.strip_prefix(prefix)?.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((quoted.next()?, quoted.collect()))
}

/// Takes "unexpected keys in table: x, available keys: a, b" apart, which is how the parameters of an enum are refused.
fn unexpected(message: &str) -> Option<(String, Vec<String>)> {
    let (found, known) =
        message.strip_prefix("unexpected keys in table: ")?.split_once(", available keys: ")?;
    Some((found.split(", ").next()?.to_owned(), known.split(", ").map(str::to_owned).collect()))
}

/// The dotted path to the key or value that has exactly this span.
fn path_to(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        if key.span() == *span {
            return Some(name.to_string());
        }
        path_in(value, span)
            .map(|path| if path.is_empty() { name.to_string() } else { format!("{name}.{path}") })
    })
}

/// The path within a value; empty if it is the value itself. What lies deeper is meant before what holds it.
fn path_in(value: &Value<'_>, span: &Range<usize>) -> Option<String> {
    let within = match value.get_ref() {
        DeValue::Table(table) => path_to(table, span),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(index, item)| {
            let path = path_in(item, span)?;
            Some(if path.is_empty() { index.to_string() } else { format!("{index}.{path}") })
        }),
        _ => None,
    };
    within.or_else(|| (value.span() == *span).then(String::new))
}
