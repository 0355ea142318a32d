//! Signed PCR policies of systemd (`systemd-measure sign`, the `.pcrsig` section of a UKI): for each bank a list of
//! `{pcrs, pkfp, pol, sig}`.
//!
//! `pol` is no register value: it is the digest of a policy that only releases a secret while PCR 11 has one value
//! (TPM2_PolicyPCR, always SHA-256), so that nobody can read the value out of it. It can be *tried*: the values that the
//! image's PCR 11 has after each phase are computed, and those count whose policy digest the vendor signed. A vendor's
//! signature over such a digest vouches for the image's sections, command line and initrd, whatever the phase. The
//! signature is RSASSA over `pol` by the bank's hash. What `pkfp` says is not believed: the key comes from a flag.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use holdfast_evidence::crypto::{PublicKey, SignatureAlg, SignatureValue, sha256, verify};
use holdfast_evidence::tpm::Bank;
use holdfast_measurement::pe::IMAGE_BYTES_MAX;
use holdfast_measurement::uki::{PHASES, Uki};
use serde::Deserialize;

use super::draft::Made;
use super::{Destination, Refused, key, machine};
use crate::files;
use crate::learn::{self, Images};

/// Most signatures that are looked at; an image has five a bank and profile.
const SIGNATURES_MAX: usize = 512;
/// TPM2_CC_PolicyPCR.
const POLICY_PCR: [u8; 4] = [0, 0, 1, 0x7f];

/// Flags of `reference from-systemd`.
#[derive(Debug, Args)]
pub(super) struct FromSystemd {
    /// The image whose PCR 11 was signed.
    #[arg(long, value_name = "FILE")]
    uki: PathBuf,
    /// The signatures (tpm2-pcr-signature.json); those in the image's .pcrsig, if not given.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The vendor's public key, PEM. The one in the image proves nothing: whoever made the image chose it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The last phase that systemd has entered when the machine attests: gives the value of PCR 11, if it was signed.
    #[arg(long, value_name = "PHASE", value_parser = PHASES)]
    phase: Option<String>,
    /// The bank of the PCRs.
    #[arg(long, value_name = "BANK", default_value = "sha256")]
    bank: Bank,
    /// Whether firmware will check signatures.
    #[arg(long, value_name = "STATE")]
    secure_boot: Option<learn::Switch>,
    #[command(flatten)]
    pub(super) to: Destination,
}

/// One signature as systemd writes it; further keys are its own business.
#[derive(Debug, Deserialize)]
struct Signed {
    pcrs: Vec<u8>,
    pol: String,
    sig: String,
}

