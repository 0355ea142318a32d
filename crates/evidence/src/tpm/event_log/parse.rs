//! From bytes to events: one pass, nothing copied, every length checked before it is used.

use super::event::{Digests, Event, EventType};
use super::{ALGORITHMS_MAX, EVENT_LOG_BYTES_MAX, EVENTS_MAX, EventLog, MalformedLog};
use crate::tpm::Bank;

const SPEC_ID_SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
const STARTUP_LOCALITY_SIGNATURE: &[u8; 16] = b"StartupLocality\0";
/// Bytes of the smallest event: register, type, digest count, data size.
const EVENT_BYTES_MIN: usize = 16;
const PCR_COUNT: u32 = 24;

/// Digest algorithms of the log and their sizes in bytes, from the Spec ID event.
#[derive(Clone, Copy, Default)]
struct AlgorithmTable {
    entries: [(u16, u8); ALGORITHMS_MAX],
    count: usize,
}

impl AlgorithmTable {
    fn push(&mut self, algorithm: u16, size: u16) -> Result<(), MalformedLog> {
        if self.size(algorithm).is_some() {
            return Err(MalformedLog::SpecId { what: "each algorithm stands once", found: algorithm.into() });
        }
        let known = match algorithm {
            0x0004 => Some(20),
            0x000b | 0x0012 | 0x0027 => Some(32),
            0x000c | 0x0028 => Some(48),
            0x000d | 0x0029 => Some(64),
            _ => None,
        };
        let size_ok = known.map_or((1..=64).contains(&size), |known| known == size);
        let (Ok(size), true) = (u8::try_from(size), size_ok) else {
            return Err(MalformedLog::SpecId { what: "digest size fits its algorithm", found: size.into() });
        };
        let Some(entry) = self.entries.get_mut(self.count) else {
            return Err(MalformedLog::SpecId { what: "at most 16 algorithms", found: self.count as u64 });
        };
        *entry = (algorithm, size);
        self.count += 1;
        Ok(())
    }

    fn size(&self, algorithm: u16) -> Option<usize> {
        self.position(algorithm).and_then(|at| self.entries.get(at)).map(|(_, size)| usize::from(*size))
    }

    fn position(&self, algorithm: u16) -> Option<usize> {
        self.entries.iter().take(self.count).position(|(known, _)| *known == algorithm)
    }
}

/// Little-endian reader over the log that remembers where it stands, for messages.
struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
    event: u32,
    event_offset: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, needed: usize, field: &'static str) -> Result<&'a [u8], MalformedLog> {
        let rest = self.rest();
        let Some((taken, _)) = rest.split_at_checked(needed) else {
            return Err(MalformedLog::Truncated {
                event: self.event,
                offset: self.event_offset,
                field,
                needed,
                remaining: rest.len(),
            });
        };
        self.offset += needed;
        Ok(taken)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, MalformedLog> {
        let bytes = self.take(2, field)?;
        Ok(bytes.first_chunk().map_or(0, |b| u16::from_le_bytes(*b)))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, MalformedLog> {
        let bytes = self.take(4, field)?;
        Ok(bytes.first_chunk().map_or(0, |b| u32::from_le_bytes(*b)))
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    /// Whether nothing but padding follows: an area of a fixed size (CCEL) is filled with one value to its end.
    fn at_padding(&self) -> bool {
        let rest = self.rest();
        match rest.first_chunk::<12>() {
            Some([0xff, 0xff, 0xff, 0xff, ..]) => rest.iter().all(|byte| *byte == 0xff),
            Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => rest.iter().all(|byte| *byte == 0),
            Some(_) => false,
            None => rest.iter().all(|byte| *byte == 0xff) || rest.iter().all(|byte| *byte == 0),
        }
    }
}

impl<'a> EventLog<'a> {
    /// Parses a crypto-agile log as the kernel's `binary_bios_measurements` has it.
    ///
    /// One value (`FF` or `00`) repeated from an event boundary to the end counts as padding and is dropped.
    ///
    /// # Errors
    /// [`MalformedLog`] for anything that is not exactly such a log, a TCG 1.2 (SHA-1) log among them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MalformedLog> {
        Self::parse_from(bytes, 0)
    }

    /// Parses the event log of a confidential VM (CCEL): the same format, whose Spec ID event may stand in register 1.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_cc(bytes: &'a [u8]) -> Result<Self, MalformedLog> {
        Self::parse_from(bytes, 1)
    }

    /// `spec_id_max` is the highest register that the Spec ID event may name; nothing is extended by it.
    fn parse_from(bytes: &'a [u8], spec_id_max: u32) -> Result<Self, MalformedLog> {
        if bytes.is_empty() {
            return Err(MalformedLog::Empty);
        }
        if bytes.len() > EVENT_LOG_BYTES_MAX {
            return Err(MalformedLog::TooLong { found: bytes.len(), limit: EVENT_LOG_BYTES_MAX });
        }
        let mut cursor = Cursor { bytes, offset: 0, event: 0, event_offset: 0 };
        let algorithms = spec_id(&mut cursor, spec_id_max)?;
        let mut log = EventLog {
            events: Vec::with_capacity((bytes.len() / 128).min(EVENTS_MAX)),
            startup_locality: None,
            banks: Bank::ALL.map(|bank| algorithms.position(bank.id()).map(|_| bank)),
        };
        let mut pcr0_measured = false;
        while !cursor.rest().is_empty() && !cursor.at_padding() {
            if log.events.len() >= EVENTS_MAX {
                return Err(MalformedLog::TooManyEvents { limit: EVENTS_MAX });
            }
            cursor.event += 1;
            cursor.event_offset = cursor.offset;
            let event = next_event(&mut cursor, &algorithms)?;
            if event.is_extended() {
                pcr0_measured |= event.pcr == 0;
            } else if let Some(locality) = startup_locality(&event)? {
                if log.startup_locality.is_some() || pcr0_measured {
                    let what = "stands twice or after the first measurement of PCR 0";
                    return Err(MalformedLog::StartupLocality { event: event.index, what });
                }
                log.startup_locality = Some(locality);
            }
            log.events.push(event);
        }
        Ok(log)
    }
}

