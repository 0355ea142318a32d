//! The bundles of foreign trust domains that entries name, as the server pushes them: all of them, each time.

use std::collections::BTreeMap;

use holdfast_identity::TrustDomain;
use holdfast_protocol::agent as wire;
use holdfast_svid::jwt::JwtKeys;
use rustls_pki_types::CertificateDer;

use crate::svids::JwtBundle;

/// Foreign trust domains of all entries together.
const FOREIGN_MAX: usize = 1_000;
/// X.509 authorities of one of them.
const AUTHORITIES_MAX: usize = 64;

/// One foreign trust domain's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignBundle {
    /// Certificates of X.509 authorities, DER, one each.
    pub x509_authorities: Vec<Vec<u8>>,
    /// Keys that verify JWT-SVIDs.
    pub jwt_keys: JwtKeys,
}

/// Bundles by the name of the trust domain.
pub type ForeignBundles = BTreeMap<String, ForeignBundle>;

/// What cannot be a bundle is passed over: its trust domain is one that nobody is believed of.
pub(super) fn read(message: wire::ForeignBundles) -> ForeignBundles {
    let read = |bundle: wire::Bundle| {
        let found = read_one(&bundle);
        if found.is_none() {
            tracing::warn!(trust_domain = %bundle.trust_domain.escape_debug(), "foreign bundle passed over");
        }
        found.map(|found| (bundle.trust_domain, found))
    };
    message.bundles.into_iter().take(FOREIGN_MAX).filter_map(read).collect()
}

fn read_one(bundle: &wire::Bundle) -> Option<ForeignBundle> {
    let name: TrustDomain = bundle.trust_domain.parse().ok()?;
    if bundle.x509_authorities.len() > AUTHORITIES_MAX {
        return None;
    }
    let mut x509_authorities = bundle.x509_authorities.clone();
    // One that programs cannot read must not cost the trust domain its others.
    x509_authorities.retain(|der| webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())).is_ok());
    let passed_over = bundle.x509_authorities.len() - x509_authorities.len();
    if passed_over > 0 {
        tracing::warn!(trust_domain = %name, passed_over, "foreign authorities passed over: not readable");
    }
    let jwt_keys = JwtBundle::of(&name, bundle)?.keys().clone();
    Some(ForeignBundle { x509_authorities, jwt_keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_bundle_is_passed_over() {
        let authority = {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.self_signed(&key).unwrap().der().to_vec()
        };
        let bundle = |name: &str, authorities: Vec<Vec<u8>>| wire::Bundle {
            trust_domain: name.to_owned(),
            x509_authorities: authorities,
            ..wire::Bundle::default()
        };
        let bundles = vec![
            bundle("other", vec![authority.clone()]),
            bundle("NOBODY", vec![authority.clone()]),
            bundle("half", vec![vec![1], authority.clone()]),
            bundle("many", vec![authority.clone(); AUTHORITIES_MAX + 1]),
        ];
        let found = read(wire::ForeignBundles { bundles });
        assert_eq!(found.keys().collect::<Vec<_>>(), ["half", "other"]);
        for name in ["half", "other"] {
            assert_eq!(found[name].x509_authorities, [authority.as_slice()], "{name}");
        }
    }
}
