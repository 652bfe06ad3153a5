//! A scenario as one table of plain values that can be changed and written as a file: includes merged, overrides applied.

use std::path::Path;

use toml::{Table, Value};

use crate::scenario::{Scenario, ScenarioError, with_document};
use crate::world::fault::FaultPlan;

/// A scenario that can be changed and written.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    table: Table,
}

impl Draft {
    /// Reads a scenario file as [`Scenario::load`] does. Paths in it are absolute from now on.
    ///
    /// # Errors
    /// Everything that keeps it from being run.
    pub fn load(path: &Path, overrides: &[String]) -> Result<(Self, Scenario), ScenarioError> {
        let scenario = Scenario::load(path, overrides)?;
        let mut table: Table = with_document(path, overrides, |document| {
            document.whole().map_err(|error| vec![document.mistake(&error)])
        })?;
        // What is said by being left out stands in the file: another default would change what it finds.
        table.insert("seed".to_owned(), Value::Integer(scenario.seed.get() as i64));
        let mut draft = Self { table };
        for (index, clickstream) in scenario.workloads.clickstream.iter().enumerate() {
            let source = clickstream.source.canonicalize().unwrap_or(clickstream.source.clone());
            draft.set(&source_path(index), Value::String(source.display().to_string()));
        }
        Ok((draft, scenario))
    }

    /// The value at a dotted path, in which a number counts the entries of a list.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut found = self.table.get(first)?;
        for key in rest.split('.').filter(|key| !key.is_empty()) {
            found = match key.parse::<usize>() {
                Ok(index) if found.is_array() => found.get(index)?,
                _ => found.get(key)?,
            };
        }
        Some(found)
    }

    fn holder(&mut self, path: &str) -> Option<&mut Value> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut found = self.table.entry(first).or_insert_with(|| Value::Table(Table::new()));
        for key in rest.split('.').filter(|key| !key.is_empty()) {
            found = match found {
                Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?)?,
                Value::Table(table) => table.entry(key).or_insert_with(|| Value::Table(Table::new())),
                _ => return None,
            };
        }
        Some(found)
    }

    /// Sets the value at a dotted path; tables on the way are made.
    pub fn set(&mut self, path: &str, value: Value) {
        match path.rsplit_once('.') {
            None => drop(self.table.insert(path.to_owned(), value)),
            Some((parent, key)) => match self.holder(parent) {
                Some(Value::Table(table)) => drop(table.insert(key.to_owned(), value)),
                Some(Value::Array(items)) => {
                    if let Some(item) = key.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                        *item = value;
                    }
                }
                _ => {}
            },
        }
    }

    /// Removes the value at a dotted path.
    pub fn remove(&mut self, path: &str) {
        match path.rsplit_once('.') {
            None => drop(self.table.remove(path)),
            Some((parent, key)) => match self.holder(parent) {
                Some(Value::Table(table)) => drop(table.remove(key)),
                Some(Value::Array(items)) => {
                    if let Some(index) = key.parse().ok().filter(|index| *index < items.len()) {
                        items.remove(index);
                    }
                }
                _ => {}
            },
        }
    }

    /// The dotted paths of all values that can be removed alone: what stands in tables, and the entries of lists of tables. Outer
    /// ones come first.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        paths_in(&self.table, "", &mut paths);
        paths
    }

    /// The faults that are planned in it.
    pub fn plan(&self) -> FaultPlan {
        let plan = self.table.get("plan").cloned();
        plan.and_then(|plan| plan.try_into().ok()).unwrap_or_default()
    }

    /// Puts a plan in the place of all rules of faults.
    pub fn set_plan(&mut self, plan: &FaultPlan) {
        self.table.remove("faults");
        self.table.remove("plan");
        if !plan.faults.is_empty() {
            let plan = Value::try_from(plan).expect("a plan holds nothing TOML cannot say");
            self.table.insert("plan".to_owned(), plan);
        }
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
        write_sections(&relative.table, "", &mut text);
        text.trim_start().to_owned()
    }
}

fn source_path(index: usize) -> String {
    format!("workloads.clickstream.{index}.source")
}

fn paths_in(table: &Table, parent: &str, paths: &mut Vec<String>) {
    for (key, value) in table {
        let path = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
        paths.push(path.clone());
        match value {
            Value::Table(inner) => paths_in(inner, &path, paths),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Value::Table(inner) = item {
                        let path = format!("{path}.{index}");
                        paths.push(path.clone());
                        paths_in(inner, &path, paths);
                    }
                }
            }
            _ => {}
        }
    }
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
        write_lines(table, text);
        return;
    }
    for (key, value) in table.iter().filter(|(_, value)| !holds_sections(value)) {
        text.push_str(&format!("{key} = {value}\n"));
    }
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => write_sections(inner, &path, text),
            Value::Array(items) if is_list_of_tables(value) => {
                for item in items.iter().filter_map(Value::as_table) {
                    text.push_str(&format!("\n[[{path}]]\n"));
                    write_lines(item, text);
                }
            }
            _ => {}
        }
    }
}

fn write_lines(table: &Table, text: &mut String) {
    for (key, value) in table {
        text.push_str(&format!("{key} = {value}\n"));
    }
}
