//! Watches: an event comes at most once, for a change only, for every change, and before the session sees what has changed.
//!
//! No watch is lost: every session that lives at the end of a run reads back, and before its first answer at or after a change it must
//! have been told.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::Check;
use crate::checkers::registers::lives::Lives;
use crate::checkers::registers::{Answer, Ask, History, Op, OpKey, Outcome, Refusal, Shown};

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

pub(super) fn check(history: &History, lives: &Lives<'_>) -> Vec<Check> {
    let mut first = Check::new("a session is told by its watch before it sees the change");
    let mut once = Check::new("a watch fires at most once");
    for ops in history.by_session() {
        for (at, (key, op, answer)) in ops.iter().enumerate() {
            let Some((path, state)) = read(op, answer).filter(|_| answer.watched) else { continue };
            once.expect(op.fired.len() <= 1, op.at, || {
                format!("fired {} times: {}", op.fired.len(), history.show(*key))
            });
            let told = op.fired.first().map_or(u64::MAX, |fired| fired.arrival);
            let unlike = |(_, later_op, later): &&(OpKey, &Op, &Answer)| {
                read(later_op, later).is_some_and(|(other, found)| other == path && found != state)
            };
            let saw = ops[at + 1..].iter().find(unlike).filter(|(.., later)| later.arrival < told);
            let fault = saw.map(|(saw, ..)| {
                format!("{}, watched; {}, and no event before", history.show(*key), history.deed(*saw))
            });
            first.look(saw.map_or(op.at, |(_, later, _)| later.at), fault);
        }
    }
    vec![first, once, just(history), complete(history, lives)]
}

/// Every change that is known of: each znode's transactions.
fn changes<'a>(history: &'a History, lives: &Lives<'a>) -> BTreeMap<&'a str, BTreeSet<i64>> {
    let mut changes: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for (_, op, _, answer) in history.answers() {
        let told: Vec<(&str, i64)> = match (&op.ask, &answer.outcome) {
            (Ask::Get { path } | Ask::Exists { path }, Outcome::Value(_, seen) | Outcome::Stands(seen))
            | (Ask::Set { path, .. }, Outcome::Stands(seen))
            | (Ask::Create { path, .. }, Outcome::Created(_, seen)) => vec![(path, seen.mzxid)],
            (Ask::Multi { paths, .. }, Outcome::Parts(parts)) => {
                paths.iter().zip(parts).map(|(path, seen)| (path.as_str(), seen.mzxid)).collect()
            }
            _ => Vec::new(),
        };
        for (path, zxid) in told {
            changes.entry(path).or_default().insert(zxid);
        }
    }
    for (path, ended) in lives.ends() {
        changes.entry(path).or_default().insert(ended);
    }
    changes
}

/// No session is answered at or after a change before its watch has told of it; what was created and is gone again while the session
/// looked for another server is the one thing that a watch does not tell.
fn complete(history: &History, lives: &Lives<'_>) -> Check {
    let mut check = Check::new("a watch tells of a change before anything later is answered");
    let changes = changes(history, lives);
    for ops in history.by_session() {
        for (at, (key, op, answer)) in ops.iter().enumerate() {
            let Some((path, state)) = read(op, answer).filter(|_| answer.watched) else { continue };
            let Some(changed) = changes.get(path).and_then(|at| at.range(answer.zxid + 1..).next()) else {
                continue;
            };
            let later = |(_, other, later): &&(OpKey, &Op, &Answer)| {
                let visible = state != State::Absent || lives.stood(path, later.zxid);
                let alive = later.outcome != Outcome::Refused(Refusal::Session);
                *changed <= later.zxid && visible && alive && other.ask != Ask::Close
            };
            let Some((later_key, later_op, later)) = ops[at + 1..].iter().find(later) else { continue };
            let told = op.fired.first().is_some_and(|fired| fired.arrival < later.arrival);
            check.expect(told, later_op.at, || {
                let (set, later) = (history.show(*key), history.deed(*later_key));
                format!("{set}, watched; {later}, and no event of {}", Shown(*changed))
            });
        }
    }
    check
}

