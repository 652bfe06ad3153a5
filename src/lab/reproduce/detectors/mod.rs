//! How often the detectors of invalid experiments alarm where nothing is wrong, beside the rate that each states, and how often where
//! something is. Their own documentation is what is reproduced here.

use std::fmt::Write;

use crate::lab::reproduce::detectors::simulations::{
    aa_tests, adaptive, any_invariant, by_coin, days, habituation, interactions, lost, period, purchases,
    ratio, seasons, sequential, skewed_arms, split, treated_at_weekends,
};
use crate::lab::reproduce::{Claim, Crew, Finding, Found, Published, Row, Scale, Table};
use crate::statistics::binomial::{clopper_pearson, exact};
use crate::statistics::dice::Dice;
use crate::statistics::proportion::{Share, pooled};
use crate::statistics::rank::uniformity;
use crate::statistics::seasons::{seasonal_effect, seasonal_interaction, seasons_alike};
use crate::statistics::srm::{Period, check, check_over_time};
use crate::statistics::validity::{Habituation, independence, selection, trend};

mod simulations;

/// How many experiments of each kind the report has.
pub const EXPERIMENTS: usize = 20_000;

/// How many experiments have the same dice: one draw of a stream for all of them.
const PORTION: usize = 100;

const SRM: &str = "src/statistics/srm.rs";
const VALIDITY: &str = "src/statistics/validity.rs";
const SEASONS: &str = "src/statistics/seasons.rs";
const BINOMIAL: &str = "src/statistics/binomial.rs";
const RANK: &str = "src/statistics/rank.rs";

const STEPS: &str = "of 15 users there are few possible counts, and p moves in steps: on the safe side";

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
const DETECTORS: [Detector; 19] = [
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
        name: "A/A calibration, all levels",
        sound: "200 A/A tests of means, 500 users an arm: whether their p-values are spread evenly",
        planted: "each user counts as three who do the same",
        claim: Claim::Stated,
        source: RANK,
        why: None,
        p: |planted, dice| uniformity(&aa_tests(200, 500, if planted { 3 } else { 1 }, dice)).p,
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
        source: SEASONS,
        why: None,
        p: |planted, dice| {
            let seasons = seasons(70, [if planted { 0.4 } else { 0.0 }; 2], dice);
            seasonal_effect(&seasons).map_or(1.0, |found| found.adjusted_p_of_few)
        },
    },
    Detector {
        name: "effect that depends on the season",
        sound: "the same days, and the same effect on each",
        planted: "the effect of weekends is 1.5 higher, one standard deviation of a weekend's day",
        claim: Claim::Stated,
        source: SEASONS,
        why: None,
        p: |planted, dice| {
            let seasons = seasons(70, [0.4, if planted { 1.9 } else { 0.4 }], dice);
            seasonal_interaction(&seasons).map_or(1.0, |found| found.p)
        },
    },
    Detector {
        name: "seasons treated alike",
        sound: "1,400 users on all days of the week alike, in two arms by a coin",
        planted: "60 % of those at weekends are treated",
        claim: Claim::Stated,
        source: SEASONS,
        why: None,
        p: |planted, dice| seasons_alike(&by_coin(1400, if planted { 0.6 } else { 0.5 }, dice)).p,
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
const EDGES: [Detector; 11] = [
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
        name: "interaction, forty successes in each cell",
        sound: "four cells of 200 users, 20 % succeed",
        planted: "",
        claim: Claim::Stated,
        source: VALIDITY,
        why: None,
        p: |_, dice| interactions(200, [0.2; 4], dice),
    },
    Detector {
        name: "interaction, ten successes in each cell",
        sound: "four cells of 50 users, 20 % succeed",
        planted: "",
        claim: Claim::None,
        source: VALIDITY,
        why: None,
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
        claim: Claim::AtMost,
        source: SEASONS,
        why: None,
        p: |_, dice| {
            seasonal_effect(&seasons(14, [0.0; 2], dice)).map_or(1.0, |found| found.adjusted_p_of_few)
        },
    },
    Detector {
        name: "effect among seasons, two weeks, by the normal distribution",
        sound: "the same",
        planted: "",
        claim: Claim::None,
        source: SEASONS,
        why: None,
        p: |_, dice| seasonal_effect(&seasons(14, [0.0; 2], dice)).map_or(1.0, |found| found.adjusted.p),
    },
    Detector {
        name: "effect that depends on the season, two weeks",
        sound: "the same",
        planted: "",
        claim: Claim::AtMost,
        source: SEASONS,
        why: None,
        p: |_, dice| seasonal_interaction(&seasons(14, [0.0; 2], dice)).map_or(1.0, |found| found.p),
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
        source: SEASONS,
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
}
