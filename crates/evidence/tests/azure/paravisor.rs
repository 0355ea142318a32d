//! A made-up Azure: its paravisor's attestation keys, HCL reports, and the certificates that it gives to keys.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::crypto::{HashAlg, PublicKey, SignatureAlg, SignatureValue};
use holdfast_evidence::tpm::{Attributes, Public, Scheme, Signature};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SubjectPublicKeyInfo, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rsa::sha2::Sha256;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};

/// A key of a virtual TPM: RSA-2048, RSASSA with SHA-256.
pub(crate) struct Ak(RsaPrivateKey);

struct System;

impl rsa::rand_core::RngCore for System {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, to: &mut [u8]) {
        SystemRandom::new().fill(to).unwrap();
    }
    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for System {}

impl Ak {
    fn generate() -> Self {
        Self(RsaPrivateKey::new(&mut System, 2048).unwrap())
    }

    /// The key of the machine that tests spoil; made once a process.
    pub(crate) fn own() -> &'static Self {
        static KEY: OnceLock<Ak> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    /// Another machine's.
    pub(crate) fn other() -> &'static Self {
        static KEY: OnceLock<Ak> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    pub(crate) fn key(&self) -> PublicKey {
        PublicKey::rsa(&self.0.n().to_bytes_be()).unwrap()
    }

    pub(crate) fn area(&self, attributes: Attributes) -> Public {
        let scheme = Scheme::Signing { algorithm: SignatureAlg::Rsassa, hash: HashAlg::Sha256.id() };
        let area = Public::encode(&self.key(), HashAlg::Sha256, attributes, &[], None, scheme);
        Public::parse(&area).unwrap()
    }

    /// A `TPMT_SIGNATURE`.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let digest = HashAlg::Sha256.digest(&[message]);
        let signature = self.0.sign(Pkcs1v15Sign::new::<Sha256>(), digest.as_bytes()).unwrap();
        Signature::encode(SignatureAlg::Rsassa, HashAlg::Sha256, SignatureValue::Rsa(&signature))
    }

    fn jwk(&self, kid: &str) -> String {
        let n = URL_SAFE_NO_PAD.encode(self.0.n().to_bytes_be());
        format!(r#"{{"kid":"{kid}","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"{n}"}}"#)
    }
}

/// Runtime data as the paravisor writes it.
pub(crate) fn runtime_data(ak: &Ak, secure_boot: bool) -> String {
    let keys = ak.jwk("HCLAkPub");
    let user_data = "0".repeat(128);
    format!(
        r#"{{"keys":[{keys}],"vm-configuration":{{"root-cert-thumbprint":"","console-enabled":true,"secure-boot":{secure_boot},"tpm-enabled":true,"tpm-persisted":true,"filtered-vpci-devices-allowed":false,"vmUniqueId":"26F8BC30-774E-4290-8E7A-535F3B672AEE"}},"user-data":"{user_data}"}}"#
    )
}

/// An HCL report with a hardware report of that type inside, padded as its NV index is.
pub(crate) fn hcl(report_type: u32, hardware: &[u8], runtime_data: &[u8]) -> Vec<u8> {
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let length = u32::try_from(runtime_data.len()).unwrap();
    let version = if report_type == 2 { 1 } else { 2 };
    let header = numbers(&[version, 32 + 1184 + 20 + length, 2, 0, 0, 0, 0]);
    let request = numbers(&[20 + length, 1, report_type, 1, length]);
    let mut room = hardware.to_vec();
    room.resize(1184, 0);
    let mut report = [b"HCLA", &header[..], &room, &request, runtime_data].concat();
    report.resize(2600, 0);
    report
}

/// The CA that vouches for attestation keys: root and intermediate.
pub(crate) struct AkCa {
    pub(crate) root: Vec<u8>,
    pub(crate) intermediate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl AkCa {
    pub(crate) fn new() -> Self {
        let ca = |name: &str| {
            let mut params = named(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            (params, KeyPair::generate().unwrap())
        };
        let (root_params, root_key) = ca("Made-up Virtual TPM Root CA");
        let root = root_params.self_signed(&root_key).unwrap().der().to_vec();
        let root_issuer = Issuer::new(root_params, root_key);
        let (params, key) = ca("Made-up Virtual TPM CA - 24");
        let intermediate = params.signed_by(&key, &root_issuer).unwrap().der().to_vec();
        Self { root, intermediate, issuer: Issuer::new(params, key) }
    }

    /// The certificate of a key, spoiled by `change`.
    pub(crate) fn leaf(&self, key: &PublicKey, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = named("2ede2d532aaf.ConfidentialVM.Azure.windows.net");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // 1.3.6.1.4.1.311.10.3.12 and 2.23.133.8.3
        params.custom_extensions = vec![purposes("3013060a2b0601040182370a030c06056781050803")];
        change(&mut params);
        let key = SubjectPublicKeyInfo::from_der(&key.spki()).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().to_vec()
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

/// Extended key usage, its value in hex.
pub(crate) fn purposes(value: &str) -> CustomExtension {
    CustomExtension::from_oid_content(&[2, 5, 29, 37], hex::decode(value).unwrap())
}
