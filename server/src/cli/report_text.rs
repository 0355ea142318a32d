//! The fleet's report as Markdown and as CSV. What machines and operators wrote is escaped for each: it is text in a cell,
//! never a heading, a link, a formula.

use super::report::{Cell, Report, Section, meaning_of, shown, when};
use super::show;

/// The columns of CSV, of every table: a cell is empty where its table has no such column.
pub(super) const CSV_COLUMNS: [&str; 20] = [
    "section",
    "subject",
    "count",
    "state",
    "code",
    "meaning",
    "policy",
    "observed",
    "evidence",
    "facts",
    "by",
    "closed_by",
    "reason",
    "kind",
    "number",
    "at",
    "valid_from",
    "valid_until",
    "sample",
    "description",
];

/// The report as Markdown.
pub(super) fn markdown(report: &Report) -> String {
    let mut text = format!(
        "# Fleet report of {}\n\n\
         - Period: {} up to, not including, {}\n- Made: {} by {}\n- Record: {} entries, head `{}`\n\n## Summary\n\n",
        md(&report.trust_domain),
        when(report.from),
        when(report.to),
        when(report.made_at),
        md(&report.made_by),
        report.record_size,
        report.record_hash
    );
    text.push_str(&line(["number".to_owned(), "what".to_owned()].into_iter()));
    text.push_str(&line(["---:".to_owned(), "---".to_owned()].into_iter()));
    for (count, what) in report.headline() {
        text.push_str(&line([count.to_string(), what.to_owned()].into_iter()));
    }
    let mut part = "";
    for section in report.sections() {
        if part != section.part {
            part = section.part;
            text.push_str(&format!("\n## {part}\n"));
        }
        text.push_str(&format!("\n### {}\n\n{}\n\n", section.title, section.about));
        text.push_str(&table(&section));
    }
    for left_out in &report.left_out {
        text.push_str(&format!("\n{}.\n", md(left_out)));
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn table(section: &Section) -> String {
    if section.rows.is_empty() {
        return "None.\n".to_owned();
    }
    let columns = || section.columns.iter().filter(|column| !column.0.is_empty());
    let rule = |name: &str| if matches!(name, "count" | "number") { "---:" } else { "---" };
    let mut text = line(columns().map(|column| column.0.to_owned()));
    text.push_str(&line(columns().map(|column| rule(column.1).to_owned())));
    for row in &section.rows {
        let cells = section.columns.iter().zip(row).filter(|(column, _)| !column.0.is_empty());
        text.push_str(&line(cells.map(|(_, cell)| match cell {
            Cell::Text(text) => md(text),
            Cell::Count(count) => count.to_string(),
            Cell::Moment(0) => String::new(),
            Cell::Moment(seconds) => when(*seconds),
            Cell::Code(code) if code.is_empty() => String::new(),
            Cell::Code(code) => match meaning_of(code) {
                "" => code_span(&shown(code)),
                words => format!("{} ({})", md(words), code_span(&shown(code))),
            },
        })));
    }
    text
}

/// The report as CSV: the rows of every table under one heading, each led by its table's name.
pub(super) fn csv(report: &Report) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(CSV_COLUMNS)?;
    let mut write = |section: &str, cells: &[(&str, String)]| {
        let value = |name: &str| cells.iter().find(|(column, _)| *column == name).map_or("", |(_, value)| value);
        writer.write_record(CSV_COLUMNS.map(|name| if name == "section" { section } else { value(name) }))
    };
    let text = |text: &str| cell(text);
    write("report", &[("subject", text("from")), ("at", show::moment(report.from))])?;
    write("report", &[("subject", text("to")), ("at", show::moment(report.to))])?;
    let made = [("subject", text("made")), ("at", show::moment(report.made_at)), ("by", text(&report.made_by))];
    write("report", &made)?;
    write("report", &[("subject", text("trust_domain")), ("description", text(&report.trust_domain))])?;
    let (size, hash) = (report.record_size.to_string(), report.record_hash.clone());
    write("report", &[("subject", text("record")), ("count", size), ("description", hash)])?;
    for section in report.sections() {
        for row in &section.rows {
            let cells = section.columns.iter().zip(row).map(|(column, one)| {
                let value = match one {
                    Cell::Text(text) | Cell::Code(text) => cell(text),
                    Cell::Count(count) => count.to_string(),
                    Cell::Moment(0) => String::new(),
                    Cell::Moment(seconds) => show::moment(*seconds),
                };
                (column.1, value)
            });
            write(section.key, &cells.collect::<Vec<_>>())?;
        }
    }
    for left_out in &report.left_out {
        write("left_out", &[("description", text(left_out))])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A cell of CSV that no spreadsheet takes for a formula, and no terminal for an order.
pub(super) fn cell(untrusted: &str) -> String {
    let text = shown(untrusted);
    if text.trim_start().starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

/// A cell of Markdown. A word that GitHub's dialect would make a link of is code, as SPIFFE IDs are; elsewhere stands a
/// backslash before what would be markup in the middle of a line.
fn md(untrusted: &str) -> String {
    let words: Vec<String> = shown(untrusted).split(' ').map(word).collect();
    words.join(" ")
}

fn word(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    if word.contains('@') || ["//", "www.", "mailto:", "xmpp:"].iter().any(|linked| lower.contains(linked)) {
        return code_span(word);
    }
    let mut escaped = String::with_capacity(word.len());
    let mut before = ' ';
    let mut rest = word.chars().peekable();
    while let Some(c) = rest.next() {
        let after = rest.peek().copied().unwrap_or(' ');
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' if after == '#' || after.is_ascii_alphanumeric() => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | '~' | '$' => escaped.extend(['\\', c]),
            '_' if !(before.is_alphanumeric() && after.is_alphanumeric()) => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// Text in which nothing is markup. It has no bar and no line's end any more; of its own marks neither.
fn code_span(shown: &str) -> String {
    format!("`{}`", shown.replace('`', "\\u{60}"))
}
