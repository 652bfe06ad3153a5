//! What is wrong with a scenario file, told to its author: file, line, column, caret, cause and mend.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode,
    SourceSpan,
};

/// One mistake, where possible with the place in the file (or in a `--set`) that caused it.
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Mistake {
    message: String,
    #[source_code]
    text: Option<NamedSource<Arc<str>>>,
    #[label("{cause}")]
    span: Option<SourceSpan>,
    cause: String,
    #[help]
    mend: Option<String>,
}

impl Mistake {
    /// A mistake that has no place in a file. `message` finishes the sentence "this cannot be run: ".
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), text: None, span: None, cause: String::new(), mend: None }
    }

    /// The same mistake, at a place in a text.
    #[must_use]
    pub fn at(self, text: NamedSource<Arc<str>>, span: SourceSpan, cause: impl Into<String>) -> Self {
        Self { text: Some(text), span: Some(span), cause: cause.into(), ..self }
    }

    /// The same mistake, with what would mend it.
    #[must_use]
    pub fn mend(self, mend: Option<String>) -> Self {
        Self { mend, ..self }
    }

    /// What is wrong, without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Why it is a mistake, as stands under the caret; empty if the message says it all.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// What would mend it.
    pub fn advice(&self) -> Option<&str> {
        self.mend.as_deref()
    }

    /// The text in which it stands (a file, or `--set`), with line and column, both from 1.
    pub fn place(&self) -> Option<(&str, usize, usize)> {
        let (text, span) = (self.text.as_ref()?, self.span?);
        let before = text.inner().get(..span.offset())?;
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Some((text.name(), line, column))
    }

    fn is_same_place(&self, other: &Self) -> bool {
        let name = |mistake: &Self| mistake.text.as_ref().map(|text| text.name().to_owned());
        self.span.is_some() && self.span == other.span && name(self) == name(other)
    }
}

/// Everything found wrong with one scenario file. Nothing was run, and nothing written.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ScenarioError {
    path: PathBuf,
    mistakes: Vec<Mistake>,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.mistakes.len() == 1 { "" } else { "s" };
        write!(out, "{}: {} mistake{plural}; nothing was run", self.path.display(), self.mistakes.len())
    }
}

impl ScenarioError {
    pub(super) fn new(path: &Path, mistakes: Vec<Mistake>) -> Self {
        assert!(!mistakes.is_empty(), "an error tells at least one mistake");
        let mut told: Vec<Mistake> = Vec::new();
        for mistake in mistakes {
            if !told.iter().any(|other| other.is_same_place(&mistake)) {
                told.push(mistake);
            }
        }
        Self { path: path.to_owned(), mistakes: told }
    }

    /// The mistakes, in the order in which they were found.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// The whole error for a terminal: each mistake with its place, then their number.
    pub fn render(&self, colour: bool) -> String {
        let text: String = self.mistakes.iter().map(|mistake| rendered(mistake, colour)).collect();
        format!("{text}{self}\n")
    }
}

/// Something in a file that will have no effect. The scenario can be run all the same.
#[derive(Clone, Debug)]
pub struct Warning(Mistake);

impl Warning {
    pub(super) fn new(mistake: Mistake) -> Self {
        Self(mistake)
    }

    /// The warning for a terminal.
    pub fn render(&self, colour: bool) -> String {
        rendered(self, colour)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl std::error::Error for Warning {}

impl Diagnostic for Warning {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Warning)
    }
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.0.help()
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.source_code()
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.0.labels()
    }
}

/// A mistake or a warning with its place, cause and mend.
fn rendered(diagnostic: &dyn Diagnostic, colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
    let mut text = String::new();
    handler.render_report(&mut text, diagnostic).expect("a string takes whatever is written to it");
    text.push('\n');
    text
}
