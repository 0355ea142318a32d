//! The TPM commands that the simulator itself sends: manufacture, firmware, power. Everything else comes from the
//! software under test and is only passed on.

use crate::digest::{Bank, Digests};
use crate::error::SimError;
use crate::tpm::wire::{Command, Exchange};

pub(crate) const PLATFORM: u32 = 0x4000_000c;
pub(crate) const ENDORSEMENT: u32 = 0x4000_000b;
const LOCKOUT: u32 = 0x4000_000a;
const OWNER: u32 = 0x4000_0001;

/// Failed authorisations before lockout, and seconds until one is forgotten: what chips ship with. libtpms allows 3 in
/// 1000 s, which three unclean ends use up.
const LOCKOUT_TRIES: u32 = 32;
const LOCKOUT_FORGETS_SECONDS: u32 = 600;

/// Largest chunk of one NV_Write, in bytes; libtpms takes 1024.
const NV_CHUNK_BYTES: usize = 512;
/// platformCreate | authRead | ownerRead | ppRead | noDA | writeDefine | ppWrite: what vendors set on EK certificates.
const NV_CERTIFICATE_ATTRIBUTES: u32 = 0x4207_2001;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
/// TPM_RC_RETRY.
const RETRY: u32 = 0x922;
const HANDLES_TRANSIENT: u32 = 0x8000_0000;
const HANDLES_LOADED_SESSION: u32 = 0x0200_0000;
const HANDLES_PERSISTENT: u32 = 0x8100_0000;

/// Whether start-up and shutdown keep the TPM's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartupType {
    Clear,
    State,
}

impl StartupType {
    const fn wire(self) -> u16 {
        match self {
            Self::Clear => 0,
            Self::State => 1,
        }
    }
}

/// The TPM's counters, from TPM2_ReadClock: the true values, as the platform's owner would read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockCounters {
    /// Milliseconds of power since the last TPM2_Clear.
    pub clock: u64,
    /// TPM resets (reboots) since the last TPM2_Clear.
    pub reset_count: u32,
    /// Restarts and resumes (suspends) since the last reset.
    pub restart_count: u32,
    /// Whether no higher `clock` can have been reported before.
    pub safe: bool,
}

pub(crate) fn startup(tpm: &mut dyn Exchange, kind: StartupType) -> Result<(), SimError> {
    Command::plain("TPM2_Startup", 0x144, &[]).u16(kind.wire()).run(tpm).map(drop)
}

pub(crate) fn shutdown(tpm: &mut dyn Exchange, kind: StartupType) -> Result<(), SimError> {
    Command::plain("TPM2_Shutdown", 0x145, &[]).u16(kind.wire()).run(tpm).map(drop)
}

pub(crate) fn clear(tpm: &mut dyn Exchange) -> Result<(), SimError> {
    Command::authorised("TPM2_Clear", 0x126, &[PLATFORM]).run(tpm).map(drop)
}

/// Sets the dictionary-attack parameters as chips ship with them; libtpms forgets them at TPM2_Clear.
pub(crate) fn set_lockout(tpm: &mut dyn Exchange) -> Result<(), SimError> {
    Command::authorised("TPM2_DictionaryAttackParameters", 0x13a, &[LOCKOUT])
        .u32(LOCKOUT_TRIES)
        .u32(LOCKOUT_FORGETS_SECONDS)
        .u32(LOCKOUT_FORGETS_SECONDS)
        .run(tpm)
        .map(drop)
}

/// What firmware does before it hands over: nobody after it may use the platform hierarchy.
pub(crate) fn disable_platform(tpm: &mut dyn Exchange) -> Result<(), SimError> {
    Command::authorised("TPM2_HierarchyControl", 0x121, &[PLATFORM]).u32(PLATFORM).u8(0).run(tpm).map(drop)
}

/// Allocates all 24 PCRs in the three banks of [`Bank::ALL`] and none in SHA-512; in force from the next reset on.
pub(crate) fn allocate_banks(tpm: &mut dyn Exchange) -> Result<(), SimError> {
    let mut command = Command::authorised("TPM2_PCR_Allocate", 0x12b, &[PLATFORM]).u32(4);
    for bank in Bank::ALL {
        command = command.u16(bank.algorithm()).u8(3).raw(&[0xff; 3]);
    }
    command.u16(0x000d).u8(3).raw(&[0; 3]).run(tpm).map(drop)
}

