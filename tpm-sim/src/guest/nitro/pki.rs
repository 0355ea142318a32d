//! The simulated hypervisor's chain: root, region, zone, instance, and a leaf of three hours. The root is kept in a
//! directory; what lies below is made anew with each document's leaf.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::der;
use crate::error::{SimError, file};
use crate::guest::amd::{random, write};

const ROOT_NAME: &str = "Holdfast Simulator Nitro Enclaves Root";

/// A hypervisor with a root of its own.
pub struct Hypervisor {
    directory: PathBuf,
    root_key: KeyPair,
    root_der: Vec<u8>,
}

/// A leaf that signs documents, and what is above it: root, region, zone, instance.
pub(super) struct Leaf {
    pub(super) key: KeyPair,
    pub(super) der: Vec<u8>,
    pub(super) cabundle: Vec<Vec<u8>>,
}

impl Hypervisor {
    /// The hypervisor kept in `directory`; made there if there is none yet.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Certificate`].
    pub fn open(directory: &Path) -> Result<Self, SimError> {
        fs::create_dir_all(directory).map_err(file("create", directory))?;
        let (key_path, path) = (directory.join("root.key"), directory.join("root.pem"));
        if !path.exists() {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
            let root = authority(ROOT_NAME, None, 25 * 365)?.self_signed(&key)?;
            write(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
            write(&path, root.pem().as_bytes(), 0o644)?;
        }
        let root_key = KeyPair::from_pem(&fs::read_to_string(&key_path).map_err(file("read", &key_path))?)?;
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        let problem = "no PEM certificate in it".to_owned();
        let root_der = der::from_pem(&text).ok_or(SimError::NotOurs { path, expected: "root", problem })?;
        Ok(Self { directory: directory.to_owned(), root_key, root_der })
    }

    /// The root certificate, PEM file: what an operator imports.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// A leaf for this module.
    pub(super) fn leaf(&self, module_id: &str, instance_id: &str, region: &str) -> Result<Leaf, SimError> {
        let names = [
            format!("{}.{region}.aws.nitro-enclaves", &random(8)[..16]),
            format!("{}.zonal.{region}.aws.nitro-enclaves", &random(8)[..16]),
            format!("{instance_id}.{region}.aws.nitro-enclaves"),
        ];
        let mut cabundle = vec![self.root_der.clone()];
        let (mut above, mut above_key) = (authority(ROOT_NAME, None, 25 * 365)?, None::<KeyPair>);
        for (name, (path_length, days)) in names.iter().zip([(2, 20), (1, 6), (0, 1)]) {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
            let params = authority(name, Some(path_length), days)?;
            let issuer = Issuer::new(above, above_key.as_ref().unwrap_or(&self.root_key));
            cabundle.push(params.signed_by(&key, &issuer)?.der().to_vec());
            (above, above_key) = (params, Some(key));
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        let mut params = named(&format!("{module_id}.{region}.aws"), Duration::hours(3));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let issuer = Issuer::new(above, above_key.as_ref().unwrap_or(&self.root_key));
        let der = params.signed_by(&key, &issuer)?.der().to_vec();
        Ok(Leaf { key, der, cabundle })
    }
}

fn named(name: &str, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Holdfast Simulator");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(hex::decode(random(15)).unwrap_or_default()));
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::minutes(5), now + life);
    params
}

fn authority(name: &str, path_length: Option<u8>, days: i64) -> Result<CertificateParams, SimError> {
    let mut params = named(name, Duration::days(days));
    let constraint = path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained);
    params.is_ca = IsCa::Ca(constraint);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}
