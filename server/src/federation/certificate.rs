//! The certificate of public TLS that the bundle endpoint shows: read from files, and again whenever they change. What
//! cannot be read leaves the former one in place.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{error, info};

use crate::authority::read_secret;

/// Bytes of the file of certificates.
const CHAIN_BYTES_MAX: u64 = 256 << 10;

/// What a file was when it was last looked at: device, inode, size, and the moments of change.
type Stamp = [Option<(u64, u64, u64, i64, i64)>; 2];

/// A certificate and key in files.
pub(super) struct FileCertificate {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<(Arc<CertifiedKey>, Stamp)>,
}

impl FileCertificate {
    /// Reads both files.
    pub(super) fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, String> {
        let stamp = stamp(&certificate, &key);
        let current = RwLock::new((read(&certificate, &key)?, stamp));
        Ok(Self { certificate, key, current })
    }

    /// Reads them again if they are not as they were. Two files are never exchanged at once: a pair that does not fit is
    /// looked at again next time.
    pub(super) fn refresh(&self) {
        let now = stamp(&self.certificate, &self.key);
        if self.current.read().unwrap_or_else(PoisonError::into_inner).1 == now {
            return;
        }
        match read(&self.certificate, &self.key) {
            Ok(certified) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = (certified, now);
                info!(file = %self.certificate.display(), "certificate of the bundle endpoint taken up");
            }
            Err(problem) => {
                let alarm = "federation.certificate";
                error!(alarm, problem, "certificate of the bundle endpoint cannot be taken up, the former one stays");
                metrics::counter!("holdfast_alarms_total", "alarm" => alarm).increment(1);
            }
        }
    }
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone())
    }
}

impl fmt::Debug for FileCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCertificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        let nanoseconds = |seconds: i64, more: i64| seconds.saturating_mul(1_000_000_000).saturating_add(more);
        let written = nanoseconds(found.mtime(), found.mtime_nsec());
        Some((found.dev(), found.ino(), found.size(), written, nanoseconds(found.ctime(), found.ctime_nsec())))
    })
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, String> {
    let unreadable = |why: &dyn fmt::Display| format!("{}: {why}", certificate.display());
    let length = std::fs::metadata(certificate).map_err(|why| unreadable(&why))?.len();
    if length > CHAIN_BYTES_MAX {
        return Err(unreadable(&format!("{length} bytes, limit {CHAIN_BYTES_MAX}")));
    }
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| unreadable(&why))?;
    if chain.is_empty() {
        return Err(unreadable(&"expected PEM certificates, leaf first, found none"));
    }
    let text = read_secret(key).map_err(|fault| fault.to_string())?;
    let private = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|why| format!("{}: {why}", key.display()))?;
    let provider = rustls::crypto::ring::default_provider();
    let certified = CertifiedKey::from_der(chain, private, &provider)
        .map_err(|why| format!("{} and {}: {why}", certificate.display(), key.display()))?;
    Ok(Arc::new(certified))
}
