//! What users are, by their numbers.

use super::*;
use crate::base::{Change, Seed, Share, SimTime};
use crate::experiment::users::population::{HOUR, logistic};

fn model(more: &str) -> UserModel {
    let text = format!(
        "per_day = 2000\ndays = 10\nbase = \"5%\"\narms = [{{ name = \"a\" }}, {{ name = \"b\", lift = \"+20%\" }}]\n{more}"
    );
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The share of successes under each arm if all users got it.
fn shares(model: &UserModel, seed: u64) -> Vec<f64> {
    let population = Population::new(model);
    let users = population.users(Seed::new(seed));
    let share = |arm: usize| {
        let successes = (0..population.count()).filter(|number| {
            let user = users.user(*number);
            users.response(&user, 0, user.first, arm).success
        });
        successes.count() as f64 / population.count() as f64
    };
    (0..population.arms()).map(share).collect()
}

#[test]
fn the_rates_are_as_said_whatever_users_differ_by() {
    for more in
        ["", "heterogeneity = 1.5", "seasons = { daily = 0.3 }", "traffic = { daily = 0.5, weekly = 0.3 }"]
    {
        let model = model(more);
        let found = shares(&model, 4);
        for (found, expected) in found.iter().zip([0.05, 0.06]) {
            // Four standard errors of 20,000 users.
            assert!((found - expected).abs() < 0.007, "{more}: {found} is not {expected}");
        }
        let truth = Population::new(&model).truth().to_vec();
        assert!((truth[0] - 0.05).abs() < 1e-9 && (truth[1] - 0.06).abs() < 1e-9, "{more}: {truth:?}");
    }
}

#[test]
fn a_user_is_a_function_of_seed_and_number_and_acts_on_the_same_draw_under_all_arms() {
    let population = Population::new(&model("heterogeneity = 1.0\ndelay = { mean = \"6h\" }"));
    let users = population.users(Seed::new(7));
    let mut better = 0;
    for number in (0..population.count()).rev() {
        let user = users.user(number);
        assert_eq!(user, population.users(Seed::new(7)).user(number));
        let [first, second] = [0, 1].map(|arm| users.response(&user, 0, user.first, arm));
        assert!(!first.success || second.success, "who buys under the worse arm buys under the better");
        assert_eq!(first.delay, second.delay);
        better += u32::from(second.success && !first.success);
    }
    assert!(100 < better, "{better} of 20000, and 200 expected");
    assert_ne!(users.user(3), population.users(Seed::new(8)).user(3));
}

#[test]
fn users_come_in_order_and_where_the_traffic_is() {
    for more in ["", "traffic = { daily = 0.8, weekly = 0.2 }"] {
        let population = Population::new(&model(more));
        let users = population.users(Seed::new(1));
        let times: Vec<SimTime> = (0..population.count()).map(|number| users.user(number).first).collect();
        assert!(times.is_sorted() && times.last().is_some_and(|last| *last < population.end()), "{more}");
        let evening = |at: &&SimTime| (18..22).contains(&(at.as_nanos() / HOUR % 24));
        let evenings = times.iter().filter(evening).count() as f64 / times.len() as f64;
        let expected = if more.is_empty() { 4.0 / 24.0 } else { 4.0 / 24.0 * 1.76 };
        assert!((evenings - expected).abs() < 0.02, "{more}: {evenings} and {expected}");
    }
}

#[test]
fn novelty_fades_drift_stays_and_bots_do_not_care() {
    let more =
        "novelty = { amplitude = 1.0, half_life = \"1d\" }\nbots = { share = \"50%\", rate = \"30%\" }";
    let mut model = model(more);
    model.arms[0].drift = 0.1;
    let population = Population::new(&model);
    let at = |day: u64| population.rates_at(SimTime::from_nanos(day * DAY))[1];
    assert!(0.068 < at(0) && at(0) < 0.0725, "nearly twice the effect: {}", at(0));
    assert!((at(9) - 0.06).abs() < 1e-4, "{}", at(9));
    let truth = population.truth();
    let expected = logistic(libm::log(0.05 / 0.95) + 1.0);
    assert!((truth[0] - expected).abs() < 1e-12 && (truth[1] - 0.06).abs() < 1e-12, "{truth:?}");
    let users = population.users(Seed::new(2));
    let bots = (0..2000).map(|number| users.user(number)).filter(|user| user.bot).collect::<Vec<_>>();
    assert!((900..1100).contains(&bots.len()), "{}", bots.len());
    assert!(bots.iter().all(|bot| users.rate(bot, bot.first, 0) == users.rate(bot, bot.first, 1)));
}

#[test]
fn delays_and_visits_are_as_often_and_as_long_as_said() {
    for (shape, tolerance) in [("fixed", 1e-9), ("exponential", 0.05), ("long-tailed", 0.25)] {
        let more = format!(
            "delay = {{ share = \"40%\", mean = \"6h\", shape = \"{shape}\" }}\n\
             returning = {{ share = \"25%\", visits = 3, gap = \"1d\" }}"
        );
        let population = Population::new(&model(&more));
        let users = population.users(Seed::new(3));
        let all: Vec<User> = (0..population.count()).map(|number| users.user(number)).collect();
        let delays =
            all.iter().map(|user| users.response(user, 0, user.first, 0).delay.as_secs_f64() / 3600.0);
        let late: Vec<f64> = delays.filter(|hours| 0.0 < *hours).collect();
        let share = late.len() as f64 / all.len() as f64;
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        assert!((share - 0.4).abs() < 0.015, "{shape}: {share}");
        assert!((mean / 6.0 - 1.0).abs() < tolerance, "{shape}: {mean} hours");
        let come_back = all.iter().filter(|user| 1 < user.visits).count() as f64 / all.len() as f64;
        assert!((come_back - 0.25).abs() < 0.015, "{come_back}");
        let user = all.iter().find(|user| 1 < user.visits).expect("some come back");
        let second = users.next_visit(user, 0, user.first).expect("early enough");
        assert!(user.first < second && users.next_visit(user, 2, second).is_none());
    }
}

#[test]
fn segments_have_their_own_rates_and_arms_the_average() {
    let segments = "heterogeneity = 1.0\nsegments = [{ name = \"new\", share = \"75%\", lifts = [\"+0%\", \"+100%\"] }, \
                    { name = \"old\", share = \"25%\", lifts = [\"+200%\", \"-50%\"] }]";
    let population = Population::new(&model(segments));
    let near = |found: &[f64], expected: [f64; 2]| {
        assert!(found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-9), "{found:?}");
    };
    let noon = SimTime::from_nanos(5 * DAY + 12 * HOUR);
    let rates_of = |segment: usize| &population.rates()[population.row(segment, noon)..][..2];
    near(rates_of(0), [0.05, 0.12]);
    near(rates_of(1), [0.15, 0.03]);
    near(population.rates_at(noon), [0.075, 0.0975]);
    near(population.truth(), [0.075, 0.0975]);
    let users = population.users(Seed::new(5));
    let all: Vec<User> = (0..population.count()).map(|number| users.user(number)).collect();
    for (segment, share, rates) in [(0, 0.75, [0.05, 0.12]), (1, 0.25, [0.15, 0.03])] {
        let of: Vec<&User> = all.iter().filter(|user| user.segment == segment).collect();
        assert!((of.len() as f64 / all.len() as f64 - share).abs() < 0.0125, "{} users", of.len());
        for (arm, rate) in rates.into_iter().enumerate() {
            let happened = of.iter().filter(|user| users.response(user, 0, user.first, arm).success).count();
            // Four standard errors.
            let error = 4.0 * (rate * (1.0 - rate) / of.len() as f64).sqrt();
            let found = happened as f64 / of.len() as f64;
            assert!((found - rate).abs() < error, "segment {segment}, arm {arm}: {found}");
        }
    }
    // Nothing else moves with them.
    let plain = Population::new(&model("heterogeneity = 1.0"));
    let same = |user: &User| {
        let mut one = plain.users(Seed::new(5)).user(user.number);
        one.segment = user.segment;
        one == *user
    };
    assert!(all.iter().all(same));
}

