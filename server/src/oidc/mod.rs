//! OpenID Connect discovery: JWT-SVIDs for programs that know no SPIFFE. Publishes who issues them and by which keys they
//! are verified, apart from the SPIFFE bundle; where rules say so, answers for token exchange at the same place.

mod documents;
mod issuer;
mod site;
#[cfg(test)]
mod tests;

pub use documents::{DISCOVERY_PATH, KEYS_PATH};
pub use issuer::{BadIssuer, Issuer};
pub use site::{OidcSite, Published};

use crate::web::Site;

/// What the configuration says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSettings {
    /// Who issues: the claim `iss` of every JWT-SVID.
    pub issuer: Issuer,
    /// Where the keys are, if not below the issuer.
    pub jwks_uri: Option<String>,
    /// Where it is served.
    pub site: Site,
}
