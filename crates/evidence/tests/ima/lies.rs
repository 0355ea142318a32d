//! A test per lie: each changes one thing of a list that was good.

use holdfast_evidence::tpm::ima::{
    AggregateOf, AggregateRefused, Counters, Entries, Hashing, ImaRefused, Measured, Quoted, Resume, replay,
};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrValues};

use crate::list::{COUNTERS, Written, aggregate, boot_pcrs, bytes, pcr, quoted, sample};

fn refused(entries: &[Written], quoted: &Quoted) -> ImaRefused {
    replay(&bytes(entries), None, quoted).map(|replayed| replayed.count()).unwrap_err()
}

fn leads_nowhere(entries: &[Written]) {
    let found = refused(entries, &quoted(&sample()));
    assert!(matches!(found, ImaRefused::NoPrefix { .. }), "{found}");
    assert_eq!(found.code(), "tpm.ima.no_prefix");
}

#[test]
fn the_whole_list_replays() {
    let list = bytes(&sample());
    let replayed = replay(&list, None, &quoted(&sample())).unwrap();
    assert_eq!((replayed.count(), replayed.not_attested()), (9, 0));
    assert_eq!(replayed.resume().offset, list.len() as u64);
    assert!(replayed.is_from_the_start());
}

#[test]
fn a_cut_log_is_refused() {
    leads_nowhere(&sample()[..8]);
    leads_nowhere(&[]);
    let list = bytes(&sample());
    let found = replay(&list[..list.len() - 1], None, &quoted(&sample())).unwrap_err();
    assert!(matches!(found, ImaRefused::Malformed { index: 8, .. }), "{found}");
}

#[test]
fn a_reordered_log_is_refused() {
    let mut entries = sample();
    entries.swap(1, 2);
    leads_nowhere(&entries);
}

#[test]
fn a_log_without_one_entry_is_refused() {
    for left_out in 0..sample().len() {
        let mut entries = sample();
        entries.remove(left_out);
        leads_nowhere(&entries);
    }
}

#[test]
fn a_log_with_an_entry_twice_is_refused() {
    let mut entries = sample();
    entries.insert(1, entries[1].clone());
    leads_nowhere(&entries);
}

#[test]
fn a_flipped_file_digest_is_refused() {
    let mut entries = sample();
    entries[1] = Written::ng(&[0xaa; 32], "/usr/bin/init");
    leads_nowhere(&entries);
}

#[test]
fn another_path_under_the_same_digest_is_refused() {
    let mut entries = sample();
    entries[1] = Written::ng(&[1; 32], "/usr/bin/tini");
    leads_nowhere(&entries);
}

#[test]
fn data_changed_under_the_right_template_hash_is_refused() {
    let genuine = sample();
    let mut list = bytes(&genuine);
    let at = genuine[0].bytes().len() + genuine[1].bytes().len() - 3;
    list[at] ^= 1;
    assert!(matches!(replay(&list, None, &quoted(&genuine)), Err(ImaRefused::NoPrefix { .. })));
    // Under a bank of padded SHA-1 hashes the column leads to the quoted value, and the data is what lies.
    let padded = Quoted { pcr: pcr(Bank::Sha256, &genuine, true), ..quoted(&genuine) };
    assert_eq!(replay(&list, None, &padded).unwrap_err(), ImaRefused::TemplateHash { index: 1 });
}

#[test]
fn the_column_proves_nothing_where_the_bank_has_its_own_hash() {
    let genuine = sample();
    let mut list = bytes(&genuine);
    list[4] ^= 1;
    let replayed = replay(&list, None, &quoted(&genuine)).unwrap();
    assert_eq!(replayed.resume().hashing, Hashing::OfBank);
    let padded = Quoted { pcr: pcr(Bank::Sha256, &genuine, true), ..quoted(&genuine) };
    assert!(matches!(replay(&list, None, &padded), Err(ImaRefused::NoPrefix { .. })));
}

#[test]
fn a_hidden_violation_is_refused() {
    let mut entries = sample();
    entries[4].violation = false;
    leads_nowhere(&entries);
    entries.remove(4);
    leads_nowhere(&entries);
}

