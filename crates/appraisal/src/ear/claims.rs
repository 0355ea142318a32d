//! The claims of an attestation result, in CBOR as a CWT has them and in JSON as a JWT does.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::cbor::value::{Integer, Value as Cbor};
use holdfast_identity::UnixTime;
use serde_json::{Value, json};

use super::ItemResult;
use super::vector::{Claim, Tier, TrustVector};

/// The profile of draft-ietf-rats-ear-04.
pub const PROFILE: &str = "tag:ietf.org,2026:rats/ear#04";
/// Bytes of a relying party's nonce.
pub const NONCE_BYTES: RangeInclusive<usize> = 8..=64;

// Keys of CBOR maps: RFC 8392, RFC 9711, and the draft.
const ISS: i64 = 1;
const SUB: i64 = 2;
const EXP: i64 = 4;
const IAT: i64 = 6;
const NONCE: i64 = 10;
const EAT_PROFILE: i64 = 265;
const SUBMODS: i64 = 266;
const STATUS: i64 = 1000;
const VECTOR: i64 = 1001;
const POLICY_IDS: i64 = 1003;
const VERIFIER: i64 = 1004;
const DEVELOPER: i64 = 0;
const BUILD: i64 = 1;

/// Which software appraised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierId {
    /// Who made it.
    pub developer: String,
    /// Which build it is.
    pub build: String,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationResult {
    /// Who says it: the trust domain.
    pub issuer: String,
    /// Of whom: the node's SPIFFE ID, where it has one.
    pub subject: Option<String>,
    /// When it was issued.
    pub issued_at: UnixTime,
    /// When it ends: with the evidence.
    pub expires: Option<UnixTime>,
    /// What the relying party gave to be told that this is new.
    pub nonce: Option<Vec<u8>>,
    /// Which software appraised.
    pub verifier: VerifierId,
    /// By which policies, in their order.
    pub policy_ids: Vec<String>,
    /// Item by item; at least one.
    pub items: Vec<ItemResult>,
    /// The whole is no better than this, however good the items are.
    pub floor: Tier,
}

impl AttestationResult {
    /// The worst status of all items, and never better than the floor.
    #[must_use]
    pub fn status(&self) -> Tier {
        self.items.iter().map(|item| item.status).max().unwrap_or(Tier::Contraindicated).max(self.floor)
    }

