//! The payload of an attestation document, read by the letter of its specification. Everything in it is claimed until its
//! envelope's signature and its chain are verified.
//!
//! Keys that the specification does not have are refused: the two kinds of document that exist differ in nothing but the
//! name of one key, so a third may well mean something else again.

use super::cbor::Cbor;
use super::cose::{CoseSign1, DOCUMENT_BYTES_MAX};
use super::kind::DocumentKind;
use crate::error::{Defect, Malformed};

/// PCRs of one document: the specification numbers them 0 to 31.
pub const PCRS_MAX: usize = 32;
/// Bytes of a certificate, of `public_key`, `user_data` and `nonce`: `bytes .size (1..1024)`, the specification.
const FIELD_BYTES_MAX: usize = 1024;
/// Certificates of `cabundle`. Real documents have 4.
pub const CABUNDLE_MAX: usize = 8;
/// Bytes of `module_id` and `digest`. Real module names have 39.
const TEXT_BYTES_MAX: usize = 128;
/// Keys of the payload; the specification has 9.
const KEYS_MAX: usize = 16;

/// An attestation document, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// The envelope.
    pub envelope: CoseSign1<'a>,
    /// The issuing hypervisor's name for the module: instance and enclave, or instance and TPM.
    pub module_id: &'a str,
    /// The function that the PCRs are digests of: `SHA384`.
    pub digest: &'a str,
    /// When it was made by the hypervisor's clock, milliseconds since 1970.
    pub timestamp: u64,
    /// The PCRs.
    pub pcrs: Pcrs<'a>,
    /// The certificate of the key that signed it, DER.
    pub certificate: &'a [u8],
    /// The issuers, root first, DER.
    pub cabundle: Vec<&'a [u8]>,
    /// A key that the caller asked to have signed along. Whose it is, nobody says.
    pub public_key: Option<&'a [u8]>,
    /// What the caller asked to have signed along.
    pub user_data: Option<&'a [u8]>,
    /// What the verifier asked to have signed along.
    pub nonce: Option<&'a [u8]>,
}

/// The PCRs of a document, under the key that they stood under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcrs<'a> {
    /// Whose PCRs they are, by the key.
    pub kind: DocumentKind,
    values: [Option<&'a [u8]>; PCRS_MAX],
}

impl<'a> Pcrs<'a> {
    /// The value of that PCR, if the document has it.
    #[must_use]
    pub fn get(&self, number: u8) -> Option<&'a [u8]> {
        self.values.get(usize::from(number)).copied().flatten()
    }

    /// Those that the document has, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        (0u8..).zip(self.values).filter_map(|(number, value)| Some((number, value?)))
    }
}

impl<'a> Document<'a> {
    /// Reads a document, exactly. Reads PCRs under either key: which of them it was, [`Pcrs::kind`] says.
    ///
    /// # Errors
    /// [`Malformed`] at the first field that does not parse: other keys than the specification's, keys that stand twice,
    /// sizes beyond it, strings in pieces, numbers in a long spelling.
    pub fn parse(kind: DocumentKind, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let envelope = CoseSign1::parse(kind, bytes)?;
        let mut cbor = Cbor::new(kind.structure(), envelope.payload);
        let mut fields = Fields::default();
        let mut entries = cbor.map(KEYS_MAX, "payload")?;
        while cbor.more(&mut entries, "payload")? {
            let key = cbor.text(TEXT_BYTES_MAX, "key")?;
            fields.read(key, &mut cbor)?;
        }
        let missing = |field| cbor.malformed(field, Defect::Missing);
        let document = Self {
            envelope,
            module_id: fields.module_id.ok_or(missing("module_id"))?,
            digest: fields.digest.ok_or(missing("digest"))?,
            timestamp: fields.timestamp.ok_or(missing("timestamp"))?,
            pcrs: fields.pcrs.ok_or(missing(kind.pcrs_key()))?,
            certificate: fields.certificate.ok_or(missing("certificate"))?,
            cabundle: fields.cabundle.ok_or(missing("cabundle"))?,
            public_key: fields.public_key.flatten(),
            user_data: fields.user_data.flatten(),
            nonce: fields.nonce.flatten(),
        };
        cbor.finish()?;
        Ok(document)
    }
}

/// What was read so far; of the optional fields also whether they stood there as null.
#[derive(Default)]
struct Fields<'a> {
    module_id: Option<&'a str>,
    digest: Option<&'a str>,
    timestamp: Option<u64>,
    pcrs: Option<Pcrs<'a>>,
    certificate: Option<&'a [u8]>,
    cabundle: Option<Vec<&'a [u8]>>,
    public_key: Option<Option<&'a [u8]>>,
    user_data: Option<Option<&'a [u8]>>,
    nonce: Option<Option<&'a [u8]>>,
}

