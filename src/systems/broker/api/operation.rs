//! What an operator does to a cluster, each with as many requests as it takes.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use rand::seq::SliceRandom;

use crate::base::{MonoTime, Seed};
use crate::systems::broker::TopicConfig;
use crate::systems::broker::api::admin::{Admin, AdminError};
use crate::systems::broker::id::{BrokerId, TopicId};
use crate::world::{Address, Host};

/// How long to wait before a request is made again, and between two looks at how far a move is.
const BACK_OFF: Duration = Duration::from_millis(250);

/// Something an operator can do to a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Has the preferred replica of each part lead.
    ElectPreferredLeader,
    /// Moves each part to replicas drawn anew, and waits until they are there.
    ReassignReplicas,
    /// Cancels the moves that are under way.
    CancelReassignment,
    /// Deletes the topic and creates it anew under the same name, with the settings it had, and waits until every broker has heard of it:
    /// however long that takes.
    RecreateTopic,
}

impl Operation {
    /// All of them, by the names that scenario files use.
    pub const ALL: [(&'static str, Self); 4] = [
        ("elect_preferred_leader", Self::ElectPreferredLeader),
        ("reassign_replicas", Self::ReassignReplicas),
        ("cancel_reassignment", Self::CancelReassignment),
        ("recreate_topic", Self::RecreateTopic),
    ];

    /// Does it to the topic with these settings; what it draws, it draws from `choice`.
    ///
    /// # Errors
    /// In words, why it was given up: it had not come to its end by the deadline.
    pub async fn carry_out(
        self,
        host: &Host,
        brokers: &[Address],
        topic: &TopicConfig,
        choice: u64,
        deadline: MonoTime,
    ) -> Result<(), String> {
        let admin = Admin::new(host, brokers);
        let work = Work { host, brokers, admin, settings: topic, topic: &topic.name, choice, deadline };
        match self {
            Self::ElectPreferredLeader => work.elect_preferred_leader().await,
            Self::ReassignReplicas => work.reassign_replicas().await,
            Self::CancelReassignment => work.cancel_reassignment().await,
            Self::RecreateTopic => {
                work.recreate_topic().await;
                Ok(())
            }
        }
    }
}

struct Work<'order> {
    host: &'order Host,
    brokers: &'order [Address],
    admin: Admin,
    settings: &'order TopicConfig,
    topic: &'order str,
    choice: u64,
    deadline: MonoTime,
}

impl Work<'_> {
    /// Waits before the next attempt, or gives up.
    async fn again(&self, why: impl ToString) -> Result<(), String> {
        if self.deadline <= self.host.now() {
            return Err(why.to_string());
        }
        self.host.sleep(BACK_OFF).await;
        Ok(())
    }

    /// How many parts the topic has.
    async fn parts(&self) -> Result<Vec<i32>, String> {
        loop {
            match self.admin.describe_topic(self.topic).await {
                Ok(parts) => return Ok((0..parts.len() as i32).collect()),
                Err(error) => self.again(error).await?,
            }
        }
    }

    async fn elect_preferred_leader(&self) -> Result<(), String> {
        let parts = self.parts().await?;
        loop {
            let answers = match self.admin.elect_preferred_leaders(self.topic, &parts).await {
                Ok(answers) => answers,
                Err(error) => {
                    self.again(error).await?;
                    continue;
                }
            };
            let refused = answers
                .iter()
                .find(|(_, error)| !matches!(error, None | Some(ResponseError::ElectionNotNeeded)));
            match refused {
                None => return Ok(()),
                Some((index, error)) => self.again(format!("part {index}: {error:?}")).await?,
            }
        }
    }

    /// The brokers that are to hold each part: as many as there are, drawn from those that are alive.
    async fn drawn(&self) -> Result<Vec<(i32, Option<Vec<BrokerId>>)>, AdminError> {
        let parts = self.admin.describe_topic(self.topic).await?;
        let mut brokers = self.admin.brokers(self.topic).await?;
        let mut stream = Seed::new(self.choice).stream("reassign");
        let wanted = (0..).zip(parts).map(|(index, part)| {
            brokers.shuffle(&mut stream);
            // While a move is under way a part has more replicas than it shall have.
            let count = part.replicas.len().min(brokers.len());
            (index, Some(brokers[..count].to_vec()))
        });
        Ok(wanted.collect())
    }

    async fn reassign_replicas(&self) -> Result<(), String> {
        loop {
            let asked = match self.drawn().await {
                Ok(wanted) => self.admin.reassign(self.topic, &wanted).await,
                Err(error) => Err(error),
            };
            match asked.map(first_refusal) {
                Ok(None) => break,
                Ok(Some(refusal)) => self.again(refusal).await?,
                Err(error) => self.again(error).await?,
            }
        }
        loop {
            match self.admin.moving(self.topic).await {
                Ok(moving) if moving.is_empty() => return Ok(()),
                Ok(moving) => self.again(format!("{} parts are still being moved", moving.len())).await?,
                Err(error) => self.again(error).await?,
            }
        }
    }

    async fn cancel_reassignment(&self) -> Result<(), String> {
        loop {
            let cancelled = match self.admin.moving(self.topic).await {
                Ok(moving) if moving.is_empty() => return Ok(()),
                Ok(moving) => {
                    let none: Vec<_> = moving.into_iter().map(|index| (index, None)).collect();
                    self.admin.reassign(self.topic, &none).await
                }
                Err(error) => Err(error),
            };
            match cancelled.map(first_refusal) {
                Ok(None) => return Ok(()),
                Ok(Some(refusal)) => self.again(refusal).await?,
                Err(error) => self.again(error).await?,
            }
        }
    }
}

impl Work<'_> {
    async fn recreate_topic(&self) {
        let old = loop {
            match self.admin.topic_id(self.topic).await {
                Ok(found) => break found,
                Err(_) => self.host.sleep(BACK_OFF).await,
            }
        };
        if let Some(old) = old {
            while let Err(error) = self.admin.delete_topic_of(self.topic, old).await {
                if error.is(ResponseError::UnknownTopicId) {
                    break;
                }
                self.host.sleep(BACK_OFF).await;
            }
        }
        while let Err(error) = self.admin.create_topic(self.settings).await {
            if error.is(ResponseError::TopicAlreadyExists) {
                break;
            }
            self.host.sleep(BACK_OFF).await;
        }
        while !self.all_know_another(old).await {
            self.host.sleep(BACK_OFF).await;
        }
    }

    /// Whether all brokers know one and the same topic of this name, and not that which was deleted. Brokers do not go back to older
    /// news, so that from then on nobody serves what is gone.
    async fn all_know_another(&self, old: Option<TopicId>) -> bool {
        let mut found = None;
        for broker in self.brokers {
            let known = self.admin.topic_id_at(*broker, self.topic).await;
            match known {
                Ok(Some(id)) if Some(id) != old && found.is_none_or(|other| other == id) => found = Some(id),
                _ => return false,
            }
        }
        true
    }
}

/// The first part of which the cluster refused what was asked; one that has no move any more needs none cancelled.
fn first_refusal(answers: Vec<(i32, Option<ResponseError>)>) -> Option<String> {
    let refused = |error: &Option<ResponseError>| {
        !matches!(error, None | Some(ResponseError::NoReassignmentInProgress))
    };
    let found = answers.into_iter().find(|(_, error)| refused(error));
    found.map(|(index, error)| format!("part {index}: {error:?}"))
}
