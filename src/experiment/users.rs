//! Users with a known truth: when each comes, what kind of user it is, and what it would do under every arm.
//!
//! A user is a pure function of the seed and its number: what one strategy asks of it moves no dice of another. Under all arms a user acts on
//! the same draws (common random numbers), so that two strategies differ by their choices alone.
//!
//! Rates change on the hour: seasons, novelty and drift are constant within one.

use std::collections::BTreeSet;
use std::f64::consts::PI;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Change, Problem, Seed, Share, SimTime, Span};
use crate::statistics::quadrature::Rule;
use crate::statistics::{normal, root};

/// How many days a stream may last, and how many arms there may be: the rates of every hour are in memory.
const DAYS_MAX: u32 = 3650;
pub(super) const ARMS_MAX: usize = 200;

/// How often a user may come back.
const VISITS_MAX: u32 = 1000;

const HOUR: u64 = 3_600_000_000_000;
pub(super) const DAY: u64 = 24 * HOUR;

/// When a stream that ends at `end` has its moment `at` (from 0 on) of `count` that are evenly spaced; the last is its end.
pub(super) fn evenly(end: SimTime, at: usize, count: usize) -> SimTime {
    SimTime::from_nanos((u128::from(end.as_nanos()) * (at as u128 + 1) / count as u128) as u64)
}

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
    /// Which share of visits of humans succeeds under an arm that changes nothing, averaged over users, without seasons.
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
    fn at(&self, hour: u64) -> f64 {
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
        problems
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

    /// The share of visits of humans that succeeds under an arm in the long run, before any drift.
    fn rate(&self, arm: &Arm) -> f64 {
        match (arm.rate, arm.lift) {
            (Some(rate), _) => rate.get(),
            (None, Some(lift)) => self.base.get() * (1.0 + lift.get()),
            (None, None) => self.base.get(),
        }
    }
}

/// A valid model with the rates of every hour, shared by all streams of its users.
#[derive(Clone, Debug)]
pub struct Population {
    model: UserModel,
    arms: usize,
    /// By hour and arm: the log-odds of a user who is like the middle one.
    odds: Vec<f64>,
    /// By hour and arm: the rate, averaged over humans.
    rates: Vec<f64>,
    /// By arm: the rate at the end, without seasons and novelty.
    truth: Vec<f64>,
    /// Which part of the users has come by the end of each hour; empty where they come evenly.
    come: Vec<f64>,
}

impl Population {
    /// The population of a model.
    ///
    /// # Panics
    /// If the model has a problem that [`UserModel::validate`] tells.
    pub fn new(model: &UserModel) -> Self {
        let problems = model.validate();
        assert!(problems.is_empty(), "a model that was checked: {problems:?}");
        let mean = Averaging::new(model.heterogeneity);
        let base = mean.odds_of(model.base.get());
        let effects: Vec<f64> = model.arms.iter().map(|arm| mean.odds_of(model.rate(arm)) - base).collect();
        let hours = u64::from(model.days) * 24;
        let days_at = |hour: u64| (hour as f64 + 0.5) / 24.0;
        let drifted = |arm: usize, days: f64| model.arms[arm].drift * days;
        let mut odds = Vec::with_capacity(hours as usize * effects.len());
        for hour in 0..hours {
            let (days, season) = (days_at(hour), model.seasons.at(hour));
            let novel = model.novelty.map_or(1.0, |novelty| {
                let halves = days * DAY as f64 / novelty.half_life.get().as_nanos() as f64;
                1.0 + novelty.amplitude * libm::exp2(-halves)
            });
            odds.extend(
                (0..effects.len()).map(|arm| base + effects[arm] * novel + drifted(arm, days) + season),
            );
        }
        let rates = odds.iter().map(|odds| mean.rate_of(*odds)).collect();
        let days = f64::from(model.days);
        let truth = (0..effects.len()).map(|arm| mean.rate_of(base + effects[arm] + drifted(arm, days)));
        let truth = truth.collect();
        let come = traffic(model.traffic, hours);
        Self { model: model.clone(), arms: effects.len(), odds, rates, truth, come }
    }

