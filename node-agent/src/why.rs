//! Why a process gets the identities that it gets, or none: what the attestors see of it, and how far it is from each
//! entry. For operators alone, over a Unix socket in the state directory; workloads learn nothing of this.

mod report;

use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::attest::{Attestors, Peer};
use crate::state::{StateDir, StateFault};
use crate::svids::SvidCache;

pub use report::{Answer, Attested, Candidate, Lack, Problem, Report};

/// The socket in the state directory.
pub const SOCKET: &str = "why.sock";
/// Bytes of a question: a process number.
const QUESTION_BYTES_MAX: u64 = 16;
/// How long one question may take, attestors included.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(15);
/// Questions at once.
const QUESTIONS_MAX: usize = 4;

/// What was asked is no process number.
#[derive(Debug, thiserror::Error)]
#[error("expected a process number")]
pub struct NoQuestion;

impl NoQuestion {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "agent.why.question"
    }
}

/// What answers come from.
pub struct Sources {
    /// Selectors by process.
    pub attestors: Arc<Attestors>,
    /// Entries.
    pub cache: Arc<SvidCache>,
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

/// Answers root and the agent's own user until `stop` is cancelled: a process number in, a JSON document out.
pub async fn serve(listener: UnixListener, sources: Sources, stop: CancellationToken) {
    let (sources, places) = (Arc::new(sources), Arc::new(Semaphore::new(QUESTIONS_MAX)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: others will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let sources = Arc::clone(&sources);
        tokio::spawn(async move {
            let _place = place;
            let _ = tokio::time::timeout(QUESTION_TIME_MAX, answer(stream, &sources)).await;
        });
    }
}

async fn answer(mut stream: UnixStream, sources: &Sources) {
    // The state directory lets nobody else in; should somebody open it, this does not.
    let asker = stream.peer_cred().map(|asker| asker.uid());
    if !asker.is_ok_and(|uid| uid == 0 || uid == geteuid().as_raw()) {
        return;
    }
    let mut question = String::new();
    let (read, mut write) = stream.split();
    if read.take(QUESTION_BYTES_MAX).read_to_string(&mut question).await.is_err() {
        return;
    }
    let answer = match question.trim().parse() {
        Ok(pid) => about(pid, sources).await,
        Err(_) => Answer::Problem(Problem::new(NoQuestion.code(), &NoQuestion.to_string())),
    };
    let _ = write.write_all(&serde_json::to_vec(&answer).unwrap_or_default()).await;
}

async fn about(pid: i32, sources: &Sources) -> Answer {
    match Peer::numbered(pid) {
        Ok(peer) => {
            let attested = sources.attestors.attest_each(&peer).await;
            Answer::Report(Report::of(&peer, attested, &sources.cache))
        }
        Err(fault) => Answer::Problem(Problem::new(fault.code(), &fault.to_string())),
    }
}

#[cfg(test)]
mod tests;
