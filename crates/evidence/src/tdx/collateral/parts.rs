//! Documents as found in files and answers. Each part is known by what it is, so that files may be given in any order;
//! which edition of a document counts is for [`super::choice`] to say. Nothing here is verified.

use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::chain::Chain;
use super::forms::{
    Answer, Bundle, Bundled, PCK_CRL_CHAIN, QE_IDENTITY_CHAIN, TCB_INFO_CHAIN, Whole, decoded, headers, hex_bytes,
    plain, texts, unescaped, unquoted,
};
use super::json::{QeIdentityHead, TcbInfoHead, compact, is_kind};
use super::{COLLATERAL_BYTES_MAX, Signed};
use crate::error::{Defect, Malformed, Structure};
use crate::tdx::pki::{self, Certificate};

/// Parts of one kind that are kept: platforms of a fleet, certificates of two signers.
const PARTS_MAX: usize = 256;

/// Documents of several platforms, as found in files or answers. Nothing of them is verified.
#[derive(Clone, Debug, Default)]
pub struct CollateralParts {
    pub(super) tcb_infos: Vec<Edition<TcbInfoHead>>,
    pub(super) qe_identities: Vec<Edition<QeIdentityHead>>,
    pub(super) lists: Vec<RevocationList>,
    pub(super) certificates: Vec<Vec<u8>>,
}

/// A revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RevocationList {
    /// Its issuer as it stands there, and the common name in it.
    pub(super) issuer: Vec<u8>,
    pub(super) issuer_name: String,
    /// Seconds since 1970; a list without an end has ended, as the check has it.
    pub(super) issued_at: i64,
    pub(super) ends_at: i64,
    pub(super) der: Vec<u8>,
    /// The chain that stood beside it.
    pub(super) chain: Option<Chain>,
}

/// A signed text whose signer is not found yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edition<H> {
    pub(super) head: H,
    pub(super) text: String,
    pub(super) signature: [u8; 64],
    /// The chain that stood beside it: then no other certificate is its signer's.
    pub(super) chain: Option<Chain>,
}

