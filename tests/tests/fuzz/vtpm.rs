//! What reaches the verifiers of kinds `azure` and `gcp`: items, HCL reports with their JSON, certificates that name an
//! instance. All of it is well made and signed by nobody: what comes behind a signature no stranger reaches.

use holdfast_evidence::Evidence as _;
use holdfast_evidence::azure::{
    AzureEvidence, AzureHardware, AzureItem, HclReport, RuntimeData, verify_ak_certificate,
};
use holdfast_evidence::gcp::{GcpEvidence, GcpItem, Instance, checks};
use holdfast_evidence::tpm::{PcrIndex, Signed};
use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;

use super::{attest, fuzz, public};

const NOW: UnixTime = UnixTime(1_767_225_600);
/// us-central1-a, 995085049500, core-eso, 6524697943022743941, instance-1.
const INSTANCE: &str = "30590c0d75732d63656e7472616c312d61020600e7af735e9c0c08636f72652d65736f02085a8c6235b897b1850c0a69\
                        6e7374616e63652d31a020301ea003020100a1030101ffa2030101ffa303010100a403010100a503010100";

fn certificate(extension: Option<rcgen::CustomExtension>) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.custom_extensions = extension.into_iter().collect();
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn runtime_data() -> String {
    let modulus = format!("{}w", "x".repeat(341));
    format!(
        r#"{{"keys":[{{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"{modulus}"}}],"vm-configuration":{{"console-enabled":true,"secure-boot":true,"vmUniqueId":"26F8BC30-774E-4290-8E7A-535F3B672AEE"}},"user-data":"{}"}}"#,
        "0a".repeat(64)
    )
}

fn hcl(runtime_data: &[u8]) -> Vec<u8> {
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let length = u32::try_from(runtime_data.len()).unwrap();
    let header = numbers(&[1, 32 + 1184 + 20 + length, 2, 0, 0, 0, 0]);
    let request = numbers(&[20 + length, 1, 2, 1, length]);
    [b"HCLA", &header[..], &[0; 1184], &request, runtime_data, &[0; 64]].concat()
}

#[test]
fn evidence_of_azure() {
    let (json, attest) = (runtime_data(), attest());
    RuntimeData::parse(json.as_bytes()).unwrap();
    let (report, leaf, area) = (hcl(json.as_bytes()), certificate(None), public().as_bytes().to_vec());
    let item = AzureItem {
        report: &report,
        hardware: AzureHardware::Snp(&leaf),
        ak_certificates: vec![&leaf],
        ak_public: &area,
        quote: Signed { attest: &attest, signature: &[7; 70] },
        firmware_log: None,
        pcr_claims: vec![(PcrIndex::new(11).unwrap(), &[7; 32])],
    };
    let trusted_launch = AzureItem { report: &[], hardware: AzureHardware::None, ..item.clone() }.encode();
    let item = item.encode();
    AzureEvidence::parse(&item).unwrap();
    fuzz("azure", &[item, trusted_launch, report, json.into_bytes()], |bytes| {
        if let Ok(evidence) = AzureEvidence::parse(bytes) {
            let _ = (evidence.wants(), evidence.commitment());
            let certificates = &evidence.item().ak_certificates;
            assert!(verify_ak_certificate(certificates, public().key(), &Roots::new(), NOW).is_err());
        }
        let _ = HclReport::parse(bytes).map(|report| RuntimeData::parse(report.runtime_data));
        let _ = RuntimeData::parse(bytes);
    });
}

#[test]
fn evidence_of_gcp() {
    let (attest, area) = (attest(), public().as_bytes().to_vec());
    let value: Vec<u8> =
        (0..INSTANCE.len()).step_by(2).map(|at| u8::from_str_radix(&INSTANCE[at..at + 2], 16).unwrap()).collect();
    let named = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 1, 21], value.clone());
    let leaf = certificate(Some(named));
    Instance::of(&checks::leaf(&leaf).unwrap()).unwrap();
    let item = GcpItem {
        ak_certificates: vec![&leaf, &leaf],
        ak_public: &area,
        quote: Signed { attest: &attest, signature: &[7; 70] },
        firmware_log: Some(&[7; 64]),
        pcr_claims: Vec::new(),
    }
    .encode();
    GcpEvidence::parse(&item).unwrap();
    fuzz("gcp", &[item, value, leaf], |bytes| {
        if let Ok(evidence) = GcpEvidence::parse(bytes) {
            let _ = evidence.commitment();
        }
        let _ = Instance::parse(bytes);
        if let Ok(certificate) = checks::leaf(bytes) {
            let _ = Instance::of(&certificate);
            assert!(checks::chain(&certificate, &[bytes], &Roots::new(), NOW).is_err());
        }
    });
}
