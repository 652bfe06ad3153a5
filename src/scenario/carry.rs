//! Strategies that a platform carries out: the users and the strategies of one file, in the place of the experiments of a scenario.
//!
//! Everything else stays what the scenario says: systems, zones, clocks, faults, acts, and how apps send what they record. Each strategy
//! becomes an experiment in a layer of its own, and the same users come to all of them.
//!
//! - Users' time runs so fast that their days end with the stir: as without a platform, what is not clear then is not known.
//! - Fixed shares are weights. Who gets which arm is told by a hash of a cookie, not by the user's own draw as without a platform, so that a
//!   seed brings the same users, and not each to the same arm.
//! - Thompson sampling is that of the allocators: the weight of an arm is the probability that it is the best, reckoned anew every so often,
//!   and a hash draws by the weights. How often: a batch of visits, in time. All that learn share one pace, as the allocators have one.
//! - The decision at the end is made from what a run tells of the logs, by the strategy's own rule.
//!
//! Whatever else a strategy may be, no platform carries out: it is refused.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use crate::base::{Problem, Share, Span};
use crate::experiment::strategy::{Allocate, Remember, Stop, Strategy};
use crate::experiment::users::UserModel;
use crate::scenario::error::{Mistake, ScenarioError};
use crate::scenario::{Draft, Scenario, Study, Visitors, check, with_document};
use crate::systems::allocator::api::{
    Adaptive, Arm, Change, Draft as Experiment, Identity, LayerDraft, Scheme,
};
use crate::workloads::experiment::{Config, Step};

/// How many segments each layer has; its experiment takes all.
const SEGMENTS: u32 = 10;

/// The shortest pace at which allocators learn.
const LEARN_EVERY_MIN: Span = Span::millis(10);

const DAY: Duration = Duration::from_secs(86_400);

/// A scenario in which a platform carries out the strategies of a file.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The file of the platform.
    pub platform: PathBuf,
    /// The scenario, as a file of its own.
    pub draft: Draft,
    /// For how long users come, in the time of a run.
    pub stir: Span,
    /// How many times faster than the users' a run's time is.
    pub speed_up: f64,
    /// How often the allocators learn, if any strategy does.
    pub learn_every: Option<Span>,
    /// The name of the workload, with which the names of its figures begin.
    pub workload: String,
    /// What each strategy's experiment is called there, in the order of the file.
    pub experiments: Vec<String>,
    /// What the arms are called there.
    pub arms: Vec<String>,
}

impl Study {
    /// Reads a file of strategies, as [`Study::load`] does, and puts it onto each of these platforms.
    ///
    /// # Errors
    /// Everything that keeps it from being compared, there or without a platform.
    pub fn load_onto(
        path: &Path,
        overrides: &[String],
        platforms: &[(Draft, Scenario)],
    ) -> Result<(Self, Vec<Carried>), ScenarioError> {
        with_document(path, overrides, |document| {
            let study = Self::from_document(document, path, overrides)?;
            let (mut carried, mut problems, mut mistakes) =
                (Vec::new(), study.beyond_platforms(), Vec::new());
            for (draft, scenario) in platforms {
                mistakes.extend(unfit(scenario));
                match &study.visitors {
                    Visitors::Users(users) if problems.is_empty() && mistakes.is_empty() => {
                        match study.carry(users, draft, scenario) {
                            Ok(one) => carried.push(one),
                            Err(more) => problems.extend(more),
                        }
                    }
                    _ => {}
                }
            }
            mistakes.extend(check::told(problems, document));
            if mistakes.is_empty() { Ok((study, carried)) } else { Err(mistakes) }
        })
    }

    /// What no platform carries out.
    fn beyond_platforms(&self) -> Vec<Problem> {
        let Visitors::Users(users) = &self.visitors else {
            let message = "a platform serves users who come, and a log has none";
            let help = "write [users], or compare the strategies on the log without --platform";
            return vec![Problem::new("log", message).help(help)];
        };
        let mut problems = Vec::new();
        if 64 < users.arms.len() {
            let message = format!("{} arms; an experiment on a platform has 64 at most", users.arms.len());
            problems.push(Problem::new("users.arms", message).help("remove some"));
        }
        if users.come_again() {
            let key = if users.returning.is_some() { "users.returning" } else { "users.bots" };
            let message = "who comes again keeps its arm on a platform, where visits are counted, not users";
            let help = "let everybody come once, or compare without --platform";
            problems.push(Problem::new(key, message).help(help));
        }
        if !users.segments.is_empty() {
            let problem = Problem::new("users.segments", "apps of a platform do not tell segments apart");
            problems.push(problem.help("remove them, or compare without --platform"));
        }
        let mut batch = None;
        for (index, strategy) in self.strategies.iter().enumerate() {
            let own = beyond_platform(strategy, &mut batch);
            problems.extend(own.into_iter().map(|problem| problem.within(&format!("strategies.{index}"))));
        }
        problems
    }

