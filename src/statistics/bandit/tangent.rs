//! The largest of indices that are roots of equations, most of which need not be solved.
//!
//! The index of an arm is where a convex curve reaches the level ln t: the divergence n KL(m, x) of KL-UCB, the cumulative hazard −ln P(θ > x)
//! of Bayes-UCB, whose posterior is log-concave. A tangent to a convex curve lies below it, so that where the tangent reaches the level is never
//! below the index, now and later. One point of the curve then decides a choice, mostly: whether the arm with the largest such bound reaches
//! the second largest.

use crate::statistics::bandit::thompson::BetaPrior;
use crate::statistics::bandit::{Arm, Arms, Memory, bayes_ucb, kl_ucb};

/// A level this near, in parts of it, may be a tie: rounding is far below it.
const NEAR: f64 = 1e-9;

/// The curve whose levels are an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Curve {
    /// Of [`kl_ucb::index`].
    Divergence,
    /// Of [`bayes_ucb::index`], under a flat prior.
    Hazard,
}

/// A line that touches a curve.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Tangent {
    /// Where it does.
    pub(super) x: f64,
    /// The height of the curve there.
    pub(super) level: f64,
    /// By how much x grows with the level.
    pub(super) run: f64,
}

impl Tangent {
    /// What the index at a level does not exceed.
    fn bound(&self, level: f64) -> f64 {
        self.x + (level - self.level) * self.run
    }
}

/// The tangents of all arms.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Tangents {
    curve: Curve,
    arms: Vec<Known>,
}

/// What is known of the curve of an arm.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Known {
    /// A tangent, if the arm has not changed since.
    tangent: Option<Tangent>,
    /// About where the index may be, if anything is known.
    guess: Option<f64>,
}

impl Tangents {
    /// Nothing is known of so many arms.
    pub(super) fn new(curve: Curve, count: usize) -> Self {
        Self { curve, arms: vec![Known::default(); count] }
    }

    /// The available arm with the largest index, the first of those that are alike.
    ///
    /// # Panics
    /// If no arm is available.
    pub(super) fn best(&mut self, arms: &Arms) -> usize {
        let t = arms.pulls();
        let level = libm::log(t.max(1.0));
        let unseen = arms.all().iter().position(|arm| arm.pulls <= 0.0 && !arm.removed);
        if let Some(first) = unseen {
            return first;
        }
        if level <= 0.0 {
            return arms.best_by(|_, arm| self.curve.index(arm, t));
        }
        for (known, arm) in self.arms.iter_mut().zip(arms.all()) {
            if !arm.removed && known.tangent.is_none() {
                known.tangent = Some(self.curve.touch_near(arm, t, level, known.guess));
            }
        }
        loop {
            let (first, second) = self.two_largest(level);
            let first = first.expect("there is no arm to choose");
            let Some(second) = second else { return first };
            let arm = &arms.all()[first];
            if self.curve == Curve::Divergence && second <= arm.mean() {
                return first;
            }
            // Whether the index of the first reaches the bound of the second, and with it all others.
            let Some(touched) = self.curve.touch(arm, second) else {
                return arms.best_by(|_, arm| self.curve.index(arm, t));
            };
            if (touched.level - level).abs() <= NEAR * level {
                return arms.best_by(|_, arm| self.curve.index(arm, t));
            }
            self.arms[first].tangent = Some(touched);
            if touched.level < level {
                return first;
            }
        }
    }

    /// The arm with the largest bound, and the largest bound of the others.
    fn two_largest(&self, level: f64) -> (Option<usize>, Option<f64>) {
        let (mut first, mut largest, mut second) = (None, f64::NEG_INFINITY, None);
        for (index, known) in self.arms.iter().enumerate() {
            let Some(tangent) = &known.tangent else { continue };
            let bound = tangent.bound(level);
            if largest < bound || first.is_none() {
                second = first.map(|_| largest);
                (first, largest) = (Some(index), bound);
            } else if second.is_none_or(|second| second < bound) {
                second = Some(bound);
            }
        }
        (first, second)
    }

    /// Takes into account that an arm got a reward; with a memory that fades, all have changed.
    pub(super) fn observe(&mut self, index: usize, arms: &Arms, memory: Memory) {
        let (arm, known) = (&arms.all()[index], &mut self.arms[index]);
        if let Some(tangent) = known.tangent.take() {
            // The mean moves, and the index comes nearer to it.
            known.guess = Some(tangent.x - 0.5 * (tangent.x - arm.mean()) / arm.pulls.max(1.0));
        }
        if memory != Memory::Full {
            for known in &mut self.arms {
                known.guess = known.tangent.take().map(|tangent| tangent.x).or(known.guess);
            }
        }
    }

    /// Adds an arm of which nothing is known.
    pub(super) fn add(&mut self) {
        self.arms.push(Known::default());
    }

    /// Forgets an arm.
    pub(super) fn remove(&mut self, index: usize) {
        self.arms[index] = Known::default();
    }
}

impl Curve {
    fn index(self, arm: &Arm, t: f64) -> f64 {
        match self {
            Self::Divergence => kl_ucb::index(arm, t),
            Self::Hazard if arm.pulls <= 0.0 => f64::INFINITY,
            Self::Hazard => bayes_ucb::index(arm, BetaPrior::FLAT, t),
        }
    }

    /// The tangent at a place; none where the curve has none, or no number.
    fn touch(self, arm: &Arm, x: f64) -> Option<Tangent> {
        let tangent = match self {
            Self::Divergence => kl_ucb::tangent(arm, x),
            Self::Hazard => bayes_ucb::tangent(arm, x),
        };
        tangent.filter(|tangent| tangent.level.is_finite() && tangent.run.is_finite())
    }

    /// A tangent near the index: at the guess, or at the index itself. There is none only where the index is 1, which it then never exceeds.
    fn touch_near(self, arm: &Arm, t: f64, level: f64, guess: Option<f64>) -> Tangent {
        let near = guess.and_then(|guess| self.touch(arm, guess)).filter(|near| near.bound(level) < 1.0);
        near.unwrap_or_else(|| {
            let index = self.index(arm, t);
            self.touch(arm, index).unwrap_or(Tangent { x: 1.0, level, run: 0.0 })
        })
    }
}
