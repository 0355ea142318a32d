//! Which documents count where several are at hand, and that none of the others stands in the way.

use holdfast_evidence::tdx::{CheckedCollateral, CollateralParts, Quote, Unverified, VerifiedPck, pck_chain};
use holdfast_identity::UnixTime;
use serde_json::{Value, json};

use crate::intel::{self, Template, pem};
use crate::td::{NOW, Td};

const EARLIER: &str = "2025-12-19T00:00:00Z";
const LATER: &str = "2025-12-31T00:00:00Z";
const TOMORROW: &str = "2026-01-02T00:00:00Z";

fn parts(files: &[Vec<u8>]) -> CollateralParts {
    let mut parts = CollateralParts::new();
    files.iter().for_each(|file| parts.add(file).unwrap());
    parts
}

/// The collateral of the good guest, out of these files and its own, whatever the order.
fn check(files: &[Vec<u8>]) -> Result<CheckedCollateral, Unverified> {
    let td = Td::v4();
    let own = whole(&td);
    let before = parts(&[files, std::slice::from_ref(&own)].concat()).check(td.kind(), &td.roots(), NOW);
    let after = parts(&[&[own], files].concat()).check(td.kind(), &td.roots(), NOW);
    let digest = |checked: &CheckedCollateral| checked.collateral().digest();
    assert_eq!(before.as_ref().map(digest), after.as_ref().map(digest));
    before
}

fn whole(td: &Td) -> Vec<u8> {
    td.document().to_string().into_bytes()
}

fn pck(td: &Td) -> VerifiedPck {
    pck_chain(&Quote::parse(&td.quote()).unwrap(), &td.roots(), NOW).unwrap()
}

