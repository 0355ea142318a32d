//! The house's own verifier, which shares no code with the simulator, reads what the simulator made: both were written
//! from the same specifications, and each finds the other's mistakes here.

use holdfast_appraisal::facts;
use holdfast_appraisal::{Document, FactId, ReferenceValues as Expected, Value};
use holdfast_evidence::tpm::endorsement::{Anchor, ExpiredIssuers, Roots, verify_ek_certificate};
use holdfast_evidence::tpm::event_log::EventLog;
use holdfast_evidence::tpm::event_log::boot::BootFacts;
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSet, Public};
use holdfast_evidence::{Provenance, TrustClass};
use holdfast_identity::UnixTime;
use holdfast_tpm_sim::{LogLie, MANUFACTURER, MODEL, Powered, ReferenceValues, VERSION, profile};

use crate::{booted, profile_of};

fn pcr(machine: &Powered, index: PcrIndex) -> Vec<u8> {
    machine.pcr(holdfast_tpm_sim::Bank::Sha256, u32::from(index.get())).unwrap()
}

/// Whether the verifier, given the machine's log and PCRs, finds that each explains the other; or why not.
fn believed(machine: &Powered) -> Result<(), String> {
    let bytes = std::fs::read(machine.firmware_log_path()).map_err(|e| e.to_string())?;
    let log = EventLog::parse(&bytes).map_err(|e| e.to_string())?;
    let replay = log.replay(Bank::Sha256).map_err(|e| e.to_string())?;
    let proven: PcrSet = replay.extended();
    // Of what the kernel measures the firmware log knows nothing.
    let measures = machine.measured_files_path().exists();
    for index in PcrIndex::all().filter(|index| index.get() < 16 && !(measures && *index == PcrIndex::IMA)) {
        if replay.value(index).as_bytes() != pcr(machine, index) {
            return Err(format!("PCR {} is not what the log says", index.get()));
        }
    }
    BootFacts::derive(&log, Bank::Sha256, proven).map(drop).map_err(|e| e.to_string())
}

#[test]
fn the_verifier_proves_exactly_the_reference_values_of_every_profile() {
    let (_directory, mut machine) = booted(0, "shim-grub");
    for (name, _) in profile::BUILT_IN.iter().filter(|(name, _)| *name != "sha1-only") {
        let profile = profile_of(name);
        machine.reboot(&profile).unwrap();
        believed(&machine).unwrap();
        let bytes = std::fs::read(machine.firmware_log_path()).unwrap();
        let log = EventLog::parse(&bytes).unwrap();
        let proven = PcrIndex::all().filter(|index| index.get() < 16).collect();
        let boot = BootFacts::derive(&log, Bank::Sha256, proven).unwrap();
        let log_facts = facts::boot(&boot, proven, Provenance::Simulated);
        let facts = facts::Facts::with_log(std::sync::Arc::new(log_facts));

        let text = ReferenceValues::of(&profile, holdfast_tpm_sim::Bank::Sha256).unwrap().to_toml();
        let expected = Expected::parse(Document { name, text: &text }).unwrap();
        for id in expected.facts() {
            let found = &facts.get(id).unwrap_or_else(|| panic!("{name}: {id} is not proven")).values;
            let wanted: Vec<Value> = expected.get(id).unwrap().iter().map(|noted| noted.value.clone()).collect();
            if id == FactId::CommandLines {
                assert_eq!(found.len(), wanted.len(), "{name}: {id}"); // load options are known by digest alone
                continue;
            }
            assert_eq!(found, &wanted, "{name}: {id}");
        }
    }
}

#[test]
fn the_verifier_finds_every_lie_in_the_log() {
    let (_directory, machine) = booted(0, "shim-grub");
    let (_other_directory, other) = booted(1, "changed-kernel");
    let last = machine.events().len();
    let mut lies = vec![
        LogLie::Cut(1000),
        LogLie::Trailing(b"more".to_vec()),
        LogLie::Replaced(other.firmware_log_path()),
        LogLie::Empty,
        LogLie::Removed,
    ];
    for event in 1..=last {
        lies.extend([LogLie::Digest(event), LogLie::Omitted(event), LogLie::Repeated(event)]);
    }
    for lie in lies {
        machine.lie(&lie).unwrap();
        assert!(believed(&machine).is_err(), "{lie:?} was believed");
        machine.tell_the_truth().unwrap();
    }
    believed(&machine).unwrap();
}

