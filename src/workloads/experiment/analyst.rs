//! What somebody would conclude from the logs alone, set against the truth. Pure.
//!
//! A visit is the unit of analysis, and its rate is held against the truth, so that only experiments are analysed whose users are humans who
//! come once and whose rates stay, with two arms of fixed weights. Whose arm an operator chose is left out. The rate of an arm is the number
//! of conversions by the number of exposures, the difference of the two rates is tested at 5 % (pooled z) and has a 95 % interval (Newcombe's),
//! and the exposures are held against the weights at 1 % (Pearson's χ²). An A/A test has two arms alike, an A/B test has not. How the records
//! are counted is what differs ([`Counting`]).
//!
//! The p-values of A/A tests are told too, exact ones: which arm a user is shown is drawn by chance whatever becomes of it, and whatever the
//! pipeline loses of it, so that they are spread evenly over many runs, at all levels. Copies that are counted as users take that away.
//!
//! Of chance in the users, an estimate has more than of anything else. So its bias is told against what the same test gives if nothing is
//! lost on the way between the apps and the logs: from the visits as they were shown, which is unbiased.

pub mod each;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Better, Calibration, Figure, SimTime};
use crate::checkers::experiment::{Choice, Experiment, History, Id, Said, Topic};
use crate::experiment::users::{Population, Season};
use crate::statistics::proportion::{Share, newcombe, pooled, pooled_exact};
use crate::statistics::srm;
use crate::systems::allocator::api::Draft;

/// The level of tests of a difference; intervals are to cover as often as it leaves.
pub const ALPHA: f64 = 0.05;

/// The level of checks of the sample ratio.
pub const RATIO_ALPHA: f64 = 0.01;

/// How the records of the two logs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Each record is an exposure or an outcome, copies too.
    Records,
    /// Each id counts once; an exposure without an outcome did not convert.
    Ids,
    /// Each id counts once, if both its halves are there.
    Pairs,
}

impl Counting {
    /// All.
    pub const ALL: [Self; 3] = [Self::Records, Self::Ids, Self::Pairs];

    /// What is counted, in a figure's name.
    pub fn words(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Ids => "ids",
            Self::Pairs => "pairs",
        }
    }
}

/// What a visit was shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The experiment's name.
    pub experiment: String,
    /// What was chosen; `None` if no allocator answered, and the visit was shown the control.
    pub choice: Option<Choice>,
    /// When it is clear what comes of it, in the time of its users.
    pub known: SimTime,
    /// The arm.
    pub arm: usize,
    /// How much worse its rate was than the best of those that were to be offered at that time; 0 of an arm that was removed and is better.
    pub lost: f64,
    /// Whether it converts.
    pub converts: bool,
    /// Whether it is one of a human.
    pub human: bool,
}

/// What the logs hold, by id.
pub struct Logs(BTreeMap<Id, Found>);

/// What they hold of one id.
#[derive(Default)]
struct Found {
    /// What was chosen, by its exposure.
    shown: Option<Choice>,
    exposures: u64,
    converted: bool,
    outcomes: u64,
}

/// How much worse the arms of adaptive experiments were than the best that was to be offered at that time, on average over visits of humans, in percentage points.
/// A visit that no allocator served counts as one that was shown the control.
pub fn regret(adaptive: &BTreeSet<&str>, shown: &[Shown]) -> Vec<Figure> {
    if adaptive.is_empty() {
        return Vec::new();
    }
    let humans = shown.iter().filter(|shown| shown.human && adaptive.contains(&*shown.experiment));
    let (count, sum) = humans.fold((0u64, 0.0), |(count, sum), shown| (count + 1, sum + shown.lost));
    let value = (0 < count).then(|| 100.0 * sum / count as f64);
    vec![Figure::new("regret per visit", "%", Better::Less, value)]
}

