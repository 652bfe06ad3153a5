//! What each experiment tells by itself: what its visits lost, what became of its events, and what somebody knows of each arm at the end.
//!
//! Unlike the figures of all experiments together it holds of any experiment: whoever knows what is known of each arm decides as they like.

use std::collections::BTreeMap;

use crate::base::{Better, Figure};
use crate::checkers::experiment::{History, Id, Said, Topic};
use crate::experiment::course::SAME;
use crate::experiment::tally::Tally;
use crate::experiment::users::Population;
use crate::workloads::experiment::analyst::{COPIES, Logs, Shown, stand};

/// How many visits there were.
pub const VISITS: &str = "visits";
/// Which share of them no allocator served, so that they were shown the control.
pub const UNSERVED: &str = "visits not served";
/// How much worse than the best arm of its moment a visit of a human was, in percentage points on average.
pub const REGRET: &str = "regret per visit";
/// Which share of visits of humans was shown the best arm of its moment, or one of several.
pub const BEST: &str = "visits of the best arm";
/// Which share of the events that were handed to producers is not there.
pub const LOST: [&str; 2] = ["exposures lost", "outcomes lost"];
/// Which share of the events that are there stands more than once.
pub const COPIED: [&str; 2] = ["exposures in several copies", "outcomes in several copies"];

/// Where somebody knows from what became of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// From having been there: what an allocator chose, and what came of it before the users ended. Nothing is lost.
    Shown,
    /// From the logs by ids: an exposure without an outcome did not convert.
    Ids,
    /// From the logs by ids of which both halves are there.
    Pairs,
}

impl Source {
    /// All.
    pub const ALL: [Self; 3] = [Self::Shown, Self::Ids, Self::Pairs];

    /// In the name of a figure.
    pub fn words(self) -> &'static str {
        match self {
            Self::Shown => "as shown",
            Self::Ids => "by ids",
            Self::Pairs => "by pairs",
        }
    }
}

/// The name of a figure of an experiment.
pub fn name(experiment: &str, what: &str) -> String {
    format!("{experiment}: {what}")
}

/// The names of the two figures about an arm: visits of which the outcome is known, and how many of them succeeded.
pub fn of_arm(experiment: &str, arm: &str, source: Source) -> [String; 2] {
    ["visits", "successes"].map(|what| name(experiment, &format!("{arm} {what}, {}", source.words())))
}

/// What the visits of each experiment were shown.
pub(in crate::workloads::experiment) fn shown(
    populations: &BTreeMap<String, Population>,
    shown: &[Shown],
) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (experiment, population) in populations {
        let own = || shown.iter().filter(|shown| shown.experiment == *experiment);
        let humans: Vec<f64> = own().filter(|shown| shown.human).map(|shown| shown.lost).collect();
        let (visits, people) = (own().count() as u64, humans.len() as u64);
        let unserved = own().filter(|shown| shown.choice.is_none()).count() as u64;
        let best = humans.iter().filter(|lost| **lost <= SAME).count() as u64;
        let regret = (0 < people).then(|| 100.0 * humans.iter().sum::<f64>() / people as f64);
        let named = |what| name(experiment, what);
        figures.push(Figure::new(named(VISITS), "", Better::Neither, visits as f64));
        figures.push(Figure::share(named(UNSERVED), Better::Less, unserved, visits));
        figures.push(Figure::new(named(REGRET), "%", Better::Less, regret));
        figures.push(Figure::share(named(BEST), Better::More, best, people));
        let mut known = vec![Tally::default(); population.arms()];
        for shown in own().filter(|shown| shown.choice.is_some() && shown.known <= population.end()) {
            known[shown.arm].add(shown.converts);
        }
        figures.extend(tallies(experiment, population, Source::Shown, &known));
    }
    figures
}

fn tallies<'known>(
    experiment: &'known str,
    population: &'known Population,
    source: Source,
    known: &'known [Tally],
) -> impl Iterator<Item = Figure> + 'known {
    population.model().arms.iter().zip(known).flat_map(move |(arm, tally)| {
        let values = [tally.visits, tally.successes];
        let named = of_arm(experiment, &arm.name, source).into_iter().zip(values);
        named.map(|(name, value)| Figure::new(name, "", Better::Neither, value as f64))
    })
}

