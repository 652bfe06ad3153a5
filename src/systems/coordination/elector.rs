//! Fast leader election: who among the reachable servers holds the newest history.
//!
//! After ZooKeeper's FastLeaderElection. Pure: notifications in, notifications and a decision out. Votes are ordered by epoch, then
//! zxid, then server, so that all who hear one another come to one vote; a quorum that agrees decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::systems::coordination::zxid::{PeerEpoch, ServerId, Zxid};

/// Whom a server would follow, and what that one holds. Ordered by how good a leader it would make.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Vote {
    /// The epoch whose history the candidate has taken over.
    pub epoch: PeerEpoch,
    /// The last transaction in its log.
    pub zxid: Zxid,
    /// The candidate.
    pub leader: ServerId,
}

/// What a server is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Looking for a leader.
    Looking,
    /// Looking for one that others have elected: its own voice does not count.
    Distrusted,
    /// Following one.
    Following,
    /// Leading.
    Leading,
}

/// What servers tell one another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// Who speaks.
    pub from: ServerId,
    /// What it is doing.
    pub role: Role,
    /// Its round of election.
    pub round: u64,
    /// Its vote.
    pub vote: Vote,
}

/// One server's part in an election.
#[derive(Clone, Debug)]
pub struct Elector {
    own: Vote,
    quorum: usize,
    round: u64,
    vote: Vote,
    /// Votes of this round.
    votes: BTreeMap<ServerId, Vote>,
    /// What servers say that have decided already.
    settled: BTreeMap<ServerId, Notification>,
}

/// What to do after a notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// Tell everybody the present vote.
    pub broadcast: bool,
    /// Tell the sender.
    pub answer: bool,
}

impl Elector {
    /// Begins a new round with a vote for oneself.
    pub fn begin(own: Vote, voters: usize, round_before: u64) -> Self {
        let round = round_before + 1;
        let votes = BTreeMap::from([(own.leader, own)]);
        Self { own, quorum: voters / 2 + 1, round, vote: own, votes, settled: BTreeMap::new() }
    }

    /// What this server tells the others now.
    pub fn notification(&self, role: Role) -> Notification {
        Notification { from: self.own.leader, role, round: self.round, vote: self.vote }
    }

    /// Hears another server.
    pub fn hear(&mut self, heard: Notification) -> Response {
        match heard.role {
            Role::Looking => self.hear_looking(heard),
            Role::Distrusted => Response::default(),
            Role::Following | Role::Leading => {
                self.settled.insert(heard.from, heard);
                if heard.round == self.round {
                    self.votes.insert(heard.from, heard.vote);
                }
                Response::default()
            }
        }
    }

    fn hear_looking(&mut self, heard: Notification) -> Response {
        self.settled.remove(&heard.from);
        if heard.round < self.round {
            return Response { broadcast: false, answer: true };
        }
        let before = (self.round, self.vote);
        if self.round < heard.round {
            self.round = heard.round;
            self.votes.clear();
            self.vote = self.own.max(heard.vote);
        } else {
            self.vote = self.vote.max(heard.vote);
        }
        self.votes.insert(self.own.leader, self.vote);
        self.votes.insert(heard.from, heard.vote);
        let broadcast = before != (self.round, self.vote);
        Response { broadcast, answer: !broadcast && heard.vote != self.vote }
    }

    /// Whether a quorum of this round agrees with the present vote: the decision, unless a better vote comes within a while.
    pub fn agreed(&self) -> Option<ServerId> {
        let agreeing = self.votes.values().filter(|vote| **vote == self.vote).count();
        (self.quorum <= agreeing).then_some(self.vote.leader)
    }

    /// A leader that a quorum follows already, and that says itself that it leads. In which rounds its followers came to it does not
    /// matter (as in ZooKeeper, whose votes of settled servers are compared without their rounds): one may have decided for it
    /// earlier than the others, and waited for it.
    pub fn established(&mut self) -> Option<ServerId> {
        let leading = self.settled.values().filter(|heard| heard.role == Role::Leading).copied();
        for leader in leading.collect::<Vec<_>>() {
            let behind = self.settled.values().filter(|heard| heard.vote.leader == leader.from).count();
            if self.quorum <= behind {
                self.round = leader.round;
                self.vote = leader.vote;
                return Some(leader.from);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(server: u8, counter: u32) -> Vote {
        let epoch = PeerEpoch::new(1);
        Vote { epoch, zxid: Zxid::new(epoch, counter), leader: ServerId::new(server) }
    }

    #[test]
    fn the_newest_history_wins_whatever_the_order_of_hearing() {
        let servers = [vote(1, 5), vote(2, 9), vote(3, 7)];
        for start in 0..3 {
            let mut electors: Vec<Elector> = servers.iter().map(|own| Elector::begin(*own, 3, 0)).collect();
            for step in 0..12 {
                let (from, to) = ((start + step) % 3, (start + step / 2 + 1) % 3);
                if from != to {
                    let notification = electors[from].notification(Role::Looking);
                    electors[to].hear(notification);
                }
            }
            for from in 0..3 {
                for to in 0..3 {
                    let notification = electors[from].notification(Role::Looking);
                    electors[to].hear(notification);
                }
            }
            for elector in &electors {
                assert_eq!(elector.agreed(), Some(ServerId::new(2)), "start {start}");
            }
        }
    }

    #[test]
    fn a_distrusted_server_gives_no_vote() {
        let mut elector = Elector::begin(vote(1, 5), 3, 0);
        let round = elector.notification(Role::Looking).round;
        elector.hear(Notification {
            from: ServerId::new(2),
            role: Role::Distrusted,
            round,
            vote: vote(1, 5),
        });
        assert_eq!(elector.agreed(), None);
        elector.hear(Notification { from: ServerId::new(3), role: Role::Looking, round, vote: vote(1, 5) });
        assert_eq!(elector.agreed(), Some(ServerId::new(1)));
    }

    #[test]
    fn a_late_server_joins_the_leader_that_a_quorum_follows() {
        let mut late = Elector::begin(vote(3, 99), 3, 0);
        let settled =
            |from, role| Notification { from: ServerId::new(from), role, round: 7, vote: vote(1, 5) };
        late.hear(settled(2, Role::Following));
        assert_eq!(late.established(), None, "the leader itself has not spoken");
        late.hear(settled(1, Role::Leading));
        assert_eq!(late.established(), Some(ServerId::new(1)));
        assert_eq!(late.notification(Role::Following).round, 7);
    }

    #[test]
    fn a_late_server_joins_a_leader_whose_followers_came_in_different_rounds() {
        let mut late = Elector::begin(vote(5, 99), 5, 0);
        let settled =
            |from, role, round| Notification { from: ServerId::new(from), role, round, vote: vote(1, 5) };
        late.hear(settled(1, Role::Leading, 7));
        late.hear(settled(2, Role::Following, 7));
        assert_eq!(late.established(), None, "two of five are no quorum");
        late.hear(settled(3, Role::Following, 6));
        assert_eq!(late.established(), Some(ServerId::new(1)));
    }
}
