//! Bandits, off-policy estimates and assignments against other libraries.

use std::path::Path;

use serde_json::{Map, Value, json};
use wavetank::statistics::assignment::planout::{Salt, UnitHash};
use wavetank::statistics::assignment::{Unit, growthbook, interpreter, optimizely};
use wavetank::statistics::bandit::epsilon_greedy::EpsilonGreedy;
use wavetank::statistics::bandit::linear::{Exploration, LinearPolicy};
use wavetank::statistics::bandit::thompson::BetaPrior;
use wavetank::statistics::bandit::{Arm, Memory, Outcome, Policy, bayes_ucb, kl_ucb, ucb, weights};
use wavetank::statistics::bayes::{Normal, probabilities_best};
use wavetank::statistics::off_policy::{Estimator, Refusal, Round, estimate};
use wavetank::statistics::regret::lai_robbins_constant;
use wavetank::workloads::clickstream::impression::{Logged, parse_logged};

use crate::reference::{Row, rows};

#[test]
fn bandit_constants() {
    for row in rows("bandit_constants") {
        match row.function.as_str() {
            function if function.starts_with("Lai-Robbins constant") => {
                let mut shares = vec![0.5 - row.number("eps"); row.number("K") as usize];
                shares[0] = 0.5;
                row.check("c", lai_robbins_constant(&shares));
            }
            other => panic!("{}: no function {other}", row.id),
        }
    }
}

#[test]
fn bandit_index() {
    for row in rows("bandit_index") {
        match row.function.as_str() {
            function if function.starts_with("UCB1; Chapelle-Li") => {
                let arm = Arm::of_successes(row.number("successes"), row.number("pulls"));
                let t = row.number("t");
                row.check("ucb1", ucb::ucb1(&arm, t));
                row.check("ucb_chapelle_li", ucb::chapelle_li(&arm, 0.5 * libm::log(t)));
                row.check("bayes_ucb", bayes_ucb::index(&arm, BetaPrior::FLAT, t));
            }
            function if function.starts_with("klucbBern") => {
                row.check("q", kl_ucb::upper_bound(row.number("p"), row.number("d")));
            }
            function if function.starts_with("klBern") => {
                row.check("kl", kl_ucb::divergence(row.number("p"), row.number("q")));
            }
            function if function.ends_with(".computeIndex") => {
                let (name, _) = function.split_once('.').expect("it has one");
                let arms = row.numbers("pulls").into_iter().zip(row.numbers("rewards"));
                let arms: Vec<Arm> = arms.map(|(pulls, sum)| Arm::of_successes(sum, pulls)).collect();
                let (t, count) = (row.number("t"), arms.len() as f64);
                let index = |arm: &Arm| match name {
                    "UCB" => ucb::ucb1(arm, t),
                    "klUCB" => halved(arm.mean(), libm::log(t) / arm.pulls, kl_ucb::index(arm, t)),
                    // It counts time from 0. The counts of this row stand for prior and rewards together.
                    "BayesUCB" => {
                        let none = BetaPrior { successes: 0.0, failures: 0.0 };
                        bayes_ucb::index(arm, none, t + 1.0)
                    }
                    "MOSS" => ucb::moss(arm, t, count),
                    _ => ucb::ucb_alpha(arm, t, in_brackets("UCBalpha", name, &row)),
                };
                row.check_all("index", &arms.iter().map(index).collect::<Vec<_>>());
            }
            function if function.starts_with("UCB1(alpha=") => mabwiser_ucb1(&row),
            other => panic!("{}: no function {other}", row.id),
        }
    }
}

/// SMPyBandits' `klUCB` halves the interval from the mean to Pinsker's bound until it is at most 1e-4 wide, and returns the middle of what is left:
/// up to 5e-5 from the index, which is more than the tolerance of its rows. This is where the halving ends for a known index.
fn halved(mean: f64, bound: f64, index: f64) -> f64 {
    let (mut low, mut high) = (mean, (mean + (0.5 * bound).sqrt()).min(1.0));
    while 1e-4 < high - low {
        let middle = 0.5 * (low + high);
        if index < middle {
            high = middle;
        } else {
            low = middle;
        }
    }
    0.5 * (low + high)
}

