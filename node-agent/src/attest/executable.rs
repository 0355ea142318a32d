//! SHA-256 of the file that a process runs, kept as long as the file does not change.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ring::digest;

/// Bytes of an executable that is hashed; a larger one has no `sha256` selector. The largest programs in the field are
/// some 300 MB, which take a fifth of a second.
pub(super) const EXECUTABLE_BYTES_MAX: u64 = 1 << 30;
/// Longest time that one hash may take, on a slow disk.
const HASH_TIME_MAX: Duration = Duration::from_secs(8);
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Files whose digests are kept; the whole cache is emptied beyond it.
const FILES_MAX: usize = 4096;
/// A file that changed so short a time ago is hashed again next time: its next change might bear the same time stamp,
/// for file systems count in steps of up to two seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(4);

/// What tells one content of one file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a later change must show in the time stamps.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let changed = u64::try_from(self.changed.0.max(self.modified.0)).unwrap_or_default();
        changed.saturating_add(SETTLED_AFTER.as_secs()) <= now
    }
}

/// What is known of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It has no digest: it is no regular file, or too large.
    Nothing,
    /// It was read before, and has not changed.
    Digest([u8; 32]),
    /// It would have to be read.
    New,
}

/// Digests of executables.
#[derive(Debug, Default)]
pub(super) struct Digests {
    known: Mutex<HashMap<State, [u8; 32]>>,
}

impl Digests {
    /// What is known of `file` without reading it.
    pub(super) fn known(&self, file: &File) -> io::Result<Found> {
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.size() > EXECUTABLE_BYTES_MAX {
            return Ok(Found::Nothing);
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.get(&State::of(&metadata)).map_or(Found::New, |digest| Found::Digest(*digest)))
    }

    /// The SHA-256 of `file`; `None` for what is no regular file or too large. Blocks while it reads.
    ///
    /// # Errors
    /// Where the file cannot be read, changes meanwhile, or takes longer than eight seconds.
    pub(super) fn digest(&self, file: &mut File) -> io::Result<Option<[u8; 32]>> {
        match self.known(file)? {
            Found::Digest(digest) => return Ok(Some(digest)),
            Found::Nothing => return Ok(None),
            Found::New => {}
        }
        let state = State::of(&file.metadata()?);
        let digest = hash(file)?;
        if State::of(&file.metadata()?) != state {
            return Err(io::Error::other("the executable changed while it was read"));
        }
        if state.is_settled(SystemTime::now()) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= FILES_MAX {
                known.clear();
            }
            known.insert(state, digest);
        }
        Ok(Some(digest))
    }
}

fn hash(file: &mut File) -> io::Result<[u8; 32]> {
    let begun = Instant::now();
    let mut context = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut total = 0u64;
    loop {
        let read = file.read(&mut chunk)?;
        context.update(chunk.get(..read).unwrap_or_default());
        total = total.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if read == 0 {
            let mut digest = [0; 32];
            digest.copy_from_slice(context.finish().as_ref());
            return Ok(digest);
        }
        if total > EXECUTABLE_BYTES_MAX || begun.elapsed() > HASH_TIME_MAX {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A file with `content`, changed just now.
    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn state(file: &File) -> State {
        State::of(&file.metadata().unwrap())
    }

    #[test]
    fn the_digest_is_that_of_the_content() {
        let digests = Digests::default();
        let digest = digests.digest(&mut File::open(file(b"abc").path()).unwrap()).unwrap().unwrap();
        assert_eq!(hex::encode(digest), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_file_changed_a_moment_ago_is_not_remembered() {
        let digests = Digests::default();
        let file = file(b"good");
        digests.digest(&mut File::open(file.path()).unwrap()).unwrap().unwrap();
        assert!(digests.known.lock().unwrap().is_empty());
    }

    #[test]
    fn an_unchanged_file_is_not_read_again_and_a_changed_one_is() {
        let digests = Digests::default();
        let mut file = file(b"good");
        let mut open = File::open(file.path()).unwrap();
        digests.known.lock().unwrap().insert(state(&open), [7; 32]);
        assert_eq!(digests.digest(&mut open).unwrap(), Some([7; 32]));
        std::thread::sleep(Duration::from_millis(20));
        file.as_file_mut().write_all(b"!").unwrap();
        assert_ne!(digests.digest(&mut File::open(file.path()).unwrap()).unwrap(), Some([7; 32]));
    }

    #[test]
    fn every_field_of_the_state_counts() {
        let digests = Digests::default();
        let file = file(b"good");
        let mut open = File::open(file.path()).unwrap();
        let real = state(&open);
        let others: [fn(&mut State); 5] =
            [|s| s.device += 1, |s| s.inode += 1, |s| s.size += 1, |s| s.modified.1 += 1, |s| s.changed.1 += 1];
        for other in others {
            let mut held = real;
            other(&mut held);
            digests.known.lock().unwrap().insert(held, [7; 32]);
        }
        assert_ne!(digests.digest(&mut open).unwrap(), Some([7; 32]));
    }

    #[test]
    fn settled_is_four_seconds_after_either_stamp() {
        let file = file(b"x");
        let mut state = state(file.as_file());
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        (state.modified, state.changed) = ((100, 0), (100, 0));
        assert!(!state.is_settled(at(103)) && state.is_settled(at(104)));
        state.modified = (200, 0);
        assert!(!state.is_settled(at(104)), "a modification time in the future is never settled");
    }

    #[test]
    fn a_folder_and_an_oversized_file_have_no_digest() {
        let digests = Digests::default();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(digests.digest(&mut File::open(folder.path()).unwrap()).unwrap(), None);
        let sparse = file(b"");
        sparse.as_file().set_len(EXECUTABLE_BYTES_MAX + 1).unwrap();
        assert_eq!(digests.digest(&mut File::open(sparse.path()).unwrap()).unwrap(), None);
    }

    #[test]
    fn the_cache_is_bounded_and_starts_anew_when_it_is_full() {
        let digests = Digests::default();
        // Installed long ago, so that it is remembered.
        let mut shell = File::open("/bin/sh").unwrap();
        let mut other = state(&shell);
        for inode in 0..u64::try_from(FILES_MAX).unwrap() {
            other.inode = u64::MAX - inode;
            digests.known.lock().unwrap().insert(other, [0; 32]);
        }
        digests.digest(&mut shell).unwrap();
        assert_eq!(digests.known.lock().unwrap().keys().copied().collect::<Vec<_>>(), [state(&shell)]);
    }
}
