//! An experiment: how it is drafted, which arms it offers, and by which weights they are drawn. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::Share;
use crate::statistics::bandit::weights::floored;
use crate::world::property::bug;

crate::id!(
    /// One start of an experiment: another that is started later, also under the same name, has another.
    ExperimentId(u32),
    "x"
);

/// How a unit's place is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// SHA-1, as PlanOut.
    #[default]
    Planout,
    /// FNV-1a twice, as GrowthBook's version 2: ten thousand places.
    Growthbook,
    /// MurmurHash3, as Optimizely: ten thousand places.
    Optimizely,
}

/// One of the things that are tried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name, unique in its experiment.
    pub name: String,
    /// Its share of the exposed, relative to the other arms' (default 1).
    #[serde(default = "Arm::weight_default")]
    pub weight: f64,
}

impl Arm {
    fn weight_default() -> f64 {
        1.0
    }
}

/// How an adaptive experiment moves its weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adaptive {
    /// No arm's weight falls below this (default 5%).
    pub floor: Share,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { floor: Share::new(0.05) }
    }
}

/// An experiment, as an operator starts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Its name. One that has ended may be taken again, for an experiment that has nothing to do with it.
    pub name: String,
    /// The layer in which it holds segments.
    pub layer: String,
    /// How many segments it takes of those that are free.
    pub segments: u32,
    /// The arms, at least two.
    pub arms: Vec<Arm>,
    /// Which share of those in its segments is exposed (default 100%).
    #[serde(default = "Draft::ramp_default")]
    pub ramp: Share,
    /// The hash (default `planout`).
    #[serde(default)]
    pub scheme: Scheme,
    /// Only visitors with one of these values of each of these attributes (default: all).
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
    /// Keep the arm that a visitor's browser remembers, whatever the weights have become (default false).
    #[serde(default)]
    pub sticky: bool,
    /// Move the weights to the arms that are likely to be the best (default: they stay).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
}

impl Draft {
    fn ramp_default() -> Share {
        Share::new(1.0)
    }
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Which start it is.
    pub id: ExperimentId,
    /// What its hashes begin with.
    pub salt: String,
    /// How it was drafted; the ramp is that of now, and arms that were added stand after the others.
    pub draft: Draft,
    /// The segments it holds, in rising order.
    pub segments: Vec<u32>,
    /// Units that have been given an arm, by its number.
    pub overrides: BTreeMap<String, usize>,
    /// The numbers of the arms that were removed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed: BTreeSet<usize>,
    /// Whether it runs. One that has ended holds nothing.
    pub running: bool,
}

impl Experiment {
    /// Each arm's share by the draft; 0 if it was removed.
    pub fn shares(&self) -> Vec<f64> {
        let weights: Vec<f64> = self
            .draft
            .arms
            .iter()
            .enumerate()
            .map(|(number, arm)| if self.offers(number) { arm.weight } else { 0.0 })
            .collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// Whether there is an arm of this number that was not removed.
    pub fn offers(&self, arm: usize) -> bool {
        arm < self.draft.arms.len() && !self.removed.contains(&arm)
    }

    /// The weight of each arm, given those that were learnt, perhaps when the arms were others: what arms that were removed had goes to the
    /// others in their proportions, and then each has the floor, as whoever learns would give it.
    pub fn weights<'learnt>(&self, learnt: Option<&'learnt [f64]>) -> Cow<'learnt, [f64]> {
        let Some(learnt) = learnt else { return self.shares().into() };
        let arms = self.draft.arms.len();
        if learnt.len() == arms && self.removed.iter().all(|arm| learnt[*arm] == 0.0) {
            return learnt.into();
        }
        crate::reached!("an arm was drawn by weights that were learnt of other arms");
        let offered = (0..arms).filter(|arm| self.offers(*arm));
        let left: Vec<f64> = offered.map(|arm| learnt.get(arm).copied().unwrap_or(0.0)).collect();
        let sum: f64 = left.iter().sum();
        if sum <= 0.0 {
            return self.shares().into();
        }
        let left: Vec<f64> = left.iter().map(|weight| weight / sum).collect();
        self.spread(&left).into()
    }

    /// Weights of the arms that are offered, none below the floor of an adaptive experiment; those that were removed have 0.
    pub fn spread(&self, offered: &[f64]) -> Vec<f64> {
        let floor = self.draft.adaptive.map_or(0.0, |adaptive| adaptive.floor.get());
        // The known bug lifts what lies below the floor to it, and divides all by their sum, so that it sinks below it again.
        let mut next = if bug("E09") { clipped(offered, floor) } else { floored(offered, floor) }.into_iter();
        let weight = |arm| if self.offers(arm) { next.next().expect("one for each") } else { 0.0 };
        (0..self.draft.arms.len()).map(weight).collect()
    }
}

