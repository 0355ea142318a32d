//! Published SPIFFE clients, unmodified: the Rust crate `spiffe` and the Python package `spiffe` (gRPC C core).

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use spiffe::workload_api::error::WorkloadApiError;
use spiffe::{WorkloadApiClient, X509Source};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::workload::{Agent, DOMAIN, authority::Authority, python, soon};

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_gets_its_svid_and_its_bundles() {
    let agent = Agent::with_me().await;
    let other = Authority::new("other.org");
    agent.registry.trust(other.name(), other.bundle());
    let client = WorkloadApiClient::connect_to(agent.address()).await.unwrap();
    let context = client.fetch_x509_context().await.unwrap();
    let svid = context.default_svid().unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://example.org/me");
    assert_eq!(svid.cert_chain().len(), 2);
    for (name, bundle) in [(DOMAIN, agent.authority.bundle()), ("other.org", other.bundle())] {
        let held = context.bundle_set().get(&spiffe::TrustDomain::new(name).unwrap()).unwrap();
        assert_eq!(held.authorities()[0].as_bytes(), bundle[0], "{name}");
    }
    let bundles = client.fetch_x509_bundles().await.unwrap();
    assert_eq!(bundles.iter().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_gets_rotations_on_its_open_stream() {
    let agent = Agent::with_me().await;
    let client = WorkloadApiClient::connect_to(agent.address()).await.unwrap();
    let mut contexts = client.stream_x509_contexts().await.unwrap();
    let mut serials = Vec::new();
    for _ in 0..5 {
        let context = soon(contexts.next()).await.unwrap().unwrap();
        serials.push(context.default_svid().unwrap().cert_chain()[0].as_bytes().to_vec());
        agent.enter("/me", "", "me");
        let changed = Instant::now();
        soon(contexts.next()).await.unwrap().unwrap();
        assert!(changed.elapsed() < Duration::from_secs(1), "{:?}", changed.elapsed());
        agent.enter("/me", "", "me");
    }
    serials.dedup();
    assert_eq!(serials.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_loses_its_stream_with_its_last_identity() {
    let agent = Agent::with_me().await;
    let client = WorkloadApiClient::connect_to(agent.address()).await.unwrap();
    let mut contexts = client.stream_x509_contexts().await.unwrap();
    soon(contexts.next()).await.unwrap().unwrap();
    agent.registry.remove("me");
    let ended = soon(contexts.next()).await.unwrap().unwrap_err();
    assert!(matches!(ended, WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_)), "{ended:?}");
    assert!(soon(contexts.next()).await.is_none());
    let again = client.fetch_x509_context().await.unwrap_err();
    assert!(matches!(again, WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_lost_though_what_takes_its_place_is_long_in_coming() {
    let agent = Agent::with_me().await;
    let client = WorkloadApiClient::connect_to(agent.address()).await.unwrap();
    let mut contexts = client.stream_x509_contexts().await.unwrap();
    soon(contexts.next()).await.unwrap().unwrap();
    // What comes at once is waited for: the stream goes on, and says what is new.
    agent.registry.stop();
    agent.registry.start();
    let other = Authority::new("other.org");
    agent.registry.trust(other.name(), other.bundle());
    soon(contexts.next()).await.unwrap().unwrap();
    agent.registry.stop();
    let ended = soon(contexts.next()).await.unwrap().unwrap_err();
    assert!(matches!(ended, WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rust_source_lives_through_a_restart_of_the_agent_under_another_authority() {
    let mut agent = Agent::with_me().await;
    let source = X509Source::builder().endpoint(agent.address()).build().await.unwrap();
    let first = source.svid().unwrap().cert_chain()[0].as_bytes().to_vec();
    agent.stop.cancel();
    soon(&mut agent.served).await.unwrap().unwrap();
    assert!(!agent.socket().exists());
    let next = Agent::with_me().await;
    std::os::unix::fs::symlink(next.socket(), agent.socket()).unwrap();
    let begun = Instant::now();
    while source.svid().unwrap().cert_chain()[0].as_bytes() == first {
        assert!(begun.elapsed() < Duration::from_secs(20), "the source did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_python_the_client_on_the_grpc_c_core_gets_its_svid_and_its_bundles() {
    let agent = Agent::with_me().await;
    let other = Authority::new("other.org");
    agent.registry.trust(other.name(), other.bundle());
    let script = "
from spiffe import WorkloadApiClient
with WorkloadApiClient() as client:
    context = client.fetch_x509_context(timeout=10)
    print(context.default_svid.spiffe_id, len(context.default_svid.cert_chain))
    print(sorted(b.trust_domain.name for b in client.fetch_x509_bundles(timeout=10).bundles))
    # The second call on one connection refers to the header tables of the first.
    print(client.fetch_x509_svid(timeout=10).spiffe_id)
";
    let Some(said) = python::run(script, &agent.socket()).await else { return };
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["spiffe://example.org/me 2", "['example.org', 'other.org']", "spiffe://example.org/me"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_gets_tokens_and_keys_and_has_tokens_checked() {
    let agent = Agent::with_me().await;
    let client = WorkloadApiClient::connect_to(agent.address()).await.unwrap();
    let svid = client.fetch_jwt_svid(["db"], None).await.unwrap();
    assert_eq!(
        (svid.spiffe_id().to_string().as_str(), svid.audience()),
        ("spiffe://example.org/me", &["db".to_owned()][..])
    );
    let keys = client.fetch_jwt_bundles().await.unwrap();
    let keys = keys.get(&spiffe::TrustDomain::new(DOMAIN).unwrap()).unwrap();
    assert!(keys.find_jwt_authority(svid.key_id()).is_some());
    let checked = client.validate_jwt_token("db", svid.token()).await.unwrap();
    assert_eq!(checked.spiffe_id(), svid.spiffe_id());
    client.validate_jwt_token("cache", svid.token()).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_python_the_client_on_the_grpc_c_core_gets_tokens_and_verifies_them_itself() {
    let agent = Agent::with_me().await;
    let script = "
from spiffe import JwtSvid, WorkloadApiClient
with WorkloadApiClient() as client:
    svid = client.fetch_jwt_svid(audience={'db'})
    print(svid.spiffe_id, sorted(svid.audience))
    bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    print(JwtSvid.parse_and_validate(svid.token, bundle, {'db'}).spiffe_id)
    print(client.validate_jwt_svid(svid.token, 'db').spiffe_id)
    try:
        client.validate_jwt_svid(svid.token, 'cache')
    except Exception as error:
        print('refused')
";
    let Some(said) = python::run(script, &agent.socket()).await else { return };
    let me = "spiffe://example.org/me";
    assert_eq!(said.lines().collect::<Vec<_>>(), [&format!("{me} ['db']"), me, me, "refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_python_the_client_on_the_grpc_c_core_follows_rotations_until_it_is_denied() {
    let agent = Agent::with_me().await;
    let script = "
import threading
from spiffe import WorkloadApiClient
client, done = WorkloadApiClient(), threading.Event()
def got(context):
    print('svid', context.default_svid.leaf.serial_number, flush=True)
def failed(error):
    print('denied' if 'PERMISSION_DENIED' in str(error) else error, flush=True)
    done.set()
client.stream_x509_contexts(got, failed, retry_connect=False)
done.wait(20)
";
    let Some(mut command) = python::script(script, &agent.socket()) else { return };
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap_or_default()
    };
    let first = next().await;
    agent.enter("/me", "", "me");
    let second = next().await;
    agent.registry.remove("me");
    assert_eq!(next().await, "denied");
    assert!(first.starts_with("svid ") && second.starts_with("svid ") && first != second, "{first}, {second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_python_a_socket_path_of_odd_characters_is_no_obstacle() {
    let agent = Agent::with_me().await;
    // Percent-encoded, these give an authority with colons, brackets and an at sign.
    let odd = agent.work.path().join("a:b:c [x]@~é");
    std::os::unix::fs::symlink(agent.work.path(), &odd).unwrap();
    let script = "
import grpc, os
from spiffe._proto import workload_pb2, workload_pb2_grpc
channel = grpc.insecure_channel('unix:' + os.environ['SOCKET'])
stub = workload_pb2_grpc.SpiffeWorkloadAPIStub(channel)
answer = next(stub.FetchX509SVID(workload_pb2.X509SVIDRequest(), metadata=[('workload.spiffe.io', 'true')], timeout=10))
print(answer.svids[0].spiffe_id)
";
    let Some(mut command) = python::script(script, &agent.socket()) else { return };
    let output = command.env("SOCKET", odd.join("api.sock")).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "spiffe://example.org/me", "{}", String::from_utf8_lossy(&output.stderr));
}
