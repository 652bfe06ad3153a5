//! Agreement among the servers of a coordination ensemble: one order of transactions, one state at each, one leader an epoch.
//!
//! Memory follows the number of transactions, not of servers: of each transaction one digest is kept, and who told it first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::{MonoTime, SimTime};
use crate::checkers::{Check, by_time};

/// What servers said of themselves. A zxid is an epoch in its upper and a counter in its lower 32 bits.
#[derive(Debug)]
pub struct History {
    /// The state's digest after each transaction, and the first server to tell it.
    digests: BTreeMap<i64, (u64, u8)>,
    /// The leader established in each epoch, and the last transaction of the history it began with.
    leaders: BTreeMap<u32, (u8, i64)>,
    /// The last transaction each server applied since it last began to serve.
    last: BTreeMap<u8, i64>,
    /// The last transaction that was committed in each epoch, or held by the quorum with which it began.
    committed: BTreeMap<u32, i64>,
    /// The last transaction that each server has said to be on its disk, and that nobody has had it remove.
    acknowledged: BTreeMap<u8, i64>,
    /// When each leader last heard of each session, by its own clock, and the session's time-out.
    heard: BTreeMap<(u8, i64), (MonoTime, Duration)>,
    /// The sessions that have begun and whose end no leader has decided on.
    living: BTreeSet<i64>,
    agreement: Check,
    order: Check,
    leadership: Check,
    durability: Check,
    disks: Check,
    damage: Check,
    orphans: Check,
    expiry: Check,
    survival: Check,
}

impl Default for History {
    fn default() -> Self {
        Self {
            digests: BTreeMap::new(),
            leaders: BTreeMap::new(),
            last: BTreeMap::new(),
            committed: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            heard: BTreeMap::new(),
            living: BTreeSet::new(),
            agreement: Check::new("servers have equal states at equal transactions"),
            order: Check::new("each server applies transactions in order, without holes"),
            leadership: Check::new("an epoch has one established leader"),
            durability: Check::new("a new leader holds every committed transaction"),
            disks: Check::new("a server that starts again holds all that it has acknowledged"),
            damage: Check::new("a server gives up what it holds only if its disk has lied"),
            orphans: Check::new("every ephemeral znode has a living session"),
            expiry: Check::new("no session expires before its leader has not heard of it for its time-out"),
            survival: Check::new("a leader knows every session that has begun and not ended"),
        }
    }
}

fn show(zxid: i64) -> String {
    format!("z{}.{}", zxid >> 32, zxid as u32)
}

fn host(server: u8) -> String {
    format!("coordination-{server}")
}

impl History {
    /// A server has applied a committed transaction.
    pub fn committed(&mut self, at: SimTime, server: u8, zxid: i64, digest: u64) {
        self.held_by_quorum(at, zxid, (zxid >> 32) as u32);
        self.taken_over(at, server, zxid, digest);
    }

    /// What a quorum holds in an epoch. If that is told late, when the epoch is over, it must be in the history with which the next
    /// leader began.
    fn held_by_quorum(&mut self, at: SimTime, zxid: i64, epoch: u32) {
        let last = self.committed.entry(epoch).or_default();
        *last = zxid.max(*last);
        let Some((newer, (leader, began))) = self.leaders.range(epoch + 1..).next() else { return };
        self.durability.expect(zxid <= *began, at, || {
            let (leader, began) = (host(*leader), show(*began));
            format!("{leader} leads e{newer} from {began} on, but a quorum held {} in e{epoch}", show(zxid))
        });
    }

    /// A server has applied a transaction of its leader's history. It is not committed before a quorum holds all of that, which
    /// `established` tells: a leader that fails before may have had more than anybody else.
    pub fn taken_over(&mut self, at: SimTime, server: u8, zxid: i64, digest: u64) {
        if let Some(last) = self.last.insert(server, zxid) {
            let first_of_epoch = last >> 32 < zxid >> 32 && zxid as u32 == 1;
            self.order.expect(zxid == last + 1 || first_of_epoch, at, || {
                format!("{} applied {} right after {}", host(server), show(zxid), show(last))
            });
        }
        self.compare(at, server, (zxid, digest), "applied");
    }

