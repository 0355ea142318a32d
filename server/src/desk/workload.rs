//! Workload SVIDs: judged by the entries of this moment, recorded, and only then signed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use holdfast_evidence::key::ProvenKey;
use holdfast_protocol::limits::CSR_BYTES_MAX;
use tracing::warn;

use crate::authority::{Authority, AuthorityFault, Draft, IssuedSvid};
use crate::clock;
use crate::live::StandingNode;
use crate::store::{Entry, NotRecorded, Store, StoreFault};

/// What a node asks for one workload.
#[derive(Clone, Debug)]
pub struct SvidRequest {
    /// The registration entry.
    pub entry_id: String,
    /// PKCS#10, signed by the workload's key.
    pub csr: Vec<u8>,
}

/// Why one request of several is refused; the others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SvidRefused {
    /// There is no such entry whose parent this node is.
    EntryUnknown,
    /// The request does not prove a key that we certify.
    KeyRefused,
    /// The audience of a token is none, or too much.
    AudienceRefused,
    /// The entry or the node's evidence has expired.
    Expired,
    /// Too much of the node's is withdrawn. Nothing is wrong with what is asked for: it may be asked for again.
    Later,
}

impl SvidRefused {
    /// The word for the agent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntryUnknown => "entry_unknown",
            Self::KeyRefused => "key_refused",
            Self::AudienceRefused => "audience_refused",
            Self::Expired => "expired",
            Self::Later => "later",
        }
    }
}

/// Why nothing was signed at all.
#[derive(Debug, thiserror::Error)]
pub enum SigningEnds {
    /// The node does not stand any more: banned, frozen, evicted or expired since it was looked at.
    #[error("node does not stand any more")]
    NotStanding,
    /// A fault of the store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A fault of the authority.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
}

/// One SVID with the entry it came from.
#[derive(Clone, Debug)]
pub struct WorkloadSvid {
    /// The entry's ID.
    pub entry_id: String,
    /// The SVID.
    pub svid: IssuedSvid,
}

/// Signs for workloads.
pub struct WorkloadSigner {
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    ttl_default: i64,
}

impl WorkloadSigner {
    /// `ttl_default`: seconds for entries that say nothing.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, authority: Arc<Authority>, ttl_default: i64) -> Self {
        Self { store, authority, ttl_default }
    }

    /// One answer per request, in order.
    ///
    /// # Errors
    /// [`SigningEnds`] where the node stands no more, or by a fault of ours: then nothing was signed.
    pub async fn sign(
        &self,
        node: &StandingNode,
        requests: Vec<SvidRequest>,
    ) -> Result<Vec<Result<WorkloadSvid, SvidRefused>>, SigningEnds> {
        let started = Instant::now();
        let now = clock::now();
        let wanted = requests.iter().map(|request| request.entry_id.clone()).collect();
        let (revision, entries) = self.store.entries_of_node(node.number(), wanted, now).await?;
        let entries: HashMap<&str, &Entry> = entries.iter().map(|entry| (entry.id(), entry)).collect();
        let issuer = self.authority.issuer();
        let mut judged: Vec<Result<(&str, Draft), SvidRefused>> = Vec::with_capacity(requests.len());
        for request in &requests {
            judged.push(match Self::key_of(request, &entries) {
                Err(refused) => Err(refused),
                Ok((entry, key)) => match issuer.draft_workload(node, entry, &key, self.ttl_default, now) {
                    Ok(draft) => Ok((entry.id(), draft)),
                    Err(AuthorityFault::NoLifetime { .. }) if issuer.not_after() > now => Err(SvidRefused::Expired),
                    Err(fault @ (AuthorityFault::UnsupportedKey | AuthorityFault::DnsName { .. })) => {
                        warn!(entry = entry.id(), code = fault.code(), %fault, "workload SVID cannot be drafted");
                        Err(SvidRefused::KeyRefused)
                    }
                    // An intermediate that has ended or is revoked is no fault of whoever asks, who is to ask again.
                    Err(fault) => return Err(fault.into()),
                },
            });
        }
        let issuances = judged.iter().filter_map(|one| one.as_ref().ok()).map(|(_, draft)| draft.issuance()).collect();
        let mut recorded = self.store.record_issuances(issuances, revision.n, now).await?.into_iter();
        let mut answers = Vec::with_capacity(judged.len());
        for one in judged {
            let answer = match one {
                Err(refused) => Err(refused),
                Ok((entry_id, draft)) => match recorded.next().ok_or(AuthorityFault::NotRecorded)? {
                    Ok(token) => {
                        let svid = issuer.sign(&draft, token)?;
                        metrics::counter!("holdfast_svids_issued_total", "kind" => "workload").increment(1);
                        Ok(WorkloadSvid { entry_id: entry_id.to_owned(), svid })
                    }
                    Err(NotRecorded::EntryGone) => Err(SvidRefused::EntryUnknown),
                    Err(NotRecorded::OutlivesEvidence) => Err(SvidRefused::Expired),
                    Err(NotRecorded::NodeNotStanding) => return Err(SigningEnds::NotStanding),
                    Err(NotRecorded::TooMuchWithdrawn) => Err(SvidRefused::Later),
                    Err(NotRecorded::AuthorityGone) => return Err(AuthorityFault::NotRecorded.into()),
                },
            };
            answers.push(answer);
        }
        metrics::histogram!("holdfast_issuance_seconds", "kind" => "workload").record(started.elapsed().as_secs_f64());
        Ok(answers)
    }

    /// The entry that a request names, and the key that it proves.
    fn key_of<'e>(
        request: &SvidRequest,
        entries: &HashMap<&str, &'e Entry>,
    ) -> Result<(&'e Entry, ProvenKey), SvidRefused> {
        let entry = entries.get(request.entry_id.as_str()).copied().ok_or(SvidRefused::EntryUnknown)?;
        if request.csr.len() > CSR_BYTES_MAX {
            return Err(SvidRefused::KeyRefused);
        }
        let key = ProvenKey::from_csr(&request.csr).map_err(|_| SvidRefused::KeyRefused)?;
        Ok((entry, key))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::super::testing::with_an_entry;
    use super::*;
    use crate::authority::init;
    use crate::authority::testing::Place;

    #[tokio::test]
    async fn an_intermediate_that_counts_no_more_is_no_refusal_of_whoever_asks() {
        let (_directory, store, standing) = with_an_entry("web").await;
        let place = Place::at(clock::now());
        init(&place.options).unwrap();
        let trust_domain = place.options.trust_domain.clone();
        let authority = Authority::open(trust_domain, place.files(), store.as_ref(), clock::now()).await.unwrap();
        let authority = Arc::new(authority);
        let signer = WorkloadSigner::new(store.clone(), authority.clone(), 3600);
        let csr = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let ask = async |entry: &str, csr: &[u8]| {
            let request = SvidRequest { entry_id: entry.to_owned(), csr: csr.to_vec() };
            signer.sign(&standing, vec![request]).await.map(|mut answers| answers.remove(0).map(|_| ()))
        };
        assert_eq!(ask("web", &csr).await.unwrap(), Ok(()));
        assert_eq!(ask("db", &csr).await.unwrap(), Err(SvidRefused::EntryUnknown));
        assert_eq!(ask("web", b"none").await.unwrap(), Err(SvidRefused::KeyRefused));
        authority.heed(|_| true);
        let fault = ask("web", &csr).await.unwrap_err();
        assert!(matches!(fault, SigningEnds::Authority(AuthorityFault::Revoked { .. })), "{fault:?}");
    }
}
