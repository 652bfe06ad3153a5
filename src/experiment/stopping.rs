//! When a strategy stops, with which arm, and what it then says of the effects.
//!
//! With more than two arms each is tested against the control, the first, at α over their number (Bonferroni).
//!
//! Where users are the unit, the test of two proportions is Welch's of two ratios, at the same level. Sequential tests go by the variance that
//! arms have which are alike, and their intervals by the larger of that and the arms' own. What goes by posteriors counts visits, whatever the
//! unit is.

use crate::base::SimTime;
use crate::experiment::strategy::{Stop, Strategy};
use crate::experiment::tally::Tally;
use crate::experiment::users::{DAY, evenly};
use crate::statistics::bayes::{self, Beta, Patience};
use crate::statistics::group_sequential::{Sides, spending_bounds};
use crate::statistics::means::Difference;
use crate::statistics::proportion::{self, Share};
use crate::statistics::sequential::{ConfidenceSequence, Look, Mixture};
use crate::statistics::{Interval, group_sequential, normal};

/// How a strategy ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The arm that all get from then on.
    pub arm: usize,
    /// Whether it says that this arm differs from the control, or the control from all others.
    pub differs: bool,
}

/// The stopping rule of a strategy, with its boundaries.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    stop: Stop,
    /// The probability of a false alarm for each arm but the control.
    alpha: f64,
    /// On |z|, by look; of a rule that has such.
    bounds: Vec<f64>,
    /// When it looks.
    looks: Vec<SimTime>,
    /// Looks before this one decide nothing.
    first: usize,
}

impl Rule {
    /// The rule of a valid strategy among so many arms, for a stream of so many days.
    pub fn new(strategy: &Strategy, arms: usize, days: u32) -> Self {
        let looks = looks(strategy, days);
        let count = looks.len();
        let alpha = strategy.alpha.get() / (arms.max(2) - 1) as f64;
        let plain = -normal::quantile(0.5 * alpha);
        let bounds = match strategy.stop {
            Stop::FixedHorizon | Stop::Peeking => vec![plain; count],
            Stop::Pocock => vec![group_sequential::pocock(count, alpha); count],
            Stop::ObrienFleming => {
                let constant = group_sequential::obrien_fleming(count, alpha);
                (1..=count).map(|look| constant * (count as f64 / look as f64).sqrt()).collect()
            }
            Stop::AlphaSpending { like } => {
                let times: Vec<f64> = (1..=count).map(|look| look as f64 / count as f64).collect();
                spending_bounds(&times, alpha, Sides::Two, like.into())
            }
            _ => Vec::new(),
        };
        let first = first(strategy, &looks);
        Self { stop: strategy.stop, alpha, bounds, looks, first }
    }

    /// When it looks, the last time at the end of the stream.
    pub fn looks(&self) -> &[SimTime] {
        &self.looks
    }

    /// What it decides at a look; at the last one it always does.
    pub fn decide(&self, look: usize, arms: &[Tally]) -> Option<Decision> {
        let last = look + 1 == self.looks.len();
        if look < self.first {
            return None;
        }
        let kept = || last.then_some(Decision { arm: 0, differs: false });
        let chosen = |arm: usize| Decision { arm, differs: arm != 0 };
        match self.stop {
            Stop::Horizon => last.then(|| Decision { arm: best(arms), differs: false }),
            Stop::ExpectedLoss { threshold } => {
                bayes::stop_by_expected_loss(&posteriors(arms), threshold.get())
                    .map(chosen)
                    .or_else(|| last.then(|| Decision { arm: best(arms), differs: false }))
            }
            Stop::ValueRemaining { part, confidence } => {
                let patience = Patience { part: part.get(), confidence: confidence.get() };
                bayes::stop_by_value_remaining(&posteriors(arms), patience)
                    .map(chosen)
                    .or_else(|| last.then(|| Decision { arm: best(arms), differs: false }))
            }
            _ => self.tested(look, arms).or_else(kept),
        }
    }

    /// The best of the arms that are shown to be better than the control; or the control, if all are shown to be worse.
    fn tested(&self, look: usize, arms: &[Tally]) -> Option<Decision> {
        let (mut winner, mut all_worse) = (None, true);
        for (arm, tally) in arms.iter().enumerate().skip(1) {
            let pair = Pair::of(&arms[0], tally).filter(|pair| self.shows(look, pair));
            let Some(Pair { control, treated, .. }) = pair else {
                all_worse = false;
                continue;
            };
            if control.value() < treated.value() {
                all_worse = false;
                if winner.is_none_or(|(_, value)| value < treated.value()) {
                    winner = Some((arm, treated.value()));
                }
            }
        }
        match winner {
            Some((arm, _)) => Some(Decision { arm, differs: true }),
            None => all_worse.then_some(Decision { arm: 0, differs: true }),
        }
    }

