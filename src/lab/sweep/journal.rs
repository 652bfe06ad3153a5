//! The journal of a sweep: `runs.jsonl`, a line when a run begins and one when it has ended, each written before the next: a sweep
//! that is killed loses none.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::lab::sweep::{Outcome, Plan, Point};

/// The journal of a sweep, open for more.
pub struct Journal {
    folder: PathBuf,
    file: File,
    outcomes: Vec<Outcome>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk says no.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// There is one already.
    #[error("{0} holds an earlier sweep")]
    Exists(PathBuf),
    /// There is none.
    #[error("{0} holds no sweep")]
    Missing(PathBuf),
    /// It is about other points.
    #[error("{0} holds a sweep of other files, seeds or settings")]
    Other(PathBuf),
    /// A line cannot be read, and it is not the last one, which a kill may have torn.
    #[error("{0}:{1}: cannot be read: {2}")]
    Damaged(PathBuf, usize, String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Sweep(Plan),
    Begins(Point),
    Ended(Box<Outcome>),
}

const NAME: &str = "runs.jsonl";

impl Journal {
    /// Begins the journal of a sweep in a folder, which is created if need be.
    ///
    /// # Errors
    /// `Exists` if the folder holds one already.
    pub fn begin(folder: &Path, plan: &Plan) -> Result<Self, JournalError> {
        let failed = |error| JournalError::Io(folder.to_owned(), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(NAME);
        if path.exists() {
            return Err(JournalError::Exists(folder.to_owned()));
        }
        let file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(failed)?;
        let mut journal = Self { folder: folder.to_owned(), file, outcomes: Vec::new() };
        journal.write(&Line::Sweep(plan.clone())).map_err(failed)?;
        Ok(journal)
    }

    /// Opens the journal of a sweep that was interrupted. Runs that had begun and not ended count as not run.
    ///
    /// # Errors
    /// `Missing` without one, `Other` if it is about another plan, `Damaged`.
    pub fn resume(folder: &Path, plan: &Plan) -> Result<Self, JournalError> {
        let (known, outcomes) = Self::read(folder)?;
        if known != *plan {
            return Err(JournalError::Other(folder.to_owned()));
        }
        let failed = |error| JournalError::Io(folder.to_owned(), error);
        // Written anew: the last line may be torn.
        let fresh = folder.join(format!("{NAME}.tmp"));
        let file = OpenOptions::new().append(true).create_new(true).open(&fresh).or_else(|_| {
            std::fs::remove_file(&fresh)?;
            OpenOptions::new().append(true).create_new(true).open(&fresh)
        });
        let mut journal =
            Self { folder: folder.to_owned(), file: file.map_err(failed)?, outcomes: Vec::new() };
        journal.write(&Line::Sweep(known)).map_err(failed)?;
        for outcome in outcomes {
            journal.ended(outcome).map_err(failed)?;
        }
        std::fs::rename(&fresh, folder.join(NAME)).map_err(failed)?;
        Ok(journal)
    }

    /// What a folder's journal holds: what was to be run, and what has ended.
    ///
    /// # Errors
    /// `Missing`, `Damaged`, `Io`.
    #[expect(clippy::disallowed_methods, reason = "a journal belongs to the user, outside any run")]
    pub fn read(folder: &Path) -> Result<(Plan, Vec<Outcome>), JournalError> {
        let path = folder.join(NAME);
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::Missing(folder.to_owned()),
            _ => JournalError::Io(path.clone(), error),
        })?;
        let (mut plan, mut outcomes) = (None, Vec::new());
        for (number, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(Line::Sweep(known)) => plan = Some(known),
                Ok(Line::Begins(_)) => {}
                Ok(Line::Ended(outcome)) => outcomes.push(*outcome),
                Err(_) if number + 1 == text.lines().count() && !text.ends_with('\n') => {}
                Err(error) => return Err(JournalError::Damaged(path, number + 1, error.to_string())),
            }
        }
        let plan = plan.ok_or_else(|| JournalError::Missing(folder.to_owned()))?;
        Ok((plan, outcomes))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The runs that have ended.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    pub(super) fn begins(&mut self, point: &Point) -> io::Result<()> {
        self.write(&Line::Begins(point.clone()))
    }

    pub(super) fn ended(&mut self, outcome: Outcome) -> io::Result<()> {
        self.write(&Line::Ended(Box::new(outcome.clone())))?;
        self.outcomes.push(outcome);
        Ok(())
    }

    /// One call for the whole line: a kill between two calls leaves whole lines.
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())
    }
}
