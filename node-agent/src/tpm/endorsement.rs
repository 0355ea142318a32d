//! The endorsement keys: their certificates from NV, the keys themselves from persistent handles or by template, and the
//! activation of credentials with them.

mod activation;
pub(super) mod certificate;

use serde::{Deserialize, Serialize};
use tss_esapi::structures::{EccParameter, EccPoint, Public, PublicKeyRsa};
use tss_esapi::traits::UnMarshall;
use zeroize::Zeroizing;

use super::actor::Tpm;
use super::chip::Chip;
use super::identity::{Open, RECORD};
use super::templates::{self, EkKind, Template};
use super::{TpmFault, leftovers, nv, ownership};
use crate::state::StateDir;

/// First and last NV index where endorsement certificates, nonces and templates of the two low-range keys stand.
const LOW_RANGE: (u32, u32) = (0x01c0_0002, 0x01c0_000c);
/// First and last NV index of the certificates between an endorsement certificate and its root. Platform, attestation
/// and device identity certificates stand above it.
const CHAIN: (u32, u32) = (0x01c0_0100, 0x01c0_01ff);
/// Where the persistent handles of endorsement keys begin.
const PERSISTENT: u32 = 0x8101_0001;
/// Bytes of a chain that are read at most: four certificates of the largest seen.
const CHAIN_BYTES_MAX: usize = 16 << 10;

/// An endorsement key that the machine can prove to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementKey {
    /// The NV index of its certificate.
    pub index: u32,
    /// The certificate as read: padding and old headers included.
    pub certificate: Vec<u8>,
    /// TPM2B_PUBLIC.
    pub public: Vec<u8>,
}

/// What the state directory remembers, bytes in hexadecimal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndorsementRecord {
    keys: Vec<KeyRecord>,
    chain: Vec<String>,
}

/// One endorsement key in the state directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRecord {
    index: u32,
    certificate: String,
    /// TPMT_PUBLIC that CreatePrimary is given.
    template: String,
    /// TPMT_PUBLIC that it must answer with: the template with the certificate's key in `unique`.
    public: String,
    /// The key stood in its standard persistent handle when the certificate was read.
    persistent: bool,
}

/// Where a low-range key has its things.
struct Places {
    kind: EkKind,
    certificate: u32,
    nonce: u32,
    template: u32,
    /// The standard handle of the key itself.
    handle: u32,
}

/// The key on P-256 first: it costs a tenth of the other.
const PLACES: [Places; 2] = [
    Places {
        kind: EkKind::P256,
        certificate: 0x01c0_000a,
        nonce: 0x01c0_000b,
        template: 0x01c0_000c,
        handle: 0x8101_0002,
    },
    Places {
        kind: EkKind::Rsa2048,
        certificate: 0x01c0_0002,
        nonce: 0x01c0_0003,
        template: 0x01c0_0004,
        handle: 0x8101_0001,
    },
];

impl Tpm {
    /// All endorsement keys with a certificate in NV, and the intermediate certificates beside them (DER). From the
    /// state directory where they have been read before.
    ///
    /// # Errors
    /// [`TpmFault`] where the chip or the state directory refuses. A machine without certificates has no keys to offer:
    /// that is an empty list.
    pub async fn endorsement(&self) -> Result<(Vec<EndorsementKey>, Vec<Vec<u8>>), TpmFault> {
        self.ask(|machine| machine.with(offer)).await
    }

