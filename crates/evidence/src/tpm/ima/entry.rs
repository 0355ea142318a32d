//! Entries of the kernel's binary list, one after the other, borrowed. Replays nothing, believes nothing.
//!
//! The layout is that of `security/integrity/ima/ima_fs.c` on a little-endian machine, or with `ima_canonical_fmt`.

use super::refused::ImaRefused;
use crate::crypto::{Digest, HashAlg, Hasher};
use crate::error::{Defect, Malformed, Structure};
use crate::reader::Reader;

/// Longest template name or format in bytes: the kernel's `MAX_TEMPLATE_NAME_LEN`.
pub const TEMPLATE_NAME_BYTES_MAX: usize = 255;
/// Most bytes of one entry's data. A path has at most 4,096, a signature some hundred; measured buffers (device-mapper
/// tables, certificates, policies) are the largest and stay far below.
pub const TEMPLATE_DATA_BYTES_MAX: usize = 1 << 20;
/// Bytes over which the template `ima` hashes a name: 255 and a zero.
const OLD_NAME_BYTES: usize = 256;
/// Bytes of the digest of template `ima`, and of the list's own column.
pub(super) const SHA1_BYTES: usize = 20;

/// How an entry's data is laid out. The name stands in the list and in no digest: whoever reads the data by another
/// template than it was written by must find that it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// `ima`: SHA-1 and a name of fixed width.
    Ima,
    /// `ima-ng`: digest with its algorithm, name.
    Ng,
    /// `ima-sig`: the same and a signature.
    Sig,
    /// `ima-buf`: digest, name, and the very buffer.
    Buf,
    /// `ima-ngv2`: as `ima-ng`, and before the algorithm whether the digest is of the content or of fs-verity.
    NgV2,
    /// `ima-sigv2`: the same and a signature.
    SigV2,
    /// Any other: it replays, and proves nothing.
    Other,
}

/// One entry as it stands in the list: claims, until the list is replayed.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Place in the whole list, from 0.
    pub index: u64,
    /// Bytes in front of it, in the part of the list that was read.
    pub offset: usize,
    /// The PCR that it says it extended.
    pub pcr: u32,
    /// The list's own column: SHA-1 of the data; all zero for a violation.
    pub column: &'a [u8; SHA1_BYTES],
    /// Which template.
    pub template: Template,
    /// Its name, as written.
    pub template_name: &'a [u8],
    /// The data: everything over which the template hash goes, but for the padding of `ima`.
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads one entry.
    ///
    /// # Errors
    /// [`Malformed`] for a length above its limit, or beyond the input.
    pub fn read(reader: &mut Reader<'a>, index: u64) -> Result<Self, Malformed> {
        let offset = reader.position();
        let pcr = reader.u32_le("pcr")?;
        let digest = reader.take(SHA1_BYTES, "digest")?;
        let column = digest.first_chunk().ok_or(reader.malformed("digest", Defect::Missing))?;
        let template_name = sized(reader, TEMPLATE_NAME_BYTES_MAX, "templateName")?;
        let template = match template_name {
            b"ima" => Template::Ima,
            b"ima-ng" => Template::Ng,
            b"ima-sig" => Template::Sig,
            b"ima-buf" => Template::Buf,
            b"ima-ngv2" => Template::NgV2,
            b"ima-sigv2" => Template::SigV2,
            _ => Template::Other,
        };
        let data = match template {
            Template::Ima => {
                let start = reader.position();
                reader.take(SHA1_BYTES, "templateData.digest")?;
                sized(reader, OLD_NAME_BYTES - 1, "templateData.name")?;
                reader.since(start)
            }
            Template::Ng | Template::Sig | Template::Buf | Template::NgV2 | Template::SigV2 | Template::Other => {
                sized(reader, TEMPLATE_DATA_BYTES_MAX, "templateData")?
            }
        };
        Ok(Self { index, offset, pcr, column, template, template_name, data })
    }

    /// Reads an entry of `list` again, from where it stands in it.
    #[must_use]
    pub fn again(list: &'a [u8], offset: usize, index: u64) -> Option<Self> {
        let entry = Self::read(&mut Reader::new(Structure::ImaLog, list.get(offset..)?), index).ok()?;
        Some(Self { offset, ..entry })
    }

    /// Whether the kernel noted that a file changed while it was measured. Nothing of such an entry is hashed: the TPM
    /// gets `FF…FF`, so that what the entry says of itself is proven by nothing.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        *self.column == [0; SHA1_BYTES]
    }

    /// The template hash in this bank.
    #[must_use]
    pub fn template_hash(&self, bank: HashAlg) -> Digest {
        match (self.template, self.old_parts()) {
            (Template::Ima, Some((digest, name))) => {
                let mut hasher = Hasher::new(bank);
                hasher.update(digest);
                hasher.update(name);
                let zeros = [0; OLD_NAME_BYTES];
                hasher.update(zeros.get(name.len()..).unwrap_or_default());
                hasher.finish()
            }
            _ => bank.digest(&[self.data]),
        }
    }

    /// The SHA-1 template hash: what the list's column must hold.
    pub(super) fn sha1_template_hash(&self) -> [u8; SHA1_BYTES] {
        match (self.template, self.old_parts()) {
            (Template::Ima, Some((digest, name))) => {
                let zeros = [0; OLD_NAME_BYTES];
                let padding = zeros.get(name.len()..).unwrap_or_default();
                crate::crypto::sha1_of_template(&[digest, name, padding])
            }
            _ => crate::crypto::sha1_of_template(&[self.data]),
        }
    }

    /// Digest and name of the template `ima`, whose length field is not hashed.
    pub(super) fn old_parts(&self) -> Option<(&'a [u8], &'a [u8])> {
        let (digest, rest) = self.data.split_at_checked(SHA1_BYTES)?;
        Some((digest, rest.get(4..)?))
    }
}

/// A little-endian length and that many bytes.
pub(super) fn sized<'a>(reader: &mut Reader<'a>, limit: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(reader.u32_le(field)?).unwrap_or(usize::MAX);
    if length > limit {
        return Err(reader.malformed(field, Defect::TooLarge { found: length, limit }));
    }
    reader.take(length, field)
}

/// The entries of a list, or of a part that begins at an entry. Ends after the first that is no entry.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    index: u64,
    ended: bool,
}

impl<'a> Entries<'a> {
    /// The entries of `bytes`, of which the first has this place in the whole list.
    #[must_use]
    pub const fn new(bytes: &'a [u8], index: u64) -> Self {
        Self { reader: Reader::new(Structure::ImaLog, bytes), index, ended: false }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.reader.position()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, ImaRefused>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.reader.is_empty() {
            return None;
        }
        let index = self.index;
        let read = Entry::read(&mut self.reader, index).map_err(|malformed| ImaRefused::Malformed { index, malformed });
        self.index = index.saturating_add(1);
        self.ended = read.is_err();
        Some(read)
    }
}