    /// Its model.
    pub fn model(&self) -> &UserModel {
        &self.model
    }

    /// How many arms there are.
    pub fn arms(&self) -> usize {
        self.arms
    }

    /// How many users come in all.
    pub fn count(&self) -> u64 {
        u64::from(self.model.per_day) * u64::from(self.model.days)
    }

    /// When the stream ends: nobody comes from then on.
    pub fn end(&self) -> SimTime {
        SimTime::from_nanos(u64::from(self.model.days) * DAY)
    }

    /// The rate of each arm among humans at the end, without seasons and novelty: what a decision should go by.
    pub fn truth(&self) -> &[f64] {
        &self.truth
    }

    /// The rate of each arm among humans at a moment.
    #[inline]
    pub fn rates_at(&self, at: SimTime) -> &[f64] {
        let row = self.row(at);
        &self.rates[row..row + self.arms]
    }

    /// The users that a seed makes of it.
    pub fn users(&self, seed: Seed) -> Users<'_> {
        use rand::RngCore;
        Users { population: self, key: seed.stream("experiment/users").next_u64() }
    }

    /// Where the rates of a moment begin.
    #[inline]
    fn row(&self, at: SimTime) -> usize {
        let hour = (at.as_nanos() / HOUR).min(u64::from(self.model.days) * 24 - 1);
        hour as usize * self.arms
    }

    /// When a part of all users has come.
    #[inline]
    fn when(&self, part: f64) -> SimTime {
        if self.come.is_empty() {
            return SimTime::from_nanos((part * self.end().as_nanos() as f64) as u64);
        }
        let hour = self.come.partition_point(|come| *come <= part).min(self.come.len() - 1);
        let before = if hour == 0 { 0.0 } else { self.come[hour - 1] };
        let within = (part - before) / (self.come[hour] - before);
        SimTime::from_nanos(((hour as f64 + within.clamp(0.0, 1.0)) * HOUR as f64) as u64)
    }
}

/// Which part of the users has come by the end of each hour; nothing where they come evenly.
fn traffic(season: Season, hours: u64) -> Vec<f64> {
    if season == Season::default() {
        return Vec::new();
    }
    let mut sum = 0.0;
    let mut come: Vec<f64> = (0..hours)
        .map(|hour| {
            // Never quite nobody, so that time moves on.
            sum += (1.0 + season.at(hour)).max(1e-6);
            sum
        })
        .collect();
    come.iter_mut().for_each(|part| *part /= sum);
    come
}

/// Between log-odds of the middle user and the rate averaged over users, ∫ φ(z) / (1 + exp(−x − σz)) dz.
struct Averaging {
    deviation: f64,
    rule: Rule,
}

impl Averaging {
    fn new(deviation: f64) -> Self {
        Self { deviation, rule: Rule::new(48) }
    }

    fn rate_of(&self, odds: f64) -> f64 {
        if self.deviation == 0.0 {
            return logistic(odds);
        }
        let density = |z: f64| libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt();
        self.rule.integral(-8.0, 8.0, |z| density(z) * logistic(odds + self.deviation * z))
    }

    fn odds_of(&self, rate: f64) -> f64 {
        let alone = libm::log(rate / (1.0 - rate));
        if self.deviation == 0.0 {
            return alone;
        }
        let reach = 2.0 + 4.0 * self.deviation * (1.0 + self.deviation) + alone.abs();
        root::boundary(alone - reach, alone + reach, |odds| self.rate_of(odds) < rate)
    }
}

#[inline]
fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-odds))
}

/// The users of one seed.
#[derive(Clone, Copy, Debug)]
pub struct Users<'population> {
    population: &'population Population,
    key: u64,
}

/// One user: what it is before any arm touches it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct User {
    /// Its number, from 0 in the order in which users come.
    pub number: u64,
    /// When it comes first.
    pub first: SimTime,
    /// How often it comes.
    pub visits: u32,
    /// Whether it is a bot, whose outcomes no arm changes.
    pub bot: bool,
    /// How far its log-odds lie from the middle user's.
    pub leaning: f64,
    key: u64,
}

