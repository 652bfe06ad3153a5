//! A scenario file: one TOML document composed of the parts' own configuration types.
//!
//! Promises: a [`Scenario`] that exists can be run; whatever is wrong with a file is told at once, with file, line, column, cause and
//! mend ([`ScenarioError`]). Must not know: how a run is carried out. It invents no knob: what a key does is told where it is obeyed.

mod carry;
mod check;
mod data;
mod draft;
mod error;
mod file;
mod glance;
mod include;
mod nearest;
mod project;
mod read;
mod set;
mod shape;
mod source;
mod study;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::Schema;

use crate::base::{Problem, Seed};
use crate::workloads::clickstream::impression::Impression;
use crate::world::ClockConfig;
use crate::world::fault::operator::OPERATOR;
use crate::world::fault::{FaultKind, FaultPlan, FaultRule, PlannedKind};

pub use carry::{Carried, distinct};
pub use draft::Draft;
pub use error::{Mistake, ScenarioError, Warning};
pub use file::{Acts, Expect, SettleForm, Systems, Workloads, Zones};
pub use glance::{Glance, Kind};
pub use nearest::{advice, nearest};
pub use project::Project;
pub use study::{Study, Visitors};

use file::ScenarioFile;
use include::Files;
use read::Document;

/// A scenario that can be run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file it was read from.
    pub path: PathBuf,
    /// What it claims, as one sentence.
    pub title: String,
    /// The overrides it was read with, as `--set` takes them.
    pub overrides: Vec<String>,
    /// How long the acts last.
    pub acts: Acts,
    /// The zones and their links.
    pub zones: Zones,
    /// The calendar clocks of hosts.
    pub clocks: ClockConfig,
    /// The systems under test.
    pub systems: Systems,
    /// What clients do.
    pub workloads: Workloads,
    /// The impressions that clickstreams replay, by their file.
    pub impressions: BTreeMap<PathBuf, Arc<Vec<Impression>>>,
    /// What breaks.
    pub faults: Vec<FaultRule>,
    /// What breaks besides, as planned.
    pub plan: FaultPlan,
    /// The seed of a run that is given no other.
    pub seed: Seed,
    /// Whether the seed draws which faults take part, and the systems' constants.
    pub swarm: bool,
    /// The known bugs that are switched on.
    pub bugs: Vec<String>,
    /// Whether faults may hurt more copies than the systems survive.
    pub beyond_budget: bool,
    /// What a good run visits.
    pub expect: Expect,
    /// What in its files will have no effect.
    pub warnings: Vec<Warning>,
}

/// A number that makes a scenario larger or smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its dotted path.
    pub path: String,
    /// What it is.
    pub value: u32,
    /// If it counts hosts: how their names begin, before `-1`.
    pub hosts: Option<String>,
}

