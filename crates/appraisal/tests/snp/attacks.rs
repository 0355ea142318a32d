//! Attacks and bulletins, each as the policy that answers it: what it refuses, and what it admits.

use holdfast_appraisal::facts::{Facts, Ownable, snp};
use holdfast_evidence::snp::{Product, VekKind};

use crate::guest::{Guest, chip_id};
use crate::policies::outcome;
use crate::real::reports;

/// The facts of a real report, where there are vectors.
fn real(name: &str) -> Option<Facts> {
    reports().into_iter().find(|real| real.name == name).map(|real| snp(&real.verify_at(real.now).unwrap()))
}

fn made(product: Product, spoil: impl FnOnce(&mut Guest)) -> Facts {
    snp(&Guest::new(product, VekKind::Vcek).with(spoil).verify().unwrap())
}

#[track_caller]
fn admits(facts: &Facts, lines: &str) {
    assert_eq!(outcome(facts, "launch", lines, Some(Ownable::Launch)), ["admitted"], "{lines}");
}

/// Refused by exactly this difference.
#[track_caller]
fn refuses(facts: &Facts, lines: &str, difference: &str) {
    let found = outcome(facts, "launch", lines, Some(Ownable::Launch));
    assert!(found[0] != "admitted" && found.iter().any(|code| code == difference), "{lines}: {found:?}");
}

/// BadRAM (AMD-SB-3015): firmware that is too old to look for aliases cannot say that it found none.
#[test]
fn badram_is_answered_by_the_alias_check_and_the_firmware_that_can_make_it() {
    let policy =
        "[rule.require]\nsnp.platform.alias_check_complete = true\nsnp.firmware.current = { at_least = \"1.55.22\" }";
    admits(&made(Product::Milan, |_| {}), policy);
    let unchecked = made(Product::Milan, |guest| guest.put(0x40, &[0x05]));
    refuses(&unchecked, policy, "policy.fact.differs snp.platform.alias_check_complete");
    let old = made(Product::Milan, |guest| guest.put(0x1e8, &[21, 55, 1]));
    refuses(&old, policy, "policy.fact.below_minimum snp.firmware.current");
    if let (Some(new), Some(old)) = (real("milan v3"), real("milan v2 azure")) {
        admits(&new, policy);
        refuses(&old, policy, "policy.fact.differs snp.platform.alias_check_complete");
        refuses(&old, policy, "policy.fact.below_minimum snp.firmware.current");
    }
}

/// CacheWarp (AMD-SB-3005) was mended by microcode: a floor for each product, since numbers of two products do not
/// compare.
#[test]
fn cachewarp_is_answered_by_a_microcode_floor_of_the_product() {
    let policy = "[[rule.alternative]]\nname = \"milan\"\n[rule.alternative.require]\nsnp.product = \"Milan\"\n\
                  snp.tcb.reported.microcode = { at_least = 206 }\n\
                  [[rule.alternative]]\nname = \"genoa\"\n[rule.alternative.require]\nsnp.product = \"Genoa\"\n\
                  snp.tcb.reported.microcode = { at_least = 84 }";
    admits(&made(Product::Milan, |_| {}), policy);
    admits(&made(Product::Genoa, |_| {}), policy);
    refuses(&made(Product::Turin, |_| {}), policy, "policy.fact.differs snp.product");
    // what runs is new, what is proven is old: the reported TCB counts
    if let Some(old) = real("milan v2 azure") {
        refuses(&old, policy, "policy.fact.below_minimum snp.tcb.reported.microcode");
    }
}

/// EntrySign (AMD-SB-3019): a floor under the SNP firmware, which no other component excuses.
#[test]
fn entrysign_is_answered_by_an_snp_floor() {
    let policy = "[rule.require]\nsnp.product = \"Milan\"\nsnp.tcb.reported.snp = { at_least = 0x18 }\n\
                  snp.tcb.committed.snp = { at_least = 0x18 }";
    admits(&made(Product::Milan, |_| {}), policy);
    let rolled_back = made(Product::Milan, |guest| guest.put(0x1e6, &[8]));
    refuses(&rolled_back, policy, "policy.fact.below_minimum snp.tcb.committed.snp");
    if let (Some(new), Some(old)) = (real("milan v3"), real("milan v2")) {
        admits(&new, policy);
        refuses(&old, policy, "policy.fact.below_minimum snp.tcb.reported.snp");
    }
}

/// As one number, a bootloader of 255 would outweigh any microcode; component by component it does not.
#[test]
fn no_component_of_a_tcb_excuses_another() {
    let policy = "[rule.require]\nsnp.tcb.committed.bootloader = { at_least = 4 }\nsnp.tcb.committed.tee = { at_least = 0 }\n\
                  snp.tcb.committed.snp = { at_least = 24 }\nsnp.tcb.committed.microcode = { at_least = 219 }";
    admits(&made(Product::Milan, |_| {}), policy);
    for (at, name) in [(0, "bootloader"), (6, "snp"), (7, "microcode")] {
        let low = made(Product::Milan, |guest| {
            for component in [0, 1, 6, 7] {
                guest.report[0x1e0 + component] = 255;
            }
            guest.report[0x1e0 + at] = 3;
        });
        refuses(&low, policy, &format!("policy.fact.below_minimum snp.tcb.committed.{name}"));
    }
}

