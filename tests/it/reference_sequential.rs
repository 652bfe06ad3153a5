//! Sequential tests, validity checks and posteriors against the table of reference values.

use serde_json::Value;
use wavetank::statistics::bayes::{self, Beta, Normal, Patience, Posterior};
use wavetank::statistics::binomial;
use wavetank::statistics::group_sequential::{self, Sides, Spending};
use wavetank::statistics::seasons::{Observation, seasonal_effect};
use wavetank::statistics::sequential::{ConfidenceSequence, Mixture, NormalBoundary, share_sequence};
use wavetank::statistics::srm::{self, Period, SequentialRatio};
use wavetank::statistics::validity::{self, DailyEffect};

use crate::reference::{Row, rows};

fn unknown(row: &Row) -> ! {
    panic!("{}: nothing computes {}", row.id, row.function)
}

fn counts(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| *number as u64).collect()
}

/// The rows of a list of lists of numbers.
fn table(value: &Value) -> Vec<Vec<f64>> {
    let list = |value: &Value| value.as_array().expect("a list").clone();
    list(value)
        .iter()
        .map(|row| list(row).iter().map(|number| number.as_f64().expect("a number")).collect())
        .collect()
}

/// The effect of a treatment on a proportion, and its standard error: absolute, or relative to the control by the delta method.
fn effect(row: &Row, relative: bool) -> (f64, f64) {
    let arm = |x: &str, n: &str| {
        let (x, n) = (row.number(x), row.number(n));
        let share = x / n;
        (share, share * (1.0 - share) / n)
    };
    let (control, control_variance) = arm("x_control", "n_control");
    let (treated, treated_variance) = arm("x_treat", "n_treat");
    if !relative {
        return (treated - control, (control_variance + treated_variance).sqrt());
    }
    let ratio = treated / control;
    let variance = (treated_variance + ratio * ratio * control_variance) / (control * control);
    (ratio - 1.0, variance.sqrt())
}

fn is_relative(row: &Row) -> bool {
    match row.function.rsplit([' ']).next() {
        Some("relative") => true,
        Some("absolute") => false,
        _ => unknown(row),
    }
}

