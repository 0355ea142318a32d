//! Foreign trust domains: written with their acts in the record, and told to those who watch.

use super::super::changes::Notice;
use super::super::entries::{Entry, EntryDraft};
use super::super::federations::{
    BundleDocument, Endpoint, EndpointProfile, FEDERATION_ERROR_MAX, FEDERATIONS_MAX, Federation, FederationDraft,
    FederationRefusal, Federations, FetchFailure, Kept, Named,
};
use super::super::ledger::Actor;
use super::super::{Held, Sha256, StoreFault};
use super::writer::{Tx, Verb};
use super::{SqliteStore, entries, federation_rows as rows};
use crate::record::Leaf;
use holdfast_identity::{TrustDomain, UnixTime};
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Answer = Result<Federation, FederationRefusal>;

impl Federations for SqliteStore {
    fn create_federation(&self, draft: FederationDraft, by: Actor, at: UnixTime) -> Held<'_, Answer> {
        Box::pin(self.queue.run(Write { draft, new: true, own: self.trust_domain.clone(), by, at }))
    }

    fn update_federation(&self, draft: FederationDraft, by: Actor, at: UnixTime) -> Held<'_, Answer> {
        Box::pin(self.queue.run(Write { draft, new: false, own: self.trust_domain.clone(), by, at }))
    }

    fn delete_federation(&self, trust_domain: TrustDomain, named: Named, by: Actor, at: UnixTime) -> Held<'_, Answer> {
        Box::pin(self.queue.run(Delete { trust_domain, named, by, at }))
    }

    fn set_federated_bundles(
        &self,
        bundles: BTreeMap<TrustDomain, BundleDocument>,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Vec<Federation>, FederationRefusal>> {
        Box::pin(self.queue.run(Set { bundles, own: self.trust_domain.clone(), by, at }))
    }

    fn keep_federated_bundle(
        &self,
        trust_domain: TrustDomain,
        endpoint: Endpoint,
        bundle: BundleDocument,
        next_refresh: UnixTime,
        at: UnixTime,
    ) -> Held<'_, Kept> {
        Box::pin(self.queue.run(Keep { trust_domain, endpoint, bundle, next_refresh, at }))
    }

    fn fail_federation(
        &self,
        trust_domain: TrustDomain,
        endpoint: Endpoint,
        failure: FetchFailure,
        next_refresh: UnixTime,
        at: UnixTime,
    ) -> Held<'_, ()> {
        Box::pin(self.queue.run(Fail { trust_domain, endpoint, failure, next_refresh, at }))
    }

    fn federation(&self, trust_domain: TrustDomain) -> Held<'_, Option<Federation>> {
        Box::pin(async move { rows::find(&mut *self.reader().await?, &trust_domain).await })
    }

    fn federations(&self) -> Held<'_, Vec<Federation>> {
        Box::pin(async move { rows::all(&mut *self.reader().await?).await })
    }
}

struct Write {
    draft: FederationDraft,
    new: bool,
    own: TrustDomain,
    by: Actor,
    at: UnixTime,
}

impl Verb for Write {
    type Reply = Answer;
    const NAME: &'static str = "write_federation";

    async fn run(&self, tx: &mut Tx) -> Result<Answer, StoreFault> {
        let FederationDraft { trust_domain, endpoint, bundle } = self.draft.clone();
        if trust_domain == self.own {
            return Ok(Err(FederationRefusal::Own(trust_domain)));
        }
        let before = rows::find(&mut tx.connection, &trust_domain).await?;
        let has_endpoint = before.as_ref().is_some_and(|before| before.endpoint.is_some());
        match (self.new, has_endpoint) {
            (true, true) => return Ok(Err(FederationRefusal::Exists(trust_domain))),
            (false, false) => return Ok(Err(FederationRefusal::Unknown(trust_domain))),
            _ => {}
        }
        if before.is_none() && rows::count(&mut tx.connection).await? >= FEDERATIONS_MAX {
            return Ok(Err(FederationRefusal::Full));
        }
        let before = before.unwrap_or_else(|| unknown(trust_domain, self.at));
        let brought = bundle.is_some();
        let after = Federation {
            endpoint: Some(endpoint),
            bundle_at: if brought { Some(self.at) } else { before.bundle_at },
            bundle: bundle.or(before.bundle),
            last_success: None,
            last_failure: None,
            last_error: String::new(),
            failures: 0,
            next_refresh: self.at,
            ..before
        };
        let action = if self.new { "federation.create" } else { "federation.update" };
        put(tx, action, &after, &self.by, self.at).await?;
        Ok(Ok(after))
    }
}

