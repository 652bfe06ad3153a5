//! The brokers and their clients, end to end; where the clients hide an answer, in the Kafka protocol itself.

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use kafka_protocol::error::ResponseError::*;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    ElectLeadersRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
};
use wavetank::base::{ByteSize, Span};
use wavetank::systems::broker::api::{self, Acks, BrokerId, Offset, Reset};
use wavetank::systems::broker::records::Sequenced;
use wavetank::systems::broker::{Config, TopicConfig};

use stage::{
    ALL, Part, Stage, T, batch, brokers, error, fetch, hits, id, message, name, on_three, play, refused, upto,
};

#[test]
fn what_no_cluster_could_hold_is_refused() {
    play(1, brokers(3), |stage| async move {
        let admin = stage.admin();
        let topic = |partitions, replicas, min| TopicConfig::new(T, partitions, replicas, min);
        for (topic, error) in [
            (topic(1, 4, 1), InvalidReplicationFactor),
            (topic(1, 0, 1), InvalidReplicationFactor),
            (topic(0, 1, 1), InvalidPartitions),
            (topic(1, 1, 2), InvalidConfig),
            (TopicConfig::new("no/name", 1, 1, 1), InvalidTopicException),
        ] {
            assert_eq!(admin.create_topic(&topic).await, refused(error), "{topic:?}");
        }
        assert_eq!(admin.delete_topic(T).await, refused(UnknownTopicOrPartition));
        let part = stage.create(topic(1, 3, 1)).await;
        assert_eq!(admin.create_topic(&topic(1, 1, 1)).await, refused(TopicAlreadyExists));
        stage.fail_over(&part).await;
        let fresh = TopicConfig::new("u", 1, 3, 1);
        assert_eq!(admin.create_topic(&fresh).await, refused(InvalidReplicationFactor), "two are alive");
    });
}

#[test]
fn a_topic_that_does_not_exist_is_unknown_to_every_request() {
    play(2, brokers(1), |stage| async move {
        assert_eq!(stage.admin().describe_topic(T).await, refused(UnknownTopicOrPartition));
        let broker = Some(BrokerId::new(1));
        assert_eq!(stage.produce(0, broker, 1, batch(&[0], None)).await, Err(UnknownTopicOrPartition));
        assert_eq!(stage.fetch(broker, fetch(&[(0, 0)])).await.0, [Err(UnknownTopicOrPartition)]);
        assert_eq!(stage.end_of_epoch(broker, -1, 0).await, Err(UnknownTopicOrPartition));
    });
}

#[test]
fn a_topic_created_again_under_the_same_name_starts_empty_on_every_broker_and_for_every_client() {
    // Long enough for a broker to be down, yet counted in.
    let config = Config { session_timeout: Span::secs(4), ..brokers(3) };
    let outcome = play(3, config, |stage| async move {
        let topic = TopicConfig::new(T, 1, 3, 1);
        let mut part = stage.create(topic.clone()).await;
        // The topic's leader epoch rises beyond what its successor's will be, and the producer knows it.
        for _ in 0..2 {
            stage.fail_over(&part).await;
            stage.start(part.leader.expect("it had a leader"));
            part = stage.in_sync(3).await;
        }
        let controller = stage.ask(part.leader, MetadataRequest::default()).await.controller_id.0;
        let others: Vec<BrokerId> =
            part.replicas.iter().filter(|broker| broker.get() != controller).copied().collect();
        let [stalled, down] = others[..] else { panic!("one of three controls") };
        let producer = stage.producer(Acks::All).await;
        for value in 0..10 {
            assert_eq!(stage.send(&producer, value).await, Ok(Some(value)));
        }
        // One broker hears of nothing until the topic is there again, another is down.
        stage.tank.pause(stage.host_of(stalled));
        assert_eq!(stage.admin().create_topic(&TopicConfig::new("u", 1, 1, 1)).await, Ok(()));
        stage.crash(down);
        assert_eq!(stage.admin().delete_topic(T).await, Ok(()));
        assert_eq!(stage.admin().create_topic(&topic).await, Ok(()));
        stage.tank.resume(stage.host_of(stalled));
        for value in 10..20 {
            assert_eq!(stage.send(&producer, value).await, Ok(Some(value - 10)));
        }
        stage.start(down);
        for leader in [down, stalled] {
            stage.in_sync(3).await;
            part.replicas.iter().filter(|broker| **broker != leader).for_each(|broker| stage.crash(*broker));
            stage.led_by(Some(leader)).await;
            assert_eq!(stage.read(0).await, (10..20).collect::<Vec<i64>>());
            part.replicas.iter().for_each(|broker| stage.start(*broker));
        }
    });
    let name = "a broker removed the log of a topic that was deleted while it was away";
    assert_eq!(hits(&outcome, name), 1);
}

