//! The certificate of a versioned endorsement key (VEK): what AMD's extensions say of chip and TCB, read strictly.
//! Whether anybody AMD knows has signed it: see `chain`.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::bits::VekKind;
use super::der::{self, Signed};
use super::error::Unverified;
use super::product::Product;
use super::tcb::Tcb;
use crate::crypto::{Curve, PublicKey};

/// Bytes of one certificate. The largest of AMD's has 1683.
pub const CERTIFICATE_BYTES_MAX: usize = 4 << 10;
/// AMD's arc, 1.3.6.1.4.1.3704.1.
const ARC: &str = "1.3.6.1.4.1.3704.1.";

/// A VEK as its certificate describes it. Proves nothing until its chain is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vek {
    /// VCEK or VLEK, by the certificate's own name.
    pub kind: VekKind,
    /// The product whose intermediate issued it, by the issuer's name.
    pub product: Product,
    /// `productName` as AMD writes it: `Milan-B0`.
    pub product_name: String,
    /// The TCB that the key is derived from.
    pub tcb: Tcb,
    /// The chip of a VCEK: 64 bytes, or 8 from Turin on.
    pub chip_id: Option<Vec<u8>>,
    /// The provider of a VLEK: `CN=cc-us-east-2.amazonaws.com`.
    pub csp_id: Option<String>,
    /// The key, on P-384.
    pub key: PublicKey,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
}

/// A certificate and its bytes.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) der: &'a [u8],
    pub(super) certificate: X509Certificate<'a>,
}

impl<'a> Parsed<'a> {
    /// As [`parse`].
    pub(super) fn new(der: &'a [u8]) -> Option<Self> {
        parse(der).map(|certificate| Self { der, certificate })
    }
}

/// A certificate from exactly these bytes, with no extension twice and no critical one that is not understood.
pub(super) fn parse(bytes: &[u8]) -> Option<X509Certificate<'_>> {
    let fits = bytes.len() <= CERTIFICATE_BYTES_MAX && Signed::split(bytes).is_some();
    let (_, certificate) = X509Certificate::from_der(bytes).ok().filter(|(rest, _)| fits && rest.is_empty())?;
    let extensions = certificate.extensions();
    let doubled =
        extensions.iter().enumerate().any(|(at, one)| extensions.iter().skip(at + 1).any(|other| other.oid == one.oid));
    let strange = extensions.iter().any(|one| {
        one.critical
            && !matches!(one.parsed_extension(), ParsedExtension::BasicConstraints(_) | ParsedExtension::KeyUsage(_))
    });
    (!doubled && !strange).then_some(certificate)
}

/// The one common name of a certificate's subject or issuer.
pub(super) fn common_name<'a>(name: &'a X509Name<'_>) -> Option<&'a str> {
    let mut names = name.iter_common_name();
    let one = names.next()?.as_str().ok()?;
    names.next().is_none().then_some(one)
}

/// What stands in the place of a VEK certificate, by the subject's name alone.
pub(super) fn kind_of(certificate: &X509Certificate<'_>) -> Option<VekKind> {
    let name = common_name(certificate.subject())?;
    [VekKind::Vcek, VekKind::Vlek].into_iter().find(|kind| kind.common_name() == name)
}

/// Name of the intermediate that issues VEKs of this kind for this product.
pub(super) fn issuer_name(kind: VekKind, product: Product) -> String {
    match kind {
        VekKind::Vcek => format!("SEV-{product}"),
        VekKind::Vlek => format!("SEV-VLEK-{product}"),
    }
}

impl Vek {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// [`Unverified::VekMalformed`] where it is not what AMD specifies, down to the encoding of each extension;
    /// [`Unverified::VekIssuer`] if its issuer's name is not the one for its kind.
    pub fn parse(der: &[u8]) -> Result<Self, Unverified> {
        let certificate = parse(der).ok_or(Unverified::VekMalformed { what: "certificate" })?;
        Self::read(&certificate)
    }

