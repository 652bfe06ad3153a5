//! Registers: what the clients of a coordination ensemble asked, what they were told, and what follows from it.
//!
//! A write is told its transaction (zxid) and its version, and a read the transaction at which it was answered: the order of all
//! writes is known, so nothing has to be searched for. What is promised of it (ZooKeeper's guarantees) is checked in four files:
//! `order` for what all clients see together, `sessions` for what one session sees, `watches`, and `lives` for ephemeral
//! znodes and locks. What is not promised is not checked: a read without `sync` may be stale, `sync` may be answered by a leader that
//! another has replaced already, and two clients may both believe that they hold a lock.

mod lives;
mod order;
mod sessions;
mod watches;

use std::fmt;

use crate::base::SimTime;
use crate::checkers::Check;
use crate::checkers::service::Request;

/// A session of a client, numbered in order of their beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey(usize);

impl fmt::Display for SessionKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "session {}", self.0)
    }
}

/// An operation, numbered in order of their beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpKey(usize);

/// What a client asks. A `token` is a value that no other write of the history has; 0 is what a register holds at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A register's value.
    Get {
        /// The register.
        path: String,
    },
    /// Whether a znode exists.
    Exists {
        /// The znode.
        path: String,
    },
    /// The names of a znode's children.
    Children {
        /// The znode.
        path: String,
    },
    /// A new value, at this version or at any.
    Set {
        /// The register.
        path: String,
        /// The value.
        token: u64,
        /// The version demanded.
        expected: Option<i32>,
    },
    /// A new value for several registers, all or none.
    Multi {
        /// The registers.
        paths: Vec<String>,
        /// The value.
        token: u64,
        /// The version demanded of the last of them, so that parts stand before the one that fails.
        expected: Option<i32>,
    },
    /// An ephemeral znode under one that is always there. Its path is used once in a history; a sequential one gets its number from
    /// the ensemble.
    Create {
        /// The path, without the number.
        path: String,
        /// Whether it gets a number.
        sequential: bool,
    },
    /// The end of an ephemeral znode, at whatever version.
    Delete {
        /// The znode.
        path: String,
    },
    /// To see all that was committed before.
    Sync,
    /// The end of the session.
    Close,
}

/// What a client was told of a znode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Seen {
    /// The transaction that created it.
    pub czxid: i64,
    /// The transaction that last changed its data.
    pub mzxid: i64,
    /// How often its data changed.
    pub version: i32,
}

/// The ends that a request can come to, besides its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such znode.
    NoNode,
    /// The znode has another version.
    BadVersion,
    /// The znode exists already.
    NodeExists,
    /// The session is over or has moved.
    Session,
    /// Anything else.
    Other,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; nothing more to say.
    Done,
    /// A register's value.
    Value(u64, Seen),
    /// A znode stands so.
    Stands(Seen),
    /// The names of children.
    Names(Vec<String>),
    /// The final path of a created znode.
    Created(String, Seen),
    /// The parts of a `multi`.
    Parts(Vec<Seen>),
    /// It did not happen.
    Refused(Refusal),
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The result.
    pub outcome: Outcome,
    /// The transaction at which the server stood; the operation's own if it writes.
    pub zxid: i64,
    /// The request's number in its session.
    pub xid: i32,
    /// Its place among all answers and events of the session.
    pub arrival: u64,
    /// Whether the client watches what it has read.
    pub watched: bool,
}

/// A watch event as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// The transaction it names.
    pub zxid: i64,
    /// Its place among all answers and events of the session.
    pub arrival: u64,
}

#[derive(Clone, Debug)]
enum End {
    Answered(Answer),
    /// It was never sent.
    NotDone,
}

#[derive(Clone, Debug)]
struct Op {
    session: SessionKey,
    ask: Ask,
    began: u64,
    asked_at: SimTime,
    /// When it ended, or else began.
    at: SimTime,
    /// Absent: nobody knows whether it happened.
    ended: Option<(u64, End)>,
    fired: Vec<Fired>,
}

