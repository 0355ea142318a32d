//! Verifies a quote: everything that can be said without policy. Pure: collateral, roots and time are arguments.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::checks;
use super::collateral::{CheckedCollateral, Collateral};
use super::error::{Document, Unverified};
use super::pck::{self, PlatformIdentity, VerifiedPck};
use super::quote::Quote;
use super::report::{Measurement, TdReport};
use super::signatures::{self, Proven};
use super::tcb::Tcb;
use crate::launch::TdxLaunch;
use crate::x509::{RootIdentity, Roots};
use crate::{Provenance, TrustClass};

/// What the verifier brings.
#[derive(Clone, Debug, Default)]
pub struct TdxEndorsements {
    /// The trusted roots, Intel's among them.
    pub roots: Arc<Roots>,
    /// What Intel says about the platform.
    pub collateral: KnownCollateral,
    /// Service TDs that may be bound to a TD. Any other is refused.
    pub service_tds: Vec<Measurement>,
    /// The certificates in this very quote, where [`pck_chain`](super::pck_chain) was asked before: their signatures are not
    /// verified again. Roots, dates and revocation are.
    pub pck: Option<Arc<VerifiedPck>>,
}

/// Collateral as far as the verifier has it.
#[derive(Clone, Debug, Default)]
pub enum KnownCollateral {
    /// None: fetch it, once the PCK chain has verified.
    #[default]
    None,
    /// As fetched.
    Fetched(Arc<Collateral>),
    /// Checked before: see [`Collateral::check`].
    Checked(Arc<CheckedCollateral>),
}

/// A quote that a genuine platform made, about a TD that nobody looks into, under collateral that counts today. Says
/// nothing of freshness: whoever made it must look at [`TdReport::report_data`]. Made by [`verify_quote`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedQuote {
    report: TdReport,
    platform: PlatformIdentity,
    tcb: Tcb,
    root: RootIdentity,
    not_after: UnixTime,
    verified_at: UnixTime,
    trailing_bytes: usize,
}

impl VerifiedQuote {
    /// What the TDX module says of the TD.
    #[must_use]
    pub const fn report(&self) -> &TdReport {
        &self.report
    }

    /// What Intel certified about the platform.
    #[must_use]
    pub const fn platform(&self) -> &PlatformIdentity {
        &self.platform
    }

    /// What Intel says about its versions. For policy to judge.
    #[must_use]
    pub const fn tcb(&self) -> &Tcb {
        &self.tcb
    }

    /// The root that everything lies under.
    #[must_use]
    pub const fn root(&self) -> &RootIdentity {
        &self.root
    }

    /// The earliest end of any certificate or document that was used.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// When it was verified.
    #[must_use]
    pub const fn verified_at(&self) -> UnixTime {
        self.verified_at
    }

    /// How many bytes stood behind the quote's end. They were not looked at.
    #[must_use]
    pub const fn trailing_bytes(&self) -> usize {
        self.trailing_bytes
    }

    /// Which launch the TD is of.
    #[must_use]
    pub const fn launch(&self) -> TdxLaunch {
        self.report.launch()
    }

    /// Who vouches for what the quote says: hardware, or a simulator.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        match self.root.class {
            TrustClass::Simulated => Provenance::Simulated,
            TrustClass::Discrete | TrustClass::Firmware | TrustClass::Vtpm | TrustClass::Cloud => Provenance::Hardware,
        }
    }
}

/// A quote whose signatures hold, up to a root.
pub(super) struct Authentic<'a> {
    pub(super) quote: Quote<'a>,
    pck: VerifiedPck,
}

/// Verifies a quote and everything that Holdfast always asks, but for whom it answers: compare
/// [`TdReport::report_data`].
///
/// # Errors
/// [`Unverified`], the first check that fails.
pub fn verify_quote(quote: &[u8], endorsements: &TdxEndorsements, now: UnixTime) -> Result<VerifiedQuote, Unverified> {
    endorsements.scope(|| authenticate(quote, endorsements, now)?.appraise(endorsements, now))
}

impl TdxEndorsements {
    /// Runs a verification in which no signature is verified twice, nor one of collateral that was checked before.
    pub(super) fn scope<R>(&self, run: impl FnOnce() -> R) -> R {
        let mut known = match &self.collateral {
            KnownCollateral::Checked(checked) => checked.proven.clone(),
            KnownCollateral::None | KnownCollateral::Fetched(_) => Proven::new(),
        };
        known.extend(self.pck.iter().flat_map(|pck| &pck.proven));
        signatures::scope(known, run).0
    }
}

/// The first half: signatures, from the report to a root. Costs four signatures.
pub(super) fn authenticate<'a>(
    quote: &'a [u8],
    endorsements: &TdxEndorsements,
    now: UnixTime,
) -> Result<Authentic<'a>, Unverified> {
    let quote = Quote::parse(quote)?;
    let pck = pck::chain(&quote, &endorsements.roots, now)?;
    checks::qe_report(&quote, &pck)?;
    checks::attestation_key(&quote)?;
    checks::quote_signature(&quote)?;
    Ok(Authentic { quote, pck })
}

impl Authentic<'_> {
    /// The second half: what was signed, and what Intel says about it.
    pub(super) fn appraise(self, endorsements: &TdxEndorsements, now: UnixTime) -> Result<VerifiedQuote, Unverified> {
        let Self { quote, pck } = self;
        checks::debug(&quote)?;
        checks::attributes(&quote)?;
        checks::seam(&quote)?;
        checks::service_td(&quote, &endorsements.service_tds)?;
        let collateral = current(endorsements, now)?;
        collateral.admits(&pck)?;
        checks::qe_identity(&quote, &collateral)?;
        let tcb = checks::tcb(&quote, &pck, &collateral, now)?;
        Ok(VerifiedQuote {
            report: quote.report,
            platform: pck.platform().clone(),
            tcb,
            root: pck.root().clone(),
            not_after: pck.not_after().min(collateral.next_update()),
            verified_at: now,
            trailing_bytes: quote.trailing_bytes,
        })
    }
}

/// Collateral that counts now, under a root that is trusted now.
fn current(endorsements: &TdxEndorsements, now: UnixTime) -> Result<Arc<CheckedCollateral>, Unverified> {
    match &endorsements.collateral {
        KnownCollateral::None => Err(Unverified::missing(Document::TcbInfo)),
        KnownCollateral::Fetched(collateral) => collateral.check(&endorsements.roots, now).map(Arc::new),
        KnownCollateral::Checked(checked) => {
            checked.is_current(now)?;
            let trusted =
                |root: &RootIdentity| endorsements.roots.anchors().iter().any(|anchor| *anchor.sha256() == root.sha256);
            if trusted(checked.root()) { Ok(Arc::clone(checked)) } else { Err(Unverified::CollateralRoot) }
        }
    }
}
