//! AMD's revocation lists, signed by the root (ARK). They can usefully name intermediates only: every VEK has the
//! serial number 0. Chips are denied by policy. How old a list is nobody asks: what it revokes stays revoked.

use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::der::Signed;
use super::error::Unverified;
use crate::crypto::{self, PublicKey};
use crate::error::{Defect, Malformed, Structure};

/// Bytes of one list. AMD's have about 1 KiB.
pub const LIST_BYTES_MAX: usize = 64 << 10;
/// Lists that are looked at: two for each product.
const LISTS_MAX: usize = 16;

/// Revocation lists, parsed once. Whose they are is checked where they are used.
#[derive(Clone, Debug, Default)]
pub struct RevocationLists {
    lists: Vec<List>,
    digest: [u8; 32],
}

#[derive(Clone, Debug)]
struct List {
    der: Vec<u8>,
    issuer: Vec<u8>,
    serials: Vec<Vec<u8>>,
}

impl RevocationLists {
    /// Reads DER lists.
    ///
    /// # Errors
    /// [`Malformed`] if one is no list, or beyond the limits: the operator's file is at fault.
    pub fn parse(lists: &[impl AsRef<[u8]>]) -> Result<Self, Malformed> {
        let malformed = |defect| Malformed { structure: Structure::Crl, field: "list", defect };
        if lists.len() > LISTS_MAX {
            return Err(malformed(Defect::TooLarge { found: lists.len(), limit: LISTS_MAX }));
        }
        let read = |list: &[u8]| List::parse(list).ok_or(malformed(Defect::Encoding));
        let parsed: Vec<List> = lists.iter().map(|list| read(list.as_ref())).collect::<Result<_, _>>()?;
        let digests: Vec<[u8; 32]> = parsed.iter().map(|list| crypto::sha256(&[&list.der])).collect();
        Ok(Self { lists: parsed, digest: crypto::sha256(&[digests.as_flattened()]) })
    }

    /// Digest over all of them: a chain that was verified under other lists must be verified again.
    pub(super) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether the root of that name and key has not revoked the serial number.
    ///
    /// # Errors
    /// `Err(true)` if it has, `Err(false)` if a list of that name is not signed by that key.
    pub(super) fn clear(&self, root_name: &[u8], root_key: &PublicKey, serial: &[u8]) -> Result<(), Listed> {
        for list in self.lists.iter().filter(|list| list.issuer == root_name) {
            let signed = Signed::split(&list.der).filter(Signed::is_pss_sha384).ok_or(Listed::BadSignature)?;
            crypto::verify_pss_sha384(root_key, signed.tbs, signed.signature).map_err(|_| Listed::BadSignature)?;
            if list.serials.iter().any(|listed| listed == without_zeros(serial)) {
                return Err(Listed::Revoked);
            }
        }
        Ok(())
    }
}

/// Why a certificate is not clear.
pub(super) enum Listed {
    /// It is on the list.
    Revoked,
    /// The list is forged, or of a root of the same name.
    BadSignature,
}

impl Listed {
    pub(super) const fn refusal(self, product: super::Product) -> Unverified {
        match self {
            Self::Revoked => Unverified::Revoked,
            Self::BadSignature => Unverified::ListSignature { product },
        }
    }
}

impl List {
    fn parse(der: &[u8]) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(der)
            .ok()
            .filter(|(rest, _)| rest.is_empty() && der.len() <= LIST_BYTES_MAX)?;
        let serials =
            list.iter_revoked_certificates().map(|entry| without_zeros(entry.raw_serial()).to_vec()).collect();
        Some(Self { der: der.to_vec(), issuer: list.issuer().as_raw().to_vec(), serials })
    }
}

fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}
