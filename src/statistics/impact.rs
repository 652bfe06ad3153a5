//! Impact estimation: what a step towards a perfect model is worth, against what it costs.
//!
//! A model that closes a fraction f of the gap between the present one and a perfect one brings f times the gap: the value is linear in what is
//! closed. What it costs is the caller's curve, which mostly grows faster and faster. It is worth going on while the next step brings more than
//! it costs; there lies the point of diminishing returns.

/// The steps at which a project is looked at before it starts: so much of a perfect model.
pub const STEPS: [f64; 4] = [0.01, 0.02, 0.05, 0.10];

/// How finely the cost curve is looked at before the best place is narrowed down.
const GRID: u32 = 1_000;

/// How often the place is narrowed down: until rounding leaves nothing to gain.
const NARROWINGS: u32 = 80;

/// What a model earns, in whatever unit the cost has too.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gap {
    /// The present one.
    pub present: f64,
    /// A perfect one: of logged choices, the mean of the best arm's reward.
    pub perfect: f64,
}

impl Gap {
    /// What a model brings that closes this fraction of the gap; 0 if the present one is perfect.
    pub fn benefit(&self, fraction: f64) -> f64 {
        fraction * (self.perfect - self.present).max(0.0)
    }
}

/// One step towards a perfect model.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// How much of the gap is closed.
    pub fraction: f64,
    /// What it brings.
    pub benefit: f64,
    /// What it costs.
    pub cost: f64,
    /// What the last part of it, from the step before, brings for each unit of its cost; infinite if that part is free.
    pub marginal_return: f64,
}

impl Step {
    /// What it brings after its cost.
    pub fn net(&self) -> f64 {
        self.benefit - self.cost
    }
}

/// The steps at these fractions, in rising order, with the cost of each.
///
/// # Panics
/// If fractions do not rise from above 0 to at most 1.
pub fn steps(gap: Gap, cost: impl Fn(f64) -> f64, fractions: &[f64]) -> Vec<Step> {
    let (mut before, mut cost_before) = (0.0, cost(0.0));
    let mut steps = Vec::with_capacity(fractions.len());
    for fraction in fractions.iter().copied() {
        assert!(before < fraction && fraction <= 1.0, "fractions rise: {fraction} after {before}");
        let cost = cost(fraction);
        let (gained, paid) = (gap.benefit(fraction - before), cost - cost_before);
        let marginal_return = if 0.0 < paid { gained / paid } else { f64::INFINITY };
        steps.push(Step { fraction, benefit: gap.benefit(fraction), cost, marginal_return });
        (before, cost_before) = (fraction, cost);
    }
    steps
}

/// The fraction of the gap from which on the next bit costs more than it brings: where benefit less cost is largest, the first of equals.
/// 0 if no step is worth its cost, 1 if all are. For a cost whose slope only rises it is exact to some 1e-8, as a maximum can be told from its
/// neighbours; for others it is the best of a thousand places, narrowed down.
pub fn diminishing_returns(gap: Gap, cost: impl Fn(f64) -> f64) -> f64 {
    let net = |fraction: f64| gap.benefit(fraction) - cost(fraction);
    let at = |index: u32| f64::from(index) / f64::from(GRID);
    let (mut best, mut largest) = (0, net(0.0));
    for index in 1..=GRID {
        let net = net(at(index));
        if largest < net {
            (best, largest) = (index, net);
        }
    }
    let (mut low, mut high) = (at(best.saturating_sub(1)), at((best + 1).min(GRID)));
    for _ in 0..NARROWINGS {
        let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if net(left) < net(right) {
            low = left;
        } else {
            high = right;
        }
    }
    // The ends themselves are never reached by narrowing.
    let narrowed = 0.5 * (low + high);
    [0.0, narrowed, 1.0]
        .into_iter()
        .fold((at(best), largest), |(place, largest), candidate| {
            let net = net(candidate);
            if largest < net { (candidate, net) } else { (place, largest) }
        })
        .0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    const GAP: Gap = Gap { present: 100.0, perfect: 300.0 };

    #[test]
    fn the_value_is_linear_in_the_part_of_the_gap_that_is_closed() {
        let steps = steps(GAP, |fraction| 1_000.0 * fraction * fraction, &STEPS);
        let found: Vec<f64> = steps.iter().map(|step| step.benefit).collect();
        for (found, expected) in found.iter().zip([2.0, 4.0, 10.0, 20.0]) {
            assert_near("benefit", *found, expected, 1e-12);
        }
        // From 5 % to 10 %: 10 for 1000 (.01 − .0025) = 7.5.
        assert_near("marginal", steps[3].marginal_return, 10.0 / 7.5, 1e-12);
        assert_near("net", steps[3].net(), 10.0, 1e-12);
    }

    #[test]
    fn the_reported_stop_is_where_marginal_value_is_marginal_cost() {
        // 200 = 2 c f, and 200 = 3 c f².
        for c in [1_000.0, 4_321.0, 150.0] {
            let stop = diminishing_returns(GAP, |fraction| c * fraction * fraction);
            assert_near("quadratic", stop, (100.0 / c).min(1.0), 1e-6);
            let stop = diminishing_returns(GAP, |fraction| c * fraction * fraction * fraction);
            assert_near("cubic", stop, (200.0 / (3.0 * c)).sqrt().min(1.0), 1e-6);
        }
    }

    #[test]
    fn nothing_is_worth_doing_or_everything_is() {
        assert_eq!(diminishing_returns(GAP, |fraction| 201.0 * fraction), 0.0);
        assert_eq!(diminishing_returns(GAP, |fraction| 10.0 * fraction), 1.0);
        let perfect = Gap { present: 5.0, perfect: 5.0 };
        assert_eq!(diminishing_returns(perfect, |fraction| fraction), 0.0);
        assert_eq!(steps(perfect, |_| 0.0, &[0.5])[0].marginal_return, f64::INFINITY);
    }

    #[test]
    fn a_first_cost_that_a_small_step_does_not_earn_back_is_overcome_by_a_large_one() {
        let cost = |fraction: f64| if 0.0 < fraction { 10.0 + 500.0 * fraction * fraction } else { 0.0 };
        assert_near("stop", diminishing_returns(GAP, cost), 0.2, 1e-6);
        assert!(steps(GAP, cost, &STEPS)[0].net() < 0.0);
    }
}
