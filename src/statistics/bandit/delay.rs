//! When a policy learns of a reward. A lag and a batch of the same length are two things: a batch brings half of its rewards sooner.

use std::collections::VecDeque;

use crate::statistics::bandit::{Outcome, Policy};

/// How late rewards come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delay {
    /// All at once, after every so many of them: a job that runs at intervals. 1 is no delay.
    Batch(usize),
    /// Each one when so many later choices were made: rewards that take time. 0 is no delay.
    Lag(usize),
}

/// The rewards on their way to a policy.
#[derive(Clone, PartialEq, Debug)]
pub struct Feedback {
    delay: Delay,
    waiting: VecDeque<Outcome>,
}

impl Feedback {
    /// Nothing is on its way yet.
    pub fn new(delay: Delay) -> Self {
        Self { delay, waiting: VecDeque::new() }
    }

    /// How many rewards the policy does not know of yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sends a reward on its way; the policy learns what arrives.
    pub fn send(&mut self, outcome: Outcome, policy: &mut impl Policy) {
        self.waiting.push_back(outcome);
        match self.delay {
            Delay::Batch(size) if size <= self.waiting.len() => self.flush(policy),
            Delay::Batch(_) => {}
            Delay::Lag(steps) => {
                if steps < self.waiting.len()
                    && let Some(outcome) = self.waiting.pop_front()
                {
                    policy.observe(outcome);
                }
            }
        }
    }

    /// Lets all arrive that is on its way.
    pub fn flush(&mut self, policy: &mut impl Policy) {
        policy.observe_batch(self.waiting.make_contiguous());
        self.waiting.clear();
    }
}