#[test]
fn an_invented_violation_is_refused() {
    let mut entries = sample();
    entries[1].violation = true;
    leads_nowhere(&entries);
}

#[test]
fn a_violation_proves_neither_its_path_nor_that_it_is_of_a_file() {
    let mut entries = sample();
    entries[4] = Written::violation("/another/path");
    let list = bytes(&entries);
    let replayed = replay(&list, None, &quoted(&sample())).unwrap();
    assert!(replayed.entries().nth(4).unwrap().unwrap().is_violation());
}

#[test]
fn an_entry_of_another_pcr_is_refused() {
    let genuine = sample();
    let mut list = bytes(&genuine);
    list[genuine[0].bytes().len()] = 11;
    assert_eq!(replay(&list, None, &quoted(&genuine)).unwrap_err(), ImaRefused::OtherPcr { index: 1, found: 11 });
}

/// The template's name is in no digest, so a relabelled list replays: but then its data does not fit.
#[test]
fn a_relabelled_template_says_nothing() {
    let genuine = sample();
    for (at, name, expected) in [(1, "ima-sig", true), (1, "ima-buf", true), (2, "ima-ng", true), (3, "ima-ng", true)] {
        let mut entries = genuine.clone();
        entries[at].template = name;
        let list = bytes(&entries);
        let replayed = replay(&list, None, &quoted(&genuine)).unwrap();
        let measured = Measured::of(&replayed.entries().nth(at).unwrap().unwrap());
        assert_eq!(measured == Measured::Nothing, expected, "{at} as {name}: {measured:?}");
    }
    let mut entries = genuine.clone();
    entries[5].template = "ima-ng";
    leads_nowhere(&entries);
}

/// `ima-sig` and `ima-buf` have the same fields, so that the other name fits: what is told must not depend on it.
#[test]
fn a_buffer_under_the_name_of_a_file_says_nothing_and_a_file_under_that_of_a_buffer() {
    let said = |genuine: &Written, label: &'static str| {
        let relabelled = Written { template: label, ..genuine.clone() };
        let list = relabelled.bytes();
        let replayed = replay(&list, None, &quoted(std::slice::from_ref(genuine))).unwrap();
        match Measured::of(&replayed.entries().next().unwrap().unwrap()) {
            Measured::File { .. } => "file",
            Measured::Buffer { .. } => "buffer",
            Measured::Nothing => "nothing",
        }
    };
    let buffers = [
        Written::buf("sha256", &[3; 32], "kexec-cmdline", b"quiet"),
        // Its content could be a signature: nobody can tell.
        Written::buf("sha256", &[3; 32], "kexec-cmdline", &[3, 2, 4, 0, 0, 0, 0, 0, 1, 9]),
        Written::buf("sha256", &[3; 32], "boot_aggregate", b"x"),
        Written::buf("sha256", &[3; 32], "/usr/bin/sh", b"x"),
        Written::buf("sha256", &[3; 32], "dm_table_load", b""),
    ];
    assert_eq!(buffers.each_ref().map(|b| said(b, "ima-buf")), ["buffer", "nothing", "buffer", "nothing", "nothing"]);
    let unsigned_file = "file";
    // The last has neither content nor signature: the kernel measures no empty buffer, so that it was a file.
    assert_eq!(
        buffers.each_ref().map(|b| said(b, "ima-sig")),
        ["nothing", "nothing", "nothing", "nothing", unsigned_file]
    );
    let files = [
        Written::sig("sha256", &[1; 32], "/usr/bin/sh", b""),
        Written::sig("sha256", &[1; 32], "/usr/bin/sh", &[3, 2, 4, 0, 0, 0, 0, 0, 1, 9]),
        // A file without a path, as of a detached mount, with an attribute of its owner's making.
        Written::sig("sha256", &[1; 32], "kexec-cmdline", &[3, b'x']),
        Written::sig("sha256", &[1; 32], "memfd:x", b""),
    ];
    assert_eq!(files.each_ref().map(|file| said(file, "ima-sig")), ["file", "file", "nothing", "file"]);
    assert_eq!(files.each_ref().map(|file| said(file, "ima-buf")), ["nothing"; 4]);
}

