//! What is tried out, and on whom: layers of segments, the experiments that hold them, and how an operator changes that. Pure.
//!
//! A layer divides its units into segments. An experiment holds segments of one layer, so that no unit is in two experiments of a layer.
//! Invariants: a segment has at most one holder that runs; whoever was exposed to a running experiment stays so, because its ramp only
//! grows, and nothing else about it that hashes depend on can be changed. Arms come and go only where weights move anyway.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::Share;
use crate::statistics::assignment::planout;
use crate::statistics::assignment::{Ambiguity, Unit};
use crate::systems::allocator::experiment::{Arm, Draft, Experiment, ExperimentId, Scheme};
use crate::world::property::bug;

crate::id!(
    /// The version of the catalogue: how often it was changed, which is the version of its znode.
    CatalogueVersion(i32),
    "c"
);
/// What a layer tells units apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The cookie of a browser.
    Cookie,
    /// One visit.
    Session,
    /// The user who is logged in.
    User,
}

/// A layer, as an operator lays it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayerDraft {
    /// Its name.
    pub name: String,
    /// What units are told apart by (default `user`).
    #[serde(default = "LayerDraft::unit_default")]
    pub unit: Identity,
    /// How many segments there are (default 100).
    #[serde(default = "LayerDraft::segments_default")]
    pub segments: u32,
}

impl LayerDraft {
    fn unit_default() -> Identity {
        Identity::User
    }
    fn segments_default() -> u32 {
        100
    }
}

/// What an operator does to the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Lays out the layers, once.
    LayOut {
        /// The layers.
        layers: Vec<LayerDraft>,
        /// Which share of all units takes part in nothing (default 0%). Layers that tell units apart by the same hold out the same ones; a user who
        /// is held out may well take part by a cookie.
        #[serde(default)]
        holdout: Share,
    },
    /// Starts an experiment.
    Start(Draft),
    /// Exposes more of those in its segments to an experiment. Fewer cannot be: they would have seen an arm, and see none any more.
    Ramp {
        /// The experiment.
        experiment: String,
        /// The share that is exposed from now on.
        share: Share,
    },
    /// Gives a unit an arm whatever its hashes say.
    Override {
        /// The experiment.
        experiment: String,
        /// The unit.
        unit: String,
        /// The name of the arm.
        arm: String,
    },
    /// Adds an arm to an adaptive experiment, with the last number. Where others were learnt of already it has the floor, whatever its weight, until
    /// they are weighed anew: then it has what is due to an arm of which nothing is known, by a prior that is uniform: about as much as the best
    /// known arm fails.
    AddArm {
        /// The experiment.
        experiment: String,
        /// The arm, of a name that none of it ever had.
        arm: Arm,
    },
    /// Takes an arm out of an adaptive experiment: nobody is shown it any more, whatever browsers remember or overrides say. The other arms keep
    /// their numbers, and what is known of it stays.
    RemoveArm {
        /// The experiment.
        experiment: String,
        /// The name of the arm.
        arm: String,
    },
    /// Ends an experiment; its segments become free, and their units are mixed anew with those of all free segments.
    End(String),
}

/// Why a change was refused.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Layers are laid out once.
    #[error("the layers are laid out already")]
    LaidOut,
    /// A name that salts and reports could not tell from another.
    #[error("`{0}` cannot be a name: use letters, digits, `-` and `_`")]
    Name(String),
    /// Two things have one name.
    #[error("`{0}` stands twice")]
    Twice(String),
    /// There is no such thing.
    #[error("there is no {0} `{1}`")]
    Missing(&'static str, String),
    /// The experiment runs already.
    #[error("experiment `{0}` runs already")]
    Running(String),
    /// A layer of no segments, or of too many.
    #[error("{0} segments are not from 1 to 10000")]
    Segments(u32),
    /// More segments than are free.
    #[error("{wanted} segments are not from 1 to the {free} that are free in layer `{layer}`")]
    Free {
        /// The layer.
        layer: String,
        /// How many are free.
        free: usize,
        /// How many were wanted.
        wanted: u32,
    },
    /// Too few arms, or too many.
    #[error("{0} arms are not from 2 to 64")]
    Arms(usize),
    /// A weight that is none.
    #[error("arm `{0}` has a weight that is not a positive number")]
    Weight(String),
    /// The floors of all arms would make more than all.
    #[error("a floor of {floor} is too high for {arms} arms")]
    Floor {
        /// The floor.
        floor: Share,
        /// How many arms.
        arms: usize,
    },
    /// A name that an arm had that was removed.
    #[error("`{0}` was removed, and no other arm can have its name")]
    Gone(String),
    /// Under GrowthBook's hash the exposed are the first part of each arm's places, which moves with the weights.
    #[error(
        "`{0}` learns by the hash of GrowthBook, which would expose others whenever weights move: let it begin with a ramp of 100%, or take another scheme"
    )]
    Moves(String),
    /// Units of an experiment whose shares are fixed keep their arms.
    #[error("`{0}` has fixed shares, and units would change their arms: end it, and start another")]
    Fixed(String),
    /// A ramp only grows.
    #[error("the ramp cannot fall from {from} to {to}: end the experiment instead")]
    RampFalls {
        /// What is exposed.
        from: Share,
        /// What was to be.
        to: Share,
    },
    /// A unit that is no unit.
    #[error("an empty unit")]
    Unit,
}

