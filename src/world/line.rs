//! A connection to one server that is made anew when it breaks, and on which answers find those who asked, by a number that each frame
//! carries. Protocols bring their framing.
//!
//! It is closed when its owner drops it: what still reads the answers holds no part of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::{Mutex, oneshot};

use crate::world::host::Host;
use crate::world::network::{Address, Connection, Sender};

/// Those who wait for answers, by number.
type Waiting = Rc<RefCell<BTreeMap<u64, oneshot::Sender<Bytes>>>>;

/// The line.
pub struct Line {
    host: Host,
    to: Address,
    reader: &'static str,
    number: fn(&Bytes) -> Option<u64>,
    link: Rc<RefCell<Option<Link>>>,
    connecting: Mutex<()>,
}

/// A line while its connection stands.
#[derive(Clone)]
pub struct Link {
    /// Where requests go.
    pub sender: Sender,
    waiting: Waiting,
}

impl Link {
    /// Waits for the frame that carries this number; an error when the connection breaks.
    pub fn expect(&self, number: u64) -> oneshot::Receiver<Bytes> {
        let (reply_to, reply) = oneshot::channel();
        self.waiting.borrow_mut().insert(number, reply_to);
        reply
    }

    /// Waits no more: an answer that comes late finds nobody.
    pub fn forget(&self, number: u64) {
        self.waiting.borrow_mut().remove(&number);
    }
}

impl Line {
    /// A line to the server at `to`. Connects when it is first needed. `number` reads what a frame answers (`None` if it is malformed:
    /// the connection ends), in a task called `reader`.
    pub fn new(host: &Host, to: Address, reader: &'static str, number: fn(&Bytes) -> Option<u64>) -> Self {
        Self { host: host.clone(), to, reader, number, link: Rc::default(), connecting: Mutex::default() }
    }

    /// The server's address.
    pub fn address(&self) -> Address {
        self.to
    }

    /// Whether a connection stands, as far as is known here.
    pub fn is_connected(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// Gives the connection up; the next link is another.
    pub fn cut(&self) {
        let link = self.link.borrow_mut().take();
        drop(link);
    }

    /// The connection, made if need be; `None` if nobody answers there. Who asks while it is being made gets the same one, in the order in
    /// which they asked: on two connections a request could overtake an earlier one.
    pub async fn link(&self) -> Option<Link> {
        let _turn = self.connecting.lock().await;
        let standing = self.link.borrow().clone();
        if standing.is_some() {
            return standing;
        }
        let Connection { sender, mut receiver } = self.host.connect(self.to).await.ok()?;
        let link = Link { sender, waiting: Rc::default() };
        *self.link.borrow_mut() = Some(link.clone());
        let (slot, answers, number) = (Rc::downgrade(&self.link), link.waiting.clone(), self.number);
        self.host.spawn(self.reader, async move {
            while let Ok(frame) = receiver.recv().await {
                let Some(number) = number(&frame) else { break };
                if let Some(reply_to) = answers.borrow_mut().remove(&number) {
                    let _ = reply_to.send(frame);
                }
            }
            // Whoever waits learns that the outcome is unknown; the next request connects anew.
            answers.borrow_mut().clear();
            let Some(slot) = slot.upgrade() else { return };
            let ours = slot.borrow().as_ref().is_some_and(|link| Rc::ptr_eq(&link.waiting, &answers));
            if ours {
                let link = slot.borrow_mut().take();
                drop(link);
            }
        });
        Some(link)
    }
}
