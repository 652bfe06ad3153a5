//! A comparison as a page: what differs and how to repeat it, all metrics in a forest, the pairs of each, and what was left out.

use std::fmt::{self, Write};

use crate::lab::compare::{Compared, Comparison, Contrast, Estimate, Finding};
use crate::report::compare::{
    CompareReport, TITLES, change, difference, equal, is_better, left_out, numbers, of_left_out, remark,
    runs, unit_of_difference,
};
use crate::report::html::pairs::{Pairs, Way, forest_axis, forest_row, forest_scale};
use crate::report::html::{Cell, Row, escaped, page, table};
use crate::report::text::with_unit;

/// How far a forest reaches at most, as a relative change: beyond, small changes could not be seen.
const CHANGE_MAX: f64 = 1.0;

/// How many dots a page names: each name costs as much as the dot.
const NAMES_MAX: usize = 1500;

/// How many runs without a value are named before the rest is only counted.
const LEFT_OUT_MAX: usize = 60;

impl CompareReport<'_> {
    /// The comparison as one HTML page, which fetches nothing.
    pub fn html(&self) -> String {
        let title = self.finding();
        page(&title, |out| {
            self.write_verdict(out, &title)?;
            self.write_sides(out)?;
            for contrast in &self.comparison.contrasts {
                self.write_forest(out, contrast)?;
                self.write_pairs(out, contrast)?;
                self.write_left_out(out, contrast)?;
                self.write_table(out, contrast)?;
            }
            writeln!(out, "<h2>How to read this</h2>")?;
            self.notes().iter().try_for_each(|note| writeln!(out, "<p>{}</p>", escaped(note)))
        })
    }

    fn write_verdict(&self, out: &mut String, title: &str) -> fmt::Result {
        let all = || self.comparison.contrasts.iter().flat_map(|contrast| &contrast.metrics);
        let ways: Vec<Option<bool>> =
            all().filter(|metric| metric.finding == Finding::Differs).map(is_better).collect();
        let (better, worse) = (ways.contains(&Some(true)), ways.contains(&Some(false)));
        let (shade, words) = match (better, worse, ways.is_empty()) {
            (true, false, _) => ("good", "BETTER"),
            (false, true, _) => ("bad", "WORSE"),
            (_, _, false) => ("odd", "DIFFERENT"),
            (_, _, true) => ("odd", "NO DIFFERENCE SHOWN"),
        };
        writeln!(out, "<span class=\"badge {shade}\">{words}</span>\n<h1>{}</h1>", escaped(title))?;
        writeln!(out, "<p>{}</p>", escaped(&self.about()))?;
        writeln!(out, "<pre class=\"command\">{}</pre>", escaped(&self.command()))?;
        writeln!(out, "<p class=\"quiet\">{}; {} pairs of runs.</p>", self.why(), self.comparison.pairs())
    }

    fn write_sides(&self, out: &mut String) -> fmt::Result {
        let Comparison { path, baseline, contrasts, .. } = self.comparison;
        let sides = std::iter::once(baseline).chain(contrasts.iter().map(|contrast| &contrast.side));
        let told: Vec<(String, String)> =
            sides.map(|side| (format!("{path}={}", side.value), runs(side))).collect();
        let rows = told.iter().map(|(setting, runs)| Row::new([Cell::Code(setting), Cell::Text(runs)]));
        table(
            out,
            "How the runs ended, and which share held, with its exact 95% interval",
            &["setting", "runs"],
            rows,
        )
    }

    /// All metrics on one axis of relative changes, those that differ first.
    fn write_forest(&self, out: &mut String, contrast: &Contrast) -> fmt::Result {
        let Comparison { path, baseline, .. } = self.comparison;
        let (value, told) = (&contrast.side.value, told(contrast));
        if told.is_empty() {
            return Ok(());
        }
        let differs = told.iter().filter(|(metric, _)| metric.finding == Finding::Differs).count();
        let verb = if differs == 1 { "differs" } else { "differ" };
        let title = format!(
            "{path}={value} against {}: {differs} of {} metrics {verb}",
            baseline.value,
            contrast.metrics.len()
        );
        writeln!(out, "<h2>{}</h2>\n<div class=\"key\">", escaped(&title))?;
        for way in [Way::Better, Way::Worse, Way::Otherwise, Way::Unsure] {
            let (mark, words) = (way.mark(11.0, 7.5), way.words());
            write!(out, "<span><svg viewBox=\"0 0 22 15\" aria-hidden=\"true\">{mark}</svg>{words}</span>")?;
        }
        writeln!(out, "<span>lines: 95% intervals</span></div>\n<div class=\"forest\">")?;
        let changes = told.iter().filter_map(|(_, estimate)| estimate.change).map(|(_, interval)| interval);
        let percent = |share: f64| 100.0 * share;
        let mut axis = forest_axis(changes, CHANGE_MAX);
        (axis.low.0, axis.high.0) = (percent(axis.low.0), percent(axis.high.0));
        for (metric, estimate) in &told {
            let relative = estimate.change.map(|(change, mut interval)| {
                (interval.low, interval.high) = (percent(interval.low), percent(interval.high));
                (percent(change), interval)
            });
            let (name, told) = (escaped(&metric.name), difference(metric, estimate));
            let sides = format!(
                "{} → {}",
                with_unit(estimate.baseline, &metric.unit),
                with_unit(estimate.other, &metric.unit)
            );
            write!(
                out,
                "<div><b>{name}</b><br><span class=\"quiet\">{}</span></div>\n<div>",
                escaped(&sides)
            )?;
            match relative {
                Some(_) => forest_row(
                    out,
                    &axis,
                    relative,
                    way(metric),
                    &format!("{}: {}", metric.name, change(estimate)),
                )?,
                None => write!(
                    out,
                    "<span class=\"quiet\">no relative change: the baseline is 0, or it is a share</span>"
                )?,
            }
            let change = change(estimate);
            let change =
                if change.is_empty() { String::new() } else { format!("<b>{}</b><br>", escaped(&change)) };
            writeln!(out, "</div>\n<div>{change}<span class=\"quiet\">{}</span></div>", escaped(&told))?;
        }
        write!(out, "<div></div><div>")?;
        forest_scale(out, &axis, &format!("change under {value}, % of the mean under {}", baseline.value))?;
        writeln!(out, "</div><div></div>\n</div>")
    }

    /// A chart of the pairs of each metric.
    fn write_pairs(&self, out: &mut String, contrast: &Contrast) -> fmt::Result {
        let told = told(contrast);
        if told.is_empty() {
            return Ok(());
        }
        let (value, baseline) = (&contrast.side.value, &self.comparison.baseline.value);
        let all: usize = self
            .comparison
            .contrasts
            .iter()
            .flat_map(|contrast| &contrast.metrics)
            .map(|m| m.pairs.len())
            .sum();
        let title = format!("Each dot is a seed: how much more under {value} than under {baseline}");
        writeln!(out, "<h2>{}</h2>\n<div class=\"charts\">", escaped(&title))?;
        for (metric, estimate) in told {
            let unit = unit_of_difference(&metric.unit);
            let values =
                if unit.is_empty() { "difference".to_owned() } else { format!("difference, {unit}") };
            let under = |number: f64| with_unit(number, &metric.unit);
            let pairs = metric.pairs.iter().map(|pair| {
                let name = format!("seed {}: {} → {}", pair.seed, under(pair.baseline), under(pair.other));
                (pair.difference(), name)
            });
            let title = format!("{}: {}", metric.name, verdict(metric, estimate));
            let mean = (estimate.difference, estimate.interval);
            let (pairs, way, named) = (pairs.collect(), way(metric), all <= NAMES_MAX);
            Pairs { title, values, pairs, mean, way, named }.write(out)?;
        }
        writeln!(out, "</div>")
    }

    fn write_left_out(&self, out: &mut String, contrast: &Contrast) -> fmt::Result {
        for (runs, metrics) in left_out(contrast) {
            let title = format!("Runs without a value: {}; their pairs are left out", runs.len());
            writeln!(out, "<h2>{title}</h2>\n<p>Of {}:</p>", escaped(&metrics.join(", ")))?;
            let named: Vec<String> = runs.iter().take(LEFT_OUT_MAX).map(of_left_out).collect();
            let more = runs.len().saturating_sub(LEFT_OUT_MAX);
            let more = if 0 < more { format!(", and {more} more") } else { String::new() };
            writeln!(out, "<pre class=\"wrong\">{}{more}</pre>", escaped(&named.join("\n")))?;
        }
        Ok(())
    }

    fn write_table(&self, out: &mut String, contrast: &Contrast) -> fmt::Result {
        let (value, baseline) = (&contrast.side.value, &self.comparison.baseline.value);
        for (finding, words) in TITLES {
            let mut title = words.to_owned();
            title[..1].make_ascii_uppercase();
            let metrics = || contrast.metrics.iter().filter(move |metric| metric.finding == finding);
            if matches!(finding, Finding::Equal | Finding::Untold) {
                let names: Vec<String> = metrics().map(equal).collect();
                let rows = names.iter().map(|name| Row::new([Cell::Text(name)]));
                table(out, title, &["metric"], rows)?;
                continue;
            }
            let told = metrics().filter_map(|metric| {
                let estimate = metric.estimate.as_ref()?;
                Some((metric, numbers(metric, estimate), remark(metric, estimate)))
            });
            let told: Vec<_> = told.collect();
            let rows = told.iter().map(|(metric, numbers, remark)| {
                let numbers = numbers.iter().map(|number| Cell::Number(number.clone()));
                let cells =
                    std::iter::once(Cell::Text(&metric.name)).chain(numbers).chain([Cell::Text(remark)]);
                Row::new(cells.collect::<Vec<_>>())
            });
            let (one, other) = (format!("#{baseline}"), format!("#{value}"));
            let heads = ["metric", &one, &other, "#difference", "#change", "#p", "#p Holm", "#pairs", ""];
            table(out, title, &heads, rows)?;
        }
        Ok(())
    }
}

