//! Several posteriors on one grid, and the integrals over the best of them.
//!
//! The grid is made of panels as narrow as the narrowest posterior there. In each a density is a polynomial through sixteen nodes, so that its
//! integral from either end is known at any place and keeps its digits in both tails.

use std::f64::consts::LN_10;

use crate::statistics::bayes::Posterior;
use crate::statistics::quadrature::{self, Rule};
use crate::statistics::root;

/// How many nodes a panel has: a normal density over one standard deviation is then exact to the last digit.
const NODES: usize = 16;

/// How many panels lie on either side of a peak. The density at the end of the last is e^(−13²/2), 10⁻³⁷ of the peak.
const PANELS: usize = 13;

/// How many of them matter to a probability that need not be small: beyond 9 standard deviations lies 10⁻¹⁸.
const PANELS_NEAR: usize = 9;

/// How often a panel's end is halved: it need not be exact.
const HALVINGS: u32 = 10;

/// Two probabilities are the same if they differ less.
const TIE: f64 = 1e-12;

/// The arms, ready to be compared.
pub(crate) struct Race<'arms, P> {
    arms: Vec<&'arms P>,
    rule: Rule,
    /// Where each arm is, in panels.
    ranges: Vec<Vec<f64>>,
    /// The ends of the panels, one more than there are panels.
    ends: Vec<f64>,
    places: Vec<f64>,
    weights: Vec<f64>,
    tables: Vec<Table>,
}

/// One arm's distribution on the grid.
struct Table {
    /// The integral of the density as it comes, by which it is divided.
    whole: f64,
    density: Vec<f64>,
    /// The Legendre coefficients of the density in each panel, times half its width.
    coefficients: Vec<[f64; NODES]>,
    /// What lies left of each panel, and what right.
    left: Vec<f64>,
    right: Vec<f64>,
    /// The probabilities of less and of more at each node.
    below: Vec<f64>,
    above: Vec<f64>,
}

