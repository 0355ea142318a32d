//! What is withdrawn is gone from the streams at once, stands on the lists, and is refused by whoever checks by them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use holdfast_tests::{Output, until};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use crate::world::{PATIENCE, World, id, own_uid};

/// What a workload holds: it was fetched over the Workload API and written to files.
struct Held {
    chain: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
}

impl Held {
    fn serial(&self) -> Vec<u8> {
        X509Certificate::from_der(&self.chain[0]).unwrap().1.raw_serial().to_vec()
    }

    /// Whether a TLS server that checks the whole chain by `lists`, and takes no unknown status, refuses it as revoked.
    fn is_refused(&self, lists: &[Vec<u8>]) -> bool {
        let mut roots = RootCertStore::empty();
        self.roots.iter().for_each(|root| roots.add(CertificateDer::from(root.clone())).unwrap());
        let lists = lists.iter().map(|der| CertificateRevocationListDer::from(der.clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(lists).build().unwrap();
        let chain: Vec<_> = self.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        match verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()) {
            Ok(_) => false,
            Err(error) => {
                assert!(error.to_string().contains("Revoked"), "{error}");
                true
            }
        }
    }
}

impl World {
    /// What a workload on machine `index` gets.
    fn held(&self, index: usize) -> Held {
        let held = until("a workload has its SVID", PATIENCE, || self.held_now(index));
        held.unwrap_or_else(|why| panic!("{why}\n{}", self.logs()))
    }

    /// The same; nothing while it gets none.
    fn held_now(&self, index: usize) -> Option<Held> {
        let folder = self.work.path().join(format!("held-{index}-{}", self.work.path().read_dir().unwrap().count()));
        std::fs::create_dir(&folder).unwrap();
        let mut command = self.programs.command("holdfast-agent");
        command.args(["api", "fetch", "x509", "--socket-path"]).arg(self.agents[index].socket());
        if Output::of(command.arg("--write").arg(&folder)).unwrap().code != 0 {
            return None;
        }
        let read = |name: &str| -> Vec<Vec<u8>> {
            let found = CertificateDer::pem_file_iter(folder.join(name)).unwrap();
            found.map(|one| one.unwrap().to_vec()).collect()
        };
        Some(Held { chain: read("svid.0.pem"), roots: read("bundle.0.pem") })
    }

    /// The revocation lists as the running server shows them over HTTP, and the root's.
    fn lists(&self, held: &Held, place: &Place) -> Vec<Vec<u8>> {
        let (_, intermediate) = X509Certificate::from_der(&held.chain[1]).unwrap();
        let key = ring::digest::digest(&ring::digest::SHA256, intermediate.public_key().raw);
        let (_, root) = X509Certificate::from_der(&held.roots[0]).unwrap();
        let root = ring::digest::digest(&ring::digest::SHA256, root.public_key().raw);
        [key, root].iter().map(|key| place.get(&hex::encode(&key.as_ref()[..20]))).collect()
    }

    /// Waits until the list has it, and says whether whoever checks by it refuses it.
    fn until_listed(&self, held: &Held, place: &Place) {
        until("the serial number on the list", PATIENCE, || {
            let list = self.lists(held, place).swap_remove(0);
            let (_, list) = CertificateRevocationList::from_der(&list).unwrap();
            list.iter_revoked_certificates().any(|one| one.raw_serial() == held.serial()).then_some(())
        })
        .unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
        assert!(held.is_refused(&self.lists(held, place)));
    }

    fn is_listed(&self, held: &Held, place: &Place) -> bool {
        held.is_refused(&self.lists(held, place))
    }
}

/// Where the lists are served.
struct Place(u16);

impl Place {
    fn configured() -> (Self, String) {
        let port = holdfast_tests::free_port().unwrap();
        let more = format!("[crl]\nlisten = \"127.0.0.1:{port}\"\nurl = \"http://127.0.0.1:{port}/crl\"\n");
        (Self(port), more)
    }

    fn get(&self, issuer: &str) -> Vec<u8> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.0)).unwrap();
        write!(stream, "GET /crl/{issuer}.crl HTTP/1.1\r\nHost: crl\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        assert!(head.starts_with("http/1.1 200") && head.contains("application/pkix-crl"), "{head}");
        answer.split_off(end)
    }
}

fn enrolled(count: usize) -> (World, Place) {
    let (place, more) = Place::configured();
    (World::enrolled_with(count, &more), place)
}

