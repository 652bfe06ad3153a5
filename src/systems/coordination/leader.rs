//! Leading: discovery of a new epoch, synchronisation of the followers, and the broadcast of transactions (ZAB, phases 1 to 3).
//!
//! Promises: nothing is committed before a quorum has it on disk, in order; no client is served before a quorum holds the whole
//! history of this leader; an epoch has at most one leader that got so far.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::base::MonoTime;
use crate::systems::coordination::Ended;
use crate::systems::coordination::database::Database;
use crate::systems::coordination::journal::Journal;
use crate::systems::coordination::message::{
    Forwarded, ForwardedRequest, ToFollower, ToLeader, decode, encode,
};
use crate::systems::coordination::prepare::{Asked, Preparer, Proposal};
use crate::systems::coordination::service::{Errand, Event, Server, Service, write};
use crate::systems::coordination::session::SessionTracker;
use crate::systems::coordination::snapshot;
use crate::systems::coordination::storage::{Epochs, Storage, StorageError};
use crate::systems::coordination::txn::{Change, Txn};
use crate::systems::coordination::wire::{Code, Request};
use crate::systems::coordination::zxid::{PeerEpoch, ServerId, SessionId, Zxid};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::{Host, Level, Listener, select};

/// Where leaders hear followers.
pub const QUORUM_PORT: u16 = 2888;

type LearnerId = u64;

/// From a follower's connection.
enum FromLearner {
    Connected(LearnerId, mpsc::UnboundedSender<(&'static str, Bytes)>),
    Message(LearnerId, ToLeader),
    Gone(LearnerId),
}

/// How far a follower is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Connected,
    /// Waits for the new epoch.
    Informed,
    /// Has promised to follow and told what it holds; waits for the quorum.
    Promised {
        last: Zxid,
    },
    /// Is being sent the history.
    Synchronising,
    /// Holds it.
    Holding,
}

struct Learner {
    server: Option<ServerId>,
    out: mpsc::UnboundedSender<(&'static str, Bytes)>,
    stage: Stage,
    needs_snapshot: bool,
    /// It counts in no quorum.
    distrusted: bool,
    acked: Zxid,
    heard: MonoTime,
}

impl Learner {
    /// Whether it counts as one that holds the history.
    fn counts(&self) -> bool {
        self.stage == Stage::Holding && !self.distrusted
    }
}

struct Leader {
    server: Server,
    service: Service<FromLearner>,
    storage: Storage,
    epochs_before: Epochs,
    accepted: BTreeMap<ServerId, PeerEpoch>,
    promised: BTreeSet<ServerId>,
    epoch: Option<PeerEpoch>,
    synchronising: bool,
    learners: BTreeMap<LearnerId, Learner>,
    reign: Option<Reign>,
    abdicated: Option<String>,
}

/// An established leadership.
struct Reign {
    preparer: Preparer,
    sessions: SessionTracker,
    last_proposed: Zxid,
    logged: Zxid,
    outstanding: VecDeque<Txn>,
    /// Clients that wait until all proposed up to here is committed: the zxid, who is to be told, session and number.
    syncs: VecDeque<(Zxid, Option<LearnerId>, SessionId, i32)>,
}

/// Leads until it cannot.
///
/// # Errors
/// If the disk fails.
pub async fn lead(
    server: &Server,
    storage: Storage,
    database: Database,
    journal: Journal,
) -> Result<Ended, StorageError> {
    let (events, mut inbox) = mpsc::unbounded_channel();
    let listener = server.host.listen(QUORUM_PORT).await.expect("one role at a time listens");
    let accepting =
        server.host.spawn("quorum-listener", admit(server.host.clone(), listener, events.clone()));
    let epochs_before = storage.epochs();
    let mut leader = Leader {
        server: server.clone(),
        service: Service::begin(server, database, journal, storage.clone(), events),
        storage,
        epochs_before,
        accepted: BTreeMap::from([(server.me, epochs_before.accepted)]),
        promised: BTreeSet::from([server.me]),
        epoch: None,
        synchronising: false,
        learners: BTreeMap::new(),
        reign: None,
        abdicated: None,
    };
    let why = leader.run(&mut inbox).await;
    accepting.abort();
    let database = (bug("Z06") || bug("Z04")).then(|| leader.service.desk.borrow().database.clone());
    Ok(Ended { database, ..Ended::because(why?) })
}

impl Leader {
    async fn run(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Event<FromLearner>>,
    ) -> Result<String, StorageError> {
        let host = self.server.host.clone();
        let give_up = host.now() + self.server.ticks(self.server.config.init_limit);
        let half_tick = self.server.ticks(1) / 2;
        let mut tick = host.now() + half_tick;
        self.advance().await?;
        loop {
            select! {
                () = host.sleep_until(tick) => {
                    tick = host.now() + half_tick;
                    self.on_tick().await;
                }
                event = inbox.recv() => {
                    let event = event.expect("the leader holds a sender");
                    self.on_event(event).await?;
                }
            }
            self.advance().await?;
            if let Some(why) = self.abdicated.take() {
                return Ok(why);
            }
            if self.reign.is_none() && give_up <= host.now() {
                return Ok("no quorum followed in time".to_owned());
            }
        }
    }

