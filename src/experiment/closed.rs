//! One stream of users through one strategy, without any platform between them: visits, outcomes that become known later, looks, a decision.
//!
//! After the decision everybody gets the chosen arm until the stream ends: what a wrong one costs counts too.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::{Seed, SimTime};
use crate::experiment::allocation::Allocator;
use crate::experiment::stopping::{Decision, Rule, Tally};
use crate::experiment::strategy::Strategy;
use crate::experiment::users::{Population, User, Users};
use crate::statistics::bandit::Outcome;
use crate::statistics::dice::Dice;

/// At how many evenly spaced times a course is told.
pub const CHECKPOINTS: usize = 50;

/// Rates that differ by less are the same.
const SAME: f64 = 1e-12;

/// What became of one stream under one strategy.
#[derive(Clone, PartialEq, Debug)]
pub struct Course {
    /// By checkpoint: the pseudo-regret so far, Σ (the best arm's rate at that time − that of the arm shown) over visits of humans.
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
    /// How many visits of humans were shown an arm that was not the best at that time.
    pub worse: u64,
    /// Whether the chosen arm is the best, or one of several, by the truth.
    pub right: bool,
    /// Whether it said that arms differ, or left the control, without a reason in the truth.
    pub false_alarm: bool,
    /// Whether all of its intervals contain the truth; nothing if it could give none.
    pub covers: Option<bool>,
}

/// A strategy with what all of its streams share.
#[derive(Clone, Debug)]
pub struct Prepared<'strategy> {
    strategy: &'strategy Strategy,
    rule: Rule,
}

impl<'strategy> Prepared<'strategy> {
    /// A valid strategy for this population.
    pub fn new(strategy: &'strategy Strategy, population: &Population) -> Self {
        Self { strategy, rule: Rule::new(strategy, population.arms(), population.model().days) }
    }

    /// What becomes of the stream of users that a seed makes.
    pub fn course(&self, population: &Population, seed: Seed) -> Course {
        let dice = Dice::new(&mut seed.stream("experiment/allocation"));
        let mut stream = Stream {
            users: population.users(seed),
            population,
            rule: &self.rule,
            allocator: Allocator::new(self.strategy, population.arms(), dice),
            batch: self.strategy.batch,
            sticky: self.strategy.sticky,
            tallies: vec![Tally::default(); population.arms()],
            late: BinaryHeap::new(),
            unlearnt: Vec::new(),
            looked: 0,
            ended: None,
            checkpoint: 0,
            regret: Vec::with_capacity(CHECKPOINTS),
            allocation: Vec::with_capacity(CHECKPOINTS * population.arms()),
            shown: vec![0; population.arms()],
            lost: 0.0,
            visits: 0,
            worse: 0,
        };
        stream.run();
        stream.told()
    }
}

/// An outcome on its way: when it becomes known, in the order in which they were sent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    at: SimTime,
    visit: u64,
    arm: usize,
    success: bool,
    /// The bits of the probability with which the arm was chosen.
    probability: u64,
}

/// A user on its way back.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Return {
    at: SimTime,
    number: u64,
    visit: u32,
    arm: usize,
}

/// How a stream ended, at which look.
struct Ended {
    decision: Decision,
    at: SimTime,
    visits: u64,
    covers: Option<bool>,
}

struct Stream<'run> {
    users: Users<'run>,
    population: &'run Population,
    rule: &'run Rule,
    allocator: Allocator,
    batch: u64,
    sticky: bool,
    /// What is known.
    tallies: Vec<Tally>,
    late: BinaryHeap<Reverse<Late>>,
    /// What is known, and the policy has not learnt yet, with probabilities.
    unlearnt: Vec<(Outcome, f64)>,
    looked: usize,
    ended: Option<Ended>,
    checkpoint: usize,
    regret: Vec<f64>,
    allocation: Vec<f32>,
    /// Visits by arm since the last checkpoint.
    shown: Vec<u64>,
    lost: f64,
    visits: u64,
    worse: u64,
}

