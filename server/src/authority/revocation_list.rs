//! Revocation lists (RFC 5280): what an intermediate has signed and withdrawn, and the root's list of intermediates.
//!
//! Shapes and signatures only: what was withdrawn is the store's to say, and each list is in the record before it is
//! signed. Lists are complete, direct and of one issuer, so they need no distribution point of their own.

use std::path::Path;

use holdfast_identity::UnixTime;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason as Code, RevokedCertParams, SerialNumber, SigningKey,
};
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer, ParsedExtension};

use super::current::OpeningFault;
use super::profile::BACKDATE_SECONDS;
use super::{AuthorityFault, Issuer};
use crate::store::{
    IssuerKeyId, LIST_SERIALS_MAX, ListDraft, ListValidity, RevocationList, RevocationReason, Signer, Store,
};

/// Why bytes are no revocation list that we could pass on. The words are for the operator.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidList(String);

/// A list as it was read, its signature unchecked.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadList {
    /// DER of the issuer's name.
    pub issuer: Vec<u8>,
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub this_update: UnixTime,
    /// When there is another one.
    pub next_update: UnixTime,
    /// Serial numbers on it, with the moment of each.
    pub revoked: Vec<(Vec<u8>, UnixTime)>,
}

/// Reads a DER list.
///
/// # Errors
/// [`InvalidList`] where it is none, has no number or end, or more serials than we pass on.
pub fn read_list(der: &[u8]) -> Result<ReadList, InvalidList> {
    let invalid = |what: &str| InvalidList(format!("expected a revocation list, {what}"));
    let (rest, list) = CertificateRevocationList::from_der(der).map_err(|error| invalid(&error.to_string()))?;
    if !rest.is_empty() {
        return Err(invalid("found bytes behind it"));
    }
    let number = list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLNumber(number) => {
            u64::try_from(number).ok().filter(|number| i64::try_from(*number).is_ok())
        }
        _ => None,
    });
    let revoked: Vec<_> = list
        .iter_revoked_certificates()
        .take(LIST_SERIALS_MAX + 1)
        .map(|one| (one.raw_serial().to_vec(), UnixTime(one.revocation_date.timestamp())))
        .collect();
    if revoked.len() > LIST_SERIALS_MAX {
        return Err(invalid("found more serial numbers than 20,000"));
    }
    Ok(ReadList {
        issuer: list.tbs_cert_list.issuer.as_raw().to_vec(),
        number: number.ok_or_else(|| invalid("found no number of at most 63 bits"))?,
        this_update: UnixTime(list.last_update().timestamp()),
        next_update: UnixTime(list.next_update().ok_or_else(|| invalid("found no nextUpdate"))?.timestamp()),
        revoked,
    })
}

/// Has the next list of `issuer` recorded, signs it, and gives it to the store for everybody. It is valid from a minute
/// back, for `lifetime` seconds and not beyond its issuer.
///
/// # Errors
/// [`OpeningFault`]; then the list before it goes on.
pub async fn publish(
    issuer: &Issuer,
    store: &dyn Store,
    lifetime: i64,
    now: UnixTime,
) -> Result<ListDraft, OpeningFault> {
    let validity = ListValidity {
        // Clocks of machines that have just booted are late, as for certificates.
        this_update: now.plus(-BACKDATE_SECONDS),
        next_update: now.plus(lifetime).min(issuer.not_after()),
        issuer_ends: issuer.not_after(),
    };
    let draft = store.draft_revocation_list(issuer.key_id(), validity, now).await?;
    let der = issuer.sign_list(&draft)?;
    let (issuer, signer) = (draft.issuer, Signer::Intermediate);
    let list = RevocationList { issuer, signer, number: draft.number, validity, der: der.into() };
    store.keep_revocation_list(list, now).await?;
    Ok(draft)
}

impl Issuer {
    /// Signs a list that the store has drafted and recorded.
    ///
    /// # Errors
    /// [`AuthorityFault::OtherRecord`] if it is another issuer's; [`AuthorityFault::Crypto`].
    pub fn sign_list(&self, draft: &ListDraft) -> Result<Vec<u8>, AuthorityFault> {
        if draft.issuer != self.key_id() {
            return Err(AuthorityFault::OtherRecord);
        }
        sign_draft((&self.prepared, self.intermediate()), draft)
    }
}

