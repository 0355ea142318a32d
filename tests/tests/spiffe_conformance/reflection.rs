//! What the real agent's endpoint says it serves: rows 52, 53 and 55.

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::place::{Place, channel};
use crate::workload::Agent;

/// `workloadapi.proto` of the standard, written down by hand: one line an RPC or a field.
const STANDARD: &str = "\
rpc FetchX509SVID X509SVIDRequest > stream X509SVIDResponse
rpc FetchX509Bundles X509BundlesRequest > stream X509BundlesResponse
rpc FetchJWTSVID JWTSVIDRequest > JWTSVIDResponse
rpc FetchJWTBundles JWTBundlesRequest > stream JWTBundlesResponse
rpc ValidateJWTSVID ValidateJWTSVIDRequest > ValidateJWTSVIDResponse
rpc FetchWITSVID WITSVIDRequest > stream WITSVIDResponse
rpc FetchWITBundles WITBundlesRequest > stream WITBundlesResponse
X509SVIDResponse.svids 1 repeated .X509SVID
X509SVIDResponse.crl 2 repeated bytes
X509SVIDResponse.federated_bundles 3 map string bytes
X509SVID.spiffe_id 1 string
X509SVID.x509_svid 2 bytes
X509SVID.x509_svid_key 3 bytes
X509SVID.bundle 4 bytes
X509SVID.hint 5 string
X509BundlesResponse.crl 1 repeated bytes
X509BundlesResponse.bundles 2 map string bytes
JWTSVIDRequest.audience 1 repeated string
JWTSVIDRequest.spiffe_id 2 string
JWTSVIDResponse.svids 1 repeated .JWTSVID
JWTSVID.spiffe_id 1 string
JWTSVID.svid 2 string
JWTSVID.hint 3 string
JWTBundlesResponse.bundles 1 map string bytes
ValidateJWTSVIDRequest.audience 1 string
ValidateJWTSVIDRequest.svid 2 string
ValidateJWTSVIDResponse.spiffe_id 1 string
ValidateJWTSVIDResponse.claims 2 .google.protobuf.Struct
WITSVIDRequest.spiffe_id 1 string
WITSVIDResponse.svids 1 repeated .WITSVID
WITSVID.spiffe_id 1 string
WITSVID.wit_svid 2 string
WITSVID.wit_svid_key 3 string
WITSVID.hint 4 string
WITBundlesResponse.bundles 1 map string string
";

/// Messages of the standard without a field.
const EMPTY: [&str; 4] = ["X509SVIDRequest", "X509BundlesRequest", "JWTBundlesRequest", "WITBundlesRequest"];

/// Envoy's service, for the same callers.
const SECRETS: &str = "envoy.service.secret.v3.SecretDiscoveryService";

async fn ask(request: MessageRequest) -> MessageResponse {
    let place = Place::shared().await;
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(channel(&place.agent.socket()).await);
    let answer = client.server_reflection_info(futures_util::stream::iter([request])).await.unwrap();
    answer.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
}

/// The file that holds the Workload API, as the endpoint tells it.
async fn served() -> FileDescriptorProto {
    let asked = MessageRequest::FileContainingSymbol("SpiffeWorkloadAPI".to_owned());
    let MessageResponse::FileDescriptorResponse(files) = ask(asked).await else { panic!("no file") };
    let files = files.file_descriptor_proto.iter().map(|file| FileDescriptorProto::decode(file.as_slice()).unwrap());
    files.into_iter().find(|file| file.service.iter().any(|service| service.name() == "SpiffeWorkloadAPI")).unwrap()
}

fn type_name(message: &DescriptorProto, field: &prost_types::FieldDescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| {
        field.type_name() == format!(".{}.{}", message.name(), nested.name())
            && nested.options.as_ref().is_some_and(|options| options.map_entry())
    });
    if let Some(entry) = entry {
        let types: Vec<_> = entry.field.iter().map(|field| type_name(entry, field)).collect();
        return format!("map {}", types.join(" "));
    }
    let repeated = match field.label() {
        prost_types::field_descriptor_proto::Label::Repeated => "repeated ",
        _ => "",
    };
    let name = match field.r#type() {
        prost_types::field_descriptor_proto::Type::String => "string",
        prost_types::field_descriptor_proto::Type::Bytes => "bytes",
        _ => field.type_name(),
    };
    format!("{repeated}{name}")
}

/// `file` in the form of [`STANDARD`].
fn described(file: &FileDescriptorProto) -> String {
    let mut lines = String::new();
    for method in file.service.iter().flat_map(|service| &service.method) {
        let stream = if method.server_streaming() { "stream " } else { "" };
        assert!(!method.client_streaming());
        let (input, output) = (&method.input_type()[1..], &method.output_type()[1..]);
        lines += &format!("rpc {} {input} > {stream}{output}\n", method.name());
    }
    for message in &file.message_type {
        for field in &message.field {
            let (name, number) = (field.name(), field.number());
            lines += &format!("{}.{name} {number} {}\n", message.name(), type_name(message, field));
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_052_the_served_descriptor_is_the_standards() {
    let file = served().await;
    assert_eq!(file.package(), "");
    assert_eq!(file.syntax(), "proto3");
    assert_eq!(file.service.len(), 1);
    assert_eq!(described(&file), STANDARD);
    let empty: Vec<_> =
        file.message_type.iter().filter(|message| message.field.is_empty()).map(DescriptorProto::name).collect();
    assert_eq!(empty, EMPTY);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_053_reflection_lists_the_workload_api() {
    let asked = MessageRequest::ListServices(String::new());
    let MessageResponse::ListServicesResponse(list) = ask(asked).await else { panic!("no list") };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert!(names.contains(&"SpiffeWorkloadAPI".to_owned()), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health".to_owned()), "{names:?}");
    assert!(names.contains(&SECRETS.to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_055_the_workload_api_has_no_rpc_of_our_own() {
    let served = served().await;
    let rpcs = served.service[0].method.iter().map(|method| method.name());
    let standard: Vec<_> =
        STANDARD.lines().filter_map(|line| line.strip_prefix("rpc ")).filter_map(|rpc| rpc.split(' ').next()).collect();
    assert_eq!(rpcs.collect::<Vec<_>>(), standard);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_agents_bundle() {
    use tonic_health::pb::health_check_response::ServingStatus;
    let agent = Agent::starting().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(agent.channel().await);
    let mut status = async |service: &str| {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        health.check(request).await.unwrap().into_inner().status()
    };
    for service in ["", "SpiffeWorkloadAPI", SECRETS] {
        assert_eq!(status(service).await, ServingStatus::NotServing);
    }
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    for service in ["", "SpiffeWorkloadAPI", SECRETS] {
        assert_eq!(status(service).await, ServingStatus::Serving);
    }
}