impl Op {
    fn answer(&self) -> Option<(u64, &Answer)> {
        match &self.ended {
            Some((at, End::Answered(answer))) => Some((*at, answer)),
            _ => None,
        }
    }

    fn writes(&self) -> bool {
        !matches!(self.ask, Ask::Get { .. } | Ask::Exists { .. } | Ask::Children { .. } | Ask::Sync)
    }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    at: SimTime,
    session: SessionKey,
    fence: u64,
    zxid: i64,
}

/// Everything the clients asked and were told, in the order in which it happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    ops: Vec<Op>,
    /// The client of each session.
    sessions: Vec<u32>,
    holds: Vec<Hold>,
    clock: u64,
    settled: Option<u64>,
}

impl History {
    /// A client begins a session; its earlier ones are over, or will be when their time-out has passed.
    pub fn session_began(&mut self, client: u32) -> SessionKey {
        self.sessions.push(client);
        SessionKey(self.sessions.len() - 1)
    }

    /// A client asks something. Until more is told, nobody knows how that ends.
    pub fn asked(&mut self, at: SimTime, session: SessionKey, ask: Ask) -> OpKey {
        let began = self.tick();
        self.ops.push(Op { session, ask, began, asked_at: at, at, ended: None, fired: Vec::new() });
        OpKey(self.ops.len() - 1)
    }

    /// A client is answered.
    pub fn answered(&mut self, at: SimTime, op: OpKey, answer: Answer) {
        self.end(at, op, End::Answered(answer));
    }

    /// An operation was never sent: it did not happen.
    pub fn not_done(&mut self, at: SimTime, op: OpKey) {
        self.end(at, op, End::NotDone);
    }

    fn end(&mut self, at: SimTime, op: OpKey, end: End) {
        let ended = self.tick();
        let op = &mut self.ops[op.0];
        op.at = at;
        op.ended = Some((ended, end));
    }

    /// The watch that a read had set fires.
    pub fn fired(&mut self, read: OpKey, fired: Fired) {
        self.ops[read.0].fired.push(fired);
    }

    /// A session's client held the lock with this fencing number at this transaction.
    pub fn held(&mut self, at: SimTime, session: SessionKey, fence: u64, zxid: i64) {
        self.holds.push(Hold { at, session, fence, zxid });
    }

    /// Everything has had time to come to rest. What is asked from now on is the reading back.
    pub fn settled(&mut self) {
        self.settled = Some(self.tick());
    }

    /// How many operations were begun, and how many have an end.
    pub fn counts(&self) -> (u64, u64) {
        let ended = self.ops.iter().filter(|op| op.ended.is_some()).count();
        (self.ops.len() as u64, ended as u64)
    }

