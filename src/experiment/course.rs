//! What becomes of one stream under one strategy: looks, a decision, regret and shares over time, whoever makes the visits.
//!
//! After the decision everybody gets the chosen arm until the stream ends: what a wrong one costs counts too.

use crate::base::SimTime;
use crate::experiment::allocation::{Allocator, Lesson, Visitor};
use crate::experiment::epochs::{Effect, Epochs};
use crate::experiment::stopping::{Decision, Rule};
use crate::experiment::strategy::{Strategy, Unit};
use crate::experiment::tally::{Seen, Tally};
use crate::experiment::users::evenly;
use crate::experiment::validity::Detector;
use crate::statistics::Interval;
use crate::statistics::bandit::Outcome;
use crate::statistics::dice::Dice;

/// At how many evenly spaced times a course is told.
pub const CHECKPOINTS: usize = 50;

/// Rates that differ by less are the same.
pub const SAME: f64 = 1e-12;

/// What became of one stream under one strategy.
#[derive(Clone, PartialEq, Debug)]
pub struct Course {
    /// By checkpoint: the pseudo-regret so far, Σ (the best arm's rate at that time − that of the arm shown) over visits of humans, both in
    /// the segment of the user.
    pub regret: Vec<f64>,
    /// By checkpoint and arm: the share of visits since the checkpoint before; of a stretch without visits, 0 for all.
    pub allocation: Vec<f32>,
    /// How it ended.
    pub decision: Decision,
    /// When.
    pub decided: SimTime,
    /// How many visits there were until then.
    pub visits_until: u64,
    /// How many visits there were in all.
    pub visits: u64,
    /// How many of them are known to have succeeded by the end.
    pub successes: u64,
    /// How many of all visits were of humans, at which something could be lost.
    pub humans: u64,
    /// How many of these were shown an arm that was not the best at that time for their segment.
    pub worse: u64,
    /// Whether the chosen arm is the best, or one of several, by the truth.
    pub right: bool,
    /// Whether it said that arms differ, or left the control, without a reason in the truth.
    pub false_alarm: bool,
    /// Whether all of its intervals contain the truth; nothing if it could not give one of each arm.
    pub covers: Option<bool>,
    /// What each arm but the control did until then, and what was estimated of it; nothing of one that nothing could be estimated of.
    pub effects: Vec<Option<Effect>>,
    /// The p-value of each detector, as [`Detector::ALL`] lists them; nothing of one that was not asked.
    pub detected: [Option<f64>; Detector::ALL.len()],
}

/// The arm whose difference from the control stands for all of them: the best of the others by the truth, the first of several.
pub fn contrast(truth: &[f64]) -> usize {
    let mut best = 1;
    for (arm, rate) in truth.iter().enumerate().skip(2) {
        if truth[best] < *rate {
            best = arm;
        }
    }
    best
}

/// How much worse an arm is than the best of these.
#[inline]
pub fn loss(rates: &[f64], arm: usize) -> f64 {
    rates.iter().copied().fold(0.0, f64::max) - rates[arm]
}

/// Whether a decision is for the best arm, or one of several, where these are the true rates.
pub fn is_right(decision: Decision, truth: &[f64]) -> bool {
    loss(truth, decision.arm) <= SAME
}

/// Whether a decision says that arms differ, or leaves the control, without a reason in the true rates.
pub fn is_false_alarm(decision: Decision, truth: &[f64]) -> bool {
    if decision.arm == 0 {
        // All others are said to be worse.
        return decision.differs && truth[1..].iter().any(|rate| truth[0] <= rate + SAME);
    }
    truth[decision.arm] <= truth[0] + SAME
}

/// A strategy with what all of its streams share.
#[derive(Clone, Debug)]
pub struct Prepared<'strategy> {
    strategy: &'strategy Strategy,
    rule: Rule,
}

impl<'strategy> Prepared<'strategy> {
    /// A valid strategy among so many arms, for streams of so many days.
    pub fn new(strategy: &'strategy Strategy, arms: usize, days: u32) -> Self {
        Self { strategy, rule: Rule::new(strategy, arms, days) }
    }

    /// Its strategy.
    pub(super) fn strategy(&self) -> &Strategy {
        self.strategy
    }

