//! TPMs that hold what Azure and Google leave in theirs, and machines with more than one kind of evidence.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use holdfast_agent::collect::detect::detect;
use holdfast_agent::collect::sources::{Place, Sources, Wanted};
use holdfast_agent::collect::{Assembly, Extras, FirmwareLogFile, Item};
use holdfast_agent::tpm::{Access, Signed};
use holdfast_agent::vtpm::Vtpm;
use holdfast_evidence::binding::{BindingFields, binding_digest};
use holdfast_evidence::reader::Reader;
use holdfast_evidence::tpm::checks;
use holdfast_evidence::tpm::{Attest, AttestationKey, Bank, Body, PcrSelection, PcrSet, Public, Signature, Statement};
use holdfast_evidence::{EvidenceKind, Structure};

use super::machine::Bench;

pub(crate) const NONCE: [u8; 32] = [7; 32];
pub(crate) const SELECTION: PcrSelection = PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE };
/// An attestation key on P-256, as Google's template: `unique` is empty.
pub(crate) const TEMPLATE: &str = "0023000b00050072000000100018000b0003001000000000";

/// Where a machine without anything looks for it.
pub(crate) fn sources(wanted: &str) -> Sources {
    Sources {
        wanted: wanted.parse().unwrap(),
        tsm: Place::Path("/nowhere/tsm".into()),
        sev_guest: "/nowhere/sev-guest".into(),
        tdx_event_log: "/nowhere/CCEL".into(),
        nsm: Place::Path("/nowhere/nsm".into()),
        nitrotpm_program: None,
        azure_imds: "http://127.0.0.1:1".parse().unwrap(),
    }
}

pub(crate) fn assembly(bench: &Bench, access: &Access, sources: Sources) -> Assembly {
    let log = FirmwareLogFile(bench.machine.machine().firmware_log_path());
    Assembly::new(sources, access.clone(), bench.tpm(), log, "td".parse().unwrap(), bench.state())
}

/// The items that answer these asks, and the nonce they were asked under. Kinds that are not asked anything are added.
pub(crate) async fn items(assembly: &Assembly, asks: &[Item]) -> ([u8; 32], Vec<Item>) {
    let gatherer = assembly.gatherer().await.unwrap();
    let ask = |kind| asks.iter().find(|(asked, _)| *asked == kind).map(|(_, ask)| ask.clone()).unwrap_or_default();
    let asks: Vec<Item> = gatherer.kinds().into_iter().map(|kind| (kind, ask(kind))).collect();
    (NONCE, gatherer.items(&asks, &NONCE, Extras::default()).await.unwrap())
}

/// Reads a virtual TPM's part of an item, and checks its quote. Returns certificates and firmware log.
fn quoted(reader: &mut Reader<'_>, binding: impl Fn(&[u8; 32], Option<&[u8; 32]>) -> [u8; 32]) -> usize {
    let count = reader.count8(4, "certificates").unwrap();
    for _ in 0..count {
        reader.sized16(4096, "certificate").unwrap();
    }
    let public = Public::parse(reader.sized16(640, "public").unwrap()).unwrap();
    let (attest, signature) = (reader.sized16(1024, "attest").unwrap(), reader.sized16(1024, "signature").unwrap());
    let log = match reader.u8("log").unwrap() {
        0 => None,
        _ => Some(reader.sized32(1 << 20, "log").unwrap()),
    };
    assert_eq!(reader.u8("claims"), Ok(0));
    assert!(reader.is_empty());

    let key = AttestationKey::check(&public).unwrap();
    let attest = Attest::parse(attest).unwrap();
    let signature = Signature::parse(signature).unwrap();
    checks::signature(Statement::Quote, &key, &attest, &signature).unwrap();
    let Body::Quote(info) = &attest.body else { panic!("not a quote") };
    checks::selection(info, &SELECTION).unwrap();
    let log = log.map(sha256);
    checks::nonce(Statement::Quote, &attest, &binding(&sha256(&public.key().spki()), log.as_ref())).unwrap();
    count
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

/// A certificate of whatever authority for the key of a TPMT_PUBLIC.
pub(crate) fn certificate(public: &[u8]) -> Vec<u8> {
    let authority = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let spki = Public::parse(public).unwrap().key().spki();
    let subject = rcgen::SubjectPublicKeyInfo::from_der(&spki).unwrap();
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), authority);
    rcgen::CertificateParams::default().signed_by(&subject, &issuer).unwrap().der().to_vec()
}

