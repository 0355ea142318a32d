//! What operators import and export: files told apart, bundles that are whole, and roots that nobody slips in.

use holdfast_evidence::{EvidenceKind, TrustClass};
use holdfast_server::clock;
use holdfast_server::endorse::Asker;
use holdfast_server::endorse::bundle::{self, BundleWriter, UnknownRoots};
use holdfast_server::endorse::reading::{self, File, NotImported, Told};
use holdfast_server::store::{Actor, EndorsementDraft, EndorsementRole, EndorsementSource, Which};

use crate::chips::{ark, ask, find, outcome, vcek, vek};
use crate::intel::{Documents, Intel, about_sgx};
use crate::pki::{Rsa, revocation_list};
use crate::place::Place;
use crate::stand_in::Answer;

fn files(contents: &[Vec<u8>]) -> Vec<File> {
    let name = |(at, content): (usize, &Vec<u8>)| File::new(format!("file {at}"), content.clone());
    contents.iter().enumerate().map(name).collect()
}

fn read(contents: &[Vec<u8>], told: &Told) -> Result<Vec<EndorsementDraft>, NotImported> {
    reading::read(files(contents), told, &[], EndorsementSource::File, clock::now())
}

/// Roots of class firmware for that kind.
fn firmware(serves: EvidenceKind) -> Told {
    Told { class: Some(TrustClass::Firmware), serves: vec![serves.into()], pin: false }
}

fn snp() -> Told {
    firmware(EvidenceKind::Snp)
}

#[test]
fn files_are_told_apart_in_any_order() {
    let list = revocation_list("ARK-Milan", &[], Rsa::ark());
    let drafts = read(&[vcek(1), list, ask(), ark()], &snp()).unwrap();
    let mut roles: Vec<_> = drafts.iter().map(|draft| draft.role).collect();
    roles.sort();
    use EndorsementRole::{Crl, Intermediate, Root, Vek};
    assert_eq!(roles, [Root, Intermediate, Crl, Vek]);
    assert!(drafts.iter().all(|draft| draft.serves == EvidenceKind::Snp));
}

#[test]
fn what_stands_below_a_root_serves_what_the_root_serves() {
    let root = File { told: Some(snp()), ..files(&[ark()]).remove(0) };
    let below = files(&[ask(), revocation_list("ARK-Milan", &[], Rsa::ark())]);
    let all = [vec![root], below].concat();
    let drafts = reading::read(all, &Told::default(), &[], EndorsementSource::File, clock::now()).unwrap();
    assert!(drafts.iter().all(|draft| draft.serves == EvidenceKind::Snp), "{drafts:?}");
    assert_eq!(drafts.iter().filter(|draft| draft.class == "firmware").count(), 2);
}

#[test]
fn one_root_may_serve_several_kinds() {
    let told = Told { serves: vec![EvidenceKind::Snp.into(), EvidenceKind::Azure.into()], ..snp() };
    let drafts = read(&[ark(), ask(), vcek(1)], &told).unwrap();
    assert_eq!(drafts.len(), 5, "a key serves whoever looks it up");
    let nitro = Told { serves: vec![EvidenceKind::NitroTpm.into(), EvidenceKind::Nitro.into()], ..snp() };
    let drafts = read(&[ark()], &nitro).unwrap();
    assert_eq!(drafts.iter().map(|draft| draft.serves).collect::<Vec<_>>(), [EvidenceKind::Nitro]);
}

#[test]
fn a_root_that_is_not_known_needs_a_class() {
    assert_eq!(read(&[ark()], &Told::default()).unwrap_err().code(), "endorsements.no_class");
    let told = Told { class: Some(TrustClass::Discrete), ..Told::default() };
    let drafts = read(&[ark()], &told).unwrap();
    assert_eq!((drafts[0].serves, drafts[0].class.as_str()), (EvidenceKind::Tpm.into(), "discrete"));
}

#[test]
fn a_key_that_leads_to_no_root_is_not_imported() {
    for bad in [vec![vcek(1)], vec![vcek(1), ark()], vec![vek(1).sign(Rsa::ark()), ask(), ark()]] {
        assert_eq!(read(&bad, &snp()).unwrap_err().code(), "endorsements.unproven");
    }
}

