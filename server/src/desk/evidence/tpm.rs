//! What the desk must know of evidence of kind `tpm`: what the record keeps.

use holdfast_evidence::tpm::{ClockInfo, EkIdentity, KnownTpm, TpmClaims};
use serde_json::{Value, json};

use crate::store::{ClockReading, Mark, Node, Sha256};

/// Bytes of the machine's identity before its TPM in what the record keeps.
const IDENTITY_BYTES: usize = 32;

/// The TPM of a node on record. Before it stands what names the machine: the smallest of the endorsement keys of its
/// first admission.
pub(in crate::desk) fn remembered(known: &[u8]) -> Option<KnownTpm> {
    let (_, tpm) = known.split_first_chunk::<IDENTITY_BYTES>()?;
    KnownTpm::parse(tpm).ok()
}

/// The marks of a machine with these endorsement keys.
pub(in crate::desk) fn marks(eks: &[EkIdentity]) -> Vec<Mark> {
    eks.iter().flat_map(|ek| Mark::endorsement_key(Sha256(ek.certificate_sha256), Sha256(ek.spki_sha256))).collect()
}

/// By what a machine is named that was admitted before; also when its keys were forgotten, for its name stays its own.
pub(super) fn machine_identity(node: &Node) -> Option<[u8; IDENTITY_BYTES]> {
    node.spiffe_id.as_ref()?;
    let remembered = node.known.first_chunk().copied();
    remembered.or_else(|| node.marks.iter().filter(|mark| mark.kind == "ek.spki").map(|mark| mark.digest.0).min())
}

/// The name by which the machine stands on record, and what is needed to meet its TPM again.
pub(super) fn known(claims: &TpmClaims, node: Option<&Node>) -> Vec<u8> {
    let identity = node
        .and_then(machine_identity)
        .or_else(|| claims.eks.iter().map(|ek| ek.spki_sha256).min())
        .unwrap_or_default();
    [identity.as_slice(), &claims.known().encode()].concat()
}

/// Manufacturer, model and version of the first key.
pub(super) fn description(claims: &TpmClaims) -> String {
    let texts = claims.eks.first().map(|ek| [ek.manufacturer.as_str(), ek.model.as_str(), ek.version.as_str()]);
    texts.map(|texts| texts.join(" ")).unwrap_or_default()
}

/// The quote's clock as the record compares it.
pub(super) const fn clock(found: ClockInfo) -> ClockReading {
    ClockReading {
        clock: found.clock,
        reset_count: found.reset_count,
        restart_count: found.restart_count,
        safe: found.safe,
    }
}

/// Its endorsement keys, for the operator.
pub(super) fn explain(claims: &TpmClaims) -> Vec<Value> {
    let machine = |ek: &EkIdentity| {
        json!({
            "ek_certificate_sha256": hex::encode(ek.certificate_sha256),
            "ek_sha256": hex::encode(ek.spki_sha256),
            "class": ek.class.to_string(),
            "manufacturer": ek.manufacturer,
            "model": ek.model,
            "version": ek.version,
            "root": ek.root_name,
            "root_sha256": hex::encode(ek.root_sha256),
        })
    };
    claims.eks.iter().map(machine).collect()
}
