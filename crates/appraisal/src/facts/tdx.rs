//! Facts of Intel TDX guests. Verifies nothing.

use std::sync::Arc;

use holdfast_evidence::Provenance;
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tdx::{TdAttributes, TdBoot, TdEvent, TdText, TdxClaims, VerifiedQuote};
use holdfast_evidence::x509::RootIdentity;
use holdfast_identity::UnixTime;
use time::OffsetDateTime;

use super::boot::signature_entry;
use super::registry::kind_facts;
use super::{Event, Fact, FactId, Facts, LogFacts};
use crate::decision::Ownership;
use crate::value::{Value, digest_of};

kind_facts! {
    /// A fact of Intel TDX guests.
    TdxFact, FactId::Tdx;
    Class "tdx.class" Text One Origin No, Some("tdx:class"),
        "trust class of the root above the evidence of Intel TDX guests";
    RootDigest "tdx.root.sha256" Digest One Origin No, Some("tdx:root"),
        "SHA-256 of the root certificate above quote and collateral";
    RootName "tdx.root.name" Text One Origin No, None,
        "name of the root certificate above quote and collateral";
    Instance "tdx.instance" Digest One Machine No, Some("tdx:instance"),
        "who the guest is: tdx.launch where that is registered, else SHA-256 of the SubjectPublicKeyInfo of its node key";
    Launch "tdx.launch" Digest One State Launch, Some("tdx:launch"),
        "which launch the guest is of: SHA-256 over MRTD, MRCONFIGID, MROWNER and MROWNERCONFIG, as measure and registration have it";
    MrTd "tdx.mrtd" Digest One State No, Some("tdx:mrtd"),
        "MRTD: the initial memory, firmware for the most part";
    RtMr0 "tdx.rtmr0" Digest One State No, Some("tdx:rtmr0"),
        "RTMR0: the firmware's configuration; depends on the virtual hardware";
    RtMr1 "tdx.rtmr1" Digest One State No, Some("tdx:rtmr1"),
        "RTMR1: what the firmware started";
    RtMr2 "tdx.rtmr2" Digest One State No, Some("tdx:rtmr2"),
        "RTMR2: what the boot loader loaded, command line included";
    RtMr3 "tdx.rtmr3" Digest One State No, Some("tdx:rtmr3"),
        "RTMR3: for the application";
    MrConfigId "tdx.mrconfigid" Digest One State No, Some("tdx:mrconfigid"),
        "MRCONFIGID: chosen by the host at launch";
    MrOwner "tdx.mrowner" Digest One State No, Some("tdx:mrowner"),
        "MROWNER: chosen by the host at launch";
    MrOwnerConfig "tdx.mrownerconfig" Digest One State No, Some("tdx:mrownerconfig"),
        "MROWNERCONFIG: chosen by the host at launch";
    TdId "tdx.td_id" Digest One State No, None,
        "TD_ID: drawn at every launch; from extended reports (TDX 1.5, body type 4) only";
    TdAttributesRaw "tdx.td_attributes" Integer One State No, None,
        "all 64 bits of TDATTRIBUTES; guests under debug, migratable ones and reserved bits are always refused";
    SeptVeDisable "tdx.attributes.sept_ve_disable" Bool One State No, None,
        "whether a page that the host took away stops the guest (SEPT_VE_DISABLE); guests without it are always refused";
    Pks "tdx.attributes.pks" Bool One State No, None,
        "whether the guest may use supervisor protection keys";
    KeyLocker "tdx.attributes.key_locker" Bool One State No, None,
        "whether the guest may use Key Locker";
    Perfmon "tdx.attributes.perfmon" Bool One State No, None,
        "whether the guest may use performance counters";
    Xfam "tdx.xfam" Integer One State No, None,
        "XFAM: processor features that the guest may use";
    ServiceTd "tdx.service_td" Bool One State No, None,
        "whether a service TD is bound to the guest; only those that the verifier lists are accepted at all";
    MrServiceTd "tdx.mrservicetd" Digest One State No, None,
        "MRSERVICETD: which service TDs are bound, where any are";
    MrSeam "tdx.mrseam" Digest One Hardware No, None,
        "MRSEAM: the TDX module itself";
    MrSignerSeam "tdx.mrsignerseam" Digest One Origin No, None,
        "MRSIGNERSEAM: who signed the TDX module; zero for Intel, and anything else is always refused";
    ModuleSvn "tdx.tee_tcb_svn.module_svn" Integer One Hardware No, None,
        "security version of the TDX module at launch (TEE_TCB_SVN component 0)";
    ModuleVersion "tdx.tee_tcb_svn.module_version" Integer One Hardware No, None,
        "major version of the TDX module at launch (TEE_TCB_SVN component 1)";
    Microcode "tdx.tee_tcb_svn.microcode" Integer One Hardware No, None,
        "security version of the microcode at launch (TEE_TCB_SVN component 2)";
    ModuleSvnNow "tdx.tee_tcb_svn2.module_svn" Integer One Hardware No, None,
        "security version of the TDX module now (TEE_TCB_SVN2 component 0); TDX 1.5 only";
    ModuleVersionNow "tdx.tee_tcb_svn2.module_version" Integer One Hardware No, None,
        "major version of the TDX module now (TEE_TCB_SVN2 component 1); TDX 1.5 only";
    MicrocodeNow "tdx.tee_tcb_svn2.microcode" Integer One Hardware No, None,
        "security version of the microcode now (TEE_TCB_SVN2 component 2); TDX 1.5 only";
    TcbStatus "tdx.tcb.status" Text One Hardware No, Some("tdx:tcb_status"),
        "Intel's word for the platform's versions, module and quoting enclave included: UpToDate, SWHardeningNeeded, …; Revoked is always refused";
    QeStatus "tdx.tcb.qe_status" Text One Hardware No, None,
        "Intel's word for the quoting enclave alone";
    Advisories "tdx.tcb.advisories" Text Set Hardware No, None,
        "Intel's advisories that concern the platform, such as INTEL-SA-00837; empty where it is known that there are none";
    EvaluationNumber "tdx.tcb.evaluation_number" Integer One Hardware No, None,
        "how new Intel's bar is: the lower tcbEvaluationDataNumber of TCB info and QE identity";
    TcbDate "tdx.tcb.date" Integer One Hardware No, None,
        "day of the TCB level that is met, as a number such as 20240313: the oldest among platform, module and quoting enclave";
    TcbAge "tdx.tcb.age_days" Integer One Hardware No, None,
        "how many whole days that day lay back when the quote was verified: for grace periods";
    Fmspc "tdx.fmspc" Text One Hardware No, Some("tdx:fmspc"),
        "FMSPC: kind of platform, 12 digits in lower case";
    PceId "tdx.pceid" Text One Hardware No, None,
        "PCE-ID, 4 digits in lower case";
    PceSvn "tdx.pce_svn" Integer One Hardware No, None,
        "security version of the provisioning certification enclave";
    CpuSvn "tdx.cpu_svn" Text One Hardware No, None,
        "security versions of the platform's 16 components, 32 digits in lower case";
    Piid "tdx.piid" Text One Hardware Inventory, Some("tdx:piid"),
        "platform instance ID: which host, 32 digits in lower case; of platforms registered with Intel only, and drawn anew when the host's SGX is reset";
    Dynamic "tdx.platform.dynamic" Bool One Hardware No, None,
        "whether packages may be added to the platform; of registered platforms only";
    CachedKeys "tdx.platform.cached_keys" Bool One Hardware No, None,
        "whether Intel's registration service keeps the platform's root keys; of registered platforms only";
    Smt "tdx.platform.smt" Bool One Hardware No, Some("tdx:smt"),
        "whether hyper-threading is on; of registered platforms only";
    TrailingBytes "tdx.trailing_bytes" Integer One State No, None,
        "how many bytes followed the quote's end; they are not looked at, and part of nothing";
    Events0 "tdx.events.rtmr0" Digest List State No, None,
        "digests of all events of RTMR0, in order; from an event log that leads to the quoted registers";
    Events1 "tdx.events.rtmr1" Digest List State No, None,
        "digests of all events of RTMR1, in order";
    Events2 "tdx.events.rtmr2" Digest List State No, None,
        "digests of all events of RTMR2, in order";
    Events3 "tdx.events.rtmr3" Digest List State No, None,
        "digests of all events of RTMR3, in order";
    SecureBootEnabled "tdx.secure_boot.enabled" Bool One State No, Some("tdx:secure_boot"),
        "whether the guest's firmware checked signatures of what it started; the host chooses its keys, so that a condition is sound only with one on tdx.secure_boot.db";
    SecureBootPk "tdx.secure_boot.pk" Labelled Set State No, None,
        "platform key of the guest's firmware";
    SecureBootKek "tdx.secure_boot.kek" Labelled Set State No, None,
        "key exchange keys of the guest's firmware";
    SecureBootDb "tdx.secure_boot.db" Labelled Set State No, None,
        "what the guest's firmware may start: certificates and image digests";
    SecureBootDbx "tdx.secure_boot.dbx" Labelled Set State No, None,
        "what the guest's firmware must not start: certificates and image digests";
    Applications "tdx.boot.applications" Digest List State No, Some("tdx:boot_application"),
        "Authenticode digests of everything that was started (boot loader, kernel, UKI), in order";
    CommandLines "tdx.boot.command_lines" Text List State No, Some("tdx:command_line"),
        "everything in RTMR2 that may be a kernel command line, in order; under GRUB the kernel's file name comes first";
    LoadedFiles "tdx.boot.loaded_files" Digest List State No, None,
        "digests of everything in RTMR2 without a text (initial RAM disk, files), in order; a condition on command lines is sound only together with one on these";
    LoaderTexts "tdx.boot.loader_texts" Text List State No, None,
        "everything that the boot loader says it did, in order, as far as digests cover it";
}

