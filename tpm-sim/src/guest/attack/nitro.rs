//! Attacks on Nitro enclaves.

use super::{Attack, attacks, sha384};
use crate::guest::nitro::Lie;
use crate::guest::random;

pub(super) static ATTACKS: &[Attack] = attacks! { Nitro;
    "debug" "nitro.pcr.debug"
        "the enclave runs in debug mode: its image is not measured" |spec| {
        for pcr in 0..3 { spec.pcrs.insert(pcr, "00".repeat(48)); }
    };
    "debug-image-named" "nitro.pcr.debug"
        "debug mode, with PCR 0 as its image would have it" |spec| { spec.pcrs.insert(2, "00".repeat(48)); };
    "tampered-image" policy
        "another image is launched" |spec| {
        spec.pcrs.insert(0, sha384("tampered enclave image"));
        spec.pcrs.insert(2, sha384("tampered enclave application"));
    };
    "same-kernel" policy
        "another application on the same stock kernel" |spec| {
        spec.pcrs.insert(0, sha384("another enclave image"));
        spec.pcrs.insert(2, sha384("another enclave application"));
    };
    "other-role" policy
        "the same image, started by another role" |spec| { spec.pcrs.insert(3, sha384("another role")); };
    "other-signer" policy
        "the same image, signed by another" |spec| { spec.pcrs.insert(8, sha384("another signer")); };
    "other-instance" "nitro.pcr.instance"
        "PCR 4 is that of another instance" |spec| { spec.pcrs.insert(4, random(48)); };
    "missing-pcr" "nitro.pcr.missing"
        "the document leaves PCR 2 out" |spec| spec.document.without_pcrs.push(2);
    "no-pcrs" "nitro.document.malformed"
        "a document of no PCR at all" |spec| spec.document.without_pcrs = (0..16).collect();
    "replayed-nonce" "nitro.document.nonce"
        "a document that answers an older challenge" |spec| spec.document.nonce = Some(random(32));
    "no-nonce" "nitro.document.nonce"
        "a document that answers no challenge" |spec| spec.document.nonce = Some(String::new());
    "replayed-user-data" "nitro.document.binding"
        "a document for another key" |spec| spec.document.user_data = Some(random(32));
    "no-user-data" "nitro.document.binding"
        "a document for no key" |spec| spec.document.user_data = Some(String::new());
    "longer-user-data" "nitro.document.binding"
        "the binding with something behind it" |spec| spec.document.behind_user_data = Some("11".repeat(32));
    "shorter-user-data" "nitro.document.binding"
        "half of the binding" |spec| spec.document.user_data_bytes = Some(16);
    "stale" "nitro.document.timestamp"
        "a document that was made an hour ago" |spec| spec.document.time_shift = -3600;
    "from-the-future" "nitro.document.timestamp"
        "a document that is made in an hour" |spec| spec.document.time_shift = 3600;
    "other-leaf" "nitro.document.signature"
        "another leaf's key signs" |spec| spec.document.lie = Some(Lie::OtherLeaf);
    "own-root" "nitro.chain.root"
        "a root of its own heads the bundle" |spec| spec.document.lie = Some(Lie::OwnRoot);
    "forged-leaf" "nitro.chain.signature"
        "a leaf that no instance has issued" |spec| spec.document.lie = Some(Lie::ForgedLeaf);
    "not-a-ca" "nitro.chain.not_ca"
        "the instance's certificate is none of an authority" |spec| spec.document.lie = Some(Lie::InstanceIsNoCa);
    "long-path" "nitro.chain.path_length"
        "there is one more authority than the region may have below it" |spec| spec.document.lie = Some(Lie::LongPath);
    "leaf-is-ca" "nitro.chain.leaf_is_ca"
        "an authority's own key signs" |spec| spec.document.lie = Some(Lie::LeafIsCa);
    "no-key-usage" "nitro.chain.key_usage"
        "the leaf may not sign" |spec| spec.document.lie = Some(Lie::LeafMayNotSign);
    "expired-issuer" "nitro.chain.expired"
        "the certificate above the leaf's has ended" |spec| spec.document.lie = Some(Lie::ExpiredInstance);
    "expired-leaf" "nitro.chain.expired"
        "the leaf's three hours are over" |spec| spec.document.lie = Some(Lie::ExpiredLeaf);
    "other-module" "nitro.chain.module"
        "the leaf is that of another enclave" |spec| spec.document.lie = Some(Lie::OtherModule);
    "other-kind" "nitro.document.kind"
        "the PCRs are called those of a TPM" |spec| spec.document.lie = Some(Lie::OtherKind);
    "other-algorithm" "nitro.document.algorithm"
        "the envelope names ES256" |spec| spec.document.lie = Some(Lie::OtherAlgorithm);
    "other-digest" "nitro.document.digest"
        "the document names SHA-256" |spec| spec.document.lie = Some(Lie::OtherDigest);
    "der-signature" "nitro.document.signature_form"
        "the signature is in DER" |spec| spec.document.lie = Some(Lie::DerSignature);
    "key-twice" "nitro.document.malformed"
        "the nonce stands twice" |spec| spec.document.lie = Some(Lie::NonceTwice);
    "unknown-key" "nitro.document.malformed"
        "a key that nobody knows" |spec| spec.document.lie = Some(Lie::UnknownKey);
    "bytes-behind-document" "nitro.document.malformed"
        "something stands behind the document" |spec| spec.document.behind_document = Some("00".to_owned());
    "re-encoded-document" same_node
        "a tag stands before it, and the signature is the other one that verifies" |spec| {
        (spec.document.tagged, spec.document.negated_signature) = (!spec.document.tagged, true);
    };
    "tampered-document" "nitro.document.signature"
        "a byte of a PCR is changed on the way" |spec| spec.document.flipped_pcr = Some(0);
};