    /// Puts it onto a platform that is fit for it.
    fn carry(&self, users: &UserModel, draft: &Draft, scenario: &Scenario) -> Result<Carried, Vec<Problem>> {
        let stir = scenario.acts.stir;
        // A trace more, so that no rounding lets anybody come after the stir.
        let speed_up = users.length().as_secs_f64() / stir.get().as_secs_f64() * (1.0 + 1e-12);
        let batches = self.strategies.iter().enumerate().filter(|(_, strategy)| strategy.learns());
        let learn_every = match batches.map(|(index, strategy)| (index, strategy.batch)).next() {
            Some((index, batch)) => Some(
                pace(users, batch, speed_up)
                    .map_err(|problem| vec![problem.within(&format!("strategies.{index}"))])?,
            ),
            None => None,
        };
        let arms = names(users.arms.iter().map(|arm| &*arm.name));
        let experiments = names(self.strategies.iter().map(|strategy| &*strategy.name));
        let mut model = users.clone();
        model.arms.iter_mut().zip(&arms).for_each(|(arm, name)| arm.name.clone_from(name));
        let workload = Workload { users: &model, arms: &arms, experiments: &experiments };
        let mut draft = draft.clone();
        for (key, value) in workload.settings(&self.strategies, speed_up) {
            draft.set(&format!("workloads.experiment.{key}"), value);
        }
        let config = draft.get("workloads.experiment").cloned().map(Value::try_into::<Config>);
        let config = config.expect("it was just set").expect("it was made of its own types");
        // What is left are numbers that together are too large: there are too many visits, or they would come too fast.
        let problems: Vec<Problem> = config.validate().into_iter().map(misplaced).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        if let Some(learn_every) = learn_every {
            draft.set("systems.allocator.learn_every", Value::String(learn_every.to_string()));
        }
        // Events that the scenario exists to visit may need the experiments that are gone.
        draft.remove("expect");
        let title = format!("{} ({})", self.title, scenario.title);
        draft.set("title", Value::String(title));
        let platform = scenario.path.clone();
        let workload = config.name;
        Ok(Carried { platform, draft, stir, speed_up, learn_every, workload, experiments, arms })
    }
}

/// A problem of the workload that was made, where the file of strategies causes it.
fn misplaced(problem: Problem) -> Problem {
    let path = if problem.path == "speed_up" { "users.days" } else { "users" };
    Problem { path: path.to_owned(), ..problem }
}

/// Why this scenario is no platform for strategies.
fn unfit(scenario: &Scenario) -> Option<Mistake> {
    let path = scenario.path.display();
    if scenario.systems.allocator.is_none() {
        let message = format!("cannot carry strategies out on {path}: no allocators stand there");
        let mend = "choose a scenario with [systems.allocator], such as scenarios/decisions-calm.toml";
        return Some(Mistake::new(message).mend(Some(mend.to_owned())));
    }
    scenario.swarm.then(|| {
        let message = format!(
            "cannot carry strategies out on {path}: a swarm draws the pace at which allocators learn"
        );
        let mend = "set swarm=false there, or choose a scenario that is no swarm";
        Mistake::new(message).mend(Some(mend.to_owned()))
    })
}

/// What of a strategy no platform carries out. `batch` is that of the first one that learns.
fn beyond_platform(strategy: &Strategy, batch: &mut Option<u64>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |path: &str, message: String, help: &str| {
        problems.push(Problem::new(path, message).help(help));
    };
    match &strategy.allocate {
        Allocate::Equal | Allocate::Thompson => {}
        Allocate::Shares(shares) => {
            if shares.contains(&Share::default()) {
                let message = "an arm without any share cannot be one of an experiment on a platform";
                refuse("allocate.shares", message.into(), "give each arm some, or remove the arm");
            }
        }
        _ => refuse(
            "allocate",
            "no platform splits traffic so: its allocators know fixed shares and Thompson sampling".into(),
            "choose \"equal\", { shares = [..] } or \"thompson\", or compare this strategy without --platform",
        ),
    }
    if !matches!(strategy.stop, Stop::Horizon | Stop::FixedHorizon) {
        refuse(
            "stop",
            "on a platform nobody looks before the end".into(),
            "choose \"horizon\" or \"fixed-horizon\", or compare this strategy without --platform",
        );
    }
    if strategy.memory != Remember::All {
        let help = "remove it, or compare this strategy without --platform";
        refuse("memory", "allocators remember all rewards alike".into(), help);
    }
    if strategy.learns() {
        let first = *batch.get_or_insert(strategy.batch);
        if first != strategy.batch {
            let message = format!("allocators have one pace: another strategy learns every {first} visits");
            refuse("batch", message, "give all that learn the same batch, or compare them one by one");
        }
    }
    problems
}