/// The facts of a guest. `ownership` says whether its launch is registered, which names it then.
#[must_use]
pub fn tdx(claims: &TdxClaims, ownership: &Ownership) -> Facts {
    let launch = claims.launch().digest();
    let is_registered = ownership.inventory.iter().any(|answer| answer.digest == launch && answer.listing.is_listed());
    let instance = if is_registered { launch } else { sha256(&[claims.node_key.spki()]) };
    let mut facts = tdx_quote(&claims.quote, claims.boot.as_deref(), claims.provenance());
    let values = digest_of(&instance).map(Value::Digest).into_iter().collect();
    facts.insert(FactId::Tdx(TdxFact::Instance), Fact::of(claims.provenance(), values));
    facts
}

/// The facts of a verified quote, without whose it is: also for the paravisor's quote inside an Azure guest.
#[must_use]
pub fn tdx_quote(quote: &VerifiedQuote, boot: Option<&TdBoot>, provenance: Provenance) -> Facts {
    let log = boot.map(|boot| boot_facts(boot, provenance)).unwrap_or_default();
    let mut facts = Facts::with_log(Arc::new(log));
    let mut add = |fact: TdxFact, values: Vec<Value>| {
        facts.insert(FactId::Tdx(fact), Fact::of(provenance, values));
    };
    let RootIdentity { name, sha256: root, class } = quote.root();
    add(TdxFact::Class, vec![Value::text(class.as_str())]);
    add(TdxFact::RootDigest, digest(root));
    add(TdxFact::RootName, vec![Value::text(name)]);
    add(TdxFact::Launch, digest(&quote.launch().digest()));
    add(TdxFact::TrailingBytes, vec![Value::Integer(quote.trailing_bytes() as u64)]);
    report(quote, &mut add);
    tcb(quote, &mut add);
    platform(quote, &mut add);
    facts
}

