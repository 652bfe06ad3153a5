//! A strategy as a file says it: how it splits traffic among arms, when it stops, and how it decides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Problem, Share, Span};
use crate::statistics::group_sequential::Spending;

/// The least probability of a false alarm: group sequential boundaries are exact down to there.
const ALPHA_MIN: f64 = 1e-10;

/// How often a strategy may look at its data.
const LOOKS_MAX: u32 = 1000;

/// One strategy.
///
/// ```toml
/// [[strategies]]
/// name = "Thompson, nightly"
/// allocate = "thompson"
/// batch = 1000
/// floor = "2%"
/// stop = { value-remaining = {} }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// Its name.
    pub name: String,
    /// How it splits traffic (default equal shares).
    #[serde(default)]
    pub allocate: Allocate,
    /// A policy that learns does so after every so many visits (default 1: at once).
    #[serde(default = "Strategy::batch_default")]
    pub batch: u64,
    /// Which share of traffic each arm has at least under a policy that learns (default 0%).
    #[serde(default)]
    pub floor: Share,
    /// What a policy that learns remembers (default all).
    #[serde(default)]
    pub memory: Remember,
    /// Whether a user who comes back keeps its arm (default true). If not, each visit gets an arm of its own, also under fixed shares, and
    /// tests count visits.
    #[serde(default = "Strategy::sticky_default")]
    pub sticky: bool,
    /// When it stops and how it decides (default at the end, for the arm with the largest mean).
    #[serde(default)]
    pub stop: Stop,
    /// The probability of a false alarm that its test is made for (default 5%); shared among arms if there are more than two.
    #[serde(default = "Strategy::alpha_default")]
    pub alpha: Share,
    /// How often it looks at the data, evenly in time (default once a day). A fixed horizon has one look, whatever stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looks: Option<u32>,
    /// It does not stop earlier than this (default 0s).
    #[serde(default)]
    pub not_before: Span,
}

/// How traffic is split among arms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Allocate {
    /// In equal shares.
    #[default]
    Equal,
    /// In fixed shares, one for each arm.
    Shares(Vec<Share>),
    /// The arm with the best mean, and at times any.
    EpsilonGreedy {
        /// How often any.
        epsilon: Share,
    },
    /// The upper confidence bound UCB1.
    Ucb1,
    /// The bound by Kullback-Leibler divergence.
    KlUcb,
    /// A quantile of the posterior.
    BayesUcb,
    /// The bound that is minimax, without a horizon.
    Moss,
    /// The bound of Chapelle and Li, for small rates.
    ChapelleLi,
    /// Thompson sampling of beta posteriors, with a flat prior.
    Thompson,
    /// Thompson sampling that asks again for another arm than the first.
    TopTwo {
        /// How often the first is taken.
        first: Share,
    },
    /// Thompson sampling of normal posteriors.
    GaussianThompson {
        /// The rate that is expected of an arm; the variance of rewards follows from it.
        mean: Share,
        /// How far from it an arm's rate may lie: the standard deviation of the prior.
        deviation: Share,
    },
    /// The upper confidence bound of a linear model of each arm, by the segment of the user: LinUCB.
    LinUcb {
        /// By how many times √(xᵀA⁻¹x) the bound lies above the mean: standard errors, if rewards had a standard deviation of 1. Of shares that
        /// are small they have less: 0.3 at 10 %.
        alpha: f64,
    },
    /// Thompson sampling of a linear model of each arm, by the segment of the user.
    LinTs {
        /// By what the standard deviation of the posterior is multiplied, which takes rewards to have one of 1.
        v: f64,
    },
    /// Exponential weights, which assume nothing of how rates change.
    Exp3 {
        /// Which share of choices is at random.
        gamma: Share,
    },
}

/// What a policy that learns remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Remember {
    /// All rewards alike.
    #[default]
    All,
    /// Each reward counts this factor times as much with every later one.
    Discount(f64),
    /// So many of the latest rewards.
    Window(usize),
}

/// When a strategy stops, and how it decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// At the end, for the arm with the largest mean: what a bandit does.
    #[default]
    Horizon,
    /// One two-proportion z-test at the end.
    FixedHorizon,
    /// The same test at every look, as if it was the only one: the mistake people make.
    Peeking,
    /// The mixture sequential probability ratio test at every look.
    Msprt {
        /// How large effects are that one hopes for: the standard deviation of the mixture, as a difference of shares.
        tau: Share,
    },
    /// The asymptotic confidence sequence at every look.
    ConfidenceSequence {
        /// At which number of visits (of two arms together) it is narrowest.
        tuned_to: u64,
    },
    /// Group sequential, with the same boundary at each look.
    Pocock,
    /// Group sequential, with boundaries that early looks hardly reach.
    ObrienFleming,
    /// Group sequential, with boundaries that spend the probability of a false alarm as time goes by.
    AlphaSpending {
        /// As which function of the share of time that has passed (default like O'Brien and Fleming).
        #[serde(default)]
        like: Spend,
    },
    /// When the best arm's expected loss is small.
    ExpectedLoss {
        /// How small, as a difference of shares.
        threshold: Share,
    },
    /// When little is left to gain, with a certain probability.
    ValueRemaining {
        /// How little, as a part of the best arm's rate (default 1%).
        #[serde(default = "Stop::part_default")]
        part: Share,
        /// With which probability (default 95%).
        #[serde(default = "Stop::confidence_default")]
        confidence: Share,
    },
}

