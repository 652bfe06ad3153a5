//! Many questions asked of the same data.

/// The p-values of Bonferroni's inequality: each is multiplied by how many there are. As [`holm`], which is never worse.
pub fn bonferroni(p: &[f64]) -> Vec<f64> {
    p.iter().map(|one| (one * p.len() as f64).min(1.0)).collect()
}

/// The p-values 1 − (1 − p)ᵐ of Šidák, "Rectangular confidence regions for the means of multivariate normal distributions" (1967): exact
/// where the questions do not depend on each other, and no more often wrong than said where they do so positively.
pub fn sidak(p: &[f64]) -> Vec<f64> {
    p.iter().map(|one| any_of(*one, p.len())).collect()
}

/// The p-values of Holm's step-down procedure, "A simple sequentially rejective multiple test procedure" (1979): the k-th smallest of m is
/// multiplied by m − k + 1 and is no smaller than those before it. Rejecting what stays below α is wrong anywhere with probability α at most,
/// however the questions depend on each other.
pub fn holm(p: &[f64]) -> Vec<f64> {
    step_down(p, |p, left| p * left as f64)
}

/// Holm's procedure with Šidák's correction in each step: Holland and Copenhaver, "An improved sequentially rejective Bonferroni test procedure"
/// (1987).
pub fn holm_sidak(p: &[f64]) -> Vec<f64> {
    step_down(p, any_of)
}

/// The p-values of Hochberg's step-up procedure, "A sharper Bonferroni procedure for multiple tests of significance" (1988): the k-th smallest
/// of m is multiplied by m − k + 1 and is no larger than those after it. Never worse than [`holm`], but to be believed only where the questions
/// do not depend on each other, or do so positively.
pub fn hochberg(p: &[f64]) -> Vec<f64> {
    step_up(p, |rank| (p.len() - rank) as f64)
}

/// The p-values of Hommel's procedure, "A stagewise rejective multiple test procedure based on a modified Bonferroni test" (1988), as Wright,
/// "Adjusted p-values for simultaneous inference" (1992), defines them: the largest p-value of Simes' test, min m p₍ₖ₎/k, over all sets of
/// questions that a question belongs to. Never worse than [`hochberg`], and to be believed where that is.
pub fn hommel(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let sorted: Vec<f64> = order.iter().map(|index| p[*index]).collect();
    let mut adjusted = vec![0.0f64; p.len()];
    for size in 1..=p.len() {
        // Of the sets of this size that a question belongs to, the worst has the largest of the others.
        let largest = &sorted[p.len() - size..];
        let others = (2..=size).map(|k| size as f64 / k as f64 * largest[k - 1]).fold(1.0, f64::min);
        for (rank, index) in order.iter().enumerate() {
            let least = sorted[rank.min(p.len() - size)];
            adjusted[*index] = adjusted[*index].max(others.min(size as f64 * least));
        }
    }
    adjusted
}

/// The p-values of Benjamini and Hochberg, "Controlling the false discovery rate" (1995): the k-th smallest of m is multiplied by m/k and is no
/// larger than those after it. Of what stays below α, the part α is wrong on average at most, where the questions do not depend on each other
/// or do so positively.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    step_up(p, |rank| p.len() as f64 / (rank + 1) as f64)
}

/// The same times 1 + 1/2 + … + 1/m, which holds however the questions depend on each other: Benjamini and Yekutieli, "The control of the false
/// discovery rate in multiple testing under dependency" (2001).
pub fn benjamini_yekutieli(p: &[f64]) -> Vec<f64> {
    let harmonic: f64 = (1..=p.len()).map(|rank| 1.0 / rank as f64).sum();
    step_up(p, |rank| harmonic * (p.len() as f64 / (rank + 1) as f64))
}

/// [`benjamini_hochberg`] in two stages: what the first does not reject at `alpha` is taken for the number of true null hypotheses, of which
/// there are m in the first. Where the first stage rejects nothing or everything, its p-values stay. To be compared with the same `alpha`, and as
/// exact as that is only for many questions.
pub fn two_stage_benjamini_hochberg(p: &[f64], alpha: f64) -> Vec<f64> {
    two_stage(p, alpha)
}

/// The two stages of Benjamini, Krieger and Yekutieli, "Adaptive linear step-up procedures that control the false discovery rate" (2006): both at
/// α/(1 + α), for which the p-values are multiplied by 1 + α, so that they too are to be compared with `alpha`. It holds for questions that do
/// not depend on each other.
pub fn two_stage_benjamini_krieger_yekutieli(p: &[f64], alpha: f64) -> Vec<f64> {
    two_stage(p, alpha / (1.0 + alpha)).into_iter().map(|p| (p * (1.0 + alpha)).min(1.0)).collect()
}

fn two_stage(p: &[f64], alpha: f64) -> Vec<f64> {
    let mut adjusted = benjamini_hochberg(p);
    let rejected = adjusted.iter().filter(|p| **p <= alpha).count();
    if 0 < rejected && rejected < p.len() {
        let part = (p.len() - rejected) as f64 / p.len() as f64;
        adjusted.iter_mut().for_each(|p| *p *= part);
    }
    adjusted
}

