//! The attestation report, 1184 bytes, little-endian (AMD 56860, `ATTESTATION_REPORT`). Kept as the bytes that were
//! signed; fields are read from their offsets. Judges nothing: see `checks`.

use std::fmt;

use super::bits::{GuestPolicy, KeyInfo, PlatformInfo};
use super::product::{Product, TcbLayout};
use super::tcb::Tcb;
use crate::error::{Defect, Malformed, Structure};
use crate::launch::SnpLaunch;

/// Bytes of a report.
pub const REPORT_BYTES: usize = 1184;
/// Bytes that the signature covers: everything before it.
const SIGNED_BYTES: usize = 0x2a0;
/// Bytes of one number of the signature, little-endian: 48 and 24 spare ones.
const NUMBER_BYTES: usize = 72;

/// A report as it was made. All claims until its signature is checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    raw: [u8; REPORT_BYTES],
}

/// Which of the four TCB versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcbOf {
    /// What the signing key is derived from, and so what is proven: `REPORTED_TCB`.
    Reported,
    /// What the platform cannot be rolled back below: `COMMITTED_TCB`.
    Committed,
    /// What runs: `CURRENT_TCB`.
    Current,
    /// What ran when the guest was launched or imported: `LAUNCH_TCB`.
    Launch,
}

/// Version of the SNP firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FirmwareVersion {
    /// Major version of its interface.
    pub major: u8,
    /// Minor version of its interface.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

/// The signature as it stands in the report.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawSignature<'a> {
    /// First number, 72 bytes little-endian.
    pub(super) r: &'a [u8],
    /// Second number, 72 bytes little-endian.
    pub(super) s: &'a [u8],
    /// The rest of the signature area.
    pub(super) spare: &'a [u8],
}

impl TcbOf {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Reported, Self::Committed, Self::Current, Self::Launch];

    /// The word in facts: `reported`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Committed => "committed",
            Self::Current => "current",
            Self::Launch => "launch",
        }
    }

    pub(super) const fn offset(self) -> usize {
        match self {
            Self::Reported => 0x180,
            Self::Committed => 0x1e0,
            Self::Current => 0x38,
            Self::Launch => 0x1f0,
        }
    }
}

