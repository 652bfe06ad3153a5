//! The log of a random policy as a stream: Li, Chu, Langford and Wang, "Unbiased offline evaluation of contextual-bandit-based news article
//! recommendation algorithms" (2011). An impression counts for a strategy only if the strategy would have shown the arm that was logged;
//! all others are passed over, and nothing is learnt from them. As every arm had the same chance to be logged, whatever the strategy
//! wanted, those that count are a stream of visits as the strategy itself would have met it.
//!
//! A pass in another order of the log is as good as the first, and they differ by order and dice; none of them tells how another log
//! would have differed. That is told by passes through *resamples* (as many impressions, drawn from the log with replacement: Efron's
//! bootstrap). Through each resample go two passes, in different orders and with different dice: what they have in common, their
//! covariance over resamples, is the log's doing. Resamples hold impressions twice, from which a strategy learns what is not true; so their
//! mean is not the estimate, but that of passes through the log itself.

use crate::base::{Seed, SimTime};
use crate::experiment::allocation::Visitor;
use crate::experiment::course::{Course, Prepared, Recorder, Stage};
use crate::experiment::log::{Impression, Log};
use crate::statistics::dice::Dice;

/// What passes through the log of one seed made of a strategy.
#[derive(Clone, PartialEq, Debug)]
pub struct Replayed {
    /// The pass through the log itself, in the order of the seed. Its visits are the impressions that matched.
    pub course: Course,
    /// The click rates of two passes through one resample.
    pub resampled: [f64; 2],
    /// The click rate of that resample, which the random policy would have had.
    pub resampled_random: f64,
}

impl Course {
    /// Which share of visits succeeded; 0 of none.
    pub fn rate(&self) -> f64 {
        self.successes as f64 / self.visits.max(1) as f64
    }
}

impl Prepared<'_> {
    /// What becomes of the log in the orders that a seed makes of it.
    pub fn replay(&self, log: &Log, seed: Seed) -> Replayed {
        let dice = |name: &str| Dice::new(&mut seed.stream(&format!("experiment/log/{name}")));
        let mut order = log.impressions().to_vec();
        shuffle(&mut order, &mut dice("order"));
        let course = self.pass(log, &order, dice("pass"), dice("assignment"));
        let (count, mut draws) = (order.len(), dice("resample"));
        let mut resample: Vec<Impression> =
            (0..count).map(|_| log.impressions()[draws.below(count)]).collect();
        let clicks = resample.iter().filter(|one| one.clicked).count();
        let one = self.pass(log, &resample, dice("pass/1"), dice("assignment/1"));
        shuffle(&mut resample, &mut draws);
        let other = self.pass(log, &resample, dice("pass/2"), dice("assignment/2"));
        Replayed {
            course,
            resampled: [one.rate(), other.rate()],
            resampled_random: clicks as f64 / count as f64,
        }
    }

    /// One pass. Time goes on with every impression of the log, whether it matches or not.
    fn pass(&self, log: &Log, order: &[Impression], dice: Dice, mut assignments: Dice) -> Course {
        let (end, count) = (log.end(), order.len() as u128);
        let stage = Stage { truth: log.rates(), rates: log.rates(), end, users: None, segments: 1 };
        let mut recorder = self.begin(stage, dice);
        for (number, impression) in order.iter().enumerate() {
            let at = SimTime::from_nanos((u128::from(end.as_nanos()) * number as u128 / count) as u64);
            come_to(&mut recorder, at);
            let assignment = assignments.uniform();
            let visitor = Visitor { user: number as u64, segment: 0 };
            let given = recorder.choose(visitor, None, || assignment);
            if given.arm == impression.arm {
                recorder.shown(&given, true);
                recorder.know(&given, impression.clicked);
            }
        }
        come_to(&mut recorder, end);
        recorder.told()
    }
}

/// Everything that happens until a time and is no impression. What is known is known at once, so that looks do not wait for it.
fn come_to(recorder: &mut Recorder<'_>, at: SimTime) {
    while recorder.look_until(at).is_some() {
        recorder.look();
    }
    recorder.tell_until(at);
}

