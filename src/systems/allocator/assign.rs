//! Which arm a visitor gets: a pure function of the catalogue, the weights, the visitor and what its browser remembers.

use crate::statistics::assignment::growthbook::{self, Version};
use crate::statistics::assignment::optimizely::{self, PLACES};
use crate::statistics::assignment::planout::Salt;
use crate::statistics::assignment::{Ambiguity, Unit};
use crate::systems::allocator::catalogue::Catalogue;
use crate::systems::allocator::experiment::{Experiment, Scheme};
use crate::systems::allocator::message::{Ask, Reason};
use crate::world::property::bug;

/// An arm and its probability, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Why.
    pub reason: Reason,
    /// What the experiment knows the visitor by.
    pub unit: Option<String>,
    /// The arm's number, and the probability it was drawn with.
    pub arm: Option<(usize, f64)>,
}

/// Assigns a visitor. `learnt`: the weights of an adaptive experiment, if any are known. Schemes of ten thousand places meet a
/// probability to one part in so many.
pub fn assign(catalogue: &Catalogue, learnt: Option<&[f64]>, ask: &Ask) -> Assignment {
    let without =
        |reason, unit: Option<&str>| Assignment { reason, unit: unit.map(str::to_owned), arm: None };
    let Some(experiment) = catalogue.experiments.get(&ask.experiment) else {
        return without(Reason::UnknownExperiment, None);
    };
    let layer = &catalogue.layers[&experiment.draft.layer];
    let Some(unit) = ask.visitor.unit(layer.unit) else { return without(Reason::NoUnit, None) };
    let known = without(Reason::Ended, Some(unit));
    if !experiment.running {
        return known;
    }
    let decided = decide(catalogue, experiment, learnt, ask, unit);
    match decided {
        Ok((reason, arm)) => Assignment { reason, arm, ..known },
        Err(ambiguity) => Assignment { reason: Reason::Ambiguous(ambiguity.to_string()), ..known },
    }
}

fn decide(
    catalogue: &Catalogue,
    experiment: &Experiment,
    learnt: Option<&[f64]>,
    ask: &Ask,
    unit: &str,
) -> Result<(Reason, Option<(usize, f64)>), Ambiguity> {
    let hashed = Unit::from(unit);
    let holdout = Salt::full("holdout").unit(&[hashed])?.uniform();
    if let Some(arm) = experiment.overrides.get(unit) {
        return Ok((Reason::Overridden, Some((*arm, 1.0))));
    }
    let has = |(name, values): (&String, &Vec<String>)| {
        ask.visitor.attributes.get(name).is_some_and(|value| values.contains(value))
    };
    if !experiment.draft.only.iter().all(has) {
        return Ok((Reason::NotTargeted, None));
    }
    if holdout < catalogue.holdout.get() {
        return Ok((Reason::HeldOut, None));
    }
    let remembered = ask.remembered.filter(|choice| choice.experiment == experiment.id);
    // An arm that is not known here was added since, and drawn by an allocator that knew of it.
    let left = remembered.is_some_and(|choice| experiment.removed.contains(&choice.arm));
    crate::sometimes!(left, "a browser remembered an arm that was removed");
    let ahead = remembered.is_some_and(|choice| experiment.draft.arms.len() <= choice.arm);
    crate::sometimes!(
        ahead && experiment.draft.sticky,
        "an allocator was told of an arm that it did not know yet"
    );
    let remembered = remembered.filter(|_| !left);
    if let Some(choice) = remembered.filter(|_| experiment.draft.sticky) {
        return Ok((Reason::Remembered, Some((choice.arm, choice.propensity))));
    }
    let layer = &catalogue.layers[&experiment.draft.layer];
    let segment = layer.segment(&experiment.draft.layer, hashed)?;
    if experiment.segments.binary_search(&segment).is_err() {
        return Ok((Reason::Elsewhere, None));
    }
    let weights = experiment.weights(learnt);
    Ok(match arm(experiment, hashed, &weights)? {
        Some(arm) => (Reason::Drawn, Some((arm, weights[arm]))),
        None => (Reason::BeyondRamp, None),
    })
}

