//! Evidence of virtual TPMs as other tools write it: the JSON of Trustee and of az-snp-vtpm and az-tdx-vtpm, the bincode of
//! az-cvm-vtpm, the JSON of vaportpm, the `Attestation` of go-tpm-tools. Reads them; what a document says of its own version
//! decides nothing.

mod attestation;
mod azure;
mod gcp;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use holdfast_evidence::tpm::PcrIndex;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, de::DeserializeOwned};
use x509_parser::pem::Pem;

pub(super) use self::azure::AzureDocument;
pub(super) use self::gcp::GcpDocument;
use super::report::Refusal;
use super::vtpm::{QuoteFiles, Registers};

/// Registers that a list may have.
const REGISTERS_MAX: usize = 24;
/// What editors on Windows put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Bytes as hex, as base64 of either alphabet, or as a list of numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Numbers(Vec<u8>),
}

/// Registers by number, each once.
struct Named(Vec<(PcrIndex, Vec<u8>)>);

impl Bytes {
    fn decode(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => hex::decode(&text).ok().or_else(|| base64(&text)),
            Self::Numbers(bytes) => Some(bytes),
        }
    }

    /// Certificates, DER: PEM as text or as bytes, else one in DER.
    fn certificates(self) -> Option<Vec<Vec<u8>>> {
        let bytes = match self {
            Self::Text(text) if text.contains("-----BEGIN") => text.into_bytes(),
            other => other.decode()?,
        };
        certificates(bytes)
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Registers;
        impl<'de> Visitor<'de> for Registers {
            type Value = Named;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("registers by number, values in hex")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
                let mut registers: Vec<(PcrIndex, Vec<u8>)> = Vec::new();
                while let Some((number, value)) = map.next_entry::<String, String>()? {
                    let pcr = number.parse().ok().and_then(PcrIndex::new);
                    let pcr = pcr.filter(|pcr| registers.iter().all(|(known, _)| known != pcr));
                    let pcr = pcr.ok_or_else(|| A::Error::custom("a register that is none, or stands twice"))?;
                    registers.push((pcr, hex::decode(value).map_err(A::Error::custom)?));
                }
                registers.sort_by_key(|(pcr, _)| *pcr);
                Ok(Named(registers))
            }
        }
        deserializer.deserialize_map(Registers)
    }
}

/// The quote in the bincode of az-cvm-vtpm: signature and message behind their lengths, then the registers behind their
/// number; `None` for anything else.
pub(super) fn bincode(bytes: &[u8]) -> Option<QuoteFiles> {
    let (signature, rest) = sized(bytes)?;
    let (attest, rest) = sized(rest)?;
    let (count, registers) = number(rest)?;
    let is_all = count <= REGISTERS_MAX && registers.len() == count * 32;
    let registers = registers.chunks_exact(32).map(<[u8]>::to_vec).collect();
    is_all.then(|| QuoteFiles {
        attest: attest.to_vec(),
        signature: signature.to_vec(),
        registers: Some(Registers::Listed(registers)),
    })
}

/// Values of registers: 32 bytes each in a row, or a JSON list or object of hex.
pub(super) fn registers(bytes: &[u8]) -> Option<Registers> {
    if let Ok(list) = serde_json::from_slice::<Vec<Bytes>>(bytes) {
        let few = list.len() <= REGISTERS_MAX;
        return list.into_iter().map(Bytes::decode).collect::<Option<_>>().filter(|_| few).map(Registers::Listed);
    }
    if let Ok(Named(registers)) = serde_json::from_slice(bytes) {
        return Some(Registers::Named(registers));
    }
    let is_row = !bytes.is_empty() && bytes.len().is_multiple_of(32) && bytes.len() <= REGISTERS_MAX * 32;
    is_row.then(|| Registers::Listed(bytes.chunks_exact(32).map(<[u8]>::to_vec).collect()))
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(bytes)?;
    rest.split_at_checked(length)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u64::from_le_bytes(*number)).ok()?, rest))
}

/// PEM, or one DER certificate.
fn certificates(bytes: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    if !bytes.windows(10).any(|window| window == b"-----BEGIN") {
        return Some(vec![bytes]);
    }
    let found: Result<Vec<_>, _> = Pem::iter_from_buffer(&bytes).collect();
    found.ok().map(|found| found.into_iter().map(|pem| pem.contents).collect())
}

/// Of either alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard: String = text
        .trim()
        .chars()
        .map(|c| {
            if c == '-' {
                '+'
            } else if c == '_' {
                '/'
            } else {
                c
            }
        })
        .collect();
    GeneralPurpose::new(&STANDARD, padding).decode(standard).ok()
}

/// What stands behind a byte order mark, where there is one.
fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

fn document<T: DeserializeOwned>(code: &'static str, json: &[u8]) -> Result<T, Refusal> {
    // the parser's own words may repeat a stranger's
    serde_json::from_slice(unmarked(json)).map_err(|error| Refusal {
        code,
        detail: format!("evidence is no document that is known: line {}, column {}", error.line(), error.column()),
    })
}

fn malformed(code: &'static str, what: &str) -> Refusal {
    Refusal { code, detail: format!("evidence does not parse: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_in_each_of_their_forms() {
        for text in ["\"fb\"", "\"-w\"", "\"+w==\"", "[251]"] {
            let bytes: Bytes = serde_json::from_str(text).unwrap();
            assert_eq!(bytes.decode(), Some(vec![0xfb]), "{text}");
        }
        assert_eq!(serde_json::from_str::<Bytes>("\"*\"").unwrap().decode(), None);
    }

    #[test]
    fn a_register_stands_once() {
        let named = |json: &str| registers(json.as_bytes());
        let one = || vec![(PcrIndex::new(8).unwrap(), vec![1])];
        assert_eq!(named(r#"{"8":"01"}"#), Some(Registers::Named(one())));
        assert_eq!(named(r#"{"8":"01","8":"02"}"#), None);
        assert_eq!(named(r#"{"08":"01","8":"02"}"#), None);
        assert_eq!(named(r#"{"24":"01"}"#), None);
    }

    #[test]
    fn a_row_of_registers_has_whole_ones() {
        assert_eq!(registers(&[7; 64]), Some(Registers::Listed(vec![vec![7; 32]; 2])));
        for length in [0, 31, 33, 25 * 32] {
            assert_eq!(registers(&vec![7; length]), None, "{length}");
        }
    }
}
