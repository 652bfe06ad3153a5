//! What was learnt, and from which records: a fold of unique matured rewards. Pure.
//!
//! What is believed and the progress it was learnt by belong together: whoever goes on from both counts nothing twice and leaves nothing
//! out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::statistics::bayes::{Beta, probabilities_best};
use crate::systems::allocator::catalogue::Catalogue;
use crate::systems::allocator::event::{Event, Kind};
use crate::systems::allocator::experiment::ExperimentId;
use crate::systems::allocator::progress::{Progress, Reward};
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
    /// The time it bears, in milliseconds since the Unix epoch.
    pub at: i64,
    /// What it holds; `None` if it is no event.
    pub event: Option<Event>,
}

impl Learning {
    /// Takes a record in; one that was read before changes nothing. `window`: how far apart the halves of a reward may be.
    pub fn take(&mut self, taken: Taken, window: Duration) {
        let Taken { kind, part, offset, at, event } = taken;
        if !self.progress.reads(kind, part, offset) {
            return;
        }
        let Some(event) = event else { return };
        if self.progress.comes_in_time(kind, part, at, window)
            && let Some(reward) = self.progress.meet(&event, at, window)
        {
            self.count(reward);
        }
    }

    fn count(&mut self, reward: Reward) {
        let arms = &mut self.beliefs.0.entry(reward.experiment).or_default().arms;
        if arms.len() <= reward.arm {
            arms.resize(reward.arm + 1, Tally::default());
        }
        arms[reward.arm].rewards += 1;
        arms[reward.arm].conversions += u64::from(reward.converted);
    }