/// Signs a list that the store has drafted and recorded, with its issuer's key.
pub(super) fn sign_draft(
    issuer: (&rcgen::Issuer<'_, impl SigningKey>, &[u8]),
    draft: &ListDraft,
) -> Result<Vec<u8>, AuthorityFault> {
    let revoked = draft.revoked.iter().map(|one| revoked(&one.serial, one.at, reason(one.reason)));
    let validity = (draft.validity.this_update, draft.validity.next_update);
    sign(issuer, draft.number, validity, revoked.collect::<Result<_, _>>()?)
}

/// The root's list: what stood on the one before, and these serial numbers. Its number is the present second, as nobody
/// but the holder of the root key counts.
pub(super) fn sign_root_list(
    root: (&rcgen::Issuer<'_, impl SigningKey>, &[u8]),
    former: Option<ReadList>,
    serials: &[Vec<u8>],
    (now, ends): (UnixTime, UnixTime),
) -> Result<Vec<u8>, AuthorityFault> {
    let (before, last) = former.map_or((Vec::new(), 0), |list| (list.revoked, list.number));
    let new = serials.iter().filter(|serial| !before.iter().any(|(known, _)| known == *serial));
    let new = new.map(|serial| revoked(serial, now, Some(Code::CaCompromise)));
    let all = before.iter().map(|(serial, at)| revoked(serial, *at, Some(Code::CaCompromise))).chain(new);
    let number = u64::try_from(now.seconds()).unwrap_or(0).max(last.saturating_add(1));
    sign(root, number, (now.plus(-BACKDATE_SECONDS), ends), all.collect::<Result<_, _>>()?)
}

fn sign(
    (issuer, certificate): (&rcgen::Issuer<'_, impl SigningKey>, &[u8]),
    number: u64,
    (this_update, next_update): (UnixTime, UnixTime),
    revoked_certs: Vec<RevokedCertParams>,
) -> Result<Vec<u8>, AuthorityFault> {
    let action = "sign a revocation list";
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| AuthorityFault::Crypto { action })?;
    // The identifier that stands in the issuer's certificate, whichever way it was made.
    let key_id = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    let key_identifier_method = key_id.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified);
    let params = CertificateRevocationListParams {
        this_update: date(this_update)?,
        next_update: date(next_update)?,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method,
    };
    params.signed_by(issuer).map(|list| list.der().to_vec()).map_err(|_| AuthorityFault::Crypto { action })
}

fn revoked(serial: &[u8], at: UnixTime, reason_code: Option<Code>) -> Result<RevokedCertParams, AuthorityFault> {
    let serial_number = SerialNumber::from_slice(serial);
    Ok(RevokedCertParams { serial_number, revocation_time: date(at)?, reason_code, invalidity_date: None })
}

fn reason(reason: RevocationReason) -> Option<Code> {
    match reason {
        RevocationReason::Unspecified => None,
        RevocationReason::KeyCompromise => Some(Code::KeyCompromise),
        RevocationReason::CaCompromise => Some(Code::CaCompromise),
        RevocationReason::Superseded => Some(Code::Superseded),
        RevocationReason::CessationOfOperation => Some(Code::CessationOfOperation),
        RevocationReason::PrivilegeWithdrawn => Some(Code::PrivilegeWithdrawn),
    }
}

fn date(at: UnixTime) -> Result<OffsetDateTime, AuthorityFault> {
    OffsetDateTime::from_unix_timestamp(at.seconds())
        .map_err(|_| AuthorityFault::Crypto { action: "write the date of a revocation list" })
}

/// By what a signing certificate is told from others.
pub(super) fn key_id(certificate: &[u8], path: &Path) -> Result<IssuerKeyId, AuthorityFault> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| AuthorityFault::Content {
        path: path.to_owned(),
        expected: "a certificate",
        found: error.to_string(),
    })?;
    Ok(IssuerKeyId::of_spki(parsed.public_key().raw))
}
