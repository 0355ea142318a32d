//! The kernel's list of measured files, judged again by a policy: from the part that came along, and what was kept of the
//! part before it.

use holdfast_appraisal::Policy;
use holdfast_appraisal::ima::{ImaSeen, ImaState, ImaUnusable, judge};
use holdfast_evidence::tpm::TpmClaims;
use holdfast_evidence::tpm::ima::Quoted;

use crate::body::Bodies;
use crate::bytes::Digest;
use crate::manifest::Manifest;
use crate::pieces::{Unjoined, join};
use crate::replay::ReplayedEvidence;

/// A list beside the quote that it must lead to.
pub(crate) struct List<'a> {
    offset: u64,
    bytes: Vec<u8>,
    before: Vec<ImaState>,
    claims: &'a TpmClaims,
}

impl<'a> List<'a> {
    /// The list of an attempt; `None` if none came, or no TPM quoted it.
    pub(crate) fn of(
        manifest: &Manifest,
        items: &'a [ReplayedEvidence],
        bodies: &Bodies,
    ) -> Result<Option<Self>, Unjoined> {
        let tpm = items.iter().find_map(|item| match item {
            ReplayedEvidence::Tpm(item) => Some(item.claims()),
            ReplayedEvidence::Snp(_)
            | ReplayedEvidence::Tdx(_)
            | ReplayedEvidence::Nitro(_)
            | ReplayedEvidence::NitroTpm(_)
            | ReplayedEvidence::Gcp(_)
            | ReplayedEvidence::Azure(_) => None,
        });
        let (Some(record), Some(claims)) = (&manifest.measured_files, tpm) else { return Ok(None) };
        let bytes = join(&record.list, bodies)?;
        let before = record.before.iter().filter_map(|text| ImaState::parse(text)).collect();
        Ok(Some(Self { offset: record.offset, bytes, before, claims }))
    }

    /// Whether it goes on where another one ended.
    pub(crate) const fn goes_on(&self) -> bool {
        self.offset > 0
    }

    /// The state that it goes on from under this policy, by its digest: the proof of the attempt before leads to it.
    pub(crate) fn state_before(&self, policy: &Policy) -> Option<Digest> {
        self.before(policy).map(|state| Digest::of(state.encode().as_bytes()))
    }

    fn before(&self, policy: &Policy) -> Option<&ImaState> {
        let digest = &policy.version().digest;
        self.before.iter().find(|state| state.policy == *digest && state.resume.offset == self.offset)
    }

    /// What it says to this policy; `None` if the policy does not ask.
    pub(crate) fn seen(&self, policy: &Policy) -> Option<ImaSeen> {
        if !policy.needs_ima() {
            return None;
        }
        let quoted = Quoted::of(&self.claims.selection, &self.claims.pcrs, &self.claims.clock);
        let before = match self.offset {
            0 => Ok(None),
            _ => self.before(policy).map(Some).ok_or(ImaUnusable::OtherPolicy),
        };
        let judged = before.and_then(|before| judge(policy, &self.bytes, before, &quoted?, &self.claims.pcrs));
        Some(judged.map_or_else(ImaSeen::Unusable, ImaSeen::Judged))
    }
}
