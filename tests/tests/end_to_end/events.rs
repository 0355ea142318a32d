//! Events go out of the real server: in order and at least once across a `kill -9`, and exported in one go.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use holdfast_tests::{Programs, Server, WorkDir, until};
use serde_json::Value;

use crate::world::{DOMAIN, PATIENCE};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

/// Takes every delivery, and what came before is remembered.
struct Receiver {
    port: u16,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let events: Arc<Mutex<Vec<Value>>> = Arc::default();
        let taken = events.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever is killed in the middle of a delivery has not delivered.
                let _ = take(stream.unwrap(), &taken);
            }
        });
        Self { port, events }
    }

    fn indices(&self) -> Vec<u64> {
        self.events.lock().unwrap().iter().filter_map(|event| event["data"]["index"].as_u64()).collect()
    }
}

fn take(stream: TcpStream, taken: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let (mut length, mut signature, mut line) = (0, String::new(), String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if lower.starts_with("webhook-signature:") {
            signature.clone_from(&line);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    assert!(signature.contains("v1,"), "{signature}");
    match serde_json::from_slice(&body).unwrap() {
        Value::Array(events) => taken.lock().unwrap().extend(events),
        event => taken.lock().unwrap().push(event),
    }
    (&stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
}

#[test]
fn every_event_arrives_in_order_although_the_server_is_killed() {
    let (programs, work, receiver) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap(), Receiver::start());
    let (secret, file) = (work.path().join("secret"), work.path().join("events.jsonl"));
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let sinks = format!(
        "[[events.webhook]]\nname = \"soar\"\nurl = \"http://127.0.0.1:{}/\"\nsecret_file = \"{}\"\nfrom = \"start\"\nbatch = 3\n\
         [[events.file]]\nname = \"siem\"\npath = \"{}\"\nfrom = \"start\"\n",
        receiver.port,
        secret.display(),
        file.display()
    );
    let log = work.path().join("server.log");
    let mut server = Server::init_with(&programs, &work, DOMAIN, &sinks).unwrap().start(&log).unwrap();
    let mut acted = 0;
    for round in 0..3 {
        for _ in 0..6 {
            acted += 1;
            server.operator(&["node", "allow", "--ek-sha256", &format!("{acted:064x}")]).unwrap();
        }
        if round < 2 {
            server.daemon().unwrap().kill();
            server.start_again(&log).unwrap();
        }
    }
    let size = server.json(&["healthcheck"]).unwrap()["record_size"].as_u64().unwrap();
    assert!(size >= acted);
    let all: Vec<u64> = (0..size).collect();
    let first_times = |indices: Vec<u64>| {
        let mut seen = std::collections::BTreeSet::new();
        indices.into_iter().filter(|index| seen.insert(*index)).collect::<Vec<_>>()
    };
    let arrived =
        until("all events", PATIENCE, || (first_times(receiver.indices()).len() as u64 >= size).then_some(()));
    arrived.unwrap_or_else(|why| panic!("{why}: {:?}\n{}", receiver.indices(), std::fs::read_to_string(&log).unwrap()));
    assert_eq!(first_times(receiver.indices())[..all.len()], all);

    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    until("all lines", PATIENCE, || {
        let indices = first_times(lines().iter().filter_map(|line| line["data"]["index"].as_u64()).collect());
        (indices.len() as u64 >= size).then(|| assert_eq!(indices[..all.len()], all))
    })
    .unwrap();

    // What is exported is what was sent.
    let exported = server.operator(&["events", "export", "--from", "2", "--to", "4"]).unwrap();
    let exported: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sent = lines();
    let sent = |index: u64| sent.iter().find(|line| line["data"]["index"] == index).unwrap().clone();
    assert_eq!(exported, (2..=4).map(sent).collect::<Vec<_>>());
    let syslog = server.operator(&["events", "export", "--format", "syslog", "--to", "0"]).unwrap();
    assert!(syslog.starts_with("<10") && syslog.contains("[holdfast@32473 id=\""), "{syslog}");

    let listed = server.json(&["events", "list"]).unwrap();
    assert!(listed["sinks"].as_array().unwrap().iter().all(|sink| sink["state"] == "running"), "{listed}");
    server.operator(&["events", "test", "soar"]).unwrap();
    assert!(receiver.events.lock().unwrap().iter().any(|event| event["type"] == "dev.holdfast.test.v1"));
    let replayed = server.json(&["events", "replay", "soar", "--from", "1"]).unwrap();
    assert_eq!(replayed["name"], "soar");
    let refused = server.cli(&["events", "replay", "soar", "--from", "1000000"]).unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("(events.beyond_head)"), "{refused:?}");
    server.operator(&["audit", "verify"]).unwrap();
}