/// Puts bytes into an NV index.
pub(crate) fn put(bench: &Bench, index: u32, attributes: &str, bytes: &[u8]) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("bytes");
    std::fs::write(&file, bytes).unwrap();
    bench.tool(&format!("tpm2_nvdefine -Q {index:#x} -C o -s {} -a {attributes}", bytes.len()));
    bench.tool(&format!("tpm2_nvwrite -Q {index:#x} -C o -i {}", file.display()));
}

/// Azure's attestation key in its handle; returns its TPMT_PUBLIC.
pub(crate) fn azure_key(bench: &Bench) -> Vec<u8> {
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
    bench.tool(&format!("tpm2_createprimary -Q -C e -G rsa2048:rsassa-sha256:null -a {attributes} -c ak.ctx"));
    bench.tool("tpm2_evictcontrol -Q -C o -c ak.ctx 0x81000003");
    bench.tool("tpm2_flushcontext -t");
    Vtpm::open(&bench.access).unwrap().read_public(0x8100_0003).unwrap()
}

/// A report of this kind that says nothing else.
pub(crate) fn hcl_report(kind: u8) -> Vec<u8> {
    let mut report = vec![0; 1900];
    report[..4].copy_from_slice(b"HCLA");
    report[0x20..0x20 + 1024].fill(0x55);
    report[0x4c8] = kind;
    report
}

/// A metadata service that has one answer.
pub(crate) fn metadata_service(body: &'static str) -> hyper::Uri {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        }
    });
    uri
}

fn binding(kind: EvidenceKind, spki: &[u8], ak: &[u8; 32], log: Option<&[u8; 32]>) -> [u8; 32] {
    binding_digest(&BindingFields {
        trust_domain: &"td".parse().unwrap(),
        kinds: &[kind],
        nonce: &NONCE,
        ak_name: ak,
        node_key_spki: spki,
        ek_certificates: &[],
        selection: &SELECTION.encode(),
        firmware_log: log,
        others: &[],
    })
}

pub(crate) fn chosen(sources: &Sources, access: &Access) -> Vec<EvidenceKind> {
    detect(sources, access).chosen(&Wanted::Auto).unwrap()
}

#[tokio::test]
async fn azures_report_comes_with_what_the_metadata_service_says_and_a_quote_by_azures_key() {
    let service = r#"{"vcekCert":"VCEK\n","certificateChain":"CHAIN\n"}"#;
    let quote = r#"{"quote":"UVVPVEU"}"#;
    for (kind, body, hardware) in [(2, service, (1, &b"VCEK\nCHAIN\n"[..])), (4, quote, (2, b"QUOTE"))] {
        let bench = Bench::new();
        azure_key(&bench);
        let report = hcl_report(kind);
        put(&bench, 0x0140_0001, "ownerread|ownerwrite", &report);
        let sources = Sources { azure_imds: metadata_service(body), ..sources("auto") };
        assert_eq!(chosen(&sources, &bench.access), [EvidenceKind::Azure]);

        let assembly = assembly(&bench, &bench.access, sources);
        let (_, items) = items(&assembly, &[(EvidenceKind::Azure, SELECTION.encode())]).await;
        let spki = assembly.gatherer().await.unwrap().node_key().spki().await.unwrap();
        let mut reader = Reader::new(Structure::AzureItem, &items[0].1);
        assert_eq!(reader.u8("version"), Ok(1));
        assert_eq!(reader.sized32(8192, "report"), Ok(report.as_slice()));
        assert_eq!((reader.u8("hardware").unwrap(), reader.sized32(8192, "hardware").unwrap()), hardware);
        assert_eq!(quoted(&mut reader, |ak, log| binding(EvidenceKind::Azure, &spki, ak, log)), 0);
        let loaded = bench.machine.loaded_handles().unwrap();
        assert_eq!((loaded.transient.len(), loaded.sessions.len()), (0, 0));
    }
}

