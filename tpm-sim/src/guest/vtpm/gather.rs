//! A guest's evidence in files, gathered through its TPM as software on the machine would.

use std::fs;

use super::azure::{self, AzureSpec, Hardware};
use super::forged::SoftwareKey;
use super::gcp::{self, GcpSpec};
use super::{RunningVtpm, machine_of, nitrotpm};
use crate::console::{Request, is_running, tell};
use crate::digest::Bank;
use crate::error::{SimError, file};
use crate::guest::lab::Lab;
use crate::guest::nitro::Asked;
use crate::guest::place::{Guest, GuestSpec};
use crate::tpm::client::Client;
use crate::tpm::commands;

/// PCRs that are quoted: what firmware and loaders extend.
const QUOTED: std::ops::Range<u32> = 0..16;
const PCRS: std::ops::Range<u32> = 0..24;

/// Files: a name and what is in it.
type Files = Vec<(&'static str, Vec<u8>)>;

/// The evidence of a guest that asks with these 32 bytes and this nonce. A machine that does not run is started for it.
///
/// # Errors
/// What its TPM, swtpm or the disk say.
pub fn gather(lab: &Lab, guest: &Guest, binding: &[u8], nonce: &[u8]) -> Result<Files, SimError> {
    let directory = machine_of(guest.directory());
    let _held = if is_running(&directory) { None } else { Some(RunningVtpm::start(lab, guest)?) };
    let report = tell(&directory, &Request::Status)?;
    let running =
        report.running.ok_or(SimError::Console { path: directory.clone(), problem: "no power".to_owned() })?;
    let mut tpm = Client::connect(running.port, &directory)?;
    let log = fs::read(&report.firmware_log).map_err(file("read", &report.firmware_log))?;
    let mut files = match guest.spec()? {
        GuestSpec::NitroTpm(spec) => {
            let asked = Asked { nonce: Some(nonce.to_vec()), user_data: Some(binding.to_vec()), public_key: None };
            let mut files = vec![("document.cose", nitrotpm::document_of(&spec, lab, &mut tpm, &asked)?)];
            if let Some(profile) = &spec.forged_quote {
                let [attest, signature] = SoftwareKey::of(lab)?.quote(profile, nonce)?;
                files.extend([("quote.msg", attest), ("quote.sig", signature)]);
            }
            return Ok(files);
        }
        GuestSpec::Azure(spec) => of_azure(lab, &spec, &mut tpm, binding)?,
        GuestSpec::Gcp(spec) => of_gcp(&spec, &mut tpm, binding)?,
        GuestSpec::Snp(_) | GuestSpec::Tdx(_) | GuestSpec::Nitro(_) => Vec::new(),
    };
    let mut pcrs = Vec::new();
    for pcr in PCRS {
        pcrs.extend(commands::pcr(&mut tpm, Bank::Sha256, pcr)?);
    }
    files.extend([("pcrs.bin", pcrs), ("event-log.bin", log)]);
    Ok(files)
}

/// What an index holds.
fn provided(tpm: &mut Client, index: u32) -> Result<Vec<u8>, SimError> {
    let size = commands::nv_size(tpm, index)?;
    commands::nv_read(tpm, index, &[], size)
}

fn of_azure(lab: &Lab, spec: &AzureSpec, tpm: &mut Client, binding: &[u8]) -> Result<Files, SimError> {
    // the first command has the front put the key into its place
    let certificate = (spec.ak_certificate || spec.hardware == Hardware::None)
        .then(|| provided(tpm, azure::AK_CERTIFICATE))
        .transpose()?;
    let mut files = Files::new();
    if spec.hardware != Hardware::None {
        let report = provided(tpm, azure::HCL_REPORT)?;
        match spec.hardware {
            Hardware::Tdx => {
                let report_data = report.get(0x20 + 128..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; 64]);
                let intel = lab.intel()?;
                files.push(("td-quote.bin", intel.quote(&spec.tdx, &report_data)?));
                let collateral = intel.documents(&spec.tdx)?.to_json();
                files.push(("collateral.json", serde_json::to_vec_pretty(&collateral).unwrap_or_default()));
            }
            Hardware::Snp | Hardware::None => {
                let [vek, chain] = lab.amd(&spec.snp.product)?.files(&spec.snp)?;
                files.extend([("vek.pem", vek), ("chain.pem", chain)]);
            }
        }
        files.push(("hcl.bin", report));
    }
    files.extend(certificate.map(|certificate| ("ak-cert.der", certificate)));
    files.push(("ak.pub", commands::read_public(tpm, azure::AK)?));
    files.extend(quoted(tpm, azure::AK, binding)?);
    Ok(files)
}

fn of_gcp(spec: &GcpSpec, tpm: &mut Client, binding: &[u8]) -> Result<Files, SimError> {
    let (certificate, template) = if spec.ecc { gcp::ECC } else { gcp::RSA };
    let certificate = provided(tpm, certificate)?;
    let template = provided(tpm, template)?;
    let (handle, public) = commands::create_primary(tpm, commands::ENDORSEMENT, &template)?;
    let quoted = quoted(tpm, handle, binding);
    commands::flush(tpm, handle)?;
    Ok([vec![("ak-cert.der", certificate), ("ak.pub", public)], quoted?].concat())
}

fn quoted(tpm: &mut Client, key: u32, binding: &[u8]) -> Result<Files, SimError> {
    let (attest, signature) = commands::quote(tpm, key, binding, Bank::Sha256, QUOTED)?;
    Ok(vec![("quote.msg", attest), ("quote.sig", signature)])
}