    pub(super) fn read(certificate: &X509Certificate<'_>) -> Result<Self, Unverified> {
        let malformed = |what| Unverified::VekMalformed { what };
        let kind = kind_of(certificate).ok_or(malformed("subject"))?;
        let issuer = common_name(certificate.issuer()).ok_or(malformed("issuer"))?;
        let product = Product::ALL.into_iter().find(|product| issuer_name(kind, *product) == issuer);
        let product = product.ok_or(Unverified::VekIssuer { kind })?;
        if certificate.is_ca() {
            return Err(malformed("basicConstraints"));
        }
        let values = Extensions(certificate);
        if values.integer("1")? != Some(product.struct_version()) {
            return Err(malformed("structVersion"));
        }
        let product_name = values.text("2")?.ok_or(malformed("productName"))?;
        if product_name.split('-').next() != Some(product.as_str()) {
            return Err(malformed("productName"));
        }
        let key = PublicKey::from_parsed(certificate.public_key())
            .filter(|key| matches!(key, PublicKey::Ec { curve: Curve::P384, .. }))
            .ok_or(malformed("subjectPublicKey"))?;
        Ok(Self {
            kind,
            product,
            product_name: product_name.to_owned(),
            tcb: values.tcb(product)?,
            chip_id: values.chip_id(kind, product)?,
            csp_id: values.csp_id(kind)?,
            key,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

/// AMD's extensions of one certificate, by their last arcs.
struct Extensions<'a, 'b>(&'b X509Certificate<'a>);

impl<'a> Extensions<'a, '_> {
    fn raw(&self, last: &str) -> Option<&'a [u8]> {
        let is_it = |oid: &str| oid.strip_prefix(ARC) == Some(last);
        self.0.extensions().iter().find(|extension| is_it(&extension.oid.to_id_string())).map(|found| found.value)
    }

    fn integer(&self, last: &str) -> Result<Option<u8>, Unverified> {
        let malformed = Unverified::VekMalformed { what: "an INTEGER among the extensions" };
        self.raw(last).map(|value| der::small_integer(value).ok_or(malformed)).transpose()
    }

    fn text(&self, last: &str) -> Result<Option<&'a str>, Unverified> {
        let malformed = Unverified::VekMalformed { what: "an IA5String among the extensions" };
        self.raw(last).map(|value| der::ia5_string(value).ok_or(malformed)).transpose()
    }

    fn tcb(&self, product: Product) -> Result<Tcb, Unverified> {
        let malformed = |what| Unverified::VekMalformed { what };
        let needed = |last, what| self.integer(last)?.ok_or(malformed(what));
        for spare in ["3.4", "3.5", "3.6", "3.7"] {
            if self.integer(spare)?.is_some_and(|number| number != 0) {
                return Err(malformed("spare SPL"));
            }
        }
        let fmc = match (product, self.integer("3.9")?) {
            (Product::Milan | Product::Genoa, None) => None,
            (Product::Turin, Some(number)) => Some(number),
            (Product::Milan | Product::Genoa | Product::Turin, _) => return Err(malformed("fmcSPL")),
        };
        Ok(Tcb {
            fmc,
            bootloader: needed("3.1", "blSPL")?,
            tee: needed("3.2", "teeSPL")?,
            snp: needed("3.3", "snpSPL")?,
            microcode: needed("3.8", "ucodeSPL")?,
        })
    }

    /// Raw bytes, or an `OCTET STRING` of them. The length decides, never the first byte: a chip id may well begin like
    /// an OCTET STRING or an INTEGER.
    fn chip_id(&self, kind: VekKind, product: Product) -> Result<Option<Vec<u8>>, Unverified> {
        let malformed = Unverified::VekMalformed { what: "hwID" };
        match (kind, self.raw("4")) {
            (VekKind::Vcek, Some(value)) => {
                let bytes = product.chip_id_bytes();
                let inside = der::short_octet_string(value).filter(|inside| inside.len() == bytes);
                let id = if value.len() == bytes { Some(value) } else { inside };
                id.map(|id| Some(id.to_vec())).ok_or(malformed)
            }
            (VekKind::Vlek, None) => Ok(None),
            (VekKind::Vcek, None) | (VekKind::Vlek, Some(_)) => Err(malformed),
        }
    }

    fn csp_id(&self, kind: VekKind) -> Result<Option<String>, Unverified> {
        match (kind, self.text("5")?) {
            (VekKind::Vcek, None) => Ok(None),
            (VekKind::Vlek, Some(text)) => Ok(Some(text.to_owned())),
            (VekKind::Vcek | VekKind::Vlek, _) => Err(Unverified::VekMalformed { what: "cspID" }),
        }
    }
}
