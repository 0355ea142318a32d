//! Documents as found in files and answers. Each part is known by what it is, so that files may be given in any order,
//! and of each document the newest edition counts. Nothing here is verified.

use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::forms::{Answer, Bundle, Bundled, Whole, decoded, texts, unescaped, unquoted};
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
    lists: Vec<RevocationList>,
    certificates: Vec<Vec<u8>>,
}

/// A revocation list, by the common name of its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RevocationList {
    issuer: String,
    issued_at: i64,
    der: Vec<u8>,
}

/// A signed text whose signer is not found yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unsigned {
    text: String,
    signature: [u8; 64],
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
            let found = self.lists.iter().filter(|list| wanted(&list.issuer)).max_by_key(|list| list.issued_at);
            found.map(|list| list.der.clone()).ok_or(Unverified::missing(document))
        };
        let pck_crl = list(&|issuer| PckCa::of(issuer) == Some(kind.ca), Document::PckCrl)?;
        Ok(Collateral {
            pck_ca: self.issuer_of(&pck_crl),
            pck_crl,
            tcb_info: self.signed(tcb_info, Document::TcbInfo)?,
            qe_identity: self.signed(qe_identity, Document::QeIdentity)?,
            root_crl: list(&|issuer| PckCa::of(issuer).is_none(), Document::RootCrl)?,
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

    /// The certificate under which a list verifies, if it is at hand.
    fn issuer_of(&self, list: &[u8]) -> Option<Vec<u8>> {
        let (_, list) = CertificateRevocationList::from_der(list).ok()?;
        let (signed, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
        let signs = |der: &&Vec<u8>| {
            Certificate::parse(der).is_ok_and(|issuer| {
                issuer.parsed.subject().as_raw() == list.issuer().as_raw()
                    && pki::verify_der(&issuer.key, signed, signature).is_ok()
            })
        };
        self.certificates.iter().rev().find(signs).cloned()
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
            let list = RevocationList { issuer, issued_at: list.last_update().timestamp(), der: der.to_vec() };
            return push(&mut self.lists, list, "crl");
        }
        match Certificate::parse(der) {
            Ok(_) => push(&mut self.certificates, der.to_vec(), "certificates"),
            Err(_) => Err(malformed("der", Defect::Encoding)),
        }
    }
}

fn signature_of(text: &str) -> Result<[u8; 64], Malformed> {
    let mut signature = [0; 64];
    hex::decode_to_slice(text, &mut signature).map_err(|_| malformed("signature", Defect::Encoding))?;
    Ok(signature)
}

/// Keeps a part that is not there yet.
fn push<T: PartialEq>(parts: &mut Vec<T>, part: T, field: &'static str) -> Result<(), Malformed> {
    if parts.contains(&part) {
        return Ok(());
    }
    if parts.len() >= PARTS_MAX {
        return Err(malformed(field, Defect::TooLarge { found: parts.len() + 1, limit: PARTS_MAX }));
    }
    parts.push(part);
    Ok(())
}

const fn malformed(field: &'static str, defect: Defect) -> Malformed {
    Malformed { structure: Structure::TdxCollateral, field, defect }
}
