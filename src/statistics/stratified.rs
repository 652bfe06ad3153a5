//! Shares of two arms in several strata: one odds ratio for all of them.

use crate::statistics::{gamma, root};

/// A stratum: `[control, treated]`, each successes and failures.
pub type Table = [[u64; 2]; 2];

/// What all strata say together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stratified {
    /// The odds of control to those of treated, Σ a d/n / Σ b c/n: Mantel and Haenszel, "Statistical aspects of the analysis of data from
    /// retrospective studies of disease" (1959). Not a number where both sums are 0: no stratum compares anything.
    pub odds_ratio: f64,
    /// The standard error of its logarithm: Robins, Breslow and Greenland, "Estimators of the Mantel-Haenszel variance consistent in both sparse
    /// data and large-strata limiting models" (1986). Infinite where the odds ratio is 0 or infinite.
    pub log_standard_error: f64,
    /// The statistic of Cochran, Mantel and Haenszel, (Σ a − Σ E a)² / Σ Var a, without a correction; 0 where nothing is compared.
    pub chi_squared: f64,
    /// Its p-value.
    pub p: f64,
    /// How much odds ratios differ between strata, Σ (a − ã)² / Var ã with ã as the common odds ratio has it: Breslow and Day, "Statistical
    /// methods in cancer research" I (1980), without the correction of Tarone.
    pub heterogeneity: f64,
    /// Its p-value, of one degree of freedom less than there are strata; 1 where it cannot be asked.
    pub heterogeneity_p: f64,
}

/// The test and estimate of Cochran, Mantel and Haenszel over strata. Strata in which an arm is empty, or all trials end alike, say nothing and
/// are left out.
pub fn cochran_mantel_haenszel(tables: &[Table]) -> Stratified {
    let tables: Vec<[f64; 4]> = tables
        .iter()
        .map(|[[a, b], [c, d]]| [*a as f64, *b as f64, *c as f64, *d as f64])
        .filter(|[a, b, c, d]| [a + b, c + d, a + c, b + d].into_iter().all(|margin| 0.0 < margin))
        .collect();
    let (mut difference, mut variance) = (0.0, 0.0);
    // The sums R and S of the odds ratio, and those of its error.
    let (mut over, mut under, mut over_over, mut both, mut under_under) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for [a, b, c, d] in &tables {
        let all = a + b + c + d;
        difference += a - (a + b) / all * (a + c);
        variance += (a + b) / all * (c + d) / all * (a + c) * (b + d) / (all - 1.0);
        let (r, s, agree, differ) = (a * d / all, b * c / all, (a + d) / all, (b + c) / all);
        over += r;
        under += s;
        over_over += agree * r;
        both += agree * s + differ * r;
        under_under += differ * s;
    }
    let odds_ratio = over / under;
    let log_variance = if 0.0 < over && 0.0 < under {
        0.5 * (over_over / over / over + both / over / under + under_under / under / under)
    } else {
        f64::INFINITY
    };
    let chi_squared = if difference == 0.0 { 0.0 } else { difference / variance * difference };
    let comparable = 0.0 < odds_ratio && odds_ratio.is_finite() && 1 < tables.len();
    let heterogeneity =
        if comparable { tables.iter().map(|table| breslow_day(table, odds_ratio)).sum() } else { 0.0 };
    Stratified {
        odds_ratio,
        log_standard_error: log_variance.sqrt(),
        chi_squared,
        p: gamma::chi_squared_sf(chi_squared, 1.0),
        heterogeneity,
        heterogeneity_p: if comparable {
            gamma::chi_squared_sf(heterogeneity, (tables.len() - 1) as f64)
        } else {
            1.0
        },
    }
}

/// How far a stratum is from the common odds ratio.
fn breslow_day([a, b, c, d]: &[f64; 4], odds_ratio: f64) -> f64 {
    let (low, high) = ((a - d).max(0.0), (a + b).min(a + c));
    // With these margins, a tells all cells, and the odds ratio rises with it.
    let cells = |x: f64| [x, a + b - x, a + c - x, d - a + x];
    let expected = root::boundary(low, high, |x| {
        let [a, b, c, d] = cells(x);
        a * d < odds_ratio * b * c
    });
    let inverse: f64 = cells(expected).into_iter().map(|cell| 1.0 / cell).sum();
    (a - expected) * (a - expected) * inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::proportion::{self, Share};
    use crate::statistics::tests::assert_near;

    #[test]
    fn one_stratum_is_a_table_of_two_by_two() {
        let found = cochran_mantel_haenszel(&[[[40, 360], [60, 340]]]);
        let table = proportion::chi_squared(Share::new(40, 400), Share::new(60, 400));
        assert_near("odds", found.odds_ratio, 40.0 * 340.0 / (360.0 * 60.0), 1e-14);
        assert_near("χ²", found.chi_squared, table.chi_squared * 799.0 / 800.0, 1e-12);
        let error: f64 = 1.0 / 40.0 + 1.0 / 360.0 + 1.0 / 60.0 + 1.0 / 340.0;
        assert_near("error", found.log_standard_error, error.sqrt(), 1e-12);
        assert_eq!((found.heterogeneity, found.heterogeneity_p), (0.0, 1.0));
    }

    #[test]
    fn a_paradox_of_simpson_is_resolved() {
        // Treated is better in both strata, and worse if they are thrown together.
        let found = cochran_mantel_haenszel(&[[[81, 6], [234, 36]], [[192, 71], [55, 25]]]);
        assert!(1.0 < found.odds_ratio);
        let together = proportion::pooled(Share::new(273, 350), Share::new(289, 350));
        assert!(0.0 < together.z);
    }

    #[test]
    fn strata_that_compare_nothing_change_nothing() {
        let strata = [[[40, 360], [60, 340]], [[15, 185], [22, 178]]];
        let found = cochran_mantel_haenszel(&strata);
        let more = [strata[0], [[0, 0], [3, 4]], strata[1], [[0, 5], [0, 6]]];
        assert_eq!(cochran_mantel_haenszel(&more), found);
        let nothing = cochran_mantel_haenszel(&[]);
        assert_eq!((nothing.p, nothing.heterogeneity_p, nothing.odds_ratio.is_nan()), (1.0, 1.0, true));
    }

    #[test]
    fn odds_ratios_that_differ_are_seen_and_equal_ones_are_not() {
        let alike = cochran_mantel_haenszel(&[[[40, 60], [20, 80]], [[400, 600], [200, 800]]]);
        assert!(alike.heterogeneity < 1e-9);
        assert!(0.999 < alike.heterogeneity_p);
        let apart = cochran_mantel_haenszel(&[[[40, 60], [20, 80]], [[200, 800], [400, 600]]]);
        assert!(apart.heterogeneity_p < 1e-6);
    }
}
