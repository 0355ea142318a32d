//! Verifies a report: everything that can be said without policy, over the raw bytes. Pure: certificates, roots and
//! time are arguments.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::certificate::{self, Parsed, Vek};
use super::chain::{VerifiedVek, verify_parsed};
use super::checks;
use super::error::Unverified;
use super::product::Product;
use super::report::Report;
use super::table::CERTIFICATES_MAX;
use crate::Provenance;
use crate::TrustClass;
use crate::x509::{RootIdentity, Roots};

/// Certificates of VEKs that are tried for one report.
const VEKS_TRIED: usize = 4;

/// What the verifier brings.
#[derive(Clone, Debug, Default)]
pub struct SnpEndorsements {
    /// The trusted roots, ARKs among them, with intermediates and revocation lists.
    pub roots: Arc<Roots>,
    /// VEKs and intermediates that were fetched, DER, in any order.
    pub certificates: Vec<Vec<u8>>,
    /// VEKs whose chain was verified before.
    pub verified: Vec<Arc<VerifiedVek>>,
}

/// A report that a genuine chip signed and whose guest is no debug guest. Says nothing of freshness: whoever made it
/// must look at the report data. Only [`verify_report`] makes it.
#[derive(Clone, Debug)]
pub struct VerifiedReport {
    report: Report,
    vek: Arc<VerifiedVek>,
    crl_age_days: Option<u64>,
}

impl VerifiedReport {
    /// The report.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The key that signed it.
    #[must_use]
    pub fn vek(&self) -> &Vek {
        self.vek.vek()
    }

    /// The same with its chain: keep it for the next report.
    #[must_use]
    pub const fn verified_vek(&self) -> &Arc<VerifiedVek> {
        &self.vek
    }

    /// How many whole days old the root's revocation list was when the report was verified; `None` where none was at
    /// hand that counted then.
    #[must_use]
    pub const fn crl_age_days(&self) -> Option<u64> {
        self.crl_age_days
    }

    /// The processor family.
    #[must_use]
    pub fn product(&self) -> Product {
        self.vek().product
    }

    /// The root that the chain ends at.
    #[must_use]
    pub fn root(&self) -> &RootIdentity {
        self.vek.root()
    }

    /// The earliest end of any certificate of the chain.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.vek.not_after()
    }

    /// Who vouches for what the report says: hardware, or a simulator.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        match self.root().class {
            TrustClass::Simulated => Provenance::Simulated,
            TrustClass::Discrete | TrustClass::Firmware | TrustClass::Vtpm | TrustClass::Cloud => Provenance::Hardware,
        }
    }
}

/// Verifies a report against endorsements; `offered` are certificates that came with it, DER. Whom it answers is not
/// asked here: compare [`Report::report_data`].
///
/// # Errors
/// [`Unverified`]: of several certificates that fail, the refusal of the one that got furthest.
pub fn verify_report(
    report: &[u8],
    offered: &[Vec<u8>],
    endorsements: &SnpEndorsements,
    now: UnixTime,
) -> Result<VerifiedReport, Unverified> {
    let report = Report::parse(report)?;
    checks::version(&report)?;
    checks::signature_algorithm(&report)?;
    let vek = find_vek(&report, offered, endorsements, now)?;
    checks::reserved(&report, vek.vek().product)?;
    checks::vmpl(&report)?;
    checks::guest_policy(&report)?;
    let crl_age_days = vek.crl_age_days(now);
    Ok(VerifiedReport { report, vek, crl_age_days })
}

/// The VEK that signed the report, chain and all.
fn find_vek(
    report: &Report,
    offered: &[Vec<u8>],
    endorsements: &SnpEndorsements,
    now: UnixTime,
) -> Result<Arc<VerifiedVek>, Unverified> {
    let kind = checks::signing_key(report)?;
    let roots = &endorsements.roots;
    for kept in endorsements.verified.iter().filter(|kept| kept.holds(roots, now)) {
        if fits(report, kept.vek()).is_ok() && checks::signature(report, kept.vek()).is_ok() {
            return Ok(Arc::clone(kept));
        }
    }
    let mut furthest = (0, Unverified::VekMissing { kind });
    let mut note = |rank: u8, refusal: Unverified| {
        if rank > furthest.0 {
            furthest = (rank, refusal);
        }
    };
    let all = endorsements.certificates.iter().chain(offered).take(2 * CERTIFICATES_MAX);
    let parsed: Vec<Parsed<'_>> = all.clone().filter_map(|der| Parsed::new(der)).collect();
    if parsed.len() < all.count() {
        note(1, Unverified::VekMalformed { what: "certificate" });
    }
    let veks = parsed.iter().filter(|parsed| certificate::kind_of(&parsed.certificate).is_some());
    let mut tried = 0;
    for parsed_vek in veks {
        let read = Vek::read(&parsed_vek.certificate).and_then(|vek| fits(report, &vek).map(|()| vek));
        let vek = match read {
            Ok(vek) => vek,
            Err(refusal) => {
                note(2, refusal);
                continue;
            }
        };
        tried += 1;
        if tried > VEKS_TRIED {
            break;
        }
        match verify_parsed(parsed_vek, vek, &parsed, roots, now) {
            Err(refusal) => note(3, refusal),
            Ok(vek) => match checks::signature(report, vek.vek()) {
                Err(refusal) => note(4, refusal),
                Ok(()) => return Ok(Arc::new(vek)),
            },
        }
    }
    Err(furthest.1)
}

/// The certificate is for the key that must have signed this report.
pub(super) fn fits(report: &Report, vek: &Vek) -> Result<(), Unverified> {
    checks::vek_kind(report, vek)?;
    checks::product(report, vek)?;
    checks::tcb(report, vek)?;
    checks::chip_id(report, vek)
}