impl Scenario {
    /// Reads a scenario file, what it includes, and overrides of the form `dotted.path=value`.
    ///
    /// # Errors
    /// Everything that keeps it from being run.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ScenarioError> {
        with_document(path, overrides, |document| Self::from_document(document, path, overrides))
    }

    fn from_document(
        document: &Document<'_>,
        path: &Path,
        overrides: &[String],
    ) -> Result<Self, Vec<Mistake>> {
        let message = format!("cannot run {}", path.display());
        refuse_others(document, path, &message, "a scenario", &[STRATEGIES, PROJECT])?;
        let mut scenario = Self::from_file(document.scenario()?, path, overrides, document);
        let mut mistakes = check::check(&scenario, document);
        mistakes.extend(check::told(scenario.read_data(), document));
        scenario.warnings = check::warned(check::idle(&scenario), document);
        if mistakes.is_empty() { Ok(scenario) } else { Err(mistakes) }
    }

    fn from_file(file: ScenarioFile, path: &Path, overrides: &[String], document: &Document<'_>) -> Self {
        let mut workloads = file.workloads;
        for (index, clickstream) in workloads.clickstream.iter_mut().enumerate() {
            // Relative to the file in which the path is written, which may be an included one.
            let at = document.span(&format!("workloads.clickstream.{index}.source")).start;
            clickstream.source = document.sources.folder(at).join(&clickstream.source);
        }
        Self {
            path: path.to_owned(),
            title: file.title,
            overrides: overrides.to_vec(),
            acts: file.acts,
            zones: file.zones,
            clocks: file.clocks,
            systems: file.systems,
            workloads,
            impressions: BTreeMap::new(),
            faults: file.faults,
            plan: file.plan,
            seed: file.seed,
            swarm: file.swarm,
            bugs: file.bugs,
            beyond_budget: file.beyond_budget,
            expect: file.expect,
            warnings: Vec::new(),
        }
    }

    fn read_data(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, clickstream) in self.workloads.clickstream.iter().enumerate() {
            if self.impressions.contains_key(&clickstream.source) {
                continue;
            }
            let place = format!("workloads.clickstream.{index}.source");
            match data::impressions(&clickstream.source, place) {
                Ok(read) => {
                    self.impressions.insert(clickstream.source.clone(), Arc::new(read));
                }
                Err(problem) => problems.push(problem),
            }
        }
        problems
    }

    /// The scenario of one run: in a swarm, with the constants that the seed draws. Returns these too, by dotted path.
    pub fn drawn(&self, seed: Seed) -> (Self, Vec<(String, String)>) {
        let mut scenario = self.clone();
        let mut all = Vec::new();
        if !self.swarm {
            return (scenario, all);
        }
        let mut note = |part: &str, drawn: Vec<(String, String)>| {
            all.extend(drawn.into_iter().map(|(name, value)| (format!("{part}.{name}"), value)));
        };
        if let Some(config) = &mut scenario.systems.coordination {
            note("systems.coordination", config.swarm(&mut seed.stream("swarm/coordination")));
        }
        if let Some(config) = &mut scenario.systems.broker {
            note("systems.broker", config.swarm(&mut seed.stream("swarm/broker")));
        }
        if let Some(config) = &mut scenario.systems.allocator {
            note("systems.allocator", config.swarm(&mut seed.stream("swarm/allocator")));
        }
        if let Some(config) = &mut scenario.workloads.experiment {
            note("workloads.experiment", config.swarm(&mut seed.stream(&format!("swarm/{}", config.name))));
        }
        for (index, config) in scenario.workloads.clickstream.iter_mut().enumerate() {
            let mut stream = seed.stream(&format!("swarm/{}", config.name));
            note(&format!("workloads.clickstream.{index}"), config.swarm(&mut stream));
        }
        (scenario, all)
    }

    /// The names of the hosts of the systems under test.
    pub fn servers(&self) -> Vec<String> {
        let numbered =
            |name: &str, count: u32| (1..=count).map(move |n| format!("{name}-{n}")).collect::<Vec<_>>();
        self.server_counts().map(|(name, count)| numbered(name, count)).concat()
    }

    /// The zones in which servers stand: those of a kind stand in the zones by turns.
    pub fn zones_with_servers(&self) -> Vec<&str> {
        let most = self.server_counts().map(|(_, count)| count).into_iter().max().unwrap_or(0);
        self.zones.names.iter().map(String::as_str).take(most as usize).collect()
    }

    /// How many servers each system has.
    fn server_counts(&self) -> [(&'static str, u32); 3] {
        let Systems { coordination, broker, allocator } = &self.systems;
        [
            ("coordination", coordination.as_ref().map_or(0, |config| config.servers)),
            ("broker", broker.as_ref().map_or(0, |config| config.brokers)),
            ("allocator", allocator.as_ref().map_or(0, |config| config.servers)),
        ]
    }

    /// What makes it large.
    pub fn sizes(&self) -> Vec<Size> {
        let mut sizes = Vec::new();
        let mut add = |parent: &str, key: &str, value: u32, hosts: Option<String>| {
            sizes.push(Size { path: format!("{parent}.{key}"), value, hosts });
        };
        if let Some(config) = &self.systems.broker {
            for (index, topic) in config.topics.iter().enumerate() {
                let parent = format!("systems.broker.topics.{index}");
                add(&parent, "partitions", topic.partitions, None);
                add(&parent, "min_in_sync", topic.min_in_sync, None);
                add(&parent, "replicas", topic.replicas, None);
            }
            add("systems.broker", "brokers", config.brokers, Some("broker".to_owned()));
        }
        if let Some(config) = &self.systems.coordination {
            add("systems.coordination", "servers", config.servers, Some("coordination".to_owned()));
        }
        if let Some(config) = &self.systems.allocator {
            add("systems.allocator", "servers", config.servers, Some("allocator".to_owned()));
        }
        if let Some(config) = &self.workloads.experiment {
            add("workloads.experiment", "apps", config.apps, Some(format!("{}-app", config.name)));
            for (name, model) in &config.users {
                add(&format!("workloads.experiment.users.{name}"), "per_day", model.per_day, None);
            }
        }
        for (index, config) in self.workloads.clickstream.iter().enumerate() {
            let parent = format!("workloads.clickstream.{index}");
            add(&parent, "producers", config.producers, Some(format!("{}-producer", config.name)));
            add(&parent, "consumers", config.consumers, Some(format!("{}-consumer", config.name)));
        }
        for (index, config) in self.workloads.registers.iter().enumerate() {
            let parent = format!("workloads.registers.{index}");
            add(&parent, "clients", config.clients, Some(format!("{}-client", config.name)));
            add(&parent, "registers", config.registers, None);
        }
        for (index, config) in self.workloads.garbage.iter().enumerate() {
            let parent = format!("workloads.garbage.{index}");
            add(&parent, "clients", config.clients, Some(format!("{}-client", config.name)));
        }
        sizes
    }

    /// The names of all hosts: servers, then the workloads' clients.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts = self.servers();
        let mut add = |name: &str, role: &str, count: u32| {
            hosts.extend((1..=count).map(|number| format!("{name}-{role}-{number}")));
        };
        for config in &self.workloads.clickstream {
            add(&config.name, "producer", config.producers);
            add(&config.name, "consumer", config.consumers);
        }
        for config in &self.workloads.registers {
            add(&config.name, "client", config.clients);
        }
        for config in &self.workloads.garbage {
            add(&config.name, "client", config.clients);
        }
        if let Some(config) = &self.workloads.experiment {
            let name = &config.name;
            hosts.extend((1..=config.apps).map(|number| format!("{name}-app-{number}")));
            hosts.extend([format!("{name}-curator-1"), format!("{name}-reader-1")]);
        }
        if self.has_operator() {
            hosts.push(OPERATOR.to_owned());
        }
        hosts
    }

    /// Whether somebody is needed who carries out orders.
    pub fn has_operator(&self) -> bool {
        let ordered = self.faults.iter().any(|rule| matches!(rule.kind, FaultKind::Operate(_)));
        let planned = |plan: &FaultPlan| {
            plan.faults.iter().any(|fault| matches!(fault.kind, PlannedKind::Operate { .. }))
        };
        ordered || planned(&self.plan)
    }

    /// What a scenario file may hold, as a JSON Schema for editors.
    pub fn schema() -> Schema {
        schemars::schema_for!(ScenarioFile)
    }
}

