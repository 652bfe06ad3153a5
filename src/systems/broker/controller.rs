//! The controller's reign over the cluster: elected through coordination, one at a time, fenced by its epoch.
//!
//! The state of the cluster is in znodes. Each change is one `multi` that demands the controller's own epoch and the state's version,
//! so that a controller that was replaced without noticing can change nothing (KAFKA-6082).
//!
//! `/controller` (ephemeral), `/controller_epoch`, `/brokers/ids/<id>` (ephemeral), `/brokers/known`, `/brokers/bootstrapped`,
//! `/brokers/topics/<topic>`, `/brokers/topics/<topic>/<index>`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::systems::broker::cluster::{Change, Image, LiveBroker, PartitionState, Registration, Topic};
use crate::systems::broker::id::{
    BrokerEpoch, BrokerId, ControllerEpoch, StateVersion, TopicId, TopicPartition,
};
use crate::systems::broker::message::{CONTROL_PORT, Control, Controlled};
use crate::systems::broker::{Config, Observer, TopicConfig};
use crate::systems::coordination::api::{
    Code, Error, Mode, Session, WatchEvent, Write, check, create, delete, set,
};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::rpc::Caller;
use crate::world::{Address, Host, Level, Task, select, watch};

/// How long a broker may take to answer the controller.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a courier waits before it brings an image again, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// A request to the controller, and where its answer goes.
pub type Petition = (Control, oneshot::Sender<Controlled>);

/// What a broker's controller needs to know.
#[derive(Clone)]
pub struct Seat {
    /// Its host.
    pub host: Host,
    /// The broker it runs on.
    pub me: BrokerId,
    /// The cluster's settings.
    pub config: Rc<Config>,
    /// The broker's session at coordination; another one after an expiry.
    pub session: Rc<RefCell<Session>>,
    /// Who watches what it does, for the checkers.
    pub observer: Observer,
}

/// Why a reign ended.
enum Ended {
    /// The session is over, and the office with it.
    Expired,
    /// Coordination did not answer, or another controller reigns.
    Trouble(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        if error == Error::Expired { Self::Expired } else { Self::Trouble(error) }
    }
}

/// How values stand in znodes, and in messages that carry them.
pub fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("plain values with text keys").into()
}

/// Tells that the topics of the settings have been created once; what happens to them since is the operator's affair.
const BOOTSTRAPPED: &str = "/brokers/bootstrapped";

/// What the znode of a topic holds.
#[derive(Serialize, Deserialize)]
struct TopicRecord {
    id: TopicId,
    config: TopicConfig,
}

async fn read<T: DeserializeOwned>(session: &Session, path: &str) -> Result<(T, i32, i64), Error> {
    let (data, stat) = session.get(path).await?;
    let value = serde_json::from_slice(&data).map_err(|_| Error::Refused(Code::MarshallingError))?;
    Ok((value, stat.version, stat.czxid))
}

