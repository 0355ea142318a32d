//! Banks, PCR indices, sets of them, their values, and the selection that a quote covers. Replays nothing.

use std::fmt;

use crate::crypto::{Digest, HashAlg};
use crate::error::{Defect, Malformed, Structure};
use crate::reader::{Reader, Writer};

/// PCRs of a PC-client TPM.
pub const PCR_COUNT: usize = 24;
/// Bytes of a `TPMS_PCR_SELECTION.pcrSelect` that we send: 24 bits.
const SELECT_BYTES: u8 = 3;
/// Bytes of `pcrSelect` that we read: the specification's `PCR_SELECT_MAX` may be 4 on TPMs with 32 PCRs.
const SELECT_BYTES_MAX: usize = 4;

/// A PCR bank, named by its hash. SHA-1 is none of ours.
pub type Bank = HashAlg;

/// The number of a PCR, 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PcrIndex(u8);

impl PcrIndex {
    /// PCR 10, which the kernel's Integrity Measurement Architecture extends.
    pub const IMA: Self = Self(10);

    /// The PCR with this number; `None` from 24 on.
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        if index < 24 { Some(Self(index.to_le_bytes()[0])) } else { None }
    }

    /// Its number, 0 to 23.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// All 24, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..24).map(Self)
    }
}

impl fmt::Display for PcrIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of PCRs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PcrSet(u32);

impl PcrSet {
    /// PCR 0 to 7: what firmware and the Secure Boot policy extend on every PC-client machine.
    pub const FIRMWARE: Self = Self(0xff);
    /// None at all.
    pub const EMPTY: Self = Self(0);

    /// This set and `index`.
    #[must_use]
    pub const fn with(self, index: PcrIndex) -> Self {
        Self(self.0 | 1 << index.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in this one that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `index` is in it.
    #[must_use]
    pub const fn contains(self, index: PcrIndex) -> bool {
        self.0 & (1 << index.0) != 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in it.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Its members, ascending: the order in which a quote's digest takes them.
    pub fn iter(self) -> impl Iterator<Item = PcrIndex> {
        PcrIndex::all().filter(move |index| self.contains(*index))
    }

    /// Three bytes as `TPMS_PCR_SELECTION.pcrSelect` has them.
    const fn octets(self) -> [u8; 3] {
        let [a, b, c, _] = self.0.to_le_bytes();
        [a, b, c]
    }
}

impl FromIterator<PcrIndex> for PcrSet {
    fn from_iter<I: IntoIterator<Item = PcrIndex>>(indices: I) -> Self {
        indices.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// `0,1,7`
impl fmt::Display for PcrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, index) in self.iter().enumerate() {
            write!(f, "{}{index}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for PcrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// One bank and a set of its PCRs: what we ask of a quote, and what a quote must cover exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PcrSelection {
    /// The bank.
    pub bank: Bank,
    /// Its PCRs.
    pub pcrs: PcrSet,
}

impl PcrSelection {
    /// `TPML_PCR_SELECTION` with one bank and a three-byte bitmap.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new().u32(1).u16(self.bank.id()).u8(SELECT_BYTES).bytes(&self.pcrs.octets()).finish()
    }

    /// Reads a `TPML_PCR_SELECTION` that must name exactly one bank, ours, and at least one PCR.
    ///
    /// # Errors
    /// [`Malformed`] for no bank or several, a bank of SHA-1 or unknown, a bitmap of more than four bytes, a PCR from
    /// 24 on, an empty selection.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = reader.u32("pcrSelect.count")?;
        if count != 1 {
            return Err(reader.value("pcrSelect.count", count.into()));
        }
        let id = reader.u16("pcrSelect.hash")?;
        let bank = Bank::from_id(id).ok_or(reader.value("pcrSelect.hash", id.into()))?;
        let octets = usize::from(reader.u8("pcrSelect.sizeofSelect")?);
        if octets > SELECT_BYTES_MAX {
            let defect = Defect::TooLarge { found: octets, limit: SELECT_BYTES_MAX };
            return Err(reader.malformed("pcrSelect.sizeofSelect", defect));
        }
        let octets = reader.take(octets, "pcrSelect.pcrSelect")?;
        let bits = octets.iter().rev().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet));
        if bits == 0 || bits >> PCR_COUNT != 0 {
            return Err(reader.value("pcrSelect.pcrSelect", bits.into()));
        }
        Ok(Self { bank, pcrs: PcrSet(bits) })
    }

    /// Reads one that stands alone.
    ///
    /// # Errors
    /// As [`read`](Self::read), and for trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Selection, bytes);
        let selection = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(selection)
    }
}

