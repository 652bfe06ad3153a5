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

    #[test]
    fn explore() {
        let drift = "per_day = 500\ndays = 20\nbase = \"20%\"\narms = [{ name = \"a\", drift = 0.05 }, { name = \"b\", rate = \"25%\", drift = 0.05 }]";
        let flat = "per_day = 500\ndays = 28\nbase = \"20%\"\narms = [{ name = \"a\" }, { name = \"b\", rate = \"25%\" }]";
        let alike = "per_day = 500\ndays = 28\nbase = \"10%\"\narms = [{ name = \"a\" }, { name = \"b\" }]";
        let novel = format!("{flat}\nnovelty = {{ amplitude = 2.0, half_life = \"2d\" }}");
        let averse = format!("{flat}\nnovelty = {{ amplitude = -1.5, half_life = \"3d\" }}");
        for (name, users) in [("drift", drift), ("flat", flat), ("alike", alike), ("novel", &novel), ("averse", &averse)] {
            for strategy in ["stop = \"fixed-horizon\"", "allocate = \"thompson\"", "allocate = \"thompson\"\nbatch = 500\nfloor = \"5%\"", "allocate = \"ucb1\"", "stop = { msprt = { tau = \"5%\" } }"] {
                let found = trust(users, strategy, 200);
                println!("{name} {strategy:?}");
                for effect in found.effects.iter().flatten() {
                    for off in [effect.pooled, effect.by_epoch] {
                        println!("  {} bias {:.4} [{:.4},{:.4}] error {:.4} cover {:.3}", effect.streams, off.bias.value, off.bias.interval.low, off.bias.interval.high, off.error.value, off.coverage.map_or(9.0, |c| c.value()));
                    }
                }
                for (detector, answer) in &found.detectors {
                    match answer {
                        Answer::NotAsked(why) => println!("  {}: {why}", detector.name()),
                        Answer::Asked { alarms, stated, finds } => println!("  {}: {:.3} [{:.3},{:.3}] of {} {stated:?} {finds:?}", detector.name(), alarms.value(), alarms.interval.low, alarms.interval.high, alarms.of),
                    }
                }
            }
        }
    }
}
