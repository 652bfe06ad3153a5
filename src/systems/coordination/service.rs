//! What leader and follower share while they serve: clients' connections, the logger, applying what is committed, snapshots.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tokio::sync::{mpsc, oneshot};

use crate::base::Stream;
use crate::systems::coordination::Config;
use crate::systems::coordination::Observer;
use crate::systems::coordination::database::{Database, Progress};
use crate::systems::coordination::desk::{Desk, DeskEffect, WATCHER_EVENT};
use crate::systems::coordination::journal::Journal;
use crate::systems::coordination::snapshot::SnapshotWriter;
use crate::systems::coordination::storage::{Storage, StorageError};
use crate::systems::coordination::txn::Txn;
use crate::systems::coordination::watch::LinkId;
use crate::systems::coordination::zxid::{ServerId, SessionId, Zxid};
use crate::systems::sites;
use crate::world::{Host, Listener, Sender, Task, select};

/// Where servers hear clients.
pub const CLIENT_PORT: u16 = 2181;

/// Work for one request of a client.
const REQUEST_COST: Duration = Duration::from_micros(10);

/// How long applying one part of a transaction takes.
const APPLY_COST: Duration = Duration::from_micros(2);

/// How many znodes of a snapshot are written between two looks at other work.
const SNAPSHOT_STEP: usize = 32;

/// How many transactions one sync covers at most.
const GROUP_MAX: usize = 200;

/// What a server is, whatever its role.
#[derive(Clone)]
pub struct Server {
    /// Its host.
    pub host: Host,
    /// Its number.
    pub me: ServerId,
    /// All servers, this one too.
    pub servers: Rc<Vec<(ServerId, crate::world::Address)>>,
    /// The ensemble's settings.
    pub config: Rc<Config>,
    /// Who watches what it does, for the checkers.
    pub observer: Observer,
    /// For numbers that must never come twice in the life of the process, whatever its roles.
    pub chance: Rc<RefCell<Stream>>,
}

impl Server {
    /// How many servers make a quorum.
    pub fn quorum(&self) -> usize {
        self.servers.len() / 2 + 1
    }

    /// So many ticks.
    pub fn ticks(&self, count: u32) -> Duration {
        self.config.tick.get() * count
    }
}

/// What happens to a server in its role; `P` comes from the other servers.
pub enum Event<P> {
    /// A client has connected; frames to it go here.
    Connected(LinkId, mpsc::UnboundedSender<(&'static str, Bytes)>),
    /// A client sent a frame.
    Frame(LinkId, Bytes),
    /// A client's connection has ended.
    Disconnected(LinkId),
    /// All up to here is durable on this server's disk.
    Logged(Zxid),
    /// The disk failed.
    Failed(StorageError),
    /// From another server.
    Peer(P),
}

/// What the role must do for the clients.
pub type Errand = DeskEffect;

enum LogCommand {
    Append(Txn),
    Roll,
    Barrier(oneshot::Sender<()>),
}

/// A serving server. Its tasks end with it.
pub struct Service<P: 'static> {
    server: Server,
    /// Its clients and its state.
    pub desk: Rc<RefCell<Desk>>,
    links: BTreeMap<LinkId, mpsc::UnboundedSender<(&'static str, Bytes)>>,
    events: mpsc::UnboundedSender<Event<P>>,
    logger: mpsc::UnboundedSender<LogCommand>,
    storage: Storage,
    tasks: Vec<Task<()>>,
    snapshot_due: u64,
    applied: u64,
    snapshotting: Rc<Cell<bool>>,
}

impl<P: 'static> Drop for Service<P> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(Task::abort);
    }
}

