//! One user of a seed, and what comes of its visits: every draw is a function of the seed, the user's number and what the draw is for.

use std::time::Duration;

use rand::RngCore;

use crate::base::{Seed, SimTime, Span};
use crate::experiment::users::model::{Delay, DelayShape};
use crate::experiment::users::population::{Population, logistic};
use crate::statistics::normal;

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
    /// The number of its segment, from 0.
    pub segment: usize,
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

impl Population {
    /// The users that a seed makes of it.
    pub fn users(&self, seed: Seed) -> Users<'_> {
        Users { population: self, key: seed.stream("experiment/users").next_u64() }
    }
}

/// What a user's draws are for. Those of a visit begin at [`VISITS`].
const ARRIVAL: u64 = 0;
const IS_BOT: u64 = 1;
const LEANING: u64 = 2;
const RETURNS: u64 = 3;
const ASSIGNMENT: u64 = 4;
const SEGMENT: u64 = 5;
const VISITS: u64 = 8;

/// Sets the key of assignments by visit apart from that of all other draws.
const OF_VISITS: u64 = 0x6173_7369_676e_6564;

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
        let segment = match &self.population.upto[..] {
            [_] => 0,
            upto => {
                let place = draw(SEGMENT);
                upto.iter().position(|upto| place < *upto).unwrap_or(upto.len() - 1)
            }
        };
        let part = (number as f64 + draw(ARRIVAL)) / self.population.count() as f64;
        let first = self.population.when(part);
        User { number, first, visits, segment, bot: bot.is_some(), leaning, key }
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
        let place = population.row(user.segment, at) + arm;
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

    /// The same for whoever assigns each visit (from 0) anew; that of the first is the user's own.
    #[inline]
    pub fn assignment_of(&self, visit: u32) -> f64 {
        if visit == 0 { self.assignment() } else { uniform(mixed(self.key ^ OF_VISITS), u64::from(visit)) }
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
