//! A reader of the CBOR that attestation documents are made of (RFC 8949): borrowed, without recursion, one spelling of
//! every head. Knows no floats, no tags inside, no strings in pieces; what it does not know it refuses.

use crate::error::{Defect, Malformed, Structure};
use crate::reader::Reader;

/// One initial byte with its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Unsigned(u64),
    /// −1 − n.
    Negative(u64),
    Bytes(u64),
    Text(u64),
    /// `None`: until the break.
    Array(Option<u64>),
    /// `None`: until the break.
    Map(Option<u64>),
    Tag(u64),
    Null,
    Break,
}

/// The entries of an array or a map that are still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries(Option<u64>);

/// Reads one item after the other. `Clone` marks a place.
#[derive(Clone, Debug)]
pub(super) struct Cbor<'a>(Reader<'a>);

impl<'a> Cbor<'a> {
    pub(super) const fn new(structure: Structure, bytes: &'a [u8]) -> Self {
        Self(Reader::new(structure, bytes))
    }

    pub(super) const fn malformed(&self, field: &'static str, defect: Defect) -> Malformed {
        self.0.malformed(field, defect)
    }

    /// The next head.
    pub(super) fn head(&mut self, field: &'static str) -> Result<Head, Malformed> {
        let first = self.0.u8(field)?;
        let (major, short) = (first >> 5, first & 0x1f);
        let argument = match short {
            0..=23 => Some(u64::from(short)),
            24 => Some(self.argument(field, |reader| reader.u8(field).map(u64::from), 23)?),
            25 => Some(self.argument(field, |reader| reader.u16(field).map(u64::from), u8::MAX.into())?),
            26 => Some(self.argument(field, |reader| reader.u32(field).map(u64::from), u16::MAX.into())?),
            27 => Some(self.argument(field, |reader| reader.u64(field), u32::MAX.into())?),
            31 => None,
            _ => return Err(self.malformed(field, Defect::Encoding)),
        };
        match (major, argument) {
            (0, Some(number)) => Ok(Head::Unsigned(number)),
            (1, Some(number)) => Ok(Head::Negative(number)),
            (2, Some(length)) => Ok(Head::Bytes(length)),
            (3, Some(length)) => Ok(Head::Text(length)),
            (4, count) => Ok(Head::Array(count)),
            (5, count) => Ok(Head::Map(count)),
            (6, Some(tag)) => Ok(Head::Tag(tag)),
            (7, Some(22)) => Ok(Head::Null),
            (7, None) => Ok(Head::Break),
            _ => Err(self.malformed(field, Defect::Value { found: first.into() })),
        }
    }

    /// An argument behind the initial byte; one that a shorter form would hold is refused.
    fn argument(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<u64, Malformed>,
        shorter_max: u64,
    ) -> Result<u64, Malformed> {
        let argument = read(&mut self.0)?;
        if argument > shorter_max { Ok(argument) } else { Err(self.malformed(field, Defect::Encoding)) }
    }

    /// An unsigned number.
    pub(super) fn unsigned(&mut self, field: &'static str) -> Result<u64, Malformed> {
        match self.head(field)? {
            Head::Unsigned(number) => Ok(number),
            _ => Err(self.malformed(field, Defect::Encoding)),
        }
    }

    /// A byte string in one piece, of at most `limit` bytes.
    pub(super) fn bytes(&mut self, limit: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        match self.head(field)? {
            Head::Bytes(length) => self.take(length, limit, field),
            _ => Err(self.malformed(field, Defect::Encoding)),
        }
    }

    /// A byte string in one piece, or null.
    pub(super) fn bytes_or_null(&mut self, limit: usize, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        match self.head(field)? {
            Head::Null => Ok(None),
            Head::Bytes(length) => self.take(length, limit, field).map(Some),
            _ => Err(self.malformed(field, Defect::Encoding)),
        }
    }

