//! JWT-SVIDs over the Workload API: signed for whoever calls, and others' validated.

use std::sync::Arc;

use futures_util::future::join_all;
use holdfast_protocol::workload::{
    Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use holdfast_svid::Leeway;
use holdfast_svid::audience::{Audience, BadAudience};
use holdfast_svid::jws::BadToken;
use holdfast_svid::jwt::Unverified;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Value as Json};

use super::caller::Caller;
use super::message::unique_hints;
use super::refusal::Refusal;
use super::subscription::{Sources, Subscription};
use crate::svids::NoToken;

/// Seconds that the clocks of those who make tokens and ours may differ.
const LEEWAY_SECONDS: u8 = 10;

/// Answers `FetchJWTSVID`: a token for each identity of the caller, or for the one that he names.
///
/// # Errors
/// [`Refusal`]; `NoIdentity` where the named one is not his.
pub(super) async fn fetch(
    sources: &Arc<Sources>,
    caller: Option<Arc<Caller>>,
    request: &JwtsvidRequest,
) -> Result<JwtsvidResponse, Refusal> {
    let audience = Audience::new(&request.audience).map_err(Refusal::Audience)?;
    let named = match request.spiffe_id.as_str() {
        "" => None,
        id => Some(id.parse::<holdfast_identity::SpiffeId>().map_err(|_| Refusal::Id)?),
    };
    let (_subscription, update) = Subscription::open(Arc::clone(sources), caller.ok_or(Refusal::Unattested)?).await?;
    let mut svids = unique_hints(&update);
    svids.retain(|svid| named.as_ref().is_none_or(|named| svid.spiffe_id == *named));
    // Several entries may grant one identity: the oldest of them is enough where it was named.
    svids.truncate(if named.is_some() { 1 } else { usize::MAX });
    let tokens = join_all(svids.iter().map(|svid| sources.svids.token(svid, audience.clone()))).await;
    let mut answer = JwtsvidResponse::default();
    for (svid, token) in svids.iter().zip(tokens) {
        match token {
            Ok(token) => answer.svids.push(Jwtsvid {
                spiffe_id: token.spiffe_id.to_string(),
                svid: token.token.clone(),
                hint: svid.hint.clone(),
            }),
            // It went while it was asked for.
            Err(NoToken::Gone) => {}
            Err(NoToken::Unsigned) => return Err(Refusal::Unsigned),
            Err(NoToken::Overloaded) => return Err(Refusal::Overloaded),
        }
    }
    if answer.svids.is_empty() { Err(Refusal::NoIdentity) } else { Ok(answer) }
}

/// Answers `ValidateJWTSVID`: by the keys of the subject's trust domain, if the caller is to know them, and by what the server
/// has withdrawn.
///
/// # Errors
/// [`Refusal`] for the caller, [`BadToken`] for the token.
pub(super) async fn validate(
    sources: &Arc<Sources>,
    caller: Option<Arc<Caller>>,
    request: &ValidateJwtsvidRequest,
) -> Result<Result<ValidateJwtsvidResponse, BadToken>, Refusal> {
    if request.audience.is_empty() {
        return Err(Refusal::Audience(BadAudience::Empty));
    }
    if request.svid.is_empty() {
        return Err(Refusal::NoToken);
    }
    let (_subscription, update) = Subscription::open(Arc::clone(sources), caller.ok_or(Refusal::Unattested)?).await?;
    let judged = Unverified::parse(&request.svid).and_then(|token| {
        let keys = update.jwt_bundles.get(token.claimed_subject().trust_domain_name()).ok_or(BadToken::TrustDomain)?;
        let leeway = Leeway::seconds(LEEWAY_SECONDS);
        let svid = token.verify(keys, &[&request.audience], sources.svids.now(), leeway)?;
        if sources.svids.is_withdrawn(&svid) { Err(BadToken::Withdrawn) } else { Ok(svid) }
    });
    Ok(judged.map(|svid| ValidateJwtsvidResponse {
        spiffe_id: svid.subject().to_string(),
        claims: Some(fields(svid.claims())),
    }))
}

/// Claims as protobuf has them. The depth is that of a token that was read, which is bounded.
fn fields(claims: &Map<String, Json>) -> Struct {
    Struct { fields: claims.iter().map(|(name, value)| (name.clone(), protobuf(value))).collect() }
}

fn protobuf(value: &Json) -> Value {
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(protobuf).collect() }),
        Json::Object(members) => Kind::StructValue(fields(members)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_keep_their_kinds() {
        let claims =
            json!({ "sub": "spiffe://td/a", "aud": ["x"], "exp": 1_000, "ok": true, "no": null, "in": { "n": 1.5 } });
        let fields = fields(claims.as_object().unwrap()).fields;
        let kind = |name: &str| fields[name].kind.clone().unwrap();
        assert_eq!(kind("sub"), Kind::StringValue("spiffe://td/a".to_owned()));
        assert_eq!(kind("exp"), Kind::NumberValue(1000.0));
        assert_eq!(kind("ok"), Kind::BoolValue(true));
        assert_eq!(kind("no"), Kind::NullValue(0));
        assert!(matches!(kind("aud"), Kind::ListValue(list) if list.values.len() == 1));
        assert!(matches!(kind("in"), Kind::StructValue(inner) if inner.fields.contains_key("n")));
    }
}