/// What the logs hold of each experiment.
pub(in crate::workloads::experiment) fn logged(
    populations: &BTreeMap<String, Population>,
    history: &History,
    Logs(found): &Logs,
) -> Vec<Figure> {
    let names: BTreeMap<u32, &str> =
        history.experiments().into_iter().map(|(number, experiment)| (number, &*experiment.name)).collect();
    // An outcome says nothing of its experiment; its exposure does.
    let mut sent: BTreeMap<&str, [Vec<Id>; 2]> = BTreeMap::new();
    let mut of_id: BTreeMap<Id, &str> = BTreeMap::new();
    for (topic, id, said) in history.events_sent() {
        let experiment = match said {
            Said::Exposure { choice, .. } => names.get(&choice.experiment).copied(),
            // Exposures stand before outcomes.
            Said::Outcome(_) => of_id.get(&id).copied(),
        };
        let Some(experiment) = experiment else { continue };
        of_id.insert(id, experiment);
        sent.entry(experiment).or_default()[usize::from(topic == Topic::Outcomes)].push(id);
    }
    let mut figures = Vec::new();
    for (experiment, population) in populations {
        let none = Default::default();
        let sent = sent.get(&**experiment).unwrap_or(&none);
        for (kind, ids) in sent.iter().enumerate() {
            let copies = ids.iter().filter_map(|id| found.get(id)).map(COPIES[kind]);
            figures.extend(stand(kind, |what| name(experiment, what), ids.len() as u64, copies));
        }
        for source in [Source::Ids, Source::Pairs] {
            let mut known = vec![Tally::default(); population.arms()];
            for found in sent[0].iter().filter_map(|id| found.get(id)) {
                let Some(choice) = found.shown.filter(|_| source == Source::Ids || 0 < found.outcomes) else {
                    continue;
                };
                known[choice.arm].add(found.converted);
            }
            figures.extend(tallies(experiment, population, source, &known));
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimTime;
    use crate::checkers::experiment::{Catalogue, Choice, Experiment, Read};

    const END: SimTime = SimTime::from_nanos(86_400_000_000_000);

    fn population() -> BTreeMap<String, Population> {
        let model = "per_day = 20\ndays = 1\nbase = \"20%\"\narms = [{ name = \"a\" }, { name = \"b\", rate = \"30%\" }]";
        BTreeMap::from([("one".to_owned(), Population::new(&toml::from_str(model).expect("a model")))])
    }

    fn choice(arm: usize) -> Choice {
        Choice { experiment: 1, arm, propensity: 0.5, weights: 0 }
    }

    fn visit(arm: usize, served: bool, human: bool, known: SimTime) -> Shown {
        Shown {
            experiment: "one".to_owned(),
            choice: served.then(|| choice(arm)),
            known,
            arm,
            lost: [0.1, 0.0][arm],
            converts: true,
            human,
        }
    }

    fn values(figures: Vec<Figure>) -> BTreeMap<String, f64> {
        figures.into_iter().filter_map(|figure| Some((figure.name, figure.value?))).collect()
    }

    #[test]
    fn visits_tell_what_they_lost_and_what_is_known_of_their_arms_at_the_end() {
        let all = [
            visit(0, true, true, END),
            visit(1, true, true, END),
            visit(1, true, false, END),
            visit(1, true, true, END + std::time::Duration::from_nanos(1)),
            visit(0, false, true, END),
        ];
        let told = values(shown(&population(), &all));
        assert_eq!(told["one: visits"], 5.0);
        assert_eq!(told["one: visits not served"], 20.0);
        assert_eq!(told["one: visits of the best arm"], 50.0, "bots do not count");
        assert!((told["one: regret per visit"] - 5.0).abs() < 1e-9, "{told:?}");
        assert_eq!((told["one: a visits, as shown"], told["one: b visits, as shown"]), (1.0, 2.0));
        assert_eq!(told["one: b successes, as shown"], 2.0);
        assert!(!values(shown(&population(), &[])).contains_key("one: regret per visit"));
    }

    #[test]
    fn logs_tell_what_was_lost_or_copied_of_each_experiment_and_what_is_known_of_its_arms() {
        let mut history = History::default();
        let experiment = Experiment {
            name: "one".to_owned(),
            layer: "one".to_owned(),
            segments: vec![0],
            shares: vec![0.5, 0.5],
            ramp: 1.0,
            running: true,
            ..Experiment::default()
        };
        let other = Experiment { name: "other".to_owned(), ..experiment.clone() };
        let experiments = [(1, experiment), (2, other)].into();
        history.catalogue(SimTime::ZERO, 1, Catalogue { experiments, ..Catalogue::default() });
        let exposure = |experiment, arm| Said::Exposure {
            unit: String::new(),
            choice: Choice { experiment, ..choice(arm) },
        };
        // Of four exposures one is lost, of four outcomes two; one exposure stands twice, and another experiment has its own.
        for number in 0..4 {
            history.sent((1, number), exposure(1, number as usize % 2));
            history.sent((1, number), Said::Outcome(true));
        }
        history.sent((1, 9), exposure(2, 0));
        let read = [
            (0, exposure(1, 0)),
            (0, exposure(1, 0)),
            (1, exposure(1, 1)),
            (2, exposure(1, 0)),
            (0, Said::Outcome(true)),
            (1, Said::Outcome(true)),
        ];
        for (offset, (number, said)) in (0..).zip(read) {
            let topic = if matches!(said, Said::Outcome(_)) { Topic::Outcomes } else { Topic::Exposures };
            history.read(Read { topic, part: 0, offset, event: Some(((1, number), said)) });
        }
        let told = values(logged(&population(), &history, &Logs::of(&history)));
        assert_eq!((told["one: exposures lost"], told["one: outcomes lost"]), (25.0, 50.0));
        assert_eq!(told["one: exposures in several copies"], 100.0 / 3.0);
        assert_eq!((told["one: a visits, by ids"], told["one: a successes, by ids"]), (2.0, 1.0));
        assert_eq!((told["one: a visits, by pairs"], told["one: b visits, by pairs"]), (1.0, 1.0));
    }
}
