//! The `Attestation` of go-tpm-tools, in its binary form and as the JSON that protobuf has for it. What it says of the
//! instance beside its certificate is nobody's word, and is not read.

use std::collections::BTreeMap;

use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tpm::PcrIndex;
use prost::Message;
use serde::Deserialize;

use super::gcp::GcpDocument;
use super::malformed;
use crate::inspect::forms;
use crate::inspect::report::Refusal;
use crate::inspect::vtpm::{QuoteFiles, Registers};

/// Quotes of one attestation: one for each bank.
const QUOTES_MAX: usize = 8;
/// Certificates above the key's.
const ISSUERS_MAX: usize = 8;

#[derive(Clone, PartialEq, Message)]
struct Attestation {
    /// TPMT_PUBLIC
    #[prost(bytes = "vec", tag = "1")]
    ak_pub: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    quotes: Vec<Quote>,
    #[prost(bytes = "vec", tag = "3")]
    event_log: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    ak_cert: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    intermediate_certs: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Quote {
    #[prost(bytes = "vec", tag = "1")]
    quote: Vec<u8>,
    /// TPMT_SIGNATURE
    #[prost(bytes = "vec", tag = "2")]
    raw_sig: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pcrs: Option<Pcrs>,
}

#[derive(Clone, PartialEq, Message)]
struct Pcrs {
    /// The TPM's number of the bank's algorithm.
    #[prost(int32, tag = "1")]
    hash: i32,
    #[prost(btree_map = "uint32, bytes", tag = "2")]
    pcrs: BTreeMap<u32, Vec<u8>>,
}

/// The same in JSON: bytes in base64, numbers of registers as names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawAttestationMessage {
    #[serde(alias = "ak_pub")]
    ak_pub: Base64,
    quotes: Vec<RawQuote>,
    #[serde(alias = "event_log")]
    event_log: Option<Base64>,
    #[serde(alias = "ak_cert")]
    ak_cert: Option<Base64>,
    #[serde(alias = "intermediate_certs", default)]
    intermediate_certs: Vec<Base64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawQuote {
    quote: Base64,
    #[serde(alias = "raw_sig")]
    raw_sig: Base64,
    pcrs: RawPcrs,
}

#[derive(Deserialize)]
struct RawPcrs {
    hash: RawHash,
    pcrs: BTreeMap<String, Base64>,
}

/// By name, or by the TPM's number.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawHash {
    Name(String),
    Number(i32),
}

/// Never hex: four digits of it are base64 too.
#[derive(Deserialize)]
struct Base64(String);

/// Reads the binary form.
pub(super) fn binary(bytes: &[u8]) -> Result<GcpDocument, Refusal> {
    let read = Attestation::decode(bytes);
    read.map_err(|_| malformed("gcp.item.malformed", "neither JSON nor an attestation of go-tpm-tools"))?.document()
}

impl RawAttestationMessage {
    pub(super) fn document(self) -> Result<GcpDocument, Refusal> {
        let read = || {
            let optional = |field: Option<Base64>| field.map_or(Some(Vec::new()), Base64::decode);
            Some(Attestation {
                ak_pub: self.ak_pub.decode()?,
                quotes: self.quotes.into_iter().map(RawQuote::decode).collect::<Option<_>>()?,
                event_log: optional(self.event_log)?,
                ak_cert: optional(self.ak_cert)?,
                intermediate_certs: self.intermediate_certs.into_iter().map(Base64::decode).collect::<Option<_>>()?,
            })
        };
        read().ok_or_else(|| malformed("gcp.item.malformed", "attestation of go-tpm-tools"))?.document()
    }
}

impl RawQuote {
    fn decode(self) -> Option<Quote> {
        let hash = match self.pcrs.hash {
            RawHash::Number(number) => number,
            RawHash::Name(name) => number(match name.as_str() {
                "SHA256" => HashAlg::Sha256,
                "SHA384" => HashAlg::Sha384,
                // of another bank: it is passed over
                _ => return Some(Quote::default()),
            }),
        };
        let mut pcrs = BTreeMap::new();
        for (pcr, value) in self.pcrs.pcrs {
            if pcrs.insert(pcr.parse().ok()?, value.decode()?).is_some() {
                return None;
            }
        }
        let pcrs = Some(Pcrs { hash, pcrs });
        Some(Quote { quote: self.quote.decode()?, raw_sig: self.raw_sig.decode()?, pcrs })
    }
}

impl Base64 {
    fn decode(self) -> Option<Vec<u8>> {
        super::base64(&self.0)
    }
}

