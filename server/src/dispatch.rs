//! Carries each committed change to those who must act on it: the rules, the bundle, the standing of nodes, the streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::authority::Authority;
use crate::clock;
use crate::desk::CurrentRules;
use crate::federation::CurrentFederations;
use crate::listen::{Counting, TlsSettings};
use crate::live::{Ending, LiveNodes};
use crate::revocation::{CurrentLists, CurrentWithdrawn};
use crate::store::{NodeNumber, NodeTarget, Notice, Signer, Store, Subscription};
use crate::sync::Subscribers;

/// How often what could not be read is read again: until then agents take what they would not.
const READ_AGAIN_EVERY: Duration = Duration::from_secs(1);
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

/// What changed and could not be read. The store says each change once: what is not read again goes on as it was, and so
/// does whoever was revoked by it.
#[derive(Debug, Default)]
struct Owed {
    rules: bool,
    bundle: bool,
    lists: bool,
    federations: bool,
}

impl Owed {
    const fn is_any(&self) -> bool {
        self.rules || self.bundle || self.lists || self.federations
    }
}

impl Dispatch {
    /// Hears changes until the store closes. Subscribe before anything is read that a change could make stale.
    pub async fn run(self, mut changes: Subscription) {
        let mut owed = Owed::default();
        // Not from one notice on: many of them would put it off without end.
        let mut again = interval(READ_AGAIN_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                heard = changes.notices.recv() => heard,
                _ = again.tick(), if self.withdrawn.is_behind() || owed.is_any() => {
                    self.read_again(&mut owed).await;
                    continue;
                }
            };
            match heard {
                Ok(notice) => self.act(&notice, &mut owed).await,
                Err(RecvError::Lagged(missed)) => {
                    warn!(missed, "changes were missed, everything is looked at again");
                    self.act_on_everything(&mut owed).await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn act(&self, notice: &Notice, owed: &mut Owed) {
        match notice {
            Notice::Inventory { removed: true, .. } => self.live.end_all(Ending::AttestAgain),
            Notice::Entry { .. } | Notice::Entries { .. } | Notice::Inventory { .. } => self.subscribers.tell(notice),
            Notice::Node { node, event, .. } => {
                if event.ends_identity() {
                    self.judge(*node).await;
                }
                self.subscribers.tell(notice);
            }
            Notice::Policy { .. } | Notice::Endorsements { .. } => self.change_rules(owed).await,
            Notice::Bundle { .. } => {
                self.change_bundle(owed).await;
                self.subscribers.tell(notice);
                self.cut();
            }
            Notice::Federation { trust_domain, .. } => {
                if let Err(fault) = self.federations.refresh_one(self.store.as_ref(), trust_domain).await {
                    error!(%trust_domain, code = fault.code(), %fault, "foreign trust domain cannot be read");
                    owed.federations = true;
                }
                self.subscribers.tell(notice);
            }
            // The keeper of lists hears of it by itself.
            Notice::Revoked { .. } => {}
            Notice::TokensWithdrawn { .. } => self.change_withdrawn().await,
            Notice::RevocationLists { .. } => {
                let others_count = self.change_lists(owed).await;
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

    async fn change_rules(&self, owed: &mut Owed) {
        if let Err(fault) = self.rules.refresh(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "rules cannot be read, it will be tried again");
            owed.rules = true;
        }
        // Everybody shows once more what it is, under the rules of now; SVIDs that were signed live on until refused.
        self.live.end_all(Ending::AttestAgain);
    }

    async fn change_bundle(&self, owed: &mut Owed) {
        if let Err(fault) = self.authority.read_bundle(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "bundle cannot be read, it will be tried again");
            owed.bundle = true;
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
    async fn change_lists(&self, owed: &mut Owed) -> bool {
        if let Err(fault) = self.lists.read(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "revocation lists cannot be read, it will be tried again");
            owed.lists = true;
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

    async fn change_federations(&self, owed: &mut Owed) {
        if let Err(fault) = self.federations.refresh(self.store.as_ref()).await {
            error!(code = fault.code(), %fault, "foreign trust domains cannot be read, it will be tried again");
            owed.federations = true;
        }
    }

    async fn act_on_everything(&self, owed: &mut Owed) {
        self.change_withdrawn().await;
        self.change_bundle(owed).await;
        self.change_federations(owed).await;
        self.change_lists(owed).await;
        self.change_rules(owed).await;
        self.subscribers.resync_all();
        self.cut();
    }

    /// Reads what could not be read before, and does all that follows from it.
    async fn read_again(&self, owed: &mut Owed) {
        let before = std::mem::take(owed);
        if self.withdrawn.is_behind() {
            self.change_withdrawn().await;
        }
        if before.bundle {
            self.change_bundle(owed).await;
        }
        if before.lists {
            self.change_lists(owed).await;
        }
        if before.federations {
            self.change_federations(owed).await;
        }
        if before.rules {
            self.change_rules(owed).await;
        }
        let is_there =
            [before.bundle && !owed.bundle, before.lists && !owed.lists, before.federations && !owed.federations];
        if is_there.contains(&true) {
            self.subscribers.resync_all();
            self.cut();
        }
    }
}

/// Who counts, by the bundle and by the lists of those above our intermediates: of those above former ones too, whose
/// certificates live on when nobody here signs with them any more.
pub(crate) fn counting(authority: &Authority, lists: &CurrentLists) -> Counting {
    let lists = lists.get();
    Counting::new(&authority.bundle().get(), lists.iter().filter(|list| list.signer == Signer::Above))
}

#[cfg(test)]
mod tests {
    use holdfast_identity::TrustDomain;
    use sqlx::Connection as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

    use super::*;
    use crate::authority::init;
    use crate::authority::testing::Place;
    use crate::store::sqlite::{SqliteStore, StoreLimits};
    use crate::store::{Actor, IssuerKeyId, ListValidity, RevocationList};

    /// A row of each that cannot be read: whoever reads it has a fault of the store.
    const BROKEN: &str = "INSERT INTO x509_marks VALUES (zeroblob(40), 0, 0, 0, 0); \
        INSERT INTO revocation_lists VALUES (x'01', 1, 1, 0, 1, x'00', 0, 0);";
    const MENDED: &str = "DELETE FROM x509_marks; DELETE FROM revocation_lists WHERE issuer = x'01';";

    async fn dispatch(place: &Place) -> (Dispatch, SqliteConnection) {
        init(&place.options).unwrap();
        let trust_domain: TrustDomain = "example.org".parse().unwrap();
        let database = place.options.data_dir.join("test.sqlite");
        let store = SqliteStore::open(&database, trust_domain.clone(), StoreLimits::default()).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let authority = Authority::open(trust_domain, place.files(), store.as_ref(), clock::now()).await.unwrap();
        let (authority, lists) = (Arc::new(authority), CurrentLists::default());
        let counting = counting(&authority, &lists);
        let tls = TlsSettings::new(authority.own().clone(), &authority.bundle().get(), counting).unwrap();
        let dispatch = Dispatch {
            rules: Arc::new(CurrentRules::read(store.as_ref(), true).await.unwrap()),
            store,
            authority,
            federations: CurrentFederations::default(),
            lists,
            withdrawn: CurrentWithdrawn::default(),
            tls,
            live: Arc::new(LiveNodes::new(Duration::from_secs(25))),
            subscribers: Arc::default(),
        };
        let options = SqliteConnectOptions::new().filename(database);
        (dispatch, SqliteConnection::connect_with(&options).await.unwrap())
    }

    /// Another root, and a list of it.
    async fn change(store: &dyn Store) {
        let other = Place::at(clock::now());
        init(&other.options).unwrap();
        let root = other.issuer().bundle().authorities()[0].clone();
        let (issuer, now) = (IssuerKeyId::of_certificate(&root).unwrap(), clock::now());
        store.publish_authority(root, Actor::Server, now).await.unwrap();
        let validity = ListValidity { this_update: now, next_update: now.plus(60), issuer_ends: now.plus(60) };
        let list = RevocationList { issuer, signer: Signer::Above, number: 1, validity, der: vec![1].into() };
        assert!(store.import_revocation_list(list, now).await.unwrap());
    }

    fn seen(dispatch: &Dispatch) -> (usize, usize) {
        (dispatch.authority.bundle().get().authorities().len(), dispatch.lists.get().len())
    }

    #[tokio::test]
    async fn what_could_not_be_read_when_it_changed_is_owed_until_it_can() {
        let place = Place::at(clock::now());
        let (dispatch, mut beside) = dispatch(&place).await;
        let (mut changes, mut owed) = (dispatch.store.changes(), Owed::default());
        sqlx::raw_sql(BROKEN).execute(&mut beside).await.unwrap();
        change(dispatch.store.as_ref()).await;
        for _ in 0..2 {
            let notice = changes.notices.recv().await.unwrap();
            dispatch.act(&notice, &mut owed).await;
        }
        assert!(owed.bundle && owed.lists && !owed.rules && !owed.federations);
        dispatch.read_again(&mut owed).await;
        assert!(owed.bundle && owed.lists, "it still cannot");
        assert_eq!(seen(&dispatch), (1, 0));
        sqlx::raw_sql(MENDED).execute(&mut beside).await.unwrap();
        dispatch.read_again(&mut owed).await;
        assert!(!owed.is_any());
        assert_eq!(seen(&dispatch), (2, 1));
    }

    #[tokio::test]
    async fn nothing_else_need_change_for_it_to_be_read_again() {
        let place = Place::at(clock::now());
        let (dispatch, mut beside) = dispatch(&place).await;
        sqlx::raw_sql(BROKEN).execute(&mut beside).await.unwrap();
        let running = tokio::spawn(dispatch.clone().run(dispatch.store.changes()));
        change(dispatch.store.as_ref()).await;
        sleep(READ_AGAIN_EVERY / 4).await;
        sqlx::raw_sql(MENDED).execute(&mut beside).await.unwrap();
        while seen(&dispatch) != (2, 1) {
            sleep(Duration::from_millis(10)).await;
        }
        running.abort();
    }
}
