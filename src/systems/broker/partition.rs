//! One topic partition on one broker: its replica and its log, kept together.
//!
//! The log is behind a lock, because its changes wait for the disk; the replica is changed only by who holds that lock, or between
//! two waits.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use tokio::sync::{Mutex, Notify};

use crate::base::{ByteSize, MonoTime};
use crate::checkers::replication::Standing;
use crate::systems::broker::Observer;
use crate::systems::broker::TopicConfig;
use crate::systems::broker::cluster::{PartitionState, Topic};
use crate::systems::broker::epochs::diverges_at;
use crate::systems::broker::id::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::systems::broker::log::{AppendInfo, Limit, Log, LogError};
use crate::systems::broker::observer::ReplicaObserver;
use crate::systems::broker::replica::{LeaderState, Progress, Proposal, Replica, Role};
use crate::systems::sites;
use crate::world::Host;
use crate::world::property::bug;

/// A topic partition on this broker.
pub struct Partition {
    /// Which.
    pub id: TopicPartition,
    /// Which of the topics that ever had this name.
    pub topic: TopicId,
    /// Its topic's settings.
    pub config: TopicConfig,
    /// What it is and what is committed.
    pub replica: RefCell<Replica>,
    /// Whom to tell when there is more to fetch, more is committed, or another leads.
    pub changes: Changes,
    log: Mutex<Log>,
    log_end: Cell<Offset>,
    log_start: Cell<Offset>,
    unclean: Cell<bool>,
    seen: Cell<Seen>,
    observer: ReplicaObserver,
}

/// What waiting requests look at: log end, log start, high watermark, epoch, and whether it leads.
type Seen = (Offset, Offset, Offset, LeaderEpoch, bool);

/// Requests that wait for a change of a topic partition (Kafka's purgatory).
#[derive(Default)]
pub struct Changes(RefCell<Vec<Weak<Notify>>>);

impl Changes {
    /// Has this waiter told of the next change.
    pub fn tell(&self, waiter: &Rc<Notify>) {
        let waiter = Rc::downgrade(waiter);
        let mut waiters = self.0.borrow_mut();
        if !waiters.iter().any(|other| other.ptr_eq(&waiter)) {
            // The request alone holds its waiter: those that have ended are gone.
            waiters.retain(|other| 0 < other.strong_count());
            waiters.push(waiter);
        }
    }

    fn happened(&self) {
        let waiters = std::mem::take(&mut *self.0.borrow_mut());
        waiters.iter().filter_map(Weak::upgrade).for_each(|waiter| waiter.notify_one());
    }
}

/// Why a request cannot be served here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No topic that this broker knows has such a part.
    UnknownTopicPartition,
    /// This broker does not lead.
    NotLeader,
    /// The sender knows an older leader.
    FencedEpoch,
    /// The sender knows a newer leader than this broker does.
    UnknownEpoch,
    /// Too few replicas are in sync.
    NotEnoughReplicas,
    /// This leader does not know yet how far its predecessors had committed.
    OffsetNotAvailable,
    /// No topic has this id: it was deleted, or this broker has not heard of it yet (KIP-516).
    UnknownTopicId,
    /// The log says no.
    Log(LogError),
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// What a leader finds for a fetch.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it answers.
    pub fetched: Fetched,
    /// Waiting brings no more: the records stand in a closed segment, or the logs differ.
    pub complete: bool,
    /// Another in-sync set, to be asked of the controller.
    pub proposal: Option<Proposal>,
}

/// What a fetch brings.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whole batches.
    pub records: Bytes,
    /// All below is committed.
    pub high_watermark: Offset,
    /// The offset of the first record that is kept.
    pub log_start: Offset,
    /// The fetcher's log differs: the largest epoch up to its own that this log has, and where that ends.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

/// What a fetcher asks.
#[derive(Clone, Copy, Debug)]
pub struct FetchFrom {
    /// The follower and its life; `None` for a consumer.
    pub follower: Option<(BrokerId, BrokerEpoch)>,
    /// The leader it knows; `None` if it does not care.
    pub epoch: Option<LeaderEpoch>,
    /// Where it wants to begin.
    pub offset: Offset,
    /// The epoch of the record before that; `None` if it has none.
    pub last_epoch: Option<LeaderEpoch>,
}

