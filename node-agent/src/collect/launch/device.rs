//! `/dev/tdx_guest` (drivers/virt/coco/tdx-guest, include/uapi/linux/tdx-guest.h, Linux 6.2): the TDREPORT, which the TDX
//! module itself writes into the guest's private memory. A quote is something else: the host's service makes it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::collect::simulated::SimulatedDevice;
use crate::collect::sources::Place;
use crate::ioctl;

/// The device, call by call.
pub trait TdxGuest: Send + Sync {
    /// `TDX_CMD_GET_REPORT0`: the TDREPORT that carries `report_data`.
    ///
    /// # Errors
    /// The system's; NotFound where there is no such device.
    fn td_report(&self, report_data: &[u8; 64]) -> io::Result<Vec<u8>>;
}

/// The device at a place. Opens nothing yet.
#[must_use]
pub fn tdx_guest(place: &Place) -> Arc<dyn TdxGuest> {
    match place {
        Place::Path(path) => Arc::new(Kernel(path.clone())),
        Place::Simulated(socket) => Arc::new(Simulated(SimulatedDevice::new(socket))),
    }
}

struct Kernel(PathBuf);

impl TdxGuest for Kernel {
    fn td_report(&self, report_data: &[u8; 64]) -> io::Result<Vec<u8>> {
        let device = File::options().read(true).write(true).open(&self.0)?;
        Ok(ioctl::td_report(device.as_fd(), report_data)?.to_vec())
    }
}

/// The same call, answered by a simulator: report data, 64 bytes; back comes the TDREPORT.
struct Simulated(SimulatedDevice);

impl TdxGuest for Simulated {
    fn td_report(&self, report_data: &[u8; 64]) -> io::Result<Vec<u8>> {
        self.0.exchange(report_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_none_says_what_the_system_said() {
        let errno = |path: &str| tdx_guest(&Place::Path(path.into())).td_report(&[0; 64]).unwrap_err().raw_os_error();
        assert_eq!((errno("/dev/null"), errno("/dev/no-such-device")), (Some(25), Some(2)));
    }

    #[test]
    fn a_simulator_answers_in_place_of_the_device() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("s");
        crate::collect::simulated::tests::serve(&socket, |request| [request, b"!"].concat());
        let answer = tdx_guest(&Place::Simulated(socket)).td_report(&[7; 64]).unwrap();
        assert_eq!(answer, [&[7; 64][..], b"!"].concat());
    }
}
