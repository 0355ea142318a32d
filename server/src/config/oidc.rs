//! `[oidc]`: where JWT-SVIDs are explained to programs that know no SPIFFE; `[exchange]`: whose tokens become JWT-SVIDs.

use std::net::IpAddr;
use std::path::PathBuf;

use holdfast_identity::{SpiffeId, TrustDomain};
use holdfast_svid::audience::Audience;

use super::reader::Reader;
use crate::budget::Rate;
use crate::exchange::{Claim, ExchangeSettings, IssuerSettings, KeySource, Pattern, RULE_CLAIMS_MAX, Rule};
use crate::oidc::{Issuer, OidcSettings};
use crate::web::{CertificateFiles, Place, Site};

/// Issuers of other tokens: each has keys that are fetched and kept.
const ISSUERS_MAX: usize = 32;
/// Rules: each genuine token is compared with all of its issuer's.
const RULES_MAX: usize = 1024;
/// Characters of a name.
const NAME_MAX: usize = 64;
/// Bytes of an issuer's URL.
const URL_BYTES_MAX: usize = 1024;

/// What `[oidc]` says; `None` without it. `issuer` is the claim `iss` of JWT-SVIDs.
pub(super) fn oidc(reader: &mut Reader, issuer: Option<&str>) -> Option<OidcSettings> {
    let place = reader.optional("oidc.listen", str::parse::<Place>);
    let chain = reader.optional("oidc.certificate_file", str::parse::<PathBuf>);
    let key = reader.optional("oidc.key_file", str::parse::<PathBuf>);
    let forwarded = reader.flag("oidc.forwarded_for")?;
    let jwks_uri = reader.optional("oidc.jwks_uri", |text| text.parse::<Issuer>().map(|url| url.to_string()));
    let certificate = match (chain, key) {
        (Some(chain), Some(key)) => Some(CertificateFiles { chain, key }),
        (None, None) => None,
        _ => {
            reader.refuse("oidc.certificate_file", "stands with oidc.key_file, or neither does");
            None
        }
    };
    let Some(place) = place else {
        if certificate.is_some() || jwks_uri.is_some() {
            reader.refuse("oidc.listen", "is required where anything else of oidc is set");
        }
        return None;
    };
    match &place {
        Place::Socket(_) if certificate.is_some() => {
            reader.refuse("oidc.certificate_file", "a Unix socket is for a proxy, which has the certificate");
        }
        Place::Address(_) if certificate.is_none() && !place.is_local() => {
            reader.refuse("oidc.certificate_file", "is required where others than this machine can reach oidc.listen");
        }
        _ => {}
    }
    if forwarded && !place.is_local() {
        reader.refuse("oidc.forwarded_for", "is for a proxy on this machine: others could write what they like");
    }
    let Some(issuer) = issuer else {
        reader.refuse("jwt.issuer", "is required by oidc.listen: it is the issuer whose keys are published");
        return None;
    };
    let issuer = issuer.parse::<Issuer>().map_err(|bad| reader.refuse("jwt.issuer", bad.to_string())).ok()?;
    let site = Site { name: "oidc", place, certificate, forwarded };
    Some(OidcSettings { issuer, jwks_uri, site })
}

