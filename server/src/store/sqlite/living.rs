//! Certificates that a transaction issues, until it writes them as living: those of all its verbs together, and in any case
//! before something of it withdraws, so that nothing slips through that is issued and withdrawn in one transaction.

use super::super::StoreFault;
use super::super::issuances::{Issuance, Origin};
use super::super::nodes::NodeNumber;
use super::super::revocations::IssuerKeyId;
use super::many::{Inserts, texts};
use super::writer::fault;
use holdfast_identity::UnixTime;
use sqlx::sqlite::SqliteConnection;

static SVIDS: Inserts =
    Inserts::new(|| texts("INSERT INTO svids (node, entry, idx, issuer, serial, not_after) VALUES", 6));

/// What is to be written.
#[derive(Default)]
pub(super) struct Living(Vec<Row>);

struct Row {
    node: NodeNumber,
    /// 0 for the node's own.
    entry: u64,
    index: u64,
    issuer: IssuerKeyId,
    serial: [u8; 16],
    not_after: UnixTime,
}

impl Living {
    /// A certificate of `node`, or of a workload on it, whose entry in the record has that index.
    pub(super) fn add(&mut self, index: u64, node: NodeNumber, issuance: &Issuance) {
        let entry = match issuance.origin {
            Origin::Workload { entry, .. } => entry.0,
            Origin::Node { .. } | Origin::Server => 0,
        };
        let (issuer, serial, not_after) = (issuance.issuer, issuance.serial, issuance.not_after);
        self.0.push(Row { node, entry, index, issuer, serial, not_after });
    }

    /// Forgets what was not written.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Writes them.
    pub(super) async fn write(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreFault> {
        let mut all = std::mem::take(&mut self.0).into_iter();
        while let Some((text, rows)) = SVIDS.of(all.len()) {
            let mut query = sqlx::query(text);
            for row in all.by_ref().take(rows) {
                query = query
                    .bind(row.node.0.cast_signed())
                    .bind(row.entry.cast_signed())
                    .bind(row.index.cast_signed())
                    .bind(row.issuer.0.to_vec())
                    .bind(row.serial.to_vec())
                    .bind(row.not_after.seconds());
            }
            query.execute(&mut *connection).await.map_err(fault("remember certificates"))?;
        }
        Ok(())
    }
}
