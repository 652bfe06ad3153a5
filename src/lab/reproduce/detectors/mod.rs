//! How often the detectors of invalid experiments alarm where nothing is wrong, beside the rate that each states, and how often where
//! something is. Their own documentation is what is reproduced here.

use std::fmt::Write;

use crate::lab::reproduce::{Claim, Crew, Finding, Found, Published, Row, Scale, Table};
use crate::statistics::binomial::{clopper_pearson, exact};
use crate::statistics::dice::Dice;
use crate::statistics::means::Moments;
use crate::statistics::proportion::{Share, pooled};
use crate::statistics::srm::{Period, SequentialRatio, check, check_over_time};
use crate::statistics::validity::{
    ArmSummary, DailyEffect, Habituation, Observation, Purchases, cannibalisation, carry_over, independence,
    interaction, invariants, seasonal_effect, selection, trend,
};

/// How many experiments of each kind the report has.
pub const EXPERIMENTS: usize = 20_000;

/// How many experiments have the same dice: one draw of a stream for all of them.
const PORTION: usize = 100;

const SRM: &str = "src/statistics/srm.rs";
const VALIDITY: &str = "src/statistics/validity.rs";
const BINOMIAL: &str = "src/statistics/binomial.rs";

const FEW_VALUES: &str = "140 values are not many: HC1 is a little too small, and the normal tail too light";
const STEPS: &str = "of 15 users there are few possible counts, and p moves in steps: on the safe side";
const FEW_SUCCESSES: &str = "the variance of few successes is itself uncertain";

/// A detector in a setting of which it says how often it errs.
struct Detector {
    name: &'static str,
    /// The experiments in which nothing is wrong.
    sound: &'static str,
    /// What is wrong in the others.
    planted: &'static str,
    claim: Claim,
    source: &'static str,
    /// What explains that it does not hold, where that is known.
    why: Option<&'static str>,
    /// The p-value of one experiment, sound or not.
    p: fn(bool, &mut Dice) -> f64,
}

