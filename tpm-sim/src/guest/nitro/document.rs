//! Answers requests to the NSM device: CBOR in, CBOR out.

use ciborium::Value;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use time::OffsetDateTime;

use super::cbor::{encoded, indefinite, map};
use super::pki::{Hypervisor, Module};
use super::spec::{DocumentSpec, Lie, NitroSpec};
use crate::error::SimError;
use crate::guest::malleable;

/// PCRs of an enclave's document.
const PCRS: u8 = 16;
/// The tag of a COSE_Sign1.
const TAG: u64 = 18;

/// What somebody asked to have signed along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `nonce`.
    pub nonce: Option<Vec<u8>>,
    /// `user_data`.
    pub user_data: Option<Vec<u8>>,
    /// `public_key`.
    pub public_key: Option<Vec<u8>>,
}

/// What a document is about.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// The module.
    pub module_id: &'a str,
    /// The instance.
    pub instance_id: &'a str,
    /// The region.
    pub region: &'a str,
    /// The key that the PCRs stand under: `pcrs`, or `nitrotpm_pcrs`.
    pub pcrs_key: &'static str,
    /// The PCRs.
    pub pcrs: Vec<(u8, Vec<u8>)>,
}

/// The device's answer to a request of an enclave, both CBOR.
///
/// # Errors
/// [`SimError`] if a certificate cannot be made or a field of the specification is not what it must be.
pub fn answer(spec: &NitroSpec, hypervisor: &Hypervisor, request: &[u8]) -> Result<Vec<u8>, SimError> {
    respond(&spec.module_id, request, &mut |asked| enclave_document(spec, hypervisor, asked))
}

/// The document of an enclave that asked for this.
///
/// # Errors
/// [`SimError`] if a certificate cannot be made or a field of the specification is not what it must be.
pub fn enclave_document(spec: &NitroSpec, hypervisor: &Hypervisor, asked: &Asked) -> Result<Vec<u8>, SimError> {
    let mut pcrs = Vec::new();
    for number in 0..PCRS {
        let value = match spec.pcrs.get(&number) {
            None => vec![0; 48],
            Some(text) => hex::decode(text).ok().filter(|value| value.len() == 48).ok_or_else(|| bad("pcrs"))?,
        };
        pcrs.push((number, value));
    }
    let NitroSpec { module_id, instance_id, region, .. } = spec;
    let measured = Measured { module_id, instance_id, region, pcrs_key: "pcrs", pcrs };
    document(&measured, &spec.document, hypervisor, asked)
}

/// Answers `"DescribeNSM"` and `{"Attestation": …}`, an error for the rest.
pub(crate) fn respond(
    module_id: &str,
    request: &[u8],
    make: &mut dyn FnMut(&Asked) -> Result<Vec<u8>, SimError>,
) -> Result<Vec<u8>, SimError> {
    let response = match ciborium::from_reader::<Value, _>(request) {
        Ok(Value::Text(word)) if word == "DescribeNSM" => map([(
            "DescribeNSM",
            map([
                ("version_major", 1.into()),
                ("version_minor", 0.into()),
                ("version_patch", 0.into()),
                ("module_id", module_id.into()),
                ("max_pcrs", 32.into()),
                ("locked_pcrs", Value::Array(Vec::new())),
                ("digest", "SHA384".into()),
            ]),
        )]),
        Ok(Value::Map(request)) => match request.as_slice() {
            [(Value::Text(word), Value::Map(asked))] if word == "Attestation" => {
                let document = make(&Asked::read(asked))?;
                map([("Attestation", map([("document", Value::Bytes(document))]))])
            }
            _ => map([("Error", "InvalidOperation".into())]),
        },
        _ => map([("Error", "InvalidArgument".into())]),
    };
    Ok(encoded(&response))
}

impl Asked {
    fn read(entries: &[(Value, Value)]) -> Self {
        let wanted = |name: &str| {
            let found = entries.iter().find(|(key, _)| key.as_text() == Some(name));
            found.and_then(|(_, value)| value.as_bytes().cloned())
        };
        Self { nonce: wanted("nonce"), user_data: wanted("user_data"), public_key: wanted("public_key") }
    }
}

