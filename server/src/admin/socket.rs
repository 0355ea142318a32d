//! The Unix socket, 0660, and who speaks on it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Request;
use tonic::transport::server::UdsConnectInfo;

use crate::store::Actor;

/// Bytes of the system's user and group files that are read.
const DATABASE_BYTES_MAX: u64 = 4 << 20;

/// The operator's socket, bound.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// Why the socket is not there.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the operator's socket {}", path.display())]
pub struct SocketFault {
    verb: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

impl SocketFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "admin.socket"
    }
}

impl AdminSocket {
    /// Binds `path`, readable and writable by owner and `group` alone, in place of what a former server left there.
    /// Without such a group the socket stays with the server's own.
    ///
    /// # Errors
    /// [`SocketFault`] if it cannot be bound there.
    pub fn bind(path: &Path, group: &str) -> Result<Self, SocketFault> {
        let fault = |verb| move |source| SocketFault { verb, path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(fault("make the directory of"))?;
        }
        // Bound under another name and renamed: nobody meets it before its mode is right.
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault("replace")(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&new).map_err(fault("bind"))?;
        if let Some(gid) = group_id(group)
            && let Err(error) = chown(&new, None, Some(gid))
        {
            tracing::warn!(group, %error, "the operator's socket stays with the server's own group");
        }
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o660)).map_err(fault("set the mode of"))?;
        std::fs::rename(&new, path).map_err(fault("put in place"))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn incoming(self) -> UnixListenerStream {
        UnixListenerStream::new(self.listener)
    }
}

/// Who sent `request` to have `action` done, as the kernel says. The log says who asked; the record, what was done.
pub(super) fn actor<T>(request: &Request<T>, action: &'static str) -> Result<Actor, tonic::Status> {
    let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
    let uid = peer.map(|peer| peer.uid()).ok_or_else(|| tonic::Status::internal("the kernel names no peer"))?;
    let name = user_name(uid).unwrap_or_default();
    tracing::info!(uid, name, action, "operator asks");
    Ok(Actor::Operator { uid, name })
}

/// User and group of whoever sent `request`, as the kernel says.
pub(super) fn peer<T>(request: &Request<T>) -> Option<(u32, u32)> {
    let peer = request.extensions().get::<UdsConnectInfo>()?.peer_cred?;
    Some((peer.uid(), peer.gid()))
}

/// The name of a local user. Of users that only a directory service knows, the record holds the number alone.
fn user_name(uid: u32) -> Option<String> {
    let name = field_where(Path::new("/etc/passwd"), 0, |fields| {
        fields.get(2)?.parse::<u32>().ok().filter(|id| *id == uid).map(|_| ())
    })?;
    Some(name.chars().filter(|c| !c.is_control()).take(64).collect())
}

fn group_id(group: &str) -> Option<u32> {
    field_where(Path::new("/etc/group"), 2, |fields| (fields.first() == Some(&group)).then_some(()))?.parse().ok()
}

fn field_where(file: &Path, field: usize, is_it: impl Fn(&[&str]) -> Option<()>) -> Option<String> {
    if std::fs::metadata(file).ok()?.len() > DATABASE_BYTES_MAX {
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        is_it(&fields)?;
        fields.get(field).map(|field| (*field).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_for_owner_and_group_and_replaces_a_stale_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/admin.sock");
        for _ in 0..2 {
            let socket = AdminSocket::bind(&path, "no-such-group").unwrap();
            assert_eq!(std::fs::metadata(socket.path()).unwrap().permissions().mode() & 0o777, 0o660);
            tokio::net::UnixStream::connect(&path).await.unwrap();
        }
    }

    #[test]
    fn users_and_groups_are_named_by_the_system() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("no-such-group"), None);
    }
}
