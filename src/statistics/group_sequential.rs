//! Tests with a planned number of looks: boundaries that keep the error of all looks together, and what that error is without them.
//!
//! The estimate, scaled by its information, is a Brownian motion W with drift θ looked at when a share t of the information is in. What is
//! left of its density between the boundaries is carried from look to look by numerical integration: Armitage, McPherson and Rowe, "Repeated
//! significance tests on accumulating data" (1969). Controls the false alarm over the planned looks, and says nothing of others.

use std::f64::consts::PI;
use std::ops::Range;

use crate::statistics::quadrature::Rule;
use crate::statistics::{normal, root};

/// How many nodes each panel has.
const NODES: usize = 8;

/// How wide a panel is, in standard deviations of the narrowest step beside it: with 8 nodes to 1.5 the error is some 10⁻¹¹.
const PANEL: f64 = 1.5;

/// Beyond so many standard deviations there is nothing.
const REACH: f64 = 8.0;

/// To what part a constant is found, and in how many steps at most: it takes eight.
const PRECISION: f64 = 1e-9;
const STEPS: u32 = 30;

/// What differs by such a part is the same but for rounding.
const ALIKE: f64 = 1e-9;

/// Less than this is nothing to spend: its boundary is where the normal distribution has no number left.
const SPENT_MIN: f64 = 1e-300;

/// A boundary below which there is everything.
const BOUND_MIN: f64 = -38.0;

/// On which sides there is a boundary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sides {
    /// Above alone.
    One,
    /// Above and, as far, below.
    Two,
}

/// How much of α is spent until a share t of the information is in: Lan and DeMets, "Discrete sequential boundaries for clinical trials" (1983).
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Spending {
    /// α t^φ, of Kim and DeMets (1987).
    Power(f64),
    /// Much like O'Brien and Fleming: 2 − 2Φ(z₁₋α/₂ / √t).
    OBrienFleming,
    /// Much like Pocock: α ln(1 + (e − 1) t).
    Pocock,
}

impl Spending {
    /// What is spent of `alpha` until `time`; 0 before the beginning, all from 1 on.
    pub fn spent(self, alpha: f64, time: f64) -> f64 {
        if time <= 0.0 {
            return 0.0;
        }
        if 1.0 <= time {
            return alpha;
        }
        match self {
            Self::Power(exponent) => alpha * libm::pow(time, exponent),
            Self::OBrienFleming => 2.0 * normal::cdf(normal::quantile(0.5 * alpha) / time.sqrt()),
            Self::Pocock => alpha * libm::log1p((std::f64::consts::E - 1.0) * time),
        }
    }
}

/// The boundaries on z at each look that spend α as planned; the looks need not be equally far apart, nor known beforehand. With two sides
/// each spends half, and a path that crossed either is out. Infinite where nothing is spent.
///
/// # Panics
/// Unless the times ascend from above 0 and α lies between 0 and 1.
pub fn spending_bounds(times: &[f64], alpha: f64, sides: Sides, spending: Spending) -> Vec<f64> {
    assert!(0.0 < alpha && alpha < 1.0, "a probability, not {alpha}");
    let share = if sides == Sides::Two { 0.5 } else { 1.0 };
    let mut walk = Walk::new(times, sides, 0.0);
    let mut bounds = Vec::with_capacity(times.len());
    let mut spent = 0.0;
    for time in times {
        let until = spending.spent(share * alpha, *time);
        let tail = until - spent;
        let bound = if SPENT_MIN < tail {
            // Some paths are out already, so that the boundary is no higher than that of one look.
            let high = -normal::quantile(tail);
            let planned = libm::log(tail);
            root::crossing(BOUND_MIN, high, |bound| planned - libm::log(walk.above(bound)))
        } else {
            f64::INFINITY
        };
        spent = until;
        bounds.push(bound);
        walk.advance(bound);
    }
    bounds
}

