//! A run as a page: the verdict and how to repeat it, what was broken, the life of every host, what flowed, and what was looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use crate::base::{HostId, SimTime};
use crate::checkers::Check;
use crate::checkers::service::Second;
use crate::lab::Verdict;
use crate::report::Report;
use crate::report::html::chart::{COLOURS, Line, LineChart, short};
use crate::report::html::{Cell, Row, escaped, in_sync, page, table, timeline};
use crate::report::lives::{is_end, moments};
use crate::report::text::grouped;
use crate::world::metrics::{Sample, SeriesKind};
use crate::world::property::PropertyKind;

/// How many faults are told before the rest is only counted.
const STORM_MAX: usize = 200;

/// How many points all charts have together, some eleven bytes each, and how few a line keeps for the sake of that.
const POINTS_MAX: usize = 6000;
const POINTS_MIN: usize = 40;

/// How many points a line about clients has at most.
const SECONDS_MAX: usize = 300;

/// How many faults charts mark: beyond, the marks would only be a shade.
const MARKS_MAX: usize = 150;

impl Report<'_> {
    /// The run as one HTML page, which fetches nothing.
    pub fn html(&self) -> String {
        let run = self.run;
        let title = format!("{}: {}, seed {}", run.verdict.words(), run.title, run.seed);
        page(&title, |out| {
            self.write_verdict(out)?;
            self.write_broken(out)?;
            timeline::write(out, run)?;
            in_sync::write(out, run)?;
            self.write_excerpt(out)?;
            self.write_service(out)?;
            self.write_series(out)?;
            self.write_checks_table(out)?;
            self.write_faults_tables(out)?;
            self.write_properties_tables(out)?;
            self.write_constants(out)
        })
    }

    fn write_verdict(&self, out: &mut String) -> fmt::Result {
        let run = self.run;
        let shade = match run.verdict {
            Verdict::Held => "good",
            Verdict::Violated => "bad",
            Verdict::NotConverged | Verdict::NotDeterministic | Verdict::CutShort => "odd",
        };
        let words = run.verdict.words().to_uppercase();
        writeln!(out, "<span class=\"badge {shade}\">{words}</span>\n<h1>{}</h1>", escaped(&self.finding()))?;
        let about = format!("“{}” — {}, seed {}", run.title, run.scenario.display(), run.seed);
        let about = [&[about], run.overrides.as_slice()].concat().join(", ");
        writeln!(out, "<p>{}</p>", escaped(&about))?;
        writeln!(out, "<pre class=\"command\">{}</pre>", escaped(&self.replay_command()))?;
        let (virtual_time, wall) = (run.virtual_time.as_secs_f64(), run.wall_time.as_secs_f64());
        let [events, messages, operations] = [run.events, run.messages, run.disk_operations].map(grouped);
        writeln!(
            out,
            "<p class=\"quiet\">{virtual_time:.1} s of virtual time in {wall:.2} s: {events} events, {messages} messages, \
             {operations} disk operations. Digest <code>{}</code>.</p>",
            run.digest
        )
    }

    /// How the run came out, as a sentence.
    fn finding(&self) -> String {
        let run = self.run;
        let looked_at: u64 = run.checks.iter().map(|check| check.looked_at).sum();
        let broken = run.checks.iter().filter(|check| !check.held()).map(|check| check.name);
        let broken: Vec<&str> =
            run.violation.iter().map(|violation| violation.property.as_str()).chain(broken).collect();
        match (run.verdict, broken.as_slice()) {
            (Verdict::Held, _) if looked_at == 0 => {
                "Nothing was broken, but no check had anything to look at".to_owned()
            }
            (Verdict::Held, _) => "Every promise was kept".to_owned(),
            (Verdict::Violated, []) => "A promise was broken".to_owned(),
            (Verdict::Violated, [first]) => format!("This was broken: {first}"),
            (Verdict::Violated, [first, ..]) => {
                format!("{} promises were broken, the first: {first}", broken.len())
            }
            (Verdict::NotConverged, _) => "It did not come to rest in time".to_owned(),
            (Verdict::NotDeterministic, _) => "Two runs of one seed differ".to_owned(),
            (Verdict::CutShort, _) => "It was cut short before its end".to_owned(),
        }
    }

    fn write_broken(&self, out: &mut String) -> fmt::Result {
        let run = self.run;
        if let Some(difference) = self.difference {
            let unknown = "an event of which nothing was written down";
            let first = difference.first.as_deref().unwrap_or(unknown);
            let second = difference.second.as_deref().unwrap_or(unknown);
            let title = format!("The two runs part at event {}", grouped(difference.position));
            wrong(out, &title, &[format!("first   {first}"), format!("second  {second}")])?;
        }
        if let Some(violation) = &run.violation {
            let host = violation.host.as_deref().map(|host| format!(" on {host}")).unwrap_or_default();
            let title = format!("Broken at {}{host}: {}", violation.at, violation.property);
            wrong(out, &title, std::slice::from_ref(&violation.detail))?;
        }
        for check in run.checks.iter().filter(|check| !check.held()) {
            let (broken, looked_at) = (grouped(check.violations), grouped(check.looked_at));
            let title = format!("Broken for {broken} of {looked_at}: {}", check.name);
            let examples: Vec<String> = check.examples.iter().map(ToString::to_string).collect();
            wrong(out, &title, &examples)?;
        }
        if !run.unmet.is_empty() {
            wrong(out, "These did not come to rest in time", &run.unmet)?;
        }
        if !run.not_reached.is_empty() {
            wrong(out, "This run never came to events that the scenario expects", &run.not_reached)?;
        }
        Ok(())
    }

    fn write_excerpt(&self, out: &mut String) -> fmt::Result {
        if self.run.excerpt.is_empty() {
            return Ok(());
        }
        let lines = escaped(&self.run.excerpt.join("\n"));
        writeln!(out, "<h2>The last telling events</h2>\n<pre>{lines}</pre>")
    }

    /// What clients experienced: how many were served, how long they waited, and what consumers had still to read.
    fn write_service(&self, out: &mut String) -> fmt::Result {
        let run = self.run;
        let told = run.service.iter().filter(|(_, seconds)| 1 < seconds.len());
        let told: Vec<&(String, Vec<Second>)> = told.collect();
        if told.is_empty() {
            return Ok(());
        }
        let (faults, violations) = (self.marks(), moments(run));
        writeln!(out, "<h2>What clients experienced; faint lines are faults</h2>\n<div class=\"charts\">")?;
        for (workload, seconds) in told {
            let (served, latency) =
                (Stretches::new(seconds, |second| Some(second.served as f64)), |index: usize| {
                    Stretches::new(seconds, move |second| second.latency.map(|latency| latency[index]))
                });
            let unread = Stretches::new(seconds, |second| Some(second.unread as f64));
            let charts = [
                (format!("{workload}: served"), "requests per second", vec![("all", served)]),
                (
                    format!("{workload}: latency"),
                    "seconds",
                    vec![("p50", latency(0)), ("p99", latency(1)), ("max", latency(2))],
                ),
                (format!("{workload}: acknowledged and not yet read"), "events", vec![("all", unread)]),
            ];
            for (name, values, lines) in charts {
                let lines: Vec<Line> = lines
                    .into_iter()
                    .map(|(label, line)| Line { label: label.to_owned(), points: line.0, ..Line::default() })
                    .collect();
                if lines.iter().flat_map(|line| &line.points).all(|(_, value)| *value == 0.0) {
                    continue;
                }
                let (title, values) = (experience_title(&name, &lines, values), values.to_owned());
                self.over_time(title, values, lines, &faults, &violations).write(out)?;
            }
        }
        writeln!(out, "</div>")
    }

    fn over_time<'chart>(
        &self,
        title: String,
        values: String,
        lines: Vec<Line>,
        faults: &'chart [f64],
        violations: &'chart [f64],
    ) -> LineChart<'chart> {
        let end = self.run.virtual_time.as_secs_f64();
        let (time, high, named_max) = ("virtual time, s", None, COLOURS.len());
        LineChart { title, values, time, end, high, faults, violations, lines, named_max }
    }

    /// When faults began, for charts.
    fn marks(&self) -> Vec<f64> {
        let began = self.run.storm().filter(|record| !is_end(&record.text));
        began.take(MARKS_MAX).map(|record| record.at.as_secs_f64()).collect()
    }

    /// A chart for each series: rates of what only grows, values of what comes and goes.
    fn write_series(&self, out: &mut String) -> fmt::Result {
        let run = self.run;
        let mut series: BTreeMap<&str, BTreeMap<Option<HostId>, Vec<&Sample>>> = BTreeMap::new();
        for sample in &run.samples {
            series.entry(sample.name).or_default().entry(sample.host).or_default().push(sample);
        }
        let times: BTreeSet<SimTime> = run.samples.iter().map(|sample| sample.at).collect();
        let lines: usize = series.values().map(BTreeMap::len).sum();
        let points = (POINTS_MAX / lines.max(1)).max(POINTS_MIN);
        let faults = self.marks();
        let violations = moments(run);
        if times.len() < 2 {
            return Ok(());
        }
        writeln!(out, "<h2>What flowed, host by host; faint lines are faults</h2>\n<div class=\"charts\">")?;
        // What systems and workloads do comes before what the kernel counts.
        let (kernel, systems): (Vec<_>, Vec<_>) =
            series.iter().partition(|(name, _)| name.starts_with("kernel."));
        for (name, hosts) in systems.into_iter().chain(kernel) {
            let is_rate = hosts.values().flatten().all(|sample| sample.kind == SeriesKind::Total);
            let line = |(host, samples): (&Option<HostId>, &Vec<&Sample>)| Line {
                label: host_name(&run.hosts, *host).to_owned(),
                points: if is_rate { rates(samples, &times, points) } else { values(samples, points) },
                ..Line::default()
            };
            let lines: Vec<Line> = hosts.iter().map(line).collect();
            let values = match (is_rate, name.contains("bytes"), *name) {
                (true, true, _) => "bytes per second",
                (true, false, _) => "per second",
                (false, true, _) => "bytes",
                (false, false, "broker.under-replicated") => "partitions led, in-sync set short",
                (false, false, "broker.replica-lag") => "records the last follower lacks",
                (false, false, _) => "count",
            };
            let title = peak_title(name, &lines, is_rate);
            self.over_time(title, values.to_owned(), lines, &faults, &violations).write(out)?;
        }
        writeln!(out, "</div>")
    }

    fn write_checks_table(&self, out: &mut String) -> fmt::Result {
        let checks = &self.run.checks;
        let count = |held: fn(&Check) -> bool| checks.iter().filter(|check| held(check)).count();
        let (broken, empty) = (count(|check| !check.held()), count(|check| check.looked_at == 0));
        let mut title = format!("{} checks, {broken} broken", checks.len());
        if 0 < empty {
            title.push_str(&format!(", {empty} with nothing to look at"));
        }
        let rows = checks.iter().map(|check| {
            let state = match (check.held(), check.looked_at) {
                (false, _) => "BROKEN",
                (true, 0) => "empty",
                (true, _) => "held",
            };
            let numbers = [check.looked_at, check.violations].map(|number| Cell::Number(grouped(number)));
            let [looked_at, violations] = numbers;
            let cells = [Cell::Text(check.name), Cell::Text(state), looked_at, violations];
            Row { broken: !check.held(), cells: cells.into() }
        });
        table(out, title, &["check", "state", "#looked at", "#broken"], rows)
    }

    fn write_faults_tables(&self, out: &mut String) -> fmt::Result {
        let run = self.run;
        let injected: u64 = run.faults.values().map(|count| count.injected).sum();
        let rows = run.faults.iter().map(|(kind, count)| {
            let numbers = [count.injected, count.downgraded, count.skipped];
            let [injected, weakened, skipped] = numbers.map(|number| Cell::Number(grouped(number)));
            Row::new([Cell::Text(kind), injected, weakened, skipped])
        });
        let title = format!("{} faults of {} kinds", grouped(injected), run.faults.len());
        table(out, title, &["fault", "#injected", "#weakened", "#without effect"], rows)?;
        let storm = run.storm().take(STORM_MAX).map(|record| {
            let host = Cell::Text(record.host.map_or("", |host| host_name(&run.hosts, Some(host))));
            let at = Cell::Number(format!("{:.3}", record.at.as_secs_f64()));
            Row::new([at, host, Cell::Text(&record.text)])
        });
        let title = match run.storm().count().checked_sub(STORM_MAX) {
            Some(more @ 1..) => format!("The storm: its first {STORM_MAX} events ({more} more)"),
            _ => "The storm, in order".to_owned(),
        };
        table(out, title, &["#virtual time, s", "host", "what"], storm)
    }

    fn write_properties_tables(&self, out: &mut String) -> fmt::Result {
        let tallies = &self.run.properties;
        let of = |kind: PropertyKind| tallies.iter().filter(move |tally| tally.kind == kind);
        let always = of(PropertyKind::Always);
        let evaluated: u64 = always.clone().map(|tally| tally.evaluated).sum();
        let title =
            format!("{} safety properties, evaluated {} times", always.clone().count(), grouped(evaluated));
        let rows = always.map(|tally| Row {
            broken: tally.hit < tally.evaluated,
            cells: vec![
                Cell::Text(tally.name),
                Cell::Number(grouped(tally.evaluated)),
                Cell::Number(grouped(tally.evaluated - tally.hit)),
            ],
        });
        table(out, title, &["property", "#evaluated", "#broken"], rows)?;
        // The rarest first: they are what a storm is made for.
        let mut events: Vec<_> = of(PropertyKind::Sometimes).chain(of(PropertyKind::Reached)).collect();
        events.sort_by_key(|tally| (tally.hit, tally.name));
        let reached = events.iter().filter(|tally| 0 < tally.hit).count();
        let title = format!("{reached} kinds of events happened, the rarest first");
        let seen = events.into_iter().filter(|tally| 0 < tally.hit);
        let rows = seen.map(|tally| Row::new([Cell::Number(grouped(tally.hit)), Cell::Text(tally.name)]));
        table(out, title, &["#times", "event"], rows)?;
        let fired = self.run.sites.iter().filter(|tally| 0 < tally.fired);
        let title = format!("{} cooperative points fired", fired.clone().count());
        let rows = fired.map(|tally| Row::new([Cell::Number(grouped(tally.fired)), Cell::Text(&tally.site)]));
        table(out, title, &["#times", "site"], rows)
    }

    fn write_constants(&self, out: &mut String) -> fmt::Result {
        let run = self.run;
        let count = |(name, count): &'_ (String, u64)| (name.clone(), grouped(*count));
        let counters: Vec<(String, String)> = run.counters.iter().map(count).collect();
        let rows =
            counters.iter().map(|(name, count)| Row::new([Cell::Text(name), Cell::Number(count.clone())]));
        table(out, "What the workloads counted", &["counter", "#value"], rows)?;
        let rows = run.drawn.iter().map(|(name, value)| Row::new([Cell::Code(name), Cell::Code(value)]));
        table(
            out,
            format!("{} constants were drawn by the seed", run.drawn.len()),
            &["constant", "value"],
            rows,
        )
    }
}

