//! A broker's life: recover the logs, register, serve clients, copy from leaders, and do what the controller says.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::systems::broker::cluster::{AlterError, Image, PartitionState, Registration, Topic};
use crate::systems::broker::controller::{self, Petition, Seat, json};
use crate::systems::broker::id::{BrokerEpoch, BrokerId, Offset, TopicId, TopicPartition};
use crate::systems::broker::log::{self, Log, LogError, LogSettings, Trust};
use crate::systems::broker::message::{CONTROL_PORT, Control, Controlled};
use crate::systems::broker::partition::Partition;
use crate::systems::broker::replica::{Proposal, Replica};
use crate::systems::broker::{Config, Observer, fetcher, requests};
use crate::systems::coordination::api::{Code, Error, Mode, Session};
use crate::systems::seal::{sealed, unsealed};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::rpc::{self, CallError, Caller};
use crate::world::{Address, Disk, DiskError, Host, Level, Task, select, watch};

/// Where brokers hear clients.
pub const CLIENT_PORT: u16 = 9092;

/// How long another broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a leader looks for lagging followers, and a broker whether it is ready.
const TICK: Duration = Duration::from_millis(100);

/// How often high watermarks and log starts are written down (`replica.high.watermark.checkpoint.interval.ms`).
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

const CLEAN_SHUTDOWN: &str = "/data/clean-shutdown";
const BOOT_ID: &str = "/data/boot-id";
/// Kafka writes log starts into a file of their own.
const CHECKPOINT: &str = "/data/replication-offset-checkpoint";
const LOGS: &str = "/data/logs";

/// How far a replica was when that was written down last.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Checkpointed {
    high_watermark: Offset,
    log_start: Offset,
}

/// A broker while its process runs.
pub struct Broker {
    /// Its host.
    pub host: Host,
    /// Its number.
    pub me: BrokerId,
    /// The cluster's settings.
    pub config: Rc<Config>,
    /// The topic partitions it has a replica of.
    pub partitions: RefCell<BTreeMap<TopicPartition, Rc<Partition>>>,
    /// The cluster as the controller last told it.
    pub image: RefCell<Option<Rc<Image>>>,
    /// Its session at coordination; another one after an expiry.
    pub session: Rc<RefCell<Session>>,
    /// Who watches what it does, for the checkers.
    pub observer: Observer,
    epoch: Cell<Option<BrokerEpoch>>,
    petitions: Rc<RefCell<Option<mpsc::UnboundedSender<Petition>>>>,
    fetchers: RefCell<BTreeMap<BrokerId, Task<()>>>,
    image_lock: Mutex<()>,
    /// Whether this life of the process has found all that the former ones had.
    intact: Cell<bool>,
    /// Whether a controller has taken account of this life of the process, and of what it may have lost.
    counted: Cell<bool>,
    checkpoint: BTreeMap<String, Checkpointed>,
    failure: watch::Sender<Option<LogError>>,
}

/// Runs a broker until its process ends.
pub async fn run(
    host: Host,
    me: BrokerId,
    servers: Rc<Vec<Address>>,
    config: Rc<Config>,
    observer: Observer,
) {
    if let Err(error) = live(&host, me, &servers, config, observer).await {
        host.log(Level::Error, || format!("stops: {error}"));
        host.report_ready(false);
        host.exit(error);
    }
}

