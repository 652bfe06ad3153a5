//! Bad input as JSON: what scripts read in place of a run that never was. Stable as the document of a run is.

use std::path::Path;

use serde::Serialize;

use crate::lab::Verdict;
use crate::scenario::Mistake;

/// The document. Each field is one key, and those it shares with the document of a run mean the same.
#[derive(Serialize)]
struct Document<'input> {
    /// The version of this format: 1.
    format: u32,
    /// The scenario file, as it was named.
    scenario: &'input Path,
    /// `bad-input`.
    verdict: &'static str,
    /// The exit code that goes with the verdict: 2.
    exit_code: u8,
    /// Everything that is wrong.
    mistakes: Vec<MistakeDocument<'input>>,
}

#[derive(Serialize)]
struct MistakeDocument<'input> {
    /// What cannot be done.
    message: &'input str,
    /// The file (or `--set`) in which it stands, or null.
    file: Option<&'input str>,
    /// Its line, from 1, or null.
    line: Option<usize>,
    /// Its column, from 1, or null.
    column: Option<usize>,
    /// Why it cannot be done; empty if the message says it all.
    cause: &'input str,
    /// What would mend it, or null.
    help: Option<&'input str>,
}

impl<'input> MistakeDocument<'input> {
    fn of(mistake: &'input Mistake) -> Self {
        let place = mistake.place();
        Self {
            message: mistake.message(),
            file: place.map(|(file, ..)| file),
            line: place.map(|(_, line, _)| line),
            column: place.map(|(.., column)| column),
            cause: mistake.cause(),
            help: mistake.advice(),
        }
    }
}

/// Input that never became a run, as a JSON document, indented.
pub fn bad_input(scenario: &Path, mistakes: &[Mistake]) -> String {
    let document = Document {
        format: 1,
        scenario,
        verdict: Verdict::BAD_INPUT_NAME,
        exit_code: Verdict::BAD_INPUT,
        mistakes: mistakes.iter().map(MistakeDocument::of).collect(),
    };
    serde_json::to_string_pretty(&document).expect("names are text")
}
