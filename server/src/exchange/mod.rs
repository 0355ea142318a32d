//! Token exchange (RFC 8693): the token of a CI system, a cloud or a cluster becomes a short-lived JWT-SVID, under a rule
//! that pins issuer, audience, subject and claims. Recorded before it is signed; a token is exchanged as often as its rule
//! says.
//!
//! ```text
//! form ─▶ issuer ─▶ keys ─▶ Unverified::verify ─▶ rule ─▶ draft ─▶ record ─▶ sign
//! ```

mod answer;
mod desk;
mod form;
mod issuers;
mod pattern;
mod refused;
mod rule;
mod seen;
#[cfg(test)]
mod tests;

pub use desk::{Exchange, ExchangeSettings, TOKEN_LIFETIME_MAX};
pub use form::Form;
pub use issuers::{IssuerSettings, KeySource};
pub use pattern::{BadPattern, Pattern};
pub use refused::{Refused, Told};
pub use rule::{Claim, Differs, RULE_CLAIMS_MAX, Rule};
pub use seen::{SEEN_MAX, Seen};
