//! How likely each arm is the best one, or one of the best two, given independent posteriors: by quadrature, without chance.
//!
//! ```text
//! P(k is best) = ∫ f_k ∏ F_j        P(k is second) = ∫ f_k Σ_i (1 − F_i) ∏ F_j        j, i ≠ k; j ≠ i
//! ```
//!
//! The line is cut into panels at the middle of every arm and at some deviations to both sides of it. In each panel stand the nodes of a
//! Gauss–Legendre rule, and the same nodes integrate the densities up to each other (collocation), so that no distribution function need be
//! computed. [`probabilities_best`](crate::statistics::bayes::probabilities_best) finds the same for any posteriors, and far into their tails;
//! this is faster. Betas are integrated over the angle θ of x = sin²θ, in which their widths hardly depend on where they lie and shapes down to ½
//! have no pole. Against two million draws all digits agree; shapes from 1 on give some twelve digits, those of ½ ten.

use std::f64::consts::{FRAC_PI_2, PI};

use crate::statistics::dice::BetaDraws;
use crate::statistics::quadrature;

/// Nodes in a panel.
const NODES: usize = 16;

/// Where panels end: at so many deviations from the middle of each arm.
const CUTS: [f64; 13] = [-38.0, -20.0, -12.0, -8.0, -5.0, -2.5, 0.0, 2.5, 5.0, 8.0, 12.0, 20.0, 38.0];

/// A normal posterior.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NormalArm {
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation.
    pub deviation: f64,
}

/// The probabilities of each arm.
#[derive(Clone, PartialEq, Debug)]
pub struct Weights {
    /// To be the best. Their sum is 1.
    pub best: Vec<f64>,
    /// Half of those to be one of the best two: the share under a top-two rule as GrowthBook's. Their sum is 1. One arm alone has 1.
    pub top_two: Vec<f64>,
}

/// The probabilities of arms with normal posteriors. No arms have none.
///
/// # Panics
/// Unless all means are finite and all deviations positive and finite.
pub fn of_normals(arms: &[NormalArm]) -> Weights {
    for arm in arms {
        assert!(arm.mean.is_finite(), "a mean of {}", arm.mean);
        assert!(0.0 < arm.deviation && arm.deviation.is_finite(), "a deviation of {}", arm.deviation);
    }
    let cuts = arms.iter().flat_map(|arm| CUTS.map(|cut| arm.mean + cut * arm.deviation)).collect();
    let scales: Vec<f64> = arms.iter().map(|arm| 1.0 / (arm.deviation * (2.0 * PI).sqrt())).collect();
    integrate(cuts, arms.len(), |x, densities| {
        for ((arm, scale), density) in arms.iter().zip(&scales).zip(densities) {
            let z = (x - arm.mean) / arm.deviation;
            *density = scale * libm::exp(-0.5 * z * z);
        }
    })
}

/// The probabilities of arms with beta posteriors. No arms have none.
pub fn of_betas(arms: &[BetaDraws]) -> Weights {
    let cuts = arms.iter().flat_map(|arm| {
        let middle = libm::asin((arm.a / (arm.a + arm.b)).sqrt());
        let deviation = 0.5 / (arm.a + arm.b).sqrt();
        CUTS.map(|cut| (middle + cut * deviation).clamp(0.0, FRAC_PI_2))
    });
    let cuts = cuts.chain([0.0, FRAC_PI_2]).collect();
    let log_scale = |arm: &BetaDraws| {
        libm::log(2.0) + libm::lgamma(arm.a + arm.b) - libm::lgamma(arm.a) - libm::lgamma(arm.b)
    };
    let log_scales: Vec<f64> = arms.iter().map(log_scale).collect();
    integrate(cuts, arms.len(), |angle, densities| {
        let (sine, cosine) = (libm::log(libm::sin(angle)), libm::log(libm::cos(angle)));
        for ((arm, log_scale), density) in arms.iter().zip(&log_scales).zip(densities) {
            *density = libm::exp(log_scale + (2.0 * arm.a - 1.0) * sine + (2.0 * arm.b - 1.0) * cosine);
        }
    })
}

/// Weights none of which is below a floor, p = f + (1 − K f) w: no arm goes unseen, and no clipping biases the others.
///
/// # Panics
/// If the floors alone would make more than 1, or one is negative.
pub fn floored(weights: &[f64], floor: f64) -> Vec<f64> {
    let left = 1.0 - weights.len() as f64 * floor;
    assert!(0.0 <= floor && 0.0 <= left, "a floor of {floor} for {} arms", weights.len());
    weights.iter().map(|weight| floor + left * weight).collect()
}

