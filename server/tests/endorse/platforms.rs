//! Kinds of platforms of Intel's, made up: collateral from the service, held until it is stale, never believed unsigned.

use std::time::Duration;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tdx::{KnownCollateral, Quote};
use holdfast_server::endorse::{Asker, Had};
use holdfast_server::store::EndorsementRole;
use time::Duration as Span;

use crate::intel::{ABOUT, Documents, Intel, PATHS};
use crate::place::{Place, stranger};
use crate::stand_in::Answer;

async fn place() -> (Place, Intel) {
    let place = Place::new().await;
    let intel = Intel::new();
    place.trust.root(intel.root());
    (place, intel)
}

/// Asks for the collateral, and says what came of it.
async fn refresh(place: &Place) -> Result<Had, &'static str> {
    place.endorser.refresh(ABOUT).await.result.map_err(|fault| fault.code())
}

#[tokio::test]
async fn four_documents_are_fetched_and_held_as_one() {
    let (place, intel) = place().await;
    let documents = Documents::default();
    intel.publish(&place.service, &documents);
    assert_eq!(refresh(&place).await, Ok(Had::Fetched));
    assert_eq!(place.service.asked(), PATHS);
    let held = place.held().await;
    assert_eq!(held.len(), 1);
    let draft = &held[0].draft;
    assert_eq!((draft.role, draft.about.as_str()), (EndorsementRole::Collateral, ABOUT));
    assert!((draft.not_after.seconds() - documents.next_update.unix_timestamp()).abs() <= 1);
    assert_eq!(place.store.head().await.unwrap().size, 0, "what is fetched for machines is not in the record");
}

#[tokio::test]
async fn newer_collateral_takes_the_place_of_the_old_and_older_does_not() {
    let (place, intel) = place().await;
    let old = Documents::default();
    let newer = Documents { issued: old.issued + Span::hours(1), evaluation: 21, ..old.clone() };
    for (documents, evaluation) in [(&old, 20), (&newer, 21), (&old, 21), (&newer, 21)] {
        intel.publish(&place.service, documents);
        assert_eq!(refresh(&place).await, Ok(Had::Fetched));
        let held = place.held().await;
        assert_eq!(held.len(), 1);
        let name = &held[0].draft.name;
        assert!(name.ends_with(&format!("evaluation {evaluation}")), "{name}");
    }
}

