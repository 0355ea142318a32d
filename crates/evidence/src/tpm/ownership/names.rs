//! What subject alternative names say: the platform in the maker's words, and which TPM a device key belongs to.

use x509_parser::asn1_rs::{Any, FromDer as _, Oid, Tag};
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::x509::X509Name;

use super::identity::cut;

/// `tcg-at-platformManufacturerStr`, and its name before the Platform Certificate Profile 1.0.
const MANUFACTURER: [&str; 2] = ["2.23.133.5.1.1", "2.23.133.2.4"];
const MODEL: [&str; 2] = ["2.23.133.5.1.4", "2.23.133.2.5"];
const VERSION: [&str; 2] = ["2.23.133.5.1.5", "2.23.133.2.6"];
const SERIAL: [&str; 1] = ["2.23.133.5.1.6"];

/// What firmware says where nobody wrote a serial number. A name that many machines have names none.
const NO_SERIAL: [&str; 13] = [
    "0",
    "00000000",
    "0123456789",
    "123456789",
    "default",
    "default string",
    "empty",
    "n/a",
    "none",
    "not applicable",
    "not specified",
    "system serial number",
    "to be filled by o.e.m.",
];

/// `id-on-permanentIdentifier`, RFC 4043.
const PERMANENT_IDENTIFIER: &str = "1.3.6.1.5.5.7.8.3";
/// `id-on-hardwareModuleName`, RFC 4108.
const HARDWARE_MODULE_NAME: &str = "1.3.6.1.5.5.7.8.4";
/// `tcg-on-ekPermIdSha256`: the identifier is the digest of an EK certificate.
const EK_PERMANENT_ID: &str = "2.23.133.12.1";
/// `tcg-tpm20`: the hardware module is a TPM.
const TPM_20: &str = "2.23.133.1.2";

/// The platform's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PlatformNames {
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) version: String,
    pub(super) serial: String,
}

impl PlatformNames {
    /// Reads the directory names of the subject alternative names, wherever in them the attributes stand.
    pub(super) fn of(extensions: &[X509Extension<'_>]) -> Self {
        let mut names = Self::default();
        for name in alternative_names(extensions) {
            if let GeneralName::DirectoryName(name) = name {
                names.read(name);
            }
        }
        if NO_SERIAL.contains(&names.serial.trim().to_lowercase().as_str()) {
            names.serial.clear();
        }
        names
    }

    fn read(&mut self, name: &X509Name<'_>) {
        for attribute in name.iter_attributes() {
            let id = attribute.attr_type().to_id_string();
            let place = match id.as_str() {
                id if MANUFACTURER.contains(&id) => &mut self.manufacturer,
                id if MODEL.contains(&id) => &mut self.model,
                id if VERSION.contains(&id) => &mut self.version,
                id if SERIAL.contains(&id) => &mut self.serial,
                _ => continue,
            };
            if place.is_empty() {
                *place = plain(attribute.attr_value().data);
            }
        }
    }
}

/// Text without control characters, whole or not at all; empty otherwise.
pub(super) fn plain(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let is_plain = cut(text).len() == text.len() && !text.chars().any(char::is_control);
    if is_plain { text.to_owned() } else { String::new() }
}

/// How a device certificate names the TPM that its key is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TpmNaming {
    /// By SHA-256 of an EK certificate, hexadecimal.
    EkCertificate(String),
    /// By the authority key identifier and the serial number of an EK certificate, hexadecimal.
    EkSerial { authority: String, serial: String },
}

/// Every naming of a TPM; of several EKs of one TPM, makers name one.
pub(super) fn tpm_namings(extensions: &[X509Extension<'_>]) -> Vec<TpmNaming> {
    let others = alternative_names(extensions).filter_map(|name| match name {
        GeneralName::OtherName(id, value) => Some((id.to_id_string(), *value)),
        _ => None,
    });
    let naming = |(id, value): (String, &[u8])| match id.as_str() {
        PERMANENT_IDENTIFIER => permanent_identifier(value),
        HARDWARE_MODULE_NAME => hardware_module(value),
        _ => None,
    };
    others.filter_map(naming).collect()
}

/// `PermanentIdentifier ::= SEQUENCE { identifierValue UTF8String OPTIONAL, assigner OBJECT IDENTIFIER OPTIONAL }`.
fn permanent_identifier(value: &[u8]) -> Option<TpmNaming> {
    let [identifier, assigner] = two(value)?;
    let is_ours = identifier.tag() == Tag::Utf8String && id_of(&assigner)? == EK_PERMANENT_ID;
    is_ours.then(|| TpmNaming::EkCertificate(plain(identifier.data).to_ascii_lowercase()))
}

/// `HardwareModuleName ::= SEQUENCE { hwType OBJECT IDENTIFIER, hwSerialNum OCTET STRING }`; of a TPM, the serial number
/// is manufacturer, authority key identifier and serial number of an EK certificate, with colons between.
fn hardware_module(value: &[u8]) -> Option<TpmNaming> {
    let [kind, serial] = two(value)?;
    if id_of(&kind)? != TPM_20 || serial.tag() != Tag::OctetString {
        return None;
    }
    let text = plain(serial.data).to_ascii_lowercase();
    let (_, rest) = text.split_once(':')?;
    let (authority, serial) = rest.rsplit_once(':')?;
    Some(TpmNaming::EkSerial { authority: authority.replace(':', ""), serial: serial.to_owned() })
}

/// The two elements of the SEQUENCE in an explicitly tagged value.
fn two(value: &[u8]) -> Option<[Any<'_>; 2]> {
    let (end, explicit) = Any::from_der(value).ok()?;
    let (end_of_value, sequence) = Any::from_der(explicit.data).ok()?;
    let (rest, first) = Any::from_der(sequence.data).ok()?;
    let (end_of_sequence, second) = Any::from_der(rest).ok()?;
    let whole = [end, end_of_value, end_of_sequence].iter().all(|rest| rest.is_empty());
    (whole && explicit.tag() == Tag(0) && sequence.tag() == Tag::Sequence).then_some([first, second])
}

fn id_of(any: &Any<'_>) -> Option<String> {
    Oid::try_from(any.clone()).ok().map(|id| id.to_id_string())
}

fn alternative_names<'e>(extensions: &'e [X509Extension<'e>]) -> impl Iterator<Item = &'e GeneralName<'e>> {
    extensions.iter().flat_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => names.general_names.as_slice(),
        _ => &[],
    })
}
