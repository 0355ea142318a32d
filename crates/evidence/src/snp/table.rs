//! The certificate table that a hypervisor hands to its guest (GHCB specification, `SNP_GET_EXT_REPORT`; the `auxblob`
//! of configfs-tsm), and bundles of certificates in PEM or DER. All of it is a stranger's word: chains are verified.

use x509_parser::pem::Pem;

use super::certificate::CERTIFICATE_BYTES_MAX;
use crate::error::{Defect, Malformed, Structure};
use crate::reader::Reader;

/// Bytes of a table. The largest seen, three certificates in PEM, has 6577.
pub const TABLE_BYTES_MAX: usize = 64 << 10;
/// Entries of a table.
const ENTRIES_MAX: usize = 16;
/// Certificates that are looked at, of a table and of what the verifier brings.
pub(super) const CERTIFICATES_MAX: usize = 16;
/// How PEM begins.
const BEGIN: &[u8] = b"-----BEGIN";
/// GUIDs in the order of RFC 4122, as tables have them.
const VCEK: [u8; 16] = [0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd];
const VLEK: [u8; 16] = [0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1];
const ASK: [u8; 16] = [0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82];
const ARK: [u8; 16] = [0xc0, 0xb4, 0x06, 0xa4, 0xa8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0, 0xae];

/// The entries of a certificate table. Empty where the machine has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateTable<'a> {
    /// Contents of the entries for VCEK, VLEK, ASK and ARK, in the order of the table; others are left out.
    entries: Vec<&'a [u8]>,
}

impl<'a> CertificateTable<'a> {
    /// Reads a table: 24 bytes an entry (GUID, offset and length little-endian), ended by a GUID of zeros. No bytes at
    /// all are an empty table. The host writes it, the guest cannot mend it, and it only helps: an entry that lies
    /// outside is as good as none.
    ///
    /// # Errors
    /// [`Malformed`] beyond the limits, and without an end.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let malformed = |field, defect| Malformed { structure: Structure::SnpCertificates, field, defect };
        if bytes.len() > TABLE_BYTES_MAX {
            return Err(malformed("table", Defect::TooLarge { found: bytes.len(), limit: TABLE_BYTES_MAX }));
        }
        let mut entries = Vec::new();
        if bytes.is_empty() {
            return Ok(Self { entries });
        }
        let mut reader = Reader::new(Structure::SnpCertificates, bytes);
        for _ in 0..=ENTRIES_MAX {
            let guid: [u8; 16] = reader.array("guid")?;
            let (offset, length) = (reader.u32_le("offset")?, reader.u32_le("length")?);
            if guid == [0; 16] {
                return Ok(Self { entries });
            }
            let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
            let (start, length) = (place(offset), place(length));
            let entry = start.checked_add(length).and_then(|end| bytes.get(start..end));
            if let Some(entry) = entry.filter(|_| [VCEK, VLEK, ASK, ARK].contains(&guid)) {
                entries.push(entry);
            }
        }
        Err(malformed("entries", Defect::TooLarge { found: ENTRIES_MAX + 1, limit: ENTRIES_MAX }))
    }

    /// Every certificate of the table, as DER, by [`salvage`].
    ///
    /// # Errors
    /// [`Malformed`] for more certificates than are looked at.
    pub fn certificates(&self) -> Result<Vec<Vec<u8>>, Malformed> {
        let found: Vec<Vec<u8>> = self.entries.iter().flat_map(|entry| salvage(entry)).collect();
        if found.len() > CERTIFICATES_MAX {
            let defect = Defect::TooLarge { found: found.len(), limit: CERTIFICATES_MAX };
            return Err(Malformed { structure: Structure::SnpCertificates, field: "certificates", defect });
        }
        Ok(found)
    }
}

