//! The socket's place in the file system: made complete before it can be seen, taken away when the agent ends.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

/// Everyone may connect: who may have which identity is the attestor's business.
const SOCKET_MODE: u32 = 0o777;
/// How long somebody who listens there may take to let us in.
const PROBE_TIME_MAX: Duration = Duration::from_secs(1);
/// Of a folder that is made for the socket.
const FOLDER_MODE: u32 = 0o755;

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketFault {
    /// Something else is there.
    #[error("{} exists and is no socket", path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// Another process listens there.
    #[error("another process serves {}", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{} could not be opened", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SocketFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Occupied { .. } => "workload_api.socket.occupied",
            Self::InUse { .. } => "workload_api.socket.in_use",
            Self::Io { .. } => "workload_api.socket.io",
        }
    }
}

/// A listening socket, whose file goes when this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: what a later agent put at the same path is not ours to take away.
    identity: (u64, u64),
}

impl Socket {
    /// Listens at `path`. What a killed agent left there is replaced; what is alive or no socket is not touched.
    pub(super) async fn open(path: &Path) -> Result<Self, SocketFault> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketFault::Occupied { path: path.to_owned() });
            }
            Ok(_) if is_alive(path).await => return Err(SocketFault::InUse { path: path.to_owned() }),
            _ => {}
        }
        Self::make(path).map_err(|source| SocketFault::Io { path: path.to_owned(), source })
    }

    fn make(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        }
        // Under another name first, then moved: clients see the old socket or the new one with its mode.
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, Permissions::from_mode(SOCKET_MODE))?;
        let metadata = fs::symlink_metadata(&draft)?;
        fs::rename(&draft, path)?;
        Ok(Self { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }
}

/// Whether somebody listens: also one whom so many wait for that nobody else is let in.
async fn is_alive(path: &Path) -> bool {
    match tokio::time::timeout(PROBE_TIME_MAX, UnixStream::connect(path)).await {
        Ok(Ok(_)) | Err(_) => true,
        Ok(Err(error)) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            // Where it stays, the next agent replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_may_connect_and_the_file_goes_with_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/api.sock");
        let socket = Socket::open(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, SOCKET_MODE);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, FOLDER_MODE);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_agent_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let _socket = Socket::open(&path).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_living_agents_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let _first = Socket::open(&path).await.unwrap();
        assert_eq!(Socket::open(&path).await.unwrap_err().code(), "workload_api.socket.in_use");
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_too_many_wait_for_is_left_alone_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let busy = tokio::net::UnixSocket::new_stream().unwrap();
        busy.bind(&path).unwrap();
        let _busy = busy.listen(1).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }
        assert_eq!(Socket::open(&path).await.unwrap_err().code(), "workload_api.socket.in_use");
    }

    #[tokio::test]
    async fn a_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        fs::write(&path, "precious").unwrap();
        assert_eq!(Socket::open(&path).await.unwrap_err().code(), "workload_api.socket.occupied");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_later_agents_socket_survives_the_end_of_the_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let first = Socket::open(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Socket::open(&path).await.unwrap();
        drop(first);
        UnixStream::connect(&path).await.unwrap();
    }
}