/// What became of the events that were handed to producers.
pub fn delivered(history: &History, Logs(found): &Logs) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (topic, (kind, copies)) in
        [Topic::Exposures, Topic::Outcomes].into_iter().zip(COPIES.into_iter().enumerate())
    {
        let name = |what: &str| what.to_owned();
        figures.extend(stand(kind, name, history.sent_of(topic), found.values().map(copies)));
    }
    let shown = found.values().filter(|found| found.shown.is_some()).count() as u64;
    let open = found.values().filter(|found| found.shown.is_some() && found.outcomes == 0).count() as u64;
    figures.push(of_events("exposures without an outcome".to_owned(), open, shown));
    figures
}

/// How often an exposure, or an outcome, stands in the logs.
const COPIES: [fn(&Found) -> u64; 2] = [|found| found.exposures, |found| found.outcomes];

/// Of so many events of a kind that were sent, which share is lost, and which stands in several copies: `copies` of each.
fn stand(
    kind: usize,
    name: impl Fn(&str) -> String,
    sent: u64,
    copies: impl Iterator<Item = u64>,
) -> [Figure; 2] {
    let copies: Vec<u64> = copies.collect();
    let more_than = |least: u64| copies.iter().filter(|copies| least < **copies).count() as u64;
    let (there, twice) = (more_than(0), more_than(1));
    let lost = of_events(name(each::LOST[kind]), sent.saturating_sub(there), sent);
    [lost, of_events(name(each::COPIED[kind]), twice, there)]
}

/// A share of events. They are lost together, so that their number says little of how many trials there were: runs are what varies.
fn of_events(name: String, happened: u64, of: u64) -> Figure {
    Figure { of: None, ..Figure::share(name, Better::Less, happened, of) }
}

/// What an analyst would conclude of these experiments, by each way to count.
pub fn concluded(
    populations: &BTreeMap<String, Population>,
    drafts: &[&Draft],
    history: &History,
    logs: &Logs,
    shown: &[Shown],
) -> Vec<Figure> {
    let drafts = drafts.iter().filter(|draft| can_be_analysed(draft, &populations[&draft.name]));
    let names: BTreeSet<&str> = drafts.map(|draft| &*draft.name).collect();
    // Of each its number, itself, and what its visits were shown.
    let subjects: Vec<(u32, &Experiment, _)> = history
        .experiments()
        .into_iter()
        .filter(|(_, experiment)| is_fixed(experiment) && names.contains(&*experiment.name))
        .map(|(number, experiment)| (number, experiment, without_loss(shown, number)))
        .collect();
    // Arms that are alike on average need not be so among those whom an experiment is for.
    let of_one_kind = |name: &str| populations[name].model().segments.is_empty();
    let all_alike = subjects.iter().all(|(_, experiment, _)| of_one_kind(&experiment.name));
    let mut figures = Vec::new();
    for counting in Counting::ALL.into_iter().filter(|_| !names.is_empty()) {
        let mut conclusions = Conclusions::default();
        for (number, experiment, as_shown) in &subjects {
            let (logged, truth) = (logs.tallied(*number, counting), populations[&experiment.name].truth());
            conclusions.add(logged, *as_shown, &experiment.shares, truth);
        }
        // A copy counts as one more user, who is no draw of chance.
        let promised = all_alike && (counting != Counting::Records || !logs.hold_copies());
        figures.extend(conclusions.figures(counting, promised));
    }
    figures
}

/// The same name may have been given to an experiment of another kind.
fn is_fixed(experiment: &Experiment) -> bool {
    experiment.floor.is_none() && experiment.shares.len() == 2
}

/// Whether a visit of this experiment was shown an arm by chance; what was certain, an operator had chosen.
fn is_drawn(choice: &Choice, experiment: u32) -> bool {
    choice.experiment == experiment && choice.propensity < 1.0
}

fn can_be_analysed(draft: &Draft, population: &Population) -> bool {
    let model = population.model();
    let once = model.returning.is_none() && model.bots.is_none();
    let steady = model.novelty.is_none()
        && model.seasons == Season::default()
        && model.arms.iter().all(|arm| arm.drift == 0.0);
    once && steady && draft.adaptive.is_none() && draft.arms.len() == 2
}

