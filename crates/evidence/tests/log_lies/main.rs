//! Logs with lies: whatever is said beside the right digests, nothing becomes a fact that its digest does not prove.
//! Each lie by name on a small boot, then all of them, drawn at random, on every real log.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[path = "../log/mod.rs"]
mod log;
mod oracle;
#[path = "../vectors/mod.rs"]
mod vectors;

use holdfast_evidence::tpm::event_log::{BootFacts, EventLog, EventType};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSet};
use log::{Entry, bank_of, bound, encode, separator};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What a verifier that holds a quote over the true log makes of another one: the code of its refusal, or the facts.
fn judged(truth: &[Entry], told: &[u8]) -> Result<(Vec<Entry>, BootFacts), &'static str> {
    let honest = encode(truth);
    let bank = bank_of(&truth[0].digest);
    let quoted = EventLog::parse(&honest).unwrap().replay(bank).unwrap();
    let log = EventLog::parse(told).map_err(|refusal| refusal.code())?;
    let replay = log.replay(bank).map_err(|refusal| refusal.code())?;
    let proven: PcrSet = PcrIndex::all().filter(|pcr| replay.value(*pcr) == quoted.value(*pcr)).collect();
    let facts = BootFacts::derive(&log, bank, proven).map_err(|refusal| refusal.code())?;
    Ok((entries(&log, bank), facts))
}

/// The events as they were told, without the Spec ID event, which the encoder writes itself.
fn entries(log: &EventLog<'_>, bank: Bank) -> Vec<Entry> {
    let told = log.events().iter().filter(|event| event.index > 0);
    let entry = |event: &holdfast_evidence::tpm::event_log::Event<'_>| Entry {
        pcr: event.pcr,
        kind: event.kind,
        digest: event.digest(bank).map(<[u8]>::to_vec).unwrap_or_default(),
        data: event.data.to_vec(),
    };
    told.map(entry).collect()
}

/// Refused, or nothing but what the digests prove; says which.
fn holds_no_lie(truth: &[Entry], told: &[u8]) -> &'static str {
    match judged(truth, told) {
        Err(code) => code,
        Ok((entries, facts)) => {
            let (_, honest) = judged(truth, &encode(truth)).unwrap();
            oracle::nothing_but_what_digests_prove(&entries, &facts);
            oracle::nothing_is_hidden(&honest, &facts);
            "accepted"
        }
    }
}

fn place(truth: &[Entry], pcr: u32, kind: EventType) -> usize {
    truth.iter().position(|entry| (entry.pcr, entry.kind) == (pcr, kind)).unwrap()
}

#[test]
fn the_truth_is_accepted() {
    assert_eq!(holds_no_lie(&log::boot(), &encode(&log::boot())), "accepted");
}

#[test]
fn a_type_swapped_under_a_right_digest_proves_nothing_new() {
    let truth = log::boot();
    let mut outcomes = std::collections::BTreeSet::new();
    for at in 0..truth.len() {
        for kind in kinds() {
            let mut told = truth.clone();
            told[at].kind = kind;
            outcomes.insert(holds_no_lie(&truth, &encode(&told)));
        }
    }
    assert!(outcomes.contains("accepted") && outcomes.contains("tpm.event_log.data_not_measured"), "{outcomes:?}");
    assert!(outcomes.contains("tpm.event_log.separator_missing"), "{outcomes:?}");
}

#[test]
fn data_swapped_under_a_right_digest_proves_nothing_new() {
    let truth = log::boot();
    for at in 0..truth.len() {
        for from in 0..truth.len() {
            let mut told = truth.clone();
            told[at].data = truth[from].data.clone();
            holds_no_lie(&truth, &encode(&told));
        }
    }
    let mut told = truth.clone();
    let line = told.iter_mut().find(|entry| entry.data.starts_with(b"kernel_cmdline: ")).unwrap();
    line.data = b"kernel_cmdline: /vmlinuz lockdown=confidentiality\0".to_vec();
    let (_, facts) = judged(&truth, &encode(&told)).unwrap();
    assert_eq!(facts.command_lines().filter_map(|line| line.text).count(), 0);
}

#[test]
fn a_relabelled_prefix_hides_no_command_line() {
    let truth = log::boot();
    let at = truth.iter().position(|entry| entry.data.starts_with(b"kernel_cmdline: ")).unwrap();
    for label in ["grub_cmd", "module_cmdline", "kernel_cmdline", "x"] {
        let mut told = truth.clone();
        told[at].data = format!("{label}: /vmlinuz quiet\0").into_bytes();
        let (_, facts) = judged(&truth, &encode(&told)).unwrap();
        let lines: Vec<_> = facts.command_lines().filter_map(|line| line.text).collect();
        assert_eq!(lines, ["/vmlinuz quiet"], "{label}");
    }
}

