//! The largest of indices that are roots of equations, most of which need not be solved.
//!
//! The index of an arm is where a convex curve reaches the level ln t: the divergence n KL(m, x) of KL-UCB, the cumulative hazard −ln P(θ > x)
//! of Bayes-UCB, whose posterior is log-concave. A tangent to a convex curve lies below it, so that where the tangent reaches the level is never
//! below the index, now and later. A choice is decided by whether the arm with the largest such bound reaches the second largest. That the curve
//! at its tangent's place and what bounds its bend mostly tell; else the curve is computed there, which gives a nearer tangent. The tail of a
//! posterior is followed from reward to reward, as it costs much to compute.

use crate::statistics::bandit::thompson::BetaPrior;
use crate::statistics::bandit::{Arm, Arms, Memory, Outcome, bayes_ucb, kl_ucb};
use crate::statistics::beta::Tail;

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
        Line::of(self).bound(level)
    }
}

/// A tangent as what bounds are made of.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Line {
    /// The bound at level 0.
    start: f64,
    run: f64,
}

impl Line {
    /// That of an arm that cannot be chosen.
    const NONE: Self = Self { start: f64::NEG_INFINITY, run: 0.0 };

    #[inline]
    fn of(tangent: &Tangent) -> Self {
        Self { start: tangent.x - tangent.level * tangent.run, run: tangent.run }
    }

    #[inline]
    fn bound(&self, level: f64) -> f64 {
        self.start + level * self.run
    }
}

/// The tangents of all arms.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Tangents {
    curve: Curve,
    lines: Vec<Line>,
    arms: Vec<Known>,
    /// Which arms have changed since their lines were drawn, removed ones perhaps among them.
    changed: Vec<usize>,
}

/// What is known of the curve of an arm.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Known {
    /// The latest tangent.
    tangent: Option<Tangent>,
    /// About where the index may be, if anything is known.
    guess: Option<f64>,
    /// Of a posterior, the tail at the latest place, and with the latest reward.
    tail: Option<Tail>,
    /// The pulls and rewards of the arm when its line was drawn first.
    of: (f64, f64),
}

impl Tangents {
    /// Nothing is known of so many arms.
    pub(super) fn new(curve: Curve, count: usize) -> Self {
        let (lines, arms) = (vec![Line::NONE; count], vec![Known::default(); count]);
        Self { curve, lines, arms, changed: (0..count).collect() }
    }

    /// The available arm with the largest index, the first of those that are alike.
    ///
    /// # Panics
    /// If no arm is available.
    pub(super) fn best(&mut self, arms: &Arms) -> usize {
        let t = arms.pulls();
        let level = libm::log(t.max(1.0));
        let unseen = |index: &usize| arms.all()[*index].pulls <= 0.0 && !arms.all()[*index].removed;
        if let Some(first) = self.changed.iter().copied().filter(unseen).min() {
            return first;
        }
        if level <= 0.0 {
            return arms.best_by(|_, arm| self.curve.index(arm, t));
        }
        while let Some(index) = self.changed.pop() {
            let arm = &arms.all()[index];
            if !arm.removed {
                let tangent = self.curve.touch_near(arm, t, level, &mut self.arms[index]);
                self.arms[index].of = (arm.pulls, arm.rewards);
                self.draw(index, tangent);
            }
        }
        loop {
            let (first, _, second) = two_largest(self.lines.iter().map(|line| line.bound(level)));
            assert!(first < self.arms.len(), "there is no arm to choose");
            let (arm, known) = (&arms.all()[first], &mut self.arms[first]);
            // Whether the index of the first reaches the bound of the second, and with it all others.
            if second == f64::NEG_INFINITY || self.curve.surely_passes(arm, known, second, t, level) {
                return first;
            }
            let Some(touched) = self.curve.touch(arm, known, second) else {
                return self.best_from(f64::NEG_INFINITY, arms, level);
            };
            if (touched.level - level).abs() <= NEAR * level {
                return self.best_from(second - 4.0 * NEAR * level * touched.run, arms, level);
            }
            self.draw(first, touched);
            if touched.level < level {
                return first;
            }
        }
    }

    /// The arm with the largest index, where that is known not to be below a place, by the indices themselves. Arms of which the same is known
    /// have the same index: those are mostly what comes that near.
    fn best_from(&self, place: f64, arms: &Arms, level: f64) -> usize {
        let candidate = |index: usize| place <= self.lines[index].bound(level);
        let known = |arm: &Arm| (arm.pulls, arm.rewards);
        let mut all = arms.all().iter().enumerate().filter(|(index, arm)| !arm.removed && candidate(*index));
        let (first, one) = all.next().expect("there is an arm to choose");
        if all.all(|(_, arm)| known(arm) == known(one)) {
            return first;
        }
        let mut latest = None;
        arms.best_by(|index, arm| match latest {
            _ if !candidate(index) => f64::NEG_INFINITY,
            Some((same, found)) if same == known(arm) => found,
            _ => {
                let found = self.curve.index(arm, arms.pulls());
                latest = Some((known(arm), found));
                found
            }
        })
    }