    fn compare(&mut self, at: SimTime, server: u8, (zxid, digest): (i64, u64), how: &str) {
        let (known, first) = *self.digests.entry(zxid).or_insert((digest, server));
        let other = || format!("{}: {} has another state than {} had", show(zxid), host(server), host(first));
        self.agreement.look_at(at, (known != digest).then(|| (how, other())));
    }

    /// A quorum holds the history of a new leader, which ends with `zxid`.
    ///
    /// A leader may hear that late, when its followers have left it for another: an acknowledgement that a network partition has held up
    /// arrives all the same. It will commit nothing.
    pub fn established(&mut self, at: SimTime, server: u8, epoch: u32, zxid: i64) {
        let other = self.leaders.insert(epoch, (server, zxid)).map(|(other, _)| other);
        let fault = other.map(|other| format!("{} and {} both lead e{epoch}", host(other), host(server)));
        self.leadership.look(at, fault);
        let max = self.committed.range(..epoch).map(|(_, last)| *last).max().unwrap_or(0);
        self.durability.expect(max <= zxid, at, || {
            format!("{} leads e{epoch} from {} on, but {} was committed", host(server), show(zxid), show(max))
        });
        self.held_by_quorum(at, zxid, epoch);
    }

    /// A server begins to serve at this state, recovered or copied.
    pub fn restored(&mut self, at: SimTime, server: u8, zxid: i64, digest: u64) {
        self.last.insert(server, zxid);
        self.compare(at, server, (zxid, digest), "recovered or copied");
    }

    /// A server says that all up to here is on its disk.
    pub fn acknowledged(&mut self, server: u8, zxid: i64) {
        let last = self.acknowledged.entry(server).or_default();
        *last = zxid.max(*last);
    }

    /// A leader has a server remove all after this from its disk.
    pub fn truncated(&mut self, server: u8, zxid: i64) {
        self.acknowledged.entry(server).and_modify(|last| *last = zxid.min(*last));
    }

    /// A server has found this much on its disk; `None`: it is a new one, with nothing on it.
    pub fn recovered(&mut self, at: SimTime, server: u8, zxid: Option<i64>) {
        let Some(zxid) = zxid else {
            self.acknowledged.remove(&server);
            return;
        };
        let acknowledged = self.acknowledged.get(&server).copied().unwrap_or(0);
        self.disks.expect(acknowledged <= zxid, at, || {
            format!("{} has {}, and had acknowledged {}", host(server), show(zxid), show(acknowledged))
        });
    }

    /// A server gives up all that it holds, because this file is damaged. Its disk may have lied.
    pub fn gave_up(&mut self, at: SimTime, server: u8, file: &str, lied: bool) {
        self.damage.expect(lied, at, || {
            format!("{} finds {file} damaged, on a disk that kept its word", host(server))
        });
    }

    /// The ephemeral znodes without a session in a server's state.
    pub fn orphans(&mut self, at: SimTime, server: u8, zxid: i64, orphans: &[String]) {
        self.orphans.expect(orphans.is_empty(), at, || {
            let more = orphans.len() - 1;
            format!("{} at {}: {} and {more} more", host(server), show(zxid), orphans[0])
        });
    }

    /// A leader takes a session into its books, when its clock shows this: the session begins, or the leader does.
    pub fn session_kept(&mut self, shown: MonoTime, leader: u8, session: i64, time_out: Duration) {
        self.heard.insert((leader, session), (shown, time_out));
    }

    /// A session has begun: a quorum holds that, so that every later leader knows it.
    pub fn session_begun(&mut self, session: i64) {
        self.living.insert(session);
    }

    /// A session has asked for its end.
    pub fn session_closed(&mut self, session: i64) {
        self.living.remove(&session);
    }