/// The metrics that have something to show, the surest first.
fn told(contrast: &Contrast) -> Vec<(&Compared, &Estimate)> {
    let shown = contrast.metrics.iter().filter(|metric| metric.finding != Finding::Equal);
    let mut told: Vec<(&Compared, &Estimate)> =
        shown.filter_map(|metric| Some((metric, metric.estimate.as_ref()?))).collect();
    told.sort_by_key(|(metric, _)| metric.finding);
    told
}

fn way(metric: &Compared) -> Way {
    match (metric.finding, is_better(metric)) {
        (Finding::Differs, Some(true)) => Way::Better,
        (Finding::Differs, Some(false)) => Way::Worse,
        (Finding::Differs, None) => Way::Otherwise,
        _ => Way::Unsure,
    }
}

/// What a chart of pairs shows, in words.
fn verdict(metric: &Compared, estimate: &Estimate) -> String {
    let size = estimate.change.map_or_else(|| difference(metric, estimate), |_| change(estimate));
    match metric.finding {
        Finding::Differs => match is_better(metric) {
            Some(true) => format!("better, {size}"),
            Some(false) => format!("worse, {size}"),
            None => size,
        },
        Finding::TooFew => format!("too few pairs, {size}"),
        Finding::Suspected => format!("suspected, {size}"),
        _ => format!("not sure, {size}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::report::compare::tests::with_report;

    #[test]
    fn the_finding_and_its_command_come_first_and_every_pair_is_drawn() {
        let html = with_report(13, |report| report.html());
        let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is not in {html}"));
        let order = [
            "BETTER",
            "<h1>systems.broker.brokers=5 against 3: 1 of 4 metrics differs; better: clicks &lt;latency&gt; p99</h1>",
            "wavetank compare scenarios/a.toml --by systems.broker.brokers=3,5 --seeds 1..14 --set acts.stir=20s",
            "12 held, 1 violated",
            "against 3: 1 of 4 metrics differs</h2>",
            "<b>clicks &lt;latency&gt; p99</b><br><span class=\"quiet\">0.733 s → 0.683 s</span>",
            "change under 5, % of the mean under 3",
            "clicks &lt;latency&gt; p99: better, -6.82%",
            "seed 13: 1.3 s → 1.25 s",
            "Runs without a value: 1",
            "seed 3 under 5 (violated)",
            "<td>messages</td>",
            "4 metrics were tested",
        ];
        assert!(order.map(place).is_sorted(), "{html}");
        assert_eq!(html.matches("class=\"pair\"").count(), 12 + 12 + 13);
        assert!(!html.contains("http") && !html.contains("<script") && !html.contains("<latency"), "{html}");
    }

    #[test]
    fn few_pairs_are_no_difference() {
        let html = with_report(1, |report| report.html());
        assert!(html.contains("NO DIFFERENCE SHOWN") && html.contains("nothing could be compared"), "{html}");
    }
}
