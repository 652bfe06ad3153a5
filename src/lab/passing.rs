//! The nearest run that keeps its promises, to hold beside one that does not: the same seed without some of its faults, as few as some
//! forty runs can tell; if faults are not to blame, a neighbouring seed.

use crate::base::Seed;
use crate::lab::{Options, Progress, Run, Verdict, execute};
use crate::scenario::Scenario;
use crate::world::Recording;
use crate::world::fault::{FaultPlan, PlannedFault};

/// How far seeds are looked through, up and down.
const SEEDS: u64 = 10;

/// After how many runs the faults that are left out are as few as may be.
const RUNS_MAX: usize = 40;

/// A run that keeps its promises.
#[derive(Clone, Debug)]
pub struct Passing {
    /// The run.
    pub run: Run,
    /// The faults that were left out of it. None if its seed is another.
    pub without: Vec<PlannedFault>,
}

/// Looks for the nearest run that keeps its promises. `options` are those of the run that does not; the run that is found is recorded
/// as they say.
pub fn nearest_passing(
    scenario: &Scenario,
    failing: &Run,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Option<Passing> {
    let mut search = Search { scenario, failing, progress, runs: 0 };
    if let Some(left_out) = search.fewest_left_out() {
        let options = Options { plan: Some(search.plan(&left_out)), ..options.clone() };
        let run = search.run(failing.seed, &options);
        let without = left_out.iter().map(|index| failing.plan.faults[*index].clone()).collect();
        return Some(Passing { run, without });
    }
    let seed = failing.seed.get();
    let near = (1..=SEEDS).flat_map(|by| [seed.checked_add(by), seed.checked_sub(by)]).flatten();
    for seed in near.map(Seed::new) {
        let bare = Options { recording: Recording::default(), ..options.clone() };
        if search.run(seed, &bare).verdict == Verdict::Held {
            let run = search.run(seed, options);
            return Some(Passing { run, without: Vec::new() });
        }
    }
    None
}

struct Search<'search> {
    scenario: &'search Scenario,
    failing: &'search Run,
    progress: &'search mut dyn FnMut(Progress),
    runs: usize,
}

impl Search<'_> {
    fn run(&mut self, seed: Seed, options: &Options) -> Run {
        self.runs += 1;
        execute(self.scenario, seed, options, self.progress)
    }

    /// The faults of the failing run without these.
    fn plan(&self, left_out: &[usize]) -> FaultPlan {
        let faults = self.failing.plan.faults.iter().enumerate();
        let kept = faults.filter(|(index, _)| !left_out.contains(index)).map(|(_, fault)| fault.clone());
        FaultPlan { faults: kept.collect() }
    }

    fn passes(&mut self, left_out: &[usize]) -> bool {
        let options = Options { plan: Some(self.plan(left_out)), ..Options::default() };
        self.run(self.failing.seed, &options).verdict == Verdict::Held
    }

    /// Which faults must be left out, so that the run passes: if there were runs enough, none of them can be put back alone. None if
    /// it fails without any fault.
    fn fewest_left_out(&mut self) -> Option<Vec<usize>> {
        // Those that struck in vain are among them: without the others they might strike.
        let mut left_out: Vec<usize> = (0..self.failing.plan.faults.len()).collect();
        if left_out.is_empty() || !self.passes(&left_out) {
            return None;
        }
        let mut size = left_out.len().div_ceil(2);
        loop {
            let before = left_out.len();
            let mut from = 0;
            while from < left_out.len() {
                let to = (from + size).min(left_out.len());
                let fewer = [&left_out[..from], &left_out[to..]].concat();
                // With all of them put back it is the run that fails.
                if !fewer.is_empty() && self.runs < RUNS_MAX && self.passes(&fewer) {
                    left_out = fewer;
                } else {
                    from = to;
                }
            }
            if size == 1 && left_out.len() == before {
                return Some(left_out);
            }
            size = size.div_ceil(2);
        }
    }
}
