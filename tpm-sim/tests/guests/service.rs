//! The vendors' service: what our endorser and other people's tools ask of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use holdfast_evidence::snp::{Product, TcbOf, VekKind, kds};
use holdfast_evidence::tdx::{CollateralParts, PckCa, PlatformKind};
use holdfast_tpm_sim::guest::amd::SnpSpec;
use holdfast_tpm_sim::guest::{GuestKind, GuestSpec, Lab, Service, asked_file, faults_file, vendors};

/// A lab with one guest of each kind that needs a service, and its service.
fn service() -> (tempfile::TempDir, Lab, Service) {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::open(directory.path());
    let mut spec = GuestSpec::new(GuestKind::Snp);
    if let GuestSpec::Snp(snp) = &mut spec {
        snp.certificates = false;
    }
    lab.launch("snp-0", &spec).unwrap();
    lab.launch("snp-1", &GuestSpec::Snp(Box::new(SnpSpec::of("Turin")))).unwrap();
    lab.launch("tdx-0", &GuestSpec::new(GuestKind::Tdx)).unwrap();
    let service = Service::start_in(directory.path(), 0, vendors(lab.clone())).unwrap();
    (directory, lab, service)
}

/// Status, headers, body.
fn get(service: &Service, target: &str) -> (u16, String, Vec<u8>) {
    let address = service.url().replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return (0, String::new(), answer);
    };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

#[test]
fn a_chips_certificate_is_found_where_amd_has_it() {
    let (_directory, lab, service) = service();
    for (name, product) in [("snp-0", Product::Milan), ("snp-1", Product::Turin)] {
        let guests = lab.guests().unwrap();
        let guest = guests.iter().find(|guest| guest.directory().ends_with(name)).unwrap();
        let GuestSpec::Snp(spec) = guest.spec().unwrap() else { panic!("no SNP guest") };
        let (report, _) = lab.amd(&spec.product).unwrap().attest(&spec, &[7; 64]).unwrap();
        let report = holdfast_evidence::snp::Report::parse(&report).unwrap();
        let tcb = report.tcb(TcbOf::Reported, product.layout()).unwrap();
        let (status, _, vek) = get(&service, &kds::vcek_path(product, &report.chip_id(), &tcb));
        assert_eq!(status, 200);
        let vek = holdfast_evidence::snp::Vek::parse(&vek).unwrap();
        assert_eq!((vek.kind, vek.product, vek.tcb), (VekKind::Vcek, product, tcb));
        let (status, _, chain) = get(&service, &kds::chain_path(VekKind::Vcek, product));
        assert_eq!((status, holdfast_evidence::snp::bundle(&chain).unwrap().len()), (200, 2));
        let (status, _, list) = get(&service, &kds::crl_path(VekKind::Vcek, product));
        assert_eq!(status, 200);
        holdfast_evidence::x509::Roots::new().add_crl(&list).unwrap();
        // a chip that no guest runs on
        let (status, ..) = get(&service, &kds::vcek_path(product, &[9; 64], &tcb));
        assert_eq!(status, 404);
    }
    assert_eq!(get(&service, "/vcek/v1/Genoa/cert_chain").0, 404, "nobody runs on it");
}

#[test]
fn a_platforms_collateral_is_found_where_intel_and_its_caches_have_it() {
    let (_directory, _lab, service) = service();
    let mut parts = CollateralParts::new();
    for (path, chain) in [
        ("/tdx/certification/v4/tcb?fmspc=90c06f000000&update=standard", Some("TCB-Info-Issuer-Chain: ")),
        ("/tdx/certification/v4/qe/identity?update=standard", Some("SGX-Enclave-Identity-Issuer-Chain: ")),
        ("/sgx/certification/v4/pckcrl?ca=platform&encoding=der", Some("SGX-PCK-CRL-Issuer-Chain: ")),
        ("/sgx/certification/v4/rootcacrl", None),
    ] {
        let (status, head, body) = get(&service, path);
        assert_eq!(status, 200, "{path}");
        parts.add(&body).unwrap();
        if let Some(chain) = chain {
            let value = head.lines().find_map(|line| line.strip_prefix(chain)).unwrap();
            parts.add(value.as_bytes()).unwrap();
        }
    }
    let fmspc = [0x90, 0xc0, 0x6f, 0, 0, 0];
    parts.collateral(PlatformKind { fmspc, ca: PckCa::Platform }).unwrap();
    assert_eq!(get(&service, "/tdx/certification/v4/tcb?fmspc=000000000000").0, 404);
}

#[test]
fn another_process_tells_it_what_goes_wrong_and_reads_what_it_was_asked() {
    let (directory, _lab, service) = service();
    let path = "/vcek/v1/Milan/cert_chain";
    std::fs::write(faults_file(directory.path()), "error:503@/vcek*1\n").unwrap();
    assert_eq!(get(&service, path).0, 503);
    assert_eq!(get(&service, path).0, 200);
    std::fs::write(faults_file(directory.path()), "limit:60s@/vcek").unwrap();
    assert_eq!(get(&service, path).0, 200);
    let (status, head, _) = get(&service, path);
    assert_eq!((status, head.contains("Retry-After: 60")), (429, true));
    std::fs::write(faults_file(directory.path()), "").unwrap();
    assert_eq!(get(&service, path).0, 200);
    let asked = std::fs::read_to_string(asked_file(directory.path())).unwrap();
    assert_eq!(asked.lines().collect::<Vec<_>>(), vec![format!("GET {path}"); 5]);
}
