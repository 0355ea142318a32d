//! Requests of the Nitro Secure Module, in its CBOR: the same bytes go through an enclave's `/dev/nsm` and through a
//! NitroTPM's NV buffer. Verifies nothing of the document.

mod cbor;
mod device;

pub use device::{NsmDevice, device};

use cbor::Item;
use holdfast_evidence::nitro::DOCUMENT_BYTES_MAX;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum NsmFault {
    /// The device refused.
    #[error("Nitro Secure Module cannot be reached at {place}")]
    Io {
        /// Where it was looked for.
        place: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The module answered with an error of its own.
    #[error("Nitro Secure Module answered {0}")]
    Refused(String),
    /// The answer is not what the request answers with.
    #[error("Nitro Secure Module's answer cannot be read")]
    Answer,
}

impl NsmFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "agent.nsm.io",
            Self::Refused(_) => "agent.nsm.refused",
            Self::Answer => "agent.nsm.answer",
        }
    }
}

/// Asks for a document with these two fields, and without a public key.
pub(super) fn attestation_request(user_data: &[u8], nonce: &[u8]) -> Vec<u8> {
    let mut request = cbor::Writer::default();
    request.map(1).text("Attestation").map(3);
    request.text("user_data").bytes(user_data);
    request.text("nonce").bytes(nonce);
    request.text("public_key").null();
    request.finish()
}

/// Asks which module it is.
pub(super) fn describe_request() -> Vec<u8> {
    let mut request = cbor::Writer::default();
    request.text("DescribeNSM");
    request.finish()
}

/// The document in an answer to [`attestation_request`]; bytes behind the answer are not looked at.
pub(super) fn document(answer: &[u8]) -> Result<Vec<u8>, NsmFault> {
    let body = body(answer, "Attestation")?;
    match body.get("document") {
        Some(Item::Bytes(document)) if document.len() <= DOCUMENT_BYTES_MAX => Ok(document.clone()),
        _ => Err(NsmFault::Answer),
    }
}

/// The module's name in an answer to [`describe_request`].
pub(super) fn module_id(answer: &[u8]) -> Result<String, NsmFault> {
    match body(answer, "DescribeNSM")?.get("module_id") {
        Some(Item::Text(name)) => Ok(name.chars().filter(|c| c.is_ascii_graphic()).take(128).collect()),
        _ => Err(NsmFault::Answer),
    }
}

fn body(answer: &[u8], variant: &str) -> Result<Item, NsmFault> {
    let answer = cbor::parse(answer).ok_or(NsmFault::Answer)?;
    if let Some(Item::Text(error)) = answer.get("Error") {
        return Err(NsmFault::Refused(error.chars().filter(|c| c.is_ascii_graphic()).take(64).collect()));
    }
    answer.into(variant).ok_or(NsmFault::Answer)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The module's answer with a document, for fakes.
    pub(in super::super) fn answer(document: &[u8]) -> Vec<u8> {
        let mut answer = cbor::Writer::default();
        answer.map(1).text("Attestation").map(1).text("document").bytes(document);
        answer.finish()
    }

    #[test]
    fn a_request_has_the_bytes_that_serde_gives_awss_own_crate() {
        let request = hex::encode(attestation_request(&[0xaa; 2], &[0xbb; 24]));
        let expected = [
            "a1",
            "6b",
            &hex::encode("Attestation"),
            "a3",
            "69",
            &hex::encode("user_data"),
            "42aaaa",
            "65",
            &hex::encode("nonce"),
            "5818",
            &"bb".repeat(24),
            "6a",
            &hex::encode("public_key"),
            "f6",
        ]
        .concat();
        assert_eq!(request, expected);
        assert_eq!(describe_request(), b"\x6bDescribeNSM");
    }

    #[test]
    fn a_document_is_found_whatever_stands_behind_the_answer() {
        let padded = [answer(b"document"), vec![0xff; 9]].concat();
        assert_eq!(document(&padded).unwrap(), b"document");
        assert_eq!(document(&answer(&vec![0; DOCUMENT_BYTES_MAX + 1])).unwrap_err().code(), "agent.nsm.answer");
    }

    #[test]
    fn the_modules_own_errors_are_told() {
        let fault = document(b"\xa1\x65Error\x6dInputTooLarge").unwrap_err();
        assert_eq!(
            (fault.code(), fault.to_string().as_str()),
            ("agent.nsm.refused", "Nitro Secure Module answered InputTooLarge")
        );
        for answer in [b"".as_slice(), b"\xa0", b"\xa1\x6bAttestation\xa0", b"\x6bDescribeNSM", b"\xf6"] {
            assert_eq!(document(answer).unwrap_err().code(), "agent.nsm.answer");
        }
    }

    #[test]
    fn a_module_says_its_name() {
        let answer = b"\xa1\x6bDescribeNSM\xa2\x6dversion_major\x01\x69module_id\x63i-1";
        assert_eq!(module_id(answer).unwrap(), "i-1");
    }
}
