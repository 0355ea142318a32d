//! A certificate of public TLS from files that somebody else renews: read again when they change. A new one that cannot be
//! used leaves the old one in place, and is an alarm.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::authority::read_secret;

/// How often the files are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);
/// Bytes of the file of certificates.
const CHAIN_BYTES_MAX: u64 = 256 << 10;
/// Certificates of a chain.
const CHAIN_MAX: usize = 10;

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, leaf first.
    pub chain: PathBuf,
    /// Its key in PEM, 0600 or 0640.
    pub key: PathBuf,
}

/// A certificate that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {}: {problem}", file.display())]
pub struct BadCertificate {
    /// Which file.
    pub file: PathBuf,
    /// Why not.
    pub problem: String,
}

/// What a file was when it was last looked at: device, inode, size, and the moments of change.
type Stamp = [Option<(u64, u64, u64, i64, i64)>; 2];

/// The certificate of the moment.
pub struct Certificate {
    files: CertificateFiles,
    alarm: &'static str,
    current: RwLock<Current>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    /// The files that it came from.
    stamp: Stamp,
    /// The files that could not be used: said once.
    unusable: Option<Stamp>,
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
    /// Reads the files; `alarm` is raised when they change to what cannot be used.
    ///
    /// # Errors
    /// [`BadCertificate`] if they cannot be read, others may read the key, or key and certificate do not belong together.
    pub fn open(files: CertificateFiles, alarm: &'static str) -> Result<Self, BadCertificate> {
        // Before they are read: what is written meanwhile is another stamp.
        let stamp = stamp(&files);
        let current = Current { certified: Arc::new(read(&files)?), stamp, unusable: None };
        Ok(Self { files, alarm, current: RwLock::new(current) })
    }

    /// The certificate of the moment.
    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).certified.clone()
    }

    /// Looks at the files from time to time, until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let certificate = self.clone();
            // Files may lie where reading takes long.
            drop(tokio::task::spawn_blocking(move || certificate.refresh()).await);
        }
    }

    /// Reads the files anew if they are not as they were. Two files are never exchanged at once: a pair that does not fit
    /// is read again each time.
    pub(super) fn refresh(&self) {
        let now = stamp(&self.files);
        if self.current.read().unwrap_or_else(PoisonError::into_inner).stamp == now {
            return;
        }
        let fresh = read(&self.files);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match fresh {
            Ok(certified) => {
                *current = Current { certified: Arc::new(certified), stamp: now, unusable: None };
                info!(file = %self.files.chain.display(), "certificate taken up");
            }
            Err(problem) if current.unusable != Some(now) => {
                current.unusable = Some(now);
                let alarm = self.alarm;
                error!(alarm, %problem, "certificate cannot be taken up, the former one stays");
                metrics::counter!("holdfast_alarms_total", "alarm" => alarm).increment(1);
            }
            Err(_) => {}
        }
    }
}

fn stamp(files: &CertificateFiles) -> Stamp {
    [&files.chain, &files.key].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        let nanoseconds = |seconds: i64, more: i64| seconds.saturating_mul(1_000_000_000).saturating_add(more);
        let written = nanoseconds(found.mtime(), found.mtime_nsec());
        Some((found.dev(), found.ino(), found.size(), written, nanoseconds(found.ctime(), found.ctime_nsec())))
    })
}

fn read(files: &CertificateFiles) -> Result<CertifiedKey, BadCertificate> {
    let bad = |file: &Path, problem: &dyn fmt::Display| BadCertificate {
        file: file.to_owned(),
        problem: problem.to_string(),
    };
    let length = std::fs::metadata(&files.chain).map_err(|error| bad(&files.chain, &error))?.len();
    if length > CHAIN_BYTES_MAX {
        return Err(bad(&files.chain, &format_args!("{length} bytes, limit {CHAIN_BYTES_MAX}")));
    }
    let chain = CertificateDer::pem_file_iter(&files.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(&files.chain, &error))?;
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        let found = chain.len();
        return Err(bad(&files.chain, &format_args!("{found} certificates, expected 1 to {CHAIN_MAX}")));
    }
    let text = read_secret(&files.key).map_err(|fault| bad(&files.key, &fault))?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| bad(&files.key, &error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| bad(&files.key, &error))
}
