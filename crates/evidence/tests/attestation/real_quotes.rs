//! Quotes of real TPMs, judged as their provenance says. Reads `shared/vectors`. The keys come without public areas, so
//! the signature is checked under the bare key and the rest by the checks one by one.

use holdfast_evidence::crypto::{HashAlg, PublicKey, SignatureAlg, SignatureValue, verify};
use holdfast_evidence::tpm::{Attest, PcrIndex, PcrSet, Signature, Statement, Unverified, checks};

use crate::vectors;

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| ALPHABET.iter().position(|letter| *letter == byte));
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits {
        (bits, count) = (bits << 6 | digit as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn pem(text: &str) -> Vec<u8> {
    base64(&text.lines().filter(|line| !line.starts_with("---")).collect::<String>())
}

/// Every check of a quote that needs no asker: returns the refusal of the PCR values, if any.
fn judge(key: &PublicKey, message: &[u8], signature: SignatureValue<'_>, pcrs: &[Vec<u8>]) -> Result<(), Unverified> {
    let attest = Attest::parse(message).unwrap();
    checks::magic(Statement::Quote, &attest)?;
    checks::kind(Statement::Quote, &attest)?;
    verify(key, SignatureAlg::Rsassa, HashAlg::Sha256, message, signature).unwrap();
    let info = checks::quote_info(&attest)?;
    let selection = checks::signed_selection(info)?;
    assert_eq!(selection.pcrs, PcrIndex::all().collect::<PcrSet>());
    let claims: Vec<_> = PcrIndex::all().zip(pcrs.iter().map(Vec::as_slice)).collect();
    let proven = checks::pcr_values(info, &selection, HashAlg::Sha256, None, &claims)?;
    assert_eq!(proven.values.indices(), selection.pcrs);
    assert!(proven.replayed.is_empty());
    Ok(())
}

#[test]
fn a_quote_of_an_azure_vtpm_verifies_and_no_byte_of_it_may_change() {
    let Some(folder) = vectors::folder() else { return };
    let folder = folder.join("tpm/azure-cvm-tooling/quotes");
    let key = PublicKey::from_spki(&pem(&std::fs::read_to_string(folder.join("akpub.pem")).unwrap())).unwrap();
    // Three byte strings behind little-endian counts of eight bytes; the third is a list of them.
    let file = std::fs::read(folder.join("quote.bin")).unwrap();
    let mut at = 0;
    let count = |at: &mut usize| {
        *at += 8;
        u64::from_le_bytes(file[*at - 8..*at].try_into().unwrap()) as usize
    };
    let string = |at: &mut usize| {
        let length = count(at);
        *at += length;
        file[*at - length..*at].to_vec()
    };
    let (signature, message) = (string(&mut at), string(&mut at));
    let pcrs: Vec<_> = (0..count(&mut at))
        .map(|_| {
            file[{
                at += 32;
                at - 32
            }..at]
                .to_vec()
        })
        .collect();
    assert_eq!(judge(&key, &message, SignatureValue::Rsa(&signature), &pcrs), Ok(()));
    for place in 0..message.len() {
        let mut changed = message.clone();
        changed[place] ^= 1;
        let value = SignatureValue::Rsa(&signature);
        assert!(verify(&key, SignatureAlg::Rsassa, HashAlg::Sha256, &changed, value).is_err());
    }
}

#[test]
fn a_quote_over_a_bank_that_nothing_extended_is_refused_although_its_signature_holds() {
    let Some(folder) = vectors::folder() else { return };
    let text = std::fs::read_to_string(folder.join("tpm/trustee/quotes/tpm_evidence.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let field = |value: &serde_json::Value| base64(value.as_str().unwrap());
    let key = PublicKey::from_spki(&field(&json["ak_public"])).unwrap();
    let quote = &json["tpm_quote"];
    let signature = field(&quote["signature"]);
    let signature = Signature::parse(&signature).unwrap();
    assert_eq!((signature.algorithm(), signature.hash_id()), (SignatureAlg::Rsassa, HashAlg::Sha256.id()));
    let pcrs: Vec<_> =
        quote["pcrs"].as_array().unwrap().iter().map(|hex| hex::decode(hex.as_str().unwrap()).unwrap()).collect();
    let refused = judge(&key, &field(&quote["message"]), signature.value(), &pcrs);
    assert_eq!(refused, Err(Unverified::BankUnextended));
}

#[test]
fn a_quote_with_a_sha1_signature_over_the_sha1_bank_parses_and_is_refused() {
    let Some(folder) = vectors::folder() else { return };
    let text = std::fs::read_to_string(folder.join("tpm/rust-keylime/quote/test-quote.txt")).unwrap();
    let mut parts = text.strip_prefix('r').unwrap().split(':');
    let (message, signature) = (base64(parts.next().unwrap()), base64(parts.next().unwrap()));
    let signature = Signature::parse(&signature).unwrap();
    assert_eq!(HashAlg::from_id(signature.hash_id()), None);
    let attest = Attest::parse(&message).unwrap();
    let refused = checks::signed_selection(checks::quote_info(&attest).unwrap()).unwrap_err();
    assert_eq!(refused.code(), "tpm.quote.selection");
    // It was asked without a nonce: an empty one matches nothing, itself included.
    assert_eq!(checks::nonce(Statement::Quote, &attest, &[]).unwrap_err().code(), "tpm.quote.nonce");
}
