//! The operator's directory, and a site that has nothing else.

use std::path::Path;

use holdfast_evidence::EvidenceKind;
use holdfast_server::endorse::{Asker, Had};
use holdfast_server::store::EndorsementSource;

use crate::chips::{ark, ask, certify, chip, find, outcome, pem, vcek, vek};
use crate::intel::{ABOUT, Documents, Intel, about_sgx};
use crate::pki::{Rsa, revocation_list};
use crate::place::Place;

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn keys_and_issuers_are_taken_from_the_directory_before_anybody_is_asked() {
    let files = tempfile::tempdir().unwrap();
    write(files.path(), "milan/chain.pem", &pem(&[ask(), ark()]));
    write(files.path(), "milan/chips/one.der", &vcek(1));
    write(files.path(), "milan/chips/two.pem", &pem(&[vcek(2)]));
    write(files.path(), "readme.txt", b"ours");
    let place = Place::with(|settings| settings.directory = Some(files.path().to_owned())).await;
    place.trust.root(&ark());
    for number in [1, 2] {
        assert_eq!(outcome(find(&place, number, Asker::Ours).await), Ok(1), "{number}");
    }
    assert!(place.service.asked().is_empty());
    let held = place.held().await;
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|held| held.draft.source == EndorsementSource::Directory));
}

#[tokio::test]
async fn a_forged_key_in_the_directory_does_not_stand_in_the_way_of_the_right_one() {
    let files = tempfile::tempdir().unwrap();
    write(files.path(), "forged.der", &vek(1).sign(Rsa::ark()));
    let place = Place::with(|settings| settings.directory = Some(files.path().to_owned())).await;
    place.trust.root(&ark());
    certify(&place.service, &[1]);
    assert_eq!(outcome(find(&place, 2, Asker::Ours).await), Ok(0));
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(1));
    assert!(place.held().await.iter().all(|held| held.draft.source == EndorsementSource::Service));
}

#[tokio::test]
async fn what_is_put_there_later_is_found_later() {
    let files = tempfile::tempdir().unwrap();
    write(files.path(), "chain.pem", &pem(&[ask()]));
    let change = |settings: &mut holdfast_server::endorse::EndorseSettings| {
        settings.directory = Some(files.path().to_owned());
        settings.amd_url = None;
    };
    let place = Place::with(change).await;
    place.trust.root(&ark());
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Err("endorse.missing"));
    write(files.path(), "one.der", &vcek(1));
    tokio::time::sleep(std::time::Duration::from_millis(5100)).await;
    let found = place.endorser.snp(EvidenceKind::Snp, &chip(1), &[], Asker::Ours).await;
    let again = if found.is_err() { find(&place, 1, Asker::Ours).await } else { found };
    assert_eq!(outcome(again), Ok(1));
}

#[tokio::test]
async fn collateral_is_taken_from_the_directory_where_there_is_no_service() {
    let (files, intel) = (tempfile::tempdir().unwrap(), Intel::new());
    write(files.path(), "tdx/90c06f000000.json", &intel.whole(&Documents::default()));
    let change = |settings: &mut holdfast_server::endorse::EndorseSettings| {
        settings.directory = Some(files.path().to_owned());
        settings.intel_url = None;
    };
    let place = Place::with(change).await;
    place.trust.root(intel.root());
    assert_eq!(place.endorser.refresh(ABOUT).await.result.unwrap(), Had::Fetched);
    let held = place.held().await;
    assert_eq!(held[0].draft.about, "tdx/90c06f000000/platform/any");
    assert!(place.service.asked().is_empty());
}

#[tokio::test]
async fn newer_collateral_in_the_directory_is_taken_though_the_old_counts() {
    let (files, intel) = (tempfile::tempdir().unwrap(), Intel::new());
    let place = Place::with(|settings| settings.directory = Some(files.path().to_owned())).await;
    place.trust.root(intel.root());
    let old = Documents::default();
    intel.publish(&place.service, &old);
    assert_eq!(place.endorser.refresh(ABOUT).await.result.unwrap(), Had::Fetched);
    let newer = Documents { issued: old.issued + time::Duration::hours(1), evaluation: 21, ..old.clone() };
    write(files.path(), "newer.json", &intel.whole(&newer));
    tokio::time::sleep(std::time::Duration::from_millis(5100)).await;
    place.endorser.look_after().await;
    let names = place.held().await.into_iter().map(|held| held.draft.name);
    assert!(names.clone().any(|name| name.ends_with("evaluation 21")), "{:?}", names.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_another_vendor_or_another_product_has_there_does_not_stand_in_the_way_of_collateral() {
    let (files, intel, other) = (tempfile::tempdir().unwrap(), Intel::new(), Intel::new());
    write(files.path(), "tdx/90c06f000000.json", &intel.whole(&Documents::default()));
    write(files.path(), "sgx/tcb.json", &about_sgx("tcbInfo", "SGX"));
    write(files.path(), "sgx/qe.json", &about_sgx("enclaveIdentity", "QE"));
    write(files.path(), "sgx/qve.json", &about_sgx("enclaveIdentity", "QVE"));
    write(files.path(), "amd/milan.crl", &revocation_list("ARK-Milan", &[], Rsa::ark()));
    // signed by somebody else under the same names
    let newer = Documents::default();
    let newer = Documents { issued: newer.issued + time::Duration::hours(1), evaluation: 99, ..newer };
    write(files.path(), "forged.json", &other.whole(&newer));
    let change = |settings: &mut holdfast_server::endorse::EndorseSettings| {
        settings.directory = Some(files.path().to_owned());
        settings.intel_url = None;
    };
    let place = Place::with(change).await;
    place.trust.root(intel.root());
    assert_eq!(place.endorser.refresh(ABOUT).await.result.unwrap(), Had::Fetched);
    let held = place.held().await;
    assert_eq!(held[0].draft.name, "FMSPC 90c06f000000, evaluation 20");
}
