//! The client of the ensemble: all that a neighbour may use.
//!
//! A [`Session`] finds a server, keeps itself alive, and moves to another server when the one it talks to is lost; its watches move
//! with it. A request has three ends: `Ok`; `Refused` or `Expired`, it did not happen; `Unknown`, the connection broke under it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use tokio::sync::{mpsc, oneshot};

use crate::systems::coordination::jute::{Jute, frame, unframe};
use crate::systems::coordination::wire::{
    CheckRequest, ConnectRequest, ConnectResponse, CreateRequest, DeleteRequest, ReplyHeader, SetAclRequest,
    SetDataRequest, SetWatches, XID_EVENT, XID_PING, XID_SET_WATCHES, decode_event,
};
use crate::world::{Address, Connection, Host, Receiver, Sender, select};

pub use crate::systems::coordination::recipes::{Barrier, Candidate, ConfigWatch, Lock, Naming, Queue};
pub use crate::systems::coordination::wire::{
    Acl, Code, EventKind, Path, PathWatch, Reply, Request, Stat, Write,
};

/// Why a request brought no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The ensemble refused it: it did not happen.
    #[error("refused: {0}")]
    Refused(Code),
    /// The connection broke after it was sent: it may have happened, or may yet.
    #[error("outcome unknown: the connection broke")]
    Unknown,
    /// The session is over, and it was not sent: it did not happen.
    #[error("the session has expired")]
    Expired,
}

impl Error {
    /// Whether the request was refused for this reason.
    pub fn is(self, code: Code) -> bool {
        self == Self::Refused(code)
    }
}

/// How long a znode lives, and how it is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Until it is deleted.
    Persistent,
    /// As long as the session that created it.
    Ephemeral,
    /// Persistent; the ensemble adds a number to the name that no sibling has had.
    PersistentSequential,
    /// Ephemeral, with such a number.
    EphemeralSequential,
}

/// A change that a watch saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// To which znode.
    pub path: String,
    /// At which transaction, or the latest one when the client came back to what it had missed.
    pub zxid: i64,
    /// Its place among all that the session was told: see [`Answer::arrival`].
    pub arrival: u64,
}

/// What a session was told in answer to a request.
pub struct Answer {
    /// The result, which may be a refusal.
    pub reply: Reply,
    /// The transaction at which the answering server stood: the request's own if it was a write.
    pub zxid: i64,
    /// The request's number in its session.
    pub xid: i32,
    /// Its place among all answers and events of the session, in the order in which they came.
    pub arrival: u64,
    /// The watch, if the request set one.
    pub watch: Option<Watch>,
}

/// Waits for one change.
pub struct Watch(oneshot::Receiver<WatchEvent>);

impl Watch {
    /// The change, if it has been told already.
    pub fn told(&mut self) -> Option<WatchEvent> {
        self.0.try_recv().ok()
    }

    /// The change; `None` if the session ended first.
    pub async fn changed(self) -> Option<WatchEvent> {
        self.0.await.ok()
    }
}

/// A write that creates a znode.
pub fn create(path: &str, data: impl Into<Bytes>, mode: Mode) -> Write {
    let flags = match mode {
        Mode::Persistent => 0,
        Mode::Ephemeral => 1,
        Mode::PersistentSequential => 2,
        Mode::EphemeralSequential => 3,
    };
    Write::Create(CreateRequest { path: path.to_owned(), data: data.into(), acl: Acl::open(), flags }, true)
}

/// A write that changes a znode's data, at this version or (`None`) at any.
pub fn set(path: &str, data: impl Into<Bytes>, version: Option<i32>) -> Write {
    Write::SetData(SetDataRequest {
        path: path.to_owned(),
        data: data.into(),
        version: version.unwrap_or(-1),
    })
}

/// A write that deletes a znode, at this version or (`None`) at any.
pub fn delete(path: &str, version: Option<i32>) -> Write {
    Write::Delete(DeleteRequest { path: path.to_owned(), version: version.unwrap_or(-1) })
}

