//! Real lists under a policy made of their own digests. Reads `shared/vectors`.

use holdfast_appraisal::ima::judge;
use holdfast_evidence::crypto::Digest;
use holdfast_evidence::tpm::ima::{FileDigest, Measured, Quoted, replay};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrValues};

use crate::list::COUNTERS;
use crate::scene::parse;
use crate::vectors;

fn pcrs(text: &str) -> PcrValues {
    let mut values = PcrValues::new(Bank::Sha256);
    let bank = text.split("sha256:").nth(1).unwrap().split("sha384:").next().unwrap();
    for line in bank.lines() {
        let Some((pcr, hex)) = line.split_once(": 0x") else { continue };
        let digest = Digest::new(Bank::Sha256, &hex::decode(hex.trim()).unwrap()).unwrap();
        values.set(PcrIndex::new(pcr.trim().parse().unwrap()).unwrap(), digest);
    }
    values
}

#[test]
fn a_real_boot_is_admitted_by_its_own_digests_and_refused_without_one() {
    let Some(root) = vectors::folder() else { return };
    let folder = root.join("vm/uki-nosb");
    let log = std::fs::read(folder.join("binary_runtime_measurements.after")).unwrap();
    let pcrs = pcrs(&std::fs::read_to_string(folder.join("pcrs.txt")).unwrap());
    let (pcr, boot) = (*pcrs.get(PcrIndex::IMA).unwrap(), Quoted::boot(&pcrs));
    let quoted = Quoted { bank: Bank::Sha256, pcr, counters: COUNTERS, boot };
    let mut lines = Vec::new();
    for entry in replay(&log, None, &quoted).unwrap().entries() {
        if let Measured::File { digest: FileDigest::Strong(_, digest), path, .. } = Measured::of(&entry.unwrap()) {
            lines.push(format!("sha256:{}  {}", hex::encode(digest), String::from_utf8_lossy(path)));
        }
    }
    let judged = |set: &str| {
        let policy = parse("digests = \"set\"", &[("set", set)]).unwrap();
        judge(&policy, &log, None, &quoted, &pcrs).unwrap().rules["rack"].clone()
    };
    assert!(judged(&lines.join("\n")).is_good());
    let tally = judged(&lines[..lines.len() - 1].join("\n"));
    assert_eq!((tally.first.len(), tally.first[0].index), (1, lines.len() as u64 - 1));
    assert!(lines.last().unwrap().ends_with(&tally.first[0].name));
}