fn report(quote: &VerifiedQuote, add: &mut impl FnMut(TdxFact, Vec<Value>)) {
    let report = quote.report();
    let [rtmr0, rtmr1, rtmr2, rtmr3] = &report.rt_mr;
    for (fact, measurement) in [
        (TdxFact::MrTd, &report.mr_td),
        (TdxFact::RtMr0, rtmr0),
        (TdxFact::RtMr1, rtmr1),
        (TdxFact::RtMr2, rtmr2),
        (TdxFact::RtMr3, rtmr3),
        (TdxFact::MrConfigId, &report.mr_config_id),
        (TdxFact::MrOwner, &report.mr_owner),
        (TdxFact::MrOwnerConfig, &report.mr_owner_config),
        (TdxFact::MrSeam, &report.mr_seam),
        (TdxFact::MrSignerSeam, &report.mr_signer_seam),
    ] {
        add(fact, digest(measurement));
    }
    let attributes = report.td_attributes;
    add(TdxFact::TdAttributesRaw, vec![Value::Integer(attributes.0)]);
    for (fact, bit) in [
        (TdxFact::SeptVeDisable, TdAttributes::SEPT_VE_DISABLE),
        (TdxFact::Pks, TdAttributes::PKS),
        (TdxFact::KeyLocker, TdAttributes::KEY_LOCKER),
        (TdxFact::Perfmon, TdAttributes::PERFMON),
    ] {
        add(fact, vec![Value::Bool(attributes.has(bit))]);
    }
    add(TdxFact::Xfam, vec![Value::Integer(report.xfam)]);
    let [svn, version, microcode, ..] = report.tee_tcb_svn;
    add(TdxFact::ModuleSvn, vec![Value::Integer(svn.into())]);
    add(TdxFact::ModuleVersion, vec![Value::Integer(version.into())]);
    add(TdxFact::Microcode, vec![Value::Integer(microcode.into())]);
    let service = report.later.as_ref().map(|later| &later.mr_service_td).filter(|service| **service != [0; 48]);
    add(TdxFact::ServiceTd, vec![Value::Bool(report.has_service_td())]);
    if let Some(service) = service {
        add(TdxFact::MrServiceTd, digest(service));
    }
    let Some(later) = &report.later else { return };
    let [svn, version, microcode, ..] = later.tee_tcb_svn2;
    add(TdxFact::ModuleSvnNow, vec![Value::Integer(svn.into())]);
    add(TdxFact::ModuleVersionNow, vec![Value::Integer(version.into())]);
    add(TdxFact::MicrocodeNow, vec![Value::Integer(microcode.into())]);
    if let Some(extended) = &later.extended {
        add(TdxFact::TdId, digest(&extended.td_id));
    }
}

