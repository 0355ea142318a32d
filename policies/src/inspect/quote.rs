//! The checks on a quote and on the log beside it, one by one.

use holdfast_evidence::crypto::{self, HashAlg};
use holdfast_evidence::tpm::checks;
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog, Replay};
use holdfast_evidence::tpm::{
    AkParent, Attest, AttestationKey, PcrIndex, PcrSelection, PcrSet, Public, QuoteInfo, Signature, Statement,
    Unverified,
};

use super::forms::{self, AnyPublic};
use super::report::{Checks, Refusal};
use super::tpm::{Findings, Inputs, InspectTpm, Parent};

const QUOTE: Statement = Statement::Quote;

impl InspectTpm {
    /// Everything from the attestation key's public area to the facts of the boot.
    pub(super) fn check_quote(
        &self,
        inputs: &Inputs,
        ek: Option<&AnyPublic>,
        checks: &mut Checks,
        findings: &mut Findings,
    ) {
        let ak = checks.note("ak_public", AnyPublic::parse(&inputs.ak));
        let attest = checks.note("attest", Attest::parse(forms::attest(&inputs.attest)));
        let (Some(ak), Some(attest)) = (ak, attest) else { return };
        let key = match &ak {
            AnyPublic::Tpm(public) => checks.note("ak_attributes", AttestationKey::check(public)),
            AnyPublic::Pem(_) => None,
        };
        checks.note("magic", checks::magic(QUOTE, &attest));
        checks.note("type", checks::kind(QUOTE, &attest));
        if let Some(nonce) = &self.nonce {
            checks.note("nonce", checks::nonce(QUOTE, &attest, &nonce.0));
        }
        findings.firmware_version = Some(attest.firmware_version);
        findings.clock = Some(attest.clock);
        let hash = self.check_signature(inputs, &ak, key.as_ref(), &attest, checks);
        if let Some(key) = &key {
            self.check_signer(&attest, key, ek, checks);
        }
        let Ok(info) = checks::quote_info(&attest) else { return };
        let Some(signed) = checks.note("selection", checks::signed_selection(info)) else { return };
        findings.signed = Some(signed);
        if let Some(needed) = &self.require_pcrs {
            checks.note("required_pcrs", checks::required(&signed, needed));
        }
        if let Some(hash) = hash {
            self.check_state(inputs, info, hash, signed, checks, findings);
        }
    }

    /// Scheme and signature; the hash that pcrDigest is by.
    fn check_signature(
        &self,
        inputs: &Inputs,
        ak: &AnyPublic,
        key: Option<&AttestationKey<'_>>,
        attest: &Attest<'_>,
        checks: &mut Checks,
    ) -> Option<HashAlg> {
        let bytes = forms::signature(&inputs.signature, ak);
        let parsed = match Signature::parse(&bytes) {
            Ok(parsed) => parsed,
            Err(malformed) => {
                checks.note::<()>("signature", Err(malformed));
                return None;
            }
        };
        if let Some(key) = key {
            checks.note("scheme", checks::scheme(QUOTE, key, &parsed))?;
            checks.note("signature", checks::signature(QUOTE, key, attest, &parsed))?;
            return Some(key.hash());
        }
        // a bare key has no scheme of its own: the signature names it
        let hash =
            checks.note("scheme", HashAlg::from_id(parsed.hash_id()).ok_or(Unverified::Scheme { statement: QUOTE }))?;
        let verified = crypto::verify(ak.key(), parsed.algorithm(), hash, attest.bytes, parsed.value());
        checks.note("signature", verified.map_err(|_| Unverified::Signature { statement: QUOTE }))?;
        Some(hash)
    }

    fn check_signer(&self, attest: &Attest<'_>, key: &AttestationKey<'_>, ek: Option<&AnyPublic>, checks: &mut Checks) {
        let area: Option<&Public> = match ek {
            Some(AnyPublic::Tpm(public)) => Some(public),
            Some(AnyPublic::Pem(_)) | None => None,
        };
        let primary = checks::signer(QUOTE, attest, key, AkParent::Endorsement);
        let child = area.map(|ek| checks::signer(QUOTE, attest, key, AkParent::Ek(ek)));
        let result = match (self.ak_parent, child) {
            (Some(Parent::Unknown), _) => None,
            (Some(Parent::Endorsement), _) => Some(primary),
            // without the EK's public area nobody can compute the name
            (Some(Parent::Ek), child) => child,
            (None, Some(child)) => Some(primary.or(child)),
            (None, None) => primary.is_ok().then_some(primary),
        };
        if let Some(result) = result {
            checks.note("signer", result);
        }
    }

    /// The log, the registers it leads to, pcrDigest, and what all that proves.
    fn check_state(
        &self,
        inputs: &Inputs,
        info: &QuoteInfo<'_>,
        hash: HashAlg,
        signed: PcrSelection,
        checks: &mut Checks,
        findings: &mut Findings,
    ) {
        let mut replayed: Option<(EventLog<'_>, Replay)> = None;
        if let Some(bytes) = &inputs.log {
            let read = EventLog::parse(bytes).map_err(Refusal::from);
            let read = read.and_then(|log| log.replay(signed.bank).map(|replay| (log, replay)).map_err(Refusal::from));
            match read {
                Ok(read) => replayed = Some(read),
                Err(refusal) => {
                    checks.note::<()>("logs", Err(refusal));
                    return;
                }
            }
        }
        if replayed.is_none() && self.pcr.is_empty() {
            return;
        }
        let claims: Vec<(PcrIndex, &[u8])> = self.pcr.iter().map(|(pcr, value)| (*pcr, value.as_slice())).collect();
        let replay = replayed.as_ref().map(|(_, replay)| replay);
        let result = checks::pcr_values(info, &signed, hash, replay, &claims);
        let proven = match result {
            Ok(proven) => proven,
            Err(refusal @ Unverified::Replay { .. }) => {
                checks.note("pcr_digest", Ok::<_, Refusal>(()));
                checks.note::<()>("logs", Err(refusal));
                return;
            }
            Err(refusal) => {
                let refusal = explained(refusal, &signed, replay, &claims);
                checks.note::<()>("pcr_digest", Err(refusal));
                return;
            }
        };
        checks.note("pcr_digest", Ok::<_, Refusal>(()));
        if let Some((log, _)) = &replayed {
            checks.note("logs", Ok::<_, Refusal>(()));
            findings.boot = checks.note("boot", BootFacts::derive(log, signed.bank, proven.replayed));
        }
        findings.pcrs = Some(proven);
    }
}

/// Names the registers that neither the log nor a flag gives: the usual reason why pcrDigest does not come out.
fn explained(
    refusal: Unverified,
    signed: &PcrSelection,
    replay: Option<&Replay>,
    claims: &[(PcrIndex, &[u8])],
) -> Refusal {
    let claimed: PcrSet = claims.iter().map(|(pcr, _)| *pcr).collect();
    let covered = replay.map(Replay::extended).unwrap_or_default();
    let assumed = signed.pcrs.without(covered).without(claimed);
    let is_digest = matches!(refusal, Unverified::PcrDigest);
    let mut refusal = Refusal::from(refusal);
    if is_digest && !assumed.is_empty() {
        let given = "neither log nor --pcr (pcr under [evidence]; pcrs.txt in a folder, for PCR 10)";
        refusal.detail += &format!("; {given} gives PCR {assumed}, taken as never extended");
    }
    refusal
}
