//! A sweep as a page: its findings and how to repeat them, then what was tried and what was not.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::lab::sweep::{Estimate, Finding, Outcome, PValues, SiteRuns, Summary};
use crate::report::cells::{Grid, distance, heading, heading_of_spread, words, words_of_spread};
use crate::report::command::command_at;
use crate::report::html::chart::histogram;
use crate::report::html::{Cell, Row, escaped, page, table};
use crate::report::sweep::{SweepReport, claim};
use crate::report::text::{grouped, with_unit};

/// From which share of the runs on a cell is so dark that its text is white.
const DARK: f64 = 0.55;

impl SweepReport<'_> {
    /// The sweep as one HTML page, which fetches nothing. `outcomes` are the runs that the summary was made of.
    pub fn html(&self, outcomes: &[Outcome]) -> String {
        let title = self.finding();
        page(&title, |out| {
            self.write_verdict(out, &title)?;
            self.summary.refuted().try_for_each(|refuted| self.write_refuted_section(out, refuted))?;
            self.summary.findings.iter().try_for_each(|finding| self.write_finding_section(out, finding))?;
            self.write_cells(out)?;
            self.write_matrix(out)?;
            self.write_never(out)?;
            self.write_site_table(out)?;
            self.write_histograms(out, outcomes)?;
            self.write_ended(out)
        })
    }

    /// How the sweep came out, as a sentence.
    fn finding(&self) -> String {
        let runs = grouped(self.summary.runs as u64);
        match self.summary.wrongs() {
            0 if self.summary.runs == 0 => "No run has ended".to_owned(),
            0 => format!("Every promise was kept in {runs} runs"),
            1 => format!("1 finding in {runs} runs"),
            many => format!("{many} findings in {runs} runs"),
        }
    }

    fn write_verdict(&self, out: &mut String, title: &str) -> fmt::Result {
        let held = self.summary.wrongs() == 0;
        let (shade, words) = match (held, self.summary.runs) {
            (true, 0) => ("odd", "EMPTY"),
            (true, _) => ("good", "HELD"),
            (false, _) => ("bad", "FINDINGS"),
        };
        writeln!(out, "<span class=\"badge {shade}\">{words}</span>\n<h1>{}</h1>", escaped(title))?;
        let files: Vec<String> = self.plan.files.iter().map(|file| file.display().to_string()).collect();
        let mut about = format!("{}, seeds {} to {}", files.join(", "), self.plan.first, self.plan.end - 1);
        self.plan.set.iter().for_each(|set| about.push_str(&format!(", {set}")));
        for axis in &self.plan.axes {
            about.push_str(&format!(", {} of {}", axis.path, axis.values.join(" ")));
        }
        writeln!(out, "<p>{}</p>", escaped(&about))?;
        writeln!(out, "<pre class=\"command\">{}</pre>", escaped(&self.command()))?;
        let Summary { runs, rechecked, virtual_seconds, job_seconds, .. } = self.summary;
        let (held, runs) = (grouped(self.held() as u64), grouped(*runs as u64));
        writeln!(
            out,
            "<p class=\"quiet\">{}: {held} of {runs} held, {rechecked} run twice. {virtual_seconds:.0} s of virtual time in \
             {job_seconds:.0} s of all jobs.</p>",
            self.why()
        )
    }

    fn write_refuted_section(&self, out: &mut String, refuted: &PValues) -> fmt::Result {
        writeln!(
            out,
            "<h2>refuted: {}</h2>\n<p>{}.</p>",
            escaped(&claim(refuted)),
            escaped(&self.sample(refuted))
        )?;
        writeln!(out, "<pre class=\"command\">{}</pre>", escaped(&self.repeat(refuted)))?;
        let found = distance(&refuted.spread);
        writeln!(out, "<pre class=\"wrong\">{found}; refuted below 1e-9</pre>")
    }

    fn write_finding_section(&self, out: &mut String, finding: &Finding) -> fmt::Result {
        let trouble = &finding.trouble;
        let (count, runs) = (grouped(finding.count as u64), grouped(self.summary.runs as u64));
        let (seed, print) = (finding.first.seed, escaped(&finding.fingerprint));
        writeln!(out, "<h2>{}</h2>", escaped(&trouble.to_string()))?;
        writeln!(
            out,
            "<p>In {count} of {runs} runs, first at seed {seed}; fingerprint <code>{print}</code>.</p>"
        )?;
        for verb in ["replay", "shrink"] {
            writeln!(out, "<pre class=\"command\">{}</pre>", escaped(&command_at(verb, &finding.first)))?;
        }
        writeln!(out, "<pre class=\"wrong\">{}</pre>", escaped(&trouble.example))
    }

    /// The figures that were asked for, by scenario file and axis.
    fn write_cells(&self, out: &mut String) -> fmt::Result {
        let Grid { rows, columns } = Grid::of(self.plan);
        let heads: Vec<String> = columns.iter().map(|column| format!("#{column}")).collect();
        let heads: Vec<&str> = ["runs"].into_iter().chain(heads.iter().map(String::as_str)).collect();
        for figure in self.told() {
            let rows = |words: fn(Option<&Estimate>) -> String| {
                rows.iter().zip(figure.cells.chunks(columns.len())).map(move |(row, cells)| {
                    let cells = cells.iter().map(|cell| Cell::Number(words(cell.as_ref())));
                    Row::new([Cell::Text(row)].into_iter().chain(cells).collect::<Vec<_>>())
                })
            };
            table(out, heading(figure), &heads, rows(words))?;
            if let Some(heading) = heading_of_spread(figure) {
                table(out, heading, &heads, rows(words_of_spread))?;
            }
        }
        match self.spreads() {
            Some(spreads) => writeln!(out, "<p class=\"quiet\">P-values: {}.</p>", escaped(&spreads)),
            None => Ok(()),
        }
    }

    /// Which events happened under which faults: the darker, the more runs; a hatched cell is what no run has tried.
    fn write_matrix(&self, out: &mut String) -> fmt::Result {
        let Summary { matrix, events, runs, .. } = self.summary;
        if matrix.is_empty() || events.is_empty() {
            return Ok(());
        }
        let met: usize = matrix.values().map(|met| met.values().filter(|count| 0 < **count).count()).sum();
        let cells = matrix.len() * events.len();
        let title = format!("{met} of {cells} pairs of fault and event were met");
        writeln!(out, "<h2>{title}</h2>")?;
        writeln!(
            out,
            "<p class=\"quiet\">In how many of {} runs an event happened under a fault, or within 5 s of its end. The darker, the \
             more; hatched: in none.</p>",
            grouped(*runs as u64)
        )?;
        writeln!(out, "<div class=\"scroll\"><table class=\"matrix\">\n<thead><tr><th>event</th>")?;
        matrix.keys().try_for_each(|fault| write!(out, "<th>{}</th>", escaped(fault)))?;
        writeln!(out, "</tr></thead>\n<tbody>")?;
        for event in events.keys() {
            write!(out, "<tr><th>{}</th>", escaped(event))?;
            for met in matrix.values() {
                match met.get(event).copied().unwrap_or(0) {
                    0 => write!(out, "<td class=\"c none\">·</td>")?,
                    count => {
                        // A pair that was met once must not look like one that never was.
                        let share = 0.1 + 0.9 * count as f64 / (*runs).max(1) as f64;
                        let text = if DARK < share { ";color:#fff" } else { "" };
                        write!(
                            out,
                            "<td class=\"c\" style=\"background:rgba(0,90,142,{share:.2}){text}\">{}</td>",
                            grouped(count as u64)
                        )?;
                    }
                }
            }
            writeln!(out, "</tr>")?;
        }
        writeln!(out, "</tbody></table></div>")
    }

    fn write_never(&self, out: &mut String) -> fmt::Result {
        let (never, possible) = (self.never(), self.possible.len());
        match never.len() {
            0 => writeln!(out, "<h2>All {possible} events happened</h2>"),
            count => {
                let title = format!("{count} of {possible} events never happened");
                table(out, title, &["event"], never.into_iter().map(|event| Row::new([Cell::Text(event)])))
            }
        }
    }

    /// In how many runs each cooperative point came how far, the rarest first.
    fn write_site_table(&self, out: &mut String) -> fmt::Result {
        if self.summary.sites.is_empty() {
            return Ok(());
        }
        let sites = self.sites();
        let fired = sites.iter().filter(|(_, runs)| 0 < runs.fired).count();
        let title = format!("{fired} of {} cooperative points fired, the rarest first", sites.len());
        let number = |count: usize| Cell::Number(grouped(count as u64));
        let rows = sites.iter().map(|(name, SiteRuns { reached, live, fired })| {
            Row::new([number(*reached), number(*live), number(*fired), Cell::Text(name)])
        });
        table(out, title, &["#runs that reached it", "#live in", "#fired in", "site"], rows)
    }

    fn write_histograms(&self, out: &mut String, outcomes: &[Outcome]) -> fmt::Result {
        if outcomes.is_empty() {
            return Ok(());
        }
        let virtual_seconds: Vec<f64> = outcomes.iter().map(|outcome| outcome.virtual_seconds).collect();
        let wall_seconds: Vec<f64> = outcomes.iter().map(|outcome| outcome.wall_seconds).collect();
        writeln!(
            out,
            "<h2>How long the {} runs took</h2>\n<div class=\"charts\">",
            grouped(outcomes.len() as u64)
        )?;
        for (name, mut of) in [("virtual", virtual_seconds), ("real", wall_seconds)] {
            let (middle, most) = middle_and_most(&mut of);
            let title =
                format!("Half of the runs took up to {middle:.1} s of {name} time, the longest {most:.1} s");
            histogram(out, &title, &format!("{name} time of a run, s"), &of)?;
        }
        writeln!(out, "</div>")?;
        self.write_figures(out, outcomes)
    }

    /// How the figures of the runs are distributed.
    fn write_figures(&self, out: &mut String, outcomes: &[Outcome]) -> fmt::Result {
        let mut figures: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
        for figure in outcomes.iter().flat_map(|outcome| &outcome.figures) {
            let values = figures.entry((&figure.name, &figure.unit)).or_default();
            values.extend(figure.value);
        }
        figures.retain(|_, values| values.iter().any(|value| 0.0 < *value));
        if figures.is_empty() {
            return Ok(());
        }
        writeln!(out, "<h2>How the runs went, as far as they have figures</h2>\n<div class=\"charts\">")?;
        for ((name, unit), mut of) in figures {
            let (runs, (middle, most)) = (of.len(), middle_and_most(&mut of));
            let [middle, most] = [middle, most].map(|value| with_unit(value, unit));
            let title = format!("{name}: up to {middle} in half of {runs} runs, {most} at most");
            let values = if unit.is_empty() { name.to_owned() } else { format!("{name}, {unit}") };
            histogram(out, &title, &values, &of)?;
        }
        writeln!(out, "</div>")
    }

    fn write_ended(&self, out: &mut String) -> fmt::Result {
        let rows = self.summary.ended.iter().map(|(ended, count)| {
            Row::new([Cell::Text(ended.words()), Cell::Number(grouped(*count as u64))])
        });
        table(out, "How the runs ended", &["end", "#runs"], rows)?;
        let mut events: Vec<(&String, &usize)> = self.summary.events.iter().collect();
        events.sort_by_key(|(event, count)| (**count, *event));
        let rows = events
            .into_iter()
            .map(|(event, count)| Row::new([Cell::Number(grouped(*count as u64)), Cell::Text(event)]));
        table(out, "In how many runs each event happened, the rarest first", &["#runs", "event"], rows)
    }
}

