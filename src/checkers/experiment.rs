//! Experiments: decisions follow from what they were made by and stay, what was recorded is read back, and what was learnt is what the
//! logs say. Exact, but for the check that no arm carries over, whose rate of false alarms is told there.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::SimTime;
use crate::checkers::Check;
use crate::statistics::bandit::weights::floored;
use crate::statistics::bayes::{Beta, probabilities_best};

/// The topics of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Who was shown which arm.
    Exposures,
    /// What came of it.
    Outcomes,
}

/// An experiment in a catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// Its layer.
    pub layer: String,
    /// The segments it holds.
    pub segments: Vec<u32>,
    /// Each arm's share by its draft.
    pub shares: Vec<f64>,
    /// The floor of an adaptive experiment.
    pub floor: Option<f64>,
    /// Whether browsers remember its arms.
    pub sticky: bool,
    /// Whether it runs.
    pub running: bool,
}

/// A version of the catalogue: the segments of its layers, its experiments by the number of their start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// How many segments each layer has.
    pub layers: BTreeMap<String, u32>,
    /// The experiments.
    pub experiments: BTreeMap<u32, Experiment>,
}

/// What is believed of an experiment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belief {
    /// Rewards and conversions of each arm.
    pub arms: Vec<(u64, u64)>,
    /// The weights; empty if it is not adaptive.
    pub weights: Vec<f64>,
}

/// A version of what was learnt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learning {
    /// How far each part of each topic was read.
    pub offsets: BTreeMap<(Topic, i32), i64>,
    /// What follows, by the number of the experiment's start.
    pub beliefs: BTreeMap<u32, Belief>,
}

/// An arm that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The number of the experiment's start.
    pub experiment: u32,
    /// The arm.
    pub arm: usize,
    /// The probability that was told.
    pub propensity: f64,
    /// The version of the weights by which it was drawn.
    pub weights: i32,
}

/// How a choice came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By hash.
    Drawn,
    /// From the browser.
    Remembered,
    /// By an operator.
    Overridden,
    /// There is none.
    None,
}

/// A decision, as an app was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub at: SimTime,
    /// The experiment's name.
    pub experiment: String,
    /// The unit.
    pub unit: String,
    /// The version of the catalogue.
    pub catalogue: i32,
    /// The version of the weights.
    pub weights: i32,
    /// What the browser remembered: the number of the experiment's start, and the arm.
    pub remembered: Option<(u32, usize)>,
    /// How it came about.
    pub way: Way,
    /// Why, in words.
    pub reason: String,
    /// The arm.
    pub choice: Option<Choice>,
}

/// The id of an event: which life of an app, and its number there.
pub type Id = (u64, u64);

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A unit was shown an arm.
    Exposure {
        /// The unit.
        unit: String,
        /// What it was shown, and how that was drawn.
        choice: Choice,
    },
    /// Whether it converted.
    Outcome(bool),
}

impl Said {
    fn topic(&self) -> Topic {
        match self {
            Self::Exposure { .. } => Topic::Exposures,
            Self::Outcome(_) => Topic::Outcomes,
        }
    }
}

/// A record that was read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// From which topic.
    pub topic: Topic,
    /// From which part.
    pub part: i32,
    /// At which offset.
    pub offset: i64,
    /// The event; `None` if it was none.
    pub event: Option<(Id, Said)>,
}

/// What apps, allocators and the reader at the end have seen.
#[derive(Default)]
pub struct History {
    catalogues: BTreeMap<i32, Catalogue>,
    learnings: BTreeMap<i32, Learning>,
    /// Versions that were seen with two contents.
    torn: Vec<(SimTime, String)>,
    decisions: Vec<Decision>,
    sent: BTreeMap<(Topic, Id), Said>,
    acknowledged: BTreeSet<(Topic, Id)>,
    read: Vec<Read>,
}

