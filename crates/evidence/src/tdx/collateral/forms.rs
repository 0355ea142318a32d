//! The forms that collateral comes in: `dcap-qvl`'s document, the answers of Intel's service (PCS) and of its caches
//! (PCCS) one by one, and the bundle that Intel's `pccsadmin` writes for sites without a network. Each part is known by
//! what it is, so that files may be given in any order.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::json::{QeIdentityHead, TcbInfoHead, compact};
use super::{COLLATERAL_BYTES_MAX, Collateral, Signed};
use crate::error::{Defect, Malformed, Structure};
use crate::tdx::error::{Document, Unverified};
use crate::tdx::pck::{PckCa, PlatformKind};
use crate::tdx::pki::{self, Certificate};

/// Parts of one kind that are kept: platforms of a fleet, certificates of two signers.
const PARTS_MAX: usize = 256;

/// Documents of several platforms, as found in files or answers. Nothing of them is verified.
#[derive(Clone, Debug, Default)]
pub struct CollateralParts {
    tcb_infos: Vec<(TcbInfoHead, Unsigned)>,
    qe_identities: Vec<(QeIdentityHead, Unsigned)>,
    lists: Vec<(String, Vec<u8>)>,
    certificates: Vec<Vec<u8>>,
}

/// A signed text whose signer is not found yet.
#[derive(Clone, Debug)]
struct Unsigned {
    text: String,
    signature: [u8; 64],
}

/// `{"tcbInfo":…,"signature":…}`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    tcb_info: Option<&'a RawValue>,
    #[serde(borrow)]
    enclave_identity: Option<&'a RawValue>,
    signature: String,
}

/// `dcap-qvl`'s document. Tools of Intel's library write the same names, with the whole answer as `tcb_info`, as a text or
/// as it is; some write them in camel case.
#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow, alias = "tcbInfo")]
    tcb_info: &'a RawValue,
    #[serde(alias = "tcbInfoSignature")]
    tcb_info_signature: Option<String>,
    #[serde(alias = "tcbInfoIssuerChain", alias = "tcb_signing_chain")]
    tcb_info_issuer_chain: Option<String>,
    #[serde(borrow, alias = "qeIdentity")]
    qe_identity: &'a RawValue,
    #[serde(alias = "qeIdentitySignature")]
    qe_identity_signature: Option<String>,
    #[serde(alias = "qeIdentityIssuerChain")]
    qe_identity_issuer_chain: Option<String>,
    #[serde(alias = "rootCaCrl")]
    root_ca_crl: Option<String>,
    #[serde(alias = "pckCrl")]
    pck_crl: Option<String>,
    #[serde(alias = "pckCrlIssuerChain")]
    pck_crl_issuer_chain: Option<String>,
}

/// What `pccsadmin fetch` writes.
#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow)]
    collaterals: Bundled<'a>,
}

#[derive(Deserialize)]
struct Bundled<'a> {
    #[serde(borrow, default)]
    tcbinfos: Vec<BundledTcbInfo<'a>>,
    #[serde(borrow)]
    tdqeidentity: Option<&'a RawValue>,
    pckcacrl: Option<BundledLists>,
    rootcacrl: Option<String>,
    certificates: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct BundledTcbInfo<'a> {
    #[serde(borrow)]
    tdx_tcbinfo: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundledLists {
    processor_crl: Option<String>,
    platform_crl: Option<String>,
}

