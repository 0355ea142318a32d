//! Lists of real boots, against the PCRs that their TPMs reported. Reads `shared/vectors`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdfast_evidence::crypto::Digest;
use holdfast_evidence::tpm::ima::{
    AggregateOf, AggregateRefused, BOOT_AGGREGATE, Entry, Hashing, ImaRefused, Measured, Quoted, replay,
};
use holdfast_evidence::tpm::{Attest, Bank, PcrIndex, PcrValues};

use crate::list::{COUNTERS, Written, bytes, field, quoted};
use crate::vectors;

/// One boot: the list after the last quote, and the PCRs of one bank.
pub(crate) struct Boot {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) log: Vec<u8>,
    pub(crate) pcrs: PcrValues,
}

impl Boot {
    pub(crate) fn quoted(&self) -> Quoted {
        Quoted {
            bank: self.pcrs.bank(),
            pcr: *self.pcrs.get(PcrIndex::IMA).unwrap(),
            counters: COUNTERS,
            boot: Quoted::boot(&self.pcrs),
        }
    }
}

fn pcrs(folder: &Path, bank: Bank) -> PcrValues {
    let text = std::fs::read_to_string(folder.join("pcrs.txt")).unwrap();
    let mut values = PcrValues::new(bank);
    let mut ours = false;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        match (value.strip_prefix("0x"), key.parse().ok().and_then(PcrIndex::new)) {
            (Some(hex), Some(pcr)) if ours => {
                values.set(pcr, Digest::new(bank, &hex::decode(hex).unwrap()).unwrap());
            }
            (Some(_), _) => {}
            (None, _) => ours = key == bank.as_str(),
        }
    }
    values
}

pub(crate) fn boots(bank: Bank) -> Vec<Boot> {
    let Some(root) = vectors::folder() else { return Vec::new() };
    let mut boots = Vec::new();
    for log in vectors::files_below(&root.join("vm")) {
        if log.ends_with("binary_runtime_measurements.after") {
            let folder = log.parent().unwrap().to_owned();
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            boots.push(Boot { name, log: std::fs::read(&log).unwrap(), pcrs: pcrs(&folder, bank), folder });
        }
    }
    assert_eq!(boots.len(), 6, "boots with a list");
    boots
}

fn first<'a>(log: &'a [u8]) -> Entry<'a> {
    holdfast_evidence::tpm::ima::Entries::new(log, 0).next().unwrap().unwrap()
}

#[test]
fn every_real_list_replays_to_its_sha256_pcr_and_its_aggregate_is_that_of_its_pcrs() {
    for boot in boots(Bank::Sha256) {
        let replayed =
            replay(&boot.log, None, &boot.quoted()).unwrap_or_else(|refused| panic!("{}: {refused}", boot.name));
        assert_eq!(replayed.resume().hashing, Hashing::OfBank, "{}", boot.name);
        assert!(replayed.count() > 5, "{}", boot.name);
        assert_eq!(Measured::of(&first(&boot.log)).name(), BOOT_AGGREGATE);
        assert_eq!(AggregateOf::check(&first(&boot.log), &boot.pcrs), Ok(AggregateOf::FirstTen), "{}", boot.name);
        let ascii = std::fs::read_to_string(boot.folder.join("ascii_runtime_measurements")).unwrap();
        let said: Vec<&str> = ascii.lines().filter_map(|line| line.split(' ').nth(4)).collect();
        let read: Vec<String> = replayed
            .entries()
            .map(|entry| String::from_utf8_lossy(Measured::of(&entry.unwrap()).name()).into_owned())
            .collect();
        let common = said.len().min(read.len());
        assert_eq!(said[..common], read[..common], "{}", boot.name);
    }
}

#[test]
fn the_sha384_bank_holds_padded_template_hashes_and_an_aggregate_of_another_bank() {
    for boot in boots(Bank::Sha384) {
        let replayed =
            replay(&boot.log, None, &boot.quoted()).unwrap_or_else(|refused| panic!("{}: {refused}", boot.name));
        assert_eq!(replayed.resume().hashing, Hashing::Sha1Padded, "{}", boot.name);
        let refused = AggregateOf::check(&first(&boot.log), &boot.pcrs).unwrap_err();
        assert_eq!(refused, AggregateRefused::OtherBank { bank: Bank::Sha384 });
    }
}

