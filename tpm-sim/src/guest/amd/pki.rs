//! The simulated AMD's keys, kept in a directory: RSA for the authorities, P-384 for chips and provider.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};

use super::certificate::{Subject, certificate};
use super::report::bytes;
use super::spec::{SigningKey, SnpSpec, Tcb};
use super::{Entry, table};
use crate::der;
use crate::error::{SimError, file};

/// Bits of the authorities' keys. AMD's have 4096; these are quicker to make and as long as any verifier needs.
const BITS: usize = 2048;
const PROVIDER: &str = "CN=simulator.holdfast.invalid";
/// DER of a `SubjectPublicKeyInfo` on P-384, before the point.
const P384_SPKI: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];

/// An AMD of its own, for one product. Two of them never trust each other.
pub struct Amd {
    directory: PathBuf,
    product: String,
    ark: Authority,
    ask: Authority,
    asvk: Authority,
}

struct Authority {
    name: String,
    der: Vec<u8>,
    key: RsaKeyPair,
}

/// A key that signs reports.
pub struct ChipKey(EcdsaKeyPair);

impl ChipKey {
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimError> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| failed("report", "cannot be signed"))
    }

    fn spki(&self) -> Vec<u8> {
        [&P384_SPKI[..], self.0.public_key().as_ref()].concat()
    }
}

impl Amd {
    /// The AMD kept in `directory` for `product`; made there if there is none yet.
    ///
    /// # Errors
    /// [`SimError::File`] if the directory cannot be used, [`SimError::Guest`] if a key or certificate cannot be made.
    pub fn open(directory: &Path, product: &str) -> Result<Self, SimError> {
        let directory = directory.join(product);
        fs::create_dir_all(&directory).map_err(file("create", &directory))?;
        let open = |name: String, issuer: Option<&Authority>| Authority::open(&directory, name, issuer);
        let ark = open(format!("ARK-{product}"), None)?;
        let ask = open(format!("SEV-{product}"), Some(&ark))?;
        let asvk = open(format!("SEV-VLEK-{product}"), Some(&ark))?;
        Ok(Self { directory, product: product.to_owned(), ark, ask, asvk })
    }

