//! Carries each committed change to those who must act on it: the rules, the bundle, the standing of nodes, the streams.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tracing::{error, info, warn};

use crate::authority::Authority;
use crate::clock;
use crate::desk::CurrentRules;
use crate::federation::CurrentFederations;
use crate::listen::TlsSettings;
use crate::live::{Ending, LiveNodes};
use crate::revocation::CurrentLists;
use crate::store::{NodeNumber, NodeTarget, Notice, Store, Subscription};
use crate::sync::Subscribers;

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
            match changes.notices.recv().await {
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
            }
            Notice::Federation { trust_domain, .. } => {
                if let Err(fault) = self.federations.refresh_one(self.store.as_ref(), trust_domain).await {
                    error!(%trust_domain, code = fault.code(), %fault, "foreign trust domain cannot be read");
                }
                self.subscribers.tell(notice);
            }
            // The keeper of lists hears of it by itself.
            Notice::Revoked { .. } => {}
            Notice::RevocationLists { .. } => {
                self.change_lists().await;
                self.subscribers.tell(notice);
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
        if let Err(fault) = self.tls.trust(&self.authority.bundle().get()) {
            error!(code = fault.code(), %fault, "bundle cannot be trusted by the listener");
        }
    }

    async fn change_lists(&self) {
        if let Err(fault) = self.lists.read(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "revocation lists cannot be read");
        }
    }

    async fn act_on_everything(&self) {
        self.change_bundle().await;
        if let Err(fault) = self.federations.refresh(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "foreign trust domains cannot be read");
        }
        self.change_lists().await;
        self.change_rules().await;
        self.subscribers.resync_all();
    }
}
