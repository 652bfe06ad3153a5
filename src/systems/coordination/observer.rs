//! What servers tell whoever watches the run. Nothing a server does depends on it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::checkers::ensemble::History;
use crate::systems::coordination::database::Database;
use crate::systems::coordination::zxid::{PeerEpoch, ServerId, Zxid};

/// A notebook about an ensemble that servers only write into.
#[derive(Clone, Default)]
pub struct Observer(Rc<RefCell<History>>);

impl Observer {
    /// An observer that writes into this history.
    pub fn new(history: Rc<RefCell<History>>) -> Self {
        Self(history)
    }

    /// A server has applied a committed transaction; its state's digest is this now.
    pub fn committed(&self, server: ServerId, zxid: Zxid, digest: u64) {
        self.0.borrow_mut().committed(server.get(), zxid.get(), digest);
    }

    /// A server has applied a transaction of the history that a leader hands on.
    pub fn taken_over(&self, server: ServerId, zxid: Zxid, digest: u64) {
        self.0.borrow_mut().taken_over(server.get(), zxid.get(), digest);
    }

    /// A quorum holds the history of a new leader, which ends with `zxid`.
    pub fn established(&self, server: ServerId, epoch: PeerEpoch, zxid: Zxid) {
        self.0.borrow_mut().established(server.get(), epoch.get(), zxid.get());
    }

    /// A server begins to serve at this state.
    pub fn restored(&self, server: ServerId, database: &Database) {
        let zxid = database.last();
        self.0.borrow_mut().restored(server.get(), zxid.get(), database.digest());
        self.orphans(server, zxid, database.orphans().collect());
    }

    /// All up to here is on a server's disk, as it tells its leader or counts for itself.
    pub fn acknowledged(&self, server: ServerId, zxid: Zxid) {
        self.0.borrow_mut().acknowledged(server.get(), zxid.get());
    }

    /// A server is about to remove all after this from its disk.
    pub fn truncated(&self, server: ServerId, zxid: Zxid) {
        self.0.borrow_mut().truncated(server.get(), zxid.get());
    }

    /// A server has read its disk; `None` if that has never been written.
    pub fn recovered(&self, server: ServerId, zxid: Option<Zxid>) {
        self.0.borrow_mut().recovered(server.get(), zxid.map(Zxid::get));
    }

    /// The ephemeral znodes without a session in a server's state.
    pub fn orphans(&self, server: ServerId, zxid: Zxid, orphans: Vec<String>) {
        self.0.borrow_mut().orphans(server.get(), zxid.get(), orphans);
    }
}
