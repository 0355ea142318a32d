//! The guest's device on a Unix socket: configfs-tsm's files for SNP, the NSM's CBOR for Nitro. The protocol is described
//! in `docs/tpm-sim.md`; it carries what the kernel's own interface carries, and nothing that anybody would trust.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::nitro;
use super::place::{Guest, GuestSpec, Lab};
use crate::error::{SimError, file};

/// Bytes of the longest frame.
const FRAME_MAX: usize = 64 << 10;
const EEXIST: u32 = 17;
const EINVAL: u32 = 22;
const EIO: u32 = 5;
const ENOENT: u32 = 2;

/// A guest's device.
pub struct Device {
    lab: Lab,
    guest: Guest,
    entries: Mutex<HashMap<String, Entry>>,
}

/// One directory below `/sys/kernel/config/tsm/report`.
#[derive(Clone, Debug, Default)]
struct Entry {
    inblob: Option<Vec<u8>>,
    privlevel: u32,
    generation: u64,
    made: Option<(Vec<u8>, Vec<u8>)>,
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
        Self { lab, guest, entries: Mutex::default() }
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

    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        match self.guest.spec().ok()? {
            GuestSpec::Nitro(spec) => nitro::answer(&spec, &self.lab.hypervisor().ok()?, request).ok(),
            GuestSpec::Snp(_) => {
                let answer = match Request::read(request)?.run(self) {
                    Ok(data) => [&0_u32.to_be_bytes()[..], &data].concat(),
                    Err(errno) => errno.to_be_bytes().to_vec(),
                };
                Some(answer)
            }
        }
    }

    /// A report over these 64 bytes, and the certificate table.
    fn report(&self, report_data: &[u8]) -> Result<(Vec<u8>, Vec<u8>), u32> {
        let GuestSpec::Snp(spec) = self.guest.spec().map_err(|_| EIO)? else { return Err(EIO) };
        let report_data = report_data.first_chunk().ok_or(EINVAL)?;
        let amd = self.lab.amd(&spec.product).map_err(|_| EIO)?;
        amd.attest(&spec, report_data).map_err(|error| {
            tracing::warn!(%error, "no report");
            EIO
        })
    }
}

struct Request<'a> {
    op: u8,
    entry: String,
    attribute: String,
    data: &'a [u8],
}

impl<'a> Request<'a> {
    fn read(frame: &'a [u8]) -> Option<Self> {
        let text = |from: &mut &'a [u8]| {
            let (length, rest) = from.split_first()?;
            let (text, rest) = rest.split_at_checked(usize::from(*length))?;
            *from = rest;
            String::from_utf8(text.to_vec()).ok()
        };
        let (op, mut rest) = frame.split_first()?;
        let (entry, attribute) = (text(&mut rest)?, text(&mut rest)?);
        Some(Self { op: *op, entry, attribute, data: rest })
    }

    fn run(self, device: &Device) -> Result<Vec<u8>, u32> {
        // A poisoned lock only means that another thread panicked; the map is whole.
        let mut entries = device.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match self.op {
            1 if entries.contains_key(&self.entry) => Err(EEXIST),
            1 => {
                entries.insert(self.entry, Entry::default());
                Ok(Vec::new())
            }
            2 => {
                let entry = entries.get_mut(&self.entry).ok_or(ENOENT)?;
                match self.attribute.as_str() {
                    "inblob" if self.data.len() == 64 => entry.inblob = Some(self.data.to_vec()),
                    "privlevel" => {
                        let text = std::str::from_utf8(self.data).map_err(|_| EINVAL)?;
                        entry.privlevel = text.trim().parse().ok().filter(|level| *level < 4).ok_or(EINVAL)?;
                    }
                    "inblob" => return Err(EINVAL),
                    _ => return Err(ENOENT),
                }
                entry.generation += 1;
                entry.made = None;
                Ok(Vec::new())
            }
            3 => {
                let entry = entries.get_mut(&self.entry).ok_or(ENOENT)?;
                match self.attribute.as_str() {
                    "provider" => Ok(b"sev_guest\n".to_vec()),
                    "generation" => Ok(format!("{}\n", entry.generation).into_bytes()),
                    "privlevel_floor" => Ok(b"0\n".to_vec()),
                    "outblob" | "auxblob" => {
                        let inblob = entry.inblob.clone().ok_or(EINVAL)?;
                        if entry.made.is_none() {
                            entry.made = Some(device.report(&inblob)?);
                        }
                        let (report, table) = entry.made.clone().ok_or(EIO)?;
                        Ok(if self.attribute == "outblob" { report } else { table })
                    }
                    _ => Err(ENOENT),
                }
            }
            4 => entries.remove(&self.entry).map(|_| Vec::new()).ok_or(ENOENT),
            _ => Err(EINVAL),
        }
    }
}

fn read_frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length <= FRAME_MAX)?;
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}
