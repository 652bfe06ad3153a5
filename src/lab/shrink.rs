//! From a run that fails to the smallest scenario file found that fails in the same way.
//!
//! ```text
//! faults and constants as drawn ─► shorten ─► drop faults (ddmin) ─► drop parts ─► fewer hosts ─► weaken faults ─┐
//!                                     ▲────────────────── until nothing helps any more ────────────────────────────┘
//! ```
//!
//! Each candidate is run in a process of its own, under the same seed, and taken over if it fails with the same fingerprint: the same
//! end, the same check or property, the same kind of host. With known bugs switched on it must also hold without them. Several
//! candidates run at once; the first in their order that fails is taken, so that the result does not depend on how many. Dropping
//! faults is ddmin (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002).

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use toml::Value;

use crate::base::{Seed, Span};
use crate::lab::sweep::{Ended, Trouble};
use crate::lab::variants::{Original, VariantError, Workshop, write};
use crate::scenario::{Draft, Scenario, Size};
use crate::world::fault::{FaultPlan, PlannedFault};

/// How large a scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Planned faults.
    pub faults: usize,
    /// Hosts.
    pub hosts: usize,
    /// How long it stirs.
    pub stir: Span,
}

/// How far the shrinking is.
#[derive(Clone, Copy, Debug)]
pub struct ShrinkProgress {
    /// Runs so far.
    pub runs: usize,
    /// How large the failing run was.
    pub from: Extent,
    /// How large the smallest that fails is.
    pub to: Extent,
}

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is wrong in both.
    pub trouble: Trouble,
    /// The smallest scenario found that fails in the same way.
    pub draft: Draft,
    /// How many runs it took.
    pub runs: usize,
    /// How large the failing run was.
    pub from: Extent,
    /// How large the smallest is.
    pub to: Extent,
    /// Whether nothing more could be taken away; otherwise time was up.
    pub finished: bool,
}

/// Told after every few runs; with the smallest scenario so far and what is wrong in it, when it has just been found.
pub type Watch<'watch> = dyn FnMut(ShrinkProgress, Option<(&Draft, &Trouble)>) -> io::Result<()> + 'watch;

/// Shrinks a failing run.
///
/// # Errors
/// If the run cannot be made, or does not fail.
pub fn shrink(
    workshop: Workshop<'_>,
    original: &Original,
    watch: &mut Watch<'_>,
) -> Result<Shrunk, VariantError> {
    let mut shrinker = Shrinker::begin(workshop, original, watch)?;
    loop {
        let found = shrinker.found;
        shrinker.shorten()?;
        shrinker.drop_faults()?;
        shrinker.drop_parts()?;
        shrinker.fewer()?;
        shrinker.weaken()?;
        if shrinker.found == found || shrinker.is_over() {
            break;
        }
    }
    Ok(Shrunk {
        finished: !shrinker.is_over(),
        to: shrinker.extent(),
        trouble: shrinker.trouble,
        draft: shrinker.best,
        runs: shrinker.runs,
        from: shrinker.from,
    })
}

struct Shrinker<'shrink, 'watch> {
    workshop: Workshop<'shrink>,
    watch: &'shrink mut Watch<'watch>,
    began: Instant,
    seed: Seed,
    trouble: Trouble,
    /// The smallest that fails in the same way, and the scenario it says.
    best: Draft,
    scenario: Scenario,
    from: Extent,
    /// Candidates that have been run: none is run twice.
    tried: BTreeSet<String>,
    runs: usize,
    found: usize,
}

impl<'shrink, 'watch> Shrinker<'shrink, 'watch> {
    #[expect(clippy::disallowed_methods, reason = "a shrinking's budget is real time, outside any run")]
    fn begin(
        workshop: Workshop<'shrink>,
        original: &Original,
        watch: &'shrink mut Watch<'watch>,
    ) -> Result<Self, VariantError> {
        let began = Instant::now();
        let (best, scenario) = original.draft(&[])?;
        let (outcome, told) = workshop.run_original(original, &best)?;
        let holds = || VariantError::Holds { file: original.file.clone(), seed: original.seed };
        let mut shrinker = Self {
            workshop,
            watch,
            began,
            seed: original.seed,
            trouble: outcome.trouble.ok_or_else(holds)?,
            from: Extent { faults: 0, hosts: scenario.hosts().len(), stir: scenario.acts.stir },
            best,
            scenario,
            tried: BTreeSet::new(),
            runs: 1,
            found: 0,
        };
        // Of a run that does not come so far as to tell what was drawn, the rules themselves are shrunk.
        if let Some(told) = told
            && let Some(draft) = original.drawn(&told)?
        {
            shrinker.from.faults = draft.plan().faults.len();
            shrinker.first_that_fails(vec![draft])?;
        }
        Ok(shrinker)
    }