/// A layer of segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What units are told apart by.
    pub unit: Identity,
    /// How many segments there are.
    pub segments: u32,
    /// Each time an experiment ended: the segments that were free then, in rising order, whose units were mixed anew.
    pub mixed: Vec<Vec<u32>>,
}

impl Layer {
    /// The segment of a unit in the layer of this name: first by the layer's hash, and then, once for each time at which its segment
    /// was free when units were mixed anew, by another. Who is in a segment that is held stays there.
    ///
    /// # Errors
    /// If the unit is ambiguous.
    pub fn segment(&self, name: &str, unit: Unit<'_>) -> Result<u32, Ambiguity> {
        let mut segment = planout::segment(name, &[unit], self.segments)?;
        for (round, free) in self.mixed.iter().enumerate() {
            if free.binary_search(&segment).is_ok() {
                let place = planout::segment(&format!("{name}.{round}"), &[unit], free.len() as u32)?;
                segment = free[place as usize];
            }
        }
        Ok(segment)
    }
}

/// All layers and experiments, at one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// Which share of all units takes part in nothing.
    pub holdout: Share,
    /// The layers, by name.
    pub layers: BTreeMap<String, Layer>,
    /// The experiments, by name: the latest of each.
    pub experiments: BTreeMap<String, Experiment>,
    /// How many experiments were ever started.
    pub started: u32,
}

