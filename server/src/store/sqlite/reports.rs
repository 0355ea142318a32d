//! Counting what happened in a period: from the attempts, and from what their decisions say.

use super::super::reports::{Activity, Reports, WaiverInForce};
use super::super::{Held, StoreFault};
use super::SqliteStore;
use super::writer::fault;
use holdfast_identity::UnixTime;
use sqlx::sqlite::SqliteConnection;

/// An attempt's name begins with its milliseconds, so that a period is a range of the table's own key; `at`, which the
/// verdict was reached at, decides.
const OUTCOMES: &str = "SELECT verdict, COUNT(*) FROM attempts \
    WHERE id >= $1 AND id < $2 AND at >= $3 AND at < $4 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100";
const REFUSALS: &str = "SELECT code, COUNT(*) FROM attempts \
    WHERE id >= $1 AND id < $2 AND at >= $3 AND at < $4 AND verdict = 'refused' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100";
const RULES: &str = "SELECT COALESCE(json_extract(d.body, '$.policy.name') || ': ' || json_extract(d.body, '$.rule'), \
        'decision not kept any more'), SUM(n) \
    FROM (SELECT decision, COUNT(*) AS n FROM attempts \
        WHERE id >= $1 AND id < $2 AND at >= $3 AND at < $4 AND verdict = 'admitted' GROUP BY decision) a \
    LEFT JOIN decisions d ON d.digest = a.decision AND json_valid(d.body) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100";
const OBSERVED: &str = "SELECT json_extract(d.body, '$.observed.policy.name') || ': ' || \
        json_extract(d.body, '$.observed.code'), SUM(n) \
    FROM (SELECT decision, COUNT(*) AS n FROM attempts \
        WHERE id >= $1 AND id < $2 AND at >= $3 AND at < $4 AND verdict = 'admitted' GROUP BY decision) a \
    JOIN decisions d ON d.digest = a.decision AND json_valid(d.body) \
    WHERE json_extract(d.body, '$.observed.code') IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100";
const WAIVERS: &str = "SELECT json_extract(w.value, '$.name'), json_extract(w.value, '$.owner'), \
        json_extract(w.value, '$.reason'), json_extract(w.value, '$.valid_until'), COUNT(DISTINCT n.number), \
        MIN(n.spiffe_id), MIN(json_extract(w.value, '$.kind')), MIN(json_extract(w.value, '$.facts')) \
    FROM nodes n JOIN attempts a ON a.id = n.last_attempt JOIN decisions d ON d.digest = a.decision, \
        json_each(CASE WHEN json_valid(d.body) THEN d.body ELSE '{}' END, '$.waivers') w \
    WHERE n.standing = 'admitted' AND n.evidence_expires > $1 GROUP BY 1, 2, 3, 4 ORDER BY 4, 1 LIMIT 1000";

impl Reports for SqliteStore {
    fn activity(&self, from: UnixTime, to: UnixTime, now: UnixTime) -> Held<'_, Activity> {
        Box::pin(async move {
            let mut reader = self.report_snapshot().await?;
            Ok(Activity {
                outcomes: counts(&mut reader, OUTCOMES, from, to).await?,
                refusals: counts(&mut reader, REFUSALS, from, to).await?,
                rules: counts(&mut reader, RULES, from, to).await?,
                observed: counts(&mut reader, OBSERVED, from, to).await?,
                waivers: waivers(&mut reader, now).await?,
            })
        })
    }
}

async fn counts(
    connection: &mut SqliteConnection,
    text: &'static str,
    from: UnixTime,
    to: UnixTime,
) -> Result<Vec<(String, u64)>, StoreFault> {
    // Named when they begin and decided later: a day at most.
    let name = |moment: UnixTime| {
        let milliseconds = u64::try_from(moment.seconds()).unwrap_or(0).saturating_mul(1000);
        milliseconds.to_be_bytes().into_iter().skip(2).chain([0; 10]).collect::<Vec<u8>>()
    };
    let rows: Vec<(String, i64)> = sqlx::query_as(text)
        .bind(name(from.plus(-86_400)))
        .bind(name(to.plus(86_400)))
        .bind(from.seconds())
        .bind(to.seconds())
        .fetch_all(connection)
        .await
        .map_err(fault("count attempts"))?;
    Ok(rows.into_iter().map(|(what, count)| (what, count.cast_unsigned())).collect())
}

async fn waivers(connection: &mut SqliteConnection, now: UnixTime) -> Result<Vec<WaiverInForce>, StoreFault> {
    type Text = Option<String>;
    type Row = (Text, Text, Text, Option<i64>, i64, Text, Text, Text);
    let rows: Vec<Row> = sqlx::query_as(WAIVERS)
        .bind(now.seconds())
        .fetch_all(connection)
        .await
        .map_err(fault("read waivers in force"))?;
    let waivers = rows.into_iter().map(|(name, owner, reason, until, nodes, sample, kind, facts)| WaiverInForce {
        kind: kind.unwrap_or_default(),
        facts: facts.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        name: name.unwrap_or_default(),
        owner: owner.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        valid_until: UnixTime(until.unwrap_or_default()),
        nodes: nodes.cast_unsigned(),
        sample: sample.unwrap_or_default(),
    });
    Ok(waivers.collect())
}
