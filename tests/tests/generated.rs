//! The generated gRPC code is what the `.proto` files say. `make proto` rewrites it.

#![allow(clippy::unwrap_used, reason = "a generator that cannot go on has nothing to compare")]

use std::path::{Path, PathBuf};

struct Stub {
    /// File below `crates/protocol/proto`.
    proto: &'static str,
    /// Further files, of services beside it or of messages that travel as `Any` and are imported by none.
    more: &'static [&'static str],
    /// Name of the file that prost writes; empty where services of several packages become modules within one file.
    module: &'static str,
    /// Where the messages live, as a path for the stubs.
    messages: &'static str,
    server: Option<&'static str>,
    client: Option<&'static str>,
    /// The codec of the server's side; tonic's own if none is named.
    codec: Option<&'static str>,
    /// Where the encoded `FileDescriptorSet` lies, for services that answer gRPC reflection.
    descriptors: Option<&'static str>,
    /// The packages that the messages are spread over, where there are several: they become modules within one file.
    packages: &'static [&'static str],
}

const STUBS: &[Stub] = &[
    Stub {
        proto: "holdfast/agent/v1/agent.proto",
        more: &[],
        module: "holdfast.agent.v1",
        messages: "::holdfast_protocol::agent",
        server: Some("server/src/generated/agent.rs"),
        client: Some("node-agent/src/generated/agent.rs"),
        codec: None,
        descriptors: None,
        packages: &[],
    },
    Stub {
        proto: "holdfast/admin/v1/admin.proto",
        more: &[],
        module: "holdfast.admin.v1",
        messages: "::holdfast_protocol::admin",
        server: Some("server/src/generated/admin_server.rs"),
        client: Some("server/src/generated/admin_client.rs"),
        codec: None,
        descriptors: None,
        packages: &[],
    },
    Stub {
        proto: "spiffe/workload.proto",
        more: &[],
        module: "_",
        messages: "::holdfast_protocol::workload",
        server: Some("node-agent/src/generated/workload_server.rs"),
        client: Some("node-agent/src/generated/workload_client.rs"),
        codec: Some("crate::workload_api::Codec"),
        descriptors: Some("node-agent/src/generated/workload.fds"),
        packages: &[],
    },
    Stub {
        proto: "envoy/service/secret/v3/sds.proto",
        more: &["envoy/extensions/transport_sockets/tls/v3/secret.proto"],
        module: "envoy.service.secret.v3",
        messages: "::holdfast_protocol::sds",
        server: Some("node-agent/src/generated/sds_server.rs"),
        client: None,
        codec: Some("crate::workload_api::Codec"),
        descriptors: Some("node-agent/src/generated/sds.fds"),
        packages: &["envoy", "google.rpc"],
    },
    Stub {
        proto: "containerd/services/containers/v1/containers.proto",
        more: &["containerd/services/images/v1/images.proto", "containerd/services/tasks/v1/tasks.proto"],
        module: "",
        messages: "::holdfast_protocol::containerd",
        // The stand-in of the attestor's tests.
        server: Some("node-agent/src/generated/containerd_server.rs"),
        client: Some("node-agent/src/generated/containerd_client.rs"),
        codec: None,
        descriptors: None,
        packages: &["containerd"],
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file as it should be, by path below the root.
fn generate() -> Vec<(String, Vec<u8>)> {
    let proto = root().join("crates/protocol/proto");
    let mut files = Vec::new();
    for stub in STUBS {
        let mut sources = vec![proto.join(stub.proto)];
        sources.extend(stub.more.iter().map(|file| proto.join(file)));
        let descriptors = protox::compile(sources, [&proto]).unwrap();
        let out = tempfile::tempdir().unwrap();
        let name = format!("{}.rs", stub.module);
        let read = || std::fs::read(out.path().join(&name)).unwrap();

        tonic_prost_build::configure()
            .build_server(false)
            .build_client(false)
            .out_dir(out.path())
            .compile_fds(descriptors.clone())
            .unwrap();
        let short = stub.messages.rsplit("::").next().unwrap();
        let messages = if stub.packages.is_empty() { read() } else { nested(out.path()).into_bytes() };
        files.push((format!("crates/protocol/src/generated/{short}.rs"), messages));

        if let Some(target) = stub.descriptors {
            let mut bare = descriptors.clone();
            bare.file.iter_mut().for_each(|file| file.source_code_info = None);
            files.push((target.to_owned(), prost::Message::encode_to_vec(&bare)));
        }
        for (target, server) in [(stub.server, true), (stub.client, false)] {
            let Some(target) = target else { continue };
            // A folder of its own: messages are in the one above.
            let out = tempfile::tempdir().unwrap();
            let read = || std::fs::read(out.path().join(&name)).unwrap();
            let package = if stub.module == "_" { ".".to_owned() } else { format!(".{}", stub.module) };
            // Without a package every message is at the root, so each is named by itself.
            let mut config = tonic_prost_build::configure()
                .build_server(server)
                .build_client(!server)
                .build_transport(false)
                .out_dir(out.path());
            if let (Some(codec), true) = (stub.codec, server) {
                config = config.codec_path(codec);
            }
            if !stub.packages.is_empty() {
                for package in stub.packages {
                    let path = format!("{}::{}", stub.messages, package.replace('.', "::"));
                    config = config.extern_path(format!(".{package}"), path);
                }
            } else if stub.module == "_" {
                for file in &descriptors.file {
                    if file.package().is_empty() {
                        for message in &file.message_type {
                            let path = match message.name() {
                                name if name.starts_with("X509SVID") => name.replace("X509SVID", "X509svid"),
                                name if name.starts_with("JWTSVID") => name.replace("JWTSVID", "Jwtsvid"),
                                name if name.starts_with("WITSVID") => name.replace("WITSVID", "Witsvid"),
                                name => prost_name(name),
                            };
                            config = config
                                .extern_path(format!(".{}", message.name()), format!("{}::{}", stub.messages, path));
                        }
                    }
                }
            } else {
                config = config.extern_path(package, stub.messages);
            }
            config.compile_fds(descriptors.clone()).unwrap();
            let stubs = if stub.module.is_empty() { nested(out.path()).into_bytes() } else { read() };
            files.push((target.to_owned(), stubs));
        }
    }
    files
}

/// The files that prost wrote, one a package, as modules within each other.
fn nested(folder: &Path) -> String {
    let mut packages: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let package = path.file_stem().unwrap().to_str().unwrap().split('.').map(str::to_owned).collect();
            (package, std::fs::read_to_string(path).unwrap())
        })
        .filter(|(_, text)| text.lines().any(|line| !line.starts_with("//")))
        .collect();
    packages.sort();
    let (mut text, mut open) = ("// This file is @generated by prost-build.\n".to_owned(), Vec::<String>::new());
    for (package, messages) in packages.into_iter().chain([(Vec::new(), String::new())]) {
        let same = open.iter().zip(&package).take_while(|(open, part)| open == part).count();
        text += &"}\n".repeat(open.len() - same);
        open.truncate(same);
        for part in package.iter().skip(same) {
            text += &format!("pub mod {part} {{\n");
            open.push(part.clone());
        }
        text += messages.trim_start_matches("// This file is @generated by prost-build.\n");
    }
    text
}

/// The Rust name that prost gives to a message.
fn prost_name(name: &str) -> String {
    match name {
        "X509BundlesRequest" | "X509BundlesResponse" => name.to_owned(),
        "JWTBundlesRequest" => "JwtBundlesRequest".to_owned(),
        "JWTBundlesResponse" => "JwtBundlesResponse".to_owned(),
        "WITBundlesRequest" => "WitBundlesRequest".to_owned(),
        "WITBundlesResponse" => "WitBundlesResponse".to_owned(),
        "ValidateJWTSVIDRequest" => "ValidateJwtsvidRequest".to_owned(),
        "ValidateJWTSVIDResponse" => "ValidateJwtsvidResponse".to_owned(),
        other => other.to_owned(),
    }
}

#[test]
fn generated_code_is_current() {
    let rewrite = std::env::var_os("HOLDFAST_REGENERATE").is_some();
    let mut stale = Vec::new();
    for (path, text) in generate() {
        let file = root().join(&path);
        if std::fs::read(&file).is_ok_and(|held| held == text) {
            continue;
        }
        if rewrite {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        } else {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "stale: {stale:?}; run `make proto`");
}
