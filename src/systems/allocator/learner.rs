//! What was learnt, and from which records: a fold of unique matured rewards. Pure.
//!
//! An exposure and its outcome make one reward, in whichever order they are read, and however often each stands in its log. What is
//! believed, how far the logs were read, and what was read and waits for its other half belong together: whoever goes on from all of
//! them counts nothing twice and leaves nothing out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::statistics::bandit::weights::floored;
use crate::statistics::bayes::{Beta, probabilities_best};
use crate::systems::allocator::catalogue::{Catalogue, ExperimentId};
use crate::systems::allocator::event::{Event, EventId, Kind};
use crate::world::property::bug;

crate::id!(
    /// The version of what was learnt, and of the weights that follow from it: that of its znode.
    WeightsVersion(i32),
    "w"
);

/// What is known of an arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many rewards.
    pub rewards: u64,
    /// How many of them were conversions.
    pub conversions: u64,
}

/// What is believed of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Belief {
    /// Of each arm, as far as any was rewarded.
    pub arms: Vec<Tally>,
    /// The weight of each arm that follows, where the experiment is adaptive; empty elsewhere.
    pub weights: Vec<f64>,
}

/// What is believed, by experiment. A few numbers for each arm: all that an allocator must know to decide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Beliefs(pub BTreeMap<ExperimentId, Belief>);

impl Beliefs {
    /// The weights of an experiment, if any were learnt.
    pub fn weights(&self, experiment: ExperimentId) -> Option<&[f64]> {
        let belief = self.0.get(&experiment)?;
        (!belief.weights.is_empty()).then_some(&*belief.weights)
    }
}

/// Numbers that were seen: stretches without a gap, the first and the end of each. Those of an app grow together soon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen(BTreeMap<u64, u64>);

impl Seen {
    /// Whether a number was seen.
    pub fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// Notes a number; false if it had been seen.
    pub fn insert(&mut self, number: u64) -> bool {
        if self.contains(number) {
            return false;
        }
        let end = self.0.remove(&(number + 1)).unwrap_or(number + 1);
        match self.0.range_mut(..number).next_back() {
            Some((_, before)) if *before == number => *before = end,
            _ => {
                self.0.insert(number, end);
            }
        }
        true
    }
}

/// How far the logs were read, and what was read of them that cannot be counted, or must not be counted again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// By topic and part: the offset of the first record that was not read.
    pub offsets: BTreeMap<Kind, BTreeMap<i32, i64>>,
    /// Exposures without an outcome: the experiment and the arm.
    exposures: BTreeMap<EventId, (ExperimentId, usize)>,
    /// Outcomes without an exposure.
    outcomes: BTreeMap<EventId, bool>,
    /// What has been counted, by the life of an app.
    counted: BTreeMap<u64, Seen>,
}

/// All that was learnt, at one version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learning {
    /// What is believed.
    pub beliefs: Beliefs,
    /// From what.
    pub progress: Progress,
}

/// A record that was read.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Of which topic.
    pub kind: Kind,
    /// Of which part.
    pub part: i32,
    /// At which offset.
    pub offset: i64,
    /// What it holds; `None` if it is no event.
    pub event: Option<Event>,
}

impl Learning {
    /// Takes a record in; one that was read before changes nothing.
    pub fn take(&mut self, taken: Taken) {
        let Taken { kind, part, offset, event } = taken;
        let next = self.progress.offsets.entry(kind).or_default().entry(part).or_default();
        if offset < *next {
            return;
        }
        *next = offset + 1;
        let Some(event) = event else { return };
        let id = event.id();
        let counted = self.progress.counted.get(&id.life).is_some_and(|seen| seen.contains(id.number));
        // The known bug counts an event that was sent again as another one.
        if counted && !bug("E06") {
            crate::reached!("a learner met an event again that it had counted");
            return;
        }
        let reward = match event {
            Event::Exposure(exposure) => {
                let shown = (exposure.experiment, exposure.arm);
                let outcome = self.progress.outcomes.get(&id).copied();
                if outcome.is_none() {
                    self.progress.exposures.insert(id, shown);
                } else {
                    crate::reached!("a learner met an outcome before its exposure");
                }
                outcome.map(|converted| (shown, converted))
            }
            Event::Outcome(outcome) => {
                let shown = self.progress.exposures.get(&id).copied();
                if shown.is_none() {
                    self.progress.outcomes.insert(id, outcome.converted);
                }
                shown.map(|shown| (shown, outcome.converted))
            }
        };
        if let Some((shown, converted)) = reward {
            self.count(id, shown, converted);
        }
    }

    fn count(&mut self, id: EventId, (experiment, arm): (ExperimentId, usize), converted: bool) {
        let fresh = self.progress.counted.entry(id.life).or_default().insert(id.number);
        // The known bug keeps both halves, so that another copy of either is counted too.
        if !bug("E06") {
            assert!(fresh, "reward {id} is counted twice");
            self.progress.exposures.remove(&id);
            self.progress.outcomes.remove(&id);
        } else {
            self.progress.exposures.insert(id, (experiment, arm));
        }
        let arms = &mut self.beliefs.0.entry(experiment).or_default().arms;
        if arms.len() <= arm {
            arms.resize(arm + 1, Tally::default());
        }
        arms[arm].rewards += 1;
        arms[arm].conversions += u64::from(converted);
    }