impl Report {
    /// Takes a report of exactly [`REPORT_BYTES`].
    ///
    /// # Errors
    /// [`Malformed`] for any other length.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let defect = Defect::Length { expected: REPORT_BYTES, found: bytes.len() };
        let raw =
            bytes.try_into().map_err(|_| Malformed { structure: Structure::SnpReport, field: "report", defect })?;
        Ok(Self { raw })
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; REPORT_BYTES] {
        &self.raw
    }

    /// The bytes that are signed.
    pub(super) fn signed(&self) -> &[u8] {
        self.raw.get(..SIGNED_BYTES).unwrap_or_default()
    }

    pub(super) fn signature(&self) -> RawSignature<'_> {
        let area = self.raw.get(SIGNED_BYTES..).unwrap_or_default();
        let (r, rest) = area.split_at_checked(NUMBER_BYTES).unwrap_or_default();
        let (s, spare) = rest.split_at_checked(NUMBER_BYTES).unwrap_or_default();
        RawSignature { r, s, spare }
    }

    /// `VERSION`.
    #[must_use]
    pub fn version(&self) -> u32 {
        u32::from_le_bytes(self.array(0x00))
    }

    /// `GUEST_SVN`. Says something only where an id key vouches for it: see [`Report::has_id_block`].
    #[must_use]
    pub fn guest_svn(&self) -> u32 {
        u32::from_le_bytes(self.array(0x04))
    }

    /// `POLICY`.
    #[must_use]
    pub fn policy(&self) -> GuestPolicy {
        GuestPolicy(u64::from_le_bytes(self.array(0x08)))
    }

    /// `FAMILY_ID`, from the ID block.
    #[must_use]
    pub fn family_id(&self) -> [u8; 16] {
        self.array(0x10)
    }

    /// `IMAGE_ID`, from the ID block.
    #[must_use]
    pub fn image_id(&self) -> [u8; 16] {
        self.array(0x20)
    }

    /// `VMPL` of the guest's part that asked for the report.
    #[must_use]
    pub fn vmpl(&self) -> u32 {
        u32::from_le_bytes(self.array(0x30))
    }

    /// `SIGNATURE_ALGO`.
    #[must_use]
    pub fn signature_algorithm(&self) -> u32 {
        u32::from_le_bytes(self.array(0x34))
    }

    /// `PLATFORM_INFO`.
    #[must_use]
    pub fn platform_info(&self) -> PlatformInfo {
        PlatformInfo(u64::from_le_bytes(self.array(0x40)))
    }

    /// The flags beside the signing key.
    #[must_use]
    pub fn key_info(&self) -> KeyInfo {
        KeyInfo(u32::from_le_bytes(self.array(0x48)))
    }

    /// `REPORT_DATA`, the guest's own 64 bytes.
    #[must_use]
    pub fn report_data(&self) -> [u8; 64] {
        self.array(0x50)
    }

    /// `MEASUREMENT` of the guest at launch, SHA-384.
    #[must_use]
    pub fn measurement(&self) -> [u8; 48] {
        self.array(0x90)
    }

    /// `HOST_DATA`, the host's 32 bytes, fixed at launch.
    #[must_use]
    pub fn host_data(&self) -> [u8; 32] {
        self.array(0xc0)
    }

    /// `ID_KEY_DIGEST`, SHA-384 of the key that signed the ID block; zero without one.
    #[must_use]
    pub fn id_key_digest(&self) -> [u8; 48] {
        self.array(0xe0)
    }

    /// `AUTHOR_KEY_DIGEST`, SHA-384 of the key that signed the id key; zero without one.
    #[must_use]
    pub fn author_key_digest(&self) -> [u8; 48] {
        self.array(0x110)
    }

    /// Which launch it is of.
    #[must_use]
    pub fn launch(&self) -> SnpLaunch {
        SnpLaunch { measurement: self.measurement(), host_data: self.host_data(), id_key_digest: self.id_key_digest() }
    }

    /// Whether the firmware has checked an ID block, signed by the key of [`Report::id_key_digest`]. Without one nobody
    /// vouches for guest SVN, family id and image id.
    #[must_use]
    pub fn has_id_block(&self) -> bool {
        self.id_key_digest() != [0; 48]
    }

    /// `REPORT_ID`: of this one run of the guest.
    #[must_use]
    pub fn report_id(&self) -> [u8; 32] {
        self.array(0x140)
    }

    /// `REPORT_ID_MA`, of the migration agent.
    #[must_use]
    pub fn report_id_ma(&self) -> [u8; 32] {
        self.array(0x160)
    }

    /// CPUID family, model and stepping; zero in version 2.
    #[must_use]
    pub fn cpuid(&self) -> [u8; 3] {
        self.array(0x188)
    }

    /// The product that CPUID names; `None` for version 2 and for processors that we do not know.
    #[must_use]
    pub fn product(&self) -> Option<Product> {
        let [family, model, _] = self.cpuid();
        Product::from_cpuid(family, model).filter(|_| self.version() >= 3)
    }

    /// `CHIP_ID`, padded with zeros; all zero where the host has masked it.
    #[must_use]
    pub fn chip_id(&self) -> [u8; 64] {
        self.array(0x1a0)
    }

    /// One of the TCB versions, as bytes.
    #[must_use]
    pub fn raw_tcb(&self, of: TcbOf) -> [u8; 8] {
        self.array(of.offset())
    }

    /// One of the TCB versions; `None` if bytes that are spare in this layout are not zero.
    #[must_use]
    pub fn tcb(&self, of: TcbOf, layout: TcbLayout) -> Option<Tcb> {
        Tcb::read(self.raw_tcb(of), layout)
    }

    /// Firmware that runs.
    #[must_use]
    pub fn current_firmware(&self) -> FirmwareVersion {
        let [build, minor, major] = self.array(0x1e8);
        FirmwareVersion { major, minor, build }
    }

    /// Firmware that is committed.
    #[must_use]
    pub fn committed_firmware(&self) -> FirmwareVersion {
        let [build, minor, major] = self.array(0x1ec);
        FirmwareVersion { major, minor, build }
    }

    /// Whether what runs is not committed yet, TCB or version, so that the host may still go back to what was before.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        self.raw_tcb(TcbOf::Current) != self.raw_tcb(TcbOf::Committed)
            || self.current_firmware() != self.committed_firmware()
    }

    /// `LAUNCH_MIT_VECTOR` and `CURRENT_MIT_VECTOR`: mitigations in force at launch and now; from version 5 on.
    #[must_use]
    pub fn mitigations(&self) -> Option<(u64, u64)> {
        let both = (u64::from_le_bytes(self.array(0x1f8)), u64::from_le_bytes(self.array(0x200)));
        (self.version() >= 5).then_some(both)
    }

    /// Offsets of the first and after the last byte of what is reserved in this version; each must be zero.
    pub(super) fn reserved(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let after_cpuid = if self.version() >= 3 { 0x18b } else { 0x188 };
        let after_launch = if self.version() >= 5 { 0x208 } else { 0x1f8 };
        [(0x4c, 0x50), (after_cpuid, 0x1a0), (0x1eb, 0x1ec), (0x1ef, 0x1f0), (after_launch, SIGNED_BYTES)]
            .into_iter()
            .map(|(start, end)| (start, self.raw.get(start..end).unwrap_or_default()))
    }

    /// `N` bytes at an offset, which is a constant of this file; a test reads all of them.
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.raw.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }
}