#[test]
fn what_is_nothing_is_not_imported() {
    assert_eq!(read(&[b"junk".to_vec()], &snp()).unwrap_err().code(), "endorsements.not_a_certificate");
    assert_eq!(read(&[b"{\"a\":1}".to_vec()], &snp()).unwrap_err().code(), "endorsements.unproven");
    let trailing = [ark(), vec![0]].concat();
    assert_eq!(read(&[trailing], &snp()).unwrap_err().code(), "endorsements.not_a_certificate");
}

#[test]
fn real_roots_are_known_by_their_fingerprints() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/cvm/roots");
    let Ok(amd) = std::fs::read(format!("{folder}/amd-milan-ark.der")) else {
        println!("skipped: no vectors at {folder}");
        return;
    };
    let ask = std::fs::read(format!("{folder}/amd-milan-ask.der")).unwrap();
    let drafts = read(&[ask, amd.clone()], &Told::default()).unwrap();
    let of = |role| drafts.iter().filter(|draft| draft.role == role).map(|draft| draft.serves).collect::<Vec<_>>();
    assert_eq!(of(EndorsementRole::Root), [EvidenceKind::Snp, EvidenceKind::Azure]);
    assert_eq!(of(EndorsementRole::Intermediate), [EvidenceKind::Snp, EvidenceKind::Azure]);
    assert!(drafts.iter().all(|draft| draft.class == "firmware"));
    let discrete = Told { class: Some(TrustClass::Discrete), ..Told::default() };
    assert_eq!(read(&[amd], &discrete).unwrap_err().code(), "endorsements.other_class");
}

#[test]
fn collateral_is_imported_whole_or_from_its_parts() {
    let (intel, documents) = (Intel::new(), Documents::default());
    let told = firmware(EvidenceKind::Tdx);
    let drafts = read(&[intel.whole(&documents), intel.root().to_vec()], &told).unwrap();
    let collateral: Vec<_> = drafts.iter().filter(|draft| draft.role == EndorsementRole::Collateral).collect();
    assert_eq!(collateral.len(), 1);
    assert_eq!(collateral[0].about, "tdx/90c06f000000/platform/any");
    let other = Intel::new();
    let refused = read(&[intel.whole(&documents), other.root().to_vec()], &told).unwrap_err();
    assert_eq!(refused.code(), "endorsements.unproven");
}

#[test]
fn collateral_is_imported_from_its_parts_though_other_documents_and_lists_come_along() {
    let (intel, documents) = (Intel::new(), Documents::default());
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for (_, answer) in &intel.answers(&documents)[..2] {
        let Answer::Body(body, headers) = answer else { panic!("answers have bodies") };
        parts.push(body.clone());
        // as tools keep them: the header is a member beside the document
        let mut with_chain: serde_json::Value = serde_json::from_slice(body).unwrap();
        headers.iter().for_each(|(name, chain)| with_chain[*name] = chain.as_str().into());
        parts.push(with_chain.to_string().into_bytes());
    }
    parts.extend([intel.root_crl(&documents), intel.pck_crl(&documents), intel.root().to_vec()]);
    parts.extend([about_sgx("tcbInfo", "SGX"), about_sgx("enclaveIdentity", "QE")]);
    parts.push(revocation_list("ARK-Milan", &[], Rsa::ark()));
    for _ in 0..2 {
        let drafts = read(&parts, &firmware(EvidenceKind::Tdx)).unwrap();
        assert_eq!(drafts.iter().filter(|draft| draft.role == EndorsementRole::Collateral).count(), 1);
        parts.reverse();
    }
    // a document that is whole, and one about SGX beside it
    let sgx = about_sgx("tcbInfo", "SGX");
    let told = firmware(EvidenceKind::Tdx);
    assert!(read(&[sgx.clone(), intel.whole(&documents), intel.root().to_vec()], &told).is_ok());
    assert_eq!(read(&[sgx, intel.root().to_vec()], &told).unwrap_err().code(), "endorsements.unproven");
}

