//! The published Python packages `spiffe` and `spiffe-tls`: mutual TLS between two of them, each by a source that lives.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::workload::{Agent, own_user, python};
use crate::{restarted, serial};

const PACKAGES: &[&str] = &["spiffe==0.3.2", "spiffe-tls==0.4.0"];

/// Both ends. A server answers everyone whom it lets in with the number of the certificate that it saw; a client dials for
/// each line that it reads, and says what it saw and heard, or that there was nothing.
const SCRIPT: &str = "
import sys
from OpenSSL import SSL
from spiffe import SpiffeId, X509Source
from spiffetls import ListenOptions, dial, listen
from spiffetls.mode import ServerTlsMode
from spiffetls.tlsconfig.authorize import authorize_id
role, own, peer, port = sys.argv[1:]
source = X509Source(timeout_in_seconds=30, svid_picker=lambda svids: next(s for s in svids if str(s.spiffe_id) == own))
only = authorize_id(SpiffeId(peer))
number = lambda connection: '%x' % connection.get_peer_certificate().get_serial_number()
if role == 'server':
    listener = listen('127.0.0.1:0', source, ListenOptions(tls_mode=ServerTlsMode.MTLS, authorize_fn=only))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        try:
            connection.do_handshake()
            connection.recv(16)
            connection.sendall(number(connection).encode())
            connection.shutdown()
        except SSL.Error:
            pass
        connection.close()
print('ready', flush=True)
for _ in sys.stdin:
    try:
        connection = dial(f'127.0.0.1:{port}', source, authorize_fn=only)
        connection.sendall(b'hello')
        print(number(connection), connection.recv(64).decode(), flush=True)
        connection.close()
    except Exception as error:
        print('nothing', type(error).__name__, flush=True)
";

/// A running script.
struct Script {
    _child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts one as `own`, to talk to `peer` alone; what it says first. `None` where it cannot run here.
    async fn start(agent: &Agent, role: &str, own: &str, peer: &str, port: &str) -> Option<(Self, String)> {
        let python = python::environment(PACKAGES)?;
        let id = |name: &str| format!("spiffe://example.org/{name}");
        let mut child = Command::new(python)
            .args(["-c", SCRIPT, role, &id(own), &id(peer), port])
            .env("SPIFFE_ENDPOINT_SOCKET", agent.address())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let from = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut script = Self { to: child.stdin.take().unwrap(), from, _child: child };
        let first = script.said().await;
        Some((script, first))
    }

    async fn said(&mut self) -> String {
        let line = tokio::time::timeout(crate::PATIENCE, self.from.next_line()).await;
        line.expect("Python says nothing").unwrap().expect("Python ended")
    }

    /// What one connection shows: the server's certificate's number, and the client's as the server saw it.
    async fn dialled(&mut self) -> String {
        self.to.write_all(b"\n").await.unwrap();
        self.said().await
    }

    /// Dials until the server sees this certificate.
    async fn until_shown(&mut self, client: &[u8]) {
        // The package's server shows the certificate that it began with: its own way, not what it was sent.
        let (begun, expected) = (std::time::Instant::now(), serial(client));
        loop {
            let shown = self.dialled().await;
            if shown.split(' ').nth(1) == Some(expected.as_str()) {
                return;
            }
            assert!(begun.elapsed() < crate::PATIENCE, "{shown}, and not {expected}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

/// Gives this user's processes an identity; its leaf.
fn enter(agent: &Agent, name: &str) -> Vec<u8> {
    let svid = agent.authority.issue(&format!("/{name}"), "", name);
    agent.registry.enter(&[own_user()], svid.clone());
    svid.chain[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_python_spiffe_tls_admits_whom_it_should_through_rotations_and_a_restart_of_the_agent() {
    let mut agent = Agent::started().await;
    let (web, app) = (enter(&agent, "web"), enter(&agent, "app"));
    enter(&agent, "stranger");
    let Some((_server, port)) = Script::start(&agent, "server", "web", "app", "").await else { return };
    let client = async |own: &str, peer: &str| Script::start(&agent, "client", own, peer, &port).await.unwrap().0;
    let mut right = client("app", "web").await;
    assert_eq!(right.dialled().await, format!("{} {}", serial(&web), serial(&app)));
    let refused = client("stranger", "web").await.dialled().await;
    assert!(
        refused.starts_with("nothing") || refused.ends_with(' '),
        "a client whom the server does not know: {refused}"
    );
    let refused = client("app", "stranger").await.dialled().await;
    assert!(refused.starts_with("nothing"), "a server whom the client does not know: {refused}");

    let (_, app) = (enter(&agent, "web"), enter(&agent, "app"));
    right.until_shown(&app).await;

    let next = restarted(&mut agent).await;
    // Under its new authorities everybody begins anew: the package's server would go on with what it began with.
    let (web, app) = (enter(&next, "web"), enter(&next, "app"));
    next.registry.start();
    let (_server, port) = Script::start(&next, "server", "web", "app", "").await.unwrap();
    let mut right = Script::start(&next, "client", "app", "web", &port).await.unwrap().0;
    assert_eq!(right.dialled().await, format!("{} {}", serial(&web), serial(&app)));
}
