//! The agent's configuration, and its reference page.

use super::*;

const SMALLEST: &str = "server = \"localhost:8441\"\ntrust_domain = \"example.org\"\ntrust_bundle = \"/b.pem\"\n";

fn parse(text: &str, overrides: &Overrides) -> Result<Config, Vec<String>> {
    Config::parse(text, Path::new("agent.toml"), overrides).map_err(|fault| match fault {
        ConfigFault::Problems(problems) => problems.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    })
}

#[test]
fn three_keys_are_enough_and_the_rest_has_defaults() {
    let config = parse(SMALLEST, &Overrides::default()).unwrap();
    assert_eq!(config.server.to_string(), "localhost:8441");
    assert_eq!(config.tpm.interface, Interface::Device("/dev/tpmrm0".into()));
    assert_eq!((config.tpm.ak_handle, config.tpm.node_key_handle), (0x8148_4600, 0x8148_4601));
    assert_eq!(config.workload_api.socket, Path::new("/run/holdfast/agent/api.sock"));
}

#[test]
fn every_problem_is_reported_at_once_with_its_key() {
    let text = "server = \"nowhere\"\nsurprise = 1\n[tpm]\nswtpm = \"port=x\"\nak_handle = \"0x80000000\"\n[log]\nformat = []\nlouder = 1";
    let problems = parse(text, &Overrides::default()).unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "log.format",
            "log.louder",
            "server",
            "surprise",
            "tpm.ak_handle",
            "tpm.swtpm",
            "trust_bundle",
            "trust_domain"
        ]
    );
}

#[test]
fn a_flag_goes_before_the_file() {
    let overrides = Overrides { tpm_swtpm: Some("port=2321".to_owned()), ..Overrides::default() };
    let config = parse(SMALLEST, &overrides).unwrap();
    assert_eq!(config.tpm.interface, Interface::Swtpm { host: "127.0.0.1".to_owned(), port: 2321 });
}

#[test]
fn insecure_bootstrap_must_be_asked_for_and_excludes_a_bundle() {
    let insecure = Overrides { insecure_bootstrap: Some("true".to_owned()), ..Overrides::default() };
    assert!(parse(SMALLEST, &insecure).unwrap_err()[0].starts_with("insecure_bootstrap"));
    let neither = "server = \"a:1\"\ntrust_domain = \"td\"";
    assert!(parse(neither, &Overrides::default()).unwrap_err()[0].starts_with("trust_bundle"));
    assert_eq!(parse(neither, &insecure).unwrap().bootstrap, Bootstrap::Insecure);
}

#[test]
fn kinds_of_evidence_are_a_list_in_the_file_and_have_commas_elsewhere() {
    use crate::collect::sources::Wanted;
    use holdfast_evidence::EvidenceKind::{Snp, Tpm};
    let both = Wanted::These(vec![Snp, Tpm]);
    assert_eq!(parse(SMALLEST, &Overrides::default()).unwrap().sources.wanted, Wanted::Auto);
    let text = format!("{SMALLEST}evidence = [\"tpm\", \"snp\"]");
    assert_eq!(parse(&text, &Overrides::default()).unwrap().sources.wanted, both);
    let overrides = Overrides { evidence: Some("tpm,snp".to_owned()), ..Overrides::default() };
    assert_eq!(parse(SMALLEST, &overrides).unwrap().sources.wanted, both);
    for wrong in ["[\"sev\"]", "[1]", "[]"] {
        let problems = parse(&format!("{SMALLEST}evidence = {wrong}"), &Overrides::default()).unwrap_err();
        assert!(problems[0].starts_with("evidence: "), "{problems:?}");
    }
}

#[test]
fn the_metadata_service_is_a_plain_address() {
    for (uri, good) in [("http://127.0.0.1:80", true), ("https://a", false), ("http://a/b", false), ("a", false)] {
        assert_eq!(plain_http(uri).is_ok(), good, "{uri}");
    }
}

#[test]
fn both_keys_in_one_handle_are_refused() {
    let text = format!("{SMALLEST}[tpm]\nak_handle = 0x81000010\nnode_key_handle = \"0x81000010\"");
    assert!(parse(&text, &Overrides::default()).unwrap_err()[0].starts_with("tpm.node_key_handle"));
}

