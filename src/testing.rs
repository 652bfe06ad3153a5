//! Property tests of scenarios inside `cargo test`: many storms, and of one that breaks a promise only what is needed to break it.
//!
//! A storm is a seed and a plan of faults. The plan is drawn from the scenario's own rules as in a swarm (which rules take part, and
//! how often they strike, differs from storm to storm) and shrinks as `wavetank shrink` does: faults are left out, then weakened.
//! The same storms come each time; the environment variable `PROPTEST_CASES` says how many.
//!
//! # Examples
//!
//! One line property-tests a scenario:
//!
//! ```
//! use wavetank::testing::Property;
//!
//! Property::of("scenarios/coordination-storm.toml").set("acts.stir=2s").storms(2).holds();
//! ```
//!
//! For a property of your own, draw the storms and judge the runs yourself:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//!
//! use proptest::test_runner::{Config, TestRunner};
//! use wavetank::lab::{Options, execute};
//! use wavetank::scenario::Scenario;
//! use wavetank::testing::storms;
//!
//! let scenario = Scenario::load(Path::new("scenarios/coordination-storm.toml"), &["acts.stir=2s".to_owned()])?;
//! let mut runner = TestRunner::new(Config { cases: 2, failure_persistence: None, ..Config::default() });
//! runner
//!     .run(&storms(&scenario), |storm| {
//!         let options = Options { plan: Some(storm.plan), ..Options::default() };
//!         let run = execute(&scenario, storm.seed, &options, &mut |_| {});
//!         proptest::prop_assert!(run.messages < 1_000_000, "{} messages", run.messages);
//!         Ok(())
//!     })?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::base::Seed;
use crate::lab::{self, Options, Run, Verdict};
use crate::report::{Report, command};
use crate::scenario::Scenario;
use crate::world::fault::{FaultPlan, FaultRule, Place, PlannedFault};

/// How many runs may go into making a storm smaller.
const SHRINK_RUNS_MAX: u32 = 500;

/// How many storms a property is tried in, unless something else is said.
const STORMS: u32 = 16;

/// What varies from run to run of a scenario.
#[derive(Clone, PartialEq)]
pub struct Storm {
    /// Traffic, scheduling, latencies.
    pub seed: Seed,
    /// What breaks.
    pub plan: FaultPlan,
}

impl fmt::Debug for Storm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "seed {}, plan.toml:\n{}", self.seed, self.plan.to_toml())
    }
}

/// The storms of a scenario, for proptest.
pub fn storms(scenario: &Scenario) -> Storms {
    Storms {
        rules: scenario.faults.clone(),
        planned: scenario.plan.clone(),
        places: lab::places(scenario),
        stir: scenario.acts.stir.get(),
    }
}

/// A proptest strategy: see [`storms`].
#[derive(Clone, Debug)]
pub struct Storms {
    rules: Vec<FaultRule>,
    planned: FaultPlan,
    places: Vec<Place>,
    stir: Duration,
}

impl Strategy for Storms {
    type Tree = StormTree;
    type Value = Storm;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = Seed::new(proptest::num::u64::ANY.new_tree(runner)?.current());
        let (drawn, _) = FaultPlan::draw(&self.rules, &self.places, self.stir, seed, true);
        let faults = drawn.with(&self.planned).faults;
        let size = faults.len();
        Ok(StormTree { seed, failing: faults.clone(), tried: faults, next: Step::Drop { size, from: 0 } })
    }
}

/// A storm on its way to the smallest one that fails.
#[derive(Clone, Debug)]
pub struct StormTree {
    seed: Seed,
    /// The smallest faults known to fail.
    failing: Vec<PlannedFault>,
    /// The faults that are tried now.
    tried: Vec<PlannedFault>,
    next: Step,
}

/// What is tried next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Leave out so many faults, from this one on (ddmin).
    Drop { size: usize, from: usize },
    /// Put a weaker variant in the place of one fault.
    Weaken { fault: usize, variant: usize },
}

impl StormTree {
    /// Tries the next smaller storm. If there is none, what is tried is the smallest that fails.
    fn advance(&mut self) -> bool {
        loop {
            let faults = self.failing.len();
            match self.next {
                Step::Drop { size: 0, .. } => self.next = Step::Weaken { fault: 0, variant: 0 },
                Step::Drop { size, from } if faults <= from => {
                    let size = if size <= 1 { 0 } else { size.div_ceil(2) };
                    self.next = Step::Drop { size, from: 0 };
                }
                Step::Drop { size, from } => {
                    let end = faults.min(from + size);
                    self.tried = [&self.failing[..from], &self.failing[end..]].concat();
                    self.next = Step::Drop { size, from: end };
                    return true;
                }
                Step::Weaken { fault, .. } if faults <= fault => {
                    self.tried.clone_from(&self.failing);
                    return false;
                }
                Step::Weaken { fault, variant } => {
                    match self.failing[fault].weaker().into_iter().nth(variant) {
                        None => self.next = Step::Weaken { fault: fault + 1, variant: 0 },
                        Some(weaker) => {
                            self.tried.clone_from(&self.failing);
                            self.tried[fault] = weaker;
                            self.next = Step::Weaken { fault, variant: variant + 1 };
                            return true;
                        }
                    }
                }
            }
        }
    }
}

