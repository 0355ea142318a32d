//! The authority that certifies attestation keys of virtual TPMs: a root and an intermediate, kept in a directory.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::der;
use crate::error::{SimError, file};
use crate::guest::files::{keep_first, write};
use crate::guest::random;
use crate::vendor::EkPublic;

const ROOT_DAYS: i64 = 25 * 365;
const INTERMEDIATE_DAYS: i64 = 10 * 365;

/// A provider's authority. Two of them never trust each other.
pub struct VtpmAuthority {
    directory: PathBuf,
    name: String,
    root_der: Vec<u8>,
    intermediate: CertificateParams,
    intermediate_key: KeyPair,
    intermediate_der: Vec<u8>,
}

/// What a certificate says of an attestation key.
#[derive(Clone, Debug, Default)]
pub struct Certified {
    /// Common name.
    pub name: String,
    /// Seconds from now until it ends.
    pub ends: i64,
    /// Whether it carries the purposes of Microsoft's.
    pub purposes: bool,
    /// Further extension: its OID, and the value.
    pub extension: Option<(Vec<u64>, Vec<u8>)>,
    /// Whether it is for a CA, a lie.
    pub is_ca: bool,
    /// Whether its key may not sign, a lie.
    pub may_not_sign: bool,
}

impl VtpmAuthority {
    /// The authority of that name kept in `directory`; made there if there is none yet.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Certificate`].
    pub fn open(directory: &Path, name: &str) -> Result<Self, SimError> {
        fs::create_dir_all(directory).map_err(file("create", directory))?;
        let (root_key, intermediate_key) = (key(directory, "root")?, key(directory, "intermediate")?);
        let root = authority(&format!("Holdfast Simulator {name} Root CA"), 1, ROOT_DAYS);
        let intermediate = authority(&format!("Holdfast Simulator {name} CA 1"), 0, INTERMEDIATE_DAYS);
        let root_der = kept(directory, "root", || Ok(root.self_signed(&root_key)?.der().to_vec()))?;
        let intermediate_der = kept(directory, "intermediate", || {
            let issuer = Issuer::new(root.clone(), &root_key);
            Ok(intermediate.signed_by(&intermediate_key, &issuer)?.der().to_vec())
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            name: name.to_owned(),
            root_der,
            intermediate,
            intermediate_key,
            intermediate_der,
        })
    }

    /// The root certificate, PEM file.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// The intermediate's certificate, PEM file: an operator imports it beside the root, for machines carry a leaf alone.
    #[must_use]
    pub fn intermediate_path(&self) -> PathBuf {
        self.directory.join("intermediate.pem")
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root_der
    }

    /// The intermediate's certificate, DER.
    #[must_use]
    pub fn intermediate(&self) -> &[u8] {
        &self.intermediate_der
    }

    /// Another authority of the same name, which nobody imports.
    pub(super) fn impostor(&self) -> Result<Self, SimError> {
        Self::open(&self.directory.join("impostor"), &self.name)
    }

    /// The certificate of an attestation key, DER.
    pub(super) fn certify(&self, key: &EkPublic, what: &Certified) -> Result<Vec<u8>, SimError> {
        let mut params = named(&what.name, 0);
        let now = OffsetDateTime::now_utc();
        params.not_after = now + Duration::seconds(what.ends);
        params.not_before = now.min(params.not_after) - Duration::days(1);
        params.is_ca = if what.is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages = match what.may_not_sign {
            true => vec![KeyUsagePurpose::KeyEncipherment],
            false => vec![KeyUsagePurpose::DigitalSignature],
        };
        if what.purposes {
            // tcg-kp-AIKCertificate, and Microsoft's own
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 12]),
                ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 3]),
            ];
        }
        let extension = |(oid, value): &(Vec<u64>, Vec<u8>)| CustomExtension::from_oid_content(oid, value.clone());
        params.custom_extensions = what.extension.iter().map(extension).collect();
        let issuer = Issuer::new(self.intermediate.clone(), &self.intermediate_key);
        Ok(params.signed_by(key, &issuer)?.der().to_vec())
    }
}

fn key(directory: &Path, name: &str) -> Result<KeyPair, SimError> {
    let path = directory.join(format!("{name}.key"));
    let pem = match fs::read(&path) {
        Ok(pem) => pem,
        Err(_) => keep_first(&path, KeyPair::generate()?.serialize_pem().as_bytes())?,
    };
    Ok(KeyPair::from_pem(&String::from_utf8_lossy(&pem))?)
}

fn kept(directory: &Path, name: &str, make: impl FnOnce() -> Result<Vec<u8>, SimError>) -> Result<Vec<u8>, SimError> {
    let path = directory.join(format!("{name}.pem"));
    if !path.exists() {
        write(&path, der::to_pem("CERTIFICATE", &make()?).as_bytes(), 0o644)?;
    }
    let text = fs::read_to_string(&path).map_err(file("read", &path))?;
    let problem = "no PEM certificate in it".to_owned();
    der::from_pem(&text).ok_or(SimError::NotOurs { path, expected: "certificate", problem })
}

fn named(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Holdfast Simulator");
    params.distinguished_name.push(DnType::CommonName, name);
    let serial = format!("01{}", random(15));
    params.serial_number = Some(SerialNumber::from(hex::decode(serial).unwrap_or_default()));
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(1), now + Duration::days(days));
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority(name: &str, below: u8, days: i64) -> CertificateParams {
    let mut params = named(name, days);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
