//! Intel, made up: a root, a signer of documents, the CA of platforms, and what they sign.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, SigningKey as _,
};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::chips::pem;
use crate::stand_in::{Answer, StandIn};

pub(crate) const FMSPC: &str = "90c06f000000";
pub(crate) const ABOUT: &str = "tdx/90c06f000000/platform/standard";
const TCB: &str = "/tdx/certification/v4/tcb?fmspc=90c06f000000&update=standard";
const QE: &str = "/tdx/certification/v4/qe/identity?update=standard";
const PCK_CRL: &str = "/sgx/certification/v4/pckcrl?ca=platform&encoding=der";
const ROOT_CRL: &str = "/sgx/certification/v4/rootcacrl";

/// The four paths, in the order in which they are asked.
pub(crate) const PATHS: [&str; 4] = [TCB, QE, PCK_CRL, ROOT_CRL];

/// A name, its key, and its certificate.
struct Party {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) struct Intel {
    root: Party,
    ca: Party,
    signer: Vec<u8>,
    signer_key: KeyPair,
}

/// What a test spoils of the four documents; good by default.
#[derive(Clone)]
pub(crate) struct Documents {
    pub(crate) issued: OffsetDateTime,
    pub(crate) next_update: OffsetDateTime,
    pub(crate) evaluation: u32,
    pub(crate) fmspc: &'static str,
    /// Serial numbers that the root has revoked.
    pub(crate) revoked: Vec<Vec<u8>>,
}

impl Default for Documents {
    fn default() -> Self {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
        Self {
            issued: now - Duration::days(1),
            next_update: now + Duration::days(29),
            evaluation: 20,
            fmspc: FMSPC,
            revoked: Vec::new(),
        }
    }
}

fn ca(name: &str, serial: u8, above: Option<&Issuer<'static, KeyPair>>) -> Party {
    let key = KeyPair::generate().unwrap();
    let mut params = params(name, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let der = match above {
        Some(above) => params.signed_by(&key, above).unwrap().der().to_vec(),
        None => params.self_signed(&key).unwrap().der().to_vec(),
    };
    Party { der, issuer: Issuer::new(params, key) }
}

fn params(name: &str, serial: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&[serial]));
    params
}

impl Intel {
    pub(crate) fn new() -> Self {
        let root = ca("Intel SGX Root CA", 1, None);
        let ca = ca("Intel SGX PCK Platform CA", 2, Some(&root.issuer));
        let signer_key = KeyPair::generate().unwrap();
        let mut params = params("Intel SGX TCB Signing", 3);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let signer = params.signed_by(&signer_key, &root.issuer).unwrap().der().to_vec();
        Self { root, ca, signer, signer_key }
    }

    pub(crate) fn root(&self) -> &[u8] {
        &self.root.der
    }

    /// r and s in hex, as Intel writes signatures.
    fn sign(&self, text: &str) -> String {
        let der = self.signer_key.sign(text.as_bytes()).unwrap();
        let integer = |at: usize| {
            let length = usize::from(der[at + 1]);
            let bytes = &der[at + 2..at + 2 + length];
            let digits: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
            (at + 2 + length, [vec![0; 32 - digits.len()], digits].concat())
        };
        let (next, r) = integer(2);
        let (_, s) = integer(next);
        hex::encode([r, s].concat())
    }

    fn tcb_info(&self, documents: &Documents) -> String {
        format!(
            "{{\"id\":\"TDX\",\"version\":3,\"issueDate\":\"{}\",\"nextUpdate\":\"{}\",\"fmspc\":\"{}\",\
             \"pceId\":\"0000\",\"tcbType\":0,\"tcbEvaluationDataNumber\":{},\"tcbLevels\":[]}}",
            documents.issued.format(&Rfc3339).unwrap(),
            documents.next_update.format(&Rfc3339).unwrap(),
            documents.fmspc,
            documents.evaluation
        )
    }

    fn qe_identity(&self, documents: &Documents) -> String {
        format!(
            "{{\"id\":\"TD_QE\",\"version\":2,\"issueDate\":\"{}\",\"nextUpdate\":\"{}\",\
             \"tcbEvaluationDataNumber\":{},\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\",\
             \"attributes\":\"{}\",\"attributesMask\":\"{}\",\"mrsigner\":\"{}\",\"isvprodid\":2,\"tcbLevels\":[]}}",
            documents.issued.format(&Rfc3339).unwrap(),
            documents.next_update.format(&Rfc3339).unwrap(),
            documents.evaluation,
            "00".repeat(16),
            "00".repeat(16),
            "00".repeat(32)
        )
    }

