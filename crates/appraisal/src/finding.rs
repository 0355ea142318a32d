//! What is wrong with a policy, a reference-value file or a case, and where. Decides nothing about machines.

use std::fmt;

use serde::Serialize;

/// A problem found while reading, with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the document, as its reader gave it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Whether it keeps the document from being used.
    pub severity: Severity,
    /// Stable code, such as `policy.lint.unknown_fact`.
    pub code: &'static str,
    /// What is wrong: expected and found.
    pub message: String,
    /// What to write instead, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document works; somebody should look.
    Warning,
    /// The document is not used.
    Error,
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described where it is raised and in docs/reference/error-codes.md")]
pub enum Kind {
    Syntax,
    TooLarge,
    ApiVersion,
    DocumentKind,
    UnknownKey,
    MissingKey,
    WrongType,
    BadValue,
    BadName,
    DuplicateName,
    UnknownFact,
    UnknownSet,
    UnknownOperator,
    OperatorDoesNotFit,
    EmptySet,
    EmptyRange,
    EmptyRequirement,
    NoOwnership,
    AnyGenuineDevice,
    NoTrustClass,
    SimulatedAdmitted,
    NoRules,
    UnreachableRule,
    ShadowedAlternative,
    ExpiredAlternative,
    NoAlternativeLeft,
    TemplateSegment,
    TemplateFact,
    TemplateAmbiguous,
    SelectorFact,
    TtlOutlivesEvidence,
    ReferenceFileMissing,
    ReferenceFileUnused,
    SetUnused,
    DuplicateValue,
    BarePcr,
    EvidenceLacks,
    LowProvenance,
    UnpinnedIdKey,
    UnpinnedParavisor,
    OwnedInPart,
    AzureLaunch,
    CelAlone,
    BadCel,
    TemplateShared,
    NameOverstates,
    NeverHolds,
    WaiverExpired,
    WaiverTooLong,
    WaiverOfEverything,
    WaiverUseless,
    WaiverForbidden,
    BadPattern,
    PatternTooWide,
    EventUnproven,
    ImaDigests,
    ImaKeys,
    ReferenceKeys,
    ReferenceUnsigned,
    ReferenceSignature,
    ShadowingNotSearched,
}