/// The median and the largest of some values, which are sorted on the way.
fn middle_and_most(of: &mut [f64]) -> (f64, f64) {
    of.sort_by(f64::total_cmp);
    let at = |index: usize| of.get(index).copied().unwrap_or(0.0);
    (at(of.len().saturating_sub(1) / 2), at(of.len().saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sweep::sample::outcome;
    use crate::lab::sweep::{Ended, Plan, Stop, figures};
    use crate::systems::sites;

    fn html(outcomes: &[Outcome]) -> String {
        let plan = Plan {
            files: vec!["scenarios/a.toml".into()],
            set: Vec::new(),
            axes: Vec::new(),
            first: 1,
            end: 10,
            shard: (1, 1),
        };
        let summary = Summary::of(outcomes);
        let possible = ["a leader fell", "a leader rose"];
        let sites = [sites::BATCH, sites::CUT, sites::PROPOSAL];
        let stop = Stop::Complete;
        let (figures, wanted) = (&figures(&plan, &[], outcomes), &["latency".to_owned()]);
        SweepReport {
            plan: &plan,
            summary: &summary,
            stop,
            possible: &possible,
            sites: &sites,
            figures,
            wanted,
        }
        .html(outcomes)
    }

    #[test]
    fn findings_come_first_and_empty_cells_are_seen() {
        let html = html(&[outcome(1, None), outcome(2, Some((Ended::Violated, "no <event> is lost")))]);
        let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is not in {html}"));
        let order = [
            "FINDINGS",
            "<h1>1 finding in 2 runs</h1>",
            "wavetank sweep scenarios/a.toml --seeds 1..10",
            "violated: no &lt;event&gt; is lost",
            "wavetank replay scenarios/a.toml --seed 2",
            "seen at seed 2",
            "<h2>latency, s (2 runs each)</h2>",
            "<td>a</td><td class=\"n\">",
            "1 of 2 pairs of fault and event were met",
            "<th>crash</th><th>pause</th>",
            "<td class=\"c none\">·</td>",
            "1 of 2 events never happened",
            "a leader rose",
            "1 of 3 cooperative points fired, the rarest first",
            "<td>broker: before a log is cut</td>",
            "<td class=\"n\">1</td><td>broker: before a proposal</td>",
            "Half of the runs took up to 60.0 s of virtual time",
            "latency: up to 1 s in half of 2 runs, 2 s at most",
        ];
        assert!(order.map(place).is_sorted(), "{html}");
        assert!(!html.contains("http") && !html.contains("<script"), "{html}");
    }

    #[test]
    fn a_sweep_without_findings_says_so_in_its_title() {
        let html = html(&[outcome(1, None), outcome(3, None)]);
        assert!(html.contains("<h1>Every promise was kept in 2 runs</h1>"), "{html}");
    }

    #[test]
    fn the_middle_run_is_the_median() {
        assert_eq!(middle_and_most(&mut [3.0, 1.0, 2.0]), (2.0, 3.0));
        assert_eq!(middle_and_most(&mut []), (0.0, 0.0));
    }
}