/// The probability of crossing first at each look, if the drift is θ: at the last look z has the mean θ. With no drift their sum is the
/// error of all looks, with one it is the power.
///
/// # Panics
/// Unless there are as many boundaries as times, and the times ascend from above 0.
pub fn crossing_probabilities(times: &[f64], bounds: &[f64], sides: Sides, drift: f64) -> Vec<f64> {
    assert_eq!(times.len(), bounds.len(), "a boundary for each look");
    let mut walk = Walk::new(times, sides, drift);
    let mut probabilities = Vec::with_capacity(times.len());
    for bound in bounds {
        let below = if sides == Sides::Two { walk.below(-bound) } else { 0.0 };
        probabilities.push(walk.above(*bound) + below);
        walk.advance(*bound);
    }
    probabilities
}

/// The probability that |z| exceeds a bound at any of so many equally spaced looks, though there is no effect: what peeking costs. 0 of no
/// look.
pub fn family_wise_error(looks: usize, bound: f64) -> f64 {
    crossing_probabilities(&equally_spaced(looks), &vec![bound; looks], Sides::Two, 0.0).iter().sum()
}

/// Pocock's constant: |z| above it at any of so many equally spaced looks has probability α ("Group sequential methods in the design and
/// analysis of clinical trials", 1977).
///
/// # Panics
/// If there is no look, or unless α lies between 0 and 1.
pub fn pocock(looks: usize, alpha: f64) -> f64 {
    constant(looks, alpha, |_| 1.0)
}

/// O'Brien and Fleming's constant C ("A multiple testing procedure for clinical trials", 1979): |z| above C √(k/j) at any look j of k equally
/// spaced ones has probability α. C is the boundary of the last look.
///
/// # Panics
/// If there is no look, or unless α lies between 0 and 1.
pub fn obrien_fleming(looks: usize, alpha: f64) -> f64 {
    constant(looks, alpha, |time| 1.0 / time.sqrt())
}

fn constant(looks: usize, alpha: f64, shape: impl Fn(f64) -> f64) -> f64 {
    assert!(0 < looks, "a test has looks");
    assert!(0.0 < alpha && alpha < 1.0, "a probability, not {alpha}");
    let times = equally_spaced(looks);
    // Between what one look needs and what Bonferroni's inequality asks for.
    let (low, high) = (-normal::quantile(0.5 * alpha), -normal::quantile(0.5 * alpha / looks as f64));
    // By the secant method: each step costs a whole recursion, and the logarithm of the error is nearly straight.
    let excess = |constant: f64| {
        let bounds: Vec<f64> = times.iter().map(|time| constant * shape(*time)).collect();
        let error: f64 = crossing_probabilities(&times, &bounds, Sides::Two, 0.0).iter().sum();
        libm::log(error / alpha)
    };
    let (mut before, mut now) = (low, high);
    let mut excess_before = excess(before);
    for _ in 0..STEPS {
        if (now - before).abs() <= PRECISION * now {
            break;
        }
        let excess_now = excess(now);
        let next = now - excess_now * (now - before) / (excess_now - excess_before);
        (before, excess_before, now) = (now, excess_now, next.clamp(low, high));
    }
    now
}

fn equally_spaced(looks: usize) -> Vec<f64> {
    (1..=looks).map(|look| look as f64 / looks as f64).collect()
}

/// What is left of the paths that crossed no boundary yet.
struct Walk<'times> {
    rule: Rule,
    times: &'times [f64],
    sides: Sides,
    drift: f64,
    /// How many looks are behind.
    behind: usize,
    /// Where the paths were at the last look.
    grid: Grid,
    /// How they went on from there.
    kernel: Kernel,
}

/// Places, ascending, in panels that begin at multiples of their width. Of those at the ends only a part lies between the boundaries: the
/// others are whole.
#[derive(Default)]
struct Grid {
    panel: f64,
    /// The number of the first whole panel, and which places are in whole ones.
    first: i64,
    whole: Range<usize>,
    places: Vec<f64>,
    /// How many paths are at each place, with the weight of the integral.
    masses: Vec<f64>,
}

impl Grid {
    /// The places between two limits; the masses are the weights of the integral.
    fn new(rule: &Rule, (low, high): (f64, f64), panel: f64) -> Self {
        let (from, until) = ((low / panel).floor() as i64, (high / panel).ceil() as i64);
        let mut grid = Self { panel, ..Self::default() };
        for number in from..until {
            let (start, end) = (number as f64 * panel, (number + 1) as f64 * panel);
            if low <= start && end <= high {
                if grid.whole.is_empty() {
                    (grid.first, grid.whole.start) = (number, grid.places.len());
                }
                grid.whole.end = grid.places.len() + NODES;
            }
            let (start, end) = (start.max(low), end.min(high));
            let (centre, half) = (0.5 * (start + end), 0.5 * (end - start).max(0.0));
            grid.places.extend(rule.nodes.iter().map(|node| centre + half * node));
            grid.masses.extend(rule.weights.iter().map(|weight| half * weight));
        }
        grid
    }

