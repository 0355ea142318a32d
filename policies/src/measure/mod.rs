//! `measure`: what firmware, image and command line will measure to, with every input that goes in; as reference values
//! for a policy, and beside live evidence. Computes; the mathematics is `holdfast-measurement`. Verifies no evidence: that
//! is `inspect`.

mod difference;
mod eif;
mod input;
mod live;
mod reference;
mod report;
mod search;
mod snp;
mod tdx;
mod uki;

use std::io::Write;

use clap::{Args, Subcommand};

use crate::exit::Exit;
use crate::output::Format;

const EXIT_CODES: &str = "\
Exit codes: 0 computed (and equal to the evidence, where one was given), 1 the files cannot be measured or the evidence
differs, 2 usage or I/O.";

/// Flags of `measure`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Measure {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The launch digest of a SEV-SNP guest.
    Snp(Box<snp::MeasureSnp>),
    /// PCR 0, 1, 2 and 8 of a Nitro enclave, from its image.
    Eif(eif::MeasureEif),
    /// PCR 4, 7, 9, 11 and 12 of a machine that boots a unified kernel image.
    Uki(Box<uki::MeasureUki>),
    /// MRTD, RTMR 1 and RTMR 2 of a TDX guest.
    Tdx(Box<tdx::MeasureTdx>),
}

impl Measure {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        match &self.what {
            What::Snp(snp) => snp.run(format, out),
            What::Eif(eif) => eif.run(format, out),
            What::Uki(uki) => uki.run(format, out),
            What::Tdx(tdx) => tdx.run(format, out),
        }
    }
}
