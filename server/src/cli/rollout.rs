//! `policy promote`, `rollback`, `history`, `proposals`, `approve`, `withdraw`: which version decides about whom.

use clap::Args;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{self, answered};
use super::policies::Version;
use super::{Context, Outcome, show};

/// What is promoted.
#[derive(Debug, Args)]
pub(super) struct Promote {
    /// A digest or its first digits, a number, or `observe` for the version that is observed
    #[arg(id = "policy-version", value_name = "VERSION")]
    version: String,
    /// Only for nodes with this selector on record; repeat: all must be there
    #[arg(long, value_name = "SELECTOR")]
    selector: Vec<String>,
    /// Why; stands in the record
    #[arg(long, short, default_value = "", hide_default_value = true)]
    message: String,
    /// Although so many admitted nodes are refused, wait, or are unknown by it
    #[arg(long, value_name = "N")]
    accept_refusals: Option<u64>,
}

/// What is brought back.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Only the scope with exactly these selectors
    #[arg(long, value_name = "SELECTOR")]
    selector: Vec<String>,
    /// To this state of `policy history`; the one before if absent
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    to: u64,
    /// Why; stands in the record
    #[arg(long, short, default_value = "", hide_default_value = true)]
    message: String,
    /// Although so many admitted nodes are refused, wait, or are unknown by it; the state just before is not asked
    #[arg(long, value_name = "N")]
    accept_refusals: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Done {
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<Rollout>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<Proposal>,
    notes: Vec<String>,
}

