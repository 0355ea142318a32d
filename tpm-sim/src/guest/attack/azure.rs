//! Attacks on Azure machines.

use super::{Attack, attacks, sha384};
use crate::guest::random;
use crate::guest::vtpm::QuoteLie;
use crate::guest::vtpm::azure::{CertificateLie, HclLie};
use crate::tamper::LogLie;

pub(super) static ATTACKS: &[Attack] = attacks! { Azure;
    "tampered-image" policy
        "another kernel is booted" |spec| spec.quoting.profile = "changed-kernel".to_owned();
    "secure-boot-off" policy
        "the firmware verifies nothing" |spec| {
        spec.quoting.profile = "secure-boot-off".to_owned();
        spec.configuration.secure_boot = false;
    };
    "other-paravisor" policy
        "another paravisor runs below the guest" |spec| {
        (spec.snp.measurement, spec.tdx.mrtd) = (sha384("another paravisor"), sha384("another paravisor"));
        spec.snp.id_key_digest = sha384("another key");
    };
    "old-tcb" policy
        "the platform has not been updated" |spec| {
        spec.snp.reported_tcb.microcode = spec.snp.reported_tcb.microcode.saturating_sub(13);
        spec.snp.reported_tcb.snp = spec.snp.reported_tcb.snp.saturating_sub(14);
        spec.tdx.collateral.status = "OutOfDate".to_owned();
    };
    "debug" "snp.guest_policy.debug"
        "the host may read and write the paravisor's memory" |spec| {
        spec.snp.policy |= 1 << 19;
        spec.tdx.tdattributes |= 1;
    };
    "asked-by-the-guest" "azure.hcl.vmpl"
        "root in the guest asks for a report about a key of its own" |spec| spec.snp.vmpl = 2;
    "own-runtime-data" "azure.runtime_data.digest"
        "the runtime data is another than the hardware reported" |spec| spec.lie = Some(HclLie::OtherRuntimeData);
    "own-key" "azure.ak.key_mismatch"
        "the runtime data names a key that is not in the TPM" |spec| spec.lie = Some(HclLie::OtherKey);
    "longer-report-data" "azure.runtime_data.digest"
        "something stands behind the digest" |spec| spec.lie = Some(HclLie::LongerReportData);
    "other-hash" "azure.hcl.malformed"
        "the report names another digest function" |spec| spec.lie = Some(HclLie::OtherHash);
    "other-size" "azure.hcl.malformed"
        "the sizes in the report do not fit each other" |spec| spec.lie = Some(HclLie::OtherSize);
    "bytes-behind-report" "azure.hcl.malformed"
        "something stands behind the report" |spec| spec.lie = Some(HclLie::BytesBehind);
    "unknown-version" "azure.hcl.malformed"
        "the report declares a version that nobody knows" |spec| spec.version = 0;
    "older-version" "azure.runtime_data.digest"
        "the report declares an older version, and is about other runtime data" |spec| {
        (spec.version, spec.lie) = (1, Some(HclLie::OtherRuntimeData));
    };
    "older-version-replayed" "tpm.quote.nonce"
        "the report declares an older version, and the quote answers an older challenge" |spec| {
        (spec.version, spec.quoting.lie) = (1, Some(QuoteLie::Replayed));
    };
    "own-root" "snp.chain.signature"
        "another AMD stands below" |spec| spec.snp.own_root = true;
    "other-chip" "snp.report.signature"
        "a key of another chip signs" |spec| spec.snp.signed_by_another_chip = true;
    "replayed-quote" "tpm.quote.nonce"
        "a quote that answers an older challenge" |spec| spec.quoting.lie = Some(QuoteLie::Replayed);
    "other-selection" "tpm.quote.selection"
        "a quote of other PCRs, shown as those that were asked" |spec| spec.quoting.lie = Some(QuoteLie::OtherSelection);
    "no-pcrs" "tpm.quote.selection"
        "a quote of no PCR at all" |spec| spec.quoting.lie = Some(QuoteLie::NoPcrs);
    "tampered-quote" "tpm.quote.signature"
        "a byte of the quote is changed on the way" |spec| spec.quoting.lie = Some(QuoteLie::Tampered);
    "event-omitted" "tpm.quote.pcr_digest"
        "the firmware log leaves an event out" |spec| spec.quoting.log_lie = Some(LogLie::Omitted(4));
    "event-of-another-digest" "tpm.quote.pcr_digest"
        "the firmware log has another digest" |spec| spec.quoting.log_lie = Some(LogLie::Digest(4));
    "event-log-cut" "tpm.event_log.truncated"
        "the firmware log ends within an event" |spec| spec.quoting.log_lie = Some(LogLie::Cut(200));
    "certificate-of-another-key" "azure.ak.key_mismatch"
        "the certificate is for another key" |spec| spec.certificate_lie = Some(CertificateLie::OtherKey);
    "own-authority" "chain.signature"
        "an authority of the same name certifies the key" |spec| spec.certificate_lie = Some(CertificateLie::OwnRoot);
    "expired-certificate" same_node
        "the key's certificate has ended, and the hardware vouches for the key" |spec| spec.certificate_lie = Some(CertificateLie::Expired);
    "certificate-for-encryption" "azure.ak.certificate"
        "the certificate is for a key that may not sign" |spec| spec.certificate_lie = Some(CertificateLie::MayNotSign);
    "certificate-of-an-authority" "azure.ak.certificate"
        "an authority's own certificate stands for the key's" |spec| spec.certificate_lie = Some(CertificateLie::OfAuthority);
    "relayed" policy
        "all is well, on a machine that is not ours" |spec| {
        spec.relaunch();
        spec.snp.chip_id = random(64);
    };
};
