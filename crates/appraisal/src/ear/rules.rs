//! Which facts earn which claims: the rules of docs/ear.md, one function a claim. A claim without a fact that proves it is
//! not made, and evidence below a simulator's root affirms nothing.

use std::collections::BTreeMap;

use holdfast_evidence::{EvidenceKind, Provenance};

use super::ItemResult;
use super::vector::{Claim, SIMULATED, Tier};
use crate::decision::{Decision, Grant, Rejection, RetracedDecision, Verdict, holds_now};
use crate::facts::{AzureFact, FactId, Facts, NitroFact, SnpFact, TdxFact};
use crate::ima;
use crate::policy::{Condition, Policy, Test};
use crate::value::Value;

/// How the policy decided.
#[derive(Clone, Copy, Debug)]
pub enum Judged<'a> {
    /// The machine is admitted.
    Admitted(&'a Grant),
    /// But for an operator's approval.
    Awaits(&'a Rejection),
    /// It is not.
    Refused(&'a Rejection),
}

impl<'a> From<&'a Decision> for Judged<'a> {
    fn from(decision: &'a Decision) -> Self {
        match decision {
            Decision::Admitted(node) => Self::Admitted(node.grant()),
            Decision::AwaitsApproval(rejection) => Self::Awaits(rejection),
            Decision::Refused(rejection) => Self::Refused(rejection),
        }
    }
}

impl<'a> From<&'a RetracedDecision> for Judged<'a> {
    fn from(decision: &'a RetracedDecision) -> Self {
        match decision {
            RetracedDecision::Admitted { grant, .. } => Self::Admitted(grant),
            RetracedDecision::AwaitsApproval(rejection) => Self::Awaits(rejection),
            RetracedDecision::Refused(rejection) => Self::Refused(rejection),
        }
    }
}

impl<'a> From<&'a Verdict> for Judged<'a> {
    fn from(verdict: &'a Verdict) -> Self {
        match verdict {
            Verdict::Admit(grant) => Self::Admitted(grant),
            Verdict::AwaitsApproval(rejection) => Self::Awaits(rejection),
            Verdict::Refuse(rejection) => Self::Refused(rejection),
        }
    }
}

/// What can be told of each kind of evidence that `facts` come from.
#[must_use]
pub fn appraised(policy: &Policy, facts: &Facts, judged: Judged<'_>) -> Vec<ItemResult> {
    let after_boot = after_boot(policy, judged);
    let rules = |kind| Rules { kind, facts, judged, pinned: pinned(policy, facts, judged), after_boot };
    facts.kinds().map(|kind| rules(kind).result()).collect()
}

/// What is known of the files that a machine loaded once its kernel ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterBoot {
    /// Nothing: the rule that admitted it does not ask.
    Unknown,
    /// Each is listed or signed, but for paths or violations that the rule leaves to themselves, or for hashes that can be
    /// made to meet.
    Most,
    /// Each is listed or signed.
    All,
}

fn after_boot(policy: &Policy, judged: Judged<'_>) -> AfterBoot {
    let Judged::Admitted(grant) = judged else { return AfterBoot::Unknown };
    let rule = policy.rules.iter().find(|rule| rule.name == grant.rule);
    match rule.and_then(|rule| rule.ima.as_ref()) {
        Some(ima) if ima.leaves_nothing_out() => AfterBoot::All,
        Some(_) => AfterBoot::Most,
        None => AfterBoot::Unknown,
    }
}

/// What can be told of evidence that did not verify. Where its hardware vouched for it all the same, no claim is made but
/// that something in it cannot be accepted.
#[must_use]
pub fn unverified(kind: EvidenceKind, genuine: bool) -> ItemResult {
    let (value, why) = if genuine {
        (1, "signed by its hardware, but something in it is not as it must be")
    } else {
        (99, "the evidence did not verify")
    };
    let claims = [Claim::InstanceIdentity, Claim::Configuration, Claim::Executables, Claim::Hardware];
    let claims = claims.into_iter().map(|claim| (claim, (value, why.to_owned()))).collect();
    ItemResult::new(kind, Tier::Contraindicated, claims)
}

