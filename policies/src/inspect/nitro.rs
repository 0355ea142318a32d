//! `inspect nitro` and `inspect nitrotpm`: the checks of a document of the Nitro hypervisor one by one, on files.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use holdfast_appraisal::digest_of;
use holdfast_appraisal::facts::{self, NitroSources};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::nitro::{
    Document, DocumentKind, DocumentRefused, ModuleId, VerifiedChain, checks, verify_chain,
};
use holdfast_evidence::nitrotpm::{self, QuoteRefused, UnauthenticatedQuote, quoting_key, read_quote};
use holdfast_evidence::tpm::Signed;
use holdfast_identity::UnixTime;

use super::certificates::trusted;
use super::flags::Flags;
use super::forms::{self, AnyPublic, Nonce};
use super::report::{Checks, Refusal};
use super::told::Told;
use crate::exit::Exit;

/// Every check of an enclave's document, in the order in which they are made.
const ENCLAVE: [&str; 14] = [
    "document",
    "kind",
    "algorithm",
    "digest",
    "module_id",
    "chain",
    "signature",
    "nonce",
    "binding",
    "certificate_name",
    "timestamp",
    "debug",
    "instance",
    "policy",
];
/// Those of a NitroTPM's.
const TPM: [&str; 14] = [
    "document",
    "kind",
    "algorithm",
    "digest",
    "module_id",
    "chain",
    "signature",
    "nonce",
    "binding",
    "certificate_name",
    "timestamp",
    "measured",
    "quote",
    "policy",
];
/// Those that are asked of every document, whatever the caller knows.
const ALWAYS: [&str; 9] =
    ["document", "kind", "algorithm", "digest", "module_id", "chain", "signature", "certificate_name", "timestamp"];

/// Flags of `inspect nitro`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    holdfast-policy inspect nitro --document doc.cose --nonce 0011… --binding 9a9d48e7…\n  \
    holdfast-policy inspect nitro --document doc.cose --at 2025-12-25T13:15:37Z --policy policy.toml --allow-incomplete\n\n\
    Exit codes: 0 verified, 1 refused, 2 usage or I/O, 3 incomplete.")]
pub(super) struct InspectNitro {
    /// The document as the enclave got it from /dev/nsm: COSE_Sign1, tagged or not.
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

/// Flags of `inspect nitrotpm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    holdfast-policy inspect nitrotpm --document doc.cose --nonce 0011… --binding 9a9d48e7…\n  \
    holdfast-policy inspect nitrotpm --document doc.cose --attest quote.msg --signature quote.sig --nonce 0011…\n\n\
    Exit codes: 0 verified, 1 refused, 2 usage or I/O, 3 incomplete.")]
pub(super) struct InspectNitroTpm {
    /// The document as nitro-tpm-attest writes it: COSE_Sign1, tagged or not.
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
    /// A TPM quote by the key in the document's public_key. Shown, and worth nothing: any key may stand there.
    #[arg(long, value_name = "FILE", requires = "signature")]
    attest: Option<PathBuf>,
    /// The quote's signature.
    #[arg(long, value_name = "FILE", requires = "attest")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// What a document says once the checks that both kinds share have passed.
struct Shared<'a> {
    document: Document<'a>,
    module_id: ModuleId,
    chain: Arc<VerifiedChain>,
    region: Option<String>,
}

impl InspectNitro {
    pub(super) fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        let bytes = forms::read(&self.document)?;
        let mut checks = Checks::new(&ENCLAVE);
        let mut needed = [&ALWAYS[..], &["debug", "instance"]].concat();
        let shared = check_shared(DocumentKind::Enclave, &bytes, &self.flags, &mut checks, &mut needed)?;
        if let Some(shared) = &shared {
            checks.note("debug", checks::debug(&shared.document.pcrs));
            checks.note("instance", checks::instance(&shared.document.pcrs, &shared.module_id));
        }
        let facts = shared.map(|shared| facts_of(&shared, facts::nitro));
        self.flags.conclude(checks, &needed, facts.as_ref(), told)
    }
}

impl InspectNitroTpm {
    pub(super) fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        let bytes = forms::read(&self.document)?;
        let optional = |path: &Option<PathBuf>| path.as_deref().map(forms::read).transpose();
        let quoted = optional(&self.attest)?.zip(optional(&self.signature)?);
        let mut checks = Checks::new(&TPM);
        let mut needed = [&ALWAYS[..], &["measured"]].concat();
        let shared = check_shared(DocumentKind::Tpm, &bytes, &self.flags, &mut checks, &mut needed)?;
        let mut quote = None;
        if let Some(shared) = &shared {
            checks.note("measured", nitrotpm::checks::measured(&shared.document.pcrs));
            quote = quoted.and_then(|(attest, signature)| {
                checks.note("quote", self.quote(&shared.document, &attest, &signature))
            });
        }
        let facts = shared.map(|shared| facts_of(&shared, |sources| facts::nitrotpm(sources, quote.as_ref())));
        self.flags.conclude(checks, &needed, facts.as_ref(), told)
    }

    /// The quote must sign the nonce that was asked for, or the one in the document.
    fn quote(
        &self,
        document: &Document<'_>,
        attest: &[u8],
        signature: &[u8],
    ) -> Result<UnauthenticatedQuote, QuoteRefused> {
        let key = document.public_key.and_then(quoting_key).ok_or(QuoteRefused::Key)?;
        let signature = forms::signature(signature, &AnyPublic::Pem(key));
        let signed = Signed { attest: forms::attest(attest), signature: &signature };
        let asked = self.flags.nonce.as_ref().map(|Nonce(nonce)| nonce.as_slice());
        read_quote(document.public_key, &signed, asked.or(document.nonce).unwrap_or_default())
    }
}

