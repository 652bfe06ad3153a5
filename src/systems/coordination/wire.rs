//! ZooKeeper's client protocol: the records, the requests, the replies and the error codes (`zookeeper.jute`, 3.5 and later).

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::jute_record;
use crate::systems::coordination::jute::{Jute, Malformed, frame, unframe};

/// Replies to pings carry this number.
pub const XID_PING: i32 = -2;
/// Watch events carry this number.
pub const XID_EVENT: i32 = -1;
/// Replies to `SetWatches` carry this number.
pub const XID_SET_WATCHES: i32 = -8;

jute_record!(
    /// Who may do what to a znode: stored and returned, not enforced.
    Acl {
        /// The permissions, as bits: read 1, write 2, create 4, delete 8, admin 16.
        perms: i32,
        /// How `id` is to be understood: `world`, `digest`, …
        scheme: String,
        /// Who.
        id: String,
    }
);

impl Acl {
    /// Anyone may do anything (`world:anyone`, all five permissions).
    pub fn open() -> Vec<Self> {
        vec![Self { perms: 31, scheme: "world".into(), id: "anyone".into() }]
    }
}

jute_record!(
    /// What is known of a znode besides its data.
    Stat {
        /// The transaction that created it.
        czxid: i64,
        /// The transaction that last changed its data.
        mzxid: i64,
        /// When it was created, by the leader's calendar clock, in milliseconds.
        ctime: i64,
        /// When its data last changed.
        mtime: i64,
        /// How often its data changed.
        version: i32,
        /// How often its children changed.
        cversion: i32,
        /// How often its ACL changed.
        aversion: i32,
        /// The session it lives with; 0 if it is persistent.
        ephemeral_owner: i64,
        /// Bytes of data.
        data_length: i32,
        /// How many children it has.
        num_children: i32,
        /// The transaction that last changed its children.
        pzxid: i64,
    }
);
jute_record!(
    /// A client's first words: a new session (id 0), or the continuation of one.
    ConnectRequest {
        protocol_version: i32, last_zxid_seen: i64, time_out: i32, session_id: i64, passwd: Bytes, read_only: bool,
    }
);
jute_record!(
    /// The server's answer; a time-out of 0 says that the session has expired.
    ConnectResponse { protocol_version: i32, time_out: i32, session_id: i64, passwd: Bytes, read_only: bool, }
);
jute_record!(RequestHeader { xid: i32, kind: i32 });
jute_record!(ReplyHeader { xid: i32, zxid: i64, err: i32 });
jute_record!(
    /// Creates a znode. `flags`: 0 persistent, 1 ephemeral, 2 sequential, 3 both.
    CreateRequest {
        /// Where.
        path: String,
        /// Its data.
        data: Bytes,
        /// Its ACL.
        acl: Vec<Acl>,
        /// Its mode.
        flags: i32,
    }
);
jute_record!(
    /// Deletes a znode at this version; -1 stands for any.
    DeleteRequest {
        /// Where.
        path: String,
        /// The version demanded.
        version: i32,
    }
);
jute_record!(
    /// A path to read, and whether to watch it.
    PathWatch {
        /// Where.
        path: String,
        /// Whether to tell of its next change.
        watch: bool,
    }
);
jute_record!(
    /// A path.
    Path {
        /// Where.
        path: String,
    }
);
jute_record!(
    /// Changes a znode's data at this version; -1 stands for any.
    SetDataRequest {
        /// Where.
        path: String,
        /// The new data.
        data: Bytes,
        /// The version demanded.
        version: i32,
    }
);
jute_record!(
    /// Changes a znode's ACL at this version of it; -1 stands for any.
    SetAclRequest {
        /// Where.
        path: String,
        /// The new ACL.
        acl: Vec<Acl>,
        /// The version demanded.
        version: i32,
    }
);
jute_record!(
    /// Registers watches anew after a reconnection: those whose znode changed after `relative_zxid` fire at once.
    SetWatches { relative_zxid: i64, data: Vec<String>, exists: Vec<String>, children: Vec<String>, }
);
jute_record!(
    /// Demands a version.
    CheckRequest {
        /// Where.
        path: String,
        /// The version demanded.
        version: i32,
    }
);
jute_record!(MultiHeader { kind: i32, done: bool, err: i32 });
jute_record!(WatcherEvent { kind: i32, state: i32, path: String });
jute_record!(
    /// A znode's data.
    DataReply {
        /// The data.
        data: Bytes,
        /// What else is known.
        stat: Stat,
    }
);
jute_record!(PathReply { path: String, stat: Stat });
jute_record!(ChildrenReply { children: Vec<String>, stat: Stat, });
jute_record!(
    /// A znode's ACL.
    AclReply {
        /// The ACL.
        acl: Vec<Acl>,
        /// What else is known.
        stat: Stat,
    }
);

