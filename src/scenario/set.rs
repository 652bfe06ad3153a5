//! Overrides: `--set systems.broker.brokers=5` lays one value over the files.
//!
//! A path is keys with dots between them. Within a list a number counts from 0 (`faults.0.every`), and a name finds the entry with
//! that `name` (`systems.broker.topics.clicks.replicas`). The value is TOML; what is not, is text: `acts.stir=10s`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::scenario::source::{Value, moved_value};

/// Why an override cannot be applied: where in its text, the cause, and the mend.
pub(super) struct SetError {
    pub(super) span: Range<usize>,
    pub(super) cause: String,
    pub(super) mend: Option<String>,
}

/// Lays an override over the tables. `begins` is where its text begins among all texts.
pub(super) fn set<'text>(
    table: &mut DeTable<'text>,
    text: &'text str,
    begins: usize,
) -> Result<(), SetError> {
    let Some((path, value)) = text.split_once('=') else {
        return Err(SetError {
            span: begins..begins + text.len(),
            cause: "there is no `=` in it".to_owned(),
            mend: Some("write a path, `=` and a value: --set acts.stir=10s".to_owned()),
        });
    };
    let value = value_of(value, begins + path.len() + 1)?;
    let segments = segments(path, begins)?;
    if segments[0].0 == "include" {
        return Err(SetError {
            span: segments[0].1.clone(),
            cause: "files are included before values are set".to_owned(),
            mend: Some("write a scenario file that includes both".to_owned()),
        });
    }
    put(table, &segments, value)
}

fn value_of(text: &str, begins: usize) -> Result<Value<'_>, SetError> {
    let trimmed = text.trim();
    let lead = begins + (text.len() - text.trim_start().len());
    match DeValue::parse(trimmed) {
        Ok(value) => Ok(moved_value(value, lead)),
        Err(error) if trimmed.starts_with(['[', '{', '"', '\'']) => Err(SetError {
            span: lead..lead + trimmed.len(),
            cause: error.message().lines().collect::<Vec<_>>().join(", "),
            mend: Some("the value is TOML; in a shell, put the whole override into single quotes".to_owned()),
        }),
        Err(_) => Ok(Spanned::new(lead..lead + trimmed.len(), DeValue::String(trimmed.into()))),
    }
}

type Segment<'text> = (&'text str, Range<usize>);

fn segments(path: &str, begins: usize) -> Result<Vec<Segment<'_>>, SetError> {
    let mut segments = Vec::new();
    let mut at = begins;
    for part in path.split('.') {
        let name = part.trim();
        let span = at..at + part.len();
        if name.is_empty() {
            return Err(SetError {
                span: begins..begins + path.len().max(1),
                cause: "a key is missing in the path".to_owned(),
                mend: Some("write keys with single dots between them: systems.broker.brokers".to_owned()),
            });
        }
        segments.push((name, span));
        at += part.len() + 1;
    }
    Ok(segments)
}

fn put<'text>(
    table: &mut DeTable<'text>,
    path: &[Segment<'text>],
    value: Value<'text>,
) -> Result<(), SetError> {
    let ((name, span), rest) = path.split_first().expect("a path has at least one key");
    if rest.is_empty() {
        table.remove(*name);
        table.insert(Spanned::new(span.clone(), (*name).into()), value);
        return Ok(());
    }
    if !table.contains_key(*name) {
        let within = Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
        table.insert(Spanned::new(span.clone(), (*name).into()), within);
    }
    put_within(table.get_mut(*name).expect("it was just put there").get_mut(), name, rest, value)
}

fn put_within<'text>(
    within: &mut DeValue<'text>,
    name: &str,
    path: &[Segment<'text>],
    value: Value<'text>,
) -> Result<(), SetError> {
    let array = match within {
        DeValue::Table(table) => return put(table, path, value),
        DeValue::Array(array) => array,
        _ => {
            return Err(SetError {
                span: path[0].1.clone(),
                cause: format!("`{name}` is a value and has nothing within"),
                mend: None,
            });
        }
    };
    let ((key, span), rest) = path.split_first().expect("a value is set at the end of a path");
    let named =
        |item: &Value<'_>| item.get_ref().get("name").and_then(|name| name.get_ref().as_str()) == Some(key);
    let index = key.parse().ok().or_else(|| array.iter().position(named));
    let count = array.len();
    match index.and_then(|index: usize| array.get_mut(index)) {
        Some(item) if rest.is_empty() => {
            *item = value;
            Ok(())
        }
        Some(item) => put_within(item.get_mut(), key, rest, value),
        None => Err(SetError {
            span: span.clone(),
            cause: match count {
                0 => format!("the list `{name}` is empty"),
                _ => format!("the list `{name}` has {count} entries, and none is `{key}`"),
            },
            mend: Some(match count {
                0 => format!("set the whole list: --set '{name}=[…]'"),
                _ => format!("count from 0 to {}, or give the `name` of an entry", count - 1),
            }),
        }),
    }
}
