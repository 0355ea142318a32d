//! What the agent is doing, for `holdfast-agent healthcheck`: one JSON document per connection on a Unix socket in the
//! state directory, open to whoever may open that directory.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::state::{StateDir, StateFault};

/// The socket in the state directory.
pub const SOCKET: &str = "status.sock";

/// Where the node stands with the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not admitted yet.
    #[default]
    Starting,
    /// Admitted, and connected or coming back.
    Admitted,
    /// The server waits for an operator's approval.
    AwaitsApproval,
    /// The server said no.
    Refused,
}

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where the node stands.
    pub standing: Standing,
    /// Whether a connection that has passed a quote is open now.
    pub connected: bool,
    /// Who the node is, once admitted.
    pub spiffe_id: Option<String>,
    /// End of the node SVID, seconds since the epoch by the server's clock.
    pub svid_not_after: Option<i64>,
    /// No SVID of this node outlives this moment; seconds since the epoch.
    pub evidence_expires_at: Option<i64>,
    /// Kinds of evidence that the last admission rests on.
    pub evidence: Vec<String>,
    /// The last admission or refusal in the server's record.
    pub attempt: Option<String>,
    /// Why the last try failed, since the last success.
    pub problem: Option<Problem>,
    /// Registration entries held.
    pub entries: usize,
    /// Workload SVIDs held.
    pub svids: usize,
    /// TPM commands sent since the start.
    pub tpm_commands: u64,
    /// What this agent cannot do on this machine, in words.
    pub limitations: Vec<String>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable code.
    pub code: String,
    /// In words.
    pub message: String,
}

/// Opens the socket; one left by an agent that was killed is replaced.
///
/// # Errors
/// [`StateFault::Io`] where it cannot be opened.
pub fn bind(state: &StateDir) -> Result<UnixListener, StateFault> {
    state.remove(SOCKET)?;
    let path = state.file(SOCKET);
    UnixListener::bind(&path).map_err(|source| StateFault::Io { action: "cannot open socket", path, source })
}

/// Answers until `stop` is cancelled, with the counts of that moment by `count`.
pub async fn serve(
    listener: UnixListener,
    status: watch::Receiver<Arc<Status>>,
    count: impl Fn(&mut Status),
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((mut stream, _)) = accepted else {
            // Out of descriptors: others will be closed.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let mut now = status.borrow().as_ref().clone();
        count(&mut now);
        let document = serde_json::to_vec(&now).unwrap_or_default();
        // Small enough for the socket's buffer; a reader that went away misses nothing.
        let _ = stream.write_all(&document).await;
    }
}