/// The checks that both kinds share, as far as one leads to the next.
fn check_shared<'a>(
    kind: DocumentKind,
    bytes: &'a [u8],
    flags: &Flags,
    report: &mut Checks,
    needed: &mut Vec<&'static str>,
) -> anyhow::Result<Option<Shared<'a>>> {
    let refusal = |refused: DocumentRefused| refusal(kind, &refused);
    let Some(document) = report.note("document", Document::parse(kind, bytes)) else {
        needed.push("nonce");
        return Ok(None);
    };
    needed.extend(asked(flags, &document));
    report.note("kind", checks::kind(&document, kind).map_err(refusal));
    report.note("algorithm", checks::algorithm(&document, kind).map_err(refusal));
    report.note("digest", checks::digest(&document).map_err(refusal));
    let module_id = report.note("module_id", checks::module_id(&document, kind).map_err(refusal));

    let now = flags.now();
    let evidence_kind = match kind {
        DocumentKind::Enclave => EvidenceKind::Nitro,
        DocumentKind::Tpm => EvidenceKind::NitroTpm,
    };
    let offered: Vec<Vec<u8>> = document.cabundle.iter().map(|der| der.to_vec()).collect();
    let roots = trusted(flags, evidence_kind, &offered)?;
    let chain = verify_chain(&document, &roots, &[], now).map_err(|refused| refusal(refused.into()));
    let chain = report.note("chain", chain);
    if let Some(chain) = &chain {
        report.note("signature", checks::signature(&document, chain).map_err(refusal));
    }
    if let Some(Nonce(nonce)) = &flags.nonce {
        report.note("nonce", checks::nonce(&document, nonce).map_err(refusal));
    }
    if let Some(Nonce(binding)) = &flags.binding {
        report.note("binding", checks::user_data(&document, binding).map_err(refusal));
    }
    let Some((module_id, chain)) = module_id.zip(chain) else { return Ok(None) };
    let region = checks::certificate_name(kind, &module_id, &chain).map_err(refusal);
    let region = report.note("certificate_name", region).flatten();
    let is_answer = flags.nonce.is_some() && report.all_passed(&["nonce"]);
    note_timestamp(kind, &document, is_answer, now, report);
    Ok(Some(Shared { document, module_id, chain, region }))
}

/// The fields that somebody must compare: those that the document has, and the nonce if nothing is compared at all.
fn asked(flags: &Flags, document: &Document<'_>) -> Vec<&'static str> {
    let mut asked = Vec::new();
    asked.extend(document.nonce.is_some().then_some("nonce"));
    asked.extend(document.user_data.is_some().then_some("binding"));
    if asked.is_empty() && flags.nonce.is_none() && flags.binding.is_none() {
        asked.push("nonce");
    }
    asked
}

/// The service refuses a document that was not made just now. A file may have been fresh when it was asked for: while its
/// certificates hold nobody can say more than that it is old, unless it answers a nonce, whose age the caller knows. One
/// from the future is refused here too.
fn note_timestamp(kind: DocumentKind, document: &Document<'_>, is_answer: bool, now: UnixTime, report: &mut Checks) {
    match checks::timestamp(document, now) {
        Err(refused @ DocumentRefused::Timestamp { seconds: 0.., .. }) if is_answer => {
            report.note("timestamp", Ok::<_, Refusal>(()));
            report.remark(format!("{refused}; it answers the nonce, and counts as what was made for it"));
        }
        Err(refused @ DocumentRefused::Timestamp { seconds: 0.., .. }) => {
            report.leave_open("timestamp", format!("{refused}: give --nonce, if it has one"));
        }
        other => drop(report.note("timestamp", other.map_err(|refused| refusal(kind, &refused)))),
    }
}

fn refusal(kind: DocumentKind, refused: &DocumentRefused) -> Refusal {
    Refusal { code: refused.code(kind), detail: refused.to_string() }
}

fn facts_of<T>(shared: &Shared<'_>, facts: impl FnOnce(&NitroSources<'_>) -> T) -> T {
    let pcrs: Vec<_> = shared.document.pcrs.iter().filter_map(|(pcr, value)| Some((pcr, digest_of(value)?))).collect();
    facts(&NitroSources {
        module_id: &shared.module_id,
        region: shared.region.as_deref(),
        pcrs: &pcrs,
        public_key: shared.document.public_key,
        root: shared.chain.root(),
    })
}