/// What stands unchanged has fired no watch.
fn just(history: &History) -> Check {
    let mut check = Check::new("a watch fires only for a change");
    // For each state of each znode, the latest reading of it.
    let mut latest: BTreeMap<(&str, i64, i64), (i64, OpKey)> = BTreeMap::new();
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
        let (zxid, witness) = latest[&(path, czxid, mzxid)];
        check.expect(zxid < fired.zxid, op.at, || {
            format!("{} fired, but {}", history.show(key), history.show(witness))
        });
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::registers::stories::{Story, get, seen, set, z};
    use crate::checkers::registers::{Fired, SessionKey};

    const SEEN: &str = "a session is told by its watch before it sees the change";
    const UNTOLD: &str = "a watch tells of a change before anything later is answered";

    /// A session watches `/r`, another sets it to 7, and the watch tells so at each of these times. With the session that watches.
    fn changed_under_a_watch(fires: &[u64]) -> (Story, SessionKey) {
        let mut story = Story::default();
        let (one, two) = (story.session(1), story.session(2));
        let watch = story.watches(two, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 1);
        story.does(one, set("/r", 7, None), Outcome::Stands(seen(1, 2, 1)), 2);
        for arrival in fires {
            story.history.fired(watch, Fired { zxid: z(2), arrival: *arrival });
        }
        (story, two)
    }

    #[test]
    fn a_watch_that_is_late_lost_or_doubled_is_seen() {
        for (fires, broken) in [
            (vec![], vec![SEEN, UNTOLD]),
            (vec![1000], vec![SEEN, UNTOLD]),
            (vec![15], vec![]),
            (vec![15, 16], vec!["a watch fires at most once"]),
        ] {
            let (mut story, two) = changed_under_a_watch(&fires);
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
        assert_eq!(story.broken(), [SEEN]);
    }

    #[test]
    fn a_change_that_no_watch_told_is_seen_though_nobody_read_it() {
        for (fires, zxid, broken) in [
            (vec![], 3, vec![UNTOLD]),
            (vec![], 1, vec![]),
            (vec![1000], 3, vec![UNTOLD]),
            (vec![15], 3, vec![]),
        ] {
            let (mut story, two) = changed_under_a_watch(&fires);
            story.does(two, get("/q"), Outcome::Value(0, seen(1, 1, 0)), zxid);
            assert_eq!(story.broken(), broken, "{fires:?} before z1.{zxid}");
        }
    }

    #[test]
    fn the_end_of_a_watched_ephemeral_and_its_beginning_must_be_told() {
        let create = || Ask::Create { path: "/e/1".into(), sequential: false };
        let exists = || Ask::Exists { path: "/e/1".into() };
        let mut story = Story::default();
        let (one, two) = (story.session(1), story.session(2));
        story.does(one, create(), Outcome::Created("/e/1".into(), seen(2, 2, 0)), 2);
        story.watches(two, exists(), Outcome::Stands(seen(2, 2, 0)), 3);
        story.does(one, Ask::Close, Outcome::Done, 4);
        assert_eq!(story.broken(), Vec::<&str>::new(), "nothing was answered since");
        story.does(two, Ask::Sync, Outcome::Done, 5);
        assert_eq!(story.broken(), [UNTOLD]);
        let mut story = Story::default();
        let (one, two) = (story.session(1), story.session(2));
        story.watches(two, exists(), Outcome::Refused(Refusal::NoNode), 1);
        story.does(one, create(), Outcome::Created("/e/1".into(), seen(2, 2, 0)), 2);
        story.does(two, Ask::Sync, Outcome::Done, 3);
        assert_eq!(story.broken(), Vec::<&str>::new(), "it may have come and gone meanwhile");
        story.does(one, Ask::Sync, Outcome::Done, 4);
        assert_eq!(story.broken(), [UNTOLD], "it had not gone");
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
