//! Decisions together: the same for a unit as long as its experiment lives, one experiment of a layer for each, and told as they were
//! made. Exact.

use std::collections::BTreeMap;

use crate::checkers::Check;
use crate::checkers::experiment::{Decision, History, Said, Way};

/// As long as nobody knows that this arm was removed: then it may have another, and also where an allocator has not heard of it, as browsers tell.
pub(super) fn sticky(history: &History) -> Check {
    let mut check = Check::new("a unit keeps its arm for the life of an experiment");
    let mut of: BTreeMap<(u32, &str), Vec<&Decision>> = BTreeMap::new();
    for decision in &history.decisions {
        let Some((number, experiment)) = history.experiment(decision) else { continue };
        let stays = experiment.floor.is_none() || experiment.sticky;
        if stays && experiment.running && decision.way != Way::Overridden {
            of.entry((number, &decision.unit)).or_default().push(decision);
        }
    }
    for ((number, unit), mut decisions) in of {
        decisions.sort_by_key(|decision| decision.catalogue);
        let mut arm = None;
        for decision in decisions {
            let now = decision.choice.map(|choice| choice.arm);
            let left = arm.filter(|_| arm != now).is_some_and(|arm| {
                history.removed_at(number, arm).is_some_and(|removed| removed <= decision.at)
            });
            check.expect(arm.is_none() || left || arm == now, decision.at, || {
                format!(
                    "x{number} gave {unit} arm {arm:?}, and {now:?} at c{}: {}",
                    decision.catalogue, decision.reason
                )
            });
            arm = if left { now } else { arm.or(now) };
        }
    }
    check
}

/// Neither by chance nor by what a browser or an operator says.
pub(super) fn gone(history: &History) -> Check {
    let mut check = Check::new("nobody is shown an arm that was removed");
    for decision in &history.decisions {
        let (Some(choice), Some((number, experiment))) = (decision.choice, history.experiment(decision))
        else {
            continue;
        };
        if number == choice.experiment {
            let there = experiment.shares.get(choice.arm) != Some(&0.0);
            check.expect(there, decision.at, || {
                let (unit, catalogue, reason) = (&decision.unit, decision.catalogue, &decision.reason);
                format!("x{number} gave {unit} arm {} at c{catalogue}: {reason}", choice.arm)
            });
        }
    }
    check
}

/// Whoever could be anybody: all without a name would be one unit, which is in one arm.
pub(super) fn nameless(history: &History) -> Check {
    let mut check = Check::new("whoever has no name, or an empty one, is shown no arm");
    for decision in history.decisions.iter().filter(|decision| decision.unit.is_empty()) {
        check.expect(decision.choice.is_none(), decision.at, || {
            format!("{} gave somebody without a name {:?}", decision.experiment, decision.choice)
        });
    }
    let logged = history.events_read().map(|(id, said)| (id, said));
    let sent = history.sent.iter().map(|((_, id), said)| (id, said));
    for (id, said) in logged.chain(sent) {
        if let Said::Exposure { unit, choice } = said {
            check.expect(!unit.is_empty(), None, || format!("{id:?} exposes nobody to {choice:?}"));
        }
    }
    check
}

pub(super) fn segments(history: &History) -> Check {
    let mut check = Check::new("a segment has one holder");
    for (version, catalogue) in &history.catalogues {
        let mut held: BTreeMap<(&str, u32), &str> = BTreeMap::new();
        for experiment in catalogue.experiments.values().filter(|experiment| experiment.running) {
            let all = catalogue.segments(experiment);
            for segment in &experiment.segments {
                let before = held.insert((&experiment.layer, *segment), &experiment.name);
                check.expect(before.is_none() && *segment < all, None, || {
                    format!(
                        "c{version}: segment {segment} of {all} is held by {} and {before:?}",
                        experiment.name
                    )
                });
            }
        }
    }
    check
}

pub(super) fn exclusive(history: &History) -> Check {
    let mut check = Check::new("a unit is drawn into one experiment of a layer");
    let mut drawn: BTreeMap<(i32, &str, &str), u32> = BTreeMap::new();
    for decision in history.decisions.iter().filter(|decision| decision.way == Way::Drawn) {
        let Some((number, experiment)) = history.experiment(decision) else { continue };
        let first = *drawn.entry((decision.catalogue, &experiment.layer, &decision.unit)).or_insert(number);
        check.expect(first == number, decision.at, || {
            format!("c{}: {} is in x{first} and in x{number}", decision.catalogue, decision.unit)
        });
    }
    check
}

pub(super) fn propensity(history: &History) -> Check {
    let mut check = Check::new("the propensity told is that of the weights that were used");
    for decision in &history.decisions {
        let Some(choice) = decision.choice else { continue };
        if decision.way == Way::Overridden {
            check.expect(choice.propensity == 1.0, decision.at, || {
                format!("an override of {}", choice.propensity)
            });
            continue;
        }
        // What is remembered was drawn when there were other arms, perhaps, or by an allocator that was ahead.
        let remembered = decision.way == Way::Remembered;
        let weight = |catalogue: &i32| history.weights(*catalogue, choice)?.get(choice.arm).copied();
        let versions =
            history.catalogues.keys().filter(|version| remembered || **version == decision.catalogue);
        let used: Vec<f64> = versions.filter_map(weight).collect();
        check.expect(used.contains(&choice.propensity), decision.at, || {
            format!(
                "{} for arm {} of x{} at w{}, whose weight is {used:?}",
                choice.propensity, choice.arm, choice.experiment, choice.weights
            )
        });
    }
    check
}