    /// What clients experienced, before everything came to rest: a refusal is an answer, too.
    pub fn requests(&self) -> Vec<Request> {
        let end = self.settled.unwrap_or(u64::MAX);
        let request = |op: &Op| Request {
            asked: op.asked_at,
            ended: op.ended.is_some().then_some(op.at),
            served: op.answer().is_some(),
        };
        self.ops.iter().filter(|op| op.began < end).map(request).collect()
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// All operations that were answered.
    fn answers(&self) -> impl Iterator<Item = (OpKey, &Op, u64, &Answer)> {
        let answered = |(at, op): (usize, _)| {
            let op: &Op = op;
            op.answer().map(|(ended, answer)| (OpKey(at), op, ended, answer))
        };
        self.ops.iter().enumerate().filter_map(answered)
    }

    /// The answers of each session, in the order of the requests' numbers.
    fn by_session(&self) -> Vec<Vec<(OpKey, &Op, &Answer)>> {
        let mut sessions = vec![Vec::new(); self.sessions.len()];
        for (key, op, _, answer) in self.answers() {
            sessions[op.session.0].push((key, op, answer));
        }
        sessions.iter_mut().for_each(|ops| ops.sort_by_key(|(_, _, answer)| answer.xid));
        sessions
    }

    fn is_final(&self, op: &Op) -> bool {
        self.settled.is_some_and(|settled| settled < op.began)
    }

    /// For people: who asked what, and what came of it.
    fn show(&self, key: OpKey) -> String {
        format!("{} {}", self.who(self.ops[key.0].session), self.deed(key))
    }

    /// The same, where it is clear who.
    fn deed(&self, key: OpKey) -> String {
        let op = &self.ops[key.0];
        let end = match &op.ended {
            Some((_, End::Answered(answer))) => format!("{} at {}", answer.outcome, Shown(answer.zxid)),
            Some((_, End::NotDone)) => "not sent".to_owned(),
            None => "no answer".to_owned(),
        };
        format!("{}: {end}", op.ask)
    }

    /// For people: the client and its session.
    fn who(&self, session: SessionKey) -> String {
        format!("client-{}#{}", self.sessions[session.0], session.0)
    }

    /// When an operation ended, or else began.
    fn at(&self, key: OpKey) -> SimTime {
        self.ops[key.0].at
    }
}

/// A value, for people: its first digits tell it from others.
struct Token(u64);

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 32 {
            0 => write!(out, "{:x}", self.0),
            first => write!(out, "{first:08x}"),
        }
    }
}

/// The last part of a path, for people.
fn name(path: &str) -> &str {
    &path[path.rfind('/').map_or(0, |at| at + 1)..]
}

impl fmt::Display for Ask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { path } => write!(out, "get {}", name(path)),
            Self::Exists { path } => write!(out, "exists {}", name(path)),
            Self::Children { path } => write!(out, "children {}", name(path)),
            Self::Set { path, token, expected: None } => write!(out, "set {}={}", name(path), Token(*token)),
            Self::Set { path, token, expected: Some(version) } => {
                write!(out, "set {}={} on {version}", name(path), Token(*token))
            }
            Self::Multi { paths, token, expected } => {
                let names: Vec<&str> = paths.iter().map(|path| name(path)).collect();
                write!(out, "set {}={}", names.join(","), Token(*token))?;
                expected.map_or(Ok(()), |version| write!(out, " on {version}"))
            }
            Self::Create { path, .. } => write!(out, "create {}", name(path)),
            Self::Delete { path } => write!(out, "delete {}", name(path)),
            Self::Sync => out.write_str("sync"),
            Self::Close => out.write_str("close"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "version {} of {}", self.version, Shown(self.mzxid))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => out.write_str("done"),
            Self::Value(token, seen) => write!(out, "{}, {seen}", Token(*token)),
            Self::Stands(seen) => write!(out, "{seen}"),
            Self::Names(names) => write!(out, "{} names", names.len()),
            Self::Created(path, _) => write!(out, "created {}", name(path)),
            Self::Parts(parts) => {
                let versions: Vec<String> = parts.iter().map(|seen| seen.version.to_string()).collect();
                write!(out, "versions {}", versions.join(","))
            }
            Self::Refused(refusal) => write!(out, "{refusal:?}"),
        }
    }
}

/// A zxid, for people.
struct Shown(i64);

impl fmt::Display for Shown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "z{}.{}", self.0 >> 32, self.0 as u32)
    }
}

/// What the history shows (invariants S1 to S6, S8 and S11 of an ensemble).
pub fn check(history: &History) -> Vec<Check> {
    let lives = lives::Lives::new(history);
    let mut checks = order::check(history);
    checks.extend(sessions::check(history));
    checks.extend(watches::check(history, &lives));
    checks.extend(lives::check(history, &lives));
    checks
}

#[cfg(test)]
mod stories {
    //! Histories written by hand, for the tests of the checks.

    use super::*;

    /// The `counter`th transaction of the first epoch.
    pub(super) fn z(counter: i64) -> i64 {
        (1 << 32) + counter
    }