async fn live(
    host: &Host,
    me: BrokerId,
    servers: &[Address],
    config: Rc<Config>,
    observer: Observer,
) -> Result<(), LogError> {
    let disk = host.disk();
    disk.create_dir_all("/data").await?;
    disk.sync_dir("/").await?;
    let clean = disk.exists(CLEAN_SHUTDOWN).await;
    let boot_id = disk.read(BOOT_ID).await?;
    let boot_id = boot_id.as_deref().and_then(unsealed);
    let had_power = boot_id.is_some_and(|before| before == host.boot_id().to_be_bytes());
    let trust = match (clean, had_power) {
        (true, _) => Trust::Closed,
        (false, true) => Trust::Written,
        (false, false) => Trust::Torn,
    };
    if clean {
        disk.remove(CLEAN_SHUTDOWN).await?;
        disk.sync_dir("/data").await?;
    }
    let checkpoint = read_checkpoint(host).await?;
    let session = Rc::new(RefCell::new(Session::begin(host, servers, config.session_timeout.get())));
    let broker = Rc::new(Broker {
        host: host.clone(),
        me,
        config,
        partitions: RefCell::default(),
        image: RefCell::default(),
        session,
        observer,
        epoch: Cell::new(None),
        petitions: Rc::default(),
        fetchers: RefCell::default(),
        image_lock: Mutex::new(()),
        intact: Cell::new(false),
        counted: Cell::new(false),
        checkpoint,
        failure: watch::Sender::new(None),
    });
    if trust == Trust::Torn && !bug("X03") {
        broker.disown(&disk).await?;
    }
    broker.intact.set(broker.load(trust).await?);
    host.spawn("broker-control", broker.clone().listen_to_brokers());
    host.spawn("broker-clients", requests::listen(broker.clone()));
    host.spawn("broker-registration", broker.clone().register(servers.to_vec()));
    let mut failure = broker.failure.subscribe();
    let work = async {
        select! {
            result = broker.clone().tick() => result,
            () = host.shutdown_requested() => broker.clone().stop().await,
        }
    };
    select! {
        // A disk that fails while the broker stops leaves no logs that could be called closed.
        failed = failure.wait_for(Option::is_some) => {
            let failed = failed.ok().flatten();
            Err(failed.unwrap_or(LogError::Disk(DiskError::NotFound)))
        }
        result = work => result,
    }
}

/// What was last written down, by the directories of the logs.
async fn read_checkpoint(host: &Host) -> Result<BTreeMap<String, Checkpointed>, LogError> {
    let bytes = host.disk().read(CHECKPOINT).await?.unwrap_or_default();
    // Without it, or if it is damaged, a replica learns from its leader again how far all is committed, and what is removed.
    Ok(unsealed(&bytes).and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default())
}

/// The directory of a log. A topic that is created anew gets new ones.
fn log_directory(id: &TopicPartition, topic: TopicId) -> String {
    format!("{LOGS}/{}-{}.{:016x}", id.topic, id.index, topic.get())
}

impl Broker {
    /// Opens all logs on the disk, before anything is served. False if something that they held may lack: then this broker is in sync
    /// with nobody before it has copied that from the leaders.
    async fn load(&self, mut trust: Trust) -> Result<bool, LogError> {
        let disk = self.host.disk();
        disk.create_dir_all(LOGS).await?;
        disk.sync_dir("/data").await?;
        // Which settings a topic has, the controller will tell; reading needs none of them.
        for name in disk.list(LOGS).await? {
            let settings =
                LogSettings { segment_bytes: u64::MAX, index_interval: self.config.index_interval.get() };
            let directory = format!("{LOGS}/{name}");
            let log = match Log::open(&disk, &directory, settings, trust).await {
                Err(LogError::Corrupt(file)) if trust != Trust::Torn => {
                    crate::reached!("a broker found one of its logs damaged");
                    self.host.log(Level::Warn, || format!("{file} is damaged, its end is fetched anew"));
                    // The known bug takes what is damaged for what a loss of power had torn, and goes on as if nothing lacked.
                    if !bug("X02") {
                        self.disown(&disk).await?;
                        trust = Trust::Torn;
                    }
                    Log::open(&disk, &directory, settings, Trust::Torn).await?
                }
                opened => opened?,
            };
            self.host.log(Level::Debug, || format!("recovered {name} from {} to {}", log.start(), log.end()));
        }
        Ok(trust != Trust::Torn)
    }

    /// Before anything is cut: a life that comes after this one finds nothing damaged, and must not call itself intact. It would if this
    /// one ends in the midst of it, or only could not read the boot id.
    async fn disown(&self, disk: &Disk) -> Result<(), LogError> {
        if disk.exists(BOOT_ID).await {
            disk.remove(BOOT_ID).await?;
        }
        Ok(disk.sync_dir("/data").await?)
    }

