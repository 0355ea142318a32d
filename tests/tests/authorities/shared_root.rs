//! One root for Holdfast and SPIRE, made by openssl as an organisation would.

use holdfast_tests::{Programs, Server, WorkDir};

use crate::openssl::{files, key_id, openssl, root};

const CA: &str = "basicConstraints=critical,CA:TRUE";

#[test]
fn holdfast_and_spire_stand_side_by_side_under_one_root() {
    let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
    let folder = work.sub("pki").unwrap();
    // Enough for one intermediate below it, as SPIRE's is, and no URI SAN of its own.
    let (certificate, key) = root(&folder, "root", &[&format!("{CA},pathlen:1")]);
    let server = Server::init_with(&programs, &work, "shared.test", &files(&certificate, &key)).unwrap();
    let server = server.start(&work.path().join("server.log")).unwrap();
    let bundle = folder.join("bundle.pem");
    std::fs::write(&bundle, server.operator(&["bundle", "show"]).unwrap()).unwrap();
    assert_eq!(key_id(&bundle), key_id(&certificate));
    let shown = server.json(&["authority", "x509", "show"]).unwrap();
    assert_eq!(shown["authorities"][0]["upstream_authority_subject_key_id"], key_id(&certificate));

    // What SPIRE's server would have signed below the same root.
    let spire = "subjectAltName=URI:spiffe://shared.test\nbasicConstraints=critical,CA:TRUE\n\
                 keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    let leaf = "subjectAltName=critical,URI:spiffe://shared.test/spire/workload\nbasicConstraints=critical,CA:FALSE\n\
                keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n\
                subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    for (name, above, extensions) in [("spire", "root", spire), ("workload", "spire", leaf)] {
        std::fs::write(folder.join("extensions"), extensions).unwrap();
        let (key, request, out) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        openssl(&folder, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
        openssl(&folder, &["req", "-new", "-key", &key, "-subj", &format!("/CN={name}"), "-out", &request]);
        let (certificate, signer) = (format!("{above}.pem"), format!("{above}.key"));
        let words = ["x509", "-req", "-in", &request, "-CA", &certificate, "-CAkey", &signer, "-days", "1"];
        openssl(&folder, &[&words[..], &["-extfile", "extensions", "-out", &out]].concat());
    }
    // Holdfast's bundle verifies SPIRE's SVIDs, and the common root Holdfast's intermediate.
    openssl(&folder, &["verify", "-CAfile", "bundle.pem", "-untrusted", "spire.pem", "workload.pem"]);
    let held = server.folder().join("state/authority/intermediate.pem").display().to_string();
    openssl(&folder, &["verify", "-CAfile", "root.pem", &held]);
    let text = openssl(&folder, &["x509", "-in", &held, "-noout", "-ext", "basicConstraints,subjectAltName"]);
    assert!(text.contains("pathlen:0") && text.contains("URI:spiffe://shared.test"), "{text}");
}

#[test]
fn a_root_that_leaves_no_room_or_binds_uris_is_refused_before_anything_is_signed() {
    let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
    let folder = work.sub("pki").unwrap();
    let anything = format!("{CA},pathlen:1");
    for (name, extensions, code) in [
        ("short", vec!["basicConstraints=critical,CA:TRUE,pathlen:0"], "allows a path length of 0"),
        ("bound", vec![anything.as_str(), "nameConstraints=critical,permitted;URI:shared.test"], "name constraints"),
        ("other", vec![anything.as_str(), "subjectAltName=URI:spiffe://other.test"], "spiffe://other.test"),
    ] {
        let (certificate, key) = root(&folder, name, &extensions);
        let refused = Server::init_with(&programs, &work, "shared.test", &files(&certificate, &key)).unwrap_err();
        assert!(format!("{refused:#}").contains(code), "{name}: {refused:#}");
    }
}
