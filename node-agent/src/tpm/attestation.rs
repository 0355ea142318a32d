//! What the keys sign: quotes, certifications of the node key, TLS handshakes; and PCR values as plain claims.

use std::collections::{BTreeMap, BTreeSet};

use tss_esapi::handles::ObjectHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Attest, Data, Digest, EccSignature, HashcheckTicket, PcrSelectionList, PcrSlot, Signature, SignatureScheme,
};
use tss_esapi::traits::Marshall;
use x509_parser::asn1_rs::{Integer, Sequence, ToDer};

use super::TpmFault;
use super::actor::Tpm;

/// A structure that the attestation key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

impl Tpm {
    /// Quotes the PCRs `pcrs` of the bank with algorithm id `bank`. One command.
    ///
    /// # Errors
    /// [`TpmFault`] where the chip refuses, or does not know the bank.
    pub async fn quote(&self, qualifying: [u8; 32], bank: u16, pcrs: BTreeSet<u8>) -> Result<Signed, TpmFault> {
        self.ask(move |machine| {
            machine.with(|open, _, _| {
                let (data, selection) = (data(&qualifying)?, selection(bank, &pcrs)?);
                let ak = open.ak;
                let signed = open
                    .chip
                    .authorised("Quote", |context| context.quote(ak, data, SignatureScheme::Null, selection))?;
                marshalled(signed)
            })
        })
        .await
    }

    /// Has the attestation key certify the node key. One command.
    ///
    /// # Errors
    /// [`TpmFault`] where the chip refuses.
    pub async fn certify_node_key(&self, qualifying: [u8; 32]) -> Result<Signed, TpmFault> {
        self.ask(move |machine| {
            machine.with(|open, _, _| {
                let data = data(&qualifying)?;
                let (ak, node_key) = (open.ak, ObjectHandle::from(open.node_key));
                let password = Some(AuthSession::Password);
                let signed = open.chip.command("Certify", |context| {
                    context.execute_with_sessions((password, password, None), |context| {
                        context.certify(node_key, ak, data, SignatureScheme::Null)
                    })
                })?;
                marshalled(signed)
            })
        })
        .await
    }

    /// Signs a SHA-256 digest with the node key: ECDSA as DER. One command. Blocks the calling thread.
    ///
    /// # Errors
    /// [`TpmFault`] where the chip refuses.
    pub fn sign_blocking(&self, digest: [u8; 32]) -> Result<Vec<u8>, TpmFault> {
        self.ask_blocking(move |machine| {
            machine.with(|open, _, _| {
                let form = |_| TpmFault::Form { what: "digest to sign", expected: "32 bytes" };
                let digest = Digest::try_from(digest.as_slice()).map_err(form)?;
                let ticket = no_ticket()?;
                let key = open.node_key;
                match open
                    .chip
                    .authorised("Sign", |context| context.sign(key, digest, SignatureScheme::Null, ticket))?
                {
                    Signature::EcDsa(signature) => der(&signature),
                    _ => Err(TpmFault::Form { what: "signature of the node key", expected: "ECDSA" }),
                }
            })
        })
    }

    /// Reads PCR values. One command for each eight of them. Claims only: nothing signs them.
    ///
    /// # Errors
    /// [`TpmFault`] where the chip refuses.
    pub async fn pcr_values(&self, bank: u16, pcrs: BTreeSet<u8>) -> Result<BTreeMap<u8, Vec<u8>>, TpmFault> {
        self.ask(move |machine| {
            machine.with(|open, _, _| {
                let mut values = BTreeMap::new();
                let mut wanted: Vec<u8> = pcrs.iter().copied().collect();
                while !wanted.is_empty() {
                    let round: BTreeSet<u8> = wanted.drain(..wanted.len().min(PCRS_PER_READ)).collect();
                    let selection = selection(bank, &round)?;
                    let (_, read, digests) = open.chip.command("PCR_Read", |context| context.pcr_read(selection))?;
                    let read = read.get_selections().iter().flat_map(|bank| bank.selected());
                    for (slot, digest) in read.zip(digests.value()) {
                        values.insert(index(slot), digest.value().to_vec());
                    }
                }
                Ok(values)
            })
        })
        .await
    }
}

/// Digests that one PCR_Read answers with at most (TPML_DIGEST holds eight).
const PCRS_PER_READ: usize = 8;