/// What comes of a visit under an arm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// Whether it succeeds.
    pub success: bool,
    /// How long after the visit that becomes known.
    pub delay: Duration,
}

/// What a user's draws are for. Those of a visit begin at [`VISITS`].
const ARRIVAL: u64 = 0;
const IS_BOT: u64 = 1;
const LEANING: u64 = 2;
const RETURNS: u64 = 3;
const ASSIGNMENT: u64 = 4;
const VISITS: u64 = 8;

/// What the draws of a visit are for.
const GAP: u64 = 0;
const OUTCOME: u64 = 1;
const IS_LATE: u64 = 2;
const LATENESS: u64 = 3;
const DRAWS: u64 = 4;

impl Users<'_> {
    /// The population they are of.
    pub fn population(&self) -> &Population {
        self.population
    }

    /// The user with this number. Users come in the order of their numbers, one in each of as many equal parts of the traffic.
    #[inline]
    pub fn user(&self, number: u64) -> User {
        let model = &self.population.model;
        let key = mixed(self.key.wrapping_add(number.wrapping_mul(GOLDEN)));
        let draw = |what: u64| uniform(key, what);
        let bot = model.bots.filter(|bots| draw(IS_BOT) < bots.share.get());
        let returning = model.returning.filter(|returning| draw(RETURNS) < returning.share.get());
        let visits = match (bot, returning) {
            (Some(bots), _) => bots.visits,
            (None, Some(returning)) => returning.visits,
            (None, None) => 1,
        };
        let leaning = if model.heterogeneity == 0.0 {
            0.0
        } else {
            model.heterogeneity * normal::quantile(draw(LEANING))
        };
        let part = (number as f64 + draw(ARRIVAL)) / self.population.count() as f64;
        User { number, first: self.population.when(part), visits, bot: bot.is_some(), leaning, key }
    }

    /// When a user comes again, of whose visit number `visit` (from 0) this was the time; none after its last, or after the stream.
    pub fn next_visit(&self, user: &User, visit: u32, at: SimTime) -> Option<SimTime> {
        if user.visits <= visit + 1 {
            return None;
        }
        let model = &self.population.model;
        let gap = match (user.bot, model.bots, model.returning) {
            (true, Some(bots), _) => bots.gap,
            (_, _, Some(returning)) => returning.gap,
            _ => return None,
        };
        let next = at + exponential(gap, uniform(user.key, of_visit(visit + 1, GAP)));
        (next < self.population.end()).then_some(next)
    }

    /// What comes of a visit at a time under an arm. Under another arm the same draw decides.
    #[inline]
    pub fn response(&self, user: &User, visit: u32, at: SimTime, arm: usize) -> Response {
        let rate = self.rate(user, at, arm);
        let success = uniform(user.key, of_visit(visit, OUTCOME)) < rate;
        let delay = self.population.model.delay.map_or(Duration::ZERO, |delay| lateness(&delay, user, visit));
        Response { success, delay }
    }

    /// The probability that a visit of a user at a time succeeds under an arm.
    #[inline]
    pub fn rate(&self, user: &User, at: SimTime, arm: usize) -> f64 {
        let population = self.population;
        if user.bot {
            return population.model.bots.map_or(0.0, |bots| bots.rate.get());
        }
        let place = population.row(at) + arm;
        if user.leaning == 0.0 {
            population.rates[place]
        } else {
            logistic(population.odds[place] + user.leaning)
        }
    }
}

impl User {
    /// A number in [0, 1) of its own for whoever splits traffic in fixed shares: the same under every strategy.
    #[inline]
    pub fn assignment(&self) -> f64 {
        uniform(self.key, ASSIGNMENT)
    }
}

fn lateness(delay: &Delay, user: &User, visit: u32) -> Duration {
    let draw = |what: u64| uniform(user.key, of_visit(visit, what));
    if delay.share.get() <= draw(IS_LATE) {
        return Duration::ZERO;
    }
    match delay.shape {
        DelayShape::Fixed => delay.mean.get(),
        DelayShape::Exponential => exponential(delay.mean, draw(LATENESS)),
        DelayShape::LongTailed => {
            // E exp(σz) = exp(σ²/2).
            let sigma = 1.5;
            let factor = libm::exp(sigma * normal::quantile(draw(LATENESS)) - 0.5 * sigma * sigma);
            times(delay.mean, factor)
        }
    }
}

