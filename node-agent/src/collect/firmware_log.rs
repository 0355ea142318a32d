//! The firmware's event log, read before each quote.

use std::io::{Error, ErrorKind};
use std::path::PathBuf;

use holdfast_evidence::tpm::event_log::{EVENT_LOG_BYTES_MAX, EventLog};
use holdfast_evidence::tpm::{PcrIndex, PcrSet};

/// Where the log is.
#[derive(Debug, Clone)]
pub struct FirmwareLogFile(pub PathBuf);

/// A log as it was read, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadLog {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: [u8; 32],
}

impl FirmwareLogFile {
    /// Reads the log. `None` where there is no file, or an empty one: some machines have no log.
    ///
    /// # Errors
    /// Where the file is there but cannot be read, or is larger than the protocol allows.
    pub(super) async fn read(&self) -> Result<Option<ReadLog>, Error> {
        let bytes = match tokio::fs::read(&self.0).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() > EVENT_LOG_BYTES_MAX {
            return Err(Error::new(ErrorKind::FileTooLarge, format!("log is larger than {EVENT_LOG_BYTES_MAX} bytes")));
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let digest = <[u8; 32]>::try_from(digest.as_ref()).map_err(|_| Error::from(ErrorKind::InvalidData))?;
        Ok(Some(ReadLog { bytes, digest }))
    }
}

/// The PCRs that a log has events for; none where it cannot be read as a log.
pub(super) fn covered(log: Option<&ReadLog>) -> PcrSet {
    let Some(log) = log.and_then(|log| EventLog::parse(&log.bytes).ok()) else { return PcrSet::EMPTY };
    log.events().iter().filter_map(|event| PcrIndex::new(event.pcr)).fold(PcrSet::EMPTY, PcrSet::with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_without_a_log_has_none_and_an_empty_one_is_none() {
        let place = tempfile::tempdir().unwrap();
        let file = FirmwareLogFile(place.path().join("log"));
        assert_eq!(file.read().await.unwrap(), None);
        std::fs::write(&file.0, "").unwrap();
        assert_eq!(file.read().await.unwrap(), None);
        std::fs::write(&file.0, "x").unwrap();
        let log = file.read().await.unwrap().unwrap();
        assert_eq!(hex::encode(log.digest), "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
        assert_eq!(covered(Some(&log)), PcrSet::EMPTY);
        std::fs::write(&file.0, vec![0; EVENT_LOG_BYTES_MAX + 1]).unwrap();
        assert!(file.read().await.is_err());
        assert!(FirmwareLogFile(place.path().to_owned()).read().await.is_err());
    }
}
