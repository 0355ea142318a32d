//! What a list of measured files costs, above the two hashes of each entry that nobody can leave out.

use std::hint::black_box;
use std::time::Instant;

use holdfast_appraisal::ima::{DigestSet, judge};
use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::crypto::{Digest, HashAlg, sha256};
use holdfast_evidence::tpm::ima::{Counters, Entries, Quoted, replay};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrValues};

use crate::report::{Row, median};

/// Entries of the list.
const ENTRIES: u32 = 100_000;
/// Digests of the set, among them those of the list.
const DIGESTS: u32 = 1_000_000;
/// Rounds of some hundred milliseconds each.
const ROUNDS: usize = 25;

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/tpm/{tpm.machine}"
[[rule]]
name = "rack"
ownership = "inventory"
trust_classes = ["discrete"]
[rule.ima]
digests = "files.digests"
exclude = ["/var/cache/**"]
"#;

/// A list, and the quote that it leads to.
struct Machine {
    log: Vec<u8>,
    quoted: Quoted,
    pcrs: PcrValues,
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("short").to_le_bytes()[..], bytes].concat()
}

fn digest(number: u32) -> [u8; 32] {
    sha256(&[&number.to_le_bytes()])
}

fn machine() -> Machine {
    let mut pcrs = PcrValues::new(Bank::Sha256);
    for index in 0..10 {
        pcrs.set(PcrIndex::new(index).expect("below 24"), Digest::zero(HashAlg::Sha256));
    }
    let aggregate = sha256(&[&[0; 320]]);
    let files = (1..ENTRIES).map(|n| (digest(n * 7), format!("/usr/lib/x86_64-linux-gnu/package-{n}/libexample.so.1")));
    let mut log = Vec::new();
    let mut pcr = Digest::zero(HashAlg::Sha256);
    for (digest, path) in std::iter::once((aggregate, "boot_aggregate".to_owned())).chain(files) {
        let data = [field(&[b"sha256:\0", &digest[..]].concat()), field(&[path.as_bytes(), b"\0"].concat())].concat();
        // The column is a hint in this bank; it must not be zero.
        log.extend([&10_u32.to_le_bytes()[..], &[1; 20], &field(b"ima-ng"), &field(&data)].concat());
        pcr = pcr.extended(HashAlg::Sha256, &sha256(&[&data]));
    }
    pcrs.set(PcrIndex::IMA, pcr);
    let quoted =
        Quoted { bank: Bank::Sha256, pcr, counters: Counters { resets: 1, restarts: 0 }, boot: Quoted::boot(&pcrs) };
    Machine { log, quoted, pcrs }
}

/// The medians of `work` and `floor` in milliseconds, taken in turn.
fn in_turn(mut work: impl FnMut(), mut floor: impl FnMut()) -> (f64, f64) {
    let timed = |what: &mut dyn FnMut()| {
        let from = Instant::now();
        what();
        from.elapsed().as_secs_f64() * 1e3
    };
    let (mut works, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        works.push(timed(&mut work));
        floors.push(timed(&mut floor));
    }
    (median(&mut works), median(&mut floors))
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let set: String = (0..DIGESTS).map(|n| format!("{}\n", hex::encode(digest(n)))).collect();
    let from = Instant::now();
    let digests = DigestSet::parse(&set).map_err(|bad| anyhow::anyhow!("line {}: {bad}", bad.line))?;
    let built = from.elapsed().as_secs_f64() * 1e3;
    let documents = [Document { name: "files.digests", text: &set }];
    let policy = Policy::parse(Document { name: "bench.toml", text: POLICY }, &documents)
        .map_err(|findings| anyhow::anyhow!("{findings:#?}"))?;
    let Machine { log, quoted, pcrs } = machine();
    let data: Vec<&[u8]> = Entries::new(&log, 0).flatten().map(|entry| entry.data).collect();
    let judged = judge(&policy, &log, None, &quoted, &pcrs)?;
    anyhow::ensure!(judged.rules.values().all(holdfast_appraisal::ima::Tally::is_good), "{:?}", judged.rules);
    let floor = || {
        let mut pcr = [0_u8; 64];
        for data in &data {
            let hash = ring::digest::digest(&ring::digest::SHA256, data);
            pcr[32..].copy_from_slice(hash.as_ref());
            let extended = ring::digest::digest(&ring::digest::SHA256, &pcr);
            pcr[..32].copy_from_slice(extended.as_ref());
        }
        black_box(pcr);
    };
    let (value, least) =
        in_turn(|| drop(black_box(judge(&policy, black_box(&log), None, &quoted, &pcrs).expect("judged"))), floor);
    let mut rows = vec![Row::new("ima_100k", value, "ms").floor(least).note(format!(
        "replay and policy: {ENTRIES} entries, {} bytes, against {} digests; floor: 2 SHA-256 an entry; aim 1.5",
        log.len(),
        digests.len()
    ))];
    let (value, least) = in_turn(
        || {
            black_box(replay(black_box(&log), None, &quoted).expect("replays"));
        },
        floor,
    );
    rows.push(Row::new("ima_100k_replay", value, "ms").floor(least).note("replay alone; same floor"));
    let from = Instant::now();
    for _ in 0..1_000 {
        black_box(judge(&policy, &[], Some(&judged), &quoted, &pcrs)?);
    }
    let value = from.elapsed().as_secs_f64() * 1e3;
    rows.push(
        Row::new("ima_unchanged", value, "us").note("the whole judgement of a list that did not grow; aim: nothing"),
    );
    let bytes = digests.bytes() as f64 / digests.len() as f64;
    rows.push(Row::new("ima_digest_bytes", bytes, "bytes").note("memory of one digest of a set of a million; aim 75"));
    rows.push(Row::new("ima_digests_read", built, "ms").note("reading that set, once for each policy version"));
    Ok(rows)
}
