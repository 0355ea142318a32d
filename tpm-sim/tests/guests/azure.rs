//! Azure machines: the paravisor's report and the metadata service in front of a real swtpm, its quotes, and what our own
//! verifier makes of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_appraisal::facts;
use holdfast_evidence::azure::{AzureClaims, AzureEndorsements, AzureEvidence, AzureHardware, AzureItem};
use holdfast_evidence::snp::SnpEndorsements;
use holdfast_evidence::tdx::{CollateralParts, KnownCollateral, PckCa, PlatformKind, TdxEndorsements};
use holdfast_evidence::tpm::{PcrIndex, Public, Signed};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{Evidence as _, EvidenceKind, TrustClass, Verified};
use holdfast_tpm_sim::guest::vtpm::azure::{AzureSpec, CertificateLie, Hardware};
use holdfast_tpm_sim::guest::{BY_POLICY, GuestKind, GuestSpec};

use crate::gcp::{selection, sha256};
use crate::lab;
use crate::policy::{assert_refused, assert_same_node};
use crate::stage::{Question, attack, attacked, now};
use crate::tpm::Running;

const HCL_REPORT: u32 = 0x0140_0001;
const AK_CERTIFICATE: u32 = 0x01c1_01d0;
const AK: u32 = 0x8100_0003;

fn launch(name: &str, spec: &AzureSpec) -> Running {
    Running::launch(&format!("test-azure-{name}"), &GuestSpec::Azure(Box::new(spec.clone())))
}

/// Asks the metadata service: its answer, a JSON document.
fn ask(running: &Running, method: &str, path: &str, body: &str) -> serde_json::Value {
    let url = running.vtpm.metadata().unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nMetadata: true\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).unwrap()
}

/// What the service adds to the report: certificates, or a quote.
fn hardware(running: &Running, report: &[u8]) -> (u8, Vec<u8>) {
    match report.get(0x4c8) {
        None => (0, Vec::new()),
        Some(2) => {
            let answer = ask(running, "GET", "/metadata/THIM/amd/certification", "");
            let text = |name: &str| answer[name].as_str().unwrap().to_owned();
            (1, [text("vcekCert"), text("certificateChain")].concat().into_bytes())
        }
        Some(_) => {
            let body = serde_json::json!({ "report": URL_SAFE_NO_PAD.encode(&report[0x20..0x20 + 1024]) });
            let answer = ask(running, "POST", "/acc/tdquote", &body.to_string());
            (2, URL_SAFE_NO_PAD.decode(answer["quote"].as_str().unwrap()).unwrap())
        }
    }
}

fn endorsements(spec: &AzureSpec) -> AzureEndorsements {
    let trusted = |der: &[u8]| {
        let mut roots = Roots::new();
        roots.add(Anchor::new(der, TrustClass::Simulated).unwrap());
        roots
    };
    let authority = lab().azure().unwrap();
    let mut roots = trusted(authority.root());
    roots.add_intermediate(authority.intermediate()).unwrap();
    let snp = SnpEndorsements {
        roots: Arc::new(trusted(lab().amd(&spec.snp.product).unwrap().root())),
        ..SnpEndorsements::default()
    };
    let intel = lab().intel().unwrap();
    let mut parts = CollateralParts::new();
    parts.add(intel.documents(&spec.tdx).unwrap().to_json().to_string().as_bytes()).unwrap();
    let fmspc = hex::decode(&spec.tdx.platform.fmspc).unwrap().try_into().unwrap();
    let collateral = parts.collateral(PlatformKind { fmspc, ca: PckCa::Platform }).unwrap();
    let tdx = TdxEndorsements {
        roots: Arc::new(trusted(intel.root())),
        collateral: KnownCollateral::Fetched(Arc::new(collateral)),
        service_tds: Vec::new(),
        pck: None,
    };
    AzureEndorsements { roots: Arc::new(roots), verified: Vec::new(), snp, tdx }
}

fn verify(running: &Running) -> Result<Verified<AzureClaims>, &'static str> {
    let GuestSpec::Azure(spec) = running.guest.spec().unwrap() else { panic!("no Azure machine") };
    let question = Question::of_quote(EvidenceKind::Azure, selection());
    let mut tpm = running.tpm();
    let defined = tpm.handles(0x0140_0000);
    let mut provided = |index: u32| defined.contains(&index).then(|| tpm.provided(index));
    let report = provided(HCL_REPORT).unwrap_or_default();
    let certificates: Vec<Vec<u8>> = provided(AK_CERTIFICATE).into_iter().collect();
    let (kind, added) = hardware(running, &report);
    let public = tpm.public(AK);
    let log = running.firmware_log();
    let ak = sha256(&Public::parse(&public).unwrap().key().spki());
    let binding = question.binding(&ak, Some(&sha256(&log)));
    let (attest, signature) = tpm.quote(AK, &binding, &question.selection().encode());
    let item = AzureItem {
        report: &report,
        hardware: match kind {
            0 => AzureHardware::None,
            1 => AzureHardware::Snp(&added),
            _ => AzureHardware::Tdx(&added),
        },
        ak_certificates: certificates.iter().map(Vec::as_slice).collect(),
        ak_public: &public,
        quote: Signed { attest: &attest, signature: &signature },
        firmware_log: Some(&log),
        pcr_claims: Vec::new(),
    }
    .encode();
    let evidence = AzureEvidence::parse(&item).map_err(|malformed| malformed.code())?;
    let binding = question.answer(evidence.commitment());
    evidence.verify(&endorsements(&spec), &binding, now()).map_err(|refusal| refusal.code())
}

