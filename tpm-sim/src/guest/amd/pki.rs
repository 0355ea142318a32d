//! The simulated AMD's keys, kept in a directory: RSA for the authorities, P-384 for chips and provider.

use std::fs;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};
use time::{Duration, OffsetDateTime};

use super::Entry;
use super::certificate::{Subject, certificate, revocation_list};
use super::report::bytes;
use super::spec::{SigningKey, SnpSpec, Tcb};
use crate::der;
use crate::error::{SimError, file};
use crate::guest::files::{keep_first, write};
use crate::guest::random;

/// Bits of the authorities' keys. AMD's have 4096; these are quicker to make and as long as any verifier needs.
const BITS: usize = 2048;
const DAYS_OF_AUTHORITY: i64 = 25 * 365;
const DAYS_OF_VCEK: i64 = 7 * 365;
const DAYS_OF_VLEK: i64 = 365;
const BIT_STRING: u8 = 0x03;
/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
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
        random(self.chip_id_bytes())
    }

    fn chip_id_bytes(&self) -> usize {
        if self.product == "Turin" { 8 } else { 64 }
    }

    /// The key that signs for a chip (or for a provider) at one TCB: another TCB has another.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Guest`].
    pub fn key(&self, kind: SigningKey, of: &str, tcb: &Tcb) -> Result<ChipKey, SimError> {
        let of = format!("{kind:?} {of} {tcb:?}");
        let name = hex::encode(ring::digest::digest(&ring::digest::SHA256, of.as_bytes()));
        let path = self.directory.join(format!("key-{}.p8", name.get(..24).unwrap_or(&name)));
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pkcs8 = match fs::read(&path) {
            Ok(pkcs8) => pkcs8,
            Err(_) => {
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
                let made = made.map_err(|_| failed("chip key", "cannot be made"))?;
                keep_first(&path, made.as_ref())?
            }
        };
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &SystemRandom::new());
        pair.map(ChipKey).map_err(|_| failed("chip key", "cannot be read"))
    }

    /// The certificate of such a key, DER; until `ends` seconds from now, or as long as AMD's.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Guest`].
    pub fn certify(&self, kind: SigningKey, of: &str, tcb: &Tcb, ends: Option<i64>) -> Result<Vec<u8>, SimError> {
        let key = self.key(kind, of, tcb)?;
        let issuer = self.issuer(kind);
        let product = self.product.as_str();
        let until = |days: i64| OffsetDateTime::now_utc() + ends.map_or(Duration::days(days), Duration::seconds);
        match kind {
            SigningKey::Vcek => {
                let chip_id = bytes("chip_id", of, self.chip_id_bytes())?;
                let subject = Subject::Chip { product, chip_id: &chip_id, tcb: *tcb };
                certificate(&subject, &key.spki(), &issuer.name, &issuer.key, until(DAYS_OF_VCEK))
            }
            SigningKey::Vlek => {
                let subject = Subject::Provider { product, csp_id: of, tcb: *tcb };
                certificate(&subject, &key.spki(), &issuer.name, &issuer.key, until(DAYS_OF_VLEK))
            }
        }
    }

    /// The certificate of the issuer of keys of this kind, DER; one that ends so many seconds from now, if that is given.
    ///
    /// # Errors
    /// [`SimError::Guest`].
    pub fn issuer_until(&self, kind: SigningKey, ends: Option<i64>) -> Result<Vec<u8>, SimError> {
        let Authority { name, der, key } = self.issuer(kind);
        let Some(ends) = ends else { return Ok(der.clone()) };
        let until = OffsetDateTime::now_utc() + Duration::seconds(ends);
        certificate(&Subject::Authority(name), &rsa_spki(key), &self.ark.name, &self.ark.key, until)
    }

    /// The root's revocation list, DER; `revoked` says which issuers are on it.
    ///
    /// # Errors
    /// [`SimError::Guest`].
    pub fn revocation_list(&self, revoked: &[SigningKey]) -> Result<Vec<u8>, SimError> {
        let names: Vec<&str> = revoked.iter().map(|kind| self.issuer(*kind).name.as_str()).collect();
        revocation_list(&self.ark.name, &self.ark.key, &names)
    }

    /// Another AMD of the same names, which nobody imports.
    fn impostor(&self) -> Result<Self, SimError> {
        Self::open(&self.directory.join("impostor"), &self.product)
    }

    /// The report of a guest and the certificate table that the host hands it.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Guest`].
    pub fn attest(&self, spec: &SnpSpec, report_data: &[u8; 64]) -> Result<(Vec<u8>, Vec<u8>), SimError> {
        if spec.own_root {
            return self.impostor()?.attest(&SnpSpec { own_root: false, ..spec.clone() }, report_data);
        }
        let certified = spec.certified_chip.as_ref().unwrap_or(&spec.chip_id);
        let other = self.new_chip();
        let of = match spec.signing_key {
            SigningKey::Vcek if spec.signed_by_another_chip => &other,
            SigningKey::Vcek => certified,
            SigningKey::Vlek => &spec.csp_id,
        };
        let key = self.key(spec.signing_key, of, &spec.reported_tcb)?;
        let report = super::report(spec, report_data, &key)?;
        let table = match &spec.table {
            Some(lie) => bytes("table", lie, lie.len() / 2)?,
            None if spec.certificates => self.table(spec, certified)?,
            None => Vec::new(),
        };
        Ok((report, table))
    }

    /// The certificate of the key that signs for a guest, and those above it, PEM.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Guest`].
    pub fn files(&self, spec: &SnpSpec) -> Result<[Vec<u8>; 2], SimError> {
        if spec.own_root {
            return self.impostor()?.files(&SnpSpec { own_root: false, ..spec.clone() });
        }
        let of = match spec.signing_key {
            SigningKey::Vcek => spec.certified_chip.as_ref().unwrap_or(&spec.chip_id),
            SigningKey::Vlek => &spec.csp_id,
        };
        let tcb = spec.certified_tcb.unwrap_or(spec.reported_tcb);
        let vek = self.certify(spec.signing_key, of, &tcb, spec.certificate_ends)?;
        let pem = |der: &[u8]| der::to_pem("CERTIFICATE", der);
        let chain = [pem(&self.issuer_until(spec.signing_key, spec.issuer_ends)?), pem(self.root())].concat();
        Ok([pem(&vek).into_bytes(), chain.into_bytes()])
    }

    fn table(&self, spec: &SnpSpec, certified_chip: &str) -> Result<Vec<u8>, SimError> {
        let (entry, of) = match spec.signing_key {
            SigningKey::Vcek => (Entry::Vcek, certified_chip),
            SigningKey::Vlek => (Entry::Vlek, spec.csp_id.as_str()),
        };
        let tcb = spec.certified_tcb.unwrap_or(spec.reported_tcb);
        let vek = self.certify(spec.signing_key, of, &tcb, spec.certificate_ends)?;
        let mut entries = vec![(entry, vek)];
        if spec.issuers {
            entries.push((Entry::Ask, self.issuer_until(spec.signing_key, spec.issuer_ends)?));
            entries.push((Entry::Ark, self.root().to_vec()));
        }
        let as_held = |der: Vec<u8>| if spec.pem { der::to_pem("CERTIFICATE", &der).into_bytes() } else { der };
        let entries: Vec<(Entry, Vec<u8>)> = entries.into_iter().map(|(entry, der)| (entry, as_held(der))).collect();
        Ok(super::table(&entries))
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
            let end = OffsetDateTime::now_utc() + Duration::days(DAYS_OF_AUTHORITY);
            let der = match issuer {
                None => certificate(&subject, spki.as_bytes(), &name, &key, end)?,
                Some(issuer) => certificate(&subject, spki.as_bytes(), &issuer.name, &issuer.key, end)?,
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

/// The `SubjectPublicKeyInfo` of an RSA key.
fn rsa_spki(key: &RsaKeyPair) -> Vec<u8> {
    let algorithm = der::element(der::SEQUENCE, &[der::element(der::OID, RSA_ENCRYPTION), vec![0x05, 0]].concat());
    let bits = [&[0], key.public_key().as_ref()].concat();
    der::element(der::SEQUENCE, &[algorithm, der::element(BIT_STRING, &bits)].concat())
}

fn rsa_key(pkcs8: &[u8]) -> Result<RsaKeyPair, SimError> {
    RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| failed("RSA key", "cannot be read"))
}

fn failed(what: &'static str, problem: &str) -> SimError {
    SimError::Guest { what, problem: problem.to_owned() }
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
