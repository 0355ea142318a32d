//! The `unix` attestor: user, groups, path and digest of a process, with selectors spelled as SPIRE spells them.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use holdfast_identity::Selector;

use super::executable::Digests;
use super::gate::Gate;
use super::names::Names;
use super::process::{Process, Status};
use super::selection::Selection;
use super::{AttestFault, Attestor, Peer};

const KIND: &str = "unix";
/// Processes of one user that are read at once: a file that hangs (on a network, say) holds up its own user alone.
const READS_PER_USER_MAX: usize = 2;

/// Gives `unix:uid`, `user`, `gid`, `group`, `supplementary_gid`, `supplementary_group`, and, where the agent may read
/// the executable, `path` and `sha256`.
#[derive(Debug, Clone)]
pub struct Unix(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    names: Names,
    digests: Digests,
    gate: Gate,
}

impl Default for Unix {
    fn default() -> Self {
        let gate = Gate::new(READS_PER_USER_MAX);
        Self(Arc::new(Shared { names: Names::default(), digests: Digests::default(), gate }))
    }
}

impl Attestor for Unix {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn attest<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
        Box::pin(async move {
            let place = self.0.gate.pass(peer.uid()).await;
            let unreadable = |what| move |source| fault(peer, what, source);
            let (process, credentials) = match Process::open(peer) {
                Ok(process) => {
                    let credentials = process.status().map_err(unreadable("status"))?;
                    (Some(process), credentials)
                }
                // `hidepid`: the kernel's word at the connection is all there is.
                Err(error) if is_forbidden(&error) && !peer.has_exited() => {
                    (None, Status { uid: peer.uid(), gid: peer.gid(), groups: Vec::new() })
                }
                Err(source) => return Err(fault(peer, "folder", source)),
            };
            if (credentials.uid, credentials.gid) != (peer.uid(), peer.gid()) {
                return Err(AttestFault::CredentialsChanged {
                    pid: peer.pid(),
                    connected_uid: peer.uid(),
                    connected_gid: peer.gid(),
                    uid: credentials.uid,
                    gid: credentials.gid,
                });
            }
            let shared = Arc::clone(&self.0);
            // User databases and executables may block. The place in line stays taken until they let go.
            let read = tokio::task::spawn_blocking(move || {
                let _place = place;
                shared.selectors(process.as_ref(), &credentials)
            });
            let read = read.await.map_err(io::Error::other).and_then(|read| read);
            read.map_err(unreadable("executable"))?.finish()
        })
    }
}

impl Shared {
    fn selectors(&self, process: Option<&Process>, status: &Status) -> io::Result<Selection> {
        let mut selectors = Selection::of(KIND);
        selectors.add("uid", status.uid);
        selectors.add_some("user", self.names.user(status.uid));
        selectors.add("gid", status.gid);
        selectors.add_some("group", self.names.group(status.gid));
        for group in &status.groups {
            selectors.add("supplementary_gid", group);
            selectors.add_some("supplementary_group", self.names.group(*group));
        }
        if let Some(process) = process {
            selectors.add_some("path", permitted(process.path())?.flatten());
            if let Some(mut file) = permitted(process.executable())? {
                selectors.add_some("sha256", self.digests.digest(&mut file)?.map(hex::encode));
            }
        }
        Ok(selectors)
    }
}

/// `None` where the agent may not look: then the workload has one selector less, for as long as that is so.
fn permitted<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if is_forbidden(&error) => Ok(None),
        read => read.map(Some),
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    // A kernel thread and a process whose executable is out of sight have none: NotFound.
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
}

fn fault(peer: &Peer, what: &'static str, source: io::Error) -> AttestFault {
    if peer.has_exited() {
        AttestFault::Exited { pid: peer.pid() }
    } else {
        AttestFault::Unreadable { pid: peer.pid(), what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn own() -> BTreeSet<String> {
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&near).unwrap();
        let selectors = Unix::default().attest(&peer).await.unwrap();
        selectors.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn selectors_are_spelled_as_spire_spells_them() {
        let selectors = own().await;
        let uid = rustix::process::geteuid().as_raw();
        let executable = std::env::current_exe().unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(&executable).unwrap());
        for expected in [
            format!("unix:uid:{uid}"),
            format!("unix:gid:{}", rustix::process::getegid().as_raw()),
            format!("unix:path:{}", executable.display()),
            format!("unix:sha256:{}", hex::encode(digest)),
        ] {
            assert!(selectors.contains(&expected), "{expected} is not in {selectors:?}");
        }
        if uid == 0 {
            assert!(selectors.contains("unix:user:root") && selectors.contains("unix:group:root"));
        }
    }

    #[test]
    fn supplementary_groups_have_selectors_of_their_own() {
        let shared = Unix::default().0;
        let status = Status { uid: 4_000_000_001, gid: 4_000_000_002, groups: vec![0, 4_000_000_003] };
        let selectors = shared.selectors(None, &status).unwrap().finish().unwrap();
        let selectors: Vec<_> = selectors.iter().map(ToString::to_string).collect();
        assert_eq!(
            selectors,
            [
                "unix:gid:4000000002",
                "unix:supplementary_gid:0",
                "unix:supplementary_gid:4000000003",
                "unix:supplementary_group:root",
                "unix:uid:4000000001",
            ]
        );
    }

    #[test]
    fn what_may_not_be_read_is_left_out_and_what_fails_is_a_fault() {
        let result = |kind: io::ErrorKind| permitted::<()>(Err(kind.into()));
        assert!(result(io::ErrorKind::PermissionDenied).unwrap().is_none());
        assert!(result(io::ErrorKind::TimedOut).is_err());
    }
}