impl fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// Which report, not what is in it.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Report(v{}, ", self.version())?;
        self.report_id().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte is its own offset, modulo 251.
    fn numbered() -> Report {
        let raw: Vec<u8> = (0..REPORT_BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect();
        Report::parse(&raw).unwrap()
    }

    fn at<const N: usize>(offset: usize) -> [u8; N] {
        std::array::from_fn(|index| u8::try_from((offset + index) % 251).unwrap())
    }

    #[test]
    fn each_field_is_read_from_its_offset() {
        let report = numbered();
        assert_eq!(report.version(), u32::from_le_bytes(at(0)));
        assert_eq!(report.guest_svn(), u32::from_le_bytes(at(4)));
        assert_eq!(report.policy().0, u64::from_le_bytes(at(8)));
        assert_eq!(report.family_id(), at(0x10));
        assert_eq!(report.image_id(), at(0x20));
        assert_eq!(report.vmpl(), u32::from_le_bytes(at(0x30)));
        assert_eq!(report.signature_algorithm(), u32::from_le_bytes(at(0x34)));
        assert_eq!(report.raw_tcb(TcbOf::Current), at(0x38));
        assert_eq!(report.platform_info().0, u64::from_le_bytes(at(0x40)));
        assert_eq!(report.key_info().0, u32::from_le_bytes(at(0x48)));
        assert_eq!(report.report_data(), at(0x50));
        assert_eq!(report.measurement(), at(0x90));
        assert_eq!(report.host_data(), at(0xc0));
        assert_eq!(report.id_key_digest(), at(0xe0));
        assert_eq!(report.author_key_digest(), at(0x110));
        assert_eq!(report.report_id(), at(0x140));
        assert_eq!(report.report_id_ma(), at(0x160));
        assert_eq!(report.raw_tcb(TcbOf::Reported), at(0x180));
        assert_eq!(report.cpuid(), at(0x188));
        assert_eq!(report.chip_id(), at(0x1a0));
        assert_eq!(report.raw_tcb(TcbOf::Committed), at(0x1e0));
        assert_eq!(report.raw_tcb(TcbOf::Launch), at(0x1f0));
        let [build, minor, major] = at(0x1e8);
        assert_eq!(report.current_firmware(), FirmwareVersion { major, minor, build });
        let [build, minor, major] = at(0x1ec);
        assert_eq!(report.committed_firmware(), FirmwareVersion { major, minor, build });
        let both = (u64::from_le_bytes(at(0x1f8)), u64::from_le_bytes(at(0x200)));
        assert_eq!(report.mitigations(), Some(both));
        let signature = report.signature();
        assert_eq!((signature.r, signature.s), (&at::<72>(0x2a0)[..], &at::<72>(0x2e8)[..]));
        assert_eq!(signature.spare.len(), REPORT_BYTES - 0x330);
        assert_eq!(report.signed().len(), 0x2a0);
    }

    #[test]
    fn no_other_length_is_a_report() {
        for length in [0, 1183, 1185, 4096] {
            let refused = Report::parse(&vec![0; length]).unwrap_err();
            assert_eq!(refused.defect, Defect::Length { expected: REPORT_BYTES, found: length });
        }
    }
}