#[test]
fn replicas_move_to_other_brokers_with_all_that_was_written_while_writes_go_on() {
    let outcome = play(40, brokers(5), |stage| async move {
        let part = stage.create(TopicConfig::new(T, 1, 3, 2)).await;
        stage.fill(0..10).await;
        let free = (1..=5).map(BrokerId::new).filter(|broker| !part.replicas.contains(broker));
        let to: Vec<BrokerId> = free.chain([part.replicas[2]]).collect();
        let admin = stage.admin();
        assert_eq!(admin.reassign(T, &[(0, Some(to.clone()))]).await, Ok(vec![(0, None)]));
        stage.fill(10..20).await;
        let moved = stage.until("it stands there", |part| part.replicas == to).await;
        assert_eq!(moved.in_sync, to.iter().copied().collect::<BTreeSet<_>>());
        assert!(moved.leader_epoch > part.leader_epoch, "those that have gone are fenced");
        assert_eq!(admin.moving(T).await, Ok(Vec::new()));
        // What has gone is missed by nobody.
        for gone in &part.replicas[..2] {
            stage.crash(*gone);
        }
        stage.fill(20..30).await;
        assert_eq!(stage.read(0).await, upto(30));
        // One that comes back to a part it has left finds no log of its own, and copies all of it.
        part.replicas.iter().for_each(|broker| stage.start(*broker));
        stage.sleep(5000).await;
        let back = part.replicas.clone();
        assert_eq!(admin.reassign(T, &[(0, Some(back.clone()))]).await, Ok(vec![(0, None)]));
        stage.until("it is back", |part| part.replicas == back && part.in_sync.len() == 3).await;
        assert_eq!(stage.read(0).await, upto(30));
    });
    assert_eq!(hits(&outcome, "a controller ended a move of replicas"), 2);
}

#[test]
fn a_move_to_a_broker_that_fails_is_told_of_and_can_be_cancelled() {
    play(41, brokers(4), |stage| async move {
        let part = stage.create(TopicConfig::new(T, 1, 3, 2)).await;
        stage.fill(0..5).await;
        let free = (1..=4).map(BrokerId::new).find(|broker| !part.replicas.contains(broker));
        let free = free.expect("one of four holds nothing");
        let admin = stage.admin();
        assert_eq!(
            admin.reassign(T, &[(0, None), (7, None)]).await,
            Ok(vec![(0, Some(NoReassignmentInProgress)), (7, Some(UnknownTopicOrPartition))])
        );
        // It hears nothing, so that it cannot catch up, and is counted among the living for a while.
        stage.tank.pause(stage.host_of(free));
        let to = vec![part.replicas[0], part.replicas[1], free];
        assert_eq!(admin.reassign(T, &[(0, Some(to))]).await, Ok(vec![(0, None)]));
        assert_eq!(admin.moving(T).await, Ok(vec![0]));
        stage.until("it stands on four", |part| part.replicas.len() == 4).await;
        stage.fill(5..10).await;
        assert_eq!(admin.reassign(T, &[(0, None)]).await, Ok(vec![(0, None)]));
        let back = stage.until("it stands where it stood", |now| now.replicas == part.replicas).await;
        assert_eq!(back.in_sync.len(), 3);
        stage.tank.resume(stage.host_of(free));
        assert_eq!(
            admin.reassign(T, &[(0, Some(vec![free]))]).await,
            Ok(vec![(0, Some(InvalidReplicaAssignment))])
        );
        assert_eq!(stage.read(0).await, upto(10));
    });
}

#[test]
fn a_topic_is_deleted_by_its_id_and_no_other_that_bears_its_name_since() {
    on_three(43, |stage, part| async move {
        let admin = stage.admin();
        let old = admin.topic_id(T).await.expect("a broker answers").expect("the topic is there");
        assert_eq!(admin.delete_topic_of(T, old).await, Ok(()));
        assert_eq!(admin.delete_topic_of(T, old).await, refused(UnknownTopicId));
        stage.create(TopicConfig::new(T, 1, 3, 2)).await;
        assert_eq!(admin.delete_topic_of(T, old).await, refused(UnknownTopicId), "its successor stays");
        let new = admin.topic_id(T).await.expect("a broker answers").expect("the topic is there");
        assert!(old < new);
        let broker = stage.cluster.servers[part.leader.expect("it led").get() as usize - 1];
        assert_eq!(admin.topic_id_at(broker, T).await, Ok(Some(new)));
        assert_eq!(admin.topic_id("nothing").await, Ok(None));
    });
}

