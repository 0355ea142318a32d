//! X.509 attribute certificates, as far as platform certificates need them. RFC 5755, section 4.
//!
//! Reads with the DER reader of `x509-parser`; every element is looked at once, none is descended into without a name.

use x509_parser::asn1_rs::{Any, BitString, Class, FromDer as _, Oid, Tag};
use x509_parser::extensions::X509Extension;
use x509_parser::time::ASN1Time;
use x509_parser::x509::AlgorithmIdentifier;

use crate::crypto::HashAlg;
use crate::x509::{SignedByName, issuer};

/// Extensions that are read; real ones have below ten.
const EXTENSIONS_MAX: usize = 32;
/// Attributes that are read.
const ATTRIBUTES_MAX: usize = 64;
/// `tcg-at-tcgCredentialType`.
const CREDENTIAL_TYPE: &str = "2.23.133.2.25";

/// An attribute certificate that parsed exactly; nothing of it is verified.
#[derive(Debug)]
pub(super) struct AttributeCertificate<'a> {
    signed: &'a [u8],
    issuer: &'a [u8],
    serial: &'a [u8],
    algorithm: AlgorithmIdentifier<'a>,
    signature: BitString<'a>,
    pub(super) holder: ClaimedHolder<'a>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// What kind of credential it says it is, where it does.
    pub(super) credential_type: Option<String>,
    pub(super) extensions: Vec<X509Extension<'a>>,
}

/// Whom it is about.
#[derive(Debug, Default)]
pub(super) struct ClaimedHolder<'a> {
    /// `baseCertificateID`: the issuer's name and the serial number of a certificate, as written.
    pub(super) certificate: Option<(&'a [u8], &'a [u8])>,
    /// `objectDigestInfo`.
    pub(super) digest: Option<ObjectDigest<'a>>,
}

/// A digest of the holder's key or certificate.
#[derive(Debug)]
pub(super) struct ObjectDigest<'a> {
    /// Whether of the certificate; otherwise of the public key.
    pub(super) of_certificate: bool,
    pub(super) alg: HashAlg,
    pub(super) digest: &'a [u8],
}

/// The elements of a sequence, front to back.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn of(any: &Any<'a>, tag: Tag) -> Option<Self> {
        (any.tag() == tag && any.class() == Class::Universal).then_some(Self(any.data))
    }

    fn next(&mut self) -> Option<Any<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(any)
    }

    /// The next element with its header.
    fn raw(&mut self) -> Option<&'a [u8]> {
        let before = self.0;
        self.next()?;
        before.get(..before.len() - self.0.len())
    }

    /// The next element, if it is tagged `[number]`.
    fn tagged(&mut self, number: u32) -> Option<Any<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        let is_it = any.class() == Class::ContextSpecific && any.tag() == Tag(number);
        is_it.then(|| {
            self.0 = rest;
            any
        })
    }

    fn integer(&mut self) -> Option<&'a [u8]> {
        self.next().filter(|any| any.tag() == Tag::Integer && any.class() == Class::Universal).map(|any| any.data)
    }

    const fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> AttributeCertificate<'a> {
    /// Reads one, exactly, in its one encoding.
    pub(super) fn parse(der: &'a [u8]) -> Option<Self> {
        let (end, whole) = Any::from_der(der).ok()?;
        let mut parts = Elements::of(&whole, Tag::Sequence)?;
        let signed = parts.raw()?;
        let algorithm_bytes = parts.raw()?;
        let (end_of_algorithm, algorithm) = AlgorithmIdentifier::from_der(algorithm_bytes).ok()?;
        let signature = BitString::try_from(parts.next()?).ok()?;
        let is_whole = end.is_empty() && end_of_algorithm.is_empty() && parts.is_done() && signature.unused_bits == 0;
        if !is_whole || !issuer::is_canonical_around(der, signed, &signature.data) {
            return None;
        }
        let (_, info) = Any::from_der(signed).ok()?;
        let mut info = Elements::of(&info, Tag::Sequence)?;
        // v2, the only version of RFC 5755
        if info.integer()? != [1] {
            return None;
        }
        let holder = ClaimedHolder::read(&info.next()?)?;
        let issuer = issuer_name(&info.tagged(0)?)?;
        if info.raw()? != algorithm_bytes {
            return None;
        }
        let serial = info.integer()?;
        let (not_before, not_after) = validity(&info.next()?)?;
        let credential_type = credential_type(&info.next()?)?;
        let mut extensions = Vec::new();
        let mut next = info.next();
        if next.as_ref().is_some_and(|any| any.tag() == Tag::BitString) {
            next = info.next();
        }
        if let Some(list) = next {
            let mut list = Elements::of(&list, Tag::Sequence)?;
            while !list.is_done() && extensions.len() < EXTENSIONS_MAX {
                extensions.push(X509Extension::from_der(list.raw()?).ok()?.1);
            }
            if !list.is_done() {
                return None;
            }
        }
        info.is_done().then_some(Self {
            signed,
            issuer,
            serial,
            algorithm,
            signature,
            holder,
            not_before,
            not_after,
            credential_type,
            extensions,
        })
    }

    /// What is to be verified under its issuer's key.
    pub(super) const fn signed_by_name(&self) -> SignedByName<'_> {
        SignedByName {
            signer: self.issuer,
            serial: self.serial,
            signed: self.signed,
            algorithm: &self.algorithm,
            signature: &self.signature,
        }
    }
}

