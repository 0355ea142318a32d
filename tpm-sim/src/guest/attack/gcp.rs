//! Attacks on Google Cloud instances.

use super::{Attack, attacks};
use crate::guest::vtpm::QuoteLie;
use crate::guest::vtpm::azure::CertificateLie;
use crate::tamper::LogLie;

pub(super) static ATTACKS: &[Attack] = attacks! { Gcp;
    "tampered-image" policy
        "another kernel is booted" |spec| spec.quoting.profile = "changed-kernel".to_owned();
    "secure-boot-off" policy
        "the firmware verifies nothing" |spec| spec.quoting.profile = "secure-boot-off".to_owned();
    "other-project" policy
        "the same image, in a stranger's project" |spec| {
        spec.project_number += 1;
        spec.project_id = "somebody-else".to_owned();
        spec.relaunch();
    };
    "same-name" policy
        "another instance that is called the same" |spec| spec.relaunch();
    "test-environment" policy
        "an instance of the provider's test environment" |spec| spec.production = false;
    "own-root" "chain.signature"
        "an authority of the same name certifies the key" |spec| spec.certificate_lie = Some(CertificateLie::OwnRoot);
    "certificate-of-another-key" "gcp.ak.key_mismatch"
        "the certificate is for another key" |spec| spec.certificate_lie = Some(CertificateLie::OtherKey);
    "expired-certificate" "gcp.ak.expired"
        "the key's certificate has ended" |spec| spec.certificate_lie = Some(CertificateLie::Expired);
    "certificate-of-an-authority" "gcp.ak.certificate"
        "an authority's own certificate stands for the key's" |spec| spec.certificate_lie = Some(CertificateLie::OfAuthority);
    "certificate-for-encryption" "gcp.ak.certificate"
        "the certificate is for a key that may not sign" |spec| spec.certificate_lie = Some(CertificateLie::MayNotSign);
    "no-instance" "gcp.instance.malformed"
        "the certificate does not say which instance it is for" |spec| spec.certificate_lie = Some(CertificateLie::NoInstance);
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
};
