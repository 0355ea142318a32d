//! Writes small event logs for tests: a whole measured boot with Secure Boot, of which a test changes one thing.
#![allow(dead_code, reason = "each test binary uses its part")]

use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog, EventType, Guid, UnprovenBoot};
use holdfast_evidence::tpm::{Bank, PcrIndex};

/// One event with one digest, whose length says of which bank: SHA-256 unless a real log has another.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) pcr: u32,
    pub(crate) kind: EventType,
    pub(crate) digest: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// An event whose digest is that of its data.
pub(crate) fn bound(pcr: u32, kind: EventType, data: &[u8]) -> Entry {
    Entry { pcr, kind, digest: sha256(&[data]).to_vec(), data: data.to_vec() }
}

/// An event whose digest is that of something else.
pub(crate) fn opaque(pcr: u32, kind: EventType, measured: &[u8], data: &[u8]) -> Entry {
    Entry { pcr, kind, digest: sha256(&[measured]).to_vec(), data: data.to_vec() }
}

/// `UEFI_VARIABLE_DATA`.
pub(crate) fn variable(owner: Guid, name: &str, data: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = owner.0.to_vec();
    bytes.extend(u64::try_from(name.len() / 2).unwrap().to_le_bytes());
    bytes.extend(u64::try_from(data.len()).unwrap().to_le_bytes());
    [bytes, name, data.to_vec()].concat()
}

pub(crate) const X509_GUID: [u8; 16] =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
pub(crate) const SHA256_GUID: [u8; 16] =
    [0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28];

/// An `EFI_SIGNATURE_LIST` with entries of one size, each owned by `11…`.
pub(crate) fn signature_list(kind: [u8; 16], entries: &[&[u8]]) -> Vec<u8> {
    let size = entries.first().map_or(16, |entry| entry.len() + 16);
    let sizes = [28 + size * entries.len(), 0, size].map(|size| u32::try_from(size).unwrap().to_le_bytes());
    let body = entries.iter().flat_map(|entry| [&[0x11; 16], *entry].concat());
    kind.into_iter().chain(sizes.concat()).chain(body).collect()
}

/// A certificate as far as PCR 7 is concerned: one DER SEQUENCE.
pub(crate) fn certificate(fill: u8) -> Vec<u8> {
    [&[0x30, 0x82, 1, 0], &[fill; 256][..]].concat()
}

pub(crate) fn separator(pcr: u32) -> Entry {
    bound(pcr, EventType::SEPARATOR, &[0; 4])
}

pub(crate) fn grub(label: &str, text: &str) -> Entry {
    opaque(8, EventType::IPL, text.as_bytes(), format!("{label}: {text}\0").as_bytes())
}

/// The variables of PCR 7: SecureBoot = 1, and one entry each.
pub(crate) fn secure_boot_variables() -> Vec<Entry> {
    let (global, database) = (Guid::EFI_GLOBAL, Guid::IMAGE_SECURITY_DATABASE);
    let x509 = |fill| signature_list(X509_GUID, &[&certificate(fill)]);
    [
        variable(global, "SecureBoot", &[1]),
        variable(global, "PK", &x509(1)),
        variable(global, "KEK", &x509(2)),
        variable(database, "db", &x509(3)),
        variable(database, "dbx", &signature_list(SHA256_GUID, &[&[4; 32], &[5; 32]])),
    ]
    .iter()
    .map(|data| bound(7, EventType::VARIABLE_DRIVER_CONFIG, data))
    .collect()
}

/// What db vouched with.
pub(crate) fn authority() -> Entry {
    let data = [&[0x11; 16], certificate(3).as_slice()].concat();
    bound(7, EventType::VARIABLE_AUTHORITY, &variable(Guid::IMAGE_SECURITY_DATABASE, "db", &data))
}