#[tokio::test]
async fn a_trusted_launch_machine_has_a_certificate_in_place_of_a_report() {
    let bench = Bench::new();
    let public = azure_key(&bench);
    put(&bench, 0x01c1_01d0, "authread|ownerwrite", &[certificate(&public), vec![0; 100]].concat());
    assert_eq!(chosen(&sources("auto"), &bench.access), [EvidenceKind::Azure]);
    let assembly = assembly(&bench, &bench.access, sources("azure"));
    let (_, items) = items(&assembly, &[(EvidenceKind::Azure, SELECTION.encode())]).await;
    let spki = assembly.gatherer().await.unwrap().node_key().spki().await.unwrap();
    let mut reader = Reader::new(Structure::AzureItem, &items[0].1);
    reader.u8("version").unwrap();
    assert_eq!((reader.sized32(0, "report"), reader.u8("hardware")), (Ok(&[][..]), Ok(0)));
    assert_eq!(quoted(&mut reader, |ak, log| binding(EvidenceKind::Azure, &spki, ak, log)), 1);
}

#[tokio::test]
async fn a_certificate_for_another_key_does_not_stand_for_azures() {
    let bench = Bench::new();
    azure_key(&bench);
    let other = bench.tpm().identity().await.unwrap().ak_public[2..].to_vec();
    put(&bench, 0x01c1_01d0, "authread|ownerwrite", &certificate(&other));
    let gatherer = assembly(&bench, &bench.access, sources("azure")).gatherer().await.unwrap();
    let asks = [(EvidenceKind::Azure, SELECTION.encode())];
    let fault = gatherer.items(&asks, &NONCE, Extras::default()).await.unwrap_err();
    assert_eq!(fault.code(), "agent.collect.form");
}

#[tokio::test]
async fn googles_key_is_made_from_its_template_for_each_quote() {
    let bench = Bench::new();
    let template = hex::decode(TEMPLATE).unwrap();
    let public =
        Vtpm::open(&bench.access).unwrap().with_primary(&template, |_, _, public| Ok(public.to_vec())).unwrap();
    put(&bench, 0x01c1_0002, "authread|ownerwrite", &certificate(&public));
    put(&bench, 0x01c1_0003, "authread|ownerwrite", &template);
    assert_eq!(chosen(&sources("auto"), &bench.access), [EvidenceKind::Gcp]);

    let assembly = assembly(&bench, &bench.access, sources("gcp"));
    let gatherer = assembly.gatherer().await.unwrap();
    let spki = gatherer.node_key().spki().await.unwrap();
    // Once: list the indices, read certificate and template, make the key and flush it. Then: make, quote, flush. A key
    // without noDA is answered TPM_RC_RETRY at its first use after a start: that quote is sent again.
    for commands in [7 + 3 + 1, 3] {
        bench.commands();
        let (_, items) = items(&assembly, &[(EvidenceKind::Gcp, SELECTION.encode())]).await;
        assert_eq!(bench.commands(), commands);
        assert_eq!(holdfast_evidence::gcp::GcpItem::parse(&items[0].1).unwrap().ak_certificates.len(), 1);
        let mut reader = Reader::new(Structure::GcpItem, &items[0].1);
        reader.u8("version").unwrap();
        assert_eq!(quoted(&mut reader, |ak, log| binding(EvidenceKind::Gcp, &spki, ak, log)), 1);
    }
    let loaded = bench.machine.loaded_handles().unwrap();
    assert_eq!((loaded.transient.len(), loaded.sessions.len()), (0, 0));
}

