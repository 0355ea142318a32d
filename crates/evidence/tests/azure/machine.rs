//! An Azure machine: what it reports, quotes and sends, good by default and spoiled by one closure. What is spoiled is
//! signed anew, so that nothing but the check in question can refuse it.

use std::sync::Arc;

use holdfast_evidence::TrustClass;
use holdfast_evidence::azure::{
    AzureClaims, AzureEndorsements, AzureEvidence, AzureHardware, AzureItem, AzureMachine, Unverified,
};
use holdfast_evidence::crypto::{HashAlg, sha256};
use holdfast_evidence::tpm::{
    Attest, Attributes, Bank, ClockInfo, Hierarchy, PcrIndex, PcrSelection, PcrSet, Public, Signed,
};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{
    AnsweringKey, Binding, Challenge, Commitment, Evidence as _, EvidenceKind, ItemState, ProvenKey, Purpose, Verified,
};
use holdfast_identity::UnixTime;
use ring::rand::SystemRandom;

use crate::firmware::Firmware;
use crate::guest::{Guest, NOW};
use crate::paravisor::{Ak, AkCa, hcl, runtime_data};
use crate::td::{Td, at};

/// What the machine's hardware is.
pub(crate) enum Hardware {
    Snp(Box<Guest>),
    Tdx(Box<Td>),
    /// No confidential one.
    None,
}

/// Everything that a machine is and sends.
pub(crate) struct Machine {
    pub(crate) hardware: Hardware,
    /// The key that quotes.
    pub(crate) ak: &'static Ak,
    /// The public area whose Name the quote's signer has.
    pub(crate) area: Public,
    /// The public area that is sent; empty for none.
    pub(crate) sent_area: Vec<u8>,
    /// What the paravisor says.
    pub(crate) runtime_data: String,
    /// What is sent in its place.
    pub(crate) sent_runtime_data: Option<String>,
    /// The report data of the hardware; `None` for what it must be.
    pub(crate) report_data: Option<[u8; 64]>,
    /// The report data of a TDREPORT; `None` for what it must be.
    pub(crate) td_report_data: Option<[u8; 64]>,
    pub(crate) firmware: Firmware,
    pub(crate) send_log: bool,
    /// Values beside the log, by register.
    pub(crate) claims: Vec<(u32, Vec<u8>)>,
    /// What is quoted; `None` for what is asked.
    pub(crate) quoted: Option<PcrSelection>,
    /// What the quote signs along; `None` for the binding.
    pub(crate) extra_data: Option<Vec<u8>>,
    /// Who signs the quote.
    pub(crate) signer: &'static Ak,
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) ak_ca: Arc<AkCa>,
    /// The class of the CA's root; `None` where it is not trusted.
    pub(crate) ak_class: Option<TrustClass>,
    /// Done to the TDREPORT inside.
    pub(crate) spoil_td_report: fn(&mut Vec<u8>),
    /// Done to the HCL report before it is sent.
    pub(crate) spoil_hcl: fn(&mut Vec<u8>),
    pub(crate) now: UnixTime,
}

/// PCR 0 to 7 and 11, SHA-256.
pub(crate) fn asked() -> PcrSelection {
    let eleven = PcrIndex::new(11).unwrap();
    PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE.with(eleven) }
}

pub(crate) fn node_key() -> ProvenKey {
    let pair = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
    ProvenKey::from_csr(request.der()).unwrap()
}

pub(crate) fn challenge(purpose: Purpose) -> Challenge {
    let item = ItemState::plain(EvidenceKind::Azure, asked()).unwrap();
    Challenge::draw("example.org".parse().unwrap(), purpose, vec![item], NOW, 60, &SystemRandom::new()).unwrap()
}

impl Machine {
    fn new(hardware: Hardware) -> Self {
        let ak = Ak::own();
        let mut firmware = Firmware::typical();
        // what no log covers: extended by the operating system
        firmware.later.push((11, b"unified kernel image".to_vec()));
        let eleven = firmware.pcrs(Bank::Sha256).get(PcrIndex::new(11).unwrap()).unwrap().as_bytes().to_vec();
        Self {
            hardware,
            ak,
            area: ak.area(Attributes::AK_TEMPLATE),
            sent_area: ak.area(Attributes::AK_TEMPLATE).as_bytes().to_vec(),
            runtime_data: runtime_data(ak, true),
            sent_runtime_data: None,
            report_data: None,
            td_report_data: None,
            firmware,
            send_log: true,
            claims: vec![(11, eleven)],
            quoted: None,
            extra_data: None,
            signer: ak,
            certificates: Vec::new(),
            ak_ca: Arc::new(AkCa::new()),
            ak_class: Some(TrustClass::Cloud),
            spoil_td_report: |_| {},
            spoil_hcl: |_| {},
            now: NOW,
        }
    }

