//! Upper confidence bounds from inequalities for bounded rewards.

use crate::statistics::bandit::Arm;

/// UCB1, m + √(2 ln t / n): Auer, Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem" (2002), 2. Infinite
/// for an arm never pulled.
pub fn ucb1(arm: &Arm, t: f64) -> f64 {
    with_width(arm, 2.0 * log(t))
}

/// UCB-α, m + √(α ln t / 2n): Bubeck and Cesa-Bianchi, "Regret analysis of stochastic and nonstochastic multi-armed bandit problems" (2012),
/// 2.2. UCB1 is that of α = 4; a bonus c √(ln t / n), as in Sutton and Barto, that of α = 2c². Infinite for an arm never pulled.
pub fn ucb_alpha(arm: &Arm, t: f64, alpha: f64) -> f64 {
    with_width(arm, 0.5 * alpha * log(t))
}

/// MOSS, m + √(max(0, ln(T / K n)) / n), for T choices among K arms: Audibert and Bubeck, "Minimax policies for adversarial and stochastic
/// bandits" (2009). With the choices made so far for T it needs no horizon. Infinite for an arm never pulled.
pub fn moss(arm: &Arm, horizon: f64, count: f64) -> f64 {
    if arm.pulls <= 0.0 {
        return f64::INFINITY;
    }
    with_width(arm, libm::log(horizon / (count * arm.pulls)).max(0.0))
}

/// The bound of Chapelle and Li, "An empirical evaluation of Thompson sampling" (2011), equation 1, from the Chernoff bound for small means:
///
/// ```text
/// m + √(2 m ln(1/δ) / n) + 2 ln(1/δ) / n
/// ```
///
/// They take δ = √(1/t), so that ln(1/δ) = ½ ln t. Infinite for an arm never pulled.
#[inline]
pub fn chapelle_li(arm: &Arm, log_inverse_delta: f64) -> f64 {
    if arm.pulls <= 0.0 {
        return f64::INFINITY;
    }
    let bonus = 2.0 * log_inverse_delta;
    (arm.rewards + (arm.rewards.max(0.0) * bonus).sqrt() + bonus) / arm.pulls
}

/// m + √(width / n), with one division for two.
#[inline]
pub(super) fn with_width(arm: &Arm, width: f64) -> f64 {
    if arm.pulls <= 0.0 {
        return f64::INFINITY;
    }
    (arm.rewards + (width * arm.pulls).sqrt()) / arm.pulls
}

/// The logarithm of a time, which a discount may have left below 1: 0 there.
fn log(t: f64) -> f64 {
    libm::log(t.max(1.0))
}
