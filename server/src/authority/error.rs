//! What goes wrong in the authority. Every one of these is a fault of ours or of our files, never of a peer.

use std::path::PathBuf;

use super::KeyId;
use super::chain::ChainFault;

/// A fault of the signing authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityFault {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A key file that others than its owner and group may open.
    #[error("{} has mode {found:04o}, expected 0600 (or 0640)", path.display())]
    KeyFileMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
    },
    /// A file that should hold a key, a certificate or a bundle and does not.
    #[error("{} does not hold {expected}: {found}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What should stand in it.
        expected: &'static str,
        /// What is wrong with it.
        found: String,
    },
    /// `init` without the root key of a trust domain that exists already.
    #[error(
        "{} is initialised already and there is no root key at {}: nothing was changed; give the root key's path to renew the intermediate",
        data_dir.display(),
        root_key.display()
    )]
    AlreadyInitialised {
        /// The server's data directory.
        data_dir: PathBuf,
        /// Where the root key was looked for.
        root_key: PathBuf,
    },
    /// The root key file belongs to another trust domain or another root.
    #[error("root key belongs to {found}, expected {expected}")]
    OtherRoot {
        /// The trust domain or root that the server has.
        expected: String,
        /// The one in the key file.
        found: String,
    },
    /// The server was never initialised.
    #[error("no intermediate at {}: run \"holdfast-server init\" first", path.display())]
    NotInitialised {
        /// Where it should be.
        path: PathBuf,
    },
    /// The intermediate has run out, or nearly so.
    #[error(
        "the intermediate certificate ends at {not_after}, run \"holdfast-server init\" with the root key to renew it"
    )]
    IntermediateExpired {
        /// Seconds since the epoch.
        not_after: i64,
    },
    /// There is no time left to certify: the evidence or the authority ends before an SVID could begin.
    #[error("no lifetime left: the SVID would end at {not_after}, it is {now}")]
    NoLifetime {
        /// Seconds since the epoch.
        not_after: i64,
        /// Seconds since the epoch.
        now: i64,
    },
    /// A public key of a kind that we do not certify.
    #[error("public key cannot be certified: expected P-256, P-384, Ed25519 or RSA")]
    UnsupportedKey,
    /// A DNS name that cannot stand in a certificate.
    #[error("DNS name {found:?} cannot stand in a certificate")]
    DnsName {
        /// The name.
        found: String,
    },
    /// The record's token belongs to another SVID than the one to be signed.
    #[error("the record's entry is about another SVID than the one to be signed")]
    OtherRecord,
    /// The store did not record what was to be signed.
    #[error("the store did not record the SVID")]
    NotRecorded,
    /// No key signs JWT-SVIDs at this moment.
    #[error("no key signs JWT-SVIDs at this moment")]
    NoTokenKey,
    /// The intermediate, or what it leads to, may not stand where it stands.
    #[error("{}: {source}", path.display())]
    Chain {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ChainFault,
    },
    /// The intermediate in the file is not the one that this server signs with.
    #[error(
        "{}: intermediate {key_id} is {found}, and signs no more; run \"holdfast-server init\" for another",
        path.display()
    )]
    NotActive {
        /// The file.
        path: PathBuf,
        /// Its name.
        key_id: KeyId,
        /// What it is.
        found: &'static str,
    },
    /// The intermediate counts no more: it was revoked, or stands on a list of whoever signed it.
    #[error("intermediate {key_id} is revoked and signs no more; run \"holdfast-server init\" for another")]
    Revoked {
        /// Its name.
        key_id: KeyId,
    },
    /// The upstream authority has a root that agents have not heard of.
    #[error(
        "the upstream authority signs under root {found}, which is not in the bundle of {trust_domain}: start the server, \
         it publishes the root before it signs anything under it"
    )]
    UnpublishedRoot {
        /// The trust domain.
        trust_domain: String,
        /// The root's key identifier.
        found: String,
    },
    /// The cryptographic library refused to generate or to sign.
    #[error("the cryptographic library failed to {action}")]
    Crypto {
        /// What was tried, as a verb.
        action: &'static str,
    },
}

impl AuthorityFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "authority.file",
            Self::KeyFileMode { .. } => "authority.key_file_mode",
            Self::Content { .. } => "authority.content",
            Self::AlreadyInitialised { .. } => "authority.already_initialised",
            Self::OtherRoot { .. } => "authority.other_root",
            Self::NotInitialised { .. } => "authority.not_initialised",
            Self::IntermediateExpired { .. } => "authority.intermediate_expired",
            Self::NoLifetime { .. } => "authority.no_lifetime",
            Self::UnsupportedKey => "authority.unsupported_key",
            Self::DnsName { .. } => "authority.dns_name",
            Self::OtherRecord => "authority.other_record",
            Self::NotRecorded => "authority.not_recorded",
            Self::NoTokenKey => "authority.no_token_key",
            Self::Chain { source, .. } => source.code(),
            Self::NotActive { .. } => "authority.not_active",
            Self::Revoked { .. } => "authority.revoked",
            Self::UnpublishedRoot { .. } => "authority.unpublished_root",
            Self::Crypto { .. } => "authority.crypto",
        }
    }
}
