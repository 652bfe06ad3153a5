//! Which faults of a run mattered: it is run again without each one of them, all else as it was.
//!
//! A fault *fired* if it struck at all. It *mattered* if without it the run ends otherwise, or takes another course: an event happens
//! that did not, or does not that did. This tests one fault at a time: of two that suffice each, neither matters.

use std::collections::BTreeSet;

use crate::lab::sweep::Outcome;
use crate::lab::variants::{Original, VariantError, Workshop};
use crate::world::fault::{Fate, FaultPlan, PlannedFault};

/// What a run owes to its faults.
#[derive(Clone, Debug)]
pub struct Blame {
    /// The run with all of them.
    pub whole: Outcome,
    /// Each of them, in the order of the plan.
    pub faults: Vec<Blamed>,
}

/// What a run owes to one fault.
#[derive(Clone, Debug)]
pub struct Blamed {
    /// The fault.
    pub fault: PlannedFault,
    /// How often it struck.
    pub fate: Fate,
    /// What its absence changes; none if it never struck, so that nothing can change.
    pub change: Option<Change>,
}

/// What is different without a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The run without it.
    pub without: Outcome,
    /// Whether it ends otherwise: another verdict, or something else broken.
    pub end: bool,
    /// Events that happen only without the fault.
    pub gained: Vec<String>,
    /// Events that happen only with it.
    pub lost: Vec<String>,
}

impl Change {
    fn of(whole: &Outcome, without: Outcome) -> Self {
        let wrong = |outcome: &Outcome| outcome.trouble.as_ref().map(|trouble| trouble.fingerprint());
        let (with, alone): (BTreeSet<&String>, BTreeSet<&String>) =
            (whole.events.keys().collect(), without.events.keys().collect());
        let only = |one: &BTreeSet<&String>, other: &BTreeSet<&String>| {
            one.difference(other).map(|event| (*event).clone()).collect()
        };
        let (gained, lost) = (only(&alone, &with), only(&with, &alone));
        let end = (whole.ended, wrong(whole)) != (without.ended, wrong(&without));
        Self { without, end, gained, lost }
    }

    /// Whether the fault mattered.
    pub fn mattered(&self) -> bool {
        self.end || !self.gained.is_empty() || !self.lost.is_empty()
    }
}

/// Runs a scenario with all its faults, and without each of those that struck. `progress` is told how many runs are done, of how many.
///
/// # Errors
/// If the run cannot be made, or does not tell its faults.
pub fn blame(
    workshop: Workshop<'_>,
    original: &Original,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Blame, VariantError> {
    let (draft, _) = original.draft(&[])?;
    let (whole, told) = workshop.run_original(original, &draft)?;
    let untold = || VariantError::Untold {
        file: original.file.clone(),
        seed: original.seed,
        example: whole.trouble.as_ref().map(|trouble| trouble.example.clone()).unwrap_or_default(),
    };
    let told = told.ok_or_else(untold)?;
    let draft = original.drawn(&told)?.ok_or_else(untold)?;
    let fates: Vec<Fate> = serde_json::from_value(told["fates"].clone()).map_err(|_| untold())?;
    let faults = draft.plan().faults;
    let fired: Vec<usize> = (0..faults.len()).filter(|at| fates.get(*at).is_some_and(Fate::fired)).collect();
    let mut changes = vec![None; faults.len()];
    for batch in fired.chunks(workshop.limits.jobs) {
        let without = |at: &usize| {
            let rest = [&faults[..*at], &faults[*at + 1..]].concat();
            let mut draft = draft.clone();
            draft.set_plan(&FaultPlan { faults: rest });
            draft
        };
        let drafts: Vec<_> = batch.iter().map(without).collect();
        for (at, outcome) in batch.iter().zip(workshop.run_all(drafts.iter(), original.seed)?) {
            changes[*at] = Some(Change::of(&whole, outcome));
        }
        progress(changes.iter().flatten().count(), fired.len());
    }
    let blamed = |((fault, change), fate)| Blamed { fault, fate, change };
    let faults = faults.into_iter().zip(changes).zip(fates).map(blamed).collect();
    Ok(Blame { whole, faults })
}
