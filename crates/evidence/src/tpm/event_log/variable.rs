//! `UEFI_VARIABLE_DATA`, the data of variable events. Parses claims; what is bound is for [`super::proof`] to say.

use super::Guid;

/// Characters a variable's name may have. The longest seen is 20 ("LenovoSecurityConfig").
const NAME_CHARS_MAX: u64 = 256;

/// One variable as an event tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable<'a> {
    /// Vendor GUID.
    pub(crate) owner: Guid,
    /// UTF-16LE name without terminator.
    name: &'a [u8],
    /// `VariableData`.
    pub(crate) data: &'a [u8],
    /// Bytes behind `VariableData`; 0 in every well-made event, up to 6 behind an old shim's.
    pub(crate) trailing: usize,
}

impl<'a> Variable<'a> {
    /// Reads a variable; `None` if a length does not fit.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk::<16>()?;
        let (name_chars, rest) = rest.split_first_chunk::<8>()?;
        let (data_len, rest) = rest.split_first_chunk::<8>()?;
        let name_chars = u64::from_le_bytes(*name_chars);
        if name_chars > NAME_CHARS_MAX {
            return None;
        }
        let (name, rest) = rest.split_at_checked(usize::try_from(name_chars.checked_mul(2)?).ok()?)?;
        let (data, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*data_len)).ok()?)?;
        Some(Self { owner: Guid(*owner), name, data, trailing: rest.len() })
    }

    /// Whether the name is exactly `ascii`.
    pub(crate) fn is_named(&self, ascii: &str) -> bool {
        self.name.len() == ascii.len().saturating_mul(2)
            && self.name.chunks_exact(2).zip(ascii.bytes()).all(|(unit, wanted)| unit == [wanted, 0])
    }

    /// The name as text; `None` if it is no UTF-16.
    pub(crate) fn name(&self) -> Option<String> {
        utf16le(self.name)
    }
}

/// Decodes UTF-16LE without its terminators; `None` for odd lengths or lone surrogates.
pub(crate) fn utf16le(bytes: &[u8]) -> Option<String> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let units = bytes.chunks_exact(2).map(|unit| unit.first_chunk().map_or(0, |b| u16::from_le_bytes(*b)));
    let mut text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    while text.ends_with('\0') {
        text.pop();
    }
    Some(text)
}
