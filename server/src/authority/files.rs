//! The authority's files: keys 0600, written whole or not at all, never over another.
//!
//! A key and its certificate stand in one file, so that no crash leaves a key beside another key's certificate.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{AuthorityFault, KeyId};

/// Bytes of the largest file that the authority reads: a key with a chain is below 4 KiB, a bundle of ten roots below 20.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Bytes of the largest revocation list that is read from a file: what agents take, and they take no more.
const LIST_BYTES_MAX: u64 = holdfast_protocol::limits::REVOCATION_LIST_BYTES_MAX as u64;

/// Where a server keeps its part of the authority, below its data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFiles {
    directory: PathBuf,
    list_url: Option<String>,
}

impl AuthorityFiles {
    /// The files below `data_dir`; nothing is touched.
    #[must_use]
    pub fn below(data_dir: &Path) -> Self {
        Self { directory: data_dir.join("authority"), list_url: None }
    }

    /// With the URL below which revocation lists are served: certificates say so from then on.
    #[must_use]
    pub fn with_list_url(self, list_url: Option<String>) -> Self {
        Self { list_url, ..self }
    }

    /// The URL below which revocation lists are served, without a slash at its end.
    #[must_use]
    pub fn list_url(&self) -> Option<&str> {
        self.list_url.as_deref()
    }

    /// The directory itself, 0700.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The intermediate's key and certificate, PEM, 0600.
    #[must_use]
    pub fn intermediate(&self) -> PathBuf {
        self.directory.join("intermediate.pem")
    }

    /// The next intermediate's key and certificates, PEM, 0600.
    #[must_use]
    pub fn prepared(&self) -> PathBuf {
        self.directory.join("prepared.pem")
    }

    /// A former intermediate's, PEM, 0600: it signs no SVID any more.
    #[must_use]
    pub fn former(&self, key_id: &KeyId) -> PathBuf {
        self.directory.join(format!("former-{key_id}.pem"))
    }

    /// Which of the servers of one store this is, 16 hexadecimal digits, 0644.
    #[must_use]
    pub fn server_id(&self) -> PathBuf {
        self.directory.join("server-id")
    }

    /// The trust bundle with its sequence, in SPIFFE's JSON form, 0644.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.directory.join("bundle.json")
    }

    /// The same bundle as PEM, for agents' `trust_bundle`, 0644.
    #[must_use]
    pub fn bundle_pem(&self) -> PathBuf {
        self.directory.join("bundle.pem")
    }

    /// The root's list of revoked intermediates, DER, 0644.
    #[must_use]
    pub fn root_list(&self) -> PathBuf {
        self.directory.join("root.crl")
    }

    /// The key that seals challenges, 32 raw bytes in hex, 0600.
    #[must_use]
    pub fn seal_key(&self) -> PathBuf {
        self.directory.join("challenge.key")
    }

    /// Makes the directory (0700) where it is missing.
    ///
    /// # Errors
    /// [`AuthorityFault::File`].
    pub fn create_directory(&self) -> Result<(), AuthorityFault> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|source| fault("create", &self.directory, source))
    }
}

impl AuthorityFiles {
    /// Puts the prepared intermediate in the place of `former`, whose file stays under another name.
    ///
    /// # Errors
    /// [`AuthorityFault::File`].
    pub(super) fn promote(&self, former: &KeyId) -> Result<(), AuthorityFault> {
        let (from, kept) = (self.intermediate(), self.former(former));
        if exists(&from)? && !exists(&kept)? {
            fs::hard_link(&from, &kept).map_err(|source| fault("keep", &kept, source))?;
        }
        fs::rename(self.prepared(), &from).map_err(|source| fault("replace", &from, source))?;
        sync_directory(&from)
    }

    /// Removes a former intermediate's file.
    pub(super) fn forget(&self, key_id: &KeyId) -> Result<(), AuthorityFault> {
        let path = self.former(key_id);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(fault("remove", &path, source)),
            _ => Ok(()),
        }
    }
}

