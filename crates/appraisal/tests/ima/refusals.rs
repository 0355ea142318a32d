//! Each check of a rule's `ima` table, by a list that fails exactly it.

use holdfast_appraisal::decision::Verdict;
use holdfast_appraisal::facts::FactId;
use holdfast_appraisal::ima::{ImaSeen, attach};
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::tpm::ima::Quoted;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::list::{self, Written, aggregate, pcr, quoted};
use crate::scene::{codes, decide, facts, good, parse, policy, rejection, state, verdict, with};

#[test]
fn a_list_of_listed_files_is_admitted_and_explains_its_pcr() {
    assert!(matches!(verdict(&policy(""), &good()), Verdict::Admit(_)));
}

#[test]
fn a_machine_without_a_list_is_refused() {
    let rejection = rejection(decide(&policy(""), None, &quoted(&good())));
    assert_eq!(rejection.because().collect::<Vec<_>>(), ["policy.ima.absent", "policy.pcr.unexplained"]);
}

#[test]
fn an_empty_list_is_refused() {
    assert_eq!(codes(&policy(""), &[]), ["policy.ima.absent"]);
}

#[test]
fn a_list_that_does_not_replay_is_refused_with_its_own_code() {
    let policy = policy("");
    let quoted = quoted(&with(Written::ng(&[9; 32], "/hidden")));
    let unusable = holdfast_appraisal::ima::judge(
        &policy,
        &list::bytes(&good()),
        None,
        &quoted,
        &crate::scene::quoted_pcrs(&quoted),
    )
    .unwrap_err();
    let rejection = rejection(decide(&policy, Some(&ImaSeen::Unusable(unusable)), &quoted));
    assert_eq!(rejection.because().collect::<Vec<_>>(), ["tpm.ima.no_prefix", "policy.pcr.unexplained"]);
}

#[test]
fn an_unlisted_file_is_refused_with_its_entry() {
    let entries = with(Written::ng(&[9; 32], "/tmp/evil\u{1b}[31m"));
    let rejection = rejection(verdict(&policy(""), &entries));
    let [difference] = rejection.differences.as_slice() else { panic!("{rejection}") };
    assert_eq!((difference.code, difference.line), ("policy.ima.not_allowed", 10));
    assert!(difference.found.starts_with("1 of 4 entries: /tmp/evil"), "{}", difference.found);
    let event = difference.values[0].event.as_ref().unwrap();
    assert_eq!((event.index, event.pcr, event.kind.as_str()), (3, 10, "ima-ng"));
    assert_eq!(event.digest, "09".repeat(32));
    assert!(!rejection.to_string().contains('\u{1b}'), "escaped where it is shown");
}

#[test]
fn of_many_unlisted_files_the_first_are_named_and_all_are_counted() {
    let more = (0..1_000).map(|n: u32| Written::ng(&sha256(&[&n.to_le_bytes()]), &format!("/tmp/{n}")));
    let entries: Vec<Written> = good().into_iter().chain(more).collect();
    let rejection = rejection(verdict(&policy(""), &entries));
    let [difference] = rejection.differences.as_slice() else { panic!("{rejection}") };
    assert_eq!(difference.values.len(), 8);
    assert!(difference.found.starts_with("1000 of 1003 entries: /tmp/0, /tmp/1,"), "{}", difference.found);
    assert!(difference.found.ends_with("and 992 more"), "{}", difference.found);
}

#[test]
fn the_boot_aggregate_comes_first_and_is_that_of_the_quoted_pcrs() {
    let policy = policy("");
    assert_eq!(codes(&policy, &good()[1..]), ["policy.ima.boot_aggregate"]);
    let mut other = good();
    other[0] = Written::ng(&[7; 32], "boot_aggregate");
    assert_eq!(codes(&policy, &other), ["policy.ima.boot_aggregate"]);
    let mut violation = good();
    violation[0].violation = true;
    assert_eq!(codes(&policy, &violation), ["policy.ima.boot_aggregate", "policy.ima.violation"]);
    let mut old = good();
    old[0] = Written::ng(&aggregate(8), "boot_aggregate");
    assert!(codes(&policy, &old).is_empty(), "0 to 7, as kernels before 5.8 have it");
}

#[test]
fn a_second_boot_aggregate_after_kexec_is_checked_too() {
    let policy = policy("");
    assert!(codes(&policy, &with(Written::ng(&aggregate(10), "boot_aggregate"))).is_empty());
    assert_eq!(state(&policy, &with(Written::ng(&aggregate(10), "boot_aggregate"))).unwrap().aggregates, 2);
    // Also where the digest is one of the set.
    assert_eq!(codes(&policy, &with(Written::ng(&[1; 32], "boot_aggregate"))), ["policy.ima.boot_aggregate"]);
}

