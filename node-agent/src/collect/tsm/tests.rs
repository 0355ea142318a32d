//! Reports, against the kernel's rules.

use std::sync::Arc;

use super::kernel::{EBUSY, Kernel};
use super::*;

const INBLOB: [u8; INBLOB_BYTES] = [7; INBLOB_BYTES];

/// A report that names its inblob and level.
fn sev_guest() -> Kernel {
    Kernel::new("sev_guest", |inblob, level| ([inblob, &[level as u8]].concat(), b"certificates".to_vec()))
}

fn report(kernel: Kernel, provider: Provider) -> (Result<TsmReport, TsmFault>, Arc<Kernel>) {
    let kernel = Arc::new(kernel);
    let files: Arc<dyn TsmFiles> = Arc::<Kernel>::clone(&kernel);
    (Tsm::new(files).report(provider, &INBLOB), kernel)
}

#[test]
fn a_report_carries_what_was_asked_and_its_entry_is_removed() {
    let (made, kernel) = report(sev_guest(), Provider::SevGuest);
    let made = made.unwrap();
    assert_eq!(
        (made.outblob.as_slice(), made.auxblob.as_slice()),
        ([&INBLOB[..], &[0]].concat().as_slice(), &b"certificates"[..])
    );
    assert_eq!(kernel.left(), 0);
}

#[test]
fn a_provider_without_certificates_and_levels_has_none() {
    let (made, _) = report(Kernel::new("tdx_guest", |inblob, _| (inblob.to_vec(), vec![])), Provider::TdxGuest);
    assert_eq!(made.unwrap().auxblob, b"");
}

#[test]
fn a_guest_that_does_not_run_at_level_0_asks_for_its_own() {
    let (made, _) = report(Kernel { privlevel_floor: 2, ..sev_guest() }, Provider::SevGuest);
    assert_eq!(made.unwrap().outblob.last(), Some(&2));
}

#[test]
fn a_busy_kernel_is_waited_for() {
    for attribute in ["inblob", "outblob", "auxblob", "generation"] {
        let kernel = sev_guest();
        kernel.trouble.lock().unwrap().extend([(attribute, EBUSY), (attribute, EBUSY)]);
        assert!(report(kernel, Provider::SevGuest).0.is_ok(), "{attribute}");
    }
}

#[test]
fn a_report_that_somebody_else_wrote_to_is_never_used() {
    let kernel = sev_guest();
    *kernel.rivals.lock().unwrap() = 2;
    let (made, kernel) = report(kernel, Provider::SevGuest);
    assert_eq!(&made.unwrap().outblob[..INBLOB_BYTES], &INBLOB);
    assert_eq!(kernel.left(), 0);

    let kernel = sev_guest();
    *kernel.rivals.lock().unwrap() = u32::MAX;
    let (made, kernel) = report(kernel, Provider::SevGuest);
    assert_eq!((made.unwrap_err().code(), kernel.left()), ("agent.tsm.raced", 0));
}

#[test]
fn faults_say_which_file_and_leave_nothing_behind() {
    let kernel = sev_guest();
    kernel.trouble.lock().unwrap().push_back(("outblob", 5));
    let (made, kernel) = report(kernel, Provider::SevGuest);
    let fault = made.unwrap_err();
    assert_eq!((fault.to_string().as_str(), fault.code()), ("TSM: cannot read outblob", "agent.tsm.io"));
    assert_eq!(kernel.left(), 0);

    let (made, _) = report(Kernel { provider: None, ..sev_guest() }, Provider::SevGuest);
    assert!(matches!(made, Err(TsmFault::Io { source, .. }) if source.raw_os_error() == Some(6)));
}

#[test]
fn another_provider_than_the_one_wanted_is_refused() {
    let (made, _) = report(sev_guest(), Provider::TdxGuest);
    assert_eq!(made.unwrap_err().to_string(), "TSM provider is \"sev_guest\", expected tdx_guest");
    let (made, _) = report(Kernel { provider: Some("cca_guest"), ..sev_guest() }, Provider::SevGuest);
    assert_eq!(made.unwrap_err().code(), "agent.tsm.provider");
}

#[test]
fn an_entry_that_a_killed_process_left_is_passed_over() {
    let kernel = sev_guest();
    kernel.create(&format!("holdfast-{}-0", std::process::id())).unwrap();
    let (made, kernel) = report(kernel, Provider::SevGuest);
    assert!(made.is_ok());
    assert_eq!(kernel.left(), 1);
}
