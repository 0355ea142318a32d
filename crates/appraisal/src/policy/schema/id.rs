//! The names of schemas. Serves no schema anywhere: a file is found by its path.

use serde_json::Value;

use super::Subject;

/// The schema with the name by which other schemas and editors' catalogues refer to it: where it is kept is nobody's promise.
pub(super) fn named(mut schema: Value, subject: Subject) -> Value {
    let kind = match subject {
        Subject::Policy => "policy",
        Subject::ReferenceValues => "reference-values",
        Subject::Case => "case",
        Subject::Facts => "facts",
    };
    if let Value::Object(fields) = &mut schema {
        let id = format!("urn:holdfast:schema:{}:{kind}", crate::API_VERSION.rsplit('/').next().unwrap_or_default());
        fields.insert("$id".to_owned(), id.into());
    }
    schema
}
