//! Why an import does not come about, each with its code. What exactly was wrong is the detail beside it.

/// The reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The file is no CoRIM: no CBOR, too deep, a key twice, a part missing or of another type, or bytes behind it.
    CorimMalformed,
    /// A key was given, and the file is not signed.
    CorimUnsigned,
    /// The signature does not verify under the key that was given, or is of an algorithm that is not accepted.
    CorimSignature,
    /// The file is of a profile that is not understood.
    CorimProfile,
    /// The file's own dates do not include this moment.
    CorimValidity,
    /// Reference values that are of no class of AMD's, or a trust anchor without vendor or model.
    CorimEnvironment,
    /// A measurement without key, or with one that is no number.
    CorimMeasurementKey,
    /// The signatures are not the JSON that systemd-measure writes.
    SystemdMalformed,
    /// Nothing is signed for this bank.
    SystemdBank,
    /// Nothing is signed over PCR 11 alone.
    SystemdNothingSigned,
    /// A signature does not verify under the key that was given.
    SystemdSignature,
    /// None of the signed policies fits a value of this image's PCR 11.
    SystemdNotThisImage,
}

impl Reason {
    /// Stable code for operators and programs.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::CorimMalformed => "reference.corim.malformed",
            Self::CorimUnsigned => "reference.corim.unsigned",
            Self::CorimSignature => "reference.corim.signature",
            Self::CorimProfile => "reference.corim.profile",
            Self::CorimValidity => "reference.corim.validity",
            Self::CorimEnvironment => "reference.corim.environment",
            Self::CorimMeasurementKey => "reference.corim.measurement_key",
            Self::SystemdMalformed => "reference.systemd.malformed",
            Self::SystemdBank => "reference.systemd.bank",
            Self::SystemdNothingSigned => "reference.systemd.nothing_signed",
            Self::SystemdSignature => "reference.systemd.signature",
            Self::SystemdNotThisImage => "reference.systemd.not_this_image",
        }
    }
}
