//! Every check on a bare document, in the order of the service, for documents that answer no challenge of ours.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_evidence::TrustClass;
use holdfast_evidence::nitro::{Document, DocumentKind, Unverified, VerifiedChain, checks, verify_chain};
use holdfast_evidence::nitrotpm;
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_identity::UnixTime;

use crate::vectors;

/// What the nonce and the user data must be; `None` where nobody asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) nonce: Option<&'a [u8]>,
    pub(crate) user_data: Option<&'a [u8]>,
}

/// The code of the first check that fails, or the chain.
pub(crate) fn judge(
    kind: DocumentKind,
    bytes: &[u8],
    asked: Asked<'_>,
    roots: &Roots,
    verified: &[Arc<VerifiedChain>],
    now: UnixTime,
) -> Result<Arc<VerifiedChain>, &'static str> {
    let refused = |refusal: holdfast_evidence::nitro::DocumentRefused| refusal.code(kind);
    let document = Document::parse(kind, bytes).map_err(|malformed| malformed.code())?;
    checks::kind(&document, kind).map_err(refused)?;
    checks::algorithm(&document, kind).map_err(refused)?;
    checks::digest(&document).map_err(refused)?;
    let module = checks::module_id(&document, kind).map_err(refused)?;
    let chain = verify_chain(&document, roots, verified, now).map_err(|refusal| refused(refusal.into()))?;
    checks::signature(&document, &chain).map_err(refused)?;
    asked.nonce.map_or(Ok(()), |nonce| checks::nonce(&document, nonce)).map_err(refused)?;
    asked.user_data.map_or(Ok(()), |data| checks::user_data(&document, data)).map_err(refused)?;
    checks::certificate_name(kind, &module, &chain).map_err(refused)?;
    checks::timestamp(&document, now).map_err(refused)?;
    match kind {
        DocumentKind::Enclave => checks::debug(&document.pcrs)
            .and_then(|()| checks::instance(&document.pcrs, &module))
            .map_err(|refusal: Unverified| refusal.code())?,
        DocumentKind::Tpm => nitrotpm::checks::measured(&document.pcrs).map_err(|refusal| refusal.code())?,
    }
    Ok(chain)
}

/// The folder of the real documents.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = vectors::folder()?.join("cvm");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no folder cvm among the real evidence");
    None
}

pub(crate) fn aws(folder: &std::path::Path) -> Roots {
    let pem = std::fs::read(folder.join("roots/aws-nitro-enclaves-root-g1.pem")).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let mut roots = Roots::new();
    roots.add(Anchor::new(&pem.contents, TrustClass::Cloud).unwrap());
    roots
}
