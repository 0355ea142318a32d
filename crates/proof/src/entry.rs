//! The entry of an attempt in the record, as far as a proof needs it.

use holdfast_record::Leaf;
use serde::Deserialize;

use crate::bytes::Digest;
use holdfast_evidence::json;

/// What the entry says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AttemptEntry {
    /// When the verdict was reached, seconds since 1970.
    pub at: i64,
    /// The attempt's name.
    pub attempt: String,
    /// `enrol`, `return` or `renew`.
    pub way: String,
    /// Kinds of evidence, joined by commas.
    pub kinds: String,
    /// The node's name, if it has one.
    #[serde(default)]
    pub spiffe_id: Option<String>,
    /// `admitted`, `awaits_approval` or `refused`.
    pub verdict: String,
    /// Why it was refused, or nothing.
    pub code: String,
    /// The policy that decided.
    #[serde(default)]
    pub policy: Option<Digest>,
    /// SHA-256 of the decision's JSON.
    pub decision: Digest,
    /// Until when the evidence counts, of an admission; absent where the decision's own text says it, as all did once.
    #[serde(default)]
    pub evidence_expires: Option<i64>,
    /// SHA-256 of the manifest; absent in entries of before manifests were kept.
    #[serde(default)]
    pub manifest: Option<Digest>,
}

impl AttemptEntry {
    /// Reads the entry of an attempt.
    ///
    /// # Errors
    /// What else it is.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let leaf = Leaf::parse(bytes);
        if let (Ok(Leaf::Attempt(_)), Some((_, text))) = (&leaf, bytes.split_first()) {
            json::plain(text).map_err(|reason| format!("it is none that a server writes: {reason}"))?;
        }
        // Written again it has every byte, in whichever order, but for blanks and letters that are spelled as numbers.
        if leaf.as_ref().is_ok_and(|leaf| leaf.encode().len() != bytes.len()) {
            return Err("it is none that a server writes: blanks, or letters spelled as numbers".to_owned());
        }
        match leaf {
            Ok(Leaf::Attempt(value)) => {
                let entry = Self::deserialize(&value).map_err(|error: serde_json::Error| error.to_string())?;
                match entry.evidence_expires {
                    Some(_) if entry.verdict != "admitted" => {
                        Err("it is none that a server writes: evidence that counts for a machine that is not admitted"
                            .to_owned())
                    }
                    _ => Ok(entry),
                }
            }
            Ok(Leaf::Issuance { .. }) => Err("it is the entry of an issuance".to_owned()),
            Ok(Leaf::Token { .. }) => Err("it is the entry of a token".to_owned()),
            Ok(Leaf::Act(_)) => Err("it is the entry of an act".to_owned()),
            Err(malformed) => Err(malformed.to_string()),
        }
    }
}
