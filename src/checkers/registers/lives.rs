//! Ephemeral znodes, numbered names, and locks: what lives as long as a session does.

use std::collections::BTreeMap;

use crate::checkers::Check;
use crate::checkers::registers::{Answer, Ask, History, Op, OpKey, Outcome, Refusal, SessionKey, Shown};

/// What is known of an ephemeral znode.
struct Life {
    session: SessionKey,
    /// The transaction that created it; unknown if its client was not told.
    created: Option<i64>,
    /// The transaction that deleted it, if its owner was told so.
    deleted: Option<i64>,
    /// Whether its owner ever tried to.
    spared: bool,
}

pub(super) fn check(history: &History) -> Vec<Check> {
    let lives = lives(history);
    let sessions = closings(history);
    vec![
        nothing_outlives(history, &lives, &sessions),
        nothing_dies_early(history, &lives),
        all_gone(history, &lives),
        numbers(history),
        locks(history),
    ]
}

/// The ephemeral znodes by their paths, without the number.
fn lives(history: &History) -> BTreeMap<&str, Life> {
    let mut lives = BTreeMap::new();
    for op in &history.ops {
        if let Ask::Create { path, .. } = &op.ask {
            let created = match op.answer() {
                Some((_, Answer { outcome: Outcome::Created(_, seen), .. })) => Some(seen.czxid),
                _ => None,
            };
            let life = Life { session: op.session, created, deleted: None, spared: true };
            let again = lives.insert(path.as_str(), life);
            assert!(again.is_none(), "no path is used twice");
        }
    }
    for op in &history.ops {
        if let Ask::Delete { path } = &op.ask
            && let Some(life) = lives.get_mut(path.as_str())
        {
            life.spared = false;
            if let Some((_, Answer { outcome: Outcome::Done, zxid, .. })) = op.answer() {
                life.deleted = Some(*zxid);
            }
        }
    }
    lives
}

/// The transaction that closed each session whose client was told so.
fn closings(history: &History) -> BTreeMap<SessionKey, i64> {
    let closing = |(_, op, _, answer): (OpKey, &Op, u64, &Answer)| {
        (op.ask == Ask::Close && answer.outcome == Outcome::Done).then_some((op.session, answer.zxid))
    };
    history.answers().filter_map(closing).collect()
}

/// What a reading says of ephemeral znodes: each that it shows, by path without the number.
fn shown(op: &Op, answer: &Answer) -> Vec<String> {
    match (&op.ask, &answer.outcome) {
        (Ask::Exists { path }, Outcome::Stands(_)) => vec![path.clone()],
        (Ask::Children { path }, Outcome::Names(names)) => names
            .iter()
            .map(|name| format!("{path}/{}", name.find('-').map_or(name.as_str(), |at| &name[..=at])))
            .collect(),
        _ => Vec::new(),
    }
}

/// No reading shows an ephemeral znode before it was created, or after it was deleted or its session closed.
fn nothing_outlives(
    history: &History,
    lives: &BTreeMap<&str, Life>,
    closings: &BTreeMap<SessionKey, i64>,
) -> Check {
    let mut check = Check::new("an ephemeral znode is never seen beyond its life");
    for (key, op, _, answer) in history.answers() {
        for path in shown(op, answer) {
            let Some(life) = lives.get(path.as_str()) else { continue };
            check.count();
            let ended = [life.deleted, closings.get(&life.session).copied()].into_iter().flatten().min();
            let early = life.created.is_some_and(|created| answer.zxid < created);
            if early || ended.is_some_and(|ended| ended <= answer.zxid) {
                let ended =
                    ended.map_or("not ended".to_owned(), |ended| format!("ended at {}", Shown(ended)));
                check.fault(|| format!("{path}, {ended}: {}", history.show(key)));
            }
        }
    }
    for (path, life) in lives {
        check.count();
        let closed = closings.get(&life.session);
        if closed.zip(life.created).is_some_and(|(closed, created)| *closed < created) {
            check.fault(|| format!("{path} was created by a session that was closed"));
        }
    }
    check
}

/// An ephemeral znode that its owner has not deleted is there as long as the owner's session does anything.
fn nothing_dies_early(history: &History, lives: &BTreeMap<&str, Life>) -> Check {
    let mut check = Check::new("an ephemeral znode lives as long as its session");
    // The newest transaction at which each session was surely alive.
    let mut alive: BTreeMap<SessionKey, i64> = BTreeMap::new();
    for (_, op, _, answer) in history.answers() {
        if op.ask != Ask::Close && answer.outcome != Outcome::Refused(Refusal::Session) {
            let newest = alive.entry(op.session).or_default();
            *newest = (*newest).max(answer.zxid);
        }
    }
    for (key, op, _, answer) in history.answers() {
        let Ask::Exists { path } = &op.ask else { continue };
        let Some(life) = lives.get(path.as_str()) else { continue };
        check.count();
        let absent = answer.outcome == Outcome::Refused(Refusal::NoNode);
        let created = life.created.is_some_and(|created| created <= answer.zxid);
        let lives_on = alive.get(&life.session).is_some_and(|alive| answer.zxid <= *alive);
        if absent && created && life.spared && lives_on {
            check.fault(|| history.show(key));
        }
    }
    check
}

/// When all has come to rest, nothing is left of sessions that were given up.
fn all_gone(history: &History, lives: &BTreeMap<&str, Life>) -> Check {
    let mut check = Check::new("when all is settled, no ephemeral znode is left of a session that is over");
    let last: BTreeMap<u32, usize> =
        history.sessions.iter().enumerate().map(|(at, client)| (*client, at)).collect();
    for (key, op, _, answer) in history.answers().filter(|(_, op, ..)| history.is_final(op)) {
        check.count();
        for path in shown(op, answer) {
            let Some(life) = lives.get(path.as_str()) else { continue };
            let client = history.sessions[life.session.0];
            if last.get(&client) != Some(&life.session.0) {
                check.fault(|| format!("{path} of client {client}: {}", history.show(key)));
            }
        }
    }
    check
}

