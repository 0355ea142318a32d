//! Guests of both technologies, with and without the kernel's report interface, and hosts that lie.

use super::super::simulated::tests::serve;
use super::super::tsm::kernel::Kernel;
use super::*;

/// A TDREPORT with this MRCONFIGID.
fn td_report(mrconfigid: u8) -> Vec<u8> {
    let mut report = vec![0x55; TD_REPORT_BYTES];
    report[0] = TD;
    report[576..624].fill(mrconfigid);
    report
}

/// The device, answering `report`; or none.
fn device(place: &tempfile::TempDir, report: Option<Vec<u8>>) -> Place {
    let Some(report) = report else { return Place::Path("/nowhere/tdx_guest".into()) };
    let socket = place.path().join("tdx");
    serve(&socket, move |request| {
        assert_eq!(request, [0; 64]);
        report.clone()
    });
    Place::Simulated(socket)
}

/// What a guest with this kernel and this device finds.
fn found(kernel: Kernel, td: Option<Vec<u8>>) -> Result<LaunchValue, CollectFault> {
    let place = tempfile::tempdir().unwrap();
    let tsm = Tsm::new(Arc::new(kernel));
    let snp = SnpCollector::new(tsm.clone(), sev_guest("/nowhere/sev-guest".as_ref()));
    of(&tsm, &snp, &device(&place, td))
}

fn snp_report(host_data: u8) -> Vec<u8> {
    let mut report = vec![0x55; REPORT_BYTES];
    report[0xc0..0xe0].fill(host_data);
    report
}

#[test]
fn host_data_is_the_reports_at_the_level_that_the_guest_runs_at() {
    let kernel = Kernel {
        privlevel_floor: 2,
        ..Kernel::new("sev_guest", |_, level| (snp_report(u8::try_from(level).unwrap()), Vec::new()))
    };
    let value = found(kernel, None).unwrap();
    assert_eq!(value, LaunchValue { fact: "snp.host_data", value: "02".repeat(32) });
}

/// A version 4 quote has MRCONFIGID 232 bytes behind its start, and the host wrote all of it.
#[test]
fn a_quote_that_the_host_made_up_is_not_asked_for() {
    let forged = || {
        let mut quote = vec![0x66; 4096];
        quote[..2].copy_from_slice(&[4, 0]);
        (quote, Vec::new())
    };
    let value = found(Kernel::new("tdx_guest", move |_, _| forged()), Some(td_report(7))).unwrap();
    assert_eq!(value, LaunchValue { fact: "tdx.mrconfigid", value: "07".repeat(48) });
    let fault = found(Kernel::new("tdx_guest", move |_, _| forged()), None).unwrap_err();
    assert_eq!(fault.code(), "agent.tdx_guest.io");
}

#[test]
fn a_kernel_without_report_interface_has_the_device() {
    let none = || Kernel { provider: None, ..Kernel::new("", |_, _| Default::default()) };
    assert_eq!(found(none(), Some(td_report(9))).unwrap().value, "09".repeat(48));
    assert_eq!(found(none(), None).unwrap_err().code(), "agent.collect.nothing");
}

#[test]
fn what_is_no_report_of_its_kind_says_nothing() {
    let tdx = |report| found(Kernel::new("tdx_guest", |_, _| Default::default()), Some(report)).unwrap_err().code();
    let mut enclave = td_report(7);
    enclave[0] = 0;
    let short = td_report(7)[..1023].to_vec();
    for report in [enclave, short, Vec::new()] {
        assert_eq!(tdx(report), "agent.collect.form");
    }
    let short = |_: &[u8], _| (snp_report(7)[..1183].to_vec(), Vec::new());
    assert_eq!(found(Kernel::new("sev_guest", short), None).unwrap_err().code(), "agent.collect.form");
    let other = Kernel::new("arm_cca_guest", |_, _| Default::default());
    assert_eq!(found(other, Some(td_report(7))).unwrap_err().code(), "agent.tsm.provider");
}
