//! Entries as rows.

use super::super::StoreFault;
use super::super::entries::{Entry, EntryDraft, EntryNumber, Parent};
use super::federation_rows;
use super::node_rows::{selectors, selectors_text};
use super::writer::fault;
use holdfast_identity::UnixTime;
use ring::digest::{Context, SHA256};
use sqlx::sqlite::SqliteConnection;
use std::collections::HashMap;

/// Entries that one statement asks for.
const AT_ONCE: usize = 500;

#[derive(sqlx::FromRow)]
pub(super) struct EntryRow {
    number: i64,
    id: String,
    spiffe_id: String,
    parent: String,
    selectors: String,
    x509_svid_ttl: i64,
    jwt_svid_ttl: i64,
    dns_names: String,
    hint: String,
    expires_at: Option<i64>,
    revision_number: i64,
    created_at: i64,
    federates_with: String,
    owner: String,
}

impl EntryRow {
    pub(super) fn entry(self) -> Result<Entry, StoreFault> {
        let corrupt = |what| StoreFault::Corrupt { what };
        Ok(Entry {
            number: EntryNumber(self.number.cast_unsigned()),
            revision_number: self.revision_number.cast_unsigned(),
            created_at: UnixTime(self.created_at),
            owner: self.owner,
            draft: EntryDraft {
                id: self.id,
                spiffe_id: self.spiffe_id.parse().map_err(|_| corrupt("entry's SPIFFE ID"))?,
                parent: parent(&self.parent)?,
                selectors: selectors(&self.selectors)?,
                x509_svid_ttl: self.x509_svid_ttl,
                jwt_svid_ttl: self.jwt_svid_ttl,
                dns_names: serde_json::from_str(&self.dns_names).map_err(|_| corrupt("entry's DNS names"))?,
                hint: self.hint,
                expires_at: self.expires_at.map(UnixTime),
                federates_with: federation_rows::named(&self.federates_with)?,
            },
        })
    }
}

/// The one spelling of a parent: a SPIFFE ID, or a sorted JSON array of selectors.
pub(super) fn parent_text(parent: &Parent) -> String {
    match parent {
        Parent::Id(id) => id.to_string(),
        Parent::Selectors(set) => selectors_text(set),
    }
}

fn parent(text: &str) -> Result<Parent, StoreFault> {
    if text.starts_with('[') {
        return Ok(Parent::Selectors(selectors(text)?));
    }
    text.parse().map(Parent::Id).map_err(|_| StoreFault::Corrupt { what: "entry's parent" })
}

/// What two entries must not share.
pub(super) fn likeness(draft: &EntryDraft) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for text in [parent_text(&draft.parent), draft.spiffe_id.to_string(), selectors_text(&draft.selectors)] {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

/// By its ID.
pub(super) async fn by_id(connection: &mut SqliteConnection, id: &str) -> Result<Option<Entry>, StoreFault> {
    let row: Option<EntryRow> = sqlx::query_as("SELECT * FROM entries WHERE id = $1")
        .bind(id.to_owned())
        .fetch_optional(connection)
        .await
        .map_err(fault("read an entry"))?;
    row.map(EntryRow::entry).transpose()
}

/// Those of these IDs that there are.
pub(super) async fn by_ids(
    connection: &mut SqliteConnection,
    ids: &[&str],
) -> Result<HashMap<String, Entry>, StoreFault> {
    let mut found = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let rows: Vec<EntryRow> = sqlx::query_as("SELECT * FROM entries WHERE id IN (SELECT value FROM json_each($1))")
            .bind(serde_json::Value::from(ids).to_string())
            .fetch_all(&mut *connection)
            .await
            .map_err(fault("read entries"))?;
        for row in rows {
            let entry = row.entry()?;
            found.insert(entry.draft.id.clone(), entry);
        }
    }
    Ok(found)
}

/// Which entries have these likenesses: their IDs.
pub(super) async fn likes(
    connection: &mut SqliteConnection,
    likenesses: &[Vec<u8>],
) -> Result<HashMap<Vec<u8>, String>, StoreFault> {
    let mut found = HashMap::new();
    for part in likenesses.chunks(AT_ONCE) {
        let digits: Vec<String> = part.iter().map(hex::encode).collect();
        let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT likeness, id FROM entries WHERE likeness IN (SELECT unhex(value) FROM json_each($1))",
        )
        .bind(serde_json::Value::from(digits).to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(fault("read entries"))?;
        found.extend(rows);
    }
    Ok(found)
}

/// By its number.
pub(super) async fn by_number(
    connection: &mut SqliteConnection,
    number: EntryNumber,
) -> Result<Option<Entry>, StoreFault> {
    let row: Option<EntryRow> = sqlx::query_as("SELECT * FROM entries WHERE number = $1")
        .bind(number.0.cast_signed())
        .fetch_optional(connection)
        .await
        .map_err(fault("read an entry"))?;
    row.map(EntryRow::entry).transpose()
}

/// Another entry that grants the same to the same.
pub(super) async fn like(
    connection: &mut SqliteConnection,
    draft: &EntryDraft,
    but: Option<EntryNumber>,
) -> Result<Option<String>, StoreFault> {
    sqlx::query_scalar("SELECT id FROM entries WHERE likeness = $1 AND number <> $2")
        .bind(likeness(draft))
        .bind(but.map_or(0, |number| number.0.cast_signed()))
        .fetch_optional(connection)
        .await
        .map_err(fault("read entries"))
}

