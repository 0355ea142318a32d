//! Is it the endpoint? By the profile `https_spiffe` its certificate must lead to an authority of its trust domain and be
//! an X.509-SVID with exactly the ID that an operator named. Whatever host it runs on says nothing.

use std::sync::Arc;

use holdfast_identity::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::listen::PeerSvid;

/// Verifies an endpoint's certificate.
#[derive(Debug)]
pub(super) struct EndpointVerifier {
    pub(super) expected: SpiffeId,
    /// Authorities of the ID's trust domain, and of no other.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) provider: Arc<CryptoProvider>,
}

/// A certificate of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NotTheEndpoint {
    #[error("endpoint's certificate names {found}, expected {expected}")]
    Name { found: SpiffeId, expected: SpiffeId },
    #[error("endpoint's certificate is no X.509-SVID of the expected trust domain: {0}")]
    NoSvid(String),
}

impl ServerCertVerifier for EndpointVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let anchors = self.authorities.iter().filter_map(|der| anchor_from_trusted_cert(der).ok()).collect::<Vec<_>>();
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
        self.check_name(end_entity)
            .map_err(|not| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(not)))))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
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

impl EndpointVerifier {
    fn check_name(&self, leaf: &[u8]) -> Result<(), NotTheEndpoint> {
        let svid = PeerSvid::from_leaf(leaf, &self.expected.trust_domain())
            .map_err(|invalid| NotTheEndpoint::NoSvid(invalid.to_string()))?;
        if svid.spiffe_id == self.expected {
            return Ok(());
        }
        Err(NotTheEndpoint::Name { found: svid.spiffe_id, expected: self.expected.clone() })
    }
}

fn certificate_error(error: webpki::Error) -> Error {
    Error::InvalidCertificate(match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}
