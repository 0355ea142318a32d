//! `FIELD=VALUE`: fields of a guest, as the command line sets them.

use serde_json::Value;

use crate::error::SimError;
use crate::guest::GuestSpec;

/// Sets each of them: to JSON, or to text where the field does not take what it would be as JSON.
pub(super) fn set(spec: &mut GuestSpec, fields: &[String]) -> Result<(), SimError> {
    for field in fields {
        let (path, value) = field.split_once('=').ok_or_else(|| problem(format!("{field:?} is not FIELD=VALUE")))?;
        let text = Value::from(value);
        let json = serde_json::from_str(value).unwrap_or_else(|_| text.clone());
        *spec = with(spec, path, json).or_else(|_| with(spec, path, text))?;
    }
    Ok(())
}

/// The guest with this in the place of `path`, in which dots lead into tables.
fn with(spec: &GuestSpec, path: &str, value: Value) -> Result<GuestSpec, SimError> {
    let mut whole = serde_json::to_value(spec).unwrap_or_default();
    let kinds = whole.as_object_mut().and_then(|kinds| kinds.values_mut().next());
    let mut at = kinds.ok_or_else(|| problem("guest of no kind".to_owned()))?;
    for name in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = at
            .as_object_mut()
            .map(|table| table.entry(name.to_owned()).or_insert(Value::Null))
            .ok_or_else(|| problem(format!("{path} is no field")))?;
    }
    *at = value;
    serde_json::from_value(whole).map_err(|error| problem(format!("{path}: {error}")))
}

fn problem(problem: String) -> SimError {
    SimError::Guest { what: "field", problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::GuestKind;

    fn set_to(field: &str) -> Result<GuestSpec, SimError> {
        let mut spec = GuestSpec::new(GuestKind::Snp);
        set(&mut spec, &[field.to_owned()]).map(|()| spec)
    }

    #[test]
    fn fields_take_numbers_and_texts_as_they_need_them() {
        let GuestSpec::Snp(spec) = set_to("reported_tcb.snp=20").unwrap() else { panic!("no SNP guest") };
        assert_eq!(spec.reported_tcb.snp, 20);
        let digits = "11".repeat(32);
        let GuestSpec::Snp(spec) = set_to(&format!("behind_report_data={digits}")).unwrap() else {
            panic!("no SNP guest")
        };
        assert_eq!(spec.behind_report_data, Some(digits));
        let GuestSpec::Snp(spec) = set_to("certificate_ends=-5").unwrap() else { panic!("no SNP guest") };
        assert_eq!(spec.certificate_ends, Some(-5));
    }

    #[test]
    fn unknown_fields_and_values_are_refused() {
        for field in ["nothing=1", "vmpl=high", "vmpl", "reported_tcb.none=1"] {
            assert!(set_to(field).is_err(), "{field}");
        }
    }
}
