//! Decisions, made again: what an allocator must say, by the catalogue and the weights it names, to this visitor with this browser. Exact.
//!
//! The rules, of which the first that applies decides:
//!
//! 1. An experiment that the catalogue does not know gives nothing; nor does one to a visitor without the identity that its layer tells
//!    units apart by, one that does not run, or one to a unit of an empty name, which could be anybody's.
//! 2. A unit that an operator has given an arm has it, with certainty.
//! 3. Who lacks an attribute that is asked for, or is held out of everything, gets none. A part of all units is held out, by one hash.
//! 4. Where an experiment is sticky, the arm that the browser remembers of this very start of it stays, as it was drawn, unless it was removed;
//!    also one that this catalogue does not know yet.
//! 5. A unit's segment is drawn from all of its layer, and again, by another hash, from those that were free whenever an experiment ended
//!    that left its segment free. A unit whose segment the experiment does not hold gets none.
//! 6. Of the rest a part as large as the ramp is exposed, and the arms are drawn by the weights that were learnt, or else the draft's. Where
//!    others were learnt than there are, what is left of those weights is shared anew.

use crate::checkers::Check;
use crate::checkers::experiment::{Choice, Decision, Experiment, History, Layer, Scheme};
use crate::statistics::assignment::planout::{Salt, UnitHash};
use crate::statistics::assignment::{growthbook, optimizely};

pub(super) fn follows(history: &History) -> Check {
    let mut check =
        Check::new("a decision follows from catalogue, weights, unit and what the browser remembers");
    for decision in &history.decisions {
        let Decision { experiment, unit, catalogue, weights, .. } = decision;
        let Some(due) = due(history, decision) else {
            check.look(
                decision.at,
                Some(format!("{experiment} at c{catalogue} w{weights}, which nobody has read")),
            );
            continue;
        };
        // What is said of why a unit is ambiguous is for humans.
        let reason = decision.reason.split('(').next().unwrap_or_default();
        let same = reason == due.reason && unit == due.unit && decision.choice == due.choice;
        check.expect(same, decision.at, || {
            let (told, choice) = (&decision.reason, decision.choice);
            format!(
                "{experiment} for `{unit}` at c{catalogue} w{weights}: {told} {choice:?}, not {} {:?}",
                due.reason, due.choice
            )
        });
    }
    check
}

/// What is due to a visitor.
#[derive(Debug, PartialEq)]
struct Due<'a> {
    reason: &'static str,
    unit: &'a str,
    choice: Option<Choice>,
}

/// `None` if nobody has read what the decision was made by.
fn due<'a>(history: &'a History, decision: &'a Decision) -> Option<Due<'a>> {
    let catalogue = history.catalogues.get(&decision.catalogue)?;
    let beliefs = history.beliefs.get(&decision.weights)?;
    let nothing = |reason, unit| Some(Due { reason, unit, choice: None });
    let Some((number, experiment)) = history.experiment(decision) else {
        return nothing("UnknownExperiment", "");
    };
    let layer = catalogue.layers.get(&experiment.layer)?;
    let visitor = &decision.visitor;
    let Some(unit) = visitor.unit(layer.unit) else { return nothing("NoUnit", "") };
    if !experiment.running {
        return nothing("Ended", unit);
    }
    if unit.is_empty() {
        return nothing("Ambiguous", unit);
    }
    let chosen = |reason, arm, propensity| {
        let choice = Choice { experiment: number, arm, propensity, weights: decision.weights };
        Some(Due { reason, unit, choice: Some(choice) })
    };
    if let Some(arm) = experiment.overrides.get(unit) {
        return chosen("Overridden", *arm, 1.0);
    }
    for (attribute, values) in &experiment.only {
        if visitor.attributes.get(attribute).is_none_or(|value| !values.contains(value)) {
            return nothing("NotTargeted", unit);
        }
    }
    if hash(Salt::full("holdout"), unit)?.uniform() < catalogue.holdout {
        return nothing("HeldOut", unit);
    }
    if let (true, Some(before)) = (experiment.sticky, decision.remembered)
        && before.experiment == number
        && experiment.shares.get(before.arm) != Some(&0.0)
    {
        return Some(Due { reason: "Remembered", unit, choice: Some(before) });
    }
    if !experiment.segments.contains(&segment(&experiment.layer, layer, unit)?) {
        return nothing("Elsewhere", unit);
    }
    let weights = experiment.weights(beliefs.get(&number).map(|belief| &*belief.weights));
    match drawn(experiment, unit, &weights) {
        Some(arm) => chosen("Drawn", arm, *weights.get(arm)?),
        None => nothing("BeyondRamp", unit),
    }
}