    async fn open_partition(&self, id: &TopicPartition, topic: &Topic) -> Result<Rc<Partition>, LogError> {
        let known = self.partitions.borrow().get(id).cloned();
        if let Some(partition) = known {
            return Ok(partition);
        }
        let settings = LogSettings {
            segment_bytes: topic.config.segment.get(),
            index_interval: self.config.index_interval.get(),
        };
        let directory = log_directory(id, topic.id);
        // The load has verified what there is.
        let mut log = Log::open(&self.host.disk(), &directory, settings, Trust::Closed).await?;
        self.host.disk().sync_dir(LOGS).await?;
        let Checkpointed { high_watermark, log_start } =
            self.checkpoint.get(&directory).copied().unwrap_or_default();
        log.raise_start(log_start).await?;
        // Only what is committed is removed.
        let watermark = high_watermark.max(log.start()).min(log.end());
        let replica = Replica::new(self.me, topic.config.min_in_sync, watermark);
        let partition = Rc::new(Partition::new(id.clone(), topic, log, replica, &self.observer));
        self.partitions.borrow_mut().insert(id.clone(), partition.clone());
        Ok(partition)
    }

    /// A partition of this broker.
    pub fn partition(&self, id: &TopicPartition) -> Option<Rc<Partition>> {
        self.partitions.borrow().get(id).cloned()
    }

    /// The disk has failed: the process ends, as Kafka's does.
    pub fn fail(&self, error: LogError) {
        self.failure.send(Some(error));
    }

    /// Whether it has all of which a controller has not taken account as lost. While the process lives on, it loses nothing more.
    fn has_all_that_counts(&self) -> bool {
        self.intact.get() || self.counted.get()
    }

    /// Registers, again after each expiry of the session, and stands for controller under each.
    async fn register(self: Rc<Self>, servers: Vec<Address>) {
        loop {
            let session = self.session.borrow().clone();
            let registered = self.register_once(&session).await;
            match registered {
                Ok(epoch) => {
                    self.epoch.set(Some(epoch));
                    self.host.log(Level::Info, || format!("registered as {} in {epoch}", self.me));
                    let seat = Seat {
                        host: self.host.clone(),
                        me: self.me,
                        config: self.config.clone(),
                        session: self.session.clone(),
                        observer: self.observer.clone(),
                    };
                    let stand = controller::stand(seat, session.clone(), self.petitions.clone());
                    let _standing = self.host.spawn("broker-controller", stand);
                    session.expired().await;
                    crate::reached!("a broker's session expired");
                }
                Err(Error::Expired) => {}
                Err(error) => {
                    self.host.log(Level::Debug, || format!("cannot register yet: {error}"));
                    self.host.sleep(Duration::from_millis(100)).await;
                    continue;
                }
            }
            self.epoch.set(None);
            *self.session.borrow_mut() =
                Session::begin(&self.host, &servers, self.config.session_timeout.get());
        }
    }

