//! Makes the decision again and compares it with the one that was recorded.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_appraisal::decision::{ReplayedItem, RetracedDecision};
use holdfast_appraisal::ima::ImaSeen;
use holdfast_appraisal::{Appraiser, Policy};
use holdfast_evidence::tpm::TpmExpectation;
use holdfast_evidence::tpm::ownership::Ownership;
use holdfast_evidence::{EvidenceKind, TrustClass};
use holdfast_identity::UnixTime;
use serde_json::Value;

use crate::body::Bodies;
use crate::bytes::Digest;
use crate::check::Policies;
use crate::compare::{Again, end_of_evidence, names_another_log, unproven};
use crate::enrolment::{Endorsed, endorsed};
use crate::entry::AttemptEntry;
use crate::manifest::Manifest;
use crate::measured_files;
use crate::pieces::Unjoined;
use crate::replay::{RecordedFacts, RefusedEvidence, ReplayedEvidence, Unreplayable, replay};
use crate::report::{Flaw, RootGround, Steps};
use crate::trust::TrustedRoot;
use holdfast_evidence::json;

/// Codes by which the server refuses beyond what evidence and policy say; it alone knows why.
const OF_THE_SERVER: [&str; 3] = ["node.", "tpm.ek.root_withdrawn", "evidence.root_withdrawn"];

/// Between an offer, its challenge, the verification and the verdict: more than any challenge lives, and less than it takes
/// for a certificate to expire unnoticed.
const ATTEMPT_SECONDS_MAX: u64 = 3_600;

/// Everything that a decision is made again from.
pub(crate) struct Retraced<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) entry: &'a AttemptEntry,
    pub(crate) bodies: &'a Bodies,
    pub(crate) policies: &'a Policies,
}

/// Verifies and appraises again; the decision in words.
pub(crate) fn retrace(given: &Retraced<'_>, recorded: Option<&str>, steps: &mut Steps) -> String {
    let replayed = match replay(given.manifest, given.bodies) {
        Ok(replayed) => replayed,
        Err(Unreplayable::Missing(missing)) => {
            steps.gone("evidence", missing.to_string());
            return String::new();
        }
        Err(malformed) => {
            steps.fails("evidence", Flaw::Evidence, malformed.to_string());
            return String::new();
        }
    };
    let facts = &replayed.challenge;
    asked_is_recorded(given, facts, steps);
    endorsement_keys(given, facts, steps);
    if facts.way == "renew" {
        steps.vouched("server", "that the connection was opened with the node key");
    }
    moments(given, facts, steps);
    let recorded = match recorded.map(read_decision) {
        None => None,
        Some(Ok(recorded)) => Some(recorded),
        Some(Err(reason)) => {
            steps.fails("decision", Flaw::Decision, reason);
            return String::new();
        }
    };
    match &replayed.items {
        Err(refused) => refused_again(given, (refused, &facts.kinds), recorded.as_ref(), steps),
        Ok(items) => {
            let kinds: Vec<&str> = items.iter().map(|item| item.item().kind().as_str()).collect();
            let detail = format!("the evidence ({}) verifies again, at the moment of then", kinds.join(", "));
            steps.holds("evidence", detail);
            for detail in items.iter().flat_map(ReplayedEvidence::vouched) {
                steps.vouched("server", detail);
            }
            appraise_again(given, facts, items, recorded.as_ref(), steps)
        }
    }
}

/// A decision's JSON. Whoever reads it must read the same, whichever of two equal names his reader takes.
fn read_decision(text: &str) -> Result<Value, String> {
    let value = json::plain(text.as_bytes())
        .map_err(|reason| format!("the decision is none that a server writes: {reason}"))?;
    // Written again it has every byte, in whichever order, but for blanks and letters that are spelled as numbers.
    if !value.is_object() || value.to_string().len() != text.len() {
        return Err(
            "the decision's text is none that a server writes: blanks, or letters spelled as numbers".to_owned()
        );
    }
    Ok(value)
}

/// Everything was verified when it was judged: certificates are good at one moment and not at another.
fn moments(given: &Retraced<'_>, facts: &RecordedFacts, steps: &mut Steps) {
    let Manifest { judged_at, offered, items, .. } = given.manifest;
    let verified = items.iter().filter_map(|item| item.verified.as_ref()).map(|with| with.at);
    let others = verified.chain(offered.iter().map(|offered| offered.verified_at)).chain([facts.expires_at.seconds()]);
    if others.map(|at| at.abs_diff(*judged_at)).max() > Some(ATTEMPT_SECONDS_MAX) {
        steps.fails("moments", Flaw::Manifest, "something was verified at another time than it was judged");
    }
}

