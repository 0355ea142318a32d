//! Authorities below which every SVID is to be replaced, by their subject key identifiers: soon, or at once.

use std::collections::BTreeSet;

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Authorities in one list; a trust domain in trouble has a few.
const TAINTED_MAX: usize = 256;
/// Bytes of one identifier.
const KEY_ID_BYTES_MAX: usize = 32;

/// Their identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tainted {
    /// Those below which what there is serves until it is replaced.
    tainted: BTreeSet<Vec<u8>>,
    /// Those that count no more: whoever knows of it refuses what they signed.
    revoked: BTreeSet<Vec<u8>>,
}

impl Tainted {
    /// Those that the server names; what cannot be one is left out.
    #[must_use]
    pub fn new(tainted: &[Vec<u8>], revoked: &[Vec<u8>]) -> Self {
        Self { tainted: checked(tainted), revoked: checked(revoked) }
    }

    /// Whether an authority of theirs is above a chain's leaf (DER, leaf first): each certificate names its issuer's key.
    #[must_use]
    pub fn covers(&self, chain: &[Vec<u8>]) -> bool {
        is_below(&self.tainted, chain) || self.revokes(chain)
    }

    /// Whether one of those is that count no more.
    #[must_use]
    pub fn revokes(&self, chain: &[Vec<u8>]) -> bool {
        is_below(&self.revoked, chain)
    }
}

fn checked(ids: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let fits = |id: &&Vec<u8>| (1..=KEY_ID_BYTES_MAX).contains(&id.len());
    ids.iter().filter(fits).take(TAINTED_MAX).cloned().collect()
}

fn is_below(ids: &BTreeSet<Vec<u8>>, chain: &[Vec<u8>]) -> bool {
    !ids.is_empty() && chain.iter().filter_map(|der| issuer(der)).any(|id| ids.contains(&id))
}

fn issuer(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    /// A leaf and its intermediate, and the identifiers of the root and the intermediate.
    pub(in crate::svids) fn chain() -> (Vec<Vec<u8>>, [Vec<u8>; 2]) {
        let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        let (root, intermediate, leaf) = (key(), key(), key());
        let ids = [&root, &intermediate].map(|key| params.key_identifier(key));
        let above = Issuer::from_params(&params, &root);
        let middle = params.signed_by(&intermediate, &above).unwrap();
        let mut end = CertificateParams::default();
        end.use_authority_key_identifier_extension = true;
        let end = end.signed_by(&leaf, &Issuer::from_params(&params, &intermediate)).unwrap();
        (vec![end.der().to_vec(), middle.der().to_vec()], ids)
    }

    #[test]
    fn an_svid_below_a_tainted_intermediate_or_root_is_recognised() {
        let (chain, [root, intermediate]) = chain();
        let tainted = |ids: &[Vec<u8>]| Tainted::new(ids, &[]);
        assert!(tainted(std::slice::from_ref(&root)).covers(&chain));
        assert!(tainted(&[vec![1; 20], intermediate.clone()]).covers(&chain));
        assert!(!tainted(&[vec![1; 20]]).covers(&chain));
        assert!(!Tainted::default().covers(&chain));
        assert!(!tainted(&[root]).covers(&[b"nonsense".to_vec()]));
        assert!(!tainted(std::slice::from_ref(&intermediate)).revokes(&chain));
        let revoked = Tainted::new(&[], &[intermediate]);
        assert!(revoked.covers(&chain) && revoked.revokes(&chain));
    }

    #[test]
    fn a_list_is_bounded() {
        let ids: Vec<_> = (0..1000_u16).map(|n| n.to_be_bytes().to_vec()).chain([vec![], vec![7; 33]]).collect();
        let both = Tainted::new(&ids, &ids);
        assert_eq!((both.tainted.len(), both.revoked.len()), (TAINTED_MAX, TAINTED_MAX));
        assert_eq!(Tainted::new(&[vec![], vec![7; 33]], &[vec![]]), Tainted::default());
    }
}