impl History {
    /// Somebody has read the catalogue at this version.
    pub fn catalogue(&mut self, at: SimTime, version: i32, seen: Catalogue) {
        let known = self.catalogues.entry(version).or_insert_with(|| seen.clone());
        if *known != seen {
            self.torn.push((at, format!("two catalogues c{version}")));
        }
    }

    /// Somebody has read what was learnt at this version.
    pub fn learning(&mut self, at: SimTime, version: i32, seen: Learning) {
        let known = self.learnings.entry(version).or_insert_with(|| seen.clone());
        if *known != seen {
            self.torn.push((at, format!("two lots of weights w{version}")));
        }
    }

    /// An app was told a decision.
    pub fn decided(&mut self, decision: Decision) {
        self.decisions.push(decision);
    }

    /// An app hands an event to its producer, perhaps again.
    pub fn sent(&mut self, id: Id, said: Said) {
        self.sent.insert((said.topic(), id), said);
    }

    /// The brokers have acknowledged an event.
    pub fn acknowledged(&mut self, topic: Topic, id: Id) {
        self.acknowledged.insert((topic, id));
    }

    /// A record was read back.
    pub fn read(&mut self, read: Read) {
        self.read.push(read);
    }

    /// How many decisions were told, events acknowledged, records read.
    pub fn counts(&self) -> [u64; 3] {
        [self.decisions.len(), self.acknowledged.len(), self.read.len()].map(|count| count as u64)
    }

    /// The experiments there ever were, by the number of their start.
    pub fn experiments(&self) -> impl Iterator<Item = (u32, &Experiment)> {
        let latest = self.catalogues.values().next_back().into_iter();
        latest.flat_map(|catalogue| &catalogue.experiments).map(|(number, found)| (*number, found))
    }

    /// How many events of a topic were handed to producers.
    pub fn sent_of(&self, topic: Topic) -> u64 {
        self.sent.keys().filter(|(of, _)| *of == topic).count() as u64
    }

    /// The events that were read back, copies too.
    pub fn events_read(&self) -> impl Iterator<Item = &(Id, Said)> {
        self.read.iter().filter_map(|read| read.event.as_ref())
    }

    fn experiment(&self, decision: &Decision) -> Option<(u32, &Experiment)> {
        let catalogue = self.catalogues.get(&decision.catalogue)?;
        let mut named = catalogue.experiments.iter().filter(|(_, found)| found.name == decision.experiment);
        named.next_back().map(|(number, found)| (*number, found))
    }

    /// The weights of an experiment at a version: what was learnt, or else its draft.
    fn weights(&self, catalogue: i32, choice: Choice) -> Option<&[f64]> {
        let learnt = self.learnings.get(&choice.weights)?.beliefs.get(&choice.experiment);
        let drafted = || Some(&*self.catalogues.get(&catalogue)?.experiments.get(&choice.experiment)?.shares);
        learnt.map(|belief| &*belief.weights).filter(|weights| !weights.is_empty()).or_else(drafted)
    }
}

/// What a history shows.
pub fn check(history: &History) -> Vec<Check> {
    let mut one = Check::new("a version of the catalogue or of the weights is the same to all");
    let versions = history.catalogues.len() + history.learnings.len();
    (0..versions).for_each(|_| one.look(None, None));
    history.torn.iter().for_each(|(at, text)| one.look(*at, Some(text.clone())));
    vec![
        one,
        pure(history),
        sticky(history),
        segments(history),
        exclusive(history),
        propensity(history),
        carried_over(history),
        weighed(history),
        onward(history),
        folded(history),
        kept(history),
        made_up(history),
    ]
}