#[test]
fn an_authorisation_value_is_read_without_its_newline_and_may_be_hexadecimal() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("auth");
    std::fs::write(&file, "secret\n").unwrap();
    assert_eq!(authorisation(file.to_str().unwrap()).unwrap().as_slice(), b"secret");
    std::fs::write(&file, "hex:00ff").unwrap();
    assert_eq!(authorisation(file.to_str().unwrap()).unwrap().as_slice(), [0, 0xff]);
    std::fs::write(&file, "hex:0").unwrap();
    assert!(authorisation(file.to_str().unwrap()).is_err());
    assert!(authorisation("/nowhere").is_err());
}

#[test]
fn every_key_can_be_overridden() {
    let all = |text: &str| Some(text.to_owned());
    let overrides = Overrides {
        server: all("a"),
        trust_domain: all("a"),
        trust_bundle: all("a"),
        insecure_bootstrap: all("a"),
        data_dir: all("a"),
        firmware_log: all("a"),
        measured_files: all("a"),
        evidence: all("a"),
        workload_x509_svid_key_type: all("a"),
        metrics_listen: all("a"),
        tpm_device: all("a"),
        tpm_swtpm: all("a"),
        tpm_ak_handle: all("a"),
        tpm_node_key_handle: all("a"),
        tpm_owner_auth_file: all("a"),
        tpm_endorsement_auth_file: all("a"),
        tpm_platform_certificate: all("a"),
        tpm_platform_certificate_index: all("a"),
        tpm_iak: all("a"),
        tpm_iak_handle: all("a"),
        tpm_iak_certificate_index: all("a"),
        tpm_idevid: all("a"),
        tpm_idevid_handle: all("a"),
        tpm_idevid_certificate_index: all("a"),
        tsm_path: all("a"),
        snp_device: all("a"),
        tdx_event_log: all("a"),
        nitro_device: all("a"),
        nitrotpm_program: all("a"),
        azure_imds: all("a"),
        workload_api_socket: all("a"),
        sds_default_svid_name: all("a"),
        sds_default_bundle_name: all("a"),
        sds_default_all_bundles_name: all("a"),
        sds_disable_spiffe_cert_validation: all("a"),
        attestor_kinds: all("a"),
        attestor_look_again: all("a"),
        attestor_systemd_bus: all("a"),
        attestor_docker_socket: all("a"),
        attestor_docker_cgroup_root: all("a"),
        attestor_podman_socket: all("a"),
        attestor_podman_cgroup_root: all("a"),
        attestor_containerd_socket: all("a"),
        attestor_containerd_namespaces: all("a"),
        attestor_containerd_cgroup_root: all("a"),
        attestor_k8s_kubelet: all("a"),
        attestor_k8s_node_name: all("a"),
        attestor_k8s_ca: all("a"),
        attestor_k8s_token: all("a"),
        attestor_k8s_certificate: all("a"),
        attestor_k8s_private_key: all("a"),
        attestor_k8s_max_poll_attempts: all("a"),
        attestor_k8s_poll_retry_interval: all("a"),
        attestor_k8s_cgroup_root: all("a"),
        log_level: all("a"),
        log_format: all("a"),
    };
    for key in KEYS {
        assert_eq!(overrides.get(key.path), Some("a"), "{}", key.path);
    }
}

/// Rows of the page: key, default.
fn documented() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/agent-configuration.md");
    let text = std::fs::read_to_string(page).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let cell = |text: &str| text.trim_matches('`').to_owned();
        (cell(cells.next().unwrap()), cell(cells.next().unwrap()))
    })
    .collect()
}

#[test]
fn the_reference_page_lists_every_key_with_its_default() {
    let keys: Vec<_> =
        KEYS.iter().map(|key| (key.path.to_owned(), key.default.unwrap_or("\u{2013}").to_owned())).collect();
    assert_eq!(documented(), keys);
}

#[test]
fn the_reference_pages_example_is_a_configuration() {
    let page = include_str!("../../../docs/reference/agent-configuration.md");
    let example = page.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    parse(example, &Overrides::default()).unwrap();
}
