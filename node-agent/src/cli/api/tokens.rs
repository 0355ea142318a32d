//! JWT-SVIDs over the Workload API: fetched and validated, and printed in SPIRE's layout.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use holdfast_protocol::workload::{
    JwtBundlesRequest, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use prost_types::Value;
use prost_types::value::Kind;
use serde_json::{Map, Value as Json, json};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Format, Outcome, Place, client, refused};
use crate::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient;

/// Levels of a claim that are printed; deeper ones are not ours to follow.
const DEPTH_MAX: usize = 32;

/// Fetches a token for each identity, or for the one that is named, and the keys that verify them.
pub(super) async fn fetch(place: &Place, audience: Vec<String>, spiffe_id: String) -> anyhow::Result<Outcome> {
    let mut client = client::connect(&place.address()?).await?;
    let answer = async {
        let request = client::dressed(JwtsvidRequest { audience, spiffe_id });
        let fetched = client.fetch_jwtsvid(request).await?.into_inner();
        Ok((fetched, bundles(&mut client).await?))
    };
    let (fetched, bundles) = match answer.await {
        Ok(answer) => answer,
        Err(status) => return refused(&status),
    };
    match place.output {
        Format::Text => print!("{}", text(&fetched, &bundles)?),
        Format::Json => println!("{}", document(&fetched, &bundles)),
    }
    Ok(Outcome::Yes)
}

/// Validates a token: exit code 1 for one that does not count.
pub(super) async fn validate(place: &Place, audience: String, svid: String) -> anyhow::Result<Outcome> {
    let mut client = client::connect(&place.address()?).await?;
    let request = client::dressed(ValidateJwtsvidRequest { audience, svid: svid.trim().to_owned() });
    match client.validate_jwtsvid(request).await {
        Ok(answer) => {
            let ValidateJwtsvidResponse { spiffe_id, claims } = answer.into_inner();
            let claims = json(Some(Kind::StructValue(claims.unwrap_or_default())), 0);
            match place.output {
                Format::Text => {
                    println!("SVID is valid.\nSPIFFE ID : {}\nClaims    : {claims}", spiffe_id.escape_debug());
                }
                Format::Json => println!("{}", json!({ "spiffe_id": spiffe_id, "claims": claims })),
            }
            Ok(Outcome::Yes)
        }
        Err(status) if status.code() == Code::InvalidArgument => {
            eprintln!("SVID is not valid: {}", status.message().escape_debug());
            Ok(Outcome::Refused)
        }
        Err(status) => refused(&status),
    }
}

async fn bundles(client: &mut SpiffeWorkloadApiClient<Channel>) -> Result<BTreeMap<String, String>, Status> {
    let mut stream = client.fetch_jwt_bundles(client::dressed(JwtBundlesRequest {})).await?.into_inner();
    let answer = stream.message().await?.ok_or_else(|| Status::unavailable("the stream ended"))?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| Status::data_loss("a bundle is not UTF-8"));
    answer.bundles.into_iter().map(|(name, keys)| Ok((name, text(keys)?))).collect()
}

fn text(fetched: &JwtsvidResponse, bundles: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let mut out = String::new();
    for svid in &fetched.svids {
        writeln!(out, "token({}):\n\t{}", svid.spiffe_id.escape_debug(), svid.svid.escape_debug())?;
        if !svid.hint.is_empty() {
            writeln!(out, "hint({}):\n\t{}", svid.spiffe_id.escape_debug(), svid.hint.escape_debug())?;
        }
    }
    for (name, keys) in bundles {
        let plain: String = keys.chars().filter(|c| !c.is_control()).collect();
        writeln!(out, "bundle({}):\n\t{plain}", name.escape_debug())?;
    }
    Ok(out)
}

fn document(fetched: &JwtsvidResponse, bundles: &BTreeMap<String, String>) -> Json {
    let svids = fetched.svids.iter();
    let svids: Vec<Json> =
        svids.map(|svid| json!({ "spiffe_id": svid.spiffe_id, "svid": svid.svid, "hint": svid.hint })).collect();
    let bundles: Map<String, Json> =
        bundles.iter().map(|(name, keys)| (name.clone(), serde_json::from_str(keys).unwrap_or(Json::Null))).collect();
    json!({ "svids": svids, "bundles": bundles })
}

/// A claim as JSON; whole numbers without a fraction.
fn json(kind: Option<Kind>, depth: usize) -> Json {
    let nested = |value: Value| if depth < DEPTH_MAX { json(value.kind, depth + 1) } else { Json::Null };
    match kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::NumberValue(number)) => {
            #[expect(clippy::cast_possible_truncation, reason = "compared with the number that it came from")]
            let whole = number as i64;
            #[expect(clippy::cast_precision_loss, reason = "compared with the number that it came from")]
            let is_whole = whole as f64 == number;
            if is_whole { whole.into() } else { number.into() }
        }
        Some(Kind::ListValue(list)) => list.values.into_iter().map(nested).collect(),
        Some(Kind::StructValue(fields)) => {
            fields.fields.into_iter().map(|(name, value)| (name, nested(value))).collect::<Map<_, _>>().into()
        }
    }
}
