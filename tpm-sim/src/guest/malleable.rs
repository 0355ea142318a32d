//! The other signature: whoever has an ECDSA signature (r, s) has (r, n − s) as well, which verifies by the same key over the
//! same bytes. Nobody who sees evidence a second time may take it for new because it is written so.

/// n of P-256 (SP 800-186, 3.2.1.3), big-endian.
pub(super) const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// n of P-384 (SP 800-186, 3.2.1.4), big-endian.
pub(super) const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0,
    0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

/// The other signature to this one: r and s, big-endian, each as long as the order.
pub(super) fn negated(order: &[u8], signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len().min(order.len()));
    let mut borrow = false;
    let mut difference: Vec<u8> = Vec::with_capacity(order.len());
    for (of_order, of_s) in order.iter().zip(s).rev() {
        let (less, first) = of_order.overflowing_sub(*of_s);
        let (less, second) = less.overflowing_sub(u8::from(borrow));
        borrow = first || second;
        difference.push(less);
    }
    difference.reverse();
    [r, &difference].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    };

    #[test]
    fn the_other_signature_verifies_too_and_its_other_is_the_first() {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap();
        let signature = pair.sign(&rng, b"evidence").unwrap();
        let other = negated(&P256_ORDER, signature.as_ref());
        assert_ne!(other, signature.as_ref());
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key()).verify(b"evidence", &other).unwrap();
        assert_eq!(negated(&P256_ORDER, &other), signature.as_ref());
    }
}
