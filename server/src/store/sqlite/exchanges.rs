//! Exchanges in the record, and tokens that were exchanged as rows, until they end.

use holdfast_identity::UnixTime;
use serde_json::json;

use super::super::exchanges::{ExchangeIssuance, Exchanges, NotExchanged, RecordedExchange};
use super::super::{Held, StoreFault};
use super::SqliteStore;
use super::jwt_authorities;
use super::writer::{Tx, Verb, fault};
use crate::record::Leaf;

/// How long after its end a token is remembered: a clock that was set back would let it count again.
const END_GRACE: i64 = 3_600;
/// Rows of ended tokens that one call deletes.
const ROWS_AT_ONCE: u32 = 500;

impl Exchanges for SqliteStore {
    fn record_exchange(
        &self,
        authority_id: String,
        issuance: ExchangeIssuance,
        at: UnixTime,
    ) -> Held<'_, Result<RecordedExchange, NotExchanged>> {
        Box::pin(self.queue.run(Record { authority_id, issuance, at }))
    }
}

struct Record {
    authority_id: String,
    issuance: ExchangeIssuance,
    at: UnixTime,
}

impl Verb for Record {
    type Reply = Result<RecordedExchange, NotExchanged>;
    const NAME: &'static str = "record_exchange";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let issuance = &self.issuance;
        let digest = issuance.token.0.to_vec();
        let uses: Option<i64> = sqlx::query_scalar("SELECT uses FROM exchanged_tokens WHERE digest = $1")
            .bind(digest.clone())
            .fetch_optional(&mut tx.connection)
            .await
            .map_err(fault("read an exchanged token"))?;
        if let Some(uses) = uses.and_then(|uses| u32::try_from(uses).ok()).filter(|uses| *uses >= issuance.uses) {
            return Ok(Err(NotExchanged::Replayed { uses }));
        }
        if !jwt_authorities::count_on(tx, &self.authority_id, issuance.expires).await? {
            return Ok(Err(NotExchanged::AuthorityGone));
        }
        sqlx::query(
            // One ID may stand in several tokens: it is remembered until the last of them has ended.
            "INSERT INTO exchanged_tokens (digest, expires, uses) VALUES ($1, $2, 1) ON CONFLICT (digest) DO UPDATE \
             SET uses = exchanged_tokens.uses + 1, expires = MAX(exchanged_tokens.expires, excluded.expires)",
        )
        .bind(digest)
        .bind(issuance.token_expires.seconds())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("write an exchanged token"))?;
        tx.append(&self.leaf());
        Ok(Ok(RecordedExchange::new(self.authority_id.clone(), issuance.clone())))
    }
}

impl Record {
    fn leaf(&self) -> Leaf {
        let issuance = &self.issuance;
        Leaf::Act(json!({
            "at": self.at.seconds(), "by": "server", "action": "token.exchange",
            "subject": issuance.spiffe_id.to_string(),
            "detail": {
                "exchange": issuance.exchange, "rule": issuance.rule, "issuer": issuance.issuer,
                "subject": issuance.subject, "jti": issuance.token_id, "token_sha256": issuance.token.to_string(),
                "audience": issuance.audience, "expires": issuance.expires.seconds(), "source": issuance.source,
                "key": self.authority_id,
            },
        }))
    }
}

/// Forgets tokens that have ended.
pub(super) async fn prune(tx: &mut Tx, now: UnixTime) -> Result<(), StoreFault> {
    sqlx::query(
        "DELETE FROM exchanged_tokens WHERE digest IN \
         (SELECT digest FROM exchanged_tokens WHERE expires <= $1 ORDER BY expires LIMIT $2)",
    )
    .bind(now.seconds() - END_GRACE)
    .bind(ROWS_AT_ONCE)
    .execute(&mut tx.connection)
    .await
    .map_err(fault("forget exchanged tokens"))?;
    Ok(())
}