/// Creates the znodes that must exist before anything else.
pub async fn prepare(session: &Session) -> Result<(), Error> {
    session.ensure("/brokers/ids").await?;
    session.ensure("/brokers/topics").await?;
    for (path, value) in
        [("/controller_epoch", "0"), ("/brokers/known", "{}"), ("/latest_producer_id_block", "0")]
    {
        match session.create(path, value, Mode::Persistent).await {
            Ok(_) => {}
            Err(error) if error.is(Code::NodeExists) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Stands for the office under one session, again and again, until that session is over.
pub async fn stand(
    seat: Seat,
    session: Session,
    petitions: Rc<RefCell<Option<mpsc::UnboundedSender<Petition>>>>,
) {
    while !session.is_expired() {
        let ended = run_for_office(&seat, &session, &petitions).await;
        match ended {
            Ok(()) => {}
            Err(Ended::Expired) => return,
            Err(Ended::Trouble(error)) => {
                seat.host.log(Level::Debug, || format!("the controller's term ends: {error}"));
                seat.host.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn run_for_office(
    seat: &Seat,
    session: &Session,
    petitions: &Rc<RefCell<Option<mpsc::UnboundedSender<Petition>>>>,
) -> Result<(), Ended> {
    let (incumbent, watch) = session.exists_watched("/controller").await?;
    if let Some(stat) = incumbent {
        if stat.ephemeral_owner == session.id() {
            // Left by a reign of this session that met trouble: begin anew.
            session.delete("/controller", Some(stat.version)).await?;
        } else {
            watch.changed().await.ok_or(Ended::Expired)?;
        }
        return Ok(());
    }
    let (epoch, version, _): (i32, _, _) = read(session, "/controller_epoch").await?;
    let epoch = ControllerEpoch::new(epoch).next();
    let office = json(&seat.me.get());
    let elected = session
        .multi(vec![
            create("/controller", office, Mode::Ephemeral),
            set("/controller_epoch", json(&epoch.get()), Some(version)),
        ])
        .await;
    match elected {
        Ok(_) => {}
        Err(error) if error.is(Code::NodeExists) || error.is(Code::BadVersion) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    crate::reached!("a controller was elected");
    seat.host.log(Level::Info, || format!("controls the cluster as {epoch}"));
    seat.host.buggify_delay(&sites::OFFICE).await;
    let mut reign = Reign::begin(seat, session, epoch, version + 1).await?;
    let (sender, inbox) = mpsc::unbounded_channel();
    *petitions.borrow_mut() = Some(sender.clone());
    let ended = reign.run(session, inbox).await;
    // By now the broker may reign again, under another session.
    let mut open = petitions.borrow_mut();
    if open.as_ref().is_some_and(|open| open.same_channel(&sender)) {
        open.take();
    }
    ended
}

struct Reign {
    seat: Seat,
    epoch_version: i32,
    image: Image,
    /// How many topics it has created.
    created: u32,
    stopping: BTreeSet<BrokerId>,
    published: watch::Sender<Option<Rc<Image>>>,
    couriers: BTreeMap<BrokerId, (BrokerEpoch, Task<()>)>,
}

impl Drop for Reign {
    fn drop(&mut self) {
        self.couriers.values().for_each(|(_, task)| task.abort());
    }
}

impl Reign {
    /// Reads the cluster as it stands.
    async fn begin(
        seat: &Seat,
        session: &Session,
        epoch: ControllerEpoch,
        epoch_version: i32,
    ) -> Result<Self, Ended> {
        let (known, _, _) = read(session, "/brokers/known").await?;
        let mut topics = BTreeMap::new();
        for name in session.children("/brokers/topics").await? {
            let path = format!("/brokers/topics/{name}");
            let (TopicRecord { id, config }, _, _) = read(session, &path).await?;
            let mut topic = Topic { id, config, partitions: Vec::new() };
            for index in 0..topic.config.partitions {
                let (mut state, version, _): (PartitionState, _, _) =
                    read(session, &format!("{path}/{index}")).await?;
                state.version = StateVersion::new(version);
                seat.observer.state_found(&TopicPartition::new(&name, index as i32), &topic, &state);
                topic.partitions.push(state);
            }
            topics.insert(name, topic);
        }
        let image = Image {
            controller: seat.me,
            controller_epoch: epoch,
            number: 0,
            brokers: BTreeMap::new(),
            topics,
            known,
            bootstrapped: session.exists(BOOTSTRAPPED).await?.is_some(),
        };
        Ok(Self {
            seat: seat.clone(),
            epoch_version,
            image,
            created: 0,
            stopping: BTreeSet::new(),
            published: watch::Sender::new(None),
            couriers: BTreeMap::new(),
        })
    }

    async fn run(
        &mut self,
        session: &Session,
        mut inbox: mpsc::UnboundedReceiver<Petition>,
    ) -> Result<(), Ended> {
        let host = self.seat.host.clone();
        let rebalance_every = self.seat.config.preferred_leader_every.get();
        let mut rebalance_at = host.now() + rebalance_every;
        let mut brokers_changed = self.look_at_brokers(session).await?;
        self.bootstrap().await?;
        loop {
            select! {
                () = session.expired() => return Err(Ended::Expired),
                change = &mut brokers_changed => {
                    change.ok_or(Ended::Expired)?;
                    brokers_changed = self.look_at_brokers(session).await?;
                    self.bootstrap().await?;
                }
                petition = inbox.recv() => {
                    let Some((control, answer)) = petition else { return Ok(()) };
                    let controlled = self.petition(control).await?;
                    let _ = answer.send(controlled);
                }
                () = host.sleep_until(rebalance_at), if !rebalance_every.is_zero() => {
                    rebalance_at = host.now() + rebalance_every;
                    let changes = self.image.rebalance(&self.stopping);
                    self.write(changes).await?;
                }
            }
        }
    }

    /// Sees who is alive, and draws the consequences.
    async fn look_at_brokers(&mut self, session: &Session) -> Result<BrokersChanged, Ended> {
        let (names, watch) = session.children_watched("/brokers/ids").await?;
        let mut brokers = BTreeMap::new();
        for name in names {
            let Ok(id) = name.parse() else { continue };
            match read::<Registration>(session, &format!("/brokers/ids/{name}")).await {
                Ok((registration, _, czxid)) => {
                    let live = LiveBroker { registration, epoch: BrokerEpoch::new(czxid) };
                    brokers.insert(BrokerId::new(id), live);
                }
                Err(error) if error.is(Code::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let known_before = self.image.known.clone();
        self.stopping.retain(|broker| {
            brokers.get(broker).map(|live| live.epoch)
                == self.image.brokers.get(broker).map(|live| live.epoch)
        });
        let changes = self.image.on_brokers(brokers, &self.stopping);
        crate::sometimes!(!changes.is_empty(), "a controller answered the coming or going of brokers");
        self.write(changes).await?;
        if self.image.known != known_before {
            let known = json(&self.image.known);
            self.multi(vec![set("/brokers/known", known, None)]).await?;
        }
        // Those that the controller before had not ended.
        self.finish_moves().await?;
        self.send_couriers();
        self.publish();
        Ok(Box::pin(watch.changed()))
    }

    /// Writes changed states, then takes them over. A state's znode counts its versions.
    async fn write(&mut self, changes: Vec<Change>) -> Result<(), Ended> {
        if changes.is_empty() {
            return Ok(());
        }
        for (id, mut state) in changes {
            self.seat.host.buggify_delay(&sites::STATE).await;
            let began = self.seat.observer.began();
            let before = state.version;
            state.controller_epoch = self.image.controller_epoch;
            state.version = before.next();
            let path = format!("/brokers/topics/{}/{}", id.topic, id.index);
            let write = set(&path, json(&state), Some(before.get()));
            while !self.tried(write.clone(), &path, &state).await? {
                // The connection broke, or the broker's session is over and the next one has not begun.
                self.seat.host.sleep(RETRY_FIRST).await;
            }
            if let Some(topic) = self.image.topics.get(&*id.topic) {
                self.seat.observer.state_written(began, &id, topic, &state);
            }
            self.image.apply((id, state));
        }
        self.seat.host.buggify_delay(&sites::STATE_WRITTEN).await;
        // Not before all is written: an image that shows a broker's new life beside states that count on its former one would have an
        // amnesiac lead.
        self.publish();
        Ok(())
    }

    /// Tries to write a state; false if that is to be tried again, under the session the broker has then.
    async fn tried(&self, write: Write, path: &str, state: &PartitionState) -> Result<bool, Ended> {
        // The known bug trusts in being the controller.
        let written = if bug("K19") {
            let session = self.seat.session.borrow().clone();
            session.set(path, json(state), None).await.map(|_| ())
        } else {
            self.fenced(vec![write]).await
        };
        match written {
            Ok(()) => Ok(true),
            Err(Error::Unknown | Error::Expired) => Ok(false),
            // An earlier attempt may have got through.
            Err(error) if error.is(Code::BadVersion) && self.stands(path, state).await => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn stands(&self, path: &str, state: &PartitionState) -> bool {
        let session = self.seat.session.borrow().clone();
        let read = read::<PartitionState>(&session, path).await;
        read.is_ok_and(|(found, ..)| found == *state)
    }

    /// Changes znodes under the condition that no other controller has been elected.
    async fn multi(&self, writes: Vec<Write>) -> Result<(), Ended> {
        self.fenced(writes).await.map_err(Ended::from)
    }

    /// The session is the broker's present one: the fencing does not depend on which, but on the controller's epoch alone.
    async fn fenced(&self, mut writes: Vec<Write>) -> Result<(), Error> {
        writes.insert(0, check("/controller_epoch", self.epoch_version));
        let session = self.seat.session.borrow().clone();
        let written = session.multi(writes).await.map(|_| ());
        crate::sometimes!(
            written.is_err_and(|error| error.is(Code::BadVersion)),
            "a deposed controller was refused"
        );
        written
    }

    async fn petition(&mut self, control: Control) -> Result<Controlled, Ended> {
        Ok(match control {
            Control::AlterInSync { id, topic, leader, broker_epoch, leader_epoch, version, in_sync } => {
                let leader = (leader, broker_epoch, leader_epoch);
                let asked = self.image.alter_in_sync((&id, topic), leader, version, &in_sync);
                match asked {
                    Ok(change) => {
                        self.write(vec![change]).await?;
                        self.finish_moves().await?;
                        Controlled::Altered(Ok(()))
                    }
                    Err(error) => {
                        // It may not have heard of the state that makes it wrong.
                        self.publish();
                        Controlled::Altered(Err(error))
                    }
                }
            }
            Control::CreateTopic(config) => {
                let Ok(config) = serde_json::from_slice::<TopicConfig>(&config) else {
                    return Ok(Controlled::Malformed);
                };
                if self.image.topics.contains_key(&config.name) {
                    Controlled::TopicConflict
                } else if self.create_topic(config).await? {
                    Controlled::Done
                } else {
                    Controlled::TooFewBrokers
                }
            }
            Control::DeleteTopic(name) => self.delete_topic(&name).await?,
            Control::DeleteTopicOf(id) => match self.image.name_of(id).map(str::to_owned) {
                Some(name) => self.delete_topic(&name).await?,
                None => Controlled::TopicConflict,
            },
            Control::Stopping(broker) => {
                self.stopping.insert(broker);
                let changes = self.image.rebalance(&self.stopping);
                self.write(changes).await?;
                let leads = |state: &&PartitionState| state.leader == Some(broker);
                let left = self.image.partitions().map(|(_, _, state)| state).filter(leads).count();
                Controlled::Leading(left as u32)
            }
            Control::ElectPreferred(id) => {
                let elected = self.image.elect_preferred(&id);
                let (change, answer) = told(elected.map(Some));
                self.write(change).await?;
                Controlled::Elected(answer)
            }
            Control::Reassign(id, to) => {
                let (change, answer) = told(self.image.reassign(&id, to.as_deref(), &self.stopping));
                self.write(change).await?;
                self.finish_moves().await?;
                Controlled::Reassigned(answer)
            }
            Control::Moves(name) => {
                let states = self.image.topics.get(&name).into_iter().flat_map(|topic| &topic.partitions);
                let moving = (0..).zip(states).filter_map(|(index, state)| {
                    Some((index, state.replicas.clone(), state.under_way.clone()?))
                });
                Controlled::Moving(moving.collect())
            }
            Control::Image(_) => Controlled::NotController,
        })
    }

    /// Ends the moves of replicas that have come so far.
    async fn finish_moves(&mut self) -> Result<(), Ended> {
        let ended = self.image.finish_moves(&self.stopping);
        self.write(ended).await
    }

    /// Creates the topics that exist from the start, once: as soon as all brokers are there, so that they bear equal shares.
    async fn bootstrap(&mut self) -> Result<(), Ended> {
        if self.image.bootstrapped || self.image.brokers.len() < self.seat.config.brokers as usize {
            return Ok(());
        }
        for topic in self.seat.config.topics.clone() {
            if !self.image.topics.contains_key(&topic.name) {
                self.create_topic(topic).await?;
            }
        }
        self.multi(vec![create(BOOTSTRAPPED, "", Mode::Persistent)]).await?;
        self.image.bootstrapped = true;
        self.publish();
        Ok(())
    }

    async fn delete_topic(&mut self, name: &str) -> Result<Controlled, Ended> {
        let Some(topic) = self.image.topics.remove(name) else { return Ok(Controlled::TopicConflict) };
        let path = format!("/brokers/topics/{name}");
        let parts = (0..topic.partitions.len()).map(|index| delete(&format!("{path}/{index}"), None));
        self.multi(parts.chain([delete(&path, None)]).collect()).await?;
        self.publish();
        Ok(Controlled::Done)
    }

    /// False if there are too few brokers.
    async fn create_topic(&mut self, config: TopicConfig) -> Result<bool, Ended> {
        let first = self.image.topics.values().map(|topic| topic.partitions.len()).sum();
        self.created += 1;
        let id = TopicId::given(self.image.controller_epoch, self.created);
        let Some(topic) = self.image.place(id, &config, first) else { return Ok(false) };
        let path = format!("/brokers/topics/{}", config.name);
        let record = TopicRecord { id, config: config.clone() };
        let mut writes = vec![create(&path, json(&record), Mode::Persistent)];
        for (index, state) in topic.partitions.iter().enumerate() {
            writes.push(create(&format!("{path}/{index}"), json(state), Mode::Persistent));
        }
        let began = self.seat.observer.began();
        self.multi(writes).await?;
        for (index, state) in topic.partitions.iter().enumerate() {
            let part = TopicPartition::new(&config.name, index as i32);
            self.seat.observer.state_written(began, &part, &topic, state);
        }
        self.image.topics.insert(config.name, topic);
        self.publish();
        Ok(true)
    }

    fn publish(&mut self) {
        self.image.number += 1;
        self.published.send(Some(Rc::new(self.image.clone())));
    }

    /// One courier for each life of a broker brings it every new image, until it has it.
    fn send_couriers(&mut self) {
        let brokers = &self.image.brokers;
        self.couriers.retain(|id, (epoch, task)| {
            let current = brokers.get(id).is_some_and(|live| live.epoch == *epoch);
            if !current {
                task.abort();
            }
            current
        });
        for (id, live) in brokers {
            if !self.couriers.contains_key(id) {
                let to = Address { port: CONTROL_PORT, ..live.registration.address };
                let courier = deliver(self.seat.host.clone(), to, self.published.subscribe());
                let task = self.seat.host.spawn("controller-courier", courier);
                self.couriers.insert(*id, (live.epoch, task));
            }
        }
    }
}

/// What is to be written, and how it went.
fn told<E>(decided: Result<Option<Change>, E>) -> (Vec<Change>, Result<(), E>) {
    match decided {
        Ok(change) => (change.into_iter().collect(), Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    }
}

/// Waits for the next change among the brokers.
type BrokersChanged = Pin<Box<dyn Future<Output = Option<WatchEvent>>>>;

async fn deliver(host: Host, to: Address, mut published: watch::Receiver<Option<Rc<Image>>>) {
    let caller: Caller<Control, Controlled> = Caller::new(host.clone(), to);
    let mut wait = RETRY_FIRST;
    loop {
        let image = published.latest();
        if let Some(image) = image {
            match caller.call("ClusterImage", &Control::Image(json(&*image)), PATIENCE).await {
                Ok(Controlled::StaleController(_)) => return,
                Ok(Controlled::Done) => wait = RETRY_FIRST,
                // It may not know yet that it is registered; if it has restarted since, this courier will be called back.
                Ok(_) | Err(_) => {
                    host.sleep(wait).await;
                    wait = RETRY_MAX.min(wait * 2);
                    continue;
                }
            }
        }
        if published.changed().await.is_err() {
            return;
        }
    }
}