/// How the probability of a false alarm is spent: Lan and DeMets, "Discrete sequential boundaries for clinical trials" (1983).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spend {
    /// Nearly all of it late.
    #[default]
    ObrienFleming,
    /// Nearly evenly.
    Pocock,
    /// As this power of the share of time.
    Power(f64),
}

impl From<Spend> for Spending {
    fn from(spend: Spend) -> Self {
        match spend {
            Spend::ObrienFleming => Self::OBrienFleming,
            Spend::Pocock => Self::Pocock,
            Spend::Power(exponent) => Self::Power(exponent),
        }
    }
}

impl Stop {
    fn part_default() -> Share {
        Share::new(0.01)
    }

    fn confidence_default() -> Share {
        Share::new(0.95)
    }

    /// Whether its error is stated for data that were not allocated by what they showed.
    pub fn is_test(self) -> bool {
        !matches!(self, Self::Horizon | Self::ExpectedLoss { .. } | Self::ValueRemaining { .. })
    }
}

/// What a test counts as independent of each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Visits: each user comes once, or each visit gets an arm of its own.
    Visit,
    /// Users with all of their visits: they come again, and keep their arm.
    User,
}

impl Strategy {
    fn batch_default() -> u64 {
        1
    }

    fn sticky_default() -> bool {
        true
    }

    fn alpha_default() -> Share {
        Share::new(0.05)
    }

    /// How often it looks at a stream of so many days.
    pub fn looks(&self, days: u32) -> u32 {
        match self.stop {
            Stop::FixedHorizon | Stop::Horizon => 1,
            _ => self.looks.unwrap_or(days),
        }
    }

    /// Whether it splits traffic by what it learnt.
    pub fn learns(&self) -> bool {
        !matches!(self.allocate, Allocate::Equal | Allocate::Shares(_))
    }

    /// Whether it splits traffic by the segments of users: it then has no single best arm.
    pub fn is_contextual(&self) -> bool {
        matches!(self.allocate, Allocate::LinUcb { .. } | Allocate::LinTs { .. })
    }

    /// What its test counts, if users come again or do not: it is the unit that gets an arm.
    pub fn unit(&self, users_come_again: bool) -> Unit {
        if users_come_again && self.sticky { Unit::User } else { Unit::Visit }
    }

    /// Which error it controls where this is the unit, in words.
    pub fn controls(&self, unit: Unit) -> String {
        let alpha = self.alpha;
        if self.learns() && self.stop.is_test() {
            return "none as used: its test assumes fixed shares of traffic".to_owned();
        }
        match self.stop {
            Stop::Horizon if self.is_contextual() => {
                "none: it keeps regret low within segments, and has no one arm for all".to_owned()
            }
            Stop::Horizon if self.learns() => "none: it keeps regret low, and always chooses".to_owned(),
            Stop::Horizon => "none: it always chooses".to_owned(),
            Stop::FixedHorizon => format!("false alarms, at {alpha}, at its one look"),
            Stop::Peeking => format!("none: {alpha} at each look, and far more over all of them"),
            Stop::ExpectedLoss { .. } | Stop::ValueRemaining { .. } if unit == Unit::User => {
                "none as used: it counts visits, and users come again".to_owned()
            }
            Stop::Msprt { .. } | Stop::ConfidenceSequence { .. } => {
                format!("false alarms, at {alpha}, over any number of looks, in large samples")
            }
            Stop::Pocock | Stop::ObrienFleming | Stop::AlphaSpending { .. } => {
                format!("false alarms, at {alpha}, over the planned looks, in large samples")
            }
            Stop::ExpectedLoss { .. } => {
                "the loss of a wrong choice, on average over the prior; not how often it is wrong".to_owned()
            }
            Stop::ValueRemaining { .. } => {
                "what is left to gain, by the posterior; not how often it is wrong".to_owned()
            }
        }
    }

