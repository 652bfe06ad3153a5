//! Means adjusted by what was known before an experiment, so that less of them is chance: of a quantity, and of a ratio.

use crate::statistics::means::{ArmMean, Difference, Moments, quotient, ratio, welch, welch_degrees};

/// What is left of a difference after what was known before the experiment is taken out: CUPED of Deng, Xu, Kohavi and Walker, "Improving the
/// sensitivity of online controlled experiments by utilizing pre-experiment data" (2013).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adjusted {
    /// By how much a unit more before is a unit more after, θ.
    pub theta: f64,
    /// The adjusted mean of control, m − θ (m_before − that of both arms).
    pub control: ArmMean,
    /// The adjusted mean of treated.
    pub treated: ArmMean,
    /// The difference relative to the mean of control *without* adjustment, as the gbstats library has it: what was before is no part of what
    /// is compared with. (tea-tasting divides by the adjusted mean; that is [`crate::statistics::means::relative`] of both arms.)
    pub relative: Difference,
}

impl Adjusted {
    /// The absolute difference.
    pub fn absolute(&self) -> Difference {
        welch(&self.control, &self.treated)
    }
}

/// Adjusts the first quantity by the second, which was known before: θ = Cov / Var over the users of both arms thrown together; 0 where what was
/// before does not vary.
pub fn cuped(control: &Moments<2>, treated: &Moments<2>) -> Adjusted {
    let mut together = *control;
    together.merge(treated);
    let theta = quotient(together.covariance(0, 1), together.variance(1));
    let part = |moments: &Moments<2>| Part {
        count: moments.count(),
        after: moments.mean(0),
        before: moments.mean(1),
        after_variance: moments.variance(0),
        before_variance: moments.variance(1),
        covariance: moments.covariance(0, 1),
    };
    adjust(theta, &part(control), &part(treated), together.mean(1), Slope::Unadjusted)
}

/// Whose θ a ratio is adjusted with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RatioTheta {
    /// The covariances of the ratios of both arms to the variances of both, as the gbstats library has it: an effect does not change θ.
    WithinArms,
    /// Of the users of both arms thrown together, as tea-tasting has it.
    Together,
}

/// Adjusts the ratio of the first quantity to the second by that of the third to the fourth, which were known before, by the delta method over all
/// four.
pub fn cuped_ratio(control: &Moments<4>, treated: &Moments<4>, theta: RatioTheta) -> Adjusted {
    let mut together = *control;
    together.merge(treated);
    let (one, other, both) = (ratio_part(control), ratio_part(treated), ratio_part(&together));
    let theta = match theta {
        RatioTheta::WithinArms => {
            quotient(one.covariance + other.covariance, one.before_variance + other.before_variance)
        }
        RatioTheta::Together => quotient(both.covariance, both.before_variance),
    };
    adjust(theta, &one, &other, both.before, Slope::Adjusted)
}

/// What an arm shows after and before.
struct Part {
    count: u64,
    after: f64,
    before: f64,
    after_variance: f64,
    before_variance: f64,
    covariance: f64,
}

fn ratio_part(moments: &Moments<4>) -> Part {
    let (after, slope) = ratio(moments.mean(0), moments.mean(1));
    let (before, slope_before) = ratio(moments.mean(2), moments.mean(3));
    let (along, along_before) =
        ([slope[0], slope[1], 0.0, 0.0], [0.0, 0.0, slope_before[0], slope_before[1]]);
    Part {
        count: moments.count(),
        after,
        before,
        after_variance: moments.covariance_along(&along, &along),
        before_variance: moments.covariance_along(&along_before, &along_before),
        covariance: moments.covariance_along(&along, &along_before),
    }
}

/// Which relative difference tells how the relative difference changes with control. They differ by what arms differ before, which is expected to
/// be 0; the gbstats library takes the first for means and the second, which is exact, for ratios.
#[derive(Clone, Copy)]
enum Slope {
    Unadjusted,
    Adjusted,
}

fn adjust(theta: f64, control: &Part, treated: &Part, before: f64, slope: Slope) -> Adjusted {
    // What varies of scale × after − θ × before.
    let variance = |part: &Part, scale: f64| {
        let spread = scale * scale * part.after_variance - 2.0 * theta * scale * part.covariance;
        (spread + theta * theta * part.before_variance).max(0.0)
    };
    let arm = |part: &Part| ArmMean {
        users: part.count,
        value: part.after - theta * (part.before - before),
        variance: variance(part, 1.0),
    };
    let (adjusted_control, adjusted_treated) = (arm(control), arm(treated));
    // Control counts in both numerator and denominator: the slope is −(1 + the relative difference).
    let grown = match slope {
        Slope::Unadjusted => treated.after,
        Slope::Adjusted => control.after + adjusted_treated.value - adjusted_control.value,
    };
    let growth = quotient(grown, control.after);
    let of_control = ArmMean { variance: variance(control, growth), ..adjusted_control };
    let error = (adjusted_treated.error() + of_control.error()).sqrt();
    Adjusted {
        theta,
        control: adjusted_control,
        treated: adjusted_treated,
        relative: Difference {
            estimate: quotient(adjusted_treated.value - adjusted_control.value, control.after.abs()),
            standard_error: quotient(error, control.after.abs()),
            degrees_of_freedom: welch_degrees(&adjusted_control, &adjusted_treated, [1.0; 2]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_nobody_nothing_is_adjusted() {
        let found = cuped(&Moments::default(), &Moments::default());
        assert_eq!((found.theta, found.absolute().p(), found.relative.p()), (0.0, 1.0, 1.0));
        let found = cuped_ratio(&Moments::default(), &Moments::default(), RatioTheta::Together);
        assert_eq!((found.theta, found.relative.p()), (0.0, 1.0));
    }
}