    fn crl(issuer: &Issuer<'static, KeyPair>, documents: &Documents, revoked: &[Vec<u8>]) -> Vec<u8> {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: documents.issued,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: documents.issued,
            next_update: documents.next_update,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().der().to_vec()
    }

    pub(crate) fn root_crl(&self, documents: &Documents) -> Vec<u8> {
        Self::crl(&self.root.issuer, documents, &documents.revoked)
    }

    pub(crate) fn pck_crl(&self, documents: &Documents) -> Vec<u8> {
        Self::crl(&self.ca.issuer, documents, &[])
    }

    fn chain_of(&self, leaf: &[u8]) -> Vec<u8> {
        pem(&[leaf.to_vec(), self.root.der.clone()])
    }

    /// As the service answers: JSON, and the signer's chain in a header.
    pub(crate) fn answers(&self, documents: &Documents) -> [(&'static str, Answer); 4] {
        let header = |name: &'static str, leaf: &[u8]| (name, escaped(&self.chain_of(leaf)));
        let tcb = self.tcb_info(documents);
        let qe = self.qe_identity(documents);
        let tcb_body = format!("{{\"tcbInfo\":{tcb},\"signature\":\"{}\"}}", self.sign(&tcb));
        let qe_body = format!("{{\"enclaveIdentity\":{qe},\"signature\":\"{}\"}}", self.sign(&qe));
        [
            (TCB, Answer::Body(tcb_body.into(), vec![header("TCB-Info-Issuer-Chain", &self.signer)])),
            (QE, Answer::Body(qe_body.into(), vec![header("SGX-Enclave-Identity-Issuer-Chain", &self.signer)])),
            (PCK_CRL, Answer::Body(self.pck_crl(documents), vec![header("SGX-PCK-CRL-Issuer-Chain", &self.ca.der)])),
            (ROOT_CRL, Answer::body(hex::encode(self.root_crl(documents)))),
        ]
    }

    /// The service has these documents.
    pub(crate) fn publish(&self, service: &StandIn, documents: &Documents) {
        for (path, answer) in self.answers(documents) {
            service.tell(path, answer);
        }
    }

    /// The same as one document of `dcap-qvl`'s form.
    pub(crate) fn whole(&self, documents: &Documents) -> Vec<u8> {
        let (tcb, qe) = (self.tcb_info(documents), self.qe_identity(documents));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        serde_json::json!({
            "tcb_info": tcb,
            "tcb_info_signature": self.sign(&tcb),
            "tcb_info_issuer_chain": text(self.chain_of(&self.signer)),
            "qe_identity": qe,
            "qe_identity_signature": self.sign(&qe),
            "qe_identity_issuer_chain": text(self.chain_of(&self.signer)),
            "root_ca_crl": hex::encode(self.root_crl(documents)),
            "pck_crl": hex::encode(self.pck_crl(documents)),
            "pck_crl_issuer_chain": text(self.chain_of(&self.ca.der)),
        })
        .to_string()
        .into_bytes()
    }
}

/// An answer about SGX: the same form, newer than anything about TDX.
pub(crate) fn about_sgx(member: &str, id: &str) -> Vec<u8> {
    let issued = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap();
    let document = serde_json::json!({
        "id": id, "version": 3, "issueDate": issued, "nextUpdate": "2099-01-01T00:00:00Z", "fmspc": FMSPC, "pceId": "0000",
        "tcbEvaluationDataNumber": 99, "miscselect": "00000000", "miscselectMask": "FFFFFFFF", "isvprodid": 1,
        "attributes": "00".repeat(16), "attributesMask": "00".repeat(16), "mrsigner": "00".repeat(32), "tcbLevels": [],
    });
    serde_json::json!({ member: document, "signature": "00".repeat(64) }).to_string().into_bytes()
}

/// PEM as Intel puts it into a header.
fn escaped(pem: &[u8]) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    pem.iter().map(|byte| if keep(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