    async fn on_event(&mut self, event: Event<FromLearner>) -> Result<(), StorageError> {
        match event {
            Event::Connected(link, sender) => self.service.on_connected(link, sender),
            Event::Frame(link, bytes) => {
                let errands = self.service.on_frame(link, bytes);
                self.run_errands(errands);
            }
            Event::Disconnected(link) => self.service.on_disconnected(link),
            Event::Logged(zxid) => {
                self.server.observer.acknowledged(zxid);
                if let Some(reign) = &mut self.reign {
                    reign.logged = zxid;
                }
                self.commit().await;
            }
            Event::Failed(error) => return Err(error),
            Event::Peer(FromLearner::Connected(id, out)) => {
                let heard = self.server.host.now();
                let learner = Learner {
                    server: None,
                    out,
                    stage: Stage::Connected,
                    needs_snapshot: false,
                    distrusted: false,
                    acked: Zxid::ZERO,
                    heard,
                };
                self.learners.insert(id, learner);
            }
            Event::Peer(FromLearner::Gone(id)) => {
                self.learners.remove(&id);
            }
            Event::Peer(FromLearner::Message(id, message)) => self.on_message(id, message).await,
        }
        Ok(())
    }

    async fn on_message(&mut self, id: LearnerId, message: ToLeader) {
        let now = self.server.host.now();
        let Some(learner) = self.learners.get_mut(&id) else { return };
        learner.heard = now;
        match message {
            ToLeader::FollowerInfo { server, accepted, needs_snapshot, distrusted } => {
                learner.server = Some(server);
                learner.stage = Stage::Informed;
                learner.needs_snapshot = needs_snapshot;
                learner.distrusted = distrusted;
                // A server has one connection; an older one is a ghost of it.
                self.learners.retain(|other, learner| *other == id || learner.server != Some(server));
                if distrusted && self.reign.is_none() && self.promised.contains(&server) {
                    self.abdicated = Some(format!("{server} may have forgotten its promise"));
                    return;
                }
                match self.epoch {
                    // It has promised a newer leader. Only a newer epoch can take it in again.
                    Some(epoch) if epoch < accepted => {
                        self.abdicated = Some(format!("{server} has promised {accepted}, beyond {epoch}"));
                    }
                    Some(epoch) => self.send(id, &ToFollower::LeaderInfo(epoch)),
                    None if distrusted => {
                        self.accepted.remove(&server);
                    }
                    None => {
                        self.accepted.insert(server, accepted);
                    }
                }
            }
            ToLeader::AckEpoch { current, last, counts } => {
                let server = learner.server.filter(|_| !learner.distrusted);
                learner.stage = Stage::Promised { last };
                if let Some(server) = server.filter(|_| counts && !self.synchronising) {
                    let own = (self.epochs_before.current, self.service.desk.borrow().database.last());
                    if own < (current, last) {
                        self.abdicated =
                            Some(format!("{server} holds {last} of {current}: more than {}", own.1));
                        return;
                    }
                    self.promised.insert(server);
                }
            }
            ToLeader::Ack(zxid) => {
                if learner.stage == Stage::Synchronising
                    && Some(zxid) == self.epoch.map(|epoch| Zxid::new(epoch, 0))
                {
                    learner.stage = Stage::Holding;
                    if self.reign.is_some() {
                        self.send(id, &ToFollower::UpToDate);
                        self.trust(id);
                    }
                } else {
                    learner.acked = learner.acked.max(zxid);
                    self.commit().await;
                }
            }
            ToLeader::Touched(sessions) => {
                if let Some(reign) = &mut self.reign {
                    for session in sessions {
                        self.server.observer.session_heard(session);
                        reign.sessions.touch(session, now);
                    }
                }
            }
            ToLeader::Request(forwarded) => {
                if let Some(server) = learner.server {
                    self.propose(forwarded, server);
                }
            }
            ToLeader::Revalidate(session) => {
                if let Some(server) = learner.server {
                    let time_out = self.revalidate(session, server);
                    self.send(id, &ToFollower::Revalidated(session, time_out));
                }
            }
            ToLeader::Sync(session, xid) => self.sync(Some(id), session, xid),
        }
    }