/// The arm of a unit; none if the ramp leaves it out. Who is exposed at a ramp is so at every larger one.
///
/// PlanOut's hash has a separator between salt and unit, and names hold none. The two others put unit and salt next to each other: theirs
/// stands in brackets, which names do not hold either, so that no salt is the beginning, or the end, of another's, and no two pairs of
/// unit and salt make one key.
fn arm(experiment: &Experiment, unit: Unit<'_>, weights: &[f64]) -> Result<Option<usize>, Ambiguity> {
    let ramp = experiment.draft.ramp.get();
    // The known bug hashes by the ramp, so that each ramp exposes others.
    let salt = if bug("E03") { format!("{}.{ramp}", experiment.salt) } else { experiment.salt.clone() };
    match experiment.draft.scheme {
        Scheme::Planout => {
            if ramp < Salt::new(&salt, "exposed").unit(&[unit])?.uniform() {
                return Ok(None);
            }
            let drawn = Salt::new(&salt, "arm").unit(&[unit])?;
            Ok(drawn.weighted_choice(weights).expect("weights are positive numbers"))
        }
        Scheme::Growthbook => {
            let place = growthbook::place(&format!("[{salt}]"), unit, Version::Two)?;
            Ok(growthbook::choose(place, &growthbook::ranges(weights.len(), ramp, weights)))
        }
        Scheme::Optimizely => {
            if ramp * f64::from(PLACES) <= f64::from(optimizely::place(unit, &format!("[{salt}.exposed]"))?) {
                return Ok(None);
            }
            let mut sum = 0.0;
            let mut ends: Vec<u32> = Vec::with_capacity(weights.len());
            for weight in weights {
                sum += weight;
                ends.push((sum * f64::from(PLACES)).round() as u32);
            }
            ends.pop();
            ends.push(PLACES);
            Ok(optimizely::choose(optimizely::place(unit, &format!("[{salt}]"))?, &ends))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Share;
    use crate::systems::allocator::catalogue::Change;
    use crate::systems::allocator::catalogue::tests::{adaptive, add, after, draft, laid_out, remove};
    use crate::systems::allocator::experiment::{Draft, ExperimentId};
    use crate::systems::allocator::learner::WeightsVersion;
    use crate::systems::allocator::message::{Choice, Visitor};

    fn of(user: &str) -> Ask {
        let visitor = Visitor { user: Some(user.to_owned()), ..Visitor::default() };
        Ask { experiment: "one".to_owned(), visitor, remembered: None }
    }

    fn ramp(share: f64) -> Change {
        Change::Ramp { experiment: "one".to_owned(), share: Share::new(share) }
    }

    #[test]
    fn whoever_is_exposed_keeps_the_arm_while_the_ramp_grows_under_every_scheme() {
        for scheme in [Scheme::Planout, Scheme::Growthbook, Scheme::Optimizely] {
            let mut draft = draft("one", 4);
            draft.scheme = scheme;
            draft.ramp = Share::new(0.2);
            draft.arms[1].weight = 3.0;
            let first = after(&laid_out(4), &[Change::Start(draft)]);
            let second = after(&first, &[ramp(0.6)]);
            let full = after(&second, &[ramp(1.0)]);
            let mut exposed = [0usize; 3];
            let mut drawn = [0usize; 2];
            for user in 0..4000 {
                let arms = [&first, &second, &full]
                    .map(|catalogue| assign(catalogue, None, &of(&format!("u{user}"))).arm);
                for (earlier, later) in arms.iter().zip(&arms[1..]) {
                    assert!(earlier.is_none() || earlier == later, "{scheme:?}, user {user}: {arms:?}");
                }
                for (count, arm) in exposed.iter_mut().zip(&arms) {
                    *count += usize::from(arm.is_some());
                }
                let (arm, propensity) = arms[2].expect("all are exposed at last");
                assert_eq!(propensity, [0.25, 0.75][arm]);
                drawn[arm] += 1;
            }
            // Six standard deviations of binomials.
            assert!(
                exposed[0].abs_diff(800) < 152 && exposed[1].abs_diff(2400) < 186,
                "{scheme:?} {exposed:?}"
            );
            assert!(exposed[2] == 4000 && drawn[1].abs_diff(3000) < 165, "{scheme:?} {exposed:?} {drawn:?}");
        }
    }

    #[test]
    fn each_reason_is_given_in_its_order() {
        let mut draft = draft("one", 4);
        draft.ramp = Share::new(1.0);
        draft.sticky = true;
        draft.only = [("country".to_owned(), vec!["nl".to_owned()])].into();
        let chosen =
            Change::Override { experiment: "one".to_owned(), unit: "tester".to_owned(), arm: "b".to_owned() };
        let catalogue = after(&laid_out(4), &[Change::Start(draft), chosen]);
        let reason = |catalogue: &Catalogue, ask: &Ask| assign(catalogue, None, ask).reason;
        let mut ask = of("anna");
        assert_eq!(reason(&catalogue, &ask), Reason::NotTargeted);
        ask.visitor.attributes.insert("country".to_owned(), "nl".to_owned());
        assert_eq!(reason(&catalogue, &ask), Reason::Drawn);
        let mut held_out = catalogue.clone();
        held_out.holdout = Share::new(1.0);
        assert_eq!(reason(&held_out, &ask), Reason::HeldOut);
        assert_eq!(assign(&held_out, None, &of("tester")).arm, Some((1, 1.0)));
        for arm in [0, 1] {
            let (experiment, weights) = (ExperimentId::new(1), WeightsVersion::new(3));
            ask.remembered = Some(Choice { experiment, arm, propensity: 0.3, weights });
            let found = assign(&catalogue, Some(&[0.5, 0.5]), &ask);
            assert_eq!((found.reason, found.arm), (Reason::Remembered, Some((arm, 0.3))));
        }
        ask.visitor.user = Some(String::new());
        assert_eq!(reason(&catalogue, &ask), Reason::Ambiguous("an empty unit".to_owned()));
        ask.visitor.user = None;
        assert_eq!(reason(&catalogue, &ask), Reason::NoUnit);
        let ended = after(&catalogue, &[Change::End("one".to_owned())]);
        assert_eq!(reason(&ended, &of("anna")), Reason::Ended);
        ask.experiment = "two".to_owned();
        assert_eq!(reason(&catalogue, &ask), Reason::UnknownExperiment);
    }

    #[test]
    fn an_arm_that_was_removed_is_shown_to_nobody_whatever_browsers_and_operators_said() {
        for scheme in [Scheme::Planout, Scheme::Growthbook, Scheme::Optimizely] {
            let draft = Draft { scheme, sticky: true, ..adaptive("one", 4, 0.1) };
            let chosen = ["a", "b"].map(|arm| Change::Override {
                experiment: "one".to_owned(),
                unit: format!("tester-{arm}"),
                arm: arm.to_owned(),
            });
            let without = after(&laid_out(4), &[Change::Start(draft)]);
            let chosen = after(&after(&without, &[add("one", "c")]), &chosen);
            let after = after(&chosen, &[remove("one", "b")]);
            let remembers = |user: &str, arm: usize| {
                let (experiment, weights) = (ExperimentId::new(1), WeightsVersion::new(3));
                let remembered = Some(Choice { experiment, arm, propensity: 0.3, weights });
                Ask { remembered, ..of(user) }
            };
            let mut drawn = [0usize; 3];
            for user in 0..2000 {
                let user = format!("u{user}");
                let found = assign(&after, Some(&[0.3, 0.7]), &remembers(&user, 1));
                let (arm, propensity) = found.arm.expect("all are exposed");
                assert_eq!((found.reason, propensity), (Reason::Drawn, [0.9, 0.0, 0.1][arm]));
                drawn[arm] += 1;
                assert_eq!(assign(&after, None, &remembers(&user, 2)).arm, Some((2, 0.3)));
                let lagging = assign(&without, Some(&[0.3, 0.7]), &remembers(&user, 2));
                assert_eq!((lagging.reason, lagging.arm), (Reason::Remembered, Some((2, 0.3))));
            }
            assert!(drawn[1] == 0 && drawn[2].abs_diff(200) < 81, "six deviations of a binomial: {drawn:?}");
            assert_eq!(assign(&after, None, &of("tester-a")).reason, Reason::Overridden);
            assert_eq!(assign(&after, None, &of("tester-b")).reason, Reason::Drawn);
        }
    }

    #[test]
    fn what_was_learnt_takes_the_place_of_the_draft() {
        let mut draft = draft("one", 4);
        draft.ramp = Share::new(1.0);
        let catalogue = after(&laid_out(4), &[Change::Start(draft)]);
        let drawn: Vec<(usize, f64)> = (0..1000)
            .filter_map(|user| assign(&catalogue, Some(&[0.1, 0.9]), &of(&format!("u{user}"))).arm)
            .collect();
        let first = drawn.iter().filter(|(arm, _)| *arm == 0).count();
        assert!(drawn.len() == 1000 && first.abs_diff(100) < 57, "{first}");
        assert!(drawn.iter().all(|(arm, propensity)| *propensity == [0.1, 0.9][*arm]));
    }
}