#[test]
fn the_list_of_another_boot_leads_nowhere_and_its_aggregate_is_another() {
    let boots = boots(Bank::Sha256);
    let Some((one, other)) =
        boots.iter().find(|b| b.name == "uki-nosb").zip(boots.iter().find(|b| b.name == "uki-sb-snakeoil"))
    else {
        return;
    };
    assert!(matches!(replay(&other.log, None, &one.quoted()), Err(ImaRefused::NoPrefix { .. })));
    assert!(matches!(AggregateOf::check(&first(&other.log), &one.pcrs), Err(AggregateRefused::Differs { .. })));
}

#[test]
fn the_list_that_was_read_before_the_quote_is_not_enough() {
    for boot in boots(Bank::Sha256) {
        let early = std::fs::read(boot.folder.join("binary_runtime_measurements")).unwrap();
        assert!(boot.log.starts_with(&early), "{}", boot.name);
        if early.len() < boot.log.len() {
            assert!(matches!(replay(&early, None, &boot.quoted()), Err(ImaRefused::NoPrefix { .. })), "{}", boot.name);
        }
    }
}

#[test]
fn the_values_are_those_that_the_tpms_quoted() {
    for boot in boots(Bank::Sha256) {
        let quote = std::fs::read(boot.folder.join("quote-ecc.msg")).unwrap();
        let attest = Attest::parse(&quote).unwrap();
        assert!(attest.clock.reset_count > 0 || attest.clock.restart_count == 0, "{}", boot.name);
    }
}

/// The lists that exist as text only, written as the kernel would, with the template hashes they came with.
fn written(line: &str) -> Option<(Written, [u8; 20])> {
    let fields: Vec<&str> = line.split(' ').collect();
    let column: [u8; 20] = hex::decode(fields.get(1)?).ok()?.try_into().ok()?;
    let name = fields.get(4).copied().unwrap_or_default();
    let last = hex::decode(fields.get(5).copied().unwrap_or_default()).ok()?;
    let written = if fields[2] == "ima" {
        Written::ima(&hex::decode(fields.get(3)?).ok()?.try_into().ok()?, name)
    } else {
        let (algorithm, digest) = fields.get(3)?.split_once(':')?;
        let digest = hex::decode(digest).ok()?;
        match fields[2] {
            "ima-ng" => Written::ng_of(algorithm, &digest, name),
            "ima-sig" => Written::sig(algorithm, &digest, name, &last),
            "ima-buf" => Written::buf(algorithm, &digest, name, &last),
            _ => return None,
        }
    };
    Some((written, column))
}

#[test]
fn every_template_of_the_field_hashes_as_its_kernel_hashed_it() {
    let Some(root) = vectors::folder() else { return };
    let mut templates = BTreeSet::new();
    let mut entries = 0;
    for file in vectors::files_below(&root.join("tpm")) {
        let named = file.to_string_lossy().into_owned();
        if !named.contains("/ima/") || named.ends_with(".json") || named.contains("bad_sig") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let written: Vec<Written> = text
            .lines()
            .filter_map(written)
            .filter(|(written, column)| written.column() == *column)
            .map(|(written, _)| written)
            .collect();
        if written.is_empty() {
            continue;
        }
        templates.extend(written.iter().map(|entry| entry.template));
        entries += written.len();
        let list = bytes(&written);
        let replayed = replay(&list, None, &quoted(&written)).unwrap();
        assert_eq!((replayed.count(), replayed.not_attested()), (written.len() as u64, 0), "{named}");
        for (entry, written) in replayed.entries().zip(&written) {
            let entry = entry.unwrap();
            assert_eq!(entry.template_hash(Bank::Sha384), Bank::Sha384.digest(&[&written.hashed]), "{named}");
            assert_ne!(Measured::of(&entry), Measured::Nothing, "{named}: {}", entry.index);
        }
    }
    assert_eq!(templates, BTreeSet::from(["ima", "ima-buf", "ima-ng", "ima-sig"]));
    assert!(entries > 840, "{entries}");
    assert_eq!(field(b"x"), [1, 0, 0, 0, b'x']);
}
