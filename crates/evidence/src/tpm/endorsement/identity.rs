//! What a certificate says about its TPM: manufacturer, model and version, from the subject alternative name.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::x509::X509Name;

const MANUFACTURER: &str = "2.23.133.2.1";
const MODEL: &str = "2.23.133.2.2";
const VERSION: &str = "2.23.133.2.3";
/// Characters of one attribute that are kept. The longest seen has 27.
const ATTRIBUTE_CHARS_MAX: usize = 128;

/// The TPM's own words about itself, under its manufacturer's signature. TCG EK Credential Profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TpmAttributes {
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) version: Option<String>,
}

impl TpmAttributes {
    /// Reads the attributes wherever vendors put them: each in an RDN of its own, or all in one multi-valued RDN; in a
    /// directory name of the SAN, or (old certificates) in the subject.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut attributes = Self::default();
        for extension in certificate.extensions() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                for name in &names.general_names {
                    if let GeneralName::DirectoryName(name) = name {
                        attributes.read(name);
                    }
                }
            }
        }
        attributes.read(certificate.subject());
        attributes
    }

    fn read(&mut self, name: &X509Name<'_>) {
        for attribute in name.iter_attributes() {
            let place = match attribute.attr_type().to_id_string().as_str() {
                MANUFACTURER => &mut self.manufacturer,
                MODEL => &mut self.model,
                VERSION => &mut self.version,
                _ => continue,
            };
            let text = std::str::from_utf8(attribute.attr_value().data).unwrap_or_default();
            let is_plain = text.chars().all(|c| !c.is_control()) && text.chars().count() <= ATTRIBUTE_CHARS_MAX;
            if place.is_none() && is_plain && !text.is_empty() {
                *place = Some(text.to_owned());
            }
        }
    }
}
