//! Bodies as rows: packed where it pays, found by digest, let go a few at a time.

use super::super::bodies::{BODIES_AT_ONCE, Bodies, Dropped, Evidence, KeptBody, KindUsage, Retention, Usage};
use super::super::{Held, Sha256, StoreFault};
use super::SqliteStore;
use super::writer::{Tx, Verb, fault};
use holdfast_identity::UnixTime;
use holdfast_proof::BODY_BYTES_MAX;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::HashMap;

/// Digests that one statement asks for.
const ASKED_AT_ONCE: usize = 8;
/// Bodies that one transaction lets go: some milliseconds.
const DROPPED_AT_ONCE: u32 = 200;
/// Seconds that a body is kept beyond what is asked, so that its row is not written anew at each use.
const SLACK: i64 = 86_400;
/// Bytes below which nobody packs: the header would eat what is won.
const PACKED_BYTES_MIN: usize = 512;
/// Fast rather than tight: event logs shrink to a fifth either way.
const PACKING_LEVEL: u8 = 3;

/// As they were.
const PLAIN: i64 = 0;
/// Deflate, in a zlib envelope.
const DEFLATE: i64 = 1;

impl Bodies for SqliteStore {
    fn bodies(&self, digests: Vec<Sha256>) -> Held<'_, Vec<(Sha256, Vec<u8>)>> {
        Box::pin(async move {
            let mut reader = self.reader().await?;
            let mut found = Vec::new();
            for digest in digests.into_iter().take(BODIES_AT_ONCE) {
                if let Some(bytes) = read(&mut reader, digest).await? {
                    found.push((digest, bytes));
                }
            }
            Ok(found)
        })
    }

    fn retention(&self) -> Retention {
        self.limits.retention
    }

    fn body_usage(&self, now: UnixTime) -> Held<'_, Usage> {
        Box::pin(async move { usage(&mut *self.reporter().await?, now).await })
    }

    fn drop_bodies(&self, before: UnixTime) -> Held<'_, Dropped> {
        Box::pin(self.queue.run(DropBodies(before)))
    }
}

/// The bytes of one body.
pub(super) async fn read(connection: &mut SqliteConnection, digest: Sha256) -> Result<Option<Vec<u8>>, StoreFault> {
    let row = sqlx::query("SELECT size, packing, content FROM bodies WHERE digest = $1")
        .bind(digest.0.to_vec())
        .fetch_optional(connection)
        .await
        .map_err(fault("read a body"))?;
    let Some(row) = row else { return Ok(None) };
    let column = |error| fault("read a body")(error);
    let (size, packing): (i64, i64) =
        (row.try_get("size").map_err(column)?, row.try_get("packing").map_err(fault("read a body"))?);
    let content: Vec<u8> = row.try_get("content").map_err(fault("read a body"))?;
    unpacked(digest, size, packing, content).map(Some).ok_or(StoreFault::Corrupt { what: "body" })
}

/// The bytes of a body as it lies in the file, which somebody may have written to: never more than a body has.
fn unpacked(digest: Sha256, size: i64, packing: i64, content: Vec<u8>) -> Option<Vec<u8>> {
    let size = usize::try_from(size).ok().filter(|size| *size <= BODY_BYTES_MAX)?;
    let bytes = match packing {
        PLAIN => content,
        DEFLATE => miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&content, size).ok()?,
        _ => return None,
    };
    (Sha256::of(&bytes) == digest).then_some(bytes)
}

/// Keeps what an attempt was judged by until `until`: what is new is written, and what is held is held as long.
pub(super) async fn keep(tx: &mut Tx, evidence: &Evidence, at: UnixTime, until: i64) -> Result<(), StoreFault> {
    let mut held: HashMap<Sha256, i64> = HashMap::with_capacity(evidence.bodies.len());
    for part in evidence.bodies.chunks(ASKED_AT_ONCE) {
        held.extend(kept_until(&mut tx.connection, part).await?);
    }
    for body in &evidence.bodies {
        match (held.get(&body.digest), &body.bytes) {
            (Some(kept), _) if *kept >= until => {}
            (Some(_), _) => {
                sqlx::query("UPDATE bodies SET kept_until = $1 WHERE digest = $2")
                    .bind(until.saturating_add(SLACK))
                    .bind(body.digest.0.to_vec())
                    .execute(&mut tx.connection)
                    .await
                    .map_err(fault("keep a body longer"))?;
            }
            (None, Some(bytes)) if bytes.len() <= BODY_BYTES_MAX => {
                insert(tx, body, bytes, at, until.saturating_add(SLACK)).await?;
            }
            // Gone since it was looked at, or larger than any may be. The attempt stands; its proof says what is missing.
            (None, _) => {}
        }
        // One attempt may name the same twice.
        held.insert(body.digest, i64::MAX);
    }
    Ok(())
}

