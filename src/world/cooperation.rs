//! Cooperative fault points (`buggify`): places in real code that are made to misbehave now and then.
//!
//! Two levels, after FoundationDB: per run a site is live with p = 1/4, and a live site fires with p = 1/4, so that runs differ
//! in kind and not only in timing.

use std::collections::BTreeMap;

use crate::base::Seed;
use crate::world::chance::SplitMix;
use rand::RngCore;

const LIVE: f64 = 0.25;
const FIRES: f64 = 0.25;

/// The cooperative points of one run.
pub(crate) struct Cooperation {
    seed: Seed,
    pub(crate) on: bool,
    sites: BTreeMap<&'static str, Option<SplitMix>>,
    dice: SplitMix,
    pub(crate) fired: u64,
}

impl Cooperation {
    pub(crate) fn new(seed: Seed) -> Self {
        let dice = SplitMix::new(seed.stream("cooperation").next_u64());
        Self { seed, on: false, sites: BTreeMap::new(), dice, fired: 0 }
    }

    pub(crate) fn fires(&mut self, site: &'static str) -> bool {
        if !self.on {
            return false;
        }
        let dice = self.sites.entry(site).or_insert_with(|| {
            let mut dice = SplitMix::new(self.seed.stream(&format!("cooperation/{site}")).next_u64());
            dice.happens(LIVE).then_some(dice)
        });
        let fires = dice.as_mut().is_some_and(|dice| dice.happens(FIRES));
        self.fired += u64::from(fires);
        fires
    }

    /// A draw below `bound`, for how badly a fired point behaves.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.dice.below(bound.max(1))
    }
}
