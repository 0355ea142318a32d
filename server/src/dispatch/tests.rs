//! A dispatcher over a real store that cannot be read for a while.

use std::collections::BTreeSet;

use holdfast_identity::TrustDomain;
use sqlx::Connection as _;
use tokio::time::timeout;

use super::*;
use crate::authority::init;
use crate::authority::testing::Place;
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::store::{Actor, BundleDocument, EntryDraft, Named, Parent};
use crate::sync::{Interest, Subscriber};

/// How long something may take that happens by itself, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct House {
    place: Place,
    dispatch: Dispatch,
    changes: Subscription,
    /// What one of the streams is told.
    subscriber: Subscriber,
}

impl House {
    async fn open() -> Self {
        let place = Place::at(clock::now());
        init(&place.options).unwrap();
        let name = place.options.trust_domain.clone();
        let database = place.options.data_dir.join("test.sqlite");
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&database, name.clone(), StoreLimits::default()).await.unwrap());
        let authority = Authority::open(name, place.files(), store.as_ref(), clock::now()).await.unwrap();
        let (authority, lists) = (Arc::new(authority), CurrentLists::default());
        let counting = counting(&authority, &lists);
        let subscribers = Arc::new(Subscribers::default());
        let spiffe_id = "spiffe://example.org/node".parse().unwrap();
        let subscriber = subscribers.join(Interest { node: NodeNumber(1), spiffe_id, selectors: Arc::default() });
        let dispatch = Dispatch {
            rules: Arc::new(CurrentRules::read(store.as_ref(), true).await.unwrap()),
            federations: CurrentFederations::read(store.as_ref()).await.unwrap(),
            tls: TlsSettings::new(authority.own().clone(), &authority.bundle().get(), counting).unwrap(),
            live: Arc::new(LiveNodes::new(Duration::from_secs(25))),
            withdrawn: CurrentWithdrawn::default(),
            subscribers,
            authority,
            lists,
            store: store.clone(),
        };
        Self { place, dispatch, changes: store.changes(), subscriber }
    }

    /// Runs one statement beside the store.
    async fn beside(&self, text: &'static str) {
        let database = self.place.options.data_dir.join("test.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
        let mut beside = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(text).execute(&mut beside).await.unwrap();
    }
}

async fn told(subscriber: &mut Subscriber) -> Push {
    timeout(PATIENCE, subscriber.next()).await.expect("something is told")
}

/// An entry below the subscriber's node.
fn entry() -> EntryDraft {
    EntryDraft {
        id: "a".to_owned(),
        spiffe_id: "spiffe://example.org/a".parse().unwrap(),
        parent: Parent::Id("spiffe://example.org/node".parse().unwrap()),
        selectors: BTreeSet::from(["unix:uid:1".parse().unwrap()]),
        x509_svid_ttl: 0,
        jwt_svid_ttl: 0,
        dns_names: Vec::new(),
        hint: String::new(),
        expires_at: None,
        federates_with: BTreeSet::new(),
    }
}

#[tokio::test]
async fn a_foreign_trust_domain_that_was_deleted_is_gone_though_the_store_could_not_be_read_when_it_was() {
    let mut house = House::open().await;
    let (store, federations) = (house.dispatch.store.clone(), house.dispatch.federations.clone());
    let other: TrustDomain = "other.org".parse().unwrap();
    let bytes = holdfast_svid::bundle::Bundle::default().to_json().into_bytes();
    let document = BundleDocument { bytes, sequence: None };
    store
        .set_federated_bundles([(other.clone(), document)].into(), Actor::Server, clock::now())
        .await
        .unwrap()
        .unwrap();
    federations.refresh(store.as_ref()).await.unwrap();
    assert!(federations.get().contains_key(&other));
    let by = Actor::Server;
    store.delete_federation(other.clone(), Named::Restrict, by.clone(), clock::now()).await.unwrap().unwrap();
    house.beside("ALTER TABLE federations RENAME TO away").await;
    store.create_entry(entry(), by, clock::now()).await.unwrap().unwrap();
    tokio::spawn(house.dispatch.clone().run(std::mem::replace(&mut house.changes, store.changes())));
    // Notices are acted upon one after another: by then the deletion was heard of, and could not be read.
    assert!(matches!(told(&mut house.subscriber).await, Push::Entry { .. }));
    assert!(federations.get().contains_key(&other));
    house.beside("ALTER TABLE away RENAME TO federations").await;
    assert!(matches!(told(&mut house.subscriber).await, Push::Federation));
    assert!(federations.get().is_empty());
}

#[tokio::test]
async fn what_could_not_be_read_is_read_again_however_much_is_told_meanwhile() {
    let mut house = House::open().await;
    let (store, bundle) = (house.dispatch.store.clone(), house.dispatch.authority.bundle().clone());
    let other = Place::at(clock::now());
    init(&other.options).unwrap();
    let root = other.issuer().bundle().authorities()[0].clone();
    store.publish_authority(root.clone(), Actor::Server, clock::now()).await.unwrap();
    house.beside("ALTER TABLE x509_marks RENAME TO away").await;
    // More, and more often, than what is read again is waited for.
    let busy = tokio::spawn({
        let (sender, notices) = tokio::sync::broadcast::channel(64);
        let mut changes = std::mem::replace(&mut house.changes, store.changes());
        let heard = Subscription { revision: changes.revision.clone(), notices };
        tokio::spawn(house.dispatch.clone().run(heard));
        async move {
            while let Ok(notice) = changes.notices.try_recv() {
                sender.send(notice).unwrap();
            }
            loop {
                sender.send(Arc::new(Notice::Revoked { n: 0, issuers: BTreeSet::new() })).unwrap();
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
    sleep(READ_AGAIN_AFTER * 2).await;
    assert!(!bundle.get().authorities().contains(&root));
    house.beside("ALTER TABLE away RENAME TO x509_marks").await;
    assert!(matches!(told(&mut house.subscriber).await, Push::Bundle));
    assert!(bundle.get().authorities().contains(&root));
    busy.abort();
}