impl<P: 'static> Service<P> {
    /// Begins with a state, its log and its disk. Clients are admitted by `open`.
    pub fn begin(
        server: &Server,
        database: Database,
        journal: Journal,
        storage: Storage,
        events: mpsc::UnboundedSender<Event<P>>,
    ) -> Self {
        let (logger, commands) = mpsc::unbounded_channel();
        let task = server
            .host
            .spawn("coordination-logger", log(server.host.clone(), journal, commands, events.clone()));
        let tick_ms = server.config.tick.get().as_millis() as i32;
        let mut service = Self {
            server: server.clone(),
            desk: Rc::new(RefCell::new(Desk::new(database, tick_ms))),
            links: BTreeMap::new(),
            events,
            logger,
            storage,
            tasks: vec![task],
            snapshot_due: 0,
            applied: 0,
            snapshotting: Rc::default(),
        };
        service.draw_snapshot_due();
        service
    }

    /// Between half of the setting and all of it, so that servers do not all write at once (as ZooKeeper does).
    fn draw_snapshot_due(&mut self) {
        let early = self.server.host.buggify(&sites::EARLY_SNAPSHOT);
        let every = if early { 1 } else { u64::from(self.server.config.snapshot_every) };
        self.snapshot_due =
            self.applied + self.server.chance.borrow_mut().random_range(every.div_ceil(2)..=every);
    }

    /// Admits clients.
    pub async fn open(&mut self) {
        let listener = self.server.host.listen(CLIENT_PORT).await.expect("one role at a time listens");
        let task = self
            .server
            .host
            .spawn("coordination-clients", admit(self.server.clone(), listener, self.events.clone()));
        self.tasks.push(task);
        self.server.host.report_ready(true);
    }

    /// A client has connected.
    pub fn on_connected(&mut self, link: LinkId, sender: mpsc::UnboundedSender<(&'static str, Bytes)>) {
        self.links.insert(link, sender);
        self.desk.borrow_mut().on_connect(link);
    }

    /// A client sent a frame.
    pub fn on_frame(&mut self, link: LinkId, bytes: Bytes) -> Vec<Errand> {
        let fresh = || {
            let server = i64::from(self.server.me.get()) << 55;
            let number = self.server.chance.borrow_mut().random_range(1..1i64 << 55);
            SessionId::new(server | number)
        };
        self.desk.borrow_mut().on_frame(link, bytes, fresh);
        self.perform()
    }

    /// A client's connection has ended.
    pub fn on_disconnected(&mut self, link: LinkId) {
        self.links.remove(&link);
        self.desk.borrow_mut().on_disconnect(link);
    }

    /// Sends what the desk wants sent; hands back what needs the leader.
    pub fn perform(&mut self) -> Vec<Errand> {
        let effects = self.desk.borrow_mut().take_effects();
        let mut errands = Vec::new();
        for effect in effects {
            match effect {
                DeskEffect::Send(link, kind, bytes) => {
                    if let Some(sender) = self.links.get(&link) {
                        let _ = sender.send((kind, bytes));
                    }
                }
                DeskEffect::Close(link) => {
                    self.links.remove(&link);
                }
                errand => errands.push(errand),
            }
        }
        errands
    }

    /// Logs a transaction; an event tells when it is durable.
    pub fn log(&self, txn: Txn) {
        // The logger ends only with this service, or after it has told of a failed disk.
        let _ = self.logger.send(LogCommand::Append(txn));
    }

    /// Applies a committed transaction: the state changes, watches fire, the client is answered.
    pub async fn apply(&mut self, txn: Txn) -> Vec<Errand> {
        let host = self.server.host.clone();
        let mut progress = Progress::default();
        let applied = loop {
            let step = self.desk.borrow_mut().database.apply_part(&txn, &mut progress);
            match step {
                Some(applied) => break applied,
                None => {
                    host.cpu(APPLY_COST).await;
                    host.buggify_delay(&sites::MULTI_PART).await;
                }
            }
        };
        {
            let mut desk = self.desk.borrow_mut();
            self.server.observer.committed(txn.zxid, desk.database.digest());
            if !desk.database.sessions.contains_key(&txn.session) {
                self.server.observer.orphans(txn.zxid, desk.database.tree.ephemerals(txn.session));
            }
            desk.on_applied(&txn, applied);
            desk.database.remember(txn);
        }
        self.applied += 1;
        host.count("coordination.transactions", 1);
        if self.snapshot_due <= self.applied && !self.snapshotting.replace(true) {
            self.draw_snapshot_due();
            self.begin_snapshot();
        }
        self.perform()
    }

    /// Writes a snapshot beside the work. What it shows is durable in the log before the snapshot itself is.
    fn begin_snapshot(&mut self) {
        let (host, desk, storage) = (self.server.host.clone(), self.desk.clone(), self.storage.clone());
        let (logger, events, snapshotting) =
            (self.logger.clone(), self.events.clone(), self.snapshotting.clone());
        let task = self.server.host.spawn("coordination-snapshot", async move {
            let _ = logger.send(LogCommand::Roll);
            let mut writer = SnapshotWriter::begin(&desk.borrow().database);
            let zxid = writer.zxid;
            loop {
                let done = writer.step(&desk.borrow().database, SNAPSHOT_STEP);
                if done {
                    break;
                }
                host.cpu(Duration::from_micros(50)).await;
                host.buggify_delay(&sites::SNAPSHOT_STEP).await;
            }
            let (durable, reached) = oneshot::channel();
            let _ = logger.send(LogCommand::Barrier(durable));
            if reached.await.is_err() {
                return;
            }
            if let Err(error) = storage.save(zxid, writer.finish()).await {
                let _ = events.send(Event::Failed(error));
            }
            crate::reached!("coordination took a snapshot");
            snapshotting.set(false);
        });
        self.tasks.retain(|task| !task.is_over());
        self.tasks.push(task);
    }
}

