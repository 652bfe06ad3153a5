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
use crate::experiment::course::{Course, Prepared};
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
        let mut recorder = self.begin(log.rates(), end, dice);
        for (number, impression) in order.iter().enumerate() {
            let at = SimTime::from_nanos((u128::from(end.as_nanos()) * number as u128 / count) as u64);
            while recorder.look_until(at).is_some() {
                recorder.look();
            }
            recorder.tell_until(at);
            let assignment = assignments.uniform();
            let (arm, probability) = recorder.choose(None, || assignment);
            if arm == impression.arm {
                recorder.shown(arm, Some(log.rates()));
                recorder.know(arm, impression.clicked, probability);
            }
        }
        while recorder.look_until(end).is_some() {
            recorder.look();
        }
        recorder.tell_until(end);
        recorder.told()
    }
}

/// Fisher and Yates's shuffle.
fn shuffle(order: &mut [Impression], dice: &mut Dice) {
    for last in (1..order.len()).rev() {
        order.swap(last, dice.below(last + 1));
    }
}