impl Partition {
    /// A topic partition that has not been told what it is.
    pub fn new(id: TopicPartition, topic: &Topic, log: Log, replica: Replica, observer: &Observer) -> Self {
        let observer = observer.of(&id, topic.id);
        observer.opened(standing(&log, &replica), log.epochs());
        let (log_end, log_start) = (Cell::new(log.end()), Cell::new(log.start()));
        let replica = RefCell::new(replica);
        Self {
            id,
            topic: topic.id,
            config: topic.config.clone(),
            replica,
            log: Mutex::new(log),
            log_end,
            log_start,
            unclean: Cell::new(false),
            seen: Cell::default(),
            changes: Changes::default(),
            observer,
        }
    }

    /// The offset that the next record will have.
    pub fn log_end(&self) -> Offset {
        self.log_end.get()
    }

    /// The offset of the first record that is kept.
    pub fn log_start(&self) -> Offset {
        self.log_start.get()
    }

    /// All below is committed.
    pub fn high_watermark(&self) -> Offset {
        self.replica.borrow().high_watermark()
    }

    /// Whether this leader does not know yet all that its predecessors had committed: its high watermark lies before its epoch.
    pub fn lags_committed(&self) -> bool {
        let replica = self.replica.borrow();
        replica.leadership().is_some_and(|leadership| replica.high_watermark() < leadership.epoch_start)
    }

    fn note(&self, log: &mut Log) {
        self.log_end.set(log.end());
        self.log_start.set(log.start());
        let replica = self.replica.borrow();
        if !self.unclean.get() {
            self.observer.committed(&log.take_committed(replica.high_watermark()));
        }
        let leads = replica.leadership().is_some();
        let seen = (log.end(), log.start(), replica.high_watermark(), replica.epoch(), leads);
        if self.seen.replace(seen) != seen {
            self.observer.stands(standing(log, &replica), log.epochs());
            self.changes.happened();
        }
    }