/// All of them. What each states holds of such counts.
const DETECTORS: [Detector; 16] = [
    Detector {
        name: "sample ratio, Pearson",
        sound: "10,000 users, split 5:3:2",
        planted: "a twentieth of the third arm is lost",
        claim: Claim::Stated,
        source: SRM,
        why: None,
        p: |planted, dice| ratio(planted, dice, |counts| check(counts, &[5.0, 3.0, 2.0]).p),
    },
    Detector {
        name: "sample ratio, likelihood",
        sound: "the same",
        planted: "the same",
        claim: Claim::Stated,
        source: SRM,
        why: None,
        p: |planted, dice| ratio(planted, dice, |counts| check(counts, &[5.0, 3.0, 2.0]).g_p),
    },
    Detector {
        name: "sample ratio, exact",
        sound: "1,000 users, split 1:1",
        planted: "a tenth of one arm is lost",
        claim: Claim::AtMost,
        source: BINOMIAL,
        why: None,
        p: |planted, dice| {
            let whole = dice.binomial(1000, 0.5);
            let left = whole - lost(whole, if planted { 0.1 } else { 0.0 }, dice);
            exact(left, left + 1000 - whole, 0.5)
        },
    },
    Detector {
        name: "sample ratio over time",
        sound: "20 periods of 300 users in three arms, each split by what the periods before have earned",
        planted: "a tenth of the third arm is lost",
        claim: Claim::Stated,
        source: SRM,
        why: None,
        p: |planted, dice| check_over_time(&adaptive(planted, dice)).p,
    },
    Detector {
        name: "sample ratio, sequential",
        sound: "the same, with a look after each period",
        planted: "the same",
        claim: Claim::AtMost,
        source: SRM,
        why: None,
        p: |planted, dice| sequential(3, &adaptive(planted, dice)),
    },
    Detector {
        name: "sample ratio, sequential, fixed",
        sound: "100 batches of 50 users, split 1:1, with a look after each",
        planted: "a tenth of one arm is lost",
        claim: Claim::AtMost,
        source: SRM,
        why: None,
        p: |planted, dice| {
            let batch = |dice: &mut Dice| {
                let counts = split(50, &[1.0, 1.0], dice);
                period(&[1.0, 1.0], counts, if planted { 0.1 } else { 0.0 }, dice)
            };
            let batches: Vec<Period> = (0..100).map(|_| batch(dice)).collect();
            sequential(2, &batches)
        },
    },
    Detector {
        name: "A/A calibration",
        sound: "200 A/A tests of two shares, 500 users an arm: whether 5 % of them alarm",
        planted: "each user counts as three who do the same",
        claim: Claim::AtMost,
        source: BINOMIAL,
        why: None,
        p: |planted, dice| {
            let times = if planted { 3 } else { 1 };
            let mut share = || Share::new(times * dice.binomial(500, 0.3), times * 500);
            let alarms = (0..200).filter(|_| pooled(share(), share()).p() < 0.05).count();
            exact(alarms as u64, 200, 0.05)
        },
    },
    Detector {
        name: "collision of experiments",
        sound: "1,000 users in two experiments of two and three arms",
        planted: "a tenth of one arm's users change their arm of the other",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |planted, dice| {
            let rows = split(1000, &[1.0, 1.0], dice);
            let moved = if planted { 0.1 } else { 0.0 };
            let table = [
                split(rows[0], &[0.5, 0.3, 0.2], dice),
                split(rows[1], &[0.5 - moved, 0.3 + moved, 0.2], dice),
            ];
            independence(&table).p
        },
    },
    Detector {
        name: "sample selection, who is analysed",
        sound: "three arms of 1,000 users, of whom 70 % are analysed",
        planted: "65 % in the third",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |planted, dice| {
            let chances = [0.7, 0.7, if planted { 0.65 } else { 0.7 }];
            selection(&[1000; 3], &chances.map(|chance| dice.binomial(1000, chance))).p
        },
    },
    Detector {
        name: "sample selection, by device",
        sound: "two arms of 1,000 users on four kinds of devices",
        planted: "a quarter of one kind is missing from one arm",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |planted, dice| {
            let devices = [0.5, 0.25, 0.15, 0.1];
            let mut table = [split(1000, &devices, dice), split(1000, &devices, dice)];
            table[1][1] -= lost(table[1][1], if planted { 0.25 } else { 0.0 }, dice);
            independence(&table).p
        },
    },
    Detector {
        name: "interaction of experiments",
        sound: "four cells of 400 users, effects of 5 and 10 points that add up",
        planted: "15 points more with both",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |planted, dice| interactions(400, [0.2, 0.25, 0.3, if planted { 0.5 } else { 0.35 }], dice),
    },
    Detector {
        name: "novelty and change aversion",
        sound: "an effect on each of 14 days",
        planted: "it falls by 1.5 errors a unit of ln(day)",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |planted, dice| habituation(14, if planted { 0.015 } else { 0.0 }, dice),
    },
    Detector {
        name: "effect among seasons",
        sound: "two arms on 70 days, of which weekends differ and vary more; no effect",
        planted: "an effect of 0.5 standard deviations of a week's day",
        claim: Claim::Stated,
        source: VALIDITY,
        why: Some(FEW_VALUES),
        p: |planted, dice| {
            let seasons = seasons(70, if planted { 0.4 } else { 0.0 }, dice);
            seasonal_effect(&seasons).map_or(1.0, |found| found.adjusted.p)
        },
    },
    Detector {
        name: "carry-over",
        sound: "three arms of 300 users before the start, log-normal",
        planted: "one arm has 0.15 more, a quarter of a standard deviation",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |planted, dice| skewed_arms(300, if planted { 0.15 } else { 0.0 }, dice),
    },
    Detector {
        name: "invariants, any of five",
        sound: "two arms of 120 users; five values of each, of which all have a part in common",
        planted: "one value differs by half a standard deviation",
        claim: Claim::AtMost,
        source: VALIDITY,
        why: None,
        p: any_invariant,
    },
    Detector {
        name: "cannibalisation",
        sound: "two arms of 400 users; the treated spend more on one thing and no less on others",
        planted: "half of the gain is taken from others",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |planted, dice| purchases(400, if planted { 0.25 } else { 0.0 }, dice),
    },
];

