//! Requests and replies between hosts: serde messages in postcard, matched by number, over one connection.
//!
//! For internal protocols only; public ones (Kafka, ZooKeeper) bring their own framing. A call has three ends: a reply, a definite
//! refusal to connect, or `Unknown`: it timed out or the connection broke, and the request may have been carried out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::world::host::Host;
use crate::world::network::{Address, Connection, Sender};

/// Why a call brought no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// The request never left: nobody answers at that address.
    #[error("not sent")]
    NotSent,
    /// The request may or may not have been carried out.
    #[error("outcome unknown")]
    Unknown,
}

/// A connection to one server, re-made when it breaks. Calls may overlap.
pub struct Caller<Request, Reply> {
    host: Host,
    to: Address,
    link: Rc<RefCell<Option<Link>>>,
    number_next: Cell<u64>,
    messages: PhantomData<(Request, Reply)>,
}

struct Link {
    sender: Sender,
    waiting: Rc<RefCell<BTreeMap<u64, oneshot::Sender<Bytes>>>>,
}

impl<Request: Serialize, Reply: DeserializeOwned> Caller<Request, Reply> {
    /// A caller of the server at `to`. Connects at the first call.
    pub fn new(host: Host, to: Address) -> Self {
        Self { host, to, link: Rc::default(), number_next: Cell::new(0), messages: PhantomData }
    }

    /// Sends a request and waits for its reply, `patience` in all. `kind` names the request's type in traces.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        kind: &'static str,
        request: &Request,
        patience: Duration,
    ) -> Result<Reply, CallError> {
        let deadline = self.host.now() + patience;
        let connected =
            self.host.timeout(patience, self.connected()).await.map_err(|_| CallError::NotSent)?;
        let (sender, waiting) = connected?;
        let number = self.number_next.get();
        self.number_next.set(number + 1);
        let (reply_to, reply) = oneshot::channel();
        waiting.borrow_mut().insert(number, reply_to);
        let sent = self.host.timeout(deadline.since(self.host.now()), async {
            sender.send(kind, encode(number, request)).await.map_err(|_| CallError::Unknown)?;
            reply.await.map_err(|_| CallError::Unknown)
        });
        let outcome = sent.await;
        waiting.borrow_mut().remove(&number);
        let bytes = outcome.map_err(|_| CallError::Unknown)??;
        postcard::from_bytes(&bytes).map_err(|_| CallError::Unknown)
    }

    async fn connected(
        &self,
    ) -> Result<(Sender, Rc<RefCell<BTreeMap<u64, oneshot::Sender<Bytes>>>>), CallError> {
        if let Some(link) = &*self.link.borrow() {
            return Ok((link.sender.clone(), link.waiting.clone()));
        }
        let Connection { sender, mut receiver } =
            self.host.connect(self.to).await.map_err(|_| CallError::NotSent)?;
        let waiting: Rc<RefCell<BTreeMap<u64, oneshot::Sender<Bytes>>>> = Rc::default();
        *self.link.borrow_mut() = Some(Link { sender: sender.clone(), waiting: waiting.clone() });
        let (slot, answers) = (self.link.clone(), waiting.clone());
        self.host.spawn("rpc-replies", async move {
            while let Ok(frame) = receiver.recv().await {
                let Some((number, body)) = decode(&frame) else { break };
                if let Some(reply_to) = answers.borrow_mut().remove(&number) {
                    let _ = reply_to.send(body);
                }
            }
            // Waiting calls end as Unknown; the next call connects anew.
            answers.borrow_mut().clear();
            if slot.borrow().as_ref().is_some_and(|link| Rc::ptr_eq(&link.waiting, &answers)) {
                let link = slot.borrow_mut().take();
                drop(link);
            }
        });
        Ok((sender, waiting))
    }
}

/// Serves one connection: each request is handled in a task of its own, so that a slow one holds up no other.
pub async fn serve<Request, Reply, F>(
    host: Host,
    connection: Connection,
    kind: &'static str,
    handler: impl Fn(Request) -> F + Clone + 'static,
) where
    Request: DeserializeOwned + 'static,
    Reply: Serialize + 'static,
    F: Future<Output = Reply> + 'static,
{
    let Connection { sender, mut receiver } = connection;
    while let Ok(frame) = receiver.recv().await {
        let Some((number, body)) = decode(&frame) else { return };
        let Ok(request) = postcard::from_bytes(&body) else { return };
        let (sender, handler) = (sender.clone(), handler.clone());
        host.spawn("rpc-request", async move {
            let reply = handler(request).await;
            let _ = sender.send(kind, encode(number, &reply)).await;
        });
    }
}

fn encode<T: Serialize>(number: u64, message: &T) -> Bytes {
    let body = postcard::to_stdvec(message).expect("our messages hold only what postcard can write");
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(&body);
    frame.freeze()
}

fn decode(frame: &Bytes) -> Option<(u64, Bytes)> {
    let number = frame.first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), frame.slice(8..)))
}
