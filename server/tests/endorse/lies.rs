//! A service that fails, limits and lies: always a fault with a time to come back, never a key that is believed, never
//! one that is held.

use std::time::{Duration, Instant};

use holdfast_server::endorse::Asker;

use crate::chips::{CHAIN, about, ark, ask, certify, find, outcome, path, pem, vcek, vek};
use crate::pki::{Certificate, Rsa, revocation_list};
use crate::place::Place;
use crate::stand_in::Answer;

/// Asks for chip 1 of a service that is told so, and says what came of it; nothing may be held then.
async fn ask_of(answer: Answer) -> &'static str {
    let place = Place::new().await;
    place.trust.root(&ark());
    certify(&place.service, &[1]);
    place.service.tell(&path(1), answer);
    let code = outcome(find(&place, 1, Asker::Ours).await).expect_err("a fault");
    assert!(place.held().await.is_empty(), "nothing is held: {code}");
    assert_eq!(place.endorser.wanted()[0].code, code);
    // An honest answer later on is believed.
    certify(&place.service, &[1]);
    if code != "endorse.rate_limited" {
        assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(1));
    }
    code
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_fault() {
    let place = Place::with(|settings| settings.amd_url = Some("http://127.0.0.1:9".to_owned())).await;
    place.trust.root(&ark());
    let fault = find(&place, 1, Asker::Ours).await.unwrap_err();
    assert_eq!(fault.code(), "endorse.unreachable");
    assert!(fault.retry_after() >= Duration::from_secs(30), "{fault}");
}

#[tokio::test]
async fn an_error_of_the_service_is_a_fault() {
    for status in [400, 403, 500, 502, 503] {
        assert_eq!(ask_of(Answer::Status(status)).await, "endorse.unreachable", "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_a_fault() {
    let late = Answer::Late(Duration::from_secs(4), Box::new(Answer::body(vcek(1))));
    assert_eq!(ask_of(late).await, "endorse.unreachable");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_a_fault() {
    let began = Instant::now();
    assert_eq!(ask_of(Answer::Endless).await, "endorse.unreachable");
    assert_eq!(ask_of(Answer::Stuck).await, "endorse.unreachable");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Place::new().await;
    let to = format!("{}/elsewhere", elsewhere.service.url);
    assert_eq!(ask_of(Answer::Redirect(to)).await, "endorse.unreachable");
    assert!(elsewhere.service.asked().is_empty());
}

#[tokio::test]
async fn a_service_that_limits_us_is_left_alone_for_as_long_as_it_says() {
    let place = Place::new().await;
    place.trust.root(&ark());
    certify(&place.service, &[2]);
    place.service.tell(&path(1), Answer::Limited(1));
    let fault = find(&place, 1, Asker::Ours).await.unwrap_err();
    assert_eq!(fault.code(), "endorse.rate_limited");
    assert_eq!(outcome(find(&place, 2, Asker::Ours).await), Err("endorse.rate_limited"), "the others wait too");
    assert_eq!(place.service.asked().len(), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(outcome(find(&place, 2, Asker::Ours).await), Ok(1));
    assert_eq!(ask_of(Answer::Limited(0)).await, "endorse.rate_limited");
}

#[tokio::test]
async fn what_is_no_certificate_is_not_believed() {
    for lie in [b"".to_vec(), b"<html>welcome</html>".to_vec(), ask(), pem(&[vcek(1)])] {
        assert_eq!(ask_of(Answer::body(lie)).await, "endorse.bad_answer");
    }
}

#[tokio::test]
async fn the_key_of_another_chip_or_tcb_is_not_believed() {
    assert_eq!(ask_of(Answer::body(vcek(2))).await, "endorse.bad_answer");
    let mut older = vek(1);
    older.extension("1.3.6.1.4.1.3704.1.3.3").value = vec![2, 1, 23];
    assert_eq!(ask_of(Answer::body(older.sign(Rsa::ask()))).await, "endorse.bad_answer");
}

#[tokio::test]
async fn a_key_that_nobody_amd_knows_has_signed_is_not_believed() {
    assert_eq!(ask_of(Answer::body(vek(1).sign(Rsa::ark()))).await, "endorse.bad_answer");
}

#[tokio::test]
async fn a_chain_that_does_not_lead_to_the_root_is_not_believed() {
    let place = Place::new().await;
    place.trust.root(&ark());
    // A whole chain of its own: the root of the right name, made by somebody else.
    let mut ask_of_his = Certificate::ca("ARK-Milan", "SEV-Milan", Rsa::ask());
    ask_of_his.not_after = "490101000000Z";
    place.service.tell(&path(1), Answer::body(vcek(1)));
    place.service.tell(CHAIN, Answer::body(pem(&[ask_of_his.sign(Rsa::ask()), ark()])));
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Err("endorse.bad_answer"));
    for answer in [Answer::Status(404), Answer::body(b"-----BEGIN CERTIFICATE-----\n!".to_vec()), Answer::Status(500)] {
        place.service.tell(CHAIN, answer);
        assert!(outcome(find(&place, 1, Asker::Ours).await).is_err());
    }
    assert!(place.held().await.is_empty());
    certify(&place.service, &[]);
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(1));
}

#[tokio::test]
async fn a_forged_revocation_list_is_not_held_and_a_new_one_takes_the_place_of_the_old() {
    const LIST: &str = "/vcek/v1/Milan/crl";
    let place = Place::new().await;
    place.trust.root(&ark());
    let refresh = || place.endorser.refresh("crl/vcek/Milan");
    place.service.tell(LIST, Answer::body(revocation_list("ARK-Milan", &[&[1, 0, 1]], Rsa::ask())));
    assert_eq!(refresh().await.result.unwrap_err().code(), "endorse.bad_answer");
    place.service.tell(LIST, Answer::body(revocation_list("ARK-Genoa", &[], Rsa::ark())));
    assert_eq!(refresh().await.result.unwrap_err().code(), "endorse.bad_answer");
    assert!(place.held().await.is_empty());
    for serials in [&[][..], &[&[7][..]]] {
        place.service.tell(LIST, Answer::body(revocation_list("ARK-Milan", serials, Rsa::ark())));
        refresh().await.result.unwrap();
        assert_eq!(place.held().await.len(), 1);
    }
    assert_eq!(place.store.head().await.unwrap().size, 2, "each new list is in the record");
    assert!(place.endorser.refreshable().await.unwrap().contains(&"crl/vcek/Milan".to_owned()));
    assert_ne!(place.held().await[0].draft.about, about(1));
}
