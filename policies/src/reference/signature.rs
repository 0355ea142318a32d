//! `reference sign` and `reference verify`: detached signatures of reference-value files. Which keys count, a policy says.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use holdfast_appraisal::policy::{SIGNATURE_SUFFIX, signed_reference_values};
use holdfast_appraisal::{Document, ReferenceValues};
use holdfast_evidence::crypto::DetachedKey;
use serde::Serialize;

use crate::exit::Exit;
use crate::files;
use crate::output::{Format, json};
use crate::sign;

/// Bytes of a signature's file that are read; it has about a hundred.
const SIGNATURE_FILE_BYTES_MAX: u64 = 4 << 10;

/// Flags of `reference sign`.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The file of reference values; the signature is written to FILE.sig.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The private key: PKCS#8 in PEM, Ed25519 or P-256.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Replace a signature that exists.
    #[arg(long)]
    force: bool,
}

/// Flags of `reference verify`.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The file of reference values; its signature is FILE.sig.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The public key, PEM; repeat it for several, of which one must have signed.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    signature: &'a str,
    signed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Sign {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let text = readable(&self.file)?;
        let signed = sign::signed(&self.key, &signed_reference_values(&text))?;
        let path = signature_of(&self.file);
        files::create_all(&[(path.clone(), format!("{}\n", STANDARD.encode(&signed.signature)))], self.force)?;
        report(&self.file, &path, Some(hex::encode(signed.key.spki_sha256())), format, out)
    }
}

impl Verify {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let text = readable(&self.file)?;
        let path = signature_of(&self.file);
        let digits = String::from_utf8(files::limited(&path, SIGNATURE_FILE_BYTES_MAX)?).unwrap_or_default();
        let signature = STANDARD.decode(digits.split_ascii_whitespace().collect::<String>()).unwrap_or_default();
        let message = signed_reference_values(&text);
        let mut by = None;
        for path in &self.key {
            let key = files::text(path)?;
            let key = DetachedKey::from_pem(&key).map_err(|bad| anyhow::anyhow!("{}: {bad}", path.display()))?;
            if by.is_none() && key.verify(&message, &signature).is_ok() {
                by = Some(hex::encode(key.spki_sha256()));
            }
        }
        report(&self.file, &path, by, format, out)
    }
}

/// The text of a file that is one of reference values: nobody signs, or trusts, what no policy could use.
fn readable(path: &Path) -> anyhow::Result<String> {
    let text = files::text(path)?;
    let name = path.display().to_string();
    ReferenceValues::parse(Document { name: &name, text: &text }).map_err(|findings| files::words(&findings))?;
    Ok(text)
}

fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(SIGNATURE_SUFFIX);
    PathBuf::from(name)
}

fn report(
    file: &Path,
    signature: &Path,
    key: Option<String>,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let (file, signature) = (file.display().to_string(), signature.display().to_string());
    let exit = if key.is_some() { Exit::Yes } else { Exit::Refused };
    let report = Report { file: &file, signature: &signature, signed: key.is_some(), key };
    match (format, &report.key) {
        (Format::Json, _) => json(out, &report)?,
        (Format::Text, Some(key)) => writeln!(out, "{signature}: signed by key {key}")?,
        (Format::Text, None) => writeln!(out, "{signature}: none of the keys made it over {file} as it is")?,
    }
    Ok(exit)
}
