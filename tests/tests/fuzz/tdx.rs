//! What reaches the verifier of kind `tdx`: items, quotes and the certificates in them from machines, event logs,
//! collateral from whoever serves it. The quotes here are well made and signed by nobody: what comes behind a signature
//! no stranger reaches.

use holdfast_evidence::Evidence as _;
use holdfast_evidence::tdx::{CollateralParts, PckCa, PlatformKind, Quote, TdBoot, TdxEvidence, TdxItem, pck_chain};
use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;

use super::fuzz;

/// A PCK certificate as far as anybody can make one: name, key and SGX extension.
fn certificate(name: &str, extension: Option<Vec<u8>>) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let sgx = |der| rcgen::CustomExtension::from_oid_content(&[1, 2, 840, 113_741, 1, 13, 1], der);
    params.custom_extensions = extension.map(sgx).into_iter().collect();
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    match length {
        [0, short @ ..0x80] => [&[tag, short], content].concat(),
        [0, long] => [&[tag, 0x81, long], content].concat(),
        long => [&[tag, 0x82][..], &long, content].concat(),
    }
}

fn sgx_extension() -> Vec<u8> {
    let entry = |tail: &[u8], value: Vec<u8>| {
        let oid = [&[6, 9 + tail.len() as u8, 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 0x0d, 1], tail].concat();
        der(0x30, &[oid, value].concat())
    };
    let octets = |n: u8| [vec![4, n], vec![7; n.into()]].concat();
    let tcb = [entry(&[2, 17], vec![2, 1, 11]), entry(&[2, 18], octets(16))].concat();
    let entries = [
        entry(&[1], octets(16)),
        entry(&[2], der(0x30, &tcb)),
        entry(&[3], octets(2)),
        entry(&[4], octets(6)),
        entry(&[5], vec![0x0a, 1, 1]),
    ];
    der(0x30, &entries.concat())
}

/// A quote of version 4 without a signature that holds.
fn quote() -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat();
    let chain = [certificate("SGX PCK Platform CA", Some(sgx_extension())), certificate("Root", None)];
    let pem = chain.map(|der| pem_of(&der)).concat();
    let mut header = vec![4, 0, 2, 0, 0x81, 0, 0, 0, 0, 0, 0, 0];
    header.extend([0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07]);
    header.extend([0; 20]);
    let certification = [&[1; 384 + 64][..], &[32, 0], &[2; 32], &[5, 0], &sized(pem.as_bytes())].concat();
    let authentication = [&[3; 128][..], &[6, 0], &sized(&certification)].concat();
    [header, vec![0; 584], sized(&authentication), vec![0; 70]].concat()
}

fn pem_of(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

/// A log of three events, in SHA-384.
fn log() -> Vec<u8> {
    let mut bytes = [&1u32.to_le_bytes()[..], &3u32.to_le_bytes(), &[0; 20], &33u32.to_le_bytes()].concat();
    bytes.extend(b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02\x01\0\0\0\x0c\0\x30\0\0");
    for (register, data) in [(1u32, &b"TdxTable"[..]), (2, b"EFI PART"), (3, b"kernel_cmdline: /vmlinuz ro\0")] {
        bytes.extend([register, 0xd, 1].map(u32::to_le_bytes).concat());
        bytes.extend([&[0x0c, 0][..], &[9; 48], &u32::try_from(data.len()).unwrap().to_le_bytes(), data].concat());
    }
    [bytes, vec![0xff; 64]].concat()
}

#[test]
fn evidence_of_intel_tdx() {
    let (quote, log) = (quote(), log());
    assert!(TdxEvidence::parse(&TdxItem { quote: &quote, ccel: None }.encode()).unwrap().wants().collateral.is_some());
    fuzz("tdx quotes", &[quote.clone(), TdxItem { quote: &quote, ccel: Some(&log) }.encode()], |bytes| {
        if let Ok(quote) = Quote::parse(bytes) {
            assert!(pck_chain(&quote, &Roots::new(), UnixTime(0)).is_err());
        }
        if let Ok(evidence) = TdxEvidence::parse(bytes) {
            let _ = evidence.wants();
        }
    });
    fuzz("tdx logs", &[log], |bytes| {
        let _ = TdBoot::derive(bytes, &[[0; 48]; 4]);
    });
}

#[test]
fn collateral_of_intel_tdx() {
    let signature = "00".repeat(64);
    let dates =
        r#""issueDate":"2025-12-20T00:00:00Z","nextUpdate":"2026-01-19T00:00:00Z","tcbEvaluationDataNumber":18"#;
    let tcb = format!(
        r#"{{"tcbInfo":{{"id":"TDX","version":3,{dates},"fmspc":"50806f000000","pceId":"0000","tcbLevels":[]}},"signature":"{signature}"}}"#
    );
    let masks = r#""miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":"11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000""#;
    let mrsigner = "dc".repeat(32);
    let qe = format!(
        r#"{{"enclaveIdentity":{{"id":"TD_QE","version":2,{dates},{masks},"mrsigner":"{mrsigner}","isvprodid":2,"tcbLevels":[]}},"signature":"{signature}"}}"#
    );
    let chain = pem_of(&certificate("TCB Signing", None));
    let bundle = format!(
        r#"{{"collaterals":{{"tcbinfos":[{{"tdx_tcbinfo":{tcb}}}],"tdqeidentity":{qe},"certificates":{{"TCB-Info-Issuer-Chain":{chain:?}}},"rootcacrl":""}}}}"#
    );
    let seeds = [tcb, qe, chain, bundle].map(String::into_bytes);
    let mut parts = CollateralParts::new();
    for seed in &seeds {
        parts.add(seed).unwrap();
    }
    fuzz("collateral", &seeds, |bytes| {
        let mut parts = CollateralParts::new();
        let _ = parts.add(bytes);
        let fmspcs: Vec<_> = parts.fmspcs().collect();
        for fmspc in fmspcs {
            let _ = parts.collateral(PlatformKind { fmspc, ca: PckCa::Platform });
        }
    });
}
