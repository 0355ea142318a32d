//! SVIDs as PEM files, under the names that SPIRE's agent gives them. The only place of the agent that writes a key.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::identity::Identities;
use crate::pem;

/// Of a private key: its owner's alone.
const KEY_MODE: u32 = 0o600;
/// Of everything else.
const CERTIFICATE_MODE: u32 = 0o644;

/// Writes every SVID, key and bundle of `identities` into `folder`, and says which files these are. Each file is
/// replaced as a whole; what other programs see is always one certificate or the next, never half of one.
pub(super) fn write(identities: &Identities, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut written = Vec::new();
    let mut put = |name: String, text: &str, mode: u32| {
        let path = folder.join(name);
        replace(&path, text, mode).with_context(|| path.display().to_string())?;
        written.push(path);
        anyhow::Ok(())
    };
    for (n, svid) in identities.svids.iter().enumerate() {
        let key = pem::private_key(&svid.key);
        put(format!("svid.{n}.key"), &key, KEY_MODE)?;
        put(format!("svid.{n}.pem"), &pem::certificates(&svid.chain), CERTIFICATE_MODE)?;
        put(format!("bundle.{n}.pem"), &pem::certificates(&svid.bundle), CERTIFICATE_MODE)?;
        for (m, bundle) in identities.federated.values().enumerate() {
            put(format!("federated_bundle.{n}.{m}.pem"), &pem::certificates(bundle), CERTIFICATE_MODE)?;
        }
    }
    Ok(written)
}

/// Puts `text` at `path` with `mode`, whatever was there before, without following a link that stands there.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::super::identity::Identity;

    fn identities() -> Identities {
        let svid = |id: &str| Identity {
            spiffe_id: id.to_owned(),
            hint: String::new(),
            chain: vec![vec![1; 100], vec![2]],
            key: vec![3; 60].into(),
            bundle: vec![vec![4]],
        };
        Identities {
            svids: vec![svid("spiffe://td/a"), svid("spiffe://td/b")],
            federated: BTreeMap::from([("spiffe://other".to_owned(), vec![vec![5]])]),
            crls: Vec::new(),
        }
    }

    #[test]
    fn names_and_modes_are_spires() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("new");
        let written = write(&identities(), &target).unwrap();
        let names: Vec<_> = written.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "svid.0.key",
                "svid.0.pem",
                "bundle.0.pem",
                "federated_bundle.0.0.pem",
                "svid.1.key",
                "svid.1.pem",
                "bundle.1.pem",
                "federated_bundle.1.0.pem"
            ]
        );
        for path in &written {
            let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            let key = path.extension().is_some_and(|extension| extension == "key");
            assert_eq!(mode & !0o044, KEY_MODE, "{}", path.display());
            assert!(!key || mode == KEY_MODE, "{}", path.display());
        }
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), names.len(), "a draft was left");
    }

    #[test]
    fn pem_is_read_back_by_another_reader() {
        let folder = tempfile::tempdir().unwrap();
        write(&identities(), folder.path()).unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let chain: Vec<_> =
            x509_parser::pem::Pem::iter_from_buffer(&read("svid.0.pem")).map(|pem| pem.unwrap().contents).collect();
        assert_eq!(chain, [vec![1; 100], vec![2]]);
        let (_, key) = x509_parser::pem::parse_x509_pem(&read("svid.0.key")).unwrap();
        assert_eq!((key.label.as_str(), key.contents), ("PRIVATE KEY", vec![3; 60]));
    }

    #[test]
    fn a_link_in_the_way_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("svid.0.key")).unwrap();
        write(&identities(), folder.path()).unwrap();
        assert!(!elsewhere.exists());
        assert!(!folder.path().join("svid.0.key").is_symlink());
    }
}