    /// Weighs the arms of each adaptive experiment that runs by how likely each is the best, given uniform priors.
    pub fn weigh(&mut self, catalogue: &Catalogue) {
        for experiment in catalogue.experiments.values().filter(|experiment| experiment.running) {
            let Some(adaptive) = experiment.draft.adaptive else { continue };
            let Some(belief) = self.beliefs.0.get_mut(&experiment.id) else { continue };
            belief.arms.resize(belief.arms.len().max(experiment.draft.arms.len()), Tally::default());
            let posterior =
                |tally: &Tally| Beta::UNIFORM.after(tally.conversions as f64, tally.rewards as f64);
            let best = probabilities_best(&belief.arms.iter().map(posterior).collect::<Vec<_>>());
            belief.weights = floored(&best, adaptive.floor.get());
            let sum: f64 = belief.weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "weights make {sum}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::systems::allocator::catalogue::tests::{after, draft, laid_out};
    use crate::systems::allocator::catalogue::{Adaptive, CatalogueVersion, Change};
    use crate::systems::allocator::event::{Exposure, Outcome};

    fn exposure(number: u64) -> Event {
        Event::Exposure(Exposure {
            id: EventId { life: number % 3, number },
            experiment: ExperimentId::new(1),
            unit: format!("u{number}"),
            arm: (number % 2) as usize,
            propensity: 0.5,
            catalogue: CatalogueVersion::new(1),
            weights: WeightsVersion::new(0),
        })
    }

    fn outcome(number: u64) -> Event {
        let id = EventId { life: number % 3, number };
        Event::Outcome(Outcome { id, converted: number.is_multiple_of(5) })
    }

    fn taken(kind: Kind, offset: usize, event: Event) -> Taken {
        Taken { kind, part: 0, offset: offset as i64, event: Some(event) }
    }

    /// As the two znodes hold it.
    fn written(learning: &Learning) -> [Vec<u8>; 2] {
        let beliefs = serde_json::to_vec(&learning.beliefs).expect("it can be written");
        [beliefs, serde_json::to_vec(&learning.progress).expect("it can be written")]
    }

    fn read_again([beliefs, progress]: &[Vec<u8>; 2]) -> Learning {
        let beliefs = serde_json::from_slice(beliefs).expect("it can be read");
        Learning { beliefs, progress: serde_json::from_slice(progress).expect("it can be read") }
    }

    /// What the logs say, reckoned without any state.
    fn expected(exposures: &[u64], outcomes: &[u64]) -> Vec<Tally> {
        let mut arms = vec![Tally::default(); 2];
        for number in 0..100 {
            if exposures.contains(&number) && outcomes.contains(&number) {
                arms[(number % 2) as usize].rewards += 1;
                arms[(number % 2) as usize].conversions += u64::from(number.is_multiple_of(5));
            }
        }
        arms
    }

    proptest! {
        #[test]
        fn the_belief_is_the_fold_of_unique_rewards_however_the_logs_meet_and_wherever_one_begins_again(
            exposures in prop::collection::vec(0..30u64, 0..60),
            outcomes in prop::collection::vec(0..30u64, 0..60),
            turns in prop::collection::vec((any::<bool>(), 0..5usize), 240),
        ) {
            let mut learning = Learning::default();
            let mut saved = written(&learning);
            let (mut first, mut second) = (0, 0);
            for (exposes, restart) in turns {
                // Another learner goes on from what was written last.
                if restart == 0 {
                    learning = read_again(&saved);
                    let at = |kind| {
                        let parts = learning.progress.offsets.get(&kind);
                        parts.and_then(|parts| parts.get(&0)).map_or(0, |offset| *offset as usize)
                    };
                    (first, second) = (at(Kind::Exposures), at(Kind::Outcomes));
                } else if exposes && first < exposures.len() {
                    learning.take(taken(Kind::Exposures, first, exposure(exposures[first])));
                    first += 1;
                } else if second < outcomes.len() {
                    learning.take(taken(Kind::Outcomes, second, outcome(outcomes[second])));
                    second += 1;
                }
                if restart == 1 {
                    saved = written(&learning);
                }
                let mut arms = learning.beliefs.0.values().next().map_or(Vec::new(), |belief| belief.arms.clone());
                arms.resize(2, Tally::default());
                prop_assert_eq!(arms, expected(&exposures[..first], &outcomes[..second]));
            }
        }

        #[test]
        fn stretches_hold_what_was_put_in(numbers in prop::collection::vec(0..40u64, 0..80)) {
            let (mut seen, mut model) = (Seen::default(), std::collections::BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(seen.insert(number), model.insert(number));
                (0..42).for_each(|other| assert_eq!(seen.contains(other), model.contains(&other)));
            }
            let gaps = model.iter().filter(|number| !model.contains(&(*number + 1))).count();
            prop_assert_eq!(seen.0.len(), gaps);
        }
    }

    #[test]
    fn weights_go_to_the_better_arm_and_keep_the_floor() {
        let mut draft = draft("one", 4);
        draft.adaptive = Some(Adaptive::default());
        let catalogue = after(&laid_out(4), &[Change::Start(draft)]);
        let mut learning = Learning::default();
        learning.weigh(&catalogue);
        assert_eq!(learning.beliefs.weights(ExperimentId::new(1)), None, "nothing is known");
        let arms = vec![Tally { rewards: 200, conversions: 10 }, Tally { rewards: 200, conversions: 60 }];
        learning.beliefs.0.insert(ExperimentId::new(1), Belief { arms, weights: Vec::new() });
        learning.weigh(&catalogue);
        let weights = learning.beliefs.weights(ExperimentId::new(1)).expect("it is adaptive");
        assert!((weights[0] - 0.05).abs() < 1e-6 && (weights[1] - 0.95).abs() < 1e-6, "{weights:?}");
    }
}