    fn send(&self, id: LearnerId, message: &ToFollower) {
        if let Some(learner) = self.learners.get(&id) {
            let _ = learner.out.send((message.name(), encode(message)));
        }
    }

    /// Tells a distrusted follower that holds everything that it counts again, if the epoch began without it: what it may have promised
    /// other leaders is void then. Otherwise it waits for the next epoch.
    fn trust(&self, id: LearnerId) {
        let learner = self.learners.get(&id);
        let Some(Learner { server: Some(server), distrusted: true, stage: Stage::Holding, .. }) = learner
        else {
            return;
        };
        if !self.promised.contains(server) && self.has_quorum() {
            self.send(id, &ToFollower::Trusted);
        }
    }

    /// Whether a quorum, with this leader, holds the history.
    fn has_quorum(&self) -> bool {
        self.server.quorum() <= 1 + self.learners.values().filter(|learner| learner.counts()).count()
    }

    /// To every follower that has been sent the history: what it gets now follows on it.
    fn broadcast(&self, message: &ToFollower) {
        let bytes = encode(message);
        let current = |learner: &&Learner| matches!(learner.stage, Stage::Synchronising | Stage::Holding);
        for learner in self.learners.values().filter(current) {
            let _ = learner.out.send((message.name(), bytes.clone()));
        }
    }

    /// Goes on to the next phase when a quorum allows it.
    async fn advance(&mut self) -> Result<(), StorageError> {
        let quorum = self.server.quorum();
        if self.epoch.is_none() && quorum <= self.accepted.len() {
            let newest = self.accepted.values().max().expect("this server's own is among them");
            let epoch = newest.next();
            self.storage.accept(epoch).await?;
            self.epoch = Some(epoch);
            let informed: Vec<LearnerId> = self.learners.keys().copied().collect();
            for id in informed.into_iter().filter(|id| self.learners[id].stage == Stage::Informed) {
                self.send(id, &ToFollower::LeaderInfo(epoch));
            }
        }
        let Some(epoch) = self.epoch else { return Ok(()) };
        if !self.synchronising && quorum <= self.promised.len() {
            self.storage.adopt(epoch).await?;
            self.synchronising = true;
        }
        if self.synchronising {
            let promised: Vec<(LearnerId, Zxid)> = self
                .learners
                .iter()
                .filter_map(|(id, learner)| match learner.stage {
                    Stage::Promised { last } => Some((*id, last)),
                    _ => None,
                })
                .collect();
            for (id, last) in promised {
                self.synchronise(id, last, epoch);
            }
            if self.reign.is_none() && self.has_quorum() {
                self.establish(epoch).await;
            }
        }
        Ok(())
    }

