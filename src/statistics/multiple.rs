//! Many questions asked of the same data.

/// The p-values of Holm's step-down procedure, "A simple sequentially rejective multiple test procedure" (1979): the k-th smallest of m is
/// multiplied by m − k + 1 and is no smaller than those before it. Rejecting what stays below α is wrong anywhere with probability α at most,
/// however the questions depend on each other.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|one, other| p[*one].total_cmp(&p[*other]));
    let mut adjusted = vec![0.0; p.len()];
    let mut least = 0.0f64;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max((p[index] * (p.len() - rank) as f64).min(1.0));
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
