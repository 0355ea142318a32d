//! Just enough of CBOR (RFC 8949) for the module's requests and answers: a writer of definite lengths, and a reader that
//! takes indefinite ones too. No tags, no floats that mean anything to us.

/// Depth of the deepest answer: the variant, its fields, a set of PCR numbers.
const DEPTH_MAX: u8 = 4;
/// Entries of the largest map or array: 32 locked PCRs.
const ENTRIES_MAX: usize = 64;

/// Appends items.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn head(&mut self, major: u8, argument: usize) -> &mut Self {
        let major = major << 5;
        match (u8::try_from(argument), u16::try_from(argument)) {
            (Ok(short @ 0..24), _) => self.0.push(major | short),
            (Ok(byte), _) => self.0.extend_from_slice(&[major | 24, byte]),
            (_, Ok(two)) => {
                self.0.push(major | 25);
                self.0.extend_from_slice(&two.to_be_bytes());
            }
            _ => {
                self.0.push(major | 26);
                self.0.extend_from_slice(&u32::try_from(argument).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        self
    }

    pub(super) fn map(&mut self, entries: usize) -> &mut Self {
        self.head(5, entries)
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.head(3, text.len()).0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(2, bytes.len()).0.extend_from_slice(bytes);
        self
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.0.push(0xf6);
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// Byte string.
    Bytes(Vec<u8>),
    /// Text string.
    Text(String),
    /// A map, in its order.
    Map(Vec<(Item, Item)>),
    /// Something of no interest here.
    Other,
}

impl Item {
    /// The value at a text key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(found, _)| matches!(found, Self::Text(text) if text == key)).map(|(_, value)| value)
    }

    /// As [`Self::get`], taken out.
    pub(super) fn into(self, key: &str) -> Option<Self> {
        let Self::Map(entries) = self else { return None };
        entries.into_iter().find(|(found, _)| matches!(found, Self::Text(text) if text == key)).map(|(_, value)| value)
    }
}

/// The first item of `bytes`; what stands behind it is not looked at.
pub(super) fn parse(bytes: &[u8]) -> Option<Item> {
    Parser { rest: bytes }.item(DEPTH_MAX)
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// Major type and argument; `None` as argument is an indefinite length.
    fn head(&mut self) -> Option<(u8, Option<usize>)> {
        let [first] = *self.take(1)?.first_chunk()?;
        let argument = match first & 0x1f {
            short @ 0..24 => usize::from(short),
            long @ 24..=27 => {
                let mut value = 0_u64;
                for byte in self.take(1 << (long - 24))? {
                    value = value << 8 | u64::from(*byte);
                }
                usize::try_from(value).ok()?
            }
            31 => return Some((first >> 5, None)),
            _ => return None,
        };
        Some((first >> 5, Some(argument)))
    }

    fn item(&mut self, depth: u8) -> Option<Item> {
        let depth = depth.checked_sub(1)?;
        let (major, argument) = self.head()?;
        match (major, argument) {
            (0 | 1 | 7, Some(_)) => Some(Item::Other),
            (2, length) => self.string(2, length).map(Item::Bytes),
            (3, length) => String::from_utf8(self.string(3, length)?).ok().map(Item::Text),
            (4, count) => {
                let mut left =
                    count.filter(|count| *count <= ENTRIES_MAX).or(count.is_none().then_some(ENTRIES_MAX))?;
                while left > 0 && !(count.is_none() && self.ends()) {
                    self.item(depth)?;
                    left -= 1;
                }
                Some(Item::Other)
            }
            (5, count) => {
                let mut left =
                    count.filter(|count| *count <= ENTRIES_MAX).or(count.is_none().then_some(ENTRIES_MAX))?;
                let mut entries = Vec::new();
                while left > 0 && !(count.is_none() && self.ends()) {
                    entries.push((self.item(depth)?, self.item(depth)?));
                    left -= 1;
                }
                Some(Item::Map(entries))
            }
            _ => None,
        }
    }

    /// A string's content, put together from pieces of the same type where its length is indefinite.
    fn string(&mut self, major: u8, length: Option<usize>) -> Option<Vec<u8>> {
        if let Some(length) = length {
            return self.take(length).map(<[u8]>::to_vec);
        }
        let mut whole = Vec::new();
        while !self.ends() {
            match self.head()? {
                (piece, Some(length)) if piece == major => whole.extend_from_slice(self.take(length)?),
                _ => return None,
            }
        }
        Some(whole)
    }

    /// Takes the break that ends an indefinite length, if it stands here.
    fn ends(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0xff, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn definite_and_indefinite_lengths_are_read_alike() {
        let definite = b"\xa2\x61a\x43xyz\x61b\x82\x01\x20";
        let indefinite = b"\xbf\x61a\x5f\x41x\x42yz\xff\x61b\x9f\x01\x20\xff\xff";
        let read = parse(definite).unwrap();
        assert_eq!(parse(indefinite), Some(read.clone()));
        assert_eq!(read.get("a"), Some(&Item::Bytes(b"xyz".to_vec())));
        assert_eq!(read.into("b"), Some(Item::Other));
    }

    #[test]
    fn what_is_cut_short_or_too_deep_or_too_wide_is_nothing() {
        for bytes in [
            &b""[..],
            b"\x43xy",
            b"\xa1\x61a",
            b"\x5f\x41x",
            b"\x5f\x61x\xff",
            b"\x81\x81\x81\x81\x01",
            b"\x18",
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xc0\x01",
            b"\x61\xff",
        ] {
            assert_eq!(parse(bytes), None, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_the_writer_wrote_the_reader_reads(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut writer = Writer::default();
            writer.map(1).text("k").bytes(&content);
            assert_eq!(parse(&writer.finish()).unwrap().get("k"), Some(&Item::Bytes(content)));
        }
    }
}
