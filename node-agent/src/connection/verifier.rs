//! Is it the server? Its certificate must lead to an authority of the trust domain, be a leaf by the rules of the
//! X.509-SVID document, and carry exactly the server's SPIFFE ID. It has no DNS name.

use std::sync::Arc;

use holdfast_identity::{SpiffeId, UnixTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::trust::Revoked;

/// Why a server's certificate is not the server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTheServer {
    /// The certificate's only URI name must be the server's ID.
    #[error("server's certificate names {found}, expected {expected}")]
    Name {
        /// `spiffe://<trust domain>/holdfast/server`.
        expected: String,
        /// What it names.
        found: String,
    },
    /// It may sign other certificates: whoever holds its key is an authority, and authenticates nobody.
    #[error("server's certificate is a signer's, expected a leaf")]
    Signer,
    /// It is not for authentication.
    #[error("server's certificate lacks the critical key usage digitalSignature")]
    KeyUsage,
}

/// Verifies the server's certificate for one connection.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) expected: SpiffeId,
    /// Empty for an insecure first connection: then the presented chain's topmost certificate is the anchor.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// Intermediates that count no more.
    pub(super) revoked: Revoked,
    /// A time that has certainly come: at most the present.
    pub(super) not_before: UnixTime,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: rustls_pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = || std::iter::once(end_entity).chain(intermediates);
        let now = shown().filter_map(not_before).fold(
            i64::try_from(now.as_secs()).unwrap_or(i64::MAX).max(self.not_before.seconds()),
            // Our clock may be behind, and no authority signs for the future: a certificate proves its own beginning.
            i64::max,
        );
        let now = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(now).unwrap_or_default(),
        ));
        let pinned = intermediates.last().filter(|_| self.authorities.is_empty());
        let anchors = self
            .authorities
            .iter()
            .chain(pinned.map(|der| -> &CertificateDer<'_> { der }))
            .map(anchor_from_trusted_cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let leaf = EndEntityCert::try_from(end_entity).map_err(certificate_error)?;
        leaf.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &anchors,
            intermediates,
            now,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(certificate_error)?;
        if self.revoked.covers(shown().map(|der| &**der)) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        named(end_entity, &self.expected)
            .and_then(|()| leaf_usage(end_entity))
            .map_err(|not| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(not)))))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn not_before(certificate: &CertificateDer<'_>) -> Option<i64> {
    X509Certificate::from_der(certificate).ok().map(|(_, certificate)| certificate.validity().not_before.timestamp())
}

fn named(leaf: &CertificateDer<'_>, expected: &SpiffeId) -> Result<(), NotTheServer> {
    let refused = |found: &str| NotTheServer::Name {
        expected: expected.to_string(),
        found: found.chars().flat_map(char::escape_default).take(2048).collect(),
    };
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| refused("nothing that can be read"))?;
    let names = certificate.subject_alternative_name().map_err(|_| refused("unreadable alternative names"))?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [only] if *only == expected.as_str() => Ok(()),
        [] => Err(refused("no URI")),
        [only] => Err(refused(only)),
        _ => Err(refused("several URIs")),
    }
}

/// What path validation does not look at: a leaf's key signs messages, never certificates or revocation lists.
fn leaf_usage(leaf: &CertificateDer<'_>) -> Result<(), NotTheServer> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| NotTheServer::KeyUsage)?;
    let usage = certificate.key_usage().ok().flatten().ok_or(NotTheServer::KeyUsage)?;
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(NotTheServer::Signer);
    }
    if usage.critical && usage.value.digital_signature() { Ok(()) } else { Err(NotTheServer::KeyUsage) }
}

fn certificate_error(error: webpki::Error) -> Error {
    Error::InvalidCertificate(match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

#[cfg(test)]
mod tests;
