//! What the server says to our certificate, heard where it arrives: as an alert of TLS, after which the stream ends. Whoever
//! uses the stream above sees it break, and not why.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether the server has refused our certificate. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict(Arc<AtomicBool>);

impl Verdict {
    /// Whether it said no.
    pub(super) fn is_no(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// An alert comes under the keys of the handshake in which the server has shown who it is: nobody else can say so.
    fn hear(&self, error: &io::Error) {
        let said = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::AlertReceived(alert)) = said else { return };
        let is_of_certificate = matches!(
            alert,
            AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
        );
        if is_of_certificate {
            self.0.store(true, Ordering::Release);
        }
    }
}

/// A stream whose verdict is heard.
pub(super) struct Heard<S> {
    stream: S,
    verdict: Verdict,
}

impl<S> Heard<S> {
    pub(super) const fn new(stream: S, verdict: Verdict) -> Self {
        Self { stream, verdict }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read {
            self.verdict.hear(error);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::io::AsyncReadExt as _;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    struct Own(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>);

    impl Own {
        fn new() -> Self {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            // A name of its own: of two that have the same one, the other's signature is what is wrong.
            let (name, public) = (rcgen::DnType::CommonName, hex::encode(key.public_key_raw()));
            params.distinguished_name.push(name, public.get(..32).unwrap());
            let certificate = params.self_signed(&key).unwrap().der().clone();
            Self(certificate, PrivatePkcs8KeyDer::from(key.serialize_der()))
        }

        fn alone(&self) -> Arc<RootCertStore> {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.clone()).unwrap();
            Arc::new(roots)
        }

        fn key(&self) -> PrivateKeyDer<'static> {
            PrivateKeyDer::Pkcs8(self.1.clone_key())
        }
    }

    /// Whether a client hears a no from a server that takes the certificate of `taken` alone.
    async fn hears_no(server: &Own, client: &Own, taken: &Own) -> bool {
        let provider = || Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(taken.alone(), provider()).build().unwrap();
        let accepting = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.0.clone()], server.key())
            .unwrap();
        let connecting = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(server.alone())
            .with_client_auth_cert(vec![client.0.clone()], client.key())
            .unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let accepted = tokio::spawn(async move { TlsAcceptor::from(Arc::new(accepting)).accept(theirs).await });
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(Arc::new(connecting)).connect(name, ours).await.unwrap();
        let verdict = Verdict::default();
        let mut stream = Heard::new(stream, verdict.clone());
        drop(accepted.await.unwrap());
        let _ = stream.read(&mut [0; 1]).await;
        verdict.is_no()
    }

    #[tokio::test]
    async fn a_certificate_that_the_server_does_not_take_is_heard_of_after_the_handshake() {
        let [server, client, other] = [Own::new(), Own::new(), Own::new()];
        assert!(!hears_no(&server, &client, &client).await);
        assert!(hears_no(&server, &client, &other).await);
    }

    #[test]
    fn only_an_alert_about_the_certificate_is_a_no() {
        let heard = |error: rustls::Error| {
            let verdict = Verdict::default();
            verdict.hear(&io::Error::new(io::ErrorKind::InvalidData, error));
            verdict.is_no()
        };
        for alert in [AlertDescription::CertificateRevoked, AlertDescription::CertificateExpired] {
            assert!(heard(rustls::Error::AlertReceived(alert)), "{alert:?}");
        }
        assert!(!heard(rustls::Error::AlertReceived(AlertDescription::InternalError)));
        assert!(
            !heard(rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked)),
            "what we think of theirs"
        );
        let verdict = Verdict::default();
        verdict.hear(&io::ErrorKind::ConnectionReset.into());
        assert!(!verdict.is_no());
    }
}
