//! Least squares of a few columns: sums in the order of the rows, so that the result is the same on every machine.

/// A symmetric positive definite matrix, by its lower triangular factor: A = L Lᵀ, Cholesky (1910).
#[derive(Clone, PartialEq, Debug)]
pub struct Cholesky {
    dimension: usize,
    /// L row by row, as many numbers to a row as there are columns.
    lower: Vec<f64>,
}

impl Cholesky {
    /// The factor of a matrix, of which the lower triangle is looked at; none if it is not positive definite, or is so near a singular one that
    /// a diagonal loses all but three of its digits.
    pub fn new(matrix: &[Vec<f64>]) -> Option<Self> {
        let d = matrix.len();
        let mut lower = vec![0.0; d * d];
        for (index, row) in matrix.iter().enumerate() {
            for column in 0..=index {
                let known = dot(&lower[index * d..][..column], &lower[column * d..][..column]);
                let rest = row[column] - known;
                lower[index * d + column] = if column < index {
                    rest / lower[column * d + column]
                } else if 1e-13 * row[column] < rest && rest.is_finite() {
                    rest.sqrt()
                } else {
                    return None;
                };
            }
        }
        Some(Self { dimension: d, lower })
    }

    /// The factor of `diagonal` times the identity.
    pub fn of_identity(dimension: usize, diagonal: f64) -> Self {
        let mut lower = vec![0.0; dimension * dimension];
        (0..dimension).for_each(|at| lower[at * dimension + at] = diagonal.sqrt());
        Self { dimension, lower }
    }

    /// Makes it the factor of A + x xᵀ, by rotations: Golub and Van Loan, "Matrix computations" (2013), 6.5.4.
    pub fn update(&mut self, x: &[f64]) {
        let d = self.dimension;
        let mut rest = x.to_vec();
        for column in 0..d {
            let diagonal = self.lower[column * d + column];
            let radius = (diagonal * diagonal + rest[column] * rest[column]).sqrt();
            let (cosine, sine) = (diagonal / radius, rest[column] / radius);
            self.lower[column * d + column] = radius;
            let below = self.lower.chunks_exact_mut(d).zip(&mut rest).skip(column + 1);
            for (row, rest) in below {
                let old = row[column];
                row[column] = cosine * old + sine * *rest;
                *rest = cosine * *rest - sine * old;
            }
        }
    }

    /// Solves L y = x in place.
    pub fn solve_lower(&self, x: &mut [f64]) {
        let d = self.dimension;
        for row in 0..d {
            let known = dot(&self.lower[row * d..row * d + row], &x[..row]);
            x[row] = (x[row] - known) / self.lower[row * d + row];
        }
    }

    /// Solves Lᵀ y = x in place.
    pub fn solve_upper(&self, x: &mut [f64]) {
        let d = self.dimension;
        for row in (0..d).rev() {
            x[row] /= self.lower[row * d + row];
            let (solved, done) = (x[row], row * d);
            for (rest, factor) in x[..row].iter_mut().zip(&self.lower[done..done + row]) {
                *rest -= factor * solved;
            }
        }
    }

    /// The solution x of A x = b.
    pub fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut solution = right.to_vec();
        self.solve_lower(&mut solution);
        self.solve_upper(&mut solution);
        solution
    }

    /// The inverse of A.
    pub fn inverse(&self) -> Vec<Vec<f64>> {
        let unit =
            |at: usize| (0..self.dimension).map(|k| f64::from(u8::from(k == at))).collect::<Vec<f64>>();
        (0..self.dimension).map(|at| self.solve(&unit(at))).collect()
    }
}

/// The sum of products.
pub(crate) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// A fit of weighted least squares: it minimises Σ w (y − xᵀβ)².
#[derive(Clone, PartialEq, Debug)]
pub struct Fit {
    /// The coefficients β.
    pub coefficients: Vec<f64>,
    /// y − xᵀβ of each row.
    pub residuals: Vec<f64>,
    /// (XᵀWX)⁻¹.
    pub inverse: Vec<Vec<f64>>,
    /// Σ w (y − xᵀβ)² / (rows − columns).
    pub scale: f64,
}

