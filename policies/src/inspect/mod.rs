//! `inspect`: verifies raw evidence files as the field's tools write them, and shows what event logs say. Offline: no
//! challenge was drawn, so that nobody can say here that the evidence is fresh unless the nonce is given.

mod amd;
mod azure;
mod azure_hardware;
mod certificates;
mod event_log;
mod evidence;
mod facts;
mod flags;
mod forms;
mod gcp;
mod ima;
mod nitro;
mod quote;
mod report;
mod snp;
mod tdx;
mod told;
mod tools;
mod tpm;
mod vtpm;

use std::io::Write;

use clap::{Args, Subcommand};
use holdfast_appraisal::{Facts, Policy};
use holdfast_identity::UnixTime;

pub(crate) use evidence::examine;
pub(crate) use forms::FILE_BYTES_MAX as EVIDENCE_BYTES_MAX;
pub(crate) use report::Verdict;
pub(crate) use told::Examined;
use told::Told;

use crate::exit::Exit;
use crate::output::Format;

/// Flags of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Verify a TPM's quote with its keys, logs and certificates.
    Tpm(Box<tpm::InspectTpm>),
    /// Verify an attestation report of AMD SEV-SNP with its certificates.
    Snp(Box<snp::InspectSnp>),
    /// Verify a quote of an Intel TDX guest with Intel's collateral.
    Tdx(Box<tdx::InspectTdx>),
    /// Verify the attestation document of an AWS Nitro Enclave.
    Nitro(Box<nitro::InspectNitro>),
    /// Verify the attestation document of an EC2 instance with a NitroTPM.
    Nitrotpm(Box<nitro::InspectNitroTpm>),
    /// Verify evidence of Azure's virtual TPM: of a confidential VM, or with its key's certificate.
    Azure(Box<azure::InspectAzure>),
    /// Verify a quote of Google Cloud's virtual TPM with its key's certificate.
    Gcp(Box<gcp::InspectGcp>),
    /// Show the events of a firmware log, the registers they lead to, and what they prove.
    EventLog(event_log::InspectEventLog),
}

/// What `policy` makes of facts, of a machine that is taken as ours.
pub(crate) fn verdict(policy: &Policy, facts: &Facts, now: UnixTime) -> Option<holdfast_appraisal::Verdict> {
    facts::decided(policy, facts, None, now).map(|(verdict, _)| verdict)
}

impl Inspect {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        self.what.run(&mut Told::new(format, out))
    }
}

impl What {
    fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        match self {
            Self::Tpm(tpm) => tpm.run(told),
            Self::Snp(snp) => snp.run(told),
            Self::Tdx(tdx) => tdx.run(told),
            Self::Nitro(nitro) => nitro.run(told),
            Self::Nitrotpm(nitrotpm) => nitrotpm.run(told),
            Self::Azure(azure) => azure.run(told),
            Self::Gcp(gcp) => gcp.run(told),
            Self::EventLog(log) => log.run(told),
        }
    }
}
