//! The `docker` attestor against stand-ins of Podman and Docker that answer what these answer.

use super::super::service::Service;
use super::*;

/// What Podman 4.3.1 said of a container; its process and groups on that machine.
const PODMAN: &str = include_str!("podman-4.3.1.json");
const ID: &str = "4be74ccc0fec2fb124a9b71a33482302cb91b1f60323196a8978e4621a69bbc0";
const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const FIRST: i32 = 29547;
const DIGEST: &str = "sha256:e3fd6a2d61798acfabbaa8d18d6caaf116a9f95c42a6d05203dbd3df98f9b33f";

fn podman_groups() -> String {
    format!("9:name=systemd:/libpod_parent/libpod-{ID}\n4:memory:/libpod_parent/libpod-{ID}\n0::/\n")
}

fn docker_groups(id: &str) -> String {
    format!("0::/system.slice/docker-{id}.scope\n")
}

/// Docker's account, in the form of its API's reference.
fn account(id: &str, running: bool, pid: i32) -> String {
    serde_json::json!({
        "Id": id,
        "State": { "Status": if running { "running" } else { "created" }, "Running": running, "Pid": pid },
        "Image": DIGEST,
        "Config": {
            "Image": "envoyproxy/envoy:contrib-v1.29.1",
            "Env": ["MODE=prod", "EMPTY="],
            "Labels": { "com.example.name": "foo", "url": "http://a/b" },
        },
    })
    .to_string()
}

fn attestor(engine: Engine, service: &Service) -> Docker {
    Docker::with(engine, EngineSettings { socket: service.socket(), cgroup_root: Vec::new() })
}

