//! Cursors of the sinks of events: one row a sink, written in the transaction of the act that moved it.

use super::super::ledger::{Actor, Operation};
use super::super::sinks::{Sink, SinkStart, Sinks};
use super::super::{Held, StoreFault};
use super::SqliteStore;
use super::writer::{Tx, Verb, fault};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;
use sqlx::sqlite::SqliteConnection;

impl Sinks for SqliteStore {
    fn sinks(&self) -> Held<'_, Vec<Sink>> {
        Box::pin(async move {
            let rows: Vec<SinkRow> = sqlx::query_as("SELECT * FROM sinks ORDER BY name")
                .fetch_all(&mut *self.reader().await?)
                .await
                .map_err(fault("read the sinks"))?;
            Ok(rows.into_iter().map(Sink::from).collect())
        })
    }

    fn open_sink(&self, name: String, start: SinkStart) -> Held<'_, Sink> {
        Box::pin(self.queue.run(Open { name, start }))
    }

    fn save_sink(&self, sink: Sink, act: Option<(Operation, Actor)>, at: UnixTime) -> Held<'_, ()> {
        Box::pin(self.queue.run(Save { sink, act, at }))
    }

    fn forget_sink(&self, name: String, by: Actor, at: UnixTime) -> Held<'_, Option<Sink>> {
        Box::pin(self.queue.run(Forget { name, by, at }))
    }
}

struct Forget {
    name: String,
    by: Actor,
    at: UnixTime,
}

impl Verb for Forget {
    type Reply = Option<Sink>;
    const NAME: &'static str = "forget_sink";

    async fn run(&self, tx: &mut Tx) -> Result<Option<Sink>, StoreFault> {
        let found: Option<SinkRow> = sqlx::query_as("DELETE FROM sinks WHERE name = $1 RETURNING *")
            .bind(self.name.clone())
            .fetch_optional(&mut tx.connection)
            .await
            .map_err(fault("forget a sink"))?;
        let Some(sink) = found.map(Sink::from) else { return Ok(None) };
        tx.append(&Leaf::Act(json!({
            "at": self.at.seconds(), "by": self.by.to_string(), "action": "events.forget", "subject": self.name,
            "detail": { "next": sink.next, "skipped": sink.skipped, "parked": sink.parked },
        })));
        Ok(Some(sink))
    }
}

struct Open {
    name: String,
    start: SinkStart,
}

impl Verb for Open {
    type Reply = Sink;
    const NAME: &'static str = "open_sink";

    async fn run(&self, tx: &mut Tx) -> Result<Sink, StoreFault> {
        let found: Option<SinkRow> = sqlx::query_as("SELECT * FROM sinks WHERE name = $1")
            .bind(self.name.clone())
            .fetch_optional(&mut tx.connection)
            .await
            .map_err(fault("read a sink"))?;
        if let Some(row) = found {
            return Ok(row.into());
        }
        let next = match self.start {
            SinkStart::Head => tx.ledger_size(),
            SinkStart::First => 0,
        };
        let sink = Sink::new(self.name.clone(), next);
        write(&mut tx.connection, &sink).await?;
        Ok(sink)
    }
}

struct Save {
    sink: Sink,
    act: Option<(Operation, Actor)>,
    at: UnixTime,
}

impl Verb for Save {
    type Reply = ();
    const NAME: &'static str = "save_sink";

    async fn run(&self, tx: &mut Tx) -> Result<(), StoreFault> {
        if let Some((operation, by)) = &self.act {
            tx.append(&Leaf::Act(json!({
                "at": self.at.seconds(), "by": by.to_string(), "action": operation.action,
                "subject": operation.subject, "detail": operation.detail,
            })));
        }
        write(&mut tx.connection, &self.sink).await
    }
}

async fn write(connection: &mut SqliteConnection, sink: &Sink) -> Result<(), StoreFault> {
    sqlx::query(
        "INSERT INTO sinks (name, next, parked, failures, last_error, last_failure, last_success, skipped) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO UPDATE SET next = excluded.next, \
         parked = excluded.parked, failures = excluded.failures, last_error = excluded.last_error, \
         last_failure = excluded.last_failure, last_success = excluded.last_success, skipped = excluded.skipped",
    )
    .bind(sink.name.clone())
    .bind(sink.next.cast_signed())
    .bind(sink.parked.clone())
    .bind(sink.failures.cast_signed())
    .bind(sink.last_error.clone())
    .bind(sink.last_failure.seconds())
    .bind(sink.last_success.seconds())
    .bind(sink.skipped.cast_signed())
    .execute(connection)
    .await
    .map_err(fault("write a sink"))?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct SinkRow {
    name: String,
    next: i64,
    parked: String,
    failures: i64,
    last_error: String,
    last_failure: i64,
    last_success: i64,
    skipped: i64,
}

impl From<SinkRow> for Sink {
    fn from(row: SinkRow) -> Self {
        Self {
            name: row.name,
            next: row.next.cast_unsigned(),
            parked: row.parked,
            failures: row.failures.cast_unsigned(),
            last_error: row.last_error,
            last_failure: UnixTime(row.last_failure),
            last_success: UnixTime(row.last_success),
            skipped: row.skipped.cast_unsigned(),
        }
    }
}