fn integrate(mut cuts: Vec<f64>, count: usize, densities_at: impl Fn(f64, &mut [f64])) -> Weights {
    if count == 1 {
        return Weights { best: vec![1.0], top_two: vec![1.0] };
    }
    cuts.sort_by(f64::total_cmp);
    let rule = Rule::gauss_legendre();
    let (mut best, mut second) = (vec![0.0; count], vec![0.0; count]);
    // Up to the start of the panel.
    let mut below = vec![0.0; count];
    let mut densities = vec![[0.0; NODES]; count];
    let (mut at_node, mut distributions) = (vec![0.0; count], vec![0.0; count]);
    for panel in cuts.windows(2).filter(|panel| panel[0] < panel[1]) {
        let (middle, half) = (0.5 * (panel[0] + panel[1]), 0.5 * (panel[1] - panel[0]));
        for (node, place) in rule.nodes.iter().enumerate() {
            densities_at(middle + half * place, &mut at_node);
            densities.iter_mut().zip(&at_node).for_each(|(of_arm, density)| of_arm[node] = *density);
        }
        for node in 0..NODES {
            for (arm, distribution) in distributions.iter_mut().enumerate() {
                let inside = dot(&rule.up_to[node], &densities[arm]);
                *distribution = (below[arm] + half * inside).clamp(0.0, 1.0);
            }
            let weight = half * rule.weights[node];
            for arm in (0..count).filter(|arm| 0.0 < densities[*arm][node]) {
                let (none_above, one_above) = others_above(&distributions, arm);
                best[arm] += weight * densities[arm][node] * none_above;
                second[arm] += weight * densities[arm][node] * one_above;
            }
        }
        for (below, of_arm) in below.iter_mut().zip(&densities) {
            *below += half * dot(&rule.weights, of_arm);
        }
    }
    let top_two: Vec<f64> = best.iter().zip(&second).map(|(best, second)| best + second).collect();
    Weights { best: normalised(best), top_two: normalised(top_two) }
}

/// The probabilities that none of the other arms lies above, and that just one does.
fn others_above(distributions: &[f64], own: usize) -> (f64, f64) {
    let (mut none, mut one) = (1.0, 0.0);
    for (arm, below) in distributions.iter().enumerate() {
        if arm != own {
            one = one * below + none * (1.0 - below);
            none *= below;
        }
    }
    (none, one)
}

/// Takes away what rounding left: the sum is 1 within some 1e-12 before.
fn normalised(mut values: Vec<f64>) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    if 0.0 < sum {
        values.iter_mut().for_each(|value| *value /= sum);
    }
    values
}

