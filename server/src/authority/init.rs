//! `holdfast-server init`: makes the trust domain's root, or takes an existing one, and this server's intermediate.
//!
//! The root key goes to a path of its own, with its certificate in the same file: that file alone renews this server's
//! intermediate or brings up another server of the same trust domain. The running server never opens it.

use std::path::{Path, PathBuf};

use holdfast_identity::{TrustDomain, UnixTime};
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::bundle::{pem, signer_trust_domain};
use super::files::{exists, read_public, replace};
use super::profile::{BACKDATE_SECONDS, draw_serial, signer};
use super::{AuthorityFault, AuthorityFiles, Bundle, read_secret, write_new_secret};

const DAY_SECONDS: i64 = 24 * 3600;

/// What `init` needs to know.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The trust domain to found or to join.
    pub trust_domain: TrustDomain,
    /// The server's data directory; `authority/` is made below it.
    pub data_dir: PathBuf,
    /// Where the root key is, or shall be written.
    pub root_key: PathBuf,
    /// Days that a new root lives.
    pub root_days: u32,
    /// Days that the new intermediate lives, cut to the root's end.
    pub intermediate_days: u32,
    /// Serial numbers of intermediates that stand on the root's list from now on.
    pub revoke_intermediates: Vec<Vec<u8>>,
    /// The present.
    pub now: UnixTime,
}

impl InitOptions {
    /// Ten years of root, one of intermediate.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, data_dir: PathBuf, root_key: PathBuf, now: UnixTime) -> Self {
        Self {
            trust_domain,
            data_dir,
            root_key,
            root_days: 3650,
            intermediate_days: 365,
            revoke_intermediates: Vec::new(),
            now,
        }
    }
}

/// What `init` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitReport {
    /// Whether the root is new; else the root key's file was found and used.
    pub root_created: bool,
    /// Whether an intermediate was there before and has been replaced.
    pub intermediate_renewed: bool,
    /// SHA-256 of the root certificate's DER, hex.
    pub root_sha256: String,
    /// End of the intermediate, seconds since the epoch.
    pub intermediate_not_after: UnixTime,
    /// Where the root key is. Keep it off this machine.
    pub root_key: PathBuf,
    /// The bundle as PEM, which agents need as `trust_bundle`.
    pub bundle_pem: PathBuf,
}

/// Founds a trust domain, joins a server to it, or renews the server's intermediate.
///
/// # Errors
/// [`AuthorityFault`]: [`AuthorityFault::AlreadyInitialised`] where there is an authority but no root key,
/// [`AuthorityFault::OtherRoot`] where the root key belongs to another one, and what files can go wrong. Nothing that
/// exists is overwritten but the intermediate, and that only with the root key in hand.
pub fn init(options: &InitOptions) -> Result<InitReport, AuthorityFault> {
    let files = AuthorityFiles::below(&options.data_dir);
    let known = read_known_bundle(options, &files)?;
    let root_created = !exists(&options.root_key)?;
    if root_created && known.is_some() {
        return Err(AuthorityFault::AlreadyInitialised {
            data_dir: options.data_dir.clone(),
            root_key: options.root_key.clone(),
        });
    }
    let root = if root_created { Root::create(options)? } else { Root::read(&options.root_key)? };
    root.check(options, known.as_ref())?;
    files.create_directory()?;
    let (intermediate, not_after) = root.issue_intermediate(options)?;
    let intermediate_renewed = exists(&files.intermediate())?;
    let bundle = known.unwrap_or_else(|| Bundle::new(options.trust_domain.clone(), vec![root.certificate.to_vec()], 1));
    replace(&files.bundle_pem(), bundle.to_pem(), 0o644)?;
    replace(&files.bundle(), bundle.to_json(), 0o644)?;
    root.write_list(options, &files)?;
    replace(&files.intermediate(), &*intermediate, 0o600)?;
    Ok(InitReport {
        root_created,
        intermediate_renewed,
        root_sha256: hex::encode(ring::digest::digest(&ring::digest::SHA256, &root.certificate)),
        intermediate_not_after: not_after,
        root_key: options.root_key.clone(),
        bundle_pem: files.bundle_pem(),
    })
}