    /// Sends a follower what it lacks, and has it remove what it should not have: DIFF, TRUNC or SNAP.
    fn synchronise(&mut self, id: LearnerId, last: Zxid, epoch: PeerEpoch) {
        let full_copy = self.server.host.buggify(&sites::FULL_COPY);
        let needs_snapshot = self.learners[&id].needs_snapshot || full_copy;
        let mut messages = Vec::new();
        {
            let desk = self.service.desk.borrow();
            let database = &desk.database;
            let after = database.committed_after();
            if last == database.last() && !needs_snapshot {
                crate::reached!("coordination synchronised a follower that lacked nothing");
            } else if last < after && !bug("Z05") || needs_snapshot {
                crate::reached!("coordination synchronised a follower with a snapshot");
                messages.push(ToFollower::Snapshot(database.last(), snapshot::write(database)));
            } else {
                let common = database.committed().map(|txn| txn.zxid).take_while(|zxid| *zxid <= last).last();
                let common = common.unwrap_or(after);
                if common < last {
                    crate::reached!("coordination had a follower truncate its log");
                    messages.push(ToFollower::Truncate(common));
                }
                crate::reached!("coordination synchronised a follower with a difference");
                for txn in database.committed().filter(|txn| common < txn.zxid) {
                    messages.push(ToFollower::Proposal(txn.clone()));
                    messages.push(ToFollower::Commit(txn.zxid));
                }
            }
        }
        // What is proposed, but not committed: its commit comes to all who follow. The known bug begins with the next proposal.
        if let Some(reign) = self.reign.as_ref().filter(|_| !bug("Z26")) {
            messages.extend(reign.outstanding.iter().cloned().map(ToFollower::Proposal));
        }
        messages.push(ToFollower::NewLeader(Zxid::new(epoch, 0)));
        messages.iter().for_each(|message| self.send(id, message));
        self.learners.get_mut(&id).expect("it was just sent to").stage = Stage::Synchronising;
    }

    /// A quorum holds this leader's history: from now on it is the ensemble's.
    async fn establish(&mut self, epoch: PeerEpoch) {
        let now = self.server.host.now();
        let mut sessions = SessionTracker::new(self.server.config.tick.get());
        let reign = {
            let desk = self.service.desk.borrow();
            let database = &desk.database;
            for (session, time_out) in &database.sessions {
                self.server.observer.session_kept(*session, *time_out);
                self.server.observer.session_begun(*session);
                // As in ZooKeeper a new leader cannot tell how long nobody has been there to hear of it, and gives it all of its time.
                sessions.add(*session, *time_out, now);
            }
            self.server.observer.established(epoch, database.last());
            self.server.observer.restored(database);
            let host = &self.server.host;
            host.log(Level::Info, || format!("leads {epoch} from {} on", database.last()));
            Reign {
                preparer: Preparer::new(database),
                sessions,
                last_proposed: Zxid::new(epoch, 0),
                logged: Zxid::ZERO,
                outstanding: VecDeque::new(),
                syncs: VecDeque::new(),
            }
        };
        self.reign = Some(reign);
        crate::reached!("coordination established a leader");
        self.server.host.buggify_delay(&sites::FIRST_UP_TO_DATE).await;
        self.broadcast_to_holding(&ToFollower::UpToDate);
        self.learners.keys().for_each(|id| self.trust(*id));
        self.service.open().await;
        if self.server.host.buggify(&sites::RESIGNATION) {
            self.abdicated = Some("leaves it to another".to_owned());
        }
    }

    fn broadcast_to_holding(&self, message: &ToFollower) {
        let holding = |id: &&LearnerId| self.learners[id].stage == Stage::Holding;
        self.learners.keys().filter(holding).for_each(|id| self.send(*id, message));
    }

