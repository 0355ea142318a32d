//! What the desk must know of evidence of kind `tpm`: what the record keeps.

use holdfast_appraisal::facts::{FactId, OwnershipFact, owner_digest, platform_id};
use holdfast_appraisal::{Value, digest_of};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tpm::ownership::{DeviceRole, Factor, Ownership, Unowned};
use holdfast_evidence::tpm::{ClockInfo, EkIdentity, KnownTpm, TpmClaims};
use holdfast_evidence::x509::RootIdentity;
use serde_json::{Value as Json, json};

use crate::desk::rules::Rules;
use crate::store::{ClockReading, Mark, Marks, Node, Serves, Sha256};

/// Bytes of the machine's identity before its TPM in what the record keeps.
const IDENTITY_BYTES: usize = 32;

/// The TPM of a node on record. Before it stands what names the machine: the smallest of the endorsement keys of its
/// first admission.
pub(in crate::desk) fn remembered(known: &[u8]) -> Option<KnownTpm> {
    let (_, tpm) = known.split_first_chunk::<IDENTITY_BYTES>()?;
    KnownTpm::parse(tpm).ok()
}

/// A TPM on record as far as its roots are trusted at this moment, with the classes that they have now: what rests on a
/// maker's root that was withdrawn is known no more. The machine itself rests on its endorsement keys, and is refused without
/// their roots.
pub(in crate::desk) fn as_trusted_now(mut known: KnownTpm, rules: &Rules) -> KnownTpm {
    known.ownership = known.ownership.trusted_by(|factor, root| rules.trusts(serves(factor), root));
    for ek in &mut known.eks {
        ek.class = rules.class_of(EvidenceKind::Tpm, &ek.root_sha256).unwrap_or(ek.class);
    }
    if let Some(platform) = &mut known.ownership.platform {
        let root = &mut platform.root;
        root.class = rules.class_of(Serves::Platforms, &root.sha256).unwrap_or(root.class);
    }
    for device in &mut known.ownership.devices {
        let root = &mut device.root;
        root.class = rules.class_of(Serves::Devices, &root.sha256).unwrap_or(root.class);
    }
    known
}

/// Whose roots speak for it.
pub(in crate::desk) const fn serves(factor: Factor) -> Serves {
    match factor {
        Factor::Platform => Serves::Platforms,
        Factor::Device(_) => Serves::Devices,
    }
}

/// By what the machine is recognised: its endorsement keys, which were activated, and its IAK, which states only what its
/// own TPM holds. A platform certificate, and an IDevID, which signs whatever it is given, are its maker's word for it: any
/// imported maker may say of his machine that it is another's.
pub(super) fn machine_marks(claims: &TpmClaims) -> Marks {
    let mark = |kind: &str, digest| Mark { kind: kind.to_owned(), digest: Sha256(digest) };
    let mut found = Marks::from(marks(&claims.eks));
    // As inventories list them, under their names; so they are found and banned, too.
    let listed = |fact: OwnershipFact, digest: [u8; 32]| {
        let id = FactId::Owned(fact);
        let value = digest_of(&digest).map(Value::Digest);
        value.map(|value| mark(&id.to_string(), owner_digest(id, &value)))
    };
    if let Some(platform) = &claims.ownership.platform {
        found.mentioned.extend(listed(OwnershipFact::PlatformCertificate, platform.certificate_sha256));
        found.mentioned.push(mark("platform.certificate", platform.certificate_sha256));
        let id =
            platform_id(platform).map(|id| owner_digest(FactId::Owned(OwnershipFact::PlatformId), &Value::text(&id)));
        found.mentioned.extend(id.map(|digest| mark("platform.id", digest)));
    }
    for device in &claims.ownership.devices {
        let [of_certificate, of_spki] = match device.role {
            DeviceRole::Iak => [OwnershipFact::IakCertificate, OwnershipFact::IakSpki],
            DeviceRole::IdevId => [OwnershipFact::IdevidCertificate, OwnershipFact::IdevidSpki],
        };
        found.mentioned.extend(listed(of_certificate, device.certificate_sha256));
        found.mentioned.extend(listed(of_spki, device.spki_sha256));
        let (marks, [certificate, spki]) = match device.role {
            DeviceRole::Iak => (&mut found.proven, ["iak.certificate", "iak.spki"]),
            DeviceRole::IdevId => (&mut found.mentioned, ["idevid.certificate", "idevid.spki"]),
        };
        marks.push(mark(certificate, device.certificate_sha256));
        marks.push(mark(spki, device.spki_sha256));
    }
    found
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

/// Its endorsement keys and its maker's words, for the operator.
pub(super) fn explain(claims: &TpmClaims) -> Vec<Json> {
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
    let owned = (!claims.ownership.is_empty()).then(|| explain_ownership(&claims.ownership));
    claims.eks.iter().map(machine).chain(owned).collect()
}

fn explain_ownership(ownership: &Ownership) -> Json {
    let root = |root: &RootIdentity| json!({ "name": root.name, "sha256": hex::encode(root.sha256), "class": root.class.to_string() });
    let platform = ownership.platform.as_ref().map(|platform| {
        json!({
            "certificate_sha256": hex::encode(platform.certificate_sha256),
            "manufacturer": platform.manufacturer,
            "model": platform.model,
            "version": platform.version,
            "serial": platform.serial,
            "root": root(&platform.root),
        })
    });
    let device = |role: DeviceRole| {
        let device = ownership.device(role)?;
        Some(json!({
            "key_sha256": hex::encode(device.spki_sha256),
            "certificate_sha256": hex::encode(device.certificate_sha256),
            "serial": device.serial,
            "root": root(&device.root),
        }))
    };
    let left_aside: Vec<&str> =
        ownership.left_aside.iter().map(|factor| Unowned::Untrusted { factor: *factor }.code()).collect();
    json!({
        "platform": platform,
        "iak": device(DeviceRole::Iak),
        "idevid": device(DeviceRole::IdevId),
        "left_aside": left_aside,
    })
}
