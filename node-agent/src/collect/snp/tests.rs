//! The collector against the kernel's report interface, and against the device where there is none.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::super::tsm::TsmFiles;
use super::super::tsm::kernel::Kernel;
use super::*;

const BINDING: Signed = Signed { binding: [5; 32], nonce: [6; 32] };

/// A report with `report_data` where it belongs.
fn made(report_data: &[u8], level: u8) -> Vec<u8> {
    let mut report = vec![0; REPORT_BYTES];
    report[0x30] = level;
    report[0x50..0x90].copy_from_slice(report_data);
    report
}

/// Answers each call with what stands in front, and else as a host without certificates does.
#[derive(Default)]
struct Device {
    answers: Mutex<VecDeque<ExtendedReport>>,
    calls: Mutex<Vec<(u32, usize)>>,
}

fn refused(errno: i32, exit_info: u64) -> ExtendedReport {
    ExtendedReport { response: Err(errno), exit_info, certificates: Vec::new() }
}

impl SevGuest for Device {
    fn extended_report(&self, user_data: &[u8; 64], vmpl: u32, room: usize) -> io::Result<ExtendedReport> {
        self.calls.lock().unwrap().push((vmpl, room));
        if let Some(answer) = self.answers.lock().unwrap().pop_front() {
            return Ok(answer);
        }
        let mut response = vec![0; 4000];
        response[4..8].copy_from_slice(&1184_u32.to_le_bytes());
        response[32..32 + REPORT_BYTES].copy_from_slice(&made(user_data, vmpl as u8));
        let mut certificates = b"table".to_vec();
        certificates.resize(room, 0);
        Ok(ExtendedReport { response: Ok(response), exit_info: 0, certificates })
    }
}

fn kernel(provider: Option<&'static str>) -> Kernel {
    Kernel { provider, ..Kernel::new("sev_guest", |inblob, level| (made(inblob, level as u8), b"auxblob".to_vec())) }
}

async fn item(kernel: Kernel, device: Arc<Device>) -> Result<(Vec<u8>, Vec<u8>), CollectFault> {
    let files: Arc<dyn TsmFiles> = Arc::new(kernel);
    let collector = SnpCollector::new(Tsm::new(files), device);
    let bytes = collector.prepare(&[], Extras::default()).await?.finish(BINDING).await?;
    let SnpItem { report, certificates: table } = SnpItem::parse(&bytes).unwrap();
    Ok((report.to_vec(), table.to_vec()))
}

#[tokio::test]
async fn the_binding_stands_in_the_report_datas_first_half_and_zeros_in_the_second() {
    let (report, table) = item(kernel(Some("sev_guest")), Arc::default()).await.unwrap();
    assert_eq!(
        (&report[0x50..0x70], &report[0x70..0x90], table.as_slice()),
        (&[5; 32][..], &[0; 32][..], &b"auxblob"[..])
    );
}

#[tokio::test]
async fn where_the_kernel_has_no_provider_the_device_is_asked() {
    let device = Arc::new(Device::default());
    let (report, table) = item(kernel(None), Arc::clone(&device)).await.unwrap();
    assert_eq!((&report[0x50..0x70], table.as_slice()), (&[5; 32][..], &b"table"[..]));
    assert_eq!(*device.calls.lock().unwrap(), [(0, 0x4000)]);
}

#[tokio::test]
async fn the_device_is_waited_for_asked_without_certificates_and_at_the_guests_level() {
    let device = Arc::new(Device::default());
    device.answers.lock().unwrap().extend([refused(11, 2 << 32), refused(5, 1 << 32), refused(5, 0x16)]);
    let (report, table) = item(kernel(None), Arc::clone(&device)).await.unwrap();
    assert_eq!((report[0x30], table.as_slice()), (1, &b""[..]));
    assert_eq!(*device.calls.lock().unwrap(), [(0, 0x4000), (0, 0x4000), (0, 0), (1, 0)]);
}

#[tokio::test]
async fn a_device_that_refuses_or_answers_with_something_else_is_a_fault() {
    for (answer, code) in [
        (refused(5, 0x1f), "agent.sev_guest.refused"),
        (ExtendedReport { response: Ok(vec![0; 4000]), exit_info: 0, certificates: vec![] }, "agent.sev_guest.answer"),
        (ExtendedReport { response: Ok(vec![]), exit_info: 0, certificates: vec![] }, "agent.sev_guest.answer"),
    ] {
        let device = Arc::new(Device::default());
        device.answers.lock().unwrap().push_back(answer);
        assert_eq!(item(kernel(None), device).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn a_report_of_another_length_is_not_sent() {
    let kernel = Kernel::new("sev_guest", |_, _| (vec![0; 1024], Vec::new()));
    assert_eq!(item(kernel, Arc::default()).await.unwrap_err().code(), "agent.collect.form");
}

#[tokio::test]
async fn a_tdx_guest_makes_no_snp_report() {
    assert_eq!(item(kernel(Some("tdx_guest")), Arc::default()).await.unwrap_err().code(), "agent.tsm.provider");
}
