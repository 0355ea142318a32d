//! `command`: a program of the operator's gets the request on its standard input and prints certificates. It is run
//! without a shell and with an environment of its own; what it prints and how long it takes is bounded.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command as Process};

use super::local::certificates;
use super::{Answer, Request, Upstream, UpstreamFault};
use crate::authority::bundle::{is_self_signed, pem};

pub(super) const KIND: &str = "command";
/// Bytes of an answer: twelve certificates of 16 KiB in PEM are below it.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Bytes of what it says on standard error that an operator is shown.
const STDERR_BYTES_MAX: u64 = 2 << 10;
/// Where its own programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) struct Command {
    pub(super) command: Vec<String>,
    pub(super) timeout: Duration,
}

impl Upstream for Command {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn sign(&self, request: Request) -> BoxFuture<'_, Result<Answer, UpstreamFault>> {
        Box::pin(async move {
            let mut group = self.start(&request)?;
            // Whatever else its group has started ends with it, when this is dropped.
            let answer = tokio::time::timeout(self.timeout, self.ask(&mut group.0, &request)).await;
            answer.unwrap_or(Err(UpstreamFault::Timeout { seconds: self.timeout.as_secs() }))
        })
    }
}

/// A child that leads a process group.
struct Leader(Child);

impl Drop for Leader {
    fn drop(&mut self) {
        // None once it was waited for: the number may be another's by then.
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Command {
    fn program(&self) -> String {
        self.command.first().cloned().unwrap_or_default()
    }

    fn start(&self, request: &Request) -> Result<Leader, UpstreamFault> {
        let mut process = Process::new(self.program());
        process
            .args(self.command.iter().skip(1))
            .env_clear()
            .env("PATH", PATH)
            .env("HOLDFAST_TRUST_DOMAIN", request.trust_domain.as_str())
            .env("HOLDFAST_TTL_SECONDS", request.ttl.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        process.spawn().map(Leader).map_err(|error| self.not_run(&error))
    }

    async fn ask(&self, child: &mut Child, request: &Request) -> Result<Answer, UpstreamFault> {
        let csr = pem("CERTIFICATE REQUEST", &request.csr);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its request to the end says more by how it ends.
                let _ = stdin.write_all(csr.as_bytes()).await;
            }
        };
        let (_, answer, said) = tokio::join!(write, read(stdout, ANSWER_BYTES_MAX), beginning(stderr));
        let answer = answer.map_err(|error| self.not_run(&error))?;
        if answer.len() as u64 > ANSWER_BYTES_MAX {
            return Err(UpstreamFault::Answer { found: format!("more than {ANSWER_BYTES_MAX} bytes") });
        }
        let status = child.wait().await.map_err(|error| self.not_run(&error))?;
        if !status.success() {
            let stderr = String::from_utf8_lossy(&said).trim().escape_debug().to_string();
            return Err(UpstreamFault::Refused { program: self.program(), status: status.to_string(), stderr });
        }
        let found = certificates(&answer).filter(|found| !found.is_empty());
        let found = found.ok_or_else(|| UpstreamFault::Answer { found: format!("{} other bytes", answer.len()) })?;
        // Whoever has signed himself is a root, wherever he stands.
        let (roots, chain) = found.into_iter().partition(|der| is_self_signed(der));
        Ok(Answer { chain, roots })
    }

    fn not_run(&self, error: &std::io::Error) -> UpstreamFault {
        UpstreamFault::NotRun { program: self.program(), reason: error.to_string() }
    }
}

/// The beginning of what it says, to whose end it may talk on.
async fn beginning(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let read = (&mut from).take(STDERR_BYTES_MAX).read_to_end(&mut bytes).await;
        if read.is_ok() {
            let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
        }
    }
    bytes
}

/// Reads to the end, at most `limit` bytes and one.
async fn read(from: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limit + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
