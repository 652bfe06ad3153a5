//! What a file says of users: how many come, what each arm does to them, and how they differ.

use std::collections::BTreeSet;
use std::f64::consts::PI;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Change, Problem, Share, Span};

/// How many days a stream may last, and how many arms there may be: the rates of every hour are in memory.
pub(in crate::experiment) const DAYS_MAX: u32 = 3650;
pub(in crate::experiment) const ARMS_MAX: usize = 200;

/// How many segments there may be.
const SEGMENTS_MAX: usize = 50;

/// How many users may come in all, and how many rates there may be: those of every hour, arm and segment are in memory.
const USERS_MAX: u64 = 100_000_000;
const RATES_MAX: u64 = 20_000_000;

/// How often a user may come back.
const VISITS_MAX: u32 = 1000;

/// Who comes, and what each arm does to them.
///
/// ```toml
/// [users]
/// per_day = 1000
/// days = 60
/// base = "5%"
/// arms = [{ name = "control" }, { name = "treated", lift = "+10%" }]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserModel {
    /// How many new users come a day, on average over a week.
    pub per_day: u32,
    /// For how many days they come.
    pub days: u32,
    /// Which share of visits of humans succeeds under an arm that changes nothing, averaged over users, without seasons and segments.
    pub base: Share,
    /// The arms; the first is the control.
    pub arms: Vec<Arm>,
    /// How different users are: the standard deviation of their log-odds (default 0). The average over users stays as said. It shows where
    /// users come more than once.
    #[serde(default)]
    pub heterogeneity: f64,
    /// How the rates of all arms swing, as amplitudes of the log-odds.
    #[serde(default)]
    pub seasons: Season,
    /// How the number of users swings, as parts of its mean.
    #[serde(default)]
    pub traffic: Season,
    /// That effects are larger at first, or smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<Novelty>,
    /// That outcomes become known late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Users that are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bots: Option<Bots>,
    /// Users who come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returning: Option<Returning>,
    /// Kinds of users that are told apart when they come, and what arms do to each: a policy may go by them (default all are of one kind). An
    /// arm's rate is then the average over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
}

/// A kind of users.
///
/// ```toml
/// segments = [
///     { name = "new", share = "70%", lifts = ["+0%", "+20%"] },
///     { name = "old", share = "30%", lifts = ["+0%", "-40%"] },
/// ]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its name.
    pub name: String,
    /// Which share of users it is.
    pub share: Share,
    /// By how much the rate of each arm differs among them from the arm's own, in the order of the arms.
    pub lifts: Vec<Change>,
}

/// One arm. Without rate and lift it changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// Which share of visits succeeds under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Share>,
    /// The same, relative to the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lift: Option<Change>,
    /// How its log-odds drift, a day (default 0).
    #[serde(default)]
    pub drift: f64,
}

/// Cosines of the day, highest at 20:00, and of the week, highest in the middle of its sixth day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Season {
    /// The amplitude within a day (default 0).
    #[serde(default)]
    pub daily: f64,
    /// The amplitude within a week (default 0).
    #[serde(default)]
    pub weekly: f64,
}

impl Season {
    /// The swing in an hour.
    pub(super) fn at(&self, hour: u64) -> f64 {
        let of_day = (hour % 24) as f64 + 0.5;
        let of_week = (hour % 168) as f64 + 0.5;
        let wave = |from_peak: f64, length: f64| libm::cos(2.0 * PI * from_peak / length);
        self.daily * wave(of_day - 20.0, 24.0) + self.weekly * wave(of_week - 132.0, 168.0)
    }
}

/// What an arm does to the log-odds is multiplied by 1 + a 2^(−t/h), at a time t after the start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Novelty {
    /// a: by how much the effect is larger at first; below 0, users dislike what is new.
    pub amplitude: f64,
    /// h: after how long half of that is gone.
    pub half_life: Span,
}

/// How late outcomes become known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// Which share of outcomes is late (default 100%); the others are known at once.
    #[serde(default = "Delay::share_default")]
    pub share: Share,
    /// How late these are on average.
    pub mean: Span,
    /// How the delays of these are distributed (default exponential).
    #[serde(default)]
    pub shape: DelayShape,
}

