//! Our readers of TPM structures beside `tpm2-protocol`: whatever ours accepts, that crate reads too, to the last byte,
//! with the same values; and what it marshals back is what was read.

use holdfast_evidence::crypto::{Curve, HashAlg, PublicKey, SignatureAlg, SignatureValue};
use holdfast_evidence::tpm::{
    Attest, Attributes, Bank, Body, ClockInfo, Name, PcrIndex, PcrSelection, Public, Scheme, Signature,
};
use proptest::prelude::*;
use tpm2_protocol::data::{TpmsAttest, TpmtPublic, TpmtSignature, TpmuAttest};
use tpm2_protocol::{TpmMarshal, TpmSized, TpmUnmarshal, TpmWriter};

/// What the oracle reads from exactly these bytes.
fn oracle<T: TpmUnmarshal + TpmMarshal + TpmSized>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = T::unmarshal(bytes).ok().filter(|(_, rest)| rest.is_empty())?;
    let mut buffer = vec![0; bytes.len()];
    let mut writer = TpmWriter::new(&mut buffer);
    value.marshal(&mut writer).unwrap();
    assert!(rest.is_empty());
    assert_eq!(buffer, bytes, "the oracle does not write what it read");
    Some(value)
}

fn key() -> impl Strategy<Value = PublicKey> {
    let ec = |curve: Curve| {
        let coordinate = move || prop::collection::vec(any::<u8>(), curve.field_size());
        (coordinate(), coordinate()).prop_map(move |(x, y)| PublicKey::ec(curve, &x, &y).unwrap())
    };
    let rsa = prop::collection::vec(any::<u8>(), 256).prop_map(|mut modulus| {
        modulus[0] |= 0x80;
        modulus[255] |= 1;
        PublicKey::rsa(&modulus).unwrap()
    });
    prop_oneof![ec(Curve::P256), ec(Curve::P384), rsa]
}

fn hash() -> impl Strategy<Value = HashAlg> {
    prop::sample::select(&HashAlg::ALL[..])
}

prop_compose! {
    fn public()(
        key in key(),
        name_alg in hash(),
        attributes in any::<u32>(),
        policy in any::<bool>(),
        symmetric in prop::sample::select(vec![None, Some(128), Some(256)]),
        signing in prop::sample::select(vec![None, Some(4u16), Some(0x0b), Some(0x0c)]),
    ) -> Vec<u8> {
        let algorithm = match key {
            PublicKey::Rsa { .. } => SignatureAlg::RsaPss,
            PublicKey::Ec { .. } => SignatureAlg::Ecdsa,
        };
        let scheme = signing.map_or(Scheme::Null, |hash| Scheme::Signing { algorithm, hash });
        let policy = if policy { vec![7; name_alg.size()] } else { Vec::new() };
        // Reserved bits make no object; those attributes are refused later, by value.
        let attributes = Attributes::from_bits(attributes & 0x000f_0cf6);
        Public::encode(&key, name_alg, attributes, &policy, symmetric, scheme)
    }
}

prop_compose! {
    fn attest()(
        quote in any::<bool>(),
        hash in hash(),
        extra_data in prop::collection::vec(any::<u8>(), 0..64),
        clock in (any::<u64>(), any::<u32>(), any::<u32>(), any::<bool>()),
        version in any::<u64>(),
        pcrs in prop::collection::vec(0u32..24, 1..8),
    ) -> Vec<u8> {
        let name = Name::of(hash, &[b"signer"]);
        let clock = ClockInfo { clock: clock.0, reset_count: clock.1, restart_count: clock.2, safe: clock.3 };
        if quote {
            let pcrs = pcrs.into_iter().filter_map(PcrIndex::new).collect();
            let selection = PcrSelection { bank: Bank::Sha256, pcrs };
            Attest::encode_quote(&name, &extra_data, clock, version, &selection, hash.digest(&[]).as_bytes())
        } else {
            Attest::encode_certify(&name, &extra_data, clock, version, &name, &name)
        }
    }
}

