//! Strangers cannot stop enrolments: however many chips they claim to have, machines of ours get their keys.

use std::time::{Duration, Instant};

use holdfast_evidence::EvidenceKind;
use holdfast_server::budget::{Rate, Source};
use holdfast_server::endorse::{Asker, EndorseSettings};

use crate::chips::{ark, certify, chip, find, outcome, path, vcek};
use crate::place::{Place, stranger};
use crate::stand_in::Answer;

const INTERVAL: Duration = Duration::from_millis(100);

fn tight(settings: &mut EndorseSettings) {
    settings.amd_interval = INTERVAL;
    settings.per_source = Rate { per_second: 0.01, burst: 2.0 };
    settings.strangers = Rate { per_second: 0.01, burst: 4.0 };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_cannot_stop_enrolments() {
    let place = Place::with(tight).await;
    place.trust.root(&ark());
    certify(&place.service, &[1, 2, 3, 4, 5]);
    // Two hundred addresses, each with another chip at every request, and never silent.
    let flood: Vec<_> = (0..200_u8)
        .map(|address| {
            let endorser = place.endorser.clone();
            tokio::spawn(async move {
                for number in 0_u8.. {
                    let mut wants = chip(number % 100 + 100);
                    wants.chip_id[0] = address;
                    let _ = endorser.snp(EvidenceKind::Snp, &wants, &[], stranger(address)).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for number in 1..=5 {
        assert_eq!(outcome(find(&place, number, Asker::Ours).await), Ok(1), "chip {number}");
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    // Five turns of ours and at most four of theirs between.
    let ours = (1..=5).filter(|number| place.service.asked().contains(&path(*number))).count();
    assert_eq!(ours, 5);
    let theirs =
        place.service.times("/vcek/v1/Milan/").len() - place.service.times("/vcek/v1/Milan/cert_chain").len() - 5;
    assert!(theirs <= 4, "{theirs} requests for strangers");
}

/// Chip ids are no secret: a neighbour on the same host reads ours in its own report. Until the key is here, the TCB is
/// his to invent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_a_chip_of_ours_cannot_stop_it() {
    let place = Place::with(tight).await;
    place.trust.root(&ark());
    certify(&place.service, &[1]);
    let listed = |address: u8| Asker::Listed { source: Source::of([192, 0, 2, address].into()), mark: [1; 32] };
    let flood: Vec<_> = (0..4_u8)
        .map(|address| {
            let endorser = place.endorser.clone();
            tokio::spawn(async move {
                for number in 0_u32.. {
                    let mut wants = chip(1);
                    wants.chip_id[60..].copy_from_slice(&(number * 256 + u32::from(address)).to_be_bytes());
                    let _ = endorser.snp(EvidenceKind::Snp, &wants, &[], listed(address)).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = place.service.asked().len();
    assert_eq!(outcome(find(&place, 1, listed(200)).await), Ok(1));
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    let asked = place.service.asked();
    let ours = asked.iter().position(|asked| *asked == path(1)).unwrap();
    // One turn of each address that was there before, one that had begun, and the chain; 32 wait.
    assert!(ours.saturating_sub(before) <= 12, "{before} before, ours {ours}");
    assert!(place.endorser.wanted().len() <= 4 * 8 + 1, "what was not asked for is not listed");
}

#[tokio::test]
async fn a_source_has_a_budget_and_is_told_when_to_come_back() {
    let place = Place::with(|settings| settings.per_source = Rate { per_second: 0.01, burst: 2.0 }).await;
    place.trust.root(&ark());
    certify(&place.service, &[1, 2, 3]);
    for (number, expected) in [(1, Ok(1)), (2, Ok(1)), (3, Err("endorse.strangers"))] {
        assert_eq!(outcome(find(&place, number, stranger(1)).await), expected, "{number}");
    }
    let fault = find(&place, 3, stranger(1)).await.unwrap_err();
    assert!(fault.retry_after() >= Duration::from_secs(50), "{fault}");
    assert_eq!(outcome(find(&place, 1, stranger(1)).await), Ok(1), "what is held costs nothing");
    assert_eq!(outcome(find(&place, 3, stranger(2)).await), Ok(1), "another source has its own");
}

#[tokio::test]
async fn a_stranger_who_waits_does_so_for_a_machine_of_ours_too() {
    let place = Place::with(|settings| settings.amd_interval = INTERVAL).await;
    place.trust.root(&ark());
    certify(&place.service, &[1]);
    place.service.tell(&path(1), Answer::Late(Duration::from_millis(200), Box::new(Answer::body(vcek(1)))));
    let (theirs, ours) = tokio::join!(find(&place, 1, stranger(1)), find(&place, 1, Asker::Ours));
    assert_eq!((outcome(theirs), outcome(ours)), (Ok(1), Ok(1)));
    assert_eq!(place.service.times("/vcek/v1/Milan/01").len(), 1);
}

#[tokio::test]
async fn ids_that_strangers_invent_are_bounded() {
    let place = Place::new().await;
    place.trust.root(&ark());
    for number in 1..=50_u8 {
        assert_eq!(outcome(find(&place, number, stranger(number)).await), Ok(0));
    }
    assert_eq!(place.endorser.wanted().len(), 50);
    assert!(place.held().await.is_empty());
}

#[tokio::test]
async fn of_many_strangers_few_wait_and_the_others_are_told_at_once_to_come_back() {
    let place = Place::new().await;
    place.trust.root(&ark());
    certify(&place.service, &[1]);
    place.service.tell(&path(1), Answer::Late(Duration::from_millis(600), Box::new(Answer::body(vcek(1)))));
    let began = Instant::now();
    let asking: Vec<_> = (0..40_u8)
        .map(|address| {
            let endorser = place.endorser.clone();
            tokio::spawn(async move {
                let found = endorser.snp(EvidenceKind::Snp, &chip(1), &[], stranger(address)).await;
                (outcome(found), began.elapsed())
            })
        })
        .collect();
    let mut waited = 0;
    for one in asking {
        match one.await.unwrap() {
            (Ok(1), _) => waited += 1,
            (Err("endorse.pending"), took) => assert!(took < Duration::from_millis(500), "{took:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waited, 8);
    assert_eq!(place.service.times("/vcek/v1/Milan/01").len(), 1);
}
