//! The PCK certificate: which platform signed, as Intel certified it. Its revocation is the collateral's part.

use std::fmt;

use holdfast_identity::UnixTime;

use super::error::Unverified;
use super::pki::{self, BadCertificate, Certificate, Path};
use super::quote::Quote;
use super::signatures::{self, Proven};
use crate::crypto::PublicKey;
use crate::x509::{RootIdentity, Roots};

/// The CA above a PCK certificate; each has a revocation list of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PckCa {
    /// For platforms with one processor.
    Processor,
    /// For platforms that registered with Intel; their certificates say more.
    Platform,
}

impl PckCa {
    /// The name in Intel's service: `ca=platform`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Platform => "platform",
        }
    }

    /// By the name of a certificate's issuer, or of a list's.
    pub(super) fn of(issuer: &str) -> Option<Self> {
        match (issuer.contains("Processor"), issuer.contains("Platform")) {
            (true, false) => Some(Self::Processor),
            (false, true) => Some(Self::Platform),
            _ => None,
        }
    }
}

impl fmt::Display for PckCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which collateral a platform needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlatformKind {
    /// FMSPC: processor family, model, stepping, platform type.
    pub fmspc: [u8; 6],
    /// The CA whose revocation list counts.
    pub ca: PckCa,
}

/// What Intel certified about a platform. Intel SGX PCK Certificate and CRL Profile Specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformIdentity {
    /// FMSPC and CA.
    pub kind: PlatformKind,
    /// PCE-ID, as the extension has it.
    pub pce_id: [u8; 2],
    /// SVNs of the platform's 16 components.
    pub cpu_svn: [u8; 16],
    /// SVN of the provisioning certification enclave.
    pub pce_svn: u16,
    /// PPID: the platform provisioning ID.
    pub ppid: [u8; 16],
    /// PIID: the platform instance; of registered platforms only. Drawn anew when SGX is reset in the firmware.
    pub instance_id: Option<[u8; 16]>,
    /// Whether packages may be added; of registered platforms only.
    pub dynamic_platform: Option<bool>,
    /// Whether Intel's registration service keeps the platform's root keys; of registered platforms only.
    pub cached_keys: Option<bool>,
    /// Whether hyper-threading is on; of registered platforms only.
    pub smt_enabled: Option<bool>,
}

/// A PCK certificate whose chain holds, revocation left aside. Made by [`pck_chain`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPck {
    platform: PlatformIdentity,
    pub(super) key: PublicKey,
    pub(super) leaf: Vec<u8>,
    pub(super) ca: Vec<u8>,
    pub(super) path: Path,
    /// The signatures of the chain.
    pub(super) proven: Proven,
}

impl VerifiedPck {
    /// What Intel certified about the platform.
    #[must_use]
    pub const fn platform(&self) -> &PlatformIdentity {
        &self.platform
    }

    /// The root that the chain ends at.
    #[must_use]
    pub const fn root(&self) -> &RootIdentity {
        &self.path.root
    }

    /// The earliest end of any certificate of the chain.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        UnixTime(self.path.not_after)
    }
}

/// Checks the certificates in a quote: leaf, CA, root, with their dates. Costs two signatures and needs no collateral;
/// who fetches collateral for strangers asks this first, and hands it on to the verification
/// ([`TdxEndorsements::pck`](super::TdxEndorsements::pck)). That the quote is the platform's own is not shown by it.
///
/// # Errors
/// [`Unverified::Pck`], [`Unverified::PckExtension`].
pub fn pck_chain(quote: &Quote<'_>, roots: &Roots, now: UnixTime) -> Result<VerifiedPck, Unverified> {
    let (pck, proven) = signatures::scope(Proven::new(), || chain(quote, roots, now));
    pck.map(|pck| VerifiedPck { proven, ..pck })
}

/// The same inside a scope of signatures, which remembers them.
pub(super) fn chain(quote: &Quote<'_>, roots: &Roots, now: UnixTime) -> Result<VerifiedPck, Unverified> {
    let chain = pki::pem_chain(quote.pck_chain);
    let [leaf_der, ca_der, ..] = chain.as_slice() else {
        return Err(Unverified::Pck(BadCertificate::Missing));
    };
    let leaf = Certificate::parse(leaf_der).map_err(Unverified::Pck)?;
    let ca = Certificate::parse(ca_der).map_err(Unverified::Pck)?;
    let path = pki::path(&leaf, Some(&ca), roots, now).map_err(Unverified::Pck)?;
    let platform = platform(&leaf)?;
    Ok(VerifiedPck {
        platform,
        key: leaf.key.clone(),
        leaf: leaf_der.clone(),
        ca: ca_der.clone(),
        path,
        proven: Proven::new(),
    })
}

/// The certificates in a quote, DER, as it brings them along; nothing about them is verified.
#[must_use]
pub fn certificates(quote: &Quote<'_>) -> Vec<Vec<u8>> {
    pki::pem_chain(quote.pck_chain)
}

/// Which collateral a quote claims to need; `None` if its certificate cannot be read, so that no collateral helps.
pub(super) fn claimed_kind(quote: &Quote<'_>) -> Option<PlatformKind> {
    claimed_platform(quote).map(|platform| platform.kind)
}

/// On which platform a quote claims to be made; `None` if its certificate cannot be read. Nothing is verified.
#[must_use]
pub fn claimed_platform(quote: &Quote<'_>) -> Option<PlatformIdentity> {
    let chain = pki::pem_chain(quote.pck_chain);
    let leaf = Certificate::parse(chain.first()?).ok()?;
    platform(&leaf).ok()
}

fn platform(leaf: &Certificate<'_>) -> Result<PlatformIdentity, Unverified> {
    let ca = PckCa::of(leaf.issuer_name()).ok_or(Unverified::PckExtension)?;
    let extension = dcap_qvl::intel::parse_pck_extension(leaf.der).map_err(|_| Unverified::PckExtension)?;
    let fixed = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map_err(|_| Unverified::PckExtension);
    Ok(PlatformIdentity {
        kind: PlatformKind { fmspc: extension.fmspc, ca },
        pce_id: extension.pce_id.as_slice().try_into().map_err(|_| Unverified::PckExtension)?,
        cpu_svn: extension.cpu_svn,
        pce_svn: extension.pce_svn,
        ppid: fixed(&extension.ppid)?,
        instance_id: extension.platform_instance_id.as_deref().map(fixed).transpose()?,
        dynamic_platform: extension.dynamic_platform,
        cached_keys: extension.cached_keys,
        smt_enabled: extension.smt_enabled,
    })
}
