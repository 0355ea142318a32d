//! What was withdrawn before its end, and the lists that say so. Signs nothing: lists are drafted here, numbered and
//! recorded, and come back signed.

use super::Held;
use super::entries::EntryNumber;
use super::ledger::Actor;
use super::nodes::NodeNumber;
use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_svid::Grant;
use std::fmt;
use std::sync::Arc;

/// Serials on one list: at 40 bytes each below a megabyte, which four lists may not exceed in one message of gRPC's usual
/// size. Whoever withdraws more of one issuer at a time withdraws the issuer.
pub const LIST_SERIALS_MAX: usize = 20_000;

/// Withdrawn grants of JWT-SVIDs that agents hold: half a megabyte in one message. What there is no room for is withdrawn
/// with everything else that was signed by then.
pub const GRANTS_MAX: usize = 20_000;

/// Withdrawn grants of one node that have not ended: a fifth of the room. A node chooses when it is refused and what its
/// selectors are by what it shows, and each time all that it has is withdrawn. Beyond this it gets no token by a new name
/// until some have ended.
pub const GRANTS_OF_NODE_MAX: u32 = 4_000;

/// Verbs about revocations. Banning, evicting, refusing and deleting withdraw by their own verbs, in their transaction.
pub trait Revocations: Send + Sync {
    /// Numbers the next list of `issuer` and writes into the record that it may be signed now.
    fn draft_revocation_list(&self, issuer: IssuerKeyId, validity: ListValidity, at: UnixTime) -> Held<'_, ListDraft>;
    /// The same for the list of whoever signs our intermediates, where its key is at hand. `None` where a list of it was
    /// imported: then it is somebody else's to give.
    fn draft_upper_list(
        &self,
        issuer: IssuerKeyId,
        validity: ListValidity,
        at: UnixTime,
    ) -> Held<'_, Option<ListDraft>>;
    /// Keeps a list that was signed, and lets go of what ended before it was made. False if a later one is kept already.
    fn keep_revocation_list(&self, list: RevocationList, at: UnixTime) -> Held<'_, bool>;
    /// Keeps a list that was signed elsewhere, by a root say, also in place of one that was drafted by
    /// [`Self::draft_upper_list`]. False if it is not newer than what was imported, or its issuer is a server's of ours.
    fn import_revocation_list(&self, list: RevocationList, at: UnixTime) -> Held<'_, bool>;
    /// The last list of each issuer, in the order of their identifiers.
    fn revocation_lists(&self) -> Held<'_, Vec<RevocationList>>;
    /// What was withdrawn of JWT-SVIDs behind that place, and has not ended.
    fn withdrawn_grants(&self, after: u64, now: UnixTime) -> Held<'_, WithdrawnGrants>;
    /// A node's certificates, its workloads' among them, that have not ended and were not withdrawn; at most 1,000 after
    /// the given place in the record.
    fn live_svids(&self, node: NodeNumber, after: u64, now: UnixTime) -> Held<'_, Vec<LiveSvid>>;
    /// Certificates that have not ended and were not withdrawn, by node, entry and place in the record; at most 1,000 after
    /// the given place.
    fn svids(&self, filter: SvidFilter, after: SvidPlace, limit: u32, now: UnixTime) -> Held<'_, Vec<ShownSvid>>;
    /// Withdraws all of them, and the JWT-SVIDs of whoever they name, in one transaction. A filter that names nothing
    /// withdraws nothing.
    fn revoke_svids(&self, filter: SvidFilter, reason: RevocationReason, by: Actor, at: UnixTime)
    -> Held<'_, Withdrew>;
    /// Withdraws one certificate. `None` if there is no such one that lives.
    fn revoke_svid(
        &self,
        serial: [u8; 16],
        reason: RevocationReason,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Option<LiveSvid>>;
}

/// Who signed: the first 20 bytes of SHA-256 over the SubjectPublicKeyInfo of the signing certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerKeyId(pub [u8; 20]);

impl IssuerKeyId {
    /// Of the certificate's DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn of_spki(spki: &[u8]) -> Self {
        let digest = super::Sha256::of(spki).0;
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// Of a DER certificate that parses.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(Self::of_spki(parsed.public_key().raw))
    }