/// The facts of which the policy names every value that it accepts, where it admitted the machine by them.
fn pinned(policy: &Policy, facts: &Facts, judged: Judged<'_>) -> Vec<FactId> {
    let Judged::Admitted(grant) = judged else { return Vec::new() };
    let Some(rule) = policy.rules.iter().find(|rule| rule.name == grant.rule) else { return Vec::new() };
    let alternative = rule.alternatives.iter().find(|one| grant.alternative.as_ref() == Some(&one.name));
    let conditions = rule.require.iter().chain(alternative.into_iter().flat_map(|one| &one.require));
    // A condition that was waived does not hold, and pins nothing.
    let pins = |condition: &&Condition| names_all(&condition.test) && holds_now(condition, facts);
    conditions.filter(pins).map(|condition| condition.fact).collect()
}

fn names_all(test: &Test) -> bool {
    matches!(test, Test::Equals(_) | Test::OneOf(_) | Test::SubsetOf(_) | Test::Exactly(_) | Test::Sequence(_))
}

type Reason = (i8, String);

fn because(value: i8, why: impl Into<String>) -> Option<Reason> {
    Some((value, why.into()))
}

struct Rules<'a> {
    kind: EvidenceKind,
    facts: &'a Facts,
    judged: Judged<'a>,
    pinned: Vec<FactId>,
    after_boot: AfterBoot,
}

