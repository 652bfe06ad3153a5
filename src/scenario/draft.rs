//! A scenario as one table of plain values that can be changed and written as a file: includes merged, overrides applied.

use std::path::Path;

use toml::{Table, Value};

use crate::scenario::{Scenario, ScenarioError, with_document};
use crate::world::fault::FaultPlan;

/// A scenario that can be changed and written.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// A table.
    root: Value,
}

impl Draft {
    /// Reads a scenario file as [`Scenario::load`] does. Paths in it are absolute from now on.
    ///
    /// # Errors
    /// Everything that keeps it from being run.
    pub fn load(path: &Path, overrides: &[String]) -> Result<(Self, Scenario), ScenarioError> {
        with_document(path, overrides, |document| {
            let scenario = Scenario::from_document(document, path, overrides)?;
            let table: Table = document.whole().map_err(|error| vec![document.mistake(&error)])?;
            let mut draft = Self { root: Value::Table(table) };
            for (index, clickstream) in scenario.workloads.clickstream.iter().enumerate() {
                let source = clickstream.source.canonicalize().unwrap_or(clickstream.source.clone());
                draft.set(&source_path(index), Value::String(source.display().to_string()));
            }
            Ok((draft, scenario))
        })
    }

    /// The value at a dotted path, in which a number counts the entries of a list.
    pub fn get(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.root, |found, key| match found {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            _ => found.get(key),
        })
    }

    /// What holds the last key of a path, and that key; tables on the way are made.
    fn holder<'path>(&mut self, path: &'path str) -> Option<(&mut Value, &'path str)> {
        let mut keys = path.split('.');
        let last = keys.next_back()?;
        let holder = keys.try_fold(&mut self.root, |found, key| match found {
            Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
            Value::Table(table) => Some(table.entry(key).or_insert_with(|| Value::Table(Table::new()))),
            _ => None,
        });
        Some((holder?, last))
    }

    /// Sets the value at a dotted path; tables on the way are made.
    pub fn set(&mut self, path: &str, value: Value) {
        match self.holder(path) {
            Some((Value::Table(table), key)) => drop(table.insert(key.to_owned(), value)),
            Some((Value::Array(items), key)) => {
                if let Some(item) = key.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                    *item = value;
                }
            }
            _ => {}
        }
    }

    /// Removes the value at a dotted path.
    pub fn remove(&mut self, path: &str) {
        match self.holder(path) {
            Some((Value::Table(table), key)) => drop(table.remove(key)),
            Some((Value::Array(items), key)) => {
                if let Some(index) = key.parse().ok().filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            _ => {}
        }
    }

    /// The dotted paths of all values that can be removed alone: what stands in tables, and the entries of lists of tables. Outer
    /// ones come first.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        paths_in(&self.root, "", &mut paths);
        paths
    }

    /// The faults that are planned in it.
    pub fn plan(&self) -> FaultPlan {
        let plan = self.get("plan").cloned();
        plan.and_then(|plan| plan.try_into().ok()).unwrap_or_default()
    }

    /// Puts a plan in the place of the one in it. What the rules draw comes besides.
    pub fn set_plan(&mut self, plan: &FaultPlan) {
        self.remove("plan");
        if !plan.faults.is_empty() {
            self.set("plan", Value::try_from(plan).expect("a plan holds nothing TOML cannot say"));
        }
    }

    /// Puts a plan in the place of all faults, those that its rules draw too.
    pub fn replace_faults(&mut self, plan: &FaultPlan) {
        self.remove("faults");
        self.set_plan(plan);
    }

    /// The text of a scenario file in this folder: paths are relative to it where they can be.
    pub fn text(&self, folder: &Path) -> String {
        let mut relative = self.clone();
        let here = if folder == Path::new("") { Path::new(".") } else { folder };
        let folder = here.canonicalize().unwrap_or(folder.to_owned());
        for index in 0.. {
            let path = source_path(index);
            let Some(source) = self.get(&path).and_then(Value::as_str) else { break };
            if let Some(shorter) = pathdiff::diff_paths(source, &folder) {
                relative.set(&path, Value::String(shorter.display().to_string()));
            }
        }
        let mut text = String::new();
        let table = relative.root.as_table().expect("a scenario is a table");
        write_sections(table, "", &mut text);
        text.trim_start().to_owned()
    }
}

fn source_path(index: usize) -> String {
    format!("workloads.clickstream.{index}.source")
}

/// The paths of the entries of a table, or of the tables in a list, and of what stands in them.
fn paths_in(value: &Value, parent: &str, paths: &mut Vec<String>) {
    let mut add = |key: &str, value: &Value| {
        let path = within(parent, key);
        paths.push(path.clone());
        paths_in(value, &path, paths);
    };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| add(key, value)),
        Value::Array(items) => {
            let tables = items.iter().enumerate().filter(|(_, item)| item.is_table());
            tables.for_each(|(index, item)| add(&index.to_string(), item));
        }
        _ => {}
    }
}

/// The path of a key in what stands at another.
fn within(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

fn is_list_of_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_table))
}

/// Writes tables as sections; what stands deeper than a section is written on one line.
fn write_sections(table: &Table, path: &str, text: &mut String) {
    let holds_sections = |value: &Value| value.is_table() || is_list_of_tables(value);
    let only_sections = !table.is_empty() && table.values().all(holds_sections);
    if !path.is_empty() && !only_sections {
        text.push_str(&format!("\n[{path}]\n"));
        write_lines(table.iter(), text);
        return;
    }
    write_lines(table.iter().filter(|(_, value)| !holds_sections(value)), text);
    for (key, value) in table {
        let path = within(path, key);
        match value {
            Value::Table(inner) => write_sections(inner, &path, text),
            Value::Array(items) if is_list_of_tables(value) => {
                for item in items.iter().filter_map(Value::as_table) {
                    text.push_str(&format!("\n[[{path}]]\n"));
                    write_lines(item.iter(), text);
                }
            }
            _ => {}
        }
    }
}

fn write_lines<'table>(entries: impl Iterator<Item = (&'table String, &'table Value)>, text: &mut String) {
    entries.for_each(|(key, value)| text.push_str(&format!("{key} = {value}\n")));
}
