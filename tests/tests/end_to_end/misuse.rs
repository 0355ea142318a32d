//! Strangers at the agent port: nothing of theirs reaches the record, and everybody else goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use crate::world::{World, id};

const ROUNDS: usize = 8;
/// Types and a flag of HTTP/2 frames.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 0x01;
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

    for method in ["Attestation/Begin", "Attestation/Complete", "Node/Sync", "Node/SignX509Svids", "Node/Nothing"] {
        let path = format!("/holdfast.agent.v1.{method}");
        // Nothing; an empty message; one that does not decode; one that promises 4 GiB; a compressed one.
        for body in
            [&[][..], &[0; 5], &[0, 0, 0, 0, 3, 0xff, 0xff, 0xff], &[0, 0xff, 0xff, 0xff, 0xff, 1], &[1, 0, 0, 0, 1, 7]]
        {
            call(&world, &path, body);
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

/// The record's number of entries and its root, as `audit verify` says them.
fn record(world: &World) -> String {
    let audit = world.server.operator(&["audit", "verify"]).unwrap();
    // Checkpoints are signed meanwhile.
    audit.lines().take(2).map(|line| format!("{line}\n")).collect()
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

/// The same over TLS. A refused handshake is as good.
fn over_tls(world: &World, alpn: &[Vec<u8>], bytes: &[u8]) {
    let mut tls = connect(world, alpn);
    let _ = tls.write_all(bytes);
    tls.conn.send_close_notify();
    let _ = tls.flush();
    let _ = tls.sock.shutdown(Shutdown::Write);
    let _ = tls.take(65_536).read_to_end(&mut Vec::new());
}

/// Calls `path` over HTTP/2 with `body` and waits for the end of the answer: trailers, or a reset stream.
fn call(world: &World, path: &str, body: &[u8]) {
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut headers = Vec::new();
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", world.server.domain()),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in fields {
        // A literal without indexing and without Huffman.
        headers.extend([0, name.len() as u8]);
        headers.extend(name.bytes());
        headers.push(value.len() as u8);
        headers.extend(value.bytes());
    }
    for (kind, flags, stream, payload) in
        [(4, 0, 0, &[][..]), (HEADERS, 0x04, 1, headers.as_slice()), (0, END_STREAM, 1, body)]
    {
        said.extend([0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags, 0, 0, 0, stream]);
        said.extend(payload);
    }
    let mut tls = connect(world, &[b"h2".to_vec()]);
    tls.write_all(&said).unwrap();
    loop {
        let mut frame = [0; 9];
        tls.read_exact(&mut frame).expect("an answer");
        let mut payload = vec![0; u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize];
        tls.read_exact(&mut payload).unwrap();
        let ends = (frame[3] == HEADERS && frame[4] & END_STREAM != 0) || frame[3] == RST_STREAM;
        if ends && frame[8] == 1 {
            return;
        }
    }
}

fn connect(world: &World, alpn: &[Vec<u8>]) -> StreamOwned<ClientConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = alpn.to_vec();
    let stream = TcpStream::connect(world.server.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let name = ServerName::try_from(world.server.domain().to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

/// A stranger talks to any server.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
