//! Strangers at the agent port: nothing of theirs reaches the record, and everybody else goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::world::{World, id};

const ROUNDS: usize = 8;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn garbage_on_the_agent_port_changes_nothing() {
    let mut world = World::enrolled(1);
    world.create_entry(0, "web");
    let mut watch = world.watch(0, &id("web"));
    let (attempts, before) = (world.attempts().len(), record(&world));

    let mut half_open = Vec::new();
    for round in 0..ROUNDS {
        let noise: Vec<u8> = (0..2048usize).map(|at| (at.wrapping_mul(2_654_435_761) >> (round + 3)) as u8).collect();
        send(&world, &noise);
        send(&world, b"GET / HTTP/1.1\r\nHost: holdfast\r\n\r\n");
        send(&world, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        // A TLS record that promises more than comes.
        send(&world, &[0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0x3f, 0xfc, 0x03, 0x03]);
        half_open.push(TcpStream::connect(world.server.address()).unwrap());
    }
    for alpn in [&[][..], &[b"http/1.1".to_vec()], &[b"h2".to_vec()]] {
        for said in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            &[0; 4096],
        ] {
            over_tls(&world, alpn, said);
        }
    }

    assert_eq!(world.server.cli(&["healthcheck"]).unwrap().code, 0);
    assert_eq!(world.attempts().len(), attempts, "{:#?}", world.attempts());
    assert_eq!(record(&world), before);
    assert!(watch.is_open());
    assert!(world.server.daemon().unwrap().ended().is_none());
    let log = std::fs::read_to_string(world.work.path().join("server.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
    // While the half-open ones still stand, the machine attests.
    world.attest_until(0, "admitted");
    world.create_entry(0, "more");
    watch.until_shows(&id("more"));
    drop(half_open);
}

/// The record's number of entries and its head, as `audit verify` says them.
fn record(world: &World) -> String {
    world.server.operator(&["audit", "verify"]).unwrap()
}

/// Says `bytes`, and reads until the server hangs up.
fn send(world: &World, bytes: &[u8]) {
    let mut stream = TcpStream::connect(world.server.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.take(65_536).read_to_end(&mut answer);
}

/// The same over TLS, as one who knows the trust domain's bundle. A refused handshake is as good.
fn over_tls(world: &World, alpn: &[Vec<u8>], bytes: &[u8]) {
    let mut roots = RootCertStore::empty();
    let bundle = world.server.operator(&["bundle", "show"]).unwrap();
    for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.to_vec();
    let stream = TcpStream::connect(world.server.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let name = ServerName::try_from(world.server.domain().to_owned()).unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    let _ = tls.write_all(bytes);
    tls.conn.send_close_notify();
    let _ = tls.flush();
    let _ = tls.sock.shutdown(Shutdown::Write);
    let _ = tls.take(65_536).read_to_end(&mut Vec::new());
}
