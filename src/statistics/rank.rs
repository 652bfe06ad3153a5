//! Tests that look at the order of values alone, and the shifts that belong to them.

use crate::statistics::descriptive::quantile;
use crate::statistics::normal::Statistic;

/// What the test of Wilcoxon found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SignedRank {
    /// The sum of ranks of positive differences.
    pub positive: f64,
    /// The sum of ranks of negative differences.
    pub negative: f64,
    /// The exact two-sided p-value.
    pub p_exact: f64,
    /// The two-sided p-value by the normal distribution, with a correction of ½ for continuity and one for ties.
    pub p_normal: f64,
}

/// The signed-rank test of Wilcoxon, "Individual comparisons by ranking methods" (1945), of paired differences: whether they are symmetric around 0.
/// Differences of 0 are left out, equal ones share their mean rank, and the exact p-value counts all signs these ranks could have had. Its work
/// grows with the cube of how many differences there are: [`signed_rank_normal`] alone is enough for more than some hundreds.
pub fn signed_rank(differences: &[f64]) -> SignedRank {
    let (ranks, mut found) = signed_ranks(differences);
    // Mean ranks are halves: twice them are whole.
    let doubled: Vec<usize> = ranks.iter().map(|rank| (2.0 * rank) as usize).collect();
    let total: usize = doubled.iter().sum();
    let mut probability = vec![0.0; total + 1];
    probability[0] = 1.0;
    let mut reached = 0;
    for rank in doubled {
        reached += rank;
        for sum in (0..=reached).rev() {
            let with = if rank <= sum { probability[sum - rank] } else { 0.0 };
            probability[sum] = 0.5 * (probability[sum] + with);
        }
    }
    let least = (2.0 * found.positive.min(found.negative)) as usize;
    let tail: f64 = probability[..=least].iter().sum();
    found.p_exact = (2.0 * tail).min(1.0);
    found
}

/// The p-value of the same test by the normal distribution alone.
pub fn signed_rank_normal(differences: &[f64]) -> f64 {
    signed_ranks(differences).1.p_normal
}

fn signed_ranks(differences: &[f64]) -> (Vec<f64>, SignedRank) {
    let differences: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let magnitudes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
    let (ranks, ties) = mean_ranks(&magnitudes);
    let of_sign = |positive: bool| -> f64 {
        let signed =
            differences.iter().zip(&ranks).filter(|(difference, _)| (0.0 < **difference) == positive);
        signed.map(|(_, rank)| rank).sum()
    };
    let (positive, negative) = (of_sign(true), of_sign(false));
    let n = ranks.len() as f64;
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
    let away = (0.5 * (positive - negative).abs() - 0.5).max(0.0);
    let p_normal = Statistic::new(away, variance.sqrt()).p();
    (ranks, SignedRank { positive, negative, p_exact: 1.0, p_normal })
}

/// What the test of Mann and Whitney found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MannWhitney {
    /// How many pairs have the larger value in the second sample, equal ones counting half.
    pub larger: f64,
    /// The same as a part of all pairs: the probability of superiority.
    pub superiority: f64,
    /// The two-sided p-value by the normal distribution, with a correction of ½ for continuity and one for ties.
    pub p: f64,
}

/// The rank-sum test of Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the other" (1947). A
/// p-value of 1 and a superiority of ½ where a sample is empty.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> MannWhitney {
    if first.is_empty() || second.is_empty() {
        return MannWhitney { larger: 0.0, superiority: 0.5, p: 1.0 };
    }
    let together: Vec<f64> = first.iter().chain(second).copied().collect();
    let (ranks, ties) = mean_ranks(&together);
    let (m, n) = (first.len() as f64, second.len() as f64);
    let larger = ranks[first.len()..].iter().sum::<f64>() - 0.5 * n * (n + 1.0);
    let all = m + n;
    let variance = m * n / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    let away = ((larger - 0.5 * m * n).abs() - 0.5).max(0.0);
    MannWhitney { larger, superiority: larger / (m * n), p: Statistic::new(away, variance.sqrt()).p() }
}