/// Answers of the service, as files: TCB info and QE identity.
fn answers(td: &Td) -> [Value; 2] {
    let document = td.document();
    let answer = |name: &str, member: &str| {
        let text: Value = serde_json::from_str(document[name].as_str().unwrap()).unwrap();
        json!({ member: text, "signature": document[format!("{name}_signature")] })
    };
    [answer("tcb_info", "tcbInfo"), answer("qe_identity", "enclaveIdentity")]
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn own() -> [u8; 32] {
    Td::v4().collateral().digest()
}

/// Documents issued and evaluated like that.
fn edition(issued: &str, evaluation: u32) -> Td {
    Td::v4().with(|td| {
        for document in [&mut td.tcb_info, &mut td.qe_identity] {
            document["issueDate"] = issued.into();
            document["tcbEvaluationDataNumber"] = evaluation.into();
        }
    })
}

fn forged(mut td: Td) -> Td {
    td.keys.documents = [intel::stranger_key(); 2];
    td
}

/// Of two editions the newer one counts: nobody keeps a platform up to date with last year's TCB info.
#[test]
fn the_newest_edition_counts() {
    let old = Td::v4().with(|td| td.tcb_info["issueDate"] = EARLIER.into());
    assert_eq!(check(&[whole(&old)]).unwrap().collateral().digest(), own());
    let new = Td::v4();
    for order in [[&old, &new], [&new, &old]] {
        // the same where nobody asks who signed it
        let found = parts(&order.map(whole)).collateral(new.kind()).unwrap();
        assert_eq!((found.issued_at(), found.digest()), (UnixTime(1_766_188_800), own()));
    }
}

#[test]
fn documents_about_sgx_beside_those_about_tdx_are_left_alone() {
    let sgx = |id: &str| {
        let [mut tcb, mut qe] = answers(&edition(LATER, 99));
        tcb["tcbInfo"]["id"] = "SGX".into();
        qe["enclaveIdentity"]["id"] = id.into();
        [bytes(&tcb), bytes(&qe)]
    };
    let second = json!({ "tcbInfo": { "version": 2, "issueDate": LATER, "fmspc": "50806f000000" }, "signature": "00" });
    let files = [sgx("QE"), sgx("QVE")].concat();
    let files = [files, vec![bytes(&second)]].concat();
    assert_eq!(check(&files).unwrap().collateral().digest(), own());
    assert_eq!(parts(&files).fmspcs().count(), 0);
    let all = [files, vec![whole(&Td::v4())]].concat();
    assert_eq!(parts(&all).collateral(Td::v4().kind()).unwrap().digest(), own(), "before anything is verified, too");
}

#[test]
fn a_list_of_another_vendor_is_not_the_roots() {
    let later = [(2025, 12, 31), (2026, 12, 31)];
    for name in ["ARK-Milan", "SEV-Genoa", "Other Root", ""] {
        let list = intel::list_of(&Template::ca(name, 1, 1), intel::stranger_key(), &[], later);
        assert_eq!(check(std::slice::from_ref(&list)).unwrap().collateral().digest(), own(), "{name}");
        let all = parts(&[list, whole(&Td::v4())]);
        assert_eq!(all.collateral(Td::v4().kind()).unwrap().digest(), own(), "{name}");
    }
    // alone it is none at all
    let mut document = Td::v4().document();
    document["root_ca_crl"] = "".into();
    let list = intel::list_of(&Template::ca("ARK-Milan", 1, 1), intel::root_key(), &[], later);
    let refused = parts(&[bytes(&document), list]).check(Td::v4().kind(), &Td::v4().roots(), NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.collateral.missing");
}

#[test]
fn a_list_that_its_issuer_did_not_sign_does_not_stand_in_the_way() {
    let (td, later) = (Td::v4(), [(2025, 12, 31), (2026, 12, 31)]);
    let forged = [&td.root, &td.ca].map(|issuer| intel::list_of(issuer, intel::stranger_key(), &[], later));
    assert_eq!(check(&forged).unwrap().collateral().digest(), own());
    // where the CA does not come along, the quote has it
    let mut document = td.document();
    document["pck_crl_issuer_chain"] = "".into();
    let files = parts(&[&forged[..], &[bytes(&document)]].concat());
    let checked = files.check_for(&pck(&td), &td.roots(), NOW).unwrap();
    assert!(checked.admits(&pck(&td)).is_ok());
    // and without it nobody is admitted by mistake
    let unknown = files.check(td.kind(), &td.roots(), NOW).unwrap();
    assert_eq!(unknown.admits(&pck(&td)).unwrap_err().code(), "tdx.collateral.signature");
}

#[test]
fn the_newer_of_two_genuine_lists_counts_and_one_that_has_ended_does_not() {
    let (td, dates) = (Td::v4(), [(2025, 12, 31), (2026, 1, 19)]);
    let newer = intel::list_of(&td.ca, intel::ca_key(), &[crate::td::PCK_SERIAL], dates);
    assert_eq!(check(&[newer]).unwrap().admits(&pck(&td)).unwrap_err().code(), "tdx.pck.revoked");
    let revoking = intel::list_of(&td.root, intel::root_key(), &[crate::td::SIGNER_SERIAL], dates);
    assert_eq!(check(&[revoking]).unwrap_err().code(), "tdx.collateral.signer_revoked");
    let ended = [(2025, 12, 30), (2026, 1, 1)];
    let ended =
        [(&td.root, intel::root_key()), (&td.ca, intel::ca_key())].map(|(ca, key)| intel::list_of(ca, key, &[], ended));
    assert_eq!(check(&ended).unwrap().collateral().digest(), own());
}

#[test]
fn an_edition_that_does_not_count_now_or_is_not_genuine_does_not_stand_in_the_way() {
    let expired = edition(LATER, 99).with(|td| {
        td.tcb_info["nextUpdate"] = "2025-12-31T23:59:59Z".into();
        td.qe_identity["nextUpdate"] = "2025-12-31T23:59:59Z".into();
    });
    let below_ca = edition(LATER, 99).with(|td| td.signer_below_ca = true);
    assert_eq!(check(&[whole(&below_ca)]).unwrap().collateral().digest(), own(), "a chain up to no root");
    for other in [edition(TOMORROW, 99), forged(edition(LATER, 99)), expired] {
        assert_eq!(check(&[whole(&other)]).unwrap().collateral().digest(), own());
        let files: Vec<Vec<u8>> = answers(&other).iter().map(bytes).collect();
        assert_eq!(check(&files).unwrap().collateral().digest(), own(), "without a chain beside it");
    }
}

#[test]
fn of_what_counts_the_highest_evaluation_number_does_and_then_the_newest() {
    let number = |files: &[Td]| {
        let files: Vec<Vec<u8>> = files.iter().map(whole).collect();
        let found = check(&files).unwrap();
        (found.collateral().evaluation_number(), found.collateral().issued_at())
    };
    let (earlier, later) = (UnixTime(1_766_102_400), UnixTime(1_767_139_200));
    assert_eq!(number(&[edition(EARLIER, 19)]), (19, earlier), "Intel's early channel");
    assert_eq!(number(&[edition(EARLIER, 19), edition(LATER, 19)]), (19, later));
    assert_eq!(number(&[edition(LATER, 16)]), (17, UnixTime(1_766_188_800)));
}

#[test]
fn where_nothing_is_left_the_newest_says_why() {
    let code = |td: &Td| parts(&[whole(td)]).check(td.kind(), &td.roots(), NOW).unwrap_err().code();
    assert_eq!(code(&edition(TOMORROW, 18)), "tdx.collateral.not_yet_valid");
    assert_eq!(code(&forged(edition(LATER, 18))), "tdx.collateral.signature");
    assert_eq!(code(&Td::v4().with(|td| td.lists_until[0] = (2026, 1, 1))), "tdx.collateral.expired");
    assert_eq!(code(&Td::v4().with(|td| td.keys.lists[0] = intel::stranger_key())), "tdx.collateral.signature");
}

/// However many documents somebody puts there, a bounded number of them is verified: the rest is not believed, but refused.
#[test]
fn a_bounded_number_of_editions_is_tried() {
    let forged = |count: u32| (0..count).map(|n| whole(&forged(edition(LATER, 100 + n)))).collect::<Vec<_>>();
    assert!(check(&forged(15)).is_ok());
    let td = Td::v4();
    let files = [forged(16), vec![whole(&td)]].concat();
    let refused = parts(&files).check(td.kind(), &td.roots(), NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.collateral.signature");
}

#[test]
fn a_chain_beside_a_document_is_its_own_and_no_other_stands_in() {
    let (td, stranger) = (Td::v4(), Td::v4().with(|td| td.root = Template::ca("Other Root", 9, 1)));
    let code = |name: &str, chain: &[Vec<u8>]| {
        let mut document = td.document();
        document[name] = chain.iter().map(|der| pem(der)).collect::<String>().into();
        parts(&[bytes(&document)]).check(td.kind(), &td.roots(), NOW).map(|_| ()).map_err(|refused| refused.code())
    };
    let own = |name: &str| if name.starts_with("pck") { td.ca_der() } else { td.signer_der() };
    for name in ["tcb_info_issuer_chain", "qe_identity_issuer_chain", "pck_crl_issuer_chain"] {
        assert_eq!(code(name, &[own(name)]), Ok(()), "{name}: the root is trusted by value");
        assert_eq!(code(name, &[td.root_der(), own(name)]), Ok(()), "{name}");
        let other = [own(name), stranger.root_der()];
        assert_eq!(code(name, &other), Err("tdx.collateral.chain"), "{name}: another root");
        let mut changed = td.root_der();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(code(name, &[own(name), changed]), Err("tdx.collateral.chain"), "{name}: a root of the same name");
        assert_eq!(code(name, &[own(name), td.pck_der()]), Err("tdx.collateral.chain"), "{name}: one too many");
        assert!(code(name, &[td.root_der()]).is_err(), "{name}: no signer");
        assert!(code(name, &[td.pck_der(), td.root_der()]).is_err(), "{name}: another's certificate");
    }
}
