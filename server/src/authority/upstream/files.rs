//! `files`: the root's key and certificate in files, which the running server reads each time. An intermediate CA will
//! do as well: put those above it behind it, and the root into a bundle file.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::local::Certificates;
use super::{Answer, Request, Upstream, UpstreamFault};
use crate::authority::files::read_secret;
use crate::store::ListDraft;

pub(super) const KIND: &str = "files";

pub(super) struct Files {
    pub(super) certificates: Certificates,
    pub(super) key_file: PathBuf,
}

impl Upstream for Files {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn sign(&self, request: Request) -> BoxFuture<'_, Result<Answer, UpstreamFault>> {
        Box::pin(async move {
            let key = self.key()?;
            self.certificates.sign(&request, key)
        })
    }

    fn list_signer(&self) -> Result<Option<Vec<u8>>, UpstreamFault> {
        self.certificates.list_signer()
    }

    fn sign_list(&self, draft: ListDraft) -> BoxFuture<'_, Result<Vec<u8>, UpstreamFault>> {
        Box::pin(async move {
            let key = self.key()?;
            self.certificates.sign_list(&draft, key)
        })
    }
}

impl Files {
    fn key(&self) -> Result<KeyPair, UpstreamFault> {
        let text = read_secret(&self.key_file).map_err(Box::new)?;
        let bad = |reason: String| UpstreamFault::Key { path: self.key_file.clone(), reason };
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
            bad("expected a PKCS#8 key in PEM (PRIVATE KEY); \"openssl pkcs8 -topk8 -nocrypt\" makes one".to_owned())
        })?;
        KeyPair::try_from(&key).map_err(|_| bad("expected a P-256, P-384 or RSA key".to_owned()))
    }
}
