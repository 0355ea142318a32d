//! The fleet's report as Markdown and as CSV. What machines and operators wrote is escaped for each: it is text in a cell,
//! never a heading, a link, a formula.

use super::report::{Count, Report};
use super::{rollout, show};

/// The report as Markdown.
pub(super) fn markdown(report: &Report) -> String {
    let mut text = format!(
        "# Fleet report of {}\n\n{} to {}, made at {}. Record: {} entries, head `{}`.\n",
        md(&report.trust_domain),
        show::moment(report.from),
        show::moment(report.to),
        show::moment(report.made_at),
        report.record_size,
        report.record_hash
    );
    for section in report.sections() {
        text.push_str(&format!("\n## {}\n\n{}\n", section.title, section.about));
        if section.rows.is_empty() {
            text.push_str("\nNone.\n");
            continue;
        }
        let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        text.push('\n');
        text.push_str(&line(&mut section.headings.iter().map(|heading| (*heading).to_owned())));
        text.push_str(&line(&mut section.headings.iter().map(|_| "---".to_owned())));
        for row in &section.rows {
            text.push_str(&line(&mut row.iter().map(|cell| md(cell))));
        }
    }
    for left_out in &report.left_out {
        text.push_str(&format!("\n{}.\n", md(left_out)));
    }
    text
}

/// The report as CSV: one table after another, each row led by its section.
pub(super) fn csv(report: &Report) -> anyhow::Result<String> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(["section", "column 1", "column 2", "column 3", "column 4", "column 5", "column 6"])?;
    let period = [("from", report.from), ("to", report.to), ("made at", report.made_at)];
    for (what, moment) in period {
        writer.write_record(["Period", what, &show::moment(moment)])?;
    }
    for section in report.sections() {
        for row in &section.rows {
            writer.write_record(std::iter::once(section.title.to_owned()).chain(row.iter().map(|text| cell(text))))?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A cell of CSV that no spreadsheet takes for a formula, and no terminal for an order.
pub(super) fn cell(untrusted: &str) -> String {
    let text = show::text(untrusted);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

/// A cell of Markdown: what could be markup or HTML stands behind a backslash or as an entity.
fn md(untrusted: &str) -> String {
    let mut escaped = String::with_capacity(untrusted.len());
    for c in show::text(untrusted).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '!' | '~' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // A bare address would become a link.
            ':' => escaped.push_str("&#58;"),
            '@' => escaped.push_str("&#64;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Counts as rows.
pub(super) fn count_rows(counts: &[Count]) -> Vec<Vec<String>> {
    counts.iter().map(|count| vec![count.what.clone(), count.count.to_string()]).collect()
}

/// A state of the rollout as a row.
pub(super) fn change_row(change: &rollout::Rollout) -> Vec<String> {
    vec![
        show::moment(change.at),
        rollout::action(change),
        rollout::enforced(change),
        change.observed.as_ref().map(super::policies::Version::short).unwrap_or_default(),
        rollout::people(change),
        change.message.clone(),
    ]
}
