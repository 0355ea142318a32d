//! The certificate of a site, from files that somebody else renews: read again when they change. A new one that cannot be
//! used leaves the old one in place, and is an alarm.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::WebFault;

/// How often the files are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);
/// Bytes of either file.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Certificates of a chain.
const CHAIN_MAX: usize = 10;

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, leaf first.
    pub chain: PathBuf,
    /// Its key in PEM.
    pub key: PathBuf,
}

/// When either file was written last, and its length: what tells that it is another.
type Marks = [(Option<SystemTime>, u64); 2];

/// The certificate of the moment.
pub struct Certificate {
    files: CertificateFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`WebFault::Certificate`] if they cannot be read, or key and certificate do not belong together.
    pub fn open(files: CertificateFiles) -> Result<Self, WebFault> {
        let current = RwLock::new(Arc::new(read(&files)?));
        Ok(Self { files, current })
    }

    /// The certificate of the moment.
    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files from time to time, until `stop`.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = self.marks();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let marks = self.marks();
            if marks == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => seen = marks,
                // Key and chain are two files: between the two they do not belong together. Looked at again each time.
                Err(fault) => error!(code = fault.code(), %fault, "the site keeps its former certificate"),
            }
        }
    }

    /// Reads the files anew.
    ///
    /// # Errors
    /// As [`Certificate::open`]; the former certificate stays.
    pub(super) fn reload(&self) -> Result<(), WebFault> {
        let fresh = Arc::new(read(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        info!(file = %self.files.chain.display(), "the site has a new certificate");
        Ok(())
    }

    fn marks(&self) -> Marks {
        let mark = |file: &Path| match std::fs::metadata(file) {
            Ok(metadata) => (metadata.modified().ok(), metadata.len()),
            Err(_) => (None, 0),
        };
        [mark(&self.files.chain), mark(&self.files.key)]
    }
}

fn read(files: &CertificateFiles) -> Result<CertifiedKey, WebFault> {
    let fault = |file: &Path, problem: &dyn fmt::Display| WebFault::Certificate {
        file: file.to_owned(),
        problem: problem.to_string(),
    };
    for file in [&files.chain, &files.key] {
        let length = std::fs::metadata(file).map_err(|error| fault(file, &error))?.len();
        if length > FILE_BYTES_MAX {
            return Err(fault(file, &format_args!("{length} bytes, limit {FILE_BYTES_MAX}")));
        }
    }
    let chain = CertificateDer::pem_file_iter(&files.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(&files.chain, &error))?;
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        let found = chain.len();
        return Err(fault(&files.chain, &format_args!("{found} certificates, expected 1 to {CHAIN_MAX}")));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| fault(&files.key, &error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| fault(&files.key, &error))
}
