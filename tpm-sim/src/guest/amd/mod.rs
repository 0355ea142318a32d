//! A simulated AMD: root (ARK), intermediates for chips (ASK) and providers (ASVK), keys of chips (VCEK) and of a
//! provider (VLEK), reports and certificate tables. AMD's document 56860 and the VCEK/VLEK specification give the forms.

mod certificate;
mod pki;
mod report;
mod spec;

pub use pki::Amd;
pub use report::report;
pub(crate) use report::{bytes, tcb_bytes};
pub use spec::{SigningKey, SnpSpec, Tcb};

/// The certificate table of the GHCB: each entry GUID, offset and length, a GUID of zeros at the end.
#[must_use]
pub fn table(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut offset = 24 * (entries.len() + 1);
    let (mut head, mut body) = (Vec::new(), Vec::new());
    for (entry, certificate) in entries {
        head.extend_from_slice(&entry.guid());
        head.extend_from_slice(&little(offset));
        head.extend_from_slice(&little(certificate.len()));
        offset += certificate.len();
        body.extend_from_slice(certificate);
    }
    head.extend_from_slice(&[0; 24]);
    [head, body].concat()
}

fn little(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// What an entry of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The chip's key.
    Vcek,
    /// The provider's key.
    Vlek,
    /// What issued it.
    Ask,
    /// The root.
    Ark,
}

impl Entry {
    const fn guid(self) -> [u8; 16] {
        let guid: u128 = match self {
            Self::Vcek => 0x63da_758d_e664_4564_adc5_f4b9_3be8_accd,
            Self::Vlek => 0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1,
            Self::Ask => 0x4ab7_b379_bbac_4fe4_a02f_05ae_f327_c782,
            Self::Ark => 0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae,
        };
        guid.to_be_bytes()
    }
}
