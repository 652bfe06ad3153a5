//! The beta distribution.

use std::f64::consts::PI;

use crate::statistics::{normal, root, stirling};

/// How many terms of the continued fraction are taken at most: it converges within some √max(a, b).
const TERMS_MAX: u32 = 20_000;

/// How many of Newton's steps are tried: it needs some five.
const STEPS_MAX: u32 = 50;

/// How often a tail is followed before it is computed anew, and to which part it may fall: its error is then some 10⁻¹³.
const TAIL_STEPS_MAX: u32 = 64;
const TAIL_FALL_MAX: f64 = 4.0;

/// Of each term k of the series of a density: k, 1 / (k + 1), and 1 / (k + 2).
const SERIES: [(f64, (f64, f64)); 16] = {
    let (mut all, mut k) = ([(0.0, (0.0, 0.0)); 16], 0);
    while k < all.len() {
        all[k] = (k as f64, (1.0 / (k as f64 + 1.0), 1.0 / (k as f64 + 2.0)));
        k += 1;
    }
    all
};

/// The regularised incomplete beta function I_x(a, b), the probability of a value up to `x`: the continued fraction 8.17.22 of the
/// NIST Digital Library of Mathematical Functions, by the modified method of Lentz. The probability of more is `cdf(1 − x, b, a)`.
pub fn cdf(x: f64, a: f64, b: f64) -> f64 {
    cdf_of_parts(x, 1.0 - x, a, b)
}

/// The same, where also `rest`, 1 − x, is known with all its digits.
pub fn cdf_of_parts(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if rest <= 0.0 {
        return 1.0;
    }
    // Where the fraction converges fast.
    if (a + 1.0) / (a + b + 2.0) < x {
        return 1.0 - front(rest, x, b, a) / b * fraction(rest, b, a);
    }
    front(x, rest, a, b) / a * fraction(x, a, b)
}

/// The probability of a value above `x`, and the density there, for x between 0 and 1.
pub fn above(x: f64, a: f64, b: f64) -> (f64, f64) {
    let rest = 1.0 - x;
    let front = front(x, rest, a, b);
    let above = if (a + 1.0) / (a + b + 2.0) < x {
        front / b * fraction(rest, b, a)
    } else {
        1.0 - front / a * fraction(x, a, b)
    };
    (above, front / (x * rest))
}

/// The upper tail of a beta distribution at a place, which can be followed while place and shapes change a little, for far less than what it
/// costs to compute it anew.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tail {
    /// The place, between 0 and 1.
    pub x: f64,
    a: f64,
    b: f64,
    /// The probability of a value above it.
    pub above: f64,
    /// The density there.
    pub density: f64,
    /// How often it was followed since it was computed, and the largest probability since: that of which there may be rounding errors.
    steps: u32,
    largest: f64,
}

impl Tail {
    /// Computed anew.
    pub fn new(x: f64, a: f64, b: f64) -> Self {
        let (above, density) = above(x, a, b);
        Self { x, a, b, above, density, steps: 0, largest: above }
    }

    /// The shapes of the distribution.
    #[inline]
    pub fn shapes(&self) -> (f64, f64) {
        (self.a, self.b)
    }

    /// At another place, by the series of the density, whose coefficients follow from x (1 − x) f' = (a − 1 − (a + b − 2) x) f. None if that
    /// would take many terms or cost digits, or it was followed long enough.
    pub fn moved(&self, x: f64) -> Option<Self> {
        let (away, variance) = (x - self.x, self.x * (1.0 - self.x));
        let (sum, scale) = (self.a + self.b - 2.0, away / variance);
        let (slope, skew) = (scale * (self.a - 1.0 - sum * self.x), scale * (1.0 - 2.0 * self.x));
        let square = scale * away;
        // The terms of f(x + away) / f(x), and the sums of them and of those of its integral.
        let (mut before, mut term, mut density, mut between) = (0.0, 1.0, 1.0, 1.0);
        for (k, inverse) in SERIES {
            let next = (slope - skew * k) * inverse.0 * term + (k - 1.0 - sum) * square * inverse.0 * before;
            (before, term) = (term, next);
            density += term;
            between += term * inverse.1;
            if term.abs() + before.abs() < f64::EPSILON {
                let above = self.above - self.density * away * between;
                let mut there = Self { x, above, density: self.density * density, ..*self };
                return there.follows().then_some(there);
            }
        }
        None
    }