/// Why a request was refused: `KeeperException.Code`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Code {
    /// The connection broke: the request may have been carried out.
    #[error("connection lost")]
    ConnectionLoss,
    /// The server could not read the request.
    #[error("malformed request")]
    MarshallingError,
    /// The server does not know such a request.
    #[error("unimplemented")]
    Unimplemented,
    /// The request makes no sense.
    #[error("bad arguments")]
    BadArguments,
    /// There is no such znode.
    #[error("no such znode")]
    NoNode,
    /// The znode has another version.
    #[error("bad version")]
    BadVersion,
    /// An ephemeral znode has no children.
    #[error("ephemeral znodes have no children")]
    NoChildrenForEphemerals,
    /// The znode exists already.
    #[error("the znode exists")]
    NodeExists,
    /// The znode has children.
    #[error("the znode has children")]
    NotEmpty,
    /// The session is over, and its ephemeral znodes are gone.
    #[error("the session has expired")]
    SessionExpired,
    /// The session has moved to another server: this connection is stale.
    #[error("the session has moved")]
    SessionMoved,
    /// Another part of the same `multi` failed.
    #[error("another part of the multi failed")]
    RuntimeInconsistency,
}

const CODES: [(Code, i32); 12] = [
    (Code::ConnectionLoss, -4),
    (Code::MarshallingError, -5),
    (Code::Unimplemented, -6),
    (Code::BadArguments, -8),
    (Code::RuntimeInconsistency, -2),
    (Code::NoNode, -101),
    (Code::BadVersion, -103),
    (Code::NoChildrenForEphemerals, -108),
    (Code::NodeExists, -110),
    (Code::NotEmpty, -111),
    (Code::SessionExpired, -112),
    (Code::SessionMoved, -118),
];

impl Code {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        CODES.iter().find(|(code, _)| *code == self).expect("every code has its number").1
    }
    /// The code with this number, if it is one of an error.
    pub fn from_number(number: i32) -> Option<Self> {
        CODES.iter().find(|(_, known)| *known == number).map(|(code, _)| *code)
    }
}

/// One part of a `multi`, or a write on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Creates a znode; `with_stat` (`create2`) asks for its stat.
    Create(CreateRequest, bool),
    /// Deletes one.
    Delete(DeleteRequest),
    /// Changes its data.
    SetData(SetDataRequest),
    /// Changes its ACL.
    SetAcl(SetAclRequest),
    /// Only checks its version.
    Check(CheckRequest),
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A write, ordered by the leader.
    Write(Write),
    /// Several writes, all or none.
    Multi(Vec<Write>),
    /// Whether a znode exists.
    Exists(PathWatch),
    /// A znode's data.
    GetData(PathWatch),
    /// A znode's ACL.
    GetAcl(Path),
    /// The names of a znode's children; the flag asks for the stat (`getChildren2`).
    GetChildren(PathWatch, bool),
    /// Waits until this server has applied all that the leader had committed.
    Sync(Path),
    /// Proves that the client lives.
    Ping,
    /// Watches, after a reconnection.
    SetWatches(SetWatches),
    /// Ends the session.
    CloseSession,
}

impl Write {
    fn kind(&self) -> i32 {
        match self {
            Self::Create(_, false) => 1,
            Self::Create(_, true) => 15,
            Self::Delete(_) => 2,
            Self::SetData(_) => 5,
            Self::SetAcl(_) => 7,
            Self::Check(_) => 13,
        }
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Create(create, _) => create.write(out),
            Self::Delete(delete) => delete.write(out),
            Self::SetData(set) => set.write(out),
            Self::SetAcl(set) => set.write(out),
            Self::Check(check) => check.write(out),
        }
    }

    fn read(kind: i32, from: &mut Bytes) -> Result<Option<Self>, Malformed> {
        Ok(Some(match kind {
            1 => Self::Create(Jute::read(from)?, false),
            15 => Self::Create(Jute::read(from)?, true),
            2 => Self::Delete(Jute::read(from)?),
            5 => Self::SetData(Jute::read(from)?),
            7 => Self::SetAcl(Jute::read(from)?),
            13 => Self::Check(Jute::read(from)?),
            _ => return Ok(None),
        }))
    }

    /// The znode concerned.
    pub fn path(&self) -> &str {
        match self {
            Self::Create(create, _) => &create.path,
            Self::Delete(delete) => &delete.path,
            Self::SetData(set) => &set.path,
            Self::SetAcl(set) => &set.path,
            Self::Check(check) => &check.path,
        }
    }
}