#[test]
fn templates_of_typed_digests_say_of_what_the_digest_is_and_fit_no_other_name() {
    use holdfast_evidence::tpm::ima::DigestOf;
    let of = |written: &Written| {
        let list = written.bytes();
        match Measured::of(&Entries::new(&list, 0).next().unwrap().unwrap()) {
            Measured::File { of, .. } => Some(of),
            _ => None,
        }
    };
    let typed = |word: &str, template: &'static str| {
        let plain = Written::ng_of(&format!("{word}sha256"), &[1; 32], "/usr/bin/sh");
        Written { template, ..plain }
    };
    assert_eq!(of(&typed("ima:", "ima-ngv2")), Some(DigestOf::Content));
    assert_eq!(of(&typed("verity:", "ima-ngv2")), Some(DigestOf::Verity));
    assert_eq!(of(&typed("", "ima-ng")), Some(DigestOf::Unsaid));
    for (word, template) in [("", "ima-ngv2"), ("other:", "ima-ngv2"), ("ima:", "ima-sigv2")] {
        assert_eq!(of(&typed(word, template)), None, "{word} as {template}");
    }
    // Under the older name the word stands before the algorithm's, and the digest is of no hash that is known.
    let list = typed("verity:", "ima-ng").bytes();
    let measured = Measured::of(&Entries::new(&list, 0).next().unwrap().unwrap());
    assert!(matches!(measured, Measured::File { digest: holdfast_evidence::tpm::ima::FileDigest::Weak(_), .. }));
}

#[test]
fn the_aggregate_of_another_machine_is_refused_and_both_forms_are_known() {
    let check = |digest: &[u8; 32]| {
        let list = Written::ng(digest, "boot_aggregate").bytes();
        let entry = Entries::new(&list, 0).next().unwrap().unwrap();
        AggregateOf::check(&entry, &boot_pcrs())
    };
    assert_eq!(check(&aggregate(10)), Ok(AggregateOf::FirstTen));
    assert_eq!(check(&aggregate(8)), Ok(AggregateOf::FirstEight));
    assert!(matches!(check(&aggregate(9)), Err(AggregateRefused::Differs { .. })));
    let sha1 = Written::ng_of("sha1", &[1; 20], "boot_aggregate").bytes();
    let entry = Entries::new(&sha1, 0).next().unwrap().unwrap();
    assert_eq!(AggregateOf::check(&entry, &boot_pcrs()), Err(AggregateRefused::OtherBank { bank: Bank::Sha256 }));
    let violation = Written { violation: true, ..Written::ng(&aggregate(10), "boot_aggregate") }.bytes();
    let entry = Entries::new(&violation, 0).next().unwrap().unwrap();
    assert_eq!(AggregateOf::check(&entry, &boot_pcrs()), Err(AggregateRefused::Nothing));
    let list = Written::ng(&aggregate(10), "boot_aggregate").bytes();
    let entry = Entries::new(&list, 0).next().unwrap().unwrap();
    let nothing = PcrValues::new(Bank::Sha256);
    assert_eq!(AggregateOf::check(&entry, &nothing), Err(AggregateRefused::NotQuoted));
}

#[test]
fn what_stands_behind_the_exact_prefix_is_dropped() {
    let genuine = sample();
    let mut longer = genuine.clone();
    longer.push(Written::ng(&[7; 32], "/not/yet/attested"));
    let list = [bytes(&longer), vec![0xff; 40]].concat();
    let replayed = replay(&list, None, &quoted(&genuine)).unwrap();
    assert_eq!(replayed.count(), 9);
    assert_eq!(replayed.not_attested(), list.len() - bytes(&genuine).len());
    assert!(replayed.entries().all(|entry| Measured::of(&entry.unwrap()).name() != b"/not/yet/attested"));
}