    /// A confidential VM on SEV-SNP.
    pub(crate) fn snp() -> Self {
        Self::new(Hardware::Snp(Box::new(Guest::milan())))
    }

    /// A confidential VM on TDX.
    pub(crate) fn tdx() -> Self {
        Self::new(Hardware::Tdx(Box::new(Td::v4())))
    }

    /// A machine with Trusted Launch.
    pub(crate) fn trusted_launch() -> Self {
        let mut machine = Self::new(Hardware::None);
        machine.certify(|_| {});
        machine
    }

    /// The same with one thing changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Gives the key a certificate, spoiled by `change`, and its issuer's.
    pub(crate) fn certify(&mut self, change: impl FnOnce(&mut rcgen::CertificateParams)) {
        let leaf = self.ak_ca.leaf(&self.ak.key(), change);
        self.certificates = vec![leaf, self.ak_ca.intermediate.clone()];
    }

    /// The guest, to be spoiled.
    pub(crate) fn guest(&mut self) -> &mut Guest {
        match &mut self.hardware {
            Hardware::Snp(guest) => guest,
            Hardware::Tdx(_) | Hardware::None => panic!("no SNP guest"),
        }
    }

    /// The TD, to be spoiled.
    pub(crate) fn td(&mut self) -> &mut Td {
        match &mut self.hardware {
            Hardware::Tdx(td) => td,
            Hardware::Snp(_) | Hardware::None => panic!("no TD"),
        }
    }

    fn reported(&self) -> [u8; 64] {
        let mut data = [0; 64];
        data[..32].copy_from_slice(&sha256(&[self.runtime_data.as_bytes()]));
        self.report_data.unwrap_or(data)
    }

    /// The HCL report; empty without hardware.
    pub(crate) fn hcl(&mut self) -> Vec<u8> {
        let data = self.reported();
        let sent = self.sent_runtime_data.clone().unwrap_or_else(|| self.runtime_data.clone());
        let mut report = match &mut self.hardware {
            Hardware::Snp(guest) => {
                guest.put(0x50, &data);
                hcl(2, &guest.report_bytes(), sent.as_bytes())
            }
            Hardware::Tdx(td) => {
                let mut report = td_report(&td.body, &self.td_report_data.unwrap_or(data));
                (self.spoil_td_report)(&mut report);
                hcl(4, &report, sent.as_bytes())
            }
            Hardware::None => return Vec::new(),
        };
        (self.spoil_hcl)(&mut report);
        report
    }

    /// What vouches for the hardware report.
    pub(crate) fn vouching(&mut self) -> Vec<u8> {
        let data = self.reported();
        match &mut self.hardware {
            Hardware::Snp(guest) => guest.certificates().concat(),
            Hardware::Tdx(td) => {
                td.put(at::REPORTDATA, &data);
                td.quote()
            }
            Hardware::None => Vec::new(),
        }
    }

    /// The quote: `TPMS_ATTEST`.
    pub(crate) fn attest(&self, binding: &[u8]) -> Vec<u8> {
        let selection = self.quoted.unwrap_or_else(asked);
        let values = self.firmware.pcrs(selection.bank);
        let values: Vec<_> = selection.pcrs.iter().map(|pcr| *values.get(pcr).unwrap()).collect();
        let parts: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let digest = HashAlg::Sha256.digest(&parts);
        let signer = self.area.name().qualified_in(Hierarchy::Endorsement);
        let clock = ClockInfo { clock: 1_000_000, reset_count: 7, restart_count: 1, safe: true };
        let extra = self.extra_data.as_deref().unwrap_or(binding);
        Attest::encode_quote(&signer, extra, clock, 0x2020_0312_0012_0003, &selection, digest.as_bytes())
    }

