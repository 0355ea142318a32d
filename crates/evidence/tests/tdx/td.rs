//! A guest on a made-up platform: quote, collateral and what the verifier brings, good by default and spoiled by one
//! closure. What is spoiled is signed anew, so that nothing but the check in question can refuse it.

use std::sync::Arc;

use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tdx::{
    Collateral, CollateralParts, KnownCollateral, PckCa, PlatformKind, TdxEndorsements, Unverified, VerifiedQuote,
    verify_quote,
};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_identity::UnixTime;
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::intel::{self, SgxExtension, Template};

/// 2026-01-01. Collateral counts from 2025-12-20 to 2026-01-19.
pub(crate) const NOW: UnixTime = UnixTime(1_767_225_600);
pub(crate) const FMSPC: [u8; 6] = [0x50, 0x80, 0x6f, 0, 0, 0];
const ISSUED: &str = "2025-12-20T00:00:00Z";
const NEXT: &str = "2026-01-19T00:00:00Z";

/// Where things are in a body.
pub(crate) mod at {
    pub(crate) const TEE_TCB_SVN: usize = 0;
    pub(crate) const MRSIGNERSEAM: usize = 64;
    pub(crate) const SEAMATTRIBUTES: usize = 112;
    pub(crate) const TDATTRIBUTES: usize = 120;
    pub(crate) const MRTD: usize = 136;
    pub(crate) const MRCONFIGID: usize = 184;
    pub(crate) const RTMR0: usize = 328;
    pub(crate) const REPORTDATA: usize = 520;
    pub(crate) const TEE_TCB_SVN2: usize = 584;
    pub(crate) const MRSERVICETD: usize = 600;
    pub(crate) const VMID: usize = 648;
    pub(crate) const CUR_SERVTD_HASH: usize = 829;
}

/// Where things are in the quoting enclave's report.
pub(crate) mod qe {
    pub(crate) const MISCSELECT: usize = 16;
    pub(crate) const ATTRIBUTES: usize = 48;
    pub(crate) const MRSIGNER: usize = 128;
    pub(crate) const ISVPRODID: usize = 256;
    pub(crate) const ISVSVN: usize = 258;
    pub(crate) const REPORTDATA: usize = 320;
}

/// Who signs what.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    /// The quote.
    pub(crate) quote: &'static KeyPair,
    /// The quoting enclave's report.
    pub(crate) qe: &'static KeyPair,
    /// The PCK certificate.
    pub(crate) pck_issuer: &'static KeyPair,
    /// The CA's certificate.
    pub(crate) ca_issuer: &'static KeyPair,
    /// TCB info, and QE identity.
    pub(crate) documents: [&'static KeyPair; 2],
    /// Root CRL, and PCK CRL.
    pub(crate) lists: [&'static KeyPair; 2],
}

/// Every input of a verification.
pub(crate) struct Td {
    pub(crate) version: u16,
    pub(crate) body_type: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) qe_report: Vec<u8>,
    /// What the quoting enclave vouches for; `None` for the key and authentication data that are there.
    pub(crate) qe_report_data: Option<[u8; 64]>,
    pub(crate) authentication_data: Vec<u8>,
    pub(crate) extension: SgxExtension,
    pub(crate) root: Template,
    pub(crate) ca: Template,
    pub(crate) pck: Template,
    pub(crate) signer: Template,
    /// Issues the signer of documents: the root.
    pub(crate) signer_below_ca: bool,
    pub(crate) tcb_info: Value,
    pub(crate) qe_identity: Value,
    /// Serial numbers on the root's list, and on the CA's.
    pub(crate) revoked: [Vec<u8>; 2],
    pub(crate) lists_until: [(i32, u8, u8); 2],
    pub(crate) keys: Keys,
    pub(crate) trailing: Vec<u8>,
    pub(crate) class: TrustClass,
    pub(crate) service_tds: Vec<[u8; 48]>,
    pub(crate) now: UnixTime,
}

