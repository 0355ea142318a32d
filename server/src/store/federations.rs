//! Foreign trust domains: where the bundle of each comes from, and the bundle as it came. Each stands for itself; nothing
//! here is ever part of our own bundle.

use super::Held;
use super::ledger::Actor;
use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};
use std::collections::BTreeMap;
use std::fmt;

/// Foreign trust domains in all.
pub const FEDERATIONS_MAX: u64 = 1000;
/// Foreign trust domains that one entry may name.
pub const ENTRY_FEDERATIONS_MAX: usize = 32;
/// Characters of an error that is kept.
pub const FEDERATION_ERROR_MAX: usize = 512;

/// Verbs about foreign trust domains. Documents were parsed by whoever hands them in.
pub trait Federations: Send + Sync {
    /// Begins to federate: where the bundle comes from, and perhaps the first one. Due at once.
    fn create_federation(
        &self,
        draft: FederationDraft,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Federation, FederationRefusal>>;
    /// Puts another endpoint in place of the one there is, and the bundle if there is one in the draft. Due at once.
    fn update_federation(
        &self,
        draft: FederationDraft,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Federation, FederationRefusal>>;
    /// Forgets a trust domain with its bundle, and returns what it was.
    fn delete_federation(
        &self,
        trust_domain: TrustDomain,
        named: Named,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Federation, FederationRefusal>>;
    /// Puts in place bundles that an operator brings, whatever was there, all of them or none; a trust domain that nobody
    /// knew is known then.
    fn set_federated_bundles(
        &self,
        bundles: BTreeMap<TrustDomain, BundleDocument>,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Vec<Federation>, FederationRefusal>>;
    /// Keeps what was fetched from `endpoint`, if that is still where the bundle comes from. The same again is no change.
    fn keep_federated_bundle(
        &self,
        trust_domain: TrustDomain,
        endpoint: Endpoint,
        bundle: BundleDocument,
        next_refresh: UnixTime,
        at: UnixTime,
    ) -> Held<'_, Kept>;
    /// Remembers that nothing came from `endpoint`. The bundle stays. Recorded once, until something comes again.
    fn fail_federation(
        &self,
        trust_domain: TrustDomain,
        endpoint: Endpoint,
        failure: FetchFailure,
        next_refresh: UnixTime,
        at: UnixTime,
    ) -> Held<'_, ()>;
    /// One of them.
    fn federation(&self, trust_domain: TrustDomain) -> Held<'_, Option<Federation>>;
    /// All of them, by name.
    fn federations(&self) -> Held<'_, Vec<Federation>>;
}

/// A foreign trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    /// Its name.
    pub trust_domain: TrustDomain,
    /// Where its bundle comes from; `None` where an operator brings it.
    pub endpoint: Option<Endpoint>,
    /// Its bundle, once there is one.
    pub bundle: Option<BundleDocument>,
    /// When that came, or was last found to be the newest.
    pub bundle_at: Option<UnixTime>,
    /// Since when it is known.
    pub created_at: UnixTime,
    /// When the endpoint last answered as it should.
    pub last_success: Option<UnixTime>,
    /// When it last did not.
    pub last_failure: Option<UnixTime>,
    /// Code and words of that; empty since it answered again.
    pub last_error: String,
    /// How often in a row it did not.
    pub failures: u64,
    /// When it is asked again.
    pub next_refresh: UnixTime,
}

/// Where the bundle of a foreign trust domain is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://…`, checked by whoever made it.
    pub url: String,
    /// By what it is known to be the right one.
    pub profile: EndpointProfile,
}

/// By what an endpoint is known to be the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointProfile {
    /// By a certificate of public TLS for the URL's host.
    HttpsWeb,
    /// By an SVID with exactly this ID.
    HttpsSpiffe(SpiffeId),
}

impl EndpointProfile {
    /// As the standard and commands name it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::HttpsWeb => "https_web",
            Self::HttpsSpiffe(_) => "https_spiffe",
        }
    }

    /// The ID that the endpoint must show.
    #[must_use]
    pub const fn endpoint_spiffe_id(&self) -> Option<&SpiffeId> {
        match self {
            Self::HttpsWeb => None,
            Self::HttpsSpiffe(id) => Some(id),
        }
    }
}

/// A bundle as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct BundleDocument {
    /// The document's bytes.
    pub bytes: Vec<u8>,
    /// `spiffe_sequence` in it.
    pub sequence: Option<u64>,
}

impl fmt::Debug for BundleDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleDocument({} bytes, sequence {:?})", self.bytes.len(), self.sequence)
    }
}

/// What an operator writes of a trust domain to federate with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationDraft {
    /// Its name.
    pub trust_domain: TrustDomain,
    /// Where its bundle comes from.
    pub endpoint: Endpoint,
    /// The bundle to begin with.
    pub bundle: Option<BundleDocument>,
}

/// What becomes of entries that name a trust domain which is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Nothing is forgotten while there are any.
    Restrict,
    /// They name it no longer.
    Dissociate,
}

/// Why nothing came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchFailure {
    /// Stable code; goes into the record.
    pub code: &'static str,
    /// Words for the operator; what a stranger said may stand in them.
    pub words: String,
}

/// What became of a bundle that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is another one, and in force.
    Changed,
    /// It is the one there was.
    Same,
    /// Its sequence is lower than that of the one there is, which stays.
    Older,
    /// It is not wanted any more: the trust domain is gone, or its bundle comes from elsewhere now.
    Unwanted,
}

/// Why something about a foreign trust domain was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FederationRefusal {
    /// Nobody has told us of it.
    #[error("no federation with {0}: `federation create` or `bundle set` makes one")]
    Unknown(TrustDomain),
    /// There is one with an endpoint already.
    #[error("there is a federation with {0} already: `federation update` changes it")]
    Exists(TrustDomain),
    /// It has no endpoint to ask.
    #[error("the bundle of {0} is brought by hand: it has no endpoint")]
    NoEndpoint(TrustDomain),
    /// It is our own.
    #[error("{0} is this server's own trust domain")]
    Own(TrustDomain),
    /// Its bundle would come again.
    #[error("the bundle of {0} comes from an endpoint: `federation delete` ends that")]
    HasEndpoint(TrustDomain),
    /// Entries name it.
    #[error("{entries} entries federate with {trust_domain}: change them first, or use --mode dissociate")]
    Named {
        /// The trust domain.
        trust_domain: TrustDomain,
        /// How many.
        entries: u64,
    },
    /// There are as many as there may be.
    #[error("there are {FEDERATIONS_MAX} federations, the limit")]
    Full,
}

impl FederationRefusal {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "federation.unknown",
            Self::Exists(_) => "federation.exists",
            Self::NoEndpoint(_) => "federation.no_endpoint",
            Self::Own(_) => "federation.own_domain",
            Self::HasEndpoint(_) => "federation.has_endpoint",
            Self::Named { .. } => "federation.named_by_entries",
            Self::Full => "federation.limit",
        }
    }
}
