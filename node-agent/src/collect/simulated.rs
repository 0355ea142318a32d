//! A device that a simulator answers for, over a Unix socket: frames of four bytes of length and that many bytes. The
//! simulator stands where the kernel stands, so that everything above is the real code. Trust does not come from here:
//! the server believes the roots it was configured with, and nothing else.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a simulator may think.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the largest frame.
const FRAME_BYTES_MAX: usize = 64 << 10;

/// The far end of a simulator's socket. Connects with the first request, and again where the connection broke.
#[derive(Debug)]
pub(super) struct SimulatedDevice {
    path: PathBuf,
    stream: Mutex<Option<UnixStream>>,
}

impl SimulatedDevice {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), stream: Mutex::new(None) }
    }

    /// Sends one frame and returns the one that answers it.
    pub(super) fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut held = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = match held.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let answer = one(&mut stream, request)?;
        *held = Some(stream);
        Ok(answer)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

fn one(stream: &mut UnixStream, request: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(request.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), request].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let mut answer = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers one frame after the other with what `answer` makes of them.
    pub(in super::super) fn serve(path: &Path, mut answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 4];
                while stream.read_exact(&mut length).is_ok() {
                    let mut request = vec![0; u32::from_be_bytes(length) as usize];
                    stream.read_exact(&mut request).unwrap();
                    let answer = answer(&request);
                    stream.write_all(&[&(answer.len() as u32).to_be_bytes(), answer.as_slice()].concat()).unwrap();
                }
            }
        });
    }

    #[test]
    fn frames_are_answered_one_after_the_other_and_too_large_ones_refused() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("s");
        let device = SimulatedDevice::new(&socket);
        assert_eq!(device.exchange(b"x").unwrap_err().kind(), io::ErrorKind::NotFound);
        serve(&socket, |request| if request.is_empty() { vec![0; FRAME_BYTES_MAX + 1] } else { request.to_vec() });
        for text in [b"one".as_slice(), b"two"] {
            assert_eq!(device.exchange(text).unwrap(), text);
        }
        assert_eq!(device.exchange(b"").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
