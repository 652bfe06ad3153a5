//! What chance decides: whom experiments expose, and which arms they give. Each check says how often it would alarm without a reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::Check;
use crate::checkers::experiment::{Decision, History, Way};
use crate::statistics::binomial;

/// How often a check alarms without a reason, at most, for each experiment that it looks at, and each ramp of it.
const FALSE_ALARM: f64 = 1e-9;

/// The share of units that are to be exposed, and of each unit whether it is.
type Exposed<'a> = (f64, BTreeMap<&'a str, bool>);

/// Whether a unit takes part by its hashes; `None` where something else has decided.
fn exposed(decision: &Decision) -> Option<bool> {
    match (decision.way, decision.reason.as_str()) {
        (Way::Drawn | Way::Remembered, _) => Some(true),
        (Way::None, "Elsewhere" | "BeyondRamp") => Some(false),
        _ => None,
    }
}

/// Hashes put each unit into each segment, and below the ramp, as if by chance: so the units that are exposed are binomial, and their
/// count is held to the exact test of that, at 1e-9.
pub(super) fn ramped(history: &History) -> Check {
    let mut check =
        Check::new("as many units are exposed as ramp and segments say, but for one chance in 1e9");
    let mut units: BTreeMap<(u32, u64), Exposed<'_>> = BTreeMap::new();
    for decision in &history.decisions {
        let (Some((number, experiment)), Some(exposed)) = (history.experiment(decision), exposed(decision))
        else {
            continue;
        };
        let catalogue = &history.catalogues[&decision.catalogue];
        let all = catalogue.layers.get(&experiment.layer).copied().unwrap_or(0);
        if experiment.running && 0 < all {
            let share = experiment.segments.len() as f64 / f64::from(all) * experiment.ramp;
            let of = units.entry((number, share.to_bits())).or_insert((share, BTreeMap::new()));
            of.1.insert(&decision.unit, exposed);
        }
    }
    for ((number, _), (share, units)) in units {
        let (all, count) = (units.len() as u64, units.values().filter(|exposed| **exposed).count() as u64);
        let likely = match share {
            share if share <= 0.0 => count == 0,
            share if 1.0 <= share => count == all,
            share => FALSE_ALARM <= binomial::exact(count, all, share),
        };
        check.expect(likely, None, || {
            format!("x{number} exposes {count} of {all} units, its share is {share}")
        });
    }
    check
}

/// The sample ratio of experiments whose weights stay: of all units that were drawn, each arm's count is binomial, and held to the exact
/// test at 1e-9 divided by the number of arms, as Pearson's approximation is not to be trusted so far out.
pub(super) fn ratios(history: &History) -> Check {
    let mut check = Check::new("each arm has as many units as its weight says, but for one chance in 1e9");
    let mut arms: BTreeMap<u32, (&[f64], BTreeMap<&str, usize>)> = BTreeMap::new();
    for decision in history.decisions.iter().filter(|decision| decision.way == Way::Drawn) {
        let (Some(choice), Some((number, experiment))) = (decision.choice, history.experiment(decision))
        else {
            continue;
        };
        if experiment.floor.is_none() {
            let of = arms.entry(number).or_insert((&experiment.shares, BTreeMap::new()));
            of.1.entry(&decision.unit).or_insert(choice.arm);
        }
    }
    for (number, (shares, units)) in arms {
        let all = units.len() as u64;
        for (arm, share) in shares.iter().enumerate().filter(|(_, share)| 0.0 < **share && **share < 1.0) {
            let count = units.values().filter(|drawn| **drawn == arm).count() as u64;
            let likely = FALSE_ALARM / shares.len() as f64 <= binomial::exact(count, all, *share);
            check.expect(likely, None, || {
                format!("arm {arm} of x{number} has {count} of {all} units, its share is {share}")
            });
        }
    }
    check
}

