//! Historical bugs that can be switched on, one at a time, to measure how well the tank finds bugs. All are off by default.
//!
//! Code asks `world::bug("Z01")` at the one place where the wrong variant differs; `bugs = ["Z01"]` in a scenario switches it on.

/// The known bugs: key, system, what goes wrong when it is on, and the switch: what the wrong variant does.
pub const BUGS: &[(&str, &str, &str, &str)] = &[
    (
        "Z01",
        "coordination",
        "acknowledged writes vanish when the whole quorum loses power right after an election (ZOOKEEPER-3911)",
        "a follower acknowledges the new leader before the transactions of its DIFF are on disk",
    ),
    (
        "Z02",
        "coordination",
        "the same loss where the disks are slow: the fix of Z01 was not enough (ZOOKEEPER-4646)",
        "a follower only hands the transactions of its DIFF to its logger before it acknowledges the new leader",
    ),
    (
        "Z03",
        "coordination",
        "committed transactions are cut off by a server whose epoch is newer than its log (ZOOKEEPER-4643)",
        "the current epoch is written before the synchronised transactions are on disk",
    ),
    (
        "Z04",
        "coordination",
        "a hole in one server's memory spreads to those that synchronise with it (ZOOKEEPER-4925)",
        "what a follower takes over is applied, but not remembered among the committed transactions",
    ),
    (
        "Z05",
        "coordination",
        "a follower skips the transactions between the files and the memory of its leader (ZOOKEEPER-2418)",
        "the leader does not test for a gap before it sends a DIFF from files and then from memory",
    ),
    (
        "Z06",
        "coordination",
        "an uncommitted transaction comes back after a change of role without a restart (ZOOKEEPER-2845)",
        "the tree in memory is not brought up to the end of the log when a role ends",
    ),
    (
        "Z10",
        "coordination",
        "transactions written after a truncation are lost at the next restart (ZOOKEEPER-1489)",
        "the log is not opened again after TRUNC: appends go through the old handle, beyond a hole",
    ),
    (
        "Z11",
        "coordination",
        "two histories live side by side after a truncation that failed (ZOOKEEPER-3701)",
        "a follower goes on to serve when its disk could not truncate the log",
    ),
    (
        "Z12",
        "coordination",
        "ephemeral znodes survive their session after a change of leader (ZOOKEEPER-1367)",
        "sessions that begin or end in what a follower takes over are not noted",
    ),
    (
        "Z13",
        "coordination",
        "an ephemeral znode outlives the session that was closing when it was created (ZOOKEEPER-1208)",
        "a session that is being closed is not marked, so a create already queued still passes",
    ),
    (
        "Z16",
        "coordination",
        "half of a multi is visible after a restart from a fuzzy snapshot (ZOOKEEPER-3127)",
        "the last processed transaction moves on with the first part of a multi",
    ),
    (
        "Z17",
        "coordination",
        "a server restored from a fuzzy snapshot does not know that children have gone (ZOOKEEPER-3125)",
        "replaying the end of a znode that the snapshot lacks leaves its parent as it was",
    ),
    (
        "Z18",
        "coordination",
        "watches fire wrongly or not at all after a reconnection (ZOOKEEPER-1412)",
        "a read is answered with the transaction number of the request, not with the server's last",
    ),
    (
        "Z23",
        "coordination",
        "the ensemble stands still when the counter of an epoch's transactions runs over (ZOOKEEPER-1277)",
        "a leader whose counter is used up does not step down for a new epoch",
    ),
    (
        "K01",
        "broker",
        "an acknowledged record is lost when a follower restarts and then its leader fails (KIP-101, loss)",
        "a replica that becomes a follower truncates to its own high watermark",
    ),
    (
        "K02",
        "broker",
        "two replicas hold different records at one offset after both lost power (KIP-101, divergence)",
        "a follower keeps its tail after a restart without comparing leader epochs",
    ),
    (
        "K03",
        "broker",
        "two replicas hold different records after two fast fail-overs, despite leader epochs (KIP-279)",
        "a leader that lacks an epoch tells where the one before ends, but not that it speaks of that one",
    ),
    (
        "K04",
        "broker",
        "committed records are lost because a follower joined the in-sync set too early (KAFKA-7128)",
        "a follower joins at the high watermark, without having reached the start of the leader's epoch",
    ),
    (
        "K10",
        "broker",
        "the high watermark covers records that a follower does not hold (KAFKA-13141)",
        "a fetch from a diverged follower counts as progress",
    ),
    (
        "K13",
        "broker",
        "a consumer reads above the high watermark (KAFKA-9835)",
        "what a consumer may read ends with the log, not with what is committed",
    ),
    (
        "K19",
        "broker",
        "an old controller overwrites leaders that a newer one has chosen (KAFKA-6082)",
        "a controller writes without the condition that its epoch still stands",
    ),
    (
        "K25",
        "broker",
        "a broker that lost power leads again with what it has left, and the others cut theirs (KAFKA-7235, KIP-380)",
        "a broker takes what a controller says to an earlier one of its lives",
    ),
    (
        "K26",
        "broker",
        "committed records are lost because the leader did not count a follower in that the controller did (KIP-497)",
        "a leader drops a change of the in-sync set to which it got no answer",
    ),
    (
        "K27",
        "broker",
        "a follower that has lost power since it caught up is counted in sync (KIP-903)",
        "the controller does not ask in which life of a broker its leader met it",
    ),
    (
        "T14",
        "broker",
        "an idempotent producer writes a record twice (redpanda 3039)",
        "a repeated batch is refused as out of order, and its producer sends it again in a new epoch",
    ),
    (
        "X02",
        "broker",
        "one damaged block on one disk takes committed records away from all replicas (Ganesan et al., FAST 2017)",
        "what is damaged is cut off as if a loss of power had torn it, and the broker that lacks it stays in sync",
    ),
];