impl CollateralParts {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file or an answer, whatever it is: one of the JSON forms, a CRL in DER, PEM or hex, certificates in PEM,
    /// percent-encoded as in a header, or one in DER.
    ///
    /// # Errors
    /// [`Malformed`] if it is none of these.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if bytes.len() > COLLATERAL_BYTES_MAX {
            return Err(malformed("file", Defect::TooLarge { found: bytes.len(), limit: COLLATERAL_BYTES_MAX }));
        }
        match bytes.first() {
            Some(0x30) => return self.add_der(bytes),
            None => return Err(malformed("file", Defect::Truncated { needed: 1, left: 0 })),
            Some(_) => {}
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("file", Defect::Encoding))?.trim();
        if text.starts_with("-----BEGIN") {
            self.add_pem(text)
        } else if text.starts_with('{') {
            self.add_json(text)
        } else {
            self.add_der(&decoded(text).ok_or(malformed("file", Defect::Encoding))?)
        }
    }

    /// The four documents for one kind of platform.
    ///
    /// # Errors
    /// [`Unverified::CollateralMissing`] for the first that is not there.
    pub fn collateral(&self, kind: PlatformKind) -> Result<Collateral, Unverified> {
        let newest = |a: &&(TcbInfoHead, Unsigned), b: &&(TcbInfoHead, Unsigned)| a.0.issued_at.cmp(&b.0.issued_at);
        let for_platform = self.tcb_infos.iter().filter(|(head, _)| head.fmspc == kind.fmspc);
        let (tcb_head, tcb_info) = for_platform.max_by(newest).ok_or(Unverified::missing(Document::TcbInfo))?;
        let (qe_head, qe_identity) = self
            .qe_identities
            .iter()
            .max_by(|a, b| a.0.issued_at.cmp(&b.0.issued_at))
            .ok_or(Unverified::missing(Document::QeIdentity))?;
        let list = |wanted: &dyn Fn(&str) -> bool, document| {
            let found = self.lists.iter().rev().find(|(issuer, _)| wanted(issuer));
            found.map(|(_, der)| der.clone()).ok_or(Unverified::missing(document))
        };
        Ok(Collateral {
            tcb_info: self.signed(tcb_info, Document::TcbInfo)?,
            qe_identity: self.signed(qe_identity, Document::QeIdentity)?,
            root_crl: list(&|issuer| PckCa::of(issuer).is_none(), Document::RootCrl)?,
            pck_crl: list(&|issuer| PckCa::of(issuer) == Some(kind.ca), Document::PckCrl)?,
            tcb_head: tcb_head.clone(),
            qe_head: qe_head.clone(),
            ca: kind.ca,
        })
    }

    /// The platforms of which there is a TCB info.
    pub fn fmspcs(&self) -> impl Iterator<Item = [u8; 6]> {
        self.tcb_infos.iter().map(|(head, _)| head.fmspc)
    }

    /// The document with its signer: of the certificates at hand, the one that it verifies under, else the last that
    /// could be one, so that the check says what is wrong.
    fn signed(&self, document: &Unsigned, name: Document) -> Result<Signed, Unverified> {
        let mut signers =
            self.certificates.iter().rev().filter(|der| Certificate::parse(der).is_ok_and(|leaf| !leaf.parsed.is_ca()));
        let verifies = |der: &&Vec<u8>| {
            Certificate::parse(der)
                .is_ok_and(|signer| pki::verify_raw(&signer.key, document.text.as_bytes(), &document.signature).is_ok())
        };
        let last = signers.clone().next();
        let signer = signers
            .find(verifies)
            .or(last)
            .ok_or(Unverified::CollateralSigner { document: name, problem: pki::BadCertificate::Missing })?;
        Ok(Signed { text: document.text.clone(), signature: document.signature, signer: signer.clone() })
    }

    fn add_json(&mut self, text: &str) -> Result<(), Malformed> {
        if let Ok(answer) = serde_json::from_str::<Answer<'_>>(text) {
            return self.add_answer(&answer);
        }
        if let Ok(whole) = serde_json::from_str::<Whole<'_>>(text) {
            return self.add_whole(&whole);
        }
        match serde_json::from_str::<Bundle<'_>>(text) {
            Ok(Bundle { collaterals }) => self.add_bundle(&collaterals),
            Err(_) => Err(malformed("json", Defect::Encoding)),
        }
    }

    fn add_answer(&mut self, answer: &Answer<'_>) -> Result<(), Malformed> {
        match (answer.tcb_info, answer.enclave_identity) {
            (Some(text), None) => self.add_tcb_info(text.get(), &answer.signature),
            (None, Some(text)) => self.add_qe_identity(text.get(), &answer.signature),
            _ => Err(malformed("json", Defect::Encoding)),
        }
    }

    fn add_whole(&mut self, whole: &Whole<'_>) -> Result<(), Malformed> {
        let tcb_info = unquoted(whole.tcb_info);
        match &whole.tcb_info_signature {
            Some(signature) => self.add_tcb_info(&tcb_info, signature)?,
            None => self.add_json_answer(&tcb_info)?,
        }
        let qe_identity = unquoted(whole.qe_identity);
        match &whole.qe_identity_signature {
            Some(signature) => self.add_qe_identity(&qe_identity, signature)?,
            None => self.add_json_answer(&qe_identity)?,
        }
        let chains = [&whole.tcb_info_issuer_chain, &whole.qe_identity_issuer_chain, &whole.pck_crl_issuer_chain];
        self.add_texts([&whole.root_ca_crl, &whole.pck_crl].into_iter().chain(chains).flatten().map(String::as_str))
    }

    /// Lists and chains, each in whatever form; empty ones are none.
    fn add_texts<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> Result<(), Malformed> {
        texts.filter(|text| !text.is_empty()).try_for_each(|text| self.add(text.as_bytes()))
    }

    fn add_json_answer(&mut self, text: &str) -> Result<(), Malformed> {
        let answer = serde_json::from_str(text).map_err(|_| malformed("json", Defect::Encoding))?;
        self.add_answer(&answer)
    }

    fn add_bundle(&mut self, bundle: &Bundled<'_>) -> Result<(), Malformed> {
        for info in bundle.tcbinfos.iter().filter_map(|info| info.tdx_tcbinfo) {
            self.add_json_answer(info.get())?;
        }
        if let Some(identity) = bundle.tdqeidentity {
            self.add_json_answer(&unquoted(identity))?;
        }
        let lists = bundle.pckcacrl.as_ref().map(|lists| [&lists.processor_crl, &lists.platform_crl]);
        let lists = lists.into_iter().flatten().flatten().chain(&bundle.rootcacrl).map(String::as_str);
        self.add_texts(lists.chain(bundle.certificates.iter().flat_map(texts)))
    }

    fn add_tcb_info(&mut self, text: &str, signature: &str) -> Result<(), Malformed> {
        let text = compact(text);
        let head = TcbInfoHead::parse(&text).ok_or(malformed("tcbInfo", Defect::Encoding))?;
        let document = Unsigned { text, signature: signature_of(signature)? };
        push(&mut self.tcb_infos, (head, document), "tcbInfo")
    }

    fn add_qe_identity(&mut self, text: &str, signature: &str) -> Result<(), Malformed> {
        let text = compact(text);
        let head = QeIdentityHead::parse(&text).ok_or(malformed("enclaveIdentity", Defect::Encoding))?;
        let document = Unsigned { text, signature: signature_of(signature)? };
        push(&mut self.qe_identities, (head, document), "enclaveIdentity")
    }

    fn add_pem(&mut self, text: &str) -> Result<(), Malformed> {
        let text = unescaped(text);
        if let Some(Ok(block)) = x509_parser::pem::Pem::iter_from_buffer(text.as_bytes()).next()
            && block.label == "X509 CRL"
        {
            return self.add_der(&block.contents);
        }
        let chain = pki::pem_chain(text.as_bytes());
        if chain.is_empty() {
            return Err(malformed("certificates", Defect::Encoding));
        }
        chain.into_iter().try_for_each(|der| push(&mut self.certificates, der, "certificates"))
    }

    fn add_der(&mut self, der: &[u8]) -> Result<(), Malformed> {
        if let Ok((rest, list)) = CertificateRevocationList::from_der(der)
            && rest.is_empty()
        {
            let issuer = list.issuer().iter_common_name().find_map(|name| name.as_str().ok());
            let issuer = issuer.unwrap_or_default().to_owned();
            return push(&mut self.lists, (issuer, der.to_vec()), "crl");
        }
        match Certificate::parse(der) {
            Ok(_) => push(&mut self.certificates, der.to_vec(), "certificates"),
            Err(_) => Err(malformed("der", Defect::Encoding)),
        }
    }
}

