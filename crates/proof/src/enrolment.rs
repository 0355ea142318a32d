//! The endorsement certificates that a TPM offered when it enrolled, verified again: they must be those that the
//! challenge names.

use holdfast_evidence::tpm::endorsement::{ExpiredIssuers, Roots};
use holdfast_evidence::tpm::{EkIdentity, Endorsers, IdentityMaterial, verify_endorsement_key};
use holdfast_identity::UnixTime;

use crate::body::Bodies;
use crate::manifest::Offered;
use crate::replay::Unreplayable;
use crate::trust::TrustDocument;

/// What came of verifying the certificates again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endorsed {
    /// They lead to roots of then, and are those of the challenge.
    Holds,
    /// They are others than the challenge names, or do not verify.
    Differs {
        /// Why.
        reason: String,
    },
}

/// Verifies the certificates again; `named` are the keys as the challenge has them, in order.
///
/// # Errors
/// [`Unreplayable`] if a body is missing or does not read.
pub fn endorsed(offered: &Offered, named: &[EkIdentity], bodies: &Bodies) -> Result<Endorsed, Unreplayable> {
    let roots = TrustDocument::read(&offered.trust, bodies)?.roots(bodies)?;
    let material = IdentityMaterial::parse(bodies.need(&offered.material)?)
        .map_err(|error| Unreplayable::Malformed { what: "what the TPM offered", reason: error.to_string() })?;
    // Only the endorsement certificates are verified again: what the maker said of the machine is taken as the challenge has it.
    let none = Roots::new();
    let endorsers =
        Endorsers { roots: &roots, expired_issuers: ExpiredIssuers::Accepted, platforms: &none, devices: &none };
    let mut found = Vec::with_capacity(material.endorsement.len());
    for offer in &material.endorsement {
        match verify_endorsement_key(offer, endorsers, UnixTime(offered.verified_at)) {
            Ok((identity, _)) => found.push(identity),
            Err(refused) => return Ok(Endorsed::Differs { reason: refused.to_string() }),
        }
    }
    if found != named {
        let reason = "the challenge names other endorsement keys, or other roots above them".to_owned();
        return Ok(Endorsed::Differs { reason });
    }
    Ok(Endorsed::Holds)
}
