//! The leader's book of sessions: who was heard of when, and who has expired. Only the leader decides that a session is over.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::MonoTime;
use crate::systems::coordination::zxid::{ServerId, SessionId};

/// The sessions of an ensemble, as its leader sees them. Time-outs are rounded up to the tick, so that many end together.
#[derive(Debug)]
pub struct SessionTracker {
    tick: Duration,
    sessions: BTreeMap<SessionId, Tracked>,
}

#[derive(Debug)]
struct Tracked {
    time_out: Duration,
    deadline: MonoTime,
    owner: Option<ServerId>,
    /// Its end is proposed, but not committed: it is touched no more.
    closing: bool,
}

impl SessionTracker {
    /// An empty book.
    pub fn new(tick: Duration) -> Self {
        Self { tick, sessions: BTreeMap::new() }
    }

    /// Notes a session with its time-out in milliseconds. A new leader gives every session a full time-out from `now`.
    pub fn add(&mut self, session: SessionId, time_out: i32, now: MonoTime) {
        let time_out = Duration::from_millis(u64::try_from(time_out).unwrap_or(0));
        let deadline = self.round_up(now + time_out);
        self.sessions.entry(session).or_insert(Tracked { time_out, deadline, owner: None, closing: false });
    }

    /// Whether the session is known and not about to end.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|tracked| !tracked.closing)
    }

    /// Whether the session is known.
    pub fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// The session was heard of.
    pub fn touch(&mut self, session: SessionId, now: MonoTime) {
        let tick = self.tick;
        if let Some(tracked) = self.sessions.get_mut(&session)
            && !tracked.closing
        {
            let deadline = round_up(now + tracked.time_out, tick);
            tracked.deadline = tracked.deadline.max(deadline);
        }
    }

    /// The session talks through this server now. True if this leader has it from its predecessor, and had not heard of it before.
    pub fn set_owner(&mut self, session: SessionId, owner: ServerId) -> bool {
        let tracked = self.sessions.get_mut(&session);
        tracked.is_some_and(|tracked| tracked.owner.replace(owner).is_none())
    }

    /// Whether a request of the session through this server is stale, because the session has moved to another.
    pub fn has_moved(&self, session: SessionId, server: ServerId) -> bool {
        let owner = self.sessions.get(&session).and_then(|tracked| tracked.owner);
        owner.is_some_and(|owner| owner != server)
    }

    /// The sessions that have expired by `now`; each is named once.
    pub fn expire(&mut self, now: MonoTime) -> Vec<SessionId> {
        let expired: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, tracked)| !tracked.closing && tracked.deadline <= now)
            .map(|(session, _)| *session)
            .collect();
        expired.iter().for_each(|session| self.set_closing(*session));
        expired
    }

    /// The session's end is proposed.
    pub fn set_closing(&mut self, session: SessionId) {
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.closing = true;
        }
    }

    /// The session's end is committed.
    pub fn remove(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    fn round_up(&self, deadline: MonoTime) -> MonoTime {
        round_up(deadline, self.tick)
    }
}

fn round_up(deadline: MonoTime, tick: Duration) -> MonoTime {
    let tick = tick.as_nanos() as u64;
    MonoTime::from_nanos(deadline.as_nanos().div_ceil(tick) * tick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_session_expires_once_and_a_touched_one_lives() {
        let at = |millis| MonoTime::ZERO + Duration::from_millis(millis);
        let (silent, touched) = (SessionId::new(1), SessionId::new(2));
        let mut tracker = SessionTracker::new(Duration::from_millis(100));
        tracker.add(silent, 1000, at(50));
        tracker.add(touched, 1000, at(50));
        tracker.touch(touched, at(900));
        assert_eq!(tracker.expire(at(1099)), vec![], "1050 ms are rounded up to the tick");
        assert_eq!(tracker.expire(at(1100)), vec![silent]);
        assert_eq!(tracker.expire(at(1101)), vec![], "named once");
        tracker.touch(silent, at(1102));
        assert!(!tracker.is_open(silent), "a touch does not call a closing session back");
        assert!(tracker.is_open(touched));
        assert_eq!(tracker.expire(at(1900)), vec![touched]);
    }
}
