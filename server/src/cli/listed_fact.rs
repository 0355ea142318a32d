//! A fact that an operator puts on the inventory by its value: a chip, an instance, a project.

use holdfast_appraisal::Value;
use holdfast_appraisal::facts::{FactId, Ownable, owner_digest, registry};

/// `NAME=VALUE`, and the digest that the inventory has it under.
#[derive(Clone, Debug)]
pub(super) struct ListedFact {
    text: String,
    pub(super) digest: Vec<u8>,
}

impl ListedFact {
    /// The inventory holds digests only: what they stand for must be in the label.
    pub(super) fn labelled(&self, label: &str) -> String {
        if label.is_empty() { self.text.clone() } else { format!("{label} ({})", self.text) }
    }
}

/// Reads `NAME=VALUE` of a fact that may be listed.
pub(super) fn read(text: &str) -> Result<ListedFact, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as gcp.project_number=123456789012")?;
    let listable = |id: &FactId| id.definition().ownable == Ownable::Inventory;
    let id = FactId::parse(name).filter(listable).ok_or_else(|| {
        let known = registry().filter(|definition| definition.ownable == Ownable::Inventory);
        format!(
            "{name} is no fact that may be listed; these may: {}",
            known.map(|d| d.name).collect::<Vec<_>>().join(", ")
        )
    })?;
    let value_type = id.definition().value_type;
    let value = Value::parse(value_type, value).ok_or_else(|| format!("{name} is {}", value_type.expected()))?;
    Ok(ListedFact { text: format!("{id}={value}"), digest: owner_digest(id, &value).to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_listed_under_its_name_and_value() {
        let ek = "ab".repeat(32);
        let fact = read(&format!("tpm.ek.spki_sha256={ek}")).unwrap();
        assert_eq!(hex::encode(&fact.digest), ek);
        assert_eq!(fact.labelled("rack 7"), format!("rack 7 (tpm.ek.spki_sha256={ek})"));
        assert_eq!(fact.labelled(""), format!("tpm.ek.spki_sha256={ek}"));
    }

    #[test]
    fn a_fact_that_makes_no_machine_ours_is_refused() {
        for text in [
            "tpm.manufacturer=id:1",
            "tpm.secure_boot.enabled=true",
            "nothing=1",
            "tpm.ek.spki_sha256",
            "tpm.ek.spki_sha256=ab",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
