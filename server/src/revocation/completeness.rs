//! Whether there is a list of everybody who stands above an SVID: agents pass on all of them or none. Where one is missing
//! the operator is told whose, and what to do: once, and by a gauge for as long as it is so.

use std::collections::BTreeMap;

use holdfast_identity::UnixTime;
use tracing::{error, info};

use crate::authority::Authority;
use crate::store::{IssuerKeyId, RevocationList};

/// What was missing when it was looked last.
#[derive(Debug, Default)]
pub(super) struct Completeness {
    missing: BTreeMap<IssuerKeyId, Missing>,
}

/// Somebody whose list relying parties need, and do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// The name in its certificate.
    pub(super) subject: String,
    /// There was one, and it has expired.
    pub(super) has_expired: bool,
}

impl Completeness {
    /// Looks, and says what is new.
    pub(super) fn look(&mut self, authority: &Authority, lists: &[RevocationList], now: UnixTime) {
        let missing = missing(authority, lists, now);
        metrics::gauge!("holdfast_revocation_lists_missing").set(u32::try_from(missing.len()).unwrap_or(u32::MAX));
        if missing.is_empty() && !self.missing.is_empty() {
            info!("there is a revocation list of every authority again");
        }
        let remedy = if authority.is_upstream() {
            "name its revocation list in crl.files, and keep that file current"
        } else {
            "run \"holdfast-server init --root-key FILE\" once, with the root key: it writes the root's list"
        };
        for (issuer, one) in &missing {
            if self.missing.get(issuer) == Some(one) {
                continue;
            }
            let (subject, expired) = (&one.subject, one.has_expired);
            error!(
                alarm = "crl.incomplete", %issuer, subject, expired, remedy,
                "an authority above this server has no revocation list that is valid: relying parties cannot check SVIDs by lists"
            );
            metrics::counter!("holdfast_alarms_total", "alarm" => "crl.incomplete").increment(1);
        }
        self.missing = missing;
    }
}

/// Those above our intermediates without a list that is valid now.
pub(super) fn missing(
    authority: &Authority,
    lists: &[RevocationList],
    now: UnixTime,
) -> BTreeMap<IssuerKeyId, Missing> {
    let mut missing = BTreeMap::new();
    for der in authority.above() {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&der) else { continue };
        let issuer = IssuerKeyId::of_spki(certificate.public_key().raw);
        let list = lists.iter().find(|list| list.issuer == issuer);
        if list.is_none_or(|list| list.validity.next_update <= now) {
            let subject = certificate.subject().to_string();
            missing.insert(issuer, Missing { subject, has_expired: list.is_some() });
        }
    }
    missing
}
