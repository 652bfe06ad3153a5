//! A comparison of strategies without and with platforms as a page: what each platform costs each strategy, and all numbers.

use std::fmt::{self, Write};

use crate::lab::fidelities::{Estimate, OF_REGRET};
use crate::report::FidelitiesReport;
use crate::report::fidelities::{cells, name, words};
use crate::report::html::pairs::{Way, forest_axis, forest_row, forest_scale};
use crate::report::html::strategies::{write_name, write_value};
use crate::report::html::{Cell, Row, escaped, page, table};

impl FidelitiesReport<'_> {
    /// The comparison as one HTML page, which fetches nothing.
    pub fn html(&self) -> String {
        let title = self.finding();
        page(&title, |out| {
            writeln!(out, "<span class=\"badge odd\">STRATEGIES</span>\n<h1>{}</h1>", escaped(&title))?;
            writeln!(out, "<p>{}</p>\n<p>{}</p>", escaped(&self.study.title), escaped(&self.about()))?;
            writeln!(out, "<pre class=\"command\">{}</pre>", escaped(&self.command()))?;
            for platform in self.platforms() {
                writeln!(out, "<p class=\"quiet\">{}</p>", escaped(&platform))?;
            }
            self.write_regret(out)?;
            let heads = self.heads();
            let numbers = heads[1..].iter().map(|head| format!("#{head}"));
            let heads: Vec<String> = [heads[0].clone()].into_iter().chain(numbers).collect();
            let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
            for found in &self.findings.strategies {
                let rows: Vec<Vec<String>> = cells(found).collect();
                let rows = rows.iter().map(|row| {
                    let numbers = row[1..].iter().map(|text| Cell::Number(text.clone()));
                    Row::new([Cell::Text(&row[0])].into_iter().chain(numbers).collect::<Vec<_>>())
                });
                table(out, &found.name, &heads, rows)?;
            }
            writeln!(out, "<h2>How to read this</h2>")?;
            self.notes().iter().try_for_each(|note| writeln!(out, "<p>{}</p>", escaped(note)))
        })
    }

    /// What each platform costs each strategy.
    fn write_regret(&self, out: &mut String) -> fmt::Result {
        let all = self.findings.strategies.iter().flat_map(|found| {
            let on = self.carried.iter().zip(&found.rows[OF_REGRET].platforms).zip(&found.sure);
            on.filter_map(move |((carried, on), sure)| {
                Some((found, carried, *sure, on.value?, on.difference?))
            })
        });
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            return Ok(());
        }
        writeln!(out, "<h2>Regret on a platform against none, seed by seed</h2>\n<div class=\"key\">")?;
        for way in [Way::Better, Way::Worse, Way::Unsure] {
            let (mark, words) = (way.mark(11.0, 7.5), way.words());
            write!(out, "<span><svg viewBox=\"0 0 22 15\" aria-hidden=\"true\">{mark}</svg>{words}</span>")?;
        }
        writeln!(
            out,
            "<span>lines: 95% intervals; colours allow for the number of them</span></div>\n<div class=\"forest\">"
        )?;
        let axis = forest_axis(all.iter().map(|(.., difference)| difference.interval), f64::INFINITY);
        for (found, carried, sure, value, difference) in all {
            let Estimate { value: more, interval, .. } = difference;
            let way = match (sure, more < 0.0) {
                (true, true) => Way::Better,
                (true, false) => Way::Worse,
                (false, _) => Way::Unsure,
            };
            let subject = format!("{} on {}", found.name, name(carried));
            write_name(out, &subject, &format!("regret {}", words(&value)))?;
            forest_row(
                out,
                &axis,
                Some((more, interval)),
                way,
                &format!("{subject}: {}", words(&difference)),
            )?;
            write_value(out, &words(&difference), "")?;
        }
        write!(out, "<div></div><div>")?;
        forest_scale(
            out,
            &axis,
            "points of success lost on each visit, beyond those lost without a platform",
        )?;
        writeln!(out, "</div><div></div>\n</div>")
    }
}
