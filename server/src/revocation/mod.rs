//! Revocation lists while the server runs: kept fresh, and shown to whoever relies on certificates of ours; and what is
//! withdrawn of JWT-SVIDs, for our own agents.
//!
//! What is on them the store decides; how they are signed is the authority's. Every server of a store shows all lists of
//! it, whoever signed them.

mod completeness;
mod current;
mod files;
mod keeper;
mod listener;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upstream_tests;
mod withdrawn;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use current::CurrentLists;
pub use keeper::ListKeeper;
pub use listener::ListListener;
pub use withdrawn::{CurrentWithdrawn, Withdrawn};

/// How revocation lists are made and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSettings {
    /// Seconds that a list is valid; it is made anew at half of it.
    pub lifetime: i64,
    /// Where lists are served over plain HTTP; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// The URL below which relying parties reach them, as certificates say; `None`: they say nothing.
    pub url: Option<String>,
    /// Lists that others sign: of roots and intermediates above ours.
    pub files: Vec<PathBuf>,
}

impl Default for ListSettings {
    /// Six hours: made anew every three, which is longer than any certificate lives by the usual policies, so that no
    /// outage of the server makes a list expire before what it is about.
    fn default() -> Self {
        Self { lifetime: 6 * 3600, listen: None, url: None, files: Vec::new() }
    }
}
