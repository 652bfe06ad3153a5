//! Experiments in which nothing is wrong, and those in which just one thing is.

use crate::statistics::dice::{Dice, GammaDraws};
use crate::statistics::means::{ArmMean, Moments, welch};
use crate::statistics::seasons::Observation;
use crate::statistics::srm::{Period, SequentialRatio};
use crate::statistics::validity::{
    ArmSummary, DailyEffect, Purchases, cannibalisation, carry_over, interaction, invariants, trend,
};

/// So many users, each in an arm by its weight.
pub(super) fn split(users: u64, weights: &[f64], dice: &mut Dice) -> Vec<u64> {
    let (mut left, mut rest) = (users, weights.iter().sum::<f64>());
    let mut draw = |weight: &f64| {
        let share = if 0.0 < rest { (weight / rest).clamp(0.0, 1.0) } else { 1.0 };
        let count = dice.binomial(left, share);
        (left, rest) = (left - count, rest - weight);
        count
    };
    let mut counts: Vec<u64> = weights[1..].iter().map(&mut draw).collect();
    counts.insert(0, left);
    counts
}

/// How many of so many are lost.
pub(super) fn lost(users: u64, share: f64, dice: &mut Dice) -> u64 {
    dice.binomial(users, share)
}

pub(super) fn ratio(planted: bool, dice: &mut Dice, p: fn(&[u64]) -> f64) -> f64 {
    let mut counts = split(10_000, &[5.0, 3.0, 2.0], dice);
    counts[2] -= lost(counts[2], if planted { 0.05 } else { 0.0 }, dice);
    p(&counts)
}

/// A period of which a share of the last arm is lost.
pub(super) fn period(weights: &[f64], mut counts: Vec<u64>, share: f64, dice: &mut Dice) -> Period {
    let last = counts.len() - 1;
    counts[last] -= lost(counts[last], share, dice);
    Period { weights: weights.to_vec(), counts }
}

/// Three arms whose weights follow what each has earned so far, which is noise: 10 % of users succeed under any.
pub(super) fn adaptive(planted: bool, dice: &mut Dice) -> Vec<Period> {
    let (mut weights, mut earned, mut seen) = ([1.0; 3], [1.0; 3], [10.0; 3]);
    let mut one = |_| {
        let counts = split(300, &weights, dice);
        let this = period(&weights, counts, if planted { 0.1 } else { 0.0 }, dice);
        for arm in 0..3 {
            earned[arm] += dice.binomial(this.counts[arm], 0.1) as f64;
            seen[arm] += this.counts[arm] as f64;
            let rate: f64 = earned[arm] / seen[arm];
            weights[arm] = rate * rate;
        }
        this
    };
    (0..20).map(&mut one).collect()
}

pub(super) fn sequential(arms: usize, batches: &[Period]) -> f64 {
    let mut test = SequentialRatio::new(arms, SequentialRatio::CONCENTRATION);
    batches.iter().for_each(|batch| test.add(batch));
    test.p()
}

/// The p-values of so many A/A tests of normal values by Welch's test, in which each user counts as `times` who do the same.
pub(super) fn aa_tests(tests: usize, users: u64, times: u64, dice: &mut Dice) -> Vec<f64> {
    let spread = GammaDraws::new(0.5 * (users - 1) as f64);
    let arm = |dice: &mut Dice| ArmMean {
        users: times * users,
        value: dice.normal() / (users as f64).sqrt(),
        variance: 2.0 * spread.draw(dice) / (users - 1) as f64,
    };
    (0..tests).map(|_| welch(&arm(dice), &arm(dice)).p()).collect()
}

/// Cells in the order 00, 01, 10, 11.
pub(super) fn interactions(users: u64, shares: [f64; 4], dice: &mut Dice) -> f64 {
    let [a, b, c, d] = shares.map(|share| (dice.binomial(users, share), users));
    interaction([[a, b], [c, d]]).p
}

pub(super) fn days(count: u32, fall: f64, dice: &mut Dice) -> Vec<DailyEffect> {
    let mut one = |day: u32| {
        let effect = 0.05 - fall * libm::log(f64::from(day)) + 0.01 * dice.normal();
        DailyEffect { day: f64::from(day), effect, standard_error: 0.01 }
    };
    (1..=count).map(&mut one).collect()
}

pub(super) fn habituation(count: u32, fall: f64, dice: &mut Dice) -> f64 {
    trend(&days(count, fall, dice)).map_or(1.0, |trend| trend.slope.p)
}

/// Both arms on each of so many days, with the effects of weekdays and of weekends, which differ and vary more.
pub(super) fn seasons(count: usize, effects: [f64; 2], dice: &mut Dice) -> Vec<Observation> {
    let mut one = |(day, treated): (usize, bool)| {
        let season = day % 7;
        let (level, spread, effect) =
            if season < 5 { (0.0, 0.8, effects[0]) } else { (2.0, 1.6, effects[1]) };
        let value = level + if treated { effect } else { 0.0 } + spread * dice.normal();
        Observation { season, treated, value }
    };
    (0..count).flat_map(|day| [(day, false), (day, true)]).map(&mut one).collect()
}