impl Catalogue {
    /// The catalogue after a change.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn changed(&self, change: &Change) -> Result<Self, CatalogueError> {
        let mut next = self.clone();
        match change {
            Change::LayOut { layers, holdout } => next.lay_out(layers, *holdout)?,
            Change::Start(draft) => next.start(draft)?,
            Change::Ramp { experiment, share } => {
                let ramp = &mut next.running(experiment)?.draft.ramp;
                if *share < *ramp {
                    return Err(CatalogueError::RampFalls { from: *ramp, to: *share });
                }
                *ramp = *share;
            }
            Change::Override { experiment, unit, arm } => {
                let experiment = next.running(experiment)?;
                let found = experiment.find(arm)?;
                if unit.is_empty() {
                    return Err(CatalogueError::Unit);
                }
                experiment.overrides.insert(unit.clone(), found);
            }
            Change::AddArm { experiment, arm } => next.adaptive(experiment)?.add(arm)?,
            Change::RemoveArm { experiment, arm } => next.adaptive(experiment)?.remove(arm)?,
            Change::End(name) => next.end(name)?,
        }
        next.assert_exclusive();
        Ok(next)
    }

    /// The segments of a layer that no running experiment holds, in rising order.
    pub fn free(&self, layer: &str) -> Vec<u32> {
        let held: BTreeSet<u32> = self.holders(layer).flat_map(|holder| holder.segments.clone()).collect();
        let all = self.layers.get(layer).map_or(0, |layer| layer.segments);
        (0..all).filter(|segment| !held.contains(segment)).collect()
    }

    fn holders(&self, layer: &str) -> impl Iterator<Item = &Experiment> {
        self.experiments.values().filter(move |holder| holder.running && holder.draft.layer == layer)
    }

    fn running(&mut self, name: &str) -> Result<&mut Experiment, CatalogueError> {
        let found = self.experiments.get_mut(name).filter(|experiment| experiment.running);
        found.ok_or_else(|| CatalogueError::Missing("running experiment", name.to_owned()))
    }

    fn adaptive(&mut self, name: &str) -> Result<&mut Experiment, CatalogueError> {
        let found = self.running(name)?;
        if found.draft.adaptive.is_some() { Ok(found) } else { Err(CatalogueError::Fixed(name.to_owned())) }
    }

    fn lay_out(&mut self, layers: &[LayerDraft], holdout: Share) -> Result<(), CatalogueError> {
        if !self.layers.is_empty() {
            return Err(CatalogueError::LaidOut);
        }
        for LayerDraft { name, unit, segments } in layers {
            check_name(name)?;
            if !(1..=10_000).contains(segments) {
                return Err(CatalogueError::Segments(*segments));
            }
            let layer = Layer { unit: *unit, segments: *segments, mixed: Vec::new() };
            if self.layers.insert(name.clone(), layer).is_some() {
                return Err(CatalogueError::Twice(name.clone()));
            }
        }
        self.holdout = holdout;
        Ok(())
    }

    fn start(&mut self, draft: &Draft) -> Result<(), CatalogueError> {
        check_name(&draft.name)?;
        check_arms(draft, draft.arms.len())?;
        if draft.adaptive.is_some() && draft.scheme == Scheme::Growthbook && draft.ramp.get() < 1.0 {
            return Err(CatalogueError::Moves(draft.name.clone()));
        }
        if self.experiments.get(&draft.name).is_some_and(|known| known.running) {
            return Err(CatalogueError::Running(draft.name.clone()));
        }
        let missing = || CatalogueError::Missing("layer", draft.layer.clone());
        let rounds = self.layers.get(&draft.layer).ok_or_else(missing)?.mixed.len();
        // The number of rounds differs from that of any experiment before that had its name, so that no arm carries over.
        // The known bug has one salt for all layers.
        let salt =
            if bug("E07") { rounds.to_string() } else { format!("{}.{}.{rounds}", draft.layer, draft.name) };
        let free = self.free(&draft.layer);
        let drawn = planout::allocate(&draft.layer, &salt, &free, draft.segments as usize).ok();
        let mut segments = drawn.filter(|drawn| !drawn.is_empty()).ok_or_else(|| CatalogueError::Free {
            layer: draft.layer.clone(),
            free: free.len(),
            wanted: draft.segments,
        })?;
        segments.sort_unstable();
        self.started += 1;
        let experiment = Experiment {
            id: ExperimentId::new(self.started),
            salt,
            draft: draft.clone(),
            segments,
            overrides: BTreeMap::new(),
            removed: BTreeSet::new(),
            running: true,
        };
        self.experiments.insert(draft.name.clone(), experiment);
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), CatalogueError> {
        let ended = self.running(name)?;
        ended.running = false;
        ended.segments.clear();
        let layer = ended.draft.layer.clone();
        // The known bug frees them with the same units in them, and under the same salt.
        if !bug("E04") {
            let free = self.free(&layer);
            self.layers.get_mut(&layer).expect("experiments stand in layers").mixed.push(free);
        }
        Ok(())
    }

    fn assert_exclusive(&self) {
        for (name, layer) in &self.layers {
            let mut held = BTreeSet::new();
            for segment in self.holders(name).flat_map(|holder| &holder.segments) {
                assert!(*segment < layer.segments, "segment {segment} is beyond layer {name}");
                assert!(held.insert(segment), "segment {segment} of layer {name} has two holders");
            }
        }
    }
}

impl Experiment {
    /// The number of the arm of this name that is offered.
    fn find(&self, name: &str) -> Result<usize, CatalogueError> {
        let found = self.draft.arms.iter().position(|arm| arm.name == name).filter(|arm| self.offers(*arm));
        found.ok_or_else(|| CatalogueError::Missing("arm", name.to_owned()))
    }

    fn add(&mut self, arm: &Arm) -> Result<(), CatalogueError> {
        if self.removed.iter().any(|removed| self.draft.arms[*removed].name == arm.name) {
            return Err(CatalogueError::Gone(arm.name.clone()));
        }
        self.draft.arms.push(arm.clone());
        check_arms(&self.draft, self.draft.arms.len() - self.removed.len())
    }

