//! Lists that others sign, from files: the root's, which `init` writes, and those of authorities above it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use holdfast_identity::UnixTime;
use holdfast_protocol::limits::REVOCATION_LIST_BYTES_MAX;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use tracing::{info, warn};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::authority::chain::is_verified_everywhere;
use crate::authority::{Authority, read_list};
use crate::store::{IssuerKeyId, ListValidity, RevocationList, Signer, Store};

/// Bytes of a file: the largest list as PEM.
const FILE_BYTES_MAX: u64 = 2 * REVOCATION_LIST_BYTES_MAX as u64;

/// Files of lists, with what was wrong with each when it was read last: that is said once.
#[derive(Debug, Default)]
pub(super) struct Files {
    problems: BTreeMap<PathBuf, String>,
}

impl Files {
    /// Gives the store every list in `files` that is newer than what it has. What cannot be read is said, and left.
    pub(super) async fn import(&mut self, store: &dyn Store, authority: &Authority, files: &[PathBuf], now: UnixTime) {
        let root = authority.files().root_list();
        // There is none where the trust domain was founded before lists were made.
        let root = root.exists().then_some(root);
        for file in root.iter().chain(files) {
            let list = match read(file, authority, now) {
                Ok(list) => list,
                Err(problem) => {
                    if self.problems.get(file) != Some(&problem) {
                        warn!(code = "crl.file", file = %file.display(), problem, "revocation list of a file passed over");
                    }
                    self.problems.insert(file.clone(), problem);
                    continue;
                }
            };
            self.problems.remove(file);
            match store.import_revocation_list(list, now).await {
                Ok(true) => info!(file = %file.display(), "revocation list taken from a file"),
                Ok(false) => {}
                Err(fault) => warn!(code = fault.code(), file = %file.display(), %fault, "revocation list not kept"),
            }
        }
    }
}

fn read(file: &Path, authority: &Authority, now: UnixTime) -> Result<RevocationList, String> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let length = opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    if bytes.starts_with(b"-----") {
        let list = CertificateRevocationListDer::from_pem_slice(&bytes).map_err(|error| error.to_string())?;
        bytes = list.to_vec();
    }
    let list = read_list(&bytes).map_err(|error| error.to_string())?;
    if list.this_update > now {
        return Err("it is of the future: OpenSSL refuses everybody by it".to_owned());
    }
    if list.next_update <= now {
        return Err("it has expired: whoever checks by it refuses everybody".to_owned());
    }
    let (issuer, ends) = signer(&bytes, authority)?;
    let validity = ListValidity { this_update: list.this_update, next_update: list.next_update, issuer_ends: ends };
    Ok(RevocationList { issuer, signer: Signer::Above, number: list.number, validity, der: bytes.into() })
}

/// The authority of the bundle, or between it and ours, that has signed it, and its end.
fn signer(der: &[u8], authority: &Authority) -> Result<(IssuerKeyId, UnixTime), String> {
    let (_, list) = CertificateRevocationList::from_der(der).map_err(|error| error.to_string())?;
    // Whoever gets one that it cannot read trusts nobody: rustls is the strictest.
    if let Err(error) = webpki::OwnedCertRevocationList::from_der(der) {
        return Err(format!("relying parties cannot use it: {error}"));
    }
    let algorithm = &list.signature_algorithm.algorithm;
    if !is_verified_everywhere(algorithm) {
        return Err(format!("it is signed with {algorithm}, expected ECDSA or RSA PKCS#1 with SHA-256 or more"));
    }
    for signer in authority.above() {
        let Ok((_, root)) = x509_parser::parse_x509_certificate(&signer) else { continue };
        if root.subject().as_raw() == list.issuer().as_raw() && list.verify_signature(root.public_key()).is_ok() {
            let usage = root.key_usage().ok().flatten();
            if !usage.is_some_and(|usage| usage.value.crl_sign()) {
                return Err(
                    "its signer's certificate lacks the key usage cRLSign: relying parties refuse it".to_owned()
                );
            }
            let ends = UnixTime(root.validity().not_after.timestamp());
            return Ok((IssuerKeyId::of_spki(root.public_key().raw), ends));
        }
    }
    Err("no authority of the trust bundle has signed it, and none between it and ours".to_owned())
}