fn pure(history: &History) -> Check {
    let mut check =
        Check::new("a decision follows from catalogue, weights, unit and what the browser remembers");
    let mut known: BTreeMap<_, &Decision> = BTreeMap::new();
    for decision in &history.decisions {
        let Decision { experiment, unit, catalogue, weights, remembered, .. } = decision;
        let first = known.entry((experiment, unit, catalogue, weights, remembered)).or_insert(decision);
        let same = first.choice == decision.choice && first.reason == decision.reason;
        check.expect(same, decision.at, || {
            let (then, now) = (&first.reason, &decision.reason);
            format!(
                "{experiment} for {unit} at c{catalogue} w{weights}: {then} {:?}, and {now} {:?}",
                first.choice, decision.choice
            )
        });
    }
    check
}

fn sticky(history: &History) -> Check {
    let mut check = Check::new("a unit keeps its arm for the life of an experiment");
    let mut of: BTreeMap<(u32, &str), Vec<&Decision>> = BTreeMap::new();
    for decision in &history.decisions {
        let Some((number, experiment)) = history.experiment(decision) else { continue };
        let stays = experiment.floor.is_none() || experiment.sticky;
        if stays && experiment.running && decision.way != Way::Overridden {
            of.entry((number, &decision.unit)).or_default().push(decision);
        }
    }
    for ((number, unit), mut decisions) in of {
        decisions.sort_by_key(|decision| decision.catalogue);
        let mut arm = None;
        for decision in decisions {
            let now = decision.choice.map(|choice| choice.arm);
            check.expect(arm.is_none() || arm == now, decision.at, || {
                format!(
                    "x{number} gave {unit} arm {arm:?}, and {now:?} at c{}: {}",
                    decision.catalogue, decision.reason
                )
            });
            arm = arm.or(now);
        }
    }
    check
}

fn segments(history: &History) -> Check {
    let mut check = Check::new("a segment has one holder");
    for (version, catalogue) in &history.catalogues {
        let mut held: BTreeMap<(&str, u32), &str> = BTreeMap::new();
        for experiment in catalogue.experiments.values().filter(|experiment| experiment.running) {
            let all = catalogue.layers.get(&experiment.layer).copied().unwrap_or(0);
            for segment in &experiment.segments {
                let before = held.insert((&experiment.layer, *segment), &experiment.name);
                check.expect(before.is_none() && *segment < all, None, || {
                    format!(
                        "c{version}: segment {segment} of {all} is held by {} and {before:?}",
                        experiment.name
                    )
                });
            }
        }
    }
    check
}

fn exclusive(history: &History) -> Check {
    let mut check = Check::new("a unit is drawn into one experiment of a layer");
    let mut drawn: BTreeMap<(i32, &str, &str), u32> = BTreeMap::new();
    for decision in history.decisions.iter().filter(|decision| decision.way == Way::Drawn) {
        let Some((number, experiment)) = history.experiment(decision) else { continue };
        let first = *drawn.entry((decision.catalogue, &experiment.layer, &decision.unit)).or_insert(number);
        check.expect(first == number, decision.at, || {
            format!("c{}: {} is in x{first} and in x{number}", decision.catalogue, decision.unit)
        });
    }
    check
}

fn propensity(history: &History) -> Check {
    let mut check = Check::new("the propensity told is that of the weights that were used");
    for decision in &history.decisions {
        let Some(choice) = decision.choice else { continue };
        if decision.way == Way::Overridden {
            check.expect(choice.propensity == 1.0, decision.at, || {
                format!("an override of {}", choice.propensity)
            });
            continue;
        }
        let used = history.weights(decision.catalogue, choice).and_then(|weights| weights.get(choice.arm));
        check.expect(used == Some(&choice.propensity), decision.at, || {
            format!(
                "{} for arm {} of x{} at w{}, whose weight is {used:?}",
                choice.propensity, choice.arm, choice.experiment, choice.weights
            )
        });
    }
    check
}

/// How many units must have been in two experiments before their arms are compared.
const COMPARED_MIN: usize = 40;