/// The number in the brackets of a name, such as 1 of `UCBalpha(1)`.
fn in_brackets(before: &str, name: &str, row: &Row) -> f64 {
    let number = name.strip_prefix(before).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
    let number = number.unwrap_or_else(|| panic!("{}: no function {name}", row.id));
    number.parse().expect("a number")
}

/// MABWiser's bonus is that of UCB1 times α.
fn mabwiser_ucb1(row: &Row) {
    let alpha = row.function.strip_prefix("UCB1(alpha=").and_then(|rest| rest.split(')').next());
    let alpha: f64 = alpha.and_then(|alpha| alpha.parse().ok()).expect("a number");
    let decisions = texts(&row.inputs["decisions"]);
    let rewards = row.numbers("rewards");
    for (name, expected) in row.expected["expectations"].as_object().expect("a map") {
        let mut arm = Arm::default();
        for (_, reward) in decisions.iter().zip(&rewards).filter(|(decision, _)| *decision == name) {
            arm.pulls += 1.0;
            arm.rewards += reward;
        }
        let found = ucb::ucb_alpha(&arm, decisions.len() as f64, 4.0 * alpha * alpha);
        let expected = expected.as_f64().expect("a number");
        assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{}: {name}: {found}", row.id);
    }
}

#[test]
fn linear_bandit() {
    for row in rows("linear_bandit") {
        let setting = |name: &str| -> f64 {
            let (_, rest) = row.function.split_once(&format!("{name}=")).expect("it names its settings");
            let number = rest.split([',', ')']).next().expect("a setting ends");
            number.parse().expect("a number")
        };
        let exploration = match row.function.split('(').next() {
            Some("LinUCB") => Exploration::UpperBound { alpha: setting("alpha") },
            Some("LinGreedy") => Exploration::Greedy { epsilon: setting("eps") },
            _ => panic!("{}: no function {}", row.id, row.function),
        };
        let contexts: Vec<Vec<f64>> = matrix(&row.inputs["contexts"]);
        let arms: Vec<usize> = row.numbers("arms").into_iter().map(|arm| arm as usize).collect();
        let count = arms.iter().max().expect("there are arms") + 1;
        let mut policy = LinearPolicy::new(count, contexts[0].len(), exploration, setting("l2"));
        for ((arm, context), reward) in arms.iter().zip(&contexts).zip(row.numbers("rewards")) {
            policy.observe(*arm, context, reward);
        }
        let queries = matrix(&row.inputs["query"]);
        let expected = row.expected["expectations"].as_array().expect("a list");
        assert_eq!(expected.len(), queries.len(), "{}", row.id);
        let mut choices = Vec::new();
        for (query, expected) in queries.iter().zip(expected) {
            let scores = policy.scores(query);
            let mut one = row.clone();
            one.expected = json!({ "expectations": expected });
            one.check_all("expectations", &scores);
            let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            choices.push(scores.iter().position(|score| *score == best).expect("one is") as f64);
        }
        row.check_all("choice", &choices);
    }
}

#[test]
fn ope() {
    for row in rows("ope") {
        assert!(row.function.starts_with("IPS, SNIPS, DM, DR"), "{}: no function {}", row.id, row.function);
        let (policy, model) = (row.numbers("evaluation_policy"), row.numbers("q_hat"));
        let predicted_target = policy.iter().zip(&model).map(|(share, predicted)| share * predicted).sum();
        let arms: Vec<usize> = row.numbers("action").into_iter().map(|arm| arm as usize).collect();
        let log = arms.iter().zip(row.numbers("reward")).zip(row.numbers("pscore"));
        let rounds: Vec<Round> = log
            .map(|((arm, reward), logged)| {
                let (target, predicted) = (policy[*arm], model[*arm]);
                Round { logged, target, reward, predicted, predicted_target }
            })
            .collect();
        for key in row.expected.as_object().expect("a map").keys() {
            let parameter = |name: &str| -> f64 {
                key.strip_prefix(name).and_then(|number| number.parse().ok()).expect("a number")
            };
            let estimator = match key.as_str() {
                "ips" => Estimator::Ips,
                "snips" => Estimator::Snips,
                "dm" => Estimator::DirectMethod,
                "dr" => Estimator::DoublyRobust,
                "sndr" => Estimator::SelfNormalisedDoublyRobust,
                key if key.starts_with("switch_dr_lambda") => {
                    Estimator::SwitchDoublyRobust { weight_max: parameter("switch_dr_lambda") }
                }
                key if key.starts_with("dros_lambda") => {
                    Estimator::ShrunkDoublyRobust { lambda: parameter("dros_lambda") }
                }
                key if key.starts_with("ips_clip_lambda") => {
                    Estimator::ClippedIps { weight_max: parameter("ips_clip_lambda") }
                }
                key if key.starts_with("replay_arm") => Estimator::Replay,
                other => panic!("{}: no estimator {other}", row.id),
            };
            // A replay is of the policy that always takes this arm.
            let replayed = key.strip_prefix("replay_arm").map(|arm| arm.parse::<usize>().expect("a number"));
            let mut rounds = rounds.clone();
            if let Some(replayed) = replayed {
                for (round, arm) in rounds.iter_mut().zip(&arms) {
                    round.target = f64::from(u8::from(*arm == replayed));
                }
            }
            row.check(key, estimate(&rounds, estimator).expect("the rounds are good").value);
        }
    }
}

