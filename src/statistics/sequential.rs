//! Tests that may be looked at after every user: whenever one stops, the error is at most what was said.
//!
//! All are mixtures: a bet on the alternative, averaged over effects, is under the null hypothesis a martingale that begins at 1, and by
//! Ville's inequality ever reaches 1/α with probability α at most.

use crate::statistics::{Interval, normal, root, stirling};

/// The mixture sequential probability ratio test of an estimate that is about normal: Robbins, "Statistical methods related to the law of the
/// iterated logarithm" (1970); Johari, Pekelis and Walsh, "Always valid inference" (2015). Controls the probability of a false alarm at any
/// look, if the variance is known or well estimated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mixture {
    /// The standard deviation τ of the effects that are mixed, about as large as those that are hoped for.
    pub tau: f64,
    /// The probability of a false alarm.
    pub alpha: f64,
}

/// What a test says after one look.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Look {
    /// How much better the mixture explains the estimate than no effect: 0.3 speaks for none, 20 is the alarm at α = 0.05.
    pub likelihood_ratio: f64,
    /// The always-valid p-value of this look alone, at most 1.
    pub p: f64,
    /// Where the effect lies, at all looks at once.
    pub interval: Interval,
}

impl Mixture {
    /// One look at an estimate and its variance V:
    ///
    /// ```text
    /// Λ = √(V / (V + τ²)) exp(τ² d² / 2V(V + τ²))   p = min(1, 1/Λ)   d ± √(2V(V + τ²)/τ² · ln(√((V + τ²)/V) / α))
    /// ```
    ///
    /// Where nothing varies yet (V not positive, or infinite) nothing is known: ratio 1, p = 1, an interval without ends.
    ///
    /// # Panics
    /// Unless τ is positive and α lies between 0 and 1.
    pub fn look(&self, estimate: f64, variance: f64) -> Look {
        assert!(0.0 < self.tau, "effects of a spread of {}", self.tau);
        if !(0.0 < variance && variance.is_finite()) {
            return Look::NOTHING;
        }
        Look::of(estimate, variance, self.tau * self.tau / variance, self.alpha)
    }
}

impl Look {
    /// Before there is anything to see.
    pub const NOTHING: Self = Self {
        likelihood_ratio: 1.0,
        p: 1.0,
        interval: Interval { low: f64::NEG_INFINITY, high: f64::INFINITY },
    };

    /// With `ratio` = τ² / V.
    fn of(estimate: f64, variance: f64, ratio: f64, alpha: f64) -> Self {
        assert!(0.0 < alpha && alpha < 1.0, "a false alarm has a probability, not {alpha}");
        let log_root = 0.5 * libm::log1p(ratio);
        let log = 0.5 * estimate * estimate / variance * ratio / (1.0 + ratio) - log_root;
        let half = (2.0 * variance * (1.0 + 1.0 / ratio) * (log_root - libm::log(alpha))).sqrt();
        Self {
            likelihood_ratio: libm::exp(log),
            p: libm::exp(-log).min(1.0),
            interval: Interval { low: estimate - half, high: estimate + half },
        }
    }
}

/// All looks so far: as each holds at all times, the smallest p-value and what is in every interval hold too.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Monitor {
    /// The smallest p-value.
    pub p: f64,
    /// The largest lower and the smallest upper end. They cross where the effect has moved, as no constant one is in all intervals.
    pub interval: Interval,
    /// How often one looked.
    pub looks: u64,
}

impl Default for Monitor {
    fn default() -> Self {
        Self { p: 1.0, interval: Look::NOTHING.interval, looks: 0 }
    }
}

impl Monitor {
    /// Takes one more look into account.
    pub fn add(&mut self, look: &Look) {
        self.p = self.p.min(look.p);
        self.interval.low = self.interval.low.max(look.interval.low);
        self.interval.high = self.interval.high.min(look.interval.high);
        self.looks += 1;
    }
}

/// The asymptotic confidence sequence of a mean or a difference of means: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
/// central limit theory and asymptotic confidence sequences" (2021), as GrowthBook has it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ConfidenceSequence {
    /// At which number N* of users the interval is narrowest.
    pub tuned_to: f64,
    /// The probability that it ever misses the truth.
    pub alpha: f64,
}

