//! Leaf certificates, written by hand: a signature costs 25 µs, and a general encoder as much again. A test compares
//! every byte with rcgen's.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;

use super::der::{self, BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, SET, UTF8_STRING};
use super::profile::NAME_CHARACTERS_MAX;
use super::{AuthorityFault, Draft};

const VERSION_3: &[u8] = &[0xa0, 0x03, 0x02, 0x01, 0x02];
/// AlgorithmIdentifier ecdsa-with-SHA256 (RFC 5758).
const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];
const CRITICAL: &[u8] = &[0x01, 0x01, 0xff];
/// authorityKeyIdentifier with a keyIdentifier of 20 bytes, up to those.
const AUTHORITY_KEY: &[u8] = &[0x30, 0x1f, 0x06, 0x03, 0x55, 0x1d, 0x23, 0x04, 0x18, 0x30, 0x16, 0x80, 0x14];
/// subjectKeyIdentifier of 20 bytes, up to those.
const SUBJECT_KEY: &[u8] = &[0x30, 0x1d, 0x06, 0x03, 0x55, 0x1d, 0x0e, 0x04, 0x16, 0x04, 0x14];
/// keyUsage, critical: digitalSignature alone.
const KEY_USAGE: &[u8] =
    &[0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x07, 0x80];
/// extKeyUsage: serverAuth and clientAuth.
const EXTENDED_KEY_USAGE: &[u8] = &[
    0x30, 0x1d, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x16, 0x30, 0x14, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07,
    0x03, 0x01, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
];
/// basicConstraints, critical, empty: cA is false.
const NO_CA: &[u8] = &[0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00];
/// GeneralName tags.
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
/// [3] EXPLICIT Extensions.
const EXTENSIONS: u8 = 0xa3;
const KEY_ID_BYTES: usize = 20;

/// The intermediate, ready to sign leaves.
pub(super) struct LeafSigner {
    key: EcdsaKeyPair,
    /// DER of the signer's subject, the leaves' issuer.
    issuer: Vec<u8>,
    key_id: [u8; KEY_ID_BYTES],
    rng: SystemRandom,
}

impl LeafSigner {
    /// Signs with a P-256 key in PKCS#8, under the name and key identifier of `certificate`.
    pub(super) fn new(pkcs8: &[u8], certificate: &[u8]) -> Result<Self, AuthorityFault> {
        let unusable = AuthorityFault::Crypto { action: "use the intermediate" };
        let rng = SystemRandom::new();
        let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &rng) else {
            return Err(unusable);
        };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return Err(unusable) };
        let key_id = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => <[u8; KEY_ID_BYTES]>::try_from(id.0).ok(),
            _ => None,
        });
        let issuer = parsed.subject().as_raw().to_vec();
        Ok(Self { key, issuer, key_id: key_id.ok_or(unusable)?, rng })
    }

    /// The signed certificate, DER.
    pub(super) fn sign(&self, draft: &Draft) -> Result<Vec<u8>, AuthorityFault> {
        let tbs = self.to_be_signed(draft)?;
        let signature =
            self.key.sign(&self.rng, &tbs).map_err(|_| AuthorityFault::Crypto { action: "sign an SVID" })?;
        // No unused bits.
        let signature = der::of(BIT_STRING, &[&[0], signature.as_ref()]);
        Ok(der::of(SEQUENCE, &[&tbs, ECDSA_SHA256, &signature]))
    }

    fn to_be_signed(&self, draft: &Draft) -> Result<Vec<u8>, AuthorityFault> {
        let (from, to) = (draft.lifetime.not_before.seconds(), draft.lifetime.not_after.seconds());
        let date = |seconds| {
            OffsetDateTime::from_unix_timestamp(seconds)
                .map_err(|_| AuthorityFault::NoLifetime { not_after: to, now: from })
        };
        let mut validity = Vec::with_capacity(34);
        der::time(&mut validity, date(from)?);
        der::time(&mut validity, date(to)?);
        let subject = subject(&draft.dns_names);
        let extensions = self.extensions(draft, subject.is_empty());
        let mut head = Vec::with_capacity(128 + self.issuer.len());
        head.extend_from_slice(VERSION_3);
        der::element(&mut head, INTEGER, &[&draft.serial]);
        head.extend_from_slice(ECDSA_SHA256);
        head.extend_from_slice(&self.issuer);
        der::element(&mut head, SEQUENCE, &[&validity]);
        der::element(&mut head, SEQUENCE, &[&subject]);
        Ok(der::of(SEQUENCE, &[&head, &draft.spki, &extensions]))
    }

    fn extensions(&self, draft: &Draft, critical_names: bool) -> Vec<u8> {
        let mut names = Vec::with_capacity(draft.spiffe_id.as_str().len() + 4);
        der::element(&mut names, URI, &[draft.spiffe_id.as_str().as_bytes()]);
        for dns in &draft.dns_names {
            der::element(&mut names, DNS_NAME, &[dns.as_bytes()]);
        }
        let names = der::of(OCTET_STRING, &[&der::of(SEQUENCE, &[&names])]);
        let critical = if critical_names { CRITICAL } else { &[] };
        let alternative_names = der::of(SEQUENCE, &[SUBJECT_ALT_NAME, critical, &names]);
        let digest = ring::digest::digest(&ring::digest::SHA256, &draft.spki);
        let key_id = digest.as_ref().first_chunk::<KEY_ID_BYTES>().copied().unwrap_or_default();
        let all = der::of(
            SEQUENCE,
            &[
                AUTHORITY_KEY,
                &self.key_id,
                &alternative_names,
                KEY_USAGE,
                EXTENDED_KEY_USAGE,
                SUBJECT_KEY,
                &key_id,
                NO_CA,
            ],
        );
        der::of(EXTENSIONS, &[&all])
    }
}

