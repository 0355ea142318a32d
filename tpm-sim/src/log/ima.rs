//! The simulator's own encoder of the list that a kernel's IMA keeps, templates `ima-ng` and `ima-sig` with SHA-256 file
//! digests; and what is extended for each entry. Shares no code with the verifier.

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
        Self::of("ima-ng", &data(path, sha256))
    }

    /// A file with its signature, or without one where it is empty, as kernels write it under `ima_template=ima-sig`.
    pub fn signed_file(path: &str, sha256: &[u8], signature: &[u8]) -> Self {
        let mut data = data(path, sha256);
        field(&mut data, signature);
        Self::of("ima-sig", &data)
    }

    fn of(template: &str, data: &[u8]) -> Self {
        let digests = Digests::of(data);
        Self { bytes: encode(template, digests.get(Bank::Sha1), data), digests }
    }

    /// A file that changed while it was measured: zeros in the list, ones in the TPM.
    pub fn violation(path: &str) -> Self {
        Self { bytes: encode("ima-ng", &[0; 20], &data(path, &[0; 32])), digests: Digests::ones() }
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

fn encode(template: &str, column: &[u8], data: &[u8]) -> Vec<u8> {
    let mut entry = 10_u32.to_le_bytes().to_vec();
    entry.extend_from_slice(column);
    field(&mut entry, template.as_bytes());
    field(&mut entry, data);
    entry
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    #[expect(clippy::cast_possible_truncation, reason = "paths and digests")]
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}
