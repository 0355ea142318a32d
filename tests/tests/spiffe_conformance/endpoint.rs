//! SPIFFE Workload Endpoint, on the real agent: rows 44 to 51, and 72 for the calls that may go unserved.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use holdfast_agent::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_protocol::workload as message;
use holdfast_tests::{Agent, Programs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::place::{Place, channel, wait};
use crate::workload::with_header;

const A: &str = "spiffe://example.org/a";
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

/// Numbers of the sockets that a process has open.
fn sockets(process: u32) -> Vec<String> {
    std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_044_an_agent_listens_on_no_tcp_port() {
    let place = Place::shared().await;
    let mode = std::fs::metadata(place.agent.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o777, "any workload may ask");
    let process = place.agent.pid().unwrap();
    let own = sockets(process);
    assert!(!own.is_empty());
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            assert!(fields[3] != "0A" || !own.contains(&fields[9].to_owned()), "listens on {}", fields[1]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_045_the_header_is_wanted_of_every_rpc() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    place.fetch(&[A]).await;
    for values in [&[][..], &["True"], &["TRUE"], &["false"], &["1"], &["true", "true"], &["true", "false"]] {
        for (method, code) in call_all(&mut place.client().await, values).await {
            assert_eq!(code, Code::InvalidArgument, "{method} with {values:?}");
        }
    }
    for (method, code) in call_all(&mut place.client().await, &["true"]).await {
        // What is to be validated there is no token.
        assert!(code != Code::InvalidArgument || method == "ValidateJWTSVID", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_046_transport_security_is_not_required() {
    let place = Place::shared().await;
    // HTTP/2 in the clear, by prior knowledge: its preface and an empty SETTINGS frame; the answer is a SETTINGS frame.
    let mut stream = tokio::net::UnixStream::connect(place.agent.socket()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "a SETTINGS frame: {head:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_047_a_client_falls_back_to_the_environment() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    place.fetch(&[A]).await;
    let (code, said) = fetch_by(&place.agent.socket_url()).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(A), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_048_a_unix_address_is_an_absolute_path_and_nothing_else() {
    let place = Place::shared().await;
    let path = place.agent.socket().display().to_string();
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
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    // Nothing but the header goes out with the request, and no certificate with the connection.
    assert_eq!(with_header(()).metadata().len(), 1);
    place.fetch(&[A]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_051_an_agent_denies_whom_no_entry_is_for_and_is_unavailable_without_its_server() {
    let place = Place::shared().await;
    let turn = place.turn().await;
    place.until_denied().await;
    for (method, code) in call_all(&mut place.client().await, &["true"]).await {
        let expected = if method.contains("WIT") { Code::Unimplemented } else { Code::PermissionDenied };
        assert_eq!(code, expected, "{method}");
    }
    let refused = place.stream().await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "no identity issued"));
    drop(turn);
    // Another agent, whose server is nowhere: it does not know yet whether there is an identity.
    let nobody = format!("127.0.0.1:{}", holdfast_tests::free_port().unwrap());
    let (device, top) = ("[tsm]\npath = \"sim:/nowhere\"\n", "evidence = [\"snp\"]\n");
    let mut alone = Agent::configure_with(&place.programs, &place.work, &place.server, "alone", top, device).unwrap();
    let file = alone.folder().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen(&place.server.address(), &nobody, 1)).unwrap();
    alone.start_again(&place.work.path().join("alone.log")).unwrap();
    let log = || std::fs::read_to_string(place.work.path().join("alone.log")).unwrap_or_default();
    wait(&format!("its socket: {}", log()), || alone.socket().exists().then_some(()));
    let mut client = SpiffeWorkloadApiClient::new(channel(&alone.socket()).await);
    let refused = client.fetch_x509svid(with_header(Default::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_072_wit_rpcs_answer_unimplemented() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    place.fetch(&[A]).await;
    let answers = call_all(&mut place.client().await, &["true"]).await;
    let wit: Vec<_> = answers.into_iter().filter(|(method, _)| method.contains("WIT")).collect();
    assert_eq!(wit, [("FetchWITSVID", Code::Unimplemented), ("FetchWITBundles", Code::Unimplemented)]);
}
