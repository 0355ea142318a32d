//! Bounded reads at places that a file names itself. Copies nothing.

use crate::Unmeasurable;

/// A file in memory, or a part of one, with the name that errors give it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    file: &'static str,
    bytes: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) const fn new(file: &'static str, bytes: &'a [u8]) -> Self {
        Self { file, bytes }
    }

    pub(crate) const fn all(self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) const fn len(self) -> u64 {
        self.bytes.len() as u64
    }

    /// `length` bytes at `at`.
    pub(crate) fn slice(self, at: u64, length: u64, field: &'static str) -> Result<&'a [u8], Unmeasurable> {
        let range = || {
            let (start, length) = (usize::try_from(at).ok()?, usize::try_from(length).ok()?);
            self.bytes.get(start..start.checked_add(length)?)
        };
        range().ok_or(Unmeasurable::Truncated { file: self.file, field, at, needed: length, size: self.len() })
    }

    pub(crate) fn array<const N: usize>(self, at: u64, field: &'static str) -> Result<[u8; N], Unmeasurable> {
        let taken = self.slice(at, N as u64, field)?;
        taken.first_chunk().copied().ok_or(self.missing(field))
    }

    pub(crate) fn u16_le(self, at: u64, field: &'static str) -> Result<u16, Unmeasurable> {
        self.array(at, field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32_le(self, at: u64, field: &'static str) -> Result<u32, Unmeasurable> {
        self.array(at, field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64_le(self, at: u64, field: &'static str) -> Result<u64, Unmeasurable> {
        self.array(at, field).map(u64::from_le_bytes)
    }

    pub(crate) fn u16_be(self, at: u64, field: &'static str) -> Result<u16, Unmeasurable> {
        self.array(at, field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32_be(self, at: u64, field: &'static str) -> Result<u32, Unmeasurable> {
        self.array(at, field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64_be(self, at: u64, field: &'static str) -> Result<u64, Unmeasurable> {
        self.array(at, field).map(u64::from_be_bytes)
    }

    pub(crate) const fn missing(self, part: &'static str) -> Unmeasurable {
        Unmeasurable::Missing { file: self.file, part }
    }

    pub(crate) const fn twice(self, part: &'static str) -> Unmeasurable {
        Unmeasurable::Twice { file: self.file, part }
    }

    pub(crate) const fn value(self, field: &'static str, found: u64) -> Unmeasurable {
        Unmeasurable::Value { file: self.file, field, found }
    }

    pub(crate) fn limited(self, field: &'static str, found: u64, limit: u64) -> Result<(), Unmeasurable> {
        if found > limit { Err(Unmeasurable::TooLarge { file: self.file, field, found, limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_outside_the_file_is_refused_whatever_the_numbers() {
        let file = Bytes::new("file", &[1, 2, 3, 4]);
        assert_eq!(file.u32_le(0, "a"), Ok(0x0403_0201));
        assert_eq!(file.u32_be(0, "a"), Ok(0x0102_0304));
        for (at, length) in [(1, 4), (4, 1), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            let refused = file.slice(at, length, "field").unwrap_err();
            assert_eq!(refused.code(), "measure.truncated", "{at} {length}");
        }
        assert_eq!(file.slice(4, 0, "end"), Ok(&[][..]));
    }
}