impl ValueTree for StormTree {
    type Value = Storm;

    fn current(&self) -> Storm {
        Storm { seed: self.seed, plan: FaultPlan { faults: self.tried.clone() } }
    }

    /// What was tried fails: on from there.
    fn simplify(&mut self) -> bool {
        let gone = self.failing.len() - self.tried.len();
        self.failing.clone_from(&self.tried);
        self.next = match self.next {
            // What stood behind the faults that were left out stands in their place now.
            Step::Drop { size, from } => Step::Drop { size, from: from - gone },
            Step::Weaken { fault, .. } => Step::Weaken { fault, variant: 0 },
        };
        self.advance()
    }

    /// What was tried holds: something else instead.
    fn complicate(&mut self) -> bool {
        self.advance()
    }
}

/// A scenario, to be tried in many storms.
#[derive(Clone, Debug)]
pub struct Property {
    file: PathBuf,
    set: Vec<String>,
    storms: u32,
}

impl Property {
    /// Every promise of the scenario in this file.
    #[expect(clippy::disallowed_methods, reason = "it says how many storms are tried; no run can read it")]
    pub fn of(file: impl AsRef<Path>) -> Self {
        let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
        let storms = asked.unwrap_or(STORMS);
        Self { file: file.as_ref().to_owned(), set: Vec::new(), storms }
    }

    /// With an override, as `--set` takes it.
    pub fn set(mut self, text: impl Into<String>) -> Self {
        self.set.push(text.into());
        self
    }

    /// In so many storms, instead of what `PROPTEST_CASES` says, or 16.
    pub fn storms(mut self, storms: u32) -> Self {
        self.storms = storms;
        self
    }

    /// Tries it.
    ///
    /// # Panics
    /// If the scenario cannot be run, or a promise is broken: with what was wrong in the smallest storm found, and that storm.
    pub fn holds(self) {
        let scenario =
            Scenario::load(&self.file, &self.set).unwrap_or_else(|error| panic!("{}", error.render(false)));
        let config = Config {
            cases: self.storms,
            failure_persistence: None,
            max_shrink_iters: SHRINK_RUNS_MAX,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let result = runner.run(&storms(&scenario), |storm| {
            let run = run(&scenario, &storm);
            let report = Report { run: &run, plan_file: None, difference: None };
            if run.verdict == Verdict::Held { Ok(()) } else { Err(TestCaseError::fail(report.text())) }
        });
        match result {
            Ok(()) => {}
            Err(TestError::Abort(reason)) => panic!("{reason}"),
            Err(TestError::Fail(reason, storm)) => {
                let plan = Some(Path::new("plan.toml"));
                let again = command("run", &self.file, storm.seed.get(), &self.set, plan);
                panic!(
                    "{reason}\nThe smallest storm found, {storm:?}\nTo see it again: save the plan; {again}\n"
                );
            }
        }
    }
}

fn run(scenario: &Scenario, storm: &Storm) -> Run {
    let options = Options { plan: Some(storm.plan.clone()), ..Options::default() };
    lab::execute(scenario, storm.seed, &options, &mut |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::fault::PlannedKind;

    fn smallest(fails: impl Fn(&FaultPlan) -> bool) -> FaultPlan {
        let scenario = Scenario::load(Path::new("scenarios/mixed-swarm.toml"), &[]).expect("it is shipped");
        let config =
            Config { cases: 50, failure_persistence: None, max_shrink_iters: 5000, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let judged = |storm: Storm| match fails(&storm.plan) {
            true => Err(TestCaseError::fail("as planned")),
            false => Ok(()),
        };
        match runner.run(&storms(&scenario), judged) {
            Err(TestError::Fail(_, storm)) => storm.plan,
            other => panic!("some storm fails: {other:?}"),
        }
    }

    #[test]
    fn of_a_storm_only_the_faults_that_matter_are_left() {
        let crash_of = |plan: &FaultPlan, name: &str| {
            plan.faults
                .iter()
                .any(|fault| matches!(&fault.kind, PlannedKind::Crash { host, .. } if host == name))
        };
        let plan = smallest(|plan| crash_of(plan, "broker-1") && crash_of(plan, "broker-2"));
        assert_eq!(plan.faults.len(), 2, "{}", plan.to_toml());
    }

    #[test]
    fn what_hurts_more_than_needed_is_weakened_and_shortened() {
        let down = |plan: &FaultPlan| {
            plan.faults.iter().any(|fault| fault.kind.length() >= Duration::from_millis(30))
        };
        let plan = smallest(|plan| down(plan));
        assert_eq!(plan.faults.len(), 1, "{}", plan.to_toml());
        assert!(plan.faults[0].kind.length() < Duration::from_millis(60), "{}", plan.to_toml());
    }

    #[test]
    fn a_storm_without_which_it_fails_too_is_no_storm() {
        assert_eq!(smallest(|_| true), FaultPlan::default());
    }
}