    fn draw(&mut self, index: usize, tangent: Tangent) {
        self.arms[index].tangent = Some(tangent);
        self.lines[index] = Line::of(&tangent);
    }

    /// Takes into account that an arm got a reward; with a memory that fades, others may have changed too.
    pub(super) fn observe(&mut self, outcome: Outcome, arms: &Arms, memory: Memory) {
        let observed = &mut self.arms[outcome.arm];
        if let Some(tail) = &mut observed.tail
            && !tail.learn(outcome.reward)
        {
            observed.tail = None;
        }
        let affected = match memory {
            Memory::Full => outcome.arm..outcome.arm + 1,
            Memory::Discounted { .. } | Memory::Window { .. } => 0..self.arms.len(),
        };
        for index in affected {
            let (arm, known) = (&arms.all()[index], &mut self.arms[index]);
            if arm.removed || known.of == (arm.pulls, arm.rewards) {
                // The reward replaced an equal one: the tail has learnt what the arm has not.
                if index == outcome.arm {
                    known.tail = None;
                }
                continue;
            }
            if let Some(tangent) = known.tangent.take() {
                // The mean moves, and the index comes nearer to it.
                let nearer = tangent.x - 0.5 * (tangent.x - arm.mean()) / arm.pulls.max(1.0);
                let guess = if index == outcome.arm { nearer } else { tangent.x };
                known.guess = Some(known.tail.as_ref().map_or(guess, |tail| tail.x));
            }
            if !self.changed.contains(&index) {
                self.changed.push(index);
            }
        }
    }

    /// Adds an arm of which nothing is known.
    pub(super) fn add(&mut self) {
        self.changed.push(self.arms.len());
        self.arms.push(Known::default());
        self.lines.push(Line::NONE);
    }

    /// Forgets an arm.
    pub(super) fn remove(&mut self, index: usize) {
        self.arms[index] = Known::default();
        self.lines[index] = Line::NONE;
    }
}

/// Which number is the largest, the first of those that are alike; this number, and the largest of the others: −∞ if there are none.
#[inline]
pub(super) fn two_largest(numbers: impl Iterator<Item = f64>) -> (usize, f64, f64) {
    let (mut first, mut largest, mut second) = (usize::MAX, f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (index, number) in numbers.enumerate() {
        // Without a branch: which of these is larger cannot be foretold.
        let lower = if largest < number { largest } else { number };
        second = if second < lower { lower } else { second };
        first = if largest < number { index } else { first };
        largest = if largest < number { number } else { largest };
    }
    (first, largest, second)
}

impl Curve {
    fn index(self, arm: &Arm, t: f64) -> f64 {
        match self {
            Self::Divergence => kl_ucb::index(arm, t),
            Self::Hazard if arm.pulls <= 0.0 => f64::INFINITY,
            Self::Hazard => bayes_ucb::index(arm, BetaPrior::FLAT, t),
        }
    }

    /// Whether the index is surely above a place, as far as that can be told from the latest tangent.
    fn surely_passes(self, arm: &Arm, known: &Known, x: f64, t: f64, level: f64) -> bool {
        match self {
            Self::Divergence => {
                let below = |tangent| kl_ucb::level_at_most(arm, tangent, x) < (1.0 - NEAR) * level;
                x <= arm.mean() || known.tangent.as_ref().is_some_and(below)
            }
            // The level of a place is −ln P(θ > x), and e to the level t.
            Self::Hazard => {
                known.tail.is_some_and(|tail| 1.0 + 2.0 * NEAR * level < t * tail.above_at_least(x))
            }
        }
    }

    /// The tangent at a place; none where the curve has none, or no number.
    fn touch(self, arm: &Arm, known: &mut Known, x: f64) -> Option<Tangent> {
        let tangent = match self {
            Self::Divergence => kl_ucb::tangent(arm, x),
            Self::Hazard => bayes_ucb::tangent(arm, &mut known.tail, x),
        };
        tangent.filter(|tangent| tangent.level.is_finite() && tangent.run.is_finite())
    }

    /// A tangent near the index: at the guess, or at the index itself. There is none only where the index is 1, which it then never exceeds.
    fn touch_near(self, arm: &Arm, t: f64, level: f64, known: &mut Known) -> Tangent {
        let near = known.guess.and_then(|guess| self.touch(arm, known, guess));
        near.filter(|near| near.bound(level) < 1.0).unwrap_or_else(|| {
            let index = self.index(arm, t);
            self.touch(arm, known, index).unwrap_or(Tangent { x: 1.0, level, run: 0.0 })
        })
    }
}
