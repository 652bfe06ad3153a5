//! What a sweep looks like: the terminal summary, JSON for scripts, and JUnit XML for continuous integration.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;

use crate::lab::sweep::{
    Ended, FigureTable, Finding, Outcome, PValues, Plan, Point, SiteRuns, Spread, Stop, Summary,
};
use crate::report::cells::{CellDocument, Grid, distance, documents, probability};
use crate::report::command::{command_at, quoted, settings};
use crate::report::html::escaped;
use crate::report::text::grouped;
use crate::world::Site;

/// How many characters of the matrix's columns are shown: events are numbered, and named below.
const COLUMN: usize = 4;

/// A sweep, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct SweepReport<'sweep> {
    /// What was to be run.
    pub plan: &'sweep Plan,
    /// What was found.
    pub summary: &'sweep Summary,
    /// Why it ended.
    pub stop: Stop,
    /// All events that could have happened in the systems that stood in it.
    pub possible: &'sweep [&'static str],
    /// All cooperative points of these systems.
    pub sites: &'sweep [Site],
    /// The figures of its runs.
    pub figures: &'sweep [FigureTable],
    /// Of which figures, by parts of their names, people are told.
    pub wanted: &'sweep [String],
}

#[derive(Serialize)]
struct Document<'sweep> {
    format: u32,
    files: &'sweep [std::path::PathBuf],
    seeds: [u64; 2],
    runs: usize,
    ended: BTreeMap<&'static str, usize>,
    rechecked: usize,
    virtual_seconds: f64,
    job_seconds: f64,
    exit_code: u8,
    findings: Vec<FindingDocument<'sweep>>,
    refuted: Vec<RefutedDocument<'sweep>>,
    events: &'sweep BTreeMap<String, usize>,
    never: Vec<&'sweep str>,
    coverage: &'sweep BTreeMap<String, BTreeMap<String, usize>>,
    sites: BTreeMap<String, SiteRuns>,
    figures: Vec<CellDocument<'sweep>>,
}

#[derive(Serialize)]
struct FindingDocument<'sweep> {
    fingerprint: &'sweep str,
    ended: &'static str,
    what: &'sweep str,
    place: &'sweep str,
    count: usize,
    seed: u64,
    example: &'sweep str,
    replay: String,
    shrink: String,
}

/// P-values that are not spread evenly; `figures` has what was found.
#[derive(Serialize)]
struct RefutedDocument<'sweep> {
    figure: &'sweep str,
    file: &'sweep std::path::Path,
    set: &'sweep [String],
    repeat: String,
}

