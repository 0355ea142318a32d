//! A made-up Intel: root, CAs, PCK certificates, signer of TCB info, revocation lists. Everything is P-256, valid from
//! 2020 to 2030 unless a test says otherwise.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SigningKey as _, date_time_ymd,
};

/// Keys are made once: they take longer than all else.
macro_rules! keys {
    ($($name:ident)*) => {$(
        pub(crate) fn $name() -> &'static KeyPair {
            static KEY: OnceLock<KeyPair> = OnceLock::new();
            KEY.get_or_init(|| KeyPair::generate().unwrap())
        }
    )*};
}
keys! { root_key ca_key pck_key signer_key attestation_key stranger_key }

/// Signatures are drawn anew each time: what was signed once under a name is handed out again, so that two makings of
/// one thing are the same bytes.
fn once(what: String, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    MADE.lock().unwrap().entry(what).or_insert_with(make).clone()
}

/// A certificate to be: name, serial number, and whatever a test changes.
pub(crate) struct Template {
    pub(crate) params: CertificateParams,
}

fn params(name: &str, serial: u8) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params.serial_number = Some(SerialNumber::from(vec![serial]));
    params
}

impl Template {
    pub(crate) fn ca(name: &str, serial: u8, below: u8) -> Self {
        let mut params = params(name, serial);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { params }
    }

    pub(crate) fn leaf(name: &str, serial: u8) -> Self {
        let mut params = params(name, serial);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
        Self { params }
    }

    /// The certificate of `key`, issued under this template's name by the holder of `issuer_key`.
    pub(crate) fn issued(&self, key: &KeyPair, issuer: &Self, issuer_key: &KeyPair) -> Vec<u8> {
        let what = format!("{:?}{:?}{:?}", self.params, issuer.params.distinguished_name, name_of(&[key, issuer_key]));
        once(what, || {
            let issuer = Issuer::new(issuer.params.clone(), issuer_key);
            self.params.clone().signed_by(key, &issuer).unwrap().der().to_vec()
        })
    }
}

/// A revocation list of the holder of `key`.
pub(crate) fn revocation_list(issuer: &Template, key: &KeyPair, serials: &[u8], next_update: (i32, u8, u8)) -> Vec<u8> {
    list_of(issuer, key, serials, [(2025, 12, 20), next_update])
}

/// The same with both of its dates.
pub(crate) fn list_of(issuer: &Template, key: &KeyPair, serials: &[u8], dates: [(i32, u8, u8); 2]) -> Vec<u8> {
    let [this_update, next_update] = dates.map(|(year, month, day)| date_time_ymd(year, month, day));
    let list = CertificateRevocationListParams {
        this_update,
        next_update,
        crl_number: SerialNumber::from(vec![1]),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(|serial| revoked(*serial)).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let what = format!("list{:?}{serials:?}{dates:?}{:?}", issuer.params.distinguished_name, name_of(&[key]));
    once(what, || list.signed_by(&Issuer::new(issuer.params.clone(), key)).unwrap().der().to_vec())
}

fn name_of(keys: &[&KeyPair]) -> Vec<String> {
    keys.iter().map(|key| hex::encode(key.public_key_raw())).collect()
}

fn revoked(serial: u8) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(vec![serial]),
        revocation_time: date_time_ymd(2025, 12, 1),
        reason_code: None,
        invalidity_date: None,
    }
}

/// r and s of an ECDSA signature over `message`.
pub(crate) fn sign(key: &KeyPair, message: &[u8]) -> [u8; 64] {
    let der = once(format!("{:?}{}", name_of(&[key]), hex::encode(message)), || key.sign(message).unwrap());
    let number = |at: usize| {
        let length = usize::from(der[at + 1]);
        (&der[at + 2..at + 2 + length], at + 2 + length)
    };
    let (r, after) = number(2);
    let (s, _) = number(after);
    let mut both = [0; 64];
    for (number, end) in [(r, 32), (s, 64)] {
        let digits = number.strip_prefix(&[0]).unwrap_or(number);
        both[end - digits.len()..end].copy_from_slice(digits);
    }
    both
}

/// x and y of a key.
pub(crate) fn coordinates(key: &KeyPair) -> [u8; 64] {
    let point = key.public_key_raw();
    point[1..].try_into().unwrap()
}

pub(crate) fn pem(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// What the SGX extension of a PCK certificate says.
#[derive(Clone)]
pub(crate) struct SgxExtension {
    pub(crate) ppid: Vec<u8>,
    pub(crate) cpu_svn: [u8; 16],
    pub(crate) pce_svn: u8,
    pub(crate) pce_id: Vec<u8>,
    pub(crate) fmspc: [u8; 6],
    pub(crate) piid: Option<Vec<u8>>,
    /// Dynamic platform, cached keys, SMT.
    pub(crate) flags: Option<[bool; 3]>,
}

pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match length {
        0..=0x7f => vec![tag, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [header, content.to_vec()].concat()
}

impl SgxExtension {
    pub(crate) fn encode(&self) -> CustomExtension {
        const ARC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 0x0d, 1];
        let entry = |tail: &[u8], value: Vec<u8>| der(0x30, &[der(6, &[ARC, tail].concat()), value].concat());
        let integer = |value: u8| der(2, &[value]);
        let boolean = |value: bool| der(1, &[if value { 0xff } else { 0 }]);
        let mut tcb: Vec<u8> =
            (1..=16).zip(self.cpu_svn).flat_map(|(at, svn): (u8, u8)| entry(&[2, at], integer(svn))).collect();
        tcb.extend(entry(&[2, 17], integer(self.pce_svn)));
        tcb.extend(entry(&[2, 18], der(4, &self.cpu_svn)));
        let mut all = entry(&[1], der(4, &self.ppid));
        all.extend(entry(&[2], der(0x30, &tcb)));
        all.extend(entry(&[3], der(4, &self.pce_id)));
        all.extend(entry(&[4], der(4, &self.fmspc)));
        all.extend(entry(&[5], der(0x0a, &[1])));
        if let Some(piid) = &self.piid {
            all.extend(entry(&[6], der(4, piid)));
        }
        if let Some(flags) = self.flags {
            let flags: Vec<u8> =
                (1..).zip(flags).flat_map(|(at, flag): (u8, bool)| entry(&[7, at], boolean(flag))).collect();
            all.extend(entry(&[7], der(0x30, &flags)));
        }
        CustomExtension::from_oid_content(&[1, 2, 840, 113_741, 1, 13, 1], der(0x30, &all))
    }
}
