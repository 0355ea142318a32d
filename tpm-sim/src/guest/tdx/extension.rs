//! The SGX extension of a PCK certificate, 1.2.840.113741.1.13.1.

use rcgen::CustomExtension;

use super::spec::PlatformSpec;
use crate::der::{OID, SEQUENCE, element, unsigned};
use crate::error::SimError;
use crate::guest::amd::bytes;

const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const ARC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 0x0d, 1];

/// What Intel certifies about the platform.
///
/// # Errors
/// [`SimError::Guest`] if a field is not the hex of its length.
pub(super) fn of(platform: &PlatformSpec) -> Result<CustomExtension, SimError> {
    let cpu_svn = bytes("cpu_svn", &platform.cpu_svn, 16)?;
    let mut tcb = Vec::new();
    for (number, svn) in (1u8..).zip(&cpu_svn) {
        tcb.extend(entry(&[2, number], &unsigned(&[*svn])));
    }
    tcb.extend(entry(&[2, 17], &unsigned(&platform.pce_svn.to_be_bytes())));
    tcb.extend(entry(&[2, 18], &element(OCTET_STRING, &cpu_svn)));
    let octets = |what, text: &str, length| bytes(what, text, length).map(|bytes| element(OCTET_STRING, &bytes));
    let mut all = entry(&[1], &octets("ppid", &platform.ppid, 16)?);
    all.extend(entry(&[2], &element(SEQUENCE, &tcb)));
    all.extend(entry(&[3], &octets("pce_id", &platform.pce_id, 2)?));
    all.extend(entry(&[4], &octets("fmspc", &platform.fmspc, 6)?));
    let registered = !platform.instance_id.is_empty();
    // SGX type: 0 standard, 1 scalable
    all.extend(entry(&[5], &element(ENUMERATED, &[u8::from(registered)])));
    if registered {
        all.extend(entry(&[6], &octets("instance_id", &platform.instance_id, 16)?));
        let flags = [platform.dynamic_platform, platform.cached_keys, platform.smt_enabled];
        let flag = |(number, flag): (u8, bool)| entry(&[7, number], &element(BOOLEAN, &[if flag { 0xff } else { 0 }]));
        let flags: Vec<u8> = (1u8..).zip(flags).flat_map(flag).collect();
        all.extend(entry(&[7], &element(SEQUENCE, &flags)));
    }
    Ok(CustomExtension::from_oid_content(&[1, 2, 840, 113_741, 1, 13, 1], element(SEQUENCE, &all)))
}

fn entry(tail: &[u8], value: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[element(OID, &[ARC, tail].concat()).as_slice(), value].concat())
}
