//! Reads a scenario file and what it includes, and lays the tables over one another: what comes later wins, tables are merged key
//! by key, arrays of tables are appended (an empty array clears what was included), everything else is replaced.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::scenario::error::Mistake;
use crate::scenario::nearest::nearest;
use crate::scenario::source::{Sources, Value, moved};

/// The files of one scenario, in the order in which they are laid over one another.
#[derive(Default)]
pub(super) struct Files {
    pub(super) sources: Sources,
    order: Vec<usize>,
    /// The files being read, outermost first: one that includes any of them would never end.
    open: Vec<PathBuf>,
    /// The files read: one that is included twice counts once.
    read: Vec<PathBuf>,
}

impl Files {
    /// Reads `path` and what it includes.
    pub(super) fn read(&mut self, path: &Path) -> Vec<Mistake> {
        match read_text(path) {
            Ok(text) => self.include(path, &text),
            Err(problem) => vec![Mistake::new(problem.message).mend(problem.mend)],
        }
    }

    fn include(&mut self, path: &Path, text: &str) -> Vec<Mistake> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let begins = self.sources.add(path.display().to_string(), text, folder);
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut mistakes: Vec<Mistake> = errors
            .into_iter()
            .map(|error| {
                let span = error.span().unwrap_or_default();
                let span = span.start + begins..span.end + begins;
                let cause = error.message().lines().collect::<Vec<_>>().join(", ");
                self.sources
                    .mistake(span, format!("{} is not TOML", path.display()), cause)
                    .mend(syntax_advice(error.message()))
            })
            .collect();
        self.open.push(canonical(path));
        self.read.push(canonical(path));
        for (included, span) in included(table.get_ref()) {
            mistakes.extend(self.included(&folder.join(included), span.start + begins..span.end + begins));
        }
        self.open.pop();
        self.order.push(begins);
        mistakes
    }

    fn included(&mut self, path: &Path, span: Range<usize>) -> Vec<Mistake> {
        let identity = canonical(path);
        if let Some(at) = self.open.iter().position(|open| *open == identity) {
            let names = self.open[at..].iter().chain([&identity]).filter_map(|path| path.file_name());
            let circle: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
            let message = format!("cannot include {}", path.display());
            let cause = format!("it would never end: {}", circle.join(" includes "));
            let mend = Some("move what both need into a third file".to_owned());
            return vec![self.sources.mistake(span, message, cause).mend(mend)];
        }
        if self.read.contains(&identity) {
            return Vec::new();
        }
        match read_text(path) {
            Ok(text) => self.include(path, &text),
            Err(problem) => {
                let message = format!("cannot include {}", path.display());
                vec![self.sources.mistake(span, message, problem.message).mend(problem.mend)]
            }
        }
    }

    /// The table of the file that was read first, and none inside if it is not TOML; none at all if it could not be read.
    pub(super) fn own(&self) -> Option<Option<DeTable<'_>>> {
        let (table, errors) = DeTable::parse_recoverable(self.sources.text(*self.order.last()?));
        Some(errors.is_empty().then(|| table.into_inner()))
    }

    /// All files laid over one another, without their `include` keys.
    pub(super) fn merged(&self) -> DeTable<'_> {
        let mut merged = DeTable::new();
        for begins in &self.order {
            let (table, _) = DeTable::parse_recoverable(self.sources.text(*begins));
            let mut table = moved(table.into_inner(), *begins);
            if table.get("include").is_some_and(is_list_of_names) {
                table.remove("include");
            }
            lay_over(&mut merged, table);
        }
        merged
    }
}

fn is_list_of_names(value: &Value<'_>) -> bool {
    let array = value.get_ref().as_array();
    array.is_some_and(|items| items.iter().all(|item| item.get_ref().is_str()))
}

/// The names under `include`, each with its span. Anything else there is told when the file as a whole is read.
fn included(table: &DeTable<'_>) -> Vec<(String, Range<usize>)> {
    let array = table.get("include").and_then(|value| value.get_ref().as_array());
    let items = array.into_iter().flatten();
    items.filter_map(|item| Some((item.get_ref().as_str()?.to_owned(), item.span()))).collect()
}

fn lay_over<'text>(below: &mut DeTable<'text>, above: DeTable<'text>) {
    for (key, value) in above {
        match (below.get_mut(key.get_ref().as_ref()).map(|value| value.get_mut()), value.get_ref()) {
            (Some(DeValue::Table(below)), DeValue::Table(_)) => {
                if let DeValue::Table(above) = value.into_inner() {
                    lay_over(below, above);
                }
            }
            (Some(DeValue::Array(below)), DeValue::Array(above))
                if are_tables(below) && are_tables(above) =>
            {
                if let DeValue::Array(above) = value.into_inner() {
                    above.into_iter().for_each(|item| below.push(item));
                }
            }
            _ => {
                // Out and in again, so that the key's span is that of the file which has the last word.
                below.remove(key.get_ref().as_ref());
                below.insert(key, value);
            }
        }
    }
}

fn are_tables(array: &[Value<'_>]) -> bool {
    !array.is_empty() && array.iter().all(|item| item.get_ref().is_table())
}

/// Why a file cannot be read, and what may have been meant.
pub(super) struct Unreadable {
    pub(super) message: String,
    pub(super) mend: Option<String>,
}

#[expect(clippy::disallowed_methods, reason = "scenario files belong to the user, outside any run")]
pub(super) fn read_text(path: &Path) -> Result<String, Unreadable> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

/// Tells a file that cannot be read, with the nearest name in its folder.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Unreadable {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    let near = nearest(&wanted, names.iter().map(String::as_str)).filter(|name| *name != wanted);
    Unreadable {
        message: format!("cannot read {}: {reason}", path.display()),
        mend: near.map(|name| format!("did you mean `{}`?", path.with_file_name(name).display())),
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn syntax_advice(message: &str) -> Option<String> {
    let advice = if message.contains("duplicate") {
        "give each key once; a table that continues elsewhere is written once too"
    } else if message.contains("quot") || message.contains("string") {
        "text and values with units stand in double quotes: stir = \"60s\""
    } else {
        "a line is `key = value`, `[table]` or `[[list of tables]]`; text stands in double quotes"
    };
    Some(advice.to_owned())
}
