//! Facts of Azure machines. What the hardware reports is said in the words of `snp` or `tdx` and with the hardware's own
//! weight, what the virtual TPM quotes in those of `tpm`; the rest is the paravisor's word, or the provider's. Verifies
//! nothing.

use holdfast_evidence::Provenance;
use holdfast_evidence::azure::{AkCertificate, AzureClaims, AzureMachine, RuntimeData, VerifiedHardware};
use holdfast_evidence::tpm::QuotedBoot;
use holdfast_evidence::x509::RootIdentity;

use super::registry::kind_facts;
use super::{Fact, FactId, Facts, TdxFact, quoted, snp_report, tdx_quote};
use crate::value::{Value, digest_of};

kind_facts! {
    /// A fact of Azure machines.
    AzureFact, FactId::Azure;
    Instance "azure.instance" Digest One Machine No, Some("azure:instance"),
        "who the machine is: digest of azure.vm_unique_id and of the attestation key of its virtual TPM";
    Class "azure.class" Text One Origin No, Some("azure:class"),
        "trust class of the root above the hardware report; without one, above the attestation key's certificate";
    RootDigest "azure.root.sha256" Digest One Origin No, Some("azure:root"),
        "SHA-256 of that root certificate";
    RootName "azure.root.name" Text One Origin No, None,
        "name of that root certificate";
    Hardware "azure.hardware" Text One Origin No, Some("azure:hardware"),
        "what vouches for the virtual TPM: snp or tdx, a hardware report about its paravisor; none, the provider's certificate alone";
    VmUniqueId "azure.vm_unique_id" Text One Hardware Inventory, Some("azure:vm_unique_id"),
        "id that the paravisor gives the machine, in lower case; worth as much as the paravisor, which a rule must pin";
    AkDigest "azure.ak.spki_sha256" Digest One Hardware Inventory, Some("azure:ak"),
        "SHA-256 of the SubjectPublicKeyInfo of the virtual TPM's attestation key";
    AkSubject "azure.ak.subject" Text One Hardware No, Some("azure:ak_subject"),
        "name in the attestation key's certificate; not proven without one that a trusted root leads to";
    AkRootDigest "azure.ak.root.sha256" Digest One Origin No, Some("azure:ak_root"),
        "SHA-256 of the root certificate above the attestation key's certificate";
    AkRootName "azure.ak.root.name" Text One Origin No, None,
        "name of the root certificate above the attestation key's certificate";
    SecureBoot "azure.secure_boot" Bool One State No, Some("azure:secure_boot"),
        "whether the paravisor says that the firmware checks signatures; tpm.secure_boot.enabled says what it measured";
    ConsoleEnabled "azure.console_enabled" Bool One State No, Some("azure:console_enabled"),
        "whether the host can type at the guest's console";
    TpmEnabled "azure.tpm_enabled" Bool One State No, None,
        "whether the paravisor says that the machine has a TPM";
    TpmPersisted "azure.tpm_persisted" Bool One State No, Some("azure:tpm_persisted"),
        "whether the virtual TPM's state outlives the machine's being switched off";
    FilteredVpci "azure.filtered_vpci_devices_allowed" Bool One State No, Some("azure:filtered_vpci_devices_allowed"),
        "whether the host may give the machine devices";
    RootCertThumbprint "azure.root_cert_thumbprint" Text One State No, None,
        "thumbprint of a root certificate that was given with the machine's configuration, as the paravisor writes it";
    UserData "azure.user_data" Text One State No, None,
        "64 bytes in hex that whoever is root in the guest had put into the report; not there while they are zero";
}

/// What is known of an Azure machine, borrowed from verified claims, or from what an offline inspection found out.
#[derive(Clone, Copy, Debug)]
pub struct AzureSources<'a> {
    /// What vouches for the virtual TPM.
    pub machine: &'a AzureMachine,
    /// The certificate of its attestation key, where it is trusted.
    pub ak_certificate: Option<&'a AkCertificate>,
    /// SHA-256 of that key's `SubjectPublicKeyInfo`.
    pub ak_spki_sha256: &'a [u8; 32],
    /// The root above the machine.
    pub root: &'a RootIdentity,
    /// What was quoted.
    pub boot: &'a QuotedBoot,
}

