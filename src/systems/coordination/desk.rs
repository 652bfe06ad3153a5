//! The desk of one server: its clients' connections, the order of their replies, and their watches.
//!
//! Pure: frames and commits in, effects out. Promises, for each session: replies come in the order of the requests; a watch event
//! comes before any reply that shows the new state; what a reply's zxid claims, this server has applied.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::systems::coordination::database::{Applied, Database};
use crate::systems::coordination::jute::{Jute, frame, unframe};
use crate::systems::coordination::message::{Forwarded, ForwardedRequest};
use crate::systems::coordination::txn::{Change, Txn};
use crate::systems::coordination::watch::{LinkId, Watches};
use crate::systems::coordination::wire::{
    AclReply, Code, ConnectRequest, ConnectResponse, DataReply, EventKind, Reply, Request, SetWatches,
    XID_PING, XID_SET_WATCHES, encode_event,
};
use crate::systems::coordination::zxid::SessionId;
use crate::world::property::bug;

/// What the shell must do for the desk.
#[derive(Clone, Debug)]
pub enum DeskEffect {
    /// Send a frame on a connection.
    Send(LinkId, &'static str, Bytes),
    /// Close it, after all that was sent.
    Close(LinkId),
    /// Have the leader order this.
    Forward(Forwarded),
    /// Ask the leader whether a session lives.
    Revalidate(SessionId),
    /// Ask the leader to tell when all that is committed now has come.
    Sync(SessionId, i32),
    /// The session was heard of.
    Touch(SessionId),
}

/// How far a client's request is.
#[derive(Debug)]
enum Stage {
    /// A read, to be answered when its turn comes.
    Read(Request),
    /// Waits for the leader.
    Waiting,
    /// Answered, but not its turn yet.
    Answered(Reply, i64),
}

#[derive(Debug)]
struct Pending {
    xid: i32,
    name: &'static str,
    stage: Stage,
}

#[derive(Debug)]
enum Greeting {
    /// Nothing was said yet.
    None,
    /// A new session waits for its commit.
    Creating(SessionId),
    /// An old one waits for the leader's word.
    Returning(SessionId),
    /// In session.
    Open(SessionId),
}

#[derive(Debug)]
struct Link {
    greeting: Greeting,
    queue: VecDeque<Pending>,
}

/// The clients of one server while it serves.
#[derive(Debug)]
pub struct Desk {
    /// The state that reads see.
    pub database: Database,
    links: BTreeMap<LinkId, Link>,
    sessions: BTreeMap<SessionId, LinkId>,
    watches: Watches,
    time_out_range: (i32, i32),
    effects: Vec<DeskEffect>,
}

/// What a message is called that tells a client of a change it waits for.
pub const WATCHER_EVENT: &str = "WatcherEvent";

/// A session's password: only who was told it can go on with the session.
fn password(session: SessionId) -> Bytes {
    const SECRET: u64 = 0xB3415C00;
    Bytes::copy_from_slice(&xxh3_128_with_seed(&session.get().to_be_bytes(), SECRET).to_be_bytes())
}

impl Desk {
    /// A desk without clients. Time-outs are negotiated into 2 to 20 ticks, as ZooKeeper does.
    pub fn new(database: Database, tick_ms: i32) -> Self {
        Self {
            database,
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            watches: Watches::default(),
            time_out_range: (2 * tick_ms, 20 * tick_ms),
            effects: Vec::new(),
        }
    }

    /// What is to be done, in order.
    pub fn take_effects(&mut self) -> Vec<DeskEffect> {
        std::mem::take(&mut self.effects)
    }

    /// A client has connected.
    pub fn on_connect(&mut self, link: LinkId) {
        self.links.insert(link, Link { greeting: Greeting::None, queue: VecDeque::new() });
    }

    /// A connection has ended. Its session goes on until it expires.
    pub fn on_disconnect(&mut self, link: LinkId) {
        self.watches.forget(link);
        if let Some(Link { greeting: Greeting::Open(session), .. }) = self.links.remove(&link)
            && self.sessions.get(&session) == Some(&link)
        {
            self.sessions.remove(&session);
        }
    }

    /// A frame came. `fresh` gives the number of a new session.
    pub fn on_frame(&mut self, link: LinkId, bytes: Bytes, fresh: impl FnOnce() -> SessionId) {
        match self.links.get(&link).map(|link| &link.greeting) {
            None => {}
            Some(Greeting::None) => self.greet(link, bytes, fresh),
            Some(Greeting::Open(session)) => {
                let session = *session;
                self.effects.push(DeskEffect::Touch(session));
                match Request::decode(bytes) {
                    Ok((xid, Some(request))) => self.ask(link, session, xid, request),
                    Ok((xid, None)) => {
                        let reply = Reply::Refused(Code::Unimplemented);
                        self.push(link, xid, "Unknown", Stage::Answered(reply, self.database.last().get()));
                    }
                    Err(_) => {
                        crate::reached!("a coordination server was sent what it could not read");
                        self.close(link);
                    }
                }
                self.drain(link);
            }
            // A client that talks before it is greeted breaks the protocol.
            Some(Greeting::Creating(_) | Greeting::Returning(_)) => self.close(link),
        }
    }

