//! Tests with a planned number of looks: boundaries that keep the error of all looks together, and what that error is without them.
//!
//! The estimate, scaled by its information, is a Brownian motion W with drift θ looked at when a share t of the information is in. What is
//! left of its density between the boundaries is carried from look to look by numerical integration: Armitage, McPherson and Rowe, "Repeated
//! significance tests on accumulating data" (1969). Controls the false alarm over the planned looks, and says nothing of others.

use std::f64::consts::PI;

use crate::statistics::quadrature::Rule;
use crate::statistics::{normal, root};

/// How many nodes each panel has.
const NODES: usize = 10;

/// How wide a panel is, in standard deviations of the narrowest step beside it: with 10 nodes to 1.2 the error is below 10⁻¹².
const PANEL: f64 = 1.2;

/// Beyond so many standard deviations there is nothing.
const REACH: f64 = 9.0;

/// A boundary beyond which the normal distribution has no number left.
const BOUND_MAX: f64 = 38.0;

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
        let bound = if 0.0 < tail {
            root::boundary(-BOUND_MAX, BOUND_MAX, |bound| tail < walk.above(bound))
        } else {
            f64::INFINITY
        };
        let bound = if BOUND_MAX * (1.0 - 1e-9) < bound { f64::INFINITY } else { bound };
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
    root::crossing(low, high, |constant| {
        let bounds: Vec<f64> = times.iter().map(|time| constant * shape(*time)).collect();
        alpha - crossing_probabilities(&times, &bounds, Sides::Two, 0.0).iter().sum::<f64>()
    })
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
    /// Where the paths were at the last look, ascending, and how many, with the weight of the integral.
    places: Vec<f64>,
    masses: Vec<f64>,
}

impl<'times> Walk<'times> {
    fn new(times: &'times [f64], sides: Sides, drift: f64) -> Self {
        assert!(times.first().is_none_or(|first| 0.0 < *first), "information before the first look");
        assert!(times.is_sorted_by(|one, other| one < other), "looks one after the other");
        Self { rule: Rule::new(NODES), times, sides, drift, behind: 0, places: vec![0.0], masses: vec![1.0] }
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
        let tail = |(place, mass): (&f64, &f64)| mass * normal::cdf((place + mean - limit) / deviation);
        self.places.iter().zip(&self.masses).map(tail).sum()
    }

    fn below(&self, bound: f64) -> f64 {
        let (deviation, mean) = self.step(self.behind);
        let limit = bound * self.times[self.behind].sqrt();
        let tail = |(place, mass): (&f64, &f64)| mass * normal::cdf((limit - place - mean) / deviation);
        self.places.iter().zip(&self.masses).map(tail).sum()
    }

    /// Goes on to the next look, without the paths that crossed there.
    fn advance(&mut self, bound: f64) {
        let (deviation, mean) = self.step(self.behind);
        let root = self.times[self.behind].sqrt();
        let middle = self.drift * self.times[self.behind];
        let reach = REACH * root;
        let high = (bound * root).min(middle + reach);
        let low = if self.sides == Sides::Two { (-bound * root).max(middle - reach) } else { middle - reach };
        self.behind += 1;
        let (mut places, mut masses) = (Vec::new(), Vec::new());
        if low < high && self.behind < self.times.len() {
            let finest = PANEL * deviation.min(self.step(self.behind).0);
            let panels = ((high - low) / finest).ceil().max(1.0);
            let half = 0.5 * (high - low) / panels;
            for panel in 0..panels as usize {
                let centre = low + half * (2.0 * panel as f64 + 1.0);
                for (node, weight) in self.rule.nodes.iter().zip(&self.rule.weights) {
                    let place = centre + half * node;
                    places.push(place);
                    masses.push(half * weight * self.density(place - mean, deviation));
                }
            }
        }
        (self.places, self.masses) = (places, masses);
    }

    /// The density of a step from where the paths are to a place.
    fn density(&self, place: f64, deviation: f64) -> f64 {
        let first = self.places.partition_point(|from| *from < place - REACH * deviation);
        let mut sum = 0.0;
        for (from, mass) in self.places[first..].iter().zip(&self.masses[first..]) {
            let z = (place - from) / deviation;
            if z < -REACH {
                break;
            }
            sum += mass * libm::exp(-0.5 * z * z);
        }
        sum / (deviation * (2.0 * PI).sqrt())
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
    fn the_recursion_agrees_with_a_double_integral_and_peeking_costs_what_was_measured() {
        let rule = Rule::new(64);
        for bound in [0.5, 1.96, 4.0] {
            let wide = bound * 2f64.sqrt();
            let inside = rule.integral(-bound, bound, |z| {
                let stays = normal::cdf(wide - z) - normal::cdf(-wide - z);
                libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt() * stays
            });
            assert!((family_wise_error(2, bound) - (1.0 - inside)).abs() < 1e-13, "{bound}");
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
