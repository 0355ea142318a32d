//! The `k8s` attestor against stand-ins of a kubelet: a list of pods in the form of `v1.PodList`, served as it is and as
//! a kubelet that lies or breaks would.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::service::Service;
use super::*;

const PODS: &str = include_str!("pods.json");
const POD: &str = "2c48913c-b29f-11e7-9350-020968147796";
const WEB: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
const MIGRATE: &str = "34a2062fd26c805aa8cf814cdfe479322b791f80afb9ea4db02d50375df14b41";
const ETCD: &str = "09bc3d7ade839efec32b6bec4ec79d099027a668ddba043083ec21d3c3b8f1e6";
const HASH: &str = "c2a4dcde2d8ffa0a9f8a2ba6d2f5e07f";

fn settings(kubelet: Address) -> KubernetesSettings {
    KubernetesSettings {
        kubelet,
        node_name: "node-1".to_owned(),
        ca: PathBuf::new(),
        token: None,
        client: None,
        max_poll_attempts: 3,
        poll_retry_interval: Duration::from_millis(10),
        cgroup_root: Vec::new(),
    }
}

fn place(pod: &str, container: &str) -> Place {
    let pod = Some(pod.to_owned()).filter(|pod| !pod.is_empty());
    Place { pod, container: container.to_owned() }
}

async fn locate(kubernetes: &Kubernetes, place: &Place) -> Result<Vec<String>, AttestFault> {
    let selectors = kubernetes.locate(place).await?;
    Ok(selectors.iter().map(ToString::to_string).collect())
}

/// What is said of the process at `place` where the kubelet answers `list` each time.
async fn listed(list: &str, place: &Place) -> Result<Vec<String>, AttestFault> {
    let list = list.to_owned();
    let service = Service::answering(move |_, path| match path {
        "/pods" => ("200 OK", list.clone()),
        _ => ("404 Not Found", String::new()),
    });
    locate(&Kubernetes::of(settings(service.address())), place).await
}

#[tokio::test]
async fn a_container_has_the_selectors_of_itself_and_its_pod_as_spire_spells_them() {
    let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let migrate = "sha256:1b401bf0c30bada9a539389c3be652b58fe38463361edf488e6543c8761d4970";
    assert_eq!(
        listed(PODS, &place(POD, WEB)).await.unwrap(),
        [
            "k8s:container-image:registry.example.org/web:1.4".to_owned(),
            format!("k8s:container-image:registry.example.org/web@{digest}"),
            "k8s:container-name:web".to_owned(),
            "k8s:node-name:node-1".to_owned(),
            "k8s:ns:shop".to_owned(),
            "k8s:pod-image-count:2".to_owned(),
            "k8s:pod-image:docker.io/envoyproxy/envoy:v1.29.1".to_owned(),
            "k8s:pod-image:registry.example.org/web:1.4".to_owned(),
            format!("k8s:pod-image:registry.example.org/web@{digest}"),
            "k8s:pod-init-image-count:1".to_owned(),
            "k8s:pod-init-image:registry.example.org/migrate:3".to_owned(),
            format!("k8s:pod-init-image:registry.example.org/migrate@{migrate}"),
            "k8s:pod-label:app.kubernetes.io/part-of:shop".to_owned(),
            "k8s:pod-label:app:web".to_owned(),
            "k8s:pod-label:pod-template-hash:5d4f8c7b9".to_owned(),
            "k8s:pod-name:web-5d4f8c7b9-x2x7k".to_owned(),
            "k8s:pod-owner-uid:ReplicaSet:2f0350fc-b29d-11e7-9350-020968147796".to_owned(),
            "k8s:pod-owner:ReplicaSet:web-5d4f8c7b9".to_owned(),
            format!("k8s:pod-uid:{POD}"),
            "k8s:sa:web".to_owned(),
        ]
    );
}

#[tokio::test]
async fn init_containers_static_pods_and_groups_without_a_pod_are_found() {
    let init = listed(PODS, &place(POD, MIGRATE)).await.unwrap();
    assert!(init.contains(&"k8s:container-name:migrate".to_owned()));
    let etcd = listed(PODS, &place(HASH, ETCD)).await.unwrap();
    assert!(etcd.contains(&"k8s:pod-name:etcd-node-1".to_owned()));
    assert!(!etcd.iter().any(|selector| selector.starts_with("k8s:sa:")), "a static pod has no service account");
    let mirrored = PODS.replace(&format!("\"uid\": \"{HASH}\""), "\"uid\": \"11111111-b29f-11e7-9350-020968147796\"");
    assert_eq!(listed(&mirrored, &place(HASH, ETCD)).await.unwrap().len(), etcd.len());
    assert!(listed(PODS, &place("", WEB)).await.unwrap().contains(&"k8s:ns:shop".to_owned()));
}

#[tokio::test]
async fn another_nodes_pod_is_a_fault() {
    let lie = PODS.replace("node-1", "node-2");
    let refused = listed(&lie, &place(POD, WEB)).await.unwrap_err();
    assert_eq!(refused.code(), "attest.kubelet.other_node");
    let unscheduled = PODS.replace("\"nodeName\": \"node-1\"", "\"nodeSelector\": null");
    assert_eq!(listed(&unscheduled, &place(POD, WEB)).await.unwrap_err().code(), "attest.kubelet.other_node");
}

