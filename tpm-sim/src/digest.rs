//! The three PCR banks of a simulated machine, and digests in all of them at once.

use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};

/// A PCR bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bank {
    /// SHA-1: present as on real machines, never to be trusted.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl Bank {
    /// Every bank that a machine is manufactured with.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha384];

    /// TPM_ALG_ID.
    pub const fn algorithm(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
        }
    }

    /// Bytes of a digest.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// `sha1`, `sha256`, `sha384`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
        }
    }

    fn ring(self) -> &'static Algorithm {
        match self {
            Self::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
        }
    }

    /// The digest of `parts`, one after the other.
    pub fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = ring::digest::Context::new(self.ring());
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }
}

/// One digest in each bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    sha1: Vec<u8>,
    sha256: Vec<u8>,
    sha384: Vec<u8>,
}

impl Digests {
    /// The digests of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// The digests of `parts`, one after the other.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        Self { sha1: Bank::Sha1.hash(parts), sha256: Bank::Sha256.hash(parts), sha384: Bank::Sha384.hash(parts) }
    }

    /// All zero, as EV_NO_ACTION events carry.
    pub fn zero() -> Self {
        Self { sha1: vec![0; 20], sha256: vec![0; 32], sha384: vec![0; 48] }
    }

    /// All ones, as a kernel extends for a file that changed while it was measured.
    pub fn ones() -> Self {
        Self { sha1: vec![0xff; 20], sha256: vec![0xff; 32], sha384: vec![0xff; 48] }
    }

    /// Flips a bit in each bank.
    pub(crate) fn flip(&mut self) {
        for digest in [&mut self.sha1, &mut self.sha256, &mut self.sha384] {
            if let Some(byte) = digest.last_mut() {
                *byte ^= 1;
            }
        }
    }

    /// The digest in one bank.
    pub fn get(&self, bank: Bank) -> &[u8] {
        match bank {
            Bank::Sha1 => &self.sha1,
            Bank::Sha256 => &self.sha256,
            Bank::Sha384 => &self.sha384,
        }
    }
}

/// SHA-256 as lower-case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}