/// The ranks of values from 1 on, equal ones sharing their mean, and Σ (t³ − t) over groups of t equal values.
fn mean_ranks(values: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let (mut ranks, mut ties) = (vec![0.0; values.len()], 0.0);
    let mut below = 0;
    for group in order.chunk_by(|one, other| values[*one] == values[*other]) {
        let size = group.len() as f64;
        for index in group {
            ranks[*index] = below as f64 + 0.5 * (size + 1.0);
        }
        ties += size * size * size - size;
        below += group.len();
    }
    (ranks, ties)
}

/// The shift that belongs to the signed-rank test, the median of (dᵢ + dⱼ)/2 over i ≤ j: Hodges and Lehmann, "Estimates of location based on rank
/// tests" (1963). 0 of nothing.
pub fn hodges_lehmann(differences: &[f64]) -> f64 {
    let pairs = differences.iter().enumerate();
    let means =
        pairs.flat_map(|(index, one)| differences[index..].iter().map(move |other| 0.5 * (one + other)));
    median(means.collect())
}

/// The shift that belongs to the test of Mann and Whitney: the median of all differences, second less first. 0 if a sample is empty.
pub fn hodges_lehmann_of_two(first: &[f64], second: &[f64]) -> f64 {
    median(first.iter().flat_map(|one| second.iter().map(move |other| other - one)).collect())
}

/// 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { 0.0 } else { quantile(&values, 0.5) }
}

/// The largest distance between the distributions of two samples: Smirnov, "On the estimation of the discrepancy between empirical curves of
/// distribution for two independent samples" (1939). 0 if a sample is empty.
pub fn kolmogorov_smirnov(first: &[f64], second: &[f64]) -> f64 {
    if first.is_empty() || second.is_empty() {
        return 0.0;
    }
    steps(first, second) as f64 / (first.len() as f64 * second.len() as f64)
}

/// The distance times m n, a whole number: |i n − j m| at its largest.
fn steps(first: &[f64], second: &[f64]) -> u64 {
    let mut values: Vec<(f64, bool)> =
        first.iter().map(|value| (*value, false)).chain(second.iter().map(|value| (*value, true))).collect();
    values.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (m, n) = (first.len() as u64, second.len() as u64);
    let (mut i, mut j, mut most) = (0, 0, 0);
    for group in values.chunk_by(|one, other| one.0 == other.0) {
        let of_second = group.iter().filter(|value| value.1).count() as u64;
        i += group.len() as u64 - of_second;
        j += of_second;
        most = most.max((i * n).abs_diff(j * m));
    }
    most
}

/// The exact two-sided p-value of this distance: the part of all ways to merge two samples without equal values that lead at least as far apart,
/// as if by Hodges, "The significance probability of the Smirnov two-sample test" (1957). With equal values it is an upper bound. Its work grows
/// with m n. 1 if a sample is empty.
pub fn kolmogorov_smirnov_exact(first: &[f64], second: &[f64]) -> f64 {
    let most = steps(first, second);
    if most == 0 {
        return 1.0;
    }
    let (m, n) = (first.len() as u64, second.len() as u64);
    // The probability to have come to (i, j) and have been as far apart on the way, drawing from i + j on without replacement.
    let mut before = vec![0.0; second.len() + 1];
    for i in 0..=m {
        let mut row = vec![0.0; second.len() + 1];
        for j in 0..=n {
            row[j as usize] = if most <= (i * n).abs_diff(j * m) {
                1.0
            } else if i + j == 0 {
                0.0
            } else {
                // The last step to here came from the first sample in i of i + j ways.
                let from_first = if 0 < i { i as f64 * before[j as usize] } else { 0.0 };
                let from_second = if 0 < j { j as f64 * row[j as usize - 1] } else { 0.0 };
                (from_first + from_second) / (i + j) as f64
            };
        }
        before = row;
    }
    before[second.len()].min(1.0)
}

