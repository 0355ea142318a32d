//! `sign`: the signature of a policy version, for servers that take signed policies alone. Keeps no key.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use holdfast_appraisal::policy::signed_policy_version;
use holdfast_evidence::crypto::{DetachedKey, DetachedSigner, Zeroizing};
use ring::rand::SystemRandom;
use serde::Serialize;

use crate::exit::Exit;
use crate::files;
use crate::output::{Format, json};

/// Bytes of a key's file that are read.
const KEY_BYTES_MAX: usize = 16 << 10;

/// Flags of `sign`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast-policy sign rack.toml --key author.pem --write rack.sig\n  \
                        holdfast-server policy apply rack.toml --signature rack.sig")]
pub struct Sign {
    /// The policy; the files that it names are part of what is signed.
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// The private key: PKCS#8 in PEM, Ed25519 or P-256.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file for the signature, which must not exist.
    #[arg(long, value_name = "FILE")]
    write: PathBuf,
}

#[derive(Serialize)]
struct Report {
    policy: String,
    digest: String,
    signature: String,
    key: String,
}

/// A signature, and whose it is.
pub(crate) struct Signed {
    pub(crate) signature: Vec<u8>,
    pub(crate) key: DetachedKey,
}

impl Sign {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let policy = files::bundle(&self.policy)?.parse();
        let policy = policy.map_err(|findings| files::words(&files::with_paths(findings, &self.policy)))?;
        let digest = policy.version().digest.clone();
        let signed = signed(&self.key, &signed_policy_version(&digest))?;
        let shown = self.write.display().to_string();
        let cannot = || format!("cannot write {shown}");
        let mut file = std::fs::File::create_new(&self.write).with_context(cannot)?;
        file.write_all(&signed.signature).with_context(cannot)?;
        let key = hex::encode(signed.key.spki_sha256());
        let report = Report { policy: policy.version().name.clone(), digest, signature: shown, key };
        match format {
            Format::Json => json(out, &report)?,
            Format::Text => {
                let Report { policy, digest, signature, key } = &report;
                writeln!(out, "{signature}: {policy} {digest}, signed by key {key}")?;
            }
        }
        Ok(Exit::Yes)
    }
}

/// Signs `message` by the key in this file, of which nothing stays in memory that is ours to wipe.
pub(crate) fn signed(key: &Path, message: &[u8]) -> anyhow::Result<Signed> {
    let bytes = Zeroizing::new(secret(key)?);
    let pem = std::str::from_utf8(&bytes).map_err(|_| anyhow!("{} is not PEM", key.display()))?;
    let rng = SystemRandom::new();
    let signer = DetachedSigner::from_pem(pem, &rng).map_err(|bad| anyhow!("{}: {bad}", key.display()))?;
    let fault = |_| anyhow!("{}: the key cannot be used", key.display());
    let public = signer.key().map_err(fault)?;
    let signature = signer.sign(message, &rng).map_err(fault)?;
    // A faulty computation would give the key away to whoever sees what it made.
    if public.verify(message, &signature).is_err() {
        bail!("{}: the signature does not verify, so it is not written", key.display());
    }
    Ok(Signed { signature, key: public })
}

/// The file's bytes, read into one buffer that does not move: a buffer that grows leaves copies behind.
fn secret(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = vec![0_u8; KEY_BYTES_MAX];
    let mut file = std::fs::File::open(path).with_context(cannot)?;
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).with_context(cannot)? {
            0 => break,
            read => length += read,
        }
    }
    if length == KEY_BYTES_MAX {
        bail!("{} is no file of one key: larger than {KEY_BYTES_MAX} bytes", path.display());
    }
    bytes.truncate(length);
    Ok(bytes)
}