impl Request {
    fn kind(&self) -> i32 {
        match self {
            Self::Write(write) => write.kind(),
            Self::Multi(_) => 14,
            Self::Exists(_) => 3,
            Self::GetData(_) => 4,
            Self::GetAcl(_) => 6,
            Self::GetChildren(_, false) => 8,
            Self::GetChildren(_, true) => 12,
            Self::Sync(_) => 9,
            Self::Ping => 11,
            Self::SetWatches(_) => 101,
            Self::CloseSession => -11,
        }
    }

    /// The name of its type, for traces and faults on messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Write(Write::Create(..)) => "Create",
            Self::Write(Write::Delete(_)) => "Delete",
            Self::Write(Write::SetData(_)) => "SetData",
            Self::Write(Write::SetAcl(_)) => "SetAcl",
            Self::Write(Write::Check(_)) => "Check",
            Self::Multi(_) => "Multi",
            Self::Exists(_) => "Exists",
            Self::GetData(_) => "GetData",
            Self::GetAcl(_) => "GetAcl",
            Self::GetChildren(..) => "GetChildren",
            Self::Sync(_) => "Sync",
            Self::Ping => "Ping",
            Self::SetWatches(_) => "SetWatches",
            Self::CloseSession => "CloseSession",
        }
    }

    /// The frame that carries it.
    pub fn encode(&self, xid: i32) -> Bytes {
        frame(|out| {
            RequestHeader { xid, kind: self.kind() }.write(out);
            match self {
                Self::Write(write) => write.write(out),
                Self::Multi(writes) => {
                    for write in writes {
                        MultiHeader { kind: write.kind(), done: false, err: -1 }.write(out);
                        write.write(out);
                    }
                    MultiHeader { kind: -1, done: true, err: -1 }.write(out);
                }
                Self::Exists(path) | Self::GetData(path) | Self::GetChildren(path, _) => path.write(out),
                Self::GetAcl(path) | Self::Sync(path) => path.write(out),
                Self::SetWatches(watches) => watches.write(out),
                Self::Ping | Self::CloseSession => {}
            }
        })
    }

    /// Reads a frame: the request's number, and the request unless this server does not know its type.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(frame: Bytes) -> Result<(i32, Option<Self>), Malformed> {
        let mut body = unframe(frame)?;
        let header = RequestHeader::read(&mut body)?;
        let from = &mut body;
        let request = match header.kind {
            3 => Self::Exists(Jute::read(from)?),
            4 => Self::GetData(Jute::read(from)?),
            6 => Self::GetAcl(Jute::read(from)?),
            8 => Self::GetChildren(Jute::read(from)?, false),
            12 => Self::GetChildren(Jute::read(from)?, true),
            9 => Self::Sync(Jute::read(from)?),
            11 => Self::Ping,
            101 => Self::SetWatches(Jute::read(from)?),
            -11 => Self::CloseSession,
            14 => {
                let mut writes = Vec::new();
                loop {
                    let part = MultiHeader::read(from)?;
                    if part.done {
                        break;
                    }
                    writes.push(Write::read(part.kind, from)?.ok_or(Malformed)?);
                }
                Self::Multi(writes)
            }
            kind => match Write::read(kind, from)? {
                Some(write) => Self::Write(write),
                None => return Ok((header.xid, None)),
            },
        };
        if body.is_empty() { Ok((header.xid, Some(request))) } else { Err(Malformed) }
    }
}

/// What happened to a znode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum EventKind {
    /// It was created.
    Created,
    /// It was deleted.
    Deleted,
    /// Its data changed.
    DataChanged,
    /// Its children changed.
    ChildrenChanged,
}

impl EventKind {
    const NUMBERS: [(Self, i32); 4] =
        [(Self::Created, 1), (Self::Deleted, 2), (Self::DataChanged, 3), (Self::ChildrenChanged, 4)];

