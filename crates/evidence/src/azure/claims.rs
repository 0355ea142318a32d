//! What is known of an Azure machine once its evidence is verified. Says nothing about admission.

use holdfast_identity::UnixTime;

use super::certificate::AkCertificate;
use super::runtime::RuntimeData;
use crate::crypto::sha256;
use crate::key::ProvenKey;
use crate::snp::VerifiedReport;
use crate::tdx::VerifiedQuote;
use crate::tpm::QuotedBoot;
use crate::x509::RootIdentity;
use crate::{Provenance, TrustClass};

/// Verified claims of an Azure machine; worth something inside [`Verified`](crate::Verified) only.
#[derive(Clone, Debug)]
pub struct AzureClaims {
    /// What vouches for the virtual TPM.
    pub machine: AzureMachine,
    /// The certificate of the attestation key, where one came along that a trusted root leads to.
    pub ak_certificate: Option<AkCertificate>,
    /// SHA-256 of the attestation key's `SubjectPublicKeyInfo`.
    pub ak_spki_sha256: [u8; 32],
    /// What the quote proves.
    pub boot: QuotedBoot,
    /// The root above the hardware report; without one, above the attestation key's certificate.
    pub root: RootIdentity,
    /// The node key.
    pub node_key: ProvenKey,
    /// The earliest end of any certificate or collateral that was used.
    pub not_after: UnixTime,
}

/// What vouches for a virtual TPM of Azure's.
#[derive(Clone, Debug)]
pub enum AzureMachine {
    /// A confidential VM: the paravisor, and the hardware that measured it.
    Confidential {
        /// What the hardware reported.
        hardware: VerifiedHardware,
        /// What the paravisor says.
        runtime_data: Box<RuntimeData>,
    },
    /// Any other: Microsoft's certificate alone.
    TrustedLaunch,
}

/// The hardware report of a confidential VM, verified.
#[derive(Clone, Debug)]
pub enum VerifiedHardware {
    /// SEV-SNP.
    Snp(Box<VerifiedReport>),
    /// TDX.
    Tdx(Box<VerifiedQuote>),
}

impl VerifiedHardware {
    /// The root above it.
    #[must_use]
    pub fn root(&self) -> &RootIdentity {
        match self {
            Self::Snp(report) => report.root(),
            Self::Tdx(quote) => quote.root(),
        }
    }

    /// The earliest end of any certificate or collateral that it rests on.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        match self {
            Self::Snp(report) => report.not_after(),
            Self::Tdx(quote) => quote.not_after(),
        }
    }
}

impl AzureMachine {
    /// What the paravisor says; `None` where there is none.
    #[must_use]
    pub fn runtime_data(&self) -> Option<&RuntimeData> {
        match self {
            Self::Confidential { runtime_data, .. } => Some(runtime_data),
            Self::TrustedLaunch => None,
        }
    }

    /// What the hardware reported; `None` where it did not.
    #[must_use]
    pub const fn hardware(&self) -> Option<&VerifiedHardware> {
        match self {
            Self::Confidential { hardware, .. } => Some(hardware),
            Self::TrustedLaunch => None,
        }
    }

    /// Who vouches for what is known by the virtual TPM or the paravisor alone, below a root of this class.
    #[must_use]
    pub const fn provenance(&self, class: TrustClass) -> Provenance {
        match (class, self) {
            (TrustClass::Simulated, _) => Provenance::Simulated,
            (_, Self::Confidential { .. }) => Provenance::Paravisor,
            (_, Self::TrustedLaunch) => Provenance::Provider,
        }
    }

    /// Who the machine is: SHA-256 over the label `azure.instance`, the id that the paravisor gives it (36 characters in
    /// lower case; none without one), and SHA-256 of the attestation key's `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn instance(&self, ak_spki_sha256: &[u8; 32]) -> [u8; 32] {
        let id = self.runtime_data().map(|data| data.configuration.vm_unique_id.as_str()).unwrap_or_default();
        sha256(&[b"azure.instance", id.as_bytes(), ak_spki_sha256])
    }
}

impl AzureClaims {
    /// The root's trust class.
    #[must_use]
    pub const fn class(&self) -> TrustClass {
        self.root.class
    }

    /// Who vouches for what is said here beside the hardware's own words: the paravisor, the provider, or a simulator.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        self.machine.provenance(self.root.class)
    }

    /// Who the machine is.
    #[must_use]
    pub fn instance(&self) -> [u8; 32] {
        self.machine.instance(&self.ak_spki_sha256)
    }
}
