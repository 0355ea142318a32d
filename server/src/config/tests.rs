//! What the configuration accepts, and how it says what it does not.

use super::*;

fn read(text: &str) -> Result<Config, Vec<String>> {
    Config::read(text.parse().unwrap()).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_trust_domain_is_enough() {
    let config = read("trust_domain = \"example.org\"").unwrap();
    assert_eq!(config.trust_domain.as_str(), "example.org");
    assert_eq!(config.database, config.data_dir.join("holdfast.sqlite"));
    assert_eq!(config.simulated, Simulated::Refused);
    assert_eq!(config.lifetimes.node_svid, 7200);
    assert_eq!(config.limits.listen, ListenLimits::default());
}

#[test]
fn every_problem_is_reported_at_once_with_its_key() {
    let problems = read(
        "listen = \"nowhere\"\nadmin_soket = \"/x\"\nallow_simulated = \"perhaps\"\n\
         [lifetimes]\nnode_svid = \"2 weeks\"\nx509_svid = \"30d\"\n[limits]\nconnections = 0\n[log]\nformat = \"xml\"",
    )
    .unwrap_err();
    let keys: Vec<&str> = problems.iter().filter_map(|problem| problem.split(':').next()).collect();
    assert_eq!(
        keys,
        [
            "admin_soket",
            "allow_simulated",
            "lifetimes.node_svid",
            "lifetimes.x509_svid",
            "limits.connections",
            "listen",
            "log.format",
            "trust_domain"
        ]
    );
    assert!(problems[0].contains("did you mean \"admin_socket\"?"), "{}", problems[0]);
}

#[test]
fn a_service_is_a_url_or_none() {
    let read_url = |url: &str| read(&format!("trust_domain = \"td\"\n[endorsements]\namd_url = \"{url}\""));
    assert_eq!(read_url("none").unwrap().endorse.amd_url, None);
    for url in ["https://kds.example.org", "http://[::1]:8081/mirror"] {
        assert_eq!(read_url(url).unwrap().endorse.amd_url.as_deref(), Some(url));
    }
    for bad in ["", "kds.example.org", "ftp://kds", "https://", "https:///x", "https://kds/?a=b"] {
        let problems = read_url(bad).unwrap_err();
        assert!(problems[0].starts_with("endorsements.amd_url: expected"), "{bad}: {problems:?}");
    }
}

#[test]
fn every_default_is_accepted_by_its_own_reader() {
    let mut table = toml::Table::new();
    for key in KEYS.iter().filter(|key| key.default.is_some()) {
        let value = toml::Value::String(key.default.unwrap().to_owned());
        match key.path.split_once('.') {
            Some((name, inner)) => {
                let inner_table = table.entry(name).or_insert_with(|| toml::Table::new().into());
                inner_table.as_table_mut().unwrap().insert(inner.to_owned(), value);
            }
            None => drop(table.insert(key.path.to_owned(), value)),
        }
    }
    table.insert("trust_domain".into(), "example.org".into());
    assert!(Config::read(table).is_ok());
}

#[test]
fn the_reference_page_lists_every_key_with_its_default_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/server-configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once("` | "))
        .map(|(key, rest)| (key, rest.split(" |").next().unwrap_or_default().trim_matches('`')))
        .collect();
    let keys = KEYS.iter().chain(SINK_KEYS);
    let expected: Vec<(&str, &str)> = keys.map(|key| (key.path, key.default.unwrap_or("–"))).collect();
    assert_eq!(rows, expected);
}

#[test]
fn sinks_are_read_with_their_defaults() {
    let config = read(
        "trust_domain = \"td\"\n[[events.webhook]]\nname = \"soar\"\nurl = \"https://soar.example.org/hook?a=b\"\n\
         secret_file = \"/s\"\n[[events.syslog]]\nname = \"siem\"\naddress = \"tls:[::1]:6514\"\n\
         types = [\"dev.holdfast.attempt.*\"]\n[[events.file]]\nname = \"file\"\npath = \"/var/log/e\"\nfrom = \"start\"\n\
         on_reject = \"stop\"\nrotate_mib = 1",
    )
    .unwrap();
    let kinds: Vec<_> = config.sinks.iter().map(|sink| (sink.name.as_str(), sink.to.kind(), sink.batch)).collect();
    assert_eq!(kinds, [("soar", "webhook", 1), ("siem", "syslog", 100), ("file", "file", 100)]);
    assert_eq!(config.sinks[1].to.place(), "tls:::1:6514");
    assert_eq!(config.sinks[2].start, crate::store::SinkStart::First);
}

