//! Chips of AMD's, made up: their keys from the service, held, and kept in mind. One sentence a test.

use std::time::Duration;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::snp::{Product, SnpEndorsements, SnpWants, VekKind};
use holdfast_server::endorse::{Asker, EndorseFault};
use holdfast_server::store::{EndorsementRole, EndorsementSource};

use crate::pki::{Certificate, Extension, ReportKey, Rsa, der};
use crate::place::{Place, stranger};
use crate::stand_in::{Answer, StandIn};

const ARC: &str = "1.3.6.1.4.1.3704.1";
/// The reported TCB of every chip here: bl=4 tee=0 snp=24 ucode=219.
const TCB: [u8; 8] = [4, 0, 0, 0, 0, 0, 24, 219];
/// UTCTime far away: the tests run by the clock of the day.
const END: &str = "490101000000Z";

/// A Milan chip of that number.
pub(crate) fn chip(number: u8) -> SnpWants {
    SnpWants {
        kind: Some(VekKind::Vcek),
        product: Some(Product::Milan),
        chip_id: [number; 64],
        reported_tcb: TCB,
        vek_came_along: false,
        issuer_came_along: false,
    }
}

/// Where AMD's service has its key.
pub(crate) fn path(number: u8) -> String {
    let hex = format!("{number:02x}").repeat(64);
    format!("/vcek/v1/Milan/{hex}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219")
}

pub(crate) fn about(number: u8) -> String {
    format!("vcek/Milan/{}/bl=4,tee=0,snp=24,ucode=219", format!("{number:02x}").repeat(64))
}

pub(crate) const CHAIN: &str = "/vcek/v1/Milan/cert_chain";

fn until(mut certificate: Certificate) -> Certificate {
    certificate.not_after = END;
    certificate
}

pub(crate) fn ark() -> Vec<u8> {
    until(Certificate::ca("ARK-Milan", "ARK-Milan", Rsa::ark())).sign(Rsa::ark())
}

pub(crate) fn ask() -> Vec<u8> {
    until(Certificate::ca("ARK-Milan", "SEV-Milan", Rsa::ask())).sign(Rsa::ark())
}

/// The certificate of a chip's key, before it is signed.
pub(crate) fn vek(number: u8) -> Certificate {
    let mut vek = until(Certificate::new("SEV-Milan", "SEV-VCEK", ReportKey::vek().spki()));
    vek.serial = vec![0];
    let integer = |value: u8| if value < 0x80 { vec![2, 1, value] } else { vec![2, 2, 0, value] };
    let mut add =
        |last: &str, value: Vec<u8>| vek.extensions.push(Extension::new(&format!("{ARC}.{last}"), false, value));
    add("1", integer(0));
    add("2", der(0x16, b"Milan-B0"));
    for (last, level) in [("3.1", 4), ("3.2", 0), ("3.3", 24), ("3.8", 219)] {
        add(last, integer(level));
    }
    add("4", vec![number; 64]);
    vek
}

/// Its DER, as AMD signs it.
pub(crate) fn vcek(number: u8) -> Vec<u8> {
    vek(number).sign(Rsa::ask())
}

pub(crate) fn pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    use base64::Engine as _;
    let block = |der: &Vec<u8>| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    certificates.iter().map(block).collect::<String>().into_bytes()
}

/// The service has the keys of these chips, and the chain.
pub(crate) fn certify(service: &StandIn, numbers: &[u8]) {
    for number in numbers {
        service.tell(&path(*number), Answer::body(vcek(*number)));
    }
    service.tell(CHAIN, Answer::body(pem(&[ask(), ark()])));
}

pub(crate) async fn find(place: &Place, number: u8, asker: Asker) -> Result<SnpEndorsements, EndorseFault> {
    place.endorser.snp(EvidenceKind::Snp, &chip(number), &[], asker).await
}

/// How many keys were found, or the code of the fault.
pub(crate) fn outcome(found: Result<SnpEndorsements, EndorseFault>) -> Result<usize, &'static str> {
    found.map(|found| found.verified.len()).map_err(|fault| fault.code())
}

#[tokio::test]
async fn a_key_is_fetched_once_and_held_with_its_issuer() {
    let place = Place::new().await;
    place.trust.root(&ark());
    certify(&place.service, &[1]);
    let found = find(&place, 1, Asker::Ours).await.unwrap();
    assert_eq!(found.verified[0].vek().chip_id.as_deref(), Some([1; 64].as_slice()));
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(1));
    assert_eq!(place.service.asked(), [path(1), CHAIN.to_owned()]);
    let held = place.held().await;
    let mut roles: Vec<_> = held.iter().map(|held| (held.draft.role, held.draft.source)).collect();
    roles.sort();
    let service = EndorsementSource::Service;
    assert_eq!(roles, [(EndorsementRole::Intermediate, service), (EndorsementRole::Vek, service)]);
    assert_eq!(place.store.head().await.unwrap().size, 0, "what is fetched for machines is not in the record");

    let restarted = place.restarted(|settings| settings.amd_url = None);
    let found = restarted.snp(EvidenceKind::Snp, &chip(1), &[], Asker::Ours).await.unwrap();
    assert_eq!(found.verified.len(), 1, "from the store alone");
    assert_eq!(place.service.asked().len(), 2);
}

