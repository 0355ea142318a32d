//! UEFI structures inside event data: variables, signature lists, device paths, partition tables.

use crate::log::le32;

/// A GUID as UEFI stores it: the first three fields little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guid(pub(crate) [u8; 16]);

impl Guid {
    const fn new(a: u32, b: u16, c: u16, d: [u8; 8]) -> Self {
        let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
        Self([a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]])
    }
}

pub(crate) const GLOBAL_VARIABLE: Guid =
    Guid::new(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
pub(crate) const IMAGE_SECURITY: Guid =
    Guid::new(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
pub(crate) const SHIM_LOCK: Guid =
    Guid::new(0x605d_ab50, 0xe046, 0x4300, [0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23]);
const CERT_X509: Guid = Guid::new(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);
const CERT_SHA256: Guid = Guid::new(0xc1c4_1626, 0x504c, 0x4092, [0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28]);
const EFI_SYSTEM_PARTITION: Guid =
    Guid::new(0xc12a_7328, 0xf81f, 0x11d2, [0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]);
const LINUX_FILESYSTEM: Guid = Guid::new(0x0fc6_3daf, 0x8483, 0x4772, [0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4]);
/// Owner of every signature that the simulator enrols; "Holdfast Simula" in its last bytes' place.
pub(crate) const OWNER: Guid = Guid(*b"Holdfast-Sim\0\0\0\x01");
const ESP_UNIQUE: Guid = Guid(*b"Holdfast-Sim\0ESP");
const ROOT_UNIQUE: Guid = Guid(*b"Holdfast-Simroot");
const DISK: Guid = Guid(*b"Holdfast-Simdisk");

/// What a signature database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// A certificate, DER.
    X509(Vec<u8>),
    /// The SHA-256 of an image.
    Sha256([u8; 32]),
}

/// UTF-16LE without a terminator.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// UTF-16LE with its terminator.
pub(crate) fn utf16z(text: &str) -> Vec<u8> {
    let mut bytes = utf16(text);
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

/// UEFI_VARIABLE_DATA.
pub(crate) fn variable(vendor: Guid, name: &str, data: &[u8]) -> Vec<u8> {
    let name = utf16(name);
    let mut out = vendor.0.to_vec();
    out.extend_from_slice(&(name.len() as u64 / 2).to_le_bytes());
    out.extend_from_slice(&(data.len() as u64).to_le_bytes());
    out.extend_from_slice(&name);
    out.extend_from_slice(data);
    out
}

/// EFI_SIGNATURE_DATA: owner, then the signature.
pub(crate) fn signature_data(owner: Guid, signature: &[u8]) -> Vec<u8> {
    [&owner.0, signature].concat()
}

/// A sequence of EFI_SIGNATURE_LISTs: one for each certificate, one for all hashes that follow one another.
pub(crate) fn signature_lists(signatures: &[Signature]) -> Vec<u8> {
    let mut out = Vec::new();
    let same_list = |a: &Signature, b: &Signature| matches!((a, b), (Signature::Sha256(_), Signature::Sha256(_)));
    for group in signatures.chunk_by(same_list) {
        let (kind, size) = match group.first() {
            Some(Signature::X509(der)) => (CERT_X509, der.len()),
            Some(Signature::Sha256(hash)) => (CERT_SHA256, hash.len()),
            None => continue,
        };
        let size = size + OWNER.0.len();
        out.extend_from_slice(&kind.0);
        out.extend_from_slice(&le32(28 + size * group.len()));
        out.extend_from_slice(&le32(0));
        out.extend_from_slice(&le32(size));
        for signature in group {
            match signature {
                Signature::X509(der) => out.extend_from_slice(&signature_data(OWNER, der)),
                Signature::Sha256(hash) => out.extend_from_slice(&signature_data(OWNER, hash)),
            }
        }
    }
    out
}

/// The device path of a file on the disk's EFI system partition: PCI root, NVMe-less SATA disk, partition, file.
pub(crate) fn device_path(file: &str) -> Vec<u8> {
    let mut out = vec![0x02, 0x01, 12, 0, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0]; // ACPI PNP0A03
    out.extend_from_slice(&[0x01, 0x01, 6, 0, 0x02, 0x1f]); // PCI 1f.2
    out.extend_from_slice(&[0x03, 0x12, 10, 0, 0, 0, 0xff, 0xff, 0, 0]); // SATA port 0
    out.extend_from_slice(&[0x04, 0x01, 42, 0, 1, 0, 0, 0]); // partition 1
    out.extend_from_slice(&ESP_FIRST_SECTOR.to_le_bytes());
    out.extend_from_slice(&(ESP_LAST_SECTOR - ESP_FIRST_SECTOR + 1).to_le_bytes());
    out.extend_from_slice(&ESP_UNIQUE.0);
    out.extend_from_slice(&[0x02, 0x02]); // GPT, identified by GUID
    out.extend_from_slice(&file_path(file));
    out
}

/// A device path of a file path alone, as shim reports what it loads.
pub(crate) fn file_path(file: &str) -> Vec<u8> {
    let name = utf16z(file);
    let mut out = vec![0x04, 0x04];
    #[expect(clippy::cast_possible_truncation, reason = "profiles bound their paths")]
    out.extend_from_slice(&(name.len() as u16 + 4).to_le_bytes());
    out.extend_from_slice(&name);
    out.extend_from_slice(&[0x7f, 0xff, 4, 0]);
    out
}

/// UEFI_IMAGE_LOAD_EVENT.
pub(crate) fn image_load(location: u64, length: u64, path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + path.len());
    for field in [location, length, 0, path.len() as u64] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(path);
    out
}

/// EFI_LOAD_OPTION: the contents of a Boot#### variable.
pub(crate) fn load_option(description: &str, path: &[u8]) -> Vec<u8> {
    let mut out = 1u32.to_le_bytes().to_vec(); // active
    #[expect(clippy::cast_possible_truncation, reason = "profiles bound their paths")]
    out.extend_from_slice(&(path.len() as u16).to_le_bytes());
    out.extend_from_slice(&utf16z(description));
    out.extend_from_slice(path);
    out
}

const ESP_FIRST_SECTOR: u64 = 2048;
const ESP_LAST_SECTOR: u64 = 1_050_623;
const ROOT_LAST_SECTOR: u64 = 41_940_991;
const DISK_LAST_SECTOR: u64 = 41_943_039;

/// UEFI_GPT_DATA of the simulated disk: an EFI system partition and a root file system.
pub(crate) fn partition_table() -> Vec<u8> {
    let mut out = b"EFI PART".to_vec();
    for field in [0x0001_0000u32, 92, 0, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for sector in [1, DISK_LAST_SECTOR, 34, DISK_LAST_SECTOR - 33] {
        out.extend_from_slice(&sector.to_le_bytes());
    }
    out.extend_from_slice(&DISK.0);
    out.extend_from_slice(&2u64.to_le_bytes()); // first sector of the entries
    for field in [128u32, 128, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&2u64.to_le_bytes()); // partitions in use
    out.extend(partition(EFI_SYSTEM_PARTITION, ESP_UNIQUE, ESP_FIRST_SECTOR, ESP_LAST_SECTOR, "EFI system"));
    out.extend(partition(LINUX_FILESYSTEM, ROOT_UNIQUE, ESP_LAST_SECTOR + 1, ROOT_LAST_SECTOR, "root"));
    out
}

fn partition(kind: Guid, unique: Guid, first: u64, last: u64, name: &str) -> Vec<u8> {
    let mut out = [kind.0, unique.0].concat();
    for field in [first, last, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend(utf16(name));
    out.resize(128, 0);
    out
}