#[test]
fn a_list_without_a_file_that_is_listed_or_signed_is_refused() {
    let policy = policy("exclude = \"/var/cache/**\"\nbuffer_names = \"kexec-cmdline\"\nviolations = \"tolerated\"");
    let alone = || vec![good()[0].clone()];
    assert_eq!(codes(&policy, &alone()), ["policy.ima.no_file"]);
    for nothing in [
        Written::ng(&[9; 32], "/var/cache/x"),
        Written::buf("sha256", &sha256(&[b"quiet"]), "kexec-cmdline", b"quiet"),
        Written::violation("/usr/bin/init"),
        Written::ng(&aggregate(10), "boot_aggregate"),
    ] {
        assert_eq!(codes(&policy, &[alone(), vec![nothing.clone()]].concat()), ["policy.ima.no_file"], "{nothing:?}");
    }
    assert!(codes(&policy, &good()[..2]).is_empty());
}

/// The name of the template is in no digest, so that a liar may write another where the fields are the same.
#[test]
fn a_buffer_relabelled_as_a_signed_file_and_a_file_as_a_buffer_are_refused() {
    let policy = policy("buffer_names = \"kexec-cmdline\"\nexclude = \"/var/**\"");
    // A buffer with a listed digest, told as a file.
    let mut buffer = with(Written::buf("sha256", &[1; 32], "kexec-cmdline", b"quiet"));
    buffer[3].template = "ima-sig";
    assert_eq!(codes(&policy, &buffer), ["policy.ima.template"]);
    // A buffer that names itself like a path which the rule leaves out.
    let mut path = with(Written::buf("sha256", &[9; 32], "/var/x", b"quiet"));
    assert_eq!(codes(&policy, &path), ["policy.ima.template"]);
    path[3].template = "ima-sig";
    assert_eq!(codes(&policy, &path), ["policy.ima.template"]);
    // A file without a path whose content is its own attribute, told as a buffer of an allowed name.
    let content = [&[3][..], b"#!evil"].concat();
    let mut file = with(Written::sig("sha256", &sha256(&[&content]), "kexec-cmdline", &content));
    assert_eq!(codes(&policy, &file), ["policy.ima.template"]);
    file[3].template = "ima-buf";
    assert_eq!(codes(&policy, &file), ["policy.ima.template"]);
    // A buffer called boot_aggregate is no aggregate, and counts as none.
    let aggregate = with(Written::buf("sha256", &aggregate(10), "boot_aggregate", b"x"));
    assert_eq!(codes(&policy, &aggregate), ["policy.ima.buffer"]);
    assert_eq!(state(&policy, &aggregate).unwrap().aggregates, 1);
}

#[test]
fn signatures_behind_many_false_ones_are_refused_without_being_computed() {
    let (key, good_signature) = signed(b"a file");
    let digest = sha256(&[b"a file"]);
    let policy = parse("keys = \"vendor.pem\"\nexclude = \"/var/**\"", &[("vendor.pem", &key)]).unwrap();
    let mut spoiled = good_signature.clone();
    *spoiled.last_mut().unwrap() ^= 1;
    let false_ones = |folder: &str| -> Vec<Written> {
        (0..200).map(|n| Written::sig("sha256", &digest, &format!("{folder}/{n}"), &spoiled)).collect()
    };
    let last = vec![Written::sig("sha256", &digest, "/usr/bin/last", &good_signature)];
    let list = |folder: &str| [vec![good()[0].clone()], false_ones(folder), last.clone()].concat();
    let tally = state(&policy, &list("/usr")).unwrap().rules["rack"].clone();
    assert_eq!(tally.refused.values().sum::<u64>(), 201);
    assert_eq!(tally.first[0].detail, "made by none of the keys");
    // Where a path is left to itself, its signature is not even looked at.
    assert!(state(&policy, &list("/var")).unwrap().rules["rack"].is_good());
}

#[test]
fn a_violation_is_refused_unless_tolerated_and_never_excluded_by_its_path() {
    let entries = with(Written::violation("/var/log/journal"));
    assert_eq!(codes(&policy("exclude = \"/var/log/**\""), &entries), ["policy.ima.violation"]);
    assert!(codes(&policy("violations = \"tolerated\""), &entries).is_empty());
}

