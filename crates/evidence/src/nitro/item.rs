//! `NitroItem`: the evidence that an agent in an enclave sends, and its wire form. Parsed, it is still all claims.

use super::cose::DOCUMENT_BYTES_MAX;
use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};

const VERSION: u8 = 1;

/// The evidence item of kind `nitro`, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NitroItem<'a> {
    /// The attestation document as the hypervisor signed it: `user_data` is the binding, `nonce` the challenge's nonce.
    pub document: &'a [u8],
}

impl<'a> NitroItem<'a> {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self.document)
    }

    /// Reads an item, exactly.
    ///
    /// # Errors
    /// [`Malformed`] for another version, a document above [`DOCUMENT_BYTES_MAX`], and trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        parse(Structure::NitroItem, bytes).map(|document| Self { document })
    }
}

/// The wire form that both kinds share: version, and the document behind its length.
pub(crate) fn encode(document: &[u8]) -> Vec<u8> {
    Writer::new().u8(VERSION).sized32(document).finish()
}

pub(crate) fn parse(structure: Structure, bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(structure, bytes);
    match reader.u8("version")? {
        VERSION => {}
        other => return Err(reader.value("version", other.into())),
    }
    let document = reader.sized32(DOCUMENT_BYTES_MAX, "document")?;
    reader.finish()?;
    Ok(document)
}
