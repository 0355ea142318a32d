//! Files and syslog: lines, frames and datagrams, and that nobody's text gets out of its place.

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UnixDatagram};

use super::receiver::Receiver;
use super::*;

fn file(path: PathBuf, rotate_bytes: u64) -> SinkSettings {
    sink(Destination::File(FileSettings { path, rotate_bytes, keep: 2 }), 1)
}

fn syslog(address: SyslogAddress) -> SinkSettings {
    let timeout = Duration::from_secs(20);
    let to = SyslogSettings { address, ca_file: "/nowhere".into(), enterprise_number: 32_473, timeout };
    sink(Destination::Syslog(to), 2)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn a_hostile_text_stays_in_its_place_in_every_medium() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(1, HOSTILE).await;
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 1)).await;
    running.until("the webhook", |sink| sink.next == 1).await;
    assert_eq!(receiver.taken()[0]["subject"], HOSTILE);
    running.end().await;

    let path = world.path("events.jsonl");
    let running = world.start(SinkSettings { name: "file".to_owned(), ..file(path.clone(), 0) }).await;
    running.until("the file", |sink| sink.next == 1).await;
    running.end().await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.trim_end_matches('\n').chars().all(|c| matches!(c, ' '..='~')), "{text}");
    assert_eq!(lines(&path)[0]["data"]["act"]["subject"], HOSTILE);

    let address = world.path("log");
    let socket = UnixDatagram::bind(&address).unwrap();
    let running = world.start(SinkSettings { name: "syslog".to_owned(), ..syslog(SyslogAddress::Unix(address)) }).await;
    let message = datagram(&socket).await;
    assert!(message.chars().all(|c| matches!(c, ' '..='~')), "{message}");
    assert!(message.starts_with("<109>1 20"), "{message}");
    let subject = r#" subject="x\"\]\\ \\u000d\\n<1>1 - evil\\u001b[31m\\u007f\\u202e\\u0000\\u00e9"]"#;
    assert!(message.contains(subject), "{message}");
    let json = &message[message.find("] {").unwrap() + 2..];
    assert_eq!(serde_json::from_str::<Value>(json).unwrap()["act"]["subject"], HOSTILE);
    running.end().await;
}

async fn datagram(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 65_536];
    let length = tokio::time::timeout(Duration::from_secs(30), socket.recv(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn a_syslog_socket_that_was_away_gets_what_it_missed() {
    let world = World::new().await;
    world.act(2, "node").await;
    let address = world.path("log");
    let running = world.start(syslog(SyslogAddress::Unix(address.clone()))).await;
    running.until("a failure", |sink| sink.failures > 0).await;
    let socket = UnixDatagram::bind(&address).unwrap();
    for index in 0..2 {
        assert!(datagram(&socket).await.contains(&format!(" index=\"{index}\"")));
    }
    running.until("both", |sink| sink.next == 2).await;
    running.end().await;
}

#[tokio::test]
async fn tcp_counts_octets_and_what_a_closed_connection_had_is_sent_again() {
    let world = World::new().await;
    world.act(2, "node").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let running = world.start(syslog(SyslogAddress::Tcp("127.0.0.1".to_owned(), port))).await;
    // The first connection is closed at once: whatever was written to it does not count.
    drop(listener.accept().await.unwrap());
    let (mut stream, _) = listener.accept().await.unwrap();
    running.until("both", |sink| sink.next == 2).await;
    running.end().await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let mut rest = std::str::from_utf8(&bytes).unwrap();
    let mut messages = Vec::new();
    while let Some((length, after)) = rest.split_once(' ') {
        let (message, next) = after.split_at(length.parse().unwrap());
        messages.push(message);
        rest = next;
    }
    assert_eq!(messages.len(), 2);
    assert!(messages[1].contains(" index=\"1\"") && messages[1].ends_with('}'), "{messages:?}");
}

#[tokio::test]
async fn over_tls_only_who_the_file_vouches_for_is_told() {
    let world = World::new().await;
    world.act(1, "node").await;
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = SyslogAddress::Tls("localhost".to_owned(), listener.local_addr().unwrap().port());
    let ca_file = world.path("ca.pem");
    std::fs::write(&ca_file, certified.cert.pem()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let accepting = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut some = vec![0; 16];
            stream.read_exact(&mut some).await.unwrap();
            return (some, stream);
        }
    });
    let stranger = SinkSettings { name: "stranger".to_owned(), ..syslog(address.clone()) };
    let running = world.start(stranger).await;
    running.until("a failure", |sink| sink.failures > 0 && sink.next == 0).await;
    running.end().await;
    let Destination::Syslog(known) = syslog(address).to else { unreachable!() };
    let running = world.start(sink(Destination::Syslog(SyslogSettings { ca_file, ..known }), 1)).await;
    running.until("all", |sink| sink.next == 1).await;
    running.end().await;
    assert!(accepting.await.unwrap().0.is_ascii());
}

#[tokio::test]
async fn a_file_is_rotated_by_size_followed_when_moved_and_keeps_a_torn_line_apart() {
    let world = World::new().await;
    let path = world.path("events.jsonl");
    world.act(3, "node").await;
    std::fs::write(&path, "{\"torn").unwrap();
    let running = world.start(file(path.clone(), 0)).await;
    running.until("three", |sink| sink.next == 3).await;
    assert_eq!(indices(&lines(&path)), [0, 1, 2]);
    std::fs::rename(&path, world.path("moved")).unwrap();
    world.act(1, "node").await;
    running.until("four", |sink| sink.next == 4).await;
    assert_eq!(indices(&lines(&path)), [3]);
    running.end().await;

    let path = world.path("small.jsonl");
    let running = world.start(SinkSettings { name: "small".to_owned(), ..file(path.clone(), 600) }).await;
    running.until("all", |sink| sink.next == 4).await;
    running.end().await;
    let aside = |number: u32| lines(Path::new(&format!("{}.{number}", path.display())));
    assert_eq!([indices(&lines(&path)), indices(&aside(1)), indices(&aside(2))], [vec![3], vec![2], vec![1]]);
    assert!(aside(3).is_empty());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_tried_again() {
    let world = World::new().await;
    world.act(1, "node").await;
    let path = world.path("missing/events.jsonl");
    let running = world.start(file(path.clone(), 0)).await;
    running.until("a failure", |sink| sink.failures > 1).await;
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    running.until("written", |sink| sink.next == 1).await;
    assert_eq!(indices(&lines(&path)), [0]);
    running.end().await;
}