#[test]
fn ope_obd() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/data/obd.parquet");
    #[expect(clippy::disallowed_methods, reason = "the test reads the data of the repository")]
    let file = std::fs::read(path).expect("it is part of the repository");
    let all = parse_logged(file.into()).expect("it is a log");
    for row in rows("ope_obd") {
        let log = row.function.strip_prefix("small OBD ").and_then(|rest| rest.split(':').next());
        let (policy, campaign) = log.and_then(|log| log.split_once('/')).expect("it names its log");
        let of_campaign = || all.iter().filter(|one| &*one.campaign == campaign);
        let count = 1 + of_campaign().map(|one| one.impression.item).max().expect("the campaign has items");
        let uniform = row.function.contains("uniform policy");
        assert!(uniform || row.function.contains("pi(a)=(a+1)/sum"), "{}: {}", row.id, row.function);
        let sum = (count * (count + 1) / 2) as f64;
        let target = |item: i64| if uniform { 1.0 / count as f64 } else { (item + 1) as f64 / sum };
        let rounds: Vec<Round> = of_campaign()
            .filter(|one| &*one.policy == policy)
            .map(|Logged { impression: one, .. }| {
                Round::without_model(one.propensity, target(one.item), f64::from(u8::from(one.clicked)))
            })
            .collect();
        assert_eq!(rounds.len() as f64, row.number("n"), "{}", row.id);
        let ips = estimate(&rounds, Estimator::Ips).expect("the rounds are good");
        let snips = estimate(&rounds, Estimator::Snips).expect("the rounds are good");
        let clicks: f64 = rounds.iter().map(|round| round.reward).sum();
        for key in row.expected.as_object().expect("a map").keys() {
            let found = match key.as_str() {
                "on_policy" => clicks / rounds.len() as f64,
                "clicks" => clicks,
                "ips" | "ips_uniform" => ips.value,
                "snips" | "snips_uniform" => snips.value,
                "mean_weight" => ips.weights.mean,
                "min_pscore" => rounds.iter().map(|round| round.logged).fold(1.0, f64::min),
                other => panic!("{}: no value {other}", row.id),
            };
            row.check(key, found);
        }
    }
    // Of the women's log of bts, whose weights are 3.13 in the mean, no estimate is to be believed.
    let women = all.iter().filter(|one| &*one.campaign == "women" && &*one.policy == "bts");
    let round = |Logged { impression: one, .. }: &Logged| {
        Round::without_model(one.propensity, 1.0 / 46.0, f64::from(u8::from(one.clicked)))
    };
    let found = estimate(&women.map(round).collect::<Vec<_>>(), Estimator::Ips).expect("the rounds are good");
    assert!((found.weights.mean - 3.13).abs() < 0.01, "{found:?}");
    assert!(matches!(found.believed(), Err(Refusal::MeanWeight { .. })), "{found:?}");
}

