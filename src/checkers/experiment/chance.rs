//! What chance decides: whom experiments expose, and which arms they give. Each check says how often it would alarm without a reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::Check;
use crate::checkers::experiment::{Decision, Experiment, History, Identity, Said, Way};
use crate::statistics::binomial;
use crate::statistics::stirling::deviance;

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
        let all = history.catalogues[&decision.catalogue].segments(experiment);
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

/// An experiment, and the arm that each unit was drawn into first.
struct Drawn<'a> {
    experiment: &'a Experiment,
    unit: Option<Identity>,
    arms: BTreeMap<&'a str, usize>,
}

/// All of them, by the number of their start.
fn drawn(history: &History) -> BTreeMap<u32, Drawn<'_>> {
    let mut all: BTreeMap<u32, Drawn<'_>> = BTreeMap::new();
    for decision in history.decisions.iter().filter(|decision| decision.way == Way::Drawn) {
        let (Some(choice), Some((number, experiment))) = (decision.choice, history.experiment(decision))
        else {
            continue;
        };
        let layer = history.catalogues[&decision.catalogue].layers.get(&experiment.layer);
        let unit = layer.map(|layer| layer.unit);
        let drawn = all.entry(number).or_insert(Drawn { experiment, unit, arms: BTreeMap::new() });
        drawn.arms.entry(&decision.unit).or_insert(choice.arm);
    }
    all
}

/// The sample ratio of experiments whose weights stay: of all units that were drawn, each arm's count is binomial, and held to the exact
/// test at 1e-9 divided by the number of arms, as Pearson's approximation is not to be trusted so far out.
pub(super) fn ratios(history: &History) -> Check {
    let mut check = Check::new("each arm has as many units as its weight says, but for one chance in 1e9");
    for (number, Drawn { experiment, arms, .. }) in drawn(history) {
        ratio(&mut check, number, experiment, &arms);
    }
    check
}

/// The same of the units whose exposures stand in the logs. What was lost on the way, where it may be, was lost whatever its arm. What was
/// certain, an operator had chosen.
pub(super) fn logged_ratios(history: &History) -> Check {
    let mut check =
        Check::new("the logs hold as many units of each arm as its weight says, but for one chance in 1e9");
    let experiments = history.experiments();
    let mut logged: BTreeMap<u32, BTreeMap<&str, usize>> = BTreeMap::new();
    for (_, said) in history.events_read().filter(|_| history.whole) {
        let Said::Exposure { unit, choice } = said else { continue };
        if choice.propensity < 1.0 {
            logged.entry(choice.experiment).or_default().entry(unit).or_insert(choice.arm);
        }
    }
    for (number, arms) in logged {
        if let Some(experiment) = experiments.get(&number) {
            ratio(&mut check, number, experiment, &arms);
        }
    }
    check
}

fn ratio(check: &mut Check, number: u32, experiment: &Experiment, arms: &BTreeMap<&str, usize>) {
    if experiment.floor.is_some() {
        return;
    }
    let (all, shares) = (arms.len() as u64, &experiment.shares);
    for (arm, share) in shares.iter().enumerate().filter(|(_, share)| 0.0 < **share && **share < 1.0) {
        let count = arms.values().filter(|drawn| **drawn == arm).count() as u64;
        let likely = FALSE_ALARM / shares.len() as f64 <= binomial::exact(count, all, *share);
        check.expect(likely, None, || {
            format!("arm {arm} of x{number} has {count} of {all} units, its share is {share}")
        });
    }
}

/// What a reward of one would be estimated at, had each of the K arms that can be drawn the same weight, from those that were drawn: 1/K over the propensity,
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
        let offered = |weights: &[f64]| -> Vec<f64> {
            // Whoever learnt them may have known of a removal that this catalogue does not.
            let each = weights.iter().enumerate();
            let each = each.filter(|(arm, weight)| experiment.offers(*arm) && 0.0 < **weight);
            each.map(|(_, weight)| *weight).collect()
        };
        let weights = offered(&weights);
        let arms = weights.len() as f64;
        let least = offered(&experiment.shares).into_iter().fold(experiment.floor.unwrap_or(1.0), f64::min);
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

/// Two experiments of one layer, of which the later takes segments, and units, of the earlier.
pub(super) fn carried_over(history: &History) -> Check {
    let check = Check::new("no arm carries over to a later experiment");
    independent(history, check, |one, other| one.experiment.layer == other.experiment.layer)
}

/// Two experiments of different layers, which meet the same units.
pub(super) fn apart(history: &History) -> Check {
    let check = Check::new("experiments of different layers draw independently, but for one chance in 1e9");
    independent(history, check, |one, other| {
        one.experiment.layer != other.experiment.layer && one.unit == other.unit
    })
}

