//! The trust domain's signing authority: an offline root, this server's intermediate, and the issuer of SVIDs.
//!
//! Knows no evidence and no network. It signs only what the store has recorded: [`Issuer::sign`] consumes a value that
//! only the store makes, and compares it with the draft.

mod bundle;
pub mod chain;
mod current;
mod draft;
mod error;
mod exchanged;
mod files;
mod init;
mod init_upstream;
mod issuer;
mod key_id;
pub mod life;
mod opening;
mod own;
mod profile;
mod request;
mod revocation_list;
mod rotation;
mod rotation_fault;
#[cfg(test)]
mod rotation_tests;
mod taint;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token_key;
mod tokens;
#[cfg(test)]
mod tokens_tests;
mod upper_list;
pub mod upstream;

pub(crate) use bundle::pem;
pub use bundle::{Bundle, InvalidBundle};
pub use current::{Authority, CurrentBundle, OpeningFault};
pub use draft::{Draft, Lifetime};
pub use error::AuthorityFault;
pub use exchanged::ExchangedDraft;
pub use files::{AuthorityFiles, read_secret, replace_public, write_new_secret};
pub use init::{InitOptions, InitReport, init};
pub use init_upstream::{UpstreamInit, UpstreamInitFault, UpstreamReport, init_upstream};
pub(crate) use issuer::end_of;
pub use issuer::{IssuedSvid, Issuer, SERVER_PATH};
pub use key_id::KeyId;
pub use own::{OWN_CERTIFICATE_TTL_SECONDS, OwnCertificate, OwnKey};
pub use revocation_list::{InvalidList, publish, read_list};
pub use rotation::Rotation;
pub use rotation_fault::RotationFault;
pub use token_key::{IssuedToken, TokenDraft, TokenKey};
pub use tokens::{ActFault, TokenAuthority, TokenSettings};
pub use upstream::{Upstream, UpstreamFault, UpstreamSettings};