    /// A course that begins now.
    pub(super) fn begin<'run>(&'run self, stage: Stage<'run>, dice: Dice) -> Recorder<'run> {
        let Stage { truth, rates, end, users, segments } = stage;
        let arms = truth.len();
        let unit = self.strategy.unit(users.is_some());
        Recorder {
            strategy: self.strategy,
            unit,
            rule: &self.rule,
            truth,
            end,
            epochs: Epochs::new(rates, arms, segments, end),
            allocator: Allocator::new(self.strategy, arms, segments, dice),
            batch: self.strategy.batch,
            tallies: vec![Tally::default(); arms],
            seen: match (unit, users) {
                (Unit::User, Some(users)) => vec![Seen::default(); users as usize],
                _ => Vec::new(),
            },
            unlearnt: Vec::new(),
            batches: 0,
            looked: 0,
            ended: None,
            checkpoint: 0,
            regret: Vec::with_capacity(CHECKPOINTS),
            allocation: Vec::with_capacity(CHECKPOINTS * arms),
            shown: vec![0; arms],
            lost: 0.0,
            visits: 0,
            humans: 0,
            worse: 0,
        }
    }
}

/// Where a course takes place.
pub(super) struct Stage<'run> {
    /// The rate of each arm that a decision should go by.
    pub(super) truth: &'run [f64],
    /// By hour, segment and arm: the rate among humans. Rates that never change may be those of one hour.
    pub(super) rates: &'run [f64],
    /// When it ends.
    pub(super) end: SimTime,
    /// How many users there will be, if some come more than once.
    pub(super) users: Option<u64>,
    /// Of how many kinds they are.
    pub(super) segments: usize,
}

/// A visit that was given an arm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Given {
    pub(super) visitor: Visitor,
    pub(super) arm: usize,
    /// On which day.
    pub(super) day: usize,
    /// With which probability the arm was chosen.
    pub(super) probability: f64,
}

/// How a stream ended, at which look.
struct Ended {
    decision: Decision,
    at: SimTime,
    visits: u64,
    covers: Option<bool>,
    effects: Vec<Option<Effect>>,
    detected: [Option<f64>; Detector::ALL.len()],
}

/// A course on its way.
pub(super) struct Recorder<'run> {
    strategy: &'run Strategy,
    unit: Unit,
    rule: &'run Rule,
    truth: &'run [f64],
    end: SimTime,
    /// What is known by day and segment.
    epochs: Epochs<'run>,
    allocator: Allocator,
    batch: u64,
    /// What is known.
    tallies: Vec<Tally>,
    /// By user, where these are the unit.
    seen: Vec<Seen>,
    /// What is known, and the policy has not learnt yet.
    unlearnt: Vec<Lesson>,
    /// How many batches of visits it has learnt from.
    batches: u64,
    looked: usize,
    ended: Option<Ended>,
    checkpoint: usize,
    regret: Vec<f64>,
    allocation: Vec<f32>,
    /// Visits by arm since the last checkpoint.
    shown: Vec<u64>,
    lost: f64,
    visits: u64,
    humans: u64,
    worse: u64,
}

