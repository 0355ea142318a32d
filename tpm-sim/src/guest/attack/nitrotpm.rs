//! Attacks on EC2 instances with a NitroTPM.

use super::{Attack, attacks, sha384};
use crate::guest::nitro::Lie;
use crate::guest::random;

pub(super) static ATTACKS: &[Attack] = attacks! { NitroTpm;
    "tampered-image" policy
        "another kernel is booted" |spec| spec.quoting.profile = "changed-kernel".to_owned();
    "software-key" policy
        "another kernel is booted, and a key in software that the document names quotes the right one's PCRs" |spec| {
        spec.forged_quote = Some(spec.quoting.profile.clone());
        spec.quoting.profile = "changed-kernel".to_owned();
    };
    "tampered-command-line" policy
        "another command line is booted" |spec| spec.quoting.profile = "changed-cmdline".to_owned();
    "secure-boot-off" policy
        "the firmware verifies nothing" |spec| spec.quoting.profile = "secure-boot-off".to_owned();
    "other-boot-manager" policy
        "the document says that another boot manager ran" |spec| { spec.pcrs.insert(4, sha384("another boot manager")); };
    "unmeasured" "nitrotpm.pcr.bank_unextended"
        "the firmware measures nothing" |spec| {
        for pcr in 0..8 { spec.pcrs.insert(pcr, "00".repeat(48)); }
    };
    "missing-pcr" "nitrotpm.pcr.missing"
        "the document leaves PCR 7 out" |spec| spec.document.without_pcrs.push(7);
    "no-pcrs" "nitrotpm.document.malformed"
        "a document of no PCR at all" |spec| spec.document.without_pcrs = (0..24).collect();
    "replayed-nonce" "nitrotpm.document.nonce"
        "a document that answers an older challenge" |spec| spec.document.nonce = Some(random(32));
    "no-nonce" "nitrotpm.document.nonce"
        "a document that answers no challenge" |spec| spec.document.nonce = Some(String::new());
    "replayed-user-data" "nitrotpm.document.binding"
        "a document for another key" |spec| spec.document.user_data = Some(random(32));
    "no-user-data" "nitrotpm.document.binding"
        "a document for no key" |spec| spec.document.user_data = Some(String::new());
    "longer-user-data" "nitrotpm.document.binding"
        "the binding with something behind it" |spec| spec.document.behind_user_data = Some("11".repeat(32));
    "shorter-user-data" "nitrotpm.document.binding"
        "half of the binding" |spec| spec.document.user_data_bytes = Some(16);
    "stale" "nitrotpm.document.timestamp"
        "a document that was made an hour ago" |spec| spec.document.time_shift = -3600;
    "from-the-future" "nitrotpm.document.timestamp"
        "a document that is made in an hour" |spec| spec.document.time_shift = 3600;
    "other-leaf" "nitrotpm.document.signature"
        "another leaf's key signs" |spec| spec.document.lie = Some(Lie::OtherLeaf);
    "own-root" "nitrotpm.chain.root"
        "a root of its own heads the bundle" |spec| spec.document.lie = Some(Lie::OwnRoot);
    "forged-leaf" "nitrotpm.chain.signature"
        "a leaf that no instance has issued" |spec| spec.document.lie = Some(Lie::ForgedLeaf);
    "not-a-ca" "nitrotpm.chain.not_ca"
        "the instance's certificate is none of an authority" |spec| spec.document.lie = Some(Lie::InstanceIsNoCa);
    "long-path" "nitrotpm.chain.path_length"
        "there is one more authority than the region may have below it" |spec| spec.document.lie = Some(Lie::LongPath);
    "leaf-is-ca" "nitrotpm.chain.leaf_is_ca"
        "an authority's own key signs" |spec| spec.document.lie = Some(Lie::LeafIsCa);
    "no-key-usage" "nitrotpm.chain.key_usage"
        "the leaf may not sign" |spec| spec.document.lie = Some(Lie::LeafMayNotSign);
    "expired-issuer" "nitrotpm.chain.expired"
        "the certificate above the leaf's has ended" |spec| spec.document.lie = Some(Lie::ExpiredInstance);
    "expired-leaf" "nitrotpm.chain.expired"
        "the leaf's three hours are over" |spec| spec.document.lie = Some(Lie::ExpiredLeaf);
    "other-module" "nitrotpm.chain.module"
        "the leaf is that of another instance" |spec| spec.document.lie = Some(Lie::OtherModule);
    "enclave-for-instance" "nitrotpm.document.kind"
        "the PCRs are called those of an enclave" |spec| spec.document.lie = Some(Lie::OtherKind);
    "other-algorithm" "nitrotpm.document.algorithm"
        "the envelope names ES256" |spec| spec.document.lie = Some(Lie::OtherAlgorithm);
    "other-digest" "nitrotpm.document.digest"
        "the document names SHA-256" |spec| spec.document.lie = Some(Lie::OtherDigest);
    "der-signature" "nitrotpm.document.signature_form"
        "the signature is in DER" |spec| spec.document.lie = Some(Lie::DerSignature);
    "key-twice" "nitrotpm.document.malformed"
        "the nonce stands twice" |spec| spec.document.lie = Some(Lie::NonceTwice);
    "unknown-key" "nitrotpm.document.malformed"
        "a key that nobody knows" |spec| spec.document.lie = Some(Lie::UnknownKey);
    "bytes-behind-document" "nitrotpm.document.malformed"
        "something stands behind the document" |spec| spec.document.behind_document = Some("00".to_owned());
    "re-encoded-document" same_node
        "a tag stands before it, and the signature is the other one that verifies" |spec| {
        (spec.document.tagged, spec.document.negated_signature) = (!spec.document.tagged, true);
    };
    "tampered-document" "nitrotpm.document.signature"
        "a byte of a PCR is changed on the way" |spec| spec.document.flipped_pcr = Some(4);
};
