//! In-process mutation fuzzing: genuine inputs, spoiled for a bounded time, into every reader that a stranger's bytes
//! reach. A panic fails the test; so does an input that takes a second. `make fuzz` gives it longer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the fuzzer's own steps")]

#[path = "fuzz/exchange.rs"]
mod exchange;
#[path = "fuzz/federation.rs"]
mod federation;
#[path = "fuzz/ima.rs"]
mod ima;
#[path = "fuzz/measurement.rs"]
mod measurement;
#[path = "fuzz/tdx.rs"]
mod tdx;
#[path = "fuzz/vtpm.rs"]
mod vtpm;

use std::time::{Duration, Instant};

use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::nitro::{
    Document as NitroDocument, DocumentKind, NitroItem, checks as nitro_checks, verify_chain,
};
use holdfast_evidence::nitrotpm::{NitroTpmItem, quoting_key};
use holdfast_evidence::snp::{CertificateTable, SnpEndorsements, SnpEvidence, SnpItem, Vek, verify_report};
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog};
use holdfast_evidence::tpm::ownership::{DeviceRole, OfferedDeviceKey, OfferedOwnership};
use holdfast_evidence::tpm::{
    Attest, Attributes, Bank, ClockInfo, FirmwareLog, Hierarchy, IdentityMaterial, Name, OfferedEk, PcrIndex,
    PcrSelection, PcrSet, Public, Scheme, Signature, Signed, TpmItem,
};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{Challenge, ClaimedKey, Evidence as _, ProvenKey, SealRing, crypto};
use holdfast_identity::UnixTime;
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
    let material = IdentityMaterial {
        endorsement: vec![ek.clone(), ek],
        ak_public: public().sized(),
        ownership: OfferedOwnership {
            platform: Some(vec![0x30, 0]),
            device_keys: vec![OfferedDeviceKey {
                role: DeviceRole::Iak,
                public: public().sized(),
                certificate: vec![0x30, 0],
                chain: vec![vec![0x30, 0]],
            }],
        },
    };
    let log = log("uki");
    let item = TpmItem {
        secrets: vec![&[1; 32]],
        quote: Signed { attest: &attest, signature: &signature },
        certify: None,
        firmware_log: FirmwareLog::Bytes(&log),
        pcr_claims: Vec::new(),
        residency: vec![(DeviceRole::IdevId, Signed { attest: &attest, signature: &signature })],
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

/// A report with its fields in place, and a table with a certificate in DER and one in PEM.
fn snp_item() -> Vec<u8> {
    let mut report = vec![0; 1184];
    for (at, bytes) in [(0, &[3][..]), (0x0a, &[3]), (0x34, &[1]), (0x188, &[0x19, 1, 1]), (0x1a0, &[7; 64])] {
        report[at..at + bytes.len()].copy_from_slice(bytes);
    }
    let signed = rcgen::generate_simple_self_signed(["SEV-VCEK".to_owned()]).unwrap().cert;
    let (der, pem) = (signed.der().to_vec(), signed.pem().into_bytes());
    let mut table = Vec::new();
    for (guid, start, length) in [
        (
            [0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd],
            72,
            der.len(),
        ),
        (
            [0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82],
            72 + der.len(),
            pem.len(),
        ),
        ([0; 16], 0, 0),
    ] {
        table.extend(guid);
        table.extend(u32::try_from(start).unwrap().to_le_bytes());
        table.extend(u32::try_from(length).unwrap().to_le_bytes());
    }
    let table = [table, der, pem].concat();
    SnpItem { report: &report, certificates: &table }.encode()
}

#[test]
fn snp_reports_and_their_certificates() {
    let item = snp_item();
    let table = SnpItem::parse(&item).unwrap().certificates.to_vec();
    let certificate = table[72..].to_vec();
    let endorsements = SnpEndorsements::default();
    fuzz("snp", &[item.clone(), item[3..].to_vec(), table, certificate], |bytes| {
        if let Ok(evidence) = SnpEvidence::parse(bytes) {
            let _ = evidence.wants().vcek_paths();
        }
        let _ = CertificateTable::parse(bytes).map(|table| table.certificates());
        let _ = holdfast_evidence::snp::bundle(bytes);
        let _ = Vek::parse(bytes);
        let (report, certificate) = bytes.split_at_checked(1184).unwrap_or((bytes, &[]));
        assert!(verify_report(report, &[certificate.to_vec()], &endorsements, UnixTime(1_795_219_200)).is_err());
    });
}

/// A document of the Nitro hypervisor in form; nobody signed it.
fn nitro_document(kind: DocumentKind) -> Vec<u8> {
    let bytes = |bytes: &[u8]| {
        let [high, low] = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        match (high, low) {
            (0, 0..24) => [&[0x40 | low], bytes].concat(),
            (0, _) => [&[0x58, low], bytes].concat(),
            _ => [&[0x59, high, low], bytes].concat(),
        }
    };
    let text = |text: &str| {
        let mut item = bytes(text.as_bytes());
        item[0] |= 0x20;
        item
    };
    let certificate = rcgen::generate_simple_self_signed(vec!["nitro".to_owned()]).unwrap().cert.der().to_vec();
    let (module, pcrs) = match kind {
        DocumentKind::Enclave => ("i-0123456789abcdef0-enc0123456789abcdef", 16),
        DocumentKind::Tpm => ("i-0123456789abcdef0-tpm0000000000000000", 23),
    };
    let pcrs: Vec<u8> = (0..pcrs).flat_map(|pcr| [vec![pcr], bytes(&[pcr; 48])].concat()).collect();
    let payload = [
        [vec![0xbf], text("module_id"), text(module), text("digest"), text("SHA384")].concat(),
        [text("timestamp"), vec![0x1b, 0, 0, 1, 0x9b, 0x55, 0xa6, 0x8b, 0xd2]].concat(),
        [text(kind.pcrs_key()), vec![0xbf], pcrs, vec![0xff]].concat(),
        [text("certificate"), bytes(&certificate)].concat(),
        [text("cabundle"), vec![0x82], bytes(&certificate), bytes(&certificate)].concat(),
        [text("public_key"), vec![0xf6], text("user_data"), bytes(&[1; 32])].concat(),
        [text("nonce"), bytes(&[2; 32]), vec![0xff]].concat(),
    ];
    let parts = [bytes(&[0xa1, 1, 0x38, 0x22]), vec![0xa0], bytes(&payload.concat()), bytes(&[3; 96])];
    [vec![0x84], parts.concat()].concat()
}

#[test]
fn documents_of_nitro() {
    for kind in [DocumentKind::Enclave, DocumentKind::Tpm] {
        let document = nitro_document(kind);
        NitroDocument::parse(kind, &document).unwrap();
        let item = NitroItem { document: &document }.encode();
        fuzz("nitro", &[document, item], |bytes| {
            let _ = NitroItem::parse(bytes);
            let _ = NitroTpmItem::parse(bytes);
            let _ = quoting_key(bytes);
            let Ok(document) = NitroDocument::parse(kind, bytes) else { return };
            let _ = nitro_checks::algorithm(&document, kind);
            let _ = nitro_checks::debug(&document.pcrs);
            let _ = holdfast_evidence::nitrotpm::checks::measured(&document.pcrs);
            let _ =
                nitro_checks::module_id(&document, kind).map(|module| nitro_checks::instance(&document.pcrs, &module));
            let mut roots = Roots::new();
            if let Ok(anchor) = Anchor::new(document.cabundle[0], holdfast_evidence::TrustClass::Simulated) {
                roots.add(anchor);
            }
            assert!(verify_chain(&document, &roots, &[], UnixTime(1_767_225_600)).is_err());
        });
    }
}

#[test]
fn policies_and_reference_values() {
    let read = |path: &str| std::fs::read(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let seed = |name: &str| read(&format!("fuzz/seeds/policy/{name}"));
    let shipped = ["known-machines", "secure-boot", "measured-boot", "nitro-enclaves", "deny-lists"];
    let mut seeds: Vec<_> = shipped.map(|name| read(&format!("policies/shipped/{name}.toml"))).into();
    let named = ["everything.toml", "signed.toml", "k.toml", "vendor.pem"].map(seed);
    seeds.extend(named.clone());
    let [everything, signed, values, key] = named.map(|bytes| String::from_utf8(bytes).unwrap());
    let digests = "51".repeat(32) + "  /bin/true\n";
    let files = |text: &str| {
        let texts = [("k.toml", &*values), ("k.toml.sig", text), ("vendor.pem", &*key), ("d.digests", &*digests)];
        texts.map(|(name, text)| (name, text.to_owned()))
    };
    let parsed = |policy: &str, files: &[(&str, String)]| {
        let files: Vec<_> = files.iter().map(|(name, text)| Document { name, text }).collect();
        Policy::parse(Document { name: "p.toml", text: policy }, &files).is_ok()
    };
    assert!(parsed(&everything, &files("")) && !parsed(&signed, &files("")));
    fuzz("policies", &seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let document = Document { name: "fuzz.toml", text: &text };
        let _ = holdfast_appraisal::policy::referenced_files(document);
        parsed(&text, &files(&text));
        let _ = holdfast_appraisal::ReferenceValues::parse(document);
        for seed in [&everything, &signed] {
            for at in 0..files("").len() {
                let mut changed = files("");
                changed[at].1 = text.to_string();
                parsed(seed, &changed);
            }
        }
    });
}
