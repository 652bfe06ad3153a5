//! What chance decides: whom experiments expose, and which arms they give. Each check says how often it would alarm without a reason.

use std::collections::BTreeMap;

use crate::checkers::Check;
use crate::checkers::experiment::{History, Way};

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