    async fn on_tick(&mut self) {
        let now = self.server.host.now();
        self.broadcast(&ToFollower::Ping);
        let patience = self.server.ticks(self.server.config.sync_limit);
        let patience_with_newcomers = self.server.ticks(self.server.config.init_limit);
        if self.reign.is_some() {
            self.learners.retain(|_, learner| {
                let holding = learner.stage == Stage::Holding;
                now <= learner.heard + if holding { patience } else { patience_with_newcomers }
            });
            if !self.has_quorum() {
                crate::reached!("coordination lost its leader for want of a quorum");
                self.abdicated = Some("lost the quorum".to_owned());
                return;
            }
        }
        let Some(reign) = &mut self.reign else { return };
        // Clients connected here are heard of here.
        for session in reign.sessions.expire(now) {
            crate::reached!("a session expired");
            self.server.host.log(Level::Debug, || format!("{session} expired"));
            self.server.observer.session_expired(session);
            self.server.host.buggify_delay(&sites::EXPIRY).await;
            self.order(Proposal { session, cxid: 0, change: Asked::CloseSession });
        }
    }

    fn revalidate(&mut self, session: SessionId, at: ServerId) -> Option<i32> {
        let now = self.server.host.now();
        let reign = self.reign.as_mut()?;
        if !reign.sessions.is_open(session) {
            self.server.observer.session_refused(session);
            return None;
        }
        self.server.observer.session_heard(session);
        reign.sessions.touch(session, now);
        if reign.sessions.set_owner(session, at) {
            crate::reached!("a session went on under a new leader");
        }
        self.service.desk.borrow().database.sessions.get(&session).copied()
    }

    fn run_errands(&mut self, errands: Vec<Errand>) {
        let me = self.server.me;
        let now = self.server.host.now();
        for errand in errands {
            match errand {
                Errand::Forward(forwarded) => self.propose(forwarded, me),
                Errand::Revalidate(session) => {
                    let time_out = self.revalidate(session, me);
                    self.service.desk.borrow_mut().on_revalidated(session, time_out);
                    let more = self.service.perform();
                    self.run_errands(more);
                }
                Errand::Sync(session, xid) => self.sync(None, session, xid),
                Errand::Touch(session) => {
                    if let Some(reign) = &mut self.reign {
                        self.server.observer.session_heard(session);
                        reign.sessions.touch(session, now);
                    }
                }
                Errand::Send(..) | Errand::Close(_) => unreachable!("the service performs these itself"),
            }
        }
    }

    /// Orders a client's write that came through the server `at`.
    fn propose(&mut self, forwarded: Forwarded, at: ServerId) {
        let now = self.server.host.now();
        let Some(reign) = &mut self.reign else { return };
        let Forwarded { session, cxid, asked } = forwarded;
        let change = match asked {
            ForwardedRequest::CreateSession(time_out) => {
                crate::always!(
                    !reign.preparer.has_session(session),
                    "a new session has a number that no living one has",
                    "{session} through {at}"
                );
                self.server.observer.session_kept(session, time_out);
                reign.sessions.add(session, time_out, now);
                reign.sessions.set_owner(session, at);
                Asked::CreateSession { time_out }
            }
            _ if reign.sessions.has_moved(session, at) && !bug("Z25") => {
                crate::reached!("a request of a session that had moved was refused");
                Asked::Refuse(Code::SessionMoved)
            }
            // A session whose end is proposed can do no more. The known bug asks only whether the end is committed: what it creates
            // then outlives it.
            _ if !(reign.preparer.has_session(session) || bug("Z13") && reign.sessions.contains(session)) => {
                crate::reached!("a request of a closing session was refused");
                Asked::Refuse(Code::SessionExpired)
            }
            ForwardedRequest::CloseSession => {
                self.server.observer.session_closed(session);
                reign.sessions.set_closing(session);
                Asked::CloseSession
            }
            ForwardedRequest::Write(write) => Asked::Request(Request::Write(write)),
            ForwardedRequest::Multi(writes) => Asked::Request(Request::Multi(writes)),
        };
        self.order(Proposal { session, cxid, change });
    }

