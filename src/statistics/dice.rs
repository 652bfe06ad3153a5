//! Fast exact draws for simulations that make them by the million: uniform, normal, gamma and beta.
//!
//! ChaCha streams serve where draws are few; this generator costs a nanosecond. It is seeded from a named stream, and what is not exact in
//! IEEE 754 comes from `libm`, so that one seed gives the same draws on every machine.

use rand::RngCore;

use crate::base::Stream;

/// The generator xoshiro256++ of Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2021).
#[derive(Clone, Debug)]
pub struct Dice {
    state: [u64; 4],
}

impl Dice {
    /// Dice of their own, whose state is the stream's next 256 bits.
    pub fn new(stream: &mut Stream) -> Self {
        let mut state = [0; 4];
        state.iter_mut().for_each(|word| *word = stream.next_u64());
        // The one state from which the generator never moves.
        if state == [0; 4] {
            state[0] = 1;
        }
        Self { state }
    }

    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform in [0, 1): a multiple of 2⁻⁵³.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in (0, 1), where a logarithm is finite.
    #[inline]
    pub fn uniform_open(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
    }

    /// Uniform in `0..bound`, by multiplication; 0 for a bound of 0.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// True with this probability.
    #[inline]
    pub fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// How many of so many independent trials succeed, by the gaps between successes, which are geometric: Devroye, "Non-uniform random
    /// variate generation" (1986), X.4.3. It costs a logarithm for each success, or each failure where those are fewer.
    ///
    /// # Panics
    /// Unless the probability lies within [0, 1].
    pub fn binomial(&mut self, trials: u64, probability: f64) -> u64 {
        assert!((0.0..=1.0).contains(&probability), "a probability of {probability}");
        if 0.5 < probability {
            return trials - self.binomial(trials, 1.0 - probability);
        }
        if probability == 0.0 {
            return 0;
        }
        let log_failure = libm::log1p(-probability);
        let (mut successes, mut left) = (0, trials as f64);
        loop {
            left -= (libm::log(self.uniform_open()) / log_failure).floor() + 1.0;
            if left < 0.0 {
                return successes;
            }
            successes += 1;
        }
    }

    /// The index of a weight, with a probability in proportion to it; the last positive one where rounding leaves none, and 0 if none is.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.uniform() * weights.iter().sum::<f64>();
        let mut last = 0;
        for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| 0.0 < **weight) {
            if left < *weight {
                return index;
            }
            left -= weight;
            last = index;
        }
        last
    }

    /// A standard normal draw, by the ziggurat of Marsaglia and Tsang (2000) with 256 layers, in the form of Doornik, "An improved ziggurat
    /// method to generate normal random samples" (2005): the layer and the place within it come from different bits.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        loop {
            let bits = self.bits();
            let layer = (bits & 0xff) as usize;
            let x = ((bits >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0) * EDGES[layer];
            if x.abs() < EDGES[layer + 1] {
                return x;
            }
            if let Some(x) = self.normal_at_the_edge(layer, x) {
                return x;
            }
        }
    }

    #[cold]
    fn normal_at_the_edge(&mut self, layer: usize, x: f64) -> Option<f64> {
        if layer == 0 {
            // The tail: Marsaglia, "Generating a variable from the tail of the normal distribution" (1964).
            loop {
                let beyond = -libm::log(self.uniform_open()) / TAIL;
                if beyond * beyond < -2.0 * libm::log(self.uniform_open()) {
                    return Some((TAIL + beyond).copysign(x));
                }
            }
        }
        let height = HEIGHTS[layer] + (HEIGHTS[layer + 1] - HEIGHTS[layer]) * self.uniform();
        (height < libm::exp(-0.5 * x * x)).then_some(x)
    }
}

/// A gamma distribution of scale 1, prepared for draws.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GammaDraws {
    d: f64,
    c: f64,
    /// For a shape below 1: its inverse, to whose power a uniform draw is multiplied in.
    boost: f64,
}

