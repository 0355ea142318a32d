//! Reading entries: by filter, for one node, and what changed for one node.

use super::super::StoreFault;
use super::super::changes::{Changes as _, Revision};
use super::super::entries::{Entry, EntryChanges, EntryFilter, EntryLives, Parent, SelectorMatch};
use super::super::nodes::{NodeNumber, NodeTarget};
use super::SqliteStore;
use super::entry_rows::{self, EntryRow, parent_text};
use super::node_rows::{self, Kept};
use super::writer::fault;
use holdfast_identity::{Selector, UnixTime};
use sqlx::sqlite::SqliteConnection;
use std::collections::{BTreeMap, BTreeSet};

/// Entries in one answer.
const PAGE: u32 = 1000;

/// Entries in order of creation.
pub(super) async fn page(connection: &mut SqliteConnection, filter: &EntryFilter) -> Result<Vec<Entry>, StoreFault> {
    let limit = if filter.limit == 0 { 100 } else { filter.limit.min(PAGE) } as usize;
    let mut found = Vec::new();
    walk(connection, filter, |entry| {
        found.push(entry);
        found.len() < limit
    })
    .await?;
    Ok(found)
}

/// How many there are.
pub(super) async fn count(connection: &mut SqliteConnection, filter: &EntryFilter) -> Result<u64, StoreFault> {
    if filter.spiffe_id.is_none() && filter.parent_id.is_none() && filter.selectors.is_none() && filter.hint.is_none() {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM entries")
            .fetch_one(connection)
            .await
            .map_err(fault("count entries"))?;
        return Ok(count.cast_unsigned());
    }
    let mut count = 0;
    walk(connection, filter, |_| {
        count += 1;
        true
    })
    .await?;
    Ok(count)
}

/// Hands over what the filter lets through, page by page, by the narrowest index, until told to stop.
async fn walk(
    connection: &mut SqliteConnection,
    filter: &EntryFilter,
    mut take: impl FnMut(Entry) -> bool,
) -> Result<(), StoreFault> {
    let mut after = filter.after.map_or(0, |number| number.0);
    loop {
        let (by_spiffe_id, by_parent, by_selector, all) = (
            "SELECT * FROM entries WHERE number > $1 AND spiffe_id = $3 ORDER BY number LIMIT $2",
            "SELECT * FROM entries WHERE number > $1 AND parent = $3 ORDER BY number LIMIT $2",
            "SELECT * FROM entries WHERE number > $1 AND number IN (SELECT entry FROM entry_selectors WHERE selector \
             IN (SELECT value FROM json_each($3))) ORDER BY number LIMIT $2",
            "SELECT * FROM entries WHERE number > $1 ORDER BY number LIMIT $2",
        );
        let query = match (&filter.spiffe_id, &filter.parent_id, &filter.selectors) {
            (Some(id), _, _) => page_of(by_spiffe_id, after).bind(id.as_str().to_owned()),
            (None, Some(id), _) => page_of(by_parent, after).bind(id.as_str().to_owned()),
            (None, None, Some((selectors, _))) => {
                page_of(by_selector, after).bind(node_rows::selectors_text(selectors))
            }
            (None, None, None) => page_of(all, after),
        };
        let rows: Vec<EntryRow> = query.fetch_all(&mut *connection).await.map_err(fault("read entries"))?;
        let last = rows.len() < PAGE as usize;
        for row in rows {
            let entry = row.entry()?;
            after = entry.number.0;
            if passes(&entry, filter) && !take(entry) {
                return Ok(());
            }
        }
        if last {
            return Ok(());
        }
    }
}

type EntryQuery = sqlx::query::QueryAs<'static, sqlx::Sqlite, EntryRow, sqlx::sqlite::SqliteArguments>;

fn page_of(text: &'static str, after: u64) -> EntryQuery {
    sqlx::query_as(text).bind(after.cast_signed()).bind(PAGE)
}