fn exponential(mean: Span, draw: f64) -> Duration {
    times(mean, -libm::log1p(-draw))
}

fn times(span: Span, factor: f64) -> Duration {
    Duration::from_nanos((span.get().as_nanos() as f64 * factor) as u64)
}

fn of_visit(visit: u32, what: u64) -> u64 {
    VISITS + u64::from(visit) * DRAWS + what
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), with the constants of Stafford.
#[inline]
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The draw of this number of a key: uniform in (0, 1), as SplitMix64 would draw it after so many others.
#[inline]
fn uniform(key: u64, number: u64) -> f64 {
    let bits = mixed(key.wrapping_add((number + 1).wrapping_mul(GOLDEN)));
    ((bits >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(more: &str) -> UserModel {
        let text = format!(
            "per_day = 2000\ndays = 10\nbase = \"5%\"\narms = [{{ name = \"a\" }}, {{ name = \"b\", lift = \"+20%\" }}]\n{more}"
        );
        toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The share of successes under each arm if all users got it.
    fn shares(model: &UserModel, seed: u64) -> Vec<f64> {
        let population = Population::new(model);
        let users = population.users(Seed::new(seed));
        let share = |arm: usize| {
            let successes = (0..population.count()).filter(|number| {
                let user = users.user(*number);
                users.response(&user, 0, user.first, arm).success
            });
            successes.count() as f64 / population.count() as f64
        };
        (0..population.arms()).map(share).collect()
    }

    #[test]
    fn the_rates_are_as_said_whatever_users_differ_by() {
        for more in [
            "",
            "heterogeneity = 1.5",
            "seasons = { daily = 0.3 }",
            "traffic = { daily = 0.5, weekly = 0.3 }",
        ] {
            let model = model(more);
            let found = shares(&model, 4);
            for (found, expected) in found.iter().zip([0.05, 0.06]) {
                // Four standard errors of 20,000 users.
                assert!((found - expected).abs() < 0.007, "{more}: {found} is not {expected}");
            }
            let truth = Population::new(&model).truth().to_vec();
            assert!((truth[0] - 0.05).abs() < 1e-9 && (truth[1] - 0.06).abs() < 1e-9, "{more}: {truth:?}");
        }
    }

    #[test]
    fn a_user_is_a_function_of_seed_and_number_and_acts_on_the_same_draw_under_all_arms() {
        let population = Population::new(&model("heterogeneity = 1.0\ndelay = { mean = \"6h\" }"));
        let users = population.users(Seed::new(7));
        let mut better = 0;
        for number in (0..population.count()).rev() {
            let user = users.user(number);
            assert_eq!(user, population.users(Seed::new(7)).user(number));
            let [first, second] = [0, 1].map(|arm| users.response(&user, 0, user.first, arm));
            assert!(!first.success || second.success, "who buys under the worse arm buys under the better");
            assert_eq!(first.delay, second.delay);
            better += u32::from(second.success && !first.success);
        }
        assert!(100 < better, "{better} of 20000, and 200 expected");
        assert_ne!(users.user(3), population.users(Seed::new(8)).user(3));
    }

    #[test]
    fn users_come_in_order_and_where_the_traffic_is() {
        for more in ["", "traffic = { daily = 0.8, weekly = 0.2 }"] {
            let population = Population::new(&model(more));
            let users = population.users(Seed::new(1));
            let times: Vec<SimTime> =
                (0..population.count()).map(|number| users.user(number).first).collect();
            assert!(times.is_sorted() && times.last().is_some_and(|last| *last < population.end()), "{more}");
            let evening = |at: &&SimTime| (18..22).contains(&(at.as_nanos() / HOUR % 24));
            let evenings = times.iter().filter(evening).count() as f64 / times.len() as f64;
            let expected = if more.is_empty() { 4.0 / 24.0 } else { 4.0 / 24.0 * 1.76 };
            assert!((evenings - expected).abs() < 0.02, "{more}: {evenings} and {expected}");
        }
    }

    #[test]
    fn novelty_fades_drift_stays_and_bots_do_not_care() {
        let more =
            "novelty = { amplitude = 1.0, half_life = \"1d\" }\nbots = { share = \"50%\", rate = \"30%\" }";
        let mut model = model(more);
        model.arms[0].drift = 0.1;
        let population = Population::new(&model);
        let at = |day: u64| population.rates_at(SimTime::from_nanos(day * DAY))[1];
        assert!(0.068 < at(0) && at(0) < 0.0725, "nearly twice the effect: {}", at(0));
        assert!((at(9) - 0.06).abs() < 1e-4, "{}", at(9));
        let truth = population.truth();
        let expected = logistic(libm::log(0.05 / 0.95) + 1.0);
        assert!((truth[0] - expected).abs() < 1e-12 && (truth[1] - 0.06).abs() < 1e-12, "{truth:?}");
        let users = population.users(Seed::new(2));
        let bots = (0..2000).map(|number| users.user(number)).filter(|user| user.bot).collect::<Vec<_>>();
        assert!((900..1100).contains(&bots.len()), "{}", bots.len());
        assert!(bots.iter().all(|bot| users.rate(bot, bot.first, 0) == users.rate(bot, bot.first, 1)));
    }

    #[test]
    fn delays_and_visits_are_as_often_and_as_long_as_said() {
        for (shape, tolerance) in [("fixed", 1e-9), ("exponential", 0.05), ("long-tailed", 0.25)] {
            let more = format!(
                "delay = {{ share = \"40%\", mean = \"6h\", shape = \"{shape}\" }}\n\
                 returning = {{ share = \"25%\", visits = 3, gap = \"1d\" }}"
            );
            let population = Population::new(&model(&more));
            let users = population.users(Seed::new(3));
            let all: Vec<User> = (0..population.count()).map(|number| users.user(number)).collect();
            let delays =
                all.iter().map(|user| users.response(user, 0, user.first, 0).delay.as_secs_f64() / 3600.0);
            let late: Vec<f64> = delays.filter(|hours| 0.0 < *hours).collect();
            let share = late.len() as f64 / all.len() as f64;
            let mean = late.iter().sum::<f64>() / late.len() as f64;
            assert!((share - 0.4).abs() < 0.015, "{shape}: {share}");
            assert!((mean / 6.0 - 1.0).abs() < tolerance, "{shape}: {mean} hours");
            let come_back = all.iter().filter(|user| 1 < user.visits).count() as f64 / all.len() as f64;
            assert!((come_back - 0.25).abs() < 0.015, "{come_back}");
            let user = all.iter().find(|user| 1 < user.visits).expect("some come back");
            let second = users.next_visit(user, 0, user.first).expect("early enough");
            assert!(user.first < second && users.next_visit(user, 2, second).is_none());
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (more, path) in [
            ("heterogeneity = -1.0", "heterogeneity"),
            ("traffic = { daily = 0.8, weekly = 0.3 }", "traffic"),
            ("bots = { share = \"100%\" }", "bots.share"),
            ("returning = { share = \"5%\", visits = 1, gap = \"1d\" }", "returning.visits"),
            ("novelty = { amplitude = 1.0, half_life = \"0s\" }", "novelty.half_life"),
        ] {
            let problems = model(more).validate();
            assert_eq!(
                problems.first().map(|problem| problem.path.as_str()),
                Some(path),
                "{more}: {problems:?}"
            );
        }
        let mut wrong = model("");
        (wrong.days, wrong.base) = (0, Share::new(0.0));
        wrong.arms[1] = Arm {
            name: "a".to_owned(),
            rate: Some(Share::new(1.0)),
            lift: Some(Change::new(0.1)),
            drift: 2.0,
        };
        let paths: Vec<String> = wrong.validate().into_iter().map(|problem| problem.path).collect();
        let expected =
            ["days", "base", "arms.0.lift", "arms.1.name", "arms.1.lift", "arms.1.rate", "arms.1.drift"];
        assert_eq!(paths, expected);
        assert!(model("").validate().is_empty());
    }
}
