//! What the two tables accept, and that nothing open is among it.

use super::super::Config;

const SITE: &str = "trust_domain = \"td\"\n[jwt]\nissuer = \"https://oidc.td\"\n[oidc]\nlisten = \"127.0.0.1:8444\"\n";
const ISSUER: &str =
    "[[exchange.issuer]]\nname = \"github\"\nissuer = \"https://token.actions.githubusercontent.com\"\n";
const RULE: &str = "[[exchange.rule]]\nname = \"release\"\nissuer = \"github\"\naudience = \"https://td\"\n\
                    subject = \"repo:acme/app:ref:refs/heads/main\"\nclaims = [\"repository_owner_id=12\"]\n\
                    spiffe_id = \"spiffe://td/ci/release\"\naudiences = [\"sts.amazonaws.com\"]\n";

fn read(text: &str) -> Result<Config, Vec<String>> {
    Config::read(text.parse().unwrap()).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().join("\n")
}

#[test]
fn a_site_and_its_rules_are_read() {
    let config = read(&format!("{SITE}{ISSUER}{RULE}")).unwrap();
    assert_eq!(config.oidc.unwrap().issuer.as_str(), "https://oidc.td");
    let exchange = config.exchange.unwrap();
    let rule = &exchange.rules[0];
    assert_eq!((exchange.leeway, rule.ttl, rule.uses), (30, 300, 1));
    assert_eq!((rule.audiences.as_slice(), rule.claims.len()), (&["sts.amazonaws.com".to_owned()][..], 1));
    assert!(read("trust_domain = \"td\"").unwrap().oidc.is_none());
}

#[test]
fn a_site_that_strangers_reach_has_a_certificate_and_an_issuer() {
    for (from, to, expected) in [
        ("127.0.0.1:8444", "0.0.0.0:8444", "oidc.certificate_file"),
        ("issuer = \"https://oidc.td\"", "", "jwt.issuer: is required"),
        ("https://oidc.td", "http://oidc.td", "jwt.issuer: expected an https URL"),
        ("https://oidc.td", "https://oidc.td/", "jwt.issuer: expected an https URL"),
        ("\"127.0.0.1:8444\"", "\"127.0.0.1:8444\"\nkey_file = \"/k\"", "oidc.certificate_file: stands with"),
        ("listen = \"127.0.0.1:8444\"", "jwks_uri = \"https://cdn.td/keys\"", "oidc.listen: is required"),
        ("\"127.0.0.1:8444\"", "\"unix:oidc.sock\"", "oidc.listen: expected an address"),
        ("\"127.0.0.1:8444\"", "\"127.0.0.1:8444\"\njwks_uri = \"http://a\"", "oidc.jwks_uri"),
    ] {
        let found = refused(&SITE.replace(from, to));
        assert!(found.contains(expected), "{to}: {found}");
    }
    let files = "\ncertificate_file = \"/c\"\nkey_file = \"/k\"";
    let open = SITE.replace("\"127.0.0.1:8444\"", &format!("\"0.0.0.0:8444\"{files}"));
    assert!(read(&open).is_ok());
    assert!(refused(&format!("{open}forwarded_for = true\n")).contains("oidc.forwarded_for"));
}

#[test]
fn a_rule_pins_everything_and_gives_nothing_of_the_platforms_own() {
    let with = |from: &str, to: &str| refused(&format!("{SITE}{ISSUER}{}", RULE.replace(from, to)));
    for (from, to, expected) in [
        ("repo:acme/app:ref:refs/heads/main", "*", "subject: expected more than stars"),
        ("repo:acme/app:ref:refs/heads/main", "repo:*", "subject: expected at least 2 whole segments"),
        ("repo:acme/app:ref:refs/heads/main", "", "subject: expected 1 to"),
        ("\"https://td\"", "\"*\"", "audience: expected a text"),
        ("repository_owner_id=12", "repository_owner_id=*", "claims: "),
        ("repository_owner_id=12", "repository_owner_id", "claims: expected NAME=VALUE"),
        ("spiffe://td/ci/release", "spiffe://td/holdfast/server", "spiffe_id: expected a path, and none below"),
        ("spiffe://td/ci/release", "spiffe://td", "spiffe_id: expected a path"),
        ("spiffe://td/ci/release", "spiffe://other/ci", "spiffe_id: trust domain"),
        ("audiences = [\"sts.amazonaws.com\"]", "", "audiences: expected at least one"),
        ("issuer = \"github\"", "issuer = \"gitlab\"", "issuer: no exchange.issuer"),
        ("audience =", "ttl = \"2h\"\naudience =", "ttl: expected 30 s to 3600 s"),
        ("audience =", "uses = 0\naudience =", "uses: expected a number from 1 to 1000"),
        ("audience =", "sub = 1\naudience =", "is no key"),
    ] {
        let found = with(from, to);
        assert!(found.contains("exchange.rule[1].") && found.contains(expected), "{to}: {found}");
    }
    assert!(refused(&format!("{SITE}{ISSUER}{RULE}{RULE}")).contains("another rule's name"));
    assert!(refused(&format!("trust_domain = \"td\"\n{ISSUER}{RULE}")).contains("needs oidc.listen"));
}

#[test]
fn an_issuer_is_reached_over_https_and_its_leeway_is_a_minute_at_most() {
    let with = |more: &str| refused(&format!("{SITE}{ISSUER}{more}\n{RULE}"));
    assert!(with("jwks_url = \"http://keys.example.org\"").contains("jwks_url: expected an https URL"));
    assert!(with("jwks_url = \"https://a\"\njwks_file = \"/b\"").contains("expected one of them"));
    assert!(read(&format!("{SITE}{ISSUER}jwks_url = \"http://127.0.0.1:1/keys\"\n{RULE}")).is_ok());
    let plain = ISSUER.replace("https://token", "http://token");
    assert!(refused(&format!("{SITE}{plain}{RULE}")).contains("issuer: expected an https URL"));
    assert!(
        refused(&format!("{SITE}[exchange]\nleeway = \"61s\"\n")).contains("exchange.leeway: expected 0 s to 60 s")
    );
    for own in ["https://oidc.td", "https://oidc.td/"] {
        let own = ISSUER.replace("https://token.actions.githubusercontent.com", own);
        assert!(refused(&format!("{SITE}{own}{RULE}")).contains("issuer: is this server's own"));
    }
    assert!(refused(&format!("{SITE}{ISSUER}{ISSUER}{RULE}")).contains("another issuer's"));
}