#[test]
fn what_cannot_be_is_told() {
    for (more, path) in [
        ("heterogeneity = -1.0", "heterogeneity"),
        ("traffic = { daily = 0.8, weekly = 0.3 }", "traffic"),
        ("bots = { share = \"100%\" }", "bots.share"),
        ("returning = { share = \"5%\", visits = 1, gap = \"1d\" }", "returning.visits"),
        ("novelty = { amplitude = 1.0, half_life = \"0s\" }", "novelty.half_life"),
        ("segments = [{ name = \"x\", share = \"50%\", lifts = [\"+0%\", \"+0%\"] }]", "segments"),
        ("segments = [{ name = \"x\", share = \"100%\", lifts = [\"+0%\"] }]", "segments.0.lifts"),
        (
            "segments = [{ name = \"x\", share = \"100%\", lifts = [\"+0%\", \"+5000%\"] }]",
            "segments.0.lifts.1",
        ),
        ("segments = [{ name = \"\", share = \"100%\", lifts = [\"+0%\", \"+0%\"] }]", "segments.0.name"),
    ] {
        let problems = model(more).validate();
        assert_eq!(problems.first().map(|problem| problem.path.as_str()), Some(path), "{more}: {problems:?}");
    }
    let mut wrong = model("");
    (wrong.days, wrong.base) = (0, Share::new(0.0));
    wrong.arms[1] =
        Arm { name: "a".to_owned(), rate: Some(Share::new(1.0)), lift: Some(Change::new(0.1)), drift: 2.0 };
    let paths: Vec<String> = wrong.validate().into_iter().map(|problem| problem.path).collect();
    let expected =
        ["days", "base", "arms.0.lift", "arms.1.name", "arms.1.lift", "arms.1.rate", "arms.1.drift"];
    assert_eq!(paths, expected);
    assert!(model("").validate().is_empty());
}