/// The entry's way and kinds are those of the challenge, and so are the manifest's items.
fn asked_is_recorded(given: &Retraced<'_>, facts: &RecordedFacts, steps: &mut Steps) {
    let kinds: Vec<&str> = facts.kinds.iter().map(|kind| kind.as_str()).collect();
    let items = given.manifest.items.iter().map(|item| item.kind.as_str());
    // The entry has them in the order of the alphabet.
    let entry: BTreeSet<&str> = given.entry.kinds.split(',').collect();
    let same = given.entry.way == facts.way && items.eq(kinds.iter().copied());
    if !same || entry != kinds.iter().copied().collect() {
        steps.fails("challenge", Flaw::Evidence, "the challenge asked for something else than the entry says");
    }
}

fn endorsement_keys(given: &Retraced<'_>, facts: &RecordedFacts, steps: &mut Steps) {
    let has_tpm = facts.kinds.contains(&EvidenceKind::Tpm);
    match &given.manifest.offered {
        None if has_tpm && facts.way == "enrol" => {
            steps.vouched("server", "that the endorsement certificates verified: the server did not keep them");
        }
        None => {}
        Some(offered) => match endorsed(offered, facts.tpm.as_ref(), given.bodies) {
            Ok(Endorsed::Holds { maker }) => {
                let detail = "the endorsement certificates verify again, and are those of the challenge";
                steps.holds("endorsement keys", detail);
                if !maker.is_empty() {
                    steps.holds("maker's word", maker_in_words(&maker));
                }
            }
            Ok(Endorsed::Differs { reason, of_maker: false }) => {
                steps.fails("endorsement keys", Flaw::EndorsementKeys, reason);
            }
            Ok(Endorsed::Differs { reason, of_maker: true }) => steps.fails("maker's word", Flaw::Maker, reason),
            Err(Unreplayable::Missing(missing)) => steps.gone("endorsement keys", missing.to_string()),
            Err(malformed) => steps.fails("endorsement keys", Flaw::EndorsementKeys, malformed.to_string()),
        },
    }
}

/// What the machine's maker says that verified again.
fn maker_in_words(maker: &Ownership) -> String {
    let found: Vec<String> = maker.roots().map(|(factor, root)| format!("{factor} under {}", root.name)).collect();
    let aside: Vec<String> =
        maker.left_aside.iter().map(|factor| format!("{factor} left aside, no root for it")).collect();
    format!("verifies again, and is that of the challenge: {}", [found, aside].concat().join(", "))
}

/// The evidence is refused again: for the same reasons?
fn refused_again(
    given: &Retraced<'_>,
    (refused, kinds): (&RefusedEvidence, &[EvidenceKind]),
    recorded: Option<&Value>,
    steps: &mut Steps,
) -> String {
    let again = Again::of_refused(refused, kinds, UnixTime(given.manifest.judged_at));
    let words = refused.errors.join(": ");
    match recorded {
        Some(recorded)
            if again.differing(recorded).is_empty()
                && unproven(recorded).is_empty()
                && given.entry.verdict == "refused" =>
        {
            steps.holds("evidence", format!("the evidence is refused again, by {}: {words}", refused.code));
            the_same_code(given, refused.code, steps);
        }
        Some(_) => {
            let detail = format!("the evidence is refused by {}: {words}; that is not what was recorded", refused.code);
            steps.fails("evidence", Flaw::Evidence, detail);
        }
        None => the_same_code(given, refused.code, steps),
    }
    format!("refused by {}: {words}", refused.code)
}

fn the_same_code(given: &Retraced<'_>, code: &str, steps: &mut Steps) {
    let entry = given.entry;
    if entry.code == code && entry.verdict == "refused" {
        steps.holds("verdict", "the verdict is the one that was recorded");
    } else {
        of_the_server(entry, Harsher::ThanRefused, steps);
    }
}