#[test]
fn planout_assignments() {
    for row in rows("planout") {
        let text = |key: &str| row.inputs[key].as_str();
        let experiment_salt = text("experiment_salt").unwrap_or_default();
        let salt = match (text("full_salt"), text("salt").or(text("var"))) {
            (Some(full), _) => Salt::full(full),
            (None, variable) => Salt::new(experiment_salt, variable.unwrap_or_default()),
        };
        let unit = |parts: &[Unit<'_>]| salt.unit(parts).expect("it is not ambiguous");
        let each = |value: &dyn Fn(&UnitHash) -> Value| {
            let values = units(&row.inputs["units"]).into_iter().map(|number| value(&unit(&[number.into()])));
            assert_eq!(row.expected["values"], Value::Array(values.collect()), "{}", row.id);
        };
        let operator = row.function.split([' ', ':', '(']).next().expect("a name");
        let choices = || row.inputs["choices"].as_array().expect("a list");
        let pick =
            |indices: Vec<usize>| indices.into_iter().map(|at| choices()[at].clone()).collect::<Value>();
        let draws = || row.inputs["draws"].as_u64().map_or(choices().len(), |draws| draws as usize);
        match operator {
            "hash" => {
                let found = match &row.inputs["unit"] {
                    Value::Array(parts) => unit(&parts.iter().map(part).collect::<Vec<_>>()),
                    single => unit(&[part(single)]),
                };
                assert_eq!(row.expected["hash"], json!(found.hash().to_string()), "{}", row.id);
                row.check("uniform", found.uniform());
            }
            "randomInteger" => {
                let (low, high) = (row.number("min") as i64, row.number("max") as i64);
                each(&|unit| json!(unit.integer(low, high).expect("it is a range")));
            }
            "randomFloat" => each(&|unit| json!(unit.float(row.number("min"), row.number("max")))),
            "bernoulliTrial" => {
                each(&|unit| json!(u8::from(unit.bernoulli(row.number("p")).expect("a probability"))));
            }
            "bernoulliFilter" => {
                let parts: Vec<Unit<'_>> = choices().iter().map(part).collect();
                each(&|unit| {
                    let kept = unit.filter(&parts, row.number("p")).expect("a probability");
                    pick(kept.iter().enumerate().filter_map(|(at, kept)| kept.then_some(at)).collect())
                });
            }
            "uniformChoice" => {
                each(&|unit| choices()[unit.choice(choices().len()).expect("there are choices")].clone());
            }
            "weightedChoice" => {
                let weights = row.numbers("weights");
                each(&|unit| {
                    let chosen = unit.weighted_choice(&weights).expect("the weights are good");
                    choices()[chosen.expect("there are choices")].clone()
                });
            }
            "sample" => each(&|unit| pick(unit.sample(choices().len(), draws()).expect("there are enough"))),
            "fastSample" => {
                each(&|unit| pick(unit.fast_sample(choices().len(), draws()).expect("there are enough")));
            }
            "interpreter" => interpret(&row, experiment_salt),
            other => panic!("{}: no function {other}", row.id),
        }
    }
}

fn interpret(row: &Row, experiment_salt: &str) {
    let users = units(&row.inputs["userids"]).into_iter().map(|user| {
        let inputs: Map<String, Value> = [("userid".to_owned(), json!(user))].into_iter().collect();
        let found = interpreter::run(&row.inputs["script"], experiment_salt, &inputs, &Map::new());
        Value::Object(found.expect("the script runs").parameters)
    });
    assert_eq!(row.expected["params"], users.collect::<Value>(), "{}", row.id);
}

#[test]
fn growthbook_hash() {
    for row in rows("growthbook_hash") {
        assert!(row.function.starts_with("hash(seed"), "{}: no function {}", row.id, row.function);
        let text = |key: &str| row.inputs[key].as_str().expect("a text");
        let version = match row.number("version") as u32 {
            1 => growthbook::Version::One,
            2 => growthbook::Version::Two,
            other => panic!("{}: no version {other}", row.id),
        };
        row.check("h", growthbook::hash(text("seed"), text("value"), version));
    }
}

/// The cases that GrowthBook's own SDKs are tested with: `tests/data/growthbook-cases.json`.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads its table")]
fn growthbook_cases() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/growthbook-cases.json");
    let text = std::fs::read_to_string(path).expect("it is part of the repository");
    let file: Value = serde_json::from_str(&text).expect("it is JSON");
    let cases = |list: &str, count: usize| {
        let cases = file[list].as_array().expect("a list").clone();
        assert_eq!(cases.len(), count, "{list}");
        cases
    };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let number = |value: &Value| value.as_f64().expect("a number");
    let range = |pair: &Value| growthbook::Range { start: number(&pair[0]), end: number(&pair[1]) };
    let ranges = |pairs: &Value| pairs.as_array().expect("a list").iter().map(range).collect::<Vec<_>>();
    for case in cases("hash", 15) {
        let version = match case[2].as_u64() {
            Some(1) => growthbook::Version::One,
            Some(2) => growthbook::Version::Two,
            // Of a version that there is not, the SDKs tell none; ours cannot be asked.
            other => {
                assert_eq!((other, &case[3]), (Some(99), &Value::Null), "{case}");
                continue;
            }
        };
        let found = growthbook::hash(&text(&case[0]), &text(&case[1]), version);
        assert_eq!(found, number(&case[3]), "{case}");
    }
    for case in cases("getBucketRange", 13) {
        let weights: Vec<f64> = case[1][2].as_array().into_iter().flatten().map(number).collect();
        let count = case[1][0].as_u64().expect("a count") as usize;
        let found = growthbook::ranges(count, number(&case[1][1]), &weights);
        let expected = ranges(&case[2]);
        assert_eq!(found.len(), expected.len(), "{case}");
        for (found, expected) in found.iter().zip(expected) {
            // The cases are rounded to six digits.
            let near = |one: f64, other: f64| (one - other).abs() < 1e-6;
            assert!(near(found.start, expected.start) && near(found.end, expected.end), "{case}: {found:?}");
        }
    }
    for case in cases("chooseVariation", 13) {
        let expected = usize::try_from(case[3].as_i64().expect("a number")).ok();
        assert_eq!(growthbook::choose(number(&case[1]), &ranges(&case[2])), expected, "{case}");
    }
    // A namespace is a range of the places by version 1, whose seed is its name after two underscores.
    for case in cases("inNamespace", 16) {
        let user = text(&case[1]);
        let seed = format!("__{}", text(&case[2][0]));
        let place = growthbook::place(&seed, user.as_str().into(), growthbook::Version::One);
        let part = growthbook::Range { start: number(&case[2][1]), end: number(&case[2][2]) };
        assert_eq!(json!(part.contains(place.expect("it is not empty"))), case[3], "{case}");
    }
}

