//! Signs checkpoints of the record, each of a tree that begins with every one it signed before; and proves entries.
//!
//! What was signed last is remembered twice, in the database and in a file beside the key: a database that was put back
//! from a copy, cut or rewritten is not signed again, it raises an alarm.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_identity::UnixTime;
use holdfast_record::{BadCheckpoint, Checkpoint, Node, VerifierKey, proof};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::key::{checkpoint_file, read_checkpoint, write_checkpoint};
use super::{Hash, InclusionProof, SignedCheckpoint, SigningKey, TileHashes};
use crate::authority::AuthorityFault;
use crate::clock;
use crate::store::{Actor, KeptCheckpoint, LedgerHead, Operation, Store, StoreFault};

/// How often the signer looks whether the record has grown.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When checkpoints are signed that nobody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Longest time that a new entry waits for one.
    pub interval: Duration,
    /// Most entries that wait for one.
    pub entries: u64,
}

/// What the signer is told.
#[derive(Debug)]
pub struct SignerOptions {
    /// The key.
    pub key: SigningKey,
    /// The key's file: the last checkpoint is kept beside it.
    pub key_file: PathBuf,
    /// When to sign.
    pub pace: Pace,
}

/// Signs for one record.
pub struct Signer {
    store: Arc<dyn Store>,
    key: SigningKey,
    file: PathBuf,
    pace: Pace,
    /// What was signed last, in the order of sizes: one, but after a start what each of the two places remembers. The
    /// record must begin with every one of them.
    last: Mutex<Vec<SignedCheckpoint>>,
}

/// An entry with the proof that it is in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Its bytes.
    pub leaf: Vec<u8>,
    /// That it is in the tree of the checkpoint.
    pub proof: InclusionProof,
    /// The tree, signed.
    pub checkpoint: SignedCheckpoint,
}

/// Why nothing is signed or proven.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The key's file, or the one beside it.
    #[error(transparent)]
    File(#[from] AuthorityFault),
    /// What is beside the key, or in the database, does not verify with it.
    #[error("the last checkpoint, beside the key or in the database: {0}")]
    Last(#[from] BadCheckpoint),
    /// Fewer entries than were signed before.
    #[error(
        "record has {found} entries, but {signed} were signed: the database is an older copy, or was cut; see docs/record.md"
    )]
    RolledBack {
        /// Entries there are.
        found: u64,
        /// Entries of the last checkpoint.
        signed: u64,
    },
    /// Other entries than were signed before.
    #[error("the first {signed} entries are not those that were signed before; see docs/record.md")]
    Forked {
        /// Entries of the last checkpoint.
        signed: u64,
    },
    /// The tree's own parts contradict each other.
    #[error("tiles and head of the record differ at {size} entries")]
    Torn {
        /// Entries.
        size: u64,
    },
    /// There is no such entry.
    #[error("record has {size} entries, there is none with index {index}")]
    NoEntry {
        /// Asked for.
        index: u64,
        /// Entries.
        size: u64,
    },
}

impl RecordFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.code(),
            Self::File(fault) => fault.code(),
            Self::Last(bad) => bad.code(),
            Self::RolledBack { .. } => "record.rolled_back",
            Self::Forked { .. } => "record.forked",
            Self::Torn { .. } => "record.torn",
            Self::NoEntry { .. } => "record.no_entry",
        }
    }
}

impl Signer {
    /// Takes up signing where it was left. A key that the record has not seen yet is recorded first.
    ///
    /// # Errors
    /// [`RecordFault`], and then nothing may be signed. A record that was rolled back is found at the first signature.
    pub async fn open(store: Arc<dyn Store>, options: SignerOptions) -> Result<Self, RecordFault> {
        let (file, log) = (checkpoint_file(&options.key_file), options.key.verifier().clone());
        let beside = read_checkpoint(&file)?.filter(|last| last.claimed().origin == log.name());
        if let Some(last) = &beside {
            last.verify(&log)?;
        }
        let kept = store.checkpoints(1).await?.pop();
        if kept.as_ref().map(|kept| &kept.log) != Some(&log) {
            let before = kept.as_ref().map(|kept| {
                json!({
                    "vkey": kept.log.to_string(), "size": kept.checkpoint.claimed().size,
                    "root": kept.checkpoint.claimed().root,
                })
            });
            let operation =
                Operation { action: "record.key", subject: log.to_string(), detail: json!({ "before": before }) };
            store.record_operation(operation, Actor::Server, clock::now()).await?;
        }
        let kept = kept.filter(|kept| kept.log == log).map(|kept| kept.checkpoint);
        if let Some(kept) = &kept {
            // Whoever writes the database could write one; he has not the key.
            kept.verify(&log)?;
        }
        // Either may be the older one: of a crash between the two, or of a copy that was put back.
        let mut last: Vec<_> = [beside, kept].into_iter().flatten().collect();
        last.sort_by_key(|last| last.claimed().size);
        Ok(Self { store, key: options.key, file, pace: options.pace, last: Mutex::new(last) })
    }

