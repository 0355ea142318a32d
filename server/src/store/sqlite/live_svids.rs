//! Certificates that live, as an operator looks for them, and withdraws them.

use super::super::StoreFault;
use super::super::entries::EntryNumber;
use super::super::ledger::Actor;
use super::super::nodes::{NodeNumber, NodeTarget};
use super::super::revocations::{LiveSvid, RevocationReason, ShownSvid, SvidFilter, SvidPlace, Withdrew};
use super::node_rows;
use super::revocations::{Whose, key_id, revoke};
use super::writer::{Tx, Verb, fault};
use holdfast_identity::UnixTime;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

/// Those that a filter lets through, after one place. Reads past the others: for an operator, and not by the writer.
pub(super) async fn page(
    reader: &mut SqliteConnection,
    filter: &SvidFilter,
    after: SvidPlace,
    limit: u32,
    now: UnixTime,
) -> Result<Vec<ShownSvid>, StoreFault> {
    let rows: Vec<ShownRow> = sqlx::query_as(
        "SELECT s.*, COALESCE(e.id, '') AS entry_id, COALESCE(n.spiffe_id, '') AS node_id, \
         COALESCE(e.spiffe_id, n.spiffe_id, '') AS spiffe_id \
         FROM svids s LEFT JOIN entries e ON e.number = s.entry LEFT JOIN nodes n ON n.number = s.node \
         WHERE (s.node, s.entry, s.idx) > ($1, $2, $3) AND s.not_after > $4 AND ($5 = 0 OR s.node = $5) \
         AND ($6 = x'' OR s.serial = $6) AND ($7 = '' OR e.id = $7) \
         AND ($8 = '' OR (s.entry = 0 AND n.spiffe_id = $8) OR e.spiffe_id = $8) \
         ORDER BY s.node, s.entry, s.idx LIMIT $9",
    )
    .bind(after.node.cast_signed())
    .bind(after.entry.cast_signed())
    .bind(after.index.cast_signed())
    .bind(now.seconds())
    .bind(filter.node.map_or(0, |node| node.0.cast_signed()))
    .bind(filter.serial.map(|serial| serial.to_vec()).unwrap_or_default())
    .bind(filter.entry_id.clone().unwrap_or_default())
    .bind(filter.spiffe_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default())
    .bind(limit)
    .fetch_all(reader)
    .await
    .map_err(fault("list certificates"))?;
    rows.into_iter().map(ShownRow::shown).collect()
}

#[derive(FromRow)]
struct ShownRow {
    #[sqlx(flatten)]
    row: Row,
    entry_id: String,
    node_id: String,
    spiffe_id: String,
}

impl ShownRow {
    fn shown(self) -> Result<ShownSvid, StoreFault> {
        let Self { row, entry_id, node_id, spiffe_id } = self;
        Ok(ShownSvid { svid: row.svid()?, spiffe_id, node_id, entry_id })
    }
}

/// Withdraws all that a filter names.
pub(super) struct RevokeSvids {
    pub(super) filter: SvidFilter,
    /// What the filter named by its serial number, as it was found.
    pub(super) listed: Vec<ShownSvid>,
    pub(super) reason: RevocationReason,
    pub(super) by: Actor,
    pub(super) at: UnixTime,
}

impl Verb for RevokeSvids {
    type Reply = Withdrew;
    const NAME: &'static str = "revoke_svids";

    async fn run(&self, tx: &mut Tx) -> Result<Withdrew, StoreFault> {
        let mut all = Withdrew::default();
        for whose in self.named(tx).await? {
            let Withdrew { svids, grants } = revoke(tx, whose, self.reason, &self.by, self.at).await?;
            all = Withdrew { svids: all.svids + svids, grants: all.grants + grants };
        }
        Ok(all)
    }
}

