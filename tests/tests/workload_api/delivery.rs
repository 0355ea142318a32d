//! `holdfast-agent helper`, as systemd runs it: files that belong together, and a notice at each rotation.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use holdfast_tests::Programs;
use tokio::process::Command;

use crate::workload::{Agent, authority::Authority, soon, tokens::parts};

/// A folder for the files, and a configuration that says so.
fn configured(agent: &Agent, more: &str) -> (PathBuf, PathBuf) {
    let (folder, file) = (agent.work.path().join("files"), agent.work.path().join("helper.toml"));
    std::fs::create_dir(&folder).unwrap();
    let text = format!("agent_address = {:?}\ncert_dir = {folder:?}\n{more}", agent.socket());
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

fn helper(config: &Path, words: &[&str]) -> Command {
    // A umask that would leave everything open.
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\""]);
    command.arg(Programs::beside_this_one().unwrap().path("holdfast-agent")).args(["helper", "--config"]).arg(config);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn code(config: &Path, words: &[&str]) -> i32 {
    soon(helper(config, words).status()).await.unwrap().code().unwrap()
}

/// Whether key and leaf of one look at the folder belong together.
fn fits(folder: &Path) -> bool {
    use rcgen::PublicKeyData;
    let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(folder.join("svid_key.pem")).unwrap()).unwrap();
    let leaf = leaf(folder);
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    leaf.public_key().raw == key.subject_public_key_info()
}