/// A part of a `multi` that demands a version.
pub fn check(path: &str, version: i32) -> Write {
    Write::Check(CheckRequest { path: path.to_owned(), version })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WatchKind {
    Data,
    Exists,
    Children,
}

impl WatchKind {
    /// What a request would watch.
    fn of(request: &Request) -> Option<Self> {
        match request {
            Request::Exists(PathWatch { watch: true, .. }) => Some(Self::Exists),
            Request::GetData(PathWatch { watch: true, .. }) => Some(Self::Data),
            Request::GetChildren(PathWatch { watch: true, .. }, _) => Some(Self::Children),
            _ => None,
        }
    }
}

struct Asked {
    request: Request,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// What the session's task and its handles share.
struct Shared {
    id: Cell<i64>,
    last_zxid: Cell<i64>,
    expired: Cell<bool>,
    connected: Cell<bool>,
    ended: RefCell<Vec<oneshot::Sender<()>>>,
}

/// A client's session. Cheap to clone; it is closed by `close`, or expires some time after its process has ended.
#[derive(Clone)]
pub struct Session {
    host: Host,
    asked: mpsc::UnboundedSender<Asked>,
    shared: Rc<Shared>,
}

impl Session {
    /// Begins a session with one of these servers. Requests wait until there is a connection. `time_out`: how long the ensemble
    /// waits for a word before it ends the session; it may negotiate another.
    pub fn begin(host: &Host, servers: &[Address], time_out: Duration) -> Self {
        assert!(!servers.is_empty(), "an ensemble has a server");
        let (asked, requests) = mpsc::unbounded_channel();
        let shared = Rc::new(Shared {
            id: Cell::new(0),
            last_zxid: Cell::new(0),
            expired: Cell::new(false),
            connected: Cell::new(false),
            ended: RefCell::default(),
        });
        let keeper = Keeper {
            host: host.clone(),
            servers: servers.to_vec(),
            time_out,
            password: Bytes::new(),
            shared: shared.clone(),
            requests,
            in_flight: VecDeque::new(),
            watches: BTreeMap::new(),
            xid: 0,
            arrivals: 0,
        };
        host.spawn("coordination-session", keeper.keep());
        Self { host: host.clone(), asked, shared }
    }

    /// The session's number; 0 before the first connection.
    pub fn id(&self) -> i64 {
        self.shared.id.get()
    }

    /// The newest transaction whose effects this session has seen.
    pub fn last_zxid(&self) -> i64 {
        self.shared.last_zxid.get()
    }

    /// Whether the ensemble has said that the session is over.
    pub fn is_expired(&self) -> bool {
        self.shared.expired.get()
    }

    /// Whether it has a server at the moment. Without one for the length of its time-out, the session may be over already.
    pub fn is_connected(&self) -> bool {
        self.shared.connected.get()
    }

    /// Waits until the session is over.
    pub async fn expired(&self) {
        if self.is_expired() {
            return;
        }
        let (tell, told) = oneshot::channel();
        self.shared.ended.borrow_mut().push(tell);
        let _ = told.await;
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Sends a request as it is, for those who want to know all about its answer. Requests are sent in the order in which this is
    /// first polled, without waiting for one another's answers.
    ///
    /// # Errors
    /// `Unknown` and `Expired`; a refusal is an answer.
    pub async fn request(&self, request: Request) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        if self.asked.send(Asked { request, answer }).is_err() {
            return Err(Error::Expired);
        }
        answered.await.unwrap_or(Err(Error::Expired))
    }

    async fn ask(&self, request: Request) -> Result<Reply, Error> {
        match self.request(request).await?.reply {
            Reply::Refused(code) => Err(Error::Refused(code)),
            reply => Ok(reply),
        }
    }

    /// Creates a znode; returns its final path and what is known of it.
    ///
    /// # Errors
    /// Of codes mostly `NodeExists`, `NoNode` (the parent), `NoChildrenForEphemerals`.
    pub async fn create(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        mode: Mode,
    ) -> Result<(String, Stat), Error> {
        match self.ask(Request::Write(create(path, data, mode))).await? {
            Reply::Created(path, stat) => Ok((path, stat.unwrap_or_default())),
            _ => Err(Error::Refused(Code::MarshallingError)),
        }
    }

    /// Deletes a znode, at this version or (`None`) at any.
    ///
    /// # Errors
    /// Of codes mostly `NoNode`, `BadVersion`, `NotEmpty`.
    pub async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), Error> {
        self.ask(Request::Write(delete(path, version))).await.map(|_| ())
    }

    /// Changes a znode's data, at this version or (`None`) at any.
    ///
    /// # Errors
    /// Of codes mostly `NoNode`, `BadVersion`.
    pub async fn set(&self, path: &str, data: impl Into<Bytes>, version: Option<i32>) -> Result<Stat, Error> {
        stat(self.ask(Request::Write(set(path, data, version))).await?)
    }

    /// Changes a znode's ACL, which is kept but not enforced.
    ///
    /// # Errors
    /// Of codes mostly `NoNode`, `BadVersion`.
    pub async fn set_acl(&self, path: &str, acl: Vec<Acl>, version: Option<i32>) -> Result<Stat, Error> {
        let request = SetAclRequest { path: path.to_owned(), acl, version: version.unwrap_or(-1) };
        stat(self.ask(Request::Write(Write::SetAcl(request))).await?)
    }

    /// A znode's ACL.
    ///
    /// # Errors
    /// Of codes `NoNode`.
    pub async fn acl(&self, path: &str) -> Result<Vec<Acl>, Error> {
        match self.ask(Request::GetAcl(Path { path: path.to_owned() })).await? {
            Reply::Acl(reply) => Ok(reply.acl),
            _ => Err(Error::Refused(Code::MarshallingError)),
        }
    }

    /// A znode's data, as the connected server has it: not older than anything this session has seen.
    ///
    /// # Errors
    /// Of codes `NoNode`.
    pub async fn get(&self, path: &str) -> Result<(Bytes, Stat), Error> {
        data(self.ask(Request::GetData(unwatched(path))).await?)
    }

    /// The same, and a watch for its next change.
    ///
    /// # Errors
    /// Of codes `NoNode`: there is no watch then.
    pub async fn get_watched(&self, path: &str) -> Result<(Bytes, Stat, Watch), Error> {
        let answer = self.request(Request::GetData(watched(path))).await?;
        let (data, stat) = data(answer.reply)?;
        Ok((data, stat, answer.watch.ok_or(Error::Unknown)?))
    }

    /// Whether a znode exists.
    ///
    /// # Errors
    /// None of its own.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        match self.ask(Request::Exists(unwatched(path))).await {
            Ok(reply) => stat(reply).map(Some),
            Err(error) if error.is(Code::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, and a watch for its creation, change or deletion.
    ///
    /// # Errors
    /// None of its own.
    pub async fn exists_watched(&self, path: &str) -> Result<(Option<Stat>, Watch), Error> {
        let answer = self.request(Request::Exists(watched(path))).await?;
        match (stat(answer.reply), answer.watch) {
            (Err(error), None) => Err(error),
            (stat, Some(watch)) => Ok((stat.ok(), watch)),
            (Ok(_), None) => Err(Error::Unknown),
        }
    }

    /// The names of a znode's children, sorted.
    ///
    /// # Errors
    /// Of codes `NoNode`.
    pub async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        children(self.ask(Request::GetChildren(unwatched(path), true)).await?)
    }

    /// The same, and a watch for the next child that comes or goes.
    ///
    /// # Errors
    /// Of codes `NoNode`: there is no watch then.
    pub async fn children_watched(&self, path: &str) -> Result<(Vec<String>, Watch), Error> {
        let answer = self.request(Request::GetChildren(watched(path), true)).await?;
        Ok((children(answer.reply)?, answer.watch.ok_or(Error::Unknown)?))
    }

    /// Waits until the connected server has applied all that was committed when the leader heard of this. A read after it in the
    /// same session is up to date.
    ///
    /// # Errors
    /// None of its own.
    pub async fn sync(&self, path: &str) -> Result<(), Error> {
        self.ask(Request::Sync(Path { path: path.to_owned() })).await.map(|_| ())
    }

    /// Carries several writes out, all or none; returns one result for each.
    ///
    /// # Errors
    /// The code of the part that failed.
    pub async fn multi(&self, writes: Vec<Write>) -> Result<Vec<Reply>, Error> {
        match self.ask(Request::Multi(writes)).await? {
            Reply::Multi(parts) => {
                let culprit = parts.iter().find_map(|part| match part {
                    Reply::Refused(code) if *code != Code::RuntimeInconsistency => Some(*code),
                    _ => None,
                });
                culprit.map_or(Ok(parts), |code| Err(Error::Refused(code)))
            }
            _ => Err(Error::Refused(Code::MarshallingError)),
        }
    }

    /// Ends the session and its ephemeral znodes.
    ///
    /// # Errors
    /// `Unknown` if the connection broke: the session then ends by itself.
    pub async fn close(&self) -> Result<(), Error> {
        self.ask(Request::CloseSession).await.map(|_| ())
    }

    /// Creates a persistent znode and those above it, where they do not exist.
    ///
    /// # Errors
    /// `Unknown`, `Expired`: some of them may exist.
    pub async fn ensure(&self, path: &str) -> Result<(), Error> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            match self.create(&path[..end], Bytes::new(), Mode::Persistent).await {
                Ok(_) => {}
                Err(error) if error.is(Code::NodeExists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn watched(path: &str) -> PathWatch {
    PathWatch { path: path.to_owned(), watch: true }
}

fn unwatched(path: &str) -> PathWatch {
    PathWatch { path: path.to_owned(), watch: false }
}

fn stat(reply: Reply) -> Result<Stat, Error> {
    match reply {
        Reply::Stat(stat) => Ok(stat),
        Reply::Refused(code) => Err(Error::Refused(code)),
        _ => Err(Error::Refused(Code::MarshallingError)),
    }
}

fn data(reply: Reply) -> Result<(Bytes, Stat), Error> {
    match reply {
        Reply::Data(reply) => Ok((reply.data, reply.stat)),
        Reply::Refused(code) => Err(Error::Refused(code)),
        _ => Err(Error::Refused(Code::MarshallingError)),
    }
}

fn children(reply: Reply) -> Result<Vec<String>, Error> {
    match reply {
        Reply::Children(names, _) => Ok(names),
        Reply::Refused(code) => Err(Error::Refused(code)),
        _ => Err(Error::Refused(Code::MarshallingError)),
    }
}

/// The task behind a session.
struct Keeper {
    host: Host,
    servers: Vec<Address>,
    time_out: Duration,
    password: Bytes,
    shared: Rc<Shared>,
    requests: mpsc::UnboundedReceiver<Asked>,
    in_flight: VecDeque<(i32, Asked)>,
    watches: BTreeMap<String, Vec<(WatchKind, oneshot::Sender<WatchEvent>)>>,
    xid: i32,
    arrivals: u64,
}

/// How a connection ended.
enum Ended {
    Broken,
    Over,
}

impl Keeper {
    async fn keep(mut self) {
        let mut chance = self.host.random("coordination/session");
        let mut at = chance.random_range(0..self.servers.len());
        loop {
            at = (at + 1) % self.servers.len();
            let patience = self.time_out / 3;
            let greeted = self.host.timeout(patience, self.greet(self.servers[at])).await;
            let ended = match greeted {
                Ok(Some((connection, response))) if 0 < response.time_out => {
                    self.shared.id.set(response.session_id);
                    self.password = response.passwd;
                    self.time_out = Duration::from_millis(response.time_out as u64);
                    self.shared.connected.set(true);
                    let ended = self.talk(connection).await;
                    self.shared.connected.set(false);
                    ended
                }
                Ok(Some(_)) => Ended::Over,
                Ok(None) | Err(_) => Ended::Broken,
            };
            for (_, asked) in self.in_flight.drain(..) {
                let _ = asked.answer.send(Err(Error::Unknown));
            }
            match ended {
                Ended::Over => break,
                Ended::Broken => {
                    let pause = Duration::from_millis(chance.random_range(10..100));
                    self.host.sleep(pause).await;
                }
            }
        }
        self.shared.expired.set(true);
        self.shared.ended.borrow_mut().clear();
    }

    /// Connects, and begins or continues the session. `None`: try another server.
    async fn greet(&self, server: Address) -> Option<(Connection, ConnectResponse)> {
        let mut connection = self.host.connect(server).await.ok()?;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.shared.last_zxid.get(),
            time_out: self.time_out.as_millis() as i32,
            session_id: self.shared.id.get(),
            passwd: self.password.clone(),
            read_only: false,
        };
        connection.sender.send("ConnectRequest", frame(|out| request.write(out))).await.ok()?;
        let mut body = unframe(connection.receiver.recv().await.ok()?).ok()?;
        Some((connection, ConnectResponse::read(&mut body).ok()?))
    }

    async fn talk(&mut self, connection: Connection) -> Ended {
        let Connection { sender, mut receiver } = connection;
        if self.set_watches(&sender).await.is_none() {
            return Ended::Broken;
        }
        let mut heard = self.host.now();
        let mut said = self.host.now();
        loop {
            let host = self.host.clone();
            let (ping_at, lost_at) = (said + self.time_out / 3, heard + self.time_out * 2 / 3);
            select! {
                frame = next(&mut receiver) => {
                    heard = host.now();
                    match frame.map(|frame| self.on_frame(frame)) {
                        Some(Some(over)) => {
                            if over {
                                return Ended::Over;
                            }
                        }
                        Some(None) | None => return Ended::Broken,
                    }
                }
                asked = self.requests.recv() => {
                    // Every handle is gone: nobody will ask again, and the session expires by itself.
                    let Some(asked) = asked else { return Ended::Over };
                    self.xid += 1;
                    let bytes = asked.request.encode(self.xid);
                    let name = asked.request.name();
                    self.in_flight.push_back((self.xid, asked));
                    said = host.now();
                    let sent = select! {
                        sent = sender.send(name, bytes) => sent.is_ok(),
                        () = host.sleep_until(lost_at) => false,
                    };
                    if !sent {
                        return Ended::Broken;
                    }
                }
                () = host.sleep_until(ping_at.min(lost_at)) => {
                    if lost_at <= host.now() {
                        return Ended::Broken;
                    }
                    said = host.now();
                    if sender.send("Ping", Request::Ping.encode(XID_PING)).await.is_err() {
                        return Ended::Broken;
                    }
                }
            }
        }
    }

    /// Watches move to the new server; it tells at once what changed in between.
    async fn set_watches(&mut self, sender: &Sender) -> Option<()> {
        self.watches.retain(|_, slots| {
            slots.retain(|(_, slot)| !slot.is_closed());
            !slots.is_empty()
        });
        if self.watches.is_empty() {
            return Some(());
        }
        let of = |kind: WatchKind| -> Vec<String> {
            let has = |slots: &Vec<(WatchKind, _)>| slots.iter().any(|(other, _)| *other == kind);
            self.watches.iter().filter(|(_, slots)| has(slots)).map(|(path, _)| path.clone()).collect()
        };
        let request = Request::SetWatches(SetWatches {
            relative_zxid: self.shared.last_zxid.get(),
            data: of(WatchKind::Data),
            exists: of(WatchKind::Exists),
            children: of(WatchKind::Children),
        });
        sender.send(request.name(), request.encode(XID_SET_WATCHES)).await.ok()
    }

    /// Whether the session is over; `None` if the server talks nonsense.
    fn on_frame(&mut self, frame: Bytes) -> Option<bool> {
        let mut body = unframe(frame).ok()?;
        let header = ReplyHeader::read(&mut body).ok()?;
        self.arrivals += 1;
        match header.xid {
            XID_PING | XID_SET_WATCHES => return Some(false),
            XID_EVENT => {
                let (kind, path) = decode_event(&mut body).ok()?;
                self.fire(WatchEvent { kind, path, zxid: header.zxid, arrival: self.arrivals });
                return Some(false);
            }
            _ => {}
        }
        let (xid, asked) = self.in_flight.pop_front()?;
        if xid != header.xid {
            let _ = asked.answer.send(Err(Error::Unknown));
            return None;
        }
        if 0 < header.zxid {
            crate::always!(
                self.shared.last_zxid.get() <= header.zxid,
                "a session never sees the past",
                "{} after {}",
                header.zxid,
                self.shared.last_zxid.get()
            );
            self.shared.last_zxid.set(header.zxid);
        }
        let reply = Reply::decode(header.err, &asked.request, &mut body).ok()?;
        let wanted = WatchKind::of(&asked.request).filter(|kind| match &reply {
            Reply::Refused(code) => *kind == WatchKind::Exists && *code == Code::NoNode,
            _ => true,
        });
        let watch = wanted.map(|kind| {
            let (slot, watch) = oneshot::channel();
            // A watch on what exists is one on its data.
            let kind = match (&reply, kind) {
                (Reply::Stat(_), WatchKind::Exists) => WatchKind::Data,
                (_, kind) => kind,
            };
            let path = match &asked.request {
                Request::Exists(read) | Request::GetData(read) | Request::GetChildren(read, _) => &read.path,
                _ => unreachable!("only reads watch"),
            };
            self.watches.entry(path.clone()).or_default().push((kind, slot));
            Watch(watch)
        });
        let over = reply == Reply::Refused(Code::SessionExpired)
            || matches!(asked.request, Request::CloseSession) && reply == Reply::Done;
        let moved = reply == Reply::Refused(Code::SessionMoved);
        let answer = Answer { reply, zxid: header.zxid, xid, arrival: self.arrivals, watch };
        let _ = asked.answer.send(Ok(answer));
        // A session that has moved away from this connection must find its way again.
        if moved { None } else { Some(over) }
    }

    fn fire(&mut self, event: WatchEvent) {
        let Some(slots) = self.watches.remove(&event.path) else { return };
        let fires = |kind: WatchKind| match event.kind {
            EventKind::ChildrenChanged => kind == WatchKind::Children,
            EventKind::Deleted => true,
            EventKind::Created | EventKind::DataChanged => kind != WatchKind::Children,
        };
        let mut kept = Vec::new();
        for (kind, slot) in slots {
            if fires(kind) {
                let _ = slot.send(event.clone());
            } else {
                kept.push((kind, slot));
            }
        }
        if !kept.is_empty() {
            self.watches.insert(event.path, kept);
        }
    }
}

async fn next(receiver: &mut Receiver) -> Option<Bytes> {
    receiver.recv().await.ok()
}
