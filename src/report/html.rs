//! Reports as HTML: one page that stands alone, without scripts and without anything fetched from elsewhere, so that it can be
//! attached to an issue and read years later. Every name passes through [`escaped`] on its way into a page.

mod chart;
mod compare;
mod fidelities;
mod in_sync;
mod pairs;
mod run;
mod strategies;
mod sweep;
mod timeline;

use std::fmt::{self, Display, Write};

/// What every page looks like. The colours are those of Okabe and Ito, which colour-blind readers tell apart.
const STYLE: &str = "\
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.25;margin:.3rem 0}
h2{font-size:1.15rem;line-height:1.3;margin:2.2rem 0 .5rem}
h3{font-size:.95rem;line-height:1.3;margin:0 0 .2rem}
h1,h2,h3{overflow-wrap:anywhere}
p{margin:.4rem 0}
.badge{display:inline-block;padding:.1rem .6rem;border-radius:.3rem;color:#fff;font-weight:600}
.good{background:#006d4e}.bad{background:#b34700}.odd{background:#595959}
.quiet{color:#595959}
pre,code{font:.85rem/1.45 ui-monospace,monospace}
pre{background:#f4f4f4;border-left:.25rem solid #0072b2;padding:.5rem .7rem;overflow-x:auto;margin:.4rem 0}
pre.wrong{border-color:#d55e00}
pre.wrong,pre.command{white-space:pre-wrap;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.2rem .6rem;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}
th{font-weight:600;white-space:nowrap}
td:first-child:not(.n){min-width:10rem}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.broken td{background:#fdebdf;font-weight:600}
figure{margin:0}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}
.wide svg{min-width:44rem}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1.4rem 1.5rem}
.key{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;font-size:.85rem;margin:.3rem 0}
.key svg{display:inline-block;width:1.4rem;height:.9rem;vertical-align:-.1rem;margin-right:.3rem}
.axis{stroke:#8c8c8c}.grid{stroke:#e6e6e6}.gone{stroke:#b3b3b3;stroke-dasharray:2 3}
.up{fill:#56b4e9}.unready{fill:#cce8f8}.paused{fill:#e69f00}.cut{fill:#cc79a7}
.fault{fill:#d55e00;stroke:#fff;stroke-width:.7}.leader{fill:#000;stroke:#fff;stroke-width:.7}
.short{fill:#e69f00}.scarce{fill:#d55e00}.leaderless{fill:#000}
.strips{display:grid;grid-template-columns:18.54% 1fr;padding-right:1.67%;row-gap:.2rem;align-items:center;font-size:.75rem}
.strips>span{text-align:right;padding-right:.5rem;white-space:nowrap}
.strips svg{height:1rem;background:linear-gradient(#b3b3b3,#b3b3b3) bottom/100% 1px no-repeat}
.strips path{vector-effect:non-scaling-stroke}
.ticks{position:relative;height:2.5rem;color:#595959;border-top:1px solid #8c8c8c}
.ticks i{position:absolute;top:.2rem;transform:translateX(-50%);font-style:normal}
.ticks i:last-child{top:1.2rem;left:50%}
@media (max-width:40rem){.strips{grid-template-columns:max-content 1fr}}
.healed{stroke:#009e73;stroke-width:1.5;stroke-dasharray:6 3}.violation{stroke:#d55e00;stroke-width:2.5}
.storm{stroke:#d55e00;stroke-opacity:.22}
.line{fill:none;stroke-width:1.7;stroke-linejoin:round}
.bar{fill:#0072b2}
.forest{display:grid;grid-template-columns:minmax(9rem,14rem) minmax(12rem,1fr) minmax(11rem,auto);gap:.45rem 1rem;align-items:center;font-size:.9rem;line-height:1.3}
.pair{fill:#56b4e9;fill-opacity:.75;stroke:#0072b2;stroke-width:.5}
.better{fill:#0072b2;stroke:#0072b2}.worse{fill:#d55e00;stroke:#d55e00}.otherwise{fill:#000;stroke:#000}.unsure{fill:#fff;stroke:#737373;stroke-width:1.5}
.span{fill:none;stroke:#737373;stroke-width:2}.span.better{stroke:#0072b2}.span.worse{stroke:#d55e00}.span.otherwise{stroke:#000}
@media (max-width:40rem){.forest{grid-template-columns:1fr}.forest>div:nth-child(3n){padding-bottom:.5rem;border-bottom:1px solid #ddd}}
.soft{fill:#595959}.end{text-anchor:end}.mid{text-anchor:middle}
.matrix td.c{text-align:right;vertical-align:middle;border:1px solid #fff;min-width:2.2rem;font-variant-numeric:tabular-nums}
.matrix td.none{color:#767676;background:repeating-linear-gradient(135deg,#fff 0 5px,#f0f0f0 5px 7px);text-align:center}
.matrix thead th{writing-mode:vertical-rl;transform:rotate(180deg);padding:.5rem .2rem;border:0;vertical-align:bottom}
.matrix thead th:first-child{writing-mode:initial;transform:none;padding:.2rem .6rem}
.matrix tbody th{font-weight:400;border:0;position:sticky;left:0;background:#fff}
@media (max-width:40rem){.matrix tbody th{white-space:normal;min-width:9rem}}
@media print{body{max-width:none;padding:0;font-size:10pt}.scroll{overflow:visible}.wide svg{min-width:0}
.charts{grid-template-columns:1fr 1fr}pre{white-space:pre-wrap;overflow:visible}figure,tr{break-inside:avoid}h2,h3{break-after:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
";

/// A text as HTML and XML take it, between tags and within quotes: markup escaped, control characters (which XML 1.0 forbids)
/// replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A whole page around what `body` writes.
fn page(title: &str, body: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    write_page(&mut out, title, body).expect("a string takes whatever is written to it");
    out
}

fn write_page(out: &mut String, title: &str, body: impl FnOnce(&mut String) -> fmt::Result) -> fmt::Result {
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    writeln!(out, "<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>", escaped(title))?;
    body(out)?;
    writeln!(out, "</body>\n</html>")
}

/// A cell of a table.
enum Cell<'text> {
    Text(&'text str),
    Code(&'text str),
    Number(String),
}

/// A row of a table; one that tells of something broken stands out.
struct Row<'text> {
    broken: bool,
    cells: Vec<Cell<'text>>,
}

impl<'text> Row<'text> {
    fn new(cells: impl Into<Vec<Cell<'text>>>) -> Self {
        Self { broken: false, cells: cells.into() }
    }
}

/// A table under its title; nothing if it has no rows. A head that begins with `#` is that of numbers.
fn table<'text>(
    out: &mut String,
    title: impl Display,
    heads: &[&str],
    rows: impl IntoIterator<Item = Row<'text>>,
) -> fmt::Result {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "<h2>{}</h2>\n<div class=\"scroll\"><table>\n<thead><tr>", escaped(&title.to_string()))?;
    for head in heads {
        match head.strip_prefix('#') {
            Some(head) => write!(out, "<th class=\"n\">{}</th>", escaped(head))?,
            None => write!(out, "<th>{}</th>", escaped(head))?,
        }
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for row in rows {
        assert_eq!(row.cells.len(), heads.len(), "every column has a head");
        write!(out, "{}", if row.broken { "<tr class=\"broken\">" } else { "<tr>" })?;
        for cell in &row.cells {
            match cell {
                Cell::Text(text) => write!(out, "<td>{}</td>", escaped(text))?,
                Cell::Code(text) => write!(out, "<td><code>{}</code></td>", escaped(text))?,
                Cell::Number(text) => write!(out, "<td class=\"n\">{}</td>", escaped(text))?,
            }
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_a_name() {
        let hostile = "<script>alert(\"a\")</script> & 'b'\u{0}\u{1b}[31m";
        let expected =
            "&lt;script&gt;alert(&quot;a&quot;)&lt;/script&gt; &amp; &#39;b&#39;\u{fffd}\u{fffd}[31m";
        assert_eq!(escaped(hostile), expected);
        let page = page(hostile, |out| {
            table(
                out,
                hostile,
                &[hostile],
                [Row::new([Cell::Text(hostile)]), Row::new([Cell::Code(hostile)])],
            )
        });
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn a_table_without_rows_is_no_table() {
        let mut out = String::new();
        table(&mut out, "nothing", &["a"], []).expect("a string takes it");
        assert_eq!(out, "");
    }
}