    fn greet(&mut self, link: LinkId, bytes: Bytes, fresh: impl FnOnce() -> SessionId) {
        let request = unframe(bytes).and_then(|mut body| ConnectRequest::read(&mut body));
        let Ok(request) = request else { return self.close(link) };
        // This server is behind what the client has seen: it must not show it the past.
        if self.database.last().get() < request.last_zxid_seen {
            crate::reached!("a client was turned away by a server behind it");
            return self.close(link);
        }
        let greeting = if request.session_id == 0 {
            let fresh = fresh();
            let (min, max) = self.time_out_range;
            let time_out = request.time_out.clamp(min, max);
            self.effects.push(DeskEffect::Forward(Forwarded {
                session: fresh,
                cxid: 0,
                asked: ForwardedRequest::CreateSession(time_out),
            }));
            Greeting::Creating(fresh)
        } else {
            let session = SessionId::new(request.session_id);
            if request.passwd != password(session) {
                return self.answer_expired(link);
            }
            self.effects.push(DeskEffect::Revalidate(session));
            Greeting::Returning(session)
        };
        self.links.get_mut(&link).expect("it is connected").greeting = greeting;
    }

    /// The leader says whether a session lives: its time-out in milliseconds.
    pub fn on_revalidated(&mut self, session: SessionId, time_out: Option<i32>) {
        let waiting = |link: &Link| matches!(link.greeting, Greeting::Returning(other) if other == session);
        let links: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| waiting(link)).map(|(id, _)| *id).collect();
        for link in links {
            match time_out {
                Some(time_out) => self.open(link, session, time_out),
                None => self.answer_expired(link),
            }
        }
    }

    fn open(&mut self, link: LinkId, session: SessionId, time_out: i32) {
        if let Some(old) = self.sessions.insert(session, link)
            && old != link
        {
            self.close(old);
        }
        self.links.get_mut(&link).expect("it is connected").greeting = Greeting::Open(session);
        self.answer_greeting(
            link,
            ConnectResponse {
                protocol_version: 0,
                time_out,
                session_id: session.get(),
                passwd: password(session),
                read_only: false,
            },
        );
    }

    fn answer_expired(&mut self, link: LinkId) {
        self.answer_greeting(
            link,
            ConnectResponse { passwd: Bytes::from(vec![0; 16]), ..ConnectResponse::default() },
        );
        self.close(link);
    }

    fn answer_greeting(&mut self, link: LinkId, response: ConnectResponse) {
        self.effects.push(DeskEffect::Send(link, "ConnectResponse", frame(|out| response.write(out))));
    }

    fn close(&mut self, link: LinkId) {
        self.on_disconnect(link);
        self.effects.push(DeskEffect::Close(link));
    }

    fn ask(&mut self, link: LinkId, session: SessionId, xid: i32, request: Request) {
        let name = request.name();
        let mut forward = |asked| {
            self.effects.push(DeskEffect::Forward(Forwarded { session, cxid: xid, asked }));
            Stage::Waiting
        };
        let stage = match request {
            Request::Ping => {
                let pong = Reply::Done.encode(XID_PING, self.database.last().get());
                self.effects.push(DeskEffect::Send(link, "PingReply", pong));
                return;
            }
            Request::Write(write) => forward(ForwardedRequest::Write(write)),
            Request::Multi(writes) => forward(ForwardedRequest::Multi(writes)),
            Request::CloseSession => forward(ForwardedRequest::CloseSession),
            Request::Sync(_) => {
                self.effects.push(DeskEffect::Sync(session, xid));
                Stage::Waiting
            }
            read => Stage::Read(read),
        };
        self.push(link, xid, name, stage);
    }

    fn push(&mut self, link: LinkId, xid: i32, name: &'static str, stage: Stage) {
        if let Some(link) = self.links.get_mut(&link) {
            link.queue.push_back(Pending { xid, name, stage });
        }
    }

    /// All that was committed when the client asked has been applied here.
    pub fn on_synced(&mut self, session: SessionId, xid: i32) {
        let zxid = self.database.last().get();
        self.answer(session, xid, Reply::Synced(String::new()), zxid);
    }

    /// A transaction was applied: watches fire, then whoever asked is answered.
    pub fn on_applied(&mut self, txn: &Txn, applied: Applied) {
        for event in &applied.events {
            for link in self.watches.fire(event) {
                let bytes = encode_event(event.0, &event.1, txn.zxid.get());
                self.effects.push(DeskEffect::Send(link, WATCHER_EVENT, bytes));
            }
        }
        match &txn.change {
            Change::CreateSession { time_out } => self.on_session_created(txn.session, *time_out),
            Change::CloseSession { .. } => {
                self.answer(txn.session, txn.cxid, applied.reply, txn.zxid.get());
                if let Some(link) = self.sessions.get(&txn.session).copied() {
                    self.close(link);
                }
            }
            _ => self.answer(txn.session, txn.cxid, applied.reply, txn.zxid.get()),
        }
    }