impl Kind {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Syntax => "policy.lint.syntax",
            Self::TooLarge => "policy.lint.too_large",
            Self::ApiVersion => "policy.lint.api_version",
            Self::DocumentKind => "policy.lint.kind",
            Self::UnknownKey => "policy.lint.unknown_key",
            Self::MissingKey => "policy.lint.missing_key",
            Self::WrongType => "policy.lint.wrong_type",
            Self::BadValue => "policy.lint.bad_value",
            Self::BadName => "policy.lint.bad_name",
            Self::DuplicateName => "policy.lint.duplicate_name",
            Self::UnknownFact => "policy.lint.unknown_fact",
            Self::UnknownSet => "policy.lint.unknown_set",
            Self::UnknownOperator => "policy.lint.unknown_operator",
            Self::OperatorDoesNotFit => "policy.lint.operator_does_not_fit",
            Self::EmptySet => "policy.lint.empty_set",
            Self::EmptyRange => "policy.lint.empty_range",
            Self::EmptyRequirement => "policy.lint.empty_requirement",
            Self::NoOwnership => "policy.lint.no_ownership",
            Self::AnyGenuineDevice => "policy.lint.any_genuine_device",
            Self::NoTrustClass => "policy.lint.no_trust_class",
            Self::SimulatedAdmitted => "policy.lint.simulated_admitted",
            Self::NoRules => "policy.lint.no_rules",
            Self::UnreachableRule => "policy.lint.unreachable_rule",
            Self::ShadowedAlternative => "policy.lint.shadowed_alternative",
            Self::ExpiredAlternative => "policy.lint.expired_alternative",
            Self::NoAlternativeLeft => "policy.lint.no_alternative_left",
            Self::TemplateSegment => "policy.lint.template_segment",
            Self::TemplateFact => "policy.lint.template_fact",
            Self::TemplateAmbiguous => "policy.lint.template_ambiguous",
            Self::SelectorFact => "policy.lint.selector_fact",
            Self::TtlOutlivesEvidence => "policy.lint.ttl_outlives_evidence",
            Self::ReferenceFileMissing => "policy.lint.reference_file_missing",
            Self::ReferenceFileUnused => "policy.lint.reference_file_unused",
            Self::SetUnused => "policy.lint.set_unused",
            Self::DuplicateValue => "policy.lint.duplicate_value",
            Self::BarePcr => "policy.lint.bare_pcr",
            Self::EvidenceLacks => "policy.lint.evidence_lacks",
            Self::LowProvenance => "policy.lint.low_provenance",
            Self::UnpinnedIdKey => "policy.lint.unpinned_id_key",
            Self::UnpinnedParavisor => "policy.lint.unpinned_paravisor",
            Self::OwnedInPart => "policy.lint.owned_in_part",
            Self::AzureLaunch => "policy.lint.azure_launch",
            Self::CelAlone => "policy.lint.cel_alone",
            Self::BadCel => "policy.lint.bad_cel",
            Self::TemplateShared => "policy.lint.template_shared",
            Self::NameOverstates => "policy.lint.name_overstates",
            Self::NeverHolds => "policy.lint.never_holds",
            Self::WaiverExpired => "policy.lint.waiver_expired",
            Self::WaiverTooLong => "policy.lint.waiver_too_long",
            Self::WaiverOfEverything => "policy.lint.waiver_of_everything",
            Self::WaiverUseless => "policy.lint.waiver_useless",
            Self::WaiverForbidden => "policy.lint.waiver_forbidden",
            Self::EventUnproven => "policy.lint.event_unproven",
            Self::PatternTooWide => "policy.lint.pattern_too_wide",
            Self::BadPattern => "policy.lint.bad_pattern",
            Self::ImaDigests => "policy.lint.ima_digests",
            Self::ImaKeys => "policy.lint.ima_keys",
            Self::ReferenceKeys => "policy.lint.reference_keys",
            Self::ReferenceUnsigned => "policy.lint.reference_unsigned",
            Self::ReferenceSignature => "policy.lint.reference_signature",
            Self::ShadowingNotSearched => "policy.lint.shadowing_not_searched",
        }
    }

    /// Whether a document with such a finding is used.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::AnyGenuineDevice
            | Self::SimulatedAdmitted
            | Self::ExpiredAlternative
            | Self::ReferenceFileUnused
            | Self::SetUnused
            | Self::DuplicateValue
            | Self::BarePcr
            | Self::LowProvenance
            | Self::OwnedInPart
            | Self::WaiverTooLong
            | Self::WaiverExpired
            | Self::NameOverstates
            | Self::TemplateShared
            | Self::ShadowingNotSearched
            | Self::AzureLaunch => Severity::Warning,
            Self::Syntax
            | Self::TooLarge
            | Self::ApiVersion
            | Self::DocumentKind
            | Self::UnknownKey
            | Self::MissingKey
            | Self::WrongType
            | Self::BadValue
            | Self::BadName
            | Self::DuplicateName
            | Self::UnknownFact
            | Self::UnknownSet
            | Self::UnknownOperator
            | Self::OperatorDoesNotFit
            | Self::EmptySet
            | Self::EmptyRange
            | Self::EmptyRequirement
            | Self::NoOwnership
            | Self::NoTrustClass
            | Self::NoRules
            | Self::UnreachableRule
            | Self::ShadowedAlternative
            | Self::NoAlternativeLeft
            | Self::TemplateSegment
            | Self::TemplateFact
            | Self::TemplateAmbiguous
            | Self::SelectorFact
            | Self::TtlOutlivesEvidence
            | Self::EvidenceLacks
            | Self::UnpinnedIdKey
            | Self::UnpinnedParavisor
            | Self::BadPattern
            | Self::PatternTooWide
            | Self::EventUnproven
            | Self::WaiverForbidden
            | Self::WaiverUseless
            | Self::WaiverOfEverything
            | Self::ImaDigests
            | Self::ImaKeys
            | Self::ReferenceKeys
            | Self::ReferenceUnsigned
            | Self::ReferenceSignature
            | Self::NeverHolds
            | Self::BadCel
            | Self::CelAlone
            | Self::ReferenceFileMissing => Severity::Error,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// `file:line:column: severity: message [code]`, and the suggestion on a line of its own. Control characters of the
/// document are escaped.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, severity, code, message, suggestion } = self;
        write!(f, "{}:{line}:{column}: {severity}: {} [{code}]", escaped(file), escaped(message))?;
        match suggestion {
            Some(suggestion) => write!(f, "\n  help: {}", escaped(suggestion)),
            None => Ok(()),
        }
    }
}

/// The text with control characters written as escapes, for terminals and logs.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let invisible =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || invisible {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The candidate nearest to `text` by edit distance, if it is near enough to be a slip of the pen or the whole of it.
#[must_use]
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (text.len() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| match candidate.strip_prefix(text) {
            Some(_) if text.len() > 2 => (1, candidate),
            _ => (distance(text, candidate), candidate),
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in bytes; texts over 64 bytes are far from everything.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *slot;
            let cost = diagonal + usize::from(x != y);
            left = cost.min(above + 1).min(left + 1);
            diagonal = above;
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_word() {
        let names = ["tpm.secure_boot.enabled", "tpm.secure_boot.db", "tpm.secure_boot.dbx"];
        assert_eq!(nearest("tpm.secureboot.enabled", names), Some("tpm.secure_boot.enabled"));
        assert_eq!(nearest("tpm.secure_boot.dbz", names), Some("tpm.secure_boot.db"));
        assert_eq!(nearest("nothing like it", names), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")), (3, 3, 3));
    }

    #[test]
    fn control_characters_of_a_document_do_not_reach_the_terminal() {
        assert_eq!(escaped("a\u{1b}[31m\n\u{202e}é"), "a\\u{1b}[31m\\n\\u{202e}é");
    }
}