impl<'a> ClaimedHolder<'a> {
    fn read(any: &Any<'a>) -> Option<Self> {
        let mut parts = Elements::of(any, Tag::Sequence)?;
        let mut holder = Self::default();
        if let Some(id) = parts.tagged(0) {
            let mut id = Elements(id.data);
            let issuer = directory_name(&id.next()?)?;
            let serial = id.integer()?;
            // issuerUID is a thing of the past, and of no use here
            if !id.is_done() {
                return None;
            }
            holder.certificate = Some((issuer, serial));
        }
        // entityName: whoever has a name says what it is, and nobody checks
        parts.tagged(1);
        if let Some(digest) = parts.tagged(2) {
            holder.digest = Some(ObjectDigest::read(Elements(digest.data))?);
        }
        parts.is_done().then_some(holder)
    }
}

impl<'a> ObjectDigest<'a> {
    fn read(mut parts: Elements<'a>) -> Option<Self> {
        let kind = parts.next().filter(|any| any.tag() == Tag::Enumerated)?;
        let of_certificate = match kind.data {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let algorithm = AlgorithmIdentifier::from_der(parts.raw()?).ok()?.1;
        let alg = match algorithm.algorithm.to_id_string().as_str() {
            "2.16.840.1.101.3.4.2.1" => HashAlg::Sha256,
            "2.16.840.1.101.3.4.2.2" => HashAlg::Sha384,
            "2.16.840.1.101.3.4.2.3" => HashAlg::Sha512,
            _ => return None,
        };
        let digest = parts.next().filter(|any| any.tag() == Tag::BitString)?.data.strip_prefix(&[0])?;
        parts.is_done().then_some(Self { of_certificate, alg, digest })
    }
}

/// `V2Form` with an issuerName and nothing else, as RFC 5755 wants it.
fn issuer_name<'a>(form: &Any<'a>) -> Option<&'a [u8]> {
    let mut form = Elements(form.data);
    let name = directory_name(&form.next()?)?;
    form.is_done().then_some(name)
}

/// The one directory name of `GeneralNames`, DER.
fn directory_name<'a>(names: &Any<'a>) -> Option<&'a [u8]> {
    let mut names = Elements::of(names, Tag::Sequence)?;
    let name = names.tagged(4)?;
    names.is_done().then_some(name.data)
}

/// `AttCertValidityPeriod`: two GeneralizedTimes.
fn validity(period: &Any<'_>) -> Option<(i64, i64)> {
    let mut period = Elements::of(period, Tag::Sequence)?;
    let mut time = || ASN1Time::from_der(period.raw()?).ok().map(|(_, time)| time.timestamp());
    let (not_before, not_after) = (time()?, time()?);
    period.is_done().then_some((not_before, not_after))
}

/// The first `tcg-at-tcgCredentialType` among the attributes; `Some(None)` without one.
fn credential_type(attributes: &Any<'_>) -> Option<Option<String>> {
    let mut attributes = Elements::of(attributes, Tag::Sequence)?;
    let mut found = None;
    for _ in 0..ATTRIBUTES_MAX {
        if attributes.is_done() {
            return Some(found);
        }
        let mut attribute = Elements::of(&attributes.next()?, Tag::Sequence)?;
        let id = Oid::try_from(attribute.next()?).ok()?.to_id_string();
        if id == CREDENTIAL_TYPE && found.is_none() {
            let mut values = Elements::of(&attribute.next()?, Tag::Set)?;
            let mut value = Elements::of(&values.next()?, Tag::Sequence)?;
            found = Some(Oid::try_from(value.next()?).ok()?.to_id_string());
        }
    }
    None
}
