//! Walks one HPACK header block (RFC 7541) for literal values of `:authority`, and makes them legal in place.
//! Decodes no other header, keeps no table, and stops without an opinion at the first byte that is not HPACK.

use tonic::codegen::http::uri::Authority;

use super::huffman;

/// Index of `:authority` in the static table; its name, plain and Huffman-coded.
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY_NAME: &[u8] = b":authority";
const AUTHORITY_NAME_CODED: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];

/// A place in a header block.
struct Cursor<'a> {
    block: &'a mut [u8],
    at: usize,
}

/// Where a string's bytes are, and whether they are Huffman-coded.
struct Text {
    range: std::ops::Range<usize>,
    coded: bool,
}

impl Cursor<'_> {
    /// An integer with a prefix of `bits` (RFC 7541, 5.1); `None` where it ends early or exceeds 28 bits.
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let mask = (1usize << bits) - 1;
        let first = usize::from(*self.block.get(self.at)?) & mask;
        self.at += 1;
        if first < mask {
            return Some(first);
        }
        let mut value = mask;
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(*self.block.get(self.at)?);
            self.at += 1;
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A string (RFC 7541, 5.2), and the place behind it.
    fn text(&mut self) -> Option<Text> {
        let coded = self.block.get(self.at)? & 0x80 != 0;
        let length = self.integer(7)?;
        let range = self.at..self.at.checked_add(length)?;
        self.block.get(range.clone())?;
        self.at = range.end;
        Some(Text { range, coded })
    }

    /// Whether `text` spells `:authority`.
    fn is_authority(&self, text: &Text) -> bool {
        let expected = if text.coded { AUTHORITY_NAME_CODED } else { AUTHORITY_NAME };
        self.block.get(text.range.clone()) == Some(expected)
    }

    /// One field; `None` where the block ends or is no HPACK.
    fn field(&mut self) -> Option<()> {
        let first = *self.block.get(self.at)?;
        let prefix = match first {
            0x80.. => return self.integer(7).map(drop),
            0x40.. => 6,
            0x20.. => return self.integer(5).map(drop),
            _ => 4,
        };
        let authority = match self.integer(prefix)? {
            0 => {
                let name = self.text()?;
                self.is_authority(&name)
            }
            index => index == AUTHORITY_INDEX,
        };
        let value = self.text()?;
        if authority && let Some(bytes) = self.block.get_mut(value.range) {
            make_legal(bytes, value.coded);
        }
        Some(())
    }
}

/// Makes every literal `:authority` in `block` one that `http` accepts, without changing a length.
///
/// A name that is given by an index into the dynamic table is not followed: encoders prefer the static one.
pub(super) fn repair(block: &mut [u8]) {
    let mut cursor = Cursor { block, at: 0 };
    while cursor.field().is_some() {}
}

/// Replaces what no host name has, if `http` would refuse the value as it stands.
///
/// The decoded length stays too: both ends of a connection account for their tables by it.
fn make_legal(value: &mut [u8], coded: bool) {
    if !coded {
        if Authority::try_from(&*value).is_err() {
            for byte in value {
                if !is_plain(*byte) {
                    *byte = b'-';
                }
            }
        }
    } else if huffman::decode(value).is_some_and(|text| Authority::try_from(text.as_slice()).is_err()) {
        huffman::rewrite(value, |byte| match byte {
            byte if is_plain(byte) => byte,
            // The legal symbols with codes of six and seven bits.
            b':' => b'x',
            _ => b'-',
        });
    }
}

/// RFC 3986's unreserved characters: legal in a host wherever they stand.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(opcode: u8, name: Option<&[u8]>, value: &[u8], coded: bool) -> Vec<u8> {
        let mut block = vec![opcode];
        if let Some(name) = name {
            block.push(u8::try_from(name.len()).unwrap());
            block.extend(name);
        }
        block.push(u8::try_from(value.len()).unwrap() | if coded { 0x80 } else { 0 });
        block.extend(value);
        block
    }

    fn check(block: &[u8], expected: &[u8]) {
        let mut repaired = block.to_vec();
        repair(&mut repaired);
        assert_eq!(repaired.len(), block.len());
        assert!(
            repaired.windows(expected.len()).any(|window| window == expected),
            "{:?}",
            String::from_utf8_lossy(&repaired)
        );
    }

    #[test]
    fn every_form_of_literal_is_repaired() {
        for (opcode, name) in [
            (0x40, Some(AUTHORITY_NAME)),
            (0x41, None),
            (0x00, Some(AUTHORITY_NAME)),
            (0x01, None),
            (0x10, Some(AUTHORITY_NAME)),
            (0x11, None),
        ] {
            check(&literal(opcode, name, b"tmp%2Fx%2Fagent.sock", false), b"tmp-2Fx-2Fagent.sock");
        }
    }

    #[test]
    fn the_name_may_be_huffman_coded() {
        let mut block = vec![0x40, 0x88];
        block.extend(AUTHORITY_NAME_CODED);
        block.extend([3, b'a', b'/', b'b']);
        check(&block, b"a-b");
        assert_eq!(huffman::decode(AUTHORITY_NAME_CODED).unwrap(), AUTHORITY_NAME);
    }

    #[test]
    fn a_huffman_coded_value_is_repaired_at_the_same_length() {
        // "tmp%2Fx%2Fagent.sock" and "a:b:c", as an independent encoder (PyPI hpack) writes them.
        for (coded, expected) in [("4d35aa2c3e551611cc5a92ba0e4ebf", "tmp-2Fx-2Fagent.sock"), ("1dc8ee13", "axbxc")] {
            let value = hex::decode(coded).unwrap();
            let mut block = literal(0x41, None, &value, true);
            repair(&mut block);
            assert_eq!(huffman::decode(&block[2..]).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn a_legal_authority_and_every_other_header_stay_as_they_are() {
        let mut block = literal(0x41, None, b"user@localhost:8081", false);
        block.extend([0x83, 0x86, 0x3f, 0x02]);
        block.extend(literal(0x40, Some(b":path"), b"/a%2Fb", false));
        block.extend(literal(0x7e, None, b"tmp%2Fx", false));
        let before = block.clone();
        repair(&mut block);
        assert_eq!(block, before);
    }

    #[test]
    fn too_many_colons_are_a_reason_to_repair() {
        check(&literal(0x41, None, b"tmp:a:b", false), b"tmp-a-b");
    }

    #[test]
    fn a_block_that_ends_early_or_counts_too_far_is_left_alone() {
        for block in [&[0x41, 5, b'%'][..], &[0x41], &[0x40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x41, 0xff]] {
            let mut repaired = block.to_vec();
            repair(&mut repaired);
            assert_eq!(repaired, block);
        }
    }
}