#[test]
fn an_operator_creates_a_topic_anew_though_a_broker_is_away() {
    let outcome = on_three(44, |stage, part| async move {
        stage.fill(0..10).await;
        let away = part.replicas[2];
        stage.crash(away);
        let old = stage.admin().topic_id(T).await.expect("a broker answers");
        let (host, servers) = (stage.host.clone(), stage.cluster.servers.clone());
        let anew = stage.host.spawn("operation", async move {
            let topic = TopicConfig::new(T, 1, 3, 2);
            let deadline = host.now();
            api::Operation::RecreateTopic.carry_out(&host, &servers, &topic, 0, deadline).await
        });
        stage.sleep(10_000).await;
        assert!(!anew.is_over(), "too few brokers are alive");
        stage.start(away);
        assert_eq!(anew.await, Some(Ok(())), "whatever the deadline was");
        assert!(old < stage.admin().topic_id(T).await.expect("a broker answers"));
        stage.fill(10..15).await;
        stage.in_sync(3).await;
        assert_eq!(stage.read(0).await, (10..15).collect::<Vec<i64>>());
    });
    assert_eq!(hits(&outcome, "a broker removed the log of a topic that was deleted while it was away"), 1);
}

#[test]
fn the_preferred_replica_leads_when_an_operator_asks_for_it() {
    on_three(42, |stage, part| async move {
        let admin = stage.admin();
        assert_eq!(admin.elect_preferred_leaders(T, &[0]).await, Ok(vec![(0, Some(ElectionNotNeeded))]));
        let next = stage.fail_over(&part).await;
        let refused = admin.elect_preferred_leaders(T, &[0, 3]).await;
        let expected = vec![(0, Some(PreferredLeaderNotAvailable)), (3, Some(UnknownTopicOrPartition))];
        assert_eq!(refused, Ok(expected), "it is down");
        stage.start(part.replicas[0]);
        stage.in_sync(3).await;
        assert_eq!(admin.elect_preferred_leaders(T, &[0]).await, Ok(vec![(0, None)]));
        let again = stage.led_by(Some(part.replicas[0])).await;
        assert!(next.leader_epoch < again.leader_epoch);
        let unclean = ElectLeadersRequest::default().with_election_type(1);
        let answer = stage.ask_in(2, again.leader, unclean).await;
        assert_eq!(error(answer.error_code), Err(InvalidRequest), "nobody may lead who is not in sync");
    });
}

#[test]
fn offsets_are_listed_from_both_ends_and_by_the_time_of_each_record() {
    on_three(4, |stage, Part { leader, .. }| async move {
        assert_eq!(stage.bounds(0).await, (0, 0));
        assert_eq!(stage.produce(0, leader, ALL, batch(&[10, 20, 30], None)).await, Ok(0));
        assert_eq!(stage.produce(0, leader, ALL, batch(&[40], None)).await, Ok(3));
        assert_eq!(stage.bounds(0).await, (0, 4));
        for (timestamp, offset) in [(0, Some(0)), (11, Some(1)), (30, Some(2)), (31, Some(3)), (41, None)] {
            let found = stage.offsets().at(&id(0), timestamp).await;
            assert_eq!(found.map(Offset::get), offset, "at {timestamp}");
        }
        for (timestamp, epoch, expected) in
            [(-1, 0, Ok(4)), (-1, 7, Err(UnknownLeaderEpoch)), (30, 7, Err(UnknownLeaderEpoch))]
        {
            let asked =
                ListOffsetsPartition::default().with_current_leader_epoch(epoch).with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![asked]);
            let request = ListOffsetsRequest::default().with_topics(vec![topic]);
            let answer = &stage.ask(leader, request).await.topics[0].partitions[0];
            assert_eq!(error(answer.error_code).map(|()| answer.offset), expected, "{timestamp} in {epoch}");
        }
    });
}

#[test]
fn who_asks_for_offsets_again_and_again_follows_the_leader_and_the_topic() {
    on_three(45, |stage, part| async move {
        let offsets = stage.offsets();
        let ends = async || {
            let bounds = offsets.bounds(&id(0)).await;
            (bounds.end.get(), bounds.leader_epoch)
        };
        stage.fill(0..5).await;
        assert_eq!(ends().await, (5, part.leader_epoch));
        let next = stage.fail_over(&part).await;
        stage.fill(5..8).await;
        assert_eq!(ends().await, (8, next.leader_epoch));
        stage.start(part.leader.expect("it had a leader"));
        stage.in_sync(3).await;
        assert_eq!(stage.admin().delete_topic(T).await, Ok(()));
        let anew = stage.create(TopicConfig::new(T, 1, 3, 2)).await;
        stage.fill(0..2).await;
        assert_eq!(ends().await, (2, anew.leader_epoch));
    });
}

