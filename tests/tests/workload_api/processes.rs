//! Who a caller is: real processes of several users, that exit, hand their sockets on, and change their credentials.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tonic::Code;

use crate::workload::{Agent, python, soon, uid};

/// `nobody`, on Debian as elsewhere.
const NOBODY: u32 = 65_534;

/// Whether this process may become others; says so if not.
fn is_root() -> bool {
    let root = uid() == 0;
    if !root {
        eprintln!("SKIPPED: needs root to start processes of other users");
    }
    root
}

/// The agent's program, where every user may run it.
fn program(agent: &Agent) -> std::path::PathBuf {
    let built = holdfast_tests::Programs::beside_this_one().unwrap().path("holdfast-agent");
    let copy = agent.work.path().join("client");
    if !copy.exists() {
        std::fs::copy(built, &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    copy
}

/// Fetches as user `uid`: the exit code and what was said.
async fn fetch_as(agent: &Agent, uid: u32) -> (i32, String) {
    let mut command = Command::new(program(agent));
    command.args(["api", "fetch", "x509", "--output", "json", "--socket-path"]).arg(agent.socket());
    let output = command.uid(uid).gid(uid).stdin(Stdio::null()).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_get_two_identities_and_a_third_gets_none() {
    if !is_root() {
        return;
    }
    let agent = Agent::started().await;
    agent.registry.enter(&["unix:uid:65534".to_owned()], agent.authority.issue("/nobody", "", "a"));
    agent.registry.enter(&["unix:user:daemon".to_owned()], agent.authority.issue("/daemon", "", "b"));
    for (uid, id) in [(NOBODY, "spiffe://example.org/nobody"), (1, "spiffe://example.org/daemon")] {
        let (code, said) = fetch_as(&agent, uid).await;
        assert_eq!(code, 0, "{said}");
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["svids"].as_array().unwrap().len(), 1);
        assert_eq!(said["svids"][0]["spiffe_id"], id);
    }
    let (code, said) = fetch_as(&agent, 2).await;
    assert_eq!((code, said.trim()), (1, "PermissionDenied: no identity issued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_of_one_user_are_told_apart_by_path_and_digest() {
    let agent = Agent::started().await;
    let first = program(&agent);
    // The same program at another path, and with one more byte.
    let second = agent.work.path().join("second");
    std::fs::copy(&first, &second).unwrap();
    let third = agent.work.path().join("third");
    std::fs::copy(&first, &third).unwrap();
    use std::io::Write;
    std::fs::OpenOptions::new().append(true).open(&third).unwrap().write_all(b"!").unwrap();
    let digest = |path| hex::encode(ring::digest::digest(&ring::digest::SHA256, &std::fs::read(path).unwrap()));
    let path = |path: &std::path::Path| format!("unix:path:{}", path.display());
    agent.registry.enter(&[path(&second)], agent.authority.issue("/second", "", "a"));
    agent.registry.enter(&[format!("unix:sha256:{}", digest(&third))], agent.authority.issue("/third", "", "b"));
    for (program, expected) in [(&first, None), (&second, Some("/second")), (&third, Some("/third"))] {
        let mut command = Command::new(program);
        command.args(["api", "fetch", "x509", "--output", "json", "--socket-path"]).arg(agent.socket());
        let output = command.output().await.unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let id = said["svids"][0]["spiffe_id"].as_str().map(str::to_owned);
        assert_eq!(id, expected.map(|path| format!("spiffe://example.org{path}")), "{}", program.display());
        assert_eq!(output.status.code(), Some(i32::from(expected.is_none())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_python_a_stream_ends_when_its_process_exits_though_a_child_holds_the_socket() {
    let agent = Agent::with_me().await;
    // The parent connects and begins HTTP/2; its child inherits the socket, and says when it is closed.
    let script = r#"
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ['SOCKET'])
s.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + b'\0\0\0\4\0\0\0\0\0')
s.recv(1000)
if os.fork():
    print('parent exits', flush=True)
    os._exit(0)
s.settimeout(10)
try:
    while s.recv(1000): pass
    print('closed', flush=True)
except TimeoutError:
    print('still open', flush=True)
except OSError:
    print('closed', flush=True)
"#;
    let mut command = Command::new("python3");
    command.arg("-c").arg(script).env("SOCKET", agent.socket()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else { return eprintln!("SKIPPED: python3 is not installed") };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || soon(lines.next_line()).await.unwrap().unwrap_or_default();
    assert_eq!(next().await, "parent exits");
    assert_eq!(next().await, "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_python_a_process_that_drops_its_user_loses_the_connection_it_made_before() {
    if !is_root() {
        return;
    }
    let agent = Agent::with_me().await;
    agent.registry.enter(&[format!("unix:uid:{NOBODY}")], agent.authority.issue("/nobody", "", "a"));
    let script = "
import grpc, os, sys
from spiffe._proto import workload_pb2, workload_pb2_grpc
def stream():
    stub = workload_pb2_grpc.SpiffeWorkloadAPIStub(channel)
    return stub.FetchX509SVID(workload_pb2.X509SVIDRequest(), metadata=[('workload.spiffe.io', 'true')], timeout=20)
channel = grpc.insecure_channel(os.environ['SPIFFE_ENDPOINT_SOCKET'])
answers = stream()
print(next(answers).svids[0].spiffe_id, flush=True)
os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
print('dropped', flush=True)
try:
    print(next(answers).svids[0].spiffe_id, flush=True)
except grpc.RpcError as error:
    print(error.code().name, flush=True)
channel = grpc.insecure_channel(os.environ['SPIFFE_ENDPOINT_SOCKET'] + '')
print(next(stream()).svids[0].spiffe_id, flush=True)
os._exit(0)
";
    let Some(mut command) = python::script(script, &agent.socket()) else { return };
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap_or_default()
    };
    assert_eq!(next().await, "spiffe://example.org/me");
    assert_eq!(next().await, "dropped");
    // A change makes the agent look again: what is new for root must not reach what has become nobody.
    agent.enter("/me", "", "me");
    assert_eq!(next().await, "UNAVAILABLE");
    assert_eq!(next().await, "spiffe://example.org/nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_agent_stops_open_streams_end_with_unavailable_and_the_socket_goes() {
    let mut agent = Agent::with_me().await;
    let mut stream = agent.stream().await.unwrap();
    stream.message().await.unwrap().unwrap();
    agent.stop.cancel();
    assert_eq!(soon(stream.message()).await.unwrap_err().code(), Code::Unavailable);
    soon(&mut agent.served).await.unwrap().unwrap();
    assert!(!agent.socket().exists());
}