#[test]
fn firmware_that_leaves_a_bank_alone_is_not_believed_in_it() {
    let (_directory, machine) = booted(0, "sha1-only");
    believed(&machine).unwrap_err();
}

#[test]
fn the_verifier_accepts_both_certificates_under_the_vendors_root_and_no_other() {
    let (_directory, machine) = booted(0, "shim-grub");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = UnixTime(i64::try_from(now).unwrap());
    let root = der_of(machine.vendor_root_pem());
    let chain = der_of(machine.vendor_issuing_pem());
    let mut roots = Roots::new();
    roots.add(Anchor::new(&root, TrustClass::Simulated).unwrap());
    let mut others = Roots::new();
    let stranger = holdfast_tpm_sim::Vendor::ephemeral().unwrap();
    others.add(Anchor::new(&der_of(stranger.root_pem()), TrustClass::Simulated).unwrap());
    for ek in machine.endorsements() {
        let public = Public::parse_sized(&ek.public).unwrap();
        let check = |roots: &Roots| {
            verify_ek_certificate(&ek.certificate, &[&chain], public.key(), roots, ExpiredIssuers::Refused, now)
        };
        let verified = check(&roots).unwrap();
        assert_eq!(verified.manufacturer.as_deref(), Some(MANUFACTURER));
        assert_eq!(verified.model.as_deref(), Some(MODEL));
        assert_eq!(verified.version.as_deref(), Some(VERSION));
        assert_eq!(hex::encode(verified.sha256), ek.certificate_sha256());
        assert_eq!(hex::encode(verified.spki_sha256), ek.spki_sha256());
        assert_eq!(verified.root.class, TrustClass::Simulated);
        check(&others).unwrap_err();
    }
}

fn der_of(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

/// The list of a machine whose files are signed, by the key that the simulator prints.
#[test]
fn a_kernel_of_signed_files_leaves_a_list_that_the_verifier_proves_and_whose_signatures_hold() {
    use holdfast_evidence::tpm::ima::{
        AggregateOf, Counters, ImaKeys, Measured, Quoted, SignatureBudget, keys_of_pem, replay,
    };
    let (_directory, machine) = booted(0, "signed-files");
    machine.measure_unsigned("/tmp/tool", b"a tool").unwrap();
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast-tpm-sim")).arg("file-signer").output();
    let keys = ImaKeys::new(keys_of_pem(&printed.unwrap().stdout).unwrap()).unwrap();
    let mut pcrs = holdfast_evidence::tpm::PcrValues::new(Bank::Sha256);
    for index in PcrIndex::all().filter(|index| index.get() < 11) {
        let value = holdfast_evidence::crypto::Digest::new(Bank::Sha256, &pcr(&machine, index)).unwrap();
        pcrs.set(index, value);
    }
    let pcr = *pcrs.get(PcrIndex::IMA).unwrap();
    let counters = Counters { resets: 1, restarts: 0 };
    let quoted = Quoted { bank: Bank::Sha256, pcr, counters, boot: Quoted::boot(&pcrs) };
    let list = std::fs::read(machine.measured_files_path()).unwrap();
    let replayed = replay(&list, None, &quoted).unwrap();
    let entries: Vec<_> = replayed.entries().map(Result::unwrap).collect();
    assert_eq!(entries.len(), 6);
    assert_eq!(AggregateOf::check(&entries[0], &pcrs), Ok(AggregateOf::FirstTen));
    let mut budget = SignatureBudget::default();
    let signed: Vec<bool> = entries[1..]
        .iter()
        .map(|entry| match Measured::of(entry) {
            Measured::File { digest, of, signature, .. } => keys.check(&digest, of, signature, &mut budget).is_ok(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(signed, [true, true, true, true, false]);
}
