//! JWT-SVIDs: judged by the entries of this moment, recorded, and only then signed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use holdfast_svid::audience::Audience;
use tracing::warn;

use super::workload::{SigningEnds, SvidRefused};
use crate::authority::{AuthorityFault, IssuedToken, TokenAuthority, TokenDraft};
use crate::clock;
use crate::live::StandingNode;
use crate::store::{Entry, GRANTS_OF_NODE_MAX, NotRecorded, Store};

/// What a node asks for one workload.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The registration entry.
    pub entry_id: String,
    /// Whom the token is for.
    pub audience: Vec<String>,
}

/// One token with the entry it came from.
#[derive(Clone, Debug)]
pub struct WorkloadToken {
    /// The entry's ID.
    pub entry_id: String,
    /// The token.
    pub token: IssuedToken,
}

/// Signs JWT-SVIDs for workloads.
pub struct TokenSigner {
    store: Arc<dyn Store>,
    authority: Arc<TokenAuthority>,
}

impl TokenSigner {
    /// By this server's JWT authority.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, authority: Arc<TokenAuthority>) -> Self {
        Self { store, authority }
    }

    /// One answer per request, in order.
    ///
    /// # Errors
    /// [`SigningEnds`] where the node stands no more, or by a fault of ours: then nothing was signed.
    pub async fn sign(
        &self,
        node: &StandingNode,
        requests: Vec<TokenRequest>,
    ) -> Result<Vec<Result<WorkloadToken, SvidRefused>>, SigningEnds> {
        let started = Instant::now();
        let now = clock::now();
        // One that has ended is no refusal of whoever asks, who is to ask again.
        let key = self.authority.signing().filter(|key| key.ends() > now).ok_or(AuthorityFault::NoTokenKey)?;
        let wanted = requests.iter().map(|request| request.entry_id.clone()).collect();
        let (revision, entries) = self.store.entries_of_node(node.number(), wanted, now).await?;
        let entries: HashMap<&str, &Entry> = entries.iter().map(|entry| (entry.id(), entry)).collect();
        let judged: Vec<Result<(&str, TokenDraft), SvidRefused>> = requests
            .iter()
            .map(|request| {
                let entry = entries.get(request.entry_id.as_str()).ok_or(SvidRefused::EntryUnknown)?;
                let audience = Audience::new(&request.audience).map_err(|bad| {
                    warn!(entry = entry.id(), code = bad.code(), %bad, "JWT-SVID refused");
                    SvidRefused::AudienceRefused
                })?;
                let draft = key.draft(node, entry, audience, self.authority.ttl(), now);
                draft.map(|draft| (entry.id(), draft)).map_err(|_| SvidRefused::Expired)
            })
            .collect();
        let issuances: Vec<_> =
            judged.iter().filter_map(|one| one.as_ref().ok()).map(|(_, draft)| draft.issuance()).collect();
        let mut recorded = if issuances.is_empty() {
            Vec::new().into_iter()
        } else {
            let id = key.authority_id().to_owned();
            self.store.record_tokens(id, issuances, revision.n, now).await?.into_iter()
        };
        let (mut answers, mut later) = (Vec::with_capacity(judged.len()), 0_u64);
        for one in judged {
            let answer = match one {
                Err(refused) => Err(refused),
                Ok((entry_id, draft)) => match recorded.next().ok_or(AuthorityFault::NotRecorded)? {
                    Ok(proof) => {
                        let token = key.sign(&draft, proof)?;
                        metrics::counter!("holdfast_svids_issued_total", "kind" => "jwt").increment(1);
                        Ok(WorkloadToken { entry_id: entry_id.to_owned(), token })
                    }
                    Err(NotRecorded::EntryGone) => Err(SvidRefused::EntryUnknown),
                    Err(NotRecorded::OutlivesEvidence) => Err(SvidRefused::Expired),
                    Err(NotRecorded::TooMuchWithdrawn) => {
                        later += 1;
                        Err(SvidRefused::Later)
                    }
                    Err(NotRecorded::NodeNotStanding) => return Err(SigningEnds::NotStanding),
                    // Another key signs by now: the agent asks again.
                    Err(NotRecorded::AuthorityGone) => return Err(AuthorityFault::NoTokenKey.into()),
                },
            };
            answers.push(answer);
        }
        if later > 0 {
            let (node, limit, code) = (node.spiffe_id(), GRANTS_OF_NODE_MAX, NotRecorded::TooMuchWithdrawn.code());
            warn!(%node, later, limit, code, "JWT-SVIDs not signed: too much of this node's is withdrawn");
            metrics::counter!("holdfast_jwt_svids_put_off_total").increment(later);
        }
        metrics::histogram!("holdfast_issuance_seconds", "kind" => "jwt").record(started.elapsed().as_secs_f64());
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_an_entry;
    use super::*;
    use crate::authority::{AuthorityFiles, TokenSettings};

    #[tokio::test]
    async fn a_key_that_has_ended_is_no_refusal_of_whoever_asks() {
        let (directory, store, standing) = with_an_entry("web").await;
        let ask = async |made: i64| {
            let state = AuthorityFiles::below(&directory.path().join(made.to_string()));
            let made = clock::now().plus(made);
            let authority = TokenAuthority::open(state, TokenSettings::default(), store.as_ref(), made).await.unwrap();
            let signer = TokenSigner::new(store.clone(), Arc::new(authority));
            let request = TokenRequest { entry_id: "web".to_owned(), audience: vec!["shop".to_owned()] };
            signer.sign(&standing, vec![request]).await.map(|mut answers| answers.remove(0).map(|_| ()))
        };
        assert_eq!(ask(0).await.unwrap(), Ok(()));
        let fault = ask(-2 * 86_400).await.unwrap_err();
        assert!(matches!(fault, SigningEnds::Authority(AuthorityFault::NoTokenKey)), "{fault:?}");
    }
}
