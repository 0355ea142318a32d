//! EK certificates of real machines and the vendors' roots, judged as their provenance says. Reads `shared/vectors`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod vectors;

use std::path::Path;

use holdfast_evidence::TrustClass;
use holdfast_evidence::tpm::endorsement::{Anchor, ExpiredIssuers, Roots, SoftwareTpms, verify_chain};
use holdfast_identity::UnixTime;
use x509_parser::pem::Pem;

/// Every certificate in a file, PEM or DER.
fn certificates(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let pem: Vec<_> = Pem::iter_from_buffer(&bytes).filter_map(Result::ok).map(|pem| pem.contents).collect();
    if pem.is_empty() { vec![bytes] } else { pem }
}

fn is_self_issued(der: &[u8]) -> bool {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// All certificates of the vendors in the collection: self-issued ones as anchors, the others as intermediates.
fn vendors(root: &Path) -> Roots {
    let folders = [
        "keylime/tpm_cert_store",
        "debian-ruby-tpm-key-attestation/roots",
        "tpm-ca-certificates/bundle",
        "go-tpm-tools/gce-cas",
        "azure-vtpm-root/roots",
    ];
    let mut roots = Roots::new();
    for folder in folders {
        for file in vectors::files_below(&root.join("tpm").join(folder)) {
            if file.extension().is_some_and(|extension| extension == "yaml") {
                continue;
            }
            for der in certificates(&file) {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                if is_self_issued(&der) {
                    match Anchor::new(&der, TrustClass::Discrete) {
                        Ok(a) => roots.add(a.named(name)),
                        Err(e) => println!("{name}: {e}"),
                    }
                } else {
                    roots.add_intermediate(&der).unwrap();
                }
            }
        }
    }
    roots
}

/// 2026-11-22, the day the virtual machines were made.
const NOW: UnixTime = UnixTime(1_795_305_600);

struct Expected {
    file: &'static str,
    /// Manufacturer, or the code of the refusal.
    outcome: Result<Option<&'static str>, &'static str>,
}

const fn good(file: &'static str, manufacturer: &'static str) -> Expected {
    Expected { file, outcome: Ok(Some(manufacturer)) }
}

const fn bad(file: &'static str, code: &'static str) -> Expected {
    Expected { file, outcome: Err(code) }
}

const CERTIFICATES: &[Expected] = &[
    good("tpm/keylime/ek-certs/st_sha256_with_rsa.der", "id:53544D20"),
    good("tpm/keylime/ek-certs/st_ecdsa_sha256.der", "id:53544D20"),
    // names out of DER order: verifies over the original bytes only
    good("tpm/keylime/ek-certs/nuvoton_ek_malformed.der", "id:4E544300"),
    // a root in the place of an EK certificate
    bad("tpm/keylime/ek-certs/nuvoton_ecdsa_sha256.der", "tpm.ek.is_ca"),
    bad("tpm/keylime/ek-certs/idevid.der", "tpm.ek.key_usage"),
    bad("tpm/keylime/ek-certs/iak.der", "tpm.ek.key_usage"),
    // two Google hierarchies; the newer one names no manufacturer
    Expected { file: "tpm/go-tpm-tools/gce-ek-ak-certs/pca_tpm_ecc_enc_cert.pem", outcome: Ok(None) },
    Expected { file: "tpm/go-tpm-tools/gce-ek-ak-certs/pca_tpm_rsa_enc_cert.pem", outcome: Ok(None) },
    good("tpm/go-tpm-tools/gce-ek-ak-certs/uca_tpm_ecc_enc_cert.pem", "id:474F4F47"),
    good("tpm/go-tpm-tools/gce-ek-ak-certs/uca_tpm_rsa_enc_cert.pem", "id:474F4F47"),
    bad("tpm/go-tpm-tools/gce-ek-ak-certs/pca_tpm_ecc_sign_cert.pem", "tpm.ek.key_usage"),
    bad("tpm/go-tpm-tools/gce-ek-ak-certs/pca_tpm_rsa_sign_cert.pem", "tpm.ek.key_usage"),
    bad("tpm/go-tpm-tools/gce-ek-ak-certs/uca_tpm_ecc_sign_cert.pem", "tpm.ek.key_usage"),
    bad("tpm/go-tpm-tools/gce-ek-ak-certs/uca_tpm_rsa_sign_cert.pem", "tpm.ek.key_usage"),
    bad("tpm/gcp-vtpm/certs/akcert.pem", "tpm.ek.key_usage"),
    // its issuer has the name of one that is known, and another key
    bad("tpm/gcp-vtpm/certs/ekcert.pem", "tpm.ek.signature"),
];

fn check(der: &[u8], chain: &[Vec<u8>], roots: &Roots) -> Result<Option<String>, &'static str> {
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    verify_chain(der, &chain, roots, ExpiredIssuers::Refused, NOW)
        .map(|ek| ek.unmatched().manufacturer.clone())
        .map_err(|refusal| refusal.code())
}

