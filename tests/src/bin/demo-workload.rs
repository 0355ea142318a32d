//! A workload that knows SPIFFE and nothing of Holdfast: the published `spiffe` and `spiffe-rustls` crates, unmodified.
//! It finds the Workload API by `SPIFFE_ENDPOINT_SOCKET`, as any SPIFFE program does.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use futures_util::StreamExt;
use rustls::pki_types::ServerName;
use spiffe::workload_api::error::WorkloadApiError;
use spiffe::x509_source::X509SourceError;
use spiffe::{WorkloadApiClient, X509Source};
use spiffe_rustls::{TlsStatus, TlsStatusSnapshot, authorizer, mtls_client, mtls_server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longest greeting in bytes.
const GREETING_BYTES_MAX: u64 = 256;
/// Tries of one greeting, and the pause between two. While a side takes up what the Workload API has sent, its TLS library
/// shows no certificate, for as long as its task waits for a turn; the other side sees a greeting that is malformed.
const TRIES: (u32, Duration) = (5, Duration::from_millis(100));

#[derive(Parser)]
#[command(about = "A SPIFFE workload for the demo: mutual TLS with another one")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Accept mutual TLS from one SPIFFE ID and answer its greeting.
    Serve {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        expect: String,
    },
    /// Greet a server that must have this SPIFFE ID.
    Call {
        #[arg(long)]
        connect: SocketAddr,
        #[arg(long)]
        expect: String,
    },
    /// Greet that server again and again, for as long as it runs; exit 1 at the first greeting that fails.
    Talk {
        #[arg(long)]
        connect: SocketAddr,
        #[arg(long)]
        expect: String,
    },
    /// Hold the Workload API's stream open and print what comes; exit 1 when it ends with PermissionDenied.
    Watch,
    /// Fetch once and print the SPIFFE ID; exit 1 on PermissionDenied.
    Fetch {
        /// Write svid.pem, svid.key and bundle.pem into this folder
        #[arg(long)]
        write: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Serve { listen, expect } => serve(listen, &expect).await,
        Command::Call { connect, expect } => call(connect, &expect).await,
        Command::Talk { connect, expect } => talk(connect, &expect).await,
        Command::Watch => watch().await,
        Command::Fetch { write } => fetch(write.as_deref()).await,
    }
}

async fn serve(listen: SocketAddr, expect: &str) -> anyhow::Result<()> {
    let source = X509Source::new().await.context("no identity from the Workload API")?;
    let own = source.svid()?.spiffe_id().to_string();
    let (config, status) = mtls_server(source).authorize(authorizer::exact([expect])?).build_with_status()?;
    tokio::spawn(say_what_is_withdrawn(own.clone(), status.clone()));
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(listen).await?;
    println!("{own} listens on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let before = status.current();
        match acceptor.accept(stream).await {
            Ok(mut stream) => {
                let mut greeting = String::new();
                (&mut stream).take(GREETING_BYTES_MAX).read_to_string(&mut greeting).await?;
                println!("{own} heard: {greeting}");
                stream.write_all(format!("welcome, from {own}").as_bytes()).await?;
                stream.shutdown().await?;
            }
            Err(why) if is_of_a_change(&why, &before, &status.current()) => println!("{own} missed a greeting: {why}"),
            Err(why) => println!("{own} refused a peer: {why}"),
        }
    }
}

/// Whether a handshake failed because one of both took up another SVID: we did, or the peer, who says then that he verifies
/// nothing, or shows no certificate.
fn is_of_a_change(why: &std::io::Error, before: &TlsStatusSnapshot, after: &TlsStatusSnapshot) -> bool {
    let ours = !before.available || !after.available || before.applied_revision != after.applied_revision;
    let seen = why.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    ours || matches!(seen, Some(rustls::Error::InvalidMessage(_) | rustls::Error::NoCertificatesPresented))
}

/// Prints each time that the Workload API says that there is no identity for us, though there was.
async fn say_what_is_withdrawn(own: String, mut status: TlsStatus) {
    while status.changed().await.is_ok() {
        let error = status.current().error;
        if let Some(spiffe_rustls::Error::Source(X509SourceError::Withdrawn(why))) = error.as_deref() {
            println!("{own} was withdrawn: {why}");
        }
    }
}

