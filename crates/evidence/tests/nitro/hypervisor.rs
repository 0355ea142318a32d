//! A hypervisor of our own: the chain of AWS's, in its shape, and documents written by another CBOR library than the one
//! that reads them.

use ciborium::Value;
use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::nitro::DocumentKind;
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_identity::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};

/// 2026-01-01; every certificate is valid from 2025 to 2027.
pub(crate) const NOW: UnixTime = UnixTime(1_767_225_600);
pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";

/// Parameters of one certificate of the chain.
pub(crate) fn params(name: &str, path_length: Option<u8>) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.is_ca = IsCa::Ca(path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

/// The four issuers and the certificate that signs, root first; `spoil` changes one by its position.
pub(crate) struct Hypervisor {
    pub(crate) kind: DocumentKind,
    pub(crate) cabundle: Vec<Vec<u8>>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: KeyPair,
}

impl Hypervisor {
    pub(crate) fn new(kind: DocumentKind) -> Self {
        Self::spoiled(kind, |_, _| {})
    }

    pub(crate) fn spoiled(kind: DocumentKind, spoil: impl Fn(usize, &mut CertificateParams)) -> Self {
        Self::with_keys(kind, spoil, |_| key())
    }

    pub(crate) fn with_keys(
        kind: DocumentKind,
        spoil: impl Fn(usize, &mut CertificateParams),
        keys: impl Fn(usize) -> KeyPair,
    ) -> Self {
        let issuers = [
            params("simulated.nitro-enclaves", None),
            params("0011.us-east-1.simulated.nitro-enclaves", Some(2)),
            params("2233.zonal.us-east-1.simulated.nitro-enclaves", Some(1)),
            params(&format!("{INSTANCE}.us-east-1.simulated.nitro-enclaves"), Some(0)),
        ];
        let mut cabundle: Vec<Vec<u8>> = Vec::new();
        let mut above: Option<Issuer<'static, KeyPair>> = None;
        for (position, mut params) in issuers.into_iter().enumerate() {
            spoil(position, &mut params);
            let key = keys(position);
            let certificate = match &above {
                None => params.self_signed(&key),
                Some(issuer) => params.signed_by(&key, issuer),
            };
            cabundle.push(certificate.unwrap().der().to_vec());
            above = Some(Issuer::new(params, key));
        }
        let mut leaf = params(&format!("{}.us-east-1.aws", module_id(kind)), None);
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        spoil(4, &mut leaf);
        let key = keys(4);
        let certificate = leaf.signed_by(&key, &above.unwrap()).unwrap().der().to_vec();
        Self { kind, cabundle, certificate, key }
    }

    /// Roots that trust this hypervisor as a cloud's.
    pub(crate) fn roots(&self) -> Roots {
        let mut roots = Roots::new();
        roots.add(Anchor::new(&self.cabundle[0], TrustClass::Cloud).unwrap());
        roots
    }

    /// The fields of a good document, in the order in which real ones have them.
    pub(crate) fn fields(&self, nonce: &[u8], user_data: &[u8]) -> Fields {
        let certificates = self.cabundle.iter().map(|der| Value::Bytes(der.clone())).collect();
        let mut fields = Fields(Vec::new());
        fields.set("module_id", module_id(self.kind));
        fields.set("digest", "SHA384");
        fields.set("timestamp", u64::try_from(NOW.seconds()).unwrap() * 1000 + 696);
        fields.set(self.kind.pcrs_key(), pcrs(self.kind));
        fields.set("certificate", Value::Bytes(self.certificate.clone()));
        fields.set("cabundle", Value::Array(certificates));
        fields.set("public_key", Value::Null);
        fields.set("user_data", Value::Bytes(user_data.to_vec()));
        fields.set("nonce", Value::Bytes(nonce.to_vec()));
        fields
    }

    /// A document of these fields.
    pub(crate) fn sign(&self, fields: &Fields) -> Vec<u8> {
        self.sign_payload(&fields.encode())
    }

    pub(crate) fn sign_payload(&self, payload: &[u8]) -> Vec<u8> {
        let protected = [0xa1, 0x01, 0x38, 0x22];
        envelope(&protected, payload, &self.signature(&protected, payload))
    }

    /// r ‖ s over the `Sig_structure`, as another library writes it.
    pub(crate) fn signature(&self, protected: &[u8], payload: &[u8]) -> Vec<u8> {
        let signed = encode(&Value::Array(vec![
            "Signature1".into(),
            Value::Bytes(protected.to_vec()),
            Value::Bytes(Vec::new()),
            Value::Bytes(payload.to_vec()),
        ]));
        let rng = SystemRandom::new();
        let pkcs8 = self.key.serialize_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &pkcs8, &rng).unwrap();
        pair.sign(&rng, &signed).unwrap().as_ref().to_vec()
    }
}

/// The untagged envelope.
pub(crate) fn envelope(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    encode(&Value::Array(vec![
        Value::Bytes(protected.to_vec()),
        Value::Map(Vec::new()),
        Value::Bytes(payload.to_vec()),
        Value::Bytes(signature.to_vec()),
    ]))
}

pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

pub(crate) fn module_id(kind: DocumentKind) -> String {
    match kind {
        DocumentKind::Enclave => format!("{INSTANCE}-enc0123456789abcdef"),
        DocumentKind::Tpm => format!("{INSTANCE}-tpm0000000000000000"),
    }
}

/// SHA-384 over 48 zero bytes and the instance's name.
pub(crate) fn measured(text: &str) -> Vec<u8> {
    HashAlg::Sha384.digest(&[&[0; 48], text.as_bytes()]).as_bytes().to_vec()
}

fn pcrs(kind: DocumentKind) -> Value {
    let value = |number: u8| match (kind, number) {
        (DocumentKind::Enclave, 0..=2) => vec![0x10 + number; 48],
        (DocumentKind::Enclave, 4) => measured(INSTANCE),
        (DocumentKind::Tpm, 0..=9) => vec![0x20 + number; 48],
        (DocumentKind::Tpm, 17..=22) => vec![0xff; 48],
        _ => vec![0; 48],
    };
    let count = match kind {
        DocumentKind::Enclave => 16,
        DocumentKind::Tpm => 24,
    };
    Value::Map((0..count).map(|number| (number.into(), Value::Bytes(value(number)))).collect())
}

/// The payload's map, in order; keys may stand twice.
#[derive(Clone, Debug)]
pub(crate) struct Fields(pub(crate) Vec<(Value, Value)>);

impl Fields {
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(found, _)| found.as_text() == Some(key)) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.into(), value)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.0.retain(|(found, _)| found.as_text() != Some(key));
    }

    pub(crate) fn get(&mut self, key: &str) -> &mut Value {
        let entry = self.0.iter_mut().find(|(found, _)| found.as_text() == Some(key));
        &mut entry.unwrap().1
    }

    /// Sets, or with `None` takes away, one PCR.
    pub(crate) fn set_pcr(&mut self, key: &str, number: u64, value: Option<Vec<u8>>) {
        let pcrs = self.get(key).as_map_mut().unwrap();
        pcrs.retain(|(found, _)| found.as_integer() != Some(number.into()));
        pcrs.extend(value.map(|value| (number.into(), Value::Bytes(value))));
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(&Value::Map(self.0.clone()))
    }
}