fn tcb(quote: &VerifiedQuote, add: &mut impl FnMut(TdxFact, Vec<Value>)) {
    let tcb = quote.tcb();
    add(TdxFact::TcbStatus, vec![Value::text(tcb.status.as_str())]);
    add(TdxFact::QeStatus, vec![Value::text(tcb.qe_status.as_str())]);
    add(TdxFact::Advisories, tcb.advisories.iter().map(|advisory| Value::text(advisory)).collect());
    add(TdxFact::EvaluationNumber, vec![Value::Integer(tcb.evaluation_number.into())]);
    if let Some(day) = day(tcb.date) {
        add(TdxFact::TcbDate, vec![Value::Integer(day)]);
    }
    let age = quote.verified_at().since(tcb.date) / SECONDS_A_DAY;
    add(TdxFact::TcbAge, vec![Value::Integer(u64::try_from(age).unwrap_or_default())]);
}

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// The day in UTC as a number, 20240313.
fn day(moment: UnixTime) -> Option<u64> {
    let (year, month, day) = OffsetDateTime::from_unix_timestamp(moment.seconds()).ok()?.to_calendar_date();
    Some(u64::try_from(year).ok()? * 10_000 + u64::from(u8::from(month)) * 100 + u64::from(day))
}

fn platform(quote: &VerifiedQuote, add: &mut impl FnMut(TdxFact, Vec<Value>)) {
    let platform = quote.platform();
    add(TdxFact::Fmspc, vec![hex(&platform.kind.fmspc)]);
    add(TdxFact::PceId, vec![hex(&platform.pce_id)]);
    add(TdxFact::PceSvn, vec![Value::Integer(platform.pce_svn.into())]);
    add(TdxFact::CpuSvn, vec![hex(&platform.cpu_svn)]);
    if let Some(instance) = &platform.instance_id {
        add(TdxFact::Piid, vec![hex(instance)]);
    }
    for (fact, flag) in [
        (TdxFact::Dynamic, platform.dynamic_platform),
        (TdxFact::CachedKeys, platform.cached_keys),
        (TdxFact::Smt, platform.smt_enabled),
    ] {
        if let Some(flag) = flag {
            add(fact, vec![Value::Bool(flag)]);
        }
    }
}