impl Recorder<'_> {
    /// When the strategy looks next, if that is not after this time.
    #[inline]
    pub(super) fn look_until(&self, at: SimTime) -> Option<SimTime> {
        self.rule.looks().get(self.looked).copied().filter(|look| *look <= at)
    }

    /// Takes the next look at what is known.
    pub(super) fn look(&mut self) {
        let (look, at) = (self.looked, self.rule.looks()[self.looked]);
        self.looked += 1;
        if self.ended.is_some() {
            return;
        }
        let Some(decision) = self.rule.decide(look, &self.tallies) else { return };
        let intervals = self.rule.intervals(look, &self.tallies);
        let covers = |(interval, rate): (&Option<Interval>, &f64)| {
            interval.map(|interval| interval.contains(rate - self.truth[0]))
        };
        // Of several, all must.
        let all: Option<Vec<bool>> = intervals.iter().zip(&self.truth[1..]).map(covers).collect();
        let covers = all.map(|all| all.into_iter().all(|covers| covers));
        let effects = (1..self.truth.len()).map(|arm| self.epochs.effect(arm)).collect();
        let (visits, detected) = (self.visits, self.detect());
        self.ended = Some(Ended { decision, at, visits, covers, effects, detected });
    }

    /// What each detector says that is asked.
    fn detect(&self) -> [Option<f64>; Detector::ALL.len()] {
        let (strategy, arm) = (self.strategy, contrast(self.truth));
        let [_, _, segments] = self.epochs.counts();
        Detector::ALL.map(|detector| {
            let asked = detector.refusal(strategy, self.unit, segments).is_none();
            asked.then(|| detector.p(strategy, &self.epochs, arm)).flatten()
        })
    }

    /// Comes to a time, and notes how things stood at each checkpoint until then.
    #[inline]
    pub(super) fn tell_until(&mut self, at: SimTime) {
        self.epochs.come_to(at);
        while self.checkpoint < CHECKPOINTS && evenly(self.end, self.checkpoint, CHECKPOINTS) <= at {
            self.regret.push(self.lost);
            let all: u64 = self.shown.iter().sum();
            self.allocation.extend(self.shown.iter().map(|shown| *shown as f32 / all.max(1) as f32));
            self.shown.fill(0);
            self.checkpoint += 1;
        }
    }

    /// The outcome of a visit becomes known.
    #[inline]
    pub(super) fn know(&mut self, given: &Given, success: bool) {
        let Given { visitor, arm, day, probability } = *given;
        let tally = &mut self.tallies[arm];
        if self.ended.is_some() {
            tally.add(success);
            return;
        }
        self.epochs.know(day, visitor.segment, arm, success);
        match self.seen.get_mut(visitor.user as usize) {
            Some(seen) => tally.add_of(seen, success),
            None => tally.add(success),
        }
        let outcome = Outcome { arm, reward: if success { 1.0 } else { 0.0 } };
        let lesson = Lesson { outcome, segment: visitor.segment, probability };
        if self.batch == 1 {
            self.allocator.observe(&lesson);
        } else {
            self.unlearnt.push(lesson);
        }
    }

    /// Gives a visitor the arm that it has `kept`, or one that it needs. `assignment` is a uniform number that is the user's own, for fixed
    /// shares. A kept arm goes with the probability with which it was chosen.
    #[inline]
    pub(super) fn choose(
        &mut self,
        visitor: Visitor,
        kept: Option<(usize, f64)>,
        assignment: impl FnOnce() -> f64,
    ) -> Given {
        let day = self.epochs.day();
        if let Some(ended) = &self.ended {
            return Given { visitor, arm: ended.decision.arm, day, probability: 1.0 };
        }
        if 1 < self.batch && self.batches < self.visits / self.batch {
            let Self { unlearnt, allocator, .. } = self;
            unlearnt.drain(..).for_each(|lesson| allocator.observe(&lesson));
            self.batches = self.visits / self.batch;
        }
        let (arm, probability) = kept.unwrap_or_else(|| {
            let chosen = self.allocator.choose(visitor.segment, assignment);
            self.epochs.assign(visitor.segment, chosen.0);
            chosen
        });
        Given { visitor, arm, day, probability }
    }

    /// A visit was shown its arm; of a human, something could be lost at it.
    #[inline]
    pub(super) fn shown(&mut self, given: &Given, human: bool) {
        let Given { visitor: Visitor { segment, .. }, arm, .. } = *given;
        self.visits += 1;
        self.shown[arm] += 1;
        if self.ended.is_none() {
            self.epochs.visit(segment, human);
        }
        if human {
            let loss = self.epochs.loss(segment, arm);
            self.lost += loss;
            self.humans += 1;
            self.worse += u64::from(SAME < loss);
        }
    }

    /// How many visits there were so far.
    #[inline]
    pub(super) fn visits(&self) -> u64 {
        self.visits
    }

    /// What became of it, at its end.
    pub(super) fn told(self) -> Course {
        assert_eq!(self.looked, self.rule.looks().len(), "the last look is at the end");
        assert_eq!(self.regret.len(), CHECKPOINTS, "the last checkpoint is at the end");
        let Ended { decision, at, visits, covers, effects, detected } =
            self.ended.expect("the last look decides");
        Course {
            regret: self.regret,
            allocation: self.allocation,
            decision,
            decided: at,
            visits_until: visits,
            visits: self.visits,
            successes: self.tallies.iter().map(|tally| tally.successes).sum(),
            humans: self.humans,
            worse: self.worse,
            right: is_right(decision, self.truth),
            false_alarm: is_false_alarm(decision, self.truth),
            covers,
            effects,
            detected,
        }
    }
}
