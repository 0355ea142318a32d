//! The `unix` attestor: user, groups, path and digest of a process, with selectors spelled as SPIRE spells them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use holdfast_identity::Selector;

use super::executable::{Digests, Found};
use super::gate::Gate;
use super::names::Names;
use super::process::{Process, Status};
use super::selection::Selection;
use super::{AttestFault, Attestor, Peer};

const KIND: &str = "unix";
/// Processes of one user that are looked at at once: a file that hangs (on a network, say) holds up its own user alone.
const READS_PER_USER_MAX: usize = 8;
/// Executables of one user that are hashed at once, and of one process. All containers may run as root: so a process whose
/// executable is known, which most are, waits for no other's to be read.
const HASHES_PER_USER_MAX: usize = 2;
const HASHES_PER_PROCESS_MAX: usize = 1;

/// Gives `unix:uid`, `user`, `gid`, `group`, `supplementary_gid`, `supplementary_group`, and, where the agent may read
/// the executable, `path` and, where it is to be read, `sha256`.
#[derive(Debug, Clone)]
pub struct Unix(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    names: Names,
    digests: Digests,
    reads: Gate<u32>,
    hashes: Gate<u32>,
    hashes_of_process: Gate<i32>,
}

/// What was learned of a process, but for the digest of its executable.
struct Looked {
    selectors: Selection,
    executable: Executable,
}

/// What there is to be said of an executable.
enum Executable {
    /// None that the agent may read, or too large a one.
    None,
    /// It was read before.
    Known([u8; 32]),
    /// It would have to be read.
    New(File),
}

impl Default for Unix {
    fn default() -> Self {
        Self(Arc::new(Shared {
            names: Names::default(),
            digests: Digests::default(),
            reads: Gate::new(READS_PER_USER_MAX),
            hashes: Gate::new(HASHES_PER_USER_MAX),
            hashes_of_process: Gate::new(HASHES_PER_PROCESS_MAX),
        }))
    }
}

impl Attestor for Unix {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn attest<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
        Box::pin(async move {
            let Looked { mut selectors, executable } = self.looked(peer).await?;
            let digest = match executable {
                Executable::None => None,
                Executable::Known(digest) => Some(digest),
                Executable::New(mut file) => {
                    // In its own line first: there it is nobody else who waits.
                    let own = self.0.hashes_of_process.pass(peer.pid()).await;
                    let places = (own, self.0.hashes.pass(peer.uid()).await);
                    let shared = Arc::clone(&self.0);
                    let digest = blocking(places, move || shared.digests.digest(&mut file)).await;
                    digest.map_err(|source| fault(peer, "executable", source))?
                }
            };
            selectors.add_some("sha256", digest.map(hex::encode));
            selectors.finish()
        })
    }

    fn attest_unread<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
        Box::pin(async move { self.looked(peer).await?.selectors.finish() })
    }
}

impl Unix {
    /// What is learned of a process without reading its executable.
    async fn looked(&self, peer: &Peer) -> Result<Looked, AttestFault> {
        let place = self.0.reads.pass(peer.uid()).await;
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
        let looked = blocking(place, move || shared.look(process.as_ref(), &credentials)).await;
        looked.map_err(unreadable("executable"))
    }
}

/// User databases and executables may block. The places in line stay taken until they let go, whoever still waits.
async fn blocking<T: Send + 'static>(
    places: impl Send + 'static,
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let read = tokio::task::spawn_blocking(move || {
        let _places = places;
        read()
    });
    read.await.map_err(io::Error::other).and_then(|read| read)
}

impl Shared {
    fn look(&self, process: Option<&Process>, status: &Status) -> io::Result<Looked> {
        let mut selectors = Selection::of(KIND);
        selectors.add("uid", status.uid);
        selectors.add_some("user", self.names.user(status.uid)?);
        selectors.add("gid", status.gid);
        selectors.add_some("group", self.names.group(status.gid)?);
        for group in &status.groups {
            selectors.add("supplementary_gid", group);
            selectors.add_some("supplementary_group", self.names.group(*group)?);
        }
        let mut executable = Executable::None;
        if let Some(process) = process {
            selectors.add_some("path", permitted(process.path())?.flatten());
            if let Some(file) = permitted(process.executable())? {
                executable = match self.digests.known(&file)? {
                    Found::Nothing => Executable::None,
                    Found::Digest(digest) => Executable::Known(digest),
                    Found::New => Executable::New(file),
                };
            }
        }
        Ok(Looked { selectors, executable })
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

    #[tokio::test]
    async fn a_known_executable_waits_for_no_other_to_be_hashed() {
        let unix = Unix::default();
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&near).unwrap();
        // A file built a moment ago is read each time, for four seconds.
        let own = File::open("/proc/self/exe").unwrap();
        while unix.0.digests.known(&own).unwrap() == Found::New {
            unix.attest(&peer).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let mut busy = Vec::new();
        for _ in 0..HASHES_PER_USER_MAX {
            busy.push(unix.0.hashes.pass(peer.uid()).await);
        }
        let attested = tokio::time::timeout(std::time::Duration::from_secs(30), unix.attest(&peer)).await;
        let digest = attested.expect("waits").unwrap();
        assert!(digest.iter().any(|selector| selector.to_string().starts_with("unix:sha256:")));
        let stranger = Unix(Arc::new(Shared {
            names: Names::default(),
            digests: Digests::default(),
            reads: Gate::new(1),
            hashes: Gate::new(0),
            hashes_of_process: Gate::new(1),
        }));
        let waits = tokio::time::timeout(std::time::Duration::from_millis(200), stranger.attest(&peer)).await;
        assert!(waits.is_err(), "one that is not known waits in line");
    }

    #[tokio::test]
    async fn unread_it_is_the_same_but_for_the_digest() {
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&near).unwrap();
        // No executable may be hashed: whoever reads one waits for ever.
        let unix = Unix(Arc::new(Shared {
            names: Names::default(),
            digests: Digests::default(),
            reads: Gate::new(1),
            hashes: Gate::new(0),
            hashes_of_process: Gate::new(1),
        }));
        let unread: Vec<_> = unix.attest_unread(&peer).await.unwrap().iter().map(ToString::to_string).collect();
        let mut whole = own().await;
        whole.retain(|selector| !selector.starts_with("unix:sha256:"));
        assert_eq!(unread, whole.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn supplementary_groups_have_selectors_of_their_own() {
        let shared = Unix::default().0;
        let status = Status { uid: 4_000_000_001, gid: 4_000_000_002, groups: vec![0, 4_000_000_003] };
        let selectors = shared.look(None, &status).unwrap().selectors.finish().unwrap();
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
