//! Keys made ahead of need, so that nobody who asks for an SVID waits for prime numbers.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;

use super::key::{KeyType, NoKey, WorkloadKey};

/// Keys that lie ready: more than a batch of rotations of one workload, less than a minute of making RSA keys.
const READY: usize = 32;
/// After which a system without random numbers is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// What the making of RSA keys is worth beside everything else on the machine (`nice`).
const NICENESS: i32 = 10;

/// The keys, and the thread that makes them as long as this lives.
pub struct KeyPool {
    kind: KeyType,
    ready: tokio::sync::Mutex<mpsc::Receiver<WorkloadKey>>,
    /// The thread's end of it, until it runs.
    maker: Mutex<Option<mpsc::Sender<WorkloadKey>>>,
}

impl KeyPool {
    /// For keys of this kind; none is made yet.
    #[must_use]
    pub fn new(kind: KeyType) -> Self {
        let (maker, ready) = mpsc::channel(READY);
        Self { kind, ready: tokio::sync::Mutex::new(ready), maker: Mutex::new(Some(maker)) }
    }

    /// Begins to make keys, if it has not begun.
    pub fn start(&self) {
        let Some(to) = self.maker.lock().ok().and_then(|mut maker| maker.take()) else { return };
        let kind = self.kind;
        let started = std::thread::Builder::new().name("workload-keys".to_owned()).spawn(move || make(kind, &to));
        if let Err(error) = started {
            tracing::error!(%error, "no thread to make workload keys in");
        }
    }

    /// At least one key, and as many of `most` as lie ready.
    pub(super) async fn take(&self, most: usize) -> Result<Vec<WorkloadKey>, NoKey> {
        self.start();
        let mut keys = Vec::with_capacity(most);
        // Nothing comes from a thread that is not there.
        if self.ready.lock().await.recv_many(&mut keys, most).await == 0 { Err(NoKey) } else { Ok(keys) }
    }
}

fn make(kind: KeyType, to: &mpsc::Sender<WorkloadKey>) {
    if kind == KeyType::Rsa2048 {
        // Of this thread alone. It runs as it is where the system does not allow it.
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }
    while !to.is_closed() {
        match WorkloadKey::generate(kind) {
            Ok(key) => {
                if to.blocking_send(key).is_err() {
                    return;
                }
            }
            Err(fault) => {
                tracing::error!(error = %fault, "workload key not made");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_lie_ready_and_more_are_made_as_they_are_taken() {
        let pool = KeyPool::new(KeyType::EcP256);
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 3 * READY {
            let keys = pool.take(64).await.unwrap();
            assert!(!keys.is_empty() && keys.len() <= READY + 1);
            for key in keys {
                assert!(seen.insert(key.spki().to_vec()), "no key is given twice");
            }
        }
    }

    #[tokio::test]
    async fn a_taker_gets_no_more_than_it_wants() {
        let pool = KeyPool::new(KeyType::EcP384);
        assert_eq!(pool.take(1).await.unwrap().len(), 1);
    }
}
