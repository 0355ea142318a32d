//! Facts of SEV-SNP guests: what a verified report says, bit by bit and component by component. Verifies nothing.

use holdfast_evidence::Provenance;
use holdfast_evidence::snp::{FirmwareVersion, Report, Tcb, TcbOf, VerifiedReport};

use super::registry::kind_facts;
use super::{Fact, FactId, Facts};
use crate::value::{Value, Version, digest_of};

kind_facts! {
    /// A fact of SEV-SNP guests.
    SnpFact, FactId::Snp;
    ReportId "snp.report_id" Digest One Machine No, Some("snp:report_id"),
        "identity of this one run of the guest; launched again, it is another";
    Class "snp.class" Text One Origin No, Some("snp:class"),
        "trust class of the root above the evidence of SEV-SNP guests";
    RootDigest "snp.root.sha256" Digest One Origin No, Some("snp:root"),
        "SHA-256 of AMD's root certificate (ARK) above the key that signed";
    RootName "snp.root.name" Text One Origin No, None,
        "name of that root certificate";
    ChipId "snp.chip_id" Digest One Hardware Inventory, Some("snp:chip_id"),
        "the chip that the guest runs on, 64 bytes; a Turin's 8 bytes with zeros behind them; not proven where the provider's key (VLEK) signed and the host masks the chip";
    Product "snp.product" Text One Origin No, Some("snp:product"),
        "processor family: Milan, Genoa or Turin";
    SigningKey "snp.signing_key" Text One Origin No, Some("snp:signing_key"),
        "what signed: vcek, a key of the chip, or vlek, a key that AMD gave to a provider";
    CspId "snp.csp_id" Text One Hardware No, Some("snp:csp_id"),
        "the provider that the VLEK was given to, such as CN=cc-us-east-2.amazonaws.com";
    ReportVersion "snp.report_version" Integer One Hardware No, None,
        "version of the report: 2, 3 or 5";
    Launch "snp.launch" Digest One State Launch, Some("snp:launch"),
        "digest of the launch: measurement, host data and id key, as holdfast-policy measure snp registers it";
    Measurement "snp.measurement" Digest One State No, Some("snp:measurement"),
        "launch digest over the guest's initial memory, SHA-384";
    HostData "snp.host_data" Digest One State No, Some("snp:host_data"),
        "32 bytes that the host gave at launch";
    Vmpl "snp.vmpl" Integer One State No, Some("snp:vmpl"),
        "privilege level that asked for the report: 0 is the most privileged; EC2 has 1, guests above an SVSM more than 0";
    IdBlock "snp.id_block" Bool One State No, Some("snp:id_block"),
        "whether the firmware checked an ID block, signed by the id key";
    IdKeyDigest "snp.id_key_digest" Digest One State No, Some("snp:id_key"),
        "SHA-384 of the key that signed the ID block; not proven without one";
    AuthorKeyDigest "snp.author_key_digest" Digest One State No, Some("snp:author_key"),
        "SHA-384 of the key that signed the id key; not proven without one";
    GuestSvn "snp.guest_svn" Integer One State No, Some("snp:guest_svn"),
        "security version that the ID block gives the guest; not proven without one, and anybody's word unless snp.id_key_digest or snp.author_key_digest is pinned";
    FamilyId "snp.family_id" Text One State No, Some("snp:family_id"),
        "16 bytes in hex that the ID block calls the guest's family; as little worth as snp.guest_svn without a pinned key";
    ImageId "snp.image_id" Text One State No, Some("snp:image_id"),
        "16 bytes in hex that the ID block calls the guest's image; as little worth as snp.guest_svn without a pinned key";
    PolicyAbi "snp.policy.abi" Version One State No, None,
        "least firmware interface that the guest accepts";
    PolicySmt "snp.policy.smt" Bool One State No, Some("snp:policy:smt"),
        "whether the guest allows simultaneous multithreading";
    PolicyMigrationAgent "snp.policy.migration_agent" Bool One State No, None,
        "whether the guest allows a migration agent; a guest that does is always refused";
    PolicyDebug "snp.policy.debug" Bool One State No, None,
        "whether the host may read and write the guest's memory; a guest that allows it is always refused";
    PolicySingleSocket "snp.policy.single_socket" Bool One State No, Some("snp:policy:single_socket"),
        "whether the guest runs on one socket only";
    PolicyCxl "snp.policy.cxl" Bool One State No, Some("snp:policy:cxl"),
        "whether the guest allows memory behind CXL";
    PolicyAes256Xts "snp.policy.aes_256_xts" Bool One State No, Some("snp:policy:aes_256_xts"),
        "whether the guest demands AES-256-XTS";
    PolicyRaplDisabled "snp.policy.rapl_disabled" Bool One State No, Some("snp:policy:rapl_disabled"),
        "whether the guest demands that power reporting is off";
    PolicyCiphertextHiding "snp.policy.ciphertext_hiding" Bool One State No, Some("snp:policy:ciphertext_hiding"),
        "whether the guest demands that its ciphertext is hidden from the host";
    PolicyPageSwapDisabled "snp.policy.page_swap_disabled" Bool One State No, Some("snp:policy:page_swap_disabled"),
        "whether the guest demands that the host cannot move or swap its pages";
    PlatformSmt "snp.platform.smt" Bool One State No, Some("snp:platform:smt"),
        "whether simultaneous multithreading is on";
    PlatformTsme "snp.platform.tsme" Bool One State No, Some("snp:platform:tsme"),
        "whether all memory is encrypted (TSME)";
    PlatformEcc "snp.platform.ecc" Bool One State No, Some("snp:platform:ecc"),
        "whether memory has error correction";
    PlatformRaplDisabled "snp.platform.rapl_disabled" Bool One State No, Some("snp:platform:rapl_disabled"),
        "whether power reporting is off";
    PlatformCiphertextHiding "snp.platform.ciphertext_hiding" Bool One State No, Some("snp:platform:ciphertext_hiding"),
        "whether ciphertext is hidden from the host";
    PlatformAliasCheck "snp.platform.alias_check_complete" Bool One State No, Some("snp:platform:alias_check_complete"),
        "whether the firmware found no memory aliases since the last reset (BadRAM); old firmware cannot say so";
    PlatformSevTio "snp.platform.sev_tio" Bool One State No, Some("snp:platform:sev_tio"),
        "whether trusted devices (SEV-TIO) are on";
    PlatformInfo "snp.platform.info" Bits One State No, None,
        "all bits of PLATFORM_INFO, those without a name here among them";
    ReportedFmc "snp.tcb.reported.fmc" Integer One State No, None,
        "first mutable code in the TCB that the signing key is derived from; from Turin on";
    ReportedBootloader "snp.tcb.reported.bootloader" Integer One State No, Some("snp:tcb:bootloader"),
        "bootloader in the TCB that the signing key is derived from";
    ReportedTee "snp.tcb.reported.tee" Integer One State No, Some("snp:tcb:tee"),
        "security processor's operating system in the TCB that the signing key is derived from";
    ReportedSnp "snp.tcb.reported.snp" Integer One State No, Some("snp:tcb:snp"),
        "SNP firmware in the TCB that the signing key is derived from";
    ReportedMicrocode "snp.tcb.reported.microcode" Integer One State No, Some("snp:tcb:microcode"),
        "microcode in the TCB that the signing key is derived from";
    CommittedFmc "snp.tcb.committed.fmc" Integer One State No, None,
        "first mutable code in the TCB that the platform cannot be rolled back below; from Turin on";
    CommittedBootloader "snp.tcb.committed.bootloader" Integer One State No, None,
        "bootloader in the TCB that the platform cannot be rolled back below";
    CommittedTee "snp.tcb.committed.tee" Integer One State No, None,
        "security processor's operating system in the TCB that the platform cannot be rolled back below";
    CommittedSnp "snp.tcb.committed.snp" Integer One State No, None,
        "SNP firmware in the TCB that the platform cannot be rolled back below";
    CommittedMicrocode "snp.tcb.committed.microcode" Integer One State No, None,
        "microcode in the TCB that the platform cannot be rolled back below";
    CurrentFmc "snp.tcb.current.fmc" Integer One State No, None,
        "first mutable code in the TCB that runs; from Turin on";
    CurrentBootloader "snp.tcb.current.bootloader" Integer One State No, None,
        "bootloader in the TCB that runs";
    CurrentTee "snp.tcb.current.tee" Integer One State No, None,
        "security processor's operating system in the TCB that runs";
    CurrentSnp "snp.tcb.current.snp" Integer One State No, None,
        "SNP firmware in the TCB that runs";
    CurrentMicrocode "snp.tcb.current.microcode" Integer One State No, None,
        "microcode in the TCB that runs";
    LaunchFmc "snp.tcb.launch.fmc" Integer One State No, None,
        "first mutable code in the TCB that the guest was launched on; from Turin on";
    LaunchBootloader "snp.tcb.launch.bootloader" Integer One State No, None,
        "bootloader in the TCB that the guest was launched on";
    LaunchTee "snp.tcb.launch.tee" Integer One State No, None,
        "security processor's operating system in the TCB that the guest was launched on";
    LaunchSnp "snp.tcb.launch.snp" Integer One State No, None,
        "SNP firmware in the TCB that the guest was launched on";
    LaunchMicrocode "snp.tcb.launch.microcode" Integer One State No, None,
        "microcode in the TCB that the guest was launched on";
    CurrentFirmware "snp.firmware.current" Version One State No, Some("snp:firmware"),
        "version of the SNP firmware that runs: interface major, minor, build";
    CommittedFirmware "snp.firmware.committed" Version One State No, None,
        "version of the SNP firmware that the platform cannot be rolled back below";
    ProvisionalFirmware "snp.firmware.provisional" Bool One State No, None,
        "whether what runs is not committed yet, in its TCB or its version, so that the host may still roll it back";
    CurrentMitigations "snp.mitigations.current" Bits One State No, None,
        "mitigations in force now, a bit each; from report version 5 on";
    LaunchMitigations "snp.mitigations.launch" Bits One State No, None,
        "mitigations in force when the guest was launched, a bit each; from report version 5 on";
    CrlChecked "snp.crl.checked" Bool One Hardware No, None,
        "whether a revocation list of the root was looked at that counted at the moment of the verification; what a list revokes is refused in any case";
    CrlAge "snp.crl.age_days" Integer One Hardware No, None,
        "how many whole days ago that list was issued; not proven where none was looked at";
}

