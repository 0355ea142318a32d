//! Events as CloudEvents 1.0 in JSON: one in structured mode, or several as a batch. Nothing but printable ASCII leaves.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::event::{Event, Place, Source};
use super::json::ascii;

/// Media type of one event.
pub const ONE: &str = "application/cloudevents+json";
/// Media type of several.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// Where `data` is described.
const SCHEMA_VERSION: &str = "1.0";

/// One event as an object.
#[must_use]
pub fn object(event: &Event, source: &Source) -> Value {
    let mut object = json!({
        "specversion": SCHEMA_VERSION,
        "id": source.id(event.place),
        "source": source.uri(),
        "type": event.kind,
        "datacontenttype": "application/json",
        "data": event.data,
    });
    if let Value::Object(fields) = &mut object {
        if let Some(subject) = &event.subject {
            fields.insert("subject".to_owned(), json!(subject));
        }
        if let Some(time) = event.at.and_then(|at| moment(at.seconds())) {
            fields.insert("time".to_owned(), json!(time));
        }
        if let Place::Entry(index) = event.place {
            // The extension "sequence" of CloudEvents: 20 digits, so that the order of texts is that of entries.
            fields.insert("sequence".to_owned(), json!(format!("{index:020}")));
        }
    }
    object
}

/// One event as text.
#[must_use]
pub fn one(event: &Event, source: &Source) -> String {
    ascii(&object(event, source).to_string())
}

/// Several as text.
#[must_use]
pub fn batch(events: &[Event], source: &Source) -> String {
    ascii(&Value::Array(events.iter().map(|event| object(event, source)).collect()).to_string())
}

/// RFC 3339, in UTC.
pub(super) fn moment(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}
