//! How traffic is split by how likely each arm is the best, or one of the best two, given independent posteriors: by quadrature, without
//! chance.

use crate::statistics::bayes::Posterior;
use crate::statistics::race::Race;

/// Half the probability of each arm to be one of the best two: its share under a top-two rule as GrowthBook's. They sum to 1; one arm alone has 1,
/// and no arms have none.
pub fn top_two<P: Posterior>(arms: &[P]) -> Vec<f64> {
    if arms.len() < 2 {
        return vec![1.0; arms.len()];
    }
    let race = Race::over(arms);
    (0..arms.len()).map(|arm| 0.5 * (race.best(arm) + race.second(arm))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::bayes::{Beta, Normal, probabilities_best};
    use crate::statistics::dice::{BetaDraws, Dice};
    use crate::statistics::normal;
    use crate::statistics::tests::assert_near;

    #[test]
    fn two_normal_arms_have_a_closed_form() {
        for (apart, first, second) in
            [(0.0, 1.0, 1.0), (1.0, 0.1, 2.0), (0.3, 1e-4, 1.0), (-5.0, 1.0, 0.5), (-9.0, 1.0, 1.0)]
        {
            let arms = [Normal::new(3.0 + apart, first), Normal::new(3.0, second)];
            let expected = normal::cdf(apart / (first * first + second * second).sqrt());
            assert_near(&format!("{arms:?}"), probabilities_best(&arms)[0], expected, 1e-10);
            assert_near("both are among the best two", top_two(&arms)[0], 0.5, 1e-12);
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
            let found = probabilities_best(&[Beta::new(a.0, a.1), Beta::new(b.0, b.1)]);
            assert_near(&format!("{a:?}, {b:?}"), found[1], expected, 1e-9);
        }
    }

    #[test]
    fn the_example_of_the_package_bandit() {
        let seen = [(10.0, 100.0), (20.0, 102.0), (30.0, 120.0), (80.0, 240.0)];
        let arms = seen.map(|(successes, pulls)| Beta::UNIFORM.after(successes, pulls));
        let found = probabilities_best(&arms);
        for (found, expected) in found.iter().zip([1.04e-6, 0.004418, 0.053826, 0.941755]) {
            assert_near("best", *found, expected, 5e-3);
        }
    }

    #[test]
    fn weights_are_how_often_each_arm_is_drawn_best() {
        let shapes = [(0.5, 0.5), (3.0, 2.0), (30.0, 20.0), (1.0, 5.0)];
        let arms = shapes.map(|(a, b)| BetaDraws::new(a, b));
        let beliefs = shapes.map(|(a, b)| Beta::new(a, b));
        let (found_best, found_top_two) = (probabilities_best(&beliefs), top_two(&beliefs));
        let mut dice = Dice::new(&mut Seed::new(5).stream("weights"));
        let (mut best, mut among_two, count) = ([0.0; 4], [0.0; 4], 200_000);
        for _ in 0..count {
            let mut drawn: Vec<(f64, usize)> = (0..4).map(|arm| (arms[arm].draw(&mut dice), arm)).collect();
            drawn.sort_by(|left, right| right.0.total_cmp(&left.0));
            best[drawn[0].1] += 1.0 / f64::from(count);
            drawn[..2].iter().for_each(|(_, arm)| among_two[*arm] += 0.5 / f64::from(count));
        }
        for arm in 0..4 {
            assert!((best[arm] - found_best[arm]).abs() < 0.004, "{best:?} {found_best:?}");
            assert!((among_two[arm] - found_top_two[arm]).abs() < 0.004, "{among_two:?} {found_top_two:?}");
        }
    }

    #[test]
    fn weights_add_up_and_a_floor_holds() {
        assert!(probabilities_best::<Normal>(&[]).is_empty() && top_two::<Normal>(&[]).is_empty());
        assert_near("alone", probabilities_best(&[Beta::new(2.0, 3.0)])[0], 1.0, 1e-12);
        assert_eq!(top_two(&[Beta::new(2.0, 3.0)]), [1.0]);
        let found = floored(&[0.0, 0.7, 0.3], 0.1);
        for (found, expected) in found.iter().zip([0.1, 0.59, 0.31]) {
            assert_near("floored", *found, expected, 1e-12);
        }
    }
}