#[test]
fn a_leader_tells_where_each_epoch_ends_and_fences_those_who_know_another() {
    on_three(5, |stage, part| async move {
        stage.fill(0..5).await;
        let part = stage.fail_over(&part).await;
        stage.fill(5..9).await;
        let (leader, epoch) = (part.leader, part.leader_epoch.get());
        assert_eq!(stage.end_of_epoch(leader, epoch, 0).await, Ok((0, 5)));
        assert_eq!(stage.end_of_epoch(leader, -1, epoch).await, Ok((epoch, 9)));
        assert_eq!(stage.end_of_epoch(leader, -1, epoch + 1).await, Ok((-1, -1)), "nobody knows yet");
        assert_eq!(stage.end_of_epoch(leader, epoch - 1, 0).await, Err(FencedLeaderEpoch));
        assert_eq!(stage.end_of_epoch(leader, epoch + 1, 0).await, Err(UnknownLeaderEpoch));
        let follower = part.in_sync.iter().copied().find(|broker| Some(*broker) != leader);
        assert_eq!(stage.end_of_epoch(follower, epoch, 0).await, Err(NotLeaderOrFollower));
    });
}

#[test]
fn a_record_is_acknowledged_when_as_many_replicas_have_it_as_asked_and_seen_when_all_in_sync_have() {
    on_three(6, |stage, Part { leader, replicas, .. }| async move {
        replicas[1..].iter().for_each(|broker| stage.tank.pause(stage.host_of(*broker)));
        assert_eq!(stage.send(&stage.producer(Acks::None).await, 0).await, Ok(None));
        stage.sleep(100).await;
        assert_eq!(stage.send(&stage.producer(Acks::Leader).await, 1).await, Ok(Some(1)));
        let all = stage.producer(Acks::All).await;
        let mut delivery = all.send(T, message(2)).1;
        stage.sleep(1000).await;
        assert!(delivery.try_recv().is_err(), "two of three stand still");
        assert_eq!(stage.fetch(leader, fetch(&[(0, 0)])).await.0, [Ok(vec![])]);
        assert_eq!(stage.bounds(0).await, (0, 0), "what the leader alone has is not committed");
        replicas[1..].iter().for_each(|broker| stage.tank.resume(stage.host_of(*broker)));
        assert_eq!(delivery.await.expect("it comes to an end").map(|at| at.offset), Ok(Some(Offset::new(2))));
        assert_eq!(stage.read(0).await, [0, 1, 2]);
        assert_eq!(stage.produce(0, leader, 2, batch(&[3], None)).await, Err(InvalidRequiredAcks));
    });
}