async fn kept_until(connection: &mut SqliteConnection, part: &[KeptBody]) -> Result<Vec<(Sha256, i64)>, StoreFault> {
    let mut query =
        sqlx::query("SELECT digest, kept_until FROM bodies WHERE digest IN ($1, $2, $3, $4, $5, $6, $7, $8)");
    for place in 0..ASKED_AT_ONCE {
        query = query.bind(part.get(place).map(|body| body.digest.0.to_vec()));
    }
    let rows = query.fetch_all(connection).await.map_err(fault("look for bodies"))?;
    rows.into_iter()
        .map(|row| {
            let digest: Vec<u8> = row.try_get("digest").map_err(fault("look for bodies"))?;
            Ok((Sha256::try_from(digest)?, row.try_get("kept_until").map_err(fault("look for bodies"))?))
        })
        .collect()
}

async fn insert(tx: &mut Tx, body: &KeptBody, bytes: &[u8], at: UnixTime, until: i64) -> Result<(), StoreFault> {
    let packed = (bytes.len() >= PACKED_BYTES_MIN)
        .then(|| miniz_oxide::deflate::compress_to_vec_zlib(bytes, PACKING_LEVEL))
        .filter(|packed| packed.len() < bytes.len() - bytes.len() / 8);
    let (packing, content) = packed.map_or_else(|| (PLAIN, bytes.to_vec()), |packed| (DEFLATE, packed));
    let (size, stored) = (count(bytes.len()), count(content.len()));
    let day = at.seconds().div_euclid(86_400);
    sqlx::query(
        "INSERT INTO bodies (digest, kind, size, stored, packing, day, kept_until, content) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(body.digest.0.to_vec())
    .bind(body.kind)
    .bind(size)
    .bind(stored)
    .bind(packing)
    .bind(day)
    .bind(until)
    .bind(content)
    .execute(&mut tx.connection)
    .await
    .map_err(fault("keep a body"))?;
    sqlx::query(
        "INSERT INTO body_usage (day, kind, bodies, size, stored) VALUES ($1, $2, 1, $3, $4) \
         ON CONFLICT (day, kind) DO UPDATE SET bodies = bodies + 1, size = size + excluded.size, \
         stored = stored + excluded.stored",
    )
    .bind(day)
    .bind(body.kind)
    .bind(size)
    .bind(stored)
    .execute(&mut tx.connection)
    .await
    .map_err(fault("account for a body"))?;
    Ok(())
}

/// A log that a node booted with stays as long as the node: it need not be sent again.
pub(super) const PRUNING: [&str; 2] = [
    "DELETE FROM bodies WHERE number IN (SELECT number FROM bodies WHERE kept_until < $1 AND NOT \
     (kind = 'event-log' AND EXISTS (SELECT 1 FROM nodes n WHERE n.firmware_log = bodies.digest)) \
     ORDER BY kept_until LIMIT $2) RETURNING day, kind, size, stored",
    "DELETE FROM body_usage WHERE day = $1 AND kind = $2 AND bodies <= 0",
];

struct DropBodies(UnixTime);

impl Verb for DropBodies {
    type Reply = Dropped;
    const NAME: &'static str = "drop_bodies";

    async fn run(&self, tx: &mut Tx) -> Result<Dropped, StoreFault> {
        let [over, empty] = PRUNING;
        let rows = sqlx::query(over)
            .bind(self.0.seconds())
            .bind(DROPPED_AT_ONCE)
            .fetch_all(&mut tx.connection)
            .await
            .map_err(fault("let bodies go"))?;
        let mut gone: HashMap<(i64, String), (i64, i64, i64)> = HashMap::new();
        for row in &rows {
            let column = |name| row.try_get::<i64, _>(name).map_err(fault("let bodies go"));
            let kind = row.try_get("kind").map_err(fault("let bodies go"))?;
            let sum = gone.entry((column("day")?, kind)).or_default();
            *sum = (sum.0 + 1, sum.1 + column("size")?, sum.2 + column("stored")?);
        }
        let mut dropped = Dropped { more: rows.len() >= DROPPED_AT_ONCE as usize, ..Dropped::default() };
        for ((day, kind), (bodies, size, stored)) in gone {
            dropped.bodies += bodies.cast_unsigned();
            dropped.stored += stored.cast_unsigned();
            sqlx::query(
                "UPDATE body_usage SET bodies = bodies - $1, size = size - $2, stored = stored - $3 \
                 WHERE day = $4 AND kind = $5",
            )
            .bind(bodies)
            .bind(size)
            .bind(stored)
            .bind(day)
            .bind(kind.clone())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("account for bodies"))?;
            let query = sqlx::query(empty).bind(day).bind(kind);
            query.execute(&mut tx.connection).await.map_err(fault("account for bodies"))?;
        }
        Ok(dropped)
    }
}