fn hash(salt: Salt, unit: &str) -> Option<UnitHash> {
    salt.unit(&[unit.into()]).ok()
}

fn segment(name: &str, layer: &Layer, unit: &str) -> Option<u32> {
    let place = |namespace: &str, of: usize| {
        let last = i64::try_from(of).ok()? - 1;
        usize::try_from(hash(Salt::new(namespace, "segment"), unit)?.integer(0, last).ok()?).ok()
    };
    let mut segment = u32::try_from(place(name, layer.segments as usize)?).ok()?;
    for (round, free) in layer.mixed.iter().enumerate() {
        if free.contains(&segment) {
            segment = *free.get(place(&format!("{name}.{round}"), free.len())?)?;
        }
    }
    Some(segment)
}

fn drawn(experiment: &Experiment, unit: &str, weights: &[f64]) -> Option<usize> {
    let (salt, ramp) = (&*experiment.salt, experiment.ramp);
    // Where units and salts follow each other without a separator.
    let enclosed = format!("[{salt}]");
    match experiment.scheme {
        Scheme::Planout => {
            let exposed = hash(Salt::new(salt, "exposed"), unit)?.bernoulli(ramp).ok()?;
            let arm = hash(Salt::new(salt, "arm"), unit)?.weighted_choice(weights).ok()?;
            arm.filter(|_| exposed)
        }
        // Each arm fills its part of all places from its start on, as far as the ramp goes.
        Scheme::Growthbook => {
            let place = growthbook::place(&enclosed, unit.into(), growthbook::Version::Two).ok()?;
            growthbook::choose(place, &growthbook::ranges(weights.len(), ramp, weights))
        }
        // Parts end at the place that is nearest to where they should, and the last at the last.
        Scheme::Optimizely => {
            let places = f64::from(optimizely::PLACES);
            let exposed = optimizely::place(unit.into(), &format!("[{salt}.exposed]")).ok()?;
            let place = f64::from(optimizely::place(unit.into(), &enclosed).ok()?);
            let mut sum = 0.0;
            let passed = weights.iter().filter(|weight| {
                sum += **weight;
                (sum * places).round() <= place
            });
            let arm = passed.count().min(weights.len() - 1);
            (f64::from(exposed) < ramp * places).then_some(arm)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimTime;
    use crate::checkers::experiment::{Belief, Beliefs, Catalogue, Progress, Visitor, Way};

    /// Segments that `segment` of PlanOut 0.6.0 gives the users 0 to 4, and another.
    fn experiment() -> Experiment {
        Experiment {
            name: "one".to_owned(),
            layer: "ns".to_owned(),
            salt: "ns.one.0".to_owned(),
            segments: vec![31, 46, 52, 60, 97],
            ramp: 0.4,
            shares: vec![0.3, 0.7],
            running: true,
            ..Experiment::default()
        }
    }

    fn layer() -> Layer {
        Layer { segments: 100, ..Layer::default() }
    }

    fn history(experiment: Experiment, layer: Layer, holdout: f64) -> History {
        let (layers, experiments) = ([("ns".to_owned(), layer)].into(), [(5, experiment)].into());
        let mut history = History::default();
        history.catalogue(SimTime::ZERO, 1, Catalogue { holdout, layers, experiments });
        history.beliefs(SimTime::ZERO, 0, Beliefs::new());
        let learnt = Belief { arms: vec![(9, 1), (0, 0)], weights: vec![0.9, 0.1] };
        history.beliefs(SimTime::ZERO, 1, [(5, learnt)].into());
        history.progress(SimTime::ZERO, 0, Progress::default());
        history
    }

    fn asked(user: Option<&str>) -> Decision {
        Decision {
            at: SimTime::ZERO,
            experiment: "one".to_owned(),
            visitor: Visitor { user: user.map(str::to_owned), ..Visitor::default() },
            unit: user.unwrap_or_default().to_owned(),
            catalogue: 1,
            weights: 0,
            remembered: None,
            way: Way::None,
            reason: String::new(),
            choice: None,
        }
    }

    /// The reason, and arm and propensity.
    fn told(history: &History, decision: &Decision) -> (&'static str, Option<(usize, f64)>) {
        let due = due(history, decision).expect("all of it was read");
        (due.reason, due.choice.map(|choice| (choice.arm, choice.propensity)))
    }

    #[test]
    fn arms_are_those_of_the_hashes_by_which_they_are_to_be_drawn() {
        // Segments, places below the ramp, and places among the arms as Python's hashlib has them: 31, 52, 60, 31, 46, 90, 57, 97;
        // .19, .34, .06, .24, .34, .46, .99, .46; .33, .31, .32, .68, .21, .67, .43, .66.
        let plain = history(experiment(), layer(), 0.0);
        let (first, second) = (("Drawn", Some((0, 0.3))), ("Drawn", Some((1, 0.7))));
        let (elsewhere, beyond) = (("Elsewhere", None), ("BeyondRamp", None));
        let each = |history: &History, change: fn(&mut Decision)| {
            (0..8)
                .map(|user| {
                    let mut decision = asked(Some(&user.to_string()));
                    change(&mut decision);
                    told(history, &decision)
                })
                .collect::<Vec<_>>()
        };
        let unchanged = [second, second, second, second, first, elsewhere, elsewhere, beyond];
        assert_eq!(each(&plain, |_| {}), unchanged);
        let other = ("Drawn", Some((0, 0.9)));
        let learnt = [other, other, other, other, other, elsewhere, elsewhere, beyond];
        assert_eq!(each(&plain, |decision| decision.weights = 1), learnt);
        // The places of 0 and 2 are .051 and .090: 0 is held out, whatever else is so.
        let held = each(&history(experiment(), layer(), 0.06), |_| {});
        assert_eq!((held[0], &held[1..]), (("HeldOut", None), &unchanged[1..]));
        // 0, 1 and 3 come into the third, the third and the second of these: 52, 52, and 50, which is not held.
        let mixed = Layer { mixed: vec![vec![31, 50, 52]], ..layer() };
        let mixed = each(&history(experiment(), mixed, 0.0), |_| {});
        assert_eq!(mixed[..5], [second, second, second, elsewhere, first]);
    }

    #[test]
    fn each_rule_comes_before_those_after_it() {
        let mut strict = experiment();
        strict.sticky = true;
        strict.only = [("country".to_owned(), vec!["nl".to_owned()])].into();
        strict.overrides = [("tester".to_owned(), 1)].into();
        let ended = history(Experiment { running: false, ..strict.clone() }, layer(), 1.0);
        let held = history(strict.clone(), layer(), 1.0);
        let history = history(strict, layer(), 0.0);
        let mut decision = asked(Some("0"));
        assert_eq!(told(&history, &decision), ("NotTargeted", None));
        decision.visitor.attributes = [("country".to_owned(), "nl".to_owned())].into();
        assert_eq!(told(&history, &decision), ("Drawn", Some((1, 0.7))));
        let before = Choice { experiment: 5, arm: 0, propensity: 0.2, weights: 7 };
        decision.remembered = Some(before);
        assert_eq!(due(&history, &decision).expect("it was read").choice, Some(before));
        assert_eq!(told(&held, &decision), ("HeldOut", None));
        decision.remembered = Some(Choice { experiment: 4, ..before });
        assert_eq!(told(&history, &decision).0, "Drawn", "that was another start");
        assert_eq!(told(&held, &asked(Some("tester"))), ("Overridden", Some((1, 1.0))));
        assert_eq!(told(&held, &asked(Some(""))), ("Ambiguous", None));
        assert_eq!(told(&ended, &asked(Some(""))), ("Ended", None));
        assert_eq!(told(&ended, &asked(None)), ("NoUnit", None));
        let unknown = Decision { experiment: "two".to_owned(), ..asked(None) };
        assert_eq!(told(&ended, &unknown), ("UnknownExperiment", None));
    }

    #[test]
    fn arms_that_came_or_went_since_weights_were_learnt_have_the_floor_or_nothing() {
        let with = |shares: &[f64]| Experiment {
            shares: shares.to_vec(),
            floor: Some(0.05),
            sticky: true,
            ..experiment()
        };
        let mut decision = asked(Some("0"));
        // Places among arms as above: .33 of 0, .21 of 4.
        let arm =
            |shares: &[f64], decision: &Decision| told(&history(with(shares), layer(), 0.0), decision).1;
        decision.weights = 1;
        assert_eq!(arm(&[0.3, 0.7], &decision), Some((0, 0.9)));
        assert_eq!(arm(&[0.25, 0.25, 0.5], &decision), Some((0, 0.05 + (1.0 - 3.0 * 0.05) * 0.9)));
        assert_eq!(arm(&[0.0, 0.5, 0.5], &decision), Some((1, 0.05 + (1.0 - 2.0 * 0.05) * 1.0)));
        assert_eq!(arm(&[0.0, 0.0, 0.5, 0.5], &decision), Some((2, 0.5)), "nothing was learnt of these");
        let before = Choice { experiment: 5, arm: 0, propensity: 0.2, weights: 7 };
        decision.remembered = Some(before);
        assert_eq!(arm(&[0.5, 0.5], &decision), Some((0, 0.2)));
        decision.remembered = Some(Choice { arm: 2, ..before });
        assert_eq!(arm(&[0.5, 0.5], &decision), Some((2, 0.2)), "it was added since");
        decision.remembered = Some(before);
        assert_eq!(arm(&[0.0, 0.5, 0.5], &decision).map(|(arm, _)| arm), Some(1), "it is not offered");
    }

    #[test]
    fn what_is_told_otherwise_or_by_what_nobody_has_read_is_found() {
        let choice = Choice { experiment: 5, arm: 1, propensity: 0.7, weights: 0 };
        let right = Decision { reason: "Drawn".to_owned(), choice: Some(choice), ..asked(Some("0")) };
        let broken = |edit: fn(&mut Decision)| {
            let (mut history, mut decision) = (history(experiment(), layer(), 0.0), right.clone());
            edit(&mut decision);
            history.decided(decision);
            follows(&history).violations
        };
        assert_eq!(broken(|_| {}), 0);
        for wrong in [
            (|decision| decision.choice.iter_mut().for_each(|choice| choice.arm = 0)) as fn(&mut Decision),
            |decision| decision.choice = None,
            |decision| decision.choice.iter_mut().for_each(|choice| choice.propensity = 0.6),
            |decision| decision.reason = "Remembered".to_owned(),
            |decision| decision.unit = "1".to_owned(),
            |decision| decision.weights = 1,
            |decision| decision.weights = 2,
            |decision| decision.catalogue = 2,
        ] {
            assert_eq!(broken(wrong), 1);
        }
        let nobody = |reason: &str| {
            let mut history = history(experiment(), layer(), 0.0);
            history.decided(Decision { reason: reason.to_owned(), ..asked(Some("")) });
            follows(&history).violations
        };
        assert_eq!((nobody("Ambiguous(\"an empty unit\")"), nobody("NoUnit")), (0, 1));
    }
}