impl Delay {
    fn share_default() -> Share {
        Share::new(1.0)
    }
}

/// How delays are distributed around their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DelayShape {
    /// As waiting times for what may happen at any moment.
    #[default]
    Exponential,
    /// All alike.
    Fixed,
    /// Log-normal, with a standard deviation of 1.5 of the logarithm: most are short, and a few very long.
    LongTailed,
}

/// Visitors whose outcomes no arm changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bots {
    /// Which share of users they are.
    pub share: Share,
    /// Which share of their visits succeeds (default 0%).
    #[serde(default)]
    pub rate: Share,
    /// How often each comes (default 1).
    #[serde(default = "Bots::visits_default")]
    pub visits: u32,
    /// How long they pause between visits, on average (default 1m).
    #[serde(default = "Bots::gap_default")]
    pub gap: Span,
}

impl Bots {
    fn visits_default() -> u32 {
        1
    }

    fn gap_default() -> Span {
        Span::secs(60)
    }
}

/// Users who come more than once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Returning {
    /// Which share of users comes back.
    pub share: Share,
    /// How often each of these comes, its first visit included.
    pub visits: u32,
    /// After how long, on average; waiting times are exponential.
    pub gap: Span,
}

impl UserModel {
    /// Everything in it that no stream could have.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut unless = |good: bool, path: &str, message: &str, help: &str| {
            if !good {
                problems.push(Problem::new(path, message).help(help));
            }
        };
        unless(0 < self.per_day, "per_day", "nobody would come", "try per_day = 1000");
        let users = u64::from(self.per_day) * u64::from(self.days);
        unless(users <= USERS_MAX, "per_day", "more than 1e8 users would come in all", "let fewer come");
        let rates = u64::from(self.days) * 24 * self.arms.len().max(1) as u64;
        let rates = rates * self.segments.len().max(1) as u64;
        let message = "the rates of all hours, arms and segments are in memory, and these are more than 2e7";
        unless(rates <= RATES_MAX, "days", message, "let them come for fewer days");
        let days = (1..=DAYS_MAX).contains(&self.days);
        unless(days, "days", "a stream lasts from 1 to 3650 days", "try days = 60");
        let inner = |share: f64| 0.0 < share && share < 1.0;
        unless(
            inner(self.base.get()),
            "base",
            "a rate lies between 0% and 100%, and is neither",
            "try base = \"5%\"",
        );
        let arms = (2..=ARMS_MAX).contains(&self.arms.len());
        unless(arms, "arms", "an experiment has from 2 to 200 arms", "the first is the control");
        let wide = (0.0..=5.0).contains(&self.heterogeneity);
        unless(wide, "heterogeneity", "a standard deviation of log-odds, from 0 to 5", "try 0.5");
        for (path, season, most) in [("seasons", self.seasons, 5.0), ("traffic", self.traffic, 1.0)] {
            let swings = season.daily.abs() + season.weekly.abs();
            let message = format!("the swings of day and week together lie from 0 to {most}");
            unless(swings <= most && swings.is_finite(), path, &message, "try daily = 0.3");
        }
        if let Some(novelty) = self.novelty {
            let lasts = !novelty.half_life.get().is_zero();
            unless(lasts, "novelty.half_life", "what has no length is over at once", "try \"5d\"");
            let size = (-20.0..=20.0).contains(&novelty.amplitude);
            unless(size, "novelty.amplitude", "it lies from -20 to 20", "1 doubles the effect at first");
        }
        if let Some(returning) = self.returning {
            let often = (2..=VISITS_MAX).contains(&returning.visits);
            unless(often, "returning.visits", "who comes back comes 2 to 1000 times", "try visits = 3");
        }
        if let Some(bots) = self.bots {
            let often = (1..=VISITS_MAX).contains(&bots.visits);
            unless(often, "bots.visits", "a bot comes 1 to 1000 times", "try visits = 1");
            let humans = bots.share.get() < 1.0;
            unless(humans, "bots.share", "with nobody but bots there is nothing to learn", "try \"2%\"");
        }
        problems.extend(self.validate_arms());
        problems.extend(self.validate_segments());
        problems
    }

    fn validate_segments(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut unless = |good: bool, path: String, message: String, help: &str| {
            if !good {
                problems.push(Problem::new(path, message).help(help));
            }
        };
        let count = self.segments.len();
        let few = count <= SEGMENTS_MAX;
        unless(few, "segments".into(), format!("{count} are more than {SEGMENTS_MAX}"), "tell fewer apart");
        let sum: f64 = self.segments.iter().map(|segment| segment.share.get()).sum();
        let whole = self.segments.is_empty() || (sum - 1.0).abs() < 1e-9;
        unless(whole, "segments".into(), format!("their shares sum to {}%", 100.0 * sum), "make it 100%");
        let mut names = BTreeSet::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let path = |key: &str| format!("segments.{index}.{key}");
            let new = !segment.name.trim().is_empty() && names.insert(segment.name.as_str());
            let message = format!("`{}` is empty, or names another segment too", segment.name);
            unless(new, path("name"), message, "give each segment a name of its own");
            let some = 0.0 < segment.share.get();
            unless(some, path("share"), "nobody would be of it".into(), "try \"50%\"");
            let (lifts, arms) = (segment.lifts.len(), self.arms.len());
            let message = format!("{lifts} lifts for {arms} arms");
            unless(lifts == arms, path("lifts"), message, "one for each, in their order: \"+0%\" is none");
            for (place, (arm, lift)) in self.arms.iter().zip(&segment.lifts).enumerate() {
                let rate = self.rate(arm) * (1.0 + lift.get());
                let message = format!("a rate of {}% is none between 0% and 100%", 100.0 * rate);
                let good = 0.0 < rate && rate < 1.0;
                unless(good, path(&format!("lifts.{place}")), message, "choose one in between");
            }
        }
        problems
    }

    /// By segment, its share and the rate of each arm as of the whole; without segments there is one.
    pub(super) fn rates(&self) -> Vec<(f64, Vec<f64>)> {
        let arms = || self.arms.iter().map(|arm| self.rate(arm));
        let of = |segment: &Segment| {
            let rates = arms().zip(&segment.lifts).map(|(rate, lift)| rate * (1.0 + lift.get()));
            (segment.share.get(), rates.collect())
        };
        if self.segments.is_empty() {
            return vec![(1.0, arms().collect())];
        }
        self.segments.iter().map(of).collect()
    }

    fn validate_arms(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for (index, arm) in self.arms.iter().enumerate() {
            let path = |key: &str| format!("arms.{index}.{key}");
            if arm.name.trim().is_empty() || !names.insert(arm.name.as_str()) {
                let message = format!("`{}` is empty, or names another arm too", arm.name);
                problems.push(Problem::new(path("name"), message).help("give each arm a name of its own"));
            }
            if arm.rate.is_some() && arm.lift.is_some() {
                let message = "an arm has a rate or a lift, not both";
                problems.push(Problem::new(path("lift"), message).help("remove one of them"));
            }
            let rate = self.rate(arm);
            if !(0.0 < rate && rate < 1.0) {
                let key = if arm.rate.is_some() { "rate" } else { "lift" };
                let message = format!("a rate of {}% is none between 0% and 100%", 100.0 * rate);
                problems.push(Problem::new(path(key), message).help("choose one in between"));
            }
            if !(-1.0..=1.0).contains(&arm.drift) {
                let message = "log-odds drift by -1 to 1 a day";
                problems.push(Problem::new(path("drift"), message).help("try drift = 0.02"));
            }
        }
        problems
    }

    /// For how long they come.
    pub fn length(&self) -> Duration {
        Duration::from_secs(86_400) * self.days
    }

    /// Whether some users, or bots, come more than once: their visits are then not independent of each other.
    pub fn come_again(&self) -> bool {
        self.returning.is_some() || self.bots.is_some_and(|bots| 1 < bots.visits)
    }

    /// The share of visits of humans that succeeds under an arm in the long run, before any drift.
    pub(super) fn rate(&self, arm: &Arm) -> f64 {
        match (arm.rate, arm.lift) {
            (Some(rate), _) => rate.get(),
            (None, Some(lift)) => self.base.get() * (1.0 + lift.get()),
            (None, None) => self.base.get(),
        }
    }
}