impl Logs {
    /// What was read back of them.
    pub fn of(history: &History) -> Self {
        let mut all: BTreeMap<Id, Found> = BTreeMap::new();
        for (id, said) in history.events_read() {
            let found = all.entry(*id).or_default();
            match said {
                Said::Exposure { choice, .. } => {
                    found.shown = Some(*choice);
                    found.exposures += 1;
                }
                Said::Outcome(converted) => {
                    found.converted = *converted;
                    found.outcomes += 1;
                }
            }
        }
        Self(all)
    }

    /// Whether anything stands in them more than once.
    fn hold_copies(&self) -> bool {
        self.0.values().any(|found| 1 < found.exposures || 1 < found.outcomes)
    }

    /// Exposures and conversions of both arms. An outcome without an exposure is of no arm.
    fn tallied(&self, experiment: u32, counting: Counting) -> [(u64, u64); 2] {
        let mut arms = [(0, 0); 2];
        for found in self.0.values() {
            let Some(choice) = found.shown.filter(|choice| is_drawn(choice, experiment)) else { continue };
            let (shown, converted) = match counting {
                Counting::Records => (found.exposures, found.outcomes * u64::from(found.converted)),
                Counting::Ids => (1, u64::from(found.converted)),
                Counting::Pairs => {
                    let whole = u64::from(0 < found.outcomes);
                    (whole, whole * u64::from(found.converted))
                }
            };
            arms[choice.arm].0 += shown;
            arms[choice.arm].1 += converted;
        }
        arms
    }
}

/// The same of the visits as they were shown.
fn without_loss(shown: &[Shown], experiment: u32) -> [(u64, u64); 2] {
    let mut arms = [(0, 0); 2];
    for shown in shown.iter().filter(|shown| shown.choice.is_some_and(|choice| is_drawn(&choice, experiment)))
    {
        arms[shown.arm].0 += 1;
        arms[shown.arm].1 += u64::from(shown.converts);
    }
    arms
}

/// What was concluded of all experiments of a run.
#[derive(Default)]
struct Conclusions {
    /// Whether the sample ratio alarmed.
    ratios: Vec<bool>,
    /// Whether arms that are alike were said to differ.
    alike: Vec<bool>,
    /// The p-values of these tests.
    alike_p: Vec<[f64; 2]>,
    /// Whether arms that differ were.
    different: Vec<bool>,
    /// Whether the interval covered a difference.
    covered: Vec<bool>,
    /// Whether a verdict is another than without any loss.
    changed: Vec<bool>,
    /// By how much the estimate of a difference is larger than without any loss, in parts of the true one.
    shifted: Vec<f64>,
}

impl Conclusions {
    fn add(&mut self, logged: [(u64, u64); 2], as_shown: [(u64, u64); 2], weights: &[f64], truth: &[f64]) {
        self.ratios.push(srm::check(&logged.map(|(shown, _)| shown), weights).mismatch(RATIO_ALPHA));
        // Of nobody nothing follows.
        if logged.iter().chain(&as_shown).any(|(shown, _)| *shown == 0) {
            return;
        }
        // Copies of outcomes may outnumber those of exposures.
        let shares =
            |arms: [(u64, u64); 2]| arms.map(|(shown, converted)| Share::new(converted.min(shown), shown));
        let verdict = |[control, treated]: [Share; 2]| pooled(control, treated).p() < ALPHA;
        let estimate = |[control, treated]: [Share; 2]| treated.value() - control.value();
        let (logged, as_shown) = (shares(logged), shares(as_shown));
        self.changed.push(verdict(logged) != verdict(as_shown));
        let difference = truth[1] - truth[0];
        if difference == 0.0 {
            self.alike.push(verdict(logged));
            self.alike_p.push(pooled_exact(logged[0], logged[1]));
            return;
        }
        self.different.push(verdict(logged));
        self.covered.push(newcombe(logged[0], logged[1], 1.0 - ALPHA).contains(difference));
        self.shifted.push((estimate(logged) - estimate(as_shown)) / difference);
    }

