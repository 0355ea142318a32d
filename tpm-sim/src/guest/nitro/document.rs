//! Answers requests to the NSM device: CBOR in, CBOR out.

use ciborium::Value;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use time::OffsetDateTime;

use super::pki::Hypervisor;
use super::spec::NitroSpec;
use crate::error::SimError;

/// PCRs of an enclave's document.
const PCRS: u8 = 16;

/// The device's answer to a request, both CBOR: `{"Attestation": {…}}` and `"DescribeNSM"`; an error for the rest.
///
/// # Errors
/// [`SimError`] if a certificate cannot be made or a field of the specification is not what it must be.
pub fn answer(spec: &NitroSpec, hypervisor: &Hypervisor, request: &[u8]) -> Result<Vec<u8>, SimError> {
    let response = match ciborium::from_reader::<Value, _>(request) {
        Ok(Value::Text(word)) if word == "DescribeNSM" => map([(
            "DescribeNSM",
            map([
                ("version_major", 1.into()),
                ("version_minor", 0.into()),
                ("version_patch", 0.into()),
                ("module_id", spec.module_id.as_str().into()),
                ("max_pcrs", 32.into()),
                ("locked_pcrs", Value::Array(Vec::new())),
                ("digest", "SHA384".into()),
            ]),
        )]),
        Ok(Value::Map(request)) => match request.as_slice() {
            [(Value::Text(word), Value::Map(asked))] if word == "Attestation" => {
                let document = document(spec, hypervisor, asked)?;
                map([("Attestation", map([("document", Value::Bytes(document))]))])
            }
            _ => map([("Error", "InvalidOperation".into())]),
        },
        _ => map([("Error", "InvalidArgument".into())]),
    };
    Ok(encoded(&response))
}

fn document(spec: &NitroSpec, hypervisor: &Hypervisor, asked: &[(Value, Value)]) -> Result<Vec<u8>, SimError> {
    let leaf = hypervisor.leaf(&spec.module_id, &spec.instance_id, &spec.region)?;
    let wanted = |name: &str| {
        asked.iter().find(|(key, _)| key.as_text() == Some(name)).map_or(Value::Null, |(_, value)| value.clone())
    };
    let lied = |lie: &Option<String>, name: &str| match lie {
        Some(text) => hex::decode(text).map(Value::Bytes).map_err(|_| bad("nonce or user_data")),
        None => Ok(wanted(name)),
    };
    let mut pcrs = Vec::new();
    for number in 0..PCRS {
        let value = match spec.pcrs.get(&number) {
            None => vec![0; 48],
            Some(text) => hex::decode(text).ok().filter(|value| value.len() == 48).ok_or_else(|| bad("pcrs"))?,
        };
        pcrs.push((Value::from(number), Value::Bytes(value)));
    }
    let now = OffsetDateTime::now_utc() + time::Duration::seconds(spec.time_shift);
    let milliseconds = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let payload = encoded(&map([
        ("module_id", spec.module_id.as_str().into()),
        ("digest", "SHA384".into()),
        ("timestamp", milliseconds.into()),
        ("pcrs", Value::Map(pcrs)),
        ("certificate", Value::Bytes(leaf.der.clone())),
        ("cabundle", Value::Array(leaf.cabundle.iter().cloned().map(Value::Bytes).collect())),
        ("public_key", wanted("public_key")),
        ("user_data", lied(&spec.user_data, "user_data")?),
        ("nonce", lied(&spec.nonce, "nonce")?),
    ]));
    // {1: -35}
    let protected = encoded(&Value::Map(vec![(1.into(), (-35).into())]));
    let signed = encoded(&Value::Array(vec![
        "Signature1".into(),
        Value::Bytes(protected.clone()),
        Value::Bytes(Vec::new()),
        Value::Bytes(payload.clone()),
    ]));
    let pkcs8 = if spec.signed_by_another {
        hypervisor.leaf(&spec.module_id, &spec.instance_id, &spec.region)?.key.serialize_der()
    } else {
        leaf.key.serialize_der()
    };
    let rng = SystemRandom::new();
    let signature = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &pkcs8, &rng)
        .map_err(|_| bad("leaf key"))?
        .sign(&rng, &signed)
        .map_err(|_| bad("signature"))?;
    let mut document = encoded(&Value::Array(vec![
        Value::Bytes(protected),
        Value::Map(Vec::new()),
        Value::Bytes(payload),
        Value::Bytes(signature.as_ref().to_vec()),
    ]));
    if let Some(byte) = spec.flipped_byte.and_then(|at| document.get_mut(at)) {
        *byte ^= 1;
    }
    Ok(document)
}

fn bad(what: &'static str) -> SimError {
    SimError::Guest { what, problem: "is not what it must be".to_owned() }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = ciborium::into_writer(value, &mut bytes);
    bytes
}