/// Something that was not as it should be, with lines about it.
fn wrong(out: &mut String, title: &str, lines: &[String]) -> fmt::Result {
    writeln!(out, "<h2>{}</h2>\n<pre class=\"wrong\">{}</pre>", escaped(title), escaped(&lines.join("\n")))
}

/// The name of a host; what belongs to none belongs to the whole tank.
pub(super) fn host_name(hosts: &[String], host: Option<HostId>) -> &str {
    match host {
        None => "the whole tank",
        Some(host) => hosts.get(host.get() as usize).map_or("?", String::as_str),
    }
}

/// A value second by second, of at most some [`SECONDS_MAX`] points: of several that fall together, the highest.
struct Stretches(Vec<(f64, f64)>);

impl Stretches {
    fn new(seconds: &[Second], of: impl Fn(&Second) -> Option<f64>) -> Self {
        let stride = seconds.len().div_ceil(SECONDS_MAX).max(1);
        let highest = |some: &[Second]| {
            let value = some.iter().filter_map(&of).reduce(f64::max)?;
            Some((some[some.len() - 1].at, value))
        };
        Self(seconds.chunks(stride).filter_map(highest).collect())
    }
}

/// The title of a chart of what clients experienced: where its last line was highest, and where that was.
fn experience_title(name: &str, lines: &[Line], values: &str) -> String {
    let highest = lines.last().and_then(|line| {
        let by_value = |one: &&(f64, f64), other: &&(f64, f64)| one.1.total_cmp(&other.1);
        line.points.iter().max_by(by_value)
    });
    match (highest, values) {
        (Some((at, most)), "seconds") => format!("{name}: up to {} s, at {at:.0} s", short(*most)),
        (Some((at, most)), "requests per second") => {
            format!("{name}: up to {}/s, at {at:.0} s", short(*most))
        }
        (Some((at, most)), _) => format!("{name}: up to {}, at {at:.0} s", short(*most)),
        (None, _) => format!("{name}: nothing at all"),
    }
}