/// A text that holds a document, or the document itself.
fn unquoted(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<String>(raw.get()).map_or(Cow::Borrowed(raw.get()), Cow::Owned)
}

/// Hex, else base64.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let armoured = || pem::parse(format!("-----BEGIN DER-----\n{text}\n-----END DER-----\n")).ok();
    hex::decode(text).ok().or_else(|| armoured().map(pem::Pem::into_contents))
}

/// Every text in a JSON value of objects.
fn texts(value: &serde_json::Value) -> Vec<&str> {
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
fn unescaped(text: &str) -> String {
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

fn signature_of(text: &str) -> Result<[u8; 64], Malformed> {
    let mut signature = [0; 64];
    hex::decode_to_slice(text, &mut signature).map_err(|_| malformed("signature", Defect::Encoding))?;
    Ok(signature)
}

fn push<T>(parts: &mut Vec<T>, part: T, field: &'static str) -> Result<(), Malformed> {
    if parts.len() >= PARTS_MAX {
        return Err(malformed(field, Defect::TooLarge { found: parts.len() + 1, limit: PARTS_MAX }));
    }
    parts.push(part);
    Ok(())
}

const fn malformed(field: &'static str, defect: Defect) -> Malformed {
    Malformed { structure: Structure::TdxCollateral, field, defect }
}

/// PEM of one certificate.
pub(in crate::tdx) fn pem(der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config)
}

pub(super) fn encode(collateral: &Collateral) -> Vec<u8> {
    let Collateral { tcb_info, qe_identity, root_crl, pck_crl, .. } = collateral;
    let document = serde_json::json!({
        "pck_crl_issuer_chain": "",
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
