//! `holdfast-agent api`, as an operator types it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use holdfast_tests::Programs;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::workload::{Agent, authority::Authority, soon};

fn api(words: &[&str]) -> Command {
    let mut command = Command::new(Programs::beside_this_one().unwrap().path("holdfast-agent"));
    command.arg("api").args(words).env_remove("SPIFFE_ENDPOINT_SOCKET").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Exit code, standard output, standard error.
async fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn pems(path: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read(path).unwrap();
    x509_parser::pem::Pem::iter_from_buffer(&text).map(|pem| pem.unwrap().contents).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_writes_spires_files_and_the_key_fits_the_certificate() {
    let agent = Agent::with_me().await;
    let other = Authority::new("other.org");
    agent.registry.trust(other.name(), other.bundle());
    let folder = agent.work.path().join("out");
    let mut command = api(&["fetch", "x509", "--write"]);
    command.arg(&folder).env("SPIFFE_ENDPOINT_SOCKET", agent.address());
    let (code, stdout, stderr) = run(&mut command).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("Received 1 svid") && stdout.contains("SPIFFE ID:\t\tspiffe://example.org/me"), "{stdout}");
    let chain = pems(&folder.join("svid.0.pem"));
    assert_eq!(chain.len(), 2);
    assert_eq!(pems(&folder.join("bundle.0.pem")), agent.authority.bundle());
    assert_eq!(pems(&folder.join("federated_bundle.0.0.pem")), other.bundle());
    let key = folder.join("svid.0.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    use rcgen::PublicKeyData;
    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    assert!(!stdout.contains("PRIVATE"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_holds_everything_but_the_key() {
    let agent = Agent::with_me().await;
    let (code, stdout, _) = run(api(&["fetch", "x509", "--output", "json", "--socket-path"]).arg(agent.socket())).await;
    assert_eq!(code, 0);
    let said: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let svid = said["svids"][0].as_object().unwrap();
    let mut names: Vec<_> = svid.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["bundle", "hint", "not_after", "not_before", "serial", "spiffe_id", "x509_svid"]);
    assert_eq!(svid["x509_svid"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_refused_from_unreachable_from_mistyped() {
    let agent = Agent::started().await;
    let socket = agent.socket();
    let (code, _, stderr) = run(api(&["fetch", "x509", "--socket-path"]).arg(&socket)).await;
    assert_eq!((code, stderr.trim()), (1, "PermissionDenied: no identity issued"));
    let (code, _, stderr) = run(&mut api(&["fetch", "x509", "--socket-path", "/nonexistent/api.sock"])).await;
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("/nonexistent/api.sock"), "{stderr}");
    assert_eq!(run(&mut api(&["fetch", "x509", "--sokcet-path", "x"])).await.0, 2);
    let (code, _, stderr) = run(api(&["fetch", "x509"]).env("SPIFFE_ENDPOINT_SOCKET", "unix:rel")).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("unix:///absolute/path"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_prints_each_change_and_ends_with_1_when_the_identity_goes() {
    let agent = Agent::with_me().await;
    let mut command = api(&["watch", "--output", "json", "--socket-path"]);
    let mut child = command.arg(agent.socket()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut serials = Vec::new();
    for _ in 0..3 {
        let line = soon(lines.next_line()).await.unwrap().unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        serials.push(said["svids"][0]["serial"].clone());
        agent.enter("/me", "", "me");
    }
    serials.dedup();
    assert_eq!(serials.len(), 3);
    agent.registry.remove("me");
    let output = soon(child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PermissionDenied: no identity issued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_waits_for_an_agent_that_starts() {
    let agent = Agent::starting().await;
    let mut command = api(&["watch", "--socket-path"]);
    let mut child = command.arg(agent.socket()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = soon(said.next_line()).await.unwrap().unwrap();
    assert!(line.starts_with("Unavailable: the agent is starting"), "{line}");
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.enter("/me", "", "me");
    agent.registry.start();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(soon(lines.next_line()).await.unwrap().unwrap().contains("Received 1 svid"));
}
