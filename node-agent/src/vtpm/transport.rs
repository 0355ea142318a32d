//! The system call: one command in, one answer out. Each transport is a file descriptor of its own, so that on
//! `/dev/tpmrm0` it has a resource manager of its own too.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::VtpmFault;
use crate::tpm::Interface;

/// How long a TPM may think: virtual ones answer in milliseconds, an RSA key takes a second or two.
const PATIENCE: Duration = Duration::from_secs(90);
/// Bytes of the largest answer (the kernel's TPM_BUFSIZE).
const ANSWER_BYTES_MAX: usize = 4096;

/// Carries one command to a TPM and its answer back.
pub trait Transport: Send {
    /// Sends `command`, whole, and returns the answer, whole.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::TimedOut`] where nothing came back.
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// Opens the TPM at `interface` for raw commands.
///
/// # Errors
/// [`VtpmFault::Open`].
pub fn open(interface: &Interface) -> Result<Box<dyn Transport>, VtpmFault> {
    let opened: io::Result<Box<dyn Transport>> = match interface {
        Interface::Device(path) => File::options()
            .read(true)
            .write(true)
            .open(path)
            .map(|device| Box::new(Device(device)) as Box<dyn Transport>),
        Interface::Swtpm { host, port } => TcpStream::connect((host.as_str(), *port)).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Box::new(Socket(stream)) as Box<dyn Transport>)
        }),
    };
    opened.map_err(|source| VtpmFault::Open { interface: interface.to_string(), source })
}

/// A character device: one write is a command, one read its answer.
struct Device(File);

impl Transport for Device {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// swtpm's data port: answers are told apart by the size in their header.
struct Socket(TcpStream);

impl Transport for Socket {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut header = [0; 10];
        self.0.read_exact(&mut header)?;
        let [_, _, s0, s1, s2, s3, ..] = header;
        let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).unwrap_or(usize::MAX);
        let body = size.checked_sub(header.len()).filter(|_| size <= ANSWER_BYTES_MAX);
        let mut body = vec![0; body.ok_or(io::ErrorKind::InvalidData)?];
        self.0.read_exact(&mut body)?;
        Ok([header.as_slice(), &body].concat())
    }
}
