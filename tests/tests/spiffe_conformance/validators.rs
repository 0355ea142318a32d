//! What our validators of X.509-SVIDs refuse: rows 12 to 15, 18 to 24. The server looks at whoever comes to its agent port,
//! the agent at its server. Everything is signed by the trust domain's real keys; each certificate has one fault, and the
//! same one without it is taken.

use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, Weak};

use holdfast_tests::{Agent, Machines, Programs, Server, WorkDir, until};
use rustls::crypto::ring::default_provider;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::forge::{Forge, Shown, Signer};
use crate::peer::{certified, is_let_in};
use crate::place::{PATIENCE, machine, server};

const NODE: &str = "spiffe://example.org/holdfast/node/tpm/00";
const SERVER: &str = "spiffe://example.org/holdfast/server";

/// The certificates of `row` are refused by the server, and by an agent.
fn refused(row: u16) {
    refused_by_the_server(row);
    refused_by_an_agent(row);
}

fn refused_by_the_server(row: u16) {
    let work = WorkDir::new().unwrap();
    let server = server(&Programs::beside_this_one().unwrap(), &work, "example.org");
    let (forge, address) = (Forge::of(&server), server.address());
    let let_in = |shown: &Shown| is_let_in(&address, Some(shown));
    assert!(let_in(&forge.intermediate.leaf(NODE, &[], |_| ())), "the certificate without a fault");
    let faults: Vec<_> = forge.faults(NODE).into_iter().filter(|(of, ..)| *of == row).collect();
    assert!(!faults.is_empty());
    for (_, fault, shown) in faults {
        assert!(!let_in(&shown), "the server lets in who shows {fault}");
    }
    assert!(is_let_in(&address, None), "the server still answers");
}

fn refused_by_an_agent(row: u16) {
    let lure = Lure::shared();
    let mut turn = lure.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let faults: Vec<_> = lure.forge.faults(SERVER).into_iter().filter(|(of, ..)| *of == row).collect();
    assert!(!faults.is_empty());
    for (_, fault, shown) in faults {
        assert!(!lure.is_taken(&mut turn, shown), "the agent takes for its server who shows {fault}");
    }
    assert!(lure.is_taken(&mut turn, lure.forge.intermediate.leaf(SERVER, &[], |_| ())), "without a fault");
}

/// An agent whose server's address is ours, and what it says to what we show it.
struct Lure {
    agent: Agent,
    stage: Arc<Stage>,
    forge: Forge,
    /// How often something else was shown.
    turn: Mutex<u64>,
    _server: Server,
    _machines: Machines,
    _work: WorkDir,
}

#[derive(Default)]
struct Stage {
    /// What is shown, and its number.
    shown: Mutex<Option<(u64, Shown)>>,
    /// What became of the latest connection to which a number was shown.
    answer: Mutex<Option<(u64, bool)>>,
}

impl Lure {
    /// The one of all tests; it ends with the last of them.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Lure>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let lure = Arc::new(Self::new());
            *shared = Arc::downgrade(&lure);
            lure
        })
    }

    fn new() -> Self {
        let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
        let machines = machine(&programs, &work);
        let server = server(&programs, &work, "example.org");
        let mut agent = Agent::configure(&programs, &work, &server, &machines.all()[0], "agent").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = agent.folder().join("agent.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let ours = listener.local_addr().unwrap().to_string();
        std::fs::write(&file, text.replacen(&server.address(), &ours, 1)).unwrap();
        let stage = Arc::new(Stage::default());
        std::thread::spawn({
            let stage = Arc::clone(&stage);
            move || stage.answer(&listener)
        });
        let log = work.path().join("agent.log");
        agent.start_again(&log).unwrap();
        // Before it listens to signals, one ends it.
        let is_up = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("agent started")).then_some(());
        until("the agent", PATIENCE, is_up).unwrap();
        Self {
            agent,
            stage,
            forge: Forge::of(&server),
            turn: Mutex::new(0),
            _server: server,
            _machines: machines,
            _work: work,
        }
    }

    /// Whether the agent goes on with a server that shows this.
    fn is_taken(&self, turn: &mut u64, shown: Shown) -> bool {
        *turn += 1;
        *self.stage.shown.lock().unwrap() = Some((*turn, shown));
        self.agent.tell("HUP");
        let answer = until("the agent comes", PATIENCE, || {
            let answer = *self.stage.answer.lock().unwrap();
            answer.filter(|(number, _)| number == turn).map(|(_, taken)| taken)
        });
        answer.unwrap_or_else(|why| {
            panic!("{why}: {}", std::fs::read_to_string(self._work.path().join("agent.log")).unwrap())
        })
    }
}

