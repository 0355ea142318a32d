//! Collateral: its forms, its checks, and a verdict about it that is kept.

use std::sync::Arc;

use holdfast_evidence::tdx::{
    Collateral, CollateralParts, Document, KnownCollateral, PckCa, TdxEndorsements, Unverified, verify_quote,
};
use holdfast_identity::UnixTime;
use rcgen::{KeyUsagePurpose, date_time_ymd};
use serde_json::{Value, json};

use crate::intel::{self, Template, pem};
use crate::td::{NOW, SIGNER_SERIAL, Td, check};

#[test]
fn a_verifier_without_collateral_says_what_it_needs() {
    let td = Td::v4();
    let endorsements = TdxEndorsements { roots: td.roots(), ..TdxEndorsements::default() };
    let refused = verify_quote(&td.quote(), &endorsements, NOW).unwrap_err();
    assert_eq!(refused, Unverified::CollateralMissing { document: Document::TcbInfo });
    assert!(refused.is_collateral() && !refused.is_genuine());
}

#[test]
fn documents_out_of_their_window_are_refused() {
    for (document, field) in [("tcb_info", "nextUpdate"), ("qe_identity", "nextUpdate")] {
        let change = |td: &mut Td| {
            let document = if document == "tcb_info" { &mut td.tcb_info } else { &mut td.qe_identity };
            document[field] = "2025-12-31T23:59:59Z".into();
        };
        check(Td::v4, change, "tdx.collateral.expired");
    }
    check(Td::v4, |td| td.tcb_info["issueDate"] = "2026-01-01T00:00:01Z".into(), "tdx.collateral.not_yet_valid");
    check(Td::v4, |td| td.qe_identity["issueDate"] = "2026-01-01T00:00:01Z".into(), "tdx.collateral.not_yet_valid");
    check(Td::v4, |td| td.lists_until[0] = (2026, 1, 1), "tdx.collateral.expired");
    check(Td::v4, |td| td.lists_until[1] = (2026, 1, 1), "tdx.collateral.expired");
}

#[test]
fn documents_that_their_signer_did_not_sign_are_refused() {
    check(Td::v4, |td| td.keys.documents[0] = intel::stranger_key(), "tdx.collateral.signature");
    check(Td::v4, |td| td.keys.documents[1] = intel::stranger_key(), "tdx.collateral.signature");
    check(Td::v4, |td| td.keys.lists[0] = intel::stranger_key(), "tdx.collateral.signature");
    check(Td::v4, |td| td.keys.lists[1] = intel::stranger_key(), "tdx.collateral.signature");
    // the CA of platforms does not sign the root's list, nor the root the CA's
    check(Td::v4, |td| td.keys.lists[0] = intel::ca_key(), "tdx.collateral.signature");
    check(Td::v4, |td| td.keys.lists[1] = intel::root_key(), "tdx.collateral.signature");
}

#[test]
fn the_signer_of_documents_is_the_roots_own_and_no_ca() {
    let signer = "tdx.collateral.signer";
    check(Td::v4, |td| td.signer_below_ca = true, signer);
    check(Td::v4, |td| td.signer.params.not_after = date_time_ymd(2025, 12, 31), signer);
    check(Td::v4, |td| td.signer.params.key_usages = vec![KeyUsagePurpose::KeyAgreement], signer);
    check(Td::v4, |td| td.revoked[0] = vec![SIGNER_SERIAL], "tdx.collateral.signer_revoked");
}

#[test]
fn a_platforms_certificate_signs_no_documents() {
    let td = Td::v4().with(|td| td.keys.documents = [intel::pck_key(); 2]);
    let mut document = td.document();
    for chain in ["tcb_info_issuer_chain", "qe_identity_issuer_chain"] {
        document[chain] = [td.pck_der(), td.ca_der()].map(|der| pem(&der)).concat().into();
    }
    let collateral = read(&[document.to_string().into_bytes()], &td).unwrap();
    let endorsements =
        TdxEndorsements { collateral: KnownCollateral::Fetched(Arc::new(collateral)), ..td.endorsements() };
    assert_eq!(verify_quote(&td.quote(), &endorsements, NOW).unwrap_err().code(), "tdx.collateral.signer");
}

