//! Azure's metadata service (IMDS): certificates for an SNP report, a quote for a TDREPORT. Plain HTTP to a link-local
//! address: what comes back is believed by nobody until the server has verified it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the service may take for everything; a quote takes a second or two.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the largest answer: three certificates as PEM, or a quote in base64.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Where the certificates of an SNP report are (Azure: Trusted Hardware Identity Management).
const CERTIFICATES: &str = "/metadata/THIM/amd/certification";
/// Where a TDREPORT becomes a quote.
const QUOTE: &str = "/acc/tdquote";

/// Why the metadata service is of no help.
#[derive(Debug, thiserror::Error)]
pub enum ImdsFault {
    /// It cannot be reached, or broke off.
    #[error("metadata service cannot be reached at {uri}")]
    Unreachable {
        /// As configured.
        uri: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers with something else than 200.
    #[error("metadata service answered {path} with status {status}")]
    Status {
        /// What was asked for.
        path: &'static str,
        /// HTTP's.
        status: u16,
    },
    /// Its answer is not what was asked for.
    #[error("metadata service's answer to {path} cannot be read")]
    Answer {
        /// What was asked for.
        path: &'static str,
    },
}

impl ImdsFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "agent.imds.unreachable",
            Self::Status { .. } => "agent.imds.status",
            Self::Answer { .. } => "agent.imds.answer",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certificates {
    vcek_cert: String,
    certificate_chain: String,
}

#[derive(Deserialize)]
struct Quoted {
    quote: String,
}

/// The certificates of this machine's SNP report: the VCEK's, then its chain, PEM.
pub(super) async fn snp_certificates(imds: &Uri) -> Result<Vec<u8>, ImdsFault> {
    let answer = ask(imds, Method::GET, CERTIFICATES, Bytes::new()).await?;
    let Certificates { vcek_cert, certificate_chain } =
        serde_json::from_slice(&answer).map_err(|_| ImdsFault::Answer { path: CERTIFICATES })?;
    Ok(format!("{}\n{certificate_chain}", vcek_cert.trim_end()).into_bytes())
}

/// The quote that the host makes of a TDREPORT.
pub(super) async fn td_quote(imds: &Uri, td_report: &[u8]) -> Result<Vec<u8>, ImdsFault> {
    let request = serde_json::json!({ "report": URL_SAFE_NO_PAD.encode(td_report) });
    let answer = ask(imds, Method::POST, QUOTE, request.to_string().into()).await?;
    let Quoted { quote } = serde_json::from_slice(&answer).map_err(|_| ImdsFault::Answer { path: QUOTE })?;
    URL_SAFE_NO_PAD.decode(quote.trim_end_matches('=')).map_err(|_| ImdsFault::Answer { path: QUOTE })
}

async fn ask(imds: &Uri, method: Method, path: &'static str, body: Bytes) -> Result<Bytes, ImdsFault> {
    let unreachable = |source| ImdsFault::Unreachable { uri: imds.to_string(), source };
    let asked = async {
        let host = imds.host().ok_or("address has no host")?;
        let port = imds.port_u16().unwrap_or(80);
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, imds.authority().map_or("", |authority| authority.as_str()))
            .header("Metadata", "true")
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let response = requests.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        connection.abort();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body))
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok((200, body))) => Ok(body),
        Ok(Ok((status, _))) => Err(ImdsFault::Status { path, status }),
        Ok(Err(source)) => Err(unreachable(source)),
        Err(elapsed) => Err(unreachable(Box::new(elapsed))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A service that answers every request the same way, and tells what it was asked.
    async fn service(status: &'static str, body: String) -> (Uri, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (told, asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 8192];
                let length = stream.read(&mut request).await.unwrap();
                told.send(String::from_utf8_lossy(&request[..length]).into_owned()).unwrap();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
            }
        });
        (uri, asked)
    }

    #[tokio::test]
    async fn certificates_come_as_one_text_with_the_chips_own_first() {
        let body = r#"{"vcekCert":"VCEK\n","tcbm":"DB","certificateChain":"ASK\nARK\n","cacheControl":"86400"}"#;
        let (uri, mut asked) = service("200 OK", body.to_owned()).await;
        assert_eq!(snp_certificates(&uri).await.unwrap(), b"VCEK\nASK\nARK\n");
        let request = asked.recv().await.unwrap().to_lowercase();
        assert!(request.starts_with("get /metadata/thim/amd/certification http/1.1"), "{request}");
        assert!(request.contains("metadata: true"), "{request}");
    }

    #[tokio::test]
    async fn a_report_is_sent_and_its_quote_read_in_url_safe_base64() {
        let (uri, mut asked) = service("200 OK", r#"{"quote":"-_8="}"#.to_owned()).await;
        assert_eq!(td_quote(&uri, &[0xfb, 0xff]).await.unwrap(), [0xfb, 0xff]);
        let request = asked.recv().await.unwrap();
        assert!(request.starts_with("POST /acc/tdquote") && request.ends_with(r#"{"report":"-_8"}"#), "{request}");
    }

    #[tokio::test]
    async fn a_service_that_is_away_refuses_or_talks_nonsense_is_a_fault() {
        let nobody: Uri = "http://127.0.0.1:1".parse().unwrap();
        assert_eq!(snp_certificates(&nobody).await.unwrap_err().code(), "agent.imds.unreachable");
        for (status, body, code) in [
            ("404 Not Found", String::new(), "agent.imds.status"),
            ("200 OK", "{}".to_owned(), "agent.imds.answer"),
            ("200 OK", "x".repeat(ANSWER_BYTES_MAX + 1), "agent.imds.unreachable"),
        ] {
            let (uri, _asked) = service(status, body).await;
            assert_eq!(snp_certificates(&uri).await.unwrap_err().code(), code);
        }
    }
}