/// Of days that had both, all treated weekends and all other days without treatment, and half of the rest: weekends are treated twice as often.
pub(super) fn treated_at_weekends(count: usize, dice: &mut Dice) -> Vec<Observation> {
    let mut observations = seasons(count, [0.0; 2], dice);
    observations.retain(|one| one.treated == (5 <= one.season) || dice.happens(0.5));
    observations
}

/// Users of all days of the week alike, half of them treated; of those at weekends, so many.
pub(super) fn by_coin(users: usize, weekends: f64, dice: &mut Dice) -> Vec<Observation> {
    let mut one = |user: usize| {
        let season = user % 7;
        let treated = dice.happens(if season < 5 { 0.5 } else { weekends });
        Observation { season, treated, value: 0.0 }
    };
    (0..users).map(&mut one).collect()
}

fn summary(values: &[f64]) -> ArmSummary {
    use crate::statistics::descriptive::{mean, variance};
    ArmSummary { users: values.len() as u64, mean: mean(values), variance: variance(values) }
}

pub(super) fn skewed_arms(users: usize, more: f64, dice: &mut Dice) -> f64 {
    let arms = [0.0, 0.0, more].map(|more| {
        let values: Vec<f64> = (0..users).map(|_| more + libm::exp(0.5 * dice.normal())).collect();
        summary(&values)
    });
    carry_over(&arms).p
}

pub(super) fn any_invariant(planted: bool, dice: &mut Dice) -> f64 {
    let mut arm = |shift: f64| -> [Vec<f64>; 5] {
        let mut metrics: [Vec<f64>; 5] = Default::default();
        for _ in 0..120 {
            let common = dice.normal();
            for (metric, values) in metrics.iter_mut().enumerate() {
                let shift = if metric == 3 { shift } else { 0.0 };
                values.push(shift + 0.5 * common + 0.75_f64.sqrt() * dice.normal());
            }
        }
        metrics
    };
    let (control, treated) = (arm(0.0), arm(if planted { 0.5 } else { 0.0 }));
    let metrics: Vec<Vec<ArmSummary>> =
        control.iter().zip(&treated).map(|(one, other)| vec![summary(one), summary(other)]).collect();
    invariants(&metrics).into_iter().fold(1.0, f64::min)
}

pub(super) fn purchases(users: usize, taken: f64, dice: &mut Dice) -> f64 {
    let mut arm = |own: f64, others: f64| -> Purchases {
        let mut pairs: Moments<2> = Moments::of([]);
        for _ in 0..users {
            let habit = dice.normal();
            pairs.add(&[own + habit + 0.5 * dice.normal(), others + habit + 0.5 * dice.normal()]);
        }
        Purchases {
            users: users as u64,
            own: pairs.mean(0),
            others: pairs.mean(1),
            own_variance: pairs.variance(0),
            others_variance: pairs.variance(1),
            covariance: pairs.covariance(0, 1),
        }
    };
    let (control, treated) = (arm(1.0, 5.0), arm(1.5, 5.0 - taken));
    cannibalisation(&control, &treated).p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekends_are_treated_twice_as_often_as_other_days() {
        let mut dice = Dice::new(&mut crate::base::Seed::new(1).stream("weekends"));
        let days = treated_at_weekends(70_000, &mut dice);
        let treated = |weekend: bool| {
            let all = days.iter().filter(|one| weekend == (5 <= one.season));
            all.clone().filter(|one| one.treated).count() as f64 / all.count() as f64
        };
        let (weekends, others) = (treated(true), treated(false));
        assert!((weekends / others - 2.0).abs() < 0.05, "{weekends} and {others}");
        let most = days.iter().filter(|one| one.treated && one.season < 5).count();
        assert!(2 * most > days.iter().filter(|one| one.treated).count(), "most treated days are others");
    }

    #[test]
    fn users_are_split_by_their_weights() {
        let mut dice = Dice::new(&mut crate::base::Seed::new(1).stream("split"));
        let counts = split(100_000, &[5.0, 3.0, 0.0, 2.0], &mut dice);
        assert_eq!(counts.iter().sum::<u64>(), 100_000);
        for (count, share) in counts.iter().zip([0.5, 0.3, 0.0, 0.2]) {
            assert!((*count as f64 - 100_000.0 * share).abs() < 700.0, "{counts:?}");
        }
    }

    #[test]
    fn users_who_count_as_three_make_small_p_values() {
        let mut dice = Dice::new(&mut crate::base::Seed::new(1).stream("a/a"));
        let mut alarms =
            |times: u64| aa_tests(4_000, 50, times, &mut dice).iter().filter(|p| **p < 0.05).count();
        // 5 % of 4,000, ± four deviations of 14; of z/√3, 26 %.
        assert!((145..=255).contains(&alarms(1)), "{}", alarms(1));
        assert!((900..=1150).contains(&alarms(3)), "{}", alarms(3));
    }
}