impl GammaDraws {
    /// The distribution with this shape.
    ///
    /// # Panics
    /// Unless the shape is positive and finite.
    pub fn new(shape: f64) -> Self {
        assert!(0.0 < shape && shape.is_finite(), "a gamma distribution of shape {shape}");
        let (raised, boost) = if shape < 1.0 { (shape + 1.0, 1.0 / shape) } else { (shape, 0.0) };
        let d = raised - 1.0 / 3.0;
        Self { d, c: 1.0 / (9.0 * d).sqrt(), boost }
    }

    /// An exact draw: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000).
    #[inline]
    pub fn draw(&self, dice: &mut Dice) -> f64 {
        let drawn = loop {
            let x = dice.normal();
            let root = 1.0 + self.c * x;
            if root <= 0.0 {
                continue;
            }
            let (v, u, square) = (root * root * root, dice.uniform(), x * x);
            if u < 1.0 - 0.0331 * square * square || self.accepts(v, u, square) {
                break self.d * v;
            }
        };
        if self.boost == 0.0 { drawn } else { drawn * libm::exp(self.boost * libm::log(dice.uniform_open())) }
    }

    #[cold]
    fn accepts(&self, v: f64, u: f64, square: f64) -> bool {
        libm::log(u) < 0.5 * square + self.d * (1.0 - v + libm::log(v))
    }
}

/// A beta distribution, prepared for draws.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BetaDraws {
    /// The first shape: one more than the successes, under a flat prior.
    pub a: f64,
    /// The second shape.
    pub b: f64,
    ones: GammaDraws,
    zeros: GammaDraws,
}

impl BetaDraws {
    /// The distribution with these shapes.
    ///
    /// # Panics
    /// Unless both shapes are positive and finite.
    pub fn new(a: f64, b: f64) -> Self {
        Self { a, b, ones: GammaDraws::new(a), zeros: GammaDraws::new(b) }
    }

    /// An exact draw: X / (X + Y) of two gamma draws. Where shapes are so small that both are 0 it is an end, as in the limit.
    #[inline]
    pub fn draw(&self, dice: &mut Dice) -> f64 {
        let (ones, zeros) = (self.ones.draw(dice), self.zeros.draw(dice));
        let both = ones + zeros;
        if 0.0 < both {
            return ones / both;
        }
        if dice.happens(self.a / (self.a + self.b)) { 1.0 } else { 0.0 }
    }
}

/// Where the tail of the ziggurat begins, and the area of each of its layers, for the density exp(−x²/2) and 256 layers.
const TAIL: f64 = 3.654_152_885_361_009;
const AREA: f64 = 0.004_928_673_233_974_655;

const LAYERS: usize = 256;

/// Half the width of each layer, from the bottom; the bottom one's as if its tail were a rectangle too.
static EDGES: [f64; LAYERS + 1] = edges();

/// The density at those edges.
static HEIGHTS: [f64; LAYERS + 1] = heights();

const fn edges() -> [f64; LAYERS + 1] {
    let mut edges = [0.0; LAYERS + 1];
    edges[0] = AREA * exponential(0.5 * TAIL * TAIL);
    edges[1] = TAIL;
    let mut layer = 1;
    // The topmost edge is 0.
    while layer + 1 < LAYERS {
        let height = AREA / edges[layer] + 1.0 / exponential(0.5 * edges[layer] * edges[layer]);
        edges[layer + 1] = edge_at(height, edges[layer]);
        layer += 1;
    }
    edges
}

const fn heights() -> [f64; LAYERS + 1] {
    let edges = edges();
    let mut heights = [0.0; LAYERS + 1];
    let mut layer = 0;
    while layer <= LAYERS {
        heights[layer] = 1.0 / exponential(0.5 * edges[layer] * edges[layer]);
        layer += 1;
    }
    heights
}