    fn order(&mut self, proposal: Proposal) {
        let time = self.server.host.wall_clock();
        let Some(reign) = &mut self.reign else { return };
        let used_up = self.server.config.transactions_per_epoch <= reign.last_proposed.counter();
        let zxid = match (used_up, bug("Z23")) {
            (false, _) => reign.last_proposed.next(),
            // The known bug counts on, into the epoch's half of the number.
            (true, true) => Zxid::new(reign.last_proposed.epoch().next(), 0),
            (true, false) => {
                crate::reached!("a leader stepped down because its transactions were used up");
                self.abdicated = Some("its transactions are used up".to_owned());
                return;
            }
        };
        let txn = reign.preparer.prepare(zxid, time, proposal);
        reign.last_proposed = zxid;
        reign.outstanding.push_back(txn.clone());
        self.broadcast(&ToFollower::Proposal(txn.clone()));
        self.service.log(txn);
    }

    /// Commits, in order, what a quorum has on disk.
    async fn commit(&mut self) {
        loop {
            let quorum = self.server.quorum();
            let Some(reign) = &mut self.reign else { return };
            let Some(front) = reign.outstanding.front().map(|txn| txn.zxid) else { return };
            let holds = |learner: &&Learner| learner.counts() && front <= learner.acked;
            let acks = self.learners.values().filter(holds).count() + usize::from(front <= reign.logged);
            if acks < quorum {
                return;
            }
            let txn = reign.outstanding.pop_front().expect("its front was just seen");
            match txn.change {
                Change::CreateSession { .. } => self.server.observer.session_begun(txn.session),
                Change::CloseSession { .. } => reign.sessions.remove(txn.session),
                _ => {}
            }
            self.server.host.buggify_delay(&sites::COMMIT).await;
            self.broadcast(&ToFollower::Commit(txn.zxid));
            self.server.host.buggify_delay(&sites::COMMIT_TOLD).await;
            let zxid = txn.zxid;
            let errands = self.service.apply(txn).await;
            self.run_errands(errands);
            self.answer_syncs(zxid);
        }
    }

    fn sync(&mut self, learner: Option<LearnerId>, session: SessionId, xid: i32) {
        let Some(reign) = &mut self.reign else { return };
        let upto = reign.outstanding.back().map_or(Zxid::ZERO, |txn| txn.zxid);
        reign.syncs.push_back((upto, learner, session, xid));
        if upto == Zxid::ZERO {
            self.answer_syncs(Zxid::ZERO);
        }
    }

    fn answer_syncs(&mut self, committed: Zxid) {
        let Some(reign) = &mut self.reign else { return };
        let ready = |(upto, ..): &&(Zxid, Option<LearnerId>, SessionId, i32)| *upto <= committed;
        let count = reign.syncs.iter().take_while(ready).count();
        for (_, learner, session, xid) in reign.syncs.drain(..count).collect::<Vec<_>>() {
            match learner {
                Some(id) => self.send(id, &ToFollower::Synced(session, xid)),
                None => {
                    self.service.desk.borrow_mut().on_synced(session, xid);
                    let errands = self.service.perform();
                    self.run_errands(errands);
                }
            }
        }
    }
}

/// Accepts followers until the role ends.
async fn admit(host: Host, mut listener: Listener, events: mpsc::UnboundedSender<Event<FromLearner>>) {
    let mut next: LearnerId = 0;
    loop {
        let connection = listener.accept().await;
        let id = next;
        next += 1;
        let (out, frames) = mpsc::unbounded_channel();
        host.spawn("quorum-out", write(connection.sender, frames));
        if events.send(Event::Peer(FromLearner::Connected(id, out))).is_err() {
            return;
        }
        let events = events.clone();
        let mut receiver = connection.receiver;
        host.spawn("quorum-in", async move {
            loop {
                let frame = select! {
                    () = events.closed() => return,
                    frame = receiver.recv() => frame,
                };
                let Some(message) = frame.ok().and_then(|frame| decode(&frame)) else { break };
                let _ = events.send(Event::Peer(FromLearner::Message(id, message)));
            }
            let _ = events.send(Event::Peer(FromLearner::Gone(id)));
        });
    }
}
