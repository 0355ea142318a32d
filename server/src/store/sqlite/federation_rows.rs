//! Foreign trust domains as rows, and the entries that name them.

use super::super::StoreFault;
use super::super::entries::{Entry, EntryDraft, EntryRefusal};
use super::super::federations::{BundleDocument, ENTRY_FEDERATIONS_MAX, Endpoint, EndpointProfile, Federation};
use super::entry_rows::EntryRow;
use super::writer::fault;
use holdfast_identity::{TrustDomain, UnixTime};
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;

#[derive(sqlx::FromRow)]
pub(super) struct FederationRow {
    trust_domain: String,
    profile: String,
    url: String,
    endpoint_spiffe_id: String,
    document: Option<Vec<u8>>,
    sequence: Option<i64>,
    bundle_at: Option<i64>,
    created_at: i64,
    last_success: Option<i64>,
    last_failure: Option<i64>,
    last_error: String,
    failures: i64,
    next_refresh: i64,
}

impl FederationRow {
    fn federation(self) -> Result<Federation, StoreFault> {
        let corrupt = |what| StoreFault::Corrupt { what };
        let profile = match self.profile.as_str() {
            "" => None,
            "https_web" => Some(EndpointProfile::HttpsWeb),
            "https_spiffe" => Some(EndpointProfile::HttpsSpiffe(
                self.endpoint_spiffe_id.parse().map_err(|_| corrupt("endpoint's SPIFFE ID"))?,
            )),
            _ => return Err(corrupt("endpoint's profile")),
        };
        let sequence = self.sequence.map(i64::cast_unsigned);
        Ok(Federation {
            trust_domain: self.trust_domain.parse().map_err(|_| corrupt("foreign trust domain"))?,
            endpoint: profile.map(|profile| Endpoint { url: self.url, profile }),
            bundle: self.document.map(|bytes| BundleDocument { bytes, sequence }),
            bundle_at: self.bundle_at.map(UnixTime),
            created_at: UnixTime(self.created_at),
            last_success: self.last_success.map(UnixTime),
            last_failure: self.last_failure.map(UnixTime),
            last_error: self.last_error,
            failures: self.failures.cast_unsigned(),
            next_refresh: UnixTime(self.next_refresh),
        })
    }
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    trust_domain: &TrustDomain,
) -> Result<Option<Federation>, StoreFault> {
    let row: Option<FederationRow> = sqlx::query_as("SELECT * FROM federations WHERE trust_domain = $1")
        .bind(trust_domain.as_str().to_owned())
        .fetch_optional(connection)
        .await
        .map_err(fault("read a federation"))?;
    row.map(FederationRow::federation).transpose()
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Federation>, StoreFault> {
    let rows: Vec<FederationRow> = sqlx::query_as("SELECT * FROM federations ORDER BY trust_domain")
        .fetch_all(connection)
        .await
        .map_err(fault("read federations"))?;
    rows.into_iter().map(FederationRow::federation).collect()
}

pub(super) async fn count(connection: &mut SqliteConnection) -> Result<u64, StoreFault> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM federations")
        .fetch_one(connection)
        .await
        .map_err(fault("count federations"))?;
    Ok(count.cast_unsigned())
}

pub(super) async fn write(connection: &mut SqliteConnection, federation: &Federation) -> Result<(), StoreFault> {
    let endpoint = federation.endpoint.as_ref();
    let profile = endpoint.map(|endpoint| &endpoint.profile);
    let id = profile.and_then(EndpointProfile::endpoint_spiffe_id);
    let bundle = federation.bundle.as_ref();
    sqlx::query(
        "INSERT INTO federations (trust_domain, profile, url, endpoint_spiffe_id, document, sequence, bundle_at, \
         created_at, last_success, last_failure, last_error, failures, next_refresh) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (trust_domain) DO UPDATE SET \
         profile = excluded.profile, url = excluded.url, endpoint_spiffe_id = excluded.endpoint_spiffe_id, \
         document = excluded.document, sequence = excluded.sequence, bundle_at = excluded.bundle_at, \
         last_success = excluded.last_success, last_failure = excluded.last_failure, \
         last_error = excluded.last_error, failures = excluded.failures, next_refresh = excluded.next_refresh",
    )
    .bind(federation.trust_domain.as_str().to_owned())
    .bind(profile.map_or("", EndpointProfile::as_str))
    .bind(endpoint.map_or_else(String::new, |endpoint| endpoint.url.clone()))
    .bind(id.map_or_else(String::new, ToString::to_string))
    .bind(bundle.map(|bundle| bundle.bytes.clone()))
    .bind(bundle.and_then(|bundle| bundle.sequence).map(u64::cast_signed))
    .bind(federation.bundle_at.map(UnixTime::seconds))
    .bind(federation.created_at.seconds())
    .bind(federation.last_success.map(UnixTime::seconds))
    .bind(federation.last_failure.map(UnixTime::seconds))
    .bind(federation.last_error.clone())
    .bind(federation.failures.cast_signed())
    .bind(federation.next_refresh.seconds())
    .execute(connection)
    .await
    .map_err(fault("write a federation"))?;
    Ok(())
}

