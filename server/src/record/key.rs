//! The key that signs checkpoints, in a file of its own together with the log's name, and the last checkpoint that it
//! signed in a file beside it.
//!
//! Key and name stand in one line, in the form of Go's signed notes, so that no configuration can pair the key with
//! another log's name. The last checkpoint is kept outside of the database, so that an old copy of the database cannot
//! pass for the log.

use std::path::{Path, PathBuf};

use holdfast_identity::TrustDomain;
use holdfast_record::{SignedCheckpoint, SigningKey, note};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::authority::{AuthorityFault, read_secret, replace_public, write_new_secret};

/// A name for a new log: the trust domain's, and unique to it.
fn default_origin(trust_domain: &TrustDomain) -> Result<String, AuthorityFault> {
    let mut unique = [0; 4];
    SystemRandom::new().fill(&mut unique).map_err(|_| AuthorityFault::Crypto { action: "draw the record's name" })?;
    Ok(format!("{trust_domain}/holdfast/{}", hex::encode(unique)))
}

/// Makes a new key of that name, 0600, never over another.
fn make_key(path: &Path, origin: &str) -> Result<SigningKey, AuthorityFault> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new()
        .fill(seed.as_mut_slice())
        .map_err(|_| AuthorityFault::Crypto { action: "draw the key that signs checkpoints" })?;
    let key = SigningKey::from_seed(origin, seed).map_err(|bad| content(path, bad.to_string()))?;
    write_new_secret(path, &key.encode())?;
    Ok(key)
}

/// Reads the key, making one where there is no file: of the name `origin`, or a default one.
///
/// # Errors
/// [`AuthorityFault`] where the file cannot be read or made, holds no key, or the key is of another log than `origin`.
pub fn open_key(path: &Path, origin: Option<&str>, trust_domain: &TrustDomain) -> Result<SigningKey, AuthorityFault> {
    if !path.exists() {
        return match origin {
            Some(origin) => make_key(path, origin),
            None => make_key(path, &default_origin(trust_domain)?),
        };
    }
    read_key(path, origin)
}

/// What is wrong with the key's file; a missing one is not.
///
/// # Errors
/// As [`open_key`], which makes none here.
pub fn check_key(path: &Path, origin: Option<&str>) -> Result<(), AuthorityFault> {
    if path.exists() { read_key(path, origin).map(|_| ()) } else { Ok(()) }
}

fn read_key(path: &Path, origin: Option<&str>) -> Result<SigningKey, AuthorityFault> {
    let text = read_secret(path)?;
    let key = SigningKey::parse(&text).map_err(|bad| content(path, bad.to_string()))?;
    match origin {
        Some(expected) if expected != key.verifier().name() => {
            Err(content(path, format!("the key of {:?}, while record.origin is {expected:?}", key.verifier().name())))
        }
        _ => Ok(key),
    }
}

/// Where the last checkpoint is, beside its key.
pub(super) fn checkpoint_file(key: &Path) -> PathBuf {
    key.with_extension("checkpoint")
}

/// The last checkpoint that was signed, if there is one.
pub(super) fn read_checkpoint(path: &Path) -> Result<Option<SignedCheckpoint>, AuthorityFault> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.len() > note::NOTE_BYTES_MAX as u64 => {
            return Err(AuthorityFault::Content {
                path: path.to_owned(),
                expected: "a checkpoint",
                found: format!("{} bytes", found.len()),
            });
        }
        _ => {}
    }
    let text = std::fs::read_to_string(path).map_err(|source| AuthorityFault::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    let read = text.parse::<SignedCheckpoint>();
    read.map(Some).map_err(|bad| AuthorityFault::Content {
        path: path.to_owned(),
        expected: "a checkpoint",
        found: bad.to_string(),
    })
}

/// Remembers the last checkpoint, on disk before anybody else sees it.
pub(super) fn write_checkpoint(path: &Path, checkpoint: &SignedCheckpoint) -> Result<(), AuthorityFault> {
    replace_public(path, &checkpoint.to_string())
}

fn content(path: &Path, found: String) -> AuthorityFault {
    AuthorityFault::Content { path: path.to_owned(), expected: "a key that signs checkpoints", found }
}