impl Attestation {
    /// The quote of the best bank that we read; there is one at most for each.
    fn document(self) -> Result<GcpDocument, Refusal> {
        let refused = |what: &str| malformed("gcp.item.malformed", what);
        if self.quotes.len() > QUOTES_MAX || self.intermediate_certs.len() > ISSUERS_MAX {
            return Err(refused("too many quotes or certificates"));
        }
        let of = |hash: HashAlg| {
            let wanted = number(hash);
            self.quotes.iter().filter(move |quote| quote.pcrs.as_ref().is_some_and(|pcrs| pcrs.hash == wanted))
        };
        let mut quotes = of(HashAlg::Sha256).chain(of(HashAlg::Sha384));
        let Some(Quote { quote, raw_sig, pcrs }) = quotes.next() else {
            return Err(refused("no quote of SHA-256 or SHA-384"));
        };
        let pcrs = pcrs.iter().flat_map(|pcrs| &pcrs.pcrs);
        let named: Option<Vec<_>> = pcrs.map(|(pcr, value)| Some((PcrIndex::new(*pcr)?, value.clone()))).collect();
        let quote = QuoteFiles {
            attest: forms::attest(quote).to_vec(),
            signature: raw_sig.clone(),
            registers: Some(Registers::Named(named.ok_or_else(|| refused("a register that is none"))?)),
        };
        let given = |bytes: Vec<u8>| Some(bytes).filter(|bytes| !bytes.is_empty());
        Ok(GcpDocument {
            key: None,
            quote,
            ak_public: Some(self.ak_pub),
            log: given(self.event_log),
            certificates: given(self.ak_cert).into_iter().chain(self.intermediate_certs).collect(),
        })
    }
}

fn number(hash: HashAlg) -> i32 {
    i32::from(hash.id())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Map, Value, json};

    use super::*;

    fn attestation() -> Attestation {
        let quote = |hash: HashAlg, byte: u8| Quote {
            quote: vec![byte],
            raw_sig: vec![byte, 1],
            pcrs: Some(Pcrs { hash: number(hash), pcrs: [(0, vec![byte; 32]), (23, vec![9; 32])].into() }),
        };
        Attestation {
            ak_pub: vec![0xab, 0xcd],
            quotes: vec![quote(HashAlg::Sha384, 8), quote(HashAlg::Sha256, 7)],
            event_log: vec![3],
            ak_cert: vec![0x30],
            intermediate_certs: vec![vec![0x31]],
        }
    }

    fn in_json(attestation: &Attestation) -> Value {
        let text = |bytes: &[u8]| json!(STANDARD.encode(bytes));
        let quote = |quote: &Quote| {
            let pcrs = quote.pcrs.as_ref().unwrap();
            let values: Map<_, _> = pcrs.pcrs.iter().map(|(pcr, value)| (pcr.to_string(), text(value))).collect();
            let hash = if pcrs.hash == 0xb { "SHA256" } else { "SHA384" };
            json!({ "quote": text(&quote.quote), "rawSig": text(&quote.raw_sig), "pcrs": { "hash": hash, "pcrs": values } })
        };
        json!({
            "akPub": text(&attestation.ak_pub),
            "quotes": attestation.quotes.iter().map(quote).collect::<Vec<_>>(),
            "eventLog": text(&attestation.event_log),
            "akCert": text(&attestation.ak_cert),
            "intermediateCerts": attestation.intermediate_certs.iter().map(|der| text(der)).collect::<Vec<_>>(),
            "instanceInfo": { "zone": "read past" },
        })
    }

    #[test]
    fn both_forms_say_the_same_and_the_bank_is_sha256() {
        let binary = attestation().encode_to_vec();
        let json = in_json(&attestation()).to_string();
        for bytes in [&binary[..], json.as_bytes()] {
            let found = GcpDocument::parse(bytes).unwrap();
            assert_eq!((found.ak_public, found.log), (Some(vec![0xab, 0xcd]), Some(vec![3])));
            assert_eq!(found.certificates, [vec![0x30], vec![0x31]]);
            let pcr = |at| PcrIndex::new(at).unwrap();
            let registers = vec![(pcr(0), vec![7; 32]), (pcr(23), vec![9; 32])];
            let quote =
                QuoteFiles { attest: vec![7], signature: vec![7, 1], registers: Some(Registers::Named(registers)) };
            assert_eq!(found.quote, quote);
        }
    }

    #[test]
    fn what_is_no_attestation_or_too_much_of_one_is_refused() {
        let refused = |attestation: Attestation| {
            let binary = GcpDocument::parse(&attestation.encode_to_vec()).unwrap_err().code;
            let json = GcpDocument::parse(in_json(&attestation).to_string().as_bytes()).unwrap_err().code;
            assert_eq!((binary, json), ("gcp.item.malformed", "gcp.item.malformed"));
        };
        refused(Attestation { quotes: Vec::new(), ..attestation() });
        refused(Attestation { quotes: vec![attestation().quotes.remove(0); 9], ..attestation() });
        refused(Attestation { intermediate_certs: vec![Vec::new(); 9], ..attestation() });
        let mut strange = attestation();
        strange.quotes[1].pcrs.as_mut().unwrap().pcrs.insert(24, Vec::new());
        refused(strange);
        for bytes in [&[0xff; 9][..], b"{}", b"", b"\x0a\x05"] {
            assert_eq!(GcpDocument::parse(bytes).unwrap_err().code, "gcp.item.malformed");
        }
        // a register under two spellings of its number
        let json = in_json(&attestation()).to_string().replacen("\"23\":", "\"00\":", 2);
        assert_eq!(GcpDocument::parse(json.as_bytes()).unwrap_err().code, "gcp.item.malformed");
    }
}
