//! The term of a learner: elected through coordination, it reads exposures and outcomes from where the last one stopped, and writes down
//! what it has learnt. The version of the znodes is what fences it: whoever has been replaced without noticing writes nothing.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::systems::allocator::event::{Event, Kind};
use crate::systems::allocator::learner::{Learning, Taken, WeightsVersion};
use crate::systems::allocator::service::{Allocator, BELIEFS, LEARNERS, PROGRESS, json, read_learning};
use crate::systems::broker::api::{
    Consumed, Consumer, ConsumerConfig, Offset, Offsets, Reset, TopicPartition,
};
use crate::systems::coordination::api::{Candidate, Code, Error, Reply, Session, set};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::{Level, select};

/// How long to wait before something is tried again.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Stands for the office under one session until that is over.
pub async fn stand(allocator: Rc<Allocator>, session: Session) {
    let host = allocator.host.clone();
    let candidate = loop {
        match Candidate::stand(&session, LEARNERS, "learner", host.name().to_owned()).await {
            Ok(candidate) => break candidate,
            Err(Error::Expired) => return,
            Err(_) => host.sleep(BACK_OFF).await,
        }
    };
    while candidate.lead().await.is_err() {
        if session.is_expired() {
            return;
        }
        host.sleep(BACK_OFF).await;
    }
    crate::reached!("a learner was elected");
    host.log(Level::Info, || "learns from outcomes".to_owned());
    while !session.is_expired() {
        if let Err(error) = learn(&allocator, &session).await {
            host.log(Level::Debug, || format!("begins again from what is written: {error}"));
            host.sleep(BACK_OFF).await;
        }
    }
}

/// Goes on from what is written, until something is written otherwise than it thinks.
async fn learn(allocator: &Allocator, session: &Session) -> Result<(), Error> {
    let host = &allocator.host;
    session.sync(BELIEFS).await?;
    let (mut learning, mut version) = read_learning(session).await?;
    allocator.observer.learning(WeightsVersion::new(version), &learning);
    crate::sometimes!(0 < version, "a learner went on from where another had stopped");
    let mut consumer = consume(allocator, &mut learning).await;
    let window = allocator.config.attribution.get();
    let (mut due, mut fresh) = (host.now() + allocator.config.learn_every.get(), false);
    loop {
        select! {
            consumed = consumer.next() => {
                let Some(consumed) = consumed else { return Ok(()) };
                learning.take(taken(allocator, consumed), window);
                fresh = true;
            }
            () = host.sleep_until(due) => {
                due = host.now() + allocator.config.learn_every.get();
                let known = allocator.catalogue.borrow().clone();
                // Weights follow from the catalogue too: without it nothing is written.
                let Some((_, catalogue)) = known.filter(|_| fresh) else { continue };
                learning.progress.forget(window);
                host.gauge("allocator.remembered", learning.progress.remembered() as f64);
                learning.weigh(&catalogue);
                host.buggify_delay(&sites::PUBLICATION).await;
                crate::reached!("a learner is about to write down what it has learnt");
                version = publish(allocator, session, &learning, version).await?;
                allocator.observer.learning(WeightsVersion::new(version), &learning);
                fresh = false;
            }
        }
    }
}

/// Writes both halves, or neither, over those of this version; returns the next.
async fn publish(
    allocator: &Allocator,
    session: &Session,
    learning: &Learning,
    version: i32,
) -> Result<i32, Error> {
    // The known bug writes whatever stands there.
    let over = (!bug("E02")).then_some(version);
    let mut writes = vec![set(BELIEFS, json(&learning.beliefs), over)];
    // The known bug writes apart, and after, what was read for it.
    if !bug("E01") {
        writes.push(set(PROGRESS, json(&learning.progress), over));
    }
    let mut written = session.multi(writes.clone()).await;
    // The known bug tries again under the next session of its process what the ensemble has refused under the last.
    while bug("E02") && written.as_ref().is_err_and(|error| *error != Error::Unknown) {
        allocator.host.sleep(BACK_OFF).await;
        let newest = allocator.session.borrow().clone();
        written = newest.as_ref().unwrap_or(session).multi(writes.clone()).await;
    }
    match written {
        Ok(_) => {}
        Err(Error::Unknown) => crate::reached!("a learner was not told whether it had written"),
        Err(error) if error.is(Code::BadVersion) => {
            crate::reached!("a learner found that another had written")
        }
        Err(_) => {}
    }
    let versions: Vec<i32> = written?
        .iter()
        .filter_map(|reply| if let Reply::Stat(stat) = reply { Some(stat.version) } else { None })
        .collect();
    crate::reached!("a learner wrote down what it had learnt");
    if bug("E01") {
        session.set(PROGRESS, json(&learning.progress), None).await?;
    }
    let next = *versions.first().ok_or(Error::Refused(Code::MarshallingError))?;
    crate::always!(
        versions.iter().all(|version| *version == next),
        "what is believed and what was read for it have one version",
        "{versions:?}"
    );
    Ok(next)
}

async fn consume(allocator: &Allocator, learning: &mut Learning) -> Consumer {
    let (host, brokers) = (&allocator.host, &allocator.neighbours.brokers);
    let offsets = Offsets::new(host, brokers);
    let mut from = BTreeMap::new();
    for kind in Kind::ALL {
        let topic = allocator.config.topic(kind);
        for part in 0..offsets.wait_for_topic(topic).await {
            learning.progress.expects(kind, part);
            from.insert(
                TopicPartition::new(topic, part),
                learning.progress.next(kind, part).map(Offset::new),
            );
        }
    }
    let config = ConsumerConfig { bytes_min: 1, reset: Reset::Earliest, ..ConsumerConfig::default() };
    Consumer::begin(host, brokers, from, &config)
}

fn taken(allocator: &Allocator, consumed: Consumed) -> Taken {
    let exposures = *consumed.id.topic == *allocator.config.exposures;
    let kind = if exposures { Kind::Exposures } else { Kind::Outcomes };
    let (part, offset) = (consumed.id.index, consumed.offset.get());
    let at = consumed.message.as_ref().map_or(0, |message| message.timestamp);
    allocator.observer.record(kind, part, offset, at);
    let event = consumed.message.and_then(|message| Event::decode(kind, &message.value));
    Taken { kind, part, offset, at, event }
}
