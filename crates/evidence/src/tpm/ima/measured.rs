//! What an entry says was measured, by the exact form of its template. Data that does not fit its template to the last
//! byte says nothing: the template's name is in no digest, so that a liar may write another. `ima-sig` and `ima-buf` have
//! the same fields, so that what could be both says nothing either.

use super::aggregate::BOOT_AGGREGATE;
use super::attribute;
use super::entry::{Entry, SHA1_BYTES, Template, sized};
use crate::crypto::HashAlg;
use crate::error::{Malformed, Structure};
use crate::reader::Reader;

/// Longest path of a file in bytes, with its zero: the kernel's `PATH_MAX` and what it may append to a deleted file's.
const NAME_BYTES_MAX: usize = 4_096 + 256;
/// Longest name of what a digest is of, with its colon.
const TYPE_BYTES_MAX: usize = 8;
/// Longest algorithm name with colon and zero.
const ALGORITHM_BYTES_MAX: usize = 64;
/// Longest digest of any algorithm.
const DIGEST_BYTES_MAX: usize = 64;

/// What one entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured<'a> {
    /// A file.
    File {
        /// Digest of its content.
        digest: FileDigest<'a>,
        /// Its path, without the closing zero. Spaces and control characters are `_`; in a container it is the path there.
        path: &'a [u8],
        /// Its `security.ima` signature; empty if it has none.
        signature: &'a [u8],
        /// Of what the digest is.
        of: DigestOf,
    },
    /// A buffer of the kernel.
    Buffer {
        /// Digest of the buffer.
        digest: FileDigest<'a>,
        /// What it is: a keyring, `kexec-cmdline`, `dm_table_load`.
        name: &'a [u8],
        /// The buffer itself.
        content: &'a [u8],
    },
    /// Of a template that we do not know, or not in the form of the one it names.
    Nothing,
}

/// Of what a file's digest was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestOf {
    /// Of its content.
    Content,
    /// By fs-verity, of a tree over its content.
    Verity,
    /// The template has no word for it: mostly of its content.
    Unsaid,
}

/// A digest with the algorithm that it is said to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileDigest<'a> {
    /// Of an algorithm that we accept, with its size.
    Strong(HashAlg, &'a [u8]),
    /// SHA-1, MD5 or one that we do not know: it proves no content.
    Weak(&'a [u8]),
}

impl<'a> FileDigest<'a> {
    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Strong(_, bytes) | Self::Weak(bytes) => bytes,
        }
    }
}

impl<'a> Measured<'a> {
    /// What the entry's data says.
    #[must_use]
    pub fn of(entry: &Entry<'a>) -> Self {
        let read = match entry.template {
            Template::Ima => old(entry),
            Template::Ng | Template::Sig | Template::Buf | Template::NgV2 | Template::SigV2 => fields(entry).ok(),
            Template::Other => None,
        };
        read.unwrap_or(Self::Nothing)
    }

    /// Whether it is the entry that ties the list to the boot, by its name: a file without a signature.
    #[must_use]
    pub const fn is_boot_aggregate(&self) -> bool {
        matches!(self, Self::File { path: BOOT_AGGREGATE, signature: [], .. })
    }

    /// Path or name; empty where there is none.
    #[must_use]
    pub const fn name(&self) -> &'a [u8] {
        match self {
            Self::File { path, .. } => path,
            Self::Buffer { name, .. } => name,
            Self::Nothing => b"",
        }
    }
}

fn old<'a>(entry: &Entry<'a>) -> Option<Measured<'a>> {
    let (digest, path) = entry.old_parts()?;
    // A zero inside would hash like the padding behind a shorter name.
    let whole = digest.len() == SHA1_BYTES && !path.contains(&0);
    whole.then_some(Measured::File { digest: FileDigest::Weak(digest), path, signature: b"", of: DigestOf::Unsaid })
}

fn fields<'a>(entry: &Entry<'a>) -> Result<Measured<'a>, Malformed> {
    let mut reader = Reader::new(Structure::ImaLog, entry.data);
    let digest = sized(&mut reader, TYPE_BYTES_MAX + ALGORITHM_BYTES_MAX + DIGEST_BYTES_MAX, "d-ng")?;
    let (of, digest) = match entry.template {
        Template::NgV2 | Template::SigV2 => typed(digest).ok_or(reader.value("d-ngv2", 0))?,
        Template::Ima | Template::Ng | Template::Sig | Template::Buf | Template::Other => (DigestOf::Unsaid, digest),
    };
    let digest = file_digest(digest).ok_or(reader.value("d-ng", 0))?;
    let name = sized(&mut reader, NAME_BYTES_MAX, "n-ng")?;
    let name = match name.split_last() {
        Some((0, name)) if !name.contains(&0) => name,
        _ => return Err(reader.value("n-ng", 0)),
    };
    let measured = match entry.template {
        Template::Sig | Template::SigV2 => {
            let signature = rest(&mut reader, "sig")?;
            // A buffer has a name without a slash, and its content where a file has its signature. The kernel writes
            // nothing there that is no signature, and names a file without a slash only where it has no path.
            let is_of_a_file = name.starts_with(b"/") && attribute::is_of_a_file(signature);
            if !signature.is_empty() && !is_of_a_file {
                return Err(reader.value("sig", 0));
            }
            Measured::File { digest, path: name, signature, of }
        }
        Template::Buf => {
            let content = rest(&mut reader, "buf")?;
            if content.is_empty() || name.starts_with(b"/") || attribute::is_of_a_file(content) {
                return Err(reader.value("buf", 0));
            }
            Measured::Buffer { digest, name, content }
        }
        Template::Ima | Template::Ng | Template::NgV2 | Template::Other => {
            Measured::File { digest, path: name, signature: b"", of }
        }
    };
    reader.finish()?;
    Ok(measured)
}

/// `ima:` or `verity:`, and the rest.
fn typed(field: &[u8]) -> Option<(DigestOf, &[u8])> {
    if let Some(rest) = field.strip_prefix(b"ima:") {
        return Some((DigestOf::Content, rest));
    }
    field.strip_prefix(b"verity:").map(|rest| (DigestOf::Verity, rest))
}

fn rest<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], Malformed> {
    sized(reader, super::entry::TEMPLATE_DATA_BYTES_MAX, field)
}

/// `sha256:`, a zero, the digest.
fn file_digest(field: &[u8]) -> Option<FileDigest<'_>> {
    if let Some(digest) = field.strip_prefix(b"sha256:\0") {
        return (digest.len() == 32).then_some(FileDigest::Strong(HashAlg::Sha256, digest));
    }
    let zero = field.iter().take(ALGORITHM_BYTES_MAX).position(|byte| *byte == 0)?;
    let (algorithm, digest) = (field.get(..zero)?.strip_suffix(b":")?, field.get(zero + 1..)?);
    let hash = HashAlg::ALL.into_iter().find(|hash| hash.as_str().as_bytes() == algorithm);
    match hash {
        Some(hash) => (digest.len() == hash.size()).then_some(FileDigest::Strong(hash, digest)),
        None => (!algorithm.is_empty() && !digest.is_empty()).then_some(FileDigest::Weak(digest)),
    }
}