    /// Whether a difference is shown.
    fn shows(&self, look: usize, pair: &Pair) -> bool {
        if let Some(seen) = self.sequential(pair, pair.if_alike) {
            return seen.p <= self.alpha;
        }
        let Some(bound) = self.bounds.get(look).copied() else { return false };
        match pair.by_user {
            Some(difference) => difference.p() < normal::two_sided(bound),
            None => bound < proportion::pooled(pair.control, pair.treated).z.abs(),
        }
    }

    /// What a test that may be looked at any time says of a difference with this variance.
    fn sequential(&self, pair: &Pair, variance: f64) -> Option<Look> {
        let estimate = pair.treated.value() - pair.control.value();
        match self.stop {
            Stop::Msprt { tau } => {
                Some(Mixture { tau: tau.get(), alpha: self.alpha }.look(estimate, variance))
            }
            Stop::ConfidenceSequence { tuned_to } => {
                let sequence = ConfidenceSequence { tuned_to: tuned_to as f64, alpha: self.alpha };
                Some(sequence.look(estimate, variance.sqrt(), pair.telling_visits()))
            }
            _ => None,
        }
    }

    /// Where the effect of each arm against the control lies, as the rule would report it at a look; nothing for an arm without data.
    ///
    /// Sequential tests have their own intervals, group sequential ones repeated intervals (± the boundary in standard errors: Jennison and
    /// Turnbull, 1989), Bayesian rules credible ones (as Agresti and Caffo), all others Wald's; Welch's where users are the unit.
    pub fn intervals(&self, look: usize, arms: &[Tally]) -> Vec<Option<Interval>> {
        let of = |tally: &Tally| {
            let pair = Pair::of(&arms[0], tally)?;
            let Pair { control, treated, by_user, .. } = pair;
            let confidence = 1.0 - self.alpha;
            let plain = |confidence: f64| match by_user {
                Some(difference) => difference.interval(confidence),
                None => proportion::wald_interval(control, treated, confidence),
            };
            Some(match self.stop {
                Stop::Msprt { .. } | Stop::ConfidenceSequence { .. } => {
                    // Arms need not be alike, and one without a success is not known exactly.
                    self.sequential(&pair, pair.variance().max(pair.if_alike))?.interval
                }
                Stop::Pocock | Stop::ObrienFleming | Stop::AlphaSpending { .. } => {
                    plain(1.0 - normal::two_sided(*self.bounds.get(look)?))
                }
                Stop::ExpectedLoss { .. } | Stop::ValueRemaining { .. } => {
                    proportion::agresti_caffo_interval(control, treated, confidence)
                }
                Stop::Horizon | Stop::FixedHorizon | Stop::Peeking => plain(confidence),
            })
        };
        arms[1..].iter().map(of).collect()
    }
}

/// When a strategy looks at a stream of so many days, the last time at its end.
fn looks(strategy: &Strategy, days: u32) -> Vec<SimTime> {
    let (count, end) = (strategy.looks(days) as usize, SimTime::from_nanos(u64::from(days) * DAY));
    (0..count).map(|look| evenly(end, look, count)).collect()
}

/// The first of its looks that may decide.
fn first(strategy: &Strategy, looks: &[SimTime]) -> usize {
    let begin = SimTime::ZERO + strategy.not_before.get();
    looks.partition_point(|look| *look < begin).min(looks.len() - 1)
}

/// When a strategy may decide first, in a stream of so many days.
pub fn earliest(strategy: &Strategy, days: u32) -> SimTime {
    let looks = looks(strategy, days);
    looks[first(strategy, &looks)]
}

/// What is known of the control and of another arm.
struct Pair {
    control: Share,
    treated: Share,
    /// How they differ, if users are the unit.
    by_user: Option<Difference>,
    /// The variance of their difference if they are alike.
    if_alike: f64,
}

impl Pair {
    /// Nothing before there is enough of both.
    fn of(control: &Tally, treated: &Tally) -> Option<Self> {
        let by_user = treated.by_user(control);
        let users = control.users.is_some() || treated.users.is_some();
        if users && by_user.is_none() {
            return None;
        }
        let if_alike = treated.variance_if_alike(control)?;
        Some(Self { control: control.share()?, treated: treated.share()?, by_user, if_alike })
    }

    /// The variance of the difference if all visits are independent.
    fn variance_of_visits(&self) -> f64 {
        let of = |share: Share| share.variance() / share.trials() as f64;
        of(self.control) + of(self.treated)
    }

    /// The variance of the difference, by the unit.
    fn variance(&self) -> f64 {
        self.by_user.map_or_else(|| self.variance_of_visits(), |difference| difference.standard_error.powi(2))
    }

