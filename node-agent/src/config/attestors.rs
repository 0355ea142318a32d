//! The keys about who calls: `attestor.kinds`, and what each kind of attestor runs on.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::path;
use super::reader::Reader;
use crate::attest::{
    Address, AttestorSettings, ClientCertificate, ContainerdSettings, EngineSettings, KubernetesSettings, is_identifier,
};

/// The kinds there are. `unix` says as whom a workload connected, so it is never left out.
const KINDS: &[&str] = &["unix", "systemd", "docker", "podman", "containerd", "k8s"];
/// Namespaces of containerd: each is asked for every container.
const NAMESPACES_MAX: usize = 8;

/// As [`super::build`]: every key before the first `?`. What a kind runs on is checked whether it is among the kinds or
/// not; what it cannot do without is asked for only then.
pub(super) fn read(reader: &mut Reader) -> Option<AttestorSettings> {
    let kinds = reader.required("attestor.kinds", kinds);
    let look_again = reader.required("attestor.look_again", |text| duration(text, 1_000..=3_600_000));
    let bus = reader.required("attestor.systemd.bus", absolute);
    let docker = engine(reader, "attestor.docker.socket", "attestor.docker.cgroup_root");
    let podman = engine(reader, "attestor.podman.socket", "attestor.podman.cgroup_root");
    let containerd = containerd(reader);
    let wants_k8s = kinds.as_ref().is_some_and(|kinds| kinds.contains("k8s"));
    let kubernetes = kubernetes(reader, wants_k8s);
    let kinds = kinds?;
    Some(AttestorSettings {
        look_again: look_again?,
        systemd: Some(bus?).filter(|_| kinds.contains("systemd")),
        docker: Some(docker?).filter(|_| kinds.contains("docker")),
        podman: Some(podman?).filter(|_| kinds.contains("podman")),
        containerd: Some(containerd?).filter(|_| kinds.contains("containerd")),
        kubernetes: kubernetes?,
    })
}

fn engine(reader: &mut Reader, socket: &str, root: &str) -> Option<EngineSettings> {
    let (socket, root) = (reader.required(socket, absolute), reader.required(root, group));
    Some(EngineSettings { socket: socket?, cgroup_root: root? })
}

fn containerd(reader: &mut Reader) -> Option<ContainerdSettings> {
    let socket = reader.required("attestor.containerd.socket", absolute);
    let namespaces = reader.required("attestor.containerd.namespaces", namespaces);
    let root = reader.required("attestor.containerd.cgroup_root", group);
    Some(ContainerdSettings { socket: socket?, namespaces: namespaces?, cgroup_root: root? })
}

fn namespaces(text: &str) -> Result<Vec<String>, String> {
    let names: BTreeSet<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if let Some(wrong) = names.iter().find(|name| !is_identifier(name)) {
        return Err(format!("expected namespaces of containerd, found {wrong:?}"));
    }
    if names.len() > NAMESPACES_MAX {
        return Err(format!("expected at most {NAMESPACES_MAX} namespaces"));
    }
    Ok(names.into_iter().collect())
}

fn kubernetes(reader: &mut Reader, is_wanted: bool) -> Option<Option<KubernetesSettings>> {
    let kubelet = reader.required("attestor.k8s.kubelet", kubelet);
    let node_name = reader.optional("attestor.k8s.node_name", |text| {
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
    });
    let ca = reader.required("attestor.k8s.ca", path);
    let token = reader.required("attestor.k8s.token", path);
    let certificate = reader.optional("attestor.k8s.certificate", path);
    let private_key = reader.optional("attestor.k8s.private_key", path);
    let attempts = reader.required("attestor.k8s.max_poll_attempts", |text| {
        text.parse().ok().filter(|attempts| (1..=100).contains(attempts)).ok_or("expected 1 to 100".to_owned())
    });
    let interval = reader.required("attestor.k8s.poll_retry_interval", |text| duration(text, 10..=10_000));
    let root = reader.required("attestor.k8s.cgroup_root", group);
    let client = match (certificate, private_key) {
        (Some(certificate), Some(private_key)) => Some(Some(ClientCertificate { certificate, private_key })),
        (None, None) => Some(None),
        (Some(_), None) => reader.problem("attestor.k8s.private_key", "is required beside attestor.k8s.certificate"),
        (None, Some(_)) => reader.problem("attestor.k8s.certificate", "is required beside attestor.k8s.private_key"),
    };
    if !is_wanted {
        return Some(None);
    }
    let node_name = match node_name {
        None => reader.problem("attestor.k8s.node_name", "is required for k8s among attestor.kinds"),
        some => some,
    };
    let (kubelet, client) = (kubelet?, client?);
    // A certificate stands in for the token.
    let token = Some(token?).filter(|_| client.is_none());
    Some(Some(KubernetesSettings {
        kubelet,
        node_name: node_name?,
        ca: ca?,
        token,
        client,
        max_poll_attempts: attempts?,
        poll_retry_interval: interval?,
        cgroup_root: root?,
    }))
}