#[test]
fn documents_about_another_platform_are_refused() {
    let (td, mismatch) = (Td::v4(), "tdx.collateral.mismatch");
    let other = Td::v4().with(|td| td.extension.fmspc = [1; 6]);
    assert_eq!(verify_quote(&other.quote(), &td.endorsements(), NOW).unwrap_err().code(), mismatch);
    check(Td::v4, |td| td.tcb_info["pceId"] = "0001".into(), mismatch);
}

#[test]
fn documents_that_are_not_about_tdx_are_none() {
    let missing = |change: &dyn Fn(&mut Td)| {
        let td = Td::v4().with(change);
        read(&[td.document().to_string().into_bytes()], &td).unwrap_err()
    };
    for change in [|td: &mut Td| td.tcb_info["id"] = "SGX".into(), |td: &mut Td| td.tcb_info["version"] = 2.into()] {
        assert_eq!(missing(&change), Unverified::CollateralMissing { document: Document::TcbInfo });
    }
    for change in [|td: &mut Td| td.qe_identity["id"] = "QE".into(), |td: &mut Td| td.qe_identity["version"] = 1.into()]
    {
        assert_eq!(missing(&change), Unverified::CollateralMissing { document: Document::QeIdentity });
    }
}

#[test]
fn a_list_of_another_ca_does_not_stand_in() {
    let td = Td::v4();
    let processor = Template::ca("Made-up SGX PCK Processor CA", 8, 0);
    let list = intel::revocation_list(&processor, intel::ca_key(), &[], (2026, 1, 19));
    let mut document = td.document();
    document["pck_crl"] = hex::encode(list).into();
    let missing = Unverified::CollateralMissing { document: Document::PckCrl };
    assert_eq!(read(&[document.to_string().into_bytes()], &td).unwrap_err(), missing);
    // nor one of a CA that only has the word in its name
    let other = Template::ca("Other SGX PCK Platform CA", 8, 0);
    let list = intel::revocation_list(&other, intel::ca_key(), &[], (2026, 1, 19));
    document["pck_crl"] = hex::encode(list).into();
    let beside = read(&[document.to_string().into_bytes()], &td).unwrap();
    let refused = Arc::new(beside).check(&td.roots(), NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.collateral.signature", "the CA that stands beside it is another");
    document["pck_crl_issuer_chain"] = "".into();
    let collateral = Arc::new(read(&[document.to_string().into_bytes()], &td).unwrap());
    let endorsements = TdxEndorsements { collateral: KnownCollateral::Fetched(collateral), ..td.endorsements() };
    assert_eq!(verify_quote(&td.quote(), &endorsements, NOW).unwrap_err().code(), "tdx.collateral.mismatch");
}

#[test]
fn checked_collateral_counts_until_its_next_update_and_under_its_root() {
    let td = Td::v4();
    let checked = Arc::new(td.collateral().check(&td.roots(), NOW).unwrap());
    let last = UnixTime(1_768_780_799);
    assert_eq!(checked.next_update(), last, "the PCK CRL's last second");
    let kept = |roots, at| {
        let collateral = KnownCollateral::Checked(Arc::clone(&checked));
        verify_quote(&td.quote(), &TdxEndorsements { roots, collateral, service_tds: Vec::new(), pck: None }, at)
    };
    let fresh = td.verify().unwrap();
    assert_eq!(kept(td.roots(), NOW).unwrap(), fresh);
    assert_eq!(fresh.not_after(), last);
    assert!(kept(td.roots(), last).is_ok());
    assert_eq!(kept(td.roots(), last.plus(1)).unwrap_err().code(), "tdx.collateral.expired");
    let early = UnixTime(1_766_188_799);
    assert_eq!(kept(td.roots(), early).unwrap_err().code(), "tdx.collateral.not_yet_valid");
    let other = Td::v4().with(|td| td.root = Template::ca("Other Root", 9, 1));
    let collateral = KnownCollateral::Checked(Arc::clone(&checked));
    let both = TdxEndorsements { roots: other.roots(), collateral, service_tds: Vec::new(), pck: None };
    assert_eq!(verify_quote(&other.quote(), &both, NOW).unwrap_err().code(), "tdx.collateral.root");
}

fn read(files: &[Vec<u8>], td: &Td) -> Result<Collateral, Unverified> {
    let mut parts = CollateralParts::new();
    for file in files {
        parts.add(file)?;
    }
    parts.collateral(td.kind())
}

fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().unwrap().as_bytes().to_vec()
}