    /// Everything in it that no stream of so many days with so many arms could have.
    pub fn validate(&self, arms: usize, days: u32) -> Vec<Problem> {
        let mut problems = self.validate_allocation(arms);
        let mut unless = |good: bool, path: &str, message: String, help: &str| {
            if !good {
                problems.push(Problem::new(path, message).help(help));
            }
        };
        let open = |share: Share| 0.0 < share.get() && share.get() < 1.0;
        unless(
            open(self.alpha) && ALPHA_MIN <= self.alpha.get(),
            "alpha",
            "a false alarm has a probability, from 0.00000001% to less than 100%".into(),
            "try \"5%\"",
        );
        let looks = self.looks.unwrap_or_else(|| self.looks(days));
        let message = format!("it would look {looks} times; from 1 to {LOOKS_MAX} are possible");
        let help = "say looks = 60; by default there is one a day";
        unless((1..=LOOKS_MAX).contains(&looks), "looks", message, help);
        let late = self.not_before.get().as_secs() < u64::from(days) * 86_400;
        let message = format!("the stream ends after {days} days");
        unless(late, "not_before", message, "choose less");
        match self.stop {
            Stop::Msprt { tau } => {
                unless(open(tau), "stop.msprt.tau", "effects have a size".into(), "try tau = \"0.5%\"");
            }
            Stop::ConfidenceSequence { tuned_to } => {
                let path = "stop.confidence-sequence.tuned_to";
                unless(0 < tuned_to, path, "it is narrowest at some number".into(), "try 10000");
            }
            Stop::AlphaSpending { like: Spend::Power(exponent) } => {
                let path = "stop.alpha-spending.like.power";
                let good = 0.0 < exponent && exponent <= 20.0;
                unless(good, path, "a power lies above 0, up to 20".into(), "try power = 3.0");
            }
            Stop::ExpectedLoss { threshold } => {
                let path = "stop.expected-loss.threshold";
                unless(open(threshold), path, "a loss of 0% is never reached".into(), "try \"0.05%\"");
            }
            Stop::ValueRemaining { part, confidence } => {
                let path = "stop.value-remaining.part";
                unless(open(part), path, "it lies between 0% and 100%".into(), "try \"1%\"");
                let path = "stop.value-remaining.confidence";
                unless(open(confidence), path, "it lies between 0% and 100%".into(), "try \"95%\"");
            }
            _ => {}
        }
        problems
    }

    fn validate_allocation(&self, arms: usize) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut unless = |good: bool, path: &str, message: String, help: &str| {
            if !good {
                problems.push(Problem::new(path, message).help(help));
            }
        };
        unless(!self.name.trim().is_empty(), "name", "a strategy needs a name".into(), "say what it does");
        unless(0 < self.batch, "batch", "it would never learn".into(), "1 is at once");
        let floors = self.floor.get() * arms as f64;
        let message = format!("{arms} arms with {} each have more than there is", self.floor);
        unless(floors <= 1.0, "floor", message, "choose less than 100% over the number of arms");
        for (set, path) in [
            (self.batch != 1, "batch"),
            (self.floor.get() != 0.0, "floor"),
            (self.memory != Remember::All, "memory"),
        ] {
            let message = "fixed shares learn nothing".into();
            unless(self.learns() || !set, path, message, "remove it, or choose a policy that learns");
        }
        match self.memory {
            Remember::Discount(factor) => {
                let good = 0.0 < factor && factor <= 1.0;
                let message = format!("a factor of {factor} lies not above 0 and up to 1");
                unless(good, "memory.discount", message, "try 0.999");
            }
            Remember::Window(length) => {
                unless(0 < length, "memory.window", "nothing would be remembered".into(), "try 10000");
            }
            Remember::All => {}
        }
        let forgets = self.memory != Remember::All;
        let keeps = matches!(self.allocate, Allocate::Exp3 { .. });
        unless(!(forgets && keeps), "memory", "exp3 remembers in its own way".into(), "remove it");
        let contextual = self.is_contextual();
        unless(!(forgets && contextual), "memory", "a linear model remembers all".into(), "remove it");
        let ends = !contextual || self.stop == Stop::Horizon;
        let message = "who shows each segment its own arm stops for none".into();
        unless(ends, "stop", message, "remove it: by default it goes on to the end");
        match &self.allocate {
            Allocate::Shares(shares) => {
                let message = format!("{} shares for {arms} arms", shares.len());
                unless(shares.len() == arms, "allocate.shares", message, "one for each, in their order");
                let sum: f64 = shares.iter().map(|share| share.get()).sum();
                let message = format!("they sum to {}%", 100.0 * sum);
                unless((sum - 1.0).abs() < 1e-9, "allocate.shares", message, "make it 100%");
            }
            Allocate::GaussianThompson { mean, deviation } => {
                let path = "allocate.gaussian-thompson";
                let good = 0.0 < mean.get() && mean.get() < 1.0 && 0.0 < deviation.get();
                unless(good, path, "both lie above 0%, the mean below 100%".into(), "try \"5%\" for both");
            }
            Allocate::LinUcb { alpha: size } | Allocate::LinTs { v: size } => {
                let ucb = matches!(self.allocate, Allocate::LinUcb { .. });
                let path = if ucb { "allocate.lin-ucb.alpha" } else { "allocate.lin-ts.v" };
                let good = 0.0 < *size && *size <= 100.0;
                unless(good, path, format!("{size} lies not above 0 and up to 100"), "try 0.5");
            }
            Allocate::Exp3 { gamma } => {
                let path = "allocate.exp3.gamma";
                unless(0.0 < gamma.get(), path, "without chance it learns nothing".into(), "try \"10%\"");
            }
            _ => {}
        }
        problems
    }
}
