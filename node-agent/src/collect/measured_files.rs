//! The kernel's list of measured files, read after the quote, from the place that the server names. Believes nothing of
//! it, and keeps nothing.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use holdfast_protocol::limits::MEASURED_FILES_BYTES_MAX;

use super::{CollectFault, blocking};

/// Where the list is.
#[derive(Debug, Clone)]
pub struct MeasuredFilesFile(pub PathBuf);

impl MeasuredFilesFile {
    /// Whether the machine has one: kernels without IMA do not.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.exists()
    }

    /// What the list has from `offset` on, at most what one answer may hold. Nothing where it ends before: then the
    /// server finds that its place in the list is of another boot, and asks anew.
    ///
    /// # Errors
    /// [`CollectFault`] where the list is there but cannot be read.
    pub async fn read(&self, offset: u64) -> Result<Vec<u8>, CollectFault> {
        let path = self.0.clone();
        blocking(move || read(&path, offset).map_err(CollectFault::MeasuredFiles)).await
    }
}

fn read(path: &Path, offset: u64) -> Result<Vec<u8>, Error> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(MEASURED_FILES_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_list_is_read_from_the_place_asked() {
        let place = tempfile::tempdir().unwrap();
        let file = MeasuredFilesFile(place.path().join("list"));
        assert!(!file.is_there());
        assert_eq!(file.read(0).await.unwrap(), b"");
        std::fs::write(&file.0, "entries").unwrap();
        assert!(file.is_there());
        for (offset, expected) in [(0, "entries"), (3, "ries"), (7, ""), (u32::MAX.into(), "")] {
            assert_eq!(file.read(offset).await.unwrap(), expected.as_bytes(), "{offset}");
        }
        std::fs::write(&file.0, vec![0; MEASURED_FILES_BYTES_MAX + 1]).unwrap();
        assert_eq!(file.read(0).await.unwrap().len(), MEASURED_FILES_BYTES_MAX);
    }
}