impl From<admin::RolloutResponse> for Done {
    fn from(response: admin::RolloutResponse) -> Self {
        Self {
            rollout: response.rollout.map(Rollout::from),
            proposal: response.proposal.map(Proposal::from),
            notes: response.notes,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Rollout {
    pub(super) number: u64,
    pub(super) at: i64,
    pub(super) author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) approver: String,
    pub(super) action: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enforced: Option<Version>,
    pub(super) scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) observed: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restored: Option<u64>,
    pub(super) refused: u64,
}

#[derive(Serialize)]
pub(super) struct Scope {
    pub(super) selectors: Vec<String>,
    pub(super) policy: Option<Version>,
}

impl From<admin::Rollout> for Rollout {
    fn from(rollout: admin::Rollout) -> Self {
        Self {
            number: rollout.number,
            at: rollout.at,
            author: rollout.author,
            approver: rollout.approver,
            action: rollout.action,
            message: rollout.message,
            enforced: rollout.enforced.map(Version::from),
            scopes: rollout
                .scopes
                .into_iter()
                .map(|scope| Scope { selectors: scope.selectors, policy: scope.policy.map(Version::from) })
                .collect(),
            observed: rollout.observed.map(Version::from),
            restored: (rollout.restored != 0).then_some(rollout.restored),
            refused: rollout.refused,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Proposal {
    pub(super) number: u64,
    pub(super) what: String,
    pub(super) message: String,
    pub(super) author: String,
    pub(super) state: String,
    pub(super) made_at: i64,
    pub(super) expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) closed_at: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) closed_by: String,
}

impl From<admin::Proposal> for Proposal {
    fn from(proposal: admin::Proposal) -> Self {
        Self {
            number: proposal.number,
            what: proposal.what,
            message: proposal.message,
            author: proposal.author,
            state: proposal.state,
            made_at: proposal.made_at,
            expires_at: proposal.expires_at,
            closed_at: (proposal.closed_at != 0).then_some(proposal.closed_at),
            closed_by: proposal.closed_by,
        }
    }
}

#[derive(Serialize)]
struct History {
    rollouts: Vec<Rollout>,
}

#[derive(Serialize)]
struct Proposals {
    proposals: Vec<Proposal>,
}

pub(super) async fn promote(promote: Promote, context: &Context) -> anyhow::Result<Outcome> {
    let Promote { version, selector, message, accept_refusals } = promote;
    let mut client = client::policies(context).await?;
    let request = admin::PromotePolicyRequest { version, selectors: selector, message, accept_refusals };
    let done = Done::from(answered!(client.promote(request)));
    context.format.print(&done, done_text)?;
    Ok(Outcome::Yes)
}

pub(super) async fn rollback(rollback: Rollback, context: &Context) -> anyhow::Result<Outcome> {
    let Rollback { selector, to, message, accept_refusals } = rollback;
    let mut client = client::policies(context).await?;
    let request = admin::RollbackPolicyRequest { selectors: selector, to, message, accept_refusals };
    let done = Done::from(answered!(client.rollback(request)));
    context.format.print(&done, done_text)?;
    Ok(Outcome::Yes)
}

pub(super) async fn approve(number: u64, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = client::policies(context).await?;
    let done = Done::from(answered!(client.approve(admin::ProposalRequest { number })));
    context.format.print(&done, done_text)?;
    Ok(Outcome::Yes)
}

pub(super) async fn withdraw(number: u64, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = client::policies(context).await?;
    let proposal = Proposal::from(answered!(client.withdraw(admin::ProposalRequest { number })));
    context.format.print(&proposal, |proposal| format!("proposal {} is {}", proposal.number, proposal.state))?;
    Ok(Outcome::Yes)
}

pub(super) async fn history(limit: u32, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = client::policies(context).await?;
    let rollouts = answered!(client.history(admin::PolicyHistoryRequest { before: 0, limit })).rollouts;
    let history = History { rollouts: rollouts.into_iter().map(Rollout::from).collect() };
    context.format.print(&history, |history| {
        let mut table = show::table(&["state", "at", "action", "enforced", "observed", "refused", "by", "message"]);
        for state in &history.rollouts {
            table.add_row([
                state.number.to_string(),
                show::moment(state.at),
                action(state),
                enforced(state),
                state.observed.as_ref().map(Version::short).unwrap_or_default(),
                state.refused.to_string(),
                people(state),
                show::text(&state.message),
            ]);
        }
        show::rows(&table, "no policy was ever applied: nobody is admitted")
    })?;
    Ok(Outcome::Yes)
}

pub(super) async fn proposals(context: &Context) -> anyhow::Result<Outcome> {
    let mut client = client::policies(context).await?;
    let proposals = answered!(client.list_proposals(admin::ListProposalsRequest {})).proposals;
    let proposals = Proposals { proposals: proposals.into_iter().map(Proposal::from).collect() };
    context.format.print(&proposals, |listed| {
        let mut table = show::table(&["number", "state", "what", "by", "expires", "closed by", "message"]);
        for one in &listed.proposals {
            let (number, what, message) = (one.number.to_string(), show::text(&one.what), show::text(&one.message));
            let expires = show::moment(one.expires_at);
            table.add_row([&number, &one.state, &what, &one.author, &expires, &one.closed_by, &message]);
        }
        show::rows(&table, "no proposals")
    })?;
    Ok(Outcome::Yes)
}

/// What was done, or waits.
pub(super) fn done_text(done: &Done) -> String {
    let mut text: String = done.notes.iter().map(|note| format!("note: {}\n", show::text(note))).collect();
    if let Some(state) = &done.rollout {
        text.push_str(&format!("state {} of the rollout, {}\n", state.number, action(state)));
        text.push_str(&show::fields(&[
            ("  enforced", enforced(state)),
            ("  observed", state.observed.as_ref().map(Version::short).unwrap_or_default()),
            ("  by", people(state)),
        ]));
    }
    if let Some(proposal) = &done.proposal {
        let (number, what) = (proposal.number, show::text(&proposal.what));
        text.push_str(&format!(
            "proposal {number}: {what}\nanother operator must approve it until {}: holdfast-server policy approve {number}",
            show::moment(proposal.expires_at)
        ));
    }
    text
}

/// What was done, in a word or two.
pub(super) fn action(state: &Rollout) -> String {
    let word = state.action.rsplit('.').next().unwrap_or_default();
    match state.restored {
        Some(restored) => format!("{word} to state {restored}"),
        None => word.to_owned(),
    }
}

/// What is enforced, and for whom.
pub(super) fn enforced(state: &Rollout) -> String {
    let scopes = state.scopes.iter().map(|scope| {
        let policy = scope.policy.as_ref().map(Version::short).unwrap_or_default();
        format!("{policy} for {}; ", show::text(&scope.selectors.join(" and ")))
    });
    let scoped: String = scopes.collect();
    let others = state.enforced.as_ref().map_or_else(|| "nothing".to_owned(), Version::short);
    if scoped.is_empty() { others } else { format!("{scoped}{others} for all others") }
}

/// Who did it, and who approved.
pub(super) fn people(state: &Rollout) -> String {
    if state.approver.is_empty() {
        state.author.clone()
    } else {
        format!("{}, approved by {}", state.author, state.approver)
    }
}
