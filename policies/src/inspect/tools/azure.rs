//! What a document about an Azure machine holds: of Trustee, az-snp-vtpm and az-tdx-vtpm, bare or inside of what Trustee's
//! clients send.

use serde::Deserialize;

use super::{Bytes, REGISTERS_MAX, document, malformed};
use crate::inspect::forms;
use crate::inspect::report::Refusal;
use crate::inspect::vtpm::{QuoteFiles, Registers};

/// Documents inside of each other: Trustee's request, its evidence, the primary one of it.
const WRAPPINGS_MAX: usize = 4;

/// What a document about an Azure machine holds.
#[derive(Debug, Default)]
pub(in crate::inspect) struct AzureDocument {
    pub(in crate::inspect) hcl: Option<Vec<u8>>,
    pub(in crate::inspect) quote: Option<QuoteFiles>,
    /// DER.
    pub(in crate::inspect) vek: Option<Vec<Vec<u8>>>,
    pub(in crate::inspect) td_quote: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct RawAzure {
    #[serde(alias = "hclReport")]
    hcl_report: Option<Bytes>,
    report: Option<Bytes>,
    #[serde(alias = "tpmQuote")]
    tpm_quote: Option<RawQuote>,
    quote: Option<RawQuote>,
    vcek: Option<Bytes>,
    #[serde(alias = "tdQuote")]
    td_quote: Option<Bytes>,
    // a quote alone
    signature: Option<Bytes>,
    message: Option<Bytes>,
    pcrs: Option<Vec<Bytes>>,
    // the same once more inside
    #[serde(alias = "tee-evidence", alias = "teeEvidence")]
    tee_evidence: Option<Wrapped>,
    #[serde(alias = "primaryEvidence")]
    primary_evidence: Option<Wrapped>,
}

/// A document as JSON, or as text of JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Wrapped {
    Text(String),
    Document(Box<RawAzure>),
}

#[derive(Deserialize)]
struct RawQuote {
    signature: Bytes,
    message: Bytes,
    pcrs: Vec<Bytes>,
}

impl AzureDocument {
    pub(in crate::inspect) fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let refused = |what: &str| malformed("azure.item.malformed", what);
        let raw = RawAzure::innermost(document("azure.item.malformed", json)?)?;
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
        let vek = raw.vcek.map(|vcek| vcek.certificates().ok_or_else(|| refused("VCEK"))).transpose()?;
        Ok(Self { hcl, quote, vek, td_quote: bytes(raw.td_quote, "TD quote")? })
    }
}

impl RawAzure {
    /// The document that is wrapped in no other. One that holds evidence beside what it wraps is two documents.
    fn innermost(self) -> Result<Self, Refusal> {
        let refused = |what: &str| malformed("azure.item.malformed", what);
        let mut outer = self;
        for _ in 0..WRAPPINGS_MAX {
            let is_evidence = outer.is_evidence();
            let inner = match (outer.tee_evidence.take(), outer.primary_evidence.take()) {
                (None, None) => return Ok(outer),
                (Some(inner), None) | (None, Some(inner)) if !is_evidence => inner,
                _ => return Err(refused("two documents in one")),
            };
            outer = match inner {
                Wrapped::Document(inner) => *inner,
                Wrapped::Text(text) => document("azure.item.malformed", text.as_bytes())?,
            };
        }
        Err(refused("wrapped too often"))
    }

    const fn is_evidence(&self) -> bool {
        self.hcl_report.is_some()
            || self.report.is_some()
            || self.tpm_quote.is_some()
            || self.quote.is_some()
            || self.vcek.is_some()
            || self.td_quote.is_some()
            || self.signature.is_some()
            || self.message.is_some()
            || self.pcrs.is_some()
    }
}

impl RawQuote {
    fn decode(self) -> Option<QuoteFiles> {
        if self.pcrs.len() > REGISTERS_MAX {
            return None;
        }
        let registers = self.pcrs.into_iter().map(Bytes::decode).collect::<Option<_>>()?;
        Some(QuoteFiles {
            attest: forms::attest(&self.message.decode()?).to_vec(),
            signature: self.signature.decode()?,
            registers: Some(Registers::Listed(registers)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTE: &str = r#"{"signature":"00","message":"00","pcrs":[]}"#;

    #[test]
    fn what_stands_twice_or_by_half_is_refused() {
        let quote = QUOTE;
        for json in [
            format!(r#"{{"quote":{quote},"tpm_quote":{quote}}}"#),
            r#"{"report":[1],"hcl_report":"00"}"#.to_owned(),
            r#"{"hcl_report":"00","hcl_report":"01"}"#.to_owned(),
            r#"{"signature":"00"}"#.to_owned(),
            r#"{"vcek":"!"}"#.to_owned(),
            "[]".to_owned(),
            format!(r#"{{"quote":{quote},"tee-evidence":{{"quote":{quote}}}}}"#),
            format!(r#"{{"primary_evidence":{{"quote":{quote}}},"tee-evidence":{{"quote":{quote}}}}}"#),
            format!(r#"{{"tee-evidence":{{"hcl_report":"00","hcl_report":"01","quote":{quote}}}}}"#),
            format!("{}{{}}{}", r#"{"tee-evidence":"#.repeat(9), "}".repeat(9)),
        ] {
            assert_eq!(AzureDocument::parse(json.as_bytes()).unwrap_err().code, "azure.item.malformed", "{json}");
        }
        assert!(AzureDocument::parse(format!(r#"{{"version":9,"quote":{quote}}}"#).as_bytes()).is_ok());
    }

    #[test]
    fn what_trustees_clients_wrap_is_the_same_document() {
        let bare = format!(r#"{{"hcl_report":"0a","tpm_quote":{QUOTE},"td_quote":[1]}}"#);
        let camel =
            bare.replace("hcl_report", "hclReport").replace("tpm_quote", "tpmQuote").replace("td_quote", "tdQuote");
        let text = serde_json::to_string(&bare).unwrap();
        for json in [
            bare.clone(),
            format!("\u{feff}{bare}"),
            camel,
            format!(r#"{{"tee":"az-tdx-vtpm","tee-evidence":{bare}}}"#),
            format!(r#"{{"tee":"az-tdx-vtpm","tee-evidence":{text}}}"#),
            format!(r#"{{"tee-evidence":{{"primary_evidence":{bare},"additional_evidence":""}}}}"#),
        ] {
            let found = AzureDocument::parse(json.as_bytes()).unwrap();
            assert_eq!((found.hcl, found.td_quote), (Some(vec![10]), Some(vec![1])), "{json}");
            assert!(found.quote.is_some());
        }
    }

    #[test]
    fn a_vcek_is_pem_hex_base64_or_bytes_and_a_message_may_have_its_length() {
        for vcek in [r#""30820102""#, r#""MIIBAg==""#, "[48,130,1,2]"] {
            let found = AzureDocument::parse(format!(r#"{{"vcek":{vcek}}}"#).as_bytes()).unwrap();
            assert_eq!(found.vek, Some(vec![vec![0x30, 0x82, 1, 2]]), "{vcek}");
        }
        let quote = QUOTE.replacen(r#""message":"00""#, r#""message":"0005ff54434780""#, 1);
        let found = AzureDocument::parse(format!(r#"{{"quote":{quote}}}"#).as_bytes()).unwrap();
        assert_eq!(found.quote.unwrap().attest, [0xff, 0x54, 0x43, 0x47, 0x80]);
    }
}
