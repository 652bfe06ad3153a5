//! Following: promising a leader its epoch, taking over its history, logging what it proposes and applying what it commits.
//!
//! Promises: `Ack` of the new leader is sent only once its whole history is durable here; `Ack` of a proposal only once that is;
//! transactions are applied in order and only when committed.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::base::MonoTime;
use crate::systems::coordination::Ended;
use crate::systems::coordination::database::Database;
use crate::systems::coordination::journal::Journal;
use crate::systems::coordination::leader::QUORUM_PORT;
use crate::systems::coordination::message::{ToFollower, ToLeader, decode, encode};
use crate::systems::coordination::service::{Errand, Event, Server, Service, write};
use crate::systems::coordination::snapshot;
use crate::systems::coordination::storage::{Storage, StorageError};
use crate::systems::coordination::txn::{Change, Txn};
use crate::systems::coordination::zxid::{PeerEpoch, ServerId, SessionId, Zxid};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::{Address, Connection, Level, Receiver, Sender, select};

/// A connection to the leader before the broadcast begins.
struct Quorum {
    sender: Sender,
    receiver: Receiver,
    server: Server,
    patience: Duration,
}

impl Quorum {
    async fn next(&mut self) -> Option<ToFollower> {
        let received = self.server.host.timeout(self.patience, self.receiver.recv()).await;
        decode(&received.ok()?.ok()?)
    }

    async fn send(&self, message: &ToLeader) -> Option<()> {
        let sending = self.sender.send(message.name(), encode(message));
        self.server.host.timeout(self.patience, sending).await.ok()?.ok()
    }
}

/// What the leader had this server take over.
struct Taken {
    epoch: PeerEpoch,
    database: Database,
    journal: Journal,
    /// Logged here, but not committed yet.
    outstanding: VecDeque<Txn>,
    /// Transactions that the known bugs Z01 and Z02 have not logged yet.
    unlogged: Vec<Txn>,
}

/// Follows a leader until it cannot.
///
/// # Errors
/// If the disk fails.
pub async fn follow(
    server: &Server,
    mut storage: Storage,
    database: Database,
    journal: Journal,
    leader: ServerId,
    needs_snapshot: bool,
) -> Result<Ended, StorageError> {
    let Some((_, address)) = server.servers.iter().find(|(other, _)| *other == leader) else {
        return Ok(Ended::because("voted for a stranger"));
    };
    let Some(quorum) = connect(server, Address { port: QUORUM_PORT, ..*address }).await else {
        return Ok(Ended::because(format!("{leader} does not answer")));
    };
    let mut quorum = quorum;
    let taken = match take_over(&mut quorum, &mut storage, database, journal, needs_snapshot).await? {
        Ok(taken) => taken,
        Err(ended) => return Ok(ended),
    };
    broadcast(server, storage, quorum, taken, leader).await
}

/// The leader may need a moment longer to know that it is one.
async fn connect(server: &Server, address: Address) -> Option<Quorum> {
    let deadline = server.host.now() + server.ticks(server.config.sync_limit);
    loop {
        let attempt =
            server.host.timeout(server.ticks(server.config.sync_limit), server.host.connect(address)).await;
        if let Ok(Ok(Connection { sender, receiver })) = attempt {
            let patience = server.ticks(server.config.init_limit);
            return Some(Quorum { sender, receiver, server: server.clone(), patience });
        }
        if deadline <= server.host.now() {
            return None;
        }
        server.host.sleep(server.ticks(1) / 2).await;
    }
}