#[tokio::test]
async fn pcr_values_come_along_where_the_server_wants_them() {
    let bench = Bench::new();
    let mut vtpm = Vtpm::open(&bench.access).unwrap();
    let all = PcrSelection { bank: Bank::Sha256, pcrs: holdfast_evidence::tpm::PcrIndex::all().collect() };
    let values = vtpm.pcr_values(&all).unwrap();
    assert_eq!(values.len(), 24);
    for (pcr, value) in values {
        assert_eq!(value, bench.machine.pcr(holdfast_tpm_sim::Bank::Sha256, pcr.get().into()).unwrap());
    }
}

/// configfs-tsm of an SNP guest behind a simulator's socket: entries with a generation, reports that carry their inblob.
fn tsm(path: &Path) -> Place {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let mut entries: HashMap<Vec<u8>, (u64, Vec<u8>)> = HashMap::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 4];
            while stream.read_exact(&mut length).is_ok() {
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut request).unwrap();
                let entry = request[2..2 + usize::from(request[1])].to_vec();
                let rest = &request[2 + entry.len()..];
                let (attribute, data) = rest[1..].split_at(rest[0].into());
                let held = entries.entry(entry).or_default();
                let answer = match (request[0], attribute) {
                    (2, b"inblob") => {
                        *held = (held.0 + 1, data.to_vec());
                        Some(Vec::new())
                    }
                    (3, b"provider") => Some(b"sev_guest\n".to_vec()),
                    (3, b"generation") => Some(format!("{}\n", held.0).into_bytes()),
                    (3, b"outblob") => Some([&[0; 0x50][..], &held.1, &[0; 1184 - 0x90]].concat()),
                    (3, _) => None,
                    _ => Some(Vec::new()),
                };
                let answer = answer.map_or(vec![0, 0, 0, 2], |data| [vec![0; 4], data].concat());
                stream.write_all(&[&(answer.len() as u32).to_be_bytes(), answer.as_slice()].concat()).unwrap();
            }
        }
    });
    Place::Simulated(path.to_owned())
}

#[tokio::test]
async fn a_machine_with_a_report_and_a_tpm_binds_the_one_to_the_other_and_signs_with_the_tpms_key() {
    let bench = Bench::new();
    let place = tempfile::tempdir().unwrap();
    let sources = Sources { tsm: tsm(&place.path().join("tsm")), ..sources("auto") };
    assert_eq!(chosen(&sources, &bench.access), [EvidenceKind::Snp, EvidenceKind::Tpm]);
    let assembly = assembly(&bench, &bench.access, sources);
    let gatherer = assembly.gatherer().await.unwrap();
    let identity = bench.tpm().identity().await.unwrap();
    assert_eq!(gatherer.node_key().spki().await.unwrap(), identity.node_key_spki);
    let proven = holdfast_evidence::ClaimedKey::from_csr(&gatherer.node_key().request().await.unwrap()).unwrap();
    assert_eq!(proven.spki(), identity.node_key_spki);

    let ask = holdfast_evidence::tpm::Ask {
        credentials: Vec::new(),
        ek_certificates: vec![[3; 32]],
        selection: SELECTION,
        known_firmware_log: None,
        certify: true,
        residency: Vec::new(),
    };
    let (_, items) = items(&assembly, &[(EvidenceKind::Tpm, ask.encode())]).await;
    let [(EvidenceKind::Snp, snp), (EvidenceKind::Tpm, tpm)] = items.as_slice() else { panic!("{items:?}") };
    let log = sha256(&std::fs::read(bench.machine.machine().firmware_log_path()).unwrap());
    let td = "td".parse().unwrap();
    let fields = BindingFields {
        trust_domain: &td,
        kinds: &[EvidenceKind::Snp, EvidenceKind::Tpm],
        nonce: &NONCE,
        ak_name: &holdfast_agent::tpm::name_of(&identity.ak_public).unwrap(),
        node_key_spki: &identity.node_key_spki,
        ek_certificates: &[[3; 32]],
        selection: &SELECTION.encode(),
        firmware_log: None,
        others: &[],
    };
    assert_eq!(snp[3 + 0x50..3 + 0x70], binding_digest(&fields));
    let expected = binding_digest(&BindingFields { firmware_log: Some(&log), others: &[sha256(snp)], ..fields });
    let item = holdfast_evidence::tpm::TpmItem::parse(tpm).unwrap();

    // A server whose policy needs only the report asks for it alone: then nothing of the TPM is bound.
    let alone = gatherer.items(&[(EvidenceKind::Snp, Vec::new())], &NONCE, Extras::default()).await.unwrap();
    let fields =
        BindingFields { kinds: &[EvidenceKind::Snp], ak_name: &[], ek_certificates: &[], selection: &[], ..fields };
    assert_eq!(alone[0].1[3 + 0x50..3 + 0x70], binding_digest(&fields));
    for asks in
        [vec![], vec![EvidenceKind::Gcp], vec![EvidenceKind::Tpm, EvidenceKind::Snp], vec![EvidenceKind::Snp; 2]]
    {
        let asks: Vec<Item> = asks.into_iter().map(|kind| (kind, ask.encode())).collect();
        let fault = gatherer.items(&asks, &NONCE, Extras::default()).await.unwrap_err();
        assert_eq!(fault.code(), "agent.collect.asks");
    }
    for signed in [item.quote, item.certify.unwrap().certify] {
        assert_eq!(Attest::parse(signed.attest).unwrap().extra_data, expected);
    }
}

