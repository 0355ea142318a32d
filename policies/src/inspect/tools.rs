//! Evidence of virtual TPMs as other tools write it: the JSON of Trustee and of az-snp-vtpm and az-tdx-vtpm, the bincode of
//! az-cvm-vtpm, the JSON of vaportpm. Reads them; what a document says of its own version decides nothing.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use holdfast_evidence::crypto::{Curve, PublicKey};
use holdfast_evidence::tpm::PcrIndex;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, de::DeserializeOwned};
use x509_parser::pem::Pem;

use super::report::Refusal;
use super::vtpm::{QuoteFiles, Registers};

/// Registers that a list may have.
const REGISTERS_MAX: usize = 24;

/// What a document about an Azure machine holds.
#[derive(Debug, Default)]
pub(super) struct AzureDocument {
    pub(super) hcl: Option<Vec<u8>>,
    pub(super) quote: Option<QuoteFiles>,
    /// DER.
    pub(super) vek: Option<Vec<Vec<u8>>>,
    pub(super) td_quote: Option<Vec<u8>>,
}

/// What a document about a Google Cloud instance holds.
#[derive(Debug)]
pub(super) struct GcpDocument {
    pub(super) key: Option<PublicKey>,
    /// DER, the key's own first.
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) quote: QuoteFiles,
}

#[derive(Deserialize)]
struct RawAzure {
    hcl_report: Option<Bytes>,
    report: Option<Bytes>,
    tpm_quote: Option<RawQuote>,
    quote: Option<RawQuote>,
    vcek: Option<String>,
    td_quote: Option<Bytes>,
    // a quote alone
    signature: Option<Bytes>,
    message: Option<Bytes>,
    pcrs: Option<Vec<Bytes>>,
}

#[derive(Deserialize)]
struct RawQuote {
    signature: Bytes,
    message: Bytes,
    pcrs: Vec<Bytes>,
}

/// Bytes as hex, as base64 of either alphabet, or as a list of numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Numbers(Vec<u8>),
}

#[derive(Deserialize)]
struct RawGcp {
    pcrs: RawBanks,
    ak_pubkeys: Option<RawKeys>,
    attestation: RawAttestation,
}

#[derive(Deserialize)]
struct RawBanks {
    sha256: Option<Named>,
    sha384: Option<Named>,
}

#[derive(Deserialize)]
struct RawKeys {
    ecc_p256: Option<RawPoint>,
}

#[derive(Deserialize)]
struct RawPoint {
    x: String,
    y: String,
}

#[derive(Deserialize)]
struct RawAttestation {
    tpm: RawTpm,
    gcp: RawChain,
}

#[derive(Deserialize)]
struct RawTpm {
    ecc_p256: RawSigned,
}

#[derive(Deserialize)]
struct RawSigned {
    attest_data: Bytes,
    signature: Bytes,
}

#[derive(Deserialize)]
struct RawChain {
    ak_cert_chain: String,
}

/// Registers by number, each once.
struct Named(Vec<(PcrIndex, Vec<u8>)>);

impl AzureDocument {
    pub(super) fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let refused = |what: &str| malformed("azure.item.malformed", what);
        let raw: RawAzure = document("azure.item.malformed", json)?;
        let bytes = |bytes: Option<Bytes>, what| bytes.map(|b| b.decode().ok_or_else(|| refused(what))).transpose();
        let hcl = match (raw.hcl_report, raw.report) {
            (Some(_), Some(_)) => return Err(refused("two HCL reports")),
            (one, other) => bytes(one.or(other), "HCL report")?,
        };
        let alone = match (raw.signature, raw.message, raw.pcrs) {
            (Some(signature), Some(message), Some(pcrs)) => Some(RawQuote { signature, message, pcrs }),
            (None, None, None) => None,
            _ => return Err(refused("half a quote")),
        };
        let mut quotes = [raw.tpm_quote, raw.quote, alone].into_iter().flatten();
        let quote = quotes.next().map(|quote| quote.decode().ok_or_else(|| refused("quote"))).transpose()?;
        if quotes.next().is_some() {
            return Err(refused("two quotes"));
        }
        let vek = raw.vcek.map(|text| certificates(&text).ok_or_else(|| refused("VCEK"))).transpose()?;
        Ok(Self { hcl, quote, vek, td_quote: bytes(raw.td_quote, "TD quote")? })
    }
}

impl GcpDocument {
    pub(super) fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let refused = |what: &str| malformed("gcp.item.malformed", what);
        let raw: RawGcp = document("gcp.item.malformed", json)?;
        let key = raw.ak_pubkeys.and_then(|keys| keys.ecc_p256).map(|point| {
            let (x, y) = (hex::decode(point.x).ok()?, hex::decode(point.y).ok()?);
            PublicKey::ec(Curve::P256, &x, &y)
        });
        let key = key.map(|key| key.ok_or_else(|| refused("attestation key"))).transpose()?;
        let RawSigned { attest_data, signature } = raw.attestation.tpm.ecc_p256;
        let registers = match (raw.pcrs.sha256, raw.pcrs.sha384) {
            (Some(Named(registers)), None) | (None, Some(Named(registers))) => registers,
            _ => return Err(refused("registers: one bank")),
        };
        let quote = QuoteFiles {
            attest: attest_data.decode().ok_or_else(|| refused("quote"))?,
            signature: signature.decode().ok_or_else(|| refused("signature"))?,
            registers: Some(Registers::Named(registers)),
        };
        let chain = certificates(&raw.attestation.gcp.ak_cert_chain).ok_or_else(|| refused("certificates"))?;
        Ok(Self { key, certificates: chain, quote })
    }
}

impl RawQuote {
    fn decode(self) -> Option<QuoteFiles> {
        if self.pcrs.len() > REGISTERS_MAX {
            return None;
        }
        let registers = self.pcrs.into_iter().map(Bytes::decode).collect::<Option<_>>()?;
        Some(QuoteFiles {
            attest: self.message.decode()?,
            signature: self.signature.decode()?,
            registers: Some(Registers::Listed(registers)),
        })
    }
}

impl Bytes {
    fn decode(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => hex::decode(&text).ok().or_else(|| base64(&text)),
            Self::Numbers(bytes) => Some(bytes),
        }
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

/// PEM, or base64 of one DER certificate.
fn certificates(text: &str) -> Option<Vec<Vec<u8>>> {
    if !text.contains("-----BEGIN") {
        return base64(text).map(|der| vec![der]);
    }
    let found: Result<Vec<_>, _> = Pem::iter_from_buffer(text.as_bytes()).collect();
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

fn document<T: DeserializeOwned>(code: &'static str, json: &[u8]) -> Result<T, Refusal> {
    // the parser's own words may repeat a stranger's
    serde_json::from_slice(json).map_err(|error| Refusal {
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

    #[test]
    fn what_stands_twice_or_by_half_is_refused() {
        let quote = r#"{"signature":"00","message":"00","pcrs":[]}"#;
        for json in [
            format!(r#"{{"quote":{quote},"tpm_quote":{quote}}}"#),
            r#"{"report":[1],"hcl_report":"00"}"#.to_owned(),
            r#"{"hcl_report":"00","hcl_report":"01"}"#.to_owned(),
            r#"{"signature":"00"}"#.to_owned(),
            r#"{"vcek":"!"}"#.to_owned(),
            "[]".to_owned(),
        ] {
            assert_eq!(AzureDocument::parse(json.as_bytes()).unwrap_err().code, "azure.item.malformed", "{json}");
        }
        assert!(AzureDocument::parse(format!(r#"{{"version":9,"quote":{quote}}}"#).as_bytes()).is_ok());
    }
}
