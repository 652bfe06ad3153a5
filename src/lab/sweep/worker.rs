//! One run in a process of its own, watched: how long it takes, how much it holds, and how it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::Figure;
use crate::base::id::kind_of;
use crate::lab::Verdict;
use crate::lab::sweep::{Limits, Point};

/// How often a child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How much of what a dead child said last is kept.
const LAST_WORDS_MAX: usize = 2000;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Every promise was kept.
    Held,
    /// A promise was broken.
    Violated,
    /// Systems or workloads did not come to rest.
    NotConverged,
    /// Two runs differ.
    NotDeterministic,
    /// It could not be run.
    BadInput,
    /// It took too long in real time.
    Hung,
    /// It held too much memory.
    OutOfMemory,
    /// Its process died.
    Died,
}

impl Ended {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Held => Verdict::Held.words(),
            Self::Violated => Verdict::Violated.words(),
            Self::NotConverged => Verdict::NotConverged.words(),
            Self::NotDeterministic => Verdict::NotDeterministic.words(),
            Self::BadInput => "bad input",
            Self::Hung => "hung",
            Self::OutOfMemory => "out of memory",
            Self::Died => "died",
        }
    }
}

/// What was wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How it ended.
    pub ended: Ended,
    /// The check or property that was broken, or what did not come to rest.
    pub what: String,
    /// The kind of host that saw it: `broker`. Of a check, in which way it was broken; of what did not come to rest, what it waited for.
    /// Never anything that a seed chooses.
    pub place: String,
    /// One example, on one line.
    pub example: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.ended.words(), self.what)?;
        if self.place.is_empty() { Ok(()) } else { write!(out, " ({})", self.place) }
    }
}

impl Trouble {
    /// Eight hexadecimal digits, equal for troubles of the same kind: how it ended, what was broken, and where.
    pub fn fingerprint(&self) -> String {
        let text = format!("{}|{}", self.what, self.place);
        format!("{:08x}", xxh3_64_with_seed(text.as_bytes(), self.ended as u64) as u32)
    }
}

/// How far a cooperative point came in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// The code came there.
    Reached,
    /// And it could have fired.
    Live,
    /// And it did.
    Fired,
}

/// A run of a sweep that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which run.
    pub point: Point,
    /// How it ended.
    pub ended: Ended,
    /// What was wrong, if anything was.
    pub trouble: Option<Trouble>,
    /// Its fingerprint; empty if it did not come so far.
    pub digest: String,
    /// How long it lasted in virtual time.
    pub virtual_seconds: f64,
    /// How long it took, with the start of its process.
    pub wall_seconds: f64,
    /// How often each event happened.
    pub events: BTreeMap<String, u64>,
    /// Which event happened how often while a kind of fault was in force or had just been: (fault, event, how often).
    pub coverage: Vec<(String, String, u64)>,
    /// How many faults of each kind there were.
    pub faults: BTreeMap<String, u64>,
    /// How far each cooperative point came that was reached.
    pub sites: BTreeMap<String, Reach>,
    /// The numbers that tell how it went.
    pub figures: Vec<Figure>,
    /// Whether it was run twice.
    pub rechecked: bool,
}

/// Runs a point, and, as `limits` say, once more.
pub(super) fn run(program: &Path, point: &Point, limits: &Limits, folder: &Path, job: usize) -> Outcome {
    let once = |twice| run_once(program, point, limits, folder, job, twice).0;
    let mut outcome = once(false);
    if outcome.ended == Ended::Held && is_rechecked(point, limits.recheck) {
        let second = once(false);
        outcome.rechecked = true;
        if second.digest != outcome.digest {
            // Once more within one process, event by event: that names the first that differs, if it differs there too.
            let told = once(true);
            let what = "two runs under one seed are the same".to_owned();
            let apart = format!("digests {} and {}", outcome.digest, second.digest);
            let example = told.trouble.map_or(apart, |trouble| trouble.example);
            outcome.ended = Ended::NotDeterministic;
            outcome.trouble =
                Some(Trouble { ended: Ended::NotDeterministic, what, place: String::new(), example });
        }
    }
    outcome
}

/// Chosen by the point alone, so that the same sweep checks the same runs.
fn is_rechecked(point: &Point, share: f64) -> bool {
    let text = format!("{}|{}|{:?}", point.seed, point.file.display(), point.set);
    (xxh3_64_with_seed(text.as_bytes(), 0) as f64) < share * u64::MAX as f64
}