/// Two experiments of one layer: among units that were drawn into both, arms agree as often as chance has it, within six standard
/// deviations: a false alarm in some 5e8 pairs.
fn carried_over(history: &History) -> Check {
    let mut check = Check::new("no arm carries over to a later experiment");
    let mut arms: BTreeMap<u32, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut layers: BTreeMap<u32, &str> = BTreeMap::new();
    for decision in history.decisions.iter().filter(|decision| decision.way == Way::Drawn) {
        let (Some(choice), Some((number, experiment))) = (decision.choice, history.experiment(decision))
        else {
            continue;
        };
        layers.insert(number, &experiment.layer);
        arms.entry(number).or_default().entry(&decision.unit).or_insert(choice.arm);
    }
    for (first, before) in &arms {
        for (second, after) in arms.range(first + 1..) {
            let both: Vec<(usize, usize)> =
                before.iter().filter_map(|(unit, arm)| Some((*arm, *after.get(unit)?))).collect();
            if layers[first] != layers[second] || both.len() < COMPARED_MIN {
                continue;
            }
            let count = both.len() as f64;
            let share = |arm: usize, of: fn(&(usize, usize)) -> usize| {
                both.iter().filter(|pair| of(pair) == arm).count() as f64 / count
            };
            let expected: f64 =
                (0..64).map(|arm| share(arm, |pair| pair.0) * share(arm, |pair| pair.1)).sum();
            let agreed = both.iter().filter(|(one, other)| one == other).count() as f64;
            let deviation = (count * expected * (1.0 - expected)).sqrt();
            check.expect(agreed - count * expected <= 6.0 * deviation || expected == 1.0, None, || {
                format!(
                    "{agreed} of {count} units have the same arm in x{first} and x{second}, not {:.0}",
                    count * expected
                )
            });
        }
    }
    check
}

fn weighed(history: &History) -> Check {
    let mut check = Check::new("weights are how likely each arm is the best, above the floor, and make one");
    let floors = history.catalogues.values().flat_map(|catalogue| &catalogue.experiments);
    let floors: BTreeMap<u32, f64> =
        floors.filter_map(|(number, found)| Some((*number, found.floor?))).collect();
    for (version, learning) in &history.learnings {
        for (number, belief) in learning.beliefs.iter().filter(|(_, belief)| !belief.weights.is_empty()) {
            let Some(floor) = floors.get(number) else {
                check.look(None, Some(format!("w{version} weighs x{number}, which is not adaptive")));
                continue;
            };
            let sum: f64 = belief.weights.iter().sum();
            let least = belief.weights.iter().copied().fold(1.0, f64::min);
            check.expect((sum - 1.0).abs() < 1e-9 && *floor - 1e-12 <= least, None, || {
                format!("w{version}: x{number} has {:?} with a floor of {floor}", belief.weights)
            });
            // Of an experiment that has ended, weights stay while late rewards are still counted.
            let runs =
                |catalogue: &Catalogue| catalogue.experiments.get(number).is_some_and(|found| found.running);
            if history.catalogues.last_key_value().is_some_and(|(_, latest)| runs(latest)) {
                let posterior = |arm: &(u64, u64)| Beta::UNIFORM.after(arm.1 as f64, arm.0 as f64);
                let posteriors: Vec<Beta> = belief.arms.iter().map(posterior).collect();
                let expected = floored(&probabilities_best(&posteriors), *floor);
                check.expect(expected == belief.weights, None, || {
                    format!(
                        "w{version}: x{number} has {:?}, its posterior gives {expected:?}",
                        belief.weights
                    )
                });
            }
        }
    }
    check
}

fn onward(history: &History) -> Check {
    let mut check = Check::new("what was learnt never goes back");
    for (before, after) in history.learnings.iter().zip(history.learnings.iter().skip(1)) {
        for (part, offset) in &before.1.offsets {
            let now = after.1.offsets.get(part);
            check.expect(now.is_some_and(|now| offset <= now), None, || {
                format!("{part:?} was read up to {offset} at w{}, to {now:?} at w{}", before.0, after.0)
            });
        }
    }
    check
}