#[test]
fn a_sink_that_cannot_be_is_a_problem_at_its_place() {
    let webhook = |lines: &str| {
        let text = format!("trust_domain = \"td\"\n[[events.webhook]]\nname = \"a\"\nsecret_file = \"/s\"\n{lines}");
        read(&text).map(|_| ()).unwrap_err()
    };
    for url in ["http://example.org/", "https://u:p@example.org/", "ftp://x", "http://10.0.0.1/", "x"] {
        let problems = webhook(&format!("url = \"{url}\""));
        assert!(problems[0].starts_with("events.webhook[1].url: expected"), "{url}: {problems:?}");
    }
    for (line, key) in [
        ("types = [\"dev.holdfast.nothing.v1\"]", "types"),
        ("types = \"all\"", "types"),
        ("batch = 501", "batch"),
        ("from = \"tail\"", "from"),
        ("on_reject = \"drop\"", "on_reject"),
        ("secret = \"x\"", "secret"),
    ] {
        let problems = webhook(&format!("url = \"http://127.0.0.1:1/\"\n{line}"));
        assert!(problems[0].starts_with(&format!("events.webhook[1].{key}: ")), "{problems:?}");
    }
    let unsigned = read("trust_domain = \"td\"\n[[events.webhook]]\nname = \"a\"\nurl = \"https://x/\"").unwrap_err();
    assert!(unsigned[0].contains("could come from anybody"), "{unsigned:?}");
    let file = "[[events.file]]\nname = \"a\"\npath = \"/f\"\n";
    let twice = read(&format!("trust_domain = \"td\"\n{file}{file}")).unwrap_err();
    assert!(twice[0].starts_with("events.file[2].name"), "{twice:?}");
}

#[test]
fn a_bundle_endpoint_has_an_address_and_what_its_profile_needs() {
    let endpoint = |lines: &str| {
        let text = format!("trust_domain = \"td\"\n[federation.bundle_endpoint]\n{lines}");
        read(&text).map(|config| config.bundle_endpoint)
    };
    assert_eq!(read("trust_domain = \"td\"").unwrap().bundle_endpoint, None);
    let shown = endpoint("listen = \"127.0.0.1:8443\"\npath = \"/bundle\"\nrefresh_hint = \"1m\"").unwrap().unwrap();
    assert_eq!((shown.path.as_str(), shown.refresh_hint), ("/bundle", 60));
    let files = "listen = \"127.0.0.1:8443\"\ncertificate_file = \"/c\"\nkey_file = \"/k\"\n";
    endpoint(&format!("{files}profile = \"https_web\"")).unwrap().unwrap();
    for (lines, key) in [
        (format!("{files}profile = \"https_spiffe\""), "federation.bundle_endpoint.certificate_file"),
        (
            files.replace("certificate_file = \"/c\"", "profile = \"https_web\""),
            "federation.bundle_endpoint.certificate_file",
        ),
        (files.replace("key_file = \"/k\"", "profile = \"https_web\""), "federation.bundle_endpoint.key_file"),
        (files.replace("listen = \"127.0.0.1:8443\"", "profile = \"https_web\""), "federation.bundle_endpoint.listen"),
        ("listen = \"127.0.0.1:8443\"\npath = \"bundle\"".to_owned(), "federation.bundle_endpoint.path"),
        ("listen = \"127.0.0.1:8443\"\nprofile = \"web\"".to_owned(), "federation.bundle_endpoint.profile"),
    ] {
        let problems = endpoint(&lines).unwrap_err();
        assert!(problems[0].starts_with(key), "{lines}: {problems:?}");
    }
}
