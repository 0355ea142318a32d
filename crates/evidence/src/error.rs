//! Bytes that are not what they claim to be: which structure, which field, what is wrong. Blames the sender, never us.

/// A structure did not parse. Carries no bytes of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{structure} is malformed at {field}: {defect}")]
pub struct Malformed {
    /// What was being read.
    pub structure: Structure,
    /// The field, in the words of the document that defines the structure.
    pub field: &'static str,
    /// What is wrong with it.
    pub defect: Defect,
}

/// What is wrong with one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The input ends inside the field.
    #[error("needs {needed} bytes, {left} are left")]
    Truncated {
        /// Bytes the field claims.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// Bytes follow where the structure ends.
    #[error("{left} bytes follow the end")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// The field is larger or more numerous than we accept.
    #[error("{found} is above the limit {limit}")]
    TooLarge {
        /// What it claims.
        found: usize,
        /// What we accept.
        limit: usize,
    },
    /// The field has another length than its kind demands.
    #[error("is {found} bytes, expected {expected}")]
    Length {
        /// What its kind demands.
        expected: usize,
        /// What it has.
        found: usize,
    },
    /// A number that stands for nothing we accept here.
    #[error("unexpected value {found:#x}")]
    Value {
        /// The number.
        found: u64,
    },
    /// The same thing stands twice.
    #[error("stands twice")]
    Duplicate,
    /// What must be there is not.
    #[error("is missing")]
    Missing,
    /// A name that the document does not define.
    #[error("is none that we know")]
    Unknown,
    /// Not the encoding that the document demands (DER, UTF-8, ordering).
    #[error("not in its required encoding")]
    Encoding,
}

/// The structures this crate reads; each has its own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Our `IdentityMaterial`.
    Material,
    /// Our `Ask`.
    Ask,
    /// Our evidence item of kind `tpm`.
    Item,
    /// Our sealed challenge.
    Seal,
    /// `TPMT_PUBLIC` or `TPM2B_PUBLIC`.
    Public,
    /// `TPMS_ATTEST` or `TPM2B_ATTEST`.
    Attest,
    /// `TPMT_SIGNATURE`.
    Signature,
    /// `TPML_PCR_SELECTION`.
    Selection,
    /// `TPM2B_ID_OBJECT` or `TPM2B_ENCRYPTED_SECRET`.
    Credential,
    /// A firmware event log.
    EventLog,
    /// A UEFI structure inside an event.
    EventData,
    /// The kernel's list of measurements, or a signature in it.
    ImaLog,
    /// Our place in such a list.
    ImaResume,
    /// An endorsement-key certificate or one of its chain.
    EkCertificate,
    /// A certificate revocation list.
    Crl,
    /// A PKCS#10 request.
    Csr,
    /// A DER `SubjectPublicKeyInfo`.
    Spki,
    /// Our evidence item of kind `snp`.
    SnpItem,
    /// An SNP attestation report.
    SnpReport,
    /// A GHCB certificate table.
    SnpCertificates,
    /// A VCEK or VLEK certificate, its chain or its CRL.
    SnpVek,
    /// Our evidence item of kind `tdx`.
    TdxItem,
    /// A TDX quote.
    TdxQuote,
    /// DCAP collateral.
    TdxCollateral,
    /// A CC event log (CCEL).
    TdxEventLog,
    /// Our evidence item of kind `nitro`.
    NitroItem,
    /// A Nitro attestation document.
    NitroDocument,
    /// Our evidence item of kind `nitrotpm`.
    NitroTpmItem,
    /// A NitroTPM attestation document.
    NitroTpmDocument,
    /// Our evidence item of kind `azure`.
    AzureItem,
    /// An HCL report.
    AzureReport,
    /// The runtime data of an HCL report.
    AzureRuntimeData,
    /// Our evidence item of kind `gcp`.
    GcpItem,
    /// The instance extension of an AK certificate.
    GcpInstance,
}

impl Structure {
    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Material => "identity material",
            Self::Ask => "ask",
            Self::Item => "evidence item",
            Self::Seal => "sealed challenge",
            Self::Public => "public area",
            Self::Attest => "attestation structure",
            Self::Signature => "signature",
            Self::Selection => "PCR selection",
            Self::Credential => "credential",
            Self::EventLog => "event log",
            Self::EventData => "event data",
            Self::ImaLog => "IMA list",
            Self::ImaResume => "place in an IMA list",
            Self::EkCertificate => "EK certificate",
            Self::Crl => "CRL",
            Self::Csr => "certificate request",
            Self::Spki => "public key",
            Self::SnpItem => "SNP evidence item",
            Self::SnpReport => "SNP report",
            Self::SnpCertificates => "SNP certificate table",
            Self::SnpVek => "VEK certificate",
            Self::TdxItem => "TDX evidence item",
            Self::TdxQuote => "TDX quote",
            Self::TdxCollateral => "TDX collateral",
            Self::TdxEventLog => "CC event log",
            Self::NitroItem => "Nitro evidence item",
            Self::NitroDocument => "Nitro attestation document",
            Self::NitroTpmItem => "NitroTPM evidence item",
            Self::NitroTpmDocument => "NitroTPM attestation document",
            Self::AzureItem => "Azure evidence item",
            Self::AzureReport => "HCL report",
            Self::AzureRuntimeData => "HCL runtime data",
            Self::GcpItem => "GCP evidence item",
            Self::GcpInstance => "GCP instance extension",
        }
    }
}

impl std::fmt::Display for Structure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Malformed {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.structure {
            Structure::Material => "tpm.material.malformed",
            Structure::Ask => "tpm.ask.malformed",
            Structure::Item => "tpm.item.malformed",
            Structure::Seal => "challenge.seal.malformed",
            Structure::Public => "tpm.public.malformed",
            Structure::Attest => "tpm.attest.malformed",
            Structure::Signature => "tpm.signature.malformed",
            Structure::Selection => "tpm.selection.malformed",
            Structure::Credential => "tpm.credential.malformed",
            Structure::EventLog => "tpm.event_log.malformed",
            Structure::EventData => "tpm.event_log.event_malformed",
            Structure::ImaLog => "tpm.ima.malformed",
            Structure::ImaResume => "tpm.ima.resume_malformed",
            Structure::EkCertificate => "tpm.ek.malformed",
            Structure::Crl => "tpm.ek.crl_malformed",
            Structure::Csr => "key.csr.malformed",
            Structure::Spki => "key.spki.malformed",
            Structure::SnpItem => "snp.item.malformed",
            Structure::SnpReport => "snp.report.malformed",
            Structure::SnpCertificates => "snp.certificates.malformed",
            Structure::SnpVek => "snp.vek.malformed",
            Structure::TdxItem => "tdx.item.malformed",
            Structure::TdxQuote => "tdx.quote.malformed",
            Structure::TdxCollateral => "tdx.collateral.malformed",
            Structure::TdxEventLog => "tdx.ccel.malformed",
            Structure::NitroItem => "nitro.item.malformed",
            Structure::NitroDocument => "nitro.document.malformed",
            Structure::NitroTpmItem => "nitrotpm.item.malformed",
            Structure::NitroTpmDocument => "nitrotpm.document.malformed",
            Structure::AzureItem => "azure.item.malformed",
            Structure::AzureReport => "azure.hcl.malformed",
            Structure::AzureRuntimeData => "azure.runtime_data.malformed",
            Structure::GcpItem => "gcp.item.malformed",
            Structure::GcpInstance => "gcp.instance.malformed",
        }
    }
}
