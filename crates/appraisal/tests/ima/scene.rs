//! A machine with a list, a policy about it, and what comes of both.

use holdfast_appraisal::decision::{
    Appraiser, Approval, InventoryAnswer, Listing, MachineRecord, Ownership, Rejection, Verdict,
};
use holdfast_appraisal::facts::{Explained, Fact, FactId, Facts};
use holdfast_appraisal::ima::{ImaSeen, ImaState, ImaUnusable, attach, judge};
use holdfast_appraisal::{Document, Finding, Policy, Value};
use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::ima::Quoted;
use holdfast_evidence::tpm::{PcrIndex, PcrValues};
use holdfast_identity::UnixTime;

use crate::list::{self, Written, aggregate, boot_pcrs};

const EK: [u8; 32] = [0xe1; 32];

pub(crate) fn policy_text(ima: &str) -> String {
    format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"files\"\n\
         [issue]\nnode_id = \"/holdfast/node/tpm/{{tpm.machine}}\"\n\
         [[rule]]\nname = \"rack\"\nownership = \"inventory\"\ntrust_classes = [\"firmware\"]\n[rule.ima]\n{ima}\n"
    )
}

pub(crate) fn parse(ima: &str, files: &[(&str, &str)]) -> Result<Policy, Vec<Finding>> {
    let documents: Vec<Document<'_>> = files.iter().map(|(name, text)| Document { name, text }).collect();
    Policy::parse(Document { name: "p.toml", text: &policy_text(ima) }, &documents)
}

/// Digests of the files with these first bytes.
pub(crate) fn digests(of: &[u8]) -> String {
    of.iter().map(|byte| format!("{}  /file/{byte}\n", format!("{byte:02x}").repeat(32))).collect()
}

/// A policy whose set holds the digests of bytes 1 and 2, and says this besides.
pub(crate) fn policy(more: &str) -> Policy {
    let ima = format!("digests = \"good.digests\"\n{more}");
    parse(&ima, &[("good.digests", &digests(&[1, 2]))]).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// A good list: the aggregate and two files of the set.
pub(crate) fn good() -> Vec<Written> {
    vec![
        Written::ng(&aggregate(10), "boot_aggregate"),
        Written::ng(&[1; 32], "/usr/bin/init"),
        Written::ng(&[2; 32], "/usr/lib/libc.so"),
    ]
}

/// The good list and one entry more.
pub(crate) fn with(entry: Written) -> Vec<Written> {
    [good(), vec![entry]].concat()
}

pub(crate) fn quoted_pcrs(quoted: &Quoted) -> PcrValues {
    let mut pcrs = boot_pcrs();
    pcrs.set(PcrIndex::IMA, quoted.pcr);
    pcrs
}

pub(crate) fn facts(quoted: &Quoted) -> Facts {
    let mut facts = Facts::new();
    let digest = Value::Digest(holdfast_appraisal::digest_of(&EK).unwrap());
    for (id, value) in [
        (FactId::Machine, digest.clone()),
        (FactId::EkSpki, digest),
        (FactId::Class, Value::text("firmware")),
        (FactId::Pcr(10), Value::Digest(quoted.pcr)),
    ] {
        facts.insert(id, Fact::of(Provenance::Hardware, vec![value]));
    }
    facts.quoted_pcr(10, Explained::Not);
    facts
}

pub(crate) fn state(policy: &Policy, entries: &[Written]) -> Result<ImaState, ImaUnusable> {
    let quoted = list::quoted(entries);
    judge(policy, &list::bytes(entries), None, &quoted, &quoted_pcrs(&quoted))
}

pub(crate) fn decide(policy: &Policy, seen: Option<&ImaSeen>, quoted: &Quoted) -> Verdict {
    let mut facts = facts(quoted);
    attach(&mut facts, policy, seen);
    decide_facts(policy, &facts)
}

/// What these facts of a listed machine earn.
pub(crate) fn decide_facts(policy: &Policy, facts: &Facts) -> Verdict {
    let inventory = vec![InventoryAnswer { digest: EK, listing: Listing::Listed }];
    let ownership = Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New };
    let appraiser = Appraiser::new("example.org".parse().unwrap());
    appraiser.judge(policy, facts, &ownership, UnixTime(1_780_272_000))
}

/// What becomes of a machine with this list.
pub(crate) fn verdict(policy: &Policy, entries: &[Written]) -> Verdict {
    let seen = state(policy, entries).map_or_else(ImaSeen::Unusable, ImaSeen::Judged);
    decide(policy, Some(&seen), &list::quoted(entries))
}

pub(crate) fn rejection(verdict: Verdict) -> Rejection {
    match verdict {
        Verdict::Refuse(rejection) => rejection,
        other => panic!("{other:#?}"),
    }
}

/// Codes of what differs; none if admitted.
pub(crate) fn codes(policy: &Policy, entries: &[Written]) -> Vec<&'static str> {
    match verdict(policy, entries) {
        Verdict::Admit(_) => Vec::new(),
        Verdict::AwaitsApproval(rejection) | Verdict::Refuse(rejection) => rejection.because().collect(),
    }
}
