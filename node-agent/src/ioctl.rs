//! The three device calls that no safe crate wraps: `/dev/nsm`, `/dev/sev-guest` and `/dev/tdx_guest`. The only unsafe code of the library;
//! everything that thinks is above it.
//!
//! The first two carry addresses of our own buffers as plain numbers. What makes that sound: the buffers are borrowed
//! for the whole call, their true lengths stand beside the addresses, the calls are synchronous, and the kernel writes
//! within the lengths that it was given (drivers/misc/nsm.c, drivers/virt/coco/sev-guest/sev-guest.c).

use std::os::fd::BorrowedFd;

use rustix::io::Result;
use rustix::ioctl::{Updater, ioctl, opcode};

/// `struct nsm_iovec`.
#[repr(C)]
struct NsmVector {
    address: u64,
    length: u64,
}

/// `struct nsm_raw`.
#[repr(C)]
struct NsmRaw {
    request: NsmVector,
    response: NsmVector,
}

/// `NSM_IOCTL_RAW`: sends a CBOR request, and says how many bytes of `response` are the answer.
pub(crate) fn nsm_raw(device: BorrowedFd<'_>, request: &[u8], response: &mut [u8]) -> Result<usize> {
    let mut raw = NsmRaw {
        request: NsmVector { address: request.as_ptr().addr() as u64, length: request.len() as u64 },
        response: NsmVector {
            address: response.as_mut_ptr().expose_provenance() as u64,
            length: response.len() as u64,
        },
    };
    request.as_ptr().expose_provenance();
    // SAFETY: the operation code is that of the structure, which is laid out as in include/uapi/linux/nsm.h; for the
    // addresses in it see above.
    unsafe {
        let update = Updater::<{ opcode::read_write::<NsmRaw>(0x0a, 0) }, NsmRaw>::new(&mut raw);
        ioctl(device, update)?;
    }
    Ok(usize::try_from(raw.response.length).unwrap_or(usize::MAX).min(response.len()))
}

/// `struct snp_ext_report_req`, with `struct snp_report_req` at its start.
#[repr(C)]
struct SnpExtReport {
    user_data: [u8; 64],
    vmpl: u32,
    reserved: [u8; 28],
    certificates_address: u64,
    certificates_length: u32,
}

/// `struct snp_guest_request_ioctl`.
#[repr(C)]
struct SnpRequest {
    message_version: u8,
    request: u64,
    response: u64,
    /// The firmware's error in the lower half, the hypervisor's in the upper.
    exit_info: u64,
}

/// What `SNP_GET_EXT_REPORT` came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnpAnswer {
    /// What the system call returned.
    pub(crate) returned: Result<()>,
    /// The firmware's error in the lower half, the hypervisor's in the upper.
    pub(crate) exit_info: u64,
    /// Bytes that the certificates need, where the hypervisor's error says that they did not fit.
    pub(crate) certificates_length: u32,
}

/// `SNP_GET_EXT_REPORT`. `response` is `struct snp_report_resp`; `certificates` is a whole number of pages.
pub(crate) fn snp_ext_report(
    device: BorrowedFd<'_>,
    user_data: &[u8; 64],
    vmpl: u32,
    response: &mut [u8; 4000],
    certificates: &mut [u8],
) -> SnpAnswer {
    let mut report = SnpExtReport {
        user_data: *user_data,
        vmpl,
        reserved: [0; 28],
        certificates_address: certificates.as_mut_ptr().expose_provenance() as u64,
        certificates_length: u32::try_from(certificates.len()).unwrap_or(u32::MAX),
    };
    let mut request = SnpRequest {
        message_version: 1,
        request: (&raw mut report).expose_provenance() as u64,
        response: response.as_mut_ptr().expose_provenance() as u64,
        exit_info: 0,
    };
    // SAFETY: the operation code is that of the structure, which is laid out as in include/uapi/linux/sev-guest.h; for
    // the addresses in it see above. A length beyond the buffer cannot be given: buffers are far below 4 GiB.
    let returned = unsafe {
        let update = Updater::<{ opcode::read_write::<SnpRequest>(b'S', 2) }, SnpRequest>::new(&mut request);
        ioctl(device, update)
    };
    // SAFETY: `report` is ours; the kernel may have written its length field through the address above.
    let certificates_length = unsafe { (&raw const report.certificates_length).read_volatile() };
    SnpAnswer { returned, exit_info: request.exit_info, certificates_length }
}

/// `struct tdx_report_req`. No addresses: the kernel copies it in and out.
#[repr(C)]
struct TdReport {
    report_data: [u8; 64],
    td_report: [u8; 1024],
}

/// `TDX_CMD_GET_REPORT0`: the TDREPORT that carries `report_data`.
pub(crate) fn td_report(device: BorrowedFd<'_>, report_data: &[u8; 64]) -> Result<[u8; 1024]> {
    let mut report = TdReport { report_data: *report_data, td_report: [0; 1024] };
    // SAFETY: the operation code is that of the structure, which is laid out as in include/uapi/linux/tdx-guest.h, and
    // any bytes are a value of it.
    unsafe {
        let update = Updater::<{ opcode::read_write::<TdReport>(b'T', 1) }, TdReport>::new(&mut report);
        ioctl(device, update)?;
    }
    Ok(report.td_report)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn structures_have_the_sizes_and_codes_of_the_kernels_headers() {
        assert_eq!((size_of::<NsmRaw>(), size_of::<SnpRequest>(), size_of::<SnpExtReport>()), (32, 32, 112));
        assert_eq!(opcode::read_write::<NsmRaw>(0x0a, 0), 0xc020_0a00);
        assert_eq!(opcode::read_write::<SnpRequest>(b'S', 2), 0xc020_5302);
        assert_eq!((size_of::<TdReport>(), opcode::read_write::<TdReport>(b'T', 1)), (1088, 0xc440_5401));
    }

    #[test]
    fn a_file_that_is_no_such_device_says_so() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(nsm_raw(null.as_fd(), &[0], &mut [0; 16]), Err(Errno::NOTTY));
        let answer = snp_ext_report(null.as_fd(), &[0; 64], 0, &mut [0; 4000], &mut []);
        assert_eq!((answer.returned, answer.exit_info), (Err(Errno::NOTTY), 0));
        assert_eq!(td_report(null.as_fd(), &[0; 64]), Err(Errno::NOTTY));
    }
}
