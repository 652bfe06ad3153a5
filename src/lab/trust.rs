//! Whether what a strategy says of arms can be believed: how far its estimates are off, and how often detectors of invalid experiments alarm.

use crate::experiment::course::Course;
use crate::experiment::epochs::Effect;
use crate::experiment::strategy::{Strategy, Unit};
use crate::experiment::users::Population;
use crate::experiment::validity::{ALARM, Detector, Stated};
use crate::lab::strategies::{CONFIDENCE, Mean, Rate};
use crate::statistics::means::Difference;

/// What was found of one strategy over streams whose truth is known.
#[derive(Clone, PartialEq, Debug)]
pub struct Trust {
    /// By arm, but the control: how far its estimates are off; nothing if no stream could tell.
    pub effects: Vec<Option<Estimated>>,
    /// The detectors, as [`Detector::ALL`] lists them.
    pub detectors: Vec<(Detector, Answer)>,
}

/// How far estimates of one arm's effect against the control are off, at the decision.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimated {
    /// In how many streams both estimates could be told: it is over these that they are judged.
    pub streams: u64,
    /// The estimate by all visits of each arm.
    pub pooled: Off,
    /// The estimate by epoch.
    pub by_epoch: Off,
}

/// How far one estimate is off.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Off {
    /// The estimate less the truth.
    pub bias: Mean,
    /// The same without its sign: how far off it is in one stream.
    pub error: Mean,
    /// How often its interval held the truth. Nothing where visits are not independent: users come again and keep their arm.
    pub coverage: Option<Rate>,
}

/// What comes of asking a detector.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Answer {
    /// It is not asked, and why.
    NotAsked(&'static str),
    /// In how many streams it alarms, of those that had users enough.
    Asked {
        /// The streams with an alarm.
        alarms: Rate,
        /// How often it alarms in vain.
        stated: Stated,
        /// What there is to find: then alarms are not in vain.
        finds: Option<&'static str>,
    },
}

impl Trust {
    /// Of a strategy and what became of it.
    pub(super) fn of(strategy: &Strategy, population: &Population, courses: &[Course]) -> Self {
        let unit = strategy.unit(population.model().come_again());
        let effects = |arm: usize| courses.iter().filter_map(move |course| course.effects[arm]);
        let estimated = |arm: usize| {
            let streams = effects(arm).count() as u64;
            (0 < streams).then(|| {
                let off = |of: fn(&Effect) -> Difference| Off::of(effects(arm), of, unit);
                let (pooled, by_epoch) = (off(|effect| effect.pooled), off(|effect| effect.by_epoch));
                Estimated { streams, pooled, by_epoch }
            })
        };
        let answer = |(index, detector): (usize, Detector)| {
            if let Some(reason) = detector.refusal(strategy, unit, population.segments()) {
                return (detector, Answer::NotAsked(reason));
            }
            let told = courses.iter().filter_map(|course| course.detected[index]);
            let asked = Rate::of(told.map(|p| p < ALARM)).map(|alarms| Answer::Asked {
                alarms,
                stated: detector.stated(strategy),
                finds: detector.finds(strategy, population),
            });
            (detector, asked.unwrap_or(Answer::NotAsked("too few users, or days")))
        };
        Self {
            effects: (0..population.arms() - 1).map(estimated).collect(),
            detectors: Detector::ALL.into_iter().enumerate().map(answer).collect(),
        }
    }
}

