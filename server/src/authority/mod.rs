//! The trust domain's signing authority: an offline root, this server's intermediate, and the issuer of SVIDs.
//!
//! Knows no evidence and no network. It signs only what the store has recorded: [`Issuer::sign`] consumes a value that
//! only the store makes, and compares it with the draft.

mod bundle;
mod current;
mod draft;
mod error;
mod exchanged;
mod files;
mod init;
mod issuer;
pub mod life;
mod own;
mod profile;
mod revocation_list;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token_key;
mod tokens;
#[cfg(test)]
mod tokens_tests;

pub(crate) use bundle::pem;
pub use bundle::{Bundle, InvalidBundle};
pub use current::{Authority, CurrentBundle, OpeningFault};
pub use draft::{Draft, Lifetime};
pub use error::AuthorityFault;
pub use exchanged::ExchangedDraft;
pub use files::{AuthorityFiles, read_secret, replace_public, write_new_secret};
pub use init::{InitOptions, InitReport, init};
pub use issuer::{IssuedSvid, Issuer, SERVER_PATH};
pub use own::{OWN_CERTIFICATE_TTL_SECONDS, OwnCertificate, OwnKey};
pub use revocation_list::{InvalidList, publish, read_list};
pub use token_key::{IssuedToken, TokenDraft, TokenKey};
pub use tokens::{ActFault, TokenAuthority, TokenSettings};