impl RevokeSvids {
    /// By entries and nodes as they are in this transaction: what is issued meanwhile is named too.
    async fn named(&self, tx: &mut Tx) -> Result<Vec<Whose>, StoreFault> {
        let SvidFilter { spiffe_id, entry_id, node, serial } = &self.filter;
        if serial.is_some() {
            return Ok(self.listed.iter().map(|one| Whose::One(one.svid)).collect());
        }
        if spiffe_id.is_none() && entry_id.is_none() {
            return Ok(node.map(Whose::Node).into_iter().collect());
        }
        let entries: Vec<i64> = sqlx::query_scalar(
            "SELECT number FROM entries WHERE ($1 = '' OR id = $1) AND ($2 = '' OR spiffe_id = $2) ORDER BY number",
        )
        .bind(entry_id.clone().unwrap_or_default())
        .bind(spiffe_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default())
        .fetch_all(&mut tx.connection)
        .await
        .map_err(fault("look for entries"))?;
        let entries = entries.into_iter().map(|number| EntryNumber(number.cast_unsigned()));
        let mut named: Vec<_> =
            entries.map(|entry| node.map_or(Whose::Entry(entry), |node| Whose::EntryOn(node, entry))).collect();
        if let (Some(id), None) = (spiffe_id, entry_id) {
            let found = node_rows::find(&mut tx.connection, &NodeTarget::SpiffeId(id.clone())).await?;
            let found = found.map(|kept| kept.node.number).filter(|found| node.is_none_or(|node| node == *found));
            named.extend(found.map(Whose::Own));
        }
        Ok(named)
    }
}

/// Withdraws one, where it lives.
pub(super) struct RevokeSvid {
    pub(super) svid: LiveSvid,
    pub(super) reason: RevocationReason,
    pub(super) by: Actor,
    pub(super) at: UnixTime,
}

impl Verb for RevokeSvid {
    type Reply = ();
    const NAME: &'static str = "revoke_svid";

    async fn run(&self, tx: &mut Tx) -> Result<(), StoreFault> {
        revoke(tx, Whose::One(self.svid), self.reason, &self.by, self.at).await.map(|_| ())
    }
}

/// A row of a live certificate.
#[derive(FromRow)]
pub(super) struct Row {
    idx: i64,
    issuer: Vec<u8>,
    serial: Vec<u8>,
    node: i64,
    entry: i64,
    not_after: i64,
}

impl Row {
    fn svid(self) -> Result<LiveSvid, StoreFault> {
        Ok(LiveSvid {
            index: self.idx.cast_unsigned(),
            issuer: key_id(self.issuer)?,
            serial: self.serial.try_into().map_err(|_| StoreFault::Corrupt { what: "serial number" })?,
            node: NodeNumber(self.node.cast_unsigned()),
            entry: (self.entry != 0).then_some(EntryNumber(self.entry.cast_unsigned())),
            not_after: UnixTime(self.not_after),
        })
    }
}

/// A node's live certificates after one place of the record.
pub(super) async fn of_node(
    reader: &mut SqliteConnection,
    (node, after): (NodeNumber, u64),
    now: UnixTime,
    limit: u32,
) -> Result<Vec<LiveSvid>, StoreFault> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM svids WHERE node = $1 AND idx > $2 AND not_after > $3 ORDER BY idx LIMIT $4")
            .bind(node.0.cast_signed())
            .bind(after.cast_signed())
            .bind(now.seconds())
            .bind(limit)
            .fetch_all(reader)
            .await
            .map_err(fault("read a node's certificates"))?;
    rows.into_iter().map(Row::svid).collect()
}

/// The live certificate of that serial number. Reads all rows: for an operator, and not by the writer.
pub(super) async fn by_serial(
    reader: &mut SqliteConnection,
    serial: [u8; 16],
    now: UnixTime,
) -> Result<Option<LiveSvid>, StoreFault> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM svids WHERE serial = $1 AND not_after > $2")
        .bind(serial.to_vec())
        .bind(now.seconds())
        .fetch_optional(reader)
        .await
        .map_err(fault("look for a certificate"))?;
    row.map(Row::svid).transpose()
}