impl Off {
    fn of(effects: impl Iterator<Item = Effect> + Clone, of: fn(&Effect) -> Difference, unit: Unit) -> Self {
        let off = || effects.clone().map(|effect| of(&effect).estimate - effect.truth);
        let covers = effects.clone().map(|effect| of(&effect).interval(CONFIDENCE).contains(effect.truth));
        Self {
            bias: Mean::of(off()),
            error: Mean::of(off().map(f64::abs)),
            coverage: (unit == Unit::Visit).then(|| Rate::of(covers)).flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::experiment::course::Prepared;
    use crate::experiment::users::UserModel;

    /// What is to be thought of a strategy over so many streams.
    fn trust(users: &str, strategy: &str, streams: u64) -> Trust {
        let model: UserModel = toml::from_str(users).expect("a model");
        let strategy: Strategy = toml::from_str(&format!("name = \"s\"\n{strategy}")).expect("a strategy");
        let population = Population::new(&model);
        assert_eq!(strategy.validate(model.arms.len(), model.days), [], "a valid strategy");
        let prepared = Prepared::new(&strategy, population.arms(), model.days);
        let courses: Vec<Course> =
            (0..streams).map(|seed| prepared.course(&population, Seed::new(seed))).collect();
        Trust::of(&strategy, &population, &courses)
    }

    /// Both arms get better by the day, as under a campaign that grows.
    const RISING: &str = "per_day = 500\ndays = 20\nbase = \"20%\"\n\
                          arms = [{ name = \"a\", drift = 0.05 }, { name = \"b\", rate = \"25%\", drift = 0.05 }]";

    /// An effect that stays, or is another at first.
    const STEADY: &str = "per_day = 500\ndays = 28\nbase = \"20%\"\narms = [{ name = \"a\" }, { name = \"b\", rate = \"25%\" }]";

    const NIGHTLY: &str = "allocate = \"thompson\"\nbatch = 500\nfloor = \"5%\"";

    fn estimated(trust: &Trust) -> Estimated {
        trust.effects[0].expect("streams that could tell")
    }

    #[test]
    fn moving_shares_and_rising_rates_deceive_the_pooled_estimate_and_not_the_one_by_epoch() {
        let Estimated { streams, pooled, by_epoch } = estimated(&trust(RISING, NIGHTLY, 100));
        assert_eq!(streams, 100);
        // The better arm has its visits late, when all rates are high.
        assert!(0.03 < pooled.bias.interval.low, "{pooled:?}");
        assert!(by_epoch.bias.interval.contains(0.0), "{by_epoch:?}");
        assert!(by_epoch.error.interval.high < pooled.error.interval.low, "{pooled:?} {by_epoch:?}");
        let covered = |off: &Off| off.coverage.expect("visits are independent").value();
        assert!(covered(&pooled) < 0.5 && 0.85 < covered(&by_epoch), "{pooled:?} {by_epoch:?}");
    }

    #[test]
    fn under_equal_shares_both_estimates_are_one() {
        for users in [RISING, STEADY] {
            let Estimated { pooled, by_epoch, .. } =
                estimated(&trust(users, "stop = \"fixed-horizon\"", 100));
            for off in [pooled, by_epoch] {
                assert!(off.bias.interval.contains(0.0), "{off:?}");
                assert!(0.88 < off.coverage.expect("visits are independent").value(), "{off:?}");
            }
            let apart = (pooled.bias.value - by_epoch.bias.value).abs();
            assert!(apart < 0.1 * by_epoch.error.value, "{pooled:?} {by_epoch:?}");
        }
    }

    #[test]
    fn who_goes_by_segments_deceives_the_pooled_estimate_and_not_the_one_by_epoch() {
        // Of those who like anything more get the better arm, and others the control.
        let users = "per_day = 1000\ndays = 20\nbase = \"20%\"\narms = [{ name = \"a\" }, { name = \"b\" }]\n\
                     segments = [{ name = \"cold\", share = \"50%\", lifts = [\"-50%\", \"-70%\"] }, \
                     { name = \"warm\", share = \"50%\", lifts = [\"+50%\", \"+70%\"] }]";
        let by_segment = "allocate = { lin-ts = { v = 0.3 } }\nbatch = 1000\nfloor = \"5%\"";
        let found = trust(users, by_segment, 40);
        let Estimated { pooled, by_epoch, .. } = estimated(&found);
        assert!(0.1 < pooled.bias.interval.low && by_epoch.bias.interval.contains(0.0), "{found:?}");
        assert!(0.9 < alarms(&found, Detector::SharesBySegment).value(), "{found:?}");
        let found = trust(users, "allocate = \"thompson\"\nbatch = 1000\nfloor = \"5%\"", 100);
        let rate = alarms(&found, Detector::SharesBySegment);
        assert!(rate.of == 100 && rate.interval.contains(ALARM), "whoever comes is chance: {rate:?}");
    }

    #[test]
    fn where_users_come_again_and_keep_their_arm_no_visit_is_taken_for_independent() {
        let users = format!(
            "{STEADY}\nheterogeneity = 1.0\nreturning = {{ share = \"50%\", visits = 4, gap = \"1d\" }}"
        );
        let found = trust(&users, "stop = \"fixed-horizon\"", 40);
        let Estimated { pooled, by_epoch, .. } = estimated(&found);
        assert!(pooled.coverage.is_none() && by_epoch.coverage.is_none(), "{found:?}");
        assert!(pooled.bias.interval.contains(0.0) && by_epoch.bias.interval.contains(0.0), "{found:?}");
        // Users are counted where they are assigned, once: counts of visits would alarm far more often.
        let rate = alarms(&found, Detector::SampleRatio);
        assert!(rate.of == 40 && rate.interval.contains(ALARM), "{rate:?}");
        for (detector, answer) in &found.detectors[3..] {
            assert!(matches!(answer, Answer::NotAsked(_)), "{detector:?}: {answer:?}");
        }
    }

    fn alarms(trust: &Trust, detector: Detector) -> Rate {
        let (_, answer) = trust.detectors.iter().find(|(of, _)| *of == detector).expect("all are there");
        match answer {
            Answer::Asked { alarms, .. } => *alarms,
            Answer::NotAsked(reason) => panic!("{detector:?}: {reason}"),
        }
    }

    #[test]
    fn detectors_alarm_as_rarely_as_stated_where_nothing_is_wrong() {
        // 15 of 300 are expected at 5 %; 4 to 28 but for once in a thousand.
        for strategy in ["stop = \"fixed-horizon\"", "allocate = { shares = [\"80%\", \"20%\"] }", NIGHTLY] {
            let found = trust(STEADY, strategy, 300);
            for (detector, answer) in &found.detectors {
                let Answer::Asked { alarms, stated: Stated::At, finds: None } = answer else { continue };
                assert!((4..=28).contains(&alarms.happened), "{strategy}, {detector:?}: {alarms:?}");
                assert_eq!(alarms.of, 300, "{strategy}, {detector:?}");
            }
            let asked = found.detectors.iter().filter(|(_, answer)| {
                matches!(answer, Answer::Asked { stated: Stated::At, finds: None, .. })
            });
            assert_eq!(asked.count(), if strategy == NIGHTLY { 2 } else { 4 }, "{strategy}: {found:?}");
        }
        let found = trust(STEADY, "stop = { msprt = { tau = \"2%\" } }", 300);
        let ratio = alarms(&found, Detector::SampleRatio);
        assert!(ratio.of == 300 && ratio.happened <= 28, "at most as often, whenever it stops: {ratio:?}");
    }

    #[test]
    fn what_is_new_is_found_and_moving_shares_are() {
        // With an effect that is larger at first, and with one that users dislike at first.
        for novelty in ["amplitude = 2.0, half_life = \"2d\"", "amplitude = -1.5, half_life = \"3d\""] {
            let users = format!("{STEADY}\nnovelty = {{ {novelty} }}");
            for (strategy, least) in [("stop = \"fixed-horizon\"", 0.5), (NIGHTLY, 0.25)] {
                let found = trust(&users, strategy, 100);
                let rate = alarms(&found, Detector::EffectByDay);
                assert!(least < rate.interval.low, "{novelty}, {strategy}: {rate:?}");
            }
        }
        let found = trust(STEADY, NIGHTLY, 40);
        assert_eq!(alarms(&found, Detector::SharesByDay).happened, 40);
        assert!(matches!(found.detectors[0].1, Answer::NotAsked(_)), "{found:?}");
    }
}