/// A document, signed.
///
/// # Errors
/// [`SimError`] if a certificate cannot be made or a field of the specification is not what it must be.
pub fn document(
    measured: &Measured<'_>,
    spec: &DocumentSpec,
    hypervisor: &Hypervisor,
    asked: &Asked,
) -> Result<Vec<u8>, SimError> {
    let Measured { module_id, instance_id, region, .. } = *measured;
    let module = Module { module_id, instance_id, region };
    let leaf = hypervisor.leaf(module, spec.lie)?;
    let entries = payload(measured, spec, asked, &leaf.der, &leaf.cabundle)?;
    let payload = if spec.indefinite { indefinite(&entries) } else { encoded(&Value::Map(entries)) };
    // {1: -35}, or {1: -7}
    let algorithm = if spec.lie == Some(Lie::OtherAlgorithm) { -7 } else { -35 };
    let protected = encoded(&Value::Map(vec![(1.into(), algorithm.into())]));
    let signed = encoded(&Value::Array(vec![
        "Signature1".into(),
        Value::Bytes(protected.clone()),
        Value::Bytes(Vec::new()),
        Value::Bytes(payload.clone()),
    ]));
    let signer = if spec.lie == Some(Lie::OtherLeaf) { hypervisor.leaf(module, spec.lie)? } else { leaf };
    let form = match spec.lie {
        Some(Lie::DerSignature) => &ECDSA_P384_SHA384_ASN1_SIGNING,
        _ => &ECDSA_P384_SHA384_FIXED_SIGNING,
    };
    let rng = SystemRandom::new();
    let signature = EcdsaKeyPair::from_pkcs8(form, &signer.key.serialize_der(), &rng)
        .map_err(|_| bad("leaf key"))?
        .sign(&rng, &signed)
        .map_err(|_| bad("signature"))?;
    let signature = match spec.negated_signature {
        true => malleable::negated(&malleable::P384_ORDER, signature.as_ref()),
        false => signature.as_ref().to_vec(),
    };
    let envelope = Value::Array(vec![
        Value::Bytes(protected),
        Value::Map(Vec::new()),
        Value::Bytes(payload),
        Value::Bytes(signature),
    ]);
    let mut document = encoded(&if spec.tagged { Value::Tag(TAG, Box::new(envelope)) } else { envelope });
    let flipped_pcr = spec.flipped_pcr.and_then(|pcr| {
        let (_, value) = measured.pcrs.iter().find(|(number, _)| *number == pcr)?;
        document.windows(value.len()).position(|window| window == value)
    });
    for at in [spec.flipped_byte, flipped_pcr].into_iter().flatten() {
        if let Some(byte) = document.get_mut(at) {
            *byte ^= 1;
        }
    }
    if let Some(behind) = &spec.behind_document {
        document.extend(hex::decode(behind).map_err(|_| bad("behind_document"))?);
    }
    Ok(document)
}

fn payload(
    measured: &Measured<'_>,
    spec: &DocumentSpec,
    asked: &Asked,
    certificate: &[u8],
    cabundle: &[Vec<u8>],
) -> Result<Vec<(Value, Value)>, SimError> {
    let text = |name: &str| Value::from(name);
    let or_null = |bytes: Option<Vec<u8>>| bytes.filter(|bytes| !bytes.is_empty()).map_or(Value::Null, Value::Bytes);
    let lied = |lie: &Option<String>, honest: &Option<Vec<u8>>, what| match lie {
        Some(text) => hex::decode(text).map(Some).map_err(|_| bad(what)),
        None => Ok(honest.clone()),
    };
    let mut user_data = lied(&spec.user_data, &asked.user_data, "user_data")?;
    if let Some(behind) = &spec.behind_user_data {
        let behind = hex::decode(behind).map_err(|_| bad("behind_user_data"))?;
        user_data = Some([user_data.unwrap_or_default(), behind].concat());
    }
    if let (Some(kept), Some(user_data)) = (spec.user_data_bytes, user_data.as_mut()) {
        user_data.truncate(kept);
    }
    let nonce = lied(&spec.nonce, &asked.nonce, "nonce")?;
    let now = OffsetDateTime::now_utc() + time::Duration::seconds(spec.time_shift);
    let milliseconds = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let pcrs_key = match (spec.lie, measured.pcrs_key) {
        (Some(Lie::OtherKind), "pcrs") => "nitrotpm_pcrs",
        (Some(Lie::OtherKind), _) => "pcrs",
        (_, honest) => honest,
    };
    let pcrs = measured.pcrs.iter().filter(|(number, _)| !spec.without_pcrs.contains(number));
    let pcrs = pcrs.map(|(number, value)| (Value::from(*number), Value::Bytes(value.clone()))).collect();
    let digest = if spec.lie == Some(Lie::OtherDigest) { "SHA256" } else { "SHA384" };
    let mut entries = vec![
        (text("module_id"), measured.module_id.into()),
        (text("digest"), digest.into()),
        (text("timestamp"), milliseconds.into()),
        (text(pcrs_key), Value::Map(pcrs)),
        (text("certificate"), Value::Bytes(certificate.to_vec())),
        (text("cabundle"), Value::Array(cabundle.iter().cloned().map(Value::Bytes).collect())),
        (text("public_key"), or_null(lied(&spec.public_key, &asked.public_key, "public_key")?)),
        (text("user_data"), or_null(user_data)),
        (text("nonce"), or_null(nonce.clone())),
    ];
    match spec.lie {
        Some(Lie::NonceTwice) => entries.push((text("nonce"), or_null(nonce))),
        Some(Lie::UnknownKey) => entries.push((text("trusted"), Value::Bool(true))),
        _ => {}
    }
    Ok(entries)
}

fn bad(what: &'static str) -> SimError {
    SimError::Guest { what, problem: "is not what it must be".to_owned() }
}