async fn take_over(
    quorum: &mut Quorum,
    storage: &mut Storage,
    mut database: Database,
    mut journal: Journal,
    needs_snapshot: bool,
) -> Result<Result<Taken, Ended>, StorageError> {
    const LOST: &str = "the leader fell silent during synchronisation";
    let accepted = storage.epochs().accepted;
    let lost = || Ok(Err(Ended { needs_snapshot, ..Ended::because(LOST) }));
    let distrusted = storage.is_distrusted();
    let info = ToLeader::FollowerInfo { server: quorum.server.me, accepted, needs_snapshot, distrusted };
    if quorum.send(&info).await.is_none() {
        return lost();
    }
    let Some(ToFollower::LeaderInfo(epoch)) = quorum.next().await else { return lost() };
    // The promise counts once: an epoch that is accepted already may be another leader's.
    if epoch < accepted {
        crate::reached!("a leader of an old epoch was refused");
        return Ok(Err(Ended {
            needs_snapshot,
            ..Ended::because(format!("promised {accepted}, beyond {epoch}"))
        }));
    }
    let counts = accepted < epoch;
    if counts {
        storage.accept(epoch).await?;
        quorum.server.host.buggify_delay(&sites::EPOCH_ACCEPTED).await;
    }
    let current = storage.epochs().current;
    let promise = ToLeader::AckEpoch { current, last: journal_or_memory(&journal, &database), counts };
    if quorum.send(&promise).await.is_none() {
        return lost();
    }
    let mut received: VecDeque<Txn> = VecDeque::new();
    let mut to_log: Vec<Txn> = Vec::new();
    loop {
        let Some(message) = quorum.next().await else { return lost() };
        match message {
            ToFollower::Ping => {}
            ToFollower::Truncate(to) => {
                crate::reached!("a follower was told to truncate its log");
                quorum.server.observer.truncated(to);
                let before = journal.clone();
                let truncated = journal.truncate(to).await;
                if bug("Z11") && truncated.is_err() {
                    continue;
                }
                truncated?;
                quorum.server.host.buggify_delay(&sites::LOG_TRUNCATED).await;
                (database, journal) = storage.recover().await?;
                if bug("Z10") {
                    journal.append_behind(&before);
                }
                quorum.server.observer.restored(&database);
                if database.last() != to {
                    crate::reached!("a follower's log fitted its leader's nowhere");
                    let why = format!("holds {} where {to} was to be", database.last());
                    return Ok(Err(Ended { needs_snapshot: true, ..Ended::because(why) }));
                }
            }
            ToFollower::Snapshot(zxid, image) => {
                let Some(state) = snapshot::read(image.clone(), quorum.server.config.committed_log) else {
                    return lost();
                };
                database = state;
                quorum.server.observer.restored(&database);
                quorum.server.observer.truncated(zxid);
                storage.install(zxid, image).await?;
                let (_, fresh) = storage.recover().await?;
                journal = fresh;
            }
            ToFollower::Proposal(txn) => {
                received.push_back(txn.clone());
                to_log.push(txn);
            }
            ToFollower::Commit(zxid) => {
                while let Some(txn) = received.pop_front_if(|txn| txn.zxid <= zxid) {
                    apply(&quorum.server, &mut database, txn);
                }
            }
            ToFollower::NewLeader(zxid) => {
                if bug("Z03") {
                    adopt(storage, epoch).await?;
                }
                if !bug("Z01") && !bug("Z02") {
                    append(&mut journal, to_log.drain(..)).await?;
                }
                quorum.server.host.buggify_delay(&sites::HISTORY_LOGGED).await;
                if !bug("Z03") {
                    adopt(storage, epoch).await?;
                }
                let taken = received.back().map_or(database.last(), |txn| txn.zxid);
                quorum.server.observer.acknowledged(taken);
                quorum.server.host.buggify_delay(&sites::EPOCH_ADOPTED).await;
                if quorum.send(&ToLeader::Ack(zxid)).await.is_none() {
                    return lost();
                }
                crate::reached!("a follower acknowledged a new leader");
                return Ok(Ok(Taken { epoch, database, journal, outstanding: received, unlogged: to_log }));
            }
            _ => return lost(),
        }
    }
}

