//! Integrals without random numbers: Gauss–Legendre rules.

use std::f64::consts::PI;

/// How often a node is improved by Newton's method, which doubles its digits each time.
const STEPS: u32 = 8;

/// The nodes and weights that integrate polynomials of degree 2n − 1 over [−1, 1] exactly: Abramowitz and Stegun, "Handbook of mathematical
/// functions" (1964), 25.4.29. The nodes ascend.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Where the integrand is looked at.
    pub nodes: Vec<f64>,
    /// How much each look counts.
    pub weights: Vec<f64>,
}

impl Rule {
    /// The rule of so many nodes: the zeros of the Legendre polynomial P_n by Newton's method, weights 2 / ((1 − x²) P_n′(x)²).
    ///
    /// # Panics
    /// If there are no nodes.
    pub fn new(count: usize) -> Self {
        assert!(0 < count, "a rule has nodes");
        let n = count as f64;
        let mut rule = Self { nodes: Vec::with_capacity(count), weights: Vec::with_capacity(count) };
        for index in 0..count {
            let mut x = -libm::cos(PI * (index as f64 + 0.75) / (n + 0.5));
            let mut slope = 1.0;
            for _ in 0..STEPS {
                let (before, value) = legendre(x).nth(count - 1).expect("the list has no end");
                slope = n * (x * value - before) / (x * x - 1.0);
                x -= value / slope;
            }
            rule.nodes.push(x);
            rule.weights.push(2.0 / ((1.0 - x * x) * slope * slope));
        }
        rule
    }

    /// The integral from `low` to `high`.
    pub fn integral(&self, low: f64, high: f64, integrand: impl Fn(f64) -> f64) -> f64 {
        let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
        let looks = self.nodes.iter().zip(&self.weights);
        half * looks.map(|(node, weight)| weight * integrand(middle + half * node)).sum::<f64>()
    }
}

/// The Legendre polynomials at `x` in pairs: P₀ and P₁, P₁ and P₂, and so on without end.
pub(crate) fn legendre(x: f64) -> impl Iterator<Item = (f64, f64)> {
    (2..).scan((1.0, x), move |(before, value), k: u32| {
        let pair = (*before, *value);
        let k = f64::from(k);
        (*before, *value) = (*value, ((2.0 * k - 1.0) * x * *value - (k - 1.0) * *before) / k);
        Some(pair)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn a_rule_is_exact_for_polynomials_and_good_for_smooth_functions() {
        let rule = Rule::new(3);
        assert_near("outer node", rule.nodes[2], 0.6f64.sqrt(), 1e-15);
        assert_near("middle weight", rule.weights[1], 8.0 / 9.0, 1e-14);
        assert_near(
            "x⁵ + x⁴",
            rule.integral(0.0, 2.0, |x| x.powi(5) + x.powi(4)),
            64.0 / 6.0 + 32.0 / 5.0,
            1e-13,
        );
        for count in [1, 2, 7, 16, 64] {
            assert_near("sum of weights", Rule::new(count).weights.iter().sum(), 2.0, 1e-13);
        }
        assert_near("exp", Rule::new(16).integral(0.0, 1.0, libm::exp), std::f64::consts::E - 1.0, 1e-14);
    }
}