    /// The whole panels: the number of the first one after them.
    fn end(&self) -> i64 {
        self.first + (self.whole.len() / NODES) as i64
    }

    /// Σ m e^(−z²/2) over some of the places from which a step leads to `place`.
    fn density(&self, part: Range<usize>, place: f64, deviation: f64) -> f64 {
        let (places, masses) = (&self.places[part.clone()], &self.masses[part]);
        let first = places.partition_point(|from| *from < place - REACH * deviation);
        let mut sum = 0.0;
        for (from, mass) in places[first..].iter().zip(&masses[first..]) {
            let z = (place - from) / deviation;
            if z < -REACH {
                break;
            }
            sum += mass * libm::exp(-0.5 * z * z);
        }
        sum
    }
}

/// e^(−z²/2) of a step from each node of a whole panel to each node of another, by how many panels lie between: equally spaced looks have
/// nearly all of their steps in common.
#[derive(Default)]
struct Kernel {
    deviation: f64,
    mean: f64,
    panel: f64,
    /// How many panels a step can reach; the blocks begin with so many back.
    reach: i64,
    blocks: Vec<[[f64; NODES]; NODES]>,
}

impl Kernel {
    fn new(rule: &Rule, (deviation, mean): (f64, f64), panel: f64) -> Self {
        let reach = ((REACH * deviation + mean.abs()) / panel).ceil() as i64 + 1;
        let block = |panels: i64| {
            let mut block = [[0.0; NODES]; NODES];
            for (row, from) in block.iter_mut().zip(&rule.nodes) {
                for (cell, to) in row.iter_mut().zip(&rule.nodes) {
                    let z = (panel * (panels as f64 + 0.5 * (to - from)) - mean) / deviation;
                    *cell = libm::exp(-0.5 * z * z);
                }
            }
            block
        };
        Self { deviation, mean, panel, reach, blocks: (-reach..=reach).map(block).collect() }
    }

    fn is_of(&self, (deviation, mean): (f64, f64), panel: f64) -> bool {
        let near = |one: f64, other: f64| (one - other).abs() <= ALIKE * deviation;
        panel == self.panel && near(deviation, self.deviation) && near(mean, self.mean)
    }

    /// Adds, at the nodes of the whole panel `number`, what comes from the whole panels of a grid.
    fn carry(&self, from: &Grid, number: i64, sums: &mut [f64]) {
        for source in from.first.max(number - self.reach)..from.end().min(number + self.reach + 1) {
            let block = &self.blocks[(number - source + self.reach) as usize];
            let start = from.whole.start + (source - from.first) as usize * NODES;
            for (mass, row) in from.masses[start..start + NODES].iter().zip(block) {
                for (sum, density) in sums.iter_mut().zip(row) {
                    *sum += mass * density;
                }
            }
        }
    }
}

impl<'times> Walk<'times> {
    fn new(times: &'times [f64], sides: Sides, drift: f64) -> Self {
        assert!(times.first().is_none_or(|first| 0.0 < *first), "information before the first look");
        assert!(times.is_sorted_by(|one, other| one < other), "looks one after the other");
        let grid = Grid { places: vec![0.0], masses: vec![1.0], ..Grid::default() };
        Self { rule: Rule::new(NODES), times, sides, drift, behind: 0, grid, kernel: Kernel::default() }
    }

    /// The standard deviation and the mean of the step to a look.
    fn step(&self, look: usize) -> (f64, f64) {
        let before = if look == 0 { 0.0 } else { self.times[look - 1] };
        let information = self.times[look] - before;
        (information.sqrt(), self.drift * information)
    }