/// What a server says it holds. (The known bug Z06 speaks from memory, which may lack what the log has.)
fn journal_or_memory(journal: &Journal, database: &Database) -> Zxid {
    if bug("Z06") { database.last() } else { journal.last().max(database.last()) }
}

async fn adopt(storage: &mut Storage, epoch: PeerEpoch) -> Result<(), StorageError> {
    storage.adopt(epoch).await?;
    crate::reached!("a follower adopted its leader's epoch");
    Ok(())
}

async fn append(journal: &mut Journal, txns: impl Iterator<Item = Txn>) -> Result<(), StorageError> {
    for txn in txns {
        if journal.last() < txn.zxid {
            journal.append(&txn).await?;
        }
    }
    journal.sync().await
}

/// Applies a transaction of the leader's history, before anybody is served.
fn apply(server: &Server, database: &mut Database, txn: Txn) {
    crate::always!(
        txn.zxid.follows(database.last()),
        "a follower takes over a history without holes",
        "{} follows {}",
        txn.zxid,
        database.last()
    );
    if bug("Z12") && matches!(txn.change, Change::CreateSession { .. } | Change::CloseSession { .. }) {
        let sessions = database.sessions.clone();
        database.apply(&txn);
        database.sessions = sessions;
    } else {
        database.apply(&txn);
    }
    server.observer.taken_over(txn.zxid, database.digest());
    if !bug("Z04") {
        database.remember(txn);
    }
}

struct Follower {
    server: Server,
    service: Service<Option<ToFollower>>,
    out: mpsc::UnboundedSender<(&'static str, bytes::Bytes)>,
    outstanding: VecDeque<Txn>,
    touched: BTreeSet<SessionId>,
    heard: MonoTime,
    serving: bool,
    epoch: PeerEpoch,
    unlogged: Vec<Txn>,
}

async fn broadcast(
    server: &Server,
    storage: Storage,
    quorum: Quorum,
    taken: Taken,
    leader: ServerId,
) -> Result<Ended, StorageError> {
    let (events, mut inbox) = mpsc::unbounded_channel();
    let (out, frames) = mpsc::unbounded_channel();
    let Quorum { sender, mut receiver, .. } = quorum;
    let writing = server.host.spawn("quorum-out", write(sender, frames));
    let from_leader = events.clone();
    let reading = server.host.spawn("quorum-in", async move {
        while let Some(message) = receiver.recv().await.ok().and_then(|frame| decode(&frame)) {
            let _ = from_leader.send(Event::Peer(Some(message)));
        }
        let _ = from_leader.send(Event::Peer(None));
    });
    let mut follower = Follower {
        server: server.clone(),
        service: Service::begin(server, taken.database, taken.journal, storage, events),
        out,
        outstanding: taken.outstanding,
        touched: BTreeSet::new(),
        heard: server.host.now(),
        serving: false,
        epoch: taken.epoch,
        unlogged: taken.unlogged,
    };
    if bug("Z02") {
        std::mem::take(&mut follower.unlogged).into_iter().for_each(|txn| follower.service.log(txn));
    }
    // What was proposed but not committed is on disk with the rest.
    if let Some(last) = follower.outstanding.back() {
        follower.tell(&ToLeader::Ack(last.zxid));
    }
    let ended = follower.run(&mut inbox, leader).await;
    writing.abort();
    reading.abort();
    let database = (bug("Z06") || bug("Z04")).then(|| follower.service.desk.borrow().database.clone());
    ended.map(|why| Ended { database, ..Ended::because(why) })
}

impl Follower {
    async fn run(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Event<Option<ToFollower>>>,
        leader: ServerId,
    ) -> Result<String, StorageError> {
        let host = self.server.host.clone();
        loop {
            let limit =
                if self.serving { self.server.config.sync_limit } else { self.server.config.init_limit };
            let patience = self.heard + self.server.ticks(limit);
            select! {
                event = inbox.recv() => {
                    match event.expect("the follower holds a sender") {
                        Event::Connected(link, sender) => self.service.on_connected(link, sender),
                        Event::Frame(link, bytes) => {
                            let errands = self.service.on_frame(link, bytes);
                            self.run_errands(errands);
                        }
                        Event::Disconnected(link) => self.service.on_disconnected(link),
                        Event::Logged(zxid) => {
                            self.server.observer.acknowledged(zxid);
                            self.tell(&ToLeader::Ack(zxid));
                        }
                        Event::Failed(error) => return Err(error),
                        Event::Peer(Some(ToFollower::Trusted)) => {
                            crate::reached!("a distrusted coordination server was trusted again");
                            Storage::trust(&host.disk()).await?;
                            return Ok("it is trusted again".to_owned());
                        }
                        Event::Peer(Some(message)) => {
                            self.heard = host.now();
                            self.on_message(message, leader).await;
                        }
                        Event::Peer(None) => return Ok(format!("{leader} hung up")),
                    }
                }
                () = host.sleep_until(patience) => {
                    crate::reached!("a follower gave its silent leader up");
                    return Ok(format!("{leader} fell silent"));
                }
            }
        }
    }