    /// As a JWT has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let submods: serde_json::Map<String, Value> = self
            .items
            .iter()
            .map(|item| {
                let mut submod = json!({
                    "ear_status": item.status.as_str(), "ear_trustworthiness_vector": item.vector.to_json(),
                });
                if !self.policy_ids.is_empty() {
                    insert(&mut submod, "ear_appraisal_policy_ids", json!(self.policy_ids));
                }
                (item.label.clone(), submod)
            })
            .collect();
        let mut claims = json!({
            "eat_profile": PROFILE,
            "iss": self.issuer,
            "iat": self.issued_at.seconds(),
            "ear_status": self.status().as_str(),
            "ear_verifier_id": { "developer": self.verifier.developer, "build": self.verifier.build },
            "submods": submods,
        });
        if let Some(subject) = &self.subject {
            insert(&mut claims, "sub", json!(subject));
        }
        if let Some(expires) = self.expires {
            insert(&mut claims, "exp", json!(expires.seconds()));
        }
        if let Some(nonce) = &self.nonce {
            insert(&mut claims, "eat_nonce", json!(URL_SAFE_NO_PAD.encode(nonce)));
        }
        claims
    }

    /// Reads what [`Self::to_json`] writes; claims that it does not know are left out, as the draft wants it.
    pub(super) fn from_json(claims: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let moment = |key: &str| match claims.get(key) {
            None => Some(None),
            Some(value) => value.as_i64().map(|seconds| Some(UnixTime(seconds))),
        };
        let nonce = match claims.get("eat_nonce") {
            None => None,
            Some(nonce) => Some(URL_SAFE_NO_PAD.decode(nonce.as_str()?).ok()?),
        };
        let mut policy_ids = Vec::new();
        let mut items = Vec::new();
        for (label, submod) in claims.get("submods")?.as_object()? {
            items.push(item(
                label,
                Tier::from_name(&text(submod, "ear_status")?)?,
                TrustVector::from_json(submod.get("ear_trustworthiness_vector")?)?,
            ));
            if let Some(ids) = submod.get("ear_appraisal_policy_ids") {
                policy_ids = ids.as_array()?.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<_>>()?;
            }
        }
        let floor = match claims.get("ear_status") {
            None => Tier::None,
            Some(overall) => Tier::from_name(overall.as_str()?)?,
        };
        let verifier = claims.get("ear_verifier_id")?;
        let verifier = VerifierId { developer: text(verifier, "developer")?, build: text(verifier, "build")? };
        let is_ours = text(claims, "eat_profile")? == PROFILE && !items.is_empty();
        let result = Self {
            issuer: text(claims, "iss")?,
            subject: text(claims, "sub"),
            issued_at: moment("iat")??,
            expires: moment("exp")?,
            nonce,
            verifier,
            policy_ids,
            items,
            floor,
        };
        is_ours.then_some(result)
    }

    /// As a CWT has it, in the deterministic encoding of RFC 8949.
    #[must_use]
    pub fn to_cbor(&self) -> Cbor {
        let mut items: Vec<&ItemResult> = self.items.iter().collect();
        items.sort_by_key(|item| (item.label.len(), item.label.clone()));
        let submods = items.into_iter().map(|item| {
            let vector = item.vector.iter().map(|(claim, value)| (number(claim.key()), number(value))).collect();
            let mut submod = vec![(number(STATUS), number(item.status.number())), (number(VECTOR), Cbor::Map(vector))];
            if !self.policy_ids.is_empty() {
                let ids = self.policy_ids.iter().cloned().map(Cbor::Text).collect();
                submod.push((number(POLICY_IDS), Cbor::Array(ids)));
            }
            (Cbor::Text(item.label.clone()), Cbor::Map(submod))
        });
        let submods = Cbor::Map(submods.collect());
        let verifier = Cbor::Map(vec![
            (number(DEVELOPER), Cbor::Text(self.verifier.developer.clone())),
            (number(BUILD), Cbor::Text(self.verifier.build.clone())),
        ]);
        let claims: [(i64, Option<Cbor>); 9] = [
            (ISS, Some(Cbor::Text(self.issuer.clone()))),
            (SUB, self.subject.clone().map(Cbor::Text)),
            (EXP, self.expires.map(|at| number(at.seconds()))),
            (IAT, Some(number(self.issued_at.seconds()))),
            (NONCE, self.nonce.clone().map(Cbor::Bytes)),
            (EAT_PROFILE, Some(Cbor::Text(PROFILE.to_owned()))),
            (SUBMODS, Some(submods)),
            (STATUS, Some(number(self.status().number()))),
            (VERIFIER, Some(verifier)),
        ];
        Cbor::Map(claims.into_iter().filter_map(|(key, value)| Some((number(key), value?))).collect())
    }

    /// Reads what [`Self::to_cbor`] writes; claims that it does not know are left out.
    pub(super) fn from_cbor(claims: &Cbor) -> Option<Self> {
        let claims = map(claims)?;
        let moment = |key: i64| match claims.get(&key) {
            None => Some(None),
            Some(value) => integer(value).map(|seconds| Some(UnixTime(seconds))),
        };
        let text = |value: Option<&&Cbor>| value.and_then(|value| value.as_text()).map(str::to_owned);
        let mut policy_ids = Vec::new();
        let mut items = Vec::new();
        for (label, submod) in claims.get(&SUBMODS)?.as_map()? {
            let submod = map(submod)?;
            let vector = map(submod.get(&VECTOR)?)?.into_iter().map(|(key, value)| {
                let claim = Claim::ALL.into_iter().find(|claim| i64::from(claim.key()) == key)?;
                Some((claim, i8::try_from(integer(value)?).ok()?))
            });
            let vector = vector.collect::<Option<Vec<_>>>()?.into_iter().collect();
            items.push(item(label.as_text()?, Tier::from_number(integer(submod.get(&STATUS)?)?)?, vector));
            if let Some(ids) = submod.get(&POLICY_IDS) {
                let ids = ids.as_array()?.iter().map(|id| id.as_text().map(str::to_owned));
                policy_ids = ids.collect::<Option<_>>()?;
            }
        }
        let floor = match claims.get(&STATUS) {
            None => Tier::None,
            Some(overall) => Tier::from_number(integer(overall)?)?,
        };
        let verifier = map(claims.get(&VERIFIER)?)?;
        let is_ours = text(claims.get(&EAT_PROFILE))? == PROFILE && !items.is_empty();
        let result = Self {
            issuer: text(claims.get(&ISS))?,
            subject: text(claims.get(&SUB)),
            issued_at: moment(IAT)??,
            expires: moment(EXP)?,
            nonce: claims.get(&NONCE).and_then(|nonce| nonce.as_bytes()).cloned(),
            verifier: VerifierId { developer: text(verifier.get(&DEVELOPER))?, build: text(verifier.get(&BUILD))? },
            policy_ids,
            items,
            floor,
        };
        is_ours.then_some(result)
    }
}

/// No status is better than the claims allow.
fn item(label: &str, status: Tier, vector: TrustVector) -> ItemResult {
    let status = status.max(vector.worst());
    ItemResult { label: label.to_owned(), status, vector, because: BTreeMap::new() }
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(key.to_owned(), value);
    }
}

fn number(value: impl Into<Integer>) -> Cbor {
    Cbor::Integer(value.into())
}

fn integer(value: &Cbor) -> Option<i64> {
    value.as_integer().and_then(|value| value.try_into().ok())
}

/// The entries with a number for a key; a key that is there twice makes it none.
fn map(value: &Cbor) -> Option<BTreeMap<i64, &Cbor>> {
    let mut found = BTreeMap::new();
    for (key, value) in value.as_map()? {
        if let Some(key) = integer(key)
            && found.insert(key, value).is_some()
        {
            return None;
        }
    }
    Some(found)
}