/// The facts of an SNP item.
#[must_use]
pub fn snp(verified: &VerifiedReport) -> Facts {
    let mut facts = snp_report(verified);
    let class = Value::text(verified.root().class.as_str());
    facts.insert(FactId::Snp(SnpFact::Class), Fact::of(verified.provenance(), vec![class]));
    facts
}

/// The facts of a report that other evidence carries: all but the class, by which an SNP item is known to be there.
#[must_use]
pub fn snp_report(verified: &VerifiedReport) -> Facts {
    let mut facts = Collector { facts: Facts::new(), provenance: verified.provenance() };
    let (report, vek, root) = (verified.report(), verified.vek(), verified.root());
    facts.digest(SnpFact::ReportId, &report.report_id());
    facts.digest(SnpFact::RootDigest, &root.sha256);
    facts.text(SnpFact::RootName, &root.name);
    if report.chip_id() != [0; 64] {
        facts.digest(SnpFact::ChipId, &report.chip_id());
    }
    facts.text(SnpFact::Product, vek.product.as_str());
    facts.text(SnpFact::SigningKey, vek.kind.as_str());
    if let Some(csp_id) = &vek.csp_id {
        facts.text(SnpFact::CspId, csp_id);
    }
    facts.integer(SnpFact::ReportVersion, report.version());
    facts.integer(SnpFact::Vmpl, report.vmpl());
    launched(&mut facts, report);
    guest_policy(&mut facts, report);
    platform(&mut facts, report);
    for of in TcbOf::ALL {
        if let Some(tcb) = report.tcb(of, vek.product.layout()) {
            components(&mut facts, of, tcb);
        }
    }
    facts.firmware(SnpFact::CurrentFirmware, report.current_firmware());
    facts.firmware(SnpFact::CommittedFirmware, report.committed_firmware());
    facts.bool(SnpFact::ProvisionalFirmware, report.is_provisional());
    facts.bool(SnpFact::CrlChecked, verified.crl_age_days().is_some());
    if let Some(days) = verified.crl_age_days() {
        facts.integer(SnpFact::CrlAge, days);
    }
    if let Some((launch, current)) = report.mitigations() {
        facts.add(SnpFact::LaunchMitigations, Value::Bits(launch));
        facts.add(SnpFact::CurrentMitigations, Value::Bits(current));
    }
    facts.facts
}

