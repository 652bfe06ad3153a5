//! Every cooperative point there is: sites where systems wait, or do something early or less of it, to make rare meetings likelier.
//!
//! Each is a thing that the real system may do at any time: what breaks because of it is a bug. They stand after a durable write, before
//! an answer, between two writes that must agree. Waits are bounded so that a sound system goes on. `wavetank sites` prints the list.

use std::time::Duration;

use crate::world::Site;

/// Declares the sites: a constant for each, and the list of all. `0 ms` is for a site that does not wait.
macro_rules! sites {
    ($($system:literal { $($site:ident: $name:literal, $wait_ms:literal ms, $what:literal;)* })*) => {
        #[expect(
            non_camel_case_types,
            clippy::upper_case_acronyms,
            reason = "the numbers of the constants below, by their names"
        )]
        enum Number { $($($site),*),* }

        $($(
            #[doc = $what]
            pub const $site: Site =
                Site::listed(Number::$site as usize, $system, $name, Duration::from_millis($wait_ms), $what);
        )*)*

        /// All of them, system by system.
        pub const ALL: &[Site] = &[$($($site),*),*];
    };
}

sites! {
    "coordination" {
        NOTIFICATION: "before a notification is sent", 500 ms,
            "a server tells its vote late, so that others decide without it, or hear what it thinks no more";
        FIRST_UP_TO_DATE: "before the first UpToDate", 500 ms,
            "a quorum holds the new leader's history, and nobody is served yet: whoever dies now must not take it along";
        RESIGNATION: "an established leader resigns", 0 ms,
            "epochs follow on one another with little or nothing between them, each with another history to agree on";
        FULL_COPY: "a snapshot in place of a difference", 0 ms,
            "a follower is sent the whole state although a part would do, as ZooKeeper's forceSnapshotSync has it";
        EPOCH_ACCEPTED: "between an epoch accepted and AckEpoch", 300 ms,
            "the promise is on disk and the leader has not heard of it: it may not be given again, nor to another";
        LOG_TRUNCATED: "between a log truncated and read again", 300 ms,
            "what the leader never had is gone from the disk, and still stands in memory";
        HISTORY_LOGGED: "between a history on disk and its epoch", 300 ms,
            "the leader's transactions are on disk, and the epoch in which they were taken over is not";
        EPOCH_ADOPTED: "between an epoch adopted and its Ack", 300 ms,
            "a follower is bound to a leader that does not know it yet, and may be replaced meanwhile";
        COPY_INSTALLED: "between a copied state installed and the old one removed", 300 ms,
            "two histories lie on one disk, and one number says which of them counts";
        LOG_SYNCED: "between a log synced and Ack", 100 ms,
            "what is durable here is known to nobody: the quorum forms without it, and it may be cut off or not";
        SMALL_SYNC: "a sync for one transaction", 0 ms,
            "transactions that one sync would cover become durable one by one, with losses of power in between";
        COMMIT: "before a commit", 5 ms,
            "a quorum has a transaction on disk and nobody is told: the next leader must find it";
        COMMIT_TOLD: "between a commit told and applied", 10 ms,
            "followers show their clients what the leader does not show yet";
        MULTI_PART: "between two parts of a multi", 20 ms,
            "half of a transaction stands in memory while snapshots are taken and clients read";
        WATCH_FIRED: "between a watch event and what follows it", 100 ms,
            "a client hears that something has changed and then, for a while, nothing: it acts on half the news";
        ANSWER: "before an answer to a client", 100 ms,
            "what is done is not known to whoever asked for it: sessions time out and move, requests are made again";
        EXPIRY: "between a session expired and its end proposed", 50 ms,
            "a client comes back to a session that the leader has given up and others still know";
        SNAPSHOT_STEP: "between two steps of a snapshot", 50 ms,
            "the state changes while it is written down, so that the snapshot shows the times mixed";
        SNAPSHOT_SAVED: "between a snapshot written and what it replaces removed", 500 ms,
            "snapshots and logs overlap: a crash leaves more, or less, than recovery may expect";
        EARLY_SNAPSHOT: "a snapshot after one transaction", 0 ms,
            "logs are so short that most of a history is found in snapshots, and followers fall behind what is kept";
    }
    "broker" {
        IMAGE: "before an image is taken over", 500 ms,
            "a broker acts on what the cluster was: it serves as the leader that it is no more";
        IMAGE_PART: "between two parts of an image", 50 ms,
            "a broker leads one part under the new controller and another under the one before";
        LIFE_COUNTED: "between a loss accounted for and noted", 300 ms,
            "the controller knows what this broker has lost, and its disk does not know that it does";
        LEADERSHIP: "between leadership taken and told", 200 ms,
            "a new leader knows its epoch and where it begins, and neither its log nor its clients have seen it";
        EPOCH_WRITTEN: "between a leader epoch written and its first batch", 200 ms,
            "the checkpoint names an epoch that no record has: recovery finds the one without the other";
        SEGMENT_CREATED: "between a segment created and its name durable", 200 ms,
            "the segment before is closed and its successor may be gone after a loss of power";
        APPENDED: "between append and answer", 300 ms,
            "a record is in the log and its producer does not know: it may be sent again, or lost with the leader";
        COMMITTED: "between a record committed and its producer told", 200 ms,
            "what consumers read already, its producer takes for lost and sends again";
        SMALL_FETCH: "a small fetch", 0 ms,
            "one batch in all: a follower comes on in small steps, and one part at a time";
        EARLY_FETCH: "a fetch is answered early", 0 ms,
            "less than was asked for, or nothing but a newer high watermark: followers learn of commits at other times";
        FETCH_ASKED: "between a log end read and its fetch", 200 ms,
            "a leader is told where a follower's log ended, which it may have cut since";
        FETCHED: "between fetch and copy", 300 ms,
            "what was fetched from a leader is taken over when that one may lead no more";
        CUT: "before a log is cut", 300 ms,
            "a follower knows that its log differs from its leader's, and still holds what must go";
        CUT_EPOCHS: "between a log cut and its epochs written", 300 ms,
            "the checkpoint names epochs whose records are gone: a crash leaves the one without the other";
        PROPOSAL: "before a proposal", 500 ms,
            "the controller hears late who is in sync, of a leader that may be none any more";
        CHECKPOINT: "between a checkpoint drawn up and written", 500 ms,
            "what the disk says is committed, and where logs begin, lags what is";
        CLEAN_STOP: "between logs flushed and the mark of a clean stop", 500 ms,
            "what is written after the flush would be taken for durable by the next life";
        OFFICE: "between a controller elected and its first look", 500 ms,
            "nobody rules the cluster, and whoever was deposed may not know";
        STATE: "before a controller writes", 500 ms,
            "a decision is carried out when the brokers it was made for may have gone";
        STATE_WRITTEN: "between states written and told", 500 ms,
            "the new leader is in the books and no broker knows: the former one goes on, and must commit nothing";
        METADATA: "between metadata read and taken over", 300 ms,
            "a client asks those that led, and takes old news for new";
        BATCH: "a batch goes early", 0 ms,
            "records that one batch would hold become many, several of them on their way at once";
        RETRY: "before a batch is sent again", 500 ms,
            "what was sent after it waits for it, and its leader may have changed twice";
        CONSUMED: "between a fetch and its records", 200 ms,
            "a consumer goes on from what it has read when retention or another leader may have passed it by";
    }
    "allocator" {
        CATALOGUE_READ: "between a catalogue read and taken over", 500 ms,
            "an allocator goes on by the old one while others decide by the new: what it assigned must stand";
        DECISION: "between an arm drawn and told", 100 ms,
            "weights change while a decision is on its way: it must tell those it was made by";
        PUBLICATION: "before what was learnt is written", 500 ms,
            "another may have been elected and have written meanwhile";
    }
}
