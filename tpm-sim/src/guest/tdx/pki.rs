//! The simulated Intel's keys and certificates: P-256 throughout, kept in a directory.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use time::{Duration, OffsetDateTime};

use super::extension;
use super::spec::{PlatformSpec, TdxLie};
use crate::der;
use crate::error::{SimError, file};
use crate::guest::files::{keep_first, write};

const ROOT: &str = "Holdfast Simulator SGX Root CA";
const SIGNER: &str = "Holdfast Simulator SGX TCB Signing";
const PCK: &str = "Holdfast Simulator SGX PCK Certificate";
const YEARS_OF_ROOT: i64 = 30;
const YEARS_OF_CA: i64 = 15;
const YEARS_OF_LEAF: i64 = 7;

/// An Intel of its own. Two of them never trust each other.
pub struct Intel {
    directory: PathBuf,
    root: Party,
    platform_ca: Party,
    processor_ca: Party,
    signer: Party,
}

/// A name, its key, and its certificate.
struct Party {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
}

/// A key that signs raw: r and s, 32 bytes each.
pub(super) struct RawKey(EcdsaKeyPair);

impl RawKey {
    pub(super) fn generate() -> Result<Self, SimError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::read(pkcs8.map_err(|_| failed("key", "cannot be made"))?.as_ref())
    }

    fn read(pkcs8: &[u8]) -> Result<Self, SimError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
        pair.map(Self).map_err(|_| failed("key", "cannot be read"))
    }

    /// x and y.
    pub(super) fn coordinates(&self) -> Vec<u8> {
        self.0.public_key().as_ref().get(1..).unwrap_or_default().to_vec()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimError> {
        let signature =
            self.0.sign(&SystemRandom::new(), message).map_err(|_| failed("signature", "cannot be made"))?;
        Ok(signature.as_ref().to_vec())
    }
}

impl Intel {
    /// The Intel kept in `directory`; made there if there is none yet.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Certificate`].
    pub fn open(directory: &Path) -> Result<Self, SimError> {
        fs::create_dir_all(directory).map_err(file("create", directory))?;
        let root = Party::open(directory, "root", authority(ROOT, 1, YEARS_OF_ROOT), None)?;
        let open = |name, params| Party::open(directory, name, params, Some(&root));
        let platform_ca = open("platform", authority(&ca_name("platform"), 0, YEARS_OF_CA))?;
        let processor_ca = open("processor", authority(&ca_name("processor"), 0, YEARS_OF_CA))?;
        let signer = open("signer", leaf(SIGNER))?;
        Ok(Self { directory: directory.to_owned(), root, platform_ca, processor_ca, signer })
    }

    /// Another Intel, which nobody imports.
    pub(super) fn impostor(&self) -> Result<Self, SimError> {
        Self::open(&self.directory.join("impostor"))
    }

