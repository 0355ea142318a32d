//! Asks this machine's kubelet for its pods, over TLS by the name of the node, and remembers the answer for a second.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::super::http::{Address, HttpFault, Question};
use super::pod::PodList;
use super::{KubeletFault, KubernetesSettings};

/// Bytes of the list: 500 pods, the most that is supported on one node, of 50 kB each.
const LIST_BYTES_MAX: usize = 32 << 20;
/// Bytes of a file with a token, a key or certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How long the kubelet may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How old an answer may be that is used again: many streams are looked at within the same moment.
const FRESH: Duration = Duration::from_secs(1);

/// The kubelet and its last answer.
#[derive(Debug)]
pub(super) struct Kubelet {
    settings: KubernetesSettings,
    last: Mutex<Option<Listed>>,
}

/// A list, and when it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) pods: Arc<PodList>,
    pub(super) asked: Instant,
}

impl Kubelet {
    pub(super) fn of(settings: KubernetesSettings) -> Self {
        Self { settings, last: Mutex::default() }
    }

    /// The pods: asked for a second ago at most, and after `known`, which has been seen already.
    pub(super) async fn pods(&self, known: Option<Instant>) -> Result<Listed, KubeletFault> {
        // Those who wait here get the answer that the first one is waiting for.
        let mut last = self.last.lock().await;
        let is_new =
            |listed: &&Listed| listed.asked.elapsed() < FRESH && known.is_none_or(|known| listed.asked > known);
        if let Some(listed) = last.as_ref().filter(is_new) {
            return Ok(listed.clone());
        }
        let asked = Instant::now();
        let listed = Listed { pods: Arc::new(self.list().await?), asked };
        *last = Some(listed.clone());
        Ok(listed)
    }

    async fn list(&self) -> Result<PodList, KubeletFault> {
        let address = &self.settings.kubelet;
        let tls = match address {
            Address::Tls(..) => Some(self.tls()?),
            Address::Unix(_) | Address::Plain(..) => None,
        };
        // A token goes to nobody who has not shown who he is.
        let authorization = match (&tls, &self.settings.token) {
            (Some(_), Some(token)) => Some(bearer(token)?),
            _ => None,
        };
        let (bytes_max, patience) = (LIST_BYTES_MAX, PATIENCE);
        let question = Question { address, tls, path: "/pods", authorization, bytes_max, patience };
        match question.ask().await? {
            (200, body) => Ok(serde_json::from_slice(&body)
                .map_err(|source| HttpFault::Answer { address: address.to_string(), source })?),
            (status, _) => Err(HttpFault::Status { address: address.to_string(), status }.into()),
        }
    }

    /// Files are read at each question: all of them are replaced while the agent runs.
    fn tls(&self) -> Result<(TlsConnector, ServerName<'static>), KubeletFault> {
        let settings = &self.settings;
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |why: String| KubeletFault::File { path, source: io::Error::other(why) }
        };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(&read(&settings.ca)?).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| wrong(&settings.ca)(error.to_string()))?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(wrong(&settings.ca)("no certificate".to_owned()));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&settings.ca)(error.to_string()))?
            .with_root_certificates(roots);
        let config = match &settings.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let chain = CertificateDer::pem_slice_iter(&read(&client.certificate)?).collect::<Result<Vec<_>, _>>();
                let chain = chain.map_err(|error| wrong(&client.certificate)(error.to_string()))?;
                let key = PrivateKeyDer::from_pem_slice(&read(&client.private_key)?);
                let key = key.map_err(|error| wrong(&client.private_key)(error.to_string()))?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| wrong(&client.certificate)(error.to_string()))?
            }
        };
        let name = ServerName::try_from(settings.node_name.clone());
        let name = name.map_err(|_| KubeletFault::Name { name: settings.node_name.clone() })?;
        Ok((TlsConnector::from(Arc::new(config)), name))
    }
}

fn bearer(path: &Path) -> Result<HeaderValue, KubeletFault> {
    let token = read(path)?;
    let value = Zeroizing::new([b"Bearer ".as_slice(), token.trim_ascii()].concat());
    let value = HeaderValue::from_bytes(&value);
    let mut value = value.map_err(|error| KubeletFault::File { path: path.into(), source: io::Error::other(error) })?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KubeletFault> {
    let unreadable = |source| KubeletFault::File { path: PathBuf::from(path), source };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(unreadable(io::Error::other("is no file, or larger than 1 MiB")));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(unreadable)
}