    /// The public half of the key, by which everybody knows the log.
    #[must_use]
    pub const fn log(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// The last checkpoint; signs a first one if there is none.
    ///
    /// # Errors
    /// [`RecordFault`].
    pub async fn latest(&self) -> Result<SignedCheckpoint, RecordFault> {
        let last = self.last.lock().await.last().cloned();
        match last {
            Some(last) => Ok(last),
            None => self.sign(clock::now()).await,
        }
    }

    /// A checkpoint of the record as it is now: the last one if nothing was added since.
    ///
    /// # Errors
    /// [`RecordFault`]: what was signed once must be what the record begins with.
    pub async fn sign(&self, now: UnixTime) -> Result<SignedCheckpoint, RecordFault> {
        let mut last = self.last.lock().await;
        let head = self.store.head().await?;
        for last in last.iter() {
            let (signed, root) = (last.claimed().size, last.claimed().root);
            if head.size < signed {
                return Err(RecordFault::RolledBack { found: head.size, signed });
            }
            if self.root_at(signed, head).await? != Some(root) {
                return Err(RecordFault::Forked { signed });
            }
        }
        if let Some(last) = last.last().filter(|last| last.claimed().size == head.size) {
            return Ok(last.clone());
        }
        if self.root_at(head.size, head).await? != Some(head.root) {
            return Err(RecordFault::Torn { size: head.size });
        }
        let checkpoint = Checkpoint { origin: self.log().name().to_owned(), size: head.size, root: head.root };
        let signed = checkpoint.sign(&self.key)?;
        // Nobody sees it before it cannot be forgotten.
        write_checkpoint(&self.file, &signed)?;
        let kept = KeptCheckpoint { at: now, log: self.log().clone(), checkpoint: signed.clone() };
        self.store.keep_checkpoint(kept).await?;
        *last = vec![signed.clone()];
        Ok(signed)
    }

    /// Proves the entry at `index` by the last checkpoint, or by a new one if that does not reach so far.
    ///
    /// # Errors
    /// [`RecordFault`].
    pub async fn prove(&self, index: u64) -> Result<Proven, RecordFault> {
        let mut checkpoint = self.latest().await?;
        if index >= checkpoint.claimed().size {
            checkpoint = self.sign(clock::now()).await?;
        }
        let size = checkpoint.claimed().size;
        let entry = self.store.ledger_entries(index, 1).await?.into_iter().find(|entry| entry.index == index);
        let entry = entry.filter(|_| index < size).ok_or(RecordFault::NoEntry { index, size })?;
        let tiles = self.fetch(&InclusionProof::nodes(index, size), size).await?;
        let torn = RecordFault::Torn { size };
        let proof = InclusionProof::new(index, size, |node| tiles.hash(node)).ok_or(torn)?;
        if proof.verify(Hash::leaf(&entry.leaf), checkpoint.claimed().root).is_err() {
            return Err(RecordFault::Torn { size });
        }
        Ok(Proven { leaf: entry.leaf, proof, checkpoint })
    }

    /// The root of the first `size` entries, from the tiles.
    async fn root_at(&self, size: u64, head: LedgerHead) -> Result<Option<Hash>, RecordFault> {
        let tiles = self.fetch(&proof::root_nodes(size), head.size).await?;
        Ok(proof::root(size, |node| tiles.hash(node)))
    }

    async fn fetch(&self, nodes: &[Node], size: u64) -> Result<TileHashes, RecordFault> {
        let needed = TileHashes::needed(nodes, size).into_iter().collect();
        let mut held = TileHashes::default();
        for (tile, hashes) in self.store.tiles(needed).await? {
            held.insert(tile, hashes);
        }
        Ok(held)
    }

    /// Signs at its pace until `stop`, and once more then.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signed_at = Instant::now();
        let mut alarmed = false;
        loop {
            let stopping = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
            };
            let last = self.last.lock().await.last().map_or(0, |last| last.claimed().size);
            let outcome = match self.store.head().await {
                Ok(head) => {
                    let grown = head.size.abs_diff(last);
                    let due = stopping || grown >= self.pace.entries || signed_at.elapsed() >= self.pace.interval;
                    if grown > 0 && due {
                        signed_at = Instant::now();
                        self.sign(clock::now()).await.map(|_| ())
                    } else {
                        Ok(())
                    }
                }
                Err(fault) => Err(fault.into()),
            };
            match outcome {
                Ok(()) => {}
                Err(RecordFault::Store(fault)) => {
                    tracing::error!(code = fault.code(), %fault, "no checkpoint was signed, it will be tried again");
                }
                Err(fault) => {
                    self.alarm(&fault, alarmed).await;
                    alarmed = true;
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// Says that the record is not what was signed: in the log each time, in the record once.
    async fn alarm(&self, fault: &RecordFault, again: bool) {
        tracing::error!(alarm = fault.code(), %fault, "the record is not signed");
        if again {
            return;
        }
        metrics::counter!("holdfast_alarms_total", "alarm" => fault.code()).increment(1);
        let operation =
            Operation { action: fault.code(), subject: String::new(), detail: json!({ "why": fault.to_string() }) };
        if let Err(fault) = self.store.record_operation(operation, Actor::Server, clock::now()).await {
            tracing::error!(code = fault.code(), %fault, "the alarm is not recorded");
        }
    }
}

#[cfg(test)]
#[path = "signer_tests.rs"]
mod tests;
