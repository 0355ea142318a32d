//! Checks a proof from the checkpoint's signature to the last difference of the decision. Believes the log's key, and of
//! everything else nothing that can be computed.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_appraisal::Policy;
use holdfast_record::VerifierKey;

use crate::body::Bodies;
use crate::bundle::ProofBundle;
use crate::bytes::Digest;
use crate::entry::AttemptEntry;
use crate::manifest::Manifest;
use crate::report::{Flaw, Report, RootGround, RootSeen, State, Steps};
use crate::retrace::{self, Retraced};
use crate::trust::{TrustDocument, TrustUnread, TrustedRoot};

/// What the reader brings.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// The log's key.
    pub log: &'a VerifierKey,
    /// SHA-256 of the roots that he trusts; `None` to have them named.
    pub roots: Option<&'a BTreeSet<Digest>>,
}

/// What is looked at, in order. Where one of the first three fails, nothing in the file is the log's, and none of the others
/// is looked at.
const PARTS: [&str; 10] = [
    "checkpoint",
    "inclusion",
    "entry",
    "decision",
    "manifest",
    "policy",
    "bodies",
    "evidence",
    "appraisal",
    "verdict",
];

/// Checks a proof.
#[must_use]
pub fn check(bundle: &ProofBundle, reader: &Reader<'_>) -> Report {
    let mut steps = Steps::default();
    let claimed = bundle.checkpoint.claimed();
    let log = format!("{}, {} entries", claimed.origin, claimed.size);
    let Some(entry) = in_the_record(bundle, reader, &mut steps) else {
        let looked_at = steps.0.len();
        PARTS.iter().skip(looked_at).for_each(|part| steps.unverified(part));
        return Report {
            conclusion: steps.conclusion(),
            attempt: String::new(),
            at: 0,
            way: String::new(),
            spiffe_id: None,
            verdict: String::new(),
            code: String::new(),
            policy: None,
            log,
            steps: steps.0,
            roots: Vec::new(),
            explanation: String::new(),
        };
    };
    let decision = decision_is_recorded(bundle, &entry, &mut steps);
    let mut bodies = Bodies::default();
    for body in &bundle.bodies {
        if bodies.add(body.content.0.clone()) != body.sha256 {
            steps.fails("bodies", Flaw::Body, format!("the bytes of body {} have another SHA-256", body.sha256));
        }
    }
    let manifest = manifest_of(bundle, &entry, &mut steps);
    let policies = policies_of(bundle, &entry, manifest.as_ref(), &mut steps);
    let (mut roots, mut explanation) = (Vec::new(), String::new());
    if let Some(manifest) = &manifest {
        if bodies_are_named(bundle, manifest, &bodies, &mut steps) {
            roots = roots_of(manifest, &bodies, reader, &mut steps);
            let retraced = Retraced { manifest, entry: &entry, bodies: &bodies, policies: &policies };
            explanation = retrace::retrace(&retraced, decision, &mut steps);
        }
        vouched(manifest, &mut steps);
    } else if !bundle.bodies.is_empty() {
        steps.fails("bodies", Flaw::BodyUnnamed, "there are bodies that no manifest names");
    }
    Report {
        conclusion: steps.conclusion(),
        attempt: entry.attempt,
        at: entry.at,
        way: entry.way,
        spiffe_id: entry.spiffe_id,
        verdict: entry.verdict,
        code: entry.code,
        policy: policies.enforced.map(|policy| policy.version().to_string()),
        log,
        steps: steps.0,
        roots,
        explanation,
    }
}

/// The entry, if it is in the tree that the log's key signed for, and is that of an attempt.
fn in_the_record(bundle: &ProofBundle, reader: &Reader<'_>, steps: &mut Steps) -> Option<AttemptEntry> {
    let ProofBundle { entry, inclusion, checkpoint, .. } = bundle;
    let signed = match checkpoint.verify(reader.log) {
        Ok(signed) => signed,
        Err(bad) => {
            steps.fails_by("checkpoint", bad.code(), bad.to_string());
            return None;
        }
    };
    steps.holds("checkpoint", format!("{} has signed for {} entries", signed.origin, signed.size));
    if inclusion.size != signed.size {
        let detail = format!("the proof is of {} entries, the checkpoint of {}", inclusion.size, signed.size);
        steps.fails("inclusion", Flaw::Inclusion, detail);
        return None;
    }
    if let Err(bad) = inclusion.verify(holdfast_record::Hash::leaf(&entry.0), signed.root) {
        steps.fails_by("inclusion", bad.code(), bad.to_string());
        return None;
    }
    steps.holds("inclusion", format!("the entry is number {} of them", inclusion.index));
    match AttemptEntry::parse(&entry.0) {
        Ok(entry) => Some(entry),
        Err(reason) => {
            steps.fails("entry", Flaw::Entry, reason);
            None
        }
    }
}

