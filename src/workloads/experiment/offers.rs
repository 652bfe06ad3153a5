//! Which arms an operator means to offer, and when: what a visit lost is held against the best of those. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::systems::allocator::api::{Catalogue, Change};
use crate::workloads::experiment::Step;

/// By experiment: from when on, in the time of the run since the load began, it offers those of these numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offers(BTreeMap<String, Vec<(Duration, Vec<usize>)>>);

impl Offers {
    /// What these steps mean to offer. Steps that could not be made change nothing.
    pub fn of(steps: &[Step]) -> Self {
        let (mut catalogue, mut offers) = (Catalogue::default(), Self::default());
        for step in steps {
            let Ok(next) = catalogue.changed(&step.change) else { continue };
            catalogue = next;
            let experiment = match &step.change {
                Change::Start(draft) => &draft.name,
                Change::AddArm { experiment, .. } | Change::RemoveArm { experiment, .. } => experiment,
                _ => continue,
            };
            let known = &catalogue.experiments[experiment];
            let offered = (0..known.draft.arms.len()).filter(|arm| known.offers(*arm)).collect();
            offers.0.entry(experiment.clone()).or_default().push((step.at.get(), offered));
        }
        offers
    }

    /// The best of these rates among the arms that are offered then; before it starts, among the first that will be.
    pub fn best(&self, experiment: &str, since_the_load_began: Duration, rates: &[f64]) -> f64 {
        let plan = self.0.get(experiment).map_or(&[][..], |plan| plan);
        let after = plan.partition_point(|(from, _)| *from <= since_the_load_began);
        let offered = plan.get(after.saturating_sub(1)).map_or(&[][..], |(_, offered)| offered);
        offered.iter().map(|arm| rates[*arm]).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_that_of_the_arms_that_are_offered() {
        let steps: Vec<Step> = serde_json::from_value(serde_json::json!([
            { "do": { "lay_out": { "layers": [{ "name": "home" }] } } },
            { "at": "1s", "do": { "start": { "name": "one", "layer": "home", "segments": 5, "adaptive": {},
                "arms": [{ "name": "a" }, { "name": "b" }] } } },
            { "at": "2s", "do": { "add_arm": { "experiment": "one", "arm": { "name": "c" } } } },
            { "at": "3s", "do": { "end": "two" } },
            { "at": "4s", "do": { "remove_arm": { "experiment": "one", "arm": "b" } } },
        ]))
        .expect("these are steps");
        let offers = Offers::of(&steps);
        let rates = [0.1, 0.9, 0.5];
        let best: Vec<f64> =
            [0, 1, 2, 3, 4, 9].map(|at| offers.best("one", Duration::from_secs(at), &rates)).to_vec();
        assert_eq!(best, [0.9, 0.9, 0.9, 0.9, 0.5, 0.5]);
        let best = offers.best("one", Duration::from_millis(1999), &[0.1, 0.2, 0.5]);
        assert_eq!((best, offers.best("one", Duration::from_secs(2), &[0.1, 0.2, 0.5])), (0.2, 0.5));
    }
}
