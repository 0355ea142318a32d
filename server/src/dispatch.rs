//! Carries each committed change to those who must act on it: the rules, the bundle, the standing of nodes, the streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::authority::Authority;
use crate::clock;
use crate::desk::CurrentRules;
use crate::federation::CurrentFederations;
use crate::listen::{Counting, TlsSettings};
use crate::live::{Ending, LiveNodes};
use crate::revocation::{CurrentLists, CurrentWithdrawn};
use crate::store::{IssuerKeyId, NodeNumber, NodeTarget, Notice, Store, Subscription};
use crate::sync::Subscribers;

/// How long after it failed what is withdrawn is read again: until then agents take what they would not.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long agents have to hear that an intermediate counts no more, before the connections below it are cut.
const CUT_AFTER: Duration = Duration::from_millis(250);

/// Everybody who hears of changes.
#[derive(Clone)]
pub struct Dispatch {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Policy and roots.
    pub rules: Arc<CurrentRules>,
    /// Issuer and bundle.
    pub authority: Arc<Authority>,
    /// Foreign trust domains.
    pub federations: CurrentFederations,
    /// Revocation lists.
    pub lists: CurrentLists,
    /// Withdrawn JWT-SVIDs.
    pub withdrawn: CurrentWithdrawn,
    /// The listener's configuration.
    pub tls: TlsSettings,
    /// Who stands.
    pub live: Arc<LiveNodes>,
    /// Streams.
    pub subscribers: Arc<Subscribers>,
}

impl Dispatch {
    /// Hears changes until the store closes. Subscribe before anything is read that a change could make stale.
    pub async fn run(self, mut changes: Subscription) {
        loop {
            let heard = tokio::select! {
                heard = changes.notices.recv() => heard,
                () = sleep(READ_AGAIN_AFTER), if self.withdrawn.is_behind() => {
                    self.change_withdrawn().await;
                    continue;
                }
            };
            match heard {
                Ok(notice) => self.act(&notice).await,
                Err(RecvError::Lagged(missed)) => {
                    warn!(missed, "changes were missed, everything is looked at again");
                    self.act_on_everything().await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn act(&self, notice: &Notice) {
        match notice {
            Notice::Inventory { removed: true, .. } => self.live.end_all(Ending::AttestAgain),
            Notice::Entry { .. } | Notice::Entries { .. } | Notice::Inventory { .. } => self.subscribers.tell(notice),
            Notice::Node { node, event, .. } => {
                if event.ends_identity() {
                    self.judge(*node).await;
                }
                self.subscribers.tell(notice);
            }
            Notice::Policy { .. } | Notice::Endorsements { .. } => self.change_rules().await,
            Notice::Bundle { .. } => {
                self.change_bundle().await;
                self.subscribers.tell(notice);
                self.cut();
            }
            Notice::Federation { trust_domain, .. } => {
                if let Err(fault) = self.federations.refresh_one(self.store.as_ref(), trust_domain).await {
                    error!(%trust_domain, code = fault.code(), %fault, "foreign trust domain cannot be read");
                }
                self.subscribers.tell(notice);
            }
            // The keeper of lists hears of it by itself.
            Notice::Revoked { .. } => {}
            Notice::TokensWithdrawn { .. } => self.change_withdrawn().await,
            Notice::RevocationLists { .. } => {
                let others_count = self.change_lists().await;
                self.subscribers.tell(notice);
                if others_count {
                    self.cut();
                }
            }
        }
    }

    /// Ends the node's standing unless the record, as it is now, says that it stands: an older refusal may arrive here
    /// after a newer admission.
    async fn judge(&self, number: NodeNumber) {
        let stands = match self.store.node(NodeTarget::Number(number)).await {
            Ok(node) => node.is_some_and(|node| node.stands(clock::now())),
            Err(fault) => {
                error!(node = number.0, code = fault.code(), %fault, "node's record cannot be read, its standing ends");
                false
            }
        };
        if !stands {
            info!(node = number.0, "node stands no more");
            self.live.end(number, Ending::Refused);
        }
    }

    async fn change_rules(&self) {
        if let Err(fault) = self.rules.refresh(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "rules cannot be read");
        }
        // Everybody shows once more what it is, under the rules of now; SVIDs that were signed live on until refused.
        self.live.end_all(Ending::AttestAgain);
    }

    async fn change_bundle(&self) {
        if let Err(fault) = self.authority.read_bundle(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "bundle cannot be read");
            return;
        }
        self.count_anew().await;
    }

    /// Who counts below the roots of now: for the listener, and for what signs.
    async fn count_anew(&self) {
        let counting = counting(&self.authority, &self.lists);
        if self.authority.heed(|intermediate| counting.revokes(intermediate)) {
            // An operator may have put another in its place.
            if let Err(fault) = self.authority.renew(self.store.as_ref(), clock::now()).await {
                error!(%fault, "no other intermediate is taken up");
            }
        }
        if let Err(fault) = self.tls.trust(&self.authority.bundle().get(), counting) {
            error!(code = fault.code(), %fault, "bundle cannot be trusted by the listener");
        }
    }

    /// Ends the connections that were opened below whoever counts no more. Their agents are told first, so that they come
    /// back with something else.
    fn cut(&self) {
        let tls = self.tls.clone();
        tokio::spawn(async move {
            sleep(CUT_AFTER).await;
            let count = tls.cut();
            if count > 0 {
                warn!(count, "connections cut: whoever signed their certificates counts no more");
                metrics::counter!("holdfast_connections_cut_total").increment(count as u64);
            }
        });
    }

    /// Says whether others count since.
    async fn change_lists(&self) -> bool {
        if let Err(fault) = self.lists.read(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "revocation lists cannot be read");
            return false;
        }
        let others_count = !self.tls.counts_by(&counting(&self.authority, &self.lists));
        if others_count {
            self.count_anew().await;
        }
        others_count
    }

    async fn change_withdrawn(&self) {
        if let Err(fault) = self.withdrawn.read(self.store.as_ref(), clock::now()).await {
            error!(code = fault.code(), %fault, "withdrawn JWT-SVIDs cannot be read, it will be tried again");
        }
    }

    async fn act_on_everything(&self) {
        self.change_withdrawn().await;
        self.change_bundle().await;
        if let Err(fault) = self.federations.refresh(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "foreign trust domains cannot be read");
        }
        self.change_lists().await;
        self.change_rules().await;
        self.subscribers.resync_all();
        self.cut();
    }
}

/// Who counts, by the bundle and by the lists of those above our intermediates.
pub(crate) fn counting(authority: &Authority, lists: &CurrentLists) -> Counting {
    let above: Vec<_> = authority.above().iter().filter_map(|der| IssuerKeyId::of_certificate(der)).collect();
    let lists = lists.get();
    Counting::new(&authority.bundle().get(), lists.iter().filter(|list| above.contains(&list.issuer)))
}