/// Fisher and Yates's shuffle.
fn shuffle(order: &mut [Impression], dice: &mut Dice) {
    for last in (1..order.len()).rev() {
        order.swap(last, dice.below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::log::tests::synthetic;
    use crate::experiment::strategy::Strategy;
    use crate::experiment::users::{Population, UserModel};

    const TRUTH: [f64; 3] = [0.2, 0.3, 0.5];

    fn strategy(text: &str) -> Strategy {
        toml::from_str(&format!("name = \"s\"\n{text}")).expect("a strategy")
    }

    /// The mean of a sample and its standard error.
    fn mean(sample: &[f64]) -> (f64, f64) {
        use crate::statistics::descriptive::{mean, variance};
        (mean(sample), (variance(sample) / sample.len() as f64).sqrt())
    }

    #[test]
    fn a_pass_is_what_the_strategy_would_have_met_itself() {
        // 900 impressions, of which a third match: as if 300 users had come to the strategy.
        let model = "per_day = 150\ndays = 2\nbase = \"20%\"\n\
                     arms = [{ name = \"a\" }, { name = \"b\", rate = \"30%\" }, { name = \"c\", rate = \"50%\" }]";
        let model: UserModel = toml::from_str(model).expect("a model");
        let population = Population::new(&model);
        for text in [
            "",
            "allocate = { shares = [\"80%\", \"20%\", \"0%\"] }",
            "allocate = \"thompson\"",
            "allocate = \"thompson\"\nbatch = 100",
            "allocate = \"kl-ucb\"",
            "allocate = { exp3 = { gamma = \"20%\" } }",
            "allocate = \"thompson\"\nstop = { value-remaining = {} }\nlooks = 10",
        ] {
            let strategy = strategy(text);
            let prepared = Prepared::new(&strategy, 3, 2);
            let seeds = || (0..200).map(Seed::new);
            let replayed: Vec<f64> = seeds()
                .map(|seed| prepared.replay(&synthetic(&TRUTH, 900, seed), seed).course.rate())
                .collect();
            let met: Vec<f64> = seeds().map(|seed| prepared.course(&population, seed).rate()).collect();
            let ((replayed, error), (met, other)) = (mean(&replayed), mean(&met));
            let apart = (replayed - met) / libm::hypot(error, other);
            assert!(
                apart.abs() < 4.0,
                "{text}: {replayed} by replay and {met} with users, {apart} errors apart"
            );
        }
        // Of what needs no other program the value is known.
        let fixed = strategy("allocate = { shares = [\"80%\", \"20%\", \"0%\"] }");
        let prepared = Prepared::new(&fixed, 3, 2);
        let rates: Vec<f64> = (0..200)
            .map(Seed::new)
            .map(|seed| prepared.replay(&synthetic(&TRUTH, 900, seed), seed).course.rate())
            .collect();
        // The last impressions belong to the arm that was chosen at the end: none of them.
        let (found, error) = mean(&rates);
        assert!((found - 0.22).abs() < 4.0 * error, "{found} ± {error}");
    }

    #[test]
    fn as_many_match_as_there_are_of_one_arm_whatever_is_chosen() {
        let log = synthetic(&TRUTH, 900, Seed::new(1));
        for text in ["", "allocate = \"thompson\"", "allocate = \"ucb1\""] {
            let strategy = strategy(text);
            let prepared = Prepared::new(&strategy, 3, 2);
            let visits: Vec<f64> =
                (0..200).map(|seed| prepared.replay(&log, Seed::new(seed)).course.visits as f64).collect();
            let (found, _) = mean(&visits);
            // The arms of this log have not quite as many impressions each.
            assert!((found - 300.0).abs() < 25.0, "{text}: {found}");
            assert_eq!(prepared.replay(&log, Seed::new(5)), prepared.replay(&log, Seed::new(5)));
        }
    }

    #[test]
    fn an_order_holds_every_impression_once() {
        let mut order: Vec<Impression> =
            (0..100).map(|arm| Impression { arm, clicked: arm % 2 == 0 }).collect();
        let sorted = order.clone();
        shuffle(&mut order, &mut Dice::new(&mut Seed::new(1).stream("order")));
        assert_ne!(order, sorted);
        order.sort_by_key(|one| one.arm);
        assert_eq!(order, sorted);
    }
}