async fn usage(connection: &mut SqliteConnection, now: UnixTime) -> Result<Usage, StoreFault> {
    let today = now.seconds().div_euclid(86_400);
    let rows = sqlx::query(
        "SELECT kind, SUM(bodies) AS bodies, SUM(size) AS size, SUM(stored) AS stored, \
         SUM(CASE WHEN day >= $1 THEN stored ELSE 0 END) AS lately FROM body_usage GROUP BY kind ORDER BY kind",
    )
    .bind(today - 1)
    .fetch_all(&mut *connection)
    .await
    .map_err(fault("account for bodies"))?;
    let mut kinds = Vec::with_capacity(rows.len());
    for row in rows {
        let number = |name| row.try_get::<i64, _>(name).map(i64::cast_unsigned).map_err(fault("account for bodies"));
        kinds.push(KindUsage {
            bodies: number("bodies")?,
            size: number("size")?,
            stored: number("stored")?,
            stored_lately: number("lately")?,
            kind: row.try_get("kind").map_err(fault("account for bodies"))?,
        });
    }
    // Attempts are named by the millisecond they began in.
    let since = u64::try_from((now.seconds() - 86_400).max(0)).unwrap_or(0) * 1000;
    let first = super::super::AttemptId::new(since, [0; 10]);
    let row = sqlx::query("SELECT COUNT(*) AS attempts, COUNT(DISTINCT node) AS nodes FROM attempts WHERE id >= $1")
        .bind(first.0.to_vec())
        .fetch_one(&mut *connection)
        .await
        .map_err(fault("count attempts"))?;
    let number = |name| row.try_get::<i64, _>(name).map(i64::cast_unsigned).map_err(fault("count attempts"));
    Ok(Usage { kinds, attempts_a_day: number("attempts")?, nodes_a_day: number("nodes")? })
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        miniz_oxide::deflate::compress_to_vec_zlib(bytes, PACKING_LEVEL)
    }

    fn size(bytes: &[u8]) -> i64 {
        i64::try_from(bytes.len()).unwrap()
    }

    #[test]
    fn a_body_reads_as_it_was_packed() {
        let bytes = vec![7; 10_000];
        let digest = Sha256::of(&bytes);
        assert_eq!(unpacked(digest, size(&bytes), PLAIN, bytes.clone()), Some(bytes.clone()));
        assert_eq!(unpacked(digest, size(&bytes), DEFLATE, packed(&bytes)), Some(bytes));
    }

    #[tokio::test]
    async fn texts_of_decisions_of_before_stand_in_the_account_too_until_they_go() {
        let directory = tempfile::tempdir().unwrap();
        let texts = [
            "INSERT INTO decisions (digest, body, last_used) VALUES (x'01', '{\"ä\":1}', 86400000)".to_owned(),
            "INSERT INTO decisions (digest, body, last_used) VALUES (x'02', '{}', 86400000)".to_owned(),
            "INSERT INTO attempts (id, at, way, kinds, source, node, verdict, code, decision, idx) VALUES \
             (x'00000000000000000000000000000007', 86400000, 'enrol', 'tpm', '', 1, 'admitted', '', x'02', 0)"
                .to_owned(),
        ];
        let database = super::super::of_before::with_a_node(directory.path(), 10, &[], &texts).await;
        let limits = super::super::StoreLimits::default();
        let store = SqliteStore::open(&database, "td".parse().unwrap(), limits).await.unwrap();
        let kept =
            |usage: Usage| usage.kinds.into_iter().map(|kind| (kind.kind, kind.bodies, kind.size)).collect::<Vec<_>>();
        assert_eq!(kept(store.body_usage(UnixTime(86_400_000)).await.unwrap()), [("decision".to_owned(), 2, 10)]);
        let mut id = [0; 16];
        id[15] = 7;
        let old = super::super::super::Attempts::attempt(&store, super::super::super::AttemptId(id)).await.unwrap();
        let old = old.unwrap();
        assert_eq!((old.evidence_expires, old.decision_in_full().as_str()), (None, "{}"));
        super::super::super::Store::close(&store).await;
    }

    #[test]
    fn a_body_that_inflates_without_end_is_cut_off_at_its_size() {
        let bomb = vec![0; 8 * BODY_BYTES_MAX];
        let (digest, content) = (Sha256::of(&bomb), packed(&bomb));
        for claimed in [0, 1_000, size(&bomb), i64::MAX, -1, i64::try_from(BODY_BYTES_MAX).unwrap()] {
            assert_eq!(unpacked(digest, claimed, DEFLATE, content.clone()), None);
        }
    }

    #[test]
    fn a_body_with_a_changed_byte_or_another_packing_is_none() {
        let bytes: Vec<u8> = (0..4_000_u32).map(|n| (n % 97) as u8).collect();
        let (digest, content) = (Sha256::of(&bytes), packed(&bytes));
        for at in 0..content.len() {
            let mut changed = content.clone();
            changed[at] ^= 1;
            // A flag of the envelope that says nothing about the bytes may differ; the bytes may not.
            assert!(unpacked(digest, size(&bytes), DEFLATE, changed).is_none_or(|found| found == bytes));
        }
        assert_eq!(unpacked(digest, size(&bytes), PLAIN, content.clone()), None);
        assert_eq!(unpacked(digest, size(&bytes), 7, content), None);
    }
}
