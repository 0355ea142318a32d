//! What root on an instance can do with a key in software: have it named in the hypervisor's document, and sign with it a
//! quote of PCRs that no TPM has. Written from TPM 2.0 Library Part 2: TPMS_ATTEST, TPMT_SIGNATURE.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::command::short;
use crate::boot;
use crate::digest::Bank;
use crate::error::SimError;
use crate::guest::lab::Lab;
use crate::log;
use crate::profile::Profile;

/// TPM_GENERATED_VALUE and TPM_ST_ATTEST_QUOTE, which software writes as well as a TPM.
const QUOTE: [u8; 6] = [0xff, 0x54, 0x43, 0x47, 0x80, 0x18];
const ALG_SHA384: [u8; 2] = [0x00, 0x0c];
const ALG_ECDSA: [u8; 2] = [0x00, 0x18];
/// Bytes of r, and of s.
const HALF: usize = 48;

/// A key that has never been in a TPM.
pub(super) struct SoftwareKey(EcdsaKeyPair);

impl SoftwareKey {
    /// The lab's, made the first time.
    pub(super) fn of(lab: &Lab) -> Result<Self, SimError> {
        let pkcs8 = lab.kept("software-key.p8", || {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new());
            made.map(|pkcs8| pkcs8.as_ref().to_vec()).map_err(|_| failed("cannot be made"))
        })?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &pkcs8, &SystemRandom::new());
        pair.map(Self).map_err(|_| failed("cannot be read"))
    }

    /// Its point, as a document's `public_key` has it.
    pub(super) fn point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// TPMS_ATTEST and TPMT_SIGNATURE about what booting that profile would have measured.
    pub(super) fn quote(&self, profile: &str, extra_data: &[u8]) -> Result<[Vec<u8>; 2], SimError> {
        let profile = Profile::load(profile)?;
        let mut pcrs = log::replay(&boot::events(&profile)?, Bank::Sha384, profile.firmware.locality);
        pcrs.retain(|(pcr, _)| *pcr < 24);
        pcrs.sort_by_key(|(pcr, _)| *pcr);
        let selected = pcrs.iter().fold(0_u32, |selected, (pcr, _)| selected | (1 << pcr));
        let values: Vec<u8> = pcrs.into_iter().flat_map(|(_, value)| value).collect();
        let digest = Bank::Sha384.hash(&[&values]);
        let mut attest = QUOTE.to_vec();
        attest.extend(short(0)); // qualifiedSigner
        attest.extend(short(extra_data.len()));
        attest.extend(extra_data);
        // clock, resetCount, restartCount, safe, firmwareVersion
        attest.extend([0; 8 + 4 + 4]);
        attest.push(1);
        attest.extend([0; 8]);
        attest.extend(1_u32.to_be_bytes());
        attest.extend(ALG_SHA384);
        attest.push(3);
        attest.extend(selected.to_le_bytes().into_iter().take(3));
        attest.extend(short(digest.len()));
        attest.extend(digest);
        let signed = self.0.sign(&SystemRandom::new(), &attest).map_err(|_| failed("cannot sign"))?;
        let (r, s) = signed.as_ref().split_at(HALF);
        let signature = [&ALG_ECDSA[..], &ALG_SHA384, &short(HALF), r, &short(HALF), s].concat();
        Ok([attest, signature])
    }
}

fn failed(problem: &str) -> SimError {
    SimError::Guest { what: "software key", problem: problem.to_owned() }
}
