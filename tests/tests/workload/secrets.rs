//! A raw client of the secret discovery service, as Envoy is one.

use futures_util::Stream;
use holdfast_protocol::sds::envoy::config::core::v3::data_source::Specifier;
use holdfast_protocol::sds::envoy::config::core::v3::{BuildVersion, DataSource, Node, node::UserAgentVersionType};
use holdfast_protocol::sds::envoy::extensions::transport_sockets::tls::v3::{Secret, secret};
use holdfast_protocol::sds::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use holdfast_protocol::sds::envoy::r#type::v3::SemanticVersion;
use prost::Message;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::Agent;

const SERVICE: &str = "/envoy.service.secret.v3.SecretDiscoveryService/";

/// An open stream of secrets.
pub(crate) struct Secrets {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    answers: Streaming<DiscoveryResponse>,
}

impl Secrets {
    /// Opens a stream; nothing is asked for yet.
    pub(crate) async fn open(agent: &Agent) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let outgoing =
            futures_util::stream::unfold(outgoing, |mut from| async move { Some((from.recv().await?, from)) });
        Ok(Self { requests, answers: stream(agent, "StreamSecrets", outgoing).await? })
    }

    /// Says something.
    pub(crate) fn say(&self, request: DiscoveryRequest) {
        self.requests.send(request).unwrap();
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Result<DiscoveryResponse, Status> {
        super::soon(self.answers.message()).await.map(Option::unwrap)
    }
}

/// Calls a method that takes a stream and answers with one.
pub(crate) async fn stream<Q, A>(
    agent: &Agent,
    method: &str,
    requests: impl Stream<Item = Q> + Send + 'static,
) -> Result<Streaming<A>, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut client = ready(agent).await;
    let answer = client.streaming(Request::new(requests), path(method), ProstCodec::<Q, A>::default()).await?;
    Ok(answer.into_inner())
}

/// Calls `FetchSecrets`.
pub(crate) async fn fetch(agent: &Agent, request: DiscoveryRequest) -> Result<DiscoveryResponse, Status> {
    let codec = ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
    let answer = ready(agent).await.unary(Request::new(request), path("FetchSecrets"), codec).await?;
    Ok(answer.into_inner())
}

async fn ready(agent: &Agent) -> Grpc<Channel> {
    let mut client = Grpc::new(agent.channel().await);
    client.ready().await.unwrap();
    client
}

fn path(method: &str) -> PathAndQuery {
    format!("{SERVICE}{method}").parse().unwrap()
}

/// What an Envoy asks that knows the SPIFFE validator.
pub(crate) fn ask(names: &[&str]) -> DiscoveryRequest {
    let version = Some(SemanticVersion { major_number: 1, minor_number: 40, patch: 0 });
    let build = UserAgentVersionType::UserAgentBuildVersion(BuildVersion { version });
    DiscoveryRequest {
        node: Some(Node { user_agent_version_type: Some(build), ..Node::default() }),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    }
}

/// The secrets in an answer.
pub(crate) fn secrets(answer: &DiscoveryResponse) -> Vec<Secret> {
    answer.resources.iter().map(|any| Secret::decode(any.value.as_slice()).unwrap()).collect()
}

/// Chain and key of a certificate, PEM.
pub(crate) fn certificate(secret: &Secret) -> (String, String) {
    let Some(secret::Type::TlsCertificate(certificate)) = &secret.r#type else { panic!("{secret:?}") };
    (inline(certificate.certificate_chain.as_ref()), inline(certificate.private_key.as_ref()))
}

/// What is written into the message itself.
pub(crate) fn inline(source: Option<&DataSource>) -> String {
    match source.and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}