fn kinds(text: &str) -> Result<BTreeSet<String>, String> {
    let kinds: BTreeSet<_> = text.split(',').map(|kind| kind.trim().to_owned()).collect();
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(format!("expected some of {}, found {unknown:?}", KINDS.join(", ")));
    }
    if kinds.contains("unix") { Ok(kinds) } else { Err("must have unix among them".to_owned()) }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') { Ok(text.into()) } else { Err(format!("expected an absolute path, found {text:?}")) }
}

/// A control group, as names from the root down.
fn group(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<_> = text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let is_plain = !names.iter().any(|name| name == "." || name == "..");
    if text.starts_with('/') && is_plain {
        Ok(names)
    } else {
        Err(format!("expected a control group from the root down, such as /docker, found {text:?}"))
    }
}

fn kubelet(text: &str) -> Result<Address, String> {
    let form = || format!("expected https://HOST:PORT, http://HOST:PORT or unix:/PATH, found {text:?}");
    if let Some(path) = text.strip_prefix("unix:") {
        return absolute(path).map(Address::Unix).map_err(|_| form());
    }
    let uri: hyper::Uri = text.parse().map_err(|_| form())?;
    let is_base = uri.path_and_query().is_none_or(|path| path.as_str() == "/")
        && uri.authority().is_none_or(|authority| !authority.as_str().contains('@'));
    let host = uri.host().filter(|_| is_base).map(|host| host.trim_matches(['[', ']']).to_owned());
    match (uri.scheme_str(), host, uri.port_u16()) {
        (Some("https"), Some(host), Some(port)) => Ok(Address::Tls(host, port)),
        (Some("http"), Some(host), Some(port)) => Ok(Address::Plain(host, port)),
        _ => Err(form()),
    }
}

