//! What a document about a Google Cloud instance holds: the JSON of vaportpm, or an attestation of go-tpm-tools.

use std::collections::BTreeMap;

use holdfast_evidence::crypto::{Curve, PublicKey};
use serde::Deserialize;

use super::attestation::{self, RawAttestationMessage};
use super::{BYTE_ORDER_MARK, Bytes, Named, document, malformed, unmarked};
use crate::inspect::forms;
use crate::inspect::report::Refusal;
use crate::inspect::vtpm::{QuoteFiles, Registers};

/// What a document about a Google Cloud instance holds.
#[derive(Debug)]
pub(in crate::inspect) struct GcpDocument {
    pub(in crate::inspect) key: Option<PublicKey>,
    /// Its public area.
    pub(in crate::inspect) ak_public: Option<Vec<u8>>,
    /// DER, the key's own first; none if the document has none.
    pub(in crate::inspect) certificates: Vec<Vec<u8>>,
    pub(in crate::inspect) quote: QuoteFiles,
    /// The firmware log.
    pub(in crate::inspect) log: Option<Vec<u8>>,
}

/// A document, by the names that it has.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawGcp {
    Vaportpm(Box<RawVaportpm>),
    GoTpmTools(Box<RawAttestationMessage>),
}

#[derive(Deserialize)]
struct RawVaportpm {
    pcrs: RawBanks,
    #[serde(default)]
    ak_pubkeys: BTreeMap<String, RawKey>,
    attestation: RawAttestation,
}

#[derive(Deserialize)]
struct RawBanks {
    sha256: Option<Named>,
    sha384: Option<Named>,
}

/// Coordinates of a point, or a modulus; hex.
#[derive(Deserialize)]
struct RawKey {
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
}

#[derive(Deserialize)]
struct RawAttestation {
    /// By the kind of the key: `ecc_p256`, `rsa_2048`.
    tpm: BTreeMap<String, RawSigned>,
    gcp: RawChain,
}

#[derive(Deserialize)]
struct RawSigned {
    attest_data: Bytes,
    signature: Bytes,
}

#[derive(Deserialize)]
struct RawChain {
    ak_cert_chain: Bytes,
}

impl GcpDocument {
    /// JSON, if it begins like an object, else the binary form of go-tpm-tools.
    pub(in crate::inspect) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let is_json = bytes.starts_with(BYTE_ORDER_MARK) || bytes.trim_ascii_start().starts_with(b"{");
        if !is_json {
            return attestation::binary(bytes);
        }
        match document("gcp.item.malformed", unmarked(bytes))? {
            RawGcp::Vaportpm(raw) => raw.document(),
            RawGcp::GoTpmTools(raw) => raw.document(),
        }
    }
}

impl RawVaportpm {
    fn document(mut self) -> Result<GcpDocument, Refusal> {
        let refused = |what: &str| malformed("gcp.item.malformed", what);
        let mut signed = self.attestation.tpm.into_iter();
        let (Some((kind, RawSigned { attest_data, signature })), None) = (signed.next(), signed.next()) else {
            return Err(refused("quotes: one key"));
        };
        let key = self.ak_pubkeys.remove(&kind).map(|raw| raw.key().ok_or_else(|| refused("attestation key")));
        let registers = match (self.pcrs.sha256, self.pcrs.sha384) {
            (Some(Named(registers)), None) | (None, Some(Named(registers))) => registers,
            _ => return Err(refused("registers: one bank")),
        };
        let attest = attest_data.decode().ok_or_else(|| refused("quote"))?;
        let quote = QuoteFiles {
            attest: forms::attest(&attest).to_vec(),
            signature: signature.decode().ok_or_else(|| refused("signature"))?,
            registers: Some(Registers::Named(registers)),
        };
        let chain = self.attestation.gcp.ak_cert_chain.certificates().ok_or_else(|| refused("certificates"))?;
        Ok(GcpDocument { key: key.transpose()?, ak_public: None, certificates: chain, quote, log: None })
    }
}

impl RawKey {
    fn key(&self) -> Option<PublicKey> {
        let bytes = |text: &Option<String>| text.as_deref().and_then(|text| hex::decode(text).ok());
        match (&self.n, bytes(&self.x), bytes(&self.y)) {
            (None, Some(x), Some(y)) => PublicKey::ec(Curve::P256, &x, &y),
            (Some(_), None, None) => PublicKey::rsa(&bytes(&self.n)?),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vaportpm(keys: &str, quotes: &str) -> String {
        let quotes = quotes.replace('!', r#"{"attest_data":"00","signature":"01"}"#);
        format!(
            r#"{{"pcrs":{{"sha256":{{"0":"02"}}}},"ak_pubkeys":{keys},"attestation":{{"tpm":{quotes},"gcp":{{"ak_cert_chain":"3000"}}}}}}"#
        )
    }

    #[test]
    fn a_key_of_vaportpms_is_a_point_or_a_modulus() {
        let modulus = format!("c1{}", "55".repeat(255));
        let rsa = vaportpm(&format!(r#"{{"rsa_2048":{{"n":"{modulus}"}}}}"#), r#"{"rsa_2048":!}"#);
        let found = GcpDocument::parse(rsa.as_bytes()).unwrap();
        assert_eq!(found.key, PublicKey::rsa(&hex::decode(&modulus).unwrap()));
        assert!(found.key.is_some());
        // without a key it is the certificate's
        for keys in ["{}", r#"{"ecc_p256":{"x":"00","y":"00"}}"#] {
            assert_eq!(GcpDocument::parse(vaportpm(keys, r#"{"rsa_2048":!}"#).as_bytes()).unwrap().key, None, "{keys}");
        }
    }

    #[test]
    fn two_quotes_or_half_a_key_are_refused() {
        let both = r#"{"ecc_p256":!,"rsa_2048":!}"#;
        let half = r#"{"ecc_p256":{"x":"00"}}"#;
        for json in [vaportpm("{}", both), vaportpm("{}", "{}"), vaportpm(half, r#"{"ecc_p256":!}"#)] {
            assert_eq!(GcpDocument::parse(json.as_bytes()).unwrap_err().code, "gcp.item.malformed", "{json}");
        }
    }
}