/// The two-sided p-value of a distance between large samples, 2 Σ (−1)ᵏ⁻¹ exp(−2 k² λ²) with λ² = D² m n / (m + n): Kolmogorov, "Sulla
/// determinazione empirica di una legge di distribuzione" (1933). 1 if a sample is empty.
pub fn kolmogorov_smirnov_limit(first: &[f64], second: &[f64]) -> f64 {
    let (m, n) = (first.len() as f64, second.len() as f64);
    let distance = kolmogorov_smirnov(first, second);
    kolmogorov_tail(if distance == 0.0 { 0.0 } else { distance * distance * m * n / (m + n) })
}

/// 2 Σ (−1)ᵏ⁻¹ exp(−2 k² λ²), from λ².
fn kolmogorov_tail(square: f64) -> f64 {
    // Below this the sum is 1 to the last digit.
    if square < 0.03 {
        return 1.0;
    }
    let mut sum = 0.0;
    for k in 1..100 {
        let k = f64::from(k);
        let term = libm::exp(-2.0 * k * k * square);
        sum += if k % 2.0 == 1.0 { term } else { -term };
        if term < 1e-18 * sum.abs() {
            break;
        }
    }
    (2.0 * sum).clamp(0.0, 1.0)
}

/// Whether values are spread evenly from 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Uniformity {
    /// The largest distance between their distribution and the even one.
    pub distance: f64,
    /// The two-sided p-value.
    pub p: f64,
}

/// How many values have their exact p-value, and up to which n D²: beyond it is below 10⁻⁶.
const EXACT_VALUES: usize = 500;
const EXACT_SQUARE: f64 = 7.24;

/// The test of Kolmogorov (1933) of one sample against the uniform distribution. It is what p-values of A/A tests must have, at all levels and not
/// only at the one whose alarms are counted. Exact for up to 500 values that can be anything; with equal ones it alarms less often. Beyond that, with
/// the correction of Stephens, "Use of the Kolmogorov–Smirnov, Cramér–von Mises and related statistics without extensive tables" (1970). A p-value of
/// 1 of no value.
pub fn uniformity(values: &[f64]) -> Uniformity {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = sorted.iter().enumerate().fold(0.0f64, |most, (index, value)| {
        let value = value.clamp(0.0, 1.0);
        most.max(value - index as f64 / n).max((index + 1) as f64 / n - value)
    });
    let square = n * distance * distance;
    let p = if sorted.is_empty() {
        1.0
    } else if sorted.len() <= EXACT_VALUES && square <= EXACT_SQUARE {
        (1.0 - kolmogorov_cdf(sorted.len(), distance)).clamp(0.0, 1.0)
    } else {
        let scaled = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
        kolmogorov_tail(scaled * scaled)
    };
    Uniformity { distance, p }
}