fn read_known_bundle(options: &InitOptions, files: &AuthorityFiles) -> Result<Option<Bundle>, AuthorityFault> {
    if !exists(&files.bundle())? {
        return Ok(None);
    }
    read_bundle(&options.trust_domain, files).map(Some)
}

/// The bundle as it stands below the data directory.
pub(super) fn read_bundle(trust_domain: &TrustDomain, files: &AuthorityFiles) -> Result<Bundle, AuthorityFault> {
    let path = files.bundle();
    Bundle::from_json(trust_domain.clone(), &read_public(&path)?).map_err(|error| AuthorityFault::Content {
        path,
        expected: "a trust bundle",
        found: error.to_string(),
    })
}

/// A key and its certificate, read from one PEM file.
pub(super) struct KeyAndCertificate {
    pub(super) key: KeyPair,
    pub(super) certificate: CertificateDer<'static>,
    /// Those above it, without the root.
    pub(super) above: Vec<CertificateDer<'static>>,
}

impl KeyAndCertificate {
    pub(super) fn read(path: &Path) -> Result<Self, AuthorityFault> {
        let text = read_secret(path)?;
        let content = |expected, found: String| AuthorityFault::Content { path: path.to_owned(), expected, found };
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| content("a PKCS#8 key", error.to_string()))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|error| content("a P-256 key", error.to_string()))?;
        let mut above = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| content("a certificate", error.to_string()))?;
        if above.is_empty() {
            return Err(content("a certificate", "none".to_owned()));
        }
        let certificate = above.remove(0);
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| content("a certificate", error.to_string()))?;
        if parsed.public_key().subject_public_key.as_ref() != key.public_key_raw() {
            return Err(content("a certificate of its key", "another key's".to_owned()));
        }
        Ok(Self { key, certificate, above })
    }

    /// The trust domain that the certificate signs for.
    pub(super) fn trust_domain(&self, path: &Path) -> Result<TrustDomain, AuthorityFault> {
        signer_trust_domain(&self.certificate).map_err(|error| AuthorityFault::Content {
            path: path.to_owned(),
            expected: "a SPIFFE signing certificate",
            found: error.to_string(),
        })
    }
}

struct Root {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    not_after: UnixTime,
}

impl Root {
    fn create(options: &InitOptions) -> Result<Self, AuthorityFault> {
        let key = generate()?;
        let (from, to) = (options.now.plus(-BACKDATE_SECONDS), end(options.now, options.root_days));
        let serial = draw_serial(&SystemRandom::new())?;
        let params = signer(&options.trust_domain, "root", serial, (from, to), 1)?;
        let certificate =
            params.self_signed(&key).map_err(|_| AuthorityFault::Crypto { action: "sign the root certificate" })?;
        write_new_secret(&options.root_key, &key_and_certificate(&key, certificate.der()))?;
        Ok(Self { key, certificate: certificate.der().clone(), not_after: to })
    }

    fn read(path: &Path) -> Result<Self, AuthorityFault> {
        let KeyAndCertificate { key, certificate, .. } = KeyAndCertificate::read(path)?;
        let not_after = super::issuer::not_after(&certificate, path)?;
        Ok(Self { key, certificate, not_after })
    }