    /// A leader tells a client that its session is over. One that does not know yet that it was replaced need not know the sessions of
    /// its successors.
    pub fn session_refused(&mut self, at: SimTime, leader: u8, session: i64) {
        let newest = self.leaders.last_key_value().map(|(_, (newest, _))| *newest);
        if newest == Some(leader) {
            self.survival.expect(!self.living.contains(&session), at, || {
                format!("{} refused session {session:#x}, which had not ended", host(leader))
            });
        }
    }

    /// A leader has heard of a session, when its clock shows this.
    pub fn session_heard(&mut self, shown: MonoTime, leader: u8, session: i64) {
        if let Some((heard, _)) = self.heard.get_mut(&(leader, session)) {
            *heard = shown;
        }
    }

    /// A leader declares a session over because it has not heard of it. A time-out is measured by the leader's own clock: one that runs
    /// fast ends sessions early by true time, and is within its rights.
    pub fn session_expired(&mut self, (at, shown): (SimTime, MonoTime), leader: u8, session: i64) {
        self.living.remove(&session);
        let fault = match self.heard.remove(&(leader, session)) {
            None => Some((
                "another's session",
                format!("{} expired session {session:#x}, which is none of its", host(leader)),
            )),
            Some((heard, time_out)) if shown < heard + time_out => Some((
                "too early",
                format!(
                    "{} expired session {session:#x}, of which it had heard {:?} before by its clock: time-out {time_out:?}",
                    host(leader),
                    shown.since(heard)
                ),
            )),
            Some(_) => None,
        };
        self.expiry.look_at(at, fault);
    }
}

