//! Carries an election out: tells the others what this server votes, hears them, and waits for a decision.
//!
//! Each notification takes a connection of its own: they are few, and no broken connection can hold one back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::systems::coordination::elector::{Elector, Notification, Role, Vote};
use crate::systems::coordination::message::{decode, encode};
use crate::systems::coordination::zxid::ServerId;
use crate::systems::sites;
use crate::world::{Address, Host, select};

/// Where servers hear notifications.
pub const ELECTION_PORT: u16 = 3888;

/// How long a notification may take to be delivered before the next one makes it needless.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a server hears while it looks for a leader.
pub type Ear = mpsc::UnboundedReceiver<Notification>;

fn is_looking(role: Role) -> bool {
    match role {
        Role::Looking | Role::Distrusted => true,
        Role::Following | Role::Leading => false,
    }
}

/// A server's standing in the ensemble.
#[derive(Clone)]
pub struct Assembly {
    host: Host,
    peers: Rc<Vec<(ServerId, Address)>>,
    standing: Rc<RefCell<Notification>>,
}

impl Assembly {
    /// Begins to listen, for the life of the process.
    pub fn open(host: &Host, me: ServerId, peers: &[(ServerId, Address)]) -> (Self, Ear) {
        let nobody = Vote { epoch: Default::default(), zxid: Default::default(), leader: me };
        let standing = Notification { from: me, role: Role::Looking, round: 0, vote: nobody };
        let (heard, ear) = mpsc::unbounded_channel();
        let assembly = Self {
            host: host.clone(),
            peers: Rc::new(peers.iter().filter(|(server, _)| *server != me).copied().collect()),
            standing: Rc::new(RefCell::new(standing)),
        };
        host.spawn("election-listener", assembly.clone().listen(heard));
        (assembly, ear)
    }

    async fn listen(self, heard: mpsc::UnboundedSender<Notification>) {
        let mut listener = self.host.listen(ELECTION_PORT).await.expect("one process listens for elections");
        loop {
            let mut connection = listener.accept().await;
            let (this, heard) = (self.clone(), heard.clone());
            self.host.spawn("election-heard", async move {
                let Ok(Ok(bytes)) = this.host.timeout(PATIENCE, connection.receiver.recv()).await else {
                    return;
                };
                let Some(notification) = decode::<Notification>(&bytes) else { return };
                let standing = *this.standing.borrow();
                if is_looking(standing.role) {
                    let _ = heard.send(notification);
                } else if is_looking(notification.role) {
                    this.tell(notification.from, standing);
                }
            });
        }
    }

    fn tell(&self, to: ServerId, notification: Notification) {
        let Some((_, address)) = self.peers.iter().find(|(server, _)| *server == to) else { return };
        let (host, address) = (self.host.clone(), *address);
        self.host.spawn("election-tell", async move {
            host.buggify_delay(&sites::NOTIFICATION).await;
            let said = host.timeout(PATIENCE, async {
                let connection = host.connect(Address { port: ELECTION_PORT, ..address }).await.ok()?;
                connection.sender.send("Notification", encode(&notification)).await.ok()
            });
            // An election goes on without those it cannot reach.
            let _ = said.await;
        });
    }

    fn tell_all(&self, notification: Notification) {
        *self.standing.borrow_mut() = notification;
        self.peers.iter().for_each(|(server, _)| self.tell(*server, notification));
    }

    /// Looks for a leader, for as long as it takes. `own` is this server's vote for itself; one that is distrusted waits until others
    /// have a leader.
    pub async fn look(&self, ear: &mut Ear, own: Vote, distrusted: bool, tick: Duration) -> ServerId {
        let voice = if distrusted { Role::Distrusted } else { Role::Looking };
        let round = self.standing.borrow().round;
        let mut elector = Elector::begin(own, self.peers.len() + 1, round);
        // What was heard before the last decision is old.
        while ear.try_recv().is_ok() {}
        self.tell_all(elector.notification(voice));
        let mut speak_again = self.host.now() + tick;
        let mut agreed = None;
        let mut decide_at = self.host.now();
        loop {
            match (elector.agreed(), agreed) {
                (Some(leader), Some(before)) if leader == before => {}
                (now, _) => {
                    agreed = now;
                    decide_at = self.host.now() + tick;
                }
            }
            let alone = self.peers.is_empty();
            let decided = agreed.filter(|_| !distrusted && (alone || decide_at <= self.host.now()));
            if let Some(leader) = elector.established().or(decided) {
                let role = if leader == own.leader { Role::Leading } else { Role::Following };
                *self.standing.borrow_mut() = elector.notification(role);
                return leader;
            }
            let wake = if agreed.is_some() && !distrusted { speak_again.min(decide_at) } else { speak_again };
            select! {
                heard = ear.recv() => {
                    let heard = heard.expect("the listener lives as long as the process");
                    let response = elector.hear(heard);
                    let mine = elector.notification(voice);
                    if response.broadcast {
                        self.tell_all(mine);
                    } else if response.answer {
                        self.tell(heard.from, mine);
                    }
                }
                () = self.host.sleep_until(wake) => {
                    if speak_again <= self.host.now() {
                        self.tell_all(elector.notification(voice));
                        speak_again = self.host.now() + tick;
                    }
                }
            }
        }
    }
}