impl<'a> From<&'a AzureClaims> for AzureSources<'a> {
    fn from(claims: &'a AzureClaims) -> Self {
        Self {
            machine: &claims.machine,
            ak_certificate: claims.ak_certificate.as_ref(),
            ak_spki_sha256: &claims.ak_spki_sha256,
            root: &claims.root,
            boot: &claims.boot,
        }
    }
}

/// The facts of an Azure machine.
#[must_use]
pub fn azure(sources: &AzureSources<'_>) -> Facts {
    let provenance = sources.machine.provenance(sources.root.class);
    let mut facts = quoted::quoted(sources.boot, provenance);
    if let Some(hardware) = sources.machine.hardware() {
        facts.join(reported(hardware));
    }
    let mut add = |fact: AzureFact, provenance: Provenance, value: Value| {
        facts.insert(FactId::Azure(fact), Fact::of(provenance, vec![value]));
    };
    let (hardware, reported) = match sources.machine.hardware() {
        Some(VerifiedHardware::Snp(report)) => ("snp", report.provenance()),
        Some(VerifiedHardware::Tdx(quote)) => ("tdx", quote.provenance()),
        None => ("none", provenance),
    };
    add(AzureFact::Hardware, reported, Value::text(hardware));
    add(AzureFact::Class, reported, Value::text(sources.root.class.as_str()));
    add(AzureFact::RootName, reported, Value::text(&sources.root.name));
    let instance = sources.machine.instance(sources.ak_spki_sha256);
    for (fact, provenance, digest) in [
        (AzureFact::Instance, provenance, &instance),
        (AzureFact::RootDigest, reported, &sources.root.sha256),
        (AzureFact::AkDigest, provenance, sources.ak_spki_sha256),
    ] {
        if let Some(digest) = digest_of(digest) {
            add(fact, provenance, Value::Digest(digest));
        }
    }
    if let Some(data) = sources.machine.runtime_data() {
        configured(&mut facts, data, provenance);
    }
    if let Some(certificate) = sources.ak_certificate {
        certified(&mut facts, certificate);
    }
    facts
}

/// What the hardware says, but for the class, by which an item of its own kind is known to be there.
fn reported(hardware: &VerifiedHardware) -> Facts {
    match hardware {
        VerifiedHardware::Snp(report) => snp_report(report),
        VerifiedHardware::Tdx(quote) => {
            let mut facts = tdx_quote(quote, None, quote.provenance());
            facts.remove(FactId::Tdx(TdxFact::Class));
            facts
        }
    }
}

/// What the paravisor says.
fn configured(facts: &mut Facts, data: &RuntimeData, provenance: Provenance) {
    let configuration = &data.configuration;
    let mut add = |fact: AzureFact, provenance: Provenance, value: Value| {
        facts.insert(FactId::Azure(fact), Fact::of(provenance, vec![value]));
    };
    add(AzureFact::VmUniqueId, provenance, Value::text(&configuration.vm_unique_id));
    for (fact, flag) in [
        (AzureFact::SecureBoot, configuration.secure_boot),
        (AzureFact::ConsoleEnabled, configuration.console_enabled),
        (AzureFact::TpmEnabled, configuration.tpm_enabled),
        (AzureFact::TpmPersisted, configuration.tpm_persisted),
        (AzureFact::FilteredVpci, configuration.filtered_vpci_devices_allowed),
    ] {
        if let Some(flag) = flag {
            add(fact, provenance, Value::Bool(flag));
        }
    }
    if let Some(thumbprint) = &configuration.root_cert_thumbprint {
        add(AzureFact::RootCertThumbprint, provenance, Value::text(thumbprint));
    }
    if let Some(user_data) = data.user_data.filter(|data| data.iter().any(|byte| *byte != 0)) {
        add(AzureFact::UserData, Provenance::Unauthenticated, Value::text(&hex::encode(user_data)));
    }
}

/// What the attestation key's certificate says.
fn certified(facts: &mut Facts, certificate: &AkCertificate) {
    let mut add = |fact: AzureFact, value: Value| {
        facts.insert(FactId::Azure(fact), Fact::of(certificate.provenance(), vec![value]));
    };
    if !certificate.subject.is_empty() {
        add(AzureFact::AkSubject, Value::text(&certificate.subject));
    }
    if let Some(digest) = digest_of(&certificate.root.sha256) {
        add(AzureFact::AkRootDigest, Value::Digest(digest));
    }
    add(AzureFact::AkRootName, Value::text(&certificate.root.name));
}