/// Writes a new entry; its number.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    draft: &EntryDraft,
    owner: &str,
    at: UnixTime,
) -> Result<Entry, StoreFault> {
    let number: i64 = sqlx::query_scalar(
        "INSERT INTO entries (id, spiffe_id, parent, selectors, x509_svid_ttl, dns_names, hint, expires_at, \
         revision_number, created_at, likeness, jwt_svid_ttl, owner) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12) RETURNING number",
    )
    .bind(draft.id.clone())
    .bind(draft.spiffe_id.as_str().to_owned())
    .bind(parent_text(&draft.parent))
    .bind(selectors_text(&draft.selectors))
    .bind(draft.x509_svid_ttl)
    .bind(dns_names_text(draft))
    .bind(draft.hint.clone())
    .bind(draft.expires_at.map(UnixTime::seconds))
    .bind(at.seconds())
    .bind(likeness(draft))
    .bind(draft.jwt_svid_ttl)
    .bind(owner.to_owned())
    .fetch_one(&mut *connection)
    .await
    .map_err(fault("write an entry"))?;
    let number = EntryNumber(number.cast_unsigned());
    let entry = Entry { number, draft: draft.clone(), revision_number: 0, created_at: at, owner: owner.to_owned() };
    add_side_rows(connection, &entry).await?;
    Ok(entry)
}

/// Writes an entry's new content.
pub(super) async fn update(connection: &mut SqliteConnection, before: &Entry, after: &Entry) -> Result<(), StoreFault> {
    remove_side_rows(connection, before).await?;
    let draft = &after.draft;
    sqlx::query(
        "UPDATE entries SET spiffe_id = $2, parent = $3, selectors = $4, x509_svid_ttl = $5, dns_names = $6, \
         hint = $7, expires_at = $8, revision_number = $9, likeness = $10, jwt_svid_ttl = $11 WHERE number = $1",
    )
    .bind(after.number.0.cast_signed())
    .bind(draft.spiffe_id.as_str().to_owned())
    .bind(parent_text(&draft.parent))
    .bind(selectors_text(&draft.selectors))
    .bind(draft.x509_svid_ttl)
    .bind(dns_names_text(draft))
    .bind(draft.hint.clone())
    .bind(draft.expires_at.map(UnixTime::seconds))
    .bind(after.revision_number.cast_signed())
    .bind(likeness(draft))
    .bind(draft.jwt_svid_ttl)
    .execute(&mut *connection)
    .await
    .map_err(fault("update an entry"))?;
    add_side_rows(connection, after).await
}

/// Writes whose an entry is.
pub(super) async fn own(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreFault> {
    sqlx::query("UPDATE entries SET owner = $2 WHERE number = $1")
        .bind(entry.number.0.cast_signed())
        .bind(entry.owner.clone())
        .execute(connection)
        .await
        .map_err(fault("write an entry's owner"))?;
    Ok(())
}

/// The entries of an owner, in order of creation.
pub(super) async fn of_owner(connection: &mut SqliteConnection, owner: &str) -> Result<Vec<Entry>, StoreFault> {
    let rows: Vec<EntryRow> = sqlx::query_as("SELECT * FROM entries WHERE owner = $1 AND owner <> '' ORDER BY number")
        .bind(owner.to_owned())
        .fetch_all(connection)
        .await
        .map_err(fault("read an owner's entries"))?;
    rows.into_iter().map(EntryRow::entry).collect()
}

/// Takes away what makes an entry unlike others, until it is written anew: so that two may change places.
pub(super) async fn forget_likeness(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreFault> {
    // Shorter than any digest, so it is no other entry's.
    sqlx::query("UPDATE entries SET likeness = $2 WHERE number = $1")
        .bind(entry.number.0.cast_signed())
        .bind(entry.number.0.to_be_bytes().to_vec())
        .execute(connection)
        .await
        .map_err(fault("update an entry"))?;
    Ok(())
}

/// Removes an entry.
pub(super) async fn delete(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreFault> {
    remove_side_rows(connection, entry).await?;
    sqlx::query("DELETE FROM entries WHERE number = $1")
        .bind(entry.number.0.cast_signed())
        .execute(connection)
        .await
        .map_err(fault("delete an entry"))?;
    Ok(())
}

fn dns_names_text(draft: &EntryDraft) -> String {
    serde_json::Value::from(draft.dns_names.clone()).to_string()
}

async fn add_side_rows(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreFault> {
    for selector in &entry.draft.selectors {
        sqlx::query("INSERT INTO entry_selectors (selector, entry) VALUES ($1, $2)")
            .bind(selector.to_string())
            .bind(entry.number.0.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(fault("write an entry's selector"))?;
    }
    federation_rows::name(connection, entry).await?;
    if matches!(entry.draft.parent, Parent::Selectors(_)) {
        sqlx::query(
            "INSERT INTO selector_parents (parent, entries) VALUES ($1, 1) \
             ON CONFLICT (parent) DO UPDATE SET entries = selector_parents.entries + 1",
        )
        .bind(parent_text(&entry.draft.parent))
        .execute(connection)
        .await
        .map_err(fault("write an entry's parent"))?;
    }
    Ok(())
}

async fn remove_side_rows(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreFault> {
    for selector in &entry.draft.selectors {
        sqlx::query("DELETE FROM entry_selectors WHERE selector = $1 AND entry = $2")
            .bind(selector.to_string())
            .bind(entry.number.0.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(fault("delete an entry's selector"))?;
    }
    federation_rows::unname(connection, entry).await?;
    if matches!(entry.draft.parent, Parent::Selectors(_)) {
        for text in [
            "UPDATE selector_parents SET entries = entries - 1 WHERE parent = $1",
            "DELETE FROM selector_parents WHERE parent = $1 AND entries <= 0",
        ] {
            let query = sqlx::query(text).bind(parent_text(&entry.draft.parent));
            query.execute(&mut *connection).await.map_err(fault("delete an entry's parent"))?;
        }
    }
    Ok(())
}