#[test]
fn sample_ratios() {
    for row in rows("srm") {
        match row.function.as_str() {
            "chi-square GOF (df=k-1), G-test, exact binomial" => {
                let (observed, fractions) =
                    (counts(&row.numbers("observed")), row.numbers("expected_fractions"));
                let found = srm::check(&observed, &fractions);
                row.check("chi2", found.chi_squared);
                row.check("p", found.p);
                row.check("g", found.g);
                row.check("g_p", found.g_p);
                if observed.len() == 2 {
                    let exact = binomial::exact(observed[0], observed.iter().sum(), fractions[0]);
                    row.check("binom_exact_p", exact);
                }
            }
            "gbstats check_srm" => {
                row.check("p", srm::check(&counts(&row.numbers("users")), &row.numbers("weights")).p);
            }
            // A ratio is how many users the second arm has for each of the first, or the weights of both.
            "SampleRatio method=binom correction=False" | "SampleRatio method=norm correction=False" => {
                let users = counts(&row.numbers("n"));
                let weights = match &row.inputs["ratio"] {
                    Value::Array(_) => row.numbers("ratio"),
                    _ => vec![1.0, row.number("ratio")],
                };
                let share = weights[0] / weights.iter().sum::<f64>();
                let all = users.iter().sum();
                let exactly = row.function.contains("binom");
                let p = if exactly { binomial::exact } else { srm::approximate };
                row.check("p", p(users[0], all, share));
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn sample_ratios_after_every_batch() {
    for row in rows("sequential_srm") {
        if !row.function.starts_with("Dirichlet-multinomial sequential SRM (Lindon & Malek)") {
            unknown(&row);
        }
        let weights = row.numbers("theta_0");
        let mut test = SequentialRatio::new(weights.len(), row.number("k"));
        let (mut odds, mut p) = (Vec::new(), Vec::new());
        for batch in table(&row.inputs["batches"]) {
            test.add(&Period { weights: weights.clone(), counts: counts(&batch) });
            odds.push(test.odds());
            p.push(test.p_now());
        }
        row.check_all("odds", &odds);
        row.check_all("p", &p);
    }
}

#[test]
fn mixture_tests() {
    for row in rows("msprt") {
        if !row.function.starts_with("normal-mixture SPRT") {
            unknown(&row);
        }
        let test = Mixture { tau: row.number("tau"), alpha: row.number("alpha") };
        let look = test.look(row.number("diff"), row.number("var_of_diff"));
        row.check("Lambda", look.likelihood_ratio);
        row.check("p", look.p);
        row.check("ci_low", look.interval.low);
        row.check("ci_high", look.interval.high);
    }
}

#[test]
fn asymptotic_confidence_sequences() {
    for row in rows("gbstats_sequential") {
        if !row.function.starts_with("asymptotic confidence sequence (Waudby-Smith)") {
            unknown(&row);
        }
        let (estimate, standard_error) = effect(&row, is_relative(&row));
        let users = row.number("n_control") + row.number("n_treat");
        let sequence = ConfidenceSequence { tuned_to: row.number("N_star"), alpha: 0.05 };
        let look = sequence.look(estimate, standard_error, users);
        row.check("estimate", estimate);
        row.check("se", standard_error);
        row.check("ci_low", look.interval.low);
        row.check("ci_high", look.interval.high);
        row.check("p", look.p);
    }
}

#[test]
fn group_sequential_boundaries() {
    for row in rows("group_sequential") {
        if row.function.starts_with("Lan-DeMets bounds, power-family spending") {
            let sides = if row.number("sides") == 1.0 { Sides::One } else { Sides::Two };
            let spending = Spending::Power(row.number("phi"));
            let bounds =
                group_sequential::spending_bounds(&row.numbers("t"), row.number("alpha"), sides, spending);
            row.check_all("z_bounds", &bounds);
        } else if row.function.starts_with("Pocock and O'Brien-Fleming constants, two-sided") {
            let (looks, alpha) = (row.number("looks") as usize, row.number("alpha"));
            row.check("pocock", group_sequential::pocock(looks, alpha));
            row.check("obf", group_sequential::obrien_fleming(looks, alpha));
        } else {
            unknown(&row);
        }
    }
}

#[test]
fn confidence_sequences() {
    for row in rows("confidence_sequence") {
        match row.function.as_str() {
            "normal_mixture_bound one/two sided" => {
                let (variance, alpha) = (row.number("v"), row.number("alpha"));
                let tuned_to = row.number("v_opt");
                // These rows are tuned to their α, and the two-sided ones to half of it and looked up at half of it, as if each side
                // had its own boundary. Ours at α is two-sided as it is.
                let half = 0.5 * alpha;
                row.check("two_sided", NormalBoundary::two_sided(tuned_to, half).at(variance, half));
                row.check("one_sided", NormalBoundary::one_sided(tuned_to, alpha).at(variance, alpha));
            }
            "bernoulli_confidence_interval(num_successes,num_trials,alpha,t_opt,alpha_opt)" => {
                let (successes, trials) = (row.number("k"), row.number("n"));
                let found = share_sequence(successes, trials, row.number("alpha"), row.number("t_opt"));
                row.check("low", found.low);
                row.check("high", found.high);
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn the_price_of_peeking() {
    for row in rows("peeking") {
        if !row.function.starts_with("family-wise false positive rate of k equally spaced looks") {
            unknown(&row);
        }
        let looks = row.number("looks") as usize;
        row.check("fpr", group_sequential::family_wise_error(looks, row.number("z")));
    }
}

fn prior(row: &Row) -> Beta {
    let prior = row.numbers("prior");
    Beta::new(prior[0], prior[1])
}

#[test]
fn beta_posteriors() {
    for row in rows("bayes_beta") {
        if !row.function.starts_with("P(B>A), expected loss of choosing B and of choosing A") {
            unknown(&row);
        }
        let a = prior(&row).after(row.number("x_a"), row.number("n_a"));
        let b = prior(&row).after(row.number("x_b"), row.number("n_b"));
        let found = bayes::compare(&a, &b);
        row.check("p_b_gt_a", found.second_better);
        row.check("loss_choose_b", found.loss_second);
        row.check("loss_choose_a", found.loss_first);
        row.check("posterior_mean_a", a.mean());
        row.check("posterior_mean_b", b.mean());
        let ends = |of: &Beta| [of.interval(0.95).low, of.interval(0.95).high];
        row.check_all("ci95_a", &ends(&a));
        row.check_all("ci95_b", &ends(&b));
    }
}

#[test]
fn normal_posteriors() {
    for row in rows("bayes_normal") {
        match row.function.as_str() {
            "P(B>A) and expected losses, independent normal posteriors" => {
                let a = Normal::new(row.number("mean_a"), row.number("se_a"));
                let b = Normal::new(row.number("mean_b"), row.number("se_b"));
                let difference = a.difference(&b);
                row.check("p_b_gt_a", difference.above(0.0));
                row.check("loss_choose_b", difference.expected_shortfall(0.0));
                row.check("loss_choose_a", difference.expected_excess(0.0));
                let by_quadrature = bayes::compare(&a, &b);
                row.check("p_b_gt_a", by_quadrature.second_better);
                row.check("loss_choose_b", by_quadrature.loss_second);
                row.check("loss_choose_a", by_quadrature.loss_first);
            }
            "P(best) for K normal posteriors" => {
                let deviations = row.numbers("sds");
                let means = row.numbers("means");
                let arms: Vec<Normal> =
                    means.iter().zip(deviations).map(|(mean, sd)| Normal::new(*mean, sd)).collect();
                row.check_all("p_best", &bayes::probabilities_best(&arms));
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn value_remaining() {
    for row in rows("value_remaining") {
        if !row.function.starts_with("champion = argmax P(best); v95 = 95% quantile") {
            unknown(&row);
        }
        let trials = row.numbers("trials");
        let successes = row.numbers("successes");
        let arms: Vec<Beta> = successes.iter().zip(trials).map(|(x, n)| prior(&row).after(*x, n)).collect();
        let found = bayes::value_remaining(&arms, Patience::default());
        row.check_all("p_best", &found.best);
        row.check("champion", found.champion as f64);
        row.check("v95", found.quantile);
        row.check("prob_value_remaining_below_1pct", found.probability_little);
        row.check("expected_loss_champion", found.expected_loss);
        row.check("expected_max", found.expected_max);
        assert_eq!(row.expected["stop"].as_bool(), Some(found.stop), "{}", row.id);
    }
}

#[test]
fn posteriors_of_effects() {
    for row in rows("gbstats_bayes") {
        let (relative, prior) = match row.function.as_str() {
            "effect Bayesian flat prior, relative" => (true, None),
            "effect Bayesian flat prior, absolute" => (false, None),
            "effect Bayesian proper prior N(0,0.3^2) on relative lift" => (true, Some(Normal::new(0.0, 0.3))),
            _ => unknown(&row),
        };
        let (estimate, standard_error) = effect(&row, relative);
        let belief = prior.map_or_else(
            || Normal::new(estimate, standard_error),
            |prior| prior.after(estimate, standard_error),
        );
        row.check("chance_to_win", belief.above(0.0));
        row.check("estimate", belief.mean());
        row.check("ci_low", belief.interval(0.95).low);
        row.check("ci_high", belief.interval(0.95).high);
        row.check("risk_control", belief.expected_excess(0.0));
        row.check("risk_treat", belief.expected_shortfall(0.0));
    }
}

#[test]
fn collisions_of_experiments() {
    for row in rows("collision") {
        if row.function.starts_with("independence of two experiments' assignments") {
            let rows: Vec<Vec<u64>> = table(&row.inputs["table"]).iter().map(|line| counts(line)).collect();
            let found = validity::independence(&rows);
            row.check("chi2", found.chi_squared);
            row.check("p", found.p);
        } else if row.function.starts_with("interaction contrast of two overlapping experiments") {
            let (x, n) = (table(&row.inputs["x"]), table(&row.inputs["n"]));
            let cell = |i: usize, j: usize| (x[i][j] as u64, n[i][j] as u64);
            let found = validity::interaction([[cell(0, 0), cell(0, 1)], [cell(1, 0), cell(1, 1)]]);
            row.check("contrast", found.value);
            row.check("se", found.standard_error);
            row.check("z", found.z);
            row.check("p", found.p);
        } else {
            unknown(&row);
        }
    }
}

#[test]
fn novelty() {
    for row in rows("novelty") {
        if row.function != "WLS of daily lift on ln(day), weights 1/se^2; slope t-test" {
            unknown(&row);
        }
        let (lift, errors) = (row.numbers("lift"), row.numbers("se"));
        let day = |(index, day): (usize, &f64)| DailyEffect {
            day: *day,
            effect: lift[index],
            standard_error: errors[index],
        };
        let days: Vec<DailyEffect> = row.numbers("day").iter().enumerate().map(day).collect();
        let found = validity::trend(&days).expect("there are days");
        row.check("intercept", found.intercept);
        row.check("slope", found.slope.value);
        row.check("se_slope", found.slope.standard_error);
        row.check("t", found.slope.z);
        row.check("p", found.slope.p);
    }
}

#[test]
fn seasons() {
    for row in rows("seasonality") {
        if !row.function.starts_with("OLS treat effect with day-of-week dummies, HC1 s.e.") {
            unknown(&row);
        }
        let (treated, values) = (row.numbers("treat"), row.numbers("y"));
        let observation = |(index, season): (usize, &f64)| Observation {
            season: *season as usize,
            treated: treated[index] == 1.0,
            value: values[index],
        };
        let observations: Vec<Observation> = row.numbers("dow").iter().enumerate().map(observation).collect();
        let found = seasonal_effect(&observations).expect("there is an effect");
        row.check("effect", found.adjusted.value);
        row.check("se", found.adjusted.standard_error);
        row.check("p", found.adjusted.p);
        row.check("effect_unadjusted", found.unadjusted.value);
        row.check("se_unadjusted", found.unadjusted.standard_error);
    }
}