fn folded(history: &History) -> Check {
    let mut check = Check::new("what is believed is the fold of unique rewards up to the stored offsets");
    // Where each event stands first.
    let mut first: BTreeMap<(Topic, Id), (i32, i64, &Said)> = BTreeMap::new();
    for read in &history.read {
        let Some((id, said)) = &read.event else { continue };
        let place = (read.part, read.offset, said);
        let known = first.entry((read.topic, *id)).or_insert(place);
        if known.0 == read.part && read.offset < known.1 {
            *known = place;
        }
    }
    for (version, learning) in &history.learnings {
        let seen = |topic, id| {
            let (part, offset, said) = first.get(&(topic, id))?;
            let read = learning.offsets.get(&(topic, *part)).copied().unwrap_or(0);
            (*offset < read).then_some(*said)
        };
        let mut expected: BTreeMap<u32, BTreeMap<usize, (u64, u64)>> = BTreeMap::new();
        for (topic, id) in first.keys().filter(|(topic, _)| *topic == Topic::Exposures) {
            let (Some(Said::Exposure { choice, .. }), Some(Said::Outcome(converted))) =
                (seen(*topic, *id), seen(Topic::Outcomes, *id))
            else {
                continue;
            };
            let arms = expected.entry(choice.experiment).or_default();
            let tally = arms.entry(choice.arm).or_default();
            *tally = (tally.0 + 1, tally.1 + u64::from(*converted));
        }
        let numbers: BTreeSet<u32> = expected.keys().chain(learning.beliefs.keys()).copied().collect();
        for number in numbers {
            let told = learning.beliefs.get(&number).map_or(&[][..], |belief| &belief.arms);
            let told: BTreeMap<usize, (u64, u64)> =
                told.iter().copied().enumerate().filter(|(_, tally)| *tally != (0, 0)).collect();
            let reckoned = expected.remove(&number).unwrap_or_default();
            check.expect(told == reckoned, None, || {
                format!("w{version}: x{number} has {told:?}, the logs give {reckoned:?}")
            });
        }
    }
    check
}

fn kept(history: &History) -> Check {
    let mut check = Check::new("every acknowledged event is read back");
    let read: BTreeSet<(Topic, Id)> =
        history.read.iter().filter_map(|read| Some((read.topic, read.event.as_ref()?.0))).collect();
    for event in &history.acknowledged {
        check.expect(read.contains(event), None, || format!("{event:?} is gone"));
    }
    check
}

