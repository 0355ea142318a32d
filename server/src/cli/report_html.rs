//! The fleet's report as one HTML page: no script, nothing fetched, a policy in the page that forbids both. It reads well
//! on paper. Everything that is not ours is escaped, in text and in attributes alike.

use super::report::{Report, Section};
use super::show;

const STYLE: &str = include_str!("report.css");

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut body = String::new();
    for section in report.sections() {
        body.push_str(&table(&section));
    }
    let left_out: String =
        report.left_out.iter().map(|one| format!("<p class=\"note\">{}.</p>\n", html(one))).collect();
    let title = html(&format!("Fleet report of {}", report.trust_domain));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<p class=\"brand\">Holdfast</p>\n\
         <h1>{title}</h1>\n<p class=\"period\">{from} <span>to</span> {to}</p>\n</header>\n{tiles}{body}{left_out}\
         <footer><p>Made at {made}. Record of {size} entries, head <code>{hash}</code>.</p></footer>\n</body>\n</html>\n",
        from = html(&show::moment(report.from)),
        to = html(&show::moment(report.to)),
        tiles = tiles(report),
        made = html(&show::moment(report.made_at)),
        size = report.record_size,
        hash = html(&report.record_hash),
    )
}

/// The numbers that are looked at first.
fn tiles(report: &Report) -> String {
    let tiles = report.headline().into_iter().map(|(class, count, what)| {
        format!("<div class=\"tile {class}\"><b>{count}</b><span>{}</span></div>\n", html(what))
    });
    format!("<section class=\"tiles\">\n{}</section>\n", tiles.collect::<String>())
}

fn table(section: &Section) -> String {
    let title = html(section.title);
    let about = html(section.about);
    if section.rows.is_empty() {
        return format!(
            "<section>\n<h2>{title}</h2>\n<p class=\"about\">{about}</p>\n<p class=\"none\">None.</p>\n</section>\n"
        );
    }
    let headings: String =
        section.headings.iter().map(|heading| format!("<th scope=\"col\">{}</th>", html(heading))).collect();
    let total: u64 = section.rows.iter().filter_map(|row| row.last()?.parse::<u64>().ok()).sum();
    let rows = section.rows.iter().map(|row| {
        let cells = row.iter().map(|cell| format!("<td>{}</td>", html(cell)));
        let bar = match (section.is_counts, row.last().and_then(|count| count.parse::<u64>().ok())) {
            (true, Some(count)) => {
                format!("<td class=\"bar\"><meter min=\"0\" max=\"{}\" value=\"{count}\"></meter></td>", total.max(1))
            }
            (true, None) | (false, _) => String::new(),
        };
        format!("<tr>{}{bar}</tr>\n", cells.collect::<String>())
    });
    let rows: String = rows.collect();
    let (class, bar) = if section.is_counts { ("counts", "<th></th>") } else { ("list", "") };
    format!(
        "<section>\n<h2>{title}</h2>\n<p class=\"about\">{about}</p>\n<table class=\"{class}\">\n\
         <thead><tr>{headings}{bar}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</section>\n"
    )
}

/// Text of unknown origin inside an element or an attribute.
fn html(untrusted: &str) -> String {
    let mut escaped = String::with_capacity(untrusted.len());
    for c in show::text(untrusted).chars() {
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