struct Delete {
    trust_domain: TrustDomain,
    named: Named,
    by: Actor,
    at: UnixTime,
}

impl Verb for Delete {
    type Reply = Answer;
    const NAME: &'static str = "delete_federation";

    async fn run(&self, tx: &mut Tx) -> Result<Answer, StoreFault> {
        let trust_domain = self.trust_domain.clone();
        let Some(before) = rows::find(&mut tx.connection, &trust_domain).await? else {
            return Ok(Err(FederationRefusal::Unknown(trust_domain)));
        };
        let naming = rows::entries(&mut tx.connection, &trust_domain).await?;
        if self.named == Named::Restrict && !naming.is_empty() {
            return Ok(Err(FederationRefusal::Named { trust_domain, entries: naming.len() as u64 }));
        }
        for entry in &naming {
            self.dissociate(tx, entry).await?;
        }
        rows::delete(&mut tx.connection, &trust_domain).await?;
        act(tx, "federation.delete", &before, &self.by, self.at);
        Ok(Ok(before))
    }
}

impl Delete {
    async fn dissociate(&self, tx: &mut Tx, entry: &Entry) -> Result<(), StoreFault> {
        let mut draft: EntryDraft = entry.draft.clone();
        draft.federates_with.remove(&self.trust_domain);
        entries::replace(tx, entry, draft, &entry.owner, &self.by, self.at).await.map(drop)
    }
}

struct Set {
    bundles: BTreeMap<TrustDomain, BundleDocument>,
    own: TrustDomain,
    by: Actor,
    at: UnixTime,
}

impl Verb for Set {
    type Reply = Result<Vec<Federation>, FederationRefusal>;
    const NAME: &'static str = "set_federated_bundles";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        if self.bundles.contains_key(&self.own) {
            return Ok(Err(FederationRefusal::Own(self.own.clone())));
        }
        let mut count = rows::count(&mut tx.connection).await?;
        let mut all = Vec::new();
        for (trust_domain, bundle) in &self.bundles {
            let before = rows::find(&mut tx.connection, trust_domain).await?;
            count += u64::from(before.is_none());
            let before = before.unwrap_or_else(|| unknown(trust_domain.clone(), self.at));
            all.push(Federation { bundle: Some(bundle.clone()), bundle_at: Some(self.at), ..before });
        }
        // Everything is known before anything is written.
        if count > FEDERATIONS_MAX {
            return Ok(Err(FederationRefusal::Full));
        }
        for after in &all {
            put(tx, "federation.set_bundle", after, &self.by, self.at).await?;
        }
        Ok(Ok(all))
    }
}

struct Keep {
    trust_domain: TrustDomain,
    endpoint: Endpoint,
    bundle: BundleDocument,
    next_refresh: UnixTime,
    at: UnixTime,
}

impl Verb for Keep {
    type Reply = Kept;
    const NAME: &'static str = "keep_federated_bundle";

    async fn run(&self, tx: &mut Tx) -> Result<Kept, StoreFault> {
        let Some(before) = wanted(tx, &self.trust_domain, &self.endpoint).await? else { return Ok(Kept::Unwanted) };
        let known = before.bundle.as_ref().and_then(|bundle| bundle.sequence);
        if self.bundle.sequence.zip(known).is_some_and(|(found, known)| found < known) {
            return Ok(Kept::Older);
        }
        let kept = if before.bundle.as_ref() == Some(&self.bundle) { Kept::Same } else { Kept::Changed };
        let recovered = before.failures > 0;
        let after = Federation {
            bundle: Some(self.bundle.clone()),
            bundle_at: Some(self.at),
            last_success: Some(self.at),
            last_error: String::new(),
            failures: 0,
            next_refresh: self.next_refresh,
            ..before
        };
        if recovered {
            act(tx, "federation.recovered", &after, &Actor::Server, self.at);
        }
        match kept {
            Kept::Changed => put(tx, "federation.refresh", &after, &Actor::Server, self.at).await?,
            Kept::Same | Kept::Older | Kept::Unwanted => {
                rows::write(&mut tx.connection, &after).await?;
                notify(tx, &after);
            }
        }
        Ok(kept)
    }
}

