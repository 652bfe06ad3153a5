//! One session of a client: each operation is noted before it is sent and after it is answered, with the watches that fired before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use crate::base::SimTime;
use crate::checkers::registers::{Answer, Ask, Fired, OpKey, Outcome, Refusal, Seen, SessionKey};
use crate::systems::coordination::api::{
    self, Code, Error, Mode, Path, PathWatch, Reply, Request, Session, Stat, Watch, Write,
};
use crate::workloads::registers::Notebook;
use crate::world::Level;

/// A session, and what it watches.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) session: Session,
    key: SessionKey,
    notebook: Rc<Notebook>,
    watches: Rc<RefCell<BTreeMap<OpKey, Watch>>>,
}

/// The bytes of a value.
pub(super) fn value(token: u64) -> Bytes {
    format!("{token:016x}").into()
}

/// The value in some bytes; nobody writes the one that stands for nonsense.
fn token(data: &[u8]) -> u64 {
    let text = std::str::from_utf8(data).ok();
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(u64::MAX)
}

fn seen(stat: &Stat) -> Seen {
    Seen { czxid: stat.czxid, mzxid: stat.mzxid, version: stat.version }
}

fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Done | Reply::Synced(_) | Reply::Acl(_) => Outcome::Done,
        Reply::Refused(code) => Outcome::Refused(refusal(code)),
        Reply::Created(path, stat) => Outcome::Created(path, stat.as_ref().map(seen).unwrap_or_default()),
        Reply::Stat(stat) => Outcome::Stands(seen(&stat)),
        Reply::Data(data) => Outcome::Value(token(&data.data), seen(&data.stat)),
        Reply::Children(names, _) => Outcome::Names(names),
        Reply::Multi(parts) => {
            let culprit = parts.iter().find_map(|part| match part {
                Reply::Refused(code) if *code != Code::RuntimeInconsistency => Some(*code),
                _ => None,
            });
            let stat = |part: &Reply| match part {
                Reply::Stat(stat) => seen(stat),
                _ => Seen::default(),
            };
            culprit.map_or(Outcome::Parts(parts.iter().map(stat).collect()), |code| {
                Outcome::Refused(refusal(code))
            })
        }
    }
}

fn refusal(code: Code) -> Refusal {
    match code {
        Code::NoNode => Refusal::NoNode,
        Code::BadVersion => Refusal::BadVersion,
        Code::NodeExists => Refusal::NodeExists,
        Code::SessionExpired | Code::SessionMoved => Refusal::Session,
        _ => Refusal::Other,
    }
}

fn request(ask: &Ask, watch: bool) -> Request {
    let at = |path: &String| PathWatch { path: path.clone(), watch };
    match ask {
        Ask::Get { path } => Request::GetData(at(path)),
        Ask::Exists { path } => Request::Exists(at(path)),
        Ask::Children { path } => Request::GetChildren(at(path), true),
        Ask::Set { path, token, expected } => Request::Write(api::set(path, value(*token), *expected)),
        Ask::Multi { paths, token, expected } => {
            let set = |(at, path): (usize, &String)| -> Write {
                let demanded = expected.filter(|_| at + 1 == paths.len());
                api::set(path, value(*token), demanded)
            };
            Request::Multi(paths.iter().enumerate().map(set).collect())
        }
        Ask::Create { path, sequential } => {
            let mode = if *sequential { Mode::EphemeralSequential } else { Mode::Ephemeral };
            Request::Write(api::create(path, Bytes::new(), mode))
        }
        Ask::Delete { path } => Request::Write(api::delete(path, None)),
        Ask::Sync => Request::Sync(Path { path: "/".to_owned() }),
        Ask::Close => Request::CloseSession,
    }
}

impl Visit {
    /// A client's new session.
    pub(super) fn new(session: Session, client: u32, notebook: &Rc<Notebook>) -> Self {
        let key = notebook.history.borrow_mut().session_began(client);
        Self { session, key, notebook: notebook.clone(), watches: Rc::default() }
    }

    /// Asks, and notes the answer. `None`: unknown, or not done because the session is over.
    pub(super) async fn ask(&self, ask: Ask) -> Option<Outcome> {
        self.carry_out(ask, false).await
    }

    /// Reads, and watches what was read.
    pub(super) async fn watch(&self, ask: Ask) -> Option<Outcome> {
        self.carry_out(ask, true).await
    }

    async fn carry_out(&self, ask: Ask, watch: bool) -> Option<Outcome> {
        let request = request(&ask, watch);
        let host = self.session.host();
        host.log(Level::Debug, || format!("{} asks {ask:?}", self.key));
        let op = self.notebook.history.borrow_mut().asked(self.now(), self.key, ask);
        let result = self.session.request(request).await;
        self.note_fired();
        match result {
            Ok(answer) => {
                let outcome = outcome(answer.reply);
                host.log(Level::Debug, || format!("{} is told {outcome:?}", self.key));
                let noted = Answer {
                    outcome: outcome.clone(),
                    zxid: answer.zxid,
                    xid: answer.xid,
                    arrival: answer.arrival,
                    watched: answer.watch.is_some(),
                };
                self.notebook.history.borrow_mut().answered(self.now(), op, noted);
                if let Some(watch) = answer.watch {
                    self.watches.borrow_mut().insert(op, watch);
                    // It may have fired before this task had its turn, and there may be no later answer.
                    self.note_fired();
                }
                Some(outcome)
            }
            Err(Error::Expired) => {
                host.log(Level::Debug, || format!("{} has expired", self.key));
                self.notebook.history.borrow_mut().not_done(self.now(), op);
                None
            }
            Err(Error::Unknown | Error::Refused(_)) => None,
        }
    }

    fn now(&self) -> SimTime {
        self.session.host().true_time()
    }

    /// Notes the watches that have fired: before every answer, so that a client that dies has told of all it was told.
    fn note_fired(&self) {
        let mut history = self.notebook.history.borrow_mut();
        self.watches.borrow_mut().retain(|read, watch| {
            let Some(event) = watch.told() else { return true };
            history.fired(*read, Fired { zxid: event.zxid, arrival: event.arrival });
            false
        });
    }

    /// The lock is held with this fencing number.
    pub(super) fn note_held(&self, fence: u64, zxid: i64) {
        self.notebook.history.borrow_mut().held(self.now(), self.key, fence, zxid);
    }
}
