//! Evidence of kind `tpm`: TPM 2.0 structures, credential activation, quotes, certified keys, firmware event logs.

mod ak;
mod ask;
mod attest;
mod attributes;
mod boot_quote;
pub mod checks;
mod claims;
pub mod clock;
mod credential;
mod ek;
mod ek_template;
pub mod endorsement;
mod error;
pub mod event_log;
mod expectation;
pub mod ima;
mod invitation;
mod item;
mod material;
mod name;
mod offer;
pub mod ownership;
mod pcr;
mod public;
mod replayed;
pub mod secure_boot;
mod signature;
mod verify;

pub use ak::{AkParent, AttestationKey, check_node_key};
pub use ask::Ask;
pub use attest::{
    ATTEST_BYTES_MAX, Attest, Body, CertifyInfo, QuoteInfo, TPM_GENERATED, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE,
};
pub use attributes::Attributes;
pub use boot_quote::{KeyPlace, QuoteAsked, QuotedBoot, SignedQuote};
pub use claims::TpmClaims;
pub use clock::{ClockInfo, Progress};
pub use credential::{
    ACTIVATION_SECRET_BYTES, Credential, ENCRYPTED_SECRET_BYTES_MAX, ID_OBJECT_BYTES_MAX, make_credential,
};
pub use ek::{EK_TEXT_BYTES_MAX, EKS_MAX, EkIdentity};
pub use ek_template::check_endorsement_key;
pub use error::{Divergence, Statement, Uninvited, Unverified};
pub use expectation::{KnownTpm, NodeKeyProof, TpmExpectation};
pub use invitation::{Endorsers, Invitation, Wanted};
pub(crate) use item::read_claims;
pub use item::{CertifiedKey, FirmwareLog, Signed, TpmItem};
pub use material::{CHAIN_MAX, IdentityMaterial, OfferedEk};
pub use name::{Hierarchy, NAME_BYTES_MAX, Name};
pub use offer::{EndorsedOffer, OfferDiffers};
pub use pcr::{Bank, PCR_COUNT, PcrIndex, PcrSelection, PcrSet, PcrValues};
pub use public::{PUBLIC_BYTES_MAX, Public, Scheme};
pub use replayed::{KnownLog, ReplayedLog};
pub use signature::{SIGNATURE_BYTES_MAX, Signature};
pub use verify::{TpmEndorsements, TpmEvidence, TpmWants};