fn clipped(weights: &[f64], floor: f64) -> Vec<f64> {
    let lifted: Vec<f64> = weights.iter().map(|weight| weight.max(floor)).collect();
    let sum: f64 = lifted.iter().sum();
    lifted.iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::systems::allocator::catalogue::Change;
    use crate::systems::allocator::catalogue::tests::{adaptive, add, after, laid_out, remove};

    fn experiment(changes: &[Change]) -> Experiment {
        let began = after(&laid_out(4), &[Change::Start(adaptive("one", 4, 0.05))]);
        after(&began, changes).experiments.remove("one").expect("it was started")
    }

    #[test]
    fn what_was_learnt_of_other_arms_is_shared_among_those_that_are_offered() {
        let weights = |changes: &[Change], learnt: &[f64]| {
            experiment(changes)
                .weights(Some(learnt))
                .iter()
                .map(|w| (w * 1e6).round() / 1e6)
                .collect::<Vec<_>>()
        };
        let (more, fewer, other) =
            ([add("one", "c")], [add("one", "c"), remove("one", "a")], [add("one", "c"), remove("one", "b")]);
        // As they are, wherever they are of the same arms; also what was learnt by whoever knows already that an arm is gone.
        assert_eq!(weights(&[], &[0.3, 0.7]), [0.3, 0.7]);
        assert_eq!(weights(&more, &[0.3, 0.7, 0.0]), [0.3, 0.7, 0.0]);
        assert_eq!(weights(&fewer, &[0.0, 0.7, 0.3]), [0.0, 0.7, 0.3]);
        // A third of .05 each, and 85 % of what there was.
        assert_eq!(weights(&more, &[0.3, 0.7]), [0.305, 0.645, 0.05]);
        assert_eq!(weights(&fewer, &[0.3, 0.7]), [0.0, 0.95, 0.05]);
        assert_eq!(weights(&fewer, &[0.2, 0.2, 0.6]), [0.0, 0.275, 0.725]);
        // By whoever knows of an arm that is not there yet.
        assert_eq!(weights(&[], &[0.1, 0.3, 0.6]), [0.275, 0.725]);
        // Nothing is known of those that are offered.
        assert_eq!(weights(&other, &[0.0, 1.0]), [0.5, 0.0, 0.5]);
    }

    proptest! {
        #[test]
        fn weights_make_one_whatever_was_learnt_and_only_of_arms_that_are_offered(
            steps in prop::collection::vec((any::<bool>(), 0..8usize), 0..12),
            learnt in prop::collection::vec(0.0..1.0f64, 0..10),
        ) {
            let mut catalogue = after(&laid_out(4), &[Change::Start(adaptive("one", 4, 0.05))]);
            for (number, (adds, arm)) in steps.into_iter().enumerate() {
                let names = ["a", "b"].map(str::to_owned).into_iter().chain((0..8).map(|n| format!("n{n}")));
                let name = names.collect::<Vec<_>>()[arm].clone();
                let change = if adds { add("one", &format!("n{number}")) } else { remove("one", &name) };
                catalogue = catalogue.changed(&change).unwrap_or(catalogue);
            }
            let experiment = &catalogue.experiments["one"];
            let sum: f64 = learnt.iter().sum();
            let learnt: Vec<f64> = learnt.iter().map(|weight| weight / sum.max(1e-9)).collect();
            for weights in [experiment.weights(None), experiment.weights(Some(&learnt))] {
                prop_assert_eq!(weights.len(), experiment.draft.arms.len());
                let sum: f64 = weights.iter().sum();
                let same = weights.iter().eq(&learnt);
                prop_assert!(same || (sum - 1.0).abs() < 1e-9, "{weights:?}");
                for (arm, weight) in weights.iter().enumerate() {
                    let due = if experiment.offers(arm) { same || 0.05 - 1e-12 <= *weight } else { *weight == 0.0 };
                    prop_assert!(due, "arm {arm} of {weights:?}");
                }
            }
        }
    }
}
