//! What an operator does with openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs openssl in `folder`; what it printed.
pub(crate) fn openssl(folder: &Path, words: &[&str]) -> String {
    let output = Command::new("openssl").args(words).current_dir(folder).output().expect("openssl is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "openssl {}: {}", words.join(" "), text(&output.stderr));
    text(&output.stdout)
}

/// A P-256 root in `folder`, as `NAME.pem` and `NAME.key` (PKCS#8, 0600), with these extensions beside the usual.
pub(crate) fn root(folder: &Path, name: &str, extensions: &[&str]) -> (PathBuf, PathBuf) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    openssl(folder, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
    let subject = format!("/O=example/CN={name}");
    let mut words = vec!["req", "-x509", "-new", "-key", &key, "-subj", &subject, "-days", "30", "-out", &certificate];
    words.extend(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
    extensions.iter().for_each(|extension| words.extend(["-addext", extension]));
    openssl(folder, &words);
    (folder.join(certificate), folder.join(key))
}

/// The subject key identifier of a certificate, in lower-case hexadecimal digits.
pub(crate) fn key_id(certificate: &Path) -> String {
    let path = certificate.display().to_string();
    let text = openssl(Path::new("/"), &["x509", "-in", &path, "-noout", "-ext", "subjectKeyIdentifier"]);
    text.lines().last().unwrap().trim().replace(':', "").to_lowercase()
}

/// `[upstream_authority]` of type `files`.
pub(crate) fn files(certificate: &Path, key: &Path) -> String {
    format!(
        "[upstream_authority]\ntype = \"files\"\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
        certificate.display(),
        key.display()
    )
}