impl Stream<'_> {
    fn run(&mut self) {
        let mut returns: BinaryHeap<Reverse<Return>> = BinaryHeap::new();
        let count = self.population.count();
        let mut number = 0;
        let mut next = self.users.user(number);
        loop {
            let back = returns.peek().map(|Reverse(back)| back.at);
            let is_new = number < count && back.is_none_or(|back| next.first <= back);
            let (user, visit, at, arm) = if is_new {
                let user = next;
                number += 1;
                if number < count {
                    next = self.users.user(number);
                }
                (user, 0, user.first, None)
            } else {
                let Some(Reverse(back)) = returns.pop() else { break };
                (self.users.user(back.number), back.visit, back.at, Some(back.arm).filter(|_| self.sticky))
            };
            self.come_to(at);
            let arm = self.visit(&user, visit, at, arm);
            if let Some(again) = self.users.next_visit(&user, visit, at) {
                returns.push(Reverse(Return { at: again, number: user.number, visit: visit + 1, arm }));
            }
        }
        self.come_to(self.population.end());
        assert_eq!(self.looked, self.rule.looks().len(), "the last look is at the end");
        assert_eq!(self.regret.len(), CHECKPOINTS, "the last checkpoint is at the end");
    }

    /// Everything that happens until a time and is no visit.
    #[inline]
    fn come_to(&mut self, at: SimTime) {
        while self.looked < self.rule.looks().len() && self.rule.looks()[self.looked] <= at {
            self.look();
        }
        while self.checkpoint < CHECKPOINTS && self.checkpoint_at() <= at {
            self.tell();
        }
        self.mature(at);
    }

    fn checkpoint_at(&self) -> SimTime {
        let end = u128::from(self.population.end().as_nanos());
        SimTime::from_nanos((end * (self.checkpoint as u128 + 1) / CHECKPOINTS as u128) as u64)
    }

    fn tell(&mut self) {
        self.regret.push(self.lost);
        let all: u64 = self.shown.iter().sum();
        self.allocation.extend(self.shown.iter().map(|shown| *shown as f32 / all.max(1) as f32));
        self.shown.fill(0);
        self.checkpoint += 1;
    }

    fn look(&mut self) {
        let (look, at) = (self.looked, self.rule.looks()[self.looked]);
        self.looked += 1;
        if self.ended.is_some() {
            return;
        }
        self.mature(at);
        let Some(decision) = self.rule.decide(look, &self.tallies) else { return };
        let intervals = self.rule.intervals(look, &self.tallies);
        let truth = self.population.truth();
        let covers = |(interval, rate): (&Option<_>, &f64)| {
            interval.map(|interval: crate::statistics::Interval| interval.contains(rate - truth[0]))
        };
        // Of several, all must.
        let all: Option<Vec<bool>> = intervals.iter().zip(&truth[1..]).map(covers).collect();
        let covers = all.map(|all| all.into_iter().all(|covers| covers));
        self.ended = Some(Ended { decision, at, visits: self.visits, covers });
    }

    /// Outcomes that are known by now.
    #[inline]
    fn mature(&mut self, at: SimTime) {
        while self.late.peek().is_some_and(|Reverse(late)| late.at <= at) {
            let Some(Reverse(late)) = self.late.pop() else { return };
            self.know(late.arm, late.success, f64::from_bits(late.probability));
        }
    }

    #[inline]
    fn know(&mut self, arm: usize, success: bool, probability: f64) {
        let tally = &mut self.tallies[arm];
        tally.visits += 1;
        tally.successes += u64::from(success);
        if self.ended.is_some() {
            return;
        }
        let outcome = Outcome { arm, reward: if success { 1.0 } else { 0.0 } };
        if self.batch == 1 {
            self.allocator.observe(outcome, probability);
        } else {
            self.unlearnt.push((outcome, probability));
        }
    }

    /// A visit of a user who has this arm, or needs one; returns the arm.
    #[inline]
    fn visit(&mut self, user: &User, visit: u32, at: SimTime, arm: Option<usize>) -> usize {
        let (arm, probability) = match (&self.ended, arm) {
            (Some(ended), _) => (ended.decision.arm, 1.0),
            (None, Some(arm)) => (arm, 1.0),
            (None, None) => {
                if 1 < self.batch && self.visits.is_multiple_of(self.batch) {
                    let Self { unlearnt, allocator, .. } = self;
                    unlearnt
                        .drain(..)
                        .for_each(|(outcome, probability)| allocator.observe(outcome, probability));
                }
                self.allocator.choose(user)
            }
        };
        self.visits += 1;
        self.shown[arm] += 1;
        if !user.bot {
            let rates = self.population.rates_at(at);
            let loss = rates.iter().copied().fold(0.0, f64::max) - rates[arm];
            self.lost += loss;
            self.worse += u64::from(SAME < loss);
        }
        let response = self.users.response(user, visit, at, arm);
        if response.delay.is_zero() {
            self.know(arm, response.success, probability);
        } else {
            self.late.push(Reverse(Late {
                at: at + response.delay,
                visit: self.visits,
                arm,
                success: response.success,
                probability: probability.to_bits(),
            }));
        }
        arm
    }

    fn told(self) -> Course {
        let Ended { decision, at, visits, covers } = self.ended.expect("the last look decides");
        let truth = self.population.truth();
        let best = truth.iter().copied().fold(0.0, f64::max);
        let no_better = truth[decision.arm] <= truth[0] + SAME;
        let false_alarm = if decision.arm == 0 {
            // All others are said to be worse.
            decision.differs && truth[1..].iter().any(|rate| truth[0] <= rate + SAME)
        } else {
            no_better
        };
        Course {
            regret: self.regret,
            allocation: self.allocation,
            decision,
            decided: at,
            visits_until: visits,
            visits: self.visits,
            worse: self.worse,
            right: best <= truth[decision.arm] + SAME,
            false_alarm,
            covers,
        }
    }
}
