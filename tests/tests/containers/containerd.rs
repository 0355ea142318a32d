//! Containers that `ctr` makes in a real containerd.

use super::ctr::{Containerd, Made};
use super::groups::{self, Group};
use super::site::{CALLER, Site, Sleeper, denied, got};

const WEB: &str = "registry.test/web:1";

/// The rest of the agent's file: containerd is asked about these namespaces.
fn asking(containerd: &Containerd, namespaces: &[&str]) -> String {
    let socket = containerd.socket();
    format!(
        "[attestor]\nkinds = [\"unix\", \"containerd\"]\n[attestor.containerd]\nsocket = {socket:?}\n\
         namespaces = {namespaces:?}\n"
    )
}

#[test]
fn needs_containerd_label_image_and_namespace_decide_what_a_containers_first_process_gets() {
    let Some(mut containerd) = Containerd::start() else { return };
    let [shop, bank, other] = ["shop", "bank", "other"].map(|name| containerd.namespace(name));
    let [web, new] = [(WEB, "web"), ("registry.test/web:2", "new")].map(|(name, made)| containerd.image(name, made));
    for namespace in [&shop, &bank, &other] {
        containerd.import(namespace, &web);
    }
    containerd.import(&shop, &new);
    let site = Site::new(&asking(&containerd, &[&shop, &bank]));
    let in_shop = format!("containerd:namespace:{shop}");
    site.entry("web", &[&in_shop, "containerd:label:app:web", &format!("containerd:image_id:{WEB}")]);
    site.entry("new", &[&in_shop, &format!("containerd:image_digest:{}", new.digest)]);

    let mounts = site.mounts();
    let made = Made { namespace: &shop, id: "web1", image: &web, label: "app=web", group: None, mounts: &mounts };
    let called = |made| containerd.run(made, &CALLER.words);
    site.until_given("web", || called(made));
    site.until_given("new", || called(Made { image: &new, ..made }));
    for (what, wrong) in [
        ("another label", Made { label: "app=db", ..made }),
        ("another namespace", Made { namespace: &bank, ..made }),
        ("a namespace that is not asked for", Made { namespace: &other, ..made }),
    ] {
        let output = called(wrong);
        assert!(denied(&output), "{what}: {output:?}\n{}", site.logs());
    }
    let outside = site.fetch(None);
    assert!(denied(&outside), "{outside:?}");

    let first = containerd.started(made);
    let why = site.why(first);
    let seen = why.by("containerd").unwrap();
    for expected in [
        in_shop.as_str(),
        "containerd:label:app:web",
        "containerd:label:made:web",
        &format!("containerd:image_id:{WEB}"),
        &format!("containerd:image_digest:{}", web.digest),
    ] {
        assert!(seen.iter().any(|selector| selector == expected), "{expected} in {seen:?}");
    }
    assert_eq!(why.code, 0);
    assert_eq!(got(&containerd.exec(made, &CALLER.words)).as_deref(), Ok("web"), "a process beside the first one");

    // Its containers live on without it, and it is found again.
    containerd.restart();
    let why = site.why(first);
    assert_eq!((why.code, why.by("containerd")), (0, Ok(seen)));
}

#[test]
fn needs_containerd_a_name_that_is_used_again_is_another_container_from_its_first_moment_on() {
    let Some(containerd) = Containerd::start() else { return };
    let shop = containerd.namespace("shop");
    let web = containerd.image(WEB, "web");
    containerd.import(&shop, &web);
    let site = Site::new(&asking(&containerd, &[&shop]));
    for path in ["web", "db"] {
        site.entry(path, &[&format!("containerd:label:app:{path}")]);
    }
    site.entry("exact", &["containerd:label:app:exact", &format!("containerd:image_digest:{}", web.digest)]);
    let mounts = site.mounts();
    let made = |label| Made { namespace: &shop, id: "app", image: &web, label, group: None, mounts: &mounts };
    for (path, label) in [("web", "app=web"), ("db", "app=db"), ("exact", "app=exact")] {
        site.until_given(path, || containerd.run(made(label), &CALLER.words));
    }
    // Within the moment for which the answer about the one before is used again.
    for (label, expected) in
        [("app=web", Some("web")), ("app=db", Some("db")), ("app=no", None), ("app=web", Some("web"))]
    {
        let output = containerd.run(made(label), &CALLER.words);
        match expected {
            Some(path) => assert_eq!(got(&output).as_deref(), Ok(path), "{}", site.logs()),
            None => assert!(denied(&output), "{output:?}\n{}", site.logs()),
        }
    }

    // The image's name is given anew: what was made before has no digest any more.
    let exact = made("app=exact");
    let first = containerd.started(exact);
    let has_digest = |pid| site.why(pid).by("containerd").unwrap().iter().any(|seen| seen.contains(":image_digest:"));
    assert!(has_digest(first));
    assert_eq!(got(&containerd.exec(exact, &CALLER.words)).as_deref(), Ok("exact"));
    containerd.import(&shop, &containerd.image(WEB, "newer"));
    site.until_denied(|| containerd.exec(exact, &CALLER.words));
    assert!(!has_digest(first));
    containerd.remove(&shop, "app");
    assert!(has_digest(containerd.started(made("app=web"))));
}

#[test]
fn needs_containerd_a_container_is_known_by_its_groups_and_one_of_the_same_name_elsewhere_is_not_that_container() {
    let Some(containerd) = Containerd::start() else { return };
    let shop = containerd.namespace("shop");
    let web = containerd.image(WEB, "web");
    containerd.import(&shop, &web);
    let site = Site::new(&asking(&containerd, &[&shop]));
    site.entry("web", &["containerd:label:app:web"]);
    let id = hex::encode(ring::digest::digest(&ring::digest::SHA256, shop.as_bytes()));
    let mounts = site.mounts();
    let made = Made { namespace: &shop, id: &id, image: &web, label: "app=web", group: None, mounts: &mounts };
    site.until_given("web", || containerd.run(made, &CALLER.words));
    // Where nerdctl puts containers by its own will or a parent's name, and where only ctr does.
    for (group, is_known) in [
        (format!("/{shop}-slice/nerdctl-{id}.scope"), true),
        (format!("/{shop}-parent/{id}"), true),
        (format!("/{shop}-parent/web"), false),
    ] {
        let output = containerd.run(Made { group: Some(&group), ..made }, &CALLER.words);
        assert!(if is_known { got(&output).is_ok() } else { denied(&output) }, "{group}: {output:?}\n{}", site.logs());
    }
    let first = containerd.started(made);
    assert!(site.why(first).by("containerd").is_ok());

    let mut places = vec![format!("{shop}-user/nerdctl-{id}.scope"), format!("{shop}-user/{id}")];
    if groups::are_many() {
        // In the container's own group, and in that of no other hierarchy.
        places.push(format!("{shop}/{id}"));
    }
    for place in places {
        let group = Group::new(&place);
        let sleeper = Sleeper::in_group(&group);
        let why = site.why(sleeper.pid());
        assert_eq!(why.by("containerd"), Err("attest.container.elsewhere".to_owned()), "{place}");
        let output = site.fetch(Some(&group));
        assert!(output.code != 0 && output.stderr.contains("Unavailable"), "{output:?}");
        drop(sleeper);
    }
}
