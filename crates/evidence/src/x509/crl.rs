//! Certificate revocation lists, kept by issuer. Fetches nothing, and refuses nothing for a list's age: what it revokes
//! stays revoked, and a vendor who is late with the next one is no fault of the machine. Whether a list still counts is
//! said beside ([`ListDates`]), for policies.

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::BadEndorsement;
use super::issuer::CaRights;
use crate::crypto;

/// Bytes of a CRL that are read. Infineon's largest has some 40 KiB.
const CRL_BYTES_MAX: usize = 4 << 20;
const SECONDS_PER_DAY: i64 = 86_400;
/// `removeFromCRL`, in delta lists: the certificate is good again.
const REMOVED: u8 = 8;

/// A parsed CRL: the serial numbers, sorted, and what its signature is checked over.
#[derive(Clone, Debug)]
pub struct Crl {
    der: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) sha256: [u8; 32],
    key_id: Option<Vec<u8>>,
    revoked: Vec<Vec<u8>>,
    pub(crate) dates: ListDates,
}

/// From when, and until when, a list says what is revoked, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListDates {
    /// `thisUpdate`.
    pub(crate) this_update: i64,
    /// `nextUpdate`; without one nobody can say that no newer list is due.
    next_update: Option<i64>,
}

impl ListDates {
    /// Whole days since the list was issued; `None` if it is not in force at that moment.
    pub(crate) fn age_days(&self, now: UnixTime) -> Option<u64> {
        let now = now.seconds();
        let is_current = self.this_update <= now && self.next_update.is_some_and(|next| now <= next);
        let days = now.checked_sub(self.this_update).map(|age| age / SECONDS_PER_DAY).filter(|_| is_current);
        days.and_then(|days| u64::try_from(days).ok())
    }
}

/// What a list says about one certificate.
pub(crate) enum Verdict {
    /// Another issuer's list.
    NotConcerned,
    /// Claims to be this issuer's list, and its signature does not verify.
    BadSignature,
    /// On the list.
    Revoked,
    /// Not on the list.
    Clear,
}

impl Crl {
    /// Its DER bytes.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn parse(der: &[u8]) -> Result<Self, BadEndorsement> {
        if der.len() > CRL_BYTES_MAX {
            return Err(BadEndorsement::NotACrl);
        }
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| BadEndorsement::NotACrl)?;
        if !rest.is_empty() {
            return Err(BadEndorsement::NotACrl);
        }
        let entries = list.iter_revoked_certificates();
        let still = entries.filter(|entry| entry.reason_code().is_none_or(|(_, reason)| reason.0 != REMOVED));
        let mut revoked: Vec<_> = still.map(|entry| serial(entry.raw_serial()).to_vec()).collect();
        revoked.sort_unstable();
        let key_id = list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        });
        let (issuer, sha256) = (list.issuer().as_raw().to_vec(), crypto::sha256(&[der]));
        let dates = ListDates {
            this_update: list.last_update().timestamp(),
            next_update: list.next_update().map(|next| next.timestamp()),
        };
        Ok(Self { issuer, sha256, key_id, revoked, dates, der: der.to_vec() })
    }

    /// What this list, if it is `issuer`'s, says about a certificate with that serial number.
    pub(crate) fn judge(&self, issuer: &X509Certificate<'_>, raw_serial: &[u8]) -> Verdict {
        if self.issuer != issuer.subject().as_raw() {
            return Verdict::NotConcerned;
        }
        let issuer_id = issuer.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        });
        if let (Some(ours), Some(theirs)) = (&self.key_id, issuer_id)
            && ours != theirs
        {
            return Verdict::NotConcerned;
        }
        if !CaRights::of(issuer).may_sign_crls || !self.is_signed_by(issuer) {
            return Verdict::BadSignature;
        }
        match self.revoked.binary_search_by(|known| known.as_slice().cmp(serial(raw_serial))) {
            Ok(_) => Verdict::Revoked,
            Err(_) => Verdict::Clear,
        }
    }

    fn is_signed_by(&self, issuer: &X509Certificate<'_>) -> bool {
        CertificateRevocationList::from_der(&self.der)
            .is_ok_and(|(_, list)| list.verify_signature(issuer.public_key()).is_ok())
    }
}

/// A serial number without the zeros that some vendors put in front.
fn serial(raw: &[u8]) -> &[u8] {
    let zeros = raw.iter().take_while(|byte| **byte == 0).count();
    raw.get(zeros..).unwrap_or_default()
}