#[test]
fn a_file_measured_by_sha1_is_refused_even_if_nothing_else_is_wrong() {
    assert_eq!(codes(&policy(""), &with(Written::ng_of("sha1", &[1; 20], "/usr/bin/a"))), ["policy.ima.weak_digest"]);
    assert_eq!(codes(&policy(""), &with(Written::ima(&[1; 20], "/usr/bin/a"))), ["policy.ima.weak_digest"]);
}

#[test]
fn exclusions_are_exact_paths_or_all_below_a_folder() {
    let policy = policy("exclude = [\"/etc/mtab\", \"/var/cache/**\"]");
    for (path, excluded) in [
        ("/etc/mtab", true),
        ("/etc/mtab2", false),
        ("/etc/mta", false),
        ("/var/cache/a/b", true),
        ("/var/cache", false),
        ("/var/cachet/x", false),
        ("/var/cache/../../usr/bin/sh", false),
        ("var/cache/x", false),
    ] {
        assert_eq!(codes(&policy, &with(Written::ng(&[9; 32], path))).is_empty(), excluded, "{path}");
    }
}

#[test]
fn buffers_are_admitted_by_name_or_digest_and_must_be_what_they_say() {
    let quiet = sha256(&[b"quiet"]);
    let buffer = |name: &str, content: &[u8]| with(Written::buf("sha256", &quiet, name, content));
    assert_eq!(codes(&policy(""), &buffer("kexec-cmdline", b"quiet")), ["policy.ima.buffer"]);
    let named = policy("buffer_names = \"kexec-cmdline\"");
    assert!(codes(&named, &buffer("kexec-cmdline", b"quiet")).is_empty());
    assert_eq!(codes(&named, &buffer("dm_table_load", b"quiet")), ["policy.ima.buffer"]);
    assert_eq!(codes(&named, &buffer("kexec-cmdline", b"loud")), ["policy.ima.buffer"], "not its digest");
    let listed = policy(&format!("buffer_digests = \"{}\"", hex::encode(quiet)));
    assert!(codes(&listed, &buffer("anything", b"quiet")).is_empty());
}

#[test]
fn a_listed_digest_does_not_admit_a_buffer() {
    let content = b"content";
    let digest = sha256(&[content]);
    let set = format!("{}\n", hex::encode(digest));
    let policy = parse("digests = \"set\"", &[("set", &set)]).unwrap();
    let list = vec![good()[0].clone(), Written::buf("sha256", &digest, ".ima", content)];
    assert_eq!(codes(&policy, &list), ["policy.ima.buffer"]);
}

#[test]
fn a_relabelled_or_unknown_template_is_refused() {
    let mut relabelled = with(Written::sig("sha256", &[1; 32], "/usr/bin/a", b""));
    relabelled[3].template = "ima-ng";
    assert_eq!(codes(&policy(""), &relabelled), ["policy.ima.template"]);
    relabelled[3].template = "d-ng|n-ng|sig";
    assert_eq!(codes(&policy(""), &relabelled), ["policy.ima.template"]);
    relabelled[3].template = "ima-sig";
    assert!(codes(&policy(""), &relabelled).is_empty());
}

#[test]
fn padded_sha1_template_hashes_count_only_where_accepted() {
    let quoted = Quoted { pcr: pcr(Bank::Sha256, &good(), true), ..quoted(&good()) };
    for (more, expected) in
        [("", vec!["policy.ima.sha1_template_hash"]), ("sha1_template_hashes = \"accepted\"", Vec::new())]
    {
        let policy = policy(more);
        let pcrs = crate::scene::quoted_pcrs(&quoted);
        let state = holdfast_appraisal::ima::judge(&policy, &list::bytes(&good()), None, &quoted, &pcrs).unwrap();
        let found = match decide(&policy, Some(&ImaSeen::Judged(state)), &quoted) {
            Verdict::Admit(_) => Vec::new(),
            other => rejection(other).because().collect(),
        };
        assert_eq!(found, expected);
    }
}

/// A key in PEM and a signature over the file's content.
fn signed(content: &[u8]) -> (String, Vec<u8>) {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &rng).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let key = holdfast_evidence::crypto::PublicKey::ec(holdfast_evidence::crypto::Curve::P256, x, y).unwrap();
    let signature = pair.sign(&rng, content).unwrap();
    let length = u16::try_from(signature.as_ref().len()).unwrap().to_be_bytes();
    let id = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, pair.public_key().as_ref());
    let attribute = [&[3, 2, 4], &id.as_ref()[16..], &length, signature.as_ref()].concat();
    (pem::encode(&pem::Pem::new("PUBLIC KEY", key.spki())), attribute)
}