    /// The controller has said how things stand.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn on_state(&self, state: &PartitionState, host: &Host) -> Result<(), LogError> {
        let now = host.now();
        let mut log = self.log.lock().await;
        self.unclean.set(state.unclean);
        let me = self.replica.borrow().me;
        if state.leader_epoch < self.replica.borrow().epoch() {
            crate::reached!("a broker ignored the state of an older leader epoch");
            return Ok(());
        }
        if state.leader == Some(me) {
            let leader_state = LeaderState {
                epoch: state.leader_epoch,
                version: state.version,
                in_sync: state.in_sync.clone(),
                replicas: state.replicas.clone(),
            };
            if self.replica.borrow_mut().lead(leader_state, log.end(), now) {
                self.observer.leads(state.leader_epoch, log.end());
                host.buggify_delay(&sites::LEADERSHIP).await;
            }
        } else {
            let was_leader = self.replica.borrow().leadership().is_some();
            let news = self.replica.borrow_mut().follow(state.leader, state.leader_epoch);
            crate::sometimes!(was_leader && news, "a leader was fenced by a newer epoch");
            // The known bug cuts at what this replica knew to be committed, which lags what is.
            if news && bug("K01") {
                let to = self.high_watermark();
                self.cut(&mut log, to).await?;
            }
        }
        self.note(&mut log);
        Ok(())
    }

    /// The epoch this replica leads in, as long as the sender knows no other.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn leading(&self, epoch: Option<LeaderEpoch>) -> Result<LeaderEpoch, Refusal> {
        let replica = self.replica.borrow();
        let own = replica.epoch();
        match epoch {
            Some(epoch) if epoch < own => return Err(Refusal::FencedEpoch),
            Some(epoch) if own < epoch => return Err(Refusal::UnknownEpoch),
            _ => {}
        }
        if replica.leadership().is_some() { Ok(own) } else { Err(Refusal::NotLeader) }
    }

    /// Appends a producer's batch. `all`: only if enough replicas are in sync.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing was appended.
    pub async fn append(&self, batch: &Bytes, all: bool) -> Result<(AppendInfo, LeaderEpoch), Refusal> {
        let mut log = self.log.lock().await;
        let epoch = self.leading(None)?;
        if all && !self.replica.borrow().has_enough_in_sync() {
            return Err(Refusal::NotEnoughReplicas);
        }
        let info = log.append_as_leader(batch, epoch).await?;
        self.replica.borrow_mut().on_append(log.end());
        self.note(&mut log);
        Ok((info, epoch))
    }

    /// Reads for a consumer or a follower; a follower's fetch also tells how far it is.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn fetch(&self, from: FetchFrom, limit: Limit, now: MonoTime) -> Result<Found, Refusal> {
        let mut log = self.log.lock().await;
        self.leading(from.epoch)?;
        let diverging = from.last_epoch.and_then(|last| {
            let answer = log.epochs().end_of(last, log.end());
            let (epoch, end) = answer.unwrap_or((last, log.start()));
            // The known bug tells only where that ends, not of which epoch it speaks.
            let epoch = if bug("K03") { last } else { epoch };
            (epoch < last || end < from.offset).then_some((epoch, end))
        });
        let mut proposal = None;
        if let Some((follower, epoch)) = from.follower {
            let diverged = diverging.is_some() || log.end() < from.offset;
            let progress = Progress { follower, epoch, offset: from.offset, diverged };
            proposal = self.replica.borrow_mut().on_follower_fetch(progress, log.end(), now);
            self.note(&mut log);
        }
        let high_watermark = self.high_watermark();
        let upto = if from.follower.is_some() || bug("K13") { log.end() } else { high_watermark };
        let records = match diverging {
            Some(_) => Bytes::new(),
            None => log.read(from.offset, upto, limit).await?,
        };
        let complete = diverging.is_some() || (!records.is_empty() && log.is_closed_at(from.offset));
        let fetched = Fetched { records, high_watermark, log_start: log.start(), diverging };
        Ok(Found { fetched, complete, proposal })
    }

    /// How many bytes a fetch would find, give or take a few batches, without reading them; `None` if it would be refused, or answered at
    /// once.
    pub fn bytes_for(&self, from: &FetchFrom) -> Option<u64> {
        let log = self.log.try_lock().ok()?;
        self.leading(from.epoch).ok()?;
        let upto = if from.follower.is_some() { log.end() } else { self.high_watermark() };
        log.bytes_between(from.offset, upto)
    }

    /// Where a follower that copies from `leader` in `epoch` goes on: its log end, and the epoch of its last record.
    pub async fn position(&self, leader: BrokerId) -> Option<(LeaderEpoch, Offset, Option<LeaderEpoch>)> {
        let log = self.log.lock().await;
        match self.replica.borrow().role {
            Role::Follower { leader: Some(known), epoch } if known == leader => {
                Some((epoch, log.end(), log.epochs().latest()))
            }
            _ => None,
        }
    }

    /// Takes over what the leader of `epoch` sent.
    ///
    /// # Errors
    /// See [`LogError`].
    pub async fn copy(&self, epoch: LeaderEpoch, fetched: &Fetched) -> Result<(), LogError> {
        let mut log = self.log.lock().await;
        let follows =
            matches!(self.replica.borrow().role, Role::Follower { epoch: known, .. } if known == epoch);
        if !follows {
            return Ok(());
        }
        let mut followed = false;
        if let Some(answer) = fetched.diverging {
            let to = diverges_at(log.epochs(), log.end(), answer);
            self.cut(&mut log, to).await?;
        } else {
            log.append_as_follower(&fetched.records).await?;
            let leader_watermark = fetched.high_watermark;
            self.replica.borrow_mut().on_leader_watermark(leader_watermark, log.end());
            let (leader_start, known) = (fetched.log_start, self.high_watermark());
            crate::always!(
                leader_start <= known,
                "a leader has removed only what its followers know to be committed",
                "{}: it starts at {leader_start}, committed up to {known}",
                self.id
            );
            // KIP-107: what the leader has removed shall not come back when this one leads.
            if log.raise_start(leader_start).await? {
                crate::reached!("a follower raised its log start to its leader's");
            }
            followed = true;
        }
        self.note(&mut log);
        if followed {
            self.observer.followed(fetched.log_start);
        }
        Ok(())
    }

    /// The leader of `epoch` has nothing at this follower's log end. If that is because its log begins after, this one begins anew
    /// there; if its log differed or ended before, it would have told the diverging epoch.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn begin_at(&self, epoch: LeaderEpoch, leader_start: Offset) -> Result<(), LogError> {
        let mut log = self.log.lock().await;
        let follows =
            matches!(self.replica.borrow().role, Role::Follower { epoch: known, .. } if known == epoch);
        if !follows {
            return Ok(());
        }
        if log.end() < leader_start {
            crate::reached!("a follower began anew at its leader's log start");
            log.start_at(leader_start).await?;
            // What the leader has removed was committed.
            self.replica.borrow_mut().on_leader_watermark(leader_start, log.end());
        }
        self.note(&mut log);
        Ok(())
    }

    async fn cut(&self, log: &mut Log, to: Offset) -> Result<(), LogError> {
        if log.end() <= to {
            return Ok(());
        }
        crate::reached!("a follower truncated its log");
        self.observer.truncated(to, self.high_watermark(), self.unclean.get());
        log.truncate(to).await?;
        self.replica.borrow_mut().on_truncated(log.end());
        Ok(())
    }

    /// Where an epoch ends in this leader's log (OffsetForLeaderEpoch): the largest that it knows up to that one, and its end; `None` if
    /// that epoch is yet to come.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn end_of_epoch(
        &self,
        known: Option<LeaderEpoch>,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Refusal> {
        let log = self.log.lock().await;
        if self.leading(known)? < epoch {
            return Ok(None);
        }
        Ok(Some(log.epochs().end_of(epoch, log.end()).unwrap_or((epoch, log.start()))))
    }

    /// The first committed record at or after a timestamp (ListOffsets).
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn offset_at(
        &self,
        known: Option<LeaderEpoch>,
        timestamp: i64,
    ) -> Result<Option<(Offset, i64)>, Refusal> {
        let log = self.log.lock().await;
        self.leading(known)?;
        let found = log.offset_for_timestamp(timestamp).await?;
        Ok(found.filter(|(offset, _)| *offset < self.high_watermark()))
    }

    /// Removes what is too old or too much, of what is committed.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn retain(&self, now_ms: i64) -> Result<(), LogError> {
        let older_than = self.config.retention.map(|keep| now_ms - keep.get().as_millis() as i64);
        let size_max = self.config.retention_size.map(ByteSize::get);
        if older_than.is_none() && size_max.is_none() {
            return Ok(());
        }
        let mut log = self.log.lock().await;
        let removed = log.retain(older_than, size_max, self.high_watermark()).await?;
        crate::sometimes!(0 < removed, "a broker removed old segments");
        self.note(&mut log);
        Ok(())
    }

    /// Makes durable all that the log holds.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.close().await.map(drop)
    }

    /// Makes durable all that the log holds, and lets nobody use it while the guard lives.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn close(&self) -> Result<impl Sized + '_, LogError> {
        let log = self.log.lock().await;
        log.flush().await?;
        Ok(log)
    }

    /// Removes the log from the disk: the topic is gone.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn delete(&self) -> Result<(), LogError> {
        let mut log = self.log.lock().await;
        self.replica.borrow_mut().role = Role::Idle;
        let deleted = log.delete().await;
        self.changes.happened();
        deleted
    }
}

fn standing(log: &Log, replica: &Replica) -> Standing {
    let leads = replica.leadership().map(|leads| (leads.epoch.get(), leads.version.get()));
    let (start, end) = (log.start().get(), log.end().get());
    Standing { start, end, high_watermark: replica.high_watermark().get(), leads }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_have_ended_are_not_remembered_by_the_parts_they_waited_for() {
        let parts = [Changes::default(), Changes::default()];
        for _ in 0..100 {
            let waiter = Rc::new(Notify::new());
            parts.iter().for_each(|changes| changes.tell(&waiter));
            parts.iter().for_each(|changes| changes.tell(&waiter));
        }
        assert!(parts.iter().all(|changes| changes.0.borrow().len() == 1));
    }
}