pub(crate) fn extend(tpm: &mut dyn Exchange, pcr: u32, digests: &Digests, banks: &[Bank]) -> Result<(), SimError> {
    #[expect(clippy::cast_possible_truncation, reason = "at most three banks")]
    let count = banks.len() as u32;
    let mut command = Command::authorised("TPM2_PCR_Extend", 0x182, &[pcr]).u32(count);
    for bank in banks {
        command = command.u16(bank.algorithm()).raw(digests.get(*bank));
    }
    command.run(tpm).map(drop)
}

/// The value of one PCR in one bank.
pub(crate) fn pcr(tpm: &mut dyn Exchange, bank: Bank, index: u32) -> Result<Vec<u8>, SimError> {
    let mut select = [0u8; 3];
    if let Some(byte) = select.get_mut(index as usize / 8) {
        *byte = 1 << (index % 8);
    }
    let mut response =
        Command::plain("TPM2_PCR_Read", 0x17e, &[]).u32(1).u16(bank.algorithm()).u8(3).raw(&select).run(tpm)?;
    response.u32()?; // update counter
    response.u32()?; // one selection
    response.take(6)?;
    match response.u32()? {
        0 => Ok(Vec::new()),
        _ => response.sized(),
    }
}

pub(crate) fn read_clock(tpm: &mut dyn Exchange) -> Result<ClockCounters, SimError> {
    let mut response = Command::plain("TPM2_ReadClock", 0x181, &[]).run(tpm)?;
    response.u64()?; // time since power-on
    Ok(ClockCounters {
        clock: response.u64()?,
        reset_count: response.u32()?,
        restart_count: response.u32()?,
        safe: response.u8()? == 1,
    })
}

/// Creates a primary key and returns its handle and its TPM2B_PUBLIC's contents (a TPMT_PUBLIC).
pub(crate) fn create_primary(
    tpm: &mut dyn Exchange,
    hierarchy: u32,
    template: &[u8],
) -> Result<(u32, Vec<u8>), SimError> {
    let mut response = Command::authorised("TPM2_CreatePrimary", 0x131, &[hierarchy])
        .sized(&[0, 0, 0, 0]) // no user secret, no data
        .sized(template)
        .sized(&[])
        .u32(0)
        .run(tpm)?;
    let handle = response.u32()?;
    response.parameters()?;
    Ok((handle, response.sized()?))
}

pub(crate) fn flush(tpm: &mut dyn Exchange, handle: u32) -> Result<(), SimError> {
    Command::plain("TPM2_FlushContext", 0x165, &[]).u32(handle).run(tpm).map(drop)
}

/// Makes a loaded key persistent under `handle`, as the owner; what stood there before goes.
pub(crate) fn persist(tpm: &mut dyn Exchange, key: u32, handle: u32) -> Result<(), SimError> {
    if handles_from(tpm, handle)?.first() == Some(&handle) {
        Command::authorised("TPM2_EvictControl", 0x120, &[OWNER, handle]).u32(handle).run(tpm)?;
    }
    Command::authorised("TPM2_EvictControl", 0x120, &[OWNER, key]).u32(handle).run(tpm).map(drop)
}

/// The public area (TPMT_PUBLIC) of a loaded or persistent key.
pub(crate) fn read_public(tpm: &mut dyn Exchange, handle: u32) -> Result<Vec<u8>, SimError> {
    Command::plain("TPM2_ReadPublic", 0x173, &[]).u32(handle).run(tpm)?.sized()
}

/// A quote by a loaded or persistent key with an empty password: TPMS_ATTEST and TPMT_SIGNATURE.
pub(crate) fn quote(
    tpm: &mut dyn Exchange,
    key: u32,
    extra_data: &[u8],
    bank: Bank,
    pcrs: std::ops::Range<u32>,
) -> Result<(Vec<u8>, Vec<u8>), SimError> {
    let selected = pcrs.fold(0_u32, |bits, pcr| bits | 1 << pcr).to_le_bytes();
    let mut response = Command::authorised("TPM2_Quote", 0x158, &[key])
        .sized(extra_data)
        .u16(ALG_NULL)
        .u32(1)
        .u16(bank.algorithm())
        .u8(3)
        .raw(selected.get(..3).unwrap_or_default())
        .run(tpm)?;
    let length = response.u32()? as usize;
    let attest = response.sized()?;
    let signature = response.take(length.saturating_sub(attest.len() + 2))?.to_vec();
    Ok((attest, signature))
}