impl<'arms, P: Posterior> Race<'arms, P> {
    /// # Panics
    /// If there is no arm.
    pub(crate) fn new(arms: &[&'arms P]) -> Self {
        let ranges: Vec<Vec<f64>> = arms.iter().map(|arm| range(*arm)).collect();
        let first = ranges.iter().map(|range| range[0]).fold(f64::INFINITY, f64::min);
        let last = ranges.iter().map(|range| range[range.len() - 1]).fold(f64::NEG_INFINITY, f64::max);
        let ends = merge(&ranges, |from| arms[0].panel_max(from), first, last);
        let rule = Rule::new(NODES);
        let (mut places, mut weights) = (Vec::new(), Vec::new());
        for panel in ends.windows(2) {
            let (middle, half) = (0.5 * (panel[0] + panel[1]), 0.5 * (panel[1] - panel[0]));
            places.extend(rule.nodes.iter().map(|node| middle + half * node));
            weights.extend(rule.weights.iter().map(|weight| half * weight));
        }
        let polynomials: Vec<[f64; NODES + 1]> = rule.nodes.iter().map(|node| legendre(*node)).collect();
        let tables =
            arms.iter().map(|arm| Table::new(*arm, &places, &weights, &rule, &polynomials)).collect();
        Self { arms: arms.to_vec(), rule, ranges, ends, places, weights, tables }
    }

    /// # Panics
    /// If there is no arm.
    pub(crate) fn over(arms: &'arms [P]) -> Self {
        Self::new(&arms.iter().collect::<Vec<_>>())
    }

    /// The probability of an arm to be the best: ∫ f Π F over the others.
    pub(crate) fn best(&self, arm: usize) -> f64 {
        let terms = (0..self.places.len()).map(|node| {
            let others = self.others(arm).map(|table| table.below[node]);
            self.weights[node] * self.tables[arm].density[node] * others.product::<f64>()
        });
        terms.sum::<f64>().min(1.0)
    }

    /// The probability of each arm to be the best.
    pub(crate) fn all_best(&self) -> Vec<f64> {
        (0..self.arms.len()).map(|arm| self.best(arm)).collect()
    }

    /// The probability of an arm to be the second best: ∫ f Σ (1 − F) Π F, where one of the others is above and the rest are not.
    pub(crate) fn second(&self, arm: usize) -> f64 {
        let terms = (0..self.places.len()).map(|node| {
            let (_, one_above) = self.others(arm).fold((1.0, 0.0), |(none, one), table| {
                (none * table.below[node], one * table.below[node] + none * table.above[node])
            });
            self.weights[node] * self.tables[arm].density[node] * one_above
        });
        terms.sum::<f64>().min(1.0)
    }

    /// What choosing an arm is expected to cost: ∫ F (1 − Π F over the others) dx.
    pub(crate) fn expected_loss(&self, arm: usize) -> f64 {
        let terms = (0..self.places.len()).map(|node| {
            // 1 − Π (1 − aⱼ), summed so that small probabilities keep their digits.
            let better = self.others(arm).fold(0.0, |any, table| any + (1.0 - any) * table.above[node]);
            let (_, slope) = self.arms[arm].value(self.places[node]);
            self.weights[node] * slope * self.tables[arm].below[node] * better
        });
        terms.sum()
    }

    /// The probability that the best arm exceeds an arm by at most a part of it: ∫ f Π F(raised) over the others, on a grid of its own, which is
    /// narrow also where raised numbers meet the others.
    pub(crate) fn remaining_at_most(&self, arm: usize, part: f64) -> f64 {
        let champion = self.arms[arm];
        let near = |of: usize| &self.ranges[of][PANELS - PANELS_NEAR..=PANELS + PANELS_NEAR];
        let (first, last) = (near(arm)[0], near(arm)[2 * PANELS_NEAR]);
        let mut ranges = vec![near(arm).to_vec()];
        for other in (0..self.arms.len()).filter(|other| *other != arm) {
            ranges.push(near(other).iter().map(|end| champion.lowered(*end, part)).collect());
        }
        let mut sum = 0.0;
        for panel in merge(&ranges, |from| champion.panel_max(from), first, last).windows(2) {
            sum += self.rule.integral(panel[0], panel[1], |place| {
                let density = libm::exp(champion.log_density(place)) / self.tables[arm].whole;
                density * self.all_below(arm, champion.raised(place, part))
            });
        }
        sum.min(1.0)
    }

    /// The probability that all other arms are below a place.
    fn all_below(&self, arm: usize, place: f64) -> f64 {
        let panel = self.ends.partition_point(|end| *end <= place);
        if panel == 0 {
            return if self.tables.len() == 1 { 1.0 } else { 0.0 };
        }
        if self.ends.len() <= panel {
            return 1.0;
        }
        let (low, high) = (self.ends[panel - 1], self.ends[panel]);
        let polynomials = legendre((2.0 * place - low - high) / (high - low));
        self.others(arm).map(|table| table.below(panel - 1, &polynomials)).product()
    }

    /// The part that is not exceeded with a probability.
    pub(crate) fn remaining_quantile(&self, arm: usize, probability: f64) -> f64 {
        let missing = |part: f64| self.remaining_at_most(arm, part) - probability;
        if 0.0 <= missing(0.0) {
            return 0.0;
        }
        // In steps of ten, as the champion may be near nothing; what is still missing then is infinite.
        let mut high = 0.01;
        while missing(high) < 0.0 {
            high *= 10.0;
            if 300.0 * LN_10 < libm::log(high) {
                return f64::INFINITY;
            }
        }
        root::crossing(if high <= 0.01 { 0.0 } else { 0.1 * high }, high, missing)
    }

    fn others(&self, arm: usize) -> impl Iterator<Item = &Table> {
        self.tables.iter().enumerate().filter(move |(index, _)| *index != arm).map(|(_, table)| table)
    }
}

impl Table {
    fn new<P: Posterior>(
        arm: &P,
        places: &[f64],
        weights: &[f64],
        rule: &Rule,
        polynomials: &[[f64; NODES + 1]],
    ) -> Self {
        let mut density: Vec<f64> = places.iter().map(|place| libm::exp(arm.log_density(*place))).collect();
        let whole: f64 = density.iter().zip(weights).map(|(density, weight)| density * weight).sum();
        density.iter_mut().for_each(|density| *density /= whole);
        let panels = places.len() / NODES;
        let mut coefficients = Vec::with_capacity(panels);
        for panel in 0..panels {
            let half = weights[panel * NODES] / rule.weights[0];
            let mut of_panel = [0.0; NODES];
            for (node, values) in polynomials.iter().enumerate() {
                let mass = 0.5 * half * rule.weights[node] * density[panel * NODES + node];
                of_panel.iter_mut().zip(values).for_each(|(sum, value)| *sum += mass * value);
            }
            for (degree, coefficient) in of_panel.iter_mut().enumerate() {
                *coefficient *= (2 * degree + 1) as f64;
            }
            coefficients.push(of_panel);
        }
        // The integral of a whole panel is twice its first coefficient.
        let mut left = vec![0.0; panels];
        let mut right = vec![0.0; panels];
        for panel in 1..panels {
            left[panel] = left[panel - 1] + 2.0 * coefficients[panel - 1][0];
            let back = panels - 1 - panel;
            right[back] = right[back + 1] + 2.0 * coefficients[back + 1][0];
        }
        let mut table =
            Self { whole, density, coefficients, left, right, below: Vec::new(), above: Vec::new() };
        for panel in 0..panels {
            for values in polynomials {
                let below = table.below(panel, values);
                let above = table.above(panel, values);
                table.below.push(below);
                table.above.push(above);
            }
        }
        table
    }