/// Runs a point once. Returns the document of `--format json` too, if the run came so far.
#[expect(clippy::disallowed_methods, reason = "a child process lives in real time, outside any run")]
pub(in crate::lab) fn run_once(
    program: &Path,
    point: &Point,
    limits: &Limits,
    folder: &Path,
    job: usize,
    twice: bool,
) -> (Outcome, Option<Value>) {
    let began = Instant::now();
    let (out, err) = (folder.join(format!("job-{job}.out")), folder.join(format!("job-{job}.err")));
    let mut outcome = Outcome {
        point: point.clone(),
        ended: Ended::Died,
        trouble: None,
        digest: String::new(),
        virtual_seconds: 0.0,
        wall_seconds: 0.0,
        events: BTreeMap::new(),
        coverage: Vec::new(),
        faults: BTreeMap::new(),
        sites: BTreeMap::new(),
        figures: Vec::new(),
        rechecked: false,
    };
    let end = start(program, point, twice, (&out, &err)).and_then(|child| watch(child, limits));
    outcome.wall_seconds = began.elapsed().as_secs_f64();
    let trouble = |ended, what: &str, example| {
        Some(Trouble { ended, what: what.to_owned(), place: String::new(), example })
    };
    match end {
        Err(error) => outcome.trouble = trouble(Ended::Died, "a process starts", error.to_string()),
        Ok(End::Hung) => {
            outcome.ended = Ended::Hung;
            let example = format!("killed after {:.0}s", limits.time_out.as_secs_f64());
            outcome.trouble = trouble(Ended::Hung, "a run ends within its time", example);
        }
        Ok(End::OutOfMemory(bytes)) => {
            outcome.ended = Ended::OutOfMemory;
            let example = format!("killed at {} MiB", bytes >> 20);
            outcome.trouble = trouble(Ended::OutOfMemory, "a run stays within its memory", example);
        }
        Ok(End::Exited(status)) => {
            let told: Option<Value> =
                std::fs::read(&out).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            match &told {
                Some(told) => take(&mut outcome, told),
                None => {
                    let example = format!("{status}: {}", last_words(&err));
                    outcome.trouble = trouble(Ended::Died, "a run comes to a verdict", example);
                }
            }
            return (outcome, told);
        }
    }
    (outcome, None)
}

fn start(program: &Path, point: &Point, twice: bool, (out, err): (&Path, &Path)) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("run").arg(&point.file).args(["--format", "json", "--seed", &point.seed.to_string()]);
    for set in &point.set {
        command.args(["--set", set]);
    }
    if twice {
        command.arg("--check-determinism");
    }
    // Files, not pipes: a full pipe would stop the child.
    command.stdin(Stdio::null()).stdout(File::create(out)?).stderr(File::create(err)?).spawn()
}

enum End {
    Exited(ExitStatus),
    Hung,
    OutOfMemory(u64),
}

#[expect(clippy::disallowed_methods, reason = "a child process lives in real time, outside any run")]
fn watch(mut child: Child, limits: &Limits) -> io::Result<End> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(status));
        }
        let held = resident_bytes(child.id());
        let end = if limits.time_out < began.elapsed() {
            Some(End::Hung)
        } else if limits.memory < held {
            Some(End::OutOfMemory(held))
        } else {
            None
        };
        if let Some(end) = end {
            child.kill()?;
            child.wait()?;
            return Ok(end);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// How much memory a process holds; 0 where `/proc` does not tell.
#[expect(clippy::disallowed_methods, reason = "the kernel's word on a child process, outside any run")]
fn resident_bytes(process: u32) -> u64 {
    const PAGE: u64 = 4096;
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * PAGE)
}

