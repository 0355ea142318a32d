//! Writing entries: checked, recorded, numbered, and told to whoever it concerns.

use super::super::StoreFault;
use super::super::changes::{Notice, Revision};
use super::super::entries::{Entries, Entry, EntryChanges, EntryDraft, EntryFilter, EntryLives, EntryRefusal, Parent};
use super::super::ledger::Actor;
use super::super::nodes::NodeNumber;
use super::super::revocations::RevocationReason;
use super::super::{Held, entry_rules};
use super::writer::{Tx, Verb, fault};
use super::{SqliteStore, entry_reads, entry_rows, federation_rows, prune, revocations};
use crate::record::Leaf;
use holdfast_identity::{TrustDomain, UnixTime};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Entries for SqliteStore {
    fn create_entry(&self, draft: EntryDraft, by: Actor, at: UnixTime) -> Held<'_, Result<Entry, EntryRefusal>> {
        let (trust_domain, limit) = (self.trust_domain.clone(), self.limits.entries_max);
        Box::pin(self.queue.run(Create { draft, trust_domain, limit, by, at }))
    }

    fn update_entry(
        &self,
        id: String,
        draft: EntryDraft,
        revision: Option<u64>,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Entry, EntryRefusal>> {
        let trust_domain = self.trust_domain.clone();
        Box::pin(self.queue.run(Update { id, draft, revision, trust_domain, by, at }))
    }

    fn delete_entry(&self, id: String, by: Actor, at: UnixTime) -> Held<'_, Result<Entry, EntryRefusal>> {
        Box::pin(self.queue.run(Delete { id, by, at }))
    }

    fn entry(&self, id: String) -> Held<'_, Option<Entry>> {
        Box::pin(async move { entry_rows::by_id(&mut *self.reader().await?, &id).await })
    }

    fn entries(&self, filter: EntryFilter) -> Held<'_, Vec<Entry>> {
        Box::pin(async move { entry_reads::page(&mut *self.reporter().await?, &filter).await })
    }

    fn count_entries(&self, filter: EntryFilter) -> Held<'_, u64> {
        Box::pin(async move { entry_reads::count(&mut *self.reporter().await?, &filter).await })
    }

    fn entries_for_node(&self, node: NodeNumber, now: UnixTime) -> Held<'_, (Revision, Vec<Entry>)> {
        Box::pin(async move { entry_reads::for_node(self, node, now).await })
    }

    fn entries_of_node(
        &self,
        node: NodeNumber,
        ids: BTreeSet<String>,
        now: UnixTime,
    ) -> Held<'_, (Revision, Vec<Entry>)> {
        Box::pin(async move { entry_reads::of_node(self, node, ids, now).await })
    }

    fn entry_lives(&self, node: NodeNumber, now: UnixTime) -> Held<'_, Vec<EntryLives>> {
        Box::pin(async move { entry_reads::lives(self, node, now).await })
    }

    fn entry_changes(&self, node: NodeNumber, since: Option<Revision>, now: UnixTime) -> Held<'_, EntryChanges> {
        Box::pin(async move { entry_reads::changes(self, node, since, now).await })
    }

    fn prune(&self, now: UnixTime) -> Held<'_, u64> {
        let last = self.pruned.load(Ordering::Relaxed);
        let thorough = now.seconds() - last >= prune::THOROUGHLY_EVERY;
        if thorough {
            self.pruned.store(now.seconds(), Ordering::Relaxed);
        }
        Box::pin(self.queue.run(prune::Prune {
            now,
            thorough,
            retention: self.limits.retention,
            passed: self.passed.clone(),
        }))
    }
}

struct Create {
    draft: EntryDraft,
    trust_domain: TrustDomain,
    limit: u64,
    by: Actor,
    at: UnixTime,
}

impl Verb for Create {
    type Reply = Result<Entry, EntryRefusal>;
    const NAME: &'static str = "create_entry";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        if let Err(refusal) = entry_rules::check(&self.draft, &self.trust_domain, self.at) {
            return Ok(Err(refusal));
        }
        if let Some(refusal) = federation_rows::check(&mut tx.connection, &self.draft, &self.trust_domain).await? {
            return Ok(Err(refusal));
        }
        if *tx.entries() >= self.limit {
            return Ok(Err(EntryRefusal::Full { limit: self.limit }));
        }
        let mut draft = self.draft.clone();
        if draft.id.is_empty() {
            draft.id = draw_id()?;
        } else if entry_rows::by_id(&mut tx.connection, &draft.id).await?.is_some() {
            return Ok(Err(EntryRefusal::IdTaken));
        }
        if let Some(existing) = entry_rows::like(&mut tx.connection, &draft, None).await? {
            return Ok(Err(EntryRefusal::Similar { existing }));
        }
        Ok(Ok(add(tx, &draft, "", &self.by, self.at).await?))
    }
}

struct Update {
    id: String,
    draft: EntryDraft,
    revision: Option<u64>,
    trust_domain: TrustDomain,
    by: Actor,
    at: UnixTime,
}

