//! The texts a scenario is made of (files, and `--set` arguments), laid end to end so that one span names a place in any of them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{NamedSource, SourceSpan};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::scenario::error::Mistake;

/// A value whose span lies in [`Sources`].
pub(super) type Value<'text> = Spanned<DeValue<'text>>;

/// One text and where it begins among all.
struct Source {
    begins: usize,
    name: String,
    text: Arc<str>,
    folder: PathBuf,
}

/// All texts read so far.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text; paths in it are relative to `folder`. Returns where it begins.
    pub(super) fn add(&mut self, name: String, text: &str, folder: &Path) -> usize {
        // One more than the length, so that the end of a text is not the beginning of the next.
        let begins = self.0.last().map_or(0, |last| last.begins + last.text.len() + 1);
        self.0.push(Source { begins, name, text: text.into(), folder: folder.to_owned() });
        begins
    }

    /// The text that begins at `begins`.
    pub(super) fn text(&self, begins: usize) -> &str {
        &self.source(begins).text
    }

    fn source(&self, at: usize) -> &Source {
        let after = self.0.partition_point(|source| source.begins <= at);
        &self.0[after.checked_sub(1).expect("the first text begins at 0")]
    }

    /// The folder to which paths written at this place are relative.
    pub(super) fn folder(&self, at: usize) -> &Path {
        &self.source(at).folder
    }

    /// A mistake at a place: what cannot be done, and the cause to write under the caret.
    pub(super) fn mistake(&self, span: Range<usize>, message: String, cause: String) -> Mistake {
        let source = self.source(span.start);
        let start = (span.start - source.begins).min(source.text.len());
        let end = (span.end.max(span.start) - source.begins).min(source.text.len());
        // Of a long table only its first line is shown: the caret points, the cause explains.
        let shown = source.text[start..end].lines().next().unwrap_or_default();
        let text = NamedSource::new(&source.name, source.text.clone());
        Mistake::new(message).at(text, SourceSpan::new(start.into(), shown.trim_end().len()), cause)
    }
}

/// The same table with its spans moved by `by`.
pub(super) fn moved(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let span = key.span();
        (Spanned::new(span.start + by..span.end + by, key.into_inner()), moved_value(value, by))
    });
    entries.collect()
}

/// The same value with its spans moved by `by`.
pub(super) fn moved_value(value: Value<'_>, by: usize) -> Value<'_> {
    let span = value.span();
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(moved(table, by)),
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|item| moved_value(item, by)).collect::<DeArray<'_>>())
        }
        simple => simple,
    };
    Spanned::new(span.start + by..span.end + by, inner)
}