#[tokio::test]
async fn what_was_admitted_is_remembered_and_what_was_refused_is_looked_at_again() {
    let bench = Bench::new();
    let place = tempfile::tempdir().unwrap();
    let with_report = Sources { tsm: tsm(&place.path().join("tsm")), ..sources("auto") };
    let both = [EvidenceKind::Snp, EvidenceKind::Tpm];
    assembly(&bench, &bench.access, with_report).admitted(&both);

    // The report has gone: still wanted, and a fault where it is gathered.
    let assembly = assembly(&bench, &bench.access, sources("auto"));
    assert_eq!(assembly.gatherer().await.unwrap().kinds(), both);
    assembly.refused().await;
    assert_eq!(assembly.gatherer().await.unwrap().kinds(), [EvidenceKind::Tpm]);
}

/// The library's and the raw commands' answers have one form.
#[tokio::test]
async fn a_raw_quote_is_what_the_library_gives() {
    let bench = Bench::new();
    let tpm = bench.tpm();
    tpm.identity().await.unwrap();
    let ak = super::machine::HANDLES.0;
    let raw = Vtpm::open(&bench.access).unwrap().quote(ak, &[9; 32], &SELECTION).unwrap();
    let library = tpm.quote([9; 32], Bank::Sha256.id(), (0..8).collect()).await.unwrap();
    let form = |signed: &Signed| (signed.attest.len(), signed.signature[..4].to_vec());
    assert_eq!(form(&raw), form(&library));
}

#[test]
fn a_report_is_gathered_into_files_as_they_are_inspected() {
    let place = tempfile::tempdir().unwrap();
    let Place::Simulated(socket) = tsm(&place.path().join("tsm")) else { panic!() };
    let path = |name: &str| place.path().join(name).display().to_string();
    let words = [
        "holdfast-agent",
        "evidence",
        "collect",
        "--evidence",
        "snp",
        "--nonce",
        &hex::encode(NONCE),
        "--to",
        &path("ev"),
        "--data-dir",
        &path("agent"),
        "--tsm-path",
        &format!("sim:{}", socket.display()),
    ]
    .map(std::ffi::OsString::from);
    let _incomplete = holdfast_agent::cli::main(words);
    let report = std::fs::read(place.path().join("ev/snp.report")).unwrap();
    assert_eq!((report.len(), &report[0x50..0x70]), (1184, &NONCE[..]));
    assert_eq!(std::fs::read_to_string(place.path().join("ev/nonce.hex")).unwrap(), hex::encode(NONCE));
    assert!(!place.path().join("ev/snp.certificates").exists(), "this host gives none");
}