impl SweepReport<'_> {
    pub(super) fn never(&self) -> Vec<&'static str> {
        let reached = |event: &&&str| !self.summary.events.contains_key(**event);
        self.possible.iter().filter(reached).copied().collect()
    }

    /// In how many runs each cooperative point came how far, the rarest first.
    pub(super) fn sites(&self) -> Vec<(String, SiteRuns)> {
        let runs = |name: &String| self.summary.sites.get(name).copied().unwrap_or_default();
        let named = self.sites.iter().map(Site::to_string);
        let mut sites: Vec<(String, SiteRuns)> = named.map(|name| (name.clone(), runs(&name))).collect();
        sites.sort_by_key(|(_, SiteRuns { reached, live, fired })| (*fired, *live, *reached));
        sites
    }

    /// The figures of which people are told.
    pub(super) fn told(&self) -> impl Iterator<Item = &FigureTable> {
        let wanted =
            |figure: &&FigureTable| self.wanted.iter().any(|part| figure.name.contains(part.as_str()));
        self.figures.iter().filter(wanted)
    }

    pub(super) fn held(&self) -> usize {
        self.summary.ended.get(&Ended::Held).copied().unwrap_or(0)
    }

    /// The command that makes the sweep again, as far as it ran to its end.
    pub(super) fn command(&self) -> String {
        command(self.plan)
    }

    /// Why it ended, in words.
    pub(super) fn why(&self) -> &'static str {
        why(self.stop)
    }

    /// The whole summary.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes whatever is written to it");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let Summary { runs, findings, rechecked, virtual_seconds, job_seconds, .. } = self.summary;
        let held = self.held();
        match self.summary.wrongs() {
            0 => writeln!(out, "HELD: all of {} runs kept every promise", grouped(*runs as u64))?,
            1 => {
                writeln!(out, "1 FINDING in {} runs ({} held)", grouped(*runs as u64), grouped(held as u64))?
            }
            many => {
                writeln!(
                    out,
                    "{many} FINDINGS in {} runs ({} held)",
                    grouped(*runs as u64),
                    grouped(held as u64)
                )?;
            }
        }
        let files: Vec<String> = self.plan.files.iter().map(|file| file.display().to_string()).collect();
        write!(out, "{}, seeds {} to {}", files.join(", "), self.plan.first, self.plan.end - 1)?;
        self.plan.set.iter().try_for_each(|set| write!(out, ", {set}"))?;
        for axis in &self.plan.axes {
            write!(out, ", {} of {}", axis.path, axis.values.join(" "))?;
        }
        writeln!(out)?;
        writeln!(out, "{}", self.why())?;
        self.summary.refuted().try_for_each(|refuted| self.write_refuted(out, refuted))?;
        for finding in findings {
            self.write_finding(out, finding)?;
        }
        let grid = Grid::of(self.plan);
        self.told().try_for_each(|figure| grid.write_text(out, figure))?;
        self.write_coverage(out)?;
        self.write_sites(out)?;
        if let Some(spreads) = self.spreads() {
            writeln!(out, "\np-values {spreads}")?;
        }
        writeln!(out, "\nruns     {} held of {}; {rechecked} run twice", held, grouped(*runs as u64))?;
        let speed = if 0.0 < *job_seconds { virtual_seconds / job_seconds } else { 0.0 };
        writeln!(
            out,
            "time     {virtual_seconds:.0}s of virtual time in {job_seconds:.0}s of all jobs ({speed:.0} to 1)"
        )
    }

    /// How many samples of p-values are spread evenly that must be, in words; `None` if no run tells any.
    pub(super) fn spreads(&self) -> Option<String> {
        let all = &self.summary.p_values;
        let (promised, free): (Vec<&PValues>, Vec<&PValues>) =
            all.iter().partition(|one| one.spread.promised);
        if all.is_empty() {
            return None;
        }
        let least = promised.iter().map(|one| one.spread.found.p).fold(1.0, f64::min);
        if promised.is_empty() {
            return Some(format!("none of {} samples must be spread evenly", free.len()));
        }
        let refuted = self.summary.refuted().count();
        let needless = if free.is_empty() { String::new() } else { format!("; {} need not be", free.len()) };
        Some(format!(
            "{} of {} samples that must be spread evenly are not refuted, the least likely with p {} (refuted below {:.0e}, which takes hundreds of tests){needless}",
            promised.len() - refuted,
            promised.len(),
            probability(least),
            Spread::LEVEL
        ))
    }

    fn write_refuted(&self, out: &mut String, refuted: &PValues) -> fmt::Result {
        writeln!(out, "\nREFUTED   {}", claim(refuted))?;
        writeln!(out, "  in       {}", self.sample(refuted))?;
        writeln!(out, "  found    {}; refuted below 1e-9", distance(&refuted.spread))?;
        writeln!(out, "  repeat   {}", self.repeat(refuted))
    }

    /// What was looked at, in words.
    pub(super) fn sample(&self, PValues { cell, runs, spread, .. }: &PValues) -> String {
        let set = cell.set.iter().map(|set| format!(", {set}")).collect::<String>();
        let (tests, runs) = (grouped(spread.tests as u64), grouped(*runs as u64));
        format!("{tests} tests of {runs} runs of {}{set}", cell.file.display())
    }

    /// The command that makes these runs alone again.
    pub(super) fn repeat(&self, PValues { cell, .. }: &PValues) -> String {
        let (files, set) = (vec![cell.file.clone()], cell.set.clone());
        command(&Plan { files, set, axes: Vec::new(), ..self.plan.clone() })
    }

    fn write_finding(&self, out: &mut String, finding: &Finding) -> fmt::Result {
        let trouble = &finding.trouble;
        writeln!(out, "\n{}  {trouble}", finding.fingerprint)?;
        let share =
            format!("{} of {} runs", grouped(finding.count as u64), grouped(self.summary.runs as u64));
        writeln!(out, "  in       {share}, first at seed {}", finding.first.seed)?;
        writeln!(out, "  such as  {}", trouble.example)?;
        writeln!(out, "  replay   {}", command_at("replay", &finding.first))?;
        writeln!(out, "  shrink   {}", command_at("shrink", &finding.first))
    }

    /// Which events happened under which faults; the empty cells are what no run has tried.
    fn write_coverage(&self, out: &mut String) -> fmt::Result {
        let never = self.never();
        let reached = self.possible.len() - never.len();
        writeln!(out, "\nevents   {reached} of {} happened", self.possible.len())?;
        never.iter().try_for_each(|event| writeln!(out, "  never  {event}"))?;
        if self.summary.matrix.is_empty() || self.summary.events.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nin how many runs an event happened under a fault or within 5s of it; . for none")?;
        let cell = |count: usize| match count {
            0 => ".".to_owned(),
            few if few < 1000 => few.to_string(),
            many => format!("{}k", many / 1000),
        };
        let events = self.summary.events.keys();
        let name = events.clone().map(String::len).max().unwrap_or(0);
        write!(out, "  {:name$}", "")?;
        for number in 1..=self.summary.matrix.len() {
            write!(out, " {number:>COLUMN$}")?;
        }
        writeln!(out)?;
        for event in events {
            write!(out, "  {event:<name$}")?;
            for met in self.summary.matrix.values() {
                write!(out, " {:>COLUMN$}", cell(met.get(event).copied().unwrap_or(0)))?;
            }
            writeln!(out)?;
        }
        for (number, fault) in (1..).zip(self.summary.matrix.keys()) {
            writeln!(out, "  {number:>COLUMN$} {fault}")?;
        }
        Ok(())
    }

    /// The cooperative points that no run has tried.
    fn write_sites(&self, out: &mut String) -> fmt::Result {
        let sites = self.sites();
        let fired = sites.iter().filter(|(_, runs)| 0 < runs.fired).count();
        writeln!(out, "\nsites    {fired} of {} cooperative points fired", sites.len())?;
        if self.summary.sites.is_empty() {
            return Ok(());
        }
        for (name, SiteRuns { reached, live, .. }) in sites.iter().filter(|(_, runs)| runs.fired == 0) {
            match reached {
                0 => writeln!(out, "  never reached  {name}")?,
                _ => writeln!(out, "  never fired    {name} (live in {live} of {reached} runs)")?,
            }
        }
        Ok(())
    }

    /// The sweep as a JSON document, indented. Stable as that of a run is.
    pub fn json(&self) -> String {
        let findings = self.summary.findings.iter().map(|finding| FindingDocument {
            fingerprint: &finding.fingerprint,
            ended: finding.trouble.ended.words(),
            what: &finding.trouble.what,
            place: &finding.trouble.place,
            count: finding.count,
            seed: finding.first.seed,
            example: &finding.trouble.example,
            replay: command_at("replay", &finding.first),
            shrink: command_at("shrink", &finding.first),
        });
        let refuted = self.summary.refuted().map(|refuted| RefutedDocument {
            figure: &refuted.figure,
            file: &refuted.cell.file,
            set: &refuted.cell.set,
            repeat: self.repeat(refuted),
        });
        let document = Document {
            format: 1,
            files: &self.plan.files,
            seeds: [self.plan.first, self.plan.end],
            runs: self.summary.runs,
            ended: self.summary.ended.iter().map(|(ended, count)| (ended.words(), *count)).collect(),
            rechecked: self.summary.rechecked,
            virtual_seconds: self.summary.virtual_seconds,
            job_seconds: self.summary.job_seconds,
            exit_code: self.summary.exit_code(),
            findings: findings.collect(),
            refuted: refuted.collect(),
            events: &self.summary.events,
            never: self.never(),
            coverage: &self.summary.matrix,
            sites: self.sites().into_iter().collect(),
            figures: documents(self.plan, self.figures),
        };
        serde_json::to_string_pretty(&document).expect("names are text and numbers are finite")
    }

    /// The runs as JUnit XML: a suite for each scenario file, a case for each run. And a suite for p-values, of which all runs together tell.
    pub fn junit(&self, outcomes: &[Outcome]) -> String {
        let mut suites: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
        for outcome in outcomes {
            suites.entry(outcome.point.file.display().to_string()).or_default().push(outcome);
        }
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        for (file, mut outcomes) in suites {
            outcomes.sort_by(|one, other| one.point.cmp(&other.point));
            let failures = outcomes.iter().filter(|outcome| outcome.trouble.is_some()).count();
            let seconds: f64 = outcomes.iter().map(|outcome| outcome.wall_seconds).sum();
            let (name, tests) = (escaped(&file), outcomes.len());
            out.push_str(&format!(
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" time=\"{seconds:.3}\">\n"
        ));
            for outcome in outcomes {
                let Point { seed, set, .. } = &outcome.point;
                let case = escaped(&[&[format!("seed {seed}")], set.as_slice()].concat().join(", "));
                let time = outcome.wall_seconds;
                let open = format!("    <testcase classname=\"{name}\" name=\"{case}\" time=\"{time:.3}\"");
                match &outcome.trouble {
                    None => out.push_str(&format!("{open}/>\n")),
                    Some(trouble) => out.push_str(&format!(
                        "{open}>\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>\n",
                        trouble.ended.words(),
                        escaped(&trouble.what),
                        escaped(&format!("{}\n{}", trouble.example, command_at("replay", &outcome.point))),
                    )),
                }
            }
            out.push_str("  </testsuite>\n");
        }
        out.push_str(&self.junit_of_p_values());
        out + "</testsuites>\n"
    }

    fn junit_of_p_values(&self) -> String {
        let promised = || self.summary.p_values.iter().filter(|one| one.spread.promised);
        let (tests, failures) = (promised().count(), self.summary.refuted().count());
        if tests == 0 {
            return String::new();
        }
        let mut out = format!("  <testsuite name=\"p-values\" tests=\"{tests}\" failures=\"{failures}\">\n");
        for one in promised() {
            let (claim, place) = (escaped(&claim(one)), escaped(&self.sample(one)));
            let open = format!("    <testcase classname=\"{claim}\" name=\"{place}\"");
            if one.spread.is_refuted() {
                let told = escaped(&format!("{}\n{}", distance(&one.spread), self.repeat(one)));
                out.push_str(&format!("{open}>\n      <failure type=\"refuted\" message=\"{claim}\">{told}</failure>\n    </testcase>\n"));
            } else {
                out.push_str(&format!("{open}/>\n"));
            }
        }
        out + "  </testsuite>\n"
    }
}