/// A key that files of one kind have alone, what such a file is, and the command that takes it.
type Sign = (&'static str, &'static str, &'static str);

const STRATEGIES: Sign = ("strategies", "a file of strategies", "compare");
const PROJECT: Sign = ("gap", "a file of a project", "impact");
const SCENARIO: Sign = ("systems", "a scenario", "run");

/// Refuses a file that is for another command, before its keys are: `wanted` says what should be here.
fn refuse_others(
    document: &Document<'_>,
    path: &Path,
    message: &str,
    wanted: &str,
    others: &[Sign],
) -> Result<(), Vec<Mistake>> {
    for (key, what, verb) in others {
        if document.table.contains_key(*key) {
            let cause = format!("{wanted} has none: this is {what}");
            let mistake = document.sources.mistake(document.span(key), message.to_owned(), cause);
            return Err(vec![mistake.mend(Some(format!("wavetank {verb} {}", path.display())))]);
        }
    }
    Ok(())
}

/// Reads a scenario file and what it includes, applies overrides, and hands over the one table that results.
fn with_document<T>(
    path: &Path,
    overrides: &[String],
    read: impl FnOnce(&Document<'_>) -> Result<T, Vec<Mistake>>,
) -> Result<T, ScenarioError> {
    let failed = |mistakes| ScenarioError::new(path, mistakes);
    let mut files = Files::default();
    let mistakes = files.read(path);
    if !mistakes.is_empty() {
        return Err(failed(mistakes));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let places: Vec<usize> =
        overrides.iter().map(|text| files.sources.add("--set".to_owned(), text, folder)).collect();
    let mut document = Document { table: files.merged(), sources: &files.sources };
    let mut mistakes = Vec::new();
    for begins in places {
        let text = files.sources.text(begins);
        if let Err(error) = set::set(&mut document.table, text, begins) {
            let message = format!("cannot set `{text}`");
            mistakes.push(files.sources.mistake(error.span, message, error.cause).mend(error.mend));
        }
    }
    if !mistakes.is_empty() {
        return Err(failed(mistakes));
    }
    if document.table.is_empty() {
        let mend = "a scenario has at least a line title = \"…\" and a table [systems.coordination]; copy scenarios/clickstream.toml";
        let message = format!("cannot run {}: nothing stands in it", path.display());
        return Err(failed(vec![Mistake::new(message).mend(Some(mend.to_owned()))]));
    }
    read(&document).map_err(failed)
}

/// Reads a plan of faults that an earlier run has saved, for a run of this scenario; with what in it will have no effect.
///
/// # Errors
/// What is wrong with the file.
pub fn load_plan(path: &Path, scenario: &Scenario) -> Result<(FaultPlan, Vec<Warning>), ScenarioError> {
    let mut files = Files::default();
    let mistakes = files.read(path);
    if !mistakes.is_empty() {
        return Err(ScenarioError::new(path, mistakes));
    }
    let document = Document { table: files.merged(), sources: &files.sources };
    let plan = document.whole().map_err(|error| ScenarioError::new(path, vec![document.mistake(&error)]))?;
    let mistakes = check::told(check::plan(&plan, scenario), &document);
    if !mistakes.is_empty() {
        return Err(ScenarioError::new(path, mistakes));
    }
    let warnings = check::warned(check::idle_faults(&plan, scenario), &document);
    Ok((plan, warnings))
}