/// What a reward of one would be estimated at, had each of K arms the same weight, from those that were drawn: 1/K over the propensity,
/// averaged over units, which is 1 if arms are drawn by the propensities that are told. Of each unit its first decision counts, so that
/// weights, though they follow from what came before, know nothing of its hash: the sum of deviations is a martingale.
///
/// Freedman, "On tail probabilities for martingales" (1975): of steps of at most b whose variances add up to at most v, the sum passes t
/// with a probability of at most exp(−t² / (2 (v + b t / 3))). As v is not known before, it is rounded up to a power of 1.1, and the
/// 1e-9 are shared by two sides and 250 powers.
pub(super) fn unbiased(history: &History) -> Check {
    const STEP: f64 = 1.1;
    const POWERS: f64 = 250.0;
    let mut check = Check::new("inverse propensities average to one, but for one chance in 1e9");
    let mut asked: BTreeSet<(u32, &str)> = BTreeSet::new();
    // By experiment: units, the sum of deviations, the sum of variances, the largest step.
    let mut sums: BTreeMap<u32, (u32, f64, f64, f64)> = BTreeMap::new();
    for decision in &history.decisions {
        let Some((number, experiment)) = history.experiment(decision) else { continue };
        if exposed(decision).is_none() || !asked.insert((number, &decision.unit)) {
            continue;
        }
        let (Way::Drawn, Some(choice)) = (decision.way, decision.choice) else { continue };
        let Some(weights) = history.weights(decision.catalogue, choice) else { continue };
        let arms = weights.len() as f64;
        let least = experiment.shares.iter().copied().fold(experiment.floor.unwrap_or(1.0), f64::min);
        if least <= 0.0 {
            continue;
        }
        let (units, sum, variance, step) = sums.entry(number).or_insert((0, 0.0, 0.0, 1.0));
        *units += 1;
        *sum += 1.0 / (arms * choice.propensity) - 1.0;
        *variance += weights.iter().map(|weight| 1.0 / (arms * arms * weight)).sum::<f64>() - 1.0;
        *step = step.max(1.0 / (arms * least) - 1.0);
    }
    let odds = libm::log(2.0 * POWERS / FALSE_ALARM);
    for (number, (units, sum, variance, step)) in sums {
        let power = (libm::log(variance.max(1.0)) / libm::log(STEP)).ceil();
        let (linear, variance) = (step * odds / 3.0, libm::pow(STEP, power));
        let most = linear + (linear * linear + 2.0 * variance * odds).sqrt();
        check.expect(sum.abs() <= most, None, || {
            let (average, within) = (1.0 + sum / f64::from(units), most / f64::from(units));
            format!("x{number}: they average to {average:.3} over {units} units, not to 1 ± {within:.3}")
        });
    }
    check
}

/// How many units must have been in two experiments before their arms are compared.
const COMPARED_MIN: usize = 40;

/// Two experiments of one layer: among units that were drawn into both, arms agree as often as chance has it, within six standard
/// deviations: a false alarm in some 5e8 pairs.
pub(super) fn carried_over(history: &History) -> Check {
    let mut check = Check::new("no arm carries over to a later experiment");
    let mut arms: BTreeMap<u32, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut layers: BTreeMap<u32, &str> = BTreeMap::new();
    for decision in history.decisions.iter().filter(|decision| decision.way == Way::Drawn) {
        let (Some(choice), Some((number, experiment))) = (decision.choice, history.experiment(decision))
        else {
            continue;
        };
        layers.insert(number, &experiment.layer);
        arms.entry(number).or_default().entry(&decision.unit).or_insert(choice.arm);
    }
    for (first, before) in &arms {
        for (second, after) in arms.range(first + 1..) {
            let both: Vec<(usize, usize)> =
                before.iter().filter_map(|(unit, arm)| Some((*arm, *after.get(unit)?))).collect();
            if layers[first] != layers[second] || both.len() < COMPARED_MIN {
                continue;
            }
            let count = both.len() as f64;
            let share = |arm: usize, of: fn(&(usize, usize)) -> usize| {
                both.iter().filter(|pair| of(pair) == arm).count() as f64 / count
            };
            let expected: f64 =
                (0..64).map(|arm| share(arm, |pair| pair.0) * share(arm, |pair| pair.1)).sum();
            let agreed = both.iter().filter(|(one, other)| one == other).count() as f64;
            let deviation = (count * expected * (1.0 - expected)).sqrt();
            check.expect(agreed - count * expected <= 6.0 * deviation || expected == 1.0, None, || {
                format!(
                    "{agreed} of {count} units have the same arm in x{first} and x{second}, not {:.0}",
                    count * expected
                )
            });
        }
    }
    check
}
