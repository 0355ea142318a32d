//! The chain of certificates that stands beside a document in one file: one signer, and the root or not. It is held to what
//! it says of itself, where certificates at hand otherwise are only looked through for one that fits: nobody who changes a
//! byte of it shall find it accepted because another chain has the same signer.

use holdfast_identity::UnixTime;

use super::forms::{decoded, unescaped};
use crate::tdx::error::{Document, Unverified};
use crate::tdx::pki::{self, BadCertificate, CHAIN_MAX, Certificate};
use crate::x509::Roots;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Certificates in DER, as they stood there. Nothing of them is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tdx) struct Chain(Vec<Vec<u8>>);

impl Chain {
    /// Reads PEM, percent-encoded as in a header or not, or one certificate in DER as hex or base64. Between the blocks of
    /// PEM and around them there is nothing but blanks: a block that is broken is not passed over as words.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = unescaped(text);
        let mut rest = text.trim_end_matches('\0').trim();
        if !rest.starts_with("-----") {
            return decoded(rest).map(|der| Self(vec![der]));
        }
        let mut certificates = Vec::new();
        while !rest.is_empty() {
            let (body, after) = rest.strip_prefix(BEGIN)?.split_once(END)?;
            let block = pem::parse(format!("{BEGIN}{body}{END}")).ok()?;
            if certificates.len() >= CHAIN_MAX {
                return None;
            }
            certificates.push(block.into_contents());
            rest = after.trim_start();
        }
        (!certificates.is_empty()).then_some(Self(certificates))
    }

    /// All of them.
    pub(super) fn certificates(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// The one that is no root: whose the document is.
    pub(super) fn signer(&self) -> Option<&Vec<u8>> {
        let is_root = |der: &[u8]| {
            Certificate::parse(der).is_ok_and(|one| one.parsed.subject().as_raw() == one.parsed.issuer().as_raw())
        };
        self.0.iter().find(|der| !is_root(der))
    }

    /// Whether it is that signer, and the root that was trusted, byte for byte, or no root.
    pub(super) fn is(&self, signer: &[u8], root: &[u8]) -> bool {
        let mut others = self.0.iter().filter(|der| *der != root);
        others.next().is_some_and(|first| first == signer) && others.next().is_none()
    }

    /// The same as a check.
    ///
    /// # Errors
    /// [`Unverified::CollateralChain`].
    pub(super) fn check(&self, signer: &[u8], root: &[u8], document: Document) -> Result<(), Unverified> {
        if self.is(signer, root) { Ok(()) } else { Err(Unverified::CollateralChain { document }) }
    }

    /// The CA of platforms that it is of, if that stands under this root.
    ///
    /// # Errors
    /// [`Unverified::CollateralSigner`], [`Unverified::CollateralChain`].
    pub(super) fn check_ca(&self, root: &[u8], roots: &Roots, now: UnixTime) -> Result<Certificate<'_>, Unverified> {
        let document = Document::PckCrl;
        let bad = |problem| Unverified::CollateralSigner { document, problem };
        let der = self.signer().ok_or(bad(BadCertificate::Missing))?;
        let ca = Certificate::parse(der).map_err(bad)?;
        pki::ca_path(&ca, roots, now).map_err(bad)?;
        self.check(der, root, document)?;
        Ok(ca)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(der: &[u8]) -> String {
        crate::tdx::collateral::pem(der)
    }

    #[test]
    fn blocks_and_blanks_are_a_chain_and_nothing_else_is() {
        let (one, two) = (block(b"one"), block(b"two"));
        let both = Some(Chain(vec![b"one".to_vec(), b"two".to_vec()]));
        for text in [
            format!("{one}{two}"),
            format!("\n{one}\r\n\t{two}\n\0"),
            format!("{one}{two}").replace('\n', "%0A").replace(' ', "%20").replace('=', "%3D"),
        ] {
            assert_eq!(Chain::read(&text), both, "{text}");
        }
        assert_eq!(Chain::read(&hex::encode(b"one")), Some(Chain(vec![b"one".to_vec()])));
        for text in [
            format!("{one}words\n{two}"),
            format!("{one}{}", two.replace("BEGIN", "BEGIM")),
            format!("{one}{}", two.replace("END", "AND")),
            format!("{one}{}", two.replace("dHdv", "dHd!")),
            format!("{one}{}", two.trim_end().trim_end_matches('-')),
            one.repeat(CHAIN_MAX + 1),
            "words".to_owned(),
            BEGIN.to_owned(),
        ] {
            assert_eq!(Chain::read(&text), None, "{text}");
        }
    }
}