/// The first event, in SHA-1 format, and the table inside it.
fn spec_id(cursor: &mut Cursor<'_>, register_max: u32) -> Result<AlgorithmTable, MalformedLog> {
    let pcr = cursor.u32("register")?;
    let kind = cursor.u32("type")?;
    cursor.take(20, "digest")?;
    let size = cursor.u32("data size")?;
    let data = cursor.take(usize::try_from(size).unwrap_or(usize::MAX), "data")?;
    if kind != EventType::NO_ACTION.0 || data.first_chunk() != Some(SPEC_ID_SIGNATURE) {
        return Err(MalformedLog::NoSpecId);
    }
    if pcr > register_max {
        return Err(MalformedLog::OtherRegisters { found: pcr });
    }
    let mut inner = Cursor { bytes: data, offset: SPEC_ID_SIGNATURE.len(), event: 0, event_offset: 0 };
    inner.take(8, "platform class, specification version, uintn size")?;
    let count = inner.u32("algorithm count")?;
    if count == 0 || usize::try_from(count).map_or(true, |count| count > ALGORITHMS_MAX) {
        return Err(MalformedLog::SpecId { what: "1 to 16 algorithms", found: count.into() });
    }
    let mut table = AlgorithmTable::default();
    for _ in 0..count {
        let algorithm = inner.u16("algorithm")?;
        table.push(algorithm, inner.u16("digest size")?)?;
    }
    let vendor = inner.take(1, "vendor info size")?.first().copied().unwrap_or(0);
    inner.take(vendor.into(), "vendor info")?;
    match inner.rest().len() {
        0 => Ok(table),
        left => Err(MalformedLog::SpecId { what: "nothing behind the vendor info", found: left as u64 }),
    }
}

fn next_event<'a>(cursor: &mut Cursor<'a>, algorithms: &AlgorithmTable) -> Result<Event<'a>, MalformedLog> {
    let (index, offset) = (cursor.event, cursor.event_offset);
    cursor.take(EVENT_BYTES_MIN, "header")?;
    cursor.offset = offset;
    let pcr = cursor.u32("register")?;
    let kind = EventType(cursor.u32("type")?);
    if pcr >= PCR_COUNT && kind != EventType::NO_ACTION {
        return Err(MalformedLog::PcrIndex { event: index, offset, found: pcr });
    }
    let count = cursor.u32("digest count")?;
    let declared = algorithms.count;
    if count == 0 || usize::try_from(count).map_or(true, |count| count > declared) {
        return Err(MalformedLog::DigestCount { event: index, offset, found: count, declared });
    }
    let mut digests = Digests::default();
    let mut seen = 0_u32;
    for _ in 0..count {
        let found = cursor.u16("digest algorithm")?;
        let (Some(position), Some(size)) = (algorithms.position(found), algorithms.size(found)) else {
            return Err(MalformedLog::UnknownAlgorithm { event: index, offset, found });
        };
        if seen & (1 << position) != 0 {
            return Err(MalformedLog::DuplicateAlgorithm { event: index, offset, found });
        }
        seen |= 1 << position;
        let digest = cursor.take(size, "digest")?;
        match found {
            0x000b => digests.sha256 = digest.first_chunk(),
            0x000c => digests.sha384 = digest.first_chunk(),
            0x000d => digests.sha512 = digest.first_chunk(),
            _ => {}
        }
    }
    let size = cursor.u32("data size")?;
    let data = cursor.take(usize::try_from(size).unwrap_or(usize::MAX), "data")?;
    Ok(Event { index, pcr, kind, data, digests })
}

/// The locality of a `StartupLocality` event; `None` for every other informative event.
fn startup_locality(event: &Event<'_>) -> Result<Option<u8>, MalformedLog> {
    let Some(value) = event.data.strip_prefix(STARTUP_LOCALITY_SIGNATURE.as_slice()) else {
        return Ok(None);
    };
    match (event.pcr, value) {
        (0, [locality @ (0 | 3 | 4)]) => Ok(Some(*locality)),
        _ => {
            let what = "is not one byte 0, 3 or 4 in PCR 0";
            Err(MalformedLog::StartupLocality { event: event.index, what })
        }
    }
}