/// `500ms`, `30s` or `5m`, within `allowed` milliseconds.
fn duration(text: &str, allowed: RangeInclusive<u64>) -> Result<Duration, String> {
    let form = || format!("expected a duration such as 500ms, 30s or 5m, found {text:?}");
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(form()),
    };
    let milliseconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(form)?;
    if allowed.contains(&milliseconds) {
        Ok(Duration::from_millis(milliseconds))
    } else {
        Err(format!("expected {} to {} ms, found {text:?}", allowed.start(), allowed.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigFault, Overrides};
    use super::*;

    const SMALLEST: &str = "server = \"localhost:8441\"\ntrust_domain = \"example.org\"\ntrust_bundle = \"/b.pem\"\n";

    fn parse(text: &str) -> Result<AttestorSettings, Vec<String>> {
        let text = format!("{SMALLEST}{text}");
        let config = Config::parse(&text, std::path::Path::new("agent.toml"), &Overrides::default());
        config.map(|config| config.attestors).map_err(|fault| match fault {
            ConfigFault::Problems(problems) => problems.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        })
    }

    #[test]
    fn unix_alone_is_on_unless_more_is_asked_for() {
        assert_eq!(parse("").unwrap(), AttestorSettings::default());
        // To be named is not to be on.
        assert_eq!(parse("[attestor.docker]\nsocket = \"/d.sock\"").unwrap(), AttestorSettings::default());
    }

    #[test]
    fn each_kind_is_on_with_its_defaults_once_it_is_named() {
        let settings =
            parse("[attestor]\nkinds = [\"unix\", \"systemd\", \"docker\", \"podman\", \"containerd\"]").unwrap();
        assert_eq!(settings.systemd.unwrap(), PathBuf::from("/run/dbus/system_bus_socket"));
        assert_eq!(settings.docker.unwrap().socket, PathBuf::from("/var/run/docker.sock"));
        assert_eq!(settings.podman.unwrap().socket, PathBuf::from("/run/podman/podman.sock"));
        let containerd = settings.containerd.unwrap();
        assert_eq!(containerd.socket, PathBuf::from("/run/containerd/containerd.sock"));
        assert_eq!((containerd.namespaces, containerd.cgroup_root), (vec!["default".to_owned()], Vec::new()));
        assert_eq!(settings.kubernetes, None);
    }

    #[test]
    fn the_kubelet_is_asked_by_the_name_of_the_node() {
        let on = "[attestor]\nkinds = [\"unix\", \"k8s\"]\nlook_again = \"1m\"\n[attestor.k8s]\n";
        assert_eq!(parse(on).unwrap_err(), ["attestor.k8s.node_name: is required for k8s among attestor.kinds"]);
        let settings = parse(&format!("{on}node_name = \"n1\"\ncgroup_root = \"/docker/x\"")).unwrap();
        assert_eq!(settings.look_again, Duration::from_secs(60));
        let kubernetes = settings.kubernetes.unwrap();
        assert_eq!(kubernetes.kubelet, Address::Tls("127.0.0.1".to_owned(), 10250));
        assert_eq!(kubernetes.cgroup_root, ["docker", "x"]);
        assert!(kubernetes.token.is_some() && kubernetes.client.is_none());
        let client = "certificate = \"/c\"\nprivate_key = \"/k\"";
        let kubernetes = parse(&format!("{on}node_name = \"n1\"\n{client}")).unwrap().kubernetes.unwrap();
        assert!(kubernetes.token.is_none() && kubernetes.client.is_some());
    }

    #[test]
    fn what_is_wrong_is_said_of_kinds_that_are_off_too() {
        for (text, key) in [
            ("[attestor]\nkinds = [\"docker\"]", "attestor.kinds"),
            ("[attestor]\nkinds = [\"unix\", \"windows\"]", "attestor.kinds"),
            ("[attestor]\nlook_again = \"0s\"", "attestor.look_again"),
            ("[attestor]\nlook_again = 30", "attestor.look_again"),
            ("[attestor.docker]\nsocket = \"unix:///d.sock\"", "attestor.docker.socket"),
            ("[attestor.docker]\nsockets = \"/d.sock\"", "attestor.docker.sockets"),
            ("[attestor.slurm]\nx = 1", "attestor.slurm.x"),
            ("[attestor.podman]\ncgroup_root = \"/a/../b\"", "attestor.podman.cgroup_root"),
            ("[attestor.containerd]\nnamespaces = [\"a/b\"]", "attestor.containerd.namespaces"),
            ("[attestor.containerd]\nnamespaces = []", "attestor.containerd.namespaces"),
            ("[attestor.containerd]\nnamespaces = \"a,b,c,d,e,f,g,h,i\"", "attestor.containerd.namespaces"),
            ("[attestor.k8s]\nkubelet = \"127.0.0.1:10250\"", "attestor.k8s.kubelet"),
            ("[attestor.k8s]\nkubelet = \"https://127.0.0.1\"", "attestor.k8s.kubelet"),
            ("[attestor.k8s]\ncertificate = \"/c\"", "attestor.k8s.private_key"),
            ("[attestor.k8s]\nmax_poll_attempts = 0", "attestor.k8s.max_poll_attempts"),
            ("[attestor.k8s]\npoll_retry_interval = \"1ms\"", "attestor.k8s.poll_retry_interval"),
        ] {
            let problems = parse(text).unwrap_err();
            assert!(problems.len() == 1 && problems[0].starts_with(&format!("{key}: ")), "{text}: {problems:?}");
        }
    }

    #[test]
    fn a_kubelet_is_reached_in_three_ways() {
        assert_eq!(kubelet("http://[::1]:10255"), Ok(Address::Plain("::1".to_owned(), 10255)));
        assert_eq!(kubelet("unix:/k.sock"), Ok(Address::Unix("/k.sock".into())));
        for wrong in ["unix:k.sock", "https://h:1/pods", "https://user:word@h:1", "ftp://h:1", ""] {
            assert!(kubelet(wrong).is_err(), "{wrong}");
        }
    }
}
