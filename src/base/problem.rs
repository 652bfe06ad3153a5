//! What is wrong with a value of a configuration, told by the part that owns the value.

use std::fmt;

/// A value no run could use: where it stands, why it cannot be, and what would mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted path from the owner's table: `topics.0.replicas`; empty for the table itself.
    pub path: String,
    /// A lower-case fragment: `3 replicas need 3 brokers, there are 2`.
    pub message: String,
    /// How to mend it, if that can be said.
    pub help: Option<String>,
}

impl Problem {
    /// A problem without advice.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), help: None }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same problem, seen from the owner of the table `parent`.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        let path = if self.path.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.path) };
        Self { path, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}