    fn tell(&self, message: &ToLeader) {
        let _ = self.out.send((message.name(), encode(message)));
    }

    async fn on_message(&mut self, message: ToFollower, leader: ServerId) {
        match message {
            ToFollower::UpToDate => {
                std::mem::take(&mut self.unlogged).into_iter().for_each(|txn| self.service.log(txn));
                self.serving = true;
                {
                    let desk = self.service.desk.borrow();
                    let database = &desk.database;
                    self.server.observer.restored(database);
                    let host = &self.server.host;
                    host.log(Level::Info, || {
                        format!("follows {leader} in {} from {} on", self.epoch, database.last())
                    });
                }
                self.service.open().await;
            }
            ToFollower::Proposal(txn) => {
                self.outstanding.push_back(txn.clone());
                if bug("Z01") && !self.serving {
                    self.unlogged.push(txn);
                } else {
                    self.service.log(txn);
                }
            }
            ToFollower::Commit(zxid) => {
                while let Some(txn) = self.outstanding.pop_front_if(|txn| txn.zxid <= zxid) {
                    let last = self.service.desk.borrow().database.last();
                    crate::always!(
                        txn.zxid.follows(last),
                        "a follower applies transactions without holes",
                        "{} follows {last}",
                        txn.zxid
                    );
                    let errands = self.service.apply(txn).await;
                    self.run_errands(errands);
                }
            }
            ToFollower::Ping => {
                let touched = std::mem::take(&mut self.touched).into_iter().collect();
                self.tell(&ToLeader::Touched(touched));
            }
            ToFollower::Revalidated(session, time_out) => {
                self.service.desk.borrow_mut().on_revalidated(session, time_out);
                let errands = self.service.perform();
                self.run_errands(errands);
            }
            ToFollower::Synced(session, xid) => {
                self.service.desk.borrow_mut().on_synced(session, xid);
                let errands = self.service.perform();
                self.run_errands(errands);
            }
            ToFollower::LeaderInfo(_)
            | ToFollower::Truncate(_)
            | ToFollower::Snapshot(..)
            | ToFollower::NewLeader(_)
            | ToFollower::Trusted => {
                crate::always!(false, "a leader does not begin anew on an old connection");
            }
        }
    }

    fn run_errands(&mut self, errands: Vec<Errand>) {
        for errand in errands {
            match errand {
                Errand::Forward(forwarded) => self.tell(&ToLeader::Request(forwarded)),
                Errand::Revalidate(session) => self.tell(&ToLeader::Revalidate(session)),
                Errand::Sync(session, xid) => self.tell(&ToLeader::Sync(session, xid)),
                Errand::Touch(session) => {
                    self.touched.insert(session);
                }
                Errand::Send(..) | Errand::Close(_) => unreachable!("the service performs these itself"),
            }
        }
    }
}