/// Pairs of experiments of which one at least has weights that stay: among units that were drawn into both, its arms know nothing of the
/// other's, which may be adaptive. (Where both are, weights that move together make arms go together.)
fn independent(
    history: &History,
    mut check: Check,
    compared: impl Fn(&Drawn<'_>, &Drawn<'_>) -> bool,
) -> Check {
    let all = drawn(history);
    for (first, before) in &all {
        for (second, after) in all.range(first + 1..).filter(|(_, after)| compared(before, after)) {
            let (given, fixed) =
                if after.experiment.floor.is_none() { (before, after) } else { (after, before) };
            if fixed.experiment.floor.is_some() {
                continue;
            }
            let mut table: BTreeMap<(usize, usize), u64> = BTreeMap::new();
            for (unit, arm) in &fixed.arms {
                if let Some(known) = given.arms.get(unit) {
                    *table.entry((*known, *arm)).or_default() += 1;
                }
            }
            if table.is_empty() {
                continue;
            }
            let likely = FALSE_ALARM <= likelihood(&table, &fixed.experiment.shares);
            check.expect(likely, None, || {
                format!(
                    "units in x{first} and x{second}, by their arms (the last has fixed weights): {table:?}"
                )
            });
        }
    }
    check
}

/// How likely such a table of two experiments' arms is, or a stranger one, if the second's follow these shares alone. Of the units with
/// an arm of the first, each arm of the second has a binomial part: the exact test, for each cell. Over all of them, those that have an
/// arm of the same number in both are a sum of independent trials of several shares: Hoeffding, "Probability inequalities for sums of
/// bounded random variables" (1963), theorem 1, for each side. The least of all these, times their number.
fn likelihood(table: &BTreeMap<(usize, usize), u64>, shares: &[f64]) -> f64 {
    let count = |given: usize, arm: usize| table.get(&(given, arm)).copied().unwrap_or(0);
    let known: BTreeSet<usize> = table.keys().map(|(given, _)| *given).collect();
    let (mut least, mut tests) = (1.0_f64, 2u32);
    let (mut all, mut agreed, mut expected) = (0, 0, 0.0);
    for given in known {
        let units = table.range((given, 0)..(given + 1, 0)).map(|(_, units)| units).sum();
        for (arm, share) in shares.iter().enumerate().filter(|(_, share)| 0.0 < **share && **share < 1.0) {
            least = least.min(binomial::exact(count(given, arm), units, *share));
            tests += 1;
        }
        all += units;
        agreed += count(given, given);
        expected += units as f64 * shares.get(given).copied().unwrap_or(0.0);
    }
    if 0.0 < expected && expected < all as f64 {
        let divergence =
            deviance(agreed as f64, expected) + deviance((all - agreed) as f64, all as f64 - expected);
        least = least.min(libm::exp(-divergence));
    }
    least * f64::from(tests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::dice::Dice;

    #[test]
    fn tables_of_chance_are_as_seldom_unlikely_as_is_said_whatever_the_arms_of_the_first() {
        let mut dice = Dice::new(&mut Seed::new(1).stream("tables"));
        for (units, first, shares) in [
            (12, 2, vec![0.5, 0.5]),
            (60, 3, vec![0.2, 0.8]),
            (300, 4, vec![0.25; 4]),
            (90, 64, vec![1.0 / 64.0; 64]),
        ] {
            let mut alarms = 0;
            for _ in 0..1000 {
                let mut table = BTreeMap::new();
                for unit in 0..units {
                    // Of the first, some arms have more units than others.
                    let given = (unit % first).min(unit % 5);
                    let arm = dice.weighted(&shares);
                    *table.entry((given, arm)).or_insert(0) += 1;
                }
                alarms += u32::from(likelihood(&table, &shares) < 0.05);
            }
            // 50 are allowed; 85 come once in a million times.
            assert!(alarms < 85, "{alarms} of 1000: {units} units, {first} arms, {shares:?}");
        }
    }

    #[test]
    fn arms_that_go_together_are_unlikely_in_whichever_way_they_do() {
        let table = |arm: fn(usize) -> usize, units: u64| {
            (0..3).map(|given| ((given, arm(given)), units)).collect::<BTreeMap<_, _>>()
        };
        let shares = [1.0 / 3.0; 3];
        assert!(likelihood(&table(|given| given, 10), &shares) < 1e-9, "all agree");
        assert!(likelihood(&table(|given| (given + 1) % 3, 30), &shares) < 1e-9, "none agrees");
        assert!(likelihood(&table(|given| given, 5), &shares) > 1e-9, "few agree");
        let even: BTreeMap<_, _> = (0..9).map(|cell| ((cell / 3, cell % 3), 100)).collect();
        assert!(1.0 <= likelihood(&even, &shares));
    }
}