async fn call(connect: SocketAddr, expect: &str) -> anyhow::Result<()> {
    let source = X509Source::new().await.context("no identity from the Workload API")?;
    let own = source.svid()?.spiffe_id().to_string();
    let config = mtls_client(source).authorize(authorizer::exact([expect])?).build()?;
    let answer = greet(connect, &Arc::new(config), &own).await?;
    println!("{own} heard: {answer}");
    Ok(())
}

/// One identity that the Workload API keeps fresh, and one connection after another.
async fn talk(connect: SocketAddr, expect: &str) -> anyhow::Result<()> {
    let source = X509Source::new().await.context("no identity from the Workload API")?;
    let own = source.svid()?.spiffe_id().to_string();
    let (config, status) = mtls_client(source).authorize(authorizer::exact([expect])?).build_with_status()?;
    let config = Arc::new(config);
    tokio::spawn(say_what_is_withdrawn(own.clone(), status));
    for number in 1_u64.. {
        let mut tries = 1;
        while let Err(why) = greet(connect, &config, &own).await {
            if tries == TRIES.0 {
                println!("greeting {number} failed: {why:#}");
                std::process::exit(1);
            }
            tries += 1;
            println!("greeting {number} is tried again: {why:#}");
            tokio::time::sleep(TRIES.1).await;
        }
        println!("greeting {number} answered");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn greet(connect: SocketAddr, config: &Arc<rustls::ClientConfig>, own: &str) -> anyhow::Result<String> {
    let stream = TcpStream::connect(connect).await?;
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    let mut stream = connector.connect(ServerName::IpAddress(connect.ip().into()), stream).await?;
    stream.write_all(format!("hello, from {own}").as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.take(GREETING_BYTES_MAX).read_to_string(&mut answer).await?;
    if answer.is_empty() {
        bail!("the server said nothing");
    }
    Ok(answer)
}

async fn watch() -> anyhow::Result<()> {
    let client = WorkloadApiClient::connect_env().await?;
    let mut updates = client.stream_x509_contexts().await?;
    while let Some(update) = updates.next().await {
        match update {
            Ok(context) => {
                let svid = context.default_svid().context("an update without an SVID")?;
                println!("update: {}", svid.spiffe_id());
            }
            Err(why) => denied(&why)?,
        }
    }
    println!("the stream ended");
    tokio::time::sleep(Duration::from_millis(10)).await;
    Ok(())
}

async fn fetch(write: Option<&Path>) -> anyhow::Result<()> {
    let context = match WorkloadApiClient::connect_env().await?.fetch_x509_context().await {
        Ok(context) => context,
        Err(why) => return denied(&why),
    };
    let svid = context.default_svid().context("an answer without an SVID")?;
    println!("{}", svid.spiffe_id());
    let Some(folder) = write else { return Ok(()) };
    let certificates = |ders: &mut dyn Iterator<Item = &[u8]>| -> String {
        ders.map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der))).collect()
    };
    let bundle = context.bundle_set().get(svid.spiffe_id().trust_domain()).context("no bundle of the own domain")?;
    let key = pem::encode(&pem::Pem::new("PRIVATE KEY", svid.private_key().as_bytes()));
    std::fs::write(folder.join("svid.pem"), certificates(&mut svid.cert_chain().iter().map(|c| c.as_bytes())))?;
    std::fs::write(folder.join("bundle.pem"), certificates(&mut bundle.authorities().iter().map(|c| c.as_bytes())))?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join("svid.key"))?;
    file.write_all(key.as_bytes())?;
    Ok(())
}

/// Says so and exits with 1 if the Workload API denied an identity; other errors are returned.
fn denied(why: &WorkloadApiError) -> anyhow::Result<()> {
    match why {
        WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => {
            println!("PermissionDenied: {why}");
            std::process::exit(1)
        }
        other => bail!("the Workload API failed: {other}"),
    }
}