/// The x at which exp(−x²/2) is `height`, by Newton's method on x²/2 + ln(height), from an x a little larger.
const fn edge_at(height: f64, from: f64) -> f64 {
    let mut y = 0.5 * from * from;
    let mut step = 0;
    while step < 5 {
        let scaled = height * exponential(y);
        y -= 2.0 * (scaled - 1.0) / (scaled + 1.0);
        step += 1;
    }
    let (mut x, mut step) = (from, 0);
    while step < 5 {
        x = 0.5 * (x + 2.0 * y / x);
        step += 1;
    }
    x
}

/// The exponential of a number from 0 to 7 as the compiler can compute it: its series, all of whose terms are positive.
const fn exponential(y: f64) -> f64 {
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while n < 50.0 {
        term *= y / n;
        sum += term;
        n += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::tests::assert_near;
    use crate::statistics::{beta, normal};

    fn dice() -> Dice {
        Dice::new(&mut Seed::new(11).stream("dice"))
    }

    /// The largest distance between the distribution of draws and the true one, times the root of their number (Kolmogorov's statistic).
    fn kolmogorov(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
        draws.sort_by(f64::total_cmp);
        let count = draws.len() as f64;
        let apart = |(at, draw): (usize, &f64)| {
            let below = cdf(*draw);
            (below - at as f64 / count).abs().max((below - (at + 1) as f64 / count).abs())
        };
        draws.iter().enumerate().map(apart).fold(0.0, f64::max) * count.sqrt()
    }

    #[test]
    fn the_layers_of_the_ziggurat_have_equal_areas_and_end_at_the_top() {
        for layer in 1..LAYERS {
            let (low, high) = (HEIGHTS[layer], HEIGHTS[layer + 1]);
            assert_near(&format!("layer {layer}"), EDGES[layer] * (high - low), AREA, 1e-9);
            assert_near("density", low, libm::exp(-0.5 * EDGES[layer] * EDGES[layer]), 1e-13);
        }
        assert_eq!((EDGES[LAYERS], HEIGHTS[LAYERS]), (0.0, 1.0));
    }

    #[test]
    fn draws_follow_their_distributions() {
        // 1.95 is exceeded once in a thousand times.
        let mut dice = dice();
        let normals = (0..400_000).map(|_| dice.normal()).collect();
        assert!(kolmogorov(normals, normal::cdf) < 1.95);
        for (a, b) in [(0.05, 0.3), (0.5, 0.5), (1.0, 1.0), (2.0, 40.0), (51.0, 951.0), (5000.0, 95000.0)] {
            let distribution = BetaDraws::new(a, b);
            let draws = (0..60_000).map(|_| distribution.draw(&mut dice)).collect();
            let found = kolmogorov(draws, |x| beta::cdf(x, a, b));
            assert!(found < 1.95, "beta({a}, {b}): {found}");
        }
    }

    #[test]
    fn the_tail_of_the_normal_is_as_heavy_as_it_should_be() {
        let mut dice = dice();
        let count = 4_000_000;
        let beyond = (0..count).filter(|_| TAIL < dice.normal().abs()).count() as f64;
        let expected = f64::from(count) * 2.0 * normal::cdf(-TAIL);
        assert!((beyond - expected).abs() < 3.5 * expected.sqrt(), "{beyond} for {expected}");
    }

    #[test]
    fn weighted_draws_fall_in_proportion_and_never_on_a_zero() {
        let mut dice = dice();
        let mut counts = [0.0; 4];
        (0..100_000).for_each(|_| counts[dice.weighted(&[0.0, 1.0, 0.0, 3.0])] += 1.0);
        assert_eq!((counts[0], counts[2]), (0.0, 0.0));
        assert_near("three quarters", counts[3] / 100_000.0, 0.75, 0.01);
        assert_eq!(dice.weighted(&[]), 0);
    }

    #[test]
    fn draws_of_tiny_shapes_are_numbers() {
        let (mut dice, tiny) = (dice(), BetaDraws::new(1e-300, 3e-300));
        let ones = (0..10_000).filter(|_| tiny.draw(&mut dice) == 1.0).count();
        assert_near("a quarter", ones as f64 / 10_000.0, 0.25, 0.06);
    }
}