/// The content of the subject: the first DNS name as CN where it fits; else nothing, and the SAN is critical.
fn subject(dns_names: &[String]) -> Vec<u8> {
    match dns_names.first() {
        Some(first) if first.len() <= NAME_CHARACTERS_MAX => {
            let value = der::of(UTF8_STRING, &[first.as_bytes()]);
            der::of(SET, &[&der::of(SEQUENCE, &[COMMON_NAME, &value])])
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_identity::{SpiffeId, UnixTime};
    use proptest::prelude::*;
    use rcgen::{KeyPair, PublicKeyData as _};

    use super::super::testing::{Place, leaf_params};
    use super::super::{Lifetime, init};
    use super::*;
    use crate::store::Origin;

    fn place() -> &'static Place {
        static PLACE: std::sync::OnceLock<Place> = std::sync::OnceLock::new();
        PLACE.get_or_init(|| {
            let place = Place::new();
            init(&place.options).unwrap();
            place
        })
    }

    fn tbs(certificate: &[u8]) -> Vec<u8> {
        x509_parser::parse_x509_certificate(certificate).unwrap().1.tbs_certificate.as_ref().to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_leaf_is_byte_for_byte_what_rcgen_would_write(
            path in "(/[a-zA-Z0-9._-]{1,40}x){1,40}",
            dns_names in prop::collection::vec("[a-z]{1,60}\\.[a-z]{1,9}", 0..9),
            serial in prop::array::uniform16(any::<u8>()),
            from in 0_i64..4_000_000_000,
            life in 1_i64..200_000,
            p384 in any::<bool>(),
        ) {
            let algorithm = if p384 { &rcgen::PKCS_ECDSA_P384_SHA384 } else { &rcgen::PKCS_ECDSA_P256_SHA256 };
            let key = KeyPair::generate_for(algorithm).unwrap();
            let mut serial = serial;
            serial[0] = serial[0] & 0x7f | 0x40;
            let spiffe_id: SpiffeId = format!("spiffe://example.org{path}").parse().unwrap();
            let lifetime = Lifetime { not_before: UnixTime(from), not_after: UnixTime(from + life) };
            let params = leaf_params(&spiffe_id, &dns_names, serial, lifetime);
            let theirs = place().sign_anything(&params, &key);
            let draft = Draft {
                origin: Origin::Server,
                spiffe_id,
                spki: key.subject_public_key_info(),
                dns_names,
                serial,
                lifetime,
            };
            let ours = place().issuer().signer().sign(&draft).unwrap();
            prop_assert_eq!(tbs(&ours), tbs(&theirs[0]));
            let (_, parsed) = x509_parser::parse_x509_certificate(&ours).unwrap();
            let (_, signer) = x509_parser::parse_x509_certificate(&theirs[1]).unwrap();
            prop_assert!(parsed.verify_signature(Some(signer.public_key())).is_ok());
        }
    }
}
