//! `guest evidence`: evidence in files, as `holdfast-policy inspect` and other tools read them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Which;
use crate::cli::{Failure, Format, absolute};
use crate::error::{SimError, file};
use crate::guest::nitro::{self, Asked};
use crate::guest::vtpm::gather;
use crate::guest::{Guest, GuestSpec, Lab, tdx};

#[derive(Debug, Args)]
pub(in crate::cli) struct Evidence {
    #[command(flatten)]
    which: Which,
    /// What the guest has signed, hex: report data (up to 64 bytes, zeros behind it), user data, or a quote's extraData.
    #[arg(long, default_value = "")]
    binding: String,
    /// The nonce of a Nitro document, hex.
    #[arg(long, default_value = "")]
    nonce: String,
    /// Where the files go.
    #[arg(long)]
    to: PathBuf,
}

/// One file: its name and what is in it.
type Files = Vec<(&'static str, Vec<u8>)>;

impl Evidence {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
        let guest = self.which.open()?;
        let files = self.files(&guest)?;
        let to = absolute(&self.to)?;
        fs::create_dir_all(&to).map_err(file("create", &to))?;
        let mut written: Vec<PathBuf> = Vec::new();
        for (name, contents) in files {
            let path = to.join(name);
            fs::write(&path, contents).map_err(file("write", &path))?;
            written.push(path);
        }
        match format {
            Format::Json => format.json(out, &written)?,
            Format::Text => written.iter().try_for_each(|path| writeln!(out, "{}", path.display()))?,
        }
        Ok(())
    }

    fn files(&self, guest: &Guest) -> Result<Files, SimError> {
        let lab = lab_of(guest.directory());
        let (binding, nonce) = (bytes("binding", &self.binding)?, bytes("nonce", &self.nonce)?);
        let spec = guest.spec()?;
        let mut files = match &spec {
            GuestSpec::Snp(spec) => {
                let amd = lab.amd(&spec.product)?;
                let (report, table) = amd.attest(spec, &padded(&binding)?)?;
                let [vek, chain] = amd.files(spec)?;
                vec![("report.bin", report), ("table.bin", table), ("vek.pem", vek), ("chain.pem", chain)]
            }
            GuestSpec::Tdx(spec) => {
                let intel = lab.intel()?;
                let quote = intel.quote(spec, &padded(&binding)?)?;
                let collateral = serde_json::to_vec_pretty(&intel.documents(spec)?.to_json()).unwrap_or_default();
                let log = tdx::Measured::of(spec)?.log.map(|log| ("ccel.bin", log));
                [vec![("quote.bin", quote), ("collateral.json", collateral)], log.into_iter().collect()].concat()
            }
            GuestSpec::Nitro(spec) => {
                let asked = Asked { nonce: Some(nonce), user_data: Some(binding), public_key: None };
                vec![("document.cose", nitro::enclave_document(spec, &*lab.hypervisor()?, &asked)?)]
            }
            GuestSpec::NitroTpm(_) | GuestSpec::Azure(_) | GuestSpec::Gcp(_) => gather(&lab, guest, &binding, &nonce)?,
        };
        let roots: Result<Vec<Vec<u8>>, SimError> = lab.roots_of(&spec)?.iter().map(|root| read(root)).collect();
        files.push(("roots.pem", roots?.concat()));
        Ok(files)
    }
}

/// The lab of `DIR/guests/NAME`.
fn lab_of(guest: &Path) -> Lab {
    Lab::open(guest.ancestors().nth(2).unwrap_or(guest))
}

fn read(path: &Path) -> Result<Vec<u8>, SimError> {
    fs::read(path).map_err(file("read", path))
}

fn bytes(what: &'static str, text: &str) -> Result<Vec<u8>, SimError> {
    hex::decode(text).map_err(|_| SimError::Guest { what, problem: format!("expected hex, found {text:?}") })
}

/// 64 bytes, zeros behind what was given.
fn padded(bytes: &[u8]) -> Result<[u8; 64], SimError> {
    let mut all = [0; 64];
    let place = all.get_mut(..bytes.len());
    let place = place.ok_or(SimError::Guest { what: "binding", problem: "longer than 64 bytes".to_owned() })?;
    place.copy_from_slice(bytes);
    Ok(all)
}
