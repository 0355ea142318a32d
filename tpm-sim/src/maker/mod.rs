//! The simulated maker of machines: a root and an issuing CA of its own, platform certificates (attribute certificates),
//! and the keys IAK and IDevID with their certificates, put where swtpm puts them. Trusted by nobody until somebody imports
//! its root; every name in it says that it is simulated.

mod attack;
mod device;
mod platform;

use std::fs;
use std::path::Path;

pub use attack::MakerAttack;
use rcgen::{CertificateParams, Issuer, KeyPair};

use crate::der;
use crate::digest::sha256_hex;
use crate::endorsement::Endorsement;
use crate::error::{SimError, file};
use crate::machine::Machine;
use crate::tpm::commands::{self, StartupType};
use crate::tpm::process::Swtpm;
use crate::vendor::{authority, write};

/// NV index of the platform certificate.
pub const PLATFORM_INDEX: u32 = 0x01c0_8000;
/// NV index of the IAK's certificate, as swtpm has it.
pub const IAK_INDEX: u32 = 0x01c9_0100;
/// NV index of the IDevID's certificate, as swtpm has it.
pub const IDEVID_INDEX: u32 = 0x01c9_0200;
/// Persistent handle of the IDevID, as swtpm has it.
pub const IDEVID_HANDLE: u32 = 0x8102_0000;
/// Persistent handle of the IAK, as swtpm has it.
pub const IAK_HANDLE: u32 = 0x8102_0001;
/// What simulated platform certificates say of the maker.
pub const PLATFORM_MANUFACTURER: &str = "Holdfast Simulator";
/// What simulated platform certificates say of the model.
pub const PLATFORM_MODEL: &str = "simulated machine";

const ROOT_PEM: &str = "root.pem";
const ISSUING_PEM: &str = "issuing.pem";
const ISSUING_KEY: &str = "issuing.key";
const REPORT: &str = "maker.json";

/// A maker of machines. Each has its own random keys: two makers never trust each other.
pub struct Maker {
    root_pem: String,
    issuing_pem: String,
    issuing_der: Vec<u8>,
    issuing_key: KeyPair,
}

/// What a machine was given, as an inventory would have it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MakerReport {
    /// Serial number of the platform.
    pub serial: String,
    /// `tpm.platform.id` of the policy language: manufacturer and serial number.
    pub platform_id: String,
    /// SHA-256 of the platform certificate, hexadecimal.
    pub platform_certificate_sha256: String,
    /// SHA-256 of the IAK's SubjectPublicKeyInfo, hexadecimal.
    pub iak_sha256: String,
    /// SHA-256 of the IDevID's SubjectPublicKeyInfo, hexadecimal.
    pub idevid_sha256: String,
}

impl Maker {
    /// A maker that lives only as long as this value.
    ///
    /// # Errors
    /// [`SimError::Certificate`] if a key or certificate cannot be made.
    pub fn ephemeral() -> Result<Self, SimError> {
        // Makers have different names, or a stranger's certificate would be one that a known maker did not sign.
        let name = hex::encode(crate::vendor::random_serial().first_chunk::<4>().copied().unwrap_or_default());
        let name = |kind: &str| format!("Holdfast Simulator Machine Maker {name} {kind} CA");
        let root_key = KeyPair::generate()?;
        let root_params = authority(&name("Root"), 1, 30)?;
        let root = root_params.self_signed(&root_key)?;
        let issuing_key = KeyPair::generate()?;
        let issuing =
            authority(&name("Issuing"), 0, 25)?.signed_by(&issuing_key, &Issuer::new(root_params, &root_key))?;
        let (root_pem, issuing_pem, issuing_der) = (root.pem(), issuing.pem(), issuing.der().to_vec());
        Ok(Self { root_pem, issuing_pem, issuing_der, issuing_key })
    }

