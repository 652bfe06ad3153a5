//! A file of a project: what a better model would bring and cost, before there is one.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use crate::base::Problem;
use crate::experiment::impact::{Cost, Evidence, GapModel, Reward};
use crate::scenario::error::{Mistake, ScenarioError};
use crate::scenario::read::Document;
use crate::scenario::{SCENARIO, STRATEGIES, check, data, refuse_others, with_document};

/// A project whose impact can be estimated.
#[derive(Clone, Debug)]
pub struct Project {
    /// The file it was read from.
    pub path: PathBuf,
    /// The question, as one sentence.
    pub title: String,
    /// The overrides it was read with, as `--set` takes them.
    pub overrides: Vec<String>,
    /// What is known of the gap.
    pub evidence: Evidence,
    /// What successes are worth.
    pub reward: Reward,
    /// What steps cost.
    pub cost: Cost,
}

/// What a file of a project may hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Project")]
struct ProjectFile {
    /// Files laid under this one.
    #[serde(default, rename = "include")]
    _include: Vec<PathBuf>,
    /// The question, as one sentence.
    title: String,
    /// What is known of the present model and of a perfect one.
    gap: GapModel,
    /// What successes are worth.
    reward: Reward,
    /// What steps cost.
    cost: Cost,
}

impl Project {
    /// Reads a file of a project, what it includes, and overrides of the form `dotted.path=value`.
    ///
    /// # Errors
    /// Everything that keeps it from being estimated.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ScenarioError> {
        with_document(path, overrides, |document| {
            let message = format!("cannot estimate what {} would bring", path.display());
            refuse_others(document, path, &message, "a file of a project", &[STRATEGIES, SCENARIO])?;
            let file = document.project()?;
            let mut problems = Vec::new();
            if file.title.trim().is_empty() {
                let problem = Problem::new("title", "an empty title asks nothing");
                problems.push(problem.help("say in one sentence what is to be decided"));
            }
            for (key, found) in [
                ("gap", file.gap.validate()),
                ("reward", file.reward.validate()),
                ("cost", file.cost.validate()),
            ] {
                problems.extend(found.into_iter().map(|problem| problem.within(key)));
            }
            if !problems.is_empty() {
                return Err(check::told(problems, document));
            }
            let evidence = evidence(file.gap, document)?;
            let (title, reward, cost) = (file.title, file.reward, file.cost);
            Ok(Self { path: path.to_owned(), title, overrides: overrides.to_vec(), evidence, reward, cost })
        })
    }

    /// What such a file may hold, as a JSON Schema for editors.
    pub fn schema() -> Schema {
        schemars::schema_for!(ProjectFile)
    }
}

fn evidence(gap: GapModel, document: &Document<'_>) -> Result<Evidence, Vec<Mistake>> {
    if let Some(log) = gap.log {
        let log = data::log(&log.beside(document, "gap.log"));
        let log = log.map_err(|problems| problems.into_iter().map(|problem| problem.within("gap.log")));
        return log
            .map(|log| Evidence::logged(&log))
            .map_err(|problems| check::told(problems.collect(), document));
    }
    let counted = gap.present.zip(gap.perfect);
    Ok(counted.map(|(present, perfect)| Evidence::counted(present, perfect)).expect("it was validated"))
}

impl Document<'_> {
    /// Reads the whole document as a file of a project.
    fn project(&self) -> Result<ProjectFile, Vec<Mistake>> {
        let whole = match self.whole::<ProjectFile>() {
            Ok(file) => return Ok(file),
            Err(error) => error,
        };
        let mut errors = Vec::new();
        self.part::<GapModel>("gap", &mut errors);
        self.part::<Reward>("reward", &mut errors);
        self.part::<Cost>("cost", &mut errors);
        errors.push(whole);
        Err(errors.iter().map(|error| self.mistake(error)).collect())
    }
}