/// The smallest counts for which a detector states its rate, or fewer.
const EDGES: [Detector; 8] = [
    Detector {
        name: "sample ratio, Pearson, five expected in each arm",
        sound: "15 users, split 1:1:1",
        planted: "",
        claim: Claim::Stated,
        source: SRM,
        why: Some(STEPS),
        p: |_, dice| check(&split(15, &[1.0; 3], dice), &[1.0; 3]).p,
    },
    Detector {
        name: "collision, five expected in each cell",
        sound: "30 users in two and three arms",
        planted: "",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |_, dice| {
            let cells = split(30, &[1.0; 6], dice);
            independence(&[cells[..3].to_vec(), cells[3..].to_vec()]).p
        },
    },
    Detector {
        name: "interaction, ten successes in each cell",
        sound: "four cells of 50 users, 20 % succeed",
        planted: "",
        claim: Claim::Stated,
        source: VALIDITY,
        why: Some(FEW_SUCCESSES),
        p: |_, dice| interactions(50, [0.2; 4], dice),
    },
    Detector {
        name: "novelty and change aversion, four days",
        sound: "an effect on each of four days",
        planted: "",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |_, dice| habituation(4, 0.0, dice),
    },
    Detector {
        name: "effect among seasons, two weeks",
        sound: "two arms on 14 days",
        planted: "",
        claim: Claim::None,
        source: VALIDITY,
        why: None,
        p: |_, dice| seasonal_effect(&seasons(14, 0.0, dice)).map_or(1.0, |found| found.adjusted.p),
    },
    Detector {
        name: "carry-over, 30 users of each arm",
        sound: "three arms, log-normal",
        planted: "",
        claim: Claim::None,
        source: VALIDITY,
        why: None,
        p: |_, dice| skewed_arms(30, 0.0, dice),
    },
    Detector {
        name: "sample ratio over time, against equal shares",
        sound: "the adaptive traffic above, checked as if nothing had adapted",
        planted: "",
        claim: Claim::None,
        source: SRM,
        why: None,
        p: |_, dice| {
            let periods = adaptive(false, dice);
            let sum = |arm: usize| periods.iter().map(|period| period.counts[arm]).sum();
            check(&[0, 1, 2].map(sum), &[1.0; 3]).p
        },
    },
    Detector {
        name: "effect without regard to seasons",
        sound: "70 days, of which weekends are treated twice as often as others; no effect",
        planted: "",
        claim: Claim::None,
        source: VALIDITY,
        why: None,
        p: |_, dice| seasonal_effect(&treated_at_weekends(70, dice)).map_or(1.0, |found| found.unadjusted.p),
    },
];

/// The tables, from so many experiments of each kind.
pub fn reproduce(crew: &Crew<'_>, experiments: usize) -> Finding {
    let sample = |detector: &Detector, planted: bool| simulate(crew, detector, planted, experiments);
    let sound: Vec<Vec<f64>> = DETECTORS.iter().map(|detector| sample(detector, false)).collect();
    let wrong: Vec<Vec<f64>> = DETECTORS.iter().map(|detector| sample(detector, true)).collect();
    let edges: Vec<Vec<f64>> = EDGES.iter().map(|detector| sample(detector, false)).collect();
    let rates = |detectors: &[Detector], samples: &[Vec<f64>], level: f64| -> Vec<Row> {
        detectors.iter().zip(samples).map(|(detector, sample)| alarms(detector, sample, level)).collect()
    };
    let found = DETECTORS.iter().zip(&wrong).map(|(detector, sample)| {
        Row::new(
            format!("{}: {}", detector.name, detector.planted),
            share(below(sample, 0.05), sample.len(), 0.05),
            None,
        )
    });
    let table = |title: &str, rows| Table { title: title.to_owned(), scale: Scale::Percent, rows };
    let mut tables = vec![
        table("False alarms at 5 %", rates(&DETECTORS, &sound, 0.05)),
        table("False alarms at 1 %", rates(&DETECTORS, &sound, 0.01)),
        table(
            "False alarms at 5 %, where there is little, or the wrong question is asked",
            rates(&EDGES, &edges, 0.05),
        ),
        table("Found at 5 %, of what is wrong", found.collect()),
        table("Called by its name, at 5 %", names(crew, experiments)),
    ];
    // The usual level of sample ratios, whose alarm stops everything.
    let ratios =
        DETECTORS.iter().zip(&sound).filter(|(detector, _)| detector.name.starts_with("sample ratio"));
    let rows = ratios.map(|(detector, sample)| alarms(detector, sample, 0.001)).collect();
    tables.insert(2, table("False alarms at 0.1 %, the usual level for sample ratios", rows));
    Finding {
        title: "Detectors of invalid experiments: how often they alarm, and how often they should",
        setting: setting(experiments),
        tables,
    }
}