    fn check(&self, options: &InitOptions, known: Option<&Bundle>) -> Result<(), AuthorityFault> {
        let found = signer_trust_domain(&self.certificate).map_err(|error| AuthorityFault::Content {
            path: options.root_key.clone(),
            expected: "a root certificate",
            found: error.to_string(),
        })?;
        if found != options.trust_domain {
            return Err(AuthorityFault::OtherRoot {
                expected: options.trust_domain.to_string(),
                found: found.to_string(),
            });
        }
        match known {
            Some(bundle) if !bundle.authorities().iter().any(|root| root[..] == self.certificate[..]) => {
                Err(AuthorityFault::OtherRoot {
                    expected: format!("a root of the bundle of {}", options.trust_domain),
                    found: format!("another root of {found}"),
                })
            }
            _ => Ok(()),
        }
    }

    /// Writes the list of intermediates that are revoked below the data directory, where the server finds it. It is
    /// remembered beside the root key, and good as long as the root: nothing renews it but this.
    fn write_list(&self, options: &InitOptions, files: &AuthorityFiles) -> Result<(), AuthorityFault> {
        let beside = options.root_key.with_extension("crl");
        let content = |found: String| {
            let expected = "the root's revocation list";
            AuthorityFault::Content { path: beside.clone(), expected, found }
        };
        let (_, root) =
            x509_parser::parse_x509_certificate(&self.certificate).map_err(|error| content(error.to_string()))?;
        let former = if exists(&beside)? {
            let der = super::files::read_bytes(&beside)?;
            let read = super::read_list(&der).map_err(|error| content(error.to_string()))?;
            // Left over from another root of that name: it says nothing of ours.
            (read.issuer == root.subject().as_raw()).then_some((der, read))
        } else {
            None
        };
        let der = match former {
            Some((der, _)) if options.revoke_intermediates.is_empty() => der,
            former => {
                let signer = rcgen::Issuer::from_ca_cert_der(&self.certificate, &self.key)
                    .map_err(|_| AuthorityFault::Crypto { action: "sign the root's revocation list" })?;
                let (signer, former) = ((&signer, &*self.certificate), former.map(|(_, read)| read));
                let ends = (options.now, self.not_after);
                let der = super::revocation_list::sign_root_list(signer, former, &options.revoke_intermediates, ends)?;
                let kept = replace(&beside, &der, 0o644);
                // An empty list is made again from nothing; whoever keeps the root key write-protected may go on.
                if !options.revoke_intermediates.is_empty() {
                    kept?;
                }
                der
            }
        };
        replace(&files.root_list(), &der, 0o644)
    }

    /// PEM of a new intermediate key and its certificate, and its end.
    fn issue_intermediate(&self, options: &InitOptions) -> Result<(Zeroizing<String>, UnixTime), AuthorityFault> {
        let not_after = end(options.now, options.intermediate_days).min(self.not_after);
        if not_after <= options.now {
            return Err(AuthorityFault::NoLifetime { not_after: not_after.seconds(), now: options.now.seconds() });
        }
        let key = generate()?;
        let serial = draw_serial(&SystemRandom::new())?;
        let validity = (options.now.plus(-BACKDATE_SECONDS), not_after);
        let mut params: CertificateParams = signer(&options.trust_domain, "server", serial, validity, 0)?;
        params.use_authority_key_identifier_extension = true;
        let crypto = |_| AuthorityFault::Crypto { action: "sign the intermediate certificate" };
        let issuer = rcgen::Issuer::from_ca_cert_der(&self.certificate, &self.key).map_err(crypto)?;
        let certificate = params.signed_by(&key, &issuer).map_err(crypto)?;
        Ok((key_and_certificate(&key, certificate.der()), not_after))
    }
}

fn generate() -> Result<KeyPair, AuthorityFault> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|_| AuthorityFault::Crypto { action: "generate a P-256 key" })
}

fn key_and_certificate(key: &KeyPair, certificate: &CertificateDer<'_>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(pem("PRIVATE KEY", key.serialized_der()));
    text.push_str(&pem("CERTIFICATE", certificate));
    text
}

fn end(now: UnixTime, days: u32) -> UnixTime {
    now.plus(i64::from(days) * DAY_SECONDS)
}
