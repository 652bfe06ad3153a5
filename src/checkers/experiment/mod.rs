//! Experiments: decisions follow from what they were made by and stay, what was recorded is read back, and what was learnt is what the
//! logs say. Exact, but for what chance decides: those checks tell how often they alarm without a reason.

mod catalogue;
mod chance;
mod decisions;
mod events;
mod learnt;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::SimTime;
use crate::checkers::Check;

pub use catalogue::{Catalogue, Experiment, Identity, Layer, Scheme};

/// The topics of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Who was shown which arm.
    Exposures,
    /// What came of it.
    Outcomes,
}

/// What is believed of an experiment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belief {
    /// Rewards and conversions of each arm.
    pub arms: Vec<(u64, u64)>,
    /// The weights; empty if it is not adaptive.
    pub weights: Vec<f64>,
}

/// What is believed at one version, by the number of the experiment's start.
pub type Beliefs = BTreeMap<u32, Belief>;

/// What beliefs of the same version were learnt from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// How far each part of each topic was read.
    pub offsets: BTreeMap<(Topic, i32), i64>,
    /// How many records of these came too late.
    pub late: u64,
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

/// Who has asked, as far as the app knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visitor {
    /// The cookie of the browser.
    pub cookie: Option<String>,
    /// The visit.
    pub session: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// What else is known.
    pub attributes: BTreeMap<String, String>,
}

impl Visitor {
    fn unit(&self, identity: Identity) -> Option<&str> {
        match identity {
            Identity::Cookie => self.cookie.as_deref(),
            Identity::Session => self.session.as_deref(),
            Identity::User => self.user.as_deref(),
        }
    }
}

/// A decision, as an app was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub at: SimTime,
    /// The experiment's name.
    pub experiment: String,
    /// For whom.
    pub visitor: Visitor,
    /// The unit that was told; empty if there is none.
    pub unit: String,
    /// The version of the catalogue.
    pub catalogue: i32,
    /// The version of the weights.
    pub weights: i32,
    /// What the browser remembered.
    pub remembered: Option<Choice>,
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
    /// When each was first read.
    read_at: BTreeMap<i32, SimTime>,
    beliefs: BTreeMap<i32, Beliefs>,
    progress: BTreeMap<i32, Progress>,
    /// Versions that were seen with two contents.
    torn: Vec<(SimTime, String)>,
    decisions: Vec<Decision>,
    sent: BTreeMap<(Topic, Id), Said>,
    acknowledged: BTreeSet<(Topic, Id)>,
    read: Vec<Read>,
    /// Whether the reader has come to the ends of all parts.
    whole: bool,
    /// How often each event was handed to a producer.
    handed: BTreeMap<(Topic, Id), u64>,
    /// Whether a producer writes nothing twice that it is handed once.
    once: bool,
    /// The times that records bear, by topic, part and offset.
    times: BTreeMap<(Topic, i32, i64), i64>,
    /// How far apart the halves of a reward may be; `None`: as far as they like.
    window: Option<Duration>,
}

impl History {
    /// How far apart an exposure and its outcome may be, for it to count.
    pub fn attribution(&mut self, window: Duration) {
        self.window = Some(window);
    }

    /// Somebody has read the record at this topic, part and offset, and it bore this time, in milliseconds.
    pub fn record(&mut self, at: SimTime, place: (Topic, i32, i64), time: i64) {
        let known = *self.times.entry(place).or_insert(time);
        if known != time {
            self.torn.push((at, format!("{place:?} bears {known} and {time}")));
        }
    }

    /// Somebody has read the catalogue at this version.
    pub fn catalogue(&mut self, at: SimTime, version: i32, seen: Catalogue) {
        self.read_at.entry(version).or_insert(at);
        let known = self.catalogues.entry(version).or_insert_with(|| seen.clone());
        if *known != seen {
            self.torn.push((at, format!("two catalogues c{version}")));
        }
    }

    /// Somebody has read what is believed at this version.
    pub fn beliefs(&mut self, at: SimTime, version: i32, seen: Beliefs) {
        let known = self.beliefs.entry(version).or_insert_with(|| seen.clone());
        if *known != seen {
            self.torn.push((at, format!("two lots of beliefs w{version}")));
        }
    }