#[test]
fn optimizely_bucket() {
    for row in rows("optimizely_bucket") {
        assert!(row.function.starts_with("murmur3_32"), "{}: no function {}", row.id, row.function);
        let key = row.inputs["bucketing_key"].as_str().expect("a text");
        row.check("bucket", f64::from(optimizely::place_of_key(key)));
    }
}

/// GrowthBook draws ten thousand times and takes its weights with a floor of 1 %.
#[test]
fn gbstats_bandit() {
    for row in rows("gbstats_bandit") {
        assert!(row.function.starts_with("Thompson (top-two)"), "{}: no function {}", row.id, row.function);
        let n = row.number("n");
        let posteriors: Vec<Normal> = row
            .numbers("sums")
            .into_iter()
            .map(|sum| {
                let mean = sum / n;
                Normal::new(mean, (mean * (1.0 - mean) / n).sqrt())
            })
            .collect();
        row.check_all("best_arm", &probabilities_best(&posteriors));
        row.check_all("weights", &weights::floored(&weights::top_two(&posteriors), 0.01));
    }
}

/// The whole numbers of a range such as `0..19`, whose end is included.
fn units(range: &Value) -> Vec<i64> {
    let (first, last) = range.as_str().and_then(|text| text.split_once("..")).expect("a range");
    (first.parse().expect("a number")..=last.parse().expect("a number")).collect()
}

fn part(value: &Value) -> Unit<'_> {
    value.as_str().map_or_else(|| value.as_i64().expect("a unit").into(), Unit::from)
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().expect("a list").iter();
    texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

fn matrix(rows: &Value) -> Vec<Vec<f64>> {
    let row = |row: &Value| -> Vec<f64> {
        row.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
    };
    rows.as_array().expect("a list").iter().map(row).collect()
}

