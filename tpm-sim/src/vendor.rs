//! The simulated TPM vendor: a root, an issuing CA under it, and the EK certificates they sign. The root is trusted by
//! nobody until somebody imports it.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use ring::rand::{SecureRandom, SystemRandom};
use time::{Duration, OffsetDateTime};

use crate::der;
use crate::error::{SimError, file};

/// What simulated EK certificates say of the maker: "HOLD" in ASCII, no vendor of the TCG's list.
pub const MANUFACTURER: &str = "id:484F4C44";
/// What simulated EK certificates say of the model.
pub const MODEL: &str = "holdfast-tpm-sim";
/// What simulated EK certificates say of the firmware version.
pub const VERSION: &str = "id:00010000";

const ROOT_NAME: &str = "Holdfast Simulator TPM Vendor Root CA";
const ISSUING_NAME: &str = "Holdfast Simulator TPM Vendor Issuing CA";
pub(crate) const ROOT_PEM: &str = "root.pem";
const ROOT_KEY: &str = "root.key";
const ISSUING_PEM: &str = "issuing.pem";
const ISSUING_KEY: &str = "issuing.key";

/// A TPM vendor's certification authority. Each has its own random keys: two vendors never trust each other.
pub struct Vendor {
    root_pem: String,
    root_key: KeyPair,
    issuing_pem: String,
    issuing_der: Vec<u8>,
    issuing_key: KeyPair,
}

impl Vendor {
    /// A vendor that lives only as long as this value.
    ///
    /// # Errors
    /// [`SimError::Certificate`] if a key or certificate cannot be made.
    pub fn ephemeral() -> Result<Self, SimError> {
        let root_key = KeyPair::generate()?;
        let root_params = authority(ROOT_NAME, 1, 30)?;
        let root = root_params.self_signed(&root_key)?;
        let issuing_key = KeyPair::generate()?;
        let issuing = authority(ISSUING_NAME, 0, 25)?.signed_by(&issuing_key, &Issuer::new(root_params, &root_key))?;
        Ok(Self {
            root_pem: root.pem(),
            root_key,
            issuing_pem: issuing.pem(),
            issuing_der: issuing.der().to_vec(),
            issuing_key,
        })
    }

    /// The vendor kept in `directory`; made there if the directory holds none.
    ///
    /// # Errors
    /// [`SimError::File`] and [`SimError::NotOurs`] if the directory cannot be used, [`SimError::Certificate`] if a
    /// certificate cannot be made or read.
    pub fn open(directory: &Path) -> Result<Self, SimError> {
        if directory.join(ISSUING_KEY).exists() {
            return Self::load(directory);
        }
        let vendor = Self::ephemeral()?;
        fs::create_dir_all(directory).map_err(file("create", directory))?;
        write(&directory.join(ROOT_PEM), &vendor.root_pem, 0o644)?;
        write(&directory.join(ROOT_KEY), &vendor.root_key.serialize_pem(), 0o600)?;
        write(&directory.join(ISSUING_PEM), &vendor.issuing_pem, 0o644)?;
        write(&directory.join(ISSUING_KEY), &vendor.issuing_key.serialize_pem(), 0o600)?;
        Ok(vendor)
    }

    fn load(directory: &Path) -> Result<Self, SimError> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(file("read", &path))
        };
        let issuing_pem = read(ISSUING_PEM)?;
        let issuing_der = der::from_pem(&issuing_pem).ok_or_else(|| SimError::NotOurs {
            path: directory.join(ISSUING_PEM),
            expected: "vendor",
            problem: "no PEM certificate in it".to_owned(),
        })?;
        Ok(Self {
            root_pem: read(ROOT_PEM)?,
            root_key: KeyPair::from_pem(&read(ROOT_KEY)?)?,
            issuing_pem,
            issuing_der,
            issuing_key: KeyPair::from_pem(&read(ISSUING_KEY)?)?,
        })
    }

    /// The root certificate, PEM: what an operator imports with class `simulated`.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The issuing CA's certificate, PEM.
    pub fn issuing_pem(&self) -> &str {
        &self.issuing_pem
    }

    /// The issuing CA's certificate, DER: the chain that each machine carries at NV 0x01c00100.
    pub fn issuing_der(&self) -> &[u8] {
        &self.issuing_der
    }

    /// Certifies an endorsement key; DER.
    pub(crate) fn certify(&self, key: &EkPublic) -> Result<Vec<u8>, SimError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(serial());
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::days(1);
        params.not_after = now + Duration::days(365 * 20);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![match key {
            EkPublic::Rsa { .. } => KeyUsagePurpose::KeyEncipherment,
            EkPublic::P256 { .. } => KeyUsagePurpose::KeyAgreement,
        }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
        params.custom_extensions = vec![alternative_name(), specification()];
        let issuer = Issuer::new(authority(ISSUING_NAME, 0, 25)?, &self.issuing_key);
        Ok(params.signed_by(key, &issuer)?.der().to_vec())
    }
}