/// What the history shows: agreement (S9), order and contiguity (S10), one leader an epoch (S10), durability (S8), what is on disks,
/// ephemerals (S6), expiry and survival of sessions (S7).
pub fn check(history: &History) -> Vec<Check> {
    let History {
        agreement, order, leadership, durability, disks, damage, orphans, expiry, survival, ..
    } = history;
    let checks = [agreement, order, leadership, durability, disks, damage, orphans, expiry, survival];
    by_time(checks.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SimTime {
        SimTime::ZERO + Duration::from_secs(second)
    }

    fn shown(second: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(second)
    }

    fn broken(tell: impl FnOnce(&mut History)) -> Vec<&'static str> {
        let mut history = History::default();
        history.established(at(1), 1, 1, 0);
        history.restored(at(1), 1, 0, 7);
        history.committed(at(2), 1, 1 << 32 | 1, 11);
        history.committed(at(3), 1, 1 << 32 | 2, 12);
        tell(&mut history);
        check(&history).into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
    }

    #[test]
    fn each_broken_promise_is_seen_and_a_good_history_passes() {
        assert_eq!(
            broken(|history| {
                history.restored(at(9), 2, 0, 7);
                history.committed(at(9), 2, 1 << 32 | 1, 11);
                history.established(at(9), 2, 2, 1 << 32 | 2);
                history.restored(at(9), 2, 1 << 32 | 2, 12);
                history.committed(at(9), 2, 2 << 32 | 1, 13);
                history.orphans(at(9), 2, 2 << 32 | 1, &[]);
            }),
            Vec::<&str>::new()
        );
        assert_eq!(
            broken(|h| {
                h.restored(at(9), 2, 1 << 32 | 2, 12);
                h.taken_over(at(9), 2, 1 << 32 | 3, 13);
                h.established(at(9), 1, 2, 1 << 32 | 2);
            }),
            Vec::<&str>::new(),
            "what a leader without a quorum has handed on is not committed"
        );
        assert_eq!(
            broken(|h| h.restored(at(9), 2, 1 << 32 | 2, 99)),
            ["servers have equal states at equal transactions"]
        );
        assert_eq!(
            broken(|h| h.committed(at(9), 1, 1 << 32 | 4, 14)),
            ["each server applies transactions in order, without holes"]
        );
        assert_eq!(
            broken(|h| h.established(at(9), 2, 1, 1 << 32 | 2)),
            ["an epoch has one established leader"]
        );
        assert_eq!(
            broken(|h| h.established(at(9), 2, 2, 1 << 32 | 1)),
            ["a new leader holds every committed transaction"]
        );
        assert_eq!(
            broken(|h| {
                h.established(at(9), 2, 3, 1 << 32 | 2);
                h.established(at(9), 1, 2, 1 << 32 | 2);
            }),
            Vec::<&str>::new(),
            "a leader that hears late that it was one harms nobody"
        );
        assert_eq!(
            broken(|h| {
                h.established(at(8), 2, 3, 1 << 32 | 2);
                h.established(at(9), 1, 2, 1 << 32 | 3);
            }),
            ["a new leader holds every committed transaction"]
        );
        assert_eq!(
            broken(|h| {
                h.established(at(8), 2, 3, 1 << 32 | 2);
                h.established(at(9), 1, 2, 1 << 32 | 1);
            }),
            ["a new leader holds every committed transaction"],
            "it lacks what was committed before it, however late that is told"
        );
        assert_eq!(
            broken(|h| {
                h.established(at(8), 2, 2, 1 << 32 | 2);
                h.committed(at(9), 1, 1 << 32 | 3, 13);
            }),
            ["a new leader holds every committed transaction"]
        );
        assert_eq!(
            broken(|h| {
                h.acknowledged(2, 1 << 32 | 2);
                h.recovered(at(9), 2, Some(1 << 32 | 1));
            }),
            ["a server that starts again holds all that it has acknowledged"]
        );
        assert_eq!(
            broken(|h| {
                h.acknowledged(2, 1 << 32 | 2);
                h.truncated(2, 1 << 32 | 1);
                h.recovered(at(9), 2, Some(1 << 32 | 1));
                h.acknowledged(2, 1 << 32 | 2);
                h.recovered(at(9), 2, None);
                h.recovered(at(9), 2, Some(0));
            }),
            Vec::<&str>::new()
        );
        assert_eq!(broken(|h| h.gave_up(at(9), 1, "/data/0/log.1", true)), Vec::<&str>::new());
        assert_eq!(
            broken(|h| h.gave_up(at(9), 1, "/data/0/log.1", false)),
            ["a server gives up what it holds only if its disk has lied"]
        );
        assert_eq!(
            broken(|h| h.orphans(at(9), 1, 1, &["/a".into()])),
            ["every ephemeral znode has a living session"]
        );
    }

    #[test]
    fn a_session_that_expires_before_its_time_is_seen() {
        let expired = |heard: u64, at_leader: u8| {
            broken(|h| {
                h.session_kept(shown(101), 1, 77, Duration::from_secs(4));
                h.session_heard(shown(heard), at_leader, 77);
                h.session_expired((at(10), shown(110)), 1, 77);
            })
        };
        let name = "no session expires before its leader has not heard of it for its time-out";
        assert_eq!(expired(106, 1), Vec::<&str>::new());
        assert_eq!(expired(107, 1), [name]);
        assert_eq!(expired(107, 2), Vec::<&str>::new(), "what another leader has heard does not count");
        assert_eq!(broken(|h| h.session_expired((at(10), shown(110)), 1, 78)), [name]);
    }

    #[test]
    fn a_session_that_is_forgotten_is_seen() {
        let refused = |end: fn(&mut History), by: u8| {
            broken(|h| {
                h.session_kept(shown(101), 1, 77, Duration::from_secs(4));
                h.session_begun(77);
                end(h);
                h.established(at(9), 2, 2, 1 << 32 | 2);
                h.session_refused(at(10), by, 77);
            })
        };
        assert_eq!(refused(|_| {}, 2), ["a leader knows every session that has begun and not ended"]);
        assert_eq!(refused(|_| {}, 1), Vec::<&str>::new(), "it has been replaced");
        assert_eq!(refused(|h| h.session_closed(77), 2), Vec::<&str>::new());
        assert_eq!(refused(|h| h.session_expired((at(6), shown(106)), 1, 77), 2), Vec::<&str>::new());
        assert_eq!(broken(|h| h.session_refused(at(9), 1, 78)), Vec::<&str>::new(), "it never began");
    }
}
