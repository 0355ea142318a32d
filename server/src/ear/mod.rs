//! Attestation results: what a recorded decision says, signed for relying parties with a key of its own. Rests on the record
//! alone; makes nothing from which an identity could be drafted.

mod fault;
mod key;

use std::sync::Arc;

use holdfast_appraisal::ear::{
    AttestationResult, Format, ItemResult, NONCE_BYTES, Prepared, Tier, VerifierId, unverified,
};
use holdfast_evidence::EvidenceKind;
use holdfast_identity::{TrustDomain, UnixTime};
use serde_json::{Value, json};

use crate::store::{Actor, AttemptRecord, Node, NodeTarget, Operation, Sha256, Standing, Store};
pub use fault::EarRefused;
pub use key::EarKey;

/// Who makes the software, as AR4SI wants to know it.
const DEVELOPER: &str = "holdfast";
/// How long a result counts that rests on no evidence that ages, in seconds: one that says no.
const REFUSED_FOR: i64 = 3_600;

/// Issues attestation results.
pub struct EarIssuer {
    store: Arc<dyn Store>,
    trust_domain: TrustDomain,
    key: EarKey,
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How it is written.
    pub format: Format,
    /// The relying party's nonce; empty for none.
    pub nonce: Vec<u8>,
    /// Whether evidence that has ended is fine.
    pub ended: bool,
}

/// A signed token.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Its bytes.
    pub token: Vec<u8>,
    /// Its overall status.
    pub status: Tier,
    /// When it ends.
    pub expires: UnixTime,
    /// The entry of the record that was written before it was signed.
    pub index: u64,
}

impl EarIssuer {
    /// An issuer with this key.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, trust_domain: TrustDomain, key: EarKey) -> Self {
        Self { store, trust_domain, key }
    }

    /// The key, for those who verify.
    #[must_use]
    pub const fn key(&self) -> &EarKey {
        &self.key
    }

    /// The result of `attempt`, once the record says that it is issued.
    ///
    /// # Errors
    /// [`EarRefused`]
    pub async fn issue(
        &self,
        attempt: &AttemptRecord,
        wanted: Wanted,
        by: Actor,
        now: UnixTime,
    ) -> Result<Issued, EarRefused> {
        if !wanted.nonce.is_empty() && !NONCE_BYTES.contains(&wanted.nonce.len()) {
            return Err(EarRefused::Nonce { found: wanted.nonce.len() });
        }
        let node = match attempt.node {
            Some(number) => self.store.node(NodeTarget::Number(number)).await?,
            None => None,
        };
        let decision: Value = serde_json::from_str(&attempt.decision).unwrap_or_default();
        let items = items(attempt, &decision, node.as_ref()).ok_or(EarRefused::NothingToTell)?;
        let in_its_text = || decision.get("evidence_expires").and_then(Value::as_i64).map(UnixTime);
        let ends = attempt.evidence_expires.or_else(in_its_text);
        let expires = match (attempt.verdict.as_str(), ends) {
            ("admitted", Some(ends)) if ends <= now && !wanted.ended => return Err(EarRefused::Ended { ends }),
            ("admitted", Some(ends)) => ends,
            ("admitted", None) => return Err(EarRefused::NothingToTell),
            _ => now.plus(REFUSED_FOR),
        };
        let result = AttestationResult {
            issuer: format!("spiffe://{}", self.trust_domain),
            subject: attempt.spiffe_id.as_ref().map(ToString::to_string),
            issued_at: now,
            expires: Some(expires),
            nonce: (!wanted.nonce.is_empty()).then_some(wanted.nonce),
            verifier: VerifierId {
                developer: DEVELOPER.to_owned(),
                build: concat!("holdfast-server ", env!("CARGO_PKG_VERSION")).to_owned(),
            },
            policy_ids: attempt.policy.iter().map(|digest| format!("sha256:{digest}")).collect(),
            items,
            floor: Tier::None,
        };
        let status = result.status();
        let prepared = Prepared::new(&result, wanted.format, self.key.id()).ok_or(EarRefused::NothingToTell)?;
        let operation = Operation {
            action: "ear.issue",
            subject: attempt.id.to_string(),
            detail: json!({
                "format": wanted.format.as_str(), "key_id": hex::encode(self.key.id()), "status": status.as_str(),
                "node": attempt.node.map(|number| number.0), "expires": expires.seconds(),
                "to_be_signed_sha256": Sha256::of(prepared.to_be_signed()).to_string(),
            }),
        };
        let index = self.store.record_operation(operation, by, now).await?;
        let signature = self.key.sign(prepared.to_be_signed())?;
        let token = prepared.with(&signature).ok_or(EarRefused::Signing)?;
        Ok(Issued { token, status, expires, index })
    }
}

/// What the decision says of each item, and what has become of the node since.
fn items(attempt: &AttemptRecord, decision: &Value, node: Option<&Node>) -> Option<Vec<ItemResult>> {
    let kept = decision.get("results")?.as_array()?;
    let kept: Option<Vec<ItemResult>> = kept.iter().map(ItemResult::from_json).collect();
    let kept = kept.filter(|items| !items.is_empty())?;
    let since = match (attempt.verdict.as_str(), node) {
        ("admitted", None) => Some("the node is not on record any more"),
        (_, Some(node)) if node.ban.is_some() => Some("the node is banned"),
        (_, Some(node)) if node.freeze.is_some() => Some("the node is frozen"),
        ("admitted", Some(node)) => match node.standing {
            Standing::Admitted => None,
            Standing::Pending => Some("the node waits for an operator's approval"),
            Standing::Refused => Some("the node was refused since"),
            Standing::Denied => Some("an operator turned the node down"),
            Standing::Evicted => Some("the node was evicted"),
        },
        _ => None,
    };
    let told = kept.into_iter().map(|item| match since {
        Some(why) => item.contraindicated(why),
        // The store may have judged harsher than the policy: a clock that ran backwards, two machines of one name.
        None if attempt.verdict != "admitted" => ItemResult { status: Tier::Contraindicated, ..item },
        None => item,
    });
    Some(told.collect())
}

/// What can be told of evidence of these kinds that did not verify.
#[must_use]
pub fn refused(kinds: impl Iterator<Item = EvidenceKind>, genuine: bool) -> Value {
    kinds.map(|kind| unverified(kind, genuine).to_json()).collect()
}