fn passes(entry: &Entry, filter: &EntryFilter) -> bool {
    let draft = &entry.draft;
    filter.spiffe_id.as_ref().is_none_or(|id| *id == draft.spiffe_id)
        && filter.parent_id.as_ref().is_none_or(|id| matches!(&draft.parent, Parent::Id(parent) if parent == id))
        && filter.hint.as_ref().is_none_or(|hint| *hint == draft.hint)
        && filter.selectors.as_ref().is_none_or(|(wanted, how)| match how {
            SelectorMatch::Superset => wanted.is_subset(&draft.selectors),
            SelectorMatch::Subset => draft.selectors.is_subset(wanted),
            SelectorMatch::Exact => draft.selectors == *wanted,
            SelectorMatch::Any => !draft.selectors.is_disjoint(wanted),
        })
}

/// The entries of which `node` is the parent now.
pub(super) async fn for_node(
    store: &SqliteStore,
    node: NodeNumber,
    now: UnixTime,
) -> Result<(Revision, Vec<Entry>), StoreFault> {
    let mut snapshot = store.snapshot().await?;
    let revision = revision(&mut snapshot).await?;
    let kept = node_rows::find(&mut snapshot, &NodeTarget::Number(node)).await?;
    let entries = match kept.filter(|kept| kept.node.stands(now)) {
        Some(kept) => full(&mut snapshot, &kept, now).await?,
        None => Vec::new(),
    };
    Ok((revision, entries))
}

/// Those of the entries `ids` of which `node` is the parent now.
pub(super) async fn of_node(
    store: &SqliteStore,
    node: NodeNumber,
    ids: BTreeSet<String>,
    now: UnixTime,
) -> Result<(Revision, Vec<Entry>), StoreFault> {
    // Before anything is read: whatever changes between the readings is a later revision, of which the writer judges anew.
    let revision = store.revision();
    let mut reader = store.reader().await?;
    let kept = node_rows::find_unmarked(&mut reader, node).await?;
    let Some(kept) = kept.filter(|kept| kept.node.stands(now)) else { return Ok((revision, Vec::new())) };
    let rows: Vec<EntryRow> =
        sqlx::query_as("SELECT * FROM entries WHERE id IN (SELECT value FROM json_each($1)) ORDER BY number")
            .bind(serde_json::json!(ids).to_string())
            .fetch_all(&mut *reader)
            .await
            .map_err(fault("read entries"))?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let entry = row.entry()?;
        if is_for(&entry, &kept, now) {
            entries.push(entry);
        }
    }
    Ok((revision, entries))
}

/// How many entries have `node` as their parent now, by the lives that they name.
pub(super) async fn lives(store: &SqliteStore, node: NodeNumber, now: UnixTime) -> Result<Vec<EntryLives>, StoreFault> {
    let mut snapshot = store.snapshot().await?;
    let kept = node_rows::find_unmarked(&mut snapshot, node).await?;
    let Some(kept) = kept.filter(|kept| kept.node.stands(now)) else { return Ok(Vec::new()) };
    let parents = parents(&mut snapshot, &kept).await?;
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT x509_svid_ttl, jwt_svid_ttl, COUNT(*) FROM entries WHERE parent IN (SELECT value FROM json_each($1)) \
         AND (expires_at IS NULL OR expires_at > $2) GROUP BY x509_svid_ttl, jwt_svid_ttl ORDER BY 1, 2",
    )
    .bind(serde_json::json!(parents).to_string())
    .bind(now.seconds())
    .fetch_all(&mut *snapshot)
    .await
    .map_err(fault("count a node's entries"))?;
    let lives = |(x509_svid_ttl, jwt_svid_ttl, entries): (i64, i64, i64)| EntryLives {
        x509_svid_ttl,
        jwt_svid_ttl,
        entries: entries.cast_unsigned(),
    };
    Ok(rows.into_iter().map(lives).collect())
}

