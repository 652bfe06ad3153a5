//! One stream of users through one strategy, without any platform between them: visits, and outcomes that become known later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::{Seed, SimTime};
use crate::experiment::allocation::Visitor;
use crate::experiment::course::{Course, Given, Prepared, Recorder, Stage};
use crate::experiment::users::{Population, User, Users};
use crate::statistics::dice::Dice;

impl Prepared<'_> {
    /// What becomes of the stream of users that a seed makes.
    pub fn course(&self, population: &Population, seed: Seed) -> Course {
        let users = population.model().come_again().then(|| population.count());
        self.course_of(population, seed, users)
    }

    /// The same, of so many users who are the unit if they keep their arm, or of visits.
    fn course_of(&self, population: &Population, seed: Seed, users: Option<u64>) -> Course {
        let dice = Dice::new(&mut seed.stream("experiment/allocation"));
        let stage = Stage {
            truth: population.truth(),
            rates: population.rates(),
            end: population.end(),
            users,
            segments: population.segments(),
        };
        let mut stream = Stream {
            users: population.users(seed),
            population,
            recorder: self.begin(stage, dice),
            sticky: self.strategy().sticky,
            late: BinaryHeap::new(),
        };
        stream.run();
        stream.recorder.told()
    }
}

/// An outcome on its way: when it becomes known, in the order in which they were sent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    at: SimTime,
    visit: u64,
    visitor: Visitor,
    arm: usize,
    day: usize,
    success: bool,
    /// The bits of the probability with which the arm was chosen.
    probability: u64,
}

/// A user on its way back.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Return {
    at: SimTime,
    number: u64,
    visit: u32,
    arm: usize,
    /// The bits of the probability with which it was chosen.
    probability: u64,
}

struct Stream<'run> {
    users: Users<'run>,
    population: &'run Population,
    recorder: Recorder<'run>,
    sticky: bool,
    late: BinaryHeap<Reverse<Late>>,
}