    /// Reads 40 hexadecimal digits in lower case.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok().filter(|_| !text.contains(|c: char| c.is_ascii_uppercase()))?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for IssuerKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for IssuerKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuerKeyId({self})")
    }
}

/// Why, in RFC 5280's words (5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    /// Not said.
    Unspecified,
    /// Two machines speak as one: somebody else has its keys.
    KeyCompromise,
    /// An intermediate that an operator has revoked.
    CaCompromise,
    /// The entry says something else now.
    Superseded,
    /// The entry or the node is gone.
    CessationOfOperation,
    /// Banned, denied or refused.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The number of `CRLReason`.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// Its name in ASN.1.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    /// By the number of `CRLReason`.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// From when to when a list is the last word, and how long its issuer signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListValidity {
    /// As it stands in the list.
    pub this_update: UnixTime,
    /// When there will be another one at the latest.
    pub next_update: UnixTime,
    /// End of the signing certificate.
    pub issuer_ends: UnixTime,
}

/// A list in all its parts but the signature. Recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDraft {
    /// Whose.
    pub issuer: IssuerKeyId,
    /// Rises with each list of the issuer, over restarts and servers.
    pub number: u64,
    /// When.
    pub validity: ListValidity,
    /// What is withdrawn; those that end last come first.
    pub revoked: Vec<Revoked>,
    /// Those that ended first and have no room on it.
    pub left_out: u64,
}

/// One certificate on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number.
    pub serial: [u8; 16],
    /// Why.
    pub reason: RevocationReason,
    /// Since when.
    pub at: UnixTime,
}

/// Where whoever signed a list stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// It is an intermediate of ours: what nodes and workloads have is on it.
    Intermediate,
    /// It stands above our intermediates, and they are on it. It stays so when nobody signs below it any more: what was
    /// signed there lives on.
    Above,
}

/// A signed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Who signed it.
    pub issuer: IssuerKeyId,
    /// Where that stands. The store knows it of what it keeps.
    pub signer: Signer,
    /// Its number.
    pub number: u64,
    /// When.
    pub validity: ListValidity,
    /// DER of the `CertificateList`.
    pub der: Arc<[u8]>,
}

/// What was given to one node by one entry, and withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithdrawnGrant {
    /// Rises with each.
    pub place: u64,
    /// By what its tokens name it.
    pub grant: Grant,
    /// When the last of its tokens ends.
    pub ends: UnixTime,
    /// Since when it is withdrawn.
    pub at: UnixTime,
}

/// What was withdrawn of JWT-SVIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithdrawnGrants {
    /// In their order, at most [`GRANTS_MAX`].
    pub grants: Vec<WithdrawnGrant>,
    /// When the last of those was withdrawn that have no room among them.
    pub left_out: Option<UnixTime>,
}

/// A certificate that has not ended and was not withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSvid {
    /// Its place in the record.
    pub index: u64,
    /// Who signed it.
    pub issuer: IssuerKeyId,
    /// Its serial number.
    pub serial: [u8; 16],
    /// The node that asked for it.
    pub node: NodeNumber,
    /// The entry it was issued by; `None` for the node's own.
    pub entry: Option<EntryNumber>,
    /// Its end.
    pub not_after: UnixTime,
}

/// Which certificates; what is absent excludes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SvidFilter {
    /// The name in it: a workload's, or a node's own.
    pub spiffe_id: Option<SpiffeId>,
    /// The entry that it was issued by.
    pub entry_id: Option<String>,
    /// The node that asked for it.
    pub node: Option<NodeNumber>,
    /// Its serial number.
    pub serial: Option<[u8; 16]>,
}

impl SvidFilter {
    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was withdrawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withdrew {
    /// Certificates.
    pub svids: u64,
    /// Names of JWT-SVIDs: for each one entry on one node.
    pub grants: u64,
}

/// Where a certificate stands among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SvidPlace {
    /// The node that asked for it.
    pub node: u64,
    /// The entry it was issued by; 0 for the node's own.
    pub entry: u64,
    /// Its place in the record.
    pub index: u64,
}

/// A certificate with the names that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSvid {
    /// The certificate.
    pub svid: LiveSvid,
    /// The name in it.
    pub spiffe_id: String,
    /// The node's name; empty if it has none any more.
    pub node_id: String,
    /// Empty for the node's own.
    pub entry_id: String,
}