/// What changed for `node` since `since`.
pub(super) async fn changes(
    store: &SqliteStore,
    node: NodeNumber,
    since: Option<Revision>,
    now: UnixTime,
) -> Result<EntryChanges, StoreFault> {
    let mut snapshot = store.snapshot().await?;
    let revision = revision(&mut snapshot).await?;
    let nothing = EntryChanges { revision, full: true, entries: Vec::new(), removed: Vec::new() };
    let kept = node_rows::find(&mut snapshot, &NodeTarget::Number(node)).await?;
    let Some(kept) = kept.filter(|kept| kept.node.stands(now)) else { return Ok(nothing) };
    let history: i64 = sqlx::query_scalar("SELECT changes_after FROM history WHERE only_row = 1")
        .fetch_one(&mut *snapshot)
        .await
        .map_err(fault("read the revision"))?;
    let known = since.filter(|since| {
        since.epoch == revision.epoch
            && since.n <= revision.n
            && since.n >= history.cast_unsigned()
            && since.n >= kept.changed_n
    });
    let Some(since) = known else {
        return Ok(EntryChanges { entries: full(&mut snapshot, &kept, now).await?, ..nothing });
    };
    let mut ids = BTreeSet::new();
    for parent in parents(&mut snapshot, &kept).await? {
        let changed: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT entry_id FROM entry_changes WHERE parent = $1 AND n > $2")
                .bind(parent)
                .bind(since.n.cast_signed())
                .fetch_all(&mut *snapshot)
                .await
                .map_err(fault("read changes"))?;
        ids.extend(changed);
    }
    let mut changes = EntryChanges { full: false, ..nothing };
    for id in ids {
        match entry_rows::by_id(&mut snapshot, &id).await?.filter(|entry| is_for(entry, &kept, now)) {
            Some(entry) => changes.entries.push(entry),
            None => changes.removed.push(id),
        }
    }
    changes.entries.sort_by_key(|entry| (entry.created_at, entry.number));
    Ok(changes)
}

async fn revision(connection: &mut SqliteConnection) -> Result<Revision, StoreFault> {
    let (epoch, n): (Vec<u8>, i64) = sqlx::query_as("SELECT epoch, n FROM history WHERE only_row = 1")
        .fetch_one(connection)
        .await
        .map_err(fault("read the revision"))?;
    let epoch = epoch.try_into().map_err(|_| StoreFault::Corrupt { what: "epoch" })?;
    Ok(Revision { epoch, n: n.cast_unsigned() })
}

async fn full(connection: &mut SqliteConnection, kept: &Kept, now: UnixTime) -> Result<Vec<Entry>, StoreFault> {
    let mut entries = BTreeMap::new();
    for parent in parents(connection, kept).await? {
        let rows: Vec<EntryRow> = sqlx::query_as("SELECT * FROM entries WHERE parent = $1 ORDER BY number")
            .bind(parent)
            .fetch_all(&mut *connection)
            .await
            .map_err(fault("read a node's entries"))?;
        for row in rows {
            let entry = row.entry()?;
            if is_for(&entry, kept, now) {
                entries.insert((entry.created_at, entry.number), entry);
            }
        }
    }
    Ok(entries.into_values().collect())
}

fn is_for(entry: &Entry, kept: &Kept, now: UnixTime) -> bool {
    let is = |id| entry.draft.parent.is(id, &kept.node.selectors);
    !entry.is_expired(now) && kept.node.spiffe_id.as_ref().is_some_and(is)
}

/// How the node's own name and every set of selectors that it has are spelled as parents.
async fn parents(connection: &mut SqliteConnection, kept: &Kept) -> Result<Vec<String>, StoreFault> {
    let sets: Vec<String> = sqlx::query_scalar("SELECT parent FROM selector_parents")
        .fetch_all(connection)
        .await
        .map_err(fault("read the selectors that entries name"))?;
    let mut parents: Vec<String> =
        kept.node.spiffe_id.iter().cloned().map(Parent::Id).map(|id| parent_text(&id)).collect();
    for set in sets {
        let selectors: BTreeSet<Selector> = node_rows::selectors(&set)?;
        if !selectors.is_empty() && selectors.is_subset(&kept.node.selectors) {
            parents.push(set);
        }
    }
    Ok(parents)
}