/// A chart's title: where and when its series was highest.
fn peak_title(name: &str, lines: &[Line], is_rate: bool) -> String {
    let mut peak: Option<(f64, f64, &str)> = None;
    for line in lines {
        for (at, value) in &line.points {
            if peak.is_none_or(|(most, ..)| most < *value) {
                peak = Some((*value, *at, &line.label));
            }
        }
    }
    match peak {
        Some((most, at, host)) if 0.0 < most => {
            let unit = if name.contains("bytes") { " bytes" } else { "" };
            let per = if is_rate { "/s" } else { "" };
            let place = if 1 < lines.len() { format!(" on {host}") } else { String::new() };
            format!("{name}: up to {}{unit}{per}{place}, at {at:.0} s", short(most))
        }
        _ => format!("{name}: nothing at all"),
    }
}

/// How fast a total grew, over spans so long that there are not many more than `count`.
fn rates(samples: &[&Sample], times: &BTreeSet<SimTime>, count: usize) -> Vec<(f64, f64)> {
    let Some(first) = samples.first() else { return Vec::new() };
    // A series begins with its first count: a sample before, it was zero.
    let before = times.range(..first.at).next_back().map(|at| (*at, 0.0));
    let totals: Vec<(SimTime, f64)> =
        before.into_iter().chain(samples.iter().map(|sample| (sample.at, sample.value))).collect();
    let stride = totals.len().div_ceil(count).max(1);
    let kept: Vec<&(SimTime, f64)> = totals.iter().step_by(stride).collect();
    let rate = |pair: &[&(SimTime, f64)]| {
        let ((from, least), (to, most)) = (pair[0], pair[1]);
        (to.as_secs_f64(), (most - least) / (to.as_secs_f64() - from.as_secs_f64()))
    };
    kept.windows(2).map(rate).collect()
}