impl<'a> Fields<'a> {
    fn read(&mut self, key: &str, cbor: &mut Cbor<'a>) -> Result<(), Malformed> {
        let before = cbor.clone();
        let put = |new: bool, field| if new { Ok(()) } else { Err(before.malformed(field, Defect::Duplicate)) };
        match key {
            "module_id" => put(self.module_id.replace(cbor.text(TEXT_BYTES_MAX, "module_id")?).is_none(), "module_id"),
            "digest" => put(self.digest.replace(cbor.text(TEXT_BYTES_MAX, "digest")?).is_none(), "digest"),
            "timestamp" => put(self.timestamp.replace(cbor.unsigned("timestamp")?).is_none(), "timestamp"),
            "pcrs" => put(self.pcrs.replace(pcrs(DocumentKind::Enclave, cbor)?).is_none(), "pcrs"),
            "nitrotpm_pcrs" => put(self.pcrs.replace(pcrs(DocumentKind::Tpm, cbor)?).is_none(), "nitrotpm_pcrs"),
            "certificate" => put(self.certificate.replace(certificate(cbor, "certificate")?).is_none(), "certificate"),
            "cabundle" => put(self.cabundle.replace(cabundle(cbor)?).is_none(), "cabundle"),
            "public_key" => put(self.public_key.replace(public_key(cbor)?).is_none(), "public_key"),
            "user_data" => put(self.user_data.replace(optional(cbor, "user_data")?).is_none(), "user_data"),
            "nonce" => put(self.nonce.replace(optional(cbor, "nonce")?).is_none(), "nonce"),
            _ => Err(cbor.malformed("key", Defect::Unknown)),
        }
    }
}

fn optional<'a>(cbor: &mut Cbor<'a>, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
    cbor.bytes_or_null(FIELD_BYTES_MAX, field)
}

/// Unlike the other two it is never empty: `bytes .size (1..1024)`.
fn public_key<'a>(cbor: &mut Cbor<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    match optional(cbor, "public_key")? {
        Some([]) => Err(cbor.malformed("public_key", Defect::Length { expected: 1, found: 0 })),
        key => Ok(key),
    }
}

fn certificate<'a>(cbor: &mut Cbor<'a>, field: &'static str) -> Result<&'a [u8], Malformed> {
    match cbor.bytes(FIELD_BYTES_MAX, field)? {
        [] => Err(cbor.malformed(field, Defect::Length { expected: 1, found: 0 })),
        der => Ok(der),
    }
}

fn cabundle<'a>(cbor: &mut Cbor<'a>) -> Result<Vec<&'a [u8]>, Malformed> {
    let mut entries = cbor.array(CABUNDLE_MAX, "cabundle")?;
    let mut bundle = Vec::with_capacity(CABUNDLE_MAX);
    while cbor.more(&mut entries, "cabundle")? {
        if bundle.len() == CABUNDLE_MAX {
            let defect = Defect::TooLarge { found: CABUNDLE_MAX + 1, limit: CABUNDLE_MAX };
            return Err(cbor.malformed("cabundle", defect));
        }
        bundle.push(certificate(cbor, "cabundle")?);
    }
    if bundle.is_empty() { Err(cbor.malformed("cabundle", Defect::Missing)) } else { Ok(bundle) }
}

fn pcrs<'a>(kind: DocumentKind, cbor: &mut Cbor<'a>) -> Result<Pcrs<'a>, Malformed> {
    let field = kind.pcrs_key();
    let mut values = [None; PCRS_MAX];
    let mut entries = cbor.map(PCRS_MAX, field)?;
    while cbor.more(&mut entries, field)? {
        let number = cbor.unsigned(field)?;
        let value = cbor.bytes(DOCUMENT_BYTES_MAX, field)?;
        if !matches!(value.len(), 32 | 48 | 64) {
            return Err(cbor.malformed(field, Defect::Length { expected: 48, found: value.len() }));
        }
        let place = usize::try_from(number).ok().and_then(|number| values.get_mut(number));
        let place = place.ok_or(cbor.malformed(field, Defect::Value { found: number }))?;
        if place.replace(value).is_some() {
            return Err(cbor.malformed(field, Defect::Duplicate));
        }
    }
    match values.iter().any(Option::is_some) {
        true => Ok(Pcrs { kind, values }),
        false => Err(cbor.malformed(field, Defect::Missing)),
    }
}
