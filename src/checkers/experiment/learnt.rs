//! What was learnt: the fold of what the logs hold, reckoned anew from the logs alone. Exact.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::Check;
use crate::checkers::experiment::{Belief, Catalogue, Experiment, History, Id, Said, Topic};
use crate::statistics::bandit::weights::floored;
use crate::statistics::bayes::{Beta, probabilities_best};

pub(super) fn weighed(history: &History) -> Check {
    let mut check = Check::new("weights are how likely each arm is the best, above the floor, and make one");
    // Each adaptive experiment, once for each set of arms that it ever had.
    let mut known: BTreeMap<u32, Vec<&Experiment>> = BTreeMap::new();
    for (number, found) in history.catalogues.values().flat_map(|catalogue| &catalogue.experiments) {
        let variants = known.entry(*number).or_default();
        let arms = |one: &Experiment| one.shares.iter().map(|share| 0.0 < *share).collect::<Vec<_>>();
        if found.floor.is_some() && variants.iter().all(|other| arms(other) != arms(found)) {
            variants.push(found);
        }
    }
    for (version, beliefs) in &history.beliefs {
        for (number, belief) in beliefs.iter().filter(|(_, belief)| !belief.weights.is_empty()) {
            let variants = known.get(number).map_or(&[][..], |variants| variants);
            let Some(floor) = variants.first().and_then(|experiment| experiment.floor) else {
                check.look(None, Some(format!("w{version} weighs x{number}, which is not adaptive")));
                continue;
            };
            let weights = &belief.weights;
            let sum: f64 = weights.iter().sum();
            // An arm that was removed has none.
            let bounded = |experiment: &&Experiment| {
                let mut each = weights.iter().enumerate();
                weights.len() == experiment.shares.len()
                    && each.all(|(arm, weight)| {
                        if experiment.offers(arm) { floor - 1e-12 <= *weight } else { *weight == 0.0 }
                    })
            };
            check.expect((sum - 1.0).abs() < 1e-9 && variants.iter().any(bounded), None, || {
                format!("w{version}: x{number} has {weights:?} with a floor of {floor}")
            });
            // Of an experiment that has ended, weights stay while late rewards are still counted.
            let runs =
                |catalogue: &Catalogue| catalogue.experiments.get(number).is_some_and(|found| found.running);
            if history.catalogues.last_key_value().is_some_and(|(_, latest)| runs(latest)) {
                let expected: Vec<Vec<f64>> =
                    variants.iter().map(|experiment| due(experiment, belief)).collect();
                check.expect(expected.contains(weights), None, || {
                    format!("w{version}: x{number} has {weights:?}, its posterior gives {expected:?}")
                });
            }
        }
    }
    check
}

/// The weights of these arms that follow from what is known of each.
fn due(experiment: &Experiment, belief: &Belief) -> Vec<f64> {
    let arms = || (0..experiment.shares.len()).filter(|arm| experiment.offers(*arm));
    let posterior = |arm: usize| {
        let (rewards, conversions) = belief.arms.get(arm).copied().unwrap_or_default();
        Beta::UNIFORM.after(conversions as f64, rewards as f64)
    };
    let best = probabilities_best(&arms().map(posterior).collect::<Vec<_>>());
    let mut weights = vec![0.0; experiment.shares.len()];
    for (arm, weight) in arms().zip(floored(&best, experiment.floor.unwrap_or_default())) {
        weights[arm] = weight;
    }
    weights
}

pub(super) fn onward(history: &History) -> Check {
    let mut check = Check::new("what was learnt never goes back");
    for (before, after) in history.progress.iter().zip(history.progress.iter().skip(1)) {
        for (part, offset) in &before.1.offsets {
            let now = after.1.offsets.get(part);
            check.expect(now.is_some_and(|now| offset <= now), None, || {
                format!("{part:?} was read up to {offset} at w{}, to {now:?} at w{}", before.0, after.0)
            });
        }
    }
    check
}

/// Where an event stands first among those that came in time.
struct Stand<'a> {
    part: i32,
    offset: i64,
    time: i64,
    said: &'a Said,
}

/// Topic, part and offset.
type Place = (Topic, i32, i64);

