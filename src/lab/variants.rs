//! A run as a file of its own, whose variants are run in processes of their own: what shrinking and blaming are made of.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::Value;

use crate::base::Seed;
use crate::lab::sweep::worker::run_once;
use crate::lab::sweep::{Ended, Limits, Outcome, Point};
use crate::scenario::{Draft, Scenario, ScenarioError};
use crate::world::fault::FaultPlan;

/// The run that is varied.
#[derive(Clone, Debug)]
pub struct Original {
    /// The scenario file.
    pub file: PathBuf,
    /// What is set in it.
    pub set: Vec<String>,
    /// The seed.
    pub seed: Seed,
    /// The faults, if they are not to be drawn.
    pub plan: Option<FaultPlan>,
}

/// Where variants are run, and within which bounds.
#[derive(Clone, Copy, Debug)]
pub struct Workshop<'lab> {
    /// The `wavetank` command itself.
    pub program: &'lab Path,
    /// What bounds each run and the whole.
    pub limits: &'lab Limits,
    /// The folder of their files.
    pub folder: &'lab Path,
}

/// Why a run cannot be varied.
#[derive(Debug, thiserror::Error)]
pub enum VariantError {
    /// The scenario cannot be run.
    #[error(transparent)]
    BadInput(#[from] ScenarioError),
    /// The run does not fail.
    #[error("{} under seed {seed} keeps every promise: there is nothing to shrink", file.display())]
    Holds {
        /// The scenario.
        file: PathBuf,
        /// The seed.
        seed: Seed,
    },
    /// The run ends before its faults are known.
    #[error("{} under seed {seed} does not come so far that its faults are known: {example}", file.display())]
    Untold {
        /// The scenario.
        file: PathBuf,
        /// The seed.
        seed: Seed,
        /// How it ended.
        example: String,
    },
    /// Files cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Original {
    /// The run as a draft, with more set in it.
    pub(super) fn draft(&self, set: &[String]) -> Result<(Draft, Scenario), ScenarioError> {
        let (mut draft, scenario) = Draft::load(&self.file, &[self.set.as_slice(), set].concat())?;
        draft.set("seed", Value::Integer(self.seed.get() as i64));
        if let Some(plan) = &self.plan {
            draft.replace_faults(plan);
        }
        Ok((draft, scenario))
    }

    /// The run with what its seed draws written down: faults, and a swarm's constants. It stays the same run. `told` is its document;
    /// none if that does not tell what was drawn.
    pub(super) fn drawn(&self, told: &Json) -> Result<Option<Draft>, ScenarioError> {
        let Ok(plan) = serde_json::from_value::<FaultPlan>(told["plan"].clone()) else { return Ok(None) };
        let drawn = told["drawn"].as_object().into_iter().flatten();
        let constants = drawn
            .filter(|(path, _)| path.starts_with("systems.") || path.starts_with("workloads."))
            .filter_map(|(path, value)| Some(format!("{path}={}", value.as_str()?)));
        let set: Vec<String> = constants.chain(["swarm=false".to_owned()]).collect();
        let (mut draft, _) = self.draft(&set)?;
        draft.replace_faults(&plan);
        Ok(Some(draft))
    }
}

impl Workshop<'_> {
    /// Runs a draft. Returns the document of `--format json` too, if the run came so far.
    ///
    /// # Errors
    /// If its file cannot be written, or cannot be run as one.
    pub(super) fn run(&self, draft: &Draft, seed: Seed, job: usize) -> io::Result<(Outcome, Option<Json>)> {
        let file = self.folder.join(format!("variant-{job}.toml"));
        write(&file, &draft.text(self.folder))?;
        let point = Point { seed: seed.get(), file, set: Vec::new() };
        Ok(run_once(self.program, &point, self.limits, self.folder, job, false))
    }

    /// Runs drafts at the same time.
    pub(super) fn run_all<'draft>(
        &self,
        drafts: impl Iterator<Item = &'draft Draft>,
        seed: Seed,
    ) -> io::Result<Vec<Outcome>> {
        std::thread::scope(|scope| {
            let run =
                |(job, draft): (usize, &'draft Draft)| scope.spawn(move || Ok(self.run(draft, seed, job)?.0));
            let running: Vec<_> = drafts.enumerate().map(run).collect();
            running.into_iter().map(|job| job.join().expect("a job does not panic")).collect()
        })
    }

    /// Runs the original.
    pub(super) fn run_original(
        &self,
        original: &Original,
        draft: &Draft,
    ) -> Result<(Outcome, Option<Json>), VariantError> {
        let (outcome, told) = self.run(draft, original.seed, 0)?;
        match &outcome.trouble {
            Some(trouble) if outcome.ended == Ended::BadInput => {
                let said = format!("its scenario cannot be written as one file: {}", trouble.example);
                Err(io::Error::other(said).into())
            }
            _ => Ok((outcome, told)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "variants are files of a child process, outside any run")]
pub(super) fn write(file: &Path, text: &str) -> io::Result<()> {
    std::fs::write(file, text)
}
