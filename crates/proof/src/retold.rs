//! The explanation of a decision, made again from the evidence in a proof: by the policy that decided, or by any other.
//! Says nothing of the record: that the evidence is what a log has an entry about is for `check`.

use holdfast_appraisal::decision::Explanation;
use holdfast_appraisal::{Appraiser, Policy};
use holdfast_identity::UnixTime;

use crate::body::Bodies;
use crate::bundle::ProofBundle;
use crate::manifest::Manifest;
use crate::measured_files;
use crate::replay::{ReplayedEvidence, Unreplayable, replay};

/// What `policy` says of the evidence in the proof, verified again at the moment of then, with the operator's records of
/// then. By the policy that decided it is the explanation that was stored with the decision.
///
/// # Errors
/// [`Unreplayable`] if something is gone or does not read. That the evidence is refused is no error.
pub fn retell(bundle: &ProofBundle, policy: &Policy) -> Result<Explanation, Unreplayable> {
    let malformed = |what, reason: String| Unreplayable::Malformed { what, reason };
    let bytes = bundle.manifest.as_ref();
    let bytes = bytes.ok_or_else(|| malformed("the manifest", "it is gone by retention".to_owned()))?;
    let manifest = Manifest::parse(&bytes.0).map_err(|error| malformed("the manifest", error.to_string()))?;
    let mut bodies = Bodies::default();
    for body in &bundle.bodies {
        bodies.add(body.content.0.clone());
    }
    let then = UnixTime(manifest.judged_at);
    let replayed = replay(&manifest, &bodies)?;
    let facts = replayed.challenge;
    let evidence = match &replayed.items {
        Ok(evidence) => evidence,
        Err(refused) => return Ok(Explanation::of_unverified(&facts.kinds, refused.code, &refused.errors, then)),
    };
    let list = measured_files::List::of(&manifest, evidence, &bodies)?;
    let items: Vec<_> = evidence.iter().map(ReplayedEvidence::item).collect();
    let seen = list.as_ref().and_then(|list| list.seen(policy));
    let appraiser = Appraiser::new(facts.trust_domain);
    Ok(appraiser.retrace(policy, &items, seen.as_ref(), &manifest.ownership.ownership(), then).1)
}