impl ConfidenceSequence {
    /// One look, at the estimate and standard error of `users` (all arms together):
    ///
    /// ```text
    /// ρ² = (−2 ln α + ln(1 − 2 ln α)) / N*   estimate ± se √(2 (nρ² + 1)/(nρ²) · ln(√(nρ² + 1) / α))
    /// ```
    ///
    /// This is [`Mixture`] with τ² = nρ² · se², as the standard error stands for a variance that is estimated: τ does not depend on n in the
    /// long run. Of no users or no error nothing is known.
    ///
    /// # Panics
    /// Unless N* is positive and α lies between 0 and 1.
    pub fn look(&self, estimate: f64, standard_error: f64, users: f64) -> Look {
        assert!(0.0 < self.tuned_to, "tuned to {} users", self.tuned_to);
        let variance = standard_error * standard_error;
        if !(0.0 < variance && variance.is_finite() && 0.0 < users) {
            return Look::NOTHING;
        }
        let two_logs = -2.0 * libm::log(self.alpha);
        let rho_squared = (two_logs + libm::log1p(two_logs)) / self.tuned_to;
        Look::of(estimate, variance, users * rho_squared, self.alpha)
    }
}

/// How wide a normal mixture is: the boundary that a sum of independent values with mean 0 and the summed variance v ever crosses with
/// probability α at most. Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences" (2021), 3.2
/// and 3.3, as the package confseq has it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NormalBoundary {
    /// The mixture's precision ρ.
    rho: f64,
    one_sided: bool,
}

impl NormalBoundary {
    /// |sum| stays below it. It is lowest where the variance is `variance`, if α is `alpha`: ρ = v / (2 ln(1/α) + ln(1 + 2 ln(1/α))).
    ///
    /// # Panics
    /// Unless the variance is positive and α lies between 0 and 1.
    pub fn two_sided(variance: f64, alpha: f64) -> Self {
        Self { rho: best_rho(variance, alpha), one_sided: false }
    }

    /// The sum stays below it. The same, with 2α.
    ///
    /// # Panics
    /// Unless the variance is positive and α lies between 0 and ½.
    pub fn one_sided(variance: f64, alpha: f64) -> Self {
        Self { rho: best_rho(variance, 2.0 * alpha), one_sided: true }
    }

    /// The boundary at a variance; two-sided √((v + ρ)(ln(1 + v/ρ) + 2 ln(1/α))), one-sided where
    /// ½ ln(4ρ/(v + ρ)) + s²/2(v + ρ) + ln Φ(s/√(v + ρ)) = ln(1/α). Infinite at α = 0, and 0 of no variance if one-sided and α = 1.
    pub fn at(&self, variance: f64, alpha: f64) -> f64 {
        let log = -libm::log(alpha);
        let whole = variance + self.rho;
        let two_sided = (whole * (libm::log1p(variance / self.rho) + 2.0 * log)).max(0.0).sqrt();
        if !self.one_sided || !two_sided.is_finite() {
            return two_sided;
        }
        let start = 0.5 * libm::log(4.0 * self.rho / whole) - log;
        let excess = |s: f64| start + 0.5 * s * s / whole + libm::log(normal::cdf(s / whole.sqrt()));
        // At the two-sided boundary the excess is ln 2Φ, which is not negative.
        root::crossing(0.0, two_sided, excess)
    }
}

fn best_rho(variance: f64, alpha: f64) -> f64 {
    assert!(0.0 < variance, "a variance of {variance}");
    assert!(0.0 < alpha && alpha < 1.0, "a probability, not {alpha}");
    let two_logs = -2.0 * libm::log(alpha);
    variance / (two_logs + libm::log1p(two_logs))
}

/// The logarithm of how much better counts are explained by shares that are themselves drawn, from a Dirichlet distribution with the means
/// `pseudo` / Σ `pseudo`, than by fixed `shares`:
///
/// ```text
/// ln Γ(A)/Γ(A + N) + Σ ln Γ(aᵢ + nᵢ)/Γ(aᵢ) − Σ nᵢ ln θᵢ   A = Σ aᵢ, N = Σ nᵢ
/// ```
///
/// put together from deviances, so that millions of users cost no digits. If the pseudo-counts do not depend on the counts, its
/// exponential is a martingale under the fixed shares. Infinite where there is a count with no share, which is no chance.
///
/// # Panics
/// Unless there are as many counts as shares and as pseudo-counts, the latter positive where there is a share.
pub fn log_dirichlet_multinomial(counts: &[f64], shares: &[f64], pseudo: &[f64]) -> f64 {
    assert_eq!(counts.len(), shares.len(), "a share for each count");
    assert_eq!(counts.len(), pseudo.len(), "a pseudo-count for each count");
    let arms = || (0..counts.len()).filter(|arm| 0.0 < shares[*arm]);
    if (0..counts.len()).any(|arm| shares[arm] <= 0.0 && 0.0 < counts[arm]) {
        return f64::INFINITY;
    }
    let whole: f64 = arms().map(|arm| shares[arm]).sum();
    // Up to a constant, which the difference has not, Σ ln Γ(xᵢ) − ln Γ(Σ xᵢ) − Σ xᵢ ln θᵢ.
    let log_beta = |parameter: &dyn Fn(usize) -> f64| {
        let sum: f64 = arms().map(parameter).sum();
        let mut log = 0.5 * libm::log(sum) - stirling::remainder(sum);
        for arm in arms() {
            let x = parameter(arm);
            assert!(0.0 < x, "a pseudo-count of {x}");
            log += stirling::deviance(x, sum * shares[arm] / whole) - 0.5 * libm::log(x)
                + stirling::remainder(x);
        }
        log
    };
    log_beta(&|arm| pseudo[arm] + counts[arm]) - log_beta(&|arm| pseudo[arm])
}

