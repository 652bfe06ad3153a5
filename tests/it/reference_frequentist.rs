//! Tests, intervals and sample sizes against scipy, statsmodels, gbstats, tea-tasting and spotify-confidence.

use serde_json::Value;
use wavetank::statistics::cuped::RatioTheta;
use wavetank::statistics::means::{ArmMean, Difference, Moments};
use wavetank::statistics::normal::Statistic;
use wavetank::statistics::power::{Demand, Shares, Sizes};
use wavetank::statistics::proportion::{self, Share};
use wavetank::statistics::rate::{self, Rate};
use wavetank::statistics::stratified::{Table, cochran_mantel_haenszel};
use wavetank::statistics::{Interval, beta, binomial, cuped, gamma, means, multiple, normal, power, rank};

use crate::reference::{Row, rows};

/// A row whose function no test knows fails: a new row is not passed over.
fn unknown(row: &Row) -> ! {
    panic!("{}: nobody knows {}", row.id, row.function)
}

fn count(row: &Row, key: &str) -> u64 {
    row.number(key) as u64
}

fn share(row: &Row, successes: &str, trials: &str) -> Share {
    Share::new(count(row, successes), count(row, trials))
}

fn shares(row: &Row) -> (Share, Share) {
    (share(row, "x_control", "n_control"), share(row, "x_treat", "n_treat"))
}

fn check_interval(row: &Row, found: Interval) {
    row.check("low", found.low);
    row.check("high", found.high);
}