/// Accepts clients until the role ends.
async fn admit<P: 'static>(server: Server, mut listener: Listener, events: mpsc::UnboundedSender<Event<P>>) {
    let (host, request_max) = (server.host, server.config.request_max.get());
    let mut next: LinkId = 0;
    loop {
        let connection = listener.accept().await;
        let link = next;
        next += 1;
        let (sender, frames) = mpsc::unbounded_channel();
        host.spawn("coordination-replies", answer(host.clone(), connection.sender, frames));
        if events.send(Event::Connected(link, sender)).is_err() {
            return;
        }
        let (host_of_reader, events) = (host.clone(), events.clone());
        let mut receiver = connection.receiver;
        host.spawn("coordination-requests", async move {
            loop {
                let frame = select! {
                    () = events.closed() => return,
                    frame = receiver.recv() => frame,
                };
                let Ok(frame) = frame else { break };
                if request_max < frame.len() as u64 {
                    crate::reached!("a coordination server was sent an oversized request");
                    break;
                }
                host_of_reader.cpu(REQUEST_COST).await;
                let _ = events.send(Event::Frame(link, frame));
            }
            let _ = events.send(Event::Disconnected(link));
        });
    }
}

/// Sends a client what is queued for it, until the queue or the connection ends.
async fn answer(host: Host, sender: Sender, mut frames: mpsc::UnboundedReceiver<(&'static str, Bytes)>) {
    while let Some((kind, bytes)) = frames.recv().await {
        host.buggify_delay(&sites::ANSWER).await;
        if sender.send(kind, bytes).await.is_err() {
            return;
        }
        if kind == WATCHER_EVENT {
            host.buggify_delay(&sites::WATCH_FIRED).await;
        }
    }
}

/// Sends another server what is queued for it, until the queue or the connection ends.
pub async fn write(sender: Sender, mut frames: mpsc::UnboundedReceiver<(&'static str, Bytes)>) {
    while let Some((kind, bytes)) = frames.recv().await {
        if sender.send(kind, bytes).await.is_err() {
            return;
        }
    }
}

/// Appends and syncs, many transactions with one sync, and tells how far the log is durable.
async fn log<P: 'static>(
    host: Host,
    mut journal: Journal,
    mut commands: mpsc::UnboundedReceiver<LogCommand>,
    events: mpsc::UnboundedSender<Event<P>>,
) {
    while let Some(first) = commands.recv().await {
        let mut waiting = Vec::new();
        let mut appended = false;
        let mut result = Ok(());
        let mut command = Some(first);
        let most = if host.buggify(&sites::SMALL_SYNC) { 1 } else { GROUP_MAX };
        let mut taken = 0;
        while let Some(next) = command.take() {
            match next {
                LogCommand::Append(txn) => {
                    result = journal.append(&txn).await;
                    appended = true;
                }
                LogCommand::Roll => result = journal.roll().await,
                LogCommand::Barrier(reached) => waiting.push(reached),
            }
            taken += 1;
            if result.is_ok() && taken < most {
                command = commands.try_recv().ok();
            }
        }
        if result.is_ok() && (appended || !waiting.is_empty()) {
            result = journal.sync().await;
            host.buggify_delay(&sites::LOG_SYNCED).await;
        }
        if let Err(error) = result {
            let _ = events.send(Event::Failed(error));
            return;
        }
        for reached in waiting {
            let _ = reached.send(());
        }
        if appended {
            let _ = events.send(Event::Logged(journal.last()));
        }
    }
}
