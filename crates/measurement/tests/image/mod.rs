//! PE images made of nothing but what a test says: headers, sections, and what follows them.
#![allow(dead_code, reason = "each test binary uses its part")]

/// Bytes of the headers.
pub(crate) const HEADERS: usize = 1024;
/// Where the PE header begins.
const PE: usize = 0x80;
/// Where the optional header begins.
const OPTIONAL: usize = PE + 24;
/// Offset of the checksum.
pub(crate) const CHECKSUM: usize = OPTIONAL + 64;
/// Offset of the data directory's entry for signatures.
pub(crate) const SECURITY: usize = OPTIONAL + 112 + 32;
/// Bytes to which sections are padded in the file.
const ALIGNMENT: usize = 512;

/// A PE32+ image with these sections, `behind` after them, and `signature` attached.
pub(crate) fn image(sections: &[(&str, &[u8])], behind: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut file = vec![0; HEADERS];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &u32::try_from(PE).unwrap().to_le_bytes());
    put(PE, b"PE\0\0");
    put(PE + 6, &u16::try_from(sections.len()).unwrap().to_le_bytes());
    put(PE + 20, &240_u16.to_le_bytes());
    put(OPTIONAL, &0x20b_u16.to_le_bytes());
    put(OPTIONAL + 60, &u32::try_from(HEADERS).unwrap().to_le_bytes());
    put(CHECKSUM, &0xdead_beef_u32.to_le_bytes());
    put(OPTIONAL + 108, &16_u32.to_le_bytes());
    let mut offset = HEADERS;
    for (index, (name, contents)) in sections.iter().enumerate() {
        let at = OPTIONAL + 240 + 40 * index;
        let raw = contents.len().next_multiple_of(ALIGNMENT);
        put(at, name.as_bytes());
        put(at + 8, &u32::try_from(contents.len()).unwrap().to_le_bytes());
        put(at + 12, &u32::try_from(0x10000 * (index + 1)).unwrap().to_le_bytes());
        put(at + 16, &u32::try_from(raw).unwrap().to_le_bytes());
        put(at + 20, &u32::try_from(offset).unwrap().to_le_bytes());
        offset += raw;
    }
    for (_, contents) in sections {
        file.extend_from_slice(contents);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    }
    file.extend_from_slice(behind);
    if !signature.is_empty() {
        file.resize(file.len().next_multiple_of(8), 0);
        let place = [file.len(), signature.len()].map(|number| u32::try_from(number).unwrap().to_le_bytes());
        file[SECURITY..SECURITY + 8].copy_from_slice(&place.concat());
        file.extend_from_slice(signature);
    }
    file
}

/// The section by which systemd-stub names its version.
pub(crate) fn magic(version: &str) -> String {
    format!("#### LoaderInfo: systemd-stub {version} ####\0")
}

/// A unified kernel image whose kernel is an image too.
pub(crate) fn uki(version: &str, sections: &[(&str, &[u8])]) -> Vec<u8> {
    let magic = magic(version);
    let stub: [(&str, &[u8]); 2] = [(".text", b"code"), (".sdmagic", magic.as_bytes())];
    image(&[&stub[..], sections].concat(), b"", b"")
}