/// The decision's text, if it is the one that was recorded.
fn decision_is_recorded<'b>(bundle: &'b ProofBundle, entry: &AttemptEntry, steps: &mut Steps) -> Option<&'b str> {
    match &bundle.decision {
        None => steps.gone("decision", "the decision's text is gone by retention"),
        Some(text) if Digest::of(text.as_bytes()) == entry.decision => {
            steps.holds("decision", "the decision's text is the one that was recorded");
            return Some(text);
        }
        Some(_) => {
            steps.fails("decision", Flaw::DecisionDigest, "the decision's text has another SHA-256 than was recorded");
        }
    }
    None
}

fn manifest_of(bundle: &ProofBundle, entry: &AttemptEntry, steps: &mut Steps) -> Option<Manifest> {
    let Some(recorded) = entry.manifest else {
        if bundle.manifest.is_some() {
            steps.fails("manifest", Flaw::ManifestDigest, "the entry names none");
        } else {
            steps.gone("manifest", "the entry is of before manifests were kept");
        }
        return None;
    };
    let Some(bytes) = &bundle.manifest else {
        steps.gone(
            "manifest",
            format!("what the machine was judged by is gone by retention; its manifest was {recorded}"),
        );
        return None;
    };
    if Digest::of(&bytes.0) != recorded {
        steps.fails("manifest", Flaw::ManifestDigest, "the manifest has another SHA-256 than was recorded");
        return None;
    }
    match Manifest::parse(&bytes.0) {
        Ok(manifest)
            if manifest.attempt == entry.attempt
                && manifest.judged_at == entry.at
                && manifest.policy == entry.policy
                && manifest.decision == entry.decision =>
        {
            steps.holds("manifest", "the list of what the machine was judged by is the one that was recorded");
            Some(manifest)
        }
        Ok(_) => {
            steps.fails("manifest", Flaw::Manifest, "the manifest is about something else than the entry");
            None
        }
        Err(malformed) => {
            steps.fails("manifest", Flaw::Manifest, malformed.to_string());
            None
        }
    }
}

/// The policies of a proof, compiled.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) enforced: Option<Policy>,
    pub(crate) observed: Option<Policy>,
}

/// Each policy is one that the entry or the manifest names, and both are there.
fn policies_of(bundle: &ProofBundle, entry: &AttemptEntry, manifest: Option<&Manifest>, steps: &mut Steps) -> Policies {
    let mut found = Policies::default();
    let observed = manifest.and_then(|manifest| manifest.observed);
    for policy in &bundle.policies {
        let compiled = match policy.parse() {
            Ok(compiled) => compiled,
            Err(findings) => {
                let finding = findings.first().map(ToString::to_string).unwrap_or_default();
                steps.fails("policy", Flaw::Policy, format!("{} does not compile: {finding}", policy.policy.name));
                continue;
            }
        };
        let digest = Digest::from_hex(&compiled.version().digest);
        if digest.is_some() && digest == entry.policy && found.enforced.is_none() {
            steps.holds("policy", format!("{} is the policy that was recorded", compiled.version()));
            found.enforced = Some(compiled);
        } else if digest.is_some() && digest == observed && found.observed.is_none() {
            steps.holds("policy", format!("{} is the policy that was observed beside it", compiled.version()));
            found.observed = Some(compiled);
        } else {
            steps.fails("policy", Flaw::Policy, format!("{} is not a policy that was recorded", compiled.version()));
        }
    }
    // Policies are kept for ever: one that is not there was left out.
    if let (Some(policy), None) = (entry.policy, &found.enforced) {
        steps.fails("policy", Flaw::Policy, format!("the policy {policy} that was recorded is not there"));
    }
    // One text may be both.
    if let (Some(policy), None) = (observed.filter(|policy| Some(*policy) != entry.policy), &found.observed) {
        steps.fails("policy", Flaw::Policy, format!("the observed policy {policy} is not there"));
    }
    found
}