#[test]
fn too_few_replicas_in_sync_refuse_acks_all_and_nothing_is_appended() {
    on_three(8, |stage, part| async move {
        stage.fill(0..3).await;
        part.replicas[1..].iter().for_each(|broker| stage.crash(*broker));
        let alone = stage.until("the leader is alone", |part| part.in_sync.len() == 1).await;
        assert_eq!(alone.leader, part.leader);
        assert_eq!(stage.produce(0, part.leader, ALL, batch(&[99], None)).await, Err(NotEnoughReplicas));
        assert_eq!(stage.produce(0, part.leader, 1, batch(&[3], None)).await, Ok(3), "acks=1 is not refused");
        assert_eq!(stage.bounds(0).await, (0, 3), "but nothing is committed by one of two (KIP-966)");
        part.replicas[1..].iter().for_each(|broker| stage.start(*broker));
        stage.in_sync(3).await;
        stage.fill(4..6).await;
        assert_eq!(stage.read(0).await, [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_batch_sent_twice_is_answered_twice_and_appended_once_and_a_gap_or_an_old_epoch_is_refused() {
    on_three(9, |stage, part| async move {
        let identity = async || {
            let answer = stage.ask(part.leader, InitProducerIdRequest::default()).await;
            error(answer.error_code).expect("there are numbers enough");
            answer.producer_id.0
        };
        let (producer, other) = (identity().await, identity().await);
        assert_ne!(producer, other);
        let numbered = |producer, epoch, sequence, values: &[i64]| {
            batch(values, Some(Sequenced { producer, epoch, sequence }))
        };
        for (sent, expected) in [
            (numbered(producer, 0, 0, &[0, 1, 2]), Ok(0)),
            (numbered(producer, 0, 3, &[3, 4]), Ok(3)),
            (numbered(producer, 0, 0, &[0, 1, 2]), Ok(0)),
            (numbered(producer, 0, 9, &[99]), Err(OutOfOrderSequenceNumber)),
            (numbered(producer, 1, 5, &[99]), Err(OutOfOrderSequenceNumber)),
            (numbered(producer, 1, 0, &[5]), Ok(5)),
            (numbered(producer, 0, 5, &[99]), Err(InvalidProducerEpoch)),
            // After the largest number comes 0.
            (numbered(other, 0, i32::MAX, &[6, 7]), Ok(6)),
            (numbered(other, 0, 1, &[8]), Ok(8)),
            (numbered(other, 0, i32::MAX, &[6, 7]), Ok(6)),
        ] {
            assert_eq!(stage.produce(0, part.leader, ALL, sent.clone()).await, expected, "{sent:?}");
        }
        let part = stage.fail_over(&part).await;
        let again = numbered(producer, 1, 0, &[5]);
        assert_eq!(stage.produce(0, part.leader, ALL, again).await, Ok(5), "its follower remembers too");
        assert_eq!(stage.read(0).await, upto(9));
    });
}

#[test]
fn a_fetch_waits_for_its_bytes_and_no_longer_than_it_may() {
    on_three(10, |stage, Part { leader, .. }| async move {
        let waits = async |offset: i64, bytes: i32| {
            let request = fetch(&[(0, offset)]).with_max_wait_ms(500).with_min_bytes(bytes);
            let (found, took) = stage.fetch(leader, request).await;
            (found, took.as_millis() / 100)
        };
        assert_eq!(waits(0, 1).await, (vec![Ok(vec![])], 5), "nothing comes");
        let late = async {
            stage.sleep(200).await;
            stage.produce(0, leader, ALL, batch(&[0], None)).await
        };
        assert_eq!(tokio::join!(waits(0, 1), late), ((vec![Ok(vec![0])], 2), Ok(0)), "a record comes");
        assert_eq!(waits(0, 1).await, (vec![Ok(vec![0])], 0), "it is there");
        assert_eq!(waits(0, 1 << 10).await, (vec![Ok(vec![0])], 5), "it is not enough");
        assert_eq!(waits(7, 1).await, (vec![Err(OffsetOutOfRange)], 0), "it cannot come");
    });
}

#[test]
fn a_fetch_brings_no_more_bytes_than_asked_for_but_always_one_batch() {
    play(11, brokers(1), |stage| async move {
        let leader = stage.create(TopicConfig::new(T, 3, 1, 1)).await.leader;
        for value in 0..15 {
            stage.produce((value % 3) as i32, leader, ALL, batch(&[value], None)).await.expect("appended");
        }
        let size = batch(&[0], None).len() as i32;
        let counts = async |part_max: i32, max: i32| {
            let mut request = fetch(&[(0, 0), (1, 0), (2, 0)]).with_max_bytes(max);
            for part in &mut request.topics[0].partitions {
                part.partition_max_bytes = part_max;
            }
            let (found, _) = stage.fetch(leader, request).await;
            found.into_iter().map(|values| values.expect("it leads").len()).collect::<Vec<usize>>()
        };
        assert_eq!(counts(1 << 20, 1 << 20).await, [5, 5, 5]);
        assert_eq!(counts(3 * size + 20, 1 << 20).await, [3, 3, 3]);
        assert_eq!(counts(1 << 20, 1).await, [1, 0, 0]);
        assert_eq!(counts(2 * size, 5 * size + 20).await, [2, 2, 1]);
    });
}

#[test]
fn nothing_acknowledged_by_all_is_lost_or_doubled_when_leaders_crash() {
    on_three(13, |stage, mut part| async move {
        let producer = stage.producer(Acks::All).await;
        let mut deliveries = Vec::new();
        for round in 0..3 {
            let burst = |values: Range<i64>| values.map(|value| producer.send(T, message(value)).1);
            deliveries.extend(burst(round * 20..round * 20 + 10));
            stage.sleep(2).await;
            let old = part.leader.expect("it has a leader");
            stage.crash(old);
            deliveries.extend(burst(round * 20 + 10..round * 20 + 20));
            stage.led_by_another(old).await;
            stage.start(old);
            part = stage.in_sync(3).await;
        }
        for (value, delivery) in deliveries.into_iter().enumerate() {
            let delivered = delivery.await.expect("it comes to an end");
            assert_eq!(delivered.map(|at| at.offset), Ok(Some(Offset::new(value as i64))));
        }
        assert_eq!(stage.read(0).await, upto(60));
    });
}

/// Both replicas of a part have 0 to 4, then the second falls away, and the first alone takes 5 to 9 and dies before the second is
/// back.
async fn lose_the_last_in_sync(stage: &Stage, unclean_leader_election: bool) -> (BrokerId, BrokerId) {
    let topic = TopicConfig { unclean_leader_election, ..TopicConfig::new(T, 1, 2, 1) };
    let part = stage.create(topic).await;
    let [first, second] = part.replicas[..] else { panic!("two replicas") };
    stage.fill(0..5).await;
    stage.crash(second);
    stage.until("the first is alone", |part| part.in_sync == BTreeSet::from([first])).await;
    stage.fill(5..10).await;
    stage.crash(first);
    stage.led_by(None).await;
    stage.start(second);
    (first, second)
}

#[test]
fn without_unclean_election_a_part_waits_for_a_replica_that_was_in_sync() {
    play(14, brokers(3), |stage| async move {
        let (first, _) = lose_the_last_in_sync(&stage, false).await;
        stage.sleep(10_000).await;
        stage.led_by(None).await;
        stage.start(first);
        assert_eq!(stage.in_sync(2).await.leader, Some(first));
        assert_eq!(stage.read(0).await, upto(10));
    });
}

#[test]
fn with_unclean_election_another_replica_leads_and_all_follow_it_clients_too() {
    play(15, brokers(3), |stage| async move {
        let (first, second) = lose_the_last_in_sync(&stage, true).await;
        stage.led_by(Some(second)).await;
        assert_eq!(stage.read(0).await, [0, 1, 2, 3, 4], "the rest is lost");
        let mut earliest = stage.consumer(Some(10), Reset::Earliest, 0);
        let mut latest = stage.consumer(Some(10), Reset::Latest, 0);
        stage.sleep(1000).await;
        stage.fill([50]).await;
        assert_eq!(earliest.next().await.map(|consumed| consumed.offset), Some(Offset::new(0)));
        assert_eq!(latest.next().await.map(|consumed| consumed.offset), Some(Offset::new(5)));
        stage.start(first);
        let part = stage.in_sync(2).await;
        assert_eq!(stage.fail_over(&part).await.leader, Some(first));
        assert_eq!(stage.read(0).await, [0, 1, 2, 3, 4, 50], "it has cut what the second never had");
    });
}

#[test]
fn a_leader_that_lost_its_unsynced_tail_copies_it_back_before_it_counts_again() {
    let outcome = on_three(26, |stage, part| async move {
        stage.fill(0..50).await;
        let old = part.leader.expect("it has a leader");
        stage.tank.power_loss(stage.host_of(old));
        stage.led_by_another(old).await;
        stage.fill(50..60).await;
        stage.start(old);
        let part = stage.in_sync(3).await;
        part.in_sync.iter().filter(|broker| **broker != old).for_each(|broker| stage.crash(*broker));
        stage.led_by(Some(old)).await;
        assert_eq!(stage.read(0).await, upto(60));
    });
    assert!(0 < hits(&outcome, "a broker cut a torn tail in recovery"), "the tail was lost");
}

#[test]
fn after_a_loss_of_power_a_log_is_cut_at_its_first_damage() {
    let outcome = play(17, brokers(1), |stage| async move {
        let leader = stage.create(TopicConfig::new(T, 24, 1, 1)).await.leader;
        for index in 0..24 {
            // Batches of two to three sectors.
            for first in (0..1000).step_by(100) {
                let values: Vec<i64> = (first..first + 100).collect();
                stage.produce(index, leader, ALL, batch(&values, None)).await.expect("appended");
            }
        }
        stage.tank.power_loss(stage.host_of(BrokerId::new(1)));
        stage.sleep(1000).await;
        stage.start(BrokerId::new(1));
        stage.led_by(leader).await;
        for index in 0..24 {
            let left = stage.read(index).await;
            assert_eq!(left, upto(left.len() as i64), "a prefix of what was there");
        }
    });
    assert!(2 < hits(&outcome, "a broker cut a torn tail in recovery"), "some tails were torn");
}

#[test]
fn a_replica_that_forgot_does_not_lead_while_one_that_did_not_may_come_back() {
    on_three(24, |stage, part| async move {
        stage.fill(0..50).await;
        let [first, others @ ..] = &part.replicas[..] else { panic!("three replicas") };
        others.iter().for_each(|broker| stage.crash(*broker));
        stage.until("the first is alone", |part| part.in_sync == BTreeSet::from([*first])).await;
        stage.tank.power_loss(stage.host_of(*first));
        stage.sleep(100).await;
        stage.start(*first);
        stage.led_by(None).await;
        others.iter().for_each(|broker| stage.start(*broker));
        stage.in_sync(3).await;
        assert_eq!(stage.read(0).await, upto(50));
    });
}

#[test]
fn a_full_segment_is_closed_and_a_fetch_in_it_waits_for_nothing() {
    play(18, brokers(1), |stage| async move {
        let topic = TopicConfig { segment: ByteSize::new(400), ..TopicConfig::new(T, 1, 1, 1) };
        let leader = stage.create(topic).await.leader;
        for value in 0..22 {
            stage.produce(0, leader, ALL, batch(&[value], None)).await.expect("appended");
        }
        let mut segments = Vec::new();
        let mut next = 0;
        while next < 22 {
            let request = fetch(&[(0, next)]).with_max_wait_ms(500).with_min_bytes(1 << 20);
            let (found, took) = stage.fetch(leader, request).await;
            let records = found[0].as_ref().expect("it leads").len();
            segments.push((records, Duration::from_millis(500) <= took));
            next += records as i64;
        }
        assert_eq!(segments, [(5, false), (5, false), (5, false), (5, false), (2, true)]);
    });
}

/// A topic of small segments that are looked after five times a second.
fn retaining() -> (Config, TopicConfig) {
    let config = Config { retention_check_every: Span::millis(200), ..brokers(3) };
    (config, TopicConfig { segment: ByteSize::new(400), ..TopicConfig::new(T, 1, 3, 2) })
}

#[test]
fn retention_by_size_removes_whole_old_segments_on_all_replicas() {
    let (config, topic) = retaining();
    play(19, config, move |stage| async move {
        // Segments hold five records; the limit is exactly what two of them and the three records after them take.
        let limit = ByteSize::new(13 * batch(&[40], None).len() as u64);
        let part = stage.create(TopicConfig { retention_size: Some(limit), ..topic }).await;
        stage.fill(0..53).await;
        stage.sleep(2000).await;
        let bounds = stage.bounds(0).await;
        assert_eq!(bounds, (40, 53));
        assert_eq!(stage.fetch(part.leader, fetch(&[(0, 39)])).await.0, [Err(OffsetOutOfRange)]);
        assert_eq!(stage.read(0).await, (40..53).collect::<Vec<i64>>());
        let mut passed_by = stage.consumer(Some(3), Reset::Earliest, 0);
        assert_eq!(passed_by.next().await.map(|consumed| consumed.offset), Some(Offset::new(40)));
        stage.fail_over(&part).await;
        assert_eq!(stage.bounds(0).await, bounds);
    });
}

#[test]
fn retention_by_time_removes_what_is_too_old_down_to_an_empty_log() {
    let (config, topic) = retaining();
    play(20, config, move |stage| async move {
        stage.create(TopicConfig { retention: Some(Span::secs(60)), ..topic }).await;
        let now = stage.host.wall_clock().millis();
        stage.fill(0..12).await;
        stage.fill(now..now + 8).await;
        stage.sleep(2000).await;
        // Ten records of 1970 fill two segments; the other two share the third with those of today.
        let left: Vec<i64> = [10, 11].into_iter().chain(now..now + 8).collect();
        assert_eq!((stage.bounds(0).await, stage.read(0).await), ((10, 20), left));
        stage.sleep(62_000).await;
        assert_eq!(stage.bounds(0).await, (20, 20), "the last segment goes too when all of it is old");
        stage.fill([now]).await;
        assert_eq!(stage.bounds(0).await.1, 21);
    });
}

#[test]
fn a_follower_that_was_away_while_records_were_removed_begins_where_its_leader_does() {
    // Long enough that all is over before the follower's own look for old segments.
    let config = Config { retention_check_every: Span::secs(20), ..brokers(3) };
    let play_at = |seed, topic: TopicConfig, held: i64, bounds: (i64, i64)| {
        let config = config.clone();
        play(seed, config, move |stage| async move {
            let topic = TopicConfig { segment: ByteSize::new(400), ..topic };
            let part = stage.create(topic).await;
            let now = stage.host.wall_clock().millis();
            stage.fill(0..held).await;
            let away = part.replicas[2];
            stage.crash(away);
            let part = stage.in_sync(2).await;
            stage.fill(held..bounds.1 - 1).await;
            assert_eq!(stage.bounds(0).await, (0, bounds.1 - 1), "nothing is removed yet");
            stage.sleep(22_000).await;
            stage.start(away);
            stage.in_sync(3).await;
            stage.fill([now]).await;
            assert_eq!(stage.bounds(0).await, bounds, "the leader has removed what is old");
            // By then the follower knows that the last one is committed too.
            stage.sleep(500).await;
            part.in_sync.iter().for_each(|broker| stage.crash(*broker));
            stage.led_by(Some(away)).await;
            assert_eq!(stage.bounds(0).await, bounds);
            let before = fetch(&[(0, bounds.0 - 1)]);
            assert_eq!(stage.fetch(Some(away), before).await.0, [Err(OffsetOutOfRange)]);
            assert_eq!(stage.offsets().at(&id(0), 0).await, Some(Offset::new(bounds.0)));
            // It remembers that when it starts again.
            stage.sleep(6000).await;
            stage.crash(away);
            stage.start(away);
            stage.led_by(Some(away)).await;
            assert_eq!(stage.bounds(0).await, bounds);
        })
    };
    let topic = TopicConfig::new(T, 1, 3, 1);
    let limit = ByteSize::new(13 * batch(&[40], None).len() as u64);
    let by_size = TopicConfig { retention_size: Some(limit), ..topic.clone() };
    let by_time = TopicConfig { retention: Some(Span::secs(120)), ..topic };
    let (raised, began) = (
        "a follower raised its log start to its leader's",
        "a follower began anew at its leader's log start",
    );
    let outcome = play_at(46, by_size.clone(), 50, (40, 54));
    assert_eq!((hits(&outcome, raised), hits(&outcome, began)), (1, 0), "it held the first that was left");
    let outcome = play_at(47, by_size, 20, (40, 54));
    assert_eq!((hits(&outcome, raised), hits(&outcome, began)), (0, 1), "it held nothing that was left");
    // The leader has closed a segment of two records for its age, which are in the middle of the follower's.
    let outcome = play_at(48, by_time, 12, (12, 13));
    assert_eq!((hits(&outcome, raised), hits(&outcome, began)), (1, 0), "all was removed, and it held all");
}

#[test]
fn replicas_stand_in_different_zones_and_leaders_are_spread() {
    play(21, brokers(4), |stage| async move {
        stage.create(TopicConfig::new(T, 12, 2, 1)).await;
        let parts = stage.admin().describe_topic(T).await.expect("it was created");
        let zone = |broker: &BrokerId| stage.tank.zone(stage.host_of(*broker));
        let mut leads: BTreeMap<BrokerId, u32> = BTreeMap::new();
        for part in &parts {
            let zones: BTreeSet<String> = part.replicas.iter().map(zone).collect();
            assert_eq!(zones.len(), 2, "{part:?}");
            *leads.entry(part.replicas[0]).or_default() += 1;
        }
        assert_eq!(leads.into_values().collect::<Vec<u32>>(), [3, 3, 3, 3]);
    });
}

#[test]
fn leadership_moves_back_to_the_preferred_replica_and_even_clients_without_answers_follow() {
    let config = Config { preferred_leader_every: Span::secs(2), ..brokers(3) };
    play(22, config, |stage| async move {
        let part = stage.create(TopicConfig::new(T, 1, 3, 1)).await;
        assert_eq!(part.leader, Some(part.replicas[0]));
        let producer = stage.producer(Acks::None).await;
        let send = async |values: Range<i64>| {
            for value in values {
                let _ = stage.send(&producer, value).await;
                stage.sleep(200).await;
            }
            stage.read(0).await.last().copied()
        };
        assert_eq!(send(0..2).await, Some(1));
        stage.fail_over(&part).await;
        assert_eq!(send(2..10).await, Some(9), "the old leader is dead");
        stage.start(part.replicas[0]);
        assert_eq!(stage.led_by(part.leader).await.in_sync.len(), 3);
        assert_eq!(send(10..20).await, Some(19), "the old leader lives");
    });
}

#[test]
fn brokers_that_are_asked_to_stop_hand_leadership_over_first_and_leave_nothing_unsynced() {
    let outcome = on_three(23, |stage, part| async move {
        stage.fill(0..100).await;
        let old = part.replicas[0];
        stage.tank.request_shutdown(stage.host_of(old));
        let metadata = loop {
            let metadata =
                stage.ask(Some(part.replicas[1]), MetadataRequest::default().with_topics(None)).await;
            if metadata.topics[0].partitions[0].leader_id.0 != old.get() {
                break metadata;
            }
        };
        assert!(metadata.brokers.iter().any(|broker| broker.node_id.0 == old.get()), "it is still there");
        part.replicas[1..].iter().for_each(|broker| stage.tank.request_shutdown(stage.host_of(*broker)));
        stage.sleep(5000).await;
        part.replicas.iter().for_each(|broker| stage.tank.power_loss(stage.host_of(*broker)));
        stage.sleep(100).await;
        part.replicas.iter().for_each(|broker| stage.start(*broker));
        stage.in_sync(3).await;
        assert_eq!(stage.read(0).await, upto(100));
    });
    assert_eq!(hits(&outcome, "a broker stopped in good order"), 3);
}
