//! The rates of every hour, and when users come.

use std::f64::consts::PI;

use crate::base::SimTime;
use crate::experiment::users::model::{Season, UserModel};
use crate::statistics::quadrature::Rule;
use crate::statistics::root;

pub(in crate::experiment) const HOUR: u64 = 3_600_000_000_000;
pub(in crate::experiment) const DAY: u64 = 24 * HOUR;

/// By how much effects that are the same may differ.
const ROUNDING: f64 = 1e-12;

/// When a stream that ends at `end` has its moment `at` (from 0 on) of `count` that are evenly spaced; the last is its end.
pub(in crate::experiment) fn evenly(end: SimTime, at: usize, count: usize) -> SimTime {
    SimTime::from_nanos((u128::from(end.as_nanos()) * (at as u128 + 1) / count as u128) as u64)
}

/// A valid model with the rates of every hour, shared by all streams of its users.
#[derive(Clone, Debug)]
pub struct Population {
    pub(super) model: UserModel,
    arms: usize,
    /// Which share of users is of the segments up to each.
    pub(super) upto: Vec<f64>,
    /// By hour, segment and arm: the log-odds of a user who is like the middle one.
    pub(super) odds: Vec<f64>,
    /// By hour, segment and arm: the rate, averaged over humans.
    pub(super) rates: Vec<f64>,
    /// By hour and arm: the rate, averaged over the humans of all segments.
    averages: Vec<f64>,
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
        let (arms, segments) = (model.arms.len(), model.rates());
        // By segment and arm.
        let effects: Vec<f64> =
            segments.iter().flat_map(|(_, rates)| rates).map(|rate| mean.odds_of(*rate) - base).collect();
        let hours = u64::from(model.days) * 24;
        let days_at = |hour: u64| (hour as f64 + 0.5) / 24.0;
        let drifted = |place: usize, days: f64| model.arms[place % arms].drift * days;
        let mut odds = Vec::with_capacity(hours as usize * effects.len());
        for hour in 0..hours {
            let (days, season) = (days_at(hour), model.seasons.at(hour));
            let novel = model.novelty.map_or(1.0, |novelty| {
                let halves = days * DAY as f64 / novelty.half_life.get().as_nanos() as f64;
                1.0 + novelty.amplitude * libm::exp2(-halves)
            });
            odds.extend((0..effects.len()).map(|place| {
                // What an arm does is its effect against the control, of the same segment.
                let control = effects[place - place % arms];
                base + control + (effects[place] - control) * novel + drifted(place, days) + season
            }));
        }
        let rates: Vec<f64> = odds.iter().map(|odds| mean.rate_of(*odds)).collect();
        let days = f64::from(model.days);
        let at_end: Vec<f64> = (0..effects.len())
            .map(|place| mean.rate_of(base + effects[place] + drifted(place, days)))
            .collect();
        // Over segments, of each arm.
        let averaged = |rates: &[f64]| -> Vec<f64> {
            let of = |arm: usize| {
                let parts = segments.iter().zip(rates.chunks(arms)).map(|((share, _), of)| share * of[arm]);
                parts.sum()
            };
            (0..arms).map(of).collect()
        };
        let averages = rates.chunks(effects.len()).flat_map(averaged).collect();
        let mut sum = 0.0;
        let upto = segments.iter().map(|(share, _)| {
            sum += share;
            sum
        });
        let upto = upto.collect();
        let (truth, come) = (averaged(&at_end), traffic(model.traffic, hours));
        Self { model: model.clone(), arms, upto, odds, rates, averages, truth, come }
    }

    /// Its model.
    pub fn model(&self) -> &UserModel {
        &self.model
    }

    /// How many arms there are.
    pub fn arms(&self) -> usize {
        self.arms
    }

    /// How many segments users are of, at least one.
    pub fn segments(&self) -> usize {
        self.upto.len()
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

    /// The rate of each arm among humans at a moment, averaged over segments.
    #[inline]
    pub fn rates_at(&self, at: SimTime) -> &[f64] {
        let row = self.hour(at) * self.arms;
        &self.averages[row..row + self.arms]
    }

    /// By hour, segment and arm: the rate among humans.
    pub(in crate::experiment) fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// Whether what an arm does against the control, in points, differs from day to day, averaged over segments.
    pub fn effect_changes(&self) -> bool {
        let effects = |day: &[f64]| -> Vec<f64> {
            let of =
                |arm: usize| day.chunks(self.arms).map(|rates| rates[arm] - rates[0]).sum::<f64>() / 24.0;
            (0..self.arms).map(of).collect()
        };
        let mut days = self.averages.chunks(24 * self.arms).map(effects);
        let first = days.next().unwrap_or_default();
        days.any(|day| day.iter().zip(&first).any(|(effect, first)| ROUNDING < (effect - first).abs()))
    }

    /// Where the rates of a segment at a moment begin.
    #[inline]
    pub(super) fn row(&self, segment: usize, at: SimTime) -> usize {
        (self.hour(at) * self.segments() + segment) * self.arms
    }

    #[inline]
    fn hour(&self, at: SimTime) -> usize {
        (at.as_nanos() / HOUR).min(u64::from(self.model.days) * 24 - 1) as usize
    }

    /// When a part of all users has come.
    #[inline]
    pub(super) fn when(&self, part: f64) -> SimTime {
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
pub(super) fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-odds))
}
