//! Runs a scenario twice under one seed: the two runs must be one and the same, event by event.

use crate::base::Seed;
use crate::lab::course::execute;
use crate::lab::{Options, Progress, Run, Verdict};
use crate::scenario::Scenario;
use crate::world::Record;
use crate::world::trace::What;

/// Where two runs of one scenario and seed part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The first event that differs, counted from 1 along the digest's chain.
    pub position: u64,
    /// What the first run did there, if it was written down.
    pub first: Option<String>,
    /// What the second run did there.
    pub second: Option<String>,
}

/// Runs a scenario twice. The run that is returned is the first; its verdict is `NotDeterministic` if the second differs.
pub fn check_determinism(
    scenario: &Scenario,
    seed: Seed,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> (Run, Option<Difference>) {
    let mut options = options.clone();
    options.recording.hashes = true;
    let mut twice = |options: &Options| {
        let first = execute(scenario, seed, options, progress);
        let second = execute(scenario, seed, options, progress);
        let difference = first_difference(&first, &second);
        (first, difference)
    };
    let (mut first, mut difference) = twice(&options);
    if difference.is_some() && !options.recording.everything {
        // Once more, with every event in words: only that tells what happened where the runs part.
        options.recording.everything = true;
        difference = twice(&options).1.or(difference);
    }
    if difference.is_some() {
        first.verdict = Verdict::NotDeterministic;
    }
    (first, difference)
}

/// The first event in which two runs differ; `None` if they are the same.
pub fn first_difference(first: &Run, second: &Run) -> Option<Difference> {
    if first.digest == second.digest && first.hashes == second.hashes {
        return None;
    }
    let same = first.hashes.iter().zip(&second.hashes).take_while(|(one, other)| one == other).count();
    let position = same as u64 + 1;
    Some(Difference { position, first: event_at(first, position), second: event_at(second, position) })
}

fn event_at(run: &Run, position: u64) -> Option<String> {
    if (run.hashes.len() as u64) < position {
        return Some("nothing: the run had ended".to_owned());
    }
    // A log line carries the position of the event before it, and is none itself.
    let here = |record: &&Record| record.position == position && !matches!(record.what, What::Log(_));
    run.records.iter().find(here).map(|record| record.line(&run.hosts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimTime;
    use crate::lab::sample;
    use crate::world::trace::Level;

    #[test]
    fn the_first_event_that_differs_is_named_in_both_runs() {
        let record = |position, what, text: &str| Record {
            at: SimTime::ZERO,
            host: None,
            what,
            text: text.to_owned(),
            position,
            message: None,
        };
        let run = |hashes: &[u64], text: &str| Run {
            hashes: hashes.to_vec(),
            records: vec![record(2, What::Log(Level::Info), "a log line"), record(2, What::Disk, text)],
            ..sample::violated()
        };
        let difference = first_difference(&run(&[1, 2, 3], "one"), &run(&[1, 9, 3], "other"));
        let difference = difference.expect("the second event differs");
        assert_eq!(difference.position, 2);
        assert!(difference.first.is_some_and(|line| line.ends_with("one")));
        assert!(difference.second.is_some_and(|line| line.ends_with("other")));
    }
}