/// The confidence sequence of a share of which `successes` in `trials` were seen: the shares p whose beta-binomial mixture, with pseudo-counts
/// κp and κ(1 − p), has not reached 1/α; κ = N*/(2 ln 20 + ln(1 + 2 ln 20)) − 1, at least 0.001, is best at `tuned_to` trials and α = 0.05.
/// Howard and others (2021), as confseq has it. Between 0 and 1 of no trials.
///
/// # Panics
/// If there are more successes than trials, or unless α lies between 0 and 1.
pub fn share_sequence(successes: f64, trials: f64, alpha: f64, tuned_to: f64) -> Interval {
    assert!(0.0 <= successes && successes <= trials, "{successes} of {trials}");
    assert!(0.0 < alpha && alpha < 1.0, "a probability, not {alpha}");
    let concentration = (best_rho(tuned_to, 0.05) - 1.0).max(1e-3);
    let refuted = |share: f64| {
        let shares = [share, 1.0 - share];
        let pseudo = shares.map(|share| concentration * share);
        let log = log_dirichlet_multinomial(&[successes, trials - successes], &shares, &pseudo);
        -libm::log(alpha) < log
    };
    let seen = if 0.0 < trials { successes / trials } else { 0.5 };
    // Between the smallest numbers at which a pseudo-count is still one.
    let (least, most) = (1e-300, 1.0 - f64::EPSILON);
    let low = if refuted(least) { root::boundary(least, seen, refuted) } else { 0.0 };
    let high = if refuted(most) { root::boundary(seen, most, |share| !refuted(share)) } else { 1.0 };
    Interval { low, high }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::base::{Seed, Stream};
    use crate::statistics::tests::assert_near;

    fn normal_draw(stream: &mut Stream) -> f64 {
        normal::quantile(stream.random::<f64>())
    }

    #[test]
    fn nothing_is_known_of_nothing() {
        let test = Mixture { tau: 0.01, alpha: 0.05 };
        for variance in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert_eq!(test.look(0.1, variance), Look::NOTHING);
        }
        let sequence = ConfidenceSequence { tuned_to: 5000.0, alpha: 0.05 };
        assert_eq!(sequence.look(0.1, 0.0, 100.0), Look::NOTHING);
        assert_eq!(sequence.look(0.1, 0.1, 0.0), Look::NOTHING);
        assert_eq!(share_sequence(0.0, 0.0, 0.05, 100.0), Interval { low: 0.0, high: 1.0 });
    }

    #[test]
    fn p_is_alpha_where_the_interval_ends_at_zero() {
        let test = Mixture { tau: 0.02, alpha: 0.05 };
        let half = test.look(0.0, 1e-5).interval.high;
        assert_near("p", test.look(half, 1e-5).p, 0.05, 1e-12);
        assert!(test.look(1.0, 1e-5).p < 1e-300 || test.look(1.0, 1e-5).p == 0.0, "far away");
    }

    #[test]
    fn a_monitor_keeps_the_smallest_p_and_what_all_intervals_share() {
        let test = Mixture { tau: 0.5, alpha: 0.05 };
        let mut monitor = Monitor::default();
        for (estimate, variance) in [(1.0, 0.04), (0.3, 0.02), (0.8, 0.01)] {
            monitor.add(&test.look(estimate, variance));
        }
        let looks = [test.look(1.0, 0.04), test.look(0.3, 0.02), test.look(0.8, 0.01)];
        assert_eq!(monitor.p, looks[2].p);
        assert_eq!(monitor.interval, Interval { low: looks[2].interval.low, high: looks[1].interval.high });
        assert_eq!(monitor.looks, 3);
    }

    #[test]
    fn sixty_looks_alarm_less_often_than_alpha_and_the_truth_stays_inside() {
        // Days of 1,000 users an arm, in units of the standard deviation of a user; 1,000 streams without and with an effect.
        let mut stream = Seed::new(5).stream("looks");
        let test = Mixture { tau: 0.03, alpha: 0.05 };
        let sequence = ConfidenceSequence { tuned_to: 60_000.0, alpha: 0.05 };
        for (effect, found_at_least) in [(0.0, 0), (0.03, 700)] {
            let (mut alarms, mut sequence_alarms, mut missed) = (0, 0, 0);
            for _ in 0..1000 {
                let (mut sum, mut monitor, mut other) = (0.0, Monitor::default(), Monitor::default());
                for day in 1..=60 {
                    let users = 1000.0 * f64::from(day);
                    sum += effect * 1000.0 + (2.0 * 1000.0f64).sqrt() * normal_draw(&mut stream);
                    let variance = 2.0 / users;
                    monitor.add(&test.look(sum / users, variance));
                    other.add(&sequence.look(sum / users, variance.sqrt(), 2.0 * users));
                }
                alarms += u32::from(monitor.p < 0.05);
                sequence_alarms += u32::from(other.p < 0.05);
                missed += u32::from(!other.interval.contains(effect));
            }
            if effect == 0.0 {
                // At most 5 % for ever, and some 2 % within 60 days.
                assert!((1..50).contains(&alarms), "{alarms} of 1000");
                assert!((1..50).contains(&sequence_alarms), "{sequence_alarms} of 1000");
            }
            assert!(
                found_at_least <= alarms && found_at_least <= sequence_alarms,
                "{alarms} {sequence_alarms}"
            );
            assert!(missed < 50, "{missed} of 1000");
        }
    }

    #[test]
    fn the_sequence_of_a_share_agrees_with_the_tests_of_confseq() {
        for (successes, trials, tuned_to, low, high) in [
            (700.0, 1000.0, 100.0, 0.651629, 0.745949),
            (15.0, 50.0, 50.0, 0.129556, 0.511896),
            (5.0, 50.0, 50.0, 0.013021, 0.269264),
            (100.0, 200.0, 1.0, 0.328923, 0.671076),
        ] {
            let found = share_sequence(successes, trials, 0.05, tuned_to);
            assert!((found.low - low).abs() < 1e-5, "{successes}/{trials}: {found:?}");
            assert!((found.high - high).abs() < 1e-5, "{successes}/{trials}: {found:?}");
        }
        let (none, all) = (share_sequence(0.0, 200.0, 0.05, 50.0), share_sequence(200.0, 200.0, 0.05, 50.0));
        assert!(
            none.low == 0.0 && all.high == 1.0 && (none.high - (1.0 - all.low)).abs() < 1e-12,
            "{none:?} {all:?}"
        );
    }

    #[test]
    fn the_sequence_of_a_share_covers_the_truth_at_all_looks() {
        let mut stream = Seed::new(6).stream("shares");
        let mut missed = 0;
        for _ in 0..200 {
            let (mut successes, mut always) = (0.0, true);
            for trial in 1..=400 {
                successes += f64::from(u8::from(stream.random::<f64>() < 0.1));
                if trial % 20 == 0 {
                    let found = share_sequence(successes, f64::from(trial), 0.05, 200.0);
                    always &= found.contains(0.1);
                }
            }
            missed += u32::from(!always);
        }
        // 10 would be expected if it were exact; 20 or more come once in three hundred.
        assert!(missed < 20, "{missed} of 200");
    }

    #[test]
    fn a_boundary_is_lowest_where_it_was_tuned() {
        let at = |tuned_to: f64| NormalBoundary::two_sided(tuned_to, 0.05).at(100.0, 0.05);
        assert!(at(100.0) < at(90.0) && at(100.0) < at(110.0), "{} {} {}", at(90.0), at(100.0), at(110.0));
        let one_sided = NormalBoundary::one_sided(100.0, 0.05);
        assert!(one_sided.at(100.0, 0.05) < at(100.0));
        assert!(one_sided.at(100.0, 0.0).is_infinite());
    }

    #[test]
    fn counts_where_there_is_no_share_are_no_chance() {
        let log = log_dirichlet_multinomial(&[5.0, 1.0], &[1.0, 0.0], &[10.0, 0.0]);
        assert_eq!(log, f64::INFINITY);
        let log = log_dirichlet_multinomial(&[5.0, 0.0], &[1.0, 0.0], &[10.0, 0.0]);
        assert!(log.abs() < 1e-12, "one arm alone says nothing: {log}");
        // Γ(2)/Γ(4) · Γ(3)/Γ(1) / 0.25: two of two, from a uniform prior.
        let log = log_dirichlet_multinomial(&[2.0, 0.0], &[0.5, 0.5], &[1.0, 1.0]);
        assert_near("odds", libm::exp(log), 4.0 / 3.0, 1e-13);
    }
}
