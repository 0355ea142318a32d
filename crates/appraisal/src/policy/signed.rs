//! Signatures of reference-value files: detached, in a file beside each, by keys that the policy names. A signature says
//! who vouches for a file, not that it is the newest: which one counts, the policy's digest says.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_evidence::crypto::{DETACHED_SIGNATURE_BYTES_MAX, DetachedKey};
use toml::de::DeTable;

use crate::document::{Document, Reader};
use crate::finding::Kind;

/// What stands behind the name of a file in the name of its signature.
pub const SIGNATURE_SUFFIX: &str = ".sig";
/// What stands before the file's bytes, so that no signature made for anything else is one of reference values.
const DOMAIN: &[u8] = b"holdfast/reference-values/1\n";
/// Most keys that one policy names: each signature is tried with each of them.
const KEYS_MAX: usize = 16;
/// Longest file of a signature: base64, and white space of an editor.
const SIGNATURE_FILE_BYTES_MAX: usize = DETACHED_SIGNATURE_BYTES_MAX * 4;

/// What is signed of a reference-value file: `holdfast/reference-values/1`, a line feed, and the file.
#[must_use]
pub fn signed_reference_values(text: &str) -> Vec<u8> {
    [DOMAIN, text.as_bytes()].concat()
}

/// What is signed of a policy version: `holdfast/policy-signature/1`, then the version's digest in hexadecimal digits, each
/// with a line feed.
#[must_use]
pub fn signed_policy_version(digest: &str) -> Vec<u8> {
    format!("holdfast/policy-signature/1\n{digest}\n").into_bytes()
}

/// Whose signatures the policy demands.
pub(super) enum Signatures {
    /// It names no keys: the policy's own digest and signature say what the files are.
    NotDemanded,
    /// Each file must be signed by one of these; by none where they could not be read.
    Demanded(Vec<DetachedKey>),
}

/// The files that signatures take: one for each reference-value file, then the keys.
pub(super) fn files(reader: &mut Reader<'_>, table: &DeTable<'_>, references: &[String]) -> Vec<String> {
    let Some(node) = table.get("reference_keys") else { return Vec::new() };
    let signatures = references.iter().map(|file| format!("{file}{SIGNATURE_SUFFIX}"));
    let keys = reader.strings(node, "reference_keys").into_iter().map(|(file, _)| file.to_owned());
    signatures.chain(keys).collect()
}

impl Signatures {
    pub(super) fn read(reader: &mut Reader<'_>, table: &DeTable<'_>, documents: &[Document<'_>]) -> Self {
        let Some(node) = table.get("reference_keys") else { return Self::NotDemanded };
        let named = reader.strings(node, "reference_keys");
        if named.len() > KEYS_MAX {
            let message = format!("reference_keys has {} values, limit {KEYS_MAX}", named.len());
            reader.add(node.span(), Kind::TooLarge, message, None);
        }
        if !table.contains_key("reference_values") {
            let message = "reference_keys without reference_values: there is nothing that they could have signed";
            let suggestion = Some("take it out, or name the files under reference_values".to_owned());
            reader.add(node.span(), Kind::ReferenceKeys, message.to_owned(), suggestion);
        }
        let mut keys = Vec::new();
        for (file, span) in named.into_iter().take(KEYS_MAX) {
            let Some(document) = documents.iter().find(|document| document.name == file) else {
                reader.add(span, Kind::ReferenceFileMissing, format!("file {file:?} was not given"), None);
                continue;
            };
            match DetachedKey::from_pem(document.text) {
                Ok(key) => keys.push(key),
                Err(bad) => {
                    let suggestion = "make one by: openssl pkey -in KEY.pem -pubout (Ed25519 or P-256)".to_owned();
                    reader.add(span, Kind::ReferenceKeys, format!("{file:?}: {bad}"), Some(suggestion));
                }
            }
        }
        Self::Demanded(keys)
    }

    /// By which key the file is signed, in hexadecimal digits; empty if that is not demanded. `None` is a finding.
    pub(super) fn check(
        &self,
        reader: &mut Reader<'_>,
        file: Document<'_>,
        documents: &[Document<'_>],
        span: &Range<usize>,
    ) -> Option<String> {
        let keys = match self {
            Self::NotDemanded => return Some(String::new()),
            Self::Demanded(keys) => keys,
        };
        let name = format!("{}{SIGNATURE_SUFFIX}", file.name);
        let Some(signature) = documents.iter().find(|document| document.name == name) else {
            let message = format!("{:?} is not signed: reference_keys wants {name:?} beside it", file.name);
            let suggestion = format!("holdfast-policy reference sign {} --key KEY.pem", file.name);
            reader.add(span.clone(), Kind::ReferenceUnsigned, message, Some(suggestion));
            return None;
        };
        let mut refuse = |why: &str| {
            let message = format!("{:?}: {why}", signature.name);
            reader.add(span.clone(), Kind::ReferenceSignature, message, None);
            None
        };
        if signature.text.len() > SIGNATURE_FILE_BYTES_MAX {
            return refuse("too long for a signature in base64");
        }
        // `openssl base64` breaks lines.
        let digits: String = signature.text.split_ascii_whitespace().collect();
        let Ok(bytes) = STANDARD.decode(digits) else {
            return refuse("not a signature in base64");
        };
        let message = signed_reference_values(file.text);
        match keys.iter().find(|key| key.verify(&message, &bytes).is_ok()) {
            Some(key) => Some(hex::encode(key.spki_sha256())),
            None => refuse(&format!("none of the keys in reference_keys made it over {:?} as it is", file.name)),
        }
    }
}
