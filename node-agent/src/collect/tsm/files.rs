//! The system calls: a directory is made, its attributes are written and read, and it is removed.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::collect::simulated::SimulatedDevice;
use crate::collect::sources::Place;

/// Bytes of the largest attribute (the kernel's TSM_OUTBLOB_MAX is 32 KiB; newer kernels have 16 MiB, no report has).
const ATTRIBUTE_BYTES_MAX: u64 = 64 << 10;

/// The directory `/sys/kernel/config/tsm/report`, call by call.
pub trait TsmFiles: Send + Sync {
    /// Makes the entry's directory.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, entry: &str) -> io::Result<()>;

    /// Writes an attribute, in one call.
    ///
    /// # Errors
    /// The system's.
    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()>;

    /// Reads an attribute, whole.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>>;

    /// Removes the entry's directory.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, entry: &str) -> io::Result<()>;
}

/// The files at a place.
#[must_use]
pub fn files(place: &Place) -> Arc<dyn TsmFiles> {
    match place {
        Place::Path(path) => Arc::new(Directory(path.clone())),
        Place::Simulated(socket) => Arc::new(Simulated(SimulatedDevice::new(socket))),
    }
}

/// A mounted configfs.
struct Directory(PathBuf);

impl TsmFiles for Directory {
    fn create(&self, entry: &str) -> io::Result<()> {
        fs::create_dir(self.0.join(entry))
    }

    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        // Not made if it is not there, and not truncated: it is an attribute.
        OpenOptions::new().write(true).open(self.0.join(entry).join(attribute))?.write_all(bytes)
    }

    fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = fs::File::open(self.0.join(entry).join(attribute))?;
        file.take(ATTRIBUTE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > ATTRIBUTE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn remove(&self, entry: &str) -> io::Result<()> {
        fs::remove_dir(self.0.join(entry))
    }
}

/// The same calls, answered by a simulator: operation, entry, attribute, data; back come an errno and data.
struct Simulated(SimulatedDevice);

impl Simulated {
    fn call(&self, operation: u8, entry: &str, attribute: &str, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut request = vec![operation];
        for name in [entry, attribute] {
            request.push(u8::try_from(name.len()).map_err(|_| io::ErrorKind::InvalidInput)?);
            request.extend_from_slice(name.as_bytes());
        }
        request.extend_from_slice(data);
        let answer = self.0.exchange(&request)?;
        let (errno, data) = answer.split_first_chunk::<4>().ok_or(io::ErrorKind::InvalidData)?;
        match i32::from_be_bytes(*errno) {
            0 => Ok(data.to_vec()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl TsmFiles for Simulated {
    fn create(&self, entry: &str) -> io::Result<()> {
        self.call(1, entry, "", &[]).map(drop)
    }

    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        self.call(2, entry, attribute, bytes).map(drop)
    }

    fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>> {
        self.call(3, entry, attribute, &[])
    }

    fn remove(&self, entry: &str) -> io::Result<()> {
        self.call(4, entry, "", &[]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_without_making_attributes_that_the_kernel_does_not_have() {
        let place = tempfile::tempdir().unwrap();
        let files = files(&Place::Path(place.path().to_owned()));
        files.create("a").unwrap();
        assert_eq!(files.create("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(files.write("a", "inblob", b"x").unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(place.path().join("a/inblob"), "").unwrap();
        files.write("a", "inblob", b"x").unwrap();
        assert_eq!(files.read("a", "inblob").unwrap(), b"x");
        fs::write(place.path().join("a/inblob"), vec![0; (64 << 10) + 1]).unwrap();
        assert_eq!(files.read("a", "inblob").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        fs::remove_file(place.path().join("a/inblob")).unwrap();
        files.remove("a").unwrap();
        assert_eq!(files.remove("a").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_simulators_errno_is_the_kernels() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("s");
        crate::collect::simulated::tests::serve(&socket, |request| match request {
            b"\x01\x01a\x00" => vec![0; 4],
            b"\x02\x01a\x06inblobxyz" => vec![0, 0, 0, 16],
            b"\x03\x01a\x07outblob" => b"\0\0\0\0report".to_vec(),
            b"\x04\x01a\x00" => vec![],
            other => panic!("{other:x?}"),
        });
        let files = files(&Place::Simulated(socket));
        files.create("a").unwrap();
        assert_eq!(files.write("a", "inblob", b"xyz").unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(files.read("a", "outblob").unwrap(), b"report");
        assert_eq!(files.remove("a").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
