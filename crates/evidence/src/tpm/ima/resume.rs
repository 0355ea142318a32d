//! A place in a list from which replay goes on: how far it was proven, and under which boot. Means nothing under another.

use super::refused::{Counters, ImaRefused};
use super::replay::Quoted;
use crate::crypto::{Digest, HashAlg};
use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};

const VERSION: u8 = 2;

/// With what the kernel extends the bank for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// The template hash by the bank's own algorithm: kernels from 5.8, where they have it.
    OfBank,
    /// The SHA-1 template hash and zeros: older kernels, and banks whose algorithm the kernel lacks. Whoever can find
    /// SHA-1 collisions can make two entries of one hash.
    Sha1Padded,
}

/// How far a list was replayed to a quoted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The bank that was quoted.
    pub bank: HashAlg,
    /// How entries extend it.
    pub hashing: Hashing,
    /// Counters of the TPM when it was quoted. Both must be the same later: between a reset or restart and now anybody
    /// could have led the PCR back to the same value.
    pub counters: Counters,
    /// The PCRs 0 to 9 that were quoted with it, as [`Quoted::boot`] has them: a TPM that was cleared counts from the
    /// beginning, and another boot must not stand on this one's list.
    pub boot: [u8; 32],
    /// Bytes of the list that are proven.
    pub offset: u64,
    /// Entries that are proven.
    pub entries: u64,
    /// PCR 10 after them.
    pub pcr: Digest,
}

impl Resume {
    /// Whether the prefix still stands under this quote.
    ///
    /// # Errors
    /// [`ImaRefused::OtherBoot`], [`ImaRefused::OtherBank`] or [`ImaRefused::OtherPcrs`].
    pub fn check(&self, quoted: &Quoted) -> Result<(), ImaRefused> {
        if self.counters != quoted.counters {
            return Err(ImaRefused::OtherBoot { known: self.counters, found: quoted.counters });
        }
        if self.bank != quoted.bank {
            return Err(ImaRefused::OtherBank);
        }
        if self.boot != quoted.boot {
            return Err(ImaRefused::OtherPcrs);
        }
        Ok(())
    }

    /// The bytes that a record keeps.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let hashing = match self.hashing {
            Hashing::OfBank => 0,
            Hashing::Sha1Padded => 1,
        };
        let writer = Writer::new().u8(VERSION).u16(self.bank.id()).u8(hashing);
        let writer = writer.u32(self.counters.resets).u32(self.counters.restarts);
        let writer = writer.bytes(&self.boot);
        writer.u64(self.offset).u64(self.entries).bytes(self.pcr.as_bytes()).finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`Malformed`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::ImaResume, bytes);
        match reader.u8("version")? {
            VERSION => {}
            other => return Err(reader.value("version", other.into())),
        }
        let id = reader.u16("bank")?;
        let bank = HashAlg::from_id(id).ok_or(reader.value("bank", id.into()))?;
        let hashing = match reader.u8("hashing")? {
            0 => Hashing::OfBank,
            1 => Hashing::Sha1Padded,
            other => return Err(reader.value("hashing", other.into())),
        };
        let counters = Counters { resets: reader.u32("resets")?, restarts: reader.u32("restarts")? };
        let boot = reader.array("boot")?;
        let (offset, entries) = (reader.u64("offset")?, reader.u64("entries")?);
        let pcr = reader.take(bank.size(), "pcr")?;
        let pcr = Digest::new(bank, pcr).ok_or(reader.value("pcr", 0))?;
        reader.finish()?;
        Ok(Self { bank, hashing, counters, boot, offset, entries, pcr })
    }
}