impl Stage {
    /// Shows everyone who comes what is to be shown, and notes what they say.
    fn answer(&self, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            let Some((number, shown)) = self.shown.lock().unwrap().clone() else { continue };
            let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(certified(&shown));
            config.alpn_protocols = vec![b"h2".to_vec()];
            let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(60)));
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
            let mut first = [0; 3];
            let taken = stream.read_exact(&mut first).is_ok() && &first == b"PRI";
            *self.answer.lock().unwrap() = Some((number, taken));
        }
    }
}

#[test]
fn spiffe_012_a_changed_id_is_not_what_was_signed() {
    refused(12);
}

#[test]
fn spiffe_013_an_id_that_stands_elsewhere_is_none() {
    refused(13);
}

#[test]
fn spiffe_014_a_second_uri_is_refused() {
    refused(14);
}

#[test]
fn spiffe_015_a_trust_domain_is_nobody() {
    refused(15);
}

#[test]
fn spiffe_018_a_signing_certificate_authenticates_nobody() {
    refused(18);
}

#[test]
fn spiffe_019_an_authority_is_no_leaf() {
    refused(19);
}

#[test]
fn spiffe_020_key_usage_that_is_missing_or_not_critical_is_refused() {
    refused(20);
}

#[test]
fn spiffe_021_a_leaf_that_may_sign_others_is_refused() {
    refused(21);
}

#[test]
fn spiffe_022_a_leaf_for_something_else_is_refused() {
    refused(22);
}

#[test]
fn spiffe_023_a_path_that_does_not_hold_is_refused() {
    refused(23);
}

#[test]
fn spiffe_024_an_authority_for_another_trust_domain_is_held_to_it() {
    refused(24);
}

/// Writes the bundle that the server reads at its start.
fn rewritten(server: &Server, keys: serde_json::Value) {
    let path = server.folder().join("state/authority/bundle.json");
    let document = serde_json::json!({ "keys": keys, "spiffe_sequence": 7 });
    std::fs::write(path, document.to_string()).unwrap();
}

#[test]
fn spiffe_027_keys_without_x5c_and_all_values_but_the_first_are_passed_over() {
    use base64::Engine as _;
    let work = WorkDir::new().unwrap();
    let mut server = server(&Programs::beside_this_one().unwrap(), &work, "example.org");
    let (forge, second) = (Forge::of(&server), Signer::another("example.org"));
    let text = |signer: &Signer| base64::engine::general_purpose::STANDARD.encode(&signer.der);
    server.daemon().unwrap().stop();
    rewritten(
        &server,
        serde_json::json!([
            { "use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" },
            { "use": "x509-svid", "kty": "EC", "x5c": [text(&forge.root), text(&second)] },
        ]),
    );
    server.start_again(&work.path().join("server.log")).unwrap();
    let address = server.address();
    assert!(is_let_in(&address, Some(&forge.intermediate.leaf(NODE, &[], |_| ()))), "the first value");
    assert!(!is_let_in(&address, Some(&second.leaf(NODE, &[], |_| ()))), "the second value");
    let shown = server.json(&["bundle", "show"]).unwrap();
    assert_eq!(shown["x509_authorities"].as_array().unwrap().len(), 1);
}

#[test]
fn spiffe_013_keys_of_a_use_that_is_not_defined_are_passed_over() {
    use base64::Engine as _;
    let work = WorkDir::new().unwrap();
    let mut server = server(&Programs::beside_this_one().unwrap(), &work, "example.org");
    let (forge, other) = (Forge::of(&server), Signer::another("example.org"));
    let text = |signer: &Signer| base64::engine::general_purpose::STANDARD.encode(&signer.der);
    server.daemon().unwrap().stop();
    let unknown = ["x510-svid", "X509-SVID", "sig", ""]
        .map(|used| serde_json::json!({ "use": used, "kty": "EC", "x5c": [text(&other)] }));
    let ours = serde_json::json!({ "use": "x509-svid", "kty": "EC", "x5c": [text(&forge.root)] });
    let without = serde_json::json!({ "kty": "EC", "x5c": [text(&other)] });
    rewritten(&server, unknown.into_iter().chain([without, ours]).collect());
    server.start_again(&work.path().join("server.log")).unwrap();
    let address = server.address();
    assert!(is_let_in(&address, Some(&forge.intermediate.leaf(NODE, &[], |_| ()))));
    assert!(!is_let_in(&address, Some(&other.leaf(NODE, &[], |_| ()))));
}
