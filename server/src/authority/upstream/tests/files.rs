//! A root's key and certificate in files.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::*;
use crate::authority::bundle::pem;

fn settings(place: &Path, bundle: bool) -> UpstreamSettings {
    UpstreamSettings::Files {
        cert_file: place.join("cert.pem"),
        key_file: place.join("key.pem"),
        bundle_file: bundle.then(|| place.join("bundle.pem")),
    }
}

fn write(place: &Path, key: &KeyPair, certificates: &[&[u8]]) {
    let certificates: String = certificates.iter().map(|der| pem("CERTIFICATE", der)).collect();
    fs::write(place.join("cert.pem"), certificates).unwrap();
    let _ = fs::remove_file(place.join("key.pem"));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(place.join("key.pem")).unwrap();
    std::io::Write::write_all(&mut file, key.serialize_pem().as_bytes()).unwrap();
}

async fn ask(settings: &UpstreamSettings, known: &[Vec<u8>]) -> Result<Minted, UpstreamFault> {
    let (key, request) = request();
    mint(settings.authority().as_ref(), request, &key.spki(), known).await
}

#[tokio::test]
async fn a_root_in_files_signs_within_its_own_life() {
    let place = tempfile::tempdir().unwrap();
    let root = Root::new(ca("root"));
    write(place.path(), &root.key, &[&root.der]);
    let minted = ask(&settings(place.path(), false), &[]).await.unwrap();
    assert_eq!((minted.roots, minted.chain.len()), (vec![root.der], 1));
    assert_eq!(minted.path.not_after, NOW.plus(600));
    let mut params = ca("root");
    params.not_after = date(300);
    let root = Root::new(params);
    write(place.path(), &root.key, &[&root.der]);
    assert_eq!(ask(&settings(place.path(), false), &[]).await.unwrap().path.not_after, NOW.plus(300));
}

#[tokio::test]
async fn an_organisations_own_intermediate_signs_with_its_root_in_a_bundle() {
    let place = tempfile::tempdir().unwrap();
    let (root, key) = (Root::new(ca("root")), key());
    let mut params = ca("middle");
    params.subject_alt_names.clear();
    let middle = root.sign(&params, &rcgen::PublicKeyData::subject_public_key_info(&key));
    write(place.path(), &key, &[&middle]);
    fs::write(place.path().join("bundle.pem"), pem("CERTIFICATE", &root.der)).unwrap();
    let minted = ask(&settings(place.path(), true), &[]).await.unwrap();
    assert_eq!((minted.chain.len(), &minted.chain[1], &minted.path.root), (2, &middle, &root.der));
    // The root behind it in the same file will do as well.
    write(place.path(), &key, &[&middle, &root.der]);
    assert_eq!(ask(&settings(place.path(), false), &[]).await.unwrap().chain.len(), 2);
}

#[tokio::test]
async fn every_two_intermediates_have_subjects_of_their_own() {
    let place = tempfile::tempdir().unwrap();
    let root = Root::new(ca("root"));
    write(place.path(), &root.key, &[&root.der]);
    let mut subjects = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let minted = ask(&settings(place.path(), false), &[]).await.unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&minted.chain[0]).unwrap();
        subjects.insert(certificate.subject().to_string());
    }
    assert_eq!(subjects.len(), 3);
}

#[tokio::test]
async fn files_that_do_not_belong_together_or_stand_open_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path(), false);
    let code = async || ask(&settings, &[]).await.unwrap_err().code();
    assert_eq!(code().await, "authority.file");
    let root = Root::new(ca("root"));
    write(place.path(), &key(), &[&root.der]);
    assert_eq!(code().await, "authority.upstream.key");
    write(place.path(), &root.key, &[&root.der]);
    fs::set_permissions(place.path().join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(code().await, "authority.key_file_mode");
    write(place.path(), &root.key, &[]);
    assert_eq!(code().await, "authority.content");
    write(place.path(), &root.key, &[&root.der]);
    fs::write(place.path().join("key.pem"), pem("EC PRIVATE KEY", b"key")).unwrap();
    assert_eq!(code().await, "authority.upstream.key");
}