/// What `[exchange]` says; `None` without a rule.
pub(super) fn exchange(
    reader: &mut Reader,
    trust_domain: Option<&TrustDomain>,
    (is_served, own): (bool, Option<&str>),
) -> Option<ExchangeSettings> {
    let leeway = reader.seconds("exchange.leeway", 0..=60);
    let per_second = reader.number("exchange.per_second", 1..=10_000);
    let burst = reader.number("exchange.burst", 1..=100_000);
    let mut issuers: Vec<IssuerSettings> = Vec::new();
    for mut one in reader.tables("exchange.issuer") {
        if let Some(issuer) = issuer(&mut one) {
            if issuers.iter().any(|other| other.name == issuer.name || other.issuer == issuer.issuer) {
                one.refuse("name", format!("{:?} or its URL is another issuer's", issuer.name));
            }
            let is_own = |own: &str| own.trim_end_matches('/') == issuer.issuer.trim_end_matches('/');
            if own.is_some_and(is_own) {
                one.refuse("issuer", "is this server's own: a token of ours would be renewed without end");
            }
            issuers.push(issuer);
        }
        reader.absorb(one);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for mut one in reader.tables("exchange.rule") {
        if let Some(rule) = rule(&mut one, trust_domain, &issuers) {
            if rules.iter().any(|other| other.name == rule.name) {
                one.refuse("name", format!("{:?} is another rule's name", rule.name));
            }
            rules.push(rule);
        }
        reader.absorb(one);
    }
    if issuers.len() > ISSUERS_MAX || rules.len() > RULES_MAX {
        reader.refuse("exchange", format!("expected at most {ISSUERS_MAX} issuers and {RULES_MAX} rules"));
    }
    if rules.is_empty() {
        return None;
    }
    if !is_served {
        reader.refuse("exchange.rule", "needs oidc.listen: that is where tokens are exchanged");
    }
    Some(ExchangeSettings {
        issuers,
        rules,
        leeway: u8::try_from(leeway?).ok()?,
        per_source: Rate {
            per_second: f64::from(u32::try_from(per_second?).ok()?),
            burst: f64::from(u32::try_from(burst?).ok()?),
        },
    })
}

fn issuer(reader: &mut Reader) -> Option<IssuerSettings> {
    let name = reader.parsed("name", name);
    let issuer = reader.parsed("issuer", |text| url(text, false));
    let jwks_url = reader.optional("jwks_url", |text| url(text, true));
    let jwks_file = reader.optional("jwks_file", str::parse::<PathBuf>);
    let ca_file = reader.path("ca_file");
    let keys = match (jwks_url, jwks_file) {
        (None, None) => KeySource::Discovery,
        (Some(url), None) => KeySource::Url(url),
        (None, Some(file)) => KeySource::File(file),
        (Some(_), Some(_)) => {
            reader.refuse("jwks_file", "stands beside jwks_url, expected one of them");
            return None;
        }
    };
    Some(IssuerSettings { name: name?, issuer: issuer?, keys, ca_file: ca_file? })
}

fn rule(reader: &mut Reader, trust_domain: Option<&TrustDomain>, issuers: &[IssuerSettings]) -> Option<Rule> {
    let name = reader.parsed("name", name);
    let issuer = reader.parsed("issuer", |text| match issuers.iter().any(|issuer| issuer.name == text) {
        true => Ok(text.to_owned()),
        false => Err(format!("no exchange.issuer has the name {text:?}")),
    });
    let audience = reader.parsed("audience", plain);
    let subject = reader.parsed("subject", Pattern::of_subject);
    let claims = reader.texts("claims");
    let spiffe_id = reader.parsed("spiffe_id", |text| identity(text, trust_domain));
    let audiences = reader.list("audiences").unwrap_or_default();
    let ttl = reader.seconds("ttl", 30..=3600);
    let uses = reader.number("uses", 1..=1000);
    if claims.len() > RULE_CLAIMS_MAX {
        reader.refuse("claims", format!("{} claims, limit {RULE_CLAIMS_MAX}", claims.len()));
    }
    let claims: Vec<Claim> = claims
        .iter()
        .filter_map(|claim| Claim::read(claim).map_err(|problem| reader.refuse("claims", problem)).ok())
        .collect();
    if let Err(bad) = Audience::new(&audiences) {
        reader.refuse("audiences", bad.to_string());
    }
    Some(Rule {
        name: name?,
        issuer: issuer?,
        audience: audience?,
        subject: subject?,
        claims,
        spiffe_id: spiffe_id?,
        audiences,
        ttl: ttl?,
        uses: u32::try_from(uses?).ok()?,
    })
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=NAME_MAX).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("expected 1 to {NAME_MAX} of a-z, 0-9 and -, found {text:?}"))
}

/// An audience: compared as it is.
fn plain(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > URL_BYTES_MAX || text.contains('*') || text.chars().any(char::is_control) {
        return Err(format!("expected a text of at most {URL_BYTES_MAX} bytes without *, found {text:?}"));
    }
    Ok(text.to_owned())
}

fn identity(text: &str, trust_domain: Option<&TrustDomain>) -> Result<SpiffeId, String> {
    let id = text.parse::<SpiffeId>().map_err(|bad| bad.to_string())?;
    if trust_domain.is_some_and(|ours| !id.is_member_of(ours)) {
        return Err(format!("trust domain is {:?}, expected this server's own", id.trust_domain_name()));
    }
    if id.path().is_empty() || id.is_reserved() {
        return Err("expected a path, and none below /holdfast/, which is reserved for the platform itself".to_owned());
    }
    Ok(id)
}

/// An https URL; with `local`, an http one of a loopback address as well.
fn url(text: &str, local: bool) -> Result<String, String> {
    let expected = || format!("expected an https URL without user, query and fragment, found {text:?}");
    let url = text.parse::<hyper::Uri>().map_err(|_| expected())?;
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let secure = text.starts_with("https://") || (local && loopback && text.starts_with("http://"));
    let named = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    let fits = secure && !named && !host.is_empty() && !text.contains(['?', '#']) && text.len() <= URL_BYTES_MAX;
    if fits { Ok(text.to_owned()) } else { Err(expected()) }
}

#[cfg(test)]
mod tests;