    /// The root certificate, PEM file: what an operator imports.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root.der
    }

    fn ca(&self, name: &str) -> Result<&Party, SimError> {
        match name {
            "platform" => Ok(&self.platform_ca),
            "processor" => Ok(&self.processor_ca),
            other => Err(failed("platform.ca", &format!("expected platform or processor, found {other:?}"))),
        }
    }

    /// The key that a platform certifies its quoting enclave with.
    pub(super) fn pck_key(&self, platform: &PlatformSpec) -> Result<RawKey, SimError> {
        RawKey::read(&self.pck(platform)?.serialize_der())
    }

    fn pck(&self, platform: &PlatformSpec) -> Result<KeyPair, SimError> {
        let PlatformSpec { ppid, cpu_svn, pce_svn, .. } = platform;
        let of = format!("{ppid} {cpu_svn} {pce_svn}");
        let name = hex::encode(ring::digest::digest(&ring::digest::SHA256, of.as_bytes()));
        let path = self.directory.join(format!("pck-{}.key", name.get(..24).unwrap_or(&name)));
        kept_key(&path)
    }

    /// The certificates of a platform in PEM: PCK, CA, root.
    pub(super) fn pck_chain(&self, platform: &PlatformSpec, lie: Option<TdxLie>) -> Result<String, SimError> {
        let ca = self.ca(&platform.ca)?;
        let mut params = leaf(PCK);
        params.serial_number = Some(pck_serial(platform));
        if lie != Some(TdxLie::NoExtension) {
            params.custom_extensions = vec![extension::of(platform)?];
        }
        if lie == Some(TdxLie::ExpiredPck) {
            params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
        }
        let key = self.pck(platform)?;
        let stranger = KeyPair::generate()?;
        let ca_key = if lie == Some(TdxLie::ForgedPck) { &stranger } else { &ca.key };
        let mut pck = params.signed_by(&key, &Issuer::new(ca.params.clone(), ca_key))?.der().to_vec();
        let mut above = ca.der.clone();
        if lie == Some(TdxLie::PckIssuesPck) {
            // a genuine PCK's bearer certifies itself another platform
            let mut issuer = params.clone();
            issuer.distinguished_name = distinguished(&ca_name(&format!("{} of my own", platform.ca)));
            above = issuer.signed_by(&key, &Issuer::new(ca.params.clone(), &ca.key))?.der().to_vec();
            pck = params.signed_by(&key, &Issuer::new(issuer, &key))?.der().to_vec();
        }
        let chain = [pck, above, self.root.der.clone()];
        Ok(chain.iter().map(|der| der::to_pem("CERTIFICATE", der)).collect())
    }

    /// Signs a document; r and s. `forged` is somebody else's signature.
    pub(super) fn sign(&self, text: &str, forged: bool) -> Result<Vec<u8>, SimError> {
        let key = if forged { RawKey::generate()? } else { RawKey::read(&self.signer.key.serialize_der())? };
        key.sign(text.as_bytes())
    }

    /// The signer's chain, PEM.
    pub(super) fn signer_chain(&self) -> String {
        [&self.signer.der, &self.root.der].map(|der| der::to_pem("CERTIFICATE", der)).concat()
    }

    /// The chain of a CA of platforms, PEM.
    pub(super) fn ca_chain(&self, ca: &str) -> Result<String, SimError> {
        Ok([&self.ca(ca)?.der, &self.root.der].map(|der| der::to_pem("CERTIFICATE", der)).concat())
    }

    /// The revocation lists of root and CA, DER: with what is revoked of `pck`, `ca` and `signer`.
    pub(super) fn lists(
        &self,
        platform: &PlatformSpec,
        revoked: &[String],
        window: (OffsetDateTime, OffsetDateTime),
    ) -> Result<[Vec<u8>; 2], SimError> {
        let ca = self.ca(&platform.ca)?;
        let is = |name: &str| revoked.iter().any(|revoked| revoked == name);
        let serial = |party: &Party| party.params.serial_number.clone();
        let by_root = [is("ca").then(|| serial(ca)), is("signer").then(|| serial(&self.signer))];
        let by_root = by_root.into_iter().flatten().flatten().collect();
        let by_ca = is("pck").then(|| pck_serial(platform)).into_iter().collect();
        Ok([self.root.list(by_root, window)?, ca.list(by_ca, window)?])
    }
}

impl Party {
    fn open(directory: &Path, name: &str, params: CertificateParams, issuer: Option<&Self>) -> Result<Self, SimError> {
        let key = kept_key(&directory.join(format!("{name}.key")))?;
        let path = directory.join(format!("{name}.pem"));
        if !path.exists() {
            let certificate = match issuer {
                Some(issuer) => params.signed_by(&key, &Issuer::new(issuer.params.clone(), &issuer.key))?,
                None => params.self_signed(&key)?,
            };
            write(&path, certificate.pem().as_bytes(), 0o644)?;
        }
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        let der = der::from_pem(&text).ok_or_else(|| failed("certificate", "no PEM certificate in its file"))?;
        Ok(Self { params, key, der })
    }

    fn list(
        &self,
        revoked: Vec<SerialNumber>,
        (this_update, next_update): (OffsetDateTime, OffsetDateTime),
    ) -> Result<Vec<u8>, SimError> {
        let entry = |serial_number| RevokedCertParams {
            serial_number,
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.into_iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&Issuer::new(self.params.clone(), &self.key))?.der().to_vec())
    }
}

/// The key in that file, made if there is none.
fn kept_key(path: &Path) -> Result<KeyPair, SimError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(_) => keep_first(path, KeyPair::generate()?.serialize_pem().as_bytes())?,
    };
    Ok(KeyPair::from_pem(&String::from_utf8_lossy(&text))?)
}

/// `Platform CA`, as Intel's is called; verifiers read the name.
fn ca_name(ca: &str) -> String {
    let (first, rest) = ca.split_at(ca.len().min(1));
    format!("Holdfast Simulator SGX PCK {}{rest} CA", first.to_uppercase())
}

fn pck_serial(platform: &PlatformSpec) -> SerialNumber {
    let digest = ring::digest::digest(&ring::digest::SHA256, platform.ppid.as_bytes());
    SerialNumber::from_slice(&[&[0x01][..], digest.as_ref().get(..15).unwrap_or_default()].concat())
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::OrganizationName, "Holdfast Simulator");
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn named(name: &str, years: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(name);
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    params.serial_number =
        Some(SerialNumber::from_slice(&[&[0x02][..], digest.as_ref().get(..15).unwrap_or_default()].concat()));
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(30), now + Duration::days(365 * years));
    params
}

fn authority(name: &str, below: u8, years: i64) -> CertificateParams {
    let mut params = named(name, years);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(name: &str) -> CertificateParams {
    let mut params = named(name, YEARS_OF_LEAF);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
    params
}

fn failed(what: &'static str, problem: &str) -> SimError {
    SimError::Guest { what, problem: problem.to_owned() }
}
