//! Just enough of a certificate to offer its key: where it ends, and the key inside. Verifies nothing; the server does.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::templates::{self, EkKind};

/// The public key in a certificate, in the parts of a TPM's `unique`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Modulus, without leading zeros.
    Rsa(Vec<u8>),
    /// x and y, 32 bytes each.
    Point(Vec<u8>, Vec<u8>),
}

/// The certificates in concatenated DER, up to the first byte that starts none.
pub(crate) fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (rest, _) = X509Certificate::from_der(bytes).ok()?;
        let (certificate, rest) = bytes.split_at_checked(bytes.len() - rest.len())?;
        bytes = rest;
        Some(certificate)
    })
}

/// The key of an endorsement certificate as it stands in NV; `None` where there is no key of this kind in it.
pub(super) fn key(kind: EkKind, in_nv: &[u8]) -> Option<Key> {
    // TCG 1.2 wrapped certificates in a structure of its own: tag, flags, length, tag.
    let bytes = match in_nv {
        [0x10, 0x01, 0x00, _, _, 0x10, 0x02, rest @ ..] => rest,
        bytes => bytes,
    };
    let (_padding, certificate) = X509Certificate::from_der(bytes).ok()?;
    let bits = certificate.tbs_certificate.subject_pki.subject_public_key.data.as_ref();
    match kind {
        // Read by structure, not by algorithm: some certificates say id-RSAES-OAEP.
        EkKind::Rsa2048 => rsa_modulus(bits).filter(|modulus| modulus.len() == templates::MODULUS).map(Key::Rsa),
        EkKind::P256 => {
            let (form, point) = bits.split_first()?;
            let (x, y) = point.split_at_checked(templates::COORDINATE)?;
            (*form == 0x04 && y.len() == templates::COORDINATE).then(|| Key::Point(x.to_vec(), y.to_vec()))
        }
    }
}

/// The modulus of an RSAPublicKey, a sequence of two integers.
fn rsa_modulus(bits: &[u8]) -> Option<Vec<u8>> {
    let (_, key) = x509_parser::public_key::RSAPublicKey::from_der(bits).ok()?;
    let zeros = key.modulus.iter().take_while(|&&byte| byte == 0).count();
    key.modulus.get(zeros..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> (Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["ek".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.der().to_vec(), key.public_key_raw().to_vec())
    }

    #[test]
    fn padding_and_the_header_of_tcg_1_2_do_not_hide_the_key() {
        let (der, point) = certificate();
        let expected = Key::Point(point[1..33].to_vec(), point[33..].to_vec());
        assert_eq!(key(EkKind::P256, &der), Some(expected.clone()));
        assert_eq!(key(EkKind::P256, &[der.as_slice(), &[0xff; 100]].concat()), Some(expected.clone()));
        let wrapped = [&[0x10, 0x01, 0x00, 0x03, 0x00, 0x10, 0x02], der.as_slice()].concat();
        assert_eq!(key(EkKind::P256, &wrapped), Some(expected));
    }

    #[test]
    fn a_certificate_of_another_kind_or_cut_short_has_no_key() {
        let (der, _) = certificate();
        assert_eq!(key(EkKind::Rsa2048, &der), None);
        assert_eq!(key(EkKind::P256, &der[..der.len() - 1]), None);
        assert_eq!(key(EkKind::P256, &[]), None);
    }

    #[test]
    fn a_chain_is_cut_at_each_certificate_and_ends_at_padding() {
        let (one, two) = (certificate().0, certificate().0);
        let chain = [one.as_slice(), &two, &[0; 9]].concat();
        assert_eq!(split(&chain).collect::<Vec<_>>(), [one.as_slice(), two.as_slice()]);
    }
}
