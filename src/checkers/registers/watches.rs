//! Watches: an event comes at most once, for a change only, and before the session sees what has changed.
//!
//! It follows that no watch is lost: every session reads back, at the end of its run, what it watches.

use crate::checkers::Check;
use crate::checkers::registers::{Answer, Ask, History, Op, OpKey, Outcome, Refusal};

/// What a read shows of a znode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Stands { czxid: i64, mzxid: i64 },
}

fn read<'a>(op: &'a Op, answer: &Answer) -> Option<(&'a str, State)> {
    let (Ask::Get { path } | Ask::Exists { path }) = &op.ask else { return None };
    let state = match &answer.outcome {
        Outcome::Value(_, seen) | Outcome::Stands(seen) => {
            State::Stands { czxid: seen.czxid, mzxid: seen.mzxid }
        }
        Outcome::Refused(Refusal::NoNode) => State::Absent,
        _ => return None,
    };
    Some((path, state))
}

pub(super) fn check(history: &History) -> Vec<Check> {
    let mut first = Check::new("a session is told by its watch before it sees the change");
    let mut once = Check::new("a watch fires at most once");
    for ops in history.by_session() {
        for (at, (key, op, answer)) in ops.iter().enumerate() {
            let Some((path, state)) = read(op, answer).filter(|_| answer.watched) else { continue };
            once.count();
            if 1 < op.fired.len() {
                once.fault(|| history.show(*key));
            }
            let told = op.fired.first().map_or(u64::MAX, |fired| fired.arrival);
            let unlike = |(_, later_op, later): &&(OpKey, &Op, &Answer)| {
                read(later_op, later).is_some_and(|(other, found)| other == path && found != state)
            };
            first.count();
            if let Some((seen, _, later)) =
                ops[at + 1..].iter().find(unlike).filter(|later| later.2.arrival < told)
            {
                let arrival = later.arrival;
                first.fault(|| {
                    format!(
                        "{} saw, as word {arrival}, what the watch of {} had not told",
                        history.show(*seen),
                        history.show(*key)
                    )
                });
            }
        }
    }
    vec![first, once, just(history)]
}

/// What stands unchanged has fired no watch.
fn just(history: &History) -> Check {
    let mut check = Check::new("a watch fires only for a change");
    // For each state of each znode, the latest reading of it.
    let mut latest: std::collections::BTreeMap<(&str, i64, i64), (i64, OpKey)> = Default::default();
    for (key, op, _, answer) in history.answers() {
        if let Some((path, State::Stands { czxid, mzxid })) = read(op, answer) {
            let seen = latest.entry((path, czxid, mzxid)).or_insert((answer.zxid, key));
            *seen = (*seen).max((answer.zxid, key));
        }
    }
    for (key, op, _, answer) in history.answers().filter(|(_, _, _, answer)| answer.watched) {
        let (Some((path, State::Stands { czxid, mzxid })), Some(fired)) =
            (read(op, answer), op.fired.first())
        else {
            continue;
        };
        check.count();
        let (zxid, witness) = latest[&(path, czxid, mzxid)];
        if fired.zxid <= zxid {
            check.fault(|| format!("{} fired, but {}", history.show(key), history.show(witness)));
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::registers::Fired;
    use crate::checkers::registers::stories::{Story, get, seen, set, z};

    #[test]
    fn a_watch_that_is_late_lost_or_doubled_is_seen() {
        for (fires, broken) in [
            (vec![], vec!["a session is told by its watch before it sees the change"]),
            (vec![1000], vec!["a session is told by its watch before it sees the change"]),
            (vec![15], vec![]),
            (vec![15, 16], vec!["a watch fires at most once"]),
        ] {
            let mut story = Story::default();
            let (one, two) = (story.session(1), story.session(2));
            let watch = story.watches(two, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 1);
            story.does(one, set("/r", 7, None), Outcome::Stands(seen(1, 2, 1)), 2);
            for arrival in &fires {
                story.history.fired(watch, Fired { zxid: z(2), arrival: *arrival });
            }
            story.does(two, get("/r"), Outcome::Value(7, seen(1, 2, 1)), 2);
            assert_eq!(story.broken(), broken, "{fires:?}");
        }
    }

    #[test]
    fn a_watch_on_absence_must_tell_of_the_creation() {
        let mut story = Story::default();
        let one = story.session(1);
        let exists = || Ask::Exists { path: "/e".into() };
        story.watches(one, exists(), Outcome::Refused(Refusal::NoNode), 1);
        story.does(one, exists(), Outcome::Stands(seen(2, 2, 0)), 2);
        assert_eq!(story.broken(), ["a session is told by its watch before it sees the change"]);
    }

    #[test]
    fn a_watch_that_fires_for_nothing_is_seen() {
        let mut story = Story::default();
        let one = story.session(1);
        let watch = story.watches(one, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 1);
        story.history.fired(watch, Fired { zxid: z(3), arrival: 11 });
        story.does(one, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 4);
        assert_eq!(story.broken(), ["a watch fires only for a change"]);
    }
}