    /// What the probability of more than another place is not below; 0 unless both lie where the density falls. It falls ever faster, as its
    /// logarithm is concave for shapes of at least 1: between two places it is above that of the right one, and right of one below the
    /// exponential that touches it there, f(x) exp(s (y − x)), whose integral (eᶻ − 1) / z is at most 1 + z/2 + z²/6 for a negative z.
    #[inline]
    pub fn above_at_least(&self, x: f64) -> f64 {
        let (left, away) = (x.min(self.x), x - self.x);
        let falls = (self.a - 1.0) * (1.0 - left) < (self.b - 1.0) * left;
        if self.a < 1.0 || self.b < 1.0 || !falls {
            return 0.0;
        }
        if away < 0.0 {
            return self.above - self.density * away;
        }
        let z = ((self.a - 1.0) / self.x - (self.b - 1.0) / (1.0 - self.x)) * away;
        self.above - self.density * away * (1.0 + z * (0.5 + z / 6.0))
    }

    /// Follows it to one success or failure more, by the recurrences 8.17.20 and 8.17.21 of the NIST Digital Library of Mathematical Functions.
    /// False where that cannot be: for a reward between, or where it would cost digits. It is of no use then.
    #[inline]
    pub fn learn(&mut self, reward: f64) -> bool {
        let front = self.density * self.x * (1.0 - self.x);
        if reward == 1.0 {
            self.above += front / self.a;
            self.density *= self.x * (self.a + self.b) / self.a;
            self.a += 1.0;
        } else {
            self.above -= front / self.b;
            self.density *= (1.0 - self.x) * (self.a + self.b) / self.b;
            self.b += 1.0;
        }
        self.follows() && (reward == 1.0 || reward == 0.0)
    }

    /// Counts a step, and tells whether the probability has not become too small for the errors that it may have.
    #[inline]
    fn follows(&mut self) -> bool {
        self.steps += 1;
        self.largest = self.largest.max(self.above);
        self.steps <= TAIL_STEPS_MAX && self.largest < TAIL_FALL_MAX * self.above
    }
}

/// xᵃ (1 − x)ᵇ / B(a, b), without losing digits where both are large: Loader, "Fast and accurate computation of binomial probabilities"
/// (2000).
fn front(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    let sum = a + b;
    let curve = stirling::remainder(sum) - stirling::remainder(a) - stirling::remainder(b);
    let away = stirling::deviance(a, sum * x) + stirling::deviance(b, sum * rest);
    (a / sum * b / (2.0 * PI)).sqrt() * libm::exp(curve - away)
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let away_from_zero = |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut product = d;
    for term in 1..TERMS_MAX {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + coefficient * d);
            c = away_from_zero(1.0 + coefficient / c);
            change = c * d;
            product *= change;
        }
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    product
}

/// The probability of more than `f` in the distribution of Fisher and Snedecor with these degrees of freedom: I(ν₂/(ν₂ + ν₁ f); ν₂/2, ν₁/2).
pub fn f_sf(f: f64, [over, under]: [f64; 2]) -> f64 {
    if f <= 0.0 {
        return 1.0;
    }
    let sum = under + over * f;
    if sum.is_infinite() {
        return 0.0;
    }
    cdf_of_parts(under / sum, over * f / sum, 0.5 * under, 0.5 * over)
}