/// The probability of a smaller distance of n values from their distribution: n!/nⁿ times the middle of the n-th power of a matrix. Marsaglia, Tsang
/// and Wang, "Evaluating Kolmogorov's distribution" (2003).
fn kolmogorov_cdf(count: usize, distance: f64) -> f64 {
    let n = count as f64;
    let steps = (n * distance) as usize + 1;
    let h = steps as f64 - n * distance;
    let size = 2 * steps - 1;
    let mut matrix = vec![vec![0.0; size]; size];
    let powers: Vec<f64> =
        (0..=size).scan(1.0, |power, _| Some(std::mem::replace(power, *power * h))).collect();
    for (row, line) in matrix.iter_mut().enumerate() {
        for (column, cell) in line.iter_mut().enumerate() {
            let mut top = f64::from(u8::from(column <= row + 1));
            if column == 0 {
                top -= powers[row + 1];
            }
            if row + 1 == size {
                top -= powers[size - column];
            }
            if row + 1 == size && column == 0 && 0.5 < h {
                top += (0..size).fold(1.0, |power, _| power * (2.0 * h - 1.0));
            }
            *cell =
                if column <= row { (1..=row + 1 - column).fold(top, |cell, k| cell / k as f64) } else { top };
        }
    }
    // The power by squares, together with its part of n!/nⁿ so that nothing overflows.
    let scaled = |matrix: Vec<Vec<f64>>, by: f64| -> Vec<Vec<f64>> {
        matrix.into_iter().map(|line| line.into_iter().map(|cell| cell * by).collect()).collect()
    };
    let middle = steps - 1;
    let mut power = vec![vec![0.0; size]; size];
    (0..size).for_each(|at| power[at][at] = 1.0);
    // n!/nⁿ is some e⁻ⁿ: each factor takes its e⁻¹.
    let mut square = scaled(matrix, libm::exp(-1.0));
    let mut left = count;
    while 0 < left {
        if left % 2 == 1 {
            power = product(&power, &square);
        }
        left /= 2;
        if 0 < left {
            square = product(&square, &square);
        }
    }
    let rest: f64 = (1..=count).map(|k| libm::log(k as f64 / n) + 1.0).sum();
    power[middle][middle] * libm::exp(rest)
}

