//! `COSE_Sign1` (RFC 9052) as the Nitro hypervisor writes it: tagged or not, ES384, nothing in the unprotected header.
//! Trusts no key: see `chain`.

use super::cbor::{Cbor, Entries, Head, bytes_head};
use super::kind::DocumentKind;
use crate::crypto::{self, HashAlg, PublicKey, SignatureAlg, SignatureValue};
use crate::error::{Defect, Malformed};

/// Bytes of one document, envelope included. The largest seen has 4,964; the specification's own limits add up to less
/// than this.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 10;
/// r and s of P-384, each padded to the field's width.
pub const SIGNATURE_BYTES: usize = 96;
/// The tag of a `COSE_Sign1`.
const COSE_SIGN1: u64 = 18;
/// Bytes of the protected header. Real ones have 4.
const PROTECTED_BYTES_MAX: usize = 64;
/// Label of `alg`, and ES384 (−35): as CBOR has it, −1 − 34.
const ALG: u64 = 1;
const ES384: u64 = 34;

/// The parts of an envelope, as its bytes have them; nothing is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoseSign1<'a> {
    /// The protected header, a map in CBOR: the bytes that are signed.
    pub protected: &'a [u8],
    /// The payload: the bytes that are signed.
    pub payload: &'a [u8],
    /// The signature; 96 bytes, r ‖ s.
    pub signature: &'a [u8],
}

/// What the protected header says about the algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// −35: ECDSA on P-384 with SHA-384.
    Es384,
    /// Another number, or another type than a number.
    Other,
}

impl<'a> CoseSign1<'a> {
    /// Reads an envelope, exactly. What is not signed has one spelling.
    ///
    /// # Errors
    /// [`Malformed`] at the first part that does not parse, for an unprotected header that is not empty, for another tag
    /// than 18, and for trailing bytes.
    pub fn parse(kind: DocumentKind, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let structure = kind.structure();
        let mut cbor = Cbor::new(structure, bytes);
        if bytes.len() > DOCUMENT_BYTES_MAX {
            let defect = Defect::TooLarge { found: bytes.len(), limit: DOCUMENT_BYTES_MAX };
            return Err(cbor.malformed("COSE_Sign1", defect));
        }
        let mut head = cbor.head("COSE_Sign1")?;
        if let Head::Tag(tag) = head {
            if tag != COSE_SIGN1 {
                return Err(cbor.malformed("tag", Defect::Value { found: tag }));
            }
            head = cbor.head("COSE_Sign1")?;
        }
        if head != Head::Array(Some(4)) {
            return Err(cbor.malformed("COSE_Sign1", Defect::Encoding));
        }
        let protected = cbor.bytes(PROTECTED_BYTES_MAX, "protected")?;
        match cbor.head("unprotected")? {
            Head::Map(Some(0)) => {}
            _ => return Err(cbor.malformed("unprotected", Defect::Encoding)),
        }
        let payload = cbor.bytes(DOCUMENT_BYTES_MAX, "payload")?;
        let signature = cbor.bytes(DOCUMENT_BYTES_MAX, "signature")?;
        cbor.finish()?;
        Ok(Self { protected, payload, signature })
    }

    /// The algorithm that the protected header names.
    ///
    /// # Errors
    /// [`Malformed`] if the header is no map with `alg` alone: a parameter that we do not know could change what the
    /// signature means.
    pub fn algorithm(&self, kind: DocumentKind) -> Result<Algorithm, Malformed> {
        let mut cbor = Cbor::new(kind.structure(), self.protected);
        let mut entries: Entries = cbor.map(1, "protected")?;
        if !cbor.more(&mut entries, "protected")? || cbor.unsigned("protected")? != ALG {
            return Err(cbor.malformed("protected", Defect::Encoding));
        }
        match cbor.head("alg")? {
            Head::Negative(ES384) => {}
            _ => return Ok(Algorithm::Other),
        }
        if cbor.more(&mut entries, "protected")? {
            return Err(cbor.malformed("protected", Defect::Encoding));
        }
        cbor.finish()?;
        Ok(Algorithm::Es384)
    }