impl Stream<'_> {
    fn run(&mut self) {
        let mut returns: BinaryHeap<Reverse<Return>> = BinaryHeap::new();
        let count = self.population.count();
        let mut number = 0;
        let mut next = self.users.user(number);
        loop {
            let back = returns.peek().map(|Reverse(back)| back.at);
            let is_new = number < count && back.is_none_or(|back| next.first <= back);
            let (user, visit, at, arm) = if is_new {
                let user = next;
                number += 1;
                if number < count {
                    next = self.users.user(number);
                }
                (user, 0, user.first, None)
            } else {
                let Some(Reverse(back)) = returns.pop() else { break };
                (self.users.user(back.number), back.visit, back.at, self.kept(&back))
            };
            self.come_to(at);
            let (arm, probability) = self.visit(&user, visit, at, arm);
            if let Some(again) = self.users.next_visit(&user, visit, at) {
                let (number, visit, probability) = (user.number, visit + 1, probability.to_bits());
                returns.push(Reverse(Return { at: again, number, visit, arm, probability }));
            }
        }
        self.come_to(self.population.end());
    }

    /// The arm that a user keeps, with the probability with which it was chosen.
    fn kept(&self, back: &Return) -> Option<(usize, f64)> {
        self.sticky.then(|| (back.arm, f64::from_bits(back.probability)))
    }

    /// Everything that happens until a time and is no visit.
    #[inline]
    fn come_to(&mut self, at: SimTime) {
        while let Some(look) = self.recorder.look_until(at) {
            self.mature(look);
            self.recorder.look();
        }
        self.recorder.tell_until(at);
        self.mature(at);
    }

    /// Outcomes that are known by now.
    #[inline]
    fn mature(&mut self, at: SimTime) {
        while self.late.peek().is_some_and(|Reverse(late)| late.at <= at) {
            let Some(Reverse(late)) = self.late.pop() else { return };
            let Late { visitor, arm, day, success, probability, .. } = late;
            let probability = f64::from_bits(probability);
            self.recorder.know(&Given { visitor, arm, day, probability }, success);
        }
    }

    /// A visit of a user who keeps an arm, or needs one; returns it, with the probability with which it was chosen.
    #[inline]
    fn visit(&mut self, user: &User, visit: u32, at: SimTime, kept: Option<(usize, f64)>) -> (usize, f64) {
        let assignment = || if self.sticky { user.assignment() } else { user.assignment_of(visit) };
        let visitor = Visitor { user: user.number, segment: user.segment };
        let given = self.recorder.choose(visitor, kept, assignment);
        self.recorder.shown(&given, !user.bot);
        let Given { arm, day, probability, .. } = given;
        let response = self.users.response(user, visit, at, arm);
        if response.delay.is_zero() {
            self.recorder.know(&given, response.success);
        } else {
            self.late.push(Reverse(Late {
                at: at + response.delay,
                visit: self.recorder.visits(),
                visitor,
                arm,
                day,
                success: response.success,
                probability: probability.to_bits(),
            }));
        }
        (arm, probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::course::CHECKPOINTS;
    use crate::experiment::strategy::Strategy;
    use crate::experiment::users::UserModel;

    fn course(users: &str, strategy: &str) -> Course {
        let base = "per_day = 1000\ndays = 10\nbase = \"10%\"";
        let model: UserModel = toml::from_str(&format!("{base}\n{users}")).expect("a model");
        let strategy: Strategy = toml::from_str(&format!("name = \"s\"\n{strategy}")).expect("a strategy");
        let population = Population::new(&model);
        assert_eq!(strategy.validate(model.arms.len(), model.days), [], "a valid strategy");
        Prepared::new(&strategy, population.arms(), model.days).course(&population, Seed::new(1))
    }

    const TWO: &str = "arms = [{ name = \"a\" }, { name = \"b\", rate = \"20%\" }]";

    #[test]
    fn equal_shares_lose_half_of_the_difference_until_the_decision_and_nothing_after() {
        let at_end = course(TWO, "stop = \"fixed-horizon\"");
        assert_eq!((at_end.visits, at_end.visits_until), (10_000, 10_000));
        assert!((at_end.regret[CHECKPOINTS - 1] - 500.0).abs() < 20.0, "{:?}", at_end.regret);
        assert!((at_end.regret[9] - 100.0).abs() < 10.0, "evenly: {:?}", at_end.regret);
        assert!(at_end.right && !at_end.false_alarm && at_end.covers.is_some());
        let early = course(TWO, "stop = { msprt = { tau = \"5%\" } }");
        assert!(early.right && early.visits_until < 2_000, "{} visits", early.visits_until);
        let decided = early.regret[CHECKPOINTS / 5];
        assert!(decided < 110.0 && early.regret[CHECKPOINTS - 1] == decided, "{:?}", early.regret);
        assert_eq!(early.allocation[early.allocation.len() - 2..], [0.0, 1.0]);
        assert_eq!(at_end.allocation[..10], early.allocation[..10], "until then they are the same");
    }

    #[test]
    fn an_arm_of_few_visits_and_no_success_yet_raises_no_alarm() {
        let model = "per_day = 100\ndays = 30\nbase = \"2%\"\narms = [{ name = \"a\" }, { name = \"b\" }]";
        for again in ["", "returning = { share = \"50%\", visits = 3, gap = \"1d\" }"] {
            let model: UserModel = toml::from_str(&format!("{model}\n{again}")).expect("a model");
            let population = Population::new(&model);
            for stop in ["{ msprt = { tau = \"1%\" } }", "{ confidence-sequence = { tuned_to = 500 } }"] {
                let strategy =
                    format!("name = \"s\"\nallocate = {{ shares = [\"95%\", \"5%\"] }}\nstop = {stop}");
                let strategy: Strategy = toml::from_str(&strategy).expect("a strategy");
                let prepared = Prepared::new(&strategy, 2, model.days);
                let alarms =
                    (0..200).filter(|seed| prepared.course(&population, Seed::new(*seed)).false_alarm);
                // 10 are allowed; 23 come once in ten thousand times.
                let alarms = alarms.count();
                assert!(alarms < 23, "{alarms} of 200 under {stop}, {again}");
            }
        }
    }

    #[test]
    fn a_batch_is_learnt_whoever_completes_it() {
        // Each comes ten times within a minute, so that nearly every visit is of one who keeps its arm.
        let again = format!("{TWO}\nreturning = {{ share = \"100%\", visits = 10, gap = \"1s\" }}");
        let of = |batch: u64| course(&again, &format!("allocate = \"thompson\"\nbatch = {batch}"));
        let (even, odd) = (of(1000), of(1001));
        let lost = |course: &Course| course.regret[CHECKPOINTS - 1];
        assert!(lost(&even) < 1000.0 && lost(&odd) < 1000.0, "{} and {}", lost(&even), lost(&odd));
    }

    #[test]
    fn exp3_learns_from_who_keeps_an_arm_by_the_chance_it_had() {
        let many = "arms = [{ name = \"a\", rate = \"20%\" }, { name = \"b\", rate = \"30%\" }]\n\
                    returning = { share = \"100%\", visits = 20, gap = \"1m\" }";
        let strategy =
            |sticky: bool| format!("allocate = {{ exp3 = {{ gamma = \"10%\" }} }}\nsticky = {sticky}");
        let lost = |sticky: bool| course(many, &strategy(sticky)).regret[CHECKPOINTS - 1];
        let (kept, anew) = (lost(true), lost(false));
        assert!(kept < 2.0 * anew, "{kept} where arms are kept, {anew} where they are drawn anew");
    }

    #[test]
    fn what_is_not_known_yet_teaches_nothing() {
        let late = format!("{TWO}\ndelay = {{ mean = \"20d\", shape = \"fixed\" }}");
        let blind = course(&late, "allocate = \"thompson\"");
        assert!((blind.regret[CHECKPOINTS - 1] - 500.0).abs() < 20.0, "as by chance: {:?}", blind.regret);
        assert_eq!((blind.covers, blind.decision.arm), (None, 0));
        let half = format!("{TWO}\ndelay = {{ mean = \"5d\", shape = \"fixed\" }}");
        let half = course(&half, "allocate = \"thompson\"");
        let (middle, end) = (half.regret[24], half.regret[CHECKPOINTS - 1]);
        assert!((middle - 250.0).abs() < 15.0 && end - middle < 40.0, "{:?}", half.regret);
        let at_once = course(TWO, "allocate = \"thompson\"").regret[CHECKPOINTS - 1];
        assert!(at_once < 40.0, "{at_once}");
        // A batch that never comes is no knowledge either, and the first of a day costs that day.
        let never = course(TWO, "allocate = \"thompson\"\nbatch = 1000000").regret[CHECKPOINTS - 1];
        assert!((never - 500.0).abs() < 20.0, "{never}");
        let daily = course(TWO, "allocate = \"thompson\"\nbatch = 1000").regret[CHECKPOINTS - 1];
        assert!(at_once < daily && 40.0 < daily && daily < 80.0, "{daily}");
    }

    #[test]
    fn a_floor_keeps_every_arm_and_forgetting_notices_a_change() {
        let floored = course(TWO, "allocate = \"thompson\"\nfloor = \"10%\"");
        let shares: Vec<f32> = floored.allocation[50..].iter().step_by(2).copied().collect();
        let mean = shares.iter().sum::<f32>() / shares.len() as f32;
        assert!((0.09..0.13).contains(&mean), "{mean}");
        // The first arm falls from 10 % to 1 %, the other stays at 5 %.
        let drifting = "arms = [{ name = \"a\", drift = -0.24 }, { name = \"b\", rate = \"5%\" }]";
        let full = course(drifting, "allocate = \"thompson\"");
        let window = course(drifting, "allocate = \"thompson\"\nmemory = { window = 1000 }");
        assert!(window.regret[CHECKPOINTS - 1] < full.regret[CHECKPOINTS - 1], "{window:?} {full:?}");
    }

    #[test]
    fn every_policy_finds_an_arm_that_is_far_better() {
        let arms =
            "arms = [{ name = \"a\" }, { name = \"b\", rate = \"12%\" }, { name = \"c\", rate = \"60%\" }]";
        for allocate in [
            "\"thompson\"",
            "{ top-two = { first = \"50%\" } }",
            "{ gaussian-thompson = { mean = \"20%\", deviation = \"20%\" } }",
            "{ epsilon-greedy = { epsilon = \"10%\" } }",
            "\"ucb1\"",
            "\"kl-ucb\"",
            "\"bayes-ucb\"",
            "\"moss\"",
            "\"chapelle-li\"",
            "{ exp3 = { gamma = \"20%\" } }",
        ] {
            let found = course(arms, &format!("allocate = {allocate}"));
            let by_chance = 10_000.0 * (0.5 + 0.48) / 3.0;
            let lost = found.regret[CHECKPOINTS - 1];
            assert!(found.right && lost < 0.8 * by_chance, "{allocate}: {lost}");
        }
    }

    #[test]
    fn without_a_kept_arm_each_visit_is_assigned_and_counted_by_itself() {
        let users =
            "per_day = 1000\nheterogeneity = 2.0\nreturning = { share = \"100%\", visits = 8, gap = \"1h\" }";
        let course = |strategy: &str| {
            let users = users.replace("per_day = 1000\n", "");
            course(&format!("{TWO}\n{users}"), &format!("stop = \"fixed-horizon\"\n{strategy}"))
        };
        let (kept, drawn) = (course(""), course("sticky = false"));
        assert_eq!(kept.visits, drawn.visits, "the same users");
        let off = |course: &Course| {
            course.allocation.iter().step_by(2).map(|share| (f64::from(*share) - 0.5).powi(2)).sum::<f64>()
        };
        // Some 1,600 visits of some 300 users between checkpoints: shares vary the more the fewer dice there are.
        assert!(3.0 * off(&drawn) < off(&kept), "{} and {}", off(&drawn), off(&kept));
        let [by_unit, by_visit] = alarms(
            "per_day = 60\nheterogeneity = 2.0\nreturning = { share = \"100%\", visits = 10, gap = \"2h\" }",
            "stop = \"fixed-horizon\"\nsticky = false",
        );
        assert_eq!(by_unit, by_visit, "visits are the unit");
        assert!((3..=37).contains(&by_unit), "{by_unit} of 400");
    }

    /// In how many of 400 streams of arms that are alike a strategy says that they differ: by its unit, and by visits.
    fn alarms(users: &str, strategy: &str) -> [u64; 2] {
        let base = "days = 4\nbase = \"20%\"\narms = [{ name = \"a\" }, { name = \"b\" }]";
        let model: UserModel = toml::from_str(&format!("{base}\n{users}")).expect("a model");
        let strategy: Strategy = toml::from_str(&format!("name = \"s\"\n{strategy}")).expect("a strategy");
        let population = Population::new(&model);
        let prepared = Prepared::new(&strategy, 2, model.days);
        let mut alarms = [0; 2];
        for seed in (0..400).map(Seed::new) {
            let users = population.model().come_again().then(|| population.count());
            for (alarms, users) in alarms.iter_mut().zip([users, None]) {
                *alarms += u64::from(prepared.course_of(&population, seed, users).false_alarm);
            }
        }
        alarms
    }

    #[test]
    fn who_comes_again_is_counted_once_and_false_alarms_are_as_rare_as_said() {
        let differing = "per_day = 60\nheterogeneity = 2.0\n\
                         returning = { share = \"100%\", visits = 10, gap = \"2h\" }";
        let bots = "per_day = 200\nbots = { share = \"10%\", visits = 20, rate = \"100%\" }";
        let looks = "looks = 20\nnot_before = \"1d\"";
        // 20 of 400 are expected at 5 %, and four standard errors of that are 17.4.
        for (users, stop, least) in [
            (differing, "\"fixed-horizon\"".to_owned(), 3),
            (bots, "\"fixed-horizon\"".to_owned(), 3),
            (differing, format!("{{ msprt = {{ tau = \"5%\" }} }}\n{looks}"), 0),
            (differing, format!("{{ confidence-sequence = {{ tuned_to = 1000 }} }}\n{looks}"), 0),
            (differing, format!("\"obrien-fleming\"\n{looks}"), 0),
        ] {
            let [by_user, by_visit] = alarms(users, &format!("stop = {stop}"));
            assert!((least..=37).contains(&by_user), "{users}, {stop}: {by_user} of 400");
            assert!(60 < by_visit, "{users}, {stop}: counting visits is no test: {by_visit} of 400");
        }
    }

    #[test]
    fn who_goes_by_segments_stops_losing_and_who_shows_all_the_same_never_does() {
        let users = "arms = [{ name = \"a\" }, { name = \"b\" }]\n\
                     segments = [{ name = \"new\", share = \"60%\", lifts = [\"+0%\", \"+200%\"] }, \
                     { name = \"old\", share = \"40%\", lifts = [\"+200%\", \"+0%\"] }]";
        // Whoever shows all the better arm loses 40 % of visits times 20 points: 80 of each thousand.
        let one_for_all = course(users, "allocate = \"thompson\"");
        let at = |course: &Course, day: usize| course.regret[5 * day - 1];
        let late = at(&one_for_all, 10) - at(&one_for_all, 5);
        assert!((late - 400.0).abs() < 40.0 && one_for_all.right, "{:?}", one_for_all.regret);
        for allocate in ["{ lin-ucb = { alpha = 0.5 } }", "{ lin-ts = { v = 0.3 } }"] {
            let by_segment = course(users, &format!("allocate = {allocate}"));
            let late = at(&by_segment, 10) - at(&by_segment, 5);
            assert!(late < 20.0 && at(&by_segment, 5) < 100.0, "{allocate}: {:?}", by_segment.regret);
            let daily = course(users, &format!("allocate = {allocate}\nbatch = 1000"));
            assert!(at(&by_segment, 10) < at(&daily, 10), "{allocate}: {:?}", daily.regret);
        }
    }

    #[test]
    fn bots_cost_nothing_and_who_comes_back_is_counted_again() {
        let more = "bots = { share = \"50%\", visits = 2 }\nreturning = { share = \"100%\", visits = 3, gap = \"1h\" }";
        let found = course(&format!("{TWO}\n{more}"), "stop = \"fixed-horizon\"");
        // Some 5,000 bots come twice, and some 5,000 humans three times but for those of the last hours.
        assert!((24_500..25_100).contains(&found.visits), "{}", found.visits);
        assert!((found.regret[CHECKPOINTS - 1] - 750.0).abs() < 50.0, "{:?}", found.regret);
        assert!((found.worse as f64 - 7_500.0).abs() < 500.0, "{}", found.worse);
    }
}
