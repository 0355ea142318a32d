//! Attacks on TDs.

use super::{Attack, attacks, sha384};
use crate::guest::random;
use crate::guest::tdx::TdxLie;
use crate::tamper::LogLie;

pub(super) static ATTACKS: &[Attack] = attacks! { Tdx;
    "debug" "tdx.td.debug"
        "the host may read and write the TD's memory" |spec| spec.tdattributes |= 1;
    "under-debug" "tdx.td.debug"
        "another bit of those that stand for a TD under debug" |spec| spec.tdattributes |= 1 << 5;
    "reserved-attribute" "tdx.td.reserved"
        "an attribute that nobody has given a meaning" |spec| spec.tdattributes |= 1 << 40;
    "exceptions-at-will" "tdx.td.sept_ve"
        "the host may raise exceptions inside by taking pages away" |spec| spec.tdattributes &= !(1 << 28);
    "migratable" "tdx.td.migratable"
        "a migration TD may take the TD elsewhere" |spec| spec.tdattributes |= 1 << 29;
    "service-td" "tdx.td.service_td"
        "a service TD is bound that nobody has listed" |spec| {
        *spec = spec.clone().v5();
        spec.mrservicetd = sha384("service TD");
    };
    "partition" "tdx.td.partition"
        "the report is for a partition of the TD" |spec| {
        *spec = spec.clone().v5();
        (spec.body_type, spec.vm_id) = (4, 1);
    };
    "own-module" "tdx.seam.signer"
        "somebody else than Intel signed the TDX module" |spec| spec.mrsignerseam = sha384("somebody else");
    "debug-module" "tdx.seam.attributes"
        "the TDX module is no production one" |spec| spec.seamattributes = 1;
    "own-root" "tdx.pck.signature"
        "another Intel certifies the platform" |spec| spec.lie = Some(TdxLie::OwnRoot);
    "no-certificate" "tdx.pck.missing"
        "the quote brings no certificate" |spec| spec.lie = Some(TdxLie::NoCertificate);
    "forged-certificate" "tdx.pck.signature"
        "the certificate names a CA that did not sign it" |spec| spec.lie = Some(TdxLie::ForgedPck);
    "expired-certificate" "tdx.pck.expired"
        "the platform's certificate has ended" |spec| spec.lie = Some(TdxLie::ExpiredPck);
    "platform-as-authority" "tdx.pck.rights"
        "a genuine platform's key certifies another platform" |spec| spec.lie = Some(TdxLie::PckIssuesPck);
    "no-extension" "tdx.pck.extension"
        "the certificate does not say what the platform is" |spec| spec.lie = Some(TdxLie::NoExtension);
    "revoked-platform" "tdx.pck.revoked"
        "Intel has revoked the platform's certificate" |spec| spec.collateral.revoked.push("pck".to_owned());
    "revoked-authority" "tdx.pck.revoked"
        "Intel has revoked the CA above the platform's certificate" |spec| spec.collateral.revoked.push("ca".to_owned());
    "other-platform" "tdx.qe.signature"
        "another platform signs the quoting enclave's report" |spec| spec.lie = Some(TdxLie::OtherPlatform);
    "own-quoting-enclave" "tdx.qe.identity"
        "a quoting enclave that is none of Intel's" |spec| spec.platform.qe_mrsigner = "aa".repeat(32);
    "debug-quoting-enclave" "tdx.qe.identity"
        "the quoting enclave runs in debug mode" |spec| spec.platform.qe_attributes = format!("13{}", "00".repeat(15));
    "own-key" "tdx.qe.attestation_key"
        "the quoting enclave vouches for another key than the one that signs" |spec| spec.lie = Some(TdxLie::OtherKeyVouched);
    "other-key" "tdx.quote.signature"
        "another key signs than the one that the quote names" |spec| spec.lie = Some(TdxLie::OtherKey);
    "replayed-quote" "tdx.quote.report_data"
        "a quote that answers an older challenge" |spec| spec.report_data = Some(random(64));
    "relayed-quote" "tdx.quote.report_data"
        "a quote of another TD, whose key is another" |spec| {
        spec.report_data = Some(format!("{}{}", random(32), "00".repeat(32)));
        spec.td_id = random(32);
    };
    "longer-report-data" "tdx.quote.report_data"
        "the binding with something behind it" |spec| spec.behind_report_data = Some("11".repeat(32));
    "tampered-quote" "tdx.quote.signature"
        "a byte of MRTD is changed on the way" |spec| spec.flipped_byte = Some(48 + 136);
    "shorter-report-data" "tdx.quote.report_data"
        "half of the binding, zeros in place of the rest" |spec| spec.report_data_bytes = Some(16);
    "padded-quote" same_node
        "zeros stand behind the quote, as many as a provider's" |spec| spec.padding = 3065;
    "bytes-behind-quote" same_node
        "something stands behind the quote, another each time" |spec| spec.behind_quote = Some(random(39));
    "re-encoded-quote" same_node
        "the signature is written as the other one that verifies" |spec| spec.negated_signature = true;
    "unknown-version" "tdx.quote.malformed"
        "a quote of a version that nobody knows" |spec| spec.version = 3;
    "other-technology" "tdx.quote.malformed"
        "the header says that it is an SGX enclave's" |spec| spec.tee_type = 0;
    "other-vendor" "tdx.quote.malformed"
        "the header names a quoting enclave of somebody else" |spec| spec.qe_vendor = "aa".repeat(16);
    "other-key-type" "tdx.quote.malformed"
        "the header names another kind of attestation key" |spec| spec.key_type = 3;
    "revoked-tcb" "tdx.tcb.revoked"
        "the keys of platforms at this level must be taken for known" |spec| spec.collateral.status = "Revoked".to_owned();
    "ancient-platform" "tdx.tcb.no_level"
        "versions below every level that Intel lists" |spec| spec.platform.pce_svn = 4;
    "unknown-module" "tdx.tcb.module"
        "a TDX module that Intel does not list" |spec| spec.tee_tcb_svn = format!("060903{}", "00".repeat(13));
    "old-tcb" policy
        "the platform has not been updated" |spec| {
        spec.platform.cpu_svn = format!("0202020203010003{}", "00".repeat(8));
    };
    "old-quoting-enclave" policy
        "the quoting enclave has not been updated" |spec| spec.platform.qe_isvsvn = 5;
    "old-module" policy
        "the TDX module is one that Intel calls out of date" |spec| {
        spec.collateral.module_status = "OutOfDate".to_owned();
    };
    "cached-keys" policy
        "Intel keeps the platform's root keys" |spec| spec.platform.cached_keys = true;
    "dynamic-platform" policy
        "the host may add packages to the platform" |spec| spec.platform.dynamic_platform = true;
    "performance-counters" policy
        "the TD lets its performance counters be used" |spec| spec.tdattributes |= 1 << 63;
    "bar-raised" policy
        "Intel has moved the bar, the platform has not changed" |spec| {
        spec.collateral.status = "OutOfDate".to_owned();
        spec.collateral.advisories = vec!["INTEL-SA-01036".to_owned()];
        spec.collateral.evaluation_number += 1;
    };
    "foreign-platform" policy
        "all is well, on a platform that is not ours: its memory bus is tapped" |spec| {
        (spec.platform.instance_id, spec.platform.ppid) = (random(16), random(16));
    };
    "tampered-image" policy
        "another kernel is booted" |spec| spec.profile = "changed-kernel".to_owned();
    "tampered-firmware" policy
        "another firmware is launched" |spec| spec.mrtd = sha384("tampered TDVF");
    "no-event-log" policy
        "the registers are told without what led to them" |spec| spec.event_log = false;
    "event-omitted" "tdx.ccel.replay"
        "the event log leaves an event out" |spec| spec.log_lie = Some(LogLie::Omitted(3));
    "event-of-another-digest" "tdx.ccel.replay"
        "the event log has another digest" |spec| spec.log_lie = Some(LogLie::Digest(3));
    "events-swapped" "tdx.ccel.replay"
        "the event log has two events in the other order" |spec| spec.log_lie = Some(LogLie::Swapped(2));
    "event-log-cut" "tdx.ccel.malformed"
        "the event log ends within an event" |spec| spec.log_lie = Some(LogLie::Cut(200));
    "expired-collateral" "tdx.collateral.expired"
        "what Intel said is out of date, and the host hands it out again" |spec| {
        (spec.collateral.issued, spec.collateral.next_update) = (-40 * 86_400, -10 * 86_400);
    };
    "early-collateral" "tdx.collateral.not_yet_valid"
        "what Intel said counts from tomorrow on" |spec| spec.collateral.issued = 86_400;
    "forged-collateral" "tdx.collateral.signature"
        "somebody else than Intel says what is up to date" |spec| spec.collateral.forged = true;
    "revoked-signer" "tdx.collateral.signer_revoked"
        "the signer of what Intel says is revoked" |spec| spec.collateral.revoked.push("signer".to_owned());
    "other-collateral" "tdx.collateral.mismatch"
        "what Intel says is about another kind of platform" |spec| spec.collateral.fmspc = Some("50806f000000".to_owned());
};