#[tokio::test]
async fn nobody_is_asked_for_what_came_along() {
    let place = Place::new().await;
    place.trust.root(&ark());
    let wants = SnpWants { vek_came_along: true, issuer_came_along: true, ..chip(1) };
    let offered = [vcek(1), ask()];
    let found = place.endorser.snp(EvidenceKind::Snp, &wants, &offered, stranger(1)).await.unwrap();
    assert_eq!(found.verified.len(), 1);
    assert!(place.service.asked().is_empty());
    assert!(place.held().await.is_empty(), "a stranger's evidence writes nothing");
    place.endorser.learn_vek(&found.verified[0], &offered).await;
    place.endorser.learn_vek(&found.verified[0], &offered).await;
    let held = place.held().await;
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].draft.about.clone(), held[0].draft.source), (about(1), EndorsementSource::Evidence));
}

#[tokio::test]
async fn an_issuer_that_did_not_come_along_is_fetched() {
    let place = Place::new().await;
    place.trust.root(&ark());
    certify(&place.service, &[]);
    let wants = SnpWants { vek_came_along: true, ..chip(1) };
    let found = place.endorser.snp(EvidenceKind::Snp, &wants, &[vcek(1)], stranger(1)).await.unwrap();
    assert_eq!((found.verified.len(), place.service.asked()), (1, vec![CHAIN.to_owned()]));
    let found = place.endorser.snp(EvidenceKind::Snp, &chip(2), &[vcek(2)], stranger(1)).await.unwrap();
    assert_eq!((found.verified.len(), place.service.asked().len()), (1, 1), "now it is held");
}

#[tokio::test]
async fn nobody_is_asked_where_no_root_is_trusted() {
    let place = Place::new().await;
    certify(&place.service, &[1]);
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(0));
    assert!(place.service.asked().is_empty());
}

#[tokio::test]
async fn many_machines_of_one_chip_wait_for_one_answer() {
    let place = Place::new().await;
    place.trust.root(&ark());
    certify(&place.service, &[1]);
    let late = Answer::Late(Duration::from_millis(200), Box::new(Answer::body(vcek(1))));
    place.service.tell(&path(1), late);
    let endorser = place.endorser.clone();
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let endorser = endorser.clone();
            tokio::spawn(async move { endorser.snp(EvidenceKind::Snp, &chip(1), &[], Asker::Ours).await })
        })
        .collect();
    for one in waiting {
        assert_eq!(outcome(one.await.unwrap()), Ok(1));
    }
    assert_eq!(place.service.times("/vcek/v1/Milan/01").len(), 1);
}

#[tokio::test]
async fn a_slow_service_costs_nobody_more_than_his_patience_and_the_answer_is_there_afterwards() {
    let place = Place::with(|settings| settings.patience = Duration::from_millis(50)).await;
    place.trust.root(&ark());
    certify(&place.service, &[1]);
    let late = Answer::Late(Duration::from_millis(300), Box::new(Answer::body(vcek(1))));
    place.service.tell(&path(1), late);
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Err("endorse.pending"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(1));
    assert_eq!(place.service.times("/vcek/v1/Milan/01").len(), 1);
}

#[tokio::test]
async fn keys_are_asked_for_one_interval_after_another() {
    let place = Place::with(|settings| settings.amd_interval = Duration::from_millis(100)).await;
    place.trust.root(&ark());
    certify(&place.service, &[1, 2, 3]);
    let endorser = place.endorser.clone();
    let waiting: Vec<_> = (1..=3)
        .map(|number| {
            let endorser = endorser.clone();
            tokio::spawn(async move { endorser.snp(EvidenceKind::Snp, &chip(number), &[], Asker::Ours).await })
        })
        .collect();
    for one in waiting {
        assert_eq!(outcome(one.await.unwrap()), Ok(1));
    }
    let times = place.service.times("/vcek/v1/Milan/0");
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(80)), "{times:?}");
}

#[tokio::test]
async fn a_chip_that_amd_does_not_know_is_no_fault_and_not_asked_for_again() {
    let place = Place::new().await;
    place.trust.root(&ark());
    for _ in 0..3 {
        assert_eq!(outcome(find(&place, 9, Asker::Ours).await), Ok(0));
    }
    assert_eq!(place.service.asked(), [path(9)]);
    let wanted = place.endorser.wanted();
    assert_eq!((wanted[0].about.clone(), wanted[0].code), (about(9), "endorse.unknown"));
    assert_eq!(wanted[0].url, format!("{}{}", place.service.url, path(9)));
}

#[tokio::test]
async fn an_unknown_chip_is_asked_for_again_after_a_while() {
    let place = Place::with(|settings| settings.unknown_for = Duration::from_secs(1)).await;
    place.trust.root(&ark());
    // Made before anything is timed: keys take their time.
    drop((vcek(1), ask()));
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(0));
    certify(&place.service, &[1]);
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(0));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Ok(1));
    assert!(place.endorser.wanted().is_empty());
}

#[tokio::test]
async fn without_a_service_what_is_not_held_is_a_fault_and_stands_on_the_list() {
    let place = Place::with(|settings| settings.amd_url = None).await;
    place.trust.root(&ark());
    assert_eq!(outcome(find(&place, 1, Asker::Ours).await), Err("endorse.missing"));
    assert_eq!(place.endorser.wanted()[0].about, about(1));
}

#[tokio::test]
async fn a_provider_s_key_is_never_asked_for() {
    let place = Place::new().await;
    place.trust.root(&ark());
    let wants = SnpWants { kind: Some(VekKind::Vlek), chip_id: [0; 64], ..chip(0) };
    let found = place.endorser.snp(EvidenceKind::Snp, &wants, &[], Asker::Ours).await;
    assert_eq!(outcome(found), Ok(0));
    assert!(place.service.asked().is_empty());
}
