//! `NitroTpmItem`: the evidence that an agent on an EC2 instance sends, and its wire form. Parsed, it is still all claims.

use crate::error::{Malformed, Structure};
use crate::nitro::{encode_item, parse_item};

/// The evidence item of kind `nitrotpm`, borrowed. A quote has no place in it: PCRs count from the document alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NitroTpmItem<'a> {
    /// The attestation document as the hypervisor signed it: `user_data` is the binding, `nonce` the challenge's nonce.
    pub document: &'a [u8],
}

impl<'a> NitroTpmItem<'a> {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_item(self.document)
    }

    /// Reads an item, exactly.
    ///
    /// # Errors
    /// [`Malformed`] for another version, a document above [`DOCUMENT_BYTES_MAX`](crate::nitro::DOCUMENT_BYTES_MAX), and
    /// trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        parse_item(Structure::NitroTpmItem, bytes).map(|document| Self { document })
    }
}
