//! The kernel's list of measured files, what is kept of it, and the files by which a policy judges it.

use holdfast_appraisal::ima::{DigestSet, ImaState};
use holdfast_evidence::crypto::Digest;
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::tpm::ima::{Counters, Entries, Measured, Quoted, Resume, keys_of_pem, replay};

use super::fuzz;

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}

/// One entry of each template.
fn list() -> Vec<u8> {
    let named = |name: &str| {
        [field(&[&b"sha256:\0"[..], &[7; 32]].concat()), field(&[name.as_bytes(), b"\0"].concat())].concat()
    };
    let entry =
        |template: &str, data: &[u8]| [&10_u32.to_le_bytes()[..], &[1; 20], &field(template.as_bytes()), data].concat();
    [
        entry("ima-ng", &field(&named("boot_aggregate"))),
        entry("ima-sig", &field(&[named("/usr/bin/sh"), field(&[3, 2, 4, 0, 0, 0, 0, 0, 1, 9])].concat())),
        entry("ima-buf", &field(&[named("kexec-cmdline"), field(b"quiet")].concat())),
        entry("ima", &[&[5; 20][..], &field(b"/old")].concat()),
    ]
    .concat()
}

fn kept() -> Resume {
    Resume {
        bank: Bank::Sha256,
        hashing: holdfast_evidence::tpm::ima::Hashing::OfBank,
        counters: Counters { resets: 1, restarts: 0 },
        boot: [4; 32],
        offset: 9,
        entries: 1,
        pcr: Digest::zero(Bank::Sha256),
    }
}

#[test]
fn lists_of_measured_files() {
    fuzz("ima", &[list()], |bytes| {
        for entry in Entries::new(bytes, 0).flatten() {
            let _ = Measured::of(&entry);
        }
        for bank in Bank::ALL {
            let quoted = Quoted { bank, pcr: Digest::ones(bank), counters: kept().counters, boot: kept().boot };
            assert!(replay(bytes, None, &quoted).is_err() && replay(bytes, Some(&kept()), &quoted).is_err());
        }
    });
}

#[test]
fn what_is_kept_of_a_list_and_files_of_digests_and_keys() {
    let state = ImaState {
        policy: "ab".to_owned(),
        resume: kept(),
        violations: 0,
        aggregates: 1,
        rules: std::collections::BTreeMap::new(),
    };
    let digests = format!("# good\n{}  /usr/bin/sh\nsha512:{} x\n", "ab".repeat(32), "cd".repeat(64));
    let seeds = [
        kept().encode(),
        state.encode().into_bytes(),
        digests.into_bytes(),
        b"-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n".to_vec(),
    ];
    fuzz("ima-files", &seeds, |bytes| {
        let _ = Resume::parse(bytes);
        let _ = keys_of_pem(bytes);
        let text = String::from_utf8_lossy(bytes);
        let _ = DigestSet::parse(&text).map(|set| set.contains(Bank::Sha256, &[7; 32]));
        let _ = ImaState::parse(&text);
    });
}