#[test]
fn signed_files_are_admitted_by_their_key_alone() {
    let (key, signature) = signed(b"a file");
    let (other, _) = signed(b"a file");
    let digest = sha256(&[b"a file"]);
    let list = |signature: &[u8], digest: &[u8; 32]| {
        vec![good()[0].clone(), Written::sig("sha256", digest, "/usr/bin/a", signature)]
    };
    let by = |key: &str| parse("keys = \"vendor.pem\"", &[("vendor.pem", key)]).unwrap();
    assert!(codes(&by(&key), &list(&signature, &digest)).is_empty());
    assert!(codes(&by(&format!("{other}{key}")), &list(&signature, &digest)).is_empty());
    assert_eq!(codes(&by(&other), &list(&signature, &digest)), ["policy.ima.signature"]);
    assert_eq!(codes(&by(&key), &list(&signature, &[9; 32])), ["policy.ima.signature"]);
    let mut of_another_name = signature.clone();
    of_another_name[3] ^= 1;
    assert_eq!(codes(&by(&key), &list(&of_another_name, &digest)), ["policy.ima.signature"]);
    assert_eq!(codes(&by(&key), &list(b"", &digest)), ["policy.ima.unsigned"]);
    let both = parse(
        "digests = \"set\"\nkeys = \"vendor.pem\"",
        &[("set", &crate::scene::digests(&[1])), ("vendor.pem", &key)],
    )
    .unwrap();
    let mut mixed = list(&signature, &digest);
    mixed.push(Written::ng(&[1; 32], "/usr/bin/listed"));
    assert!(codes(&both, &mixed).is_empty(), "listed or signed");
}

#[test]
fn a_state_of_another_quote_or_policy_is_not_taken() {
    let ours = policy("");
    let state = state(&ours, &good()).unwrap();
    let other_quote = quoted(&with(Written::ng(&[1; 32], "/usr/bin/init")));
    let seen = ImaSeen::Judged(state);
    assert_eq!(
        rejection(decide(&ours, Some(&seen), &other_quote)).because().collect::<Vec<_>>(),
        ["policy.ima.absent", "policy.pcr.unexplained"]
    );
    let other_policy = policy("violations = \"tolerated\"");
    assert_eq!(
        rejection(decide(&other_policy, Some(&seen), &quoted(&good()))).because().collect::<Vec<_>>(),
        ["policy.ima.absent", "policy.pcr.unexplained"]
    );
}

#[test]
fn what_was_counted_becomes_facts() {
    let policy = policy("violations = \"tolerated\"");
    let entries = with(Written::violation("/var/log/journal"));
    let mut facts = facts(&quoted(&entries));
    attach(&mut facts, &policy, Some(&ImaSeen::Judged(state(&policy, &entries).unwrap())));
    for (name, expected) in [
        ("tpm.ima.entries", "4"),
        ("tpm.ima.violations", "1"),
        ("tpm.ima.boot_aggregates", "1"),
        ("tpm.ima.template_hash", "bank"),
    ] {
        let fact = facts.get(FactId::parse(name).unwrap()).unwrap();
        assert_eq!(fact.values[0].to_string(), expected, "{name}");
    }
    assert!(facts.unexplained_pcrs().is_empty());
}

#[test]
fn no_waiver_lets_an_unlisted_file_pass() {
    let bad = with(Written::ng(&[9; 32], "/usr/bin/evil"));
    let policy = policy(&format!(
        "[rule.require]\ntpm.pcr.10 = \"{}\"\n[[waiver]]\nname = \"w\"\nreason = \"x\"\nowner = \"x\"\n\
         valid_until = 2026-07-01T00:00:00Z\nwhen.tpm.class = {{ any_of = [\"firmware\"] }}\nrule = \"rack\"\n\
         facts = [\"tpm.pcr.10\"]\ninstead.tpm.pcr.10 = {{ one_of = [\"{}\", \"{}\"] }}\n",
        "00".repeat(32),
        quoted(&good()).pcr,
        quoted(&bad).pcr
    ));
    let Verdict::Admit(grant) = verdict(&policy, &good()) else { panic!("refused") };
    assert_eq!(grant.waivers.len(), 1);
    assert_eq!(codes(&policy, &bad), ["policy.ima.not_allowed"]);
}
