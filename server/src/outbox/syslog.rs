//! A sink that receives syslog: a Unix datagram socket, or TCP with octet counting (RFC 6587), with TLS or without.
//!
//! Syslog acknowledges nothing. Over TCP a delivery counts once the connection outlives it by [`SETTLE`]; what a receiver
//! loses after that is lost, which docs/events.md says.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::event::{Event, Source};
use super::rfc5424::Speaker;
use super::sender::Delivery;
use super::settings::{SyslogAddress, SyslogSettings};
use crate::http;

/// How long a connection must stay whole after the last byte.
const SETTLE: Duration = Duration::from_millis(100);

/// A syslog receiver.
pub(super) struct Syslog {
    speaker: Speaker,
    address: SyslogAddress,
    timeout: Duration,
    tls: Option<Arc<ClientConfig>>,
    line: Option<Line>,
}

/// A connection.
enum Line {
    Datagram(UnixDatagram),
    Stream(Box<dyn Duplex>),
}

trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + Unpin> Duplex for T {}

impl Syslog {
    pub(super) fn new(settings: &SyslogSettings) -> Self {
        let tls = match settings.address {
            SyslogAddress::Tls(..) => http::tls(&settings.ca_file),
            SyslogAddress::Unix(_) | SyslogAddress::Tcp(..) => None,
        };
        Self {
            speaker: Speaker::of_this_host(settings.enterprise_number),
            address: settings.address.clone(),
            timeout: settings.timeout,
            tls,
            line: None,
        }
    }

    pub(super) async fn deliver(&mut self, events: &[Event], source: &Source) -> Delivery {
        let messages: Vec<String> = events.iter().map(|event| self.speaker.message(event, source)).collect();
        let (limit, several) = (self.timeout, messages.len() > 1);
        let sent = match timeout(limit, self.send(&messages)).await {
            Ok(sent) => sent,
            Err(_) => Err(std::io::Error::other(format!("not taken within {} s", limit.as_secs_f32()))),
        };
        match sent {
            Ok(()) => Delivery::Taken,
            Err(error) => {
                self.line = None;
                // EMSGSIZE: no datagram may be this long, today or tomorrow.
                match error.raw_os_error() {
                    Some(code) if code == rustix::io::Errno::MSGSIZE.raw_os_error() => {
                        let which = if several { "a message" } else { "the message" };
                        Delivery::Rejected(format!("{which} is too long for a datagram"))
                    }
                    _ => Delivery::failed(error.to_string()),
                }
            }
        }
    }

    async fn send(&mut self, messages: &[String]) -> std::io::Result<()> {
        let line = match self.line.take() {
            Some(line) => line,
            None => self.connect().await?,
        };
        let line = match line {
            Line::Datagram(socket) => {
                for message in messages {
                    let sent = socket.send(message.as_bytes()).await?;
                    if sent != message.len() {
                        return Err(std::io::Error::other("a datagram was cut"));
                    }
                }
                Line::Datagram(socket)
            }
            Line::Stream(mut stream) => {
                let frames: String = messages.iter().map(|message| format!("{} {message}", message.len())).collect();
                stream.write_all(frames.as_bytes()).await?;
                stream.flush().await?;
                still_open(&mut stream).await?;
                Line::Stream(stream)
            }
        };
        // Only a line that did all its work is used again.
        self.line = Some(line);
        Ok(())
    }

    async fn connect(&self) -> std::io::Result<Line> {
        match &self.address {
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Line::Datagram(socket))
            }
            SyslogAddress::Tcp(host, port) => {
                Ok(Line::Stream(Box::new(TcpStream::connect((host.as_str(), *port)).await?)))
            }
            SyslogAddress::Tls(host, port) => {
                let socket = TcpStream::connect((host.as_str(), *port)).await?;
                let name = ServerName::try_from(host.clone()).map_err(std::io::Error::other)?;
                let tls = self.tls.clone().ok_or_else(|| std::io::Error::other("TLS is not available"))?;
                Ok(Line::Stream(Box::new(TlsConnector::from(tls).connect(name, socket).await?)))
            }
        }
    }
}

/// Waits for the connection to end, a moment long. A receiver has nothing to say; what it says all the same is dropped.
async fn still_open(stream: &mut Box<dyn Duplex>) -> std::io::Result<()> {
    let mut said = [0; 256];
    match timeout(SETTLE, stream.read(&mut said)).await {
        Ok(Ok(0)) => Err(std::io::Error::other("the receiver closed the connection")),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