/// Fits rows of columns to values, all weighted alike if there are no weights. None with no more rows than columns, or where the columns
/// depend on each other. One step of refinement makes up for the digits that the normal equations lose.
///
/// # Panics
/// If there are not as many values, and weights, as rows.
pub fn least_squares(rows: &[Vec<f64>], values: &[f64], weights: Option<&[f64]>) -> Option<Fit> {
    assert_eq!(rows.len(), values.len(), "a value for each row");
    assert!(weights.is_none_or(|weights| weights.len() == rows.len()), "a weight for each row");
    let columns = rows.first()?.len();
    if rows.len() <= columns {
        return None;
    }
    let weight = |index: usize| weights.map_or(1.0, |weights| weights[index]);
    let mut matrix = vec![vec![0.0; columns]; columns];
    for (index, row) in rows.iter().enumerate() {
        for (one, line) in matrix.iter_mut().enumerate() {
            for (other, cell) in line.iter_mut().enumerate() {
                *cell += weight(index) * row[one] * row[other];
            }
        }
    }
    let factor = Cholesky::new(&matrix)?;
    let mut coefficients = vec![0.0; columns];
    let mut residuals = values.to_vec();
    for _ in 0..2 {
        let mut right = vec![0.0; columns];
        for (index, row) in rows.iter().enumerate() {
            for (sum, column) in right.iter_mut().zip(row) {
                *sum += weight(index) * column * residuals[index];
            }
        }
        coefficients.iter_mut().zip(factor.solve(&right)).for_each(|(sum, change)| *sum += change);
        for (index, row) in rows.iter().enumerate() {
            let fitted: f64 = row.iter().zip(&coefficients).map(|(column, by)| column * by).sum();
            residuals[index] = values[index] - fitted;
        }
    }
    let squares: f64 = residuals.iter().enumerate().map(|(index, rest)| weight(index) * rest * rest).sum();
    let scale = squares / (rows.len() - columns) as f64;
    Some(Fit { coefficients, residuals, inverse: factor.inverse(), scale })
}

impl Fit {
    /// The standard error of a coefficient, if all rows vary alike (but for their weights).
    pub fn standard_error(&self, column: usize) -> f64 {
        (self.scale * self.inverse[column][column]).sqrt()
    }

    /// The standard error of a coefficient of an unweighted fit whose rows may vary differently: HC1 of MacKinnon and White, "Some
    /// heteroskedasticity-consistent covariance matrix estimators with improved finite sample properties" (1985),
    /// (XᵀX)⁻¹ (Σ e² x xᵀ) (XᵀX)⁻¹ · n / (n − k).
    pub fn robust_standard_error(&self, rows: &[Vec<f64>], column: usize) -> f64 {
        let (count, columns) = (rows.len() as f64, self.coefficients.len() as f64);
        let mut sum = 0.0;
        for (row, residual) in rows.iter().zip(&self.residuals) {
            let lever: f64 = row.iter().zip(&self.inverse[column]).map(|(x, by)| x * by).sum();
            sum += lever * lever * residual * residual;
        }
        (sum * count / (count - columns)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn a_line_through_points_is_found_and_its_errors_are_those_of_r() {
        // summary(lm(c(1, 3, 2, 5) ~ c(0, 1, 2, 3)))
        let rows: Vec<Vec<f64>> = (0..4).map(|x| vec![1.0, f64::from(x)]).collect();
        let fit = least_squares(&rows, &[1.0, 3.0, 2.0, 5.0], None).expect("a line");
        assert_near("intercept", fit.coefficients[0], 1.1, 1e-14);
        assert_near("slope", fit.coefficients[1], 1.1, 1e-14);
        assert_near("scale", fit.scale, 1.35, 1e-13);
        assert_near("error", fit.standard_error(1), (1.35f64 / 5.0).sqrt(), 1e-13);
        // Σ (x − x̄)² e² / 25 · 4 / 2, of the residuals −.1, .8, −1.3, .6.
        let robust = ((2.25 * 0.01 + 0.25 * 0.64 + 0.25 * 1.69 + 2.25 * 0.36) / 25.0 * 2.0f64).sqrt();
        assert_near("robust", fit.robust_standard_error(&rows, 1), robust, 1e-13);
    }

    #[test]
    fn what_has_no_answer_has_none() {
        let twice: Vec<Vec<f64>> = (0..4).map(|x| vec![f64::from(x), 2.0 * f64::from(x)]).collect();
        assert_eq!(least_squares(&twice, &[1.0, 2.0, 3.0, 4.0], None), None);
        assert_eq!(least_squares(&twice[..2], &[1.0, 2.0], None), None);
        assert_eq!(least_squares(&[], &[], None), None);
        assert_eq!(Cholesky::new(&[vec![1.0, 2.0], vec![2.0, 1.0]]), None);
    }

    #[test]
    fn an_inverse_undoes_its_matrix() {
        let matrix = vec![vec![4.0, 2.0, 0.6], vec![2.0, 5.0, 1.0], vec![0.6, 1.0, 3.0]];
        let inverse = Cholesky::new(&matrix).expect("positive definite").inverse();
        for (row, line) in matrix.iter().enumerate() {
            // The inverse is symmetric, too.
            for (column, of_inverse) in inverse.iter().enumerate() {
                let product: f64 = line.iter().zip(of_inverse).map(|(one, other)| one * other).sum();
                assert_near("identity", 1.0 + product, 1.0 + f64::from(u8::from(row == column)), 1e-14);
            }
        }
    }
}