    /// Activates one credential (TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET) with each of [`Self::endorsement`]'s keys, in
    /// the same order, and returns the secrets.
    ///
    /// # Errors
    /// [`TpmFault`] where one of them is not meant for its key and our attestation key.
    pub async fn activate(&self, credentials: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<Zeroizing<Vec<u8>>>, TpmFault> {
        self.ask(move |machine| machine.with(|open, _, _| activation::activate(open, &credentials))).await
    }
}

fn offer(
    open: &mut Open,
    access: &super::Access,
    state: &StateDir,
) -> Result<(Vec<EndorsementKey>, Vec<Vec<u8>>), TpmFault> {
    if open.record.endorsement.is_none() {
        // One listing for this and for what is offered beside.
        let others = access.ownership.indices();
        let (first, last) =
            others.fold((LOW_RANGE.0, CHAIN.1), |(first, last), index| (first.min(index), last.max(index)));
        let defined = nv::defined(&mut open.chip, first, last)?;
        open.record.endorsement = Some(read(&mut open.chip, &defined)?);
        open.record.ownership = Some(ownership::read(&mut open.chip, &access.ownership, &defined)?);
        state.write(RECORD, &open.record)?;
    }
    let Some(record) = &open.record.endorsement else { return Ok((Vec::new(), Vec::new())) };
    let keys = record.keys.iter().map(|key| {
        Ok::<_, TpmFault>(EndorsementKey {
            index: key.index,
            certificate: recorded(&key.certificate)?,
            public: templates::buffer(&recorded(&key.public)?),
        })
    });
    let chain = record.chain.iter().map(|certificate| recorded(certificate));
    Ok((keys.collect::<Result<_, _>>()?, chain.collect::<Result<_, _>>()?))
}

fn recorded(hexadecimal: &str) -> Result<Vec<u8>, TpmFault> {
    hex::decode(hexadecimal)
        .map_err(|_| TpmFault::Form { what: "TPM record in the state directory", expected: "hexadecimal" })
}

/// Reads certificates, nonces, templates and chain from NV.
fn read(chip: &mut Chip, defined: &[u32]) -> Result<EndorsementRecord, TpmFault> {
    let persistent = leftovers::handles(chip, PERSISTENT)?;
    let mut keys = Vec::new();
    for places in &PLACES {
        if !defined.contains(&places.certificate) {
            continue;
        }
        match read_key(chip, places, defined) {
            Ok(key) => {
                let persistent = persistent.iter().any(|&held| u32::from(held) == places.handle);
                keys.push(KeyRecord { persistent, ..key });
            }
            // One that nobody can use must not keep the others from being offered.
            Err(fault @ TpmFault::Form { .. }) => {
                tracing::warn!(index = places.certificate, error = %fault, "endorsement certificate passed over");
            }
            Err(fault) => return Err(fault),
        }
    }
    let mut bytes = Vec::new();
    for &index in defined.iter().filter(|index| (CHAIN.0..=CHAIN.1).contains(*index)) {
        if bytes.len() < CHAIN_BYTES_MAX {
            bytes.extend(nv::read(chip, index)?);
        }
    }
    let chain = certificate::split(&bytes).map(hex::encode).collect();
    Ok(EndorsementRecord { keys, chain })
}

fn read_key(chip: &mut Chip, places: &Places, defined: &[u32]) -> Result<KeyRecord, TpmFault> {
    let certificate = nv::read(chip, places.certificate)?;
    let mut optional = |index| if defined.contains(&index) { nv::read(chip, index).map(Some) } else { Ok(None) };
    let (mut nonce, mut template) = (optional(places.nonce)?, optional(places.template)?);
    if template.is_none() && nonce.as_deref().is_some_and(|bytes| Public::unmarshall(bytes).is_ok()) {
        // swtpm writes its template of the P-256 key where the nonce belongs.
        template = nonce.take();
    }
    let nonce = nonce.unwrap_or_default();
    let template = match template {
        Some(bytes) => with_nonce(&bytes, &nonce)?,
        None => Template::endorsement(places.kind, &nonce).public()?,
    };
    let key = certificate::key(places.kind, &certificate)
        .ok_or(TpmFault::Form { what: "endorsement certificate", expected: "X.509 with the key of its NV index" })?;
    Ok(KeyRecord {
        index: places.certificate,
        template: hex::encode(templates::tpmt(&template)?),
        public: hex::encode(templates::tpmt(&with_key(template, &key)?)?),
        certificate: hex::encode(certificate),
        persistent: false,
    })
}

/// A template from NV, with the nonce copied over the beginning of `unique`.
fn with_nonce(template: &[u8], nonce: &[u8]) -> Result<Public, TpmFault> {
    let form = || TpmFault::Form { what: "endorsement key template in NV", expected: "a TPMT_PUBLIC of its kind" };
    let public = Public::unmarshall(template).map_err(|_| form())?;
    if nonce.is_empty() {
        return Ok(public);
    }
    let padded = |length: usize| {
        let mut bytes = nonce.to_vec();
        bytes.resize(length.max(nonce.len()), 0);
        bytes
    };
    let key = match &public {
        Public::Rsa { .. } => certificate::Key::Rsa(padded(templates::MODULUS)),
        Public::Ecc { .. } => certificate::Key::Point(padded(templates::COORDINATE), vec![0; templates::COORDINATE]),
        Public::KeyedHash { .. } | Public::SymCipher { .. } => return Err(form()),
    };
    with_key(public, &key)
}

/// The public area with `key` in `unique`.
fn with_key(public: Public, key: &certificate::Key) -> Result<Public, TpmFault> {
    let form = || TpmFault::Form { what: "endorsement key", expected: "the algorithm of its template" };
    match (public, key) {
        (
            Public::Rsa { object_attributes, name_hashing_algorithm, auth_policy, parameters, .. },
            certificate::Key::Rsa(modulus),
        ) => {
            let unique = PublicKeyRsa::try_from(modulus.as_slice()).map_err(|_| form())?;
            Ok(Public::Rsa { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique })
        }
        (
            Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, .. },
            certificate::Key::Point(x, y),
        ) => {
            let part = |bytes: &[u8]| EccParameter::try_from(bytes).map_err(|_| form());
            let unique = EccPoint::new(part(x)?, part(y)?);
            Ok(Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique })
        }
        _ => Err(form()),
    }
}
