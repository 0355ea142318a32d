//! PCR 7: whether firmware checks signatures, with which keys, and which key vouched for the image. TCG PC Client
//! Platform Firmware Profile, "PCR[7]". Verifies no signature: firmware does, and starts nothing that does not fit.

use holdfast_evidence::crypto::{Digest, HashAlg};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::Uki;
use super::boot::{Boot, Predicted, Unpredicted};
use crate::Register;
use crate::bytes::Bytes;
use crate::ovmf::guid;
use crate::pe::Image;

const GLOBAL: [u8; 16] = guid(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
const SECURITY: [u8; 16] = guid(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
const CERT_X509: [u8; 16] = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);

/// What firmware checks, and by what.
#[derive(Clone, Copy, Debug)]
pub enum SecureBootState<'a> {
    /// Nothing is known but whether signatures are checked.
    Only {
        /// Whether they are.
        enabled: bool,
    },
    /// The variables, as firmware holds them: signature lists without the attributes that Linux puts in front.
    Variables {
        /// Whether signatures are checked.
        enabled: bool,
        /// The platform key.
        pk: &'a [u8],
        /// The key exchange keys.
        kek: &'a [u8],
        /// What may be started.
        db: &'a [u8],
        /// What must not be started.
        dbx: &'a [u8],
    },
}

impl SecureBootState<'_> {
    /// Whether signatures are checked.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        match self {
            Self::Only { enabled } | Self::Variables { enabled, .. } => *enabled,
        }
    }
}

/// The entry of db that vouches for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Owner and certificate, as they stand in db and are measured.
    pub entry: &'a [u8],
    /// The certificate, DER.
    pub certificate: &'a [u8],
}

impl Uki<'_> {
    /// PCR 7.
    ///
    /// # Errors
    /// The variables were not given, or do not fit the signature of an image that is started.
    pub fn pcr7(&self, boot: &Boot<'_>) -> Predicted {
        let SecureBootState::Variables { enabled, pk, kek, db, dbx } = *boot.secure_boot else {
            return Err(Unpredicted::NoVariables);
        };
        let mut pcr = Register::new(boot.hash);
        let variables = [
            ("SecureBoot", GLOBAL, &[u8::from(enabled)][..]),
            ("PK", GLOBAL, pk),
            ("KEK", GLOBAL, kek),
            ("db", SECURITY, db),
            ("dbx", SECURITY, dbx),
        ];
        for (name, owner, contents) in variables {
            pcr.extend(name, variable(boot.hash, &owner, name, contents));
        }
        pcr.measure("separator", &[0; 4]);
        if enabled {
            let loaders = boot.loaders.iter().map(|image| (image, "a loader"));
            let mut seen = Vec::new();
            for (image, name) in loaders.chain([(self.image(), "the UKI")]) {
                let authority = authority(image, db).ok_or(Unpredicted::NoAuthority { image: name })?;
                // an entry is measured once
                if !seen.contains(&authority.entry) {
                    seen.push(authority.entry);
                    let digest = variable(boot.hash, &SECURITY, "db", authority.entry);
                    pcr.extend(format!("authority of {name}"), digest);
                }
            }
        }
        Ok(pcr)
    }
}

/// `UEFI_VARIABLE_DATA`: owner, lengths of name and contents, name in UTF-16, contents.
fn variable(hash: HashAlg, owner: &[u8; 16], name: &str, contents: &[u8]) -> Digest {
    let characters: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let [name_length, length] = [name.len() as u64, contents.len() as u64].map(u64::to_le_bytes);
    hash.digest(&[owner, &name_length, &length, &characters, contents])
}

/// The first entry of `db` that is a certificate of a signature of `image`, or by its name issued one.
#[must_use]
pub fn authority<'d>(image: &Image<'_>, db: &'d [u8]) -> Option<Authority<'d>> {
    let signatures = image.signatures().ok()?;
    let entries = certificates(db);
    for signature in &signatures {
        for certificate in &signature.certificates {
            if let Some(entry) = entries.iter().find(|entry| entry.certificate == *certificate) {
                return Some(*entry);
            }
        }
        for certificate in &signature.certificates {
            let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { continue };
            let issued = |entry: &&Authority<'d>| {
                let issuer = X509Certificate::from_der(entry.certificate);
                issuer.is_ok_and(|(_, issuer)| issuer.subject().as_raw() == parsed.issuer().as_raw())
            };
            if let Some(entry) = entries.iter().find(issued) {
                return Some(*entry);
            }
        }
    }
    None
}

/// The certificates in a series of signature lists (UEFI, `EFI_SIGNATURE_LIST`); whatever does not parse ends it.
fn certificates(lists: &[u8]) -> Vec<Authority<'_>> {
    let mut found = Vec::new();
    let mut rest = lists;
    while let Some((list, behind)) = list(rest) {
        found.extend(list);
        rest = behind;
    }
    found
}

/// The certificates of the first list, and what follows it.
fn list(bytes: &[u8]) -> Option<(Vec<Authority<'_>>, &[u8])> {
    let header = Bytes::new("db", bytes);
    let kind: [u8; 16] = header.array(0, "signature type").ok()?;
    let size = |at| usize::try_from(header.u32_le(at, "size").ok()?).ok();
    let (list_size, header_size, entry_size) = (size(16)?, size(20)?, size(24)?);
    let (list, behind) = bytes.split_at_checked(list_size.max(28))?;
    let entries = list.get(header_size.checked_add(28)?..)?;
    if kind != CERT_X509 || entry_size <= 16 {
        return Some((Vec::new(), behind));
    }
    let authority = |entry| Some(Authority { entry, certificate: <[u8]>::get(entry, 16..)? });
    Some((entries.chunks_exact(entry_size).filter_map(authority).collect(), behind))
}
