//! Identity documents in JSON: bundles of trust domains, JWT-SVIDs, the keys that verify them, and tokens of other issuers.
//!
//! Pure: keys, tokens and the time come in as arguments. Fetches no keys, keeps no tokens, and holds no private key: what
//! is to be signed is prepared here and signed by whoever holds the key, after writing down that it will.
//!
//! ```text
//! text ─▶ jws::Compact ─┬─▶ jwt::Unverified ──(keys of the subject's domain)──▶ jwt::JwtSvid
//!                       └─▶ foreign::Unverified ──(the issuer's keys)─────────▶ foreign::Claims
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests draw keys"))]

pub mod audience;
pub mod bundle;
pub mod foreign;
pub mod grant;
pub mod jwk;
pub mod jws;
pub mod jwt;
mod refused;
mod time;

pub use grant::Grant;
pub use jws::Algorithm;
pub use time::{LEEWAY_SECONDS_MAX, Leeway};
