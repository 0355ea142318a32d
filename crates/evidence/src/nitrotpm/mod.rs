//! Evidence of kind `nitrotpm`: attestation documents that an EC2 instance gets through its NitroTPM. Envelope, payload
//! and certificates are those of [`nitro`](crate::nitro).

pub mod checks;
mod claims;
mod error;
mod item;
mod quote;
mod verify;

pub use claims::NitroTpmClaims;
pub use error::Unverified;
pub use item::NitroTpmItem;
pub use quote::{QuoteRefused, UnauthenticatedQuote, quoting_key, read_quote};
pub use verify::{NitroTpmEvidence, NitroTpmWants};

/// What the verifier brings: the same as for enclaves, whose root it is.
pub type NitroTpmEndorsements = crate::nitro::NitroEndorsements;