    /// The root certificate, PEM file: what an operator imports.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.directory.join(format!("{}.pem", self.ark.name))
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.ark.der
    }

    /// The issuer of keys of this kind, DER.
    #[must_use]
    pub fn intermediate(&self, kind: SigningKey) -> &[u8] {
        &self.issuer(kind).der
    }

    fn issuer(&self, kind: SigningKey) -> &Authority {
        match kind {
            SigningKey::Vcek => &self.ask,
            SigningKey::Vlek => &self.asvk,
        }
    }

    /// An id for a new chip, hex.
    #[must_use]
    pub fn new_chip(&self) -> String {
        super::spec::random(self.chip_id_bytes())
    }

    fn chip_id_bytes(&self) -> usize {
        if self.product == "Turin" { 8 } else { 64 }
    }

    /// The key that signs for a chip (or the provider) at one TCB: derived from both, so that another TCB has another.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Guest`].
    pub fn key(&self, kind: SigningKey, chip_id: &str, tcb: &Tcb) -> Result<ChipKey, SimError> {
        let of = format!("{kind:?} {} {tcb:?}", if kind == SigningKey::Vcek { chip_id } else { PROVIDER });
        let name = hex::encode(ring::digest::digest(&ring::digest::SHA256, of.as_bytes()));
        let path = self.directory.join(format!("key-{}.p8", name.get(..24).unwrap_or(&name)));
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pkcs8 = match fs::read(&path) {
            Ok(pkcs8) => pkcs8,
            Err(_) => {
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
                let made = made.map_err(|_| failed("chip key", "cannot be made"))?;
                write(&path, made.as_ref(), 0o600)?;
                made.as_ref().to_vec()
            }
        };
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &SystemRandom::new());
        pair.map(ChipKey).map_err(|_| failed("chip key", "cannot be read"))
    }

    /// The certificate of such a key, DER.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Guest`].
    pub fn certify(&self, kind: SigningKey, chip_id: &str, tcb: &Tcb) -> Result<Vec<u8>, SimError> {
        let key = self.key(kind, chip_id, tcb)?;
        let issuer = self.issuer(kind);
        let product = self.product.as_str();
        let chip = bytes("chip_id", chip_id, self.chip_id_bytes());
        match kind {
            SigningKey::Vcek => {
                let subject = Subject::Chip { product, chip_id: &chip?, tcb: *tcb };
                certificate(&subject, &key.spki(), &issuer.name, &issuer.key, 7)
            }
            SigningKey::Vlek => {
                let subject = Subject::Provider { product, csp_id: PROVIDER, tcb: *tcb };
                certificate(&subject, &key.spki(), &issuer.name, &issuer.key, 1)
            }
        }
    }

    /// The report of a guest and the certificate table that the host hands it.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Guest`].
    pub fn attest(&self, spec: &SnpSpec, report_data: &[u8; 64]) -> Result<(Vec<u8>, Vec<u8>), SimError> {
        let other = self.new_chip();
        let signing_chip = if spec.signed_by_another_chip { &other } else { &spec.chip_id };
        let key = self.key(spec.signing_key, signing_chip, &spec.reported_tcb)?;
        let report = super::report(spec, report_data, &key)?;
        if !spec.certificates {
            return Ok((report, Vec::new()));
        }
        let certified = spec.certified_tcb.unwrap_or(spec.reported_tcb);
        let vek = self.certify(spec.signing_key, &spec.chip_id, &certified)?;
        let entry = match spec.signing_key {
            SigningKey::Vcek => Entry::Vcek,
            SigningKey::Vlek => Entry::Vlek,
        };
        let issuer = self.intermediate(spec.signing_key);
        Ok((report, table(&[(entry, &vek), (Entry::Ask, issuer), (Entry::Ark, self.root())])))
    }
}

impl Authority {
    fn open(directory: &Path, name: String, issuer: Option<&Self>) -> Result<Self, SimError> {
        let (key_path, path) = (directory.join(format!("{name}.p8")), directory.join(format!("{name}.pem")));
        if !path.exists() {
            let private =
                rsa::RsaPrivateKey::new(&mut System, BITS).map_err(|_| failed("RSA key", "cannot be made"))?;
            let pkcs8 = private.to_pkcs8_der().map_err(|_| failed("RSA key", "cannot be written"))?;
            let spki =
                private.to_public_key().to_public_key_der().map_err(|_| failed("RSA key", "cannot be written"))?;
            let key = rsa_key(pkcs8.as_bytes())?;
            let subject = Subject::Authority(&name);
            let der = match issuer {
                None => certificate(&subject, spki.as_bytes(), &name, &key, 20)?,
                Some(issuer) => certificate(&subject, spki.as_bytes(), &issuer.name, &issuer.key, 20)?,
            };
            write(&key_path, pkcs8.as_bytes(), 0o600)?;
            write(&path, der::to_pem("CERTIFICATE", &der).as_bytes(), 0o644)?;
        }
        let key = rsa_key(&fs::read(&key_path).map_err(file("read", &key_path))?)?;
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        let der = der::from_pem(&text).ok_or_else(|| failed("certificate", "no PEM certificate in its file"))?;
        Ok(Self { name, der, key })
    }
}

fn rsa_key(pkcs8: &[u8]) -> Result<RsaKeyPair, SimError> {
    RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| failed("RSA key", "cannot be read"))
}

fn failed(what: &'static str, problem: &str) -> SimError {
    SimError::Guest { what, problem: problem.to_owned() }
}

pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SimError> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options.open(path).and_then(|mut file| file.write_all(bytes)).map_err(file("write", path))
}

/// The system's randomness, as `rsa` takes it.
struct System;

impl rsa::rand_core::RngCore for System {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        // Simulated keys: a source that fails leaves zeros, and the key generation does not end in a key.
        let _ = SystemRandom::new().fill(to);
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for System {}