/// What was launched, and by whose word.
fn launched(facts: &mut Collector, report: &Report) {
    let launch = report.launch();
    facts.digest(SnpFact::Launch, &launch.digest());
    facts.digest(SnpFact::Measurement, &launch.measurement);
    facts.digest(SnpFact::HostData, &launch.host_data);
    facts.bool(SnpFact::IdBlock, report.has_id_block());
    if !report.has_id_block() {
        return;
    }
    facts.digest(SnpFact::IdKeyDigest, &launch.id_key_digest);
    if report.key_info().author_key() && report.author_key_digest() != [0; 48] {
        facts.digest(SnpFact::AuthorKeyDigest, &report.author_key_digest());
    }
    facts.integer(SnpFact::GuestSvn, report.guest_svn());
    facts.text(SnpFact::FamilyId, &hex::encode(report.family_id()));
    facts.text(SnpFact::ImageId, &hex::encode(report.image_id()));
}

fn guest_policy(facts: &mut Collector, report: &Report) {
    let policy = report.policy();
    let abi = Version([policy.abi_major().into(), policy.abi_minor().into(), 0, 0]);
    facts.add(SnpFact::PolicyAbi, Value::Version(abi));
    facts.bool(SnpFact::PolicySmt, policy.smt());
    facts.bool(SnpFact::PolicyMigrationAgent, policy.migration_agent());
    facts.bool(SnpFact::PolicyDebug, policy.debug());
    facts.bool(SnpFact::PolicySingleSocket, policy.single_socket());
    facts.bool(SnpFact::PolicyCxl, policy.cxl());
    facts.bool(SnpFact::PolicyAes256Xts, policy.aes_256_xts());
    facts.bool(SnpFact::PolicyRaplDisabled, policy.rapl_disabled());
    facts.bool(SnpFact::PolicyCiphertextHiding, policy.ciphertext_hiding());
    facts.bool(SnpFact::PolicyPageSwapDisabled, policy.page_swap_disabled());
}