/// The certificates in PEM, text before and between them left out, or in DER one behind the other; padding of zeros may
/// follow.
///
/// # Errors
/// [`Malformed`] for anything else, and for a certificate beyond [`CERTIFICATE_BYTES_MAX`].
pub fn bundle(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let malformed = |defect| Malformed { structure: Structure::SnpCertificates, field: "certificate", defect };
    if bytes.len() > TABLE_BYTES_MAX {
        return Err(malformed(Defect::TooLarge { found: bytes.len(), limit: TABLE_BYTES_MAX }));
    }
    let (found, is_whole) = split(bytes);
    if !is_whole {
        return Err(malformed(Defect::Encoding));
    }
    let largest = found.iter().map(Vec::len).max().unwrap_or_default();
    if largest > CERTIFICATE_BYTES_MAX {
        return Err(malformed(Defect::TooLarge { found: largest, limit: CERTIFICATE_BYTES_MAX }));
    }
    Ok(found)
}

/// The certificates that can be read of a bundle which somebody else has put together, such as a host: what is none, or
/// is too large, is left out.
#[must_use]
pub fn salvage(bytes: &[u8]) -> Vec<Vec<u8>> {
    let limited = bytes.get(..TABLE_BYTES_MAX).unwrap_or(bytes);
    split(limited).0.into_iter().filter(|der| der.len() <= CERTIFICATE_BYTES_MAX).collect()
}

/// Whether this is PEM, and where it begins: text may stand in front of the first block (`subject=…`), as openssl writes
/// it. A table whose entries are PEM has zeros in front of them and is none.
#[must_use]
pub fn pem_begins(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(BEGIN.len()).position(|window| window == BEGIN)?;
    // a DER certificate may have any text inside
    let is_text = !bytes.starts_with(&[0x30, 0x82]) && !bytes.iter().take(at).any(|byte| *byte == 0);
    is_text.then_some(at)
}

/// Certificates in DER, as far as they can be read, and whether that is all there is.
fn split(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let (mut found, mut is_whole) = (Vec::new(), true);
    if let Some(text) = pem_begins(bytes).and_then(|at| bytes.get(at..)) {
        let text = text.iter().position(|byte| *byte == 0).and_then(|end| text.get(..end)).unwrap_or(text);
        for pem in Pem::iter_from_buffer(text) {
            match pem {
                Ok(pem) if pem.label == "CERTIFICATE" => found.push(pem.contents),
                Ok(_) => {}
                Err(_) => is_whole = false,
            }
        }
        return (found, is_whole);
    }
    let mut rest = bytes;
    while rest.iter().any(|byte| *byte != 0) {
        let Some((one, after)) = split_certificate(rest) else { return (found, false) };
        found.push(one.to_vec());
        rest = after;
    }
    (found, is_whole)
}