struct Fail {
    trust_domain: TrustDomain,
    endpoint: Endpoint,
    failure: FetchFailure,
    next_refresh: UnixTime,
    at: UnixTime,
}

impl Verb for Fail {
    type Reply = ();
    const NAME: &'static str = "fail_federation";

    async fn run(&self, tx: &mut Tx) -> Result<(), StoreFault> {
        let Some(before) = wanted(tx, &self.trust_domain, &self.endpoint).await? else { return Ok(()) };
        let words: String = self.failure.words.chars().filter(|c| !c.is_control()).take(FEDERATION_ERROR_MAX).collect();
        let first = before.failures == 0;
        let after = Federation {
            last_failure: Some(self.at),
            last_error: format!("{} ({})", words, self.failure.code),
            failures: before.failures.saturating_add(1),
            next_refresh: self.next_refresh,
            ..before
        };
        rows::write(&mut tx.connection, &after).await?;
        if first {
            let detail = json!({ "code": self.failure.code, "bundle_at": after.bundle_at.map(UnixTime::seconds) });
            append(tx, "federation.unreachable", &after, detail, &Actor::Server, self.at);
        }
        notify(tx, &after);
        Ok(())
    }
}

/// The trust domain as it is, if its bundle still comes from there.
async fn wanted(
    tx: &mut Tx,
    trust_domain: &TrustDomain,
    endpoint: &Endpoint,
) -> Result<Option<Federation>, StoreFault> {
    let found = rows::find(&mut tx.connection, trust_domain).await?;
    Ok(found.filter(|found| found.endpoint.as_ref() == Some(endpoint)))
}

fn unknown(trust_domain: TrustDomain, at: UnixTime) -> Federation {
    Federation {
        trust_domain,
        endpoint: None,
        bundle: None,
        bundle_at: None,
        created_at: at,
        last_success: None,
        last_failure: None,
        last_error: String::new(),
        failures: 0,
        next_refresh: at,
    }
}

async fn put(
    tx: &mut Tx,
    action: &'static str,
    federation: &Federation,
    by: &Actor,
    at: UnixTime,
) -> Result<(), StoreFault> {
    rows::write(&mut tx.connection, federation).await?;
    act(tx, action, federation, by, at);
    Ok(())
}

fn act(tx: &mut Tx, action: &'static str, federation: &Federation, by: &Actor, at: UnixTime) {
    let bundle = federation.bundle.as_ref();
    let endpoint = federation.endpoint.as_ref();
    let profile = endpoint.map(|endpoint| &endpoint.profile);
    let id = profile.and_then(EndpointProfile::endpoint_spiffe_id).map(ToString::to_string);
    let detail = json!({
        "profile": profile.map(EndpointProfile::as_str), "url": endpoint.map(|endpoint| endpoint.url.as_str()),
        "endpoint_spiffe_id": id, "bundle_sha256": bundle.map(|bundle| Sha256::of(&bundle.bytes).to_string()),
        "sequence": bundle.and_then(|bundle| bundle.sequence),
    });
    append(tx, action, federation, detail, by, at);
    notify(tx, federation);
}

fn notify(tx: &mut Tx, federation: &Federation) {
    let n = tx.n();
    tx.notify(Notice::Federation { n, trust_domain: federation.trust_domain.clone() });
}

fn append(tx: &mut Tx, action: &'static str, federation: &Federation, detail: Value, by: &Actor, at: UnixTime) {
    tx.append(&Leaf::Act(json!({
        "at": at.seconds(), "by": by.to_string(), "action": action, "subject": federation.trust_domain.id().to_string(),
        "detail": detail,
    })));
}