    /// The maker kept in `directory`; made there if the directory holds none.
    ///
    /// # Errors
    /// [`SimError::File`] and [`SimError::NotOurs`] if the directory cannot be used, [`SimError::Certificate`] if a
    /// certificate cannot be made or read.
    pub fn open(directory: &Path) -> Result<Self, SimError> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(file("read", &path))
        };
        if directory.join(ISSUING_KEY).exists() {
            let issuing_pem = read(ISSUING_PEM)?;
            let issuing_der = der::from_pem(&issuing_pem).ok_or_else(|| SimError::NotOurs {
                path: directory.join(ISSUING_PEM),
                expected: "maker",
                problem: "no PEM certificate in it".to_owned(),
            })?;
            let issuing_key = KeyPair::from_pem(&read(ISSUING_KEY)?)?;
            return Ok(Self { root_pem: read(ROOT_PEM)?, issuing_pem, issuing_der, issuing_key });
        }
        let maker = Self::ephemeral()?;
        fs::create_dir_all(directory).map_err(file("create", directory))?;
        write(&directory.join(ROOT_PEM), &maker.root_pem, 0o644)?;
        write(&directory.join(ISSUING_PEM), &maker.issuing_pem, 0o644)?;
        write(&directory.join(ISSUING_KEY), &maker.issuing_key.serialize_pem(), 0o600)?;
        Ok(maker)
    }

    /// The root certificate, PEM: what an operator imports for platforms and device keys.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The issuing CA's certificate, PEM: platform certificates do not bring it along.
    pub fn issuing_pem(&self) -> &str {
        &self.issuing_pem
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, SimError> {
        Ok(Issuer::from_ca_cert_der(&self.issuing_der.as_slice().into(), &self.issuing_key)?)
    }

    /// DER of the issuing CA's distinguished name, as it stands in its certificate.
    fn name(&self) -> Vec<u8> {
        der::certificate_fields(&self.issuing_der).map(|fields| fields.subject.to_vec()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker").finish_non_exhaustive()
    }
}

impl Machine {
    /// Has `maker` put its certificates and keys into the machine, which is at rest: a platform certificate for `serial`
    /// whose holder is the RSA endorsement certificate, an IAK and an IDevID. With an attack, one of them is not as it must
    /// be.
    ///
    /// # Errors
    /// [`SimError::NotOurs`] if it has them already, or what swtpm or the disk say.
    pub fn provision(
        &self,
        maker: &Maker,
        serial: &str,
        attack: Option<&MakerAttack>,
    ) -> Result<MakerReport, SimError> {
        let endorsements = self.endorsements();
        let [rsa, ..] = endorsements.as_slice() else {
            return Err(self.not_ours("it has no endorsement certificate"));
        };
        if self.directory().join(REPORT).exists() {
            return Err(self.not_ours("a maker has provisioned it already"));
        }
        let stranger = Maker::ephemeral()?;
        let signer = if matches!(attack, Some(MakerAttack::AnotherMaker)) { &stranger } else { maker };
        let platform = platform::certificate(signer, &stranger, rsa, serial, attack)?;
        let mut tpm = Swtpm::spawn(self.directory())?;
        tpm.power_on()?;
        commands::startup(&mut tpm, StartupType::Clear)?;
        let iak = device::provision(&mut tpm, device::Role::Iak, signer, rsa, serial, attack)?;
        let idevid = device::provision(&mut tpm, device::Role::IdevId, signer, rsa, serial, attack)?;
        commands::write_certificate(&mut tpm, PLATFORM_INDEX, &platform)?;
        commands::shutdown(&mut tpm, StartupType::Clear)?;
        tpm.power_off()?;
        let report = MakerReport {
            serial: serial.to_owned(),
            platform_id: format!("{PLATFORM_MANUFACTURER}/{serial}"),
            platform_certificate_sha256: sha256_hex(&platform),
            iak_sha256: sha256_hex(&iak),
            idevid_sha256: sha256_hex(&idevid),
        };
        let path = self.directory().join(REPORT);
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        fs::write(&path, text + "\n").map_err(file("write", &path))?;
        Ok(report)
    }

    fn not_ours(&self, problem: &str) -> SimError {
        SimError::NotOurs { path: self.directory().to_owned(), expected: "machine", problem: problem.to_owned() }
    }
}

/// The holder of what a maker certifies: whose endorsement certificate.
fn fields(endorsement: &Endorsement) -> Result<der::CertificateFields<'_>, SimError> {
    der::certificate_fields(&endorsement.certificate).ok_or(SimError::ShortResponse { command: "certificate" })
}

/// Parameters of a certificate for a machine, valid from yesterday on.
fn leaf(serial: &str) -> Result<CertificateParams, SimError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, PLATFORM_MANUFACTURER);
    params.distinguished_name.push(rcgen::DnType::CommonName, PLATFORM_MODEL);
    params.distinguished_name.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 5]), serial);
    params.serial_number = Some(crate::vendor::serial());
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(365 * 20);
    Ok(params)
}
