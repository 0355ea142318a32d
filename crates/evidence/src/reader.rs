//! A bounded reader over borrowed bytes, and the writer that mirrors it. Copies nothing, allocates nothing on the
//! word of a peer; every read names the field, so that a failure says where.

use crate::error::{Defect, Malformed, Structure};

/// Reads one structure front to back. `Clone` is cheap and marks a place.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    structure: Structure,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`, which hold a `structure`.
    #[must_use]
    pub const fn new(structure: Structure, bytes: &'a [u8]) -> Self {
        Self { structure, bytes, at: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Everything not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// The bytes between `start`, an earlier [`position`](Self::position), and here.
    #[must_use]
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// The error that `field` of this structure has `defect`.
    #[must_use]
    pub const fn malformed(&self, field: &'static str, defect: Defect) -> Malformed {
        Malformed { structure: self.structure, field, defect }
    }

    /// The error that `field` holds the number `found`.
    #[must_use]
    pub const fn value(&self, field: &'static str, found: u64) -> Malformed {
        self.malformed(field, Defect::Value { found })
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`Defect::Truncated`] if fewer are left.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let rest = self.rest();
        match rest.get(..length) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(self.malformed(field, Defect::Truncated { needed: length, left: rest.len() })),
        }
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Defect::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let taken = self.take(N, field)?;
        taken.first_chunk().copied().ok_or(self.malformed(field, Defect::Truncated { needed: N, left: taken.len() }))
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Defect::Truncated`] at the end.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Two bytes, big-endian.
    ///
    /// # Errors
    /// [`Defect::Truncated`] if fewer are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    ///
    /// # Errors
    /// [`Defect::Truncated`] if fewer are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    ///
    /// # Errors
    /// [`Defect::Truncated`] if fewer are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// [`Defect::Truncated`] if fewer are left.
    pub fn u16_le(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// [`Defect::Truncated`] if fewer are left.
    pub fn u32_le(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// [`Defect::Truncated`] if fewer are left.
    pub fn u64_le(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A big-endian 16-bit length and that many bytes: a `TPM2B`.
    ///
    /// # Errors
    /// [`Defect::TooLarge`] above `limit`, [`Defect::Truncated`] if fewer are left.
    pub fn sized16(&mut self, limit: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = usize::from(self.u16(field)?);
        self.limited(length, limit, field)?;
        self.take(length, field)
    }

    /// A big-endian 32-bit length and that many bytes.
    ///
    /// # Errors
    /// [`Defect::TooLarge`] above `limit`, [`Defect::Truncated`] if fewer are left.
    pub fn sized32(&mut self, limit: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        self.limited(length, limit, field)?;
        self.take(length, field)
    }

    /// A count in one byte, for a loop over at most `limit` things.
    ///
    /// # Errors
    /// [`Defect::TooLarge`] above `limit`.
    pub fn count8(&mut self, limit: usize, field: &'static str) -> Result<usize, Malformed> {
        let count = usize::from(self.u8(field)?);
        self.limited(count, limit, field)?;
        Ok(count)
    }

    /// Ends the structure.
    ///
    /// # Errors
    /// [`Defect::Trailing`] if anything is left.
    pub fn finish(self) -> Result<(), Malformed> {
        match self.rest().len() {
            0 => Ok(()),
            left => Err(self.malformed("end", Defect::Trailing { left })),
        }
    }

    fn limited(&self, found: usize, limit: usize, field: &'static str) -> Result<(), Malformed> {
        if found > limit { Err(self.malformed(field, Defect::TooLarge { found, limit })) } else { Ok(()) }
    }
}

/// Writes what [`Reader`] reads. Lengths that do not fit their prefix are cut to nothing by the caller's own limits:
/// every caller writes fields that it has already bounded.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// Appends two bytes, big-endian.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends four bytes, big-endian.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends eight bytes, big-endian.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a big-endian 16-bit length and the bytes: a `TPM2B`. More than 65,535 bytes are cut there, so that
    /// the reader on the other side refuses them instead of losing its place.
    #[must_use]
    pub fn sized16(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let fitting = bytes.get(..usize::from(length)).unwrap_or(bytes);
        self.u16(length).bytes(fitting)
    }

    /// Appends a big-endian 32-bit length and the bytes, cut at 4 GiB.
    #[must_use]
    pub fn sized32(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.u32(length).bytes(bytes)
    }

    /// Appends what `each` writes for every item, after a one-byte count; items beyond 255 are left out.
    #[must_use]
    pub fn list8<T>(self, items: &[T], each: impl Fn(Self, &T) -> Self) -> Self {
        let count = u8::try_from(items.len()).unwrap_or(u8::MAX);
        items.iter().take(usize::from(count)).fold(self.u8(count), each)
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_input_is_refused_where_it_stands() {
        let mut reader = Reader::new(Structure::Attest, &[0, 9, 1, 2]);
        let refused = reader.sized16(64, "extraData").unwrap_err();
        assert_eq!(refused.defect, Defect::Truncated { needed: 9, left: 2 });
        assert_eq!((refused.field, refused.code()), ("extraData", "tpm.attest.malformed"));
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_anything_is_taken() {
        let mut reader = Reader::new(Structure::Item, &[0xff, 0xff, 0xff, 0xff, 1]);
        let refused = reader.sized32(16, "log").unwrap_err();
        assert!(matches!(refused.defect, Defect::TooLarge { limit: 16, .. }));
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let mut reader = Reader::new(Structure::Public, &[7, 8]);
        assert_eq!(reader.u8("type"), Ok(7));
        assert_eq!(reader.finish().unwrap_err().defect, Defect::Trailing { left: 1 });
    }

    #[test]
    fn what_the_writer_wrote_the_reader_reads() {
        let bytes = Writer::new()
            .u8(1)
            .u16(2)
            .u32(3)
            .u64(4)
            .sized16(b"five")
            .sized32(b"six")
            .list8(&[7u8, 8], |w, n| w.u8(*n))
            .finish();
        let mut reader = Reader::new(Structure::Item, &bytes);
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(2));
        assert_eq!(reader.u32("c"), Ok(3));
        assert_eq!(reader.u64("d"), Ok(4));
        assert_eq!(reader.sized16(9, "e"), Ok(&b"five"[..]));
        assert_eq!(reader.sized32(9, "f"), Ok(&b"six"[..]));
        assert_eq!(reader.count8(2, "g"), Ok(2));
        assert_eq!(reader.array::<2>("h"), Ok([7, 8]));
        assert!(reader.finish().is_ok());
    }
}