impl Verb for Update {
    type Reply = Result<Entry, EntryRefusal>;
    const NAME: &'static str = "update_entry";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        if let Err(refusal) = entry_rules::check(&self.draft, &self.trust_domain, self.at) {
            return Ok(Err(refusal));
        }
        if let Some(refusal) = federation_rows::check(&mut tx.connection, &self.draft, &self.trust_domain).await? {
            return Ok(Err(refusal));
        }
        let Some(before) = entry_rows::by_id(&mut tx.connection, &self.id).await? else {
            return Ok(Err(EntryRefusal::Unknown));
        };
        if let Some(expected) = self.revision.filter(|expected| *expected != before.revision_number) {
            return Ok(Err(EntryRefusal::Changed { found: before.revision_number, expected }));
        }
        if let Some(existing) = entry_rows::like(&mut tx.connection, &self.draft, Some(before.number)).await? {
            return Ok(Err(EntryRefusal::Similar { existing }));
        }
        Ok(Ok(replace(tx, &before, self.draft.clone(), &before.owner, &self.by, self.at).await?))
    }
}

struct Delete {
    id: String,
    by: Actor,
    at: UnixTime,
}

impl Verb for Delete {
    type Reply = Result<Entry, EntryRefusal>;
    const NAME: &'static str = "delete_entry";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let Some(before) = entry_rows::by_id(&mut tx.connection, &self.id).await? else {
            return Ok(Err(EntryRefusal::Unknown));
        };
        remove(tx, &before, "entry.delete", &self.by, self.at).await?;
        Ok(Ok(before))
    }
}

/// Writes a new entry, which nothing speaks against.
pub(super) async fn add(
    tx: &mut Tx,
    draft: &EntryDraft,
    owner: &str,
    by: &Actor,
    at: UnixTime,
) -> Result<Entry, StoreFault> {
    let entry = entry_rows::insert(&mut tx.connection, draft, owner, at).await?;
    *tx.entries() += 1;
    tx.append(&leaf("entry.create", &entry, by, at));
    changed(tx, None, Some(&entry)).await?;
    Ok(entry)
}

/// Puts `draft` in place of what an entry says. Nothing speaks against it.
pub(super) async fn replace(
    tx: &mut Tx,
    before: &Entry,
    draft: EntryDraft,
    owner: &str,
    by: &Actor,
    at: UnixTime,
) -> Result<Entry, StoreFault> {
    let mut after = Entry { revision_number: before.revision_number + 1, ..before.clone() };
    after.draft = EntryDraft { id: before.draft.id.clone(), ..draft };
    entry_rows::update(&mut tx.connection, before, &after).await?;
    if owner != before.owner {
        after.owner = owner.to_owned();
        entry_rows::own(&mut tx.connection, &after).await?;
    }
    tx.append(&leaf("entry.update", &after, by, at));
    changed(tx, Some(before), Some(&after)).await?;
    if revocations::takes_back(before, &after) {
        revocations::revoke_entry(tx, before, RevocationReason::Superseded, by, at).await?;
    }
    Ok(after)
}

/// Removes an entry, by whoever's act.
pub(super) async fn remove(
    tx: &mut Tx,
    entry: &Entry,
    action: &'static str,
    by: &Actor,
    at: UnixTime,
) -> Result<(), StoreFault> {
    entry_rows::delete(&mut tx.connection, entry).await?;
    *tx.entries() = tx.entries().saturating_sub(1);
    tx.append(&leaf(action, entry, by, at));
    changed(tx, Some(entry), None).await?;
    revocations::revoke_entry(tx, entry, RevocationReason::CessationOfOperation, by, at).await
}

/// Makes the revision, the rows that those who come later will ask for, and the notice for those who listen.
async fn changed(tx: &mut Tx, before: Option<&Entry>, after: Option<&Entry>) -> Result<(), StoreFault> {
    let Some(id) = before.or(after).map(|entry| entry.draft.id.clone()) else { return Ok(()) };
    let n = tx.next_n();
    let mut parents: Vec<&Parent> = before.iter().chain(after.iter()).map(|entry| &entry.draft.parent).collect();
    parents.dedup();
    for parent in parents {
        sqlx::query("INSERT INTO entry_changes (parent, n, entry_id) VALUES ($1, $2, $3)")
            .bind(entry_rows::parent_text(parent))
            .bind(n.cast_signed())
            .bind(id.clone())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("write a change"))?;
    }
    let before = before.map(|entry| entry.draft.parent.clone());
    tx.notify(Notice::Entry { n, id, entry: after.cloned().map(Arc::new), before });
    Ok(())
}

fn leaf(action: &'static str, entry: &Entry, by: &Actor, at: UnixTime) -> Leaf {
    let draft = &entry.draft;
    let parent = match &draft.parent {
        Parent::Id(id) => json!(id.to_string()),
        Parent::Selectors(selectors) => json!(selectors.iter().map(ToString::to_string).collect::<Vec<_>>()),
    };
    Leaf::Act(json!({
        "at": at.seconds(), "by": by.to_string(), "action": action, "subject": draft.id,
        "detail": {
            "number": entry.number.0, "revision": entry.revision_number, "spiffe_id": draft.spiffe_id.to_string(),
            "parent": parent, "selectors": draft.selectors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "x509_svid_ttl": draft.x509_svid_ttl, "jwt_svid_ttl": draft.jwt_svid_ttl, "dns_names": draft.dns_names,
            "hint": draft.hint, "expires_at": draft.expires_at.map(UnixTime::seconds), "owner": entry.owner,
            "federates_with": draft.federates_with.iter().map(TrustDomain::as_str).collect::<Vec<_>>(),
        },
    }))
}

/// A random UUID (version 4).
fn draw_id() -> Result<String, StoreFault> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StoreFault::Unavailable)?;
    let value = (u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{value:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}