    /// `promised`: whether its p-values of what is alike must be spread evenly.
    fn figures(&self, counting: Counting, promised: bool) -> Vec<Figure> {
        let words = counting.words();
        let share = |name: &str, better, of: &[bool]| {
            let happened = of.iter().filter(|happened| **happened).count() as u64;
            Figure::share(format!("{name}, by {words}"), better, happened, of.len() as u64)
        };
        let calibration =
            (!self.alike_p.is_empty()).then(|| Calibration { p: self.alike_p.clone(), promised });
        let count = self.shifted.len() as f64;
        let bias = (0.0 < count).then(|| 100.0 * self.shifted.iter().sum::<f64>() / count);
        vec![
            share("ratio alarms", Better::Less, &self.ratios),
            Figure { calibration, ..share("A/A false positives", Better::Less, &self.alike) },
            share("A/B differences found", Better::More, &self.different),
            share("A/B intervals that cover", Better::More, &self.covered),
            Figure::new(format!("A/B relative bias, by {words}"), "%", Better::Neither, bias),
            share("verdicts changed", Better::Less, &self.changed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Share as Whole;
    use crate::checkers::experiment::{Catalogue, Read};
    use crate::systems::allocator::api::{Adaptive, Arm, Scheme};

    /// Ten visits were shown each arm, with ids 0 to 9 and 10 to 19; the first `converts[arm]` of each convert.
    struct Case {
        history: History,
        shown: Vec<Shown>,
    }

    fn case(converts: [u64; 2]) -> Case {
        let mut history = History::default();
        let experiment =
            Experiment { name: "one".to_owned(), shares: vec![0.5, 0.5], ..Experiment::default() };
        let catalogue = Catalogue { experiments: [(1, experiment)].into(), ..Catalogue::default() };
        history.catalogue(SimTime::ZERO, 1, catalogue);
        let mut case = Case { history, shown: Vec::new() };
        for number in 0..20 {
            let arm = (number / 10) as usize;
            let converts = number % 10 < converts[arm];
            case.shown.push(Shown {
                experiment: "one".to_owned(),
                choice: Some(choice(arm)),
                known: SimTime::ZERO,
                arm,
                lost: 0.0,
                converts,
                human: true,
            });
            case.write(number, Said::Exposure { unit: String::new(), choice: choice(arm) });
            case.write(number, Said::Outcome(converts));
        }
        case
    }

    fn draft() -> Draft {
        Draft {
            name: "one".to_owned(),
            layer: "home".to_owned(),
            segments: 1,
            arms: ["a", "b"].map(|name| Arm { name: name.to_owned(), weight: 1.0 }).to_vec(),
            ramp: Whole::new(1.0),
            scheme: Scheme::Planout,
            only: BTreeMap::new(),
            sticky: false,
            adaptive: None,
        }
    }

    fn choice(arm: usize) -> Choice {
        Choice { experiment: 1, arm, propensity: 0.5, weights: 0 }
    }

    impl Case {
        fn write(&mut self, number: u64, said: Said) {
            let topic = match said {
                Said::Exposure { .. } => Topic::Exposures,
                Said::Outcome(_) => Topic::Outcomes,
            };
            self.history.sent((1, number), said.clone());
            let offset = self.history.counts()[2] as i64;
            self.history.read(Read { topic, part: 0, offset, event: Some(((1, number), said)) });
        }

        fn tallied(&self, counting: Counting) -> [(u64, u64); 2] {
            Logs::of(&self.history).tallied(1, counting)
        }

        /// What is concluded where the second arm is as good as its rate says, by name.
        fn figures(&self, rate: &str) -> BTreeMap<String, Option<f64>> {
            self.told(rate).into_iter().map(|figure| (figure.name, figure.value)).collect()
        }

        fn told(&self, rate: &str) -> Vec<Figure> {
            self.told_of(rate, "")
        }

        /// The same, with more that is said of users.
        fn told_of(&self, rate: &str, more: &str) -> Vec<Figure> {
            let model = format!(
                "per_day = 20\ndays = 1\nbase = \"20%\"\narms = [{{ name = \"a\" }}, {{ name = \"b\", rate = \"{rate}\" }}]\n{more}"
            );
            let model = toml::from_str(&model).expect("a model");
            let populations = BTreeMap::from([("one".to_owned(), Population::new(&model))]);
            let draft = draft();
            let logs = Logs::of(&self.history);
            let mut figures = concluded(&populations, &[&draft], &self.history, &logs, &self.shown);
            figures.extend(delivered(&self.history, &logs));
            figures
        }
    }

    #[test]
    fn what_is_whole_is_counted_alike_by_all_ways() {
        let case = case([2, 9]);
        for counting in Counting::ALL {
            assert_eq!(case.tallied(counting), [(10, 2), (10, 9)]);
        }
        let figures = case.figures("90%");
        for (name, value) in [
            ("A/B differences found, by ids", Some(100.0)),
            ("A/B intervals that cover, by ids", Some(100.0)),
            ("A/B relative bias, by ids", Some(0.0)),
            ("A/A false positives, by ids", None),
            ("ratio alarms, by ids", Some(0.0)),
            ("verdicts changed, by ids", Some(0.0)),
            ("exposures lost", Some(0.0)),
            ("outcomes in several copies", Some(0.0)),
        ] {
            assert_eq!(figures[name], value, "{name} of {figures:?}");
        }
        let alike = case.figures("20%");
        assert_eq!(alike["A/A false positives, by pairs"], Some(100.0), "{alike:?}");
        assert_eq!(alike["A/B relative bias, by pairs"], None, "{alike:?}");
    }

    #[test]
    fn copies_deceive_who_counts_records_and_lost_outcomes_who_counts_ids() {
        let mut copied = case([2, 2]);
        // All that the second arm converted comes nine more times.
        for number in [10, 11].into_iter().cycle().take(18) {
            copied.write(number, Said::Exposure { unit: String::new(), choice: choice(1) });
            copied.write(number, Said::Outcome(true));
        }
        assert_eq!(copied.tallied(Counting::Records), [(10, 2), (28, 20)]);
        assert_eq!(copied.tallied(Counting::Ids), [(10, 2), (10, 2)]);
        assert_eq!(copied.tallied(Counting::Pairs), [(10, 2), (10, 2)]);
        let figures = copied.figures("20%");
        assert_eq!(figures["A/A false positives, by records"], Some(100.0), "{figures:?}");
        assert_eq!(figures["ratio alarms, by records"], Some(100.0), "{figures:?}");
        assert_eq!(figures["verdicts changed, by records"], Some(100.0), "{figures:?}");
        assert_eq!(figures["A/A false positives, by ids"], Some(0.0), "{figures:?}");
        assert_eq!(figures["outcomes in several copies"], Some(10.0), "{figures:?}");

        let mut lost = case([2, 8]);
        let none = Said::Exposure { unit: String::new(), choice: choice(1) };
        (20..30).for_each(|number| lost.write(number, none.clone()));
        assert_eq!(lost.tallied(Counting::Ids), [(10, 2), (20, 8)]);
        assert_eq!(lost.tallied(Counting::Pairs), [(10, 2), (10, 8)]);
        assert_eq!(lost.figures("80%")["exposures without an outcome"], Some(100.0 / 3.0));
        let figures = lost.figures("80%");
        // 8 of 20 are 40 %, not 80 %: two thirds of the difference of 60 points are gone.
        let bias = figures["A/B relative bias, by ids"].expect("there is a difference");
        assert!((bias + 200.0 / 3.0).abs() < 1e-9, "{figures:?}");
        assert_eq!(figures["A/B relative bias, by pairs"], Some(0.0), "{figures:?}");
        // An outcome whose exposure is gone is of no arm.
        lost.write(40, Said::Outcome(true));
        assert_eq!(lost.tallied(Counting::Records), [(10, 2), (20, 8)]);
        lost.history.sent((1, 50), none);
        assert_eq!(lost.figures("80%")["exposures lost"], Some(100.0 / 31.0));
    }

    #[test]
    fn p_values_are_told_of_what_is_alike_and_promised_where_nothing_counts_twice() {
        let promised = |case: &Case| {
            let told = case.told("20%").into_iter();
            let told = told.filter_map(|figure| Some((figure.name, figure.calibration?)));
            told.collect::<BTreeMap<String, Calibration>>()
        };
        let mut case = case([2, 9]);
        let whole = promised(&case);
        // Of 11 conversions among 20 users, at most 2 or at least 9 in the first ten: 2 (45 · 10 + 10 · 1) of 167,960 ways, and beyond it the 10.
        let expected = [20.0 / 167_960.0, 920.0 / 167_960.0];
        for words in Counting::ALL.map(Counting::words) {
            let found = &whole[&format!("A/A false positives, by {words}")];
            let near = (0..2).all(|end| (found.p[0][end] - expected[end]).abs() < 1e-12);
            assert!(near && found.p.len() == 1 && found.promised, "{words}: {found:?}");
        }
        assert_eq!(whole.len(), 3);
        let differing = case.told("90%");
        assert!(differing.iter().all(|figure| figure.calibration.is_none()), "{differing:?}");
        let kinds = "segments = [{ name = \"all\", share = \"100%\", lifts = [\"+0%\", \"+0%\"] }]";
        let mut of_kinds = case.told_of("20%", kinds).into_iter().filter_map(|figure| figure.calibration);
        assert!(of_kinds.all(|calibration| !calibration.promised), "arms may differ among a kind of users");
        case.write(10, Said::Outcome(true));
        let copied = promised(&case);
        let told =
            |counting: Counting| copied[&format!("A/A false positives, by {}", counting.words())].clone();
        assert!(!told(Counting::Records).promised);
        assert!(told(Counting::Ids).promised && told(Counting::Pairs).promised);
        assert_ne!(told(Counting::Records).p, told(Counting::Ids).p);
    }

    #[test]
    fn who_was_given_an_arm_by_an_operator_is_left_out() {
        let mut case = case([2, 9]);
        let given = Choice { propensity: 1.0, ..choice(1) };
        for number in 20..30 {
            let template = case.shown[0].clone();
            case.shown.push(Shown { choice: Some(given), arm: 1, converts: true, ..template });
            case.write(number, Said::Exposure { unit: String::new(), choice: given });
            case.write(number, Said::Outcome(true));
        }
        for counting in Counting::ALL {
            assert_eq!(case.tallied(counting), [(10, 2), (10, 9)]);
        }
        assert_eq!(without_loss(&case.shown, 1), [(10, 2), (10, 9)]);
        assert_eq!(case.figures("90%")["verdicts changed, by records"], Some(0.0));
    }

    #[test]
    fn users_who_come_again_and_adaptive_experiments_are_not_analysed() {
        let model = |more: &str| {
            let text = format!(
                "per_day = 20\ndays = 1\nbase = \"20%\"\narms = [{{ name = \"a\" }}, {{ name = \"b\" }}]\n{more}"
            );
            Population::new(&toml::from_str(&text).expect("a model"))
        };
        let fixed = draft();
        assert!(can_be_analysed(&fixed, &model("")));
        let again = "returning = { share = \"5%\", visits = 2, gap = \"1h\" }";
        assert!(!can_be_analysed(&fixed, &model(again)));
        for unsteady in [
            "bots = { share = \"5%\" }",
            "novelty = { amplitude = 1.0, half_life = \"5d\" }",
            "seasons = { daily = 0.2 }",
        ] {
            assert!(!can_be_analysed(&fixed, &model(unsteady)), "{unsteady}");
        }
        let adaptive = Draft { adaptive: Some(Adaptive::default()), ..fixed };
        assert!(!can_be_analysed(&adaptive, &model("")));
    }

    #[test]
    fn regret_is_the_mean_of_what_each_visit_of_a_human_lost() {
        let shown = |arm, human| Shown {
            experiment: "one".to_owned(),
            choice: None,
            known: SimTime::ZERO,
            arm,
            lost: [0.1, 0.0][arm],
            converts: false,
            human,
        };
        let all = [shown(0, true), shown(1, true), shown(1, true), shown(1, true), shown(0, false)];
        let told = regret(&BTreeSet::from(["one"]), &all);
        let value = told[0].value.expect("there were visits");
        assert!((value - 2.5).abs() < 1e-9, "{value}");
        assert!(regret(&BTreeSet::new(), &all).is_empty());
    }
}
