//! A comparison of strategies as a page: what was found and how to repeat it, regret over time, errors, allocation, and all numbers.

use std::fmt::{self, Write};

use crate::lab::strategies::{Found, Mean};
use crate::lab::trust::Off;
use crate::report::StrategiesReport;
use crate::report::html::chart::{Line, LineChart};
use crate::report::html::pairs::{Way, forest_axis, forest_row, forest_scale};
use crate::report::html::{Cell, Row, escaped, page, table};
use crate::report::strategies::{mean, points, rate};
use crate::report::text::{grouped, significant};
use crate::statistics::Interval;

/// How many strategies a chart names, and how many arms.
const NAMED_MAX: usize = 14;

impl StrategiesReport<'_> {
    /// The comparison as one HTML page, which fetches nothing.
    pub fn html(&self) -> String {
        let title = self.finding();
        page(&title, |out| {
            writeln!(out, "<span class=\"badge odd\">STRATEGIES</span>\n<h1>{}</h1>", escaped(&title))?;
            writeln!(out, "<p>{}</p>\n<p>{}</p>", escaped(&self.study.title), escaped(&self.about()))?;
            writeln!(out, "<pre class=\"command\">{}</pre>", escaped(&self.command()))?;
            let visits = grouped(self.findings.visits);
            writeln!(out, "<p class=\"quiet\">{visits} visits, each strategy on the same streams.</p>")?;
            if self.findings.log.is_some() {
                self.write_earned(out)?;
                self.write_regret(out)?;
            } else {
                self.write_errors(out)?;
                if !self.is_a_a() {
                    self.write_regret(out)?;
                    self.write_against_first(out)?;
                }
                self.write_estimates(out)?;
            }
            self.write_allocation(out)?;
            for told in self.tables() {
                let mut title = told.title.clone();
                title[..1].make_ascii_uppercase();
                // Words stand to the left, numbers to the right.
                let is_words = |column: usize| {
                    ["controls", "chosen", "shown at the end", "weights"].contains(&told.heads[column])
                };
                let head = |(index, head): (usize, &&str)| {
                    if index == 0 || is_words(index) { (*head).to_owned() } else { format!("#{head}") }
                };
                let heads: Vec<String> = told.heads.iter().enumerate().map(head).collect();
                let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
                let rows = told.rows.iter().map(|row| {
                    let cells = row.iter().enumerate().map(|(column, text)| {
                        if column == 0 || is_words(column) {
                            Cell::Text(text)
                        } else {
                            Cell::Number(text.clone())
                        }
                    });
                    Row::new(cells.collect::<Vec<_>>())
                });
                table(out, title, &heads, rows)?;
            }
            writeln!(out, "<h2>How to read this</h2>")?;
            self.notes().iter().try_for_each(|note| writeln!(out, "<p>{}</p>", escaped(note)))
        })
    }

    /// How often each errs: false alarms where arms are alike, wrong choices where they are not.
    fn write_errors(&self, out: &mut String) -> fmt::Result {
        let alike = self.is_a_a();
        let of = |found: &Found| found.false_alarms.filter(|_| alike).or(found.right);
        let (title, words) = if alike {
            (
                "Arms are alike: whoever finds a difference is wrong. Which error each rule controls, and how often it errs",
                "streams with a false alarm, %",
            )
        } else {
            (
                "Which error each rule controls, and how often it ends with the best arm",
                "streams that end with the best arm, %",
            )
        };
        let scaled = |interval: Interval| Interval { low: 100.0 * interval.low, high: 100.0 * interval.high };
        let found = || self.findings.strategies.iter();
        let axis = forest_axis(found().filter_map(of).map(|share| scaled(share.interval)), 100.0);
        writeln!(out, "<h2>{title}</h2>\n<div class=\"forest\">")?;
        for found in found() {
            let Some(share) = of(found) else { continue };
            let told = rate(&share);
            let row = Some((100.0 * share.value(), scaled(share.interval)));
            write_name(out, &found.name, &found.controls)?;
            forest_row(out, &axis, row, Way::Otherwise, &format!("{}: {told}", found.name))?;
            let when = format!("{} of {} streams", grouped(share.happened), grouped(share.of));
            write_value(out, &told, &when)?;
        }
        write!(out, "<div></div><div>")?;
        forest_scale(out, &axis, words)?;
        writeln!(out, "</div><div></div>\n</div>")
    }

    /// What each got from the log, less what the random policy got.
    fn write_earned(&self, out: &mut String) -> fmt::Result {
        let earned = || self.findings.strategies.iter().filter_map(|found| Some((found, found.earned?)));
        let hundredfold = |mean: Mean| {
            let interval = Interval { low: 100.0 * mean.interval.low, high: 100.0 * mean.interval.high };
            (100.0 * mean.value, interval)
        };
        writeln!(
            out,
            "<h2>Clicks beyond those of the random policy, in the same log</h2>\n<div class=\"forest\">"
        )?;
        let axis =
            forest_axis(earned().map(|(_, earned)| hundredfold(earned.against_random).1), f64::INFINITY);
        for (found, earned) in earned() {
            let way = match earned.against_random.interval {
                Interval { low, .. } if 0.0 < low => Way::Better,
                Interval { high, .. } if high < 0.0 => Way::Worse,
                _ => Way::Unsure,
            };
            let told = points(earned.against_random);
            write_name(out, &found.name, &format!("{}% clicked", points(earned.rate)))?;
            let row = Some(hundredfold(earned.against_random));
            forest_row(out, &axis, row, way, &format!("{}: {told}", found.name))?;
            write_value(out, &told, &format!("{} impressions of a pass matched", mean(&earned.matched)))?;
        }
        write!(out, "<div></div><div>")?;
        forest_scale(out, &axis, "clicks in a hundred impressions, beyond those of the random policy")?;
        writeln!(out, "</div><div></div>\n</div>")
    }

    /// Regret over time: all means in one chart, and each strategy with its band.
    fn write_regret(&self, out: &mut String) -> fmt::Result {
        let found = &self.findings.strategies;
        let least = self.who_loses_least();
        let title = if self.findings.log.is_some() {
            format!("By the log's own rates {least}; bands hold nine of ten orders")
        } else {
            format!("{least}; bands hold nine of ten streams")
        };
        writeln!(out, "<h2>{}</h2>\n<div class=\"charts\">", escaped(&title))?;
        let all = found.iter().map(|found| self.regret_line(found, false));
        self.over_days("Mean regret of all strategies".to_owned(), "successes lost", None, all.collect())
            .write(out)?;
        let tops = found.iter().flat_map(|found| &found.regret).map(|spread| spread.band.high);
        let high = tops.fold(0.0, f64::max);
        for found in found {
            let told = mean(&found.final_regret);
            let title = format!("{}: {told}", found.name);
            let lines = vec![Line { label: "mean".to_owned(), ..self.regret_line(found, true) }];
            self.over_days(title, "successes lost", Some(high), lines).write(out)?;
        }
        writeln!(out, "</div>")
    }

    fn regret_line(&self, found: &Found, band: bool) -> Line {
        let days = || std::iter::once(0.0).chain(self.findings.days.iter().copied());
        let means = std::iter::once(0.0).chain(found.regret.iter().map(|spread| spread.mean.value));
        let bands = std::iter::once((0.0, 0.0))
            .chain(found.regret.iter().map(|spread| (spread.band.low, spread.band.high)));
        Line {
            label: found.name.clone(),
            points: days().zip(means).collect(),
            band: days().zip(bands).filter(|_| band).map(|(day, (low, high))| (day, low, high)).collect(),
        }
    }

    /// Paired differences of regret.
    fn write_against_first(&self, out: &mut String) -> fmt::Result {
        let mut others = self
            .findings
            .strategies
            .iter()
            .filter_map(|found| Some((found, found.against_first?)))
            .peekable();
        if others.peek().is_none() {
            return Ok(());
        }
        let others: Vec<(&Found, Mean)> = others.collect();
        let first = &self.findings.strategies[0];
        let title = format!("Regret against {}, stream by stream", first.name);
        writeln!(out, "<h2>{}</h2>\n<div class=\"key\">", escaped(&title))?;
        for way in [Way::Better, Way::Worse, Way::Unsure] {
            let (mark, words) = (way.mark(11.0, 7.5), way.words());
            write!(out, "<span><svg viewBox=\"0 0 22 15\" aria-hidden=\"true\">{mark}</svg>{words}</span>")?;
        }
        writeln!(out, "<span>lines: 95% intervals</span></div>\n<div class=\"forest\">")?;
        let axis = forest_axis(others.iter().map(|(_, mean)| mean.interval), f64::INFINITY);
        for (found, against) in others {
            let way = match against.interval {
                Interval { high, .. } if high < 0.0 => Way::Better,
                Interval { low, .. } if 0.0 < low => Way::Worse,
                _ => Way::Unsure,
            };
            let told = mean(&against);
            write_name(out, &found.name, &format!("regret {}", mean(&found.final_regret)))?;
            forest_row(
                out,
                &axis,
                Some((against.value, against.interval)),
                way,
                &format!("{}: {told}", found.name),
            )?;
            let share = 100.0 * against.value / first.final_regret.value;
            let change =
                if share.is_finite() { format!("{share:+.0}% of the first's mean") } else { String::new() };
            write_value(out, &told, &change)?;
        }
        write!(out, "<div></div><div>")?;
        forest_scale(out, &axis, "successes lost beyond those of the first")?;
        writeln!(out, "</div><div></div>\n</div>")
    }

    /// How far estimates are off.
    fn write_estimates(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<(&Found, [(&str, Off); 2])> = self
            .estimates()
            .map(|(found, of)| (found, [("pooled", of.pooled), ("by epoch", of.by_epoch)]))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let hundredfold = |mean: Mean| {
            let interval = Interval { low: 100.0 * mean.interval.low, high: 100.0 * mean.interval.high };
            (100.0 * mean.value, interval)
        };
        let is_biased = |off: &Off| !off.bias.interval.contains(0.0);
        let [pooled, by_epoch] =
            [0, 1].map(|which| rows.iter().filter(|(_, of)| is_biased(&of[which].1)).count());
        let title = format!(
            "Estimates of {} are off by more than chance under {pooled} of {} strategies if all visits are pooled, under {by_epoch} by \
             epoch",
            self.estimated(),
            rows.len()
        );
        writeln!(out, "<h2>{}</h2>\n<div class=\"key\">", escaped(&title))?;
        for (way, words) in
            [(Way::Otherwise, "off by more than chance"), (Way::Unsure, "by chance, if at all")]
        {
            let mark = way.mark(11.0, 7.5);
            write!(out, "<span><svg viewBox=\"0 0 22 15\" aria-hidden=\"true\">{mark}</svg>{words}</span>")?;
        }
        writeln!(out, "<span>lines: 95% intervals</span></div>\n<div class=\"forest\">")?;
        let all = rows.iter().flat_map(|(_, of)| of);
        let axis = forest_axis(all.map(|(_, off)| hundredfold(off.bias).1), 100.0);
        for (found, of) in &rows {
            for (name, off) in of {
                let way = if is_biased(off) { Way::Otherwise } else { Way::Unsure };
                let told = points(off.bias);
                write_name(out, &found.name, name)?;
                let row = Some(hundredfold(off.bias));
                forest_row(out, &axis, row, way, &format!("{}, {name}: {told}", found.name))?;
                let coverage = off.coverage.as_ref().map(rate);
                let coverage = coverage.map_or(String::new(), |rate| format!("coverage {rate}"));
                write_value(out, &told, &coverage)?;
            }
        }
        write!(out, "<div></div><div>")?;
        forest_scale(out, &axis, "mean of estimate less truth, in points")?;
        writeln!(out, "</div><div></div>\n</div>")
    }

    /// Which arms are shown when.
    fn write_allocation(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "<h2>Which arm visits are shown, on average over streams, with 95% intervals</h2>\n<div class=\"charts\">"
        )?;
        for found in &self.findings.strategies {
            let last = found.allocation.last().map_or(&[][..], Vec::as_slice);
            let most = (0..last.len())
                .max_by(|one, other| last[*one].value.total_cmp(&last[*other].value))
                .unwrap_or(0);
            let share = last.get(most).map_or(String::new(), |share| format!("{}%", points(*share)));
            let days = found.days.map(|day| significant(day.value));
            let title = format!(
                "{}: at the end {share} see {}; decided on day {} ({} to {})",
                found.name, self.findings.arms[most], days[1], days[0], days[2]
            );
            let line = |(arm, name): (usize, &String)| {
                let shares = || self.findings.days.iter().zip(&found.allocation);
                let points = shares().map(|(day, shares)| (*day, 100.0 * shares[arm].value));
                let band = shares().map(|(day, shares)| {
                    let Interval { low, high } = shares[arm].interval;
                    (*day, 100.0 * low.max(0.0), 100.0 * high.min(1.0))
                });
                Line { label: name.clone(), points: points.collect(), band: band.collect() }
            };
            let lines = self.findings.arms.iter().enumerate().map(line).collect();
            self.over_days(title, "% of visits", Some(100.0), lines).write(out)?;
        }
        writeln!(out, "</div>")
    }

    fn over_days(
        &self,
        title: String,
        values: &str,
        high: Option<f64>,
        lines: Vec<Line>,
    ) -> LineChart<'static> {
        let (values, end) = (values.to_owned(), f64::from(self.study.visitors.days()));
        LineChart {
            title,
            values,
            time: "days",
            end,
            high,
            faults: &[],
            violations: &[],
            lines,
            named_max: NAMED_MAX,
        }
    }
}

/// The left cell of a row of a forest, and the beginning of the next.
pub(super) fn write_name(out: &mut String, name: &str, more: &str) -> fmt::Result {
    let (name, more) = (escaped(name), escaped(more));
    write!(out, "<div><b>{name}</b><br><span class=\"quiet\">{more}</span></div>\n<div>")
}

/// The right cell of a row of a forest, and the end of the one before.
pub(super) fn write_value(out: &mut String, value: &str, more: &str) -> fmt::Result {
    writeln!(
        out,
        "</div>\n<div><b>{}</b><br><span class=\"quiet\">{}</span></div>",
        escaped(value),
        escaped(more)
    )
}
