//! Signatures of webhooks as Standard Webhooks 1.0 has them: over `id.timestamp.body`, HMAC-SHA256 as `v1`, Ed25519 as
//! `v1a`; each key of a file signs, so that keys can be changed without a gap.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::authority::{AuthorityFault, read_secret};

/// Bytes of a shared secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Keys of a file: the current one and the previous.
const KEYS_MAX: usize = 2;

/// What signs the deliveries of one sink.
pub(super) struct Signer {
    secrets: Vec<hmac::Key>,
    keys: Vec<Ed25519KeyPair>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file cannot be read, or others may read it.
    #[error(transparent)]
    File(#[from] AuthorityFault),
    /// It holds something else.
    #[error("{} holds no {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
}

impl Signer {
    /// Reads the keys.
    pub(super) fn read(secrets: Option<&Path>, keys: Option<&Path>) -> Result<Self, KeyFault> {
        let secrets = match secrets {
            Some(path) => lines(path, SECRET, |text| {
                let secret = Zeroizing::new(STANDARD.decode(text.strip_prefix("whsec_")?).ok()?);
                SECRET_BYTES.contains(&secret.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &secret))
            })?,
            None => Vec::new(),
        };
        let keys = match keys {
            Some(path) => lines(path, KEY, |text| {
                let key = Zeroizing::new(STANDARD.decode(text.strip_prefix("whsk_")?).ok()?);
                let (seed, public) = key.split_first_chunk::<32>()?;
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
                (public.is_empty() || public == pair.public_key().as_ref()).then_some(pair)
            })?,
            None => Vec::new(),
        };
        Ok(Self { secrets, keys })
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signed = format!("{id}.{timestamp}.").into_bytes();
        signed.extend_from_slice(body);
        let secrets = self.secrets.iter().map(|key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed))));
        let keys = self.keys.iter().map(|key| format!("v1a,{}", STANDARD.encode(key.sign(&signed))));
        secrets.chain(keys).collect::<Vec<_>>().join(" ")
    }
}

const SECRET: &str = "secrets: one or two lines, each whsec_ and 24 to 64 bytes in base64";
const KEY: &str =
    "Ed25519 keys: one or two lines, each whsk_ and the seed (with or without the public key behind) in base64";

fn lines<T>(path: &Path, expected: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, KeyFault> {
    let content = || KeyFault::Content { path: path.to_owned(), expected };
    let text = read_secret(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Option<Vec<T>> = lines.map(read).collect();
    keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len())).ok_or_else(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(directory: &Path, text: &str) -> PathBuf {
        let path = directory.join("key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn the_signature_is_hmac_sha256_over_id_timestamp_and_body() {
        let directory = tempfile::tempdir().unwrap();
        // Computed with: printf 'msg_1.1674087231.{"a":1}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:… -binary | base64
        let secret = format!("whsec_{}", STANDARD.encode([7; 24]));
        let signer = Signer::read(Some(&file(directory.path(), &secret)), None).unwrap();
        let signature = signer.sign("msg_1", 1_674_087_231, b"{\"a\":1}");
        assert_eq!(signature, "v1,zQHB2mK+5MzD6VmneebX9SUGJZPLctcYk+twsBkOTpQ=");
    }

    #[test]
    fn every_key_of_a_file_signs_and_ed25519_verifies() {
        let directory = tempfile::tempdir().unwrap();
        let keys = format!("whsk_{}\nwhsk_{}\n", STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let signer = Signer::read(None, Some(&file(directory.path(), &keys))).unwrap();
        let signature = signer.sign("id", 5, b"body");
        let parts: Vec<&str> = signature.split(' ').collect();
        assert_eq!(parts.len(), 2);
        for (part, seed) in parts.iter().zip([[1; 32], [2; 32]]) {
            let public = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
            let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public.public_key().as_ref());
            key.verify(b"id.5.body", &STANDARD.decode(part.strip_prefix("v1a,").unwrap()).unwrap()).unwrap();
        }
    }

    #[test]
    fn short_secrets_foreign_keys_and_open_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let other = [STANDARD.encode([[1; 32], [9; 32]].concat()), STANDARD.encode([1; 31])];
        for text in ["", "whsec_AAAA", "AAAA", &format!("whsec_{}", STANDARD.encode([1; 65]))] {
            assert!(Signer::read(Some(&file(directory.path(), text)), None).is_err(), "{text}");
        }
        for text in other {
            assert!(Signer::read(None, Some(&file(directory.path(), &format!("whsk_{text}")))).is_err(), "{text}");
        }
        let open = file(directory.path(), &format!("whsec_{}", STANDARD.encode([1; 24])));
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Signer::read(Some(&open), None), Err(KeyFault::File(_))));
    }
}