fn setting(experiments: usize) -> String {
    let mut text = format!(
        "Each detector on {experiments} experiments in which nothing is wrong, and on as many in which something is. An alarm is a p-value below \
         the level. Most detectors state that this is how often they alarm in vain, at large counts; sequential and exact ones, and those that \
         correct for many questions, that it is no more often. What is stated is judged by the error that a share of so many experiments has \
         if the statement is true.\n\n| detector | nothing is wrong | something is |\n|---|---|---|"
    );
    for Detector { name, sound, planted, .. } in DETECTORS.iter().chain(&EDGES) {
        write!(text, "\n| {name} | {sound} | {planted} |").expect("a string takes what is written");
    }
    text
}

/// The p-values of so many experiments.
fn simulate(crew: &Crew<'_>, detector: &Detector, planted: bool, experiments: usize) -> Vec<f64> {
    let name = format!("detectors/{}/{planted}", detector.name);
    let portions = crew.repeat(&name, experiments.div_ceil(PORTION), |dice| {
        (0..PORTION).map(|_| (detector.p)(planted, dice)).collect::<Vec<f64>>()
    });
    portions.into_iter().flatten().take(experiments).collect()
}

fn below(sample: &[f64], level: f64) -> usize {
    sample.iter().filter(|p| **p < level).count()
}

/// The false alarms of a detector beside what it states.
fn alarms(detector: &Detector, sample: &[f64], level: f64) -> Row {
    let published = match detector.claim {
        Claim::None => None,
        claim => Some(Published { claim, ..Published::new(level, 0.0, detector.source) }),
    };
    let row = Row::new(detector.name, share(below(sample, level), sample.len(), level), published);
    Row { why: detector.why, ..row }
}

/// A share with its exact interval, and the standard error that it has if the truth is `stated`.
fn share(happened: usize, of: usize, stated: f64) -> Found {
    Found {
        value: happened as f64 / of as f64,
        error: (stated * (1.0 - stated) / of as f64).sqrt(),
        interval: clopper_pearson(happened as u64, of as u64, 0.95),
        sample: format!("{of} experiments"),
    }
}

/// How often a change of the effect is called by its name.
fn names(crew: &Crew<'_>, experiments: usize) -> Vec<Row> {
    let row = |what: &str, fall: f64, name: Habituation| {
        let portions =
            crew.repeat(&format!("detectors/names/{what}"), experiments.div_ceil(PORTION), |dice| {
                let one = |dice: &mut Dice| trend(&days(14, fall, dice)).map(|trend| trend.habituation(0.05));
                (0..PORTION).map(|_| one(dice)).collect::<Vec<Option<Habituation>>>()
            });
        let called = portions.into_iter().flatten().take(experiments);
        let happened = called.filter(|called| *called == Some(name)).count();
        Row::new(what, share(happened, experiments, 0.05), None)
    };
    vec![
        row("an effect that falls: novelty", 0.015, Habituation::Novelty),
        row("an effect that falls: change aversion", 0.015, Habituation::ChangeAversion),
        row("an effect that rises: change aversion", -0.015, Habituation::ChangeAversion),
        row("an effect that rises: novelty", -0.015, Habituation::Novelty),
        row("an effect that stays: neither", 0.0, Habituation::None),
    ]
}

