//! Those who work behind the scenes: one who changes the catalogue by the clock, and one who reads everything back at the end.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::checkers::experiment::{Choice, Read, Said};
use crate::systems::allocator::api::{ChangeError, Curator, Event, Kind, Learning, Observer, topic};
use crate::systems::broker::api::{Consumed, Consumer, ConsumerConfig, Offset, Offsets, TopicPartition};
use crate::systems::coordination::api::Session;
use crate::workloads::experiment::{Client, Order, ordered};
use crate::world::{Host, Level};

const SESSION_TIMEOUT: Duration = Duration::from_secs(3);
const BACK_OFF: Duration = Duration::from_millis(100);

/// Makes the changes in their order, each at its time. A life that begins later goes on where the catalogue stands: its version is the
/// number of the changes that were made.
pub(super) async fn curate(client: Client, host: Host) {
    let steps = &client.config.steps;
    loop {
        let session = Session::begin(&host, &client.servers.ensemble, SESSION_TIMEOUT);
        let curator = Curator::new(&session);
        while !session.is_expired() {
            if curator.prepare().await.is_err() {
                host.sleep(BACK_OFF).await;
                continue;
            }
            let Ok((version, _)) = curator.catalogue().await else {
                host.sleep(BACK_OFF).await;
                continue;
            };
            let Some(step) = steps.get(version.get() as usize) else {
                client.notebook.changed.set(true);
                prepared(&client, &host);
                std::future::pending::<()>().await;
                return;
            };
            if !step.at.get().is_zero() {
                prepared(&client, &host);
                let order = ordered(&client.notebook, |order| *order != Order::Prepare).await;
                if let Order::Drive(start) = order {
                    host.sleep((start + step.at.get()).since(host.true_time())).await;
                }
            }
            match curator.change(version, &step.change).await {
                Ok(()) => host.log(Level::Debug, || format!("has made change {version}: {:?}", step.change)),
                Err(ChangeError::Refused(error)) => {
                    host.log(Level::Error, || format!("was refused: {error}"))
                }
                Err(error) => {
                    host.log(Level::Debug, || format!("looks again: {error}"));
                    host.sleep(BACK_OFF).await;
                }
            }
        }
    }
}

fn prepared(client: &Client, host: &Host) {
    client.notebook.prepared.modify(|clients| clients.insert(host.name().to_owned()));
    host.report_ready(true);
}

/// Reads both topics to their ends, and waits until all of it has been learnt.
pub(super) async fn read_back(client: Client, host: Host) {
    let notebook = client.notebook.clone();
    prepared(&client, &host);
    ordered(&notebook, |order| *order == Order::ReadBack).await;
    let offsets = Offsets::new(&host, &client.servers.brokers);
    let mut ends: BTreeMap<(Kind, i32), Offset> = BTreeMap::new();
    for kind in Kind::ALL {
        let name = topic_name(&client, kind);
        *notebook.awaited.borrow_mut() = Some(format!("the ends of {name}"));
        for part in 0..offsets.wait_for_topic(name).await {
            let bounds = offsets.bounds(&TopicPartition::new(name, part)).await;
            if bounds.start < bounds.end {
                ends.insert((kind, part), bounds.end);
            }
        }
    }
    let parts =
        ends.keys().map(|(kind, part)| (TopicPartition::new(topic_name(&client, *kind), *part), None));
    let mut consumer =
        Consumer::begin(&host, &client.servers.brokers, parts.collect(), &ConsumerConfig::default());
    let mut left = ends.clone();
    while !left.is_empty() {
        *notebook.awaited.borrow_mut() = Some(format!("records of {} parts", left.len()));
        let Some(consumed) = consumer.next().await else { return };
        let kind =
            if *consumed.id.topic == *client.system.exposures { Kind::Exposures } else { Kind::Outcomes };
        let place = (kind, consumed.id.index);
        if left.get(&place).is_some_and(|end| *end <= consumed.offset.next()) {
            left.remove(&place);
        }
        notebook.history.borrow_mut().read(read(kind, &consumed));
    }
    notebook.history.borrow_mut().read_whole();
    learnt(&client, &host, &ends).await;
    *notebook.awaited.borrow_mut() = None;
    std::future::pending::<()>().await;
}

fn topic_name(client: &Client, kind: Kind) -> &str {
    match kind {
        Kind::Exposures => &client.system.exposures,
        Kind::Outcomes => &client.system.outcomes,
    }
}

async fn learnt(client: &Client, host: &Host, ends: &BTreeMap<(Kind, i32), Offset>) {
    let observer = Observer::new(host, Rc::clone(&client.notebook.history));
    loop {
        let session = Session::begin(host, &client.servers.ensemble, SESSION_TIMEOUT);
        let curator = Curator::new(&session);
        while !session.is_expired() {
            if let (Ok((version, catalogue)), Ok((weights, learning))) =
                (curator.catalogue().await, curator.learning().await)
            {
                observer.catalogue(version, &catalogue);
                observer.learning(weights, &learning);
                let behind =
                    ends.iter().find(|((kind, part), end)| read_to(&learning, *kind, *part) < end.get());
                let Some(((kind, part), end)) = behind else { return };
                let told = format!("the learner to read {}/{part} to {end}", topic_name(client, *kind));
                *client.notebook.awaited.borrow_mut() = Some(told);
            }
            host.sleep(BACK_OFF).await;
        }
    }
}

fn read_to(learning: &Learning, kind: Kind, part: i32) -> i64 {
    learning.progress.offsets.get(&kind).and_then(|parts| parts.get(&part)).copied().unwrap_or(0)
}

fn read(kind: Kind, consumed: &Consumed) -> Read {
    let event = consumed.message.as_ref().and_then(|message| Event::decode(kind, &message.value));
    let event = event.map(|event| {
        let id = (event.id().life, event.id().number);
        let said = match event {
            Event::Exposure(exposure) => Said::Exposure {
                choice: Choice {
                    experiment: exposure.experiment.get(),
                    arm: exposure.arm,
                    propensity: exposure.propensity,
                    weights: exposure.weights.get(),
                },
                unit: exposure.unit,
            },
            Event::Outcome(outcome) => Said::Outcome(outcome.converted),
        };
        (id, said)
    });
    Read { topic: topic(kind), part: consumed.id.index, offset: consumed.offset.get(), event }
}