fn leaf(folder: &Path) -> Vec<u8> {
    pem::parse_many(std::fs::read(folder.join("svid.pem")).unwrap()).unwrap()[0].contents().to_vec()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_writes_what_belongs_together_and_no_umask_opens_a_key() {
    let agent = Agent::with_me().await;
    let other = Authority::new("other.org");
    agent.registry.trust(other.name(), other.bundle());
    for (more, authorities) in [("", 1), ("include_federated_domains = true\nswap_directory = false", 2)] {
        let (folder, config) = configured(&agent, more);
        assert_eq!(code(&config, &["--once"]).await, 0);
        assert!(fits(&folder));
        let bundle = pem::parse_many(std::fs::read(folder.join("svid_bundle.pem")).unwrap()).unwrap();
        assert_eq!(bundle.len(), authorities);
        let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("svid_key.pem"), mode("svid.pem"), mode("svid_bundle.pem")), (0o600, 0o644, 0o644));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_the_keys_that_verify_them_are_files_too() {
    let agent = Agent::with_me().await;
    let more = "jwt_bundle_file_name = \"keys.json\"\n\
        jwt_svids = [{ jwt_audience = \"db\", jwt_extra_audiences = [\"cache\"], jwt_svid_file_name = \"db.jwt\" }]";
    let (folder, config) = configured(&agent, more);
    assert_eq!(code(&config, &["--once"]).await, 0);
    let token = std::fs::read_to_string(folder.join("db.jwt")).unwrap();
    assert_eq!(parts(&token).1["aud"], serde_json::json!(["db", "cache"]));
    let keys: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("keys.json")).unwrap()).unwrap();
    assert_eq!(keys["spiffe://example.org"]["keys"][0]["kid"], parts(&token).0["kid"]);
    let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("db.jwt"), mode("keys.json")), (0o600, 0o644));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_whether_the_files_are_there() {
    let agent = Agent::started().await;
    let (_, config) = configured(&agent, "");
    assert_eq!(code(&config, &["--check"]).await, 0);
    assert_eq!(code(&config, &["--once"]).await, 1, "no identity");
    agent.enter("/me", "", "me");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + "hint = \"nobody's\"\n").unwrap();
    assert_eq!(code(&config, &["--once"]).await, 2, "no such hint");
    std::fs::write(&config, "key_file_mode = \"0644\"\ncert_dir = \"/\"\n").unwrap();
    assert_eq!(code(&config, &["--check"]).await, 2, "no configuration");
    assert_eq!(code(Path::new("/no/such/file"), &[]).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_nobody_heard_is_given_again_without_another_rotation() {
    let agent = Agent::with_me().await;
    let at = |name: &str| agent.work.path().join(name);
    let (tried, ready, told, signalled) = (at("tried"), at("ready"), at("told"), at("signalled"));
    let script = format!("echo x >> {tried:?}; test -e {ready:?} && echo x >> {told:?}");
    let more = format!(
        "renew_command = [\"sh\", \"-c\", {script:?}]\nrenew_signal = \"SIGUSR1\"\npid_file_name = {:?}\n",
        at("pid")
    );
    let (_, config) = configured(&agent, &more);
    let mut running = helper(&config, &[]).spawn().unwrap();
    until("the first notice", || tried.exists()).await;
    assert!(!told.exists(), "the command failed, and there is no process to signal");
    let script = format!(
        "trap 'echo x >> {}' USR1; echo $$ > {1}.new; mv {1}.new {1}; while :; do sleep 0.02; done",
        signalled.display(),
        at("pid").display()
    );
    let mut reader = Command::new("sh").args(["-c", &script]).kill_on_drop(true).spawn().unwrap();
    std::fs::write(&ready, "").unwrap();
    until("the command again", || told.exists()).await;
    until("the signal again", || signalled.exists()).await;
    let count = |file: &Path| std::fs::read_to_string(file).unwrap().lines().count();
    assert_eq!((count(&told), count(&signalled)), (1, 1), "and what was heard is over");
    reader.kill().await.unwrap();
    running.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rotation_replaces_all_files_and_gives_notice_by_signal_and_command() {
    let agent = Agent::with_me().await;
    let at = |name: &str| agent.work.path().join(name);
    let (pid, told, run) = (at("pid"), at("told"), at("run"));
    let script =
        format!("trap 'echo x >> {}' USR1; echo $$ > {}; while :; do sleep 0.02; done", told.display(), pid.display());
    let mut reader = Command::new("sh").args(["-c", &script]).kill_on_drop(true).spawn().unwrap();
    until("the reader", || pid.exists()).await;
    let more = format!(
        "renew_signal = \"SIGUSR1\"\npid_file_name = {pid:?}\nrenew_command = [\"sh\", \"-c\", \"echo x >> $0\", {run:?}]"
    );
    let (folder, config) = configured(&agent, &more);
    let mut helper = helper(&config, &[]).spawn().unwrap();
    until("the files", || folder.join("svid.pem").exists()).await;
    let lines = |file: &Path| std::fs::read_to_string(file).unwrap_or_default().lines().count();
    for round in 1..=3 {
        until("a notice", || lines(&told) == round && lines(&run) == round).await;
        assert!(fits(&folder));
        let before = leaf(&folder);
        let svid = agent.authority.issue("/me", "", "me");
        agent.registry.enter(&[crate::workload::own_user()], svid.clone());
        until("a rotation", || leaf(&folder) != before).await;
        assert_eq!(leaf(&folder), svid.chain[0]);
    }
    agent.registry.remove("me");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(fits(&folder), "what was withdrawn is not replaced by nothing");
    terminate(helper.id().unwrap());
    assert_eq!(soon(helper.wait()).await.unwrap().code(), Some(0));
    reader.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_command_does_not_hold_up_the_end() {
    let agent = Agent::with_me().await;
    let run = agent.work.path().join("run");
    let more = format!("renew_command = [\"sh\", \"-c\", \"echo x >> $0; sleep 600\", {run:?}]");
    let (_, config) = configured(&agent, &more);
    let mut helper = helper(&config, &[]).spawn().unwrap();
    until("the command", || run.exists()).await;
    terminate(helper.id().unwrap());
    // A command may take thirty seconds.
    let ended = tokio::time::timeout(Duration::from_secs(20), helper.wait()).await;
    assert_eq!(ended.expect("waits for the command").unwrap().code(), Some(0));
}

/// SIGTERM.
fn terminate(pid: u32) {
    assert!(std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success());
}