pub(crate) const ROOT_SERIAL: u8 = 1;
pub(crate) const CA_SERIAL: u8 = 2;
pub(crate) const PCK_SERIAL: u8 = 3;
pub(crate) const SIGNER_SERIAL: u8 = 4;

impl Td {
    /// A TD 1.0 in a quote of version 4.
    pub(crate) fn v4() -> Self {
        let mut body = vec![0; 584];
        body[..4].copy_from_slice(&[6, 1, 3, 0]);
        body[16..64].fill(0x5b);
        body[at::TDATTRIBUTES + 3] = 0x10;
        body[128..136].copy_from_slice(&[0xe7, 0x02, 0x06, 0, 0, 0, 0, 0]);
        for (n, offset) in (1..).zip((at::MRTD..at::REPORTDATA).step_by(48)) {
            body[offset..offset + 48].fill(n);
        }
        body[at::REPORTDATA..].fill(0x77);
        let mut qe_report = vec![0; 384];
        qe_report[qe::ATTRIBUTES] = 0x11;
        qe_report[qe::MRSIGNER..qe::MRSIGNER + 32].fill(0xdc);
        qe_report[qe::ISVPRODID] = 2;
        qe_report[qe::ISVSVN] = 8;
        Self {
            version: 4,
            body_type: 2,
            body,
            qe_report,
            qe_report_data: None,
            authentication_data: (0..32).collect(),
            extension: SgxExtension {
                ppid: vec![0x11; 16],
                cpu_svn: [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
                pce_svn: 11,
                pce_id: vec![0, 0],
                fmspc: FMSPC,
                piid: Some(vec![0x22; 16]),
                flags: Some([false, false, true]),
            },
            root: Template::ca("Made-up SGX Root CA", ROOT_SERIAL, 1),
            ca: Template::ca("Made-up SGX PCK Platform CA", CA_SERIAL, 0),
            pck: Template::leaf("Made-up SGX PCK Certificate", PCK_SERIAL),
            signer: Template::leaf("Made-up SGX TCB Signing", SIGNER_SERIAL),
            signer_below_ca: false,
            tcb_info: tcb_info(),
            qe_identity: qe_identity(),
            revoked: [Vec::new(), Vec::new()],
            lists_until: [(2026, 6, 1), (2026, 1, 19)],
            keys: Keys {
                quote: intel::attestation_key(),
                qe: intel::pck_key(),
                pck_issuer: intel::ca_key(),
                ca_issuer: intel::root_key(),
                documents: [intel::signer_key(); 2],
                lists: [intel::root_key(), intel::ca_key()],
            },
            trailing: Vec::new(),
            class: TrustClass::Firmware,
            service_tds: Vec::new(),
            now: NOW,
        }
    }

    /// A TD 1.5 in a quote of version 5.
    pub(crate) fn v5() -> Self {
        let mut td = Self { version: 5, body_type: 3, ..Self::v4() };
        td.body.extend([0; 64]);
        td.put(at::TEE_TCB_SVN2, &[6, 1, 3, 0]);
        td
    }

    /// A TD 1.5 with the extended report.
    pub(crate) fn v5_extended() -> Self {
        let mut td = Self { body_type: 4, ..Self::v5() };
        td.body.extend([0; 237]);
        td.put(at::VMID + 1, &[0x1d; 32]);
        td
    }

    /// The same with one thing changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Overwrites bytes of the body.
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.body[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Sets a bit of TDATTRIBUTES.
    pub(crate) fn attribute(&mut self, bit: usize) {
        self.body[at::TDATTRIBUTES + bit / 8] |= 1 << (bit % 8);
    }

    pub(crate) fn root_der(&self) -> Vec<u8> {
        self.root.issued(intel::root_key(), &self.root, intel::root_key())
    }

    pub(crate) fn ca_der(&self) -> Vec<u8> {
        self.ca.issued(intel::ca_key(), &self.root, self.keys.ca_issuer)
    }

    pub(crate) fn pck_der(&self) -> Vec<u8> {
        let mut params = self.pck.params.clone();
        params.custom_extensions.push(self.extension.encode());
        Template { params }.issued(intel::pck_key(), &self.ca, self.keys.pck_issuer)
    }

    pub(crate) fn signer_der(&self) -> Vec<u8> {
        let (issuer, key) =
            if self.signer_below_ca { (&self.ca, intel::ca_key()) } else { (&self.root, intel::root_key()) };
        self.signer.issued(intel::signer_key(), issuer, key)
    }

    /// Header and body.
    pub(crate) fn signed(&self) -> Vec<u8> {
        let mut bytes = self.version.to_le_bytes().to_vec();
        bytes.extend([2, 0, 0x81, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(hex::decode("939a7233f79c4ca9940a0db3957f0607").unwrap());
        bytes.extend([0x0a; 20]);
        if self.version == 5 {
            bytes.extend(self.body_type.to_le_bytes());
            bytes.extend(u32::try_from(self.body.len()).unwrap().to_le_bytes());
        }
        [bytes, self.body.clone()].concat()
    }

    /// The quote.
    pub(crate) fn quote(&self) -> Vec<u8> {
        let pem = [self.pck_der(), self.ca_der(), self.root_der()].map(|der| intel::pem(&der)).concat();
        self.quote_with(pem.as_bytes())
    }

    /// The quote with these certificates.
    pub(crate) fn quote_with(&self, pem: &[u8]) -> Vec<u8> {
        let key = intel::coordinates(intel::attestation_key());
        let mut vouched = [0; 64];
        vouched[..32].copy_from_slice(&sha256(&[&key, &self.authentication_data]));
        let mut report = self.qe_report.clone();
        report[qe::REPORTDATA..].copy_from_slice(&self.qe_report_data.unwrap_or(vouched));
        let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat();
        let mut certification = report.clone();
        certification.extend(intel::sign(self.keys.qe, &report));
        certification.extend(u16::try_from(self.authentication_data.len()).unwrap().to_le_bytes());
        certification.extend(&self.authentication_data);
        certification.extend(5u16.to_le_bytes());
        certification.extend(sized(pem));
        let signed = self.signed();
        let mut authentication = intel::sign(self.keys.quote, &signed).to_vec();
        authentication.extend(key);
        authentication.extend(6u16.to_le_bytes());
        authentication.extend(sized(&certification));
        [signed, sized(&authentication), self.trailing.clone()].concat()
    }

    /// The collateral as `dcap-qvl` writes it.
    pub(crate) fn document(&self) -> Value {
        let (tcb_info, qe_identity) = (self.tcb_info.to_string(), self.qe_identity.to_string());
        let signer = [self.signer_der(), self.root_der()].map(|der| intel::pem(&der)).concat();
        let ca = [self.ca_der(), self.root_der()].map(|der| intel::pem(&der)).concat();
        let [tcb_key, qe_key] = self.keys.documents;
        let [root_list, pck_list] = self.lists();
        json!({
            "pck_crl_issuer_chain": ca,
            "root_ca_crl": hex::encode(root_list),
            "pck_crl": hex::encode(pck_list),
            "tcb_info_issuer_chain": signer,
            "tcb_info": tcb_info,
            "tcb_info_signature": hex::encode(intel::sign(tcb_key, tcb_info.as_bytes())),
            "qe_identity_issuer_chain": signer,
            "qe_identity": qe_identity,
            "qe_identity_signature": hex::encode(intel::sign(qe_key, qe_identity.as_bytes())),
        })
    }

    /// Root CRL and PCK CRL.
    pub(crate) fn lists(&self) -> [Vec<u8>; 2] {
        let [root_key, ca_key] = self.keys.lists;
        let [root_until, ca_until] = self.lists_until;
        [
            intel::revocation_list(&self.root, root_key, &self.revoked[0], root_until),
            intel::revocation_list(&self.ca, ca_key, &self.revoked[1], ca_until),
        ]
    }

    pub(crate) fn kind(&self) -> PlatformKind {
        PlatformKind { fmspc: FMSPC, ca: PckCa::Platform }
    }

    pub(crate) fn collateral(&self) -> Arc<Collateral> {
        let mut parts = CollateralParts::new();
        parts.add(self.document().to_string().as_bytes()).unwrap();
        Arc::new(parts.collateral(self.kind()).unwrap())
    }

    pub(crate) fn roots(&self) -> Arc<Roots> {
        let mut roots = Roots::new();
        roots.add(Anchor::new(&self.root_der(), self.class).unwrap());
        Arc::new(roots)
    }

    pub(crate) fn endorsements(&self) -> TdxEndorsements {
        TdxEndorsements {
            roots: self.roots(),
            collateral: KnownCollateral::Fetched(self.collateral()),
            service_tds: self.service_tds.clone(),
            pck: None,
        }
    }

    pub(crate) fn verify(&self) -> Result<VerifiedQuote, Unverified> {
        verify_quote(&self.quote(), &self.endorsements(), self.now)
    }
}

/// Refused with this code, and accepted without the change.
pub(crate) fn check(good: fn() -> Td, change: impl FnOnce(&mut Td), code: &str) {
    if let Err(refusal) = good().verify() {
        panic!("good guest is refused: {refusal}");
    }
    match good().with(change).verify() {
        Err(refusal) => assert_eq!(refusal.code(), code, "{refusal}"),
        Ok(_) => panic!("not refused with {code}"),
    }
}

/// A level of the TCB info.
pub(crate) fn level(sgx: [u8; 16], pce: u8, tdx: [u8; 3], date: &str, status: &str, advisories: &[&str]) -> Value {
    let components =
        |svns: &[u8]| (0..16).map(|n| json!({ "svn": svns.get(n).copied().unwrap_or(0) })).collect::<Vec<_>>();
    json!({
        "tcb": { "sgxtcbcomponents": components(&sgx), "pcesvn": pce, "tdxtcbcomponents": components(&tdx) },
        "tcbDate": date,
        "tcbStatus": status,
        "advisoryIDs": advisories,
    })
}

const CURRENT: [u8; 16] = [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];

fn tcb_info() -> Value {
    json!({
        "id": "TDX",
        "version": 3,
        "issueDate": ISSUED,
        "nextUpdate": NEXT,
        "fmspc": hex::encode(FMSPC),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": 18,
        "tdxModule": { "mrsigner": "00".repeat(48), "attributes": "0000000000000000", "attributesMask": "FFFFFFFFFFFFFFFF" },
        "tdxModuleIdentities": [{
            "id": "TDX_01",
            "mrsigner": "00".repeat(48),
            "attributes": "0000000000000000",
            "attributesMask": "FFFFFFFFFFFFFFFF",
            "tcbLevels": [
                { "tcb": { "isvsvn": 5 }, "tcbDate": "2025-03-13T00:00:00Z", "tcbStatus": "UpToDate" },
                { "tcb": { "isvsvn": 3 }, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "OutOfDate" },
            ],
        }],
        "tcbLevels": [
            level(CURRENT, 11, [5, 0, 3], "2025-03-13T00:00:00Z", "UpToDate", &[]),
            level([2, 2, 2, 2, 3, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0], 11, [5, 0, 3], "2024-03-13T00:00:00Z", "SWHardeningNeeded", &["INTEL-SA-00828", "INTEL-SA-00615"]),
            level([1; 16].map(|_| 0), 5, [0, 0, 2], "2018-01-04T00:00:00Z", "OutOfDate", &["INTEL-SA-00106"]),
        ],
    })
}

fn qe_identity() -> Value {
    json!({
        "id": "TD_QE",
        "version": 2,
        "issueDate": ISSUED,
        "nextUpdate": NEXT,
        "tcbEvaluationDataNumber": 17,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": "DC".repeat(32),
        "isvprodid": 2,
        "tcbLevels": [
            { "tcb": { "isvsvn": 8 }, "tcbDate": "2025-03-13T00:00:00Z", "tcbStatus": "UpToDate" },
            { "tcb": { "isvsvn": 4 }, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "OutOfDate", "advisoryIDs": ["INTEL-SA-00837"] },
        ],
    })
}
