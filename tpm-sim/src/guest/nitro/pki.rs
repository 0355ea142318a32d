//! The simulated hypervisor's chain: root, region, zone, instance, and a leaf of three hours. The root is kept in a
//! directory; a chain below it signs all documents of its module for as long as its leaf lives.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::spec::Lie;
use crate::der;
use crate::error::{SimError, file};
use crate::guest::files::write;
use crate::guest::random;

const ROOT_NAME: &str = "Holdfast Simulator Nitro Enclaves Root";
const ROOT_DAYS: i64 = 25 * 365;
const LEAF_LIFE: Duration = Duration::hours(3);
/// A leaf is used no longer than this, so that a document's leaf has some time left.
const LEAF_USED: Duration = Duration::hours(2);

/// A hypervisor with a root of its own.
pub struct Hypervisor {
    directory: PathBuf,
    root_key: KeyPair,
    root_der: Vec<u8>,
    leaves: Mutex<HashMap<String, Arc<Leaf>>>,
}

/// A leaf that signs documents, and what is above it: root, region, zone, instance.
pub(super) struct Leaf {
    pub(super) key: KeyPair,
    pub(super) der: Vec<u8>,
    pub(super) cabundle: Vec<Vec<u8>>,
    made: OffsetDateTime,
}

/// What a leaf is for.
#[derive(Clone, Copy)]
pub(super) struct Module<'a> {
    pub(super) module_id: &'a str,
    pub(super) instance_id: &'a str,
    pub(super) region: &'a str,
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
            let fresh = Self::fresh(directory)?;
            write(&key_path, fresh.root_key.serialize_pem().as_bytes(), 0o600)?;
            write(&path, der::to_pem("CERTIFICATE", &fresh.root_der).as_bytes(), 0o644)?;
            return Ok(fresh);
        }
        let root_key = KeyPair::from_pem(&fs::read_to_string(&key_path).map_err(file("read", &key_path))?)?;
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        let problem = "no PEM certificate in it".to_owned();
        let root_der = der::from_pem(&text).ok_or(SimError::NotOurs { path, expected: "root", problem })?;
        Ok(Self { directory: directory.to_owned(), root_key, root_der, leaves: Mutex::default() })
    }

    /// One that nobody keeps.
    fn fresh(directory: &Path) -> Result<Self, SimError> {
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        let root_der = authority(ROOT_NAME, None, ROOT_DAYS).self_signed(&root_key)?.der().to_vec();
        Ok(Self { directory: directory.to_owned(), root_key, root_der, leaves: Mutex::default() })
    }

    /// The root certificate, PEM file: what an operator imports.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root_der
    }

    /// The leaf that signs for this module now.
    pub(super) fn leaf(&self, module: Module<'_>, lie: Option<Lie>) -> Result<Arc<Leaf>, SimError> {
        if lie.is_some() {
            return Ok(Arc::new(self.issue(module, lie)?));
        }
        let name = format!("{}.{}", module.module_id, module.region);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(&name).filter(|leaf| OffsetDateTime::now_utc() - leaf.made < LEAF_USED) {
            return Ok(Arc::clone(leaf));
        }
        let leaf = Arc::new(self.issue(module, None)?);
        leaves.insert(name, Arc::clone(&leaf));
        Ok(leaf)
    }

    fn issue(&self, module: Module<'_>, lie: Option<Lie>) -> Result<Leaf, SimError> {
        if lie == Some(Lie::OwnRoot) {
            return Self::fresh(&self.directory)?.issue(module, None);
        }
        let Module { module_id, instance_id, region } = module;
        let mut above = vec![
            (format!("{}.{region}.aws.nitro-enclaves", random(8)), Some(2), 20),
            (format!("{}.zonal.{region}.aws.nitro-enclaves", random(8)), Some(1), 6),
            (format!("{instance_id}.{region}.aws.nitro-enclaves"), Some(0), 1),
        ];
        if lie == Some(Lie::LongPath) {
            above.push((format!("{instance_id}.more.{region}.aws.nitro-enclaves"), None, 1));
        }
        let instance = above.len() - 1;
        let mut cabundle = vec![self.root_der.clone()];
        let (mut parent, mut parent_key) = (authority(ROOT_NAME, None, ROOT_DAYS), None::<KeyPair>);
        for (at, (name, path_length, days)) in above.iter().enumerate() {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
            let mut params = authority(name, *path_length, *days);
            match lie.filter(|_| at == instance) {
                Some(Lie::InstanceIsNoCa) => params.is_ca = IsCa::ExplicitNoCa,
                Some(Lie::ExpiredInstance) => params = ended(params),
                _ => {}
            }
            let issuer = Issuer::new(parent, parent_key.as_ref().unwrap_or(&self.root_key));
            cabundle.push(params.signed_by(&key, &issuer)?.der().to_vec());
            (parent, parent_key) = (params, Some(key));
        }
        if lie == Some(Lie::ForgedLeaf) {
            parent_key = Some(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        let issuer = Issuer::new(parent, parent_key.as_ref().unwrap_or(&self.root_key));
        let der = leaf(module_id, region, lie).signed_by(&key, &issuer)?.der().to_vec();
        Ok(Leaf { key, der, cabundle, made: OffsetDateTime::now_utc() })
    }
}

fn leaf(module_id: &str, region: &str, lie: Option<Lie>) -> CertificateParams {
    let named_module = match lie {
        Some(Lie::OtherModule) => {
            // as long as the right one, and another instance's
            let (_, launch) = module_id.split_at(module_id.len().min(19));
            format!("{}{launch}", super::new_instance())
        }
        _ => module_id.to_owned(),
    };
    let mut params = named(&format!("{named_module}.{region}.aws"), LEAF_LIFE);
    params.is_ca =
        if lie == Some(Lie::LeafIsCa) { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    let usage = if lie == Some(Lie::LeafMayNotSign) {
        KeyUsagePurpose::KeyAgreement
    } else {
        KeyUsagePurpose::DigitalSignature
    };
    params.key_usages = vec![usage];
    if lie == Some(Lie::ExpiredLeaf) { ended(params) } else { params }
}

/// The same, an hour after its end.
fn ended(mut params: CertificateParams) -> CertificateParams {
    params.not_before -= Duration::hours(4);
    params.not_after = OffsetDateTime::now_utc() - Duration::hours(1);
    params
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

fn authority(name: &str, path_length: Option<u8>, days: i64) -> CertificateParams {
    let mut params = named(name, Duration::days(days));
    let constraint = path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained);
    params.is_ca = IsCa::Ca(constraint);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}
