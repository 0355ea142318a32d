//! The real programs for rows that are about what they issue, serve and refuse: a server, and a machine with its agent.
//! Nothing here knows their insides: command lines, files, sockets.

use std::path::Path;
use std::sync::{Arc, Weak};

use holdfast_agent::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_protocol::workload::X509svidResponse;
use holdfast_tests::{Agent, Machines, Output, Programs, Server, WorkDir, until};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, MutexGuard};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::workload::{own_user, with_header};

/// Seconds that anything may take to happen.
pub(crate) const PATIENCE: u64 = 120;
const PROFILE: &str = "shim-grub";
const POLICY: &str = include_str!("../../src/bin/holdfast-demo/policy.toml");
/// What goes wrong in handshakes stands in the server's log.
const LOGGED: &str = "[log]\nlevel = \"info,holdfast_server::listen=debug\"\n";

fn sorted<'a>(ids: &[&'a str]) -> Vec<&'a str> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

fn named(answer: &X509svidResponse) -> Vec<&str> {
    sorted(&answer.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect::<Vec<_>>())
}

/// A server that runs.
pub(crate) fn server(programs: &Programs, work: &WorkDir, domain: &str) -> Server {
    Server::init_with(programs, work, domain, LOGGED).unwrap().start(&work.path().join("server.log")).unwrap()
}

/// A trust domain with one machine that is enrolled. In the order in which things are to end.
pub(crate) struct Place {
    pub(crate) agent: Agent,
    pub(crate) server: Server,
    pub(crate) programs: Programs,
    _machines: Machines,
    pub(crate) work: WorkDir,
    /// Its entries are everybody's who is this user: one test at a time.
    turn: Mutex<()>,
}

impl Place {
    /// A trust domain of its own, its machine enrolled.
    pub(crate) fn new(domain: &str) -> Self {
        let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
        let machines = machine(&programs, &work);
        let server = server(&programs, &work, domain);
        let root = machines.root().display().to_string();
        server.operator(&["endorsements", "import", "--class", "simulated", &root]).unwrap();
        server.operator(&["node", "allow", "--ek-sha256", &machines.all()[0].ek_sha256]).unwrap();
        let folder = work.sub("policy").unwrap();
        std::fs::write(folder.join("shim-grub.toml"), machines.reference_values(PROFILE).unwrap()).unwrap();
        std::fs::write(folder.join("policy.toml"), POLICY).unwrap();
        server.operator(&["policy", "apply", &folder.join("policy.toml").display().to_string()]).unwrap();
        let agent = Agent::configure(&programs, &work, &server, &machines.all()[0], "agent").unwrap();
        let agent = agent.start(&work.path().join("agent.log")).unwrap();
        agent.until_ready(PATIENCE).unwrap();
        Self { agent, server, programs, _machines: machines, work, turn: Mutex::default() }
    }

    /// The one that tests share which need no other; it ends with the last of them.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Place>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(place) = shared.upgrade() {
            return place;
        }
        let place = Arc::new(tokio::task::block_in_place(|| Self::new("example.org")));
        *shared = Arc::downgrade(&place);
        place
    }

    /// Waits for its turn, and begins it without entries.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        for entry in self.server.json(&["entry", "list"]).unwrap()["entries"].as_array().unwrap() {
            self.server.operator(&["entry", "delete", entry["id"].as_str().unwrap()]).unwrap();
        }
        turn
    }

    /// The machine's own ID.
    pub(crate) fn node_id(&self) -> String {
        self.server.json(&["node", "list"]).unwrap()["nodes"][0]["spiffe_id"].as_str().unwrap().to_owned()
    }

    /// An entry for this user's processes on the machine; its ID.
    pub(crate) fn enter(&self, spiffe_id: &str, more: &[&str]) -> String {
        let (node, user) = (self.node_id(), own_user());
        let words = ["entry", "create", "--spiffe-id", spiffe_id, "--parent-id", &node, "--selector", &user];
        let words: Vec<&str> = words.iter().chain(more).copied().collect();
        self.server.json(&words).unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// A raw client of the agent's Workload API, over a connection of its own.
    pub(crate) async fn client(&self) -> SpiffeWorkloadApiClient<Channel> {
        SpiffeWorkloadApiClient::new(channel(&self.agent.socket()).await).max_decoding_message_size(64 << 20)
    }

    /// An open stream of X.509-SVIDs.
    pub(crate) async fn stream(&self) -> Result<Streaming<X509svidResponse>, Status> {
        Ok(self.client().await.fetch_x509svid(with_header(Default::default())).await?.into_inner())
    }

    /// The next answer whose IDs are these, put in this order, on streams that are opened until there is one.
    pub(crate) async fn fetch(&self, ids: &[&str]) -> X509svidResponse {
        let begun = std::time::Instant::now();
        loop {
            let answer = match self.stream().await {
                Ok(mut stream) => stream.message().await.map(Option::unwrap),
                Err(status) => Err(status),
            };
            match answer {
                // Entries of one second have an order that does not change, but not that of the test.
                Ok(mut answer) if named(&answer) == sorted(ids) => {
                    answer.svids.sort_by_key(|svid| ids.iter().position(|id| *id == svid.spiffe_id));
                    return answer;
                }
                other => {
                    assert!(begun.elapsed().as_secs() < PATIENCE, "{other:?}\n{}", self.logs());
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits until the agent knows that nobody here has an identity.
    pub(crate) async fn until_denied(&self) {
        let begun = std::time::Instant::now();
        while !self.stream().await.is_err_and(|status| status.code() == tonic::Code::PermissionDenied) {
            assert!(begun.elapsed().as_secs() < PATIENCE, "{}", self.logs());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn logs(&self) -> String {
        let log = |name: &str| std::fs::read_to_string(self.work.path().join(name)).unwrap_or_default();
        let tail = |text: String| text.lines().rev().take(25).collect::<Vec<_>>().join("\n");
        format!("--- server, newest first\n{}\n--- agent\n{}", tail(log("server.log")), tail(log("agent.log")))
    }
}

/// One machine, switched on.
pub(crate) fn machine(programs: &Programs, work: &WorkDir) -> Machines {
    Machines::start(programs, work, 1, PROFILE, &work.path().join("tpm-sim.log")).unwrap()
}

/// A connection to a Workload API.
pub(crate) async fn channel(socket: &Path) -> Channel {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    tonic::transport::Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}

/// Waits for `attempt`, as [`until`], on a thread where waiting blocks nobody.
pub(crate) fn wait<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    tokio::task::block_in_place(|| until(what, PATIENCE, attempt)).unwrap()
}

/// What `holdfast-server entry create` says of `spiffe_id`, below `parent`.
pub(crate) fn create(server: &Server, spiffe_id: &str, parent: &str) -> Output {
    server
        .cli(&["entry", "create", "--spiffe-id", spiffe_id, "--parent-id", parent, "--selector", "unix:uid:1"])
        .unwrap()
}