#[test]
fn events_out_of_order_prove_only_registers_that_keep_theirs() {
    let truth = log::boot();
    for a in 0..truth.len() {
        for b in a + 1..truth.len() {
            let mut told = truth.clone();
            told.swap(a, b);
            let outcome = holds_no_lie(&truth, &encode(&told));
            // Two events of one register in the wrong order replay to another value: nothing of it is proven.
            if truth[a].pcr == truth[b].pcr && truth[a].digest != truth[b].digest && outcome == "accepted" {
                let (_, facts) = judged(&truth, &encode(&told)).unwrap();
                assert!(!facts.is_proven(u8::try_from(truth[a].pcr).unwrap()), "{a} {b}");
            }
        }
    }
}

#[test]
fn a_second_separator_is_refused_or_proves_nothing() {
    let truth = log::boot();
    for pcr in 0..8 {
        // Extended for real, by whoever has root: the quote agrees with the log, and the log says it twice.
        let extended = [truth.clone(), vec![separator(pcr)]].concat();
        assert_eq!(holds_no_lie(&extended, &encode(&extended)), "tpm.event_log.separator_twice", "PCR {pcr}");
        // Only told: the register is not what was quoted.
        let (_, facts) = judged(&truth, &encode(&extended)).unwrap_or_else(|code| panic!("{code}"));
        assert!(!facts.is_proven(u8::try_from(pcr).unwrap()), "PCR {pcr}");
    }
}

#[test]
fn a_separator_that_says_failure_is_refused() {
    let truth = log::boot();
    for pcr in 0..8 {
        for value in [[0xff; 4], [1, 0, 0, 0]] {
            let mut failed = truth.clone();
            let at = place(&failed, pcr, EventType::SEPARATOR);
            failed[at] = bound(pcr, EventType::SEPARATOR, &value);
            assert_eq!(holds_no_lie(&failed, &encode(&failed)), "tpm.event_log.separator_error", "PCR {pcr}");
            // The same digest under another type leaves the register without its separator.
            failed[at].kind = EventType::ACTION;
            let without = if pcr == 7 { "tpm.secure_boot.order" } else { "tpm.event_log.separator_missing" };
            assert_eq!(holds_no_lie(&failed, &encode(&failed)), without, "PCR {pcr}");
            // Said over the digest of a separator that went well, it is not what was measured.
            let mut told = truth.clone();
            told[at].data = value.to_vec();
            assert_eq!(holds_no_lie(&truth, &encode(&told)), "tpm.event_log.data_not_measured", "PCR {pcr}");
        }
    }
}

#[test]
fn a_truncated_log_is_refused_or_proves_nothing_of_what_it_cut() {
    let truth = log::boot();
    let bytes = encode(&truth);
    for length in 0..bytes.len() {
        holds_no_lie(&truth, &bytes[..length]);
    }
    for kept in 0..truth.len() {
        if let Ok((_, facts)) = judged(&truth, &encode(&truth[..kept])) {
            assert!(truth[kept..].iter().all(|cut| !facts.is_proven(u8::try_from(cut.pcr).unwrap())), "{kept}");
        }
    }
}

fn kinds() -> Vec<EventType> {
    let known = (0..0x14).chain(0x8000_0000..0x8000_0013).chain([0x8000_00e0, 0x8000_00e1, 0x1234_5678]);
    known.map(EventType).collect()
}

/// Logs in the vectors, each in every bank that it has: those that lies are told about, and those that are left out.
const REAL_LOGS: (usize, usize) = (47, 14);
/// Bytes above which a log is too long for many lies about it.
const LOG_BYTES_MAX: usize = 200_000;

/// The real logs, each once in every bank that it has, and the names of those that are left out, with the reason.
#[derive(Default)]
struct Real {
    logs: Vec<(String, Vec<Entry>)>,
    left_out: BTreeMap<String, String>,
}

fn real() -> &'static Real {
    static REAL: OnceLock<Real> = OnceLock::new();
    REAL.get_or_init(|| {
        let mut real = Real::default();
        let Some(root) = vectors::folder() else { return real };
        for path in vectors::files_below(&root) {
            let bytes = std::fs::read(&path).unwrap();
            // Any bytes begin like some event; a log says what it is, or at least calls itself one.
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            let calls_itself_one = bytes.windows(15).take(64).any(|window| window == b"Spec ID Event03");
            match EventLog::parse(&bytes) {
                Ok(log) if calls_itself_one => real.take(&name, &bytes, &log),
                Err(refusal) if calls_itself_one => {
                    real.left_out.insert(name, refusal.code().to_owned());
                }
                Ok(_) | Err(_) => {}
            }
        }
        real
    })
}