/// The value up to which there is the probability `p`, as exact as the distribution: by Newton's method, from the quantile of the normal
/// distribution of the same mean and variance; by halving where a step would leave the interval that holds it, or does not get there.
pub fn quantile(p: f64, a: f64, b: f64) -> f64 {
    let mean = a / (a + b);
    let deviation = (mean * (1.0 - mean) / (a + b + 1.0)).sqrt();
    let (mut low, mut high) = (0.0, 1.0);
    let mut x = mean + normal::quantile(p) * deviation;
    for _ in 0..STEPS_MAX {
        if !(low < x && x < high) {
            x = 0.5 * (low + high);
        }
        let apart = cdf(x, a, b) - p;
        if apart < 0.0 {
            low = x;
        } else {
            high = x;
        }
        let density = front(x, 1.0 - x, a, b) / (x * (1.0 - x));
        let next = x - apart / density;
        if (next - x).abs() <= 1e-14 * x {
            return next.clamp(low, high);
        }
        x = next;
    }
    root::boundary(low, high, |x| cdf(x, a, b) < p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn the_distribution_agrees_with_scipy_and_its_quantile_undoes_it() {
        for (a, b, x, expected) in [
            (0.5, 0.5, 0.3, 0.36901011956554536),
            (2.0, 3.0, 0.4, 0.5247999999999999),
            (50.0, 950.0, 0.05, 0.5173695437269733),
            (5001.0, 95001.0, 0.0501, 0.5542089829998345),
        ] {
            assert_near("cdf", cdf(x, a, b), expected, 1e-9);
            assert_near("quantile", quantile(expected, a, b), x, 1e-9);
            let (above_x, density) = above(x, a, b);
            assert_near("above", above_x, 1.0 - expected, 1e-9);
            let slope = (cdf(x * (1.0 + 1e-6), a, b) - cdf(x * (1.0 - 1e-6), a, b)) / (2e-6 * x);
            assert_near("density", density, slope, 1e-6);
        }
        assert_eq!((cdf(0.0, 2.0, 3.0), cdf(1.0, 2.0, 3.0)), (0.0, 1.0));
    }

    #[test]
    fn newtons_quantile_is_that_of_halving() {
        for (a, b) in
            [(1.0, 1.0), (1.0, 11.0), (11.0, 1.0), (6.0, 6.0), (51.0, 951.0), (2.0, 1e6), (0.3, 40.0)]
        {
            for p in [1e-9, 0.025, 0.5, 0.9, 0.999, 1.0 - 1e-7] {
                let expected = root::boundary(0.0, 1.0, |x| cdf(x, a, b) < p);
                assert_near(&format!("quantile {p} of beta({a}, {b})"), quantile(p, a, b), expected, 1e-10);
            }
        }
    }

    fn assert_same(what: &str, found: &Tail, a: f64, b: f64) {
        let anew = Tail::new(found.x, a, b);
        assert_near(&format!("{what}, above"), found.above, anew.above, 2e-13);
        assert_near(&format!("{what}, density"), found.density, anew.density, 2e-13);
    }

    #[test]
    fn a_tail_that_is_followed_is_one_computed_anew() {
        for (a, b, x) in
            [(1.0, 1.0, 0.9), (3.0, 8.0, 0.7), (51.0, 951.0, 0.07), (901.0, 101.0, 0.92), (1.0, 300.0, 0.03)]
        {
            let (mut tail, mut shapes, mut followed) = (Tail::new(x, a, b), (a, b), 0);
            for step in 0..500 {
                let reward = f64::from(u8::from(step % 20 == 19));
                shapes = (shapes.0 + reward, shapes.1 + 1.0 - reward);
                // Along with the mean, more or less.
                let to = tail.x * (1.0 + 0.002 * f64::from(step % 7) - 0.012);
                let (a, b) = shapes;
                let next = if tail.learn(reward) { tail.moved(to) } else { None };
                followed += u32::from(next.is_some());
                tail = next.unwrap_or_else(|| Tail::new(to, a, b));
                assert_same(&format!("after {step} of {a}, {b}"), &tail, a, b);
            }
            assert!(50 < followed, "{followed} steps of {a}, {b}");
        }
        let tail = Tail::new(0.3, 5.0, 20.0);
        assert_eq!((tail.moved(0.9), tail.moved(0.01)), (None, None), "too far");
        let mut between = tail;
        assert!(!between.learn(0.5), "neither a success nor a failure");
        let mut old = tail;
        assert!((0..TAIL_STEPS_MAX).all(|_| old.learn(1.0)), "a tail grows with a success");
        assert!(!old.learn(1.0), "followed long enough");
    }

    #[test]
    fn what_a_tail_is_not_below_is_not_above_it_but_near() {
        for (a, b) in [(1.0_f64, 1.0_f64), (1.0, 30.0), (3.0, 8.0), (51.0, 951.0), (901.0, 101.0)] {
            let deviation = (a * b / (a + b + 1.0)).sqrt() / (a + b);
            for from in [0.5, 2.0, 4.0] {
                let x = a / (a + b) + from * deviation;
                for away in [-3.0, -0.5, -0.01, -1e-5, 0.0, 1e-5, 0.01, 0.5, 3.0] {
                    let to = x + away * deviation;
                    if !(0.0 < to && to < 1.0 && x < 1.0) {
                        continue;
                    }
                    let (least, exact) = (Tail::new(x, a, b).above_at_least(to), Tail::new(to, a, b).above);
                    assert!(least <= exact * (1.0 + 1e-12), "{a}, {b} from {x} to {to}: {least}, {exact}");
                    if away.abs() <= 0.01 && a < b && 1.0 < b {
                        assert_near(&format!("{a}, {b} from {x} to {to}"), least, exact, 1e-3);
                    }
                }
            }
        }
    }

    #[test]
    fn the_tail_of_f_is_that_of_scipy_and_of_student() {
        // The upper 5 % of tables.
        for (f, degrees) in [(4.964602743730711, [1.0, 10.0]), (2.9012945362361564, [5.0, 15.0])] {
            assert_near("f", f_sf(f, degrees), 0.05, 1e-9);
        }
        assert_near("t", f_sf(4.0, [1.0, 7.5]), crate::statistics::student::two_sided(2.0, 7.5), 1e-12);
        assert_eq!((f_sf(0.0, [2.0, 3.0]), f_sf(f64::INFINITY, [2.0, 3.0])), (1.0, 0.0));
    }
}