impl std::fmt::Debug for Vendor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vendor").finish_non_exhaustive()
    }
}

/// The public half of an endorsement key, as its certificate carries it.
#[derive(Debug)]
pub(crate) enum EkPublic {
    /// RSA, exponent 65537; `spki_key` is the DER RSAPublicKey.
    Rsa { spki_key: Vec<u8> },
    /// P-256; `spki_key` is the uncompressed point.
    P256 { spki_key: Vec<u8> },
}

impl EkPublic {
    pub(crate) fn rsa(modulus: &[u8]) -> Self {
        let numbers = [der::unsigned(modulus), der::unsigned(&[1, 0, 1])].concat();
        Self::Rsa { spki_key: der::element(der::SEQUENCE, &numbers) }
    }

    /// Coordinates may be shorter than the field: they are padded on the left.
    pub(crate) fn p256(x: &[u8], y: &[u8]) -> Self {
        let mut point = vec![4u8];
        for coordinate in [x, y] {
            point.resize(point.len() + 32usize.saturating_sub(coordinate.len()), 0);
            point.extend_from_slice(coordinate);
        }
        Self::P256 { spki_key: point }
    }
}

impl PublicKeyData for EkPublic {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Rsa { spki_key } | Self::P256 { spki_key } => spki_key,
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Rsa { .. } => &rcgen::PKCS_RSA_SHA256,
            Self::P256 { .. } => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}

pub(crate) fn authority(name: &str, below: u8, years: i64) -> Result<CertificateParams, SimError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Holdfast Simulator");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial());
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(2);
    params.not_after = now + Duration::days(365 * years);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Sixteen random bytes, positive.
pub(crate) fn serial() -> SerialNumber {
    SerialNumber::from_slice(&random_serial())
}

/// The same as bytes.
pub(crate) fn random_serial() -> [u8; 16] {
    let mut bytes = [0u8; 16];
    let _ = SystemRandom::new().fill(&mut bytes);
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    bytes
}

/// SubjectAltName with one directoryName: manufacturer, model and version (TCG EK Credential Profile).
fn alternative_name() -> CustomExtension {
    let name: Vec<u8> = [(1, MANUFACTURER), (2, MODEL), (3, VERSION)]
        .iter()
        .flat_map(|(last, value)| {
            // 2.23.133.2.<last>
            let oid = der::element(der::OID, &[0x67, 0x81, 0x05, 0x02, *last]);
            let attribute = [oid, der::element(der::UTF8_STRING, value.as_bytes())].concat();
            der::element(der::SET, &der::element(der::SEQUENCE, &attribute))
        })
        .collect();
    let directory_name = der::element(0xa4, &der::element(der::SEQUENCE, &name));
    let mut extension =
        CustomExtension::from_oid_content(&[2, 5, 29, 17], der::element(der::SEQUENCE, &directory_name));
    extension.set_criticality(true); // the subject is empty
    extension
}

/// SubjectDirectoryAttributes with the TPM specification: family "2.0", level 0, revision 1.59.
fn specification() -> CustomExtension {
    let values = [der::element(der::UTF8_STRING, b"2.0"), der::unsigned(&[0]), der::unsigned(&[159])].concat();
    let set = der::element(der::SET, &der::element(der::SEQUENCE, &values));
    let attribute = [der::element(der::OID, &[0x67, 0x81, 0x05, 0x02, 0x10]), set].concat();
    let attributes = der::element(der::SEQUENCE, &der::element(der::SEQUENCE, &attribute));
    CustomExtension::from_oid_content(&[2, 5, 29, 9], attributes)
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), SimError> {
    use std::io::Write;
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(file("create", path))?;
    out.set_permissions(fs::Permissions::from_mode(mode)).map_err(file("restrict", path))?;
    out.write_all(text.as_bytes()).map_err(file("write", path))
}