impl Real {
    fn take(&mut self, name: &str, bytes: &[u8], log: &EventLog<'_>) {
        for bank in log.banks() {
            let name = format!("{name}:{bank}");
            match whole(bytes, log, bank) {
                Ok(told) => self.logs.push((name, told)),
                Err(reason) => drop(self.left_out.insert(name, reason)),
            }
        }
    }
}

/// The log's events in one bank, if they are believed as they are.
fn whole(bytes: &[u8], log: &EventLog<'_>, bank: Bank) -> Result<Vec<Entry>, String> {
    if bytes.len() >= LOG_BYTES_MAX {
        return Err(format!("{} bytes", bytes.len()));
    }
    BootFacts::derive(log, bank, PcrIndex::all().collect()).map_err(|refusal| refusal.code().to_owned())?;
    // A log with vendor information or other banks is judged by its events of this bank alone.
    let told = entries(log, bank);
    let again = encode(&told);
    let log = EventLog::parse(&again).map_err(|refusal| refusal.code().to_owned())?;
    log.replay(bank).map_err(|refusal| refusal.code().to_owned())?;
    if told.is_empty() { Err("no events".to_owned()) } else { Ok(told) }
}

#[test]
fn every_real_log_is_lied_about_or_left_out_by_name() {
    let Real { logs, left_out } = real();
    if logs.is_empty() {
        return;
    }
    for (name, reason) in left_out {
        println!("left out: {name}: {reason}");
    }
    let names: Vec<&str> = logs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names.len(), left_out.len()), REAL_LOGS, "{names:#?}\n{left_out:#?}");
}

/// One lie, by random numbers that are taken modulo what there is.
#[derive(Clone, Debug)]
enum Lie {
    Type(usize, usize),
    Data(usize, usize),
    Cut(usize, usize),
    Prefix(usize, &'static str),
    Order(usize, usize),
    Again(usize, usize),
    Gone(usize),
    Register(usize, u32),
    Truncated(usize),
}

fn lie() -> impl Strategy<Value = Lie> {
    let any = any::<usize>;
    prop_oneof![
        (any(), any()).prop_map(|(at, kind)| Lie::Type(at, kind)),
        (any(), any()).prop_map(|(at, from)| Lie::Data(at, from)),
        (any(), any()).prop_map(|(at, length)| Lie::Cut(at, length)),
        (any(), prop_oneof![Just("kernel_cmdline"), Just("grub_cmd"), Just("module_cmdline"), Just("")])
            .prop_map(|(at, label)| Lie::Prefix(at, label)),
        (any(), any()).prop_map(|(a, b)| Lie::Order(a, b)),
        (any(), any()).prop_map(|(at, to)| Lie::Again(at, to)),
        any().prop_map(Lie::Gone),
        (any(), 0..24_u32).prop_map(|(at, pcr)| Lie::Register(at, pcr)),
        any().prop_map(Lie::Truncated),
    ]
}

/// Tells the lie. Digests stay what they are.
fn tell(lie: &Lie, told: &mut Vec<Entry>) {
    let count = told.len();
    if count == 0 {
        return;
    }
    match *lie {
        Lie::Type(at, kind) => told[at % count].kind = kinds()[kind % kinds().len()],
        Lie::Data(at, from) => told[at % count].data = told[from % count].data.clone(),
        Lie::Cut(at, length) => {
            let data = &mut told[at % count].data;
            data.truncate(length % (data.len() + 1));
        }
        Lie::Prefix(at, label) => {
            let data = &mut told[at % count].data;
            let text = data.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
            *data = [label.as_bytes(), b": ", &data[text..]].concat();
        }
        Lie::Order(a, b) => told.swap(a % count, b % count),
        Lie::Again(at, to) => told.insert(to % count, told[at % count].clone()),
        Lie::Gone(at) => drop(told.remove(at % count)),
        Lie::Register(at, pcr) => told[at % count].pcr = pcr,
        Lie::Truncated(kept) => told.truncate(1 + kept % count),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_lie_about_a_real_log_becomes_a_fact(which in any::<usize>(), lies in proptest::collection::vec(lie(), 1..4)) {
        let logs = &real().logs;
        if let Some((_, truth)) = logs.get(which % logs.len().max(1)) {
            let mut told = truth.clone();
            lies.iter().for_each(|lie| tell(lie, &mut told));
            holds_no_lie(truth, &encode(&told));
        }
    }
}