/// What the event log proves.
fn boot_facts(boot: &TdBoot, provenance: Provenance) -> LogFacts {
    let mut facts = LogFacts::new();
    for event in &boot.events {
        facts.push_event(Event {
            index: event.event,
            pcr: event.register,
            kind: event.kind.name().into(),
            digest: event.digest,
            hint: event.hint.as_deref().map(Into::into),
        });
    }
    let mut list = |fact: TdxFact, values: Vec<(u32, Value)>| {
        let (events, values) = values.into_iter().unzip();
        facts.insert(FactId::Tdx(fact), Fact { provenance, values, events });
    };
    let digests = |events: &[TdEvent]| events.iter().map(|e| (e.event, Value::Digest(e.digest))).collect();
    for (register, fact) in (0u8..).zip([TdxFact::Events0, TdxFact::Events1, TdxFact::Events2, TdxFact::Events3]) {
        let of_register = boot.events.iter().filter(|event| event.register == register);
        list(fact, of_register.map(|event| (event.event, Value::Digest(event.digest))).collect());
    }
    list(TdxFact::Applications, digests(&boot.applications));
    list(TdxFact::LoadedFiles, digests(&boot.loaded_files));
    list(TdxFact::CommandLines, boot.command_lines.iter().map(|line| (line.event, text(line))).collect());
    list(TdxFact::LoaderTexts, boot.texts.iter().map(|line| (line.event, text(line))).collect());
    let Some(secure_boot) = &boot.secure_boot else { return facts };
    let mut proven_by = |fact: TdxFact, event: u32, values: Vec<Value>| {
        facts.insert(FactId::Tdx(fact), Fact { provenance, values, events: vec![event] });
    };
    proven_by(TdxFact::SecureBootEnabled, secure_boot.enabled_event, vec![Value::Bool(secure_boot.enabled)]);
    for (fact, database) in [
        (TdxFact::SecureBootPk, &secure_boot.pk),
        (TdxFact::SecureBootKek, &secure_boot.kek),
        (TdxFact::SecureBootDb, &secure_boot.db),
        (TdxFact::SecureBootDbx, &secure_boot.dbx),
    ] {
        proven_by(fact, database.event, database.entries.iter().filter_map(signature_entry).collect());
    }
    facts
}

/// The text, or the digest of load options, which a policy's text is compared with by its digest.
fn text(line: &TdText) -> Value {
    line.text.as_deref().map_or(Value::Digest(line.digest), Value::text)
}

fn digest(bytes: &[u8]) -> Vec<Value> {
    digest_of(bytes).map(Value::Digest).into_iter().collect()
}

fn hex(bytes: &[u8]) -> Value {
    Value::text(&hex::encode(bytes))
}