fn product(left: &[Vec<f64>], right: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let row = |line: &Vec<f64>| {
        let mut sums = vec![0.0; right.len()];
        for (factor, row) in line.iter().zip(right) {
            sums.iter_mut().zip(row).for_each(|(sum, cell)| *sum += factor * cell);
        }
        sums
    };
    left.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::base::Seed;
    use crate::statistics::tests::assert_near;

    #[test]
    fn signed_ranks_of_few_differences_are_counted_by_hand() {
        // All positive: 2/2ⁿ. Without 0.
        let found = signed_rank(&[1.0, 2.0, 0.0, 3.0, 4.0, 5.0]);
        assert_eq!((found.positive, found.negative), (15.0, 0.0));
        assert_near("exact", found.p_exact, 2.0 / 32.0, 1e-15);
        // Of ±1, ±2, ±3 with the sums 1 and 5: 1, 2 or less in 2 of 8 ways, twice.
        assert_near("one below", signed_rank(&[-1.0, 2.0, 3.0]).p_exact, 0.5, 1e-15);
        // Equal magnitudes are signs alone.
        assert_near("equal", signed_rank(&[1.0, 1.0, 1.0, -1.0]).p_exact, 10.0 / 16.0, 1e-15);
        for nothing in [&[][..], &[0.0, 0.0]] {
            let found = signed_rank(nothing);
            assert_eq!((found.p_exact, found.p_normal), (1.0, 1.0));
        }
        assert_eq!(signed_rank(&[2.0, -2.0]).p_normal, 1.0);
    }

    #[test]
    fn exact_and_approximate_p_values_agree_for_many() {
        let mut stream = Seed::new(1).stream("ranks");
        let sample: Vec<f64> = (0..120).map(|_| stream.random::<f64>() - 0.42).collect();
        let found = signed_rank(&sample);
        assert_near("both", found.p_normal, found.p_exact, 0.2);
        assert_eq!(signed_rank_normal(&sample), found.p_normal);
    }

    #[test]
    fn the_probability_of_superiority_counts_pairs() {
        let found = mann_whitney(&[1.0, 2.0, 3.0], &[2.0, 4.0]);
        assert_eq!(found.larger, 4.5);
        assert_near("part", found.superiority, 0.75, 1e-15);
        assert_eq!(mann_whitney(&[], &[1.0]).p, 1.0);
        assert_eq!(mann_whitney(&[1.0, 1.0], &[1.0]).p, 1.0);
        let (one, other) = ([1.0, 5.0, 2.5], [0.5, 7.0, 8.0, 9.0]);
        assert_near("swapped", mann_whitney(&one, &other).p, mann_whitney(&other, &one).p, 1e-14);
    }

    #[test]
    fn shifts_move_with_their_sample() {
        assert_eq!(hodges_lehmann(&[1.0, 2.0, 9.0]), 3.5);
        assert_eq!((hodges_lehmann(&[]), hodges_lehmann_of_two(&[], &[1.0])), (0.0, 0.0));
        assert_eq!(hodges_lehmann_of_two(&[1.0, 2.0, 3.0], &[11.0, 12.0, 13.0]), 10.0);
    }

    #[test]
    fn distances_of_distributions_are_counted_by_hand() {
        // Wholly apart: 2 of (m + n choose m) ways.
        let (low, high) = ([1.0, 2.0, 3.0], [4.0, 5.0]);
        assert_eq!(kolmogorov_smirnov(&low, &high), 1.0);
        assert_near("apart", kolmogorov_smirnov_exact(&low, &high), 0.2, 1e-15);
        assert_eq!(kolmogorov_smirnov_exact(&low, &low), 1.0);
        assert_eq!(kolmogorov_smirnov_limit(&low, &low), 1.0);
        assert_eq!((kolmogorov_smirnov(&[], &low), kolmogorov_smirnov_exact(&[], &low)), (0.0, 1.0));
        let mut stream = Seed::new(2).stream("distances");
        let one: Vec<f64> = (0..400).map(|_| stream.random::<f64>()).collect();
        let other: Vec<f64> =
            (0..300).map(|_| 0.1 * stream.random::<f64>() + 0.9 * stream.random::<f64>()).collect();
        let (exact, limit) = (kolmogorov_smirnov_exact(&one, &other), kolmogorov_smirnov_limit(&one, &other));
        assert_near("limit", limit, exact, 0.2);
    }

    #[test]
    fn the_distribution_of_kolmogorov_is_that_of_marsaglia_tsang_and_wang() {
        assert_near("n = 10", kolmogorov_cdf(10, 0.274), 0.628_479_615_456_504_3, 1e-12);
        // One value: 2 D − 1 from ½ on. Two: 2 (2 D − ½)² up to ½, and 1 − 2 (1 − D)² beyond.
        assert_near("n = 1", kolmogorov_cdf(1, 0.8), 0.6, 1e-14);
        assert_near("n = 2", kolmogorov_cdf(2, 0.4), 0.18, 1e-13);
        assert_near("n = 2", kolmogorov_cdf(2, 0.7), 0.82, 1e-13);
        // The tail of many by the limit with its correction.
        for square in [0.8, 1.5, 3.0] {
            let n = EXACT_VALUES as f64;
            let distance = f64::sqrt(square / n);
            let scaled = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
            assert_near(
                "limit",
                1.0 - kolmogorov_cdf(EXACT_VALUES, distance),
                kolmogorov_tail(scaled * scaled),
                0.02,
            );
        }
    }

    #[test]
    fn values_that_are_not_spread_evenly_are_found() {
        // kstest([.1, .4, .7], "uniform"): D = .3, and by hand.
        let found = uniformity(&[0.7, 0.1, 0.4]);
        assert_near("distance", found.distance, 0.3, 1e-14);
        assert_eq!(uniformity(&[]).p, 1.0);
        assert!(uniformity(&[0.5; 300]).p < 1e-12);
        let mut stream = Seed::new(4).stream("uniformity");
        for count in [5, 60, 700] {
            let mut alarms = |power: u32| {
                let sample = |_| {
                    let one = |_| (0..power).map(|_| stream.random::<f64>()).fold(0.0, f64::max);
                    uniformity(&(0..count).map(one).collect::<Vec<f64>>()).p
                };
                (0..1000).map(sample).filter(|p| *p < 0.05).count()
            };
            // 50 of 1,000, ± 3.5 deviations of 6.9.
            let alone = alarms(1);
            assert!((26..=74).contains(&alone), "{count}: {alone}");
            assert!(count < 60 || 900 < alarms(2), "{count}");
        }
    }
}