fn made_up(history: &History) -> Check {
    let mut check = Check::new("what is read back was sent");
    for read in &history.read {
        let sent = read.event.as_ref().and_then(|(id, _)| history.sent.get(&(read.topic, *id)));
        let same = read.event.as_ref().map(|(_, said)| said) == sent && sent.is_some();
        check.expect(same, None, || {
            format!(
                "{:?}/{}@{} holds {:?}, sent was {sent:?}",
                read.topic, read.part, read.offset, read.event
            )
        });
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOICE: Choice = Choice { experiment: 1, arm: 0, propensity: 0.5, weights: 0 };

    fn decision(catalogue: i32, unit: &str, choice: Option<Choice>) -> Decision {
        Decision {
            at: SimTime::ZERO,
            experiment: "one".to_owned(),
            unit: unit.to_owned(),
            catalogue,
            weights: 0,
            remembered: None,
            way: if choice.is_some() { Way::Drawn } else { Way::None },
            reason: "a test".to_owned(),
            choice,
        }
    }

    /// Catalogues 1 and 2 hold one experiment, catalogue 3 another of the same name on the same segments.
    fn sound() -> History {
        let mut history = History::default();
        let experiment = Experiment {
            name: "one".to_owned(),
            layer: "home".to_owned(),
            segments: vec![0, 1],
            shares: vec![0.5, 0.5],
            floor: None,
            sticky: false,
            running: true,
        };
        let layers = BTreeMap::from([("home".to_owned(), 2)]);
        for (version, number) in [(1, 1), (2, 1), (3, 2)] {
            let experiments = BTreeMap::from([(number, experiment.clone())]);
            history.catalogue(SimTime::ZERO, version, Catalogue { layers: layers.clone(), experiments });
        }
        history.learning(SimTime::ZERO, 0, Learning::default());
        history.decided(decision(1, "u1", None));
        for version in [1, 2] {
            history.decided(decision(version, "u2", Some(CHOICE)));
        }
        let (exposure, outcome) =
            (Said::Exposure { unit: "u2".to_owned(), choice: CHOICE }, Said::Outcome(true));
        for (said, offset) in [(exposure.clone(), 0), (outcome.clone(), 0), (exposure, 1), (outcome, 1)] {
            let topic = said.topic();
            history.sent((1, 0), said.clone());
            history.acknowledged(topic, (1, 0));
            history.read(Read { topic, part: 0, offset, event: Some(((1, 0), said)) });
        }
        history.learning(SimTime::ZERO, 1, learnt(1));
        history
    }

    fn learnt(rewards: u64) -> Learning {
        let offsets = [Topic::Exposures, Topic::Outcomes].map(|topic| ((topic, 0), 2));
        let belief = Belief { arms: vec![(rewards, rewards)], weights: Vec::new() };
        Learning { offsets: offsets.into(), beliefs: [(1, belief)].into() }
    }

    fn broken(edit: impl FnOnce(&mut History)) -> Vec<&'static str> {
        let mut history = sound();
        edit(&mut history);
        check(&history).into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
    }

    #[test]
    fn a_sound_history_holds() {
        assert_eq!(broken(|_| {}), Vec::<&str>::new());
    }

    #[test]
    fn each_promise_can_be_broken() {
        let other = Choice { arm: 1, ..CHOICE };
        assert_eq!(
            broken(|history| history.decided(decision(1, "u1", Some(other)))),
            ["a decision follows from catalogue, weights, unit and what the browser remembers"]
        );
        let lost = ["a unit keeps its arm for the life of an experiment"];
        assert_eq!(broken(|history| history.decided(decision(2, "u1", Some(other)))), Vec::<&str>::new());
        assert_eq!(broken(|history| drop(history.catalogues.remove(&3))), Vec::<&str>::new());
        assert_eq!(
            broken(|history| {
                history.decisions.truncate(2);
                history.decided(decision(2, "u2", None));
            }),
            lost
        );
        let wrong = Choice { propensity: 0.6, ..CHOICE };
        assert_eq!(
            broken(|history| history.decided(decision(2, "u3", Some(wrong)))),
            ["the propensity told is that of the weights that were used"]
        );
        assert_eq!(
            broken(|history| history.learning(SimTime::ZERO, 2, learnt(2))),
            ["what is believed is the fold of unique rewards up to the stored offsets"]
        );
        assert_eq!(
            broken(|history| history.learning(SimTime::ZERO, 1, learnt(2))),
            ["a version of the catalogue or of the weights is the same to all"]
        );
        assert_eq!(
            broken(|history| history.learning(SimTime::ZERO, 2, Learning::default())),
            ["what was learnt never goes back"]
        );
        assert_eq!(
            broken(|history| history.acknowledged(Topic::Outcomes, (1, 9))),
            ["every acknowledged event is read back"]
        );
        let read =
            Read { topic: Topic::Outcomes, part: 0, offset: 7, event: Some(((4, 4), Said::Outcome(true))) };
        assert_eq!(broken(|history| history.read(read)), ["what is read back was sent"]);
        assert_eq!(
            broken(|history| {
                for unit in 0..60 {
                    for (catalogue, experiment) in [(2, 1), (3, 2)] {
                        let choice = Choice { experiment, arm: unit % 2, ..CHOICE };
                        history.decided(decision(catalogue, &format!("v{unit}"), Some(choice)));
                    }
                }
            }),
            ["no arm carries over to a later experiment"]
        );
    }
}
