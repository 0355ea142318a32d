//! The published Rust crates `spiffe` and `spiffe-rustls`: mutual TLS between two of them, each by a source that lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use spiffe::x509_source::SvidPicker;
use spiffe::{X509Source, X509Svid};
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::workload::{Agent, own_user};
use crate::{restarted, serial};

/// The identity of this name among all that this user has.
struct Named(String);

impl SvidPicker for Named {
    fn pick_svid(&self, svids: &[Arc<X509Svid>]) -> Option<usize> {
        svids.iter().position(|svid| svid.spiffe_id().to_string() == self.0)
    }
}

fn id(name: &str) -> String {
    format!("spiffe://example.org/{name}")
}

/// A source that follows the Workload API as `name`.
pub(crate) async fn source(agent: &Agent, name: &str) -> X509Source {
    X509Source::builder().endpoint(agent.address()).picker(Named(id(name))).build().await.unwrap()
}

/// Listens as `own`, lets `peer` in alone, and answers with the number of the certificate that it saw.
async fn listen(agent: &Agent, own: &str, peer: &str) -> SocketAddr {
    let config =
        mtls_server(source(agent, own).await).authorize(authorizer::exact([id(peer)]).unwrap()).build().unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                let seen = serial(&stream.get_ref().1.peer_certificates().unwrap()[0]);
                let mut asked = [0; 5];
                // As long as it is asked: an open connection lives on through every rotation.
                while stream.read_exact(&mut asked).await.is_ok() {
                    let _ = stream.write_all(format!("{seen:0>40}").as_bytes()).await;
                    let _ = stream.flush().await;
                }
            });
        }
    });
    address
}

type Open = tokio_rustls::client::TlsStream<TcpStream>;

/// Dials as `own`, and talks to `peer` alone.
struct Client(TlsConnector, SocketAddr);

impl Client {
    async fn new(agent: &Agent, own: &str, peer: &str, server: SocketAddr) -> Self {
        let authorizer = authorizer::exact([id(peer)]).unwrap();
        let config = mtls_client(source(agent, own).await).authorize(authorizer).build().unwrap();
        Self(TlsConnector::from(Arc::new(config)), server)
    }

    /// A connection with what it shows: the server's number, and the client's as the server saw it.
    async fn dialled(&self) -> std::io::Result<(Open, (String, String))> {
        let name = ServerName::IpAddress(self.1.ip().into());
        let mut open = self.0.connect(name, TcpStream::connect(self.1).await?).await?;
        let heard = asked(&mut open).await?;
        let shown = serial(&open.get_ref().1.peer_certificates().unwrap()[0]);
        Ok((open, (shown, heard)))
    }

    async fn until_shown(&self, server: &[u8], client: &[u8]) {
        let (begun, expected) = (Instant::now(), (serial(server), serial(client)));
        loop {
            let shown = self.dialled().await.map(|(_, shown)| shown);
            if shown.as_ref().is_ok_and(|shown| *shown == expected) {
                return;
            }
            assert!(begun.elapsed() < crate::PATIENCE, "{shown:?}, and not {expected:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn asked(open: &mut Open) -> std::io::Result<String> {
    let mut heard = [0; 40];
    open.write_all(b"hello").await?;
    open.flush().await?;
    open.read_exact(&mut heard).await?;
    Ok(String::from_utf8_lossy(&heard).trim_start_matches('0').to_owned())
}

/// Gives this user's processes an identity; its leaf.
pub(crate) fn enter(agent: &Agent, name: &str) -> Vec<u8> {
    let svid = agent.authority.issue(&format!("/{name}"), "", name);
    agent.registry.enter(&[own_user()], svid.clone());
    svid.chain[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_rustls_admits_whom_it_should_through_rotations_and_a_restart_of_the_agent() {
    let mut agent = Agent::started().await;
    let (web, app) = (enter(&agent, "web"), enter(&agent, "app"));
    enter(&agent, "stranger");
    let address = listen(&agent, "web", "app").await;
    let right = Client::new(&agent, "app", "web", address).await;
    let (mut held, shown) = right.dialled().await.unwrap();
    assert_eq!(shown, (serial(&web), serial(&app)));
    let stranger = Client::new(&agent, "stranger", "web", address).await;
    assert!(stranger.dialled().await.is_err(), "a client whom the server does not know");
    let elsewhere = Client::new(&agent, "app", "stranger", address).await;
    assert!(elsewhere.dialled().await.is_err(), "a server whom the client does not know");

    let (web, app) = (enter(&agent, "web"), enter(&agent, "app"));
    right.until_shown(&web, &app).await;
    asked(&mut held).await.expect("the open connection lives on");

    let next = restarted(&mut agent).await;
    let (web, app) = (enter(&next, "web"), enter(&next, "app"));
    next.registry.start();
    right.until_shown(&web, &app).await;
    asked(&mut held).await.expect("the open connection lives on");
}
