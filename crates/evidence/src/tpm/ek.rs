//! What is kept of an endorsement key whose certificate was verified. Verifies none: see `endorsement`.

use super::endorsement::EkCertificate;
use crate::TrustClass;
use crate::error::{Defect, Malformed};
use crate::reader::{Reader, Writer};

/// Bytes of one text in an [`EkIdentity`]; longer ones are cut. Vendors' own are below 40.
pub const EK_TEXT_BYTES_MAX: usize = 128;
/// Endorsement keys of one machine: RSA and ECC, low and high range.
pub const EKS_MAX: usize = 4;

/// One verified endorsement key, as facts, the record and sealed challenges carry it. Texts come from certificates
/// that a listed root vouches for, yet are to be escaped like any other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EkIdentity {
    /// SHA-256 of the certificate's DER, without padding.
    pub certificate_sha256: [u8; 32],
    /// SHA-256 of its DER `SubjectPublicKeyInfo`: names the key whatever its certificate.
    pub spki_sha256: [u8; 32],
    /// Class of its root.
    pub class: TrustClass,
    /// `tcg-at-tpmManufacturer`, such as `id:53544D20`.
    pub manufacturer: String,
    /// `tcg-at-tpmModel`.
    pub model: String,
    /// `tcg-at-tpmVersion`.
    pub version: String,
    /// Name under which its root was imported.
    pub root_name: String,
    /// SHA-256 of the root certificate's DER.
    pub root_sha256: [u8; 32],
}

impl EkIdentity {
    /// Whether everything below rests on a simulated root.
    #[must_use]
    pub const fn is_simulated(&self) -> bool {
        matches!(self.class, TrustClass::Simulated)
    }

    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let class = TrustClass::ALL.iter().position(|class| *class == self.class).unwrap_or(TrustClass::ALL.len());
        writer
            .bytes(&self.certificate_sha256)
            .bytes(&self.spki_sha256)
            .u8(u8::try_from(class).unwrap_or(u8::MAX))
            .sized16(cut(&self.manufacturer))
            .sized16(cut(&self.model))
            .sized16(cut(&self.version))
            .sized16(cut(&self.root_name))
            .bytes(&self.root_sha256)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            certificate_sha256: reader.array("ek.certificate")?,
            spki_sha256: reader.array("ek.spki")?,
            class: {
                let class = reader.u8("ek.class")?;
                *TrustClass::ALL.get(usize::from(class)).ok_or(reader.value("ek.class", class.into()))?
            },
            manufacturer: text(reader, "ek.manufacturer")?,
            model: text(reader, "ek.model")?,
            version: text(reader, "ek.version")?,
            root_name: text(reader, "ek.rootName")?,
            root_sha256: reader.array("ek.root")?,
        })
    }
}

impl From<EkCertificate> for EkIdentity {
    fn from(certificate: EkCertificate) -> Self {
        let kept = |text: Option<String>| {
            let mut text = text.unwrap_or_default();
            text.truncate(text.floor_char_boundary(EK_TEXT_BYTES_MAX));
            text
        };
        Self {
            certificate_sha256: certificate.sha256,
            spki_sha256: certificate.spki_sha256,
            class: certificate.root.class,
            manufacturer: kept(certificate.manufacturer),
            model: kept(certificate.model),
            version: kept(certificate.version),
            root_name: kept(Some(certificate.root.name)),
            root_sha256: certificate.root.sha256,
        }
    }
}

/// At most [`EK_TEXT_BYTES_MAX`] bytes of it, whole characters.
fn cut(text: &str) -> &[u8] {
    text.get(..text.floor_char_boundary(EK_TEXT_BYTES_MAX)).unwrap_or_default().as_bytes()
}

fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, Malformed> {
    let bytes = reader.sized16(EK_TEXT_BYTES_MAX, field)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| reader.malformed(field, Defect::Encoding))
}