fn appraise_again(
    given: &Retraced<'_>,
    facts: &RecordedFacts,
    items: &[ReplayedEvidence],
    recorded: Option<&Value>,
    steps: &mut Steps,
) -> String {
    let entry = given.entry;
    let Some(policy) = &given.policies.enforced else {
        // Verified, and refused before any policy was asked: a root withdrawn meanwhile, or another machine's node.
        of_the_server(entry, Harsher::ThanRefused, steps);
        if recorded.is_some_and(|recorded| !is_refusal_of_the_server(recorded) || !unproven(recorded).is_empty()) {
            let detail = "no policy was asked, and the decision is none of the server's own";
            steps.fails("appraisal", Flaw::Decision, detail);
        }
        return format!("refused by {} before any policy was asked", entry.code);
    };
    let list = match measured_files::List::of(given.manifest, items, given.bodies) {
        Ok(list) => list,
        Err(Unjoined::Missing(missing)) => {
            steps.gone("measured files", missing.to_string());
            return String::new();
        }
        Err(too_long @ Unjoined::TooLong) => {
            steps.fails("measured files", Flaw::Evidence, too_long.to_string());
            return String::new();
        }
    };
    if let Some(list) = &list {
        list_in_words(list, policy, steps);
    }
    let log = items.iter().find_map(ReplayedEvidence::log);
    let items: Vec<ReplayedItem<'_>> = items.iter().map(ReplayedEvidence::item).collect();
    let appraise = |policy: &Policy| {
        let ownership = given.manifest.ownership.ownership();
        let then = UnixTime(given.manifest.judged_at);
        let (seen, appraiser) =
            (list.as_ref().and_then(|list| list.seen(policy)), Appraiser::new(facts.trust_domain.clone()));
        let (decision, explanation) = appraiser.retrace(policy, &items, seen.as_ref(), &ownership, then);
        let results = appraiser.retraced_results(policy, &items, seen.as_ref(), &ownership, &decision);
        let again = Again::of(&decision, &explanation, &results);
        (decision, again)
    };
    let (decision, again) = appraise(policy);
    if let Some(recorded) = recorded {
        let mut differing = again.differing(recorded);
        if names_another_log(recorded, log) {
            differing.insert("firmware_log".to_owned());
        }
        if differing.is_empty() {
            steps.holds("appraisal", "the policy decides the same again, in every field");
        } else {
            let named = differing.into_iter().take(5).collect::<Vec<_>>().join(", ");
            steps.fails("appraisal", Flaw::Decision, format!("the policy decides otherwise: {named}"));
        }
        observed_again(given, recorded, &|policy| appraise(policy).1, steps);
        if recorded.get("machine").is_some() {
            let detail = "what the decision's text says of the machine beside what decides (its field \"machine\")";
            steps.vouched("server", detail);
        }
    }
    if let Some(detail) = end_of_evidence(entry, recorded, &decision) {
        steps.fails("verdict", Flaw::Verdict, detail);
    }
    the_same_verdict(entry, &decision, steps);
    words(&decision)
}

/// Where a list of measured files went on, and where the next part of it goes on: so one proof is led to the other.
fn list_in_words(list: &measured_files::List<'_>, policy: &Policy, steps: &mut Steps) {
    if let Some(ImaSeen::Judged(state)) = list.seen(policy) {
        let (entries, state) = (state.resume.entries, Digest::of(state.encode().as_bytes()));
        steps.holds("measured files", format!("{entries} entries lead to the quoted register, and to state {state}"));
    }
    if list.goes_on() {
        let state = list.state_before(policy).map(|state| format!(" (state {state})")).unwrap_or_default();
        let detail = "what the list of measured files held before the part that came with this attestation";
        steps.vouched("server", format!("{detail}{state}"));
    }
}

/// The observed policy's decision stands beside the enforced one's.
fn observed_again(given: &Retraced<'_>, recorded: &Value, appraise: &dyn Fn(&Policy) -> Again, steps: &mut Steps) {
    let Policies { enforced, observed } = given.policies;
    let observed = observed.as_ref().or(enforced.as_ref().filter(|_| given.manifest.observed.is_some()));
    match (recorded.get("observed"), observed) {
        (None, None) => {}
        (Some(was), Some(policy)) if appraise(policy).differing(was).is_empty() && unproven(was).is_empty() => {
            steps.holds("observed policy", "it decides the same again");
        }
        (None, Some(_)) if given.manifest.observed.is_none() => {}
        _ => steps.fails("observed policy", Flaw::Decision, "it decides otherwise than was recorded"),
    }
}

