//! Attacks on SNP guests.

use super::{Attack, attacks, sha384};
use crate::guest::amd::{SigningKey, Tcb};
use crate::guest::random;

pub(super) static ATTACKS: &[Attack] = attacks! { Snp;
    "debug" "snp.guest_policy.debug"
        "the guest allows the host to read and write its memory" |spec| spec.policy |= 1 << 19;
    "migration-agent" "snp.guest_policy.migration_agent"
        "the guest allows a migration agent to take it elsewhere" |spec| spec.policy |= 1 << 18;
    "guest-policy-bits" "snp.guest_policy.bits"
        "the guest policy lacks the bit that every policy has" |spec| spec.policy &= !(1 << 17);
    "asked-by-the-host" "snp.report.vmpl"
        "the host asked for the report, not the guest" |spec| spec.vmpl = u32::MAX;
    "masked-chip-key" "snp.report.chip_key_masked"
        "the host keeps the chip's key from signing" |spec| spec.mask_chip_key = true;
    "masked-chip-id" "snp.chip_id.masked"
        "the host hides the chip's id" |spec| spec.mask_chip_id = true;
    "other-signing-key" "snp.report.signing_key"
        "the report names a signing key that does not exist" |spec| spec.key_info = Some(2 << 2);
    "wrong-key-kind" "snp.vek.kind"
        "the report names the chip's key, the provider's signs" |spec| {
        spec.signing_key = SigningKey::Vlek;
        spec.key_info = Some(0);
    };
    "chip-key-as-providers" "snp.vek.kind"
        "the report names the provider's key, the chip's signs" |spec| spec.key_info = Some(1 << 2);
    "other-chip" "snp.report.signature"
        "a key of another chip signs" |spec| spec.signed_by_another_chip = true;
    "other-chip-certificate" "snp.chip_id.mismatch"
        "another chip signs, and its own certificate comes along" |spec| spec.certified_chip = Some(other_chip(&spec.chip_id));
    "chip-id-like-der" "snp.chip_id.mismatch"
        "another chip signs, whose id is the report's to those who read DER into it" |spec| {
        let inside = spec.chip_id.get(4..).unwrap_or_default().to_owned();
        spec.certified_chip = Some(format!("04{:02x}{inside}", inside.len() / 2));
        spec.chip_id = format!("{inside}0000");
    };
    "other-tcb-certificate" "snp.tcb.certificate_mismatch"
        "the certificate is for a newer TCB than the reported one" |spec| {
        spec.certified_tcb = Some(Tcb { snp: spec.reported_tcb.snp + 1, ..spec.reported_tcb });
    };
    "other-product" "snp.product.mismatch"
        "the report is from another processor family than the certificate" |spec| {
        spec.cpuid = Some(if spec.product == "Genoa" { [0x19, 0x01, 1] } else { [0x19, 0x11, 1] });
    };
    "unknown-product" "snp.product.unknown"
        "the report is from a processor that nobody knows" |spec| spec.cpuid = Some([0x21, 0x01, 1]);
    "own-root" "snp.chain.signature"
        "the host brings a chain of its own along, root and all" |spec| spec.own_root = true;
    "expired-certificate" "snp.chain.expired"
        "the key's certificate has ended" |spec| spec.certificate_ends = Some(-3600);
    "expired-issuer" "snp.chain.expired"
        "the certificate above the key's has ended" |spec| spec.issuer_ends = Some(-3600);
    "revoked-issuer" "snp.chain.revoked"
        "AMD has revoked what issued the key's certificate" |spec| spec.issuer_revoked = true;
    "foreign-chip" policy
        "all is well, on a chip that is not ours: its key was extracted, or its memory bus is tapped" |spec| {
        spec.chip_id = other_chip(&spec.chip_id);
    };
    "forged-versions" policy
        "a chip whose root seed was extracted signs for versions that do not exist" |spec| {
        spec.chip_id = other_chip(&spec.chip_id);
        let newest = Tcb { fmc: 255, bootloader: 255, tee: 255, snp: 255, microcode: 255 };
        (spec.reported_tcb, spec.committed_tcb, spec.current_tcb) = (newest, newest, newest);
    };
    "old-tcb" policy
        "the platform has not been updated" |spec| {
        spec.reported_tcb.microcode = spec.reported_tcb.microcode.saturating_sub(13);
        spec.reported_tcb.snp = spec.reported_tcb.snp.saturating_sub(14);
    };
    "cachewarp" policy
        "the microcode is one that lets the host undo writes (CacheWarp)" |spec| {
        spec.reported_tcb.microcode = spec.reported_tcb.microcode.saturating_sub(13);
    };
    "entrysign" policy
        "the firmware loads microcode that anybody signed (EntrySign)" |spec| spec.reported_tcb.snp = spec.reported_tcb.snp.saturating_sub(3);
    "rolled-back" policy
        "the platform may be rolled back below what it runs" |spec| spec.committed_tcb.snp = spec.committed_tcb.snp.saturating_sub(14);
    "no-alias-check" policy
        "the platform does not say that it checked memory aliases (BadRAM)" |spec| spec.platform_info &= !(1 << 5);
    "no-ciphertext-hiding" policy
        "the host sees ciphertext change" |spec| {
        spec.platform_info &= !(1 << 4);
        spec.policy &= !(1 << 24);
    };
    "no-mitigations" policy
        "the firmware has mitigations, and none is on" |spec| {
        spec.version = 5;
        (spec.current_mitigations, spec.launch_mitigations) = (0, 0);
    };
    "tampered-image" policy
        "another image is launched" |spec| spec.measurement = sha384("tampered guest image");
    "unpinned-svn" policy
        "a guest whose ID block nobody signed claims a security version" |spec| {
        spec.measurement = sha384("old guest image");
        spec.guest_svn = 99;
    };
    "less-privileged" policy
        "a guest at a lower privilege level asks" |spec| spec.vmpl = 3;
    "replayed-report" "snp.report.data"
        "a report that answers an older challenge" |spec| spec.report_data = Some(random(64));
    "relayed-report" "snp.report.data"
        "a report of another guest, whose key is another" |spec| {
        spec.report_data = Some(format!("{}{}", random(32), "00".repeat(32)));
        spec.report_id = random(32);
    };
    "longer-report-data" "snp.report.data"
        "the binding with something behind it" |spec| spec.behind_report_data = Some("11".repeat(32));
    "shorter-report-data" "snp.report.data"
        "half of the binding, zeros in place of the rest" |spec| spec.patch.push((0x60, "00".repeat(16)));
    "tampered-report" "snp.report.signature"
        "a byte of the measurement is changed on the way" |spec| spec.flipped_byte = Some(0x90);
    "longer-signature" "snp.report.signature_encoding"
        "something stands behind the numbers of the signature" |spec| spec.flipped_byte = Some(0x330);
    "unsigned-report" "snp.report.signature"
        "the report says that the chip's key signed, and zeros stand there" |spec| {
        (spec.mask_chip_key, spec.key_info) = (true, Some(0));
    };
    "re-encoded-report" same_node
        "the signature is written as the other one that verifies" |spec| spec.negated_signature = true;
    "reserved-bytes" "snp.report.reserved"
        "the firmware writes where its version has nothing" |spec| spec.patch.push((0x210, "01".to_owned()));
    "wrong-algorithm" "snp.report.signature_algorithm"
        "the report names another signature algorithm" |spec| spec.signature_algorithm = 2;
    "unknown-version" "snp.report.version"
        "the report has a version that nobody knows" |spec| spec.version = 4;
    "garbled-table" "snp.certificates.malformed"
        "the certificate table ends early" |spec| spec.table = Some("63da758d".to_owned());
};

/// An id of the same length.
fn other_chip(chip_id: &str) -> String {
    random(chip_id.len() / 2)
}
