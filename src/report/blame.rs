//! Which faults of a run mattered, as text and as JSON.

use std::fmt::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::lab::blame::{Blame, Blamed, Change};
use crate::lab::sweep::{Outcome, Trouble};
use crate::lab::variants::Original;
use crate::report::command;
use crate::world::fault::PlannedFault;

/// What a run owes to its faults, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct BlameReport<'blame> {
    /// The run.
    pub original: &'blame Original,
    /// The plan of faults it was given, if it did not draw its own.
    pub plan_file: Option<&'blame Path>,
    /// What it owes to its faults.
    pub blame: &'blame Blame,
}

#[derive(Serialize)]
struct Document<'blame> {
    format: u32,
    replay: String,
    ended: &'static str,
    faults: Vec<FaultDocument<'blame>>,
}

#[derive(Serialize)]
struct FaultDocument<'blame> {
    fault: &'blame PlannedFault,
    struck: u64,
    in_vain: u64,
    mattered: bool,
    ended_without: Option<&'static str>,
    only_with_it: &'blame [String],
    only_without_it: &'blame [String],
}

impl<'blame> FaultDocument<'blame> {
    fn of(blamed: &'blame Blamed) -> Self {
        let change = blamed.change.as_ref();
        Self {
            fault: &blamed.fault,
            struck: blamed.fate.struck,
            in_vain: blamed.fate.in_vain,
            mattered: change.is_some_and(Change::mattered),
            ended_without: change.map(|change| change.without.ended.words()),
            only_with_it: change.map_or(&[], |change| change.lost.as_slice()),
            only_without_it: change.map_or(&[], |change| change.gained.as_slice()),
        }
    }
}

impl BlameReport<'_> {
    fn replay(&self) -> String {
        let Original { file, set, seed, .. } = self.original;
        command("replay", file, seed.get(), set, self.plan_file)
    }

    /// A table of faults: first those that decide how the run ends, then those that change its course, then the others.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes all that is written");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let Blame { whole, faults } = self.blame;
        let fired = faults.iter().filter(|blamed| blamed.fate.fired()).count();
        let changes = || faults.iter().filter_map(|blamed| blamed.change.as_ref());
        let (ends, mattered) = (
            changes().filter(|change| change.end).count(),
            changes().filter(|change| change.mattered()).count(),
        );
        writeln!(
            out,
            "{} OF {} FAULTS MATTERED: without {ends} of them the run ends otherwise",
            mattered,
            faults.len()
        )?;
        writeln!(out, "{}; {}; {fired} fired\n", self.original.file.display(), ending(whole))?;
        let rank = |blamed: &&Blamed| match &blamed.change {
            Some(change) if change.end => 0,
            Some(change) if change.mattered() => 1,
            Some(_) => 2,
            None => 3,
        };
        let mut ranked: Vec<&Blamed> = faults.iter().collect();
        ranked.sort_by_key(rank);
        for blamed in ranked {
            writeln!(out, "{}", words(&blamed.fault))?;
            match &blamed.change {
                None if blamed.fate.struck == 0 => writeln!(out, "    never struck")?,
                None => writeln!(out, "    struck in vain: its target was down, or it hit nobody")?,
                Some(change) => write_change(change, out)?,
            }
        }
        writeln!(out, "\nreplay   {}", self.replay())
    }

    /// The same as a JSON document, indented. Stable as that of a run is.
    pub fn json(&self) -> String {
        let document = Document {
            format: 1,
            replay: self.replay(),
            ended: self.blame.whole.ended.words(),
            faults: self.blame.faults.iter().map(FaultDocument::of).collect(),
        };
        serde_json::to_string_pretty(&document).expect("names are text and numbers are finite")
    }
}

/// A fault on one line: when, and what, with its parameters as a plan says them.
pub(super) fn words(fault: &PlannedFault) -> String {
    let when = match (&fault.at, &fault.on) {
        (Some(at), _) => format!("at {at}"),
        (None, Some(on)) => format!("{} after \"{}\" (number {})", on.after, on.event, on.nth),
        (None, None) => String::new(),
    };
    let kind = toml::Value::try_from(&fault.kind).expect("a plan holds nothing TOML cannot say");
    let parameters = kind.get(fault.kind.name()).map(toml::Value::to_string).unwrap_or_default();
    format!("{when}: {} {parameters}", fault.kind.name())
}

fn ending(outcome: &Outcome) -> String {
    outcome.trouble.as_ref().map_or_else(|| outcome.ended.words().to_owned(), Trouble::to_string)
}

fn write_change(change: &Change, out: &mut String) -> fmt::Result {
    if change.end {
        writeln!(out, "    without it: {}", ending(&change.without))?;
    }
    for (title, events) in [("only with it", &change.lost), ("only without it", &change.gained)] {
        if !events.is_empty() {
            writeln!(out, "    {title}: {}", events.join("; "))?;
        }
    }
    if change.mattered() { Ok(()) } else { writeln!(out, "    made no difference") }
}
