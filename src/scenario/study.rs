//! A file of strategies: users with a known truth, or the log of a random policy, and the strategies that are compared on them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use crate::base::{Problem, Seed};
use crate::experiment::log::{Log, LogModel};
use crate::experiment::strategy::Strategy;
use crate::experiment::users::UserModel;
use crate::scenario::error::{Mistake, ScenarioError};
use crate::scenario::read::Document;
use crate::scenario::{check, data, with_document};

/// Streams of one strategy at most, and strategies.
const STREAMS_MAX: u64 = 1_000_000;
const STRATEGIES_MAX: usize = 50;

/// Strategies to be compared on the same streams of visits.
#[derive(Clone, Debug)]
pub struct Study {
    /// The file it was read from.
    pub path: PathBuf,
    /// What it claims, as one sentence.
    pub title: String,
    /// The overrides it was read with, as `--set` takes them.
    pub overrides: Vec<String>,
    /// The first seed: each stream has the next one.
    pub seed: Seed,
    /// How many streams each strategy meets, the same for all.
    pub streams: u64,
    /// Who comes.
    pub visitors: Visitors,
    /// The strategies; the others are compared with the first.
    pub strategies: Vec<Strategy>,
}

/// Where the visits of a stream come from.
#[derive(Clone, Debug)]
pub enum Visitors {
    /// Users with a known truth.
    Users(UserModel),
    /// What a random policy logged.
    Log(Log),
}

impl Visitors {
    /// How many arms there are.
    pub fn arms(&self) -> usize {
        match self {
            Self::Users(model) => model.arms.len(),
            Self::Log(log) => log.arms().len(),
        }
    }

    /// Whether some users come more than once. What was logged are visits of nobody.
    pub fn come_again(&self) -> bool {
        match self {
            Self::Users(model) => model.come_again(),
            Self::Log(_) => false,
        }
    }

    /// Whether users are told apart by segments.
    pub fn has_segments(&self) -> bool {
        matches!(self, Self::Users(model) if !model.segments.is_empty())
    }

    /// For how many days they come.
    pub fn days(&self) -> u32 {
        match self {
            Self::Users(model) => model.days,
            Self::Log(log) => log.days(),
        }
    }
}

/// What a file of strategies may hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Strategies")]
struct StudyFile {
    /// Files laid under this one.
    #[serde(default, rename = "include")]
    _include: Vec<PathBuf>,
    /// What it claims, as one sentence.
    title: String,
    /// The first seed (default 1): each stream has the next one.
    #[serde(default = "StudyFile::seed_default")]
    seed: Seed,
    /// How many streams each strategy meets, the same for all (default 1000).
    #[serde(default = "StudyFile::streams_default")]
    streams: u64,
    /// Who comes, and what each arm does to them.
    #[serde(default)]
    users: Option<UserModel>,
    /// In place of users: what a random policy logged, which is replayed. Each stream is another order of it.
    #[serde(default)]
    log: Option<LogModel>,
    /// The strategies; the others are compared with the first.
    strategies: Vec<Strategy>,
}

impl StudyFile {
    fn seed_default() -> Seed {
        Seed::new(1)
    }

    fn streams_default() -> u64 {
        1000
    }
}

impl Study {
    /// Reads a file of strategies, what it includes, and overrides of the form `dotted.path=value`.
    ///
    /// # Errors
    /// Everything that keeps it from being compared.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ScenarioError> {
        with_document(path, overrides, |document| Self::from_document(document, path, overrides))
    }

    pub(super) fn from_document(
        document: &Document<'_>,
        path: &Path,
        overrides: &[String],
    ) -> Result<Self, Vec<Mistake>> {
        let mut file = document.study()?;
        let visitors = visitors(&mut file, document)?;
        let study = Self {
            path: path.to_owned(),
            title: file.title,
            overrides: overrides.to_vec(),
            seed: file.seed,
            streams: file.streams,
            visitors,
            strategies: file.strategies,
        };
        let mistakes = check::told(study.validate(), document);
        if mistakes.is_empty() { Ok(study) } else { Err(mistakes) }
    }

    /// What such a file may hold, as a JSON Schema for editors.
    pub fn schema() -> Schema {
        schemars::schema_for!(StudyFile)
    }

    fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.title.trim().is_empty() {
            let mend = "say in one sentence what it compares";
            problems.push(Problem::new("title", "an empty title tells nothing").help(mend));
        }
        if !(2..=STREAMS_MAX).contains(&self.streams) {
            let message = "what varies is seen in 2 to 1000000 streams";
            problems.push(Problem::new("streams", message).help("try streams = 1000"));
        }
        if !(1..=STRATEGIES_MAX).contains(&self.strategies.len()) {
            let message =
                format!("{} strategies; from 1 to {STRATEGIES_MAX} are compared", self.strategies.len());
            problems.push(Problem::new("strategies", message).help("add a table [[strategies]]"));
        }
        if let Visitors::Users(users) = &self.visitors {
            problems.extend(users.validate().into_iter().map(|problem| problem.within("users")));
        }
        let mut names = BTreeSet::new();
        for (index, strategy) in self.strategies.iter().enumerate() {
            let path = format!("strategies.{index}");
            if !names.insert(strategy.name.as_str()) {
                let message = format!("`{}` names another strategy too", strategy.name);
                problems.push(Problem::new(format!("{path}.name"), message).help("give it one of its own"));
            }
            if strategy.is_contextual() && !self.visitors.has_segments() {
                let help = "give [users] segments, or choose another policy";
                let message = "there are no segments to go by";
                problems.push(Problem::new(format!("{path}.allocate"), message).help(help));
            }
            let own = strategy.validate(self.visitors.arms(), self.visitors.days());
            problems.extend(own.into_iter().map(|problem| problem.within(&path)));
        }
        problems
    }
}

/// The one of both that a file has.
fn visitors(file: &mut StudyFile, document: &Document<'_>) -> Result<Visitors, Vec<Mistake>> {
    match (file.users.take(), file.log.take()) {
        (Some(users), None) => Ok(Visitors::Users(users)),
        (None, Some(log)) => data::log(&log.beside(document, "log"))
            .map(Visitors::Log)
            .map_err(|problems| problems.into_iter().map(|problem| problem.within("log")).collect())
            .map_err(|problems| check::told(problems, document)),
        (None, None) => {
            let help = "add a table [users], or [log] to replay what was logged";
            let problem = Problem::new("strategies", "nobody comes to them").help(help);
            Err(check::told(vec![problem], document))
        }
        (Some(_), Some(_)) => {
            let problem = Problem::new("log", "visits come from users or from a log, not from both");
            Err(check::told(vec![problem.help("remove [users] or [log]")], document))
        }
    }
}

impl LogModel {
    /// With its path made relative to the file in which it is written, which may be an included one. `table`: where the log stands.
    pub(super) fn beside(mut self, document: &Document<'_>, table: &str) -> Self {
        let at = document.span(&format!("{table}.source")).start;
        self.source = document.sources.folder(at).join(&self.source);
        self
    }
}

impl Document<'_> {
    /// Reads the whole document as a file of strategies.
    fn study(&self) -> Result<StudyFile, Vec<Mistake>> {
        let whole = match self.whole::<StudyFile>() {
            Ok(file) => return Ok(file),
            Err(error) => error,
        };
        let mut errors = Vec::new();
        self.part::<UserModel>("users", &mut errors);
        self.part::<LogModel>("log", &mut errors);
        self.each::<Strategy>("strategies", &mut errors);
        errors.push(whole);
        Err(errors.iter().map(|error| self.mistake(error)).collect())
    }
}