/// The command of a plan.
fn command(plan: &Plan) -> String {
    let Plan { files, set, axes, first, end, shard: (shard, shards) } = plan;
    let files: Vec<String> = files.iter().map(|file| quoted(&file.display().to_string())).collect();
    let mut command = format!("wavetank sweep {} --seeds {first}..{end}", files.join(" "));
    command.push_str(&settings(set));
    for axis in axes {
        let axis = format!("{}={}", axis.path, axis.values.join(","));
        command.push_str(&format!(" --axis {}", quoted(&axis)));
    }
    if 1 < *shards {
        command.push_str(&format!(" --shard {shard}/{shards}"));
    }
    command
}

/// What is refuted.
pub(super) fn claim(refuted: &PValues) -> String {
    format!("p-values of {} are spread evenly", refuted.figure)
}

/// Why many runs ended, in words.
pub(super) fn why(stop: Stop) -> &'static str {
    match stop {
        Stop::Complete => "every run has ended",
        Stop::Failures => "stopped: as many runs failed as were asked for",
        Stop::Stable => "stopped: nothing new came for as many runs as were asked for",
        Stop::Budget => "stopped: the time was up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sweep::figures;
    use crate::lab::sweep::sample::outcome;
    use crate::systems::sites;

    fn plan() -> Plan {
        Plan {
            files: vec!["scenarios/a.toml".into()],
            set: vec!["acts.stir=1s".to_owned()],
            axes: Vec::new(),
            first: 1,
            end: 10,
            shard: (1, 1),
        }
    }

    fn outcomes() -> [Outcome; 3] {
        [
            outcome(1, None),
            outcome(2, Some((Ended::Violated, "no <event> is lost"))),
            outcome(3, Some((Ended::Hung, "a run ends within its time"))),
        ]
    }

    #[test]
    fn a_sweep_leads_with_its_findings_and_shows_what_it_did_not_try() {
        let (plan, summary) = (plan(), Summary::of(&outcomes()));
        let possible = ["a leader fell", "a leader rose"];
        let sites = [sites::BATCH, sites::CUT, sites::PROPOSAL];
        let report = SweepReport {
            plan: &plan,
            summary: &summary,
            stop: Stop::Complete,
            possible: &possible,
            sites: &sites,
            figures: &figures(&Plan { set: Vec::new(), ..plan.clone() }, &[], &outcomes()),
            wanted: &["latency".to_owned()],
        };
        insta::assert_snapshot!(report.text(), @r#"
        2 FINDINGS in 3 runs (1 held)
        scenarios/a.toml, seeds 1 to 9, acts.stir=1s
        every run has ended

        626bd4ca  violated: no <event> is lost
          in       1 of 3 runs, first at seed 2
          such as  seen at seed 2
          replay   wavetank replay scenarios/a.toml --seed 2
          shrink   wavetank shrink scenarios/a.toml --seed 2

        d9d7d190  hung: a run ends within its time
          in       1 of 3 runs, first at seed 3
          such as  seen at seed 3
          replay   wavetank replay scenarios/a.toml --seed 3
          shrink   wavetank shrink scenarios/a.toml --seed 3

        latency, s (3 runs each)
             all runs
          a  2.0 [-0.5, 4.5]

        events   1 of 2 happened
          never  a leader rose

        in how many runs an event happened under a fault or within 5s of it; . for none
                           1    2
          a leader fell    3    .
             1 crash
             2 pause

        sites    1 of 3 cooperative points fired
          never reached  broker: before a log is cut
          never fired    broker: a batch goes early (live in 0 of 3 runs)

        runs     1 held of 3; 1 run twice
        time     180s of virtual time in 2s of all jobs (120 to 1)
        "#);
    }

    #[test]
    fn junit_counts_failures_and_escapes_names() {
        let (plan, summary) = (plan(), Summary::of(&outcomes()));
        let (possible, sites, figures, wanted) = (&[], &[], &[], &[]);
        let report = SweepReport {
            plan: &plan,
            summary: &summary,
            stop: Stop::Complete,
            possible,
            sites,
            figures,
            wanted,
        };
        insta::assert_snapshot!(report.junit(&outcomes()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
          <testsuite name="scenarios/a.toml" tests="3" failures="2" time="1.500">
            <testcase classname="scenarios/a.toml" name="seed 1" time="0.500"/>
            <testcase classname="scenarios/a.toml" name="seed 2" time="0.500">
              <failure type="violated" message="no &lt;event&gt; is lost">seen at seed 2
        wavetank replay scenarios/a.toml --seed 2</failure>
            </testcase>
            <testcase classname="scenarios/a.toml" name="seed 3" time="0.500">
              <failure type="hung" message="a run ends within its time">seen at seed 3
        wavetank replay scenarios/a.toml --seed 3</failure>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