    /// The probability to be above a boundary on z at the next look, of those paths that are left.
    fn above(&self, bound: f64) -> f64 {
        let (deviation, mean) = self.step(self.behind);
        let limit = bound * self.times[self.behind].sqrt();
        let first = self.grid.places.partition_point(|place| (place + mean - limit) / deviation < -REACH);
        self.sum_of(first..self.grid.places.len(), |place| normal::cdf((place + mean - limit) / deviation))
    }

    fn below(&self, bound: f64) -> f64 {
        let (deviation, mean) = self.step(self.behind);
        let limit = bound * self.times[self.behind].sqrt();
        let end = self.grid.places.partition_point(|place| (place + mean - limit) / deviation <= REACH);
        self.sum_of(0..end, |place| normal::cdf((limit - place - mean) / deviation))
    }

    fn sum_of(&self, part: Range<usize>, of: impl Fn(f64) -> f64) -> f64 {
        let places = self.grid.places[part.clone()].iter().zip(&self.grid.masses[part]);
        places.map(|(place, mass)| mass * of(*place)).sum()
    }

    /// Goes on to the next look, without the paths that crossed there.
    fn advance(&mut self, bound: f64) {
        let step = self.step(self.behind);
        let root = self.times[self.behind].sqrt();
        let middle = self.drift * self.times[self.behind];
        let reach = REACH * root;
        let high = (bound * root).min(middle + reach);
        let low = if self.sides == Sides::Two { (-bound * root).max(middle - reach) } else { middle - reach };
        self.behind += 1;
        if high <= low || self.behind == self.times.len() {
            self.grid = Grid::default();
            return;
        }
        let finest = PANEL * step.0.min(self.step(self.behind).0);
        let kept = (finest - self.grid.panel).abs() <= ALIKE * finest;
        let panel = if kept { self.grid.panel } else { finest };
        let mut grid = Grid::new(&self.rule, (low, high), panel);
        let densities = self.densities(&grid, step);
        grid.masses.iter_mut().zip(densities).for_each(|(mass, density)| *mass *= density);
        self.grid = grid;
    }