    fn number(self) -> i32 {
        Self::NUMBERS.iter().find(|(kind, _)| *kind == self).expect("every kind has its number").1
    }
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done; nothing more to say.
    Done,
    /// The request was refused.
    Refused(Code),
    /// The final path of a created znode, and its stat where asked for.
    Created(String, Option<Stat>),
    /// A znode's stat.
    Stat(Stat),
    /// A znode's data.
    Data(DataReply),
    /// A znode's ACL.
    Acl(AclReply),
    /// The names of children, sorted, and the stat where asked for.
    Children(Vec<String>, Option<Stat>),
    /// The path that was synced.
    Synced(String),
    /// The results of a `multi`, one for each part.
    Multi(Vec<Reply>),
}

impl Reply {
    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Done | Self::Refused(_) => {}
            Self::Created(path, None) | Self::Synced(path) => path.write(out),
            Self::Created(path, Some(stat)) => {
                PathReply { path: path.clone(), stat: stat.clone() }.write(out);
            }
            Self::Stat(stat) => stat.write(out),
            Self::Data(data) => data.write(out),
            Self::Acl(acl) => acl.write(out),
            Self::Children(children, None) => children.write(out),
            Self::Children(children, Some(stat)) => {
                ChildrenReply { children: children.clone(), stat: stat.clone() }.write(out);
            }
            Self::Multi(parts) => {
                for part in parts {
                    let (kind, err) = match part {
                        Self::Refused(code) => (-1, code.number()),
                        Self::Created(_, None) => (1, 0),
                        Self::Created(_, Some(_)) => (15, 0),
                        Self::Stat(_) => (5, 0),
                        _ => (13, 0),
                    };
                    MultiHeader { kind, done: false, err }.write(out);
                    match part {
                        Self::Refused(code) => code.number().write(out),
                        other => other.write(out),
                    }
                }
                MultiHeader { kind: -1, done: true, err: -1 }.write(out);
            }
        }
    }

    /// The frame that carries it.
    pub fn encode(&self, xid: i32, zxid: i64) -> Bytes {
        let err = match self {
            Self::Refused(code) => code.number(),
            Self::Multi(parts) => parts
                .iter()
                .find_map(|part| match part {
                    Self::Refused(code) if *code != Code::RuntimeInconsistency => Some(code.number()),
                    _ => None,
                })
                .unwrap_or(0),
            _ => 0,
        };
        frame(|out| {
            ReplyHeader { xid, zxid, err }.write(out);
            self.write(out);
        })
    }

    /// Reads the body of a reply to `request`.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn decode(err: i32, request: &Request, from: &mut Bytes) -> Result<Self, Malformed> {
        if err != 0 && !matches!(request, Request::Multi(_)) {
            return Code::from_number(err).map(Self::Refused).ok_or(Malformed);
        }
        Ok(match request {
            Request::Write(write) => Self::decode_write(write, from)?,
            Request::Exists(_) => Self::Stat(Jute::read(from)?),
            Request::GetData(_) => Self::Data(Jute::read(from)?),
            Request::GetAcl(_) => Self::Acl(Jute::read(from)?),
            Request::GetChildren(_, false) => Self::Children(Jute::read(from)?, None),
            Request::GetChildren(_, true) => {
                let reply = ChildrenReply::read(from)?;
                Self::Children(reply.children, Some(reply.stat))
            }
            Request::Sync(_) => Self::Synced(Jute::read(from)?),
            Request::Ping | Request::SetWatches(_) | Request::CloseSession => Self::Done,
            Request::Multi(_) if from.is_empty() => Self::Refused(Code::from_number(err).ok_or(Malformed)?),
            Request::Multi(writes) => {
                let mut parts = Vec::new();
                for write in writes {
                    let header = MultiHeader::read(from)?;
                    parts.push(if header.kind == -1 {
                        Self::Refused(Code::from_number(i32::read(from)?).ok_or(Malformed)?)
                    } else {
                        Self::decode_write(write, from)?
                    });
                }
                if !MultiHeader::read(from)?.done {
                    return Err(Malformed);
                }
                Self::Multi(parts)
            }
        })
    }

    fn decode_write(write: &Write, from: &mut Bytes) -> Result<Self, Malformed> {
        Ok(match write {
            Write::Create(_, false) => Self::Created(Jute::read(from)?, None),
            Write::Create(_, true) => {
                let reply = PathReply::read(from)?;
                Self::Created(reply.path, Some(reply.stat))
            }
            Write::SetData(_) | Write::SetAcl(_) => Self::Stat(Jute::read(from)?),
            Write::Delete(_) | Write::Check(_) => Self::Done,
        })
    }
}