/// One certificate from the front: a SEQUENCE of 256 to 65,535 bytes.
fn split_certificate(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [0x30, 0x82, high @ 1..=0xff, low, ..] => {
            bytes.split_at_checked(4 + usize::from(u16::from_be_bytes([*high, *low])))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(fill: u8) -> Vec<u8> {
        [&[0x30, 0x82, 0x01, 0x00][..], &[fill; 256]].concat()
    }

    fn table(entries: &[([u8; 16], u32, u32)], contents: &[u8]) -> Vec<u8> {
        let mut table = Vec::new();
        for (guid, offset, length) in entries.iter().chain(&[([0; 16], 0, 0)]) {
            table.extend_from_slice(guid);
            table.extend_from_slice(&offset.to_le_bytes());
            table.extend_from_slice(&length.to_le_bytes());
        }
        [table, contents.to_vec()].concat()
    }

    #[test]
    fn entries_are_found_by_offset_and_unknown_ones_left_out() {
        let bytes =
            table(&[(VCEK, 96, 260), ([7; 16], 96, 5), (ASK, 356, 260)], &[certificate(1), certificate(2)].concat());
        let read = CertificateTable::parse(&bytes).unwrap();
        assert_eq!(read.certificates().unwrap(), [certificate(1), certificate(2)]);
        assert_eq!(CertificateTable::parse(&[]).unwrap(), CertificateTable::default());
        assert_eq!(CertificateTable::parse(&[0; 4096]).unwrap(), CertificateTable::default());
    }

    #[test]
    fn an_entry_outside_the_table_is_as_good_as_none() {
        for (offset, length) in [(72, 261), (333, 0), (u32::MAX, 1), (0, u32::MAX), (u32::MAX, u32::MAX)] {
            for guid in [VCEK, [7; 16]] {
                let bytes = table(&[(guid, offset, length), (ASK, 72, 260)], &certificate(1));
                let read = CertificateTable::parse(&bytes).unwrap();
                assert_eq!(read.certificates().unwrap(), [certificate(1)], "{offset} {length}");
            }
        }
    }

    #[test]
    fn an_entry_that_holds_no_certificate_is_left_out() {
        let large = [&[0x30, 0x82, 0x20, 0x00][..], &[1; 0x2000]].concat();
        for bad in [&b"junkjunk"[..], &[0xff; 32], &[0; 16], b"-----BEGIN CERTIFICATE-----\n!", &large] {
            let length = u32::try_from(bad.len()).unwrap();
            let entries = [(VLEK, 96, length), (ARK, 96, 0), (VCEK, 96 + length, 260)];
            let bytes = table(&entries, &[bad, &certificate(1)].concat());
            let read = CertificateTable::parse(&bytes).unwrap();
            assert_eq!(read.certificates().unwrap(), [certificate(1)], "{bad:x?}");
        }
        // what follows a certificate does not spoil it
        assert_eq!(salvage(&[certificate(1), vec![0xff; 9]].concat()), [certificate(1)]);
    }

    #[test]
    fn more_certificates_than_are_looked_at_are_refused() {
        let many: Vec<u8> = (0..17).flat_map(|_| certificate(1)).collect();
        let bytes = table(&[(VCEK, 48, 17 * 260)], &many);
        assert!(CertificateTable::parse(&bytes).unwrap().certificates().is_err());
    }

    #[test]
    fn pem_may_have_text_before_and_between() {
        let pem = "subject=CN = SEV-VCEK\n-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n\n\
                   Bag Attributes\n-----BEGIN CERTIFICATE-----\nAwQF\n-----END CERTIFICATE-----\n";
        assert_eq!(bundle(pem.as_bytes()).unwrap(), [[0, 1, 2], [3, 4, 5]]);
        // a table of PEM is no PEM, nor is a certificate with such words inside
        assert_eq!(pem_begins(&table(&[(VCEK, 48, 9)], pem.as_bytes())), None);
        let mut inside = certificate(1);
        inside[20..30].copy_from_slice(BEGIN);
        assert_eq!(bundle(&inside).unwrap(), [inside.clone()]);
    }

    #[test]
    fn a_table_without_an_end_or_with_too_many_entries_is_refused() {
        let entries: Vec<_> = (0..17).map(|_| (VCEK, 0, 0)).collect();
        assert_eq!(CertificateTable::parse(&table(&entries, &[])).unwrap_err().field, "entries");
        let bytes = table(&entries[..3], &[]);
        assert_eq!(CertificateTable::parse(&bytes[..72]).unwrap_err().field, "guid");
        assert!(CertificateTable::parse(&bytes[..71]).is_err());
        assert!(CertificateTable::parse(&vec![0; TABLE_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bytes in [&b"certificate"[..], &[0x30, 0x82, 0x01, 0x00], b"-----BEGIN CERTIFICATE-----\n!"] {
            assert!(bundle(bytes).is_err(), "{bytes:x?}");
        }
        let both = [certificate(1), certificate(2), vec![0; 3]].concat();
        assert_eq!(bundle(&both).unwrap().len(), 2);
        assert!(bundle(&[&[0x30, 0x82, 0x20, 0x00][..], &[1; 0x2000]].concat()).is_err());
    }
}