    fn remove(&mut self, name: &str) -> Result<(), CatalogueError> {
        let arm = self.find(name)?;
        self.removed.insert(arm);
        self.overrides.retain(|_, chosen| *chosen != arm);
        check_arms(&self.draft, self.draft.arms.len() - self.removed.len())
    }
}

fn check_name(name: &str) -> Result<(), CatalogueError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(legal) {
        return Err(CatalogueError::Name(name.to_owned()));
    }
    Ok(())
}

/// `offered`: how many of the arms were not removed.
fn check_arms(draft: &Draft, offered: usize) -> Result<(), CatalogueError> {
    if !(2..=64).contains(&offered) {
        return Err(CatalogueError::Arms(offered));
    }
    let mut names = BTreeSet::new();
    for arm in &draft.arms {
        check_name(&arm.name)?;
        if !names.insert(&arm.name) {
            return Err(CatalogueError::Twice(arm.name.clone()));
        }
        if !(0.0 < arm.weight && arm.weight <= 1e9) {
            return Err(CatalogueError::Weight(arm.name.clone()));
        }
    }
    let floor = draft.adaptive.map_or(Share::default(), |adaptive| adaptive.floor);
    if 1.0 < floor.get() * offered as f64 {
        return Err(CatalogueError::Floor { floor, arms: offered });
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::systems::allocator::experiment::Adaptive;

    pub fn draft(name: &str, segments: u32) -> Draft {
        let arms = ["a", "b"].map(|name| Arm { name: name.to_owned(), weight: 1.0 }).to_vec();
        Draft {
            name: name.to_owned(),
            layer: "home".to_owned(),
            segments,
            arms,
            ramp: Share::new(0.5),
            scheme: Scheme::Planout,
            only: BTreeMap::new(),
            sticky: false,
            adaptive: None,
        }
    }

    /// An adaptive one with this floor, which exposes everybody.
    pub fn adaptive(name: &str, segments: u32, floor: f64) -> Draft {
        let adaptive = Some(Adaptive { floor: Share::new(floor) });
        Draft { ramp: Share::new(1.0), adaptive, ..draft(name, segments) }
    }

    pub fn add(experiment: &str, arm: &str) -> Change {
        let arm = Arm { name: arm.to_owned(), weight: 1.0 };
        Change::AddArm { experiment: experiment.to_owned(), arm }
    }

    pub fn remove(experiment: &str, arm: &str) -> Change {
        Change::RemoveArm { experiment: experiment.to_owned(), arm: arm.to_owned() }
    }

    pub fn laid_out(segments: u32) -> Catalogue {
        let layer = LayerDraft { name: "home".to_owned(), unit: Identity::User, segments };
        let change = Change::LayOut { layers: vec![layer], holdout: Share::default() };
        Catalogue::default().changed(&change).expect("a first layout is taken")
    }

    pub fn after(catalogue: &Catalogue, changes: &[Change]) -> Catalogue {
        changes.iter().fold(catalogue.clone(), |catalogue, change| {
            catalogue.changed(change).unwrap_or_else(|error| panic!("{change:?}: {error}"))
        })
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let adaptive = adaptive("bandit", 3, 0.3);
        let base = after(
            &laid_out(13),
            &[
                Change::Start(draft("one", 6)),
                Change::Start(adaptive),
                add("bandit", "c"),
                remove("bandit", "a"),
            ],
        );
        let given = |arm: &str| Change::Override {
            experiment: "bandit".to_owned(),
            unit: "u1".to_owned(),
            arm: arm.to_owned(),
        };
        let start = |edit: fn(&mut Draft)| {
            let mut draft = draft("two", 2);
            edit(&mut draft);
            Change::Start(draft)
        };
        let ramp = |share| Change::Ramp { experiment: "one".to_owned(), share: Share::new(share) };
        let table = [
            (
                start(|draft| draft.segments = 5),
                "5 segments are not from 1 to the 4 that are free in layer `home`",
            ),
            (
                start(|draft| draft.segments = 0),
                "0 segments are not from 1 to the 4 that are free in layer `home`",
            ),
            (start(|draft| draft.name = "one".to_owned()), "experiment `one` runs already"),
            (
                start(|draft| draft.name = "a.b".to_owned()),
                "`a.b` cannot be a name: use letters, digits, `-` and `_`",
            ),
            (start(|draft| draft.layer = "shop".to_owned()), "there is no layer `shop`"),
            (start(|draft| draft.arms.truncate(1)), "1 arms are not from 2 to 64"),
            (start(|draft| draft.arms[1].name = "a".to_owned()), "`a` stands twice"),
            (
                start(|draft| draft.arms[1].weight = f64::NAN),
                "arm `b` has a weight that is not a positive number",
            ),
            (
                start(|draft| draft.adaptive = Some(Adaptive { floor: Share::new(0.6) })),
                "a floor of 60% is too high for 2 arms",
            ),
            (ramp(0.4), "the ramp cannot fall from 50% to 40%: end the experiment instead"),
            (
                add("one", "c"),
                "`one` has fixed shares, and units would change their arms: end it, and start another",
            ),
            (
                remove("one", "a"),
                "`one` has fixed shares, and units would change their arms: end it, and start another",
            ),
            (add("two", "c"), "there is no running experiment `two`"),
            (add("bandit", "d.e"), "`d.e` cannot be a name: use letters, digits, `-` and `_`"),
            (add("bandit", "c"), "`c` stands twice"),
            (add("bandit", "a"), "`a` was removed, and no other arm can have its name"),
            (
                start(|draft| {
                    (draft.adaptive, draft.scheme) = (Some(Adaptive::default()), Scheme::Growthbook);
                }),
                "`two` learns by the hash of GrowthBook, which would expose others whenever weights move: let it begin with a ramp of 100%, or take another scheme",
            ),
            (remove("bandit", "a"), "there is no arm `a`"),
            (remove("bandit", "d"), "there is no arm `d`"),
            (remove("bandit", "b"), "1 arms are not from 2 to 64"),
            (given("a"), "there is no arm `a`"),
            (Change::End("two".to_owned()), "there is no running experiment `two`"),
            (
                Change::LayOut { layers: Vec::new(), holdout: Share::default() },
                "the layers are laid out already",
            ),
        ];
        for (change, why) in table {
            let refused = base.changed(&change).map_err(|error| error.to_string());
            assert_eq!(refused, Err(why.to_owned()), "{change:?}");
        }
    }

    #[test]
    fn those_in_held_segments_stay_and_those_in_free_ones_are_mixed() {
        let both = after(&laid_out(20), &[Change::Start(draft("one", 8)), Change::Start(draft("two", 6))]);
        let one = both.experiments["one"].segments.clone();
        let two = both.experiments["two"].segments.clone();
        assert!(one.iter().all(|segment| !two.contains(segment)));
        let ended = after(&both, &[Change::End("one".to_owned())]);
        let segment = |catalogue: &Catalogue, user: i64| {
            catalogue.layers["home"].segment("home", user.into()).expect("it is not ambiguous")
        };
        let (mut moved, mut all) = (0, 0);
        for user in 0..2000 {
            let (before, now) = (segment(&both, user), segment(&ended, user));
            if two.contains(&before) {
                assert_eq!(before, now, "whoever is in an experiment that runs stays");
            } else {
                assert!(!two.contains(&now), "nobody comes into an experiment that runs");
                (moved, all) = (moved + u32::from(before != now), all + 1);
            }
        }
        // 13 of 14 go elsewhere.
        assert!(0.85 * f64::from(all) < f64::from(moved), "{moved} of {all}");
    }

    #[test]
    fn a_name_that_is_taken_again_has_another_salt_and_another_id() {
        let once = after(&laid_out(4), &[Change::Start(draft("one", 4))]);
        let again = after(&once, &[Change::End("one".to_owned()), Change::Start(draft("one", 4))]);
        let (before, now) = (&once.experiments["one"], &again.experiments["one"]);
        assert_ne!(before.salt, now.salt);
        assert_ne!(before.id, now.id);
        assert_eq!(now.segments, [0, 1, 2, 3]);
    }

    #[test]
    fn floors_of_as_many_arms_as_are_offered_make_no_more_than_all() {
        let three = after(&laid_out(4), &[Change::Start(adaptive("one", 4, 0.3)), add("one", "c")]);
        let refused = three.changed(&add("one", "d")).map_err(|error| error.to_string());
        assert_eq!(refused, Err("a floor of 30% is too high for 4 arms".to_owned()));
        let other = after(&three, &[remove("one", "b"), add("one", "d")]);
        assert_eq!(other.experiments["one"].shares(), [1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0]);
    }
}
