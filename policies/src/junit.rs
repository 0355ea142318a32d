//! The report of `test` as JUnit XML, which CI systems show. Names and texts come from cases and evidence: what XML cannot
//! hold, or a terminal should not meet, is written as an escape. Runs nothing.

use std::io::{self, Write};

use holdfast_appraisal::decision::Verdict;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use crate::output::printable;
use crate::test::{CaseReport, CaseResult};

/// Writes the report of all cases.
///
/// # Errors
/// The writer's own.
pub(crate) fn write(out: &mut dyn Write, cases: &[CaseReport]) -> io::Result<()> {
    let mut xml = Writer::new_with_indent(out, b' ', 2);
    let count = |result| cases.iter().filter(|case| case.result == result).count().to_string();
    let (all, failed, unreadable) = (cases.len().to_string(), count(CaseResult::Failed), count(CaseResult::Unreadable));
    let totals = [("tests", all.as_str()), ("failures", failed.as_str()), ("errors", unreadable.as_str())];
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let attributes = [("name", "holdfast-policy test")].into_iter().chain(totals);
    xml.write_event(Event::Start(BytesStart::new("testsuites").with_attributes(attributes.clone())))?;
    xml.write_event(Event::Start(BytesStart::new("testsuite").with_attributes(attributes)))?;
    for case in cases {
        write_case(&mut xml, case)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    writeln!(xml.get_mut())
}

fn write_case(xml: &mut Writer<&mut dyn Write>, case: &CaseReport) -> io::Result<()> {
    let (file, policy) = (printable(&case.case), printable(&case.policy));
    let name = match case.description.as_str() {
        "" => file.clone(),
        description => format!("{file}: {}", printable(description)),
    };
    let attributes = [("name", name.as_str()), ("classname", policy.as_str()), ("file", file.as_str())];
    let element = BytesStart::new("testcase").with_attributes(attributes);
    let (tag, kind) = match case.result {
        CaseResult::Passed => return xml.write_event(Event::Empty(element)),
        CaseResult::Failed => ("failure", "decision"),
        CaseResult::Unreadable => ("error", "unreadable"),
    };
    let mut lines: Vec<String> = case.differences.clone();
    lines.extend(case.findings.iter().map(ToString::to_string));
    let first = printable(lines.first().map(String::as_str).unwrap_or_default());
    if let Some(Verdict::Refuse(rejection) | Verdict::AwaitsApproval(rejection)) = &case.decision {
        lines.push(rejection.to_string());
    }
    // each line apart, so that line ends stay and nothing else does
    let text: Vec<String> = lines.iter().flat_map(|line| line.lines()).map(printable).collect();
    xml.write_event(Event::Start(element))?;
    let attributes = [("type", kind), ("message", first.as_str())];
    xml.write_event(Event::Start(BytesStart::new(tag).with_attributes(attributes)))?;
    xml.write_event(Event::Text(BytesText::new(&text.join("\n"))))?;
    xml.write_event(Event::End(BytesEnd::new(tag)))?;
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}
