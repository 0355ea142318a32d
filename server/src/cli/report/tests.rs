//! One hostile string through every medium of the report.

use super::*;

/// A terminal's orders, markup of each medium, a formula, and what turns text around.
const HOSTILE: &str = "=HYPERLINK(\"http://evil\")|<script>alert('x')</script>\u{1b}[2J\r\n# [a](javascript:b) `c` \u{202e}&quot;\u{0} \
     www.evil.example WWW.evil.example a@evil.example mailto:b@evil.example https://evil.example <https://evil.example> \
     ~~x~~ **y** __z__ ![i](//evil.example/p.png) \\| \\` $q$ &#60;b&#62; {{x}} <!-- -->";

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
        made_by: text(),
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
            kind: text(),
            policies: vec![text()],
            valid_from: 0,
            facts: vec![text()],
            names: vec![text()],
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

/// The page that GitHub would make of it.
fn rendered(text: &str) -> String {
    let mut options = markdown::Options::gfm();
    // Raw HTML would be let through, so that the test sees it.
    options.compile.allow_dangerous_html = true;
    options.compile.allow_dangerous_protocol = true;
    options.compile.gfm_tagfilter = false;
    markdown::to_html_with_options(text, &options).unwrap()
}

/// Names of the elements of a page.
fn elements(html: &str) -> std::collections::BTreeSet<String> {
    let opened = html.split('<').skip(1).map(|tag| {
        tag.trim_start_matches('/').chars().take_while(|c| c.is_alphanumeric() || *c == '!').collect::<String>()
    });
    opened.collect()
}

#[test]
fn markdown_shows_a_hostile_string_and_obeys_none_of_it() {
    let report = Report::from(hostile());
    let text = report_text::markdown(&report);
    assert!(is_plain(&text));
    assert!(text.contains("HYPERLINK"));
    let html = rendered(&text);
    let ours = ["h1", "h2", "h3", "p", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td"];
    for name in elements(&html) {
        assert!(ours.contains(&name.as_str()), "<{name}> in {html}");
    }
    // Every row of a table has the cells of its heading, however many bars the string has.
    for section in report.sections() {
        assert!(section.rows.iter().all(|row| row.len() == section.columns.len()), "{}", section.title);
    }
    for table in html.split("<table>").skip(1) {
        let rows: Vec<usize> = table.split("<tr>").skip(1).map(|row| row.matches("<td").count()).collect();
        let headings = table.matches("<th").count() - table.matches("<thead").count();
        assert!(rows.iter().skip(1).all(|cells| *cells == headings), "{table}");
    }
}

#[test]
fn markdown_of_an_honest_report_is_read_without_escapes() {
    let mut report = Report::from(hostile());
    report.trust_domain = "example.org".into();
    report.waivers.iter_mut().for_each(|waiver| {
        waiver.reason = "BIOS update (ticket 42): waits for the maker, see rack #7".into();
        waiver.owner = "jane@example.org".into();
        waiver.facts = vec!["tpm.firmware_version".into()];
        waiver.sample = "spiffe://example.org/holdfast/node/tpm/7".into();
    });
    let text = report_text::markdown(&report);
    assert!(text.contains("| BIOS update (ticket 42): waits for the maker, see rack #7 |"), "{text}");
    assert!(text.contains("| tpm.firmware_version | `jane@example.org` |"));
    assert!(text.contains("taken by 1 node: `spiffe://example.org/holdfast/node/tpm/7`"));
}

#[test]
fn an_address_alone_would_become_a_link() {
    // What the test above rests on: this reader makes links of these.
    for linked in ["www.evil.example", "https://evil.example", "a@evil.example", "mailto:a@evil.example"] {
        assert!(elements(&rendered(linked)).contains("a"), "{linked}");
    }
    assert!(elements(&rendered("x <script>y</script>")).contains("script"));
}

#[test]
fn csv_has_no_formula_and_reads_back() {
    let text = report_text::csv(&Report::from(hostile())).unwrap();
    assert!(is_plain(&text));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), report_text::CSV_COLUMNS);
    let mut seen = 0;
    for record in reader.records() {
        for cell in &record.unwrap() {
            assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
            seen += usize::from(cell.contains("HYPERLINK"));
        }
    }
    assert!(seen > 20, "{seen}");
    for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1"] {
        assert!(!report_text::cell(formula).trim_start().starts_with(['=', '+', '-', '@']), "{formula:?}");
    }
    assert_eq!(report_text::cell("Zoë Müller – rack 7"), "Zoë Müller – rack 7");
}

