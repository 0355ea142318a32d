//! X.509 as AMD writes it: RSASSA-PSS with SHA-384, serial number 0 for chip keys, extensions of AMD's own arc.

use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA384, RsaKeyPair};
use time::OffsetDateTime;

use super::spec::Tcb;
use crate::der::{OID, SEQUENCE, SET, UTF8_STRING, element, unsigned};
use crate::error::SimError;

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// 2.5.4.3 and 2.5.4.10.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
/// 2.16.840.1.101.3.4.2.2
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
/// 1.2.840.113549.1.1.8 and .10
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
/// 1.3.6.1.4.1.3704.1
const AMD: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1];

/// Who a certificate is for.
pub(super) enum Subject<'a> {
    /// An authority of this name.
    Authority(&'a str),
    /// A chip's key for one TCB.
    Chip { product: &'a str, chip_id: &'a [u8], tcb: Tcb },
    /// A provider's key for one TCB.
    Provider { product: &'a str, csp_id: &'a str, tcb: Tcb },
}

/// A certificate for `spki`, issued by the authority `issuer` whose key is `signer`, until `end`.
pub(super) fn certificate(
    subject: &Subject<'_>,
    spki: &[u8],
    issuer: &str,
    signer: &RsaKeyPair,
    end: OffsetDateTime,
) -> Result<Vec<u8>, SimError> {
    let name = match subject {
        Subject::Authority(name) => name,
        Subject::Chip { .. } => "SEV-VCEK",
        Subject::Provider { .. } => "SEV-VLEK",
    };
    let serial = if matches!(subject, Subject::Authority(_)) { serial(name) } else { unsigned(&[0]) };
    let begin = end.min(OffsetDateTime::now_utc()) - time::Duration::days(1);
    let content = [
        element(0xa0, &unsigned(&[2])),
        serial,
        pss(),
        distinguished_name(issuer),
        element(SEQUENCE, &[moment(begin), moment(end)].concat()),
        distinguished_name(name),
        spki.to_vec(),
        element(0xa3, &element(SEQUENCE, &extensions(subject).concat())),
    ];
    signed(&content.concat(), signer)
}

/// The revocation list of the authority `issuer`, with the certificates of those authorities on it.
pub(super) fn revocation_list(issuer: &str, signer: &RsaKeyPair, revoked: &[&str]) -> Result<Vec<u8>, SimError> {
    let now = OffsetDateTime::now_utc();
    let begin = moment(now - time::Duration::days(1));
    let entry = |name: &&str| element(SEQUENCE, &[serial(name), begin.clone()].concat());
    let mut content =
        vec![unsigned(&[1]), pss(), distinguished_name(issuer), begin.clone(), moment(now + time::Duration::days(30))];
    if !revoked.is_empty() {
        content.push(element(SEQUENCE, &revoked.iter().map(entry).collect::<Vec<_>>().concat()));
    }
    signed(&content.concat(), signer)
}

/// The serial number of an authority's certificate: its own for each name.
fn serial(name: &str) -> Vec<u8> {
    unsigned(&[&[1], name.as_bytes()].concat())
}

fn signed(content: &[u8], signer: &RsaKeyPair) -> Result<Vec<u8>, SimError> {
    let tbs = element(SEQUENCE, content);
    let mut signature = vec![0; signer.public().modulus_len()];
    signer
        .sign(&RSA_PSS_SHA384, &SystemRandom::new(), &tbs, &mut signature)
        .map_err(|_| SimError::Guest { what: "certificate", problem: "cannot be signed".to_owned() })?;
    signature.insert(0, 0);
    Ok(element(SEQUENCE, &[tbs, pss(), element(BIT_STRING, &signature)].concat()))
}

fn pss() -> Vec<u8> {
    let hash = element(SEQUENCE, &[element(OID, SHA384), element(NULL, &[])].concat());
    let mask = element(SEQUENCE, &[element(OID, MGF1), hash.clone()].concat());
    let parameters =
        [element(0xa0, &hash), element(0xa1, &mask), element(0xa2, &unsigned(&[48])), element(0xa3, &unsigned(&[1]))];
    element(SEQUENCE, &[element(OID, RSASSA_PSS), element(SEQUENCE, &parameters.concat())].concat())
}

fn distinguished_name(common: &str) -> Vec<u8> {
    let attribute = |oid: &[u8], text: &str| {
        element(SET, &element(SEQUENCE, &[element(OID, oid), element(UTF8_STRING, text.as_bytes())].concat()))
    };
    element(SEQUENCE, &[attribute(ORGANIZATION, "Holdfast Simulator"), attribute(COMMON_NAME, common)].concat())
}

/// UTCTime before 2050, GeneralizedTime from then on (RFC 5280).
fn moment(at: OffsetDateTime) -> Vec<u8> {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (month, day) = (u8::from(at.month()), at.day());
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second());
    match at.year() {
        year @ ..2050 => element(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes()),
        year => element(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes()),
    }
}

fn extensions(subject: &Subject<'_>) -> Vec<Vec<u8>> {
    match subject {
        Subject::Authority(_) => {
            let is_ca = element(SEQUENCE, &element(BOOLEAN, &[0xff]));
            // keyCertSign and cRLSign
            let usage = element(BIT_STRING, &[1, 0x06]);
            vec![standard(&[0x55, 0x1d, 19], &is_ca), standard(&[0x55, 0x1d, 15], &usage)]
        }
        Subject::Chip { product, chip_id, tcb } => {
            let mut all = of_tcb(product, tcb, &format!("{product}-B0"));
            all.push(amd(&[4], chip_id));
            all
        }
        Subject::Provider { product, csp_id, tcb } => {
            let mut all = of_tcb(product, tcb, product);
            all.push(amd(&[5], &element(IA5_STRING, csp_id.as_bytes())));
            all
        }
    }
}

fn of_tcb(product: &str, tcb: &Tcb, product_name: &str) -> Vec<Vec<u8>> {
    let turin = product == "Turin";
    let product_name = if turin { product } else { product_name };
    let number = |arc: &[u8], value: u8| amd(arc, &unsigned(&[value]));
    let mut all = vec![number(&[1], u8::from(turin)), amd(&[2], &element(IA5_STRING, product_name.as_bytes()))];
    all.extend([number(&[3, 1], tcb.bootloader), number(&[3, 2], tcb.tee), number(&[3, 3], tcb.snp)]);
    all.extend((4..=7).map(|spare| number(&[3, spare], 0)));
    all.push(number(&[3, 8], tcb.microcode));
    all.extend(turin.then(|| number(&[3, 9], tcb.fmc)));
    all
}

fn amd(arc: &[u8], value: &[u8]) -> Vec<u8> {
    let oid = [AMD, arc].concat();
    element(SEQUENCE, &[element(OID, &oid), element(OCTET_STRING, value)].concat())
}

fn standard(oid: &[u8], value: &[u8]) -> Vec<u8> {
    let content = [element(OID, oid), element(BOOLEAN, &[0xff]), element(OCTET_STRING, value)];
    element(SEQUENCE, &content.concat())
}
