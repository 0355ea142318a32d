//! The checks on a quote of a provider's virtual TPM, one by one: what `inspect azure` and `inspect gcp` share.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use holdfast_evidence::tpm::event_log::{EventLog, Replay};
use holdfast_evidence::tpm::{
    AkParent, Attest, AttestationKey, PcrIndex, PcrSelection, Public, QuoteInfo, QuotedBoot, ReplayedLog, Signature,
    Statement, Unverified, checks,
};

use super::flags::Flags;
use super::forms::{self, AnyPublic, Nonce};
use super::report::{Checks, Refusal};
use super::tools;

const QUOTE: Statement = Statement::Quote;
/// Registers of a TPM.
const PCR_COUNT: usize = 24;
/// Those without which a quote is not verified, beside what it signs along.
pub(super) const NEEDED: [&str; 8] =
    ["attest", "magic", "type", "ak", "scheme", "signature", "selection", "pcr_digest"];

/// A quote as files have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QuoteFiles {
    pub(super) attest: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) registers: Option<Registers>,
}

/// Values of registers: anybody's word, until pcrDigest says that they are the TPM's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Registers {
    /// All 24, or those that are quoted, ascending. Which is which the *signed* selection says, and nothing else.
    Listed(Vec<Vec<u8>>),
    /// By number.
    Named(Vec<(PcrIndex, Vec<u8>)>),
}

/// Whether the key's place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A primary of the endorsement hierarchy.
    Endorsement,
    /// Nobody says.
    Unknown,
}

impl QuoteFiles {
    /// Reads a quote from a file, with its signature and registers beside it, or all in one (bincode).
    pub(super) fn read(quote: &Path, signature: Option<&Path>, pcrs: Option<&Path>) -> anyhow::Result<Self> {
        let bytes = forms::read(quote)?;
        let given = pcrs.map(Registers::read).transpose()?;
        let whole = tools::bincode(&bytes);
        match (signature, whole) {
            (Some(signature), _) => Ok(Self {
                attest: forms::attest(&bytes).to_vec(),
                signature: forms::read(signature)?,
                registers: given,
            }),
            (None, Some(whole)) => Ok(Self { registers: given.or(whole.registers), ..whole }),
            (None, None) => bail!("{} has no signature in it: give --signature", quote.display()),
        }
    }
}

impl Registers {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let expected = || format!("{} holds no registers: 32 bytes each, or JSON", path.display());
        tools::registers(&forms::read(path)?).with_context(expected)
    }

    /// The values by number, of those that are quoted.
    ///
    /// # Errors
    /// A list that is neither of all registers nor of those that are quoted.
    fn claims(&self, signed: &PcrSelection) -> Result<Vec<(PcrIndex, &[u8])>, Refusal> {
        let quoted = signed.pcrs.iter().count();
        match self {
            Self::Named(named) => Ok(named.iter().map(|(pcr, value)| (*pcr, value.as_slice())).collect()),
            Self::Listed(all) if all.len() == PCR_COUNT => {
                let numbered = PcrIndex::all().zip(all);
                Ok(numbered.filter(|(pcr, _)| signed.pcrs.contains(*pcr)).map(|(pcr, v)| (pcr, v.as_slice())).collect())
            }
            Self::Listed(some) if some.len() == quoted => {
                Ok(signed.pcrs.iter().zip(some.iter().map(Vec::as_slice)).collect())
            }
            Self::Listed(other) => Err(Refusal {
                code: Unverified::PcrDigest.code(),
                detail: format!("{} values are given, the quote covers {quoted} PCRs", other.len()),
            }),
        }
    }
}

/// Everything about a quote by the key of this public area; what it proves, if pcrDigest passed.
pub(super) fn check(
    files: &QuoteFiles,
    log: Option<&[u8]>,
    public: &Public,
    place: Place,
    flags: &Flags,
    report: &mut Checks,
) -> Option<QuotedBoot> {
    let attest = report.note("attest", Attest::parse(&files.attest))?;
    report.note("magic", checks::magic(QUOTE, &attest));
    report.note("type", checks::kind(QUOTE, &attest));
    // extraData has a length of its own: what is wanted is all of it, with nothing cut off and nothing filled up
    for (name, wanted) in [("nonce", &flags.nonce), ("binding", &flags.binding)] {
        if let Some(Nonce(wanted)) = wanted {
            report.note(name, checks::nonce(QUOTE, &attest, wanted));
        }
    }
    let key = report.note("ak", AttestationKey::check(public))?;
    check_signature(files, public, &key, &attest, report);
    let signer = checks::signer(QUOTE, &attest, &key, AkParent::Endorsement);
    if place == Place::Endorsement || signer.is_ok() {
        report.note("signer", signer);
    }
    let info = checks::quote_info(&attest).ok()?;
    let signed = report.note("selection", checks::signed_selection(info))?;
    let proven = check_state(files, log, info, &key, &signed, report)?;
    let log = match (log, proven.replayed.is_empty()) {
        (Some(bytes), false) => {
            report.note("boot", ReplayedLog::load(bytes, signed.bank, proven.replayed)).map(Arc::new)
        }
        _ => None,
    };
    Some(QuotedBoot {
        clock: attest.clock,
        firmware_version: attest.firmware_version,
        selection: signed,
        pcrs: proven.values,
        replayed: proven.replayed,
        untouched: proven.untouched,
        log,
    })
}

fn check_signature(
    files: &QuoteFiles,
    public: &Public,
    key: &AttestationKey<'_>,
    attest: &Attest<'_>,
    report: &mut Checks,
) {
    let bytes = forms::signature(&files.signature, &AnyPublic::Tpm(Box::new(public.clone())));
    match Signature::parse(&bytes) {
        Ok(signature) => {
            report.note("scheme", checks::scheme(QUOTE, key, &signature));
            report.note("signature", checks::signature(QUOTE, key, attest, &signature));
        }
        Err(malformed) => {
            report.note::<()>("signature", Err(malformed));
        }
    }
}

/// The log, the registers, and pcrDigest over both.
fn check_state(
    files: &QuoteFiles,
    log: Option<&[u8]>,
    info: &QuoteInfo<'_>,
    key: &AttestationKey<'_>,
    signed: &PcrSelection,
    report: &mut Checks,
) -> Option<checks::ProvenPcrs> {
    let mut replay: Option<Replay> = None;
    if let Some(bytes) = log {
        let read = EventLog::parse(bytes).map_err(Refusal::from);
        let read = read.and_then(|log| log.replay(signed.bank).map_err(Refusal::from));
        replay = Some(report.note("logs", read)?);
    }
    let claims = match &files.registers {
        Some(registers) => registers.claims(signed),
        None if replay.is_some() => Ok(Vec::new()),
        None => {
            report.leave_open(
                "pcr_digest",
                "values of the quoted PCRs are missing: give --pcrs or --event-log".to_owned(),
            );
            return None;
        }
    };
    let proven = claims.and_then(|claims| {
        checks::pcr_values(info, signed, key.hash(), replay.as_ref(), &claims).map_err(Refusal::from)
    });
    report.note("pcr_digest", proven)
}