#[test]
fn csv_columns_and_sections_are_plain_names_and_on_the_page_that_explains_them() {
    let page = include_str!("../../../../docs/fleet-report.md");
    let plain = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    for section in Report::from(hostile()).sections() {
        assert!(plain(section.key) && page.contains(&format!("`{}`", section.key)), "{}", section.key);
        for column in section.columns {
            assert!(report_text::CSV_COLUMNS.contains(&column.1), "{}", column.1);
        }
    }
    for column in report_text::CSV_COLUMNS {
        assert!(plain(column) && page.contains(&format!("| `{column}` |")), "{column}");
    }
}

#[test]
fn html_has_no_element_but_ours_and_fetches_nothing() {
    let text = report_html::page(&Report::from(hostile()));
    assert!(is_plain(&text));
    assert!(text.contains("default-src 'none'"));
    assert!(text.contains("&lt;script&gt;"));
    let ours = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "header", "main", "p", "h1", "h2", "h3", "dl",
        "dt", "dd", "span", "section", "div", "table", "thead", "tbody", "tr", "th", "td", "br", "footer", "code",
    ];
    for name in elements(&text) {
        assert!(ours.contains(&name.as_str()), "{name}");
    }
    for fetched in ["src=", "href=", "url(", "@import", "<script", "onerror"] {
        assert!(!text.contains(fetched), "{fetched}");
    }
}

#[test]
fn html_is_well_formed_and_every_row_has_the_cells_of_its_heading() {
    use quick_xml::events::Event;
    let text = report_html::page(&Report::from(hostile()));
    let mut reader = quick_xml::Reader::from_str(&text);
    let (mut headings, mut cells, mut in_head, mut tables, mut open) = (0, 0, false, 0, Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => break,
            Event::Start(tag) => {
                let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                match name.as_str() {
                    "thead" => (in_head, headings, tables) = (true, 0, tables + 1),
                    "table" => headings = 0,
                    "tr" => cells = 0,
                    "th" if in_head => headings += 1,
                    "td" => cells += 1,
                    _ => {}
                }
                tag.attributes().for_each(|attribute| drop(attribute.unwrap()));
                open.push(name);
            }
            Event::End(tag) => {
                let name = open.pop().unwrap();
                assert_eq!(tag.name().as_ref(), name.as_bytes());
                match name.as_str() {
                    "thead" => in_head = false,
                    "tr" if !in_head && headings > 0 => assert_eq!(cells, headings, "table {tables}"),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    assert!(open.is_empty() && tables == 14, "{tables}");
}

#[test]
fn a_reader_is_told_the_reason_in_words_and_who_asked_for_what_period() {
    let mut report = hostile();
    report.made_by = "auditor (uid 1003)".into();
    report.refusals = vec![admin::ReportCount { what: "policy.fact.below_minimum".into(), count: 3 }];
    let report = Report::from(report);
    let (html, md) = (report_html::page(&report), report_text::markdown(&report));
    assert!(html.contains("the fact is below at_least or"));
    assert!(md.contains("(`policy.fact.below_minimum`)") && md.contains("the fact is below at_least or"));
    for text in [html, md] {
        assert!(text.contains("auditor (uid 1003)"));
        assert!(text.contains("2023-07-22 04:26:40 UTC up to, not including, 2023-11-14 22:13:20 UTC"));
    }
}

#[test]
fn a_waiver_is_listed_with_its_owner_and_whether_it_is_taken() {
    let waiver = |name: &str, nodes, valid_from| admin::ReportWaiver {
        kind: "waiver".into(),
        name: name.into(),
        owner: "jane".into(),
        reason: "old firmware".into(),
        policies: vec!["rack v2".into()],
        sample: "spiffe://td/n".into(),
        valid_until: 1_800_000_000,
        valid_from,
        nodes,
        ..admin::ReportWaiver::default()
    };
    let mut report = hostile();
    report.waivers = vec![waiver("taken", 2, 0), waiver("idle", 0, 0), waiver("next", 0, 1_790_000_000)];
    let html = report_html::page(&Report::from(report));
    for told in
        ["taken by 2 nodes, such as spiffe://td/n", "not taken", "announced, begins 2026-09-21", "jane", "old firmware"]
    {
        assert!(html.contains(told), "{told}");
    }
}

#[test]
fn json_carries_the_string_itself() {
    let json = serde_json::to_string(&Report::from(hostile())).unwrap();
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["not_admitted"][0]["description"], HOSTILE);
}