#[test]
fn ciphertext_side_channels_are_answered_by_hiding_demanded_and_in_force() {
    let policy = "[rule.require]\nsnp.policy.ciphertext_hiding = true\nsnp.platform.ciphertext_hiding = true";
    let hidden = |guest: &mut Guest| {
        guest.put(0x0b, &[1]);
        guest.put(0x40, &[0x35]);
    };
    admits(&made(Product::Genoa, hidden), policy);
    let only_demanded = made(Product::Genoa, |guest| guest.put(0x0b, &[1]));
    refuses(&only_demanded, policy, "policy.fact.differs snp.platform.ciphertext_hiding");
    let only_in_force = made(Product::Genoa, |guest| guest.put(0x40, &[0x35]));
    refuses(&only_in_force, policy, "policy.fact.differs snp.policy.ciphertext_hiding");
}

#[test]
fn mitigations_must_be_in_force_at_launch_and_now() {
    let policy =
        "[rule.require]\nsnp.mitigations.launch = { all_bits = 0x3b }\nsnp.mitigations.current = { all_bits = 0x3b }";
    admits(&made(Product::Turin, |_| {}), policy);
    let late = made(Product::Turin, |guest| guest.put(0x1f8, &[0x0b]));
    refuses(&late, policy, "policy.fact.lacks snp.mitigations.launch");
    let lost = made(Product::Turin, |guest| guest.put(0x200, &[0x0b]));
    refuses(&lost, policy, "policy.fact.lacks snp.mitigations.current");
    if let Some(turin) = real("turin v5") {
        admits(&turin, policy);
    }
}

/// Where the roots of a product's keys are out, no TCB of it can be believed.
#[test]
fn a_whole_product_can_be_denied() {
    let policy =
        "[[deny]]\nname = \"milan\"\nreason = \"root secrets extracted\"\n[deny.when]\nsnp.product = \"Milan\"";
    let found = outcome(&made(Product::Milan, |_| {}), "launch", policy, Some(Ownable::Launch));
    assert_eq!(found[0], "policy.denied");
    admits(&made(Product::Genoa, |_| {}), policy);
}

/// Interposers defeat attestation for whoever holds the machine: only chips in our own hands count.
#[test]
fn only_listed_chips_are_admitted_and_denied_ones_never() {
    let ours = hex::encode(chip_id(Product::Milan));
    let policy = format!("[rule.require]\nsnp.chip_id = {{ one_of = [\"{ours}\"] }}");
    admits(&made(Product::Milan, |_| {}), &policy);
    refuses(&made(Product::Turin, |_| {}), &policy, "policy.fact.not_allowed snp.chip_id");
    let vlek = snp(&Guest::new(Product::Milan, VekKind::Vlek).verify().unwrap());
    refuses(&vlek, &policy, "policy.fact.not_proven snp.chip_id");

    let deny = format!(
        "[[deny]]\nname = \"lost\"\nreason = \"stolen\"\n[deny.when]\nsnp.chip_id = {{ one_of = [\"{ours}\"] }}"
    );
    let found = outcome(&made(Product::Milan, |_| {}), "launch", &deny, Some(Ownable::Launch));
    assert_eq!(found[0], "policy.denied");
    admits(&made(Product::Turin, |_| {}), &deny);
    // a guest whose chip nobody knows may run on that one
    let found = outcome(&vlek, "launch", &deny, Some(Ownable::Launch));
    assert_ne!(found[0], "admitted");
}

#[test]
fn a_vmpl_is_one_of_a_set() {
    let policy = "[rule.require]\nsnp.vmpl = { one_of = [0, 1] }";
    for vmpl in 0..4 {
        let facts = made(Product::Milan, |guest| guest.put(0x30, &[vmpl]));
        if vmpl < 2 {
            admits(&facts, policy);
        } else {
            refuses(&facts, policy, "policy.fact.not_allowed snp.vmpl");
        }
    }
    if let Some(ec2) = real("milan vlek") {
        refuses(&ec2, "[rule.require]\nsnp.vmpl = 0", "policy.fact.differs snp.vmpl");
        refuses(&ec2, "[rule.require]\nsnp.signing_key = \"vcek\"", "policy.fact.differs snp.signing_key");
        refuses(&ec2, "[rule.require]\nsnp.platform.tsme = false", "policy.fact.differs snp.platform.tsme");
        admits(&ec2, "[rule.require]\nsnp.csp_id = \"CN=cc-us-east-2.amazonaws.com\"");
    }
}

/// A policy of exactly the image, the id key and its version.
#[test]
fn an_image_is_pinned_by_its_key_and_version() {
    let policy =
        format!("[rule.require]\nsnp.id_key_digest = \"{}\"\nsnp.guest_svn = {{ at_least = 7 }}", "66".repeat(48));
    admits(&made(Product::Milan, |_| {}), &policy);
    let older = made(Product::Milan, |guest| guest.put(0x04, &[6]));
    refuses(&older, &policy, "policy.fact.below_minimum snp.guest_svn");
    let strangers = made(Product::Milan, |guest| {
        guest.put(0xe0, &[0x67; 48]);
        guest.put(0x04, &[0xff]);
    });
    refuses(&strangers, &policy, "policy.fact.differs snp.id_key_digest");
    let without = made(Product::Milan, |guest| {
        guest.put(0xe0, &[0; 48]);
        guest.put(0x04, &[0xff]);
    });
    refuses(&without, &policy, "policy.fact.not_proven snp.guest_svn");
}
