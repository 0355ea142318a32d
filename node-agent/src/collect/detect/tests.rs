//! Machines without anything, and with a device that a simulator answers for.

use std::path::PathBuf;

use super::*;
use crate::collect::simulated::tests::serve;
use crate::tpm::Interface;

fn nothing() -> Sources {
    Sources {
        wanted: Wanted::Auto,
        tsm: Place::Path("/nowhere/tsm".into()),
        sev_guest: "/nowhere/sev-guest".into(),
        tdx_event_log: "/nowhere/CCEL".into(),
        nsm: Place::Path("/nowhere/nsm".into()),
        nitrotpm_program: None,
        azure_imds: "http://127.0.0.1:1".parse().unwrap(),
    }
}

fn access(device: &str) -> Access {
    Access {
        interface: Interface::Device(PathBuf::from(device)),
        ak_handle: 0x8148_4600,
        node_key_handle: 0x8148_4601,
        owner_auth: None,
        endorsement_auth: None,
        ownership: crate::tpm::Ownership::default(),
    }
}

fn state(detection: &Detection, kind: EvidenceKind) -> &State {
    &detection.0.iter().find(|finding| finding.kind == kind).unwrap().state
}

#[test]
fn a_machine_without_anything_says_so_for_every_kind() {
    let detection = detect(&nothing(), &access("/nowhere/tpm"));
    assert_eq!(detection.0.iter().map(|finding| finding.kind).collect::<Vec<_>>(), EvidenceKind::ALL);
    for finding in &detection.0 {
        let State::Absent { reason, .. } = &finding.state else { panic!("{finding:?}") };
        assert!(reason.contains("/nowhere/"), "{reason}");
    }
    assert_eq!(detection.chosen(&Wanted::Auto).unwrap_err().code(), "agent.collect.nothing");
    assert_eq!(detection.chosen(&"snp".parse().unwrap()).unwrap(), [EvidenceKind::Snp]);
}

#[test]
fn a_tpm_that_does_not_answer_is_not_passed_over() {
    let detection = detect(&nothing(), &access("/dev/null"));
    assert!(matches!(state(&detection, EvidenceKind::Tpm), State::Broken { .. }), "{detection:?}");
    assert!(matches!(state(&detection, EvidenceKind::Gcp), State::Absent { .. }), "{detection:?}");
    assert_eq!(detection.chosen(&Wanted::Auto).unwrap_err().code(), "agent.collect.broken");
}

#[test]
fn the_kernels_provider_tells_snp_from_tdx() {
    for (provider, there, other) in
        [("sev_guest", EvidenceKind::Snp, EvidenceKind::Tdx), ("tdx_guest", EvidenceKind::Tdx, EvidenceKind::Snp)]
    {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("s");
        serve(&socket, move |request| match request.first() {
            Some(3) => [&[0; 4], provider.as_bytes(), b"\n"].concat(),
            _ => vec![0; 4],
        });
        let detection = detect(&Sources { tsm: Place::Simulated(socket), ..nothing() }, &access("/nowhere/tpm"));
        assert!(state(&detection, there).is_available(), "{detection:?}");
        assert!(matches!(state(&detection, other), State::Absent { .. }), "{detection:?}");
        assert_eq!(detection.chosen(&Wanted::Auto).unwrap(), [there]);
    }
}

/// Arm's realms have the same interface: that is neither technology, and nothing of it is broken.
#[test]
fn a_provider_that_is_not_known_is_neither_and_breaks_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (socket, module) = (place.path().join("s"), place.path().join("n"));
    serve(&socket, |request| match request.first() {
        Some(3) => b"\0\0\0\0arm_cca_guest\n".to_vec(),
        _ => vec![0; 4],
    });
    serve(&module, |_| b"\xa1\x6bDescribeNSM\xa1\x69module_id\x65i-enc".to_vec());
    let sources = Sources { tsm: Place::Simulated(socket), nsm: Place::Simulated(module), ..nothing() };
    let detection = detect(&sources, &access("/nowhere/tpm"));
    for kind in [EvidenceKind::Snp, EvidenceKind::Tdx] {
        let State::Absent { reason, .. } = state(&detection, kind) else { panic!("{detection:?}") };
        assert!(reason.ends_with("is arm_cca_guest"), "{reason}");
    }
    assert_eq!(detection.chosen(&Wanted::Auto).unwrap(), [EvidenceKind::Nitro]);
}

#[test]
fn an_interface_without_provider_leaves_the_device() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    serve(&socket, |_| vec![0, 0, 0, 6]);
    let sources = Sources { tsm: Place::Simulated(socket), ..nothing() };
    let detection = detect(&sources, &access("/nowhere/tpm"));
    assert!(matches!(state(&detection, EvidenceKind::Snp), State::Absent { hint: Some(_), .. }), "{detection:?}");
    let detection = detect(&Sources { sev_guest: "/dev/null".into(), ..sources }, &access("/nowhere/tpm"));
    assert_eq!(state(&detection, EvidenceKind::Snp), &State::Available { by: "/dev/null".to_owned() });
}

#[test]
fn a_report_interface_that_does_not_work_is_broken_for_both() {
    let place = tempfile::tempdir().unwrap();
    let sources = Sources { tsm: Place::Path(place.path().to_owned()), ..nothing() };
    let detection = detect(&sources, &access("/nowhere/tpm"));
    for kind in [EvidenceKind::Snp, EvidenceKind::Tdx] {
        let State::Broken { reason, .. } = state(&detection, kind) else { panic!("{detection:?}") };
        assert!(reason.contains("cannot read provider"), "{reason}");
    }
}

#[test]
fn an_enclaves_module_says_its_name_and_a_file_in_its_place_does_not() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    serve(&socket, |_| b"\xa1\x6bDescribeNSM\xa1\x69module_id\x65i-enc".to_vec());
    let detection = detect(&Sources { nsm: Place::Simulated(socket), ..nothing() }, &access("/nowhere/tpm"));
    let State::Available { by } = state(&detection, EvidenceKind::Nitro) else { panic!("{detection:?}") };
    assert!(by.starts_with("module i-enc at simulator"), "{by}");
    let detection = detect(&Sources { nsm: Place::Path("/dev/null".into()), ..nothing() }, &access("/nowhere/tpm"));
    assert!(matches!(state(&detection, EvidenceKind::Nitro), State::Broken { .. }), "{detection:?}");
}

#[test]
fn a_program_for_nitrotpm_stands_for_its_command() {
    let sources = |program: &str| Sources { nitrotpm_program: Some(program.into()), ..nothing() };
    let detection = detect(&sources("/bin/sh"), &access("/nowhere/tpm"));
    assert!(state(&detection, EvidenceKind::NitroTpm).is_available());
    let detection = detect(&sources("/nowhere/program"), &access("/nowhere/tpm"));
    assert!(matches!(state(&detection, EvidenceKind::NitroTpm), State::Broken { .. }));
}