prop_compose! {
    fn signature()(
        hash in hash(),
        rsa in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 256),
    ) -> Vec<u8> {
        if rsa {
            Signature::encode(SignatureAlg::Rsassa, hash, SignatureValue::Rsa(&bytes))
        } else {
            Signature::encode_ecdsa(hash, &bytes[..64])
        }
    }
}

/// One byte changed, or the end cut or extended, or nothing.
fn mutate(mut bytes: Vec<u8>, at: &prop::sample::Index, byte: u8, kind: u8) -> Vec<u8> {
    let place = at.index(bytes.len());
    match kind % 4 {
        0 => {}
        1 => bytes[place] = byte,
        2 => bytes.truncate(place),
        _ => bytes.push(byte),
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn public_areas_are_read_as_the_oracle_reads_them(
        bytes in public(), at in any::<prop::sample::Index>(), byte in any::<u8>(), kind in any::<u8>(),
    ) {
        let bytes = mutate(bytes, &at, byte, kind);
        if let Ok(ours) = Public::parse(&bytes) {
            // The oracle refuses reserved attribute bits already when reading; we refuse them by value.
            if ours.attributes().bits() & !0x000f_0cf6 == 0 {
                let theirs: TpmtPublic = oracle(&bytes).expect("the oracle refuses what we read");
                prop_assert_eq!(ours.name_alg().id(), theirs.name_alg.value());
                prop_assert_eq!(ours.attributes().bits(), theirs.object_attributes.bits());
                prop_assert_eq!(ours.policy(), theirs.auth_policy.as_ref());
            }
        } else if kind % 4 == 0 {
            prop_assert!(false, "we refuse what we wrote");
        }
    }

    #[test]
    fn attestations_are_read_as_the_oracle_reads_them(
        bytes in attest(), at in any::<prop::sample::Index>(), byte in any::<u8>(), kind in any::<u8>(),
    ) {
        let bytes = mutate(bytes, &at, byte, kind);
        if let Ok(ours) = Attest::parse(&bytes) {
            let theirs: Option<TpmsAttest> = oracle(&bytes);
            match (&ours.body, theirs) {
                (Body::Other, _) => {}
                (Body::Quote(info), Some(theirs)) => {
                    prop_assert_eq!(ours.extra_data, theirs.extra_data.as_ref());
                    prop_assert_eq!(ours.qualified_signer, theirs.qualified_signer.as_ref());
                    prop_assert_eq!(ours.firmware_version, theirs.firmware_version.value());
                    let TpmuAttest::Quote(quote) = theirs.attested else { panic!("the oracle sees no quote") };
                    prop_assert_eq!(info.pcr_digest, quote.pcr_digest.as_ref());
                }
                (Body::Certify(info), Some(theirs)) => {
                    let TpmuAttest::Certify(certify) = theirs.attested else { panic!("the oracle sees no certify") };
                    prop_assert_eq!(info.name, certify.name.as_ref());
                    prop_assert_eq!(info.qualified_name, certify.qualified_name.as_ref());
                }
                // Selections that we find the end of, and refuse by value.
                (Body::Quote(info), None) => prop_assert!(info.selection().is_err() || info.selection_bytes.len() != 10),
                (Body::Certify(_), None) => prop_assert!(false, "the oracle refuses what we read"),
            }
        } else if kind % 4 == 0 {
            prop_assert!(false, "we refuse what we wrote");
        }
    }

    #[test]
    fn signatures_are_read_as_the_oracle_reads_them(
        bytes in signature(), at in any::<prop::sample::Index>(), byte in any::<u8>(), kind in any::<u8>(),
    ) {
        let bytes = mutate(bytes, &at, byte, kind);
        if let Ok(ours) = Signature::parse(&bytes) {
            let theirs: TpmtSignature = oracle(&bytes).expect("the oracle refuses what we read");
            prop_assert_eq!(ours.algorithm().id(), theirs.sig_alg.value());
        } else if kind % 4 == 0 {
            prop_assert!(false, "we refuse what we wrote");
        }
    }
}
