//! Ephemeral znodes, numbered names, and locks: what lives as long as a session does.

use std::collections::BTreeMap;

use crate::checkers::Check;
use crate::checkers::registers::{Answer, Ask, History, Op, OpKey, Outcome, Refusal, SessionKey, Shown};

/// What is known of an ephemeral znode.
struct Life {
    session: SessionKey,
    /// The transaction that created it; unknown if its client was not told.
    created: Option<i64>,
    /// The first transaction that deleted it, of those of which a client was told.
    deleted: Option<i64>,
    /// Whether nobody ever tried to.
    spared: bool,
    /// The newest transaction at which it surely stood.
    stood: Option<i64>,
}

impl Life {
    fn stood_at(&self, zxid: i64) -> bool {
        let created = self.created.is_some_and(|created| created <= zxid);
        created && self.stood.is_some_and(|stood| zxid <= stood)
    }
}

/// The ephemeral znodes by their paths, without the number, and the ends of their sessions.
pub(super) struct Lives<'a> {
    lives: BTreeMap<&'a str, Life>,
    /// The transaction that closed each session whose client was told so.
    closings: BTreeMap<SessionKey, i64>,
}

impl<'a> Lives<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        let mut lives = BTreeMap::new();
        for op in &history.ops {
            if let Ask::Create { path, .. } = &op.ask {
                let created = match op.answer() {
                    Some((_, Answer { outcome: Outcome::Created(_, seen), .. })) => Some(seen.czxid),
                    _ => None,
                };
                let life = Life { session: op.session, created, deleted: None, spared: true, stood: created };
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
                    life.deleted = Some(life.deleted.map_or(*zxid, |other| other.min(*zxid)));
                    life.stood = life.stood.max(Some(*zxid - 1));
                }
            }
        }
        for (_, op, _, answer) in history.answers() {
            for path in shown(op, answer) {
                if let Some(life) = lives.get_mut(path.as_str()) {
                    life.stood = life.stood.max(Some(answer.zxid));
                }
            }
        }
        let alive = alive(history);
        for life in lives.values_mut().filter(|life| life.spared) {
            life.stood = life.stood.max(alive.get(&life.session).copied());
        }
        let closing = |(_, op, _, answer): (OpKey, &Op, u64, &Answer)| {
            (op.ask == Ask::Close && answer.outcome == Outcome::Done).then_some((op.session, answer.zxid))
        };
        Self { lives, closings: history.answers().filter_map(closing).collect() }
    }

    fn end(&self, life: &Life) -> Option<i64> {
        [life.deleted, self.closings.get(&life.session).copied()].into_iter().flatten().min()
    }

    /// Each znode of which it is known at which transaction it was gone, with that transaction.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&'a str, i64)> {
        self.lives.iter().filter_map(|(path, life)| Some((*path, self.end(life)?)))
    }

    /// Whether a znode surely stood at a transaction.
    pub(super) fn stood(&self, path: &str, zxid: i64) -> bool {
        self.lives.get(path).is_some_and(|life| life.stood_at(zxid))
    }
}

/// The newest transaction at which each session was surely alive.
fn alive(history: &History) -> BTreeMap<SessionKey, i64> {
    let mut alive = BTreeMap::new();
    for (_, op, _, answer) in history.answers() {
        if op.ask != Ask::Close && answer.outcome != Outcome::Refused(Refusal::Session) {
            let newest = alive.entry(op.session).or_default();
            *newest = answer.zxid.max(*newest);
        }
    }
    alive
}