    /// The bytes that are signed: the `Sig_structure` with context `Signature1` and no external data, RFC 9052, section
    /// 4.4.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut signed = Vec::with_capacity(self.payload.len() + self.protected.len() + 32);
        signed.extend_from_slice(b"\x84\x6aSignature1");
        signed.extend_from_slice(&bytes_head(self.protected.len()));
        signed.extend_from_slice(self.protected);
        signed.extend_from_slice(&bytes_head(0));
        signed.extend_from_slice(&bytes_head(self.payload.len()));
        signed.extend_from_slice(self.payload);
        signed
    }

    /// Whether `key` signed exactly these bytes: ES384, r ‖ s as they are, no DER.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let Some((r, s)) =
            self.signature.split_at_checked(SIGNATURE_BYTES / 2).filter(|_| self.signature.len() == SIGNATURE_BYTES)
        else {
            return false;
        };
        let value = SignatureValue::Ecdsa { r, s };
        crypto::verify(key, SignatureAlg::Ecdsa, HashAlg::Sha384, &self.signed_bytes(), value).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"\x84\x44\xa1\x01\x38\x22\xa0\x41p\x41s";

    fn parse(bytes: &[u8]) -> Result<CoseSign1<'_>, Malformed> {
        CoseSign1::parse(DocumentKind::Enclave, bytes)
    }

    fn algorithm(protected: &[u8]) -> Option<Algorithm> {
        CoseSign1 { protected, payload: b"", signature: b"" }.algorithm(DocumentKind::Enclave).ok()
    }

    #[test]
    fn an_envelope_is_read_with_its_tag_or_without() {
        let plain = parse(PLAIN).unwrap();
        assert_eq!((plain.protected, plain.payload, plain.signature), (&b"\xa1\x01\x38\x22"[..], &b"p"[..], &b"s"[..]));
        assert_eq!(parse(&[&[0xd2], PLAIN].concat()), Ok(plain));
    }

    #[test]
    fn what_is_not_signed_has_one_spelling() {
        for spoiled in [
            [&[0xd3], PLAIN].concat(),                                      // COSE_Mac0's neighbour
            [&[0xd2, 0xd2], PLAIN].concat(),                                // two tags
            [&[0xd8, 18], PLAIN].concat(),                                  // a longer tag
            [PLAIN, &[0]].concat(),                                         // a trailing byte
            b"\x83\x44\xa1\x01\x38\x22\xa0\x41p".to_vec(),                  // three parts
            b"\x9f\x44\xa1\x01\x38\x22\xa0\x41p\x41s\xff".to_vec(),         // an indefinite array
            b"\x84\x44\xa1\x01\x38\x22\xbf\xff\x41p\x41s".to_vec(),         // an indefinite map
            b"\x84\x44\xa1\x01\x38\x22\xa1\x01\x38\x22\x41p\x41s".to_vec(), // something unprotected
            b"\x84\x44\xa1\x01\x38\x22\xa0\xf6\x41s".to_vec(),              // a detached payload
            b"\x84\x44\xa1\x01\x38\x22\xa0\x61p\x41s".to_vec(),             // a text
            b"\x84\xa1\x01\x38\x22\xa0\x41p\x41s".to_vec(),                 // a header that is not wrapped
        ] {
            assert!(parse(&spoiled).is_err(), "{spoiled:02x?}");
        }
        assert!(matches!(parse(&vec![0x84; DOCUMENT_BYTES_MAX + 1]).unwrap_err().defect, Defect::TooLarge { .. }));
    }

    #[test]
    fn the_algorithm_is_the_number_of_es384_and_nothing_else() {
        assert_eq!(algorithm(b"\xa1\x01\x38\x22"), Some(Algorithm::Es384));
        assert_eq!(algorithm(b"\xa1\x01\x26"), Some(Algorithm::Other), "ES256");
        assert_eq!(algorithm(b"\xa1\x01\x38\x23"), Some(Algorithm::Other), "ES512");
        assert_eq!(algorithm(b"\xa1\x01\x65ES384"), Some(Algorithm::Other), "its name");
        assert_eq!(algorithm(b"\xa1\x01\x18\x22"), Some(Algorithm::Other), "34");
        assert_eq!(algorithm(b"\xa0"), None);
        assert_eq!(algorithm(b""), None);
        assert_eq!(algorithm(b"\xa1\x01\x38\x22\x00"), None, "trailing");
        assert_eq!(algorithm(b"\xa2\x01\x38\x22\x02\x80"), None, "crit");
        assert_eq!(algorithm(b"\xbf\x01\x38\x22\x01\x26\xff"), None, "alg twice");
        assert_eq!(algorithm(b"\xa1\x02\x38\x22"), None, "another label");
    }

    #[test]
    fn signed_bytes_are_those_of_the_standard() {
        let envelope = parse(PLAIN).unwrap();
        assert_eq!(envelope.signed_bytes(), b"\x84\x6aSignature1\x44\xa1\x01\x38\x22\x40\x41p");
    }
}
