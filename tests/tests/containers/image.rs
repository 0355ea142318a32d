//! Images of next to nothing: the programs in them are this machine's, which is mounted.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_tests::Output;
use serde_json::{Value, json};

/// Folders of an image's root, to be mounted on or written to; the others lead into `/usr`, as Debian has it.
const FOLDERS: [&str; 6] = ["usr", "proc", "sys", "dev", "tmp", "etc"];
const LINKS: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// An archive of an image's files, below `folder`.
pub(crate) fn files(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    for name in FOLDERS {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    for name in LINKS {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    let archive = folder.join("root.tar");
    pack(&root, &archive);
    archive
}

/// An image as OCI's Image Layout Specification has it.
pub(crate) struct Image {
    /// What it is called.
    pub(crate) name: String,
    /// Of its manifest: `sha256:…`.
    pub(crate) digest: String,
    /// All of it.
    pub(crate) archive: PathBuf,
}

impl Image {
    /// One that is called `name` and labelled `made: MADE`, below `folder`. Others have other digests.
    pub(crate) fn new(folder: &Path, name: &str, made: &str) -> Self {
        let folder = folder.join(format!("image-{made}"));
        let layout = folder.join("layout");
        std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        let blob = |kind: &str, bytes: &[u8]| -> Value {
            let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes));
            std::fs::write(layout.join("blobs/sha256").join(&digest), bytes).unwrap();
            let kind = format!("application/vnd.oci.image.{kind}");
            json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len() })
        };
        let layer = blob("layer.v1.tar", &std::fs::read(files(&folder)).unwrap());
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": { "Labels": { "made": made } },
            "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
        });
        let config = blob("config.v1+json", config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
        let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes());
        let digest = manifest["digest"].as_str().unwrap().to_owned();
        // Where containerd's import looks for the name.
        manifest["annotations"] = json!({ "io.containerd.image.name": name });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
        std::fs::write(layout.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string()).unwrap();
        let archive = folder.join("image.tar");
        pack(&layout, &archive);
        Self { name: name.to_owned(), digest, archive }
    }
}

fn pack(folder: &Path, archive: &Path) {
    let mut tar = Command::new("tar");
    Output::of(tar.arg("-C").arg(folder).arg("-cf").arg(archive).arg(".")).unwrap().success().unwrap();
}