    /// The probability of less than a place in a panel, where the Legendre polynomials have these values.
    fn below(&self, panel: usize, polynomials: &[f64; NODES + 1]) -> f64 {
        (self.left[panel] + self.partly(panel, polynomials)).clamp(0.0, 1.0)
    }

    fn above(&self, panel: usize, polynomials: &[f64; NODES + 1]) -> f64 {
        let rest = 2.0 * self.coefficients[panel][0] - self.partly(panel, polynomials);
        (self.right[panel] + rest).clamp(0.0, 1.0)
    }

    /// The integral from the left end of a panel, of P₀ x + 1, of P_n (P_{n+1} − P_{n−1}) / (2n + 1).
    fn partly(&self, panel: usize, polynomials: &[f64; NODES + 1]) -> f64 {
        let coefficients = &self.coefficients[panel];
        let mut sum = coefficients[0] * (polynomials[1] + 1.0);
        for degree in 1..NODES {
            let integral = (polynomials[degree + 1] - polynomials[degree - 1]) / (2 * degree + 1) as f64;
            sum += coefficients[degree] * integral;
        }
        sum
    }
}

/// The Legendre polynomials up to the degree `NODES`.
fn legendre(x: f64) -> [f64; NODES + 1] {
    let mut all = quadrature::legendre(x);
    std::array::from_fn(|_| all.next().expect("the list has no end").0)
}

/// Where a posterior is, in panels: their ends, at which the density has fallen as a normal one does at 1, 2, … standard deviations.
fn range<P: Posterior>(arm: &P) -> Vec<f64> {
    let (peak, deviation) = arm.peak();
    let side = |direction: f64| {
        let (mut ends, mut from, mut step) = (Vec::with_capacity(PANELS), 0.0, deviation);
        for panel in 1..=PANELS {
            let fallen = |away: f64| arm.log_density(peak + direction * away) < -0.5 * (panel * panel) as f64;
            let mut to = from + step;
            while !fallen(to) {
                step *= 2.0;
                to = from + step;
            }
            let (mut low, mut high) = (from, to);
            for _ in 0..HALVINGS {
                let middle = 0.5 * (low + high);
                if fallen(middle) {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            step = high - from;
            from = high;
            ends.push(peak + direction * high);
        }
        ends
    };
    let mut ends = side(-1.0);
    ends.reverse();
    ends.push(peak);
    ends.extend(side(1.0));
    ends
}

/// The ends of panels from `first` to `last` that are nowhere wider than `widest` says nor than those of any posterior there.
fn merge(ranges: &[Vec<f64>], widest: impl Fn(f64) -> f64, first: f64, last: f64) -> Vec<f64> {
    let mut ends = vec![first];
    let mut end = first;
    while end < last {
        let mut next = last.min(end + widest(end));
        for range in ranges {
            let after = range.partition_point(|at| *at <= end);
            if after == 0 {
                next = next.min(range[0]);
            } else if after < range.len() {
                // No further than the panel after this one either, as that may be much narrower.
                let limit = range[(after + 1).min(range.len() - 1)];
                next = next.min(end + (range[after] - range[after - 1])).min(limit);
            }
        }
        // Where a posterior is narrower than numbers can tell.
        end = if end < next { next } else { end.next_up() };
        ends.push(end);
    }
    ends
}

/// The first of the largest, where nearly the same is the same.
pub(crate) fn first_largest(values: &[f64]) -> usize {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let near = largest - TIE * largest.abs().min(1.0);
    values.iter().position(|value| near <= *value).unwrap_or(0)
}