#[test]
fn every_ek_certificate_is_judged_as_its_provenance_says() {
    let Some(folder) = vectors::folder() else { return };
    let roots = vendors(&folder);
    for expected in CERTIFICATES {
        let outcome = check(&certificates(&folder.join(expected.file))[0], &[], &roots);
        assert_eq!(outcome.as_ref().map(Option::as_deref).map_err(|code| *code), expected.outcome, "{}", expected.file);
    }
}

#[test]
fn all_41_vendor_roots_are_anchors() {
    let Some(folder) = vectors::folder() else { return };
    assert_eq!(vendors(&folder).anchors().len(), 41);
}

#[test]
fn one_of_several_issuers_of_a_name_is_found_in_the_chain() {
    let Some(folder) = vectors::folder() else { return };
    let folder_gcp = folder.join("tpm/gcp-vtpm/certs");
    let ek = &certificates(&folder_gcp.join("ekcert.pem"))[0];
    let chain = certificates(&folder_gcp.join("ek_chain.pem"));
    assert_eq!(check(ek, &chain, &vendors(&folder)), Ok(None));
}

#[test]
fn no_ek_certificate_is_trusted_without_its_root() {
    let Some(folder) = vectors::folder() else { return };
    for expected in CERTIFICATES {
        assert!(check(&certificates(&folder.join(expected.file))[0], &[], &Roots::new()).is_err(), "{}", expected.file);
    }
}

#[test]
fn certificates_of_the_virtual_machines_chain_to_their_own_ca_alone() {
    let Some(folder) = vectors::folder() else { return };
    let vms: Vec<_> = vectors::files_below(&folder.join("vm"))
        .into_iter()
        .filter(|file| file.ends_with("issuercert.pem"))
        .map(|file| file.parent().unwrap().to_path_buf())
        .collect();
    assert_eq!(vms.len(), 6);
    for vm in &vms {
        let root = &certificates(&vm.join("swtpm-localca-rootca-cert.pem"))[0];
        let chain = certificates(&vm.join("issuercert.pem"));
        let with = |anchor: Anchor, file: &str| {
            let mut roots = Roots::new();
            roots.add(anchor);
            check(&std::fs::read(vm.join(file)).unwrap(), &chain, &roots)
        };
        let simulated = || Anchor::new(root, TrustClass::Simulated).unwrap();
        for file in ["nv-0x1c00002.bin", "nv-0x1c00016.bin"] {
            assert_eq!(with(simulated(), file), Ok(Some("id:00001014".to_owned())), "{}", vm.display());
            let vtpm = || Anchor::new(root, TrustClass::Vtpm).unwrap();
            assert_eq!(with(vtpm(), file), Err("tpm.ek.software_tpm"));
            assert!(with(vtpm().with_software_tpms(SoftwareTpms::Accepted), file).is_ok());
        }
        assert_eq!(with(simulated(), "nv-0x1c08000.bin"), Err("tpm.ek.key_usage"), "platform certificate");
        let other = vms.iter().map(|vm| certificates(&vm.join("swtpm-localca-rootca-cert.pem")).remove(0));
        for stranger in other.filter(|der| der != root) {
            let anchor = Anchor::new(&stranger, TrustClass::Simulated).unwrap();
            assert!(with(anchor, "nv-0x1c00002.bin").is_err());
        }
    }
}