/// The probability that the smallest of so many p-values is at most `p`: 1 − (1 − p)ⁿ, also where p is tiny.
fn any_of(p: f64, count: usize) -> f64 {
    -libm::expm1(count as f64 * libm::log1p(-p))
}

/// From the smallest up: each p-value corrected for how many are left, and no smaller than those before it.
fn step_down(p: &[f64], correct: impl Fn(f64, usize) -> f64) -> Vec<f64> {
    let mut adjusted = vec![0.0; p.len()];
    let mut least = 0.0f64;
    for (rank, index) in ascending(p).into_iter().enumerate() {
        least = least.max(correct(p[index], p.len() - rank).min(1.0));
        adjusted[index] = least;
    }
    adjusted
}

/// From the largest down: each p-value times the factor of its rank, and no larger than those after it.
fn step_up(p: &[f64], factor: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut adjusted = vec![0.0; p.len()];
    let mut most = 1.0f64;
    for (rank, index) in ascending(p).into_iter().enumerate().rev() {
        most = most.min(p[index] * factor(rank));
        adjusted[index] = most;
    }
    adjusted
}

fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|one, other| p[*one].total_cmp(&p[*other]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::dice::Dice;
    use crate::statistics::tests::assert_near;

    #[test]
    fn holm_multiplies_the_smallest_most_and_keeps_the_order() {
        // p.adjust(c(.01, .04, .03, .005), "holm") of R.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert_near("holm", *found, expected, 1e-12);
        }
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    type Procedure = fn(&[f64]) -> Vec<f64>;

    const ALL: [(&str, Procedure); 10] = [
        ("bonferroni", bonferroni),
        ("sidak", sidak),
        ("holm", holm),
        ("holm-sidak", holm_sidak),
        ("hochberg", hochberg),
        ("hommel", hommel),
        ("benjamini-hochberg", benjamini_hochberg),
        ("benjamini-yekutieli", benjamini_yekutieli),
        ("two stages", |p| two_stage_benjamini_hochberg(p, 0.05)),
        ("adaptive", |p| two_stage_benjamini_krieger_yekutieli(p, 0.05)),
    ];

    #[test]
    fn one_question_stays_as_it_is_and_none_is_none() {
        for (name, procedure) in ALL {
            // The adaptive procedure pays for its second stage.
            let paid = if name == "adaptive" { 1.05 } else { 1.0 };
            assert_near(name, procedure(&[0.2])[0], 0.2 * paid, 1e-14);
            assert!(procedure(&[]).is_empty(), "{name}");
            assert_eq!(procedure(&[1.0, 1.0]), [1.0, 1.0], "{name}");
        }
    }

    #[test]
    fn the_order_stays_and_what_is_sharper_is_smaller() {
        let p = [0.21, 0.001, 0.039, 0.008, 0.042, 0.041, 1e-20];
        for (name, procedure) in ALL {
            let adjusted = procedure(&p);
            for (one, other) in (0..p.len()).flat_map(|one| (0..p.len()).map(move |other| (one, other))) {
                assert!(p[other] <= p[one] || adjusted[one] <= adjusted[other], "{name}");
            }
        }
        let chain = [bonferroni, holm, hochberg, hommel, benjamini_hochberg].map(|procedure| procedure(&p));
        for pair in chain.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(blunt, sharp)| sharp <= blunt), "{pair:?}");
        }
        assert_near("tiny", sidak(&p)[6], 7e-20, 1e-12);
    }

    #[test]
    fn hommel_rejects_what_every_set_of_questions_rejects() {
        // multipletests(_, method="hommel") of statsmodels.
        for (found, expected) in
            hommel(&[0.01, 0.02, 0.03, 0.04, 0.5]).iter().zip([0.05, 0.06, 0.06, 0.08, 0.5])
        {
            assert_near("hommel", *found, expected, 1e-12);
        }
        let mut dice = Dice::new(&mut Seed::new(3).stream("hommel"));
        for questions in 1..=8 {
            for _ in 0..50 {
                let p: Vec<f64> = (0..questions).map(|_| dice.uniform() * dice.uniform()).collect();
                let found = hommel(&p);
                let simes = |set: u32| {
                    let chosen: Vec<f64> =
                        (0..questions).filter(|one| set >> one & 1 == 1).map(|one| p[one]).collect();
                    benjamini_hochberg(&chosen).into_iter().fold(1.0, f64::min)
                };
                for (one, found) in found.iter().enumerate() {
                    let sets = (0..1u32 << questions).filter(|set| set >> one & 1 == 1);
                    let closed = sets.map(simes).fold(0.0, f64::max);
                    assert!((found - closed).abs() < 1e-14, "{p:?}: {found} is not {closed}");
                }
                assert!(
                    found.iter().zip(hochberg(&p)).all(|(sharp, blunt)| *sharp <= blunt + 1e-15),
                    "{p:?}"
                );
                let global = simes((1 << questions) - 1);
                assert!(found.iter().all(|one| global - 1e-15 <= *one), "{p:?}: {global}");
            }
        }
    }
}
