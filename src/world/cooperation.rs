//! Cooperative fault points (`buggify`): sites in real code that are made to misbehave now and then, within what the real system may do.
//!
//! Two levels, after FoundationDB: per run a site is live with p = 1/4, and a live site fires with a chance that the run draws for it,
//! from 1/4 to 1/64, so that runs differ in kind and not only in timing, and a busy site does not bring all to a crawl. Each site has
//! dice of its own: one that is reached more often moves no other. One that is not live costs an index and a count.

use std::fmt;
use std::time::Duration;

use rand::RngCore;
use schemars::JsonSchema;
use serde::Serialize;

use crate::base::Seed;
use crate::world::chance::SplitMix;

const LIVE: f64 = 0.25;
const FIRES: [f64; 3] = [1.0 / 4.0, 1.0 / 16.0, 1.0 / 64.0];

/// A place in a system that misbehaves now and then. All there are stand in `systems::sites`.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Its place in the list.
    number: usize,
    /// The system whose code it stands in.
    pub system: &'static str,
    /// Where it stands, in few words; no other site of the system has the same.
    pub name: &'static str,
    /// How long it waits at most when it fires; zero if it does something early, or less of it, instead.
    pub wait_max: Duration,
    /// What happens there and why that hurts.
    pub what: &'static str,
}

impl Site {
    /// The site at this place of the list. Only the list calls it (`tests/it/tidy.rs` sees to it).
    pub(crate) const fn listed(
        number: usize,
        system: &'static str,
        name: &'static str,
        wait_max: Duration,
        what: &'static str,
    ) -> Self {
        Self { number, system, name, wait_max, what }
    }
}

/// Its system and its name: `broker: before a proposal`.
impl fmt::Display for Site {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.system, self.name)
    }
}

/// What a run made of one site that it reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct SiteTally {
    /// Its system and its name: `broker: before a proposal`.
    pub site: String,
    /// How often it was reached while chaos reigned.
    pub reached: u64,
    /// Whether it could fire in this run.
    pub live: bool,
    /// How often it fired.
    pub fired: u64,
}

/// A site of this run.
struct Standing {
    site: Site,
    reached: u64,
    fired: u64,
    /// How often it fires, and its dice; none if it is not live.
    live: Option<(f64, SplitMix)>,
}

/// The cooperative points of one run.
pub(crate) struct Cooperation {
    seed: Seed,
    pub(crate) on: bool,
    sites: Vec<Option<Standing>>,
}

impl Cooperation {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { seed, on: false, sites: Vec::new() }
    }

    /// The dice of a site that fires now.
    fn fires(&mut self, site: &Site) -> Option<&mut SplitMix> {
        if !self.on {
            return None;
        }
        if self.sites.len() <= site.number {
            self.sites.resize_with(site.number + 1, || None);
        }
        let seed = self.seed;
        let standing = self.sites[site.number].get_or_insert_with(|| Standing::of(seed, site));
        standing.reached += 1;
        let (chance, dice) = standing.live.as_mut()?;
        if !dice.happens(*chance) {
            return None;
        }
        standing.fired += 1;
        Some(dice)
    }

    /// Whether a site fires now.
    pub(crate) fn acts(&mut self, site: &Site) -> bool {
        assert!(site.wait_max.is_zero(), "{site} waits");
        self.fires(site).is_some()
    }

    /// How long a site waits now: below its bound if it fires, else not at all.
    pub(crate) fn wait(&mut self, site: &Site) -> Option<Duration> {
        assert!(!site.wait_max.is_zero(), "{site} does not wait");
        let dice = self.fires(site)?;
        Some(Duration::from_nanos(dice.below(site.wait_max.as_nanos() as u64)))
    }

    /// The sites that were reached, in the order of the list.
    pub(crate) fn tallies(&self) -> Vec<SiteTally> {
        let tally = |standing: &Standing| {
            let Standing { site, reached, fired, live } = standing;
            SiteTally { site: site.to_string(), reached: *reached, live: live.is_some(), fired: *fired }
        };
        self.sites.iter().flatten().map(tally).collect()
    }
}

impl Standing {
    fn of(seed: Seed, site: &Site) -> Self {
        let mut dice = SplitMix::new(seed.stream(&format!("cooperation/{site}")).next_u64());
        let live = dice.happens(LIVE).then(|| (FIRES[dice.below(FIRES.len() as u64) as usize], dice));
        Self { site: *site, reached: 0, fired: 0, live }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Site = Site::listed(0, "broker", "waits", Duration::from_millis(10), "");
    const ACTS: Site = Site::listed(2, "broker", "acts", Duration::ZERO, "");

    fn on(seed: u64) -> Cooperation {
        Cooperation { on: true, ..Cooperation::new(Seed::new(seed)) }
    }

    #[test]
    fn a_quarter_of_the_runs_have_a_site_live_and_there_it_fires_now_and_then() {
        let (mut live, mut fired) = (0, 0);
        let mut often = 0;
        for seed in 0..5000 {
            let mut cooperation = on(seed);
            for _ in 0..100 {
                cooperation.acts(&ACTS);
            }
            let [tally] = &cooperation.tallies()[..] else { panic!("one site was reached") };
            assert_eq!((tally.reached, tally.live || tally.fired == 0), (100, true));
            live += u64::from(tally.live);
            fired += tally.fired;
            often += u64::from(14 < tally.fired);
        }
        assert!((1_150..1_350).contains(&live), "live in {live} of 5000");
        // A third each at 25, 6.25 and 1.6 in a hundred.
        assert!((live * 10..live * 12).contains(&fired), "fired {fired} times in {live} runs of 100");
        assert!((live * 3 / 10..live * 4 / 10).contains(&often), "fired often in {often} of {live} runs");
    }

    #[test]
    fn one_site_does_not_move_the_dice_of_another() {
        let seed = (0..).find(|seed| {
            let mut cooperation = on(*seed);
            cooperation.wait(&WAITS);
            cooperation.acts(&ACTS);
            cooperation.tallies().iter().all(|tally| tally.live)
        });
        let seed = seed.expect("one of sixteen has both");
        let waits = |beside: u64| {
            let mut cooperation = on(seed);
            let wait = |_| {
                for _ in 0..beside {
                    cooperation.acts(&ACTS);
                }
                cooperation.wait(&WAITS)
            };
            (0..50).map(wait).collect::<Vec<_>>()
        };
        assert_eq!(waits(0), waits(3));
        let fired: Vec<Duration> = waits(0).into_iter().flatten().collect();
        assert!(fired.len() < 50 && fired.iter().all(|wait| *wait < WAITS.wait_max), "{fired:?}");
    }

    #[test]
    fn nothing_is_reached_while_cooperation_is_off() {
        let mut cooperation = Cooperation::new(Seed::new(1));
        assert!(!cooperation.acts(&ACTS));
        assert_eq!(cooperation.tallies(), []);
    }
}