#[expect(clippy::disallowed_methods, reason = "what a child process said, outside any run")]
fn last_words(err: &PathBuf) -> String {
    let text = std::fs::read_to_string(err).unwrap_or_default();
    let from = text.len().saturating_sub(LAST_WORDS_MAX);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text[from..].split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Takes over what a run says of itself: the document of `--format json`.
fn take(outcome: &mut Outcome, told: &Value) {
    outcome.ended = serde_json::from_value(told["verdict"].clone()).unwrap_or(Ended::Died);
    outcome.digest = text(&told["digest"]);
    outcome.virtual_seconds = told["virtual_seconds"].as_f64().unwrap_or(0.0);
    for property in told["properties"].as_array().into_iter().flatten() {
        let hit = property["hit"].as_u64().unwrap_or(0);
        if property["kind"] != "always" && 0 < hit {
            outcome.events.insert(text(&property["name"]), hit);
        }
    }
    for cell in told["coverage"].as_array().into_iter().flatten() {
        outcome.coverage.push((
            text(&cell["fault"]),
            text(&cell["event"]),
            cell["hits"].as_u64().unwrap_or(0),
        ));
    }
    for (kind, count) in told["faults"].as_object().into_iter().flatten() {
        let count = |key: &str| count[key].as_u64().unwrap_or(0);
        outcome.faults.insert(kind.clone(), count("injected") + count("downgraded"));
    }
    for tally in told["sites"].as_array().into_iter().flatten() {
        let reach = match (tally["live"].as_bool(), tally["fired"].as_u64()) {
            (Some(true), Some(1..)) => Reach::Fired,
            (Some(true), _) => Reach::Live,
            _ => Reach::Reached,
        };
        outcome.sites.insert(text(&tally["site"]), reach);
    }
    outcome.figures = serde_json::from_value(told["figures"].clone()).unwrap_or_default();
    outcome.trouble = trouble_of(outcome.ended, told);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn trouble_of(ended: Ended, told: &Value) -> Option<Trouble> {
    let trouble = |what: String, place: String, example: String| {
        let example = example.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(Trouble { ended, what, place, example })
    };
    match ended {
        Ended::Held => None,
        Ended::BadInput => {
            let first = &told["mistakes"][0];
            trouble("a scenario can be run".to_owned(), String::new(), text(&first["message"]))
        }
        Ended::NotDeterministic => {
            let difference = &told["difference"];
            let [position, first, second] =
                ["position", "first", "second"].map(|key| difference[key].to_string());
            let example = format!("event {position}: first {first}, then {second}");
            trouble("two runs under one seed are the same".to_owned(), String::new(), example)
        }
        Ended::NotConverged => {
            let first = text(&told["unmet"][0]);
            let (what, awaited) = first.split_once(':').unwrap_or((&first, ""));
            // Which hosts, how many records: chance. Of several hosts the first stands deepest.
            let awaited = awaited.split(',').next().unwrap_or_default().trim();
            trouble(format!("everything comes to rest: {what}"), without_numbers(awaited), first)
        }
        Ended::Violated | Ended::Hung | Ended::OutOfMemory | Ended::Died => {
            let violation = &told["violation"];
            if violation.is_object() {
                // `broker-2` is one of the brokers: which of them is chance.
                let place = kind_of(violation["host"].as_str().unwrap_or_default()).to_owned();
                return trouble(text(&violation["property"]), place, text(&violation["detail"]));
            }
            let broken = told["checks"].as_array().into_iter().flatten();
            let mut broken = broken.filter(|check| 0 < check["violations"].as_u64().unwrap_or(0));
            let first = broken.next()?;
            trouble(text(&first["name"]), text(&first["place"]), text(&first["examples"][0]))
        }
    }
}

/// A text with `#` in the place of each number.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match (c.is_ascii_digit(), out.ends_with('#')) {
            (true, true) => {}
            (true, false) => out.push('#'),
            (false, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn troubles_of_the_same_kind_have_one_fingerprint() {
        let on = |host: &str, detail: &str| {
            let told =
                json!({ "violation": { "host": host, "property": "p", "detail": detail }, "checks": [] });
            trouble_of(Ended::Violated, &told).expect("it is one")
        };
        let one = on("broker-2", "7 beyond 6");
        assert_eq!((one.what.as_str(), one.place.as_str()), ("p", "broker"));
        assert_eq!(one.fingerprint(), on("broker-11", "9 beyond 8").fingerprint());
        assert_ne!(one.fingerprint(), on("coordination-2", "7 beyond 6").fingerprint());
    }

    #[test]
    fn what_a_checker_found_and_what_did_not_come_to_rest_are_told() {
        let check = |name: &str, violations: u64| json!({ "name": name, "violations": violations, "place": "here", "examples": ["e 1", "e 2"] });
        let told =
            json!({ "violation": null, "checks": [check("fine", 0), check("lost", 3), check("twice", 1)] });
        let lost = trouble_of(Ended::Violated, &told).expect("it is one");
        assert_eq!((lost.what.as_str(), lost.place.as_str(), lost.example.as_str()), ("lost", "here", "e 1"));
        assert_eq!(lost.to_string(), "violated: lost (here)");
        let told = json!({ "unmet": ["not ready: broker-1, broker-3"] });
        let rest = trouble_of(Ended::NotConverged, &told).expect("it is one");
        let kind = |unmet: &str| {
            let trouble = trouble_of(Ended::NotConverged, &json!({ "unmet": [unmet] })).expect("it is one");
            trouble.fingerprint()
        };
        assert_eq!(
            (rest.what.as_str(), rest.place.as_str()),
            ("everything comes to rest: not ready", "broker-#")
        );
        assert_eq!(rest.fingerprint(), kind("not ready: broker-12"));
        assert_ne!(rest.fingerprint(), kind("not ready: coordination-1, broker-1"));
        let unread = "clickstream: 4 of 12 parts are read back to their end";
        assert_eq!(kind(unread), kind("clickstream: 11 of 12 parts are read back to their end"));
        assert_ne!(kind(unread), kind("clickstream: 1 of 3 producers have finished"));
        assert_eq!(trouble_of(Ended::Held, &json!({})), None);
    }

    #[test]
    fn a_share_of_all_points_is_rechecked_always_the_same() {
        let point = |seed| Point { seed, file: "a.toml".into(), set: Vec::new() };
        let chosen: Vec<u64> = (0..10_000).filter(|seed| is_rechecked(&point(*seed), 0.05)).collect();
        assert!((400..600).contains(&chosen.len()), "{}", chosen.len());
        assert!(chosen.iter().all(|seed| is_rechecked(&point(*seed), 0.05)));
        assert!(!is_rechecked(&point(1), 0.0) && is_rechecked(&point(1), 1.0));
    }
}
