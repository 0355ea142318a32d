//! What a TPM offered when it enrolled, verified again: endorsement certificates, the maker's platform certificate and those
//! of its device keys. They must be what the challenge names. That the keys answered is in the evidence.

use std::error::Error;

use holdfast_evidence::tpm::endorsement::{ExpiredIssuers, Roots};
use holdfast_evidence::tpm::ownership::Ownership;
use holdfast_evidence::tpm::{EndorsedOffer, Endorsers, IdentityMaterial, OfferDiffers, TpmExpectation, Unverified};
use holdfast_identity::UnixTime;

use crate::body::Bodies;
use crate::bytes::Digest;
use crate::manifest::Offered;
use crate::replay::Unreplayable;
use crate::trust::TrustDocument;

/// What came of verifying the certificates again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endorsed {
    /// They lead to roots of then, and are those of the challenge.
    Holds {
        /// What of it the machine's maker says.
        maker: Box<Ownership>,
    },
    /// They are others than the challenge names, or do not verify.
    Differs {
        /// Why.
        reason: String,
        /// Whether it is about the platform or device keys.
        of_maker: bool,
    },
}

/// Verifies the certificates again; `expected` is what the challenge says of the TPM.
///
/// # Errors
/// [`Unreplayable`] if a body is missing or does not read.
pub fn endorsed(
    offered: &Offered,
    expected: Option<&TpmExpectation>,
    bodies: &Bodies,
) -> Result<Endorsed, Unreplayable> {
    let Some(expected) = expected else {
        let reason = "a TPM offered keys, and the challenge is for none".to_owned();
        return Ok(Endorsed::Differs { reason, of_maker: false });
    };
    let believed = |document: &Digest| TrustDocument::read(document, bodies)?.roots(bodies);
    let roots = believed(&offered.trust)?;
    // Without them nobody was believed, and what was offered all the same was left aside.
    let platforms = offered.makers.map_or_else(|| Ok(Roots::new()), |makers| believed(&makers.platforms))?;
    let devices = offered.makers.map_or_else(|| Ok(Roots::new()), |makers| believed(&makers.devices))?;
    let material = IdentityMaterial::parse(bodies.need(&offered.material)?)
        .map_err(|error| Unreplayable::Malformed { what: "what the TPM offered", reason: error.to_string() })?;
    let endorsers = Endorsers {
        roots: &roots,
        expired_issuers: ExpiredIssuers::Accepted,
        platforms: &platforms,
        devices: &devices,
    };
    let differs = |reason: &str, of_maker| Ok(Endorsed::Differs { reason: reason.to_owned(), of_maker });
    match EndorsedOffer::verify(&material, endorsers, UnixTime(offered.verified_at)) {
        Ok(offer) => match offer.compare(expected) {
            Ok(()) => Ok(Endorsed::Holds { maker: Box::new(offer.ownership().clone()) }),
            Err(OfferDiffers::AttestationKey) => differs("the challenge is for another attestation key", false),
            Err(OfferDiffers::EndorsementKeys) => {
                differs("the challenge names other endorsement keys, or other roots above them", false)
            }
            Err(OfferDiffers::Ownership) => {
                differs("the challenge names another platform or other device keys, or other roots above them", true)
            }
        },
        Err(refused) => {
            let of_maker = matches!(refused, Unverified::Ownership(_));
            let why = refused.source().map(|source| format!(": {source}")).unwrap_or_default();
            differs(&format!("{refused}{why}"), of_maker)
        }
    }
}