/// No number is given twice, and later ones are greater.
fn numbers(history: &History) -> Check {
    let mut check = Check::new("numbers of sequential znodes grow with their transactions");
    let mut given: BTreeMap<&str, Vec<(i64, u64, OpKey)>> = BTreeMap::new();
    for (key, op, _, answer) in history.answers() {
        let (Ask::Create { sequential: true, path }, Outcome::Created(name, seen)) =
            (&op.ask, &answer.outcome)
        else {
            continue;
        };
        check.count();
        let parent = &path[..path.rfind('/').unwrap_or(0)];
        match name.strip_prefix(path.as_str()).and_then(|number| number.parse().ok()) {
            Some(number) => given.entry(parent).or_default().push((seen.czxid, number, key)),
            None => check.fault(|| format!("no number: {}", history.show(key))),
        }
    }
    for numbers in given.values_mut() {
        numbers.sort();
        for pair in numbers.windows(2) {
            if pair[1].1 <= pair[0].1 {
                check.fault(|| format!("{}, then {}", history.show(pair[0].2), history.show(pair[1].2)));
            }
        }
    }
    check
}

/// A client may hold a lock in good faith while another has it already; but by transactions there is one holder at a time, so that the
/// fencing number tells the old from the new.
fn locks(history: &History) -> Check {
    let mut check = Check::new("fencing numbers grow from holder to holder");
    let mut holds: Vec<_> = history.holds.iter().map(|hold| (hold.zxid, hold.fence, hold.session)).collect();
    holds.sort();
    for pair in holds.windows(2) {
        check.count();
        let [(zxid, fence, session), (later, next, other)] = [pair[0], pair[1]];
        if next <= fence {
            check.fault(|| {
                format!(
                    "session {} holds with {fence} at {}, session {} with {next} at {}",
                    session.0,
                    Shown(zxid),
                    other.0,
                    Shown(later)
                )
            });
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::registers::stories::{Story, seen, z};

    fn create(path: &str, sequential: bool) -> Ask {
        Ask::Create { path: path.to_owned(), sequential }
    }

    fn exists(path: &str) -> Ask {
        Ask::Exists { path: path.to_owned() }
    }

    fn story() -> (Story, SessionKey, SessionKey) {
        let mut story = Story::default();
        let (one, two) = (story.session(1), story.session(2));
        story.does(one, create("/e/1", false), Outcome::Created("/e/1".into(), seen(2, 2, 0)), 2);
        (story, one, two)
    }

    #[test]
    fn an_ephemeral_that_outlives_its_session_is_seen() {
        let (mut story, one, two) = story();
        story.does(one, Ask::Close, Outcome::Done, 5);
        story.does(two, exists("/e/1"), Outcome::Stands(seen(2, 2, 0)), 4);
        assert_eq!(story.broken(), Vec::<&str>::new(), "a stale read is legal");
        story.does(two, Ask::Children { path: "/e".into() }, Outcome::Names(vec!["1".into()]), 6);
        assert_eq!(story.broken(), ["an ephemeral znode is never seen beyond its life"]);
    }

    #[test]
    fn an_ephemeral_created_after_the_close_is_seen() {
        let mut story = Story::default();
        let one = story.session(1);
        let late = story.history.asked(one, create("/e/1", false));
        story.does(one, Ask::Close, Outcome::Done, 2);
        story.answer(late, Outcome::Created("/e/1".into(), seen(3, 3, 0)), 3);
        assert!(story.broken().contains(&"an ephemeral znode is never seen beyond its life"));
    }

    #[test]
    fn an_ephemeral_that_dies_before_its_session_is_seen() {
        let (mut story, one, two) = story();
        story.does(two, exists("/e/1"), Outcome::Refused(Refusal::NoNode), 4);
        assert_eq!(story.broken(), Vec::<&str>::new(), "its session may have expired");
        story.does(one, Ask::Sync, Outcome::Done, 5);
        assert_eq!(story.broken(), ["an ephemeral znode lives as long as its session"]);
    }

    #[test]
    fn what_is_left_of_a_session_given_up_is_seen() {
        let (mut story, _, two) = story();
        story.session(1);
        story.history.settled();
        story.does(two, exists("/e/1"), Outcome::Stands(seen(2, 2, 0)), 9);
        assert_eq!(
            story.broken(),
            ["when all is settled, no ephemeral znode is left of a session that is over"]
        );
    }

    #[test]
    fn a_number_given_twice_is_seen() {
        let mut story = Story::default();
        let one = story.session(1);
        for (zxid, path) in [(2, "/e/1-"), (3, "/e/2-")] {
            let name = format!("{path}0000000007");
            story.does(one, create(path, true), Outcome::Created(name, seen(zxid, zxid, 0)), zxid);
        }
        assert_eq!(story.broken(), ["numbers of sequential znodes grow with their transactions"]);
    }

    #[test]
    fn two_holders_of_a_lock_in_the_wrong_order_are_seen() {
        let (mut story, one, two) = story();
        story.history.held(two, 4, z(9));
        story.history.held(one, 3, z(7));
        assert_eq!(story.broken(), Vec::<&str>::new(), "told late, but held first");
        story.history.held(one, 4, z(12));
        assert_eq!(story.broken(), ["fencing numbers grow from holder to holder"]);
    }
}