/// Bytes that an index holds.
pub(crate) fn nv_size(tpm: &mut dyn Exchange, index: u32) -> Result<usize, SimError> {
    let public = Command::plain("TPM2_NV_ReadPublic", 0x169, &[]).u32(index).run(tpm)?.sized()?;
    let size = public.last_chunk().ok_or(SimError::ShortResponse { command: "TPM2_NV_ReadPublic" })?;
    Ok(usize::from(u16::from_be_bytes(*size)))
}

/// Reads an index with its own password, from the beginning.
pub(crate) fn nv_read(tpm: &mut dyn Exchange, index: u32, password: &[u8], size: usize) -> Result<Vec<u8>, SimError> {
    let mut contents = Vec::with_capacity(size);
    while contents.len() < size {
        let piece = NV_CHUNK_BYTES.min(size - contents.len());
        #[expect(clippy::cast_possible_truncation, reason = "indices of swtpm hold 2048 bytes at most")]
        let (piece, offset) = (piece as u16, contents.len() as u16);
        let read = |tpm: &mut dyn Exchange| {
            let command = Command::by_password("TPM2_NV_Read", 0x14e, &[index, index], password);
            command.u16(piece).u16(offset).run(tpm)
        };
        let mut response = match read(tpm) {
            // the first use of a password after start-up makes the TPM write down that there was one
            Err(SimError::Refused { code: RETRY, .. }) => read(tpm)?,
            other => other?,
        };
        response.parameters()?;
        contents.extend(response.sized()?);
    }
    Ok(contents)
}

/// Defines a platform-created index, readable by anyone with its empty password, and writes it.
pub(crate) fn write_certificate(tpm: &mut dyn Exchange, index: u32, contents: &[u8]) -> Result<(), SimError> {
    #[expect(clippy::cast_possible_truncation, reason = "certificates of our own making, below 2048 bytes")]
    let size = contents.len() as u16;
    let mut public = Vec::with_capacity(14);
    public.extend_from_slice(&index.to_be_bytes());
    public.extend_from_slice(&ALG_SHA256.to_be_bytes());
    public.extend_from_slice(&NV_CERTIFICATE_ATTRIBUTES.to_be_bytes());
    public.extend_from_slice(&0u16.to_be_bytes());
    public.extend_from_slice(&size.to_be_bytes());
    Command::authorised("TPM2_NV_DefineSpace", 0x12a, &[PLATFORM]).sized(&[]).sized(&public).run(tpm)?;
    for (number, chunk) in contents.chunks(NV_CHUNK_BYTES).enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "certificates of our own making, below 2048 bytes")]
        let offset = (number * NV_CHUNK_BYTES) as u16;
        Command::authorised("TPM2_NV_Write", 0x137, &[PLATFORM, index]).sized(chunk).u16(offset).run(tpm)?;
    }
    Ok(())
}

/// Handles that are in use now: transient objects, loaded sessions, persistent objects, in this order.
pub(crate) fn handles(tpm: &mut dyn Exchange) -> Result<[Vec<u32>; 3], SimError> {
    Ok([
        handles_from(tpm, HANDLES_TRANSIENT)?,
        handles_from(tpm, HANDLES_LOADED_SESSION)?,
        handles_from(tpm, HANDLES_PERSISTENT)?,
    ])
}

fn handles_from(tpm: &mut dyn Exchange, first: u32) -> Result<Vec<u32>, SimError> {
    let mut response = Command::plain("TPM2_GetCapability", 0x17a, &[]).u32(1).u32(first).u32(64).run(tpm)?;
    response.u8()?; // more data
    response.u32()?; // capability
    let count = response.u32()?;
    (0..count).map(|_| response.u32()).collect()
}
