//! Signs an intermediate with a key that this process may use, whatever holds it: our own profile, nothing of the
//! request but its key.

use std::path::{Path, PathBuf};

use holdfast_identity::UnixTime;
use rcgen::{CertificateSigningRequestParams, SigningKey};
use ring::rand::SystemRandom;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Answer, Request, UpstreamFault};
use crate::authority::AuthorityFault;
use crate::authority::files::read_public;
use crate::authority::profile::{BACKDATE_SECONDS, draw_serial, signer};
use crate::authority::revocation_list::sign_draft;
use crate::store::{IssuerKeyId, ListDraft};

/// The certificates of a signing key: its own first, then those above it.
pub(super) struct Certificates {
    pub(super) cert_file: PathBuf,
    pub(super) bundle_file: Option<PathBuf>,
}

impl Certificates {
    /// Signs `request` with `key`, which must be that of the first certificate.
    pub(super) fn sign(&self, request: &Request, key: impl SigningKey) -> Result<Answer, UpstreamFault> {
        let own = read(&self.cert_file)?;
        let bundle = self.bundle_file.as_deref().map(read).transpose()?;
        let (issuer, above) = own.split_first().ok_or_else(|| none(&self.cert_file))?;
        let certificate = self.of_key(issuer, &key)?;
        let end = UnixTime(certificate.validity().not_after.timestamp());
        let (mut chain, mut roots) = (Vec::new(), bundle.unwrap_or_default());
        if roots.is_empty() {
            // Without a bundle the last certificate is the root.
            roots.extend(own.last().cloned());
        }
        let not_roots = |der: &&Vec<u8>| !roots.contains(der);
        chain.extend(std::iter::once(issuer).chain(above).filter(not_roots).cloned());
        let csr = CertificateSigningRequestDer::from(request.csr.as_slice());
        let csr = CertificateSigningRequestParams::from_der(&csr).map_err(|_| UpstreamFault::Request)?;
        let not_after = request.now.plus(request.ttl).min(end);
        let sign = |_| self.bad("cannot sign".to_owned());
        let serial = draw_serial(&SystemRandom::new()).map_err(Box::new)?;
        let validity = (request.now.plus(-BACKDATE_SECONDS), not_after);
        let mut params = signer(&request.trust_domain, "server", serial, validity, 0).map_err(Box::new)?;
        // Unique by the key, as the request says.
        params.distinguished_name = csr.params.distinguished_name;
        params.use_authority_key_identifier_extension = true;
        let issuer = rcgen::Issuer::from_ca_cert_der(&CertificateDer::from(issuer.as_slice()), key).map_err(sign)?;
        let signed = params.signed_by(&csr.public_key, &issuer).map_err(sign)?;
        chain.insert(0, signed.der().to_vec());
        Ok(Answer { chain, roots })
    }

    /// The signing certificate, if it may sign lists too.
    pub(super) fn list_signer(&self) -> Result<Option<Vec<u8>>, UpstreamFault> {
        let own = read(&self.cert_file)?.into_iter().next().ok_or_else(|| none(&self.cert_file))?;
        let (_, certificate) = X509Certificate::from_der(&own).map_err(|error| self.bad(error.to_string()))?;
        let usage = certificate.key_usage().ok().flatten();
        let may = usage.is_some_and(|usage| usage.value.crl_sign());
        Ok(may.then_some(own))
    }

    /// Signs a list with `key`, which must be that of the first certificate.
    pub(super) fn sign_list(&self, draft: &ListDraft, key: impl SigningKey) -> Result<Vec<u8>, UpstreamFault> {
        let own = read(&self.cert_file)?.into_iter().next().ok_or_else(|| none(&self.cert_file))?;
        self.of_key(&own, &key)?;
        if IssuerKeyId::of_certificate(&own) != Some(draft.issuer) {
            return Err(self.bad("has changed since the list was drafted".to_owned()));
        }
        let issuer = rcgen::Issuer::from_ca_cert_der(&CertificateDer::from(own.as_slice()), key);
        let issuer = issuer.map_err(|_| self.bad("cannot sign".to_owned()))?;
        Ok(sign_draft((&issuer, &own), draft).map_err(Box::new)?)
    }

    fn of_key<'a>(&self, issuer: &'a [u8], key: &impl SigningKey) -> Result<X509Certificate<'a>, UpstreamFault> {
        let (_, certificate) = X509Certificate::from_der(issuer).map_err(|error| self.bad(error.to_string()))?;
        if certificate.public_key().subject_public_key.as_ref() == key.der_bytes() {
            Ok(certificate)
        } else {
            Err(self.bad("is the certificate of another key".to_owned()))
        }
    }

    fn bad(&self, reason: String) -> UpstreamFault {
        UpstreamFault::Key { path: self.cert_file.clone(), reason }
    }
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, UpstreamFault> {
    let text = read_public(path).map_err(Box::new)?;
    certificates(text.as_bytes()).filter(|found| !found.is_empty()).ok_or_else(|| none(path))
}

/// The certificates in a PEM text; `None` where a block does not decode.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let ders = CertificateDer::pem_slice_iter(pem).map(|found| found.map(|der| der.as_ref().to_vec()));
    ders.collect::<Result<_, _>>().ok()
}

fn none(path: &Path) -> UpstreamFault {
    UpstreamFault::File(Box::new(AuthorityFault::Content {
        path: path.to_owned(),
        expected: "certificates in PEM",
        found: "none that decodes".to_owned(),
    }))
}