    /// As many independent visits as would tell as much: time goes by what is known.
    fn telling_visits(&self) -> f64 {
        let (visits, own) = ((self.control.trials() + self.treated.trials()) as f64, self.variance());
        if self.by_user.is_some() && 0.0 < own { visits * self.variance_of_visits() / own } else { visits }
    }
}

fn posteriors(arms: &[Tally]) -> Vec<Beta> {
    arms.iter().map(|arm| Beta::UNIFORM.after(arm.successes as f64, arm.visits as f64)).collect()
}

/// The arm with the largest mean, the first of several; one without data has none.
fn best(arms: &[Tally]) -> usize {
    let mean = |arm: &Tally| arm.share().map_or(-1.0, |share| share.value());
    let mut best = 0;
    for (index, arm) in arms.iter().enumerate() {
        if mean(&arms[best]) < mean(arm) {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(stop: &str, arms: usize) -> Rule {
        let strategy: Strategy = toml::from_str(&format!("name = \"s\"\nstop = {stop}"))
            .unwrap_or_else(|error| panic!("{stop}: {error}"));
        Rule::new(&strategy, arms, 10)
    }

    fn tallies(of: &[(u64, u64)]) -> Vec<Tally> {
        of.iter()
            .map(|(successes, visits)| Tally { successes: *successes, visits: *visits, users: None })
            .collect()
    }

    #[test]
    fn a_rule_stops_where_its_error_allows() {
        // z = 2.2 between shares of 5 and 6 %, and 4.2 between 5 and 7 %. At the second of ten looks Pocock has 2.555, O'Brien and Fleming 4.67.
        let slight = tallies(&[(250, 5000), (300, 5000)]);
        let clear = tallies(&[(250, 5000), (350, 5000)]);
        let worse = tallies(&[(350, 5000), (250, 5000)]);
        let stops = |arm: usize| Some(Decision { arm, differs: true });
        for (stop, of_slight, of_clear) in [
            ("\"peeking\"", stops(1), stops(1)),
            ("\"pocock\"", None, stops(1)),
            ("\"obrien-fleming\"", None, None),
            ("{ alpha-spending = {} }", None, None),
            ("{ alpha-spending = { like = \"pocock\" } }", None, stops(1)),
            ("{ alpha-spending = { like = { power = 3.0 } } }", None, stops(1)),
            ("{ msprt = { tau = \"1%\" } }", None, stops(1)),
            ("{ confidence-sequence = { tuned_to = 10000 } }", None, stops(1)),
            ("{ expected-loss = { threshold = \"0.05%\" } }", stops(1), stops(1)),
            ("{ value-remaining = {} }", stops(1), stops(1)),
            ("\"horizon\"", None, None),
            ("\"fixed-horizon\"", None, None),
        ] {
            let rule = rule(stop, 2);
            let few = matches!(rule.stop, Stop::Horizon | Stop::FixedHorizon);
            assert_eq!(rule.looks().len(), if few { 1 } else { 10 }, "{stop}");
            if few {
                continue;
            }
            assert_eq!(rule.decide(1, &slight), of_slight, "{stop}");
            assert_eq!(rule.decide(1, &clear), of_clear, "{stop}");
            let differs = rule.stop.is_test();
            let kept = of_clear.map(|_| Decision { arm: 0, differs });
            assert_eq!(rule.decide(1, &worse), kept, "{stop}");
            assert!(rule.decide(9, &tallies(&[(0, 0), (0, 0)])).is_some(), "{stop} ends without data");
        }
    }

    #[test]
    fn of_several_arms_the_best_that_is_shown_wins_and_the_control_only_if_all_are_worse() {
        let rule = rule("\"fixed-horizon\"", 4);
        let decide = |of: &[(u64, u64)]| rule.decide(0, &tallies(of));
        let of = |arm: usize, differs: bool| Some(Decision { arm, differs });
        assert_eq!(decide(&[(250, 5000), (330, 5000), (400, 5000), (100, 5000)]), of(2, true));
        assert_eq!(decide(&[(250, 5000), (100, 5000), (100, 5000), (100, 5000)]), of(0, true));
        assert_eq!(decide(&[(250, 5000), (251, 5000), (100, 5000), (100, 5000)]), of(0, false));
        // z = 2.2 is not enough for three questions.
        assert_eq!(decide(&[(250, 5000), (300, 5000), (250, 5000), (250, 5000)]), of(0, false));
        assert_eq!(decide(&[(0, 0), (300, 5000), (250, 5000), (250, 5000)]), of(0, false));
        let intervals = rule.intervals(0, &tallies(&[(250, 5000), (300, 5000), (0, 0), (250, 5000)]));
        assert_eq!(intervals.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        assert!(intervals[0].is_some_and(|interval| interval.contains(0.0) && interval.contains(0.01)));
    }
}