    fn extent(&self) -> Extent {
        Extent {
            faults: self.best.plan().faults.len(),
            hosts: self.scenario.hosts().len(),
            stir: self.scenario.acts.stir,
        }
    }

    fn is_over(&self) -> bool {
        self.workshop.limits.budget.is_some_and(|budget| budget <= self.began.elapsed())
    }

    /// The first candidate that fails as the best does; it becomes the best.
    fn first_that_fails(&mut self, candidates: Vec<Draft>) -> Result<Option<usize>, VariantError> {
        let mut fresh = Vec::new();
        for (at, draft) in candidates.into_iter().enumerate() {
            if draft != self.best && self.tried.insert(draft.text(self.workshop.folder)) {
                fresh.push((at, draft));
            }
        }
        let wanted = self.trouble.fingerprint();
        for batch in fresh.chunks(self.workshop.limits.jobs) {
            if self.is_over() {
                break;
            }
            let outcomes = self.workshop.run_all(batch.iter().map(|(_, draft)| draft), self.seed)?;
            self.runs += batch.len();
            for ((at, draft), outcome) in batch.iter().zip(outcomes) {
                let Some(trouble) = outcome.trouble.filter(|trouble| trouble.fingerprint() == wanted) else {
                    continue;
                };
                if self.is_the_bugs_own(draft)? {
                    self.adopt(draft.clone(), trouble)?;
                    return Ok(Some(*at));
                }
            }
            let state = self.state();
            (self.watch)(state, None)?;
        }
        Ok(None)
    }

    /// Where known bugs are switched on: whether it holds without them. What fails by itself would tell nothing about the bug.
    fn is_the_bugs_own(&mut self, draft: &Draft) -> Result<bool, VariantError> {
        let mut healthy = draft.clone();
        healthy.remove("bugs");
        if healthy == *draft {
            return Ok(true);
        }
        self.runs += 1;
        Ok(self.workshop.run(&healthy, self.seed, 0)?.0.ended == Ended::Held)
    }

    fn adopt(&mut self, draft: Draft, trouble: Trouble) -> Result<(), VariantError> {
        let file = self.workshop.folder.join("best.toml");
        write(&file, &draft.text(self.workshop.folder))?;
        self.scenario = Scenario::load(&file, &[])?;
        self.best = draft;
        self.trouble = trouble;
        self.found += 1;
        let state = self.state();
        (self.watch)(state, Some((&self.best, &self.trouble)))?;
        Ok(())
    }

    fn state(&self) -> ShrinkProgress {
        ShrinkProgress { runs: self.runs, from: self.from, to: self.extent() }
    }

    /// The best with one change.
    fn changed(&self, change: impl FnOnce(&mut Draft)) -> Draft {
        let mut draft = self.best.clone();
        change(&mut draft);
        draft
    }

    fn with_faults(&self, faults: Vec<PlannedFault>) -> Draft {
        self.changed(|draft| draft.set_plan(&FaultPlan { faults }))
    }

