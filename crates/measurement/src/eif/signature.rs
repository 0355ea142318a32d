//! The signature section of an enclave image: CBOR around a certificate in PEM and a COSE signature over PCR 0.
//! The certificate is what PCR 8 measures. The signature is not verified: the hypervisor does, and refuses the image.

use x509_parser::pem::Pem;

/// Bytes of a certificate or signature.
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// Who signed an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Its subject.
    pub subject: String,
}

impl Signer {
    /// The certificate of the first signature: `[{ "signing_certificate": PEM, "signature": COSE_Sign1 }, …]`.
    pub(super) fn parse(section: &[u8]) -> Option<Self> {
        let mut reader = Cbor(section);
        let count = reader.header(4)?;
        if count == 0 || reader.header(5)? != 2 {
            return None;
        }
        let mut certificate = None;
        for _ in 0..2 {
            let name = reader.text()?;
            let value = reader.bytes()?;
            if name == "signing_certificate" && certificate.replace(value).is_some() {
                return None;
            }
        }
        let pem = Pem::iter_from_buffer(&certificate?).next()?.ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&pem.contents).ok()?;
        let subject = parsed.subject().to_string();
        Some(Self { certificate: pem.contents, subject })
    }
}

/// CBOR of definite lengths, RFC 8949.
struct Cbor<'a>(&'a [u8]);

impl<'a> Cbor<'a> {
    /// The argument of an item of this major type.
    fn header(&mut self, major: u8) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        if first >> 5 != major {
            return None;
        }
        let (argument, rest) = match first & 0x1f {
            small @ 0..=23 => (u64::from(small), rest),
            24 => rest.split_first().map(|(byte, rest)| (u64::from(*byte), rest))?,
            25 => rest.split_first_chunk().map(|(bytes, rest)| (u64::from(u16::from_be_bytes(*bytes)), rest))?,
            26 => rest.split_first_chunk().map(|(bytes, rest)| (u64::from(u32::from_be_bytes(*bytes)), rest))?,
            27 => rest.split_first_chunk().map(|(bytes, rest)| (u64::from_be_bytes(*bytes), rest))?,
            _ => return None,
        };
        self.0 = rest;
        Some(argument)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.header(3)?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// A byte string, or the list of numbers that the tools write in its place.
    fn bytes(&mut self) -> Option<Vec<u8>> {
        if self.0.first()? >> 5 == 2 {
            let length = self.header(2)?;
            return self.take(length).map(<[u8]>::to_vec);
        }
        let count = self.header(4).filter(|count| *count <= VALUE_BYTES_MAX)?;
        (0..count).map(|_| u8::try_from(self.header(0)?).ok()).collect()
    }
}
