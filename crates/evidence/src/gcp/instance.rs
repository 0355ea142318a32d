//! The extension by which Google's certificate names an instance, 1.3.6.1.4.1.11129.2.1.21: a sequence of zone, project
//! number, project id, instance id, instance name and security properties. Google documents no more of the latter than
//! version and production; the others are read past.

use x509_parser::asn1_rs::{Any, FromDer, Integer, Sequence, Tag, Utf8String};
use x509_parser::certificate::X509Certificate;

use crate::error::{Defect, Malformed, Structure};

/// The extension's OID.
const OID: &str = "1.3.6.1.4.1.11129.2.1.21";
/// Bytes of one of its texts: more than any name that Google Cloud accepts.
const TEXT_BYTES_MAX: usize = 256;

/// Who an instance is, as Google says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `us-central1-a`.
    pub zone: String,
    /// The project's number.
    pub project_number: u64,
    /// The project's id.
    pub project_id: String,
    /// The instance's id; never used again.
    pub instance_id: u64,
    /// The instance's name, as its owner chose it.
    pub instance_name: String,
    /// What Google says of its own TPM.
    pub security: Option<SecurityProperties>,
}

/// What Google says of its own TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityProperties {
    /// Security version of the virtual TPM.
    pub version: Option<u64>,
    /// Whether the instance runs in production, and not in one of Google's test environments.
    pub production: Option<bool>,
}

impl Instance {
    /// Reads the extension of an AK certificate.
    ///
    /// # Errors
    /// [`Malformed`] if it is not there, stands twice, or is not what Google writes.
    pub fn of(certificate: &X509Certificate<'_>) -> Result<Self, Malformed> {
        let mut found = certificate.extensions().iter().filter(|extension| extension.oid.to_id_string() == OID);
        let extension = found.next().ok_or(malformed("extension", Defect::Truncated { needed: 1, left: 0 }))?;
        if found.next().is_some() {
            return Err(malformed("extension", Defect::Duplicate));
        }
        Self::parse(extension.value)
    }

    /// Reads the extension's value, exactly.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        let (rest, sequence) = Sequence::from_der(der).map_err(|_| encoding("instance"))?;
        if !rest.is_empty() {
            return Err(malformed("instance", Defect::Trailing { left: rest.len() }));
        }
        let content: &[u8] = &sequence.content;
        let (content, zone) = text(content, "zone")?;
        let (content, project_number) = number(content, "project_number")?;
        let (content, project_id) = text(content, "project_id")?;
        let (content, instance_id) = number(content, "instance_id")?;
        let (content, instance_name) = text(content, "instance_name")?;
        let security = match content {
            [] => None,
            content => Some(SecurityProperties::parse(content)?),
        };
        Ok(Self { zone, project_number, project_id, instance_id, instance_name, security })
    }
}

impl SecurityProperties {
    fn parse(content: &[u8]) -> Result<Self, Malformed> {
        let inner = tagged(content, 0)?.ok_or(encoding("security_properties"))?;
        let (rest, sequence) = Sequence::from_der(inner).map_err(|_| encoding("security_properties"))?;
        if !rest.is_empty() {
            return Err(malformed("security_properties", Defect::Trailing { left: rest.len() }));
        }
        let (mut version, mut production, mut last) = (None, None, None);
        let mut content: &[u8] = &sequence.content;
        while !content.is_empty() {
            let (rest, any) = Any::from_der(content).map_err(|_| encoding("security_properties"))?;
            let tag = any.tag().0;
            if any.class() != x509_parser::asn1_rs::Class::ContextSpecific || last.is_some_and(|last| last >= tag) {
                return Err(encoding("security_properties"));
            }
            last = Some(tag);
            match tag {
                0 => {
                    let (rest, number) = number(any.data, "security_version")?;
                    ended(rest, "security_version")?;
                    version = Some(number);
                }
                // DER knows two truths and no more.
                1 => match any.data {
                    [0x01, 0x01, 0x00] => production = Some(false),
                    [0x01, 0x01, 0xff] => production = Some(true),
                    _ => return Err(encoding("is_production")),
                },
                _ => {}
            }
            content = rest;
        }
        Ok(Self { version, production })
    }
}

/// The contents of an element with this explicit tag, which must be all there is.
fn tagged(der: &[u8], tag: u32) -> Result<Option<&[u8]>, Malformed> {
    let (rest, any) = Any::from_der(der).map_err(|_| encoding("security_properties"))?;
    let is_it = any.class() == x509_parser::asn1_rs::Class::ContextSpecific && any.tag() == Tag(tag);
    Ok((rest.is_empty() && is_it).then_some(any.data))
}

fn text<'a>(der: &'a [u8], field: &'static str) -> Result<(&'a [u8], String), Malformed> {
    let (rest, text) = Utf8String::from_der(der).map_err(|_| encoding(field))?;
    let text = text.string();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(malformed(field, Defect::TooLarge { found: text.len(), limit: TEXT_BYTES_MAX }));
    }
    Ok((rest, text))
}

fn number<'a>(der: &'a [u8], field: &'static str) -> Result<(&'a [u8], u64), Malformed> {
    let (rest, number) = Integer::from_der(der).map_err(|_| encoding(field))?;
    Ok((rest, number.as_u64().map_err(|_| encoding(field))?))
}

/// Nothing follows the one element of an explicit tag.
const fn ended(rest: &[u8], field: &'static str) -> Result<(), Malformed> {
    if rest.is_empty() { Ok(()) } else { Err(malformed(field, Defect::Trailing { left: rest.len() })) }
}

const fn encoding(field: &'static str) -> Malformed {
    malformed(field, Defect::Encoding)
}

const fn malformed(field: &'static str, defect: Defect) -> Malformed {
    Malformed { structure: Structure::GcpInstance, field, defect }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a certificate of 2024 has it.
    const REAL: &str = "30590c0d75732d63656e7472616c312d61020600e7af735e9c0c08636f72652d65736f02085a8c6235b897b1850c0a696e\
                        7374616e63652d31a020301ea003020100a1030101ffa2030101ffa303010100a403010100a503010100";

    #[test]
    fn an_instance_is_read_as_google_writes_it() {
        let instance = Instance::parse(&hex::decode(REAL).unwrap()).unwrap();
        assert_eq!(
            instance,
            Instance {
                zone: "us-central1-a".to_owned(),
                project_number: 995_081_019_036,
                project_id: "core-eso".to_owned(),
                instance_id: 6_524_697_943_022_743_941,
                instance_name: "instance-1".to_owned(),
                security: Some(SecurityProperties { version: Some(0), production: Some(true) }),
            }
        );
    }

    #[test]
    fn an_instance_cut_short_or_lengthened_is_refused() {
        let whole = hex::decode(REAL).unwrap();
        for length in 0..whole.len() {
            assert!(Instance::parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(Instance::parse(&[whole, vec![0]].concat()).is_err());
        // one more element inside the explicit tags of version and production
        for (from, to) in [("a003020100", "a006020100020100"), ("a1030101ff", "a1060101ff0101ff")] {
            let longer = REAL.replacen("3059", "305c", 1).replacen("a020301e", "a0233021", 1).replacen(from, to, 1);
            assert!(Instance::parse(&hex::decode(longer).unwrap()).is_err(), "{to}");
        }
    }
}
