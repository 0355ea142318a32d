//! JWT authorities as rows, and the record of JWT-SVIDs.

use holdfast_evidence::crypto::PublicKey;
use holdfast_identity::UnixTime;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::super::changes::Notice;
use super::super::issuances::NotRecorded;
use super::super::jwt_authorities::{JWT_AUTHORITIES_MAX, JwtAuthorities, JwtAuthority, RecordedToken, TokenIssuance};
use super::super::ledger::Actor;
use super::super::nodes::NodeTarget;
use super::super::{Held, StoreFault};
use super::SqliteStore;
use super::issuances::{Request, judge_again};
use super::node_rows::{self, Kept};
use super::token_grants;
use super::writer::{Tx, Verb, fault};
use crate::authority::life::{Command, Life, LifeRefusal, Stage, command};
use crate::record::{Leaf, token_leaf};

impl JwtAuthorities for SqliteStore {
    fn publish_jwt_authority(
        &self,
        authority: JwtAuthority,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<(), LifeRefusal>> {
        Box::pin(self.queue.run(Publish { authority, by, at }))
    }

    fn command_jwt_authority(
        &self,
        authority_id: String,
        command: Command,
        ours: Vec<String>,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<(), LifeRefusal>> {
        Box::pin(self.queue.run(CarryOut { authority_id, command, ours, by, at }))
    }

    fn retire_jwt_authority(&self, authority_id: String, at: UnixTime) -> Held<'_, ()> {
        Box::pin(self.queue.run(Retire { authority_id, at }))
    }

    fn jwt_authorities(&self) -> Held<'_, Vec<JwtAuthority>> {
        Box::pin(async move { read(&mut *self.reader().await?).await })
    }

    fn record_tokens(
        &self,
        authority_id: String,
        requests: Vec<TokenIssuance>,
        judged_at: u64,
        at: UnixTime,
    ) -> Held<'_, Vec<Result<RecordedToken, NotRecorded>>> {
        Box::pin(self.queue.run(RecordTokens { authority_id, requests, judged_at, at }))
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    authority_id: String,
    spki: Vec<u8>,
    stage: String,
    prepared_at: i64,
    activated_at: Option<i64>,
    ends: i64,
    used_until: i64,
}

impl Row {
    fn authority(self) -> Result<JwtAuthority, StoreFault> {
        let corrupt = |what| StoreFault::Corrupt { what };
        Ok(JwtAuthority {
            authority_id: self.authority_id,
            key: PublicKey::from_spki(&self.spki).map_err(|_| corrupt("JWT authority's key"))?,
            life: Life {
                stage: Stage::parse(&self.stage).ok_or(corrupt("JWT authority's stage"))?,
                prepared_at: UnixTime(self.prepared_at),
                activated_at: self.activated_at.map(UnixTime),
                ends: UnixTime(self.ends),
                used_until: UnixTime(self.used_until),
            },
        })
    }
}

/// Those in the bundle.
pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Vec<JwtAuthority>, StoreFault> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM jwt_authorities ORDER BY place")
        .fetch_all(connection)
        .await
        .map_err(fault("read JWT authorities"))?;
    rows.into_iter().map(Row::authority).collect()
}

async fn find(tx: &mut Tx, authority_id: &str) -> Result<Option<JwtAuthority>, StoreFault> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM jwt_authorities WHERE authority_id = $1")
        .bind(authority_id.to_owned())
        .fetch_optional(&mut tx.connection)
        .await
        .map_err(fault("read a JWT authority"))?;
    row.map(Row::authority).transpose()
}

fn act(action: &'static str, authority_id: &str, by: &Actor, at: UnixTime, detail: &Value) -> Leaf {
    Leaf::Act(json!({
        "at": at.seconds(), "by": by.to_string(), "action": action, "subject": authority_id, "detail": detail,
    }))
}

/// What the bundle says, or what agents are told with it, is another now.
async fn bundle_changed(tx: &mut Tx) -> Result<(), StoreFault> {
    sqlx::query("UPDATE history SET bundle_sequence = bundle_sequence + 1 WHERE only_row = 1")
        .execute(&mut tx.connection)
        .await
        .map_err(fault("number the bundle"))?;
    let n = tx.next_n();
    tx.notify(Notice::Bundle { n });
    Ok(())
}

async fn set_stage(tx: &mut Tx, authority_id: &str, stage: Stage) -> Result<(), StoreFault> {
    sqlx::query("UPDATE jwt_authorities SET stage = $2 WHERE authority_id = $1")
        .bind(authority_id.to_owned())
        .bind(stage.as_str())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("write a JWT authority"))?;
    Ok(())
}

async fn delete(tx: &mut Tx, authority_id: &str) -> Result<bool, StoreFault> {
    let gone = sqlx::query("DELETE FROM jwt_authorities WHERE authority_id = $1")
        .bind(authority_id.to_owned())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("delete a JWT authority"))?
        .rows_affected();
    Ok(gone > 0)
}

struct Publish {
    authority: JwtAuthority,
    by: Actor,
    at: UnixTime,
}