/// What the logs hold, by the rule that nothing older counts than the attribution window before what stands earlier in its part: where
/// each event stands first, and which places come too late. Records that no learner has read are as if they were not there.
fn stand(history: &History) -> (BTreeMap<(Topic, Id), Stand<'_>>, Vec<Place>) {
    let mut records: Vec<(Topic, i32, i64, i64, Id, &Said)> = Vec::new();
    for read in &history.read {
        let place = (read.topic, read.part, read.offset);
        if let (Some((id, said)), Some(time)) = (&read.event, history.times.get(&place)) {
            records.push((read.topic, read.part, read.offset, *time, *id, said));
        }
    }
    records.sort_by_key(|(topic, part, offset, ..)| (*topic, *part, *offset));
    let (mut first, mut late) = (BTreeMap::new(), Vec::new());
    let mut latest: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
    for (topic, part, offset, time, id, said) in records {
        let latest = latest.entry((topic, part)).or_insert(time);
        if within(history, time, *latest) || *latest <= time {
            *latest = time.max(*latest);
            first.entry((topic, id)).or_insert(Stand { part, offset, time, said });
        } else {
            late.push((topic, part, offset));
        }
    }
    (first, late)
}

/// Whether two times lie no further apart than the attribution window.
fn within(history: &History, one: i64, other: i64) -> bool {
    history.window.is_none_or(|window| u128::from(one.abs_diff(other)) <= window.as_millis())
}

/// What is believed, and what was too late for it, held against the logs once they were read to their ends.
pub(super) fn by_the_logs(history: &History) -> [Check; 2] {
    let mut folded = Check::new("what is believed is the fold of unique rewards up to the stored offsets");
    let mut late = Check::new("what came too late is counted as such, once");
    if history.whole {
        let (first, too_late) = stand(history);
        fold(history, &first, &mut folded);
        count_late(history, &too_late, &mut late);
    }
    [folded, late]
}

fn fold(history: &History, first: &BTreeMap<(Topic, Id), Stand<'_>>, check: &mut Check) {
    for (version, progress) in &history.progress {
        let Some(beliefs) = history.beliefs.get(version) else { continue };
        let seen = |topic, id| {
            let stand = first.get(&(topic, id))?;
            let read = progress.offsets.get(&(topic, stand.part)).copied().unwrap_or(0);
            (stand.offset < read).then_some(stand)
        };
        let mut expected: BTreeMap<u32, BTreeMap<usize, (u64, u64)>> = BTreeMap::new();
        for (topic, id) in first.keys().filter(|(topic, _)| *topic == Topic::Exposures) {
            let (Some(exposed), Some(came)) = (seen(*topic, *id), seen(Topic::Outcomes, *id)) else {
                continue;
            };
            let (Said::Exposure { choice, .. }, Said::Outcome(converted)) = (exposed.said, came.said) else {
                continue;
            };
            if within(history, exposed.time, came.time) {
                let arms = expected.entry(choice.experiment).or_default();
                let tally = arms.entry(choice.arm).or_default();
                *tally = (tally.0 + 1, tally.1 + u64::from(*converted));
            }
        }
        let numbers: BTreeSet<u32> = expected.keys().chain(beliefs.keys()).copied().collect();
        for number in numbers {
            let told = beliefs.get(&number).map_or(&[][..], |belief| &belief.arms);
            let told: BTreeMap<usize, (u64, u64)> =
                told.iter().copied().enumerate().filter(|(_, tally)| *tally != (0, 0)).collect();
            let reckoned = expected.remove(&number).unwrap_or_default();
            check.expect(told == reckoned, None, || {
                format!("w{version}: x{number} has {told:?}, the logs give {reckoned:?}")
            });
        }
    }
}

fn count_late(history: &History, late: &[Place], check: &mut Check) {
    for (version, progress) in &history.progress {
        let read = |(topic, part, offset): &&Place| {
            progress.offsets.get(&(*topic, *part)).is_some_and(|read| offset < read)
        };
        let expected = late.iter().filter(read).count() as u64;
        check.expect(progress.late == expected, None, || {
            format!("w{version}: {} records came too late, by the logs {expected}", progress.late)
        });
    }
}
