//! The shapes that collateral comes in: `dcap-qvl`'s document, the answers of Intel's service (PCS) and of its caches
//! (PCCS) one by one, and the bundle that Intel's `pccsadmin` writes for sites without a network. What is in them is for
//! [`super::parts`] to sort.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Collateral;

/// `{"tcbInfo":…,"signature":…}`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    pub(super) tcb_info: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) enclave_identity: Option<&'a RawValue>,
    pub(super) signature: String,
}

/// `dcap-qvl`'s document. Tools of Intel's library write the same names, with the whole answer as `tcb_info`, as a text or
/// as it is; some write them in camel case.
#[derive(Deserialize)]
pub(super) struct Whole<'a> {
    #[serde(borrow, alias = "tcbInfo")]
    pub(super) tcb_info: &'a RawValue,
    #[serde(alias = "tcbInfoSignature")]
    pub(super) tcb_info_signature: Option<String>,
    #[serde(alias = "tcbInfoIssuerChain", alias = "tcb_signing_chain")]
    pub(super) tcb_info_issuer_chain: Option<String>,
    #[serde(borrow, alias = "qeIdentity")]
    pub(super) qe_identity: &'a RawValue,
    #[serde(alias = "qeIdentitySignature")]
    pub(super) qe_identity_signature: Option<String>,
    #[serde(alias = "qeIdentityIssuerChain")]
    pub(super) qe_identity_issuer_chain: Option<String>,
    #[serde(alias = "rootCaCrl")]
    pub(super) root_ca_crl: Option<String>,
    #[serde(alias = "pckCrl")]
    pub(super) pck_crl: Option<String>,
    #[serde(alias = "pckCrlIssuerChain")]
    pub(super) pck_crl_issuer_chain: Option<String>,
}

/// What `pccsadmin fetch` writes.
#[derive(Deserialize)]
pub(super) struct Bundle<'a> {
    #[serde(borrow)]
    pub(super) collaterals: Bundled<'a>,
}

#[derive(Deserialize)]
pub(super) struct Bundled<'a> {
    #[serde(borrow, default)]
    pub(super) tcbinfos: Vec<BundledTcbInfo<'a>>,
    #[serde(borrow)]
    pub(super) tdqeidentity: Option<&'a RawValue>,
    pub(super) pckcacrl: Option<BundledLists>,
    pub(super) rootcacrl: Option<String>,
    pub(super) certificates: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct BundledTcbInfo<'a> {
    #[serde(borrow)]
    pub(super) tdx_tcbinfo: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BundledLists {
    pub(super) processor_crl: Option<String>,
    pub(super) platform_crl: Option<String>,
}

/// A text that holds a document, or the document itself.
pub(super) fn unquoted(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<String>(raw.get()).map_or(Cow::Borrowed(raw.get()), Cow::Owned)
}

/// Names of the headers that chains stand in, in Intel's answers; tools keep them as members beside the document.
pub(super) const TCB_INFO_CHAIN: [&str; 2] = ["TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"];
/// The same for the QE identity.
pub(super) const QE_IDENTITY_CHAIN: [&str; 1] = ["SGX-Enclave-Identity-Issuer-Chain"];
/// The same for the PCK CRL.
pub(super) const PCK_CRL_CHAIN: [&str; 1] = ["SGX-PCK-CRL-Issuer-Chain"];

/// The texts of the members that have one of these names, in whatever case.
pub(super) fn headers(text: &str, names: &[&str]) -> Vec<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let named = members.iter().filter(|(name, _)| names.iter().any(|one| one.eq_ignore_ascii_case(name)));
    named.map(|(_, value)| unquoted(value).into_owned()).collect()
}

/// A text without what may stand around it: blanks, a byte-order mark, the zero that ends it in C.
pub(super) fn plain(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\0' | '\u{feff}'))
}

/// Hex, with or without 0x. Its letters are all small or all capital: no tool writes both, and of what is signed no
/// letter shall be exchanged for another.
pub(super) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let text = plain(text);
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let has = |is: fn(&u8) -> bool| digits.as_bytes().iter().any(is);
    if has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) {
        return None;
    }
    hex::decode(digits).ok()
}

/// Hex, else base64.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = plain(text);
    let armoured = || pem::parse(format!("-----BEGIN DER-----\n{text}\n-----END DER-----\n")).ok();
    hex_bytes(text).or_else(|| armoured().map(pem::Pem::into_contents))
}

/// Every text in a JSON value of objects.
pub(super) fn texts(value: &serde_json::Value) -> Vec<&str> {
    match value {
        serde_json::Value::String(text) => vec![text],
        serde_json::Value::Object(members) => {
            // two levels: the header's name, then the CA
            let inner = members.values().filter_map(serde_json::Value::as_object).flat_map(|inner| inner.values());
            members.values().chain(inner).filter_map(serde_json::Value::as_str).collect()
        }
        _ => Vec::new(),
    }
}

/// Percent-encoding undone, where there is any: PEM has no percent sign of its own.
pub(super) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.first_chunk::<2>().filter(|_| *first == b'%');
        let mut byte = [0];
        match escaped.map(|digits| hex::decode_to_slice(digits, &mut byte)) {
            Some(Ok(())) => {
                bytes.extend(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// PEM of one certificate.
pub(in crate::tdx) fn pem(der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config)
}

pub(super) fn encode(collateral: &Collateral) -> Vec<u8> {
    let Collateral { tcb_info, qe_identity, root_crl, pck_crl, pck_ca, .. } = collateral;
    let document = serde_json::json!({
        "pck_crl_issuer_chain": pck_ca.as_deref().map(pem).unwrap_or_default(),
        "root_ca_crl": hex::encode(root_crl),
        "pck_crl": hex::encode(pck_crl),
        "tcb_info_issuer_chain": pem(&tcb_info.signer),
        "tcb_info": tcb_info.text,
        "tcb_info_signature": hex::encode(tcb_info.signature),
        "qe_identity_issuer_chain": pem(&qe_identity.signer),
        "qe_identity": qe_identity.text,
        "qe_identity_signature": hex::encode(qe_identity.signature),
    });
    document.to_string().into_bytes()
}
