//! The node key as TLS sees it: it signs a handshake where it is, in the TPM or in memory.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::node_key::NodeKey;

/// Presents the node's SVID, whatever the server hints at: agents have one.
#[derive(Debug)]
pub(super) struct NodeCertificate(Arc<CertifiedKey>);

impl NodeCertificate {
    pub(super) fn new(chain: Vec<CertificateDer<'static>>, spki: Vec<u8>, key: NodeKey) -> Self {
        Self(Arc::new(CertifiedKey::new(chain, Arc::new(HandshakeKey { key, spki }))))
    }
}

impl ResolvesClientCert for NodeCertificate {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        schemes.contains(&SCHEME).then(|| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;

#[derive(Debug, Clone)]
struct HandshakeKey {
    key: NodeKey,
    spki: Vec<u8>,
}

impl SigningKey for HandshakeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for HandshakeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let sign = || self.key.sign_blocking(message);
        // A hardware TPM takes up to half a second: the runtime's other tasks must not wait for it.
        let signature = match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(sign),
            _ => sign(),
        };
        signature.map_err(|fault| Error::General(format!("node key cannot sign: {fault}")))
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}