impl Rules<'_> {
    fn result(&self) -> ItemResult {
        let made = [
            (Claim::InstanceIdentity, self.instance_identity()),
            (Claim::Configuration, self.configuration()),
            (Claim::Executables, self.executables()),
            (Claim::Hardware, self.hardware()),
            (Claim::RuntimeOpaque, self.runtime_opaque()),
        ];
        let simulated = self.provenance() == Provenance::Simulated;
        let claims: BTreeMap<Claim, Reason> = made
            .into_iter()
            .filter_map(|(claim, reason)| {
                let (value, why) = reason?;
                let affirmed = Tier::of(value) == Tier::Affirming;
                let reason =
                    if simulated && affirmed { (SIMULATED, format!("{why}; but simulated")) } else { (value, why) };
                Some((claim, reason))
            })
            .collect();
        let status = match self.judged {
            Judged::Admitted(_) => Tier::None,
            Judged::Awaits(_) | Judged::Refused(_) => Tier::Contraindicated,
        };
        ItemResult::new(self.kind, status, claims)
    }

    fn instance_identity(&self) -> Option<Reason> {
        match self.judged {
            Judged::Admitted(grant) => {
                let factor = grant.ownership.iter().find(|factor| **factor != "any-genuine-device")?;
                because(2, format!("ours by {factor}"))
            }
            Judged::Awaits(_) => because(97, "no operator has approved it yet"),
            Judged::Refused(rejection) => {
                let says = |code: &str| rejection.differences.iter().any(|difference| difference.code == code);
                if says("policy.ownership.approval_denied") {
                    return because(96, "turned down by an operator");
                }
                let strange = ["not_in_inventory", "not_a_registered_launch", "approval_awaited"];
                let strange = strange.into_iter().find(|code| says(&format!("policy.ownership.{code}")))?;
                because(97, format!("not recognised: {strange}"))
            }
        }
    }

    fn hardware(&self) -> Option<Reason> {
        let class = FactId::class_of(self.kind);
        if let Some(code) = self.difference(|fact| fact == class.to_string()) {
            return because(97, format!("{code}: {class}"));
        }
        let of_firmware = |fact: &str| {
            let spoken = self.speaks().iter().any(|kind| fact.starts_with(&format!("{}.", kind.as_str())));
            spoken && (fact.contains(".tcb.") || fact.contains(".tee_tcb_svn") || fact.contains("firmware"))
        };
        if let Some(code) = self.difference(of_firmware) {
            let denied = matches!(code, "policy.denied" | "policy.fact.denied");
            return because(if denied { 96 } else { 32 }, format!("firmware: {code}"));
        }
        if !matches!(self.provenance(), Provenance::Hardware | Provenance::Simulated) {
            return None;
        }
        if let Some(status) = self.text(FactId::Tdx(TdxFact::TcbStatus)) {
            let good = status == "UpToDate";
            return because(if good { 2 } else { 32 }, format!("TCB status {status}"));
        }
        if self.flag(FactId::Snp(SnpFact::ProvisionalFirmware)) == Some(true) {
            return because(32, "firmware that is not committed");
        }
        because(2, "a root of the vendor's leads to the key that signed")
    }

    fn configuration(&self) -> Option<Reason> {
        if self.flag(FactId::Snp(SnpFact::PolicyDebug)) == Some(true) {
            return because(96, "the host may debug the guest");
        }
        let weak = [
            (FactId::Snp(SnpFact::PolicyMigrationAgent), true, "a migration agent may take the guest elsewhere"),
            (FactId::DmaProtectionDisabled, true, "the firmware switched DMA protection off"),
            (FactId::Azure(AzureFact::ConsoleEnabled), true, "the host may type at the console"),
            (FactId::SecureBootEnabled, false, "Secure Boot is off"),
            (FactId::Tdx(TdxFact::SecureBootEnabled), false, "Secure Boot is off"),
            (FactId::Tdx(TdxFact::Perfmon), true, "the host may count the guest's events"),
        ];
        let found = weak.into_iter().find(|(fact, bad, _)| self.flag(*fact) == Some(*bad));
        if let Some((_, _, why)) = found {
            return because(32, why);
        }
        if self.text(FactId::Tdx(TdxFact::TcbStatus)).is_some_and(|status| status.contains("Configuration")) {
            return because(32, "the platform's configuration is not what Intel advises");
        }
        let Judged::Admitted(_) = self.judged else { return None };
        for fact in [FactId::SecureBootEnabled, FactId::Tdx(TdxFact::SecureBootEnabled)] {
            if self.flag(fact) == Some(true) && self.pins(fact) {
                return because(2, "Secure Boot is on, as the policy wants it");
            }
        }
        if self.flag(FactId::Snp(SnpFact::PolicyDebug)) == Some(false) {
            return because(2, "a guest policy without debugging and migration");
        }
        if self.flag(FactId::Tdx(TdxFact::SeptVeDisable)) == Some(true) {
            return because(2, "attributes without debugging");
        }
        None
    }

    fn executables(&self) -> Option<Reason> {
        let sets = self.what_ran();
        let all: Vec<FactId> = sets.iter().flatten().flatten().copied().collect();
        let named = |fact: &str| all.iter().any(|id| id.to_string() == fact);
        match self.difference(named) {
            Some(code @ ("policy.denied" | "policy.fact.denied")) => return because(96, code),
            Some(code @ ("policy.fact.differs" | "policy.fact.not_allowed")) => return because(33, code),
            _ => {}
        }
        // The list of measured files goes with the quote of a TPM.
        if let (Some(code), EvidenceKind::Tpm) = (self.measured_files_differ(), self.kind) {
            return because(33, code);
        }
        let Judged::Admitted(grant) = self.judged else { return None };
        let listed = grant.ownership.contains(&"launch") && self.kind != EvidenceKind::Azure;
        if listed && self.get(FactId::Snp(SnpFact::Launch)).or(self.get(FactId::Tdx(TdxFact::Launch))).is_some() {
            return because(3, "a launch that was registered beforehand");
        }
        let complete = sets.into_iter().find(|set| {
            set.iter().all(|choice| choice.iter().any(|fact| self.pins(*fact) || self.is_empty_list(*fact)))
                && set.iter().flatten().any(|fact| self.pins(*fact))
        })?;
        let pinned: Vec<String> =
            complete.iter().flatten().filter(|fact| self.pins(**fact)).map(ToString::to_string).collect();
        let boot = format!("the policy names {}", pinned.join(", "));
        // Who measured the files is what was booted: without its name the list would say nothing.
        match self.after_boot {
            AfterBoot::All if self.kind == EvidenceKind::Tpm => {
                because(2, format!("{boot}, and every measured file is listed or signed"))
            }
            AfterBoot::All | AfterBoot::Most | AfterBoot::Unknown => because(3, boot),
        }
    }

    /// The code of a difference about what was measured after the boot.
    fn measured_files_differ(&self) -> Option<&'static str> {
        let (Judged::Awaits(rejection) | Judged::Refused(rejection)) = self.judged else { return None };
        rejection.differences.iter().map(|difference| difference.code).find(|code| ima::is_of_an_entry(code))
    }

    fn runtime_opaque(&self) -> Option<Reason> {
        let encrypted = [FactId::Snp(SnpFact::Measurement), FactId::Tdx(TdxFact::MrTd)].into_iter().any(|fact| {
            let provenance = self.get(fact).map(|fact| fact.provenance);
            matches!(provenance, Some(Provenance::Hardware | Provenance::Simulated))
        });
        match self.flag(FactId::Snp(SnpFact::PolicyDebug)) {
            Some(true) => because(96, "the host may debug the guest"),
            _ if encrypted => because(2, "memory of a confidential guest, encrypted"),
            _ => None,
        }
    }

    /// Ways in which everything that ran is named: of each way, one fact of each choice.
    fn what_ran(&self) -> Vec<Vec<Vec<FactId>>> {
        let one = |facts: &[FactId]| facts.iter().map(|fact| vec![*fact]).collect::<Vec<_>>();
        let mut ways = Vec::new();
        for kind in self.speaks() {
            match kind {
                EvidenceKind::Tpm => ways.push(vec![
                    vec![FactId::BootApplications, FactId::Events(4), FactId::Pcr(4)],
                    vec![
                        FactId::LoadedFiles,
                        FactId::Events(9),
                        FactId::Pcr(9),
                        FactId::UkiSections,
                        FactId::Events(11),
                        FactId::Pcr(11),
                    ],
                ]),
                EvidenceKind::Snp => ways.push(one(&[FactId::Snp(SnpFact::Measurement)])),
                EvidenceKind::Tdx => ways.push(one(&[
                    FactId::Tdx(TdxFact::MrTd),
                    FactId::Tdx(TdxFact::RtMr1),
                    FactId::Tdx(TdxFact::RtMr2),
                ])),
                EvidenceKind::Nitro => {
                    ways.push(vec![vec![FactId::Nitro(NitroFact::Image), FactId::NitroPcr(0)]]);
                }
                EvidenceKind::NitroTpm => ways.push(vec![
                    vec![FactId::NitroTpmPcr(4)],
                    vec![FactId::NitroTpmPcr(9), FactId::NitroTpmPcr(11), FactId::NitroTpmPcr(12)],
                ]),
                EvidenceKind::Azure | EvidenceKind::Gcp => {}
            }
        }
        // Of a paravisor's report the measurement is the paravisor's: what the guest ran stands in its virtual TPM.
        if self.kind == EvidenceKind::Azure {
            ways.truncate(1);
        }
        ways
    }

    /// The kinds in whose words this item speaks.
    fn speaks(&self) -> Vec<EvidenceKind> {
        match self.kind {
            EvidenceKind::Azure => {
                let hardware = self.facts.get(FactId::Azure(AzureFact::Hardware)).and_then(|fact| fact.values.first());
                let hardware = match hardware.map(ToString::to_string).as_deref() {
                    Some("snp") => Some(EvidenceKind::Snp),
                    Some("tdx") => Some(EvidenceKind::Tdx),
                    _ => None,
                };
                [EvidenceKind::Tpm, EvidenceKind::Azure].into_iter().chain(hardware).collect()
            }
            EvidenceKind::Gcp => vec![EvidenceKind::Tpm, EvidenceKind::Gcp],
            kind => vec![kind],
        }
    }

    /// Who vouches for the item.
    fn provenance(&self) -> Provenance {
        let class = self.facts.get(FactId::class_of(self.kind));
        class.map_or(Provenance::Unauthenticated, |fact| fact.provenance)
    }

    fn get(&self, fact: FactId) -> Option<&crate::facts::Fact> {
        self.facts.get(fact).filter(|_| self.speaks().contains(&fact.kind()))
    }

    fn flag(&self, fact: FactId) -> Option<bool> {
        match self.get(fact)?.values.as_slice() {
            [Value::Bool(flag)] => Some(*flag),
            _ => None,
        }
    }

    fn text(&self, fact: FactId) -> Option<String> {
        self.get(fact)?.values.first().map(ToString::to_string)
    }

    fn pins(&self, fact: FactId) -> bool {
        self.pinned.contains(&fact) && self.get(fact).is_some()
    }

    /// Whether it is known that there are none: a UKI loads no further files.
    fn is_empty_list(&self, fact: FactId) -> bool {
        fact == FactId::LoadedFiles && self.get(fact).is_some_and(|fact| fact.values.is_empty())
    }

    /// The code of a difference about a fact that `is_it`.
    fn difference(&self, is_it: impl Fn(&str) -> bool) -> Option<&'static str> {
        let (Judged::Awaits(rejection) | Judged::Refused(rejection)) = self.judged else { return None };
        let mut about =
            rejection.differences.iter().filter(|difference| difference.fact.as_deref().is_some_and(&is_it));
        about.next().map(|difference| difference.code)
    }
}
