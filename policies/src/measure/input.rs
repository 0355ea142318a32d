//! Values on the command line of `measure`, and the files that they name.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, or is larger.
pub(super) fn read(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).with_context(cannot)?.take(limit + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > limit {
        bail!("{} is larger than {limit} bytes", path.display());
    }
    Ok(bytes)
}

/// Reads a file if one is named; nothing otherwise.
pub(super) fn read_optional(path: Option<&Path>, limit: u64) -> anyhow::Result<Vec<u8>> {
    path.map_or(Ok(Vec::new()), |path| read(path, limit))
}

/// Bytes of a fixed width, in hex.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hex<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> std::str::FromStr for Hex<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = hex::decode(text.trim_start_matches("0x")).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| format!("expected {} hexadecimal digits", 2 * N))
    }
}

/// A number, decimal or after `0x` hexadecimal.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected a number such as 33 or 0x21".to_owned())
}

/// A size of memory: `2048M`, `4G`, or bytes.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let expected = || "expected a size of memory such as 2048M or 4G".to_owned();
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'G' | 'g')) => (text.get(..at), 1 << 30),
        Some((at, 'M' | 'm')) => (text.get(..at), 1 << 20),
        Some(_) => (Some(text), 1_u64),
        None => return Err(expected()),
    };
    digits.and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(unit)).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_read_as_people_write_them() {
        assert_eq!((number("0x21"), number("33")), (Ok(33), Ok(33)));
        assert_eq!((memory("2048M"), memory("2G"), memory("4096")), (Ok(2 << 30), Ok(2 << 30), Ok(4096)));
        for bad in ["", "0x", "x", "-1", "G", "1T", "99999999999999999999G"] {
            assert!(number(bad).is_err(), "{bad}");
            assert!(memory(bad).is_err(), "{bad}");
        }
        assert!("00".parse::<Hex<2>>().is_err());
        assert_eq!("0xab01".parse::<Hex<2>>().unwrap().0, [0xab, 1]);
    }
}