/// So many users, each in an arm by its weight.
fn split(users: u64, weights: &[f64], dice: &mut Dice) -> Vec<u64> {
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
fn lost(users: u64, share: f64, dice: &mut Dice) -> u64 {
    dice.binomial(users, share)
}

fn ratio(planted: bool, dice: &mut Dice, p: fn(&[u64]) -> f64) -> f64 {
    let mut counts = split(10_000, &[5.0, 3.0, 2.0], dice);
    counts[2] -= lost(counts[2], if planted { 0.05 } else { 0.0 }, dice);
    p(&counts)
}

/// A period of which a share of the last arm is lost.
fn period(weights: &[f64], mut counts: Vec<u64>, share: f64, dice: &mut Dice) -> Period {
    let last = counts.len() - 1;
    counts[last] -= lost(counts[last], share, dice);
    Period { weights: weights.to_vec(), counts }
}

/// Three arms whose weights follow what each has earned so far, which is noise: 10 % of users succeed under any.
fn adaptive(planted: bool, dice: &mut Dice) -> Vec<Period> {
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

fn sequential(arms: usize, batches: &[Period]) -> f64 {
    let mut test = SequentialRatio::new(arms, SequentialRatio::CONCENTRATION);
    batches.iter().for_each(|batch| test.add(batch));
    test.p()
}

/// Cells in the order 00, 01, 10, 11.
fn interactions(users: u64, shares: [f64; 4], dice: &mut Dice) -> f64 {
    let [a, b, c, d] = shares.map(|share| (dice.binomial(users, share), users));
    interaction([[a, b], [c, d]]).p
}

fn days(count: u32, fall: f64, dice: &mut Dice) -> Vec<DailyEffect> {
    let mut one = |day: u32| {
        let effect = 0.05 - fall * libm::log(f64::from(day)) + 0.01 * dice.normal();
        DailyEffect { day: f64::from(day), effect, standard_error: 0.01 }
    };
    (1..=count).map(&mut one).collect()
}

fn habituation(count: u32, fall: f64, dice: &mut Dice) -> f64 {
    trend(&days(count, fall, dice)).map_or(1.0, |trend| trend.slope.p)
}

fn seasons(count: usize, effect: f64, dice: &mut Dice) -> Vec<Observation> {
    let mut one = |(day, treated): (usize, bool)| {
        let season = day % 7;
        let (level, spread) = if season < 5 { (0.0, 0.8) } else { (2.0, 1.6) };
        let value = level + if treated { effect } else { 0.0 } + spread * dice.normal();
        Observation { season, treated, value }
    };
    (0..count).flat_map(|day| [(day, false), (day, true)]).map(&mut one).collect()
}

/// Of days that had both, all treated weekends and all other days without treatment, and half of the rest: weekends are treated twice as often.
fn treated_at_weekends(count: usize, dice: &mut Dice) -> Vec<Observation> {
    let mut observations = seasons(count, 0.0, dice);
    observations.retain(|one| one.treated == (5 <= one.season) || dice.happens(0.5));
    observations
}

fn summary(values: &[f64]) -> ArmSummary {
    use crate::statistics::descriptive::{mean, variance};
    ArmSummary { users: values.len() as u64, mean: mean(values), variance: variance(values) }
}

fn skewed_arms(users: usize, more: f64, dice: &mut Dice) -> f64 {
    let arms = [0.0, 0.0, more].map(|more| {
        let values: Vec<f64> = (0..users).map(|_| more + libm::exp(0.5 * dice.normal())).collect();
        summary(&values)
    });
    carry_over(&arms).p
}

fn any_invariant(planted: bool, dice: &mut Dice) -> f64 {
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

fn purchases(users: usize, taken: f64, dice: &mut Dice) -> f64 {
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
    use crate::lab::reproduce::Reproduced;

    const CREW: Crew<'static> = Crew { threads: 2, progress: &|_, _| {} };

    #[test]
    fn a_detector_that_states_what_does_not_hold_is_found_out() {
        let detector =
            |claim, p| Detector { name: "d", sound: "", planted: "", claim, source: "here", why: None, p };
        let judged = |claim, p| {
            let detector = detector(claim, p);
            let sample = simulate(&CREW, &detector, false, 20_000);
            alarms(&detector, &sample, 0.05).reproduced()
        };
        let right: fn(bool, &mut Dice) -> f64 = |_, dice| dice.uniform();
        let bold: fn(bool, &mut Dice) -> f64 = |_, dice| 0.8 * dice.uniform();
        let shy: fn(bool, &mut Dice) -> f64 = |_, dice| 1.25 * dice.uniform();
        assert_eq!(judged(Claim::Stated, right), Some(Reproduced::Yes));
        assert_eq!(judged(Claim::Stated, bold), Some(Reproduced::No));
        assert_eq!(judged(Claim::Stated, shy), Some(Reproduced::No));
        assert_eq!(judged(Claim::AtMost, right), Some(Reproduced::Yes));
        assert_eq!(judged(Claim::AtMost, shy), Some(Reproduced::Yes));
        assert_eq!(judged(Claim::AtMost, bold), Some(Reproduced::No));
        assert_eq!(judged(Claim::None, bold), None);
    }

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
}