fn the_same_verdict(entry: &AttemptEntry, decision: &RetracedDecision, steps: &mut Steps) {
    let same = match decision {
        RetracedDecision::Admitted { grant, .. } => {
            entry.verdict == "admitted"
                && entry.code.is_empty()
                && entry.spiffe_id.as_deref() == Some(grant.spiffe_id.as_str())
        }
        RetracedDecision::AwaitsApproval(_) => entry.verdict == "awaits_approval" && entry.code.is_empty(),
        RetracedDecision::Refused(rejection) => entry.verdict == "refused" && entry.code == rejection.code,
    };
    let found = match decision {
        RetracedDecision::Admitted { .. } => Harsher::ThanAdmitted,
        RetracedDecision::AwaitsApproval(_) | RetracedDecision::Refused(_) => Harsher::ThanRefused,
    };
    if same {
        steps.holds("verdict", "the verdict is the one that was recorded");
    } else {
        of_the_server(entry, found, steps);
    }
}

/// Than what a verdict of the server's own must be harsher.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harsher {
    ThanAdmitted,
    ThanRefused,
}

fn is_of_the_server(code: &str) -> bool {
    OF_THE_SERVER.iter().any(|prefix| code.starts_with(prefix))
}

fn is_refusal_of_the_server(decision: &Value) -> bool {
    let text = |name| decision.get(name).and_then(Value::as_str).unwrap_or_default();
    text("verdict") == "refused" && is_of_the_server(text("code"))
}

/// The record says otherwise than evidence and policy: it may be harsher, for reasons that the server alone knows.
fn of_the_server(entry: &AttemptEntry, than: Harsher, steps: &mut Steps) {
    let known = is_of_the_server(&entry.code);
    match entry.verdict.as_str() {
        "refused" if known => {
            steps.vouched("verdict", format!("that the machine was refused all the same, by {}", entry.code));
        }
        "awaits_approval" if than == Harsher::ThanAdmitted => {
            steps.vouched("verdict", "that the machine had to wait for an operator all the same");
        }
        _ => steps.fails("verdict", Flaw::Verdict, "the record has another verdict than evidence and policy give"),
    }
}

fn words(decision: &RetracedDecision) -> String {
    match decision {
        RetracedDecision::Admitted { grant, .. } => {
            let alternative = grant.alternative.as_ref().map(|name| format!(", alternative {name}"));
            let ownership = grant.ownership.join(" and ");
            format!(
                "admitted as {} by policy {}, rule {}{}; ours by {ownership}",
                grant.spiffe_id,
                grant.policy,
                grant.rule,
                alternative.unwrap_or_default()
            )
        }
        RetracedDecision::AwaitsApproval(rejection) | RetracedDecision::Refused(rejection) => rejection.to_string(),
    }
}

/// The roots that the evidence rests on, and what says so; `None` if it does not verify, when any may be meant.
pub(crate) fn roots_used(manifest: &Manifest, bodies: &Bodies) -> Option<BTreeMap<TrustedRoot, RootGround>> {
    let replayed = replay(manifest, bodies).ok()?;
    let root = |name: &str, sha256, class: TrustClass| TrustedRoot {
        sha256: Digest(sha256),
        name: name.to_owned(),
        class: class.as_str().to_owned(),
    };
    let tpm = replayed.challenge.tpm.as_ref();
    // Of a TPM the challenge names the roots. Only the certificates that it offered when it enrolled lead there.
    let endorsed_again = manifest.offered.as_ref().map(|offered| endorsed(offered, tpm, bodies));
    let ground = match endorsed_again {
        Some(Ok(Endorsed::Holds { .. })) => RootGround::Certificates,
        Some(Ok(Endorsed::Differs { .. }) | Err(_)) | None => RootGround::Server,
    };
    let eks = tpm.map(TpmExpectation::eks).unwrap_or_default().iter();
    let mut used: BTreeMap<TrustedRoot, RootGround> =
        eks.map(|ek| (root(&ek.root_name, ek.root_sha256, ek.class), ground)).collect();
    let makers = tpm.iter().flat_map(|tpm| tpm.ownership().roots());
    used.extend(makers.map(|(_, maker)| (root(&maker.name, maker.sha256, maker.class), ground)));
    for item in replayed.items.as_ref().ok()? {
        let identity = match item {
            ReplayedEvidence::Tpm(_) => continue,
            ReplayedEvidence::Snp(item) => &item.claims().root,
            ReplayedEvidence::Tdx(item) => &item.claims().root,
            ReplayedEvidence::Nitro(item) => &item.claims().root,
            ReplayedEvidence::NitroTpm(item) => &item.claims().root,
            ReplayedEvidence::Gcp(item) => &item.claims().root,
            ReplayedEvidence::Azure(item) => &item.claims().root,
        };
        // The verifier itself led the item's certificates to it.
        used.insert(root(&identity.name, identity.sha256, identity.class), RootGround::Certificates);
    }
    Some(used)
}