/// `sha256:0,1,7`
impl fmt::Display for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bank, self.pcrs)
    }
}

/// Values of PCRs of one bank; those never set are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrValues {
    bank: Bank,
    values: [Option<Digest>; PCR_COUNT],
}

impl PcrValues {
    /// No values yet.
    #[must_use]
    pub const fn new(bank: Bank) -> Self {
        Self { bank, values: [None; PCR_COUNT] }
    }

    /// Their bank.
    #[must_use]
    pub const fn bank(&self) -> Bank {
        self.bank
    }

    /// The value of one PCR, if there is one.
    #[must_use]
    pub fn get(&self, index: PcrIndex) -> Option<&Digest> {
        self.values.get(usize::from(index.0))?.as_ref()
    }

    /// Sets a value. A digest of another bank's size is not taken.
    pub fn set(&mut self, index: PcrIndex, value: Digest) {
        if let Some(place) = self.values.get_mut(usize::from(index.0))
            && value.as_bytes().len() == self.bank.size()
        {
            *place = Some(value);
        }
    }

    /// Those present, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (PcrIndex, &Digest)> {
        PcrIndex::all().filter_map(|index| self.get(index).map(|value| (index, value)))
    }

    /// Which are present.
    #[must_use]
    pub fn indices(&self) -> PcrSet {
        self.iter().map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcr(index: u32) -> PcrIndex {
        PcrIndex::new(index).unwrap()
    }

    #[test]
    fn a_selection_is_read_back_as_written() {
        let asked = PcrSelection { bank: Bank::Sha384, pcrs: PcrSet::FIRMWARE.with(pcr(23)) };
        assert_eq!(asked.encode(), [0, 0, 0, 1, 0, 0x0c, 3, 0xff, 0, 0x80]);
        assert_eq!(PcrSelection::parse(&asked.encode()), Ok(asked));
        assert_eq!(asked.to_string(), "sha384:0,1,2,3,4,5,6,7,23");
    }

    #[test]
    fn an_empty_selection_is_refused() {
        assert!(PcrSelection::parse(&[0, 0, 0, 1, 0, 0x0b, 3, 0, 0, 0]).is_err());
        assert!(PcrSelection::parse(&[0, 0, 0, 1, 0, 0x0b, 0]).is_err());
        assert!(PcrSelection::parse(&[0, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_selection_of_sha1_or_of_two_banks_is_refused() {
        assert!(PcrSelection::parse(&[0, 0, 0, 1, 0, 4, 3, 1, 0, 0]).is_err());
        let two = [0, 0, 0, 2, 0, 0x0b, 3, 1, 0, 0, 0, 0x0c, 3, 1, 0, 0];
        assert!(PcrSelection::parse(&two).is_err());
    }

    #[test]
    fn pcrs_beyond_23_are_refused() {
        assert!(PcrSelection::parse(&[0, 0, 0, 1, 0, 0x0b, 4, 0, 0, 0, 1]).is_err());
        assert!(PcrIndex::new(24).is_none());
    }

    #[test]
    fn a_value_of_another_banks_size_is_not_taken() {
        let mut values = PcrValues::new(Bank::Sha256);
        values.set(pcr(0), Digest::zero(Bank::Sha384));
        assert!(values.get(pcr(0)).is_none());
        values.set(pcr(0), Digest::zero(Bank::Sha256));
        assert_eq!(values.indices(), PcrSet::EMPTY.with(pcr(0)));
    }
}
