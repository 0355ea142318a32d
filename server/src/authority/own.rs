//! The server's own TLS certificate: a key that never leaves memory, certified for hours, replaced on the way.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use holdfast_identity::UnixTime;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{AuthorityFault, IssuedSvid};

/// Seconds that the server's own certificate lives. Agents check it at each connection, so it may be short.
pub const OWN_CERTIFICATE_TTL_SECONDS: i64 = 4 * 3600;

/// A key for the server's own certificate, not certified yet.
pub struct OwnKey(KeyPair);

impl OwnKey {
    /// A new P-256 key.
    ///
    /// # Errors
    /// [`AuthorityFault::Crypto`].
    pub fn generate() -> Result<Self, AuthorityFault> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|_| AuthorityFault::Crypto { action: "generate the server's own key" })
    }

    /// DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }
}

/// What the listener presents at each handshake: always the latest certificate.
#[derive(Default)]
pub struct OwnCertificate {
    current: RwLock<Option<Current>>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    issued_at: UnixTime,
    not_after: UnixTime,
}

impl OwnCertificate {
    /// None yet: handshakes fail until one is installed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Presents `svid` with `key` from now on.
    ///
    /// # Errors
    /// [`AuthorityFault::Crypto`] if the key cannot sign.
    pub fn install(&self, key: &OwnKey, svid: &IssuedSvid, now: UnixTime) -> Result<(), AuthorityFault> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.0.serialize_der()));
        let signer = rustls::crypto::ring::sign::any_ecdsa_type(&der)
            .map_err(|_| AuthorityFault::Crypto { action: "use the server's own key" })?;
        let chain = svid.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let certified = Arc::new(CertifiedKey::new(chain, signer));
        let current = Current { certified, issued_at: now, not_after: svid.not_after };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(current);
        Ok(())
    }

    /// When it should be replaced: after a third of its life, or at once if there is none.
    #[must_use]
    pub fn renew_at(&self) -> UnixTime {
        match &*self.current.read().unwrap_or_else(PoisonError::into_inner) {
            Some(current) => current.issued_at.plus(current.not_after.since(current.issued_at) / 3),
            None => UnixTime(i64::MIN),
        }
    }

    /// Its end, where there is one.
    #[must_use]
    pub fn not_after(&self) -> Option<UnixTime> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|current| current.not_after)
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|current| current.certified.clone())
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCertificate").field("not_after", &self.not_after()).finish_non_exhaustive()
    }
}
