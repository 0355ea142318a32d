//! One bounded question to an HTTP service on this machine: a container runtime, the kubelet. Believes no answer: what
//! it means is for those who ask.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host and port, without TLS.
    Plain(String, u16),
    /// Host and port, with TLS.
    Tls(String, u16),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Plain(host, port) => write!(f, "http://{host}:{port}"),
            Self::Tls(host, port) => write!(f, "https://{host}:{port}"),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpFault {
    /// It cannot be reached, breaks off, says too much, or is not whom it should be.
    #[error("{address} does not answer")]
    Unreachable {
        /// As configured.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It takes too long.
    #[error("{address} took longer than {} s", limit.as_secs())]
    TimedOut {
        /// As configured.
        address: String,
        /// What it may take.
        limit: Duration,
    },
    /// It answers with something else than 200.
    #[error("{address} answered with status {status}")]
    Status {
        /// As configured.
        address: String,
        /// HTTP's.
        status: u16,
    },
    /// Its answer is not what was asked for.
    #[error("answer of {address} cannot be read")]
    Answer {
        /// As configured.
        address: String,
        /// Where it departs from the form.
        #[source]
        source: serde_json::Error,
    },
}

impl HttpFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "attest.http.unreachable",
            Self::TimedOut { .. } => "attest.http.timed_out",
            Self::Status { .. } => "attest.http.status",
            Self::Answer { .. } => "attest.http.answer",
        }
    }
}

/// What is asked, and how much may come back.
pub(super) struct Question<'a> {
    pub(super) address: &'a Address,
    /// For [`Address::Tls`]: whom to believe, and who it must be.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) path: &'a str,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) bytes_max: usize,
    /// How long the service may take.
    pub(super) patience: Duration,
}

impl Question<'_> {
    /// The status and the body.
    pub(super) async fn ask(self) -> Result<(u16, Bytes), HttpFault> {
        let (address, limit) = (self.address.to_string(), self.patience);
        match tokio::time::timeout(limit, self.asked()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(HttpFault::Unreachable { address, source }),
            Err(_) => Err(HttpFault::TimedOut { address, limit }),
        }
    }

    async fn asked(self) -> Result<(u16, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        match (self.address, &self.tls) {
            (Address::Unix(path), _) => over(UnixStream::connect(path).await?, "localhost", &self).await,
            (Address::Plain(host, port), _) => {
                over(TcpStream::connect((host.as_str(), *port)).await?, host, &self).await
            }
            (Address::Tls(host, port), Some((connector, name))) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                over(connector.connect(name.clone(), stream).await?, host, &self).await
            }
            (Address::Tls(..), None) => Err("no TLS configuration".into()),
        }
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    host: &str,
    question: &Question<'_>,
) -> Result<(u16, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this question, also where that is given up.
    let mut connection = tokio::task::JoinSet::from_iter([connection]);
    let mut request = Request::get(question.path).header(HOST, host).header(ACCEPT, "application/json");
    if let Some(authorization) = &question.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let answered = async {
        let response = requests.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), question.bytes_max).collect().await?.to_bytes();
        Ok((status, body))
    }
    .await;
    connection.abort_all();
    answered
}

#[cfg(test)]
mod tests {
    use super::super::service::Service;
    use super::*;

    async fn ask(service: &Service, bytes_max: usize) -> Result<(u16, Bytes), HttpFault> {
        let (address, patience) = (service.address(), Duration::from_millis(200));
        Question { address: &address, tls: None, path: "/x", authorization: None, bytes_max, patience }.ask().await
    }

    #[tokio::test]
    async fn an_answer_is_status_and_body() {
        let service = Service::answering(|_, path| ("418 I'm a teapot", path.to_owned()));
        assert_eq!(ask(&service, 2).await.unwrap(), (418, Bytes::from("/x")));
        assert_eq!(ask(&service, 1).await.unwrap_err().code(), "attest.http.unreachable");
    }

    #[tokio::test]
    async fn a_slow_service_is_given_up() {
        let service = Service::slow(Duration::from_secs(3600), |_, _| ("200 OK", String::new()));
        assert_eq!(ask(&service, 9).await.unwrap_err().code(), "attest.http.timed_out");
    }

    #[tokio::test]
    async fn what_is_no_http_is_a_fault() {
        let service = Service::answering(|_, _| ("200 OK\r\ncontent-length: x", String::new()));
        assert_eq!(ask(&service, 9).await.unwrap_err().code(), "attest.http.unreachable");
    }
}