/// Reads a secret file, refusing one that others than owner and group may open, or that its group may change.
///
/// # Errors
/// [`AuthorityFault::File`], also for a missing file; [`AuthorityFault::KeyFileMode`]; [`AuthorityFault::Content`] if
/// it is larger than 256 KiB or not text.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, AuthorityFault> {
    let file = File::open(path).map_err(|source| fault("open", path, source))?;
    let mode = file.metadata().map_err(|source| fault("open", path, source))?.permissions().mode() & 0o777;
    if mode & 0o037 != 0 {
        return Err(AuthorityFault::KeyFileMode { path: path.to_owned(), found: mode });
    }
    read_text(path, file).map(Zeroizing::new)
}

/// Reads a public file of at most 256 KiB.
pub(super) fn read_public(path: &Path) -> Result<String, AuthorityFault> {
    read_text(path, File::open(path).map_err(|source| fault("open", path, source))?)
}

/// Reads a public file of at most 2 MiB that is no text.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, AuthorityFault> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|source| fault("open", path, source))?;
    let read = file.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|source| fault("read", path, source))?;
    if read as u64 > LIST_BYTES_MAX {
        let (expected, found) = ("a revocation list", format!("more than {LIST_BYTES_MAX} bytes"));
        return Err(AuthorityFault::Content { path: path.to_owned(), expected, found });
    }
    Ok(bytes)
}

fn read_text(path: &Path, file: File) -> Result<String, AuthorityFault> {
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|source| fault("read", path, source))?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(AuthorityFault::Content {
            path: path.to_owned(),
            expected: "a key, certificate or bundle",
            found: format!("more than {FILE_BYTES_MAX} bytes"),
        });
    }
    Ok(text)
}

/// Writes a secret 0600, whole or not at all, and never over an existing file.
///
/// # Errors
/// [`AuthorityFault::File`]; with `AlreadyExists` where there is a file of that name.
pub fn write_new_secret(path: &Path, text: &str) -> Result<(), AuthorityFault> {
    let draft = write_beside(path, text.as_bytes(), 0o600)?;
    // A hard link, unlike a rename, fails if the name is taken.
    let linked = fs::hard_link(&draft, path).map_err(|source| fault("create", path, source));
    let _ = fs::remove_file(&draft);
    linked.and_then(|()| sync_directory(path))
}

/// Writes a file whole or not at all, in place of one that may be there.
pub(super) fn replace(path: &Path, text: impl AsRef<[u8]>, mode: u32) -> Result<(), AuthorityFault> {
    let draft = write_beside(path, text.as_ref(), mode)?;
    fs::rename(&draft, path).map_err(|source| {
        let _ = fs::remove_file(&draft);
        fault("replace", path, source)
    })?;
    sync_directory(path)
}

/// Writes a file that anybody may read whole or not at all, in place of one that may be there.
///
/// # Errors
/// [`AuthorityFault::File`].
pub fn replace_public(path: &Path, text: &str) -> Result<(), AuthorityFault> {
    replace(path, text, 0o644)
}

/// Whether there is anything at `path`.
pub(super) fn exists(path: &Path) -> Result<bool, AuthorityFault> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(fault("open", path, source)),
    }
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf, AuthorityFault> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(name);
    // Left over from a crash of a process with our number: nobody else writes this name.
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)
        .map_err(|source| fault("create", &draft, source))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(source) = written {
        let _ = fs::remove_file(&draft);
        return Err(fault("write", &draft, source));
    }
    Ok(draft)
}

fn sync_directory(path: &Path) -> Result<(), AuthorityFault> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|open| open.sync_all()).map_err(|source| fault("sync", directory, source))
}

fn fault(action: &'static str, path: &Path, source: std::io::Error) -> AuthorityFault {
    AuthorityFault::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_0600_and_never_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key.pem");
        write_new_secret(&path, "first").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = write_new_secret(&path, "second").unwrap_err();
        assert_eq!(refused.code(), "authority.file");
        assert_eq!(read_secret(&path).unwrap().as_str(), "first");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key.pem");
        write_new_secret(&path, "key").unwrap();
        for (mode, accepted) in [(0o600, true), (0o640, true), (0o400, true), (0o644, false), (0o660, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_secret(&path).is_ok(), accepted, "{mode:o}");
        }
    }

    #[test]
    fn an_oversized_file_is_refused_before_it_is_read_whole() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("bundle.json");
        fs::write(&path, vec![b'a'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert_eq!(read_public(&path).unwrap_err().code(), "authority.content");
    }
}
