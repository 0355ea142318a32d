//! The `containerd` attestor against a stand-in of containerd's API.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_protocol::containerd::containerd as messages;
use messages::services::containers::v1::Container as Known;
use messages::services::images::v1::Image;
use messages::types::Descriptor;
use messages::v1::types::{Process as Task, Status as TaskStatus};
use prost_types::Timestamp;

use tonic::Code;

use super::standin::{StandIn, State};
use super::*;

const ID: &str = "4be74ccc0fec2fb124a9b71a33482302cb91b1f60323196a8978e4621a69bbc0";
const FIRST: i32 = 29547;
const IMAGE: &str = "docker.io/library/redis:7";
const DIGEST: &str = "sha256:e3fd6a2d61798acfabbaa8d18d6caaf116a9f95c42a6d05203dbd3df98f9b33f";
const SYSTEMD: &str =
    "0::/system.slice/nerdctl-4be74ccc0fec2fb124a9b71a33482302cb91b1f60323196a8978e4621a69bbc0.scope\n";
const CTR: &str = "0::/default/redis\n";

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 5 })
}

fn key(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

/// containerd with one container in `namespace`, made at 200 of an image that was pulled at 100.
fn state(namespace: &str, id: &str) -> State {
    let mut state = State::default();
    add(&mut state, namespace, id, FIRST);
    state
}

fn add(state: &mut State, namespace: &str, id: &str, pid: i32) {
    let labels = HashMap::from([("app".to_owned(), "web".to_owned()), ("url".to_owned(), "http://a/b".to_owned())]);
    let known = Known { id: id.to_owned(), labels, image: IMAGE.to_owned(), created_at: at(200) };
    let task = Task { pid: pid.unsigned_abs(), status: TaskStatus::Running.into() };
    let target = Some(Descriptor { digest: DIGEST.to_owned() });
    let image = Image { name: IMAGE.to_owned(), target, updated_at: at(100) };
    state.tasks.insert(key(namespace, id), task);
    state.containers.insert(key(namespace, id), known);
    state.images.insert(key(namespace, IMAGE), image);
}

fn settings(socket: PathBuf, namespaces: &[&str]) -> ContainerdSettings {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    ContainerdSettings { socket, namespaces, cgroup_root: Vec::new() }
}

/// An attestor that finds the groups `first` at process [`FIRST`] and no other process.
fn attestor(service: &StandIn, namespaces: &[&str], first: &str) -> Containerd {
    let first = first.to_owned();
    Containerd::holding(settings(service.socket(), namespaces), move |pid| {
        let first = first.clone();
        if pid == FIRST { Ok(Arc::new(move || Ok(first.clone()))) } else { Err(io::ErrorKind::NotFound.into()) }
    })
}

async fn identify(containerd: &Containerd, groups: &str) -> Result<Vec<String>, AttestFault> {
    let selectors = containerd.identify(1000, &Cgroups::parse(groups).unwrap()).await?;
    Ok(selectors.iter().map(ToString::to_string).collect())
}

/// What is said of a process and its container's first one, both with `groups`.
async fn asked(state: State, groups: &str) -> Result<Vec<String>, AttestFault> {
    let service = StandIn::with(state);
    identify(&attestor(&service, &["default"], groups), groups).await
}

fn all(namespace: &str) -> Vec<String> {
    vec![
        format!("containerd:image_digest:{DIGEST}"),
        format!("containerd:image_id:{IMAGE}"),
        "containerd:label:app:web".to_owned(),
        "containerd:label:url:http://a/b".to_owned(),
        format!("containerd:namespace:{namespace}"),
    ]
}

#[tokio::test]
async fn containers_are_found_where_nerdctl_and_ctr_put_them() {
    for (id, groups) in [
        (ID, SYSTEMD.to_owned()),
        (ID, format!("0::/my.slice/nerdctl-{ID}.scope/init.scope\n")),
        (ID, format!("0::/default/{ID}\n")),
        (ID, format!("0::/parent/{ID}\n")),
        (ID, format!("9:name=systemd:/default/{ID}\n4:memory:/default/{ID}\n0::/\n")),
        ("redis", CTR.to_owned()),
        ("redis-1.2_x", "4:memory:/default/redis-1.2_x\n0::/system.slice/containerd.service\n".to_owned()),
        ("redis", format!("0::/default/redis/default/{ID}\n")),
    ] {
        assert_eq!(asked(state("default", id), &groups).await.unwrap(), all("default"), "{groups}");
    }
}

#[tokio::test]
async fn who_is_in_no_container_of_containerds_has_no_selectors_and_no_question_is_asked() {
    let service = StandIn::with(state("default", ID));
    for groups in [
        "0::/system.slice/containerd.service\n".to_owned(),
        "0::/other/redis\n".to_owned(),
        "0::/x/default/redis\n".to_owned(),
        "0::/default\n".to_owned(),
        "0::/default/-x\n".to_owned(),
        format!("0::/system.slice/docker-{ID}.scope\n"),
        format!("0::/libpod_parent/libpod-{ID}\n"),
        format!("0::/libpod_parent/{ID}/conmon\n"),
        format!("0::/kubepods.slice/cri-containerd-{ID}.scope\n"),
    ] {
        let containerd = attestor(&service, &["default"], &groups);
        assert!(identify(&containerd, &groups).await.unwrap().is_empty(), "{groups}");
    }
    assert_eq!(service.asked(), 0);
}

#[tokio::test]
async fn a_container_of_a_namespace_that_is_not_named_is_another_runtimes() {
    assert!(asked(state("k8s.io", ID), SYSTEMD).await.unwrap().is_empty());
    assert!(asked(State::default(), CTR).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_group_named_after_somebody_elses_container_is_not_that_container() {
    let service = StandIn::with(state("default", ID));
    let containerd = attestor(&service, &["default"], SYSTEMD);
    for forged in [
        format!("0::/user.slice/user-1000.slice/user@1000.service/nerdctl-{ID}.scope\n"),
        format!("0::/default/{ID}\n"),
        format!("5:memory:/system.slice/nerdctl-{ID}.scope\n"),
    ] {
        let refused = identify(&containerd, &forged).await.unwrap_err();
        assert_eq!(refused.code(), "attest.container.elsewhere", "{forged}");
    }
    for first in ["0::/\n", CTR] {
        let refused = identify(&attestor(&service, &["default"], first), SYSTEMD).await.unwrap_err();
        assert_eq!(refused.code(), "attest.container.elsewhere", "{first}");
    }
}

#[tokio::test]
async fn of_two_namespaces_with_one_name_the_one_that_the_process_runs_in_counts() {
    let both = |second: i32| {
        let mut both = state("default", "redis");
        add(&mut both, "a", "redis", second);
        StandIn::with(both)
    };
    for second in [1, 0] {
        let service = both(second);
        let found = identify(&attestor(&service, &["a", "default"], CTR), CTR).await;
        assert_eq!(found.unwrap(), all("default"));
    }
    let service = both(FIRST);
    let refused = identify(&attestor(&service, &["a", "default"], CTR), CTR).await.unwrap_err();
    assert_eq!(refused.code(), "attest.containerd.ambiguous");
}

#[tokio::test]
async fn a_first_process_out_of_sight_or_not_running_is_a_fault() {
    let mut unseen = state("default", "redis");
    add(&mut unseen, "default", "redis", 1);
    assert_eq!(asked(unseen, CTR).await.unwrap_err().code(), "attest.container.unseen");
    for status in [TaskStatus::Created, TaskStatus::Stopped, TaskStatus::Unknown] {
        let mut idle = state("default", "redis");
        idle.tasks.insert(key("default", "redis"), Task { pid: FIRST.unsigned_abs(), status: status.into() });
        assert_eq!(asked(idle, CTR).await.unwrap_err().code(), "attest.container.unseen", "{status:?}");
    }
}

#[tokio::test]
async fn a_container_that_is_made_anew_under_its_name_is_known_at_once_and_not_taken_for_the_old_one() {
    let service = StandIn::with(state("default", "redis"));
    let (held, lives) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(1)));
    let living = Arc::clone(&lives);
    let containerd = Containerd::holding(settings(service.socket(), &["default"]), move |_| {
        let (own, living) = (held.fetch_add(1, Ordering::SeqCst) + 1, Arc::clone(&living));
        Ok(Arc::new(move || {
            let is_there = living.load(Ordering::SeqCst) == own;
            if is_there { Ok(CTR.to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
        }))
    });
    assert_eq!(identify(&containerd, CTR).await.unwrap(), all("default"));
    service.change(|state| state.containers.values_mut().for_each(|known| known.labels.clear()));
    lives.store(2, Ordering::SeqCst);
    assert!(!identify(&containerd, CTR).await.unwrap().contains(&"containerd:label:app:web".to_owned()));
    // What is held is gone, and somebody else has the number.
    lives.store(0, Ordering::SeqCst);
    assert_eq!(identify(&containerd, CTR).await.unwrap_err().code(), "attest.container.unseen");
}

#[tokio::test]
async fn a_digest_is_told_only_while_the_name_means_what_it_meant_when_the_container_was_made() {
    let without: Vec<_> = all("default").into_iter().skip(1).collect();
    let image = |state: &mut State, change: fn(&mut Image)| {
        change(state.images.get_mut(&key("default", IMAGE)).unwrap());
    };
    for change in [
        // Pulled again.
        (|image| image.updated_at = at(201)) as fn(&mut Image),
        |image| image.updated_at = None,
        |image| image.target = None,
        |image| image.target = Some(Descriptor { digest: "sha512:00".to_owned() }),
    ] {
        let mut moved = state("default", "redis");
        image(&mut moved, change);
        assert_eq!(asked(moved, CTR).await.unwrap(), without);
    }
    let mut removed = state("default", "redis");
    removed.images.clear();
    assert_eq!(asked(removed, CTR).await.unwrap(), without);
    let mut bare = state("default", "redis");
    bare.containers.get_mut(&key("default", "redis")).unwrap().image.clear();
    assert_eq!(asked(bare, CTR).await.unwrap(), without.get(1..).unwrap());
}

#[tokio::test]
async fn a_container_that_does_not_run_yet_is_asked_for_again() {
    let service = StandIn::with(State { tasks_from: 3, ..state("default", "redis") });
    assert_eq!(identify(&attestor(&service, &["default"], CTR), CTR).await.unwrap(), all("default"));
    assert_eq!(service.asked(), 3);
}

#[tokio::test]
async fn a_containerd_that_does_not_say_is_a_fault_and_no_smaller_set() {
    for code in [Code::Unavailable, Code::PermissionDenied, Code::Unimplemented, Code::FailedPrecondition] {
        let refused = asked(State { fault: Some(code), ..State::default() }, CTR).await.unwrap_err();
        assert_eq!(refused.code(), "attest.containerd.call", "{code:?}");
    }
    let labelled = |count: usize, bytes: usize| {
        let mut state = state("default", "redis");
        let labels = (0..count).map(|number| (number.to_string(), "x".repeat(bytes))).collect();
        state.containers.get_mut(&key("default", "redis")).unwrap().labels = labels;
        state
    };
    let large = labelled(api::ANSWER_BYTES_MAX / 4096, 4096);
    assert_eq!(asked(large, CTR).await.unwrap_err().code(), "attest.containerd.call");
    let many = labelled(super::super::selection::SELECTORS_MAX, 1);
    assert_eq!(asked(many, CTR).await.unwrap_err().code(), "attest.too_many");
    let mut other = state("default", "redis");
    other.containers.get_mut(&key("default", "redis")).unwrap().id = "other".to_owned();
    assert_eq!(asked(other, CTR).await.unwrap_err().code(), "attest.containerd.answer");
    let mut huge = state("default", "redis");
    huge.tasks.insert(key("default", "redis"), Task { pid: u32::MAX, status: TaskStatus::Running.into() });
    assert_eq!(asked(huge, CTR).await.unwrap_err().code(), "attest.containerd.answer");
}

#[tokio::test]
async fn an_image_that_cannot_be_asked_for_is_a_fault() {
    let service = StandIn::with(state("default", "redis"));
    let containerd = attestor(&service, &["default"], CTR);
    service.change(|state| {
        state.images.values_mut().for_each(|image| image.name = "other".to_owned());
    });
    assert_eq!(identify(&containerd, CTR).await.unwrap_err().code(), "attest.containerd.answer");
}

#[tokio::test]
async fn a_containerd_that_is_away_or_silent_is_a_fault() {
    let away = Containerd::of(settings("/nowhere/c.sock".into(), &["default"]));
    assert_eq!(identify(&away, CTR).await.unwrap_err().code(), "attest.containerd.unreachable");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    // Takes questions, answers none.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let silent = Containerd::of(settings(socket, &["default"]));
    assert_eq!(silent.ask_once(1000, "redis").await.err().unwrap().code(), "attest.containerd.timed_out");
}

#[tokio::test]
async fn many_streams_of_one_container_at_one_moment_are_one_question() {
    let service = StandIn::with(state("default", "redis"));
    let containerd = attestor(&service, &["default"], CTR);
    futures_util::future::try_join_all((0..100).map(|_| identify(&containerd, CTR))).await.unwrap();
    // A slow machine may take longer than a second for the hundred.
    assert!(service.asked() < 10, "{}", service.asked());
}

#[test]
fn a_name_is_what_containerd_lets_be_one() {
    for name in ["default", "a", "k8s.io", "redis-1.2_x", "A--b", &"a".repeat(IDENTIFIER_MAX)] {
        assert!(is_identifier(name), "{name}");
    }
    for name in ["", "-a", "a.", "a/b", "a b", "é", "a\n", "..", &"a".repeat(IDENTIFIER_MAX + 1)] {
        assert!(!is_identifier(name), "{name}");
    }
}
