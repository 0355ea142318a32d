//! What Intel says about a platform: each status reaches policy under its name, but `Revoked`.

use holdfast_evidence::tdx::{TcbStatus, Unverified};
use holdfast_identity::UnixTime;
use serde_json::json;

use crate::td::{Td, at, check, qe};

fn status(td: &Td) -> TcbStatus {
    td.verify().unwrap_or_else(|error| panic!("{error}")).tcb().status
}

#[test]
fn every_status_of_a_level_is_told_as_it_is() {
    for expected in [
        TcbStatus::UpToDate,
        TcbStatus::SwHardeningNeeded,
        TcbStatus::ConfigurationNeeded,
        TcbStatus::ConfigurationAndSwHardeningNeeded,
        TcbStatus::OutOfDate,
        TcbStatus::OutOfDateConfigurationNeeded,
    ] {
        let td = Td::v4().with(|td| td.tcb_info["tcbLevels"][0]["tcbStatus"] = expected.as_str().into());
        assert_eq!(status(&td), expected);
    }
}

#[test]
fn a_revoked_level_is_refused_wherever_it_is_found() {
    let revoked = "tdx.tcb.revoked";
    check(Td::v4, |td| td.tcb_info["tcbLevels"][0]["tcbStatus"] = "Revoked".into(), revoked);
    check(Td::v4, |td| td.tcb_info["tdxModuleIdentities"][0]["tcbLevels"][0]["tcbStatus"] = "Revoked".into(), revoked);
    check(Td::v4, |td| td.qe_identity["tcbLevels"][0]["tcbStatus"] = "Revoked".into(), revoked);
    // the TCB of today, of a TD that was launched under a good one
    let now = |td: &mut Td| {
        td.put(at::TEE_TCB_SVN2, &[4, 1, 3]);
        td.tcb_info["tdxModuleIdentities"][0]["tcbLevels"][1]["tcbStatus"] = "Revoked".into();
    };
    check(Td::v5, now, revoked);
    assert!(Unverified::TcbRevoked.is_genuine());
}

#[test]
fn a_lower_level_is_told_with_its_advisories_and_date() {
    let td = Td::v4().with(|td| td.extension.cpu_svn[0] = 2);
    let verified = td.verify().unwrap();
    let tcb = verified.tcb();
    assert_eq!(tcb.status, TcbStatus::SwHardeningNeeded);
    assert_eq!(tcb.advisories, ["INTEL-SA-00615", "INTEL-SA-00828"]);
    assert_eq!(tcb.date, UnixTime(1_710_288_000), "2024-03-13");
    assert_eq!(tcb.evaluation_number, 17, "the lower of 18 and 17");
    let td = Td::v4().with(|td| td.extension.pce_svn = 10);
    assert_eq!(td.verify().unwrap().tcb().status, TcbStatus::OutOfDate);
    assert_eq!(td.verify().unwrap().tcb().date, UnixTime(1_515_024_000), "2018-01-04");
}

#[test]
fn module_and_quoting_enclave_count_too() {
    let old_module = Td::v4().with(|td| td.body[at::TEE_TCB_SVN] = 3);
    let verified = old_module.verify().unwrap();
    assert_eq!((verified.tcb().status, verified.tcb().date), (TcbStatus::OutOfDate, UnixTime(1_710_288_000)));
    let old_qe = Td::v4().with(|td| td.qe_report[qe::ISVSVN] = 4);
    let verified = old_qe.verify().unwrap();
    let tcb = verified.tcb();
    assert_eq!((tcb.status, tcb.qe_status), (TcbStatus::OutOfDate, TcbStatus::OutOfDate));
    assert_eq!(tcb.advisories, ["INTEL-SA-00837"]);
    assert_eq!(tcb.date, UnixTime(1_710_288_000), "the oldest of all, or a grace period would forget the QE");
}

#[test]
fn a_td_that_outlived_an_update_is_advised_to_relaunch() {
    let td = Td::v5().with(|td| td.body[at::TEE_TCB_SVN] = 3);
    assert_eq!(status(&td), TcbStatus::TdRelaunchAdvised);
    let td = Td::v5().with(|td| td.body[at::TEE_TCB_SVN2] = 3);
    assert_eq!(status(&td), TcbStatus::UpToDate, "Intel judges by the launch");
    let td = Td::v5().with(|td| {
        td.body[at::TEE_TCB_SVN] = 3;
        td.tcb_info["tcbLevels"][0]["tcbStatus"] = "ConfigurationNeeded".into();
    });
    assert_eq!(status(&td), TcbStatus::TdRelaunchAdvisedConfigurationNeeded);
}

#[test]
fn a_platform_below_every_level_is_refused() {
    check(Td::v4, |td| td.extension.pce_svn = 4, "tdx.tcb.no_level");
    check(Td::v4, |td| td.body[at::TEE_TCB_SVN + 2] = 1, "tdx.tcb.no_level");
    check(Td::v5, |td| td.body[at::TEE_TCB_SVN2 + 2] = 1, "tdx.tcb.no_level");
    check(Td::v4, |td| td.tcb_info["tcbLevels"] = json!([]), "tdx.tcb.no_level");
}

#[test]
fn a_module_that_nobody_knows_is_refused() {
    check(Td::v4, |td| td.body[at::TEE_TCB_SVN + 1] = 7, "tdx.tcb.module");
    check(Td::v4, |td| td.body[at::TEE_TCB_SVN] = 2, "tdx.tcb.module");
    check(Td::v4, |td| td.tcb_info["tdxModuleIdentities"][0]["mrsigner"] = "11".repeat(48).into(), "tdx.tcb.module");
}

#[test]
fn what_only_dcap_qvl_refuses_is_told_in_its_words() {
    let refused = Td::v4().with(|td| td.qe_report[qe::ISVSVN] = 3).verify().unwrap_err();
    assert_eq!(refused.code(), "tdx.dcap");
    assert!(refused.to_string().contains("ISVSVN") || refused.to_string().contains("QE"), "{refused}");
    check(Td::v4, |td| td.tcb_info["tcbLevels"][0]["tcbStatus"] = "Marvellous".into(), "tdx.dcap");
    check(Td::v4, |td| td.authentication_data = vec![1; 31], "tdx.dcap");
}