async fn identify(docker: &Docker, groups: &str, first: &str) -> Result<Vec<String>, AttestFault> {
    let first = |pid: i32| -> io::Result<String> {
        if pid == FIRST { Ok(first.to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    let selectors = docker.identify(1000, &Cgroups::parse(groups).unwrap(), first).await?;
    Ok(selectors.iter().map(ToString::to_string).collect())
}

/// What Docker says of a process in container [`ID`] when it answers `answer` each time.
async fn answered(status: &'static str, answer: String) -> Result<Vec<String>, AttestFault> {
    let service = Service::answering(move |_, _| (status, answer.clone()));
    identify(&attestor(Engine::Docker, &service), &docker_groups(ID), &docker_groups(ID)).await
}

#[tokio::test]
async fn what_podman_says_becomes_selectors_as_spire_spells_them() {
    let service = Service::answering(|_, path| match path {
        "/containers/4be74ccc0fec2fb124a9b71a33482302cb91b1f60323196a8978e4621a69bbc0/json" => {
            ("200 OK", PODMAN.to_owned())
        }
        _ => ("404 Not Found", String::new()),
    });
    let podman = attestor(Engine::Podman, &service);
    let selectors = identify(&podman, &podman_groups(), &podman_groups()).await.unwrap();
    assert_eq!(
        selectors,
        [
            "docker:env:HOSTNAME=4be74ccc0fec",
            "docker:env:MODE=prod",
            "docker:env:PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "docker:env:TERM=xterm",
            "docker:label:app:web",
            "docker:label:weird:a:b",
        ]
    );
}

#[tokio::test]
async fn image_and_digest_are_those_that_the_container_was_made_of() {
    let selectors = answered("200 OK", account(ID, true, FIRST)).await.unwrap();
    assert_eq!(
        selectors,
        [
            "docker:env:EMPTY=".to_owned(),
            "docker:env:MODE=prod".to_owned(),
            format!("docker:image_config_digest:{DIGEST}"),
            "docker:image_id:envoyproxy/envoy:contrib-v1.29.1".to_owned(),
            "docker:label:com.example.name:foo".to_owned(),
            "docker:label:url:http://a/b".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_group_named_after_somebody_elses_container_is_not_that_container() {
    let service = Service::answering(|_, _| ("200 OK", account(ID, true, FIRST)));
    let docker = attestor(Engine::Docker, &service);
    for forged in [
        format!("0::/user.slice/user-1000.slice/user@1000.service/docker-{ID}.scope\n"),
        format!("0::/system.slice/web.service/docker-{ID}.scope\n"),
        format!("0::/docker/{ID}\n"),
        format!("5:memory:/system.slice/docker-{ID}.scope\n"),
    ] {
        let refused = identify(&docker, &forged, &docker_groups(ID)).await.unwrap_err();
        assert_eq!(refused.code(), "attest.container.elsewhere", "{forged}");
    }
    // The first process's number means another one by now, which is in no container, or in another.
    for first in ["0::/\n".to_owned(), docker_groups(OTHER)] {
        let refused = identify(&docker, &docker_groups(ID), &first).await.unwrap_err();
        assert_eq!(refused.code(), "attest.container.elsewhere", "{first}");
    }
}

#[tokio::test]
async fn a_first_process_out_of_sight_is_a_fault() {
    let refused = answered("200 OK", account(ID, true, 1)).await.unwrap_err();
    assert_eq!(refused.code(), "attest.container.unseen");
}

#[tokio::test]
async fn who_is_in_no_container_of_this_engine_has_no_selectors_and_no_question_is_asked() {
    let service = Service::answering(|_, _| ("200 OK", account(ID, true, FIRST)));
    let docker = attestor(Engine::Docker, &service);
    for groups in ["0::/system.slice/a.service\n".to_owned(), podman_groups()] {
        assert!(identify(&docker, &groups, &groups).await.unwrap().is_empty());
    }
    let podman = attestor(Engine::Podman, &service);
    assert!(identify(&podman, &docker_groups(ID), &docker_groups(ID)).await.unwrap().is_empty());
    assert_eq!(service.asked(), 0);
}

#[tokio::test]
async fn a_container_that_the_engine_does_not_know_is_another_runtimes() {
    assert!(answered("404 Not Found", String::new()).await.unwrap().is_empty());
    // Found by a name that looks like an ID.
    assert!(answered("200 OK", account(OTHER, true, FIRST)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_container_that_is_not_said_to_run_yet_is_asked_for_again() {
    let service = Service::answering(|question, _| ("200 OK", account(ID, question == 3, FIRST)));
    let docker = attestor(Engine::Docker, &service);
    assert!(!identify(&docker, &docker_groups(ID), &docker_groups(ID)).await.unwrap().is_empty());
    assert_eq!(service.asked(), 3);
}

#[tokio::test]
async fn many_streams_of_one_container_at_one_moment_are_one_question() {
    let service = Service::answering(|_, _| ("200 OK", account(ID, true, FIRST)));
    let docker = attestor(Engine::Docker, &service);
    let groups = docker_groups(ID);
    futures_util::future::try_join_all((0..100).map(|_| identify(&docker, &groups, &groups))).await.unwrap();
    // A slow machine may take longer than a second for the hundred.
    assert!(service.asked() < 10, "{}", service.asked());
}

#[tokio::test]
async fn a_container_that_was_started_again_is_asked_for_at_once() {
    let (old, new) = (FIRST, FIRST + 1);
    let service =
        Service::answering(move |question, _| ("200 OK", account(ID, true, if question == 1 { old } else { new })));
    let docker = attestor(Engine::Docker, &service);
    for first in [old, new, new] {
        let groups = move |pid: i32| -> io::Result<String> {
            if pid == first { Ok(docker_groups(ID)) } else { Err(io::ErrorKind::NotFound.into()) }
        };
        let cgroups = Cgroups::parse(&docker_groups(ID)).unwrap();
        assert!(!docker.identify(1000, &cgroups, groups).await.unwrap().is_empty());
    }
    assert_eq!(service.asked(), 2);
}

#[tokio::test]
async fn who_names_containers_without_end_leaves_places_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    // Takes questions, answers none.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let docker = Arc::new(Docker::of_docker(EngineSettings { socket, cgroup_root: Vec::new() }));
    let ask = |uid: u32, number: u32| {
        let (docker, groups) = (Arc::clone(&docker), docker_groups(&format!("{number:064x}")));
        let none = |_: i32| -> io::Result<String> { Err(io::ErrorKind::NotFound.into()) };
        tokio::spawn(async move { docker.identify(uid, &Cgroups::parse(&groups).unwrap(), none).await.is_ok() })
    };
    let free = async |free: usize| {
        for _ in 0..1000 {
            if docker.places.available_permits() == free {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{free} of the places should be free");
    };
    let noisy: Vec<_> = (0..20).map(|number| ask(1, number)).collect();
    free(QUESTIONS_MAX - QUESTIONS_PER_USER_MAX).await;
    let quiet = ask(2, 100);
    free(QUESTIONS_MAX - QUESTIONS_PER_USER_MAX - 1).await;
    noisy.iter().chain([&quiet]).for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_engine_that_does_not_say_is_a_fault_and_no_smaller_set() {
    let deep = format!("{{\"Unknown\":{}", "[".repeat(1 << 20));
    let many =
        format!("{{\"Id\":\"{ID}\",\"State\":{{\"Running\":true,\"Pid\":{FIRST}}},\"Config\":{{\"Env\":[\"A=1\"");
    let many = many + &(0..=super::super::selection::SELECTORS_MAX).map(|n| format!(",\"E{n}=\"")).collect::<String>();
    for (status, answer, code) in [
        ("500 Internal Server Error", String::new(), "attest.http.status"),
        ("301 Moved Permanently", String::new(), "attest.http.status"),
        ("200 OK", "{}".to_owned(), "attest.http.answer"),
        ("200 OK", deep, "attest.http.answer"),
        ("200 OK", " ".repeat(ANSWER_BYTES_MAX + 1), "attest.http.unreachable"),
        ("200 OK", many + "]}}", "attest.too_many"),
    ] {
        assert_eq!(answered(status, answer).await.unwrap_err().code(), code, "{status}");
    }
}

#[tokio::test]
async fn an_engine_that_is_away_is_a_fault() {
    let settings = EngineSettings { socket: "/nowhere/d.sock".into(), cgroup_root: Vec::new() };
    let refused = identify(&Docker::of_docker(settings), &docker_groups(ID), "").await.unwrap_err();
    assert_eq!(refused.code(), "attest.http.unreachable");
}
