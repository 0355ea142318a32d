//! Carries each committed change to those who must act on it: the rules, the bundle, the standing of nodes, the streams.
//! What the store did not give when it changed is asked for again until it does: nothing else would tell of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::authority::Authority;
use crate::clock;
use crate::desk::CurrentRules;
use crate::federation::CurrentFederations;
use crate::listen::{Counting, TlsSettings};
use crate::live::{Ending, LiveNodes};
use crate::revocation::{CurrentLists, CurrentWithdrawn};
use crate::store::{NodeNumber, NodeTarget, Notice, Signer, Store, StoreFault, Subscription};
use crate::sync::{Push, Subscribers};

/// How long after it failed something is read again: until then agents take what they would not.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long agents have to hear that an intermediate counts no more, and which lists say so, and to have signed anew what stood
/// below it, before the connections are cut that do.
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

/// What is known of the store's content, and read again when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Withdrawn,
    Bundle,
    Federations,
    Lists,
    Rules,
}

impl Part {
    /// Every part. What is withdrawn comes before what asks whether it is.
    const ALL: [Self; 5] = [Self::Withdrawn, Self::Bundle, Self::Federations, Self::Lists, Self::Rules];
}

impl Dispatch {
    /// Hears changes until the store closes. Subscribe before anything is read that a change could make stale.
    pub async fn run(self, mut changes: Subscription) {
        let (mut missed, mut again) = (BTreeSet::new(), None);
        loop {
            let heard = tokio::select! {
                heard = changes.notices.recv() => heard,
                // At a time of its own: other changes, however many there are, do not put it off.
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                    for part in std::mem::take(&mut missed) {
                        missed.extend(self.read(part).await);
                    }
                    again = again_after(&missed, None);
                    continue;
                }
            };
            match heard {
                Ok(notice) => missed.extend(self.act(&notice).await),
                Err(RecvError::Lagged(count)) => {
                    warn!(missed = count, "changes were missed, everything is looked at again");
                    missed = self.act_on_everything().await;
                }
                Err(RecvError::Closed) => return,
            }
            again = again_after(&missed, again);
        }
    }

    /// Does what a change asks for; what of it could not be read.
    async fn act(&self, notice: &Notice) -> Option<Part> {
        match notice {
            Notice::Inventory { removed: true, .. } => self.live.end_all(Ending::AttestAgain),
            Notice::Entry { .. } | Notice::Entries { .. } | Notice::Inventory { .. } => self.subscribers.tell(notice),
            Notice::Node { node, event, .. } => {
                if event.ends_identity() {
                    self.judge(*node).await;
                }
                self.subscribers.tell(notice);
            }
            Notice::Policy { .. } | Notice::Endorsements { .. } => return self.read(Part::Rules).await,
            Notice::Bundle { .. } => return self.read(Part::Bundle).await,
            Notice::Federation { trust_domain, .. } => {
                if let Err(fault) = self.federations.refresh_one(self.store.as_ref(), trust_domain).await {
                    error!(%trust_domain, code = fault.code(), %fault, "foreign trust domain cannot be read, it will be tried again");
                    return Some(Part::Federations);
                }
                self.subscribers.tell(notice);
            }
            // The keeper of lists hears of it by itself.
            Notice::Revoked { .. } => {}
            Notice::TokensWithdrawn { .. } => return self.read(Part::Withdrawn).await,
            Notice::RevocationLists { .. } => return self.read(Part::Lists).await,
        }
        None
    }

    /// Reads a part as the store has it now, and tells whoever is to know. The part again, if it could not be read.
    async fn read(&self, part: Part) -> Option<Part> {
        let read = match part {
            Part::Withdrawn => self.withdrawn.read(self.store.as_ref(), clock::now()).await,
            Part::Bundle => self.change_bundle().await,
            Part::Federations => self.change_federations().await,
            Part::Lists => self.change_lists().await,
            Part::Rules => self.change_rules().await,
        };
        let fault = read.err()?;
        error!(?part, code = fault.code(), %fault, "what changed cannot be read, it will be tried again");
        Some(part)
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

    async fn change_rules(&self) -> Result<(), StoreFault> {
        self.rules.refresh(self.store.as_ref()).await?;
        // Everybody shows once more what it is, under the rules of now; SVIDs that were signed live on until refused.
        self.live.end_all(Ending::AttestAgain);
        Ok(())
    }

    async fn change_bundle(&self) -> Result<(), StoreFault> {
        self.authority.read_bundle(self.store.as_ref()).await?;
        self.count_anew().await;
        self.subscribers.tell_all(&Push::Bundle);
        self.cut();
        Ok(())
    }

    async fn change_federations(&self) -> Result<(), StoreFault> {
        self.federations.refresh(self.store.as_ref()).await?;
        self.subscribers.tell_all(&Push::Federation);
        Ok(())
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

    async fn change_lists(&self) -> Result<(), StoreFault> {
        self.lists.read(self.store.as_ref()).await?;
        let others_count = !self.tls.counts_by(&counting(&self.authority, &self.lists));
        if others_count {
            self.count_anew().await;
        }
        self.subscribers.tell_all(&Push::Lists);
        if others_count {
            self.cut();
        }
        Ok(())
    }

    /// What of it could not be read.
    async fn act_on_everything(&self) -> BTreeSet<Part> {
        let mut missed = BTreeSet::new();
        for part in Part::ALL {
            missed.extend(self.read(part).await);
        }
        self.subscribers.resync_all();
        missed
    }
}

/// When what was missed is read again: a while after the first of it was.
fn again_after(missed: &BTreeSet<Part>, again: Option<Instant>) -> Option<Instant> {
    if missed.is_empty() { None } else { again.or_else(|| Some(Instant::now() + READ_AGAIN_AFTER)) }
}

/// Who counts, by the bundle and by the lists of those above our intermediates: of those above former ones too, whose
/// certificates live on when nobody here signs with them any more.
pub(crate) fn counting(authority: &Authority, lists: &CurrentLists) -> Counting {
    let lists = lists.get();
    Counting::new(&authority.bundle().get(), lists.iter().filter(|list| list.signer == Signer::Above))
}

#[cfg(test)]
mod tests;
