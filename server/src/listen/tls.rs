//! TLS of the agent port: 1.3 only, no resumption of any kind, a client certificate where the client has one.

use std::sync::{Arc, PoisonError, RwLock};

use holdfast_identity::TrustDomain;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::below::{Below, Counting, OpenConnections};
use super::peer::InvalidSvid;
use super::{Connection, ListenFault, PeerSvid};
use crate::authority::{Bundle, OwnCertificate};

/// The TLS configuration of the moment: exchanged when the bundle or a list changes, read at each accept.
#[derive(Clone)]
pub struct TlsSettings {
    trust_domain: TrustDomain,
    own: Arc<OwnCertificate>,
    current: Arc<RwLock<Current>>,
    open: OpenConnections,
}

struct Current {
    config: Arc<ServerConfig>,
    counting: Arc<Counting>,
}

impl TlsSettings {
    /// Presents `own` and trusts the roots of `bundle`, and what is below them as far as it counts.
    ///
    /// # Errors
    /// [`ListenFault::Tls`] where a root cannot be used.
    pub fn new(own: Arc<OwnCertificate>, bundle: &Bundle, counting: Counting) -> Result<Self, ListenFault> {
        let current = current(own.clone(), bundle, counting)?;
        let (trust_domain, current) = (bundle.trust_domain().clone(), Arc::new(RwLock::new(current)));
        Ok(Self { trust_domain, own, current, open: OpenConnections::default() })
    }

    /// Trusts the roots of `bundle` from the next connection on. Those that are open stay until [`Self::cut`].
    ///
    /// # Errors
    /// [`ListenFault::Tls`]; the former configuration stays.
    pub fn trust(&self, bundle: &Bundle, counting: Counting) -> Result<(), ListenFault> {
        let current = current(self.own.clone(), bundle, counting)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    /// Whether connections are judged so already.
    #[must_use]
    pub fn counts_by(&self, counting: &Counting) -> bool {
        *self.counting() == *counting
    }

    /// Ends the connections whose certificate would not be taken any more; how many.
    pub fn cut(&self) -> usize {
        self.open.end(&self.counting())
    }

    pub(super) fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    fn counting(&self) -> Arc<Counting> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).counting.clone()
    }

    /// A connection was opened. If its handshake went by what counted before, it ends at once.
    pub(super) fn opened(&self, connection: &Arc<Connection>) {
        let Some(below) = connection.below() else { return };
        self.open.join(connection);
        if self.counting().is_revoked(below) {
            connection.close();
        }
    }

    /// A connection has ended.
    pub(super) fn ended(&self, connection: &Connection) {
        self.open.leave(connection);
    }
}

fn current(own: Arc<OwnCertificate>, bundle: &Bundle, counting: Counting) -> Result<Current, ListenFault> {
    let counting = Arc::new(counting);
    Ok(Current { config: server_config(own, bundle, counting.clone())?, counting })
}

fn server_config(
    own: Arc<OwnCertificate>,
    bundle: &Bundle,
    counting: Arc<Counting>,
) -> Result<Arc<ServerConfig>, ListenFault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = SvidVerifier::new(bundle, counting, provider.clone())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| ListenFault::Tls(error.to_string()))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(own);
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would be a connection whose client never showed that it still has its key.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Path validation by webpki, then the leaf rules of X.509-SVID.
#[derive(Debug)]
struct SvidVerifier {
    path: Arc<dyn ClientCertVerifier>,
    trust_domain: TrustDomain,
    /// Intermediates may count no more, though a root has signed them.
    counting: Arc<Counting>,
}

impl SvidVerifier {
    fn new(bundle: &Bundle, counting: Arc<Counting>, provider: Arc<CryptoProvider>) -> Result<Self, ListenFault> {
        let mut roots = RootCertStore::empty();
        for der in bundle.authorities() {
            roots.add(CertificateDer::from(der.clone())).map_err(|error| ListenFault::Tls(error.to_string()))?;
        }
        let path = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| ListenFault::Tls(error.to_string()))?;
        Ok(Self { path, trust_domain: bundle.trust_domain().clone(), counting })
    }
}

impl ClientCertVerifier for SvidVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None: agents bring the certificate they have, and 16 roots' names are no stranger's business.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.path.verify_client_cert(end_entity, intermediates, now)?;
        // Whoever leaves it out has no path, and whoever adds it to another path loses by it.
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        if self.counting.is_revoked(&Below::of(&chain)) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        PeerSvid::from_leaf(end_entity, &self.trust_domain)
            .and_then(|peer| if peer.is_node() { Ok(peer) } else { Err(InvalidSvid::NotANode) })
            .map_err(|error| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error)))))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is off on this port".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.path.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.path.supported_verify_schemes()
    }
}
