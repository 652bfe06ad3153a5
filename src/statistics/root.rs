//! Where a function crosses zero. Both methods take the same steps on every machine.

/// How often an interval is halved: until its ends are neighbouring numbers.
const HALVINGS: u32 = 200;

/// How many steps are taken of the faster method.
const STEPS: u32 = 100;

/// The number between `low` and `high` from which on `below` no longer holds, by halving; an end if it holds nowhere or everywhere.
pub fn boundary(low: f64, high: f64, below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (low, high);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || high <= middle {
            break;
        }
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The zero of a continuous function that is negative at `low` and not at `high`, to a relative error of 10⁻¹³: false position with the
/// Illinois rule (Dowell and Jarratt, "A modified regula falsi method for computing the root of an equation", 1971), which needs a tenth of
/// the evaluations. The nearer end if the signs are otherwise.
pub fn crossing(low: f64, high: f64, function: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (low, high);
    let (mut at_low, mut at_high) = (function(low), function(high));
    if 0.0 <= at_low {
        return low;
    }
    if at_high <= 0.0 {
        return high;
    }
    for _ in 0..STEPS {
        let middle = (low * at_high - high * at_low) / (at_high - at_low);
        let middle = if low < middle && middle < high { middle } else { 0.5 * (low + high) };
        let found = function(middle);
        if found == 0.0 {
            return middle;
        }
        // The end that stays counts half, so that it moves the next time.
        if found < 0.0 {
            (low, at_low, at_high) = (middle, found, 0.5 * at_high);
        } else {
            (high, at_high, at_low) = (middle, found, 0.5 * at_low);
        }
        if high - low <= 1e-13 * high.abs().max(low.abs()) {
            break;
        }
    }
    if at_high < -at_low { high } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn both_methods_find_the_root_of_two() {
        assert_near("halving", boundary(0.0, 2.0, |x| x * x < 2.0), 2f64.sqrt(), 1e-15);
        assert_near("false position", crossing(0.0, 2.0, |x| x * x - 2.0), 2f64.sqrt(), 1e-13);
        assert_near("a steep function", crossing(0.0, 40.0, |x| libm::exp(x) - 1e6), libm::log(1e6), 1e-13);
        assert_eq!((crossing(2.0, 3.0, |x| x), crossing(-3.0, -2.0, |x| x)), (2.0, -2.0));
        assert_eq!(boundary(1.0, 2.0, |_| true), 2.0);
    }
}
