//! A quote by a virtual TPM's attestation key that somebody else vouches for: a provider's certificate, or the report of
//! a paravisor. The same checks as for a TPM of one's own, but for the endorsement keys that it does not have.

use std::sync::Arc;

use super::ak::{AkParent, AttestationKey};
use super::attest::Attest;
use super::checks::{self, ProvenPcrs};
use super::clock::ClockInfo;
use super::error::{Statement, Unverified};
use super::event_log::{BootFacts, EventLog};
use super::item::Signed;
use super::pcr::{PcrIndex, PcrSelection, PcrSet, PcrValues};
use super::replayed::ReplayedLog;
use super::signature::Signature;
use crate::crypto::{self, HashAlg};

/// What a virtual TPM's quote proves of a boot; worth what stands behind the key that signed it.
#[derive(Clone, Debug)]
pub struct QuotedBoot {
    /// Clock and counters of the quote.
    pub clock: ClockInfo,
    /// The TPM's firmware version.
    pub firmware_version: u64,
    /// Bank and PCRs that were quoted: by the signed selection.
    pub selection: PcrSelection,
    /// Their values.
    pub pcrs: PcrValues,
    /// PCRs whose value the firmware log leads to.
    pub replayed: PcrSet,
    /// PCRs that no event touches and that hold their value of start-up.
    pub untouched: PcrSet,
    /// The firmware log; `None` where the machine offers none.
    pub log: Option<Arc<ReplayedLog>>,
}

/// Under what the key stands, where its Qualified Name can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// A primary of the endorsement hierarchy.
    Endorsement,
    /// Wherever its maker put it: who vouches for the key vouches for its place.
    Anywhere,
}

/// What is asked of a quote.
#[derive(Clone, Copy, Debug)]
pub struct QuoteAsked<'a> {
    /// Its extraData.
    pub extra_data: &'a [u8],
    /// Bank and PCRs.
    pub selection: PcrSelection,
}

/// A quote that its key signed, over what was asked; what it covers has not been looked at yet. Made by
/// [`SignedQuote::verify`] alone.
#[derive(Clone, Debug)]
pub struct SignedQuote<'a> {
    attest: Attest<'a>,
    hash: HashAlg,
    asked: PcrSelection,
}

impl<'a> SignedQuote<'a> {
    /// Checks everything about the quote `signed` but the state that it is about.
    ///
    /// # Errors
    /// The first check that fails, as for a TPM of one's own.
    pub fn verify(
        signed: &Signed<'a>,
        ak: &AttestationKey<'_>,
        place: KeyPlace,
        asked: &QuoteAsked<'_>,
    ) -> Result<Self, Unverified> {
        let attest = Attest::parse(signed.attest)?;
        let signature = Signature::parse(signed.signature)?;
        let statement = Statement::Quote;
        checks::magic(statement, &attest)?;
        checks::kind(statement, &attest)?;
        checks::scheme(statement, ak, &signature)?;
        checks::nonce(statement, &attest, asked.extra_data)?;
        if place == KeyPlace::Endorsement {
            checks::signer(statement, &attest, ak, AkParent::Endorsement)?;
        }
        checks::signature(statement, ak, &attest, &signature)?;
        Ok(Self { attest, hash: ak.hash(), asked: asked.selection })
    }

    /// What the quote proves. `log` is the firmware's, `claims` are values of PCRs that no log covers: both are worth
    /// what pcrDigest makes of them.
    ///
    /// # Errors
    /// The first check that fails, as for a TPM of one's own.
    pub fn prove(&self, log: Option<&[u8]>, claims: &[(PcrIndex, &[u8])]) -> Result<QuotedBoot, Unverified> {
        let Self { attest, hash, asked } = self;
        let quote = checks::quote_info(attest)?;
        checks::selection(quote, asked)?;
        let bank = asked.bank;
        let parsed = log.map(EventLog::parse).transpose()?;
        let replay = parsed.as_ref().map(|log| log.replay(bank)).transpose()?;
        let ProvenPcrs { values, replayed, untouched } =
            checks::pcr_values(quote, asked, *hash, replay.as_ref(), claims)?;
        let log = match (parsed, replay, log) {
            (Some(parsed), Some(replay), Some(bytes)) => {
                Some(Arc::new(ReplayedLog::derive(crypto::sha256(&[bytes]), &parsed, replay, replayed)?))
            }
            _ => None,
        };
        Ok(QuotedBoot {
            clock: attest.clock,
            firmware_version: attest.firmware_version,
            selection: *asked,
            pcrs: values,
            replayed,
            untouched,
            log,
        })
    }
}

impl QuotedBoot {
    /// Verifies the quote `signed` by `ak`, over exactly what was asked: [`SignedQuote::verify`], then
    /// [`SignedQuote::prove`].
    ///
    /// # Errors
    /// The first check that fails, as for a TPM of one's own.
    pub fn verify(
        signed: &Signed<'_>,
        ak: &AttestationKey<'_>,
        place: KeyPlace,
        asked: &QuoteAsked<'_>,
        log: Option<&[u8]>,
        claims: &[(PcrIndex, &[u8])],
    ) -> Result<Self, Unverified> {
        SignedQuote::verify(signed, ak, place, asked)?.prove(log, claims)
    }

    /// What the firmware log proves; `None` without a log.
    #[must_use]
    pub fn boot(&self) -> Option<&BootFacts> {
        self.log.as_deref().map(ReplayedLog::facts)
    }
}
