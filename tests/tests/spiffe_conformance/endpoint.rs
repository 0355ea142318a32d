//! SPIFFE Workload Endpoint: rows 44 to 51, and 72 for the calls that may go unserved.

use std::process::Stdio;

use holdfast_agent::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_protocol::workload as message;
use holdfast_tests::Programs;
use tokio::process::Command;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::workload::{Agent, with_header};

const HEADER: &str = "workload.spiffe.io";

fn dressed<T>(message: T, values: &[&str]) -> Request<T> {
    let mut request = Request::new(message);
    for value in values {
        request.metadata_mut().append(HEADER, value.parse().unwrap());
    }
    request
}

/// Calls every RPC with the header's `values`; their names and status codes.
pub(crate) async fn call_all(
    client: &mut SpiffeWorkloadApiClient<Channel>,
    values: &[&str],
) -> Vec<(&'static str, Code)> {
    fn code<T>(answer: Result<T, Status>) -> Code {
        answer.err().map_or(Code::Ok, |status| status.code())
    }
    let token = message::JwtsvidRequest { audience: vec!["a".to_owned()], spiffe_id: String::new() };
    let check = message::ValidateJwtsvidRequest { audience: "a".to_owned(), svid: "b".to_owned() };
    let wit = message::WitsvidRequest { spiffe_id: String::new() };
    vec![
        ("FetchX509SVID", code(client.fetch_x509svid(dressed(message::X509svidRequest {}, values)).await)),
        ("FetchX509Bundles", code(client.fetch_x509_bundles(dressed(message::X509BundlesRequest {}, values)).await)),
        ("FetchJWTSVID", code(client.fetch_jwtsvid(dressed(token, values)).await)),
        ("FetchJWTBundles", code(client.fetch_jwt_bundles(dressed(message::JwtBundlesRequest {}, values)).await)),
        ("ValidateJWTSVID", code(client.validate_jwtsvid(dressed(check, values)).await)),
        ("FetchWITSVID", code(client.fetch_witsvid(dressed(wit, values)).await)),
        ("FetchWITBundles", code(client.fetch_wit_bundles(dressed(message::WitBundlesRequest {}, values)).await)),
    ]
}

/// `holdfast-agent api fetch x509`, with `SPIFFE_ENDPOINT_SOCKET` alone to go by: its exit code and words.
async fn fetch_by(endpoint: &str) -> (i32, String) {
    let mut command = Command::new(Programs::beside_this_one().unwrap().path("holdfast-agent"));
    command.args(["api", "fetch", "x509"]).env("SPIFFE_ENDPOINT_SOCKET", endpoint).stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_044_the_endpoint_is_grpc_over_a_unix_socket_and_no_tcp_port_is_open() {
    let agent = Agent::with_me().await;
    agent.fetch().await.unwrap();
    // Sockets of this process that listen on TCP, over both families.
    let own: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            assert!(fields[3] != "0A" || !own.contains(&fields[9].to_owned()), "listens on {}", fields[1]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_045_security_header_is_required() {
    let agent = Agent::with_me().await;
    for values in [&[][..], &["True"], &["TRUE"], &["false"], &["1"], &["true", "true"], &["true", "false"]] {
        for (method, code) in call_all(&mut agent.client().await, values).await {
            assert_eq!(code, Code::InvalidArgument, "{method} with {values:?}");
        }
    }
    for (method, code) in call_all(&mut agent.client().await, &["true"]).await {
        assert_ne!(code, Code::InvalidArgument, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_046_transport_security_is_not_required() {
    // The client of these tests speaks HTTP/2 in the clear.
    Agent::with_me().await.fetch().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_047_a_client_falls_back_to_the_environment() {
    let agent = Agent::with_me().await;
    let (code, said) = fetch_by(&agent.address()).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("spiffe://example.org/me"));
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_048_a_unix_address_is_an_absolute_path_and_nothing_else() {
    let agent = Agent::with_me().await;
    let path = agent.socket().display().to_string();
    for refused in [
        format!("unix://host{path}"),
        format!("unix://{path}?x"),
        format!("unix://{path}#x"),
        format!("http://{path}"),
        "unix:api.sock".to_owned(),
        "unix:".to_owned(),
        path,
        String::new(),
    ] {
        let (code, said) = fetch_by(&refused).await;
        assert_eq!(code, 2, "{refused}: {said}");
        assert!(said.contains("[endpoint."), "{refused}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_049_a_tcp_address_is_an_ip_address_and_a_port_and_nothing_else() {
    for refused in ["tcp://localhost:1", "tcp://127.0.0.1:1/x", "tcp://127.0.0.1", "tcp://127.0.0.1:1?x", "tcp://"] {
        let (code, said) = fetch_by(refused).await;
        assert_eq!(code, 2, "{refused}");
        assert!(said.contains("[endpoint.tcp]"), "{refused}: {said}");
    }
    // A good address is tried: nobody listens there.
    let port = holdfast_tests::free_port().unwrap();
    let (code, said) = fetch_by(&format!("tcp://127.0.0.1:{port}")).await;
    assert_eq!(code, 2);
    assert!(!said.contains("[endpoint."), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_050_a_caller_needs_no_credentials() {
    let agent = Agent::with_me().await;
    // Nothing but the header goes out with the request, and no certificate with the connection.
    assert_eq!(with_header(()).metadata().len(), 1);
    agent.fetch().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_051_unavailable_while_starting_and_permission_denied_without_identity() {
    let agent = Agent::starting().await;
    let starting = agent.fetch().await.unwrap_err();
    assert_eq!(starting.code(), Code::Unavailable);
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    let denied = agent.fetch().await.unwrap_err();
    assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "no identity issued"));
    let bundles = agent.client().await.fetch_x509_bundles(with_header(Default::default())).await.unwrap_err();
    assert_eq!((bundles.code(), bundles.message()), (Code::PermissionDenied, "no identity issued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_072_wit_rpcs_answer_unimplemented() {
    let agent = Agent::with_me().await;
    for (method, code) in call_all(&mut agent.client().await, &["true"]).await {
        if method.contains("WIT") {
            assert_eq!(code, Code::Unimplemented, "{method}");
        }
    }
}
