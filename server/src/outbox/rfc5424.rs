//! Events as syslog messages, RFC 5424: structured data for machines that filter, the event's data as JSON for the rest.

use super::cloudevents::moment;
use super::event::{Event, Place, Source};
use super::json::ascii;

/// Facility "log audit".
const FACILITY: u8 = 13;
/// Characters of MSGID.
const MSGID_MAX: usize = 32;
/// Characters of HOSTNAME.
const HOSTNAME_MAX: usize = 255;

/// Severities that are used.
const WARNING: u8 = 4;
const NOTICE: u8 = 5;
const INFORMATIONAL: u8 = 6;

/// Who speaks.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// Host, or `-`.
    pub hostname: String,
    /// The number behind `holdfast@`.
    pub enterprise_number: u32,
}

impl Speaker {
    /// This host, as its kernel names it.
    #[must_use]
    pub fn of_this_host(enterprise_number: u32) -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { hostname: header(name.trim(), HOSTNAME_MAX), enterprise_number }
    }

    /// One message, without framing: printable ASCII.
    #[must_use]
    pub fn message(&self, event: &Event, source: &Source) -> String {
        let priority = FACILITY * 8 + severity(event);
        let time = event.at.and_then(|at| moment(at.seconds())).unwrap_or_else(|| "-".to_owned());
        let mut parameters =
            vec![("id", source.id(event.place)), ("type", event.kind.clone()), ("source", source.uri())];
        if let Place::Entry(index) = event.place {
            parameters.push(("index", index.to_string()));
        }
        if let Some(subject) = &event.subject {
            parameters.push(("subject", subject.clone()));
        }
        let parameters: String =
            parameters.iter().map(|(name, value)| format!(" {name}=\"{}\"", parameter(value))).collect();
        format!(
            "<{priority}>1 {time} {} holdfast-server {} {} [holdfast@{}{parameters}] {}",
            self.hostname,
            std::process::id(),
            header(event.short_kind(), MSGID_MAX),
            self.enterprise_number,
            ascii(&event.data.to_string()),
        )
    }
}

fn severity(event: &Event) -> u8 {
    match event.short_kind() {
        "attempt.refused" | "unreadable" => WARNING,
        kind if kind.starts_with("act.") => NOTICE,
        _ => INFORMATIONAL,
    }
}

/// A field of the header: printable ASCII without spaces, or `-`.
fn header(text: &str, max: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}

/// A PARAM-VALUE: `"`, `\` and `]` behind a backslash, and what is not printable ASCII written as JSON writes it.
fn parameter(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for c in ascii(text).chars() {
        match c {
            '"' | '\\' | ']' => value.extend(['\\', c]),
            '\n' => value.push_str("\\\\n"),
            other => value.push(other),
        }
    }
    value
}
