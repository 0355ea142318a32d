//! `reference`: files of reference values from what others say: a golden machine, image files, systemd's signed PCR
//! policies, CoRIM files. Each import says in the file where its values come from and how far that was verified. Signs
//! such files, too.

mod cbor;
mod corim;
mod corim_snp;
mod draft;
mod machine;
mod reason;
mod signature;
mod signed_pcrs;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
use holdfast_evidence::crypto::PublicKey;
use x509_parser::pem::parse_x509_pem;

use crate::exit::Exit;
use crate::files;
use crate::moment::{self, Moment};
use crate::output::Format;
use reason::Reason;

const EXAMPLES: &str = "\
Examples:
  holdfast-policy reference from-evidence golden/machine-1 --write debian-12.toml
  holdfast-policy reference from-uki linux.efi --phase ready --write linux.toml
  holdfast-policy reference from-kernel vmlinuz --initrd initrd.img --append 'root=/dev/vda ro' --write kernel.toml
  holdfast-policy reference from-systemd --uki linux.efi --key tpm2-pcr-public-key.pem --write linux.toml
  holdfast-policy reference from-corim sev-snp.cbor --product genoa --write platform.toml
  holdfast-policy reference sign debian-12.toml --key vendor.pem
  holdfast-policy reference verify debian-12.toml --key vendor-public.pem

Exit codes: 0 imported, signed or verified, 1 refused, 2 usage or I/O, 3 nothing that could be written.";

/// Flags of `reference`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Reference {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What golden machines booted, from their evidence.
    FromEvidence(machine::FromEvidence),
    /// What a unified kernel image will measure to.
    FromUki(machine::FromUki),
    /// What a kernel, its initrd and command line will measure to.
    FromKernel(machine::FromKernel),
    /// A unified kernel image whose PCR 11 a vendor signed (systemd-measure, .pcrsig).
    FromSystemd(signed_pcrs::FromSystemd),
    /// The reference values of a CoRIM file about SEV-SNP, signed or not.
    FromCorim(corim::FromCorim),
    /// Sign a file of reference values: policies with reference_keys want that.
    Sign(signature::Sign),
    /// Check the signature of a file of reference values.
    Verify(signature::Verify),
}

/// Where the values go; shared by all imports.
#[derive(Clone, Debug, Args)]
struct Destination {
    /// The file of reference values to write; it must not exist.
    #[arg(long, value_name = "FILE")]
    write: PathBuf,
    /// The name by which policies refer to it; the file's own without ending, if not given.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What the values are of.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// The date that the file says; now, if not given.
    #[arg(long, value_name = "RFC3339", value_parser = moment::parse)]
    at: Option<Moment>,
    /// Replace a file that exists.
    #[arg(long)]
    force: bool,
}

/// An import that does not come about because of what was given: a code and its words.
#[derive(Clone, Debug)]
struct Refused {
    reason: Reason,
    detail: String,
}

impl Refused {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl Reference {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let (destination, made) = match &self.what {
            What::FromEvidence(from) => (&from.to, from.draft()?),
            What::FromUki(from) => (&from.to, from.draft()?),
            What::FromKernel(from) => (&from.to, from.draft()?),
            What::FromSystemd(from) => (&from.to, from.draft()?),
            What::FromCorim(from) => (&from.to, from.draft()?),
            What::Sign(sign) => return sign.run(format, out),
            What::Verify(verify) => return verify.run(format, out),
        };
        draft::conclude(destination, made, format, out)
    }
}

/// A public key that a flag names: PEM of a SubjectPublicKeyInfo, or of a certificate.
///
/// # Errors
/// The file cannot be read, or holds no key of a kind that is verified here.
fn key(path: &Path) -> anyhow::Result<PublicKey> {
    let bytes = files::limited(path, 1 << 20)?;
    let Ok((_, pem)) = parse_x509_pem(&bytes) else { bail!("{} is no PEM file", path.display()) };
    let key = match pem.label.as_str() {
        "CERTIFICATE" => pem.parse_x509().ok().and_then(|certificate| PublicKey::from_parsed(certificate.public_key())),
        _ => PublicKey::from_spki(&pem.contents).ok(),
    };
    match key {
        Some(key) => Ok(key),
        None => bail!("{}: expected a public key: RSA of 2048 bits or more, P-256 or P-384", path.display()),
    }
}