    /// Somebody has read or written what the beliefs of this version were learnt from.
    pub fn progress(&mut self, at: SimTime, version: i32, seen: Progress) {
        let known = self.progress.entry(version).or_insert_with(|| seen.clone());
        if *known != seen {
            self.torn.push((at, format!("two lots of progress w{version}")));
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

    /// Everything that stands in the logs was read back. Before that nothing can be said of what is not there.
    pub fn read_whole(&mut self) {
        self.whole = true;
    }

    /// Producers write nothing twice that they are handed once.
    pub fn written_once(&mut self) {
        self.once = true;
    }

    /// An event is handed to a producer, perhaps again.
    pub fn handed(&mut self, topic: Topic, id: Id) {
        *self.handed.entry((topic, id)).or_default() += 1;
    }

    /// How many decisions were told, events acknowledged, records read.
    pub fn counts(&self) -> [u64; 3] {
        [self.decisions.len(), self.acknowledged.len(), self.read.len()].map(|count| count as u64)
    }

    /// The experiments there ever were, by the number of their start, as each was last: a catalogue forgets one whose name is taken again.
    pub fn experiments(&self) -> BTreeMap<u32, &Experiment> {
        let all = self.catalogues.values().flat_map(|catalogue| &catalogue.experiments);
        all.map(|(number, found)| (*number, found)).collect()
    }

    /// How many events of a topic were handed to producers.
    pub fn sent_of(&self, topic: Topic) -> u64 {
        self.sent.keys().filter(|(of, _)| *of == topic).count() as u64
    }

    /// The events that were handed to producers, exposures before outcomes.
    pub fn events_sent(&self) -> impl Iterator<Item = (Topic, Id, &Said)> {
        self.sent.iter().map(|((topic, id), said)| (*topic, *id, said))
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

    /// When anybody first read a catalogue in which an experiment has this arm no more.
    fn removed_at(&self, number: u32, arm: usize) -> Option<SimTime> {
        let gone = |catalogue: &Catalogue| {
            catalogue.experiments.get(&number).is_some_and(|found| found.shares.get(arm) == Some(&0.0))
        };
        let versions = self.catalogues.iter().filter(|(_, catalogue)| gone(catalogue));
        versions.filter_map(|(version, _)| self.read_at.get(version).copied()).min()
    }

    /// The weights of an experiment at these versions of catalogue and weights.
    fn weights(&self, catalogue: i32, choice: Choice) -> Option<Vec<f64>> {
        let experiment = self.catalogues.get(&catalogue)?.experiments.get(&choice.experiment)?;
        let learnt = self.beliefs.get(&choice.weights)?.get(&choice.experiment);
        Some(experiment.weights(learnt.map(|belief| &*belief.weights)))
    }
}

/// What a history shows.
pub fn check(history: &History) -> Vec<Check> {
    let mut one = Check::new("a version of the catalogue or of the weights is the same to all");
    let versions = history.catalogues.len() + history.beliefs.len() + history.progress.len();
    (0..versions).for_each(|_| one.look(None, None));
    history.torn.iter().for_each(|(at, text)| one.look(*at, Some(text.clone())));
    let [folded, late] = learnt::by_the_logs(history);
    vec![
        one,
        oracle::follows(history),
        decisions::sticky(history),
        decisions::nameless(history),
        decisions::gone(history),
        decisions::segments(history),
        decisions::exclusive(history),
        decisions::propensity(history),
        chance::ramped(history),
        chance::ratios(history),
        chance::logged_ratios(history),
        chance::unbiased(history),
        chance::carried_over(history),
        chance::apart(history),
        learnt::weighed(history),
        learnt::onward(history),
        folded,
        late,
        events::kept(history),
        events::made_up(history),
        events::copied(history),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::bayes::{Beta, probabilities_best};

    const CHOICE: Choice = Choice { experiment: 1, arm: 0, propensity: 0.5, weights: 0 };

    fn decision(catalogue: i32, unit: &str, choice: Option<Choice>) -> Decision {
        Decision {
            at: SimTime::ZERO,
            experiment: "one".to_owned(),
            visitor: Visitor { user: Some(unit.to_owned()), ..Visitor::default() },
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
            ramp: 1.0,
            shares: vec![0.5, 0.5],
            running: true,
            ..Experiment::default()
        };
        let layers = BTreeMap::from([("home".to_owned(), Layer { segments: 2, ..Layer::default() })]);
        for (version, number) in [(1, 1), (2, 1), (3, 2)] {
            let experiments = BTreeMap::from([(number, experiment.clone())]);
            let catalogue = Catalogue { layers: layers.clone(), experiments, ..Catalogue::default() };
            history.catalogue(SimTime::ZERO, version, catalogue);
        }
        learn(&mut history, 0, (Beliefs::new(), Progress::default()));
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
            history.record(SimTime::ZERO, (topic, 0, offset), 0);
        }
        learn(&mut history, 1, learnt(1));
        history.read_whole();
        history
    }

    fn learnt(rewards: u64) -> (Beliefs, Progress) {
        let offsets = [Topic::Exposures, Topic::Outcomes].map(|topic| ((topic, 0), 2));
        let belief = Belief { arms: vec![(rewards, rewards)], weights: Vec::new() };
        ([(1, belief)].into(), Progress { offsets: offsets.into(), late: 0 })
    }

    fn learn(history: &mut History, version: i32, (beliefs, progress): (Beliefs, Progress)) {
        history.beliefs(SimTime::ZERO, version, beliefs);
        history.progress(SimTime::ZERO, version, progress);
    }

    /// Units here have the arms that a case gives them, whatever their hashes say: what is due to them is tested where it is reckoned.
    fn broken(edit: impl FnOnce(&mut History)) -> Vec<&'static str> {
        let mut history = sound();
        edit(&mut history);
        let due = oracle::follows(&history).name;
        let broken = check(&history).into_iter().filter(|check| !check.held() && check.name != due);
        broken.map(|check| check.name).collect()
    }

    #[test]
    fn a_sound_history_holds() {
        assert_eq!(broken(|_| {}), Vec::<&str>::new());
    }

    #[test]
    fn each_promise_can_be_broken() {
        let other = Choice { arm: 1, ..CHOICE };
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
            broken(|history| learn(history, 2, learnt(2))),
            ["what is believed is the fold of unique rewards up to the stored offsets"]
        );
        assert_eq!(
            broken(|history| learn(history, 1, learnt(2))),
            ["a version of the catalogue or of the weights is the same to all"]
        );
        assert_eq!(
            broken(|history| learn(history, 2, (Beliefs::new(), Progress::default()))),
            ["what was learnt never goes back"]
        );
        assert_eq!(
            broken(|history| history.acknowledged(Topic::Outcomes, (1, 9))),
            ["every acknowledged event is read back"]
        );
        let read =
            Read { topic: Topic::Outcomes, part: 0, offset: 7, event: Some(((4, 4), Said::Outcome(true))) };
        assert_eq!(broken(|history| history.read(read)), ["what is read back was sent"]);
        let drawn = |history: &mut History, arm: fn(usize) -> usize, choice: Choice| {
            for unit in 0..80 {
                let choice = Choice { arm: arm(unit), ..choice };
                history.decided(decision(2, &format!("v{unit}"), Some(choice)));
            }
        };
        let nameless = ["whoever has no name, or an empty one, is shown no arm"];
        assert_eq!(broken(|history| history.decided(decision(3, "", None))), Vec::<&str>::new());
        let told = Choice { experiment: 2, ..CHOICE };
        assert_eq!(broken(|history| history.decided(decision(3, "", Some(told)))), nameless);
        let exposed = |history: &mut History| {
            history.sent((3, 0), Said::Exposure { unit: String::new(), choice: CHOICE });
        };
        assert_eq!(broken(exposed), nameless);
        // What was handed over twice may stand twice, where nobody else makes copies.
        let once = |times: usize| {
            broken(|history| {
                history.written_once();
                for topic in [Topic::Exposures, Topic::Outcomes] {
                    (0..times).for_each(|_| history.handed(topic, (1, 0)));
                }
            })
        };
        assert_eq!(once(2), Vec::<&str>::new());
        assert_eq!(once(1), ["an event stands no more often than it was handed to a producer"]);
        assert_eq!(
            broken(|history| {
                history.whole = false;
                history.acknowledged(Topic::Outcomes, (1, 9));
                learn(history, 2, learnt(2));
            }),
            Vec::<&str>::new(),
            "what was not read to its end tells nothing of what is not there"
        );
        assert_eq!(broken(|history| drawn(history, |unit| unit % 2, CHOICE)), Vec::<&str>::new());
        assert_eq!(
            broken(|history| {
                for catalogue in
                    history.catalogues.values_mut().flat_map(|found| found.experiments.values_mut())
                {
                    catalogue.ramp = 0.5;
                }
                drawn(history, |unit| unit % 2, CHOICE);
            }),
            ["as many units are exposed as ramp and segments say, but for one chance in 1e9"]
        );
        assert_eq!(
            broken(|history| {
                let beyond = Decision { reason: "BeyondRamp".to_owned(), ..decision(2, "u3", None) };
                history.decided(beyond);
            }),
            ["as many units are exposed as ramp and segments say, but for one chance in 1e9"]
        );
        assert_eq!(
            broken(|history| drawn(history, |_| 1, CHOICE)),
            ["each arm has as many units as its weight says, but for one chance in 1e9"]
        );
        // Exposures that stand in the logs, of as many units.
        let logged = |history: &mut History, arm: fn(u64) -> usize| {
            for number in 0..80 {
                let choice = Choice { arm: arm(number), ..CHOICE };
                let said = Said::Exposure { unit: format!("v{number}"), choice };
                history.sent((2, number), said.clone());
                let event = Some(((2, number), said));
                history.read(Read { topic: Topic::Exposures, part: 0, offset: 2 + number as i64, event });
            }
        };
        let of_the_logs =
            ["the logs hold as many units of each arm as its weight says, but for one chance in 1e9"];
        assert_eq!(broken(|history| logged(history, |number| number as usize % 2)), Vec::<&str>::new());
        assert_eq!(broken(|history| logged(history, |_| 1)), of_the_logs);
        // An adaptive experiment of two arms, whose weights have moved to the first.
        let adaptive = |history: &mut History| {
            for found in history.catalogues.values_mut().flat_map(|found| found.experiments.values_mut()) {
                found.floor = Some(0.1);
            }
            let beliefs = history.beliefs.get_mut(&1).expect("they are there");
            beliefs.get_mut(&1).expect("it is known").weights = vec![0.9, 0.1];
        };
        let told = Choice { propensity: 0.1, weights: 1, ..CHOICE };
        // Whoever learnt knew already that a third arm is gone, which who decides still offers.
        let ahead = broken(|history| {
            adaptive(history);
            let beliefs = history.beliefs.get_mut(&1).expect("they are there");
            beliefs.get_mut(&1).expect("it is known").weights.push(0.0);
            for found in history.catalogues.values_mut().flat_map(|found| found.experiments.values_mut()) {
                found.shares = vec![0.4, 0.3, 0.3];
            }
            drawn(history, |_| 1, told);
        });
        assert!(
            ahead.contains(&"inverse propensities average to one, but for one chance in 1e9"),
            "{ahead:?}"
        );
        assert_eq!(broken(adaptive), Vec::<&str>::new());
        // The catalogue that follows has the same experiment without the first arm.
        let removed = |history: &mut History, decisions: &[(i32, usize, Way, f64)]| {
            let mut found = history.catalogues[&2].experiments[&1].clone();
            (found.shares, found.sticky, found.floor) = (vec![0.0, 0.5, 0.5], true, Some(0.1));
            let (layers, experiments) = (history.catalogues[&2].layers.clone(), [(1, found)].into());
            history.catalogue(SimTime::ZERO, 3, Catalogue { layers, experiments, ..Catalogue::default() });
            for (catalogue, arm, way, propensity) in decisions {
                let choice = Choice { arm: *arm, propensity: *propensity, ..CHOICE };
                history.decided(Decision { way: *way, ..decision(*catalogue, "u2", Some(choice)) });
            }
        };
        let removes = |decisions: &[(i32, usize, Way, f64)]| {
            broken(|history| {
                history.catalogues.remove(&3);
                removed(history, decisions);
            })
        };
        let (drawn_anew, again) = ((3, 1, Way::Drawn, 0.5), (3, 1, Way::Remembered, 0.5));
        assert_eq!(removes(&[drawn_anew, again]), Vec::<&str>::new());
        let stale = (2, 1, Way::Remembered, 0.5);
        assert_eq!(removes(&[drawn_anew, stale, again]), Vec::<&str>::new(), "its browser tells");
        assert_eq!(removes(&[drawn_anew, (3, 2, Way::Drawn, 0.5)]), lost);
        let too_early = |history: &mut History| {
            history.catalogues.remove(&3);
            removed(history, &[drawn_anew]);
            history.read_at.insert(3, SimTime::from_nanos(1));
        };
        assert_eq!(broken(too_early), lost, "nobody knew yet that it would be removed");
        let mistaken = ["the propensity told is that of the weights that were used"];
        assert_eq!(removes(&[drawn_anew, (3, 1, Way::Remembered, 0.4)]), mistaken);
        let shown = ["nobody is shown an arm that was removed"];
        for way in [(3, 0, Way::Overridden, 1.0), (3, 0, Way::Drawn, 0.0), (3, 0, Way::Remembered, 0.5)] {
            assert_eq!(removes(&[way]), shown, "{way:?}");
        }
        // What was learnt follows from arms that an experiment has had.
        let weighed = |arms: [(u64, u64); 3], weights: [f64; 3]| {
            broken(|history| {
                history.catalogues.remove(&3);
                removed(history, &[]);
                history.whole = false;
                let belief = Belief { arms: arms.to_vec(), weights: weights.to_vec() };
                learn(history, 2, ([(1, belief)].into(), learnt(1).1));
            })
        };
        let best = probabilities_best(&[Beta::UNIFORM; 2]).into_iter().map(|best| 0.1 + 0.8 * best);
        let best: Vec<f64> = [0.0].into_iter().chain(best).collect();
        assert_eq!(weighed([(9, 3), (0, 0), (0, 0)], [0.0, best[1], best[2]]), Vec::<&str>::new());
        let unfounded = ["weights are how likely each arm is the best, above the floor, and make one"];
        for wrong in [[0.1, 0.4, 0.5], [0.0, 0.4, 0.6], [0.0, 0.05, 0.95], [0.0, 0.0, 1.0]] {
            assert_eq!(weighed([(9, 3), (0, 0), (0, 0)], wrong), unfounded, "{wrong:?}");
        }
        assert_eq!(
            broken(|history| {
                adaptive(history);
                drawn(history, |_| 1, told);
            }),
            ["inverse propensities average to one, but for one chance in 1e9"]
        );
        assert_eq!(
            broken(|history| {
                history.attribution(Duration::from_millis(10));
                history.times.insert((Topic::Outcomes, 0, 0), 11);
                history.times.insert((Topic::Outcomes, 0, 1), 11);
            }),
            ["what is believed is the fold of unique rewards up to the stored offsets"]
        );
        let missed = ["what came too late is counted as such, once"];
        assert_eq!(broken(|history| history.progress.get_mut(&1).expect("it is there").late = 1), missed);
        assert_eq!(
            broken(|history| {
                history.attribution(Duration::from_millis(10));
                history.times.insert((Topic::Outcomes, 0, 1), -11);
            }),
            missed
        );
        assert_eq!(
            broken(|history| history.record(SimTime::ZERO, (Topic::Outcomes, 0, 1), 5)),
            ["a version of the catalogue or of the weights is the same to all"]
        );
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
        // An experiment of another layer, which 60 units are in too.
        let aside = |history: &mut History, arm: fn(usize) -> usize, unit: Identity| {
            let catalogue = history.catalogues.get_mut(&2).expect("it is known");
            let two = Experiment {
                name: "two".to_owned(),
                layer: "page".to_owned(),
                ..catalogue.experiments[&1].clone()
            };
            catalogue.experiments.insert(2, two);
            catalogue.layers.insert("page".to_owned(), Layer { unit, segments: 2, ..Layer::default() });
            for number in 0..60 {
                for (experiment, name, arm) in [(1, "one", number % 2), (2, "two", arm(number))] {
                    let choice = Choice { experiment, arm, ..CHOICE };
                    let told = decision(2, &format!("v{number}"), Some(choice));
                    history.decided(Decision { experiment: name.to_owned(), ..told });
                }
            }
        };
        let apart = |arm, unit| broken(|history| aside(history, arm, unit));
        let together = ["experiments of different layers draw independently, but for one chance in 1e9"];
        assert_eq!(apart(|number| number % 2, Identity::User), together);
        assert_eq!(apart(|number| 1 - number % 2, Identity::User), together);
        assert_eq!(apart(|number| number / 2 % 2, Identity::User), Vec::<&str>::new());
        let elsewhere = apart(|number| number % 2, Identity::Cookie);
        assert_eq!(elsewhere, Vec::<&str>::new(), "they are others who are called the same");
    }
}