/// The context of words `a`, `b` and `c`, with a constant.
fn words(text: &str) -> [f64; 4] {
    let has = |word| f64::from(u8::from(text.split_whitespace().any(|one| one == word)));
    [1.0, has("a"), has("b"), has("c")]
}

/// What Vowpal Wabbit's ε-greedy would choose with which probability: it learns costs by estimates as ours, from its own regressions, whose
/// predictions differ; the arm that is best is the same.
fn vw_pmf(row: &Row, query: &str) -> Vec<f64> {
    let arguments = row.inputs["args"].as_str().expect("it tells its arguments");
    let option = |name: &str| arguments.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next());
    // `--first 10` has no chance left after its ten choices.
    let epsilon = option("--epsilon").map_or(0.0, |epsilon| epsilon.parse().expect("a number"));
    let mut models = LinearPolicy::new(3, 4, Exploration::Greedy { epsilon }, 1.0);
    for _ in 0..row.number("repeats") as usize {
        for example in row.inputs["examples"].as_array().expect("a list") {
            let (label, context) = example.as_str().and_then(|one| one.split_once('|')).expect("an example");
            let label: Vec<f64> =
                label.trim().split(':').map(|part| part.parse().expect("a number")).collect();
            let [chosen, cost, probability] = label[..] else { panic!("{}: {label:?}", row.id) };
            let (chosen, context) = (chosen as usize - 1, words(context));
            let predicted = models.scores(&context);
            for (arm, predicted) in predicted.into_iter().enumerate() {
                let reward = if arm == chosen { -cost } else { 0.0 };
                let estimate = match option("--cb_type") {
                    Some("ips") => reward / probability,
                    Some("dm") if arm == chosen => reward,
                    Some("dm") => continue,
                    // Doubly robust, where nothing else is said.
                    _ if arm == chosen => predicted + (reward - predicted) / probability,
                    _ => predicted,
                };
                models.observe(arm, &context, estimate);
            }
        }
    }
    let mut policy = EpsilonGreedy::new(3, epsilon, Memory::Full);
    for (arm, reward) in models.scores(&words(query)).into_iter().enumerate() {
        policy.observe(Outcome { arm, reward });
    }
    policy.weights()
}

#[test]
fn vw() {
    for row in rows("vw") {
        let expected = row.expected["pmf"].as_array().expect("a list");
        if row.inputs["args"].as_str().is_some_and(|arguments| arguments.contains("--cb_explore_adf")) {
            // SquareCB and RegCB, which this project does not have, turn the predictions of Vowpal Wabbit's online regression over hashed features
            // into probabilities. The row holds neither those predictions nor the regression's state, and one of ours predicts other numbers, so
            // that no probability can be compared: it only tells that the rewarded action comes first, or none does.
            let pmf: Vec<f64> = expected.iter().map(|one| one.as_f64().expect("a number")).collect();
            assert!((pmf.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{}: {pmf:?}", row.id);
            let arms = pmf.iter().enumerate().map(|(arm, share)| (arm, *share));
            let mut models = LinearPolicy::new(3, 2, Exploration::Greedy { epsilon: 0.0 }, 1.0);
            for example in row.inputs["examples"].as_array().expect("a list") {
                let lines: Vec<&str> =
                    example.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
                let context = [
                    f64::from(u8::from(lines[0] == "shared | s1")),
                    f64::from(u8::from(lines[0] == "shared | s2")),
                ];
                let (arm, line) =
                    lines[1..].iter().enumerate().find(|(_, line)| line.contains(':')).expect("a label");
                let cost: f64 = line.split(':').nth(1).expect("a cost").parse().expect("a number");
                models.observe(arm, &context, -cost);
            }
            let scores = models.scores(&[1.0, 0.0]);
            for (arm, share) in arms {
                assert!(scores[arm] <= scores[0] && share <= pmf[0], "{}: {pmf:?}, {scores:?}", row.id);
            }
            continue;
        }
        for (query, expected) in row.inputs["queries"].as_array().expect("a list").iter().zip(expected) {
            let found = vw_pmf(&row, query.as_str().expect("a context"));
            let part = Row { expected: json!({ "pmf": expected }), ..row.clone() };
            part.check_all("pmf", &found);
        }
    }
}