    /// The density of paths at the places of the next grid.
    fn densities(&mut self, next: &Grid, step: (f64, f64)) -> Vec<f64> {
        let (deviation, mean) = step;
        let (from, all) = (&self.grid, 0..self.grid.places.len());
        let in_common = from.panel == next.panel && !from.whole.is_empty();
        if in_common && !self.kernel.is_of(step, next.panel) {
            self.kernel = Kernel::new(&self.rule, step, next.panel);
        }
        let direct =
            |index: usize, part: Range<usize>| from.density(part, next.places[index] - mean, deviation);
        let whole = if in_common { next.whole.clone() } else { 0..0 };
        let mut sums: Vec<f64> = (0..next.places.len())
            .map(|index| match whole.contains(&index) {
                true => direct(index, 0..from.whole.start) + direct(index, from.whole.end..all.end),
                false => direct(index, all.clone()),
            })
            .collect();
        for (number, sums) in (next.first..).zip(sums[whole].chunks_exact_mut(NODES)) {
            self.kernel.carry(from, number, sums);
        }
        let scale = 1.0 / (deviation * (2.0 * PI).sqrt());
        sums.iter_mut().for_each(|sum| *sum *= scale);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn the_constants_are_those_of_jennison_and_turnbull() {
        // "Group sequential methods" (2000), tables 2.1 and 2.3, α = 0.05, to three decimals.
        for (looks, of_pocock, of_obrien) in [(1, 1.960, 1.960), (5, 2.413, 2.040), (20, 2.672, 2.126)] {
            assert!((pocock(looks, 0.05) - of_pocock).abs() < 6e-4, "{looks}: {}", pocock(looks, 0.05));
            assert!((obrien_fleming(looks, 0.05) - of_obrien).abs() < 6e-4, "{looks}");
        }
        assert_eq!(family_wise_error(0, 1.96), 0.0);
    }

    #[test]
    fn spending_bounds_are_those_of_lan_and_demets() {
        // gsDesign(k = 5, test.type = 2, alpha = .025, sfu = sfLDOF and sfLDPocock), and ldbounds.
        let times = equally_spaced(5);
        for (spending, expected) in [
            (Spending::OBrienFleming, [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
            (Spending::Pocock, [2.4380, 2.4268, 2.4102, 2.3966, 2.3860]),
        ] {
            let found = spending_bounds(&times, 0.05, Sides::Two, spending);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{spending:?}: {found} is not {expected}");
            }
        }
    }

    #[test]
    fn what_equal_steps_have_in_common_changes_nothing() {
        let equal = equally_spaced(40);
        // Each step differs from the one before, so that none is taken for another.
        let uneven: Vec<f64> = equal.iter().map(|time| time * (1.0 - 1e-7 * (1.0 - time))).collect();
        for (sides, drift) in [(Sides::Two, 0.0), (Sides::One, 0.0), (Sides::Two, 2.5), (Sides::One, -1.0)] {
            let bounds: Vec<f64> = equal.iter().map(|time| 2.1 + 0.4 * (1.0 - time)).collect();
            let [found, expected] =
                [&equal, &uneven].map(|times| crossing_probabilities(times, &bounds, sides, drift));
            for (look, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!((found - expected).abs() < 1e-7, "{sides:?} {drift} {look}: {found} {expected}");
            }
        }
        // The errors of each step do not add up: what is neither out nor in is everywhere.
        let in_and_out = |bound: f64| {
            let times = equally_spaced(200);
            let mut walk = Walk::new(&times, Sides::Two, 0.0);
            let mut out = 0.0;
            for _ in 1..times.len() {
                out += walk.above(bound) + walk.below(-bound);
                walk.advance(bound);
            }
            out + walk.grid.masses.iter().sum::<f64>()
        };
        for bound in [1.0, 2.8, 5.0] {
            assert!((in_and_out(bound) - 1.0).abs() < 1e-9, "{bound}: {}", in_and_out(bound));
        }
    }

    #[test]
    fn the_recursion_agrees_with_a_double_integral_and_peeking_costs_what_was_measured() {
        let rule = Rule::new(64);
        for bound in [0.5, 1.96, 4.0] {
            let wide = bound * 2f64.sqrt();
            let inside = rule.integral(-bound, bound, |z| {
                let stays = normal::cdf(wide - z) - normal::cdf(-wide - z);
                libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt() * stays
            });
            assert!((family_wise_error(2, bound) - (1.0 - inside)).abs() < 1e-11, "{bound}");
        }
        // 32.8 % of 4,000 streams of proportions, at sixty daily looks.
        let peeking = family_wise_error(60, 1.959964);
        assert!((0.32..0.34).contains(&peeking), "{peeking}");
    }

    #[test]
    fn boundaries_spend_what_was_planned_also_at_unequal_looks() {
        let times = [0.05, 0.06, 0.5, 0.9, 0.901, 1.0];
        for spending in [Spending::Power(3.0), Spending::OBrienFleming, Spending::Pocock] {
            for (sides, share) in [(Sides::One, 1.0), (Sides::Two, 0.5)] {
                let bounds = spending_bounds(&times, 0.05, sides, spending);
                let found = crossing_probabilities(&times, &bounds, sides, 0.0);
                let mut sum = 0.0;
                for (time, probability) in times.iter().zip(found) {
                    sum += probability;
                    // Each side spends its half, and the function need not be linear in α.
                    let planned = spending.spent(share * 0.05, *time) / share;
                    assert!((sum - planned).abs() < 1e-8, "{spending:?} {sides:?} {time}: {sum} {planned}");
                }
            }
        }
    }

    #[test]
    fn nothing_spent_is_no_boundary_and_drift_is_power() {
        let times = [0.001, 1.0];
        let bounds = spending_bounds(&times, 0.05, Sides::Two, Spending::OBrienFleming);
        assert!(bounds[0].is_infinite() && (bounds[1] - 1.96).abs() < 0.3, "{bounds:?}");
        // One look, z of mean 1.96 + 0.8416: 80 %.
        let power: f64 = crossing_probabilities(&[1.0], &[1.959964], Sides::Two, 2.801585).iter().sum();
        assert_near("power", power, 0.8, 1e-4);
        // Half of it at the first of two looks loses little with O'Brien and Fleming.
        let constant = obrien_fleming(2, 0.05);
        let bounds = [constant * 2f64.sqrt(), constant];
        let power: f64 = crossing_probabilities(&[0.5, 1.0], &bounds, Sides::Two, 2.801585).iter().sum();
        assert!(0.79 < power && power < 0.8, "{power}");
    }
}