    fn on_session_created(&mut self, session: SessionId, time_out: i32) {
        let waiting = |link: &Link| matches!(link.greeting, Greeting::Creating(other) if other == session);
        if let Some(link) = self.links.iter().find(|(_, link)| waiting(link)).map(|(id, _)| *id) {
            self.open(link, session, time_out);
        }
    }

    /// A session that has moved here may meet the commit of a request it sent elsewhere: there is nobody to answer then.
    fn answer(&mut self, session: SessionId, xid: i32, reply: Reply, zxid: i64) {
        let Some(id) = self.sessions.get(&session).copied() else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let waiting = |pending: &&mut Pending| pending.xid == xid && matches!(pending.stage, Stage::Waiting);
        if let Some(pending) = link.queue.iter_mut().find(waiting) {
            pending.stage = Stage::Answered(reply, zxid);
        }
        self.drain(id);
    }

    /// Answers what has its turn.
    fn drain(&mut self, id: LinkId) {
        while let Some(front) = self.links.get_mut(&id).and_then(|link| {
            let ready = link.queue.front().is_some_and(|front| !matches!(front.stage, Stage::Waiting));
            ready.then(|| link.queue.pop_front())?
        }) {
            let now = self.database.last().get();
            let (xid, reply, zxid) = match front.stage {
                Stage::Answered(reply, zxid) => (front.xid, reply, zxid),
                Stage::Read(Request::SetWatches(watches)) => {
                    self.set_watches(id, &watches);
                    (XID_SET_WATCHES, Reply::Done, now)
                }
                Stage::Read(request) => {
                    (front.xid, self.read(id, &request), if bug("Z18") { 0 } else { now })
                }
                Stage::Waiting => unreachable!("checked above"),
            };
            self.effects.push(DeskEffect::Send(id, front.name, reply.encode(xid, zxid)));
        }
    }

    fn read(&mut self, link: LinkId, request: &Request) -> Reply {
        let found = |path: &str| self.database.tree.get(path);
        match request {
            Request::Exists(read) => {
                let reply = self.database.exists(&read.path);
                if read.watch {
                    self.watches.watch_data(&read.path, link);
                }
                reply
            }
            Request::GetData(read) => {
                let Some(znode) = found(&read.path) else { return Reply::Refused(Code::NoNode) };
                let reply = DataReply { data: znode.data.clone(), stat: znode.stat() };
                if read.watch {
                    self.watches.watch_data(&read.path, link);
                }
                Reply::Data(reply)
            }
            Request::GetChildren(read, with_stat) => {
                let Some(znode) = found(&read.path) else { return Reply::Refused(Code::NoNode) };
                let names = znode.children.iter().cloned().collect();
                let stat = with_stat.then(|| znode.stat());
                if read.watch {
                    self.watches.watch_children(&read.path, link);
                }
                Reply::Children(names, stat)
            }
            Request::GetAcl(read) => match found(&read.path) {
                Some(znode) => Reply::Acl(AclReply { acl: znode.acl.clone(), stat: znode.stat() }),
                None => Reply::Refused(Code::NoNode),
            },
            _ => Reply::Refused(Code::BadArguments),
        }
    }

    /// Watches of a client that has come back: what changed while it was away fires at once.
    fn set_watches(&mut self, link: LinkId, set: &SetWatches) {
        let mut missed = Vec::new();
        for path in &set.data {
            match self.database.tree.get(path) {
                None => missed.push((EventKind::Deleted, path)),
                Some(znode) if set.relative_zxid < znode.modified().get() => {
                    missed.push((EventKind::DataChanged, path));
                }
                Some(_) => self.watches.watch_data(path, link),
            }
        }
        for path in &set.exists {
            match self.database.tree.get(path) {
                Some(_) => missed.push((EventKind::Created, path)),
                None => self.watches.watch_data(path, link),
            }
        }
        for path in &set.children {
            match self.database.tree.get(path) {
                None => missed.push((EventKind::Deleted, path)),
                Some(znode) if set.relative_zxid < znode.children_changed().get() => {
                    missed.push((EventKind::ChildrenChanged, path));
                }
                Some(_) => self.watches.watch_children(path, link),
            }
        }
        crate::sometimes!(!missed.is_empty(), "a watch fired for what its client had missed");
        let zxid = self.database.last().get();
        for (kind, path) in missed {
            self.effects.push(DeskEffect::Send(link, WATCHER_EVENT, encode_event(kind, path, zxid)));
        }
    }
}