    /// ddmin: all faults, halves, quarters, … single ones are left out, as long as it fails without them.
    fn drop_faults(&mut self) -> Result<(), VariantError> {
        let mut size = self.best.plan().faults.len();
        while 0 < size {
            let mut from = 0;
            loop {
                let faults = self.best.plan().faults;
                let starts: Vec<usize> = (from..faults.len()).step_by(size).collect();
                let without = |start: &usize| {
                    let end = faults.len().min(start + size);
                    self.with_faults([&faults[..*start], &faults[end..]].concat())
                };
                let candidates = starts.iter().map(without).collect();
                match self.first_that_fails(candidates)? {
                    Some(at) => from = starts[at],
                    None => break,
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        Ok(())
    }

    /// A shorter stir, without the faults after its end. The settling stays as long as it is: without the bug the run must hold.
    fn shorten(&mut self) -> Result<(), VariantError> {
        loop {
            let stir = self.scenario.acts.stir.get();
            let parts = [8, 4, 2].map(|part| stir / part);
            let last = [stir * 3 / 4, stir * 9 / 10];
            let shorter = parts.into_iter().chain(last).map(rounded_up).filter(|shorter| *shorter < stir);
            let candidates = shorter.map(|stir| self.with_stir(stir)).collect();
            if self.first_that_fails(candidates)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn with_stir(&self, stir: Duration) -> Draft {
        self.changed(|draft| {
            draft.set("acts.stir", Value::String(Span::new(stir).to_string()));
            let mut plan = draft.plan();
            plan.faults.retain(|fault| fault.at.is_none_or(|at| at.get() < stir));
            draft.set_plan(&plan);
        })
    }

    /// Leaves out whatever the file need not say: a workload, a topic, a setting whose default does as well.
    fn drop_parts(&mut self) -> Result<(), VariantError> {
        let quiet = self.changed(|draft| draft.set("acts.cooperation", Value::Boolean(false)));
        if self.best.get("acts.cooperation").is_none() {
            self.first_that_fails(vec![quiet])?;
        }
        let mut from = 0;
        loop {
            let paths: Vec<String> = self.best.paths().into_iter().filter(|path| may_go(path)).collect();
            let paths = &paths[from.min(paths.len())..];
            let candidates = paths.iter().map(|path| self.changed(|draft| draft.remove(path))).collect();
            match self.first_that_fails(candidates)? {
                // What stood there has gone: the next one stands in its place.
                Some(at) => from += at,
                None => return Ok(()),
            }
        }
    }

    /// Fewer hosts, parts, replicas, clients; less traffic.
    fn fewer(&mut self) -> Result<(), VariantError> {
        for path in self.scenario.sizes().into_iter().map(|size| size.path) {
            loop {
                let size = self.scenario.sizes().into_iter().find(|size| size.path == path);
                let Some(size) = size.filter(|size| 1 < size.value) else { break };
                let mut values = vec![1, size.value / 2, size.value - 1];
                values.dedup();
                let candidates = values.into_iter().map(|value| self.with_size(&size, value)).collect();
                if self.first_that_fails(candidates)?.is_none() {
                    break;
                }
            }
        }
        let clickstreams = self.scenario.workloads.clickstream.iter();
        let speeds: Vec<f64> = clickstreams.map(|config| config.speed_up).collect();
        for (index, speed_up) in speeds.into_iter().enumerate() {
            let path = format!("workloads.clickstream.{index}.speed_up");
            let slower = [16.0, 4.0, 2.0].map(|part| (speed_up / part).ceil()).into_iter();
            let slower = slower.filter(|slower| *slower < speed_up);
            let candidates =
                slower.map(|slower| self.changed(|draft| draft.set(&path, Value::Float(slower))));
            let candidates = candidates.collect();
            self.first_that_fails(candidates)?;
        }
        Ok(())
    }

    fn with_size(&self, size: &Size, value: u32) -> Draft {
        self.changed(|draft| {
            draft.set(&size.path, Value::Integer(value.into()));
            if let Some(stem) = &size.hosts {
                let gone: BTreeSet<String> =
                    (value + 1..=size.value).map(|number| format!("{stem}-{number}")).collect();
                draft.set_plan(&draft.plan().without_hosts(|host| gone.contains(host)));
            }
        })
    }

    /// Weaker, shorter and rounder faults.
    fn weaken(&mut self) -> Result<(), VariantError> {
        for at in 0..self.best.plan().faults.len() {
            loop {
                let faults = self.best.plan().faults;
                let variants = faults[at].weaker().into_iter();
                let candidates = variants.map(|weaker| {
                    let mut faults = faults.clone();
                    faults[at] = weaker;
                    self.with_faults(faults)
                });
                let candidates = candidates.collect();
                if self.first_that_fails(candidates)?.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Not left out is what says what is promised and what fails, and what only says how large it is, which has a step of its own.
fn may_go(path: &str) -> bool {
    const KEPT: [&str; 9] = [
        "title",
        "seed",
        "bugs",
        "plan",
        "acts",
        "acts.stir",
        "acts.settle",
        "acts.cooperation",
        "beyond_budget",
    ];
    const KEPT_WITHIN: [&str; 7] =
        ["name", "source", "speed_up", "delivery", "acks", "may_lose", "recreated"];
    let key = path.rsplit('.').next().unwrap_or(path);
    !KEPT.contains(&path) && !path.starts_with("plan.") && !KEPT_WITHIN.contains(&key)
}

/// To whole seconds, or below one to tenths.
fn rounded_up(span: Duration) -> Duration {
    let unit = if span < Duration::from_secs(1) { 100 } else { 1000 };
    Duration::from_millis(span.as_millis().div_ceil(unit) as u64 * unit as u64)
}
