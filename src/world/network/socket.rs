//! What a process holds of a connection: listeners, connects, and the two halves that send and receive.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::base::{HostId, SimTime};
use crate::world::chance::SplitMix;
use crate::world::host::Host;
use crate::world::network::transport::{End, EndState, Flow, Knock, Link, ListenerState, Network, Segment};
use crate::world::network::wires::Path;
use crate::world::network::{Address, ConnectError, ConnectionError, ListenError};
use crate::world::trace::What;

/// An open connection: its two halves.
pub struct Connection {
    /// The half that sends.
    pub sender: Sender,
    /// The half that receives.
    pub receiver: Receiver,
}

impl Connection {
    /// The other end.
    pub fn peer(&self) -> Address {
        self.sender.peer
    }
}

/// Sends messages on a connection. Dropping the last clone closes this direction in good order.
pub struct Sender {
    host: Host,
    connection: u64,
    end: usize,
    same_zone: bool,
    peer: Address,
}

impl Sender {
    /// Sends one message. Waits while the window is full. `kind` is the name of the message's type, for traces and faults.
    ///
    /// # Errors
    /// If the connection has ended. `Ok` means handed to the transport, not received.
    pub async fn send(&self, kind: &'static str, bytes: Bytes) -> Result<(), ConnectionError> {
        let mut bytes = Some(bytes);
        poll_fn(|context| {
            let kernel = self.host.kernel();
            let mut network = kernel.network.borrow_mut();
            let window = network.wires.config.window.get() as usize;
            let Some(link) = network.connections.get_mut(self.connection) else {
                return Poll::Ready(Err(ConnectionError::Reset));
            };
            match link.ends[self.end].state {
                EndState::Open => {}
                EndState::Failed(why) => return Poll::Ready(Err(why)),
                EndState::Gone => return Poll::Ready(Err(ConnectionError::Reset)),
            }
            if link.flows[self.end].fin_sent {
                return Poll::Ready(Err(ConnectionError::Closed));
            }
            if window < link.flows[self.end].unread_bytes {
                let writers = &mut link.ends[self.end].writers;
                if !writers.iter().any(|waker| waker.will_wake(context.waker())) {
                    writers.push(context.waker().clone());
                }
                return Poll::Pending;
            }
            let bytes = bytes.take().expect("a send is polled to its end once");
            let data = Segment::Data { kind, bytes };
            network.push(kernel, self.connection, self.end, self.same_zone, data);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Closes this direction once all that was sent has arrived.
    pub fn close(&self) {
        let kernel = self.host.kernel();
        if !self.host.is_alive() {
            return;
        }
        let mut network = kernel.network.borrow_mut();
        let Some(link) = network.connections.get_mut(self.connection) else { return };
        if link.flows[self.end].fin_sent || link.ends[self.end].state != EndState::Open {
            return;
        }
        link.flows[self.end].fin_sent = true;
        network.push(kernel, self.connection, self.end, self.same_zone, Segment::Fin);
    }

    /// The other end.
    pub fn peer(&self) -> Address {
        self.peer
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        if let Some(link) = self.host.kernel().network.borrow_mut().connections.get_mut(self.connection) {
            link.ends[self.end].senders += 1;
        }
        Self { host: self.host.clone(), ..*self }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.host.is_alive() {
            return;
        }
        let last = {
            let mut network = self.host.kernel().network.borrow_mut();
            let Some(link) = network.connections.get_mut(self.connection) else { return };
            link.ends[self.end].senders -= 1;
            link.ends[self.end].senders == 0
        };
        if last {
            self.close();
            release(&self.host, self.connection, self.end);
        }
    }
}

/// Receives messages on a connection.
pub struct Receiver {
    host: Host,
    connection: u64,
    end: usize,
}

impl Receiver {
    /// The next message, in the order of sending. Cancelling loses nothing.
    ///
    /// # Errors
    /// `Closed` once the peer closed and all it sent was read; otherwise how the connection ended.
    pub async fn recv(&mut self) -> Result<Bytes, ConnectionError> {
        poll_fn(|context| {
            let kernel = self.host.kernel();
            let mut network = kernel.network.borrow_mut();
            let network = &mut *network;
            let window = network.wires.config.window.get() as usize;
            let Some(link) = network.connections.get_mut(self.connection) else {
                return Poll::Ready(Err(ConnectionError::Reset));
            };
            let [one, other] = &mut link.ends;
            let (end, peer) = if self.end == 0 { (one, other) } else { (other, one) };
            if let Some(bytes) = end.inbox.pop_front() {
                let flow = &mut link.flows[1 - self.end];
                flow.unread_bytes -= bytes.len();
                if flow.unread_bytes <= window {
                    peer.writers.drain(..).for_each(Waker::wake);
                }
                return Poll::Ready(Ok(bytes));
            }
            match end.state {
                EndState::Open if end.finished => Poll::Ready(Err(ConnectionError::Closed)),
                EndState::Open => {
                    end.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                EndState::Failed(why) => Poll::Ready(Err(why)),
                EndState::Gone => Poll::Ready(Err(ConnectionError::Reset)),
            }
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.host.is_alive() {
            return;
        }
        if let Some(link) = self.host.kernel().network.borrow_mut().connections.get_mut(self.connection) {
            let end = &mut link.ends[self.end];
            end.receiver = false;
            let unread: usize = end.inbox.drain(..).map(|bytes| bytes.len()).sum();
            link.flows[1 - self.end].unread_bytes -= unread;
        }
        release(&self.host, self.connection, self.end);
    }
}

/// Marks an end gone once both its halves are dropped. What it has sent is still delivered.
fn release(host: &Host, connection: u64, end: usize) {
    let kernel = host.kernel();
    let gone = {
        let mut network = kernel.network.borrow_mut();
        let Some(link) = network.connections.get_mut(connection) else { return };
        let gone = link.ends[end].senders == 0 && !link.ends[end].receiver;
        if gone {
            link.ends[end].state = EndState::Gone;
        }
        gone
    };
    if gone {
        Network::reap(kernel, connection);
    }
}

/// Accepts connections on a port. Dropping it closes the port.
pub struct Listener {
    host: Host,
    port: u16,
}

impl Listener {
    /// The next connection made to this port. Cancelling loses nothing.
    pub async fn accept(&mut self) -> Connection {
        let connection = poll_fn(|context| {
            let mut network = self.host.kernel().network.borrow_mut();
            let Some(listener) = network.listeners.get_mut(&(self.host.id(), self.port)) else {
                return Poll::Pending;
            };
            match listener.backlog.pop_front() {
                Some(connection) => Poll::Ready(connection),
                None => {
                    listener.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        open_end(&self.host, connection, 1)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.host.is_alive() {
            self.host.kernel().network.borrow_mut().listeners.remove(&(self.host.id(), self.port));
        }
    }
}

fn open_end(host: &Host, connection: u64, end: usize) -> Connection {
    let kernel = host.kernel();
    let network = kernel.network.borrow();
    let (peer, same_zone) = network.connections.get(connection).map_or_else(
        || (Address { host: host.id(), port: 0 }, true),
        |link| {
            let peer = &link.ends[1 - end];
            (Address { host: peer.host, port: peer.port }, kernel.same_zone(host.id(), peer.host))
        },
    );
    Connection {
        sender: Sender { host: host.clone(), connection, end, same_zone, peer },
        receiver: Receiver { host: host.clone(), connection, end },
    }
}

pub(crate) fn listen(host: &Host, port: u16) -> Result<Listener, ListenError> {
    let mut network = host.kernel().network.borrow_mut();
    let key = (host.id(), port);
    if network.listeners.get(&key).is_some_and(|listener| listener.incarnation == host.incarnation()) {
        return Err(ListenError(port));
    }
    let listener = ListenerState { incarnation: host.incarnation(), backlog: VecDeque::new(), waker: None };
    network.listeners.insert(key, listener);
    Ok(Listener { host: host.clone(), port })
}

/// The three-way handshake: one round trip if all is well; SYNs are repeated on TCP's schedule while nothing answers.
pub(crate) async fn connect(host: &Host, to: Address) -> Result<Connection, ConnectError> {
    let kernel = host.kernel();
    let same_zone = kernel.same_zone(host.id(), to.host);
    let began = host.now();
    let give_up = kernel.network.borrow().wires.config.give_up;
    let (number, mut dice) = {
        let mut network = kernel.network.borrow_mut();
        network.handshakes += 1;
        let number = network.handshakes;
        (number, SplitMix::new(network.dice_key ^ mix3(host.id(), to, number)))
    };
    let there = Path { from: host.id(), to: to.host, same_zone };
    let back = Path { from: to.host, to: host.id(), same_zone };
    let mut wait = Duration::from_secs(1);
    loop {
        knock(host, number, there, &mut dice, "SYN").await;
        let answer = {
            let mut network = kernel.network.borrow_mut();
            let network = &mut *network;
            let reaches = kernel.is_powered(to.host) && !network.wires.blocked(host.id(), to.host);
            if !reaches {
                None
            } else if network.wires.refused(host.id(), to.host) {
                Some(Err(ConnectError::Refused))
            } else {
                match network.listeners.get_mut(&(to.host, to.port)) {
                    None => Some(Err(ConnectError::Refused)),
                    Some(_) => Some(Ok(())),
                }
            }
        };
        if let Some(answer) = answer {
            knock(host, number, back, &mut dice, "SYN-ACK").await;
            if !kernel.network.borrow().wires.blocked(to.host, host.id()) {
                answer?;
                if let Some(connection) = establish(host, to, &mut dice) {
                    return Ok(open_end(host, connection, 0));
                }
                return Err(ConnectError::Refused);
            }
        }
        let left = give_up.saturating_sub(host.now().since(began));
        if left <= wait {
            host.sleep(left).await;
            return Err(ConnectError::TimedOut);
        }
        host.sleep(wait).await;
        wait *= 2;
    }
}

/// Sends one frame of a handshake and waits until it arrives, which is sooner if a fault of its link ends.
async fn knock(host: &Host, number: u64, path: Path, dice: &mut SplitMix, kind: &str) {
    struct Forget<'host>(&'host Host, u64);
    impl Drop for Forget<'_> {
        fn drop(&mut self) {
            self.0.kernel().network.borrow_mut().knocks.remove(&self.1);
        }
    }
    {
        let mut network = host.kernel().network.borrow_mut();
        let frame = network.wires.transit(host.true_time(), path, dice, kind, 0);
        network.knocks.insert(number, Knock { path, frame, waker: None });
    }
    let _forget = Forget(host, number);
    let due = || host.kernel().network.borrow().knocks[&number].frame.due();
    let mut planned = due();
    while host.true_time() < planned {
        let sooner = poll_fn(|context| {
            if due() < planned {
                return Poll::Ready(());
            }
            let mut network = host.kernel().network.borrow_mut();
            let knock = network.knocks.get_mut(&number).expect("it is forgotten when this function ends");
            knock.waker = Some(context.waker().clone());
            Poll::Pending
        });
        crate::world::select! {
            () = host.served(planned) => {}
            () = sooner => {}
        }
        planned = due();
    }
}

/// Creates the connection and queues it at the listener, if that still stands.
fn establish(host: &Host, to: Address, dice: &mut SplitMix) -> Option<u64> {
    let kernel = host.kernel();
    let mut network = kernel.network.borrow_mut();
    let network = &mut *network;
    let listener = network.listeners.get_mut(&(to.host, to.port))?;
    let end = |host, incarnation, port| End {
        host,
        incarnation,
        port,
        state: EndState::Open,
        inbox: VecDeque::new(),
        finished: false,
        reader: None,
        writers: Vec::new(),
        senders: 1,
        receiver: true,
    };
    let mut flow = || Flow {
        dice: SplitMix::new(dice.next()),
        in_flight: VecDeque::new(),
        last_due: SimTime::ZERO,
        unread_bytes: 0,
        armed: None,
        reset: None,
        stalled_since: None,
        give_up: None,
        fin_sent: false,
        blackhole: false,
    };
    let link = Link {
        ends: [end(host.id(), host.incarnation(), 0), end(to.host, listener.incarnation, to.port)],
        flows: [flow(), flow()],
    };
    let connection = network.connections.insert(link);
    listener.backlog.push_back(connection);
    if let Some(waker) = listener.waker.take() {
        waker.wake();
    }
    kernel.trace.borrow_mut().event(
        kernel.now(),
        Some(to.host),
        What::Connection,
        [connection, 0, 0],
        || format!("connection {connection} opened by {} to port {}", host.name(), to.port),
    );
    Some(connection)
}

fn mix3(from: HostId, to: Address, number: u64) -> u64 {
    let mut bytes = [0; 18];
    bytes[..4].copy_from_slice(&from.get().to_le_bytes());
    bytes[4..8].copy_from_slice(&to.host.get().to_le_bytes());
    bytes[8..10].copy_from_slice(&to.port.to_le_bytes());
    bytes[10..].copy_from_slice(&number.to_le_bytes());
    xxh3_64(&bytes)
}
