//! The digest of an image that firmware measures and that signatures sign: all of it but the checksum, the entry that
//! points to the signatures, and the signatures. Windows Authenticode Portable Executable Signature Format, "Calculating
//! the PE Image Hash", in the reading of edk2 (`Tcg2Dxe`, `MeasurePeImageAndExtend`).

use holdfast_evidence::crypto::{Digest, HashAlg, Hasher};

use super::Image;
use crate::Unmeasurable;

impl Image<'_> {
    /// The Authenticode digest.
    ///
    /// # Errors
    /// The parts overlap, so that firmware would not measure it either.
    pub fn authenticode(&self, hash: HashAlg) -> Result<Digest, Unmeasurable> {
        let mut hasher = Hasher::new(hash);
        let mut add = |from: u64, to: u64| -> Result<(), Unmeasurable> {
            let length = to.checked_sub(from).ok_or(self.file.value("headers size", self.headers))?;
            hasher.update(self.file.slice(from, length, "image")?);
            Ok(())
        };
        add(0, self.checksum)?;
        match self.security {
            Some(entry) => {
                add(self.checksum + 4, entry)?;
                add(entry + 8, self.headers)?;
            }
            None => add(self.checksum + 4, self.headers)?,
        }
        let mut sections: Vec<_> = self.sections.iter().filter(|section| !section.raw.is_empty()).collect();
        sections.sort_by_key(|section| section.offset);
        let mut hashed = self.headers;
        for section in sections {
            hasher.update(section.raw);
            hashed += section.raw.len() as u64;
        }
        let (_, attached) = self.attached()?;
        let rest = self.file.len().checked_sub(hashed).and_then(|left| left.checked_sub(attached));
        let rest = rest.ok_or(self.file.value("signature size", attached))?;
        hasher.update(self.file.slice(hashed, rest, "bytes after the sections")?);
        Ok(hasher.finish())
    }
}