impl FromSystemd {
    pub(super) fn draft(&self) -> anyhow::Result<Made> {
        let key = key(&self.key)?;
        if !matches!(key, PublicKey::Rsa { .. }) {
            bail!("{}: systemd signs PCR policies by RSA keys", self.key.display());
        }
        let image = files::limited(&self.uki, IMAGE_BYTES_MAX)?;
        let place = || self.uki.display().to_string();
        let uki = Uki::parse(&image, 0).with_context(place)?;
        let json = match &self.json {
            Some(path) => files::text(path)?,
            None => match uki.sections().iter().find(|section| section.name == ".pcrsig") {
                Some(section) => String::from_utf8_lossy(section.contents).trim_end_matches('\0').to_owned(),
                None => bail!("{}: no .pcrsig section; give the signatures as --json", place()),
            },
        };
        let images = Images { uki: vec![self.uki.clone()], secure_boot: self.secure_boot, ..Images::default() };
        let samples = images.samples(self.bank)?;
        let approved = match approved(&json, &key, self.bank) {
            Ok(approved) => approved,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut vouched = Vec::new();
        for last in 0..=PHASES.len() {
            let phases = PHASES.get(..last).unwrap_or_default();
            let value = uki.pcr11(self.bank, phases).with_context(place)?.value();
            if approved.contains(&policy_digest(self.bank, value.as_bytes())) {
                vouched.push(phases.last().copied().unwrap_or("before any phase"));
            }
        }
        if vouched.is_empty() {
            let detail = format!("none of the {} signed policies fits PCR 11 of this image", approved.len());
            return Ok(Err(Refused::new("reference.systemd.not_this_image", detail)));
        }
        let mut draft = machine::of(&samples);
        let phase = self.phase.as_deref().filter(|phase| vouched.contains(phase));
        machine::registers(&mut draft, &samples, phase);
        let fingerprint = hex::encode(sha256(&[&key.spki()]));
        draft.source = format!(
            "{}: PCR 11 ({}) signed by the key {fingerprint} after: {}",
            files::file_name(&self.uki),
            self.bank,
            vouched.join(", ")
        );
        if let Some(asked) = self.phase.as_deref().filter(|_| phase.is_none()) {
            draft.remarks.push(format!("tpm.pcr.11 after {asked} was not signed, and is left out"));
        }
        draft.remarks.push(
            "the signature vouches for what is measured into PCR 11: tpm.boot.uki_sections; that PCR 4 and 9 follow from the \
             same file is computed, not signed"
                .to_owned(),
        );
        Ok(Ok(draft))
    }
}

/// The policy digests in `json` that `key` signed, over PCR 11 of this bank.
fn approved(json: &str, key: &PublicKey, bank: Bank) -> Result<Vec<[u8; 32]>, Refused> {
    let malformed = |what: &str| Refused::new("reference.systemd.malformed", what.to_owned());
    let table: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|error| malformed(&format!("no JSON object: {error}")))?;
    let listed = table
        .get(bank.as_str())
        .ok_or_else(|| Refused::new("reference.systemd.bank", format!("nothing is signed for the bank {bank}")))?;
    let listed: Vec<Signed> =
        serde_json::from_value(listed.clone()).map_err(|error| malformed(&format!("bank {bank}: {error}")))?;
    if listed.len() > SIGNATURES_MAX {
        return Err(malformed(&format!("{} signatures, limit {SIGNATURES_MAX}", listed.len())));
    }
    let mut approved = Vec::new();
    for signed in listed.iter().filter(|signed| signed.pcrs == [11]) {
        let policy: [u8; 32] = hex::decode(&signed.pol)
            .ok()
            .and_then(|policy| policy.try_into().ok())
            .ok_or_else(|| malformed("pol is no SHA-256 digest"))?;
        let signature = STANDARD.decode(&signed.sig).map_err(|_| malformed("sig is no base64"))?;
        let value = SignatureValue::Rsa(&signature);
        verify(key, SignatureAlg::Rsassa, bank, &policy, value).map_err(|_| {
            Refused::new("reference.systemd.signature", "a signature does not verify under the key that was given")
        })?;
        approved.push(policy);
    }
    if approved.is_empty() {
        return Err(Refused::new(
            "reference.systemd.nothing_signed",
            format!("nothing is signed over PCR 11 of {bank}"),
        ));
    }
    Ok(approved)
}

/// The digest of TPM2_PolicyPCR, from the start of a session, for PCR 11 of `bank` with this value.
/// TPM 2.0 Library Part 3, TPM2_PolicyPCR.
fn policy_digest(bank: Bank, value: &[u8]) -> [u8; 32] {
    // TPML_PCR_SELECTION: one bank, three bytes of bits, PCR 11
    let [high, low] = bank.id().to_be_bytes();
    let selection = [0, 0, 0, 1, high, low, 3, 0, 0x08, 0];
    sha256(&[&[0; 32], &POLICY_PCR, &selection, &sha256(&[value])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_digest_is_the_one_that_systemd_measure_writes() {
        // from systemd-measure 252 over sections of its own; value from `calculate`, policy from `sign`
        let value = hex::decode("ed014fa8db27d846e8fcd5dc1bf9347d09d170df0be2de57b1ce76e65da4920b").unwrap();
        let policy = "d91cc01588281136c3b64938a9a1bd395de9aef6f288f5ee6ae6ab0fc52537a0";
        assert_eq!(hex::encode(policy_digest(Bank::Sha256, &value)), policy);
    }
}