    /// A text in one piece, of at most `limit` bytes.
    pub(super) fn text(&mut self, limit: usize, field: &'static str) -> Result<&'a str, Malformed> {
        match self.head(field)? {
            Head::Text(length) => {
                let bytes = self.take(length, limit, field)?;
                std::str::from_utf8(bytes).map_err(|_| self.malformed(field, Defect::Encoding))
            }
            _ => Err(self.malformed(field, Defect::Encoding)),
        }
    }

    /// The start of a map of at most `limit` entries.
    pub(super) fn map(&mut self, limit: usize, field: &'static str) -> Result<Entries, Malformed> {
        match self.head(field)? {
            Head::Map(count) => self.entries(count, limit, field),
            _ => Err(self.malformed(field, Defect::Encoding)),
        }
    }

    /// The start of an array of at most `limit` entries.
    pub(super) fn array(&mut self, limit: usize, field: &'static str) -> Result<Entries, Malformed> {
        match self.head(field)? {
            Head::Array(count) => self.entries(count, limit, field),
            _ => Err(self.malformed(field, Defect::Encoding)),
        }
    }

    /// Whether another entry comes; at the end of an indefinite one, takes the break.
    pub(super) fn more(&mut self, entries: &mut Entries, field: &'static str) -> Result<bool, Malformed> {
        if let Entries(Some(left)) = entries {
            let more = *left > 0;
            *left = left.saturating_sub(1);
            return Ok(more);
        }
        let mut ahead = self.clone();
        if ahead.head(field)? == Head::Break {
            *self = ahead;
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Result<(), Malformed> {
        self.0.finish()
    }

    fn entries(&self, count: Option<u64>, limit: usize, field: &'static str) -> Result<Entries, Malformed> {
        match count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)) {
            Some(found) if found > limit => Err(self.malformed(field, Defect::TooLarge { found, limit })),
            _ => Ok(Entries(count)),
        }
    }

    fn take(&mut self, length: u64, limit: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let found = usize::try_from(length).unwrap_or(usize::MAX);
        if found > limit {
            return Err(self.malformed(field, Defect::TooLarge { found, limit }));
        }
        self.0.take(found, field)
    }
}

/// The head of a byte string of `length` bytes, in its one spelling.
pub(super) fn bytes_head(length: usize) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=23), _) => vec![0x40 | length],
        (Ok(length), _) => vec![0x58, length],
        (_, Ok(length)) => [&[0x59], length.to_be_bytes().as_slice()].concat(),
        // Longer strings are refused when they are read.
        (Err(_), Err(_)) => [&[0x5a], u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes().as_slice()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cbor(bytes: &[u8]) -> Cbor<'_> {
        Cbor::new(Structure::NitroDocument, bytes)
    }

    fn head(bytes: &[u8]) -> Result<Head, Defect> {
        cbor(bytes).head("head").map_err(|malformed| malformed.defect)
    }

    #[test]
    fn heads_of_the_appendix_are_read() {
        // RFC 8949, appendix A
        assert_eq!(head(&[0x17]), Ok(Head::Unsigned(23)));
        assert_eq!(head(&[0x18, 0x18]), Ok(Head::Unsigned(24)));
        assert_eq!(head(&[0x19, 0x03, 0xe8]), Ok(Head::Unsigned(1000)));
        assert_eq!(head(&[0x1a, 0x00, 0x0f, 0x42, 0x40]), Ok(Head::Unsigned(1_000_000)));
        assert_eq!(head(&[0x1b, 0, 0, 0, 0xe8, 0xd4, 0xa5, 0x10, 0]), Ok(Head::Unsigned(1_000_000_000_000)));
        assert_eq!(head(&[0x38, 0x63]), Ok(Head::Negative(99)));
        assert_eq!(head(&[0x44, 1, 2, 3, 4]), Ok(Head::Bytes(4)));
        assert_eq!(head(&[0xbf]), Ok(Head::Map(None)));
        assert_eq!(head(&[0x84]), Ok(Head::Array(Some(4))));
        assert_eq!(head(&[0xd2]), Ok(Head::Tag(18)));
        assert_eq!(head(&[0xf6]), Ok(Head::Null));
    }

    #[test]
    fn a_head_has_one_spelling() {
        for long in [&[0x18, 23][..], &[0x19, 0, 0xff], &[0x1a, 0, 0, 0xff, 0xff], &[0x1b, 0, 0, 0, 0, 1, 0, 0, 0]] {
            for major in [0, 0x20, 0x40, 0x60, 0x80, 0xa0, 0xc0] {
                let mut bytes = long.to_vec();
                bytes[0] |= major;
                assert_eq!(head(&bytes), Err(Defect::Encoding), "{bytes:02x?}");
            }
        }
    }

    #[test]
    fn what_no_document_holds_is_refused() {
        // false, undefined, a simple value, three floats, strings in pieces, reserved lengths
        for bytes in [&[0xf4][..], &[0xf7], &[0xf8, 0xff], &[0xf9, 0, 0], &[0xfa, 0, 0, 0, 0], &[0xfb; 9]] {
            assert!(head(bytes).is_err(), "{bytes:02x?}");
        }
        for bytes in [[0x5f], [0x7f], [0x1f], [0x3f], [0xdf], [0x1c], [0x5d], [0x9e]] {
            assert!(head(&bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn lengths_are_limited_before_anything_is_taken() {
        let refused = cbor(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).bytes(16, "payload").unwrap_err();
        assert!(matches!(refused.defect, Defect::TooLarge { limit: 16, .. }));
        assert!(matches!(cbor(&[0xb8, 64]).map(32, "pcrs").unwrap_err().defect, Defect::TooLarge { found: 64, .. }));
        assert!(matches!(cbor(&[0x44, 1]).bytes(16, "nonce").unwrap_err().defect, Defect::Truncated { .. }));
    }

    #[test]
    fn an_indefinite_map_ends_at_its_break_and_a_definite_one_at_its_count() {
        for bytes in [&[0xa1, 1, 2, 3][..], &[0xbf, 1, 2, 0xff, 3]] {
            let mut cbor = cbor(bytes);
            let mut entries = cbor.map(9, "map").unwrap();
            assert!(cbor.more(&mut entries, "map").unwrap());
            assert_eq!((cbor.unsigned("key"), cbor.unsigned("value")), (Ok(1), Ok(2)));
            assert!(!cbor.more(&mut entries, "map").unwrap());
            assert_eq!(cbor.unsigned("next"), Ok(3));
            assert!(cbor.finish().is_ok());
        }
        let mut open = cbor(&[0xbf]);
        let mut entries = open.map(9, "map").unwrap();
        assert!(open.more(&mut entries, "map").is_err());
    }

    #[test]
    fn a_written_head_is_read_back() {
        for length in [0, 23, 24, 255, 256, 65_535, 65_536] {
            assert_eq!(head(&bytes_head(length)), Ok(Head::Bytes(length as u64)));
        }
    }
}