/// The values of a gauge; of several that fall together, the highest.
fn values(samples: &[&Sample], count: usize) -> Vec<(f64, f64)> {
    let stride = samples.len().div_ceil(count).max(1);
    let highest = |some: &[&Sample]| {
        let value = some.iter().map(|sample| sample.value).fold(f64::MIN, f64::max);
        (some[0].at.as_secs_f64(), value)
    };
    samples.chunks(stride).map(highest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sample;

    fn samples(values: &[(u64, f64)]) -> Vec<Sample> {
        let at = |second: u64| SimTime::from_nanos(second * 1_000_000_000);
        let of = |(second, value): &(u64, f64)| Sample {
            at: at(*second),
            host: None,
            name: "x",
            kind: SeriesKind::Total,
            value: *value,
        };
        values.iter().map(of).collect()
    }

    #[test]
    fn a_rate_is_what_a_total_gained_in_a_second() {
        let all = samples(&[(0, 0.0), (1, 0.0), (2, 10.0), (3, 30.0), (5, 30.0)]);
        let times: BTreeSet<SimTime> = all.iter().map(|sample| sample.at).collect();
        let late: Vec<&Sample> = all[2..].iter().collect();
        assert_eq!(rates(&late, &times, 100), [(2.0, 10.0), (3.0, 20.0), (5.0, 0.0)]);
        let all: Vec<&Sample> = all.iter().collect();
        assert_eq!(rates(&all, &times, 3), [(2.0, 5.0), (5.0, 20.0 / 3.0)], "thinned, it loses nothing");
        assert_eq!(values(&all, 3), [(0.0, 0.0), (2.0, 30.0), (5.0, 30.0)]);
        assert!(rates(&[], &times, 3).is_empty());
    }

    #[test]
    fn a_failing_run_leads_with_what_was_broken_and_shows_every_host_and_fault() {
        let mut run = sample::violated();
        run.hosts.push("<b>broker</b>-2".to_owned());
        let html = Report { run: &run, plan_file: None, difference: None }.html();
        let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is not in {html}"));
        let order = [
            "VIOLATED",
            "2 promises were broken, the first: the high watermark stays within the log",
            "wavetank replay &#39;scenarios/my clicks.toml&#39; --seed 7 --set &#39;faults=[]&#39;",
            "Broken at 12.500000s on broker-2",
            "1043 beyond 1042",
            "event 7 was acknowledged; nothing was read there",
            "a leader was fenced",
            "<svg",
            "In-sync sets shrank once and grew once; 1 of 1 topic partitions fell below min.insync.replicas",
            "clickstream: served: up to 500/s, at 3 s",
            "clickstream: latency: up to 1.5 s, at 3 s",
            "clickstream: acknowledged and not yet read: up to 3, at 3 s",
            "2 checks, 1 broken, 1 with nothing to look at",
            "systems.broker.topics.clicks.segment",
        ];
        assert!(order.map(place).is_sorted(), "{html}");
        for host in &run.hosts {
            place(&format!(">{}</text>", escaped(host)));
        }
        for fault in run.storm() {
            place(&format!("{}</title>", escaped(&fault.text)));
            place(&format!("<td>{}</td>", escaped(&fault.text)));
        }
        assert!(!html.contains("http") && !html.contains("<script") && !html.contains("<b>"), "{html}");
    }
}