fn platform(facts: &mut Collector, report: &Report) {
    let platform = report.platform_info();
    facts.bool(SnpFact::PlatformSmt, platform.smt());
    facts.bool(SnpFact::PlatformTsme, platform.tsme());
    facts.bool(SnpFact::PlatformEcc, platform.ecc());
    facts.bool(SnpFact::PlatformRaplDisabled, platform.rapl_disabled());
    facts.bool(SnpFact::PlatformCiphertextHiding, platform.ciphertext_hiding());
    facts.bool(SnpFact::PlatformAliasCheck, platform.alias_check_complete());
    facts.bool(SnpFact::PlatformSevTio, platform.sev_tio());
    facts.add(SnpFact::PlatformInfo, Value::Bits(platform.0));
}

fn components(facts: &mut Collector, of: TcbOf, tcb: Tcb) {
    use SnpFact as F;
    let [fmc, bootloader, tee, snp, microcode] = match of {
        TcbOf::Reported => {
            [F::ReportedFmc, F::ReportedBootloader, F::ReportedTee, F::ReportedSnp, F::ReportedMicrocode]
        }
        TcbOf::Committed => {
            [F::CommittedFmc, F::CommittedBootloader, F::CommittedTee, F::CommittedSnp, F::CommittedMicrocode]
        }
        TcbOf::Current => [F::CurrentFmc, F::CurrentBootloader, F::CurrentTee, F::CurrentSnp, F::CurrentMicrocode],
        TcbOf::Launch => [F::LaunchFmc, F::LaunchBootloader, F::LaunchTee, F::LaunchSnp, F::LaunchMicrocode],
    };
    if let Some(value) = tcb.fmc {
        facts.integer(fmc, value);
    }
    facts.integer(bootloader, tcb.bootloader);
    facts.integer(tee, tcb.tee);
    facts.integer(snp, tcb.snp);
    facts.integer(microcode, tcb.microcode);
}

struct Collector {
    facts: Facts,
    provenance: Provenance,
}

impl Collector {
    fn add(&mut self, fact: SnpFact, value: Value) {
        self.facts.insert(FactId::Snp(fact), Fact::of(self.provenance, vec![value]));
    }

    fn bool(&mut self, fact: SnpFact, value: bool) {
        self.add(fact, Value::Bool(value));
    }

    fn integer(&mut self, fact: SnpFact, value: impl Into<u64>) {
        self.add(fact, Value::Integer(value.into()));
    }

    fn text(&mut self, fact: SnpFact, value: &str) {
        self.add(fact, Value::text(value));
    }

    fn digest(&mut self, fact: SnpFact, bytes: &[u8]) {
        if let Some(digest) = digest_of(bytes) {
            self.add(fact, Value::Digest(digest));
        }
    }

    fn firmware(&mut self, fact: SnpFact, version: FirmwareVersion) {
        let FirmwareVersion { major, minor, build } = version;
        self.add(fact, Value::Version(Version([major.into(), minor.into(), build.into(), 0])));
    }
}
