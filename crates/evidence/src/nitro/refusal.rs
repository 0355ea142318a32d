//! Why a document of the Nitro hypervisor is refused, whichever kind it is of: every variant blames the document, and has
//! a code under the kind's own name.

use super::kind::DocumentKind;
use crate::error::Malformed;
use crate::x509::Date;

/// A certificate of the chain does not hold. Positions count from the root, which is 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainRefused {
    /// The bundle begins with a certificate that is no trusted root.
    #[error("cabundle begins with a certificate that is no trusted root")]
    Root,
    /// Not one DER certificate, exactly.
    #[error("certificate {position} is no X.509 certificate in DER")]
    Malformed {
        /// Which.
        position: usize,
    },
    /// Its issuer is not the certificate before it, or is itself.
    #[error("certificate {position} names another issuer than the certificate before it")]
    Issuer {
        /// Which.
        position: usize,
    },
    /// Signed by another algorithm than ecdsa-with-SHA384, or naming two.
    #[error("certificate {position} is not signed with ecdsa-with-SHA384")]
    Algorithm {
        /// Which.
        position: usize,
    },
    /// The certificate before it did not sign it.
    #[error("certificate {position} is not signed by the certificate before it")]
    Signature {
        /// Which.
        position: usize,
    },
    /// Its key is none of P-384.
    #[error("certificate {position} has no P-384 key")]
    Key {
        /// Which.
        position: usize,
    },
    /// A critical extension is none that we understand, or an extension stands twice.
    #[error("certificate {position} has a critical extension that is not understood, or one twice")]
    CriticalExtension {
        /// Which.
        position: usize,
    },
    /// An issuer does not say that it is a CA.
    #[error("certificate {position} issues certificates and is no CA")]
    NotCa {
        /// Which.
        position: usize,
    },
    /// An issuer has more issuers below it than it allows.
    #[error("certificate {position} allows {allowed} issuers below it, there are more")]
    PathLength {
        /// Which.
        position: usize,
        /// `pathLenConstraint`.
        allowed: u32,
    },
    /// An issuer without keyCertSign, or a document's certificate without digitalSignature or with keyCertSign.
    #[error("certificate {position} has no key usage that allows what it is used for")]
    KeyUsage {
        /// Which.
        position: usize,
    },
    /// The document's own certificate is a CA's.
    #[error("the document's certificate is one of a CA")]
    LeafIsCa,
    /// Out of its dates.
    #[error("certificate {position} is valid from {} to {}, it is {}", Date(*not_before), Date(*not_after), Date(*now))]
    Expired {
        /// Which.
        position: usize,
        /// Start, seconds since 1970.
        not_before: i64,
        /// End, seconds since 1970.
        not_after: i64,
        /// The moment of the verification.
        now: i64,
    },
    /// The certificate names another module than the document.
    #[error("the document's certificate is that of another module")]
    Module,
}

/// A check of a document failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentRefused {
    /// Some structure does not parse, exactly.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is the other kind's document.
    #[error("document has {found}, expected {expected}: it is of another kind")]
    Kind {
        /// Key of the PCRs of this kind.
        expected: &'static str,
        /// Key found.
        found: &'static str,
    },
    /// The algorithm is another than ES384, by its number.
    #[error("document is not signed with ES384 (-35)")]
    Algorithm,
    /// The digest function is another than SHA-384, or a PCR has another size.
    #[error("document has PCRs of another digest than SHA384")]
    Digest,
    /// The module's name is none of this kind.
    #[error("module_id is none of this kind")]
    ModuleId,
    /// The chain does not hold.
    #[error(transparent)]
    Chain(#[from] ChainRefused),
    /// The signature has not the raw form.
    #[error("signature has {found} bytes, expected {}: r and s of P-384, no DER", super::SIGNATURE_BYTES)]
    SignatureForm {
        /// Bytes found.
        found: usize,
    },
    /// The certificate's key did not sign these bytes.
    #[error("document is not signed by the key of its certificate")]
    Signature,
    /// `nonce` is not what was asked.
    #[error("nonce is not the one asked ({} found)", length(*found))]
    Nonce {
        /// Bytes found; `None` without a nonce.
        found: Option<usize>,
    },
    /// `user_data` is not the binding.
    #[error("user_data is not the binding ({} found)", length(*found))]
    Binding {
        /// Bytes found; `None` without user data.
        found: Option<usize>,
    },
    /// Made too long ago, or in the future.
    #[error("document was made {seconds} seconds ago, at most {limit} are accepted in either direction")]
    Timestamp {
        /// Its age; negative if it is from the future.
        seconds: i64,
        /// The bound.
        limit: i64,
    },
}