    /// The item that the machine sends, over this binding.
    pub(crate) fn item(&mut self, binding: &[u8]) -> Vec<u8> {
        let (report, vouching, attest) = (self.hcl(), self.vouching(), self.attest(binding));
        let log = self.firmware.log();
        AzureItem {
            report: &report,
            hardware: match self.hardware {
                Hardware::Snp(_) => AzureHardware::Snp(&vouching),
                Hardware::Tdx(_) => AzureHardware::Tdx(&vouching),
                Hardware::None => AzureHardware::None,
            },
            ak_certificates: self.certificates.iter().map(Vec::as_slice).collect(),
            ak_public: &self.sent_area,
            quote: Signed { attest: &attest, signature: &self.signer.sign(&attest) },
            firmware_log: self.send_log.then_some(log.as_slice()),
            pcr_claims: self
                .claims
                .iter()
                .map(|(pcr, value)| (PcrIndex::new(*pcr).unwrap(), value.as_slice()))
                .collect(),
        }
        .encode()
    }

    /// What the verifier brings.
    pub(crate) fn endorsements(&self) -> AzureEndorsements {
        let mut roots = Roots::new();
        if let Some(class) = self.ak_class {
            roots.add(Anchor::new(&self.ak_ca.root, class).unwrap());
        }
        let mut endorsements = AzureEndorsements { roots: Arc::new(roots), ..AzureEndorsements::default() };
        match &self.hardware {
            Hardware::Snp(guest) => endorsements.snp = guest.endorsements(),
            Hardware::Tdx(td) => endorsements.tdx = td.endorsements(),
            Hardware::None => {}
        }
        endorsements
    }

    /// The binding that this machine answers a challenge with.
    pub(crate) fn binding(&self, challenge: Challenge, key: impl Into<AnsweringKey>) -> Binding {
        let log = self.firmware.log();
        let commitment = Commitment {
            kind: EvidenceKind::Azure,
            item: &[1],
            firmware_log: self.send_log.then(|| sha256(&[&log])),
            ak_spki_sha256: Some(sha256(&[&self.ak.key().spki()])),
        };
        challenge.answer(key, &[commitment]).unwrap()
    }

    /// The whole way, for a new challenge.
    pub(crate) fn verify(&mut self) -> Result<Verified<AzureClaims>, Unverified> {
        let binding = self.binding(challenge(Purpose::Enrol), node_key());
        let item = self.item(binding.digest_of(EvidenceKind::Azure).unwrap());
        verify(&item, &self.endorsements(), &binding, self.now)
    }

    /// The code of its refusal, or `accepted`.
    pub(crate) fn code(mut self) -> &'static str {
        self.verify().map_or_else(|refusal| refusal.code(), |_| "accepted")
    }
}

/// The TDREPORT that a quote with this body was made of.
fn td_report(body: &[u8], report_data: &[u8; 64]) -> Vec<u8> {
    let mut report = vec![0; 1024];
    report[0] = 0x81;
    // CPUSVN and MAC, which no quote has
    report[16..32].fill(0x5a);
    report[224..256].fill(0x5a);
    report[128..192].copy_from_slice(report_data);
    report[256..264].copy_from_slice(&[0xff, 1, 3, 0, 0, 0, 0, 0]);
    report[264..384].copy_from_slice(&body[..120]);
    report[384..400].copy_from_slice(&body[..16]);
    report[512..912].copy_from_slice(&body[120..520]);
    seal(&mut report);
    report
}

/// Writes the digests of its parts into a TDREPORT.
pub(crate) fn seal(report: &mut [u8]) {
    for (at, part) in [(32, 256..495), (80, 512..1024)] {
        let digest = HashAlg::Sha384.digest(&[&report[part]]);
        report[at..at + 48].copy_from_slice(digest.as_bytes());
    }
}

pub(crate) fn verify(
    item: &[u8],
    endorsements: &AzureEndorsements,
    binding: &Binding,
    now: UnixTime,
) -> Result<Verified<AzureClaims>, Unverified> {
    AzureEvidence::parse(item)?.verify(endorsements, binding, now)
}

/// Refused with this code, and accepted without the change.
#[track_caller]
pub(crate) fn check(good: fn() -> Machine, spoil: impl FnOnce(&mut Machine), code: &str) {
    assert_eq!(good().code(), "accepted", "the machine is good before it is spoiled");
    assert_eq!(good().with(spoil).code(), code);
}

/// What the paravisor says, of a confidential machine.
pub(crate) fn unique_id(claims: &AzureClaims) -> &str {
    let AzureMachine::Confidential { runtime_data, .. } = &claims.machine else { panic!("no paravisor") };
    &runtime_data.configuration.vm_unique_id
}
