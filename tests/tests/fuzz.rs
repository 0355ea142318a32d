//! In-process mutation fuzzing: genuine inputs, spoiled for a bounded time, into every reader that a stranger's bytes
//! reach. A panic fails the test; so does an input that takes a second. `make fuzz` gives it longer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the fuzzer's own steps")]

use std::time::{Duration, Instant};

use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog};
use holdfast_evidence::tpm::{
    Attest, Attributes, Bank, ClockInfo, FirmwareLog, Hierarchy, IdentityMaterial, Name, OfferedEk, PcrIndex,
    PcrSelection, PcrSet, Public, Scheme, Signature, Signed, TpmItem,
};
use holdfast_evidence::{Challenge, ClaimedKey, ProvenKey, SealRing, crypto};
use holdfast_identity::UnixTime;
use holdfast_measurement::eif::Eif;
use holdfast_measurement::snp::{CpuSignature, Launch, Vmm};
use holdfast_measurement::tdx::{PageOrder, mrtd};
use holdfast_measurement::uki::Uki;
use holdfast_tpm_sim::{Profile, boot};

/// Longest time for one input.
const ONE_INPUT_MAX: Duration = Duration::from_secs(1);

/// A small generator of its own, so that a failure's seed is one number.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (below.max(1) as u64)).unwrap()
    }

    /// `seed` with some bytes flipped, cut, doubled or overwritten by numbers that lengths like to be.
    fn spoil(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len());
            match self.next(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.next(8),
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..(at + self.next(16)).min(bytes.len()))),
                3 => {
                    let tail = bytes[at..(at + self.next(64)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, tail);
                }
                _ => {
                    let numbers = [[0u8; 4], [0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0, 0, 1, 0], [0x10, 0, 0, 0]];
                    let width = bytes.len().saturating_sub(at).min(1 << self.next(3)).min(4);
                    bytes[at..at + width].copy_from_slice(&numbers[self.next(numbers.len())][..width]);
                }
            }
        }
        bytes
    }
}

fn seconds() -> f64 {
    std::env::var("HOLDFAST_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0)
}

/// Feeds spoiled `seeds` to `target` for the time that there is.
fn fuzz(name: &str, seeds: &[Vec<u8>], target: impl Fn(&[u8])) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ std::process::id() as u64);
    let (start, mut inputs, mut slowest) = (Instant::now(), 0u64, Duration::ZERO);
    seeds.iter().for_each(|seed| target(seed));
    while start.elapsed().as_secs_f64() < seconds() {
        let seed = &seeds[random.next(seeds.len())];
        let (before, input) = (random.0, random.spoil(seed));
        let began = Instant::now();
        target(&input);
        slowest = slowest.max(began.elapsed());
        assert!(began.elapsed() < ONE_INPUT_MAX, "{name}: state {before:#x} took {:?}", began.elapsed());
        inputs += 1;
    }
    println!("{name:<12} {inputs:>9} inputs, slowest {slowest:?}");
}

fn public() -> Public {
    let key = crypto::PublicKey::ec(crypto::Curve::P256, &GENERATOR[..32], &GENERATOR[32..]).unwrap();
    let scheme = Scheme::Signing { algorithm: crypto::SignatureAlg::Ecdsa, hash: 0x000b };
    let tpmt = Public::encode(&key, crypto::HashAlg::Sha256, Attributes::AK_TEMPLATE, &[], None, scheme);
    Public::parse(&tpmt).unwrap()
}

/// The generator of P-256: a point that is certainly on the curve.
const GENERATOR: [u8; 64] = [
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d,
    0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a,
    0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb,
    0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];

fn attest() -> Vec<u8> {
    let pcrs = (0..8).filter_map(PcrIndex::new).fold(PcrSet::default(), PcrSet::with);
    let clock = ClockInfo { clock: 1, reset_count: 2, restart_count: 3, safe: true };
    let signer: Name = public().name().qualified_in(Hierarchy::Endorsement);
    Attest::encode_quote(&signer, &[7; 32], clock, 9, &PcrSelection { bank: Bank::Sha256, pcrs }, &[5; 32])
}

fn log(profile: &str) -> Vec<u8> {
    let banks = [holdfast_tpm_sim::Bank::Sha256, holdfast_tpm_sim::Bank::Sha384];
    holdfast_tpm_sim::log::encode(&boot::events(&Profile::load(profile).unwrap()).unwrap(), &banks)
}

#[test]
fn structures_of_a_tpm() {
    let signature = Signature::encode_ecdsa(crypto::HashAlg::Sha256, &[3; 64]);
    fuzz("structures", &[public().sized(), public().as_bytes().to_vec(), attest(), signature], |bytes| {
        let _ = Public::parse_either(bytes);
        let _ = Attest::parse(bytes);
        let _ = Signature::parse(bytes);
        let _ = PcrSelection::parse(bytes);
    });
}

