//! The system call: one CBOR request in, one CBOR answer out. On upstream's driver (Linux 6.8) it needs CAP_SYS_ADMIN,
//! which root has inside an enclave.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::NsmFault;
use crate::collect::simulated::SimulatedDevice;
use crate::collect::sources::Place;
use crate::ioctl;

/// Limits of the driver.
const REQUEST_BYTES_MAX: usize = 0x1000;
const RESPONSE_BYTES_MAX: usize = 0x3000;

/// A Nitro Secure Module.
pub trait NsmDevice: Send + Sync {
    /// Sends a request, and returns its answer.
    ///
    /// # Errors
    /// [`NsmFault::Io`].
    fn request(&self, request: &[u8]) -> Result<Vec<u8>, NsmFault>;
}

/// The module at a place. Opens nothing yet.
#[must_use]
pub fn device(place: &Place) -> Arc<dyn NsmDevice> {
    match place {
        Place::Path(path) => Arc::new(Kernel(path.clone())),
        Place::Simulated(socket) => {
            Arc::new(Simulated { place: place.to_string(), device: SimulatedDevice::new(socket) })
        }
    }
}

struct Kernel(PathBuf);

impl NsmDevice for Kernel {
    fn request(&self, request: &[u8]) -> Result<Vec<u8>, NsmFault> {
        let fault = |source| NsmFault::Io { place: self.0.display().to_string(), source };
        if request.len() > REQUEST_BYTES_MAX {
            return Err(fault(io::ErrorKind::InvalidInput.into()));
        }
        let device = File::options().read(true).write(true).open(&self.0).map_err(fault)?;
        let mut response = vec![0; RESPONSE_BYTES_MAX];
        let length = ioctl::nsm_raw(device.as_fd(), request, &mut response).map_err(|errno| fault(errno.into()))?;
        response.truncate(length);
        Ok(response)
    }
}

struct Simulated {
    place: String,
    device: SimulatedDevice,
}

impl NsmDevice for Simulated {
    fn request(&self, request: &[u8]) -> Result<Vec<u8>, NsmFault> {
        self.device.exchange(request).map_err(|source| NsmFault::Io { place: self.place.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_none_says_what_the_system_said() {
        let errno = |path: &str| match device(&Place::Path(path.into())).request(b"\x6bDescribeNSM") {
            Err(NsmFault::Io { source, place }) => {
                assert_eq!(place, path);
                source.raw_os_error()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((errno("/dev/null"), errno("/dev/no-such-device")), (Some(25), Some(2)));
    }

    #[test]
    fn a_simulator_answers_in_place_of_the_device() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("s");
        crate::collect::simulated::tests::serve(&socket, |request| [request, b"!"].concat());
        assert_eq!(device(&Place::Simulated(socket)).request(b"\xf6").unwrap(), b"\xf6!");
    }
}
