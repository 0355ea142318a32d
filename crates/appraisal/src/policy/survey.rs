//! What shows only over all rules together: facts that their evidence does not say, alternatives past their date.

use holdfast_evidence::{EvidenceKind, Provenance, TrustClass};
use holdfast_identity::UnixTime;

use super::rule::{Alternative, Factor, Rule};
use super::{Condition, moment};
use crate::facts::{AzureFact, FactId, NitroTpmFact, Ownable, SnpFact, Subject, TdxFact};
use crate::finding::{Finding, Kind};

/// Conditions on what the rule's evidence does not say, and on what it says with less behind it than the name suggests.
pub(super) fn evidence(file: &str, rules: &[Rule]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in rules {
        let named: Vec<&str> = rule.evidence.iter().map(|kind| kind.as_str()).collect();
        for condition in rule.conditions() {
            let fact = condition.fact;
            let sayers: Vec<EvidenceKind> = rule.evidence.iter().copied().filter(|kind| says(*kind, fact)).collect();
            if sayers.is_empty() {
                let message = format!(
                    "\"{fact}\" is said by evidence of kind {}, which the rule does not need (it needs {})",
                    fact.kind(),
                    named.join(", ")
                );
                let suggestion = format!("write: evidence = [\"{}\"]", fact.kind());
                findings.push(finding(file, condition.line, 1, Kind::EvidenceLacks, message, Some(suggestion)));
            } else if let Some((who, level)) = lower_than_its_name(fact, &sayers) {
                let message = format!("\"{fact}\" rests on {who} here, not on a TPM: provenance level {level}");
                let suggestion = if level == Provenance::Paravisor {
                    "it is worth as much as the paravisor that the rule pins: accept the level knowingly"
                } else {
                    "require a hardware report beside it, or accept the level knowingly"
                };
                let suggestion = suggestion.to_owned();
                findings.push(finding(file, condition.line, 1, Kind::LowProvenance, message, Some(suggestion)));
            }
        }
    }
    findings
}

/// What an SNP guest's ID block says, demanded without saying whose ID block: anybody makes a key and signs one.
pub(super) fn id_keys(file: &str, rules: &[Rule]) -> Vec<Finding> {
    let is_said = |fact| matches!(fact, FactId::Snp(SnpFact::GuestSvn | SnpFact::FamilyId | SnpFact::ImageId));
    let pins = |condition: &Condition| {
        matches!(condition.fact, FactId::Snp(SnpFact::IdKeyDigest | SnpFact::AuthorKeyDigest))
            && condition.test.gives_the_value()
    };
    let mut findings = Vec::new();
    let mut note = |condition: &Condition| {
        let message = format!("\"{}\" is anybody's word: nothing says whose ID block is believed", condition.fact);
        let suggestion = "pin the key beside it: snp.id_key_digest = \"…\" (or snp.author_key_digest)".to_owned();
        findings.push(finding(file, condition.line, 1, Kind::UnpinnedIdKey, message, Some(suggestion)));
    };
    for rule in rules.iter().filter(|rule| !rule.require.iter().any(pins)) {
        let unpinned: Vec<_> =
            rule.alternatives.iter().filter(|alternative| !alternative.require.iter().any(pins)).collect();
        if rule.alternatives.is_empty() || !unpinned.is_empty() {
            rule.require.iter().filter(|condition| is_said(condition.fact)).for_each(&mut note);
        }
        let said = unpinned.iter().flat_map(|alternative| &alternative.require);
        said.filter(|condition| is_said(condition.fact)).for_each(&mut note);
    }
    findings
}

/// Rules that take the word of an Azure machine's paravisor without saying which paravisor: whoever has a chip of the
/// right make writes one that says anything. A virtual TPM with the provider's certificate alone has none.
pub(super) fn paravisors(file: &str, rules: &[Rule]) -> Vec<Finding> {
    let pins = |condition: &Condition| {
        matches!(
            condition.fact,
            FactId::Snp(SnpFact::Measurement | SnpFact::Launch | SnpFact::IdKeyDigest | SnpFact::AuthorKeyDigest)
                | FactId::Tdx(TdxFact::MrTd | TdxFact::Launch)
        ) && condition.test.gives_the_value()
    };
    let takes_its_word = |rule: &&Rule| {
        let needs_hardware = |class: &TrustClass| !matches!(class, TrustClass::Cloud | TrustClass::Simulated);
        let in_alternatives = !rule.alternatives.is_empty()
            && rule.alternatives.iter().all(|alternative| alternative.require.iter().any(pins));
        rule.evidence.contains(&EvidenceKind::Azure)
            && rule.trust_classes.iter().any(needs_hardware)
            && !rule.ownership.contains(&Factor::Launch)
            && !rule.require.iter().any(pins)
            && !in_alternatives
    };
    let found = rules.iter().filter(takes_its_word).map(|rule| {
        let message = format!(
            "rule {:?} takes the word of any paravisor: whoever has a genuine processor writes one that names your machines",
            rule.name
        );
        let suggestion = "pin it: snp.id_key_digest, snp.measurement or tdx.mrtd, in every alternative".to_owned();
        finding(file, rule.line, rule.column, Kind::UnpinnedParavisor, message, Some(suggestion))
    });
    found.collect()
}