/// The same collateral in every form that it comes in.
#[test]
fn all_forms_are_read_as_the_same_collateral() {
    let td = Td::v4();
    let (document, [root_list, pck_list]) = (td.document(), td.lists());
    let whole = read(&[document.to_string().into_bytes()], &td).unwrap();
    let text = |name: &str| document[name].as_str().unwrap().to_owned();
    let tcb = format!(r#"{{"tcbInfo":{},"signature":"{}"}}"#, text("tcb_info"), text("tcb_info_signature"));
    let qe =
        format!(r#"{{"enclaveIdentity":{},"signature":"{}"}}"#, text("qe_identity"), text("qe_identity_signature"));
    let chain = text("tcb_info_issuer_chain");
    let escaped = chain.replace(' ', "%20").replace('\n', "%0A").replace('+', "%2B").replace('=', "%3D");
    let lists = |root: &[u8], pck: &[u8]| [root.to_vec(), pck.to_vec()];
    let mut forms: Vec<(&str, Vec<Vec<u8>>)> = Vec::new();
    // answers of Intel's service, one by one
    let [root, pck] = lists(&root_list, &pck_list);
    forms.push(("answers", vec![chain.clone().into(), tcb.clone().into(), qe.clone().into(), root, pck]));
    // the same in another order, issuer chains as they stand in headers, lists in hex as a PCCS has them
    let [root, pck] = lists(hex::encode(&root_list).as_bytes(), hex::encode_upper(&pck_list).as_bytes());
    forms.push(("cache", vec![pck, qe.clone().into(), escaped.clone().into(), root, tcb.clone().into()]));
    // lists in PEM
    let armoured = |der: &[u8]| pem::encode(&pem::Pem::new("X509 CRL", der)).into_bytes();
    let [root, pck] = lists(&armoured(&root_list), &armoured(&pck_list));
    forms.push(("pem", vec![root, pck, qe.clone().into(), escaped.clone().into(), tcb.clone().into()]));
    // Intel's quote verification library: the whole answer as tcb_info
    let library = json!({
        "version": 3, "tee_type": 0x81, "tcb_info": tcb, "qe_identity": qe, "tcb_info_issuer_chain": chain,
        "qe_identity_issuer_chain": chain, "root_ca_crl": hex::encode(&root_list), "pck_crl": hex::encode(&pck_list),
        "pck_crl_issuer_chain": text("pck_crl_issuer_chain"),
    });
    forms.push(("library", vec![library.to_string().into()]));
    // the same with the answers as they are, and lists in base64, in camel case
    let base64 = |der: &[u8]| armoured_lines(der);
    let objects = json!({
        "tcbInfo": serde_json::from_str::<Value>(&tcb).unwrap(), "qeIdentity": serde_json::from_str::<Value>(&qe).unwrap(),
        "tcbInfoIssuerChain": chain, "rootCaCrl": base64(&root_list), "pckCrl": base64(&pck_list),
    });
    forms.push(("objects", vec![objects.to_string().into()]));
    // the bundle of pccsadmin, set with blanks, other platforms in it
    let bundle = json!({
        "platforms": [],
        "collaterals": {
            "version": 4,
            "pck_certs": [],
            "tcbinfos": [
                { "fmspc": "000000000001", "sgx_tcbinfo": { "tcbInfo": {}, "signature": "" } },
                { "fmspc": "50806f000000", "tdx_tcbinfo": serde_json::from_str::<Value>(&tcb).unwrap() },
            ],
            "pckcacrl": { "processorCrl": "", "platformCrl": hex::encode(&pck_list) },
            "qeidentity": "",
            "tdqeidentity": qe,
            "certificates": {
                "SGX-PCK-Certificate-Issuer-Chain": { "PROCESSOR": "", "PLATFORM": escaped },
                "TCB-Info-Issuer-Chain": escaped,
                "SGX-Enclave-Identity-Issuer-Chain": escaped,
            },
            "rootcacrl": hex::encode(&root_list),
        },
    });
    forms.push(("bundle", vec![serde_json::to_vec_pretty(&bundle).unwrap()]));
    // texts of C with the zero that ends them, hex that says so, and what Windows puts in front
    let mut c = document.clone();
    c["root_ca_crl"] = format!("{}\0", hex::encode(&root_list)).into();
    c["pck_crl"] = format!("0x{}", hex::encode([&pck_list[..], &[0]].concat())).into();
    c["tcb_info_signature"] = format!("0X{}\0", text("tcb_info_signature")).into();
    c["pck_crl_issuer_chain"] = format!("{}\0", text("pck_crl_issuer_chain")).into();
    forms.push(("texts of C", vec![format!("\u{feff}{c}\0").into()]));
    let hex = |der: &[u8]| format!("\u{feff}0x{}\r\n\0", hex::encode(der)).into_bytes();
    let marked = |text: &str| format!("\u{feff}{text}").into_bytes();
    let [root, pck] = [hex(&root_list), format!("0X{}", hex::encode(&pck_list)).into()];
    forms.push(("marked", vec![root, pck, marked(&qe), marked(&chain), marked(&tcb)]));
    // answers with their headers beside them, and nowhere else
    let mut with_headers = [&tcb, &qe].map(|answer| serde_json::from_str::<Value>(answer).unwrap());
    with_headers[0]["TCB-Info-Issuer-Chain"] = escaped.clone().into();
    with_headers[0]["Request-ID"] = 7.into();
    with_headers[1]["sgx-enclave-identity-issuer-chain"] = chain.clone().into();
    with_headers[1]["SGX-PCK-CRL-ISSUER-CHAIN"] = text("pck_crl_issuer_chain").into();
    let [tcb_beside, qe_beside] = with_headers.map(|answer| answer.to_string().into_bytes());
    forms.push(("headers", vec![tcb_beside, qe_beside, root_list.clone(), pck_list.clone()]));
    forms.push(("our own", vec![whole.encode()]));
    for (name, files) in forms {
        let collateral = read(&files, &td).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(collateral.digest(), whole.digest(), "{name}");
        let collateral = KnownCollateral::Fetched(Arc::new(collateral));
        let verified = verify_quote(&td.quote(), &TdxEndorsements { collateral, ..td.endorsements() }, NOW);
        assert!(verified.is_ok(), "{name}: {verified:?}");
    }
    assert_eq!((whole.kind(), whole.evaluation_number()), (td.kind(), 17));
    assert_eq!(whole.issued_at(), UnixTime(1_766_188_800));
    assert_eq!(whole.kind().ca, PckCa::Platform);
}

/// Base64 without anything around it.
fn armoured_lines(der: &[u8]) -> String {
    let text = pem::encode(&pem::Pem::new("X", der));
    text.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[test]
fn what_is_missing_is_named() {
    let td = Td::v4();
    let document = td.document();
    let [root_list, pck_list] = td.lists();
    let tcb = format!(
        r#"{{"tcbInfo":{},"signature":"{}"}}"#,
        document["tcb_info"].as_str().unwrap(),
        document["tcb_info_signature"].as_str().unwrap()
    );
    let qe = format!(
        r#"{{"enclaveIdentity":{},"signature":"{}"}}"#,
        document["qe_identity"].as_str().unwrap(),
        document["qe_identity_signature"].as_str().unwrap()
    );
    let all = [tcb.into_bytes(), qe.into_bytes(), root_list, pck_list, bytes(&document["tcb_info_issuer_chain"])];
    let documents = [Document::TcbInfo, Document::QeIdentity, Document::RootCrl, Document::PckCrl];
    for (at, document) in documents.into_iter().enumerate() {
        let files: Vec<Vec<u8>> = all.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| f.clone()).collect();
        assert_eq!(read(&files, &td).unwrap_err(), Unverified::CollateralMissing { document });
    }
    assert_eq!(read(&all[..4], &td).unwrap_err().code(), "tdx.collateral.signer");
    assert!(read(&all, &td).is_ok());
}

#[test]
fn what_is_no_collateral_is_refused() {
    let td = Td::v4();
    for file in
        [&b""[..], b"{}", b"[]", b"hello", b"0\x00", b"-----BEGIN CERTIFICATE-----", b"\xff\xfe", b"{\"tcbInfo\":1}"]
    {
        assert_eq!(read(&[file.to_vec()], &td).unwrap_err().code(), "tdx.collateral.malformed", "{file:?}");
    }
    let mut document = td.document();
    for list in ["", "3", "0x", "0xzz"] {
        document["root_ca_crl"] = format!("{list}zz").into();
        assert_eq!(read(&[document.to_string().into_bytes()], &td).unwrap_err().code(), "tdx.collateral.malformed");
    }
    document = td.document();
    let both = document["pck_crl"].as_str().unwrap().replacen('a', "A", 1);
    document["pck_crl"] = both.into();
    assert_eq!(read(&[document.to_string().into_bytes()], &td).unwrap_err().code(), "tdx.collateral.malformed");
    document = td.document();
    document["tcb_info_signature"] = "00".into();
    assert_eq!(read(&[document.to_string().into_bytes()], &td).unwrap_err().code(), "tdx.collateral.malformed");
}

/// A chain in an answer is the chain of that answer, as one in a file is.
#[test]
fn a_chain_in_an_answer_is_held_to_what_it_says() {
    let td = Td::v4();
    let document = td.document();
    let mut tcb = json!({ "signature": document["tcb_info_signature"] });
    tcb["tcbInfo"] = serde_json::from_str(document["tcb_info"].as_str().unwrap()).unwrap();
    tcb["TCB-Info-Issuer-Chain"] = [td.ca_der(), td.root_der()].map(|der| pem(&der)).concat().into();
    let chain = bytes(&document["qe_identity_issuer_chain"]);
    let qe = format!(
        r#"{{"enclaveIdentity":{},"signature":{}}}"#,
        document["qe_identity"].as_str().unwrap(),
        document["qe_identity_signature"]
    );
    let [root_list, pck_list] = td.lists();
    let read = |tcb: &Value| {
        let files =
            [tcb.to_string().into_bytes(), qe.clone().into(), chain.clone(), root_list.clone(), pck_list.clone()];
        read(&files, &td).and_then(|collateral| Arc::new(collateral).check(&td.roots(), NOW))
    };
    assert_eq!(read(&tcb).unwrap_err().code(), "tdx.collateral.signer");
    tcb["TCB-Info-Issuer-Chain"] = "words".into();
    assert_eq!(read(&tcb).unwrap_err().code(), "tdx.collateral.malformed");
    tcb["TCB-Info-Issuer-Chain"] = "".into();
    assert!(read(&tcb).is_ok(), "an empty one is none");
}