impl<H> Edition<H> {
    /// The text as that signer's.
    pub(super) fn signed_by(&self, signer: &[u8]) -> Signed {
        let Self { text, signature, chain, .. } = self;
        Signed { text: text.clone(), signature: *signature, signer: signer.to_vec(), chain: chain.clone() }
    }
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
        match bytes {
            // "0x" begins with the tag of a sequence too
            [0x30, second, ..] if !matches!(second, b'x' | b'X') => return self.add_der(bytes, None),
            [] => return Err(malformed("file", Defect::Truncated { needed: 1, left: 0 })),
            _ => {}
        }
        let text = plain(std::str::from_utf8(bytes).map_err(|_| malformed("file", Defect::Encoding))?);
        if text.starts_with("-----BEGIN") {
            self.add_pem(text)
        } else if text.starts_with('{') {
            self.add_json(text)
        } else {
            self.add_der(&decoded(text).ok_or(malformed("file", Defect::Encoding))?, None)
        }
    }

    /// Whether a TCB info or a QE identity is among them; of those about SGX there is none.
    #[must_use]
    pub const fn is_about_tdx(&self) -> bool {
        !self.tcb_infos.is_empty() || !self.qe_identities.is_empty()
    }

    /// The platforms of which there is a TCB info.
    pub fn fmspcs(&self) -> impl Iterator<Item = [u8; 6]> {
        self.tcb_infos.iter().map(|edition| edition.head.fmspc)
    }

    fn add_json(&mut self, text: &str) -> Result<(), Malformed> {
        if let Ok(answer) = serde_json::from_str::<Answer<'_>>(text) {
            return self.add_answer(&answer, None, text);
        }
        if let Ok(whole) = serde_json::from_str::<Whole<'_>>(text) {
            return self.add_whole(&whole);
        }
        match serde_json::from_str::<Bundle<'_>>(text) {
            Ok(Bundle { collaterals }) => self.add_bundle(&collaterals),
            Err(_) => Err(malformed("json", Defect::Encoding)),
        }
    }

    /// An answer, its chain beside it or in it, as a member with the name of the header.
    fn add_answer(&mut self, answer: &Answer<'_>, chain: Option<Chain>, text: &str) -> Result<(), Malformed> {
        let mut beside = |names: &[&str]| {
            let chains = headers(text, names);
            chains.iter().map(|chain| self.chain(Some(chain))).collect::<Result<Vec<_>, _>>()
        };
        let (tcb, qe) = (beside(&TCB_INFO_CHAIN)?, beside(&QE_IDENTITY_CHAIN)?);
        beside(&PCK_CRL_CHAIN)?;
        let first = |own: Vec<Option<Chain>>| chain.or_else(|| own.into_iter().flatten().next());
        match (answer.tcb_info, answer.enclave_identity) {
            (Some(text), None) => self.add_tcb_info(text.get(), &answer.signature, first(tcb)),
            (None, Some(text)) => self.add_qe_identity(text.get(), &answer.signature, first(qe)),
            _ => Err(malformed("json", Defect::Encoding)),
        }
    }

    fn add_whole(&mut self, whole: &Whole<'_>) -> Result<(), Malformed> {
        let (tcb_info, qe_identity) = (unquoted(whole.tcb_info), unquoted(whole.qe_identity));
        let chain = self.chain(whole.tcb_info_issuer_chain.as_deref())?;
        match &whole.tcb_info_signature {
            Some(signature) => self.add_tcb_info(&tcb_info, signature, chain)?,
            None => self.add_json_answer(&tcb_info, chain)?,
        }
        let chain = self.chain(whole.qe_identity_issuer_chain.as_deref())?;
        match &whole.qe_identity_signature {
            Some(signature) => self.add_qe_identity(&qe_identity, signature, chain)?,
            None => self.add_json_answer(&qe_identity, chain)?,
        }
        let chain = self.chain(whole.pck_crl_issuer_chain.as_deref())?;
        if let Some(list) = whole.pck_crl.as_deref().map(plain).filter(|list| !list.is_empty()) {
            self.add_list(list, chain)?;
        }
        self.add_texts(whole.root_ca_crl.as_deref().into_iter())
    }

    /// A chain that stands beside a document, and its certificates among those at hand; an empty one is none.
    fn chain(&mut self, text: Option<&str>) -> Result<Option<Chain>, Malformed> {
        let Some(text) = text.map(plain).filter(|text| !text.is_empty()) else { return Ok(None) };
        let chain = Chain::read(text).ok_or(malformed("issuerChain", Defect::Encoding))?;
        for der in chain.certificates() {
            push(&mut self.certificates, der.clone(), "certificates")?;
        }
        Ok(Some(chain))
    }

    /// Lists and chains, each in whatever form; empty ones are none.
    fn add_texts<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> Result<(), Malformed> {
        texts.filter(|text| !plain(text).is_empty()).try_for_each(|text| self.add(text.as_bytes()))
    }

    fn add_json_answer(&mut self, text: &str, chain: Option<Chain>) -> Result<(), Malformed> {
        let answer = serde_json::from_str(text).map_err(|_| malformed("json", Defect::Encoding))?;
        self.add_answer(&answer, chain, text)
    }

    fn add_bundle(&mut self, bundle: &Bundled<'_>) -> Result<(), Malformed> {
        for info in bundle.tcbinfos.iter().filter_map(|info| info.tdx_tcbinfo) {
            self.add_json_answer(info.get(), None)?;
        }
        if let Some(identity) = bundle.tdqeidentity {
            self.add_json_answer(&unquoted(identity), None)?;
        }
        let lists = bundle.pckcacrl.as_ref().map(|lists| [&lists.processor_crl, &lists.platform_crl]);
        let lists = lists.into_iter().flatten().flatten().chain(&bundle.rootcacrl).map(String::as_str);
        self.add_texts(lists.chain(bundle.certificates.iter().flat_map(texts)))
    }

    fn add_tcb_info(&mut self, text: &str, signature: &str, chain: Option<Chain>) -> Result<(), Malformed> {
        let (text, bad) = (compact(text), malformed("tcbInfo", Defect::Encoding));
        if !is_kind(&text, "TDX", &[3]).ok_or(bad)? {
            return Ok(());
        }
        let head = TcbInfoHead::parse(&text).ok_or(bad)?;
        let edition = Edition { head, text, signature: signature_of(signature)?, chain };
        push(&mut self.tcb_infos, edition, "tcbInfo")
    }

    fn add_qe_identity(&mut self, text: &str, signature: &str, chain: Option<Chain>) -> Result<(), Malformed> {
        let (text, bad) = (compact(text), malformed("enclaveIdentity", Defect::Encoding));
        if !is_kind(&text, "TD_QE", &[2, 3]).ok_or(bad)? {
            return Ok(());
        }
        let head = QeIdentityHead::parse(&text).ok_or(bad)?;
        let edition = Edition { head, text, signature: signature_of(signature)?, chain };
        push(&mut self.qe_identities, edition, "enclaveIdentity")
    }

    /// A revocation list in PEM, hex or base64, with the chain beside it.
    fn add_list(&mut self, text: &str, chain: Option<Chain>) -> Result<(), Malformed> {
        let der = if text.starts_with("-----BEGIN") {
            pem::parse(unescaped(text)).ok().map(pem::Pem::into_contents)
        } else {
            decoded(text)
        };
        self.add_der(&der.ok_or(malformed("crl", Defect::Encoding))?, chain)
    }

    fn add_pem(&mut self, text: &str) -> Result<(), Malformed> {
        let text = unescaped(text);
        if let Some(Ok(block)) = x509_parser::pem::Pem::iter_from_buffer(text.as_bytes()).next()
            && block.label == "X509 CRL"
        {
            return self.add_der(&block.contents, None);
        }
        let chain = pki::pem_chain(text.as_bytes());
        if chain.is_empty() {
            return Err(malformed("certificates", Defect::Encoding));
        }
        chain.into_iter().try_for_each(|der| push(&mut self.certificates, der, "certificates"))
    }

    fn add_der(&mut self, der: &[u8], chain: Option<Chain>) -> Result<(), Malformed> {
        if let Ok((rest, list)) = CertificateRevocationList::from_der(der)
            && matches!(rest, [] | [0])
        {
            let issuer_name = list.issuer().iter_common_name().find_map(|name| name.as_str().ok());
            let list = RevocationList {
                issuer: list.issuer().as_raw().to_vec(),
                issuer_name: issuer_name.unwrap_or_default().to_owned(),
                issued_at: list.last_update().timestamp(),
                ends_at: list.next_update().map_or(i64::MIN, |end| end.timestamp()),
                // without the zero that ends a text in C
                der: der.get(..der.len() - rest.len()).unwrap_or_default().to_vec(),
                chain,
            };
            return push(&mut self.lists, list, "crl");
        }
        match Certificate::parse(der) {
            Ok(_) if chain.is_none() => push(&mut self.certificates, der.to_vec(), "certificates"),
            Ok(_) | Err(_) => Err(malformed("der", Defect::Encoding)),
        }
    }
}

fn signature_of(text: &str) -> Result<[u8; 64], Malformed> {
    let bytes = hex_bytes(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(malformed("signature", Defect::Encoding))
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
