//! Containers of a real Docker, and of a real Podman.

use super::engine::{Engine, Made};
use super::groups::Group;
use super::site::{CALLER, Site, Sleeper, denied, got};

const WEB: &str = "registry.test/web:1";
const NEW: &str = "registry.test/web:2";

/// The rest of the agent's file: `kind` is `docker` or `podman`.
fn asking(kind: &str, engine: &Engine) -> String {
    let mut kinds = vec!["unix", kind];
    let mut tables = format!("[attestor.{kind}]\nsocket = {:?}\n", engine.socket());
    if let Some(containerd) = &engine.containerd {
        // Docker's containers are none of `default`, and what Docker runs on may be asked about others.
        kinds.push("containerd");
        tables += &format!("[attestor.containerd]\nsocket = {:?}\n", containerd.socket());
    }
    format!("[attestor]\nkinds = {kinds:?}\n{tables}")
}

/// Labels, environment, name and digest of the image; a process beside the first one; and what `why` says.
fn what_it_is_made_with_decides(kind: &str, engine: &Engine) {
    let digests = [(WEB, "web"), (NEW, "new")].map(|(name, made)| engine.import(name, made));
    let site = Site::new(&asking(kind, engine));
    let image = format!("docker:image_id:{WEB}");
    site.entry("web", &["docker:label:app:web", "docker:env:MODE=prod", &image]);
    let new = format!("docker:image_config_digest:{}", digests[1]);
    site.entry("new", &["docker:label:app:web", &new]);

    let mounts = site.mounts();
    let made = Made { name: "web1", image: WEB, label: "app=web", variable: "MODE=prod", mounts: &mounts };
    let called = |made| engine.run(made, &CALLER.words);
    site.until_given("web", || called(made));
    site.until_given("new", || called(Made { image: NEW, ..made }));
    for (what, wrong) in [
        ("another label", Made { label: "app=db", ..made }),
        ("another variable", Made { variable: "MODE=test", ..made }),
        ("another label, the other image", Made { image: NEW, label: "app=db", ..made }),
    ] {
        let output = called(wrong);
        assert!(denied(&output), "{what}: {output:?}\n{}", site.logs());
    }
    let outside = site.fetch(None);
    assert!(denied(&outside), "{outside:?}");

    let (first, id) = engine.sleeping(made);
    let why = site.why(first);
    let seen = why.by(kind).unwrap();
    let digest = format!("docker:image_config_digest:{}", digests[0]);
    for expected in ["docker:label:app:web", "docker:label:made:web", "docker:env:MODE=prod", &image, &digest] {
        assert!(seen.iter().any(|selector| selector == expected), "{expected} in {seen:?}");
    }
    assert_eq!(why.code, 0);
    if engine.containerd.is_some() {
        assert_eq!(why.by("containerd"), Ok(Vec::new()), "of Docker's own namespace, which is not asked for");
    }
    assert_eq!(got(&engine.exec("web1", &CALLER.words)).as_deref(), Ok("web"), "a process beside the first one");

    // Another process is the first one, within the moment for which the answer about the one before is used again.
    engine.tell(&["restart", "--time", "0", "web1"]).success().unwrap();
    assert_eq!(got(&engine.exec("web1", &CALLER.words)).as_deref(), Ok("web"), "after a restart\n{}", site.logs());
    assert_ne!(engine.first("web1"), first);

    let group = Group::new(&format!("holdfast-{}/{}", &id[..12], named(kind, &id)));
    let sleeper = Sleeper::in_group(&group);
    assert_eq!(site.why(sleeper.pid()).by(kind), Err("attest.container.elsewhere".to_owned()));
    let output = site.fetch(Some(&group));
    assert!(output.code != 0 && output.stderr.contains("Unavailable"), "{output:?}");
    drop(sleeper);

    engine.remove("web1");
    assert!(denied(&called(Made { label: "app=db", ..made })), "the same name with another label");
}

/// What the engine calls the group of container `id` where systemd makes it.
fn named(kind: &str, id: &str) -> String {
    let runtime = if kind == "podman" { "libpod" } else { kind };
    format!("{runtime}-{id}.scope")
}

#[test]
fn needs_docker_label_variable_and_image_decide_what_a_containers_processes_get() {
    let Some(docker) = Engine::docker() else { return };
    what_it_is_made_with_decides("docker", &docker);
}

#[test]
fn needs_podman_label_variable_and_image_decide_what_a_containers_processes_get() {
    let Some(podman) = Engine::podman() else { return };
    what_it_is_made_with_decides("podman", &podman);
}
