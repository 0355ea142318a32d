//! `measure eif`: the PCRs of an enclave, from its image.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use holdfast_measurement::Unmeasurable;
use holdfast_measurement::eif::{EIF_BYTES_MAX, Eif};

use super::difference::Difference;
use super::reference::Written;
use super::report::{self, Report};
use super::{input, live};
use crate::exit::Exit;
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  holdfast-policy measure eif app.eif --write app.toml
  holdfast-policy measure eif app.eif --diff-document document.cose

PCR 3 (the parent's role) and PCR 4 (the parent instance) are of the machine, not of the image. An enclave in debug mode
says zero for all of these.";

/// Flags of `measure eif`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MeasureEif {
    /// The enclave image.
    #[arg(value_name = "FILE")]
    image: PathBuf,
    /// An attestation document of an enclave, to be compared.
    #[arg(long, value_name = "FILE")]
    diff_document: Option<PathBuf>,
    #[command(flatten)]
    written: Written,
}

impl MeasureEif {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let image = input::read(&self.image, EIF_BYTES_MAX)?;
        let live = self.diff_document.as_deref().map(live::enclave_pcrs).transpose()?;
        let mut report = match measure(&image) {
            Ok(report) => report,
            Err(error) => return report::unmeasurable(&error, format, out),
        };
        if let Some(live) = live {
            let mut difference = Difference::new();
            for (number, means) in PCRS {
                let expected = report.one(&format!("nitro.pcr.{number}"));
                let expected = expected.and_then(|hex| hex::decode(hex).ok()).unwrap_or_else(|| vec![0; 48]);
                let found = live.get(&number).map(Vec::as_slice).unwrap_or_default();
                difference.compare(&format!("PCR {number}"), &expected, found, means);
            }
            if PCRS.iter().take(3).all(|(number, _)| live.get(number).is_none_or(|pcr| pcr.iter().all(|b| *b == 0))) {
                difference.explain("PCR 0, 1 and 2 are zero: the enclave runs in debug mode".to_owned());
            }
            report.difference = Some(difference);
        }
        self.written.write(&mut report)?;
        report.finish(format, out)
    }
}

/// What each register is made of.
const PCRS: [(u8, &str); 4] = [
    (0, "kernel, command line or a RAM disk differs"),
    (1, "kernel, command line or the first RAM disk differs"),
    (2, "a RAM disk after the first differs: the application"),
    (8, "another certificate signed the image, or none"),
];

fn measure(image: &[u8]) -> Result<Report, Unmeasurable> {
    let eif = Eif::parse(image)?;
    let pcrs = eif.pcrs();
    let mut report = Report::new("eif");
    report.inputs = pcrs.inputs.iter().map(Into::into).collect();
    let registers =
        [(0, Some(&pcrs.image)), (1, Some(&pcrs.boot)), (2, Some(&pcrs.application)), (8, pcrs.signer.as_ref())];
    for (number, register) in registers {
        if let Some(register) = register {
            report.value(format!("nitro.pcr.{number}"), register.value().to_string());
            report.register(format!("PCR {number}"), register);
        }
    }
    if eif.signer().is_none() {
        report.notes.push("nobody signed the image: PCR 8 stays zero".to_owned());
    }
    report.notes.push(format!("architecture {}", if eif.is_arm() { "aarch64" } else { "x86_64" }));
    Ok(report)
}