fn milliseconds(since: Instant) -> u128 {
    since.elapsed().as_millis()
}

#[test]
fn a_ban_withdraws_what_workloads_hold_and_lists_it() {
    let (world, place) = enrolled(2);
    (0..2).for_each(|index| drop(world.create_entry(index, "web")));
    let (bad, good) = (world.held(0), world.held(1));
    assert!(!world.is_listed(&bad, &place) && !world.is_listed(&good, &place));
    let mut stream = world.watch(0, &id("web"));
    let mut other = world.watch(1, &id("web"));
    world.server.operator(&["node", "ban", &world.node_id(0), "--reason", "stolen"]).unwrap();
    let from = Instant::now();
    stream.until_denied();
    println!("from the command's return to the stream's end: {} ms", milliseconds(from));
    world.until_listed(&bad, &place);
    println!("to the list: {} ms", milliseconds(from));
    assert!(!world.is_listed(&good, &place) && other.is_open());
    // The other machine's workloads have the list, too: from the agent, without asking the server.
    until("the list in the stream", PATIENCE, || {
        let lists = from_the_agent(&world, 1);
        (lists.len() == 2 && bad.is_refused(&lists)).then_some(())
    })
    .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    world.server.operator(&["audit", "verify"]).unwrap();
}

/// The lists of the Workload API.
fn from_the_agent(world: &World, index: usize) -> Vec<Vec<u8>> {
    let mut command = world.programs.command("holdfast-agent");
    command.args(["api", "fetch", "x509", "--output", "json", "--socket-path"]).arg(world.agents[index].socket());
    let answer = Output::of(&mut command).unwrap().json().unwrap();
    let lists = answer["crl"].as_array().unwrap_or_else(|| panic!("{answer:#}"));
    lists.iter().map(|list| base64(list.as_str().unwrap())).collect()
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[test]
fn an_operator_finds_what_lives_and_withdraws_it_by_hand() {
    let (world, place) = enrolled(2);
    (0..2).for_each(|index| drop(world.create_entry(index, "web")));
    let (first, second) = (world.held(0), world.held(1));
    let serials = |words: &[&str]| -> Vec<String> {
        let listed = world.server.json(&[&["svid", "list"], words].concat()).unwrap();
        let svids = listed["svids"].as_array().unwrap();
        svids.iter().map(|one| one["serial"].as_str().unwrap().to_owned()).collect()
    };
    let web = id("web");
    let (bad, good) = (hex::encode(first.serial()), hex::encode(second.serial()));
    let named = serials(&["--spiffe-id", &web]);
    assert!(named.contains(&bad) && named.contains(&good), "{named:?}");
    let on_first = serials(&["--spiffe-id", &web, "--node", &world.node_id(0)]);
    assert!(on_first.contains(&bad) && !on_first.contains(&good), "{on_first:?}");
    assert!(serials(&["--spiffe-id", &world.node_id(0)]).iter().all(|serial| !named.contains(serial)));
    let shown = world.server.json(&["svid", "show", &bad.to_uppercase()]).unwrap();
    assert_eq!((shown["spiffe_id"].as_str(), shown["node_id"].as_str()), (Some(&*web), Some(&*world.node_id(0))));

    world.server.operator(&["svid", "revoke", "--serial", &bad, "--reason", "keyCompromise"]).unwrap();
    world.until_listed(&first, &place);
    assert!(!world.is_listed(&second, &place));
    let again = world.server.cli(&["svid", "revoke", "--serial", &bad, "--reason", "keyCompromise"]).unwrap();
    assert!(again.code == 1 && again.stderr.contains("admin.not_found"), "{again:?}");
    let gone = world.server.cli(&["svid", "show", &bad]).unwrap();
    assert_ne!(gone.code, 0, "{gone:?}");
    // Whoever still matches has another by now, with another key.
    let fresh = until("another SVID", PATIENCE, || {
        let now = world.held_now(0)?;
        (now.serial() != first.serial() && !world.is_listed(&now, &place)).then_some(now)
    });
    let fresh = fresh.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    world.server.operator(&["svid", "revoke", "--spiffe-id", &web, "--reason", "privilegeWithdrawn"]).unwrap();
    world.until_listed(&fresh, &place);
    world.until_listed(&second, &place);
    let nothing = world.server.cli(&["svid", "revoke", "--reason", "superseded"]).unwrap();
    assert_eq!(nothing.code, 2, "{nothing:?}");
    world.server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn an_evicted_node_gets_new_identities_and_the_old_ones_are_refused() {
    let (world, place) = enrolled(1);
    world.create_entry(0, "web");
    let before = world.held(0);
    world.server.operator(&["node", "evict", &world.node_id(0)]).unwrap();
    world.until_listed(&before, &place);
    until("a new identity", PATIENCE, || {
        let now = world.held_now(0)?;
        (now.serial() != before.serial() && !world.is_listed(&now, &place)).then_some(())
    })
    .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
}

#[test]
fn a_deleted_entry_and_one_with_other_selectors_withdraw_what_they_gave() {
    let (world, place) = enrolled(1);
    let entry = world.create_entry(0, "web");
    let first = world.held(0);
    let mut stream = world.watch(0, &id("web"));
    let (web, parent, user) = (id("web"), world.node_id(0), own_uid());
    let update = |selector: &str| {
        let words = ["entry", "update", &entry, "--spiffe-id", &web, "--parent-id", &parent, "--selector", selector];
        world.server.operator(&words).unwrap();
    };
    update("unix:uid:4294967000");
    stream.until_denied();
    world.until_denied(0);
    world.until_listed(&first, &place);
    update(&user);
    let second = world.held(0);
    assert!(!world.is_listed(&second, &place) && second.serial() != first.serial());
    world.server.operator(&["entry", "delete", &entry]).unwrap();
    world.until_denied(0);
    world.until_listed(&second, &place);
}

#[test]
fn a_machine_that_fails_its_next_quote_loses_what_its_workloads_hold() {
    let (mut world, place) = enrolled(1);
    world.create_entry(0, "web");
    let held = world.held(0);
    world.machines.tell(0, "tamper", &["kernel"]).unwrap();
    let refused = world.attest_until(0, "refused");
    assert_eq!(refused["outcome"], "refused", "{refused:#}");
    world.until_denied(0);
    world.until_listed(&held, &place);
    drop(world.agents.pop());
}

#[test]
fn what_an_agent_holds_that_is_away_is_listed_when_its_node_is_banned() {
    let (mut world, place) = enrolled(1);
    world.create_entry(0, "web");
    let (held, node) = (world.held(0), world.node_id(0));
    world.agents[0].daemon().unwrap().kill();
    world.server.operator(&["node", "ban", &node, "--reason", "stolen"]).unwrap();
    world.until_listed(&held, &place);
    // The list outlives the server, and its number rises.
    let number = |world: &World| {
        let list = world.lists(&held, &place).swap_remove(0);
        let (_, list) = CertificateRevocationList::from_der(&list).unwrap();
        list.crl_number().unwrap().to_string().parse::<u64>().unwrap()
    };
    let before = number(&world);
    world.server.daemon().unwrap().stop();
    let log = world.work.path().join("server.log");
    world.server.start_again(&log).unwrap();
    assert!(world.is_listed(&held, &place) && number(&world) > before);
}

#[test]
fn openssl_checks_a_real_identity_by_the_lists_of_a_real_server() {
    let (world, place) = enrolled(1);
    let entry = world.create_entry(0, "web");
    let held = world.held(0);
    assert!(openssl(&world, &held, &place).contains(": OK"));
    world.server.operator(&["entry", "delete", &entry]).unwrap();
    world.until_listed(&held, &place);
    assert!(openssl(&world, &held, &place).contains("certificate revoked"));
}

fn openssl(world: &World, held: &Held, place: &Place) -> String {
    let folder = world.work.path().join("openssl");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, label: &str, ders: &[Vec<u8>]| -> PathBuf {
        let text: String = ders.iter().map(|der| pem::encode(&pem::Pem::new(label, der.clone()))).collect();
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    let lists = write("lists.pem", "X509 CRL", &world.lists(held, place));
    let (roots, leaf) =
        (write("roots.pem", "CERTIFICATE", &held.roots), write("leaf.pem", "CERTIFICATE", &held.chain[..1]));
    let above = write("above.pem", "CERTIFICATE", &held.chain[1..]);
    let word = |path: &Path| path.display().to_string();
    let output = Command::new("openssl")
        .args(["verify", "-crl_check_all", "-CAfile", &word(&roots), "-CRLfile", &word(&lists)])
        .args(["-untrusted", &word(&above), &word(&leaf)])
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
