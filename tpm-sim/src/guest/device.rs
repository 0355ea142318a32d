//! The guest's device on a Unix socket: configfs-tsm's files for SNP and TDX, the NSM's CBOR for Nitro. The protocol is
//! described in `docs/tpm-sim.md`; it carries what the kernel's own interface carries, and nothing that anybody would
//! trust.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::amd::SnpSpec;
use super::lab::Lab;
use super::nitro;
use super::place::{Guest, GuestSpec};
use super::tdx::TdxSpec;
use super::tsm::{EIO, Provider, Request, Tsm};
use crate::error::{SimError, file};

/// Bytes of the longest frame.
const FRAME_MAX: usize = 64 << 10;

/// A guest's device.
pub struct Device {
    lab: Lab,
    guest: Guest,
    tsm: Mutex<Tsm>,
}

/// A device that answers; dropping this takes its socket away.
#[derive(Debug)]
pub struct Running {
    socket: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Device {
    /// The device of `guest`, whose vendor is in `lab`.
    #[must_use]
    pub fn new(lab: Lab, guest: Guest) -> Self {
        Self { lab, guest, tsm: Mutex::default() }
    }

    /// Answers on the guest's socket until the process ends.
    ///
    /// # Errors
    /// [`SimError::File`] if the socket cannot be made.
    pub fn start(self) -> Result<Running, SimError> {
        let socket = self.guest.socket();
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(file("listen on", &socket))?;
        let device = Arc::new(self);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let device = Arc::clone(&device);
                thread::spawn(move || device.serve(stream));
            }
        });
        Ok(Running { socket })
    }

    fn serve(&self, mut stream: UnixStream) {
        while let Some(request) = read_frame(&mut stream) {
            let Some(answer) = self.answer(&request) else { return };
            let length = u32::try_from(answer.len()).unwrap_or(u32::MAX).to_be_bytes();
            if stream.write_all(&length).and_then(|()| stream.write_all(&answer)).is_err() {
                return;
            }
        }
    }

    /// The answer to one frame; `None` for what is none.
    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let spec = self.guest.spec().ok()?;
        let provider: &dyn Provider = match &spec {
            GuestSpec::Nitro(spec) => {
                let hypervisor = self.lab.hypervisor().ok()?;
                return nitro::answer(spec, &hypervisor, request).ok();
            }
            GuestSpec::Snp(spec) => &Snp { lab: &self.lab, spec },
            GuestSpec::Tdx(spec) => &Tdx { lab: &self.lab, spec },
            GuestSpec::NitroTpm(_) | GuestSpec::Azure(_) | GuestSpec::Gcp(_) => return None,
        };
        // A poisoned lock only means that another thread panicked; the map is whole.
        let mut tsm = self.tsm.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match tsm.run(Request::read(request)?, provider) {
            Ok(data) => [&0_u32.to_be_bytes()[..], &data].concat(),
            Err(errno) => errno.to_be_bytes().to_vec(),
        })
    }
}

struct Snp<'a> {
    lab: &'a Lab,
    spec: &'a SnpSpec,
}

impl Provider for Snp<'_> {
    fn name(&self) -> &'static str {
        "sev_guest"
    }

    fn has_levels(&self) -> bool {
        true
    }

    fn report(&self, inblob: &[u8; 64], privlevel: Option<u32>) -> Result<(Vec<u8>, Option<Vec<u8>>), u32> {
        let spec = SnpSpec { vmpl: privlevel.unwrap_or_default().max(self.spec.vmpl), ..self.spec.clone() };
        let made = self.lab.amd(&spec.product).and_then(|amd| amd.attest(&spec, inblob)).map_err(noted)?;
        Ok((made.0, Some(made.1)))
    }
}

struct Tdx<'a> {
    lab: &'a Lab,
    spec: &'a TdxSpec,
}

impl Provider for Tdx<'_> {
    fn name(&self) -> &'static str {
        "tdx_guest"
    }

    fn has_levels(&self) -> bool {
        false
    }

    fn report(&self, inblob: &[u8; 64], _: Option<u32>) -> Result<(Vec<u8>, Option<Vec<u8>>), u32> {
        let quote = self.lab.intel().and_then(|intel| intel.quote(self.spec, inblob)).map_err(noted)?;
        Ok((quote, None))
    }
}

fn noted(error: SimError) -> u32 {
    tracing::warn!(%error, "no report");
    EIO
}

fn read_frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length <= FRAME_MAX)?;
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}