/// Whether all is there that the manifest names; nothing else may be.
fn bodies_are_named(bundle: &ProofBundle, manifest: &Manifest, bodies: &Bodies, steps: &mut Steps) -> bool {
    let mut named: BTreeSet<Digest> = manifest.names().into_iter().collect();
    for trust in manifest.trusts() {
        match TrustDocument::read(&trust, bodies) {
            Ok(document) => named.extend(document.names()),
            // It is named and not there, which is said below.
            Err(TrustUnread::Missing(_)) => {}
            Err(TrustUnread::Malformed { reason }) => {
                steps.fails("bodies", Flaw::Body, reason);
                return false;
            }
        }
    }
    let there: BTreeSet<Digest> = bundle.bodies.iter().map(|body| body.sha256).collect();
    let strange = there.difference(&named).count();
    if strange > 0 || there.len() < bundle.bodies.len() {
        steps.fails("bodies", Flaw::BodyUnnamed, "there are bodies that nothing names, or one twice");
        return false;
    }
    let missing: Vec<String> = named.difference(&there).map(ToString::to_string).collect();
    if !missing.is_empty() {
        let listed = missing.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        steps.gone("bodies", format!("{} of {} bodies are gone by retention: {listed}", missing.len(), named.len()));
        return false;
    }
    if steps.0.iter().any(|step| step.what == "bodies" && step.state == State::Fails) {
        return false;
    }
    steps.holds("bodies", format!("{} bodies are those that were recorded", named.len()));
    true
}

/// The roots that the server believed; whether the reader does.
fn roots_of(manifest: &Manifest, bodies: &Bodies, reader: &Reader<'_>, steps: &mut Steps) -> Vec<RootSeen> {
    let all = || {
        let documents = manifest.trusts().into_iter().filter_map(|trust| TrustDocument::read(&trust, bodies).ok());
        documents.flat_map(|document| document.roots).collect::<Vec<_>>()
    };
    // Of evidence that does not verify nobody knows which was meant.
    let of_nothing = || all().into_iter().map(|root| (root, RootGround::Server)).collect();
    let used: BTreeMap<TrustedRoot, RootGround> = retrace::roots_used(manifest, bodies).unwrap_or_else(of_nothing);
    let seen = |(root, ground): (TrustedRoot, RootGround)| {
        let trusted_by_reader = reader.roots.map(|trusted| trusted.contains(&root.sha256));
        RootSeen { root, ground, trusted_by_reader }
    };
    let roots: Vec<RootSeen> = used.into_iter().map(seen).collect();
    for seen in roots.iter().filter(|seen| seen.trusted_by_reader == Some(false)) {
        let detail = format!("{} ({}) is none of the roots that you gave", seen.root.name, seen.root.sha256);
        steps.fails("roots", Flaw::Root, detail);
    }
    let named = |ground| {
        let of = roots.iter().filter(|seen| seen.ground == ground);
        of.map(|seen| seen.root.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let of_the_server = named(RootGround::Server);
    if !of_the_server.is_empty() {
        let detail = "that these roots are those above the machine, as no certificates in the proof lead to them";
        steps.vouched("roots", format!("{detail}: {of_the_server}"));
    }
    let led_to = roots.iter().filter(|seen| seen.ground == RootGround::Certificates).count();
    if reader.roots.is_none() && !roots.is_empty() {
        let names: Vec<&str> = roots.iter().map(|seen| seen.root.name.as_str()).collect();
        steps
            .vouched("roots", format!("that these roots are the vendors' own, as you gave none: {}", names.join(", ")));
    } else if reader.roots.is_some() && led_to > 0 {
        steps.holds("roots", format!("{led_to} roots that certificates lead to are among those that you gave"));
    }
    roots
}

/// What nobody can compute again.
fn vouched(manifest: &Manifest, steps: &mut Steps) {
    if !manifest.trusts().is_empty() {
        steps.vouched(
            "server",
            "that it knew no other revocation lists and no later word of the vendors at that moment",
        );
    }
    for detail in [
        "that the challenge was drawn by the server, at random, and answered once",
        "that it was the moment that the entry says",
        "what the operator's inventory, approvals and records said of the machine",
    ] {
        steps.vouched("server", detail);
    }
}