fn length(found: Option<usize>) -> String {
    found.map_or_else(|| "none".to_owned(), |bytes| format!("{bytes} bytes"))
}

impl DocumentRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self, kind: DocumentKind) -> &'static str {
        let (enclave, tpm) = match self {
            Self::Malformed(malformed) => return malformed.code(),
            Self::Kind { .. } => ("nitro.document.kind", "nitrotpm.document.kind"),
            Self::Algorithm => ("nitro.document.algorithm", "nitrotpm.document.algorithm"),
            Self::Digest => ("nitro.document.digest", "nitrotpm.document.digest"),
            Self::ModuleId => ("nitro.document.module_id", "nitrotpm.document.module_id"),
            Self::SignatureForm { .. } => ("nitro.document.signature_form", "nitrotpm.document.signature_form"),
            Self::Signature => ("nitro.document.signature", "nitrotpm.document.signature"),
            Self::Nonce { .. } => ("nitro.document.nonce", "nitrotpm.document.nonce"),
            Self::Binding { .. } => ("nitro.document.binding", "nitrotpm.document.binding"),
            Self::Timestamp { .. } => ("nitro.document.timestamp", "nitrotpm.document.timestamp"),
            Self::Chain(refused) => match refused {
                ChainRefused::Root => ("nitro.chain.root", "nitrotpm.chain.root"),
                ChainRefused::Malformed { .. } => ("nitro.chain.malformed", "nitrotpm.chain.malformed"),
                ChainRefused::Issuer { .. } => ("nitro.chain.issuer", "nitrotpm.chain.issuer"),
                ChainRefused::Algorithm { .. } => ("nitro.chain.algorithm", "nitrotpm.chain.algorithm"),
                ChainRefused::Signature { .. } => ("nitro.chain.signature", "nitrotpm.chain.signature"),
                ChainRefused::Key { .. } => ("nitro.chain.key", "nitrotpm.chain.key"),
                ChainRefused::CriticalExtension { .. } => {
                    ("nitro.chain.critical_extension", "nitrotpm.chain.critical_extension")
                }
                ChainRefused::NotCa { .. } => ("nitro.chain.not_ca", "nitrotpm.chain.not_ca"),
                ChainRefused::PathLength { .. } => ("nitro.chain.path_length", "nitrotpm.chain.path_length"),
                ChainRefused::KeyUsage { .. } => ("nitro.chain.key_usage", "nitrotpm.chain.key_usage"),
                ChainRefused::LeafIsCa => ("nitro.chain.leaf_is_ca", "nitrotpm.chain.leaf_is_ca"),
                ChainRefused::Expired { .. } => ("nitro.chain.expired", "nitrotpm.chain.expired"),
                ChainRefused::Module => ("nitro.chain.module", "nitrotpm.chain.module"),
            },
        };
        match kind {
            DocumentKind::Enclave => enclave,
            DocumentKind::Tpm => tpm,
        }
    }

    /// Whether the hardware did sign our binding, up to a trusted root, and the refusal is for something else that it
    /// signed. The checks are made in an order in which this is so.
    #[must_use]
    pub const fn is_genuine(&self) -> bool {
        match self {
            Self::Timestamp { .. } | Self::Chain(ChainRefused::Module) => true,
            Self::Malformed(_)
            | Self::Kind { .. }
            | Self::Algorithm
            | Self::Digest
            | Self::ModuleId
            | Self::Chain(_)
            | Self::SignatureForm { .. }
            | Self::Signature
            | Self::Nonce { .. }
            | Self::Binding { .. } => false,
        }
    }
}