pub(super) fn check(history: &History, lives: &Lives<'_>) -> Vec<Check> {
    vec![
        nothing_outlives(history, lives),
        nothing_dies_early(history, lives),
        refusals_are_just(history, lives),
        all_gone(history, lives),
        numbers(history),
        locks(history),
    ]
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
fn nothing_outlives(history: &History, lives: &Lives<'_>) -> Check {
    let mut check = Check::new("an ephemeral znode is never seen beyond its life");
    for (key, op, _, answer) in history.answers() {
        for path in shown(op, answer) {
            let Some(life) = lives.lives.get(path.as_str()) else { continue };
            let early = life.created.filter(|created| answer.zxid < *created);
            let late = lives.end(life).filter(|ended| *ended <= answer.zxid);
            let fault = early.map(|zxid| (zxid, "created")).or(late.map(|zxid| (zxid, "gone")));
            let fault = fault.map(|(zxid, how)| {
                let (who, name) = (history.show(key), super::name(&path));
                (how, format!("{who} shows {name}, {how} at {}", Shown(zxid)))
            });
            check.look_at(op.at, fault);
        }
    }
    for (path, life) in &lives.lives {
        let Some((closed, created)) = lives.closings.get(&life.session).copied().zip(life.created) else {
            continue;
        };
        let fault = (closed < created).then(|| {
            let who = history.who(life.session);
            let told = format!("{who} created {path} at {}, closed at {}", Shown(created), Shown(closed));
            ("created after the close", told)
        });
        check.look_at(None, fault);
    }
    check
}

/// An ephemeral znode that nobody has deleted is there as long as its owner's session does anything.
fn nothing_dies_early(history: &History, lives: &Lives<'_>) -> Check {
    let mut check = Check::new("an ephemeral znode lives as long as its session");
    for (key, op, _, answer) in history.answers() {
        let Ask::Exists { path } = &op.ask else { continue };
        let Some(life) = lives.lives.get(path.as_str()) else { continue };
        let absent = answer.outcome == Outcome::Refused(Refusal::NoNode);
        check.expect(!absent || !life.stood_at(answer.zxid), op.at, || {
            format!("{}; it stood at {}", history.show(key), Shown(life.stood.unwrap_or_default()))
        });
    }
    check
}

/// A new path under a znode that is always there can be created; what stands can be deleted, once, at whatever version.
fn refusals_are_just(history: &History, lives: &Lives<'_>) -> Check {
    let mut check = Check::new("a create or delete is carried out if and only if it can be");
    for (key, op, _, answer) in history.answers() {
        let just = match (&op.ask, &answer.outcome) {
            (Ask::Create { .. } | Ask::Delete { .. }, Outcome::Refused(Refusal::Session)) => true,
            (Ask::Create { .. }, outcome) => !matches!(outcome, Outcome::Refused(_)),
            (Ask::Delete { path }, outcome) => {
                let Some(life) = lives.lives.get(path.as_str()) else { continue };
                match outcome {
                    // The transaction of a refusal changes nothing: it would stand at that one, too.
                    Outcome::Refused(Refusal::NoNode) => !life.stood_at(answer.zxid),
                    Outcome::Refused(_) => false,
                    _ => {
                        let created = life.created.is_none_or(|created| created < answer.zxid);
                        created && lives.end(life).is_none_or(|ended| answer.zxid <= ended)
                    }
                }
            }
            _ => continue,
        };
        let place = match (&op.ask, &answer.outcome) {
            (Ask::Create { .. }, _) => "a create",
            (_, Outcome::Refused(_)) => "a delete, refused",
            _ => "a delete, carried out",
        };
        check.look_at(op.at, (!just).then(|| (place, history.show(key))));
    }
    check
}

/// When all has come to rest, nothing is left of sessions that were given up.
fn all_gone(history: &History, lives: &Lives<'_>) -> Check {
    let mut check = Check::new("when all is settled, no ephemeral znode is left of a session that is over");
    let last: BTreeMap<u32, usize> =
        history.sessions.iter().enumerate().map(|(at, client)| (*client, at)).collect();
    for (key, op, _, answer) in history.answers().filter(|(_, op, ..)| history.is_final(op)) {
        let over = |path: &String| {
            let session = lives.lives.get(path.as_str())?.session;
            let client = history.sessions[session.0];
            (last.get(&client) != Some(&session.0)).then_some(session)
        };
        let left = shown(op, answer).into_iter().find_map(|path| Some((over(&path)?, path)));
        let fault = left.map(|(session, path)| {
            format!("{} shows {} of {}", history.show(key), super::name(&path), history.who(session))
        });
        check.look(op.at, fault);
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
        let parent = &path[..path.rfind('/').unwrap_or(0)];
        let number = name.strip_prefix(path.as_str()).and_then(|number| number.parse().ok());
        check.expect(number.is_some(), op.at, || format!("no number: {}", history.show(key)));
        given.entry(parent).or_default().extend(number.map(|number| (seen.czxid, number, key)));
    }
    for numbers in given.values_mut() {
        numbers.sort();
        for pair in numbers.windows(2) {
            let [(_, number, key), (_, next, later)] = [pair[0], pair[1]];
            check.expect(number < next, history.at(later), || {
                format!("{}, then {}", history.show(key), history.show(later))
            });
        }
    }
    check
}

/// A client may hold a lock in good faith while another has it already; but by transactions there is one holder at a time, so that the
/// fencing number tells the old from the new.
fn locks(history: &History) -> Check {
    let mut check = Check::new("fencing numbers grow from holder to holder");
    let mut holds = history.holds.clone();
    holds.sort_by_key(|hold| (hold.zxid, hold.fence, hold.session));
    for pair in holds.windows(2) {
        let [hold, next] = [pair[0], pair[1]];
        check.expect(hold.fence < next.fence, next.at, || {
            let show = |hold: super::Hold| {
                format!("{} holds with {} at {}", history.who(hold.session), hold.fence, Shown(hold.zxid))
            };
            format!("{}, then {}", show(hold), show(next))
        });
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
        let late = story.asks(one, create("/e/1", false));
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
        story.holds(two, 4, z(9));
        story.holds(one, 3, z(7));
        assert_eq!(story.broken(), Vec::<&str>::new(), "told late, but held first");
        story.holds(one, 4, z(12));
        assert_eq!(story.broken(), ["fencing numbers grow from holder to holder"]);
    }

    #[test]
    fn a_create_that_is_refused_and_a_delete_of_what_stands_are_seen() {
        let promise = "a create or delete is carried out if and only if it can be";
        for (refusal, broken) in [
            (Refusal::NodeExists, vec![promise]),
            (Refusal::NoNode, vec![promise]),
            (Refusal::Session, vec![]),
        ] {
            let (mut story, one, _) = story();
            story.does(one, create("/e/2", false), Outcome::Refused(refusal), 3);
            assert_eq!(story.broken(), broken, "{refusal:?}");
        }
        let delete = || Ask::Delete { path: "/e/1".into() };
        let (mut story, one, two) = self::story();
        story.does(two, delete(), Outcome::Refused(Refusal::NoNode), 3);
        assert_eq!(story.broken(), Vec::<&str>::new(), "its session may have expired");
        story.does(one, exists("/e/1"), Outcome::Stands(seen(2, 2, 0)), 4);
        assert_eq!(story.broken(), [promise], "but it had not");
        let (mut story, one, two) = self::story();
        story.does(two, delete(), Outcome::Done, 3);
        story.does(two, delete(), Outcome::Refused(Refusal::NoNode), 4);
        assert_eq!(story.broken(), Vec::<&str>::new());
        story.does(one, delete(), Outcome::Done, 5);
        assert_eq!(story.broken(), [promise], "a second end");
        let (mut story, _, two) = self::story();
        story.does(two, delete(), Outcome::Refused(Refusal::BadVersion), 3);
        assert_eq!(story.broken(), [promise], "it demands no version");
        let (mut story, one, two) = self::story();
        story.does(one, Ask::Close, Outcome::Done, 3);
        story.does(two, delete(), Outcome::Done, 4);
        assert_eq!(story.broken(), [promise], "it went with its session");
    }
}