#[tokio::test]
async fn a_container_in_another_pod_than_its_group_says_is_a_fault() {
    for pod in ["3c48913c-b29f-11e7-9350-020968147796", HASH] {
        assert_eq!(listed(PODS, &place(pod, WEB)).await.unwrap_err().code(), "attest.kubelet.other_pod");
    }
}

#[tokio::test]
async fn a_container_in_two_pods_is_a_fault() {
    let twice = PODS.replace(ETCD, WEB);
    assert_eq!(listed(&twice, &place(POD, WEB)).await.unwrap_err().code(), "attest.kubelet.ambiguous");
    assert_eq!(listed(&twice, &place("", WEB)).await.unwrap_err().code(), "attest.kubelet.ambiguous");
}

#[tokio::test]
async fn a_container_without_status_is_waited_for_and_given_up() {
    let service = Service::answering(|question, _| match question {
        1 => ("200 OK", "{\"items\":null}".to_owned()),
        2 => ("503 Service Unavailable", String::new()),
        _ => ("200 OK", PODS.to_owned()),
    });
    let kubernetes = Kubernetes::of(settings(service.address()));
    assert!(locate(&kubernetes, &place(POD, WEB)).await.is_ok());
    assert_eq!(service.asked(), 3);

    let missing = "f".repeat(64);
    let refused = listed(PODS, &place(POD, &missing)).await.unwrap_err();
    assert_eq!(refused.code(), "attest.kubelet.not_listed");
}

#[tokio::test]
async fn many_streams_at_one_moment_are_one_question() {
    let service = Service::answering(|_, _| ("200 OK", PODS.to_owned()));
    let kubernetes = Kubernetes::of(settings(service.address()));
    let web = place(POD, WEB);
    futures_util::future::try_join_all((0..100).map(|_| locate(&kubernetes, &web))).await.unwrap();
    // A slow machine may take longer than a second for the hundred.
    assert!(service.asked() < 10, "{}", service.asked());
}

#[tokio::test]
async fn a_kubelet_that_does_not_say_is_a_fault() {
    let deep = format!("{{\"items\":[{{\"spec\":{{\"x\":{}", "[".repeat(1 << 20));
    for (list, code) in [
        ("", "attest.http.answer"),
        ("[]", "attest.http.answer"),
        ("{\"items\":[{}]}", "attest.http.answer"),
        (deep.as_str(), "attest.http.answer"),
        ("{}", "attest.kubelet.not_listed"),
    ] {
        assert_eq!(listed(list, &place(POD, WEB)).await.unwrap_err().code(), code);
    }
    let nobody = Kubernetes::of(settings(Address::Plain("127.0.0.1".to_owned(), 1)));
    assert_eq!(locate(&nobody, &place(POD, WEB)).await.unwrap_err().code(), "attest.http.unreachable");
}

/// A kubelet on TLS with a certificate for `name`, the file of its authority, and what it was last asked.
async fn kubelet(name: &str, folder: &std::path::Path) -> (Address, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    std::fs::write(folder.join("ca.crt"), certificate.pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 8192];
            let length = stream.read(&mut request).await.unwrap();
            let _ = told.send(String::from_utf8_lossy(&request[..length]).into_owned());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{PODS}", PODS.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (Address::Tls("127.0.0.1".to_owned(), port), asked)
}

#[tokio::test]
async fn the_kubelet_shows_the_nodes_name_and_is_shown_the_token_of_this_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (address, mut asked) = kubelet("node-1", folder.path()).await;
    let token = folder.path().join("token");
    let ca = folder.path().join("ca.crt");
    let settings = || KubernetesSettings { ca: ca.clone(), token: Some(token.clone()), ..settings(address.clone()) };
    for word in ["first", "second"] {
        std::fs::write(&token, format!("{word}\n")).unwrap();
        assert!(locate(&Kubernetes::of(settings()), &place(POD, WEB)).await.is_ok());
        assert!(asked.recv().await.unwrap().to_lowercase().contains(&format!("authorization: bearer {word}\r\n")));
    }
    std::fs::remove_file(&token).unwrap();
    let refused = locate(&Kubernetes::of(settings()), &place(POD, WEB)).await.unwrap_err();
    assert_eq!(refused.code(), "attest.kubelet.file");
}

#[tokio::test]
async fn a_kubelet_of_another_name_or_authority_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (address, mut asked) = kubelet("node-2", folder.path()).await;
    let token = folder.path().join("token");
    std::fs::write(&token, "secret").unwrap();
    let ca = folder.path().join("ca.crt");
    let ask = async |settings: KubernetesSettings| {
        locate(&Kubernetes::of(settings), &place(POD, WEB)).await.unwrap_err().code()
    };
    let base = KubernetesSettings { ca: ca.clone(), token: Some(token), ..settings(address.clone()) };
    assert_eq!(ask(base.clone()).await, "attest.http.unreachable");
    // Another authority now.
    let _other = kubelet("node-1", folder.path()).await;
    let named = KubernetesSettings { node_name: "node-2".to_owned(), ..base.clone() };
    assert_eq!(ask(named).await, "attest.http.unreachable");
    std::fs::write(&ca, "").unwrap();
    assert_eq!(ask(base).await, "attest.kubelet.file");
    assert!(asked.try_recv().is_err(), "the token was shown");
}