    /// Weighs the arms of each adaptive experiment that runs, those that were removed with 0, the others by how likely each is the best,
    /// given uniform priors.
    pub fn weigh(&mut self, catalogue: &Catalogue) {
        for experiment in catalogue.experiments.values().filter(|experiment| experiment.running) {
            if experiment.draft.adaptive.is_none() {
                continue;
            }
            let Some(belief) = self.beliefs.0.get_mut(&experiment.id) else { continue };
            belief.arms.resize(belief.arms.len().max(experiment.draft.arms.len()), Tally::default());
            let posterior = |(arm, tally): (usize, &Tally)| {
                // The known bug counts those of whom nothing is known yet as if they had not converted.
                let open = if bug("E08") { self.progress.waiting(experiment.id, arm) } else { 0 };
                Beta::UNIFORM.after(tally.conversions as f64, (tally.rewards + open) as f64)
            };
            let offered = belief.arms.iter().enumerate().filter(|(arm, _)| experiment.offers(*arm));
            let best = probabilities_best(&offered.map(posterior).collect::<Vec<_>>());
            let added = (1..experiment.draft.arms.len()).contains(&belief.weights.len());
            crate::sometimes!(added, "a learner weighed an arm that was added");
            belief.weights = experiment.spread(&best);
            let sum: f64 = belief.weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "weights make {sum}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::systems::allocator::catalogue::tests::{add, after, draft, laid_out, remove};
    use crate::systems::allocator::catalogue::{CatalogueVersion, Change};
    use crate::systems::allocator::event::{EventId, Exposure, Outcome};
    use crate::systems::allocator::experiment::Adaptive;

    const WINDOW: Duration = Duration::from_secs(1);

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

    /// A record of the `number`th event of a log, which bears the same time wherever it stands.
    fn taken(kind: Kind, offset: usize, number: u64) -> Taken {
        let event = if kind == Kind::Exposures { exposure(number) } else { outcome(number) };
        Taken { kind, part: 0, offset: offset as i64, at: time(kind, number), event: Some(event) }
    }

    /// One event in 200 ms; of seven outcomes, one comes after the window, and one before its exposure by an app's clock.
    fn time(kind: Kind, number: u64) -> i64 {
        let lag = [300, 700, 0, 1500, 100, -200, 900][number as usize % 7];
        number as i64 * 200 + if kind == Kind::Exposures { 0 } else { lag }
    }

    /// The events of a log that come in time: the first of each.
    fn in_time(kind: Kind, log: &[u64]) -> BTreeSet<u64> {
        let (mut latest, mut events) = (i64::MIN, BTreeSet::new());
        for number in log {
            if latest <= time(kind, *number) + 1000 {
                events.insert(*number);
            }
            latest = latest.max(time(kind, *number));
        }
        events
    }

    /// An order in which events may stand in a log: later ones later, mostly, and some again.
    fn log() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec((0..40u64, 0..12u64), 0..80).prop_map(|mut events| {
            events.sort_by_key(|(number, delay)| number + delay);
            events.into_iter().map(|(number, _)| number).collect()
        })
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
        let came = in_time(Kind::Outcomes, outcomes);
        for number in in_time(Kind::Exposures, exposures).intersection(&came).copied() {
            if time(Kind::Outcomes, number).abs_diff(time(Kind::Exposures, number)) <= 1000 {
                arms[(number % 2) as usize].rewards += 1;
                arms[(number % 2) as usize].conversions += u64::from(number.is_multiple_of(5));
            }
        }
        arms
    }

    proptest! {
        #[test]
        fn the_belief_is_the_fold_of_unique_rewards_however_the_logs_meet_and_wherever_one_begins_again(
            exposures in log(),
            outcomes in log(),
            turns in prop::collection::vec((any::<bool>(), 0..6usize), 300),
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
                    learning.take(taken(Kind::Exposures, first, exposures[first]), WINDOW);
                    first += 1;
                } else if second < outcomes.len() {
                    learning.take(taken(Kind::Outcomes, second, outcomes[second]), WINDOW);
                    second += 1;
                }
                if restart <= 2 {
                    learning.progress.forget(WINDOW);
                }
                if restart == 1 {
                    saved = written(&learning);
                }
                let mut arms = learning.beliefs.0.values().next().map_or(Vec::new(), |belief| belief.arms.clone());
                arms.resize(2, Tally::default());
                prop_assert_eq!(arms, expected(&exposures[..first], &outcomes[..second]));
            }
        }
    }

    #[test]
    fn what_is_remembered_does_not_grow_with_the_logs() {
        let mut learning = Learning::default();
        for number in 0..20_000 {
            learning.take(taken(Kind::Exposures, number as usize, number), WINDOW);
            // Every other outcome is lost on its way.
            if number.is_multiple_of(2) {
                learning.take(taken(Kind::Outcomes, number as usize / 2, number), WINDOW);
            }
            learning.progress.forget(WINDOW);
            // Five events a second, each remembered for twice the window and the lag of the other topic at most.
            assert!(learning.progress.remembered() < 30, "{} at {number}", learning.progress.remembered());
        }
        let of = |kind: u64| (0..20_000).step_by(2).filter(|number| number % 7 == kind).count() as u64;
        // The one with the early clock stands behind the one that comes after the window: more than the window before it.
        assert_eq!(learning.progress.late, of(5));
        let rewards: u64 =
            learning.beliefs.0.values().flat_map(|belief| &belief.arms).map(|arm| arm.rewards).sum();
        assert_eq!(rewards, 10_000 - of(5) - of(3));
        let written: usize = written(&learning).iter().map(Vec::len).sum();
        assert!(written < 4000, "{written} bytes");
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
        // Of a third nothing is known: it is the best with a probability of about .7, P(X > 61/202) for a uniform X.
        let more = after(&catalogue, &[add("one", "c")]);
        learning.weigh(&more);
        let weights = learning.beliefs.weights(ExperimentId::new(1)).expect("it is adaptive").to_vec();
        assert!((weights[2] - 0.05 - 0.85 * 0.698).abs() < 0.01 && weights[0] < 0.0501, "{weights:?}");
        // A reward of an arm that this catalogue does not know yet is kept.
        learning.beliefs.0.get_mut(&ExperimentId::new(1)).expect("it is known").arms[2].rewards = 1;
        learning.weigh(&catalogue);
        assert_eq!(learning.beliefs.weights(ExperimentId::new(1)).expect("it is adaptive").len(), 2);
        learning.weigh(&after(&more, &[remove("one", "b")]));
        let weights = learning.beliefs.weights(ExperimentId::new(1)).expect("it is adaptive");
        // P(X > Y) for X of Beta(1, 2) and Y of Beta(11, 191).
        assert!(weights[1] == 0.0 && (weights[2] - 0.05 - 0.9 * 0.894).abs() < 0.005, "{weights:?}");
    }
}