/// The frame of a watch event.
pub fn encode_event(kind: EventKind, path: &str, zxid: i64) -> Bytes {
    frame(|out| {
        ReplyHeader { xid: XID_EVENT, zxid, err: 0 }.write(out);
        WatcherEvent { kind: kind.number(), state: 3, path: path.to_owned() }.write(out);
    })
}

/// Reads the body of a watch event.
///
/// # Errors
/// If it is malformed.
pub fn decode_event(from: &mut Bytes) -> Result<(EventKind, String), Malformed> {
    let event = WatcherEvent::read(from)?;
    let known = EventKind::NUMBERS.iter().find(|(_, number)| *number == event.kind).ok_or(Malformed)?;
    Ok((known.0, event.path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::damage::damaged;

    fn path(path: &str) -> PathWatch {
        PathWatch { path: path.into(), watch: true }
    }

    fn examples() -> Vec<(Request, Reply)> {
        let create =
            CreateRequest { path: "/a".into(), data: Bytes::from_static(b"x"), acl: Acl::open(), flags: 3 };
        let set = SetDataRequest { path: "/a".into(), data: Bytes::new(), version: 4 };
        let stat = Stat { czxid: 1, version: 2, ..Stat::default() };
        vec![
            (
                Request::Write(Write::Create(create.clone(), true)),
                Reply::Created("/a7".into(), Some(stat.clone())),
            ),
            (
                Request::GetData(path("/a")),
                Reply::Data(DataReply { data: Bytes::from_static(b"x"), stat: stat.clone() }),
            ),
            (Request::GetChildren(path("/"), true), Reply::Children(vec!["a".into()], Some(stat.clone()))),
            (Request::GetData(path("/none")), Reply::Refused(Code::NoNode)),
            (
                Request::Multi(vec![Write::Create(create.clone(), false), Write::SetData(set.clone())]),
                Reply::Multi(vec![Reply::Created("/a1".into(), None), Reply::Stat(stat.clone())]),
            ),
            (
                Request::Multi(vec![Write::Create(create, false), Write::SetData(set)]),
                Reply::Multi(vec![
                    Reply::Refused(Code::RuntimeInconsistency),
                    Reply::Refused(Code::BadVersion),
                ]),
            ),
            (Request::Ping, Reply::Done),
        ]
    }

    #[test]
    fn requests_and_replies_survive_the_wire() {
        for (request, reply) in examples() {
            assert_eq!(Request::decode(request.encode(9)), Ok((9, Some(request.clone()))));
            let mut body = unframe(reply.encode(9, 77)).expect("a frame");
            let header = ReplyHeader::read(&mut body).expect("a header");
            assert_eq!((header.xid, header.zxid), (9, 77));
            assert_eq!(Reply::decode(header.err, &request, &mut body), Ok(reply));
        }
    }

    fn connects() -> Vec<u8> {
        let request =
            ConnectRequest { passwd: Bytes::from_static(b"0123456789abcdef"), ..ConnectRequest::default() };
        frame(|out| request.write(out)).to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whatever_a_client_sends_is_read_or_refused(
            bytes in damaged(examples().iter().map(|(request, _)| request.encode(9).to_vec()).chain([connects()]).collect()),
        ) {
            let frame = Bytes::from(bytes);
            let _ = unframe(frame.clone()).and_then(|mut body| ConnectRequest::read(&mut body));
            if let Ok((xid, Some(request))) = Request::decode(frame) {
                // What is understood can be told again.
                prop_assert_eq!(Request::decode(request.encode(xid)), Ok((xid, Some(request))));
            }
        }

        #[test]
        fn whatever_a_server_sends_is_read_or_refused(
            bytes in damaged(examples().iter().map(|(_, reply)| reply.encode(9, 77).to_vec()).collect()),
        ) {
            let frame = Bytes::from(bytes);
            for (request, _) in examples() {
                let Ok(mut body) = unframe(frame.clone()) else { continue };
                let Ok(header) = ReplyHeader::read(&mut body) else { continue };
                let _ = Reply::decode(header.err, &request, &mut body.clone());
                let _ = decode_event(&mut body);
            }
        }
    }
}
