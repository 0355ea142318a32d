//! Asks as any workload does: by the standard's stubs, with its header.

use anyhow::Context;
use holdfast_protocol::workload::{X509svidRequest, X509svidResponse};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::address::Address;
use crate::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient;

/// Bytes of the largest answer that is read: some 20,000 SVIDs.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Opens a connection.
pub(in crate::cli) async fn connect(address: &Address) -> anyhow::Result<SpiffeWorkloadApiClient<Channel>> {
    let channel = match address {
        Address::Unix(path) => {
            let target = path.clone();
            let connector = tower::service_fn(move |_| {
                let target = target.clone();
                async move { UnixStream::connect(target).await.map(TokioIo::new) }
            });
            // The name is for HTTP/2 alone; the connector knows the way.
            let endpoint = Endpoint::from_static("http://localhost");
            endpoint.connect_with_connector(connector).await.with_context(|| path.display().to_string())?
        }
        Address::Tcp(address) => {
            Endpoint::try_from(format!("http://{address}"))?.connect().await.with_context(|| address.to_string())?
        }
    };
    Ok(SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
}

/// `message` with the standard's header.
pub(in crate::cli) fn dressed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", tonic::metadata::MetadataValue::from_static("true"));
    request
}

/// Opens a stream of X.509-SVIDs.
pub(in crate::cli) async fn x509_svids(
    client: &mut SpiffeWorkloadApiClient<Channel>,
) -> Result<Streaming<X509svidResponse>, Status> {
    Ok(client.fetch_x509svid(dressed(X509svidRequest {})).await?.into_inner())
}