pub(super) async fn delete(connection: &mut SqliteConnection, trust_domain: &TrustDomain) -> Result<(), StoreFault> {
    sqlx::query("DELETE FROM federations WHERE trust_domain = $1")
        .bind(trust_domain.as_str().to_owned())
        .execute(connection)
        .await
        .map_err(fault("delete a federation"))?;
    Ok(())
}

/// The entries that name it.
pub(super) async fn entries(
    connection: &mut SqliteConnection,
    trust_domain: &TrustDomain,
) -> Result<Vec<Entry>, StoreFault> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "SELECT * FROM entries WHERE number IN (SELECT entry FROM entry_federations WHERE trust_domain = $1) \
         ORDER BY number",
    )
    .bind(trust_domain.as_str().to_owned())
    .fetch_all(connection)
    .await
    .map_err(fault("read the entries of a federation"))?;
    rows.into_iter().map(EntryRow::entry).collect()
}

/// Why an entry may not name the trust domains that it does; nothing where it may.
pub(super) async fn check(
    connection: &mut SqliteConnection,
    draft: &EntryDraft,
    own: &TrustDomain,
) -> Result<Option<EntryRefusal>, StoreFault> {
    let refused = |reason| Ok(Some(EntryRefusal::Invalid { field: "federates_with", reason }));
    if draft.federates_with.len() > ENTRY_FEDERATIONS_MAX {
        return refused(format!("{} trust domains, limit {ENTRY_FEDERATIONS_MAX}", draft.federates_with.len()));
    }
    if draft.federates_with.contains(own) {
        return refused(format!("names {own}, this server's own trust domain: its bundle is there anyway"));
    }
    for name in &draft.federates_with {
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM federations WHERE trust_domain = $1)")
            .bind(name.as_str().to_owned())
            .fetch_one(&mut *connection)
            .await
            .map_err(fault("read a federation"))?;
        if !known {
            return refused(format!("no federation with {name}: `federation create` or `bundle set` makes one"));
        }
    }
    Ok(None)
}

/// The trust domains of an entry, as its row has them.
pub(super) fn named(text: &str) -> Result<BTreeSet<TrustDomain>, StoreFault> {
    let corrupt = || StoreFault::Corrupt { what: "entry's federations" };
    let names: Vec<String> = serde_json::from_str(text).map_err(|_| corrupt())?;
    names.iter().map(|name| name.parse().map_err(|_| corrupt())).collect()
}

/// Writes what an entry names, beside what its row says else.
pub(super) async fn name(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreFault> {
    let names: Vec<&str> = entry.draft.federates_with.iter().map(TrustDomain::as_str).collect();
    if names.is_empty() {
        return Ok(());
    }
    for name in &names {
        sqlx::query("INSERT INTO entry_federations (trust_domain, entry) VALUES ($1, $2)")
            .bind((*name).to_owned())
            .bind(entry.number.0.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(fault("write an entry's federations"))?;
    }
    write_names(connection, entry, &serde_json::Value::from(names).to_string()).await
}

/// Takes back what [`name`] wrote.
pub(super) async fn unname(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreFault> {
    if entry.draft.federates_with.is_empty() {
        return Ok(());
    }
    for name in &entry.draft.federates_with {
        sqlx::query("DELETE FROM entry_federations WHERE trust_domain = $1 AND entry = $2")
            .bind(name.as_str().to_owned())
            .bind(entry.number.0.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(fault("delete an entry's federations"))?;
    }
    write_names(connection, entry, "[]").await
}

async fn write_names(connection: &mut SqliteConnection, entry: &Entry, names: &str) -> Result<(), StoreFault> {
    sqlx::query("UPDATE entries SET federates_with = $2 WHERE number = $1")
        .bind(entry.number.0.cast_signed())
        .bind(names.to_owned())
        .execute(connection)
        .await
        .map_err(fault("write an entry's federations"))?;
    Ok(())
}