#[test]
fn what_travels() {
    let (attest, signature) = (attest(), Signature::encode_ecdsa(crypto::HashAlg::Sha256, &[3; 64]));
    let ek = OfferedEk { certificate: vec![0x30; 900], chain: vec![vec![0x30; 700]], public: public().sized() };
    let material = IdentityMaterial { endorsement: vec![ek.clone(), ek], ak_public: public().sized() };
    let log = log("uki");
    let item = TpmItem {
        secrets: vec![&[1; 32]],
        quote: Signed { attest: &attest, signature: &signature },
        certify: None,
        firmware_log: FirmwareLog::Bytes(&log),
        pcr_claims: Vec::new(),
    };
    let ring = SealRing::new(SealKey::new([7; 32]), None);
    fuzz("travel", &[material.encode(), item.encode()], |bytes| {
        let _ = IdentityMaterial::parse(bytes);
        let _ = TpmItem::parse(bytes);
        let _ = ClaimedKey::from_spki(bytes);
        let _ = ProvenKey::from_csr(bytes);
        assert!(Challenge::open(bytes, &ring, &"fuzz.test".parse().unwrap(), UnixTime(0)).is_err());
    });
}

#[test]
fn firmware_logs() {
    let seeds: Vec<_> = ["shim-grub", "uki", "direct-kernel"].map(log).into();
    fuzz("logs", &seeds, |bytes| {
        let Ok(log) = EventLog::parse(bytes) else { return };
        if let Ok(replay) = log.replay(Bank::Sha256) {
            let _ = BootFacts::derive(&log, Bank::Sha256, replay.extended());
        }
    });
}

/// Firmware of one page with a table of one SEV section, an enclave image, a unified kernel image.
fn measured() -> Vec<Vec<u8>> {
    let guid = |text: &str| hex::decode(text).unwrap();
    let entry = |contents: &[u8], name: &str| {
        [contents, &u16::try_from(contents.len() + 18).unwrap().to_le_bytes(), &guid(name)].concat()
    };
    let sev =
        [&b"ASEV"[..], &[28, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], &[0, 0, 0x80, 0, 0, 0x10, 0, 0, 1, 0, 0, 0]].concat();
    let tdx = [
        &b"TDVF"[..],
        &[48, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
        &[0; 8],
        &[0, 0, 1, 0, 0, 0, 0, 0],
        &[0, 0x10, 0, 0, 0, 0, 0, 0],
        &[3, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let entries = [
        entry(&4096_u32.to_le_bytes(), "6665 88dc4a989847a75e5585a7bf67cc".replace(' ', "").as_str()),
        entry(&4068_u32.to_le_bytes(), "35657ae44a989847865e4685a7bf8ec2"),
        entry(&0x80_b004_u32.to_le_bytes(), "de71f7007e1acb4f890e68c77e2fb44e"),
    ]
    .concat();
    let table = entry(&entries, "de82b596b21ff745baeaa366c55a082d");
    let mut firmware = [sev, tdx].concat();
    firmware.resize(4096 - 32 - table.len(), 0);
    firmware.extend([&table[..], &[0; 32]].concat());
    let mut eif = [&b".eif"[..], &[0, 4], &[0; 542]].concat();
    eif.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7]);
    let mut uki = vec![0; 2048];
    let mut put = |at: usize, bytes: &[u8]| uki[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &[0x80]);
    put(0x80, b"PE\0\0\x64\x86\x02");
    put(0x94, &[240]);
    put(0x98, &[0x0b, 2]);
    put(0x98 + 60, &[0, 4]);
    put(0x98 + 108, &[16]);
    put(0x188, b".sdmagic\x30\0\0\0\0\x10\0\0\x40\0\0\0\0\x04\0\0");
    put(0x1b0, b".linux\0\0\x40\0\0\0\0\x20\0\0\x40\0\0\0\x40\x04\0\0");
    put(0x400, b"#### LoaderInfo: systemd-stub 257 ####");
    vec![firmware, eif, uki]
}

#[test]
fn firmware_and_images_that_are_measured() {
    let seeds = measured();
    let cpu = CpuSignature::new(0);
    let launch = |firmware| Launch { firmware, kernel: None, vcpus: 2, cpu, guest_features: 1, vmm: Vmm::Qemu };
    assert!(launch(&seeds[0]).measure().is_ok() && mrtd(&seeds[0], PageOrder::EachPage).is_ok());
    assert!(Uki::parse(&seeds[2], 0).is_ok(), "{:?}", Uki::parse(&seeds[2], 0));
    fuzz("measured", &seeds, |bytes| {
        let _ = launch(bytes).measure();
        let _ = mrtd(bytes, PageOrder::EachPage);
        let _ = Eif::parse(bytes).map(|eif| eif.pcrs());
        if let Ok(uki) = Uki::parse(bytes, 0) {
            let _ = uki.image().authenticode(crypto::HashAlg::Sha256);
            let _ = uki.image().signatures();
            let _ = uki.pcr9(crypto::HashAlg::Sha256);
            let _ = uki.pcr11(crypto::HashAlg::Sha256, &[]);
        }
    });
}

#[test]
fn policies_and_reference_values() {
    let seeds: Vec<_> = ["known-machines", "secure-boot", "measured-boot"]
        .map(|name| {
            let path = format!("{}/../policies/shipped/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            std::fs::read(path).unwrap()
        })
        .into();
    fuzz("policies", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let document = Document { name: "fuzz.toml", text: &text };
        let _ = Policy::parse(document, &[]);
        let _ = holdfast_appraisal::ReferenceValues::parse(document);
    });
}