    async fn register_once(&self, session: &Session) -> Result<BrokerEpoch, Error> {
        controller::prepare(session).await?;
        let path = format!("/brokers/ids/{}", self.me.get());
        let address = Address { host: self.host.id(), port: CLIENT_PORT };
        let registration =
            Registration { address, zone: self.host.zone().to_owned(), intact: self.has_all_that_counts() };
        loop {
            match session.create(&path, json(&registration), Mode::Ephemeral).await {
                Ok((_, stat)) => return Ok(BrokerEpoch::new(stat.czxid)),
                Err(error) if error.is(Code::NodeExists) => {
                    let (stat, watch) = session.exists_watched(&path).await?;
                    match stat {
                        Some(stat) if stat.ephemeral_owner == session.id() => {
                            return Ok(BrokerEpoch::new(stat.czxid));
                        }
                        // The registration of the life before; it goes with that life's session.
                        Some(_) => {
                            watch.changed().await.ok_or(Error::Expired)?;
                        }
                        None => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Hears the controller, and, as controller, the other brokers.
    async fn listen_to_brokers(self: Rc<Self>) {
        let mut listener = self.host.listen(CONTROL_PORT).await.expect("one process listens for brokers");
        loop {
            let connection = listener.accept().await;
            let this = self.clone();
            let handler = move |control: Control| {
                let this = this.clone();
                async move { this.on_control(control).await }
            };
            self.host.spawn(
                "broker-control-connection",
                rpc::serve(self.host.clone(), connection, "Controlled", handler),
            );
        }
    }

    async fn on_control(&self, control: Control) -> Controlled {
        if let Control::Image(bytes) = control {
            let Ok(image) = serde_json::from_slice::<Image>(&bytes) else { return Controlled::Malformed };
            return match self.on_image(image).await {
                Ok(controlled) => controlled,
                Err(error) => {
                    self.fail(error);
                    Controlled::NotController
                }
            };
        }
        let office = self.petitions.borrow().clone();
        let Some(office) = office else { return Controlled::NotController };
        let (answer, answered) = oneshot::channel();
        if office.send((control, answer)).is_err() {
            return Controlled::NotController;
        }
        answered.await.unwrap_or(Controlled::Unknown)
    }

    /// Takes over the cluster as the controller sees it.
    async fn on_image(&self, image: Image) -> Result<Controlled, LogError> {
        self.host.buggify_delay(&sites::IMAGE).await;
        let _one_at_a_time = self.image_lock.lock().await;
        let newest = self.image.borrow().as_ref().map(|image| (image.controller_epoch, image.number));
        if let Some((epoch, number)) = newest {
            if image.controller_epoch < epoch {
                crate::reached!("a broker refused an old controller");
                return Ok(Controlled::StaleController(epoch));
            }
            // A courier that got no answer brings a newer image, and the two may come together, or in the wrong order. The older must
            // not stay: it would show an old in-sync set for ever, and lack a topic whose log would then be deleted.
            if image.controller_epoch == epoch && image.number < number {
                crate::reached!("a broker ignored an image older than the one it has");
                return Ok(Controlled::Done);
            }
        }
        // A controller that has not noticed this broker's restart still counts on what it had before (KIP-380).
        let meant_for = image.brokers.get(&self.me).map(|live| live.epoch);
        if (meant_for.is_none() || meant_for != self.epoch.get()) && !bug("K25") {
            crate::reached!("a broker refused an image meant for another of its lives");
            return Ok(Controlled::StaleBroker);
        }
        let image = Rc::new(image);
        self.remove_deleted(&image).await?;
        for (id, topic, state) in image.partitions() {
            if state.replicas.contains(&self.me) {
                let partition = self.open_partition(&id, topic).await?;
                partition.on_state(state, &self.host).await?;
                self.host.buggify_delay(&sites::IMAGE_PART).await;
            }
        }
        let (number, epoch) = (image.number, image.controller_epoch);
        self.host.log(Level::Debug, || format!("took over image {number} of the controller of {epoch}"));
        *self.image.borrow_mut() = Some(image);
        if !self.counted.replace(true) {
            self.host.buggify_delay(&sites::LIFE_COUNTED).await;
            // Only now: the next life of the process may call itself intact when what this one had lost is in the books. A crash
            // between a loss of power and the first word of a controller must not wash it away.
            self.host.disk().replace(BOOT_ID, &sealed(&self.host.boot_id().to_be_bytes())).await?;
        }
        Ok(Controlled::Done)
    }

    /// Removes the logs of topics that exist no more, also of those that were deleted while this broker was away.
    async fn remove_deleted(&self, image: &Image) -> Result<(), LogError> {
        let gone: Vec<Rc<Partition>> = {
            let partitions = self.partitions.borrow();
            let gone = |partition: &&Rc<Partition>| {
                let topic = image.topics.get(&*partition.id.topic);
                let state = image.state(&partition.id);
                !(topic.is_some_and(|topic| topic.id == partition.topic)
                    && state.is_some_and(|(_, state)| state.replicas.contains(&self.me)))
            };
            partitions.values().filter(gone).cloned().collect()
        };
        for partition in &gone {
            crate::sometimes!(
                image.topics.get(&*partition.id.topic).is_some_and(|topic| topic.id != partition.topic),
                "a broker heard at once that a topic was deleted and created anew"
            );
            self.partitions.borrow_mut().remove(&partition.id);
            partition.delete().await?;
        }
        let disk = self.host.disk();
        let mut strays = 0;
        if !self.counted.get() {
            let mine = image.partitions().filter(|(_, _, state)| state.replicas.contains(&self.me));
            let wanted: BTreeSet<String> = mine.map(|(id, topic, _)| log_directory(&id, topic.id)).collect();
            for name in disk.list(LOGS).await? {
                let directory = format!("{LOGS}/{name}");
                if !wanted.contains(&directory) {
                    log::delete(&disk, &directory).await?;
                    strays += 1;
                }
            }
        }
        crate::sometimes!(
            0 < strays,
            "a broker removed the log of a topic that was deleted while it was away"
        );
        if !gone.is_empty() || 0 < strays {
            disk.sync_dir(LOGS).await?;
        }
        Ok(())
    }

    /// The fencing number of its registration; `None` while it has none.
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.epoch.get()
    }

    /// Asks the controller, if one is known.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn ask_controller(&self, control: &Control) -> Result<Controlled, CallError> {
        let to = {
            let image = self.image.borrow();
            let known = image.as_ref().and_then(|image| image.brokers.get(&image.controller));
            known.ok_or(CallError::NotSent)?.registration.address
        };
        let caller: Caller<Control, Controlled> =
            Caller::new(self.host.clone(), Address { port: CONTROL_PORT, ..to });
        caller.call("Petition", control, PATIENCE).await
    }

    /// Asks the controller for another in-sync set, until there is an answer.
    pub fn propose(self: &Rc<Self>, id: &TopicPartition, proposal: Proposal) {
        if let Some(partition) = self.partition(id) {
            self.host.spawn("broker-alter-in-sync", self.clone().alter_in_sync(partition, proposal));
        }
    }

    /// Unanswered, a proposal may have been taken: dropping it would let the high watermark pass by a follower that the controller
    /// counts in, and may make leader.
    async fn alter_in_sync(self: Rc<Self>, partition: Rc<Partition>, mut proposal: Proposal) {
        let version = proposal.version;
        let mut may_be_taken = false;
        let mut wait = TICK;
        self.host.buggify_delay(&sites::PROPOSAL).await;
        while partition.replica.borrow().awaits(version) {
            // Without a registration nobody listens; with the next one comes a new state.
            if let Some(broker_epoch) = self.epoch.get() {
                let control = Control::AlterInSync {
                    id: partition.id.clone(),
                    topic: partition.topic,
                    leader: self.me,
                    broker_epoch,
                    leader_epoch: proposal.epoch,
                    version,
                    in_sync: proposal.in_sync.clone(),
                };
                match self.ask_controller(&control).await {
                    // What was taken comes back as a new state, and so does what made this one old.
                    Ok(Controlled::Altered(Ok(()))) => return,
                    Ok(Controlled::Altered(Err(AlterError::Ineligible))) if !may_be_taken => {
                        return partition.replica.borrow_mut().on_refused(version);
                    }
                    Ok(Controlled::Altered(Err(AlterError::Ineligible))) => {
                        let Some(again) = partition.replica.borrow().reaffirm() else { return };
                        proposal = again;
                    }
                    Ok(Controlled::Altered(Err(_))) => return,
                    Err(CallError::NotSent) | Ok(Controlled::NotController) => {}
                    // The known bug takes no answer for a no.
                    _ if bug("K26") => return partition.replica.borrow_mut().on_refused(version),
                    _ => may_be_taken = true,
                }
            }
            self.host.sleep(wait).await;
            wait = PATIENCE.min(wait * 2);
        }
    }

    /// For the time series: how many partitions it leads whose in-sync set lacks replicas (Kafka's `UnderReplicatedPartitions`), and how
    /// many records the last of their followers lacks.
    fn tell_standing(&self, partitions: &[Rc<Partition>]) {
        let standing = |partition: &Rc<Partition>| partition.replica.borrow().standing(partition.log_end());
        let led: Vec<(bool, u64)> = partitions.iter().filter_map(standing).collect();
        let short = led.iter().filter(|(short, _)| *short).count();
        let behind = led.iter().map(|(_, behind)| *behind).max().unwrap_or(0);
        self.host.gauge("broker.under-replicated", short as f64);
        self.host.gauge("broker.replica-lag", behind as f64);
    }

    /// What is to be done again and again.
    async fn tick(self: Rc<Self>) -> Result<(), LogError> {
        let every = |span: Duration| (span, self.host.now() + span);
        let mut checkpoint = every(CHECKPOINT_EVERY);
        let mut retention = every(self.config.retention_check_every.get());
        let mut flush = every(self.config.flush_every.get());
        loop {
            self.host.sleep(TICK).await;
            let now = self.host.now();
            let partitions: Vec<Rc<Partition>> = self.partitions.borrow().values().cloned().collect();
            let lag_max = self.config.replica_lag_max.get();
            for partition in &partitions {
                let proposal = partition.replica.borrow_mut().on_tick(partition.log_end(), now, lag_max);
                if let Some(proposal) = proposal {
                    self.propose(&partition.id, proposal);
                }
            }
            self.tell_standing(&partitions);
            self.mind_fetchers();
            self.host.report_ready(self.is_ready());
            if checkpoint.1 <= now {
                checkpoint = every(checkpoint.0);
                self.write_checkpoint().await?;
            }
            if retention.1 <= now {
                retention = every(retention.0);
                for partition in &partitions {
                    partition.retain(self.host.wall_clock().millis()).await?;
                }
            }
            if !flush.0.is_zero() && flush.1 <= now {
                flush = every(flush.0);
                for partition in &partitions {
                    partition.flush().await?;
                }
            }
        }
    }

    /// One fetcher for each broker that leads something this one follows.
    fn mind_fetchers(self: &Rc<Self>) {
        let leaders: BTreeSet<BrokerId> = self.leaders().into_iter().map(|(leader, _)| leader).collect();
        let mut fetchers = self.fetchers.borrow_mut();
        fetchers.retain(|leader, task| {
            if !leaders.contains(leader) {
                task.abort();
            }
            leaders.contains(leader) && !task.is_over()
        });
        for leader in leaders {
            fetchers
                .entry(leader)
                .or_insert_with(|| self.host.spawn("broker-fetcher", fetcher::run(self.clone(), leader)));
        }
    }

    /// The partitions this broker follows, with their leaders.
    pub fn leaders(&self) -> Vec<(BrokerId, Rc<Partition>)> {
        use crate::systems::broker::replica::Role;
        let partitions = self.partitions.borrow();
        let followed = partitions.values().filter_map(|partition| match partition.replica.borrow().role {
            Role::Follower { leader: Some(leader), .. } => Some((leader, partition.clone())),
            _ => None,
        });
        followed.collect()
    }

    /// Whether this life of the broker is registered, and all replicas of what it holds are in sync whose brokers are alive.
    fn is_ready(&self) -> bool {
        let image = self.image.borrow();
        let Some(image) = image.as_ref() else { return false };
        let fine = |state: &PartitionState, replica: &BrokerId| {
            state.in_sync.contains(replica) || !image.brokers.contains_key(replica)
        };
        let registered = self.epoch.get();
        let current = image.brokers.get(&self.me).map(|live| live.epoch);
        let mut mine = image.partitions().filter(|(_, _, state)| state.replicas.contains(&self.me));
        registered.is_some()
            && registered == current
            && image.bootstrapped
            && mine.all(|(_, _, state)| {
                state.leader.is_some() && state.replicas.iter().all(|replica| fine(state, replica))
            })
    }

    async fn write_checkpoint(&self) -> Result<(), LogError> {
        let checkpoint: BTreeMap<String, Checkpointed> = {
            let partitions = self.partitions.borrow();
            let checkpointed = |partition: &Rc<Partition>| {
                let (high_watermark, log_start) = (partition.high_watermark(), partition.log_start());
                let checkpointed = Checkpointed { high_watermark, log_start };
                (log_directory(&partition.id, partition.topic), checkpointed)
            };
            partitions.values().map(checkpointed).collect()
        };
        self.host.buggify_delay(&sites::CHECKPOINT).await;
        Ok(self.host.disk().replace(CHECKPOINT, &sealed(&json(&checkpoint))).await?)
    }

    /// Stops in good order: leadership first, then the logs, then the registration.
    async fn stop(self: Rc<Self>) -> Result<(), LogError> {
        for _ in 0..20 {
            match self.ask_controller(&Control::Stopping(self.me)).await {
                Ok(Controlled::Leading(0)) => break,
                _ => self.host.sleep(Duration::from_millis(50)).await,
            }
        }
        self.host.report_ready(false);
        // What came into a log after its flush, the mark of a clean stop would call durable: all stay closed to the end.
        let _no_new_ones = self.image_lock.lock().await;
        let partitions: Vec<Rc<Partition>> = self.partitions.borrow().values().cloned().collect();
        let mut closed = Vec::new();
        for partition in &partitions {
            closed.push(partition.close().await?);
        }
        self.write_checkpoint().await?;
        self.host.buggify_delay(&sites::CLEAN_STOP).await;
        // Before a controller has named its partitions it has opened none of its logs, nor flushed them.
        if self.counted.get() {
            self.host.disk().replace(CLEAN_SHUTDOWN, b"").await?;
        } else {
            crate::reached!("a broker stopped before it had heard of a controller");
        }
        let session = self.session.borrow().clone();
        let _ = self.host.timeout(Duration::from_secs(1), session.close()).await;
        crate::reached!("a broker stopped in good order");
        self.host.exit("shut down");
        Ok(())
    }
}
