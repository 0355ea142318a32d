//! Foreign trust domains: shows our own bundle to them, and fetches theirs, each from where an operator says and known to be
//! the right one as he says. Decides nothing about workloads: entries name the trust domains that theirs may meet.

mod current;
mod endpoint;
mod fault;
mod fetch;
mod keeper;
mod settings;
#[cfg(test)]
mod tests;
mod url;
mod verifier;

pub use current::{CurrentFederations, Foreign};
pub use endpoint::{BundleEndpoint, EndpointFault};
pub use fault::FetchFault;
pub use keeper::{Federator, NotRefreshed};
pub use settings::{BundleEndpointSettings, EndpointIdentity, FederationSettings};
pub use url::{BadUrl, EndpointUrl};
