//! A maker of machines with its CA: platform certificates and certificates of device keys, good by default, spoiled by one
//! closure.

use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::endorsement::Roots;
use rcgen::{CertificateParams, CustomExtension, IsCa, KeyUsagePurpose, PublicKeyData, SigningKey as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::pki::{Ca, extension, trusting};

const ECDSA_SHA256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

pub(super) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let header = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header, contents.to_vec()].concat()
}

fn tcg(arcs: &[u8]) -> Vec<u8> {
    element(6, &[&[0x67, 0x81, 0x05], arcs].concat())
}

pub(super) struct Maker {
    pub(super) ca: Ca,
}

/// The parts of an attribute certificate.
pub(super) struct Platform {
    pub(super) version: u8,
    pub(super) holder: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) not_after: &'static str,
    pub(super) credential_type: &'static [u8],
    pub(super) serial: &'static str,
    pub(super) extensions: Vec<u8>,
}

/// Issuer's name and serial number of a certificate, as a holder is named.
pub(super) fn base_certificate(certificate: &[u8]) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    issued_as(certificate.issuer().as_raw(), certificate.raw_serial())
}

pub(super) fn issued_as(issuer: &[u8], serial: &[u8]) -> Vec<u8> {
    element(0xa0, &[names(issuer), element(2, serial)].concat())
}

/// `objectDigestInfo` with SHA-256 of the public key (0) or the certificate (1).
pub(super) fn object_digest(kind: u8, digest: &[u8]) -> Vec<u8> {
    let sha256 = element(0x30, &element(6, &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01]));
    element(0xa2, &[element(0x0a, &[kind]), sha256, element(3, &[&[0], digest].concat())].concat())
}

fn names(name: &[u8]) -> Vec<u8> {
    element(0x30, &element(0xa4, name))
}

impl Maker {
    pub(super) fn new() -> Self {
        Self { ca: Ca::root("maker") }
    }

    pub(super) fn roots(&self) -> Roots {
        trusting(&self.ca)
    }

    /// A platform certificate for the machine with this endorsement certificate.
    pub(super) fn platform(&self, ek: &[u8], spoil: impl FnOnce(&mut Platform)) -> Vec<u8> {
        let (_, ca) = X509Certificate::from_der(&self.ca.der).unwrap();
        let mut parts = Platform {
            version: 1,
            holder: base_certificate(ek),
            issuer: ca.subject().as_raw().to_vec(),
            not_after: "20300101000000Z",
            credential_type: &[8, 2],
            serial: "SN-7",
            extensions: Vec::new(),
        };
        spoil(&mut parts);
        let algorithm = element(0x30, ECDSA_SHA256);
        let time = |text: &str| element(0x18, text.as_bytes());
        let kind = element(0x30, &tcg(parts.credential_type));
        let kind = element(0x30, &[tcg(&[2, 25]), element(0x31, &kind)].concat());
        let relative = |(last, text): (u8, &str)| {
            element(0x31, &element(0x30, &[tcg(&[5, 1, last]), element(0x0c, text.as_bytes())].concat()))
        };
        let name = [(1, "Maker/One"), (4, "R7"), (5, "2"), (6, parts.serial)].map(relative).concat();
        let san = element(4, &names(&element(0x30, &name)));
        let san = element(0x30, &[element(6, &[0x55, 0x1d, 0x11]), san].concat());
        let info = [
            element(2, &[parts.version]),
            element(0x30, &parts.holder),
            element(0xa0, &names(&parts.issuer)),
            algorithm.clone(),
            element(2, &[0x11]),
            element(0x30, &[time("20250101000000Z"), time(parts.not_after)].concat()),
            element(0x30, &kind),
            element(0x30, &[san, parts.extensions].concat()),
        ];
        let info = element(0x30, &info.concat());
        let signature = element(3, &[vec![0], self.ca.issuer.key().sign(&info).unwrap()].concat());
        element(0x30, &[info, algorithm, signature].concat())
    }

    /// A certificate for a device key whose SAN names this endorsement certificate.
    pub(super) fn device(
        &self,
        key: &impl PublicKeyData,
        ek: &[u8],
        spoil: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        self.ca.ek_for(key, |params| {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.distinguished_name.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 5]), "D-9");
            params.custom_extensions = vec![naming(&hex::encode(sha256(&[ek])))];
            spoil(params);
        })
    }
}

/// permanentIdentifier with the digest of an endorsement certificate.
pub(super) fn naming(digest: &str) -> CustomExtension {
    let value = [element(0x0c, digest.as_bytes()), tcg(&[12, 1])].concat();
    other_name(3, &value)
}

/// hardwareModuleName of a TPM.
pub(super) fn module(serial: &str) -> CustomExtension {
    other_name(4, &[tcg(&[1, 2]), element(4, serial.as_bytes())].concat())
}

fn other_name(id: u8, value: &[u8]) -> CustomExtension {
    let oid = element(6, &[0x2b, 6, 1, 5, 5, 7, 8, id]);
    let name = element(0xa0, &[oid, element(0xa0, &element(0x30, value))].concat());
    extension(&[2, 5, 29, 17], element(0x30, &name), false)
}