fn dot(left: &[f64; NODES], right: &[f64; NODES]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// A rule on [−1, 1].
struct Rule {
    nodes: [f64; NODES],
    weights: [f64; NODES],
    /// Row by row, the weights of the integral from −1 up to each node.
    up_to: [[f64; NODES]; NODES],
}

impl Rule {
    /// Up to a node the integral is that of the interpolating polynomial, Σ_k ½ (2k + 1) w_j P_k(x_j) ∫ P_k, where (2k + 1) ∫ P_k =
    /// P_{k+1} − P_{k−1}.
    fn gauss_legendre() -> Self {
        let whole = quadrature::Rule::new(NODES);
        let nodes: [f64; NODES] = std::array::from_fn(|node| whole.nodes[node]);
        let weights: [f64; NODES] = std::array::from_fn(|node| whole.weights[node]);
        let polynomials = nodes.map(legendre);
        let mut up_to = [[0.0; NODES]; NODES];
        for (row, (upper, end)) in up_to.iter_mut().zip(polynomials.iter().zip(nodes)) {
            for (cell, (values, weight)) in row.iter_mut().zip(polynomials.iter().zip(weights)) {
                let higher = (1..NODES).map(|k| values[k] * (upper[k + 1] - upper[k - 1])).sum::<f64>();
                *cell = 0.5 * weight * (1.0 + end + higher);
            }
        }
        Self { nodes, weights, up_to }
    }
}

/// The Legendre polynomials P₀ to P_n at x.
fn legendre(x: f64) -> [f64; NODES + 1] {
    let mut values = [1.0; NODES + 1];
    values[1] = x;
    for k in 1..NODES {
        let degree = k as f64;
        values[k + 1] = ((2.0 * degree + 1.0) * x * values[k] - degree * values[k - 1]) / (degree + 1.0);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::dice::Dice;
    use crate::statistics::normal;
    use crate::statistics::tests::assert_near;

    #[test]
    fn two_normal_arms_have_a_closed_form() {
        for (apart, first, second) in
            [(0.0, 1.0, 1.0), (1.0, 0.1, 2.0), (0.3, 1e-4, 1.0), (-5.0, 1.0, 0.5), (-9.0, 1.0, 1.0)]
        {
            let arms = [
                NormalArm { mean: 3.0 + apart, deviation: first },
                NormalArm { mean: 3.0, deviation: second },
            ];
            let found = of_normals(&arms);
            let expected = normal::cdf(apart / (first * first + second * second).sqrt());
            assert_near(&format!("{arms:?}"), found.best[0], expected, 1e-10);
            assert_near("both are among the best two", found.top_two[0], 0.5, 1e-12);
        }
    }

    #[test]
    fn two_beta_arms_have_a_sum() {
        // P(B > A) = Σ B(a_A + i, b_A + b_B) / ((b_B + i) B(1 + i, b_B) B(a_A, b_A)) over i < a_B: Miller (2015).
        for (a, b) in
            [((1.0, 1.0), (1.0, 1.0)), ((51.0, 951.0), (61.0, 941.0)), ((2.0, 100.0), (9000.0, 91000.0))]
        {
            let log_beta = |a: f64, b: f64| libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
            let term = |i: u32| {
                let i = f64::from(i);
                let log = log_beta(a.0 + i, a.1 + b.1) - log_beta(1.0 + i, b.1) - log_beta(a.0, a.1);
                libm::exp(log) / (b.1 + i)
            };
            let expected: f64 = (0..b.0 as u32).map(term).sum();
            let found = of_betas(&[BetaDraws::new(a.0, a.1), BetaDraws::new(b.0, b.1)]);
            assert_near(&format!("{a:?}, {b:?}"), found.best[1], expected, 1e-9);
        }
    }

    #[test]
    fn the_example_of_the_package_bandit() {
        let seen = [(10.0, 100.0), (20.0, 102.0), (30.0, 120.0), (80.0, 240.0)];
        let arms = seen.map(|(successes, pulls)| BetaDraws::new(1.0 + successes, 1.0 + pulls - successes));
        let found = of_betas(&arms).best;
        for (found, expected) in found.iter().zip([1.04e-6, 0.004418, 0.053826, 0.941755]) {
            assert_near("best", *found, expected, 5e-3);
        }
    }

    #[test]
    fn weights_are_how_often_each_arm_is_drawn_best() {
        let arms = [(0.5, 0.5), (3.0, 2.0), (30.0, 20.0), (1.0, 5.0)].map(|(a, b)| BetaDraws::new(a, b));
        let found = of_betas(&arms);
        let mut dice = Dice::new(&mut Seed::new(5).stream("weights"));
        let (mut best, mut top_two, count) = ([0.0; 4], [0.0; 4], 200_000);
        for _ in 0..count {
            let mut drawn: Vec<(f64, usize)> = (0..4).map(|arm| (arms[arm].draw(&mut dice), arm)).collect();
            drawn.sort_by(|left, right| right.0.total_cmp(&left.0));
            best[drawn[0].1] += 1.0 / f64::from(count);
            drawn[..2].iter().for_each(|(_, arm)| top_two[*arm] += 0.5 / f64::from(count));
        }
        for arm in 0..4 {
            assert!((best[arm] - found.best[arm]).abs() < 0.004, "{best:?} {found:?}");
            assert!((top_two[arm] - found.top_two[arm]).abs() < 0.004, "{top_two:?} {found:?}");
        }
    }

    #[test]
    fn weights_add_up_and_a_floor_holds() {
        assert_eq!(of_normals(&[]), Weights { best: vec![], top_two: vec![] });
        assert_eq!(of_betas(&[BetaDraws::new(2.0, 3.0)]).best, [1.0]);
        let found = floored(&[0.0, 0.7, 0.3], 0.1);
        for (found, expected) in found.iter().zip([0.1, 0.59, 0.31]) {
            assert_near("floored", *found, expected, 1e-12);
        }
    }

    #[test]
    fn the_rule_integrates_polynomials_up_to_each_node() {
        let rule = Rule::gauss_legendre();
        for degree in 0..NODES as i32 {
            let values = rule.nodes.map(|x| x.powi(degree));
            let primitive =
                |x: f64| (x.powi(degree + 1) - (-1.0_f64).powi(degree + 1)) / f64::from(degree + 1);
            for (up_to, end) in rule.up_to.iter().zip(rule.nodes) {
                assert!((dot(up_to, &values) - primitive(end)).abs() < 1e-13, "degree {degree} up to {end}");
            }
            assert!((dot(&rule.weights, &values) - primitive(1.0)).abs() < 1e-13, "degree {degree}");
        }
    }
}
