//! What one session sees: its requests answered in order, time that never goes back, its own writes.

use std::collections::BTreeMap;

use crate::checkers::Check;
use crate::checkers::registers::{Answer, Ask, History, Op, OpKey, Outcome, Refusal, SessionKey};

pub(super) fn check(history: &History) -> Vec<Check> {
    let mut in_order = Check::new("a session is answered in the order in which it asked");
    let mut forward = Check::new("a session never sees the past");
    let mut closed = Check::new("a session that is closed does nothing more");
    for ops in history.by_session() {
        for pair in ops.windows(2) {
            let [(key, op, answer), (later_key, later_op, later)] = pair else { continue };
            let both = || format!("{}, then {}", history.show(*key), history.deed(*later_key));
            let ordered =
                answer.arrival < later.arrival && op.began <= later_op.began && later.xid != answer.xid;
            in_order.expect(ordered, later_op.at, both);
            forward.expect(answer.zxid <= later.zxid, later_op.at, both);
        }
        let closing =
            ops.iter().position(|(_, op, answer)| op.ask == Ask::Close && answer.outcome == Outcome::Done);
        let Some(closing) = closing else { continue };
        let after = ops[closing + 1..].iter();
        let active = |answer: &Answer| answer.outcome != Outcome::Refused(Refusal::Session);
        let fault = after.filter(|(_, _, answer)| active(answer)).map(|(key, ..)| history.show(*key)).next();
        closed.look(ops[closing].1.at, fault.map(|fault| format!("after its end: {fault}")));
    }
    vec![in_order, forward, own_writes(history), writes_in_order(history), closed]
}

/// What a session asks to be written is carried out in the order in which it asked, even where it was not answered: what was held
/// up on its way through one server does not come after what went through another (ZOOKEEPER-417).
fn writes_in_order(history: &History) -> Check {
    let mut check = Check::new("the writes of a session take effect in the order in which it asked");
    let mut effects: BTreeMap<u64, i64> = BTreeMap::new();
    for (_, op, _, answer) in history.answers() {
        match (&op.ask, &answer.outcome) {
            (Ask::Get { .. }, Outcome::Value(token, seen)) => effects.insert(*token, seen.mzxid),
            (Ask::Set { token, .. } | Ask::Multi { token, .. }, Outcome::Stands(_) | Outcome::Parts(_)) => {
                effects.insert(*token, answer.zxid)
            }
            _ => None,
        };
    }
    let mut latest: BTreeMap<SessionKey, (i64, OpKey)> = BTreeMap::new();
    for (at, op) in history.ops.iter().enumerate() {
        let (Ask::Set { token, .. } | Ask::Multi { token, .. }) = &op.ask else { continue };
        let Some(zxid) = effects.get(token) else { continue };
        let key = OpKey(at);
        let (before, whence) = *latest.entry(op.session).or_insert((*zxid, key));
        check.expect(before <= *zxid, op.at, || {
            format!("{}, asked after {}", history.show(key), history.deed(whence))
        });
        if before < *zxid {
            latest.insert(op.session, (*zxid, key));
        }
    }
    check
}

/// What a session knows of a register never gets older, and what it wrote it sees.
fn own_writes(history: &History) -> Check {
    let mut check = Check::new("a session sees what it has seen or written before, or something newer");
    for ops in history.by_session() {
        let mut known: BTreeMap<&str, (i64, OpKey)> = BTreeMap::new();
        for (key, op, answer) in ops {
            for (path, mzxid) in told(op, &answer.outcome) {
                let (before, whence) = *known.get(path).unwrap_or(&(0, key));
                check.expect(before <= mzxid, op.at, || {
                    format!("{}, after {}", history.show(key), history.deed(whence))
                });
                if before < mzxid {
                    known.insert(path, (mzxid, key));
                }
            }
        }
    }
    check
}

fn told<'a>(op: &'a Op, outcome: &Outcome) -> Vec<(&'a str, i64)> {
    match (&op.ask, outcome) {
        (Ask::Get { path }, Outcome::Value(_, seen)) | (Ask::Set { path, .. }, Outcome::Stands(seen)) => {
            vec![(path, seen.mzxid)]
        }
        (Ask::Multi { paths, .. }, Outcome::Parts(parts)) => {
            paths.iter().map(String::as_str).zip(parts.iter().map(|seen| seen.mzxid)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::registers::stories::{Story, get, seen, set};

    #[test]
    fn a_session_that_goes_back_is_seen() {
        let mut story = Story::default();
        let one = story.session(1);
        story.does(one, set("/r", 7, None), Outcome::Stands(seen(1, 2, 1)), 2);
        story.does(one, get("/q"), Outcome::Value(0, seen(1, 1, 0)), 1);
        assert_eq!(story.broken(), ["a session never sees the past"]);
        story.does(one, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 3);
        assert_eq!(
            story.broken(),
            [
                "a read shows the newest write up to the transaction at which it was answered",
                "a session never sees the past",
                "a session sees what it has seen or written before, or something newer"
            ]
        );
    }

    #[test]
    fn a_write_that_overtakes_is_seen_though_it_was_not_answered() {
        let mut story = Story::default();
        let one = story.session(1);
        story.asks(one, set("/r", 7, None));
        story.does(one, set("/q", 8, None), Outcome::Stands(seen(1, 2, 1)), 2);
        assert_eq!(story.broken(), Vec::<&str>::new());
        story.does(one, get("/r"), Outcome::Value(7, seen(1, 3, 1)), 3);
        assert_eq!(story.broken(), ["the writes of a session take effect in the order in which it asked"]);
    }

    #[test]
    fn answers_out_of_order_are_seen() {
        let mut story = Story::default();
        let one = story.session(1);
        let first = story.asks(one, get("/r"));
        let second = story.asks(one, get("/r"));
        story.answer(second, Outcome::Value(0, seen(1, 1, 0)), 1);
        story.answer(first, Outcome::Value(0, seen(1, 1, 0)), 1);
        assert_eq!(story.broken(), ["a session is answered in the order in which it asked"]);
    }

    #[test]
    fn what_a_closed_session_does_is_seen() {
        let mut story = Story::default();
        let one = story.session(1);
        story.does(one, Ask::Close, Outcome::Done, 2);
        story.does(one, get("/r"), Outcome::Refused(Refusal::Session), 2);
        assert_eq!(story.broken(), Vec::<&str>::new());
        story.does(one, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 2);
        assert_eq!(story.broken(), ["a session that is closed does nothing more"]);
    }
}