    pub(super) fn get(path: &str) -> Ask {
        Ask::Get { path: path.to_owned() }
    }

    pub(super) fn set(path: &str, token: u64, expected: Option<i32>) -> Ask {
        Ask::Set { path: path.to_owned(), token, expected }
    }

    pub(super) fn seen(czxid: i64, mzxid: i64, version: i32) -> Seen {
        Seen { czxid: z(czxid), mzxid: z(mzxid), version }
    }

    /// A story of several sessions: each operation is numbered and answered at once.
    #[derive(Default)]
    pub(super) struct Story {
        pub(super) history: History,
        xid: i32,
    }

    impl Story {
        pub(super) fn session(&mut self, client: u32) -> SessionKey {
            self.history.session_began(client)
        }

        pub(super) fn answer(&mut self, op: OpKey, outcome: Outcome, zxid: i64) {
            self.xid += 1;
            let (xid, arrival) = (self.xid, self.xid as u64 * 10);
            self.history.answered(
                self.time(),
                op,
                Answer { outcome, zxid: z(zxid), xid, arrival, watched: false },
            );
        }

        pub(super) fn does(&mut self, session: SessionKey, ask: Ask, outcome: Outcome, zxid: i64) -> OpKey {
            let op = self.asks(session, ask);
            self.answer(op, outcome, zxid);
            op
        }

        /// Asks something that is not answered yet.
        pub(super) fn asks(&mut self, session: SessionKey, ask: Ask) -> OpKey {
            self.history.asked(self.time(), session, ask)
        }

        pub(super) fn holds(&mut self, session: SessionKey, fence: u64, zxid: i64) {
            self.history.held(self.time(), session, fence, zxid);
        }

        /// Each answer takes a second.
        fn time(&self) -> SimTime {
            SimTime::from_nanos(self.xid as u64 * 1_000_000_000)
        }

        pub(super) fn watches(
            &mut self,
            session: SessionKey,
            ask: Ask,
            outcome: Outcome,
            zxid: i64,
        ) -> OpKey {
            let op = self.does(session, ask, outcome, zxid);
            if let Some((_, End::Answered(answer))) = &mut self.history.ops[op.0].ended {
                answer.watched = true;
            }
            op
        }

        /// The place right after the last answer.
        pub(super) fn now(&self) -> u64 {
            self.xid as u64 * 10 + 1
        }

        pub(super) fn broken(&self) -> Vec<&'static str> {
            let checks = check(&self.history);
            assert!(checks.iter().all(|check| check.violations <= check.looked_at), "{checks:#?}");
            checks.into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
        }
    }

    #[test]
    fn a_history_without_fault_passes_every_check() {
        let mut story = Story::default();
        let (one, two) = (story.session(1), story.session(2));
        story.does(one, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 1);
        let watch = story.watches(two, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 1);
        story.does(one, set("/r", 7, Some(0)), Outcome::Stands(seen(1, 2, 1)), 2);
        story.does(one, set("/r", 8, Some(0)), Outcome::Refused(Refusal::BadVersion), 3);
        let fired = Fired { zxid: z(2), arrival: story.now() };
        story.history.fired(watch, fired);
        story.does(two, get("/r"), Outcome::Value(7, seen(1, 2, 1)), 3);
        let both = Ask::Multi { paths: vec!["/r".into(), "/q".into()], token: 9, expected: Some(0) };
        story.does(two, both, Outcome::Parts(vec![seen(1, 4, 2), seen(1, 4, 1)]), 4);
        story.does(one, Ask::Sync, Outcome::Done, 4);
        story.does(one, get("/q"), Outcome::Value(9, seen(1, 4, 1)), 4);
        // A stale read of a session that has seen nothing newer is legal.
        let late = story.session(3);
        story.does(late, get("/r"), Outcome::Value(7, seen(1, 2, 1)), 3);
        assert_eq!(story.broken(), Vec::<&str>::new());
        assert!(check(&story.history).iter().any(|check| 0 < check.looked_at));
    }
}
