//! `/dev/sev-guest` (drivers/virt/coco/sev-guest, Documentation/virt/coco/sev-guest.rst): the extended report.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_evidence::snp::REPORT_BYTES;

use crate::ioctl::{self, SnpAnswer};

/// SEV_FW_BLOB_MAX_SIZE: the largest certificate buffer that the driver takes. A whole number of pages.
const CERTIFICATE_BYTES_MAX: usize = 0x4000;
/// `struct snp_report_resp`: status, size and 24 reserved bytes before the report.
const RESPONSE_BYTES: usize = 4000;
const REPORT_AT: usize = 32;
/// Privilege levels of a guest.
const LEVELS: std::ops::RangeInclusive<u32> = 0..=3;
/// SNP_GUEST_VMM_ERR_INVALID_LEN and _BUSY, in the upper half of the error.
const CERTIFICATES_DO_NOT_FIT: u64 = 1 << 32;
const BUSY: u64 = 2 << 32;
/// SEV_RET_INVALID_PARAM, in the lower half: a level that this guest may not ask for.
const INVALID_PARAMETER: u64 = 0x16;
/// Tries while the host throttles, and the pause between them.
const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// What one call on the device came back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedReport {
    /// `struct snp_report_resp`, or what the system call returned instead.
    pub response: Result<Vec<u8>, i32>,
    /// The firmware's error in the lower half, the hypervisor's in the upper.
    pub exit_info: u64,
    /// The certificate buffer; zeros where the host gave none.
    pub certificates: Vec<u8>,
}

/// The device, call by call.
pub trait SevGuest: Send + Sync {
    /// `SNP_GET_EXT_REPORT` with a certificate buffer of `room` bytes.
    ///
    /// # Errors
    /// The system's, where the device cannot be opened.
    fn extended_report(&self, user_data: &[u8; 64], vmpl: u32, room: usize) -> io::Result<ExtendedReport>;
}

/// Why the device made no report.
#[derive(Debug, thiserror::Error)]
pub enum SevGuestFault {
    /// It cannot be opened.
    #[error("SEV guest device cannot be opened")]
    Open(#[source] io::Error),
    /// The kernel, the hypervisor or the firmware refused.
    #[error(
        "SEV guest device made no report: errno {errno}, firmware error {firmware:#x}, hypervisor error {hypervisor:#x}"
    )]
    Refused {
        /// What the system call returned.
        errno: i32,
        /// AMD 56860, status codes.
        firmware: u32,
        /// GHCB specification.
        hypervisor: u32,
    },
    /// The answer holds no report.
    #[error("SEV guest device answered with status {status:#x} and {size} bytes, expected 1184")]
    Answer {
        /// MSG_REPORT_RSP.
        status: u32,
        /// As above.
        size: u32,
    },
}

impl SevGuestFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open(_) => "agent.sev_guest.open",
            Self::Refused { .. } => "agent.sev_guest.refused",
            Self::Answer { .. } => "agent.sev_guest.answer",
        }
    }
}

/// The device at a path.
#[must_use]
pub fn sev_guest(path: &Path) -> Arc<dyn SevGuest> {
    Arc::new(Kernel(path.to_owned()))
}

struct Kernel(PathBuf);

impl SevGuest for Kernel {
    fn extended_report(&self, user_data: &[u8; 64], vmpl: u32, room: usize) -> io::Result<ExtendedReport> {
        let device = File::options().read(true).write(true).open(&self.0)?;
        let mut response = Box::new([0; RESPONSE_BYTES]);
        let mut certificates = vec![0; room];
        let SnpAnswer { returned, exit_info, .. } =
            ioctl::snp_ext_report(device.as_fd(), user_data, vmpl, &mut response, &mut certificates);
        let response = returned.map(|()| response.to_vec()).map_err(rustix::io::Errno::raw_os_error);
        Ok(ExtendedReport { response, exit_info, certificates })
    }
}

/// Report and certificate table, at the lowest level that the guest may ask for.
pub(super) fn report(device: &dyn SevGuest, user_data: &[u8; 64]) -> Result<(Vec<u8>, Vec<u8>), SevGuestFault> {
    let mut levels = LEVELS;
    let (mut level, mut room, mut tries) = (0, CERTIFICATE_BYTES_MAX, 0);
    loop {
        tries += 1;
        let answer = device.extended_report(user_data, level, room).map_err(SevGuestFault::Open)?;
        let errno = match answer.response {
            Ok(response) => return taken(&response).map(|report| (report, table(answer.certificates))),
            Err(errno) => errno,
        };
        let (firmware, hypervisor) = (answer.exit_info & 0xffff_ffff, answer.exit_info & !0xffff_ffff);
        if hypervisor == BUSY && tries < TRIES_MAX {
            std::thread::sleep(PAUSE);
        } else if hypervisor == CERTIFICATES_DO_NOT_FIT && room > 0 {
            // The driver takes no larger buffer: the server must find the certificates elsewhere.
            room = 0;
        } else if let (INVALID_PARAMETER, Some(next)) = (firmware, levels.find(|next| *next > level)) {
            level = next;
        } else {
            let part = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
            return Err(SevGuestFault::Refused { errno, firmware: part(firmware), hypervisor: part(hypervisor >> 32) });
        }
    }
}

/// The report in a `struct snp_report_resp`.
fn taken(response: &[u8]) -> Result<Vec<u8>, SevGuestFault> {
    let field =
        |at: usize| response.get(at..).and_then(<[u8]>::first_chunk).map_or(u32::MAX, |four| u32::from_le_bytes(*four));
    let (status, size) = (field(0), field(4));
    match response.get(REPORT_AT..REPORT_AT + REPORT_BYTES) {
        Some(report) if status == 0 && usize::try_from(size) == Ok(REPORT_BYTES) => Ok(report.to_vec()),
        _ => Err(SevGuestFault::Answer { status, size }),
    }
}

/// The certificate buffer without what the driver left zero; empty where it is all zero.
fn table(mut buffer: Vec<u8>) -> Vec<u8> {
    let used = buffer.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    buffer.truncate(used);
    buffer
}
