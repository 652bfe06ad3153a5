//! What servers tell whoever watches the run. Nothing a server does depends on it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::checkers::ensemble::History;
use crate::systems::coordination::database::Database;
use crate::systems::coordination::zxid::{PeerEpoch, ServerId, SessionId, Zxid};
use crate::world::Host;

/// A notebook about an ensemble that one server only writes into.
#[derive(Clone)]
pub struct Observer {
    host: Host,
    server: ServerId,
    history: Rc<RefCell<History>>,
}

impl Observer {
    /// An observer of this server that writes into this history.
    pub fn new(host: &Host, server: ServerId, history: Rc<RefCell<History>>) -> Self {
        Self { host: host.clone(), server, history }
    }

    /// The server has applied a committed transaction; its state's digest is this now.
    pub fn committed(&self, zxid: Zxid, digest: u64) {
        self.history.borrow_mut().committed(self.host.true_time(), self.server.get(), zxid.get(), digest);
    }

    /// The server has applied a transaction of the history that a leader hands on.
    pub fn taken_over(&self, zxid: Zxid, digest: u64) {
        self.history.borrow_mut().taken_over(self.host.true_time(), self.server.get(), zxid.get(), digest);
    }

    /// A quorum holds the history of this new leader, which ends with `zxid`.
    pub fn established(&self, epoch: PeerEpoch, zxid: Zxid) {
        let (now, server) = (self.host.true_time(), self.server.get());
        self.history.borrow_mut().established(now, server, epoch.get(), zxid.get());
    }

    /// The server begins to serve at this state.
    pub fn restored(&self, database: &Database) {
        let (now, zxid) = (self.host.true_time(), database.last());
        self.history.borrow_mut().restored(now, self.server.get(), zxid.get(), database.digest());
        self.orphans(zxid, database.orphans().collect());
    }

    /// All up to here is on the server's disk, as it tells its leader or counts for itself.
    pub fn acknowledged(&self, zxid: Zxid) {
        self.history.borrow_mut().acknowledged(self.server.get(), zxid.get());
    }

    /// The server is about to remove all after this from its disk.
    pub fn truncated(&self, zxid: Zxid) {
        self.history.borrow_mut().truncated(self.server.get(), zxid.get());
    }

    /// The server has read its disk; `None` if that has never been written.
    pub fn recovered(&self, zxid: Option<Zxid>) {
        let (now, server) = (self.host.true_time(), self.server.get());
        self.history.borrow_mut().recovered(now, server, zxid.map(Zxid::get));
    }

    /// The server gives up all that it holds, because this file is damaged.
    pub fn gave_up(&self, file: &str) {
        let (now, server, lied) = (self.host.true_time(), self.server.get(), self.host.disk().has_lied());
        self.history.borrow_mut().gave_up(now, server, file, lied);
    }

    /// The ephemeral znodes without a session in the server's state.
    pub fn orphans(&self, zxid: Zxid, orphans: Vec<String>) {
        self.history.borrow_mut().orphans(self.host.true_time(), self.server.get(), zxid.get(), &orphans);
    }

    /// This leader takes a session with this time-out in milliseconds into its books.
    pub fn session_kept(&self, session: SessionId, time_out: i32) {
        let time_out = Duration::from_millis(u64::try_from(time_out).unwrap_or(0));
        let (shown, server) = (self.host.now(), self.server.get());
        self.history.borrow_mut().session_kept(shown, server, session.get(), time_out);
    }

    /// A session of this leader has begun for good: a quorum holds that.
    pub fn session_begun(&self, session: SessionId) {
        self.history.borrow_mut().session_begun(session.get());
    }

    /// A session has asked this leader for its end.
    pub fn session_closed(&self, session: SessionId) {
        self.history.borrow_mut().session_closed(session.get());
    }

    /// This leader tells a client that its session is over.
    pub fn session_refused(&self, session: SessionId) {
        self.history.borrow_mut().session_refused(self.host.true_time(), self.server.get(), session.get());
    }

    /// This leader has heard of a session.
    pub fn session_heard(&self, session: SessionId) {
        self.history.borrow_mut().session_heard(self.host.now(), self.server.get(), session.get());
    }

    /// This leader declares a session over because it has not heard of it.
    pub fn session_expired(&self, session: SessionId) {
        let now = (self.host.true_time(), self.host.now());
        self.history.borrow_mut().session_expired(now, self.server.get(), session.get());
    }
}
