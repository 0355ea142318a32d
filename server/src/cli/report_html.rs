//! The fleet's report as one HTML page: no script, nothing fetched, a policy in the page that forbids both. It is made for
//! paper, and says nothing by colour. Everything that is not ours is escaped, in text and in attributes alike.

use super::report::{Cell, Column, Report, Section, meaning_of, shown, when};

const STYLE: &str = include_str!("report.css");

/// What the words of the report mean, for whoever was only handed it.
const WORDS: [(&str, &str); 6] = [
    (
        "Attestation",
        "a machine shows evidence that its hardware signed: whose chip it is, and what the machine booted. The server \
         verifies it, applies the policy, and issues a short-lived identity, or refuses.",
    ),
    ("Policy", "the versioned text that says which machines may hold an identity. Each version has a digest."),
    ("Observed", "of a policy: its verdict is noted beside the enforced one's, and refuses nobody."),
    (
        "Waiver, change window",
        "an exception in a policy: facts that may differ on named machines until a date, with an owner and a reason.",
    ),
    (
        "Stale",
        "a machine that was admitted and has not proved itself again within the time that its policy gives. It holds no \
         identity until it does.",
    ),
    (
        "Record",
        "the append-only log of every decision. Its size and head above stand for the whole of it: a kept checkpoint \
         shows that nothing before was changed (holdfast-server audit verify).",
    ),
];

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = html(&format!("Fleet report of {}", report.trust_domain));
    let mut body = String::new();
    let mut part = "";
    for (number, section) in report.sections().iter().enumerate() {
        if part != section.part {
            part = section.part;
            body.push_str(&format!("<h2>{}</h2>\n", html(part)));
        }
        body.push_str(&table(number + 1, section));
    }
    let left_out: String =
        report.left_out.iter().map(|one| format!("<p class=\"note\">{}.</p>\n", html(one))).collect();
    let words = WORDS.iter().map(|(word, says)| format!("<dt>{}</dt><dd>{}</dd>\n", html(word), html(says)));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         base-uri 'none'; form-action 'none'\" />\n\
         <meta name=\"referrer\" content=\"no-referrer\" />\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n\
         <p class=\"brand\">Holdfast attestation service</p>\n<h1>{title}</h1>\n{head}</header>\n\
         <main>\n{summary}{body}{left_out}</main>\n\
         <footer>\n<h2>How to read this report</h2>\n<dl class=\"words\">\n{words}</dl>\n\
         <div class=\"signed\"><span>Prepared by</span><span>Reviewed by</span><span>Date</span></div>\n\
         </footer>\n</body>\n</html>\n",
        head = head(report),
        summary = summary(report),
        words = words.collect::<String>(),
    )
}

/// Of what, when, by whom.
fn head(report: &Report) -> String {
    let record = format!("{} entries, head <code>{}</code>", report.record_size, html(&report.record_hash));
    let rows = [
        ("Trust domain", html(&report.trust_domain)),
        ("Period", format!("{} up to, not including, {}", html(&when(report.from)), html(&when(report.to)))),
        ("Made", format!("{} by {}", html(&when(report.made_at)), html(&report.made_by))),
        ("Record", record),
    ];
    let rows = rows.map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n"));
    format!("<dl class=\"head\">\n{}</dl>\n", rows.concat())
}

/// The numbers that are looked at first.
fn summary(report: &Report) -> String {
    let rows = report.headline().into_iter().map(|(count, what)| {
        format!("<tr><td class=\"number\">{count}</td><th scope=\"row\">{}</th></tr>\n", html(what))
    });
    format!(
        "<section class=\"summary\">\n<h2>Summary</h2>\n<table>\n<tbody>\n{}</tbody>\n</table>\n</section>\n",
        rows.collect::<String>()
    )
}

fn table(number: usize, section: &Section) -> String {
    let heading = format!(
        "<section>\n<h3>{number}. {}</h3>\n<p class=\"about\">{}</p>\n",
        html(section.title),
        html(section.about)
    );
    if section.rows.is_empty() {
        return format!("{heading}<p class=\"note\">None.</p>\n</section>\n");
    }
    let is_shown = |column: &&Column| !column.0.is_empty();
    let headings = section.columns.iter().filter(is_shown).map(|column| {
        let class = class_of(column);
        format!("<th scope=\"col\"{class}>{}</th>", html(column.0))
    });
    let total: u64 = section.rows.iter().filter_map(|row| count_of(row)).sum();
    let has_shares = section.columns.last().is_some_and(|column| column.1 == "count") && section.rows.len() > 1;
    let rows = section.rows.iter().map(|row| {
        let cells = section.columns.iter().zip(row).filter(|(column, _)| is_shown(column));
        let cells = cells.map(|(column, cell)| format!("<td{}>{}</td>", class_of(column), cell_html(cell)));
        let share = match count_of(row) {
            Some(count) if has_shares => format!("<td class=\"number\">{}</td>", share(count, total)),
            Some(_) | None => String::new(),
        };
        format!("<tr>{}{share}</tr>\n", cells.collect::<String>())
    });
    let share_heading = if has_shares { "<th scope=\"col\" class=\"number\">share</th>" } else { "" };
    format!(
        "{heading}<table class=\"{}\">\n<thead><tr>{}{share_heading}</tr></thead>\n<tbody>\n{}</tbody>\n</table>\n\
         </section>\n",
        html(section.key),
        headings.collect::<String>(),
        rows.collect::<String>()
    )
}

/// The style names columns as CSV does.
fn class_of(column: &Column) -> String {
    format!(" class=\"{}\"", column.1)
}

fn count_of(row: &[Cell]) -> Option<u64> {
    match row.last()? {
        Cell::Count(count) => Some(*count),
        Cell::Text(_) | Cell::Moment(_) | Cell::Code(_) => None,
    }
}

/// Of a hundred; what is there is never 0, and what is not all never 100.
fn share(count: u64, total: u64) -> String {
    let per_mille = count.saturating_mul(1000).checked_div(total).unwrap_or_default();
    match per_mille {
        0 if count > 0 => "&lt; 0.1 %".to_owned(),
        _ => format!("{}.{} %", per_mille / 10, per_mille % 10),
    }
}

fn cell_html(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => html(text),
        Cell::Count(count) => count.to_string(),
        Cell::Moment(0) => String::new(),
        Cell::Moment(seconds) => html(&when(*seconds)),
        Cell::Code(code) if code.is_empty() => String::new(),
        Cell::Code(code) => match meaning_of(code) {
            "" => format!("<code>{}</code>", html(code)),
            words => format!("{}<br /><code>{}</code>", html(words), html(code)),
        },
    }
}

/// Text of unknown origin inside an element or an attribute.
fn html(untrusted: &str) -> String {
    let mut escaped = String::with_capacity(untrusted.len());
    for c in shown(untrusted).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
