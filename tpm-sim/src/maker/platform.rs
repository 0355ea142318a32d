//! Writes platform certificates: attribute certificates whose holder is an endorsement certificate (RFC 5755, TCG Platform
//! Certificate Profile 1.1).

use rcgen::SigningKey as _;
use time::{Duration, OffsetDateTime};

use super::attack::MakerAttack;
use super::{Maker, PLATFORM_MANUFACTURER, PLATFORM_MODEL, fields};
use crate::der::{self, SEQUENCE, SET, UTF8_STRING, element};
use crate::endorsement::Endorsement;
use crate::error::SimError;

/// ecdsa-with-SHA256.
const ECDSA_SHA256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const BIT_STRING: u8 = 0x03;
const GENERALIZED_TIME: u8 = 0x18;
const OCTET_STRING: u8 = 0x04;
/// `[0]`, constructed.
const TAG_0: u8 = 0xa0;
/// `[4]`, constructed: a directoryName.
const TAG_4: u8 = 0xa4;

/// A platform certificate for the machine with this endorsement certificate; `stranger` signs what `maker` did not.
pub(super) fn certificate(
    maker: &Maker,
    stranger: &Maker,
    endorsement: &Endorsement,
    serial: &str,
    attack: Option<&MakerAttack>,
) -> Result<Vec<u8>, SimError> {
    let holder = match attack {
        Some(MakerAttack::PlatformOfAnother(other)) => other,
        _ => endorsement,
    };
    let holder = fields(holder)?;
    let mut holder_serial = holder.serial.to_vec();
    if let (Some(MakerAttack::PlatformHolder), Some(last)) = (attack, holder_serial.last_mut()) {
        *last ^= 1;
    }
    let now = OffsetDateTime::now_utc();
    let end = match attack {
        Some(MakerAttack::PlatformExpired) => now - Duration::days(1),
        _ => now + Duration::days(365 * 20),
    };
    let algorithm = element(SEQUENCE, &ECDSA_SHA256);
    let holder_id = [directory_names(holder.issuer), element(0x02, &holder_serial)].concat();
    let validity = [time(now - Duration::days(30)), time(end)].concat();
    let info = [
        der::unsigned(&[1]),
        element(SEQUENCE, &element(TAG_0, &holder_id)),
        element(TAG_0, &directory_names(&maker.name())),
        algorithm.clone(),
        der::unsigned(&crate::vendor::random_serial()),
        element(SEQUENCE, &validity),
        element(SEQUENCE, &[credential_type(), specification()].concat()),
        element(SEQUENCE, &alternative_name(serial)),
    ]
    .concat();
    let info = element(SEQUENCE, &info);
    let key = match attack {
        Some(MakerAttack::PlatformSelfSigned) => &stranger.issuing_key,
        _ => &maker.issuing_key,
    };
    let signature = element(BIT_STRING, &[vec![0], key.sign(&info)?].concat());
    Ok(element(SEQUENCE, &[info, algorithm, signature].concat()))
}

/// GeneralNames with one directoryName.
fn directory_names(name: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &element(TAG_4, name))
}

fn time(at: OffsetDateTime) -> Vec<u8> {
    let (date, clock) = (at.date(), at.time());
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
    element(GENERALIZED_TIME, text.as_bytes())
}

/// An attribute with one value. The object identifier is below 2.23.133.
fn attribute(id: &[u8], value: &[u8]) -> Vec<u8> {
    let oid = element(der::OID, &[&[0x67, 0x81, 0x05], id].concat());
    element(SEQUENCE, &[oid, element(SET, value)].concat())
}

/// tcg-at-tcgCredentialType: tcg-kp-PlatformAttributeCertificate.
fn credential_type() -> Vec<u8> {
    attribute(&[2, 25], &element(SEQUENCE, &element(der::OID, &[0x67, 0x81, 0x05, 8, 2])))
}

/// tcg-at-tcgCredentialSpecification: version 1.1, revision 15.
fn specification() -> Vec<u8> {
    let version = [der::unsigned(&[1]), der::unsigned(&[1]), der::unsigned(&[15])].concat();
    attribute(&[2, 23], &element(SEQUENCE, &version))
}

/// The extension subjectAltName: manufacturer, model, version and serial number of the platform.
fn alternative_name(serial: &str) -> Vec<u8> {
    let names = [(1, PLATFORM_MANUFACTURER), (4, PLATFORM_MODEL), (5, "1"), (6, serial)];
    let relative = |(last, value): &(u8, &str)| {
        let oid = element(der::OID, &[0x67, 0x81, 0x05, 0x05, 0x01, *last]);
        element(SET, &element(SEQUENCE, &[oid, element(UTF8_STRING, value.as_bytes())].concat()))
    };
    let name: Vec<u8> = names.iter().flat_map(relative).collect();
    let content = directory_names(&element(SEQUENCE, &name));
    element(SEQUENCE, &[element(der::OID, &[0x55, 0x1d, 0x11]), element(OCTET_STRING, &content)].concat())
}
