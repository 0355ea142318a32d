//! No byte of anything that is signed may change, in made machines and in real ones.

use std::sync::Arc;

use holdfast_evidence::azure::{AzureEndorsements, AzureItem, VerifiedHardware};
use holdfast_evidence::{EvidenceKind, Purpose};

use crate::guest::NOW;
use crate::machine::{Machine, challenge, node_key, verify};
use crate::real::{Real, machines};

/// Flips one bit of every byte, another one from byte to byte.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).map(|at| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        (at, changed)
    })
}

/// Whether this byte of an HCL report of type TDX is CPUSVN or the MAC of its TDREPORT, which the quote has not: no verifier
/// but the platform itself can check them, and nothing is read from them.
fn only_the_platform_can_say(at: usize) -> bool {
    (32 + 16..32 + 32).contains(&at) || (32 + 224..32 + 256).contains(&at)
}

#[test]
fn no_byte_of_a_made_machines_item_may_change() {
    for (mut machine, is_td) in [(Machine::snp(), false), (Machine::tdx(), true)] {
        let binding = machine.binding(challenge(Purpose::Enrol), node_key());
        let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
        let mut endorsements = machine.endorsements();
        let verified = verify(&item, &endorsements, &binding, NOW).unwrap();
        // the chain is kept, so that each flip costs one signature
        if let Some(VerifiedHardware::Snp(report)) = verified.claims().machine.hardware() {
            endorsements.snp.verified = vec![Arc::clone(report.verified_vek())];
        }
        let parts = AzureItem::parse(&item).unwrap();
        let start = |part: &[u8]| part.as_ptr() as usize - item.as_ptr() as usize;
        let report = start(parts.report);
        let certificates = report + parts.report.len() + 5..start(parts.ak_public) - 3;
        for (at, changed) in flipped(&item) {
            let is_report = (report..report + parts.report.len()).contains(&at);
            if is_td && is_report && only_the_platform_can_say(at - report) {
                continue;
            }
            // of an SNP item the certificates are tested with `snp`, of a quote its last PEM letters decide nothing
            if certificates.contains(&at) {
                continue;
            }
            assert!(verify(&changed, &endorsements, &binding, NOW).is_err(), "byte {at} of {}", item.len());
        }
    }
}

#[test]
fn no_byte_of_a_real_hcl_report_may_change() {
    for real in machines() {
        let endorsements = kept(&real);
        real.judge(&endorsements).unwrap_or_else(|refusal| panic!("{}: {refusal}", real.name));
        for (at, hcl) in flipped(&real.hcl) {
            if real.td_quote.is_some() && only_the_platform_can_say(at) {
                continue;
            }
            let changed = Real { hcl, ..real.clone() };
            assert!(changed.judge(&endorsements).is_err(), "{} byte {at:#x}", real.name);
        }
    }
}

#[test]
fn no_byte_of_a_real_quote_its_signature_or_its_registers_may_change() {
    for real in machines() {
        let endorsements = kept(&real);
        for (at, attest) in flipped(&real.attest) {
            let changed = Real { attest, ..real.clone() };
            assert!(changed.judge(&endorsements).is_err(), "{} quote byte {at}", real.name);
        }
        for (at, signature) in flipped(&real.signature) {
            let changed = Real { signature, ..real.clone() };
            assert!(changed.judge(&endorsements).is_err(), "{} signature byte {at}", real.name);
        }
        for register in 0..24 {
            for at in [0, 31] {
                let mut changed = real.clone();
                changed.pcrs[register][at] ^= 1;
                let refused = changed.judge(&endorsements).unwrap_err();
                assert_eq!(refused.code(), "tpm.quote.pcr_digest", "{} PCR {register}", real.name);
            }
        }
    }
}

#[test]
fn registers_in_another_order_are_refused() {
    for real in machines() {
        let endorsements = kept(&real);
        for register in 1..24 {
            let mut changed = real.clone();
            changed.pcrs.swap(register - 1, register);
            let is_same = changed.pcrs[register] == changed.pcrs[register - 1];
            assert_eq!(changed.judge(&endorsements).is_ok(), is_same, "{} PCR {register}", real.name);
        }
    }
}

/// The endorsements with the chain of the report's key, verified.
fn kept(real: &Real) -> AzureEndorsements {
    let mut endorsements = real.endorsements();
    if let Ok(VerifiedHardware::Snp(report)) = real.hardware(&endorsements) {
        endorsements.snp.verified = vec![Arc::clone(report.verified_vek())];
    }
    endorsements
}
