//! Requests and replies between hosts: serde messages in postcard, matched by number, over one connection.
//!
//! For internal protocols only; public ones (Kafka, ZooKeeper) bring their own framing. A call has three ends: a reply, a definite
//! refusal to connect, or `Unknown`: it timed out or the connection broke, and the request may have been carried out.

use std::cell::Cell;
use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::world::host::Host;
use crate::world::line::Line;
use crate::world::network::{Address, Connection};

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

/// A connection to one server, made anew when it breaks. Calls may overlap.
pub struct Caller<Request, Reply> {
    host: Host,
    line: Line,
    number_next: Cell<u64>,
    messages: PhantomData<(Request, Reply)>,
}

impl<Request: Serialize, Reply: DeserializeOwned> Caller<Request, Reply> {
    /// A caller of the server at `to`. Connects at the first call.
    pub fn new(host: Host, to: Address) -> Self {
        let number = |frame: &Bytes| decode(frame).map(|(number, _)| number);
        let line = Line::new(&host, to, "rpc-replies", number);
        Self { host, line, number_next: Cell::new(0), messages: PhantomData }
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
        let connected = self.host.timeout(patience, self.line.link()).await;
        let link = connected.ok().flatten().ok_or(CallError::NotSent)?;
        let number = self.number_next.get();
        self.number_next.set(number + 1);
        let reply = link.expect(number);
        let sent = self.host.timeout(deadline.since(self.host.now()), async {
            link.sender.send(kind, encode(number, request)).await.map_err(|_| CallError::Unknown)?;
            reply.await.map_err(|_| CallError::Unknown)
        });
        let outcome = sent.await;
        link.forget(number);
        let frame = outcome.map_err(|_| CallError::Unknown)??;
        let (_, body) = decode(&frame).ok_or(CallError::Unknown)?;
        postcard::from_bytes(&body).map_err(|_| CallError::Unknown)
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