fn on(hardware: Hardware) -> AzureSpec {
    AzureSpec { hardware, ..AzureSpec::default() }
}

#[test]
fn a_machine_is_verified_on_either_hardware_and_without() {
    for (name, hardware) in [("snp", Hardware::Snp), ("tdx", Hardware::Tdx), ("none", Hardware::None)] {
        let running = launch(name, &on(hardware));
        let verified = verify(&running).unwrap_or_else(|code| panic!("{name}: {code}"));
        let claims = verified.claims();
        assert_eq!(claims.root.class, TrustClass::Simulated);
        assert_eq!(claims.machine.hardware().is_some(), hardware != Hardware::None, "{name}");
        assert!(claims.ak_certificate.is_some(), "{name}");
        assert!(claims.boot.boot().is_some_and(|boot| !boot.boot_applications.is_empty()), "{name}");
    }
}

#[test]
fn a_confidential_machine_needs_no_certificate_of_its_key() {
    let running = launch("uncertified", &AzureSpec { ak_certificate: false, ..AzureSpec::default() });
    assert!(verify(&running).unwrap().claims().ak_certificate.is_none());
}

#[test]
fn a_relaunched_machine_is_another() {
    let running = launch("relaunched", &AzureSpec::default());
    let before = verify(&running).unwrap();
    let mut spec = running.guest.spec().unwrap();
    spec.relaunch();
    running.guest.keep(&spec).unwrap();
    let after = verify(&running).unwrap();
    assert_ne!(before.claims().instance(), after.claims().instance());
    assert_ne!(before.claims().ak_spki_sha256, after.claims().ak_spki_sha256);
}

#[test]
fn trusted_launch_is_worth_its_certificate() {
    for (lie, code) in [
        (CertificateLie::OwnRoot, "chain.signature"),
        (CertificateLie::OtherKey, "azure.ak.key_mismatch"),
        (CertificateLie::Expired, "azure.ak.expired"),
        (CertificateLie::OfAuthority, "azure.ak.certificate"),
        (CertificateLie::MayNotSign, "azure.ak.certificate"),
    ] {
        let spec = AzureSpec { certificate_lie: Some(lie), ..on(Hardware::None) };
        let running = launch(&format!("trusted-launch-{lie:?}").to_lowercase(), &spec);
        assert_eq!(verify(&running).map(drop), Err(code), "{lie:?}");
    }
}

#[test]
fn what_befalls_a_td_befalls_a_machine_on_it() {
    let mut spec = on(Hardware::Tdx);
    spec.tdx.tdattributes |= 1;
    assert_eq!(verify(&launch("td-debug", &spec)).map(drop), Err("tdx.td.debug"));
}

fn refuse(name: &str) {
    let attack = attack(GuestKind::Azure, name);
    let honest = GuestSpec::Azure(Box::default());
    let GuestSpec::Azure(spec) = &honest else { panic!("no Azure machine") };
    let running = launch(name, spec);
    let before = verify(&running).unwrap();
    running.guest.keep(&attacked(honest.clone(), attack)).unwrap();
    let after = verify(&running);
    let pcrs = &before.claims().boot.pcrs;
    let pinned = [4, 7, 8, 9].map(|pcr| {
        let digest = pcrs.get(PcrIndex::new(pcr).unwrap()).unwrap();
        format!("tpm.pcr.{pcr} = \"{}\"", hex::encode(digest.as_bytes()))
    });
    let demands = format!(
        "snp.id_key_digest = \"{}\"\nsnp.tcb.reported.snp = {{ at_least = 24 }}\n{}",
        spec.snp.id_key_digest,
        pinned.join("\n")
    );
    let facts = |verified: &Verified<AzureClaims>| facts::azure(&verified.claims().into());
    match attack.refused_as {
        Some(BY_POLICY) => {
            assert_refused("azure", "azure.instance", &demands, &facts(&before), &facts(&after.unwrap()));
        }
        Some(code) => assert_eq!(after.map(drop), Err(code)),
        None => assert_same_node("azure", "azure.instance", &demands, &facts(&before), &facts(&after.unwrap())),
    }
}

crate::refused! { GuestKind::Azure, refuse;
    tampered_image secure_boot_off other_paravisor old_tcb debug asked_by_the_guest own_runtime_data own_key
    longer_report_data other_hash other_size bytes_behind_report unknown_version older_version
    older_version_replayed own_root other_chip replayed_quote other_selection no_pcrs tampered_quote event_omitted
    event_of_another_digest event_log_cut certificate_of_another_key own_authority expired_certificate certificate_for_encryption
    certificate_of_an_authority relayed
}