#[test]
fn replay_goes_on_where_it_ended() {
    let whole = sample();
    let list = bytes(&whole);
    for split in 0..=whole.len() {
        let first = replay(&list, None, &quoted(&whole[..split])).unwrap();
        let resume = Resume::parse(&first.resume().encode()).unwrap();
        assert_eq!(&resume, first.resume());
        let rest = &list[usize::try_from(resume.offset).unwrap()..];
        let second = replay(rest, Some(&resume), &quoted(&whole)).unwrap();
        assert_eq!((first.count() + second.count(), second.resume().entries), (9, 9));
        assert_eq!(second.resume().offset, list.len() as u64);
        let indices: Vec<u64> = second.entries().map(|entry| entry.unwrap().index).collect();
        assert_eq!(indices, (split as u64..9).collect::<Vec<_>>());
    }
}

#[test]
fn an_unchanged_prefix_reads_nothing() {
    let list = bytes(&sample());
    let first = replay(&list, None, &quoted(&sample())).unwrap();
    let again = replay(b"no list at all", Some(first.resume()), &quoted(&sample())).unwrap();
    assert_eq!((again.count(), again.not_attested(), again.resume()), (0, 14, first.resume()));
}

#[test]
fn a_prefix_of_another_boot_or_bank_does_not_stand() {
    let list = bytes(&sample());
    let resume = *replay(&list, None, &quoted(&sample())).unwrap().resume();
    for counters in [Counters { resets: 8, ..COUNTERS }, Counters { restarts: 2, ..COUNTERS }] {
        let refused = replay(b"", Some(&resume), &Quoted { counters, ..quoted(&sample()) }).unwrap_err();
        assert_eq!((refused.code(), refused.wants_the_whole_list()), ("tpm.ima.other_boot", true));
    }
    let other = Quoted { bank: Bank::Sha384, pcr: pcr(Bank::Sha384, &sample(), false), ..quoted(&sample()) };
    assert_eq!(replay(b"", Some(&resume), &other).unwrap_err(), ImaRefused::OtherBank);
}

/// As after TPM2_Clear, which begins both counters anew: the same counters, the same PCR 10, another kernel.
#[test]
fn a_prefix_under_other_boot_registers_does_not_stand_although_counters_agree() {
    let list = bytes(&sample());
    let resume = *replay(&list, None, &quoted(&sample())).unwrap().resume();
    for index in 0..10 {
        let mut pcrs = boot_pcrs();
        pcrs.set(PcrIndex::new(index).unwrap(), Bank::Sha256.digest(&[b"another"]));
        let boot = Quoted::boot(&pcrs);
        let refused = replay(b"", Some(&resume), &Quoted { boot, ..quoted(&sample()) }).unwrap_err();
        assert_eq!((refused.code(), refused.wants_the_whole_list()), ("tpm.ima.other_pcrs", true), "PCR {index}");
    }
    let unquoted = Quoted::boot(&PcrValues::new(Bank::Sha256));
    let unquoted = Quoted { boot: unquoted, ..quoted(&sample()) };
    assert_eq!(replay(b"", Some(&resume), &unquoted).unwrap_err(), ImaRefused::OtherPcrs);
}

#[test]
fn padded_hashes_are_told_from_real_ones() {
    for bank in Bank::ALL {
        let quoted = Quoted { bank, pcr: pcr(bank, &sample(), true), ..quoted(&sample()) };
        let list = bytes(&sample());
        let replayed = replay(&list, None, &quoted).unwrap();
        assert_eq!((replayed.resume().hashing, replayed.count()), (Hashing::Sha1Padded, 9));
    }
}

#[test]
fn a_name_with_a_zero_inside_says_nothing() {
    let hidden = Written::ng(&[1; 32], "/usr/bin/sh\0/evil");
    let list = bytes(std::slice::from_ref(&hidden));
    let replayed = replay(&list, None, &quoted(std::slice::from_ref(&hidden))).unwrap();
    assert_eq!(Measured::of(&replayed.entries().next().unwrap().unwrap()), Measured::Nothing);
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_taken() {
    let mut list = bytes(&sample());
    list[24..28].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let refused = replay(&list, None, &quoted(&sample())).unwrap_err();
    assert!(matches!(refused, ImaRefused::Malformed { index: 0, .. }), "{refused}");
    assert_eq!(refused.code(), "tpm.ima.malformed");
}
