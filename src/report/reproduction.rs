//! Reproductions of known results as a Markdown document.

use std::fmt::Write;

use crate::lab::reproduce::{Claim, Finding, Published, Reproduced, Row, Scale, Table};

/// The document: a summary first, then a section for each finding, which has the name of its reproduction.
pub fn markdown(findings: &[(&str, Finding)]) -> String {
    let names = findings.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    let mut text = format!(
        "# Known results, computed anew\n\n    wavetank reproduce {names}\n\n\
         Every number stands beside its published value, or beside what the documentation of the code states. It *reproduces* if the two differ by at most three standard errors of both (those \
         of the published one follow from its sample and its rounding); *nearly* if only within a margin that is granted because the settings \
         are not quite the same, and is told. Intervals have a confidence of 95 %. The same command gives the same numbers on any machine.\n\n\
         | | published or stated | reproduce | nearly | do not |\n|---|---|---|---|---|\n"
    );
    for (name, finding) in findings {
        let rows = || finding.tables.iter().flat_map(|table| &table.rows);
        let count = |wanted| rows().filter(|row| row.reproduced() == Some(wanted)).count();
        let [yes, nearly, no] = [Reproduced::Yes, Reproduced::Nearly, Reproduced::No].map(count);
        put(
            &mut text,
            format_args!("| [{name}](#{name}) | {} | {yes} | {nearly} | {no} |\n", yes + nearly + no),
        );
    }
    for (name, finding) in findings {
        put(&mut text, format_args!("\n## {name}\n\n**{}.** {}\n", finding.title, finding.setting));
        finding.tables.iter().for_each(|table| put_table(&mut text, table));
    }
    text
}

fn put_table(text: &mut String, table: &Table) {
    put(
        text,
        format_args!(
            "\n### {}\n\n| | here | 95 % interval | sample | published or stated | source | |\n",
            table.title
        ),
    );
    text.push_str("|---|---|---|---|---|---|---|\n");
    for row in &table.rows {
        let Row { what, found, published, .. } = row;
        let scale = table.scale;
        let interval = if found.error == 0.0 && found.interval.low == found.interval.high {
            "exact".to_owned()
        } else {
            format!("[{}, {}]", bare(scale, found.interval.low), bare(scale, found.interval.high))
        };
        let (value, source) = published.map_or((String::new(), ""), |one| (claimed(scale, one), one.source));
        put(
            text,
            format_args!(
                "| {what} | {} | {interval} | {} | {value} | {source} | {} |\n",
                scale.write(found.value),
                found.sample,
                verdict(row)
            ),
        );
    }
}

fn claimed(scale: Scale, published: Published) -> String {
    let value = scale.write(published.value);
    match published.claim {
        Claim::AtMost => format!("at most {value}"),
        _ => value,
    }
}

fn bare(scale: Scale, value: f64) -> String {
    scale.write(value).trim_end_matches(" %").to_owned()
}

fn verdict(row: &Row) -> String {
    let margin = row.published.map_or(0.0, |published| 100.0 * published.margin);
    let stated = row.published.is_some_and(|published| published.claim != Claim::Published);
    let verdict = match row.reproduced() {
        None => return String::new(),
        Some(Reproduced::Yes) if stated => return "as stated".to_owned(),
        Some(_) if stated => "**not as stated**".to_owned(),
        Some(Reproduced::Yes) => return "reproduces".to_owned(),
        Some(Reproduced::Nearly) => format!("nearly: within {margin:.0} %"),
        Some(Reproduced::No) => "**does not reproduce**".to_owned(),
    };
    row.why.map_or(verdict.clone(), |why| format!("{verdict}: {why}"))
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes what is written");
}
