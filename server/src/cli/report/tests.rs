//! One hostile string through every medium of the report.

use super::*;

/// A terminal's orders, markup of each medium, a formula, and what turns text around.
const HOSTILE: &str =
    "=HYPERLINK(\"http://evil\")|<script>alert('x')</script>\u{1b}[2J\r\n# [a](javascript:b) `c` \u{202e}&quot;\u{0}";

fn hostile() -> admin::FleetReport {
    let text = || HOSTILE.to_owned();
    let count = || vec![admin::ReportCount { what: text(), count: 3 }];
    let node = || admin::ReportNode {
        node: 7,
        spiffe_id: text(),
        description: text(),
        state: text(),
        code: text(),
        at: 1_700_000_000,
        kinds: text(),
        attempt: text(),
        rule: text(),
    };
    let policy = || admin::Policy { name: text(), message: text(), author: text(), ..admin::Policy::default() };
    let change = || admin::Rollout {
        number: 1,
        at: 1_700_000_000,
        author: text(),
        approver: text(),
        action: text(),
        message: text(),
        enforced: Some(policy()),
        scopes: vec![admin::RolloutScope { selectors: vec![text()], policy: Some(policy()) }],
        observed: Some(policy()),
        restored: 0,
        refused: 0,
    };
    admin::FleetReport {
        trust_domain: text(),
        from: 1_690_000_000,
        to: 1_700_000_000,
        made_at: 1_700_000_001,
        states: count(),
        kinds: count(),
        classes: count(),
        policies: count(),
        outcomes: count(),
        refusals: count(),
        observed_refusals: count(),
        rules: count(),
        not_admitted: vec![node()],
        stale: vec![node()],
        waivers: vec![admin::ReportWaiver {
            name: text(),
            owner: text(),
            reason: text(),
            valid_until: 1,
            nodes: 1,
            sample: text(),
        }],
        rollout: Some(change()),
        changes: vec![change()],
        proposals: vec![admin::Proposal {
            number: 1,
            author: text(),
            message: text(),
            what: text(),
            state: text(),
            closed_by: text(),
            ..admin::Proposal::default()
        }],
        record_size: 9,
        record_hash: vec![0xab; 32],
        left_out: vec![text()],
    }
}

/// Nothing that a terminal or an editor obeys.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}'))
}

#[test]
fn markdown_shows_a_hostile_string_and_obeys_none_of_it() {
    let text = report_text::markdown(&Report::from(hostile()));
    assert!(is_plain(&text));
    assert!(text.contains("HYPERLINK"));
    for markup in ["<script", "](javascript:", "http://", "\n# \\[", "`c`"] {
        assert!(!text.contains(markup), "{markup}");
    }
    // Every row of a table has the cells of its heading, however many bars the string has.
    for section in Report::from(hostile()).sections() {
        assert!(section.rows.iter().all(|row| row.len() == section.headings.len()), "{}", section.title);
    }
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    for table in text.split("\n\n").filter(|part| part.starts_with("| ")) {
        let mut lines = table.lines();
        let heading = bars(lines.next().unwrap());
        assert!(lines.all(|line| bars(line) == heading), "{table}");
    }
}

#[test]
fn csv_has_no_formula_and_reads_back() {
    let text = report_text::csv(&Report::from(hostile())).unwrap();
    assert!(is_plain(&text));
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let mut seen = 0;
    for record in reader.records() {
        for cell in &record.unwrap() {
            assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
            seen += usize::from(cell.contains("HYPERLINK"));
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn html_has_no_element_but_ours_and_fetches_nothing() {
    let text = report_html::page(&Report::from(hostile()));
    assert!(is_plain(&text));
    assert!(text.contains("default-src 'none'"));
    assert!(text.contains("&lt;script&gt;"));
    let ours = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "header", "p", "h1", "span", "section", "div",
        "b", "h2", "table", "thead", "tbody", "tr", "th", "td", "meter", "footer", "code",
    ];
    for opened in text.split('<').skip(1) {
        let name: String =
            opened.trim_start_matches('/').chars().take_while(|c| c.is_alphanumeric() || *c == '!').collect();
        assert!(ours.contains(&name.as_str()), "{opened}");
    }
    for fetched in ["src=", "href=", "url(", "@import", "<script", "onerror"] {
        assert!(!text.contains(fetched), "{fetched}");
    }
}

#[test]
fn json_carries_the_string_itself() {
    let json = serde_json::to_string(&Report::from(hostile())).unwrap();
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["not_admitted"][0]["description"], HOSTILE);
}