/// How often allocators learn, in the time of a run: once while so many visits come.
fn pace(users: &UserModel, batch: u64, speed_up: f64) -> Result<Span, Problem> {
    let millis = |visits: f64| 1000.0 * visits * DAY.as_secs_f64() / (f64::from(users.per_day) * speed_up);
    let exact = millis(batch as f64);
    let pace = Span::millis(libm::round(exact).max(0.0) as u64);
    if DAY.as_secs_f64() * 1000.0 < exact {
        let message = format!("{batch} visits are more than come in a day of a run: it would never learn");
        return Err(Problem::new("batch", message).help("choose a smaller batch"));
    }
    if LEARN_EVERY_MIN <= pace {
        return Ok(pace);
    }
    let least = libm::ceil(LEARN_EVERY_MIN.get().as_secs_f64() * 1000.0 / millis(1.0));
    let message = format!(
        "{batch} visits come within {exact:.3}ms of a run, and allocators learn every {LEARN_EVERY_MIN} at most"
    );
    let help = format!("choose batch = {least} or more, fewer users, or a longer stir");
    Err(Problem::new("batch", message).help(help))
}

/// Names as a catalogue takes them, each of its own: `Thompson, nightly` becomes `thompson-nightly`.
fn names<'text>(texts: impl Iterator<Item = &'text str>) -> Vec<String> {
    distinct(texts.map(|text| {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
        let words: String = text.chars().map(letter).collect();
        let plain = words.split_whitespace().collect::<Vec<_>>().join("-");
        if plain.is_empty() { "unnamed".to_owned() } else { plain }
    }))
}

/// Names each of its own: those that are taken get a number, from 2 on.
pub fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let own = |plain: String| {
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let name = [plain.clone()].into_iter().chain(numbered).find(|name| taken.insert(name.clone()));
        name.expect("there are numbers without end")
    };
    names.map(own).collect()
}

/// What is set in the experiment workload of a scenario.
struct Workload<'study> {
    users: &'study UserModel,
    arms: &'study [String],
    experiments: &'study [String],
}

impl Workload<'_> {
    fn settings(&self, strategies: &[Strategy], speed_up: f64) -> [(&'static str, Value); 4] {
        let layer =
            |name: &String| LayerDraft { name: name.clone(), unit: Identity::Cookie, segments: SEGMENTS };
        let layers = self.experiments.iter().map(layer).collect();
        let lay_out = Change::LayOut { layers, holdout: Share::default() };
        let starts = self.experiments.iter().zip(strategies);
        let starts = starts.map(|(name, strategy)| Change::Start(self.experiment(name, strategy)));
        let at = Span::default();
        let steps: Vec<Step> =
            [lay_out].into_iter().chain(starts).map(|change| Step { at, change }).collect();
        let users = self.experiments.iter().map(|name| (name.clone(), written(self.users))).collect();
        [
            ("speed_up", Value::Float(speed_up)),
            ("by_experiment", Value::Boolean(true)),
            ("steps", written(&steps)),
            ("users", Value::Table(users)),
        ]
    }

    fn experiment(&self, name: &str, strategy: &Strategy) -> Experiment {
        let weight = |arm: usize| match &strategy.allocate {
            Allocate::Shares(shares) => shares[arm].get(),
            _ => 1.0,
        };
        let arm = |(arm, name): (usize, &String)| Arm { name: name.clone(), weight: weight(arm) };
        Experiment {
            name: name.to_owned(),
            layer: name.to_owned(),
            segments: SEGMENTS,
            arms: self.arms.iter().enumerate().map(arm).collect(),
            ramp: Share::new(1.0),
            scheme: Scheme::Planout,
            only: [].into(),
            sticky: strategy.sticky,
            adaptive: strategy.learns().then_some(Adaptive { floor: strategy.floor }),
        }
    }
}

fn written(value: &impl serde::Serialize) -> Value {
    Value::try_from(value).expect("its own types hold nothing that TOML cannot say")
}