#[tokio::test]
async fn a_platform_that_intel_does_not_know_is_no_fault() {
    let (place, _) = place().await;
    assert_eq!(refresh(&place).await, Ok(Had::Unknown));
    assert_eq!(place.service.asked(), [PATHS[0]]);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_document_is_a_fault_and_nothing_is_held() {
    let good = Documents::default();
    let now = good.issued + Span::days(1);
    let spoiled = [
        ("expired", Documents { issued: now - Span::days(40), next_update: now - Span::days(10), ..good.clone() }),
        ("not yet", Documents { issued: now + Span::days(1), ..good.clone() }),
        ("another platform", Documents { fmspc: "00806f050000", ..good.clone() }),
        ("signer revoked", Documents { revoked: vec![vec![3]], ..good.clone() }),
    ];
    for (what, documents) in spoiled {
        let (place, intel) = place().await;
        intel.publish(&place.service, &documents);
        assert_eq!(refresh(&place).await, Err("endorse.bad_answer"), "{what}");
        assert!(place.held().await.is_empty(), "{what}");
        intel.publish(&place.service, &good);
        assert_eq!(refresh(&place).await, Ok(Had::Fetched), "{what}");
    }
}

/// Held, so that yesterday's collateral, which is still in its dates, counts no more.
#[tokio::test]
async fn that_intel_revokes_its_ca_is_news_and_held() {
    let (place, intel) = place().await;
    let good = Documents::default();
    intel.publish(&place.service, &good);
    assert_eq!(refresh(&place).await, Ok(Had::Fetched));
    let before = place.held().await[0].sha256;
    let revoked = Documents { issued: good.issued + Span::hours(1), revoked: vec![vec![2]], ..good };
    intel.publish(&place.service, &revoked);
    assert_eq!(refresh(&place).await, Ok(Had::Fetched));
    let held = place.held().await;
    assert_eq!(held.len(), 1);
    assert_ne!(held[0].sha256, before);
}

#[tokio::test]
async fn each_document_of_another_intel_is_refused() {
    for (at, path) in PATHS.iter().enumerate() {
        let (place, intel) = place().await;
        let (documents, other) = (Documents::default(), Intel::new());
        intel.publish(&place.service, &documents);
        let (_, lie) = other.answers(&documents)[at].clone();
        place.service.tell(path, lie);
        assert_eq!(refresh(&place).await, Err("endorse.bad_answer"), "{path}");
        assert!(place.held().await.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_list_without_its_issuer_is_refused() {
    let (place, intel) = place().await;
    let documents = Documents::default();
    intel.publish(&place.service, &documents);
    place.service.tell(PATHS[2], Answer::body(intel.pck_crl(&documents)));
    assert_eq!(refresh(&place).await, Err("endorse.bad_answer"));
}

#[tokio::test]
async fn a_service_that_fails_or_limits_is_a_fault_and_what_is_held_stays() {
    let (place, intel) = place().await;
    intel.publish(&place.service, &Documents::default());
    assert_eq!(refresh(&place).await, Ok(Had::Fetched));
    for (at, answer, code) in [
        (1, Answer::Status(500), "endorse.unreachable"),
        (3, Answer::Status(404), "endorse.bad_answer"),
        (2, Answer::Late(Duration::from_secs(4), Box::new(Answer::Status(200))), "endorse.unreachable"),
        (0, Answer::Limited(30), "endorse.rate_limited"),
    ] {
        intel.publish(&place.service, &Documents::default());
        place.service.tell(PATHS[at], answer);
        assert_eq!(refresh(&place).await, Err(code), "{}", PATHS[at]);
        assert_eq!(place.held().await.len(), 1);
    }
}

#[tokio::test]
async fn collateral_is_refreshed_before_it_ends() {
    let (place, intel) = place().await;
    let good = Documents::default();
    let ending = Documents { next_update: good.issued + Span::days(3), ..good.clone() };
    intel.publish(&place.service, &ending);
    assert_eq!(refresh(&place).await, Ok(Had::Fetched));
    let newer = Documents { issued: good.issued + Span::hours(2), ..good };
    intel.publish(&place.service, &newer);
    place.endorser.look_after().await;
    let held = place.held().await;
    assert!((held[0].draft.not_after.seconds() - newer.next_update.unix_timestamp()).abs() <= 1);
    let asked = place.service.asked().len();
    place.endorser.look_after().await;
    assert_eq!(place.service.asked().len(), asked, "not before it is due again");
}

/// The quote of a real platform, whose certificates lead to Intel.
fn real_quote() -> Option<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/cvm/tdx/baremetal-v4-ccel/quote.bin");
    let found = std::fs::read(path).ok();
    if found.is_none() {
        println!("skipped: no vectors at {path}");
    }
    found
}

#[tokio::test]
async fn nothing_is_fetched_before_the_platforms_certificates_have_verified() {
    let Some(bytes) = real_quote() else { return };
    let quote = Quote::parse(&bytes).unwrap();
    let (place, _) = place().await;
    let found = place.endorser.tdx(EvidenceKind::Tdx, &quote, stranger(1)).await.unwrap();
    assert!(matches!(found.collateral, KnownCollateral::None));
    assert!(place.service.asked().is_empty(), "the root is not Intel's");

    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/cvm/roots/intel-sgx-root-ca.der");
    place.trust.root(&std::fs::read(root).unwrap());
    let found = place.endorser.tdx(EvidenceKind::Tdx, &quote, Asker::Ours).await.unwrap();
    assert!(matches!(found.collateral, KnownCollateral::None), "the stand-in does not know it");
    let asked = place.service.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("/tdx/certification/v4/tcb?fmspc="), "{asked:?}");
    place.service.tell(&asked[0], Answer::Status(503));
    let again = place.restarted(|_| {});
    let fault = again.tdx(EvidenceKind::Tdx, &quote, Asker::Ours).await.unwrap_err();
    assert_eq!(fault.code(), "endorse.unreachable");
}

#[tokio::test]
async fn each_document_that_only_names_its_signer_is_refused() {
    for (at, path) in PATHS.iter().enumerate() {
        let (place, intel) = place().await;
        let (documents, other) = (Documents::default(), Intel::new());
        intel.publish(&place.service, &documents);
        let [(_, honest), (_, lie)] = [&intel, &other].map(|intel| intel.answers(&documents)[at].clone());
        let (Answer::Body(_, headers), Answer::Body(body, _)) = (honest, lie) else { panic!("bodies") };
        place.service.tell(path, Answer::Body(body, headers));
        assert_eq!(refresh(&place).await, Err("endorse.bad_answer"), "{path}");
        assert!(place.held().await.is_empty(), "{path}");
    }
}
