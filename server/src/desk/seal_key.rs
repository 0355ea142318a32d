//! The key that seals challenges: drawn once, kept 0600, shared by servers that shall take each other's challenges.

use std::path::Path;

use holdfast_evidence::SealRing;
use holdfast_evidence::crypto::SealKey;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::authority::{AuthorityFault, read_secret, write_new_secret};

/// Reads the ring from `path`, one key in hex per line: the current one, then at most one previous, which still opens.
/// Where there is no such file it is made, with a new key.
///
/// # Errors
/// [`AuthorityFault`] where the file cannot be read or made, or does not hold one or two keys of 32 bytes.
pub fn seal_ring(path: &Path) -> Result<SealRing, AuthorityFault> {
    if !path.exists() {
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(key.as_mut_slice())
            .map_err(|_| AuthorityFault::Crypto { action: "draw the key that seals challenges" })?;
        let text = Zeroizing::new(format!("{}\n", hex::encode(key.as_slice())));
        match write_new_secret(path, &text) {
            // Another server that shares the directory was first.
            Err(AuthorityFault::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            written => written?,
        }
    }
    let text = read_secret(path)?;
    let mut keys = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(line, key.as_mut_slice()).map_err(|error| content(path, error.to_string()))?;
        keys.push(SealKey::new(*key));
    }
    let found = keys.len();
    let mut keys = keys.into_iter();
    match (keys.next(), keys.next(), keys.next()) {
        (Some(current), previous, None) => Ok(SealRing::new(current, previous)),
        _ => Err(content(path, format!("{found} keys"))),
    }
}

fn content(path: &Path, found: String) -> AuthorityFault {
    AuthorityFault::Content { path: path.to_owned(), expected: "one or two keys of 32 bytes in hex, one a line", found }
}
