//! The published JSON Schema of policies, reference-value files and cases: for editors and for other tools. The reader
//! is the authority; a test holds the two together.

mod facts;
mod id;
mod words;

use facts::{Conditions, Values};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use words::{Evidence, Ownership, Selectors, Sets, TrustClasses};

/// The document that a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A policy.
    Policy,
    /// A reference-value file.
    ReferenceValues,
    /// A case.
    Case,
    /// A file of facts that cases share.
    Facts,
}

/// The schema of one kind of document, draft 2020-12.
#[must_use]
pub fn schema(subject: Subject) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = match subject {
        Subject::Policy => generator.into_root_schema_for::<PolicyFile>(),
        Subject::ReferenceValues => generator.into_root_schema_for::<ReferenceFile>(),
        Subject::Case => generator.into_root_schema_for::<CaseFile>(),
        Subject::Facts => generator.into_root_schema_for::<FactsFile>(),
    };
    id::named(schema.to_value(), subject)
}

/// One text, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "read by schemars alone")]
enum Texts {
    One(String),
    Many(#[schemars(length(min = 1))] Vec<String>),
}

macro_rules! documents {
    ($($(#[$attribute:meta])* $name:ident { $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(JsonSchema)]
        $(#[$attribute])*
        #[schemars(deny_unknown_fields)]
        #[expect(dead_code, reason = "read by schemars alone")]
        struct $name { $($(#[$field_attribute])* $field: $type,)* }
    )*};
}

documents! {
    /// Which machines get an identity, and which. See docs/reference/policy.md.
    #[schemars(title = "Holdfast policy, version 1")]
    PolicyFile {
        #[schemars(extend("const" = crate::API_VERSION))]
        api_version: String,
        #[schemars(extend("const" = super::KIND))]
        kind: String,
        name: Name,
        description: Option<String>,
        /// The bank whose PCRs are quoted; sha256 if not given.
        #[schemars(extend("enum" = ["sha256", "sha384", "sha512"]))]
        pcr_bank: Option<String>,
        /// Files of reference values beside the policy; "@name" refers to their values.
        reference_values: Option<Texts>,
        /// Files of public keys (PEM, Ed25519 or P-256) beside the policy; each file of reference values must be signed by
        /// one of them, in a file beside it named FILE.sig.
        reference_keys: Option<Texts>,
        /// Named sets of values; "@name" refers to them.
        sets: Option<Sets>,
        /// What is refused whatever the rules say.
        #[schemars(length(min = 1))]
        deny: Option<Vec<DenyEntry>>,
        /// The admitting rules; the first that is satisfied counts.
        #[schemars(length(min = 1))]
        rule: Vec<RuleEntry>,
        /// Exceptions that somebody answers for.
        #[schemars(length(min = 1))]
        waiver: Option<Vec<WaiverRow>>,
        /// Announced changes, during which facts may differ.
        #[schemars(length(min = 1))]
        change_window: Option<Vec<ChangeWindowRow>>,
        /// What rules issue that do not say otherwise.
        issue: Option<IssueEntry>,
    }
    /// One admitting rule.
    RuleEntry {
        name: Name,
        description: Option<String>,
        /// The kinds of evidence that must all be there; `tpm` if it is silent.
        evidence: Option<Evidence>,
        /// Why the machine is ours; of several, all must hold.
        ownership: Ownership,
        /// Why any genuine device is admitted; only with "any-genuine-device".
        ownership_reason: Option<String>,
        /// The classes of roots that are admitted.
        trust_classes: TrustClasses,
        require: Option<Conditions>,
        /// Events that must be there.
        #[schemars(length(min = 1))]
        required_events: Option<Vec<EventEntry>>,
        /// Events that must not be there.
        #[schemars(length(min = 1))]
        forbidden_events: Option<Vec<EventEntry>>,
        /// What is said of the files that the kernel measured.
        ima: Option<ImaEntry>,
        /// Site conditions in CEL over facts["…"]; never the only guard.
        cel: Option<Sites>,
        /// Of several, one must hold beside `require`.
        #[schemars(length(min = 1))]
        alternative: Option<Vec<AlternativeEntry>>,
        issue: Option<IssueEntry>,
    }
    /// Which measured files a rule admits; needs `digests` or `keys`.
    ImaEntry {
        /// Files of digests beside the policy, with lines as sha256sum prints them.
        digests: Option<Texts>,
        /// Files of PEM beside the policy: certificates or public keys that sign files.
        keys: Option<Texts>,
        /// Paths that are left to themselves: exact, or everything below a folder with "/**".
        exclude: Option<Texts>,
        #[schemars(extend("enum" = ["refused", "tolerated"]))]
        violations: Option<String>,
        /// Whether a bank counts that the kernel extends with SHA-1 hashes.
        #[schemars(extend("enum" = ["refused", "accepted"]))]
        sha1_template_hashes: Option<String>,
        /// Buffers of the kernel that are admitted whatever is in them.
        buffer_names: Option<Texts>,
        /// Digests of buffers that are admitted.
        buffer_digests: Option<Texts>,
    }
    /// One of several states that a rule admits.
    AlternativeEntry {
        name: Name,
        description: Option<String>,
        /// First moment at which it counts: a TOML date with time and offset.
        #[schemars(extend("format" = "date-time"))]
        valid_from: Option<String>,
        /// First moment at which it does not count any more.
        #[schemars(extend("format" = "date-time"))]
        valid_until: Option<String>,
        require: Option<Conditions>,
        /// Events that must be there.
        #[schemars(length(min = 1))]
        required_events: Option<Vec<EventEntry>>,
        /// Events that must not be there.
        #[schemars(length(min = 1))]
        forbidden_events: Option<Vec<EventEntry>>,
        /// Site conditions in CEL over facts["…"].
        cel: Option<Sites>,
    }
    /// An event by what a digest proves of it: one of digest, action, separator.
    EventEntry {
        #[schemars(range(min = 0, max = 23))]
        pcr: u8,
        /// Its digest, several of which one name stands for, or "@name".
        digest: Option<Texts>,
        /// Its text, where the text is what was measured, such as "Exit Boot Services Invocation".
        action: Option<String>,
        /// The separator of a normal boot: four zero bytes.
        separator: Option<bool>,
        /// For explanations.
        note: Option<String>,
    }
    /// One entry of the deny list.
    DenyEntry {
        name: Name,
        /// Why, for whoever is refused.
        reason: String,
        when: Conditions,
    }
    /// Facts that may differ from what one rule requires, for a time, on one node or where conditions hold.
    WaiverRow {
        name: Name,
        /// Why, for whoever reads a decision in a year.
        reason: String,
        /// Who answers for it.
        owner: String,
        #[schemars(extend("format" = "date-time"))]
        valid_from: Option<String>,
        #[schemars(extend("format" = "date-time"))]
        valid_until: String,
        /// The node's path, /holdfast/node/…, or the value of the fact that names the machine.
        node: Option<String>,
        when: Option<Conditions>,
        /// The rule whose conditions are waived.
        rule: String,
        /// The facts that may differ from what is required; what is denied of a fact may only where its operator is
        /// named, as in "tpm.boot.loaded_files.none_of".
        facts: Texts,
        /// What must hold of these facts in their place.
        instead: Option<Conditions>,
    }
    /// Facts that may differ during an announced change.
    ChangeWindowRow {
        name: Name,
        /// What is being changed.
        reason: String,
        /// Who answers for it.
        owner: String,
        #[schemars(extend("format" = "date-time"))]
        valid_from: String,
        #[schemars(extend("format" = "date-time"))]
        valid_until: String,
        /// The nodes' paths, /holdfast/node/…, or the values of the fact that names each machine.
        nodes: Option<Texts>,
        when: Option<Conditions>,
        /// The rules whose conditions are waived; all of them if it is silent.
        rules: Option<Texts>,
        /// The facts that may differ from what is required; what is denied of a fact may only where its operator is
        /// named, as in "tpm.boot.loaded_files.none_of".
        facts: Texts,
        /// What must hold of these facts in their place.
        instead: Option<Conditions>,
    }
    /// What is issued.
    IssueEntry {
        /// Path of the node ID below /holdfast/node/; {tpm.machine} stands for the machine.
        #[schemars(regex(pattern = "^/holdfast/node(/([A-Za-z0-9._-]+|\\{[a-z0-9_.]+\\}))+$"))]
        node_id: Option<String>,
        /// Facts that become selectors of the node.
        selectors: Option<Selectors>,
        svid_ttl: Option<Duration>,
        max_evidence_age: Option<Duration>,
    }
    /// Good values of facts, apart from the policies that use them.
    #[schemars(title = "Holdfast reference values, version 1")]
    ReferenceFile {
        #[schemars(extend("const" = crate::API_VERSION))]
        api_version: String,
        #[schemars(extend("const" = crate::reference::KIND))]
        kind: String,
        name: Name,
        description: Option<String>,
        /// Where the values come from.
        source: Option<String>,
        #[schemars(extend("format" = "date-time"))]
        created: Option<String>,
        values: Values,
    }
    /// A machine's facts, the operator's records, a moment, and the decision that is expected.
    #[schemars(title = "Holdfast policy case, version 1")]
    CaseFile {
        #[schemars(extend("const" = crate::API_VERSION))]
        api_version: String,
        #[schemars(extend("const" = crate::case::KIND))]
        kind: String,
        description: Option<String>,
        /// The policy that is tested, beside the case.
        policy: String,
        /// The moment of the decision.
        #[schemars(extend("format" = "date-time"))]
        at: String,
        trust_domain: Option<String>,
        /// A file of facts to start from.
        base: Option<String>,
        evidence: Option<EvidenceEntry>,
        facts: Option<Values>,
        /// Facts of the base that are not proven here.
        without: Option<Texts>,
        /// PCRs that were extended and that no event explains.
        unexplained_pcrs: Option<Vec<u8>>,
        ownership: Option<OwnershipEntry>,
        expect: ExpectEntry,
    }
    /// A firmware log whose facts are taken as proven, or evidence to be verified: a kind, and the flags of
    /// `holdfast-policy inspect KIND` as keys, with `_` for `-`, files beside the case.
    #[schemars(extend("additionalProperties" = true))]
    EvidenceEntry {
        #[schemars(extend("enum" = ["tpm", "snp", "tdx", "nitro", "nitrotpm", "azure", "gcp"]))]
        kind: Option<String>,
        /// A firmware log, as the kernel's binary_bios_measurements, beside the case.
        event_log: Option<String>,
        /// The kernel's list of measured files (binary_runtime_measurements), beside the case; where no quote says what it
        /// leads to, it is taken as proven to its last entry.
        ima_log: Option<String>,
        #[schemars(extend("enum" = ["sha256", "sha384", "sha512"]))]
        pcr_bank: Option<String>,
    }
    /// What the operator's records say.
    OwnershipEntry {
        #[schemars(extend("enum" = ["not-listed", "listed"]))]
        inventory: Option<String>,
        #[schemars(extend("enum" = ["not-registered", "registered"]))]
        launch: Option<String>,
        #[schemars(extend("enum" = ["not-given", "given", "denied"]))]
        approval: Option<String>,
    }
    /// What must come out.
    ExpectEntry {
        #[schemars(extend("enum" = ["admitted", "awaits-approval", "refused"]))]
        decision: String,
        /// Code of the refusal.
        code: Option<String>,
        /// Codes of the differences from the nearest alternative, all of them.
        because: Option<Texts>,
        rule: Option<String>,
        alternative: Option<String>,
        node_id: Option<String>,
        selectors: Option<Texts>,
        /// Names of the waivers and change windows that it took.
        waivers: Option<Vec<String>>,
    }
    /// Facts that several cases share.
    #[schemars(title = "Holdfast facts for cases, version 1")]
    FactsFile {
        #[schemars(extend("const" = crate::API_VERSION))]
        api_version: String,
        #[schemars(extend("const" = crate::case::FACTS_KIND))]
        kind: String,
        description: Option<String>,
        facts: Option<Values>,
        unexplained_pcrs: Option<Vec<u8>>,
    }
}

/// A name.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "read by schemars alone")]
struct Name(#[schemars(regex(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$"))] String);

/// Expressions, each true or false.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "read by schemars alone")]
struct Sites(#[schemars(length(min = 1, max = super::site::SITES_MAX))] Vec<Expression>);

/// An expression of CEL.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "read by schemars alone")]
struct Expression(#[schemars(length(min = 1, max = super::site::SOURCE_BYTES_MAX))] String);

/// A whole number and s, m, h or d.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "read by schemars alone")]
struct Duration(#[schemars(regex(pattern = "^[0-9]+[smhd]$"))] String);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::{events, issue, read, rule, waiver};

    fn keys(schema: &Value) -> BTreeSet<&str> {
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_schema_knows_the_keys_that_the_reader_knows() {
        let policy = schema(Subject::Policy);
        let defs = &policy["$defs"];
        for (schema, known) in [
            (&policy, read::KEYS),
            (&defs["RuleEntry"], rule::RULE_KEYS),
            (&defs["AlternativeEntry"], rule::ALTERNATIVE_KEYS),
            (&defs["DenyEntry"], rule::DENY_KEYS),
            (&defs["EventEntry"], events::KEYS),
            (&defs["WaiverRow"], waiver::WAIVER_KEYS),
            (&defs["ChangeWindowRow"], waiver::WINDOW_KEYS),
            (&defs["ImaEntry"], crate::ima::IMA_KEYS),
            (&defs["IssueEntry"], issue::KEYS),
            (&schema(Subject::ReferenceValues), crate::reference::KEYS),
            (&schema(Subject::Case), crate::case::KEYS),
            (&schema(Subject::Facts), crate::case::FACTS_KEYS),
        ] {
            assert_eq!(keys(schema), known.iter().copied().collect(), "{}", schema["title"]);
            assert_eq!(schema["additionalProperties"], false);
        }
    }

    #[test]
    fn every_fact_is_there_nested_and_by_its_full_name() {
        let policy = schema(Subject::Policy);
        let conditions = &policy["$defs"]["Conditions"];
        for name in crate::facts::all_names() {
            let nested = name.split('.').fold(conditions, |level, part| &level["properties"][part]);
            assert!(nested["description"].is_string() && *nested == conditions["properties"][&name], "{name}");
        }
    }

    #[test]
    fn the_schema_fits_into_an_editor() {
        let length = serde_json::to_string(&schema(Subject::Policy)).unwrap().len();
        assert!(length < 400_000, "{length} bytes");
    }
}