#[test]
fn two_proportion_tests() {
    for row in rows("two_proportion_test") {
        let (control, treated) = shares(&row);
        let check_statistic = |found: Statistic| {
            row.check("z", found.z);
            row.check("p_two_sided", found.p());
        };
        match row.function.as_str() {
            "pooled z (statsmodels proportions_ztest, treat first)" => {
                let found = proportion::pooled(control, treated);
                check_statistic(found);
                row.check("p_larger", found.p_more());
            }
            "test_proportions_2indep method=wald compare=diff" => {
                check_statistic(proportion::unpooled(control, treated));
            }
            "test_proportions_2indep method=agresti-caffo compare=diff" => {
                check_statistic(proportion::agresti_caffo(control, treated));
            }
            "test_proportions_2indep method=score compare=diff" => {
                check_statistic(proportion::score(control, treated, 0.0));
            }
            "chi-square 2x2, no / with Yates correction" => {
                let found = proportion::chi_squared(control, treated);
                row.check("chi2", found.chi_squared);
                row.check("p", found.p);
                let found = proportion::chi_squared_yates(control, treated);
                row.check("chi2_yates", found.chi_squared);
                row.check("p_yates", found.p);
            }
            "Fisher exact two-sided" => {
                let found = proportion::fisher(control, treated);
                row.check("odds_ratio", found.odds_ratio);
                row.check("p", found.p);
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn two_proportion_intervals() {
    for row in rows("two_proportion_ci") {
        let (control, treated) = shares(&row);
        let interval = match row.function.as_str() {
            "difference CI 95% method=wald" => proportion::wald_interval,
            "difference CI 95% method=newcomb" => proportion::newcombe,
            "difference CI 95% method=agresti-caffo" => proportion::agresti_caffo_interval,
            // The reference itself is wrong here, as the function tells; ours is tested beside it.
            "difference CI 95% method=score" => proportion::score_interval_of_statsmodels,
            "ratio CI 95% method=log" => proportion::log_ratio_interval,
            "ratio CI 95% method=score" => proportion::score_ratio_interval,
            _ => unknown(&row),
        };
        check_interval(&row, interval(control, treated, 0.95));
    }
}

#[test]
fn one_proportion_intervals() {
    for row in rows("one_proportion_ci") {
        let share = share(&row, "x", "n");
        let found = match row.function.as_str() {
            "95% CI method=wilson" => share.wilson(0.95),
            "95% CI method=beta (Clopper-Pearson)" => {
                binomial::clopper_pearson(share.successes(), share.trials(), 0.95)
            }
            "95% CI method=agresti_coull" => share.agresti_coull(0.95),
            "95% CI method=jeffreys" => share.jeffreys(0.95),
            "95% CI method=normal" => share.wald(0.95),
            _ => unknown(&row),
        };
        check_interval(&row, found);
    }
}

#[test]
fn z_tests() {
    for row in rows("z_test") {
        let (control, treated) = shares(&row);
        match row.function.as_str() {
            "ZTest difference (unpooled)" => {
                row.check("diff", treated.value() - control.value());
                row.check("p", proportion::unpooled(control, treated).p());
                let found = proportion::wald_interval(control, treated, 0.95);
                row.check("ci_low", found.low);
                row.check("ci_high", found.high);
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn tails() {
    for row in rows("tails") {
        match row.function.as_str() {
            "two-sided normal p for z=10 (1-cdf gives 0)" => {
                row.check("p", normal::two_sided(row.number("z")));
            }
            "chi2 sf x=200 df=3" => {
                row.check("p", gamma::chi_squared_sf(row.number("x"), row.number("df")));
            }
            "normal quantile" => {
                let found: Vec<f64> = row.numbers("p").into_iter().map(normal::quantile).collect();
                row.check_all("z", &found);
            }
            "regularised incomplete beta" => {
                let (a, b, x) = (row.numbers("a"), row.numbers("b"), row.numbers("x"));
                let found: Vec<f64> =
                    (0..x.len()).map(|index| beta::cdf(x[index], a[index], b[index])).collect();
                row.check_all("I", &found);
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn rates() {
    for row in rows("rate_test") {
        let rate = |events: &str, exposure: &str| Rate::new(count(&row, events), row.number(exposure));
        let (control, treated) =
            (rate("count_control", "exposure_control"), rate("count_treat", "exposure_treat"));
        let test = match row.function.as_str() {
            "Poisson rate ratio treat/control, method=score" => rate::score,
            "Poisson rate ratio treat/control, method=wald-log" => rate::log_ratio,
            "Poisson rate ratio treat/control, method=exact-cond" => {
                row.check("p", rate::exact(control, treated));
                continue;
            }
            _ => unknown(&row),
        };
        let found = test(control, treated);
        row.check("statistic", found.z);
        row.check("p", found.p());
    }
}

#[test]
fn strata() {
    for row in rows("stratified") {
        match row.function.as_str() {
            "Cochran-Mantel-Haenszel over 3 strata; rows control/treat, cols success/failure" => {
                let tables: Vec<Table> =
                    serde_json::from_value(row.inputs["tables"].clone()).expect("tables of two by two");
                let found = cochran_mantel_haenszel(&tables);
                row.check("pooled_or", found.odds_ratio);
                row.check("log_or_se", found.log_standard_error);
                row.check("chi2", found.chi_squared);
                row.check("p", found.p);
                row.check("breslow_day", found.heterogeneity);
                row.check("breslow_day_p", found.heterogeneity_p);
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn a_a_calibration() {
    for row in rows("aa_calibration") {
        match row.function.as_str() {
            "exact binomial test: k of n A/A tests below 0.05" => {
                let (alarms, tests) = (count(&row, "k"), count(&row, "n"));
                row.check("p", binomial::exact(alarms, tests, row.number("alpha")));
                let found = binomial::clopper_pearson(alarms, tests, 0.95);
                row.check("clopper_low", found.low);
                row.check("clopper_high", found.high);
            }
            _ => unknown(&row),
        }
    }
}

fn check_difference(row: &Row, found: &Difference) {
    let interval = found.interval(0.95);
    row.check("estimate", found.estimate);
    row.check("ci_low", interval.low);
    row.check("ci_high", interval.high);
    row.check("p", found.p());
    row.check("se", found.standard_error);
}

/// Users of an arm with a list of each quantity.
fn users<const K: usize>(row: &Row, quantities: [&str; K]) -> Moments<K> {
    let lists = quantities.map(|quantity| row.numbers(quantity));
    assert!(lists.iter().all(|list| list.len() == lists[0].len()), "{}: lists of one length", row.id);
    Moments::of((0..lists[0].len()).map(|user| std::array::from_fn(|quantity| lists[quantity][user])))
}

fn arm(row: &Row, quantity: &str) -> ArmMean {
    ArmMean::of(&users(row, [quantity]), 0)
}

#[test]
fn t_tests() {
    for row in rows("t_test") {
        let arm = |name: &str| {
            let deviation = row.number(&format!("sd_{name}"));
            ArmMean {
                users: count(&row, &format!("n_{name}")),
                value: row.number(&format!("mean_{name}")),
                variance: deviation * deviation,
            }
        };
        let found = match row.function.as_str() {
            "Welch t from moments" => means::welch(&arm("control"), &arm("treat")),
            "Student t pooled from moments" => means::student_pooled(&arm("control"), &arm("treat")),
            _ => unknown(&row),
        };
        row.check("t", found.t(0.0));
        row.check("df", found.degrees_of_freedom);
        row.check("p_two_sided", found.p());
        if row.expected.get("ci_low").is_some() {
            let interval = found.interval(0.95);
            row.check("ci_low", interval.low);
            row.check("ci_high", interval.high);
        }
    }
}

#[test]
fn gbstats_means_and_shares() {
    for row in rows("gbstats_frequentist") {
        let of_shares = || {
            let (control, treated) = shares(&row);
            (ArmMean::of_share(control), ArmMean::of_share(treated))
        };
        let of_means = || (arm(&row, "control"), arm(&row, "treat"));
        let (compare, (control, treated)): (fn(&ArmMean, &ArmMean) -> Difference, _) =
            match row.function.as_str() {
                "Welch t two-sided, proportions, difference_type=absolute" => (means::welch, of_shares()),
                "Welch t two-sided, proportions, difference_type=relative" => (means::relative, of_shares()),
                "Welch t two-sided, sample means, absolute" => (means::welch, of_means()),
                "Welch t two-sided, sample means, relative" => (means::relative, of_means()),
                _ => unknown(&row),
            };
        check_difference(&row, &compare(&control, &treated));
    }
}

#[test]
fn ratio_metrics() {
    for row in rows("ratio_metric") {
        let control = ArmMean::of_ratio(&users(&row, ["control_num", "control_den"]));
        let treated = ArmMean::of_ratio(&users(&row, ["treat_num", "treat_den"]));
        let found = match row.function.as_str() {
            "ratio of sums, delta method, Welch t, relative" => means::relative(&control, &treated),
            "ratio of sums, delta method, Welch t, absolute" => means::welch(&control, &treated),
            _ => unknown(&row),
        };
        check_difference(&row, &found);
    }
}

#[test]
fn quantile_metrics() {
    for row in rows("quantile_metric") {
        let lists = ["n", "hat", "lower", "upper"].map(|key| row.numbers(key));
        let [control, treated] = [0, 1].map(|arm| {
            let bounds = Interval { low: lists[2][arm], high: lists[3][arm] };
            ArmMean::of_quantile_bounds(lists[0][arm] as u64, lists[1][arm], bounds, 0.95)
        });
        match row.function.as_str() {
            "p90 metric from order-statistic bounds" => {
                check_difference(&row, &means::welch(&control, &treated));
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn cuped() {
    for row in rows("cuped") {
        let control = users(&row, ["control_post", "control_pre"]);
        let treated = users(&row, ["treat_post", "treat_pre"]);
        let found = cuped::cuped(&control, &treated);
        row.check("theta", found.theta);
        match row.function.as_str() {
            "CUPED (pooled theta over both arms), Welch t, relative" => {
                check_difference(&row, &found.relative);
            }
            "CUPED (pooled theta over both arms), Welch t, absolute" => {
                check_difference(&row, &found.absolute());
            }
            _ => unknown(&row),
        }
    }
}

const CONTROL: [&str; 4] = ["control_post", "control_den", "control_pre", "control_den_pre"];
const TREATED: [&str; 4] = ["treat_post", "treat_den", "treat_pre", "treat_den_pre"];

#[test]
fn cuped_ratios() {
    for row in rows("cuped_ratio") {
        let (control, treated) = (users(&row, CONTROL), users(&row, TREATED));
        let found = cuped::cuped_ratio(&control, &treated, RatioTheta::WithinArms);
        match row.function.as_str() {
            "ratio metric with CUPED, relative" => check_difference(&row, &found.relative),
            "ratio metric with CUPED, absolute" => check_difference(&row, &found.absolute()),
            _ => unknown(&row),
        }
    }
}

#[test]
fn tea_tasting() {
    for row in rows("tea_tasting") {
        let (control, treated) = match row.function.as_str() {
            "Mean (Welch t)" => (arm(&row, "control_post"), arm(&row, "treat_post")),
            "Mean + CUPED" | "Mean with CUPED" => {
                let control = users(&row, ["control_post", "control_pre"]);
                let found = cuped::cuped(&control, &users(&row, ["treat_post", "treat_pre"]));
                (found.control, found.treated)
            }
            "RatioOfMeans delta method" => (
                ArmMean::of_ratio(&users(&row, ["control_post", "control_den"])),
                ArmMean::of_ratio(&users(&row, ["treat_post", "treat_den"])),
            ),
            "RatioOfMeans + CUPED" => {
                let (control, treated) = (users(&row, CONTROL), users(&row, TREATED));
                let found = cuped::cuped_ratio(&control, &treated, RatioTheta::Together);
                (found.control, found.treated)
            }
            _ => unknown(&row),
        };
        let (found, relative) = (means::welch(&control, &treated), means::relative(&control, &treated));
        row.check("control", control.value);
        row.check("treatment", treated.value);
        row.check("effect", found.estimate);
        row.check("ci_low", found.interval(0.95).low);
        row.check("ci_high", found.interval(0.95).high);
        row.check("rel_effect", relative.estimate);
        let interval = means::relative_interval_of_logarithms(&control, &treated, 0.95);
        row.check("rel_low", interval.low);
        row.check("rel_high", interval.high);
        row.check("p", found.p());
        row.check("statistic", found.t(0.0));
    }
}

#[test]
fn non_inferiority() {
    for row in rows("non_inferiority") {
        match row.function.as_str() {
            "TOST Welch, bounds (-2,4)" => {
                let bounds = Interval { low: row.number("low"), high: row.number("high") };
                let found = means::welch(&arm(&row, "control"), &arm(&row, "treat")).equivalence(bounds);
                row.check("p", found.p);
                row.check("t_low", found.t_low);
                row.check("p_low", found.p_low);
                row.check("t_high", found.t_high);
                row.check("p_high", found.p_high);
            }
            "ZTest with relative NIM 5%, increase preferred" => {
                let (control, treated) = shares(&row);
                let found = proportion::non_inferiority(control, treated, row.number("nim"));
                row.check("p", found.p_more());
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn multiple_testing() {
    for row in rows("multiple_testing") {
        let (p, alpha) = (row.numbers("p"), row.number("alpha"));
        let found = match row.function.as_str() {
            "adjusted p, method=bonferroni" => multiple::bonferroni(&p),
            "adjusted p, method=sidak" => multiple::sidak(&p),
            "adjusted p, method=holm" => multiple::holm(&p),
            "adjusted p, method=holm-sidak" => multiple::holm_sidak(&p),
            "adjusted p, method=simes-hochberg" => multiple::hochberg(&p),
            "adjusted p, method=fdr_bh" => multiple::benjamini_hochberg(&p),
            "adjusted p, method=fdr_by" => multiple::benjamini_yekutieli(&p),
            "adjusted p, method=fdr_tsbh" => multiple::two_stage_benjamini_hochberg(&p, alpha),
            "adjusted p, method=fdr_tsbky" => multiple::two_stage_benjamini_krieger_yekutieli(&p, alpha),
            _ => unknown(&row),
        };
        row.check_all("adjusted", &found);
        let rejected: Vec<Value> = found.iter().map(|p| Value::from(*p <= alpha)).collect();
        assert_eq!(row.expected["reject"], Value::from(rejected), "{}", row.id);
    }
}

#[test]
fn ranks() {
    for row in rows("rank") {
        let (control, treated) = (row.numbers("control"), row.numbers("treat"));
        match row.function.as_str() {
            "KS two-sample exact" => {
                row.check("D", rank::kolmogorov_smirnov(&control, &treated));
                row.check("p", rank::kolmogorov_smirnov_exact(&control, &treated));
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn shadow_tests_are_paired() {
    for row in rows("shadow_paired") {
        match row.function.as_str() {
            "McNemar on ok/error agreement table [[both ok, only live ok],[only shadow ok, both error]]" => {
                let table: Table =
                    serde_json::from_value(row.inputs["table"].clone()).expect("a table of two by two");
                let [[_, only_live], [only_shadow, _]] = table;
                row.check("p_exact", binomial::mcnemar_exact(only_live, only_shadow));
                let (chi_squared, p) = binomial::mcnemar_corrected(only_live, only_shadow);
                row.check("chi2_cc", chi_squared);
                row.check("p_cc", p);
            }
            "paired latency: t, Wilcoxon signed-rank, Hodges-Lehmann shift, KS asymptotic; ratio of means and geometric mean ratio" =>
            {
                let (live, shadow) = (row.numbers("live"), row.numbers("shadow"));
                let differences: Vec<f64> =
                    shadow.iter().zip(&live).map(|(shadow, live)| shadow - live).collect();
                let paired = means::paired(&Moments::of(differences.iter().map(|difference| [*difference])));
                row.check("t", paired.t(0.0));
                row.check("p_t", paired.p());
                let found = rank::signed_rank(&differences);
                row.check("W", found.positive.min(found.negative));
                row.check("p_wilcoxon_exact", found.p_exact);
                row.check("p_wilcoxon_approx_cc", found.p_normal);
                row.check("hodges_lehmann", rank::hodges_lehmann(&differences));
                row.check("ks_D", rank::kolmogorov_smirnov(&live, &shadow));
                let pairs = live.iter().zip(&shadow);
                row.check("geo_ratio", means::geometric_ratio(pairs.map(|(live, shadow)| (*live, *shadow))));
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn sample_sizes() {
    for row in rows("sample_size") {
        let demand = Demand { alpha: row.number("alpha"), power: row.number("power") };
        let shares = || {
            assert_eq!(row.inputs["two_sided"], Value::Bool(true), "{}", row.id);
            Shares { control: row.number("p_control"), treated: row.number("p_treat") }
        };
        match row.function.as_str() {
            "Cohen h arcsine, NormalIndPower, n per arm" => {
                row.check("h", shares().cohen_h());
                row.check("n", power::users_for_shares_arcsine(shares(), 1.0, demand));
            }
            "samplesize_proportions_2indep_onetail (pooled null variance)" => {
                row.check("n", power::users_for_shares(shares(), 1.0, demand));
            }
            "R power.prop.test formula, n per arm" => {
                let found = power::users_for_shares(shares(), 1.0, demand);
                row.check("n", found);
                row.check("n_ceil", found.ceil());
            }
            "unpooled normal formula, n per arm" => {
                row.check("n", power::users_for_shares_unpooled(shares(), 1.0, demand));
            }
            "two-sample t (noncentral t), n1; n2=n1*ratio" => {
                let found = power::users_for_means(row.number("d"), row.number("ratio"), demand);
                row.check("n1", found);
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn powers() {
    for row in rows("power") {
        let users = row.number("n_per_arm");
        let (sizes, alpha) = (Sizes { control: users, treated: users }, row.number("alpha"));
        let found = match row.function.as_str() {
            "two-sample t power (noncentral t)" => power::power_of_means(row.number("d"), sizes, alpha),
            "power_proportions_2indep" => {
                let shares = Shares { control: row.number("p_control"), treated: row.number("p_treat") };
                power::power_of_shares(shares, sizes, alpha)
            }
            _ => unknown(&row),
        };
        row.check("power", found);
    }
}

#[test]
fn detectable_effects() {
    for row in rows("mde") {
        match row.function.as_str() {
            "MDE for equal arms, normal: (z_{1-a/2}+z_pw)*sd*sqrt(2/n)" => {
                let users = row.number("n_per_arm");
                let sizes = Sizes { control: users, treated: users };
                let demand = Demand { alpha: row.number("alpha"), power: row.number("power") };
                row.check("mde", power::detectable_difference(sizes, row.number("sd"), demand));
            }
            _ => unknown(&row),
        }
    }
}

#[test]
fn post_stratification() {
    for row in rows("post_stratification") {
        let strata: Vec<[u64; 4]> =
            serde_json::from_value(row.inputs["strata"].clone()).expect("counts of strata");
        let strata: Vec<[ArmMean; 2]> = strata
            .iter()
            .map(|[n, x, m, y]| [Share::new(*x, *n), Share::new(*y, *m)].map(ArmMean::of_share))
            .collect();
        let found = means::post_stratified(&strata);
        match row.function.as_str() {
            "two strata, proportions, absolute" => check_difference(&row, &found.absolute),
            "two strata, proportions, relative" => check_difference(&row, &found.relative),
            _ => unknown(&row),
        }
    }
}