pub(super) fn marshalled((attest, signature): (Attest, Signature)) -> Result<Signed, TpmFault> {
    let fault = |source| TpmFault::Command { command: "marshal", source };
    Ok(Signed { attest: attest.marshall().map_err(fault)?, signature: signature.marshall().map_err(fault)? })
}

pub(super) fn data(qualifying: &[u8]) -> Result<Data, TpmFault> {
    Data::try_from(qualifying).map_err(|_| TpmFault::Form { what: "qualifying data", expected: "at most 64 bytes" })
}

fn selection(bank: u16, pcrs: &BTreeSet<u8>) -> Result<PcrSelectionList, TpmFault> {
    let form = |_| TpmFault::Form { what: "PCR selection", expected: "PCRs 0 to 23 of a bank of SHA-1 to SHA-512" };
    let algorithm = HashingAlgorithm::try_from(bank)
        .and_then(|algorithm| match algorithm {
            HashingAlgorithm::Null => Err(tss_esapi::Error::WrapperError(tss_esapi::WrapperErrorKind::InvalidParam)),
            known => Ok(known),
        })
        .map_err(form)?;
    let slots: Vec<PcrSlot> = pcrs
        .iter()
        .map(|&pcr| PcrSlot::try_from(1_u32.checked_shl(pcr.into()).unwrap_or(0)).map_err(form))
        .collect::<Result<_, _>>()?;
    PcrSelectionList::builder().with_selection(algorithm, &slots).build().map_err(form)
}

fn index(slot: PcrSlot) -> u8 {
    u8::try_from(u32::from(slot).trailing_zeros()).unwrap_or(u8::MAX)
}

/// The ticket that says "no ticket": the node key is not restricted.
fn no_ticket() -> Result<HashcheckTicket, TpmFault> {
    use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
    use tss_esapi::tss2_esys::{TPM2B_DIGEST, TPMT_TK_HASHCHECK};
    let ticket = TPMT_TK_HASHCHECK {
        tag: TPM2_ST_HASHCHECK,
        hierarchy: TPM2_RH_NULL,
        digest: TPM2B_DIGEST { size: 0, buffer: [0; 64] },
    };
    HashcheckTicket::try_from(ticket).map_err(|_| TpmFault::Form { what: "null ticket", expected: "to be accepted" })
}

/// ECDSA-Sig-Value: a sequence of two integers.
fn der(signature: &EccSignature) -> Result<Vec<u8>, TpmFault> {
    let form = |_| TpmFault::Form { what: "signature of the node key", expected: "two integers" };
    let integer = |value: &[u8]| {
        // The chip's are unsigned; a leading zero keeps a DER integer from being negative.
        let start = value.iter().position(|&byte| byte != 0).unwrap_or(value.len());
        let digits = value.get(start..).unwrap_or_default();
        let sign: &[u8] = if digits.first().is_none_or(|&first| first & 0x80 != 0) { &[0] } else { &[] };
        [sign, digits].concat()
    };
    let (r, s) = (integer(signature.signature_r().value()), integer(signature.signature_s().value()));
    let parts = [Integer::new(&r), Integer::new(&s)];
    Sequence::from_iter_to_der(parts.iter()).and_then(|sequence| sequence.to_der_vec()).map_err(form)
}

#[cfg(test)]
mod tests {
    use tss_esapi::structures::EccParameter;

    use super::*;

    fn signature(r: &[u8], s: &[u8]) -> EccSignature {
        let part = |bytes: &[u8]| EccParameter::try_from(bytes).unwrap();
        EccSignature::create(HashingAlgorithm::Sha256, part(r), part(s)).unwrap()
    }

    #[test]
    fn signatures_are_written_as_the_shortest_positive_integers() {
        assert_eq!(hex::encode(der(&signature(&[0, 0, 1], &[0x80])).unwrap()), "30070201010202 0080".replace(' ', ""));
        assert_eq!(der(&signature(&[0xff; 32], &[0xff; 32])).unwrap().len(), 2 + 2 * 35);
    }

    #[test]
    fn a_selection_of_a_pcr_beyond_23_is_refused() {
        let pcrs = |pcr| BTreeSet::from([pcr]);
        assert!(selection(0x000b, &pcrs(23)).is_ok());
        assert!(selection(0x000b, &pcrs(32)).is_err());
        assert!(selection(0x0010, &pcrs(0)).is_err());
    }
}
