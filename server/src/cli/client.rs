//! The operator's end of the admin socket, and what answers and refusals look like at a terminal.

use std::path::Path;

use anyhow::anyhow;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::{Context, Outcome};
use crate::admin::POLICY_REQUEST_BYTES_MAX;
use crate::admin_clients::policies_client::PoliciesClient;
use crate::config::Config;

/// How long the server may take to answer one call.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);
/// Metadata that carries the stable code of a refusal.
const CODE: &str = "holdfast-code";

/// Connects to the admin socket of the server that `context` configures.
///
/// # Errors
/// If the configuration cannot be read, or nobody listens.
pub(super) async fn connect(context: &Context) -> anyhow::Result<Channel> {
    connect_for(context, ANSWER_WITHIN).await
}

/// As [`connect`], for calls that may take so long.
///
/// # Errors
/// As [`connect`].
pub(super) async fn connect_for(context: &Context, longest: std::time::Duration) -> anyhow::Result<Channel> {
    let socket = match &context.socket {
        Some(socket) => socket.clone(),
        None => Config::load(&context.config)?.admin_socket,
    };
    let path = socket.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost")
        .timeout(longest)
        .connect_with_connector(connector)
        .await
        // What the system answered says it all; the layers above it repeat that.
        .map_err(|error| anyhow!("{}", anyhow::Error::new(error).root_cause()).context(unreachable_hint(&socket)))
}

/// A client that policies are sent and read by: an answer may be as large as a policy with its sets of digests.
///
/// # Errors
/// As [`connect`].
pub(super) async fn policies(context: &Context) -> anyhow::Result<PoliciesClient<Channel>> {
    Ok(PoliciesClient::new(connect(context).await?).max_decoding_message_size(POLICY_REQUEST_BYTES_MAX))
}

fn unreachable_hint(socket: &Path) -> String {
    format!(
        "no server at {}: is it running, and are you root or in its admin group? Start it with `holdfast-server run`",
        socket.display()
    )
}

/// The error, in the server's words where a refusal of the server is what stands behind it.
pub(super) fn in_its_words(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Status>() {
        Some(status) => anyhow!(said(status)),
        None => error,
    }
}

fn said(status: &Status) -> String {
    match status.metadata().get(CODE).and_then(|code| code.to_str().ok()) {
        Some(code) => format!("{} ({code})", status.message()),
        None => status.message().to_owned(),
    }
}

/// Says a refusal on standard error and gives its exit code; passes on what is a fault.
///
/// # Errors
/// The status, if the server could not answer.
pub(super) fn refused(status: &Status) -> anyhow::Result<Outcome> {
    let said = said(status);
    match status.code() {
        Code::InvalidArgument => Err(anyhow!(said)),
        Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Aborted => {
            eprintln!("holdfast-server: {said}");
            Ok(Outcome::Refused)
        }
        _ => Err(anyhow!("the server failed: {said}")),
    }
}

/// The answer, or the command's end with what was refused.
macro_rules! answered {
    ($call:expr) => {
        match $call.await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return crate::cli::client::refused(&status),
        }
    };
}
pub(super) use answered;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_inside_a_longer_task_is_told_in_the_servers_words() {
        let mut status = Status::permission_denied("this needs the role auditor");
        status.metadata_mut().insert(CODE, "admin.role".parse().unwrap());
        assert_eq!(in_its_words(status.into()).to_string(), "this needs the role auditor (admin.role)");
        assert_eq!(in_its_words(anyhow!("a file is missing")).to_string(), "a file is missing");
    }
}