impl Verb for Publish {
    type Reply = Result<(), LifeRefusal>;
    const NAME: &'static str = "publish_jwt_authority";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let JwtAuthority { authority_id, key, life } = &self.authority;
        let held = read(&mut tx.connection).await?;
        if held.iter().any(|held| held.authority_id == *authority_id) || held.len() >= JWT_AUTHORITIES_MAX {
            return Err(StoreFault::Database {
                verb: "publish a JWT authority",
                reason: format!("{} are published, limit {JWT_AUTHORITIES_MAX}, each once", held.len()),
            });
        }
        sqlx::query(
            "INSERT INTO jwt_authorities (authority_id, spki, stage, prepared_at, activated_at, ends, used_until, place) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, (SELECT COALESCE(MAX(place), 0) + 1 FROM jwt_authorities))",
        )
        .bind(authority_id.clone())
        .bind(key.spki())
        .bind(life.stage.as_str())
        .bind(life.prepared_at.seconds())
        .bind(life.activated_at.map(UnixTime::seconds))
        .bind(life.ends.seconds())
        .bind(life.used_until.seconds())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("publish a JWT authority"))?;
        let detail = json!({ "ends": life.ends.seconds() });
        tx.append(&act("jwt_authority.prepare", authority_id, &self.by, self.at, &detail));
        bundle_changed(tx).await?;
        Ok(Ok(()))
    }
}

struct CarryOut {
    authority_id: String,
    command: Command,
    ours: Vec<String>,
    by: Actor,
    at: UnixTime,
}

impl Verb for CarryOut {
    type Reply = Result<(), LifeRefusal>;
    const NAME: &'static str = "command_jwt_authority";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let id = &self.authority_id;
        let Some(authority) = find(tx, id).await? else {
            return Ok(Err(LifeRefusal::Unknown { id: id.clone() }));
        };
        let after = match command(&authority, self.command, self.at) {
            Ok(after) => after,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match self.command {
            Command::Activate => {
                for other in read(&mut tx.connection).await? {
                    if other.life.stage == Stage::Active && self.ours.contains(&other.authority_id) {
                        set_stage(tx, &other.authority_id, Stage::Old).await?;
                    }
                }
                tx.append(&act("jwt_authority.activate", id, &self.by, self.at, &Value::Null));
            }
            Command::Taint => {
                tx.append(&act("jwt_authority.taint", id, &self.by, self.at, &Value::Null));
            }
            Command::Revoke => {
                tx.append(&act("jwt_authority.revoke", id, &self.by, self.at, &Value::Null));
            }
        }
        match after {
            Some(stage) => set_stage(tx, id, stage).await?,
            None => _ = delete(tx, id).await?,
        }
        if self.command == Command::Activate {
            sqlx::query("UPDATE jwt_authorities SET activated_at = $2 WHERE authority_id = $1")
                .bind(id.clone())
                .bind(self.at.seconds())
                .execute(&mut tx.connection)
                .await
                .map_err(fault("write a JWT authority"))?;
        } else {
            bundle_changed(tx).await?;
        }
        Ok(Ok(()))
    }
}

struct Retire {
    authority_id: String,
    at: UnixTime,
}

impl Verb for Retire {
    type Reply = ();
    const NAME: &'static str = "retire_jwt_authority";

    async fn run(&self, tx: &mut Tx) -> Result<(), StoreFault> {
        if delete(tx, &self.authority_id).await? {
            tx.append(&act("jwt_authority.retire", &self.authority_id, &Actor::Server, self.at, &Value::Null));
            bundle_changed(tx).await?;
        }
        Ok(())
    }
}

/// Whether this authority signs what ends at `last`: it is active, and stays in the bundle until then.
pub(super) async fn count_on(tx: &mut Tx, authority_id: &str, last: UnixTime) -> Result<bool, StoreFault> {
    let counted = sqlx::query(
        "UPDATE jwt_authorities SET used_until = MAX(used_until, $2) \
         WHERE authority_id = $1 AND stage = 'active' AND ends >= $2",
    )
    .bind(authority_id.to_owned())
    .bind(last.seconds())
    .execute(&mut tx.connection)
    .await
    .map_err(fault("count on a JWT authority"))?;
    Ok(counted.rows_affected() > 0)
}

struct RecordTokens {
    authority_id: String,
    requests: Vec<TokenIssuance>,
    judged_at: u64,
    at: UnixTime,
}

impl Verb for RecordTokens {
    type Reply = Vec<Result<RecordedToken, NotRecorded>>;
    const NAME: &'static str = "record_tokens";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let last = self.requests.iter().map(|request| request.expires).max().unwrap_or(UnixTime(0));
        if !count_on(tx, &self.authority_id, last).await? {
            return Ok(self.requests.iter().map(|_| Err(NotRecorded::AuthorityGone)).collect());
        }
        let moved = self.judged_at != tx.n();
        let mut asking: Option<Kept> = None;
        let mut answers = Vec::with_capacity(self.requests.len());
        for request in &self.requests {
            let mut refused = None;
            if moved {
                if asking.as_ref().is_none_or(|kept| kept.node.number != request.node) {
                    asking = node_rows::find(&mut tx.connection, &NodeTarget::Number(request.node)).await?;
                }
                let judged = Request {
                    spiffe_id: &request.spiffe_id,
                    not_after: request.expires,
                    node: request.node,
                    entry: request.entry,
                    revision: request.revision,
                };
                refused = judge_again(tx, judged, asking.as_ref(), self.at).await?;
            }
            answers.push(match refused {
                Some(refused) => Err(refused),
                None => {
                    let of = (request.node, request.entry);
                    let grant = token_grants::name(tx, of, request.expires, self.at).await?;
                    if grant.is_some() {
                        tx.append(&token_leaf(&self.authority_id, request, self.at));
                    }
                    let recorded = |grant| RecordedToken::new(self.authority_id.clone(), request.clone(), grant);
                    grant.map(recorded).ok_or(NotRecorded::TooMuchWithdrawn)
                }
            });
        }
        Ok(answers)
    }
}
