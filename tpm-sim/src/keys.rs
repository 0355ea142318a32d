//! Secure Boot certificates by name: the same name gives the same certificate, byte for byte, on every machine and in
//! every run, so that reference values computed once stay right. Ed25519, because its signatures are deterministic.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, SerialNumber,
    date_time_ymd,
};

use crate::digest::Bank;
use crate::error::SimError;

/// PKCS#8 version 1 of an Ed25519 key, up to its 32 bytes.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The self-signed certificate of this common name, DER.
pub(crate) fn certificate(name: &str) -> Result<Vec<u8>, SimError> {
    let seed = Bank::Sha256.hash(&[b"holdfast-tpm-sim certificate\0", name.as_bytes()]);
    let pkcs8 = [ED25519_PKCS8.as_slice(), &seed].concat();
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &rcgen::PKCS_ED25519)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Holdfast Simulator");
    params.distinguished_name.push(DnType::CommonName, name);
    let serial = Bank::Sha256.hash(&[b"holdfast-tpm-sim serial\0", name.as_bytes()]);
    params.serial_number =
        Some(SerialNumber::from(u64::from_be_bytes(serial.first_chunk().copied().unwrap_or([1; 8])) >> 1));
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2054, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    Ok(params.self_signed(&key)?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_always_gives_the_same_certificate() {
        assert_eq!(certificate("db").unwrap(), certificate("db").unwrap());
        assert_ne!(certificate("db").unwrap(), certificate("dbx").unwrap());
    }
}
