//! Collateral: what Intel says about a kind of platform, as a value. Read from whatever form it came in, checked under a
//! root, and kept until its next update. Fetches nothing.

mod chain;
mod checked;
mod choice;
mod forms;
mod json;
mod parts;

pub use checked::CheckedCollateral;
pub use parts::CollateralParts;

use holdfast_identity::UnixTime;

use super::error::{Document, Unverified};
use super::pck::{PckCa, PlatformKind};
use super::pki::BadCertificate;
use crate::crypto;
use chain::Chain;
pub(super) use forms::pem;
pub(super) use json::date;
use json::{QeIdentityHead, TcbInfoHead};

/// Bytes of one file of collateral. The largest seen has 21 KiB; a bundle of many platforms may have a megabyte.
pub const COLLATERAL_BYTES_MAX: usize = 4 << 20;

/// A document of Intel's, byte for byte as it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// JSON without blanks.
    pub(super) text: String,
    /// ECDSA: r and s.
    pub(super) signature: [u8; 64],
    /// DER of the certificate that it is signed with.
    pub(super) signer: Vec<u8>,
    /// The chain that stood beside it, if one did.
    chain: Option<Chain>,
}

/// The four documents about one kind of platform. Read, and not verified yet: [`Collateral::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collateral {
    pub(super) tcb_info: Signed,
    pub(super) qe_identity: Signed,
    pub(super) root_crl: Vec<u8>,
    pub(super) pck_crl: Vec<u8>,
    /// The CA that issued the PCK CRL, if it came along.
    pck_ca: Option<Vec<u8>>,
    /// The chain that stood beside the PCK CRL, if one did.
    pck_chain: Option<Chain>,
    pub(super) tcb_head: TcbInfoHead,
    pub(super) qe_head: QeIdentityHead,
    ca: PckCa,
}

impl Collateral {
    /// Which platforms it is for.
    #[must_use]
    pub const fn kind(&self) -> PlatformKind {
        PlatformKind { fmspc: self.tcb_head.fmspc, ca: self.ca }
    }

    /// The lower of the evaluation numbers of TCB info and QE identity. Claimed, until it is checked.
    #[must_use]
    pub fn evaluation_number(&self) -> u32 {
        self.tcb_head.evaluation_number.min(self.qe_head.evaluation_number)
    }

    /// When the later of TCB info and QE identity was issued. Claimed, until it is checked.
    #[must_use]
    pub fn issued_at(&self) -> UnixTime {
        self.tcb_head.issued_at.max(self.qe_head.issued_at)
    }

    /// SHA-256 over its documents and their signers: what a verdict about it may be kept by. A chain beside a document
    /// adds nothing to what it says.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let documents = [&self.tcb_info, &self.qe_identity];
        let parts = documents.iter().flat_map(|signed| [signed.text.as_bytes(), &signed.signature, &signed.signer]);
        let digests: Vec<[u8; 32]> =
            parts.chain([self.root_crl.as_slice(), &self.pck_crl]).map(|part| crypto::sha256(&[part])).collect();
        crypto::sha256(&[digests.as_flattened()])
    }

    /// As `dcap-qvl` writes it: one JSON document. [`CollateralParts`] reads it back.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        forms::encode(self)
    }
}

impl Unverified {
    /// Whether a document, or the certificate that it is signed with, is not at hand.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::CollateralMissing { .. } | Self::CollateralSigner { problem: BadCertificate::Missing, .. })
    }

    pub(super) const fn missing(document: Document) -> Self {
        Self::CollateralMissing { document }
    }
}
