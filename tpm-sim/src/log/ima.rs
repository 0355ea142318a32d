//! The simulator's own encoder of the list that a kernel's IMA keeps, template `ima-ng` with SHA-256 file digests; and
//! what is extended for each entry. Shares no code with the verifier.

use crate::digest::{Bank, Digests};

/// One entry: its bytes in the list, and what PCR 10 is extended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredEntry {
    /// As the list has it.
    pub bytes: Vec<u8>,
    /// By bank, as kernels from 5.8 do.
    pub digests: Digests,
}

/// The name of the first entry.
pub const BOOT_AGGREGATE: &str = "boot_aggregate";

impl MeasuredEntry {
    /// A file (or `boot_aggregate`) of this digest.
    pub fn file(path: &str, sha256: &[u8]) -> Self {
        let data = data(path, sha256);
        let digests = Digests::of(&data);
        Self { bytes: encode(digests.get(Bank::Sha1), &data), digests }
    }

    /// A file that changed while it was measured: zeros in the list, ones in the TPM.
    pub fn violation(path: &str) -> Self {
        Self { bytes: encode(&[0; 20], &data(path, &[0; 32])), digests: Digests::ones() }
    }
}

fn data(path: &str, sha256: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    field(&mut data, &[b"sha256:\0", sha256].concat());
    // The kernel writes what could break its text list as an underscore.
    let path: String = path.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect();
    field(&mut data, &[path.as_bytes(), b"\0"].concat());
    data
}

fn encode(column: &[u8], data: &[u8]) -> Vec<u8> {
    let mut entry = 10_u32.to_le_bytes().to_vec();
    entry.extend_from_slice(column);
    field(&mut entry, b"ima-ng");
    field(&mut entry, data);
    entry
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    #[expect(clippy::cast_possible_truncation, reason = "paths and digests")]
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}