/// A place that holds all that there is, and the bundle of it.
async fn exported() -> (Place, Intel, Vec<u8>) {
    let (place, intel) = (Place::new().await, Intel::new());
    let tdx = firmware(EvidenceKind::Tdx);
    let mut drafts = read(&[ark(), ask(), vcek(1), revocation_list("ARK-Milan", &[], Rsa::ark())], &snp()).unwrap();
    drafts.extend(read(&[intel.root().to_vec(), intel.whole(&Documents::default())], &tdx).unwrap());
    assert_eq!(place.store.import_endorsements(drafts, Actor::Server, clock::now()).await.unwrap(), 6);
    let (mut writer, mut bytes) = BundleWriter::new(&"td".parse().unwrap(), clock::now());
    for held in place.held().await {
        bytes.extend(writer.endorsement(&held));
    }
    bytes.extend(writer.end());
    (place, intel, bytes)
}

#[tokio::test]
async fn a_bundle_makes_a_site_without_a_network_whole() {
    let (place, _, bundle) = exported().await;
    let there = Place::with(|settings| (settings.amd_url, settings.intel_url) = (None, None)).await;
    there.trust.root(&ark());
    assert_eq!(outcome(find(&there, 1, Asker::Ours).await), Err("endorse.missing"));
    let drafts = bundle::read(&bundle, UnknownRoots::Accepted, &[], clock::now()).unwrap();
    assert_eq!(there.store.import_endorsements(drafts, Actor::Server, clock::now()).await.unwrap(), 6);
    let of = |held: Vec<holdfast_server::store::Endorsement>| {
        let mut all: Vec<_> = held
            .into_iter()
            .map(|held| (held.sha256, held.draft.role, held.draft.serves, held.draft.class, held.draft.fetched_at))
            .collect();
        all.sort();
        all
    };
    assert_eq!(of(there.held().await), of(place.held().await));
    assert!(there.held().await.iter().all(|held| held.draft.source == EndorsementSource::Bundle));
    // The issuer is among what is trusted, which a server reads for itself.
    let mut wants = crate::chips::chip(1);
    wants.vek_came_along = false;
    let found = there.endorser.snp(EvidenceKind::Snp, &wants, &[ask()], Asker::Ours).await;
    assert_eq!(outcome(found), Ok(1));
}

#[tokio::test]
async fn a_bundle_slips_no_root_in() {
    let (place, _, bundle) = exported().await;
    let refused = bundle::read(&bundle, UnknownRoots::Refused, &[], clock::now()).unwrap_err();
    assert_eq!(refused.code(), "endorsements.unknown_root");
    let held = place.store.endorsements(Which::Trust).await.unwrap();
    bundle::read(&bundle, UnknownRoots::Refused, &held, clock::now()).unwrap();
    let mut other_class = held;
    other_class.iter_mut().for_each(|held| held.draft.class = "cloud".to_owned());
    let refused = bundle::read(&bundle, UnknownRoots::Refused, &other_class, clock::now()).unwrap_err();
    assert_eq!(refused.code(), "endorsements.unknown_root");
}

#[tokio::test]
async fn a_bundle_that_is_not_whole_is_refused() {
    let (_, _, bundle) = exported().await;
    let read = |bytes: &[u8]| bundle::read(bytes, UnknownRoots::Accepted, &[], clock::now()).map(|drafts| drafts.len());
    assert_eq!(read(&bundle).unwrap(), 6);
    let lines: Vec<&[u8]> = bundle.split_inclusive(|byte| *byte == b'\n').collect();
    for left_out in 1..lines.len() {
        let shorter: Vec<u8> =
            lines.iter().enumerate().filter(|(at, _)| *at != left_out).flat_map(|(_, line)| line.to_vec()).collect();
        assert_eq!(read(&shorter).unwrap_err().code(), "endorsements.bundle_digest", "line {left_out}");
    }
    for at in (0..bundle.len()).step_by(97) {
        let mut flipped = bundle.clone();
        flipped[at] ^= 1;
        assert!(read(&flipped).is_err(), "byte {at}");
    }
    for none in [&b""[..], b"{}\n", b"{}\n{}\n", &bundle[..bundle.len() - 1]] {
        assert!(read(none).is_err());
    }
}
