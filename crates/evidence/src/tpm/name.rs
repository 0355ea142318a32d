//! Names and Qualified Names of TPM objects. Trusts neither: a Name is only as good as what used it.

use std::fmt;

use crate::crypto::{Digest, HashAlg};
use crate::error::{Malformed, Structure};
use crate::reader::Reader;

/// Bytes of the longest Name: two for the hash, 64 of SHA-512.
pub const NAME_BYTES_MAX: usize = 66;
/// `TPM_RH_OWNER`.
const TPM_RH_OWNER: [u8; 4] = [0x40, 0, 0, 0x01];
/// `TPM_RH_ENDORSEMENT`.
const TPM_RH_ENDORSEMENT: [u8; 4] = [0x40, 0, 0, 0x0b];

/// A hierarchy in which a key can be a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// `TPM_RH_OWNER`.
    Owner,
    /// `TPM_RH_ENDORSEMENT`.
    Endorsement,
}

impl Hierarchy {
    /// Its handle, which is its Name.
    #[must_use]
    pub const fn handle(self) -> [u8; 4] {
        match self {
            Self::Owner => TPM_RH_OWNER,
            Self::Endorsement => TPM_RH_ENDORSEMENT,
        }
    }
}

/// `nameAlg ‖ digest`, 34, 50 or 66 bytes: a Name or a Qualified Name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    alg: HashAlg,
    digest: Digest,
}

impl Name {
    /// The Name that `alg` gives to the parts in order.
    #[must_use]
    pub fn of(alg: HashAlg, parts: &[&[u8]]) -> Self {
        Self { alg, digest: alg.digest(parts) }
    }

    /// Reads a Name, exactly.
    ///
    /// # Errors
    /// [`Malformed`] for a handle, another hash, another length.
    pub fn parse(structure: Structure, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(structure, bytes);
        let id = reader.u16("name.nameAlg")?;
        let alg = HashAlg::from_id(id).ok_or(reader.value("name.nameAlg", id.into()))?;
        let digest = reader.take(alg.size(), "name.digest")?;
        reader.finish()?;
        Ok(Self { alg, digest: Digest::copied(digest) })
    }

    /// The Qualified Name of a primary with this Name in `hierarchy`: `nameAlg ‖ H(handle ‖ Name)`.
    #[must_use]
    pub fn qualified_in(&self, hierarchy: Hierarchy) -> Self {
        self.qualified_under_bytes(&hierarchy.handle())
    }

    /// The Qualified Name of an object with this Name under a parent with Qualified Name `parent`.
    #[must_use]
    pub fn qualified_under(&self, parent: &Self) -> Self {
        self.qualified_under_bytes(&parent.to_vec())
    }

    fn qualified_under_bytes(&self, parent: &[u8]) -> Self {
        Self::of(self.alg, &[parent, &self.alg.id().to_be_bytes(), self.digest.as_bytes()])
    }

    /// Its hash.
    #[must_use]
    pub const fn alg(&self) -> HashAlg {
        self.alg
    }

    /// Its bytes: the hash's identifier and the digest.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        [&self.alg.id().to_be_bytes()[..], self.digest.as_bytes()].concat()
    }

    /// Whether these are its bytes.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes
            .split_first_chunk()
            .is_some_and(|(id, digest)| *id == self.alg.id().to_be_bytes() && digest == self.digest.as_bytes())
    }
}

/// Lower-case hex of all bytes: `000b…`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}{}", self.alg.id(), self.digest)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}
