//! Rules of exchange: whose token, for whom, of which subject and with which claims, becomes which SPIFFE ID. Everything
//! is pinned; what a rule does not name it does not believe.

use holdfast_identity::SpiffeId;
use serde_json::{Map, Value};

use super::pattern::Pattern;

/// Claims in one rule.
pub const RULE_CLAIMS_MAX: usize = 32;
/// Levels of a claim within others.
const CLAIM_LEVELS_MAX: usize = 8;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, for the record and for operators.
    pub name: String,
    /// Whose tokens: the name of an issuer in the configuration.
    pub issuer: String,
    /// What the token's audience must name.
    pub audience: String,
    /// Its subject.
    pub subject: Pattern,
    /// Further claims.
    pub claims: Vec<Claim>,
    /// The identity that it is exchanged for.
    pub spiffe_id: SpiffeId,
    /// For whom the JWT-SVID may be; never empty.
    pub audiences: Vec<String>,
    /// Seconds that it lives.
    pub ttl: i64,
    /// How often one token may be exchanged.
    pub uses: u32,
}

/// A claim that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name; within other claims, theirs before it.
    path: Vec<String>,
    value: Pattern,
}

impl Claim {
    /// Reads `NAME=VALUE`, or `OUTER/NAME=VALUE` for a claim within another.
    ///
    /// # Errors
    /// What was expected.
    pub fn read(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or_else(|| format!("expected NAME=VALUE, found {text:?}"))?;
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) || path.len() > CLAIM_LEVELS_MAX {
            return Err(format!("expected a name, or names with / between them, found {text:?}"));
        }
        if let [name] = path.as_slice()
            && matches!(name.as_str(), "iss" | "aud" | "sub" | "exp" | "nbf")
        {
            return Err(format!("{name} is pinned by the rule itself"));
        }
        let value = value.parse().map_err(|bad| format!("{text:?}: {bad}"))?;
        Ok(Self { path, value })
    }

    /// The claim as text, if it is there and has one.
    fn found(&self, claims: &Map<String, Value>) -> Option<String> {
        let (last, outer) = self.path.split_last()?;
        let mut within = claims;
        for name in outer {
            within = within.get(name)?.as_object()?;
        }
        match within.get(last)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// A pin of a rule that a token does not meet. For operators: it has words of the token in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// Which claim.
    pub claim: String,
    /// What the rule wants.
    pub expected: String,
    /// What the token says; `None` where it says nothing that could match.
    pub found: Option<String>,
}

impl Rule {
    /// The pins that a token, whose claims were verified, does not meet; none for a token that the rule is for.
    #[must_use]
    pub fn differs(&self, claims: &Map<String, Value>) -> Vec<Differs> {
        let mut differs = Vec::new();
        if !names_audience(claims, &self.audience) {
            let found = claims.get("aud").map(ToString::to_string);
            differs.push(Differs { claim: "aud".to_owned(), expected: self.audience.clone(), found });
        }
        let subject = claims.get("sub").and_then(Value::as_str);
        if !subject.is_some_and(|subject| self.subject.matches(subject)) {
            let found = subject.map(str::to_owned);
            differs.push(Differs { claim: "sub".to_owned(), expected: self.subject.to_string(), found });
        }
        for claim in &self.claims {
            let found = claim.found(claims);
            if !found.as_ref().is_some_and(|found| claim.value.matches(found)) {
                let expected = claim.value.to_string();
                differs.push(Differs { claim: claim.path.join("/"), expected, found });
            }
        }
        differs
    }
}

/// Whether the claim `aud`, a text or a list of texts, names `audience`.
fn names_audience(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(name)) => name == audience,
        Some(Value::Array(names)) => names.iter().any(|name| name.as_str() == Some(audience)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(in crate::exchange) fn rule() -> Rule {
        Rule {
            name: "release".to_owned(),
            issuer: "github".to_owned(),
            audience: "https://td.example".to_owned(),
            subject: Pattern::of_subject("repo:acme/app:ref:refs/heads/release-*").unwrap(),
            claims: [
                "repository_owner_id=12",
                "runner_environment=github-hosted",
                "kubernetes.io/namespace=ci",
                "on=true",
            ]
            .map(|claim| Claim::read(claim).unwrap())
            .to_vec(),
            spiffe_id: "spiffe://td/ci/release".parse().unwrap(),
            audiences: vec!["sts.amazonaws.com".to_owned()],
            ttl: 300,
            uses: 1,
        }
    }

    fn claims() -> Value {
        json!({
            "aud": "https://td.example", "sub": "repo:acme/app:ref:refs/heads/release-1", "repository_owner_id": "12",
            "runner_environment": "github-hosted", "kubernetes.io": { "namespace": "ci" }, "on": true, "more": [1],
        })
    }

    fn differs(claims: &Value) -> Vec<String> {
        rule().differs(claims.as_object().unwrap()).into_iter().map(|differs| differs.claim).collect()
    }

    #[test]
    fn a_token_that_meets_every_pin_is_the_rules() {
        assert_eq!(differs(&claims()), [""; 0]);
        let mut several = claims();
        several["aud"] = json!(["other", "https://td.example"]);
        assert_eq!(differs(&several), [""; 0]);
    }

    #[test]
    fn each_pin_that_is_not_met_is_named() {
        for (claim, value, named) in [
            ("aud", json!("https://td.example.evil"), "aud"),
            ("aud", json!([]), "aud"),
            ("aud", json!({ "https://td.example": 1 }), "aud"),
            ("sub", json!("repo:acme/app:ref:refs/heads/main"), "sub"),
            ("sub", json!(["repo:acme/app:ref:refs/heads/release-1"]), "sub"),
            ("repository_owner_id", json!("13"), "repository_owner_id"),
            ("repository_owner_id", json!(["12"]), "repository_owner_id"),
            ("runner_environment", json!("self-hosted"), "runner_environment"),
            ("kubernetes.io", json!({ "namespace": "prod" }), "kubernetes.io/namespace"),
            ("kubernetes.io", json!("ci"), "kubernetes.io/namespace"),
            ("on", json!(false), "on"),
            ("on", json!(null), "on"),
        ] {
            let mut changed = claims();
            changed[claim] = value;
            assert_eq!(differs(&changed), [named], "{changed}");
            changed.as_object_mut().unwrap().remove(claim);
            assert_eq!(differs(&changed), [named], "{claim} is absent");
        }
        let mut number = claims();
        number["repository_owner_id"] = json!(12);
        assert_eq!(differs(&number), [""; 0], "a number reads as its digits");
    }

    #[test]
    fn a_claim_is_read_with_its_place_and_may_not_pin_what_the_rule_does() {
        for wrong in ["a", "=b", "a/=b", "a=*", "sub=x", "iss=x", "aud=x", "a=", "a/b/c/d/e/f/g/h/i=x"] {
            assert!(Claim::read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Claim::read("a/sub=x=y").unwrap().value.to_string(), "x=y");
    }
}
