//! Proposals: what one operator wants and another must approve.

use super::super::StoreFault;
use super::super::ledger::Actor;
use super::super::proposals::{Proposal, ProposalDraft, ProposalState, Proposed};
use super::super::rollouts::RolloutRefusal;
use super::writer::{Tx, Verb, fault};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;
use sqlx::sqlite::SqliteConnection;

/// Proposals in one answer.
const PAGE: u32 = 1000;

#[derive(sqlx::FromRow)]
struct ProposalRow {
    number: i64,
    made_at: i64,
    expires_at: i64,
    author: String,
    author_uid: i64,
    message: String,
    content: String,
    what: String,
    state: String,
    closed_at: Option<i64>,
    closed_by: String,
}

pub(super) struct Propose {
    pub(super) draft: ProposalDraft,
    pub(super) about: Proposed,
    pub(super) by: Actor,
    pub(super) at: UnixTime,
}

impl Verb for Propose {
    type Reply = Proposal;
    const NAME: &'static str = "propose";

    async fn run(&self, tx: &mut Tx) -> Result<Proposal, StoreFault> {
        let row: ProposalRow = sqlx::query_as(
            "INSERT INTO proposals (made_at, expires_at, author, author_uid, message, content, what, state, closed_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', '') RETURNING *",
        )
        .bind(self.at.seconds())
        .bind(self.draft.expires_at.seconds())
        .bind(self.by.to_string())
        .bind(uid(&self.by))
        .bind(self.draft.message.clone())
        .bind(self.draft.content.clone())
        .bind(self.draft.what.clone())
        .fetch_one(&mut tx.connection)
        .await
        .map_err(fault("keep a proposal"))?;
        let proposal = row.proposal()?;
        let Proposed { policy, name, mode, selectors, restored } = &self.about;
        tx.append(&Leaf::Act(json!({
            "at": self.at.seconds(), "by": self.by.to_string(), "action": "policy.propose",
            "subject": proposal.number.to_string(),
            "detail": {
                "author": proposal.author, "message": proposal.draft.message,
                "policy": policy.to_string(), "name": name, "mode": mode.as_str(), "restored": restored,
                "selectors": selectors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
        })));
        Ok(proposal)
    }
}

pub(super) struct Withdraw {
    pub(super) number: u64,
    pub(super) by: Actor,
    pub(super) at: UnixTime,
}

impl Verb for Withdraw {
    type Reply = Result<Proposal, RolloutRefusal>;
    const NAME: &'static str = "withdraw_proposal";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let Some(proposal) = find(&mut tx.connection, self.number).await? else {
            return Ok(Err(RolloutRefusal::UnknownProposal));
        };
        if let Err(closed) = proposal.check_open(self.at) {
            return Ok(Err(closed));
        }
        append(tx, "policy.withdraw", &proposal, &self.by, self.at);
        close(tx, self.number, ProposalState::Withdrawn, &self.by, self.at).await.map(Ok)
    }
}

/// Closes a proposal as done, if it is open and `by` is another user than its author.
pub(super) async fn approve(
    tx: &mut Tx,
    number: u64,
    by: &Actor,
    at: UnixTime,
) -> Result<Result<Proposal, RolloutRefusal>, StoreFault> {
    let Some(proposal) = find(&mut tx.connection, number).await? else {
        return Ok(Err(RolloutRefusal::UnknownProposal));
    };
    if let Err(closed) = proposal.check_open(at) {
        return Ok(Err(closed));
    }
    if uid(by) == i64::from(proposal.author_uid) {
        return Ok(Err(RolloutRefusal::OwnProposal { author: proposal.author }));
    }
    append(tx, "policy.approve", &proposal, by, at);
    close(tx, number, ProposalState::Approved, by, at).await.map(Ok)
}

/// Every proposal, newest first.
pub(super) async fn list(connection: &mut SqliteConnection) -> Result<Vec<Proposal>, StoreFault> {
    let rows: Vec<ProposalRow> = sqlx::query_as(
        "SELECT number, made_at, expires_at, author, author_uid, message, '' AS content, what, state, closed_at, \
         closed_by FROM proposals ORDER BY number DESC LIMIT $1",
    )
    .bind(PAGE)
    .fetch_all(connection)
    .await
    .map_err(fault("read proposals"))?;
    rows.into_iter().map(ProposalRow::proposal).collect()
}

/// The proposal of that number, whole.
pub(super) async fn find(connection: &mut SqliteConnection, number: u64) -> Result<Option<Proposal>, StoreFault> {
    let row: Option<ProposalRow> = sqlx::query_as("SELECT * FROM proposals WHERE number = $1")
        .bind(i64::try_from(number).unwrap_or(i64::MAX))
        .fetch_optional(connection)
        .await
        .map_err(fault("read a proposal"))?;
    row.map(ProposalRow::proposal).transpose()
}

async fn close(
    tx: &mut Tx,
    number: u64,
    state: ProposalState,
    by: &Actor,
    at: UnixTime,
) -> Result<Proposal, StoreFault> {
    let row: ProposalRow =
        sqlx::query_as("UPDATE proposals SET state = $2, closed_at = $3, closed_by = $4 WHERE number = $1 RETURNING *")
            .bind(number.cast_signed())
            .bind(state.as_str())
            .bind(at.seconds())
            .bind(by.to_string())
            .fetch_one(&mut tx.connection)
            .await
            .map_err(fault("close a proposal"))?;
    row.proposal()
}

fn append(tx: &mut Tx, action: &str, proposal: &Proposal, by: &Actor, at: UnixTime) {
    tx.append(&Leaf::Act(json!({
        "at": at.seconds(), "by": by.to_string(), "action": action, "subject": proposal.number.to_string(),
        "detail": { "author": proposal.author, "message": proposal.draft.message },
    })));
}

/// The server itself has no user; what it proposed anybody may approve.
fn uid(actor: &Actor) -> i64 {
    match actor {
        Actor::Operator { uid, .. } => i64::from(*uid),
        Actor::Server => -1,
    }
}

impl ProposalRow {
    fn proposal(self) -> Result<Proposal, StoreFault> {
        let state = ProposalState::ALL.into_iter().find(|state| state.as_str() == self.state);
        Ok(Proposal {
            number: self.number.cast_unsigned(),
            draft: ProposalDraft {
                content: self.content,
                what: self.what,
                message: self.message,
                expires_at: UnixTime(self.expires_at),
            },
            made_at: UnixTime(self.made_at),
            author: self.author,
            author_uid: u32::try_from(self.author_uid).map_err(|_| StoreFault::Corrupt { what: "proposal" })?,
            state: state.ok_or(StoreFault::Corrupt { what: "proposal" })?,
            closed_at: self.closed_at.map(UnixTime),
            closed_by: self.closed_by,
        })
    }
}