/// Rules over several kinds of evidence that say of one kind alone whose it is: one thing that is listed makes the whole
/// machine ours, and the other item may be that of a machine which cooperates.
pub(super) fn composites(file: &str, rules: &[Rule]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in rules.iter().filter(|rule| rule.evidence.len() > 1) {
        let names = |condition: &Condition, kind: EvidenceKind| {
            let named = condition.fact.definition().ownable != Ownable::No && condition.test.gives_the_value();
            named && condition.fact.kind() == kind
        };
        let is_open = |kind: &&EvidenceKind| !rule.require.iter().any(|condition| names(condition, **kind));
        let open: Vec<&str> = rule.evidence.iter().filter(is_open).map(|kind| kind.as_str()).collect();
        if open.len() > 1 {
            let message = format!(
                "rule {:?} holds as soon as one of {} is listed: whoever has that one can bring anybody's of the others",
                rule.name,
                open.join(", ")
            );
            let suggestion = "name what is yours of the others too, such as: snp.chip_id = { one_of = \"@our-chips\" }";
            let suggestion = Some(suggestion.to_owned());
            findings.push(finding(file, rule.line, rule.column, Kind::OwnedInPart, message, suggestion));
        }
    }
    findings
}

/// Rules by which an Azure machine is ours if its launch was registered: Azure starts each with HOST_DATA and MRCONFIGID
/// zero, and such a launch, which would be everybody's, cannot be registered.
pub(super) fn azure_launches(file: &str, rules: &[Rule]) -> Vec<Finding> {
    let is_one =
        |rule: &&Rule| rule.evidence.contains(&EvidenceKind::Azure) && rule.ownership.contains(&Factor::Launch);
    let found = rules.iter().filter(is_one).map(|rule| {
        let message =
            format!("rule {:?} admits no machine that Azure starts: such launches cannot be registered", rule.name);
        let suggestion = "write: ownership = \"inventory\", and list azure.vm_unique_id".to_owned();
        finding(file, rule.line, rule.column, Kind::AzureLaunch, message, Some(suggestion))
    });
    found.collect()
}

/// Rules that speak of measured files and need no evidence that quotes PCR 10.
pub(super) fn measured_files(file: &str, rules: &[Rule]) -> Vec<Finding> {
    let lacking = |rule: &&Rule| !rule.evidence.contains(&EvidenceKind::Tpm);
    let found = rules.iter().filter_map(|rule| Some((rule, rule.ima.as_ref()?))).filter(|(rule, _)| lacking(rule));
    let found = found.map(|(rule, ima)| {
        let message = format!("rule {:?} speaks of measured files, which only evidence of kind tpm proves", rule.name);
        let suggestion = Some("write: evidence = [\"tpm\"]".to_owned());
        finding(file, ima.line, 1, Kind::EvidenceLacks, message, suggestion)
    });
    found.collect()
}

/// Who stands behind a fact, where that is less than its name suggests.
fn lower_than_its_name(fact: FactId, sayers: &[EvidenceKind]) -> Option<(&'static str, Provenance)> {
    match fact {
        FactId::NitroTpm(NitroTpmFact::PublicKey | NitroTpmFact::QuotePcrDigest) => {
            Some(("whoever is root on the instance", Provenance::Unauthenticated))
        }
        FactId::Azure(AzureFact::UserData) => Some(("whoever is root in the guest", Provenance::Unauthenticated)),
        _ if fact.kind() != EvidenceKind::Tpm || sayers.contains(&EvidenceKind::Tpm) => None,
        _ if sayers.first() == Some(&EvidenceKind::Azure) => {
            Some(("Azure's paravisor or platform", Provenance::Paravisor))
        }
        _ => Some(("the provider's hypervisor", Provenance::Provider)),
    }
}

/// Whether evidence of this kind can prove the fact.
pub(super) fn says(kind: EvidenceKind, fact: FactId) -> bool {
    let of_a_quote = matches!(fact.definition().subject, Subject::State) || fact == FactId::FirmwareVersion;
    match kind {
        EvidenceKind::Azure => {
            matches!(fact.kind(), EvidenceKind::Azure | EvidenceKind::Snp | EvidenceKind::Tdx)
                || (fact.kind() == EvidenceKind::Tpm && of_a_quote)
        }
        EvidenceKind::Gcp => fact.kind() == EvidenceKind::Gcp || (fact.kind() == EvidenceKind::Tpm && of_a_quote),
        other => fact.kind() == other,
    }
}

/// Alternatives that do not count any more at `now`, and rules of which none is left.
pub(super) fn dates(file: &str, rules: &[Rule], now: UnixTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in rules {
        let (mut expired, mut last) = (0, None);
        for Alternative { name, line, column, valid_until, .. } in &rule.alternatives {
            let Some(until) = valid_until.filter(|until| *until <= now) else { continue };
            expired += 1;
            last = last.max(Some(until));
            let message = format!("alternative {name:?} has not counted since {}", moment::format(until));
            let suggestion = Some("take it out, or extend valid_until".to_owned());
            findings.push(finding(file, *line, *column, Kind::ExpiredAlternative, message, suggestion));
        }
        if let Some(last) = last.filter(|_| expired == rule.alternatives.len()) {
            let message = format!(
                "rule {:?} has admitted nothing since {}: no alternative is left",
                rule.name,
                moment::format(last)
            );
            findings.push(finding(file, rule.line, rule.column, Kind::NoAlternativeLeft, message, None));
        }
    }
    findings
}

pub(super) fn finding(
    file: &str,
    line: usize,
    column: usize,
    kind: Kind,
    message: String,
    suggestion: Option<String>,
) -> Finding {
    let (severity, code) = (kind.severity(), kind.code());
    Finding { file: file.to_owned(), line, column, severity, code, message, suggestion }
}