/// A boot by firmware, GRUB and kernel with Secure Boot.
pub(crate) fn boot() -> Vec<Entry> {
    let version: Vec<u8> = "FW 1.0\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut log = vec![
        bound(0, EventType::S_CRTM_VERSION, &version),
        opaque(0, EventType::PLATFORM_FIRMWARE_BLOB, b"blob", &[0; 16]),
    ];
    log.extend(secure_boot_variables());
    log.push(separator(7));
    log.push(bound(4, EventType::EFI_ACTION, b"Calling EFI Application from Boot Option"));
    log.extend((0..7).map(separator));
    log.push(authority());
    log.push(opaque(4, EventType::BOOT_SERVICES_APPLICATION, b"grub", b"no device path"));
    log.push(grub("grub_cmd", "linux /vmlinuz quiet"));
    log.push(opaque(9, EventType::IPL, b"vmlinuz file", b"/vmlinuz\0"));
    log.push(opaque(4, EventType::BOOT_SERVICES_APPLICATION, b"kernel", b""));
    log.push(grub("kernel_cmdline", "/vmlinuz quiet"));
    log.push(opaque(9, EventType::EVENT_TAG, b"initrd", b"\xec\x22\x3b\x8f\x0d\0\0\0Linux initrd\0"));
    log.push(bound(5, EventType::EFI_ACTION, b"Exit Boot Services Invocation"));
    log.push(bound(5, EventType::EFI_ACTION, b"Exit Boot Services Returned with Success"));
    log
}

/// The Spec ID event for the given algorithms.
pub(crate) fn spec_id(algorithms: &[(u16, u16)], vendor_info: &[u8]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02".to_vec();
    data.extend(u32::try_from(algorithms.len()).unwrap().to_le_bytes());
    for (algorithm, size) in algorithms {
        data.extend([algorithm.to_le_bytes(), size.to_le_bytes()].concat());
    }
    data.push(u8::try_from(vendor_info.len()).unwrap());
    data.extend(vendor_info);
    let size = u32::try_from(data.len()).unwrap().to_le_bytes();
    [&[0, 0, 0, 0, 3, 0, 0, 0], &[0; 20][..], &size, &data].concat()
}

/// One event in crypto-agile form.
pub(crate) fn encode_event(pcr: u32, kind: EventType, digests: &[(u16, &[u8])], data: &[u8]) -> Vec<u8> {
    let mut bytes = [pcr.to_le_bytes(), kind.0.to_le_bytes()].concat();
    bytes.extend(u32::try_from(digests.len()).unwrap().to_le_bytes());
    for (algorithm, digest) in digests {
        bytes.extend(algorithm.to_le_bytes());
        bytes.extend(*digest);
    }
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}

/// The bank whose digests have this length.
pub(crate) fn bank_of(digest: &[u8]) -> Bank {
    match digest.len() {
        48 => Bank::Sha384,
        64 => Bank::Sha512,
        _ => Bank::Sha256,
    }
}

/// The log of these events, of the one bank that their digests are of.
pub(crate) fn encode(log: &[Entry]) -> Vec<u8> {
    let bank = log.first().map_or(Bank::Sha256, |entry| bank_of(&entry.digest));
    let (algorithm, size): (u16, u16) = match bank {
        Bank::Sha256 => (0x0b, 32),
        Bank::Sha384 => (0x0c, 48),
        Bank::Sha512 => (0x0d, 64),
    };
    let mut bytes = spec_id(&[(algorithm, size)], &[]);
    for entry in log {
        bytes.extend(encode_event(entry.pcr, entry.kind, &[(algorithm, &entry.digest)], &entry.data));
    }
    bytes
}

/// The facts of a log all of whose registers are proven.
pub(crate) fn facts(log: &[Entry]) -> Result<BootFacts, UnprovenBoot> {
    let bytes = encode(log);
    let log = EventLog::parse(&bytes).unwrap();
    log.replay(Bank::Sha256)?;
    BootFacts::derive(&log, Bank::Sha256, PcrIndex::all().collect())
}

/// The code of the refusal, or `accepted`.
pub(crate) fn code(log: &[Entry]) -> &'static str {
    facts(log).map_or_else(|refusal| refusal.code(), |_| "accepted")
}
