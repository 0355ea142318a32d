//! What the operator is told of a verdict, as JSON: the rule, the nearest alternative, each event that differs. Never
//! the evidence itself.

use std::error::Error;

use holdfast_appraisal::Decision;
use holdfast_evidence::tpm::{EkIdentity, TpmClaims};
use serde_json::{Value, json};

use super::tpm::EvidenceRefused;

/// A policy's decision, the observed policy's beside it, and whose machine it was about.
pub(super) fn decision(decision: &Decision, observed: Option<&Decision>, claims: &TpmClaims) -> String {
    let mut text = serde_json::to_value(decision).unwrap_or_else(|_| json!({}));
    if let Value::Object(fields) = &mut text {
        fields.insert("machine".to_owned(), machine(&claims.eks));
        fields.insert("firmware_log".to_owned(), claims.firmware_log_digest().map(hex::encode).into());
        if let Some(observed) = observed {
            fields.insert("observed".to_owned(), serde_json::to_value(observed).unwrap_or_default());
        }
    }
    text.to_string()
}

/// Evidence that did not verify: the chain of what is wrong.
pub(super) fn unverified(refused: &EvidenceRefused) -> String {
    let mut chain = vec![refused.to_string()];
    let mut next: Option<&dyn Error> = refused.source();
    while let Some(error) = next {
        chain.push(error.to_string());
        next = error.source();
    }
    chain.dedup();
    json!({ "verdict": "refused", "code": refused.code(), "errors": chain }).to_string()
}

fn machine(eks: &[EkIdentity]) -> Value {
    eks.iter()
        .map(|ek| {
            json!({
                "ek_certificate_sha256": hex::encode(ek.certificate_sha256),
                "ek_sha256": hex::encode(ek.spki_sha256),
                "class": ek.class.to_string(),
                "manufacturer": ek.manufacturer,
                "model": ek.model,
                "version": ek.version,
                "root": ek.root_name,
                "root_sha256": hex::encode(ek.root_sha256),
            })
        })
        .collect()
}
